// Which requests to send: a command of the test's mix and the number of a key, one after the other.
// Deterministic for a seed and a thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/options.h"
#include "bench/presets.h"

struct request {
    uint64_t key : 48;    // number of the key
    uint64_t command : 8; // index into the test's commands
    uint64_t op : 8;      // enum preset_kind of it
};

struct workload {
    uint64_t state; // of the generator
    uint64_t keys;
    uint64_t next, end;                  // in order: the next key, and one past this thread's last
    bool in_order;                       // filling
    unsigned n;                          // commands
    uint32_t limit[PRESET_COMMANDS_MAX]; // sums of shares of 2^32; the last is UINT32_MAX
    uint8_t op[PRESET_COMMANDS_MAX];
};

// `thread` < o->threads. Filling gives each thread a part of the keys of its own.
void workload_init(struct workload *w, const struct preset *test, const struct options *o,
                   unsigned thread);
// How many requests of `thread` fill its part of the keys.
uint64_t workload_fill_requests(const struct options *o, unsigned thread);

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
    if (w->in_order)
        return (struct request){.key = w->next++, .op = w->op[0]};
    uint64_t r = workload_random(w);
    // A product's high half is uniform over the keys; a bias of keys / 2^64 does not show.
    uint64_t key = (uint64_t)(((unsigned __int128)r * w->keys) >> 64);
    unsigned command = 0;
    if (w->n > 1)
        for (uint32_t draw = (uint32_t)workload_random(w); draw >= w->limit[command];)
            command++;
    return (struct request){.key = key, .command = command, .op = w->op[command]};
}
