#include "dataplane/store/values/stream.h"
#include "dataplane/store/heap.h"

#include <mimalloc.h>
#include <string.h>

#include "common/prefetch.h"
#include "dataplane/store/values/listpack.h"
#include "dataplane/store/values/stream_internal.h"

enum {
    ID_BYTES = 16,
    STREAM_COPY_BYTES = 64, // of a node, that cost as much to copy as an element elsewhere
};

bool stream_id_increment(struct stream_id *id)
{
    if (id->seq == UINT64_MAX && id->ms == UINT64_MAX)
        return false;
    if (++id->seq == 0)
        id->ms++;
    return true;
}

bool stream_id_decrement(struct stream_id *id)
{
    if (id->seq == 0 && id->ms == 0)
        return false;
    if (id->seq-- == 0)
        id->ms--;
    return true;
}

int stream_compare_seq(const void *probe, const void *item)
{
    uint64_t a = *(const uint64_t *)probe, b = *(const uint64_t *)item;
    return a < b ? -1 : a > b;
}

// --- the radix tree that is not there ------------------------------------------------------------

// Common leading bytes of two ids, most significant first.
static unsigned common_bytes(struct stream_id a, struct stream_id b)
{
    if (a.ms != b.ms)
        return (unsigned)__builtin_clzll(a.ms ^ b.ms) / 8;
    if (a.seq != b.seq)
        return 8 + (unsigned)__builtin_clzll(a.seq ^ b.seq) / 8;
    return ID_BYTES;
}

static unsigned larger(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

// Keeps the first n bytes of an id and fills the others with zeros or ones.
static struct stream_id prefix(struct stream_id id, unsigned n, bool ones)
{
    uint64_t ms = n >= 8 ? 0 : UINT64_MAX >> (8 * n);
    uint64_t seq = n <= 8 ? UINT64_MAX : n >= ID_BYTES ? 0 : UINT64_MAX >> (8 * (n - 8));
    if (ones)
        return (struct stream_id){id.ms | ms, id.seq | seq};
    return (struct stream_id){id.ms & ~ms, id.seq & ~seq};
}

static struct btree_at before(const struct btree *t, struct btree_at at)
{
    if (!at.leaf)
        return btree_last(t);
    btree_prev(&at);
    return at;
}

// By how many nodes a compressed radix tree of 16-byte ids grows with an id that is not in it. Runs
// of bytes without a branch are one node, a branch is one, and so is each end.
static unsigned radix_growth(const struct btree *t, struct stream_id id)
{
    if (!t->count)
        return 1;
    struct btree_at next = btree_lower(t, id.ms, &id.seq);
    struct btree_at prev = before(t, next);
    // Where the id leaves the tree, and the ids that go with it until there.
    unsigned leaves = larger(next.leaf ? common_bytes(id, stream_node_id(next)) : 0,
                             prev.leaf ? common_bytes(id, stream_node_id(prev)) : 0);
    struct stream_id low = prefix(id, leaves, false), high = prefix(id, leaves, true);
    struct btree_at first = btree_lower(t, low.ms, &low.seq);
    struct btree_at behind = btree_upper(t, high.ms, &high.seq);
    struct stream_id first_id = stream_node_id(first);
    struct stream_id last_id = stream_node_id(before(t, behind));
    unsigned grown = 1 + (leaves + 1 < ID_BYTES);
    unsigned branch = common_bytes(first_id, last_id);
    if (branch == leaves)
        return grown;
    // It leaves in the middle of a run, which began behind the branch above.
    unsigned begin = 0;
    struct btree_at outside = before(t, first);
    if (outside.leaf)
        begin = common_bytes(stream_node_id(outside), first_id) + 1;
    if (behind.leaf)
        begin = larger(begin, common_bytes(stream_node_id(behind), last_id) + 1);
    return grown + (leaves > begin) + (branch > leaves + 1);
}

// --- nodes ---------------------------------------------------------------------------------------

bool stream_node_add(struct stream_value *x, struct stream_id id, uint8_t *lp)
{
    if (btree_find(&x->nodes, id.ms, &id.seq))
        return false;
    struct stream_node *node = heap_hint(mi_malloc(sizeof(*node)));
    if (!node)
        return false;
    *node = (struct stream_node){.seq = id.seq, .lp = lp};
    unsigned grown = radix_growth(&x->nodes, id);
    if (!btree_insert(&x->nodes, id.ms, node, node)) {
        mi_free(node);
        return false;
    }
    x->radix_nodes += grown;
    x->bytes += mi_usable_size(node) + lp_memory(lp);
    return true;
}

static void node_free(void *stream, void *item)
{
    struct stream_value *x = stream;
    struct stream_node *node = item;
    x->bytes -= mi_usable_size(node) + lp_memory(node->lp);
    lp_free(node->lp);
    mi_free(node);
}

void stream_node_remove(struct stream_value *x, struct stream_id id)
{
    struct stream_node *node = btree_remove(&x->nodes, id.ms, &id.seq);
    if (!node)
        return;
    x->radix_nodes -= radix_growth(&x->nodes, id);
    node_free(x, node);
}

void stream_node_moved(struct stream_value *x, struct stream_node *node, uint8_t *lp, size_t taken)
{
    node->lp = lp;
    x->bytes += lp_memory(lp) - taken;
}

// The next element must be an integer of at least `least`.
static bool read_integer(const uint8_t *lp, const uint8_t **p, int64_t least, int64_t *value)
{
    if (!*p || !lp_integer(*p, value) || *value < least)
        return false;
    *p = lp_next(lp, *p);
    return true;
}

static bool skip_words(const uint8_t *lp, const uint8_t **p, int64_t n)
{
    while (n-- > 0) {
        if (!*p)
            return false;
        *p = lp_next(lp, *p);
    }
    return true;
}

bool stream_node_valid(const uint8_t *lp, uint64_t *live)
{
    const uint8_t *p = lp_first(lp);
    int64_t alive, deleted, fields, end, seen_alive = 0, seen_deleted = 0;
    if (!read_integer(lp, &p, 0, &alive) || !read_integer(lp, &p, 0, &deleted) ||
        !read_integer(lp, &p, 0, &fields) || !skip_words(lp, &p, fields) ||
        !read_integer(lp, &p, 0, &end) || end != 0)
        return false;
    while (p) {
        int64_t flags, ms, seq, words = fields, extra = 0;
        if (!read_integer(lp, &p, 0, &flags) || !read_integer(lp, &p, INT64_MIN, &ms) ||
            !read_integer(lp, &p, INT64_MIN, &seq))
            return false;
        if (!(flags & STREAM_SAME_FIELDS)) {
            if (!read_integer(lp, &p, 0, &words) || words > INT32_MAX)
                return false;
            words *= 2;
            extra = 1;
        }
        if (!skip_words(lp, &p, words) || !read_integer(lp, &p, 0, &end) ||
            end != words + STREAM_ENTRY_HEAD + extra)
            return false;
        *(flags & STREAM_DELETED ? &seen_deleted : &seen_alive) += 1;
    }
    *live = (uint64_t)alive;
    return alive == seen_alive && deleted == seen_deleted;
}

// --- the whole -----------------------------------------------------------------------------------

struct stream_value *stream_new(void)
{
    struct stream_value *x = heap_hint(mi_zalloc(sizeof(*x)));
    if (!x)
        return NULL;
    btree_init(&x->nodes, stream_compare_seq);
    btree_init(&x->groups, stream_compare_group);
    x->radix_nodes = 1;
    return x;
}

bool stream_prefetch(const struct stream_value *x, unsigned depth)
{
    if (!x->nodes.last)
        return false;
    if (depth == 1) {
        prefetch(x->nodes.last);
        return true;
    }
    const struct stream_node *node = btree_item(btree_last(&x->nodes));
    if (depth == 2)
        prefetch(node);
    else if (depth == 3)
        prefetch(node->lp);
    else
        prefetch(node->lp + lp_bytes(node->lp) - 1);
    return depth < 4;
}

size_t stream_memory(const struct stream_value *x)
{
    return mi_good_size(sizeof(*x)) + x->nodes.bytes + x->groups.bytes + x->bytes;
}

uint64_t stream_count(const struct stream_value *x)
{
    return x->length + x->pending + x->consumers;
}

static bool copy_node(struct stream_value *to, struct btree_at at, size_t *size)
{
    const struct stream_node *node = btree_item(at);
    uint8_t *lp = lp_copy(node->lp);
    if (!lp)
        return false;
    *size = lp_bytes(lp);
    if (stream_node_add(to, stream_node_id(at), lp))
        return true;
    lp_free(lp);
    return false;
}

static bool copy_begin(const struct stream_value *x, struct stream_copying *c)
{
    c->copy = stream_new();
    if (!c->copy)
        return false;
    c->copy->length = x->length;
    c->copy->entries_added = x->entries_added;
    c->copy->last = x->last;
    c->copy->first = x->first;
    c->copy->max_deleted = x->max_deleted;
    c->node = btree_first(&x->nodes);
    c->group = btree_first(&x->groups);
    return true;
}

bool stream_copy_step(const struct stream_value *x, struct stream_copying *c, unsigned *budget)
{
    if (!c->copy && !copy_begin(x, c))
        return true;
    bool ok = true;
    for (size_t size; ok && c->node.leaf; btree_next(&c->node)) {
        if (!*budget)
            return false;
        ok = copy_node(c->copy, c->node, &size);
        size_t cost = ok ? 1 + size / STREAM_COPY_BYTES : 0;
        *budget -= cost < *budget ? (unsigned)cost : *budget;
    }
    while (ok && c->group.leaf) {
        if (!*budget)
            return false;
        ok = stream_copy_group_step(c);
        --*budget;
    }
    if (!ok) {
        stream_free(c->copy);
        c->copy = NULL;
    }
    return true;
}

struct stream_value *stream_copy(const struct stream_value *x)
{
    struct stream_copying c = {0};
    unsigned budget = UINT32_MAX;
    while (!stream_copy_step(x, &c, &budget))
        budget = UINT32_MAX;
    return c.copy;
}

bool stream_free_step(struct stream_value *x, unsigned *budget)
{
    if (!btree_free_step(&x->nodes, budget, node_free, x))
        return false;
    if (!stream_free_groups(x, budget))
        return false;
    mi_free(x);
    return true;
}

void stream_free(struct stream_value *x)
{
    unsigned budget = UINT32_MAX;
    while (!stream_free_step(x, &budget))
        budget = UINT32_MAX;
}
