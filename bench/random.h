// Random numbers for workloads: fast, of good quality, and the same for a seed on every machine.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Steele's and Vigna's splitmix64: one multiplication chain, passes the usual batteries.
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

// Where the generator number `stream` of a run begins: streams of one seed do not overlap in
// practice, since their places in the sequence of 2^64 are random.
static inline uint64_t random_seed(uint64_t seed, uint64_t stream)
{
    uint64_t state = seed + stream * UINT64_C(0xd1342543de82ef95);
    return random_next(&state);
}

// From a random number, one below `n`: a product's high half. The bias of n / 2^64 does not show.
static inline uint64_t random_below(uint64_t random, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)random * n) >> 64);
}

// A choice with weights in constant time: A. J. Walker, "An efficient method for generating
// discrete random variables with general distributions", ACM TOMS 3 (1977). Every place is as
// likely as any other; it keeps `own` of 2^64 of its visits and gives the rest to `other`.
struct alias {
    uint64_t own;
    uint32_t other;
};

// Fills `table` of `n` places; `weights` are used up. Some must be positive, none negative.
void alias_init(struct alias *table, double *weights, uint32_t n);

static inline uint32_t alias_pick(const struct alias *table, uint32_t n, uint64_t random)
{
    unsigned __int128 product = (unsigned __int128)random * n;
    uint32_t place = (uint32_t)(product >> 64);
    uint32_t other = table[place].other;
    bool own = (uint64_t)product < table[place].own;
    // As likely as not: a conditional move, no branch.
    return __builtin_expect_with_probability(own, true, 0.5) ? place : other;
}
