// Segments on their way out: headers, what the windows allow, acknowledgements, resets.
//
// A data segment's payload already lies in the frame that carries it, behind room for the headers;
// a header has the same length in every segment of a connection, so a retransmission writes it
// again at the same place.
#include <assert.h>

#include "dataplane/net/ipv6.h"
#include "dataplane/net/tcp.h"

// One challenge ACK (RFC 5961) per connection in this time, and so many for all in a second: half
// of it and a secret part up to the whole more, so that whoever uses them up learns nothing of
// other connections from when that is (CVE-2016-5696).
enum { CHALLENGE_INTERVAL_MS = 250, CHALLENGES_PER_SECOND = 1000 };
// Resets to strangers.
enum { RESETS_PER_SECOND = 10000, RESETS_BURST = 1000 };
// When no frame was free, sending is tried again after this.
enum { NO_FRAME_RETRY_US = 5000 };

uint32_t tcp_stamp(const struct tcp *c)
{
    return tcp_stamp_clock(c->net) + c->ts_offset;
}

uint32_t tcp_receive_space(const struct tcp *c)
{
    uint32_t unread = c->stream.in_len + c->rx_queued, size = c->net->config.receive_buffer_max;
    // With the memory of all connections nearly used up, a window opens for empty buffers only.
    if (unlikely(c->net->rx_memory > c->net->config.receive_memory_max / 2) && unread)
        return 0;
    uint32_t space = unread < size ? size - unread : 0, most = 65535u << c->rcv_scale;
    return space < most ? space
                        : most; // what the field can say, or every read would seem to open it
}

bool tcp_window_grew(const struct tcp *c)
{
    uint32_t edge = c->rcv_nxt + tcp_receive_space(c);
    return (int32_t)(edge - c->rcv_adv) >= (int32_t)c->net->window_step;
}

// The window field; the right edge never moves back.
static uint16_t tcp_window(struct tcp *c)
{
    uint32_t edge = c->rcv_adv;
    if (unlikely(tcp_window_may_grow(c)) && tcp_window_grew(c))
        edge = c->rcv_nxt + tcp_receive_space(c);
    uint32_t wnd = seq_lt(c->rcv_nxt, edge) ? (edge - c->rcv_nxt) >> c->rcv_scale : 0;
    if (wnd > 65535)
        wnd = 65535;
    if (seq_lt(c->rcv_adv, c->rcv_nxt + (wnd << c->rcv_scale)))
        c->rcv_adv = c->rcv_nxt + (wnd << c->rcv_scale);
    return (uint16_t)wnd;
}

static struct neighbour *tcp_neighbour(struct tcp *c)
{
    struct neighbour *n = c->neighbour;
    if (unlikely(!n || n->generation != c->neighbour_generation)) {
        struct net_flow flow = net_flow_of(&c->entry);
        n = c->neighbour = net_route(c->net, &flow);
        c->neighbour_generation = n ? n->generation : 0;
    }
    return n;
}

// What a header says, to be written and summed without reading it back: loads that span several
// fresh stores would wait for all of them.
struct tcp_fields {
    uint32_t seq, ack;
    uint16_t window;
    uint8_t flags;
    uint8_t ecn; // enum ip_ecn
    bool has_stamps;
    uint32_t ts_value, ts_echo;
};

// Writes the TCP header (behind it and the timestamps `options` bytes of a SYN or of SACK are in
// place already, and then the payload), completes the frame and counts it.
static inline void tcp_write_header(struct net *net, struct frame *f, const struct net_flow *flow,
                                    const struct tcp_fields *h, uint32_t options, uint32_t payload)
{
    uint8_t *tcp = f->data + net->header_l2 + net_l3_header(flow);
    uint32_t header = TCP_HEADER + options + (h->has_stamps ? TCP_STAMP_OPTION : 0);
    uint32_t len = header + payload;
    uint32_t w0 = (uint32_t)flow->remote_port << 16 | flow->local_port,
             w1 = __builtin_bswap32(h->seq), w2 = __builtin_bswap32(h->ack),
             w3 = __builtin_bswap32(header << 26 | (uint32_t)h->flags << 16 | h->window);
    store_raw32(tcp, w0);
    store_raw32(tcp + TCP_SEQ, w1);
    store_raw32(tcp + TCP_ACK, w2);
    store_raw32(tcp + TCP_OFFSET, w3);
    uint64_t sum = (uint64_t)w0 + w1 + w2 + w3;
    uint8_t *end = tcp + TCP_HEADER;
    if (likely(h->has_stamps)) {
        uint32_t o0 = __builtin_bswap32(0x0101080a), o1 = __builtin_bswap32(h->ts_value),
                 o2 = __builtin_bswap32(h->ts_echo);
        store_raw32(end, o0);
        store_raw32(end + 4, o1);
        store_raw32(end + 8, o2);
        sum += (uint64_t)o0 + o1 + o2;
        end += TCP_STAMP_OPTION;
    }
    uint64_t pseudo = net_pseudo_sum(flow, PROTOCOL_TCP, len);
    uint16_t field;
    if (net->config.offloads & NET_TX_TCP_SUM) {
        f->flags |= FRAME_TX_L4_SUM;
        field = net_sum_fold(pseudo);
    } else {
        sum += pseudo; // a dozen words of 32 bits: far from overflow
        if (options + payload)
            sum = net_sum(end, options + payload, sum);
        field = (uint16_t)~net_sum_fold(sum);
    }
    store_raw32(tcp + TCP_SUM, field);
    net_l3_write(net, f, flow, PROTOCOL_TCP, h->ecn, len);
    f->l4_len = (uint16_t)header;
    net->counters.tcp_out++;
}

// The options of a SYN, and the first window. Returns their length.
static __attribute__((noinline)) uint32_t tcp_write_offer(struct tcp *c, struct frame *f,
                                                          const struct net_flow *flow)
{
    const struct net *net = c->net;
    // An answer offers what was offered to us; our own SYN offers everything.
    bool answer = c->state == TCP_SYN_RECEIVED;
    const struct tcp_offer offer = {.mss = tcp_our_mss(net, flow),
                                    .scale = c->rcv_scale,
                                    .has_stamp = !answer || (c->flags & TCP_STAMPS),
                                    .has_scale = !answer || (c->flags & TCP_OFFERED_SCALE),
                                    .has_sack =
                                        answer ? (c->flags & TCP_SACK) != 0 : !net->config.no_sack,
                                    .ts_value = tcp_stamp(c),
                                    .ts_echo = answer ? c->ts_recent : 0};
    // The window of a SYN is never scaled (RFC 7323 2.2).
    uint32_t wnd = tcp_receive_space(c);
    c->rcv_adv = c->rcv_nxt + (wnd > 65535 ? 65535 : wnd);
    return tcp_options_write(&offer, f->data + net->header_l2 + net_l3_header(flow) + TCP_HEADER);
}

// Writes all headers of a segment of `c` at f->data and hands the frame on.
static void tcp_write_segment(struct tcp *c, struct frame *f, uint32_t seq, uint32_t payload,
                              uint8_t flags)
{
    struct net *net = c->net;
    struct net_flow flow = net_flow_of(&c->entry);
    struct tcp_fields h = {.seq = seq, .ack = c->rcv_nxt, .flags = flags};
    uint32_t options = 0;
    if (unlikely(flags & TH_SYN)) {
        options = tcp_write_offer(c, f, &flow);
        h.window = (uint16_t)(c->rcv_adv - c->rcv_nxt);
    } else {
        h.window = flags & TH_RST ? 0 : tcp_window(c);
        if (unlikely(c->ecn & TCP_ECN_AGREED) && !(flags & TH_RST))
            h.ecn = tcp_ecn_mark(c, payload && frame_note(f)->transmissions == 1, &h.flags);
        h.has_stamps = c->flags & TCP_STAMPS;
        h.ts_value = tcp_stamp(c);
        h.ts_echo = c->ts_recent;
        // Segments with payload have headers of one length: blocks travel on bare acknowledgements.
        if (unlikely(!payload && tcp_sack_wanted(c)) && !(flags & TH_RST))
            options = tcp_sack_write(c, f->data + c->header_len);
    }
    if (unlikely(payload > c->mss) && net->tso_max && !tcp_is_probe(c, seq)) {
        f->flags |= FRAME_TX_TSO;
        f->tso_size = c->mss;
    }
    tcp_write_header(net, f, &flow, &h, options, payload);
    if (flags & TH_ACK) {
        c->flags &= ~(uint32_t)(TCP_ACK_NOW | TCP_ACK_DELAYED);
        c->rcv_acked = c->rcv_nxt;
        c->ack_at_us = 0;
    }
    c->segments_out++;
    c->last_tx_us = net->now_us;
    net_send_to(net, tcp_neighbour(c), f);
}

static void tcp_watch_acknowledgement(struct tcp *c)
{
    uint64_t now = c->net->now_us;
    if (!c->unacked_since_us)
        c->unacked_since_us = now;
    bool armed = !c->rto_at_us || (c->flags & TCP_PERSIST);
    if (armed) {
        c->flags &= ~(uint32_t)TCP_PERSIST;
        c->rto_at_us = now + ((uint64_t)c->rto_us << c->backoff);
    }
    if (likely(tcp_probes(c))) {
        tcp_timer_by(c, tcp_arm_probe(c));
        return;
    }
    if (armed)
        tcp_timer_by(c, c->rto_at_us);
    if (unlikely(c->board != NULL))
        tcp_board_sent(c);
}

// FIN takes its place in the sequence.
static void tcp_take_fin(struct tcp *c)
{
    c->fin_seq = c->snd_nxt++;
    c->flags |= TCP_FIN_SENT;
    c->state = c->state == TCP_CLOSE_WAIT ? TCP_LAST_ACK : TCP_FIN_WAIT_1;
}

void tcp_emit(struct tcp *c, struct frame *f, uint32_t payload, uint8_t flags)
{
    struct frame_note *note = frame_note(f);
    if (unlikely(c->srtt_us >= PACING_RTT_US))
        tcp_pace_spend(c, payload);
    note->seq = c->snd_nxt;
    note->len = payload;
    note->sent_us = c->last_data_us = c->net->now_us;
    note->transmissions = 1;
    f->flags |= FRAME_KEEP;
    f->next = NULL;
    if (c->rtx_tail)
        c->rtx_tail->next = f;
    else
        c->rtx_head = f;
    c->rtx_tail = f;
    if (unlikely(c->board || c->dupacks)) {
        if (c->board)
            tcp_board_append(c, f);
        else
            c->net->counters.tcp_limited_transmit++;
    }
    uint32_t seq = c->snd_nxt;
    c->snd_nxt += payload;
    c->bytes_out += payload;
    c->closed_since_us = 0;
    c->data_segments_out += payload != 0;
    if (flags & TH_FIN)
        tcp_take_fin(c);
    tcp_write_segment(c, f, seq, payload, flags | TH_ACK);
    tcp_watch_acknowledgement(c);
}

uint32_t tcp_usable(const struct tcp *c)
{
    uint32_t flight = c->snd_nxt - c->snd_una, pipe = tcp_pipe(c), wnd = c->snd_wnd;
    if (wnd > c->net->config.send_buffer_max)
        wnd = c->net->config.send_buffer_max;
    uint32_t room = wnd > flight ? wnd - flight : 0, cwnd = c->cwnd;
    if (unlikely(c->board || c->dupacks)) {
        if (c->flags & TCP_LOSS) {
            // What was in flight goes again before anything new.
            uint32_t usable = tcp_frto_usable(c);
            return usable < room ? usable : room;
        }
        // Limited transmit (RFC 3042): the first two duplicates each let one new segment out. With
        // SACK each frame that arrived has left the pipe.
        if (!c->board && !(c->flags & (TCP_RECOVERY | TCP_SACK)))
            cwnd += (c->dupacks < 2 ? c->dupacks : 2u) * c->mss;
    }
    uint32_t usable = cwnd > pipe ? cwnd - pipe : 0;
    return usable < room ? usable : room;
}

static bool tcp_may_send_data(const struct tcp *c)
{
    return (c->state == TCP_ESTABLISHED || c->state == TCP_CLOSE_WAIT) &&
           !(c->flags & TCP_FIN_SENT);
}

void tcp_send_fin(struct tcp *c)
{
    struct frame *f = net_frame_new(c->net, true);
    if (f)
        tcp_write_segment(c, f, c->fin_seq, 0, TH_FIN | TH_ACK);
}

// Something waits to be sent and nothing is in flight that would bring an acknowledgement: look
// again by timer.
static void tcp_wait_for_window(struct tcp *c, bool no_frame)
{
    if (c->rto_at_us || c->rtx_head)
        return;
    if (no_frame)
        c->closed_since_us = 0;
    else if (!c->closed_since_us)
        c->closed_since_us = c->net->now_us;
    uint64_t delay = no_frame ? NO_FRAME_RETRY_US : (uint64_t)c->rto_us << c->backoff;
    c->flags |= TCP_PERSIST;
    c->rto_at_us = c->net->now_us + delay;
    tcp_timer_by(c, c->rto_at_us);
}

// The port has enough: the rest goes when it has taken some, one connection after the other.
static void tcp_hold(struct tcp *c)
{
    if (c->flags & TCP_HELD)
        return;
    c->flags |= TCP_HELD;
    TAILQ_INSERT_TAIL(&c->net->held, c, held_link);
}

void tcp_leave_held(struct tcp *c)
{
    if (!(c->flags & TCP_HELD))
        return;
    c->flags &= ~(uint32_t)TCP_HELD;
    TAILQ_REMOVE(&c->net->held, c, held_link);
}

uint32_t tcp_frame_payload(const struct tcp *c, uint32_t usable)
{
    uint32_t room = c->net->tso_max - c->header_len;
    if (room > usable)
        room = usable;
    return room > c->mss ? room / c->mss * c->mss : c->mss;
}

// `served`: it is this connection's turn among those that wait for the port.
static void output(struct tcp *c, bool served)
{
    uint32_t from = c->snd_nxt;
    if (!tcp_may_send_data(c))
        return;
    if (unlikely(c->path_generation != c->net->path_generation))
        tcp_pmtu_refresh(c);
    tcp_tx_settle(c);
    tcp_restart_idle(c);
    bool fin = (c->flags & TCP_FIN_QUEUED) != 0, no_frame = false;
    while (c->tx_bytes) {
        uint32_t usable = tcp_usable(c), n = tcp_frame_size(c, usable);
        uint32_t probe = unlikely(c->flags & TCP_MTU_SEARCH) ? tcp_pmtu_probe(c) : 0;
        if (unlikely(probe)) {
            if (probe > usable)
                break; // acknowledgements are on their way, and bring the room
            n = probe;
        }
        if (n > c->tx_bytes)
            n = (uint32_t)c->tx_bytes;
        if (n > usable) {
            // Sender's silly window avoidance (RFC 9293 3.8.6.2.1): a part only when it is half of
            // the largest window, or when a resend of the window's end cannot come for lack of
            // flight.
            if (usable == 0 || usable < c->max_wnd / 2 || c->cwnd < c->snd_wnd)
                break;
            n = usable;
        }
        if (unlikely(!tcp_port_takes(c)) &&
            (!served || net_output_full(c->net) || c->snd_nxt - from >= NET_OUTPUT_QUANTUM)) {
            tcp_hold(c);
            return;
        }
        if (unlikely(c->srtt_us >= PACING_RTT_US) && c->tx_bytes > usable && !tcp_pace(c))
            return;
        struct frame *f = net_frame_new(c->net, false);
        if (!f) {
            no_frame = true;
            break;
        }
        if (unlikely(probe))
            tcp_pmtu_probing(c, probe);
        f->len = c->header_len + n;
        tcp_tx_take(c, f->data + c->header_len, n);
        bool last = c->tx_bytes == 0;
        tcp_emit(c, f, n, (uint8_t)((last ? TH_PSH : 0) | (last && fin ? TH_FIN : 0)));
    }
    if (fin && !c->tx_bytes && !c->open && !(c->flags & TCP_FIN_SENT) && c->snd_wnd) {
        tcp_take_fin(c);
        tcp_send_fin(c);
        tcp_watch_acknowledgement(c);
    }
    if (!(c->flags & TCP_FIN_SENT) && (c->tx_bytes || fin))
        tcp_wait_for_window(c, no_frame);
}

void tcp_output(struct tcp *c)
{
    output(c, false);
}

// One after the other, each a share; who has more goes to the end.
void tcp_output_held(struct net *net)
{
    struct tcp *c;
    while (!net_output_full(net) && (c = TAILQ_FIRST(&net->held))) {
        tcp_leave_held(c);
        output(c, true);
        tcp_tx_check_writable(c);
    }
}

bool tcp_resend_part(struct tcp *c, struct frame *f, uint32_t seq, uint32_t len)
{
    struct frame_note *note = frame_note(f);
    if (note->output_place)
        return true; // the port has not even taken the last transmission
    const uint8_t *data = f->data + c->header_len + (seq - note->seq);
    if (note->len > c->mss)
        tcp_pmtu_resent(c, note->seq);
    for (uint32_t at = 0, n; at < len; at += n) {
        n = len - at < c->mss ? len - at : c->mss;
        struct frame *part = net_frame_new(c->net, true);
        if (!part)
            return false;
        memcpy(part->data + c->header_len, data + at, n);
        frame_note(part)->transmissions = 2; // no new data, as ECN sees it
        uint8_t flags = TH_ACK | TH_PSH;
        if ((c->flags & TCP_FIN_SENT) && seq + at + n == c->fin_seq)
            flags |= TH_FIN;
        tcp_write_segment(c, part, seq + at, n, flags);
    }
    note->sent_us = c->net->now_us;
    note->transmissions++;
    c->retransmitted++;
    return true;
}

struct frame *tcp_resend(struct tcp *c, struct frame *f, struct frame *before)
{
    struct net *net = c->net;
    struct frame_note *note = frame_note(f);
    if (note->output_place)
        return f; // the port has not even taken the last transmission
    if (unlikely(seq_lt(note->seq, c->snd_una))) { // a part of it arrived
        uint32_t cut = c->snd_una - note->seq;
        f->data += cut;
        note->seq += cut;
        note->len -= cut;
    }
    if (unlikely(note->len > c->mss)) {
        tcp_pmtu_resent(c, note->seq);
        if (!net->tso_max)
            return tcp_resend_part(c, f, note->seq, note->len) ? f : NULL;
    }
    uint8_t flags = TH_ACK | TH_PSH;
    if ((c->flags & TCP_FIN_SENT) && note->seq + note->len == c->fin_seq)
        flags |= TH_FIN;
    if (!net->pool->exclusive(f)) {
        struct frame *copy = net_frame_new(net, true);
        if (!copy)
            return NULL;
        memcpy(copy->data + c->header_len, f->data + c->header_len, note->len);
        copy->flags = FRAME_KEEP;
        *frame_note(copy) = *note;
        copy->next = f->next;
        if (before)
            before->next = copy;
        else
            c->rtx_head = copy;
        if (c->rtx_tail == f)
            c->rtx_tail = copy;
        net_frame_drop(net, f);
        f = copy;
        note = frame_note(f);
    }
    note->sent_us = net->now_us;
    note->transmissions++;
    f->flags = FRAME_KEEP;
    c->retransmitted++;
    c->bytes_retransmitted += note->len;
    tcp_write_segment(c, f, note->seq, note->len, flags);
    return f;
}

void tcp_send_ack(struct tcp *c)
{
    struct frame *f = net_frame_new(c->net, true);
    if (f) {
        tcp_write_segment(c, f, c->snd_nxt, 0, TH_ACK);
    } else {
        c->ack_at_us = c->net->now_us + NO_FRAME_RETRY_US;
        tcp_timer_by(c, c->ack_at_us);
    }
}

void tcp_send_syn(struct tcp *c)
{
    struct frame *f = net_frame_new(c->net, true);
    if (f)
        tcp_write_segment(c, f, c->iss, 0,
                          (c->state == TCP_SYN_SENT ? TH_SYN : TH_SYN | TH_ACK) |
                              tcp_ecn_syn_flags(c));
}

void tcp_send_reset(struct tcp *c)
{
    struct frame *f = net_frame_new(c->net, true);
    if (!f)
        return;
    c->net->counters.tcp_reset_out++;
    tcp_write_segment(c, f, c->snd_nxt, 0, TH_RST | TH_ACK);
}

// A sequence number that the peer has already acknowledged makes it answer with its window (and
// tells that we are alive), whatever the state of its buffer.
void tcp_send_probe(struct tcp *c)
{
    struct frame *f = net_frame_new(c->net, true);
    if (f)
        tcp_write_segment(c, f, c->snd_una - 1, 0, TH_ACK);
}

bool tcp_challenge_allowed(struct net *net, uint32_t *last_ms)
{
    uint32_t now_ms = (uint32_t)(net->now_us / 1000);
    uint64_t second = net->now_us / 1000000;
    if (second != net->challenge_second) {
        uint64_t word = 1ull << 56 | second;
        net->challenge_second = second;
        net->challenges_left =
            CHALLENGES_PER_SECOND / 2 +
            (uint32_t)(net_sip(net->key_challenges, &word, 1, 2, 4) % CHALLENGES_PER_SECOND);
    }
    // What the first limit stops does not use up the second.
    if ((*last_ms && now_ms - *last_ms < CHALLENGE_INTERVAL_MS) || !net->challenges_left) {
        net->counters.tcp_challenge_limited++;
        return false;
    }
    net->challenges_left--;
    *last_ms = now_ms ? now_ms : 1;
    net->counters.tcp_challenge_ack++;
    return true;
}

void tcp_challenge(struct tcp *c)
{
    if (tcp_challenge_allowed(c->net, &c->challenge_ms))
        tcp_send_ack(c);
}

// --- without a connection
// ---------------------------------------------------------------------------------

// What strangers make us send takes nothing of the reserve that keeps connections alive, and is no
// reason to look for who holds frames.
static struct frame *stranger_frame(struct net *net)
{
    bool was_short = net->frames_short;
    struct frame *f = net_frame_new(net, false);
    net->frames_short = was_short;
    return f;
}

// Sends the answer to `p` (NULL: to none). A sender on our link that is not known is answered where
// the frame came from: to ask for each address of a flood would be a flood of its own, and would
// drive out neighbours.
static void stranger_send(struct net *net, const struct packet *p, const struct net_flow *flow,
                          struct frame *f)
{
    bool known = true;
    if (p && !flow->pair)
        known = !ipv4_is_on_link(net, flow->remote) || neighbour_find(net, net_ip4(flow->remote));
    else if (p)
        known = !ipv6_is_on_link(net, flow->pair->remote) ||
                neighbour_find(net, net_ip6(flow->pair->remote));
    if (known) {
        net_send_to(net, net_route(net, flow), f);
        return;
    }
    memcpy(f->data, p->frame->data + 6, 6);
    memcpy(f->data + 6, net->config.mac, 6);
    if (net->config.vlan) {
        store_be16(f->data + 12, ETHERTYPE_VLAN);
        store_be16(f->data + 14, net->config.vlan);
    }
    store_be16(f->data + net->header_l2 - 2, flow->pair ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
    if (f->data[0] & 1) // a group is nobody's address
        net_frame_drop(net, f);
    else
        net_frame_send(net, f);
}

void tcp_send_bare(struct net *net, const struct packet *p, const struct net_flow *flow,
                   uint32_t seq, uint32_t ack, uint8_t flags, uint16_t window,
                   const uint32_t stamps[2])
{
    struct frame *f = stranger_frame(net);
    if (!f)
        return;
    struct tcp_fields h = {.seq = seq, .ack = ack, .flags = flags, .window = window};
    if (stamps) {
        h.has_stamps = true;
        h.ts_value = stamps[0];
        h.ts_echo = stamps[1];
    }
    tcp_write_header(net, f, flow, &h, 0, 0);
    stranger_send(net, p, flow, f);
}

void tcp_send_offer(struct net *net, const struct packet *p, const struct net_flow *flow,
                    uint32_t seq, uint32_t ack, uint8_t flags, uint16_t window,
                    const struct tcp_offer *offer)
{
    struct frame *f = stranger_frame(net);
    if (!f)
        return;
    struct tcp_fields h = {.seq = seq, .ack = ack, .flags = flags, .window = window};
    uint32_t options =
        tcp_options_write(offer, f->data + net->header_l2 + net_l3_header(flow) + TCP_HEADER);
    tcp_write_header(net, f, flow, &h, options, 0);
    stranger_send(net, p, flow, f);
}

void tcp_reset_stranger(struct net *net, const struct packet *p, const struct tcp_segment *seg)
{
    if (seg->flags & TH_RST) {
        net->counters.tcp_reset_stray++;
        return;
    }
    if (!net_limiter_take(net, &net->reset_limiter, RESETS_PER_SECOND, RESETS_BURST)) {
        net->counters.tcp_reset_limited++;
        return;
    }
    struct net_flow flow = packet_flow(p);
    net->counters.tcp_reset_out++;
    if (seg->flags & TH_ACK)
        tcp_send_bare(net, p, &flow, seg->ack, 0, TH_RST, 0, NULL);
    else
        tcp_send_bare(net, p, &flow, 0,
                      seg->seq + seg->len + !!(seg->flags & TH_SYN) + !!(seg->flags & TH_FIN),
                      TH_RST | TH_ACK, 0, NULL);
}
