#include "controlplane/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/link.h"
#include "controlplane/server.h"

#define LOOK(field) atomic_load_explicit(&(field), memory_order_relaxed)

static const char *const stages[PLANE_STAGES] = {"receive", "mailbox", "parse",    "execute",
                                                 "reply",   "timers",  "transmit", "idle"};

static void field_chars(struct resp_text *t, const char *name, const char *text, size_t size)
{
    resp_put_string(t, name);
    resp_put_bytes(t, text, strnlen(text, size));
}

static double uptime_s(uint64_t started_ms)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    return ms > started_ms && started_ms ? (double)(ms - started_ms) / 1000 : 0;
}

// The share of busy cycles in the last second, in percent.
static double busy_percent(const struct link *link, unsigned core)
{
    struct link_sample now, before;
    link_samples(link, core, &now, &before);
    double busy = (double)(now.busy_cycles - before.busy_cycles);
    double idle = (double)(now.idle_cycles - before.idle_cycles);
    return busy + idle > 0 ? 100 * busy / (busy + idle) : 0;
}

struct totals {
    uint64_t commands, errors, connections_received, connections_rejected, clients;
    uint64_t bytes_in, bytes_out, hits, misses, expired, evicted, ops_per_second;
    uint64_t heartbeat_age_us; // of the slowest core
    unsigned hung;
};

static void totals_count(struct totals *sum, const struct link *link)
{
    const struct plane_segment *s = link_segment(link);
    uint64_t now = link_now_us();
    for (unsigned i = 0; i < link_cores(link); i++) {
        const struct plane_core *core = &s->core[i];
        sum->commands += LOOK(core->commands);
        sum->errors += LOOK(core->errors);
        sum->connections_received += LOOK(core->connections_received);
        sum->connections_rejected += LOOK(core->connections_rejected);
        sum->clients += LOOK(core->clients);
        sum->bytes_in += LOOK(core->bytes_in);
        sum->bytes_out += LOOK(core->bytes_out);
        sum->hits += LOOK(core->hits);
        sum->misses += LOOK(core->misses);
        sum->expired += LOOK(core->expired);
        sum->evicted += LOOK(core->evicted);
        sum->ops_per_second += LOOK(core->ops_per_second);
        uint64_t beat = LOOK(core->heartbeat_us), age = now > beat ? now - beat : 0;
        if (age > sum->heartbeat_age_us)
            sum->heartbeat_age_us = age;
        sum->hung += link_core_hung(link, i);
    }
}

static void report_processes(struct resp_text *t, const struct server *server,
                             const struct totals *sum)
{
    const struct link *link = server->link;
    const struct plane_segment *s = link_segment(link);
    bool attached = link_attached(link);
    resp_field_open(t, "data_plane", '%');
    resp_field_bool(t, "attached", attached);
    if (attached) {
        resp_field_bool(t, "ready", LOOK(s->data_ready));
        resp_field_integer(t, "pid", link_data_pid(link));
        resp_field_double(t, "uptime_seconds", uptime_s(LOOK(s->data_started_ms)));
        resp_field_integer(t, "generation", (int64_t)LOOK(s->data_generation));
        resp_field_integer(t, "cores", link_cores(link));
        resp_field_integer(t, "hung_cores", sum->hung);
        resp_field_integer(t, "heartbeat_age_us", (int64_t)sum->heartbeat_age_us);
    }
    resp_close(t);
    resp_field_open(t, "control_plane", '%');
    resp_field_integer(t, "pid", getpid());
    resp_field_double(t, "uptime_seconds", (double)(link_now_us() - server->started_us) / 1e6);
    resp_field_integer(t, "generation", (int64_t)LOOK(s->control_generation));
    resp_field_integer(t, "clients", server->n_clients);
    resp_close(t);
    if (server->supervisor_pid) {
        resp_field_open(t, "supervisor", '%');
        resp_field_integer(t, "pid", server->supervisor_pid);
        resp_close(t);
    }
}

static void report_lease(struct resp_text *t, const struct plane_lease *lease)
{
    uint64_t until = LOOK(lease->until_us);
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    uint64_t now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    resp_field_open(t, "lease", '%');
    resp_field_string(t, "state",
                      LOOK(lease->revoked)  ? "revoked"
                      : until == UINT64_MAX ? "unlimited"
                      : until > now_us      ? "held"
                                            : "over");
    if (until != UINT64_MAX)
        resp_field_double(t, "seconds_left", until > now_us ? (double)(until - now_us) / 1e6 : 0);
    resp_field_integer(t, "generation", (int64_t)LOOK(lease->generation));
    resp_close(t);
}

void report_status(struct resp_text *t, const struct server *server)
{
    const struct link *link = server->link;
    const struct plane_segment *s = link_segment(link);
    struct totals sum = {0};
    totals_count(&sum, link);
    resp_open(t, '%');
    resp_field_string(t, "version", POLLUX_VERSION);
    resp_field_integer(t, "port", server->port);
    resp_field_string(t, "run_directory", server->run_directory);
    report_processes(t, server, &sum);
    if (link_attached(link)) {
        field_chars(t, "transport", s->transport, sizeof(s->transport));
        field_chars(t, "device", s->device, sizeof(s->device));
        resp_field_open(t, "cores", '*');
        for (unsigned i = 0; i < link_cores(link); i++) {
            resp_open(t, '%');
            resp_field_integer(t, "core", i);
            resp_field_integer(t, "cpu", LOOK(s->core[i].cpu));
            resp_field_double(t, "busy_percent", busy_percent(link, i));
            resp_field_integer(t, "ops_per_second", (int64_t)LOOK(s->core[i].ops_per_second));
            resp_field_bool(t, "hung", link_core_hung(link, i));
            resp_close(t);
        }
        resp_close(t);
        resp_field_open(t, "memory", '%');
        resp_field_integer(t, "used_bytes", (int64_t)LOOK(s->memory_used));
        resp_field_integer(t, "resident_bytes", (int64_t)LOOK(s->memory_resident));
        resp_field_integer(t, "max_bytes", (int64_t)LOOK(s->maxmemory));
        resp_close(t);
        resp_field_open(t, "clients", '%');
        resp_field_integer(t, "connected", (int64_t)sum.clients);
        resp_field_integer(t, "received", (int64_t)sum.connections_received);
        resp_field_integer(t, "rejected", (int64_t)sum.connections_rejected);
        resp_close(t);
        resp_field_open(t, "commands", '%');
        resp_field_integer(t, "per_second", (int64_t)sum.ops_per_second);
        resp_field_integer(t, "total", (int64_t)sum.commands);
        resp_field_integer(t, "errors", (int64_t)sum.errors);
        resp_field_integer(t, "bytes_in", (int64_t)sum.bytes_in);
        resp_field_integer(t, "bytes_out", (int64_t)sum.bytes_out);
        resp_close(t);
        resp_field_open(t, "keys", '%');
        resp_field_integer(t, "total", (int64_t)LOOK(s->keys));
        resp_field_integer(t, "hits", (int64_t)sum.hits);
        resp_field_integer(t, "misses", (int64_t)sum.misses);
        resp_field_integer(t, "expired", (int64_t)sum.expired);
        resp_field_integer(t, "evicted", (int64_t)sum.evicted);
        resp_close(t);
    }
    report_lease(t, &s->lease);
    resp_close(t);
}

static void report_stages(struct resp_text *t, const struct link *link, unsigned core)
{
    struct link_sample now, before;
    link_samples(link, core, &now, &before);
    double all = 0;
    for (unsigned i = 0; i < PLANE_STAGES; i++)
        all += (double)(now.stage_cycles[i] - before.stage_cycles[i]);
    resp_field_open(t, "stage_percent", '%');
    for (unsigned i = 0; i < PLANE_STAGES; i++)
        resp_field_double(
            t, stages[i],
            all > 0 ? 100 * (double)(now.stage_cycles[i] - before.stage_cycles[i]) / all : 0);
    resp_close(t);
}

void report_cores(struct resp_text *t, const struct link *link)
{
    const struct plane_segment *s = link_segment(link);
    uint64_t now = link_now_us();
    resp_open(t, '*');
    for (unsigned i = 0; i < link_cores(link); i++) {
        const struct plane_core *core = &s->core[i];
        uint64_t beat = LOOK(core->heartbeat_us);
        resp_open(t, '%');
        resp_field_integer(t, "core", i);
        resp_field_integer(t, "cpu", LOOK(core->cpu));
        resp_field_integer(t, "thread", LOOK(core->thread_id));
        resp_field_bool(t, "hung", link_core_hung(link, i));
        resp_field_integer(t, "heartbeat_age_us", now > beat ? (int64_t)(now - beat) : 0);
        resp_field_double(t, "busy_percent", busy_percent(link, i));
        report_stages(t, link, i);
#define FIELD(name) resp_field_integer(t, #name, (int64_t)LOOK(core->name))
        FIELD(turns);
        FIELD(ops_per_second);
        FIELD(commands);
        FIELD(errors);
        FIELD(clients);
        FIELD(connections_received);
        FIELD(connections_rejected);
        FIELD(bytes_in);
        FIELD(bytes_out);
        FIELD(keys);
        FIELD(memory_used);
        FIELD(hits);
        FIELD(misses);
        FIELD(expired);
        FIELD(evicted);
        FIELD(forwarded);
        FIELD(borrows);
        FIELD(gathers);
        FIELD(mailbox_full);
        FIELD(sleeps);
        FIELD(wakes);
#undef FIELD
        resp_close(t);
    }
    resp_close(t);
}

void report_connection(struct resp_text *t, const struct plane_connection *connection)
{
    resp_open(t, '%');
    resp_field_integer(t, "id", (int64_t)connection->client_id);
    resp_field_integer(t, "core", connection->core);
    field_chars(t, "local", connection->local, sizeof(connection->local));
    field_chars(t, "remote", connection->remote, sizeof(connection->remote));
    field_chars(t, "state", connection->state, sizeof(connection->state));
#define FIELD(name) resp_field_integer(t, #name, (int64_t)connection->name)
    FIELD(rtt_us);
    FIELD(rttvar_us);
    FIELD(rto_us);
    FIELD(mss);
    FIELD(cwnd);
    FIELD(ssthresh);
    FIELD(snd_wnd);
    FIELD(rcv_wnd);
    FIELD(unread);
    FIELD(unsent);
    FIELD(unacked);
    FIELD(bytes_in);
    FIELD(bytes_out);
    FIELD(segments_in);
    FIELD(segments_out);
    FIELD(retransmitted);
#undef FIELD
    resp_close(t);
}

// Lines of "name=value"; the value is a number, or text where it is none.
static void report_counters(struct resp_text *t, const char *text, size_t len)
{
    const char *end = text + len;
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        if (!stop)
            stop = end;
        const char *equals = memchr(text, '=', (size_t)(stop - text));
        if (equals) {
            char value[32];
            size_t n = (size_t)(stop - equals - 1);
            resp_put_bytes(t, text, (size_t)(equals - text));
            snprintf(value, sizeof(value), "%.*s", n < 31 ? (int)n : 31, equals + 1);
            if (n && n < 19 && strspn(value, "0123456789") == n)
                resp_put_integer(t, strtoll(value, NULL, 10));
            else
                resp_put_bytes(t, equals + 1, n);
        }
        text = stop + 1;
    }
}

void report_nic(struct resp_text *t, const struct plane_nic *nic, const char *counters, size_t len)
{
    resp_open(t, '%');
    resp_field_integer(t, "core", nic->core);
    field_chars(t, "transport", nic->transport, sizeof(nic->transport));
    field_chars(t, "driver", nic->driver, sizeof(nic->driver));
    field_chars(t, "device", nic->device, sizeof(nic->device));
    field_chars(t, "mac", nic->mac, sizeof(nic->mac));
    field_chars(t, "address", nic->address, sizeof(nic->address));
    resp_field_bool(t, "link_up", nic->link_up);
    resp_field_bool(t, "huge_pages", nic->huge_pages);
    resp_field_bool(t, "rss", nic->rss);
#define FIELD(name) resp_field_integer(t, #name, (int64_t)nic->name)
    FIELD(link_mbps);
    FIELD(mtu);
    FIELD(queues);
    FIELD(offloads);
    FIELD(rx_frames);
    FIELD(rx_bytes);
    FIELD(rx_missed);
    FIELD(rx_errors);
    FIELD(rx_no_buffer);
    FIELD(tx_frames);
    FIELD(tx_bytes);
    FIELD(tx_errors);
    FIELD(tx_refused);
    FIELD(rx_pool_free);
    FIELD(rx_pool_size);
    FIELD(tx_pool_free);
    FIELD(tx_pool_size);
#undef FIELD
    resp_field_open(t, "counters", '%');
    report_counters(t, counters, len);
    resp_close(t);
    resp_close(t);
}

void report_lines(struct resp_text *t, const char *text, size_t len)
{
    const char *end = text + len;
    resp_open(t, '*');
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        if (!stop)
            stop = end;
        if (stop > text)
            resp_put_bytes(t, text, (size_t)(stop - text));
        text = stop + 1;
    }
    resp_close(t);
}
