// A big sorted set: members by name, and their order in a tree. A member's value is its score, a
// double of 8 bytes, so that it never moves when the score changes. The tree's key is the score's
// place in the order of doubles; of equal scores the names decide, as bytes.
//
// sorted.h has the calls that work on small sorted sets too; most callers want those.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "dataplane/store/members.h"
#include "dataplane/store/values/btree.h"

struct zset {
    struct members members;
    struct btree order; // items are entries of `members`
};

// What the tree is searched with.
struct zset_name {
    const void *ptr;
    size_t len;
};

struct zset *zset_new(void); // NULL: memory is short
void zset_free(struct zset *z);
size_t zset_memory(const struct zset *z); // all of it, the struct included
uint64_t zset_count(const struct zset *z);
struct zset *zset_copy(struct store *s, const struct zset *z);
// The same in steps of `*budget` members, from *copy NULL on. True: it is over; *copy NULL: memory
// is short.
bool zset_copy_step(struct store *s, const struct zset *z, struct zset **copy, struct btree_at *at,
                    unsigned *budget);
// Frees what about `*budget` elements take, the struct too when all are gone: true then.
bool zset_free_step(struct zset *z, unsigned *budget);

static inline double zset_score(const struct entry *e)
{
    size_t len;
    double score;
    memcpy(&score, member_value(e, &len), sizeof(score));
    return score;
}
// A member that is not there yet. NULL: memory is short, nothing changed.
struct entry *zset_add(struct store *s, struct zset *z, const void *name, size_t len, double score);
// False: memory is short, nothing changed.
bool zset_set_score(struct zset *z, struct entry *e, double score);
void zset_remove(struct store *s, struct zset *z, struct entry *e);
uint64_t zset_remove_range(struct store *s, struct zset *z, uint64_t rank, uint64_t n);
uint64_t zset_rank(const struct zset *z, const struct entry *e);
// Builds the order of a set whose members were added by `members_add` alone, from an empty tree.
// False: memory is short; the set is good for being freed only.
bool zset_put_in_order(struct zset *z);

// Names as bytes; a shorter one comes before those that it begins.
static inline int zset_compare_names(const void *a, size_t a_len, const void *b, size_t b_len)
{
    size_t len = a_len < b_len ? a_len : b_len;
    int order = len ? memcmp(a, b, len) : 0;
    return order ? order : (a_len > b_len) - (a_len < b_len);
}
