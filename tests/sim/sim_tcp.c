// Two stacks transfer bytes in both directions over a bad wire. What a byte must be follows from
// its position, so that a single wrong, missing or doubled one is found where it happens. The run
// depends on nothing but the seed, which is printed when something is wrong.
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mimalloc.h>

#include "common/block.h"
#include "tests/sim/wire.h"

enum { PORT = 6379, STALL_US = 600 * 1000000 };

struct end {
    struct stream *stream;
    uint64_t to_send, sent, received, to_receive;
    bool eof, closed, closing;
    uint8_t error;
};

struct transfer {
    struct end end[2];
    struct wire *wire;
    uint64_t seed;
    const char *wrong;
    uint64_t wrong_at;
};

static uint8_t pattern(uint64_t seed, uint64_t at)
{
    uint64_t x = (at >> 3) * 0x9e3779b97f4a7c15 + seed;
    x ^= x >> 29;
    return (uint8_t)(x * 0xbf58476d1ce4e5b9 >> (56 - (at & 7) * 4));
}

static void fail(struct transfer *t, const char *why, uint64_t at)
{
    if (!t->wrong) {
        t->wrong = why;
        t->wrong_at = at;
    }
}

// Writes in pieces of every size, through spans, copies and blocks.
static void write_some(struct transfer *t, struct end *e, unsigned i)
{
    struct wire_rng *rng = &t->wire->rng;
    while (e->sent < e->to_send && e->stream->ops->unsent(e->stream) < 256 * 1024) {
        uint64_t n = 1 + wire_random(rng) % (wire_random(rng) % 8 ? 3000 : 100000);
        if (n > e->to_send - e->sent)
            n = e->to_send - e->sent;
        uint64_t kind = wire_random(rng) % 8;
        if (kind == 0 && n >= 64) {
            struct block *b = block_new(n);
            for (uint64_t k = 0; k < n; k++)
                b->data[k] = pattern(t->seed + i, e->sent + k);
            b->len = n;
            e->stream->out.ops->ref(&e->stream->out, b, 0, n);
            block_release(b);
        } else if (kind < 3 && n <= OUT_CONTIGUOUS_MAX) {
            uint8_t *p = out_room(&e->stream->out, n);
            for (uint64_t k = 0; k < n; k++)
                p[k] = pattern(t->seed + i, e->sent + k);
            e->stream->out.pos += n;
        } else {
            static uint8_t buffer[100000];
            for (uint64_t k = 0; k < n; k++)
                buffer[k] = pattern(t->seed + i, e->sent + k);
            out_write(&e->stream->out, buffer, n);
        }
        e->sent += n;
        if (e->stream->out.failed)
            fail(t, "output failed", e->sent);
        if (wire_random(rng) % 3 == 0)
            e->stream->ops->push(e->stream);
    }
    e->stream->ops->push(e->stream);
}

// Reads all or a part, sometimes nothing: the window must close and open again.
static void read_some(struct transfer *t, struct end *e, unsigned i)
{
    struct wire_rng *rng = &t->wire->rng;
    uint64_t mood = wire_random(rng) % 16;
    if (mood == 0)
        return;
    while (e->stream->in_len) {
        uint32_t n = e->stream->in_len;
        if (mood == 1)
            n = 1 + (uint32_t)(wire_random(rng) % n);
        for (uint32_t k = 0; k < n; k++)
            if (e->stream->in[k] != pattern(t->seed + !i, e->received + k)) {
                fail(t, "wrong byte", e->received + k);
                return;
            }
        e->received += n;
        stream_consume(e->stream, n);
        if (mood == 1)
            break;
    }
    if (e->received > e->to_receive)
        fail(t, "too many bytes", e->received);
}

static void serve(void *context, struct wire *w, unsigned i)
{
    struct transfer *t = context;
    struct end *e = &t->end[i];
    struct stream *ready[16];
    unsigned n = net_ready(w->net[i], ready, 16);
    for (unsigned k = 0; k < n; k++) {
        struct stream *s = ready[k];
        uint16_t events = s->events;
        s->events = 0;
        if (events & STREAM_ACCEPTED) {
            if (e->stream)
                fail(t, "accepted twice", 0);
            e->stream = s;
        }
        if (s != e->stream) {
            fail(t, "an unknown stream", 0);
            continue;
        }
        if (events & STREAM_EOF)
            e->eof = true;
        if (events & STREAM_CLOSED) {
            e->closed = true;
            e->error = s->error;
            s->ops->release(s);
            e->stream = NULL;
        }
    }
    if (!e->stream || e->closed || t->wrong)
        return;
    write_some(t, e, i);
    read_some(t, e, i);
    if (!e->closing && e->sent == e->to_send && e->received == e->to_receive) {
        e->closing = true;
        e->stream->ops->close(e->stream);
    }
}

// Counters that are not zero, of both ends.
static void print_counters(const struct net_counters *a, const struct net_counters *b)
{
#define X(name, group, text) \
    if (a->name + b->name)   \
        printf("  %-24s %10" PRIu64 " %10" PRIu64 "\n", #name, a->name, b->name);
    NET_COUNTERS(X)
#undef X
}

struct options {
    uint64_t first, last, bytes;
    uint32_t frames;
    struct wire_conditions conditions;
    struct net_config config;
    bool verbose;
    double gain; // percent that SACK must bring; 0: runs are not compared
};

// Adds the virtual time that it took to *took_us.
static bool run(const struct options *o, uint64_t seed, uint64_t *took_us)
{
    struct wire w;
    wire_init(&w, seed, &o->conditions, &o->config, o->frames);
    struct transfer t = {.wire = &w, .seed = seed * 1000003};
    for (int i = 0; i < 2; i++)
        t.end[i].to_send = t.end[i].to_receive = o->bytes;
    net_listen(w.net[0], PORT, 8);
    struct endpoint to;
    int error;
    wire_endpoint(&w, &to, 0, PORT);
    t.end[1].stream = net_connect(w.net[1], &to, &error);
    uint64_t started = w.now_us, finished = started, last_progress = started, last_bytes = 0;
    unsigned idle = 0;
    while (!t.wrong && !(t.end[0].closed && t.end[1].closed)) {
        for (unsigned i = 0; i < 2; i++)
            wire_turn(&w, i, serve, &t);
        uint64_t bytes = t.end[0].received + t.end[1].received;
        // Every ARP request or SYN lost: an attempt that failed is made again.
        if (t.end[1].closed && !t.end[0].stream && !t.end[0].closed &&
            t.end[1].error != STREAM_OK) {
            t.end[1] = (struct end){.to_send = o->bytes, .to_receive = o->bytes};
            t.end[1].stream = net_connect(w.net[1], &to, &error);
        }
        if (bytes != last_bytes) {
            last_bytes = bytes;
            last_progress = w.now_us;
        } else if (w.now_us - last_progress > STALL_US) {
            fail(&t, "stalled", bytes);
        }
        finished = w.now_us;
        // A reader that left bytes unread looks again soon.
        bool unread = false;
        for (int i = 0; i < 2; i++)
            unread |= t.end[i].stream && t.end[i].stream->in_len;
        uint64_t now = w.now_us;
        if (!wire_step(&w) && !unread) {
            // The last timer may have left an event that nobody has seen yet.
            if (idle++ > 1 && !(t.end[0].closed && t.end[1].closed))
                fail(&t, "nothing will ever happen again", bytes);
        } else if (unread && w.now_us > now + 100) {
            w.now_us = now + 100;
        }
    }
    for (int i = 0; i < 2 && !t.wrong; i++)
        if (t.end[i].received != o->bytes || t.end[i].error != STREAM_OK)
            fail(&t, "not closed in good order", (uint64_t)i * 1000 + t.end[i].error);
    // TIME_WAIT ends, neighbours are forgotten, and then there is no timer, no connection and no
    // memory left.
    if (!t.wrong) {
        wire_run(&w, w.now_us + 1200ull * 1000000, NULL, NULL);
        for (int i = 0; i < 2; i++) {
            if (net_connection_count(w.net[i]) || net_memory(w.net[i]))
                fail(&t, "connections or memory left", net_memory(w.net[i]));
            if (net_next_timer(w.net[i]) != UINT64_MAX)
                fail(&t, "a timer left", 0);
        }
    }
    const struct net_counters *a = net_counters(w.net[0]), *b = net_counters(w.net[1]);
    *took_us += finished - started;
    if (o->verbose || t.wrong)
        printf("seed %" PRIu64 ": %" PRIu64 " bytes each way in %.3f s; %" PRIu64
               " frames, lost %" PRIu64 ", doubled %" PRIu64 ", corrupted %" PRIu64
               "; retransmitted fast %" PRIu64 ", timer %" PRIu64 "; probes %" PRIu64
               "; no frame %" PRIu64 "; bad sums %" PRIu64 "; too big %" PRIu64 "\n",
               seed, o->bytes, (double)(finished - started) / 1e6, w.delivered, w.lost, w.doubled,
               w.corrupted, a->tcp_retransmit_fast + b->tcp_retransmit_fast,
               a->tcp_retransmit_timer + b->tcp_retransmit_timer,
               a->tcp_zero_window_probes + b->tcp_zero_window_probes, a->no_frame + b->no_frame,
               a->tcp_bad_sum + b->tcp_bad_sum, w.too_big);
    if (o->verbose)
        print_counters(a, b);
    unsigned leaked = wire_free(&w);
    if (leaked)
        fail(&t, "frames leaked", leaked);
    if (t.wrong)
        printf("seed %" PRIu64 " FAILED: %s (%" PRIu64 ")\n", seed, t.wrong, t.wrong_at);
    return !t.wrong;
}

static uint32_t percent(const char *text)
{
    return (uint32_t)(strtod(text, NULL) * 10000);
}

static void usage(void)
{
    fputs(
        "sim_tcp [--seeds A-B] [--bytes N] [--loss %] [--duplicate %] [--reorder %] [--corrupt %]\n"
        "        [--delay US] [--jitter US] [--rate BYTES/US] [--queue US] [--mtu N] [--buffer N]\n"
        "        [--frames N] [--family 4|6] [--vlan ID] [--path-mtu N] [--silent] [--tso]\n"
        "        [--congestion cubic|newreno|dctcp] [--mark US] [--port FRAMES]\n"

        "        [--no-sack] [--gain PERCENT, that SACK has to bring] [--verbose]\n",
        stderr);
}

int main(int argc, char **argv)
{
    struct options o = {.first = 1,
                        .last = 1,
                        .bytes = 100000000,
                        .frames = 20000,
                        .conditions = {.delay_us = 50, .jitter_us = 50},
                        // A wire this bad takes patience; giving up has tests of its own.
                        .config = {.user_timeout_ms = 3600 * 1000}};
    static const struct option options[] = {{"seeds", 1, 0, 's'},
                                            {"bytes", 1, 0, 'b'},
                                            {"loss", 1, 0, 'l'},
                                            {"duplicate", 1, 0, 'd'},
                                            {"reorder", 1, 0, 'r'},
                                            {"corrupt", 1, 0, 'c'},
                                            {"delay", 1, 0, 'D'},
                                            {"jitter", 1, 0, 'j'},
                                            {"rate", 1, 0, 'R'},
                                            {"queue", 1, 0, 'q'},
                                            {"mtu", 1, 0, 'm'},
                                            {"buffer", 1, 0, 'B'},
                                            {"frames", 1, 0, 'f'},
                                            {"verbose", 0, 0, 'v'},
                                            {"family", 1, 0, 'F'},
                                            {"vlan", 1, 0, 'V'},
                                            {"path-mtu", 1, 0, 'P'},
                                            {"silent", 0, 0, 'S'},
                                            {"tso", 0, 0, 'T'},
                                            {"congestion", 1, 0, 'C'},
                                            {"mark", 1, 0, 'M'},
                                            {"port", 1, 0, 'p'},
                                            {"no-sack", 0, 0, 'N'},
                                            {"gain", 1, 0, 'G'},
                                            {0}};
    for (int k; (k = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (k) {
        case 's':
            if (sscanf(optarg, "%" SCNu64 "-%" SCNu64, &o.first, &o.last) == 1)
                o.last = o.first;
            break;
        case 'b':
            o.bytes = strtoull(optarg, NULL, 10);
            break;
        case 'l':
            o.conditions.loss = percent(optarg);
            break;
        case 'd':
            o.conditions.duplicate = percent(optarg);
            break;
        case 'r':
            o.conditions.reorder = percent(optarg);
            break;
        case 'c':
            o.conditions.corrupt = percent(optarg);
            break;
        case 'D':
            o.conditions.delay_us = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'j':
            o.conditions.jitter_us = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'R':
            o.conditions.bytes_per_us = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'q':
            o.conditions.queue_us = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'm':
            o.config.mtu = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'B':
            o.config.receive_buffer_max = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'f':
            o.frames = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'F':
            o.config.addresses[0].family = (uint8_t)strtoul(optarg, NULL, 10);
            break;
        case 'V':
            o.config.vlan = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'P':
            o.conditions.path_mtu = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'S':
            o.conditions.path_silent = true;
            break;
        case 'T':
            o.config.offloads = NET_TX_IP_SUM | NET_TX_TCP_SUM | NET_TX_TSO;
            break;
        case 'C': {
            int algorithm = net_congestion_find(optarg);
            if (algorithm < 0) {
                usage();
                return 2;
            }
            o.config.congestion = (enum net_congestion)algorithm;
            break;
        }
        case 'M':
            o.conditions.mark_us = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            o.conditions.port_frames = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'N':
            o.config.no_sack = true;
            break;
        case 'G':
            o.gain = strtod(optarg, NULL);
            break;
        case 'v':
            o.verbose = true;
            break;
        default:
            usage();
            return 2;
        }
    }
    unsigned failed = 0;
    uint64_t took_us = 0, without_us = 0;
    for (uint64_t seed = o.first; seed <= o.last; seed++)
        failed += !run(&o, seed, &took_us);
    if (o.gain != 0) {
        struct options without = o;
        without.config.no_sack = true;
        for (uint64_t seed = o.first; seed <= o.last; seed++)
            failed += !run(&without, seed, &without_us);
        double gain = 100.0 * ((double)without_us / (double)took_us - 1);
        printf("%.3f s with SACK, %.3f s without: %.0f %% faster\n", (double)took_us / 1e6,
               (double)without_us / 1e6, gain);
        failed += gain < o.gain;
    }
    printf("%" PRIu64 " seeds, %u failed\n", o.last - o.first + 1, failed);
    return failed != 0;
}
