// Neighbour discovery for IPv6 (RFC 4861) as a host does it: answering and asking for hardware
// addresses, and making sure that our addresses are ours (RFC 4862 5.4). Believed is only what came
// from this link, whole (RFC 6980); nobody is believed about our own addresses.
#include "dataplane/net/homes.h"
#include "dataplane/net/ipv6.h"

enum {
    ND_TARGET = 8,   // offset in solicitations and advertisements
    ND_MESSAGE = 24, // their length without options
    NA_ROUTER = 0x80,
    NA_SOLICITED = 0x40,
    NA_OVERRIDE = 0x20,
    NONCE_OPTION = 8, // bytes
};
// A made address that somebody has is replaced so often (RFC 7217 6).
enum { ADDRESS_ATTEMPTS = 3 };
// The first message of a host waits at random, so that a rack that gets power does not speak at
// once (RFC 4862 5.4.2).
enum { START_DELAY_US = 1000000 };
// Answers to solicitations, beside which nothing of use is that frequent.
enum { ANSWERS_PER_SECOND = 2000, ANSWERS_BURST = 500 };

static void nd_timer(void *context, struct net_timer *timer);

const uint8_t *nd_option(const uint8_t *options, uint32_t len, uint8_t type)
{
    for (uint32_t at = 0; at < len; at += options[at + 1] * 8u)
        if (options[at] == type)
            return options + at;
    return NULL;
}

// RFC 4861 7.1.1: every option has a length, and lies within the packet.
static bool nd_options_good(const uint8_t *options, uint32_t len)
{
    for (uint32_t at = 0; at < len; at += options[at + 1] * 8u)
        if (len - at < 8 || !options[at + 1] || options[at + 1] * 8u > len - at)
            return false;
    return true;
}

uint8_t *nd_put_mac(uint8_t *p, uint8_t option, const uint8_t mac[6])
{
    p[0] = option;
    p[1] = 1;
    memcpy(p + 2, mac, 6);
    return p + ND_LINK_OPTION;
}

// --- our addresses
// -----------------------------------------------------------------------------------

// RFC 7217: an interface identifier that is stable and says nothing of the hardware. With the MAC
// itself a TAP port's address would be that of the kernel's end, which has the same.
static void nd_make_address(const struct net *net, struct ipv6_address *a)
{
    static const uint8_t prefix[16] = {0xfe, 0x80};
    struct net_key key = net_key_load(net->config.stable_secret);
    uint64_t words[2] = {0, 6ull << 56 | (uint64_t)a->attempt << 16 | net->config.vlan};
    memcpy(words, net->config.mac, 6);
    uint64_t id = net_sip(key, words, 2, 2, 4);
    memcpy(a->addr, prefix, 16);
    memcpy(a->addr + 8, &id, 8);
    a->prefix = 64;
    a->made = true;
}

static void nd_begin(struct net *net, struct ipv6_address *a, uint64_t delay_us)
{
    a->probes_left = net->config.duplicate_probes;
    a->state = a->probes_left ? IPV6_TENTATIVE : IPV6_VALID;
    a->due_us = net->now_us + (a->probes_left ? delay_us : 0) + 1;
}

void nd_init(struct net *net)
{
    struct ipv6 *ip6 = net->ip6;
    struct net_key key = net_key_load(net->config.secret);
    uint64_t word = 7ull << 56 | 1;
    ip6->nonce = net_sip(key, &word, 1, 2, 4);
    ip6->timer.fire = nd_timer;
    bool link_local = false;
    for (unsigned i = 0; i < ip6->n_addresses; i++)
        link_local |= ipv6_is_link_local(ip6->addresses[i].addr);
    if (!link_local)
        nd_make_address(net, &ip6->addresses[ip6->n_addresses++]);
    uint64_t delay_us = ip6->nonce % START_DELAY_US; // the same for all stacks
    for (unsigned i = 0; i < ip6->n_addresses; i++)
        nd_begin(net, &ip6->addresses[i], delay_us);
    mld_join(net);
    nd_routers_init(net);
    nd_arm(net);
}

static void nd_probe(struct net *net, const struct ipv6_address *a)
{
    struct frame *f = net_frame_new(net, true);
    if (!f)
        return;
    uint8_t group[16], *icmp = icmpv6_body(net, f);
    ipv6_solicited_group(a->addr, group);
    memset(icmp, 0, ND_TARGET);
    icmp[0] = ND_NEIGHBOUR_SOLICITATION;
    memcpy(icmp + ND_TARGET, a->addr, 16);
    // RFC 7527: a link that sends our own packets back is no duplicate.
    icmp[ND_MESSAGE] = ND_OPTION_NONCE;
    icmp[ND_MESSAGE + 1] = 1;
    memcpy(icmp + ND_MESSAGE + 2, &net->ip6->nonce, 6);
    net->counters.nd_probes++;
    icmpv6_send(net, f, ipv6_unspecified, group, ND_HOP_LIMIT, ND_MESSAGE + NONCE_OPTION);
}

static void nd_advertise(struct net *net, const uint8_t target[16], const uint8_t dst[16],
                         uint8_t flags)
{
    struct frame *f = net_frame_new(net, true);
    if (!f)
        return;
    uint8_t *icmp = icmpv6_body(net, f);
    memset(icmp, 0, ND_TARGET);
    icmp[0] = ND_NEIGHBOUR_ADVERTISEMENT;
    icmp[4] = flags;
    memcpy(icmp + ND_TARGET, target, 16);
    nd_put_mac(icmp + ND_MESSAGE, ND_OPTION_TARGET, net->config.mac);
    icmpv6_send(net, f, target, dst, ND_HOP_LIMIT, ND_MESSAGE + ND_LINK_OPTION);
}

// The next step: another probe, or nobody objected. Those who knew another owner of the address are
// told of the change (RFC 4861 7.2.6).
static void nd_step(struct net *net, struct ipv6_address *a)
{
    if (a->state == IPV6_TENTATIVE && a->probes_left) {
        a->probes_left--;
        a->due_us = net->now_us + net->ip6->retrans_us;
        nd_probe(net, a);
        return;
    }
    a->due_us = 0;
    a->state = IPV6_VALID;
    nd_advertise(net, a->addr, ipv6_all_nodes, NA_OVERRIDE);
    neighbours_retry(net);
}

static void nd_duplicate(struct net *net, struct ipv6_address *a, const uint8_t mac[6])
{
    net->counters.nd_duplicate++;
    net_conflict(net, 6, a->addr, mac, true);
    a->state = IPV6_DUPLICATE;
    a->due_us = 0;
    if (!a->made || ++a->attempt > ADDRESS_ATTEMPTS)
        return;
    nd_make_address(net, a);
    nd_begin(net, a, 0);
    mld_join(net);
    nd_arm(net);
}

void nd_arm(struct net *net)
{
    struct ipv6 *ip6 = net->ip6;
    uint64_t next = nd_routers_next(net), report = mld_next(net);
    if (report < next)
        next = report;
    for (unsigned i = 0; i < ip6->n_addresses; i++)
        if (ip6->addresses[i].due_us && ip6->addresses[i].due_us < next)
            next = ip6->addresses[i].due_us;
    if (next != UINT64_MAX)
        net_wheel_start(&net->wheel, &ip6->timer, next);
    else
        net_wheel_stop(&net->wheel, &ip6->timer);
}

static void nd_timer(void *context, struct net_timer *timer)
{
    (void)timer;
    struct net *net = context;
    struct ipv6 *ip6 = net->ip6;
    mld_advance(net);
    for (unsigned i = 0; i < ip6->n_addresses; i++)
        if (ip6->addresses[i].due_us && ip6->addresses[i].due_us <= net->now_us)
            nd_step(net, &ip6->addresses[i]);
    nd_routers_advance(net);
    nd_arm(net);
}

// --- solicitations and advertisements
// -----------------------------------------------------------------------------------

bool nd_solicit(struct net *net, const uint8_t target[16], const uint8_t *to)
{
    const struct ipv6_address *a = ipv6_source(net, target);
    for (unsigned i = 0; a && a->state != IPV6_VALID && i < net->ip6->n_addresses; i++)
        if (net->ip6->addresses[i].state == IPV6_VALID)
            a = &net->ip6->addresses[i];
    if (!a || a->state != IPV6_VALID)
        return false;
    struct frame *f = net_frame_new(net, true);
    if (!f)
        return true;
    uint8_t group[16], *icmp = icmpv6_body(net, f);
    ipv6_solicited_group(target, group);
    memset(icmp, 0, ND_TARGET);
    icmp[0] = ND_NEIGHBOUR_SOLICITATION;
    memcpy(icmp + ND_TARGET, target, 16);
    nd_put_mac(icmp + ND_MESSAGE, ND_OPTION_SOURCE, net->config.mac);
    net->counters.nd_out++;
    icmpv6_send(net, f, a->addr, to ? target : group, ND_HOP_LIMIT, ND_MESSAGE + ND_LINK_OPTION);
    return true;
}

static const uint8_t *nd_mac(const uint8_t *options, uint32_t len, uint8_t type)
{
    const uint8_t *option = nd_option(options, len, type);
    return option ? option + 2 : NULL;
}

static void nd_solicitation(struct net *net, const struct packet6 *p, const uint8_t *options,
                            uint32_t len)
{
    const uint8_t *src = p->packet.pair->remote, *target = p->packet.l4 + ND_TARGET;
    const uint8_t *mac = nd_mac(options, len, ND_OPTION_SOURCE);
    bool probe = ipv6_is_unspecified(src);
    if (probe && (!p->to_group || mac)) {
        net->counters.nd_bad++;
        return;
    }
    struct ipv6_address *a = ipv6_ours(net->ip6, target);
    if (!a || a->state == IPV6_DUPLICATE)
        return;
    if (probe && a->state == IPV6_TENTATIVE) // the others ask the same
        homes_show(net, p->packet.frame);
    if (a->state == IPV6_TENTATIVE) {
        const uint8_t *nonce = nd_option(options, len, ND_OPTION_NONCE);
        if (!probe)
            return; // nobody can know yet that it is ours
        if (nonce && memcmp(nonce + 2, &net->ip6->nonce, 6) == 0)
            net->counters.nd_looped++;
        else
            nd_duplicate(net, a, p->packet.frame->data + 6);
        return;
    }
    if (!net_limiter_take(net, &net->ip6->answers, ANSWERS_PER_SECOND, ANSWERS_BURST)) {
        net->counters.nd_limited++;
        return;
    }
    if (probe) {
        nd_advertise(net, target, ipv6_all_nodes, NA_OVERRIDE);
        return;
    }
    if (mac && ipv6_is_on_link(net, src)) {
        struct net_news news = {
            .kind = NET_NEWS_NEIGHBOUR, .family = 6, .create = true, .override = true};
        memcpy(news.addr, src, 16);
        memcpy(news.mac, mac, 6);
        if (neighbour_hear(net, &news))
            homes_tell(net, &news);
    }
    nd_advertise(net, target, src, NA_SOLICITED | NA_OVERRIDE);
}

static void nd_neighbour_advertisement(struct net *net, const struct packet6 *p,
                                       const uint8_t *options, uint32_t len)
{
    const uint8_t *target = p->packet.l4 + ND_TARGET;
    uint8_t flags = p->packet.l4[4];
    if (p->to_group && (flags & NA_SOLICITED)) {
        net->counters.nd_bad++;
        return;
    }
    // The answer may be to another stack's question, and an address belongs to all of us.
    homes_show(net, p->packet.frame);
    struct ipv6_address *a = ipv6_ours(net->ip6, target);
    if (a && a->state == IPV6_TENTATIVE) {
        nd_duplicate(net, a, p->packet.frame->data + 6);
        return;
    }
    if (a) {
        net->counters.nd_conflict++;
        if (a->state == IPV6_VALID)
            net_conflict(net, 6, a->addr, p->packet.frame->data + 6, false);
        return;
    }
    unsigned news = (flags & NA_SOLICITED ? NEIGHBOUR_SOLICITED : 0u) |
                    (flags & NA_OVERRIDE ? NEIGHBOUR_OVERRIDE : 0u);
    struct net_ip ip = net_ip6(target);
    struct neighbour *n = neighbour_learn(net, ip, nd_mac(options, len, ND_OPTION_TARGET), news);
    if (!n)
        return;
    bool was_router = n->router;
    n->router = flags & NA_ROUTER;
    if (was_router && !n->router)
        nd_router_gone(net, ip);
}

// What RFC 4861 6.1.2, 7.1.1, 7.1.2 and RFC 6980 ask of all of them.
void nd_input(struct net *net, const struct packet6 *p)
{
    const uint8_t *icmp = p->packet.l4;
    uint32_t message = icmp[0] == ND_ROUTER_ADVERTISEMENT ? 16
                       : icmp[0] == ND_REDIRECT           ? 40
                                                          : ND_MESSAGE;
    net->counters.nd_in++;
    if (p->hop_limit != ND_HOP_LIMIT || p->fragmented) {
        net->counters.nd_foreign++;
        return;
    }
    if (icmp[1] != 0 || p->packet.l4_len < message ||
        !nd_options_good(icmp + message, p->packet.l4_len - message) ||
        (message == ND_MESSAGE && ipv6_is_group(icmp + ND_TARGET))) {
        net->counters.nd_bad++;
        return;
    }
    uint32_t len = p->packet.l4_len - message;
    if (icmp[0] == ND_NEIGHBOUR_SOLICITATION)
        nd_solicitation(net, p, icmp + message, len);
    else if (icmp[0] == ND_NEIGHBOUR_ADVERTISEMENT)
        nd_neighbour_advertisement(net, p, icmp + message, len);
    else if (icmp[0] == ND_ROUTER_ADVERTISEMENT)
        nd_advertisement(net, p, icmp + message, len);
    else // the router forwards as well; who sends others' traffic elsewhere needs no help of ours
        net->counters.nd_redirect++;
}
