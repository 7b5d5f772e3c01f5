#include "drivers/io.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

// A completion queue this many times the submission queue holds a burst of multishot completions,
// so that the kernel's slow overflow list stays unused.
enum { IO_CQ_FACTOR = 8 };
// Ports' interrupt descriptors of one core.
enum { IO_WATCHES_MAX = 8 };

// Turns that the last wake gets to arrive; it takes one.
enum { IO_DESTROY_TURNS = 100 };

struct io_watch {
    int fd;
    bool armed;
};

struct io {
    struct io_uring ring;
    bool stopped;
    io_complete_fn *complete[IO_KINDS];
    void *context[IO_KINDS];
    uint64_t wake_count; // the kernel reads the eventfd's value into it
    int wake_fd;
    bool wake_armed;
    bool deferred;   // completions of asynchronous work are made only when we enter the kernel
    bool handed_out; // the last turn gave its users something to do
    unsigned n_watches;
    struct io_watch watch[IO_WATCHES_MAX];
};

static void io_woken(void *context, uint64_t tag, const struct io_uring_cqe *cqe)
{
    (void)tag;
    (void)cqe;
    struct io *io = context;
    io->wake_armed = false;
}

static void io_polled(void *context, uint64_t tag, const struct io_uring_cqe *cqe)
{
    (void)cqe;
    struct io *io = context;
    assert(tag < io->n_watches);
    io->watch[tag].armed = false;
}

// The newest mode that the kernel knows: completions run only when we ask (6.1), else without
// interrupting us (5.19), else as ever.
static int io_setup(struct io *io, unsigned entries)
{
    static const unsigned modes[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    int error = -EINVAL;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]) && error == -EINVAL; i++) {
        struct io_uring_params p = {
            .flags = modes[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL,
            .cq_entries = entries * IO_CQ_FACTOR,
        };
        error = io_uring_queue_init_params(entries, &io->ring, &p);
        io->deferred = (modes[i] & IORING_SETUP_DEFER_TASKRUN) != 0;
    }
    return error;
}

struct io *io_create(unsigned entries, char *error, size_t error_size)
{
    struct io *io = calloc(1, sizeof(*io));
    if (!io) {
        snprintf(error, error_size, "io_uring: out of memory");
        return NULL;
    }
    int e = io_setup(io, entries);
    if (e == -EPERM || e == -EACCES)
        snprintf(error, error_size,
                 "io_uring is forbidden: set sysctl kernel.io_uring_disabled=0, or allow "
                 "io_uring_setup in the container's seccomp profile");
    else if (e == -ENOSYS || e == -EINVAL)
        snprintf(error, error_size,
                 "io_uring is missing: a Linux kernel of 6.0 or newer is needed");
    else if (e == -ENOMEM)
        snprintf(error, error_size,
                 "io_uring: the kernel has no memory to lock: raise RLIMIT_MEMLOCK (ulimit -l)");
    else if (e < 0)
        snprintf(error, error_size, "io_uring cannot be set up: %s", strerror(-e));
    if (e < 0) {
        free(io);
        return NULL;
    }
    io->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (io->wake_fd < 0) {
        snprintf(error, error_size, "eventfd: %s", strerror(errno));
        io_uring_queue_exit(&io->ring);
        free(io);
        return NULL;
    }
    // Saves the look-up of the ring's descriptor in each call; a kernel without it works as well.
    io_uring_register_ring_fd(&io->ring);
    io_register(io, IO_WAKE, io_woken, io);
    io_register(io, IO_POLL, io_polled, io);
    return io;
}

void io_stop(struct io *io)
{
    if (io->stopped)
        return;
    io->stopped = true;
    // The kernel shall not hold a read into our memory when that is given back.
    io_wake(io);
    for (int i = 0; i < IO_DESTROY_TURNS && io->wake_armed; i++)
        io_wait(io, 1000);
    io_uring_queue_exit(&io->ring);
}

void io_destroy(struct io *io)
{
    if (!io)
        return;
    io_stop(io);
    close(io->wake_fd);
    free(io);
}

void io_register(struct io *io, enum io_kind kind, io_complete_fn *complete, void *context)
{
    assert(kind > 0 && kind < IO_KINDS);
    io->complete[kind] = complete;
    io->context[kind] = context;
}

struct io_uring_sqe *io_sqe(struct io *io, enum io_kind kind, uint64_t tag)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
    while (__builtin_expect(!sqe, 0)) {
        int n = io_uring_submit(&io->ring);
        assert(n >= 0 || n == -EINTR || n == -EAGAIN || n == -EBUSY);
        sqe = io_uring_get_sqe(&io->ring);
    }
    // The caller's io_uring_prep_… leaves user_data as it is.
    sqe->user_data = io_tag(kind, tag);
    return sqe;
}

struct io_uring *io_ring(struct io *io)
{
    return &io->ring;
}

// Hands out what has completed, at most what was there when it began.
static unsigned io_reap(struct io *io)
{
    struct io_uring_cq *cq = &io->ring.cq;
    unsigned head = *cq->khead;
    unsigned tail = io_uring_smp_load_acquire(cq->ktail);
    unsigned n = tail - head;
    for (; head != tail; head++) {
        const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];
        unsigned kind = (unsigned)(cqe->user_data & 0xff);
        assert(kind < IO_KINDS);
        if (io->complete[kind])
            io->complete[kind](io->context[kind], cqe->user_data >> 8, cqe);
        io_uring_smp_store_release(cq->khead, head + 1);
    }
    return n;
}

unsigned io_turn(struct io *io)
{
    struct io_uring *ring = &io->ring;
    unsigned flags = IO_URING_READ_ONCE(*ring->sq.kflags);
    if (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW))
        io_uring_submit_and_get_events(ring);
    else if (io_uring_sq_ready(ring)) {
        if (io->deferred)
            io_uring_submit_and_get_events(ring);
        else
            io_uring_submit(ring);
    }
    unsigned n = io_reap(io);
    io->handed_out = n != 0;
    return n;
}

int io_watch(struct io *io, int fd)
{
    if (io->n_watches == IO_WATCHES_MAX)
        return -ENOSPC;
    io->watch[io->n_watches++] = (struct io_watch){.fd = fd};
    return 0;
}

// Before a sleep only: a core that is awake polls its ports, and pays nothing for their interrupts.
// A one-shot poll looks at the state first, so what came in between is not missed.
static void io_arm(struct io *io)
{
    if (!io->wake_armed) {
        struct io_uring_sqe *sqe = io_sqe(io, IO_WAKE, 0);
        io_uring_prep_read(sqe, io->wake_fd, &io->wake_count, sizeof(io->wake_count), 0);
        io->wake_armed = true;
    }
    for (unsigned i = 0; i < io->n_watches; i++) {
        if (io->watch[i].armed)
            continue;
        struct io_uring_sqe *sqe = io_sqe(io, IO_POLL, i);
        io_uring_prep_poll_add(sqe, io->watch[i].fd, POLLIN);
        io->watch[i].armed = true;
    }
}

unsigned io_wait(struct io *io, uint64_t timeout_us)
{
    if (timeout_us == 0 || io_uring_cq_ready(&io->ring))
        return io_turn(io);
    // A turn may end with submitting, and collect work by the way: that is done before any sleep.
    if (io->handed_out) {
        io->handed_out = false;
        return 0;
    }
    io_arm(io);
    struct __kernel_timespec ts = {.tv_sec = (long long)(timeout_us / 1000000),
                                   .tv_nsec = (long long)(timeout_us % 1000000 * 1000)};
    struct io_uring_cqe *cqe;
    io_uring_submit_and_wait_timeout(&io->ring, &cqe, 1, &ts, NULL);
    return io_reap(io);
}

void io_wake(struct io *io)
{
    uint64_t one = 1;
    // The counter can only be full if 2^64 - 2 wakes are pending: the sleeper wakes all the same.
    ssize_t n = write(io->wake_fd, &one, sizeof(one));
    (void)n;
}

int io_wake_fd(const struct io *io)
{
    return io->wake_fd;
}
