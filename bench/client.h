// The load of one thread: its connections over one transport, in a closed or an open loop.
//
// Closed loop: every connection sends `pipeline` requests at once and, when all of them are
// answered, the next. Open loop: each request has a time at which it is meant to be sent, drawn
// beforehand; it goes out then on the connection with the fewest requests under way, or, when every
// connection has `pipeline` of them, as soon as one has less.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/measurement.h"
#include "bench/options.h"
#include "bench/presets.h"
#include "bench/transport.h"

struct client;

// What a thread is to do; the same for all but for its share of the rate and of the requests.
struct job {
    const struct preset *test;
    double rate;       // of this thread, requests/s; 0: closed loop
    uint64_t requests; // of this thread; 0: by duration
    double warmup_s, duration_s;
    unsigned pipeline;
    uint64_t begin; // ticks: when all threads start
    uint64_t seed;  // of arrivals
};

// What the watching thread sees of a client while it works. Two histograms change hands, so that
// the client makes one update for a batch of replies and never copies: it records into
// latency[given % 2] and owns that one. When `wanted`, which the watcher counts up once it has
// emptied the other, is one ahead, the client fills `counts`, counts `given` up and goes on in the
// other.
struct client_view {
    _Atomic unsigned wanted, given;
    struct client_counts {
        uint64_t requests, errors, wrong; // of the present phase
        unsigned connections;
        bool measuring; // the histogram that was given holds measured requests, not warm-up
    } counts;
    struct histogram latency[2];
};

// Opens the thread's share of all connections and makes them ready (AUTH, HELLO, SELECT). NULL with
// one line in `error`. `stop` and `halt` are looked at in every turn: a signal handler may set the
// first, another thread that failed the second.
struct client *client_open(struct transport *t, const struct options *o, unsigned thread,
                           const volatile bool *stop, const _Atomic bool *halt, char *error,
                           size_t error_size);
void client_close(struct client *c);
// Runs one job to its end; `m` (made for the test's commands, empty) gets everything but `latency`,
// whose rest lies in view->latency[given % 2]. False when it ended early, with the reason in
// m->error.
bool client_run(struct client *c, const struct job *job, struct measurement *m,
                struct client_view *view);
// A turn between jobs: waits for at most a millisecond.
void client_rest(struct client *c);
unsigned client_connections(const struct client *c);
