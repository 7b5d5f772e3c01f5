// The server's CPU time is found through its listening socket: servers made here, which only burn.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/usage.h"
#include "bench/usage_find.h"
#include "tests/unit/bench/made.h"

#define PATIENCE_S 30
#define SKIPPED 77
#define NOBODY 65534

struct fake {
    pid_t pid;
    uint16_t port;
};

static uint16_t listen_at(int *fd, int family, const char *address)
{
    struct sockaddr_storage any = {.ss_family = (sa_family_t)family};
    socklen_t len = sizeof(any);
    void *at = family == AF_INET ? (void *)&((struct sockaddr_in *)&any)->sin_addr
                                 : (void *)&((struct sockaddr_in6 *)&any)->sin6_addr;
    inet_pton(family, address, at);
    *fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0 || bind(*fd, (struct sockaddr *)&any, sizeof(any)) != 0 || listen(*fd, 5) != 0 ||
        getsockname(*fd, (struct sockaddr *)&any, &len) != 0)
        return 0;
    return ntohs(((struct sockaddr_in *)&any)->sin_port); // stands where sin6_port does
}

static void burn(void)
{
    alarm(PATIENCE_S);
    for (volatile unsigned i = 0;; i++) {
    }
}

// Starts a process that listens and then burns. Port 0: it could not.
static struct fake start(int family, const char *address, bool (*prepare)(void))
{
    struct fake f = {0};
    int said[2], fd;
    assert_int_equal(pipe(said), 0);
    f.pid = fork();
    assert_true(f.pid >= 0);
    if (f.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        uint16_t port = !prepare || prepare() ? listen_at(&fd, family, address) : 0;
        ssize_t n = write(said[1], &port, sizeof(port));
        if (n != sizeof(port) || port == 0)
            _exit(SKIPPED);
        burn();
    }
    assert_int_equal(read(said[0], &f.port, sizeof(f.port)), sizeof(f.port));
    close(said[0]);
    close(said[1]);
    return f;
}

static void stop(struct fake f)
{
    kill(f.pid, SIGKILL);
    assert_int_equal(waitpid(f.pid, NULL, 0), f.pid);
}

static struct options towards(const char *address, uint16_t port)
{
    struct options o = made_options();
    o.host = address;
    o.port = o.server.port = port;
    o.server.family = strchr(address, ':') ? 6 : 4;
    inet_pton(o.server.family == 6 ? AF_INET6 : AF_INET, address, o.server.addr);
    return o;
}

// Exactly this process is found, and its time goes on.
static void assert_found(const struct options *o, pid_t pid)
{
    struct usage_process found[USAGE_PROCESSES_MAX];
    struct usage begin, now;
    assert_int_equal(usage_find_server(o, found), 1);
    assert_int_equal(found[0].pid, pid);
    usage_find(o);
    usage_read(&begin);
    assert_true(begin.server_s >= 0 && begin.generator_s >= 0);
    time_t limit = time(NULL) + PATIENCE_S;
    do {
        usage_read(&now);
        assert_true(now.server_s >= begin.server_s && now.generator_s >= begin.generator_s);
        sched_yield();
    } while (now.server_s < begin.server_s + 0.05 && time(NULL) < limit);
    assert_true(now.server_s >= begin.server_s + 0.05);
}

static void assert_unknown(const struct options *o)
{
    struct usage u;
    usage_find(o);
    usage_read(&u);
    assert_true(u.server_s < 0 && u.generator_s > 0);
}

static void finds_a_listener(void **state)
{
    (void)state;
    struct fake f = start(AF_INET, "127.0.0.1", NULL);
    struct options o = towards("127.0.0.1", f.port);
    assert_found(&o, f.pid);
    struct options other = towards("127.0.0.2", f.port); // ours too, but nobody listens there
    assert_unknown(&other);
    usage_find(&o);
    stop(f);
    struct usage u;
    usage_read(&u); // it has gone
    assert_true(u.server_s < 0);
    assert_unknown(&o);
}

static void finds_a_listener_at_any_address(void **state)
{
    (void)state;
    struct fake f = start(AF_INET, "0.0.0.0", NULL);
    struct options o = towards("127.0.0.1", f.port);
    assert_found(&o, f.pid);
    stop(f);
    f = start(AF_INET6, "::", NULL);
    if (f.port == 0) {
        stop(f);
        skip();
    }
    o = towards("127.0.0.1", f.port);
    assert_found(&o, f.pid);
    o = towards("::1", f.port);
    assert_found(&o, f.pid);
    stop(f);
}

static void ignores_a_server_elsewhere(void **state)
{
    (void)state;
    // Somebody here has the port, and the address is another machine's (RFC 5737).
    struct fake f = start(AF_INET, "0.0.0.0", NULL);
    struct options o = towards("203.0.113.77", f.port);
    assert_unknown(&o);
    stop(f);
}

static char unix_path[64];

static void finds_a_unix_socket(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(unix_path, sizeof(unix_path), "/tmp/pollux-usage-%d.sock", (int)getpid());
    strcpy(address.sun_path, unix_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        burn();
    }
    close(fd); // the child has it alone
    struct options o = made_options();
    o.unix_path = unix_path;
    assert_found(&o, pid);
    // The same socket as the control socket of a memif, of which we are the client.
    char device[128];
    snprintf(device, sizeof(device), "net_memif0,role=client,id=0,socket=%s,socket-abstract=no",
             unix_path);
    o = towards("198.51.100.1", 6379);
    o.transport = BENCH_DPDK;
    o.nic_devices[0] = device;
    o.n_nic_devices = 1;
    assert_found(&o, pid);
    unlink(unix_path);
    stop((struct fake){.pid = pid});
}

// A network namespace of its own, with an address on its loopback interface.
static bool own_network(void)
{
    struct ifreq r = {.ifr_name = "lo"};
    struct sockaddr_in *a = (struct sockaddr_in *)&r.ifr_addr;
    if (unshare(CLONE_NEWNET) != 0)
        return false;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    a->sin_family = AF_INET;
    inet_pton(AF_INET, "198.51.100.7", &a->sin_addr);
    if (ioctl(fd, SIOCSIFADDR, &r) != 0)
        return false;
    r.ifr_flags = IFF_UP;
    bool good = ioctl(fd, SIOCSIFFLAGS, &r) == 0;
    close(fd);
    return good;
}

static void finds_a_listener_in_another_network_namespace(void **state)
{
    (void)state;
    struct fake f = start(AF_INET, "0.0.0.0", own_network);
    if (f.port == 0) {
        stop(f);
        skip();
    }
    struct options o = towards("198.51.100.7", f.port);
    assert_found(&o, f.pid);
    o = towards("198.51.100.8", f.port); // not its address
    assert_unknown(&o);
    stop(f);
}

// Answers INFO with a process_id, as a server does; `shown` of them.
static void be_redis(int listener, pid_t shown)
{
    char text[128], reply[256], request[512];
    snprintf(text, sizeof(text), "# Server\r\nredis_version:7.0.15\r\nprocess_id:%d\r\n",
             (int)shown);
    snprintf(reply, sizeof(reply), "$%zu\r\n%s\r\n", strlen(text), text);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        while (fd >= 0 && read(fd, request, sizeof(request)) > 0)
            if (write(fd, reply, strlen(reply)) < 0)
                break;
        close(fd);
    }
}

// A user without rights cannot see who holds a socket; what INFO says is taken if the owner fits.
static void asks_the_server_where_it_may_not_look(void **state)
{
    (void)state;
    int fd;
    if (geteuid() != 0)
        skip();
    uint16_t port = listen_at(&fd, AF_INET, "127.0.0.1");
    assert_true(port > 0);
    pid_t server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(PATIENCE_S);
        be_redis(fd, getpid());
    }
    close(fd);
    struct options o = towards("127.0.0.1", port);
    pid_t user = fork();
    if (user == 0) {
        struct usage_process found[USAGE_PROCESSES_MAX];
        if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
            _exit(SKIPPED);
        alarm(PATIENCE_S);
        _exit(usage_find_server(&o, found) == 1 && found[0].pid == server ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(user, &status, 0), user);
    stop((struct fake){.pid = server});
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void reads_any_process_name(void **state)
{
    (void)state;
    double cpu_s;
    uint64_t started, again;
    char before[16];
    prctl(PR_GET_NAME, before);
    prctl(PR_SET_NAME, ") R 1 2 3 (");
    assert_true(usage_process_read(getpid(), &cpu_s, &started));
    prctl(PR_SET_NAME, before);
    assert_true(cpu_s >= 0 && started > 0);
    assert_true(usage_process_read(getpid(), &cpu_s, &again) && again == started);
    assert_false(usage_process_read(0, &cpu_s, &started));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_a_listener),
        cmocka_unit_test(finds_a_listener_at_any_address),
        cmocka_unit_test(ignores_a_server_elsewhere),
        cmocka_unit_test(finds_a_unix_socket),
        cmocka_unit_test(finds_a_listener_in_another_network_namespace),
        cmocka_unit_test(asks_the_server_where_it_may_not_look),
        cmocka_unit_test(reads_any_process_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
