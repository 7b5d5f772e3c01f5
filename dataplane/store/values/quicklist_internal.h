// What the files of the quicklist share: the row of nodes, and what one node is.
#pragma once

#include <string.h>

#include "dataplane/store/values/quicklist.h"

enum node_flags {
    NODE_PLAIN = 1,
    NODE_LZF = 2,   // `data` is a struct lzf_box
    NODE_TRIED = 4, // does not get smaller by compression
};

struct node {
    uint8_t *data;
    uint32_t bytes; // of the listpack or the plain element, unpacked
    uint32_t count : 29, flags : 3;
};

struct lzf_box {
    uint32_t packed;
    uint8_t bytes[];
};

// The nodes are a ring, so that both ends grow; a list of one node, which most are, needs none.
// The node at the head may begin `gap` bytes behind the start of its memory: a push to the head
// takes from there instead of moving all that follows.
struct quicklist {
    struct node *ring; // &one when cap is 1
    uint32_t cap;      // a power of two
    uint32_t first, len;
    uint32_t gap;
    uint64_t count;
    uint64_t memory;
    int32_t fill;
    uint32_t compress;
    struct node one;
};

static inline struct node *node_at(const struct quicklist *ql, uint32_t i)
{
    return &ql->ring[(ql->first + i) & (ql->cap - 1)];
}

// Where the content of a node that is not compressed starts.
static inline uint8_t *node_bytes(const struct quicklist *ql, uint32_t i)
{
    return node_at(ql, i)->data + (i ? 0 : ql->gap);
}

static inline void node_set_header(uint8_t *lp, uint32_t bytes, uint32_t elements)
{
    uint16_t count = elements < UINT16_MAX ? (uint16_t)elements : UINT16_MAX;
    memcpy(lp, &bytes, sizeof(bytes));
    memcpy(lp + sizeof(bytes), &count, sizeof(count));
}

// Bytes that a node should stay within.
size_t ql_node_limit(const struct quicklist *ql);
// Whether an element gets a node of its own.
bool ql_is_large(const struct quicklist *ql, size_t len);
// Whether a packed node takes an element of so many bytes.
bool ql_node_takes(const struct quicklist *ql, uint32_t i, size_t len);

// Puts a node whose memory is not counted yet before index i. False: memory is short.
bool ql_ring_insert(struct quicklist *ql, uint32_t i, const struct node *n);
// Takes `n` nodes out and frees them; their elements are no longer counted.
void ql_ring_remove(struct quicklist *ql, uint32_t i, uint32_t n);
// The same for one of many nodes: it stays in its place without elements until all such are swept
// out, so that the others move once.
void ql_ring_empty(struct quicklist *ql, uint32_t i);
void ql_ring_sweep(struct quicklist *ql);
// Moves the content of the first node to the start of its memory.
void ql_close_gap(struct quicklist *ql);
// After a listpack function changed a node that has no gap: `old` is where it was, of `old_memory`
// bytes, `lp` where it is.
void ql_node_moved(struct quicklist *ql, uint32_t i, uint8_t *lp, size_t old_memory);
// Gives back memory that a node does not use.
void ql_node_shrink(struct quicklist *ql, uint32_t i);

// --- compression ---------------------------------------------------------------------------------

// The content of a node, unpacked to *scratch (mi_malloc) if it is compressed. NULL: memory.
uint8_t *ql_node_open(const struct quicklist *ql, uint32_t i, uint8_t **scratch);
bool ql_node_unpack(struct quicklist *ql, uint32_t i);
// Puts the unpacked content of a compressed node in its place.
void ql_node_adopt(struct quicklist *ql, uint32_t i, uint8_t *content);
// Compresses or unpacks nodes as their distance to the ends asks: those at the border after a
// change of an end; all of the ends, and those around index i, after any other. Best effort.
void ql_settle_ends(struct quicklist *ql);
void ql_settle(struct quicklist *ql, uint32_t i);

// --- places --------------------------------------------------------------------------------------

// Reads the item where the place stands. True.
bool ql_iter_here(struct quicklist_iter *it);
// Opens the place's node and stands at the element of that index in it. False: memory is short.
bool ql_iter_open(struct quicklist_iter *it, int64_t at);
// Leaves the place's node.
void ql_iter_leave(struct quicklist_iter *it);
