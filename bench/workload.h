// Which requests to send: an operation and the number of a key, one after the other. Deterministic
// for a seed.
#pragma once

#include <stdint.h>

#include "bench/options.h"

enum workload_op { WORKLOAD_SET, WORKLOAD_GET, WORKLOAD_PING, WORKLOAD_COMMAND };

struct request {
    uint64_t key : 48; // number of the key
    uint64_t op : 8;   // enum workload_op
};

struct workload {
    uint64_t state; // of the generator
    uint64_t keys;
    uint64_t next;      // BENCH_FILL: the next key in order
    uint32_t set_share; // of 2^32: how often `mixed` sets
    enum bench_test test;
};

void workload_init(struct workload *w, enum bench_test test, const struct options *o);

// Steele's and Vigna's splitmix64: one multiplication chain, passes the usual batteries.
static inline uint64_t workload_random(struct workload *w)
{
    uint64_t z = w->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline struct request workload_next(struct workload *w)
{
    if (w->test == BENCH_FILL)
        return (struct request){.key = w->next++, .op = WORKLOAD_SET};
    uint64_t r = workload_random(w);
    // A product's high half is uniform over the keys; a bias of keys / 2^64 does not show.
    uint64_t key = (uint64_t)(((unsigned __int128)r * w->keys) >> 64);
    enum workload_op op = WORKLOAD_SET;
    if (w->test >= BENCH_COMMAND)
        op = WORKLOAD_COMMAND;
    else if (w->test == BENCH_GET)
        op = WORKLOAD_GET;
    else if (w->test == BENCH_PING)
        op = WORKLOAD_PING;
    else if (w->test == BENCH_MIXED)
        op = (uint32_t)workload_random(w) < w->set_share ? WORKLOAD_SET : WORKLOAD_GET;
    return (struct request){.key = key, .op = op};
}
