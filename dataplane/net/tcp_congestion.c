// The congestion window at its start, and NewReno's way of moving it (RFC 5681, RFC 3465).
#include "dataplane/net/congestion.h"

enum { INITIAL_SEGMENTS = 10 }; // RFC 6928

struct reno {
    uint32_t partial; // bytes acknowledged towards the next increase of cwnd
};
_Static_assert(sizeof(struct reno) <= sizeof(((struct tcp *)0)->congestion_state), "fits");

static struct reno *reno_of(struct tcp *c)
{
    return (struct reno *)c->congestion_state;
}

uint32_t tcp_initial_window(const struct tcp *c)
{
    uint32_t low = 2u * c->mss > 14600 ? 2u * c->mss : 14600;
    uint32_t full = INITIAL_SEGMENTS * (uint32_t)c->mss;
    return full < low ? full : low;
}

void tcp_congestion_init(struct tcp *c)
{
    c->congestion = &tcp_reno;
    c->cwnd = tcp_initial_window(c);
    c->ssthresh = UINT32_MAX;
    c->congestion->init(c);
}

static void reno_init(struct tcp *c)
{
    reno_of(c)->partial = 0;
}

static void reno_acked(struct tcp *c, const struct tcp_ack *ack)
{
    if (!ack->window_used)
        return;
    if (c->cwnd < c->ssthresh) {
        c->cwnd += ack->acked; // by bytes: RFC 3465, so that delayed ACKs cost nothing
        return;
    }
    struct reno *r = reno_of(c);
    r->partial += ack->acked;
    if (r->partial >= c->cwnd) {
        r->partial -= c->cwnd;
        c->cwnd += c->mss;
    }
}

static uint32_t reno_threshold(struct tcp *c)
{
    uint32_t half = (c->snd_nxt - c->snd_una) / 2;
    return half > 2u * c->mss ? half : 2u * c->mss;
}

static void reno_event(struct tcp *c, enum tcp_congestion_event event)
{
    if (event == CONGESTION_TIMEOUT)
        reno_of(c)->partial = 0;
}

const struct tcp_congestion tcp_reno = {.name = "newreno",
                                        .init = reno_init,
                                        .acked = reno_acked,
                                        .threshold = reno_threshold,
                                        .event = reno_event};
