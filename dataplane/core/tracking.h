// Client-side caching (CLIENT TRACKING): clients are told when keys change that they may hold.
//
// What clients read stands in a table of the key's slot: whoever executes on the slot may touch it,
// owner or borrower. It names clients by number and core, so those that went away need no search;
// their home core passes over them. A key that changes leaves the table, and word of it goes to the
// homes of its readers when the command is done, behind whatever was sent there before. At home it
// comes behind the replies that the client is owed. Prefixes that are broadcast are known on every
// core; what changed is told once a turn.
#pragma once

#include "dataplane/core/message.h"
#include "dataplane/pubsub/tracking.h"

struct tracker;

// Of one core.
struct tracking {
    struct tracker **buckets; // by client id
    unsigned n_buckets, n;    // a power of two
    struct tracker *first;    // those of clients that track
    unsigned n_tracking;
    struct prefixes prefixes;
    // Of the keys that this core put into tables and took out of them, whoever owns their slots:
    // the sum over cores is what the tables hold. One writer, read by all.
    _Atomic int64_t keys, items;
    _Atomic int64_t bytes; // the same of the memory that they take, but for buckets
    _Atomic bool lost; // memory was short for word to clients of this core: they must forget all
    // What changed and was not told yet.
    struct tracked_key *changed_first, *changed_last;
    unsigned emptied;          // times that all keys did, before these
    struct tracker *first_own; // of clients with own changes to hear of
    struct tracking_word {
        uint8_t *bytes; // records of a core whose clients want the prefix
        size_t len, room;
    } word[PLANE_CORES_MAX];
    uint64_t cores_to_tell;
    uint64_t mentioned;     // bytes of records that this core has had for itself
    unsigned limit_rounds;  // in a row in which the limit was exceeded
    uint64_t idle_since_us; // no client tracks; 0: some do
    uint64_t dropped_to;    // slots whose tables were dropped since then
};

bool tracking_start(struct core *c);
void tracking_stop(struct core *c);
void tracking_clear(struct server *server); // all cores have stopped
void tracking_services(struct services *services);
void tracking_figures(struct core *c, struct core_figures *f);
// Bytes of keys that this core put into tables, less those that it took out: of all cores, what
// tables take.
uint64_t tracking_memory(const struct core *c);

// A read was executed for a client that is to be told: the slots of its keys are in hand.
void tracking_remember(struct core *c, const struct session *session, const struct command *command,
                       const struct arg *argv, int argc);
void tracking_remember_keys(struct core *c, const struct session *session, const struct arg *keys,
                            int n);
// A key changed, whose slot is in hand. `by`: the client that did it, 0: none; `at_work`: the
// client whose command runs, 0: none.
void tracking_changed(struct core *c, uint64_t by, uint64_t at_work, const struct key *key);
// All slots are in hand, and databases change as a whole, by a command of that client.
void tracking_replaced(struct core *c, uint64_t by);
// The owner counts anew after someone else had the slot.
void tracking_settle(struct core *c, uint16_t slot);
// Tells what changed, but for prefixes; the command that did it is over, and its reply written.
void tracking_tell_changed(struct core *c);
// Bits of core->tracking_due.
enum tracking_due {
    TRACKING_KEYS = 1,     // word of single keys, or of all
    TRACKING_PREFIXES = 2, // of keys with prefixes that are broadcast
};
static inline void tracking_tell(struct core *c)
{
    if (__builtin_expect(c->tracking_due & TRACKING_KEYS, 0))
        tracking_tell_changed(c);
}
// Tells all that changed: once a turn, before output leaves.
void tracking_turn(struct core *c);
static inline void tracking_look(struct core *c)
{
    if (__builtin_expect(c->tracking_due, 0))
        tracking_turn(c);
}
// Somebody may want to hear of any key, or has not been told yet.
static inline bool tracking_observes(const struct core *c)
{
    return c->tracking && (c->tracking->prefixes.n || c->tracking_due);
}
void tracking_cron(struct core *c);
// An EXEC of a client that has a tracker is over, with all that it changed.
void tracking_executed(struct core *c, struct client *client);
// The connection ends.
void tracking_forget(struct core *c, struct client *client);
// After a command of the client: what CLIENT CACHING said is over.
void tracking_next(struct client *client);
