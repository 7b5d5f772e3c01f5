// Asks for transparent hugepages where the allocator puts entries. Where the kernel gives them only
// to those who ask ("madvise", as Debian sets it), a store of millions of keys spends a third of a
// look-up waiting for address translation otherwise.
//
// mimalloc takes its memory from the kernel in aligned segments of 32 MiB. (Its own option would
// ask for all of them, take away hugepages that were reserved for DPDK, and never give memory
// back.) The hint is given for a segment when the first entry is seen in it. The allocator fills a
// segment from its start, so a small server stays small.
#include <mimalloc.h>

#include "common/memory.h"
#include "dataplane/store/entry.h"

enum {
    SEGMENT_SHIFT = 25,
    SEGMENTS_KNOWN = 1024,
    // Freed memory is given back so much later. Given back at once, what a growing table leaves
    // behind would cut hugepages into pieces, and cost a system call each time.
    DECOMMIT_DELAY_MS = 5000,
};

static _Thread_local uintptr_t known[SEGMENTS_KNOWN];

// By default the first segment of each thread is opened in pieces of some kilobytes as it fills,
// and the kernel gives no hugepage to a piece.
void heap_start(void)
{
    mi_option_set(mi_option_eager_commit_delay, 0);
    mi_option_set(mi_option_decommit_delay, DECOMMIT_DELAY_MS);
}

void heap_hint(const void *p)
{
    uintptr_t segment = (uintptr_t)p >> SEGMENT_SHIFT;
    uintptr_t *place = &known[segment % SEGMENTS_KNOWN];
    if (*place == segment)
        return;
    *place = segment;
    memory_ask_huge((void *)(segment << SEGMENT_SHIFT), (size_t)1 << SEGMENT_SHIFT);
}
