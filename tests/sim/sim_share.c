// Several connections share a bottleneck: how fairly, how much of it they use, and how long a queue
// they keep there. Virtual time, no chance: a run says the same every time.
//
//     sim_share [--verbose] [NAME…]     scenarios whose names contain one of the words; all without
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "tests/sim/wire.h"

enum { PORT = 6379, FLOWS_MAX = 16, BLOCK = 65536, AHEAD = 4 * BLOCK, MSS = 1448, HEADERS = 66 };

struct scenario {
    const char *name;
    const char
        *flows; // a letter for each: c CUBIC, n NewReno, d DCTCP, e DCTCP whose receiver is CUBIC
    uint32_t rate;          // of the line, bytes/us
    uint32_t delay_us;      // one way
    uint32_t queue_us;      // before frames are lost
    uint32_t mark_us;       // before they are marked
    uint32_t stagger_us;    // between the beginnings
    uint32_t warm_s, run_s; // measured for run_s after warm_s
    // What has to come out; 0: anything.
    double fairness;   // Jain's index at least
    double use;        // of the line at least
    double ratio_most; // of the first connection's bytes and the last one's, and one by it
    uint32_t queue_most_us, queue_least_us;
    bool no_loss, loss; // from the beginning on
};

struct flow {
    struct stream *stream; // the sender's
    uint64_t received, at_start;
};

struct share {
    struct wire *w;
    struct flow flow[FLOWS_MAX];
    unsigned n;
    struct block *block;
};

struct outcome {
    double fairness, use, ratio, mean_queue_us;
    uint64_t lost, marked, max_queue_us;
};

static void write_ahead(struct share *s, struct stream *stream)
{
    while (stream->ops->unsent(stream) < AHEAD)
        stream->out.ops->ref(&stream->out, s->block, 0, BLOCK);
    stream->ops->push(stream);
}

static void serve(void *context, struct wire *w, unsigned i)
{
    struct share *s = context;
    struct stream *ready[64];
    unsigned n;
    while ((n = net_ready(w->net[i], ready, 64)))
        for (unsigned k = 0; k < n; k++) {
            struct stream *t = ready[k];
            t->events = 0;
            if (i == 1) {
                write_ahead(s, t);
                continue;
            }
            struct flow *f = t->owner;
            if (!f) { // connections come one after the other
                f = t->owner = &s->flow[s->n++];
            }
            while (t->in_len) {
                f->received += t->in_len;
                stream_consume(t, t->in_len);
            }
        }
    if (i == 1)
        for (unsigned k = 0; k < FLOWS_MAX; k++)
            if (s->flow[k].stream && s->flow[k].stream->ops->unsent(s->flow[k].stream) < AHEAD / 2)
                write_ahead(s, s->flow[k].stream);
}

static enum net_congestion algorithm(char letter)
{
    return letter == 'n' ? NET_NEWRENO : letter == 'd' || letter == 'e' ? NET_DCTCP : NET_CUBIC;
}

static struct outcome measure(struct share *s, const struct scenario *x)
{
    struct outcome o = {0};
    double sum = 0, squares = 0;
    for (unsigned k = 0; k < s->n; k++) {
        double b = (double)(s->flow[k].received - s->flow[k].at_start);
        sum += b;
        squares += b * b;
    }
    const struct wire_queue *q = &s->w->queue[1];
    double first = (double)(s->flow[0].received - s->flow[0].at_start),
           last = (double)(s->flow[s->n - 1].received - s->flow[s->n - 1].at_start);
    o.fairness = sum * sum / ((double)s->n * squares);
    // The line takes whole microseconds for a frame.
    o.use = sum / MSS * ((MSS + HEADERS + x->rate - 1) / x->rate) / (1e6 * x->run_s);
    o.ratio = first / last;
    o.mean_queue_us = q->frames ? (double)q->sum_us / (double)q->frames : 0;
    o.max_queue_us = q->max_us;
    o.lost = q->lost;
    o.marked = q->marked;
    return o;
}

static struct outcome run(const struct scenario *x, bool verbose)
{
    struct wire w;
    struct share s = {.w = &w, .block = block_new(BLOCK)};
    const struct wire_conditions conditions = {.delay_us = x->delay_us,
                                               .bytes_per_us = x->rate,
                                               .queue_us = x->queue_us,
                                               .mark_us = x->mark_us};
    const struct net_config base = {.receive_buffer_max = 16 << 20, .send_buffer_max = 16 << 20};
    for (unsigned k = 0; k < BLOCK; k++)
        s.block->data[k] = (uint8_t)k;
    s.block->len = BLOCK;
    wire_init(&w, 1, &conditions, &base, 60000);
    net_listen(w.net[0], PORT, FLOWS_MAX);
    struct endpoint to;
    wire_address(&to, 0, PORT);
    unsigned flows = (unsigned)strlen(x->flows);
    uint64_t start = w.now_us;
    for (unsigned k = 0; k < flows; k++) {
        int error;
        net_set_congestion(w.net[0], x->flows[k] == 'e' ? NET_CUBIC : algorithm(x->flows[k]));
        net_set_congestion(w.net[1], algorithm(x->flows[k]));
        s.flow[k].stream = net_connect(w.net[1], &to, &error);
        // The next one begins later, and in any case when this one is there.
        wire_run(&w, start + (uint64_t)(k + 1) * (x->stagger_us + 10 * x->delay_us), serve, &s);
    }
    wire_run(&w, w.now_us + x->warm_s * 1000000ull, serve, &s);
    for (unsigned k = 0; k < FLOWS_MAX; k++)
        s.flow[k].at_start = s.flow[k].received;
    uint64_t lost_before = w.queue[1].lost;
    w.queue[1] = (struct wire_queue){0};
    wire_run(&w, w.now_us + x->run_s * 1000000ull, serve, &s);
    struct outcome o = measure(&s, x);
    if (x->no_loss || x->loss)
        o.lost += lost_before;
    if (verbose)
        for (unsigned k = 0; k < flows; k++) {
            struct stream_info info;
            s.flow[k].stream->ops->info(s.flow[k].stream, &info);
            printf("    %c %7.2f Mbit/s, cwnd %u, ssthresh %u, rtt %u us, resent %" PRIu64 "\n",
                   x->flows[k],
                   (double)(s.flow[k].received - s.flow[k].at_start) * 8 / 1e6 / x->run_s,
                   info.cwnd, info.ssthresh, info.rtt_us, (uint64_t)info.retransmitted);
        }
    block_release(s.block);
    wire_free(&w);
    return o;
}

// clang-format off
// A line of 100 Mbit/s (12 bytes/us) over a path of 20 ms holds 165 segments; one of 2 Gbit/s within a
// building, 60 us, holds 10.
static const struct scenario scenarios[] = {
    {.name = "one CUBIC", .flows = "c", .rate = 12, .delay_us = 10000, .queue_us = 20000,
     .warm_s = 30, .run_s = 30, .use = 0.97},
    // A seventh of what the path holds.
    {.name = "one CUBIC, short queue", .flows = "c", .rate = 12, .delay_us = 10000, .queue_us = 3000,
     .warm_s = 10, .run_s = 30, .use = 0.9},
    {.name = "one NewReno", .flows = "n", .rate = 12, .delay_us = 10000, .queue_us = 20000,
     .warm_s = 30, .run_s = 30, .use = 0.97},
    {.name = "two CUBIC", .flows = "cc", .rate = 12, .delay_us = 10000, .queue_us = 20000,
     .stagger_us = 3000000, .warm_s = 10, .run_s = 40, .fairness = 0.95, .use = 0.97},
    {.name = "four CUBIC", .flows = "cccc", .rate = 12, .delay_us = 10000, .queue_us = 20000,
     .stagger_us = 1000000, .warm_s = 10, .run_s = 40, .fairness = 0.93, .use = 0.97},
    {.name = "two NewReno", .flows = "nn", .rate = 12, .delay_us = 10000, .queue_us = 20000,
     .stagger_us = 3000000, .warm_s = 20, .run_s = 40, .fairness = 0.9, .use = 0.97},
    // Where Reno works well CUBIC is to be as friendly as Reno (RFC 9438 3.2).
    {.name = "CUBIC beside NewReno", .flows = "cn", .rate = 12, .delay_us = 2500, .queue_us = 5000,
     .warm_s = 5, .run_s = 40, .fairness = 0.85, .use = 0.95, .ratio_most = 2.5},
    // The first slow start fills a deep queue; HyStart++ ends it before anything is lost, which takes a
    // queue of ten times what the path holds: a round to notice and five at a quarter of the pace.
    {.name = "slow start with HyStart++", .flows = "c", .rate = 12, .delay_us = 10000, .queue_us = 300000,
     .warm_s = 0, .run_s = 5, .use = 0.95, .no_loss = true},
    {.name = "slow start without", .flows = "n", .rate = 12, .delay_us = 10000, .queue_us = 300000,
     .warm_s = 0, .run_s = 5, .loss = true},
    // 100 us of queue are 17 frames.
    {.name = "two DCTCP", .flows = "dd", .rate = 250, .delay_us = 30, .queue_us = 2000, .mark_us = 100,
     .stagger_us = 50000, .warm_s = 1, .run_s = 2, .fairness = 0.98, .use = 0.97, .queue_most_us = 150, .no_loss = true},
    {.name = "eight DCTCP", .flows = "dddddddd", .rate = 250, .delay_us = 30, .queue_us = 2000, .mark_us = 100,
     .stagger_us = 20000, .warm_s = 1, .run_s = 2, .fairness = 0.97, .use = 0.97, .queue_most_us = 300, .no_loss = true},
    // A receiver of RFC 3168 echoes until CWR comes: fewer marks are told apart, none is missed.
    {.name = "DCTCP to receivers of RFC 3168", .flows = "ee", .rate = 250, .delay_us = 30, .queue_us = 2000, .mark_us = 100,
     .stagger_us = 50000, .warm_s = 1, .run_s = 2, .fairness = 0.9, .use = 0.85, .queue_most_us = 150, .no_loss = true},
    {.name = "two CUBIC where DCTCP keeps the queue short", .flows = "cc", .rate = 250, .delay_us = 30,
     .queue_us = 2000, .mark_us = 100, .stagger_us = 50000, .warm_s = 1, .run_s = 2, .fairness = 0.9, .use = 0.97, .queue_least_us = 600},
};
// clang-format on

static bool check(const struct scenario *x, const struct outcome *o)
{
    bool good = true;
#define WANT(condition, ...)                  \
    do {                                      \
        if (!(condition)) {                   \
            good = false;                     \
            printf("  FAILED %s: ", x->name); \
            printf(__VA_ARGS__);              \
            printf("\n");                     \
        }                                     \
    } while (0)
    WANT(o->fairness >= x->fairness, "Jain's index %.3f, not %.3f", o->fairness, x->fairness);
    WANT(o->use >= x->use, "%.1f %% of the line used, not %.1f", o->use * 100, x->use * 100);
    if (x->ratio_most > 0)
        WANT(o->ratio <= x->ratio_most && o->ratio >= 1 / x->ratio_most,
             "the first has %.2f times what the last has", o->ratio);
    if (x->queue_most_us)
        WANT(o->mean_queue_us <= x->queue_most_us, "a queue of %.0f us", o->mean_queue_us);
    WANT(o->mean_queue_us >= x->queue_least_us, "a queue of only %.0f us", o->mean_queue_us);
    if (x->no_loss)
        WANT(o->lost == 0, "%" PRIu64 " frames lost", o->lost);
    if (x->loss)
        WANT(o->lost, "nothing lost");
    return good;
}

int main(int argc, char **argv)
{
    bool verbose = argc > 1 && strcmp(argv[1], "--verbose") == 0;
    unsigned ran = 0, failed = 0;
    for (unsigned i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
        const struct scenario *x = &scenarios[i];
        bool wanted = argc == 1 + verbose;
        for (int k = 1 + verbose; k < argc; k++)
            wanted |= strstr(x->name, argv[k]) != NULL;
        if (!wanted)
            continue;
        struct outcome o = run(x, verbose);
        printf("%-44s Jain %.3f, ratio %.2f, line %5.1f %%, queue %5.0f us (at most %" PRIu64
               "), lost %" PRIu64 ", marked %" PRIu64 "\n",
               x->name, o.fairness, o.ratio, o.use * 100, o.mean_queue_us, o.max_queue_us, o.lost,
               o.marked);
        ran++;
        failed += !check(x, &o);
    }
    printf("%u scenarios, %u failed\n", ran, failed);
    return failed || !ran;
}
