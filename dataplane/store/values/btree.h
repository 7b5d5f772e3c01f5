// A counted B+ tree of pointers in order: what sorted sets, streams and their lists of pending
// entries are ordered by. An element is a 64-bit key, by which nearly all comparisons are decided
// without touching the item, and a pointer. Equal keys are ordered by the tree's `compare`. Every
// inner node knows how many elements lie below each child, so a rank, the element at a rank and a
// range by rank cost one descent.
//
// Leaves are linked both ways. Items belong to the owner of the tree. Memory is mimalloc's; `bytes`
// is what the allocator gave for all nodes, not counting the struct itself. One descent is O(log
// n); nothing is recursive.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct btree_leaf;

// Orders items of equal keys. `probe` is what the caller searches with, `item` is in the tree;
// negative when the probe comes first, 0 when it is the same.
typedef int btree_compare_fn(const void *probe, const void *item);

struct btree {
    void *root; // NULL: empty
    struct btree_leaf *first, *last;
    btree_compare_fn *compare; // NULL: keys are unique
    uint64_t count;
    uint64_t bytes;
    unsigned height; // levels of inner nodes above the leaves
};

// A place in the tree. Valid until the next change; `leaf` is NULL beyond either end.
struct btree_at {
    struct btree_leaf *leaf;
    unsigned index;
};

void btree_init(struct btree *t, btree_compare_fn *compare);
// False: memory is short; nothing changed. The element must not be in the tree. `probe` is what
// `compare` is asked with (often the item itself).
bool btree_insert(struct btree *t, uint64_t key, const void *probe, void *item);
// Takes out the element and returns its item; NULL: it is not there.
void *btree_remove(struct btree *t, uint64_t key, const void *probe);
void *btree_find(const struct btree *t, uint64_t key, const void *probe);

// The first element not before (key, probe); probe NULL: not before any element of that key.
struct btree_at btree_lower(const struct btree *t, uint64_t key, const void *probe);
// The first element behind (key, probe); probe NULL: behind all elements of that key.
struct btree_at btree_upper(const struct btree *t, uint64_t key, const void *probe);
struct btree_at btree_first(const struct btree *t);
struct btree_at btree_last(const struct btree *t);
struct btree_at btree_at_rank(const struct btree *t, uint64_t rank); // from 0; beyond: leaf NULL
uint64_t btree_rank(const struct btree *t, struct btree_at at);      // of beyond the end: count
// How many elements come before what btree_lower (`after`: btree_upper) finds: faster than its
// rank.
uint64_t btree_count_before(const struct btree *t, uint64_t key, const void *probe, bool after);
bool btree_next(struct btree_at *at); // false: beyond the end now
bool btree_prev(struct btree_at *at);
uint64_t btree_key(struct btree_at at);
void *btree_item(struct btree_at at);
// Takes out up to `n` elements from a rank on, giving each to `gone` (which may be NULL) first.
uint64_t btree_remove_range(struct btree *t, uint64_t rank, uint64_t n,
                            void (*gone)(void *context, uint64_t key, void *item), void *context);

// Frees nodes from the first leaf on until `*budget` elements were met, giving each to `gone` (may
// be NULL); true when the tree is empty. The tree is good for nothing else once begun.
bool btree_free_step(struct btree *t, unsigned *budget, void (*gone)(void *context, void *item),
                     void *context);

// A double's place in the order of 64-bit keys. -0 and 0 are one place; no NaN.
static inline uint64_t btree_key_of_double(double d)
{
    union {
        double d;
        int64_t i;
    } u = {.d = d + 0.0};
    return u.i < 0 ? ~(uint64_t)u.i : (uint64_t)u.i | UINT64_C(1) << 63;
}
