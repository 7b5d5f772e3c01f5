// Kernel sockets as streams: one core that echoes, and clients made of ordinary sockets. Both run
// on one thread: `pump` is a turn of the core, and every wait is for a condition.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/block.h"
#include "drivers/sockets.h"

enum { PATIENCE_S = 30, READY_MAX = 64 };

enum mode {
    ECHO,  // replies what it gets, closes after EOF
    STALL, // does not read until told
    MUTE,  // reads and says nothing, even to EOF
};

static struct core {
    struct io *io;
    struct sockets *s;
    uint16_t port;
    enum mode mode;
    struct stream *last; // the newest stream
    unsigned accepted, connected, closed, eof, writable;
    uint8_t error;          // of the last closed one
    uint64_t read;          // bytes consumed
    uint32_t reads_at_most; // bytes consumed a turn and stream; 0: all
} core;

static void setup_core(const struct sockets_config *config)
{
    char error[256] = "";
    memset(&core, 0, sizeof(core));
    core.io = io_create(256, error, sizeof(error));
    if (!core.io)
        fail_msg("%s", error);
    core.s = sockets_create(core.io, config, error, sizeof(error));
    if (!core.s)
        fail_msg("%s", error);
    // A port that was free a moment ago.
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    getsockname(fd, (struct sockaddr *)&a, &size);
    close(fd);
    core.port = ntohs(a.sin_port);
    if (sockets_listen(core.s, "127.0.0.1", core.port, 0, 1024, error, sizeof(error)) < 0)
        fail_msg("%s", error);
}

static void teardown_core(void)
{
    sockets_destroy(core.s);
    io_destroy(core.io);
}

static void consume(struct stream *st)
{
    uint32_t left = core.reads_at_most ? core.reads_at_most : UINT32_MAX;
    while (st->in_len && left) {
        uint32_t n = st->in_len < left ? st->in_len : left;
        if (core.mode == ECHO)
            out_write(&st->out, st->in, n);
        core.read += n;
        left -= n;
        stream_consume(st, n);
    }
    if (core.mode == ECHO)
        st->ops->push(st);
}

static void serve(struct stream *st)
{
    unsigned events = st->events;
    st->events = 0;
    core.accepted += (events & STREAM_ACCEPTED) != 0;
    core.connected += (events & STREAM_CONNECTED) != 0;
    core.eof += (events & STREAM_EOF) != 0;
    core.writable += (events & STREAM_WRITABLE) != 0;
    if (events & (STREAM_ACCEPTED | STREAM_CONNECTED))
        core.last = st;
    if (events & STREAM_CLOSED) {
        core.closed++;
        core.error = st->error;
        if (core.last == st)
            core.last = NULL;
        st->ops->release(st);
        return;
    }
    if (core.mode != STALL)
        consume(st);
    if (events & STREAM_EOF && core.mode == ECHO)
        st->ops->close(st);
}

static void pump(void)
{
    struct stream *ready[READY_MAX];
    unsigned n;
    while ((n = sockets_ready(core.s, ready, READY_MAX)))
        for (unsigned i = 0; i < n; i++)
            serve(ready[i]);
    sockets_turn_end(core.s);
    if (io_turn(core.io) == 0)
        io_wait(core.io, 200);
}

static time_t patience(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

#define PUMP_UNTIL(condition)                                \
    do {                                                     \
        time_t until_ = patience() + PATIENCE_S;             \
        while (!(condition)) {                               \
            if (patience() > until_)                         \
                fail_msg("never came true: %s", #condition); \
            pump();                                          \
        }                                                    \
    } while (0)

static int client(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(core.port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void fill(uint8_t *p, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (uint8_t)(seed >> 24);
    }
}

// Sends all of `out` and reads `n` bytes back, in steps of whatever goes.
static void exchange(int fd, const uint8_t *out, size_t out_len, uint8_t *in, size_t n)
{
    size_t sent = 0, got = 0;
    time_t until = patience() + PATIENCE_S;
    while (sent < out_len || got < n) {
        if (patience() > until)
            fail_msg("sent %zu of %zu, got %zu of %zu", sent, out_len, got, n);
        ssize_t k = sent < out_len ? send(fd, out + sent, out_len - sent, MSG_NOSIGNAL) : 0;
        if (k > 0)
            sent += (size_t)k;
        k = got < n ? recv(fd, in + got, n - got, 0) : 0;
        if (k > 0)
            got += (size_t)k;
        pump();
    }
}

static void expect_echo(int fd, size_t n, uint32_t seed)
{
    uint8_t *out = malloc(n), *in = malloc(n);
    assert_true(out && in);
    fill(out, n, seed);
    exchange(fd, out, n, in, n);
    assert_memory_equal(out, in, n);
    free(out);
    free(in);
}

// Reads until EOF; counts the bytes. -1: the connection was reset.
static ssize_t drain(int fd)
{
    char buffer[65536];
    ssize_t total = 0;
    time_t until = patience() + PATIENCE_S;
    for (;;) {
        ssize_t k = recv(fd, buffer, sizeof(buffer), 0);
        if (k == 0)
            return total;
        if (k > 0)
            total += k;
        else if (errno == ECONNRESET)
            return -1;
        if (patience() > until)
            fail_msg("no EOF after %zd bytes", total);
        pump();
    }
}

static void test_echo_of_many_sizes(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    int fd = client();
    static const size_t sizes[] = {1,     2,     511,   512,   513,    1743,    1744,   1745,
                                   16383, 16384, 16385, 65536, 100000, 1 << 20, 9 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        expect_echo(fd, sizes[i], (uint32_t)i);
    assert_int_equal(core.accepted, 1);
    shutdown(fd, SHUT_WR);
    assert_int_equal(drain(fd), 0);
    close(fd);
    PUMP_UNTIL(core.closed == 1 && sockets_count(core.s) == 0);
    assert_int_equal(core.error, STREAM_OK);
    const struct sockets_counters *c = sockets_counters(core.s);
    assert_true(c->bytes_in == c->bytes_out && c->bytes_in > 10u << 20);
    teardown_core();
}

static void test_a_reader_in_small_steps_loses_nothing(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    core.reads_at_most = 7;
    int fd = client();
    uint8_t out[5000], in[5000];
    fill(out, sizeof(out), 5);
    assert_int_equal(send(fd, out, sizeof(out), 0), sizeof(out));
    size_t got = 0;
    time_t until = patience() + PATIENCE_S;
    while (got < sizeof(in)) {
        assert_true(patience() <= until);
        if (core.last && core.last->in_len)
            consume(core.last); // as a core does whose batch was full
        ssize_t k = recv(fd, in + got, sizeof(in) - got, 0);
        if (k > 0)
            got += (size_t)k;
        pump();
    }
    assert_memory_equal(in, out, sizeof(in));
    close(fd);
    teardown_core();
}

static void test_a_stopped_reader_stops_its_peer(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){.unread_max = 64 * 1024});
    core.mode = STALL;
    int fd = client();
    static uint8_t out[64 << 20];
    fill(out, sizeof(out), 9);
    size_t sent = 0;
    // Until nothing more goes for a hundred turns after receiving stopped.
    for (unsigned quiet = 0; quiet < 100;) {
        ssize_t k = send(fd, out + sent, sizeof(out) - sent, MSG_NOSIGNAL);
        if (k > 0)
            sent += (size_t)k;
        quiet = k > 0 || sockets_counters(core.s)->unread_stops == 0 ? 0 : quiet + 1;
        assert_true(sent < sizeof(out));
        pump();
    }
    struct stream_info info;
    core.last->ops->info(core.last, &info);
    assert_true(info.unread >= 64 * 1024);
    // One turn's worth of buffers may come on top.
    assert_true(info.unread < 16u << 20);
    core.mode = ECHO;
    core.last->events |= STREAM_READABLE;
    uint8_t *in = malloc(sent);
    consume(core.last);
    exchange(fd, NULL, 0, in, sent);
    assert_memory_equal(in, out, sent);
    free(in);
    close(fd);
    teardown_core();
}

static void test_a_block_is_sent_without_copies(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    core.mode = MUTE;
    const size_t n = 100u << 20;
    struct block *b = block_new(n);
    assert_non_null(b);
    fill(b->data, n, 3);
    b->len = n;
    int fd = client();
    PUMP_UNTIL(core.last);
    struct stream *st = core.last;
    out_write(&st->out, "head", 4);
    st->out.ops->ref(&st->out, b, 0, n);
    out_write(&st->out, "middle", 6);
    st->out.ops->ref(&st->out, b, 1000, 2000);
    st->out.ops->ref(&st->out, b, 10, 3); // too short to refer to
    out_write(&st->out, "tail", 4);
    st->ops->push(st);
    assert_int_equal(st->ops->unsent(st), n + 4 + 6 + 2000 + 3 + 4);
    assert_true(block_is_shared(b));
    uint8_t *in = malloc(n + 2017);
    exchange(fd, NULL, 0, in, n + 2017);
    assert_memory_equal(in, "head", 4);
    assert_memory_equal(in + 4, b->data, n);
    assert_memory_equal(in + 4 + n, "middle", 6);
    assert_memory_equal(in + 10 + n, b->data + 1000, 2000);
    assert_memory_equal(in + 2010 + n, b->data + 10, 3);
    assert_memory_equal(in + 2013 + n, "tail", 4);
    PUMP_UNTIL(core.writable == 1 && st->ops->unsent(st) == 0);
    assert_false(block_is_shared(b));
    block_release(b);
    free(in);
    close(fd);
    teardown_core();
}

static void test_close_delivers_what_was_written(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    core.mode = MUTE;
    int fd = client();
    PUMP_UNTIL(core.last);
    struct stream *st = core.last;
    static uint8_t data[8 << 20];
    out_write(&st->out, data, sizeof(data));
    st->ops->push(st);
    st->ops->close(st);
    // Bytes that nobody will read must not turn the end into a reset.
    assert_int_equal(send(fd, "unwanted", 8, 0), 8);
    assert_int_equal(drain(fd), sizeof(data));
    assert_int_equal(core.closed, 0);
    close(fd);
    PUMP_UNTIL(core.closed == 1 && sockets_count(core.s) == 0);
    assert_int_equal(core.error, STREAM_OK);
    teardown_core();
}

static void test_a_peer_that_never_reads_cannot_pin_a_close(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){.linger_ms = 300});
    core.mode = MUTE;
    int fd = client(), idle = client();
    PUMP_UNTIL(core.accepted == 2);
    struct stream *st = core.last; // of either: both get the same
    static uint8_t data[16 << 20];
    out_write(&st->out, data, sizeof(data));
    st->ops->push(st);
    st->ops->close(st);
    PUMP_UNTIL(core.closed == 1);
    assert_int_equal(core.error, STREAM_TIMED_OUT);
    PUMP_UNTIL(sockets_count(core.s) == 1);
    close(fd);
    close(idle);
    teardown_core();
}

static void test_abort_resets(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    core.mode = MUTE;
    int fd = client();
    PUMP_UNTIL(core.last);
    struct stream *st = core.last;
    static uint8_t data[16 << 20]; // more than the kernel takes: a send is under way
    out_write(&st->out, data, sizeof(data));
    st->ops->push(st);
    pump();
    st->ops->abort(st);
    assert_int_equal(st->error, STREAM_ABORTED);
    PUMP_UNTIL(core.closed == 1 && sockets_count(core.s) == 0);
    assert_int_equal(drain(fd), -1);
    close(fd);
    teardown_core();
}

static void test_a_reset_of_the_peer_is_told(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    int fd = client();
    PUMP_UNTIL(core.last);
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
    PUMP_UNTIL(core.closed == 1 && sockets_count(core.s) == 0);
    assert_int_equal(core.error, STREAM_RESET);
    assert_int_equal(sockets_counters(core.s)->resets, 1);
    teardown_core();
}

static void test_half_close_still_gets_its_replies(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    int fd = client();
    static uint8_t data[300000];
    fill(data, sizeof(data), 8);
    size_t sent = 0;
    while (sent < sizeof(data)) {
        ssize_t k = send(fd, data + sent, sizeof(data) - sent, 0);
        if (k > 0)
            sent += (size_t)k;
        pump();
    }
    shutdown(fd, SHUT_WR);
    assert_int_equal(drain(fd), sizeof(data));
    close(fd);
    PUMP_UNTIL(core.closed == 1);
    assert_int_equal(core.eof, 1);
    teardown_core();
}

static void test_a_thousand_connections(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 2 * N + 50)
        skip();
    setup_core(&(struct sockets_config){0});
    static int fd[N];
    for (int i = 0; i < N; i++) {
        fd[i] = client();
        if (i % 100 == 99)
            pump();
    }
    PUMP_UNTIL(sockets_count(core.s) == N);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++)
            assert_int_equal(send(fd[i], &i, sizeof(i), 0), sizeof(i));
        for (int i = 0; i < N; i++) {
            int got = -1;
            PUMP_UNTIL(recv(fd[i], &got, sizeof(got), 0) == sizeof(got));
            assert_int_equal(got, i);
        }
    }
    for (int i = 0; i < N; i++)
        close(fd[i]);
    PUMP_UNTIL(sockets_count(core.s) == 0);
    assert_int_equal(core.closed, N);
    teardown_core();
}

static void test_buffers_run_out_and_nothing_is_lost(void **state)
{
    (void)state;
    enum { N = 40 };
    setup_core(&(struct sockets_config){.receive_buffers = 4, .receive_buffer_size = 256});
    int fd[N];
    for (int i = 0; i < N; i++)
        fd[i] = client();
    PUMP_UNTIL(sockets_count(core.s) == N);
    uint8_t data[4000], back[4000];
    fill(data, sizeof(data), 77);
    for (int i = 0; i < N; i++)
        assert_int_equal(send(fd[i], data, sizeof(data), 0), sizeof(data));
    for (int i = 0; i < N; i++) {
        exchange(fd[i], NULL, 0, back, sizeof(back));
        assert_memory_equal(data, back, sizeof(data));
        close(fd[i]);
    }
    assert_true(sockets_counters(core.s)->buffers_empty > 0);
    PUMP_UNTIL(sockets_count(core.s) == 0);
    teardown_core();
}

static void test_connect_both_ways(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    struct endpoint to = {.family = 4, .port = core.port, .addr = {127, 0, 0, 1}};
    int error = -1;
    struct stream *st = sockets_connect(core.s, &to, &error);
    assert_non_null(st);
    out_write(&st->out, "x", 1); // before it is connected
    st->ops->push(st);
    PUMP_UNTIL(core.connected == 1 && core.accepted == 1 && core.read >= 100);
    struct stream_info info;
    st->ops->info(st, &info);
    assert_string_equal(info.state, "ESTABLISHED");
    assert_int_equal(info.remote.port, core.port);
    assert_true(info.bytes_out >= 50 && info.mss > 0);
    st->ops->keepalive(st, 300);
    st->ops->keepalive(st, 0);
    core.mode = MUTE;
    st->ops->close(st);
    PUMP_UNTIL(core.eof == 1);
    teardown_core();
}

static void test_connect_refused(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    sockets_unlisten(core.s);
    struct endpoint to = {.family = 4, .port = core.port, .addr = {127, 0, 0, 1}};
    int error = -1;
    assert_non_null(sockets_connect(core.s, &to, &error));
    PUMP_UNTIL(core.closed == 1);
    assert_int_equal(core.error, STREAM_REFUSED);
    assert_int_equal(core.connected, 0);
    to.family = 0;
    assert_null(sockets_connect(core.s, &to, &error));
    assert_int_equal(error, -EAFNOSUPPORT);
    teardown_core();
}

static void test_a_foreign_listener_is_an_error(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    // One that would share its port, as a second server of the same user would.
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    getsockname(fd, (struct sockaddr *)&a, &size);
    char error[256] = "", expected[256];
    uint16_t port = ntohs(a.sin_port);
    assert_int_equal(sockets_listen(core.s, "*", port, 0, 16, error, sizeof(error)), -EADDRINUSE);
    snprintf(expected, sizeof(expected),
             "Could not create server TCP listening socket *:%u: bind: Address already in use",
             port);
    assert_string_equal(error, expected);
    assert_int_equal(sockets_listen(core.s, "not an address", port, 0, 16, error, sizeof(error)),
                     -EINVAL);
    close(fd);
    assert_int_equal(sockets_listen(core.s, "*", port, 0, 16, error, sizeof(error)), 0);
    assert_int_equal(sockets_listen(core.s, "::*", port, 0, 16, error, sizeof(error)), 0);
    teardown_core();
}

static void test_cores_of_one_process_share_a_port(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    char error[256] = "";
    struct io *io = io_create(64, error, sizeof(error));
    struct sockets *second = sockets_create(io, &(struct sockets_config){0}, error, sizeof(error));
    assert_non_null(second);
    assert_int_equal(sockets_listen(second, "127.0.0.1", core.port, 0, 64, error, sizeof(error)),
                     0);
    int fd[64];
    for (int i = 0; i < 64; i++)
        fd[i] = client();
    time_t until = patience() + PATIENCE_S;
    while (sockets_count(core.s) + sockets_count(second) < 64) {
        assert_true(patience() <= until);
        pump();
        io_turn(io);
        sockets_turn_end(second);
    }
    assert_true(sockets_count(core.s) > 0 && sockets_count(second) > 0);
    for (int i = 0; i < 64; i++)
        close(fd[i]);
    sockets_destroy(second);
    io_destroy(io);
    teardown_core();
}

static void test_unix_socket(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    char path[64], error[256] = "";
    snprintf(path, sizeof(path), "/tmp/pollux-test-%d.sock", (int)getpid());
    if (sockets_listen_unix(core.s, path, 0640, 16, error, sizeof(error)) < 0)
        fail_msg("%s", error);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(sockets_listen_unix(core.s, path, 0, 16, error, sizeof(error)), -EADDRINUSE);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    expect_echo(fd, 100000, 4);
    struct stream_info info;
    core.last->ops->info(core.last, &info);
    assert_int_equal(info.remote.family, 0);
    close(fd);
    PUMP_UNTIL(sockets_count(core.s) == 0);
    teardown_core();
    assert_int_equal(stat(path, &st), -1);
}

static bool admit_none(void *context, const struct endpoint *remote)
{
    assert_int_equal(remote->family, 4);
    ++*(unsigned *)context;
    return false;
}

static void test_admission_refused(void **state)
{
    (void)state;
    unsigned asked = 0;
    setup_core(&(struct sockets_config){.admit = admit_none, .context = &asked});
    int fd = client();
    assert_int_equal(drain(fd), 0);
    close(fd);
    assert_int_equal(asked, 1);
    assert_int_equal(core.accepted, 0);
    assert_int_equal(sockets_counters(core.s)->refused_admission, 1);
    teardown_core();
}

static void test_no_descriptors_left_is_survived(void **state)
{
    (void)state;
    setup_core(&(struct sockets_config){0});
    int fd = client();
    struct rlimit before, none;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 3; // all descriptors that are open stay open; no new ones
    setrlimit(RLIMIT_NOFILE, &none);
    PUMP_UNTIL(sockets_counters(core.s)->accept_errors > 0);
    setrlimit(RLIMIT_NOFILE, &before);
    PUMP_UNTIL(core.accepted == 1);
    expect_echo(fd, 10, 1);
    close(fd);
    teardown_core();
}

static bool each(void *context, const struct stream_info *info)
{
    assert_string_equal(info->state, "ESTABLISHED");
    ++*(unsigned *)context;
    return true;
}

static void test_the_list_of_connections_is_walked_in_steps(void **state)
{
    (void)state;
    enum { N = 10 };
    setup_core(&(struct sockets_config){0});
    int fd[N];
    for (int i = 0; i < N; i++)
        fd[i] = client();
    PUMP_UNTIL(sockets_count(core.s) == N);
    uint64_t cursor = 0;
    unsigned seen = 0, steps = 0;
    do {
        sockets_each(core.s, &cursor, 3, each, &seen);
        steps++;
    } while (cursor);
    assert_int_equal(seen, N);
    assert_int_equal(steps, 4);
    for (int i = 0; i < N; i++)
        close(fd[i]);
    teardown_core();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_of_many_sizes),
        cmocka_unit_test(test_a_reader_in_small_steps_loses_nothing),
        cmocka_unit_test(test_a_stopped_reader_stops_its_peer),
        cmocka_unit_test(test_a_block_is_sent_without_copies),
        cmocka_unit_test(test_close_delivers_what_was_written),
        cmocka_unit_test(test_a_peer_that_never_reads_cannot_pin_a_close),
        cmocka_unit_test(test_abort_resets),
        cmocka_unit_test(test_a_reset_of_the_peer_is_told),
        cmocka_unit_test(test_half_close_still_gets_its_replies),
        cmocka_unit_test(test_a_thousand_connections),
        cmocka_unit_test(test_buffers_run_out_and_nothing_is_lost),
        cmocka_unit_test(test_connect_both_ways),
        cmocka_unit_test(test_connect_refused),
        cmocka_unit_test(test_a_foreign_listener_is_an_error),
        cmocka_unit_test(test_cores_of_one_process_share_a_port),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_admission_refused),
        cmocka_unit_test(test_no_descriptors_left_is_survived),
        cmocka_unit_test(test_the_list_of_connections_is_walked_in_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
