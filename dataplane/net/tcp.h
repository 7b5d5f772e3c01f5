// The inside of TCP: the connection and what the tcp_*.c files share. Names of variables are those
// of RFC 9293 and RFC 5681.
#pragma once

#include <stddef.h>

#include "common/block.h"
#include "dataplane/net/internal.h"

enum tcp_state {
    TCP_CLOSED,
    TCP_SYN_SENT,
    TCP_SYN_RECEIVED,
    TCP_ESTABLISHED,
    TCP_FIN_WAIT_1,
    TCP_FIN_WAIT_2,
    TCP_CLOSE_WAIT,
    TCP_CLOSING,
    TCP_LAST_ACK,
};

enum {
    TCP_HEADER = 20,
    TCP_PORTS = 0, // offsets in the header
    TCP_SEQ = 4,
    TCP_ACK = 8,
    TCP_OFFSET = 12,
    TCP_FLAGS = 13,
    TCP_WINDOW = 14,
    TCP_SUM = 16,
    TCP_URGENT = 18,
    TCP_STAMP_OPTION = 12, // NOP NOP kind length value echo
};

enum tcp_header_flags {
    TH_FIN = 1,
    TH_SYN = 2,
    TH_RST = 4,
    TH_PSH = 8,
    TH_ACK = 16,
    TH_URG = 32,
    TH_ECE = 64, // a mark is echoed; in a SYN: ECN is spoken (RFC 3168)
    TH_CWR = 128,
};

enum tcp_flags {
    TCP_STAMPS = 1u << 0,      // timestamps agreed
    TCP_ACK_NOW = 1u << 1,     // acknowledge in this turn
    TCP_ACK_DELAYED = 1u << 2, // acknowledge with the next segment, or by timer
    TCP_FIN_QUEUED = 1u << 3,  // the owner closed: FIN follows what is written
    TCP_FIN_SENT = 1u << 4,
    TCP_PASSIVE = 1u << 5,  // came through a listener
    TCP_RX_FRAME = 1u << 6, // stream.in points into a received frame
    TCP_IN_TURN = 1u << 7,
    TCP_IN_READY = 1u << 8,
    TCP_RECOVERY = 1u << 10,  // fast recovery, RFC 6582
    TCP_LOSS = 1u << 11,      // after a retransmission time-out
    TCP_PERSIST = 1u << 12,   // rto_at_us is the next window probe
    TCP_OUT_ABOVE = 1u << 13, // unsent output is above STREAM_OUT_HIGH
    TCP_RTT_VALID = 1u << 14,
    TCP_GONE = 1u << 15, // in net->gone: only the stream is left
    TCP_DEAF = 1u << 16, // the owner closed: data that still comes is answered with RST
    TCP_SACK = 1u << 17, // selective acknowledgements agreed (RFC 2018)
    TCP_OFFERED_SCALE = 1u << 18,
    TCP_ADMITTED = 1u << 19,   // counted in its listener's backlog until the owner saw it
    TCP_HELD = 1u << 20,       // in net->held
    TCP_RACK_WAIT = 1u << 21,  // probe_at_us is when RACK looks again, not a loss probe
    TCP_HOLDS = 1u << 22,      // in net->holders
    TCP_ORPHAN = 1u << 23,     // in net->orphans
    TCP_MTU_SEARCH = 1u << 24, // large segments were lost on the path: larger ones are tried again
    TCP_MTU_TRIED = 1u << 25,  // and whether it was their size is not known yet
    TCP_MTU_PROBE = 1u << 26,  // a probe of a larger size is under way
};

// Explicit congestion notification of a connection (tcp_ecn.c).
enum tcp_ecn {
    TCP_ECN_AGREED = 1u << 0,   // both ends do it: data is sent as ECT(0)
    TCP_ECN_EXACT = 1u << 1,    // as a receiver: each change of marking is told at once (RFC 8257)
    TCP_ECN_ASKED = 1u << 2,    // our SYN asked
    TCP_ECN_ECHO = 1u << 3,     // acknowledgements carry ECE
    TCP_ECN_SEND_CWR = 1u << 4, // the next new data carries CWR: the window was lowered
    TCP_ECN_REDUCED = 1u << 5,  // a mark lowered the window; not again before ecn_recover
    TCP_ECN_SEEN = 1u << 6, // the peer's data came as ECT or marked: the path leaves the bits alone
};

// Received bytes that wait to be read. `cap` 0: they lie in a received frame and the struct is one
// of the stack's small pieces; else `bytes` holds them.
struct rx_chunk {
    struct rx_chunk *next;
    uint8_t *data; // first unread byte
    uint32_t len;
    uint32_t cap;
    uint8_t bytes[];
};

// Out-of-order data: ranges of sequence numbers in order, each with its bytes. More gaps than this
// are not kept: the sender repeats what is dropped.
#define TCP_RANGES_MAX 64
struct tcp_range {
    uint32_t start, end;
    struct rx_chunk *first, *last;
};
// What came last is told of first (RFC 2018 4): a sequence number in each of the ranges that
// changed most recently, newest first.
#define TCP_SACK_BLOCKS_MAX 4
struct tcp_ranges {
    uint32_t count;
    uint32_t memory;  // bytes on the heap for it, this struct included
    uint32_t fin_seq; // of a FIN that came before the data in front of it
    bool has_fin;
    uint8_t n_recent;
    uint32_t recent[TCP_SACK_BLOCKS_MAX];
    struct tcp_range range[TCP_RANGES_MAX];
};

// Output that is not in frames yet: a part of a block, either the writer's own or one that
// collects.
struct tx_piece {
    struct tx_piece *next;
    struct block *block;
    size_t offset, len;
    size_t cost;   // what it counts for in net->tx_memory
    bool collects; // bytes are appended to `block` while it is the last piece
};

struct tcp;

struct tcp_congestion; // congestion.h
struct tcp_board;      // tcp_board.h

// The order is that of cache lines (64 bytes): a segment in, its answer and the owner's turn touch
// the first NET_FLOW_HOT_LINES of them and no others while nothing is wrong. What is looked at only
// for a window that grows, in trouble, at the ends of a connection's life or for operators lies
// behind.
struct tcp {
    struct stream stream;

    struct net *net;
    struct net_flow_entry entry; // 20 bytes
    uint32_t flags;              // enum tcp_flags
    uint32_t rcv_nxt;
    uint32_t rcv_adv; // right edge of the window as the peer knows it
    uint32_t snd_una, snd_nxt;
    uint32_t snd_wnd, snd_wl1, snd_wl2;
    uint32_t ts_recent;

    struct frame *rtx_head, *rtx_tail; // sent and not acknowledged, by `next`
    struct frame *open;                // the frame that `out` writes to
    struct neighbour *neighbour;
    uint32_t neighbour_generation;
    uint32_t rcv_acked; // rcv_nxt when it was acknowledged last
    uint32_t cwnd;
    int32_t away; // bytes of snd_una..snd_nxt that are not in the network (the board's; without: 0)
    uint16_t mss; // payload bytes of a full segment to the peer
    uint8_t state, header_len; // header_len: Ethernet, IP, TCP and options of a data segment
    uint8_t snd_scale, rcv_scale, backoff, dupacks;
    uint16_t path_generation; // of `net` when `mss` was looked up
    uint8_t ecn;              // enum tcp_ecn
    uint8_t ack_delay_shift;  // how often a lone segment's probe proved too early, see ACK_DELAY_US
    uint8_t keep_probes;
    uint8_t tries;
    uint8_t reorder_extra;   // quarters of a round trip that RACK's window was widened by
    uint8_t reorder_persist; // recoveries until it is narrow again

    uint64_t last_rx_us, last_tx_us;
    uint64_t last_data_us; // when new data was sent last
    uint64_t rto_at_us;    // 0: off
    uint64_t probe_at_us;  // loss probe, or RACK's look (TCP_RACK_WAIT); 0: off
    uint64_t ack_at_us;    // 0: off
    uint32_t srtt_us, rttvar_us, rto_us;
    uint32_t probe_us; // from a transmission to its loss probe

    struct tcp_board *board;   // tcp_board.h; NULL: nothing is known or suspected to be lost
    struct tcp_ranges *ranges; // NULL: no data arrived out of order
    // Output on the heap.
    struct tx_piece *tx_head;
    uint8_t *tx_open; // where the open span in the last piece begins
    size_t tx_bytes;
    // Input behind what the stream shows.
    struct rx_chunk *rx_shown, *rx_head;
    struct rx_chunk **rx_borrowed; // the link to the first chunk that lies in a frame, or NULL

    uint64_t unacked_since_us; // the peer owes us an acknowledgement since; 0: it does not
    uint64_t closed_since_us;  // output waits for its window since; 0: it does not
    uint64_t last_ack_us;
    uint32_t rx_queued;              // bytes from rx_head on
    uint32_t max_wnd;                // largest window the peer ever offered
    uint32_t ts_offset;              // of our timestamps
    uint32_t recover;                // end of the data in flight when loss was found
    uint32_t cwnd_used;              // when the window was the limit last, by congestion_clock
    uint32_t min_rtt_us, min_rtt_at; // shortest round trip of late, and when it was (in 2^20 us)
    uint32_t dsack_start, dsack_end; // what arrived twice, until an ACK has told of it; equal: none
    uint16_t receive_mss;            // largest payload received
    uint16_t peer_mss;

    struct net_timer timer;
    TAILQ_ENTRY(tcp) ready_link;
    LIST_ENTRY(tcp) turn_link;

    uint64_t bytes_in, bytes_out;
    uint32_t segments_in, segments_out;
    uint32_t data_segments_in, data_segments_out;
    // So far what every segment touches.

    const struct tcp_congestion *congestion;
    uint64_t congestion_state[8]; // the algorithm's
    uint32_t ssthresh;
    uint32_t ecn_recover;         // snd_nxt when a mark lowered the window
    uint64_t pace_us, pace_at_us; // when credit was counted last; when the next is due, 0: off
    int32_t pace_credit;          // bytes that may leave now

    uint32_t iss, irs;
    uint32_t fin_seq;
    struct tx_piece *tx_tail;
    struct rx_chunk *rx_tail;
    TAILQ_ENTRY(tcp) life_link; // holders, orphans or gone
    TAILQ_ENTRY(tcp) held_link;
    struct tcp_listener *listener;
    uint64_t keep_at_us;  // keepalive, or the end of FIN_WAIT_2; 0: off
    uint64_t orphaned_us; // when its owner closed it
    uint32_t keep_idle_s;
    uint32_t challenge_ms;                  // when the last challenge ACK was sent
    uint32_t mtu_probe_seq, mtu_probe_ms;   // of the probe under way; when the next one may go
    uint16_t mtu_probe_len, mtu_probe_high; // its payload; a size that did not pass
    uint16_t reordering;                    // segments that one was overtaken by, at most
    bool reordered;                         // segments do overtake each other on this path
    uint8_t soft_error;
    uint32_t reorderings, dsacks; // how often they did; duplicates that the peer told of
    uint32_t retransmitted;       // segments
    uint64_t bytes_retransmitted;

    struct net_pair6 pair[]; // IPv6: the addresses
};
_Static_assert(offsetof(struct tcp, net) == 64 && offsetof(struct tcp, rtx_head) == 2 * 64 &&
                   offsetof(struct tcp, last_rx_us) == 3 * 64 &&
                   offsetof(struct tcp, board) == 4 * 64 &&
                   offsetof(struct tcp, unacked_since_us) == 5 * 64 &&
                   offsetof(struct tcp, timer) == 6 * 64 &&
                   offsetof(struct tcp, congestion) <= NET_FLOW_HOT_LINES * 64,
               "lines of the cache");
_Static_assert(sizeof(struct tcp) <= 960,
               "an idle connection costs at most 1 KiB with its table share");

struct tcp_wait {
    struct net_flow_entry entry;
    struct net_timer timer;
    TAILQ_ENTRY(tcp_wait) link;
    uint32_t rcv_nxt, snd_nxt, rcv_wnd;
    uint32_t ts_recent, ts_offset;
    uint32_t challenge_ms; // when an acknowledgement was sent last
    uint8_t stamps, rcv_scale;
    struct net_pair6 pair[]; // IPv6: the addresses
};

// A half-open connection: what a SYN said and what our answer promised.
struct tcp_request {
    struct net_flow_entry entry;
    uint32_t irs, iss;
    uint32_t ts_recent, ts_offset;
    uint32_t challenge_ms;
    uint64_t due_us; // when the answer goes again, or the request goes
    TAILQ_ENTRY(tcp_request) link;
    struct tcp_listener *listener;
    uint16_t mss, wnd; // as the SYN had them; mss 0: not said
    uint8_t tries, scale;
    bool has_stamp : 1, has_scale : 1, has_sack : 1, has_ecn : 1;
    struct net_pair6 pair[]; // IPv6: the addresses
};
_Static_assert(sizeof(struct tcp_request) <= 88, "a flood's unit of memory");

struct tcp_listener {
    struct net *net;
    uint16_t port; // network byte order
    // At most `backlog` connections that the owner has not seen, and as many requests.
    unsigned backlog, pending, requests;
};

// The options of a SYN.
struct tcp_offer {
    uint16_t mss;
    uint8_t scale;
    bool has_stamp, has_scale, has_sack;
    uint32_t ts_value, ts_echo;
};

#define TCP_MSS_DEFAULT 536 // RFC 9293 3.7.1, when the peer says nothing
#define TCP_MSS_DEFAULT_6 1220
// The least that is honoured: below it headers are most of what is sent, and a peer that asks for
// it makes one reply cost a hundred segments. Links with smaller packets are not known (FreeBSD's
// least as well).
#define TCP_MSS_MIN 216

// A received segment.
struct tcp_segment {
    uint32_t seq, ack;
    uint32_t wnd; // as it stands in the header
    uint32_t len; // of the payload
    const uint8_t *data;
    uint8_t flags; // enum tcp_header_flags
    uint8_t ecn;   // enum ip_ecn
    bool has_stamp, has_mss, has_scale;
    bool has_sack;  // SACK permitted, in a SYN
    uint8_t n_sack; // SACK blocks: pairs of 32-bit numbers in network byte order at `sack`
    uint8_t scale;
    uint16_t mss;
    uint32_t ts_value, ts_echo;
    const uint8_t *sack;
};

static inline uint32_t tcp_l3_header(const struct tcp *c)
{
    return c->entry.pair_at ? IPV6_HEADER : IPV4_HEADER;
}

static inline bool seq_lt(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}
static inline bool seq_le(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) <= 0;
}

// --- tcp.c: life of a connection
// ------------------------------------------------------------------

struct tcp *tcp_new(struct net *net, const struct net_flow *flow, uint32_t hash);
// Takes the negotiated options of a SYN into use.
void tcp_take_options(struct tcp *c, const struct tcp_segment *seg);
void tcp_event(struct tcp *c, unsigned events);
// Ends the connection: out of the table, no timers, no output. With an owner (or one to be) the
// stream stays until `release`, else it is freed here: the caller does not touch it again.
void tcp_finish(struct tcp *c, enum stream_error error);
void tcp_free(struct tcp *c);
void tcp_established(struct tcp *c);
struct tcp_listener *tcp_listener_find(struct net *net, uint16_t port);
uint32_t tcp_initial_sequence(struct net *net, const struct net_flow *flow);
// What is added to the clock of timestamps: secret for each connection (RFC 7323 5.4).
uint32_t tcp_stamp_offset(const struct net *net, const struct net_flow *flow);
static inline uint32_t tcp_stamp_clock(const struct net *net)
{
    return (uint32_t)(net->now_us / 1000);
}
uint8_t tcp_receive_scale(const struct net *net);
uint16_t tcp_our_mss(const struct net *net, const struct net_flow *flow);
// No more connections may be made (counted).
bool tcp_connections_full(struct net *net);
void tcp_note_turn(struct tcp *c);
const char *tcp_state_name(unsigned state);

// --- tcp_info.c
// ---------------------------------------------------------------------------------

void tcp_info(const struct stream *s, struct stream_info *info); // stream_ops.info

// --- tcp_listen.c
// ---------------------------------------------------------------------------------

// A segment whose flow is not a connection's; `e` is its entry in TIME_WAIT, or NULL.
void tcp_unknown_input(struct net *net, const struct packet *p, struct tcp_segment *seg,
                       const struct net_flow *flow, uint32_t hash, struct net_flow_entry *e);

// --- tcp_request.c: half-open connections
// ---------------------------------------------------------

void tcp_requests_init(struct net *net);
// Requests that there can be: a peer that was in TIME_WAIT, which a stranger cannot be, needs an
// initial sequence number that no cookie can have, and finds room when the queue is full.
static inline uint32_t tcp_requests_max(const struct net *net)
{
    return net->config.half_open_max + net->config.half_open_max / 4;
}
// Remembers a SYN and answers it. False when memory is short. `iss_min`: the lowest initial
// sequence number that may be used, 0: any.
bool tcp_request_new(struct net *net, struct tcp_listener *l, const struct tcp_segment *syn,
                     const struct net_flow *flow, uint32_t hash, uint32_t iss_min);
void tcp_request_free(struct net *net, struct tcp_request *r);
void tcp_request_input(struct net *net, struct tcp_request *r, const struct packet *p,
                       struct tcp_segment *seg);
// True when no more SYNs may be answered for now (counted).
bool tcp_syn_limited(struct net *net);
// Answers a SYN with what it offered, and no more. `p`: the packet that is answered, or NULL.
void tcp_send_syn_ack(struct net *net, const struct packet *p, const struct net_flow *flow,
                      const struct tcp_segment *syn, uint32_t iss, uint32_t ts_value);
// A connection of which `syn` was the SYN and `seg` is the acknowledgement of our answer; the
// caller hands `seg` to tcp_segment_input. NULL (counted) when there is no room, or its owner does
// not want it: then it was reset and *refused is set.
struct tcp *tcp_open(struct net *net, struct tcp_listener *l, const struct packet *p,
                     const struct tcp_segment *seg, const struct net_flow *flow, uint32_t hash,
                     const struct tcp_segment *syn, uint32_t iss, bool *refused);

// --- tcp_cookies.c
// --------------------------------------------------------------------------------

// Answers a SYN and remembers nothing.
void tcp_cookie_send(struct net *net, const struct packet *p, const struct tcp_segment *seg,
                     const struct net_flow *flow);
// What an acknowledgement to a listener brings back. Costs nothing when no cookie is under way.
enum tcp_cookie {
    TCP_COOKIE_NONE,  // none is under way
    TCP_COOKIE_WRONG, // none of ours
    TCP_COOKIE_EARLY, // ours, with something later than the first byte: its sender repeats that
    TCP_COOKIE_GOOD,
};
enum tcp_cookie tcp_cookie_check(const struct net *net, const struct tcp_segment *seg,
                                 const struct net_flow *flow);
// Makes the connection of it, as far as there is room.
void tcp_cookie_open(struct net *net, struct tcp_listener *l, const struct packet *p,
                     struct tcp_segment *seg, const struct net_flow *flow, uint32_t hash);
// Another stack sends cookies.
void tcp_cookies_hear(struct net *net);

// --- tcp_shed.c: bounds of what peers make us keep
// -------------------------------------------------

// The connection holds output, frames or received bytes: it may have to go when they are short.
void tcp_holder_add(struct tcp *c);
void tcp_holder_check(struct tcp *c); // and does so no longer, perhaps
void tcp_orphan(struct tcp *c);       // its owner has closed it
void tcp_leave_holders(struct tcp *c);
// Resets the connection that lingers for longest after its owner closed it. False: none does.
bool tcp_shed_orphan(struct net *net);

// --- tcp_input.c
// ----------------------------------------------------------------------------------

// A segment of a connection that is not in SYN-SENT.
void tcp_segment_input(struct tcp *c, const struct packet *p, struct tcp_segment *seg);

// --- tcp_wait.c: TIME_WAIT
// ------------------------------------------------------------------------

void tcp_wait_enter(struct tcp *c);
void tcp_wait_free(struct net *net, struct tcp_wait *w);
// An active open may take the place of this entry: it is in TIME_WAIT, and timestamps protect what
// comes of it. tcp_wait_reuse does so, and returns the lowest initial sequence number allowed.
bool tcp_wait_may_reuse(const struct net *net, const struct net_flow_entry *e);
uint32_t tcp_wait_reuse(struct net *net, struct net_flow_entry *e);
// Returns true when the segment opens the connection again: `w` is gone, *iss is the lowest
// allowed.
bool tcp_wait_input(struct net *net, struct tcp_wait *w, const struct packet *p,
                    const struct tcp_segment *seg, uint32_t *iss);

// --- tcp_options.c
// --------------------------------------------------------------------------------

// Reads the options; false when they are malformed.
bool tcp_options_parse(const uint8_t *p, uint32_t len, struct tcp_segment *seg);
// Writes the options of a SYN and returns their length, a multiple of four.
uint32_t tcp_options_write(const struct tcp_offer *o, uint8_t *p);

// --- tcp_sack.c: selective acknowledgements (RFC 2018, RFC 2883)
// ---------------------------------------------------------------

// A segment that lies at `seq` joined the ranges.
void tcp_sack_note(struct tcp_ranges *r, uint32_t seq);
// The next acknowledgement tells that [start, end) arrived again.
void tcp_dsack_note(struct tcp *c, uint32_t start, uint32_t end);
// Writes the option of an acknowledgement and returns its length, a multiple of four.
uint32_t tcp_sack_write(struct tcp *c, uint8_t *p);
static inline bool tcp_sack_wanted(const struct tcp *c)
{
    return (c->flags & TCP_SACK) && (c->ranges || c->dsack_start != c->dsack_end);
}

// --- tcp_output.c
// ---------------------------------------------------------------------------------

uint32_t tcp_stamp(const struct tcp *c);
// Payload of the next frame where the port cuts segments: as many full ones as fit, at least one.
uint32_t tcp_frame_payload(const struct tcp *c, uint32_t usable);
static inline uint32_t tcp_frame_size(const struct tcp *c, uint32_t usable)
{
    // CWR stands in one segment (RFC 3168 6.1.2), not in all that a port makes of a frame.
    return likely(!c->net->tso_max || (c->ecn & TCP_ECN_SEND_CWR)) ? c->mss
                                                                   : tcp_frame_payload(c, usable);
}
// Sends what may be sent: queued output, FIN. Arms the timers that watch over it.
void tcp_output(struct tcp *c);
// Takes the connection from those whose data waits for the port.
void tcp_leave_held(struct tcp *c);
void tcp_send_ack(struct tcp *c);
void tcp_send_syn(struct tcp *c);
void tcp_send_reset(struct tcp *c);
void tcp_send_probe(struct tcp *c);
// An acknowledgement that makes an honest peer show that it is one (RFC 5961); limited.
void tcp_challenge(struct tcp *c);
// May one more be sent to the peer for which *last_ms was the last time (0: never)? Counted.
bool tcp_challenge_allowed(struct net *net, uint32_t *last_ms);
// Sends one frame of the retransmission queue again; `before` is the one in front of it, NULL for
// the first. Returns the frame that is in the queue now (the port may not have let go of the
// other), NULL when none was free.
struct frame *tcp_resend(struct tcp *c, struct frame *f, struct frame *before);
// Sends a part of it again, as a copy in segments that fit; it stays in the queue as it is. False
// when no frame was free.
bool tcp_resend_part(struct tcp *c, struct frame *f, uint32_t seq, uint32_t len);
void tcp_send_fin(struct tcp *c);
// Answers a segment that belongs to no connection (RFC 9293 3.10.7.1).
void tcp_reset_stranger(struct net *net, const struct packet *p, const struct tcp_segment *seg);
// A segment without payload and connection, for TIME_WAIT and resets.
void tcp_send_bare(struct net *net, const struct packet *p, const struct net_flow *flow,
                   uint32_t seq, uint32_t ack, uint8_t flags, uint16_t window,
                   const uint32_t stamps[2]);
// A SYN or SYN-ACK without a connection. `p`: the packet that it answers, or NULL.
void tcp_send_offer(struct net *net, const struct packet *p, const struct net_flow *flow,
                    uint32_t seq, uint32_t ack, uint8_t flags, uint16_t window,
                    const struct tcp_offer *offer);
// Emits `payload` bytes that lie behind the header room of `f`, from snd_nxt on.
void tcp_emit(struct tcp *c, struct frame *f, uint32_t payload, uint8_t flags);
// Whether the port has room for new data of this connection; while others wait for it, only if none
// of its own does already.
static inline bool tcp_port_takes(const struct tcp *c)
{
    const struct net *net = c->net;
    if (likely(!net_output_full(net) && TAILQ_EMPTY(&net->held)))
        return true;
    return net->output_end - net->output_first < NET_OUTPUT_MOST &&
           !(c->rtx_tail && frame_note(c->rtx_tail)->output_place);
}
uint32_t tcp_usable(const struct tcp *c); // bytes that the windows allow beyond snd_nxt
uint32_t tcp_receive_space(const struct tcp *c);
bool tcp_window_grew(const struct tcp *c);
// Whether the right edge of the window could move by a step if the buffer were empty; false nearly
// always, and cheaper than to ask whether it does.
static inline bool tcp_window_may_grow(const struct tcp *c)
{
    const struct net *net = c->net;
    uint32_t most = c->rcv_nxt + net->config.receive_buffer_max;
    return (int32_t)(most - c->rcv_adv) >= (int32_t)net->window_step;
}

// --- tcp_pmtu.c: the size of segments
// ------------------------------------------------------------------------------

// Sets `mss` from what both ends and the path take. The peer's options are known.
void tcp_pmtu_init(struct tcp *c);
// net->paths changed since the connection looked.
void tcp_pmtu_refresh(struct tcp *c);
// A segment that is larger than `mss` is sent again: if it was a probe, that did not pass.
void tcp_pmtu_resent(struct tcp *c, uint32_t seq);
// A retransmission time-out, before its backoff: the path may lose what is large.
void tcp_pmtu_timeout(struct tcp *c);
// With TCP_MTU_SEARCH: the payload of a probe that is due, 0: none. It goes as soon as the windows
// have room for it, before anything else; the next segment is it.
uint32_t tcp_pmtu_probe(struct tcp *c);
void tcp_pmtu_probing(struct tcp *c, uint32_t size);
// With TCP_MTU_PROBE: snd_una has moved.
void tcp_pmtu_acked(struct tcp *c);
static inline bool tcp_is_probe(const struct tcp *c, uint32_t seq)
{
    return (c->flags & TCP_MTU_PROBE) && seq == c->mtu_probe_seq;
}

// --- tcp_tx.c: the output queue
// -------------------------------------------------------------------

extern const struct out_ops tcp_out_ops;
// Nothing is being written: the next byte asks for room.
void tcp_tx_close_span(struct tcp *c);
void tcp_tx_push(struct tcp *c);
// Counts what was written since the last look into the queue.
void tcp_tx_settle(struct tcp *c);
// Copies the next n bytes of the queue to `to`.
void tcp_tx_take(struct tcp *c, uint8_t *to, uint32_t n);
void tcp_tx_free(struct tcp *c);
size_t tcp_tx_unsent(const struct tcp *c);
void tcp_tx_check_writable(struct tcp *c);
// Makes writing harmless: bytes go nowhere.
void tcp_tx_disable(struct tcp *c);

// --- tcp_rx.c: the input queue and reassembly
// -----------------------------------------------------

void tcp_rx_data(struct tcp *c, const struct tcp_segment *seg);
// Remembers a FIN at `seq`, beyond a gap.
void tcp_rx_early_fin(struct tcp *c, uint32_t seq);
// True when that FIN is next.
static inline bool tcp_rx_fin_is_next(const struct tcp *c)
{
    return c->ranges && c->ranges->has_fin && c->ranges->fin_seq == c->rcv_nxt;
}
// The peer's FIN was taken: nothing can follow.
void tcp_rx_free_ranges(struct tcp *c);
void tcp_rx_refill(struct stream *s);
void tcp_rx_turn_end(struct tcp *c);
void tcp_rx_free(struct tcp *c);
void tcp_rx_free_spent(struct net *net);

// --- tcp_timers.c, tcp_ack.c, tcp_recovery.c, tcp_rack.c, tcp_board.c, tcp_congestion.c
// ---------------------------------------------------------------

void tcp_timer_fire(void *context, struct net_timer *timer);
// Makes sure that the connection's timer fires at `at_us` or before.
static inline void tcp_timer_by(struct tcp *c, uint64_t at_us);
void tcp_timer_start(struct tcp *c, uint64_t at_us);
void tcp_rtt_sample(struct tcp *c, uint32_t rtt_us);
// The peer acknowledged up to `ack` (snd_una < ack <= snd_nxt), and all is well: no board, no SACK.
void tcp_acked(struct tcp *c, uint32_t ack, const struct tcp_segment *seg);
// Any acknowledgement (up to snd_nxt) with SACK blocks, or of a connection with a board.
// `duplicate`: as RFC 5681 2 defines it.
void tcp_acked_in_trouble(struct tcp *c, const struct tcp_segment *seg, bool duplicate);
// A duplicate without SACK and without a board.
void tcp_duplicate_ack(struct tcp *c, const struct tcp_segment *seg);
// The retransmission timer expired: everything counts as lost, and the first goes again.
void tcp_enter_loss(struct tcp *c);
// Sends again what is lost, as far as the window goes; `force`: one frame at least.
void tcp_resend_lost(struct tcp *c, bool force);
// Sends slot `i` of the board again. False when no frame was free.
bool tcp_board_resend(struct tcp *c, uint32_t i);
// A frame was added to the retransmission queue. False: no memory, and the board is gone.
bool tcp_board_append(struct tcp *c, struct frame *f);
void tcp_board_free(struct tcp *c);
void tcp_board_sent(struct tcp *c); // with a board, data was sent: arms the loss probe if it may be
void tcp_probe_timeout(struct tcp *c); // no acknowledgement for two round trips: a loss probe
void tcp_rack_timeout(struct tcp *c);
uint32_t tcp_frto_usable(const struct tcp *c);

// Bytes that are in the network as far as we know (RFC 6675's pipe).
static inline uint32_t tcp_pipe(const struct tcp *c)
{
    return c->snd_nxt - c->snd_una - (uint32_t)c->away;
}

// The timestamp that a segment bore that was sent at `at_us`.
static inline uint32_t tcp_stamp_at(const struct tcp *c, uint64_t at_us)
{
    return (uint32_t)(at_us / 1000) + c->ts_offset;
}

// A peer may keep the acknowledgement of a lone segment back for so long. Common stacks take 40 ms;
// when a probe proves early it is doubled, up to the 200 ms of RFC 8985 7.2.
enum { ACK_DELAY_US = 50000, ACK_DELAY_SHIFT_MAX = 2 };

// Data was sent or acknowledged, all is well, and something is in flight: when to probe if nothing
// is heard (RFC 8985 7.2). Returns the earlier of the two deadlines.
static inline uint64_t tcp_arm_probe(struct tcp *c)
{
    uint32_t wait = c->probe_us;
    if (c->snd_nxt - c->snd_una <= c->mss)
        wait += (uint32_t)ACK_DELAY_US << c->ack_delay_shift;
    c->probe_at_us = c->net->now_us + wait;
    return c->probe_at_us < c->rto_at_us ? c->probe_at_us : c->rto_at_us;
}
static inline bool tcp_probes(const struct tcp *c)
{
    return (c->flags & (TCP_SACK | TCP_RTT_VALID | TCP_RECOVERY | TCP_LOSS)) ==
               (TCP_SACK | TCP_RTT_VALID) &&
           !c->board;
}

// --- tcp_pacing.c
// ---------------------------------------------------------------------------------

// On paths at least this long a window leaves in parts (by the timer: a dozen or more), not in one
// burst; on shorter ones acknowledgements are all the clock that is needed.
#define PACING_RTT_US 12000u
// More waits than the window has room for: may the next segment go now? False: a timer is set.
bool tcp_pace(struct tcp *c);
void tcp_pace_spend(struct tcp *c, uint32_t bytes);
uint64_t tcp_pacing_rate(const struct tcp *c); // bytes a second, 0: not paced

// --- tcp_ecn.c
// ---------------------------------------------------------------------------------

// Whether this SYN asks for ECN and is agreed to.
bool tcp_ecn_asked(const struct net *net, const struct tcp_segment *syn);
// ECE and CWR of a SYN of ours.
uint8_t tcp_ecn_syn_flags(struct tcp *c);
// What the peer's SYN says about ECN.
void tcp_ecn_negotiate(struct tcp *c, const struct tcp_segment *seg);
// With ECN agreed. A segment that is written: adds to its flags and returns its enum ip_ecn.
uint8_t tcp_ecn_mark(struct tcp *c, bool new_data, uint8_t *flags);
// Data in the window, before it is delivered.
void tcp_ecn_received(struct tcp *c, const struct tcp_segment *seg);
// An acceptable acknowledgement, before it is taken.
void tcp_ecn_acked(struct tcp *c, const struct tcp_segment *seg);

// --- tcp_congestion.c
// ---------------------------------------------------------------------------------

// Gives the connection the algorithm that is set now.
void tcp_congestion_choose(struct tcp *c);
// Once the options of the peer's SYN are known.
void tcp_congestion_init(struct tcp *c);
uint32_t tcp_initial_window(const struct tcp *c);
void tcp_congestion_idle(struct tcp *c);

// Before new data goes out: what was learned of the path is out of date when nothing was sent for
// long (RFC 5681 4.1).
static inline void tcp_restart_idle(struct tcp *c)
{
    if (unlikely(!c->rtx_head && c->net->now_us - c->last_data_us > c->rto_us))
        tcp_congestion_idle(c);
}

static inline void tcp_timer_by(struct tcp *c, uint64_t at_us)
{
    if (unlikely(!net_timer_running(&c->timer) || net_timer_due_us(&c->timer) > at_us + 1024))
        tcp_timer_start(c, at_us);
}
