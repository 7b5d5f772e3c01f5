#include "bench/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/clock.h"

#define READY_MAX 256
#define FILL_PIPELINE 64    // filling is not measured: deep enough to be quick
#define CONNECT_AT_ONCE 64  // below every listener's backlog
#define TURNS_PER_LOOK 1024 // how often limits that need no precision are looked at

struct connection {
    struct stream *stream;
    uint32_t waiting; // replies that are missing from the present batch
    uint32_t next;    // request in `batch` that the next reply answers
    bool connected;
    uint64_t sent; // when the batch was written, ticks
    struct request *batch;
    struct scanner scanner;
};

struct client {
    struct transport *transport;
    const struct options *options;
    struct protocol protocol;
    struct workload workload;
    struct template template; // of a --command
    struct connection *connections;
    const bool volatile *stop;
    struct measurement *m; // of the running test
    struct stream *ready[READY_MAX];
    unsigned connected, open, pipeline;
    uint64_t to_send; // requests that may still be sent
    uint64_t waiting; // replies missing on all connections
    uint64_t now;     // of the turn, ticks
    char *error;      // first reason to stop, one line
    size_t error_size;
};

static void fail(struct client *c, const char *text)
{
    if (!c->error[0])
        snprintf(c->error, c->error_size, "%s", text);
}

static const char *reason(const struct stream *s)
{
    static const char *const names[] = {
        [STREAM_OK] = "closed",
        [STREAM_RESET] = "reset by the server",
        [STREAM_TIMED_OUT] = "timed out",
        [STREAM_REFUSED] = "refused: does a server listen there?",
        [STREAM_UNREACHABLE] = "unreachable: is the address right and on the same network?",
        [STREAM_NO_MEMORY] = "out of memory",
        [STREAM_ABORTED] = "aborted",
    };
    return s->error <= STREAM_ABORTED ? names[s->error] : "lost";
}

// Writes the next batch of a connection that waits for nothing.
static void send_batch(struct client *c, struct connection *k)
{
    uint32_t n = c->to_send < c->pipeline ? (uint32_t)c->to_send : c->pipeline;
    if (n == 0)
        return;
    for (uint32_t i = 0; i < n; i++) {
        k->batch[i] = workload_next(&c->workload);
        protocol_write(&c->protocol, &k->stream->out, k->batch[i]);
    }
    c->to_send -= n;
    c->waiting += n;
    k->waiting = n;
    k->next = 0;
    k->sent = c->now;
    k->stream->ops->push(k->stream);
}

static void lose(struct client *c, struct connection *k)
{
    char text[128];
    snprintf(text, sizeof(text), "connection %s", reason(k->stream));
    fail(c, text);
    if (c->m)
        c->m->disconnects++;
    c->waiting -= k->waiting;
    k->waiting = 0;
    c->open--;
    k->stream->ops->release(k->stream);
    k->stream = NULL;
}

static void count_odd(struct client *c, struct connection *k, enum reply_kind kind)
{
    if (kind == REPLY_ERROR && !c->m->first_error[0])
        memcpy(c->m->first_error, k->scanner.line, sizeof(c->m->first_error));
    if (kind == REPLY_BROKEN) {
        fail(c, "the server does not speak RESP");
        k->stream->ops->abort(k->stream);
    }
}

// Takes all replies that have come. Returns false when the connection is of no more use.
static bool receive(struct client *c, struct connection *k)
{
    struct stream *s = k->stream;
    uint32_t done = 0;
    while (s->in_len > 0) {
        if (done == k->waiting) {
            fail(c, "the server sent a reply that nobody asked for");
            s->ops->abort(s);
            return false;
        }
        const uint8_t *data = s->in;
        size_t len = s->in_len, at = 0;
        while (at < len && done < k->waiting) {
            size_t used;
            enum reply_kind kind = protocol_scan(&c->protocol, &k->scanner, k->batch[k->next],
                                                 data + at, len - at, &used);
            at += used;
            if (kind == REPLY_MORE)
                break;
            if (__builtin_expect(kind >= REPLY_ERROR, 0)) {
                count_odd(c, k, kind);
                if (kind == REPLY_BROKEN)
                    return false;
            }
            c->m->kinds[kind]++;
            k->next++;
            done++;
        }
        stream_consume(s, (uint32_t)at);
    }
    if (done > 0) {
        histogram_record(&c->m->latency, c->now - k->sent, done);
        k->waiting -= done;
        c->waiting -= done;
        c->m->requests += done;
    }
    return true;
}

static void serve(struct client *c, struct stream *s)
{
    struct connection *k = s->owner;
    unsigned events = s->events;
    s->events = 0;
    if (!k)
        return;
    if (events & STREAM_CONNECTED) {
        k->connected = true;
        c->connected++;
    }
    if (events & STREAM_CLOSED) {
        lose(c, k);
        return;
    }
    if (events & STREAM_EOF) {
        fail(c, "the server closed a connection");
        s->ops->abort(s);
        return;
    }
    if (c->m && s->in_len > 0 && receive(c, k) && k->waiting == 0)
        send_batch(c, k);
}

// One turn. Returns the number of streams that had events.
static unsigned turn(struct client *c, bool idle)
{
    unsigned n = c->transport->ops->begin(c->transport, idle, c->ready, READY_MAX);
    c->now = clock_ticks();
    for (unsigned i = 0; i < n; i++)
        serve(c, c->ready[i]);
    c->transport->ops->end(c->transport);
    return n;
}

static bool connect_all(struct client *c)
{
    uint64_t limit = clock_ticks() + (uint64_t)(c->options->stall_s * clock_rate());
    unsigned begun = 0;
    unsigned n = 1;
    while (c->connected < c->options->connections && !c->error[0] && !*c->stop) {
        while (begun < c->options->connections && begun < c->connected + CONNECT_AT_ONCE) {
            struct connection *k = &c->connections[begun];
            int code = 0;
            k->stream = c->transport->ops->connect(c->transport, &c->options->server, &code);
            if (!k->stream) {
                fail(c, code == -EMFILE ? "too many open files: raise `ulimit -n`"
                                        : strerror(code < 0 ? -code : code));
                return false;
            }
            k->stream->owner = k;
            c->open++;
            begun++;
        }
        n = turn(c, n == 0);
        if (clock_ticks() > limit)
            fail(c, "no answer to a connection attempt; is the server there?");
    }
    return !c->error[0] && !*c->stop;
}

struct client *client_open(struct transport *t, const struct options *o, const bool volatile *stop,
                           char *error, size_t error_size)
{
    struct client *c = calloc(1, sizeof(*c));
    unsigned deepest = o->pipeline > FILL_PIPELINE ? o->pipeline : FILL_PIPELINE;
    error[0] = 0;
    if (c)
        *c = (struct client){
            .transport = t, .options = o, .stop = stop, .error = error, .error_size = error_size};
    if (!c || !(c->connections = calloc(o->connections, sizeof(*c->connections))) ||
        !protocol_init(&c->protocol, o->data_size, o->verify)) {
        snprintf(error, error_size, "out of memory");
        client_close(c);
        return NULL;
    }
    for (unsigned i = 0; i < o->connections; i++)
        if (!(c->connections[i].batch = calloc(deepest, sizeof(struct request))))
            fail(c, "out of memory");
    if (error[0] || !connect_all(c)) {
        fail(c, "interrupted");
        client_close(c);
        return NULL;
    }
    return c;
}

void client_close(struct client *c)
{
    if (!c)
        return;
    if (c->connections) {
        for (unsigned i = 0; i < c->options->connections; i++) {
            if (c->connections[i].stream)
                c->connections[i].stream->ops->abort(c->connections[i].stream);
            free(c->connections[i].batch);
        }
        // The resets leave with this turn.
        c->m = NULL;
        turn(c, false);
    }
    protocol_free(&c->protocol);
    template_free(&c->template);
    free(c->connections);
    free(c);
}

static void show_progress(const struct client *c, uint64_t total)
{
    if (!c->options->quiet && isatty(STDERR_FILENO))
        fprintf(stderr, "\rfilling: %5.1f %%", 100.0 * (double)c->m->requests / (double)total);
}

bool client_run(struct client *c, enum bench_test test, struct measurement *m, char *error,
                size_t error_size)
{
    const struct options *o = c->options;
    bool fill = test == BENCH_FILL;
    uint64_t total = fill ? o->keys : o->requests;
    double rate = clock_rate();
    *m = (struct measurement){.test = test};
    histogram_reset(&m->latency);
    error[0] = 0;
    c->error = error;
    c->error_size = error_size;
    template_free(&c->template);
    c->protocol.command = &c->template;
    if (test >= BENCH_COMMAND && !template_parse(&c->template, o->commands[test - BENCH_COMMAND],
                                                 o->data_size, o->keys, o->seed, error, error_size))
        return false;
    c->m = m;
    c->pipeline = fill ? FILL_PIPELINE : o->pipeline;
    c->to_send = total ? total : UINT64_MAX;
    workload_init(&c->workload, test, o);

    uint64_t begin = clock_ticks(), last_reply = begin;
    uint64_t end = total ? UINT64_MAX : begin + (uint64_t)(o->duration_s * rate);
    uint64_t stall = (uint64_t)(o->stall_s * rate), seen = 0;
    c->now = begin;
    for (unsigned i = 0; i < o->connections; i++)
        if (c->connections[i].stream)
            send_batch(c, &c->connections[i]);
    c->transport->ops->end(c->transport);

    bool idle = false;
    for (uint64_t turns = 1; c->waiting > 0 && !c->error[0]; turns++) {
        uint64_t from = clock_ticks();
        if (from >= end)
            c->to_send = 0; // the clock has run out: what is under way is still awaited
        idle = turn(c, idle) == 0;
        if (!idle) {
            m->busy_ticks += clock_ticks() - from;
            m->turns++;
        }
        if (turns % TURNS_PER_LOOK == 0 || idle) {
            if (m->requests != seen)
                last_reply = from;
            else if (from - last_reply > stall)
                fail(c, "no reply for too long (--stall)");
            seen = m->requests;
            if (*c->stop)
                fail(c, "interrupted");
            if (fill && turns % TURNS_PER_LOOK == 0)
                show_progress(c, total);
        }
    }
    m->seconds = (double)(clock_ticks() - begin) / rate;
    if (fill && !o->quiet && isatty(STDERR_FILENO))
        fprintf(stderr, "\r                \r");
    c->m = NULL;
    return !error[0];
}
