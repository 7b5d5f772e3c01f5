// Streams: nodes as they are, then what is told of the whole, then groups. A group's pending
// entries come twice: with what is known of them, and as ids with each consumer.
#include <endian.h>

#include "dataplane/store/rdb/internal.h"

enum { ID_BYTES = 16, PENDING_BYTES_MIN = ID_BYTES + 8 + 1 };

// --- ids ----------------------------------------------------------------------------------------

static void write_raw_id(uint8_t raw[ID_BYTES], struct stream_id id)
{
    uint64_t big[2] = {htobe64(id.ms), htobe64(id.seq)};
    memcpy(raw, big, ID_BYTES);
}

static struct stream_id raw_id(const uint8_t *raw)
{
    uint64_t big[2];
    memcpy(big, raw, ID_BYTES);
    return (struct stream_id){be64toh(big[0]), be64toh(big[1])};
}

static struct stream_id read_raw_id(struct rdb_reader *r)
{
    const uint8_t *raw = rdb_read_bytes(r, ID_BYTES);
    return raw ? raw_id(raw) : (struct stream_id){0};
}

static struct stream_id read_id(struct rdb_reader *r)
{
    uint64_t ms = rdb_read_length(r), seq = rdb_read_length(r);
    return (struct stream_id){ms, seq};
}

static int64_t read_time(struct rdb_reader *r)
{
    uint64_t ms = rdb_read_milliseconds(r);
    if (ms > INT64_MAX)
        rdb_bad(r);
    return (int64_t)ms;
}

// A count that may be 0, of things that take at least `least` bytes each.
static uint64_t read_count(struct rdb_reader *r, size_t least)
{
    uint64_t n = rdb_read_length(r);
    if (n > rdb_left(r) / least)
        rdb_bad(r);
    return r->error ? 0 : n;
}

// --- nodes --------------------------------------------------------------------------------------

// Adds a node; its live entries.
static uint64_t load_node(struct rdb_load *l, struct stream_value *x)
{
    struct rdb_string name;
    struct stream_id id = {0};
    uint64_t live = 0;
    if (rdb_read_string(l->r, &name) && name.len == ID_BYTES)
        id = raw_id(name.ptr);
    else
        rdb_bad(l->r);
    rdb_string_clear(&name);
    uint8_t *lp = l->r->error ? NULL : rdb_read_listpack(l->r, 1, false);
    if (!lp)
        return 0;
    struct btree_at last = btree_last(&x->nodes);
    // Redis takes a node away with its last entry.
    if (!stream_node_valid(lp, &live) || !live ||
        (last.leaf && stream_id_compare(stream_node_id(last), id) >= 0))
        rdb_bad(l->r);
    else if (!stream_node_add(x, id, lp))
        rdb_short(l->r);
    if (l->r->error)
        lp_free(lp);
    return live;
}

// Whether all entries are in order and none is beyond the last id.
static bool in_order(const struct stream_value *x)
{
    struct stream_walk walk;
    struct stream_id before = {0};
    uint64_t n = 0;
    stream_walk_begin(&walk, x, STREAM_ID_MIN, STREAM_ID_MAX, false);
    for (; stream_walk_next(&walk); n++) {
        if (stream_id_compare(walk.id, before) <= 0)
            return false;
        before = walk.id;
    }
    return n == x->length && stream_id_compare(before, x->last) <= 0;
}

static void load_entries(struct rdb_load *l, struct stream_value *x, enum rdb_type type)
{
    struct rdb_reader *r = l->r;
    uint64_t live = 0;
    for (uint64_t n = read_count(r, ID_BYTES); n && !r->error; n--)
        live += load_node(l, x);
    x->length = rdb_read_length(r);
    x->last = read_id(r);
    x->entries_added = x->length;
    if (type != RDB_STREAM) {
        read_id(r); // the first entry, which the nodes tell
        x->max_deleted = read_id(r);
        x->entries_added = rdb_read_length(r);
    }
    if (r->error || x->length != live || x->entries_added < x->length ||
        x->entries_added > INT64_MAX || stream_id_compare(x->max_deleted, x->last) > 0 ||
        !in_order(x))
        rdb_bad(r);
    else
        x->first = stream_edge(x, false);
}

// --- groups -------------------------------------------------------------------------------------

// An entry of a group that waits for its consumer.
struct waiting {
    struct stream_id id;
    int64_t delivered_ms;
    uint64_t deliveries;
    bool taken;
};

// The pending entries of a group in order of their ids. NULL: there are none, or an error.
static struct waiting *read_pending(struct rdb_load *l, uint64_t *n)
{
    *n = read_count(l->r, PENDING_BYTES_MIN);
    struct waiting *all = *n ? mi_mallocn(*n, sizeof(*all)) : NULL;
    if (*n && !all)
        rdb_short(l->r);
    for (uint64_t i = 0; i < *n && !l->r->error; i++) {
        all[i] = (struct waiting){.id = read_raw_id(l->r)};
        all[i].delivered_ms = read_time(l->r);
        all[i].deliveries = rdb_read_length(l->r);
        if (i && stream_id_compare(all[i - 1].id, all[i].id) >= 0)
            rdb_bad(l->r);
    }
    return all;
}

static struct waiting *find_waiting(struct waiting *all, uint64_t n, struct stream_id id)
{
    uint64_t low = 0, high = n;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = stream_id_compare(all[middle].id, id);
        if (!order)
            return &all[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static struct stream_consumer *load_consumer_name(struct rdb_load *l, struct stream_value *x,
                                                  struct stream_group *g, enum rdb_type type)
{
    struct rdb_string name;
    struct stream_consumer *c = NULL;
    rdb_read_string(l->r, &name);
    int64_t seen_ms = read_time(l->r);
    if (type == RDB_STREAM_3)
        rdb_read_milliseconds(l->r); // when it was last active
    if (l->r->error || name.len > UINT32_MAX || stream_consumer_find(g, name.ptr, name.len))
        rdb_bad(l->r);
    else if (!(c = stream_consumer_add(x, g, name.ptr, name.len, seen_ms)))
        rdb_short(l->r);
    rdb_string_clear(&name);
    return c;
}

// A consumer takes its pending entries from the group's. Their number.
static uint64_t load_consumer(struct rdb_load *l, struct stream_value *x, struct stream_group *g,
                              enum rdb_type type, struct waiting *all, uint64_t n_all)
{
    struct stream_consumer *c = load_consumer_name(l, x, g, type);
    uint64_t n = c ? read_count(l->r, ID_BYTES) : 0;
    for (uint64_t i = 0; i < n && !l->r->error; i++) {
        struct waiting *w = find_waiting(all, n_all, read_raw_id(l->r));
        if (l->r->error || !w || w->taken) {
            rdb_bad(l->r);
            break;
        }
        struct stream_nack *nack = stream_nack_add(x, g, c, w->id, w->delivered_ms);
        if (!nack) {
            rdb_short(l->r);
            break;
        }
        nack->deliveries = w->deliveries;
        w->taken = true;
    }
    return n;
}

static void load_group(struct rdb_load *l, struct stream_value *x, enum rdb_type type)
{
    struct rdb_reader *r = l->r;
    struct rdb_string name;
    struct stream_group *g = NULL;
    rdb_read_string(r, &name);
    struct stream_id last = read_id(r);
    int64_t entries_read = type == RDB_STREAM ? 0 : (int64_t)rdb_read_length(r);
    if (type == RDB_STREAM)
        entries_read = stream_entries_up_to(x, last);
    if (r->error || name.len > UINT32_MAX || entries_read < STREAM_ENTRIES_READ_UNKNOWN ||
        stream_group_find(x, name.ptr, name.len))
        rdb_bad(r);
    else if (!(g = stream_group_add(x, name.ptr, name.len, last, entries_read)))
        rdb_short(r);
    rdb_string_clear(&name);
    if (!g)
        return;
    uint64_t n, taken = 0;
    struct waiting *all = read_pending(l, &n);
    for (uint64_t consumers = read_count(r, 10); consumers && !r->error; consumers--)
        taken += load_consumer(l, x, g, type, all, n);
    if (taken != n)
        rdb_bad(r);
    mi_free(all);
}

bool rdb_load_stream(struct rdb_load *l, enum rdb_type type)
{
    struct stream_value *x = stream_new();
    if (!x)
        return rdb_short(l->r);
    load_entries(l, x, type);
    for (uint64_t n = read_count(l->r, 5); n && !l->r->error; n--)
        load_group(l, x, type);
    if (!l->r->error)
        return rdb_done(l, ENC_STREAM, x);
    stream_free(x);
    return false;
}

// --- writing ------------------------------------------------------------------------------------

static void write_id(struct out *o, struct stream_id id)
{
    rdb_write_length(o, id.ms);
    rdb_write_length(o, id.seq);
}

static void write_pending(struct out *o, const struct btree *pending, bool whole)
{
    rdb_write_length(o, pending->count);
    struct btree_at at = btree_first(pending);
    for (bool more = at.leaf; more; more = btree_next(&at)) {
        const struct stream_nack *nack = btree_item(at);
        uint8_t raw[ID_BYTES];
        write_raw_id(raw, (struct stream_id){nack->ms, nack->seq});
        rdb_write_bytes(o, raw, ID_BYTES);
        if (!whole)
            continue;
        rdb_write_milliseconds(o, (uint64_t)nack->delivered_ms);
        rdb_write_length(o, nack->deliveries);
    }
}

static void write_group(struct out *o, const struct stream_group *g, bool compress)
{
    rdb_write_string(o, g->name, g->name_len, compress);
    write_id(o, g->last);
    rdb_write_length(o, (uint64_t)g->entries_read);
    write_pending(o, &g->pending, true);
    rdb_write_length(o, g->consumers.count);
    struct btree_at at = btree_first(&g->consumers);
    for (bool more = at.leaf; more; more = btree_next(&at)) {
        const struct stream_consumer *c = btree_item(at);
        rdb_write_string(o, c->name, c->name_len, compress);
        rdb_write_milliseconds(o, (uint64_t)c->seen_ms);
        write_pending(o, &c->pending, false);
    }
}

void rdb_write_stream(struct out *o, const struct stream_value *x, bool compress)
{
    rdb_write_length(o, x->nodes.count);
    struct btree_at at = btree_first(&x->nodes);
    for (bool more = at.leaf; more; more = btree_next(&at)) {
        const struct stream_node *node = btree_item(at);
        uint8_t raw[ID_BYTES];
        write_raw_id(raw, stream_node_id(at));
        rdb_write_string(o, raw, ID_BYTES, compress);
        rdb_write_string(o, node->lp, lp_bytes(node->lp), compress);
    }
    rdb_write_length(o, x->length);
    write_id(o, x->last);
    write_id(o, x->first);
    write_id(o, x->max_deleted);
    rdb_write_length(o, x->entries_added);
    rdb_write_length(o, x->groups.count);
    at = btree_first(&x->groups);
    for (bool more = at.leaf; more; more = btree_next(&at))
        write_group(o, btree_item(at), compress);
}
