// The life of a TCP connection: making one, what its owner can ask of it, and its end.
#include <assert.h>
#include <errno.h>
#include <mimalloc.h>
#include <stdio.h>

#include "dataplane/net/homes.h"
#include "dataplane/net/tcp_board.h"

enum {
    RTO_INITIAL_US = 1000000, // RFC 6298 2.1
    PORT_FIRST = 10000,       // RFC 6056: as wide as leaves the well-known ones alone
    PORT_COUNT = 55536,
    // All ports towards a destination were looked at in vain: a search costs milliseconds.
    PORT_EXHAUSTED_US = 100000,
    FIN_WAIT_2_US = 60000000,
};

static const struct stream_ops tcp_stream_ops;

// RFC 6528: a clock of 4 microseconds and a secret function of the connection.
uint32_t tcp_initial_sequence(struct net *net, const struct net_flow *flow)
{
    return (uint32_t)(net->now_us / 4) + (uint32_t)net_flow_sip(net->key_sequence, flow, 2, 4);
}

uint32_t tcp_stamp_offset(const struct net *net, const struct net_flow *flow)
{
    return (uint32_t)net_flow_sip(net->key_stamps, flow, 2, 4);
}

uint8_t tcp_receive_scale(const struct net *net)
{
    uint8_t scale = 0;
    while (scale < 14 && 65535u << scale < net->config.receive_buffer_max)
        scale++;
    return scale;
}

uint16_t tcp_our_mss(const struct net *net, const struct net_flow *flow)
{
    return (uint16_t)(net_link_mtu(net, flow) - net_l3_header(flow) - TCP_HEADER);
}

bool tcp_connections_full(struct net *net)
{
    if (likely(net->n_connections + net->n_gone < net->config.connections_max))
        return false;
    // What only its peer keeps alive does not keep others out.
    if (tcp_shed_orphan(net) && net->n_connections + net->n_gone < net->config.connections_max)
        return false;
    net->counters.tcp_connections_full++;
    return true;
}

struct tcp *tcp_new(struct net *net, const struct net_flow *flow, uint32_t hash)
{
    if (tcp_connections_full(net))
        return NULL;
    struct tcp *c = mi_zalloc_aligned(sizeof(*c) + net_flow_extra(flow), 64);
    if (!c) {
        net->counters.no_memory++;
        return NULL;
    }
    c->stream.ops = &tcp_stream_ops;
    c->stream.out.ops = &tcp_out_ops;
    tcp_tx_close_span(c);
    c->net = net;
    net_flow_entry_set(&c->entry, flow, hash, NET_FLOW_CONNECTION, c->pair);
    c->timer.fire = tcp_timer_fire;
    c->rto_us = RTO_INITIAL_US;
    c->ts_offset = tcp_stamp_offset(net, flow);
    c->peer_mss = TCP_MSS_DEFAULT;
    c->mss = TCP_MSS_DEFAULT;
    c->rcv_scale = tcp_receive_scale(net);
    c->iss = tcp_initial_sequence(net, flow);
    tcp_congestion_choose(c);
    c->last_rx_us = net->now_us;
    c->header_len = (uint8_t)(net->header_l2 + net_l3_header(flow) + TCP_HEADER);
    net_flows_add(&net->flows, &c->entry);
    net->n_connections++;
    return c;
}

void tcp_take_options(struct tcp *c, const struct tcp_segment *seg)
{
    struct net *net = c->net;
    if (seg->has_stamp) {
        c->flags |= TCP_STAMPS;
        c->ts_recent = seg->ts_value;
        c->header_len =
            (uint8_t)(net->header_l2 + tcp_l3_header(c) + TCP_HEADER + TCP_STAMP_OPTION);
    }
    if (seg->has_sack && !net->config.no_sack)
        c->flags |= TCP_SACK;
    if (seg->has_scale) {
        c->flags |= TCP_OFFERED_SCALE;
        c->snd_scale = seg->scale;
    } else {
        c->snd_scale = c->rcv_scale = 0;
    }
    struct net_flow flow = net_flow_of(&c->entry);
    uint32_t mss = seg->has_mss ? seg->mss : flow.pair ? TCP_MSS_DEFAULT_6 : TCP_MSS_DEFAULT;
    if (mss < TCP_MSS_MIN) {
        net->counters.tcp_mss_tiny++;
        mss = TCP_MSS_MIN;
    }
    c->peer_mss = (uint16_t)mss;
    tcp_pmtu_init(c);
    tcp_ecn_negotiate(c, seg);
    tcp_congestion_init(c);
}

void tcp_event(struct tcp *c, unsigned events)
{
    c->stream.events |= (uint16_t)events;
    if (c->flags & TCP_IN_READY)
        return;
    c->flags |= TCP_IN_READY;
    TAILQ_INSERT_TAIL(&c->net->ready, c, ready_link);
}

void tcp_note_turn(struct tcp *c)
{
    if (c->flags & TCP_IN_TURN)
        return;
    c->flags |= TCP_IN_TURN;
    LIST_INSERT_HEAD(&c->net->turn, c, turn_link);
}

static void tcp_leave_backlog(struct tcp *c)
{
    if (!(c->flags & TCP_ADMITTED))
        return;
    c->flags &= ~(uint32_t)TCP_ADMITTED;
    c->listener->pending--;
}

void tcp_established(struct tcp *c)
{
    struct net *net = c->net;
    c->state = TCP_ESTABLISHED;
    c->rto_at_us = 0;
    c->unacked_since_us = 0;
    c->backoff = 0;
    // RFC 5681 3.1: a path that loses handshakes begins slowly. Once is the lot of many since the
    // first time-out is a second and not three.
    if (unlikely(c->tries > 1))
        c->cwnd = c->mss;
    c->tries = 0;
    c->rcv_acked = c->rcv_nxt;
    c->recover = c->iss; // nothing was lost so far
    if (c->flags & TCP_PASSIVE) {
        net->counters.tcp_accepted++;
        tcp_event(c, STREAM_ACCEPTED);
    } else {
        net->counters.tcp_connected++;
        tcp_event(c, STREAM_CONNECTED);
    }
}

void tcp_free(struct tcp *c)
{
    struct net *net = c->net;
    tcp_rx_free(c);
    if (c->flags & TCP_IN_READY)
        TAILQ_REMOVE(&net->ready, c, ready_link);
    if (c->flags & TCP_IN_TURN)
        LIST_REMOVE(c, turn_link);
    if (c->flags & TCP_GONE) {
        TAILQ_REMOVE(&net->gone, c, life_link);
        net->n_gone--;
    }
    tcp_leave_backlog(c);
    mi_free(c);
}

void tcp_finish(struct tcp *c, enum stream_error error)
{
    struct net *net = c->net;
    assert(c->state != TCP_CLOSED);
    bool known = c->state != TCP_SYN_RECEIVED || !(c->flags & TCP_PASSIVE);
    tcp_leave_held(c);
    tcp_leave_holders(c);
    if (net->run == c)
        net->run = NULL;
    tcp_tx_free(c);
    net_wheel_stop(&net->wheel, &c->timer);
    net_flows_remove(&net->flows, &c->entry);
    homes_end(net, &c->entry);
    net->n_connections--;
    c->state = TCP_CLOSED;
    c->flags &= ~(uint32_t)(TCP_ACK_NOW | TCP_ACK_DELAYED);
    if (!known) {
        tcp_free(c);
        return;
    }
    net->counters.tcp_closed++;
    c->flags |= TCP_GONE;
    TAILQ_INSERT_TAIL(&net->gone, c, life_link);
    net->n_gone++;
    c->stream.error = (uint8_t)error;
    tcp_event(c, STREAM_CLOSED);
}

// --- what the owner asks
// ---------------------------------------------------------------------------

static void tcp_push(struct stream *s)
{
    struct tcp *c = (struct tcp *)s;
    if (c->state != TCP_CLOSED)
        tcp_tx_push(c);
}

static size_t tcp_unsent(const struct stream *s)
{
    return tcp_tx_unsent((const struct tcp *)s);
}

static void tcp_abort_with(struct tcp *c, enum stream_error error)
{
    tcp_tx_disable(c);
    if (c->state >= TCP_SYN_RECEIVED)
        tcp_send_reset(c);
    tcp_finish(c, error);
}

static void tcp_abort(struct stream *s)
{
    struct tcp *c = (struct tcp *)s;
    if (c->state != TCP_CLOSED)
        tcp_abort_with(c, STREAM_ABORTED);
}

static void tcp_close(struct stream *s)
{
    struct tcp *c = (struct tcp *)s;
    if (c->state == TCP_CLOSED || (c->flags & TCP_FIN_QUEUED))
        return;
    // RFC 2525 2.17, RFC 1122 4.2.2.13: bytes that nobody will read are lost, and the peer is told.
    if (c->state == TCP_SYN_SENT || s->in_len || c->rx_queued) {
        tcp_abort_with(c, STREAM_ABORTED);
        return;
    }
    c->flags |= TCP_FIN_QUEUED | TCP_DEAF;
    tcp_orphan(c);
    tcp_tx_push(c);
}

static void tcp_release(struct stream *s)
{
    struct tcp *c = (struct tcp *)s;
    assert(c->state == TCP_CLOSED);
    tcp_free(c);
}

static void tcp_keepalive(struct stream *s, unsigned idle_s)
{
    struct tcp *c = (struct tcp *)s;
    if (c->state == TCP_CLOSED)
        return;
    c->keep_idle_s = idle_s;
    c->keep_probes = 0;
    if (c->state == TCP_FIN_WAIT_2)
        return;
    c->keep_at_us = idle_s ? c->last_rx_us + (uint64_t)idle_s * 1000000 : 0;
    if (c->keep_at_us)
        tcp_timer_by(c, c->keep_at_us);
}

const char *tcp_state_name(unsigned state)
{
    static const char *const names[] = {[TCP_CLOSED] = "CLOSED",
                                        [TCP_SYN_SENT] = "SYN-SENT",
                                        [TCP_SYN_RECEIVED] = "SYN-RECEIVED",
                                        [TCP_ESTABLISHED] = "ESTABLISHED",
                                        [TCP_FIN_WAIT_1] = "FIN-WAIT-1",
                                        [TCP_FIN_WAIT_2] = "FIN-WAIT-2",
                                        [TCP_CLOSE_WAIT] = "CLOSE-WAIT",
                                        [TCP_CLOSING] = "CLOSING",
                                        [TCP_LAST_ACK] = "LAST-ACK"};
    return names[state];
}

static size_t tcp_memory(const struct stream *s)
{
    const struct tcp *c = (const struct tcp *)s;
    return sizeof(*c) + c->rx_queued;
}

static const struct stream_ops tcp_stream_ops = {.refill = tcp_rx_refill,
                                                 .push = tcp_push,
                                                 .unsent = tcp_unsent,
                                                 .memory = tcp_memory,
                                                 .close = tcp_close,
                                                 .abort = tcp_abort,
                                                 .release = tcp_release,
                                                 .keepalive = tcp_keepalive,
                                                 .info = tcp_info};

unsigned net_ready(struct net *net, struct stream **ready, unsigned max)
{
    unsigned n = 0;
    struct tcp *c;
    while (n < max && (c = TAILQ_FIRST(&net->ready))) {
        TAILQ_REMOVE(&net->ready, c, ready_link);
        c->flags &= ~(uint32_t)TCP_IN_READY;
        tcp_leave_backlog(c);
        if (c->stream.events)
            ready[n++] = &c->stream;
    }
    return n;
}

// --- the turn
// ----------------------------------------------------------------------------------------

void tcp_turn_flush(struct net *net)
{
    if (unlikely(tcp_shed_wanted(net)))
        tcp_shed(net);
    for (struct tcp *c = LIST_FIRST(&net->turn); c; c = LIST_NEXT(c, turn_link)) {
        if (c->flags & TCP_ACK_NOW) {
            tcp_send_ack(c);
        } else if ((c->flags & TCP_ACK_DELAYED) && !c->ack_at_us) {
            c->ack_at_us = net->now_us + net->config.delayed_ack_us;
            tcp_timer_by(c, c->ack_at_us);
        }
    }
}

void tcp_turn_end(struct net *net)
{
    for (struct tcp *c; (c = LIST_FIRST(&net->turn));) {
        LIST_REMOVE(c, turn_link);
        c->flags &= ~(uint32_t)TCP_IN_TURN;
        tcp_rx_turn_end(c);
    }
    net->rx_turn = 0;
}

// --- opening
// -----------------------------------------------------------------------------------------

struct tcp_listener *tcp_listener_find(struct net *net, uint16_t port)
{
    for (unsigned i = 0; i < net->n_listeners; i++)
        if (net->listeners[i]->port == port)
            return net->listeners[i];
    return NULL;
}

int net_listen(struct net *net, uint16_t port, unsigned backlog)
{
    uint16_t raw = __builtin_bswap16(port);
    if (!port)
        return -EINVAL;
    if (tcp_listener_find(net, raw))
        return -EADDRINUSE;
    // One that has ended and that nobody refers to any more.
    struct tcp_listener *l = NULL;
    for (unsigned i = 0; !l && i < net->n_listeners; i++)
        if (!net->listeners[i]->port && !net->listeners[i]->pending && !net->listeners[i]->requests)
            l = net->listeners[i];
    if (!l) {
        if (net->n_listeners == NET_LISTENERS_MAX)
            return -ENOSPC;
        if (!(l = mi_malloc(sizeof(*l))))
            return -ENOMEM;
        net->listeners[net->n_listeners++] = l;
    }
    *l = (struct tcp_listener){.net = net, .port = raw, .backlog = backlog ? backlog : 1};
    return 0;
}

void net_unlisten(struct net *net, uint16_t port)
{
    struct tcp_listener *l = port ? tcp_listener_find(net, __builtin_bswap16(port)) : NULL;
    if (l)
        l->port = 0; // no segment is for port 0
}

// RFC 6056 3.3.4: an offset that is secret per destination, and a counter that few destinations
// share, so that none learns how many connections are opened to others. Ports whose frames would
// come to another stack, that are taken or that listen are passed over. A connection in TIME_WAIT
// gives its port where timestamps tell old segments from new ones (RFC 6191, RFC 7323); *iss_min is
// then the lowest initial sequence number allowed, else 0.
static bool tcp_choose_port(struct net *net, struct net_flow *flow, uint32_t *hash,
                            uint32_t *iss_min)
{
    *iss_min = 0;
    uint64_t secret = net_flow_sip(net->key_ports, flow, 2, 4);
    if (net->now_us < net->port_exhausted_until_us && secret == net->port_exhausted)
        return false;
    uint32_t offset = (uint32_t)secret,
             *counter = &net->port_counters[(secret >> 32) % NET_PORT_COUNTERS];
    for (uint32_t i = 0; i < PORT_COUNT; i++) {
        uint16_t port = (uint16_t)(PORT_FIRST + (offset + (*counter)++) % PORT_COUNT);
        flow->local_port = __builtin_bswap16(port);
        if (tcp_listener_find(net, flow->local_port))
            continue;
        *hash = net_flows_hash(&net->flows, flow);
        struct net_flow_entry *e = net_flows_find(&net->flows, flow, *hash);
        if (e && !tcp_wait_may_reuse(net, e))
            continue;
        if (!homes_may_open(net, flow))
            continue;
        if (e)
            *iss_min = tcp_wait_reuse(net, e);
        return true;
    }
    net->port_exhausted = secret;
    net->port_exhausted_until_us = net->now_us + PORT_EXHAUSTED_US;
    return false;
}

struct stream *net_connect(struct net *net, const struct endpoint *to, int *error)
{
    struct net_flow flow;
    struct net_pair6 pair;
    uint64_t ready_us = net->now_us;
    uint32_t hash = 0, iss_min = 0;
    *error = to->family == 4   ? ipv4_connect(net, to->addr, &flow)
             : to->family == 6 ? ipv6_connect(net, to->addr, &flow, &pair, &ready_us)
                               : -EAFNOSUPPORT;
    if (!*error && !to->port)
        *error = -EINVAL;
    flow.remote_port = __builtin_bswap16(to->port);
    if (!*error && !tcp_choose_port(net, &flow, &hash, &iss_min))
        *error = -EADDRNOTAVAIL;
    if (*error == -EADDRNOTAVAIL)
        net->counters.tcp_port_exhausted++;
    if (*error)
        return NULL;
    struct tcp *c = tcp_new(net, &flow, hash);
    if (!c) {
        *error = -ENOMEM;
        return NULL;
    }
    c->state = TCP_SYN_SENT;
    if (iss_min && seq_lt(c->iss, iss_min))
        c->iss = iss_min;
    c->snd_una = c->iss;
    c->snd_nxt = c->iss + 1;
    if (likely(ready_us <= net->now_us)) {
        c->rto_at_us = net->now_us + c->rto_us;
        tcp_send_syn(c);
    } else {
        c->rto_at_us = ready_us; // the timer sends it
    }
    tcp_timer_by(c, c->rto_at_us);
    return &c->stream;
}

void tcp_unreachable(struct net *net, const struct net_flow *flow, uint32_t seq, uint8_t code)
{
    struct net_flow_entry *e = net_flows_find(&net->flows, flow, net_flows_hash(&net->flows, flow));
    if (!e || e->kind != NET_FLOW_CONNECTION)
        return;
    struct tcp *c = (struct tcp *)((char *)e - offsetof(struct tcp, entry));
    // RFC 5927: only what quotes a segment in flight is believed.
    if (seq_lt(seq, c->snd_una) || !seq_lt(seq, c->snd_nxt))
        return;
    // Protocol (2) and port (3) unreachable end an attempt to connect; anything else, and all of
    // them later on, is only a reason to give if the connection times out.
    if ((code == 2 || code == 3) && c->state == TCP_SYN_SENT)
        tcp_finish(c, STREAM_UNREACHABLE);
    else
        c->soft_error = 1;
}

void tcp_free_all(struct net *net)
{
    for (uint64_t i = 0; net->flows.slots && i <= net->flows.mask; i++) {
        struct net_flow_entry *e;
        // Removing moves others up into this place.
        while ((e = net_flows_at(&net->flows, i))) {
            if (e->kind == NET_FLOW_TIME_WAIT) {
                tcp_wait_free(net, (struct tcp_wait *)e);
            } else if (e->kind == NET_FLOW_REQUEST) {
                tcp_request_free(net, (struct tcp_request *)e);
            } else {
                struct tcp *c = (struct tcp *)((char *)e - offsetof(struct tcp, entry));
                tcp_finish(c, STREAM_ABORTED);
            }
        }
    }
    for (struct tcp *c; (c = TAILQ_FIRST(&net->gone));)
        tcp_free(c);
    for (unsigned i = 0; i < net->n_listeners; i++)
        mi_free(net->listeners[i]);
    tcp_rx_free_spent(net);
    for (struct rx_chunk *k = net->free_pieces, *next; k; k = next) {
        next = k->next;
        mi_free(k);
    }
}

uint64_t net_memory(const struct net *net)
{
    return (uint64_t)(net->n_connections + net->n_gone) * sizeof(struct tcp) +
           (uint64_t)net->n_waits * sizeof(struct tcp_wait) +
           (uint64_t)net->n_requests * sizeof(struct tcp_request) + net->rx_memory + net->tx_memory;
}
