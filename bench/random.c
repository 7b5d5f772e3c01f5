#include "bench/random.h"

// Vose's way of making the table: places that have less than their share are filled up by places
// that have more. Both wait in lists that are threaded through `other`.
void alias_init(struct alias *table, double *weights, uint32_t n)
{
    const uint32_t none = UINT32_MAX;
    uint32_t poor = none, rich = none;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += weights[i];
    for (uint32_t i = 0; i < n; i++) {
        weights[i] *= (double)n / sum;
        uint32_t *list = weights[i] < 1 ? &poor : &rich;
        table[i].other = *list;
        *list = i;
    }
    while (poor != none && rich != none) {
        uint32_t taker = poor, giver = rich;
        poor = table[taker].other;
        table[taker] = (struct alias){.own = (uint64_t)(weights[taker] * 0x1p64), .other = giver};
        weights[giver] -= 1 - weights[taker];
        if (weights[giver] < 1) {
            rich = table[giver].other;
            table[giver].other = poor;
            poor = giver;
        }
    }
    // What is left has its share, but for rounding.
    for (uint32_t *list = &rich;; list = &poor) {
        while (*list != none) {
            uint32_t i = *list;
            *list = table[i].other;
            table[i] = (struct alias){.own = UINT64_MAX, .other = i};
        }
        if (list == &poor)
            break;
    }
}
