// Scripts on a core: where they run, EVAL, FCALL and SCRIPT. See script.h.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/commands/functions_commands.h"
#include "dataplane/commands/scripting_commands.h"
#include "dataplane/core/script_internal.h"
#include "dataplane/script/functions.h"

#define ERROR_TEXT_MAX 1024

// --- where it runs -------------------------------------------------------------------------------

static struct script_code *known(struct core *c, const struct command *command,
                                 const struct arg *argv)
{
    bool by_sha = command->handler == evalsha_command || command->handler == evalsha_ro_command;
    if (command->handler == fcall_command || command->handler == fcall_ro_command)
        return script_known_function(c->scripts->engine, c->server->functions, &argv[1]);
    return by_sha ? script_known_sha(c->scripts->engine, &argv[1])
                  : script_known_text(c->scripts->engine, &argv[1]);
}

// What a script says of itself is asked before it runs, perhaps for the first time on this core.
// NULL: there is none, or it does not compile, and will be refused.
static const struct script_code *declared(struct core *c, const struct work *w)
{
    char error[ERROR_TEXT_MAX > FUNCTION_ERROR_MAX ? ERROR_TEXT_MAX : FUNCTION_ERROR_MAX];
    const struct arg *script = &w->argv[1];
    if (w->command->handler == fcall_command || w->command->handler == fcall_ro_command)
        return script_function(c->scripts->engine, c->server->functions, script, error);
    if (w->command->handler == evalsha_command || w->command->handler == evalsha_ro_command)
        return script_by_sha(c->scripts->engine, c->server->scripts, script, error, sizeof(error));
    if (script->len < 2 || memcmp(script->ptr, "#!", 2) != 0)
        return NULL;
    return script_by_text(c->scripts->engine, c->server->scripts, script, error, sizeof(error));
}

uint32_t scripts_flags(struct core *c, const struct work *w)
{
    uint32_t flags = w->command->flags;
    if (__builtin_expect(w->command->route != ROUTE_SCRIPT, 1))
        return flags;
    const struct script_code *code = declared(c, w);
    if (!code && w->command->handler == fcall_command)
        return flags | CMD_WRITE; // for all that is known
    if (!code || code->flags & SCRIPT_COMPAT)
        return flags;
    flags &= ~(uint32_t)(CMD_WRITE | CMD_MAY_REPLICATE);
    return code->flags & SCRIPT_NO_WRITES ? flags : flags | CMD_WRITE;
}

// Where its keys are: all at hand, all on one core, or not.
static enum script_place place_of_keys(struct core *c, const struct work *w, const int *positions,
                                       int n)
{
    bool at_hand = true, one_core = true;
    unsigned first = c->index;
    for (int i = 0; i < n; i++) {
        const struct arg *key = &w->argv[positions[i]];
        uint16_t slot = w->has_key ? w->key.slot : slot_of_key(key->ptr, key->len);
        unsigned core = keyspace_core(c->server->keyspace, slot);
        if (i == 0)
            first = core;
        one_core &= core == first;
        at_hand &= core == c->index && !loan_holds(c, slot);
    }
    if (at_hand)
        return SCRIPT_HERE;
    return one_core && first != c->index ? SCRIPT_THERE : SCRIPT_BORROW;
}

enum script_place scripts_place(struct core *c, const struct work *w)
{
    if (route_all_here(c))
        return SCRIPT_HERE;
    int small[SCRIPT_TOUCHED_MAX], *positions = small;
    if (w->argc > SCRIPT_TOUCHED_MAX && !(positions = mi_mallocn((size_t)w->argc, sizeof(int))))
        return SCRIPT_WHOLE;
    int n = commands_keys(w->command, w->argv, w->argc, positions, w->argc);
    const struct script_code *code = known(c, w->command, w->argv);
    enum script_place place = SCRIPT_HERE; // also where its arguments make no sense
    if (n >= 0 && (!code || code->reach != SCRIPT_REACH_KEYS))
        place = SCRIPT_WHOLE;
    else if (n > 0)
        place = place_of_keys(c, w, positions, n);
    if (positions != small)
        mi_free(positions);
    return place;
}

void scripts_lend(struct core *c, struct loan *loan)
{
    c->scripts->lent = loan;
}

void scripts_come(struct core *c, struct message *m)
{
    c->scripts->come = m;
}

bool scripts_came_home(struct core *c, struct message *m)
{
    struct script_code *code = m->strayed ? known(c, m->command, m->argv) : NULL;
    if (code)
        code->reach = SCRIPT_REACH_ALL;
    if (!m->again)
        return false;
    c->credits[m->to]++;
    scripts_again(c, m);
    return true;
}

enum script_left scripts_left(const struct core *c, const struct stepped *stepped)
{
    return stepped == (const void *)c->scripts ? c->scripts->left : SCRIPT_OVER;
}

// --- EVAL ----------------------------------------------------------------------------------------

// What its flags have against it. NULL: nothing.
static const char *refuse(const struct script_code *code, bool read_only, bool short_of_memory)
{
    if (code->flags & SCRIPT_COMPAT)
        return NULL;
    if (read_only && !(code->flags & SCRIPT_NO_WRITES))
        return "ERR Can not execute a script with write flag using *_ro command.";
    if (short_of_memory && !(code->flags & (SCRIPT_NO_WRITES | SCRIPT_ALLOW_OOM)))
        return ERR_OOM;
    return NULL;
}

// It is over, or is to begin again.
static void ended(struct core *c, struct script_code *code, bool again)
{
    struct scripts *s = c->scripts;
    if (s->watched && code->reach != SCRIPT_REACH_ALL && !again)
        code->reach = s->strayed ? SCRIPT_REACH_ALL : SCRIPT_REACH_KEYS;
    if (s->come)
        s->come->strayed = code->reach == SCRIPT_REACH_ALL;
    scripts_forget(s);
    scripts_unreserve(s);
    scripts_look_clean(c);
}

static void prepare(struct core *c, const struct script_start *start)
{
    struct scripts *s = c->scripts;
    const struct request *r = start->request;
    s->everywhere = s->lent && loan_command(s->lent)->whole;
    s->strayed = false;
    s->may_pause = r->may_work;
    s->watched = s->lent || !route_all_here(c);
    if (!s->watched)
        return;
    for (int i = 0; i < start->n_keys; i++) {
        const struct arg *a = &r->argv[start->first_key + i];
        scripts_touch(s, slot_of_key(a->ptr, a->len));
    }
}

static void run_code(struct request *r, struct script_code *code, bool read_only, int n_keys)
{
    struct core *c = r->core;
    struct scripts *s = c->scripts;
    bool short_of_memory = c->settings.maxmemory && !store_make_room(c->store);
    const char *text = refuse(code, read_only, short_of_memory);
    if (text) {
        request_error(r, text);
        return;
    }
    if (__builtin_expect(s->come && code->reach == SCRIPT_REACH_ALL, 0)) {
        s->come->strayed = true; // home did not know
        s->left = SCRIPT_BEGINS_AGAIN;
        r->stepped = (void *)s;
        return;
    }
    struct script_start start = {.code = code,
                                 .request = r,
                                 .first_key = 3,
                                 .n_keys = n_keys,
                                 .read_only = read_only,
                                 .short_of_memory = short_of_memory};
    prepare(c, &start);
    code->refs++;
    scripts_slice(c);
    struct effects *outer = c->effects;
    bool apart = outer && !outer->unit;
    if (__builtin_expect(apart, 0))
        c->effects = &s->effects;
    enum script_ended end = script_start(s->engine, &start);
    c->effects = outer;
    if (__builtin_expect(apart, 0) && end != SCRIPT_PAUSED)
        effects_append(outer, &s->effects);
    if (__builtin_expect(end == SCRIPT_DONE, 1)) {
        ended(c, code, false);
    } else if (end == SCRIPT_START_AGAIN) {
        ended(c, code, true);
        s->left = SCRIPT_BEGINS_AGAIN;
        r->stepped = (void *)s;
    } else {
        s->left = SCRIPT_GOES_ON;
        s->started_ms = c->now_ms;
        r->stepped = (void *)s;
    }
    script_code_release(s->engine, code);
}

static void eval(struct request *r, bool by_sha, bool read_only, int n_keys)
{
    struct core *c = r->core;
    struct script_engine *e = c->scripts->engine;
    char error[ERROR_TEXT_MAX] = "";
    struct script_code *code =
        by_sha ? script_by_sha(e, c->server->scripts, &r->argv[1], error, sizeof(error))
               : script_by_text(e, c->server->scripts, &r->argv[1], error, sizeof(error));
    if (code)
        run_code(r, code, read_only, n_keys);
    else if (*error)
        request_errorf(r, "%s", error);
    else
        request_error(r, ERR_NO_SCRIPT);
}

// --- FCALL ---------------------------------------------------------------------------------------

struct script_engine *scripts_engine(const struct core *c)
{
    return c->scripts->engine;
}

static void call_function(struct request *r, bool read_only)
{
    struct core *c = r->core;
    char error[FUNCTION_ERROR_MAX];
    int64_t n_keys;
    struct script_code *code =
        script_function(c->scripts->engine, c->server->functions, &r->argv[1], error);
    if (!code)
        request_errorf(r, "ERR %s", error);
    else if (!parse_int64(r->argv[2].ptr, r->argv[2].len, &n_keys))
        request_error(r, "ERR Bad number of keys provided");
    else if (n_keys > r->argc - 3)
        request_error(r, "ERR Number of keys can't be greater than number of args");
    else if (n_keys < 0)
        request_error(r, "ERR Number of keys can't be negative");
    else
        run_code(r, code, read_only, (int)n_keys);
}

static void running_function(struct request *r)
{
    struct core *c = r->core;
    const struct message *m = c->scripts->m;
    const struct script_run *run = script_under_way(c->scripts->engine);
    if (!m || !run || run->code->eval)
        return;
    reply_map(r->out, r->session->resp, 3);
    reply_bulk_string(r->out, "name");
    reply_bulk_string(r->out, run->code->name);
    reply_bulk_string(r->out, "command");
    reply_array(r->out, m->argc);
    for (int i = 0; i < m->argc; i++)
        reply_bulk(r->out, m->argv[i].ptr, m->argv[i].len);
    reply_bulk_string(r->out, "duration_ms");
    reply_integer(r->out, (int64_t)((c->now_us - run->started_us) / 1000));
}

// --- SCRIPT --------------------------------------------------------------------------------------

static void load(struct request *r)
{
    struct core *c = r->core;
    char error[ERROR_TEXT_MAX] = "";
    struct script_code *code =
        script_by_text(c->scripts->engine, c->server->scripts, &r->argv[2], error, sizeof(error));
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
    script_forget(c->scripts->engine);
}

static enum script_killed end_script(struct core *c, bool function)
{
    struct script_run *run = script_under_way(c->scripts->engine);
    if (!run)
        return SCRIPT_KILLED_NONE;
    if (run->wrote)
        return SCRIPT_KILLED_NOT;
    if (run->code->eval == function)
        return function ? SCRIPT_KILLED_IS_SCRIPT : SCRIPT_KILLED_IS_FUNCTION;
    script_kill(run);
    return SCRIPT_KILLED_OK;
}

static const char *busy_error(struct core *c)
{
    return c->attention & ATTEND_BUSY ? scripts_busy(c) : NULL;
}

static void figures(struct core *c, struct script_figures *f)
{
    const struct script_run *run = script_under_way(c->scripts->engine);
    *f = (struct script_figures){.lua_bytes = script_memory(c->scripts->engine), .running = run};
    if (run)
        f->running_us = c->now_us - run->started_us;
    script_texts_figures(c->server->scripts, &f->scripts, &f->text_bytes);
}

void scripts_services(struct services *services)
{
    services->script_eval = eval;
    services->script_load = load;
    services->function_call = call_function;
    services->function_running = running_function;
    services->script_exists = exists;
    services->script_flush = flush;
    services->script_kill = end_script;
    services->script_busy = busy_error;
    services->script_figures = figures;
}

// --- the core ------------------------------------------------------------------------------------

bool scripts_start(struct core *c)
{
    uint64_t secret[4];
    for (unsigned i = 0; i < 4; i++)
        secret[i] = core_random(c);
    c->scripts = mi_zalloc(sizeof(*c->scripts));
    if (c->scripts) {
        effects_unit(&c->scripts->effects);
        c->scripts->engine = script_engine_create(&scripts_host, c, 0, secret);
    }
    return c->scripts && c->scripts->engine;
}

void scripts_stop(struct core *c)
{
    if (c->scripts) {
        outbuf_clear(&c->scripts->effects.out);
        script_engine_destroy(c->scripts->engine);
    }
    mi_free(c->scripts);
    c->scripts = NULL;
}

void scripts_configure(struct core *c)
{
    c->settings.busy_reply_us = (uint64_t)config_integer(c->config, "busy-reply-threshold") * 1000;
    if (c->scripts)
        script_limit(c->scripts->engine, (uint64_t)config_integer(c->config, "lua-memory-limit"));
}
