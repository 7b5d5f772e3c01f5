// FCALL and its like, and FUNCTION. What is done with libraries is told as the command itself.
#include "dataplane/commands/functions_commands.h"

#include <mimalloc.h>
#include <string.h>

#include "common/block.h"
#include "common/glob.h"
#include "common/outbuf.h"
#include "dataplane/commands/dump.h"
#include "dataplane/commands/effects.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/scripting_commands.h"
#include "dataplane/store/rdb/rdb.h"

#define ENGINE "LUA" // as Redis names it in replies

// --- FCALL --------------------------------------------------------------------------------------

void fcall_command(struct request *r)
{
    r->services->function_call(r, false);
}

void fcall_ro_command(struct request *r)
{
    r->services->function_call(r, true);
}

// --- changes ------------------------------------------------------------------------------------

static void tell(struct request *r)
{
    if (!effect_begin(r, "FUNCTION", (unsigned)r->argc))
        return;
    for (int i = 1; i < r->argc; i++)
        effect_arg(r, i);
}

static void answer(struct request *r, bool done, const char *error)
{
    if (!done) {
        request_errorf(r, "ERR %s", error);
        return;
    }
    tell(r);
    reply_status(r->out, "OK");
}

// So much of an argument is shown in an error.
static int shown(const struct arg *a)
{
    return a->len < 128 ? (int)a->len : 128;
}

static void wrong_arguments(struct request *r)
{
    request_errorf(r,
                   "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try FUNCTION "
                   "HELP.",
                   shown(&r->argv[1]), (const char *)r->argv[1].ptr);
}

void function_load_command(struct request *r)
{
    char error[FUNCTION_ERROR_MAX] = "";
    bool replace = false;
    for (int i = 2; i < r->argc - 1; i++) {
        if (!request_is(r, i, "replace")) {
            request_errorf(r, "ERR Unknown option given: %.*s", shown(&r->argv[i]),
                           (const char *)r->argv[i].ptr);
            return;
        }
        replace = true;
    }
    struct outbuf name;
    outbuf_init(&name);
    if (r->services->function_load(r->core, &r->argv[r->argc - 1], replace, &name.out, error)) {
        tell(r);
        outbuf_move(&name, r->out);
    } else {
        request_errorf(r, "ERR %s", error);
    }
    outbuf_clear(&name);
}

void function_delete_command(struct request *r)
{
    char error[FUNCTION_ERROR_MAX] = "";
    bool done = r->services->function_delete(r->core, &r->argv[2], error);
    answer(r, done, error);
}

void function_flush_command(struct request *r)
{
    if (r->argc > 3)
        wrong_arguments(r);
    else if (r->argc == 3 && !request_is(r, 2, "sync") && !request_is(r, 2, "async"))
        request_error(r, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    else {
        r->services->function_flush(r->core);
        answer(r, true, NULL);
    }
}

// --- DUMP and RESTORE ---------------------------------------------------------------------------

struct dump {
    struct outbuf out;
    bool compress;
};

static void dump_library(void *context, const struct function_shown *library)
{
    struct dump *d = context;
    uint8_t type = RDB_FUNCTION;
    out_write(&d->out.out, &type, sizeof(type));
    rdb_write_string(&d->out.out, library->code, library->code_len, d->compress);
}

void function_dump_command(struct request *r)
{
    struct dump d = {.compress = r->limits->rdb_compression};
    outbuf_init(&d.out);
    r->services->function_each(r->core, dump_library, &d);
    dump_footer(&d.out, RDB_VERSION);
    if (d.out.out.failed) {
        outbuf_clear(&d.out);
        request_error(r, ERR_OOM);
        return;
    }
    text_add(r->out, "$%zu\r\n", outbuf_size(&d.out));
    outbuf_move(&d.out, r->out);
    out_write(r->out, "\r\n", 2);
}

// The texts of libraries in a payload.
struct payload {
    struct rdb_string *texts;
    unsigned n, room;
};

// False: it was answered.
static bool read_payload(struct request *r, struct payload *p)
{
    const struct arg *bytes = &r->argv[2];
    if (!dump_footer_is_right(bytes)) {
        request_error(r, "ERR DUMP payload version or checksum are wrong");
        return false;
    }
    struct rdb_reader reader = rdb_reader(bytes->ptr, bytes->len - DUMP_FOOTER_BYTES);
    while (reader.at < reader.end) {
        if (*reader.at++ != RDB_FUNCTION) {
            request_error(r, "ERR given type is not a function");
            return false;
        }
        if (p->n == p->room) {
            unsigned room = p->room ? 2 * p->room : 8;
            struct rdb_string *texts = mi_reallocn(p->texts, room, sizeof(*texts));
            if (!texts) {
                request_error(r, ERR_OOM);
                return false;
            }
            p->texts = texts;
            p->room = room;
        }
        if (!rdb_read_string(&reader, &p->texts[p->n])) {
            request_error(r, "ERR Failed loading library payload");
            return false;
        }
        p->n++;
    }
    return true;
}

static bool read_policy(struct request *r, enum function_policy *policy)
{
    static const char *const names[] = {
        [FUNCTION_APPEND] = "append", [FUNCTION_REPLACE] = "replace", [FUNCTION_FLUSH] = "flush"};
    *policy = FUNCTION_APPEND;
    if (r->argc == 3)
        return true;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (request_is(r, 3, names[i])) {
            *policy = (enum function_policy)i;
            return true;
        }
    request_error(r, "ERR Wrong restore policy given, value should be either FLUSH, APPEND or "
                     "REPLACE.");
    return false;
}

static void restore(struct request *r, const struct payload *p, enum function_policy policy)
{
    char error[FUNCTION_ERROR_MAX] = "";
    struct arg *codes = mi_calloc(p->n + 1, sizeof(*codes));
    if (!codes) {
        request_error(r, ERR_OOM);
        return;
    }
    for (unsigned i = 0; i < p->n; i++)
        codes[i] = (struct arg){.ptr = p->texts[i].ptr, .len = p->texts[i].len};
    bool done = r->services->function_restore(r->core, codes, p->n, policy, error);
    answer(r, done, error);
    mi_free(codes);
}

void function_restore_command(struct request *r)
{
    enum function_policy policy;
    struct payload payload = {0};
    if (r->argc > 4) {
        wrong_arguments(r);
        return;
    }
    if (read_policy(r, &policy) && read_payload(r, &payload))
        restore(r, &payload, policy);
    for (unsigned i = 0; i < payload.n; i++)
        rdb_string_clear(&payload.texts[i]);
    mi_free(payload.texts);
}

// --- looking ------------------------------------------------------------------------------------

struct listing {
    struct request *r;
    struct out *out;
    const struct arg *pattern;
    bool code;
    int64_t n;
};

static void list_function(struct listing *l, const struct function_shown *library, unsigned i)
{
    static const char *const names[] = {FUNCTION_FLAG_NAMES};
    int resp = l->r->session->resp;
    struct function_facts f = library->function(library, i);
    reply_map(l->out, resp, 3);
    reply_bulk_string(l->out, "name");
    reply_bulk(l->out, f.name, f.name_len);
    reply_bulk_string(l->out, "description");
    if (f.description)
        reply_bulk(l->out, f.description, f.description_len);
    else
        reply_null(l->out, resp);
    reply_bulk_string(l->out, "flags");
    reply_set(l->out, resp, __builtin_popcount(f.flags));
    for (unsigned bit = 0; bit < sizeof(names) / sizeof(names[0]); bit++)
        if (f.flags >> bit & 1)
            reply_status(l->out, names[bit]);
}

static void list_library(void *context, const struct function_shown *library)
{
    struct listing *l = context;
    int resp = l->r->session->resp;
    if (l->pattern && !glob_match((const char *)l->pattern->ptr, l->pattern->len, library->name,
                                  library->name_len, true))
        return;
    l->n++;
    reply_map(l->out, resp, l->code ? 4 : 3);
    reply_bulk_string(l->out, "library_name");
    reply_bulk(l->out, library->name, library->name_len);
    reply_bulk_string(l->out, "engine");
    reply_bulk_string(l->out, ENGINE);
    reply_bulk_string(l->out, "functions");
    reply_array(l->out, library->n_functions);
    for (unsigned i = 0; i < library->n_functions; i++)
        list_function(l, library, i);
    if (l->code) {
        reply_bulk_string(l->out, "library_code");
        reply_bulk(l->out, library->code, library->code_len);
    }
}

void function_list_command(struct request *r)
{
    struct outbuf out;
    struct listing l = {.r = r, .out = &out.out};
    for (int i = 2; i < r->argc; i++) {
        if (!l.code && request_is(r, i, "withcode")) {
            l.code = true;
        } else if (!l.pattern && request_is(r, i, "libraryname")) {
            if (i + 1 == r->argc) {
                request_error(r, "ERR library name argument was not given");
                return;
            }
            l.pattern = &r->argv[++i];
        } else {
            request_errorf(r, "ERR Unknown argument %.*s", shown(&r->argv[i]),
                           (const char *)r->argv[i].ptr);
            return;
        }
    }
    outbuf_init(&out);
    r->services->function_each(r->core, list_library, &l);
    reply_array(r->out, l.n);
    outbuf_move(&out, r->out);
}

static void count_library(void *context, const struct function_shown *library)
{
    uint64_t *counts = context;
    counts[0]++;
    counts[1] += library->n_functions;
}

void function_stats_part(struct request *r)
{
    r->services->function_running(r);
}

void function_stats_command(struct request *r)
{
    int resp = r->session->resp;
    const struct gathered *running = NULL;
    uint64_t counts[2] = {0, 0};
    for (unsigned i = 0; i < r->n_parts; i++)
        if (r->parts[i].len)
            running = &r->parts[i];
    const char *busy = r->services->script_busy(r->core);
    if (busy && !running) {
        request_error(r, busy); // by a script
        return;
    }
    r->services->function_each(r->core, count_library, counts);
    reply_map(r->out, resp, 2);
    reply_bulk_string(r->out, "running_script");
    if (running)
        out_write(r->out, running->ptr, running->len);
    else
        reply_null(r->out, resp);
    reply_bulk_string(r->out, "engines");
    reply_map(r->out, resp, 1);
    reply_bulk_string(r->out, ENGINE);
    reply_map(r->out, resp, 2);
    reply_bulk_string(r->out, "libraries_count");
    reply_integer(r->out, (int64_t)counts[0]);
    reply_bulk_string(r->out, "functions_count");
    reply_integer(r->out, (int64_t)counts[1]);
}

void function_kill_part(struct request *r)
{
    request_kill_part(r, true);
}

void function_kill_command(struct request *r)
{
    request_kill_answer(r);
}

void function_help_command(struct request *r)
{
    static const char *const lines[] = {
        "DELETE <library-name>",
        "    Deletes a library and its functions.",
        "DUMP",
        "    Returns all libraries as bytes that FUNCTION RESTORE takes.",
        "FLUSH [ASYNC|SYNC]",
        "    Deletes all libraries.",
        "KILL",
        "    Ends the function that runs, unless it has written.",
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "    Lists libraries: name, engine, functions and, where it is asked for, the code.",
        "LOAD [REPLACE] <code>",
        "    Makes a library of the code, whose first line names it: #!lua name=<library-name>",
        "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
        "    Makes the libraries of a payload. Those that are there are deleted before (FLUSH),",
        "    must have other names (APPEND, the default), or make room for those of their name.",
        "STATS",
        "    Tells which function runs, for how long, and how many there are.",
        NULL,
    };
    request_help(r, "FUNCTION", lines);
}
