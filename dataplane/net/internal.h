// What the files of the stack share: the stack itself, formats of packets, and the way a frame
// takes inside. Addresses and ports are in network byte order unless a name says otherwise.
#pragma once

#include <string.h>
#include <sys/queue.h>

#include "dataplane/net/checksum.h"
#include "dataplane/net/flows.h"
#include "dataplane/net/net.h"
#include "dataplane/net/path.h"
#include "dataplane/net/wheel.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_ARP = 0x0806,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_IPV6 = 0x86dd,
    ETHER_HEADER = 14,
    ETHER_VLAN_HEADER = 18,
    IPV4_HEADER = 20,
    IPV4_DEFAULT_TTL = 64,
    IPV4_DONT_FRAGMENT = 0x4000,
    IPV6_HEADER = 40,
    IPV6_MTU_MIN = 1280,
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_ICMPV6 = 58,
};

// Frames taken from the pool in one call; of these the last NET_FRAMES_RESERVED are for what keeps
// connections alive (ACK, RST, ARP, retransmissions), never for new data.
#define NET_FRAMES_SPARE 32
#define NET_FRAMES_RESERVED 8
#define NET_FRAMES_DROPPED 64

// The output array grows up to this many frames; a port that takes none for so long loses frames,
// which retransmission brings back.
#define NET_OUTPUT_MAX 8192
// With so many frames waiting for the port, new data stays on the heap: what lies in frames for
// long is cold when the port takes it, and acknowledgements would wait behind it.
#define NET_OUTPUT_HIGH 128
// A connection none of whose frames waits may still add one up to here: a lone reply does not queue
// behind bulk senders. The rest of the output is for what carries no new data.
#define NET_OUTPUT_MOST 2048
// What a connection sends in its turn while others wait for the port too.
#define NET_OUTPUT_QUANTUM 65536

// Neighbours: sets of ways, so that one look-up is one set and a crowd of addresses is bounded.
#define NET_NEIGHBOUR_WAYS 4
#define NET_NEIGHBOUR_SETS 256
#define NET_NEIGHBOUR_WAITING 4       // frames that wait for one address
#define NET_NEIGHBOUR_WAITING_ALL 256 // and for all, so that they cannot empty the pool

// The states of RFC 4861 7.3.2, for ARP as well. From REACHABLE on there is a hardware address and
// frames go to it.
enum neighbour_state {
    NEIGHBOUR_FREE,
    NEIGHBOUR_INCOMPLETE, // asked, no answer yet
    NEIGHBOUR_FAILED,     // did not answer; `fresh_until_us`: not asked again before
    NEIGHBOUR_REACHABLE,  // heard from; stale once `fresh_until_us` is over
    NEIGHBOUR_STALE,      // known and not confirmed; the next use watches it
    NEIGHBOUR_DELAY,      // in use: what connections hear may confirm it
    NEIGHBOUR_PROBE,      // in use, nothing was heard: asked directly
    NEIGHBOUR_PERMANENT,  // given by the configuration
};

// An address of either family; IPv4 as an IPv4-mapped address (RFC 4291 2.5.5.2), which no packet
// may carry.
struct net_ip {
    uint64_t w[2]; // network byte order
};

struct neighbour {
    struct net_timer timer;
    uint64_t fresh_until_us;
    uint32_t generation; // changes when whoever uses it has to look up the route again
    uint8_t state;       // enum neighbour_state
    uint8_t tries, waiting_count;
    bool v6;
    uint8_t header[ETHER_VLAN_HEADER]; // Ethernet header of frames to it
    bool router;                       // says that it is one
    struct net_ip addr;
    uint64_t used_us, learned_us; // sent to; hardware address learned or confirmed
    struct frame *waiting[NET_NEIGHBOUR_WAITING];
};

// What the stack notes in a frame that it transmits (struct frame's `stack`).
struct frame_note {
    uint32_t seq, len; // of the payload
    uint64_t sent_us;  // when it was sent last
    uint32_t transmissions;
    uint32_t reserved;
    uint64_t output_place; // 1 + index in the output array, 0: not in it
};
_Static_assert(sizeof(struct frame_note) == sizeof(((struct frame *)0)->stack), "fills `stack`");

// Tokens that refill with time: bounds what strangers can make us send.
struct net_limiter {
    uint64_t last_us;
    uint32_t tokens;
};

struct net_homes;
struct net_pings;
struct tcp;
struct tcp_wait;
struct tcp_request;
struct tcp_listener;
struct rx_chunk;

struct ipv6;

// One of our IPv4 addresses.
struct ipv4_address {
    uint32_t addr, mask;
    uint8_t prefix;
};

#define NET_LISTENERS_MAX 16

#define NET_PORT_COUNTERS 1024 // RFC 6056 3.3.4 suggests as many

// A SYN-ACK is repeated up to this many times: after 1, 2, 4 and 8 s, half a minute in all.
#define TCP_SYN_ACK_TRIES 4

// Half-open connections that were answered equally often, in the order of their next time.
struct tcp_request_queue {
    TAILQ_HEAD(tcp_request_list, tcp_request) list;
    struct net_timer timer;
};

struct net {
    uint64_t now_us;
    struct frame_pool *pool;
    uint32_t header_l2; // 14, or 18 with a VLAN tag
    uint16_t mtu;
    uint16_t path_generation; // counts changes of `paths`
    // Receiver's silly window avoidance (RFC 9293 3.8.6.2.2): the right edge of a window moves in
    // steps worth having.
    uint32_t window_step;
    uint32_t tso_max; // bytes of a frame, headers included, that the port cuts into segments; 0: it
                      // cannot
    struct net_flows flows;
    struct net_counters counters;

    TAILQ_HEAD(net_ready_list, tcp) ready; // connections with events
    LIST_HEAD(net_turn_list, tcp) turn;    // connections that received or freed space in this turn
    struct tcp *run;                       // took the segment before, in the same burst; NULL: none
    uint32_t run_hash;                     // of its flow
    TAILQ_HEAD(net_held_list, tcp) held;   // connections with data that waits for the port

    struct frame **output;
    uint8_t *output_kept; // the frame at this place has FRAME_KEEP
    uint32_t output_first, output_end, output_size;
    struct frame *spare[NET_FRAMES_SPARE];
    struct frame *dropped[NET_FRAMES_DROPPED];
    unsigned n_spare, n_dropped;

    uint64_t rx_memory;          // heap bytes of received data
    uint64_t rx_turn;            // bytes accepted in this turn that may have to be copied
    uint64_t tx_memory;          // heap bytes of output not yet in frames
    bool rx_short, frames_short; // something was refused for want of these
    struct rx_chunk *free_pieces;
    struct rx_chunk *rx_spent; // read to the end this turn: its reader may still look at the bytes

    struct net_key key_sequence, key_ports, key_stamps, key_cookies, key_cookie_numbers,
        key_challenges, key_homes, key_paths;
    struct net_homes *homes; // NULL: one stack
    struct net_pings *pings; // NULL: none was ever asked for
    struct net_paths paths;
    uint64_t random[2];
    struct net_config config;
    struct net_limiter icmp_limiter, reset_limiter, answer_limiter, repeat_limiter,
        neighbour_limiter;
    uint64_t challenge_second; // of this second's challenge ACKs so many are left
    uint32_t challenges_left;

    struct ipv4_address ip4[NET_ADDRESSES_MAX];
    unsigned n_ip4;
    uint32_t gateway4;        // 0: none
    struct ipv6 *ip6;         // NULL without an IPv6 address
    uint16_t mtu6;            // what the link carries, as far as a router says less than the port
    uint64_t conflict_us;     // when the last was told
    uint64_t reachable_us[2]; // of IPv4 and IPv6 neighbours, drawn anew now and then

    struct tcp_listener *listeners[NET_LISTENERS_MAX];
    unsigned n_listeners;
    struct tcp_request_queue requests[TCP_SYN_ACK_TRIES + 1]; // half open, by tries
    uint64_t cookies_until_us; // until then acknowledgements may bring cookies back
    uint64_t cookies_tell_us;  // when other stacks are told next that cookies are under way
    TAILQ_HEAD(net_holders_list, tcp) holders;  // of memory that their peers do not take
    TAILQ_HEAD(net_orphans_list, tcp) orphans;  // closed by their owners, oldest first
    TAILQ_HEAD(net_gone_list, tcp) gone;        // closed, waiting for the owner to release them
    TAILQ_HEAD(net_waits_list, tcp_wait) waits; // TIME_WAIT, oldest first
    uint32_t n_requests, n_waits, n_connections, n_gone, n_orphans;
    uint32_t port_counters[NET_PORT_COUNTERS]; // by a hash of the destination
    // No port was found for this destination: not looked for again before this.
    uint64_t port_exhausted; // its keyed hash
    uint64_t port_exhausted_until_us;

    uint32_t n_waiting_frames, n_neighbours, sweep_at;
    struct net_timer sweep;
    struct neighbour *neighbours;
    struct net_key key_neighbours;
    struct net_wheel wheel;
};

static inline uint16_t load_be16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return __builtin_bswap16(v);
}
static inline uint32_t load_be32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}
static inline void store_be16(void *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, 2);
}
static inline void store_be32(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}
// Network byte order as it lies.
static inline uint32_t load_raw32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static inline void store_raw32(void *p, uint32_t v)
{
    memcpy(p, &v, 4);
}

static inline struct frame_note *frame_note(struct frame *f)
{
    return (struct frame_note *)f->stack;
}

// --- frames (output.c) --------------------------------------------------------------------------

// A fresh frame, or NULL (counted). `vital`: may take from the reserve.
struct frame *net_frame_new(struct net *net, bool vital);
// Drops the stack's reference; if the frame still waits in the output it goes out once and is the
// port's alone.
void net_frame_drop(struct net *net, struct frame *f);
// Puts a finished frame at the end of the output. A frame without FRAME_KEEP that finds no room is
// dropped.
void net_frame_send(struct net *net, struct frame *f);
void net_frames_flush(struct net *net); // gives dropped frames back to the pool
// The port has not taken so much that more data had better wait.
static inline bool net_output_full(const struct net *net)
{
    return net->output_end - net->output_first >= NET_OUTPUT_HIGH;
}
uint64_t net_random(struct net *net);
// Somebody else has an address of ours.
void net_conflict(struct net *net, uint8_t family, const uint8_t *addr, const uint8_t mac[6],
                  bool lost);
// True when one more may be sent: at most `burst` at once, `per_second` in the long run.
bool net_limiter_take(struct net *net, struct net_limiter *l, uint32_t per_second, uint32_t burst);

// --- neighbours (neighbour.c, arp.c) -------------------------------------------------------------

static inline struct net_ip net_ip4(uint32_t addr)
{
    return (struct net_ip){{0, (uint64_t)addr << 32 | 0xffff0000}};
}
static inline struct net_ip net_ip6(const uint8_t addr[16])
{
    struct net_ip ip;
    memcpy(&ip, addr, sizeof(ip));
    return ip;
}
static inline bool net_ip_is_v6(struct net_ip ip)
{
    return ip.w[0] != 0 || (uint32_t)ip.w[1] != 0xffff0000;
}

// How long a neighbour counts as reachable, and how long an answer may take, unless a router says
// otherwise (RFC 4861 10).
#define NEIGHBOUR_REACHABLE_US 30000000u
#define NEIGHBOUR_RETRANS_US 1000000u

bool neighbours_init(struct net *net);
void neighbours_free(struct net *net);
// Makes those that the configuration names; false when too many fall into one set.
bool neighbours_known(struct net *net);
// The neighbour with this address; made (and asked for) when unknown. NULL when its set is full of
// neighbours that are in use.
struct neighbour *neighbour_get(struct net *net, struct net_ip addr);
struct neighbour *neighbour_find(struct net *net, struct net_ip addr);

enum neighbour_news {
    NEIGHBOUR_CREATE = 1u << 0,    // also when the address was not known
    NEIGHBOUR_SOLICITED = 1u << 1, // says that it answers; believed when we have asked
    NEIGHBOUR_OVERRIDE = 1u << 2,  // another hardware address may take the place of the known one
};
// Takes what a packet says about a neighbour; `mac` NULL: nothing about its hardware address.
// Returns the neighbour, NULL when it is not (and was not to be) known.
struct neighbour *neighbour_learn(struct net *net, struct net_ip addr, const uint8_t *mac,
                                  unsigned news);
// What a packet or another stack says of a neighbour, by the same rules for both. True when it
// changed the table.
bool neighbour_hear(struct net *net, const struct net_news *news);
// Watches over a neighbour that is used and not known to be reachable. Called on use.
void neighbour_refresh(struct net *net, struct neighbour *n);
// Keeps a frame until the address is resolved; the oldest goes when there are too many.
void neighbour_wait(struct net *net, struct neighbour *n, struct frame *f);
// An address of ours may be used from now on: who waits for an answer is asked at once.
void neighbours_retry(struct net *net);
// Draws the time for which a neighbour counts as reachable (RFC 4861 6.3.2).
void neighbour_draw_reachable(struct net *net, bool v6, uint64_t base_us);
static inline bool neighbour_usable(const struct neighbour *n)
{
    return n->state >= NEIGHBOUR_REACHABLE;
}
// The upper layer heard from it: it is reachable.
static inline void neighbour_confirm(struct net *net, struct neighbour *n)
{
    if (likely(neighbour_usable(n)))
        n->fresh_until_us = net->now_us + net->reachable_us[n->v6];
}

void arp_input(struct net *net, const uint8_t *packet, uint32_t len);
// Asks for `addr`; `to` NULL broadcasts.
void arp_request(struct net *net, uint32_t addr, const uint8_t *to);

// --- IP (ipv4.c, ipv6.c) -------------------------------------------------------------------------

// The lower two bits of the traffic class (RFC 3168).
enum ip_ecn { IP_NOT_ECT = 0, IP_ECT1 = 1, IP_ECT0 = 2, IP_CE = 3, IP_ECN_MASK = 3 };

// A received packet. `l4` and `l4_len` are what the IP header says, within the frame.
struct packet {
    struct frame *frame;
    const uint8_t *ip;
    const uint8_t *l4;
    uint32_t l4_len;
    uint32_t src, dst;            // IPv6: net_fold6 of the addresses
    const struct net_pair6 *pair; // IPv6: the addresses, in the frame; NULL: IPv4
    uint32_t hash;                // of the flow, 0: not computed yet
    uint8_t traffic_class;        // DSCP and, in the lower two bits, ECN
};

// Checks an IPv4 packet; false: dropped and counted.
bool ipv4_check(struct net *net, struct frame *f, const uint8_t *ip, uint32_t len,
                struct packet *p);
// Takes the addresses of the configuration into use.
void ipv4_init(struct net *net);
bool ipv4_is_ours(const struct net *net, uint32_t addr);
bool ipv4_is_on_link(const struct net *net, uint32_t addr);
// The neighbour that packets to `dst` go through, NULL without a route (or a place for it).
struct neighbour *ipv4_route(struct net *net, uint32_t dst);
// Our address that is used towards `dst`; 0 when there is none.
uint32_t ipv4_source(const struct net *net, uint32_t dst);
// Writes the IPv4 header for `payload` bytes at f->data + L2 and completes the frame's lengths.
static inline void ipv4_write(struct net *net, struct frame *f, uint32_t src, uint32_t dst,
                              uint8_t protocol, uint8_t traffic_class, uint32_t payload)
{
    uint8_t *ip = f->data + net->header_l2;
    // Whole words, of which the checksum is made before they go to memory.
    uint32_t w0 = __builtin_bswap32(0x45000000u | (uint32_t)traffic_class << 16 |
                                    (IPV4_HEADER + payload)),
             // Never in fragments, so that no identification is needed (RFC 6864 4.1): a counter
             // would tell strangers how much we send (idle scans).
        w1 = __builtin_bswap32(IPV4_DONT_FRAGMENT),
             w2 = __builtin_bswap32((uint32_t)IPV4_DEFAULT_TTL << 24 | (uint32_t)protocol << 16);
    if (net->config.offloads & NET_TX_IP_SUM) {
        f->flags |= FRAME_TX_IP_SUM;
    } else {
        uint16_t sum = (uint16_t)~net_sum_fold((uint64_t)w0 + w1 + w2 + src + dst);
        w2 |= (uint32_t)sum << 16;
    }
    store_raw32(ip, w0);
    store_raw32(ip + 4, w1);
    store_raw32(ip + 8, w2);
    store_raw32(ip + 12, src);
    store_raw32(ip + 16, dst);
    f->l2_len = (uint16_t)net->header_l2;
    f->l3_len = IPV4_HEADER;
    f->len = net->header_l2 + IPV4_HEADER + payload;
}
// Sends a complete frame through `n`; without one (NULL: no route) it is dropped.
void net_send_to(struct net *net, struct neighbour *n, struct frame *f);

// The same for IPv6 (ipv6.h has the rest).
void ipv6_write(struct net *net, struct frame *f, const uint8_t src[16], const uint8_t dst[16],
                uint8_t protocol, uint8_t traffic_class, uint32_t payload);
struct neighbour *ipv6_route(struct net *net, const uint8_t dst[16]);
// Fills in the addresses of a connection that we open to `to`, `pair` being those of IPv6; its
// source may be used from *ready_us on. Returns 0 or a negative errno.
int ipv4_connect(struct net *net, const uint8_t to[4], struct net_flow *flow);
int ipv6_connect(struct net *net, const uint8_t to[16], struct net_flow *flow,
                 struct net_pair6 *pair, uint64_t *ready_us);
// When our address may be used at the earliest: now or before, later, or UINT64_MAX for never.
uint64_t ipv6_source_ready(const struct net *net, const uint8_t local[16]);
void ipv6_input(struct net *net, struct frame *f, const uint8_t *ip, uint32_t len, uint32_t hash);

// --- either family: what TCP needs to know of IP
// ---------------------------------------------------

static inline uint32_t net_l3_header(const struct net_flow *flow)
{
    return flow->pair ? IPV6_HEADER : IPV4_HEADER;
}

// The flow that a TCP segment belongs to; it lives as long as the packet's frame.
static inline struct net_flow packet_flow(const struct packet *p)
{
    struct net_flow flow = {.local = p->dst, .remote = p->src, .pair = p->pair};
    memcpy(&flow.remote_port, p->l4, 2);
    memcpy(&flow.local_port, p->l4 + 2, 2);
    return flow;
}

// The sum of the pseudo-header, below 2^34; the same in both directions.
static inline uint64_t net_pseudo_sum(const struct net_flow *flow, uint8_t protocol, uint32_t len)
{
    uint64_t rest = (uint64_t)__builtin_bswap16((uint16_t)len) << 16 | (uint32_t)protocol << 8;
    if (likely(!flow->pair))
        return (uint64_t)flow->local + flow->remote + rest;
    uint64_t w[4];
    memcpy(w, flow->pair, sizeof(w));
    return net_sum_fold(net_sum_add(net_sum_add(w[0], w[1]), net_sum_add(w[2], w[3]))) + rest;
}

// Writes the IP header from our end of `flow` to the other, and completes the frame's lengths.
static inline void net_l3_write(struct net *net, struct frame *f, const struct net_flow *flow,
                                uint8_t protocol, uint8_t traffic_class, uint32_t payload)
{
    if (likely(!flow->pair))
        ipv4_write(net, f, flow->local, flow->remote, protocol, traffic_class, payload);
    else
        ipv6_write(net, f, flow->pair->local, flow->pair->remote, protocol, traffic_class, payload);
}

// The neighbour that packets of `flow` go through, NULL without a route (or a place for it).
static inline struct neighbour *net_route(struct net *net, const struct net_flow *flow)
{
    return likely(!flow->pair) ? ipv4_route(net, flow->remote)
                               : ipv6_route(net, flow->pair->remote);
}

// The largest IP packet that the link carries for `flow`.
static inline uint32_t net_link_mtu(const struct net *net, const struct net_flow *flow)
{
    return likely(!flow->pair) ? net->mtu : net->mtu6;
}

static inline void net_flow_endpoints(const struct net_flow *flow, struct endpoint *local,
                                      struct endpoint *remote)
{
    *local = (struct endpoint){.family = flow->pair ? 6 : 4,
                               .port = __builtin_bswap16(flow->local_port)};
    *remote =
        (struct endpoint){.family = local->family, .port = __builtin_bswap16(flow->remote_port)};
    memcpy(local->addr, flow->pair ? flow->pair->local : (const uint8_t *)&flow->local,
           flow->pair ? 16 : 4);
    memcpy(remote->addr, flow->pair ? flow->pair->remote : (const uint8_t *)&flow->remote,
           flow->pair ? 16 : 4);
}

// --- ICMP (icmp.c) -------------------------------------------------------------------------------

void icmp_input(struct net *net, const struct packet *p);
// Answers `p` with destination unreachable (RFC 1122 3.2.2), rate-limited.
void icmp_unreachable(struct net *net, const struct packet *p, uint8_t code);

// --- TCP (tcp*.c)
// -----------------------------------------------------------------------------------

void tcp_input(struct net *net, const struct packet *p);
// ICMP says that a segment of ours did not arrive: `flow` as we see it, `seq` its sequence number.
void tcp_unreachable(struct net *net, const struct net_flow *flow, uint32_t seq, uint8_t code);
// A router says that our segment `seq` of `flow` was larger than the `mtu` bytes of IP packet that
// the next link carries; 0: it does not say how many (RFC 1191 5).
void tcp_packet_too_big(struct net *net, const struct net_flow *flow, uint32_t seq, uint32_t mtu);
void tcp_turn_flush(struct net *net); // acknowledgements that found no reply to travel with
void tcp_turn_end(struct net *net);
void tcp_output_held(struct net *net); // data that waited for the port
void tcp_free_all(struct net *net);
void tcp_shed(struct net *net); // resets who holds most of what is short
static inline bool tcp_shed_wanted(const struct net *net)
{
    return net->tx_memory > net->config.send_memory_max || net->rx_short || net->frames_short;
}
