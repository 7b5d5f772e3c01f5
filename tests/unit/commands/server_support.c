#include "tests/unit/commands/server_support.h"

#include <assert.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/block.h"
#include "common/glob.h"
#include "common/histogram.h"
#include "dataplane/pubsub/channels.h"
#include "tests/unit/commands/arity.h"

enum { ARGS_MAX = 64, NOW_MS = 1700000000 };

static const struct {
    const char *name, *value;
} options[] = {
    {"maxclients", "10000"},
    {"maxmemory", "1048576"},
    {"maxmemory-policy", "allkeys-lru"},
    {"repl-backlog-size", "1024"},
    {"hz", "10"},
    {"latency-tracking-info-percentiles", "50 99 99.9"},
    {"requirepass", ""},
};

// As the configuration does: a name lives as long as the call, a value longer.
static void get_config(struct core *c, const char *pattern, size_t len, config_each_fn *each,
                       void *context)
{
    (void)c;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (!glob_match(pattern, len, options[i].name, strlen(options[i].name), true))
            continue;
        char *name = strdup(options[i].name);
        each(context, name, options[i].value);
        memset(name, 0, strlen(name));
        free(name);
    }
}

static int set_config(struct core *c, unsigned n, const char *const *names,
                      const char *const *values, const size_t *lens, char *error, size_t size)
{
    struct server *s = c->server;
    if (s->config_error) {
        snprintf(error, size, "%s", s->config_error);
        return -1;
    }
    s->changed[0] = '\0';
    for (unsigned i = 0; i < n; i++) {
        assert(strlen(values[i]) == lens[i]);
        size_t used = strlen(s->changed);
        snprintf(s->changed + used, sizeof(s->changed) - used, "%s=%s;", names[i], values[i]);
    }
    return 0;
}

static void adopt(struct core *c)
{
    c->adopted++;
}

static int rewrite_config(struct core *c, char *error, size_t size)
{
    if (!c->server->config_error)
        return 0;
    snprintf(error, size, "%s", c->server->config_error);
    return -1;
}

static void reset_stat(struct core *c)
{
    c->reset++;
}

static bool authenticate(struct request *r, const struct arg *user, const struct arg *password)
{
    const char *right = r->core->server->password;
    bool ok = user->len == 7 && !memcmp(user->ptr, "default", 7) &&
              (!right ||
               (password->len == strlen(right) && !memcmp(password->ptr, right, password->len)));
    if (ok)
        r->session->authenticated = r->client->authenticated = true;
    return ok;
}

static void client_default(struct request *r)
{
    r->session->authenticated = r->client->authenticated = !r->core->server->password;
}

// The default user alone; of all tests.
static const struct access_users *access_users(struct core *c)
{
    static const struct access_users *users;
    (void)c;
    if (!users)
        users = access_users_new();
    return users;
}

static bool password_required(struct core *c)
{
    return c->server->password != NULL;
}

static void each_client(struct core *c, void (*each)(void *, struct client *), void *context)
{
    for (int i = 0; i < SERVER_CLIENTS; i++)
        if (!c->killed[i])
            each(context, &c->clients[i]);
}

static void kill_client(struct core *c, struct client *client)
{
    c->killed[client - c->clients] = true;
}

static uint64_t memory_of_client(struct core *c, const struct client *client)
{
    (void)c;
    return 1000 + client->id;
}

static const char *address_of_client(struct core *c, const struct endpoint *e, char *text)
{
    (void)c;
    return endpoint_format(e, text);
}

static void core_figures(struct core *c, struct core_figures *f)
{
    *f = (struct core_figures){
        .commands = 100 + c->index,
        .clients = SERVER_CLIENTS,
        .max_input_buffer = 10 * (c->index + 1),
        .max_output_buffer = 100 - c->index,
        .query_buffer_bytes = 7,
        .output_bytes = 3,
        .client_bytes = 10,
        .cpu_user_us = 1500000,
        .busy_cycles = 1,
        .idle_cycles = 3,
    };
}

static void command_figures(struct core *c, unsigned id, struct command_figures *f)
{
    *f = (struct command_figures){0};
    const struct command *command = commands_by_id(id);
    if (!strcmp(command->name, "ping"))
        *f = (struct command_figures){.calls = 2, .usec = 5 + c->index};
    if (command->parent && !strcmp(command->parent->name, "config") &&
        !strcmp(command->name, "get") && c->index == 2)
        *f = (struct command_figures){.rejected = 1};
}

static const struct channel_table *no_channels(struct core *c)
{
    static const struct channel_table none;
    (void)c;
    return &none;
}

static const struct histogram *command_histogram(struct core *c, unsigned id)
{
    static struct histogram h;
    histogram_reset(&h);
    if (strcmp(commands_by_id(id)->name, "ping") != 0)
        return NULL;
    histogram_record(&h, 1000 * (c->index + 1), 2); // cycles: a microsecond for each core
    return &h;
}

static void each_error(struct core *c, void (*each)(void *, const char *, uint64_t), void *context)
{
    each(context, "ERR", 1 + c->index);
    if (c->index == 1)
        each(context, "WRONGTYPE", 4);
}

static void server_figures(struct core *c, struct server_figures *f)
{
    (void)c;
    *f = (struct server_figures){
        .version = "9.8.7",
        .redis_version = "7.0.15",
        .executable = "/bin/pollux",
        .config_file = "",
        .transport = "socket",
        .run_id = "0123456789012345678901234567890123456789",
        .start_ms = NOW_MS - 90061000,
        .cores = SERVER_CORES,
        .cycles_per_us = 1000,
        .pid = 42,
        .port = 6379,
        .memory_resident = 4096,
    };
}

static uint64_t memory_peak(struct core *c, uint64_t used)
{
    (void)c;
    return used > 2048 ? used : 2048;
}

static void core_rates(struct core *c, double *ops, double *in_kbps, double *out_kbps)
{
    *ops = 10 * (c->index + 1);
    *in_kbps = 0.25;
    *out_kbps = 0.5;
}

static void freeze(struct core *c, uint64_t us)
{
    c->frozen_us += us;
}

static uint64_t random_number(struct core *c)
{
    return 0x9e3779b97f4a7c15u * (c->index + 1);
}

static bool shut_down(struct request *r)
{
    r->core->server->shutting_down = true;
    return true;
}

static bool protected_allowed(struct core *c, const char *option, struct client *client)
{
    (void)option;
    (void)client;
    return c->server->allow_protected;
}

static enum config_access config_access(struct core *c, const char *name, const char **canonical)
{
    (void)c;
    *canonical = !strcasecmp(name, "rate") ? "hz" : name;
    if (!strcasecmp(name, "nosuch"))
        return CONFIG_ACCESS_UNKNOWN;
    if (!strcasecmp(name, "port"))
        return CONFIG_ACCESS_IMMUTABLE;
    return strcasecmp(name, "dir") ? CONFIG_ACCESS_FREE : CONFIG_ACCESS_PROTECTED;
}

static size_t no_unsent(const struct stream *s)
{
    (void)s;
    return 0;
}

static const struct stream_ops stream_ops = {.unsent = no_unsent};

// Ids are dealt as if connections came in turn to all cores.
static void make_clients(struct core *c)
{
    for (unsigned i = 0; i < SERVER_CLIENTS; i++) {
        struct client *client = &c->clients[i];
        c->streams[i].ops = &stream_ops;
        *client = (struct client){
            .stream = &c->streams[i],
            .id = 1 + i * SERVER_CORES + c->index,
            .resp = 2,
            .authenticated = true,
            .remote = {.family = 4,
                       .port = (uint16_t)(1000 + i * SERVER_CORES + c->index),
                       .addr = {10, 0, 0, 1}},
            .local = {.family = 4, .port = 6379, .addr = {10, 0, 0, (uint8_t)(100 + c->index)}},
        };
    }
}

static void no_transaction(struct request *r)
{
    (void)r;
}

static void no_scripts(struct core *core, struct script_figures *f)
{
    (void)core;
    *f = (struct script_figures){0};
}

static void nothing_tracked(const struct client *c, struct client_tracking *t)
{
    (void)c;
    *t = (struct client_tracking){0};
}

static void nothing_open(const struct client *c, struct client_transaction *t)
{
    (void)c;
    *t = (struct client_transaction){.queued = -1};
}

static void keys_replaced(struct request *r, int db, int other)
{
    (void)r;
    (void)db;
    (void)other;
}

int server_setup(void **state)
{
    struct server *s = calloc(1, sizeof(*s));
    assert(s);
    const struct keyspace_config config = {.cores = SERVER_CORES, .databases = SERVER_DATABASES};
    commands_init();
    s->keyspace = keyspace_create(&config);
    s->services = (struct services){
        .config_get = get_config,
        .config_set = set_config,
        .config_adopt = adopt,
        .config_rewrite = rewrite_config,
        .config_reset_stat = reset_stat,
        .authenticate = authenticate,
        .client_default = client_default,
        .password_required = password_required,
        .access_users = access_users,
        .each_client = each_client,
        .client_kill = kill_client,
        .client_memory = memory_of_client,
        .client_address = address_of_client,
        .core_figures = core_figures,
        .script_figures = no_scripts,
        .command_figures = command_figures,
        .command_histogram = command_histogram,
        .channels = no_channels,
        .each_error = each_error,
        .server_figures = server_figures,
        .memory_peak = memory_peak,
        .core_rates = core_rates,
        .freeze = freeze,
        .random = random_number,
        .shutdown = shut_down,
        .protected_allowed = protected_allowed,
        .config_access = config_access,
        .transaction_forget = no_transaction,
        .unsubscribe_all = no_transaction,
        .client_transaction = nothing_open,
        .client_tracking = nothing_tracked,
        .tracking_end = no_transaction,
        .keys_replaced = keys_replaced,
    };
    for (unsigned i = 0; i < SERVER_CORES; i++) {
        struct core *c = &s->cores[i];
        c->index = i;
        c->server = s;
        c->store = store_create(s->keyspace, i, i + 1);
        store_set_time(c->store, NOW_MS);
        make_clients(c);
    }
    s->session = (struct session){.client_id = 1, .resp = 2, .authenticated = true};
    s->allow_protected = true;
    *state = s;
    return 0;
}

int server_teardown(void **state)
{
    struct server *s = *state;
    for (unsigned i = 0; i < SERVER_CORES; i++) {
        for (unsigned k = 0; k < SERVER_CLIENTS; k++)
            mi_free(s->cores[i].clients[k].name_long);
        store_destroy(s->cores[i].store);
    }
    keyspace_destroy(s->keyspace);
    free(s->reply);
    free(s);
    return 0;
}

static char *flatten(struct outbuf *b, size_t *len)
{
    *len = outbuf_size(b);
    outbuf_finish(b);
    char *text = malloc(*len + 1), *to = text;
    assert(text);
    for (struct outbuf_piece *p = b->first; p; p = p->next) {
        memcpy(to, p->block->data + p->offset, p->len);
        to += p->len;
    }
    *to = '\0';
    outbuf_clear(b);
    return text;
}

static struct request on_core(struct server *s, unsigned core, struct request r)
{
    r.core = &s->cores[core];
    r.core_index = core;
    r.store = s->cores[core].store;
    r.client = core == 0 ? &s->cores[0].clients[0] : NULL;
    return r;
}

static void gather(struct server *s, struct request *r)
{
    struct gathered parts[SERVER_CORES];
    char *texts[SERVER_CORES];
    if (r->command->start && !r->command->start(r))
        return;
    for (unsigned i = 0; i < SERVER_CORES; i++) {
        struct outbuf part;
        size_t len;
        outbuf_init(&part);
        struct request there = on_core(s, i, *r);
        there.out = &part.out;
        r->command->part(&there);
        texts[i] = flatten(&part, &len);
        parts[i] = (struct gathered){(const uint8_t *)texts[i], len};
    }
    r->parts = parts;
    r->n_parts = SERVER_CORES;
    r->command->handler(r);
    for (unsigned i = 0; i < SERVER_CORES; i++)
        free(texts[i]);
}

static void execute(struct server *s, struct request *r)
{
    r->command = commands_find(r->argv, r->argc);
    if (!r->command) {
        commands_reply_unknown(r->out, r->argv, r->argc);
        return;
    }
    if (!check_arity(r->out, r->command, r->argc))
        return;
    if (r->command->route == ROUTE_GATHER)
        gather(s, r);
    else
        r->command->handler(r);
}

const char *server_ask_args(struct server *s, struct arg *argv, int argc)
{
    struct outbuf reply;
    outbuf_init(&reply);
    static const struct value_limits limits = {.bulk_max = 512u << 20, .rdb_compression = true};
    struct request r = {
        .session = &s->session,
        .argc = argc,
        .argv = argv,
        .out = &reply.out,
        .services = &s->services,
        .limits = &limits,
        .now_ms = NOW_MS,
        .now_us = (uint64_t)NOW_MS * 1000,
    };
    r = on_core(s, 0, r);
    execute(s, &r);
    s->replied_error = r.replied_error;
    free(s->reply);
    s->reply = flatten(&reply, &s->reply_len);
    return s->reply;
}

// Each argument in memory of just its size, so that a sanitizer sees who reads behind its end.
const char *server_ask_words(struct server *s, const char *const *words)
{
    struct arg argv[ARGS_MAX];
    int argc = 0;
    for (; words[argc]; argc++) {
        assert(argc < ARGS_MAX);
        size_t len = strlen(words[argc]);
        uint8_t *copy = malloc(len ? len : 1);
        assert(copy);
        memcpy(copy, words[argc], len);
        argv[argc] = (struct arg){.ptr = copy, .len = len};
    }
    const char *reply = server_ask_args(s, argv, argc);
    for (int i = 0; i < argc; i++)
        free((void *)argv[i].ptr);
    return reply;
}
