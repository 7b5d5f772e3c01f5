// Asking a host for an echo (RFC 792, RFC 4443 4.1), for `polluxctl ping`: no kernel sees the port,
// so its ping cannot. A few at a time; each ends with its reply, with an error about it, or in
// time.
#include <errno.h>
#include <mimalloc.h>
#include <stddef.h>

#include "dataplane/net/ipv6.h"
#include "dataplane/net/ping.h"

enum {
    ICMP_ECHO_REPLY = 0,
    ICMP_ECHO = 8,
    ECHO_HEADER = 8,
    ICMP_HOPS = 64,
    TOKEN_BYTES = 8, // at the start of the payload: tells a reply from a guess
};

struct ping {
    struct net_timer timer;
    struct net *net;
    struct net_ping ask;
    uint64_t sent_us, token;
    bool used;
};

struct net_pings {
    uint16_t id; // of all echoes of this stack
    struct ping ping[NET_PINGS_MAX];
};

static void ping_end(struct ping *p, struct net_ping_result *r)
{
    struct net_ping ask = p->ask;
    net_wheel_stop(&p->net->wheel, &p->timer);
    p->used = false;
    r->seq = ask.seq;
    r->rtt_us = p->net->now_us - p->sent_us;
    ask.done(ask.context, r);
}

void pings_free(struct net *net)
{
    for (unsigned i = 0; net->pings && i < NET_PINGS_MAX; i++)
        if (net->pings->ping[i].used)
            ping_end(&net->pings->ping[i],
                     &(struct net_ping_result){.outcome = NET_PING_TIMED_OUT});
    mi_free(net->pings);
    net->pings = NULL;
}

static struct neighbour *ping_route(struct net *net, const struct net_address *to)
{
    return to->family == 6 ? ipv6_route(net, to->addr) : ipv4_route(net, load_raw32(to->addr));
}

static void ping_timeout(void *context, struct net_timer *timer)
{
    struct ping *p = (struct ping *)((char *)timer - offsetof(struct ping, timer));
    struct net *net = context;
    struct net_ping_result r = {.outcome = NET_PING_TIMED_OUT};
    const struct neighbour *n = ping_route(net, &p->ask.to);
    if (n && !neighbour_usable(n)) {
        r.outcome = NET_PING_UNRESOLVED;
        r.from.family = n->v6 ? 6 : 4;
        if (n->v6)
            memcpy(r.from.addr, &n->addr, 16);
        else
            memcpy(r.from.addr, (const uint8_t *)&n->addr + 12, 4);
    }
    ping_end(p, &r);
}

// The payload: a token that nobody can guess, then a pattern.
static void ping_fill(const struct ping *p, uint8_t *payload)
{
    for (uint32_t i = 0; i < p->ask.size; i++)
        payload[i] = i < TOKEN_BYTES ? (uint8_t)(p->token >> 8 * i) : (uint8_t)i;
}

static void ping_header(struct ping *p, uint8_t *icmp, uint8_t type)
{
    icmp[0] = type;
    icmp[1] = 0;
    memset(icmp + 2, 0, 2);
    store_be16(icmp + 4, p->net->pings->id);
    store_be16(icmp + 6, p->ask.seq);
    ping_fill(p, icmp + ECHO_HEADER);
}

static int ping_send_4(struct ping *p, struct neighbour *n)
{
    struct net *net = p->net;
    uint32_t dst = load_raw32(p->ask.to.addr), src = ipv4_source(net, dst);
    struct frame *f = src ? net_frame_new(net, false) : NULL;
    if (!f)
        return src ? -ENOBUFS : -ENETUNREACH;
    uint32_t len = ECHO_HEADER + p->ask.size;
    uint8_t *icmp = f->data + net->header_l2 + IPV4_HEADER;
    ping_header(p, icmp, ICMP_ECHO);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(icmp, len, 0));
    memcpy(icmp + 2, &sum, 2);
    ipv4_write(net, f, src, dst, PROTOCOL_ICMP, 0, len);
    f->l4_len = ECHO_HEADER;
    net->counters.icmp_out++;
    net_send_to(net, n, f);
    return 0;
}

static int ping_send_6(struct ping *p)
{
    struct net *net = p->net;
    const struct ipv6_address *src = ipv6_source(net, p->ask.to.addr);
    if (!src || src->state != IPV6_VALID)
        return -EADDRNOTAVAIL;
    struct frame *f = net_frame_new(net, false);
    if (!f)
        return -ENOBUFS;
    ping_header(p, icmpv6_body(net, f), ICMPV6_ECHO);
    icmpv6_send(net, f, src->addr, p->ask.to.addr, ICMP_HOPS, ECHO_HEADER + p->ask.size);
    return 0;
}

static int ping_check(const struct net *net, const struct net_address *to, uint32_t size)
{
    uint32_t room =
        (to->family == 6 ? net->mtu6 - (uint32_t)IPV6_HEADER : net->mtu - (uint32_t)IPV4_HEADER) -
        ECHO_HEADER;
    if (to->family == 6) {
        if (!net->ip6)
            return -EAFNOSUPPORT;
        if (ipv6_is_group(to->addr) || ipv6_is_unspecified(to->addr) ||
            ipv6_ours(net->ip6, to->addr))
            return -EINVAL;
    } else {
        if (!net->n_ip4)
            return -EAFNOSUPPORT;
        uint8_t first = to->addr[0];
        if (first == 0 || first == 127 || first >= 224 || ipv4_is_ours(net, load_raw32(to->addr)))
            return -EINVAL;
    }
    return size > room ? -EMSGSIZE : 0;
}

int net_ping(struct net *net, const struct net_ping *ask)
{
    int e = ping_check(net, &ask->to, ask->size);
    if (e)
        return e;
    if (!net->pings) {
        if (!(net->pings = mi_zalloc(sizeof(*net->pings))))
            return -ENOMEM;
        net->pings->id = (uint16_t)net_random(net);
    }
    struct neighbour *n = ping_route(net, &ask->to);
    struct ping *p = net->pings->ping;
    while (p < net->pings->ping + NET_PINGS_MAX && p->used)
        p++;
    if (!n)
        return -ENETUNREACH;
    if (p == net->pings->ping + NET_PINGS_MAX)
        return -EBUSY;
    *p = (struct ping){.timer = {.fire = ping_timeout},
                       .net = net,
                       .ask = *ask,
                       .sent_us = net->now_us,
                       .token = net_random(net)};
    e = ask->to.family == 6 ? ping_send_6(p) : ping_send_4(p, n);
    if (e)
        return e;
    p->used = true;
    net_wheel_start(&net->wheel, &p->timer, net->now_us + ask->timeout_us);
    return 0;
}

// The echo that an ICMP header (ours, or quoted) belongs to; `size` of its payload is there.
static struct ping *ping_find(struct net *net, const uint8_t *icmp, uint32_t size)
{
    if (!net->pings || load_be16(icmp + 4) != net->pings->id)
        return NULL;
    for (unsigned i = 0; i < NET_PINGS_MAX; i++) {
        struct ping *p = &net->pings->ping[i];
        if (!p->used || p->ask.seq != load_be16(icmp + 6))
            continue;
        uint8_t token[TOKEN_BYTES];
        for (unsigned k = 0; k < TOKEN_BYTES; k++)
            token[k] = (uint8_t)(p->token >> 8 * k);
        uint32_t n = p->ask.size < TOKEN_BYTES ? p->ask.size : TOKEN_BYTES;
        if (memcmp(icmp + ECHO_HEADER, token, n < size ? n : size) == 0)
            return p;
    }
    return NULL;
}

bool ping_reply(struct net *net, const struct net_address *from, uint8_t hops, const uint8_t *icmp,
                uint32_t len)
{
    struct ping *p = ping_find(net, icmp, len - ECHO_HEADER);
    if (!p || p->ask.to.family != from->family ||
        memcmp(p->ask.to.addr, from->addr, from->family == 6 ? 16 : 4) != 0)
        return false;
    struct net_ping_result r = {.outcome = NET_PING_REPLY, .from = *from, .hops = hops};
    r.size = len - ECHO_HEADER;
    r.damaged = r.size != p->ask.size;
    for (uint32_t i = TOKEN_BYTES; !r.damaged && i < r.size; i++)
        r.damaged = icmp[ECHO_HEADER + i] != (uint8_t)i;
    ping_end(p, &r);
    return true;
}

bool ping_error(struct net *net, const struct net_address *from, uint8_t type, uint8_t code,
                uint32_t mtu, const uint8_t *quoted, uint32_t len)
{
    bool v6 = from->family == 6;
    uint8_t echo = v6 ? (uint8_t)ICMPV6_ECHO : (uint8_t)ICMP_ECHO;
    if (len < ECHO_HEADER || quoted[0] != echo)
        return false;
    struct ping *p = ping_find(net, quoted, len - ECHO_HEADER);
    if (!p || p->ask.to.family != from->family)
        return false;
    struct net_ping_result r = {
        .outcome = NET_PING_ERROR, .from = *from, .type = type, .code = code, .mtu = mtu};
    ping_end(p, &r);
    return true;
}
