// A million established connections that say nothing, in one stack: what memory each takes, as the
// process sees it, and what work their being there makes. Their peers are made by hand and remember
// nothing, so that all that is measured is the stack's.
#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mimalloc.h>

#include "dataplane/net/internal.h"
#include "dataplane/net/tcp.h"
#include "tests/sim/wire.h"

enum {
    PORT = 6379,
    BURST = 2048,
    OUT_MAX = 4096,
    WAY = 16384,
    BYTES_MAX = 1024,   // of memory for each connection, its share of the table included
    A_MILLISECOND = 10, // connections that are opened
    KEEPALIVE_S = 300,  // the server's default
    HOUR_S = 3600,
    HOURS = 10,
    STEPS_IDLE_MAX = 2000, // of the timers in all these hours, however many connections there are
};

static struct wire_pool pool;
static struct net *net;
static uint64_t now_us = 1000000;
static unsigned total = 1000000;
static uint64_t answered; // by the peers

// Frames on their way to the stack.
static uint8_t way[WAY][64];
static unsigned way_first, way_end; // modulo WAY

static void turn(void);

// A segment from a peer, without options but for a SYN's (MSS, timestamps, scale).
static void from_peer(uint32_t peer, uint16_t port, uint8_t flags, uint32_t seq, uint32_t ack)
{
    assert(way_end - way_first < WAY);
    uint8_t *p = way[way_end++ % WAY], *ip = p + 14, *tcp = ip + 20;
    memset(p, 0, sizeof(way[0]));
    memcpy(p, (const uint8_t[14]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0}, 14);
    store_be32(ip, 0x45000028);
    ip[8] = 64;
    ip[9] = PROTOCOL_TCP;
    store_be32(ip + 12, peer);
    store_be32(ip + 16, 0x0a000001);
    store_be16(tcp, port);
    store_be16(tcp + 2, PORT);
    store_be32(tcp + 4, seq);
    store_be32(tcp + 8, ack);
    tcp[12] = 0x50;
    tcp[13] = flags;
    store_be16(tcp + 14, 65535);
}

static uint32_t peer_of(unsigned i)
{
    return 0x0b000001 + i / 50000;
}
static uint16_t port_of(unsigned i)
{
    return (uint16_t)(10000 + i % 50000);
}
static uint32_t seq_of(unsigned i)
{
    return i * 2654435761u;
}

// The gateway that all peers are behind asks for us, or answers.
static void gateway(uint8_t operation)
{
    static const uint8_t arp[42] = {2,  0, 0, 0, 0, 1, 2, 0, 0, 0, 0,  9, 8, 6,
                                    0,  1, 8, 0, 6, 4, 0, 0, 2, 0, 0,  0, 0, 9,
                                    10, 0, 0, 9, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1};
    assert(way_end - way_first < WAY);
    uint8_t *p = way[way_end++ % WAY];
    memset(p, 0, sizeof(way[0]));
    memcpy(p, arp, sizeof(arp));
    p[21] = operation;
}

// The peers' side: they end the handshake, and answer probes.
static void to_peer(const uint8_t *p)
{
    if (p[12] == 8 && p[13] == 6 && p[21] == 1) {
        gateway(2);
        return;
    }
    if (p[12] != 8 || p[13] != 0)
        return;
    const uint8_t *ip = p + 14, *tcp = ip + 20;
    uint32_t peer = load_be32(ip + 16), seq = load_be32(tcp + 4), ack = load_be32(tcp + 8);
    uint16_t port = load_be16(tcp + 2);
    uint8_t flags = tcp[13] & 0x3f;
    if (flags == (TH_SYN | TH_ACK))
        from_peer(peer, port, TH_ACK, ack, seq + 1);
    else if (flags == TH_ACK) {
        answered++;
        from_peer(peer, port, TH_ACK, ack, seq + 1); // a probe is one byte before the next
    }
}

static void turn(void)
{
    struct frame rx[BURST], *frames[BURST], **out;
    unsigned n = 0;
    for (; n < BURST && way_first + n != way_end; n++) {
        uint8_t *p = way[(way_first + n) % WAY];
        rx[n] = (struct frame){.data = p,
                               .buffer = p,
                               .len = 54,
                               .size = 64,
                               .flags = FRAME_IP_SUM_GOOD | FRAME_L4_SUM_GOOD};
        frames[n] = &rx[n];
    }
    net_input(net, frames, n, now_us);
    struct stream *ready[64];
    unsigned streams;
    while ((streams = net_ready(net, ready, 64)))
        for (unsigned i = 0; i < streams; i++) {
            unsigned events = ready[i]->events;
            ready[i]->events = 0;
            if (events & STREAM_CLOSED)
                ready[i]->ops->release(ready[i]);
        }
    net_advance(net, now_us);
    static uint8_t sent[OUT_MAX][64];
    unsigned n_sent = 0, count = net_output(net, &out);
    assert(count <= OUT_MAX);
    for (unsigned i = 0; i < count; i++) {
        memcpy(sent[n_sent++], out[i]->data, 64);
        if (!(out[i]->flags & FRAME_KEEP))
            out[i]->pool->release(out[i]->pool, &out[i], 1);
    }
    net_sent(net, count);
    net_turn_end(net);
    way_first += n;
    for (unsigned i = 0; i < n_sent; i++)
        to_peer(sent[i]);
}

static void drain(void)
{
    do
        turn();
    while (way_first != way_end);
}

static uint64_t resident(void)
{
    uint64_t pages = 0, all = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%" SCNu64 " %" SCNu64, &all, &pages) != 2)
        abort();
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int wrong(const char *what, uint64_t is, uint64_t should)
{
    fprintf(stderr, "%s: %" PRIu64 ", and should be %" PRIu64 "\n", what, is, should);
#define X(name, group, text)     \
    if (net_counters(net)->name) \
        fprintf(stderr, "  %s: %" PRIu64 "\n", text, (uint64_t)net_counters(net)->name);
    NET_COUNTERS(X)
#undef X
    return 1;
}

// Every due timer of `seconds`; returns how often there was something to do.
static uint64_t pass(uint64_t seconds)
{
    uint64_t until = now_us + seconds * 1000000, steps = 0, due;
    while ((due = net_next_timer(net)) <= until || way_first != way_end) {
        if (due <= until && due > now_us)
            now_us = due;
        turn();
        steps++;
    }
    now_us = until;
    turn();
    return steps;
}

static void each_stream(void (*call)(struct stream *s))
{
    for (uint64_t i = 0; i <= net->flows.mask; i++) {
        struct net_flow_entry *e = net_flows_at(&net->flows, i);
        if (e && e->kind == NET_FLOW_CONNECTION)
            call(&((struct tcp *)((char *)e - offsetof(struct tcp, entry)))->stream);
    }
}

static void keep_alive(struct stream *s)
{
    s->ops->keepalive(s, KEEPALIVE_S);
}

static void open_all(void)
{
    for (unsigned i = 0; i < total; i++) {
        if (i % A_MILLISECOND == 0)
            now_us += 1000;
        from_peer(peer_of(i), port_of(i), TH_SYN, seq_of(i), 0);
        if (i % 32 == 0)
            drain();
    }
    drain();
}

static int memory(uint64_t before)
{
    mi_collect(false);
    uint64_t each = (resident() - before) / total;
    printf("%u connections: %" PRIu64 " bytes each, of which the struct is %zu\n", total, each,
           sizeof(struct tcp));
    return each > BYTES_MAX ? wrong("bytes of a connection", each, BYTES_MAX) : 0;
}

// Nobody is looked at but those whose time has come.
static int keepalive(void)
{
    each_stream(keep_alive);
    pass(KEEPALIVE_S / 2); // all are overdue; from then on each has its time
    uint64_t probes = net_counters(net)->tcp_keepalive_probes, before = answered;
    uint64_t turns = pass(KEEPALIVE_S);
    probes = net_counters(net)->tcp_keepalive_probes - probes;
    printf("keepalive %d s: %" PRIu64 " probes in %" PRIu64 " turns\n", KEEPALIVE_S, probes, turns);
    if (probes != total)
        return wrong("probes", probes, total);
    if (answered - before != probes)
        return wrong("answers to probes", answered - before, probes);
    if (net_connection_count(net) != total)
        return wrong("connections", net_connection_count(net), total);
    return 0;
}

static void silent(struct stream *s)
{
    s->ops->keepalive(s, 0);
}

static int close_all(void)
{
    each_stream(silent);
    // Their peers' sequence numbers are known; ours they need not know.
    for (unsigned i = 0; i < total; i++) {
        from_peer(peer_of(i), port_of(i), TH_RST, seq_of(i) + 1, 0);
        if (i % 32 == 0)
            drain();
    }
    drain();
    pass(1);
    if (net_connection_count(net) || net_memory(net))
        return wrong("bytes that are left", net_memory(net), 0);
    if (net->flows.count)
        return wrong("entries that are left", net->flows.count, 0);
    uint64_t due = net_next_timer(net);
    if (due != UINT64_MAX && pass(HOUR_S) > STEPS_IDLE_MAX)
        return wrong("timers that are left", 1, 0);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        total = (unsigned)strtoul(argv[1], NULL, 10);
    if (!total || total > 10000000) {
        fprintf(stderr, "usage: sim_idle [CONNECTIONS]\n");
        return 2;
    }
    struct net_config config = {
        .mac = {2, 0, 0, 0, 0, 1},
        .mtu = 1500,
        .n_addresses = 1,
        .addresses = {{.family = 4, .prefix = 8, .addr = {10, 0, 0, 1}}},
        .gateway = {.family = 4, .prefix = 32, .addr = {10, 0, 0, 9}},
        .connections_max = total,
        .time_wait_max = 1000,
    };
    char error[128];
    wire_pool_init(&pool, 2048, 4096);
    uint64_t before = resident();
    net = net_create(&config, &pool.pool, now_us, error, sizeof(error));
    assert(net);
    net_listen(net, PORT, 1024);
    gateway(1);
    turn();
    open_all();
    if (net_connection_count(net) != total)
        return wrong("connections", net_connection_count(net), total);
    if (memory(before))
        return 1;
    uint64_t steps = pass(HOURS * HOUR_S);
    printf("%d hours: %" PRIu64 " turns had something to do\n", HOURS, steps);
    if (steps > STEPS_IDLE_MAX)
        return wrong("turns with something to do", steps, STEPS_IDLE_MAX);
    if (keepalive() || close_all())
        return 1;
    net_destroy(net);
    if (pool.taken)
        return wrong("frames that are left", pool.taken, 0);
    wire_pool_free(&pool);
    return 0;
}
