// A line of memory that will be needed soon. GCC takes a function that does nothing but prefetch
// for one that does nothing, and drops calls of it wherever it sees the whole program; the empty
// statement keeps it.
#pragma once

static inline void prefetch(const void *p)
{
    __builtin_prefetch(p);
    __asm__ volatile("" : : "r"(p));
}

// It will be written.
static inline void prefetch_write(const void *p)
{
    __builtin_prefetch(p, 1);
    __asm__ volatile("" : : "r"(p));
}
