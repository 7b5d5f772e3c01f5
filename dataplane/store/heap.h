// Transparent hugepages where the allocator puts what the store holds, and no page faults on
// polling cores (heap.c).
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { HEAP_REGION_SHIFT = 21, HEAP_REGIONS_KNOWN = 1 << 16 }; // 2 MiB, 128 GiB

// What another thread is to do, so that no polling core waits for it; called on the thread that
// uses the memory, each may be NULL.
struct heap_hooks {
    void (*populate)(void *start, size_t bytes); // have the kernel give it: it will be used soon
    void (*gather)(void *start, size_t bytes);   // put it into hugepages
};
// Before the cores start.
void heap_start(const struct heap_hooks *given);

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
