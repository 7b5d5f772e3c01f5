// Members: names in a table of their own, each with an optional value and expiry: the fields of a
// big hash, the members of a big set or sorted set. A member is a `struct entry` in the same kind
// of table that a slot has, so it grows in small steps, and a scan cursor (a position on the line
// of hashes) gives each member that stays exactly once. The secret of the hash and the random
// numbers are the store's. Each table salts the hash: else members that are taken in the order of
// one table and put into another (a copy, a union, a client that writes what it has read) would
// fill the other from its first bucket on.
//
// Memory is counted exactly: `members_memory` is what the allocator gave for everything, the struct
// included. A pointer to a member is valid until that member is changed or removed.
#pragma once

#include "dataplane/store/store.h"
#include "dataplane/store/table.h"

struct members {
    struct slot table;
    uint32_t free_at; // of members_free_step
    uint32_t salt;    // of this table's hash
};

struct members *members_new(void); // NULL: memory is short
void members_init(struct members *m);
static inline uint32_t members_count(const struct members *m)
{
    return m->table.keys;
}
size_t members_memory(const struct members *m);             // with the struct's own allocation
static inline size_t members_inner(const struct members *m) // without
{
    return m->table.bytes;
}

struct entry *members_find(const struct store *s, const struct members *m, const void *name,
                           size_t len);
// Hints that a member will be looked for: its bucket (depth 1), the entry there (2).
bool members_prefetch(const struct store *s, const struct members *m, const void *name, size_t len,
                      unsigned depth);
// A member that is not there yet. NULL: memory is short, nothing changed.
struct entry *members_add(struct store *s, struct members *m, const void *name, size_t len,
                          const void *value, size_t value_len);
// Gives a member another value; its expiry stays. It may move. NULL: memory is short.
struct entry *members_set_value(struct store *s, struct members *m, struct entry *e,
                                const void *value, size_t value_len);
void members_remove(struct store *s, struct members *m, struct entry *e);
// Name and value where they lie.
static inline const uint8_t *member_name(const struct entry *e, size_t *len)
{
    struct entry_parts parts = entry_parts(e);
    *len = parts.key_len;
    return parts.key;
}
static inline const uint8_t *member_value(const struct entry *e, size_t *len)
{
    struct entry_parts parts = entry_parts(e);
    *len = parts.value_len;
    return parts.value;
}

// Expiry of a member, Unix ms, -1: none. It may move. NULL: memory is short.
struct entry *members_set_expiry(struct store *s, struct members *m, struct entry *e,
                                 int64_t expiry_ms);
static inline uint32_t members_volatile(const struct members *m)
{
    return m->table.ext ? m->table.ext->volatile_keys : 0;
}
// Unix ms before which no member is due (within COARSE_MS); INT64_MAX: none has an expiry.
int64_t members_next_due(const struct store *s, const struct members *m);
// Whether the time of some member may be over.
bool members_any_over(const struct store *s, const struct members *m);
// How many members' time is over, to the millisecond. False: more than MEMBERS_OVER_MAX may be,
// which are not counted; members_expire leaves fewer.
#define MEMBERS_OVER_MAX 256
bool members_over(const struct store *s, const struct members *m, uint32_t *over);
// Removes up to `max` members whose time is over, giving each to `each` (may be NULL) first.
// Returns their number.
unsigned members_expire(struct store *s, struct members *m, unsigned max,
                        void (*each)(void *context, struct entry *e), void *context);

// Walks over all; no member may be added, removed or moved meanwhile.
struct members_iterator {
    const struct members *members;
    uint64_t *bucket;
    unsigned index, held;
    uint64_t next; // position
};
struct members_iterator members_begin(const struct members *m);
struct entry *members_next(struct members_iterator *it); // NULL: the end

// SCAN's guarantee: every member there from the first call to the last is given exactly once.
// `cursor` 0 starts; returns the next one, 0 at the end. Gives at least `count` where there are so
// many.
uint64_t members_scan(struct store *s, const struct members *m, uint64_t cursor,
                      unsigned long count, void (*each)(void *context, struct entry *e),
                      void *context);
struct entry *members_random(struct store *s, const struct members *m); // each alike; NULL: empty

struct members *members_copy(struct store *s, const struct members *m); // NULL: memory is short
// The same in steps of `*budget` members, from *copy NULL on. True: it is over; *copy NULL: memory
// is short.
bool members_copy_step(struct store *s, const struct members *m, struct members **copy,
                       struct members_iterator *it, unsigned *budget);
void members_clear(struct members *m); // frees all members
void members_free(struct members *m);
// Frees up to `*budget` members; true when all are gone (the struct itself stays).
bool members_free_step(struct members *m, unsigned *budget);
