// COMMAND DOCS: the documentation in the table, in the shape that redis-cli reads its hints from.
#include <assert.h>
#include <string.h>

#include "common/outbuf.h"
#include "dataplane/commands/server.h"

// Arguments nest as deep as the table nests them: a choice in a block in a choice.
#define ARGS_DEPTH_MAX 6

static const char *const arg_types[] = {
    [DOC_STRING] = "string",         [DOC_INTEGER] = "integer",
    [DOC_DOUBLE] = "double",         [DOC_KEY] = "key",
    [DOC_PATTERN] = "pattern",       [DOC_UNIX_TIME] = "unix-time",
    [DOC_PURE_TOKEN] = "pure-token", [DOC_ONEOF] = "oneof",
    [DOC_BLOCK] = "block",
};

struct writer {
    struct out *o;
    int resp;
};

static void pair(const struct writer *w, const char *name, const char *value)
{
    reply_bulk_string(w->o, name);
    reply_bulk_string(w->o, value);
}

static int64_t count_args(const struct doc_arg *args)
{
    int64_t n = 0;
    while (args && args[n].name)
        n++;
    return n;
}

static void write_arg_flags(const struct writer *w, uint32_t flags)
{
    reply_bulk_string(w->o, "flags");
    reply_set(w->o, w->resp, __builtin_popcount(flags));
    if (flags & DOC_OPTIONAL)
        reply_status(w->o, "optional");
    if (flags & DOC_MULTIPLE)
        reply_status(w->o, "multiple");
    if (flags & DOC_MULTIPLE_TOKEN)
        reply_status(w->o, "multiple_token");
}

// One argument without those inside it.
static void write_arg(const struct writer *w, const struct doc_arg *a)
{
    // Patterns of keys have one, too.
    bool key_spec = a->type == DOC_KEY || (a->type == DOC_PATTERN && a->key_spec);
    int64_t fields =
        2 + key_spec + !!a->token + !!a->since + !!a->deprecated_since + !!a->flags + !!a->args;
    reply_map(w->o, w->resp, fields);
    pair(w, "name", a->name);
    pair(w, "type", arg_types[a->type]);
    if (key_spec) {
        reply_bulk_string(w->o, "key_spec_index");
        reply_integer(w->o, a->key_spec);
    }
    if (a->token)
        pair(w, "token", a->token);
    if (a->since)
        pair(w, "since", a->since);
    if (a->deprecated_since)
        pair(w, "deprecated_since", a->deprecated_since);
    if (a->flags)
        write_arg_flags(w, a->flags);
    if (a->args) {
        reply_bulk_string(w->o, "arguments");
        reply_array(w->o, count_args(a->args));
    }
}

// All arguments, depth first: those inside an argument follow it.
static void write_args(const struct writer *w, const struct doc_arg *args)
{
    const struct doc_arg *at[ARGS_DEPTH_MAX];
    int depth = 0;
    reply_bulk_string(w->o, "arguments");
    reply_array(w->o, count_args(args));
    at[0] = args;
    while (depth >= 0) {
        const struct doc_arg *a = at[depth];
        if (!a->name) {
            depth--;
            continue;
        }
        at[depth]++;
        write_arg(w, a);
        if (a->args) {
            depth++;
            assert(depth < ARGS_DEPTH_MAX);
            at[depth] = a->args;
        }
    }
}

static void write_history(const struct writer *w, const char *const *history)
{
    int64_t n = 0;
    while (history[2 * n])
        n++;
    reply_bulk_string(w->o, "history");
    reply_set(w->o, w->resp, n);
    for (int64_t i = 0; i < n; i++) {
        reply_array(w->o, 2);
        reply_bulk_string(w->o, history[2 * i]);
        reply_bulk_string(w->o, history[2 * i + 1]);
    }
}

static void write_doc_flags(const struct writer *w, const struct command_doc *d)
{
    reply_bulk_string(w->o, "doc_flags");
    reply_set(w->o, w->resp, !!d->deprecated_since + d->syscmd);
    if (d->deprecated_since)
        reply_status(w->o, "deprecated");
    if (d->syscmd)
        reply_status(w->o, "syscmd");
}

// Name and documentation of a command without its subcommands; `more` fields follow.
static void write_doc(const struct writer *w, const struct command *c, int64_t more)
{
    static const struct command_doc none = {.summary = "", .since = "7.0.0", .group = "generic"};
    const struct command_doc *d = c->doc ? c->doc : &none;
    bool flags = d->deprecated_since || d->syscmd;
    introspection_reply_name(w->o, c);
    reply_map(w->o, w->resp,
              3 + !!d->complexity + flags + !!d->deprecated_since + !!d->replaced_by +
                  !!d->history + !!d->args + more);
    pair(w, "summary", d->summary);
    pair(w, "since", d->since);
    pair(w, "group", d->group);
    if (d->complexity)
        pair(w, "complexity", d->complexity);
    if (flags)
        write_doc_flags(w, d);
    if (d->deprecated_since)
        pair(w, "deprecated_since", d->deprecated_since);
    if (d->replaced_by)
        pair(w, "replaced_by", d->replaced_by);
    if (d->history)
        write_history(w, d->history);
    if (d->args)
        write_args(w, d->args);
}

static void write_command(const struct writer *w, const struct command *c)
{
    int64_t n = introspection_count_subcommands(c);
    write_doc(w, c, n > 0);
    if (n == 0)
        return;
    reply_bulk_string(w->o, "subcommands");
    reply_map(w->o, w->resp, n);
    for (int64_t i = 0; i < n; i++)
        write_doc(w, &c->subcommands[i], 0);
}

// Of all commands, or of those named; names that are unknown are left out.
void command_docs_command(struct request *r)
{
    struct outbuf docs;
    outbuf_init(&docs);
    const struct writer w = {.o = &docs.out, .resp = r->session->resp};
    int64_t n = 0;
    if (r->argc == 2) {
        unsigned all;
        const struct command *const *commands = commands_all(&all);
        for (; n < all; n++)
            write_command(&w, commands[n]);
    }
    for (int i = 2; i < r->argc; i++) {
        const struct command *c = commands_find_name((const char *)r->argv[i].ptr, r->argv[i].len);
        if (!c)
            continue;
        write_command(&w, c);
        n++;
    }
    reply_map(r->out, r->session->resp, n);
    outbuf_move(&docs, r->out);
}
