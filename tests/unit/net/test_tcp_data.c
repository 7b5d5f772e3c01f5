// Data both ways: windows, silly windows, probes, acknowledgements, reassembly, retransmission,
// PAWS.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/block.h"
#include "tests/unit/net/peer.h"

static void put(struct peer *p, const void *data, size_t n)
{
    out_write(&p->stream->out, data, n);
    p->stream->ops->push(p->stream);
}

static void test_piggyback(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    p.ts = 100;
    peer_open(&p);
    peer_send(&p, TH_ACK | TH_PSH, "PING\r\n", 6);
    assert_int_equal(p.stream->in_len, 6);
    stream_consume(p.stream, 6);
    put(&p, "+PONG\r\n", 7);
    struct peer_segment *r = peer_only(&p);
    assert_true(r->len == 7 && r->ack == p.seq && r->flags == (TH_ACK | TH_PSH));
    p.ack += 7;
    peer_send(&p, TH_ACK, NULL, 0);
    peer_none(&p);
    // Without an answer: a lone acknowledgement, by timer, once.
    peer_send(&p, TH_ACK | TH_PSH, "abc", 3);
    stream_consume(p.stream, 3);
    peer_none(&p);
    peer_wait(&p, 39000);
    assert_int_equal(p.n_out, 0);
    peer_wait(&p, 5000);
    assert_int_equal(p.n_out, 1);
    assert_true(p.out[0].len == 0 && p.out[0].ack == p.seq);
    peer_wait(&p, 1000000);
    assert_int_equal(p.n_out, 0);
    // Two full segments: at once.
    uint8_t big[1448] = {0};
    peer_send(&p, TH_ACK, big, sizeof(big));
    peer_none(&p);
    stream_consume(p.stream, p.stream->in_len);
    peer_send(&p, TH_ACK, big, sizeof(big));
    assert_int_equal(peer_only(&p)->ack, p.seq);
    peer_stop(&p);
}

static void test_unread_is_kept(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    peer_send(&p, TH_ACK, "abcdef", 6);
    stream_consume(p.stream, 2);
    peer_send(&p, TH_ACK, "ghi", 3);
    assert_int_equal(p.stream->in_len, 4);
    peer_turn(&p); // the frames are gone
    peer_send(&p, TH_ACK, "jkl", 3);
    char got[16];
    unsigned n = 0;
    while (p.stream->in_len) {
        got[n++] = (char)p.stream->in[0];
        stream_consume(p.stream, 1);
    }
    assert_int_equal(n, 10);
    assert_memory_equal(got, "cdefghijkl", 10);
    peer_turn(&p);
    assert_int_equal(net_memory(p.net), sizeof(struct tcp));
    peer_stop(&p);
}

// A reader that stops stops its peer; the window opens again in steps worth having.
static void test_receive_window(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.receive_buffer_max = 8192};
    peer_start(&p, &c);
    peer_open(&p);
    uint8_t data[1024];
    memset(data, 'x', sizeof(data));
    for (int i = 0; i < 8; i++)
        peer_send(&p, TH_ACK, data, sizeof(data));
    struct peer_segment *r = peer_only(&p);
    assert_true(r->ack == p.seq && r->wnd == 0);
    // Beyond the window: not taken, answered with the same.
    peer_send_at(&p, TH_ACK, p.seq, p.ack, data, 1);
    r = peer_only(&p);
    assert_true(r->ack == p.seq && r->wnd == 0);
    assert_int_equal(p.stream->in_len + ((struct tcp *)p.stream)->rx_queued, 8192);
    // A little space is not told of; enough is, without being asked.
    uint32_t read = 0;
    while (read < 1000) {
        stream_consume(p.stream, 100);
        read += 100;
    }
    peer_none(&p);
    while (p.stream->in_len)
        stream_consume(p.stream, p.stream->in_len);
    r = peer_only(&p);
    assert_true(r->ack == p.seq && r->wnd >= 4096 && r->len == 0);
    peer_stop(&p);
}

static void test_zero_window_probe(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    p.wnd = 0;
    peer_open(&p);
    put(&p, "hello", 5);
    peer_none(&p);
    peer_wait(&p, 1500000);
    assert_true(p.n_out >= 1);
    for (unsigned i = 0; i < p.n_out; i++)
        assert_true(p.out[i].len == 0 && p.out[i].seq == p.ack - 1);
    // It answers, and the connection lives: until the user time-out, as output waits for so long
    // (the defences' tests see its end).
    for (int i = 0; i < 11; i++) {
        peer_wait(&p, 10000000);
        peer_send(&p, TH_ACK, NULL, 0);
        peer_turn(&p);
    }
    assert_int_equal(p.events & STREAM_CLOSED, 0);
    assert_true(peer_count(&p)->tcp_zero_window_probes > 5);
    p.wnd = 100;
    peer_send(&p, TH_ACK, NULL, 0);
    struct peer_segment *r = peer_only(&p);
    assert_true(r->len == 5 && memcmp(r->data, "hello", 5) == 0);
    // Nothing answers any more: the user time-out ends it.
    p.wnd = 0;
    p.ack += 5;
    peer_send(&p, TH_ACK, NULL, 0);
    put(&p, "again", 5);
    p.n_out = 0;
    peer_turn(&p);
    for (int i = 0; i < 20; i++)
        peer_wait(&p, 10000000);
    assert_true(p.events & STREAM_CLOSED);
    assert_int_equal(p.stream->error, STREAM_TIMED_OUT);
    peer_stop(&p);
}

// No small segment while a full one could follow; what is left goes when it is all there is.
static void test_silly_window_sender(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    p.wnd = 8; // scaled: 1024
    uint8_t data[3000];
    memset(data, 'y', sizeof(data));
    net_listen(p.net, OUR_PORT, 5);
    p.wnd = 4000 >> 7;
    peer_open(&p);
    put(&p, data, 3000);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.n_out, 3); // 1460, 1460, 80: all that was written fits
    p.ack += 3000;
    p.wnd = 1500 >> 7; // 1408: less than a segment, less than half of 3968
    peer_send(&p, TH_ACK, NULL, 0);
    put(&p, data, 3000);
    peer_none(&p);
    p.wnd = 2000 >> 7; // 1920
    peer_send(&p, TH_ACK, NULL, 0);
    struct peer_segment *r = peer_only(&p);
    assert_int_equal(r->len, 1460);
    peer_stop(&p);
}

static void test_retransmission(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    p.ts = 50;
    peer_open(&p);
    put(&p, "hello", 5);
    struct peer_segment first = *peer_only(&p);
    peer_wait(&p, 100000);
    assert_int_equal(p.n_out, 0);
    peer_wait(&p, 3500000); // 0.2, 0.6, 1.4, 3.0
    assert_int_equal(p.n_out, 4);
    for (unsigned i = 0; i < p.n_out; i++)
        assert_true(p.out[i].seq == first.seq && p.out[i].len == 5 && p.out[i].sums_good &&
                    memcmp(p.out[i].data, "hello", 5) == 0);
    p.ack += 5;
    peer_send(&p, TH_ACK, NULL, 0);
    peer_wait(&p, 10000000);
    assert_int_equal(p.n_out, 0);
    assert_int_equal(((struct tcp *)p.stream)->rtx_head == NULL, 1);
    // Nobody answers: given up after the user time-out, with a reset.
    put(&p, "again", 5);
    for (int i = 0; i < 20 && !(p.events & STREAM_CLOSED); i++)
        peer_wait(&p, 10000000);
    assert_true(p.events & STREAM_CLOSED);
    assert_int_equal(p.stream->error, STREAM_TIMED_OUT);
    assert_int_equal(peer_count(&p)->tcp_user_timeouts, 1);
    peer_stop(&p);
}

static void test_fast_retransmit(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    static uint8_t data[14600];
    put(&p, data, sizeof(data));
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.n_out, 10);
    uint32_t una = p.ack;
    for (int i = 0; i < 2; i++) { // two duplicates are reordering
        peer_send(&p, TH_ACK, NULL, 0);
        peer_none(&p);
    }
    peer_send(&p, TH_ACK, NULL, 0);
    struct peer_segment *r = peer_only(&p);
    assert_true(r->seq == una && r->len == 1460);
    assert_int_equal(peer_count(&p)->tcp_retransmit_fast, 1);
    // A partial acknowledgement: the next hole at once (RFC 6582).
    p.ack = una + 2 * 1460;
    peer_send(&p, TH_ACK, NULL, 0);
    r = peer_only(&p);
    assert_int_equal(r->seq, p.ack);
    p.ack = una + 14600;
    peer_send(&p, TH_ACK, NULL, 0);
    peer_none(&p);
    struct stream_info info;
    p.stream->ops->info(p.stream, &info);
    assert_int_equal(info.unacked, 0);
    assert_true(info.cwnd <= info.ssthresh && info.ssthresh == 10220);
    peer_stop(&p);
}

// Pieces in any order, overlapping in every way, against an array.
static void test_reassembly(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct wire_rng rng;
        wire_seed(&rng, seed);
        struct peer p;
        peer_start(&p, NULL);
        p.seq = (uint32_t)wire_random(&rng); // wraps for some
        if (seed % 3 == 0)
            p.seq = 0u - 2000;
        peer_open(&p);
        uint8_t data[4000];
        for (unsigned i = 0; i < sizeof(data); i++)
            data[i] = (uint8_t)wire_random(&rng);
        uint32_t base = p.seq, got = 0;
        while (got < sizeof(data)) {
            uint32_t at = (uint32_t)(wire_random(&rng) % sizeof(data)),
                     len = 1 + (uint32_t)(wire_random(&rng) % (wire_random(&rng) % 2 ? 30 : 700));
            if (wire_random(&rng) % 8 == 0)
                at = got > 50 ? got - 50 : 0;
            if (len > sizeof(data) - at)
                len = (uint32_t)sizeof(data) - at;
            peer_send_at(&p, TH_ACK, base + at, p.ack, data + at, len);
            if (wire_random(&rng) % 3 == 0) {
                p.n_out = 0;
                peer_turn(&p);
            }
            while (p.stream->in_len && wire_random(&rng) % 4) {
                uint32_t n = 1 + (uint32_t)(wire_random(&rng) % p.stream->in_len);
                assert_memory_equal(p.stream->in, data + got, n);
                got += n;
                stream_consume(p.stream, n);
            }
            if (p.n_rx > 200) {
                p.n_out = 0;
                peer_turn(&p);
            }
        }
        p.n_out = 0;
        peer_turn(&p);
        assert_int_equal(got, sizeof(data));
        assert_null(((struct tcp *)p.stream)->ranges);
        assert_int_equal(net_memory(p.net), sizeof(struct tcp));
        peer_stop(&p);
    }
}

// Bytes far apart: the number of ranges and the memory stay bounded, order is made all the same.
static void test_reassembly_bound(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    for (uint32_t i = 1; i < 1000; i++) {
        peer_send_at(&p, TH_ACK, p.seq + 2 * i, p.ack, "x", 1);
        struct peer_segment *r = peer_only(&p);
        assert_int_equal(r->ack, p.seq); // each asks for the gap again, with the same window
        if (i % 100 == 0)
            assert_true(net_memory(p.net) < 16384);
    }
    assert_true(peer_count(&p)->tcp_ooo_dropped > 900);
    uint8_t all[200];
    memset(all, 'x', sizeof(all));
    peer_send(&p, TH_ACK, all, sizeof(all));
    struct peer_segment *r = peer_only(&p);
    assert_int_equal(r->ack, p.seq);
    peer_stop(&p);
}

static void test_paws(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    p.ts = 1000;
    peer_open(&p);
    p.ts = 1100;
    peer_send(&p, TH_ACK, "abc", 3);
    put(&p, "r", 1);
    assert_int_equal(peer_only(&p)->options.ts_echo, 1100);
    p.ack++;
    // An old segment whose numbers fit: dropped, and answered.
    p.ts = 1050;
    peer_send_at(&p, TH_ACK, p.seq, p.ack, "old", 3);
    assert_int_equal(peer_only(&p)->ack, p.seq);
    assert_int_equal(peer_count(&p)->tcp_paws, 1);
    assert_int_equal(p.stream->in_len, 3);
    // Without the agreed option: dropped.
    uint8_t nop[4] = {1, 1, 1, 1};
    p.options = nop;
    p.options_len = 4;
    peer_send_at(&p, TH_ACK, p.seq, p.ack, "none", 4);
    peer_none(&p);
    // A segment ahead of its turn does not move what is echoed (RFC 7323 4.3).
    p.ts = 1300;
    peer_send_at(&p, TH_ACK, p.seq + 3, p.ack, "def", 3);
    assert_int_equal(peer_only(&p)->options.ts_echo, 1100);
    p.ts = 1200;
    peer_send_at(&p, TH_ACK, p.seq, p.ack, "abc", 3);
    peer_turn(&p);
    peer_send_at(&p, TH_ACK, p.seq + 6, p.ack, NULL, 0);
    peer_turn(&p);
    assert_int_equal(((struct tcp *)p.stream)->rcv_nxt, p.seq + 6);
    peer_stop(&p);
}

static void test_keepalive(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    p.stream->ops->keepalive(p.stream, 30);
    peer_wait(&p, 29000000);
    assert_int_equal(p.n_out, 0);
    peer_wait(&p, 2000000);
    assert_int_equal(p.n_out, 1);
    assert_true(p.out[0].len == 0 && p.out[0].seq == p.ack - 1);
    peer_send(&p, TH_ACK, NULL, 0);
    peer_wait(&p, 25000000);
    assert_int_equal(p.n_out, 0);
    peer_wait(&p, 60000000); // three probes without an answer
    assert_int_equal(p.events, STREAM_ACCEPTED | STREAM_CLOSED);
    assert_int_equal(p.stream->error, STREAM_TIMED_OUT);
    assert_int_equal(peer_count(&p)->tcp_keepalive_dropped, 1);
    assert_true(p.out[p.n_out - 1].flags & TH_RST);
    peer_stop(&p);
}

static void test_references(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    p.wnd = 10; // 1280 bytes
    peer_open(&p);
    struct block *b = block_new(3000000);
    for (size_t i = 0; i < 3000000; i++)
        b->data[i] = (uint8_t)(i / 100);
    b->len = 3000000;
    out_write(&p.stream->out, "$", 1);
    p.stream->out.ops->ref(&p.stream->out, b, 1000, 2000000);
    out_write(&p.stream->out, "!", 1);
    p.stream->ops->push(p.stream);
    assert_true(block_is_shared(b));
    assert_true(p.stream->ops->unsent(p.stream) > 1900000);
    uint64_t got = 0;
    p.wnd = 500;
    for (int round = 0; got < 2000002 && round < 5000; round++) {
        p.n_out = 0;
        peer_turn(&p);
        for (unsigned i = 0; i < p.n_out; i++) {
            assert_int_equal(p.out[i].seq, p.ack);
            for (uint32_t k = 0; k < p.out[i].len; k++, got++)
                assert_int_equal(p.out[i].data[k], got == 0         ? '$'
                                                   : got == 2000001 ? '!'
                                                                    : (uint8_t)((got + 999) / 100));
            p.ack += p.out[i].len;
        }
        p.now_us += 1000;
        peer_send(&p, TH_ACK, NULL, 0);
    }
    assert_int_equal(got, 2000002);
    assert_false(block_is_shared(b));
    assert_true(p.events & STREAM_WRITABLE);
    block_release(b);
    peer_turn(&p);
    peer_stop(&p);
}

// Acknowledgements of what was never sent, and of long ago (RFC 5961 5).
static void test_absurd_acks(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    put(&p, "hello", 5);
    peer_only(&p);
    peer_send_at(&p, TH_ACK, p.seq, p.ack + 6, "evil", 4);
    assert_int_equal(peer_only(&p)->ack, p.seq);
    assert_int_equal(p.stream->in_len, 0);
    p.now_us += 1000000;
    peer_send_at(&p, TH_ACK, p.seq, p.ack - 0x40000000, "evil", 4);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.stream->in_len, 0);
    assert_int_equal(peer_count(&p)->tcp_future_ack, 1);
    assert_int_equal(peer_count(&p)->tcp_old_ack, 1);
    // Without ACK nothing is taken.
    peer_send_at(&p, 0, p.seq, 0, "none", 4);
    peer_turn(&p);
    assert_int_equal(p.stream->in_len, 0);
    peer_stop(&p);
}

// Frames run out: nothing is lost but time.
static void test_no_frames(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    peer_open(&p);
    p.pool.limit = 0; // what the stack has in reserve serves on
    static uint8_t data[100000];
    put(&p, data, sizeof(data));
    assert_false(p.stream->out.failed);
    p.n_out = 0;
    peer_turn(&p);
    uint32_t got = 0;
    for (int round = 0; got < sizeof(data) && round < 3000; round++) {
        for (unsigned i = 0; i < p.n_out; i++)
            if (p.out[i].seq == p.ack) {
                p.ack += p.out[i].len;
                got += p.out[i].len;
            }
        if (round == 500)
            p.pool.limit = 4096;
        peer_send(&p, TH_ACK, NULL, 0);
        peer_wait(&p, 10000);
        assert_true(round > 500 || got < 50000);
    }
    assert_int_equal(got, sizeof(data));
    assert_true(peer_count(&p)->no_frame > 0);
    peer_stop(&p);
}

// The memory of all connections is bounded: what does not fit is not acknowledged.
static void test_receive_memory(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {.receive_memory_max = 100000};
    peer_start(&p, &c);
    peer_open(&p);
    uint8_t data[1000] = {0};
    for (int i = 0; i < 300; i++) {
        peer_send(&p, TH_ACK, data, sizeof(data));
        p.n_out = 0;
        peer_turn(&p);
        assert_true(net_memory(p.net) < 170000);
    }
    assert_true(peer_count(&p)->tcp_receive_memory_full > 0);
    uint32_t held = p.stream->in_len + ((struct tcp *)p.stream)->rx_queued;
    assert_int_equal(((struct tcp *)p.stream)->rcv_nxt, 1001 + held);
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_piggyback),           cmocka_unit_test(test_unread_is_kept),
        cmocka_unit_test(test_receive_window),      cmocka_unit_test(test_zero_window_probe),
        cmocka_unit_test(test_silly_window_sender), cmocka_unit_test(test_retransmission),
        cmocka_unit_test(test_fast_retransmit),     cmocka_unit_test(test_reassembly),
        cmocka_unit_test(test_reassembly_bound),    cmocka_unit_test(test_paws),
        cmocka_unit_test(test_keepalive),           cmocka_unit_test(test_references),
        cmocka_unit_test(test_absurd_acks),         cmocka_unit_test(test_no_frames),
        cmocka_unit_test(test_receive_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
