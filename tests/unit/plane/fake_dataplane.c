// A data plane without packets and keys, for tests of the other side of the contract: it meets the
// control plane through dataplane/core/attach, and answers for two cores, by one thread, what tests
// expect.
//
// Commands that it executes: PING, ECHO text, BIG bytes, NEVER (no answer), GARBAGE (fills the
// ring's next message with it), DIE, SHUTDOWN, CONFIG GET name. Everything else is an error.
// FAKE_START_STATUS=n in the environment: fails at start with that status.
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/plane.h"
#include "common/resp_text.h"
#include "common/stream.h"
#include "config/config.h"
#include "dataplane/core/attach.h"

#define CORES 2
#define CONNECTIONS 250 // of core 0; core 1 has none
#define BIG_MAX (32u * 1024 * 1024)

static volatile sig_atomic_t stopped;
static struct plane_segment *segment;
static struct attach *attach;
static const struct config *config;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void answer(unsigned core, const struct plane_message *m, enum plane_message_kind kind,
                   const void *data, size_t len)
{
    struct plane_channel *channel = &segment->channel[core];
    size_t offset = 0;
    uint64_t until = now_us() + 5000000;
    while (!plane_send_parts(&channel->to_control, kind, m->request, m->generation, data, len,
                             &offset) &&
           now_us() < until && !stopped)
        attach_wake_control(attach, channel);
    attach_wake_control(attach, channel);
}

static bool is(const struct resp_word *word, const char *text)
{
    return word->len == strlen(text) && strncasecmp(word->ptr, text, word->len) == 0;
}

static void garbage(unsigned core)
{
    struct plane_ring *ring = &segment->channel[core].to_control;
    uint64_t head = atomic_load(&ring->head);
    memset(ring->bytes + head % PLANE_RING_BYTES, 0xee, 8);
    atomic_store(&ring->head, head + 64);
    attach_wake_control(attach, &segment->channel[core]);
}

static void execute(unsigned core, const struct plane_message *m, const uint8_t *data, size_t len)
{
    struct resp_word words[64];
    unsigned n = 0;
    const char *error = "";
    struct resp_text reply = {.resp = 3};
    ssize_t used = resp_request((const char *)data, len, words, 64, &n, &error);
    if (used != (ssize_t)len || !n) {
        resp_put_error(&reply, "ERR not one request: %s", error);
    } else if (is(&words[0], "PING")) {
        resp_put_status(&reply, "PONG");
    } else if (is(&words[0], "ECHO") && n == 2) {
        resp_put_bytes(&reply, words[1].ptr, words[1].len);
    } else if (is(&words[0], "BIG") && n == 2) {
        size_t bytes = strtoul(words[1].ptr, NULL, 10);
        char *text = bytes <= BIG_MAX ? malloc(bytes + 1) : NULL;
        if (text) {
            memset(text, 'b', bytes);
            resp_put_bytes(&reply, text, bytes);
        }
        free(text);
    } else if (is(&words[0], "NEVER")) {
        return;
    } else if (is(&words[0], "GARBAGE")) {
        garbage(core);
        return;
    } else if (is(&words[0], "DIE")) {
        abort();
    } else if (is(&words[0], "SHUTDOWN")) {
        stopped = 1;
        return;
    } else if (is(&words[0], "CONFIG") && n == 3 && is(&words[1], "GET")) {
        char name[64];
        snprintf(name, sizeof(name), "%.*s", (int)words[2].len, words[2].ptr);
        const char *value = config_get(config, name);
        resp_open(&reply, '%');
        if (value)
            resp_field_string(&reply, name, value);
        resp_close(&reply);
    } else {
        resp_put_error(&reply, "ERR unknown command '%.*s'", (int)words[0].len, words[0].ptr);
    }
    answer(core, m, PLANE_REPLY, reply.data, reply.len);
    resp_text_free(&reply);
}

// Rows of another build's layout: what is shown of them is what they say.
struct row {
    uint64_t id;
    uint32_t core, rtt_us, cwnd;
    uint16_t mss;
    bool sack;
    char state[16];
    struct endpoint local, remote;
    uint64_t bytes_in;
};

static size_t layout(char *text, size_t size)
{
#define AT(name) (unsigned)offsetof(struct row, name)
    return (size_t)snprintf(text, size,
                            "id u64 %u\ncore u32 %u\nrtt_us u32 %u\ncwnd u32 %u\nmss u16 %u\n"
                            "sack b %u\nstate s16 %u\nlocal e %u\nremote e %u\nbytes_in u64 %u\n",
                            AT(id), AT(core), AT(rtt_us), AT(cwnd), AT(mss), AT(sack), AT(state),
                            AT(local), AT(remote), AT(bytes_in));
#undef AT
}

static void connections(unsigned core, const struct plane_message *m, const uint8_t *data,
                        size_t len)
{
    static uint8_t text[sizeof(struct plane_rows) + 512 + CONNECTIONS * sizeof(struct row)];
    struct plane_question q;
    if (len != sizeof(q)) {
        answer(core, m, PLANE_ERROR, "another question was expected", 29);
        return;
    }
    memcpy(&q, data, sizeof(q));
    char lines[512];
    size_t line_bytes = layout(lines, sizeof(lines));
    // Layouts that are none, and that point out of a row.
    if (q.local_port == 666)
        memcpy(lines, "id u99", 6);
    if (q.local_port == 667)
        memcpy(lines, "id u64 4000000000\n", 18);
    struct plane_rows head = {.row_size = sizeof(struct row), .layout_size = (uint32_t)line_bytes};
    uint64_t at = q.cursor, all = core == 0 ? CONNECTIONS : 0;
    for (; at < all && head.rows < q.max && head.looked_at < 64; at++, head.looked_at++) {
        struct row r = {
            .id = at + 1,
            .core = core,
            .rtt_us = 80 + (uint32_t)at,
            .cwnd = 14600,
            .mss = 1460,
            .sack = true,
            .state = "ESTABLISHED",
            .local = {.family = 4, .port = 6379, .addr = {10, 9, 0, 1}},
            .remote = {.family = 4, .port = (uint16_t)(40000 + at), .addr = {10, 9, 0, 2}},
            .bytes_in = 1000 * at};
        if (q.remote_port && q.remote_port != r.remote.port)
            continue;
        memcpy(text + sizeof(head) + line_bytes + head.rows++ * sizeof(r), &r, sizeof(r));
    }
    head.next = at < all ? at : 0;
    memcpy(text, &head, sizeof(head));
    memcpy(text + sizeof(head), lines, line_bytes);
    answer(core, m, PLANE_CONNECTIONS, text,
           sizeof(head) + line_bytes + head.rows * sizeof(struct row));
}

static void tell(unsigned core, const struct plane_message *m, struct resp_text *t)
{
    answer(core, m, (enum plane_message_kind)m->kind, t->data, t->len);
    resp_text_free(t);
}

static void nic(unsigned core, const struct plane_message *m)
{
    struct resp_text t = {.resp = 3};
    resp_open(&t, '%');
    resp_field_integer(&t, "core", core);
    resp_field_string(&t, "transport", "dpdk");
    resp_field_string(&t, "driver", "net_fake");
    resp_field_string(&t, "device", "net_fake0");
    resp_field_string(&t, "mac", "02:00:00:00:00:01");
    resp_field_integer(&t, "mtu", 1500);
    resp_field_bool(&t, "link_up", true);
    resp_field_integer(&t, "rx_frames", 1000);
    resp_field_integer(&t, "rx_missed", 7);
    resp_field_open(&t, "counters", '%');
    resp_field_integer(&t, "checksum_bad", 3);
    resp_field_integer(&t, "no_listener", core);
    resp_field_integer(&t, "never", 0);
    resp_close(&t);
    if (core == 0) {
        static const char *const about[][3] = {{"checksum_bad", "DROPS", "sums that are wrong"},
                                               {"no_listener", "DROPS", "nobody listens"},
                                               {"never", "NOVELTIES", "what never happens"}};
        resp_field_open(&t, "about", '%');
        for (unsigned i = 0; i < 3; i++) {
            resp_field_open(&t, about[i][0], '*');
            resp_put_string(&t, about[i][1]);
            resp_put_string(&t, about[i][2]);
            resp_close(&t);
        }
        resp_close(&t);
    }
    resp_close(&t);
    tell(core, m, &t);
}

static void neighbours(unsigned core, const struct plane_message *m)
{
    struct resp_text t = {.resp = 3};
    resp_open(&t, '*');
    resp_open(&t, '%');
    resp_field_integer(&t, "core", core);
    resp_field_string(&t, "address", "10.9.0.2");
    resp_field_string(&t, "mac", "02:00:00:00:00:02");
    resp_field_string(&t, "state", "REACHABLE");
    resp_field_double(&t, "age_seconds", 12);
    resp_close(&t);
    resp_close(&t);
    tell(core, m, &t);
}

static void core_turn(unsigned core)
{
    struct plane_ring *ring = &segment->channel[core].to_core;
    const struct plane_message *m;
    const uint8_t *data;
    size_t len;
    while ((m = plane_receive(ring, &data, &len))) {
        if (m->kind == PLANE_EXECUTE)
            execute(core, m, data, len);
        else if (m->kind == PLANE_CONNECTIONS)
            connections(core, m, data, len);
        else if (m->kind == PLANE_NIC)
            nic(core, m);
        else if (m->kind == PLANE_NEIGHBOURS)
            neighbours(core, m);
        else
            answer(core, m, PLANE_ERROR, "unknown message", 15);
        plane_received(ring);
    }
    struct plane_core *p = &segment->core[core];
    atomic_store(&p->heartbeat_us, now_us());
    atomic_fetch_add(&p->turns, 1);
    atomic_fetch_add(&p->busy_cycles, 250);
    atomic_fetch_add(&p->idle_cycles, 750);
    atomic_fetch_add(&p->stage_cycles[STAGE_EXECUTE], 250);
    atomic_fetch_add(&p->stage_cycles[STAGE_IDLE], 750);
}

static void segment_fill(unsigned port)
{
    atomic_store(&segment->data_ready, 0);
    atomic_fetch_add(&segment->data_generation, 1);
    atomic_store(&segment->cores, CORES);
    atomic_store(&segment->data_started_ms, (uint64_t)time(NULL) * 1000);
    atomic_store(&segment->maxmemory, 1u << 30);
    atomic_store(&segment->memory_resident, 123456789);
    atomic_store(&segment->keys, 1001);
    atomic_store(&segment->memory_used, 100001);
    strcpy(segment->transport, "dpdk");
    strcpy(segment->device, "net_fake0");
    segment->port = (uint16_t)port;
    for (unsigned i = 0; i < CORES; i++) {
        plane_discard(&segment->channel[i].to_core);
        atomic_store(&segment->core[i].keys, 500);
        atomic_store(&segment->core[i].memory_used, 50000);
        atomic_store(&segment->core[i].clients, 3);
        atomic_store(&segment->core[i].ops_per_second, 1234);
        atomic_store(&segment->core[i].cpu, (int32_t)i);
    }
}

static int fail(const char *error)
{
    fprintf(stderr, "fake dataplane: %s\n", error);
    return 1;
}

int main(int argc, char **argv)
{
    char error[512], run[256], path[512];
    const char *status = getenv("FAKE_START_STATUS");
    if (status)
        return atoi(status);
    struct config *c = config_new();
    config = c;
    if (config_load_arguments(c, argc - 1, argv + 1, error, sizeof(error)))
        return fail(error);
    unsigned port = (unsigned)config_integer(config, "port");
    if (plane_run_directory(config_string(config, "runtime-dir"), run, sizeof(run)))
        return fail("run directory");
    int lock = plane_lock(run, port, "data", error, sizeof(error));
    if (lock < 0)
        return fail(error);
    plane_path(run, port, "segment", path, sizeof(path));
    if (!(segment = plane_open(path, error, sizeof(error))))
        return fail(error);
    if (plane_reserve(segment, CORES))
        return fail("no room for the channels");
    segment_fill(port);
    int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), wakes[CORES] = {wake, wake};
    attach = attach_open(run, port, atomic_load(&segment->data_generation), CORES, wakes, error,
                         sizeof(error));
    if (!attach)
        return fail(error);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    atomic_store(&segment->data_pid, getpid());
    atomic_store(&segment->data_ready, 1);
    struct pollfd fds[] = {{wake, POLLIN, 0}, {attach_fd(attach), POLLIN, 0}};
    while (!stopped) {
        for (unsigned i = 0; i < CORES; i++)
            atomic_store(&segment->channel[i].core_sleeps, 1);
        for (unsigned i = 0; i < CORES; i++)
            core_turn(i);
        attach_turn(attach);
        poll(fds, 2, 20);
        uint64_t count;
        ssize_t n = read(wake, &count, sizeof(count));
        (void)n;
    }
    atomic_store(&segment->data_ready, 0);
    attach_close(attach);
    plane_close(segment);
    plane_unlock(run, port, "data", lock);
    config_free(c);
    return 0;
}
