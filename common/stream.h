// A byte stream to a peer: the one interface that the server sees of both transports. The userspace
// TCP stack (`dataplane/net`) and kernel sockets (`drivers/sockets`) each embed a `struct stream`
// at the start of their connection. A stream belongs to one core.
//
// Reading: `in`/`in_len` show the first unread bytes where they lie (in the received frame, or in
// the buffer that the kernel filled); `stream_consume` moves on. What is unread at the end of the
// turn is copied to heap memory by the provider and keeps the receive window closed by as much, so
// a reader that stops reading stops its peer. Pointers into `in` are valid until the end of the
// turn, or until the stream is freed.
//
// Writing: through `out` (see common/out.h); `ops->push` at the end of the turn sends it.
#pragma once

#include "common/out.h"

struct stream;

enum stream_event {
    STREAM_ACCEPTED = 1u << 0,  // new, passive; the first event of such a stream
    STREAM_CONNECTED = 1u << 1, // active open succeeded
    STREAM_READABLE = 1u << 2,  // more bytes than there were
    STREAM_WRITABLE = 1u << 3,  // output that was above STREAM_OUT_HIGH has fallen below half of it
    STREAM_EOF = 1u << 4,       // the peer closed its side; unread bytes may remain
    STREAM_CLOSED = 1u << 5, // reset, timed out, refused, or fully closed: no more in or out; the
                             // owner calls `release` and forgets the stream
};

// Output of more than this many unsent bytes will be followed by STREAM_WRITABLE when it has
// drained.
#define STREAM_OUT_HIGH (1u << 20)

enum stream_flag {
    STREAM_CARRIER = 1u << 0, // the owner is another stream, which lies over this one (TLS)
};

enum stream_error {
    STREAM_OK = 0,
    STREAM_RESET,       // the peer reset the connection
    STREAM_TIMED_OUT,   // retransmission, keepalive or user time-out
    STREAM_REFUSED,     // active open was answered with RST
    STREAM_UNREACHABLE, // no route, no neighbour, ICMP said so
    STREAM_NO_MEMORY,   // a bound was hit
    STREAM_ABORTED,     // we aborted it
};

// An IPv4 or IPv6 address and port, or a UNIX socket's peer (family 0).
struct endpoint {
    uint8_t family; // 4, 6, or 0 for a UNIX socket
    uint8_t reserved;
    uint16_t port;    // host byte order
    uint8_t addr[16]; // network byte order; IPv4 in the first four
};

// What an operator may know of a connection (`polluxctl connections`), one row for each figure:
// X(type, name). From it come struct stream_info and the names under which figures reach the
// operator: a figure that is added here is shown at once. Where a transport cannot know a figure it
// is 0. Times are microseconds, windows and queues bytes, rates bytes a second; _us of what
// happened last is its age.
// clang-format off
#define STREAM_FIGURES(X)                                                                          \
    X(uint32_t, rtt_us) X(uint32_t, rttvar_us) X(uint32_t, min_rtt_us) X(uint32_t, receive_rtt_us) \
    X(uint32_t, rto_us) X(uint32_t, ato_us) /* of retransmission, of delayed acknowledgements */   \
    X(uint32_t, mss) X(uint32_t, receive_mss) X(uint32_t, peer_mss) X(uint32_t, pmtu)              \
    X(uint32_t, cwnd) X(uint32_t, ssthresh)                                                        \
    X(uint32_t, snd_wnd) X(uint32_t, rcv_wnd) X(uint32_t, rcv_space)                               \
    X(uint64_t, unread) X(uint64_t, unsent) X(uint64_t, unacked)                                   \
    X(uint64_t, bytes_in) X(uint64_t, bytes_out) /* each byte once */                              \
    X(uint64_t, bytes_acked) X(uint64_t, bytes_retransmitted)                                      \
    X(uint64_t, segments_in) X(uint64_t, segments_out)                                             \
    X(uint64_t, data_segments_in) X(uint64_t, data_segments_out)                                   \
    X(uint64_t, retransmitted) /* segments */                                                      \
    X(uint32_t, unacked_segments)                                                                  \
    /* of what is unacknowledged: told of by SACK, lost, under way again; bytes */                 \
    X(uint32_t, sacked) X(uint32_t, lost) X(uint32_t, resent)                                      \
    X(uint32_t, reordering) /* segments that one was overtaken by at most */                       \
    X(uint32_t, reordering_seen) X(uint32_t, dsack_duplicates)                                     \
    X(uint32_t, out_of_order) /* runs of bytes received ahead of a gap */                          \
    X(uint64_t, pacing_rate) X(uint64_t, delivery_rate) X(uint64_t, delivered)                     \
    X(uint64_t, last_sent_us) X(uint64_t, last_received_us) X(uint64_t, last_ack_us)               \
    X(uint64_t, busy_us) X(uint64_t, window_limited_us) X(uint64_t, buffer_limited_us)             \
    X(uint64_t, timer_us) X(uint32_t, timer_tries) X(uint32_t, backoff)                            \
    X(uint8_t, snd_scale) X(uint8_t, rcv_scale)                                                    \
    X(bool, scaling) X(bool, timestamps) X(bool, sack) X(bool, ecn) X(bool, ecn_seen)              \
    X(bool, application_limited) X(bool, passive)
// clang-format on

struct stream_info {
    void *owner; // of the stream; NULL: none
    struct endpoint local, remote;
    char state[16];      // RFC 9293's name: "ESTABLISHED" …
    char congestion[16]; // the algorithm; "": unknown
    char timer[16];      // what `timer_us` waits for, as `ss -o` names it: "on" (retransmission),
                         // "keepalive", "timewait", "persist", "delack"; "": no timer runs
#define X(type, name) type name;
    STREAM_FIGURES(X)
#undef X
};

struct stream_ops {
    // Shows the next unread bytes in `in`/`in_len` after all of the present ones were consumed;
    // leaves in_len 0 when there are none.
    void (*refill)(struct stream *s);
    // Sends what was written to `out` since the last push. Frames leave in the turn that made them.
    void (*push)(struct stream *s);
    // Bytes written and not yet accepted by the transport for sending (TCP: beyond the send
    // window).
    size_t (*unsent)(const struct stream *s);
    // Bytes of memory that the stream takes besides its unsent output: itself, unread input.
    size_t (*memory)(const struct stream *s);
    // Orderly close: everything written is delivered, then FIN. STREAM_CLOSED follows.
    void (*close)(struct stream *s);
    // Abortive close: RST, output dropped. STREAM_CLOSED follows.
    void (*abort)(struct stream *s);
    // Frees the stream; allowed only after STREAM_CLOSED was seen.
    void (*release)(struct stream *s);
    // TCP keepalive: probes after `idle_s` seconds of silence; 0 turns it off.
    void (*keepalive)(struct stream *s, unsigned idle_s);
    void (*info)(const struct stream *s, struct stream_info *info);
    // Asks whether the peer is still there, once it has been silent: a transport that is told by
    // somebody else may have missed it. NULL: this one misses nothing.
    void (*check)(struct stream *s);
};

struct stream {
    struct out out; // must be first: out_ops implementations cast it back
    const uint8_t *in;
    uint32_t in_len;
    uint16_t events; // enum stream_event, collected since the owner looked; the owner clears them
    uint8_t error;   // enum stream_error, valid with STREAM_CLOSED
    uint8_t flags;   // enum stream_flag
    void *owner;     // the owner's: its client; NULL for a fresh stream
    const struct stream_ops *ops;
};

// The owner of the connection: that of the stream above, where one lies over it.
static inline void *stream_owner(const struct stream *s)
{
    return s->flags & STREAM_CARRIER ? ((const struct stream *)s->owner)->owner : s->owner;
}

// Moves past n unread bytes (n <= in_len).
static inline void stream_consume(struct stream *s, uint32_t n)
{
    s->in += n;
    s->in_len -= n;
    if (s->in_len == 0)
        s->ops->refill(s);
}

// "192.0.2.1:6379", "[2001:db8::1]:6379" or "unix:0". `text` must hold ENDPOINT_TEXT_MAX bytes.
#define ENDPOINT_TEXT_MAX 64
const char *endpoint_format(const struct endpoint *e, char *text);
