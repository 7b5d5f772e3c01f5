// RACK-TLP (RFC 8985): a segment is lost when one that was sent sufficiently later has arrived; and
// when nothing arrives at all, the last segment goes again to find out.
#include "dataplane/net/tcp_board.h"

enum {
    REORDER_EXTRA_MAX =
        15,               // the reordering window is at most 16 quarters of the shortest round trip
    REORDER_PERSIST = 16, // recoveries after which a widened window narrows again (RFC 8985 6.2)
    DUPTHRESH = 3,
    RETRY_US = 5000, // when the port or its pool gave no frame
};

// Was the frame (sent at `sent_us`, ending at `end`) sent before the newest that arrived?
static bool sent_before_newest(const struct tcp_board *b, uint64_t sent_us, uint32_t end)
{
    return sent_us < b->rack_sent_us || (sent_us == b->rack_sent_us && seq_lt(end, b->rack_end));
}

void tcp_rack_delivered(struct tcp *c, const struct tcp_slot *s, const struct tcp_segment *seg,
                        struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    uint64_t now = c->net->now_us;
    uint32_t rtt = (uint32_t)(now - s->sent_us);
    if (s->repeated) {
        // Which transmission arrived? Not the last when the peer echoes an older stamp, or answers
        // faster than the path allows (step 2).
        if ((c->flags & TCP_STAMPS) && seg->has_stamp && seg->ts_echo &&
            seq_lt(seg->ts_echo, tcp_stamp_at(c, s->sent_us)))
            return;
        if (rtt < c->min_rtt_us)
            return;
    } else if (seq_lt(s->end, news->fack)) {
        // Sent once and arrived behind a later one (step 3).
        uint32_t distance = (news->fack - s->end) / c->mss + 1;
        c->net->counters.tcp_reordering++;
        c->reordered = true;
        c->reorderings++;
        if (distance > c->reordering)
            c->reordering = (uint16_t)(distance < UINT16_MAX ? distance : UINT16_MAX);
    }
    b->rack_rtt_us = rtt;
    if (!b->rack_valid || !sent_before_newest(b, s->sent_us, s->end)) {
        b->rack_sent_us = s->sent_us;
        b->rack_end = s->end;
        b->rack_valid = true;
    }
}

void tcp_rack_adapt(struct tcp *c, const struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    if (b->in_dsack_round && seq_le(b->dsack_round, c->snd_una))
        b->in_dsack_round = false;
    if (!news->dsack || news->dsack_of_probe || b->in_dsack_round || !c->retransmitted)
        return;
    b->in_dsack_round = true;
    b->dsack_round = c->snd_nxt;
    if (c->reorder_extra < REORDER_EXTRA_MAX)
        c->reorder_extra++;
    c->reorder_persist = REORDER_PERSIST;
}

void tcp_rack_recovered(struct tcp *c)
{
    if (c->reorder_persist && --c->reorder_persist == 0)
        c->reorder_extra = 0;
}

// How much later than expected a segment may arrive.
static uint32_t reorder_window(const struct tcp *c)
{
    const struct tcp_board *b = c->board;
    if (!c->reordered && ((c->flags & (TCP_RECOVERY | TCP_LOSS)) || b->n_sacked >= DUPTHRESH ||
                          b->sacked >= DUPTHRESH * c->mss))
        return 0;
    uint32_t window = (1u + c->reorder_extra) * (c->min_rtt_us / 4);
    return window < c->srtt_us ? window : c->srtt_us;
}

uint64_t tcp_rack_detect(struct tcp *c, struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    if (!(c->flags & TCP_SACK) || !b->rack_valid)
        return 0;
    uint64_t now = c->net->now_us, due = 0;
    uint64_t patience = (uint64_t)b->rack_rtt_us + reorder_window(c);
    // What was sent again goes first in the queue: it is older. In order among themselves.
    uint32_t after = SLOT_NONE;
    for (uint32_t i = b->resent_list.head, next; i != SLOT_NONE; i = next) {
        struct tcp_slot *s = board_slot(b, i);
        next = s->next;
        if (!sent_before_newest(b, s->sent_us, s->end))
            break;
        if (s->sent_us + patience > now) {
            due = s->sent_us + patience;
            break;
        }
        news->lost += slot_bytes(s, c->snd_una);
        tcp_board_lose(c, i, after);
        after = i;
        c->net->counters.tcp_lost_again++;
    }
    for (; b->rack_next != b->end; b->rack_next++) {
        struct tcp_slot *s = board_slot(b, b->rack_next);
        if (s->marks & (SLOT_SACKED | SLOT_LOST | SLOT_RESENT))
            continue;
        if (!sent_before_newest(b, s->sent_us, s->end))
            break;
        if (s->sent_us + patience > now) {
            if (!due || s->sent_us + patience < due)
                due = s->sent_us + patience;
            break;
        }
        news->lost += slot_bytes(s, c->snd_una);
        tcp_board_lose(c, b->rack_next, b->lost_list.tail);
        c->net->counters.tcp_rack_lost++;
    }
    tcp_board_settle(c);
    return due;
}

// --- the loss probe
// -------------------------------------------------------------------------------

// New data as a probe, whatever the congestion window says (RFC 8985 7.3). False: there is none.
static bool probe_with_new(struct tcp *c)
{
    if (!c->tx_bytes || (c->flags & TCP_FIN_SENT))
        return false;
    uint32_t flight = c->snd_nxt - c->snd_una, n = c->mss;
    if (n > c->tx_bytes)
        n = (uint32_t)c->tx_bytes;
    if (c->snd_wnd < flight + n || flight + n > c->net->config.send_buffer_max)
        return false;
    struct frame *f = net_frame_new(c->net, true);
    if (!f)
        return false;
    tcp_tx_take(c, f->data + c->header_len, n);
    tcp_emit(c, f, n, c->tx_bytes ? 0 : TH_PSH);
    return true;
}

// The probe filled a hole: that was a loss, and counts as one.
static void probe_repaired(struct tcp *c)
{
    c->board->probe_out = false;
    c->net->counters.tcp_probes_repaired++;
    if (c->flags & (TCP_RECOVERY | TCP_LOSS))
        return; // it has been counted
    c->ssthresh = c->congestion->threshold(c);
    tcp_congestion_event(c, CONGESTION_LOSS);
    c->cwnd = c->cwnd < c->ssthresh ? c->cwnd : c->ssthresh;
}

// Something is known to be missing and nothing was heard for long: the first frame goes again.
static bool probe_recovery(struct tcp *c)
{
    struct tcp_board *b = c->board;
    b->probed = true;
    if (b->first == b->end || board_slot(b, b->first)->marks & SLOT_SACKED)
        return false;
    if (board_slot(b, b->first)->marks & SLOT_RESENT)
        tcp_board_lose(c, b->first, SLOT_NONE);
    return tcp_board_resend(c, b->first);
}

// The end of the flight goes again, or what follows it.
static bool probe_tail(struct tcp *c)
{
    struct tcp_board *b = c->board;
    if (b->probe_out)
        probe_repaired(c); // a duplicate would have been told of by now
    bool fresh = probe_with_new(c);
    if (!c->board)
        return false;
    if (!fresh) {
        if (b->first == b->end)
            tcp_send_fin(c);
        else if (!tcp_board_resend(c, b->end - 1))
            return false;
    }
    b->probe_out = true;
    b->probe_resent = !fresh;
    b->probe_end = c->snd_nxt;
    return true;
}

void tcp_probe_timeout(struct tcp *c)
{
    struct net *net = c->net;
    if (c->snd_una == c->snd_nxt)
        return;
    tcp_tx_settle(c);
    if (net_output_full(net) || (c->rtx_tail && frame_note(c->rtx_tail)->output_place)) {
        c->probe_at_us = net->now_us + RETRY_US; // what would be probed has not even left
        return;
    }
    const struct tcp_board *b = tcp_board_get(c);
    if (!b)
        return;
    bool calm = !(c->flags & (TCP_RECOVERY | TCP_LOSS)) && !b->n_sacked;
    if (!(calm ? probe_tail(c) : probe_recovery(c)))
        return;
    net->counters.tcp_probes++;
    c->probe_at_us = 0;
    c->rto_at_us = net->now_us + c->rto_us;
}

void tcp_probe_acked(struct tcp *c, const struct tcp_segment *seg, const struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    if (!b->probe_out || seq_lt(seg->ack, b->probe_end))
        return;
    if (!b->probe_resent) {
        b->probe_out = false; // all of it arrived
    } else if (news->dsack_of_probe ||
               (seg->ack == b->probe_end && news->duplicate && !seg->n_sack)) {
        // Both arrived: the peer was only slow to say so. It gets more time from now on.
        b->probe_out = false;
        c->net->counters.tcp_probes_spurious++;
        if (c->ack_delay_shift < ACK_DELAY_SHIFT_MAX)
            c->ack_delay_shift++;
    } else if (seg->ack != b->probe_end) {
        probe_repaired(c);
    } // else a duplicate may still be told of
}
