// A hand-made peer for one stack: sends exactly the segments that a test says and keeps what the
// stack answers. The stack is 10.0.0.1, the peer 10.0.0.9; the peer's hardware address is known to
// the stack from the start.
#pragma once

#include "dataplane/net/internal.h"
#include "dataplane/net/tcp.h"
#include "tests/sim/wire.h"

enum { PEER_PORT = 4000, OUR_PORT = 6379, PEER_OUT_MAX = 256 };

struct peer_segment {
    uint8_t raw[2048];
    uint32_t raw_len;
    bool tcp;
    uint16_t type; // Ethernet
    uint16_t src_port, dst_port;
    uint8_t flags;
    uint32_t seq, ack, len, wnd;
    const uint8_t *data;
    struct tcp_segment options;
    bool sums_good;
};

struct peer {
    struct net *net;
    struct net_config config;
    struct wire_pool pool;
    uint64_t now_us;
    uint16_t port;      // our side's port at the stack
    uint16_t peer_port; // the peer's
    uint8_t from[4];    // the address that it says it has
    uint32_t seq, ack;  // the peer's next sequence number and what it acknowledges
    uint32_t ts;        // timestamp of the next segment, 0: no option
    uint32_t ts_echo;   // last one seen
    bool sack;          // permitted in SYNs (peer_syn_options)
    uint16_t wnd;
    const uint8_t *options; // of the next segment only
    uint32_t options_len;
    struct peer_segment out[PEER_OUT_MAX];
    unsigned n_out;
    unsigned n_frames; // given to the port, before it cut them
    struct frame rx[PEER_OUT_MAX];
    unsigned n_rx;
    bool gather; // what arrives in a turn is one burst
    bool arp_asked;
    bool held; // what is sent is put together and kept in `rx`: the test brings it in by itself
    struct stream *stream; // the last accepted or connected
    unsigned events;       // of it, collected
};

void peer_start(struct peer *p, const struct net_config *config);
// Fails the test when frames or memory are left.
void peer_stop(struct peer *p);
// Raw bytes into the stack; no turn is ended.
void peer_raw(struct peer *p, const uint8_t *data, uint32_t len);
// Puts an IPv4 packet together around `l4`.
void peer_ip(struct peer *p, uint8_t protocol, const uint8_t *l4, uint32_t len);
// A TCP segment at p->seq (which moves on) with p->ack, p->wnd, p->ts, p->options.
void peer_send(struct peer *p, uint8_t flags, const void *data, uint32_t len);
// The same at another place; p->seq stays.
void peer_send_at(struct peer *p, uint8_t flags, uint32_t seq, uint32_t ack, const void *data,
                  uint32_t len);
// Ends the turn: events are collected, then output is in p->out. Time stays.
void peer_turn(struct peer *p);
// Time passes in steps of the stack's timers; output is collected over all of it.
void peer_wait(struct peer *p, uint64_t us);
// The only segment of the last turn, with right checksums.
struct peer_segment *peer_only(struct peer *p);
void peer_none(struct peer *p);
// Listens, and opens a connection from the peer with MSS 1460, scale 7 and timestamps when p->ts.
void peer_open(struct peer *p);
// An acknowledgement with SACK blocks: n pairs of start and end.
void peer_send_sack(struct peer *p, uint32_t ack, unsigned n, const uint32_t blocks[][2]);
// SYN options as common stacks send them; scale 0xff: none.
uint32_t peer_syn_options(struct peer *p, uint8_t *to, uint16_t mss, uint8_t scale);
const struct net_counters *peer_count(struct peer *p);
