// What the files of IPv6 share: our addresses and how sure we are of them, the routers and prefixes
// that advertisements name, and sending to groups.
#pragma once

#include "dataplane/net/internal.h"

#define IPV6_ADDRESSES_MAX \
    (NET_ADDRESSES_MAX + 1) // with one of the link that is made if none is given
#define IPV6_ROUTERS_MAX 8
#define IPV6_PREFIXES_MAX 16

enum ipv6_address_state {
    IPV6_TENTATIVE, // duplicate address detection is under way: nothing but that uses it
    IPV6_VALID,
    IPV6_DUPLICATE, // somebody else has it; never used
};

struct ipv6_address {
    uint8_t addr[16];
    uint8_t prefix;
    uint8_t state;       // enum ipv6_address_state
    uint8_t probes_left; // of duplicate address detection
    uint8_t attempt;     // a made address: how many before it were duplicates
    bool made;           // an address of the link that the stack made itself
    uint64_t due_us;     // the next step of its life, 0: none
};

struct ipv6_router {
    struct net_ip addr;
    uint64_t until_us;
    int8_t preference; // RFC 4191: -1, 0, 1
};

struct ipv6_prefix {
    uint8_t addr[16];
    uint8_t length;
    uint64_t until_us;
};

struct ipv6 {
    unsigned n_addresses, n_routers, n_prefixes;
    struct ipv6_address addresses[IPV6_ADDRESSES_MAX];
    struct ipv6_router routers[IPV6_ROUTERS_MAX];
    struct ipv6_prefix prefixes[IPV6_PREFIXES_MAX]; // on the link, as advertised
    bool has_gateway;                               // of the configuration: routers do not count
    struct net_ip gateway;
    uint8_t hop_limit;
    uint32_t reachable_base_us, retrans_us;
    // Router solicitations, RFC 7559; listener reports, RFC 3810.
    uint64_t solicit_at_us, solicit_interval_us;
    uint64_t report_at_us, old_querier_until_us;
    uint8_t reports_left;
    uint64_t nonce; // of our own probes for duplicates, RFC 7527
    struct net_timer timer;
    struct net_limiter answers;
};

// --- ipv6.c
// --------------------------------------------------------------------------------------

static inline bool ipv6_equal(const uint8_t a[16], const uint8_t b[16])
{
    return memcmp(a, b, 16) == 0;
}
static inline bool ipv6_is_group(const uint8_t a[16])
{
    return a[0] == 0xff;
}
static inline bool ipv6_is_link_local(const uint8_t a[16])
{
    return a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
}
bool ipv6_is_unspecified(const uint8_t a[16]);
bool ipv6_prefix_equal(const uint8_t a[16], const uint8_t b[16], unsigned bits);
// Why an address cannot be one of ours, NULL when it can.
const char *ipv6_refuse(const uint8_t a[16]);

// Makes the IPv6 part of a stack; false without memory. Without IPv6 addresses there is none.
bool ipv6_init(struct net *net);
void ipv6_free(struct net *net);
// Ours in any state, or NULL.
struct ipv6_address *ipv6_ours(struct ipv6 *ip6, const uint8_t addr[16]);
bool ipv6_is_on_link(const struct net *net, const uint8_t addr[16]);
// Our address to speak from to `dst` (RFC 6724 5, as far as it applies), valid ones before those
// that are tentative still; NULL: none.
const struct ipv6_address *ipv6_source(const struct net *net, const uint8_t dst[16]);
// Is there a router beside `n`, which does not answer?
bool ipv6_other_way(const struct net *net, const struct neighbour *n);
// Sends a complete packet to everyone who listens to the group that its header names.
void ipv6_send_group(struct net *net, struct frame *f);
// The group that a node with this address listens to (RFC 4291 2.7.1).
void ipv6_solicited_group(const uint8_t addr[16], uint8_t group[16]);
extern const uint8_t ipv6_all_nodes[16], ipv6_all_routers[16], ipv6_unspecified[16];

// A received packet and what its extension headers said.
struct packet6 {
    struct packet packet;
    uint32_t next_at; // where the number of the upper protocol stands, from the IPv6 header on
    uint8_t protocol, hop_limit;
    bool fragmented; // had a fragment header, if only for one whole piece (RFC 6946)
    bool alert;      // asked routers to look (RFC 2711)
    bool to_group;
};

// --- ipv6_headers.c
// ------------------------------------------------------------------------------

// Walks the extension headers up to the upper protocol. False: dropped, counted, answered.
bool ipv6_headers(struct net *net, struct packet6 *p);

// --- icmpv6.c
// ------------------------------------------------------------------------------------

enum {
    ICMPV6_UNREACHABLE = 1,
    ICMPV6_TOO_BIG = 2,
    ICMPV6_TIME_EXCEEDED = 3,
    ICMPV6_PARAMETER = 4,
    ICMPV6_ECHO = 128,
    ICMPV6_ECHO_REPLY = 129,
    MLD_QUERY = 130,
    MLD_REPORT = 131,
    ND_ROUTER_SOLICITATION = 133,
    ND_ROUTER_ADVERTISEMENT = 134,
    ND_NEIGHBOUR_SOLICITATION = 135,
    ND_NEIGHBOUR_ADVERTISEMENT = 136,
    ND_REDIRECT = 137,
    MLD2_REPORT = 143,
    ICMPV6_HEADER = 8,
};
enum { PARAMETER_FIELD = 0, PARAMETER_NEXT_HEADER = 1, PARAMETER_OPTION = 2, PARAMETER_CHAIN = 3 };
enum { UNREACHABLE_PORT_6 = 4 };

void icmpv6_input(struct net *net, const struct packet6 *p);
// Answers `p` with an error (RFC 4443 2.4), rate-limited. `word`: the four bytes behind the sum.
void icmpv6_error(struct net *net, const struct packet6 *p, uint8_t type, uint8_t code,
                  uint32_t word);
// Where a message is written in a frame.
static inline uint8_t *icmpv6_body(const struct net *net, struct frame *f)
{
    return f->data + net->header_l2 + IPV6_HEADER;
}
// Sums, addresses and sends the `len` bytes of ICMPv6 at icmpv6_body.
void icmpv6_send(struct net *net, struct frame *f, const uint8_t src[16], const uint8_t dst[16],
                 uint8_t hop_limit, uint32_t len);

// --- nd.c, nd_router.c, mld.c
// -----------------------------------------------------------------------------

enum {
    ND_HOP_LIMIT = 255, // a packet with less came from beyond the link (RFC 4861 7.1)
    ND_OPTION_SOURCE = 1,
    ND_OPTION_TARGET = 2,
    ND_OPTION_PREFIX = 3,
    ND_OPTION_MTU = 5,
    ND_OPTION_NONCE = 14,
    ND_LINK_OPTION = 8, // bytes of an option with a hardware address
};

void nd_init(struct net *net);
void nd_input(struct net *net, const struct packet6 *p);
// Asks for the hardware address of `target`: everyone, or with `to` the neighbour itself. False
// when we have no address to ask from.
bool nd_solicit(struct net *net, const uint8_t target[16], const uint8_t *to);
// The first option of this type in what follows a message, NULL: none. The options are well formed.
const uint8_t *nd_option(const uint8_t *options, uint32_t len, uint8_t type);
uint8_t *nd_put_mac(uint8_t *p, uint8_t option, const uint8_t mac[6]);
// Starts the timer that serves addresses, routers and reports for the next of what is due.
void nd_arm(struct net *net);

void nd_advertisement(struct net *net, const struct packet6 *p, const uint8_t *options,
                      uint32_t len);
void nd_routers_init(struct net *net);
// What is due: a solicitation, a router whose time is over.
void nd_routers_advance(struct net *net);
uint64_t nd_routers_next(const struct net *net);
// A neighbour says that it is no router any more.
void nd_router_gone(struct net *net, struct net_ip addr);

void mld_input(struct net *net, const struct packet6 *p);
// Tells switches and routers which groups we listen to, now and once more.
void mld_join(struct net *net);
void mld_advance(struct net *net);
uint64_t mld_next(const struct net *net);
