// Two stacks joined in memory: what one transmits is what the other receives, without a copy and
// without a wire. Side 0 is the server's. What a port does stays outside of what is measured:
// taking frames from a ring, giving them to one, letting go of buffers.
#pragma once

#include "dataplane/net/net.h"

#define JOINT_CONNECTIONS 50
#define JOINT_FRAMES 32 // of a turn, as the core takes them
#define JOINT_PORT 6379

enum { JOINT_SERVER, JOINT_CLIENT, JOINT_SIDES };

struct joint_pool {
    struct frame_pool pool; // must be first
    struct frame *free;
};

struct joint_ring {
    struct frame **frames;
    unsigned head, tail; // of JOINT_RING; modulo
};

struct joint {
    struct net *net[JOINT_SIDES];
    struct joint_pool pool[JOINT_SIDES];
    struct joint_ring towards[JOINT_SIDES];
    struct stream *clients[JOINT_CONNECTIONS]; // of the client's side
    // Of the side whose turn it is: received frames, as its port shows them, and whose they are.
    struct frame rx[JOINT_FRAMES], *rx_list[JOINT_FRAMES], *rx_whole[JOINT_FRAMES];
    unsigned n_rx;
    bool offloads;
    uint64_t now_us;
    uint64_t frames[JOINT_SIDES]; // that each side received
};

// Stacks with so many connections between them that the server's side knows of, but has not yet
// accepted. `offloads`: the port checks and makes checksums. NULL: memory is short.
struct joint *joint_open(bool offloads);
void joint_close(struct joint *j);

// One turn of a side, step by step: frames are taken from the ring …
void joint_take(struct joint *j, unsigned side);
// … into the stack, with its timers; the application looks at net_ready and writes …
void joint_input(struct joint *j, unsigned side);
// … what it wrote goes into the other's ring (may be called several times); returns the frames …
unsigned joint_output(struct joint *j, unsigned side);
// … net_turn_end; and the received frames are the port's again.
void joint_release(struct joint *j);

// Frames in the ring towards a side.
unsigned joint_waiting(const struct joint *j, unsigned side);
