// Telling switches and routers which groups we listen to (RFC 3810 as a listener of any source; RFC
// 2710 to a querier that knows no better): those of our addresses, by which neighbours find us. A
// switch that looks into these reports would not let solicitations through otherwise.
#include "dataplane/net/ipv6.h"

enum {
    QUERY_1 = 24, // bytes of a query of version 1; of version 2 at least QUERY_2
    QUERY_2 = 28,
    RECORD = 20,
    IS_EXCLUDE = 2, // record types
    TO_EXCLUDE = 4,
    REPORTS = 2, // robustness (9.1)
};
#define UNSOLICITED_INTERVAL_US 1000000u // 9.11
#define OLD_QUERIER_US 260000000u        // 9.12
#define QUERY_DELAY_MAX_US 60000000u

static const uint8_t all_mld2_routers[16] = {0xff, 2, [15] = 0x16};
// A hop-by-hop header: ICMPv6 follows, router alert for MLD, padding.
static const uint8_t alert_header[8] = {PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0};

void mld_join(struct net *net)
{
    if (net->config.stack)
        return; // one of us speaks for all
    net->ip6->reports_left = REPORTS;
    net->ip6->report_at_us = net->now_us + 1;
}

uint64_t mld_next(const struct net *net)
{
    return net->ip6->report_at_us ? net->ip6->report_at_us : UINT64_MAX;
}

// Sends the `len` bytes behind the room of both headers.
static void mld_send(struct net *net, struct frame *f, const uint8_t dst[16], uint32_t len)
{
    const struct ipv6_address *a = ipv6_source(net, dst);
    // RFC 3590: until our address of the link is sure, from none.
    const uint8_t *src =
        a && a->state == IPV6_VALID && ipv6_is_link_local(a->addr) ? a->addr : ipv6_unspecified;
    struct net_pair6 pair;
    memcpy(pair.local, src, 16);
    memcpy(pair.remote, dst, 16);
    struct net_flow ends = net_flow_6(&pair);
    uint8_t *icmp = icmpv6_body(net, f) + sizeof(alert_header);
    memcpy(icmpv6_body(net, f), alert_header, sizeof(alert_header));
    uint64_t sum = net_pseudo_sum(&ends, PROTOCOL_ICMPV6, len);
    uint16_t field = (uint16_t)~net_sum_fold(net_sum(icmp, len, sum));
    memcpy(icmp + 2, &field, 2);
    ipv6_write(net, f, src, dst, 0, 0, sizeof(alert_header) + len);
    f->data[net->header_l2 + 7] = 1;
    f->l4_len = ICMPV6_HEADER;
    net->counters.icmp_out++;
    ipv6_send_group(net, f);
}

static void mld_report_2(struct net *net, uint8_t type)
{
    const struct ipv6 *ip6 = net->ip6;
    struct frame *f = net_frame_new(net, true);
    if (!f)
        return;
    uint8_t *icmp = icmpv6_body(net, f) + sizeof(alert_header);
    memset(icmp, 0, 8 + RECORD * IPV6_ADDRESSES_MAX);
    uint16_t records = 0;
    for (unsigned i = 0; i < ip6->n_addresses; i++) {
        if (ip6->addresses[i].state == IPV6_DUPLICATE)
            continue;
        uint8_t *record = icmp + 8 + RECORD * records++;
        record[0] = type;
        ipv6_solicited_group(ip6->addresses[i].addr, record + 4);
    }
    icmp[0] = MLD2_REPORT;
    store_be16(icmp + 6, records);
    mld_send(net, f, all_mld2_routers, 8u + RECORD * records);
}

static void mld_report_1(struct net *net)
{
    const struct ipv6 *ip6 = net->ip6;
    for (unsigned i = 0; i < ip6->n_addresses; i++) {
        if (ip6->addresses[i].state == IPV6_DUPLICATE)
            continue;
        struct frame *f = net_frame_new(net, true);
        if (!f)
            return;
        uint8_t group[16], *icmp = icmpv6_body(net, f) + sizeof(alert_header);
        ipv6_solicited_group(ip6->addresses[i].addr, group);
        memset(icmp, 0, QUERY_1);
        icmp[0] = MLD_REPORT;
        memcpy(icmp + 8, group, 16);
        mld_send(net, f, group, QUERY_1);
    }
}

void mld_advance(struct net *net)
{
    struct ipv6 *ip6 = net->ip6;
    if (!ip6->report_at_us || ip6->report_at_us > net->now_us)
        return;
    if (ip6->old_querier_until_us > net->now_us)
        mld_report_1(net);
    else
        mld_report_2(net, ip6->reports_left ? TO_EXCLUDE : IS_EXCLUDE);
    if (ip6->reports_left)
        ip6->reports_left--;
    ip6->report_at_us =
        ip6->reports_left ? net->now_us + net_random(net) % UNSOLICITED_INTERVAL_US + 1 : 0;
}

// 5.1.14: from the link, with the alert, or it is none. The answer comes at a time of its own
// within what the querier gives; all groups are reported, whichever was asked for.
void mld_input(struct net *net, const struct packet6 *p)
{
    struct ipv6 *ip6 = net->ip6;
    const uint8_t *icmp = p->packet.l4;
    uint32_t len = p->packet.l4_len;
    if (p->hop_limit != 1 || !p->alert || !ipv6_is_link_local(p->packet.pair->remote) ||
        (len != QUERY_1 && len < QUERY_2)) {
        net->counters.icmp_bad++;
        return;
    }
    uint32_t code = load_be16(icmp + 4), delay_ms = code;
    if (len == QUERY_1)
        ip6->old_querier_until_us = net->now_us + OLD_QUERIER_US;
    else if (code >= 0x8000) // 5.1.3: a floating-point number
        delay_ms = ((code & 0xfff) | 0x1000) << ((code >> 12 & 7) + 3);
    uint64_t delay_us = delay_ms * 1000ull;
    if (delay_us > QUERY_DELAY_MAX_US)
        delay_us = QUERY_DELAY_MAX_US;
    uint64_t at_us = net->now_us + net_random(net) % (delay_us + 1) + 1;
    if (!ip6->report_at_us || at_us < ip6->report_at_us)
        ip6->report_at_us = at_us;
    nd_arm(net);
}
