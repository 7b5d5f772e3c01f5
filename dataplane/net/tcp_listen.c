// Segments that no connection waits for: a SYN for a listener, one of a connection in TIME_WAIT or
// of another core, and those that get a reset (RFC 9293 3.10.7.1, 3.10.7.2).
#include "dataplane/net/tcp.h"

static void tcp_listen_input(struct net *net, struct tcp_listener *l, const struct packet *p,
                             const struct tcp_segment *seg, const struct net_flow *flow,
                             uint32_t hash, uint32_t iss)
{
    if (seg->flags & TH_FIN) {
        net->counters.tcp_syn_bad++;
        return;
    }
    struct endpoint local, remote;
    net_flow_endpoints(flow, &local, &remote);
    if (net->config.admit && !net->config.admit(net->config.context, &remote)) {
        net->counters.tcp_syn_refused++;
        tcp_reset_stranger(net, p, seg);
        return;
    }
    // A full queue loses its oldest half-open connection: a flood then has to outrun the round trip
    // of an honest client, not to hold the queue.
    if (net->n_half_open >= net->config.half_open_max || l->pending >= l->backlog) {
        struct tcp *oldest = TAILQ_FIRST(&net->half_open);
        net->counters.tcp_syn_dropped++;
        if (!oldest || (l->pending >= l->backlog && oldest->listener != l))
            return;
        tcp_finish(oldest, STREAM_NO_MEMORY);
    }
    struct tcp *c = tcp_new(net, flow, hash);
    if (!c)
        return;
    c->flags |= TCP_PASSIVE | TCP_HALF_OPEN | TCP_ADMITTED;
    c->listener = l;
    l->pending++;
    TAILQ_INSERT_TAIL(&net->half_open, c, life_link);
    net->n_half_open++;
    c->state = TCP_SYN_RECEIVED;
    if (iss && seq_lt(c->iss, iss))
        c->iss = iss;
    c->irs = seg->seq;
    c->rcv_nxt = seg->seq + 1;
    c->snd_una = c->iss;
    c->snd_nxt = c->iss + 1;
    c->snd_wnd = c->max_wnd = seg->wnd; // never scaled in a SYN
    c->snd_wl1 = seg->seq;
    tcp_take_options(c, seg);
    c->segments_in++;
    c->rto_at_us = net->now_us + c->rto_us;
    tcp_timer_by(c, c->rto_at_us);
    tcp_send_syn(c);
}

void tcp_unknown_input(struct net *net, const struct packet *p, struct tcp_segment *seg,
                       const struct net_flow *flow, uint32_t hash, struct net_flow_entry *e)
{
    if (unlikely(!flow->remote_port || !flow->local_port)) {
        net->counters.tcp_bad_header++;
        return;
    }
    uint32_t iss = 0;
    bool again = e && tcp_wait_input(net, (struct tcp_wait *)e, p, seg, &iss);
    if (e && !again)
        return;
    struct tcp_listener *l = tcp_listener_find(net, flow->local_port);
    bool opens = (seg->flags & (TH_SYN | TH_ACK | TH_RST)) == TH_SYN;
    if (opens && l) {
        tcp_listen_input(net, l, p, seg, flow, hash, iss);
        return;
    }
    // Another core may be home to this flow.
    if (net->config.find_home && net->config.find_home(net->config.context, p->frame, hash))
        return;
    if (opens || !l)
        net->counters.tcp_no_port++;
    tcp_reset_stranger(net, p, seg);
}
