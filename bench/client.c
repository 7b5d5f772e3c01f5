#include "bench/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/arrivals.h"
#include "bench/clock.h"
#include "bench/protocol.h"
#include "bench/workload.h"

#define READY_MAX 256
#define CONNECT_AT_ONCE 64  // below every listener's backlog
#define TURNS_PER_LOOK 1024 // how often limits that need no precision are looked at
#define REST_US 1000        // the longest sleep
// Open loop: the kernel may wake us this much late, so the last bit of a pause is spent spinning.
#define WAKE_EARLY_US 150
// Open loop: how long after the end requests whose time had come may still be sent.
#define GRACE_S 1.0
#define SETUP_MAX 1024

enum state {
    CONNECTION_NONE,
    CONNECTION_OPENING,
    CONNECTION_SETUP,   // waits for the replies to AUTH, HELLO, SELECT
    CONNECTION_READY,   // may carry load
    CONNECTION_CLOSING, // --churn: its requests are answered, it will be opened again
};

struct connection {
    struct stream *stream;
    uint32_t waiting; // requests under way
    uint32_t next;    // in `batch`: the request that the next reply answers
    uint32_t write;   // open loop, in `batch`: where the next request goes
    uint32_t left; // --churn: requests that may still be sent before it is closed; setup: replies
    uint8_t state; // enum state
    bool touched;  // open loop: written to in this turn
    uint64_t sent; // closed loop: when the batch was written, ticks
    struct request *batch;
    struct timing {
        uint64_t meant, written; // ticks
    } * times;                   // open loop: of each request in `batch`
    // Open loop: its place among those with equally many requests under way; all that were written
    // to in this turn.
    struct connection *before, *after, *next_touched;
    struct scanner scanner;
};

struct level {
    struct connection *first, *last;
};

struct client {
    struct transport *transport;
    const struct options *options;
    const volatile bool *stop;
    const _Atomic bool *halt;
    struct connection *connections;
    struct measurement *m; // of the running test; NULL: none
    struct histogram *latency;
    struct protocol protocol;
    struct workload workload;
    struct stream *ready[READY_MAX];
    unsigned thread, n_connections, connected;
    uint32_t pipeline, mask; // of `batch` as a ring (open loop)
    bool open_loop, churn, by_command;
    bool resting;     // between two tests
    uint64_t to_send; // requests that may still be sent
    uint64_t waiting; // replies missing on all connections
    uint64_t now;     // of the turn, ticks

    // Open loop.
    struct arrivals arrivals;
    double ticks_per_ns;
    uint64_t begin, due;     // when the next request is meant to be sent, ticks
    uint64_t blocked_until;  // until then no connection was free
    uint64_t due_end;        // none is meant to be sent from then on
    struct level *levels;    // [pipeline]: connections by requests under way
    uint32_t lowest, n_free; // the lowest level that may have one; connections in all levels
    struct connection *first_touched;

    uint8_t setup[SETUP_MAX]; // what each connection says first
    size_t setup_size;
    unsigned setup_replies;
    struct request *rings; // of all connections
    struct timing *times;
    size_t ring;                      // entries of each
    char error[MEASUREMENT_TEXT_MAX]; // first reason to stop, one line
};

static void fail(struct client *c, const char *text)
{
    if (!c->error[0])
        snprintf(c->error, sizeof(c->error), "%s", text);
}

static const char *reason(const struct stream *s)
{
    static const char *const names[] = {
        [STREAM_OK] = "closed by the server",
        [STREAM_RESET] = "reset by the server",
        [STREAM_TIMED_OUT] = "timed out",
        [STREAM_REFUSED] = "refused: does a server listen there?",
        [STREAM_UNREACHABLE] = "unreachable: is the address right and on the same network?",
        [STREAM_NO_MEMORY] = "out of memory",
        [STREAM_ABORTED] = "aborted",
    };
    return s->error <= STREAM_ABORTED ? names[s->error] : "lost";
}

static unsigned number_of(const struct client *c, const struct connection *k)
{
    return (unsigned)(k - c->connections);
}

// --- open loop: which connection is the least loaded
// ------------------------------------------------

static void level_remove(struct client *c, struct connection *k)
{
    struct level *l = &c->levels[k->waiting];
    *(k->before ? &k->before->after : &l->first) = k->after;
    *(k->after ? &k->after->before : &l->last) = k->before;
    c->n_free--;
}

// At the end, so that all connections of a level take turns. One that has all it may have is in
// none.
static void level_add(struct client *c, struct connection *k)
{
    if (k->waiting >= c->pipeline || k->state != CONNECTION_READY || (c->churn && !k->left))
        return;
    struct level *l = &c->levels[k->waiting];
    k->after = NULL;
    k->before = l->last;
    *(l->last ? &l->last->after : &l->first) = k;
    l->last = k;
    if (k->waiting < c->lowest)
        c->lowest = k->waiting;
    c->n_free++;
}

static bool level_has(const struct client *c, const struct connection *k)
{
    return k->waiting < c->pipeline && k->state == CONNECTION_READY && (!c->churn || k->left);
}

static struct connection *least_loaded(struct client *c)
{
    if (!c->n_free)
        return NULL;
    while (!c->levels[c->lowest].first)
        c->lowest++;
    return c->levels[c->lowest].first;
}

// --- sending
// ----------------------------------------------------------------------------------------

static void write_request(struct client *c, struct connection *k, struct request r)
{
    uint64_t before = c->protocol.written;
    protocol_write(&c->protocol, &k->stream->out, r);
    if (c->by_command)
        c->m->commands[r.command].bytes_out += c->protocol.written - before;
}

// Closed loop: writes the next batch of a connection that waits for nothing.
static void send_batch(struct client *c, struct connection *k)
{
    uint32_t n = c->to_send < c->pipeline ? (uint32_t)c->to_send : c->pipeline;
    if (n == 0)
        return;
    for (uint32_t i = 0; i < n; i++) {
        k->batch[i] = workload_next(&c->workload);
        write_request(c, k, k->batch[i]);
    }
    c->to_send -= n;
    c->waiting += n;
    k->waiting = n;
    k->next = 0;
    if (!c->churn)
        k->sent = c->now;
    k->stream->ops->push(k->stream);
}

// Open loop: when the next request is meant to be sent.
static void draw_arrival(struct client *c)
{
    c->due = c->begin + (uint64_t)((double)arrivals_next(&c->arrivals) * c->ticks_per_ns);
}

// Open loop: sends what is due, as far as connections are free.
static void send_due(struct client *c)
{
    uint64_t now = c->now;
    while (c->due <= now && c->due < c->due_end && c->to_send > 0) {
        struct connection *k = least_loaded(c);
        if (!k) {
            c->blocked_until = now;
            break;
        }
        level_remove(c, k);
        uint32_t at = k->write++ & c->mask;
        k->batch[at] = workload_next(&c->workload);
        write_request(c, k, k->batch[at]);
        now = clock_ticks();
        k->times[at] = (struct timing){.meant = c->due, .written = now};
        if (c->due > c->blocked_until)
            histogram_record(&c->m->lag, clock_ns(now - c->due), 1);
        k->waiting++;
        c->waiting++;
        c->to_send--;
        if (c->churn)
            k->left--;
        level_add(c, k);
        if (!k->touched) {
            k->touched = true;
            k->next_touched = c->first_touched;
            c->first_touched = k;
        }
        draw_arrival(c);
    }
    while (c->first_touched) {
        struct connection *k = c->first_touched;
        c->first_touched = k->next_touched;
        k->touched = false;
        if (k->stream)
            k->stream->ops->push(k->stream);
    }
}

// A connection may carry load from now on.
static void make_ready(struct client *c, struct connection *k)
{
    k->state = CONNECTION_READY;
    k->waiting = k->next = k->write = 0;
    k->left = c->pipeline;
    c->connected++;
    if (!c->m)
        return;
    if (c->open_loop)
        level_add(c, k);
    else
        send_batch(c, k);
}

static bool begin_connect(struct client *c, struct connection *k)
{
    int code = 0;
    k->stream = c->transport->ops->connect(c->transport, &c->options->server, &code);
    if (!k->stream) {
        fail(c, code == -EMFILE ? "too many open files: raise `ulimit -n`"
                                : strerror(code < 0 ? -code : code));
        return false;
    }
    k->stream->owner = k;
    k->state = CONNECTION_OPENING;
    k->sent = clock_ticks();
    k->scanner = (struct scanner){0};
    return true;
}

// --- receiving
// --------------------------------------------------------------------------------------

static void count_odd(struct client *c, struct connection *k, struct request r,
                      enum reply_kind kind)
{
    char text[MEASUREMENT_TEXT_MAX];
    if (kind == REPLY_ERROR)
        measurement_error(c->m, k->scanner.line);
    if (kind == REPLY_WRONG && c->m->n_evidence < MEASUREMENT_EVIDENCE_MAX) {
        protocol_explain(&c->protocol, &k->scanner, r, text, sizeof(text));
        measurement_evidence(c->m, text);
    }
    if (kind == REPLY_BROKEN) {
        fail(c, c->options->protocol == BENCH_MEMCACHE
                    ? "the server does not speak memcached's text protocol"
                    : "the server does not speak RESP");
        k->stream->ops->abort(k->stream);
    }
}

static void unasked(struct client *c, struct connection *k)
{
    char text[MEASUREMENT_TEXT_MAX];
    snprintf(text, sizeof(text), "connection %u: the server sent a reply that nobody asked for",
             number_of(c, k));
    fail(c, text);
    k->stream->ops->abort(k->stream);
}

static void count_command(struct measurement_part *part, enum reply_kind kind, size_t bytes,
                          uint64_t latency_ns)
{
    part->requests++;
    part->kinds[kind]++;
    part->bytes_in += bytes;
    histogram_record(&part->latency, latency_ns, 1);
}

// Takes all replies that have come. Returns how many.
static inline __attribute__((always_inline)) uint32_t take_replies(struct client *c,
                                                                   struct connection *k, bool open)
{
    struct stream *s = k->stream;
    struct measurement *m = c->m;
    uint32_t done = 0, mask = open ? c->mask : UINT32_MAX;
    while (s->in_len > 0) {
        if (__builtin_expect(done == k->waiting, 0)) {
            unasked(c, k);
            break;
        }
        const uint8_t *data = s->in;
        size_t len = s->in_len, at = 0;
        while (at < len && done < k->waiting) {
            size_t used;
            struct request r = k->batch[k->next & mask];
            enum reply_kind kind =
                protocol_scan(&c->protocol, &k->scanner, r, data + at, len - at, &used);
            at += used;
            if (kind == REPLY_MORE)
                break;
            if (__builtin_expect(kind >= REPLY_ERROR, 0)) {
                count_odd(c, k, r, kind);
                if (kind == REPLY_BROKEN)
                    return done;
            }
            m->kinds[kind]++;
            if (open) {
                const struct timing *t = &k->times[k->next & mask];
                histogram_record(c->latency, clock_ns(c->now - t->meant), 1);
                histogram_record(&m->service, clock_ns(c->now - t->written), 1);
            }
            if (c->by_command)
                count_command(&m->commands[r.command], kind, used,
                              clock_ns(c->now - (open ? k->times[k->next & mask].meant : k->sent)));
            k->next++;
            done++;
        }
        m->bytes_in += at;
        stream_consume(s, (uint32_t)at);
    }
    return done;
}

static void reopen(struct client *c, struct connection *k)
{
    k->state = CONNECTION_CLOSING;
    c->connected--;
    c->m->disconnects++;
    // A reset: an orderly end would leave each port of ours in TIME_WAIT for a minute.
    k->stream->ops->abort(k->stream);
}

static void receive_closed(struct client *c, struct connection *k)
{
    uint32_t done = take_replies(c, k, false);
    if (done == 0)
        return;
    histogram_record(c->latency, clock_ns(c->now - k->sent), done);
    k->waiting -= done;
    c->waiting -= done;
    c->m->requests += done;
    if (k->waiting > 0)
        return;
    if (c->churn)
        reopen(c, k);
    else
        send_batch(c, k);
}

static void receive_open(struct client *c, struct connection *k)
{
    uint32_t done = take_replies(c, k, true);
    if (done == 0)
        return;
    if (level_has(c, k))
        level_remove(c, k);
    k->waiting -= done;
    c->waiting -= done;
    c->m->requests += done;
    if (c->churn && !k->left && !k->waiting)
        reopen(c, k);
    else
        level_add(c, k);
}

static void receive_setup(struct client *c, struct connection *k)
{
    struct stream *s = k->stream;
    const struct request any = {.op = COMMAND_ANY};
    while (s->in_len > 0 && k->left > 0) {
        size_t used;
        enum reply_kind kind =
            protocol_scan(&c->protocol, &k->scanner, any, s->in, s->in_len, &used);
        if (kind == REPLY_ERROR) {
            char text[MEASUREMENT_TEXT_MAX];
            snprintf(text, sizeof(text), "the server refuses the connection's set-up: %.180s",
                     k->scanner.line);
            fail(c, text);
        } else if (kind == REPLY_BROKEN) {
            fail(c, "the server does not speak RESP");
        }
        if (kind == REPLY_ERROR || kind == REPLY_BROKEN) {
            s->ops->abort(s);
            return;
        }
        stream_consume(s, (uint32_t)used);
        if (kind != REPLY_MORE)
            k->left--;
    }
    if (k->left == 0)
        make_ready(c, k);
}

// --- the life of a connection
// -----------------------------------------------------------------------

static void lose(struct client *c, struct connection *k)
{
    bool wanted = k->state == CONNECTION_CLOSING;
    // One that goes between two tests is opened again for the next.
    if (!wanted && !c->resting) {
        char text[MEASUREMENT_TEXT_MAX];
        if (k->state == CONNECTION_READY && k->waiting)
            snprintf(text, sizeof(text), "connection %u %s with %u replies missing",
                     number_of(c, k), reason(k->stream), k->waiting);
        else
            snprintf(text, sizeof(text), "connection %s", reason(k->stream));
        fail(c, text);
        if (c->m)
            c->m->disconnects++;
    }
    if (k->state == CONNECTION_READY) {
        c->connected--;
        if (c->m && c->open_loop && level_has(c, k))
            level_remove(c, k);
    }
    c->waiting -= k->waiting;
    k->waiting = 0;
    k->state = CONNECTION_NONE;
    k->stream->ops->release(k->stream);
    k->stream = NULL;
    if (wanted && c->m && c->to_send > 0 && begin_connect(c, k))
        c->m->connects++;
}

static void connected(struct client *c, struct connection *k)
{
    if (!c->setup_replies) {
        make_ready(c, k);
        return;
    }
    k->state = CONNECTION_SETUP;
    k->left = c->setup_replies;
    out_write(&k->stream->out, c->setup, c->setup_size);
    k->stream->ops->push(k->stream);
}

static void serve(struct client *c, struct stream *s)
{
    struct connection *k = s->owner;
    unsigned events = s->events;
    s->events = 0;
    if (!k)
        return;
    if (events & STREAM_CONNECTED)
        connected(c, k);
    // What came before the end counts.
    if (s->in_len > 0 && k->state == CONNECTION_SETUP)
        receive_setup(c, k);
    else if (s->in_len > 0 && k->state == CONNECTION_READY && c->m) {
        if (c->open_loop)
            receive_open(c, k);
        else
            receive_closed(c, k);
    }
    if (events & STREAM_CLOSED) {
        lose(c, k);
        return;
    }
    if (events & STREAM_EOF && c->resting) {
        s->ops->abort(s);
    } else if (events & STREAM_EOF && k->state != CONNECTION_CLOSING) {
        char text[MEASUREMENT_TEXT_MAX];
        snprintf(text, sizeof(text), "the server closed connection %u with %u replies missing",
                 number_of(c, k), k->state == CONNECTION_READY ? k->waiting : k->left);
        fail(c, text);
        s->ops->abort(s);
    }
}

// One turn. Returns the number of streams that had events.
static unsigned turn(struct client *c, unsigned wait_us)
{
    unsigned n = c->transport->ops->begin(c->transport, wait_us, c->ready, READY_MAX);
    c->now = clock_ticks();
    for (unsigned i = 0; i < n; i++)
        serve(c, c->ready[i]);
    if (c->open_loop && c->m && !c->error[0])
        send_due(c);
    c->transport->ops->end(c->transport);
    return n;
}

static bool stopped(struct client *c)
{
    if (*c->stop)
        fail(c, "interrupted");
    else if (atomic_load_explicit(c->halt, memory_order_relaxed))
        fail(c, "another thread failed");
    return c->error[0];
}

static bool connect_all(struct client *c)
{
    uint64_t limit = clock_ticks() + (uint64_t)(c->options->stall_s * clock_rate());
    unsigned begun = 0, n = 1;
    while (c->connected < c->n_connections && !stopped(c)) {
        while (begun < c->n_connections && begun < c->connected + CONNECT_AT_ONCE) {
            if (!begin_connect(c, &c->connections[begun]))
                return false;
            begun++;
        }
        unsigned before = c->connected;
        n = turn(c, n ? 0 : REST_US);
        if (c->connected > before)
            limit = clock_ticks() + (uint64_t)(c->options->stall_s * clock_rate());
        else if (clock_ticks() > limit)
            fail(c, "no answer to a connection attempt; is the server there?");
    }
    return !c->error[0];
}

// --- opening and closing
// ----------------------------------------------------------------------------

static void setup_command(struct client *c, const char *const *words, unsigned n)
{
    size_t at = c->setup_size;
    char *to = (char *)c->setup;
    at += (size_t)snprintf(to + at, SETUP_MAX - at, "*%u\r\n", n);
    for (unsigned i = 0; i < n && at < SETUP_MAX; i++)
        at +=
            (size_t)snprintf(to + at, SETUP_MAX - at, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    if (at >= SETUP_MAX) {
        fail(c, "--user and -a are too long");
        return;
    }
    c->setup_size = at;
    c->setup_replies++;
}

static void make_setup(struct client *c)
{
    const struct options *o = c->options;
    char number[16];
    if (o->password && o->user)
        setup_command(c, (const char *[]){"AUTH", o->user, o->password}, 3);
    else if (o->password)
        setup_command(c, (const char *[]){"AUTH", o->password}, 2);
    if (o->resp3)
        setup_command(c, (const char *[]){"HELLO", "3"}, 2);
    snprintf(number, sizeof(number), "%u", o->database);
    if (o->database)
        setup_command(c, (const char *[]){"SELECT", number}, 2);
}

struct client *client_open(struct transport *t, const struct options *o, unsigned thread,
                           const volatile bool *stop, const _Atomic bool *halt, char *error,
                           size_t error_size)
{
    struct client *c = calloc(1, sizeof(*c));
    error[0] = 0;
    if (c) {
        c->transport = t;
        c->options = o;
        c->thread = thread;
        c->stop = stop;
        c->halt = halt;
        c->n_connections =
            o->connections / o->threads + (thread < o->connections % o->threads ? 1 : 0);
        c->connections = calloc(c->n_connections, sizeof(*c->connections));
    }
    if (!c || !c->connections) {
        snprintf(error, error_size, "out of memory");
        free(c);
        return NULL;
    }
    make_setup(c);
    if (c->error[0] || !connect_all(c)) {
        stopped(c);
        snprintf(error, error_size, "%s", c->error);
        client_close(c);
        return NULL;
    }
    return c;
}

static void free_rings(struct client *c)
{
    free(c->rings);
    free(c->times);
    free(c->levels);
    c->rings = NULL;
    c->times = NULL;
    c->levels = NULL;
    c->ring = 0;
}

void client_close(struct client *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < c->n_connections; i++)
        if (c->connections[i].stream)
            c->connections[i].stream->ops->abort(c->connections[i].stream);
    // The resets leave with this turn.
    c->m = NULL;
    turn(c, 0);
    free_rings(c);
    free(c->connections);
    free(c);
}

unsigned client_connections(const struct client *c)
{
    return c->connected;
}

void client_rest(struct client *c)
{
    const struct timespec pause = {.tv_nsec = REST_US / 10 * 1000};
    c->resting = true;
    if (turn(c, REST_US) == 0 && c->options->transport == BENCH_DPDK)
        nanosleep(&pause, NULL);
    c->resting = false;
}

// --- a job
// ------------------------------------------------------------------------------------------

// The phases of a job; each ends at a time, some earlier.
enum phase {
    PHASE_WARM,    // requests are sent and not counted
    PHASE_COUNTED, // the measured time
    PHASE_GRACE,   // open loop: what was meant to be sent before the end
    PHASE_DRAIN,   // nothing more is sent; replies are awaited
};

struct run {
    const struct job *job;
    struct client_view *view;
    enum phase phase;
    uint64_t phase_end; // ticks
    uint64_t begin;     // of the measured time, ticks
    uint64_t end;       // of the measured time; UINT64_MAX: by requests
    uint64_t progress;  // when the last reply was seen, ticks
    uint64_t seen;      // requests answered then
    uint64_t written;   // bytes of requests before the measured time
    uint64_t counted;   // requests answered before the last interval was given
};

static bool make_rings(struct client *c)
{
    size_t ring = 1;
    while (ring < c->pipeline)
        ring *= 2;
    free_rings(c);
    c->rings = calloc(ring * c->n_connections, sizeof(*c->rings));
    if (c->open_loop) {
        c->times = calloc(ring * c->n_connections, sizeof(*c->times));
        c->levels = calloc(c->pipeline, sizeof(*c->levels));
    }
    if (!c->rings || (c->open_loop && (!c->times || !c->levels)))
        return false;
    c->ring = ring;
    c->mask = (uint32_t)ring - 1;
    for (unsigned i = 0; i < c->n_connections; i++) {
        c->connections[i].batch = c->rings + i * ring;
        c->connections[i].times = c->open_loop ? c->times + i * ring : NULL;
    }
    return true;
}

// Everything counted until now was warm-up.
static void start_counting(struct client *c, struct run *r)
{
    struct measurement *m = c->m;
    r->begin = r->progress = c->now;
    r->seen = 0;
    r->written = c->protocol.written;
    m->requests = m->bytes_in = m->connects = m->disconnects = 0;
    m->busy_ns = m->turns = m->other_errors = 0;
    m->n_errors = m->n_evidence = 0;
    memset(m->kinds, 0, sizeof(m->kinds));
    histogram_reset(c->latency);
    histogram_reset(&m->service);
    histogram_reset(&m->lag);
    histogram_reset(&m->jitter);
    for (unsigned i = 0; i < m->n_commands; i++) {
        struct measurement_part *p = &m->commands[i];
        p->requests = p->bytes_in = p->bytes_out = 0;
        memset(p->kinds, 0, sizeof(p->kinds));
        histogram_reset(&p->latency);
    }
    if (r->job->requests)
        c->to_send = r->job->requests > c->waiting ? r->job->requests - c->waiting : 0;
}

// Requests whose time came before the end and that never left: their waiting counts as far as it
// went.
static void count_unsent(struct client *c, const struct run *r)
{
    while (c->due < r->end && c->to_send > 0) {
        histogram_record(c->latency, clock_ns(c->now - c->due), 1);
        c->m->unsent++;
        c->to_send--;
        draw_arrival(c);
    }
}

static void next_phase(struct client *c, struct run *r)
{
    double rate = clock_rate();
    r->phase_end = UINT64_MAX;
    switch (r->phase) {
    case PHASE_WARM:
        r->phase = PHASE_COUNTED;
        start_counting(c, r);
        if (!r->job->requests)
            r->phase_end = r->end = r->begin + (uint64_t)(r->job->duration_s * rate);
        c->due_end = r->end;
        break;
    case PHASE_COUNTED:
        if (c->open_loop && c->due < r->end) {
            r->phase = PHASE_GRACE;
            r->phase_end = r->end + (uint64_t)(GRACE_S * rate);
            break;
        }
        // fall through
    case PHASE_GRACE:
        if (c->open_loop)
            count_unsent(c, r);
        r->phase = PHASE_DRAIN;
        c->to_send = 0;
        break;
    case PHASE_DRAIN:
        break;
    }
}

static void describe_stall(struct client *c)
{
    char text[MEASUREMENT_TEXT_MAX], address[ENDPOINT_TEXT_MAX] = "";
    unsigned stuck = 0;
    const struct connection *first = NULL;
    for (unsigned i = 0; i < c->n_connections; i++) {
        const struct connection *k = &c->connections[i];
        if (k->waiting == 0)
            continue;
        if (!first)
            first = k;
        stuck++;
    }
    if (!first) {
        fail(c, "no connection could be opened again for too long (--stall)");
        return;
    }
    struct stream_info info;
    first->stream->ops->info(first->stream, &info);
    endpoint_format(&info.local, address);
    snprintf(text, sizeof(text),
             "no reply for %g s (--stall): %llu replies are missing on %u of %u connections, %u of "
             "them on connection %u (from %s)",
             c->options->stall_s, (unsigned long long)c->waiting, stuck, c->n_connections,
             first->waiting, number_of(c, first), address);
    fail(c, text);
}

// Limits that need no precision.
static void look(struct client *c, struct run *r, uint64_t now)
{
    if (c->m->requests != r->seen || (!c->waiting && c->open_loop)) {
        r->progress = now;
        r->seen = c->m->requests;
    } else if (now - r->progress > (uint64_t)(c->options->stall_s * clock_rate())) {
        describe_stall(c);
    }
    stopped(c);
}

// Gives the histogram to the watcher, who has asked for it, and goes on in the other.
static void give(struct client *c, struct run *r, unsigned given)
{
    const struct measurement *m = c->m;
    r->view->counts = (struct client_counts){.requests = m->requests,
                                             .errors = m->kinds[REPLY_ERROR],
                                             .wrong = m->kinds[REPLY_WRONG],
                                             .connections = c->connected,
                                             .measuring = r->phase != PHASE_WARM};
    c->latency = &r->view->latency[(given + 1) % 2];
    atomic_store_explicit(&r->view->given, given + 1, memory_order_release);
}

static bool prepare(struct client *c, const struct job *job, struct measurement *m)
{
    c->pipeline = job->pipeline;
    c->open_loop = job->rate > 0;
    c->churn = job->test->churn || c->options->churn;
    c->by_command = m->commands != NULL;
    c->error[0] = 0;
    if (!protocol_init(&c->protocol, job->test, c->options, c->thread, c->error, sizeof(c->error)))
        return false;
    workload_init(&c->workload, job->test, c->options, c->thread);
    if (!make_rings(c)) {
        fail(c, "out of memory");
        return false;
    }
    c->waiting = c->n_free = c->lowest = 0;
    c->blocked_until = 0;
    c->first_touched = NULL;
    c->due_end = UINT64_MAX;
    c->to_send = UINT64_MAX;
    return true;
}

static void start_load(struct client *c, const struct job *job)
{
    do
        turn(c, 0);
    while (clock_ticks() < job->begin);
    c->begin = c->now = clock_ticks();
    if (c->open_loop) {
        arrivals_init(&c->arrivals, c->options->arrivals, job->rate, job->seed + c->thread);
        c->ticks_per_ns = clock_rate() / 1e9;
        draw_arrival(c);
    }
}

// Puts all connections to work.
static void start_connections(struct client *c)
{
    for (unsigned i = 0; i < c->n_connections; i++) {
        struct connection *k = &c->connections[i];
        if (k->state == CONNECTION_NONE)
            begin_connect(c, k);
        if (k->state != CONNECTION_READY)
            continue;
        k->waiting = k->next = k->write = 0;
        k->left = c->pipeline;
        k->sent = c->now;
        if (c->open_loop)
            level_add(c, k);
        else
            send_batch(c, k);
    }
    c->transport->ops->end(c->transport);
}

static unsigned pause_us(const struct client *c, bool idle)
{
    if (!idle)
        return 0;
    if (!c->open_loop || !c->to_send)
        return REST_US;
    uint64_t now = clock_ticks();
    uint64_t us = c->due > now ? clock_ns(c->due - now) / 1000 : 0;
    if (us <= WAKE_EARLY_US)
        return 0;
    us -= WAKE_EARLY_US;
    return us < REST_US ? (unsigned)us : REST_US;
}

static bool over(const struct client *c, const struct run *r)
{
    if (c->waiting > 0 || r->phase < PHASE_COUNTED)
        return false;
    return c->to_send == 0;
}

static void loop(struct client *c, struct run *r)
{
    struct measurement *m = c->m;
    bool idle = false;
    for (uint64_t turns = 1; !c->error[0] && !over(c, r); turns++) {
        uint64_t from = clock_ticks();
        if (__builtin_expect(from >= r->phase_end, 0)) {
            c->now = from;
            next_phase(c, r);
        } else if (r->phase == PHASE_GRACE && c->due >= r->end) {
            next_phase(c, r);
        }
        unsigned given = atomic_load_explicit(&r->view->given, memory_order_relaxed);
        if (__builtin_expect(atomic_load_explicit(&r->view->wanted, memory_order_acquire) != given,
                             0))
            give(c, r, given);
        unsigned wait_us = pause_us(c, idle);
        idle = turn(c, wait_us) == 0;
        uint64_t now = clock_ticks();
        if (!idle) {
            m->busy_ns += clock_ns(now - (wait_us ? c->now : from));
            m->turns++;
        } else if (!wait_us) {
            histogram_record(&m->jitter, clock_ns(now - from), 1);
        }
        if (idle || turns % TURNS_PER_LOOK == 0)
            look(c, r, now);
    }
    if (m->requests != r->seen)
        r->progress = clock_ticks();
}

bool client_run(struct client *c, const struct job *job, struct measurement *m,
                struct client_view *view)
{
    struct run r = {.job = job, .view = view, .end = UINT64_MAX, .phase_end = UINT64_MAX};
    c->latency = &view->latency[atomic_load(&view->given) % 2];
    if (prepare(c, job, m)) {
        uint64_t retransmitted = c->transport->ops->retransmitted(c->transport);
        start_load(c, job);
        c->m = m;
        r.progress = c->now;
        r.begin = c->now;
        r.phase_end = c->now + (uint64_t)(job->warmup_s * clock_rate());
        if (job->warmup_s == 0)
            next_phase(c, &r);
        start_connections(c);
        loop(c, &r);
        m->bytes_out = c->protocol.written - r.written;
        m->retransmitted = c->transport->ops->retransmitted(c->transport) - retransmitted;
        m->seconds = (double)(r.progress - r.begin) / clock_rate();
        if (r.phase == PHASE_WARM)
            start_counting(c, &r); // it ended before anything was to be counted
    }
    m->threads = 1;
    m->finished = !c->error[0];
    memcpy(m->error, c->error, sizeof(m->error));
    c->m = NULL;
    c->open_loop = false;
    protocol_free(&c->protocol);
    return m->finished;
}
