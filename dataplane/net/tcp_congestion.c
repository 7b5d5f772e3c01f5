// What acknowledgements mean: round-trip times (RFC 6298), the congestion window (RFC 5681), fast
// retransmit and NewReno's recovery (RFC 6582), and resending after a time-out.
#include "dataplane/net/tcp.h"

enum {
    RTO_MIN_US = 200000, // RFC 6298 says 1 s; common stacks use this, delayed ACKs are shorter
    RTO_MAX_US = 60000000,
    CLOCK_US = 1024, // granularity of the timers
    DUPACKS = 3,
    INITIAL_SEGMENTS = 10, // RFC 6928
};

uint32_t tcp_initial_window(const struct tcp *c)
{
    uint32_t low = 2u * c->mss > 14600 ? 2u * c->mss : 14600;
    uint32_t full = INITIAL_SEGMENTS * (uint32_t)c->mss;
    return full < low ? full : low;
}

static void reno_acked(struct tcp *c, uint32_t bytes)
{
    if (c->cwnd < c->ssthresh) {
        c->cwnd += bytes; // by bytes: RFC 3465, so that delayed ACKs cost nothing
        return;
    }
    c->partial += bytes;
    if (c->partial >= c->cwnd) {
        c->partial -= c->cwnd;
        c->cwnd += c->mss;
    }
}

static uint32_t reno_threshold(const struct tcp *c)
{
    uint32_t half = (c->snd_nxt - c->snd_una) / 2;
    return half > 2u * c->mss ? half : 2u * c->mss;
}

const struct tcp_congestion tcp_reno = {
    .name = "reno", .acked = reno_acked, .threshold = reno_threshold};

void tcp_congestion_init(struct tcp *c)
{
    c->congestion = &tcp_reno;
    c->cwnd = tcp_initial_window(c);
    c->ssthresh = UINT32_MAX;
}

void tcp_set_rto(struct tcp *c)
{
    uint32_t var = 4 * c->rttvar_us > CLOCK_US ? 4 * c->rttvar_us : CLOCK_US;
    uint32_t rto = c->srtt_us + var;
    c->rto_us = rto < RTO_MIN_US ? RTO_MIN_US : rto > RTO_MAX_US ? RTO_MAX_US : rto;
}

void tcp_rtt_sample(struct tcp *c, uint32_t rtt)
{
    if (rtt > RTO_MAX_US)
        rtt = RTO_MAX_US;
    if (!(c->flags & TCP_RTT_VALID)) {
        c->srtt_us = rtt;
        c->rttvar_us = rtt / 2;
        c->flags |= TCP_RTT_VALID;
    } else {
        uint32_t off = rtt > c->srtt_us ? rtt - c->srtt_us : c->srtt_us - rtt;
        c->rttvar_us += (off >> 2) - (c->rttvar_us >> 2);
        c->srtt_us += (rtt >> 3) - (c->srtt_us >> 3);
    }
    tcp_set_rto(c);
}

// Lets go of the frames below snd_una. A frame that was sent once gives a sample (Karn's rule);
// with timestamps any acknowledgement does.
static void release_acked(struct tcp *c, const struct tcp_segment *seg)
{
    struct net *net = c->net;
    uint64_t sample = 0;
    bool resent = false;
    struct frame *f = c->rtx_head;
    while (f) {
        const struct frame_note *note = frame_note(f);
        if (seq_lt(c->snd_una, note->seq + note->len))
            break;
        sample = net->now_us - note->sent_us + 1;
        resent |= note->transmissions > 1;
        struct frame *next = f->next;
        if (c->rtx_next == f)
            c->rtx_next = next;
        net_frame_drop(net, f);
        f = next;
    }
    c->rtx_head = f;
    if (!f)
        c->rtx_tail = c->rtx_next = NULL;
    if (sample && !resent)
        tcp_rtt_sample(c, (uint32_t)(sample > UINT32_MAX ? UINT32_MAX : sample));
    else if ((c->flags & TCP_STAMPS) && seg->has_stamp && seg->ts_echo) {
        uint32_t ms = tcp_stamp(c) - seg->ts_echo;
        if (ms < RTO_MAX_US / 1000)
            tcp_rtt_sample(c, ms * 1000 + 500);
    }
}

// Resends what a time-out declared lost, as far as the window goes.
void tcp_resend_lost(struct tcp *c)
{
    while (c->rtx_next && seq_lt(c->high_rxt, c->recover)) {
        struct frame *f = c->rtx_next;
        uint32_t end = frame_note(f)->seq + frame_note(f)->len;
        uint32_t pipe = seq_lt(c->snd_una, c->high_rxt) ? c->high_rxt - c->snd_una : 0;
        if (pipe && pipe + frame_note(f)->len > c->cwnd)
            return;
        struct frame *next = f->next;
        if (!tcp_resend(c, f))
            return;
        c->high_rxt = end;
        c->rtx_next = next;
    }
    if (!c->rtx_next)
        c->high_rxt = c->recover; // FIN alone is the timer's
}

void tcp_enter_loss(struct tcp *c)
{
    // Only the first time-out of a flight lowers the threshold (RFC 5681 3.1).
    if (!(c->flags & TCP_LOSS) || !c->backoff)
        c->ssthresh = c->congestion->threshold(c);
    c->flags = (c->flags | TCP_LOSS) & ~(uint32_t)TCP_RECOVERY;
    c->cwnd = c->mss;
    c->partial = 0;
    c->dupacks = 0;
    c->recover = c->snd_nxt;
    c->high_rxt = c->snd_una;
    c->rtx_next = c->rtx_head;
}

static void enter_recovery(struct tcp *c)
{
    c->ssthresh = c->congestion->threshold(c);
    c->recover = c->snd_nxt;
    c->flags |= TCP_RECOVERY;
    c->cwnd = c->ssthresh + DUPACKS * c->mss;
    c->net->counters.tcp_retransmit_fast++;
    if (c->rtx_head)
        tcp_resend(c, c->rtx_head);
    c->rto_at_us = c->net->now_us + c->rto_us;
    tcp_timer_by(c, c->rto_at_us);
}

void tcp_duplicate_ack(struct tcp *c)
{
    if (c->flags & TCP_LOSS)
        return;
    if (c->dupacks < UINT8_MAX)
        c->dupacks++;
    if (c->flags & TCP_RECOVERY) {
        if (c->cwnd < c->net->config.send_buffer_max)
            c->cwnd += c->mss; // a segment has left the network
    } else if (c->dupacks == DUPACKS && seq_lt(c->recover, c->snd_una)) {
        enter_recovery(c);
    }
}

void tcp_acked(struct tcp *c, uint32_t ack, const struct tcp_segment *seg)
{
    uint32_t bytes = ack - c->snd_una, flight = c->snd_nxt - c->snd_una;
    c->snd_una = ack;
    c->backoff = 0;
    release_acked(c, seg);
    if (unlikely(c->flags & TCP_RECOVERY)) {
        if (seq_le(c->recover, ack)) {
            uint32_t left = c->snd_nxt - c->snd_una, min = (left > c->mss ? left : c->mss) + c->mss;
            c->cwnd = c->ssthresh < min ? c->ssthresh : min;
            c->flags &= ~(uint32_t)TCP_RECOVERY;
            c->dupacks = 0;
        } else { // partial: the next hole is lost as well
            c->cwnd = c->cwnd > bytes ? c->cwnd - bytes : 0;
            if (bytes >= c->mss || c->cwnd < c->mss)
                c->cwnd += c->mss;
            if (c->rtx_head)
                tcp_resend(c, c->rtx_head);
        }
    } else {
        c->dupacks = 0;
        if (unlikely(c->flags & TCP_LOSS)) {
            if (seq_lt(c->high_rxt, ack))
                c->high_rxt = ack;
            if (seq_le(c->recover, ack))
                c->flags &= ~(uint32_t)TCP_LOSS;
        }
        // A window that is not used up does not grow (RFC 7661).
        if (2 * flight >= c->cwnd && c->cwnd < c->net->config.send_buffer_max)
            c->congestion->acked(c, bytes);
        if (unlikely(c->flags & TCP_LOSS))
            tcp_resend_lost(c);
        // "recover" follows, so that a comparison never wraps.
        if (!(c->flags & TCP_LOSS) && seq_lt(c->recover, ack - 1))
            c->recover = ack - 1;
    }
    if (c->snd_una == c->snd_nxt) {
        c->rto_at_us = 0;
        c->unacked_since_us = 0;
    } else {
        c->rto_at_us = c->net->now_us + c->rto_us;
        c->unacked_since_us = c->net->now_us;
        tcp_timer_by(c, c->rto_at_us);
    }
}
