// What is known of the paths to destinations: the largest packet that fits through, where it is
// less than our own link carries (RFC 1191, RFC 8201). A bounded table that is made with the first
// entry; each entry is forgotten after ten minutes, so that a path that became wider is used again.
//
// Connections do not look here for each segment: they notice that net->path_generation moved.
#pragma once

#include "dataplane/net/flows.h"

// Entries: sets of ways. A full set loses the entry that would be forgotten first; only answers to
// segments in flight make entries, so strangers cannot fill it.
#define NET_PATH_WAYS 8
#define NET_PATH_SETS 128
// RFC 8201 4: at least 5 minutes, better 10, until a larger packet is tried.
#define NET_PATH_AGE_US 600000000u
// No link carries less: IPv4 hosts take 576 (RFC 791), IPv6 links carry 1280 (RFC 8200 5).
#define NET_PATH_MIN_4 576
#define NET_PATH_MIN_6 1280

struct net;

struct net_path {
    uint64_t addr[2]; // IPv4: in the first word
    uint64_t until_us;
    uint16_t mtu;
    uint8_t family; // 4 or 6, 0: free
};

struct net_paths {
    struct net_path *path; // NULL: nothing was ever learned
    uint64_t look_us;      // when the next entry may be over
};

// The largest packet towards the far end of `flow`; what our link carries when nothing is known.
uint32_t net_path_mtu(const struct net *net, const struct net_flow *flow);
// Packets of `mtu` bytes pass and larger ones do not. Tells the other cores. An mtu that our link
// does not carry means that the path has no limit of its own: the entry goes.
void net_path_learn(struct net *net, const struct net_flow *flow, uint32_t mtu);
// Forgets what is old.
void net_paths_advance(struct net *net);
