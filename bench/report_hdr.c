// HdrHistogram's outputPercentileDistribution, line for line: its percentile iterator with five
// ticks per half distance to 100 %, three digits, milliseconds. Its plotters take the file as it
// is.
#include <math.h>
#include <stdio.h>

#include "bench/report.h"

#define TICKS_PER_HALF_DISTANCE 5.0
#define NS_PER_MS 1e6

double report_deviation(const struct histogram *h)
{
    double mean = histogram_mean(h), sum = 0;
    for (unsigned i = 0; h->total && i < HISTOGRAM_BUCKETS; i++) {
        if (!h->counts[i])
            continue;
        // The middle of the bucket stands for what is in it.
        double low = i ? (double)histogram_upper(i - 1) + 1 : 0;
        double off = (low + (double)histogram_upper(i)) / 2 - mean;
        sum += off * off * (double)h->counts[i];
    }
    return h->total ? sqrt(sum / (double)h->total) : 0;
}

static double next_level(double level)
{
    double halvings = floor(log(100.0 / (100.0 - level)) / log(2.0));
    return level + 100.0 / (TICKS_PER_HALF_DISTANCE * exp2(halvings + 1));
}

static void print_line(FILE *to, uint64_t value, double level, uint64_t seen)
{
    fprintf(to, "%12.3f %2.12f %10llu", (double)value / NS_PER_MS, level / 100.0,
            (unsigned long long)seen);
    if (level < 100.0)
        fprintf(to, " %14.2f", 1 / (1.0 - level / 100.0));
    fputc('\n', to);
}

void report_hdr(FILE *to, const struct measurement *m)
{
    const struct histogram *h = &m->latency;
    fprintf(to, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    uint64_t seen = 0;
    double level = 0;
    for (unsigned i = 0; seen < h->total && i < HISTOGRAM_BUCKETS; i++) {
        if (!h->counts[i])
            continue;
        seen += h->counts[i];
        uint64_t upper = histogram_upper(i) < h->max ? histogram_upper(i) : h->max;
        if (seen == h->total) // values above the histogram's range count in its last bucket
            upper = h->max;
        // The levels that this bucket reaches; once all is seen one line, and the last, follow.
        while (100.0 * (double)seen / (double)h->total >= level && level < 100.0) {
            print_line(to, upper, level, seen);
            level = next_level(level);
            if (seen == h->total)
                break;
        }
    }
    if (h->total)
        print_line(to, h->max, 100.0, h->total);
    fprintf(to, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", histogram_mean(h) / NS_PER_MS,
            report_deviation(h) / NS_PER_MS);
    fprintf(to, "#[Max     = %12.3f, Total count    = %12llu]\n",
            h->total ? (double)h->max / NS_PER_MS : 0, (unsigned long long)h->total);
    // In HdrHistogram's terms: its first bucket is twice as fine as the rest, as ours is.
    fprintf(to, "#[Buckets = %12d, SubBuckets     = %12d]\n",
            HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS, 2 << HISTOGRAM_SUB_BITS);
}
