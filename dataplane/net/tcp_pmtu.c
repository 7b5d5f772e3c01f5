// How large the segments of a connection may be: path MTU discovery by ICMP that is believed only
// when it quotes a segment in flight (RFC 1191, RFC 8201, RFC 5927), detection of paths that lose
// large packets and say nothing, and probing upward after that (RFC 4821, RFC 8899).
//
// `mss` is what full segments carry now. Segments in flight that have become too large stay as they
// are in the queue and are cut when they are sent again (tcp_resend).
#include "dataplane/net/tcp_board.h"

// A full segment that timed out so many times in a row is tried in a smaller size, and then in the
// smallest.
enum { BLACK_HOLE_TIMEOUTS = 3, SMALLEST_TIMEOUTS = 5 };
// After a probe was lost the next one waits, since each may cost the congestion window a reduction.
enum { PROBE_INTERVAL_MS = 2000 };

// What passes nearly everywhere (RFC 8899 5.1.2); below it is only what links must carry.
enum { BASE_MTU_4 = 1200 };

// Sizes of IP packets that links and tunnels are known for, ascending: those to try when probing,
// and what is assumed when a router does not say what it takes (RFC 1191 5).
static const uint16_t plateaus[] = {576,  1006, 1280, 1360, 1400, 1420, 1450, 1472,
                                    1480, 1492, 1500, 2002, 4352, 8166, 9000};
enum { PLATEAUS = sizeof(plateaus) / sizeof(plateaus[0]) };

static uint32_t now_ms(const struct tcp *c)
{
    return (uint32_t)(c->net->now_us / 1000);
}

// Headers of a data segment beginning with IP's.
static uint32_t headers(const struct tcp *c)
{
    return c->header_len - c->net->header_l2;
}

// Payload of a full segment in packets of `mtu` bytes, as far as the peer takes it.
static uint32_t payload_of(const struct tcp *c, uint32_t mtu)
{
    uint32_t options = headers(c) - tcp_l3_header(c) - TCP_HEADER, mss = c->peer_mss;
    uint32_t ours = mtu - tcp_l3_header(c) - TCP_HEADER;
    return (mss < ours ? mss : ours) - options;
}

// What our own link carries.
static uint32_t link_mtu(const struct tcp *c)
{
    struct net_flow flow = net_flow_of(&c->entry);
    return net_link_mtu(c->net, &flow);
}

static uint32_t path_payload(const struct tcp *c)
{
    struct net_flow flow = net_flow_of(&c->entry);
    return payload_of(c, net_path_mtu(c->net, &flow));
}

void tcp_pmtu_init(struct tcp *c)
{
    c->path_generation = c->net->path_generation;
    c->mss = (uint16_t)path_payload(c);
}

static void set_mss(struct tcp *c, uint32_t mss)
{
    if (mss < c->mss)
        c->net->counters.pmtu_lowered++;
    else if (mss > c->mss)
        c->net->counters.pmtu_raised++;
    c->mss = (uint16_t)mss;
}

// Looks for a larger size from now on.
static void begin_search(struct tcp *c)
{
    c->flags |= TCP_MTU_SEARCH;
    c->mtu_probe_ms = now_ms(c);
    c->mtu_probe_high = (uint16_t)(payload_of(c, link_mtu(c)) + 1);
}

static void end_search(struct tcp *c)
{
    c->flags &= ~(uint32_t)(TCP_MTU_SEARCH | TCP_MTU_TRIED | TCP_MTU_PROBE);
}

void tcp_pmtu_refresh(struct tcp *c)
{
    c->path_generation = c->net->path_generation;
    uint32_t mss = path_payload(c);
    if (c->state < TCP_SYN_RECEIVED || mss == c->mss)
        return;
    bool searching = c->flags & TCP_MTU_SEARCH;
    // What a search has not found yet is not there, until the path's entry is too old to say so.
    if (mss > c->mss && searching) {
        if (mss == payload_of(c, link_mtu(c)) && !(c->flags & TCP_MTU_PROBE))
            begin_search(c);
        return;
    }
    set_mss(c, mss);
}

// --- segments that are too large
// ------------------------------------------------------------------------

// The probe did not arrive.
static void probe_lost(struct tcp *c)
{
    struct net_flow flow = net_flow_of(&c->entry);
    c->net->counters.pmtu_probe_lost++;
    c->mtu_probe_high = c->mtu_probe_len;
    c->flags &= ~(uint32_t)TCP_MTU_PROBE;
    c->mtu_probe_ms = now_ms(c) + PROBE_INTERVAL_MS;
    // Now it is the path, and no outage that hit small segments as well.
    if (c->flags & TCP_MTU_TRIED) {
        c->flags &= ~(uint32_t)TCP_MTU_TRIED;
        c->net->counters.pmtu_black_hole++;
    }
    net_path_learn(c->net, &flow, c->mss + headers(c));
    c->path_generation = c->net->path_generation;
}

void tcp_pmtu_resent(struct tcp *c, uint32_t seq)
{
    if (tcp_is_probe(c, seq))
        probe_lost(c);
}

// What is in flight and too large is gone, for a reason that is not congestion: it goes again.
static void resend_too_large(struct tcp *c)
{
    struct tcp_board *b = tcp_board_get(c);
    if (!b) {
        tcp_resend(c, c->rtx_head, NULL);
        return;
    }
    for (uint32_t i = b->first; i != b->end && !net_output_full(c->net); i++) {
        const struct tcp_slot *s = board_slot(b, i);
        if ((s->marks & SLOT_SACKED) || frame_note(s->frame)->len <= c->mss)
            continue;
        tcp_board_lose(c, i, b->lost_list.tail);
        if (!tcp_board_resend(c, i))
            break; // the rest is found lost
    }
    tcp_board_settle(c);
}

// The frame of the retransmission queue that holds `seq`.
static struct frame *frame_at(const struct tcp *c, uint32_t seq)
{
    for (struct frame *f = c->rtx_head; f; f = f->next)
        if (seq_lt(seq, frame_note(f)->seq + frame_note(f)->len))
            return f;
    return NULL;
}

static uint32_t plateau_below(uint32_t size)
{
    for (unsigned i = PLATEAUS; i-- > 0;)
        if (plateaus[i] < size)
            return plateaus[i];
    return 0;
}

void tcp_packet_too_big(struct net *net, const struct net_flow *flow, uint32_t seq, uint32_t mtu)
{
    struct net_counters *count = &net->counters;
    struct net_flow_entry *e = net_flows_find(&net->flows, flow, net_flows_hash(&net->flows, flow));
    struct tcp *c = NULL;
    if (e && e->kind == NET_FLOW_CONNECTION)
        c = (struct tcp *)((char *)e - offsetof(struct tcp, entry));
    // RFC 5927 7.2: only what quotes a segment in flight is believed.
    if (!c || c->state < TCP_ESTABLISHED || seq_lt(seq, c->snd_una) || !seq_lt(seq, c->snd_nxt)) {
        count->pmtu_forged++;
        return;
    }
    if (!mtu && !flow->pair)
        mtu = plateau_below(c->mss + headers(c));
    if (mtu < (flow->pair ? NET_PATH_MIN_6 : NET_PATH_MIN_4)) {
        count->pmtu_small++;
        return;
    }
    struct frame *f = frame_at(c, seq);
    if (tcp_is_probe(c, seq) && mtu < c->mtu_probe_len + headers(c)) {
        probe_lost(c);
        if (payload_of(c, mtu) + 1 < c->mtu_probe_high)
            c->mtu_probe_high = (uint16_t)(payload_of(c, mtu) + 1);
        resend_too_large(c);
        return;
    }
    uint32_t mss = payload_of(c, mtu);
    if (mss >= c->mss) { // one of several, or a lie about a segment that was not too large
        count->pmtu_repeated++;
        return;
    }
    if (!f || frame_note(f)->len <= mss) {
        count->pmtu_forged++;
        return;
    }
    end_search(c);
    net_path_learn(net, flow, mtu);
    c->path_generation = net->path_generation;
    set_mss(c, mss);
    resend_too_large(c);
}

// --- paths that say nothing
// -----------------------------------------------------------------------

void tcp_pmtu_timeout(struct tcp *c)
{
    unsigned timeouts = c->backoff + 1u;
    if (!c->rtx_head || timeouts < BLACK_HOLE_TIMEOUTS || c->state < TCP_ESTABLISHED)
        return;
    uint32_t mtu = c->entry.pair_at               ? NET_PATH_MIN_6
                   : timeouts < SMALLEST_TIMEOUTS ? BASE_MTU_4
                                                  : NET_PATH_MIN_4;
    uint32_t base = payload_of(c, mtu);
    uint32_t len = frame_note(c->rtx_head)->len;
    if (base >= c->mss || len <= base)
        return;
    end_search(c);
    set_mss(c, base);
    // Confirmed by an acknowledgement; whether it was the size, the first probe tells.
    c->flags |= TCP_MTU_TRIED;
    begin_search(c);
}

// The size of the next probe: the largest first, since an outage of another kind is more likely
// than a black hole; then from below. 0: the search is over.
static uint32_t next_size(const struct tcp *c)
{
    uint32_t full = payload_of(c, link_mtu(c));
    if (c->mtu_probe_high == full + 1)
        return full > c->mss ? full : 0;
    for (unsigned i = 0; i < PLATEAUS; i++) {
        if (plateaus[i] <= headers(c))
            continue;
        uint32_t size = payload_of(c, plateaus[i]);
        if (size > c->mss && size < c->mtu_probe_high)
            return size;
    }
    return 0;
}

uint32_t tcp_pmtu_probe(struct tcp *c)
{
    if ((c->flags & (TCP_MTU_PROBE | TCP_RECOVERY | TCP_LOSS)) || c->board || c->dupacks ||
        (int32_t)(now_ms(c) - c->mtu_probe_ms) < 0)
        return 0;
    uint32_t size = next_size(c);
    if (!size) {
        // Until the entry of the path is forgotten.
        c->mtu_probe_ms = now_ms(c) + NET_PATH_AGE_US / 1000;
        return 0;
    }
    // What follows the probe lets its loss be found quickly.
    uint32_t with_next = size + c->mss;
    bool fits = c->tx_bytes >= with_next && c->cwnd >= with_next && c->snd_wnd >= with_next &&
                c->net->config.send_buffer_max >= with_next;
    return fits ? size : 0;
}

void tcp_pmtu_probing(struct tcp *c, uint32_t size)
{
    c->mtu_probe_seq = c->snd_nxt;
    c->mtu_probe_len = (uint16_t)size;
    c->flags |= TCP_MTU_PROBE;
    c->net->counters.pmtu_probes++;
}

void tcp_pmtu_acked(struct tcp *c)
{
    if (seq_lt(c->snd_una, c->mtu_probe_seq + c->mtu_probe_len))
        return;
    struct net_flow flow = net_flow_of(&c->entry);
    bool whole = c->mtu_probe_len == payload_of(c, link_mtu(c));
    set_mss(c, c->mtu_probe_len);
    c->flags &= ~(uint32_t)TCP_MTU_PROBE;
    net_path_learn(c->net, &flow, whole ? link_mtu(c) : c->mss + headers(c));
    c->path_generation = c->net->path_generation;
    if (whole)
        end_search(c);
}
