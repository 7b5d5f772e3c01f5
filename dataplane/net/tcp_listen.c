// Segments that no connection waits for: a SYN for a listener, one of a half-open connection, of
// one in TIME_WAIT or of another core, and those that get a reset (RFC 9293 3.10.7.1, 3.10.7.2).
#include "dataplane/net/homes.h"
#include "dataplane/net/tcp.h"

static void tcp_listen_input(struct net *net, struct tcp_listener *l, const struct packet *p,
                             const struct tcp_segment *seg, const struct net_flow *flow,
                             uint32_t hash, uint32_t iss_min)
{
    if (seg->flags & TH_FIN) {
        net->counters.tcp_syn_bad++;
        return;
    }
    // The owner does not keep up: a handshake that could not be completed is not begun.
    if (l->pending >= l->backlog) {
        net->counters.tcp_syn_dropped++;
        return;
    }
    if (tcp_connections_full(net))
        return;
    bool full = net->n_requests >= net->config.half_open_max || l->requests >= l->backlog;
    if (full && !iss_min)
        tcp_cookie_send(net, p, seg, flow);
    else if (net->n_requests >= tcp_requests_max(net))
        net->counters.tcp_syn_dropped++;
    else if (!tcp_syn_limited(net))
        tcp_request_new(net, l, seg, flow, hash, iss_min);
}

void tcp_unknown_input(struct net *net, const struct packet *p, struct tcp_segment *seg,
                       const struct net_flow *flow, uint32_t hash, struct net_flow_entry *e)
{
    if (e && e->kind == NET_FLOW_REQUEST) {
        tcp_request_input(net, (struct tcp_request *)e, p, seg);
        return;
    }
    if (unlikely(!flow->remote_port || !flow->local_port)) {
        net->counters.tcp_bad_header++;
        return;
    }
    uint32_t iss_min = 0;
    uint8_t registrar = 0;
    if (e) {
        // What comes of it takes its registration over.
        registrar = e->registrar;
        e->registrar = 0;
        if (!tcp_wait_input(net, (struct tcp_wait *)e, p, seg, &iss_min)) {
            e->registrar = registrar;
            return;
        }
    }
    struct tcp_listener *l = tcp_listener_find(net, flow->local_port);
    uint8_t kind = seg->flags & (TH_SYN | TH_ACK | TH_RST);
    bool opens = kind == TH_SYN;
    enum tcp_cookie cookie =
        l && kind == TH_ACK ? tcp_cookie_check(net, seg, flow) : TCP_COOKIE_NONE;
    // Another stack may be home to this flow.
    if (!e && homes_pass(net, p->frame, flow, hash, l && (opens || cookie == TCP_COOKIE_GOOD)))
        return;
    if (l && opens) {
        tcp_listen_input(net, l, p, seg, flow, hash, iss_min);
        if (unlikely(registrar))
            homes_settle(net, flow, hash, registrar);
        return;
    }
    if (unlikely(registrar))
        homes_end_flow(net, flow, registrar);
    if (cookie == TCP_COOKIE_GOOD) {
        tcp_cookie_open(net, l, p, seg, flow, hash);
        return;
    }
    if (cookie == TCP_COOKIE_EARLY) {
        net->counters.tcp_cookies_early++;
        return;
    }
    if (cookie == TCP_COOKIE_WRONG)
        net->counters.tcp_cookies_failed++;
    // RFC 9293 3.10.7.2: to a listener, what neither opens nor acknowledges says nothing (NULL, FIN
    // and XMAS scans).
    if (l && !(seg->flags & (TH_SYN | TH_ACK | TH_RST))) {
        net->counters.tcp_no_ack++;
        return;
    }
    if (opens || !l)
        net->counters.tcp_no_port++;
    tcp_reset_stranger(net, p, seg);
}
