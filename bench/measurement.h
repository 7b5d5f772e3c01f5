// What one test (or one step of a rate sweep) measured: filled by the threads of `workers`, one
// each, merged, and read by every report. Times of histograms are nanoseconds.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/options.h"
#include "common/histogram.h"

#define MEASUREMENT_TEXT_MAX 256
#define MEASUREMENT_ERRORS_MAX 16 // different texts of errors that are told apart
#define MEASUREMENT_NODES_MAX 256 // of a cluster
#define MEASUREMENT_EVIDENCE_MAX 8

enum reply_kind {
    REPLY_OK,    // as the request deserves
    REPLY_MISS,  // a key that does not exist (nil)
    REPLY_ERROR, // the server's error
    REPLY_WRONG, // another type, another length, or with --verify another value
    REPLY_KINDS,
    REPLY_MORE,  // the reply is not complete
    REPLY_BROKEN // not RESP: the connection is of no more use
};

// One command of a mix, or one node of a cluster.
struct measurement_part {
    char name[MEASUREMENT_TEXT_MAX];
    uint64_t requests, kinds[REPLY_KINDS];
    uint64_t bytes_in, bytes_out;
    struct histogram latency;
};

struct measurement {
    char name[MEASUREMENT_TEXT_MAX];
    double rate; // wanted, requests/s; 0: closed loop
    double seconds;
    uint64_t requests; // answered while the clock ran
    uint64_t kinds[REPLY_KINDS];
    uint64_t bytes_in, bytes_out; // of RESP
    // Closed loop: from writing a batch to each of its replies. Open loop: from the moment at which
    // the request was meant to be sent, so that whatever delayed it, here or there, counts.
    struct histogram latency;
    struct histogram service; // open loop: from the actual writing; empty otherwise
    struct histogram lag; // open loop: from intended to actual writing where a connection was free
    unsigned n_commands, n_nodes;
    struct measurement_part *commands,
        *nodes; // allocated; NULL when there is only one / no cluster

    struct {
        char text[MEASUREMENT_TEXT_MAX]; // figures and addresses in it may differ: the first one's
        uint64_t count;
    } errors[MEASUREMENT_ERRORS_MAX];
    unsigned n_errors;
    uint64_t other_errors;
    char evidence[MEASUREMENT_EVIDENCE_MAX][MEASUREMENT_TEXT_MAX]; // of REPLY_WRONG, one line each
    unsigned n_evidence;

    uint64_t connects, disconnects; // during the test: opened again (--churn), lost
    uint64_t moved, asked;          // redirections followed
    uint64_t
        retried; // TRYAGAIN and CLUSTERDOWN: `errors` has their texts, `kinds` what came in the end
    uint64_t retransmitted; // TCP segments of ours, where the transport can tell
    uint64_t unsent;        // open loop: requests whose time came and that never left

    // Cost. busy_ns: threads' time in turns that had something to do.
    unsigned threads;
    uint64_t busy_ns, turns;
    double generator_cpu; // CPUs used by this process, 1 is one CPU; < 0: unknown
    double server_cpu;    // CPUs used by the server; < 0: cannot be seen
    // The most that a spinning thread was away, of the whole test: a bound below which no
    // percentile says anything about the server.
    struct histogram jitter;

    bool finished;                    // else `error` says why it ended early
    uint64_t missing;                 // replies that never came, if it ended early
    unsigned stuck;                   // connections that missed them
    char error[MEASUREMENT_TEXT_MAX]; // one line
};

// NULL when memory is short. `commands`, `nodes`: 0 when there is only one.
struct measurement *measurement_new(const char *name, unsigned commands, unsigned nodes);
void measurement_free(struct measurement *m);
// The part of a node, which is added when it is new: *index in `nodes`, which may move. False when
// memory is short.
bool measurement_node(struct measurement *m, const char *name, unsigned *index);
// Adds all that `from` counted; both were made with the same number of commands, nodes are the same
// that have the same name. Names, rate, seconds and the CPU figures of `into` stay.
void measurement_merge(struct measurement *into, const struct measurement *from);
void measurement_error(struct measurement *m, const char *text);    // counts one more server error
void measurement_evidence(struct measurement *m, const char *text); // keeps the first few
double measurement_rate(const struct measurement *m);               // requests/s
// Why the generator, and not the server, was the limit; NULL if it was not. One line for people.
// Closed loop: its threads were busy nearly all the time while the server (where it can be seen)
// was not. Open loop: requests left late although connections were free.
const char *measurement_bottleneck(const struct measurement *m, char *text, size_t size);
