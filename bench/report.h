// What was measured, for people and for programs. All may be called by the main thread only.
#pragma once

#include <stdio.h>

#include "bench/measurement.h"
#include "bench/workers.h"

// A table: one block for each test, as redis-benchmark's and memtier_benchmark's users expect it:
// throughput, MB/s, p50 p90 p99 p99.9 p99.99 max, errors, retransmissions, CPU of both sides; a line
// for each command of a mix and each node; a plain sentence when the generator was the limit.
void report_text(FILE *to, const struct options *o, const struct measurement *m);
// The curve of a sweep: a row for each step, the knee marked, and a picture of bars.
void report_sweep(FILE *to, const struct options *o, struct measurement *const *steps, unsigned n,
                  unsigned knee);
// All results as one JSON object / one CSV table with a header line.
void report_json(FILE *to, const struct options *o, struct measurement *const *all, unsigned n);
void report_csv(FILE *to, const struct options *o, struct measurement *const *all, unsigned n);
// The percentile distribution in the text form that HdrHistogram's plotters read ("Value Percentile
// TotalCount 1/(1-Percentile)"), milliseconds.
void report_hdr(FILE *to, const struct measurement *m);
// --plot FILE.svg|png: percentiles of all tests, or latency over throughput of a sweep, by gnuplot.
// False with one line in `error` that says what to do.
bool report_plot(const char *file, const struct options *o, struct measurement *const *all,
                 unsigned n, char *error, size_t error_size);
// Writes everything that the options name files for. False with one line in `error`.
bool report_files(const struct options *o, struct measurement *const *all, unsigned n, char *error,
                  size_t error_size);
