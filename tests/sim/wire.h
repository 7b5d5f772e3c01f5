// A wire in virtual time: frames of several stacks are lost, doubled, reordered, delayed and
// corrupted as a seed says, and nothing else is random. Frames live in plain memory; the pool can
// be made to run dry; whoever keeps one at the end is found.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/net.h"

struct wire_rng {
    uint64_t s[2];
};
void wire_seed(struct wire_rng *r, uint64_t seed);
uint64_t wire_random(struct wire_rng *r);
// True with a probability of `per_million` / 1,000,000.
bool wire_chance(struct wire_rng *r, uint32_t per_million);

struct wire_pool {
    struct frame_pool pool; // must be first
    unsigned limit;         // frames that may be taken at once
    unsigned taken;
    uint64_t refused;
    struct frame *free;
    unsigned made;
};
void wire_pool_init(struct wire_pool *p, uint32_t data_size, unsigned limit);
void wire_pool_free(struct wire_pool *p);

// Chances in parts per million.
struct wire_conditions {
    uint32_t loss, duplicate, reorder, corrupt;
    uint32_t delay_us,
        jitter_us;         // one way; a reordered frame takes up to ten times the jitter more
    uint32_t bytes_per_us; // line rate, 0: infinite
    uint32_t queue_us;     // frames that would wait longer than this for the line are lost
    uint32_t mark_us;      // packets of ECN's that would wait longer are marked; 0: none
    uint32_t port_frames;  // that a stack's port takes in a turn, the others stay; 0: all
    uint32_t path_mtu;     // larger IP packets do not pass the middle of the wire; 0: all do
    bool path_silent;      // and its router does not say so (RFC 2923's black hole)
};

#define WIRE_STACKS 2
#define WIRE_STACKS_MAX 9
#define WIRE_TSO_BYTES 8192 // frames of a port that cuts segments

// How long frames waited for the line.
struct wire_queue {
    uint64_t frames, sum_us, max_us, marked, lost;
};

struct wire_flight {
    uint64_t at_us, order;
    uint32_t to, len;
    uint8_t *data;
};

struct wire {
    struct wire_conditions conditions;
    struct wire_rng rng;
    uint64_t now_us, order;
    unsigned stacks; // WIRE_STACKS, or as wire_init_many was told
    struct net *net[WIRE_STACKS_MAX];
    struct wire_pool pool[WIRE_STACKS_MAX];
    uint64_t line_free_us[WIRE_STACKS_MAX];
    // Of each stack's frames; may be set to zero to begin anew.
    struct wire_queue queue[WIRE_STACKS_MAX];
    struct wire_flight *heap;
    unsigned in_flight, heap_size;
    bool cut; // nothing passes
    bool v6;
    uint64_t delivered, lost, doubled, corrupted, too_big;
    // Called for each frame before it enters the wire; returns false to lose it. NULL: none.
    bool (*filter)(struct wire *w, unsigned from, uint8_t *data, uint32_t len);
    // To which stack a frame goes. NULL: there are two, and it is the other.
    unsigned (*place)(struct wire *w, unsigned from, const uint8_t *data, uint32_t len);
    void *context;
    uint64_t wake_us; // wire_step stops here, too; UINT64_MAX: need not
    // What was delivered in this turn of each stack.
    struct frame rx[64];
    uint8_t *rx_data[64];
};

// Two stacks 10.0.0.1 and 10.0.0.2 with the defaults of `base` (addresses and MACs are filled in);
// fd00::1 and fd00::2 when the family of the first address of `base` is 6.
void wire_init(struct wire *w, uint64_t seed, const struct wire_conditions *conditions,
               const struct net_config *base, unsigned frames);
// The same with any number of stacks, of which `configure` changes what it likes.
void wire_init_many(struct wire *w, uint64_t seed, const struct wire_conditions *conditions,
                    const struct net_config *base, unsigned frames, unsigned stacks,
                    void (*configure)(struct wire *w, unsigned i, struct net_config *config));
// Stops the stacks and checks that every frame came back; returns how many did not.
unsigned wire_free(struct wire *w);
// One turn of one stack: due frames in, `serve` for streams that are ready (and the context),
// timers, frames out. Returns true when anything happened.
bool wire_turn(struct wire *w, unsigned i, void (*serve)(void *context, struct wire *w, unsigned i),
               void *context);
// Moves virtual time to the next thing that happens. False: nothing ever will.
bool wire_step(struct wire *w);
// Puts bytes on the wire to stack `to`, arriving at once.
void wire_inject(struct wire *w, unsigned to, const uint8_t *data, uint32_t len);
// Both stacks until nothing is due before `until_us`.
void wire_run(struct wire *w, uint64_t until_us,
              void (*serve)(void *context, struct wire *w, unsigned i), void *context);
void wire_address(struct endpoint *e, unsigned i, uint16_t port);
// The same in the family of the wire.
void wire_endpoint(const struct wire *w, struct endpoint *e, unsigned i, uint16_t port);
