// What the files of the client share (client.c, job.c, route.c), and nobody else.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/arrivals.h"
#include "bench/client.h"
#include "bench/protocol.h"
#include "bench/workload.h"

#define READY_MAX 256
#define SETUP_MAX 1024
#define CLIENT_REST_US 1000 // the longest sleep
#define NAME_MAX_SIZE 128   // of a connection, for people

enum state {
    CONNECTION_NONE,
    CONNECTION_OPENING,
    CONNECTION_SETUP,     // waits for the replies to AUTH, HELLO, SELECT
    CONNECTION_MAP,       // waits for the reply to CLUSTER SLOTS
    CONNECTION_READY,     // may carry load
    CONNECTION_CLOSING,   // its requests are answered; with --churn it will be opened again
    CONNECTION_MISPLACED, // will be opened again from another port
};

struct connection {
    struct stream *stream;
    uint32_t waiting; // requests under way
    uint32_t next;    // in `batch` (`routed`): the request that the next reply answers
    uint32_t write;   // likewise, where the next request goes; a closed loop has `sent` for all
    uint32_t left;  // --churn: requests that may still be sent before it is closed; setup: replies
    uint8_t state;  // enum state
    bool touched;   // open loop: written to in this turn
    bool listed;    // in a pool
    uint16_t node;  // of a cluster
    uint16_t tries; // local ports that did not lead to our queue
    unsigned number;
    uint64_t sent; // closed loop: when the batch was written, ticks
    const struct endpoint *to;
    struct request *batch;
    struct timing {
        uint64_t meant, written; // ticks
    } * times;                   // open loop: of each request in `batch`
    struct routed *routed;       // in a cluster, instead of both
    struct connection *before, *after, *next_touched;
    struct scanner scanner;
};

// Connections that may take a request, by the number that they have under way.
struct pool {
    struct level {
        struct connection *first, *last;
    } * levels;
    uint32_t lowest, n; // the lowest level that may have one; connections in all levels
};

struct route;

struct client {
    struct transport *transport;
    const struct options *options;
    const volatile bool *stop;
    const _Atomic bool *halt;
    struct connection *connections; // without a cluster
    struct route *route;            // with one
    struct measurement *m;          // of the running test; NULL: none
    struct histogram *latency;
    struct protocol protocol;
    struct workload workload;
    struct stream *ready[READY_MAX];
    unsigned thread;
    unsigned n_connections;    // to the server; in a cluster to each node
    unsigned n_all, connected; // to all nodes
    unsigned begun;            // those that were opened at least once
    uint32_t pipeline, mask;   // of `batch` as a ring (open loop)
    bool open_loop, churn, by_command;
    bool resting;     // between two tests
    uint64_t to_send; // requests that may still be sent
    uint64_t waiting; // replies missing on all connections
    uint64_t now;     // of the turn, ticks

    // Open loop.
    struct arrivals arrivals;
    double ticks_per_ns;
    uint64_t begin, due;    // when the next request is meant to be sent, ticks
    uint64_t blocked_until; // until then no connection was free
    uint64_t due_end;       // none is meant to be sent from then on
    struct pool pool;
    struct connection *first_touched;

    uint8_t setup[SETUP_MAX]; // what each connection says first
    size_t setup_size;
    unsigned setup_replies;
    struct request *rings; // of all connections
    struct timing *times;
    size_t ring;                      // entries of each
    struct connection asker;          // of the map of a cluster
    char error[MEASUREMENT_TEXT_MAX]; // first reason to stop, one line
};

static inline void fail(struct client *c, const char *text)
{
    if (!c->error[0])
        snprintf(c->error, sizeof(c->error), "%s", text);
}

// --- pools: which connection is the least loaded -------------------------------------------------

static inline bool pool_init(struct pool *p, uint32_t levels)
{
    *p = (struct pool){.levels = calloc(levels, sizeof(*p->levels))};
    return p->levels;
}

static inline void pool_free(struct pool *p)
{
    free(p->levels);
    *p = (struct pool){0};
}

// k->waiting must not change before it is removed. At the end of its level, so that all take turns.
static inline void pool_add(struct pool *p, struct connection *k)
{
    struct level *l = &p->levels[k->waiting];
    k->after = NULL;
    k->before = l->last;
    *(l->last ? &l->last->after : &l->first) = k;
    l->last = k;
    k->listed = true;
    if (k->waiting < p->lowest)
        p->lowest = k->waiting;
    p->n++;
}

static inline void pool_remove(struct pool *p, struct connection *k)
{
    struct level *l = &p->levels[k->waiting];
    *(k->before ? &k->before->after : &l->first) = k->after;
    *(k->after ? &k->after->before : &l->last) = k->before;
    k->listed = false;
    p->n--;
}

static inline struct connection *pool_least(struct pool *p)
{
    if (!p->n)
        return NULL;
    while (!p->levels[p->lowest].first)
        p->lowest++;
    return p->levels[p->lowest].first;
}

// --- sending and counting ------------------------------------------------------------------------

// Open loop: when the next request is meant to be sent.
static inline void draw_arrival(struct client *c)
{
    c->due = c->begin + (uint64_t)((double)arrivals_next(&c->arrivals) * c->ticks_per_ns);
}

// What was written to it leaves with push_touched.
static inline void touch(struct client *c, struct connection *k)
{
    if (k->touched)
        return;
    k->touched = true;
    k->next_touched = c->first_touched;
    c->first_touched = k;
}

static inline void push_touched(struct client *c)
{
    while (c->first_touched) {
        struct connection *k = c->first_touched;
        c->first_touched = k->next_touched;
        k->touched = false;
        if (k->stream)
            k->stream->ops->push(k->stream);
    }
}

static inline void count_part(struct measurement_part *part, enum reply_kind kind, size_t bytes,
                              uint64_t latency_ns)
{
    part->requests++;
    part->kinds[kind]++;
    part->bytes_in += bytes;
    histogram_record(&part->latency, latency_ns, 1);
}

// The thread's connections to one server, not opened. NULL when memory is short.
struct connection *connections_new(const struct client *c, const struct endpoint *to);
// Begins to open one. False: the reason is in c->error.
bool client_connect(struct client *c, struct connection *k);
// Closes one whose requests are all answered, to open it again.
void client_reopen(struct client *c, struct connection *k);
// Turns until *done. False: the reason is in c->error.
bool client_wait(struct client *c, const bool *done);
// Notes an error's text, the evidence of a wrong reply; ends a connection that does not speak RESP.
void client_count_odd(struct client *c, struct connection *k, struct request r,
                      enum reply_kind kind);
// A reply came that nobody asked for: ends the connection.
void client_unasked(struct client *c, struct connection *k);
// Connection number `i` of c->n_all.
struct connection *client_connection(const struct client *c, unsigned i);
// "connection 3", in a cluster "connection 3 to 127.0.0.1:7002"; `text` has NAME_MAX_SIZE bytes.
const char *client_name(const struct client *c, const struct connection *k, char *text);
// One turn of at most `wait_us`. Returns the number of streams that had events.
unsigned client_turn(struct client *c, unsigned wait_us);
// A signal or another thread wants it to end.
bool client_stopped(struct client *c);
// Room for what is under way on each connection, without a cluster. False: memory is short.
bool client_make_rings(struct client *c);
// A connection that is ready, and has nothing under way, takes part in the running test.
void client_put_to_work(struct client *c, struct connection *k);
