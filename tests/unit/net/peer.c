#include "tests/unit/net/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/offload.h"

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t our_ip[4] = {10, 0, 0, 1}, peer_ip_address[4] = {10, 0, 0, 9};

static void peer_arp(struct peer *p, uint8_t operation)
{
    uint8_t arp[42] = {0};
    memcpy(arp, our_mac, 6);
    memcpy(arp + 6, peer_mac, 6);
    memcpy(arp + 12, (const uint8_t[9]){8, 6, 0, 1, 8, 0, 6, 4, 0}, 9);
    arp[21] = operation;
    memcpy(arp + 22, peer_mac, 6);
    memcpy(arp + 28, peer_ip_address, 4);
    memcpy(arp + 32, our_mac, 6);
    memcpy(arp + 38, our_ip, 4);
    peer_raw(p, arp, sizeof(arp));
}

void peer_start(struct peer *p, const struct net_config *config)
{
    *p = (struct peer){
        .now_us = 5000000, .port = OUR_PORT, .peer_port = PEER_PORT, .seq = 1000, .wnd = 65000};
    if (config)
        p->config = *config;
    memcpy(p->from, peer_ip_address, 4);
    memcpy(p->config.mac, our_mac, 6);
    if (!p->config.mtu)
        p->config.mtu = 1500;
    p->config.n_addresses = 1;
    p->config.addresses[0] = (struct net_address){.family = 4, .prefix = 24, .addr = {10, 0, 0, 1}};
    p->config.seed = 7;
    wire_pool_init(&p->pool, p->config.offloads & NET_TX_TSO ? WIRE_TSO_BYTES : 2048, 4096);
    char error[128];
    p->net = net_create(&p->config, &p->pool.pool, p->now_us, error, sizeof(error));
    assert_non_null(p->net);
    peer_arp(p, 1);
    peer_turn(p);
    p->n_out = 0;
}

void peer_stop(struct peer *p)
{
    if (p->stream && (p->events & STREAM_CLOSED))
        p->stream->ops->release(p->stream);
    net_destroy(p->net);
    for (unsigned i = 0; i < p->n_rx; i++)
        free(p->rx[i].data);
    assert_int_equal(p->pool.taken, 0);
    wire_pool_free(&p->pool);
}

void peer_raw(struct peer *p, const uint8_t *data, uint32_t len)
{
    assert_true(p->n_rx < PEER_OUT_MAX);
    struct frame *f = &p->rx[p->n_rx++];
    *f = (struct frame){.len = len, .size = len};
    // Exactly as long as the frame: what reads behind it is found by the sanitizer.
    f->data = f->buffer = malloc(len ? len : 1);
    if (len)
        memcpy(f->data, data, len);
    if (!p->held && !p->gather)
        net_input(p->net, &f, 1, p->now_us);
}

void peer_ip(struct peer *p, uint8_t protocol, const uint8_t *l4, uint32_t len)
{
    uint8_t frame[4096];
    uint8_t *ip = frame + 14;
    memcpy(frame, our_mac, 6);
    memcpy(frame + 6, peer_mac, 6);
    store_be16(frame + 12, ETHERTYPE_IPV4);
    memset(ip, 0, 20);
    ip[0] = 0x45;
    store_be16(ip + 2, (uint16_t)(20 + len));
    ip[8] = 64;
    ip[9] = protocol;
    memcpy(ip + 12, p->from, 4);
    memcpy(ip + 16, our_ip, 4);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(ip, 20, 0));
    memcpy(ip + 10, &sum, 2);
    memcpy(ip + 20, l4, len);
    peer_raw(p, frame, 34 + len);
}

static uint16_t tcp_sum(const uint8_t *ip, const uint8_t *tcp, uint32_t len)
{
    uint8_t pseudo[12] = {0};
    memcpy(pseudo, ip + 12, 8);
    pseudo[9] = PROTOCOL_TCP;
    store_be16(pseudo + 10, (uint16_t)len);
    return net_sum_fold(net_sum(tcp, len, net_sum(pseudo, 12, 0)));
}

void peer_send_at(struct peer *p, uint8_t flags, uint32_t seq, uint32_t ack, const void *data,
                  uint32_t len)
{
    uint8_t tcp[2048] = {0}, ip[20] = {0};
    uint32_t header = 20;
    store_be16(tcp, p->peer_port);
    store_be16(tcp + 2, p->port);
    store_be32(tcp + 4, seq);
    store_be32(tcp + 8, flags & TH_ACK ? ack : 0);
    if (p->options) {
        memcpy(tcp + 20, p->options, p->options_len);
        header += p->options_len;
    } else if (p->ts) {
        store_be32(tcp + 20, 0x0101080a);
        store_be32(tcp + 24, p->ts);
        store_be32(tcp + 28, p->ts_echo);
        header += 12;
    }
    p->options = NULL;
    tcp[12] = (uint8_t)(header << 2);
    tcp[13] = flags;
    store_be16(tcp + 14, p->wnd);
    if (len)
        memcpy(tcp + header, data, len);
    memcpy(ip + 12, p->from, 4);
    memcpy(ip + 16, our_ip, 4);
    uint16_t sum = (uint16_t)~tcp_sum(ip, tcp, header + len);
    memcpy(tcp + 16, &sum, 2);
    peer_ip(p, PROTOCOL_TCP, tcp, header + len);
}

void peer_send(struct peer *p, uint8_t flags, const void *data, uint32_t len)
{
    peer_send_at(p, flags, p->seq, p->ack, data, len);
    p->seq += len + !!(flags & TH_SYN) + !!(flags & TH_FIN);
}

static void peer_collect(void *context, const uint8_t *data, uint32_t frame_len)
{
    struct peer *p = context;
    assert_true(p->n_out < PEER_OUT_MAX && frame_len <= sizeof(p->out[0].raw));
    struct peer_segment *s = &p->out[p->n_out++];
    *s = (struct peer_segment){.raw_len = frame_len};
    memcpy(s->raw, data, frame_len);
    assert_memory_equal(s->raw + 6, our_mac, 6);
    s->type = load_be16(s->raw + 12);
    if (s->type == ETHERTYPE_ARP && s->raw[21] == 1 &&
        memcmp(s->raw + 38, peer_ip_address, 4) == 0) {
        p->n_out--; // answered at once; no test is about this
        p->arp_asked = true;
        return;
    }
    if (s->type != ETHERTYPE_IPV4)
        return;
    const uint8_t *ip = s->raw + 14, *tcp = ip + 20;
    uint32_t len = load_be16(ip + 2) - 20u;
    assert_int_equal(frame_len, 34 + len);
    s->sums_good = net_sum_fold(net_sum(ip, 20, 0)) == 0xffff;
    if (ip[9] != PROTOCOL_TCP)
        return;
    s->sums_good = s->sums_good && tcp_sum(ip, tcp, len) == 0xffff;
    s->tcp = true;
    s->src_port = load_be16(tcp);
    s->dst_port = load_be16(tcp + 2);
    s->seq = load_be32(tcp + 4);
    s->ack = load_be32(tcp + 8);
    s->flags = tcp[13];
    s->wnd = load_be16(tcp + 14);
    uint32_t header = (tcp[12] >> 4) * 4u;
    s->data = tcp + header;
    s->len = len - header;
    assert_true(tcp_options_parse(tcp + 20, header - 20, &s->options));
    if (s->options.has_stamp)
        p->ts_echo = s->options.ts_value;
}

void peer_turn(struct peer *p)
{
    if (p->gather) {
        struct frame *burst[PEER_OUT_MAX];
        for (unsigned i = 0; i < p->n_rx; i++)
            burst[i] = &p->rx[i];
        net_input(p->net, burst, p->n_rx, p->now_us);
    }
    struct stream *ready[16];
    unsigned n = net_ready(p->net, ready, 16);
    for (unsigned i = 0; i < n; i++) {
        if (ready[i]->events & STREAM_ACCEPTED) {
            p->stream = ready[i];
            p->events = 0;
        }
        if (ready[i] == p->stream)
            p->events |= ready[i]->events;
        ready[i]->events = 0;
    }
    net_advance(p->net, p->now_us);
    struct frame **out;
    unsigned count = net_output(p->net, &out);
    for (unsigned i = 0; i < count; i++) {
        p->n_frames++;
        offload_send(out[i], peer_collect, p);
        if (!(out[i]->flags & FRAME_KEEP))
            out[i]->pool->release(out[i]->pool, &out[i], 1);
    }
    net_sent(p->net, count);
    net_turn_end(p->net);
    for (unsigned i = 0; i < p->n_rx; i++)
        free(p->rx[i].data);
    p->n_rx = 0;
    if (p->arp_asked) {
        p->arp_asked = false;
        peer_arp(p, 2);
        peer_turn(p);
    }
}

void peer_wait(struct peer *p, uint64_t us)
{
    uint64_t until = p->now_us + us;
    p->n_out = 0;
    for (uint64_t next; (next = net_next_timer(p->net)) <= until;) {
        if (next > p->now_us)
            p->now_us = next;
        peer_turn(p);
    }
    p->now_us = until;
    peer_turn(p);
}

struct peer_segment *peer_only(struct peer *p)
{
    p->n_out = 0;
    peer_turn(p);
    assert_int_equal(p->n_out, 1);
    assert_true(p->out[0].sums_good);
    return &p->out[0];
}

void peer_none(struct peer *p)
{
    p->n_out = 0;
    peer_turn(p);
    assert_int_equal(p->n_out, 0);
}

void peer_send_sack(struct peer *p, uint32_t ack, unsigned n, const uint32_t blocks[][2])
{
    uint8_t options[40];
    uint32_t at = 0;
    if (p->ts) {
        store_be32(options, 0x0101080a);
        store_be32(options + 4, p->ts);
        store_be32(options + 8, p->ts_echo);
        at = 12;
    }
    memcpy(options + at, (const uint8_t[4]){1, 1, 5, (uint8_t)(2 + 8 * n)}, 4);
    at += 4;
    for (unsigned i = 0; i < n; i++) {
        store_be32(options + at, blocks[i][0]);
        store_be32(options + at + 4, blocks[i][1]);
        at += 8;
    }
    assert_true(at <= sizeof(options));
    if (n) {
        p->options = options;
        p->options_len = at;
    }
    peer_send_at(p, TH_ACK, p->seq, ack, NULL, 0);
}

uint32_t peer_syn_options(struct peer *p, uint8_t *to, uint16_t mss, uint8_t scale)
{
    uint32_t n = 0;
    to[n++] = 2;
    to[n++] = 4;
    store_be16(to + n, mss);
    n += 2;
    if (p->sack) {
        memcpy(to + n, (const uint8_t[4]){1, 1, 4, 2}, 4);
        n += 4;
    }
    if (p->ts) {
        memcpy(to + n, (const uint8_t[4]){1, 1, 8, 10}, 4);
        store_be32(to + n + 4, p->ts);
        store_be32(to + n + 8, p->ts_echo);
        n += 12;
    }
    if (scale != 0xff) {
        memcpy(to + n, (const uint8_t[4]){1, 3, 3, scale}, 4);
        n += 4;
    }
    return n;
}

void peer_open(struct peer *p)
{
    int listening = net_listen(p->net, p->port, 128);
    assert_true(listening == 0 || listening == -98);
    uint8_t options[40];
    p->options_len = peer_syn_options(p, options, 1460, 7);
    p->options = options;
    peer_send(p, TH_SYN, NULL, 0);
    struct peer_segment *s = peer_only(p);
    assert_int_equal(s->flags, TH_SYN | TH_ACK);
    assert_int_equal(s->ack, p->seq);
    p->ack = s->seq + 1;
    p->stream = NULL;
    peer_send(p, TH_ACK, NULL, 0);
    peer_none(p);
    assert_non_null(p->stream);
    assert_int_equal(p->events, STREAM_ACCEPTED);
}

const struct net_counters *peer_count(struct peer *p)
{
    return net_counters(p->net);
}
