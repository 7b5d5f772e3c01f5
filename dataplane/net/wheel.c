#include "dataplane/net/wheel.h"

#include <assert.h>
#include <string.h>

void net_wheel_init(struct net_wheel *w, uint64_t now_us)
{
    memset(w, 0, sizeof(*w));
    w->now = now_us >> NET_WHEEL_TICK_SHIFT;
}

static void wheel_insert(struct net_wheel *w, struct net_timer *t)
{
    // The highest digit in which the due tick differs from the present one is the level.
    uint64_t differ = (t->expires ^ w->now) | (NET_WHEEL_SLOTS - 1);
    unsigned level = (63 - (unsigned)__builtin_clzll(differ)) / NET_WHEEL_SLOT_BITS;
    assert(level < NET_WHEEL_LEVELS);
    unsigned slot = (t->expires >> (level * NET_WHEEL_SLOT_BITS)) & (NET_WHEEL_SLOTS - 1);
    struct net_timer **head = &w->slots[level][slot];
    t->next = *head;
    if (t->next)
        t->next->link = &t->next;
    t->link = head;
    *head = t;
    w->occupied[level] |= 1ull << slot;
}

static void wheel_unlink(struct net_wheel *w, struct net_timer *t)
{
    *t->link = t->next;
    if (t->next) {
        t->next->link = t->link;
    } else {
        // The last of a list: when it was the first as well, the slot is empty now.
        struct net_timer **first = &w->slots[0][0];
        if (t->link >= first && t->link < first + NET_WHEEL_LEVELS * NET_WHEEL_SLOTS && !*t->link) {
            size_t at = (size_t)(t->link - first);
            w->occupied[at / NET_WHEEL_SLOTS] &= ~(1ull << (at % NET_WHEEL_SLOTS));
        }
    }
    t->link = NULL;
}

void net_wheel_start(struct net_wheel *w, struct net_timer *t, uint64_t at_us)
{
    if (t->link)
        wheel_unlink(w, t);
    uint64_t tick = (at_us + (1u << NET_WHEEL_TICK_SHIFT) - 1) >> NET_WHEEL_TICK_SHIFT;
    t->expires = tick > w->now ? tick : w->now + 1;
    wheel_insert(w, t);
}

void net_wheel_stop(struct net_wheel *w, struct net_timer *t)
{
    if (t->link)
        wheel_unlink(w, t);
}

// The occupied slot that begins first: its first tick, level and place. False when there is none. A
// slot of a higher level that is being emptied begins before all of the lower levels' slots.
static bool wheel_first(const struct net_wheel *w, uint64_t *tick, unsigned *level, unsigned *slot)
{
    bool found = false;
    for (unsigned l = 0; l < NET_WHEEL_LEVELS; l++) {
        if (!w->occupied[l])
            continue;
        unsigned shift = l * NET_WHEEL_SLOT_BITS;
        uint64_t s = (uint64_t)__builtin_ctzll(w->occupied[l]);
        uint64_t begins =
            (w->now >> shift & ~(uint64_t)(NET_WHEEL_SLOTS - 1)) << shift | s << shift;
        if (found && begins >= *tick)
            continue;
        found = true;
        *level = l;
        *slot = (unsigned)s;
        *tick = begins;
    }
    return found;
}

bool net_wheel_advance(struct net_wheel *w, uint64_t now_us, unsigned budget, void *context)
{
    uint64_t to = now_us >> NET_WHEEL_TICK_SHIFT, tick = 0;
    unsigned level = 0, slot = 0;
    while (wheel_first(w, &tick, &level, &slot) && tick <= to) {
        if (budget-- == 0)
            return true;
        if (tick > w->now)
            w->now = tick;
        struct net_timer *t = w->slots[level][slot];
        wheel_unlink(w, t);
        if (t->expires <= w->now)
            t->fire(context, t);
        else
            wheel_insert(w, t);
    }
    if (to > w->now)
        w->now = to;
    return false;
}

uint64_t net_wheel_next(const struct net_wheel *w)
{
    uint64_t tick = 0;
    unsigned level = 0, slot = 0;
    if (!wheel_first(w, &tick, &level, &slot))
        return UINT64_MAX;
    return tick << NET_WHEEL_TICK_SHIFT;
}
