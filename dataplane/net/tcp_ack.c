// What acknowledgements mean: round-trip times (RFC 6298), frames that may go, progress of a
// recovery, growth of the window.
#include "dataplane/net/congestion.h"

enum {
    RTO_MIN_US = 200000, // RFC 6298 says 1 s; common stacks use this, delayed ACKs are shorter
    RTO_MAX_US = 60000000,
    CLOCK_US = 1024, // granularity of the timers
};

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
// with timestamps any acknowledgement does. Returns the sample, 0 without one.
static uint32_t release_acked(struct tcp *c, const struct tcp_segment *seg)
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
    uint32_t rtt = 0;
    if (sample && !resent) {
        rtt = (uint32_t)(sample > UINT32_MAX ? UINT32_MAX : sample);
    } else if ((c->flags & TCP_STAMPS) && seg->has_stamp && seg->ts_echo) {
        uint32_t ms = tcp_stamp(c) - seg->ts_echo;
        if (ms < RTO_MAX_US / 1000)
            rtt = ms * 1000 + 500;
    }
    if (rtt)
        tcp_rtt_sample(c, rtt);
    return rtt;
}

void tcp_acked(struct tcp *c, uint32_t ack, const struct tcp_segment *seg)
{
    uint32_t bytes = ack - c->snd_una, flight = c->snd_nxt - c->snd_una;
    c->snd_una = ack;
    c->backoff = 0;
    uint32_t rtt_us = release_acked(c, seg);
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
        const struct tcp_ack news = {.acked = bytes,
                                     .flight = flight,
                                     .rtt_us = rtt_us,
                                     .window_used = 2 * flight >= c->cwnd &&
                                                    c->cwnd < c->net->config.send_buffer_max};
        c->congestion->acked(c, &news);
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
