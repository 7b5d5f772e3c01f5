// COMMAND: what the table says of each command.
#include <assert.h>
#include <mimalloc.h>
#include <string.h>
#include <strings.h>

#include "common/glob.h"
#include "common/outbuf.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/server.h"

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
    "keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
    "string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
    "fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting",
};
static const char *const keyspec_flag_names[] = {
    "RO",     "RW",     "OW",      "RM",         "access",         "update",
    "insert", "delete", "not_key", "incomplete", "variable_flags",
};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

// A set of status replies, one for each bit.
static void reply_bits(struct out *o, int resp, uint32_t bits, const char *const *names, size_t n)
{
    reply_set(o, resp, __builtin_popcount(bits));
    for (size_t i = 0; i < n; i++)
        if (bits & (1u << i))
            reply_status(o, names[i]);
}

unsigned introspection_categories(const char *const **names)
{
    *names = category_names;
    return COUNT(category_names);
}

static void reply_categories(struct out *o, int resp, uint32_t bits)
{
    char name[32] = "@";
    reply_set(o, resp, __builtin_popcount(bits));
    for (size_t i = 0; i < COUNT(category_names); i++) {
        if (!(bits & (1u << i)))
            continue;
        strcpy(name + 1, category_names[i]);
        reply_status(o, name);
    }
}

// "config|get" into `name` (NAME_MAX_LEN bytes, not terminated). Returns its length.
#define NAME_MAX_LEN 128
static size_t full_name(const struct command *c, char *name)
{
    size_t len = 0;
    if (c->parent) {
        len = strlen(c->parent->name);
        memcpy(name, c->parent->name, len);
        name[len++] = '|';
    }
    size_t own = strlen(c->name);
    assert(len + own <= NAME_MAX_LEN);
    memcpy(name + len, c->name, own);
    return len + own;
}

void introspection_reply_name(struct out *o, const struct command *c)
{
    char name[NAME_MAX_LEN];
    reply_bulk(o, name, full_name(c, name));
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
        reply_bits(r->out, r->session->resp, k->flags, keyspec_flag_names,
                   COUNT(keyspec_flag_names));
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

static bool is_range(const struct keyspec *k)
{
    return k->begin == BEGIN_INDEX && k->find == FIND_RANGE;
}

static int last_of(const struct keyspec *k)
{
    return k->last_key < 0 ? k->last_key : k->begin_index + k->last_key;
}

// First, last and step of the keys, as clients before Redis 7 read them. Of several specifications
// those that are ranges of step one and follow each other make one range (RENAME: 1, 2, 1).
static void reply_legacy_keys(struct request *r, const struct command *c)
{
    int first = 0, last = 0, step = 0;
    for (unsigned i = 0; i < c->n_keys; i++) {
        const struct keyspec *k = &c->keys[i];
        if (!is_range(k) || (c->n_keys > 1 && k->key_step != 1) ||
            (first && k->begin_index != last + 1))
            continue;
        first = first ? first : k->begin_index;
        last = last_of(k);
        step = k->key_step;
    }
    reply_integer(r->out, first);
    reply_integer(r->out, last);
    reply_integer(r->out, step);
}

// Subcommands nest one level, and a subcommand has none.
static void reply_info(struct request *r, const struct command *c)
{
    reply_array(r->out, 10);
    introspection_reply_name(r->out, c);
    reply_integer(r->out, c->arity);
    reply_bits(r->out, r->session->resp, c->flags & ~(uint32_t)CMD_MAY_REPLICATE, flag_names,
               COUNT(flag_names)); // Redis tells all but this one
    reply_legacy_keys(r, c);
    reply_categories(r->out, r->session->resp, c->categories);
    reply_tips(r, c);
    reply_key_specs(r, c);
}

int64_t introspection_count_subcommands(const struct command *c)
{
    int64_t n = 0;
    while (c->subcommands && c->subcommands[n].name)
        n++;
    return n;
}

static void reply_command(struct request *r, const struct command *c)
{
    if (!c) {
        reply_null(r->out, r->session->resp); // in place of an array, as Redis has it
        return;
    }
    reply_info(r, c);
    int64_t n = introspection_count_subcommands(c);
    reply_array(r->out, n);
    for (int64_t i = 0; i < n; i++) {
        reply_info(r, &c->subcommands[i]);
        reply_array(r->out, 0);
    }
}

void command_command(struct request *r)
{
    unsigned n;
    const struct command *const *all = commands_all(&n);
    reply_array(r->out, n);
    for (unsigned i = 0; i < n; i++)
        reply_command(r, all[i]);
}

void command_count_command(struct request *r)
{
    unsigned n;
    commands_all(&n);
    reply_integer(r->out, n);
}

void command_info_command(struct request *r)
{
    if (r->argc == 2) {
        command_command(r);
        return;
    }
    reply_array(r->out, r->argc - 2);
    for (int i = 2; i < r->argc; i++)
        reply_command(r, commands_find_name((const char *)r->argv[i].ptr, r->argv[i].len));
}

// --- LIST --------------------------------------------------------------------------------------

enum list_filter { LIST_ALL, LIST_MODULE, LIST_CATEGORY, LIST_PATTERN };

static bool passes(const struct command *c, enum list_filter filter, const struct arg *value)
{
    char name[NAME_MAX_LEN];
    switch (filter) {
    case LIST_ALL:
        return true;
    case LIST_MODULE:
        return false; // no command comes from a module
    case LIST_CATEGORY:
        for (size_t i = 0; i < COUNT(category_names); i++)
            if ((c->categories & (1u << i)) && strlen(category_names[i]) == value->len &&
                !strncasecmp(category_names[i], (const char *)value->ptr, value->len))
                return true;
        return false;
    case LIST_PATTERN:
        return glob_match((const char *)value->ptr, value->len, name, full_name(c, name), true);
    }
    return false;
}

void command_list_command(struct request *r)
{
    static const char *const words[] = {
        [LIST_MODULE] = "module", [LIST_CATEGORY] = "aclcat", [LIST_PATTERN] = "pattern"};
    enum list_filter filter = LIST_ALL;
    if (r->argc == 5 && request_is(r, 2, "filterby"))
        for (int f = LIST_MODULE; f <= LIST_PATTERN; f++)
            if (request_is(r, 3, words[f]))
                filter = (enum list_filter)f;
    if (r->argc != 2 && filter == LIST_ALL) {
        request_error(r, ERR_SYNTAX);
        return;
    }
    struct outbuf names;
    outbuf_init(&names);
    int64_t n = 0;
    for (unsigned id = 0; id < commands_count(); id++) {
        const struct command *c = commands_by_id(id);
        if (!commands_callable(c) || !passes(c, filter, filter == LIST_ALL ? NULL : &r->argv[4]))
            continue;
        introspection_reply_name(&names.out, c);
        n++;
    }
    reply_array(r->out, n);
    outbuf_move(&names, r->out);
}

// --- GETKEYS -----------------------------------------------------------------------------------

static bool has_keys(const struct command *c)
{
    for (unsigned i = 0; i < c->n_keys; i++)
        if (!(c->keys[i].flags & KS_NOT_KEY))
            return true;
    return false;
}

// Writes the keys of all specifications; their number, or -1 when the arguments do not fit.
static int64_t write_keys(const struct request *r, const struct command *c, bool with_flags,
                          struct key_use *uses, struct out *o)
{
    const struct arg *argv = r->argv + 2;
    int argc = r->argc - 2;
    int64_t n = 0;
    for (unsigned s = 0; s < (c->find_keys ? 1 : c->n_keys); s++) {
        struct command one = *c;
        if (!c->find_keys) {
            one.keys = &c->keys[s];
            one.n_keys = 1;
        }
        int found = commands_key_uses(&one, argv, argc, uses, argc);
        // A word that ends the command names nothing: GEORADIUS … STORE.
        if (found < 0 && s && c->keys[s].begin == BEGIN_KEYWORD && c->keys[s].begin_index > 0)
            continue;
        // A counted run must have keys; without any the command would only tell an error.
        if (found < 0 || (!found && !c->find_keys && one.keys->find == FIND_KEYNUM))
            return -1;
        for (int i = 0; i < found; i++, n++) {
            const struct arg *key = &argv[uses[i].at];
            if (with_flags)
                reply_array(o, 2);
            reply_bulk(o, key->ptr, key->len);
            if (with_flags)
                reply_bits(o, r->session->resp, uses[i].flags, keyspec_flag_names,
                           COUNT(keyspec_flag_names));
        }
    }
    return n;
}

static void getkeys(struct request *r, bool with_flags)
{
    int argc = r->argc - 2;
    const struct command *c = commands_find(r->argv + 2, argc);
    const char *wrong = NULL;
    if (!c)
        wrong = "ERR Invalid command specified";
    else if (!has_keys(c))
        wrong = "ERR The command has no key arguments";
    else if (c->arity > 0 ? argc != c->arity : argc < -c->arity)
        wrong = "ERR Invalid number of arguments specified for command";
    if (wrong) {
        request_error(r, wrong);
        return;
    }
    struct key_use *uses = mi_mallocn((size_t)argc, sizeof(*uses));
    struct outbuf keys;
    outbuf_init(&keys);
    int64_t n = uses ? write_keys(r, c, with_flags, uses, &keys.out) : 0;
    if (!uses)
        request_error(r, ERR_OOM);
    else if (n <= 0 && !(c->flags & CMD_NO_MANDATORY_KEYS))
        request_error(r, "ERR Invalid arguments specified for command");
    else if (n < 0)
        reply_array(r->out, 0);
    else
        reply_array(r->out, n);
    if (n > 0)
        outbuf_move(&keys, r->out);
    outbuf_clear(&keys);
    mi_free(uses);
}

void command_getkeys_command(struct request *r)
{
    getkeys(r, false);
}

void command_getkeysandflags_command(struct request *r)
{
    getkeys(r, true);
}

void command_help_command(struct request *r)
{
    static const char *const lines[] = {
        "(without a subcommand)",
        "    Everything about every command, as INFO gives it.",
        "COUNT",
        "    How many commands there are.",
        "DOCS [<command-name> ...]",
        "    Documentation of all commands, or of those named.",
        "GETKEYS <full-command>",
        "    The keys among the arguments of a command.",
        "GETKEYSANDFLAGS <full-command>",
        "    The same, and what the command does to each.",
        "INFO [<command-name> ...]",
        "    Arity, flags, categories and keys of all commands, or of those named.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    Names of the commands.",
        NULL,
    };
    request_help(r, "COMMAND", lines);
}
