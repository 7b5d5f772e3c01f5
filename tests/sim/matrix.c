// Every combination of loss, reordering, duplication, delay, MTU, window and kind of traffic, over
// the simulated wire: everything that a client writes comes back from an echoing server byte by
// byte, both ends close in good order, and no frame, connection, timer or memory is left.
//
// A combination that fails prints the command that repeats it alone. `matrix --help` tells the
// options.
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/wire.h"

enum {
    PORT = 6379,
    CONNECTIONS = 4,        // of mixed traffic: one of bulk, the others of requests
    ECHO_UNSENT = 64 << 10, // the server does not read on while it holds more than this
    REQUEST_MAX = 3000,
    FRAMES = 20000,
    MOVES_MAX = 4000000, // turns of a run: a bound for what never ends
};
#define STALL_US (4000ull * 1000000)
// TIME-WAIT and what was learned of the path end within this.
#define SETTLE_US (1200ull * 1000000)

enum traffic { BULK, REQUESTS, MIXED };
static const char *const traffic_names[] = {"bulk", "requests", "mixed"};

// The values of each axis; loss, reorder and duplicate per million.
static const uint32_t losses[] = {0, 1000, 10000, 50000, 100000, 200000};
static const uint32_t reorders[] = {0, 50000};
static const uint32_t duplicates[] = {0, 20000};
static const uint32_t delays_us[] = {20, 5000, 100000};
static const uint32_t mtus[] = {576, 1500, 9000};
static const uint32_t windows[] = {4096, 65536, 1 << 20};

struct cell {
    uint32_t loss, reorder, duplicate, delay_us, mtu, window;
    enum traffic traffic;
    uint64_t seed;
};

struct client {
    struct stream *stream;
    uint64_t total, written, answered; // bytes
    uint64_t asked;                    // of requests: written ends here until it is answered
    bool requests, connected, closing, closed;
};

struct server {
    struct stream *stream;
    bool eof, closing;
};

struct run {
    struct wire *wire;
    const struct cell *cell;
    struct client client[CONNECTIONS];
    struct server server[4 * CONNECTIONS];
    unsigned n_clients, n_servers;
    uint64_t progress;
    const char *wrong;
    uint64_t wrong_at;
};

static void fail(struct run *r, const char *what, uint64_t at)
{
    if (!r->wrong) {
        r->wrong = what;
        r->wrong_at = at;
    }
}

static uint8_t pattern(unsigned connection, uint64_t at)
{
    return (uint8_t)(at * 131 + (at >> 9) * 17 + connection * 59);
}

// --- the clients ---------------------------------------------------------------------------------

static void client_connect(struct run *r, unsigned i)
{
    struct client *c = &r->client[i];
    struct endpoint to;
    int error;
    wire_address(&to, 0, PORT);
    c->stream = net_connect(r->wire->net[1], &to, &error);
    if (!c->stream)
        fail(r, "connect", (uint64_t)-error);
}

static void client_write(struct run *r, unsigned i)
{
    struct client *c = &r->client[i];
    static uint8_t bytes[16384];
    while (c->written < c->total && c->stream->ops->unsent(c->stream) < sizeof(bytes)) {
        uint64_t n = c->total - c->written;
        if (c->requests) {
            if (c->written == c->asked) {
                if (c->answered < c->asked)
                    return;
                c->asked += 1 + wire_random(&r->wire->rng) % REQUEST_MAX;
                c->asked = c->asked < c->total ? c->asked : c->total;
            }
            n = c->asked - c->written;
        }
        if (n > sizeof(bytes))
            n = sizeof(bytes);
        for (uint64_t k = 0; k < n; k++)
            bytes[k] = pattern(i, c->written + k);
        out_write(&c->stream->out, bytes, n);
        c->stream->ops->push(c->stream);
        c->written += n;
    }
}

static void client_read(struct run *r, unsigned i)
{
    struct client *c = &r->client[i];
    while (c->stream->in_len) {
        uint32_t n = c->stream->in_len;
        for (uint32_t k = 0; k < n; k++)
            if (c->stream->in[k] != pattern(i, c->answered + k)) {
                fail(r, "a wrong byte came back", c->answered + k);
                return;
            }
        c->answered += n;
        r->progress += n;
        stream_consume(c->stream, n);
    }
    if (c->answered > c->written)
        fail(r, "more came back than was written", c->answered);
}

static void client_event(struct run *r, unsigned i, unsigned events)
{
    struct client *c = &r->client[i];
    if (events & STREAM_CONNECTED)
        c->connected = true;
    if (!(events & STREAM_CLOSED))
        return;
    uint8_t error = c->stream->error;
    c->stream->ops->release(c->stream);
    c->stream = NULL;
    if (!c->connected) { // all SYNs were lost: tried again
        *c = (struct client){.total = c->total, .requests = c->requests};
        client_connect(r, i);
        return;
    }
    c->closed = true;
    r->progress++;
    if (error != STREAM_OK || c->answered != c->total)
        fail(r, "a client did not end in good order", error);
}

static void clients_serve(struct run *r, struct stream **ready, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        for (unsigned i = 0; i < r->n_clients; i++)
            if (r->client[i].stream == ready[k]) {
                unsigned events = ready[k]->events;
                ready[k]->events = 0;
                client_event(r, i, events);
                break;
            }
    for (unsigned i = 0; i < r->n_clients && !r->wrong; i++) {
        struct client *c = &r->client[i];
        if (!c->stream || !c->connected)
            continue;
        client_read(r, i);
        if (!c->closing)
            client_write(r, i);
        if (!c->closing && c->answered == c->total) {
            c->closing = true;
            c->stream->ops->close(c->stream);
        }
    }
}

// --- the server ----------------------------------------------------------------------------------

static void servers_serve(struct run *r, struct stream **ready, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        unsigned events = ready[k]->events, i = 0;
        ready[k]->events = 0;
        if (events & STREAM_ACCEPTED) {
            if (r->n_servers == 4 * CONNECTIONS) {
                fail(r, "too many connections were accepted", r->n_servers);
                return;
            }
            r->server[r->n_servers++] = (struct server){.stream = ready[k]};
        }
        while (i < r->n_servers && r->server[i].stream != ready[k])
            i++;
        if (i == r->n_servers) {
            fail(r, "an unknown stream", 0);
            return;
        }
        r->server[i].eof |= (events & STREAM_EOF) != 0;
        if (events & STREAM_CLOSED) {
            // The other side may have left TIME-WAIT when our FIN got through at last.
            if (ready[k]->error != STREAM_OK && !r->server[i].closing)
                fail(r, "the server's end did not close in good order", ready[k]->error);
            ready[k]->ops->release(ready[k]);
            r->server[i].stream = NULL;
        }
    }
    for (unsigned i = 0; i < r->n_servers; i++) {
        struct server *s = &r->server[i];
        if (!s->stream || s->closing)
            continue;
        while (s->stream->in_len && s->stream->ops->unsent(s->stream) < ECHO_UNSENT) {
            uint32_t len = s->stream->in_len;
            out_write(&s->stream->out, s->stream->in, len);
            stream_consume(s->stream, len);
            s->stream->ops->push(s->stream);
        }
        if (s->eof && !s->stream->in_len) {
            s->closing = true;
            s->stream->ops->close(s->stream);
        }
    }
}

static void serve(void *context, struct wire *w, unsigned i)
{
    struct run *r = context;
    struct stream *ready[16];
    unsigned n = net_ready(w->net[i], ready, 16);
    if (i)
        clients_serve(r, ready, n);
    else
        servers_serve(r, ready, n);
}

// --- one run -------------------------------------------------------------------------------------

static bool finished(const struct run *r)
{
    for (unsigned i = 0; i < r->n_clients; i++)
        if (!r->client[i].closed)
            return false;
    for (unsigned i = 0; i < r->n_servers; i++)
        if (r->server[i].stream)
            return false;
    return true;
}

// Bytes that wait for their reader are looked at again soon.
static bool unread(const struct run *r)
{
    for (unsigned i = 0; i < r->n_servers; i++)
        if (r->server[i].stream && r->server[i].stream->in_len)
            return true;
    return false;
}

static void print_cell(const struct cell *c)
{
    printf("matrix --loss %g --reorder %g --duplicate %g --delay %u --mtu %u --window %u "
           "--traffic %s --seeds %" PRIu64,
           c->loss / 1e4, c->reorder / 1e4, c->duplicate / 1e4, c->delay_us, c->mtu, c->window,
           traffic_names[c->traffic], c->seed);
}

static bool run_cell(const struct cell *c, uint64_t bytes, bool verbose)
{
    struct wire w;
    struct wire_conditions conditions = {.loss = c->loss,
                                         .reorder = c->reorder,
                                         .duplicate = c->duplicate,
                                         .delay_us = c->delay_us,
                                         .jitter_us = c->reorder ? c->delay_us / 4 + 1 : 0};
    struct net_config config = {
        .mtu = (uint16_t)c->mtu, .receive_buffer_max = c->window, .user_timeout_ms = 3600 * 1000};
    wire_init(&w, c->seed, &conditions, &config, FRAMES);
    struct run r = {.wire = &w, .cell = c, .n_clients = c->traffic == MIXED ? CONNECTIONS : 1};
    net_listen(w.net[0], PORT, 16);
    for (unsigned i = 0; i < r.n_clients; i++) {
        struct client *one = &r.client[i];
        one->requests = c->traffic == REQUESTS || i > 0;
        one->total = one->requests ? bytes / 4 : bytes;
        client_connect(&r, i);
    }
    uint64_t start = w.now_us, progress = 0, progress_us = w.now_us;
    unsigned idle = 0, moves = 0;
    while (!r.wrong && !finished(&r)) {
        for (unsigned i = 0; i < 2; i++)
            wire_turn(&w, i, serve, &r);
        if (r.progress != progress) {
            progress = r.progress;
            progress_us = w.now_us;
        } else if (w.now_us - progress_us > STALL_US) {
            fail(&r, "stalled", progress);
        }
        uint64_t now = w.now_us;
        bool waits = unread(&r);
        if (!wire_step(&w) && !waits && idle++ > 1)
            fail(&r, "nothing will ever happen again", progress);
        else if (waits && w.now_us > now + 100)
            w.now_us = now + 100;
        if (moves++ == MOVES_MAX)
            fail(&r, "it does not come to an end", progress);
    }
    uint64_t took = w.now_us - start;
    if (!r.wrong) { // TIME-WAIT ends, and then nothing is left
        wire_run(&w, w.now_us + SETTLE_US, NULL, NULL);
        for (unsigned i = 0; i < 2; i++) {
            if (net_connection_count(w.net[i]) || net_memory(w.net[i]))
                fail(&r, "connections or memory left", net_memory(w.net[i]));
            if (net_next_timer(w.net[i]) != UINT64_MAX)
                fail(&r, "a timer left", i);
        }
    }
    unsigned leaked = wire_free(&w);
    if (leaked)
        fail(&r, "frames leaked", leaked);
    if (r.wrong) {
        printf("FAILED: %s (%" PRIu64 "): ", r.wrong, r.wrong_at);
        print_cell(c);
        puts("");
    } else if (verbose) {
        print_cell(c);
        printf("  # %.3f s\n", (double)took / 1e6);
    }
    return !r.wrong;
}

// --- all of them ---------------------------------------------------------------------------------

struct axis {
    const uint32_t *values;
    unsigned n;
    uint32_t only;
    bool fixed;
};

enum axes { LOSS, REORDER, DUPLICATE, DELAY, MTU, WINDOW, TRAFFIC, AXES };

static uint32_t axis_value(const struct axis *a, unsigned i)
{
    return a->fixed ? a->only : a->values[i];
}

// Lossy and slow runs take many turns for few bytes; small frames and windows as well.
static uint64_t bytes_of(const struct cell *c, uint64_t bytes)
{
    if (c->loss >= 50000)
        bytes /= 4;
    if (c->window < 65536 || c->mtu < 1500)
        bytes /= 2;
    return bytes;
}

static void usage(FILE *to)
{
    fputs("usage: matrix [OPTION]…\n"
          "  --seeds A-B      seeds of each combination (1-3)\n"
          "  --full           twenty seeds, ten times the bytes\n"
          "  --bytes N        of a bulk transfer without loss (300000)\n"
          "  --loss %  --reorder %  --duplicate %  --delay US  --mtu N  --window N\n"
          "  --traffic bulk|requests|mixed        only this value of an axis\n"
          "  --verbose        each combination, with the time that it took on the wire\n",
          to);
}

int main(int argc, char **argv)
{
    static const uint32_t traffics[] = {BULK, REQUESTS, MIXED};
#define AXIS(a)                                      \
    {                                                \
        .values = a, .n = sizeof(a) / sizeof((a)[0]) \
    }
    struct axis axis[AXES] = {AXIS(losses), AXIS(reorders), AXIS(duplicates), AXIS(delays_us),
                              AXIS(mtus),   AXIS(windows),  AXIS(traffics)};
#undef AXIS
    uint64_t first = 1, last = 3, bytes = 300000;
    bool verbose = false;
    static const struct option options[] = {{"loss", 1, 0, LOSS},
                                            {"reorder", 1, 0, REORDER},
                                            {"duplicate", 1, 0, DUPLICATE},
                                            {"delay", 1, 0, DELAY},
                                            {"mtu", 1, 0, MTU},
                                            {"window", 1, 0, WINDOW},
                                            {"traffic", 1, 0, TRAFFIC},
                                            {"seeds", 1, 0, 's'},
                                            {"bytes", 1, 0, 'b'},
                                            {"full", 0, 0, 'f'},
                                            {"verbose", 0, 0, 'v'},
                                            {"help", 0, 0, 'h'},
                                            {0}};
    for (int k; (k = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (k) {
        case LOSS:
        case REORDER:
        case DUPLICATE:
            axis[k].fixed = true;
            axis[k].only = (uint32_t)(strtod(optarg, NULL) * 10000 + 0.5);
            break;
        case DELAY:
        case MTU:
        case WINDOW:
            axis[k].fixed = true;
            axis[k].only = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case TRAFFIC:
            axis[k].fixed = true;
            while (axis[k].only < 3 && strcmp(optarg, traffic_names[axis[k].only]) != 0)
                axis[k].only++;
            if (axis[k].only == 3) {
                usage(stderr);
                return 2;
            }
            break;
        case 's':
            if (sscanf(optarg, "%" SCNu64 "-%" SCNu64, &first, &last) == 1)
                last = first;
            break;
        case 'b':
            bytes = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            last = first + 19;
            bytes *= 10;
            break;
        case 'v':
            verbose = true;
            break;
        default:
            usage(k == 'h' ? stdout : stderr);
            return k == 'h' ? 0 : 2;
        }
    }
    unsigned total = 1, runs = 0, failed = 0;
    for (unsigned k = 0; k < AXES; k++)
        total *= axis[k].fixed ? 1 : axis[k].n;
    for (unsigned i = 0; i < total; i++) {
        uint32_t v[AXES];
        for (unsigned k = 0, rest = i; k < AXES; k++) {
            unsigned n = axis[k].fixed ? 1 : axis[k].n;
            v[k] = axis_value(&axis[k], rest % n);
            rest /= n;
        }
        for (uint64_t seed = first; seed <= last; seed++) {
            struct cell c = {v[LOSS],
                             v[REORDER],
                             v[DUPLICATE],
                             v[DELAY],
                             v[MTU],
                             v[WINDOW],
                             (enum traffic)v[TRAFFIC],
                             seed};
            failed += !run_cell(&c, bytes_of(&c, bytes), verbose);
            runs++;
        }
    }
    printf("%u combinations, %u runs, %u failed\n", total, runs, failed);
    return failed != 0;
}
