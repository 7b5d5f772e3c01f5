// Congestion control around the algorithms: which one a connection has, the window at its start
// (RFC 6928), after idleness (RFC 5681 4.1) and when it is not used (RFC 7661).
#include <assert.h>

#include "dataplane/net/congestion.h"

enum {
    INITIAL_SEGMENTS = 10, // RFC 6928
    INITIAL_BYTES = 14600, // the same for the usual MSS: segments larger than that do not add up
};

static const struct tcp_congestion *const algorithms[] = {
    [NET_CUBIC] = &tcp_cubic,
    [NET_NEWRENO] = &tcp_reno,
    [NET_DCTCP] = &tcp_dctcp,
};
#define ALGORITHMS (sizeof(algorithms) / sizeof(*algorithms))

int net_congestion_find(const char *name)
{
    for (unsigned i = 0; i < ALGORITHMS; i++)
        if (strcmp(algorithms[i]->name, name) == 0)
            return (int)i;
    return -1;
}

void net_set_congestion(struct net *net, enum net_congestion algorithm)
{
    assert((unsigned)algorithm < ALGORITHMS);
    net->config.congestion = algorithm;
}

uint32_t tcp_initial_window(const struct tcp *c)
{
    uint32_t low = 2u * c->mss > INITIAL_BYTES ? 2u * c->mss : INITIAL_BYTES;
    uint32_t full = INITIAL_SEGMENTS * (uint32_t)c->mss;
    return full < low ? full : low;
}

void tcp_congestion_choose(struct tcp *c)
{
    c->congestion = algorithms[c->net->config.congestion];
}

void tcp_congestion_init(struct tcp *c)
{
    c->cwnd = tcp_initial_window(c);
    c->ssthresh = UINT32_MAX;
    c->cwnd_used = congestion_clock(c);
    c->last_data_us = c->net->now_us;
    c->congestion->init(c);
}

uint32_t congestion_cut(const struct tcp *c, uint32_t tenths)
{
    uint32_t least = 2u * c->mss;
    if (c->ecn & TCP_ECN_REDUCED)
        return c->ssthresh > least ? c->ssthresh : least;
    uint32_t cut = (uint32_t)((uint64_t)congestion_used(c) * tenths / 10);
    return cut > least ? cut : least;
}

void congestion_avoidance(struct tcp *c, uint32_t *partial, uint32_t acked)
{
    *partial += acked;
    while (*partial >= c->cwnd) {
        *partial -= c->cwnd;
        c->cwnd += c->mss;
    }
}

// Lowers the window to `cwnd`; slow start brings back most of what was there (RFC 2861 3.2, RFC
// 7661 4.4.2).
static void congestion_decay(struct tcp *c, uint32_t cwnd)
{
    if (c->ssthresh < c->cwnd / 4 * 3)
        c->ssthresh = c->cwnd / 4 * 3;
    c->cwnd = cwnd;
    tcp_congestion_event(c, CONGESTION_IDLE);
}

void congestion_unused(struct tcp *c)
{
    uint32_t initial = tcp_initial_window(c);
    c->cwnd_used = congestion_clock(c);
    if (c->cwnd > initial)
        congestion_decay(c, c->cwnd / 2 > initial ? c->cwnd / 2 : initial);
}

void tcp_congestion_idle(struct tcp *c)
{
    uint64_t idle_us = c->net->now_us - c->last_data_us;
    uint32_t cwnd = c->cwnd, initial = tcp_initial_window(c);
    c->last_data_us = c->net->now_us;
    if (cwnd <= initial)
        return;
    for (; idle_us > c->rto_us && cwnd > initial; idle_us -= c->rto_us)
        cwnd /= 2;
    congestion_decay(c, cwnd > initial ? cwnd : initial);
}
