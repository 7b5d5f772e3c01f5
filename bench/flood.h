// A flood of SYNs beside a normal load on the same port (--syn-flood): what a server serves while
// somebody attacks it. Each SYN comes from another address and has the options of common stacks;
// nobody answers what the server says to it. The target is read off the load's own segments.
#pragma once

#include "drivers/nic.h"

struct flood {
    double rate;           // SYNs a second, 0: none
    uint64_t sent, missed; // taken by the port; due when it took nothing for long
    uint64_t started_us, random;
    bool aimed;
    uint8_t frame[74]; // what all of them have in common
    uint64_t sum;      // of it, as far as the TCP checksum covers it
};

// Looks at a frame of the load; the first TCP segment over IPv4 without a VLAN tag gives the aim.
void flood_aim(struct flood *f, const struct frame *frame, uint64_t now_us);
// Sends what is due, a bounded number. What the port does not take is not sent later.
void flood_send(struct flood *f, struct port *port, uint64_t now_us);
