// Transparent hugepages where the allocator puts what the store holds, and no page faults on
// polling cores (heap.c).
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { HEAP_REGION_SHIFT = 21, HEAP_REGIONS_KNOWN = 1 << 16 }; // 2 MiB, 128 GiB

// Before the cores start. `populate`, if not NULL, is called where memory is about to be used for
// the first time, on the thread that will use it: it has another thread make the kernel give it.
void heap_start(void (*populate)(void *start, size_t bytes));

extern _Thread_local uint32_t heap_known[HEAP_REGIONS_KNOWN];
void heap_new_region(uintptr_t region);

// Called with what the allocator gave, NULL included; returns it.
static inline void *heap_hint(void *p)
{
    uintptr_t region = (uintptr_t)p >> HEAP_REGION_SHIFT;
    if (__builtin_expect(heap_known[region % HEAP_REGIONS_KNOWN] != (uint32_t)region, 0))
        heap_new_region(region);
    return p;
}
