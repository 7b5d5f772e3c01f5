// CUBIC (RFC 9438): the window follows a cubic function of the time since it was lowered. It rises
// steeply towards where the last loss was, lingers there, and then probes ever faster; a path's
// length matters less than with Reno. Where Reno would be faster (short round trips), the window
// follows an estimate of what Reno's would be.
//
// Windows are bytes, times units of 1,024 microseconds (congestion_clock). No floating point; a
// division and a cube root once after each time the window was lowered.
#include "dataplane/net/congestion.h"

enum {
    BETA_TENTHS = 7,
    // W_max after a loss below the last one: (1 + beta) / 2 of the window (4.7).
    CONVERGE_NUM = 17,
    CONVERGE_DEN = 20,
    // Segments that the estimate of Reno gains in a round trip: 3 (1 - beta) / (1 + beta) (4.3).
    FRIENDLY_NUM = 9,
    FRIENDLY_DEN = 17,
    TIME_MAX = 1 << 20, // 18 minutes from the plateau: its cube fits 64 bits
};
// C = 0.4 segments/s^3, in units of time: 0.4 x 0.001024^3 x 2^56.
#define C_SCALED 30948501ull
#define C_SHIFT 56
// 1 / C in units of time.
#define C_INVERSE 2328306437ull

struct curve {
    uint32_t epoch; // when this period of congestion avoidance began; 0: not yet
    uint32_t w_max; // where the window was lowered last; 0: unknown
    uint32_t k;     // from the epoch to the plateau
    uint32_t plateau;
    uint32_t w_est; // Reno's window
    uint32_t prior; // the window before it was lowered: from there on Reno's full pace
};

struct cubic {
    struct curve now;
    union {
        struct hystart start; // until the window is lowered for the first time
        struct curve before;  // then: what it was, if that proves wrong
    };
    uint64_t credit;    // growth due, in bytes x cwnd
    uint32_t est_bytes; // acknowledged towards the next segment of w_est
    uint32_t grown;     // when the window was the limit last
};
_Static_assert(sizeof(struct cubic) <= sizeof(((struct tcp *)0)->congestion_state), "fits");

static struct cubic *cubic_of(struct tcp *c)
{
    return (struct cubic *)c->congestion_state;
}

static void cubic_init(struct tcp *c)
{
    struct cubic *q = cubic_of(c);
    *q = (struct cubic){0};
    hystart_init(&q->start, c);
}

// One bit of the root at a time.
static uint32_t cube_root(uint64_t x)
{
    uint64_t root = 0;
    for (int shift = 63; shift >= 0; shift -= 3) {
        root *= 2;
        uint64_t step = 3 * root * (root + 1) + 1;
        if (x >> shift >= step) {
            x -= step << shift;
            root++;
        }
    }
    return (uint32_t)root;
}

// 4.2: the curve from the present window on.
static void cubic_begin(struct tcp *c, struct cubic *q, uint32_t now)
{
    struct curve *v = &q->now;
    v->epoch = now ? now : 1;
    v->w_est = c->cwnd;
    v->k = 0;
    v->plateau = c->cwnd;
    if (c->cwnd < v->w_max) {
        v->plateau = v->w_max;
        v->k = cube_root((uint64_t)(v->w_max - c->cwnd) * C_INVERSE / c->mss);
    }
    q->credit = 0;
    q->est_bytes = 0;
}

// W_cubic, `t` after the epoch.
static uint32_t cubic_window(const struct tcp *c, const struct curve *v, uint32_t t)
{
    bool below = t < v->k;
    uint64_t off = below ? v->k - t : t - v->k;
    if (off > TIME_MAX)
        off = TIME_MAX;
    unsigned __int128 by = (unsigned __int128)(off * off * off) * (C_SCALED * c->mss) >> C_SHIFT;
    if (below)
        return by < v->plateau ? v->plateau - (uint32_t)by : 0;
    return by < UINT32_MAX - v->plateau ? v->plateau + (uint32_t)by : UINT32_MAX;
}

// 4.3: what Reno would have by now.
static void cubic_estimate(struct tcp *c, struct cubic *q, uint32_t acked)
{
    struct curve *v = &q->now;
    q->est_bytes += acked;
    while (true) {
        uint64_t need =
            v->w_est < v->prior ? (uint64_t)c->cwnd * FRIENDLY_DEN / FRIENDLY_NUM : c->cwnd;
        if (q->est_bytes < need)
            break;
        q->est_bytes -= (uint32_t)need;
        v->w_est += c->mss;
    }
}

static void cubic_avoid(struct tcp *c, struct cubic *q, uint32_t acked)
{
    struct curve *v = &q->now;
    uint32_t now = congestion_clock(c);
    if (unlikely(!v->epoch))
        cubic_begin(c, q, now);
    else if (unlikely(now - q->grown > (c->srtt_us >> 9) + 1))
        v->epoch += now - q->grown; // 5.8: time in which the application was the limit is no time
    q->grown = now;
    // 4.4, 4.5: towards where the curve is a round trip from now, at most half as much again.
    uint32_t target = cubic_window(c, v, now - v->epoch + (c->srtt_us >> 10));
    if (target > c->cwnd) {
        uint32_t gap = target - c->cwnd;
        if (gap > c->cwnd / 2)
            gap = c->cwnd / 2;
        q->credit += (uint64_t)acked * gap;
        for (uint64_t need; q->credit >= (need = (uint64_t)c->cwnd * c->mss);) {
            q->credit -= need;
            c->cwnd += c->mss;
        }
    }
    cubic_estimate(c, q, acked);
    if (c->cwnd < v->w_est)
        c->cwnd = v->w_est;
}

static void cubic_acked(struct tcp *c, const struct tcp_ack *ack)
{
    struct cubic *q = cubic_of(c);
    uint32_t acked = ack->acked;
    if (!congestion_may_grow(c, ack))
        return;
    if (c->ssthresh == UINT32_MAX)
        acked = hystart_acked(&q->start, c, ack);
    if (c->cwnd < c->ssthresh) {
        q->now.epoch = 0;
        acked = congestion_slow_start(c, acked);
    }
    if (acked)
        cubic_avoid(c, q, acked);
}

static uint32_t cubic_threshold(struct tcp *c)
{
    return congestion_cut(c, BETA_TENTHS);
}

static void cubic_lowered(struct tcp *c, struct cubic *q, enum tcp_congestion_event event)
{
    struct curve *v = &q->now;
    // Of several losses in one, the first is the one that undoing would go back to.
    if (!(c->flags & (TCP_LOSS | TCP_RECOVERY)))
        q->before = *v;
    uint32_t used = congestion_used(c);
    v->prior = used;
    if (event == CONGESTION_TIMEOUT)
        v->w_max = 0; // 4.8: the next curve begins at its plateau
    else if (used < v->w_max)
        v->w_max = (uint32_t)((uint64_t)used * CONVERGE_NUM / CONVERGE_DEN);
    else
        v->w_max = used;
    v->epoch = 0;
}

static void cubic_event(struct tcp *c, enum tcp_congestion_event event)
{
    struct cubic *q = cubic_of(c);
    switch (event) {
    case CONGESTION_LOSS:
    case CONGESTION_ECN:
    case CONGESTION_TIMEOUT:
        // A loss right after a mark is the same event.
        if (event != CONGESTION_LOSS || !(c->ecn & TCP_ECN_REDUCED))
            cubic_lowered(c, q, event);
        break;
    case CONGESTION_UNDO:
        q->now = q->before;
        q->grown = congestion_clock(c);
        hystart_init(&q->start, c);
        break;
    case CONGESTION_IDLE:
        q->now.epoch = 0;
        break;
    }
}

const struct tcp_congestion tcp_cubic = {.name = "cubic",
                                         .init = cubic_init,
                                         .acked = cubic_acked,
                                         .threshold = cubic_threshold,
                                         .event = cubic_event};
