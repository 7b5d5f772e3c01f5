// IPv4 (RFC 791, host requirements of RFC 1122): checking what arrives, writing headers, and the
// choice between the link and the gateway. Fragments and options are dropped and counted: TCP's
// path never needs them.
#include <errno.h>

#include "dataplane/net/internal.h"

void ipv4_init(struct net *net)
{
    for (unsigned i = 0; i < net->config.n_addresses; i++) {
        const struct net_address *a = &net->config.addresses[i];
        if (a->family != 4)
            continue;
        uint32_t mask = a->prefix ? 0xffffffffu << (32 - a->prefix) : 0;
        net->ip4[net->n_ip4++] = (struct ipv4_address){
            .addr = load_raw32(a->addr), .mask = __builtin_bswap32(mask), .prefix = a->prefix};
    }
    if (net->config.gateway.family == 4)
        net->gateway4 = load_raw32(net->config.gateway.addr);
}

bool ipv4_is_ours(const struct net *net, uint32_t addr)
{
    for (unsigned i = 0; i < net->n_ip4; i++)
        if (net->ip4[i].addr == addr)
            return true;
    return false;
}

// Our address on the link of `addr`.
static const struct ipv4_address *ipv4_link(const struct net *net, uint32_t addr)
{
    for (unsigned i = 0; i < net->n_ip4; i++)
        if (((net->ip4[i].addr ^ addr) & net->ip4[i].mask) == 0)
            return &net->ip4[i];
    return NULL;
}

bool ipv4_is_on_link(const struct net *net, uint32_t addr)
{
    return ipv4_link(net, addr) != NULL;
}

uint32_t ipv4_source(const struct net *net, uint32_t dst)
{
    const struct ipv4_address *a = ipv4_link(net, dst);
    if (!a && net->gateway4)
        a = ipv4_link(net, net->gateway4);
    return a ? a->addr : net->n_ip4 ? net->ip4[0].addr : 0;
}

struct neighbour *ipv4_route(struct net *net, uint32_t dst)
{
    if (ipv4_is_on_link(net, dst))
        return neighbour_get(net, net_ip4(dst));
    return net->gateway4 ? neighbour_get(net, net_ip4(net->gateway4)) : NULL;
}

int ipv4_connect(struct net *net, const uint8_t to[4], struct net_flow *flow)
{
    *flow = (struct net_flow){.remote = load_raw32(to)};
    if (to[0] == 0 || to[0] == 127 || to[0] >= 224 || ipv4_is_ours(net, flow->remote))
        return -EINVAL;
    flow->local = ipv4_source(net, flow->remote);
    return flow->local && ipv4_route(net, flow->remote) ? 0 : -ENETUNREACH;
}

// Addresses that cannot be a sender: "this" network, loopback, groups, broadcast, ourselves.
static bool ipv4_is_martian(const struct net *net, uint32_t src)
{
    uint8_t first = (uint8_t)src;
    if (first == 0 || first == 127 || first >= 224)
        return true;
    for (unsigned i = 0; i < net->n_ip4; i++) {
        const struct ipv4_address *a = &net->ip4[i];
        if (src == a->addr)
            return true;
        // The network's own address and its broadcast; links of 31 and 32 bits have neither.
        if (a->prefix < 31 && ((src ^ a->addr) & a->mask) == 0 &&
            ((src & ~a->mask) == 0 || (src & ~a->mask) == ~a->mask))
            return true;
    }
    return false;
}

static bool ipv4_sum_good(const uint8_t *ip, uint32_t header)
{
    if (unlikely(header != IPV4_HEADER))
        return net_sum_fold(net_sum(ip, header, 0)) == 0xffff;
    uint64_t sum = (uint64_t)load_raw32(ip) + load_raw32(ip + 4) + load_raw32(ip + 8) +
                   load_raw32(ip + 12) + load_raw32(ip + 16);
    return net_sum_fold(sum) == 0xffff;
}

bool ipv4_check(struct net *net, struct frame *f, const uint8_t *ip, uint32_t len, struct packet *p)
{
    struct net_counters *count = &net->counters;
    if (len < IPV4_HEADER) {
        count->ip_bad_header++;
        return false;
    }
    uint32_t header = (ip[0] & 15u) * 4, total = load_be16(ip + 2);
    if (ip[0] >> 4 != 4 || header < IPV4_HEADER || total < header || total > len) {
        count->ip_bad_header++;
        return false;
    }
    if (!(f->flags & FRAME_IP_SUM_GOOD) && !ipv4_sum_good(ip, header)) {
        count->ip_bad_sum++;
        return false;
    }
    p->src = load_raw32(ip + 12);
    p->dst = load_raw32(ip + 16);
    if (!ipv4_is_ours(net, p->dst)) {
        count->drop_not_ours++;
        return false;
    }
    if (ipv4_is_martian(net, p->src)) {
        count->ip_martian++;
        return false;
    }
    if (load_be16(ip + 6) & 0x3fff) {
        count->ip_fragment++;
        return false;
    }
    if (header != IPV4_HEADER) {
        count->ip_options++;
        return false;
    }
    if (ip[8] == 0) {
        count->ip_ttl++;
        return false;
    }
    p->frame = f;
    p->ip = ip;
    p->l4 = ip + header;
    p->l4_len = total - header;
    p->pair = NULL;
    p->traffic_class = ip[1];
    return true;
}

// Frames that are kept for retransmission wait as a copy: the connection may let go of them first.
static struct frame *frame_copy(struct net *net, const struct frame *f)
{
    struct frame *copy = net_frame_new(net, true);
    if (!copy)
        return NULL;
    memcpy(copy->data, f->data, f->len);
    copy->len = f->len;
    copy->flags = f->flags & (uint16_t)~FRAME_KEEP;
    copy->l2_len = f->l2_len;
    copy->l3_len = f->l3_len;
    copy->l4_len = f->l4_len;
    copy->tso_size = f->tso_size;
    return copy;
}

void net_send_to(struct net *net, struct neighbour *n, struct frame *f)
{
    if (unlikely(!n)) {
        if (!(f->flags & FRAME_KEEP))
            net_frame_drop(net, f);
        return;
    }
    if (unlikely(n->fresh_until_us <= net->now_us))
        neighbour_refresh(net, n);
    if (likely(neighbour_usable(n))) {
        memcpy(f->data, n->header, ETHER_HEADER);
        if (net->header_l2 != ETHER_HEADER)
            memcpy(f->data + ETHER_HEADER, n->header + ETHER_HEADER, 4);
        net_frame_send(net, f);
        return;
    }
    if (f->flags & FRAME_KEEP)
        f = frame_copy(net, f);
    if (f)
        neighbour_wait(net, n, f);
}
