// How bytes reach the server: kernel sockets, or the TCP/IP stack of Pollux on a DPDK device. Both
// give streams (common/stream.h), so all that stands above is the same for both. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bench/options.h"
#include "common/stream.h"

struct transport;

struct transport_ops {
    struct stream *(*connect)(struct transport *t, const struct endpoint *to, int *error);
    // Starts a turn: receives, and gives the streams that have events. `idle`: the last turn had
    // none, so the transport may wait for a moment (at most a millisecond).
    unsigned (*begin)(struct transport *t, bool idle, struct stream **ready, unsigned max);
    // Ends the turn: what was pushed leaves.
    void (*end)(struct transport *t);
    void (*close)(struct transport *t);
};

struct transport {
    const struct transport_ops *ops;
};

// NULL with one line in `error` that says what to do.
struct transport *transport_socket_open(const struct options *o, char *error, size_t error_size);
struct transport *transport_nic_open(const struct options *o, char *error, size_t error_size);
