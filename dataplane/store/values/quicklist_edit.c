// Changes in the middle of a quicklist.
#include <mimalloc.h>

#include "dataplane/store/heap.h"
#include "dataplane/store/values/quicklist_internal.h"

// Makes the node of a place one that listpack functions may change.
static void own(struct quicklist_iter *it)
{
    struct quicklist *ql = it->ql;
    size_t at = (size_t)(it->p - it->lp);
    if (it->scratch) {
        ql_node_adopt(ql, it->node, it->scratch);
        it->scratch = NULL;
    }
    if (it->node == 0)
        ql_close_gap(ql);
    it->lp = node_bytes(ql, it->node);
    it->p = it->lp + at;
}

// The same for a node by its index. False: memory is short.
static bool own_node(struct quicklist *ql, uint32_t i)
{
    if (!ql_node_unpack(ql, i))
        return false;
    if (i == 0)
        ql_close_gap(ql);
    return true;
}

// The elements of an owned packed node from `p` on become a node of their own behind it.
static bool split(struct quicklist *ql, uint32_t i, const uint8_t *p)
{
    uint8_t *lp = node_bytes(ql, i);
    size_t tail = (size_t)(lp + lp_bytes(lp) - p), bytes = LP_EMPTY_BYTES - 1 + tail;
    uint32_t count = 0;
    struct lp_item item;
    for (const uint8_t *q = p; *q != LP_END; count++)
        q = lp_step(q, &item);
    struct node right = {heap_hint(mi_malloc(bytes)), (uint32_t)bytes, count, 0};
    if (!right.data)
        return false;
    memcpy(right.data + LP_EMPTY_BYTES - 1, p, tail);
    node_set_header(right.data, right.bytes, count);
    if (!ql_ring_insert(ql, i + 1, &right)) {
        mi_free(right.data);
        return false;
    }
    ql->count -= count;
    struct node *n = node_at(ql, i);
    n->count -= count;
    n->bytes -= (uint32_t)tail - 1;
    n->flags = 0;
    lp[n->bytes - 1] = LP_END;
    node_set_header(lp, n->bytes, n->count);
    ql_node_shrink(ql, i);
    return true;
}

// Joins a packed node with the one behind it if both fit one.
static void join(struct quicklist *ql, uint32_t i)
{
    if (i + 1 >= ql->len)
        return;
    const struct node *a = node_at(ql, i), *b = node_at(ql, i + 1);
    if ((a->flags | b->flags) & NODE_PLAIN || a->bytes + b->bytes > ql_node_limit(ql) ||
        (ql->fill > 0 && a->count + b->count > (uint32_t)ql->fill) || !own_node(ql, i) ||
        !own_node(ql, i + 1))
        return;
    size_t before = mi_usable_size(a->data);
    uint8_t *lp = lp_append_all(a->data, b->data);
    if (!lp)
        return;
    ql_node_moved(ql, i, lp, before);
    ql_ring_remove(ql, i + 1, 1);
}

// A new node of one element before index i.
static bool insert_node(struct quicklist *ql, uint32_t i, const void *data, size_t len)
{
    struct node n = {.count = 1};
    if (ql_is_large(ql, len)) {
        if (len > UINT32_MAX)
            return false;
        n.data = mi_malloc(len);
        if (n.data)
            memcpy(n.data, data, len);
        n.bytes = (uint32_t)len;
        n.flags = NODE_PLAIN;
    } else {
        uint8_t *empty = lp_new(LP_EMPTY_BYTES + lp_element_bytes(data, len));
        n.data = empty ? lp_append(empty, data, len) : NULL;
        n.bytes = n.data ? (uint32_t)lp_bytes(n.data) : 0;
        if (!n.data)
            lp_free(empty);
    }
    if (n.data && ql_ring_insert(ql, i, &n))
        return true;
    mi_free(n.data);
    return false;
}

// Adds to the front or back of a node.
static bool add_to(struct quicklist *ql, uint32_t i, bool back, const void *data, size_t len)
{
    if (!own_node(ql, i))
        return false;
    uint8_t *lp = node_bytes(ql, i);
    size_t before = mi_usable_size(lp);
    lp = back ? lp_append(lp, data, len) : lp_prepend(lp, data, len);
    if (lp)
        ql_node_moved(ql, i, lp, before);
    return lp;
}

// Between node i - 1 and node i.
static bool insert_between(struct quicklist *ql, uint32_t i, const void *data, size_t len)
{
    bool large = ql_is_large(ql, len);
    if (!large && i > 0 && ql_node_takes(ql, i - 1, len))
        return add_to(ql, i - 1, true, data, len);
    if (!large && i < ql->len && ql_node_takes(ql, i, len))
        return add_to(ql, i, false, data, len);
    return insert_node(ql, i, data, len);
}

static bool insert(struct quicklist_iter *it, bool after, const void *data, size_t len)
{
    struct quicklist *ql = it->ql;
    uint32_t i = it->node;
    if (node_at(ql, i)->flags & NODE_PLAIN)
        return insert_between(ql, i + after, data, len);
    own(it);
    const uint8_t *p = it->p;
    if (!ql_is_large(ql, len) && ql_node_takes(ql, i, len)) {
        size_t before = mi_usable_size(it->lp);
        uint8_t *lp = lp_insert(it->lp, it->p, after ? LP_AFTER : LP_BEFORE, data, len, NULL);
        if (lp)
            ql_node_moved(ql, i, lp, before);
        return lp;
    }
    struct lp_item item;
    if (after)
        p = lp_step(p, &item);
    if (p == it->lp + LP_EMPTY_BYTES - 1)
        return insert_between(ql, i, data, len);
    if (*p != LP_END && !split(ql, i, p))
        return false;
    if (!insert_between(ql, i + 1, data, len))
        return false;
    join(ql, i + 1);
    return true;
}

bool quicklist_insert(struct quicklist_iter *it, bool after, const void *data, size_t len)
{
    bool ok = insert(it, after, data, len);
    ql_settle(it->ql, it->node);
    return ok;
}

// Makes the element of the place the only one of its node.
static bool isolate(struct quicklist_iter *it)
{
    own(it);
    if (it->p != it->lp + LP_EMPTY_BYTES - 1) {
        if (!split(it->ql, it->node, it->p))
            return false;
        it->node++;
        it->lp = node_bytes(it->ql, it->node);
        it->p = it->lp + LP_EMPTY_BYTES - 1;
    }
    uint8_t *next = lp_next(it->lp, it->p);
    return !next || split(it->ql, it->node, next);
}

// The node's only element is replaced by one in a node of its own.
static bool replace_node(struct quicklist *ql, uint32_t i, const void *data, size_t len)
{
    if (!insert_node(ql, i + 1, data, len))
        return false;
    ql_ring_remove(ql, i, 1);
    return true;
}

static bool replace(struct quicklist_iter *it, const void *data, size_t len)
{
    struct quicklist *ql = it->ql;
    const struct node *n = node_at(ql, it->node);
    if (n->flags & NODE_PLAIN)
        return replace_node(ql, it->node, data, len);
    if (ql_is_large(ql, len))
        return isolate(it) && replace_node(ql, it->node, data, len);
    own(it);
    size_t before = mi_usable_size(it->lp);
    uint8_t *lp = lp_insert(it->lp, it->p, LP_REPLACE, data, len, NULL);
    if (!lp)
        return false;
    ql_node_moved(ql, it->node, lp, before);
    // Elements that are replaced by longer ones must not make a node grow without end.
    if (n->bytes > 2 * ql_node_limit(ql) && n->count > 1)
        split(ql, it->node, lp_seek(lp, n->count / 2));
    else
        ql_node_shrink(ql, it->node);
    return true;
}

bool quicklist_replace(struct quicklist_iter *it, const void *data, size_t len)
{
    bool ok = replace(it, data, len);
    ql_settle(it->ql, it->node);
    return ok;
}

static bool next_node(struct quicklist_iter *it)
{
    if (it->node == (it->backward ? 0 : it->ql->len - 1))
        return false;
    it->node += it->backward ? -1u : 1;
    return ql_iter_open(it, it->backward ? -1 : 0);
}

bool quicklist_delete(struct quicklist_iter *it)
{
    struct quicklist *ql = it->ql;
    if (it->backward)
        it->index--;
    if (node_at(ql, it->node)->count == 1) {
        it->changed = false;
        it->emptied = true;
        ql_iter_leave(it);
        ql_ring_empty(ql, it->node);
        return next_node(it);
    }
    own(it);
    it->changed = true;
    const uint8_t *prev = it->backward ? lp_prev(it->lp, it->p) : NULL;
    size_t before = mi_usable_size(it->lp), at = prev ? (size_t)(prev - it->lp) : 0;
    uint8_t *next, *lp = lp_delete(it->lp, it->p, &next);
    ql_node_moved(ql, it->node, lp, before);
    it->lp = lp;
    it->p = !it->backward ? next : prev ? lp + at : NULL;
    if (it->p)
        return ql_iter_here(it);
    ql_iter_leave(it);
    return next_node(it);
}

// The node that holds the element of an index, and the element's index in it.
static uint32_t locate(const struct quicklist *ql, uint64_t index, uint32_t *at)
{
    uint32_t i = 0;
    for (; index >= node_at(ql, i)->count; i++)
        index -= node_at(ql, i)->count;
    *at = (uint32_t)index;
    return i;
}

static void delete_some(struct quicklist *ql, uint32_t i, uint32_t from, uint32_t count)
{
    uint8_t *lp = node_bytes(ql, i);
    size_t before = mi_usable_size(lp);
    ql_node_moved(ql, i, lp_delete_range(lp, from, count), before);
}

bool quicklist_prepare_delete(struct quicklist *ql, int64_t index, uint64_t count)
{
    int64_t all = (int64_t)ql->count;
    uint32_t at;
    if (index < 0)
        index += all;
    if (!ql->compress || index < 0 || index >= all || !count)
        return true;
    if (count > (uint64_t)(all - index))
        count = (uint64_t)(all - index);
    return ql_node_unpack(ql, locate(ql, (uint64_t)index, &at)) &&
           ql_node_unpack(ql, locate(ql, (uint64_t)index + count - 1, &at));
}

bool quicklist_delete_range(struct quicklist *ql, int64_t index, uint64_t count)
{
    int64_t all = (int64_t)ql->count;
    if (index < 0)
        index += all;
    if (index < 0 || index >= all || !count)
        return true;
    if (count > (uint64_t)(all - index))
        count = (uint64_t)(all - index);
    uint32_t from, to, first = locate(ql, (uint64_t)index, &from);
    uint32_t last = locate(ql, (uint64_t)index + count - 1, &to);
    bool whole_last = to + 1 == node_at(ql, last)->count;
    if (first == last && from == 0 && whole_last) {
        ql_ring_remove(ql, first, 1);
    } else if (first == last) {
        if (!own_node(ql, first))
            return false;
        delete_some(ql, first, from, to - from + 1);
    } else {
        if ((from && !own_node(ql, first)) || (!whole_last && !own_node(ql, last)))
            return false;
        if (!whole_last)
            delete_some(ql, last, 0, to + 1);
        if (from)
            delete_some(ql, first, from, UINT32_MAX);
        uint32_t begin = first + (from > 0), end = last + whole_last;
        ql_ring_remove(ql, begin, end - begin);
    }
    if (ql->len)
        ql_settle(ql, first);
    return true;
}
