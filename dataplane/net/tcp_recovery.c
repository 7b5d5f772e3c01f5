// Finding out what is lost and sending it again: fast retransmit and NewReno's recovery (RFC 5681,
// RFC 6582), and resending after a time-out.
#include "dataplane/net/congestion.h"

enum { DUPACKS = 3 };

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
    tcp_congestion_event(c, CONGESTION_TIMEOUT);
    c->flags = (c->flags | TCP_LOSS) & ~(uint32_t)TCP_RECOVERY;
    c->cwnd = c->mss;
    c->dupacks = 0;
    c->recover = c->snd_nxt;
    c->high_rxt = c->snd_una;
    c->rtx_next = c->rtx_head;
}

static void enter_recovery(struct tcp *c)
{
    c->ssthresh = c->congestion->threshold(c);
    tcp_congestion_event(c, CONGESTION_LOSS);
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
