// What acknowledgements mean: round-trip times (RFC 6298), frames that may go, progress of a
// recovery, growth of the window.
#include "dataplane/net/congestion.h"

enum {
    RTO_MIN_US = 200000, // RFC 6298 says 1 s; common stacks use this, delayed ACKs are shorter
    RTO_MAX_US = 60000000,
    CLOCK_US = 1024,  // granularity of the timers
    MIN_RTT_AGE = 60, // a shortest round trip that is older than this says nothing of the path
};

static inline void set_rto(struct tcp *c)
{
    uint32_t var = 4 * c->rttvar_us > CLOCK_US ? 4 * c->rttvar_us : CLOCK_US;
    uint32_t rto = c->srtt_us + var;
    c->rto_us = rto < RTO_MIN_US ? RTO_MIN_US : rto > RTO_MAX_US ? RTO_MAX_US : rto;
    c->probe_us = 2 * c->srtt_us + CLOCK_US;
}

static inline void rtt_sample(struct tcp *c, uint32_t rtt)
{
    if (rtt > RTO_MAX_US)
        rtt = RTO_MAX_US;
    uint32_t at = (uint32_t)(c->net->now_us >> 20);
    if (unlikely(rtt < c->min_rtt_us || at - c->min_rtt_at > MIN_RTT_AGE || !c->min_rtt_us)) {
        c->min_rtt_us = rtt;
        c->min_rtt_at = at;
    }
    if (!(c->flags & TCP_RTT_VALID)) {
        c->srtt_us = rtt;
        c->rttvar_us = rtt / 2;
        c->flags |= TCP_RTT_VALID;
    } else {
        uint32_t off = rtt > c->srtt_us ? rtt - c->srtt_us : c->srtt_us - rtt;
        c->rttvar_us += (off >> 2) - (c->rttvar_us >> 2);
        c->srtt_us += (rtt >> 3) - (c->srtt_us >> 3);
    }
    set_rto(c);
}

void tcp_rtt_sample(struct tcp *c, uint32_t rtt)
{
    rtt_sample(c, rtt);
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
        net_frame_drop(net, f);
        f = next;
    }
    c->rtx_head = f;
    if (!f)
        c->rtx_tail = NULL;
    uint32_t rtt = 0;
    if (sample && !resent) {
        rtt = (uint32_t)(sample > UINT32_MAX ? UINT32_MAX : sample);
    } else if ((c->flags & TCP_STAMPS) && seg->has_stamp && seg->ts_echo) {
        uint32_t ms = tcp_stamp(c) - seg->ts_echo;
        if (ms < RTO_MAX_US / 1000)
            rtt = ms * 1000 + 500;
    }
    if (rtt)
        rtt_sample(c, rtt);
    return rtt;
}

// There was no memory for a board: the first frame goes again on each step forward, until all that
// was in flight has arrived.
static void recover_blindly(struct tcp *c)
{
    if (seq_le(c->recover, c->snd_una))
        c->flags &= ~(uint32_t)(TCP_RECOVERY | TCP_LOSS);
    else if (c->rtx_head)
        tcp_resend(c, c->rtx_head, NULL);
}

void tcp_acked(struct tcp *c, uint32_t ack, const struct tcp_segment *seg)
{
    uint32_t bytes = ack - c->snd_una, flight = c->snd_nxt - c->snd_una;
    c->snd_una = ack;
    c->last_ack_us = c->net->now_us;
    c->backoff = 0;
    uint32_t rtt_us = release_acked(c, seg);
    c->dupacks = 0;
    if (unlikely(c->flags & (TCP_RECOVERY | TCP_LOSS)))
        recover_blindly(c);
    // A window that was not the limit does not grow, which all algorithms leave to
    // congestion_may_grow: then there is nothing to tell until it was not for long.
    bool used = 2 * flight >= c->cwnd && c->cwnd < c->net->config.send_buffer_max;
    if (unlikely(used || congestion_clock(c) - c->cwnd_used >= CONGESTION_UNUSED_CLOCKS)) {
        const struct tcp_ack news = {.acked = bytes,
                                     .flight = flight,
                                     .delivered = bytes,
                                     .rtt_us = rtt_us,
                                     .window_used = used};
        c->congestion->acked(c, &news);
    }
    // "recover" follows, so that a comparison never wraps.
    if (likely(!(c->flags & (TCP_RECOVERY | TCP_LOSS))) && seq_lt(c->recover, ack - 1))
        c->recover = ack - 1;
    c->probe_at_us = 0;
    if (c->snd_una == c->snd_nxt) {
        c->rto_at_us = 0;
        c->unacked_since_us = 0;
    } else {
        c->rto_at_us = c->net->now_us + c->rto_us;
        c->unacked_since_us = c->net->now_us;
        tcp_timer_by(c, tcp_probes(c) ? tcp_arm_probe(c) : c->rto_at_us);
    }
}
