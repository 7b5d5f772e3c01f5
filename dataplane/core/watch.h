// Watched keys (WATCH): which clients want to know whether a key changes before their EXEC. The
// watches of a slot belong to the slot: whoever may execute on it, its owner or a borrower, may
// read and change them, and nobody else. The one word that a client's core reads without the slot
// in hand is `changed`.
#pragma once

#include "dataplane/core/message.h"

// What one client watches. Its own part is home's; it lives until the last watch is out of its
// slot.
struct watching {
    _Atomic bool changed; // one of the keys is other than it was
    _Atomic uint32_t refs;
    unsigned n;
    struct watch *first;
};

// One key of one client.
struct watch {
    struct message unwatch; // takes it out where home cannot; the allocation is this message's
    struct watching *watching;
    struct watch *next; // of the client
    struct watched_key *at;
    struct watch *prev_here, *next_here; // of the key
};

struct watched_key {
    struct watched_key *next; // in the bucket
    struct watch *first;
    unsigned db;
    struct key key;
    uint8_t bytes[];
};

struct watched_slot {
    struct watched_key **buckets;
    unsigned n_buckets; // a power of two
    unsigned n;         // keys
    unsigned counted;   // of them, in the owner's `watched_keys`
};

// The slot is in hand, in all of these.

// False: memory is short.
bool watch_add(struct core *c, struct client *client, const struct key *key);
// Takes out all watches of the client, whose slots are in hand. What they said is lost.
void watch_drop(struct core *c, struct client *client);
// True when a key that the client watches is other than it was; one whose time is over is.
bool watch_broken(struct core *c, struct client *client);
// A key changed.
void watch_changed(struct core *c, unsigned db, const struct key *key);
// All slots are in hand, and database `db` (-1: every one) is about to be emptied, or to become
// what `other` is (-1: nothing): its keys change where they are there, or there.
void watch_replaced(struct core *c, int db, int other);
// The owner counts anew after someone else had the slot.
void watch_settle(struct core *c, uint16_t slot);

// Without the slots in hand: the client forgets its watches at once, the slots in time.
void watch_forget(struct core *c, struct client *client);
void watch_out(struct core *c, struct message *m); // MESSAGE_UNWATCH at the owner
void watch_end(struct server *server);             // all cores have stopped
