// TIME_WAIT (RFC 9293 3.6.1, RFC 1337, RFC 6191): after an orderly close the last acknowledgement
// must be repeatable and old segments must die. It costs a small struct, not a connection, and
// their number is bounded: the oldest goes first.
#include <mimalloc.h>

#include "dataplane/net/homes.h"
#include "dataplane/net/tcp.h"

// Twice the maximum segment lifetime. Networks hold no segment for longer than seconds; common
// stacks keep 60 s.
enum { TIME_WAIT_US = 60000000 };
// A port is used again for the same destination after this long: timestamps, of a millisecond here
// and of up to a second elsewhere (RFC 7323 5.4), have moved on then.
enum { REUSE_US = 1000000 };

static void tcp_wait_timer(void *context, struct net_timer *timer)
{
    tcp_wait_free(context, (struct tcp_wait *)((char *)timer - offsetof(struct tcp_wait, timer)));
}

void tcp_wait_free(struct net *net, struct tcp_wait *w)
{
    net_wheel_stop(&net->wheel, &w->timer);
    net_flows_remove(&net->flows, &w->entry);
    homes_end(net, &w->entry);
    TAILQ_REMOVE(&net->waits, w, link);
    net->n_waits--;
    mi_free(w);
}

void tcp_wait_enter(struct tcp *c)
{
    struct net *net = c->net;
    // The last acknowledgement leaves before the connection does.
    if (c->flags & (TCP_ACK_NOW | TCP_ACK_DELAYED))
        tcp_send_ack(c);
    struct net_flow flow = net_flow_of(&c->entry);
    struct tcp_wait *w = mi_malloc(sizeof(*w) + net_flow_extra(&flow));
    if (w) {
        *w = (struct tcp_wait){.timer = {.fire = tcp_wait_timer},
                               .rcv_nxt = c->rcv_nxt,
                               .snd_nxt = c->snd_nxt,
                               .rcv_wnd = tcp_receive_space(c),
                               .ts_recent = c->ts_recent,
                               .ts_offset = c->ts_offset,
                               .stamps = (c->flags & TCP_STAMPS) != 0,
                               .rcv_scale = c->rcv_scale};
        net_flow_entry_set(&w->entry, &flow, c->entry.hash, NET_FLOW_TIME_WAIT, w->pair);
        w->entry.registrar = c->entry.registrar;
        c->entry.registrar = 0; // goes on
    }
    tcp_finish(c, STREAM_OK);
    if (!w) {
        net->counters.no_memory++;
        return;
    }
    while (net->n_waits && net->n_waits >= net->config.time_wait_max) {
        net->counters.tcp_time_wait_recycled++;
        tcp_wait_free(net, TAILQ_FIRST(&net->waits));
    }
    net_flows_add(&net->flows, &w->entry);
    TAILQ_INSERT_TAIL(&net->waits, w, link);
    net->n_waits++;
    net->counters.tcp_time_wait++;
    net_wheel_start(&net->wheel, &w->timer, net->now_us + TIME_WAIT_US);
}

// Beyond anything that the old incarnation could still have under way.
static uint32_t tcp_wait_next_sequence(const struct tcp_wait *w)
{
    uint32_t iss = w->snd_nxt + 65535 + 2;
    return iss ? iss : 1;
}

bool tcp_wait_may_reuse(const struct net *net, const struct net_flow_entry *e)
{
    const struct tcp_wait *w = (const struct tcp_wait *)e;
    return e->kind == NET_FLOW_TIME_WAIT && w->stamps &&
           net_timer_due_us(&w->timer) <= net->now_us + TIME_WAIT_US - REUSE_US;
}

uint32_t tcp_wait_reuse(struct net *net, struct net_flow_entry *e)
{
    struct tcp_wait *w = (struct tcp_wait *)e;
    uint32_t iss = tcp_wait_next_sequence(w);
    net->counters.tcp_port_reused++;
    tcp_wait_free(net, w);
    return iss;
}

static void tcp_wait_ack(struct net *net, const struct tcp_wait *w)
{
    uint32_t wnd = w->rcv_wnd >> w->rcv_scale;
    uint32_t stamps[2] = {tcp_stamp_clock(net) + w->ts_offset, w->ts_recent};
    struct net_flow flow = net_flow_of(&w->entry);
    tcp_send_bare(net, NULL, &flow, w->snd_nxt, w->rcv_nxt, TH_ACK,
                  (uint16_t)(wnd > 65535 ? 65535 : wnd), w->stamps ? stamps : NULL);
}

// RFC 6191: a new incarnation shows by its timestamp, or else by its sequence number.
static bool tcp_wait_newer(const struct tcp_wait *w, const struct tcp_segment *seg)
{
    if (seg->has_stamp && !w->stamps)
        return true;
    if (seg->has_stamp && seg->ts_value != w->ts_recent)
        return seq_lt(w->ts_recent, seg->ts_value);
    return seq_lt(w->rcv_nxt, seg->seq);
}

bool tcp_wait_input(struct net *net, struct tcp_wait *w, const struct packet *p,
                    const struct tcp_segment *seg, uint32_t *iss)
{
    (void)p;
    if (seg->flags & TH_RST) { // RFC 1337: a stray RST must not end TIME_WAIT
        net->counters.tcp_reset_bad++;
        return false;
    }
    if ((seg->flags & (TH_SYN | TH_ACK)) == TH_SYN) {
        if (tcp_wait_newer(w, seg)) {
            *iss = tcp_wait_next_sequence(w);
            tcp_wait_free(net, w);
            return true;
        }
        net->counters.tcp_syn_bad++;
    } else if (!(seg->flags & TH_ACK)) {
        net->counters.tcp_no_ack++;
        return false;
    } else if (!seg->len && !(seg->flags & (TH_FIN | TH_SYN))) {
        return false; // two ends that acknowledge acknowledgements would never stop
    } else if ((seg->flags & TH_FIN) && seg->seq + seg->len + 1 == w->rcv_nxt) {
        // Its FIN again: our acknowledgement was lost, and the time begins anew (RFC 9293
        // 3.10.7.4). No other segment prolongs it.
        net_wheel_start(&net->wheel, &w->timer, net->now_us + TIME_WAIT_US);
        TAILQ_REMOVE(&net->waits, w, link);
        TAILQ_INSERT_TAIL(&net->waits, w, link);
    }
    // Also data of a peer that has not understood.
    if (tcp_challenge_allowed(net, &w->challenge_ms))
        tcp_wait_ack(net, w);
    return false;
}
