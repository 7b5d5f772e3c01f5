// Tables of client-side caching (CLIENT TRACKING), without I/O and clock: which clients may hold
// which keys of a slot, and which prefixes are broadcast to which cores. Wired up by
// dataplane/core/tracking.c.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// --- keys that were read -------------------------------------------------------------------------
// Whoever may execute on a slot may touch its table, and nobody else.

// A client that read a key: its id, and the core that serves it.
#define READER_CORE_BITS 6
static inline uint64_t reader_of(uint64_t client, unsigned core)
{
    return client << READER_CORE_BITS | core;
}
static inline uint64_t reader_client(uint64_t reader)
{
    return reader >> READER_CORE_BITS;
}
static inline unsigned reader_core(uint64_t reader)
{
    return reader & ((1u << READER_CORE_BITS) - 1);
}

// One key, of whatever database: a name in several is invalidated in all of them, as Redis does.
struct tracked_key {
    struct tracked_key *next; // in the bucket, or once it was taken out: its owner's
    uint64_t hash;
    uint64_t by;       // once it was taken out: the client that changed it, 0: none
    uint64_t *readers; // `room` places, a power of two; 0: free
    uint64_t one;      // where room is 1
    uint32_t n, room;
    uint32_t len;
    uint8_t bytes[];
};

struct tracked_slot {
    struct tracked_key **buckets;
    unsigned n_buckets; // a power of two
    unsigned n;         // keys
    unsigned counted;   // of them, by the slot's owner
};

// `hash` is any good one of the key's bytes.
struct tracked_key *tracked_find(const struct tracked_slot *s, const void *key, size_t len,
                                 uint64_t hash);
// The key, which is made where it is not there. NULL: memory is short.
struct tracked_key *tracked_key(struct tracked_slot *s, const void *key, size_t len, uint64_t hash);
enum tracked_added { TRACKED_ADDED, TRACKED_KNOWN, TRACKED_NO_MEMORY };
enum tracked_added tracked_add(struct tracked_key *k, uint64_t reader);
// Takes it out of the table; the caller owns it.
void tracked_take(struct tracked_slot *s, struct tracked_key *k);
// One of the keys, by a random number. NULL: there is none.
struct tracked_key *tracked_any(const struct tracked_slot *s, uint64_t random);
void tracked_key_free(struct tracked_key *k);
// Frees the table and all its keys.
void tracked_slot_free(struct tracked_slot *s);

// --- prefixes that are broadcast -----------------------------------------------------------------
// Each core has a copy of the whole table: the cores with clients for a prefix, and its own
// clients.

struct prefix_client {
    struct prefix_client *prev, *next; // of the prefix
    struct prefix_client *next_mine;   // of the client, in order of its prefixes
    struct prefix *prefix;
    void *client;
};

// A key that changed, and the client that did it last (0: none, MENTION_BY_SEVERAL: not it alone).
#define MENTION_BY_SEVERAL UINT64_MAX
struct mention {
    const uint8_t *key;
    uint32_t len;
    uint64_t by;
    uint64_t at; // when: counted by whoever mentions
};

struct prefix {
    struct prefix *next; // in the bucket
    struct prefix *next_mentioned;
    uint64_t hash;
    uint64_t cores;                     // with clients for it, by bit
    struct prefix_client *first, *last; // of this core
    uint64_t since;                     // there is one
    struct mention *mentions;           // while messages are put together
    size_t n_mentions, mentions_room;
    int32_t *counts; // of clients, by core; below zero while a departure overtakes an arrival
    uint32_t len;
    uint8_t bytes[];
};

struct prefixes {
    struct prefix **buckets;
    unsigned n_buckets, n, n_cores;
    uint64_t seed;
    struct prefix_length {
        uint32_t len, n;
    } * lengths; // that prefixes have
    unsigned n_lengths, lengths_room;
};

void prefixes_init(struct prefixes *p, unsigned n_cores, uint64_t seed);
void prefixes_clear(struct prefixes *p); // no client is left
struct prefix *prefix_find(const struct prefixes *p, const void *text, size_t len);
// Adds `delta` to the clients that a core has for a prefix. False: memory is short.
bool prefix_count(struct prefixes *p, const void *text, size_t len, unsigned core, int delta);
// A client of this core wants the prefix, which counts somebody already, from `now` on; or no
// longer.
void prefix_join(struct prefix *x, struct prefix_client *m, uint64_t now);
void prefix_leave(struct prefix_client *m);
// The cores that have clients for prefixes of the key.
uint64_t prefixes_cores(const struct prefixes *p, const void *key, size_t len);
// Notes that a key changed with each prefix of it that clients of this core wanted then. `*first`
// lists those that have mentions. False: memory is short.
bool prefixes_mention(struct prefixes *p, const struct mention *m, struct prefix **first);
// Orders the prefixes of the list by their bytes, and the mentions of each as well, each key once
// with who changed it.
struct prefix *prefixes_sort(struct prefix *first);
void prefix_forget_mentions(struct prefix *x);
// Order of bytes.
int bytes_compare(const void *a, size_t a_len, const void *b, size_t b_len);
