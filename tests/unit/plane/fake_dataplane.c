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

static void connections(unsigned core, const struct plane_message *m, const uint8_t *data,
                        size_t len)
{
    static struct {
        uint64_t next;
        struct plane_connection connection[CONNECTIONS];
    } page;
    uint64_t cursor = 0;
    uint32_t max = 0;
    if (len == sizeof(cursor) + sizeof(max)) {
        memcpy(&cursor, data, sizeof(cursor));
        memcpy(&max, data + sizeof(cursor), sizeof(max));
    }
    unsigned all = core == 0 ? CONNECTIONS : 0, n = 0;
    for (; cursor < all && n < max; cursor++, n++) {
        struct plane_connection *c = &page.connection[n];
        *c = (struct plane_connection){.client_id = cursor + 1,
                                       .core = core,
                                       .rtt_us = 80 + (uint32_t)cursor,
                                       .cwnd = 14600,
                                       .mss = 1460,
                                       .bytes_in = 1000 * cursor};
        snprintf(c->local, sizeof(c->local), "10.9.0.1:6379");
        snprintf(c->remote, sizeof(c->remote), "10.9.0.2:%u", (unsigned)(40000 + cursor));
        snprintf(c->state, sizeof(c->state), "ESTABLISHED");
    }
    page.next = cursor < all ? cursor : 0;
    answer(core, m, PLANE_CONNECTIONS, &page, sizeof(page.next) + n * sizeof(page.connection[0]));
}

static void nic(unsigned core, const struct plane_message *m)
{
    struct {
        struct plane_nic nic;
        char text[64];
    } a = {.nic = {.core = core,
                   .transport = "dpdk",
                   .driver = "net_fake",
                   .device = "net_fake0",
                   .mac = "02:00:00:00:00:01",
                   .address = "10.9.0.1/24",
                   .queues = CORES,
                   .mtu = 1500,
                   .link_up = 1,
                   .link_mbps = 10000,
                   .rx_frames = 1000,
                   .rx_bytes = 64000,
                   .rx_missed = 7}};
    int n = snprintf(a.text, sizeof(a.text), "checksum_bad=3\nno_listener=%u\n", core);
    answer(core, m, PLANE_NIC, &a, sizeof(a.nic) + (size_t)n);
}

static void core_turn(unsigned core)
{
    struct plane_ring *ring = &segment->channel[core].to_core;
    const struct plane_message *m;
    const uint8_t *data;
    size_t len;
    while ((m = plane_receive(ring, &data, &len))) {
        static const char neighbours[] = "10.9.0.2 02:00:00:00:00:02 reachable 12\n";
        if (m->kind == PLANE_EXECUTE)
            execute(core, m, data, len);
        else if (m->kind == PLANE_CONNECTIONS)
            connections(core, m, data, len);
        else if (m->kind == PLANE_NIC)
            nic(core, m);
        else if (m->kind == PLANE_NEIGHBOURS)
            answer(core, m, PLANE_NEIGHBOURS, neighbours, sizeof(neighbours) - 1);
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
