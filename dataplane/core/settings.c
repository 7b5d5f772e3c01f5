// The configuration as a core reads it. The snapshot in force is immutable; a core takes a new one
// at the start of a turn (or when a gathered CONFIG SET tells it to) and keeps what it needs as
// numbers.
#include <string.h>
#include <unistd.h>

#include "dataplane/core/blocked.h"
#include "dataplane/core/crash.h"
#include "dataplane/core/latency.h"
#include "dataplane/core/publish.h"
#include "dataplane/core/script.h"
#include "dataplane/core/slowlog.h"

static const char *const policies[] = {
    [EVICT_NONE] = "noeviction",
    [EVICT_ALLKEYS_LRU] = "allkeys-lru",
    [EVICT_ALLKEYS_LFU] = "allkeys-lfu",
    [EVICT_ALLKEYS_RANDOM] = "allkeys-random",
    [EVICT_VOLATILE_LRU] = "volatile-lru",
    [EVICT_VOLATILE_LFU] = "volatile-lfu",
    [EVICT_VOLATILE_RANDOM] = "volatile-random",
    [EVICT_VOLATILE_TTL] = "volatile-ttl",
};

static enum eviction_policy policy_of(const char *name)
{
    for (unsigned i = 0; i < sizeof(policies) / sizeof(*policies); i++)
        if (strcmp(policies[i], name) == 0)
            return (enum eviction_policy)i;
    return EVICT_NONE;
}

enum log_level settings_log_level(const struct config *config)
{
    static const char *const names[] = {"debug", "verbose", "notice", "warning"};
    const char *level = config_get(config, "loglevel");
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(names[i], level) == 0)
            return LOG_LEVEL_DEBUG + i;
    return LOG_LEVEL_NOTICE;
}

static uint64_t limit(const struct config *config, const char *name)
{
    return (uint64_t)config_integer(config, name);
}

// A smaller limit would let nobody in who could take it away.
#define CLIENTS_MAX_LEAST (128u << 10)

static uint64_t clients_max(const struct config *config)
{
    uint64_t bytes;
    if (!config_percent_or_memory(config, "maxmemory-clients", limit(config, "maxmemory"),
                                  &bytes) ||
        !bytes)
        return 0; // or a part of a maxmemory that is none
    return bytes < CLIENTS_MAX_LEAST ? CLIENTS_MAX_LEAST : bytes;
}

void settings_read(struct core *c)
{
    const struct config *config = c->config;
    struct settings *s = &c->settings;
    s->maxclients = (uint64_t)config_integer(config, "maxclients");
    s->timeout_us = (uint64_t)config_integer(config, "timeout") * 1000000;
    s->tcp_keepalive_s = (unsigned)config_integer(config, "tcp-keepalive");
    s->bulk_max = (size_t)config_integer(config, "proto-max-bulk-len");
    s->tracked_max = limit(config, "tracking-table-max-keys");
    s->query_max = (size_t)config_integer(config, "client-query-buffer-limit");
    s->output_limit = config_output_limit(config, "normal");
    // Redis counts them as normal ones. Where these have no limit, one that does not read would
    // take all memory.
    s->monitor_limit = s->output_limit;
    if (!s->monitor_limit.hard && !s->monitor_limit.soft)
        s->monitor_limit = config_output_limit(config, "replica");
    s->clients_max = clients_max(config);
    s->pubsub_limit = config_output_limit(config, "pubsub");
    publish_configure(c, config);
    s->collected_max = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4 /
                       c->server->n_cores;
    log_set_level(settings_log_level(config));
    s->all_channels = strcmp(config_get(config, "acl-pubsub-default"), "allchannels") == 0;
    s->protected_mode = config_bool(config, "protected-mode");
    if (c->net)
        net_set_congestion(c->net, (enum net_congestion)net_congestion_find(
                                       config_get(config, "tcp-congestion-control")));
    s->spin = strcmp(config_get(config, "idle-policy"), "spin") == 0;
    uint64_t maxmemory = (uint64_t)config_integer(config, "maxmemory");
    uint64_t used = keyspace_used(c->server->keyspace);
    if (c->index == 0 && maxmemory && maxmemory != s->maxmemory && maxmemory < used)
        log_warning("maxmemory (%lu) is less than what is used (%lu): keys are evicted, or writes "
                    "refused, as maxmemory-policy says",
                    (unsigned long)maxmemory, (unsigned long)used);
    s->maxmemory = maxmemory;
    s->store = (struct store_options){
        .policy = policy_of(config_get(config, "maxmemory-policy")),
        .maxmemory = s->maxmemory,
        .samples = (unsigned)config_integer(config, "maxmemory-samples"),
        .lfu_log_factor = (unsigned)config_integer(config, "lfu-log-factor"),
        .lfu_decay_time = (unsigned)config_integer(config, "lfu-decay-time"),
    };
    store_configure(c->store, &s->store);
    if (c->index == 0)
        crash_configure(config);
    latency_configure(c);
    slowlog_configure(c);
    scripts_configure(c);
    s->limits = (struct value_limits){
        .hash_max_listpack_entries = limit(config, "hash-max-listpack-entries"),
        .hash_max_listpack_value = limit(config, "hash-max-listpack-value"),
        .set_max_intset_entries = limit(config, "set-max-intset-entries"),
        .set_max_listpack_entries = limit(config, "set-max-listpack-entries"),
        .set_max_listpack_value = limit(config, "set-max-listpack-value"),
        .zset_max_listpack_entries = limit(config, "zset-max-listpack-entries"),
        .zset_max_listpack_value = limit(config, "zset-max-listpack-value"),
        .hll_sparse_max_bytes = limit(config, "hll-sparse-max-bytes"),
        .stream_node_max_bytes = limit(config, "stream-node-max-bytes"),
        .stream_node_max_entries = limit(config, "stream-node-max-entries"),
        .bulk_max = s->bulk_max,
        .list_max_listpack_size = (int)config_integer(config, "list-max-listpack-size"),
        .list_compress_depth = (unsigned)config_integer(config, "list-compress-depth"),
        .rdb_compression = config_bool(config, "rdbcompression"),
    };
}

void settings_adopt(struct core *c)
{
    const struct config *config = atomic_load_explicit(&c->server->config, memory_order_acquire);
    if (__builtin_expect(config == c->config, 1))
        return;
    // Nobody may retire the snapshot between the look at it and the word that it is read.
    pthread_mutex_lock(&c->server->config_lock);
    config = atomic_load_explicit(&c->server->config, memory_order_acquire);
    const struct config *old = c->config;
    bool moves = c->listening && transport_moves(old, config);
    atomic_store_explicit(&c->adopted, config, memory_order_release);
    struct tls_context *tls = c->server->tls_context;
    if (tls != c->tls_context) {
        tls_context_release(c->tls_context);
        c->tls_context = tls ? tls_context_retain(tls) : NULL;
    }
    pthread_mutex_unlock(&c->server->config_lock);
    c->config = config;
    settings_read(c);
    char error[256];
    // The core that was asked has listened there already, so only want of descriptors is left.
    if (moves && transport_listen(c, config, error, sizeof(error)))
        log_warning("Core %u goes on listening where it did: %s", c->index, error);
}
