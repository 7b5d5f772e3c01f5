// A hierarchical timer wheel: seven levels of 64 slots over ticks of 1,024 microseconds. Starting
// and stopping a timer are a few stores; finding the next due slot looks at one bit mask per level.
// A timer is found at most once per level on its way down.
//
// A level's slots ahead of the present share all higher digits with it, so an occupied slot of a
// lower level always comes before those of the levels above.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_WHEEL_LEVELS 7 // 42 bits of ticks: 140 years of uptime
#define NET_WHEEL_SLOT_BITS 6
#define NET_WHEEL_SLOTS (1u << NET_WHEEL_SLOT_BITS)
#define NET_WHEEL_TICK_SHIFT 10 // microseconds to ticks

struct net_timer {
    struct net_timer *next, **link; // link NULL: not running
    uint64_t expires;               // tick
    void (*fire)(void *context, struct net_timer *timer);
};

struct net_wheel {
    uint64_t now; // tick up to which all timers have fired
    uint64_t occupied[NET_WHEEL_LEVELS];
    struct net_timer *slots[NET_WHEEL_LEVELS][NET_WHEEL_SLOTS];
};

void net_wheel_init(struct net_wheel *w, uint64_t now_us);
// (Re)starts a timer. It fires in the first tick that begins at or after `at_us`, and not before
// the tick after the present one.
void net_wheel_start(struct net_wheel *w, struct net_timer *t, uint64_t at_us);
void net_wheel_stop(struct net_wheel *w, struct net_timer *t);
// Fires what is due, moving at most `budget` timers. Returns true when more is due.
bool net_wheel_advance(struct net_wheel *w, uint64_t now_us, unsigned budget, void *context);
// When the next slot is due (microseconds), UINT64_MAX with no timers. May be earlier than the
// timers in it, never later.
uint64_t net_wheel_next(const struct net_wheel *w);

static inline bool net_timer_running(const struct net_timer *t)
{
    return t->link != NULL;
}
static inline uint64_t net_timer_due_us(const struct net_timer *t)
{
    return t->expires << NET_WHEEL_TICK_SHIFT;
}
