// Congestion control: the part of TCP that decides how much may be in flight. An algorithm sees
// acknowledgements and events, and moves `cwnd` and `ssthresh` (bytes) of its connection; what was
// lost, and sending it again, is recovery's (tcp_recovery.c), which tells of it by `event`.
//
// An algorithm keeps its state in `struct tcp`'s congestion_state, which `init` has to fill. All of
// it runs on the owning core, allocates nothing and reads no clock but `net->now_us`.
#pragma once

#include "dataplane/net/tcp.h"

// What one acknowledgement brought.
struct tcp_ack {
    uint32_t acked;   // bytes below the new snd_una that were not there before
    uint32_t flight;  // bytes that were in flight before it arrived
    uint32_t rtt_us;  // sample of this acknowledgement; 0: none
    bool window_used; // the window was the limit: only then does it grow (RFC 7661)
    bool ecn_echo;    // ECE was set and ECN is agreed
};

enum tcp_congestion_event {
    CONGESTION_LOSS, // recovery begins: cwnd and ssthresh are lowered by recovery from `threshold`
    CONGESTION_ECN,  // the peer echoed a mark: as a loss, once a round trip, nothing to resend
    CONGESTION_TIMEOUT, // everything in flight counts as lost; cwnd is one segment afterwards
    CONGESTION_UNDO, // the last LOSS or TIMEOUT was spurious: recovery restores cwnd and ssthresh
    CONGESTION_IDLE, // nothing was sent for longer than an RTO: the window restarts
};

struct tcp_congestion {
    const char *name; // as `tcp-congestion-control` says it
    bool ecn;         // asks for ECN in the handshake (RFC 3168)
    void (*init)(struct tcp *c);
    // New data was acknowledged outside of recovery.
    void (*acked)(struct tcp *c, const struct tcp_ack *ack);
    // The slow start threshold after a loss or mark that is found now. Called before `event`.
    uint32_t (*threshold)(struct tcp *c);
    void (*event)(struct tcp *c, enum tcp_congestion_event event); // NULL: nothing to note
};

extern const struct tcp_congestion tcp_reno;

static inline void tcp_congestion_event(struct tcp *c, enum tcp_congestion_event event)
{
    if (c->congestion->event)
        c->congestion->event(c, event);
}
