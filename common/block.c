#include "common/block.h"

#include <mimalloc.h>

struct block *block_new(size_t cap)
{
    if (cap > SIZE_MAX - sizeof(struct block))
        return NULL;
    struct block *b = mi_malloc(sizeof(*b) + cap);
    if (!b)
        return NULL;
    atomic_init(&b->refs, 1);
    b->reserved = 0;
    b->len = 0;
    b->cap = cap;
    return b;
}

void block_release(struct block *b)
{
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
        mi_free(b);
}

struct block *block_grow(struct block *b, size_t cap)
{
    if (cap <= b->cap)
        return b;
    if (cap > SIZE_MAX - sizeof(*b))
        return NULL;
    struct block *grown = mi_realloc(b, sizeof(*b) + cap);
    if (grown)
        grown->cap = cap;
    return grown;
}

size_t block_memory(const struct block *b)
{
    return mi_usable_size(b);
}
