// Loss: what a receiver tells of gaps and duplicates, and how a sender finds out what was lost.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/net/tcp_board.h"
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

// --- the sender
// ----------------------------------------------------------------------------------
//
// Segments are numbered from 0 as they are written; a round trip takes 20 ms.

enum { RTT = 20000, MSS_PLAIN = 1460, MSS_STAMPS = 1448 };

struct sender {
    struct peer p;
    struct tcp *c;
    uint32_t base, mss;
};

static unsigned turn(struct sender *s)
{
    s->p.n_out = 0;
    peer_turn(&s->p);
    return s->p.n_out;
}

static void sender_open_with(struct sender *s, bool stamps, bool sack,
                             const struct net_config *config)
{
    struct peer *p = &s->p;
    peer_start(p, config);
    p->ts = stamps ? 1000 : 0;
    p->sack = sack;
    net_listen(p->net, p->port, 5);
    uint8_t options[40];
    p->options_len = peer_syn_options(p, options, 1460, 7);
    p->options = options;
    peer_send(p, TH_SYN, NULL, 0);
    p->ack = peer_only(p)->seq + 1;
    p->now_us += RTT;
    peer_send(p, TH_ACK, NULL, 0);
    peer_none(p);
    s->c = (struct tcp *)p->stream;
    s->base = p->ack;
    s->mss = stamps ? MSS_STAMPS : MSS_PLAIN;
    assert_int_equal(s->c->mss, s->mss);
}

static void sender_open(struct sender *s, bool stamps, bool sack)
{
    sender_open_with(s, stamps, sack, NULL);
}

// Writes n segments; returns how many went out.
static unsigned put(struct sender *s, unsigned n)
{
    out_write(&s->p.stream->out, bytes, n * s->mss);
    s->p.stream->ops->push(s->p.stream);
    return turn(s);
}

static uint32_t number(const struct sender *s, const struct peer_segment *seg)
{
    assert_int_equal((seg->seq - s->base) % s->mss, 0);
    return (seg->seq - s->base) / s->mss;
}

// Acknowledges segments below `ack`, and by SACK [from, to) pairs of `blocks` (n of them); the turn
// ends. Returns how many segments that brought about.
static unsigned sack(struct sender *s, uint32_t ack, unsigned n, const uint32_t blocks[][2])
{
    uint32_t b[4][2];
    for (unsigned i = 0; i < n; i++)
        for (int k = 0; k < 2; k++)
            b[i][k] = s->base + blocks[i][k] * s->mss;
    peer_send_sack(&s->p, s->base + ack * s->mss, n, b);
    s->p.ack = s->base + ack * s->mss;
    return turn(s);
}
#define SACK(s, ack, ...) \
    sack(s, ack, sizeof((const uint32_t[][2]){__VA_ARGS__}) / 8, (const uint32_t[][2]){__VA_ARGS__})

static void expect_segment(const struct sender *s, unsigned i, uint32_t n)
{
    assert_true(i < s->p.n_out && s->p.out[i].sums_good);
    assert_int_equal(number(s, &s->p.out[i]), n);
    assert_int_equal(s->p.out[i].len, s->mss);
}

static void sender_close(struct sender *s)
{
    peer_stop(&s->p);
}

// What is counted and listed is what is marked.
static void check_board(const struct sender *s)
{
    struct tcp *c = s->c;
    const struct tcp_board *b = c->board;
    if (!b) {
        assert_int_equal(c->away, 0);
        return;
    }
    uint32_t sacked = 0, lost = 0, resent = 0, n_sacked = 0, in_lost = 0, in_resent = 0,
             at = b->first;
    const struct frame *f = c->rtx_head;
    for (; at != b->end; at++) {
        const struct tcp_slot *slot = board_slot(b, at);
        uint32_t n = slot_bytes(slot, c->snd_una);
        if (slot->frame != f) // the next; a frame that the port cut has several slots
            f = f->next;
        assert_ptr_equal(slot->frame, f);
        sacked += slot->marks & SLOT_SACKED ? n : 0;
        n_sacked += (slot->marks & SLOT_SACKED) != 0;
        lost += slot->marks & SLOT_LOST ? n : 0;
        resent += slot->marks & SLOT_RESENT ? n : 0;
        in_lost += (slot->marks & (SLOT_LOST | SLOT_RESENT)) == SLOT_LOST;
        in_resent += (slot->marks & SLOT_RESENT) != 0;
    }
    assert_true(!f || !f->next);
    assert_true(sacked == b->sacked && lost == b->lost && resent == b->resent &&
                n_sacked == b->n_sacked);
    uint64_t last = 0;
    for (uint32_t i = b->lost_list.head; i != SLOT_NONE; i = board_slot(b, i)->next, in_lost--)
        assert_int_equal(board_slot(b, i)->marks & (SLOT_LOST | SLOT_RESENT), SLOT_LOST);
    for (uint32_t i = b->resent_list.head; i != SLOT_NONE;
         i = board_slot(b, i)->next, in_resent--) {
        uint64_t sent = board_slot(b, i)->sent_us;
        assert_true(last <= sent);
        last = sent;
    }
    assert_true(in_lost == 0 && in_resent == 0);
    assert_true(tcp_pipe(c) <= 2 * (c->snd_nxt - c->snd_una));
}

// RFC 8985: without reordering on the path the third SACK is the proof.
static void test_single_loss(void **state)
{
    (void)state;
    for (int stamps = 0; stamps < 2; stamps++) {
        struct sender s;
        sender_open(&s, stamps, true);
        assert_int_equal(put(&s, 10), 10);
        s.p.now_us += RTT;
        assert_int_equal(SACK(&s, 0, {1, 2}), 0);
        assert_int_equal(SACK(&s, 0, {1, 3}), 0);
        assert_int_equal(SACK(&s, 0, {1, 4}), 1);
        expect_segment(&s, 0, 0);
        struct stream_info info;
        s.p.stream->ops->info(s.p.stream, &info);
        assert_int_equal(info.sacked, 3 * s.mss);
        assert_int_equal(info.lost, s.mss);
        assert_int_equal(info.resent, s.mss);
        assert_int_equal(peer_count(&s.p)->tcp_rack_lost, 1);
        // The rest of the flight arrives: nothing else goes again.
        for (uint32_t k = 5; k <= 10; k++)
            assert_int_equal(SACK(&s, 0, {1, k}), 0);
        s.p.now_us += RTT;
        assert_int_equal(sack(&s, 10, 0, NULL), 0);
        s.p.stream->ops->info(s.p.stream, &info);
        assert_int_equal(info.unacked + info.sacked + info.lost + info.resent, 0);
        assert_int_equal(info.cwnd, info.ssthresh);
        assert_int_equal(info.retransmitted, 1);
        peer_wait(&s.p, 2000000);
        assert_int_equal(s.p.n_out, 0);
        // What was needed for it is gone.
        assert_null(s.c->board);
        assert_int_equal(net_memory(s.p.net), sizeof(struct tcp));
        sender_close(&s);
    }
}

// The port cuts frames into segments: one of them is lost, and one goes again.
static void test_loss_within_a_frame(void **state)
{
    (void)state;
    struct sender s;
    struct net_config config = {.offloads = NET_TX_IP_SUM | NET_TX_TCP_SUM | NET_TX_TSO};
    sender_open_with(&s, true, true, &config);
    s.c->cwnd = 30 * s.mss;
    assert_int_equal(put(&s, 20), 20);
    assert_true(frame_note(s.c->rtx_head)->len > s.mss);
    s.p.now_us += RTT;
    // Behind the second; then behind the fourth as well, of the same frame or the next.
    for (uint32_t k = 3; k <= 4; k++)
        assert_int_equal(SACK(&s, 1, {2, k}), 0);
    assert_int_equal(SACK(&s, 1, {2, 5}), 1);
    expect_segment(&s, 0, 1);
    check_board(&s);
    assert_int_equal(SACK(&s, 1, {6, 7}, {2, 5}), 1);
    expect_segment(&s, 0, 5);
    assert_int_equal(sack(&s, 5, 0, NULL), 0); // within a frame
    check_board(&s);
    for (uint32_t k = 8; k <= 20; k++)
        assert_int_equal(SACK(&s, 5, {6, k}), 0);
    check_board(&s);
    assert_int_equal(sack(&s, 20, 0, NULL), 0);
    assert_int_equal(s.c->retransmitted, 2);
    sender_close(&s);
}

// A segment that is overtaken by one or two is not sent again when it comes within a quarter of a
// round trip, and is when it does not.
static void test_reordering(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    put(&s, 10);
    s.p.now_us += RTT;
    assert_int_equal(SACK(&s, 0, {1, 3}), 0);
    peer_wait(&s.p, RTT / 4 - 2000);
    assert_int_equal(s.p.n_out, 0);
    assert_int_equal(sack(&s, 3, 0, NULL), 0);
    assert_int_equal(peer_count(&s.p)->tcp_reordering, 1);
    struct stream_info info;
    s.p.stream->ops->info(s.p.stream, &info);
    assert_int_equal(info.reordering, 3);
    assert_int_equal(info.reordering_seen, 1);
    // Now it is known that they do: three are no proof any more.
    assert_int_equal(SACK(&s, 3, {4, 5}), 0);
    assert_int_equal(SACK(&s, 3, {4, 8}), 0);
    peer_wait(&s.p, RTT / 4 + 3000);
    assert_int_equal(s.p.n_out, 1);
    expect_segment(&s, 0, 3);
    assert_int_equal(peer_count(&s.p)->tcp_retransmit_fast, 1);
    assert_int_equal(peer_count(&s.p)->tcp_retransmit_timer, 0);
    sender_close(&s);
}

// Four of ten are lost: all go again within the round trip that tells of it, at a reduced rate.
static void test_burst_loss(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    put(&s, 10);
    s.p.now_us += RTT;
    unsigned again = 0;
    for (uint32_t k = 5; k <= 10; k++) {
        unsigned n = SACK(&s, 0, {4, k});
        for (unsigned i = 0; i < n; i++)
            expect_segment(&s, i, again++);
        assert_true(k < 7 ? !n : n >= (k == 7));
        assert_true(tcp_pipe(s.c) <= 10 * s.mss);
    }
    assert_int_equal(again, 4);
    assert_int_equal(tcp_pipe(s.c), 4 * s.mss);
    assert_int_equal(sack(&s, 10, 0, NULL), 0);
    assert_int_equal(s.c->cwnd, s.c->ssthresh);
    assert_true(s.c->ssthresh < 10 * s.mss && s.c->ssthresh >= 5 * s.mss);
    assert_int_equal(peer_count(&s.p)->tcp_retransmit_fast, 1);
    sender_close(&s);
}

// Every second of twenty is lost.
static void test_many_holes(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    put(&s, 10);
    s.p.now_us += RTT;
    sack(&s, 10, 0, NULL); // slow start: the window is 20
    assert_int_equal(put(&s, 20), 20);
    s.p.now_us += RTT;
    bool there[30] = {0};
    for (uint32_t k = 11; k < 30; k += 2) {
        uint32_t b[3][2], n = 0;
        for (uint32_t i = k; n < 3 && i >= 11; i -= 2, n++) {
            b[n][0] = i;
            b[n][1] = i + 1;
        }
        unsigned out = sack(&s, 10, n, (const uint32_t(*)[2])b);
        for (unsigned i = 0; i < out; i++)
            there[number(&s, &s.p.out[i])] = true;
    }
    for (int k = 0; k < 8; k++) { // a round trip later they arrive
        s.p.now_us += RTT;
        uint32_t up = 10;
        while (up < 30 && (up % 2 || there[up]))
            up++;
        unsigned out = up < 30 ? SACK(&s, up, {up + 1, up + 2}, {29, 30}) : sack(&s, up, 0, NULL);
        for (unsigned i = 0; i < out; i++)
            there[number(&s, &s.p.out[i])] = true;
    }
    for (uint32_t i = 10; i < 30; i += 2)
        assert_true(there[i]);
    assert_int_equal(s.c->snd_una, s.c->snd_nxt);
    assert_int_equal(s.c->retransmitted, 10); // none of them twice
    assert_int_equal(peer_count(&s.p)->tcp_retransmit_timer, 0);
    sender_close(&s);
}

// A retransmission that is lost is found when something that was sent after it arrives.
static void test_lost_retransmission(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    put(&s, 10);
    s.p.now_us += RTT;
    for (uint32_t k = 2; k <= 10; k++)
        SACK(&s, 0, {1, k});
    assert_int_equal(s.c->retransmitted, 1);
    s.p.now_us += 1000;
    assert_int_equal(put(&s, 2), 2); // after the retransmission
    s.p.now_us += RTT;
    assert_int_equal(SACK(&s, 0, {1, 11}), 1);
    expect_segment(&s, 0, 0);
    assert_int_equal(peer_count(&s.p)->tcp_lost_again, 1);
    assert_int_equal(peer_count(&s.p)->tcp_retransmit_timer, 0);
    assert_int_equal(sack(&s, 12, 0, NULL), 0);
    sender_close(&s);
}

// And when nothing is sent after it, by a probe, once.
static void test_lost_retransmission_at_the_end(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    put(&s, 10);
    s.p.now_us += RTT;
    for (uint32_t k = 2; k <= 10; k++)
        SACK(&s, 0, {1, k});
    uint64_t from = s.p.now_us;
    peer_wait(&s.p, 2 * RTT - 1000);
    assert_int_equal(s.p.n_out, 0);
    peer_wait(&s.p, RTT); // the variance of a young connection counts
    assert_int_equal(s.p.n_out, 1);
    expect_segment(&s, 0, 0);
    assert_true(s.p.now_us - from < 200000);
    assert_int_equal(peer_count(&s.p)->tcp_probes, 1);
    assert_int_equal(peer_count(&s.p)->tcp_retransmit_timer, 0);
    // Not a second time: then it is the timer's.
    peer_wait(&s.p, 150000);
    assert_int_equal(s.p.n_out, 0);
    peer_wait(&s.p, 100000);
    assert_int_equal(s.p.n_out, 1);
    assert_int_equal(peer_count(&s.p)->tcp_retransmit_timer, 1);
    sender_close(&s);
}

// The end of a flight is lost: after two round trips its last segment goes again, the SACK of which
// tells of the others (RFC 8985 7).
static void test_tail_loss(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    put(&s, 10);
    s.p.now_us += RTT;
    assert_int_equal(sack(&s, 7, 0, NULL), 0);
    peer_wait(&s.p, 2 * RTT - 1000);
    assert_int_equal(s.p.n_out, 0);
    peer_wait(&s.p, 5000);
    assert_int_equal(s.p.n_out, 1);
    expect_segment(&s, 0, 9);
    s.p.now_us += RTT;
    // Both are found; with nothing else in flight each arrival lets one go (RFC 6937).
    assert_int_equal(SACK(&s, 7, {9, 10}), 1);
    expect_segment(&s, 0, 7);
    assert_int_equal(peer_count(&s.p)->tcp_rack_lost, 2);
    s.p.now_us += RTT;
    assert_int_equal(SACK(&s, 8, {9, 10}), 1);
    expect_segment(&s, 0, 8);
    s.p.now_us += RTT;
    assert_int_equal(sack(&s, 10, 0, NULL), 0);
    assert_int_equal(peer_count(&s.p)->tcp_retransmit_timer, 0);
    assert_int_equal(peer_count(&s.p)->tcp_probes, 1);
    sender_close(&s);
}

// The very last one alone is lost: the probe repairs it, and that was a loss (7.4.2).
static void test_probe_repairs(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    put(&s, 10);
    s.p.now_us += RTT;
    sack(&s, 8, 0, NULL);
    peer_wait(&s.p, 2 * RTT + 5000);
    assert_int_equal(s.p.n_out, 1);
    expect_segment(&s, 0, 9);
    s.p.now_us += RTT;
    uint32_t cwnd = s.c->cwnd;
    assert_int_equal(sack(&s, 10, 0, NULL), 0);
    assert_int_equal(s.c->cwnd, cwnd);
    put(&s, 4);
    s.p.now_us += RTT;
    sack(&s, 14, 0, NULL);
    assert_int_equal(peer_count(&s.p)->tcp_probes_repaired, 1);
    assert_true(s.c->cwnd < cwnd);
    assert_null(s.c->board);
    sender_close(&s);
}

// The acknowledgement was lost, not the segment: a DSACK says so, and nothing is reduced.
static void test_probe_for_nothing(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    put(&s, 10);
    s.p.now_us += RTT;
    sack(&s, 8, 0, NULL);
    uint32_t cwnd = s.c->cwnd;
    peer_wait(&s.p, 2 * RTT + 5000);
    assert_int_equal(s.p.n_out, 1);
    s.p.now_us += RTT;
    assert_int_equal(SACK(&s, 10, {9, 10}), 0);
    put(&s, 4);
    s.p.now_us += RTT;
    sack(&s, 14, 0, NULL);
    assert_int_equal(peer_count(&s.p)->tcp_probes_spurious, 1);
    assert_int_equal(peer_count(&s.p)->tcp_probes_repaired, 0);
    assert_int_equal(peer_count(&s.p)->tcp_dsack_in, 1);
    assert_true(s.c->cwnd >= cwnd);
    assert_null(s.c->board);
    sender_close(&s);
}

// New data is the better probe (7.3).
static void test_probe_with_new_data(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    assert_int_equal(put(&s, 12), 10);
    peer_wait(&s.p, 2 * RTT + 5000);
    assert_int_equal(s.p.n_out, 1);
    expect_segment(&s, 0, 10);
    assert_int_equal(s.c->retransmitted, 0);
    sender_close(&s);
}

// A lone segment waits for a delayed acknowledgement as well; FIN is probed for like data.
static void test_lone_segment_and_fin(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    assert_int_equal(put(&s, 1), 1);
    peer_wait(&s.p, 2 * RTT + 45000);
    assert_int_equal(s.p.n_out, 0);
    peer_wait(&s.p, 10000);
    assert_int_equal(s.p.n_out, 1);
    expect_segment(&s, 0, 0);
    s.p.now_us += RTT;
    sack(&s, 1, 0, NULL);
    s.p.stream->ops->close(s.p.stream);
    assert_int_equal(turn(&s), 1);
    assert_true(s.p.out[0].flags & TH_FIN);
    peer_wait(&s.p, 180000);
    assert_int_equal(s.p.n_out, 1);
    assert_true((s.p.out[0].flags & TH_FIN) && s.p.out[0].seq == s.p.ack);
    assert_int_equal(peer_count(&s.p)->tcp_retransmit_timer, 0);
    sender_close(&s);
}

// Data and FIN at the end of a flight: one probe carries both.
static void test_probe_of_fin(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    out_write(&s.p.stream->out, bytes, 3 * s.mss);
    s.p.stream->ops->close(s.p.stream);
    assert_true(turn(&s) >= 3);
    peer_wait(&s.p, 2 * RTT + 5000);
    assert_int_equal(s.p.n_out, 1);
    expect_segment(&s, 0, 2);
    assert_true(s.p.out[0].flags & TH_FIN);
    sender_close(&s);
}

// RFC 3042: what arrived makes room for new data before anything counts as lost.
static void test_limited_transmit(void **state)
{
    (void)state;
    for (int with_sack = 0; with_sack < 2; with_sack++) {
        struct sender s;
        sender_open(&s, true, with_sack);
        assert_int_equal(put(&s, 20), 10);
        s.p.now_us += RTT;
        for (uint32_t k = 2; k <= 3; k++) {
            unsigned n = with_sack ? SACK(&s, 0, {1, k}) : sack(&s, 0, 0, NULL);
            assert_int_equal(n, 1);
            expect_segment(&s, 0, 8 + k);
        }
        assert_int_equal(peer_count(&s.p)->tcp_limited_transmit, 2);
        unsigned n = with_sack ? SACK(&s, 0, {1, 4}) : sack(&s, 0, 0, NULL);
        assert_true(n >= 1);
        expect_segment(&s, 0, 0);
        sender_close(&s);
    }
}

// --- nothing was lost after all
// ------------------------------------------------------------------

// RFC 3522, RFC 4015: the path became slow, not lossy. The acknowledgement of the original echoes a
// stamp from before the time-out.
static void test_eifel(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    put(&s, 10);
    uint32_t echo = s.p.ts_echo, cwnd = s.c->cwnd, ssthresh = s.c->ssthresh;
    s.c->probe_at_us = 0; // the probe has a test of its own
    peer_wait(&s.p, 300000);
    assert_int_equal(peer_count(&s.p)->tcp_retransmit_timer, 1);
    assert_int_equal(s.c->cwnd, s.mss);
    assert_int_equal(s.p.n_out, 1);
    s.p.ts_echo = echo;
    assert_int_equal(sack(&s, 1, 0, NULL), 0);
    assert_int_equal(peer_count(&s.p)->tcp_undo_eifel, 1);
    assert_true(s.c->cwnd >= cwnd && s.c->ssthresh == ssthresh);
    assert_int_equal(s.c->flags & (TCP_LOSS | TCP_RECOVERY), 0);
    // Everything else of the flight comes: nothing goes again.
    for (uint32_t k = 2; k <= 10; k++)
        assert_int_equal(sack(&s, k, 0, NULL), 0);
    assert_int_equal(s.c->retransmitted, 1);
    // The timer has learned: the next such delay is none.
    assert_true(s.c->rto_us > 300000);
    sender_close(&s);
}

// The same for a fast retransmission of a segment that was very late.
static void test_eifel_in_recovery(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    put(&s, 10);
    uint32_t echo = s.p.ts_echo, cwnd = s.c->cwnd, ssthresh = s.c->ssthresh;
    s.p.now_us += RTT;
    for (uint32_t k = 2; k <= 6; k++)
        SACK(&s, 0, {1, k});
    assert_int_equal(s.c->retransmitted, 1);
    assert_true(s.c->flags & TCP_RECOVERY);
    s.p.ts_echo = echo;
    assert_int_equal(sack(&s, 6, 0, NULL), 0);
    assert_int_equal(peer_count(&s.p)->tcp_undo_eifel, 1);
    assert_int_equal(s.c->flags & TCP_RECOVERY, 0);
    assert_true(s.c->cwnd >= cwnd && s.c->ssthresh == ssthresh);
    sender_close(&s);
}

// RFC 5682: without timestamps. Two new segments tell: what was sent before still arrives.
static void test_frto(void **state)
{
    (void)state;
    for (int with_sack = 0; with_sack < 2; with_sack++) {
        struct sender s;
        sender_open(&s, false, with_sack);
        assert_int_equal(put(&s, 20), 10);
        uint32_t cwnd = s.c->cwnd;
        s.c->probe_at_us = 0;
        peer_wait(&s.p, 300000);
        assert_int_equal(s.p.n_out, 1);
        expect_segment(&s, 0, 0);
        s.p.now_us += RTT;
        assert_int_equal(sack(&s, 1, 0, NULL), 2);
        expect_segment(&s, 0, 10);
        expect_segment(&s, 1, 11);
        sack(&s, 2, 0, NULL);
        assert_int_equal(peer_count(&s.p)->tcp_undo_frto, 1);
        assert_true(s.c->cwnd >= cwnd);
        assert_int_equal(s.c->flags & TCP_LOSS, 0);
        assert_int_equal(s.c->retransmitted, 1);
        for (uint32_t k = 3; k <= 10; k++)
            sack(&s, k, 0, NULL);
        assert_int_equal(s.c->retransmitted, 1);
        sender_close(&s);
    }
}

// The later data arrived and the earlier did not: the time-out was right.
static void test_frto_real(void **state)
{
    (void)state;
    for (int with_sack = 0; with_sack < 2; with_sack++) {
        struct sender s;
        sender_open(&s, false, with_sack);
        assert_int_equal(put(&s, 20), 10);
        s.c->probe_at_us = 0;
        peer_wait(&s.p, 300000);
        s.p.now_us += RTT;
        assert_int_equal(sack(&s, 1, 0, NULL), 2);
        s.p.now_us += RTT;
        unsigned n = with_sack ? SACK(&s, 1, {10, 11}) : sack(&s, 1, 0, NULL);
        assert_true(n >= 1);
        expect_segment(&s, 0, 1);
        assert_int_equal(peer_count(&s.p)->tcp_undo_frto, 0);
        assert_true(s.c->flags & TCP_LOSS);
        sender_close(&s);
    }
}

// RFC 3708: each segment that went again was there already.
static void test_dsack_undo(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, false, true); // no stamps: nothing else could tell
    put(&s, 10);
    uint32_t cwnd = s.c->cwnd;
    s.p.now_us += RTT;
    for (uint32_t k = 3; k <= 6; k++)
        SACK(&s, 0, {2, k});
    assert_int_equal(s.c->retransmitted, 2);
    // Both come late.
    assert_int_equal(sack(&s, 6, 0, NULL), 0);
    assert_true(s.c->flags & TCP_RECOVERY);
    s.p.now_us += RTT;
    assert_int_equal(SACK(&s, 6, {0, 1}), 0);
    assert_int_equal(peer_count(&s.p)->tcp_undo_dsack, 0);
    uint8_t extra = s.c->reorder_extra;
    assert_int_equal(extra, 1); // and RACK waits longer from now on, once a round trip
    assert_int_equal(SACK(&s, 6, {1, 2}), 0);
    assert_int_equal(peer_count(&s.p)->tcp_undo_dsack, 1);
    assert_int_equal(s.c->flags & TCP_RECOVERY, 0);
    assert_true(s.c->cwnd >= cwnd && s.c->ssthresh == UINT32_MAX);
    assert_int_equal(peer_count(&s.p)->tcp_dsack_in, 2);
    struct stream_info info;
    s.p.stream->ops->info(s.p.stream, &info);
    assert_int_equal(info.dsack_duplicates, 2);
    sender_close(&s);
}

// One of two was needed: no undo.
static void test_dsack_of_some(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, false, true);
    put(&s, 10);
    s.p.now_us += RTT;
    for (uint32_t k = 3; k <= 6; k++)
        SACK(&s, 0, {2, k});
    s.p.now_us += RTT;
    SACK(&s, 10, {0, 1});
    put(&s, 2);
    s.p.now_us += RTT;
    sack(&s, 12, 0, NULL);
    assert_int_equal(peer_count(&s.p)->tcp_undo_dsack, 0);
    assert_true(s.c->ssthresh < 10 * s.mss);
    assert_null(s.c->board);
    sender_close(&s);
}

// RFC 2018 8: the peer forgets what it told of. The time-out believes nothing any more.
static void test_reneging(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    put(&s, 10);
    s.p.now_us += RTT;
    for (uint32_t k = 2; k <= 10; k++)
        SACK(&s, 0, {1, k});
    s.p.now_us += RTT;
    sack(&s, 1, 0, NULL); // the hole is filled; the rest is gone
    assert_int_equal(s.c->snd_una, s.base + s.mss);
    uint32_t up = 1;
    for (int k = 0; k < 40 && up < 10; k++) {
        peer_wait(&s.p, 100000);
        for (unsigned i = 0; i < s.p.n_out; i++)
            if (number(&s, &s.p.out[i]) == up)
                up++;
        unsigned n = sack(&s, up, 0, NULL);
        for (unsigned i = 0; i < n; i++)
            if (number(&s, &s.p.out[i]) == up)
                up++;
    }
    assert_int_equal(up, 10);
    assert_int_equal(peer_count(&s.p)->tcp_sack_reneged, 1);
    assert_int_equal(peer_count(&s.p)->tcp_retransmit_timer, 1);
    sender_close(&s);
}

// Blocks that make no sense are counted and change nothing.
static void test_absurd_blocks(void **state)
{
    (void)state;
    struct sender s;
    sender_open(&s, true, true);
    put(&s, 10);
    s.p.now_us += RTT;
    static const uint32_t absurd[][2] = {
        {2, 11},                // beyond what was sent
        {11, 12},               // all of it beyond
        {3, 2},                 // backwards
        {2, 2},                 // empty
        {0, 1},                 // what the acknowledgement itself asks for
        {0x200000, 2},          // around half the world
        {0u - 400000, 2},       // from long ago into the flight
        {0u - 9000, 0u - 8000}, // a duplicate of before the connection was made
    };
    for (unsigned i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++) {
        sack(&s, 0, 1, &absurd[i]);
        assert_int_equal(peer_count(&s.p)->tcp_sack_bad, i + 1);
        assert_int_equal(tcp_pipe(s.c), 10 * s.mss);
    }
    // Parts of segments are not those segments.
    const uint32_t part[1][2] = {{s.base + s.mss + 1, s.base + 3 * s.mss - 1}};
    peer_send_sack(&s.p, s.base, 1, part);
    assert_int_equal(turn(&s), 0);
    assert_int_equal(tcp_pipe(s.c), 10 * s.mss);
    assert_int_equal(s.c->retransmitted, 0);
    sender_close(&s);
}

// Blocks at random, and acknowledgements, by the thousand: what is counted stays consistent.
static void test_hostile_blocks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct sender s;
        struct wire_rng rng;
        wire_seed(&rng, seed);
        sender_open(&s, seed & 1, seed % 5 != 0);
        s.p.wnd = 60000;
        for (int round = 0; round < 400; round++) {
            if (wire_random(&rng) % 4 == 0)
                put(&s, 1 + (unsigned)(wire_random(&rng) % 20));
            uint32_t flight = s.c->snd_nxt - s.c->snd_una;
            uint32_t b[3][2], n = (uint32_t)(wire_random(&rng) % 4);
            for (uint32_t i = 0; i < n; i++) {
                uint32_t unit = wire_random(&rng) % 3 ? s.mss : 1;
                b[i][0] = s.c->snd_una + (uint32_t)(wire_random(&rng) % (flight / unit + 2)) * unit;
                b[i][1] = b[i][0] + (uint32_t)(wire_random(&rng) % 12) * unit;
                if (wire_random(&rng) % 10 == 0)
                    b[i][1] = (uint32_t)wire_random(&rng);
                if (wire_random(&rng) % 10 == 0)
                    b[i][0] -= (uint32_t)(wire_random(&rng) % 100000);
            }
            uint32_t ack = s.c->snd_una;
            if (wire_random(&rng) % 5 == 0)
                ack += (uint32_t)(wire_random(&rng) % (flight + 1));
            else if (wire_random(&rng) % 5 == 0)
                ack -= (uint32_t)(wire_random(&rng) % 5000);
            peer_send_sack(&s.p, ack, n, (const uint32_t(*)[2])b);
            turn(&s);
            check_board(&s);
            if (wire_random(&rng) % 6 == 0)
                peer_wait(&s.p, wire_random(&rng) % 30000);
            check_board(&s);
            if (s.p.events & STREAM_CLOSED)
                break;
        }
        sender_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_negotiation),
        cmocka_unit_test(test_blocks_sent),
        cmocka_unit_test(test_no_blocks),
        cmocka_unit_test(test_duplicates_told),
        cmocka_unit_test(test_early_fin),
        cmocka_unit_test(test_early_fin_only),
        cmocka_unit_test(test_single_loss),
        cmocka_unit_test(test_loss_within_a_frame),
        cmocka_unit_test(test_reordering),
        cmocka_unit_test(test_burst_loss),
        cmocka_unit_test(test_many_holes),
        cmocka_unit_test(test_lost_retransmission),
        cmocka_unit_test(test_lost_retransmission_at_the_end),
        cmocka_unit_test(test_tail_loss),
        cmocka_unit_test(test_probe_repairs),
        cmocka_unit_test(test_probe_for_nothing),
        cmocka_unit_test(test_probe_with_new_data),
        cmocka_unit_test(test_lone_segment_and_fin),
        cmocka_unit_test(test_probe_of_fin),
        cmocka_unit_test(test_limited_transmit),
        cmocka_unit_test(test_eifel),
        cmocka_unit_test(test_eifel_in_recovery),
        cmocka_unit_test(test_frto),
        cmocka_unit_test(test_frto_real),
        cmocka_unit_test(test_dsack_undo),
        cmocka_unit_test(test_dsack_of_some),
        cmocka_unit_test(test_reneging),
        cmocka_unit_test(test_absurd_blocks),
        cmocka_unit_test(test_hostile_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
