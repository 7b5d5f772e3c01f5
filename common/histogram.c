#include "common/histogram.h"

#include <string.h>

void histogram_reset(struct histogram *h)
{
    memset(h, 0, sizeof(*h));
    h->min = UINT64_MAX;
}

void histogram_merge(struct histogram *h, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        h->counts[i] += from->counts[i];
    h->total += from->total;
    h->sum += from->sum;
    if (from->min < h->min)
        h->min = from->min;
    if (from->max > h->max)
        h->max = from->max;
}

uint64_t histogram_upper(unsigned i)
{
    unsigned block = i >> HISTOGRAM_SUB_BITS;
    if (block < 2)
        return i; // one value per bucket
    unsigned shift = block - 1;
    uint64_t first = (uint64_t)(i - (shift << HISTOGRAM_SUB_BITS)) << shift;
    return first + (UINT64_C(1) << shift) - 1;
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    if (h->total == 0)
        return 0;
    double wanted = (double)h->total * percent / 100.0;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (h->counts[i] > 0 && (double)seen >= wanted) {
            uint64_t upper = histogram_upper(i);
            return upper < h->max ? upper : h->max;
        }
    }
    return h->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->total ? (double)h->sum / (double)h->total : 0;
}
