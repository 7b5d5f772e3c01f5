// SYN cookies (Bernstein and Schenk 1996; RFC 4987 3.6): with the queue of half-open connections
// full, our initial sequence number is what a request would have remembered, and the
// acknowledgement brings it back. Nothing is kept of a SYN, nothing is allocated for it.
//
//   31            20 19                    3 2    0
//   | flow, period  | flow, period, irs, MSS | MSS |    keyed hashes
//
// The period is a counter of 64 seconds, and the present and the last one are believed: a guess is
// right once in 2^28 (two counters, eight sizes). The first hash is there for the client whose
// acknowledgement was lost and of whom something later arrives first: it is told from a stranger,
// and not reset. With timestamps, window scale, SACK and ECN lie in the lower bits of the one that
// we send, which the peer echoes; the clock goes back by less than 64 ms for it and later
// timestamps of the connection are ahead. Without timestamps they are given up.
//
// An acknowledgement is looked at only for as long as a cookie may be under way: at other times a
// guess cannot open anything.
#include "dataplane/net/homes.h"
#include "dataplane/net/tcp.h"

enum {
    PERIOD_US = 64000000,
    PERIODS = 2, // during which a cookie is good
    TELL_US = 1000000,
    INDEX_BITS = 3,
    FLOW_SHIFT = 20, // where the first hash begins
    // In the timestamp.
    STAMP_BITS = 6,
    STAMP_SCALE = 15, // no scale offered: larger than any
    STAMP_SACK = 1 << 4,
    STAMP_ECN = 1 << 5,
};

// What peers announce: Ethernet with and without tunnels, IPv6's and IPv4's least, jumbo frames.
// The largest that does not exceed the SYN's is taken.
static const uint16_t sizes[1 << INDEX_BITS] = {TCP_MSS_MIN, 536,  1220, 1360,
                                                1440,        1460, 4036, 8940};

// Of a flow in a period; its upper bits show in the cookie.
static uint64_t cookie_flow(const struct net *net, uint64_t flow_hash, uint64_t period)
{
    uint64_t words[2] = {flow_hash, 2ull << 56 | period};
    return net_sip(net->key_cookies, words, 2, 2, 4);
}

static uint32_t cookie(const struct net *net, uint64_t flow_period, uint32_t irs, uint32_t index)
{
    uint64_t words[2] = {flow_period, 2ull << 56 | (uint64_t)irs << INDEX_BITS | index};
    uint32_t hash = (uint32_t)net_sip(net->key_cookie_numbers, words, 2, 2, 4),
             low = (1u << FLOW_SHIFT) - (1u << INDEX_BITS);
    return (uint32_t)(flow_period >> 32 & ~(uint64_t)((1u << FLOW_SHIFT) - 1)) | (hash & low) |
           index;
}

void tcp_cookie_send(struct net *net, const struct packet *p, const struct tcp_segment *seg,
                     const struct net_flow *flow)
{
    if (tcp_syn_limited(net))
        return;
    uint32_t mss = seg->has_mss ? seg->mss : TCP_MSS_DEFAULT, index = 0;
    while (index + 1 < sizeof(sizes) / sizeof(*sizes) && sizes[index + 1] <= mss)
        index++;
    uint64_t flow_hash = net_flow_sip(net->key_cookies, flow, 2, 4);
    uint32_t iss =
        cookie(net, cookie_flow(net, flow_hash, net->now_us / PERIOD_US), seg->seq, index);
    struct tcp_segment syn = *seg;
    uint32_t stamp = 0;
    if (seg->has_stamp) {
        uint32_t clock = tcp_stamp_clock(net), mask = (1u << STAMP_BITS) - 1;
        stamp = (clock & ~mask) | (seg->has_scale ? seg->scale : STAMP_SCALE) |
                (seg->has_sack ? STAMP_SACK : 0) | (tcp_ecn_asked(net, seg) ? STAMP_ECN : 0);
        if (seq_lt(clock, stamp))
            stamp -= 1u << STAMP_BITS;
        stamp += tcp_stamp_offset(net, flow);
    } else {
        syn.has_scale = syn.has_sack = false;
        syn.flags = TH_SYN;
    }
    // It may come back to another stack, which looks at it only if it knows; told once a second.
    if (net->homes && net->now_us >= net->cookies_tell_us) {
        homes_tell(net, &(struct net_news){.kind = NET_NEWS_COOKIES});
        net->cookies_tell_us = net->now_us + TELL_US;
    }
    tcp_cookies_hear(net);
    net->counters.tcp_cookies_sent++;
    tcp_send_syn_ack(net, p, flow, &syn, iss, stamp);
}

enum tcp_cookie tcp_cookie_check(const struct net *net, const struct tcp_segment *seg,
                                 const struct net_flow *flow)
{
    if (likely(net->now_us >= net->cookies_until_us))
        return TCP_COOKIE_NONE;
    uint32_t iss = seg->ack - 1, irs = seg->seq - 1, index = iss & ((1 << INDEX_BITS) - 1);
    uint64_t flow_hash = net_flow_sip(net->key_cookies, flow, 2, 4),
             period = net->now_us / PERIOD_US;
    for (uint64_t age = 0; age < PERIODS; age++) {
        uint64_t flow_period = cookie_flow(net, flow_hash, period - age);
        if (likely((uint32_t)(flow_period >> 32) >> FLOW_SHIFT != iss >> FLOW_SHIFT))
            continue;
        return cookie(net, flow_period, irs, index) == iss ? TCP_COOKIE_GOOD : TCP_COOKIE_EARLY;
    }
    return TCP_COOKIE_WRONG;
}

void tcp_cookie_open(struct net *net, struct tcp_listener *l, const struct packet *p,
                     struct tcp_segment *seg, const struct net_flow *flow, uint32_t hash)
{
    uint32_t iss = seg->ack - 1;
    struct tcp_segment syn = {.seq = seg->seq - 1, .wnd = seg->wnd, .flags = TH_SYN};
    syn.has_mss = true;
    syn.mss = sizes[iss & ((1 << INDEX_BITS) - 1)];
    if (seg->has_stamp) {
        uint32_t stamp = seg->ts_echo - tcp_stamp_offset(net, flow);
        syn.has_stamp = true;
        syn.ts_value = seg->ts_value;
        syn.has_sack = stamp & STAMP_SACK;
        syn.scale = stamp & 15;
        syn.has_scale = syn.scale != STAMP_SCALE;
        if (stamp & STAMP_ECN)
            syn.flags |= TH_ECE | TH_CWR;
    }
    bool refused; // without a connection the peer repeats, or was told
    struct tcp *c = tcp_open(net, l, p, seg, flow, hash, &syn, iss, &refused);
    if (c) {
        net->counters.tcp_cookies_accepted++;
        c->tries = 1; // when the answer was sent is not known
        tcp_segment_input(c, p, seg);
    }
}

void tcp_cookies_hear(struct net *net)
{
    net->cookies_until_us = net->now_us + (uint64_t)PERIODS * PERIOD_US;
}
