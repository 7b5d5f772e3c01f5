// Quicklist: a list as a row of nodes, each a listpack of some elements ("packed"), or the bytes of
// one element too big for one ("plain"). Both ends grow and shrink in amortised constant time; the
// node of an index is found by a run over an array of 16 bytes a node.
//
// How many elements a node takes is `fill`, the directive list-max-listpack-size: so many elements
// (and no more than 8 KiB), or, -1 … -5, 4 … 64 KiB. With `compress` above 0 all nodes but so many
// at either end are kept compressed (list-compress-depth).
//
// Functions that return false for want of memory have changed nothing that can be seen, unless
// their comment says otherwise. Bytes handed in must not lie in the list itself. A struct quicklist
// never moves. Memory is mimalloc's.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/store/values/listpack.h"

struct quicklist;

enum quicklist_end { QUICKLIST_HEAD, QUICKLIST_TAIL };

// --- the whole -----------------------------------------------------------------------------------

struct quicklist *quicklist_new(int fill, unsigned compress); // empty; NULL: memory is short
size_t quicklist_memory(const struct quicklist *ql);          // all of it, the struct included
uint64_t quicklist_count(const struct quicklist *ql);
struct quicklist *quicklist_copy(const struct quicklist *ql);
// The same in steps, from *copy NULL and *node 0 on: nodes of about `*budget` elements, or runs of
// 64 bytes. True: it is over; *copy NULL: memory is short.
bool quicklist_copy_step(const struct quicklist *ql, struct quicklist **copy, uint32_t *node,
                         unsigned *budget);
void quicklist_free(struct quicklist *ql);
// Frees what about `*budget` elements take, the struct too when all are gone: true then.
bool quicklist_free_step(struct quicklist *ql, unsigned *budget);

void quicklist_prefetch(const struct quicklist *ql); // hints that both ends will be touched

// --- the ends ------------------------------------------------------------------------------------

bool quicklist_push(struct quicklist *ql, enum quicklist_end end, const void *data, size_t len);
// Takes away the element at an end of a list that is not empty. False: memory is short.
bool quicklist_drop(struct quicklist *ql, enum quicklist_end end);

// --- walking -------------------------------------------------------------------------------------

// A place in a list. Begun places must be ended. A change of the list by other means than the
// functions below that take the place makes it useless (but it must be ended still).
struct quicklist_iter {
    struct lp_item item; // the element here: ptr NULL when it is an integer
    uint64_t index;      // its index from the head
    bool backward;
    bool failed; // memory was short (only lists with compression need any)
    // The iterator's own.
    struct quicklist *ql;
    uint32_t node;
    uint8_t *lp, *p;  // the node's bytes and the element in them
    uint8_t *scratch; // of a compressed node, unpacked
    bool changed;
    bool emptied; // there are nodes without elements behind it
};
// Stands at an element, index negative from the end. False: there is none, or `failed`.
bool quicklist_iter_begin(struct quicklist_iter *it, const struct quicklist *ql, int64_t index,
                          bool backward);
bool quicklist_iter_next(struct quicklist_iter *it); // false: no further one, or `failed`
void quicklist_iter_end(struct quicklist_iter *it);
// A place that holds no memory and need not be ended, for a walk that goes on later: an element of
// a node. The list must not change meanwhile.
struct quicklist_place {
    uint32_t node;
    uint32_t at; // of the element in the node's listpack; 0: the first one
};
struct quicklist_place quicklist_iter_place(const struct quicklist_iter *it); // where it stands
// Stands there again, without a search; `index` is not known then. False: the place is behind the
// last node, or `failed`.
bool quicklist_iter_resume(struct quicklist_iter *it, const struct quicklist *ql,
                           struct quicklist_place place);
// Whether the element here equals the bytes. The probe is made once for many elements.
struct quicklist_probe {
    const void *data;
    size_t len;
    int64_t value;
    bool integer;
};
struct quicklist_probe quicklist_probe(const void *data, size_t len);
bool quicklist_equal(const struct quicklist_iter *it, const struct quicklist_probe *probe);

// --- changes in the middle -----------------------------------------------------------------------

// The place is useless afterwards; it must be ended still.
bool quicklist_insert(struct quicklist_iter *it, bool after, const void *data, size_t len);
bool quicklist_replace(struct quicklist_iter *it, const void *data, size_t len);
// Takes the element away. The place becomes that of the next one in its direction; false: there is
// none, or `failed` (the element itself is gone in any case). Until the place is ended the list may
// be used through it only.
bool quicklist_delete(struct quicklist_iter *it);
// Takes `count` elements away from an index on (negative: from the end), fewer when there are
// fewer. False: memory is short and nothing is changed.
bool quicklist_delete_range(struct quicklist *ql, int64_t index, uint64_t count);

// Makes sure that quicklist_delete_range of the same, and quicklist_drop of an end that it covers,
// cannot fail. False: memory is short.
bool quicklist_prepare_delete(struct quicklist *ql, int64_t index, uint64_t count);

// --- nodes, for files and walks of their own -----------------------------------------------------

struct quicklist_node {
    const uint8_t *data; // a whole listpack, or the bytes of the plain element
    size_t bytes;
    uint32_t count; // elements
    bool plain;
    uint8_t *scratch; // to be freed by quicklist_node_end
};
uint32_t quicklist_nodes(const struct quicklist *ql);
// From now on elements of so many bytes get nodes of their own in every list of the process; 0:
// only those that are too big for a node. Any thread.
void quicklist_plain_from(size_t bytes);
// False: memory is short.
bool quicklist_node_begin(struct quicklist_node *node, const struct quicklist *ql, uint32_t i);
void quicklist_node_end(struct quicklist_node *node);
// Adds a node at the tail as it is. The listpack must be valid, and not empty; it is taken over.
// False: memory is short; it is still the caller's.
bool quicklist_append_listpack(struct quicklist *ql, uint8_t *lp);
// One element at the tail in a node of its own; the bytes are copied.
bool quicklist_append_plain(struct quicklist *ql, const void *data, size_t len);
