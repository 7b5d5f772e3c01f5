#include "bench/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/client_inner.h"
#include "bench/clock.h"
#include "bench/route.h"

#define CONNECT_AT_ONCE 64 // below every listener's backlog
// Ports tried for a connection, times threads: e^-8 of the connections are left with a stray one.
#define PORT_TRIES 8u
// For the answer to the end of the last connection, and for what is said to that.
#define CLOSE_PATIENCE_S 0.5
#define CLOSE_LINGER_S 0.01

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

struct connection *client_connection(const struct client *c, unsigned i)
{
    return c->route ? route_connection(c->route, c->n_connections, i) : &c->connections[i];
}

const char *client_name(const struct client *c, const struct connection *k, char *text)
{
    char address[ENDPOINT_TEXT_MAX];
    if (k == &c->asker)
        return "the first connection";
    if (c->route)
        snprintf(text, NAME_MAX_SIZE, "connection %u to %s", k->number,
                 endpoint_format(k->to, address));
    else
        snprintf(text, NAME_MAX_SIZE, "connection %u", k->number);
    return text;
}

// --- sending -------------------------------------------------------------------------------------

// Open loop: one that has all it may have is in no list.
static void list(struct client *c, struct connection *k)
{
    if (k->waiting < c->pipeline && k->state == CONNECTION_READY && (!c->churn || k->left))
        pool_add(&c->pool, k);
}

static void unlist(struct client *c, struct connection *k)
{
    if (k->listed)
        pool_remove(&c->pool, k);
}

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
    struct request *batch = k->batch;
    struct out *out = &k->stream->out;
    if (c->by_command)
        for (uint32_t i = 0; i < n; i++) {
            batch[i] = workload_next(&c->workload);
            write_request(c, k, batch[i]);
        }
    else
        for (uint32_t i = 0; i < n; i++) {
            batch[i] = workload_next(&c->workload);
            protocol_write(&c->protocol, out, batch[i]);
        }
    c->to_send -= n;
    c->waiting += n;
    k->waiting = n;
    k->next = 0;
    if (!c->churn)
        k->sent = c->now;
    k->stream->ops->push(k->stream);
}

// Open loop: sends what is due, as far as connections are free.
static void send_due(struct client *c)
{
    uint64_t now = c->now;
    while (c->due <= now && c->due < c->due_end && c->to_send > 0) {
        struct connection *k = pool_least(&c->pool);
        if (!k) {
            c->blocked_until = now;
            break;
        }
        unlist(c, k);
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
        list(c, k);
        touch(c, k);
        draw_arrival(c);
    }
    push_touched(c);
}

void client_put_to_work(struct client *c, struct connection *k)
{
    k->waiting = k->next = k->write = 0;
    k->left = c->pipeline;
    if (c->route)
        route_ready(c, k);
    else if (c->open_loop)
        list(c, k);
    else
        send_batch(c, k);
}

// A connection may carry load from now on.
static void make_ready(struct client *c, struct connection *k)
{
    if (k == &c->asker) {
        route_ask(c);
        return;
    }
    k->state = CONNECTION_READY;
    c->connected++;
    if (c->m)
        client_put_to_work(c, k);
}

bool client_connect(struct client *c, struct connection *k)
{
    int code = 0;
    k->stream = c->transport->ops->connect(c->transport, k->to, &code);
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

void client_count_odd(struct client *c, struct connection *k, struct request r,
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

void client_unasked(struct client *c, struct connection *k)
{
    char text[MEASUREMENT_TEXT_MAX], name[NAME_MAX_SIZE];
    snprintf(text, sizeof(text), "%s: the server sent a reply that nobody asked for",
             client_name(c, k, name));
    fail(c, text);
    k->stream->ops->abort(k->stream);
}

// Takes all replies that have come. Returns how many. `open`, `by_command`: as the client's, known
// to the compiler.
static inline __attribute__((always_inline)) uint32_t
take_replies(struct client *c, struct connection *k, bool open, bool by_command)
{
    struct stream *s = k->stream;
    struct measurement *m = c->m;
    uint32_t done = 0, odd = 0, waiting = k->waiting, next = k->next;
    uint32_t mask = open ? c->mask : UINT32_MAX;
    while (s->in_len > 0) {
        if (__builtin_expect(done == waiting, 0)) {
            client_unasked(c, k);
            break;
        }
        const uint8_t *data = s->in;
        size_t len = s->in_len, at = 0;
        while (at < len && done < waiting) {
            size_t used;
            struct request r = k->batch[next & mask];
            enum reply_kind kind =
                protocol_scan(&c->protocol, &k->scanner, r, data + at, len - at, &used);
            at += used;
            if (__builtin_expect(kind != REPLY_OK, 0)) {
                if (kind == REPLY_MORE)
                    break;
                if (kind != REPLY_MISS)
                    client_count_odd(c, k, r, kind);
                if (kind == REPLY_BROKEN)
                    goto out;
                m->kinds[kind]++;
                odd++;
            }
            if (open) {
                const struct timing *t = &k->times[next & mask];
                histogram_record(c->latency, clock_ns(c->now - t->meant), 1);
                histogram_record(&m->service, clock_ns(c->now - t->written), 1);
            }
            if (by_command)
                count_part(&m->commands[r.command], kind, used,
                           clock_ns(c->now - (open ? k->times[next & mask].meant : k->sent)));
            next++;
            done++;
        }
        m->bytes_in += at;
        stream_consume(s, (uint32_t)at);
    }
out:
    k->next = next;
    m->kinds[REPLY_OK] += done - odd;
    return done;
}

void client_reopen(struct client *c, struct connection *k)
{
    k->state = CONNECTION_CLOSING;
    c->connected--;
    // A reset: an orderly end would leave each port of ours in TIME_WAIT for a minute.
    k->stream->ops->abort(k->stream);
}

static void receive_closed(struct client *c, struct connection *k)
{
    uint32_t done =
        c->by_command ? take_replies(c, k, false, true) : take_replies(c, k, false, false);
    if (done == 0)
        return;
    histogram_record(c->latency, clock_ns(c->now - k->sent), done);
    k->waiting -= done;
    c->waiting -= done;
    c->m->requests += done;
    if (k->waiting > 0)
        return;
    if (c->churn)
        client_reopen(c, k);
    else
        send_batch(c, k);
}

static void receive_open(struct client *c, struct connection *k)
{
    uint32_t done =
        c->by_command ? take_replies(c, k, true, true) : take_replies(c, k, true, false);
    if (done == 0)
        return;
    unlist(c, k);
    k->waiting -= done;
    c->waiting -= done;
    c->m->requests += done;
    if (c->churn && !k->left && !k->waiting)
        client_reopen(c, k);
    else
        list(c, k);
}

static void receive_setup(struct client *c, struct connection *k)
{
    struct stream *s = k->stream;
    const struct request any = {.op = COMMAND_OTHER};
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
    bool wanted = k->state == CONNECTION_CLOSING, misplaced = k->state == CONNECTION_MISPLACED;
    // One that goes between two tests is opened again for the next.
    if (!wanted && !misplaced && !c->resting) {
        char text[MEASUREMENT_TEXT_MAX], name[NAME_MAX_SIZE], address[ENDPOINT_TEXT_MAX];
        if (k->state == CONNECTION_READY && k->waiting)
            snprintf(text, sizeof(text), "%s %s with %u replies missing", client_name(c, k, name),
                     reason(k->stream), k->waiting);
        else
            snprintf(text, sizeof(text), "connection to %s %s",
                     c->options->unix_path ? c->options->unix_path
                                           : endpoint_format(k->to, address),
                     reason(k->stream));
        fail(c, text);
        if (c->m) {
            c->m->disconnects++;
            c->m->missing += k->waiting;
            c->m->stuck += k->waiting > 0;
        }
    }
    if (k->state == CONNECTION_READY) {
        c->connected--;
        if (c->route)
            route_lost(c, k);
        else
            unlist(c, k);
    }
    c->waiting -= k->waiting;
    k->waiting = 0;
    k->state = CONNECTION_NONE;
    k->stream->ops->release(k->stream);
    k->stream = NULL;
    if (wanted)
        k->tries = 0;
    if (misplaced)
        client_connect(c, k);
    else if (wanted && c->m && k != &c->asker && (c->to_send > 0 || c->route) &&
             client_connect(c, k))
        c->m->connects++;
}

// Looks for a local port whose frames come to our own queue: with as many queues as threads, one in
// so many does.
static bool try_another_port(struct client *c, struct connection *k)
{
    if (!c->transport->ops->strays(c->transport, k->stream) ||
        k->tries >= PORT_TRIES * c->options->threads)
        return false;
    k->tries++;
    k->state = CONNECTION_MISPLACED;
    k->stream->ops->abort(k->stream);
    return true;
}

static void connected(struct client *c, struct connection *k)
{
    if (try_another_port(c, k))
        return;
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
    else if (s->in_len > 0 && k->state == CONNECTION_MAP)
        route_read_map(c);
    else if (s->in_len > 0 && k->state == CONNECTION_READY && c->m) {
        if (c->route)
            route_receive(c, k);
        else if (c->open_loop)
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
    } else if (events & STREAM_EOF && k->state < CONNECTION_CLOSING) {
        char text[MEASUREMENT_TEXT_MAX], name[NAME_MAX_SIZE];
        snprintf(text, sizeof(text), "the server closed %s with %u replies missing",
                 client_name(c, k, name), k->state == CONNECTION_READY ? k->waiting : k->left);
        fail(c, text);
        s->ops->abort(s);
    }
}

// Begins to open those that have not been opened yet.
static void connect_more(struct client *c)
{
    while (c->begun < c->n_all && c->begun < c->connected + CONNECT_AT_ONCE &&
           client_connect(c, client_connection(c, c->begun)))
        c->begun++;
}

unsigned client_turn(struct client *c, unsigned wait_us)
{
    unsigned n = c->transport->ops->begin(c->transport, wait_us, c->ready, READY_MAX);
    c->now = clock_ticks();
    for (unsigned i = 0; i < n; i++)
        serve(c, c->ready[i]);
    if (__builtin_expect(c->begun < c->n_all, 0) && !c->error[0])
        connect_more(c);
    if (c->m && !c->error[0]) {
        if (c->route)
            route_send(c);
        else if (c->open_loop)
            send_due(c);
    }
    c->transport->ops->end(c->transport);
    return n;
}

bool client_stopped(struct client *c)
{
    if (*c->stop)
        fail(c, "interrupted");
    else if (atomic_load_explicit(c->halt, memory_order_relaxed))
        fail(c, "another thread failed");
    return c->error[0];
}

static uint64_t patience(const struct client *c)
{
    return clock_ticks() + (uint64_t)(c->options->stall_s * clock_rate());
}

bool client_wait(struct client *c, const bool *done)
{
    uint64_t limit = patience(c);
    while (!*done && !client_stopped(c)) {
        client_turn(c, CLIENT_REST_US);
        if (clock_ticks() > limit)
            fail(c, "no answer to CLUSTER SLOTS; is the server there?");
    }
    return !c->error[0];
}

static bool connect_all(struct client *c)
{
    uint64_t limit = patience(c);
    unsigned n = 1;
    while (c->connected < c->n_all && !client_stopped(c)) {
        unsigned before = c->connected;
        n = client_turn(c, n ? 0 : CLIENT_REST_US);
        if (c->connected > before)
            limit = patience(c);
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

struct connection *connections_new(const struct client *c, const struct endpoint *to)
{
    const struct options *o = c->options;
    unsigned rest = o->connections % o->threads;
    unsigned first =
        o->connections / o->threads * c->thread + (c->thread < rest ? c->thread : rest);
    struct connection *all = calloc(c->n_connections, sizeof(*all));
    for (unsigned i = 0; all && i < c->n_connections; i++) {
        all[i].number = first + i;
        all[i].to = to;
    }
    return all;
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
        c->asker.to = &o->server;
        if (!o->cluster)
            c->connections = connections_new(c, &o->server);
    }
    if (!c || (!o->cluster && !c->connections)) {
        snprintf(error, error_size, "out of memory");
        free(c);
        return NULL;
    }
    make_setup(c);
    if (!o->cluster)
        c->n_all = c->n_connections;
    if (c->error[0] || (o->cluster && !route_open(c)) || !connect_all(c)) {
        client_stopped(c);
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
    pool_free(&c->pool);
    c->rings = NULL;
    c->times = NULL;
    c->ring = 0;
}

bool client_make_rings(struct client *c)
{
    size_t ring = 1;
    while (ring < c->pipeline)
        ring *= 2;
    free_rings(c);
    c->rings = calloc(ring * c->n_connections, sizeof(*c->rings));
    if (c->open_loop) {
        c->times = calloc(ring * c->n_connections, sizeof(*c->times));
    }
    if (!c->rings || (c->open_loop && (!c->times || !pool_init(&c->pool, c->pipeline))))
        return false;
    c->ring = ring;
    c->mask = (uint32_t)ring - 1;
    for (unsigned i = 0; i < c->n_connections; i++) {
        c->connections[i].batch = c->rings + i * ring;
        c->connections[i].times = c->open_loop ? c->times + i * ring : NULL;
        c->connections[i].listed = false;
    }
    return true;
}

// Turns until `k` is closed, or all of the time if it is NULL.
static void turns(struct client *c, const struct connection *k, double seconds)
{
    uint64_t limit = clock_ticks() + (uint64_t)(seconds * clock_rate());
    while ((!k || k->stream) && clock_ticks() < limit)
        client_turn(c, 0);
}

void client_close(struct client *c)
{
    if (!c)
        return;
    c->m = NULL;
    c->resting = true; // whatever ends now is no fault
    fail(c, "closed"); // nothing is to be opened any more
    // A device goes with what it has not delivered, and those whose reset is lost would stay open
    // for the server. So the last one is closed in order, behind the resets of all others: when
    // that is answered, they have arrived.
    struct connection *last = NULL;
    for (unsigned i = 0; i <= c->n_all; i++) {
        struct connection *k = i < c->n_all ? client_connection(c, i) : &c->asker;
        if (!k->stream)
            continue;
        if (!last && k->state == CONNECTION_READY && c->options->transport == BENCH_DPDK)
            last = k;
        else
            k->stream->ops->abort(k->stream);
    }
    client_turn(c, 0); // the resets leave
    if (last && last->stream) {
        last->stream->ops->close(last->stream);
        turns(c, last, CLOSE_PATIENCE_S);
        turns(c, NULL, CLOSE_LINGER_S);
    }
    free_rings(c);
    route_close(c);
    free(c->connections);
    free(c);
}

unsigned client_connections(const struct client *c)
{
    return c->connected;
}

void client_rest(struct client *c)
{
    const struct timespec pause = {.tv_nsec = CLIENT_REST_US / 10 * 1000};
    c->resting = true;
    if (client_turn(c, CLIENT_REST_US) == 0 && c->options->transport == BENCH_DPDK)
        nanosleep(&pause, NULL);
    c->resting = false;
}
