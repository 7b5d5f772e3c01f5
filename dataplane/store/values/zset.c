#include "dataplane/store/values/zset.h"
#include "dataplane/store/heap.h"

#include <mimalloc.h>

static int compare(const void *probe, const void *item)
{
    const struct zset_name *name = probe;
    size_t len;
    const uint8_t *ptr = member_name(item, &len);
    return zset_compare_names(name->ptr, name->len, ptr, len);
}

static struct zset_name name_of(const struct entry *e)
{
    struct zset_name name;
    name.ptr = member_name(e, &name.len);
    return name;
}

struct zset *zset_new(void)
{
    struct zset *z = heap_hint(mi_malloc(sizeof(*z)));
    if (!z)
        return NULL;
    members_init(&z->members);
    btree_init(&z->order, compare);
    return z;
}

size_t zset_memory(const struct zset *z)
{
    return mi_good_size(sizeof(*z)) + members_inner(&z->members) + z->order.bytes;
}

uint64_t zset_count(const struct zset *z)
{
    return members_count(&z->members);
}

struct entry *zset_add(struct store *s, struct zset *z, const void *name, size_t len, double score)
{
    struct zset_name probe = {.ptr = name, .len = len};
    struct entry *e = members_add(s, &z->members, name, len, &score, sizeof(score));
    if (!e || btree_insert(&z->order, btree_key_of_double(score), &probe, e))
        return e;
    members_remove(s, &z->members, e);
    return NULL;
}

bool zset_set_score(struct zset *z, struct entry *e, double score)
{
    struct zset_name name = name_of(e);
    uint64_t before = btree_key_of_double(zset_score(e)), after = btree_key_of_double(score);
    if (before != after) {
        // In before out: what cannot be put in is still there.
        if (!btree_insert(&z->order, after, &name, e))
            return false;
        btree_remove(&z->order, before, &name);
    }
    size_t len;
    memcpy((void *)(uintptr_t)member_value(e, &len), &score, sizeof(score));
    return true;
}

void zset_remove(struct store *s, struct zset *z, struct entry *e)
{
    struct zset_name name = name_of(e);
    btree_remove(&z->order, btree_key_of_double(zset_score(e)), &name);
    members_remove(s, &z->members, e);
}

struct removal {
    struct store *store;
    struct zset *zset;
};

static void removed(void *context, uint64_t key, void *item)
{
    struct removal *r = context;
    (void)key;
    members_remove(r->store, &r->zset->members, item);
}

uint64_t zset_remove_range(struct store *s, struct zset *z, uint64_t rank, uint64_t n)
{
    struct removal r = {.store = s, .zset = z};
    return btree_remove_range(&z->order, rank, n, removed, &r);
}

uint64_t zset_rank(const struct zset *z, const struct entry *e)
{
    struct zset_name name = name_of(e);
    return btree_rank(&z->order, btree_lower(&z->order, btree_key_of_double(zset_score(e)), &name));
}

bool zset_put_in_order(struct zset *z)
{
    struct members_iterator it = members_begin(&z->members);
    for (struct entry *e; (e = members_next(&it));) {
        struct zset_name name = name_of(e);
        if (!btree_insert(&z->order, btree_key_of_double(zset_score(e)), &name, e))
            return false;
    }
    return true;
}

bool zset_copy_step(struct store *s, const struct zset *z, struct zset **copy, struct btree_at *at,
                    unsigned *budget)
{
    if (!*copy) {
        if (!(*copy = zset_new()))
            return true;
        *at = btree_first(&z->order);
    }
    // In order, so that the leaves of the copy are full.
    for (; at->leaf; btree_next(at), --*budget) {
        if (!*budget)
            return false;
        const struct entry *e = btree_item(*at);
        struct zset_name name = name_of(e);
        if (!zset_add(s, *copy, name.ptr, name.len, zset_score(e))) {
            zset_free(*copy);
            *copy = NULL;
            return true;
        }
    }
    return true;
}

struct zset *zset_copy(struct store *s, const struct zset *z)
{
    struct zset *copy = NULL;
    struct btree_at at = {0};
    unsigned budget = UINT32_MAX;
    while (!zset_copy_step(s, z, &copy, &at, &budget))
        budget = UINT32_MAX;
    return copy;
}

bool zset_free_step(struct zset *z, unsigned *budget)
{
    if (!btree_free_step(&z->order, budget, NULL, NULL) || !members_free_step(&z->members, budget))
        return false;
    mi_free(z);
    return true;
}

void zset_free(struct zset *z)
{
    unsigned budget = UINT32_MAX;
    while (!zset_free_step(z, &budget))
        budget = UINT32_MAX;
}
