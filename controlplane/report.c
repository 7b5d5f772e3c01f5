#include "controlplane/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/stream.h"
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

// --- rows that say their layout ------------------------------------------------------------------

#define FIELDS_MAX 256
#define FIELD_NAME_MAX 40

struct field {
    char name[FIELD_NAME_MAX];
    char type; // u, b, s or e
    unsigned size, offset;
};

// One line of a layout: "name type offset". False when it is none, or lies outside a row.
static bool field_read(const char *line, size_t len, size_t row_size, struct field *f)
{
    char text[96], type[8];
    if (len >= sizeof(text))
        return false;
    memcpy(text, line, len);
    text[len] = '\0';
    unsigned number = 0;
    if (sscanf(text, "%39s %7s %u", f->name, type, &f->offset) != 3)
        return false;
    f->type = type[0];
    if (type[1] && sscanf(type + 1, "%u", &number) != 1)
        return false;
    if (f->type == 'u' && (number == 8 || number == 16 || number == 32 || number == 64))
        f->size = number / 8;
    else if (f->type == 'b')
        f->size = 1;
    else if (f->type == 's' && number && number <= 256)
        f->size = number;
    else if (f->type == 'e')
        f->size = sizeof(struct endpoint);
    else
        return false;
    return f->offset <= row_size && row_size - f->offset >= f->size;
}

static unsigned layout_read(const char *text, size_t len, size_t row_size, struct field *fields)
{
    unsigned n = 0;
    for (const char *end = text + len, *stop; text < end; text = stop + 1) {
        if (!(stop = memchr(text, '\n', (size_t)(end - text))) || n == FIELDS_MAX ||
            !field_read(text, (size_t)(stop - text), row_size, &fields[n++]))
            return 0;
    }
    return n;
}

static void row_put(struct resp_text *t, const struct field *fields, unsigned n, const uint8_t *row)
{
    resp_open(t, '%');
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *p = row + fields[i].offset;
        uint64_t value = 0;
        struct endpoint e;
        char text[ENDPOINT_TEXT_MAX];
        switch (fields[i].type) {
        case 'u': // the planes share a machine, so a byte order
            memcpy(&value, p, fields[i].size);
            resp_field_integer(t, fields[i].name, (int64_t)value);
            break;
        case 'b':
            resp_field_bool(t, fields[i].name, *p);
            break;
        case 's':
            field_chars(t, fields[i].name, (const char *)p, fields[i].size);
            break;
        default:
            memcpy(&e, p, sizeof(e));
            resp_field_string(t, fields[i].name, endpoint_format(&e, text));
        }
    }
    resp_close(t);
}

bool report_rows(struct resp_text *t, const uint8_t *data, size_t len, uint64_t *next,
                 uint32_t *rows)
{
    struct plane_rows head;
    struct field fields[FIELDS_MAX];
    if (len < sizeof(head))
        return false;
    memcpy(&head, data, sizeof(head));
    data += sizeof(head);
    len -= sizeof(head);
    if (head.layout_size > len || (uint64_t)head.rows * head.row_size != len - head.layout_size)
        return false;
    unsigned n = layout_read((const char *)data, head.layout_size, head.row_size, fields);
    if (!n)
        return false;
    data += head.layout_size;
    for (uint32_t i = 0; i < head.rows; i++)
        row_put(t, fields, n, data + (size_t)i * head.row_size);
    *next = head.next;
    *rows = head.rows;
    return true;
}
