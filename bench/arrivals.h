// When requests are meant to be sent in an open loop: even (every 1/rate) or Poisson (independent,
// exponentially distributed gaps). Deterministic for a seed, integer nanoseconds, no drift.
#pragma once

#include <stdint.h>

#include "bench/options.h"

struct arrivals {
    enum bench_arrivals kind;
    double gap_ns;  // mean
    double next_ns; // since the start
    uint64_t state; // of the generator
};

// `rate`: of this thread, requests/s.
void arrivals_init(struct arrivals *a, enum bench_arrivals kind, double rate, uint64_t seed);
// The time of the next request, nanoseconds since the start; never before the last one's.
uint64_t arrivals_next(struct arrivals *a);
