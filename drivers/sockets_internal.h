// What the files of drivers/sockets share: the connection, the core's state, and the steps of a
// turn. sockets.c the turn and the life of a connection; sockets_listen.c addresses, accept and
// connect; sockets_receive.c provided buffers; sockets_send.c output; sockets_info.c figures for
// operators.
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "drivers/io.h"
#include "drivers/pieces.h"
#include "drivers/sockets.h"

// Provided buffers of a core. A burst may fill one for each readable connection before they go
// back; when they run out, receiving pauses until the end of the turn.
#define SOCKETS_BUFFERS 512u
#define SOCKETS_BUFFERS_MAX 32768u // the kernel's limit of a buffer ring
#define SOCKETS_BUFFER_SIZE (16u * 1024)
// Unread bytes of a connection before receiving stops and the peer's window closes.
#define SOCKETS_UNREAD_MAX (1024u * 1024)
// How long an orderly close waits without progress: for the peer to read our output, and then for
// its FIN. A peer that does neither cannot pin a connection for longer.
#define SOCKETS_LINGER_MS 15000
// Period of the timer that ends lingering and retries a failed accept; armed only when there is
// work.
#define SOCKETS_TICK_MS 100
// Addresses of `bind` (16), each with and without TLS, and a UNIX socket, twice while they change.
#define SOCKETS_LISTENERS_MAX 80
// One send carries at most this much, so that progress is seen and output limits can act.
#define SOCKETS_SEND_MAX (1024u * 1024)
#define SOCKETS_SEND_PIECES 64
// Room of a large chunk of output, and small ones that a core keeps: 2 MB and 1.8 MB.
#define SOCKETS_CHUNK (32u * 1024 - 256)
#define SOCKETS_CHUNKS_KEPT 1024

#define BUFFER_NONE UINT16_MAX

enum sockets_op {
    OP_ACCEPT = 1,
    OP_RECEIVE,
    OP_SEND,
    OP_CONNECT,
    OP_CANCEL,
    OP_TICK,
    OP_HANGUP,
    OP_MASK = 15
};

// What the kernel reads when a send has several pieces; in use until the send completes.
struct send_vector {
    struct send_vector *next;
    struct msghdr message;
    struct iovec piece[SOCKETS_SEND_PIECES];
};

struct connection {
    struct stream stream; // must be first
    struct sockets *s;
    int fd;
    uint32_t index;             // in s->table
    uint16_t pending;           // completions that will still come
    uint16_t rx_first, rx_last; // provided buffers behind the one shown in stream.in
    bool unix_peer : 1;
    bool connecting : 1;
    bool receiving : 1; // a multishot receive is armed
    bool stopped : 1;   // receiving stopped because of too many unread bytes
    bool cancelling : 1;
    bool sending : 1;
    bool watching : 1; // nothing is received: a poll tells of a reset
    bool high : 1;     // output passed STREAM_OUT_HIGH
    bool eof : 1;
    bool closing : 1;   // orderly close asked for
    bool shut : 1;      // our FIN is sent
    bool lingering : 1; // in the linger list
    bool dead : 1;      // STREAM_CLOSED was told; the descriptor goes when nothing is pending
    bool reset : 1;     // close with RST
    bool released : 1;
    bool is_ready : 1;
    bool is_touched : 1;
    bool in_heap : 1;     // stream.in lies in `heap`
    uint8_t tag;          // of its listener
    struct pieces output; // what no completed send has covered
    struct send_vector *vector;
    // Unread bytes kept over the end of a turn.
    uint8_t *heap;
    uint32_t heap_cap;
    // Lists.
    struct connection *next_ready, *next_touched;
    struct connection *linger_next, *linger_prev;
    uint64_t linger_until_ms;
    uint64_t bytes_in, bytes_out;
    struct endpoint remote;      // as it was at the start: a reset peer has none any more
    struct sockaddr_storage *to; // of a connection being opened
};

struct listener {
    _Alignas(16) int fd;
    int family;
    bool armed;
    bool retry; // accept failed for lack of resources: try again on the next tick
    uint8_t addr[16];
    uint16_t port;
    uint8_t tag;
    bool old;   // was there when listening began anew, and was not asked for again yet
    bool fresh; // opened since
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

struct held {
    uint32_t len;
    uint16_t next;
};

struct sockets {
    struct io *io;
    struct sockets_config config;
    struct sockets_counters counters;
    // Provided buffers.
    struct io_uring_buf_ring *ring;
    size_t ring_bytes;
    uint8_t *buffers;
    size_t buffers_bytes;
    uint32_t buffer_stride;
    struct held *held;
    uint16_t *spent; // buffers filled since the last end of turn: they go back at the next
    uint32_t n_spent;
    // Connections.
    struct connection **table; // by index; a free entry is NULL
    uint32_t *free_index;
    uint32_t n_free, table_size, n_table;
    unsigned count;
    struct connection *ready_first, *ready_last;
    struct connection *touched;
    struct connection *linger_first, *linger_last;
    bool tick_armed, closing_down;
    unsigned pending; // completions of listeners and the tick
    struct __kernel_timespec *tick;
    struct piece_pool pool;
    struct send_vector *free_vectors;
    struct listener listener[SOCKETS_LISTENERS_MAX];
    unsigned n_listeners;
    bool relistening;
};

extern const struct stream_ops connection_ops;

static inline uint64_t sockets_tag(const void *of, enum sockets_op op)
{
    return (uint64_t)(uintptr_t)of | op;
}

// sockets.c
struct connection *connection_new(struct sockets *s, int fd);
void connection_event(struct connection *c, unsigned events);
// Puts it on the list of those that the end of the turn looks at.
void connection_touch(struct connection *c);
// The end: tells STREAM_CLOSED; the descriptor is closed when nothing is pending.
void connection_die(struct connection *c, enum stream_error error);
void connection_linger(struct connection *c);
void sockets_tick_arm(struct sockets *s);
uint64_t sockets_now_ms(void);

// sockets_listen.c
void listener_accepted(struct sockets *s, struct listener *l, const struct io_uring_cqe *cqe);
void listeners_retry(struct sockets *s);
void connection_connected(struct connection *c, int result);
enum stream_error sockets_error(int error);

// sockets_receive.c
int receive_create(struct sockets *s, char *error, size_t error_size);
void receive_destroy(struct sockets *s);
void receive_arm(struct connection *c);
void receive_completed(struct connection *c, const struct io_uring_cqe *cqe);
void receive_check(struct stream *stream);
void receive_hung_up(struct connection *c, const struct io_uring_cqe *cqe);
void receive_refill(struct stream *stream);
void receive_turn_end(struct connection *c);
void receive_give_back(struct sockets *s);
void receive_free(struct connection *c);
size_t receive_unread(const struct connection *c);

// sockets_send.c
extern const struct out_ops send_out_ops;
void send_push(struct stream *stream);
size_t send_unsent(const struct stream *stream);
void send_start(struct connection *c);
void send_completed(struct connection *c, int result);
void send_free_vectors(struct sockets *s);

// sockets_info.c
void connection_info(const struct stream *stream, struct stream_info *info);
// One more question to the kernel, which only who lists connections asks.
void connection_congestion(const struct stream *stream, struct stream_info *info);
bool endpoint_from(const struct sockaddr_storage *from, struct endpoint *to);
