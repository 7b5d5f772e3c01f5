// What was measured, for people and for programs. All may be called by the main thread only.
#pragma once

#include <stdio.h>

#include "bench/measurement.h"
#include "bench/workers.h"

// A table: one block for each test, as redis-benchmark's and memtier_benchmark's users expect it:
// throughput, MB/s, p50 p90 p99 p99.9 p99.99 max, errors, retransmissions, CPU of both sides; a
// line for each command of a mix and each node; a plain sentence when the generator was the limit.
void report_text(FILE *to, const struct options *o, const struct measurement *m);
// The curve of a sweep: a row for each step, the knee marked, and a picture of bars.
void report_sweep(FILE *to, const struct options *o, struct measurement *const *steps, unsigned n,
                  unsigned knee);
// All results as one JSON object / one CSV table with a header line (RFC 4180). False when memory
// is short or `to` cannot be written.
bool report_json(FILE *to, const struct options *o, struct measurement *const *all, unsigned n);
bool report_csv(FILE *to, const struct options *o, struct measurement *const *all, unsigned n);
// The percentile distribution in the text form that HdrHistogram's plotters read ("Value Percentile
// TotalCount 1/(1-Percentile)"), milliseconds.
void report_hdr(FILE *to, const struct measurement *m);
// --plot FILE.svg|png: percentiles of all tests, or latency over throughput of a sweep, by gnuplot.
// False with one line in `error` that says what to do.
bool report_plot(const char *file, const struct options *o, struct measurement *const *all,
                 unsigned n, char *error, size_t error_size);
// Whether the files that the options name can be written, as far as can be told without touching
// them: asked before anything is measured. False with one line in `error`.
bool report_files_possible(const struct options *o, char *error, size_t error_size);
// Writes everything that the options name files for. Where a file holds one test only (--hdr) and
// there are several, the test's name (in a sweep, with its rate) goes before the suffix. False with
// one line in `error`.
bool report_files(const struct options *o, struct measurement *const *all, unsigned n, char *error,
                  size_t error_size);

// --- for the parts of the report -----------------------------------------------------------------

bool report_is_fill(const struct measurement *m);
// Whether `all` holds a step of a rate sweep, and not a test of its own.
bool report_is_step(const struct options *o, const struct measurement *m);
double report_cycles(const struct measurement *m);  // of the generator for a request
double report_busy(const struct measurement *m);    // share of the threads' time, 0 … 1
double report_deviation(const struct histogram *h); // standard deviation, ns
// Index of the knee among the steps of one sweep, `n` when there is none (bench/sweep.h).
unsigned report_knee(struct measurement *const *steps, unsigned n);
// How many of all[0 … n-1] belong to the test that all[0] belongs to: all steps of its sweep, or
// one.
unsigned report_group(const struct options *o, struct measurement *const *all, unsigned n);
