// What the files of the connection family share. The table is in connection_table.c.
#pragma once

#include "dataplane/commands/command.h"

// connection.c
void echo_command(struct request *r);
void ping_command(struct request *r);
void quit_command(struct request *r);
void reset_command(struct request *r);
void select_command(struct request *r);

// connection_hello.c: who the client is.
void auth_command(struct request *r);
void hello_command(struct request *r);

// client_command.c: CLIENT, what concerns the caller's own connection.
void client_getname_command(struct request *r);
void client_help_command(struct request *r);
void client_id_command(struct request *r);
void client_no_evict_command(struct request *r);
void client_no_touch_command(struct request *r);
void client_reply_command(struct request *r);
void client_setinfo_command(struct request *r);
void client_setname_command(struct request *r);

// client_list.c: CLIENT, what concerns the connections of all cores.
void client_info_command(struct request *r);
bool client_list_start(struct request *r);
void client_list_part(struct request *r);
void client_list_command(struct request *r);
bool client_kill_start(struct request *r);
void client_kill_part(struct request *r);
void client_kill_command(struct request *r);
bool client_unblock_start(struct request *r);
void client_unblock_part(struct request *r);
void client_unblock_command(struct request *r);

// The line about a client without its end. On the client's core.
void client_describe(struct request *r, const struct client *c, struct out *to);

// client_tracking.c: CLIENT, what concerns client-side caching.
bool client_tracking_start(struct request *r);
void client_tracking_part(struct request *r);
void client_tracking_command(struct request *r);
void client_caching_command(struct request *r);
void client_trackinginfo_command(struct request *r);
void client_getredir_command(struct request *r);

// client_pause.c
bool client_pause_start(struct request *r);
bool client_unpause_start(struct request *r);
void client_pause_part(struct request *r);
void client_pause_command(struct request *r);

#define DEFAULT_USER "default"

// Whether the bytes may name a client or its library: visible ASCII without spaces, or nothing.
bool connection_valid_name(const struct arg *name);
#define ERR_CLIENT_NAME "ERR Client names cannot contain spaces, newlines or special characters."
// Names the client ("" takes the name away). The name was checked. false: memory is short.
bool connection_set_name(struct client *c, const struct arg *name);
