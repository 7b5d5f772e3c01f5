// Client-side caching on a core, for tracking.c (which clients track, and how), tracking_keys.c
// (who read what), tracking_prefixes.c (what is broadcast) and tracking_tell.c (what clients are
// sent).
#pragma once

#include "dataplane/core/blocked.h"
#include "dataplane/core/tracking.h"

// What a client of this core has to do with tracking: it does, or others redirect to it.
struct tracker {
    struct tracker *next; // in the bucket
    struct client *client;
    unsigned flags; // enum tracking_flags
    uint64_t redirect;
    unsigned redirect_core;
    struct prefix_client *prefixes;          // in order of their bytes
    struct tracker *prev_other, *next_other; // of those that track
    struct own_change *first_own, *last_own; // not told yet
    struct tracker *next_own;                // of those that have such
};

// What a command of the client itself invalidated: told when that is over, EXEC as a whole, to
// whom its changes go then. Whether it is told was decided when the key changed.
struct own_change {
    struct own_change *next;
    struct block *text; // what is invalid; NULL: all
};

// Something is to be told.
static inline void tracking_set_due(struct core *c, enum tracking_due what)
{
    c->tracking_due |= what;
    c->observed = true; // until it was
}

// --- tracking.c
struct tracker *tracker_of(const struct tracking *t, uint64_t id); // NULL: it has none

// --- tracking_keys.c
// Also while a command runs: clients hear of it behind that (client_tell).
void tracking_tell_noted(struct core *c);

// --- tracking_prefixes.c
// The client wants these as well, which all cores have counted. Those that it has already are taken
// back. False: memory is short, it has none of them, and they stay counted.
bool tracker_add_prefixes(struct core *c, struct tracker *x, unsigned n,
                          const struct arg *prefixes);
void tracker_drop_prefixes(struct core *c, struct tracker *x);
void tracker_each_prefix(const struct client *client,
                         void (*each)(void *context, const void *text, size_t len), void *context);
bool tracking_count(struct request *r, unsigned n, const struct arg *prefixes);
void tracking_uncount(struct request *r, unsigned n, const struct arg *prefixes);
// Prefixes that clients of this core are the first to want.
uint64_t tracking_prefixes(const struct core *c);
// A key changed by that client, 0: none. Told once a turn.
void tracking_mention(struct core *c, const struct key *key, uint64_t by);

// --- tracking_tell.c
// `text` is what is invalid: an array of names. NULL: all.
void tracker_tell(struct core *c, struct tracker *x, const struct block *text);
// The same where the client itself did it.
void tracker_tell_later(struct core *c, struct tracker *x, struct block *text);
void tracker_forget_own(struct core *c, struct tracker *x);
void tracking_tell_own(struct core *c); // but for those in EXEC
// `by`: the client that made all keys invalid, 0: none.
void tracking_tell_all(struct core *c, uint64_t by);     // to clients of this core
void tracking_tell_emptied(struct core *c, uint64_t by); // to those of all cores
// Word to clients of that core is lost: they forget all.
void tracking_lose(struct core *c, unsigned core);
