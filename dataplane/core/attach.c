#include "dataplane/core/attach.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <mimalloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

// `wake` is one descriptor number for the whole life of the data plane, so that cores may write to
// it at any moment: an event of the attached control plane is put in its place with dup3, which is
// atomic, and `nobody` when there is none.
struct attach {
    int epoll, listener;
    int peer; // the attached control plane, -1: none
    int wake, nobody;
    bool greeted; // the peer has sent its descriptor
    _Atomic bool connected;
    uint64_t generation;
    unsigned n_cores;
    int core_wake_fds[PLANE_CORES_MAX];
    char path[512];
};

static int attach_poll(struct attach *a, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(a->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

struct attach *attach_open(const char *run_dir, unsigned port, uint64_t generation,
                           unsigned n_cores, const int *core_wake_fds, char *error,
                           size_t error_size)
{
    assert(n_cores <= PLANE_CORES_MAX);
    struct attach *a = mi_calloc(1, sizeof(*a));
    if (!a) {
        snprintf(error, error_size, "no memory for the socket of the control plane");
        return NULL;
    }
    a->peer = -1;
    a->generation = generation;
    a->n_cores = n_cores;
    memcpy(a->core_wake_fds, core_wake_fds, n_cores * sizeof(int));
    plane_path(run_dir, port, "attach", a->path, sizeof(a->path));
    a->listener = plane_attach_listen(run_dir, port, error, error_size);
    if (a->listener < 0) {
        mi_free(a);
        return NULL;
    }
    a->epoll = epoll_create1(EPOLL_CLOEXEC);
    a->nobody = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    a->wake = a->nobody < 0 ? -1 : fcntl(a->nobody, F_DUPFD_CLOEXEC, 0);
    if (a->epoll < 0 || a->wake < 0 || attach_poll(a, a->listener)) {
        snprintf(error, error_size, "cannot serve %s: %s", a->path, strerror(errno));
        attach_close(a);
        return NULL;
    }
    return a;
}

int attach_fd(const struct attach *a)
{
    return a->epoll;
}

bool attach_connected(const struct attach *a)
{
    return atomic_load_explicit(&a->connected, memory_order_relaxed);
}

static void attach_drop(struct attach *a)
{
    if (a->peer < 0)
        return;
    close(a->peer);
    a->peer = -1;
    a->greeted = false;
    dup3(a->nobody, a->wake, O_CLOEXEC);
    atomic_store_explicit(&a->connected, false, memory_order_relaxed);
}

// The file is for its owner alone; this holds as well when its folder was made with other rights.
static bool attach_peer_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

static void attach_accept(struct attach *a)
{
    for (;;) {
        int fd = accept4(a->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        // The control side's lock lets one control plane run: a new connection is its successor.
        if (!attach_peer_allowed(fd) ||
            plane_attach_greet(fd, a->generation, a->core_wake_fds, a->n_cores) ||
            attach_poll(a, fd)) {
            close(fd);
            continue;
        }
        attach_drop(a);
        a->peer = fd;
    }
}

static void attach_read(struct attach *a)
{
    int fd;
    uint64_t generation;
    if (a->greeted) {
        char byte;
        ssize_t n = recv(a->peer, &byte, 1, MSG_DONTWAIT);
        if (n >= 0 || (errno != EAGAIN && errno != EINTR)) {
            attach_drop(a);
            log_notice("The control plane has gone; its commands wait for the next one");
        }
        return;
    }
    int n = plane_attach_greeted(a->peer, &generation, &fd, 1);
    if (n == -EAGAIN)
        return;
    if (n != 1) {
        attach_drop(a);
        log_warning("A process of another version tried to attach as control plane: refused");
        return;
    }
    dup3(fd, a->wake, O_CLOEXEC);
    close(fd);
    a->greeted = true;
    atomic_store_explicit(&a->connected, true, memory_order_relaxed);
    log_notice("A control plane has attached (generation %llu)", (unsigned long long)generation);
}

void attach_turn(struct attach *a)
{
    struct epoll_event events[4];
    int n = epoll_wait(a->epoll, events, 4, 0);
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == a->listener)
            attach_accept(a);
        else if (events[i].data.fd == a->peer)
            attach_read(a);
    }
}

void attach_wake_control(struct attach *a, struct plane_channel *channel)
{
    // Pairs with the control plane's: flag, fence, look at the rings, sleep.
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&channel->control_sleeps, memory_order_relaxed))
        return;
    atomic_store_explicit(&channel->control_sleeps, 0, memory_order_relaxed);
    uint64_t one = 1;
    ssize_t n = write(a->wake, &one, sizeof(one));
    (void)n; // a full counter has woken it already
}

void attach_close(struct attach *a)
{
    if (!a)
        return;
    attach_drop(a);
    close(a->listener);
    unlink(a->path);
    if (a->epoll >= 0)
        close(a->epoll);
    if (a->wake >= 0)
        close(a->wake);
    if (a->nobody >= 0)
        close(a->nobody);
    mi_free(a);
}
