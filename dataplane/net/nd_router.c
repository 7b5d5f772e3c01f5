// What routers say of the link (RFC 4861 6.3, RFC 4191): the default routers, which prefixes are on
// the link, the MTU, times. Addresses are not made of what they say. A gateway that the
// configuration names stands above all of them.
#include "dataplane/net/homes.h"
#include "dataplane/net/ipv6.h"

enum {
    RA_HOP_LIMIT = 4, // offsets in an advertisement
    RA_FLAGS = 5,
    RA_LIFETIME = 6,
    RA_REACHABLE = 8,
    RA_RETRANS = 12,
    PREFIX_OPTION = 32, // bytes
    PREFIX_ON_LINK = 0x80,
};
// Below this an advertisement would cut us off from the far side of networks (as RFC 8504 13 warns
// of); it may be an attack and is not heeded.
enum { HOP_LIMIT_MIN = 32 };
// Bounds of the times that a router may ask for (RFC 4861 6.2.1: an hour).
enum { REACHABLE_MAX_MS = 3600000, RETRANS_MIN_MS = 100, RETRANS_MAX_MS = 60000 };
// RFC 7559: a solicitation after 4 s, then ever later, as long as no router is known.
#define SOLICIT_FIRST_US 4000000ull
#define SOLICIT_MAX_US 3600000000ull

static uint64_t seconds(uint32_t s)
{
    return s == UINT32_MAX ? UINT64_MAX / 2 : (uint64_t)s * 1000000;
}

static bool nd_wants_router(const struct net *net)
{
    return net->config.router_advertisements && !net->ip6->has_gateway;
}

void nd_routers_init(struct net *net)
{
    struct ipv6 *ip6 = net->ip6;
    if (!nd_wants_router(net) || net->config.stack) // one of us asks, all are shown the answer
        return;
    ip6->solicit_interval_us = SOLICIT_FIRST_US;
    ip6->solicit_at_us = net->now_us + 1;
}

static const struct ipv6_address *nd_link_address(const struct net *net)
{
    const struct ipv6_address *a = ipv6_source(net, ipv6_all_routers);
    return a && ipv6_is_link_local(a->addr) ? a : NULL;
}

static void nd_solicit_router(struct net *net)
{
    struct ipv6 *ip6 = net->ip6;
    const struct ipv6_address *a = nd_link_address(net);
    if (a && a->state == IPV6_TENTATIVE) { // it will be known from which address soon
        ip6->solicit_at_us = a->due_us + 1000;
        return;
    }
    ip6->solicit_at_us = net->now_us + ip6->solicit_interval_us;
    ip6->solicit_interval_us += ip6->solicit_interval_us - ip6->solicit_interval_us / 10 +
                                net_random(net) % (ip6->solicit_interval_us / 5);
    if (ip6->solicit_interval_us > SOLICIT_MAX_US)
        ip6->solicit_interval_us = SOLICIT_MAX_US;
    struct frame *f = a && a->state == IPV6_VALID ? net_frame_new(net, true) : NULL;
    if (!f)
        return;
    uint8_t *icmp = icmpv6_body(net, f);
    memset(icmp, 0, 8);
    icmp[0] = ND_ROUTER_SOLICITATION;
    nd_put_mac(icmp + 8, ND_OPTION_SOURCE, net->config.mac);
    net->counters.nd_out++;
    icmpv6_send(net, f, a->addr, ipv6_all_routers, ND_HOP_LIMIT, 8 + ND_LINK_OPTION);
}

// Whoever goes through this router looks for another way.
static void nd_leave(struct net *net, struct net_ip addr)
{
    struct neighbour *n = neighbour_find(net, addr);
    if (n)
        n->generation++;
}

static void nd_router_remove(struct net *net, struct ipv6_router *r)
{
    struct net_ip addr = r->addr;
    *r = net->ip6->routers[--net->ip6->n_routers];
    nd_leave(net, addr);
    if (!net->ip6->n_routers && !net->ip6->solicit_at_us)
        nd_routers_init(net);
}

static struct ipv6_router *nd_router_find(struct ipv6 *ip6, struct net_ip addr)
{
    for (unsigned i = 0; i < ip6->n_routers; i++)
        if (memcmp(&ip6->routers[i].addr, &addr, sizeof(addr)) == 0)
            return &ip6->routers[i];
    return NULL;
}

void nd_router_gone(struct net *net, struct net_ip addr)
{
    struct ipv6_router *r = nd_router_find(net->ip6, addr);
    if (!r)
        return;
    nd_router_remove(net, r);
    nd_arm(net);
}

uint64_t nd_routers_next(const struct net *net)
{
    const struct ipv6 *ip6 = net->ip6;
    uint64_t next = ip6->solicit_at_us ? ip6->solicit_at_us : UINT64_MAX;
    for (unsigned i = 0; i < ip6->n_routers; i++)
        if (ip6->routers[i].until_us < next)
            next = ip6->routers[i].until_us;
    return next;
}

void nd_routers_advance(struct net *net)
{
    struct ipv6 *ip6 = net->ip6;
    for (unsigned i = ip6->n_routers; i-- > 0;)
        if (ip6->routers[i].until_us <= net->now_us)
            nd_router_remove(net, &ip6->routers[i]);
    if (ip6->solicit_at_us && ip6->solicit_at_us <= net->now_us)
        nd_solicit_router(net);
}

static void nd_take_router(struct net *net, struct net_ip addr, const uint8_t *icmp)
{
    struct ipv6 *ip6 = net->ip6;
    uint32_t lifetime_s = load_be16(icmp + RA_LIFETIME);
    int preference = (icmp[RA_FLAGS] >> 3 & 3) == 1 ? 1 : (icmp[RA_FLAGS] >> 3 & 3) == 3 ? -1 : 0;
    struct ipv6_router *r = nd_router_find(ip6, addr);
    if (!lifetime_s) {
        if (r)
            nd_router_remove(net, r);
        return;
    }
    bool changes = !r || r->preference != preference;
    if (!r) {
        if (ip6->n_routers == IPV6_ROUTERS_MAX) {
            net->counters.nd_routers_full++;
            return;
        }
        r = &ip6->routers[ip6->n_routers++];
        r->addr = addr;
    }
    r->until_us = net->now_us + seconds(lifetime_s);
    r->preference = (int8_t)preference;
    ip6->solicit_at_us = 0;
    if (changes) // the best one may be another now
        for (unsigned i = 0; i < ip6->n_routers; i++)
            nd_leave(net, ip6->routers[i].addr);
}

static void nd_take_prefix(struct net *net, const uint8_t *option)
{
    struct ipv6 *ip6 = net->ip6;
    uint8_t length = option[2];
    const uint8_t *addr = option + 16;
    if (option[1] * 8u != PREFIX_OPTION || !(option[3] & PREFIX_ON_LINK) || length > 128 ||
        !length || ipv6_is_link_local(addr) || ipv6_is_group(addr))
        return;
    uint64_t until_us = net->now_us + seconds(load_be32(option + 4));
    struct ipv6_prefix *place = NULL;
    for (unsigned i = 0; i < ip6->n_prefixes; i++) {
        struct ipv6_prefix *p = &ip6->prefixes[i];
        if (p->length == length && ipv6_prefix_equal(p->addr, addr, length)) {
            p->until_us = until_us;
            return;
        }
        if (p->until_us <= net->now_us)
            place = p;
    }
    if (until_us == net->now_us)
        return;
    if (!place && ip6->n_prefixes == IPV6_PREFIXES_MAX) {
        net->counters.nd_prefixes_full++;
        return;
    }
    if (!place)
        place = &ip6->prefixes[ip6->n_prefixes++];
    memcpy(place->addr, addr, 16);
    place->length = length;
    place->until_us = until_us;
    // What went to a router may be reached at once now.
    for (unsigned i = 0; i < ip6->n_routers; i++)
        nd_leave(net, ip6->routers[i].addr);
    if (ip6->has_gateway)
        nd_leave(net, ip6->gateway);
}

static void nd_take_times(struct net *net, const uint8_t *icmp)
{
    struct ipv6 *ip6 = net->ip6;
    uint32_t reachable_ms = load_be32(icmp + RA_REACHABLE),
             retrans_ms = load_be32(icmp + RA_RETRANS);
    if (icmp[RA_HOP_LIMIT] >= HOP_LIMIT_MIN)
        ip6->hop_limit = icmp[RA_HOP_LIMIT];
    if (reachable_ms && reachable_ms <= REACHABLE_MAX_MS &&
        reachable_ms * 1000ull != ip6->reachable_base_us) {
        ip6->reachable_base_us = reachable_ms * 1000;
        neighbour_draw_reachable(net, true, ip6->reachable_base_us);
    }
    if (retrans_ms >= RETRANS_MIN_MS && retrans_ms <= RETRANS_MAX_MS)
        ip6->retrans_us = retrans_ms * 1000;
}

void nd_advertisement(struct net *net, const struct packet6 *p, const uint8_t *options,
                      uint32_t len)
{
    const uint8_t *src = p->packet.pair->remote, *icmp = p->packet.l4;
    if (!ipv6_is_link_local(src)) {
        net->counters.nd_bad++;
        return;
    }
    if (!net->config.router_advertisements) {
        net->counters.nd_router_ignored++;
        return;
    }
    net->counters.nd_router_in++;
    homes_show(net, p->packet.frame);
    struct net_ip addr = net_ip6(src);
    const uint8_t *mac = nd_option(options, len, ND_OPTION_SOURCE);
    struct neighbour *n =
        neighbour_learn(net, addr, mac ? mac + 2 : NULL, NEIGHBOUR_CREATE | NEIGHBOUR_OVERRIDE);
    if (n)
        n->router = true;
    nd_take_times(net, icmp);
    for (uint32_t at = 0; at < len; at += options[at + 1] * 8u) {
        const uint8_t *option = options + at;
        if (option[0] == ND_OPTION_PREFIX) {
            nd_take_prefix(net, option);
        } else if (option[0] == ND_OPTION_MTU) {
            uint32_t mtu = load_be32(option + 4);
            if (mtu >= IPV6_MTU_MIN && mtu <= net->mtu) {
                net->mtu6 = (uint16_t)mtu;
                net->path_generation++;
            }
        }
    }
    if (nd_wants_router(net))
        nd_take_router(net, addr, icmp);
    nd_arm(net);
}
