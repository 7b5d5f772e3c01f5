// The table of options: the only place that knows their names, types, ranges and defaults. The rows
// stand in options/*.inc, one file per topic.
#include "config/config.h"

#include <limits.h>
#include <strings.h>

#define WORDS(name, ...) static const char *const name[] = {__VA_ARGS__, NULL}

WORDS(no_yes_optional, "no", "yes", "optional");
WORDS(no_yes_local, "no", "yes", "local");
WORDS(no_yes_clients, "no", "yes", "clients");
WORDS(auto_yes_no, "auto", "yes", "no");
WORDS(pubsub_defaults, "allchannels", "resetchannels");
WORDS(supervisors, "upstart", "systemd", "auto", "no");
WORDS(log_levels, "debug", "verbose", "notice", "warning");
WORDS(syslog_facilities, "user", "local0", "local1", "local2", "local3", "local4", "local5",
      "local6", "local7");
WORDS(shutdown_words, "default", "save", "nosave", "now", "force");
WORDS(oom_adjustments, "no", "yes", "relative", "absolute");
WORDS(eviction_policies, "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
      "allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction");
WORDS(fsync_policies, "everysec", "always", "no");
WORDS(diskless_loads, "disabled", "on-empty-db", "swapdb");
WORDS(propagation_errors, "ignore", "panic", "panic-on-replicas");
WORDS(endpoint_types, "ip", "hostname", "unknown-endpoint");
WORDS(transports, "socket", "dpdk");
WORDS(idle_policies, "adaptive", "spin");
WORDS(congestion_controls, "cubic", "newreno", "dctcp");

// Words of the rows.
enum {
    RT = CONFIG_RUNTIME,
    PROT = CONFIG_PROTECTED,
    SENS = CONFIG_SENSITIVE,
    OURS = CONFIG_OURS,
    INERT = CONFIG_INERT,
    LATER = CONFIG_LATER,
    HIDDEN = CONFIG_HIDDEN,
    FILE_ONLY = CONFIG_FILE_ONLY,
};
#define ROW(name, alias, type, initial, min, max, words, flags, help) \
    {name, alias, type, initial, min, max, words, flags, help, TOPIC},
#define BOOL(name, alias, initial, flags, help) \
    ROW(name, alias, CONFIG_BOOL, initial, 0, 1, NULL, flags, help)
#define INT(name, alias, initial, min, max, flags, help) \
    ROW(name, alias, CONFIG_INTEGER, initial, min, max, NULL, flags, help)
#define MEMORY(name, alias, initial, min, max, flags, help) \
    ROW(name, alias, CONFIG_MEMORY, initial, min, max, NULL, flags, help)
#define PERCENT(name, alias, initial, flags, help) \
    ROW(name, alias, CONFIG_PERCENT_OR_MEMORY, initial, -100, INT64_MAX, NULL, flags, help)
#define OCTAL(name, alias, initial, min, max, flags, help) \
    ROW(name, alias, CONFIG_OCTAL, initial, min, max, NULL, flags, help)
#define STRING(name, alias, initial, flags, help) \
    ROW(name, alias, CONFIG_STRING, initial, 0, 0, NULL, flags, help)
#define ENUM(name, alias, initial, words, flags, help) \
    ROW(name, alias, CONFIG_ENUM, initial, 0, 0, words, flags, help)
#define LIST(name, alias, initial, flags, help) \
    ROW(name, alias, CONFIG_LIST, initial, 0, 0, NULL, flags, help)
#define WORD_LIST(name, alias, initial, words, flags, help) \
    ROW(name, alias, CONFIG_LIST, initial, 0, 0, words, flags, help)
#define MULTI(name, alias, initial, flags, help) \
    ROW(name, alias, CONFIG_MULTI, initial, 0, 0, NULL, flags, help)

static const struct config_option options[] = {
#define TOPIC "Transport and cores"
#include "config/options/ours.inc"
#undef TOPIC
#define TOPIC "Network and clients"
#include "config/options/network.inc"
#undef TOPIC
#define TOPIC "Security"
#include "config/options/security.inc"
#undef TOPIC
#define TOPIC "Process, log and monitoring"
#include "config/options/process.inc"
#undef TOPIC
#define TOPIC "Keys and memory"
#include "config/options/memory.inc"
#undef TOPIC
#define TOPIC "Persistence"
#include "config/options/persistence.inc"
#undef TOPIC
#define TOPIC "Replication"
#include "config/options/replication.inc"
#undef TOPIC
#define TOPIC "Cluster"
#include "config/options/cluster.inc"
#undef TOPIC
};
enum { OPTIONS = sizeof(options) / sizeof(options[0]) };

const struct config_option *config_options(unsigned *n)
{
    *n = OPTIONS;
    return options;
}

const struct config_option *config_find_option(const char *name)
{
    for (unsigned i = 0; i < OPTIONS; i++) {
        const struct config_option *o = &options[i];
        if (!strcasecmp(name, o->name) || (o->alias && !strcasecmp(name, o->alias)))
            return o;
    }
    return NULL;
}
