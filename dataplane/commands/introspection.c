// COMMAND: what the table says of each command.
#include <string.h>
#include <strings.h>

#include "dataplane/commands/families.h"

// Names of enum command_flags, by bit.
static const char *const flag_names[] = {
    "write",      "readonly",         "denyoom",       "admin",
    "pubsub",     "noscript",         "blocking",      "loading",
    "stale",      "skip_monitor",     "skip_slowlog",  "asking",
    "fast",       "no_auth",          "may_replicate", "no_mandatory_keys",
    "protected",  "no_async_loading", "no_multi",      "movablekeys",
    "allow_busy",
};
static const char *const category_names[] = {
    "@keyspace",   "@read",        "@write",     "@set",         "@sortedset", "@list",
    "@hash",       "@string",      "@bitmap",    "@hyperloglog", "@geo",       "@stream",
    "@pubsub",     "@admin",       "@fast",      "@slow",        "@blocking",  "@dangerous",
    "@connection", "@transaction", "@scripting",
};
static const char *const keyspec_flag_names[] = {
    "RO",     "RW",     "OW",      "RM",         "access",         "update",
    "insert", "delete", "not_key", "incomplete", "variable_flags",
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

// A set of status replies, one for each bit.
static void reply_bits(struct request *r, uint32_t bits, const char *const *names, size_t n)
{
    int64_t count = __builtin_popcount(bits);
    reply_set(r->out, r->session->resp, count);
    for (size_t i = 0; i < n; i++)
        if (bits & (1u << i))
            reply_status(r->out, names[i]);
}

static void reply_full_name(struct request *r, const struct command *c)
{
    char name[128];
    size_t len = 0;
    if (c->parent) {
        len = strlen(c->parent->name);
        memcpy(name, c->parent->name, len);
        name[len++] = '|';
    }
    size_t own = strlen(c->name);
    memcpy(name + len, c->name, own);
    reply_bulk(r->out, name, len + own);
}

static void reply_pair_string(struct request *r, const char *name, const char *value)
{
    reply_bulk_string(r->out, name);
    reply_bulk_string(r->out, value);
}

static void reply_pair_integer(struct request *r, const char *name, int64_t value)
{
    reply_bulk_string(r->out, name);
    reply_integer(r->out, value);
}

static void reply_spec_begin(struct request *r, const struct keyspec *k)
{
    int resp = r->session->resp;
    static const char *const types[] = {
        [BEGIN_INDEX] = "index", [BEGIN_KEYWORD] = "keyword", [BEGIN_UNKNOWN] = "unknown"};
    reply_map(r->out, resp, 2);
    reply_pair_string(r, "type", types[k->begin]);
    reply_bulk_string(r->out, "spec");
    switch (k->begin) {
    case BEGIN_INDEX:
        reply_map(r->out, resp, 1);
        reply_pair_integer(r, "index", k->begin_index);
        break;
    case BEGIN_KEYWORD:
        reply_map(r->out, resp, 2);
        reply_pair_string(r, "keyword", k->begin_keyword);
        reply_pair_integer(r, "startfrom", k->begin_index);
        break;
    case BEGIN_UNKNOWN:
        reply_map(r->out, resp, 0);
        break;
    }
}

static void reply_spec_find(struct request *r, const struct keyspec *k)
{
    int resp = r->session->resp;
    static const char *const types[] = {
        [FIND_RANGE] = "range", [FIND_KEYNUM] = "keynum", [FIND_UNKNOWN] = "unknown"};
    reply_map(r->out, resp, 2);
    reply_pair_string(r, "type", types[k->find]);
    reply_bulk_string(r->out, "spec");
    switch (k->find) {
    case FIND_RANGE:
        reply_map(r->out, resp, 3);
        reply_pair_integer(r, "lastkey", k->last_key);
        reply_pair_integer(r, "keystep", k->key_step);
        reply_pair_integer(r, "limit", k->limit);
        break;
    case FIND_KEYNUM:
        reply_map(r->out, resp, 3);
        reply_pair_integer(r, "keynumidx", k->keynum_index);
        reply_pair_integer(r, "firstkey", k->first_key);
        reply_pair_integer(r, "keystep", k->key_step);
        break;
    case FIND_UNKNOWN:
        reply_map(r->out, resp, 0);
        break;
    }
}

static void reply_key_specs(struct request *r, const struct command *c)
{
    reply_set(r->out, r->session->resp, c->n_keys);
    for (unsigned i = 0; i < c->n_keys; i++) {
        const struct keyspec *k = &c->keys[i];
        reply_map(r->out, r->session->resp, k->notes ? 4 : 3);
        if (k->notes)
            reply_pair_string(r, "notes", k->notes);
        reply_bulk_string(r->out, "flags");
        reply_bits(r, k->flags, keyspec_flag_names, COUNT(keyspec_flag_names));
        reply_bulk_string(r->out, "begin_search");
        reply_spec_begin(r, k);
        reply_bulk_string(r->out, "find_keys");
        reply_spec_find(r, k);
    }
}

static void reply_tips(struct request *r, const struct command *c)
{
    int64_t n = 0;
    while (c->tips && c->tips[n])
        n++;
    reply_set(r->out, r->session->resp, n);
    for (int64_t i = 0; i < n; i++)
        reply_bulk_string(r->out, c->tips[i]);
}

// The first three numbers of the reply as clients before Redis 7 read them: the range of the first
// key specification that is one.
static void reply_legacy_keys(struct request *r, const struct command *c)
{
    const struct keyspec *k = c->n_keys ? c->keys : NULL;
    if (!k || k->begin != BEGIN_INDEX || k->find != FIND_RANGE) {
        for (int i = 0; i < 3; i++)
            reply_integer(r->out, 0);
        return;
    }
    reply_integer(r->out, k->begin_index);
    reply_integer(r->out, k->last_key < 0 ? k->last_key : k->begin_index + k->last_key);
    reply_integer(r->out, k->key_step);
}

// Subcommands nest one level, and a subcommand has none.
static void reply_info(struct request *r, const struct command *c)
{
    reply_array(r->out, 10);
    reply_full_name(r, c);
    reply_integer(r->out, c->arity);
    reply_bits(r, c->flags, flag_names, COUNT(flag_names));
    reply_legacy_keys(r, c);
    reply_bits(r, c->categories, category_names, COUNT(category_names));
    reply_tips(r, c);
    reply_key_specs(r, c);
}

static int64_t count_subcommands(const struct command *c)
{
    int64_t n = 0;
    while (c->subcommands && c->subcommands[n].name)
        n++;
    return n;
}

static void reply_command(struct request *r, const struct command *c)
{
    if (!c) {
        reply_null_array(r->out, r->session->resp);
        return;
    }
    reply_info(r, c);
    int64_t n = count_subcommands(c);
    reply_array(r->out, n);
    for (int64_t i = 0; i < n; i++) {
        reply_info(r, &c->subcommands[i]);
        reply_array(r->out, 0);
    }
}

static void reply_all_commands(struct request *r)
{
    unsigned n;
    const struct command *const *all = commands_all(&n);
    reply_array(r->out, n);
    for (unsigned i = 0; i < n; i++)
        reply_command(r, all[i]);
}

static void command_count(struct request *r)
{
    unsigned n;
    commands_all(&n);
    reply_integer(r->out, n);
}

static void command_info(struct request *r)
{
    if (r->argc == 2) {
        reply_all_commands(r);
        return;
    }
    reply_array(r->out, r->argc - 2);
    for (int i = 2; i < r->argc; i++)
        reply_command(r, commands_find_name((const char *)r->argv[i].ptr, r->argv[i].len));
}

#define COMMAND_COMMON \
    .flags = CMD_LOADING | CMD_STALE, .categories = CAT_SLOW | CAT_CONNECTION, .route = ROUTE_HOME

static const struct command command_subcommands[] = {
    {.name = "count", .arity = 2, COMMAND_COMMON, .handler = command_count},
    {.name = "info", .arity = -2, COMMAND_COMMON, .handler = command_info},
    {.name = NULL},
};

const struct command command_commands[] = {
    {
        .name = "command",
        .arity = -1,
        COMMAND_COMMON,
        .subcommands = command_subcommands,
        .handler = reply_all_commands,
    },
    {.name = NULL},
};
