// The extension headers of IPv6 (RFC 8200 4), as an endpoint treats them: options that may be
// skipped are skipped, fragments are dropped (a piece that is the whole is not one, RFC 6946), and
// chains have bounds (RFC 8504 5.3), so that nobody makes us read for long.
#include "dataplane/net/ipv6.h"

enum {
    HEADER_HOP_BY_HOP = 0,
    HEADER_ROUTING = 43,
    HEADER_FRAGMENT = 44,
    HEADER_NONE = 59,
    HEADER_DESTINATION = 60,
};
enum {
    HEADERS_MAX = 6, // each once and destination options twice (RFC 8200 4.1)
    CHAIN_MAX = 512, // bytes
    OPTIONS_MAX = 8, // of one header, padding not counted
};
enum { OPTION_PAD1 = 0, OPTION_PADN = 1, OPTION_ROUTER_ALERT = 5 };
enum { OPTION_SKIP = 0, OPTION_DISCARD = 1, OPTION_ANSWER = 2, OPTION_ANSWER_ONE = 3 };

// An option that is not known: its upper two bits say what to do. False: the packet goes.
static bool ipv6_unknown_option(struct net *net, const struct packet6 *p, uint32_t at)
{
    unsigned action = p->packet.ip[at] >> 6;
    if (action == OPTION_SKIP)
        return true;
    net->counters.ip6_option++;
    if (action == OPTION_ANSWER || (action == OPTION_ANSWER_ONE && !p->to_group))
        icmpv6_error(net, p, ICMPV6_PARAMETER, PARAMETER_OPTION, at);
    return false;
}

static bool ipv6_options(struct net *net, struct packet6 *p, uint32_t at, uint32_t end)
{
    unsigned options = 0;
    while (at < end) {
        const uint8_t *o = p->packet.ip + at;
        if (o[0] == OPTION_PAD1) {
            at++;
            continue;
        }
        if (end - at < 2 || o[1] > end - at - 2) {
            net->counters.ip6_chain++;
            return false;
        }
        if (o[0] == OPTION_ROUTER_ALERT)
            p->alert = true;
        else if (o[0] != OPTION_PADN && !ipv6_unknown_option(net, p, at))
            return false;
        if (o[0] != OPTION_PADN && ++options > OPTIONS_MAX) {
            net->counters.ip6_chain++;
            return false;
        }
        at += 2u + o[1];
    }
    return true;
}

bool ipv6_headers(struct net *net, struct packet6 *p)
{
    struct net_counters *count = &net->counters;
    const uint8_t *ip = p->packet.ip;
    uint32_t at = IPV6_HEADER, end = IPV6_HEADER + p->packet.l4_len;
    for (unsigned n = 0;; n++) {
        uint8_t type = p->protocol;
        if (type == HEADER_NONE) {
            count->ip6_no_next++;
            return false;
        }
        if (type != HEADER_HOP_BY_HOP && type != HEADER_ROUTING && type != HEADER_FRAGMENT &&
            type != HEADER_DESTINATION)
            break;
        if (type == HEADER_HOP_BY_HOP && n) {
            count->ip6_chain++;
            icmpv6_error(net, p, ICMPV6_PARAMETER, PARAMETER_NEXT_HEADER, p->next_at);
            return false;
        }
        uint32_t size = type == HEADER_FRAGMENT || end - at < 2 ? 8 : (ip[at + 1] + 1u) * 8;
        // RFC 7112: the chain is whole or the packet goes.
        if (n == HEADERS_MAX || size > end - at || at + size > IPV6_HEADER + CHAIN_MAX) {
            count->ip6_chain++;
            return false;
        }
        if (type == HEADER_FRAGMENT) {
            if (load_be16(ip + at + 2) & 0xfff9) { // an offset, or more to come
                count->ip_fragment++;
                return false;
            }
            p->fragmented = true;
        } else if (type == HEADER_ROUTING) {
            if (ip[at + 3]) { // we forward nothing (RFC 5095 for type 0)
                count->ip6_routing++;
                icmpv6_error(net, p, ICMPV6_PARAMETER, PARAMETER_FIELD, at + 2);
                return false;
            }
        } else if (!ipv6_options(net, p, at + 2, at + size)) {
            return false;
        }
        p->protocol = ip[at];
        p->next_at = at;
        at += size;
    }
    p->packet.l4 = ip + at;
    p->packet.l4_len = end - at;
    // What was guessed from the first header is the flow's only when TCP followed at once.
    if (at != IPV6_HEADER)
        p->packet.hash = 0;
    return true;
}
