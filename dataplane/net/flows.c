#include "dataplane/net/flows.h"

#include <assert.h>
#include <mimalloc.h>

// The upper half of the hash is the tag, so that it says something that the position does not.
static uint64_t flows_word(const struct net_flow_entry *e)
{
    return (uint64_t)(e->hash >> 16) << NET_FLOW_TAG_SHIFT | (uint64_t)(uintptr_t)e;
}

static uint64_t flows_home(const struct net_flows *f, uint32_t hash)
{
    return hash & f->mask;
}

bool net_flows_init(struct net_flows *f, uint32_t entries_max, struct net_key key)
{
    uint64_t slots = 64;
    while (slots < 2ull * entries_max)
        slots *= 2;
    // Pages that no connection hashes to are never touched.
    f->slots = mi_calloc(slots, sizeof(*f->slots));
    f->mask = slots - 1;
    f->key = key;
    f->count = 0;
    return f->slots != NULL;
}

void net_flows_free(struct net_flows *f)
{
    mi_free(f->slots);
    f->slots = NULL;
}

void net_flows_add(struct net_flows *f, struct net_flow_entry *e)
{
    assert((uintptr_t)e >> NET_FLOW_TAG_SHIFT == 0 && f->count <= f->mask / 2);
    uint64_t i = flows_home(f, e->hash);
    while (f->slots[i])
        i = (i + 1) & f->mask;
    f->slots[i] = flows_word(e);
    f->count++;
}

void net_flows_remove(struct net_flows *f, struct net_flow_entry *e)
{
    uint64_t word = flows_word(e), i = flows_home(f, e->hash);
    while (f->slots[i] != word) {
        assert(f->slots[i]);
        i = (i + 1) & f->mask;
    }
    // What follows in the same run moves up when the gap lies between its home and its place.
    for (uint64_t j = (i + 1) & f->mask; f->slots[j]; j = (j + 1) & f->mask) {
        uint64_t home = flows_home(f, net_flows_entry(f->slots[j])->hash);
        if (((j - home) & f->mask) >= ((j - i) & f->mask)) {
            f->slots[i] = f->slots[j];
            i = j;
        }
    }
    f->slots[i] = 0;
    f->count--;
}

struct net_flow_entry *net_flows_at(const struct net_flows *f, uint64_t position)
{
    return net_flows_entry(f->slots[position]);
}
