// Receiving: the kernel fills buffers from a ring that we provide, and the stream shows them in
// place until the end of the turn. Then they go back, and what is unread moves to the heap.
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <mimalloc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "drivers/sockets_internal.h"

enum { BUFFER_GROUP = 1 };
// Buffers are this much further apart than their size: beginnings at the same offset of a page
// would compete for the same few sets of the cache.
enum { BUFFER_SKEW = 192 };

static uint8_t *buffer_at(const struct sockets *s, unsigned id)
{
    return s->buffers + (size_t)id * s->buffer_stride;
}

static uint32_t power_of_two(uint32_t n)
{
    uint32_t p = 1;
    while (p < n && p < SOCKETS_BUFFERS_MAX)
        p *= 2;
    return p;
}

static void *receive_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

int receive_create(struct sockets *s, char *error, size_t error_size)
{
    uint32_t n = s->config.receive_buffers = power_of_two(s->config.receive_buffers);
    s->buffer_stride = s->config.receive_buffer_size + BUFFER_SKEW;
    s->buffers_bytes = (size_t)n * s->buffer_stride;
    s->ring_bytes = n * sizeof(struct io_uring_buf);
    s->buffers = receive_map(s->buffers_bytes);
    s->ring = receive_map(s->ring_bytes);
    s->held = mi_calloc(n, sizeof(*s->held));
    s->spent = mi_calloc(n, sizeof(*s->spent));
    if (!s->buffers || !s->ring || !s->held || !s->spent) {
        snprintf(error, error_size, "sockets: no memory for %u receive buffers of %u bytes", n,
                 s->config.receive_buffer_size);
        receive_destroy(s);
        return -ENOMEM;
    }
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)s->ring, .ring_entries = n, .bgid = BUFFER_GROUP};
    int e = io_uring_register_buf_ring(io_ring(s->io), &reg, 0);
    if (e < 0) {
        snprintf(error, error_size,
                 "sockets: the kernel refuses provided buffers (%s): Linux 6.0 or newer is needed",
                 strerror(-e));
        munmap(s->ring, s->ring_bytes);
        s->ring = NULL;
        receive_destroy(s);
        return e;
    }
    io_uring_buf_ring_init(s->ring);
    for (uint32_t i = 0; i < n; i++)
        s->spent[i] = (uint16_t)i;
    s->n_spent = n;
    receive_give_back(s);
    return 0;
}

void receive_destroy(struct sockets *s)
{
    if (s->ring) {
        io_uring_unregister_buf_ring(io_ring(s->io), BUFFER_GROUP);
        munmap(s->ring, s->ring_bytes);
    }
    if (s->buffers)
        munmap(s->buffers, s->buffers_bytes);
    mi_free(s->held);
    mi_free(s->spent);
}

void receive_give_back(struct sockets *s)
{
    int mask = io_uring_buf_ring_mask(s->config.receive_buffers);
    for (uint32_t i = 0; i < s->n_spent; i++)
        io_uring_buf_ring_add(s->ring, buffer_at(s, s->spent[i]), s->config.receive_buffer_size,
                              s->spent[i], mask, (int)i);
    io_uring_buf_ring_advance(s->ring, (int)s->n_spent);
    s->n_spent = 0;
}

void receive_arm(struct connection *c)
{
    struct io_uring_sqe *sqe = io_sqe(c->s->io, IO_SOCKETS, sockets_tag(c, OP_RECEIVE));
    io_uring_prep_recv_multishot(sqe, c->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    c->receiving = true;
    c->pending++;
}

static void receive_bytes(struct connection *c, uint16_t id, uint32_t len)
{
    struct sockets *s = c->s;
    s->counters.receives++;
    s->counters.bytes_in += len;
    c->bytes_in += len;
    if (c->dead || c->closing)
        return;
    if (c->stream.in_len == 0 && c->rx_first == BUFFER_NONE) {
        c->stream.in = buffer_at(s, id);
        c->stream.in_len = len;
        c->in_heap = false;
    } else {
        s->held[id] = (struct held){.len = len, .next = BUFFER_NONE};
        if (c->rx_first == BUFFER_NONE)
            c->rx_first = id;
        else
            s->held[c->rx_last].next = id;
        c->rx_last = id;
    }
    connection_event(c, STREAM_READABLE);
}

static void receive_over(struct connection *c)
{
    c->eof = true;
    connection_event(c, STREAM_EOF);
}

void receive_completed(struct connection *c, const struct io_uring_cqe *cqe)
{
    struct sockets *s = c->s;
    connection_touch(c);
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        c->receiving = false;
        c->pending--;
    }
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        s->spent[s->n_spent++] = id;
        if (cqe->res > 0)
            receive_bytes(c, id, (uint32_t)cqe->res);
    }
    if (cqe->res > 0 || c->dead)
        return;
    switch (cqe->res) {
    case 0:
        if (!c->eof)
            receive_over(c);
        break;
    case -ENOBUFS:
        s->counters.buffers_empty++;
        break;
    case -ECANCELED:
    case -EINTR:
    case -EAGAIN:
        break;
    default:
        connection_die(c, sockets_error(cqe->res));
    }
}

// Where data and the end of the connection come close together, a receive that goes on can be told
// of the first alone (kernels before the fix of "multishot recv missing EOF on wakeup race"), and
// would wait for ever.
void receive_check(struct stream *stream)
{
    struct connection *c = (struct connection *)stream;
    if (c->dead || c->eof || !c->receiving || c->connecting)
        return;
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    connection_touch(c);
    if (n == 0)
        receive_over(c);
    else
        connection_die(c, sockets_error(-errno));
}

// A peer that sends no more, or is not read from, may still be gone before its replies are there.
// (A UNIX socket tells no more than that: the next send does.)
static void hangup_watch(struct connection *c)
{
    struct io_uring_sqe *sqe = io_sqe(c->s->io, IO_SOCKETS, sockets_tag(c, OP_HANGUP));
    // Errors and resets are told in any case, and first of all that the peer's side is closed: a
    // poll that goes on tells each of them once.
    io_uring_prep_poll_multishot(sqe, c->fd, 0);
    c->watching = true;
    c->pending++;
}

void receive_hung_up(struct connection *c, const struct io_uring_cqe *cqe)
{
    connection_touch(c);
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        c->watching = false;
        c->pending--;
    }
    if (c->dead || cqe->res < 0 || !(cqe->res & (POLLERR | POLLHUP)))
        return;
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error || !c->closing)
        connection_die(c, error ? sockets_error(-error) : STREAM_RESET);
}

void receive_refill(struct stream *stream)
{
    struct connection *c = (struct connection *)stream;
    if (c->rx_first != BUFFER_NONE && !c->dead) {
        const struct held *h = &c->s->held[c->rx_first];
        stream->in = buffer_at(c->s, c->rx_first);
        stream->in_len = h->len;
        c->in_heap = false;
        c->rx_first = h->next;
    } else if (c->heap || c->stopped) {
        connection_touch(c); // to free the heap, and to receive again
    }
}

size_t receive_unread(const struct connection *c)
{
    size_t n = c->stream.in_len;
    for (uint16_t i = c->rx_first; i != BUFFER_NONE; i = c->s->held[i].next)
        n += c->s->held[i].len;
    return n;
}

void receive_free(struct connection *c)
{
    mi_free(c->heap);
    c->heap = NULL;
    c->heap_cap = 0;
    c->in_heap = false;
}

// Moves what is unread to the heap.
static bool receive_keep(struct connection *c, size_t unread)
{
    struct stream *in = &c->stream;
    uint8_t *to = c->heap;
    size_t before = c->in_heap ? (size_t)(in->in - c->heap) : 0;
    if (before + unread > c->heap_cap) {
        // Twice what is needed, so that bytes that trickle in are not copied each time.
        size_t cap = unread * 2 < 512 ? 512 : unread * 2;
        if (cap > UINT32_MAX || !(to = mi_malloc(cap)))
            return false;
        memcpy(to, in->in, in->in_len);
        mi_free(c->heap);
        c->heap = to;
        c->heap_cap = (uint32_t)cap;
        before = 0;
    } else {
        assert(to); // there is something unread, and room for it
        if (!c->in_heap)
            memcpy(to, in->in, in->in_len);
    }
    uint8_t *end = to + before + in->in_len;
    for (uint16_t i = c->rx_first; i != BUFFER_NONE; i = c->s->held[i].next) {
        memcpy(end, buffer_at(c->s, i), c->s->held[i].len);
        end += c->s->held[i].len;
    }
    in->in = to + before;
    in->in_len = (uint32_t)unread;
    c->in_heap = true;
    return true;
}

void receive_turn_end(struct connection *c)
{
    struct stream *in = &c->stream;
    if (c->closing) {
        in->in_len = 0;
        c->rx_first = BUFFER_NONE;
    }
    size_t unread = in->in_len;
    if (__builtin_expect(in->in_len || c->heap || c->rx_first != BUFFER_NONE, 0)) {
        unread = receive_unread(c);
        if (unread == 0)
            receive_free(c);
        else if ((!c->in_heap || c->rx_first != BUFFER_NONE) && !receive_keep(c, unread)) {
            c->reset = true;
            connection_die(c, STREAM_NO_MEMORY);
            return;
        }
    }
    c->rx_first = c->rx_last = BUFFER_NONE;
    if (unread > c->s->config.unread_max) {
        if (c->receiving && !c->cancelling) {
            struct io_uring_sqe *sqe = io_sqe(c->s->io, IO_SOCKETS, sockets_tag(c, OP_CANCEL));
            io_uring_prep_cancel64(sqe, io_tag(IO_SOCKETS, sockets_tag(c, OP_RECEIVE)), 0);
            c->cancelling = true;
            c->pending++;
        }
        if (!c->stopped)
            c->s->counters.unread_stops++;
        c->stopped = true;
    } else if (unread == 0 || !c->stopped) {
        c->stopped = false;
        if (!c->receiving && !c->eof && !c->connecting)
            receive_arm(c);
    }
    if (__builtin_expect(!c->receiving, 0) && !c->connecting && !c->watching && !c->closing &&
        !c->unix_peer)
        hangup_watch(c);
}
