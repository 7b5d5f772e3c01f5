// Stream commands: their table, and the handlers it names.
#pragma once

#include "dataplane/commands/command.h"

extern const struct command streams_commands[]; // ends with name NULL

void xack_command(struct request *r);
void xadd_command(struct request *r);
void xautoclaim_command(struct request *r);
void xclaim_command(struct request *r);
void xdel_command(struct request *r);
void xgroup_create_command(struct request *r);
void xgroup_createconsumer_command(struct request *r);
void xgroup_delconsumer_command(struct request *r);
void xgroup_destroy_command(struct request *r);
void xgroup_help_command(struct request *r);
void xgroup_setid_command(struct request *r);
void xinfo_consumers_command(struct request *r);
void xinfo_groups_command(struct request *r);
void xinfo_help_command(struct request *r);
void xinfo_stream_command(struct request *r);
void xlen_command(struct request *r);
void xpending_command(struct request *r);
void xrange_command(struct request *r);
void xread_command(struct request *r);
void xreadgroup_command(struct request *r);
void xrevrange_command(struct request *r);
void xsetid_command(struct request *r);
void xtrim_command(struct request *r);
