// What happens when nothing happens: retransmission, window probes, delayed acknowledgements,
// keepalive, the end of half-closed states, and giving up. A connection has one timer in the wheel;
// its deadlines move with every segment without touching the wheel, and are looked at when the
// timer fires.
#include "dataplane/net/tcp.h"

enum {
    SYN_TRIES = 6, // 1 s doubled six times: two minutes
    BACKOFF_MAX = 8,
    RTO_LIMIT_US =
        60000000, // RFC 6298 2.5: at least 60 s; no more, so that a FIN meets the peer in TIME_WAIT
    KEEP_PROBES = 3,
    RETRY_US = 5000,
};

void tcp_timer_start(struct tcp *c, uint64_t at_us)
{
    net_wheel_start(&c->net->wheel, &c->timer, at_us);
}

static uint64_t backed_off(const struct tcp *c)
{
    uint64_t rto = (uint64_t)c->rto_us << c->backoff;
    return rto < RTO_LIMIT_US ? rto : RTO_LIMIT_US;
}

static bool gave_up(const struct tcp *c)
{
    uint64_t limit = (uint64_t)c->net->config.user_timeout_ms * 1000;
    return c->unacked_since_us && c->net->now_us - c->unacked_since_us >= limit;
}

static bool closed_too_long(const struct tcp *c)
{
    uint64_t limit = (uint64_t)c->net->config.user_timeout_ms * 1000;
    return c->closed_since_us && c->net->now_us - c->closed_since_us >= limit;
}

// False when the connection is gone.
static bool handshake_timeout(struct tcp *c)
{
    struct net *net = c->net;
    if (unlikely(!c->last_tx_us && c->entry.pair_at)) {
        // The SYN waits until its source address is known to be ours alone.
        c->rto_at_us = ipv6_source_ready(net, c->pair->local);
        if (c->rto_at_us == UINT64_MAX) {
            tcp_finish(c, STREAM_UNREACHABLE);
            return false;
        }
        if (c->rto_at_us <= net->now_us) {
            c->rto_at_us = net->now_us + c->rto_us;
            tcp_send_syn(c);
        }
        return true;
    }
    if (c->tries >= SYN_TRIES) {
        net->counters.tcp_timeouts++;
        struct neighbour *n = c->neighbour;
        bool nobody = n && n->generation == c->neighbour_generation && n->state == NEIGHBOUR_FAILED;
        tcp_finish(c, nobody || c->soft_error ? STREAM_UNREACHABLE : STREAM_TIMED_OUT);
        return false;
    }
    if (c->neighbour && c->neighbour->generation == c->neighbour_generation &&
        c->neighbour->state == NEIGHBOUR_FAILED) {
        tcp_finish(c, STREAM_UNREACHABLE);
        return false;
    }
    c->tries++;
    c->backoff++;
    c->retransmitted++;
    net->counters.tcp_retransmit_timer++;
    c->rto_at_us = net->now_us + backed_off(c);
    tcp_send_syn(c);
    return true;
}

static bool user_timeout(struct tcp *c)
{
    c->net->counters.tcp_user_timeouts++;
    tcp_send_reset(c);
    tcp_finish(c, STREAM_TIMED_OUT);
    return false;
}

static bool persist_timeout(struct tcp *c)
{
    struct net *net = c->net;
    c->rto_at_us = 0;
    c->flags &= ~(uint32_t)TCP_PERSIST;
    if (gave_up(c))
        return user_timeout(c);
    uint32_t before = c->snd_nxt;
    tcp_output(c);
    if (c->snd_nxt != before || (!c->tx_bytes && !(c->flags & TCP_FIN_QUEUED)))
        return true;
    if (c->rto_at_us && !c->closed_since_us)
        return true; // it was for want of a frame, and is tried again soon
    // A window that has room for a part and stays so: the part goes (RFC 9293 3.8.6.2.1, the
    // override).
    if (c->snd_wnd && tcp_usable(c) && c->tx_bytes) {
        uint32_t n = tcp_usable(c);
        n = n < c->tx_bytes ? n : (uint32_t)c->tx_bytes;
        n = n < c->mss ? n : c->mss;
        struct frame *f = net_frame_new(net, true);
        if (f) {
            c->rto_at_us = 0;
            tcp_tx_take(c, f->data + c->header_len, n);
            tcp_emit(c, f, n, TH_PSH);
            return true;
        }
        c->rto_at_us = net->now_us + RETRY_US;
        c->flags |= TCP_PERSIST;
        return true;
    }
    // A peer that answers every probe and never opens its window does not hold our output for ever
    // (as TCP_USER_TIMEOUT of Linux).
    if (closed_too_long(c))
        return user_timeout(c);
    net->counters.tcp_zero_window_probes++;
    if (!c->unacked_since_us)
        c->unacked_since_us = net->now_us;
    tcp_send_probe(c);
    if (c->backoff < BACKOFF_MAX)
        c->backoff++;
    c->flags |= TCP_PERSIST;
    c->rto_at_us = net->now_us + backed_off(c);
    uint64_t last = c->closed_since_us + (uint64_t)net->config.user_timeout_ms * 1000;
    if (c->closed_since_us && last > net->now_us && last < c->rto_at_us)
        c->rto_at_us = last;
    return true;
}

static bool retransmit_timeout(struct tcp *c)
{
    struct net *net = c->net;
    if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED)
        return handshake_timeout(c);
    if (c->flags & TCP_PERSIST)
        return persist_timeout(c);
    if (c->snd_una == c->snd_nxt) {
        c->rto_at_us = 0;
        return true;
    }
    if (gave_up(c)) {
        net->counters.tcp_user_timeouts++;
        tcp_send_reset(c);
        tcp_finish(c, c->soft_error ? STREAM_UNREACHABLE : STREAM_TIMED_OUT);
        return false;
    }
    net->counters.tcp_retransmit_timer++;
    tcp_pmtu_timeout(c);
    tcp_enter_loss(c);
    if (c->backoff < BACKOFF_MAX)
        c->backoff++;
    c->rto_at_us = net->now_us + backed_off(c);
    return true;
}

static bool keep_timeout(struct tcp *c)
{
    struct net *net = c->net;
    uint64_t now = net->now_us;
    if (c->state == TCP_FIN_WAIT_2) {
        tcp_finish(c, STREAM_OK); // the peer never closed its side
        return false;
    }
    c->keep_at_us = 0;
    if (!c->keep_idle_s || c->state < TCP_ESTABLISHED)
        return true;
    uint64_t idle = (uint64_t)c->keep_idle_s * 1000000;
    if (now < c->last_rx_us + idle) {
        c->keep_probes = 0;
        c->keep_at_us = c->last_rx_us + idle;
        return true;
    }
    if (c->keep_probes >= KEEP_PROBES) {
        net->counters.tcp_keepalive_dropped++;
        tcp_send_reset(c);
        tcp_finish(c, STREAM_TIMED_OUT);
        return false;
    }
    c->keep_probes++;
    net->counters.tcp_keepalive_probes++;
    tcp_send_probe(c);
    uint64_t interval = idle / KEEP_PROBES;
    c->keep_at_us = now + (interval ? interval : 1000000);
    return true;
}

void tcp_timer_fire(void *context, struct net_timer *timer)
{
    struct net *net = context;
    struct tcp *c = (struct tcp *)((char *)timer - offsetof(struct tcp, timer));
    uint64_t now = net->now_us;
    if (c->ack_at_us && c->ack_at_us <= now) {
        c->ack_at_us = 0;
        tcp_send_ack(c);
    }
    if (c->probe_at_us && c->probe_at_us <= now) {
        c->probe_at_us = 0;
        if (c->flags & TCP_RACK_WAIT)
            tcp_rack_timeout(c);
        else
            tcp_probe_timeout(c);
    }
    if (c->rto_at_us && c->rto_at_us <= now && !retransmit_timeout(c))
        return;
    if (c->keep_at_us && c->keep_at_us <= now && !keep_timeout(c))
        return;
    if (c->pace_at_us && c->pace_at_us <= now) {
        c->pace_at_us = 0;
        tcp_output(c);
        tcp_tx_check_writable(c);
    }
    uint64_t next = UINT64_MAX;
    if (c->pace_at_us)
        next = c->pace_at_us;
    if (c->rto_at_us && c->rto_at_us < next)
        next = c->rto_at_us;
    if (c->probe_at_us && c->probe_at_us < next)
        next = c->probe_at_us;
    if (c->ack_at_us && c->ack_at_us < next)
        next = c->ack_at_us;
    if (c->keep_at_us && c->keep_at_us < next)
        next = c->keep_at_us;
    if (next != UINT64_MAX)
        tcp_timer_by(c, next);
}
