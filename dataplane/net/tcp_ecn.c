// Explicit congestion notification (RFC 3168): routers mark packets instead of dropping them. The
// receiver of a mark echoes it (ECE) until the sender says that it has slowed down (CWR); with
// DCTCP it tells exactly which bytes were marked (RFC 8257).
//
// We agree to ECN when a peer asks, and ask for it only with an algorithm that lives on marks:
// paths that lose what asks have become rare, and still a plain SYN opens everywhere. Only new data
// is sent as ECT(0); SYN, bare acknowledgements, probes, resets and retransmissions are not
// (6.1.1, 6.1.4 to 6.1.6), which RFC 8257 3.5 would allow for SYN too: servers that follow RFC 3168
// refuse ECN then.
#include "dataplane/net/congestion.h"

bool tcp_ecn_asked(const struct net *net, const struct tcp_segment *syn)
{
    // A SYN may not be ECT but for RFC 8257's sake: something on the path plays with the bits.
    return (syn->flags & (TH_ECE | TH_CWR)) == (TH_ECE | TH_CWR) &&
           (syn->ecn == IP_NOT_ECT || net->config.congestion == NET_DCTCP);
}

uint8_t tcp_ecn_syn_flags(struct tcp *c)
{
    // Who loses the first SYN may do so because of what it asks (6.1.1.1).
    if (!c->congestion->ecn || c->tries || c->state != TCP_SYN_SENT)
        return 0;
    c->ecn |= TCP_ECN_ASKED;
    return TH_ECE | TH_CWR;
}

void tcp_ecn_negotiate(struct tcp *c, const struct tcp_segment *seg)
{
    uint8_t bits = seg->flags & (TH_ECE | TH_CWR);
    bool agreed;
    if (c->state == TCP_SYN_SENT)
        // Both bits in the answer: somebody sends back what it does not understand. When both ends
        // opened at once nobody answers anything.
        agreed = (c->ecn & TCP_ECN_ASKED) && (seg->flags & TH_ACK) && bits == TH_ECE;
    else
        agreed = tcp_ecn_asked(c->net, seg);
    c->ecn = 0;
    if (!agreed)
        return;
    c->ecn = TCP_ECN_AGREED | (c->congestion->ecn ? TCP_ECN_EXACT : 0);
    c->net->counters.tcp_ecn_agreed++;
}

uint8_t tcp_ecn_mark(struct tcp *c, bool new_data, uint8_t *flags)
{
    if (c->ecn & TCP_ECN_ECHO)
        *flags |= TH_ECE;
    if (!new_data)
        return IP_NOT_ECT;
    if (c->ecn & TCP_ECN_SEND_CWR) {
        c->ecn &= (uint8_t)~TCP_ECN_SEND_CWR;
        *flags |= TH_CWR;
        // Echoes end when this has arrived; until then they tell nothing new.
        c->ecn_recover = c->snd_nxt;
    }
    return IP_ECT0;
}

void tcp_ecn_received(struct tcp *c, const struct tcp_segment *seg)
{
    bool marked = seg->ecn == IP_CE;
    c->net->counters.tcp_ecn_marked += marked;
    if (seg->ecn != IP_NOT_ECT)
        c->ecn |= TCP_ECN_SEEN;
    if (c->ecn & TCP_ECN_EXACT) {
        if (marked == !!(c->ecn & TCP_ECN_ECHO))
            return;
        // RFC 8257 3.2: what came before this segment was not marked as it is, and is acknowledged
        // on its own.
        if (c->rcv_acked != c->rcv_nxt && (c->flags & (TCP_ACK_NOW | TCP_ACK_DELAYED)))
            tcp_send_ack(c);
        c->ecn ^= TCP_ECN_ECHO;
    } else {
        if (!marked && !(seg->flags & TH_CWR))
            return;
        if (seg->flags & TH_CWR)
            c->ecn &= (uint8_t)~TCP_ECN_ECHO;
        if (marked)
            c->ecn |= TCP_ECN_ECHO;
    }
    // At once: a peer whose window became small may wait for nothing else.
    c->flags |= TCP_ACK_NOW;
    tcp_note_turn(c);
}

void tcp_ecn_acked(struct tcp *c, const struct tcp_segment *seg)
{
    bool echo = seg->flags & TH_ECE;
    if (seq_lt(seg->ack, c->snd_una))
        return;
    uint32_t acked = seg->ack - c->snd_una;
    if (acked && c->congestion->counted)
        c->congestion->counted(c, acked, seg->ack, echo);
    if ((c->ecn & (TCP_ECN_REDUCED | TCP_ECN_SEND_CWR)) == TCP_ECN_REDUCED &&
        seq_le(c->ecn_recover, seg->ack))
        c->ecn &= (uint8_t)~TCP_ECN_REDUCED;
    // Once a window; what recovery lowers already is not lowered again (6.1.2).
    if (!echo || (c->ecn & (TCP_ECN_REDUCED | TCP_ECN_SEND_CWR)) ||
        (c->flags & (TCP_RECOVERY | TCP_LOSS)) || (!acked && c->snd_una == c->snd_nxt))
        return;
    c->ssthresh = c->congestion->marked ? c->congestion->marked(c) : c->congestion->threshold(c);
    tcp_congestion_event(c, CONGESTION_ECN);
    if (c->cwnd > c->ssthresh)
        c->cwnd = c->ssthresh;
    c->ecn |= TCP_ECN_REDUCED;
    c->ecn_recover = c->snd_nxt;
    c->net->counters.tcp_ecn_reduced++;
}
