// Half-open connections. What a SYN said and what our answer promised is a small struct, not a
// connection: a flood fills a queue that is bounded in number and small in bytes, and what does not
// fit is answered with a cookie (tcp_cookies.c). The connection is made by the acknowledgement that
// ends the handshake.
//
// Requests that wait for their n-th repetition all wait equally long: each n has a list in the
// order of time with one timer, so that a request costs no timer of its own.
#include <assert.h>
#include <mimalloc.h>

#include "dataplane/net/homes.h"
#include "dataplane/net/tcp.h"

enum {
    INTERVAL_US = 1000000, // to the first repetition (RFC 6298 2.1), doubled by each
    REQUESTS_A_TICK = 64,  // that one timer looks at
    WINDOW_MAX = 65535,    // the window of a SYN is never scaled (RFC 7323 2.2)
};
// Repetitions of SYN-ACKs: what a stranger makes us send to an address that never asked for it.
enum { REPEATS_PER_SECOND = 1000, REPEATS_BURST = 1000 };
// Answers to SYNs, the first and those to a repeated SYN: one for each that comes, no larger than
// it, and no more than this, or answering would be all that the core does.
enum { ANSWERS_PER_SECOND = 500000, ANSWERS_BURST = 50000 };

static void requests_timer(void *context, struct net_timer *timer);

void tcp_requests_init(struct net *net)
{
    for (unsigned i = 0; i <= TCP_SYN_ACK_TRIES; i++) {
        TAILQ_INIT(&net->requests[i].list);
        net->requests[i].timer = (struct net_timer){.fire = requests_timer};
    }
}

static uint32_t request_window(const struct net *net)
{
    uint32_t size = net->config.receive_buffer_max;
    return size < WINDOW_MAX ? size : WINDOW_MAX;
}

bool tcp_syn_limited(struct net *net)
{
    if (likely(net_limiter_take(net, &net->answer_limiter, ANSWERS_PER_SECOND, ANSWERS_BURST)))
        return false;
    net->counters.tcp_syn_limited++;
    return true;
}

void tcp_send_syn_ack(struct net *net, const struct packet *p, const struct net_flow *flow,
                      const struct tcp_segment *syn, uint32_t iss, uint32_t ts_value)
{
    struct tcp_offer offer = {.mss = tcp_our_mss(net, flow),
                              .has_stamp = syn->has_stamp,
                              .has_scale = syn->has_scale,
                              .has_sack = syn->has_sack && !net->config.no_sack,
                              .scale = tcp_receive_scale(net),
                              .ts_value = ts_value,
                              .ts_echo = syn->ts_value};
    uint8_t flags = TH_SYN | TH_ACK | (tcp_ecn_asked(net, syn) ? TH_ECE : 0);
    tcp_send_offer(net, p, flow, iss, syn->seq + 1, flags, (uint16_t)request_window(net), &offer);
}

// What the SYN said, as it was.
static struct tcp_segment request_syn(const struct tcp_request *r)
{
    return (struct tcp_segment){.seq = r->irs,
                                .wnd = r->wnd,
                                .flags = r->has_ecn ? TH_SYN | TH_ECE | TH_CWR : TH_SYN,
                                .has_stamp = r->has_stamp,
                                .has_mss = r->mss != 0,
                                .has_scale = r->has_scale,
                                .has_sack = r->has_sack,
                                .scale = r->scale,
                                .mss = r->mss,
                                .ts_value = r->ts_recent};
}

static void request_answer(struct net *net, const struct tcp_request *r)
{
    struct net_flow flow = net_flow_of(&r->entry);
    struct tcp_segment syn = request_syn(r);
    tcp_send_syn_ack(net, NULL, &flow, &syn, r->iss, tcp_stamp_clock(net) + r->ts_offset);
}

static void request_wait(struct net *net, struct tcp_request *r)
{
    struct tcp_request_queue *q = &net->requests[r->tries];
    r->due_us = net->now_us + ((uint64_t)INTERVAL_US << r->tries);
    TAILQ_INSERT_TAIL(&q->list, r, link);
    if (!net_timer_running(&q->timer))
        net_wheel_start(&net->wheel, &q->timer, r->due_us);
}

void tcp_request_free(struct net *net, struct tcp_request *r)
{
    TAILQ_REMOVE(&net->requests[r->tries].list, r, link);
    net_flows_remove(&net->flows, &r->entry);
    homes_end(net, &r->entry);
    net->n_requests--;
    r->listener->requests--;
    mi_free(r);
}

// Most honest handshakes end within one round trip. While the queue is more than half full, a
// request that has not is repeated once and then gives its place away.
static unsigned requests_tries(const struct net *net)
{
    return net->n_requests > net->config.half_open_max / 2 ? 1 : TCP_SYN_ACK_TRIES;
}

static void requests_timer(void *context, struct net_timer *timer)
{
    struct net *net = context;
    struct tcp_request_queue *q =
        (struct tcp_request_queue *)((char *)timer - offsetof(struct tcp_request_queue, timer));
    struct tcp_request *r;
    for (unsigned i = 0; (r = TAILQ_FIRST(&q->list)) && r->due_us <= net->now_us; i++) {
        if (i == REQUESTS_A_TICK) {
            net_wheel_start(&net->wheel, timer, net->now_us);
            return;
        }
        if (r->tries >= requests_tries(net)) {
            net->counters.tcp_half_open_timeout++;
            tcp_request_free(net, r);
            continue;
        }
        TAILQ_REMOVE(&q->list, r, link);
        r->tries++;
        request_wait(net, r);
        if (net_limiter_take(net, &net->repeat_limiter, REPEATS_PER_SECOND, REPEATS_BURST)) {
            net->counters.tcp_syn_ack_repeated++;
            request_answer(net, r);
        } else {
            net->counters.tcp_syn_limited++;
        }
    }
    if (r)
        net_wheel_start(&net->wheel, timer, r->due_us);
}

bool tcp_request_new(struct net *net, struct tcp_listener *l, const struct tcp_segment *syn,
                     const struct net_flow *flow, uint32_t hash, uint32_t iss_min)
{
    struct tcp_request *r = mi_malloc(sizeof(*r) + net_flow_extra(flow));
    if (!r) {
        net->counters.no_memory++;
        return false;
    }
    *r = (struct tcp_request){.listener = l,
                              .irs = syn->seq,
                              .iss = tcp_initial_sequence(net, flow),
                              .ts_recent = syn->ts_value,
                              .ts_offset = tcp_stamp_offset(net, flow),
                              .mss = syn->has_mss ? syn->mss : 0,
                              .wnd = (uint16_t)syn->wnd,
                              .scale = syn->scale,
                              .has_stamp = syn->has_stamp,
                              .has_scale = syn->has_scale,
                              .has_sack = syn->has_sack,
                              .has_ecn = tcp_ecn_asked(net, syn)};
    if (iss_min && seq_lt(r->iss, iss_min))
        r->iss = iss_min;
    net_flow_entry_set(&r->entry, flow, hash, NET_FLOW_REQUEST, r->pair);
    net_flows_add(&net->flows, &r->entry);
    net->n_requests++;
    l->requests++;
    request_wait(net, r);
    request_answer(net, r);
    return true;
}

struct tcp *tcp_open(struct net *net, struct tcp_listener *l, const struct packet *p,
                     const struct tcp_segment *seg, const struct net_flow *flow, uint32_t hash,
                     const struct tcp_segment *syn, uint32_t iss, bool *refused)
{
    *refused = false;
    if (l->pending >= l->backlog) { // its owner is busy; the peer repeats what we drop
        net->counters.tcp_backlog_full++;
        return NULL;
    }
    if (tcp_connections_full(net))
        return NULL;
    if (net->config.admit) {
        struct endpoint local, remote;
        net_flow_endpoints(flow, &local, &remote);
        if (!net->config.admit(net->config.context, &remote)) {
            net->counters.tcp_syn_refused++;
            tcp_reset_stranger(net, p, seg);
            *refused = true;
            return NULL;
        }
    }
    struct tcp *c = tcp_new(net, flow, hash);
    if (!c)
        return NULL;
    c->flags |= TCP_PASSIVE | TCP_ADMITTED;
    c->listener = l;
    l->pending++;
    c->state = TCP_SYN_RECEIVED;
    c->iss = c->snd_una = iss;
    c->snd_nxt = iss + 1;
    c->irs = syn->seq;
    c->rcv_nxt = syn->seq + 1;
    c->rcv_adv = c->rcv_nxt + request_window(net);
    c->snd_wnd = c->max_wnd = syn->wnd;
    c->snd_wl1 = syn->seq;
    c->segments_in = c->segments_out = 1;
    tcp_take_options(c, syn);
    return c;
}

// The acknowledgement that ends the handshake.
static void request_done(struct net *net, struct tcp_request *r, const struct packet *p,
                         struct tcp_segment *seg)
{
    struct net_flow flow = net_flow_of(&r->entry);
    struct tcp_segment syn = request_syn(r);
    bool refused;
    // Only now, so that for a moment both are in the table: a request that finds no room stays.
    struct tcp *c =
        tcp_open(net, r->listener, p, seg, &flow, r->entry.hash, &syn, r->iss, &refused);
    if (!c) {
        if (refused)
            tcp_request_free(net, r);
        return;
    }
    // The round trip is known when the answer went once (Karn's rule).
    c->tries = r->tries;
    c->last_tx_us = r->due_us - INTERVAL_US;
    c->entry.registrar = r->entry.registrar;
    r->entry.registrar = 0;
    tcp_request_free(net, r);
    tcp_segment_input(c, p, seg);
}

// The SYN of this request was answered with a cookie before, or while the request was not there.
static bool request_had_cookie(const struct net *net, const struct tcp_request *r,
                               const struct net_flow *flow, uint32_t ack)
{
    const struct tcp_segment first = {.seq = r->irs + 1, .ack = ack};
    return tcp_cookie_check(net, &first, flow) == TCP_COOKIE_GOOD;
}

// RFC 9293 3.10.7.4 for SYN-RECEIVED, with RFC 7323 and RFC 5961.
void tcp_request_input(struct net *net, struct tcp_request *r, const struct packet *p,
                       struct tcp_segment *seg)
{
    struct net_counters *count = &net->counters;
    uint32_t length = seg->len + !!(seg->flags & TH_SYN) + !!(seg->flags & TH_FIN);
    uint32_t rcv_nxt = r->irs + 1, wnd = request_window(net), offset = seg->seq - rcv_nxt;
    struct net_flow flow = net_flow_of(&r->entry);
    if ((seg->flags & (TH_SYN | TH_ACK | TH_RST)) == TH_SYN && seg->seq == r->irs) {
        if (!tcp_syn_limited(net)) // our answer was lost
            request_answer(net, r);
        return;
    }
    uint32_t stamps[2] = {tcp_stamp_clock(net) + r->ts_offset, r->ts_recent};
    bool acceptable = offset < wnd || (length && offset + length - 1 < wnd);
    if (seg->flags & TH_RST) {
        if (seg->seq == rcv_nxt) {
            count->tcp_reset_in++;
            tcp_request_free(net, r);
            return;
        }
        count->tcp_reset_bad++;
        if (!acceptable)
            return;
    } else if (r->has_stamp && !seg->has_stamp && !(seg->flags & TH_SYN)) {
        count->tcp_paws++;
        return;
    } else if (r->has_stamp && seg->has_stamp && seq_lt(seg->ts_value, r->ts_recent)) {
        count->tcp_paws++;
    } else if (!acceptable) {
        count->tcp_out_of_window++;
    } else if (seg->flags & TH_SYN) {
        count->tcp_syn_bad++;
    } else if (!(seg->flags & TH_ACK)) {
        count->tcp_no_ack++;
        return;
    } else if (seg->ack != r->iss + 1 && request_had_cookie(net, r, &flow, seg->ack)) {
        // While the queue was full its SYN was answered with a cookie, and a repetition of the SYN
        // found room. The peer took the first answer, and what that promised holds.
        r->iss = seg->ack - 1;
        r->has_scale = r->has_scale && r->has_stamp;
        r->has_sack = r->has_sack && r->has_stamp;
        request_done(net, r, p, seg);
        return;
    } else if (seg->ack != r->iss + 1) {
        count->tcp_future_ack++;
        tcp_reset_stranger(net, p, seg);
        return;
    } else {
        request_done(net, r, p, seg);
        return;
    }
    if (tcp_challenge_allowed(net, &r->challenge_ms))
        tcp_send_bare(net, NULL, &flow, r->iss + 1, rcv_nxt, TH_ACK, (uint16_t)wnd,
                      r->has_stamp ? stamps : NULL);
}
