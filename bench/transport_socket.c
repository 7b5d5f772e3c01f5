// Kernel TCP through io_uring.
#include <stdio.h>
#include <stdlib.h>

#include "bench/transport.h"
#include "drivers/io.h"
#include "drivers/sockets.h"

#define RING_ENTRIES 1024
#define WAIT_US 1000

struct transport_socket {
    struct transport transport; // must be first
    struct io *io;
    struct sockets *sockets;
};

static struct stream *socket_connect(struct transport *t, const struct endpoint *to, int *error)
{
    return sockets_connect(((struct transport_socket *)t)->sockets, to, error);
}

static unsigned socket_begin(struct transport *t, bool idle, struct stream **ready, unsigned max)
{
    struct transport_socket *s = (struct transport_socket *)t;
    if (idle)
        io_wait(s->io, WAIT_US);
    else
        io_turn(s->io);
    return sockets_ready(s->sockets, ready, max);
}

static void socket_end(struct transport *t)
{
    // The next io_turn or io_wait submits.
    sockets_turn_end(((struct transport_socket *)t)->sockets);
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
    s->io = io_create(RING_ENTRIES, error, error_size);
    if (s->io) {
        struct sockets_config config = {0};
        s->sockets = sockets_create(s->io, &config, error, error_size);
    }
    (void)o;
    if (!s->sockets) {
        socket_close(&s->transport);
        return NULL;
    }
    return &s->transport;
}
