// When requests are meant to be sent in an open loop: even (every 1/rate) or Poisson (independent,
// exponentially distributed gaps). Deterministic for a seed, integer nanoseconds, no drift: times
// are summed with 64 bits behind the point.
#pragma once

#include <stdint.h>

#include "bench/options.h"

struct arrivals {
    enum bench_arrivals kind;
    double gap_ns;               // mean
    unsigned __int128 gap, next; // nanoseconds * 2^64; `next`: since the start
    uint64_t state;              // of the generator
};

// `rate` > 0: of this thread, requests/s. Even arrivals begin at 0, Poisson's after a gap.
void arrivals_init(struct arrivals *a, enum bench_arrivals kind, double rate, uint64_t seed);
// Delays all times by `share` of a mean gap: threads that each send a part evenly are even together
// when thread i of n is delayed by i / n.
void arrivals_shift(struct arrivals *a, double share);
// The time of the next request, nanoseconds since the start; never before the last one's.
uint64_t arrivals_next(struct arrivals *a);
