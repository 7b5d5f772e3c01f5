// The clock of a core: the cycle counter, anchored to the kernel's clocks ten times a second, so
// that a turn costs one rdtsc and a multiplication instead of two calls. Where the counter is not
// invariant (CPUID 80000007h, EDX bit 8) every reading asks the kernel.
#include <cpuid.h>
#include <time.h>
#include <x86intrin.h>

#include "dataplane/core/core.h"

#define ANCHOR_INTERVAL_US 100000
// The rate is measured over at least this long before it is trusted to more digits.
#define RATE_BASELINE_US 1000
// Readings of the clocks take a few hundred cycles when nobody interrupts them.
#define ANCHOR_CYCLES 20000
#define ANCHOR_TRIES 4

uint64_t core_clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t core_wall_ms(void)
{
    return wall_us() / 1000;
}

static bool invariant(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && d & 1u << 8;
}

// The kernel's clocks and the cycle counter at one moment. Who is interrupted between the readings
// would pair what does not belong together: those closest to each other count.
static void anchor(struct core_clock *k)
{
    uint64_t apart = UINT64_MAX;
    for (unsigned i = 0; i < ANCHOR_TRIES && apart > ANCHOR_CYCLES; i++) {
        uint64_t before = __rdtsc(), us = core_clock_us(), wall = wall_us();
        uint64_t cycles = __rdtsc() - before;
        if (cycles >= apart)
            continue;
        apart = cycles;
        k->anchor_cycles = before + cycles / 2;
        k->anchor_us = us;
        k->wall_us = wall;
    }
}

void core_clock_start(struct core_clock *k)
{
    anchor(k);
    k->first_us = k->anchor_us;
    k->first_cycles = k->anchor_cycles;
    k->us_per_cycle_32 = 0;
    k->invariant = invariant();
}

// Microseconds of the monotonic clock; never less than the reading before.
void core_clock_read(struct core_clock *k, uint64_t *now_us, uint64_t *now_ms)
{
    uint64_t since_us = (__rdtsc() - k->anchor_cycles) * k->us_per_cycle_32 >> 32;
    if (__builtin_expect(!k->us_per_cycle_32 || since_us >= ANCHOR_INTERVAL_US, 0)) {
        anchor(k);
        uint64_t run_us = k->anchor_us - k->first_us;
        if (k->invariant && run_us >= RATE_BASELINE_US)
            k->us_per_cycle_32 =
                (uint64_t)(((__uint128_t)run_us << 32) / (k->anchor_cycles - k->first_cycles));
        since_us = 0;
    }
    uint64_t us = k->anchor_us + since_us;
    if (us > *now_us)
        *now_us = us;
    *now_ms = (k->wall_us + since_us) / 1000;
}
