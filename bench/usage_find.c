#include "bench/usage_find.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/plane.h"
#include "common/resp_text.h"

#define INODES_MAX 256     // of listening sockets: servers have one for each core
#define NAMESPACES_MAX 256 // of the network, that are looked into
#define PATH_SIZE 512
#define REPLY_MAX 65536 // of INFO and CONFIG GET
#define PATIENCE_S 1    // for a server or control plane that does not answer
#define LISTEN_STATE 0x0A
#define UNIX_LISTENS 0x10000u // __SO_ACCEPTCON in /proc/net/unix

struct inodes {
    unsigned long long inode[INODES_MAX];
    unsigned n;
    uid_t uid; // of the sockets' owner
};

static void inodes_add(struct inodes *all, unsigned long long inode)
{
    if (inode && all->n < INODES_MAX)
        all->inode[all->n++] = inode;
}

// --- processes and what they have open -----------------------------------------------------------

static DIR *open_processes(void)
{
    return opendir("/proc");
}

// The next process, 0 after the last.
static pid_t next_process(DIR *processes)
{
    struct dirent *entry;
    while ((entry = readdir(processes)))
        if (isdigit((unsigned char)entry->d_name[0]))
            return (pid_t)atoi(entry->d_name);
    return 0;
}

// Whether a process has a descriptor that `matches`; its link stands in `link` then.
static bool process_has(pid_t pid, bool (*matches)(const char *link, const void *context),
                        const void *context, char *link, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    struct dirent *entry;
    bool found = false;
    while (dir && !found && (entry = readdir(dir))) {
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, link, size - 1);
        if (n < 0)
            continue;
        link[n] = 0;
        found = matches(link, context);
    }
    if (dir)
        closedir(dir);
    return found;
}

static bool is_socket_of(const char *link, const void *context)
{
    const struct inodes *all = context;
    unsigned long long inode;
    if (sscanf(link, "socket:[%llu]", &inode) != 1)
        return false;
    for (unsigned i = 0; i < all->n; i++)
        if (all->inode[i] == inode)
            return true;
    return false;
}

static unsigned add_process(struct usage_process *found, unsigned n, pid_t pid)
{
    double cpu_s;
    if (n < USAGE_PROCESSES_MAX && usage_process_read(pid, &cpu_s, &found[n].started))
        found[n++].pid = pid;
    return n;
}

static unsigned holders(const struct inodes *all, struct usage_process *found)
{
    char link[PATH_SIZE];
    unsigned n = 0;
    DIR *processes = all->n ? open_processes() : NULL;
    for (pid_t pid; processes && (pid = next_process(processes));)
        if (pid != getpid() && process_has(pid, is_socket_of, all, link, sizeof(link)))
            n = add_process(found, n, pid);
    if (processes)
        closedir(processes);
    return n;
}

// --- listening sockets ---------------------------------------------------------------------------

// The address of a line in /proc/net/tcp or tcp6: words of 32 bits in the machine's byte order.
static bool parse_local(const char *text, size_t digits, uint8_t *addr)
{
    for (size_t at = 0; at < digits; at += 8) {
        unsigned word;
        if (sscanf(text + at, "%8x", &word) != 1)
            return false;
        memcpy(addr + at / 2, &word, 4);
    }
    return text[digits] == ':';
}

// Whether a listener at `local` takes connections to `to`: the same address, or any.
static bool takes(const uint8_t *local, unsigned local_len, const struct endpoint *to)
{
    static const uint8_t any[16], mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(local, any, local_len) == 0)
        return local_len == 16 || to->family == 4;
    if (local_len == 16 && to->family == 4)
        return memcmp(local, mapped, 12) == 0 && memcmp(local + 12, to->addr, 4) == 0;
    return local_len == (to->family == 4 ? 4u : 16u) && memcmp(local, to->addr, local_len) == 0;
}

static void listeners_of(const char *path, size_t digits, const struct endpoint *to,
                         struct inodes *all)
{
    char line[512], local[80];
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f)) {
        unsigned state, uid, port;
        unsigned long long inode;
        uint8_t addr[16];
        if (sscanf(line, " %*d: %79s %*s %x %*s %*s %*s %u %*u %llu", local, &state, &uid,
                   &inode) != 4 ||
            state != LISTEN_STATE || strlen(local) < digits || !parse_local(local, digits, addr))
            continue;
        if (sscanf(local + digits, ":%x", &port) != 1 || port != to->port ||
            !takes(addr, (unsigned)digits / 2, to))
            continue;
        all->uid = uid;
        inodes_add(all, inode);
    }
    if (f)
        fclose(f);
}

// In the network namespace of a process.
static void listeners(pid_t pid, const struct endpoint *to, struct inodes *all)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/net/tcp", (int)pid);
    listeners_of(path, 8, to, all);
    snprintf(path, sizeof(path), "/proc/%d/net/tcp6", (int)pid);
    listeners_of(path, 32, to, all);
}

static void unix_listeners(const char *wanted, struct inodes *all)
{
    char line[512], path[256];
    FILE *f = fopen("/proc/net/unix", "re");
    while (f && fgets(line, sizeof(line), f)) {
        unsigned flags;
        unsigned long long inode;
        if (sscanf(line, "%*[^:]: %*x %*x %x %*x %*x %llu %255[^\n]", &flags, &inode, path) == 3 &&
            (flags & UNIX_LISTENS) && strcmp(path, wanted) == 0)
            inodes_add(all, inode);
    }
    if (f)
        fclose(f);
}

// --- addresses of this machine -------------------------------------------------------------------

// Only an address of this machine, in this namespace, can be bound to.
static bool is_ours(const struct endpoint *e)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    memcpy(&v4.sin_addr, e->addr, 4);
    memcpy(&v6.sin6_addr, e->addr, 16);
    int fd = socket(e->family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    const void *address = e->family == 4 ? (const void *)&v4 : &v6;
    bool ours = bind(fd, address, e->family == 4 ? sizeof(v4) : sizeof(v6)) == 0;
    close(fd);
    return ours;
}

// Whether an IPv4 address belongs to the namespace of a process: fib_trie names it, and on the next
// line what it is.
static bool belongs_to(pid_t pid, const struct endpoint *e)
{
    char path[64], line[256], text[INET_ADDRSTRLEN], leaf[INET_ADDRSTRLEN];
    if (e->family != 4 || !inet_ntop(AF_INET, e->addr, text, sizeof(text)))
        return false;
    snprintf(path, sizeof(path), "/proc/%d/net/fib_trie", (int)pid);
    FILE *f = fopen(path, "re");
    bool here = false, found = false;
    while (f && !found && fgets(line, sizeof(line), f)) {
        if (sscanf(line, " |-- %15s", leaf) == 1)
            here = strcmp(leaf, text) == 0;
        else
            found = here && strstr(line, "/32 host LOCAL");
    }
    if (f)
        fclose(f);
    return found;
}

static bool namespace_of(pid_t pid, ino_t *inode)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
    bool good = stat(path, &st) == 0;
    *inode = st.st_ino;
    return good;
}

// The server behind an address of another network namespace of this machine, as behind a veth pair.
// Nothing when two namespaces have it: either could be meant.
static unsigned find_elsewhere(const struct options *o, struct usage_process *found)
{
    ino_t seen[NAMESPACES_MAX];
    unsigned n_seen = 0, places = 0;
    struct inodes all = {0};
    if (namespace_of(getpid(), &seen[0]))
        n_seen = 1;
    DIR *processes = open_processes();
    for (pid_t pid; processes && n_seen < NAMESPACES_MAX && (pid = next_process(processes));) {
        unsigned i = 0;
        if (!namespace_of(pid, &seen[n_seen]))
            continue;
        while (seen[i] != seen[n_seen])
            i++;
        if (i < n_seen)
            continue;
        n_seen++;
        unsigned before = all.n;
        if (belongs_to(pid, &o->server))
            listeners(pid, &o->server, &all);
        places += all.n > before;
    }
    if (processes)
        closedir(processes);
    return places == 1 ? holders(&all, found) : 0;
}

// --- asking --------------------------------------------------------------------------------------

// Sends one command and reads its reply. NULL when there is none.
static struct resp_value *ask(int fd, unsigned argc, const char *const *argv)
{
    struct resp_text request = {.resp = 2};
    struct resp_scan scan = {0};
    struct resp_value *value = NULL;
    size_t len = 0;
    bool bad = false;
    resp_put_command(&request, argc, argv, NULL);
    bool good = !request.failed &&
                send(fd, request.data, request.len, MSG_NOSIGNAL) == (ssize_t)request.len;
    resp_text_free(&request);
    char *data = good ? malloc(REPLY_MAX) : NULL;
    while (data && !bad && len < REPLY_MAX) {
        ssize_t n = recv(fd, data + len, REPLY_MAX - len, 0);
        if (n <= 0)
            break;
        len += (size_t)n;
        if (resp_scan(&scan, data, len, &bad)) {
            value = resp_value_read(data, scan.at);
            break;
        }
    }
    free(data);
    return value;
}

static int open_socket(const void *address, socklen_t size)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(((const struct sockaddr *)address)->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)); // connect's limit too
    if (connect(fd, address, size) == 0)
        return fd;
    close(fd);
    return -1;
}

static int open_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -1;
    strcpy(address.sun_path, path);
    return open_socket(&address, sizeof(address));
}

static int open_server(const struct options *o)
{
    if (o->unix_path)
        return open_unix(o->unix_path);
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(o->server.port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(o->server.port)};
    memcpy(&v4.sin_addr, o->server.addr, 4);
    memcpy(&v6.sin6_addr, o->server.addr, 16);
    return o->server.family == 4 ? open_socket(&v4, sizeof(v4)) : open_socket(&v6, sizeof(v6));
}

// Where the holders of a socket may not be seen, the server says its process_id. That is a process
// of this machine, and not of a container's, if the socket's owner owns it.
static unsigned find_by_info(const struct options *o, uid_t uid, struct usage_process *found)
{
    const char *const login[] = {"AUTH", o->password}, *const as_user[] = {"AUTH", o->user,
                                                                           o->password};
    const char *const info[] = {"INFO", "server"};
    int fd = o->protocol == BENCH_RESP && !o->tls ? open_server(o) : -1;
    if (fd < 0)
        return 0;
    if (o->password)
        resp_value_free(o->user ? ask(fd, 3, as_user) : ask(fd, 2, login));
    struct resp_value *v = ask(fd, 2, info);
    const char *field = v && v->text ? strstr(v->text, "\nprocess_id:") : NULL;
    pid_t pid = field ? (pid_t)atoi(field + strlen("\nprocess_id:")) : 0;
    resp_value_free(v);
    close(fd);
    char path[64];
    struct stat st;
    snprintf(path, sizeof(path), "/proc/%d", (int)pid);
    return pid > 0 && stat(path, &st) == 0 && st.st_uid == uid ? add_process(found, 0, pid) : 0;
}

// --- servers on devices --------------------------------------------------------------------------

// Who listens at the control socket of our memif, where we are its client.
static unsigned find_by_memif(const struct options *o, struct usage_process *found)
{
    struct inodes all = {0};
    for (unsigned i = 0; i < o->n_nic_devices; i++) {
        const char *at = strstr(o->nic_devices[i], ",socket=");
        char path[PATH_SIZE];
        if (strncmp(o->nic_devices[i], "net_memif", 9) == 0 && at &&
            sscanf(at, ",socket=%511[^,]", path) == 1)
            unix_listeners(path, &all);
    }
    return holders(&all, found);
}

static bool is_lock(const char *link, const void *context)
{
    const char *base = strrchr(link, '/');
    return base && strcmp(base + 1, context) == 0;
}

// Whether the server of a run directory has this address on its device.
static bool has_address(const char *run_directory, const struct endpoint *e)
{
    static const char *const words[] = {"CONFIG", "GET", "nic-address"};
    char path[PATH_SIZE], text[INET_ADDRSTRLEN];
    plane_path(run_directory, e->port, "control", path, sizeof(path));
    int fd =
        e->family == 4 && inet_ntop(AF_INET, e->addr, text, sizeof(text)) ? open_unix(path) : -1;
    if (fd < 0)
        return false;
    struct resp_value *v = ask(fd, 3, words);
    close(fd);
    size_t len = strlen(text);
    bool has = false;
    for (size_t i = 0; v && i < v->n; i++)
        for (const char *at = v->items[i].text; at && !has && (at = strstr(at, text)); at++)
            has = at[len] == '/' && (at == v->items[i].text || !isdigit((unsigned char)at[-1]));
    resp_value_free(v);
    return has;
}

// A data plane holds the lock PORT.data.lock in its run directory.
static unsigned find_pollux(const struct options *o, struct usage_process *found)
{
    char lock[32], link[PATH_SIZE];
    unsigned n = 0;
    snprintf(lock, sizeof(lock), "%u.data.lock", o->server.port);
    DIR *processes = open_processes();
    for (pid_t pid; processes && n == 0 && (pid = next_process(processes));) {
        if (!process_has(pid, is_lock, lock, link, sizeof(link)))
            continue;
        *strrchr(link, '/') = 0;
        if (has_address(link, &o->server))
            n = add_process(found, 0, pid);
    }
    if (processes)
        closedir(processes);
    return n;
}

unsigned usage_find_server(const struct options *o, struct usage_process *found)
{
    struct inodes all = {0};
    unsigned n = 0;
    if (o->transport == BENCH_DPDK) {
        n = find_by_memif(o, found);
        if (n == 0)
            n = find_pollux(o, found);
        return n ? n : find_elsewhere(o, found);
    }
    struct stat st;
    if (o->unix_path) {
        unix_listeners(o->unix_path, &all);
        all.uid = stat(o->unix_path, &st) == 0 ? st.st_uid : 0;
    } else if (is_ours(&o->server)) {
        listeners(getpid(), &o->server, &all);
    } else {
        n = find_pollux(o, found);
        return n ? n : find_elsewhere(o, found);
    }
    n = holders(&all, found);
    return n || all.n == 0 ? n : find_by_info(o, all.uid, found);
}
