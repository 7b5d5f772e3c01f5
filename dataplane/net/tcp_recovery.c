// What happens while something is lost: fast recovery with proportional rate reduction (RFC 6675,
// RFC 6937; without SACK RFC 6582), what follows a time-out (RFC 6298, RFC 5682), and taking it
// back when nothing was lost after all (RFC 3522, RFC 3708, RFC 4015).
#include "dataplane/net/tcp_board.h"

enum { DUPACKS = 3, RETRY_US = 5000 };

static bool open_state(const struct tcp *c)
{
    return !(c->flags & (TCP_RECOVERY | TCP_LOSS));
}

// FIN has no frame, and the end of a recovery does not wait for it.
static uint32_t data_end(const struct tcp *c)
{
    return c->flags & TCP_FIN_SENT ? c->fin_seq : c->snd_nxt;
}

static void look_at(struct tcp *c, uint64_t at_us)
{
    c->probe_at_us = at_us;
    if (at_us) {
        c->flags |= TCP_RACK_WAIT;
        tcp_timer_by(c, at_us);
    }
}

// --- sending again
// ------------------------------------------------------------------------------

bool tcp_board_resend(struct tcp *c, uint32_t i)
{
    struct tcp_board *b = c->board;
    struct tcp_slot *s = board_slot(b, i);
    const struct frame_note *note = frame_note(s->frame);
    if (s->end == note->seq + note->len && seq_le(s->seq, note->seq)) {
        struct frame *before = i == b->first ? NULL : board_slot(b, i - 1)->frame;
        struct frame *f = tcp_resend(c, s->frame, before);
        if (!f)
            return false;
        s->frame = f;
    } else {
        uint32_t seq = seq_lt(s->seq, c->snd_una) ? c->snd_una : s->seq;
        if (!tcp_resend_part(c, s->frame, seq, s->end - seq))
            return false;
    }
    s->sent_us = c->net->now_us;
    s->repeated = true;
    if (b->undo && !b->undo_stamp_set) {
        b->undo_stamp_set = true;
        b->undo_stamp = tcp_stamp(c);
    }
    tcp_board_resent(c, i);
    if (i == b->first) {
        c->rto_at_us = c->net->now_us + ((uint64_t)c->rto_us << c->backoff);
        tcp_timer_by(c, c->rto_at_us);
    }
    return true;
}

void tcp_resend_lost(struct tcp *c, bool force)
{
    struct tcp_board *b = c->board;
    while (b->lost_list.head != SLOT_NONE) {
        uint32_t pipe = tcp_pipe(c);
        if (!force && (pipe >= c->cwnd || b->frto))
            return;
        if (!tcp_board_resend(c, b->lost_list.head)) {
            look_at(c, c->net->now_us + RETRY_US);
            return;
        }
        force = false;
    }
}

// --- the window during recovery
// -----------------------------------------------------------------

// RFC 6937 with the safe bound of RFC 9937: what leaves follows what arrives, down to ssthresh.
static void reduce_proportionally(struct tcp *c, uint32_t delivered, bool safe)
{
    struct tcp_board *b = c->board;
    b->prr_delivered += delivered;
    uint32_t pipe = tcp_pipe(c), send;
    if (pipe > c->ssthresh) {
        uint64_t due = ((uint64_t)b->prr_delivered * c->ssthresh + b->prr_flight - 1) /
                       (b->prr_flight ? b->prr_flight : 1);
        send = due > b->prr_out ? (uint32_t)due - b->prr_out : 0;
    } else {
        uint32_t ahead = b->prr_delivered > b->prr_out ? b->prr_delivered - b->prr_out : 0;
        send = ahead > delivered ? ahead : delivered;
        if (safe)
            send += c->mss;
        if (send > c->ssthresh - pipe)
            send = c->ssthresh - pipe;
    }
    c->cwnd = pipe + send;
}

// Remembers what the window was before it is lowered.
static void remember(struct tcp *c, bool timeout)
{
    struct tcp_board *b = c->board;
    b->undo = true;
    b->undo_timeout = timeout;
    b->undo_stamp_set = b->undo_stamp_used = false;
    b->undo_from = c->snd_una;
    b->undo_cwnd = c->cwnd;
    b->undo_ssthresh = c->ssthresh;
    b->undo_resent = b->undo_duplicates = 0;
}

static void enter_recovery(struct tcp *c, uint32_t flight)
{
    struct tcp_board *b = c->board;
    remember(c, false);
    c->ssthresh = c->congestion->threshold(c);
    tcp_congestion_event(c, CONGESTION_LOSS);
    c->recover = data_end(c);
    c->flags |= TCP_RECOVERY;
    b->prr_delivered = b->prr_out = 0;
    b->prr_flight = flight;
    c->net->counters.tcp_retransmit_fast++;
}

static void end_recovery(struct tcp *c)
{
    struct tcp_board *b = c->board;
    if (c->flags & TCP_RECOVERY)
        c->cwnd = c->ssthresh;
    c->flags &= ~(uint32_t)(TCP_RECOVERY | TCP_LOSS);
    c->dupacks = 0;
    b->guessed = 0;
    b->frto = FRTO_OFF;
    b->calm_seq = c->snd_nxt;
    tcp_board_settle(c);
    tcp_rack_recovered(c);
}

// --- time-outs
// ----------------------------------------------------------------------------------

void tcp_enter_loss(struct tcp *c)
{
    struct tcp_board *b = tcp_board_get(c);
    bool again = (c->flags & TCP_LOSS) && c->backoff, in_recovery = c->flags & TCP_RECOVERY;
    if (b && !again && !in_recovery)
        remember(c, true);
    tcp_holder_add(c);
    // Only the first time-out of a flight lowers the threshold (RFC 5681 3.1).
    if (!again)
        c->ssthresh = c->congestion->threshold(c);
    tcp_congestion_event(c, CONGESTION_TIMEOUT);
    c->flags = (c->flags | TCP_LOSS) & ~(uint32_t)TCP_RECOVERY;
    c->cwnd = c->mss;
    c->dupacks = 0;
    c->recover = data_end(c);
    c->probe_at_us = 0;
    if (!b) {
        if (c->rtx_head)
            tcp_resend(c, c->rtx_head, NULL);
        else if (c->flags & TCP_FIN_SENT)
            tcp_send_fin(c);
        return;
    }
    if (b->first != b->end && board_slot(b, b->first)->marks & SLOT_SACKED)
        c->net->counters.tcp_sack_reneged++;
    // The peer may have given up what it told of (RFC 2018 8).
    tcp_board_lose_all(c);
    b->probe_out = false;
    b->probed = true;
    b->calm_seq = c->snd_nxt;
    b->frto = !again && !in_recovery && b->first != b->end ? FRTO_RESENT : FRTO_OFF;
    if (b->first != b->end)
        tcp_resend_lost(c, true);
    else if (c->flags & TCP_FIN_SENT)
        tcp_send_fin(c);
}

uint32_t tcp_frto_usable(const struct tcp *c)
{
    const struct tcp_board *b = c->board;
    if (!b)
        return 0;
    if (b->frto == FRTO_NEW)
        return seq_lt(c->snd_nxt, b->frto_limit) ? b->frto_limit - c->snd_nxt : 0;
    if (b->frto || b->lost_list.head != SLOT_NONE)
        return 0;
    uint32_t pipe = tcp_pipe(c);
    return c->cwnd > pipe ? c->cwnd - pipe : 0;
}

// After a time-out: did it come too early? (RFC 5682 2.1, 3.1.) Returns true when it did.
static bool frto_step(struct tcp *c, const struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    bool sack = c->flags & TCP_SACK;
    if (b->frto == FRTO_RESENT) {
        if (!news->acked) {
            if (news->duplicate && !sack)
                b->frto = FRTO_OFF;
            return false;
        }
        // Two new segments, if there are any: what their acknowledgements say decides.
        uint32_t flight = c->snd_nxt - c->snd_una;
        if (seq_le(c->recover, c->snd_una) || !c->tx_bytes || c->snd_wnd <= flight + c->mss) {
            b->frto = FRTO_OFF;
        } else {
            b->frto = FRTO_NEW;
            b->frto_limit = c->snd_nxt + 2u * c->mss;
        }
        return false;
    }
    if (sack ? news->beyond : !news->acked && news->duplicate) {
        b->frto = FRTO_OFF; // the later data arrived and the earlier did not
        if (c->cwnd < 3u * c->mss)
            c->cwnd = 3u * c->mss;
        return false;
    }
    return sack ? news->original : news->acked != 0;
}

// --- taking it back
// -----------------------------------------------------------------------------

static void undo(struct tcp *c, const struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    bool recovering = !open_state(c);
    tcp_board_lose_none(c);
    b->guessed = 0;
    tcp_board_settle(c);
    // The window comes back, but not as one burst: what is not in flight any more is grown into
    // (RFC 4015 3.2, 3.4).
    uint32_t initial = tcp_initial_window(c), pipe = tcp_pipe(c);
    uint32_t limit = pipe + (news->acked > initial ? news->acked : initial);
    uint32_t cwnd = c->cwnd > b->undo_cwnd ? c->cwnd : b->undo_cwnd;
    if (limit < c->cwnd)
        limit = c->cwnd;
    if (c->ssthresh < b->undo_ssthresh)
        c->ssthresh = b->undo_ssthresh;
    if (cwnd > limit) {
        if (c->ssthresh < cwnd)
            c->ssthresh = cwnd;
        cwnd = limit;
    }
    c->cwnd = cwnd;
    b->undo = false;
    b->frto = FRTO_OFF;
    b->calm_seq = c->snd_nxt;
    c->flags &= ~(uint32_t)(TCP_RECOVERY | TCP_LOSS);
    c->dupacks = 0;
    c->backoff = 0;
    if (recovering)
        tcp_rack_recovered(c);
    tcp_congestion_event(c, CONGESTION_UNDO);
}

// Was the last reduction of the window for nothing?
static void try_undo(struct tcp *c, const struct tcp_segment *seg, const struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    struct net_counters *count = &c->net->counters;
    bool spurious = (c->flags & TCP_LOSS) && b->frto && frto_step(c, news);
    if (!b->undo)
        return;
    // The first acknowledgement that moves on was brought about by the original when it echoes a
    // stamp from before the first retransmission (RFC 3522).
    bool late = false;
    if (b->undo_stamp_set && !b->undo_stamp_used && news->acked) {
        late = (c->flags & TCP_STAMPS) && seg->has_stamp && seg->ts_echo &&
               seq_lt(seg->ts_echo, b->undo_stamp);
        b->undo_stamp_used = true;
    }
    if (late) {
        count->tcp_undo_eifel++;
        if (b->undo_timeout)
            c->flags &= ~(uint32_t)TCP_RTT_VALID; // the path is slower now: RFC 4015 3.5
    } else if (spurious) {
        count->tcp_undo_frto++;
        // What was taken for the retransmission was the original.
        b->rack_sent_us = news->sent_us;
        b->rack_end = c->snd_una;
    } else if (b->undo_resent && b->undo_duplicates >= b->undo_resent) {
        count->tcp_undo_dsack++;
    } else {
        return;
    }
    undo(c, news);
}

// --- acknowledgements
// ---------------------------------------------------------------------------

// Without SACK each duplicate says that some segment arrived (RFC 5681), not which.
static void guess(struct tcp *c, struct tcp_news *news, uint32_t first)
{
    struct tcp_board *b = c->board;
    if (news->acked) { // the first frame, and others that were guessed before
        uint32_t known = news->acked > first ? news->acked - first : 0;
        known = known < b->guessed ? known : b->guessed;
        b->guessed -= known;
        news->delivered -= known < news->delivered ? known : news->delivered;
        if (!(c->flags & TCP_RECOVERY))
            c->dupacks = 0;
        if (open_state(c))
            b->guessed = 0;
    } else if (news->duplicate && !(c->flags & TCP_LOSS)) {
        if (c->dupacks < UINT8_MAX)
            c->dupacks++;
        uint32_t flight = c->snd_nxt - c->snd_una, most = flight > b->lost ? flight - b->lost : 0;
        uint32_t to = c->flags & TCP_RECOVERY ? b->guessed + c->mss : c->dupacks * (uint32_t)c->mss;
        to = to < most ? to : most;
        if (to > b->guessed) {
            news->delivered += to - b->guessed;
            b->guessed = to;
        }
    }
}

// Without SACK the first frame is what is lost, on the third duplicate and after each partial
// acknowledgement (RFC 6582).
static void guess_lost(struct tcp *c, const struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    bool third = open_state(c) && c->dupacks >= DUPACKS && seq_lt(c->recover, c->snd_una);
    bool partial = (c->flags & TCP_RECOVERY) && news->acked;
    if ((third || partial) && b->first != b->end &&
        !(board_slot(b, b->first)->marks & (SLOT_LOST | SLOT_RESENT)))
        tcp_board_lose(c, b->first, SLOT_NONE);
}

static void sample_rtt(struct tcp *c, const struct tcp_segment *seg, const struct tcp_news *news,
                       struct tcp_ack *ack)
{
    if (news->sent_us) {
        ack->rtt_us = (uint32_t)(c->net->now_us - news->sent_us) + 1;
    } else if (news->acked && (c->flags & TCP_STAMPS) && seg->has_stamp && seg->ts_echo) {
        uint32_t ms = tcp_stamp(c) - seg->ts_echo;
        if (ms < 60000)
            ack->rtt_us = ms * 1000 + 500;
    }
    if (ack->rtt_us)
        tcp_rtt_sample(c, ack->rtt_us);
}

void tcp_board_sent(struct tcp *c)
{
    const struct tcp_board *b = c->board;
    uint64_t look = c->flags & TCP_RACK_WAIT ? c->probe_at_us : 0, next;
    if ((c->flags & (TCP_SACK | TCP_RTT_VALID)) != (TCP_SACK | TCP_RTT_VALID))
        return;
    if (open_state(c) && !b->n_sacked) {
        if (b->probe_out && seq_lt(c->snd_una, b->probe_end))
            return;
        next = tcp_arm_probe(c);
    } else {
        // Not in RFC 8985, but as RFC 9002 6.2 has it: a recovery whose last retransmissions are
        // lost is probed once, too, before it ends in a time-out.
        if (b->probed || b->frto)
            return;
        uint32_t late = c->srtt_us + 4 * c->rttvar_us;
        c->probe_at_us = c->net->now_us + (late > c->probe_us ? late : c->probe_us);
        next = c->probe_at_us < c->rto_at_us ? c->probe_at_us : c->rto_at_us;
    }
    if (look && look <= c->probe_at_us) {
        c->probe_at_us = look;
        return;
    }
    c->flags &= ~(uint32_t)TCP_RACK_WAIT;
    tcp_timer_by(c, next);
}

// Sets the deadlines after an acknowledgement or a look; `due`: of RACK.
static void set_deadlines(struct tcp *c, bool advanced, uint64_t due)
{
    struct tcp_board *b = c->board;
    uint64_t now = c->net->now_us;
    c->flags &= ~(uint32_t)TCP_RACK_WAIT;
    c->probe_at_us = 0;
    if (c->snd_una == c->snd_nxt) {
        if (advanced)
            c->rto_at_us = 0;
        c->unacked_since_us = 0;
        if (b->undo) // a duplicate may still be told of; then the board goes
            look_at(c, now + c->rto_us);
        return;
    }
    if (advanced) {
        c->rto_at_us = now + c->rto_us;
        c->unacked_since_us = now;
        tcp_timer_by(c, c->rto_at_us);
    }
    if (due)
        look_at(c, due);
    else if (b->lost_list.head != SLOT_NONE && tcp_pipe(c) < c->cwnd && !b->frto)
        look_at(c, now + RETRY_US); // there was no frame
    else
        tcp_board_sent(c);
}

// The board goes when nothing is marked and all that could still be told of a retransmission is.
static void put_away(struct tcp *c)
{
    struct tcp_board *b = c->board;
    if (!open_state(c) || b->n_sacked || b->lost || b->resent || b->guessed || b->probe_out)
        return;
    bool quiet = !b->undo && c->snd_una == c->snd_nxt;
    if (quiet || seq_lt(b->calm_seq, c->snd_una))
        tcp_board_free(c);
}

// What follows from marks and a moved snd_una: states, the window, sending again.
static void proceed(struct tcp *c, const struct tcp_news *news, bool forced)
{
    struct tcp_board *b = c->board;
    bool force = forced;
    if (!open_state(c) && seq_le(c->recover, c->snd_una))
        end_recovery(c);
    if (open_state(c) && b->lost_list.head != SLOT_NONE) {
        enter_recovery(c, news->flight);
        force = true;
    }
    if (c->flags & TCP_RECOVERY) {
        reduce_proportionally(c, news->delivered, news->acked && !news->lost);
        if (!(c->flags & TCP_SACK) && news->acked)
            force = true; // RFC 6582 3.2: the next hole at once
    }
    // With nothing in the network nothing would ever be heard.
    if (!b->frto && tcp_pipe(c) < c->mss)
        force = true;
    tcp_resend_lost(c, force);
}

void tcp_acked_in_trouble(struct tcp *c, const struct tcp_segment *seg, bool duplicate)
{
    struct tcp_news news = {.flight = c->snd_nxt - c->snd_una, .duplicate = duplicate};
    uint32_t before = c->snd_una;
    bool advances = seq_lt(before, seg->ack);
    struct tcp_board *b = tcp_board_get(c);
    if (!b) {
        if (advances)
            tcp_acked(c, seg->ack, seg);
        return;
    }
    news.fack = b->fack;
    uint32_t first = b->first != b->end ? slot_bytes(board_slot(b, b->first), before) : 0;
    if (advances) {
        news.acked = seg->ack - before;
        c->snd_una = seg->ack;
        c->backoff = 0;
        tcp_board_release(c, before, seg, &news);
    }
    if (c->flags & TCP_SACK)
        tcp_sack_read(c, seg, &news);
    else
        guess(c, &news, first);
    tcp_board_settle(c);
    const bool used = 2 * news.flight >= c->cwnd && c->cwnd < c->net->config.send_buffer_max;
    struct tcp_ack ack = {.acked = news.acked,
                          .flight = news.flight,
                          .delivered = news.delivered,
                          .window_used = used};
    try_undo(c, seg, &news);
    sample_rtt(c, seg, &news, &ack);
    if (news.delivered)
        b->probed = false;
    tcp_probe_acked(c, seg, &news);
    tcp_rack_adapt(c, &news);
    uint64_t due = tcp_rack_detect(c, &news);
    if (!(c->flags & TCP_SACK))
        guess_lost(c, &news);
    tcp_board_settle(c);
    if (news.acked && !(c->flags & TCP_RECOVERY)) {
        c->congestion->acked(c, &ack);
    }
    proceed(c, &news, false);
    // "recover" follows, so that a comparison never wraps.
    if (open_state(c) && seq_lt(c->recover, c->snd_una - 1))
        c->recover = c->snd_una - 1;
    set_deadlines(c, advances, due);
    put_away(c);
}

void tcp_duplicate_ack(struct tcp *c, const struct tcp_segment *seg)
{
    if (c->flags & (TCP_SACK | TCP_LOSS | TCP_RECOVERY))
        return; // with SACK a duplicate without blocks says nothing
    if (c->dupacks + 1 < DUPACKS) {
        c->dupacks++;
        return;
    }
    tcp_acked_in_trouble(c, seg, true);
}

// RACK's timer: what was given time to arrive late did not. Or a frame is free again, or the board
// has served its time.
void tcp_rack_timeout(struct tcp *c)
{
    struct tcp_board *b = c->board;
    c->flags &= ~(uint32_t)TCP_RACK_WAIT;
    if (!b)
        return;
    if (c->snd_una == c->snd_nxt) {
        b->undo = false;
        put_away(c);
        return;
    }
    struct tcp_news news = {.flight = c->snd_nxt - c->snd_una};
    uint64_t due = tcp_rack_detect(c, &news);
    proceed(c, &news, news.lost != 0);
    set_deadlines(c, false, due);
    tcp_output(c);
}
