#include "dataplane/pubsub/index.h"

#include <mimalloc.h>
#include <string.h>

static unsigned highest(unsigned n) // the greatest power of two that is at most n
{
    return 1u << (31 - (unsigned)__builtin_clz(n));
}

static unsigned segment_of(unsigned bucket, unsigned *first)
{
    if (bucket < INDEX_FIRST) {
        *first = 0;
        return 0;
    }
    *first = highest(bucket);
    return (unsigned)__builtin_ctz(*first / INDEX_FIRST) + 1;
}

static struct index_node **bucket_at(const struct index *x, unsigned bucket)
{
    unsigned first, segment = segment_of(bucket, &first);
    return &x->segment[segment][bucket - first];
}

static unsigned bucket_of(const struct index *x, uint64_t hash)
{
    unsigned split = highest(x->n_buckets);
    unsigned bucket = (unsigned)(hash & (2 * (uint64_t)split - 1));
    return bucket < x->n_buckets ? bucket : (unsigned)(hash & (split - 1));
}

// One bucket more: what belongs there leaves the one that it was part of. Where memory is short
// chains grow longer instead.
static void grow(struct index *x)
{
    unsigned first, segment = segment_of(x->n_buckets, &first);
    if (segment == INDEX_SEGMENTS)
        return;
    if (!x->segment[segment] &&
        !(x->segment[segment] = mi_calloc(first, sizeof(struct index_node *))))
        return;
    struct index_node **from = bucket_at(x, x->n_buckets - first);
    struct index_node **to = bucket_at(x, x->n_buckets);
    x->n_buckets++;
    while (*from) {
        struct index_node *node = *from;
        if (!(node->hash & first)) {
            from = &node->next;
            continue;
        }
        *from = node->next;
        node->next = *to;
        *to = node;
    }
}

static void shrink(struct index *x)
{
    unsigned first, segment = segment_of(--x->n_buckets, &first);
    struct index_node **from = bucket_at(x, x->n_buckets);
    struct index_node **to = bucket_at(x, x->n_buckets - first);
    while (*to)
        to = &(*to)->next;
    *to = *from;
    *from = NULL;
    if (x->n_buckets == first) {
        mi_free(x->segment[segment]);
        x->segment[segment] = NULL;
    }
}

bool index_add(struct index *x, struct index_node *node, uint64_t hash)
{
    if (!x->n_buckets) {
        x->segment[0] = mi_calloc(INDEX_FIRST, sizeof(struct index_node *));
        if (!x->segment[0])
            return false;
        x->n_buckets = INDEX_FIRST;
    }
    node->hash = hash;
    struct index_node **bucket = bucket_at(x, bucket_of(x, hash));
    node->next = *bucket;
    *bucket = node;
    if (++x->n > x->n_buckets)
        grow(x);
    return true;
}

void index_remove(struct index *x, struct index_node *node)
{
    struct index_node **at = bucket_at(x, bucket_of(x, node->hash));
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    x->n--;
    // Two at a time: as many as came with one entry each leave while half of those go.
    for (int i = 0; i < 2 && x->n < x->n_buckets / 2 && x->n_buckets > INDEX_FIRST; i++)
        shrink(x);
}

struct index_node *index_bucket(const struct index *x, uint64_t hash)
{
    return x->n ? *bucket_at(x, bucket_of(x, hash)) : NULL;
}

struct index_node *index_bucket_at(const struct index *x, unsigned bucket)
{
    return *bucket_at(x, bucket);
}

void index_clear(struct index *x)
{
    for (unsigned i = 0; i < INDEX_SEGMENTS; i++)
        mi_free(x->segment[i]);
    memset(x, 0, sizeof(*x));
}
