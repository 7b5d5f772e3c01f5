// A stream: entries in order of their ids, and consumer groups.
//
// Entries lie in nodes, each a listpack in the byte format of Redis's files; the nodes are in a
// tree by the id they were begun with. A node's listpack is
//
//     live entries, deleted entries, number of fields, the fields …, 0
//     then for each entry: flags, ms and seq less those of the node's id,
//         number of fields and field, value, field, value …   or
//         value, value …                                      when its fields are the node's,
//         number of the entry's elements before this one
//
// An entry that was delivered to a consumer and not acknowledged is pending: one `stream_nack`, in
// the list of the group and in that of the consumer. Groups and consumers are in order of their
// names' bytes, pending entries in order of id.
//
// Memory is mimalloc's, counted exactly. Nothing here knows of keys, clients or the time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/store/values/btree.h"

struct arg;

struct stream_id {
    uint64_t ms, seq;
};
#define STREAM_ID_MIN ((struct stream_id){0, 0})
#define STREAM_ID_MAX ((struct stream_id){UINT64_MAX, UINT64_MAX})
#define STREAM_ENTRIES_READ_UNKNOWN (-1)
#define STREAM_ENTRY_BYTES_MAX (1u << 30) // of all fields and values of one entry

// Items of trees by id begin with `seq`; ms is the key.
struct stream_node {
    uint64_t seq;
    uint8_t *lp;
};

struct stream_nack {
    uint64_t seq, ms;
    int64_t delivered_ms; // Unix time
    uint64_t deliveries;
    struct stream_consumer *consumer;
};

struct stream_consumer {
    struct btree pending; // of stream_nack
    struct stream_group *group;
    int64_t seen_ms; // Unix time
    uint32_t name_len;
    uint8_t name[];
};

struct stream_group {
    struct btree pending;    // of stream_nack, all of the group
    struct btree consumers;  // of stream_consumer
    struct stream_id last;   // delivered last
    int64_t entries_read;    // or STREAM_ENTRIES_READ_UNKNOWN
    uint64_t consumer_bytes; // of all consumers: structs and lists
    uint32_t name_len;
    uint8_t name[];
};

struct stream_value {
    struct btree nodes;  // of stream_node
    struct btree groups; // of stream_group
    uint64_t length;
    uint64_t entries_added;              // ever
    struct stream_id last;               // highest ever given
    struct stream_id first, max_deleted; // 0-0: none
    uint64_t radix_nodes; // that a radix tree over the ids of nodes would have, as XINFO tells
    uint64_t pending;     // of all groups
    uint64_t consumers;   // of all groups
    uint64_t bytes;       // of everything but the struct and the two trees above
};

static inline int stream_id_compare(struct stream_id a, struct stream_id b)
{
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}
static inline bool stream_id_is_zero(struct stream_id id)
{
    return !id.ms && !id.seq;
}
// The id behind or before; false, and unchanged, at either end.
bool stream_id_increment(struct stream_id *id);
bool stream_id_decrement(struct stream_id *id);

struct stream_value *stream_new(void);               // NULL: memory is short
size_t stream_memory(const struct stream_value *x);  // all of it, the struct included
uint64_t stream_count(const struct stream_value *x); // entries, pending entries and consumers
struct stream_value *stream_copy(const struct stream_value *x);
// The same in steps, all zero at first: about `*budget` consumers, pending entries, or runs of 64
// bytes of entries. True: it is over; copy NULL: memory is short.
struct stream_copying {
    struct stream_value *copy;
    struct btree_at node, group, consumer, nack; // the next ones
    struct stream_group *to_group;               // of the copy; NULL: to be made
    struct stream_consumer *to_consumer;
};
bool stream_copy_step(const struct stream_value *x, struct stream_copying *c, unsigned *budget);
// Frees what about `*budget` elements take, the struct too when all are gone: true then.
bool stream_free_step(struct stream_value *x, unsigned *budget);
void stream_free(struct stream_value *x);

// Hints that an entry will be added: the last leaf of nodes (depth 1), the last node (2), its
// listpack (3), the end of that (4). False: there is nothing deeper.
bool stream_prefetch(const struct stream_value *x, unsigned depth);

// --- nodes (stream.c): how a stream is saved and built again -------------------------------------

// A node as read from outside: well-formed, or not. `lp` must have passed lp_validate. `*live`
// becomes the number of its entries that are not deleted.
bool stream_node_valid(const uint8_t *lp, uint64_t *live);
// Adds a node; takes the listpack over. Counts of the stream (length, first …) are the caller's to
// set. False: memory is short, or the id is there already; the listpack is still the caller's.
bool stream_node_add(struct stream_value *x, struct stream_id id, uint8_t *lp);
void stream_node_remove(struct stream_value *x, struct stream_id id);
// Gives a node the listpack that its own became by a change; `before` is what that took.
void stream_node_moved(struct stream_value *x, struct stream_node *node, uint8_t *lp,
                       size_t before);
static inline struct stream_id stream_node_id(struct btree_at at)
{
    return (struct stream_id){btree_key(at), ((const struct stream_node *)btree_item(at))->seq};
}

// --- entries (stream_entries.c) ------------------------------------------------------------------

enum stream_added { STREAM_ADDED, STREAM_TOO_LARGE, STREAM_NO_MEMORY };
// Adds an entry of `n` words (field, value, field, value …). The id must be above `last`.
enum stream_added stream_add(struct stream_value *x, struct stream_id id, const struct arg *words,
                             unsigned n, uint64_t node_max_bytes, uint64_t node_max_entries);
// False: it is not there. Keeps `first` and `max_deleted` right.
bool stream_delete(struct stream_value *x, struct stream_id id);

struct stream_trim {
    enum { STREAM_TRIM_NONE, STREAM_TRIM_MAXLEN, STREAM_TRIM_MINID } by;
    bool approximate; // whole nodes only
    uint64_t maxlen;
    struct stream_id minid;
    uint64_t limit; // of entries to remove; 0: none
};
uint64_t stream_trim(struct stream_value *x, const struct stream_trim *trim); // entries removed

// A walk over the entries of [start, end]. The stream must not change meanwhile.
struct stream_walk {
    const struct stream_value *stream;
    struct stream_id start, end;
    struct btree_at at; // of the next node
    struct stream_node *node;
    struct stream_id node_id;
    uint8_t *entry; // where the next entry is looked for
    uint8_t *node_fields;
    uint64_t node_n;
    bool reverse;
    // The entry that was given last.
    struct stream_id id;
    uint64_t n; // fields
    uint8_t *flags, *next_word, *next_field;
    uint64_t words; // that lie between next_word and the entry's end
};
void stream_walk_begin(struct stream_walk *w, const struct stream_value *x, struct stream_id start,
                       struct stream_id end, bool reverse);
bool stream_walk_next(struct stream_walk *w);
// The next field and value of the entry, elements of a listpack; to be called n times at most.
void stream_walk_field(struct stream_walk *w, const uint8_t **field, const uint8_t **value);
bool stream_has(const struct stream_value *x, struct stream_id id);
// The first or last entry that is there; 0-0 without one.
struct stream_id stream_edge(const struct stream_value *x, bool last);

// --- groups (stream_groups.c) --------------------------------------------------------------------

struct stream_group *stream_group_find(const struct stream_value *x, const void *name, size_t len);
// NULL: memory is short. The name must not be there yet.
struct stream_group *stream_group_add(struct stream_value *x, const void *name, size_t len,
                                      struct stream_id last, int64_t entries_read);
void stream_group_remove(struct stream_value *x, struct stream_group *g);
// The same in constant time: what it takes becomes a stream of its own that has nothing else, to be
// freed in steps. NULL: memory is short, nothing changed.
struct stream_value *stream_group_detach(struct stream_value *x, struct stream_group *g);

struct stream_consumer *stream_consumer_find(const struct stream_group *g, const void *name,
                                             size_t len);
struct stream_consumer *stream_consumer_add(struct stream_value *x, struct stream_group *g,
                                            const void *name, size_t len, int64_t seen_ms);
void stream_consumer_remove(struct stream_value *x, struct stream_group *g,
                            struct stream_consumer *c); // with its pending entries

struct stream_nack *stream_nack_find(const struct btree *pending, struct stream_id id);
// A pending entry, which must not be there yet; delivered once. NULL: memory is short.
struct stream_nack *stream_nack_add(struct stream_value *x, struct stream_group *g,
                                    struct stream_consumer *c, struct stream_id id,
                                    int64_t delivered_ms);
// False: memory is short, and it stays whose it was.
bool stream_nack_give(struct stream_value *x, struct stream_nack *nack, struct stream_consumer *c);
void stream_nack_remove(struct stream_value *x, struct stream_group *g, struct stream_nack *nack);

// An entry from `start` on may have been deleted.
bool stream_has_gap(const struct stream_value *x, struct stream_id start);
// How many entries were ever added up to this id; STREAM_ENTRIES_READ_UNKNOWN where it cannot be
// told.
int64_t stream_entries_up_to(const struct stream_value *x, struct stream_id id);
// How many entries the group has not read yet. False: it cannot be told.
bool stream_group_lag(const struct stream_value *x, const struct stream_group *g, int64_t *lag);
