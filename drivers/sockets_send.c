// Sending: output is a list of pieces (pieces.h). A connection has one send under way at a time, of
// all that was there when it began; what is written meanwhile goes behind it.
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <mimalloc.h>
#include <string.h>

#include "drivers/sockets_internal.h"

static void send_grow(struct out *o, size_t need)
{
    struct connection *c = (struct connection *)o;
    assert(need <= OUT_CONTIGUOUS_MAX);
    pieces_grow(&c->output, &c->s->pool, o, c->dead || c->closing);
}

static void send_ref(struct out *o, struct block *b, size_t offset, size_t len)
{
    struct connection *c = (struct connection *)o;
    pieces_ref(&c->output, &c->s->pool, o, c->dead || c->closing, b, offset, len);
}

const struct out_ops send_out_ops = {.grow = send_grow, .ref = send_ref};

// Counts what was written to the open chunk.
static void send_settle(struct connection *c)
{
    pieces_settle(&c->output, &c->stream.out);
    if (c->output.queued > STREAM_OUT_HIGH)
        c->high = true;
}

void send_push(struct stream *stream)
{
    connection_touch((struct connection *)stream);
}

size_t send_unsent(const struct stream *stream)
{
    const struct connection *c = (const struct connection *)stream;
    return pieces_unsent(&c->output, &stream->out);
}

static struct send_vector *vector_new(struct sockets *s)
{
    struct send_vector *v = s->free_vectors;
    if (v)
        s->free_vectors = v->next;
    else
        v = mi_malloc(sizeof(*v));
    return v;
}

static void vector_free(struct connection *c)
{
    if (!c->vector)
        return;
    c->vector->next = c->s->free_vectors;
    c->s->free_vectors = c->vector;
    c->vector = NULL;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

void send_start(struct connection *c)
{
    send_settle(c);
    if (c->sending || c->connecting || c->output.queued == 0)
        return;
    // MSG_WAITALL: the kernel goes on by itself when the peer reads, so short sends are rare.
    const int flags = MSG_NOSIGNAL | MSG_WAITALL;
    struct piece *p = c->output.first;
    struct io_uring_sqe *sqe = io_sqe(c->s->io, IO_SOCKETS, sockets_tag(c, OP_SEND));
    size_t n = least(p->len - p->sent, SOCKETS_SEND_MAX);
    const struct piece *second = p->next;
    if (second && second->len && n < SOCKETS_SEND_MAX && (c->vector = vector_new(c->s))) {
        struct send_vector *v = c->vector;
        unsigned i = 0;
        for (size_t room = SOCKETS_SEND_MAX; p && room && i < SOCKETS_SEND_PIECES; p = p->next) {
            size_t take = least(p->len - p->sent, room);
            v->piece[i++] = (struct iovec){.iov_base = p->data + p->sent, .iov_len = take};
            room -= take;
        }
        v->message = (struct msghdr){.msg_iov = v->piece, .msg_iovlen = i};
        io_uring_prep_sendmsg(sqe, c->fd, &v->message, flags);
    } else {
        io_uring_prep_send(sqe, c->fd, p->data + p->sent, n, flags);
    }
    c->sending = true;
    c->pending++;
    c->s->counters.sends++;
}

void send_completed(struct connection *c, int result)
{
    c->sending = false;
    vector_free(c);
    if (c->dead) {
        connection_touch(c);
        return;
    }
    send_settle(c);
    if (result >= 0) {
        pieces_advance(&c->output, &c->s->pool, &c->stream.out, (size_t)result);
        c->bytes_out += (size_t)result;
        c->s->counters.bytes_out += (size_t)result;
        if (c->high && c->output.queued < STREAM_OUT_HIGH / 2) {
            c->high = false;
            connection_event(c, STREAM_WRITABLE);
        }
        if (c->closing && result > 0)
            connection_linger(c);
    } else if (result != -EAGAIN && result != -EINTR) {
        connection_die(c, sockets_error(result));
    }
    if (c->output.queued || c->closing)
        connection_touch(c);
}

void send_free_vectors(struct sockets *s)
{
    for (struct send_vector *v = s->free_vectors, *next; v; v = next) {
        next = v->next;
        mi_free(v);
    }
}
