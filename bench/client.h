// The closed-loop client: every connection sends `pipeline` requests at once and, when all of them
// are answered, the next. One thread drives all connections over one transport.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/options.h"
#include "bench/protocol.h"
#include "bench/transport.h"
#include "common/histogram.h"

struct client;

// What one test measured.
struct measurement {
    enum bench_test test;
    uint64_t requests; // answered while the clock ran
    double seconds;
    uint64_t kinds[REPLY_KINDS];
    uint64_t disconnects;
    uint64_t busy_ticks;      // of this thread, in turns that had replies
    uint64_t turns;           // such turns
    struct histogram latency; // in clock ticks, from the batch's sending to each reply
    char first_error[PROTOCOL_LINE_MAX];
};

// Opens all connections. NULL with one line in `error`. `stop` is looked at in every turn: a signal
// handler may set it.
struct client *client_open(struct transport *t, const struct options *o, const bool volatile *stop,
                           char *error, size_t error_size);
void client_close(struct client *c);
// Runs one test to its end (number of requests, or duration). False when it could not be finished,
// with one line in `error`; `m` holds what was measured until then.
bool client_run(struct client *c, enum bench_test test, struct measurement *m, char *error,
                size_t error_size);
