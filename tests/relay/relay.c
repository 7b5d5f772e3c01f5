// A lossy relay between two interfaces: frames are lost, doubled, reordered and delayed as a seed
// says, each way by itself. `relay --help` tells the options. It prints "ready" when both ports are
// open and, when SIGTERM or SIGINT ends it, one line of JSON with what it did.
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/relay/ports.h"
#include "tests/sim/wire.h"

enum { FRAME_MAX = 65536, BURST = 64, HEAP_MAX = 1 << 18 };

struct conditions {
    uint32_t loss, duplicate, reorder; // per million
    uint64_t delay_ns, jitter_ns, reorder_ns;
    uint64_t rate_bps, queue_ns; // 0: no limit
};

struct flight {
    uint64_t at_ns, order;
    int to;
    uint32_t len;
    uint8_t *data;
};

struct relay {
    struct conditions conditions;
    struct wire_rng rng[2];
    int fd[2];
    uint64_t line_free_ns[2];
    uint64_t carried[2], lost[2], doubled[2], reordered[2], full[2];
    struct flight *heap;
    unsigned n;
    uint64_t order;
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool before(const struct flight *a, const struct flight *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_push(struct relay *r, struct flight f)
{
    unsigned i = r->n++;
    for (unsigned up; i && before(&f, &r->heap[up = (i - 1) / 2]); i = up)
        r->heap[i] = r->heap[up];
    r->heap[i] = f;
}

static struct flight heap_pop(struct relay *r)
{
    struct flight top = r->heap[0], last = r->heap[--r->n];
    unsigned i = 0;
    for (unsigned down; (down = 2 * i + 1) < r->n; i = down) {
        if (down + 1 < r->n && before(&r->heap[down + 1], &r->heap[down]))
            down++;
        if (!before(&r->heap[down], &last))
            break;
        r->heap[i] = r->heap[down];
    }
    r->heap[i] = last;
    return top;
}

// A frame that its port does not take now is lost: the port's queue is full.
static void deliver(struct relay *r, int to, const uint8_t *data, uint32_t len)
{
    ssize_t n;
    do
        n = write(r->fd[to], data, len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        r->full[to]++;
    else
        r->carried[to]++;
}

static void carry(struct relay *r, int to, const uint8_t *data, uint32_t len, uint64_t now)
{
    const struct conditions *c = &r->conditions;
    struct wire_rng *rng = &r->rng[to];
    uint64_t at = now + c->delay_ns;
    if (wire_chance(rng, c->loss)) {
        r->lost[to]++;
        return;
    }
    if (c->jitter_ns)
        at += wire_random(rng) % c->jitter_ns;
    if (wire_chance(rng, c->reorder)) {
        at += c->reorder_ns;
        r->reordered[to]++;
    }
    if (c->rate_bps) {
        uint64_t *line = &r->line_free_ns[to], took = len * 8000000000ull / c->rate_bps;
        if (*line < now)
            *line = now;
        if (*line - now > c->queue_ns) {
            r->full[to]++;
            return;
        }
        *line += took;
        at += *line - now;
    }
    if (at <= now && !r->n) {
        deliver(r, to, data, len);
        return;
    }
    unsigned copies = 1 + wire_chance(rng, c->duplicate);
    r->doubled[to] += copies - 1;
    for (unsigned i = 0; i < copies && r->n < HEAP_MAX; i++) {
        struct flight f = {
            .at_ns = at, .order = r->order++, .to = to, .len = len, .data = malloc(len)};
        if (!f.data)
            return;
        memcpy(f.data, data, len);
        heap_push(r, f);
    }
}

static void run(struct relay *r)
{
    static uint8_t buffer[FRAME_MAX];
    while (!ended) {
        uint64_t now = now_ns();
        struct pollfd p[2] = {{.fd = r->fd[0], .events = POLLIN},
                              {.fd = r->fd[1], .events = POLLIN}};
        struct timespec wait = {0};
        if (r->n && r->heap[0].at_ns > now) {
            uint64_t ns = r->heap[0].at_ns - now;
            wait = (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
        }
        if (ppoll(p, 2, r->n ? &wait : NULL, NULL) < 0 && errno != EINTR)
            break;
        for (int from = 0; from < 2; from++) {
            if (p[from].revents & (POLLERR | POLLHUP) && !(p[from].revents & POLLIN))
                return; // an interface is gone
            for (int i = 0; i < BURST && p[from].revents & POLLIN; i++) {
                ssize_t n = read(r->fd[from], buffer, sizeof(buffer));
                if (n <= 0)
                    break;
                carry(r, !from, buffer, (uint32_t)n, now_ns());
            }
        }
        now = now_ns();
        while (r->n && r->heap[0].at_ns <= now) {
            struct flight f = heap_pop(r);
            deliver(r, f.to, f.data, f.len);
            free(f.data);
        }
    }
}

static void usage(FILE *to)
{
    fputs("usage: relay [OPTION]… PORT PORT        a port is tap:NAME or packet:NAME\n"
          "  --loss %          frames that are lost, each way\n"
          "  --duplicate %     frames that come twice\n"
          "  --reorder %       frames that come later than those behind them …\n"
          "  --reorder-us N    … by so much (1000)\n"
          "  --delay-us N      one way\n"
          "  --jitter-us N     more, at random: reorders as well\n"
          "  --rate-mbit N     of the line, each way;  --queue-us N: what waits longer is lost "
          "(10000)\n"
          "  --seed N          of everything that is random (1)\n",
          to);
}

int main(int argc, char **argv)
{
    struct relay r = {.conditions = {.reorder_ns = 1000000, .queue_ns = 10000000}};
    struct conditions *c = &r.conditions;
    uint64_t seed = 1;
    static const struct option options[] = {{"loss", 1, 0, 'l'},
                                            {"duplicate", 1, 0, 'd'},
                                            {"reorder", 1, 0, 'r'},
                                            {"reorder-us", 1, 0, 'R'},
                                            {"delay-us", 1, 0, 'D'},
                                            {"jitter-us", 1, 0, 'j'},
                                            {"rate-mbit", 1, 0, 'b'},
                                            {"queue-us", 1, 0, 'q'},
                                            {"seed", 1, 0, 's'},
                                            {"help", 0, 0, 'h'},
                                            {0}};
    for (int k; (k = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        double v = optarg ? strtod(optarg, NULL) : 0;
        switch (k) {
        case 'l':
            c->loss = (uint32_t)(v * 10000);
            break;
        case 'd':
            c->duplicate = (uint32_t)(v * 10000);
            break;
        case 'r':
            c->reorder = (uint32_t)(v * 10000);
            break;
        case 'R':
            c->reorder_ns = (uint64_t)(v * 1000);
            break;
        case 'D':
            c->delay_ns = (uint64_t)(v * 1000);
            break;
        case 'j':
            c->jitter_ns = (uint64_t)(v * 1000);
            break;
        case 'b':
            c->rate_bps = (uint64_t)(v * 1e6);
            break;
        case 'q':
            c->queue_ns = (uint64_t)(v * 1000);
            break;
        case 's':
            seed = strtoull(optarg, NULL, 10);
            break;
        default:
            usage(k == 'h' ? stdout : stderr);
            return k == 'h' ? 0 : 2;
        }
    }
    if (argc - optind != 2) {
        usage(stderr);
        return 2;
    }
    char error[256];
    for (int i = 0; i < 2; i++) {
        wire_seed(&r.rng[i], seed * 2 + (uint64_t)i);
        r.fd[i] = port_open(argv[optind + i], error, sizeof(error));
        if (r.fd[i] < 0) {
            fprintf(stderr, "relay: %s\n", error);
            return 1;
        }
    }
    r.heap = malloc(HEAP_MAX * sizeof(*r.heap));
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    puts("ready");
    fflush(stdout);
    if (r.heap)
        run(&r);
    printf("{\"carried\": [%llu, %llu], \"lost\": [%llu, %llu], \"doubled\": [%llu, %llu], "
           "\"reordered\": [%llu, %llu], \"full\": [%llu, %llu]}\n",
           (unsigned long long)r.carried[0], (unsigned long long)r.carried[1],
           (unsigned long long)r.lost[0], (unsigned long long)r.lost[1],
           (unsigned long long)r.doubled[0], (unsigned long long)r.doubled[1],
           (unsigned long long)r.reordered[0], (unsigned long long)r.reordered[1],
           (unsigned long long)r.full[0], (unsigned long long)r.full[1]);
    while (r.n)
        free(heap_pop(&r).data);
    free(r.heap);
    return 0;
}
