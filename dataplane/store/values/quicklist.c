// The quicklist as a whole, its ends, and walks over it.
#include <mimalloc.h>
#include <string.h>

#include "common/prefetch.h"
#include "dataplane/store/entry.h"
#include "dataplane/store/heap.h"
#include "dataplane/store/values/quicklist_internal.h"

enum {
    SHRINK_MIN = 64,  // less memory is not worth a move
    FREE_BYTES = 256, // of a node, that cost as much to free as an element elsewhere
    COPY_BYTES = 64,  // the same for copying
};

struct quicklist *quicklist_new(int fill, unsigned compress)
{
    struct quicklist *ql = heap_hint(mi_zalloc(sizeof(*ql)));
    if (!ql)
        return NULL;
    ql->ring = &ql->one;
    ql->cap = 1;
    ql->fill = fill < -5 ? -5 : fill < 1 && fill >= 0 ? 1 : fill;
    ql->compress = compress <= UINT16_MAX ? compress : 0; // so deep, nothing is compressed
    ql->memory = mi_usable_size(ql);
    return ql;
}

size_t quicklist_memory(const struct quicklist *ql)
{
    return ql->memory;
}

uint64_t quicklist_count(const struct quicklist *ql)
{
    return ql->count;
}

bool quicklist_free_step(struct quicklist *ql, unsigned *budget)
{
    while (ql->len) {
        if (!*budget)
            return false;
        const struct node *n = node_at(ql, --ql->len);
        unsigned cost = 1 + n->bytes / FREE_BYTES;
        *budget -= *budget < cost ? *budget : cost;
        ql->memory -= mi_usable_size(n->data);
        mi_free(n->data);
    }
    if (ql->cap > 1)
        mi_free(ql->ring);
    mi_free(ql);
    return true;
}

void quicklist_free(struct quicklist *ql)
{
    unsigned budget;
    do
        budget = UINT32_MAX;
    while (!quicklist_free_step(ql, &budget));
}

static bool copy_node(const struct quicklist *ql, struct quicklist *copy, uint32_t i, size_t *size)
{
    struct node n = *node_at(ql, i);
    const uint8_t *from = node_bytes(ql, i);
    *size = n.bytes;
    if (n.flags & NODE_LZF)
        *size = sizeof(struct lzf_box) + ((const struct lzf_box *)(const void *)from)->packed;
    n.data = heap_hint(mi_malloc(*size ? *size : 1));
    if (n.data) {
        memcpy(n.data, from, *size);
        if (ql_ring_insert(copy, i, &n))
            return true;
    }
    mi_free(n.data);
    return false;
}

bool quicklist_copy_step(const struct quicklist *ql, struct quicklist **copy, uint32_t *node,
                         unsigned *budget)
{
    if (!*copy && !(*copy = quicklist_new(ql->fill, ql->compress)))
        return true;
    for (size_t size; *node < ql->len; ++*node) {
        if (!*budget)
            return false;
        if (!copy_node(ql, *copy, *node, &size)) {
            quicklist_free(*copy);
            *copy = NULL;
            return true;
        }
        size_t cost = 1 + size / COPY_BYTES;
        *budget -= cost < *budget ? (unsigned)cost : *budget;
    }
    return true;
}

struct quicklist *quicklist_copy(const struct quicklist *ql)
{
    struct quicklist *copy = NULL;
    uint32_t node = 0;
    unsigned budget = UINT32_MAX;
    while (!quicklist_copy_step(ql, &copy, &node, &budget))
        budget = UINT32_MAX;
    return copy;
}

// --- the ends ------------------------------------------------------------------------------------

static void slide(struct quicklist *ql, struct node *n, uint32_t gap)
{
    memmove(n->data + gap, n->data + ql->gap, n->bytes);
    ql->gap = gap;
}

// Moves the content of an end node to other memory, with all the room that is over at one side.
static bool move_node(struct quicklist *ql, uint32_t i, size_t size, bool room_in_front)
{
    struct node *n = node_at(ql, i);
    size_t before = mi_usable_size(n->data);
    uint32_t gap = i ? 0 : ql->gap;
    uint8_t *data;
    if (!gap && !room_in_front) {
        data = mi_realloc(n->data, size);
        if (!data)
            return false;
    } else {
        data = heap_hint(mi_malloc(size));
        if (!data)
            return false;
        uint32_t front = room_in_front ? (uint32_t)(mi_usable_size(data) - n->bytes) : 0;
        memcpy(data + front, n->data + gap, n->bytes);
        mi_free(n->data);
        ql->gap = i ? ql->gap : front;
    }
    n->data = data;
    ql->memory += mi_usable_size(data) - before;
    return true;
}

// Makes `size` bytes free before or behind the content of an end node.
static bool make_room(struct quicklist *ql, uint32_t i, size_t size, bool in_front)
{
    struct node *n = node_at(ql, i);
    size_t usable = mi_usable_size(n->data);
    uint32_t gap = i ? 0 : ql->gap;
    if (in_front ? gap >= size : usable - gap - n->bytes >= size)
        return true;
    // What is free at the other side, if it is worth a move, is shared by both from now on.
    size_t over = usable - n->bytes;
    if (i == 0 && over >= size && over - size >= usable / 8) {
        size_t rest = (over - size) / 2;
        slide(ql, n, (uint32_t)(in_front ? rest + size : rest));
        return true;
    }
    // The allocator's classes are an eighth apart: growth is amortised, and little lies idle.
    return move_node(ql, i, n->bytes + size, in_front);
}

static bool push_node(struct quicklist *ql, enum quicklist_end end, struct node *n, uint32_t gap)
{
    uint32_t i = end == QUICKLIST_HEAD ? 0 : ql->len;
    // What was the end gives back what it does not use.
    if (ql->len)
        ql_node_shrink(ql, end == QUICKLIST_HEAD ? 0 : ql->len - 1);
    if (!n->data || !ql_ring_insert(ql, i, n)) {
        mi_free(n->data);
        return false;
    }
    if (i == 0)
        ql->gap = gap;
    ql_settle_ends(ql);
    return true;
}

static bool push_plain(struct quicklist *ql, enum quicklist_end end, const void *data, size_t len)
{
    if (len > UINT32_MAX)
        return false;
    struct node n = {heap_hint(mi_malloc(len ? len : 1)), (uint32_t)len, 1, NODE_PLAIN};
    if (n.data && len)
        memcpy(n.data, data, len);
    return push_node(ql, end, &n, 0);
}

bool quicklist_append_plain(struct quicklist *ql, const void *data, size_t len)
{
    return push_plain(ql, QUICKLIST_TAIL, data, len);
}

bool quicklist_append_listpack(struct quicklist *ql, uint8_t *lp)
{
    struct node n = {lp, (uint32_t)lp_bytes(lp), lp_count(lp), 0};
    if (ql->len)
        ql_node_shrink(ql, ql->len - 1);
    if (!ql_ring_insert(ql, ql->len, &n))
        return false;
    ql_node_shrink(ql, ql->len - 1);
    ql_settle_ends(ql);
    return true;
}

// A node of one element; what room the allocator gives besides is towards the list's end.
static bool push_packed(struct quicklist *ql, enum quicklist_end end, const struct lp_encoded *e,
                        size_t size)
{
    size_t bytes = LP_EMPTY_BYTES + size;
    struct node n = {heap_hint(mi_malloc(bytes)), (uint32_t)bytes, 1, 0};
    uint32_t gap = 0;
    if (n.data) {
        if (end == QUICKLIST_HEAD)
            gap = (uint32_t)(mi_usable_size(n.data) - bytes);
        uint8_t *lp = n.data + gap;
        node_set_header(lp, n.bytes, 1);
        lp_write(lp + LP_EMPTY_BYTES - 1, e);
        lp[bytes - 1] = 0xff;
    }
    return push_node(ql, end, &n, gap);
}

bool quicklist_push(struct quicklist *ql, enum quicklist_end end, const void *data, size_t len)
{
    if (ql_is_large(ql, len))
        return push_plain(ql, end, data, len);
    struct lp_encoded e;
    size_t size = lp_encode(&e, data, len);
    bool head = end == QUICKLIST_HEAD;
    uint32_t i = head || !ql->len ? 0 : ql->len - 1;
    if (!ql->len || !ql_node_takes(ql, i, len))
        return push_packed(ql, end, &e, size);
    if (!ql_node_unpack(ql, i) || !make_room(ql, i, size, head))
        return false;
    struct node *n = node_at(ql, i);
    if (head)
        ql->gap -= (uint32_t)size;
    uint8_t *lp = node_bytes(ql, i);
    lp_write(lp + (head ? LP_EMPTY_BYTES - 1 : n->bytes - 1), &e);
    n->bytes += (uint32_t)size;
    n->count++;
    n->flags = 0;
    node_set_header(lp, n->bytes, n->count);
    lp[n->bytes - 1] = 0xff;
    ql->count++;
    return true;
}

bool quicklist_drop(struct quicklist *ql, enum quicklist_end end)
{
    bool head = end == QUICKLIST_HEAD;
    uint32_t i = head ? 0 : ql->len - 1;
    struct node *n = node_at(ql, i);
    if (n->count == 1) {
        ql_ring_remove(ql, i, 1);
        ql_settle_ends(ql);
        return true;
    }
    if (!ql_node_unpack(ql, i))
        return false;
    uint8_t *lp = node_bytes(ql, i);
    if (head) {
        struct lp_item item;
        uint32_t size =
            (uint32_t)(lp_step(lp + LP_EMPTY_BYTES - 1, &item) - lp) - LP_EMPTY_BYTES + 1;
        n->bytes -= size;
        ql->gap += size;
        lp += size;
    } else {
        n->bytes = (uint32_t)(lp_last(lp) - lp) + 1;
        lp[n->bytes - 1] = 0xff;
    }
    n->count--;
    n->flags = 0;
    ql->count--;
    node_set_header(lp, n->bytes, n->count);
    // Half of the memory may lie idle, no more.
    size_t usable = mi_usable_size(n->data);
    if (usable > SHRINK_MIN && n->bytes < usable / 2) {
        if (i == 0)
            ql_close_gap(ql);
        ql_node_shrink(ql, i);
    }
    return true;
}

// --- walking -------------------------------------------------------------------------------------

bool ql_iter_here(struct quicklist_iter *it)
{
    const struct node *n = node_at(it->ql, it->node);
    if (n->flags & NODE_PLAIN)
        it->item = (struct lp_item){.ptr = it->lp, .len = n->bytes};
    else
        it->item = lp_get(it->p);
    return true;
}

bool ql_iter_open(struct quicklist_iter *it, int64_t at)
{
    it->lp = ql_node_open(it->ql, it->node, &it->scratch);
    if (!it->lp) {
        it->failed = true;
        return false;
    }
    it->p = node_at(it->ql, it->node)->flags & NODE_PLAIN ? it->lp : lp_seek(it->lp, at);
    return ql_iter_here(it);
}

bool quicklist_iter_begin(struct quicklist_iter *it, const struct quicklist *ql, int64_t index,
                          bool backward)
{
    *it = (struct quicklist_iter){.ql = (struct quicklist *)ql, .backward = backward};
    int64_t count = (int64_t)ql->count;
    if (index < 0)
        index += count;
    if (index < 0 || index >= count)
        return false;
    it->index = (uint64_t)index;
    uint64_t left;
    if (index < count / 2) {
        for (left = (uint64_t)index; left >= node_at(ql, it->node)->count; it->node++)
            left -= node_at(ql, it->node)->count;
    } else {
        it->node = ql->len - 1;
        for (left = (uint64_t)(count - 1 - index); left >= node_at(ql, it->node)->count; it->node--)
            left -= node_at(ql, it->node)->count;
        left = node_at(ql, it->node)->count - 1 - left;
    }
    return ql_iter_open(it, (int64_t)left);
}

bool quicklist_iter_next(struct quicklist_iter *it)
{
    if (it->failed)
        return false;
    it->index += it->backward ? -UINT64_C(1) : 1;
    if (!(node_at(it->ql, it->node)->flags & NODE_PLAIN)) {
        uint8_t *p = it->backward ? lp_prev(it->lp, it->p) : lp_next(it->lp, it->p);
        if (p) {
            it->p = p;
            return ql_iter_here(it);
        }
    }
    if (it->node == (it->backward ? 0 : it->ql->len - 1))
        return false;
    ql_iter_leave(it);
    it->node += it->backward ? -1u : 1;
    return ql_iter_open(it, it->backward ? -1 : 0);
}

struct quicklist_place quicklist_iter_place(const struct quicklist_iter *it)
{
    return (struct quicklist_place){.node = it->node, .at = (uint32_t)(it->p - it->lp)};
}

bool quicklist_iter_resume(struct quicklist_iter *it, const struct quicklist *ql,
                           struct quicklist_place place)
{
    *it = (struct quicklist_iter){.ql = (struct quicklist *)ql, .node = place.node};
    if (place.node >= ql->len || !ql_iter_open(it, 0))
        return false;
    if (place.at)
        it->p = it->lp + place.at;
    return ql_iter_here(it);
}

void ql_iter_leave(struct quicklist_iter *it)
{
    if (it->changed)
        ql_settle(it->ql, it->node);
    it->changed = false;
    mi_free(it->scratch);
    it->scratch = NULL;
}

void quicklist_iter_end(struct quicklist_iter *it)
{
    ql_iter_leave(it);
    if (it->emptied)
        ql_ring_sweep(it->ql);
    it->emptied = false;
}

struct quicklist_probe quicklist_probe(const void *data, size_t len)
{
    struct quicklist_probe probe = {.data = data, .len = len};
    probe.integer = integer_parse(data, len, &probe.value);
    return probe;
}

bool quicklist_equal(const struct quicklist_iter *it, const struct quicklist_probe *probe)
{
    if (!it->item.ptr)
        return probe->integer && probe->value == it->item.value;
    return it->item.len == probe->len && memcmp(it->item.ptr, probe->data, probe->len) == 0;
}

// --- nodes ---------------------------------------------------------------------------------------

uint32_t quicklist_nodes(const struct quicklist *ql)
{
    return ql->len;
}

bool quicklist_node_begin(struct quicklist_node *node, const struct quicklist *ql, uint32_t i)
{
    const struct node *n = node_at(ql, i);
    *node = (struct quicklist_node){
        .bytes = n->bytes, .count = n->count, .plain = n->flags & NODE_PLAIN};
    node->data = ql_node_open(ql, i, &node->scratch);
    return node->data;
}

void quicklist_node_end(struct quicklist_node *node)
{
    mi_free(node->scratch);
    node->scratch = NULL;
}

void quicklist_prefetch(const struct quicklist *ql)
{
    if (!ql->len)
        return;
    const struct node *head = node_at(ql, 0), *tail = node_at(ql, ql->len - 1);
    prefetch(head->data + ql->gap);
    if (!(tail->flags & NODE_LZF))
        prefetch(tail->data + tail->bytes + (ql->len == 1 ? ql->gap : 0) - 1);
}
