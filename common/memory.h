// Address space from the kernel, for tables whose size is known and whose use is not: memory is
// given page by page when it is first touched, zeroed. And the wish for transparent hugepages. Any
// thread.
#pragma once

#include <stddef.h>

// NULL when the kernel gives none.
void *memory_map(size_t bytes);
void memory_unmap(void *map, size_t bytes);
// A hint; a kernel that has none, or no such mapping, is no error.
void memory_ask_huge(void *start, size_t bytes);
// Puts what is there into hugepages, now, a hugepage at a time; whoever touches one meanwhile
// waits.
void memory_gather_huge(void *start, size_t bytes);
// Has the kernel give writable memory before it is touched. What is not mapped is left alone.
void memory_populate(void *start, size_t bytes);
