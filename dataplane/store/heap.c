// Asks for transparent hugepages where the allocator puts entries. Where the kernel gives them only
// to those who ask ("madvise", as Debian sets it), a store of millions of keys spends a third of a
// look-up waiting for address translation otherwise.
//
// mimalloc takes its memory from the kernel in aligned segments of 32 MiB, and fills a segment from
// its start. (Its own option for hugepages would ask for all of them, take away those that were
// reserved for DPDK, and never give memory back.)
//
// The first segment of a thread stays as it is, so that a small server takes no more than it needs.
// When the second is seen, another thread gathers the first into hugepages; all further ones are
// hinted when the first object in them is seen. From some size on, what will be used next is
// populated ahead by that other thread: the kernel needs 0.1 ms and more to clear a hugepage, much
// more under a hypervisor that has to find it first.
#include "dataplane/store/heap.h"

#include <mimalloc.h>
#include <stddef.h>

#include "common/memory.h"

#define SEGMENT_SHIFT 25
#define SEGMENTS_KNOWN 4096 // 128 GiB
#define REGION ((uintptr_t)1 << HEAP_REGION_SHIFT)
#define SEGMENT_REGIONS (1u << (SEGMENT_SHIFT - HEAP_REGION_SHIFT))
#define REGIONS_AHEAD 2
#define POPULATE_FROM 5 // segments: what is populated ahead is a few percent of what is used
// Freed memory is given back so much later. Given back at once, what a growing table leaves behind
// would cut hugepages into pieces, and cost a system call each time.
#define DECOMMIT_DELAY_MS 1000

_Thread_local uint32_t heap_known[HEAP_REGIONS_KNOWN];
static _Thread_local uint32_t segments[SEGMENTS_KNOWN];
static _Thread_local unsigned n_segments;
static _Thread_local uintptr_t first_segment;
static struct heap_hooks hooks;

void heap_start(const struct heap_hooks *given)
{
    mi_option_set(mi_option_decommit_delay, DECOMMIT_DELAY_MS);
    hooks = *given;
}

static void new_segment(uintptr_t segment)
{
    segments[segment % SEGMENTS_KNOWN] = (uint32_t)segment;
    if (++n_segments == 1) {
        first_segment = segment;
        return;
    }
    memory_ask_huge((void *)(segment << SEGMENT_SHIFT), (size_t)1 << SEGMENT_SHIFT);
    if (n_segments != 2)
        return;
    memory_ask_huge((void *)(first_segment << SEGMENT_SHIFT), (size_t)1 << SEGMENT_SHIFT);
    if (hooks.gather)
        hooks.gather((void *)(first_segment << SEGMENT_SHIFT), (size_t)1 << SEGMENT_SHIFT);
}

void heap_new_region(uintptr_t region)
{
    heap_known[region % HEAP_REGIONS_KNOWN] = (uint32_t)region;
    uintptr_t segment = region / SEGMENT_REGIONS;
    if (segments[segment % SEGMENTS_KNOWN] != (uint32_t)segment)
        new_segment(segment);
    unsigned left = SEGMENT_REGIONS - 1 - region % SEGMENT_REGIONS;
    if (n_segments >= POPULATE_FROM && left && hooks.populate)
        hooks.populate((void *)((region + 1) * REGION),
                       (left < REGIONS_AHEAD ? left : REGIONS_AHEAD) * REGION);
}
