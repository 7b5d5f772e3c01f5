// Lists.
#include "dataplane/store/rdb/internal.h"

// What a node of RDB_LIST_QUICKLIST_2 is.
enum { NODE_PLAIN = 1, NODE_PACKED = 2 };

static struct quicklist *list_new(struct rdb_load *l)
{
    struct quicklist *ql = NULL;
    if (!l->r->error)
        ql = quicklist_new(l->limits->list_max_listpack_size, l->limits->list_compress_depth);
    if (!ql)
        rdb_short(l->r);
    return ql;
}

static bool list_done(struct rdb_load *l, struct quicklist *ql)
{
    if (!l->r->error && quicklist_count(ql))
        return rdb_done(l, ENC_QUICKLIST, ql);
    rdb_bad(l->r);
    quicklist_free(ql);
    return false;
}

// Adds a node that is taken over. Redis takes empty ones and forgets them.
static void add_node(struct rdb_load *l, struct quicklist *ql, uint8_t *lp)
{
    if (!lp)
        return;
    if (!lp_first(lp)) {
        lp_free(lp);
    } else if (!quicklist_append_listpack(ql, lp)) {
        lp_free(lp);
        rdb_short(l->r);
    }
}

bool rdb_load_list(struct rdb_load *l)
{
    uint64_t n = rdb_read_count(l->r, 1);
    struct quicklist *ql = list_new(l);
    if (!ql)
        return false;
    for (; n && !l->r->error; n--) {
        struct rdb_string element;
        if (rdb_read_string(l->r, &element) &&
            !quicklist_push(ql, QUICKLIST_TAIL, element.ptr, element.len))
            rdb_short(l->r);
        rdb_string_clear(&element);
    }
    return list_done(l, ql);
}

static void load_node(struct rdb_load *l, struct quicklist *ql)
{
    uint64_t kind = rdb_read_length(l->r);
    if (kind == NODE_PACKED) {
        add_node(l, ql, rdb_read_listpack(l->r, 1, true));
    } else if (kind == NODE_PLAIN) {
        struct rdb_string element;
        if (rdb_read_string(l->r, &element) &&
            !quicklist_append_plain(ql, element.ptr, element.len))
            rdb_short(l->r);
        rdb_string_clear(&element);
    } else {
        rdb_bad(l->r);
    }
}

bool rdb_load_quicklist(struct rdb_load *l, enum rdb_type type)
{
    uint64_t n = rdb_read_count(l->r, 1);
    struct quicklist *ql = list_new(l);
    if (!ql)
        return false;
    for (; n && !l->r->error; n--) {
        if (type == RDB_LIST_QUICKLIST)
            add_node(l, ql, rdb_read_ziplist(l->r, 1));
        else
            load_node(l, ql);
    }
    return list_done(l, ql);
}

bool rdb_list_of(struct rdb_load *l, uint8_t *lp)
{
    if (!lp)
        return false;
    struct quicklist *ql = list_new(l);
    if (!ql) {
        lp_free(lp);
        return false;
    }
    add_node(l, ql, lp);
    return list_done(l, ql);
}

void rdb_write_list(struct out *o, const struct quicklist *ql, bool compress)
{
    uint32_t n = quicklist_nodes(ql);
    rdb_write_length(o, n);
    for (uint32_t i = 0; i < n; i++) {
        struct quicklist_node node;
        if (!quicklist_node_begin(&node, ql, i)) {
            o->failed = true;
            return;
        }
        rdb_write_length(o, node.plain ? NODE_PLAIN : NODE_PACKED);
        rdb_write_string(o, node.data, node.bytes, compress);
        quicklist_node_end(&node);
    }
}
