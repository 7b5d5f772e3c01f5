// What took long: the slow log of this core's clients, and the events "command" and "fast-command"
// of the latency monitor.
//
// Quick commands of one kind that follow one another are timed together, up to 16 (execute.c), as
// reading the cycle counter takes a tenth of a GET. So that the log still tells the truth:
// - only commands whose work their few arguments bound are followed by others in their group
//   (command->together); one that may take longer ends it;
// - a group that took too long as a whole stands in the log as its last command, with word of how
//   many it was one of. None of a group can be slow without it;
// - below SLOW_ALONE_US the sum of a group could pass for one slow command: then each is timed by
//   itself, on the longer way.
#pragma once

#include "dataplane/core/latency.h"

// Thresholds below this, in microseconds.
#define SLOW_ALONE_US 1000

void slowlog_configure(struct core *c); // when the configuration changed
// The command took c->slow_cycles or more; of `group` commands timed together (1: it alone did).
// client NULL: a script's, or gone.
void slowlog_take(struct core *c, const struct client *client, const struct command *command,
                  int argc, const struct arg *argv, uint64_t cycles, unsigned group);
// The same without an event of the latency monitor: it was told.
void slowlog_keep(struct core *c, const struct client *client, const struct command *command,
                  int argc, const struct arg *argv, uint64_t cycles, unsigned group);
// The one end of every command that is timed by itself, at its client's home: it has executed for
// so many cycles, wherever and in however many pieces. 0: it was refused before it did. `told`: its
// last run is an event of the latency monitor already (LATENCY_COMMAND_UNBLOCKING).
static inline void command_ended(struct core *c, const struct client *client,
                                 const struct command *command, int argc, const struct arg *argv,
                                 uint64_t cycles, bool told)
{
    if (!cycles)
        return;
    latency_record(c, command->id, cycles);
    if (__builtin_expect(cycles >= c->slow_cycles, 0))
        (told ? slowlog_keep : slowlog_take)(c, client, command, argc, argv, cycles, 1);
}
static inline void command_over(struct core *c, const struct client *client,
                                const struct command *command, int argc, const struct arg *argv,
                                uint64_t cycles)
{
    command_ended(c, client, command, argc, argv, cycles, false);
}
void slowlog_reset(struct core *c);
void slowlog_services(struct services *services);
