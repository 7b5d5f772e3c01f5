// Congestion control alone: a connection that is nothing but its window is told of acknowledgements
// and losses, and what it does is compared with the formulas of the RFCs in floating point.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/net/congestion.h"
#include "tests/unit/net/peer.h"

enum { MSS = 1448 };

struct alone {
    struct net net;
    struct tcp c;
};

static struct tcp *alone_start(struct alone *a, enum net_congestion algorithm)
{
    memset(a, 0, sizeof(*a));
    a->net.now_us = 7000000;
    a->net.config.congestion = algorithm;
    struct tcp *c = &a->c;
    c->net = &a->net;
    c->mss = MSS;
    c->rto_us = 1000000;
    c->iss = 0xfffff000; // sequence numbers wrap early
    c->snd_una = c->snd_nxt = c->iss + 1;
    tcp_congestion_choose(c);
    tcp_congestion_init(c);
    return c;
}

// A window is in flight; `bytes` of it are acknowledged.
static void ack(struct tcp *c, uint32_t bytes, uint32_t rtt_us, bool used)
{
    uint32_t flight = c->snd_nxt - c->snd_una;
    c->snd_una += bytes;
    const struct tcp_ack a = {
        .acked = bytes, .flight = flight, .rtt_us = rtt_us, .window_used = used};
    c->congestion->acked(c, &a);
}

static void fill(struct tcp *c)
{
    if (c->snd_nxt - c->snd_una < c->cwnd)
        c->snd_nxt = c->snd_una + c->cwnd;
}

// One round trip: a window's worth of acknowledgements, evenly in time.
static void round_trip(struct tcp *c, uint32_t rtt_us)
{
    uint32_t n = c->cwnd / MSS;
    c->srtt_us = rtt_us;
    uint64_t from = c->net->now_us;
    fill(c);
    for (uint32_t i = 1; i <= n; i++) {
        c->net->now_us = from + (uint64_t)rtt_us * i / n;
        ack(c, MSS, rtt_us, true);
        fill(c);
    }
}

// What recovery does with the window, without the resending.
static void lose(struct tcp *c)
{
    c->ssthresh = c->congestion->threshold(c);
    tcp_congestion_event(c, CONGESTION_LOSS);
    c->cwnd = c->ssthresh;
    c->snd_una = c->snd_nxt;
}

static void time_out(struct tcp *c)
{
    c->ssthresh = c->congestion->threshold(c);
    tcp_congestion_event(c, CONGESTION_TIMEOUT);
    c->cwnd = c->mss;
    c->snd_una = c->snd_nxt;
}

static void set_window(struct tcp *c, uint32_t segments)
{
    c->cwnd = segments * MSS;
    c->ssthresh = c->cwnd;
    fill(c);
}

// --- the window around the algorithms
// -----------------------------------------------------------------

static void test_initial_window(void **state)
{
    (void)state;
    struct alone a;
    struct tcp *c = alone_start(&a, NET_CUBIC);
    assert_int_equal(c->cwnd, 10 * MSS);
    c->mss = 1460;
    assert_int_equal(tcp_initial_window(c), 14600);
    c->mss = 2920; // RFC 6928: larger segments do not add up
    assert_int_equal(tcp_initial_window(c), 14600);
    c->mss = 8960;
    assert_int_equal(tcp_initial_window(c), 17920);
    c->mss = 536;
    assert_int_equal(tcp_initial_window(c), 5360);
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(net_congestion_find("cubic"), NET_CUBIC);
    assert_int_equal(net_congestion_find("newreno"), NET_NEWRENO);
    assert_int_equal(net_congestion_find("dctcp"), NET_DCTCP);
    assert_int_equal(net_congestion_find("reno"), -1);
    assert_int_equal(net_congestion_find(""), -1);
}

// RFC 5681 4.1: half for each RTO of silence, not below the initial window, and slow start up to
// three quarters of what was there.
static void test_idle(void **state)
{
    (void)state;
    for (enum net_congestion k = NET_CUBIC; k <= NET_DCTCP; k++) {
        struct alone a;
        struct tcp *c = alone_start(&a, k);
        set_window(c, 100);
        c->ssthresh = 50 * MSS;
        c->snd_una = c->snd_nxt;
        c->last_data_us = a.net.now_us;
        a.net.now_us += c->rto_us;
        tcp_restart_idle(c); // not longer than an RTO
        assert_int_equal(c->cwnd, 100 * MSS);
        a.net.now_us += 1;
        tcp_restart_idle(c);
        assert_int_equal(c->cwnd, 50 * MSS);
        assert_int_equal(c->ssthresh, 75 * MSS);
        tcp_restart_idle(c); // once
        assert_int_equal(c->cwnd, 50 * MSS);
        a.net.now_us += 60000000;
        tcp_restart_idle(c);
        assert_int_equal(c->cwnd, 10 * MSS);
        assert_int_equal(c->ssthresh, 75 * MSS);
        // What is smaller than the initial window stays.
        c->cwnd = 3 * MSS;
        a.net.now_us += 60000000;
        tcp_restart_idle(c);
        assert_int_equal(c->cwnd, 3 * MSS);
    }
}

// RFC 7661: a window that is not the limit does not grow, and after five minutes of that it
// shrinks.
static void test_unused(void **state)
{
    (void)state;
    for (enum net_congestion k = NET_CUBIC; k <= NET_DCTCP; k++) {
        struct alone a;
        struct tcp *c = alone_start(&a, k);
        set_window(c, 100);
        c->srtt_us = 1000;
        for (int i = 0; i < 290; i++) {
            c->snd_nxt = c->snd_una + 4 * MSS;
            ack(c, 4 * MSS, 1000, false);
            assert_int_equal(c->cwnd, 100 * MSS);
            a.net.now_us += 1000000;
        }
        for (int i = 0; i < 20; i++) {
            c->snd_nxt = c->snd_una + 4 * MSS;
            ack(c, 4 * MSS, 1000, false);
            a.net.now_us += 1000000;
        }
        assert_int_equal(c->cwnd, 50 * MSS);
        assert_true(c->ssthresh >= 75 * MSS);
    }
}

// RFC 5681 3.1: a loss says nothing of a window that was not used.
static void test_threshold(void **state)
{
    (void)state;
    static const uint32_t tenths[] = {[NET_CUBIC] = 7, [NET_NEWRENO] = 5, [NET_DCTCP] = 5};
    for (enum net_congestion k = NET_CUBIC; k <= NET_DCTCP; k++) {
        struct alone a;
        struct tcp *c = alone_start(&a, k);
        set_window(c, 100);
        assert_int_equal(c->congestion->threshold(c), 10 * MSS * tenths[k]);
        c->snd_nxt += 2 * MSS; // limited transmit
        assert_int_equal(c->congestion->threshold(c), 10 * MSS * tenths[k]);
        c->snd_nxt = c->snd_una + 20 * MSS;
        assert_int_equal(c->congestion->threshold(c), 2 * MSS * tenths[k]);
        c->snd_nxt = c->snd_una + 1;
        assert_int_equal(c->congestion->threshold(c), 2 * MSS);
        // In the round trip after a mark nothing is lowered again.
        c->ecn = TCP_ECN_AGREED | TCP_ECN_REDUCED;
        c->ssthresh = 44 * MSS;
        c->snd_nxt = c->snd_una + 100 * MSS;
        assert_int_equal(c->congestion->threshold(c), 44 * MSS);
    }
}

// --- NewReno
// ------------------------------------------------------------------------------------------

static void test_reno(void **state)
{
    (void)state;
    struct alone a;
    struct tcp *c = alone_start(&a, NET_NEWRENO);
    round_trip(c, 10000);
    assert_int_equal(c->cwnd, 20 * MSS);
    c->ssthresh = 25 * MSS;
    round_trip(c, 10000); // ends in congestion avoidance
    assert_in_range(c->cwnd, 25 * MSS, 26 * MSS);
    set_window(c, 40);
    for (uint32_t i = 1; i <= 20; i++) {
        round_trip(c, 10000);
        assert_in_range(c->cwnd, (40 + i) * MSS - MSS, (40 + i) * MSS);
    }
    uint32_t before = c->cwnd;
    lose(c);
    assert_int_equal(c->cwnd, before / 2);
    // Stretched acknowledgements count for all that they acknowledge.
    set_window(c, 40);
    uint32_t acked = 0;
    for (; acked < 41 * 40 * MSS; acked += 20 * MSS) {
        ack(c, 20 * MSS, 0, true);
        fill(c);
    }
    assert_int_equal(c->cwnd, 70 * MSS); // 40 + 41 + … + 69 segments, and 5 more
}

// --- CUBIC
// --------------------------------------------------------------------------------------------

// RFC 9438 in floating point, in segments and seconds.
struct reference {
    double cwnd, w_max, w_est, prior, k, epoch, plateau;
};

static void reference_lower(struct reference *r, bool converge)
{
    r->prior = r->cwnd;
    r->w_max = converge && r->cwnd < r->w_max ? r->cwnd * (1 + 0.7) / 2 : r->cwnd;
    r->cwnd *= 0.7;
    r->epoch = -1;
}

static void reference_acked(struct reference *r, double now, double rtt)
{
    const double c = 0.4, beta = 0.7;
    if (r->epoch < 0) {
        r->epoch = now;
        r->w_est = r->cwnd;
        r->k = r->w_max > r->cwnd ? cbrt((r->w_max - r->cwnd) / c) : 0;
        r->plateau = r->w_max > r->cwnd ? r->w_max : r->cwnd;
    }
    double t = now - r->epoch + rtt;
    double target = c * pow(t - r->k, 3) + r->plateau;
    if (target < r->cwnd)
        target = r->cwnd;
    if (target > 1.5 * r->cwnd)
        target = 1.5 * r->cwnd;
    double alpha = r->w_est < r->prior ? 3 * (1 - beta) / (1 + beta) : 1;
    r->w_est += alpha / r->cwnd;
    r->cwnd += (target - r->cwnd) / r->cwnd;
    if (r->cwnd < r->w_est)
        r->cwnd = r->w_est;
}

static void cubic_compare(uint32_t segments, uint32_t rtt_us, double seconds, unsigned losses)
{
    struct alone a;
    struct tcp *c = alone_start(&a, NET_CUBIC);
    set_window(c, segments);
    struct reference r = {.cwnd = segments, .epoch = -1};
    for (unsigned loss = 0; loss < losses; loss++) {
        lose(c);
        reference_lower(&r, true);
        // The two may drift apart by what a segment's steps make of the decrease.
        r.cwnd = (double)c->cwnd / MSS;
        struct cubic_view {
            uint32_t epoch, w_max;
        } view;
        memcpy(&view, c->congestion_state, sizeof(view));
        assert_true(fabs((double)view.w_max / MSS - r.w_max) < 2 + 0.02 * r.w_max);
        uint64_t end = a.net.now_us + (uint64_t)(seconds * 1e6);
        c->srtt_us = rtt_us;
        fill(c);
        while (a.net.now_us < end) {
            uint32_t n = c->cwnd / MSS;
            uint64_t from = a.net.now_us;
            for (uint32_t i = 1; i <= n; i++) {
                a.net.now_us = from + (uint64_t)rtt_us * i / n;
                ack(c, MSS, rtt_us, true);
                fill(c);
                reference_acked(&r, (double)a.net.now_us / 1e6, rtt_us / 1e6);
            }
            double is = (double)c->cwnd / MSS, diff = fabs(is - r.cwnd);
            if (diff > 1.5 + 0.01 * r.cwnd)
                fail_msg("rtt %u us, loss %u, %.3f s after it: %.2f segments, not %.2f", rtt_us,
                         loss, seconds - (double)(end - a.net.now_us) / 1e6, is, r.cwnd);
        }
    }
}

static void test_cubic_curve(void **state)
{
    (void)state;
    cubic_compare(1000, 100000, 20, 3); // beyond the plateau, convex
    cubic_compare(300, 200000, 7, 3);   // lost in the concave part: fast convergence
    cubic_compare(100, 50000, 8, 4);
    cubic_compare(30, 20000, 5, 4);
    cubic_compare(8000, 80000, 12, 2);
}

// Short round trips: Reno's estimate is above the curve.
static void test_cubic_friendly(void **state)
{
    (void)state;
    cubic_compare(100, 1000, 2, 3);
    cubic_compare(40, 200, 0.2, 4);
    // From w_max on at Reno's own pace of a segment a round trip.
    struct alone a;
    struct tcp *c = alone_start(&a, NET_CUBIC);
    set_window(c, 100);
    lose(c);
    for (int i = 0; i < 200 && c->cwnd < 110 * MSS; i++)
        round_trip(c, 500);
    uint32_t before = c->cwnd;
    for (int i = 0; i < 20; i++)
        round_trip(c, 500);
    assert_in_range(c->cwnd, before + 18 * MSS, before + 21 * MSS);
}

// 4.8: after a time-out the curve begins at its plateau.
static void test_cubic_timeout(void **state)
{
    (void)state;
    struct alone a;
    struct tcp *c = alone_start(&a, NET_CUBIC);
    set_window(c, 200);
    time_out(c);
    assert_int_equal(c->ssthresh, 140 * MSS);
    c->ssthresh = 20 * MSS;
    while (c->cwnd < c->ssthresh)
        round_trip(c, 100000);
    assert_in_range(c->cwnd, 20 * MSS, 22 * MSS);
    struct reference r = {.cwnd = (double)c->cwnd / MSS, .prior = 200, .epoch = -1};
    for (int i = 0; i < 60; i++) {
        uint32_t n = c->cwnd / MSS;
        uint64_t from = a.net.now_us;
        for (uint32_t k = 1; k <= n; k++) {
            a.net.now_us = from + 100000ull * k / n;
            ack(c, MSS, 100000, true);
            fill(c);
            reference_acked(&r, (double)a.net.now_us / 1e6, 0.1);
        }
        assert_true(fabs((double)c->cwnd / MSS - r.cwnd) < 2 + 0.02 * r.cwnd);
    }
    assert_true(r.cwnd > 80); // it did move
}

// A loss that was none: everything is as before, and goes on from there.
static void test_cubic_undo(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct alone a, b;
        struct tcp *c = alone_start(&a, NET_CUBIC), *d = alone_start(&b, NET_CUBIC);
        struct tcp *both[2] = {c, d};
        for (int i = 0; i < 2; i++) {
            set_window(both[i], 300);
            lose(both[i]);
            for (int k = 0; k < 10; k++)
                round_trip(both[i], 50000);
        }
        uint32_t cwnd = c->cwnd, ssthresh = c->ssthresh, una = c->snd_una;
        uint64_t state_before[8];
        memcpy(state_before, c->congestion_state, sizeof(state_before));
        if (kind == 0) {
            lose(c);
        } else {
            time_out(c);
            c->flags |= TCP_LOSS;
            tcp_congestion_event(c, CONGESTION_TIMEOUT); // and once more
            c->flags &= ~(uint32_t)TCP_LOSS;
        }
        assert_memory_not_equal(state_before, c->congestion_state, 24);
        c->cwnd = cwnd;
        c->ssthresh = ssthresh;
        c->snd_una = una;
        tcp_congestion_event(c, CONGESTION_UNDO);
        assert_memory_equal(state_before, c->congestion_state, 24); // the curve
        for (int k = 0; k < 40; k++) {
            round_trip(c, 50000);
            round_trip(d, 50000);
            assert_in_range(c->cwnd, d->cwnd - 2 * MSS, d->cwnd + 2 * MSS);
        }
    }
}

// Undone in the first slow start: that goes on.
static void test_cubic_undo_slow_start(void **state)
{
    (void)state;
    struct alone a;
    struct tcp *c = alone_start(&a, NET_CUBIC);
    round_trip(c, 10000);
    uint32_t cwnd = c->cwnd;
    lose(c);
    c->cwnd = cwnd;
    c->ssthresh = UINT32_MAX;
    tcp_congestion_event(c, CONGESTION_UNDO);
    round_trip(c, 10000);
    assert_int_equal(c->cwnd, 2 * cwnd);
}

// 5.8: the curve does not go on while the application has nothing to send.
static void test_cubic_limited(void **state)
{
    (void)state;
    struct alone a;
    struct tcp *c = alone_start(&a, NET_CUBIC);
    set_window(c, 200);
    lose(c);
    for (int i = 0; i < 20; i++)
        round_trip(c, 50000);
    uint32_t before = c->cwnd;
    for (int i = 0; i < 200; i++) { // 100 s at a trickle
        a.net.now_us += 500000;
        c->snd_nxt = c->snd_una + 2 * MSS;
        ack(c, 2 * MSS, 50000, false);
    }
    assert_int_equal(c->cwnd, before);
    round_trip(c, 50000);
    round_trip(c, 50000);
    assert_in_range(c->cwnd, before, before + 8 * MSS);
}

// --- HyStart++
// ----------------------------------------------------------------------------------------

static void hystart_rounds(struct tcp *c, uint32_t rtt_us, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++)
        round_trip(c, rtt_us);
}

// What the next round trip multiplies the window by, in hundredths.
static unsigned hystart_pace(struct tcp *c, uint32_t rtt_us)
{
    uint32_t before = c->cwnd;
    round_trip(c, rtt_us);
    return (unsigned)(100ull * c->cwnd / before);
}

static void test_hystart(void **state)
{
    (void)state;
    struct alone a;
    struct tcp *c = alone_start(&a, NET_CUBIC);
    hystart_rounds(c, 40000, 3);
    assert_int_equal(c->cwnd, 80 * MSS);           // doubled each time
    assert_int_equal(hystart_pace(c, 44000), 200); // an eighth of 40 ms is 5 ms: not yet
    assert_int_equal(hystart_pace(c, 44000), 200);
    hystart_rounds(c, 50000, 1); // 6 ms more: seen in this round or the next
    for (unsigned i = 0; i < 3; i++)
        assert_in_range(hystart_pace(c, 50000), 120, 125); // a quarter of the pace
    assert_true(c->ssthresh == UINT32_MAX);
    for (unsigned i = 0; i < 3 && c->ssthresh == UINT32_MAX; i++)
        hystart_rounds(c, 50000, 1);
    assert_int_not_equal(c->ssthresh, UINT32_MAX); // five rounds: it was a queue
    // And now congestion avoidance, from the curve's plateau on.
    uint32_t before = c->cwnd;
    hystart_rounds(c, 50000, 2);
    assert_in_range(c->cwnd, before, before + 6 * MSS);
}

// The delay falls again: it was not a queue of ours.
static void test_hystart_passing(void **state)
{
    (void)state;
    struct alone a;
    struct tcp *c = alone_start(&a, NET_CUBIC);
    hystart_rounds(c, 40000, 3);
    hystart_rounds(c, 60000, 1);
    assert_in_range(hystart_pace(c, 60000), 120, 125);
    hystart_rounds(c, 41000, 1);
    assert_in_range(hystart_pace(c, 41000), 198, 200);
    assert_true(c->ssthresh == UINT32_MAX);
}

// A rise by less than 4 ms is noise however short the path is; NewReno does not look at all.
static void test_hystart_bounds(void **state)
{
    (void)state;
    struct alone a;
    struct tcp *c = alone_start(&a, NET_CUBIC);
    hystart_rounds(c, 100, 3);
    hystart_rounds(c, 4000, 2);
    assert_int_equal(c->cwnd, 320 * MSS);
    c = alone_start(&a, NET_CUBIC);
    hystart_rounds(c, 400000, 3); // an eighth would be 50 ms: 16 are enough
    hystart_rounds(c, 417000, 1);
    assert_in_range(hystart_pace(c, 417000), 120, 125);
    c = alone_start(&a, NET_NEWRENO);
    hystart_rounds(c, 40000, 3);
    hystart_rounds(c, 60000, 3);
    assert_int_equal(c->cwnd, 640 * MSS);
}

// --- DCTCP
// --------------------------------------------------------------------------------------------

struct dctcp_view {
    uint32_t alpha;
};

static double alpha_of(const struct tcp *c)
{
    struct dctcp_view v;
    memcpy(&v, c->congestion_state, sizeof(v));
    return v.alpha / 1048576.0;
}

// RFC 8257 3.3, with shares of marks that come and go.
static void test_dctcp_alpha(void **state)
{
    (void)state;
    struct alone a;
    struct tcp *c = alone_start(&a, NET_DCTCP);
    assert_true(alpha_of(c) == 1);
    double alpha = 1;
    static const uint32_t shares[] = {0, 10, 50, 100, 33, 80, 1};
    for (unsigned k = 0; k < sizeof(shares) / sizeof(*shares); k++) {
        for (int i = 0; i < 150; i++) {
            // Marked ones first.
            c->snd_nxt = c->snd_una + 100 * MSS;
            for (uint32_t n = 1; n <= 100; n++)
                c->congestion->counted(c, MSS, c->snd_una += MSS, n <= shares[k]);
            // The first acknowledgement of a window belongs to the one before, and ends it.
            uint32_t last = i ? shares[k] : k ? shares[k - 1] : 0;
            double marked = (last ? last - 1 : 0) + (shares[k] ? 1 : 0);
            alpha = alpha * 15 / 16 + marked / 100 / 16;
            assert_true(fabs(alpha_of(c) - alpha) < 0.001);
        }
        assert_true(fabs(alpha_of(c) - shares[k] / 100.0) < 0.01);
    }
    // Without marks it goes to nothing, not just near it.
    for (int i = 0; i < 300; i++) {
        c->snd_nxt = c->snd_una + 100 * MSS;
        c->congestion->counted(c, 100 * MSS, c->snd_nxt, false);
        c->snd_una = c->snd_nxt;
    }
    assert_true(alpha_of(c) == 0);
}

static void test_dctcp_marked(void **state)
{
    (void)state;
    struct alone a;
    struct tcp *c = alone_start(&a, NET_DCTCP);
    set_window(c, 100);
    assert_int_equal(c->congestion->marked(c), 50 * MSS); // alpha is 1
    struct dctcp_view v = {.alpha = 1 << 18};             // a quarter
    memcpy(c->congestion_state, &v, sizeof(v));
    assert_int_equal(c->congestion->marked(c), 100 * MSS - 100 * MSS / 8);
    v.alpha = 0;
    memcpy(c->congestion_state, &v, sizeof(v));
    assert_int_equal(c->congestion->marked(c), 100 * MSS);
    set_window(c, 2);
    v.alpha = 1 << 20;
    memcpy(c->congestion_state, &v, sizeof(v));
    assert_int_equal(c->congestion->marked(c), 2 * MSS);
    assert_int_equal(c->congestion->threshold(c), 2 * MSS);
}

// --- pacing and the port
// ----------------------------------------------------------------------------------

static struct tcp *open_wide(struct peer *p, uint16_t peer_port, uint32_t segments)
{
    p->peer_port = peer_port;
    p->seq = 1000;
    p->wnd = 65535;
    peer_open(p);
    struct tcp *c = (struct tcp *)p->stream;
    c->cwnd = c->ssthresh = segments * c->mss;
    return c;
}

static void write_bytes(struct tcp *c, uint32_t n)
{
    static const uint8_t zeros[4096];
    for (uint32_t part; n; n -= part) {
        part = n < sizeof(zeros) ? n : sizeof(zeros);
        out_write(&c->stream.out, zeros, part);
    }
    c->stream.ops->push(&c->stream);
}

// A port that takes `most` frames. Counts those of each peer's port from 4000 on.
static unsigned port_takes(struct peer *p, unsigned most, unsigned counts[4])
{
    struct frame **out;
    unsigned n = net_output(p->net, &out), taken = n < most ? n : most;
    for (unsigned i = 0; i < taken; i++) {
        unsigned to = load_be16(out[i]->data + 14 + 20 + 2);
        assert_in_range(to, 4000, 4003);
        counts[to - 4000]++;
        if (!(out[i]->flags & FRAME_KEEP))
            out[i]->pool->release(out[i]->pool, &out[i], 1);
    }
    net_sent(p->net, taken);
    net_turn_end(p->net);
    return n;
}

// A port that is slower than we are: what waits for it stays bounded, a lone reply leaves with what
// waits already, and bulk senders get equal shares.
static void test_slow_port(void **state)
{
    (void)state;
    struct peer p;
    const struct net_config config = {.send_buffer_max = 8 << 20};
    peer_start(&p, &config);
    struct tcp *bulk[2], *lone, *late;
    bulk[0] = open_wide(&p, 4000, 5000);
    bulk[1] = open_wide(&p, 4001, 5000);
    lone = open_wide(&p, 4002, 10);
    late = open_wide(&p, 4003, 10);
    unsigned counts[4] = {0};
    write_bytes(bulk[0], 3000000);
    assert_int_equal(port_takes(&p, 0, counts), NET_OUTPUT_HIGH);
    write_bytes(bulk[1], 3000000);
    unsigned waiting = port_takes(&p, 0, counts);
    assert_in_range(waiting, NET_OUTPUT_HIGH, NET_OUTPUT_HIGH + 1);
    assert_true(net_next_timer(p.net) <= p.now_us + 1000); // the core does not go to sleep
    write_bytes(lone, 100);
    assert_int_equal(port_takes(&p, 0, counts), waiting + 1);
    port_takes(&p, waiting + 1, counts);
    assert_int_equal(counts[2], 1);
    // Half a megabyte later: shares.
    memset(counts, 0, sizeof(counts));
    for (unsigned turn = 0; turn < 100; turn++) {
        assert_true(port_takes(&p, 16, counts) <= NET_OUTPUT_HIGH + 2);
        if (turn == 50)
            write_bytes(late, 14480); // ten segments in their turn
    }
    assert_int_equal(counts[0] + counts[1] + counts[3], 1600);
    assert_int_equal(counts[3], 10);
    int apart = (int)counts[0] - (int)counts[1];
    assert_in_range(apart + 100, 0, 200); // a turn's share is 45 segments
    assert_int_equal(peer_count(&p)->output_full, 0);
    for (int i = 0; i < 2; i++)
        bulk[i]->stream.ops->abort(&bulk[i]->stream);
    while (port_takes(&p, 1000, counts))
        continue;
    struct stream *ready[4];
    unsigned n = net_ready(p.net, ready, 4);
    for (unsigned i = 0; i < n; i++)
        if (ready[i]->events & STREAM_CLOSED)
            ready[i]->ops->release(ready[i]);
    p.stream = NULL;
    peer_stop(&p);
}

// What is more than the window holds is spread over the round trip; what fits goes at once.
static void test_pacing(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    struct tcp *c = open_wide(&p, 4000, 100);
    c->srtt_us = 50000;
    c->flags |= TCP_RTT_VALID;
    p.n_out = 0;
    write_bytes(c, 80 * c->mss); // fits
    peer_turn(&p);
    assert_int_equal(p.n_out, 80);
    assert_int_equal(peer_count(&p)->tcp_paced, 0);
    assert_in_range(tcp_pacing_rate(c), 100 * 1460 * 20 * 1.24, 100 * 1460 * 20 * 1.26);
    struct stream_info info;
    p.stream->ops->info(p.stream, &info);
    assert_int_equal(info.pacing_rate, tcp_pacing_rate(c));
    assert_string_equal(info.congestion, "cubic");
    p.now_us += 50000;
    p.ack = c->snd_nxt;
    p.n_out = 0;
    peer_send(&p, TH_ACK, NULL, 0);
    peer_turn(&p);
    uint32_t all = 0;
    c->srtt_us = 50000;
    write_bytes(c, 300 * c->mss); // does not
    peer_turn(&p);
    all = p.n_out;
    assert_in_range(all, 99, 101); // written straight into frames, as far as the window goes
    // All of it is acknowledged at once: a burst of a few milliseconds, the rest by and by.
    p.now_us += 50000;
    p.ack = c->snd_nxt;
    p.n_out = 0;
    peer_send(&p, TH_ACK, NULL, 0);
    peer_turn(&p);
    c->srtt_us = 50000;
    assert_in_range(p.n_out, 8, 14);
    assert_true(peer_count(&p)->tcp_paced > 0);
    assert_true(c->pace_at_us > p.now_us);
    uint64_t from = p.now_us;
    unsigned sent = p.n_out;
    while (sent < 90) {
        p.n_out = 0;
        peer_wait(&p, 1024);
        assert_true(p.n_out <= 14);
        sent += p.n_out;
    }
    // 80 segments at 125 in 50 ms.
    assert_in_range(p.now_us - from, 26000, 40000);
    p.stream->ops->abort(p.stream);
    peer_turn(&p);
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_initial_window),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_unused),
        cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_reno),
        cmocka_unit_test(test_cubic_curve),
        cmocka_unit_test(test_cubic_friendly),
        cmocka_unit_test(test_cubic_timeout),
        cmocka_unit_test(test_cubic_undo),
        cmocka_unit_test(test_cubic_undo_slow_start),
        cmocka_unit_test(test_cubic_limited),
        cmocka_unit_test(test_hystart),
        cmocka_unit_test(test_hystart_passing),
        cmocka_unit_test(test_hystart_bounds),
        cmocka_unit_test(test_dctcp_alpha),
        cmocka_unit_test(test_dctcp_marked),
        cmocka_unit_test(test_slow_port),
        cmocka_unit_test(test_pacing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
