// The allocator's calls as the C library's, so that AddressSanitizer sees every allocation of its
// own. Sizes are rounded as the store expects of an allocator's classes.
#include <malloc.h>
#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>

// Refuses what only a length out of the input can have asked for.
#define HEAP_MAX (256u << 20)

static size_t rounded(size_t n)
{
    return n ? (n + 15) & ~(size_t)15 : 16;
}

size_t mi_good_size(size_t n)
{
    return rounded(n);
}

void *mi_malloc(size_t n)
{
    return n > HEAP_MAX ? NULL : malloc(rounded(n));
}

void *mi_zalloc(size_t n)
{
    return n > HEAP_MAX ? NULL : calloc(1, rounded(n));
}

void *mi_calloc(size_t count, size_t n)
{
    return n && count > HEAP_MAX / n ? NULL : mi_zalloc(count * n);
}

void *mi_mallocn(size_t count, size_t n)
{
    return n && count > HEAP_MAX / n ? NULL : mi_malloc(count * n);
}

void *mi_realloc(void *p, size_t n)
{
    return n > HEAP_MAX ? NULL : realloc(p, rounded(n));
}

void *mi_reallocn(void *p, size_t count, size_t n)
{
    return n && count > HEAP_MAX / n ? NULL : mi_realloc(p, count * n);
}

void *mi_zalloc_aligned(size_t n, size_t alignment)
{
    void *p = aligned_alloc(alignment, (rounded(n) + alignment - 1) / alignment * alignment);
    return p ? memset(p, 0, n) : NULL;
}

void *mi_malloc_aligned(size_t n, size_t alignment)
{
    return mi_zalloc_aligned(n, alignment);
}

size_t mi_usable_size(const void *p)
{
    return malloc_usable_size((void *)(size_t)p);
}

void mi_free(void *p)
{
    free(p);
}
