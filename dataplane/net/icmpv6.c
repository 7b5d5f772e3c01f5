// ICMPv6 (RFC 4443): echo, errors both ways, and handing on neighbour discovery and listener
// queries. What strangers can make us send is limited.
#include "dataplane/net/homes.h"
#include "dataplane/net/ipv6.h"
#include "dataplane/net/ping.h"

enum { ICMPV6_PER_SECOND = 10000, ICMPV6_BURST = 1000 };
// What tcp_unreachable understands (IPv4's codes).
enum { TCP_SOFT = 0, TCP_NO_PROTOCOL = 2, TCP_NO_PORT = 3 };

void icmpv6_send(struct net *net, struct frame *f, const uint8_t src[16], const uint8_t dst[16],
                 uint8_t hop_limit, uint32_t len)
{
    struct net_pair6 pair;
    memcpy(pair.local, src, 16);
    memcpy(pair.remote, dst, 16);
    struct net_flow ends = net_flow_6(&pair);
    uint8_t *icmp = icmpv6_body(net, f);
    memset(icmp + 2, 0, 2);
    uint64_t sum = net_pseudo_sum(&ends, PROTOCOL_ICMPV6, len);
    uint16_t field = (uint16_t)~net_sum_fold(net_sum(icmp, len, sum));
    memcpy(icmp + 2, &field, 2);
    ipv6_write(net, f, src, dst, PROTOCOL_ICMPV6, 0, len);
    f->data[net->header_l2 + 7] = hop_limit;
    f->l4_len = ICMPV6_HEADER;
    net->counters.icmp_out++;
    if (ipv6_is_group(dst))
        ipv6_send_group(net, f);
    else
        net_send_to(net, ipv6_route(net, dst), f);
}

static bool icmpv6_may_answer(struct net *net)
{
    if (net_limiter_take(net, &net->icmp_limiter, ICMPV6_PER_SECOND, ICMPV6_BURST))
        return true;
    net->counters.icmp_limited++;
    return false;
}

// The address to answer from: the one that was spoken to, or for a group the best one.
static const uint8_t *icmpv6_answer_source(const struct net *net, const struct packet6 *p)
{
    const struct ipv6_address *a = p->to_group ? ipv6_source(net, p->packet.pair->remote)
                                               : ipv6_ours(net->ip6, p->packet.pair->local);
    return a && a->state == IPV6_VALID ? a->addr : NULL;
}

void icmpv6_error(struct net *net, const struct packet6 *p, uint8_t type, uint8_t code,
                  uint32_t word)
{
    const struct net_pair6 *pair = p->packet.pair;
    // RFC 4443 2.4 (e): no errors about errors, to groups (but for what says so), to nobody.
    bool about_group = type == ICMPV6_TOO_BIG || (type == ICMPV6_PARAMETER && code == 2);
    if ((p->to_group && !about_group) || ipv6_is_group(pair->remote) ||
        ipv6_is_unspecified(pair->remote) ||
        (p->protocol == PROTOCOL_ICMPV6 &&
         (!p->packet.l4_len || p->packet.l4[0] < 128 || p->packet.l4[0] == ND_REDIRECT)))
        return;
    const uint8_t *src = icmpv6_answer_source(net, p);
    if (!src || !icmpv6_may_answer(net))
        return;
    struct frame *f = net_frame_new(net, false);
    if (!f)
        return;
    // As much as fits the smallest link.
    uint32_t quote = IPV6_HEADER + load_be16(p->packet.ip + 4);
    uint32_t room = IPV6_MTU_MIN - IPV6_HEADER - ICMPV6_HEADER;
    if (quote > room)
        quote = room;
    uint8_t *icmp = icmpv6_body(net, f);
    icmp[0] = type;
    icmp[1] = code;
    store_be32(icmp + 4, word);
    memcpy(icmp + ICMPV6_HEADER, p->packet.ip, quote);
    icmpv6_send(net, f, src, pair->remote, net->ip6->hop_limit, ICMPV6_HEADER + quote);
}

static void icmpv6_echo(struct net *net, const struct packet6 *p)
{
    const uint8_t *src = icmpv6_answer_source(net, p);
    if (!src || p->packet.l4_len > net->mtu6 - (uint32_t)IPV6_HEADER) {
        net->counters.icmp_bad++;
        return;
    }
    if (!icmpv6_may_answer(net))
        return;
    struct frame *f = net_frame_new(net, false);
    if (!f)
        return;
    uint8_t *icmp = icmpv6_body(net, f);
    memcpy(icmp, p->packet.l4, p->packet.l4_len);
    icmp[0] = ICMPV6_ECHO_REPLY;
    icmpv6_send(net, f, src, p->packet.pair->remote, net->ip6->hop_limit, p->packet.l4_len);
}

static struct net_address icmpv6_sender(const struct packet6 *p)
{
    struct net_address from = {.family = 6, .prefix = 128};
    memcpy(from.addr, p->packet.pair->remote, 16);
    return from;
}

// A reply to nobody here may be another stack's.
static void icmpv6_echo_reply(struct net *net, const struct packet6 *p)
{
    struct net_address from = icmpv6_sender(p);
    if (!ping_reply(net, &from, p->hop_limit, p->packet.l4, p->packet.l4_len))
        homes_show(net, p->packet.frame);
}

// An error about an echo that we (or another stack) asked for. False: about something else.
static bool icmpv6_error_of_echo(struct net *net, const struct packet6 *p)
{
    const uint8_t *icmp = p->packet.l4, *quoted = icmp + ICMPV6_HEADER;
    uint32_t len = p->packet.l4_len - ICMPV6_HEADER;
    if (len < IPV6_HEADER + ICMPV6_HEADER || quoted[0] >> 4 != 6 || quoted[6] != PROTOCOL_ICMPV6 ||
        !ipv6_ours(net->ip6, quoted + 8))
        return false;
    struct net_address from = icmpv6_sender(p);
    if (!ping_error(net, &from, icmp[0], icmp[1], load_be32(icmp + 4), quoted + IPV6_HEADER,
                    len - IPV6_HEADER))
        homes_show(net, p->packet.frame);
    return true;
}

// An error about a packet that must be a TCP segment of ours, as it left: without extensions.
static void icmpv6_error_input(struct net *net, const struct packet6 *p)
{
    const uint8_t *icmp = p->packet.l4, *quoted = icmp + ICMPV6_HEADER;
    uint32_t len = p->packet.l4_len - ICMPV6_HEADER;
    if (icmp[0] == ICMPV6_UNREACHABLE)
        net->counters.icmp_unreachable++;
    if (icmpv6_error_of_echo(net, p))
        return;
    if (len < IPV6_HEADER + 8 || quoted[0] >> 4 != 6 || quoted[6] != PROTOCOL_TCP) {
        net->counters.icmp_foreign++;
        return;
    }
    const uint8_t *tcp = quoted + IPV6_HEADER;
    struct net_pair6 pair;
    memcpy(pair.local, quoted + 8, 16);
    memcpy(pair.remote, quoted + 24, 16);
    struct net_flow flow = net_flow_6(&pair);
    memcpy(&flow.local_port, tcp, 2);
    memcpy(&flow.remote_port, tcp + 2, 2);
    if (homes_pass_error(net, p->packet.frame, &flow))
        return;
    uint32_t seq = load_be32(tcp + 4), word = load_be32(icmp + 4);
    if (icmp[0] == ICMPV6_TOO_BIG) {
        net->counters.icmp_too_big++;
        homes_show(net, p->packet.frame);
        tcp_packet_too_big(net, &flow, seq, word);
        return;
    }
    uint8_t code = TCP_SOFT;
    if (icmp[0] == ICMPV6_UNREACHABLE && icmp[1] == UNREACHABLE_PORT_6)
        code = TCP_NO_PORT;
    else if (icmp[0] == ICMPV6_PARAMETER && icmp[1] == PARAMETER_NEXT_HEADER)
        code = TCP_NO_PROTOCOL;
    tcp_unreachable(net, &flow, seq, code);
}

void icmpv6_input(struct net *net, const struct packet6 *p)
{
    net->counters.icmp_in++;
    const uint8_t *icmp = p->packet.l4;
    struct net_flow ends = {
        .local = p->packet.dst, .remote = p->packet.src, .pair = p->packet.pair};
    uint64_t sum = net_pseudo_sum(&ends, PROTOCOL_ICMPV6, p->packet.l4_len);
    if (p->packet.l4_len < ICMPV6_HEADER ||
        net_sum_fold(net_sum(icmp, p->packet.l4_len, sum)) != 0xffff) {
        net->counters.icmp_bad++;
        return;
    }
    switch (icmp[0]) {
    case ND_ROUTER_SOLICITATION:
        break; // for routers
    case ND_ROUTER_ADVERTISEMENT:
    case ND_NEIGHBOUR_SOLICITATION:
    case ND_NEIGHBOUR_ADVERTISEMENT:
    case ND_REDIRECT:
        nd_input(net, p);
        break;
    case MLD_QUERY:
        mld_input(net, p);
        break;
    case ICMPV6_ECHO:
        icmpv6_echo(net, p);
        break;
    case ICMPV6_ECHO_REPLY:
        icmpv6_echo_reply(net, p);
        break;
    case ICMPV6_UNREACHABLE:
    case ICMPV6_TOO_BIG:
    case ICMPV6_TIME_EXCEEDED:
    case ICMPV6_PARAMETER:
        icmpv6_error_input(net, p);
        break;
    default:
        break;
    }
}
