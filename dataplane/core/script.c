// Scripts on a core. See script.h.
#include "dataplane/core/script.h"

#include <stdio.h>
#include <string.h>
#include <x86intrin.h>

#include "dataplane/commands/effects.h"
#include "dataplane/commands/scripting_commands.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/message.h"
#include "dataplane/core/tracking.h"
#include "dataplane/script/script.h"

#define ERROR_TEXT_MAX 1024

// --- redis.call ----------------------------------------------------------------------------------

// Runs a handler here, for the script.
static void run_handler(struct core *c, struct request *r)
{
    const struct command *command = r->command;
    struct command_figures *figures = &c->command_figures[command->id];
    uint64_t begin = __rdtsc();
    r->observed = c->observed;
    r->effects = c->effects;
    c->executing++;
    if (__builtin_expect(!!r->effects, 0))
        effects_start(r);
    command->handler(r);
    if (__builtin_expect(!!r->effects, 0))
        effects_end(r);
    c->executing--;
    c->counters.commands++;
    figures->calls++;
    figures->usec += __rdtsc() - begin; // in cycles here; services.c gives microseconds
    if (__builtin_expect(r->replied_error, 0)) {
        figures->failed++;
        count_error(c, r->error_prefix[0] ? r->error_prefix : "ERR", 0);
    }
}

static void run_gather(struct core *c, struct script_run *run, struct request *r)
{
    struct execution e = {.session = run->session,
                          .command = r->command,
                          .argv = r->argv,
                          .argc = r->argc,
                          .out = r->out};
    gather_alone(c, &e);
}

static enum script_called call(struct script_run *run, struct request *r, char *error, size_t size)
{
    struct core *c = r->core;
    const struct command *command = r->command;
    int at = command->n_keys ? commands_single_key(command, r->argc) : 0;
    r->key.ptr = NULL;
    if (at > 0)
        r->key = keyspace_key(c->server->keyspace, r->argv[at].ptr, r->argv[at].len);
    if (command->flags & (CMD_WRITE | CMD_MAY_REPLICATE))
        run->wrote = true;
    switch (command->route) {
    case ROUTE_GATHER:
        if (!gather_is_home(c, command, r->argv, r->argc))
            break;
        run_gather(c, run, r);
        return SCRIPT_CALLED;
    case ROUTE_SERVICE:
    case ROUTE_BORROW:
    case ROUTE_SCRIPT:
    case ROUTE_HELD:
        break;
    case ROUTE_KEYS:
    case ROUTE_HOME:
    case ROUTE_CURSOR:
    case ROUTE_ALL:
        run_handler(c, r);
        // A script that reads anything has read all its keys, as far as their cachers go.
        if (__builtin_expect(run->session.remember, 0) && command->flags & CMD_READONLY)
            tracking_remember_keys(c, &run->session, run->request->argv + run->first_key,
                                   run->n_keys);
        return SCRIPT_CALLED;
    }
    snprintf(error, size, "This Redis command is not allowed from script");
    return SCRIPT_REFUSED;
}

static void look(struct script_run *run)
{
    (void)run;
}

static void log_text(int level, const char *text, size_t len)
{
    log_write(LOG_LEVEL_DEBUG + level, "%.*s", (int)len, text);
}

static bool allowed(struct script_run *run, const struct command *command, struct arg *argv,
                    int argc, char *error, size_t size)
{
    (void)run;
    (void)command;
    (void)argv;
    (void)argc;
    (void)error;
    (void)size;
    return true;
}

static const struct script_host host = {
    .call = call, .look = look, .log = log_text, .allowed = allowed};

// --- EVAL ----------------------------------------------------------------------------------------

// What its flags have against it. NULL: nothing.
static const char *refuse(struct core *c, const struct script_code *code, bool read_only,
                          bool short_of_memory)
{
    (void)c;
    if (code->flags & SCRIPT_COMPAT)
        return NULL;
    if (read_only && !(code->flags & SCRIPT_NO_WRITES))
        return "ERR Can not execute a script with write flag using *_ro command.";
    if (short_of_memory && !(code->flags & (SCRIPT_NO_WRITES | SCRIPT_ALLOW_OOM)))
        return "OOM allow-oom flag is not set on the script, can not run it when used memory > "
               "'maxmemory'";
    return NULL;
}

static void run_code(struct request *r, struct script_code *code, bool read_only, int n_keys)
{
    struct core *c = r->core;
    bool short_of_memory = c->settings.maxmemory && !store_make_room(c->store);
    const char *text = refuse(c, code, read_only, short_of_memory);
    if (text) {
        request_error(r, text);
        return;
    }
    struct script_start start = {.code = code,
                                 .request = r,
                                 .first_key = 3,
                                 .n_keys = n_keys,
                                 .read_only = read_only,
                                 .short_of_memory = short_of_memory};
    script_start(c->script, &start);
}

static void eval(struct request *r, bool by_sha, bool read_only, int n_keys)
{
    struct core *c = r->core;
    char error[ERROR_TEXT_MAX] = "";
    struct script_code *code =
        by_sha ? script_by_sha(c->script, c->server->scripts, &r->argv[1], error, sizeof(error))
               : script_by_text(c->script, c->server->scripts, &r->argv[1], error, sizeof(error));
    if (code)
        run_code(r, code, read_only, n_keys);
    else if (*error)
        request_errorf(r, "%s", error);
    else
        request_error(r, "NOSCRIPT No matching script. Please use EVAL.");
}

// --- SCRIPT --------------------------------------------------------------------------------------

static void load(struct request *r)
{
    struct core *c = r->core;
    char error[ERROR_TEXT_MAX] = "";
    struct script_code *code =
        script_by_text(c->script, c->server->scripts, &r->argv[2], error, sizeof(error));
    if (code)
        reply_bulk(r->out, code->name, SCRIPT_SHA_LEN);
    else
        request_errorf(r, "%s", error);
}

static bool exists(struct core *c, const struct arg *sha)
{
    return script_texts_has(c->server->scripts, sha);
}

static void flush(struct core *c)
{
    script_texts_flush(c->server->scripts);
    script_forget(c->script);
}

static enum script_killed end_script(struct core *c, bool function)
{
    struct script_run *run = script_under_way(c->script);
    if (!run)
        return SCRIPT_KILLED_NONE;
    if (run->wrote)
        return SCRIPT_KILLED_NOT;
    if (run->code->eval == function)
        return function ? SCRIPT_KILLED_IS_SCRIPT : SCRIPT_KILLED_IS_FUNCTION;
    script_kill(run);
    return SCRIPT_KILLED_OK;
}

static void figures(struct core *c, struct script_figures *f)
{
    struct script_run *run = script_under_way(c->script);
    *f = (struct script_figures){.lua_bytes = script_memory(c->script), .running = run};
    if (run)
        f->running_us = c->now_us - run->started_us;
    script_texts_figures(c->server->scripts, &f->scripts, &f->text_bytes);
}

void script_services(struct services *services)
{
    services->script_eval = eval;
    services->script_load = load;
    services->script_exists = exists;
    services->script_flush = flush;
    services->script_kill = end_script;
    services->script_figures = figures;
}

// --- the core ------------------------------------------------------------------------------------

bool script_core_start(struct core *c)
{
    uint64_t secret[4];
    for (unsigned i = 0; i < 4; i++)
        secret[i] = core_random(c);
    c->script = script_engine_create(&host, c, 0, secret);
    return c->script;
}

void script_core_stop(struct core *c)
{
    script_engine_destroy(c->script);
    c->script = NULL;
}

void script_core_settings(struct core *c)
{
    if (c->script)
        script_limit(c->script, (uint64_t)config_integer(c->config, "lua-memory-limit"));
}
