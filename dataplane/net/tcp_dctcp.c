// DCTCP (RFC 8257): switches mark what waits longer than a short queue, the receiver tells exactly
// what was marked, and the window falls by as much as the marks were many. For networks whose
// switches mark and whose hosts all do so; elsewhere it is as NewReno.
#include "dataplane/net/congestion.h"

enum {
    ALPHA_BITS = 20, // fixed point of alpha
    GAIN_SHIFT = 4,  // g = 1/16
};
#define ALPHA_ONE (1u << ALPHA_BITS)

struct dctcp {
    uint32_t alpha;      // share of the bytes that are marked, smoothed
    uint32_t window_end; // the next observation is complete when this is acknowledged
    uint32_t acked, marked;
    uint32_t partial; // bytes acknowledged towards the next increase of cwnd
};
_Static_assert(sizeof(struct dctcp) <= sizeof(((struct tcp *)0)->congestion_state), "fits");

static struct dctcp *dctcp_of(struct tcp *c)
{
    return (struct dctcp *)c->congestion_state;
}

static void dctcp_init(struct tcp *c)
{
    *dctcp_of(c) = (struct dctcp){.alpha = ALPHA_ONE, .window_end = c->snd_una};
}

static void dctcp_acked(struct tcp *c, const struct tcp_ack *ack)
{
    uint32_t acked = ack->acked;
    if (!congestion_may_grow(c, ack))
        return;
    if (c->cwnd < c->ssthresh)
        acked = congestion_slow_start(c, acked);
    if (acked)
        congestion_avoidance(c, &dctcp_of(c)->partial, acked);
}

// 3.3: once per window.
static void dctcp_counted(struct tcp *c, uint32_t acked, uint32_t ack, bool echo)
{
    struct dctcp *d = dctcp_of(c);
    d->acked += acked;
    if (echo)
        d->marked += acked;
    if (!seq_lt(d->window_end, ack))
        return;
    uint32_t share = d->marked ? (uint32_t)(((uint64_t)d->marked << ALPHA_BITS) / d->acked) : 0;
    // Rounded so that both ends of the scale are reached.
    uint32_t step = d->alpha >> GAIN_SHIFT;
    d->alpha -= step ? step : d->alpha;
    d->alpha += share >> GAIN_SHIFT;
    if (d->alpha > ALPHA_ONE)
        d->alpha = ALPHA_ONE;
    d->acked = d->marked = 0;
    d->window_end = c->snd_nxt;
}

static uint32_t dctcp_marked(struct tcp *c)
{
    uint32_t least = 2u * c->mss;
    uint32_t by = (uint32_t)((uint64_t)c->cwnd * dctcp_of(c)->alpha >> (ALPHA_BITS + 1));
    return c->cwnd - by > least ? c->cwnd - by : least;
}

static uint32_t dctcp_threshold(struct tcp *c)
{
    return congestion_cut(c, 5); // 3.5: a loss is a loss
}

static void dctcp_event(struct tcp *c, enum tcp_congestion_event event)
{
    if (event == CONGESTION_LOSS || event == CONGESTION_TIMEOUT)
        dctcp_of(c)->partial = 0;
}

const struct tcp_congestion tcp_dctcp = {.name = "dctcp",
                                         .ecn = true,
                                         .init = dctcp_init,
                                         .acked = dctcp_acked,
                                         .threshold = dctcp_threshold,
                                         .marked = dctcp_marked,
                                         .counted = dctcp_counted,
                                         .event = dctcp_event};
