// MEMORY, but for USAGE: where memory goes, summed over the cores, and what to do about it.
#include <inttypes.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "common/outbuf.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/info.h"
#include "dataplane/commands/server.h"

#define PERCENT 100.0

// What DOCTOR finds worth a word.
#define DOCTOR_USED_MIN (5u << 20)        // below this nothing can be said
#define DOCTOR_PEAK_RATIO 1.5             // used at the peak to used now
#define DOCTOR_FRAGMENTATION_RATIO 1.4    // resident to used
#define DOCTOR_RESIDENT_EXTRA (10u << 20) // and at least so many bytes of it
#define DOCTOR_CLIENT_BYTES (200u << 10)  // buffers of an average client

struct memory_view {
    struct core_figures sum;
    struct server_figures server;
    struct info_memory memory;
    uint64_t peak;
    uint64_t scripts; // their texts, and by how much the Lua of all cores has grown
};

static void write_figures(struct request *r)
{
    struct core_figures figures;
    r->services->core_figures(r->core, &figures);
    out_write(r->out, &figures, sizeof(figures));
}

static struct memory_view view(struct request *r)
{
    struct memory_view v = {0};
    for (unsigned i = 0; i < r->n_parts; i++) {
        struct core_figures part;
        if (r->parts[i].len != sizeof(part))
            continue; // that core was short of memory
        memcpy(&part, r->parts[i].ptr, sizeof(part));
        v.sum.clients += part.clients;
        v.sum.query_buffer_bytes += part.query_buffer_bytes;
        v.sum.output_bytes += part.output_bytes;
        v.sum.client_bytes += part.client_bytes;
        v.sum.beside_bytes += part.beside_bytes;
        v.sum.startup_bytes += part.startup_bytes;
        v.scripts += part.lua_growth_bytes;
    }
    r->services->server_figures(r->core, &v.server);
    v.scripts += v.server.script_bytes;
    v.memory = info_memory_of(r, &v.sum);
    v.peak = r->services->memory_peak(r->core, v.memory.used);
    return v;
}

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

// --- STATS -------------------------------------------------------------------------------------

void memory_stats_part(struct request *r)
{
    write_figures(r);
}

static void pair_integer(struct request *r, const char *name, uint64_t value)
{
    reply_bulk_string(r->out, name);
    reply_integer(r->out, (int64_t)value);
}

static void pair_double(struct request *r, const char *name, double value)
{
    reply_bulk_string(r->out, name);
    reply_double(r->out, r->session->resp, value);
}

// How much more `large` is than `small`, as a ratio and in bytes.
static void pair_excess(struct request *r, const char *ratio_name, const char *bytes_name,
                        uint64_t large, uint64_t small)
{
    pair_double(r, ratio_name, ratio(large, small));
    pair_integer(r, bytes_name, large - small);
}

// Those that have keys, as far as one can tell while others change them. NULL: memory is short.
static unsigned *databases_in_use(const struct request *r, unsigned *n)
{
    const struct keyspace *ks = store_keyspace(r->store);
    unsigned *used = mi_mallocn(keyspace_databases(ks), sizeof(*used));
    *n = 0;
    for (unsigned db = 0; used && db < keyspace_databases(ks); db++)
        if (keyspace_keys(ks, db))
            used[(*n)++] = db;
    return used;
}

// What the tables of databases take.
static void add_databases(struct request *r, const unsigned *used, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct keyspace_index index = keyspace_index(store_keyspace(r->store), used[i]);
        char name[32];
        snprintf(name, sizeof(name), "db.%u", used[i]);
        reply_bulk_string(r->out, name);
        reply_map(r->out, r->session->resp, 3);
        pair_integer(r, "overhead.hashtable.main", index.bytes - index.due_bytes);
        pair_integer(r, "overhead.hashtable.expires", index.due_bytes);
        pair_integer(r, "overhead.hashtable.slot-to-keys", 0); // each slot is a table of its own
    }
}

// The names are Redis's, whose tools look for them; what has no meaning here, or is not there yet,
// takes nothing.
void memory_stats_command(struct request *r)
{
    struct memory_view v = view(r);
    const struct info_memory *m = &v.memory;
    uint64_t resident = v.server.memory_resident, active = info_allocator_active(resident);
    uint64_t net = m->used - m->startup;
    unsigned n_used, *used = databases_in_use(r, &n_used);
    reply_map(r->out, r->session->resp, 27 + n_used);
    pair_integer(r, "peak.allocated", v.peak);
    pair_integer(r, "total.allocated", m->used);
    pair_integer(r, "startup.allocated", m->startup);
    pair_integer(r, "replication.backlog", 0);
    pair_integer(r, "clients.slaves", 0);
    pair_integer(r, "clients.normal", v.sum.client_bytes);
    pair_integer(r, "cluster.links", 0);
    pair_integer(r, "aof.buffer", 0);
    pair_integer(r, "lua.caches", v.scripts);
    pair_integer(r, "functions.caches", v.server.function_bytes);
    add_databases(r, used, n_used);
    mi_free(used);
    pair_integer(r, "overhead.total", m->overhead);
    pair_integer(r, "keys.count", m->keys);
    pair_integer(r, "keys.bytes-per-key", m->keys ? net / m->keys : 0);
    pair_integer(r, "dataset.bytes", m->dataset);
    pair_double(r, "dataset.percentage", PERCENT * ratio(m->dataset, net));
    pair_double(r, "peak.percentage", PERCENT * ratio(m->used, v.peak));
    pair_integer(r, "allocator.allocated", m->used);
    pair_integer(r, "allocator.active", active);
    pair_integer(r, "allocator.resident", resident);
    pair_excess(r, "allocator-fragmentation.ratio", "allocator-fragmentation.bytes", active,
                m->used);
    pair_excess(r, "allocator-rss.ratio", "allocator-rss.bytes", resident, active);
    pair_excess(r, "rss-overhead.ratio", "rss-overhead.bytes", resident, resident);
    pair_excess(r, "fragmentation", "fragmentation.bytes", resident, m->used);
}

// --- DOCTOR ------------------------------------------------------------------------------------

void memory_doctor_part(struct request *r)
{
    write_figures(r);
}

void memory_doctor_command(struct request *r)
{
    struct memory_view v = view(r);
    struct outbuf text;
    outbuf_init(&text);
    struct out *o = &text.out;
    uint64_t buffers = v.sum.query_buffer_bytes + v.sum.output_bytes;
    if (v.memory.used < DOCTOR_USED_MIN) {
        text_add(o, "The server holds next to nothing, so nothing can be said about its memory.\n");
        request_reply_text(r, &text);
        return;
    }
    uint64_t resident = v.server.memory_resident;
    if (ratio(v.peak, v.memory.used) > DOCTOR_PEAK_RATIO)
        text_add(o,
                 "* Peak: %" PRIu64 " bytes were used once, %" PRIu64
                 " are now. A machine that is sized for the present will not do for the next "
                 "peak.\n",
                 v.peak, v.memory.used);
    if (ratio(resident, v.memory.used) > DOCTOR_FRAGMENTATION_RATIO &&
        resident - v.memory.used > DOCTOR_RESIDENT_EXTRA)
        text_add(o,
                 "* Resident: %" PRIu64 " bytes are resident for %" PRIu64
                 " in use. Packet pools and free pages of the allocator count here; MEMORY PURGE "
                 "gives back the latter.\n",
                 resident, v.memory.used);
    if (v.sum.clients && buffers / v.sum.clients > DOCTOR_CLIENT_BYTES)
        text_add(o,
                 "* Clients: buffers take %" PRIu64
                 " bytes per client. CLIENT LIST shows whose (qbuf, omem); "
                 "client-output-buffer-limit bounds them.\n",
                 buffers / v.sum.clients);
    if (outbuf_size(&text) == 0)
        text_add(o, "Memory is in order.\n");
    request_reply_text(r, &text);
}

// --- the allocator -----------------------------------------------------------------------------

// An allocator's heap belongs to its thread, so each core collects its own.
void memory_purge_part(struct request *r)
{
    (void)r;
    mi_collect(true);
}

void memory_purge_command(struct request *r)
{
    reply_status(r->out, "OK");
}

static void add_statistics(const char *message, void *text)
{
    out_write(text, message, strlen(message));
}

void memory_malloc_stats_command(struct request *r)
{
    struct outbuf text;
    outbuf_init(&text);
    mi_stats_print_out(add_statistics, &text.out);
    request_reply_text(r, &text);
}

void memory_help_command(struct request *r)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    What is wrong with memory, and what to do.",
        "MALLOC-STATS",
        "    Statistics of the allocator.",
        "PURGE",
        "    Gives free memory back to the operating system.",
        "STATS",
        "    Where memory goes.",
        "USAGE <key> [SAMPLES <count>]",
        "    Bytes that a key and its value take.",
        NULL,
    };
    request_help(r, "MEMORY", lines);
}
