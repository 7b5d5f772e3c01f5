// Our stack as a bulk sender on an interface: connects, writes so many bytes, closes. It is what
// tests/relay/throughput sets beside Linux's own stack; nothing of the server is in it.
//
//   sender PORT OUR-ADDRESS/PREFIX ADDRESS TCP-PORT BYTES [cubic|newreno|dctcp]
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/relay/ports.h"
#include "tests/sim/wire.h"

enum {
    BURST = 64,
    FRAME_SIZE = 2048,
    FRAMES = 65536,
    CHUNK = 256 << 10, // written at once, and at most twice of it unsent
    GIVE_UP_S = 3600,
};

struct sender {
    struct net *net;
    struct wire_pool pool;
    int fd;
    struct stream *stream;
    uint64_t left;
    uint64_t connected_us, closed_us;
    struct stream_info info; // as it was last
    bool closed;
    uint8_t error;
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static void serve(struct sender *s)
{
    struct stream *ready[8];
    unsigned n = net_ready(s->net, ready, 8);
    for (unsigned i = 0; i < n; i++) {
        unsigned events = ready[i]->events;
        ready[i]->events = 0;
        if (events & STREAM_CONNECTED)
            s->connected_us = now_us();
        if (events & STREAM_CLOSED) {
            s->closed = true;
            s->closed_us = now_us();
            s->error = ready[i]->error;
            ready[i]->ops->release(ready[i]);
            s->stream = NULL;
            return;
        }
    }
    if (!s->connected_us || !s->stream)
        return;
    s->stream->ops->info(s->stream, &s->info);
    static uint8_t bytes[CHUNK];
    bool had = s->left > 0;
    while (s->left && s->stream->ops->unsent(s->stream) < CHUNK) {
        uint64_t chunk = s->left < CHUNK ? s->left : CHUNK;
        out_write(&s->stream->out, bytes, chunk);
        s->stream->ops->push(s->stream);
        s->left -= chunk;
    }
    if (had && !s->left)
        s->stream->ops->close(s->stream);
}

// One turn. Returns true when anything moved.
static bool turn(struct sender *s)
{
    static uint8_t memory[BURST][FRAME_SIZE];
    static struct frame frame[BURST];
    struct frame *in[BURST], **out;
    unsigned n = 0;
    while (n < BURST) {
        ssize_t got = read(s->fd, memory[n], FRAME_SIZE);
        if (got <= 0)
            break;
        frame[n] = (struct frame){
            .data = memory[n], .buffer = memory[n], .len = (uint32_t)got, .size = FRAME_SIZE};
        in[n] = &frame[n];
        n++;
    }
    net_input(s->net, in, n, now_us());
    serve(s);
    net_advance(s->net, now_us());
    unsigned count = net_output(s->net, &out), sent = 0;
    while (sent < count) {
        struct frame *f = out[sent];
        if (write(s->fd, f->data, f->len) < 0)
            break; // the interface is full: the rest stays in the stack
        sent++;
        if (f->flags & FRAME_KEEP)
            f->hash = 0; // copied by the kernel: free to be sent again
        else
            f->pool->release(f->pool, &f, 1);
    }
    net_sent(s->net, sent);
    net_turn_end(s->net);
    return n || sent;
}

static void sleep_until(struct sender *s)
{
    struct frame **out;
    bool full = net_output(s->net, &out) > 0;
    uint64_t now = now_us(), next = net_next_timer(s->net);
    uint64_t us = next == UINT64_MAX ? 1000000 : next > now ? next - now : 0;
    struct pollfd p = {.fd = s->fd, .events = (short)(POLLIN | (full ? POLLOUT : 0))};
    struct timespec wait = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    ppoll(&p, 1, &wait, NULL);
}

int main(int argc, char **argv)
{
    static struct sender s;
    char error[256], *slash = argc > 2 ? strchr(argv[2], '/') : NULL;
    struct net_config config = {.mac = {2, 0x70, 0x6c, 0x78, 1, 1}, .mtu = 1500, .n_addresses = 1};
    struct endpoint to = {.family = 4};
    config.seed = now_us();
    memcpy(config.secret, &config.seed, sizeof(config.seed));
    if (slash)
        *slash = 0;
    int algorithm = argc == 7 ? net_congestion_find(argv[6]) : (int)NET_CUBIC;
    if (argc < 6 || argc > 7 || !slash || algorithm < 0 ||
        inet_pton(AF_INET, argv[2], config.addresses[0].addr) != 1 ||
        inet_pton(AF_INET, argv[3], to.addr) != 1) {
        fputs("usage: sender PORT OUR-ADDRESS/PREFIX ADDRESS TCP-PORT BYTES "
              "[cubic|newreno|dctcp]\n"
              "a port is tap:NAME or packet:NAME\n",
              stderr);
        return 2;
    }
    config.addresses[0].family = 4;
    config.addresses[0].prefix = (uint8_t)strtoul(slash + 1, NULL, 10);
    config.congestion = (enum net_congestion)algorithm;
    to.port = (uint16_t)strtoul(argv[4], NULL, 10);
    s.left = strtoull(argv[5], NULL, 10);
    s.fd = port_open(argv[1], error, sizeof(error));
    if (s.fd < 0) {
        fprintf(stderr, "sender: %s\n", error);
        return 1;
    }
    wire_pool_init(&s.pool, FRAME_SIZE, FRAMES);
    s.net = net_create(&config, &s.pool.pool, now_us(), error, sizeof(error));
    int failed = 0;
    if (s.net)
        s.stream = net_connect(s.net, &to, &failed);
    if (!s.stream) {
        fprintf(stderr, "sender: %s\n", s.net ? strerror(-failed) : error);
        return 1;
    }
    uint64_t start = now_us();
    while (!s.closed && now_us() - start < GIVE_UP_S * 1000000ull)
        if (!turn(&s))
            sleep_until(&s);
    const struct net_counters *c = net_counters(s.net);
    printf("{\"seconds\": %.6f, \"error\": %u, \"retransmitted\": %llu, \"fast\": %llu, "
           "\"timer\": %llu, \"rtt_us\": %u, \"cwnd\": %u}\n",
           (double)(s.closed_us - s.connected_us) / 1e6, s.closed ? (unsigned)s.error : 255u,
           (unsigned long long)s.info.retransmitted, (unsigned long long)c->tcp_retransmit_fast,
           (unsigned long long)c->tcp_retransmit_timer, s.info.rtt_us, s.info.cwnd);
    // The peer may still have to hear the last acknowledgement.
    for (int i = 0; i < 10; i++)
        turn(&s);
    net_destroy(s.net);
    wire_pool_free(&s.pool);
    return !s.closed || s.error;
}
