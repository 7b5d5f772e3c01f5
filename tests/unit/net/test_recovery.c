// Loss: what a receiver tells of gaps and duplicates, and how a sender finds out what was lost.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/net/peer.h"

static uint8_t bytes[200000];

static uint32_t block_edge(const struct peer_segment *s, unsigned i, bool end)
{
    assert_true(i < s->options.n_sack);
    return load_be32(s->options.sack + 8 * i + (end ? 4 : 0));
}

static void expect_block(const struct peer *p, const struct peer_segment *s, unsigned i,
                         uint32_t start, uint32_t end)
{
    assert_int_equal(block_edge(s, i, false) - p->seq, start);
    assert_int_equal(block_edge(s, i, true) - p->seq, end);
}

static void start(struct peer *p, uint32_t ts, bool sack)
{
    peer_start(p, NULL);
    p->ts = ts;
    p->sack = sack;
    peer_open(p);
}

// --- the receiver
// --------------------------------------------------------------------------------

// RFC 2018 2: in the answer only when it was offered.
static void test_negotiation(void **state)
{
    (void)state;
    for (int k = 0; k < 8; k++) {
        struct net_config config = {.no_sack = k & 4};
        struct peer p;
        peer_start(&p, &config);
        p.sack = k & 1;
        p.ts = k & 2 ? 77 : 0;
        uint8_t options[40];
        net_listen(p.net, p.port, 5);
        p.options_len = peer_syn_options(&p, options, 1460, 7);
        p.options = options;
        peer_send(&p, TH_SYN, NULL, 0);
        struct peer_segment *s = peer_only(&p);
        assert_int_equal(s->options.has_sack, (k & 1) && !(k & 4));
        assert_int_equal(s->options.has_stamp, (k & 2) != 0);
        assert_true(s->options.has_scale && s->options.has_mss);
        peer_stop(&p);
        // Our own SYN offers.
        peer_start(&p, &config);
        struct endpoint to = {.family = 4, .port = 80, .addr = {10, 0, 0, 9}};
        int error;
        assert_non_null(net_connect(p.net, &to, &error));
        s = peer_only(&p);
        assert_int_equal(s->options.has_sack, !(k & 4));
        assert_true(s->options.has_stamp && s->options.has_scale);
        peer_stop(&p);
    }
}

// RFC 2018 4: the block that changed last comes first; as many as fit.
static void test_blocks_sent(void **state)
{
    (void)state;
    for (uint32_t ts = 0; ts < 2; ts++) {
        struct peer p;
        start(&p, ts, true);
        unsigned fit = ts ? 3 : 4;
        for (uint32_t i = 1; i <= 6; i++) {
            peer_send_at(&p, TH_ACK, p.seq + 2000 * i, p.ack, bytes, 1000);
            struct peer_segment *s = peer_only(&p); // at once
            assert_int_equal(s->ack, p.seq);
            assert_int_equal(s->options.n_sack, i < fit ? i : fit);
            for (uint32_t k = 0; k < s->options.n_sack; k++)
                expect_block(&p, s, k, 2000 * (i - k), 2000 * (i - k) + 1000);
        }
        // An old one grows, and so is the newest.
        peer_send_at(&p, TH_ACK, p.seq + 5000, p.ack, bytes, 500);
        struct peer_segment *s = peer_only(&p);
        assert_int_equal(s->options.n_sack, fit);
        expect_block(&p, s, 0, 4000, 5500);
        expect_block(&p, s, 1, 12000, 13000);
        // Two become one.
        peer_send_at(&p, TH_ACK, p.seq + 5500, p.ack, bytes, 500);
        s = peer_only(&p);
        expect_block(&p, s, 0, 4000, 7000);
        // The first gap is filled in part, then wholly: both at once (RFC 5681 4.2).
        peer_send(&p, TH_ACK, bytes, 500);
        s = peer_only(&p);
        assert_int_equal(s->ack, p.seq);
        assert_int_equal(s->options.n_sack, fit);
        peer_send(&p, TH_ACK, bytes, 1500);
        s = peer_only(&p);
        assert_int_equal(s->ack, p.seq + 1000);
        p.seq += 1000;
        expect_block(&p, s, 0, 1000, 4000);
        peer_send(&p, TH_ACK, bytes, 1000);
        s = peer_only(&p);
        p.seq += 3000;
        assert_int_equal(s->ack, p.seq);
        assert_int_equal(s->options.n_sack, 3);
        for (uint32_t i = 0; i < 3; i++) {
            peer_send_at(&p, TH_ACK, p.seq + 2000 * i, p.ack, bytes, 1000);
            s = peer_only(&p);
            assert_int_equal(s->ack, p.seq + 2000 * i + 2000);
            assert_int_equal(s->options.n_sack, 2 - i);
        }
        assert_null(((struct tcp *)p.stream)->ranges);
        peer_stop(&p);
    }
}

// Without the agreement there is no option.
static void test_no_blocks(void **state)
{
    (void)state;
    struct peer p;
    start(&p, 5, false);
    peer_send_at(&p, TH_ACK, p.seq + 2000, p.ack, bytes, 1000);
    assert_int_equal(peer_only(&p)->options.n_sack, 0);
    peer_send_at(&p, TH_ACK, p.seq + 2000, p.ack, bytes, 1000);
    assert_int_equal(peer_only(&p)->options.n_sack, 0);
    assert_int_equal(peer_count(&p)->tcp_sack_out + peer_count(&p)->tcp_dsack_out, 0);
    peer_stop(&p);
}

// RFC 2883: duplicates below the acknowledgement, above it, and segments that are both old and new.
static void test_duplicates_told(void **state)
{
    (void)state;
    struct peer p;
    start(&p, 5, true);
    peer_send(&p, TH_ACK, bytes, 1000);
    peer_turn(&p);
    peer_send_at(&p, TH_ACK, p.seq - 1000, p.ack, bytes, 1000);
    struct peer_segment *s = peer_only(&p);
    assert_int_equal(s->options.n_sack, 1);
    expect_block(&p, s, 0, 0u - 1000, 0);
    // Told once.
    peer_send_at(&p, TH_ACK, p.seq + 1000, p.ack, bytes, 1000);
    s = peer_only(&p);
    assert_int_equal(s->options.n_sack, 1);
    expect_block(&p, s, 0, 1000, 2000);
    // A duplicate beyond the gap: the larger block that holds it follows (RFC 2883 4.1.2).
    peer_send_at(&p, TH_ACK, p.seq + 2000, p.ack, bytes, 1000);
    peer_only(&p);
    peer_send_at(&p, TH_ACK, p.seq + 1000, p.ack, bytes, 1000);
    s = peer_only(&p);
    assert_int_equal(s->options.n_sack, 2);
    expect_block(&p, s, 0, 1000, 2000);
    expect_block(&p, s, 1, 1000, 3000);
    // Half of it was there.
    peer_send_at(&p, TH_ACK, p.seq - 500, p.ack, bytes, 1500);
    s = peer_only(&p);
    assert_int_equal(s->ack, p.seq + 3000);
    assert_int_equal(s->options.n_sack, 1);
    expect_block(&p, s, 0, 0u - 500, 0);
    assert_int_equal(peer_count(&p)->tcp_dsack_out, 3);
    peer_stop(&p);
}

// FIN before the data in front of it: not sent again, and told of with the block it ends.
static void test_early_fin(void **state)
{
    (void)state;
    for (int alone = 0; alone < 2; alone++) {
        struct peer p;
        start(&p, 5, true);
        if (alone) {
            peer_send_at(&p, TH_ACK | TH_FIN, p.seq + 2000, p.ack, NULL, 0);
            assert_int_equal(peer_only(&p)->options.n_sack, 0);
            peer_send_at(&p, TH_ACK, p.seq + 1000, p.ack, bytes, 1000);
        } else {
            peer_send_at(&p, TH_ACK | TH_FIN, p.seq + 1000, p.ack, bytes, 1000);
        }
        struct peer_segment *s = peer_only(&p);
        expect_block(&p, s, 0, 1000, 2001);
        assert_false(p.events & STREAM_EOF);
        peer_send_at(&p, TH_ACK, p.seq, p.ack, bytes, 1000);
        s = peer_only(&p);
        assert_int_equal(s->ack, p.seq + 2001);
        assert_int_equal(s->options.n_sack, 0);
        assert_true(p.events & STREAM_EOF);
        uint32_t got = 0;
        for (; p.stream->in_len; got++)
            stream_consume(p.stream, 1);
        assert_int_equal(got, 2000);
        peer_stop(&p);
    }
}

// A segment that fills the gap behind which nothing but the FIN waits.
static void test_early_fin_only(void **state)
{
    (void)state;
    struct peer p;
    start(&p, 0, true);
    peer_send_at(&p, TH_ACK | TH_FIN, p.seq + 1000, p.ack, NULL, 0);
    assert_int_equal(peer_only(&p)->ack, p.seq);
    peer_send_at(&p, TH_ACK, p.seq, p.ack, bytes, 1000);
    assert_int_equal(peer_only(&p)->ack, p.seq + 1001);
    assert_true(p.events & STREAM_EOF);
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_negotiation), cmocka_unit_test(test_blocks_sent),
        cmocka_unit_test(test_no_blocks),   cmocka_unit_test(test_duplicates_told),
        cmocka_unit_test(test_early_fin),   cmocka_unit_test(test_early_fin_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
