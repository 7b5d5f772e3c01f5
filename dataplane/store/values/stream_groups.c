// Consumer groups: who was given what, and how far each group has read.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/store/values/stream_internal.h"

// --- by name -------------------------------------------------------------------------------------

struct name {
    const uint8_t *ptr;
    size_t len;
};

// The first eight bytes as a number, so that the order of keys is that of bytes.
static uint64_t name_key(struct name name)
{
    uint64_t key = 0;
    memcpy(&key, name.ptr, name.len < sizeof(key) ? name.len : sizeof(key));
    return __builtin_bswap64(key);
}

static int compare_names(const struct name *a, const uint8_t *b, size_t len)
{
    size_t common = a->len < len ? a->len : len;
    int order = common ? memcmp(a->ptr, b, common) : 0;
    return order ? order : a->len < len ? -1 : a->len > len;
}

int stream_compare_group(const void *probe, const void *item)
{
    const struct stream_group *g = item;
    return compare_names(probe, g->name, g->name_len);
}

static int compare_consumer(const void *probe, const void *item)
{
    const struct stream_consumer *c = item;
    return compare_names(probe, c->name, c->name_len);
}

static struct name group_name(const struct stream_group *g)
{
    return (struct name){g->name, g->name_len};
}

static struct name consumer_name(const struct stream_consumer *c)
{
    return (struct name){c->name, c->name_len};
}

static void *find(const struct btree *t, const void *ptr, size_t len)
{
    struct name name = {ptr, len};
    return btree_find(t, name_key(name), &name);
}

// Changes of a tree that is counted in x->bytes.
static bool counted_insert(struct stream_value *x, struct btree *t, uint64_t key, const void *probe,
                           void *item)
{
    x->bytes -= t->bytes;
    bool done = btree_insert(t, key, probe, item);
    x->bytes += t->bytes;
    return done;
}

static void counted_remove(struct stream_value *x, struct btree *t, uint64_t key, const void *probe)
{
    x->bytes -= t->bytes;
    btree_remove(t, key, probe);
    x->bytes += t->bytes;
}

static bool counted_free(struct stream_value *x, struct btree *t, unsigned *budget,
                         void (*gone)(void *context, void *item))
{
    size_t bytes = t->bytes;
    bool done = btree_free_step(t, budget, gone, x);
    x->bytes -= bytes - t->bytes;
    return done;
}

// Changes of a consumer's list, which its group counts, too.
static bool list_insert(struct stream_value *x, struct stream_consumer *c, struct stream_nack *nack)
{
    size_t before = c->pending.bytes;
    bool done = counted_insert(x, &c->pending, nack->ms, nack, nack);
    c->group->consumer_bytes += c->pending.bytes - before;
    return done;
}

static void list_remove(struct stream_value *x, struct stream_nack *nack)
{
    struct stream_consumer *c = nack->consumer;
    size_t before = c->pending.bytes;
    counted_remove(x, &c->pending, nack->ms, nack);
    c->group->consumer_bytes -= before - c->pending.bytes;
}

// Takes the list of a consumer apart, then the consumer; true when it is gone.
static bool consumer_free_step(struct stream_value *x, struct stream_consumer *c, unsigned *budget)
{
    struct stream_group *g = c->group;
    size_t before = c->pending.bytes;
    bool done = counted_free(x, &c->pending, budget, NULL);
    g->consumer_bytes -= before - c->pending.bytes;
    if (!done)
        return false;
    struct name probe = consumer_name(c);
    counted_remove(x, &g->consumers, name_key(probe), &probe);
    x->bytes -= mi_usable_size(c);
    g->consumer_bytes -= mi_usable_size(c);
    x->consumers--;
    mi_free(c);
    return true;
}

// --- groups and consumers ------------------------------------------------------------------------

struct stream_group *stream_group_find(const struct stream_value *x, const void *name, size_t len)
{
    return find(&x->groups, name, len);
}

struct stream_group *stream_group_add(struct stream_value *x, const void *name, size_t len,
                                      struct stream_id last, int64_t entries_read)
{
    struct stream_group *g = mi_malloc(sizeof(*g) + len);
    if (!g)
        return NULL;
    *g = (struct stream_group){
        .last = last, .entries_read = entries_read, .name_len = (uint32_t)len};
    memcpy(g->name, name, len);
    btree_init(&g->pending, stream_compare_seq);
    btree_init(&g->consumers, compare_consumer);
    struct name probe = group_name(g);
    if (!btree_insert(&x->groups, name_key(probe), &probe, g)) {
        mi_free(g);
        return NULL;
    }
    x->bytes += mi_usable_size(g);
    return g;
}

static void nack_gone(void *stream, void *item)
{
    struct stream_value *x = stream;
    x->bytes -= mi_usable_size(item);
    x->pending--;
    mi_free(item);
}

// Frees the lists of a consumer or a group piece by piece; true when all is gone.
static bool group_free_step(struct stream_value *x, struct stream_group *g, unsigned *budget)
{
    while (g->consumers.count) {
        if (!*budget || !consumer_free_step(x, btree_item(btree_first(&g->consumers)), budget))
            return false;
        *budget -= *budget > 0;
    }
    if (!counted_free(x, &g->pending, budget, nack_gone))
        return false;
    struct name probe = group_name(g);
    btree_remove(&x->groups, name_key(probe), &probe);
    x->bytes -= mi_usable_size(g);
    mi_free(g);
    return true;
}

void stream_group_remove(struct stream_value *x, struct stream_group *g)
{
    unsigned budget = UINT32_MAX;
    while (!group_free_step(x, g, &budget))
        budget = UINT32_MAX;
}

struct stream_value *stream_group_detach(struct stream_value *x, struct stream_group *g)
{
    struct stream_value *rest = stream_new();
    struct name probe = group_name(g);
    if (!rest || !btree_insert(&rest->groups, name_key(probe), &probe, g)) {
        if (rest)
            stream_free(rest);
        return NULL;
    }
    btree_remove(&x->groups, name_key(probe), &probe);
    rest->pending = g->pending.count;
    rest->consumers = g->consumers.count;
    rest->bytes = mi_usable_size(g) + g->pending.bytes + g->consumers.bytes + g->consumer_bytes +
                  g->pending.count * mi_good_size(sizeof(struct stream_nack));
    x->pending -= rest->pending;
    x->consumers -= rest->consumers;
    x->bytes -= rest->bytes;
    return rest;
}

bool stream_free_groups(struct stream_value *x, unsigned *budget)
{
    while (x->groups.count) {
        if (!*budget || !group_free_step(x, btree_item(btree_first(&x->groups)), budget))
            return false;
        *budget -= *budget > 0;
    }
    return true;
}

struct stream_consumer *stream_consumer_find(const struct stream_group *g, const void *name,
                                             size_t len)
{
    return find(&g->consumers, name, len);
}

struct stream_consumer *stream_consumer_add(struct stream_value *x, struct stream_group *g,
                                            const void *name, size_t len, int64_t seen_ms)
{
    struct stream_consumer *c = mi_malloc(sizeof(*c) + len);
    if (!c)
        return NULL;
    *c = (struct stream_consumer){.group = g, .seen_ms = seen_ms, .name_len = (uint32_t)len};
    memcpy(c->name, name, len);
    btree_init(&c->pending, stream_compare_seq);
    struct name probe = consumer_name(c);
    if (!counted_insert(x, &g->consumers, name_key(probe), &probe, c)) {
        mi_free(c);
        return NULL;
    }
    x->bytes += mi_usable_size(c);
    g->consumer_bytes += mi_usable_size(c);
    x->consumers++;
    return c;
}

void stream_consumer_remove(struct stream_value *x, struct stream_group *g,
                            struct stream_consumer *c)
{
    for (struct btree_at at = btree_first(&c->pending); at.leaf; btree_next(&at)) {
        struct stream_nack *nack = btree_item(at);
        counted_remove(x, &g->pending, nack->ms, nack);
        nack_gone(x, nack);
    }
    unsigned budget = UINT32_MAX;
    while (!consumer_free_step(x, c, &budget))
        budget = UINT32_MAX;
}

// --- pending entries -----------------------------------------------------------------------------

struct stream_nack *stream_nack_find(const struct btree *pending, struct stream_id id)
{
    return btree_find(pending, id.ms, &id.seq);
}

struct stream_nack *stream_nack_add(struct stream_value *x, struct stream_group *g,
                                    struct stream_consumer *c, struct stream_id id,
                                    int64_t delivered_ms)
{
    struct stream_nack *nack = mi_malloc(sizeof(*nack));
    if (!nack)
        return NULL;
    *nack = (struct stream_nack){
        .seq = id.seq, .ms = id.ms, .delivered_ms = delivered_ms, .deliveries = 1, .consumer = c};
    if (!counted_insert(x, &g->pending, id.ms, nack, nack)) {
        mi_free(nack);
        return NULL;
    }
    if (!list_insert(x, c, nack)) {
        counted_remove(x, &g->pending, id.ms, nack);
        mi_free(nack);
        return NULL;
    }
    x->bytes += mi_usable_size(nack);
    x->pending++;
    return nack;
}

bool stream_nack_give(struct stream_value *x, struct stream_nack *nack, struct stream_consumer *c)
{
    if (nack->consumer == c)
        return true;
    if (!list_insert(x, c, nack))
        return false;
    list_remove(x, nack);
    nack->consumer = c;
    return true;
}

void stream_nack_remove(struct stream_value *x, struct stream_group *g, struct stream_nack *nack)
{
    counted_remove(x, &g->pending, nack->ms, nack);
    list_remove(x, nack);
    nack_gone(x, nack);
}

// --- how far a group has read --------------------------------------------------------------------

bool stream_has_gap(const struct stream_value *x, struct stream_id start)
{
    return x->length && !stream_id_is_zero(x->max_deleted) &&
           stream_id_compare(x->first, x->max_deleted) <= 0 &&
           stream_id_compare(start, x->max_deleted) <= 0;
}

int64_t stream_entries_up_to(const struct stream_value *x, struct stream_id id)
{
    if (!x->entries_added)
        return 0;
    int to_last = stream_id_compare(id, x->last);
    if (!x->length && to_last < 0)
        return (int64_t)x->entries_added;
    if (to_last == 0)
        return (int64_t)x->entries_added;
    if (to_last > 0)
        return STREAM_ENTRIES_READ_UNKNOWN;
    // Nothing between the first entry and the last was deleted: counted back from the end.
    if (stream_id_is_zero(x->max_deleted) || stream_id_compare(x->max_deleted, x->first) < 0) {
        int to_first = stream_id_compare(id, x->first);
        if (to_first <= 0)
            return (int64_t)(x->entries_added - x->length) + (to_first == 0);
    }
    return STREAM_ENTRIES_READ_UNKNOWN;
}

bool stream_group_lag(const struct stream_value *x, const struct stream_group *g, int64_t *lag)
{
    *lag = 0;
    if (!x->entries_added)
        return true;
    int64_t read = g->entries_read;
    if (read == STREAM_ENTRIES_READ_UNKNOWN || stream_has_gap(x, g->last))
        read = stream_entries_up_to(x, g->last);
    if (read == STREAM_ENTRIES_READ_UNKNOWN)
        return false;
    *lag = (int64_t)(x->entries_added - (uint64_t)read);
    return true;
}

// --- copies --------------------------------------------------------------------------------------

static bool copy_nack(struct stream_copying *c)
{
    const struct stream_nack *nack = btree_item(c->nack);
    struct stream_nack *added =
        stream_nack_add(c->copy, c->to_group, c->to_consumer,
                        (struct stream_id){nack->ms, nack->seq}, nack->delivered_ms);
    if (!added)
        return false;
    added->deliveries = nack->deliveries;
    btree_next(&c->nack);
    return true;
}

bool stream_copy_group_step(struct stream_copying *c)
{
    if (!c->to_group) {
        const struct stream_group *g = btree_item(c->group);
        c->to_group = stream_group_add(c->copy, g->name, g->name_len, g->last, g->entries_read);
        c->consumer = btree_first(&g->consumers);
        return c->to_group;
    }
    if (!c->to_consumer && c->consumer.leaf) {
        const struct stream_consumer *from = btree_item(c->consumer);
        c->to_consumer =
            stream_consumer_add(c->copy, c->to_group, from->name, from->name_len, from->seen_ms);
        c->nack = btree_first(&from->pending);
        return c->to_consumer;
    }
    if (c->to_consumer && c->nack.leaf)
        return copy_nack(c);
    if (c->to_consumer) {
        c->to_consumer = NULL;
        btree_next(&c->consumer);
    } else {
        c->to_group = NULL;
        btree_next(&c->group);
    }
    return true;
}
