// Over which queue a port gives the frames of a flow: the Toeplitz hash of the packets that come
// ("Receive Side Scaling", Microsoft; the same in all NICs that have it) and the table that it is
// looked up in. Where the port does not tell, the numbers are made up and only tell cores apart.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/stream.h"

// A key covers the longest input, two IPv6 addresses and two ports, and 32 bits more; some ports
// have longer ones.
#define NIC_RSS_KEY_MIN 40
#define NIC_RSS_KEY_MAX 64
#define NIC_RSS_TABLE_MAX 512

struct nic_spread {
    bool known;          // what follows is what the port said of itself
    bool ports4, ports6; // the hash covers ports, not only addresses; by family
    uint16_t table_size;
    _Alignas(4) uint8_t key[NIC_RSS_KEY_MAX];
    uint16_t table[NIC_RSS_TABLE_MAX]; // queue pair by the lower bits of the hash
};

// A spread over `queues` by a secret hash, for ports that do not tell theirs.
void spread_invent(struct nic_spread *s, unsigned queues);
// The hash of a frame from `remote` to `local`.
uint32_t spread_hash(const struct nic_spread *s, const struct endpoint *local,
                     const struct endpoint *remote);
static inline unsigned spread_queue(const struct nic_spread *s, const struct endpoint *local,
                                    const struct endpoint *remote)
{
    return s->table[spread_hash(s, local, remote) % s->table_size];
}
