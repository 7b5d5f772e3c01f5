#include "bench/arrivals.h"

#include <math.h>

void arrivals_init(struct arrivals *a, enum bench_arrivals kind, double rate, uint64_t seed)
{
    *a = (struct arrivals){.kind = kind, .gap_ns = 1e9 / rate, .state = seed};
}

static uint64_t draw(struct arrivals *a)
{
    uint64_t z = a->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t arrivals_next(struct arrivals *a)
{
    double gap = a->gap_ns;
    if (a->kind == ARRIVALS_POISSON)
        gap *= -log(((double)(draw(a) >> 11) + 0.5) / 9007199254740992.0);
    a->next_ns += gap;
    return (uint64_t)a->next_ns;
}
