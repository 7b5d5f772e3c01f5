// A hash table whose entries are part of what they find. It grows and shrinks by one bucket with
// each entry that comes or goes (linear hashing), so no single call has much to do, however many
// there are. The hashes are the caller's, and should be keyed.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define INDEX_FIRST 64 // buckets of the smallest table; a power of two
#define INDEX_SEGMENTS 27

struct index_node {
    struct index_node *next; // in its bucket
    uint64_t hash;
};

struct index {
    struct index_node **segment[INDEX_SEGMENTS]; // the first two have INDEX_FIRST buckets, each
                                                 // further one has twice those of the one before
    unsigned n_buckets, n;
};

// Zeroed memory is an empty table. False: memory is short, and nothing was done.
bool index_add(struct index *x, struct index_node *node, uint64_t hash);
// The node is in it.
void index_remove(struct index *x, struct index_node *node);
// The first node of the bucket that `hash` belongs to; others of it follow by `next`.
struct index_node *index_bucket(const struct index *x, uint64_t hash);
// The same by number, below n_buckets: to walk over all.
struct index_node *index_bucket_at(const struct index *x, unsigned bucket);
// Gives its memory back; the nodes are the caller's.
void index_clear(struct index *x);
