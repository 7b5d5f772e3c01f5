// IPv6 (RFC 8200) as a host speaks it: our addresses, what arrives for them, which of them to speak
// from, the way to a destination, and headers.
#include "dataplane/net/ipv6.h"

#include <errno.h>
#include <mimalloc.h>

enum { DEFAULT_HOP_LIMIT = 64 };

const uint8_t ipv6_all_nodes[16] = {0xff, 2, [15] = 1}, ipv6_all_routers[16] = {0xff, 2, [15] = 2},
              ipv6_unspecified[16];

bool ipv6_is_unspecified(const uint8_t a[16])
{
    return ipv6_equal(a, ipv6_unspecified);
}

// How many leading bits two addresses share.
static unsigned ipv6_common(const uint8_t a[16], const uint8_t b[16])
{
    struct net_ip x = net_ip6(a), y = net_ip6(b);
    uint64_t high = __builtin_bswap64(x.w[0] ^ y.w[0]), low = __builtin_bswap64(x.w[1] ^ y.w[1]);
    if (high)
        return (unsigned)__builtin_clzll(high);
    return 64 + (low ? (unsigned)__builtin_clzll(low) : 64);
}

bool ipv6_prefix_equal(const uint8_t a[16], const uint8_t b[16], unsigned bits)
{
    return ipv6_common(a, b) >= bits;
}

static bool ipv6_is_loopback(const uint8_t a[16])
{
    return ipv6_prefix_equal(a, ipv6_unspecified, 120) && a[15] == 1;
}

// ::ffff:0:0/96 is for programming interfaces; in a packet it would fool filters of IPv4 addresses.
static bool ipv6_is_mapped(const uint8_t a[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(a, mapped, sizeof(mapped)) == 0;
}

const char *ipv6_refuse(const uint8_t a[16])
{
    if (ipv6_is_group(a) || ipv6_is_unspecified(a) || ipv6_is_loopback(a) || ipv6_is_mapped(a))
        return "an IPv6 address must be a unicast address, not ::, ::1, multicast or IPv4-mapped";
    return NULL;
}

static bool ipv6_wanted(const struct net *net)
{
    for (unsigned i = 0; i < net->config.n_addresses; i++)
        if (net->config.addresses[i].family == 6)
            return true;
    return false;
}

bool ipv6_init(struct net *net)
{
    net->mtu6 = net->mtu;
    if (!ipv6_wanted(net))
        return true;
    struct ipv6 *ip6 = net->ip6 = mi_zalloc(sizeof(*ip6));
    if (!ip6)
        return false;
    ip6->hop_limit = DEFAULT_HOP_LIMIT;
    ip6->reachable_base_us = NEIGHBOUR_REACHABLE_US;
    ip6->retrans_us = NEIGHBOUR_RETRANS_US;
    if (net->config.gateway6.family) {
        ip6->has_gateway = true;
        ip6->gateway = net_ip6(net->config.gateway6.addr);
    }
    for (unsigned i = 0; i < net->config.n_addresses; i++) {
        const struct net_address *a = &net->config.addresses[i];
        if (a->family != 6)
            continue;
        struct ipv6_address *ours = &ip6->addresses[ip6->n_addresses++];
        memcpy(ours->addr, a->addr, 16);
        ours->prefix = a->prefix;
    }
    nd_init(net);
    return true;
}

void ipv6_free(struct net *net)
{
    mi_free(net->ip6);
    net->ip6 = NULL;
}

struct ipv6_address *ipv6_ours(struct ipv6 *ip6, const uint8_t addr[16])
{
    for (unsigned i = 0; i < ip6->n_addresses; i++)
        if (ipv6_equal(ip6->addresses[i].addr, addr))
            return &ip6->addresses[i];
    return NULL;
}

void ipv6_solicited_group(const uint8_t addr[16], uint8_t group[16])
{
    static const uint8_t prefix[13] = {0xff, 2, [11] = 1, [12] = 0xff};
    memcpy(group, prefix, 13);
    memcpy(group + 13, addr + 13, 3);
}

static bool ipv6_listens(const struct ipv6 *ip6, const uint8_t group[16])
{
    if (ipv6_equal(group, ipv6_all_nodes))
        return true;
    for (unsigned i = 0; i < ip6->n_addresses; i++) {
        uint8_t solicited[16];
        ipv6_solicited_group(ip6->addresses[i].addr, solicited);
        if (ip6->addresses[i].state != IPV6_DUPLICATE && ipv6_equal(group, solicited))
            return true;
    }
    return false;
}

// --- where to
// ------------------------------------------------------------------------------------

bool ipv6_is_on_link(const struct net *net, const uint8_t addr[16])
{
    const struct ipv6 *ip6 = net->ip6;
    if (ipv6_is_link_local(addr))
        return true;
    for (unsigned i = 0; i < ip6->n_addresses; i++)
        if (ipv6_prefix_equal(addr, ip6->addresses[i].addr, ip6->addresses[i].prefix))
            return true;
    for (unsigned i = 0; i < ip6->n_prefixes; i++)
        if (ip6->prefixes[i].until_us > net->now_us &&
            ipv6_prefix_equal(addr, ip6->prefixes[i].addr, ip6->prefixes[i].length))
            return true;
    return false;
}

const struct ipv6_address *ipv6_source(const struct net *net, const uint8_t dst[16])
{
    const struct ipv6_address *best = NULL;
    unsigned best_score = 0;
    bool on_link = ipv6_is_link_local(dst) || ipv6_is_group(dst);
    for (unsigned i = 0; i < net->ip6->n_addresses; i++) {
        const struct ipv6_address *a = &net->ip6->addresses[i];
        if (a->state == IPV6_DUPLICATE)
            continue;
        // Rule 2, scope; then what may be used already; rule 8, the longest common prefix.
        unsigned score = (unsigned)(ipv6_is_link_local(a->addr) == on_link) << 9 |
                         (unsigned)(a->state == IPV6_VALID) << 8 | ipv6_common(a->addr, dst);
        if (!best || score > best_score) {
            best = a;
            best_score = score;
        }
    }
    return best;
}

uint64_t ipv6_source_ready(const struct net *net, const uint8_t local[16])
{
    const struct ipv6_address *a = ipv6_ours(net->ip6, local);
    if (!a || a->state == IPV6_DUPLICATE)
        return UINT64_MAX;
    return a->state == IPV6_VALID ? net->now_us
                                  : a->due_us + (uint64_t)a->probes_left * net->ip6->retrans_us + 1;
}

int ipv6_connect(struct net *net, const uint8_t to[16], struct net_flow *flow,
                 struct net_pair6 *pair, uint64_t *ready_us)
{
    if (!net->ip6)
        return -EAFNOSUPPORT;
    if (ipv6_refuse(to) || ipv6_ours(net->ip6, to))
        return -EINVAL;
    const struct ipv6_address *a = ipv6_source(net, to);
    // An address of the link is none beyond it.
    if (!a || (ipv6_is_link_local(a->addr) && !ipv6_is_on_link(net, to)) || !ipv6_route(net, to))
        return -ENETUNREACH;
    memcpy(pair->local, a->addr, 16);
    memcpy(pair->remote, to, 16);
    *flow = net_flow_6(pair);
    *ready_us = ipv6_source_ready(net, a->addr);
    return 0;
}

// RFC 4861 6.3.6 and RFC 4191 3.2: routers that answer before those that do not, the more preferred
// before others. The first of equals, so that the way does not change without reason.
static struct net_ip ipv6_router(struct net *net)
{
    struct ipv6 *ip6 = net->ip6;
    struct net_ip best = {0};
    int best_score = -10;
    for (unsigned i = 0; i < ip6->n_routers; i++) {
        const struct ipv6_router *r = &ip6->routers[i];
        if (r->until_us <= net->now_us)
            continue;
        const struct neighbour *n = neighbour_find(net, r->addr);
        int score = r->preference + (n && n->state == NEIGHBOUR_FAILED ? -5 : 0);
        if (score > best_score) {
            best_score = score;
            best = r->addr;
        }
    }
    return best;
}

bool ipv6_other_way(const struct net *net, const struct neighbour *n)
{
    const struct ipv6 *ip6 = net->ip6;
    bool is_router = false, other = false;
    for (unsigned i = 0; i < ip6->n_routers && !ip6->has_gateway; i++) {
        if (ip6->routers[i].until_us <= net->now_us)
            continue;
        if (memcmp(&ip6->routers[i].addr, &n->addr, 16) == 0)
            is_router = true;
        else
            other = true;
    }
    return is_router && other;
}

struct neighbour *ipv6_route(struct net *net, const uint8_t dst[16])
{
    if (!net->ip6 || ipv6_is_group(dst))
        return NULL;
    if (ipv6_is_on_link(net, dst))
        return neighbour_get(net, net_ip6(dst));
    struct net_ip via = net->ip6->has_gateway ? net->ip6->gateway : ipv6_router(net);
    return via.w[0] | via.w[1] ? neighbour_get(net, via) : NULL;
}

// --- in
// ------------------------------------------------------------------------------------------

// Senders that cannot be. An address of ours that somebody else uses as well is not dropped here
// when the packet is the advertisement that says so.
static bool ipv6_is_martian(const struct net *net, const struct packet6 *p)
{
    const uint8_t *src = p->packet.pair->remote;
    if (ipv6_is_group(src) || ipv6_is_loopback(src) || ipv6_is_mapped(src))
        return true;
    if (p->protocol == PROTOCOL_ICMPV6 && p->packet.l4_len &&
        (p->packet.l4[0] == ND_NEIGHBOUR_ADVERTISEMENT ||
         (p->packet.l4[0] == ND_NEIGHBOUR_SOLICITATION && ipv6_is_unspecified(src))))
        return false;
    const struct ipv6_address *ours = ipv6_ours(net->ip6, src);
    return ipv6_is_unspecified(src) || (ours && ours->state == IPV6_VALID);
}

void ipv6_input(struct net *net, struct frame *f, const uint8_t *ip, uint32_t len, uint32_t hash)
{
    struct net_counters *count = &net->counters;
    if (!net->ip6) {
        count->drop_ethertype++;
        return;
    }
    uint32_t payload;
    if (len < IPV6_HEADER || ip[0] >> 4 != 6 || (payload = load_be16(ip + 4)) > len - IPV6_HEADER) {
        count->ip_bad_header++;
        return;
    }
    const struct net_pair6 *pair = (const struct net_pair6 *)(ip + 8);
    struct packet6 p = {.packet = {.frame = f,
                                   .ip = ip,
                                   .l4 = ip + IPV6_HEADER,
                                   .l4_len = payload,
                                   .src = net_fold6(pair->remote),
                                   .dst = net_fold6(pair->local),
                                   .pair = pair,
                                   .hash = hash,
                                   .traffic_class = (uint8_t)(load_be16(ip) >> 4)},
                        .next_at = 6,
                        .protocol = ip[6],
                        .hop_limit = ip[7],
                        .to_group = ipv6_is_group(pair->local)};
    const struct ipv6_address *ours = NULL;
    // Who speaks to many at the level of the link and to one above it fools filters.
    if (p.to_group ? !ipv6_listens(net->ip6, pair->local)
                   : (f->data[0] & 1) || !(ours = ipv6_ours(net->ip6, pair->local)) ||
                         ours->state == IPV6_DUPLICATE) {
        count->drop_not_ours++;
        return;
    }
    if (unlikely(p.protocol != PROTOCOL_TCP) && !ipv6_headers(net, &p))
        return;
    if (ipv6_is_martian(net, &p)) {
        count->ip_martian++;
        return;
    }
    if (p.protocol == PROTOCOL_ICMPV6) {
        icmpv6_input(net, &p);
        return;
    }
    if (unlikely(p.to_group || ours->state != IPV6_VALID)) {
        count->drop_not_ours++; // RFC 4862 5.4; and TCP is never spoken to many
        return;
    }
    if (likely(p.protocol == PROTOCOL_TCP)) {
        tcp_input(net, &p.packet);
        return;
    }
    count->ip_protocol++;
    if (p.protocol == PROTOCOL_UDP)
        icmpv6_error(net, &p, ICMPV6_UNREACHABLE, UNREACHABLE_PORT_6, 0);
    else
        icmpv6_error(net, &p, ICMPV6_PARAMETER, PARAMETER_NEXT_HEADER, p.next_at);
}

// --- out
// ------------------------------------------------------------------------------------------

// RFC 6437: packets of one connection have one label, so that equal paths are shared by them.
static uint32_t ipv6_flow_label(const struct net *net, const uint8_t *src, const uint8_t *dst,
                                const uint8_t *ports)
{
    uint64_t x = (uint64_t)(net_fold6(src) ^ net_rotl(net_fold6(dst), 7)) << 32 | load_raw32(ports);
    x = (x ^ net->key_ports.k0) * 0x9e3779b97f4a7c15;
    return (uint32_t)(x >> 44);
}

void ipv6_write(struct net *net, struct frame *f, const uint8_t src[16], const uint8_t dst[16],
                uint8_t protocol, uint8_t traffic_class, uint32_t payload)
{
    uint8_t *ip = f->data + net->header_l2;
    uint32_t label =
        protocol == PROTOCOL_TCP ? ipv6_flow_label(net, src, dst, ip + IPV6_HEADER) : 0;
    store_be32(ip, 6u << 28 | (uint32_t)traffic_class << 20 | label);
    store_be32(ip + 4, payload << 16 | (uint32_t)protocol << 8 | net->ip6->hop_limit);
    memcpy(ip + 8, src, 16);
    memcpy(ip + 24, dst, 16);
    f->l2_len = (uint16_t)net->header_l2;
    f->l3_len = IPV6_HEADER;
    f->len = net->header_l2 + IPV6_HEADER + payload;
}

void ipv6_send_group(struct net *net, struct frame *f)
{
    uint8_t *p = f->data;
    p[0] = p[1] = 0x33; // RFC 2464 7
    memcpy(p + 2, p + net->header_l2 + 24 + 12, 4);
    memcpy(p + 6, net->config.mac, 6);
    if (net->config.vlan) {
        store_be16(p + 12, ETHERTYPE_VLAN);
        store_be16(p + 14, net->config.vlan);
    }
    store_be16(p + net->header_l2 - 2, ETHERTYPE_IPV6);
    net_frame_send(net, f);
}
