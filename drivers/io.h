// The io_uring of one core. Kernel sockets, sleeping and waking, and the disk are its users; each
// registers a completion handler by kind. One core owns it (IORING_SETUP_SINGLE_ISSUER); only
// `io_wake` may be called from elsewhere.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct io;
struct io_uring_sqe;
struct io_uring_cqe;

// Who asked for a completion: the low byte of user_data; the rest is the user's pointer or number.
enum io_kind { IO_WAKE = 1, IO_POLL, IO_SOCKETS, IO_DISK, IO_KINDS };

// The user_data of an operation; `tag` has 56 bits.
static inline uint64_t io_tag(enum io_kind kind, uint64_t tag)
{
    return tag << 8 | kind;
}

typedef void io_complete_fn(void *context, uint64_t tag, const struct io_uring_cqe *cqe);

// Creates the ring on the calling thread, which becomes its owner. `error` gets one line that says
// what to do (kernel too old, io_uring_disabled, RLIMIT_MEMLOCK).
struct io *io_create(unsigned entries, char *error, size_t error_size);
// Ends the ring; on the owner's thread. `io_wake` may still be called, and does nothing of use.
void io_stop(struct io *io);
// Frees it; any thread, once nobody can wake it. Stops it first if that was not done.
void io_destroy(struct io *io);
void io_register(struct io *io, enum io_kind kind, io_complete_fn *complete, void *context);
// A submission entry, prepared by the caller, tagged with io_tag(). Submits when the queue is full.
struct io_uring_sqe *io_sqe(struct io *io, enum io_kind kind, uint64_t tag);
struct io_uring *io_ring(struct io *io);
// Submits what is queued and hands out what completed, without blocking. Returns completions
// handled.
unsigned io_turn(struct io *io);
// Adds a descriptor (a port's interrupt, AF_XDP's socket) whose readiness ends `io_wait`.
int io_watch(struct io *io, int fd);
// Sleeps until a completion, a watched descriptor, a wake or the time-out. Then like `io_turn`.
// Returns at once when the last io_turn handed out completions: their users have work to do before
// the core may sleep.
unsigned io_wait(struct io *io, uint64_t timeout_us);
// Ends the sleep of another core. Cheap when it is not asleep: the caller looks at the sleep flag
// first (dataplane/core/idle). Any thread.
void io_wake(struct io *io);
// The descriptor that io_wake writes to, to be handed to another process.
int io_wake_fd(const struct io *io);
