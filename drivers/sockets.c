#include "drivers/sockets.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <mimalloc.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "drivers/sockets_internal.h"

// Waiting for the kernel to let go of our memory when everything is torn down.
enum { DESTROY_WAIT_MS = 2000 };

uint64_t sockets_now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void connection_event(struct connection *c, unsigned events)
{
    if (c->released)
        return;
    c->stream.events |= (uint16_t)events;
    if (c->is_ready)
        return;
    struct sockets *s = c->s;
    c->is_ready = true;
    c->next_ready = NULL;
    if (s->ready_last)
        s->ready_last->next_ready = c;
    else
        s->ready_first = c;
    s->ready_last = c;
}

void connection_touch(struct connection *c)
{
    if (c->is_touched)
        return;
    c->is_touched = true;
    c->next_touched = c->s->touched;
    c->s->touched = c;
}

static bool table_grow(struct sockets *s)
{
    uint32_t size = s->table_size ? s->table_size * 2 : 256;
    struct connection **table = mi_realloc(s->table, size * sizeof(struct connection *));
    if (!table)
        return false;
    s->table = table;
    uint32_t *free_index = mi_realloc(s->free_index, size * sizeof(uint32_t));
    if (!free_index)
        return false;
    s->free_index = free_index;
    s->table_size = size;
    return true;
}

struct connection *connection_new(struct sockets *s, int fd)
{
    if (s->n_free == 0 && s->n_table == s->table_size && !table_grow(s))
        return NULL;
    struct connection *c = mi_zalloc(sizeof(*c));
    if (!c)
        return NULL;
    c->index = s->n_free ? s->free_index[--s->n_free] : s->n_table++;
    s->table[c->index] = c;
    s->count++;
    c->s = s;
    c->fd = fd;
    c->rx_first = c->rx_last = BUFFER_NONE;
    c->stream.ops = &connection_ops;
    c->stream.out.ops = &send_out_ops;
    pieces_close(&c->output, &c->stream.out);
    return c;
}

static void linger_remove(struct connection *c)
{
    struct sockets *s = c->s;
    if (!c->lingering)
        return;
    c->lingering = false;
    if (c->linger_prev)
        c->linger_prev->linger_next = c->linger_next;
    else
        s->linger_first = c->linger_next;
    if (c->linger_next)
        c->linger_next->linger_prev = c->linger_prev;
    else
        s->linger_last = c->linger_prev;
}

// All linger for the same time from their last progress, so the list is in order of its deadlines.
void connection_linger(struct connection *c)
{
    struct sockets *s = c->s;
    linger_remove(c);
    c->lingering = true;
    c->linger_until_ms = sockets_now_ms() + s->config.linger_ms;
    c->linger_next = NULL;
    c->linger_prev = s->linger_last;
    if (s->linger_last)
        s->linger_last->linger_next = c;
    else
        s->linger_first = c;
    s->linger_last = c;
    sockets_tick_arm(s);
}

void connection_die(struct connection *c, enum stream_error error)
{
    if (c->dead)
        return;
    c->dead = true;
    c->stream.error = (uint8_t)error;
    c->s->counters.closed++;
    if (error == STREAM_RESET)
        c->s->counters.resets++;
    linger_remove(c);
    if (c->pending) {
        // The descriptor stays open until the cancelled operations have said so: its number cannot
        // be given to another connection that this would then cancel too.
        struct io_uring_sqe *sqe = io_sqe(c->s->io, IO_SOCKETS, sockets_tag(c, OP_CANCEL));
        io_uring_prep_cancel_fd(sqe, c->fd, IORING_ASYNC_CANCEL_ALL);
        c->pending++;
    }
    connection_event(c, STREAM_CLOSED);
    connection_touch(c);
}

static void connection_abort(struct stream *stream)
{
    struct connection *c = (struct connection *)stream;
    if (c->dead)
        return;
    c->reset = true;
    connection_die(c, STREAM_ABORTED);
}

static void connection_close(struct stream *stream)
{
    struct connection *c = (struct connection *)stream;
    if (c->dead || c->closing)
        return;
    c->closing = true;
    connection_touch(c);
    if (c->connecting)
        connection_die(c, STREAM_OK);
    else
        connection_linger(c);
}

static void connection_release(struct stream *stream)
{
    struct connection *c = (struct connection *)stream;
    assert(c->dead && !c->released);
    c->released = true;
    connection_touch(c);
}

// As Redis does: the third of the idle time between probes, three probes.
static void connection_keepalive(struct stream *stream, unsigned idle_s)
{
    const struct connection *c = (struct connection *)stream;
    if (c->dead || c->unix_peer)
        return;
    int on = idle_s != 0, idle = (int)idle_s, count = 3;
    int interval = idle / 3 ? idle / 3 : 1;
    setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (!on)
        return;
    setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static size_t connection_memory(const struct stream *stream)
{
    const struct connection *c = (const struct connection *)stream;
    return sizeof(*c) + c->heap_cap;
}

const struct stream_ops connection_ops = {
    .refill = receive_refill,
    .push = send_push,
    .unsent = send_unsent,
    .memory = connection_memory,
    .close = connection_close,
    .abort = connection_abort,
    .release = connection_release,
    .keepalive = connection_keepalive,
    .info = connection_info,
    .check = receive_check,
};

// Output is delivered to the kernel: send our FIN, then wait for the peer's, so that bytes it sent
// after our last look do not turn the close into a reset that eats the reply.
static void connection_closing(struct connection *c)
{
    if (c->output.queued || c->sending)
        return;
    if (!c->shut) {
        c->shut = true;
        shutdown(c->fd, SHUT_WR);
    }
    if (c->eof)
        connection_die(c, STREAM_OK);
}

static void connection_close_fd(struct connection *c)
{
    if (c->fd < 0)
        return;
    if (c->reset) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    close(c->fd);
    c->fd = -1;
}

static void connection_free(struct connection *c)
{
    struct sockets *s = c->s;
    assert(c->pending == 0 && !c->is_ready && !c->is_touched);
    assert(!c->sending);
    pieces_discard(&c->output, &s->pool, &c->stream.out);
    receive_free(c);
    mi_free(c->to);
    s->table[c->index] = NULL;
    s->free_index[s->n_free++] = c->index;
    s->count--;
    mi_free(c);
}

static void ready_remove(struct connection *c)
{
    struct sockets *s = c->s;
    struct connection *before = NULL;
    for (struct connection *i = s->ready_first; i != c; i = i->next_ready)
        before = i;
    if (before)
        before->next_ready = c->next_ready;
    else
        s->ready_first = c->next_ready;
    if (s->ready_last == c)
        s->ready_last = before;
    c->is_ready = false;
}

static void connection_turn_end(struct connection *c)
{
    c->is_touched = false;
    if (__builtin_expect(!c->dead, 1)) {
        send_start(c);
        if (c->closing)
            connection_closing(c);
        receive_turn_end(c);
    }
    if (__builtin_expect(c->dead, 0)) {
        c->stream.in_len = 0;
        c->rx_first = c->rx_last = BUFFER_NONE;
        if (c->pending == 0) {
            connection_close_fd(c);
            if (c->released) {
                if (c->is_ready)
                    ready_remove(c);
                connection_free(c);
            }
        }
    }
}

void sockets_turn_end(struct sockets *s)
{
    // Dying touches the connection again: the loop takes such late comers too.
    while (s->touched) {
        struct connection *c = s->touched;
        s->touched = c->next_touched;
        connection_turn_end(c);
    }
    if (s->n_spent)
        receive_give_back(s);
}

unsigned sockets_ready(struct sockets *s, struct stream **ready, unsigned max)
{
    unsigned n = 0;
    while (n < max && s->ready_first) {
        struct connection *c = s->ready_first;
        s->ready_first = c->next_ready;
        c->is_ready = false;
        if (!c->released)
            ready[n++] = &c->stream;
    }
    if (!s->ready_first)
        s->ready_last = NULL;
    return n;
}

void sockets_tick_arm(struct sockets *s)
{
    if (s->tick_armed || s->closing_down)
        return;
    struct io_uring_sqe *sqe = io_sqe(s->io, IO_SOCKETS, sockets_tag(s, OP_TICK));
    io_uring_prep_timeout(sqe, s->tick, 0, 0);
    s->tick_armed = true;
    s->pending++;
}

static void sockets_ticked(struct sockets *s)
{
    s->pending--;
    s->tick_armed = false;
    if (s->closing_down)
        return;
    uint64_t now_ms = sockets_now_ms();
    while (s->linger_first && s->linger_first->linger_until_ms <= now_ms) {
        struct connection *c = s->linger_first;
        // What the peer did not take in time is lost either way; a reset tells it so.
        c->reset = c->output.queued != 0 || c->sending;
        connection_die(c, STREAM_TIMED_OUT);
    }
    listeners_retry(s);
    if (s->linger_first)
        sockets_tick_arm(s);
}

static void sockets_complete(void *context, uint64_t tag, const struct io_uring_cqe *cqe)
{
    struct sockets *s = context;
    void *of = (void *)(uintptr_t)(tag & ~(uint64_t)OP_MASK);
    struct connection *c = of;
    switch (tag & OP_MASK) {
    case OP_RECEIVE:
        receive_completed(c, cqe);
        break;
    case OP_SEND:
        c->pending--;
        send_completed(c, cqe->res);
        break;
    case OP_ACCEPT:
        listener_accepted(s, of, cqe);
        break;
    case OP_CONNECT:
        c->pending--;
        connection_connected(c, cqe->res);
        break;
    case OP_CANCEL:
        if (of == s)
            s->pending--;
        else {
            c->pending--;
            c->cancelling = false;
            connection_touch(c);
        }
        break;
    case OP_TICK:
        sockets_ticked(s);
        break;
    case OP_HANGUP:
        receive_hung_up(c, cqe);
        break;
    default:
        assert(!"a completion of no operation");
    }
}

struct sockets *sockets_create(struct io *io, const struct sockets_config *config, char *error,
                               size_t error_size)
{
    struct sockets *s = mi_zalloc_aligned(sizeof(*s), 64);
    struct __kernel_timespec *tick = mi_zalloc(sizeof(*tick));
    if (!s || !tick) {
        mi_free(s);
        mi_free(tick);
        snprintf(error, error_size, "sockets: out of memory");
        return NULL;
    }
    s->io = io;
    s->config = *config;
    s->tick = tick;
    s->pool.large_room = SOCKETS_CHUNK;
    s->pool.small_max = SOCKETS_CHUNKS_KEPT;
    tick->tv_nsec = SOCKETS_TICK_MS * 1000000ll;
    if (!s->config.receive_buffers)
        s->config.receive_buffers = SOCKETS_BUFFERS;
    if (!s->config.receive_buffer_size)
        s->config.receive_buffer_size = SOCKETS_BUFFER_SIZE;
    if (!s->config.unread_max)
        s->config.unread_max = SOCKETS_UNREAD_MAX;
    if (!s->config.linger_ms)
        s->config.linger_ms = SOCKETS_LINGER_MS;
    if (receive_create(s, error, error_size) < 0) {
        mi_free(s->tick);
        mi_free(s);
        return NULL;
    }
    io_register(io, IO_SOCKETS, sockets_complete, s);
    return s;
}

static bool sockets_idle(const struct sockets *s)
{
    if (s->pending)
        return false;
    for (uint32_t i = 0; i < s->n_table; i++)
        if (s->table[i] && s->table[i]->pending)
            return false;
    return true;
}

void sockets_destroy(struct sockets *s)
{
    if (!s)
        return;
    sockets_unlisten(s);
    s->closing_down = true;
    for (uint32_t i = 0; i < s->n_table; i++)
        if (s->table[i])
            connection_die(s->table[i], STREAM_ABORTED);
    if (s->tick_armed) {
        struct io_uring_sqe *sqe = io_sqe(s->io, IO_SOCKETS, sockets_tag(s, OP_CANCEL));
        io_uring_prep_cancel64(sqe, io_tag(IO_SOCKETS, sockets_tag(s, OP_TICK)), 0);
        s->pending++;
    }
    uint64_t until_ms = sockets_now_ms() + DESTROY_WAIT_MS;
    while (!sockets_idle(s) && sockets_now_ms() < until_ms)
        io_wait(s->io, SOCKETS_TICK_MS * 1000);
    // Memory that the kernel may still write to is left rather than given to someone else.
    bool idle = sockets_idle(s);
    for (uint32_t i = 0; i < s->n_table; i++) {
        struct connection *c = s->table[i];
        if (!c)
            continue;
        connection_close_fd(c);
        c->is_ready = c->is_touched = false;
        if (idle)
            connection_free(c);
    }
    io_register(s->io, IO_SOCKETS, NULL, NULL);
    if (!idle)
        return;
    piece_pool_free(&s->pool);
    send_free_vectors(s);
    receive_destroy(s);
    mi_free(s->table);
    mi_free(s->free_index);
    mi_free(s->tick);
    mi_free(s);
}

unsigned sockets_count(const struct sockets *s)
{
    return s->count;
}

const struct sockets_counters *sockets_counters(const struct sockets *s)
{
    return &s->counters;
}

// Places of the table that one call looks at.
#define EACH_PLACES 4096

void sockets_each(struct sockets *s, uint64_t *cursor, unsigned max,
                  bool (*each)(void *context, const struct stream_info *info), void *context)
{
    uint64_t i = *cursor, stop = i + EACH_PLACES;
    bool more = true;
    for (unsigned n = 0; more && i < s->n_table && i < stop && n < max; i++) {
        const struct connection *c = s->table[i];
        if (!c || c->dead)
            continue;
        struct stream_info info;
        connection_info(&c->stream, &info);
        connection_congestion(&c->stream, &info);
        more = each(context, &info);
        n++;
    }
    *cursor = i < s->n_table ? i : 0;
}
