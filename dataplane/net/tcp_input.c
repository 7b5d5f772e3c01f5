// Segment arrival: RFC 9293 3.10.7 in its order, with RFC 7323 (PAWS) and RFC 5961 (blind attacks).
#include "dataplane/net/tcp.h"

// After so long without a segment the last timestamp says nothing (RFC 7323 5.5).
#define PAWS_IDLE_US (24ull * 24 * 3600 * 1000000)

static bool tcp_checksum_good(struct net *net, const struct packet *p)
{
    if (p->frame->flags & FRAME_L4_SUM_GOOD)
        return true;
    const struct net_flow ends = {.local = p->dst, .remote = p->src, .pair = p->pair};
    uint64_t pseudo = net_pseudo_sum(&ends, PROTOCOL_TCP, p->l4_len);
    if (likely(net_sum_fold(net_sum(p->l4, p->l4_len, pseudo)) == 0xffff))
        return true;
    uint16_t field;
    memcpy(&field, p->l4 + TCP_SUM, 2);
    // A sender whose port would have finished the sum: it holds that of the pseudo-header alone.
    if (field == net_sum_fold(pseudo)) {
        if (net->config.trust_partial_sums)
            return true;
        net->counters.tcp_partial_sum++;
    } else {
        net->counters.tcp_bad_sum++;
    }
    return false;
}

static bool tcp_parse(struct net *net, const struct packet *p, struct tcp_segment *seg)
{
    uint32_t header;
    if (p->l4_len < TCP_HEADER || (header = (p->l4[TCP_OFFSET] >> 4) * 4u) < TCP_HEADER ||
        header > p->l4_len) {
        net->counters.tcp_bad_header++;
        return false;
    }
    if (!tcp_checksum_good(net, p))
        return false;
    seg->seq = load_be32(p->l4 + TCP_SEQ);
    seg->ack = load_be32(p->l4 + TCP_ACK);
    seg->wnd = load_be16(p->l4 + TCP_WINDOW);
    seg->flags = p->l4[TCP_FLAGS];
    seg->ecn = p->traffic_class & IP_ECN_MASK;
    seg->data = p->l4 + header;
    seg->len = p->l4_len - header;
    seg->has_stamp = seg->has_mss = seg->has_scale = seg->has_sack = false;
    seg->n_sack = 0;
    if (header > TCP_HEADER && !tcp_options_parse(p->l4 + TCP_HEADER, header - TCP_HEADER, seg)) {
        net->counters.tcp_bad_option++;
        return false;
    }
    return true;
}

// --- SYN-SENT, 3.10.7.3
// ------------------------------------------------------------------------------------

static void tcp_deliver(struct tcp *c, struct tcp_segment *seg);

static void tcp_syn_sent_input(struct tcp *c, const struct packet *p, struct tcp_segment *seg)
{
    struct net *net = c->net;
    bool ack_good = false;
    if (seg->flags & TH_ACK) {
        if (seg->ack != c->snd_nxt) {
            net->counters.tcp_future_ack++;
            tcp_reset_stranger(net, p, seg);
            return;
        }
        ack_good = true;
    }
    if (seg->flags & TH_RST) {
        if (ack_good) {
            net->counters.tcp_reset_in++;
            tcp_finish(c, STREAM_REFUSED);
        } else {
            net->counters.tcp_reset_bad++;
        }
        return;
    }
    if (!(seg->flags & TH_SYN))
        return;
    c->irs = seg->seq;
    c->rcv_nxt = seg->seq + 1;
    c->rcv_adv = c->rcv_nxt;
    c->snd_wnd = c->max_wnd = seg->wnd;
    c->snd_wl1 = seg->seq;
    c->snd_wl2 = seg->ack;
    tcp_take_options(c, seg);
    if (!ack_good) { // both opened at once
        c->state = TCP_SYN_RECEIVED;
        c->tries = c->backoff = 0;
        c->rto_at_us = net->now_us + c->rto_us;
        tcp_timer_by(c, c->rto_at_us);
        tcp_send_syn(c);
        return;
    }
    if (!c->tries)
        tcp_rtt_sample(c, (uint32_t)(net->now_us - c->last_tx_us) + 1);
    c->snd_una = seg->ack;
    tcp_established(c);
    c->flags |= TCP_ACK_NOW; // with the first request, if it is written in this turn
    tcp_note_turn(c);
    seg->seq++;
    seg->flags &= (uint8_t)~TH_SYN;
    tcp_deliver(c, seg);
    if (c->state == TCP_ESTABLISHED && (c->tx_bytes || (c->flags & TCP_FIN_QUEUED)))
        tcp_output(c);
}

// --- synchronized states, 3.10.7.4
// --------------------------------------------------------------------------

static bool tcp_stamp_outdated(const struct tcp *c)
{
    return c->net->now_us - c->last_rx_us >= PAWS_IDLE_US;
}

// How far behind rcv_nxt a repeat may lie: nothing older can be under way.
static uint32_t tcp_receive_reach(const struct tcp *c)
{
    uint32_t size = c->net->config.receive_buffer_max;
    return size > 65535 ? size : 65535;
}

// First: the timestamp and the window. Cuts off what lies outside. False: dropped, and answered.
static bool tcp_check_sequence(struct tcp *c, struct tcp_segment *seg)
{
    struct net_counters *count = &c->net->counters;
    if ((c->flags & TCP_STAMPS) && !(seg->flags & TH_RST)) {
        if (unlikely(!seg->has_stamp)) {
            // RFC 7323 3.2: a segment without the agreed option is not ours; data of it is dropped.
            if (!(seg->flags & TH_SYN)) {
                count->tcp_paws++;
                return false;
            }
        } else if (unlikely(seq_lt(seg->ts_value, c->ts_recent))) {
            if (!tcp_stamp_outdated(c)) {
                count->tcp_paws++;
                if (seg->len && seq_le(seg->seq + seg->len, c->rcv_nxt))
                    tcp_dsack_note(c, seg->seq, seg->seq + seg->len);
                // Repeats of old segments want an answer, bare acknowledgements do not (loops).
                if (seg->len || (seg->flags & (TH_SYN | TH_FIN)))
                    tcp_challenge(c);
                return false;
            }
        }
    }
    uint32_t length = seg->len + !!(seg->flags & TH_SYN) + !!(seg->flags & TH_FIN);
    uint32_t wnd = seq_lt(c->rcv_nxt, c->rcv_adv) ? c->rcv_adv - c->rcv_nxt : 0;
    if (likely(seg->seq == c->rcv_nxt && length <= wnd))
        return true;
    uint32_t offset = seg->seq - c->rcv_nxt; // in the window when below wnd
    bool acceptable;
    if (length == 0)
        acceptable = wnd ? offset < wnd : offset == 0;
    else
        acceptable = wnd && (offset < wnd || (uint32_t)(offset + length - 1) < wnd);
    if (!acceptable) {
        // An empty window still takes acknowledgements and resets at its edge.
        if (wnd == 0 && seg->seq == c->rcv_nxt && !(seg->flags & TH_SYN)) {
            if (seg->flags & TH_RST)
                return true;
            if (seg->flags & TH_ACK) {
                count->tcp_out_of_window++;
                c->flags |= TCP_ACK_NOW;
                tcp_note_turn(c);
                seg->len = 0;
                seg->flags &= (uint8_t)~TH_FIN;
                return true;
            }
        }
        if (seg->flags & TH_RST) {
            count->tcp_reset_bad++;
            return false;
        }
        bool old = seq_le(seg->seq + length, c->rcv_nxt);
        if (seg->len && old) {
            count->tcp_duplicate++;
            tcp_dsack_note(c, seg->seq, seg->seq + seg->len);
        } else {
            count->tcp_out_of_window++;
        }
        if (c->state == TCP_SYN_RECEIVED && (seg->flags & TH_SYN) && seg->seq == c->irs)
            tcp_send_syn(c); // our answer to its SYN was lost
        else if (seg->flags & TH_SYN)
            tcp_challenge(c);
        else if (c->rcv_nxt - seg->seq <= tcp_receive_reach(c) &&
                 (length || seg->seq == c->rcv_nxt - 1))
            tcp_send_ack(c); // a repeat, or a probe of the window or of our life
        else                 // what no honest peer has under way: whoever guesses gets little
            tcp_challenge(c);
        // What an old or early segment acknowledges still counts (RFC 9293 3.10.7.4).
        if (!(seg->flags & TH_ACK) || (seg->flags & TH_SYN) || c->state == TCP_SYN_RECEIVED)
            return false;
        seg->len = 0;
        seg->flags &= (uint8_t) ~(TH_FIN);
        seg->seq = c->rcv_nxt;
        return seq_le(c->snd_una, seg->ack) && seq_le(seg->ack, c->snd_nxt) && old;
    }
    if (seg->flags & (TH_SYN | TH_RST))
        return true;
    if (seq_lt(seg->seq, c->rcv_nxt)) {
        uint32_t cut = c->rcv_nxt - seg->seq;
        c->net->counters.tcp_overlap++;
        cut = cut < seg->len ? cut : seg->len;
        tcp_dsack_note(c, seg->seq, seg->seq + cut);
        seg->seq += cut;
        seg->data += cut;
        seg->len -= cut;
        length -= cut;
    }
    if (seg->seq - c->rcv_nxt + length > wnd) {
        uint32_t over = seg->seq - c->rcv_nxt + length - wnd;
        if (seg->flags & TH_FIN) {
            seg->flags &= (uint8_t)~TH_FIN;
            over--;
        }
        seg->len -= over < seg->len ? over : seg->len;
        count->tcp_out_of_window++;
    }
    return true;
}

// The window of an acceptable segment that is not older than the one that told of it last.
static inline void tcp_take_window(struct tcp *c, const struct tcp_segment *seg, uint32_t wnd)
{
    if (unlikely(wnd && !c->snd_wnd)) {
        c->backoff = 0;
        if (c->flags & TCP_PERSIST) { // if it is too small, soon (RFC 9293 3.8.6.2.1)
            c->rto_at_us = c->net->now_us + c->rto_us;
            tcp_timer_by(c, c->rto_at_us);
        }
    }
    c->snd_wnd = wnd;
    if (unlikely(wnd > c->max_wnd))
        c->max_wnd = wnd;
    c->snd_wl1 = seg->seq;
    c->snd_wl2 = seg->ack;
}

// What moved snd_una on also says that the next hop carries what we send.
static inline void tcp_confirm_neighbour(struct tcp *c)
{
    if (c->neighbour && c->neighbour->generation == c->neighbour_generation)
        neighbour_confirm(c->net, c->neighbour);
}

// RFC 5681 2, of a segment without data.
static bool is_duplicate_ack(const struct tcp *c, const struct tcp_segment *seg, uint32_t wnd)
{
    return seg->ack == c->snd_una && c->snd_nxt != c->snd_una && wnd == c->snd_wnd &&
           !(seg->flags & TH_FIN);
}

// Fifth: the acknowledgement. False: the segment goes no further.
static bool tcp_check_ack(struct tcp *c, const struct packet *p, const struct tcp_segment *seg,
                          bool had_data)
{
    struct net_counters *count = &c->net->counters;
    if (unlikely(!(seg->flags & TH_ACK))) {
        count->tcp_no_ack++;
        return false;
    }
    if (unlikely(c->state == TCP_SYN_RECEIVED)) {
        if (seg->ack != c->snd_nxt) {
            count->tcp_future_ack++;
            tcp_reset_stranger(c->net, p, seg);
            return false;
        }
        if (!c->tries)
            tcp_rtt_sample(c, (uint32_t)(c->net->now_us - c->last_tx_us) + 1);
        c->snd_una = seg->ack;
        tcp_established(c);
        c->snd_wnd = seg->wnd << c->snd_scale;
        if (c->snd_wnd > c->max_wnd)
            c->max_wnd = c->snd_wnd;
        c->snd_wl1 = seg->seq;
        c->snd_wl2 = seg->ack;
        return true;
    }
    // RFC 5961 5: neither what was never sent nor what is older than a window.
    if (unlikely(seq_lt(c->snd_nxt, seg->ack) ||
                 seq_lt(seg->ack, c->snd_una - (c->max_wnd > 65535 ? c->max_wnd : 65535)))) {
        if (seq_lt(c->snd_nxt, seg->ack))
            count->tcp_future_ack++;
        else
            count->tcp_old_ack++;
        tcp_challenge(c);
        return false;
    }
    uint32_t wnd = seg->wnd << c->snd_scale;
    if (unlikely(c->ecn & TCP_ECN_AGREED))
        tcp_ecn_acked(c, seg);
    if (unlikely(c->board || seg->n_sack)) {
        bool advances = seq_lt(c->snd_una, seg->ack);
        tcp_acked_in_trouble(c, seg, !had_data && is_duplicate_ack(c, seg, wnd));
        if (advances)
            tcp_confirm_neighbour(c);
    } else if (seq_lt(c->snd_una, seg->ack)) {
        tcp_acked(c, seg->ack, seg);
        tcp_confirm_neighbour(c);
    } else if (seg->ack == c->snd_una) {
        if (!had_data && is_duplicate_ack(c, seg, wnd))
            tcp_duplicate_ack(c, seg);
        else if (c->snd_nxt == c->snd_una)
            c->unacked_since_us = 0; // an answer to a probe
    } else {
        count->tcp_old_ack++;
    }
    if (unlikely(c->flags & TCP_MTU_PROBE))
        tcp_pmtu_acked(c);
    if (seq_le(c->snd_una, seg->ack) &&
        (seq_lt(c->snd_wl1, seg->seq) || (c->snd_wl1 == seg->seq && seq_le(c->snd_wl2, seg->ack))))
        tcp_take_window(c, seg, wnd);
    return true;
}

// Seventh and eighth: data and FIN.
static void tcp_deliver(struct tcp *c, struct tcp_segment *seg)
{
    uint32_t fin_seq = seg->seq + seg->len;
    bool fin = seg->flags & TH_FIN;
    if (seg->len) {
        if (unlikely(c->state != TCP_ESTABLISHED && c->state != TCP_FIN_WAIT_1 &&
                     c->state != TCP_FIN_WAIT_2))
            return;
        if (unlikely(c->flags & TCP_DEAF)) {
            // Nobody will read this (RFC 1122 4.2.2.13).
            if (c->state != TCP_ESTABLISHED || seq_lt(c->rcv_nxt, fin_seq)) {
                tcp_send_reset(c);
                tcp_finish(c, STREAM_RESET);
            }
            return;
        }
        if (unlikely(fin && seg->seq != c->rcv_nxt))
            tcp_rx_early_fin(c, fin_seq); // the acknowledgement of the data tells of it
        bool gaps = c->ranges;
        tcp_rx_data(c, seg);
        if (unlikely(gaps && tcp_rx_fin_is_next(c))) {
            fin = true;
            fin_seq = c->rcv_nxt;
        }
    }
    if (likely(!fin))
        return;
    if (c->state != TCP_ESTABLISHED && c->state != TCP_FIN_WAIT_1 && c->state != TCP_FIN_WAIT_2)
        return;
    // A FIN counts when all before it has arrived.
    if (c->rcv_nxt != fin_seq) {
        if (!seg->len) {
            tcp_rx_early_fin(c, fin_seq);
            tcp_send_ack(c);
        }
        return;
    }
    tcp_rx_free_ranges(c);
    c->rcv_nxt++;
    c->flags |= TCP_ACK_NOW;
    tcp_note_turn(c);
    if (!(c->flags & TCP_DEAF))
        tcp_event(c, STREAM_EOF);
    if (c->state == TCP_ESTABLISHED)
        c->state = TCP_CLOSE_WAIT;
    else if (c->state == TCP_FIN_WAIT_1)
        c->state = TCP_CLOSING;
    else
        tcp_wait_enter(c);
}

static void tcp_fin_wait_2(struct tcp *c)
{
    enum { FIN_WAIT_2_US = 60000000 };
    c->state = TCP_FIN_WAIT_2;
    c->keep_at_us = c->net->now_us + FIN_WAIT_2_US;
    tcp_timer_by(c, c->keep_at_us);
}

// Second and fourth: RST and SYN (RFC 5961 3.2, 4.2). False: the segment goes no further.
static bool tcp_check_flags(struct tcp *c, const struct tcp_segment *seg)
{
    struct net_counters *count = &c->net->counters;
    if (seg->flags & TH_URG) // its bytes are in their place in the stream (RFC 6093)
        count->tcp_urgent++;
    if (seg->flags & TH_RST) {
        if (seg->seq == c->rcv_nxt) {
            count->tcp_reset_in++;
            tcp_finish(c, c->state == TCP_SYN_RECEIVED ? STREAM_REFUSED : STREAM_RESET);
        } else {
            count->tcp_reset_bad++;
            tcp_challenge(c);
        }
        return false;
    }
    if (seg->flags & TH_SYN) {
        count->tcp_syn_bad++;
        tcp_challenge(c);
        return false;
    }
    return true;
}

// What follows a segment that was taken: its connection's share of the burst, and output that the
// acknowledgement made room for.
static inline void tcp_segment_taken(struct tcp *c, const struct tcp_segment *seg)
{
    if (seg->len) {
        c->net->run = c;
        c->net->run_hash = c->entry.hash;
    }
    if (unlikely(c->tx_bytes || (c->flags & (TCP_FIN_QUEUED | TCP_HOLDS)))) {
        if (c->tx_bytes || (c->flags & TCP_FIN_QUEUED)) {
            tcp_output(c);
            tcp_tx_check_writable(c);
        }
        tcp_holder_check(c);
    }
}

// A segment in an order of its own: any but those that tcp_is_expected knows.
static __attribute__((noinline)) void tcp_unexpected_input(struct tcp *c, const struct packet *p,
                                                           struct tcp_segment *seg)
{
    bool had_data = seg->len != 0;
    // Both opened at once: its SYN comes again with the acknowledgement of ours. Taken for that
    // alone, or two ends in this state would repeat their answers to each other for ever.
    if (unlikely(c->state == TCP_SYN_RECEIVED) && seg->seq == c->irs &&
        (seg->flags & (TH_SYN | TH_ACK | TH_RST)) == (TH_SYN | TH_ACK)) {
        seg->seq++;
        seg->flags &= (uint8_t)~TH_SYN;
    }
    if (unlikely(!tcp_check_sequence(c, seg)))
        return;
    if (unlikely(seg->flags & (TH_RST | TH_SYN | TH_URG)) && !tcp_check_flags(c, seg))
        return;
    if (unlikely(!tcp_check_ack(c, p, seg, had_data)))
        return;
    // RFC 7323 4.3: the timestamp of the segment that covers what was acknowledged last.
    if ((c->flags & TCP_STAMPS) && seg->has_stamp && seq_le(seg->seq, c->rcv_acked) &&
        (likely(seq_le(c->ts_recent, seg->ts_value)) || tcp_stamp_outdated(c)))
        c->ts_recent = seg->ts_value;
    c->last_rx_us = c->net->now_us;
    c->keep_probes = 0;
    bool fin_acked = (c->flags & TCP_FIN_SENT) && seq_lt(c->fin_seq, c->snd_una);
    if (unlikely(fin_acked)) {
        if (c->state == TCP_FIN_WAIT_1) {
            tcp_fin_wait_2(c);
        } else if (c->state == TCP_CLOSING) {
            tcp_wait_enter(c);
            return;
        } else if (c->state == TCP_LAST_ACK) {
            tcp_finish(c, STREAM_OK);
            return;
        }
    }
    if (seg->len || (seg->flags & TH_FIN)) {
        if (unlikely(c->ecn & TCP_ECN_AGREED) && seg->len)
            tcp_ecn_received(c, seg);
        tcp_deliver(c, seg);
        if (unlikely(c->state == TCP_CLOSED))
            return;
    }
    tcp_segment_taken(c, seg);
}

// Header prediction: nearly all segments are the next bytes of an established connection without
// trouble, or acknowledge some, or both. One look tells that they pass every check of
// tcp_unexpected_input, and what is left of it follows in tcp_segment_input.
static inline bool tcp_is_expected(const struct tcp *c, const struct tcp_segment *seg)
{
    enum {
        RARE = TCP_DEAF | TCP_FIN_SENT | TCP_RECOVERY | TCP_LOSS | TCP_PERSIST | TCP_MTU_PROBE,
    };
    return (c->flags & (TCP_STAMPS | RARE)) == TCP_STAMPS && c->state == TCP_ESTABLISHED &&
           !(c->ecn & TCP_ECN_AGREED) && !c->board && !c->ranges &&
           (seg->flags & (uint8_t)~TH_PSH) == TH_ACK && seg->has_stamp && !seg->n_sack &&
           seq_le(c->ts_recent, seg->ts_value) && seg->seq == c->rcv_nxt &&
           (int32_t)(c->rcv_adv - c->rcv_nxt) >= (int32_t)seg->len &&
           seg->ack - c->snd_una <= c->snd_nxt - c->snd_una && seq_le(c->snd_wl1, seg->seq) &&
           (seg->len || seg->ack != c->snd_una);
}

static inline __attribute__((always_inline)) void
segment_input(struct tcp *c, const struct packet *p, struct tcp_segment *seg)
{
    c->segments_in++;
    if (unlikely(!tcp_is_expected(c, seg))) {
        tcp_unexpected_input(c, p, seg);
        return;
    }
    if (seg->ack != c->snd_una) {
        tcp_acked(c, seg->ack, seg);
        tcp_confirm_neighbour(c);
    } else if (c->snd_nxt == c->snd_una) {
        c->unacked_since_us = 0; // an answer to a probe
    }
    tcp_take_window(c, seg, seg->wnd << c->snd_scale);
    if (seq_le(seg->seq, c->rcv_acked))
        c->ts_recent = seg->ts_value;
    c->last_rx_us = c->net->now_us;
    c->keep_probes = 0;
    if (seg->len)
        tcp_rx_data(c, seg);
    tcp_segment_taken(c, seg);
}

void tcp_segment_input(struct tcp *c, const struct packet *p, struct tcp_segment *seg)
{
    segment_input(c, p, seg);
}

// Large receive in software: a burst brings many segments of a bulk connection one behind the
// other. Those that bring nothing but the next bytes join the one before them: no look-up, none of
// the checks that it passed with the same fields. They share its acknowledgement and its event.
static bool tcp_join_run(struct tcp *c, const struct packet *p, struct tcp_segment *seg)
{
    enum { NO_RUN = TCP_DEAF | TCP_RECOVERY | TCP_LOSS };
    struct net_flow flow = packet_flow(p);
    if (!net_flow_equal(&c->entry, &flow) || c->state != TCP_ESTABLISHED || (c->flags & NO_RUN) ||
        c->ranges)
        return false;
    if ((seg->flags & ~TH_PSH) != TH_ACK || seg->seq != c->rcv_nxt || seg->ack != c->snd_una ||
        seg->wnd << c->snd_scale != c->snd_wnd || !seg->len || seg->n_sack ||
        !seq_le(seg->seq + seg->len, c->rcv_adv))
        return false;
    if ((c->flags & TCP_STAMPS) && (!seg->has_stamp || seg->ts_value != c->ts_recent))
        return false;
    c->segments_in++;
    c->net->counters.tcp_joined++;
    c->snd_wl1 = seg->seq;
    if (unlikely(c->ecn & TCP_ECN_AGREED))
        tcp_ecn_received(c, seg);
    tcp_rx_data(c, seg);
    return true;
}

void tcp_input(struct net *net, const struct packet *p)
{
    struct tcp_segment seg;
    net->counters.tcp_in++;
    if (unlikely(!tcp_parse(net, p, &seg)))
        return;
    if (unlikely(p->hash == net->run_hash) && net->run && tcp_join_run(net->run, p, &seg))
        return;
    struct net_flow flow = packet_flow(p);
    uint32_t hash = p->hash ? p->hash : net_flows_hash(&net->flows, &flow);
    struct net_flow_entry *e = net_flows_find(&net->flows, &flow, hash);
    if (likely(e && e->kind == NET_FLOW_CONNECTION)) {
        struct tcp *c = (struct tcp *)((char *)e - offsetof(struct tcp, entry));
        if (unlikely(c->state == TCP_SYN_SENT))
            tcp_syn_sent_input(c, p, &seg);
        else
            segment_input(c, p, &seg);
        return;
    }
    tcp_unknown_input(net, p, &seg, &flow, hash, e);
}
