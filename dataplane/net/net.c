// The stack as a whole: making it from a configuration, Ethernet, the turn.
#include "dataplane/net/net.h"

#include <mimalloc.h>
#include <stdio.h>

#include "common/prefetch.h"
#include "dataplane/net/homes.h"
#include "dataplane/net/ipv6.h"
#include "dataplane/net/ping.h"
#include "dataplane/net/tcp.h"

enum {
    // Ten thousand clients (the server's default `maxclients`) with room for those that come and
    // go.
    CONNECTIONS_DEFAULT = 65536,
    // Half-open connections, 88 bytes each; SYNs beyond are answered with cookies.
    HALF_OPEN_DEFAULT = 4096,
    TIME_WAIT_DEFAULT = 32768,        // 128 bytes each
    RECEIVE_BUFFER_DEFAULT = 1 << 20, // 10 Gbit/s over 0.8 ms
    SEND_BUFFER_DEFAULT = 1 << 20,
    RECEIVE_MEMORY_DEFAULT = 256 << 20,
    SEND_MEMORY_DEFAULT = 1 << 30,
    USER_TIMEOUT_DEFAULT_MS = 120000, // RFC 1122 4.2.3.5: at least 100 s
    DELAYED_ACK_DEFAULT_US = 40000,   // RFC 9293 3.8.6.3: below 500 ms; below a peer's smallest RTO
    RECEIVE_BUFFER_MIN = 4096,
    MTU_MIN = 576,
    MTU_MAX = 9216,
    TSO_MAX = 65000,      // below what the length field of IP says
    PORT_RETRY_US = 50,   // a port that was full has room again
    TIMERS_A_TURN = 1024, // timers that one call of net_advance moves or fires
    CONFLICT_INTERVAL_US = 10000000,
    DUPLICATE_PROBES_MAX = 10,
};

static void net_defaults(struct net_config *c)
{
    if (!c->connections_max)
        c->connections_max = CONNECTIONS_DEFAULT;
    if (!c->half_open_max)
        c->half_open_max = HALF_OPEN_DEFAULT;
    if (!c->time_wait_max)
        c->time_wait_max = TIME_WAIT_DEFAULT;
    if (!c->receive_buffer_max)
        c->receive_buffer_max = RECEIVE_BUFFER_DEFAULT;
    if (!c->send_buffer_max)
        c->send_buffer_max = SEND_BUFFER_DEFAULT;
    if (!c->receive_memory_max)
        c->receive_memory_max = RECEIVE_MEMORY_DEFAULT;
    if (!c->send_memory_max)
        c->send_memory_max = SEND_MEMORY_DEFAULT;
    if (!c->orphans_max)
        c->orphans_max = c->connections_max / 2 + 1;
    if (!c->user_timeout_ms)
        c->user_timeout_ms = USER_TIMEOUT_DEFAULT_MS;
    if (!c->delayed_ack_us)
        c->delayed_ack_us = DELAYED_ACK_DEFAULT_US;
}

static const char *net_refuse_address(const struct net_config *c, const struct net_address *a)
{
    if (a->family == 6) {
        if (a->prefix > 128)
            return "the prefix of an IPv6 address has at most 128 bits";
        if (c->mtu < IPV6_MTU_MIN)
            return "IPv6 needs an MTU of at least 1280";
        return ipv6_refuse(a->addr);
    }
    if (a->family != 4)
        return "an address must be an IPv4 or an IPv6 address";
    if (a->prefix > 32)
        return "the prefix of an IPv4 address has at most 32 bits";
    uint8_t first = a->addr[0];
    if (first == 0 || first == 127 || first >= 224)
        return "an address must be a unicast address, not 0/8, loopback, multicast or "
               "broadcast";
    return NULL;
}

static const char *net_refuse_addresses(const struct net_config *c)
{
    if (c->n_addresses == 0 || c->n_addresses > NET_ADDRESSES_MAX)
        return "the stack needs between 1 and 16 addresses";
    for (unsigned i = 0; i < c->n_addresses; i++) {
        const struct net_address *a = &c->addresses[i];
        const char *refused = net_refuse_address(c, a);
        if (refused)
            return refused;
        for (unsigned k = 0; k < i; k++)
            if (c->addresses[k].family == a->family &&
                memcmp(c->addresses[k].addr, a->addr, a->family == 4 ? 4 : 16) == 0)
                return "an address is given twice";
    }
    if (c->gateway.family != 0 && c->gateway.family != 4)
        return "the gateway must be an IPv4 address";
    if (c->gateway6.family != 0 &&
        (c->gateway6.family != 6 || ipv6_refuse(c->gateway6.addr) != NULL))
        return "the gateway of IPv6 must be a unicast IPv6 address";
    if (c->n_neighbours > NET_KNOWN_NEIGHBOURS_MAX)
        return "at most 16 neighbours can be given";
    for (unsigned i = 0; i < c->n_neighbours; i++)
        if (c->neighbours[i].mac[0] & 1)
            return "the hardware address of a neighbour must not be a group address";
    if (c->duplicate_probes > DUPLICATE_PROBES_MAX)
        return "at most 10 probes for a duplicate address";
    return NULL;
}

static const char *net_refuse(const struct net_config *c, const struct frame_pool *pool)
{
    const char *refused = net_refuse_addresses(c);
    if (refused)
        return refused;
    if (c->mac[0] & 1)
        return "the hardware address must not be a group address";
    if (c->mtu < MTU_MIN || c->mtu > MTU_MAX)
        return "the MTU must be between 576 and 9216";
    if (c->stacks > NET_STACKS_MAX || (c->stacks > 1 && c->stack >= c->stacks))
        return "at most 64 stacks can share an address";
    if (c->vlan > 4094)
        return "the VLAN must be below 4095";
    if (c->receive_buffer_max && c->receive_buffer_max < RECEIVE_BUFFER_MIN)
        return "the receive buffer must have at least 4096 bytes";
    if (pool->data_size < c->mtu + (uint32_t)ETHER_VLAN_HEADER)
        return "the port's frames are too small for the MTU: lower the MTU";
    return NULL;
}

struct net *net_create(const struct net_config *config, struct frame_pool *pool, uint64_t now_us,
                       char *error, size_t error_size)
{
    const char *refused = net_refuse(config, pool);
    if (refused) {
        snprintf(error, error_size, "%s", refused);
        return NULL;
    }
    struct net *net = mi_zalloc(sizeof(*net));
    if (!net) {
        snprintf(error, error_size, "no memory for the TCP/IP stack");
        return NULL;
    }
    net->config = *config;
    net_defaults(&net->config);
    net->pool = pool;
    net->now_us = now_us;
    net->mtu = config->mtu;
    if (config->offloads & NET_TX_TSO)
        net->tso_max = pool->data_size < TSO_MAX ? pool->data_size : TSO_MAX;
    uint32_t half = net->config.receive_buffer_max / 2, segments = 2u * net->mtu;
    net->window_step = segments < half ? segments : half;
    net->header_l2 = config->vlan ? ETHER_VLAN_HEADER : ETHER_HEADER;
    TAILQ_INIT(&net->ready);
    LIST_INIT(&net->turn);
    TAILQ_INIT(&net->held);
    TAILQ_INIT(&net->gone);
    TAILQ_INIT(&net->holders);
    TAILQ_INIT(&net->orphans);
    TAILQ_INIT(&net->waits);
    // One secret, a key of its own for each purpose.
    struct net_key key = net_key_load(config->secret), keys[10];
    for (uint64_t i = 0; i < 10; i++) {
        uint64_t words[2] = {2 * i, 2 * i + 1};
        keys[i].k0 = net_sip(key, &words[0], 1, 2, 4);
        keys[i].k1 = net_sip(key, &words[1], 1, 2, 4);
    }
    net->key_sequence = keys[1];
    net->key_ports = keys[2];
    net->key_stamps = keys[3];
    net->key_neighbours = keys[4];
    net->key_cookies = keys[5];
    net->key_challenges = keys[6];
    net->key_homes = keys[7];
    net->key_paths = keys[8];
    net->paths.look_us = UINT64_MAX;
    net->key_cookie_numbers = keys[9];
    net->random[0] = config->seed ^ 0x9e3779b97f4a7c15;
    net->random[1] = config->seed * 0xbf58476d1ce4e5b9 + 1;
    net_wheel_init(&net->wheel, now_us);
    ipv4_init(net);
    tcp_requests_init(net);
    if (!net_flows_init(&net->flows,
                        net->config.connections_max + net->config.time_wait_max +
                            tcp_requests_max(net),
                        keys[0]) ||
        !neighbours_init(net) || !ipv6_init(net) || !homes_init(net)) {
        snprintf(error, error_size, "no memory for the table of %u connections",
                 net->config.connections_max);
        refused = error;
    } else if (!neighbours_known(net)) {
        snprintf(error, error_size, "too many given neighbours: give fewer");
        refused = error;
    }
    if (refused) {
        homes_free(net);
        neighbours_free(net);
        ipv6_free(net);
        net_flows_free(&net->flows);
        mi_free(net);
        return NULL;
    }
    return net;
}

void net_destroy(struct net *net)
{
    if (!net)
        return;
    homes_free(net);
    tcp_free_all(net);
    pings_free(net);
    neighbours_free(net);
    ipv6_free(net);
    mi_free(net->paths.path);
    net_flows_free(&net->flows);
    for (uint32_t i = net->output_first; i < net->output_end; i++) {
        struct frame *f = net->output[i];
        if (!net->output_kept[i])
            net->pool->release(net->pool, &f, 1);
    }
    net_frames_flush(net);
    if (net->n_spare)
        net->pool->release(net->pool, net->spare, net->n_spare);
    mi_free(net->output);
    mi_free(net->output_kept);
    mi_free(net);
}

static void net_ipv4_input(struct net *net, struct frame *f, const uint8_t *ip, uint32_t len,
                           uint32_t hash)
{
    struct packet p;
    p.hash = hash;
    if (unlikely(!ipv4_check(net, f, ip, len, &p)))
        return;
    enum { UNREACHABLE_PROTOCOL = 2, UNREACHABLE_PORT = 3 };
    if (likely(ip[9] == PROTOCOL_TCP)) {
        tcp_input(net, &p);
    } else if (ip[9] == PROTOCOL_ICMP) {
        icmp_input(net, &p);
    } else {
        net->counters.ip_protocol++;
        icmp_unreachable(net, &p, ip[9] == PROTOCOL_UDP ? UNREACHABLE_PORT : UNREACHABLE_PROTOCOL);
    }
}

static void net_frame_input(struct net *net, struct frame *f, uint32_t hash)
{
    struct net_counters *count = &net->counters;
    const uint8_t *p = f->data;
    count->frames_in++;
    count->bytes_in += f->len;
    if (f->len < ETHER_HEADER) {
        count->drop_short++;
        return;
    }
    if (f->flags & FRAME_SUM_BAD) {
        count->ip_bad_sum++;
        return;
    }
    bool group = p[0] & 1;
    if (!group && memcmp(p, net->config.mac, 6) != 0) {
        count->drop_not_ours++;
        return;
    }
    uint32_t at = ETHER_HEADER;
    uint16_t type = load_be16(p + 12), vlan = 0;
    if (type == ETHERTYPE_VLAN) {
        if (f->len < ETHER_VLAN_HEADER) {
            count->drop_short++;
            return;
        }
        vlan = load_be16(p + 14) & 0xfff;
        type = load_be16(p + 16);
        at = ETHER_VLAN_HEADER;
    }
    // A port may have taken the tag off; tag 0 is a priority alone.
    if (vlan != net->config.vlan && !(vlan == 0 && at == ETHER_HEADER)) {
        if (vlan != 0 || net->config.vlan) {
            count->drop_vlan++;
            return;
        }
    }
    if (likely(type == ETHERTYPE_IPV4)) {
        if (group) {
            count->drop_not_ours++; // nothing of ours is spoken to many
            return;
        }
        net_ipv4_input(net, f, p + at, f->len - at, hash);
    } else if (type == ETHERTYPE_IPV6) {
        ipv6_input(net, f, p + at, f->len - at, hash);
    } else if (type == ETHERTYPE_ARP) {
        arp_input(net, p + at, f->len - at);
    } else {
        count->drop_ethertype++;
    }
}

// The hash of what looks like a plain TCP segment, 0 for anything else. Nothing is believed yet: it
// only tells what to fetch from memory.
static uint32_t net_peek_hash(const struct net *net, const struct frame *f)
{
    const uint8_t *p = f->data + net->header_l2;
    if (f->len < net->header_l2 + (uint32_t)IPV4_HEADER + 20)
        return 0;
    struct net_flow flow;
    uint32_t header = IPV4_HEADER;
    if (likely(p[0] == 0x45 && p[9] == PROTOCOL_TCP)) {
        flow = (struct net_flow){.remote = load_raw32(p + 12), .local = load_raw32(p + 16)};
    } else {
        header = IPV6_HEADER;
        if (f->len < net->header_l2 + header + 20 || p[0] >> 4 != 6 || p[6] != PROTOCOL_TCP)
            return 0;
        flow = net_flow_6((const struct net_pair6 *)(p + 8));
    }
    memcpy(&flow.remote_port, p + header, 2);
    memcpy(&flow.local_port, p + header + 2, 2);
    return net_flows_hash(&net->flows, &flow);
}

// Frames pass through a short pipeline: while one is taken, the connections of those behind it are
// on their way from memory, the table's slots of those behind these, and so on.
void net_input(struct net *net, struct frame **frames, unsigned n, uint64_t now_us)
{
    enum { AHEAD_CONNECTION = 3, AHEAD_SLOT = 6, AHEAD_FRAME = 9, RING = 16 };
    uint32_t hashes[RING] = {0};
    if (now_us > net->now_us)
        net->now_us = now_us;
    net->run = NULL;
    for (unsigned i = 0; i < n + AHEAD_FRAME; i++) {
        if (i < n)
            prefetch(frames[i]->data);
        unsigned k = i - (AHEAD_FRAME - AHEAD_SLOT);
        if (k < n) {
            uint32_t hash = net_peek_hash(net, frames[k]);
            hashes[k % RING] = hash;
            if (hash)
                net_flows_prefetch(&net->flows, hash);
        }
        k = i - (AHEAD_FRAME - AHEAD_CONNECTION);
        if (k < n && hashes[k % RING])
            net_flows_prefetch_entry(&net->flows, hashes[k % RING]);
        k = i - AHEAD_FRAME;
        if (k < n)
            net_frame_input(net, frames[k], hashes[k % RING]);
    }
}

void net_conflict(struct net *net, uint8_t family, const uint8_t *addr, const uint8_t mac[6],
                  bool lost)
{
    if (!net->config.conflict ||
        (net->conflict_us && !lost && net->now_us - net->conflict_us < CONFLICT_INTERVAL_US))
        return;
    net->conflict_us = net->now_us;
    struct net_address a = {.family = family, .prefix = family == 4 ? 32 : 128};
    memcpy(a.addr, addr, family == 4 ? 4 : 16);
    net->config.conflict(net->config.context, &a, mac, lost);
}

bool net_advance(struct net *net, uint64_t now_us)
{
    if (now_us > net->now_us)
        net->now_us = now_us;
    if (unlikely(net->paths.look_us <= net->now_us))
        net_paths_advance(net);
    return net_wheel_advance(&net->wheel, net->now_us, TIMERS_A_TURN, net);
}

uint64_t net_next_timer(const struct net *net)
{
    uint64_t next = net_wheel_next(&net->wheel);
    // What the port has not taken, or what waits for that, needs another turn soon.
    if (unlikely(net->output_end != net->output_first || !TAILQ_EMPTY(&net->held))) {
        uint64_t soon = net->now_us + (net->output_end != net->output_first ? PORT_RETRY_US : 0);
        next = soon < next ? soon : next;
    }
    return next;
}

void net_turn_end(struct net *net)
{
    tcp_turn_end(net);
    tcp_rx_free_spent(net);
    net_frames_flush(net);
}

const struct net_counters *net_counters(const struct net *net)
{
    return &net->counters;
}

unsigned net_connection_count(const struct net *net)
{
    return net->n_connections + net->n_requests;
}
