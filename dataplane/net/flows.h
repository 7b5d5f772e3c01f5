// The connection table: open addressing over one array that is made once, at most half full, so
// that a look-up is one probe of one cache line nearly always and nothing is ever rehashed. A word
// holds the address of an entry and 16 bits of its hash: other entries are not touched on the way.
//
// Entries begin with `struct net_flow_entry`; connections and those in TIME_WAIT share the table.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/prefetch.h"
#include "dataplane/net/hash.h"

// The two ends of an IPv4 connection; addresses and ports in network byte order.
struct net_flow {
    uint32_t local, remote;
    uint16_t local_port, remote_port;
};

enum net_flow_kind { NET_FLOW_CONNECTION, NET_FLOW_TIME_WAIT };

struct net_flow_entry {
    struct net_flow flow;
    uint32_t hash;
    uint8_t kind; // enum net_flow_kind
};

struct net_flows {
    uint64_t *slots;
    uint64_t mask;
    struct net_key key;
    uint32_t count;
};

bool net_flows_init(struct net_flows *f, uint32_t entries_max, struct net_key key);
void net_flows_free(struct net_flows *f);
struct net_flow_entry *net_flows_find(const struct net_flows *f, const struct net_flow *flow,
                                      uint32_t hash);
// `e->flow` and `e->hash` are set; the flow is not in the table; the caller keeps to entries_max.
void net_flows_add(struct net_flows *f, struct net_flow_entry *e);
void net_flows_remove(struct net_flows *f, struct net_flow_entry *e);
// The entry at `position` of the array or NULL; positions run up to `mask`.
struct net_flow_entry *net_flows_at(const struct net_flows *f, uint64_t position);

static inline uint32_t net_flows_hash(const struct net_flows *f, const struct net_flow *flow)
{
    uint64_t words[2] = {(uint64_t)flow->remote << 32 | flow->local,
                         2ull << 56 | (uint32_t)flow->remote_port << 16 | flow->local_port};
    return (uint32_t)net_sip(f->key, words, 2, 1, 3);
}

static inline bool net_flow_equal(const struct net_flow *a, const struct net_flow *b)
{
    return a->remote == b->remote && a->remote_port == b->remote_port && a->local == b->local &&
           a->local_port == b->local_port;
}

static inline void net_flows_prefetch(const struct net_flows *f, uint32_t hash)
{
    prefetch(&f->slots[hash & f->mask]);
}

// Fetches the entry that stands at the hash's own place, most likely the one: its hot lines.
static inline void net_flows_prefetch_entry(const struct net_flows *f, uint32_t hash)
{
    const char *entry = (const char *)(uintptr_t)(f->slots[hash & f->mask] & ((1ull << 48) - 1));
    if (!entry)
        return;
    // An entry lies in its connection's second line; the first is the stream that its owner reads.
    for (int line = -1; line < 4; line++)
        prefetch(entry + line * 64);
}
