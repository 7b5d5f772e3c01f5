// Asks for transparent hugepages where the allocator puts entries. Where the kernel gives them only
// to those who ask ("madvise", as Debian sets it), a store of millions of keys spends a third of a
// look-up waiting for address translation otherwise.
//
// mimalloc takes its memory from the kernel in aligned segments of 32 MiB. (Its own option would
// ask for all of them, take away hugepages that were reserved for DPDK, and never give memory
// back.) The hint is given for a segment when the first value or entry is seen in it. The allocator
// fills a segment from its start, so a small server stays small, and what comes next is known: when
// the first object of a region is seen, the next two are populated by somebody else. The kernel
// needs 0.1 ms and more to clear a hugepage, much more under a hypervisor that has to find it
// first.
#include "dataplane/store/heap.h"

#include <mimalloc.h>
#include <stddef.h>

#include "common/memory.h"

#define SEGMENT_SHIFT 25
#define SEGMENTS_KNOWN 4096 // 128 GiB
#define REGION ((uintptr_t)1 << HEAP_REGION_SHIFT)
#define SEGMENT_REGIONS (1u << (SEGMENT_SHIFT - HEAP_REGION_SHIFT))
#define REGIONS_AHEAD 2
// Freed memory is given back so much later. Given back at once, what a growing table leaves behind
// would cut hugepages into pieces, and cost a system call each time.
#define DECOMMIT_DELAY_MS 5000

_Thread_local uint32_t heap_known[HEAP_REGIONS_KNOWN];
static _Thread_local uint32_t segments[SEGMENTS_KNOWN];
static _Thread_local unsigned n_segments;
static void (*populate_ahead)(void *start, size_t bytes);

// By default the first segment of each thread is opened in pieces of some kilobytes as it fills,
// and the kernel gives no hugepage to a piece.
void heap_start(void (*populate)(void *start, size_t bytes))
{
    mi_option_set(mi_option_eager_commit_delay, 0);
    mi_option_set(mi_option_decommit_delay, DECOMMIT_DELAY_MS);
    populate_ahead = populate;
}

void heap_new_region(uintptr_t region)
{
    heap_known[region % HEAP_REGIONS_KNOWN] = (uint32_t)region;
    uintptr_t segment = region / SEGMENT_REGIONS;
    if (segments[segment % SEGMENTS_KNOWN] != (uint32_t)segment) {
        segments[segment % SEGMENTS_KNOWN] = (uint32_t)segment;
        memory_ask_huge((void *)(segment << SEGMENT_SHIFT), (size_t)1 << SEGMENT_SHIFT);
        n_segments++;
    }
    // Not in the first segment: a small server takes no more than it needs.
    unsigned left = SEGMENT_REGIONS - 1 - region % SEGMENT_REGIONS;
    if (n_segments > 1 && left && populate_ahead)
        populate_ahead((void *)((region + 1) * REGION),
                       (left < REGIONS_AHEAD ? left : REGIONS_AHEAD) * REGION);
}
