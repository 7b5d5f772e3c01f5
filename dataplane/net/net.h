// The userspace TCP/IP stack of one core: frames in, streams out; what streams write in, frames
// out. It calls no system call, reads no clock and shares nothing: bytes and the time are handed
// in, frames and events are taken out, so that it runs unchanged on a port, in the load generator
// and in a simulation. Ethernet (optional VLAN), ARP, IPv4, ICMP, IPv6 with neighbour discovery,
// ICMPv6, TCP (RFC 9293).
//
// A turn:   net_input(frames) ; net_ready() ; … streams are read and written … ; net_advance(now) ;
//           net_output() → the port ; net_turn_end() ; the received frames go back to the port.
//
// All times are microseconds of one monotonic clock. Functions are called by the owning core only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/frame.h"
#include "common/stream.h"
#include "dataplane/net/counters.h"

struct net;

#define NET_ADDRESSES_MAX 16
#define NET_KNOWN_NEIGHBOURS_MAX 16

struct net_address {
    uint8_t family;   // 4 or 6
    uint8_t prefix;   // length of the on-link prefix
    uint8_t addr[16]; // network byte order
};

// What the port does for us; where a flag is missing the stack does it in software.
enum net_offload {
    NET_TX_IP_SUM = 1u << 0,
    NET_TX_TCP_SUM = 1u << 1,
    NET_TX_TSO = 1u << 2,
    NET_TX_SCATTER = 1u << 3,
};

enum net_congestion { NET_CUBIC, NET_NEWRENO, NET_DCTCP };

// Stacks that share their addresses, one at each queue (homes.h).
#define NET_STACKS_MAX 64

// What a stack tells the others, since frames that teach come to one queue alone.
struct net_news {
    enum net_news_kind {
        NET_NEWS_NEIGHBOUR, // `addr` has the hardware address `mac`
        NET_NEWS_COOKIES,   // SYN cookies are under way, and may come back to any of us
        NET_NEWS_MTU,       // packets of `mtu` bytes are what passes to `addr` (RFC 8201)
    } kind;
    uint8_t family;
    uint8_t addr[16];
    uint8_t mac[6];
    bool create;   // worth knowing where it was not known: it asked for us
    bool answer;   // to what one of us asked
    bool override; // may change what is known
    uint16_t mtu;
};

// What stacks send each other. `frame` is the sender's and must be copied.
struct net_mail {
    enum net_mail_kind {
        NET_MAIL_ASK,  // who is home to this frame's flow?
        NET_MAIL_GIVE, // you are
        NET_MAIL_END,  // a flow that we are home to has ended
        NET_MAIL_NEWS,
        NET_MAIL_SHOW, // a frame that every stack has to see: IPv6 neighbour discovery
    } kind;
    unsigned from;  // number of the sending stack
    bool fresh;     // GIVE: the flow was registered for this frame
    uint64_t flow;  // GIVE, END: its keyed hash
    uint64_t taken; // END: how many were given to us
    struct frame *frame;
    struct net_news news;
};

struct net_config {
    uint8_t mac[6];
    uint16_t mtu;  // of IP, without Ethernet's header
    uint16_t vlan; // 0: untagged
    struct net_address addresses[NET_ADDRESSES_MAX];
    unsigned n_addresses;
    // Neighbours that are known once and for all: never asked for, and nobody can claim to be them.
    struct net_known_neighbour {
        struct net_address address;
        uint8_t mac[6];
    } neighbours[NET_KNOWN_NEIGHBOURS_MAX];
    unsigned n_neighbours;
    struct net_address gateway;  // for IPv4; family 0: none
    struct net_address gateway6; // for IPv6; family 0: whom routers' advertisements name
    uint8_t duplicate_probes;    // before an IPv6 address is used (RFC 4862); 0: used at once
    bool router_advertisements;  // heed them
    uint32_t offloads;           // enum net_offload
    bool trust_partial_sums;     // accept an L4 sum that equals the pseudo-header's (veth senders)

    // Bounds. 0 takes the default that net.c names with its reason.
    uint32_t connections_max;
    uint32_t half_open_max;
    uint32_t time_wait_max;
    uint32_t receive_buffer_max; // bytes per connection, unread and out of order
    uint32_t send_buffer_max;    // bytes in flight per connection
    uint64_t receive_memory_max; // bytes for all connections of this core
    uint64_t send_memory_max;    // the same for output that waits; stalled peers are reset
    uint32_t orphans_max;        // connections that their owner closed and the peer did not
    uint32_t user_timeout_ms;    // give up on unacknowledged data, RFC 5482
    uint32_t delayed_ack_us;
    enum net_congestion congestion; // of connections that begin, see net_set_congestion
    bool no_sack;                   // selective acknowledgements are neither offered nor agreed to
    // Keys sequence numbers, ports, cookies and tables; the same for all stacks that share
    // addresses.
    uint8_t secret[16];
    uint8_t stable_secret[16]; // the same at every start: keys the address of the link (RFC 7217)
    uint64_t seed;             // of the generator for everything random that needs no secret

    void *context; // of the functions below

    // Several stacks that share our addresses; this one's number. 0 or 1: there is no other, and
    // the two functions are not used.
    unsigned stacks, stack;
    // Where the frames of a flow should come, as far as anybody can tell: the same number below
    // `stacks` on all of them. Active opens choose their source ports by it.
    unsigned (*stack_of)(void *context, const struct endpoint *local,
                         const struct endpoint *remote);
    // Sends to another stack (its net_receive), in order. False: END may not be lost,
    // the others where there is no room.
    bool (*send)(void *context, unsigned to, const struct net_mail *mail);
    // Asked when a handshake ends, before the connection is made: may this peer connect? If not it
    // is reset. Bounds like `maxclients` are the owner's. NULL: always.
    bool (*admit)(void *context, const struct endpoint *remote);
    // Told, at most once in ten seconds, that `mac` claims an address of ours. `lost`: the address
    // was not used yet, and never will be. NULL: nobody wants to know.
    void (*conflict)(void *context, const struct net_address *address, const uint8_t mac[6],
                     bool lost);
};

// Creates a stack. `pool` gives the frames that it transmits. NULL when memory is short or the
// configuration makes no sense (`error` then holds one line for a person).
struct net *net_create(const struct net_config *config, struct frame_pool *pool, uint64_t now_us,
                       char *error, size_t error_size);
// Frees everything without sending anything; streams are gone.
void net_destroy(struct net *net);

// The algorithm of this name (cubic, newreno, dctcp), -1 when there is none.
int net_congestion_find(const char *name);
// Congestion control of connections that begin from now on; those there are keep theirs.
void net_set_congestion(struct net *net, enum net_congestion algorithm);

// Accepts connections to `port` on any of our addresses, at most `backlog` at once not yet seen by
// the owner, and as many half open; SYNs beyond are answered with cookies. -EADDRINUSE when
// something listens there.
int net_listen(struct net *net, uint16_t port, unsigned backlog);
// No further connections to `port`; those that are half open still come.
void net_unlisten(struct net *net, uint16_t port);
// Active open. The source port is drawn as RFC 6056 says. Returns the stream (STREAM_CONNECTED or
// STREAM_CLOSED follows) or NULL with a negative errno in *error: -EADDRNOTAVAIL when no source
// port is left for this destination, -ENETUNREACH without a route, -EAFNOSUPPORT, -EINVAL, -ENOMEM.
struct stream *net_connect(struct net *net, const struct endpoint *to, int *error);

// Takes frames that a port received; they stay the caller's and must live until `net_turn_end`.
void net_input(struct net *net, struct frame **frames, unsigned n, uint64_t now_us);
// Takes what another stack sent. Its frame must live until `net_turn_end`, too.
void net_receive(struct net *net, const struct net_mail *mail, uint64_t now_us);
// Flows that live at other stacks and are registered here.
unsigned net_registered(const struct net *net);
// Timers that are due: at most a bounded amount of work. Returns true if more is due at once.
bool net_advance(struct net *net, uint64_t now_us);
// When `net_advance` should be called at the latest (microseconds), UINT64_MAX for never.
uint64_t net_next_timer(const struct net *net);

// Another core learned that packets of `mtu` bytes are what passes to `addr`. `addr` has 16 bytes,
// IPv4 in the first four.
void net_learn_mtu(struct net *net, uint8_t family, const uint8_t addr[16], uint16_t mtu);

// Streams with events since the last call, each once. Returns how many were put into `ready`.
unsigned net_ready(struct net *net, struct stream **ready, unsigned max);

// Frames that wait to be transmitted, oldest first. The caller gives the first of them to the port
// and says with `net_sent` how many the port took; the others stay. Frames with FRAME_KEEP remain
// referenced by the stack.
unsigned net_output(struct net *net, struct frame ***frames);
void net_sent(struct net *net, unsigned n);

// Copies unread bytes that lie in received frames; after this the frames may go.
void net_turn_end(struct net *net);

const struct net_counters *net_counters(const struct net *net);
unsigned net_connection_count(const struct net *net);
// Calls `each` for every connection, TIME_WAIT and half-open ones included, from position *cursor
// on, until it returns false, for at most `max` of them and a bounded part of the table, perhaps
// for none; *cursor is 0 after the last. For operators: not on the hot path.
void net_each_connection(struct net *net, uint64_t *cursor, unsigned max,
                         bool (*each)(void *context, const struct stream_info *info),
                         void *context);
struct net_neighbour {
    uint8_t addr[16];
    uint8_t family;
    bool router; // says that it is one (IPv6)
    uint8_t mac[6];
    char state[12];  // REACHABLE, STALE, INCOMPLETE, PERMANENT …
    uint64_t age_us; // since it was learned or confirmed; never: since it was used
};
void net_each_neighbour(struct net *net,
                        void (*each)(void *context, const struct net_neighbour *neighbour),
                        void *context);
// Bytes of memory that connections take, buffers included.
uint64_t net_memory(const struct net *net);

// An echo that is asked of a host (`polluxctl ping`). `done` is called once, not before net_ping
// has returned, with what became of it.
#define NET_PINGS_MAX 16 // under way
struct net_ping_result {
    enum net_ping_outcome {
        NET_PING_REPLY,
        NET_PING_TIMED_OUT,
        NET_PING_UNRESOLVED, // `from`, the host or the gateway to it, has no hardware address
        NET_PING_ERROR,      // `from` says by ICMP that it did not arrive
    } outcome;
    uint16_t seq;
    uint64_t rtt_us;
    struct net_address from; // family 0: nobody
    uint8_t hops;            // REPLY: time to live, as it arrived
    uint32_t size;           // REPLY: bytes of payload
    bool damaged;            // REPLY: the payload is not what was sent
    uint8_t type, code;      // ERROR: of the ICMP message
    uint32_t mtu;            // ERROR: that it names
};
struct net_ping {
    struct net_address to; // its prefix does not matter
    uint32_t size;         // bytes of payload
    uint16_t seq;
    uint32_t timeout_us;
    void (*done)(void *context, const struct net_ping_result *result);
    void *context;
};
// 0, or a negative errno: no address of the family (EAFNOSUPPORT) or none that may be used yet
// (EADDRNOTAVAIL), no route (ENETUNREACH), nobody to ask (EINVAL), larger than the MTU (EMSGSIZE),
// too many at once (EBUSY), no frame (ENOBUFS) or memory (ENOMEM).
int net_ping(struct net *net, const struct net_ping *ping);
