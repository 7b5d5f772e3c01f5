// Pacing: on a long path a window that leaves in one burst waits, or is lost, in the first queue
// that is slower than we are. What is sent while more waits than the window holds is spread over
// the round trip, a little faster than the window comes back, so that the window stays the limit.
//
// What fits into the window leaves at once: a lone request or reply is never delayed. Bursts up to
// the initial window or a few ticks of the timer are let through, which is what the timer can do.
#include "dataplane/net/congestion.h"

enum {
    GAIN_SLOW_START = 200, // percent of a window per round trip
    GAIN_AVOIDANCE = 125,
    BURST_US = 4096, // four ticks of the timer
};

static uint32_t gain(const struct tcp *c)
{
    return c->cwnd < c->ssthresh ? GAIN_SLOW_START : GAIN_AVOIDANCE;
}

// Recovery has a clock of its own (RFC 6937).
static bool paced(const struct tcp *c)
{
    return c->srtt_us >= PACING_RTT_US && !(c->flags & (TCP_RECOVERY | TCP_LOSS));
}

uint64_t tcp_pacing_rate(const struct tcp *c)
{
    return paced(c) ? (uint64_t)c->cwnd * gain(c) * 10000 / c->srtt_us : 0;
}

static void earn(struct tcp *c)
{
    uint64_t now = c->net->now_us, elapsed = now - c->pace_us;
    if (!elapsed)
        return;
    c->pace_us = now;
    uint64_t round_us = (uint64_t)c->srtt_us * 100, window = (uint64_t)c->cwnd * gain(c);
    int64_t most = (int64_t)(window * BURST_US / round_us), initial = tcp_initial_window(c);
    if (most < initial)
        most = initial;
    // What left more than a round trip ago burdens nobody any more.
    int64_t due =
        elapsed < c->srtt_us ? c->pace_credit + (int64_t)(window * elapsed / round_us) : most;
    c->pace_credit = (int32_t)(due < most ? due : most);
}

void tcp_pace_spend(struct tcp *c, uint32_t bytes)
{
    enum { DEBT_MAX = 1 << 30 };
    if (c->pace_credit > -DEBT_MAX)
        c->pace_credit -= (int32_t)bytes;
}

bool tcp_pace(struct tcp *c)
{
    if (!paced(c)) {
        c->pace_credit = 0;
        c->pace_us = c->net->now_us;
        return true;
    }
    earn(c);
    if (c->pace_credit > 0)
        return true;
    c->net->counters.tcp_paced++;
    uint64_t wait_us =
        (uint64_t)(c->mss - c->pace_credit) * 100 * c->srtt_us / ((uint64_t)c->cwnd * gain(c));
    c->pace_at_us = c->net->now_us + wait_us;
    tcp_timer_by(c, c->pace_at_us);
    return false;
}
