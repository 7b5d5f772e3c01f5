#include "common/memory.h"

#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

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

void memory_gather_huge(void *start, size_t bytes)
{
    memory_ask_huge(start, bytes);
#ifdef MADV_COLLAPSE // else the kernel's own thread comes to it in time
    for (size_t at = 0; at < bytes; at += HUGE_PAGE)
        madvise((char *)start + at, HUGE_PAGE, MADV_COLLAPSE);
#endif
}
