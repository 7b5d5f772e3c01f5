#include "bench/arrivals.h"

#include <math.h>

#include "bench/random.h"

// Nanoseconds as a number with 64 bits behind the point. A double has 53 bits in all, so none of it
// is lost when it is made of the whole and the rest.
static unsigned __int128 fixed(double ns)
{
    double whole = floor(ns);
    return ((unsigned __int128)whole << 64) + (uint64_t)((ns - whole) * 0x1p64);
}

void arrivals_init(struct arrivals *a, enum bench_arrivals kind, double rate, uint64_t seed)
{
    *a = (struct arrivals){.kind = kind, .gap_ns = 1e9 / rate, .state = random_seed(seed, 1)};
    a->gap = fixed(a->gap_ns);
}

void arrivals_shift(struct arrivals *a, double share)
{
    a->next += fixed(a->gap_ns * share);
}

uint64_t arrivals_next(struct arrivals *a)
{
    if (a->kind == ARRIVALS_EVEN) {
        uint64_t now = (uint64_t)(a->next >> 64);
        a->next += a->gap;
        return now;
    }
    // The inverse of the exponential distribution; the number is in (0, 1], never 0.
    double u = (double)((random_next(&a->state) >> 11) + 1) * 0x1p-53;
    a->next += fixed(-log(u) * a->gap_ns);
    return (uint64_t)(a->next >> 64);
}
