// Kernel TCP and UNIX sockets through io_uring.
#include <stdio.h>
#include <stdlib.h>

#include "bench/transport.h"
#include "drivers/io.h"
#include "drivers/sockets.h"

#define RING_ENTRIES 1024

struct transport_socket {
    struct transport transport; // must be first
    struct io *io;
    struct sockets *sockets;
    const char *unix_path;
};

static struct stream *socket_connect(struct transport *t, const struct endpoint *to, int *error)
{
    struct transport_socket *s = (struct transport_socket *)t;
    if (to->family == 0)
        return sockets_connect_unix(s->sockets, s->unix_path, error);
    return sockets_connect(s->sockets, to, error);
}

static unsigned socket_begin(struct transport *t, unsigned wait_us, struct stream **ready,
                             unsigned max)
{
    struct transport_socket *s = (struct transport_socket *)t;
    if (wait_us)
        io_wait(s->io, wait_us);
    else
        io_turn(s->io);
    return sockets_ready(s->sockets, ready, max);
}

static void socket_end(struct transport *t)
{
    struct transport_socket *s = (struct transport_socket *)t;
    sockets_turn_end(s->sockets);
    // Submits, so that the kernel's work on what is sent falls into the turn that made it.
    io_turn(s->io);
}

static bool socket_strays(struct transport *t, const struct stream *stream)
{
    (void)t;
    (void)stream;
    return false;
}

static bool add_retransmitted(void *context, const struct stream_info *info)
{
    *(uint64_t *)context += info->retransmitted;
    return true;
}

static uint64_t socket_retransmitted(struct transport *t)
{
    const struct transport_socket *s = (struct transport_socket *)t;
    uint64_t sum = 0, cursor = 0;
    do
        sockets_each(s->sockets, &cursor, UINT32_MAX, add_retransmitted, &sum);
    while (cursor);
    return sum;
}

static void socket_close(struct transport *t)
{
    struct transport_socket *s = (struct transport_socket *)t;
    if (s->sockets)
        sockets_destroy(s->sockets);
    if (s->io)
        io_destroy(s->io);
    free(s);
}

static const struct transport_ops socket_ops = {
    .connect = socket_connect,
    .begin = socket_begin,
    .end = socket_end,
    .strays = socket_strays,
    .retransmitted = socket_retransmitted,
    .close = socket_close,
};

struct transport *transport_socket_open(const struct options *o, char *error, size_t error_size)
{
    struct transport_socket *s = calloc(1, sizeof(*s));
    if (!s) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    s->transport.ops = &socket_ops;
    s->unix_path = o->unix_path;
    s->io = io_create(RING_ENTRIES, error, error_size);
    if (s->io) {
        struct sockets_config config = {0};
        s->sockets = sockets_create(s->io, &config, error, error_size);
    }
    if (!s->sockets) {
        socket_close(&s->transport);
        return NULL;
    }
    return &s->transport;
}
