// The sections of INFO, field by field. Names and units are Redis's, so that dashboards made for it
// work; a field that could only be invented is left out.
#include <inttypes.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "dataplane/commands/families.h"
#include "dataplane/commands/info.h"
#include "dataplane/commands/observe.h"

#define MS_PER_S 1000
#define US_PER_S 1000000
#define S_PER_DAY 86400
#define PERCENT 100.0

static void field(struct out *o, const char *name, uint64_t value)
{
    text_add(o, "%s:%" PRIu64 "\r\n", name, value);
}

static void field_text(struct out *o, const char *name, const char *value)
{
    text_add(o, "%s:", name);
    out_write(o, value, strlen(value));
    out_write(o, "\r\n", 2);
}

// "NAME_human:1.50M".
static void field_human(struct out *o, const char *name, uint64_t bytes)
{
    static const char units[] = "BKMGTP";
    double scaled = (double)bytes;
    unsigned u = 0;
    for (; scaled >= 1024 && u + 2 < sizeof(units); u++)
        scaled /= 1024;
    if (u == 0)
        text_add(o, "%s_human:%" PRIu64 "B\r\n", name, bytes);
    else
        text_add(o, "%s_human:%.2f%c\r\n", name, scaled, units[u]);
}

// "NAME:bytes" and "NAME_human:1.50M".
static void field_bytes(struct out *o, const char *name, uint64_t bytes)
{
    field(o, name, bytes);
    field_human(o, name, bytes);
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? PERCENT * (double)part / (double)whole : 0;
}

static void write_server(const struct info *info, struct out *o)
{
    const struct server_figures *s = &info->server;
    const struct request *r = info->r;
    char hz[INFO_OPTION_MAX];
    struct utsname os = {0};
    uname(&os);
    uint64_t up_s = r->now_ms > s->start_ms ? (r->now_ms - s->start_ms) / MS_PER_S : 0;
    field_text(o, "redis_version", s->redis_version);
    field_text(o, "redis_git_sha1", "00000000");
    field_text(o, "redis_git_dirty", "0");
    field_text(o, "redis_build_id", "0");
    field_text(o, "redis_mode", "standalone");
    field_text(o, "server_name", "pollux");
    field_text(o, "server_mode", "standalone");
    field_text(o, "pollux_version", s->version);
    text_add(o, "os:%s %s %s\r\n", os.sysname, os.release, os.machine);
    field(o, "arch_bits", 8 * sizeof(void *));
    field_text(o, "monotonic_clock", "POSIX clock_gettime");
    field_text(o, "multiplexing_api", !strcmp(s->transport, "dpdk") ? "dpdk" : "io_uring");
    field_text(o, "atomicvar_api", "c11-builtin");
    text_add(o, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
    field(o, "process_id", (uint64_t)s->pid);
    field_text(o, "process_supervised", "no");
    field_text(o, "run_id", s->run_id);
    field(o, "tcp_port", (uint64_t)s->port);
    field(o, "server_time_usec", r->now_ms * MS_PER_S);
    field(o, "uptime_in_seconds", up_s);
    field(o, "uptime_in_days", up_s / S_PER_DAY);
    field_text(o, "hz", info_option(r, "hz", hz));
    field_text(o, "configured_hz", hz);
    field(o, "lru_clock", s->lru_clock);
    field_text(o, "executable", s->executable);
    field_text(o, "config_file", s->config_file);
    field(o, "io_threads_active", 0);
}

static void write_clients(const struct info *info, struct out *o)
{
    const struct core_figures *f = &info->sum.figures;
    char text[INFO_OPTION_MAX];
    field(o, "connected_clients", f->clients);
    field(o, "cluster_connections", 0);
    field_text(o, "maxclients", info_option(info->r, "maxclients", text));
    field(o, "client_recent_max_input_buffer", f->max_input_buffer);
    field(o, "client_recent_max_output_buffer", f->max_output_buffer);
    field(o, "blocked_clients", f->blocked_clients);
    field(o, "tracking_clients", f->tracking_clients);
    field(o, "clients_in_timeout_table", f->timeout_clients);
}

// How much more `large` is than `small`.
static void field_excess(struct out *o, const char *name, uint64_t large, uint64_t small)
{
    text_add(o, "%s_ratio:%.2f\r\n", name, small ? (double)large / (double)small : 0);
    text_add(o, "%s_bytes:%" PRId64 "\r\n", name, (int64_t)(large - small));
}

// Lua has one heap on each core, for scripts and for functions: what it takes is shown as scripts'.
static void write_script_memory(const struct info *info, struct out *o)
{
    const struct server_figures *s = &info->server;
    uint64_t lua = info->sum.figures.lua_bytes;
    field(o, "used_memory_lua", lua);
    field(o, "used_memory_vm_eval", lua);
    field_human(o, "used_memory_lua", lua);
    field(o, "used_memory_scripts_eval", s->script_bytes);
    field(o, "number_of_cached_scripts", s->scripts);
    field(o, "number_of_functions", s->functions);
    field(o, "number_of_libraries", s->libraries);
    field(o, "used_memory_vm_functions", 0);
    field_bytes(o, "used_memory_vm_total", lua);
    field(o, "used_memory_functions", s->function_bytes);
    field_bytes(o, "used_memory_scripts", s->script_bytes + s->function_bytes);
}

static void write_memory(const struct info *info, struct out *o)
{
    const struct core_figures *f = &info->sum.figures;
    const struct server_figures *s = &info->server;
    char text[INFO_OPTION_MAX];
    struct info_memory m = info_memory_of(info->r, f);
    uint64_t used = m.used;
    uint64_t peak = info->r->services->memory_peak(info->r->core, used);
    int allocator = mi_version();
    field_bytes(o, "used_memory", used);
    field_bytes(o, "used_memory_rss", s->memory_resident);
    field_bytes(o, "used_memory_peak", peak);
    text_add(o, "used_memory_peak_perc:%.2f%%\r\n", percent(used, peak));
    field(o, "used_memory_overhead", m.overhead);
    field(o, "used_memory_startup", m.startup);
    field(o, "used_memory_dataset", m.dataset);
    text_add(o, "used_memory_dataset_perc:%.2f%%\r\n", percent(m.dataset, used - m.startup));
    uint64_t resident = s->memory_resident, active = info_allocator_active(resident);
    field(o, "allocator_allocated", used);
    field(o, "allocator_active", active);
    field(o, "allocator_resident", resident);
    field_bytes(o, "total_system_memory", s->memory_total_system);
    write_script_memory(info, o);
    uint64_t maxmemory = strtoull(info_option(info->r, "maxmemory", text), NULL, 10);
    field_bytes(o, "maxmemory", maxmemory);
    field_text(o, "maxmemory_policy", info_option(info->r, "maxmemory-policy", text));
    field_excess(o, "allocator_frag", active, used);
    field_excess(o, "allocator_rss", resident, active);
    field_excess(o, "rss_overhead", resident, resident);
    text_add(o, "mem_fragmentation_ratio:%.2f\r\n",
             used ? (double)s->memory_resident / (double)used : 0);
    text_add(o, "mem_fragmentation_bytes:%" PRId64 "\r\n", (int64_t)(s->memory_resident - used));
    field(o, "mem_not_counted_for_evict", 0);
    field(o, "mem_replication_backlog", 0);
    field(o, "mem_total_replication_buffers", 0);
    field(o, "mem_clients_slaves", 0);
    field(o, "mem_clients_normal", f->client_bytes);
    field(o, "mem_cluster_links", 0);
    field(o, "mem_aof_buffer", 0);
    text_add(o, "mem_allocator:mimalloc-%d.%d.%d\r\n", allocator / 100, allocator / 10 % 10,
             allocator % 10);
    field(o, "active_defrag_running", 0);
    field(o, "lazyfree_pending_objects", 0);
}

static void write_persistence(const struct info *info, struct out *o)
{
    field(o, "loading", 0);
    field(o, "async_loading", 0);
    field(o, "rdb_changes_since_last_save", info->sum.figures.dirty);
    field(o, "rdb_bgsave_in_progress", 0);
    field(o, "rdb_last_save_time", info->server.start_ms / MS_PER_S);
    field_text(o, "rdb_last_bgsave_status", "ok");
    field(o, "aof_enabled", 0);
    field(o, "aof_rewrite_in_progress", 0);
    field(o, "aof_rewrite_scheduled", 0);
}

// Calls that did not fail.
static uint64_t done_by(const struct info *info, const char *name)
{
    const struct command *c = commands_find_name(name, strlen(name));
    return c ? info->commands[c->id].calls - info->commands[c->id].failed : 0;
}

static void write_stats(const struct info *info, struct out *o)
{
    const struct core_figures *f = &info->sum.figures;
    field(o, "total_connections_received", f->connections_received);
    field(o, "total_commands_processed", f->commands);
    field(o, "instantaneous_ops_per_sec", (uint64_t)info->sum.ops);
    field(o, "total_net_input_bytes", f->net_in_bytes);
    field(o, "total_net_output_bytes", f->net_out_bytes);
    field(o, "total_net_repl_input_bytes", 0);
    field(o, "total_net_repl_output_bytes", 0);
    text_add(o, "instantaneous_input_kbps:%.2f\r\n", info->sum.in_kbps);
    text_add(o, "instantaneous_output_kbps:%.2f\r\n", info->sum.out_kbps);
    text_add(o, "instantaneous_input_repl_kbps:0.00\r\n");
    text_add(o, "instantaneous_output_repl_kbps:0.00\r\n");
    field(o, "rejected_connections", f->connections_rejected);
    field(o, "sync_full", 0);
    field(o, "sync_partial_ok", 0);
    field(o, "sync_partial_err", 0);
    field(o, "expired_keys", f->expired);
    // Keys go in the order of their time, so that there are no stale ones but those in this turn.
    text_add(o, "expired_stale_perc:0.00\r\n");
    field(o, "expired_time_cap_reached_count", f->background_cut);
    field(o, "expire_cycle_cpu_milliseconds", f->background_us / MS_PER_S);
    field(o, "evicted_keys", f->evicted);
    field(o, "evicted_clients", f->evicted_clients);
    field(o, "total_eviction_exceeded_time", (f->exceeded_us + f->exceeded_now_us) / MS_PER_S);
    field(o, "current_eviction_exceeded_time", f->exceeded_now_us / MS_PER_S);
    field(o, "keyspace_hits", f->hits);
    field(o, "keyspace_misses", f->misses);
    field(o, "pubsub_channels", info->channels[CHANNEL_NAMED]);
    field(o, "pubsub_patterns", info->channels[CHANNEL_PATTERN]);
    field(o, "pubsubshard_channels", info->channels[CHANNEL_SHARD]);
    field(o, "latest_fork_usec", 0);
    field(o, "total_forks", 0);
    field(o, "tracking_total_keys", f->tracking_keys);
    field(o, "tracking_total_items", f->tracking_items);
    field(o, "tracking_total_prefixes", f->tracking_prefixes);
    field(o, "unexpected_error_replies", 0); // to replicas, which there are none of
    field(o, "total_error_replies", f->error_replies);
    field(o, "dump_payload_sanitizations", done_by(info, "restore"));
    field(o, "total_reads_processed", f->reads);
    field(o, "total_writes_processed", f->writes);
    field(o, "acl_access_denied_auth", f->acl_denied_auth);
    field(o, "acl_access_denied_cmd", f->acl_denied_command);
    field(o, "acl_access_denied_key", f->acl_denied_key);
    field(o, "acl_access_denied_channel", f->acl_denied_channel);
    field(o, "client_query_buffer_limit_disconnections", f->query_limit_disconnections);
    field(o, "client_output_buffer_limit_disconnections", f->output_limit_disconnections);
}

static void write_replication(const struct info *info, struct out *o)
{
    char text[INFO_OPTION_MAX];
    field_text(o, "role", "master");
    field(o, "connected_slaves", 0);
    field_text(o, "master_failover_state", "no-failover");
    field_text(o, "master_replid", info->server.run_id);
    field_text(o, "master_replid2", "0000000000000000000000000000000000000000");
    field(o, "master_repl_offset", 0);
    field_text(o, "second_repl_offset", "-1");
    field(o, "repl_backlog_active", 0);
    field_text(o, "repl_backlog_size", info_option(info->r, "repl-backlog-size", text));
    field(o, "repl_backlog_first_byte_offset", 0);
    field(o, "repl_backlog_histlen", 0);
}

static void field_seconds(struct out *o, const char *name, uint64_t us)
{
    text_add(o, "%s:%" PRIu64 ".%06" PRIu64 "\r\n", name, us / US_PER_S, us % US_PER_S);
}

// The main thread of Redis is core 0 here.
static void write_cpu(const struct info *info, struct out *o)
{
    struct info_part first;
    if (!info_part_of(info->r, 0, &first))
        first = (struct info_part){0};
    field_seconds(o, "used_cpu_sys", info->sum.figures.cpu_sys_us);
    field_seconds(o, "used_cpu_user", info->sum.figures.cpu_user_us);
    field_seconds(o, "used_cpu_sys_children", 0);
    field_seconds(o, "used_cpu_user_children", 0);
    field_seconds(o, "used_cpu_sys_main_thread", first.figures.cpu_sys_us);
    field_seconds(o, "used_cpu_user_main_thread", first.figures.cpu_user_us);
}

static void write_modules(const struct info *info, struct out *o)
{
    (void)info;
    (void)o;
}

static void write_commandstats(const struct info *info, struct out *o)
{
    for (unsigned id = 0; id < commands_count(); id++) {
        const struct command *c = commands_by_id(id);
        const struct command_figures *f = &info->commands[id];
        if (!f->calls && !f->rejected && !f->failed)
            continue;
        text_add(o,
                 "cmdstat_%s%s%s:calls=%" PRIu64 ",usec=%" PRIu64
                 ",usec_per_call=%.2f,rejected_calls=%" PRIu64 ",failed_calls=%" PRIu64 "\r\n",
                 c->parent ? c->parent->name : "", c->parent ? "|" : "", c->name, f->calls, f->usec,
                 f->calls ? (double)f->usec / (double)f->calls : 0, f->rejected, f->failed);
    }
}

static void write_errorstats(const struct info *info, struct out *o)
{
    for (unsigned i = 0; i < info->n_errors; i++)
        text_add(o, "errorstat_%s:count=%" PRIu64 "\r\n", info->errors[i].prefix,
                 info->errors[i].count);
}

// "99.9" of 99.900000.
static void trim_zeros(char *text)
{
    size_t len = strlen(text);
    while (len && text[len - 1] == '0')
        text[--len] = '\0';
    if (len && text[len - 1] == '.')
        text[--len] = '\0';
}

static void write_percentiles(const struct info *info, const struct histogram *h,
                              const char *percentiles, struct out *o)
{
    const char *at = percentiles;
    char *end;
    for (double p = strtod(at, &end); end != at; p = strtod(at, &end)) {
        char name[32];
        snprintf(name, sizeof(name), "%f", p);
        trim_zeros(name);
        text_add(o, "%sp%s=%.3f", at == percentiles ? "" : ",", name,
                 (double)histogram_percentile(h, p) / (double)info->server.cycles_per_us);
        at = end;
    }
}

static void write_latencystats(const struct info *info, struct out *o)
{
    const struct request *r = info->r;
    char percentiles[INFO_OPTION_MAX];
    info_option(r, "latency-tracking-info-percentiles", percentiles);
    struct histogram *sum = mi_malloc(sizeof(*sum));
    for (unsigned id = 0; sum && id < commands_count(); id++) {
        const struct command *c = commands_by_id(id);
        bool any = false;
        histogram_reset(sum);
        for (unsigned i = 0; i < r->n_parts; i++) {
            size_t len;
            const uint8_t *bytes = info_histograms(r, i, &len);
            any |= latency_read_histogram(bytes, len, id, sum);
        }
        if (!any)
            continue;
        text_add(o, "latency_percentiles_usec_%s%s%s:", c->parent ? c->parent->name : "",
                 c->parent ? "|" : "", c->name);
        write_percentiles(info, sum, percentiles, o);
        out_write(o, "\r\n", 2);
    }
    mi_free(sum);
}

static void write_cluster(const struct info *info, struct out *o)
{
    (void)info;
    field(o, "cluster_enabled", 0);
}

static void write_keyspace(const struct info *info, struct out *o)
{
    const struct keyspace *ks = store_keyspace(info->r->store);
    for (unsigned db = 0; db < keyspace_databases(ks); db++) {
        uint64_t keys = keyspace_keys(ks, db);
        if (keys)
            text_add(o, "db%u:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=0\r\n", db, keys,
                     keyspace_volatile_keys(ks, db));
    }
}

static void write_pollux(const struct info *info, struct out *o)
{
    const struct core_figures *f = &info->sum.figures;
    field_text(o, "pollux_version", info->server.version);
    field_text(o, "transport", info->server.transport);
    field(o, "cores", info->server.cores);
    field(o, "control_plane_pid", (uint64_t)info->server.control_plane_pid);
    field(o, "forwarded_commands", f->forwarded_commands);
    field(o, "borrows", f->borrows);
    field(o, "gathers", f->gathers);
    for (unsigned i = 0; i < info->r->n_parts; i++) {
        struct info_part part;
        if (!info_part_of(info->r, i, &part))
            continue;
        const struct core_figures *c = &part.figures;
        text_add(o,
                 "core%u:commands=%" PRIu64 ",ops_per_sec=%.0f,clients=%" PRIu64
                 ",busy_perc=%.2f,turns=%" PRIu64 "\r\n",
                 i, c->commands, part.ops, c->clients,
                 percent(c->busy_cycles, c->busy_cycles + c->idle_cycles), c->turns);
    }
}

// In the order in which they are shown.
static const struct section {
    const char *name, *title;
    enum { IN_DEFAULT = 1, IN_ALL = 2, IN_EVERYTHING = 4 } sets;
    void (*write)(const struct info *info, struct out *o);
} sections[] = {
    {"server", "Server", IN_DEFAULT | IN_ALL | IN_EVERYTHING, write_server},
    {"clients", "Clients", IN_DEFAULT | IN_ALL | IN_EVERYTHING, write_clients},
    {"memory", "Memory", IN_DEFAULT | IN_ALL | IN_EVERYTHING, write_memory},
    {"persistence", "Persistence", IN_DEFAULT | IN_ALL | IN_EVERYTHING, write_persistence},
    {"stats", "Stats", IN_DEFAULT | IN_ALL | IN_EVERYTHING, write_stats},
    {"replication", "Replication", IN_DEFAULT | IN_ALL | IN_EVERYTHING, write_replication},
    {"cpu", "CPU", IN_DEFAULT | IN_ALL | IN_EVERYTHING, write_cpu},
    {"modules", "Modules", IN_DEFAULT | IN_ALL | IN_EVERYTHING, write_modules},
    {"commandstats", "Commandstats", IN_ALL | IN_EVERYTHING, write_commandstats},
    {"errorstats", "Errorstats", IN_DEFAULT | IN_ALL | IN_EVERYTHING, write_errorstats},
    {"latencystats", "Latencystats", IN_ALL | IN_EVERYTHING, write_latencystats},
    {"cluster", "Cluster", IN_DEFAULT | IN_ALL | IN_EVERYTHING, write_cluster},
    {"keyspace", "Keyspace", IN_DEFAULT | IN_ALL | IN_EVERYTHING, write_keyspace},
    {"pollux", "Pollux", IN_DEFAULT | IN_ALL | IN_EVERYTHING, write_pollux},
};

static bool asked_for(const struct request *r, const struct section *s)
{
    if (r->argc == 1)
        return s->sets & IN_DEFAULT;
    for (int i = 1; i < r->argc; i++)
        if (request_is(r, i, s->name) || (request_is(r, i, "default") && (s->sets & IN_DEFAULT)) ||
            (request_is(r, i, "all") && (s->sets & IN_ALL)) ||
            (request_is(r, i, "everything") && (s->sets & IN_EVERYTHING)))
            return true;
    return false;
}

bool info_asks(const struct request *r, const char *section)
{
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
        if (!strcmp(sections[i].name, section))
            return asked_for(r, &sections[i]);
    return false;
}

void info_write(struct info *info, struct out *o)
{
    bool first = true;
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (!asked_for(info->r, &sections[i]))
            continue;
        text_add(o, "%s# %s\r\n", first ? "" : "\r\n", sections[i].title);
        sections[i].write(info, o);
        first = false;
    }
}
