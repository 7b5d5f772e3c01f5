#include "controlplane/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "controlplane/link.h"

int server_open(struct server *server, char *error, size_t error_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    server->started_us = link_now_us();
    server->epoll = server->listener = -1;
    for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++)
        server->clients[i].fd = -1;
    plane_path(server->run_directory, server->port, "control", server->path, sizeof(server->path));
    if (strlen(server->path) >= sizeof(address.sun_path)) {
        snprintf(error, error_size, "%s is too long for a socket: choose a shorter runtime-dir",
                 server->path);
        return -1;
    }
    strcpy(address.sun_path, server->path);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    unlink(server->path); // a predecessor's: the lock says that it is dead
    mode_t mask = umask(0177);
    int failed = bind(server->listener, (struct sockaddr *)&address, sizeof(address)) ||
                 listen(server->listener, SERVER_CLIENTS_MAX) ||
                 epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->listener, &e);
    umask(mask);
    if (!failed)
        return 0;
    snprintf(error, error_size, "cannot listen on %s: %s", server->path, strerror(errno));
    server_close(server);
    return -1;
}

int server_fd(const struct server *server)
{
    return server->epoll;
}

static void client_close(struct server_client *c)
{
    if (c->fd < 0)
        return;
    command_abandon(c);
    close(c->fd);
    free(c->in);
    resp_text_free(&c->out);
    c->server->n_clients--;
    *c = (struct server_client){.fd = -1};
}

static size_t unsent(const struct server_client *c)
{
    return c->out.len - c->out_sent;
}

// Sends what the socket takes. False: the client is gone.
static bool client_send(struct server_client *c)
{
    if (c->out.failed) // no memory for the reply: half of one must not be read as whole
        return false;
    while (unsent(c)) {
        ssize_t n = send(c->fd, c->out.data + c->out_sent, unsent(c), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        c->out_sent += (size_t)n;
        c->moved_us = link_now_us();
    }
    resp_text_free(&c->out);
    c->out_sent = 0;
    return !c->closing;
}

// Watches what can go on: reading while no command is under way and the replies are read.
static void client_watch(struct server_client *c)
{
    uint32_t events = 0;
    if (!c->busy && !c->closing && unsent(c) < SERVER_UNREAD_HIGH)
        events |= EPOLLIN;
    if (unsent(c))
        events |= EPOLLOUT;
    if (events == c->events)
        return;
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(c->server->epoll, EPOLL_CTL_MOD, c->fd, &e);
    c->events = events;
}

// Executes the complete requests of the buffer, until one has to wait.
static void client_execute(struct server_client *c)
{
    struct resp_word words[SERVER_WORDS_MAX];
    size_t at = 0;
    while (!c->busy && !c->closing && at < c->in_len && unsent(c) < SERVER_UNREAD_HIGH) {
        unsigned n;
        const char *error;
        ssize_t used =
            resp_request(c->in + at, c->in_len - at, words, SERVER_WORDS_MAX, &n, &error);
        if (used == 0 && (at || c->in_len < SERVER_REQUEST_MAX))
            break;
        if (used <= 0) {
            resp_put_error(&c->out, "ERR Protocol error: %s", used ? error : "too long a request");
            c->closing = true;
            break;
        }
        if (n)
            command_run(c, words, n);
        at += (size_t)used;
    }
    if (at) {
        memmove(c->in, c->in + at, c->in_len - at);
        c->in_len -= at;
    }
    if (!c->in_len) {
        free(c->in);
        c->in = NULL;
    }
}

// True while the client lives.
static bool client_read(struct server_client *c)
{
    if (!c->in && !(c->in = malloc(SERVER_REQUEST_MAX)))
        return false;
    ssize_t n = recv(c->fd, c->in + c->in_len, SERVER_REQUEST_MAX - c->in_len, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    c->in_len += (size_t)n;
    c->moved_us = link_now_us();
    client_execute(c);
    return true;
}

static void client_settle(struct server_client *c)
{
    if (!client_send(c)) {
        client_close(c);
        return;
    }
    client_watch(c);
}

void server_done(struct server_client *c)
{
    if (!c->busy)
        return; // it was answered within command_run: the caller goes on
    c->busy = false;
    client_execute(c);
    client_settle(c);
}

// The place for a new client: a free one, or that of the client which has been silent longest.
static struct server_client *client_place(struct server *server, uint64_t now)
{
    struct server_client *oldest = NULL;
    for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++) {
        struct server_client *c = &server->clients[i];
        if (c->fd < 0)
            return c;
        if (!c->busy && (!oldest || c->moved_us < oldest->moved_us))
            oldest = c;
    }
    if (!oldest || now - oldest->moved_us < SERVER_IDLE_US)
        return NULL;
    client_close(oldest);
    return oldest;
}

static void server_accept(struct server *server)
{
    for (;;) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        struct server_client *c = client_place(server, link_now_us());
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (!c || epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &e)) {
            static const char full[] = "-ERR max number of clients reached\r\n";
            ssize_t n = send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
            (void)n;
            close(fd);
            server->refused++;
            continue;
        }
        *c = (struct server_client){.fd = fd,
                                    .server = server,
                                    .out = {.resp = 2},
                                    .moved_us = link_now_us(),
                                    .execute_ms = SERVER_EXECUTE_MS,
                                    .events = EPOLLIN};
        server->n_clients++;
        server->accepted++;
    }
}

static void clients_unstick(struct server *server)
{
    uint64_t now = link_now_us();
    for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++) {
        struct server_client *c = &server->clients[i];
        if (c->fd >= 0 && unsent(c) && now - c->moved_us > SERVER_STUCK_US) {
            log_notice("A client of the control socket reads no reply: closed");
            client_close(c);
        }
    }
}

void server_turn(struct server *server)
{
    struct epoll_event events[SERVER_CLIENTS_MAX + 1];
    int n = epoll_wait(server->epoll, events, SERVER_CLIENTS_MAX + 1, 0);
    bool accept = false;
    for (int i = 0; i < n; i++) {
        struct server_client *c = events[i].data.ptr;
        if (!c) {
            accept = true;
            continue;
        }
        if (c->fd < 0)
            continue;
        bool gone = (events[i].events & (EPOLLHUP | EPOLLERR)) && !(events[i].events & EPOLLIN);
        if (gone || ((events[i].events & EPOLLIN) && !client_read(c))) {
            // What was answered before the peer closed its side is still wanted by `nc` and its
            // like.
            if (!gone && c->fd >= 0)
                client_send(c);
            client_close(c);
            continue;
        }
        size_t before = unsent(c);
        client_settle(c);
        // Room again: go on with the requests that waited in the buffer.
        if (c->fd >= 0 && before >= SERVER_UNREAD_HIGH && unsent(c) < SERVER_UNREAD_HIGH) {
            client_execute(c);
            client_settle(c);
        }
    }
    if (accept)
        server_accept(
            server); // last: a place that was freed above is not mistaken for its successor
    clients_unstick(server);
}

void server_close(struct server *server)
{
    for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++)
        if (server->clients[i].fd >= 0) {
            client_send(&server->clients[i]);
            client_close(&server->clients[i]);
        }
    if (server->listener >= 0) {
        close(server->listener);
        unlink(server->path);
    }
    if (server->epoll >= 0)
        close(server->epoll);
    server->listener = server->epoll = -1;
}
