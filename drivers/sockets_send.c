// Sending: output is a list of pieces. Small replies are written to chunks that are recycled,
// shared blocks are referred to. A connection has one send under way at a time, of all that was
// there when it began; what is written meanwhile goes behind it, in the same chunk while it has
// room.
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <mimalloc.h>
#include <string.h>

#include "common/block.h"
#include "drivers/sockets_internal.h"

// Bytes of a chunk with its header. Not powers of two: chunks of many connections are written at
// their beginnings, which would compete for the same sets of the cache.
enum { CHUNK_SMALL = 1792, CHUNK_LARGE = 32 * 1024 - 192 };
// Output of this size goes on in large chunks.
enum { CHUNK_LARGE_FROM = 1024 };
// Free chunks that a core keeps: 1.8 MB and 2 MB.
enum { FREE_SMALL_MAX = 1024, FREE_LARGE_MAX = 64, FREE_REFS_MAX = 256 };
// Shorter references are copied: a piece costs more than so many bytes.
enum { REF_MIN = 512 };

_Static_assert(CHUNK_SMALL - sizeof(struct piece) >= OUT_CONTIGUOUS_MAX, "one run fits any chunk");

static _Thread_local uint8_t scratch[OUT_CONTIGUOUS_MAX];

// An output without a chunk has no room, at a place that may be named.
void send_no_chunk(struct connection *c)
{
    c->open = false;
    c->stream.out.pos = c->stream.out.end = scratch;
}

static struct piece *free_pop(struct piece **list, unsigned *n)
{
    struct piece *p = *list;
    if (p) {
        *list = p->next;
        --*n;
    }
    return p;
}

static void free_push(struct piece **list, unsigned *n, unsigned max, struct piece *p)
{
    if (*n >= max) {
        mi_free(p);
        return;
    }
    p->next = *list;
    *list = p;
    ++*n;
}

static struct piece *chunk_new(struct sockets *s, bool large)
{
    struct piece *p = large ? free_pop(&s->free_large, &s->n_free_large)
                            : free_pop(&s->free_small, &s->n_free_small);
    size_t size = large ? CHUNK_LARGE : CHUNK_SMALL;
    if (!p && !(p = mi_malloc(size)))
        return NULL;
    *p = (struct piece){
        .data = p->bytes, .cap = (uint32_t)(size - sizeof(struct piece)), .large = large};
    return p;
}

static void piece_free(struct sockets *s, struct piece *p)
{
    if (p->block) {
        block_release(p->block);
        free_push(&s->free_refs, &s->n_free_refs, FREE_REFS_MAX, p);
    } else if (p->large) {
        free_push(&s->free_large, &s->n_free_large, FREE_LARGE_MAX, p);
    } else {
        free_push(&s->free_small, &s->n_free_small, FREE_SMALL_MAX, p);
    }
}

static void piece_append(struct connection *c, struct piece *p)
{
    if (c->last)
        c->last->next = p;
    else
        c->first = p;
    c->last = p;
}

// Counts what was written to the open chunk.
static void send_settle(struct connection *c)
{
    if (!c->open)
        return;
    struct piece *p = c->last;
    size_t len = (size_t)(c->stream.out.pos - p->data);
    c->queued += len - p->len;
    p->len = len;
    if (c->queued > STREAM_OUT_HIGH)
        c->high = true;
}

static void send_close_chunk(struct connection *c)
{
    send_settle(c);
    send_no_chunk(c);
}

static void out_to_scratch(struct connection *c)
{
    c->stream.out.pos = scratch;
    c->stream.out.end = scratch + sizeof(scratch);
}

static void send_grow(struct out *o, size_t need)
{
    struct connection *c = (struct connection *)o;
    assert(need <= OUT_CONTIGUOUS_MAX);
    send_close_chunk(c);
    // A dead connection takes output for nobody; the writer need not know.
    if (o->failed || c->dead || c->closing) {
        out_to_scratch(c);
        return;
    }
    struct piece *p = chunk_new(c->s, c->queued >= CHUNK_LARGE_FROM);
    if (!p) {
        o->failed = true;
        out_to_scratch(c);
        return;
    }
    piece_append(c, p);
    c->open = true;
    o->pos = p->data;
    o->end = p->data + p->cap;
}

static void send_ref(struct out *o, struct block *b, size_t offset, size_t len)
{
    struct connection *c = (struct connection *)o;
    assert(offset <= b->len && len <= b->len - offset);
    if (len < REF_MIN) {
        out_write(o, b->data + offset, len);
        return;
    }
    send_close_chunk(c);
    if (o->failed || c->dead || c->closing)
        return;
    struct piece *p = free_pop(&c->s->free_refs, &c->s->n_free_refs);
    if (!p && !(p = mi_malloc(sizeof(*p)))) {
        o->failed = true;
        return;
    }
    *p = (struct piece){.block = block_retain(b), .data = b->data + offset, .len = len};
    piece_append(c, p);
    c->queued += len;
    if (c->queued > STREAM_OUT_HIGH)
        c->high = true;
}

const struct out_ops send_out_ops = {.grow = send_grow, .ref = send_ref};

void send_push(struct stream *stream)
{
    connection_touch((struct connection *)stream);
}

size_t send_unsent(const struct stream *stream)
{
    const struct connection *c = (const struct connection *)stream;
    size_t open = c->open ? (size_t)(stream->out.pos - c->last->data) - c->last->len : 0;
    return c->queued + open;
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
    if (c->sending || c->connecting || c->queued == 0)
        return;
    // MSG_WAITALL: the kernel goes on by itself when the peer reads, so short sends are rare.
    const int flags = MSG_NOSIGNAL | MSG_WAITALL;
    struct piece *p = c->first;
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

// Drops the pieces that `n` sent bytes cover.
static void send_advance(struct connection *c, size_t n)
{
    while (c->first) {
        struct piece *p = c->first;
        size_t take = least(p->len - p->sent, n);
        p->sent += take;
        n -= take;
        if (p->sent < p->len)
            break;
        // A connection without output holds no chunk.
        if (p == c->last) {
            c->last = NULL;
            if (c->open)
                send_no_chunk(c);
        }
        c->first = p->next;
        piece_free(c->s, p);
    }
    assert(n == 0);
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
        send_advance(c, (size_t)result);
        c->queued -= (size_t)result;
        c->bytes_out += (size_t)result;
        c->s->counters.bytes_out += (size_t)result;
        if (c->high && c->queued < STREAM_OUT_HIGH / 2) {
            c->high = false;
            connection_event(c, STREAM_WRITABLE);
        }
        if (c->closing && result > 0)
            connection_linger(c);
    } else if (result != -EAGAIN && result != -EINTR) {
        connection_die(c, sockets_error(result));
    }
    if (c->queued || c->closing)
        connection_touch(c);
}

void send_discard(struct connection *c)
{
    assert(!c->sending);
    for (struct piece *p = c->first, *next; p; p = next) {
        next = p->next;
        piece_free(c->s, p);
    }
    c->first = c->last = NULL;
    c->open = false;
    c->queued = 0;
}

static void list_free(struct piece *p)
{
    for (struct piece *next; p; p = next) {
        next = p->next;
        mi_free(p);
    }
}

void send_free_lists(struct sockets *s)
{
    list_free(s->free_small);
    list_free(s->free_large);
    list_free(s->free_refs);
    for (struct send_vector *v = s->free_vectors, *next; v; v = next) {
        next = v->next;
        mi_free(v);
    }
}
