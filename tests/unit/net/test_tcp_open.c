// Opening connections: both ways, at once, what is negotiated, what is refused, and how many may be
// half open.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/net/peer.h"

static void test_passive(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    p.ts = 777;
    assert_int_equal(net_listen(p.net, OUR_PORT, 5), 0);
    assert_true(net_listen(p.net, OUR_PORT, 5) < 0);
    uint8_t options[40];
    p.options_len = peer_syn_options(&p, options, 1460, 9);
    p.options = options;
    peer_send(&p, TH_SYN, NULL, 0);
    struct peer_segment *s = peer_only(&p);
    assert_int_equal(s->flags, TH_SYN | TH_ACK);
    assert_true(s->options.has_mss && s->options.mss == 1460 && s->options.has_scale &&
                s->options.has_stamp && s->options.ts_echo == 777);
    assert_null(p.stream); // not before the handshake is over
    p.ack = s->seq + 1;
    peer_send(&p, TH_ACK | TH_PSH, "hello", 5);
    peer_turn(&p);
    assert_int_equal(p.events, STREAM_ACCEPTED | STREAM_READABLE);
    assert_int_equal(p.stream->in_len, 5);
    struct stream_info info;
    p.stream->ops->info(p.stream, &info);
    assert_string_equal(info.state, "ESTABLISHED");
    assert_int_equal(info.mss, 1448);
    assert_int_equal(info.snd_wnd, 65000u << 9);
    assert_int_equal(info.remote.port, PEER_PORT);
    peer_stop(&p);
}

// What was not offered is not used: no scale, no timestamps, the default MSS.
static void test_plain(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    net_listen(p.net, OUR_PORT, 5);
    peer_send(&p, TH_SYN, NULL, 0);
    struct peer_segment *s = peer_only(&p);
    assert_false(s->options.has_stamp || s->options.has_scale || s->options.has_sack);
    assert_true(s->wnd == 65535);
    p.ack = s->seq + 1;
    peer_send(&p, TH_ACK, NULL, 0);
    peer_none(&p);
    struct stream_info info;
    p.stream->ops->info(p.stream, &info);
    assert_int_equal(info.mss, 536);
    assert_int_equal(info.snd_wnd, 65000);
    static uint8_t big[5000];
    out_write(&p.stream->out, big, sizeof(big));
    p.stream->ops->push(p.stream);
    p.n_out = 0;
    peer_turn(&p);
    for (unsigned i = 0; i < p.n_out; i++)
        assert_true(p.out[i].len <= 536 && !p.out[i].options.has_stamp);
    assert_true(p.n_out >= 9);
    peer_stop(&p);
}

static struct stream *connect_out(struct peer *p)
{
    struct endpoint to = {.family = 4, .port = PEER_PORT, .addr = {10, 0, 0, 9}};
    int error;
    struct stream *s = net_connect(p->net, &to, &error);
    assert_non_null(s);
    p->stream = s;
    p->events = 0;
    struct peer_segment *syn = peer_only(p);
    assert_int_equal(syn->flags, TH_SYN);
    assert_int_equal(syn->dst_port, PEER_PORT);
    p->port = syn->src_port;
    p->ack = syn->seq + 1;
    return s;
}

static void test_active(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    struct stream *s = connect_out(&p);
    assert_true(p.out[0].options.has_mss && p.out[0].options.has_scale &&
                p.out[0].options.has_stamp);
    out_write(&s->out, "early", 5); // goes with the first acknowledgement
    s->ops->push(s);
    peer_none(&p);
    peer_send(&p, TH_SYN | TH_ACK, NULL, 0);
    struct peer_segment *r = peer_only(&p);
    assert_int_equal(p.events, STREAM_CONNECTED);
    assert_int_equal(r->len, 5);
    assert_int_equal(r->ack, p.seq);
    assert_memory_equal(r->data, "early", 5);
    peer_stop(&p);
}

static void test_active_refused(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    struct stream *s = connect_out(&p);
    // A wrong acknowledgement is answered with a reset and changes nothing; nor does its own reset.
    peer_send_at(&p, TH_SYN | TH_ACK, p.seq, p.ack + 1, NULL, 0);
    struct peer_segment *r = peer_only(&p);
    assert_int_equal(r->flags, TH_RST);
    assert_int_equal(r->seq, p.ack + 1);
    peer_send_at(&p, TH_RST | TH_ACK, p.seq, p.ack + 1, NULL, 0);
    peer_send_at(&p, TH_RST, p.seq, 0, NULL, 0);
    peer_none(&p);
    assert_int_equal(p.events, 0);
    peer_send_at(&p, TH_RST | TH_ACK, 0, p.ack, NULL, 0);
    peer_none(&p);
    assert_int_equal(p.events, STREAM_CLOSED);
    assert_int_equal(s->error, STREAM_REFUSED);
    peer_stop(&p);
}

static void test_active_silence(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    struct stream *s = connect_out(&p);
    peer_wait(&p, 200000000ull);
    unsigned syns = 0;
    for (unsigned i = 0; i < p.n_out; i++)
        syns += p.out[i].tcp && p.out[i].flags == TH_SYN && p.out[i].seq == p.ack - 1;
    assert_int_equal(syns, 6);
    assert_int_equal(p.events, STREAM_CLOSED);
    assert_int_equal(s->error, STREAM_TIMED_OUT);
    peer_stop(&p);
}

static void test_simultaneous(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    connect_out(&p);
    uint32_t iss = p.ack - 1;
    peer_send(&p, TH_SYN, NULL, 0);
    struct peer_segment *r = peer_only(&p);
    assert_int_equal(r->flags, TH_SYN | TH_ACK);
    assert_int_equal(r->seq, iss);
    assert_int_equal(r->ack, p.seq);
    assert_int_equal(p.events, 0);
    peer_send_at(&p, TH_SYN | TH_ACK, p.seq - 1, p.ack, NULL, 0); // its answer to our SYN
    peer_none(&p);                                                // and no answer to the answer
    assert_int_equal(p.events, STREAM_CONNECTED);
    out_write(&p.stream->out, "x", 1);
    p.stream->ops->push(p.stream);
    r = peer_only(&p);
    assert_true(r->len == 1 && r->seq == iss + 1);
    peer_stop(&p);
}

static void test_strangers(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    // No listener: RST with the right numbers (RFC 9293 3.10.7.1).
    peer_send_at(&p, TH_SYN, 500, 0, NULL, 0);
    struct peer_segment *r = peer_only(&p);
    assert_true(r->flags == (TH_RST | TH_ACK) && r->seq == 0 && r->ack == 501);
    peer_send_at(&p, TH_ACK, 500, 9999, "abc", 3);
    r = peer_only(&p);
    assert_true(r->flags == TH_RST && r->seq == 9999);
    peer_send_at(&p, TH_RST, 500, 0, NULL, 0);
    peer_send_at(&p, TH_RST | TH_ACK, 500, 1, NULL, 0);
    peer_none(&p);
    net_listen(p.net, OUR_PORT, 5);
    peer_send_at(&p, TH_ACK, 500, 9999, NULL, 0);
    r = peer_only(&p);
    assert_true(r->flags == TH_RST && r->seq == 9999);
    peer_send_at(&p, TH_SYN | TH_FIN, 500, 0, NULL, 0);
    peer_none(&p);
    peer_send_at(&p, TH_RST | TH_SYN, 500, 0, NULL, 0);
    peer_none(&p);
    peer_send_at(&p, 0, 500, 0, NULL, 0); // no flags at all
    peer_turn(&p);
    assert_int_equal(net_connection_count(p.net), 0);
    peer_stop(&p);
}

static void test_repeated_syn(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    net_listen(p.net, OUR_PORT, 5);
    peer_send_at(&p, TH_SYN, 1000, 0, NULL, 0);
    uint32_t iss = peer_only(&p)->seq;
    peer_send_at(&p, TH_SYN, 1000, 0, NULL, 0);
    struct peer_segment *r = peer_only(&p);
    assert_true(r->flags == (TH_SYN | TH_ACK) && r->seq == iss && r->ack == 1001);
    // A wrong acknowledgement: RST; the connection waits on.
    peer_send_at(&p, TH_ACK, 1001, iss + 2, NULL, 0);
    r = peer_only(&p);
    assert_true(r->flags == TH_RST && r->seq == iss + 2);
    assert_int_equal(net_connection_count(p.net), 1);
    // RST on the half-open connection: gone without a word.
    peer_send_at(&p, TH_RST, 1001, 0, NULL, 0);
    peer_none(&p);
    assert_int_equal(net_connection_count(p.net), 0);
    assert_null(p.stream);
    peer_stop(&p);
}

static void test_half_open_bound(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.half_open_max = 50};
    peer_start(&p, &c);
    net_listen(p.net, OUR_PORT, 40);
    for (int i = 0; i < 5000; i++) {
        p.peer_port = (uint16_t)(10000 + i);
        peer_send_at(&p, TH_SYN, 1, 0, NULL, 0);
        p.n_out = 0;
        peer_turn(&p);
        assert_true(net_connection_count(p.net) <= 40);
        assert_true(p.n_out == 1 && p.out[0].flags == (TH_SYN | TH_ACK));
    }
    assert_int_equal(peer_count(&p)->tcp_cookies_sent, 5000 - 40);
    // An honest client comes through in the middle of it.
    p.peer_port = 9000;
    peer_open(&p);
    assert_non_null(p.stream);
    // The others give up after a while, in silence.
    peer_wait(&p, 60000000);
    assert_int_equal(net_connection_count(p.net), 1);
    assert_int_equal(peer_count(&p)->tcp_half_open_timeout, 40);
    peer_stop(&p);
}

static bool refuse(void *context, const struct endpoint *remote)
{
    *(uint16_t *)context = remote->port;
    return false;
}

static void test_admit(void **state)
{
    (void)state;
    struct peer p;
    uint16_t asked = 0;
    struct net_config c = {.admit = refuse, .context = &asked};
    peer_start(&p, &c);
    net_listen(p.net, OUR_PORT, 5);
    peer_send(&p, TH_SYN, NULL, 0);
    struct peer_segment *s = peer_only(&p);
    assert_int_equal(s->flags, TH_SYN | TH_ACK);
    assert_int_equal(asked, 0);
    p.ack = s->seq + 1;
    peer_send(&p, TH_ACK, NULL, 0);
    s = peer_only(&p);
    assert_true(s->flags == TH_RST && s->seq == p.ack);
    assert_int_equal(asked, PEER_PORT);
    assert_int_equal(net_connection_count(p.net), 0);
    peer_stop(&p);
}

static void test_connections_max(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.connections_max = 3};
    peer_start(&p, &c);
    for (int i = 0; i < 3; i++) {
        p.peer_port = (uint16_t)(5000 + i);
        peer_open(&p);
    }
    p.peer_port = 6000;
    peer_send(&p, TH_SYN, NULL, 0);
    peer_none(&p);
    assert_int_equal(peer_count(&p)->tcp_connections_full, 1);
    peer_stop(&p);
}

// A sender that leaves the sum to its port: told apart from a broken one, believed only on request.
static void test_partial_sum(void **state)
{
    (void)state;
    for (int trust = 0; trust < 2; trust++) {
        struct peer p;
        struct net_config c = {.trust_partial_sums = trust};
        peer_start(&p, &c);
        net_listen(p.net, OUR_PORT, 5);
        uint8_t tcp[20] = {0};
        store_be16(tcp, PEER_PORT);
        store_be16(tcp + 2, OUR_PORT);
        tcp[12] = 0x50;
        tcp[13] = TH_SYN;
        uint8_t pseudo[12] = {10, 0, 0, 9, 10, 0, 0, 1, 0, 6, 0, 20};
        uint16_t sum = net_sum_fold(net_sum(pseudo, 12, 0));
        memcpy(tcp + 16, &sum, 2);
        peer_ip(&p, PROTOCOL_TCP, tcp, 20);
        assert_int_equal(peer_count(&p)->tcp_partial_sum, !trust);
        assert_int_equal(net_connection_count(p.net), trust);
        peer_turn(&p);
        peer_stop(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passive),         cmocka_unit_test(test_plain),
        cmocka_unit_test(test_active),          cmocka_unit_test(test_active_refused),
        cmocka_unit_test(test_active_silence),  cmocka_unit_test(test_simultaneous),
        cmocka_unit_test(test_strangers),       cmocka_unit_test(test_repeated_syn),
        cmocka_unit_test(test_half_open_bound), cmocka_unit_test(test_admit),
        cmocka_unit_test(test_connections_max), cmocka_unit_test(test_partial_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
