// A network frame: one contiguous run of bytes in a buffer that its pool owns. The struct lives in
// the private area of the driver's buffer (DPDK's mbuf) or in plain memory in tests, and is the
// only thing that the TCP/IP stack knows of a device.
//
// A received frame belongs to the driver and is valid until the end of the turn. A frame to
// transmit is taken from the core's pool by the stack and handed to the driver; with FRAME_KEEP the
// stack keeps a reference for retransmission and drops it with `release`. One core uses a frame and
// its pool, the one that allocated it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_flags {
    // Received: what the port says of the checksums. Neither set: the stack verifies.
    FRAME_IP_SUM_GOOD = 1u << 0,
    FRAME_L4_SUM_GOOD = 1u << 1,
    FRAME_SUM_BAD = 1u << 2,
    // To transmit: work asked of the port. The stack sets these only where `struct net_config` says
    // that the port can; for FRAME_TX_L4_SUM the TCP checksum field holds the pseudo-header's sum.
    FRAME_TX_IP_SUM = 1u << 3,
    FRAME_TX_L4_SUM = 1u << 4,
    FRAME_TX_TSO = 1u << 5, // cut into segments of `tso_size` bytes of payload
    // To transmit: the stack keeps its reference; the port takes one of its own.
    FRAME_KEEP = 1u << 6,
};

struct frame_pool;

struct frame {
    uint8_t *data;   // first byte: the Ethernet header
    uint8_t *buffer; // start of the usable memory
    uint32_t len;    // bytes from `data`
    uint32_t size;   // bytes from `buffer` that may be used
    uint16_t flags;  // enum frame_flags
    uint16_t l2_len; // header lengths, set by the stack on transmit
    uint16_t l3_len;
    uint16_t l4_len;
    uint16_t tso_size;
    uint16_t reserved;
    uint32_t hash; // RSS hash reported by the port, 0 if none
    struct frame_pool *pool;
    struct frame *next; // free for the present owner: a chain of segments, a queue
    // Free for the stack while it owns the frame (for a transmit frame: sequence number, time sent
    // …).
    uint64_t stack[4];
};

_Static_assert(sizeof(struct frame) <= 96, "the driver's private area holds one");

struct frame_pool {
    // Takes up to n frames with data == buffer + headroom, len 0, flags 0. Returns how many there
    // were.
    unsigned (*alloc)(struct frame_pool *pool, struct frame **frames, unsigned n);
    // Drops the stack's reference to each; the memory returns to the pool with the last reference.
    void (*release)(struct frame_pool *pool, struct frame **frames, unsigned n);
    // True when the driver has let go of a FRAME_KEEP frame, so that it may be changed and sent
    // again.
    bool (*exclusive)(const struct frame *frame);
    uint32_t headroom;  // bytes before `data` of a fresh frame
    uint32_t data_size; // bytes from `data` that a fresh frame has room for
};
