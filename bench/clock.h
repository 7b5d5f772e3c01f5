// Time as the load generator sees it: the processor's constant-rate counter, read in a few cycles.
#pragma once

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns_of_system(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Ticks of `clock_rate()` per second.
static inline uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return clock_ns_of_system();
#endif
}

// Ticks per second, measured against the system's clock over 20 ms at the first call, which is made
// before any other thread starts.
double clock_rate(void);
// Nanoseconds of a tick, times 2^32; of use after the first clock_rate().
extern uint64_t clock_ns_scale;

static inline uint64_t clock_ns(uint64_t ticks)
{
    return (uint64_t)((unsigned __int128)ticks * clock_ns_scale >> 32);
}
