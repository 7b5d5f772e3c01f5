// What the files of this folder share.
#pragma once

#include <mimalloc.h>
#include <string.h>

#include "dataplane/store/internal.h"
#include "dataplane/store/members.h"
#include "dataplane/store/object.h"
#include "dataplane/store/rdb/rdb.h"
#include "dataplane/store/values/intset.h"
#include "dataplane/store/values/listpack.h"
#include "dataplane/store/values/quicklist.h"
#include "dataplane/store/values/stream.h"
#include "dataplane/store/values/zset.h"

// One value being read.
struct rdb_load {
    struct rdb_reader *r;
    struct store *s;
    const struct rdb_limits *limits;
    struct rdb_value *value; // what comes out
};

// Both return false, so that a loader can end with them.
static inline bool rdb_bad(struct rdb_reader *r)
{
    if (!r->error)
        r->error = RDB_BAD;
    return false;
}
static inline bool rdb_short(struct rdb_reader *r)
{
    if (!r->error)
        r->error = RDB_NO_MEMORY;
    return false;
}

static inline size_t rdb_left(const struct rdb_reader *r)
{
    return (size_t)(r->end - r->at);
}

static inline bool rdb_done(struct rdb_load *l, enum object_encoding encoding, void *object)
{
    l->value->encoding = encoding;
    l->value->object = object;
    return object != NULL;
}

// --- load.c
// A count of things that take at least `least` bytes each; 0 (and an error) when that cannot be or
// there are none.
uint64_t rdb_read_count(struct rdb_reader *r, size_t least);
// Adds a member that must be new.
bool rdb_add_member(struct rdb_load *l, struct members *m, const uint8_t *name, size_t len,
                    const uint8_t *value, size_t value_len);
// True when no two of the elements at 0, step, 2 * step … are equal.
bool rdb_unique(struct rdb_load *l, const uint8_t *lp, unsigned step);
// Members of a listpack's elements, in steps of 1 (names), 2 (and values) or 3 (and expiries).
struct members *rdb_members_of(struct rdb_load *l, const uint8_t *lp, unsigned step);
// A checked copy of the listpack in a string: whole records of `step` elements.
uint8_t *rdb_read_listpack(struct rdb_reader *r, unsigned step, bool may_be_empty);
// A list, set, hash or sorted set out of a listpack that is taken over; what its elements say is
// checked here.
bool rdb_hash_of(struct rdb_load *l, uint8_t *lp);
bool rdb_set_of(struct rdb_load *l, uint8_t *lp);

// --- sorted.c
bool rdb_load_zset(struct rdb_load *l, bool text);
bool rdb_zset_of(struct rdb_load *l, uint8_t *lp);
void rdb_write_zset(struct out *o, const struct zset *z, bool compress);

// --- list.c
bool rdb_load_list(struct rdb_load *l);
bool rdb_load_quicklist(struct rdb_load *l, enum rdb_type type);
bool rdb_list_of(struct rdb_load *l, uint8_t *lp);
void rdb_write_list(struct out *o, const struct quicklist *ql, bool compress);

// --- stream.c
bool rdb_load_stream(struct rdb_load *l, enum rdb_type type);
void rdb_write_stream(struct out *o, const struct stream_value *x, bool compress);

// --- old.c: forms of Redis before 7.0, as listpacks. NULL: an error, which `r` has.
uint8_t *rdb_read_ziplist(struct rdb_reader *r, unsigned step);
uint8_t *rdb_read_zipmap(struct rdb_reader *r);
