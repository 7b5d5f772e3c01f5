// The nodes of a quicklist: their ring, their memory, their compression.
#include <liblzf/lzf.h>
#include <mimalloc.h>
#include <stdatomic.h>
#include <string.h>

#include "dataplane/store/heap.h"
#include "dataplane/store/values/quicklist_internal.h"

enum {
    FILL_BYTES_MAX = 8192, // of a node whose fill is a number of elements
    ELEMENT_OVERHEAD = 8,  // what an element takes besides its bytes, at a guess
    COMPRESS_MIN = 48,     // smaller nodes stay as they are
    COMPRESS_GAIN_MIN = 8, // and those that win less
    RING_START = 4,
    COUNT_MAX = (1 << 29) - 1,
};

// --- what a node takes ---------------------------------------------------------------------------

size_t ql_node_limit(const struct quicklist *ql)
{
    static const uint32_t limits[] = {4096, 8192, 16384, 32768, 65536};
    return ql->fill < 0 ? limits[-ql->fill - 1] : FILL_BYTES_MAX;
}

// For tests; otherwise out of reach. Read by all cores.
static _Atomic size_t plain_from = SIZE_MAX;

void quicklist_plain_from(size_t bytes)
{
    atomic_store_explicit(&plain_from, bytes ? bytes : SIZE_MAX, memory_order_relaxed);
}

bool ql_is_large(const struct quicklist *ql, size_t len)
{
    return len > ql_node_limit(ql) ||
           len >= atomic_load_explicit(&plain_from, memory_order_relaxed);
}

bool ql_node_takes(const struct quicklist *ql, uint32_t i, size_t len)
{
    const struct node *n = node_at(ql, i);
    if (n->flags & NODE_PLAIN || n->bytes + len + ELEMENT_OVERHEAD > ql_node_limit(ql))
        return false;
    return ql->fill < 0 || n->count < (uint32_t)ql->fill;
}

// --- the ring ------------------------------------------------------------------------------------

static bool ring_resize(struct quicklist *ql, uint32_t cap)
{
    struct node *ring = cap == 1 ? &ql->one : mi_malloc((size_t)cap * sizeof(*ring));
    if (!ring)
        return false;
    struct node *old = ql->cap > 1 ? ql->ring : NULL;
    if (old) {
        for (uint32_t i = 0; i < ql->len; i++)
            ring[i] = *node_at(ql, i);
        ql->memory -= mi_usable_size(old);
    } else if (ql->len && ring != &ql->one) {
        ring[0] = ql->one;
    }
    if (ring != &ql->one)
        ql->memory += mi_usable_size(ring);
    ql->ring = ring;
    ql->cap = cap;
    ql->first = 0;
    mi_free(old);
    return true;
}

bool ql_ring_insert(struct quicklist *ql, uint32_t i, const struct node *n)
{
    if (ql->len == ql->cap &&
        (ql->len > UINT32_MAX / 4 || !ring_resize(ql, ql->cap == 1 ? RING_START : ql->cap * 2)))
        return false;
    if (i == 0)
        ql_close_gap(ql);
    if (i < ql->len / 2 || i == 0) {
        ql->first = (ql->first - 1) & (ql->cap - 1);
        for (uint32_t j = 0; j < i; j++)
            *node_at(ql, j) = *node_at(ql, j + 1);
    } else {
        for (uint32_t j = ql->len; j > i; j--)
            *node_at(ql, j) = *node_at(ql, j - 1);
    }
    *node_at(ql, i) = *n;
    ql->len++;
    ql->count += n->count;
    ql->memory += mi_usable_size(n->data);
    return true;
}

static void ring_shrink(struct quicklist *ql)
{
    uint32_t cap = ql->cap;
    while (cap > 1 && ql->len <= cap / 4)
        cap = cap <= RING_START ? 1 : cap / 2;
    if (cap != ql->cap)
        ring_resize(ql, cap); // if memory is short, later
}

void ql_ring_remove(struct quicklist *ql, uint32_t i, uint32_t n)
{
    for (uint32_t j = i; j < i + n; j++) {
        struct node *gone = node_at(ql, j);
        ql->count -= gone->count;
        ql->memory -= mi_usable_size(gone->data);
        mi_free(gone->data);
    }
    uint32_t behind = ql->len - i - n;
    if (i == 0 && n)
        ql->gap = 0;
    if (i < behind) {
        for (uint32_t j = i; j-- > 0;)
            *node_at(ql, j + n) = *node_at(ql, j);
        ql->first = (ql->first + n) & (ql->cap - 1);
    } else {
        for (uint32_t j = i; j < i + behind; j++)
            *node_at(ql, j) = *node_at(ql, j + n);
    }
    ql->len -= n;
    ring_shrink(ql);
}

void ql_ring_empty(struct quicklist *ql, uint32_t i)
{
    struct node *n = node_at(ql, i);
    ql->count -= n->count;
    ql->memory -= mi_usable_size(n->data);
    mi_free(n->data);
    *n = (struct node){.flags = NODE_PLAIN}; // what nothing is added to, nor compressed
    if (i == 0)
        ql->gap = 0;
}

void ql_ring_sweep(struct quicklist *ql)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < ql->len; i++)
        if (node_at(ql, i)->count)
            *node_at(ql, kept++) = *node_at(ql, i);
    ql->len = kept;
    ring_shrink(ql);
    ql_settle(ql, 0);
}

// --- memory of one node --------------------------------------------------------------------------

void ql_close_gap(struct quicklist *ql)
{
    if (!ql->gap)
        return;
    struct node *n = node_at(ql, 0);
    memmove(n->data, n->data + ql->gap, n->bytes);
    ql->gap = 0;
}

void ql_node_moved(struct quicklist *ql, uint32_t i, uint8_t *lp, size_t old_memory)
{
    struct node *n = node_at(ql, i);
    uint32_t count = lp_count(lp);
    ql->memory += mi_usable_size(lp) - old_memory;
    ql->count += (uint64_t)count - n->count;
    n->data = lp;
    n->bytes = (uint32_t)lp_bytes(lp);
    n->count = count & COUNT_MAX;
    n->flags = 0;
}

void ql_node_shrink(struct quicklist *ql, uint32_t i)
{
    if (i == 0)
        ql_close_gap(ql);
    struct node *n = node_at(ql, i);
    if (n->flags & (NODE_LZF | NODE_PLAIN))
        return;
    // Nodes have other room than listpacks by themselves, so lp_shrink would not see it.
    size_t before = mi_usable_size(n->data);
    if (mi_good_size(n->bytes) >= before)
        return;
    uint8_t *less = heap_hint(mi_malloc(n->bytes));
    if (!less)
        return;
    memcpy(less, n->data, n->bytes);
    mi_free(n->data);
    n->data = less;
    ql->memory += mi_usable_size(less) - before;
}

// --- compression ---------------------------------------------------------------------------------

uint8_t *ql_node_open(const struct quicklist *ql, uint32_t i, uint8_t **scratch)
{
    const struct node *n = node_at(ql, i);
    *scratch = NULL;
    if (!(n->flags & NODE_LZF))
        return node_bytes(ql, i);
    const struct lzf_box *box = (const void *)n->data;
    uint8_t *to = heap_hint(mi_malloc(n->bytes));
    // What is packed has a box. NOLINTNEXTLINE(clang-analyzer-core.NullDereference)
    if (to && lzf_decompress(box->bytes, box->packed, to, n->bytes) != n->bytes) {
        mi_free(to);
        to = NULL;
    }
    return *scratch = to;
}

void ql_node_adopt(struct quicklist *ql, uint32_t i, uint8_t *content)
{
    struct node *n = node_at(ql, i);
    ql->memory += mi_usable_size(content) - mi_usable_size(n->data);
    mi_free(n->data);
    n->data = content;
    n->flags &= ~(unsigned)NODE_LZF;
}

bool ql_node_unpack(struct quicklist *ql, uint32_t i)
{
    uint8_t *content;
    if (!(node_at(ql, i)->flags & NODE_LZF))
        return true;
    if (!ql_node_open(ql, i, &content))
        return false;
    ql_node_adopt(ql, i, content);
    return true;
}

static void compress(struct quicklist *ql, uint32_t i)
{
    struct node *n = node_at(ql, i);
    if (n->flags & (NODE_LZF | NODE_TRIED) || n->bytes < COMPRESS_MIN)
        return;
    size_t room = n->bytes - COMPRESS_GAIN_MIN;
    struct lzf_box *box = mi_malloc(sizeof(*box) + room);
    if (!box)
        return;
    box->packed = lzf_compress(node_bytes(ql, i), n->bytes, box->bytes, (unsigned)room);
    if (!box->packed) {
        mi_free(box);
        n->flags |= NODE_TRIED;
        return;
    }
    size_t size = sizeof(*box) + box->packed;
    uint8_t *exact = mi_malloc(size);
    if (exact) {
        memcpy(exact, box, size);
        ql->memory += mi_usable_size(exact) - mi_usable_size(n->data);
        mi_free(n->data);
        n->data = exact;
        n->flags |= NODE_LZF;
    }
    mi_free(box);
}

static void settle_one(struct quicklist *ql, uint32_t i)
{
    if (i >= ql->len)
        return;
    uint32_t from_end = ql->len - 1 - i;
    if ((i < from_end ? i : from_end) >= ql->compress)
        compress(ql, i);
    else
        ql_node_unpack(ql, i); // if memory is short, whoever needs it tries again
}

void ql_settle_ends(struct quicklist *ql)
{
    if (!ql->compress)
        return;
    uint32_t depth = ql->compress, len = ql->len;
    settle_one(ql, depth - 1);
    settle_one(ql, depth);
    if (len >= depth)
        settle_one(ql, len - depth);
    if (len > depth)
        settle_one(ql, len - depth - 1);
}

void ql_settle(struct quicklist *ql, uint32_t i)
{
    if (!ql->compress)
        return;
    for (uint32_t j = 0; j < ql->compress && j < ql->len; j++) {
        settle_one(ql, j);
        settle_one(ql, ql->len - 1 - j);
    }
    ql_settle_ends(ql);
    for (uint32_t j = i > 2 ? i - 2 : 0; j < i + 3; j++)
        settle_one(ql, j);
}
