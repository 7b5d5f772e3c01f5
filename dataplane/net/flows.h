// The connection table: open addressing over one array that is made once, at most half full, so
// that a look-up is one probe of one cache line nearly always and nothing is ever rehashed. A word
// holds the address of an entry and 16 bits of its hash: other entries are not touched on the way.
//
// Entries begin with `struct net_flow_entry`; connections, half-open ones and
// those in TIME_WAIT share the table.
//
// Both families share it too, and IPv4 pays for it with one comparison: a key is four words of
// IPv4 addresses and ports, and those of IPv6 hold folded addresses there and have the true ones
// beside, where only they look.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/prefetch.h"
#include "dataplane/net/hash.h"

// The addresses of an IPv6 connection, as they lie in the header of a packet that arrives.
struct net_pair6 {
    uint8_t remote[16], local[16];
};

// The two ends of a connection; addresses and ports in network byte order. `pair` NULL: IPv4.
struct net_flow {
    uint32_t local, remote; // IPv6: net_fold6 of the addresses
    uint16_t local_port, remote_port;
    const struct net_pair6 *pair; // not owned: in a packet, or behind an entry
};

enum net_flow_kind { NET_FLOW_CONNECTION, NET_FLOW_TIME_WAIT, NET_FLOW_REQUEST };

struct net_flow_entry {
    uint32_t local, remote;
    uint16_t local_port, remote_port;
    uint32_t hash;
    uint8_t kind;      // enum net_flow_kind
    uint8_t registrar; // homes.h: 1 + the stack that has it registered, 0: none
    uint16_t pair_at;  // IPv6: where its net_pair6 lies, in bytes from here; 0: IPv4
};
_Static_assert(sizeof(struct net_flow_entry) == 20, "shares a line with what segments touch");

struct net_flows {
    uint64_t *slots;
    uint64_t mask;
    struct net_key key;
    uint32_t count;
};

bool net_flows_init(struct net_flows *f, uint32_t entries_max, struct net_key key);
void net_flows_free(struct net_flows *f);
// `e` is filled in by net_flow_entry_set; the flow is not in the table; the caller keeps to
// entries_max.
void net_flows_add(struct net_flows *f, struct net_flow_entry *e);
void net_flows_remove(struct net_flows *f, struct net_flow_entry *e);
// The entry at `position` of the array or NULL; positions run up to `mask`.
struct net_flow_entry *net_flows_at(const struct net_flows *f, uint64_t position);

// An IPv6 address as one word: tells apart most addresses, not all.
static inline uint32_t net_fold6(const uint8_t addr[16])
{
    uint64_t w[2];
    memcpy(w, addr, sizeof(w));
    w[0] ^= w[1];
    return (uint32_t)(w[0] ^ w[0] >> 32);
}

static inline struct net_flow net_flow_of(const struct net_flow_entry *e)
{
    return (struct net_flow){
        .local = e->local,
        .remote = e->remote,
        .local_port = e->local_port,
        .remote_port = e->remote_port,
        .pair = e->pair_at ? (const struct net_pair6 *)((const char *)e + e->pair_at) : NULL};
}

// The flow of a pair of IPv6 addresses.
static inline struct net_flow net_flow_6(const struct net_pair6 *pair)
{
    return (struct net_flow){
        .local = net_fold6(pair->local), .remote = net_fold6(pair->remote), .pair = pair};
}

// How many bytes an entry needs behind its own struct.
static inline size_t net_flow_extra(const struct net_flow *flow)
{
    return flow->pair ? sizeof(struct net_pair6) : 0;
}

// Makes `e` the entry of `flow`; `behind` has net_flow_extra bytes and stays where it is.
static inline void net_flow_entry_set(struct net_flow_entry *e, const struct net_flow *flow,
                                      uint32_t hash, enum net_flow_kind kind,
                                      struct net_pair6 *behind)
{
    *e = (struct net_flow_entry){.local = flow->local,
                                 .remote = flow->remote,
                                 .local_port = flow->local_port,
                                 .remote_port = flow->remote_port,
                                 .hash = hash,
                                 .kind = (uint8_t)kind};
    if (!flow->pair)
        return;
    e->pair_at = (uint16_t)((const char *)behind - (const char *)e);
    *behind = *flow->pair;
}

// SipHash of all that makes a flow, with as many rounds as net_sip says.
static inline uint64_t net_flow_sip(struct net_key key, const struct net_flow *flow, int compress,
                                    int finish)
{
    uint64_t ports = (uint32_t)flow->remote_port << 16 | flow->local_port;
    if (__builtin_expect(flow->pair != NULL, 0)) {
        uint64_t words[5];
        memcpy(words, flow->pair, sizeof(*flow->pair));
        words[4] = 5ull << 56 | ports;
        return net_sip(key, words, 5, compress, finish);
    }
    uint64_t words[2] = {(uint64_t)flow->remote << 32 | flow->local, 2ull << 56 | ports};
    return net_sip(key, words, 2, compress, finish);
}

static inline uint32_t net_flows_hash(const struct net_flows *f, const struct net_flow *flow)
{
    return (uint32_t)net_flow_sip(f->key, flow, 1, 3);
}

static inline bool net_flow_equal(const struct net_flow_entry *e, const struct net_flow *flow)
{
    if (e->remote != flow->remote || e->remote_port != flow->remote_port ||
        e->local != flow->local || e->local_port != flow->local_port)
        return false;
    if (__builtin_expect(!e->pair_at && !flow->pair, 1))
        return true;
    return e->pair_at && flow->pair &&
           memcmp((const char *)e + e->pair_at, flow->pair, sizeof(*flow->pair)) == 0;
}

// A word of the array: the entry's address below this many bits (user addresses have 47), the upper
// half of its hash above, so that it says something that the position does not.
enum { NET_FLOW_TAG_SHIFT = 48 };

static inline struct net_flow_entry *net_flows_entry(uint64_t word)
{
    return (struct net_flow_entry *)(uintptr_t)(word & ((1ull << NET_FLOW_TAG_SHIFT) - 1));
}

static inline struct net_flow_entry *net_flows_find(const struct net_flows *f,
                                                    const struct net_flow *flow, uint32_t hash)
{
    for (uint64_t i = hash & f->mask;; i = (i + 1) & f->mask) {
        uint64_t word = f->slots[i];
        if (!word)
            return NULL;
        if (word >> NET_FLOW_TAG_SHIFT == hash >> 16) {
            struct net_flow_entry *e = net_flows_entry(word);
            if (net_flow_equal(e, flow))
                return e;
        }
    }
}

static inline void net_flows_prefetch(const struct net_flows *f, uint32_t hash)
{
    prefetch(&f->slots[hash & f->mask]);
}

// Cache lines of a connection that segments touch.
#define NET_FLOW_HOT_LINES 8

// Fetches the entry that stands at the hash's own place, most likely the one: its hot lines.
static inline void net_flows_prefetch_entry(const struct net_flows *f, uint32_t hash)
{
    const char *entry = (const char *)net_flows_entry(f->slots[hash & f->mask]);
    if (!entry)
        return;
    // An entry lies in its connection's second line; the first is the stream that its owner reads.
    for (int line = -1; line < NET_FLOW_HOT_LINES - 1; line++)
        prefetch(entry + line * 64);
}
