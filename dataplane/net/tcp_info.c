// What an operator may see of connections. Looks only; a figure that a connection does not keep is
// 0.
#include <stdio.h>

#include "dataplane/net/tcp_board.h"

// Slots of the table that one call of net_each_connection looks at: a table for a million
// connections that holds a few is walked in steps that a core does not feel.
#define SLOTS_A_CALL 4096

static uint64_t age(const struct net *net, uint64_t then)
{
    return then && then < net->now_us ? net->now_us - then : 0;
}

static uint64_t left(const struct net *net, uint64_t then)
{
    return then > net->now_us ? then - net->now_us : 0;
}

// The first deadline, as `ss -o` names it.
static void tcp_info_timer(const struct tcp *c, struct stream_info *info)
{
    const char *name = "";
    uint64_t at = UINT64_MAX;
    if (c->rto_at_us) {
        at = c->rto_at_us;
        name = c->flags & TCP_PERSIST ? "persist" : "on";
        info->timer_tries = c->backoff;
    }
    if (c->probe_at_us && c->probe_at_us < at) {
        at = c->probe_at_us;
        name = "on";
    }
    if (c->ack_at_us && c->ack_at_us < at) {
        at = c->ack_at_us;
        name = "delack";
        info->timer_tries = 0;
    }
    if (c->keep_at_us && c->keep_at_us < at) {
        at = c->keep_at_us;
        name = c->state == TCP_FIN_WAIT_2 ? "timewait" : "keepalive";
        info->timer_tries = c->keep_probes;
    }
    snprintf(info->timer, sizeof(info->timer), "%s", name);
    if (at != UINT64_MAX)
        info->timer_us = left(c->net, at);
}

void tcp_info(const struct stream *s, struct stream_info *info)
{
    const struct tcp *c = (const struct tcp *)s;
    const struct net *net = c->net;
    uint32_t flight = c->snd_nxt - c->snd_una;
    *info = (struct stream_info){
        .owner = stream_owner(s),
        .rtt_us = c->srtt_us,
        .rttvar_us = c->rttvar_us,
        .rto_us = c->rto_us,
        .ato_us = net->config.delayed_ack_us,
        .mss = c->mss,
        .receive_mss = c->receive_mss,
        .peer_mss = c->peer_mss,
        .cwnd = c->cwnd,
        .ssthresh = c->ssthresh,
        .snd_wnd = c->snd_wnd,
        .rcv_wnd = c->rcv_adv - c->rcv_nxt,
        .rcv_space = tcp_receive_space(c),
        .unread = s->in_len + c->rx_queued,
        .unsent = tcp_tx_unsent(c),
        .unacked = flight,
        .bytes_in = c->bytes_in,
        .bytes_out = c->bytes_out,
        .bytes_acked = c->bytes_out > flight ? c->bytes_out - flight : 0,
        .bytes_retransmitted = c->bytes_retransmitted,
        .data_segments_in = c->data_segments_in,
        .data_segments_out = c->data_segments_out,
        .segments_in = c->segments_in,
        .segments_out = c->segments_out,
        .retransmitted = c->retransmitted,
        .reordering = c->reordering,
        .reordering_seen = c->reorderings,
        .dsack_duplicates = c->dsacks,
        .min_rtt_us = c->min_rtt_us,
        .last_sent_us = age(net, c->last_tx_us),
        .last_received_us = age(net, c->last_rx_us),
        .last_ack_us = age(net, c->last_ack_us),
        .backoff = c->backoff,
        .snd_scale = c->snd_scale,
        .rcv_scale = c->rcv_scale,
        .scaling = c->snd_scale || c->rcv_scale,
        .timestamps = (c->flags & TCP_STAMPS) != 0,
        .sack = (c->flags & TCP_SACK) != 0,
        .ecn = (c->ecn & TCP_ECN_AGREED) != 0,
        .ecn_seen = (c->ecn & TCP_ECN_SEEN) != 0,
        .pacing_rate = tcp_pacing_rate(c),
        .passive = (c->flags & TCP_PASSIVE) != 0,
    };
    if (c->board) {
        info->sacked = c->board->sacked;
        info->lost = c->board->lost;
        info->resent = c->board->resent;
    }
    // A send queue of a window is a few hundred frames at most; it is walked for operators only.
    for (const struct frame *f = c->rtx_head; f; f = f->next)
        info->unacked_segments++;
    for (unsigned i = 0; c->ranges && i < c->ranges->count; i++)
        info->out_of_order++;
    snprintf(info->congestion, sizeof(info->congestion), "%s",
             c->congestion ? c->congestion->name : "");
    tcp_info_timer(c, info);
    struct net_flow flow = net_flow_of(&c->entry);
    net_flow_endpoints(&flow, &info->local, &info->remote);
    info->pmtu = net_link_mtu(net, &flow);
    snprintf(info->state, sizeof(info->state), "%s", tcp_state_name(c->state));
}

static void wait_info(const struct net *net, const struct tcp_wait *w, struct stream_info *info)
{
    *info = (struct stream_info){.state = "TIME-WAIT",
                                 .timer = "timewait",
                                 .timer_us = left(net, net_timer_due_us(&w->timer)),
                                 .rcv_wnd = w->rcv_wnd,
                                 .rcv_scale = w->rcv_scale,
                                 .timestamps = w->stamps};
    struct net_flow flow = net_flow_of(&w->entry);
    net_flow_endpoints(&flow, &info->local, &info->remote);
}

// A SYN that was answered, and whose handshake is not complete.
static void request_info(const struct net *net, const struct tcp_request *r,
                         struct stream_info *info)
{
    *info = (struct stream_info){.state = "SYN-RECEIVED",
                                 .timer = "on",
                                 .timer_us = left(net, r->due_us),
                                 .timer_tries = r->tries,
                                 .peer_mss = r->mss,
                                 .snd_wnd = r->wnd,
                                 .snd_scale = r->scale,
                                 .scaling = r->has_scale,
                                 .timestamps = r->has_stamp,
                                 .sack = r->has_sack,
                                 .passive = true};
    struct net_flow flow = net_flow_of(&r->entry);
    net_flow_endpoints(&flow, &info->local, &info->remote);
}

void net_each_connection(struct net *net, uint64_t *cursor, unsigned max,
                         bool (*each)(void *context, const struct stream_info *info), void *context)
{
    uint64_t at = *cursor, stop = at + SLOTS_A_CALL;
    bool more = true;
    for (unsigned n = 0; more && at <= net->flows.mask && at < stop && n < max; at++) {
        struct net_flow_entry *e = net_flows_at(&net->flows, at);
        if (!e)
            continue;
        struct stream_info info;
        if (e->kind == NET_FLOW_CONNECTION)
            tcp_info((const struct stream *)((char *)e - offsetof(struct tcp, entry)), &info);
        else if (e->kind == NET_FLOW_REQUEST)
            request_info(net, (const struct tcp_request *)e, &info);
        else
            wait_info(net, (const struct tcp_wait *)e, &info);
        more = each(context, &info);
        n++;
    }
    *cursor = at <= net->flows.mask ? at : 0;
}
