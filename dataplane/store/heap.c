// Asks for transparent hugepages where the allocator puts entries. Where the kernel gives them only
// to those who ask ("madvise", as Debian sets it), a store of millions of keys spends a third of a
// look-up waiting for address translation otherwise.
//
// mimalloc takes its memory from the kernel in aligned segments of 32 MiB. (Its own option would
// ask for all of them, take away hugepages that were reserved for DPDK, and never give memory
// back.) The hint is given for a segment when the first entry is seen in it. The allocator fills a
// segment from its start, so a small server stays small.
#include "common/memory.h"
#include "dataplane/store/entry.h"

enum {
    SEGMENT_SHIFT = 25,
    SEGMENTS_KNOWN = 1024,
};

static _Thread_local uintptr_t known[SEGMENTS_KNOWN];

void heap_hint(const void *p)
{
    uintptr_t segment = (uintptr_t)p >> SEGMENT_SHIFT;
    uintptr_t *place = &known[segment % SEGMENTS_KNOWN];
    if (*place == segment)
        return;
    *place = segment;
    memory_ask_huge((void *)(segment << SEGMENT_SHIFT), (size_t)1 << SEGMENT_SHIFT);
}
