// MONITOR: clients that see every command. A command is told at the home of its client, or where
// its script or transaction runs, as one line made once for all cores that have such clients.
// Lines of another core come in its order, and later than its replies where the mailboxes are full.
// Nobody pays for it where there is none: while there is, no command takes the quick way.
#pragma once

#include "dataplane/core/core.h"

// What a client in MONITOR may not do, and what it is told.
#define MONITOR_MAY_NOT (CMD_WRITE | CMD_READONLY | CMD_MAY_REPLICATE)
#define ERR_MONITOR_KEYS "ERR Replica can't interact with the keyspace"

// The client becomes one. False: memory is short.
bool monitor_begin(struct core *c, struct client *client);
void monitor_end(struct core *c, struct client *client); // RESET, and when it is gone
// Takes notice of other cores' clients that came or went. Once a turn, and when MONITOR asks.
void monitors_look(struct core *c);

// The command has run, or begins to: all are told of it, if any. `client` is NULL within a script.
// Call it where `c->closely` has CLOSELY_MONITORED.
void monitor_feed(struct core *c, const struct client *client, uint32_t db,
                  const struct command *command, int argc, const struct arg *argv);
static inline void monitor_see(struct core *c, const struct client *client, uint32_t db,
                               const struct command *command, int argc, const struct arg *argv)
{
    if (__builtin_expect(c->closely & CLOSELY_MONITORED, 0))
        monitor_feed(c, client, db, command, argc, argv);
}
// Around a command that runs here: it is told when it has run, a script before those that it runs.
static inline void monitor_before(struct core *c, const struct client *client,
                                  const struct command *command, int argc, const struct arg *argv)
{
    if (command->flags & CMD_SKIP_MONITOR)
        monitor_see(c, client, client->db, command, argc, argv);
}
static inline void monitor_after(struct core *c, const struct client *client,
                                 const struct command *command, int argc, const struct arg *argv)
{
    if (!(command->flags & CMD_SKIP_MONITOR))
        monitor_see(c, client, client->db, command, argc, argv);
}
// Lines that arrived go to the clients of this core. After the mailboxes were looked at.
void monitor_deliver_lines(struct core *c);
static inline void monitor_deliver(struct core *c)
{
    if (__builtin_expect(c->monitors.first != NULL, 0))
        monitor_deliver_lines(c);
}
void monitors_free(struct core *c);
