// Congestion control: the part of TCP that decides how much may be in flight. An algorithm sees
// acknowledgements and events, and moves `cwnd` and `ssthresh` (bytes) of its connection; what was
// lost, and sending it again, is recovery's (tcp_recovery.c), which tells of it by `event`; what
// marks of ECN mean on the way is tcp_ecn.c's.
//
// An algorithm keeps its state in `struct tcp`'s congestion_state, which `init` has to fill. All of
// it runs on the owning core, allocates nothing and reads no clock but `net->now_us`.
#pragma once

#include "dataplane/net/tcp.h"

// What one acknowledgement brought.
struct tcp_ack {
    uint32_t acked;     // bytes below the new snd_una that were not there before
    uint32_t flight;    // bytes that were in flight before it arrived
    uint32_t delivered; // bytes that are known to have arrived since, by SACK as well
    uint32_t rtt_us;    // sample of this acknowledgement; 0: none
    bool window_used;   // the window was the limit: only then does it grow (RFC 7661)
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
    // Asks for ECN in the handshake (RFC 3168), and as a receiver tells each change of marking at
    // once (RFC 8257 3.2).
    bool ecn;
    void (*init)(struct tcp *c);
    // New data was acknowledged outside of recovery; snd_una and srtt_us are up to date. Begins
    // with congestion_may_grow, and may not be called where that would say no and change nothing.
    void (*acked)(struct tcp *c, const struct tcp_ack *ack);
    // The slow start threshold after a loss that is found now. Called before `event`, which is
    // called before cwnd changes.
    uint32_t (*threshold)(struct tcp *c);
    // The same after a mark of ECN; NULL: as after a loss.
    uint32_t (*marked)(struct tcp *c);
    // With ECN, each acknowledgement of `acked` new bytes up to `ack`, in recovery too, before
    // `marked` and `acked`; `echo`: it said that they were marked. NULL: not interested.
    void (*counted)(struct tcp *c, uint32_t acked, uint32_t ack, bool echo);
    void (*event)(struct tcp *c, enum tcp_congestion_event event); // NULL: nothing to note
};

extern const struct tcp_congestion tcp_cubic, tcp_reno, tcp_dctcp;

// Before cwnd changes. Who lowers the window tells the peer that it did (RFC 3168 6.1.2).
static inline void tcp_congestion_event(struct tcp *c, enum tcp_congestion_event event)
{
    if ((c->ecn & TCP_ECN_AGREED) && event <= CONGESTION_TIMEOUT)
        c->ecn |= TCP_ECN_SEND_CWR;
    if (event == CONGESTION_TIMEOUT)
        c->ecn &= (uint8_t)~TCP_ECN_REDUCED; // slow start is not to wait for what was before
    if (c->congestion->event)
        c->congestion->event(c, event);
}

// --- shared by the algorithms (tcp_congestion.c)
// ---------------------------------------------------

// What the window was really used for: a loss says nothing about the part that was not (RFC 5681
// 3.1, RFC 9438 4.6).
static inline uint32_t congestion_used(const struct tcp *c)
{
    uint32_t flight = c->snd_nxt - c->snd_una;
    return flight < c->cwnd ? flight : c->cwnd;
}

// `tenths` of what was used, at least two segments. A loss in the round trip after a mark lowers
// nothing a second time: both are signs of one event (RFC 3168 6.1.2).
uint32_t congestion_cut(const struct tcp *c, uint32_t tenths);

// RFC 7661 4.4: five minutes, in units of congestion_clock.
#define CONGESTION_UNUSED_CLOCKS 292969u
// The window has not been used for so long that nobody knows what the path carries.
void congestion_unused(struct tcp *c);

// In units of 1,024 microseconds: fine enough for what lasts round trips, and 32 bits hold weeks.
static inline uint32_t congestion_clock(const struct tcp *c)
{
    return (uint32_t)(c->net->now_us >> 10);
}

// Whether the window may grow with this acknowledgement.
static inline bool congestion_may_grow(struct tcp *c, const struct tcp_ack *ack)
{
    uint32_t now = congestion_clock(c);
    if (ack->window_used) {
        c->cwnd_used = now;
        return !(c->ecn & TCP_ECN_REDUCED);
    }
    if (unlikely(now - c->cwnd_used >= CONGESTION_UNUSED_CLOCKS))
        congestion_unused(c);
    return false;
}

// Slow start by bytes (RFC 3465), so that delayed ACKs cost nothing: what a burst may be is bounded
// by pacing and by the port's queue. Returns the bytes that are left beyond ssthresh.
static inline uint32_t congestion_slow_start(struct tcp *c, uint32_t acked)
{
    uint32_t room = c->ssthresh - c->cwnd, n = acked < room ? acked : room;
    c->cwnd += n;
    return acked - n;
}

// One segment more for each window of `acked` bytes (RFC 5681 3.1, equation 3); *partial counts
// towards it.
void congestion_avoidance(struct tcp *c, uint32_t *partial, uint32_t acked);

// --- HyStart++ (RFC 9406, tcp_hystart.c): leaving the first slow start when the delay rises
// --------

struct hystart {
    uint32_t last_min_us, current_min_us; // of the rounds; UINT32_MAX: none
    uint32_t baseline_us;                 // delay at which conservative slow start began
    uint32_t round_end;                   // the round ends when this is acknowledged
    uint8_t samples;                      // of this round
    uint8_t rounds;                       // of conservative slow start
    bool conservative;
};

void hystart_init(struct hystart *h, const struct tcp *c);
// One acknowledgement in slow start. Returns by how much of it the window may grow, and sets
// ssthresh when slow start is over.
uint32_t hystart_acked(struct hystart *h, struct tcp *c, const struct tcp_ack *ack);
