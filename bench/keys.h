// Which key a request is about: numbers from 0 to n-1, drawn in one of the ways of enum bench_keys,
// and numbers from n on for keys that are inserted while the load runs. Deterministic for a seed
// and a thread. One thread uses it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/options.h"
#include "bench/random.h"

// Ranks from 0 with probability ~ 1/(rank + 1)^theta, without a power or a logarithm for each draw:
// bins of neighbouring ranks are chosen by an alias table, and within a bin the density is taken
// for a straight line. The first ZIPF_SINGLE ranks have a bin each; the others' bins are
// 1/ZIPF_WIDTH of their rank wide, where the line is at most theta (theta + 1) / (8 ZIPF_WIDTH^2)
// off: 0.03 % for theta 1. The probabilities of bins are exact.
#define ZIPF_SINGLE 64
#define ZIPF_WIDTH 32

struct zipf_bin {
    uint64_t first, width;
    uint64_t keep,
        step; // place j is kept with (keep - j step) / 2^64, else its mirror image is taken
};

struct zipf {
    uint32_t n_bins;
    struct alias *alias;
    struct zipf_bin *bins;
};

// n > 0, 0 < theta < 2. False when memory is short.
bool zipf_init(struct zipf *z, uint64_t n, double theta);
void zipf_free(struct zipf *z);

static inline uint64_t zipf_next(const struct zipf *z, uint64_t *state)
{
    const struct zipf_bin *bin = &z->bins[alias_pick(z->alias, z->n_bins, random_next(state))];
    unsigned __int128 product = (unsigned __int128)random_next(state) * bin->width;
    uint64_t at = (uint64_t)(product >> 64);
    // A place and its mirror image have twice the mean density together: one draw serves them both.
    bool kept = (uint64_t)product < bin->keep - at * bin->step;
    uint64_t mirror = bin->width - 1 - at;
    // Without a branch, which nobody could foretell.
    return bin->first + (at ^ ((at ^ mirror) & (kept - UINT64_C(1))));
}

struct keys {
    enum bench_keys kind;
    uint64_t n;                 // keys that a filling makes
    uint64_t begin, end, next;  // KEYS_SEQUENTIAL: this thread's part, and where it is
    unsigned __int128 scatter;  // KEYS_ZIPFIAN, KEYS_HOT: see keys_scatter
    uint64_t hot, hot_requests; // KEYS_HOT: how many keys, and of 2^64 how many requests
    struct zipf zipf;
    uint64_t thread, threads;
    uint64_t inserted; // by this thread
    uint64_t unsure;   // KEYS_LATEST: the last insertions, which may still be under way
};

// `n` > 0: how many keys there are. `unsure`: how many insertions of this thread may be under way
// at once. `thread` < o->threads. False when memory is short.
bool keys_init(struct keys *k, enum bench_keys kind, const struct options *o, uint64_t n,
               uint64_t unsure, unsigned thread);
void keys_free(struct keys *k);
// The part of `n` keys that is a thread's own: from *begin to *end - 1.
void keys_part(uint64_t n, unsigned thread, unsigned threads, uint64_t *begin, uint64_t *end);

// Spreads ranks over all keys, one to one: rank times a number without a common factor with n,
// modulo n, by two multiplications (scatter is that number / n as a fraction of 2^128). The same
// for every thread and run, so that all agree which keys are hot.
static inline uint64_t keys_scatter(const struct keys *k, uint64_t rank)
{
    unsigned __int128 fraction = k->scatter * rank;
    unsigned __int128 low = (unsigned __int128)(uint64_t)fraction * k->n;
    unsigned __int128 high = (fraction >> 64) * k->n + (low >> 64);
    return (uint64_t)(high >> 64);
}

// Drawn in another way than uniformly.
uint64_t keys_next_other(struct keys *k, uint64_t *state);

static inline uint64_t keys_next(struct keys *k, uint64_t *state)
{
    if (__builtin_expect(k->kind == KEYS_UNIFORM, 1))
        return random_below(random_next(state), k->n);
    if (k->kind == KEYS_ZIPFIAN)
        return keys_scatter(k, zipf_next(&k->zipf, state));
    return keys_next_other(k, state);
}

// The number of a new key: threads take turns, so no two insert the same.
static inline uint64_t keys_insert(struct keys *k)
{
    return k->n + k->inserted++ * k->threads + k->thread;
}
