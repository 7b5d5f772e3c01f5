// Users of the process and of its clients. The set in force is immutable and reached by one
// pointer; who changes it publishes another one, which every core adopts: at once where a command
// gathers over all of them before it answers, at the start of a turn at the latest.
#pragma once

#include <pthread.h>

#include "dataplane/core/core.h"

struct server_access {
    // Of the log, and of the look at `users` and the reference that is taken then.
    pthread_mutex_t lock;
    pthread_cond_t settled; // a core has adopted a set
    const struct access_users *_Atomic users;
    struct access_log log;
    _Atomic uint64_t log_max;
};

// Before the cores start: the default user, the password of requirepass, the users of the
// configuration or of its file. -1 with one line in `error`.
int access_start(struct server *server, const struct config *config, char *error, size_t size);
void access_end(struct server *server);
// Takes over the set in force if it is a new one: clients get their users as they are now; those
// whose user is gone, or that hear what their user may not any more, are closed.
void access_adopt(struct core *c);
void access_leave(struct core *c); // at the core's end
// Who a new connection is; whom RESET makes of one.
void access_client_default(struct core *c, struct client *client);
void access_client_free(struct client *client);
// Between a change of the configuration and its adoption.
int access_reconfigure(struct server *server, const struct config *old, const struct config *new,
                       char *error, size_t size);
// Gives a copy of the configuration the `user` lines of the users there are. False: memory is
// short.
bool access_lines(struct server *server, struct config *config);
void access_services(struct services *services);
// Logs and counts what was denied: `denied` is the argument that it is about. `client` is NULL away
// from its home, which is told.
void access_denied(struct core *c, struct client *client, const struct session *session,
                   enum access_denial reason, enum access_context context,
                   const struct command *command, const struct arg *denied);
uint64_t access_log_bytes(struct core *c); // that the log of denials takes
