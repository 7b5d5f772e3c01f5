// Opening connections, from both sides: addresses, listeners shared by cores, accept, connect.
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <mimalloc.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/sockets_internal.h"

// Which addresses this process listens on, and with how many sockets. The first one of an address
// is bound without SO_REUSEPORT and so finds out whether another process is there; the others share
// it.
static struct {
    pthread_mutex_t lock;
    struct {
        uint8_t addr[16];
        int family;
        uint16_t port;
        unsigned sockets;
    } address[SOCKETS_LISTENERS_MAX];
} ours = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum stream_error sockets_error(int error)
{
    switch (-error) {
    case ECONNREFUSED:
    case ENOENT:
        return STREAM_REFUSED;
    case ETIMEDOUT:
        return STREAM_TIMED_OUT;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case EADDRNOTAVAIL:
    case EACCES:
    case EPERM:
        return STREAM_UNREACHABLE;
    case ENOMEM:
    case ENOBUFS:
        return STREAM_NO_MEMORY;
    default:
        return STREAM_RESET;
    }
}

static void accept_arm(struct sockets *s, struct listener *l)
{
    struct io_uring_sqe *sqe = io_sqe(s->io, IO_SOCKETS, sockets_tag(l, OP_ACCEPT));
    io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
    l->armed = true;
    l->retry = false;
    s->pending++;
}

void listeners_retry(struct sockets *s)
{
    for (unsigned i = 0; i < s->n_listeners; i++)
        if (s->listener[i].retry && s->listener[i].fd >= 0)
            accept_arm(s, &s->listener[i]);
}

static void accept_connection(struct sockets *s, const struct listener *l, int fd)
{
    struct endpoint remote = {0};
    struct sockaddr_storage from = {0};
    socklen_t size = sizeof(from);
    if (l->family != AF_UNIX &&
        (getpeername(fd, (struct sockaddr *)&from, &size) < 0 || !endpoint_from(&from, &remote))) {
        close(fd); // gone before we looked
        return;
    }
    if (s->config.admit && !s->config.admit(s->config.context, &remote)) {
        s->counters.refused_admission++;
        close(fd);
        return;
    }
    struct connection *c = connection_new(s, fd);
    if (!c) {
        s->counters.accept_errors++;
        close(fd);
        return;
    }
    c->unix_peer = l->family == AF_UNIX;
    c->tag = l->tag;
    c->remote = remote;
    s->counters.accepted++;
    receive_arm(c);
    connection_event(c, STREAM_ACCEPTED);
}

void listener_accepted(struct sockets *s, struct listener *l, const struct io_uring_cqe *cqe)
{
    bool more = cqe->flags & IORING_CQE_F_MORE;
    if (!more) {
        l->armed = false;
        s->pending--;
    }
    if (cqe->res >= 0) {
        if (l->fd < 0)
            close(cqe->res); // arrived while we stopped listening
        else
            accept_connection(s, l, cqe->res);
    } else if (cqe->res != -ECANCELED && cqe->res != -ECONNABORTED && cqe->res != -EINTR) {
        // Descriptors or memory ran out: the connection waits in the backlog, and asking again at
        // once would spin.
        s->counters.accept_errors++;
        l->retry = !more && l->fd >= 0;
        if (l->retry)
            sockets_tick_arm(s);
        return;
    }
    if (!more && l->fd >= 0)
        accept_arm(s, l);
}

static int listen_failed(int fd, const char *what, const char *call, char *error, size_t error_size)
{
    int e = -errno;
    snprintf(error, error_size, "Could not create server %s: %s: %s", what, call, strerror(-e));
    if (fd >= 0)
        close(fd);
    return e;
}

static struct listener *listener_slot(struct sockets *s, char *error, size_t error_size)
{
    struct listener *l = NULL;
    for (unsigned i = 0; !l && i < s->n_listeners; i++)
        if (s->listener[i].fd < 0 && !s->listener[i].armed)
            l = &s->listener[i];
    if (!l && s->n_listeners < SOCKETS_LISTENERS_MAX)
        l = &s->listener[s->n_listeners++];
    if (l)
        *l = (struct listener){.fd = -1};
    else
        snprintf(error, error_size, "Too many listening addresses: at most %d",
                 SOCKETS_LISTENERS_MAX);
    return l;
}

static void listener_start(struct sockets *s, struct listener *l)
{
    l->fresh = s->relistening;
    accept_arm(s, l);
}

// A listener from before, while listening begins anew.
static bool listener_kept(struct sockets *s, const struct listener *wanted)
{
    for (unsigned i = 0; i < s->n_listeners; i++) {
        struct listener *l = &s->listener[i];
        if (l->fd < 0 || !l->old || l->family != wanted->family || l->tag != wanted->tag ||
            l->port != wanted->port || memcmp(l->addr, wanted->addr, sizeof(l->addr)) != 0 ||
            strcmp(l->path, wanted->path) != 0)
            continue;
        l->old = false;
        return true;
    }
    return false;
}

static bool address_parse(const char *text, uint16_t port, struct sockaddr_storage *to,
                          socklen_t *size, uint8_t key[16])
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    memset(to, 0, sizeof(*to));
    memset(key, 0, 16);
    if (strcmp(text, "*") == 0)
        text = "0.0.0.0";
    else if (strcmp(text, "::*") == 0)
        text = "::";
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *size = sizeof(*v4);
        memcpy(key, &v4->sin_addr, 4);
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *size = sizeof(*v6);
        memcpy(key, &v6->sin6_addr, 16);
        return true;
    }
    return false;
}

static unsigned *ours_find(int family, const uint8_t key[16], uint16_t port, bool add)
{
    unsigned empty = SOCKETS_LISTENERS_MAX;
    for (unsigned i = 0; i < SOCKETS_LISTENERS_MAX; i++) {
        if (ours.address[i].sockets == 0)
            empty = i;
        else if (ours.address[i].family == family && ours.address[i].port == port &&
                 memcmp(ours.address[i].addr, key, 16) == 0)
            return &ours.address[i].sockets;
    }
    if (!add || empty == SOCKETS_LISTENERS_MAX)
        return NULL;
    ours.address[empty].family = family;
    ours.address[empty].port = port;
    memcpy(ours.address[empty].addr, key, 16);
    return &ours.address[empty].sockets;
}

// Whether a listener of ours stands in the way of this address: one on it, or on all while the
// other is on one.
static bool ours_overlap(int family, const uint8_t key[16], uint16_t port)
{
    static const uint8_t any[16];
    bool wild = memcmp(key, any, sizeof(any)) == 0;
    for (unsigned i = 0; i < SOCKETS_LISTENERS_MAX; i++)
        if (ours.address[i].sockets && ours.address[i].family == family &&
            ours.address[i].port == port &&
            (wild || memcmp(ours.address[i].addr, key, sizeof(any)) == 0 ||
             memcmp(ours.address[i].addr, any, sizeof(any)) == 0))
            return true;
    return false;
}

// With ours.lock held. `call` names the call that failed.
static int bind_and_listen(int fd, const struct sockaddr_storage *to, socklen_t size, int backlog,
                           bool first, const char **call)
{
    const int on = 1;
    *call = "setsockopt";
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return -1;
    if (!first && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
        return -1;
    *call = "bind";
    if (bind(fd, (const struct sockaddr *)to, size) < 0)
        return -1;
    *call = "setsockopt";
    if (first && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
        return -1;
    *call = "listen";
    return listen(fd, backlog);
}

int sockets_listen(struct sockets *s, const char *address, uint16_t port, unsigned tag, int backlog,
                   char *error, size_t error_size)
{
    char what[128];
    snprintf(what, sizeof(what), "TCP listening socket %s:%u", address, port);
    struct sockaddr_storage to;
    socklen_t size;
    struct listener wanted = {.port = port, .tag = (uint8_t)tag};
    if (!address_parse(address, port, &to, &size, wanted.addr)) {
        errno = EINVAL;
        return listen_failed(-1, what, "address", error, error_size);
    }
    wanted.family = to.ss_family;
    if (s->relistening && listener_kept(s, &wanted))
        return 0;
    struct listener *l = listener_slot(s, error, error_size);
    if (!l)
        return -ENOSPC;
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return listen_failed(fd, what, "socket", error, error_size);
    const int on = 1;
    if (to.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    // Accepted sockets inherit these: no call for each.
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (s->config.tcp_user_timeout_ms)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &s->config.tcp_user_timeout_ms,
                   sizeof(s->config.tcp_user_timeout_ms));
    pthread_mutex_lock(&ours.lock);
    unsigned *sockets = ours_find(to.ss_family, wanted.addr, port, port != 0);
    const char *call;
    int failed = bind_and_listen(fd, &to, size, backlog,
                                 !ours_overlap(to.ss_family, wanted.addr, port), &call);
    if (failed == 0 && sockets)
        ++*sockets;
    pthread_mutex_unlock(&ours.lock);
    if (failed)
        return listen_failed(fd, what, call, error, error_size);
    *l = wanted;
    l->fd = fd;
    listener_start(s, l);
    return 0;
}

// A file that nobody listens on is left from a server that died and may go.
static bool unix_in_use(const struct sockaddr_un *to)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool used = connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0 || errno == EAGAIN;
    close(fd);
    return used;
}

int sockets_listen_unix(struct sockets *s, const char *path, unsigned mode, int backlog,
                        char *error, size_t error_size)
{
    char what[192];
    snprintf(what, sizeof(what), "UNIX socket %s", path);
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(to.sun_path)) {
        errno = ENAMETOOLONG;
        return listen_failed(-1, what, "path", error, error_size);
    }
    memcpy(to.sun_path, path, strlen(path) + 1);
    struct listener wanted = {.family = AF_UNIX};
    memcpy(wanted.path, to.sun_path, sizeof(wanted.path));
    if (s->relistening && listener_kept(s, &wanted))
        return 0;
    struct listener *l = listener_slot(s, error, error_size);
    if (!l)
        return -ENOSPC;
    if (unix_in_use(&to)) {
        errno = EADDRINUSE;
        return listen_failed(-1, what, "bind", error, error_size);
    }
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return listen_failed(fd, what, "socket", error, error_size);
    if (bind(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
        return listen_failed(fd, what, "bind", error, error_size);
    if (mode && chmod(path, mode) < 0)
        return listen_failed(fd, what, "chmod", error, error_size);
    if (listen(fd, backlog) < 0)
        return listen_failed(fd, what, "listen", error, error_size);
    *l = wanted;
    l->fd = fd;
    listener_start(s, l);
    return 0;
}

static void listener_close(struct sockets *s, struct listener *l)
{
    if (l->fd < 0)
        return;
    if (l->armed) {
        struct io_uring_sqe *sqe = io_sqe(s->io, IO_SOCKETS, sockets_tag(s, OP_CANCEL));
        io_uring_prep_cancel64(sqe, io_tag(IO_SOCKETS, sockets_tag(l, OP_ACCEPT)), 0);
        s->pending++;
        // The accept holds a reference to the socket until the kernel has worked this off: done
        // now, so that the port is free when we return.
        io_uring_submit_and_get_events(io_ring(s->io));
    }
    close(l->fd);
    l->fd = -1;
    l->retry = false;
    if (l->family == AF_UNIX) {
        unlink(l->path);
        return;
    }
    pthread_mutex_lock(&ours.lock);
    unsigned *sockets = ours_find(l->family, l->addr, l->port, false);
    if (sockets && *sockets)
        --*sockets;
    pthread_mutex_unlock(&ours.lock);
}

void sockets_unlisten(struct sockets *s)
{
    for (unsigned i = 0; i < s->n_listeners; i++)
        listener_close(s, &s->listener[i]);
}

void sockets_relisten_begin(struct sockets *s)
{
    s->relistening = true;
    for (unsigned i = 0; i < s->n_listeners; i++) {
        s->listener[i].old = s->listener[i].fd >= 0;
        s->listener[i].fresh = false;
    }
}

void sockets_relisten_end(struct sockets *s, bool well)
{
    s->relistening = false;
    for (unsigned i = 0; i < s->n_listeners; i++) {
        struct listener *l = &s->listener[i];
        if (well ? l->old : l->fresh)
            listener_close(s, l);
        l->old = l->fresh = false;
    }
}

unsigned sockets_tag_of(const struct stream *stream)
{
    return ((const struct connection *)stream)->tag;
}

// Takes `address` over, whatever happens.
static struct stream *connect_to(struct sockets *s, struct sockaddr_storage *address,
                                 socklen_t size, const struct endpoint *remote, int *error)
{
    // A UNIX socket whose listener's backlog is full would say EAGAIN, and never that there is room
    // again: it waits inside the ring.
    int nonblock = address->ss_family == AF_UNIX ? 0 : SOCK_NONBLOCK;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | nonblock, 0);
    struct connection *c = fd < 0 ? NULL : connection_new(s, fd);
    if (!c) {
        *error = fd < 0 ? -errno : -ENOMEM;
        if (fd >= 0)
            close(fd);
        mi_free(address);
        return NULL;
    }
    const int on = 1;
    c->unix_peer = address->ss_family == AF_UNIX;
    if (!c->unix_peer)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!c->unix_peer && s->config.tcp_user_timeout_ms)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &s->config.tcp_user_timeout_ms,
                   sizeof(s->config.tcp_user_timeout_ms));
    c->connecting = true;
    c->remote = *remote;
    c->to = address;
    struct io_uring_sqe *sqe = io_sqe(s->io, IO_SOCKETS, sockets_tag(c, OP_CONNECT));
    io_uring_prep_connect(sqe, fd, (struct sockaddr *)address, size);
    c->pending++;
    *error = 0;
    return &c->stream;
}

struct stream *sockets_connect(struct sockets *s, const struct endpoint *to, int *error)
{
    struct sockaddr_storage *address = mi_zalloc(sizeof(*address));
    if (!address) {
        *error = -ENOMEM;
        return NULL;
    }
    if (to->family == 4) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)address;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(to->port);
        memcpy(&v4->sin_addr, to->addr, 4);
        return connect_to(s, address, sizeof(*v4), to, error);
    }
    if (to->family == 6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(to->port);
        memcpy(&v6->sin6_addr, to->addr, 16);
        return connect_to(s, address, sizeof(*v6), to, error);
    }
    *error = -EAFNOSUPPORT;
    mi_free(address);
    return NULL;
}

struct stream *sockets_connect_unix(struct sockets *s, const char *path, int *error)
{
    struct sockaddr_storage *address = mi_zalloc(sizeof(*address));
    struct sockaddr_un *to = (struct sockaddr_un *)address;
    *error = -ENOMEM;
    if (address && strlen(path) < sizeof(to->sun_path)) {
        to->sun_family = AF_UNIX;
        memcpy(to->sun_path, path, strlen(path) + 1);
        return connect_to(s, address, sizeof(*to), &(struct endpoint){0}, error);
    }
    if (address)
        *error = -ENAMETOOLONG;
    mi_free(address);
    return NULL;
}

void connection_connected(struct connection *c, int result)
{
    connection_touch(c);
    if (c->dead)
        return;
    c->connecting = false;
    if (result < 0) {
        connection_die(c, sockets_error(result));
        return;
    }
    connection_event(c, STREAM_CONNECTED);
}
