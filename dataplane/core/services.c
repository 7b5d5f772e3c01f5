// What commands may ask of the rooms above them.
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "dataplane/core/access.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/client_memory.h"
#include "dataplane/core/crash.h"
#include "dataplane/core/latency.h"
#include "dataplane/core/monitor.h"
#include "dataplane/core/publish.h"
#include "dataplane/core/script.h"
#include "dataplane/core/service.h"
#include "dataplane/core/slowlog.h"
#include "dataplane/core/tracking.h"
#include "dataplane/core/transaction.h"

// --- configuration

#define CONFIG_ERROR_MAX 384

static void get_config(struct core *c, const char *pattern, size_t len, config_each_fn *each,
                       void *context)
{
    config_match(c->config, pattern, len, each, context);
}

// Frees replaced snapshots that every core has left behind. Under config_lock.
static void free_retired(struct server *server, struct config *replaced)
{
    const unsigned room = sizeof(server->retired) / sizeof(*server->retired);
    for (unsigned i = 0; i < room; i++) {
        struct config *old = server->retired[i];
        bool used = false;
        for (unsigned core = 0; old && core < server->n_cores; core++)
            used |= atomic_load(&server->cores[core]->adopted) == old;
        if (old && !used) {
            config_free(old);
            old = server->retired[i] = NULL;
        }
        if (!old && replaced) {
            server->retired[i] = replaced;
            replaced = NULL;
        }
    }
}

// The error of one option, in the words of CONFIG SET.
static int set_one_config(struct config *changed, const char *name, const char *value, size_t len,
                          char *error, size_t size)
{
    char why[256];
    if (config_set(changed, name, value, len, why, sizeof(why)) == 0)
        return 0;
    snprintf(error, size, "CONFIG SET failed (possibly related to argument '%s') - %s", name, why);
    return -1;
}

static int refuse_config(const char *option, const char *what, const char *why, char *error,
                         size_t size)
{
    snprintf(error, size, "CONFIG SET failed (possibly related to argument '%s') - %s: %s", option,
             what, why);
    return -1;
}

// Each connection of kernel sockets is an open file.
static int clients_fit(const struct server *server, const struct config *changed, char *error,
                       size_t size)
{
    uint64_t clients = (uint64_t)config_integer(changed, "maxclients");
    uint64_t possible = server->dpdk ? clients : server_clients_possible(clients);
    if (possible >= clients)
        return 0;
    snprintf(error, size,
             "CONFIG SET failed (possibly related to argument 'maxclients') - The operating system "
             "is not able to handle the specified number of clients, try with %lu",
             (unsigned long)possible);
    return -1;
}

// What can fail of a change: files of certificates, addresses to listen on. This core listens there
// at once, the others when they adopt the change.
static int apply_config(struct core *c, const struct config *old, const struct config *changed,
                        unsigned n, const char *const *names, char *error, size_t size)
{
    struct server *server = c->server;
    struct tls_context *tls = server->tls_context;
    char why[CONFIG_ERROR_MAX];
    int64_t tls_port = config_integer(changed, "tls-port");
    // Also one that is set to what it was: its file may be another by now.
    const char *option = NULL;
    for (unsigned i = 0; !option && i < n; i++)
        option = tls_option_is(names[i]) ? names[i] : NULL;
    const char *place = transport_moves(old, changed);
    if (place && tls_port && tls_port == config_integer(changed, "port"))
        return refuse_config(place, "Unable to listen on this port",
                             "'tls-port' and 'port' are the same; a port serves one of them", error,
                             size);
    if (!tls_port)
        tls = NULL;
    else if ((option || !tls) && !(tls = tls_prepared(server, changed, why, sizeof(why))))
        return refuse_config(option ? option : "tls-port", "Unable to update TLS configuration",
                             why, error, size);
    if (place && transport_listen(c, changed, why, sizeof(why))) {
        if (tls != server->tls_context)
            tls_context_release(tls);
        return refuse_config(place,
                             strcmp(place, "bind") == 0 ? "Failed to bind to specified addresses"
                                                        : "Unable to listen on this port",
                             why, error, size);
    }
    if (tls != server->tls_context) {
        tls_context_release(server->tls_context);
        server->tls_context = tls;
    }
    return 0;
}

static void adopt_config(struct core *c)
{
    settings_adopt(c);
    access_adopt(c);
}

static int set_config(struct core *c, unsigned n, const char *const *names,
                      const char *const *values, const size_t *lens, char *error, size_t size)
{
    struct server *server = c->server;
    pthread_mutex_lock(&server->config_lock);
    struct config *old = atomic_load(&server->config);
    struct config *changed = config_copy(old);
    int result = changed ? 0 : -1;
    if (!changed)
        snprintf(error, size, "out of memory");
    for (unsigned i = 0; result == 0 && i < n; i++)
        result = set_one_config(changed, names[i], values[i], lens[i], error, size);
    if (result == 0 && config_integer(changed, "maxclients") > config_integer(old, "maxclients"))
        result = clients_fit(server, changed, error, size);
    if (result == 0)
        result = apply_config(c, old, changed, n, names, error, size);
    if (result == 0)
        result = access_reconfigure(server, old, changed, error, size);
    if (result == 0) {
        atomic_store_explicit(&server->config, changed, memory_order_release);
        free_retired(server, old);
    } else {
        config_free(changed);
    }
    pthread_mutex_unlock(&server->config_lock);
    adopt_config(c);
    return result;
}

// On the service thread. What is wrong is told when it is set.
static void prepare_config(struct core *c, unsigned n, const char *const *names,
                           const char *const *values, const size_t *lens)
{
    struct server *server = c->server;
    char error[CONFIG_ERROR_MAX];
    pthread_mutex_lock(&server->config_lock);
    struct config *changed = config_copy(atomic_load(&server->config));
    pthread_mutex_unlock(&server->config_lock);
    bool well = changed;
    for (unsigned i = 0; well && i < n; i++)
        well = set_one_config(changed, names[i], values[i], lens[i], error, sizeof(error)) == 0;
    if (well && config_integer(changed, "tls-port"))
        tls_prepare(server, changed);
    config_free(changed);
}

// On the service thread. The lock keeps the snapshot in force from being retired meanwhile.
static int rewrite_config(struct core *c, char *error, size_t size)
{
    struct server *server = c->server;
    pthread_mutex_lock(&server->config_lock);
    struct config *copy = config_copy(atomic_load(&server->config));
    pthread_mutex_unlock(&server->config_lock);
    if (!copy) {
        snprintf(error, size, "out of memory");
        return -1;
    }
    int result = -1;
    if (access_lines(server, copy))
        result = config_rewrite(copy, error, size);
    else
        snprintf(error, size, "out of memory");
    config_free(copy);
    return result;
}

// --- clients

static void each_client(struct core *c, void (*each)(void *, struct client *), void *context)
{
    for (struct client *client = c->clients, *next; client; client = next) {
        next = client->next;
        if (!(client->flags & (CLIENT_CLOSING | CLIENT_GONE)))
            each(context, client);
    }
}

static uint64_t memory_of_client(struct core *c, const struct client *client)
{
    (void)c;
    return client_memory(client);
}

// --- figures

static void core_figures(struct core *c, struct core_figures *f)
{
    const struct core_counters *n = &c->counters;
    const struct store_stats *s = store_statistics(c->store);
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    struct script_figures scripts;
    c->services.script_figures(c, &scripts);
    *f = (struct core_figures){
        .commands = n->commands,
        .connections_received = n->connections_received,
        .connections_rejected = n->connections_rejected,
        .clients = c->n_clients,
        .blocked_clients = c->blocked->n_waiters + c->pause.postponed,
        .timeout_clients = c->blocked->n_due,
        .error_replies = n->errors,
        .hits = s->hits,
        .misses = s->misses,
        .expired = s->expired,
        .evicted = s->evicted,
        .dirty = s->dirty,
        .output_limit_disconnections = n->output_limit_disconnections,
        .query_limit_disconnections = n->query_limit_disconnections,
        .busy_cycles = n->busy_cycles,
        .idle_cycles = n->idle_cycles,
        .turns = n->turns,
        .forwarded_commands = n->forwarded,
        .borrows = n->borrows,
        .gathers = n->gathers,
        .acl_denied_auth = n->denied_auth,
        .acl_denied_command = n->denied_command,
        .acl_denied_key = n->denied_key,
        .acl_denied_channel = n->denied_channel,
        .reads = n->reads,
        .writes = n->writes,
        .background_us = n->background_cycles / c->server->cycles_per_us,
        .background_cut = n->background_cut,
        .exceeded_us = n->exceeded_us,
        .exceeded_now_us = c->exceeded_since_us ? c->now_us - c->exceeded_since_us : 0,
        .lua_bytes = scripts.lua_bytes,
        .evicted_clients = n->evicted_clients,
        .lua_growth_bytes = scripts.lua_bytes - c->startup_lua_bytes,
        .startup_bytes = c->startup_bytes,
        .client_bytes = memory_of_clients(c),
        .cpu_sys_us = (uint64_t)usage.ru_stime.tv_sec * 1000000 + (uint64_t)usage.ru_stime.tv_usec,
        .cpu_user_us = (uint64_t)usage.ru_utime.tv_sec * 1000000 + (uint64_t)usage.ru_utime.tv_usec,
    };
    f->beside_bytes = memory_count(c, f->client_bytes);
    tracking_figures(c, f);
    clients_recent(c, &f->max_input_buffer, &f->max_output_buffer);
    transport_bytes(c, &f->net_in_bytes, &f->net_out_bytes);
    for (const struct client *client = c->clients; client; client = client->next) {
        f->query_buffer_bytes += parser_memory(&client->parser);
        if (client->stream)
            f->output_bytes += client->stream->ops->unsent(client->stream);
    }
}

static void command_figures(struct core *c, unsigned id, struct command_figures *f)
{
    *f = c->command_figures[id];
    f->usec /= c->server->cycles_per_us;
}

static void each_error(struct core *c, void (*each)(void *, const char *, uint64_t), void *context)
{
    for (unsigned i = 0; i < c->n_error_counts; i++)
        each(context, c->error_counts[i].prefix, c->error_counts[i].count);
}

// As Redis tells it: the plain one where there is one.
static int listening_port(const struct config *config)
{
    int64_t port = config_integer(config, "port");
    return (int)(port ? port : config_integer(config, "tls-port"));
}

static void count_library(void *context, const struct function_shown *library)
{
    struct server_figures *f = context;
    f->libraries++;
    f->functions += library->n_functions;
    f->function_bytes += library->code_len;
}

static void server_figures(struct core *c, struct server_figures *f)
{
    const struct server *s = c->server;
    struct service_memory memory = {0};
    if (s->service)
        service_memory(s->service, &memory);
    *f = (struct server_figures){
        .version = POLLUX_VERSION,
        .redis_version = "7.0.15",
        .executable = s->executable,
        .config_file = config_path(c->config) ? config_path(c->config) : "",
        .transport = s->dpdk ? "dpdk" : "socket",
        .run_id = s->run_id,
        .start_ms = s->start_ms,
        .cores = s->n_cores,
        .pid = getpid(),
        .port = listening_port(c->config),
        .control_plane_pid = atomic_load(&s->segment->control_pid),
        .lru_clock = c->now_ms / 1000 & 0xffffff,
        .cycles_per_us = s->cycles_per_us,
        .memory_resident = memory.resident,
        .memory_total_system = memory.total,
    };
    struct script_figures scripts;
    c->services.script_figures(c, &scripts);
    f->scripts = scripts.scripts;
    f->script_bytes = scripts.text_bytes;
    c->services.function_each(c, count_library, f);
}

static void core_rates(struct core *c, double *ops, double *in_kbps, double *out_kbps)
{
    *ops = c->ops;
    *in_kbps = c->in_kbps;
    *out_kbps = c->out_kbps;
}

// --- the process

static void freeze(struct core *c, uint64_t us)
{
    (void)c;
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    while (nanosleep(&t, &t))
        continue;
}

static bool shut_down(struct request *r)
{
    struct core *c = r->core;
    const struct client *client = r->client;
    char address[CLIENT_ADDRESS_MAX];
    size_t len = 0;
    if (atomic_load(&c->server->stopping))
        return false;
    const char *user = client && client->user ? access_user_name(client->user, &len) : "";
    const char *name = client ? client_name(client) : "";
    if (!client || client->flags & CLIENT_INTERNAL)
        log_warning("SHUTDOWN through the control plane, shutting down");
    else
        log_warning("SHUTDOWN from client id=%lu addr=%s name=%s user=%.*s, shutting down",
                    (unsigned long)client->id, client_address(c, &client->remote, address), name,
                    (int)len, user);
    server_stop(c->server);
    return true;
}

static void crash(struct core *c, enum crash_kind kind)
{
    log_warning("DEBUG asks core %u to crash", c->index);
    crash_on_purpose(kind);
}

static bool protected_allowed(struct core *c, const char *option, struct client *client)
{
    const char *value = config_get(c->config, option);
    if (strcmp(value, "yes") == 0)
        return true;
    if (strcmp(value, "local") != 0)
        return false;
    return client && client->flags & (CLIENT_LOOPBACK | CLIENT_UNIX | CLIENT_INTERNAL);
}

static enum config_access config_access(struct core *c, const char *name, const char **canonical)
{
    (void)c;
    const struct config_option *o = config_find_option(name);
    if (!o || o->flags & CONFIG_FILE_ONLY)
        return CONFIG_ACCESS_UNKNOWN;
    *canonical = o->name;
    if (!(o->flags & CONFIG_RUNTIME))
        return CONFIG_ACCESS_IMMUTABLE;
    return o->flags & CONFIG_PROTECTED ? CONFIG_ACCESS_PROTECTED : CONFIG_ACCESS_FREE;
}

static bool config_secret(struct core *c, const char *name, size_t len)
{
    (void)c;
    char text[64];
    if (len >= sizeof(text))
        return false; // no option has such a name
    memcpy(text, name, len);
    text[len] = '\0';
    const struct config_option *o = config_find_option(text);
    return o && o->flags & CONFIG_SENSITIVE;
}

static void kill_client(struct core *c, struct client *client)
{
    client_close(c, client);
}

static bool unblock_client(struct core *c, struct client *client, bool error)
{
    return client->waiter && blocked_unblock(c, client->waiter, error);
}

void services_init(struct core *c)
{
    c->services = (struct services){
        .config_get = get_config,
        .steps = steps_begin,
        .work = steps_begin_work,
        .migrate = migrate_start,
        .config_set = set_config,
        .config_prepare = prepare_config,
        .config_adopt = adopt_config,
        .config_rewrite = rewrite_config,
        .config_reset_stat = figures_reset,
        .each_client = each_client,
        .client_kill = kill_client,
        .client_unblock = unblock_client,
        .client_memory = memory_of_client,
        .client_address = client_address,
        .core_figures = core_figures,
        .command_figures = command_figures,
        .each_error = each_error,
        .server_figures = server_figures,
        .memory_peak = figures_memory_peak,
        .core_rates = core_rates,
        .freeze = freeze,
        .random = core_random,
        .shutdown = shut_down,
        .crash = crash,
        .protected_allowed = protected_allowed,
        .config_access = config_access,
        .config_secret = config_secret,
        .monitor_begin = monitor_begin,
        .monitor_end = monitor_end,
        .monitors_look = monitors_look,
    };
    blocked_services(&c->services);
    slowlog_services(&c->services);
    publish_services(&c->services);
    tracking_services(&c->services);
    latency_services(&c->services);
    transaction_services(&c->services);
    access_services(&c->services);
    scripts_services(&c->services);
    functions_services(&c->services);
    attend_services(&c->services);
}
