// How the two planes hand each other the descriptors that end each other's sleep.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/plane.h"

struct greeting {
    uint32_t magic, version;
    uint64_t generation;
};

static int attach_socket(const char *run_directory, unsigned port, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    char path[512];
    plane_path(run_directory, port, "attach", path, sizeof(path));
    if (strlen(path) >= sizeof(address->sun_path))
        return -ENAMETOOLONG;
    strcpy(address->sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

int plane_attach_listen(const char *run_directory, unsigned port, char *error, size_t error_size)
{
    struct sockaddr_un address;
    int fd = attach_socket(run_directory, port, &address), e = 0;
    if (fd < 0) {
        snprintf(error, error_size, "cannot make the socket %s/%u.attach: %s%s", run_directory,
                 port, strerror(-fd), fd == -ENAMETOOLONG ? " (choose a shorter runtime-dir)" : "");
        return fd;
    }
    unlink(address.sun_path);
    mode_t mask = umask(0177); // for its owner alone
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 4))
        e = errno;
    umask(mask);
    if (e) {
        snprintf(error, error_size, "cannot listen on %s: %s", address.sun_path, strerror(e));
        close(fd);
        return -e;
    }
    return fd;
}

int plane_attach_connect(const char *run_directory, unsigned port)
{
    struct sockaddr_un address;
    int fd = attach_socket(run_directory, port, &address);
    if (fd < 0)
        return fd;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
        int e = errno;
        close(fd);
        return -e;
    }
    return fd;
}

int plane_attach_greet(int socket, uint64_t generation, const int *fds, unsigned n)
{
    if (n > PLANE_CORES_MAX)
        return -EINVAL;
    struct greeting greeting = {PLANE_MAGIC, PLANE_VERSION, generation};
    struct iovec io = {&greeting, sizeof(greeting)};
    union {
        char bytes[CMSG_SPACE(sizeof(int) * PLANE_CORES_MAX)];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
    if (n) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * n);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
    }
    ssize_t sent = sendmsg(socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? -errno : sent == sizeof(greeting) ? 0 : -EIO;
}

// Collects the descriptors of a message; those beyond `max` are closed. Returns how many were kept.
static unsigned take_descriptors(struct msghdr *m, int *fds, unsigned max)
{
    unsigned kept = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        unsigned n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (unsigned i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (kept < max)
                fds[kept++] = fd;
            else
                close(fd);
        }
    }
    return kept;
}

int plane_attach_greeted(int socket, uint64_t *generation, int *fds, unsigned max)
{
    struct greeting greeting;
    struct iovec io = {&greeting, sizeof(greeting)};
    union {
        char bytes[CMSG_SPACE(sizeof(int) * PLANE_CORES_MAX)];
        struct cmsghdr align;
    } control;
    struct msghdr m = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    unsigned kept = take_descriptors(&m, fds, max);
    int status = (int)kept;
    if (n == 0)
        status = -ECONNRESET;
    else if (n != sizeof(greeting) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
             greeting.magic != PLANE_MAGIC || greeting.version != PLANE_VERSION)
        status = -EPROTO;
    if (status < 0) {
        while (kept)
            close(fds[--kept]);
        return status;
    }
    // A writer of these must never block, whatever the other side did to them.
    for (unsigned i = 0; i < kept; i++)
        fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
    *generation = greeting.generation;
    return status;
}
