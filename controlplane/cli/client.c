#include "controlplane/cli/client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/plane.h"

#define DIRECTORIES 2
#define PORTS_MAX 32 // servers of one machine that are told apart in a message
#define ROOT_DIRECTORY "/run/pollux"

// --- finding -------------------------------------------------------------------------------------

// Connects to RUNDIR/PORT.control. A descriptor or -errno.
static int socket_connect(const char *directory, unsigned port)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[512];
    plane_path(directory, port, "control", path, sizeof(path));
    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address))) {
        int e = errno;
        close(fd);
        return -e;
    }
    return fd < 0 ? -errno : fd;
}

struct found {
    unsigned port;
    const char *directory;
};

// The sockets of a directory at which someone answers.
static unsigned directory_scan(const char *directory, struct found *found, unsigned n)
{
    DIR *d = opendir(directory);
    struct dirent *entry;
    while (d && n < PORTS_MAX && (entry = readdir(d))) {
        char *end;
        unsigned long port = strtoul(entry->d_name, &end, 10);
        if (end == entry->d_name || strcmp(end, ".control") || port > UINT16_MAX)
            continue;
        int fd = socket_connect(directory, (unsigned)port);
        if (fd < 0)
            continue;
        close(fd);
        found[n++] = (struct found){(unsigned)port, directory};
    }
    if (d)
        closedir(d);
    return n;
}

struct places {
    char directory[DIRECTORIES][256];
    unsigned n;
};

static void places_find(struct places *p, const char *run_directory)
{
    p->n = 0;
    if (plane_run_directory_name(run_directory, p->directory[0], sizeof(p->directory[0])) == 0)
        p->n = 1;
    if (!(run_directory && *run_directory) && geteuid() != 0)
        strcpy(p->directory[p->n++], ROOT_DIRECTORY);
}

static int connect_failed(int status, unsigned port, const struct places *p, char *error,
                          size_t size)
{
    char where[600];
    snprintf(where, sizeof(where), "%s%s%s", p->n ? p->directory[0] : "?", p->n > 1 ? ", " : "",
             p->n > 1 ? p->directory[1] : "");
    if (status == -EACCES || status == -EPERM)
        snprintf(error, size,
                 "the server on port %u belongs to another user (%s): run polluxctl as that user "
                 "or root",
                 port, where);
    else
        snprintf(error, size,
                 "no Pollux server on port %u (looked in %s): start one with 'pollux-server --port "
                 "%u', or name another with -p PORT or --runtime-dir DIR",
                 port, where, port);
    return -1;
}

static int connect_port(struct ctl_client *c, unsigned port, const struct places *p)
{
    int status = -ENOENT;
    for (unsigned i = 0; i < p->n; i++) {
        int fd = socket_connect(p->directory[i], port);
        if (fd >= 0) {
            c->fd = fd;
            c->port = port;
            memcpy(c->run_directory, p->directory[i], sizeof(c->run_directory));
            return 0;
        }
        if (fd == -EACCES)
            status = fd;
    }
    return status;
}

static int connect_only(struct ctl_client *c, const struct places *p, char *error, size_t size)
{
    struct found found[PORTS_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < p->n; i++)
        n = directory_scan(p->directory[i], found, n);
    if (n == 1)
        return connect_port(c, found[0].port, p);
    if (n == 0)
        return -ENOENT;
    int at = snprintf(error, size, "several Pollux servers run: choose one with -p");
    for (unsigned i = 0; i < n && at > 0 && (size_t)at < size; i++)
        at += snprintf(error + at, size - (size_t)at, "%s %u", i ? "," : "", found[i].port);
    return -EEXIST;
}

static void timeout_set(int fd, unsigned seconds)
{
    struct timeval t = {.tv_sec = (time_t)seconds};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

int ctl_connect(struct ctl_client *c, unsigned port, const char *run_directory, char *error,
                size_t error_size)
{
    struct places places;
    *c = (struct ctl_client){.fd = -1};
    places_find(&places, run_directory);
    int status = connect_port(c, port ? port : CLIENT_PORT_DEFAULT, &places);
    if (status && !port) {
        int only = connect_only(c, &places, error, error_size);
        if (only == -EEXIST)
            return -1;
        status = only == -ENOENT ? status : only;
    }
    if (status)
        return connect_failed(status, port ? port : CLIENT_PORT_DEFAULT, &places, error,
                              error_size);
    static const char *const hello[] = {"HELLO", "3"};
    struct resp_value *v = ctl_ask(c, 2, hello, 5, error, error_size);
    status = v && v->type == '%' ? 0 : -1;
    if (v && status)
        snprintf(error, error_size, "the control plane does not speak RESP3: %s",
                 v->text ? v->text : "");
    resp_value_free(v);
    if (status)
        ctl_close(c);
    return status;
}

void ctl_close(struct ctl_client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

// --- asking --------------------------------------------------------------------------------------

static int send_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static struct resp_value *reply_read(struct ctl_client *c, char *error, size_t error_size)
{
    struct resp_scan scan = {0};
    size_t len = 0, cap = 64 * 1024;
    char *data = malloc(cap);
    bool bad = false;
    struct resp_value *v = NULL;
    snprintf(error, error_size, "no memory for the reply");
    while (data) {
        if (len == cap) {
            char *grown = cap < CLIENT_REPLY_MAX ? realloc(data, cap * 2) : NULL;
            if (!grown)
                break;
            data = grown;
            cap *= 2;
        }
        ssize_t n = recv(c->fd, data + len, cap - len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            snprintf(error, error_size, "%s",
                     n == 0            ? "the control plane closed the connection: see its log"
                     : errno == EAGAIN ? "the control plane does not answer in time: it hangs"
                                       : strerror(errno));
            break;
        }
        len += (size_t)n;
        if (resp_scan(&scan, data, len, &bad)) {
            v = resp_value_read(data, scan.at);
            if (!v)
                snprintf(error, error_size, "the reply cannot be read");
            break;
        }
        if (bad) {
            snprintf(error, error_size, "the control plane sent what is not RESP");
            break;
        }
    }
    free(data);
    return v;
}

struct resp_value *ctl_ask(struct ctl_client *c, unsigned argc, const char *const *argv,
                           unsigned timeout_s, char *error, size_t error_size)
{
    return ctl_ask_bytes(c, argc, argv, NULL, timeout_s, error, error_size);
}

struct resp_value *ctl_ask_bytes(struct ctl_client *c, unsigned argc, const char *const *argv,
                                 const size_t *lens, unsigned timeout_s, char *error,
                                 size_t error_size)
{
    struct resp_text request = {.resp = 2};
    resp_put_command(&request, argc, argv, lens);
    timeout_set(c->fd, timeout_s);
    int failed = request.failed || send_all(c->fd, request.data, request.len);
    resp_text_free(&request);
    if (failed) {
        snprintf(error, error_size, "the control plane has gone: %s", strerror(errno));
        return NULL;
    }
    return reply_read(c, error, error_size);
}

// --- ending --------------------------------------------------------------------------------------

static bool lock_held(const struct ctl_client *c, const char *suffix)
{
    char path[512];
    plane_path(c->run_directory, c->port, suffix, path, sizeof(path));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0;
    close(fd);
    return held;
}

bool ctl_wait_ended(const struct ctl_client *c, unsigned timeout_s)
{
    time_t until = time(NULL) + (time_t)timeout_s;
    while (lock_held(c, "server.lock") || lock_held(c, "data.lock") ||
           lock_held(c, "control.lock")) {
        if (time(NULL) > until)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return true;
}
