// A histogram of durations with a bounded relative error, whatever their range: values below
// 2^HISTOGRAM_SUB_BITS are counted exactly, larger ones in buckets of equal width per power of two.
// So every percentile is known to better than 1 %, recording is two instructions and one increment,
// and the memory is fixed. The unit is the caller's. Not shared between threads: merge instead.
#pragma once

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7  // 128 buckets per power of two: an error of at most 0.8 %
#define HISTOGRAM_MAX_BITS 44 // larger values are counted as the largest
#define HISTOGRAM_BUCKETS ((HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t total, sum;
    uint64_t min, max; // exact; meaningful when total > 0
    uint64_t counts[HISTOGRAM_BUCKETS];
};

void histogram_reset(struct histogram *h);
// Adds all that `from` has counted.
void histogram_merge(struct histogram *h, const struct histogram *from);
// The smallest value (upper edge of its bucket, at most `max`) that at least `percent` % of all
// values do not exceed; 0 when nothing was recorded.
uint64_t histogram_percentile(const struct histogram *h, double percent);
double histogram_mean(const struct histogram *h);
// The largest value that is counted in bucket `i`: the inverse of histogram_bucket.
uint64_t histogram_upper(unsigned i);

static inline unsigned histogram_bucket(uint64_t value)
{
    if (value >> HISTOGRAM_MAX_BITS)
        value = (UINT64_C(1) << HISTOGRAM_MAX_BITS) - 1;
    // Shifting so that the leading bit lands at SUB_BITS; the bits below it choose the bucket.
    unsigned top = 63u - (unsigned)__builtin_clzll(value | 1);
    unsigned shift = top > HISTOGRAM_SUB_BITS ? top - HISTOGRAM_SUB_BITS : 0;
    return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(value >> shift);
}

// Counts `n` values that are all `value`.
static inline void histogram_record(struct histogram *h, uint64_t value, uint64_t n)
{
    h->counts[histogram_bucket(value)] += n;
    h->total += n;
    h->sum += value * n;
    if (value < h->min)
        h->min = value;
    if (value > h->max)
        h->max = value;
}
