// How bytes reach the server: kernel sockets, or the TCP/IP stack of Pollux on a DPDK device. Both
// give streams (common/stream.h), so all that stands above is the same for both. A transport
// belongs to one thread; what the transports of several threads share is opened once, before them.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bench/options.h"
#include "common/stream.h"

struct transport;

struct transport_ops {
    // `to` of family 0: the UNIX socket of the options. NULL with a negative errno in *error.
    struct stream *(*connect)(struct transport *t, const struct endpoint *to, int *error);
    // Starts a turn: receives, and gives the streams that have events. The transport may wait for
    // at most `wait_us` until there are some; 0: it must not.
    unsigned (*begin)(struct transport *t, unsigned wait_us, struct stream **ready, unsigned max);
    // Ends the turn: what was pushed leaves.
    void (*end)(struct transport *t);
    // Does the peer's side of a connection come to another thread's queue? It works all the same,
    // at the cost of a copy; one with another local port may come to ours.
    bool (*strays)(struct transport *t, const struct stream *s);
    // TCP segments that were sent again since the beginning. Not for the loop.
    uint64_t (*retransmitted)(struct transport *t);
    void (*close)(struct transport *t);
};

struct transport {
    const struct transport_ops *ops;
};

// The devices of --transport dpdk, with a queue for each thread. Opened before the threads start,
// closed after the last transport. NULL with one line in `error` that says what to do.
struct devices;
struct devices *devices_open(const struct options *o, char *error, size_t error_size);
void devices_close(struct devices *d);

// On the thread that will use it, number `thread` < o->threads. NULL with one line in `error`.
struct transport *transport_socket_open(const struct options *o, char *error, size_t error_size);
// TLS over `under`, which goes with it, also when this fails.
struct transport *transport_tls_open(struct transport *under, const struct options *o, char *error,
                                     size_t error_size);
struct transport *transport_nic_open(struct devices *d, const struct options *o, unsigned thread,
                                     char *error, size_t error_size);
