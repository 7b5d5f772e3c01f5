// The stream provider over kernel TCP and UNIX sockets: multishot accept and receive into provided
// buffers, batched sends, one SO_REUSEPORT listener per core and address. Needs no privileges.
// One core owns it. Streams behave as common/stream.h says.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/stream.h"
#include "drivers/io.h"

struct sockets;

struct sockets_config {
    uint32_t receive_buffers;     // provided buffers of this core; 0: default
    uint32_t receive_buffer_size; // bytes each; 0: default
    uint32_t unread_max;          // bytes unread per stream before receiving stops; 0: default
    unsigned tcp_user_timeout_ms; // 0: the kernel's
    unsigned linger_ms; // an orderly close gives up after so long without progress; 0: default
    bool (*admit)(void *context, const struct endpoint *remote);
    void *context;
};

struct sockets *sockets_create(struct io *io, const struct sockets_config *config, char *error,
                               size_t error_size);
void sockets_destroy(struct sockets *s);

// Opens a listening socket for this core; sockets of several cores on one address share it
// (SO_REUSEPORT), but a foreign process on the port is an error. `address` is an IPv4 or IPv6
// literal, or "*" / "::*" for all; `tag` is the caller's (sockets_tag_of). Returns 0 or -errno with
// one line in `error`.
int sockets_listen(struct sockets *s, const char *address, uint16_t port, unsigned tag, int backlog,
                   char *error, size_t error_size);
int sockets_listen_unix(struct sockets *s, const char *path, unsigned mode, int backlog,
                        char *error, size_t error_size);
// Listening elsewhere while serving: between the two, what is there already is kept where it is
// asked for again. The end closes what was not, or, unless all went well, what was opened since.
void sockets_relisten_begin(struct sockets *s);
void sockets_relisten_end(struct sockets *s, bool well);
// Stops accepting (SHUTDOWN, restart).
void sockets_unlisten(struct sockets *s);
// Of the listener that a stream came through; 0 of one that we opened, or of a UNIX socket.
unsigned sockets_tag_of(const struct stream *stream);
// Active open, over TCP or to a UNIX socket. Returns the stream (STREAM_CONNECTED or STREAM_CLOSED
// follows) or NULL with a negative errno in *error.
struct stream *sockets_connect(struct sockets *s, const struct endpoint *to, int *error);
struct stream *sockets_connect_unix(struct sockets *s, const char *path, int *error);

// Streams with events since the last call, each once (completions were collected by io_turn).
unsigned sockets_ready(struct sockets *s, struct stream **ready, unsigned max);
// Queues the sends of this turn and copies what is unread out of the kernel's buffers, which go
// back. The caller submits with io_turn.
void sockets_turn_end(struct sockets *s);
unsigned sockets_count(const struct sockets *s);
// Calls `each` from *cursor on, until it returns false, for at most `max` connections, perhaps for
// none; *cursor is 0 after the last. Three questions to the kernel for each: for operators.
void sockets_each(struct sockets *s, uint64_t *cursor, unsigned max,
                  bool (*each)(void *context, const struct stream_info *info), void *context);

// X(name, group, description), as in dataplane/net/counters.h.
// clang-format off
#define SOCKETS_COUNTERS(X)                                                                        \
    X(accepted, TCP, "connections accepted")                                                       \
    X(closed, TCP, "connections that ended, for whatever reason")                                  \
    X(resets, TCP, "connections ended by the peer's RST")                                          \
    X(refused_admission, DEFENCES, "connections refused by maxclients")                            \
    X(accept_errors, MEMORY, "accepts that failed: no descriptors or memory left")                 \
    X(bytes_in, TCP, "bytes received")                                                             \
    X(bytes_out, TCP, "bytes sent")                                                                \
    X(receives, TCP, "completions of receives")                                                    \
    X(sends, TCP, "sends given to the kernel")                                                     \
    X(buffers_empty, MEMORY, "pauses of receiving because the turn's buffers were used up")        \
    X(unread_stops, TCP, "connections not read from for a while because their owner did not read")
// clang-format on

struct sockets_counters {
#define X(name, group, text) uint64_t name;
    SOCKETS_COUNTERS(X)
#undef X
};
const struct sockets_counters *sockets_counters(const struct sockets *s);
