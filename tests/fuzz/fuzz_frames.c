// Frames that nobody sane sends. The input is a script for one stack: pieces of it become raw
// frames, TCP segments with right checksums and numbers near the live connection's, time, and what
// an owner does. Nothing may crash, leak a frame or leave memory, and the stack must still answer
// afterwards.
//
// Built with -Dfuzz=true it is a libFuzzer target; otherwise `fuzz_frames ROUNDS [SEED]` makes its
// own inputs.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/checksum.h"
#include "tests/sim/wire.h"

enum { PORT = 6379, FRAME_MAX = 1600, STREAMS_MAX = 64 };

struct script {
    const uint8_t *p;
    size_t left;
};

struct fuzz {
    struct net *net;
    struct wire_pool pool;
    uint64_t now_us;
    struct frame rx[256];
    unsigned n_rx;
    struct stream *streams[STREAMS_MAX];
    uint32_t seq, ack; // of the connection that segments are near to
    uint16_t port, peer_port;
    uint8_t peer[4]; // the address of that connection's other end
    uint32_t stamp, echo;
};

static uint32_t take(struct script *s, unsigned bytes)
{
    uint32_t v = 0;
    while (bytes-- && s->left) {
        v = v << 8 | *s->p++;
        s->left--;
    }
    return v;
}

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

static void owner(struct fuzz *z, struct script *s)
{
    struct stream *ready[32];
    unsigned n = net_ready(z->net, ready, 32);
    for (unsigned i = 0; i < n; i++) {
        struct stream *stream = ready[i];
        unsigned events = stream->events;
        stream->events = 0;
        if (events & STREAM_ACCEPTED)
            for (unsigned k = 0; k < STREAMS_MAX; k++)
                if (!z->streams[k]) {
                    z->streams[k] = stream;
                    break;
                }
        if (events & STREAM_CLOSED) {
            for (unsigned k = 0; k < STREAMS_MAX; k++)
                if (z->streams[k] == stream)
                    z->streams[k] = NULL;
            stream->ops->release(stream);
        }
    }
    (void)s;
}

static void turn(struct fuzz *z, struct script *s)
{
    owner(z, s);
    net_advance(z->net, z->now_us);
    struct frame **out;
    unsigned count = net_output(z->net, &out), sent = count;
    if (count > 1 && take(s, 1) % 4 == 0)
        sent = count / 2; // a port that is full
    for (unsigned i = 0; i < sent; i++) {
        struct frame *f = out[i];
        assert(f->len >= 14 && f->len <= 1518 && f->data >= f->buffer &&
               f->data + f->len <= f->buffer + f->size);
        const uint8_t *p = f->data;
        if (p[12] == 8 && p[13] == 0 && p[23] == 6) { // what the stack says tells where it stands
            uint32_t seq = (uint32_t)p[38] << 24 | p[39] << 16 | p[40] << 8 | p[41],
                     ack = (uint32_t)p[42] << 24 | p[43] << 16 | p[44] << 8 | p[45];
            if (!(p[47] & 4)) {
                z->ack = seq + ((p[47] & 2) != 0);
                z->seq = ack;
                z->port = (uint16_t)(p[34] << 8 | p[35]);
                z->peer_port = (uint16_t)(p[36] << 8 | p[37]);
                memcpy(z->peer, p + 30, 4);
                for (unsigned at = 54; at + 8 <= 34u + (p[46] >> 4) * 4u; at++)
                    if (p[at] == 8 && p[at + 1] == 10) { // timestamps are echoed
                        z->echo = (uint32_t)p[at + 2] << 24 | p[at + 3] << 16 | p[at + 4] << 8 |
                                  p[at + 5];
                        break;
                    }
            }
        }
        if (!(f->flags & FRAME_KEEP))
            f->pool->release(f->pool, &f, 1);
        else
            f->hash = take(s, 1) & 1; // still in the driver, or not
    }
    net_sent(z->net, sent);
    net_turn_end(z->net);
    for (unsigned i = 0; i < z->n_rx; i++)
        free(z->rx[i].data);
    z->n_rx = 0;
}

static void receive(struct fuzz *z, struct script *s, const uint8_t *data, uint32_t len)
{
    if (z->n_rx == 256)
        turn(z, s);
    struct frame *f = &z->rx[z->n_rx++];
    *f = (struct frame){.len = len, .size = len};
    f->data = f->buffer = malloc(len ? len : 1);
    assert(f->data);
    memcpy(f->data, data, len);
    net_input(z->net, &f, 1, z->now_us);
}

static uint32_t headers(uint8_t *f, uint32_t payload, uint8_t protocol, const uint8_t from[4])
{
    static const uint8_t start[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0};
    memcpy(f, start, 14);
    uint8_t *ip = f + 14;
    memset(ip, 0, 20);
    ip[0] = 0x45;
    put16(ip + 2, 20 + payload);
    ip[8] = 64;
    ip[9] = protocol;
    memcpy(ip + 12, from, 4);
    memcpy(ip + 16, (const uint8_t[4]){10, 0, 0, 1}, 4);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(ip, 20, 0));
    memcpy(ip + 10, &sum, 2);
    return 34 + payload;
}

static const uint8_t peer_address[4] = {10, 0, 0, 9};

// Sums and sends the segment of `len` bytes that lies behind the headers of `f`.
static void finish(struct fuzz *z, struct script *s, uint8_t *f, uint32_t len,
                   const uint8_t from[4])
{
    uint8_t *tcp = f + 34;
    uint8_t pseudo[12] = {0, 0, 0, 0, 10, 0, 0, 1, 0, 6, (uint8_t)(len >> 8), (uint8_t)len};
    memcpy(pseudo, from, 4);
    memset(tcp + 16, 0, 2);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(tcp, len, net_sum(pseudo, 12, 0)));
    memcpy(tcp + 16, &sum, 2);
    receive(z, s, f, headers(f, len, 6, from));
}

// SYNs from elsewhere with the options of common stacks: they fill the queue, and then there are
// cookies.
static void flood(struct fuzz *z, struct script *s)
{
    static const uint8_t options[20] = {2, 4, 5, 180, 4, 2, 8, 10, 0, 0,
                                        3, 0, 0, 0,   0, 0, 1, 3,  3, 7};
    for (uint32_t n = 1 + take(s, 1) % 8; n; n--) {
        uint8_t f[FRAME_MAX] = {0}, *tcp = f + 34, from[4] = {192, 0, 2, (uint8_t)take(s, 1)};
        uint32_t kind = take(s, 1), header = kind & 1 ? 40 : kind & 2 ? 24 : 20;
        put16(tcp, 5000 + (kind >> 4));
        put16(tcp + 2, PORT);
        put32(tcp + 4, take(s, 2));
        tcp[12] = (uint8_t)(header << 2);
        tcp[13] = kind & 4 ? 0xc2 : 2;
        put16(tcp + 14, 65535);
        memcpy(tcp + 20, options, header - 20);
        finish(z, s, f, header, from);
    }
}

static void segment(struct fuzz *z, struct script *s)
{
    static const int32_t near[] = {0,  0,  0,    0,     0,      0,       0,          1,
                                   -1, 10, 1460, 65535, -65536, 1 << 30, -(1 << 30), INT32_MIN};
    static const uint8_t usual[] = {0x10, 0x18, 0x10, 0x18, 0x10, 0x11, 0x02, 0x04};
    uint8_t f[FRAME_MAX] = {0}, *tcp = f + 34;
    uint32_t kind = take(s, 2);
    uint8_t flags = kind & 0x700 ? usual[kind >> 11 & 7] : (uint8_t)take(s, 1);
    bool live = z->port && kind & 0x3 && !(flags & 2);
    put16(tcp, live ? z->peer_port : 4000 + take(s, 1) % 8);
    put16(tcp + 2, live ? z->port : PORT);
    put32(tcp + 4, z->seq + (uint32_t)near[take(s, 1) % 16]);
    put32(tcp + 8, z->ack + (uint32_t)near[take(s, 1) % 16]);
    tcp[13] = flags;
    put16(tcp + 14, take(s, 1) << (take(s, 1) % 9));
    uint32_t header = 20;
    if ((kind & 12) == 12) { // options as they come
        header += take(s, 1) % 11 * 4;
        for (uint32_t i = 20; i < header; i++)
            tcp[i] = (uint8_t)take(s, 1);
    } else if (kind & 8) { // timestamps
        memcpy(tcp + 20, (const uint8_t[4]){1, 1, 8, 10}, 4);
        z->stamp += (uint32_t)near[take(s, 1) % 9];
        put32(tcp + 24, z->stamp);
        put32(tcp + 28, z->echo);
        header += 12;
    } else if (flags & 2) {
        memcpy(tcp + 20, (const uint8_t[8]){2, 4, 5, 180, 1, 3, 3, 7}, 8);
        header += 8;
    }
    tcp[12] = (uint8_t)(header << 2);
    uint32_t payload = kind & 16 ? take(s, 2) % 1400 : take(s, 1) % 20;
    for (uint32_t i = 0; i < payload; i++)
        tcp[header + i] = (uint8_t)i;
    if (kind & 32 && (kind & 64)) // and sometimes a byte that is not what it was
        tcp[take(s, 1) % header] ^= (uint8_t)take(s, 1);
    uint32_t len = header + payload;
    finish(z, s, f, len, live ? z->peer : peer_address);
}

static void raw(struct fuzz *z, struct script *s)
{
    static const uint8_t arp[] = {0, 1, 8, 0, 6, 4};
    uint8_t f[FRAME_MAX];
    uint32_t kind = take(s, 1), len = take(s, 1) + (kind & 1 ? 60 : 0);
    for (uint32_t i = 0; i < len; i++)
        f[i] = (uint8_t)take(s, 1);
    if (kind & 2 && len >= 14)
        memcpy(f, (const uint8_t[6]){2, 0, 0, 0, 0, 1}, 6);
    if (kind & 4 && len >= 42) {
        put16(f + 12, 0x0806);
        memcpy(f + 14, arp, 6);
        put16(f + 20, 1 + (kind >> 7));
        memcpy(f + 28, (const uint8_t[3]){10, 0, 0}, 3);
        memcpy(f + 38, (const uint8_t[4]){10, 0, 0, 1}, 4);
    } else if (kind & 8 && len > 42) { // right IP header, anything inside
        uint8_t protocol = kind & 16 ? 1 : kind & 32 ? 6 : f[23];
        headers(f, len - 34, protocol, peer_address);
        if (protocol == 1) {
            f[34] = kind & 64 ? 3 : 8;
            memset(f + 36, 0, 2);
            uint16_t sum = (uint16_t)~net_sum_fold(net_sum(f + 34, len - 34, 0));
            memcpy(f + 36, &sum, 2);
        }
    }
    receive(z, s, f, len);
}

static void act(struct fuzz *z, struct script *s)
{
    uint32_t what = take(s, 1);
    struct stream *stream = z->streams[take(s, 1) % 4];
    if (what % 16 == 15) {
        struct endpoint to = {.family = 4, .port = 4001, .addr = {10, 0, 0, 9}};
        int error;
        struct stream *made = net_connect(z->net, &to, &error);
        for (unsigned k = 0; made && k < STREAMS_MAX; k++)
            if (!z->streams[k]) {
                z->streams[k] = made;
                break;
            }
        return;
    }
    if (!stream)
        return;
    static uint8_t bytes[70000];
    switch (what % 16) {
    case 0:
        stream->ops->close(stream);
        break;
    case 1:
        stream->ops->abort(stream);
        break;
    case 2:
        stream->ops->keepalive(stream, take(s, 1) % 3);
        break;
    case 3:
    case 4:
        out_write(&stream->out, bytes, take(s, 2));
        break;
    case 5: {
        struct stream_info info;
        stream->ops->info(stream, &info);
        break;
    }
    case 6:
    case 7:
    case 8:
        out_write(&stream->out, bytes, take(s, 1));
        stream->ops->push(stream);
        break;
    default:
        while (stream->in_len) {
            uint32_t n = 1 + take(s, 1) * 16;
            stream_consume(stream, n < stream->in_len ? n : stream->in_len);
            if (what & 64)
                break;
        }
    }
}

// What inputs that were made at random must have reached in all, or they are not worth their time.
static struct net_counters seen;

static void reached(const struct net_counters *n)
{
    seen.tcp_cookies_sent += n->tcp_cookies_sent;
    seen.tcp_cookies_accepted += n->tcp_cookies_accepted;
    seen.tcp_cookies_failed += n->tcp_cookies_failed;
    seen.tcp_half_open_timeout += n->tcp_half_open_timeout;
    seen.tcp_accepted += n->tcp_accepted;
    seen.tcp_challenge_ack += n->tcp_challenge_ack;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = {.p = data, .left = size};
    struct fuzz z = {.now_us = 1000000, .seq = 1};
    struct net_config c = {.mac = {2, 0, 0, 0, 0, 1},
                           .mtu = 1500,
                           .n_addresses = 1,
                           .addresses = {{.family = 4, .prefix = 24, .addr = {10, 0, 0, 1}}},
                           .gateway = {.family = 4, .addr = {10, 0, 0, 9}},
                           .connections_max = 64,
                           .orphans_max = 8,
                           .send_memory_max = 500000,
                           .half_open_max = 8,
                           .time_wait_max = 8,
                           .receive_buffer_max = 16384,
                           .receive_memory_max = 65536,
                           .user_timeout_ms = 5000};
    wire_pool_init(&z.pool, 1600, take(&s, 1) % 4 ? 1000 : 30);
    char error[100];
    z.net = net_create(&c, &z.pool.pool, z.now_us, error, sizeof(error));
    assert(z.net);
    net_listen(z.net, PORT, 4);
    // The stack knows its neighbour, and one connection stands.
    static const uint8_t arp[42] = {2,  0, 0, 0, 0, 1, 2, 0, 0, 0, 0,  9, 8, 6,
                                    0,  1, 8, 0, 6, 4, 0, 1, 2, 0, 0,  0, 0, 9,
                                    10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1};
    receive(&z, &s, arp, sizeof(arp));
    static const uint8_t syn[] = {0, 9, 0x37, 0, 0, 0, 255, 0, 0}, ack[] = {8, 1, 0, 0, 255, 0, 0};
    z.stamp = 1000;
    for (int i = 0; i < 2; i++) {
        struct script opening = {.p = i ? ack : syn, .left = i ? sizeof(ack) : sizeof(syn)};
        segment(&z, &opening);
        turn(&z, &s);
    }
    while (s.left) {
        uint32_t what = take(&s, 1) % 32;
        if (what == 0)
            raw(&z, &s);
        else if (what == 1)
            flood(&z, &s);
        else if (what < 14)
            segment(&z, &s);
        else if (what < 22)
            act(&z, &s);
        else
            turn(&z, &s);
        if (what >= 29)
            z.now_us += (uint64_t)take(&s, 1) << (take(&s, 1) % 20);
        assert(net_memory(z.net) < 10000000);
    }
    turn(&z, &s);
    reached(net_counters(z.net));
    net_destroy(z.net);
    assert(z.pool.taken == 0);
    wire_pool_free(&z.pool);
    return 0;
}

#ifndef FUZZ_LIBFUZZER
int main(int argc, char **argv)
{
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    static uint8_t input[8192];
    for (uint64_t i = 0; i < rounds; i++, seed++) {
        struct wire_rng rng;
        wire_seed(&rng, seed);
        size_t size = wire_random(&rng) % sizeof(input);
        for (size_t k = 0; k < size; k++)
            input[k] = (uint8_t)(wire_random(&rng) >> 20);
        if (argc > 3)
            printf("seed %llu\n", (unsigned long long)seed);
        LLVMFuzzerTestOneInput(input, size);
    }
    printf(
        "%llu inputs: %llu connections; cookies %llu sent, %llu accepted, %llu failed; half open "
        "too long %llu; challenges %llu\n",
        (unsigned long long)rounds, (unsigned long long)seen.tcp_accepted,
        (unsigned long long)seen.tcp_cookies_sent, (unsigned long long)seen.tcp_cookies_accepted,
        (unsigned long long)seen.tcp_cookies_failed, (unsigned long long)seen.tcp_half_open_timeout,
        (unsigned long long)seen.tcp_challenge_ack);
    return rounds >= 1000 &&
           !(seen.tcp_cookies_sent && seen.tcp_cookies_accepted && seen.tcp_cookies_failed &&
             seen.tcp_half_open_timeout && seen.tcp_challenge_ack);
}
#endif
