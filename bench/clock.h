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

// Ticks per second, measured against the system's clock over 20 ms at the first call.
double clock_rate(void);
