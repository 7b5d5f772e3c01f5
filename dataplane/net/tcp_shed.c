// Bounds of what peers can make us keep. A peer that asks and does not take (a closed window, no
// acknowledgements, half a request: sockstress and its kin) holds output, transmit frames or
// received bytes. Each kind is bounded for the stack, and when a bound is reached the worst
// offender is reset. Connections that their owner has closed and whose peer lets them linger are
// bounded in number.
//
// Only connections that hold something are looked at: they stand in a list, those that have held
// for longest first.
#include "dataplane/net/tcp.h"

enum {
    LOOKED_AT = 256,      // holders in one search
    SHED_A_TURN = 16,     // connections
    STALLED_US = 1000000, // without progress for so long: the peer does not take what it asked for
};

// Bytes of output that wait or are in flight.
static uint64_t output_held(const struct tcp *c)
{
    return c->tx_bytes + (c->snd_nxt - c->snd_una);
}

static uint64_t input_held(const struct tcp *c)
{
    return c->rx_queued + c->stream.in_len + (c->ranges ? c->ranges->memory : 0);
}

static bool stalled(const struct tcp *c)
{
    uint64_t before = c->net->now_us - STALLED_US;
    return (c->unacked_since_us && c->unacked_since_us <= before) ||
           (c->closed_since_us && c->closed_since_us <= before);
}

void tcp_holder_add(struct tcp *c)
{
    if (c->flags & (TCP_HOLDS | TCP_ORPHAN | TCP_GONE))
        return;
    c->flags |= TCP_HOLDS;
    TAILQ_INSERT_TAIL(&c->net->holders, c, life_link);
}

static void let_go(struct tcp *c)
{
    c->flags &= ~(uint32_t)TCP_HOLDS;
    TAILQ_REMOVE(&c->net->holders, c, life_link);
}

void tcp_holder_check(struct tcp *c)
{
    if ((c->flags & TCP_HOLDS) && !c->tx_bytes && !c->rtx_head && !input_held(c))
        let_go(c);
}

void tcp_orphan(struct tcp *c)
{
    struct net *net = c->net;
    if (c->flags & TCP_HOLDS)
        let_go(c);
    c->flags |= TCP_ORPHAN;
    c->orphaned_us = net->now_us;
    TAILQ_INSERT_TAIL(&net->orphans, c, life_link);
    net->n_orphans++;
    // A server that closes all its clients at once is not under attack: they have a moment.
    struct tcp *oldest = TAILQ_FIRST(&net->orphans);
    if (net->n_orphans > net->config.orphans_max && oldest->orphaned_us + STALLED_US < net->now_us)
        tcp_shed_orphan(net);
}

bool tcp_shed_orphan(struct net *net)
{
    struct tcp *oldest = TAILQ_FIRST(&net->orphans);
    if (!oldest)
        return false;
    net->counters.tcp_orphans_dropped++;
    tcp_send_reset(oldest);
    tcp_finish(oldest, STREAM_NO_MEMORY);
    return true;
}

void tcp_leave_holders(struct tcp *c)
{
    if (c->flags & TCP_HOLDS)
        let_go(c);
    if (c->flags & TCP_ORPHAN) {
        c->flags &= ~(uint32_t)TCP_ORPHAN;
        TAILQ_REMOVE(&c->net->orphans, c, life_link);
        c->net->n_orphans--;
    }
}

// The one that holds most by `held`; `patient`: only of those that are stalled.
static struct tcp *worst(struct net *net, uint64_t (*held)(const struct tcp *c), bool patient)
{
    struct tcp *found = NULL, *lists[2] = {TAILQ_FIRST(&net->orphans), TAILQ_FIRST(&net->holders)};
    uint64_t most = 0;
    for (unsigned k = 0; k < 2; k++) {
        unsigned n = 0;
        for (struct tcp *c = lists[k]; c && n < LOOKED_AT; c = TAILQ_NEXT(c, life_link), n++) {
            uint64_t holds = held(c);
            if (holds > most && (!patient || stalled(c))) {
                most = holds;
                found = c;
            }
        }
    }
    return found;
}

static void shed(struct tcp *c, uint64_t *counter)
{
    ++*counter;
    tcp_tx_disable(c);
    tcp_send_reset(c);
    tcp_finish(c, STREAM_NO_MEMORY);
}

void tcp_shed(struct net *net)
{
    struct net_counters *count = &net->counters;
    struct tcp *c;
    for (unsigned i = 0; i < SHED_A_TURN && net->tx_memory > net->config.send_memory_max; i++) {
        // Readers that make progress may have up to twice as much.
        bool patient = net->tx_memory <= 2 * net->config.send_memory_max;
        if (!(c = worst(net, output_held, patient)))
            break;
        shed(c, &count->tcp_shed_output);
    }
    if (net->rx_short && (c = worst(net, input_held, false)))
        shed(c, &count->tcp_shed_input);
    if (net->frames_short && (c = worst(net, output_held, true)))
        shed(c, &count->tcp_shed_frames);
    net->rx_short = net->frames_short = false;
}
