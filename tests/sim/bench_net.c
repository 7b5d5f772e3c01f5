// What the stack costs: requests and replies between two stacks back to back, without a wire.
// Prints cycles per request for one stack (both do the same work: one data segment in, one out),
// the carrying of frames and the filling of requests and replies included. Not a test.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#include "tests/sim/wire.h"

enum { PORT = 6379, CONNECTIONS_MAX = 100000, BURST = 64 };

static struct wire_pool pools[2];
static struct net *nets[2];
static struct stream *clients[CONNECTIONS_MAX];
static unsigned n_clients = 50, request_size = 40, reply_size = 72;
static uint64_t now_us = 1000000, served;
static struct frame *moving[2][8192]; // towards each stack
static unsigned n_moving[2];

static void server(struct net *net)
{
    struct stream *ready[256];
    unsigned n;
    while ((n = net_ready(net, ready, 256)))
        for (unsigned i = 0; i < n; i++) {
            struct stream *s = ready[i];
            s->events = 0;
            uint32_t got = 0;
            while (s->in_len) {
                got += s->in_len;
                stream_consume(s, s->in_len);
            }
            for (; got >= request_size; got -= request_size) {
                uint8_t *p = out_room(&s->out, reply_size);
                memset(p, 'r', reply_size);
                s->out.pos += reply_size;
                served++;
            }
            s->ops->push(s);
        }
}

static void ask(struct stream *s)
{
    uint8_t *p = out_room(&s->out, request_size);
    memset(p, 'q', request_size);
    s->out.pos += request_size;
    s->ops->push(s);
}

static void client(struct net *net)
{
    struct stream *ready[256];
    unsigned n;
    while ((n = net_ready(net, ready, 256)))
        for (unsigned i = 0; i < n; i++) {
            struct stream *s = ready[i];
            unsigned events = s->events;
            s->events = 0;
            uint32_t got = 0;
            while (s->in_len) {
                got += s->in_len;
                stream_consume(s, s->in_len);
            }
            if (got || (events & STREAM_CONNECTED))
                ask(s);
        }
}

// Frames go from pool to pool without a copy: the receiver sees the sender's memory.
static void turn(unsigned i)
{
    static struct frame rx[BURST];
    struct frame *frames[BURST], *whole[BURST];
    unsigned n = n_moving[i] < BURST ? n_moving[i] : BURST;
    for (unsigned k = 0; k < n; k++) {
        whole[k] = moving[i][k];
        rx[k] = (struct frame){.data = whole[k]->data, .len = whole[k]->len};
        frames[k] = &rx[k];
    }
    memmove(moving[i], moving[i] + n, (n_moving[i] - n) * sizeof(moving[i][0]));
    n_moving[i] -= n;
    net_input(nets[i], frames, n, now_us);
    if (i == 0)
        server(nets[i]);
    else
        client(nets[i]);
    net_advance(nets[i], now_us);
    struct frame **out;
    unsigned count = net_output(nets[i], &out);
    for (unsigned k = 0; k < count; k++)
        moving[!i][n_moving[!i]++] = out[k];
    net_sent(nets[i], count);
    net_turn_end(nets[i]);
    for (unsigned k = 0; k < n; k++)
        if (!(whole[k]->flags & FRAME_KEEP))
            whole[k]->pool->release(whole[k]->pool, &whole[k], 1);
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    uint64_t requests = 3000000;
    if (argc > 1)
        n_clients = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        requests = strtoull(argv[2], NULL, 10);
    if (n_clients > CONNECTIONS_MAX)
        return 2;
    for (unsigned i = 0; i < 2; i++) {
        struct net_config c = {.mtu = 1500, .n_addresses = 1, .connections_max = CONNECTIONS_MAX};
        c.mac[0] = 2;
        c.mac[5] = (uint8_t)(i + 1);
        c.half_open_max = CONNECTIONS_MAX;
        c.addresses[0] =
            (struct net_address){.family = 4, .prefix = 24, .addr = {10, 0, 0, (uint8_t)(i + 1)}};
        wire_pool_init(&pools[i], 2048, 1000000);
        char error[100];
        nets[i] = net_create(&c, &pools[i].pool, now_us, error, sizeof(error));
    }
    net_listen(nets[0], PORT, CONNECTIONS_MAX);
    for (unsigned k = 0; k < n_clients; k++) {
        struct endpoint to;
        int error;
        wire_address(&to, 0, PORT);
        clients[k] = net_connect(nets[1], &to, &error);
        if (!clients[k])
            return 1;
        turn(1), turn(0), turn(1);
        now_us += 1;
    }
    while (served < requests / 10) {
        turn(0), turn(1);
        now_us += 2;
    }
    uint64_t from = served, cycles = __rdtsc();
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    while (served < from + requests) {
        turn(0), turn(1);
        now_us += 2;
    }
    // By time on the processor: what others ran on it meanwhile does not count.
    double per_second = (double)(__rdtsc() - cycles) / (seconds(CLOCK_MONOTONIC) - wall);
    cpu = (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)(served - from) / 2;
    printf("%u connections: %.0f cycles (%.0f ns) a request and stack\n", n_clients,
           cpu * per_second, cpu * 1e9);
    for (unsigned i = 0; i < 2; i++)
        net_destroy(nets[i]);
    return 0;
}
