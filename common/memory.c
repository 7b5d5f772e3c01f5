#include "common/memory.h"

#include <sys/mman.h>

void *memory_map(size_t bytes)
{
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return map == MAP_FAILED ? NULL : map;
}

void memory_unmap(void *map, size_t bytes)
{
    if (map)
        munmap(map, bytes);
}

void memory_ask_huge(void *start, size_t bytes)
{
    madvise(start, bytes, MADV_HUGEPAGE);
}

void memory_populate(void *start, size_t bytes)
{
    madvise(start, bytes, MADV_POPULATE_WRITE);
}
