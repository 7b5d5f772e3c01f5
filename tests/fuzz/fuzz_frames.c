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
    bool v6; // segments are IPv6's; peers have IPv4's addresses behind fd00::
};

static const uint8_t our_ip6[16] = {0xfd, [15] = 1}, peer_ip6[16] = {0xfd, [12] = 10, [15] = 9};

static uint32_t l4_at(const struct fuzz *z)
{
    return z->v6 ? 54 : 34;
}

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
        bool is6 = p[12] == 0x86 && p[13] == 0xdd;
        if (is6 == z->v6 && (is6 || p[12] == 8) && p[is6 ? 20 : 23] == 6 && p[13] != 6) {
            const uint8_t *tcp = p + l4_at(z); // what the stack says tells where it stands
            uint32_t seq = (uint32_t)tcp[4] << 24 | tcp[5] << 16 | tcp[6] << 8 | tcp[7],
                     ack = (uint32_t)tcp[8] << 24 | tcp[9] << 16 | tcp[10] << 8 | tcp[11];
            if (!(tcp[13] & 4)) {
                z->ack = seq + ((tcp[13] & 2) != 0);
                z->seq = ack;
                z->port = (uint16_t)(tcp[0] << 8 | tcp[1]);
                z->peer_port = (uint16_t)(tcp[2] << 8 | tcp[3]);
                memcpy(z->peer, tcp - 4, 4);
                for (unsigned at = 20; at + 8 <= (tcp[12] >> 4) * 4u; at++)
                    if (tcp[at] == 8 && tcp[at + 1] == 10) { // timestamps are echoed
                        z->echo = (uint32_t)tcp[at + 2] << 24 | tcp[at + 3] << 16 |
                                  tcp[at + 4] << 8 | tcp[at + 5];
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

// Puts Ethernet's and IPv6's headers before the payload at f + 54.
static uint32_t headers6(uint8_t *f, const uint8_t *src, const uint8_t *dst, uint32_t payload,
                         uint8_t next, uint8_t hop_limit)
{
    static const uint8_t start[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd};
    memcpy(f, start, 14);
    if (dst[0] == 0xff)
        memcpy(f, (const uint8_t[6]){0x33, 0x33, dst[12], dst[13], dst[14], dst[15]}, 6);
    uint8_t *ip = f + 14;
    put32(ip, 0x60000000);
    put16(ip + 4, payload);
    ip[6] = next;
    ip[7] = hop_limit;
    memcpy(ip + 8, src, 16);
    memcpy(ip + 24, dst, 16);
    return 54 + payload;
}

static void set_sum6(const uint8_t *src, const uint8_t *dst, uint8_t protocol, uint8_t *l4,
                     uint32_t at, uint32_t len)
{
    uint8_t pseudo[40] = {0};
    memcpy(pseudo, src, 16);
    memcpy(pseudo + 16, dst, 16);
    put32(pseudo + 32, len);
    pseudo[39] = protocol;
    memset(l4 + at, 0, 2);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(l4, len, net_sum(pseudo, 40, 0)));
    memcpy(l4 + at, &sum, 2);
}

static const uint8_t peer_address[4] = {10, 0, 0, 9};

// Sums and sends the segment of `len` bytes that lies behind the headers of `f`.
static void finish(struct fuzz *z, struct script *s, uint8_t *f, uint32_t len,
                   const uint8_t from[4])
{
    uint8_t *tcp = f + l4_at(z);
    if (z->v6) {
        uint8_t src[16] = {0xfd};
        memcpy(src + 12, from, 4);
        set_sum6(src, our_ip6, 6, tcp, 16, len);
        receive(z, s, f, headers6(f, src, our_ip6, len, 6, 64));
        return;
    }
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
        uint8_t f[FRAME_MAX] = {0}, *tcp = f + l4_at(z), from[4] = {192, 0, 2, (uint8_t)take(s, 1)};
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

// ICMPv6 that looks right from outside, behind extension headers or not.
static void six(struct fuzz *z, struct script *s)
{
    static const uint8_t sources[4][16] = {
        {0xfd, [12] = 10, [15] = 9}, {0xfe, 0x80, [15] = 9}, {0}, {0xfd, [15] = 1}};
    static const uint8_t targets[4][16] = {{0xfd, [15] = 1},
                                           {0xff, 2, [15] = 1},
                                           {0xff, 2, [11] = 1, [12] = 0xff, [15] = 1},
                                           {0xfd, [12] = 10, [15] = 9}};
    static const uint8_t types[16] = {134, 135, 136, 134, 135, 136, 130, 128,
                                      137, 1,   2,   3,   4,   133, 143, 129};
    static const uint8_t extensions[4] = {0, 60, 43, 44};
    uint8_t f[FRAME_MAX] = {0}, *at = f + 54, first = 58, *next = &first;
    uint32_t kind = take(s, 2);
    const uint8_t *src = sources[kind & 3], *dst = targets[kind >> 2 & 3];
    for (uint32_t n = kind >> 4 & 3; n && (kind & 0x4000); n--) {
        uint32_t how = take(s, 1), size = 8 + 8 * (how >> 2 & 1);
        *next = extensions[how & 3];
        next = at;
        at[0] = 58;
        at[1] = (uint8_t)(how & 0x80 ? take(s, 1) : size / 8 - 1);
        for (uint32_t i = 2; i < size; i++)
            at[i] = how & 0x40 ? (uint8_t)take(s, 1) : (uint8_t)(i == 3 ? size - 4 : i == 2);
        at += size;
    }
    uint8_t *icmp = at;
    uint32_t len = 8 + take(s, 1) % 120;
    icmp[0] = types[kind >> 6 & 15];
    for (uint32_t i = 4; i < len; i++)
        icmp[i] = (uint8_t)take(s, 1);
    bool about_address = icmp[0] == 135 || icmp[0] == 136;
    if (about_address && len >= 24 && (kind & 0x400))
        memcpy(icmp + 8, targets[kind >> 11 & 3], 16);
    uint32_t options = about_address ? 24 : 16;
    if ((kind & 0x2000) && len >= options + 8) { // one option that is right
        len = options + 8 * (1 + icmp[options + 1] % 4) <= len
                  ? options + 8 * (1 + icmp[options + 1] % 4)
                  : options + 8;
        icmp[options] &= 7;
        icmp[options + 1] = (uint8_t)((len - options) / 8);
    }
    if (icmp[0] < 5 && len >= 68 && (kind & 0x2000)) { // quotes a segment of ours
        memset(icmp + 8, 0, 48);
        icmp[8] = 0x60;
        icmp[14] = 6;
        memcpy(icmp + 16, our_ip6, 16);
        memcpy(icmp + 32, peer_ip6, 16);
        put16(icmp + 48, z->port);
        put16(icmp + 50, z->peer_port);
        put32(icmp + 52, z->ack - 1);
    }
    set_sum6(src, dst, 58, icmp, 2, len);
    receive(z, s, f,
            headers6(f, src, dst, (uint32_t)(icmp - (f + 54)) + len, first,
                     kind & 0x8000 ? (uint8_t)(icmp[0] == 130 ? 1 : 64) : 255));
}

static void segment(struct fuzz *z, struct script *s)
{
    static const int32_t near[] = {0,  0,  0,    0,     0,      0,       0,          1,
                                   -1, 10, 1460, 65535, -65536, 1 << 30, -(1 << 30), INT32_MIN};
    static const uint8_t usual[] = {0x10, 0x18, 0x10, 0x18, 0x10, 0x11, 0x02, 0x04};
    uint8_t f[FRAME_MAX] = {0}, *tcp = f + l4_at(z);
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
        if (z->v6) {
            to.family = 6;
            memcpy(to.addr, what & 16 ? our_ip6 : peer_ip6, 16);
            to.addr[0] = what & 32 ? 0x20 : 0xfd; // by way of a router, if there is one
        }
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
                           .n_addresses = 2,
                           .addresses = {{.family = 4, .prefix = 24, .addr = {10, 0, 0, 1}},
                                         {.family = 6, .prefix = 64, .addr = {0xfd, [15] = 1}}},
                           .router_advertisements = true,
                           .gateway = {.family = 4, .addr = {10, 0, 0, 9}},
                           .connections_max = 64,
                           .orphans_max = 8,
                           .send_memory_max = 500000,
                           .half_open_max = 8,
                           .time_wait_max = 8,
                           .receive_buffer_max = 16384,
                           .receive_memory_max = 65536,
                           .user_timeout_ms = 5000};
    uint32_t first = take(&s, 1);
    z.v6 = first & 128;
    c.duplicate_probes = (first & 96) == 96;
    wire_pool_init(&z.pool, 1600, first % 4 ? 1000 : 30);
    char error[100];
    z.net = net_create(&c, &z.pool.pool, z.now_us, error, sizeof(error));
    assert(z.net);
    net_listen(z.net, PORT, 4);
    // The stack knows its neighbour, and one connection stands.
    static const uint8_t arp[42] = {2,  0, 0, 0, 0, 1, 2, 0, 0, 0, 0,  9, 8, 6,
                                    0,  1, 8, 0, 6, 4, 0, 1, 2, 0, 0,  0, 0, 9,
                                    10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1};
    receive(&z, &s, arp, sizeof(arp));
    uint8_t ns[86] = {0}, *message = ns + 54;
    message[0] = 135;
    memcpy(message + 8, our_ip6, 16);
    memcpy(message + 24, (const uint8_t[8]){1, 1, 2, 0, 0, 0, 0, 9}, 8);
    set_sum6(peer_ip6, our_ip6, 58, message, 2, 32);
    receive(&z, &s, ns, headers6(ns, peer_ip6, our_ip6, 32, 58, 255));
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
        else if (what < 4)
            six(&z, &s);
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
