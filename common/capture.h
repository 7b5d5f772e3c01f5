// The ring by which a core hands copies of frames to an operator (`polluxctl capture`): shared
// memory between one core, which writes and never waits, and the control plane, which reads. A
// frame that finds no room is dropped and counted. Lives in a file of the run directory that loses
// its name as soon as both sides have it mapped.
//
// Neither side trusts the other: the reader checks what it finds, the writer takes a tail that
// makes no sense for a full ring.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAPTURE_MAGIC 0x50435831u // "PCX1"
#define CAPTURE_RING_BYTES (4u << 20)
// A capture that is not renewed for so long ends by itself: its reader was killed or hangs.
#define CAPTURE_LEASE_US 3000000u
// Instructions of a filter. There are no loops in a filter, so that is what a frame costs at most.
#define CAPTURE_FILTER_MAX 1024u

enum capture_flags {
    CAPTURE_IN = 1,  // received by the port
    CAPTURE_OUT = 2, // given to the port
    CAPTURE_PAD = 4, // no frame: the rest of the ring before it begins again
};

// Begins each frame in the ring and on the control socket; the bytes follow. Multiples of 32, so
// that a header never wraps.
struct capture_frame {
    uint32_t size;     // with header and padding
    uint32_t captured; // bytes that follow
    uint32_t len;      // of the frame
    uint16_t flags;    // enum capture_flags
    uint16_t core;
    uint64_t time_us; // CLOCK_MONOTONIC in the ring, of the wall behind the control plane
    uint64_t reserved;
};
_Static_assert(sizeof(struct capture_frame) == 32, "the unit of the ring");

struct capture_ring {
    uint32_t magic;
    _Alignas(64) _Atomic uint64_t head;       // writer: bytes ever written
    _Atomic uint64_t seen, captured, dropped; // writer: frames that the filter saw, took, lost
    _Atomic uint32_t ended;                   // writer: it writes no more
    _Alignas(64) _Atomic uint64_t tail;       // reader: bytes ever read
    _Atomic uint64_t lease_us;                // reader: CLOCK_MONOTONIC until when to go on
    _Alignas(64) uint8_t bytes[CAPTURE_RING_BYTES];
};

static inline uint32_t capture_size(uint32_t captured)
{
    return (uint32_t)(sizeof(struct capture_frame) + captured + 31) & ~31u;
}

// Makes room for a frame behind *head, which moves on, and writes its header there. Returns where
// the `h->captured` bytes go; NULL: there is no room. Nothing is seen by the reader before `head`
// of the ring is stored.
static inline uint8_t *capture_put(struct capture_ring *r, uint64_t *head,
                                   const struct capture_frame *h)
{
    uint64_t used = *head - atomic_load_explicit(&r->tail, memory_order_acquire);
    uint32_t size = capture_size(h->captured), at = (uint32_t)(*head % CAPTURE_RING_BYTES);
    uint32_t rest = CAPTURE_RING_BYTES - at, pad = rest < size ? rest : 0;
    if (used > CAPTURE_RING_BYTES || size + pad > CAPTURE_RING_BYTES - used)
        return NULL;
    if (pad) {
        struct capture_frame *p = (struct capture_frame *)(r->bytes + at);
        *p = (struct capture_frame){.size = pad, .flags = CAPTURE_PAD};
        at = 0;
    }
    struct capture_frame *p = (struct capture_frame *)(r->bytes + at);
    *p = *h;
    p->size = size;
    *head += pad + size;
    return (uint8_t *)(p + 1);
}

// The oldest frame behind *tail, or NULL when there is none. `h` is a copy that was checked; *bad
// when what lies there is no frame.
static inline const uint8_t *capture_get(const struct capture_ring *r, uint64_t *tail,
                                         struct capture_frame *h, bool *bad)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    while (*tail != head) {
        uint32_t at = (uint32_t)(*tail % CAPTURE_RING_BYTES);
        *h = *(const struct capture_frame *)(r->bytes + at);
        *bad = head - *tail > CAPTURE_RING_BYTES || h->size < sizeof(*h) || h->size % 32 ||
               h->size > CAPTURE_RING_BYTES - at || h->size > head - *tail ||
               (!(h->flags & CAPTURE_PAD) && h->captured > h->size - sizeof(*h));
        if (*bad)
            return NULL;
        if (!(h->flags & CAPTURE_PAD))
            return r->bytes + at + sizeof(*h);
        *tail += h->size;
    }
    return NULL;
}
