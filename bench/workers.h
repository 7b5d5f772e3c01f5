// The threads that make the load: each has a transport, connections and a workload of its own, and
// shares nothing with the others while it runs. The calling thread starts, watches and merges.
#pragma once

#include <stdbool.h>

#include "bench/measurement.h"
#include "bench/options.h"
#include "bench/presets.h"

struct workers;

// How far a test is, for those who watch: read about four times a second.
struct progress {
    const char *name;
    enum { PHASE_CONNECT, PHASE_FILL, PHASE_WARMUP, PHASE_MEASURE } phase;
    double seconds, of_seconds;     // of this phase; of_seconds 0: unknown
    uint64_t requests, of_requests; // likewise
    unsigned step, steps;           // of a rate sweep
    double rate, wanted;            // requests/s since the last call; wanted: open loop
    uint64_t errors, wrong, connections;
    const struct histogram *latency; // of the interval since the last call, ns
};

// Opens transports and connections on `o->threads` threads. NULL with one line in `error` that says
// what to do. `stop`: a signal handler may set it; looked at in every turn.
struct workers *workers_open(const struct options *o, const bool volatile *stop, char *error,
                             size_t error_size);
void workers_close(struct workers *w);
// Runs one test (fill is one too) to its end: warm-up, then the measured time. The result is the
// caller's (measurement_free); NULL only when memory is short. `rate`: 0 for a closed loop.
// `watch` is called by this thread while the others work; may be NULL.
struct measurement *workers_run(struct workers *w, const struct preset *test, double rate,
                                void (*watch)(void *context, const struct progress *p),
                                void *context);
// All steps of --rate FROM..TO/STEP, lowest first; ends two steps after the knee (bench/sweep.c):
// the first step that reached less than 95 % of what was wanted, or whose p99 is ten times the
// lowest step's. *knee is its index, or the number of steps when none was found. Returns how many
// were measured; results are the caller's.
unsigned workers_sweep(struct workers *w, const struct preset *test, struct measurement **results,
                       unsigned *knee, void (*watch)(void *context, const struct progress *p),
                       void *context);
