#include "drivers/nic_spread.h"

#include <string.h>
#include <sys/random.h>

#include <rte_thash.h>

// The key is secret: who knew it could aim all connections at one core. It is not symmetric either.
// A key that hashes both directions of a flow alike repeats every 16 bits, so all that a flow has
// is folded to 16 bits, and peers that choose their ports from their address crowd; and nobody here
// ever hashes what we send.
static void random_key(uint8_t key[NIC_RSS_KEY_MAX])
{
    if (getrandom(key, NIC_RSS_KEY_MAX, 0) == NIC_RSS_KEY_MAX)
        return;
    for (unsigned i = 0; i < NIC_RSS_KEY_MAX; i++) // before the kernel has entropy: any will do
        key[i] = (uint8_t)(i * 0x9d + 0x6d);
}

void spread_invent(struct nic_spread *s, unsigned queues)
{
    *s = (struct nic_spread){.ports4 = true, .ports6 = true};
    random_key(s->key);
    // A multiple of the number of queues: none gets more than the others.
    s->table_size = (uint16_t)(NIC_RSS_TABLE_MAX / queues * queues);
    for (unsigned i = 0; i < s->table_size; i++)
        s->table[i] = (uint16_t)(i % queues);
}

static uint32_t big_endian32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint32_t spread_hash(const struct nic_spread *s, const struct endpoint *local,
                     const struct endpoint *remote)
{
    uint32_t input[9];
    unsigned words = remote->family == 6 ? 4 : 1, n = 0;
    for (unsigned i = 0; i < words; i++)
        input[n++] = big_endian32(remote->addr + 4 * i);
    for (unsigned i = 0; i < words; i++)
        input[n++] = big_endian32(local->addr + 4 * i);
    if (remote->family == 6 ? s->ports6 : s->ports4)
        input[n++] = (uint32_t)remote->port << 16 | local->port;
    return rte_softrss(input, n, s->key);
}
