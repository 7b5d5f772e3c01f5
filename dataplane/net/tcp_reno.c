// NewReno's way of moving the window (RFC 5681, RFC 6582): half of it after a loss, a segment more
// each round trip.
#include "dataplane/net/congestion.h"

struct reno {
    uint32_t partial; // bytes acknowledged towards the next increase of cwnd
};
_Static_assert(sizeof(struct reno) <= sizeof(((struct tcp *)0)->congestion_state), "fits");

static struct reno *reno_of(struct tcp *c)
{
    return (struct reno *)c->congestion_state;
}

static void reno_init(struct tcp *c)
{
    reno_of(c)->partial = 0;
}

static void reno_acked(struct tcp *c, const struct tcp_ack *ack)
{
    uint32_t acked = ack->acked;
    if (!congestion_may_grow(c, ack))
        return;
    if (c->cwnd < c->ssthresh)
        acked = congestion_slow_start(c, acked);
    if (acked)
        congestion_avoidance(c, &reno_of(c)->partial, acked);
}

static uint32_t reno_threshold(struct tcp *c)
{
    return congestion_cut(c, 5);
}

static void reno_event(struct tcp *c, enum tcp_congestion_event event)
{
    if (event != CONGESTION_UNDO)
        reno_of(c)->partial = 0;
}

const struct tcp_congestion tcp_reno = {.name = "newreno",
                                        .init = reno_init,
                                        .acked = reno_acked,
                                        .threshold = reno_threshold,
                                        .event = reno_event};
