// Honest clients beside attackers: floods of SYNs, acknowledgements and fragments from random
// addresses, and blind guesses of RST, SYN and data at the honest connections (whose addresses and
// ports the attackers know). Every client must finish all it came for without one reset, memory
// stays bounded, and the counters account for what was sent.
//
// `sim_flood --cost` prints what a packet of each attack costs the stack, in cycles.
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/net/internal.h"
#include "dataplane/net/tcp.h"
#include "tests/sim/wire.h"

enum { PORT = 6379, CLIENTS = 40, SESSIONS = 12, REQUESTS = 6, REPLY = 3000, QUEUE = 64 };

enum attack { SYN_FLOOD, ACK_FLOOD, FRAGMENTS, RST_GUESS, SYN_GUESS, DATA_GUESS, ATTACKS };
static const char *const attack_names[ATTACKS] = {"SYN",       "ACK",       "fragment",
                                                  "RST guess", "SYN guess", "data guess"};
// Per second.
static const uint32_t rates[ATTACKS] = {30000, 5000, 2000, 5000, 5000, 5000};

// --- packets
// ----------------------------------------------------------------------------------------

struct made {
    uint8_t bytes[14 + 20 + 60 + 64];
    uint32_t len;
};

static void make(struct made *m, uint32_t src, uint16_t src_port, uint8_t flags, uint32_t seq,
                 uint32_t ack, bool options, uint32_t payload)
{
    uint8_t *ip = m->bytes + 14, *tcp = ip + 20;
    memset(m->bytes, 0, sizeof(m->bytes));
    memcpy(m->bytes, (const uint8_t[14]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, 14);
    uint32_t header = 20;
    if (options) { // as common stacks send them: MSS, SACK, timestamps, scale
        memcpy(tcp + 20,
               (const uint8_t[20]){2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7},
               20);
        header += 20;
    }
    uint32_t len = header + payload;
    ip[0] = 0x45;
    store_be16(ip + 2, (uint16_t)(20 + len));
    ip[8] = 64;
    ip[9] = PROTOCOL_TCP;
    store_raw32(ip + 12, src);
    memcpy(ip + 16, (const uint8_t[4]){10, 0, 0, 1}, 4);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(ip, 20, 0));
    memcpy(ip + 10, &sum, 2);
    store_be16(tcp, src_port);
    store_be16(tcp + 2, PORT);
    store_be32(tcp + 4, seq);
    store_be32(tcp + 8, ack);
    tcp[12] = (uint8_t)(header << 2);
    tcp[13] = flags;
    store_be16(tcp + 14, 1000);
    struct net_flow flow = {.local = load_raw32(ip + 16), .remote = src};
    sum = (uint16_t)~net_sum_fold(net_sum(tcp, len, net_pseudo_sum(&flow, PROTOCOL_TCP, len)));
    memcpy(tcp + 16, &sum, 2);
    m->len = 34 + len;
}

// An address outside of the link: 11.x.x.x to 126.x.x.x.
static uint32_t random_address(uint64_t r)
{
    return __builtin_bswap32((uint32_t)(11 + r % 116) << 24 | (uint32_t)(r >> 8 & 0xffffff));
}

// `port`: of a connection of 10.0.0.2 that the attacker guesses at.
static void make_attack(struct made *m, enum attack kind, uint64_t r, uint64_t q, uint16_t port)
{
    const uint32_t client = __builtin_bswap32(0x0a000002);
    uint16_t any = (uint16_t)(1024 + (r >> 32) % 60000);
    switch (kind) {
    case SYN_FLOOD:
        make(m, random_address(r), any, TH_SYN, (uint32_t)q, 0, q >> 63, 0);
        break;
    case ACK_FLOOD:
        make(m, random_address(r), any, TH_ACK, (uint32_t)q, (uint32_t)(q >> 32), false, 0);
        break;
    case FRAGMENTS:
        make(m, random_address(r), any, TH_SYN, (uint32_t)q, 0, false, 0);
        store_be16(m->bytes + 14 + 6, q & 1 ? 0x2000 : 0x0010);
        memset(m->bytes + 14 + 10, 0, 2);
        uint16_t sum = (uint16_t)~net_sum_fold(net_sum(m->bytes + 14, 20, 0));
        memcpy(m->bytes + 14 + 10, &sum, 2);
        break;
    case RST_GUESS:
        make(m, client, port, TH_RST, (uint32_t)q, 0, false, 0);
        break;
    case SYN_GUESS:
        make(m, client, port, TH_SYN, (uint32_t)q, 0, false, 0);
        break;
    default:
        make(m, client, port, TH_ACK | TH_PSH, (uint32_t)q, (uint32_t)(q >> 32), false, 16);
    }
}

// --- the simulation
// ---------------------------------------------------------------------------------

struct client {
    struct stream *stream;
    unsigned session, asked, got, received;
    bool closing;
    uint16_t port;
};

struct world {
    struct wire *wire;
    struct client clients[CLIENTS];
    unsigned done;
    uint64_t sent[ATTACKS], last_us[ATTACKS];
    uint64_t memory_most, frames_most;
    const char *wrong;
};

static void ask(struct client *c)
{
    static const uint8_t request[16] = {'q'};
    out_write(&c->stream->out, request, sizeof(request));
    c->stream->ops->push(c->stream);
    c->asked++;
}

static void serve_clients(struct world *w, struct net *net)
{
    struct stream *ready[64];
    unsigned n;
    while ((n = net_ready(net, ready, 64)))
        for (unsigned i = 0; i < n && !w->wrong; i++) {
            struct stream *s = ready[i];
            struct client *c = s->owner;
            unsigned events = s->events;
            s->events = 0;
            if (events & STREAM_CONNECTED)
                ask(c);
            while (s->in_len) {
                c->received += s->in_len;
                stream_consume(s, s->in_len);
            }
            if (c->received > c->asked * REPLY)
                w->wrong = "more than was asked for";
            if (events & STREAM_CLOSED) {
                if (s->error != STREAM_OK || !c->closing)
                    w->wrong = "an honest connection was broken";
                s->ops->release(s);
                *c = (struct client){.session = c->session + 1};
                w->done += c->session == SESSIONS;
            } else if (!c->closing && c->asked && c->received == c->asked * REPLY) {
                if (c->asked == REQUESTS) {
                    c->closing = true;
                    s->ops->close(s);
                } else {
                    ask(c);
                }
            }
        }
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *c = &w->clients[i];
        if (c->stream || c->session == SESSIONS || wire_random(&w->wire->rng) % 20)
            continue;
        struct endpoint to;
        struct stream_info info;
        int error;
        wire_address(&to, 0, PORT);
        c->stream = net_connect(net, &to, &error);
        if (!c->stream) {
            w->wrong = "no connection could be begun";
            return;
        }
        c->stream->owner = c;
        c->stream->ops->info(c->stream, &info);
        c->port = info.local.port;
    }
}

static void serve_server(struct net *net)
{
    static const uint8_t reply[REPLY];
    struct stream *ready[64];
    unsigned n;
    while ((n = net_ready(net, ready, 64)))
        for (unsigned i = 0; i < n; i++) {
            struct stream *s = ready[i];
            unsigned events = s->events;
            s->events = 0;
            if (events & STREAM_CLOSED) {
                s->ops->release(s);
                continue;
            }
            uint32_t got = 0;
            while (s->in_len) {
                got += s->in_len;
                stream_consume(s, s->in_len);
            }
            for (; got >= 16; got -= 16)
                out_write(&s->out, reply, sizeof(reply));
            s->ops->push(s);
            if (events & STREAM_EOF)
                s->ops->close(s);
        }
}

static void serve(void *context, struct wire *wire, unsigned i)
{
    struct world *w = context;
    if (w->wrong)
        return;
    if (i == 1)
        serve_clients(w, wire->net[1]);
    else
        serve_server(wire->net[0]);
}

static void attack(struct world *w)
{
    struct wire *wire = w->wire;
    for (unsigned k = 0; k < ATTACKS; k++)
        while (w->last_us[k] + 1000000 / rates[k] <= wire->now_us) {
            w->last_us[k] += 1000000 / rates[k];
            struct made m;
            uint16_t port = w->clients[wire_random(&wire->rng) % CLIENTS].port;
            if (k >= RST_GUESS && !port)
                continue;
            make_attack(&m, k, wire_random(&wire->rng), wire_random(&wire->rng), port);
            wire_inject(wire, 0, m.bytes, m.len);
            w->sent[k]++;
        }
}

static const char *account(const struct world *w)
{
    const struct net_counters *n = net_counters(w->wire->net[0]);
    if (n->ip_fragment != w->sent[FRAGMENTS])
        return "fragments and their counter differ";
    // Each guess of a RST is refused, by a connection or because there is none. What the clients'
    // stack says to answers that it never asked for (the attackers use its address) is believed.
    uint64_t honest = net_counters(w->wire->net[1])->tcp_reset_out,
             seen = n->tcp_reset_bad + n->tcp_reset_stray + n->tcp_reset_in;
    if (seen < w->sent[RST_GUESS] || seen > w->sent[RST_GUESS] + honest ||
        (!w->wire->conditions.loss && seen != w->sent[RST_GUESS] + honest))
        return "RSTs and their counters differ";
    if (n->tcp_reset_in > honest)
        return "a guessed RST was believed";
    if (n->tcp_cookies_sent < w->sent[SYN_FLOOD] / 2)
        return "hardly a cookie was sent";
    if (!n->tcp_cookies_accepted)
        return "no honest client came in by a cookie";
    if (n->tcp_cookies_failed + 10 < w->sent[ACK_FLOOD] / 2)
        return "acknowledgements of the flood are not counted";
    if (n->tcp_accepted < (uint64_t)CLIENTS * SESSIONS)
        return "fewer connections than sessions";
    if (n->tcp_reset_out + n->tcp_reset_limited < n->tcp_cookies_failed)
        return "a wrong cookie was not answered";
    // No amplification: what left is no more than what came.
    if (n->frames_out > n->frames_in + 10000)
        return "more went out than came in";
    return NULL;
}

static bool run(uint64_t seed, uint32_t loss, bool verbose)
{
    static struct world w;
    struct wire wire;
    struct wire_conditions conditions = {.delay_us = 200, .jitter_us = 100, .loss = loss};
    struct net_config config = {.half_open_max = QUEUE,
                                .time_wait_max = 200,
                                .gateway = {.family = 4, .addr = {10, 0, 0, 2}}};
    wire_init(&wire, seed, &conditions, &config, 4000);
    w = (struct world){.wire = &wire};
    for (unsigned k = 0; k < ATTACKS; k++)
        w.last_us[k] = wire.now_us + 100000; // when the neighbours know each other
    net_listen(wire.net[0], PORT, 128);
    uint64_t start = wire.now_us, end = start + 300ull * 1000000;
    while (!w.wrong && w.done < CLIENTS && wire.now_us < end) {
        attack(&w);
        for (unsigned i = 0; i < 2; i++)
            for (unsigned k = 0; k < 4; k++) // the flood of a step is more than one burst
                wire_turn(&wire, i, serve, &w);
        uint64_t memory = net_memory(wire.net[0]);
        w.memory_most = memory > w.memory_most ? memory : w.memory_most;
        w.frames_most = wire.pool[0].taken > w.frames_most ? wire.pool[0].taken : w.frames_most;
        uint64_t before = wire.now_us;
        if (!wire_step(&wire) || wire.now_us > before + 100)
            wire.now_us = before + 100;
    }
    if (!w.wrong && w.done < CLIENTS)
        w.wrong = "honest clients did not finish";
    uint64_t took = wire.now_us - start;
    // All connections, full buffers of each, the queue, TIME_WAIT.
    if (!w.wrong && w.memory_most > CLIENTS * (sizeof(struct tcp) + 100000) +
                                        (QUEUE + QUEUE / 4) * sizeof(struct tcp_request) +
                                        200 * sizeof(struct tcp_wait))
        w.wrong = "memory grew with the flood";
    if (!w.wrong) { // the flood ends, and nothing is left of it
        wire_run(&wire, wire.now_us + 400ull * 1000000, serve, &w);
        for (int i = 0; i < 2 && !w.wrong; i++)
            if (net_connection_count(wire.net[i]) || net_memory(wire.net[i]))
                w.wrong = "connections or memory left";
    }
    if (!w.wrong)
        w.wrong = account(&w);
    const struct net_counters *n = net_counters(wire.net[0]);
    if (verbose || w.wrong)
        printf("seed %" PRIu64 ": %.2f s; attacks %" PRIu64 " SYN, %" PRIu64 " ACK, %" PRIu64
               " fragments, %" PRIu64 " RST, %" PRIu64 " SYN and %" PRIu64
               " data guesses; cookies %" PRIu64 " sent, %" PRIu64 " accepted, %" PRIu64
               " failed; challenges %" PRIu64 " sent, %" PRIu64 " held back; RST %" PRIu64
               " sent, %" PRIu64 " held back; most memory %" PRIu64 ", frames %" PRIu64 "\n",
               seed, (double)took / 1e6, w.sent[SYN_FLOOD], w.sent[ACK_FLOOD], w.sent[FRAGMENTS],
               w.sent[RST_GUESS], w.sent[SYN_GUESS], w.sent[DATA_GUESS], n->tcp_cookies_sent,
               n->tcp_cookies_accepted, n->tcp_cookies_failed, n->tcp_challenge_ack,
               n->tcp_challenge_limited, n->tcp_reset_out, n->tcp_reset_limited, w.memory_most,
               w.frames_most);
    unsigned leaked = wire_free(&wire);
    if (leaked && !w.wrong)
        w.wrong = "frames leaked";
    printf("seed %" PRIu64 ": %s\n", seed, w.wrong ? w.wrong : "ok");
    return !w.wrong;
}

// --- what a packet costs
// ----------------------------------------------------------------------------

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void discard(struct net *net)
{
    struct frame **out;
    unsigned n = net_output(net, &out);
    for (unsigned i = 0; i < n; i++)
        if (!(out[i]->flags & FRAME_KEEP))
            out[i]->pool->release(out[i]->pool, &out[i], 1);
    net_sent(net, n);
    net_turn_end(net);
}

static void give(struct net *net, struct made *m, unsigned n, uint64_t now_us)
{
    struct frame rx[64], *frames[64];
    for (unsigned i = 0; i < n; i++) {
        rx[i] = (struct frame){
            .data = m[i].bytes, .buffer = m[i].bytes, .len = m[i].len, .size = m[i].len};
        frames[i] = &rx[i];
    }
    net_input(net, frames, n, now_us);
    discard(net);
}

static void cost(const char *name, enum attack kind, bool full, uint64_t step_us)
{
    enum { PACKETS = 1 << 16, ROUNDS = 20, BURST = 32 };
    struct wire_pool pool;
    wire_pool_init(&pool, 2048, 4096);
    struct net_config c = {.mac = {2, 0, 0, 0, 0, 1},
                           .mtu = 1500,
                           .n_addresses = 1,
                           .addresses = {{.family = 4, .prefix = 24, .addr = {10, 0, 0, 1}}},
                           .gateway = {.family = 4, .addr = {10, 0, 0, 2}},
                           .half_open_max = full ? 4 : PACKETS};
    uint64_t now = 5000000;
    char error[128];
    struct net *net = net_create(&c, &pool.pool, now, error, sizeof(error));
    net_listen(net, PORT, PACKETS);
    struct made arp = {.len = 42};
    memcpy(arp.bytes,
           (const uint8_t[42]){2, 0, 0, 0, 0, 1, 2, 0,  0, 0, 0, 2, 8, 6, 0, 1, 8, 0,  6, 4, 0,
                               1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1},
           42);
    give(net, &arp, 1, now);
    struct wire_rng rng;
    wire_seed(&rng, 1);
    struct made *made = malloc(PACKETS * sizeof(*made));
    // One honest connection, from port 4000 of 10.0.0.2; then what fills the queue.
    make(made, __builtin_bswap32(0x0a000002), 4000, TH_SYN, 1, 0, false, 0);
    struct frame rx = {.data = made->bytes, .len = made->len}, *f = &rx, **out;
    net_input(net, &f, 1, now);
    if (net_output(net, &out) != 1)
        abort();
    uint32_t iss = load_be32(out[0]->data + 14 + 20 + 4);
    discard(net);
    make(made, __builtin_bswap32(0x0a000002), 4000, TH_ACK, 2, iss + 1, false, 0);
    give(net, made, 1, now);
    for (unsigned i = 0; full && i < 8; i++) {
        make_attack(made, SYN_FLOOD, wire_random(&rng), wire_random(&rng), 0);
        give(net, made, 1, now);
    }
    for (unsigned i = 0; i < PACKETS; i++)
        make_attack(&made[i], kind, wire_random(&rng), wire_random(&rng), 4000);
    double begin = cpu_seconds();
    uint64_t cycles = __builtin_ia32_rdtsc(), packets = 0;
    struct timespec wall0, wall1;
    clock_gettime(CLOCK_MONOTONIC, &wall0);
    for (unsigned round = 0; round < (full ? ROUNDS : 1); round++)
        for (unsigned i = 0; i < PACKETS; i += BURST) {
            give(net, made + i, BURST, now);
            packets += BURST;
            now += step_us * BURST;
        }
    double cpu = cpu_seconds() - begin;
    clock_gettime(CLOCK_MONOTONIC, &wall1);
    double wall =
        (double)(wall1.tv_sec - wall0.tv_sec) + (double)(wall1.tv_nsec - wall0.tv_nsec) / 1e9;
    double per_second = (double)(__builtin_ia32_rdtsc() - cycles) / wall;
    const struct net_counters *n = net_counters(net);
    printf("%-34s %5.0f cycles %5.0f ns   answered %3.0f %%\n", name,
           cpu * per_second / (double)packets, cpu * 1e9 / (double)packets,
           100.0 * (double)(n->frames_out - 3) / (double)packets);
    net_destroy(net);
    wire_pool_free(&pool);
    free(made);
}

static int costs(void)
{
    puts("a packet of                             costs");
    cost("SYN, remembered", SYN_FLOOD, false, 10);
    cost("SYN, answered with a cookie", SYN_FLOOD, true, 10);
    cost("SYN, above the limit of answers", SYN_FLOOD, true, 0);
    cost("ACK, no cookies under way", ACK_FLOOD, false, 10);
    cost("ACK, taken for a cookie", ACK_FLOOD, true, 10);
    for (enum attack k = FRAGMENTS; k < ATTACKS; k++)
        cost(attack_names[k], k, true, 10);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, last = 1;
    uint32_t loss = 0;
    bool verbose = false;
    static const struct option options[] = {{"seeds", 1, 0, 's'},
                                            {"loss", 1, 0, 'l'},
                                            {"verbose", 0, 0, 'v'},
                                            {"cost", 0, 0, 'c'},
                                            {0}};
    for (int k; (k = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (k) {
        case 's':
            if (sscanf(optarg, "%" SCNu64 "-%" SCNu64, &first, &last) == 1)
                last = first;
            break;
        case 'l':
            loss = (uint32_t)(strtod(optarg, NULL) * 10000);
            break;
        case 'v':
            verbose = true;
            break;
        case 'c':
            return costs();
        default:
            fputs("sim_flood [--seeds A-B] [--loss %] [--verbose] | --cost\n", stderr);
            return 2;
        }
    }
    unsigned failed = 0;
    for (uint64_t seed = first; seed <= last; seed++)
        failed += !run(seed, loss, verbose);
    return failed != 0;
}
