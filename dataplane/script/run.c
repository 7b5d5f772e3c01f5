// Running a script: the way onto the fiber and back, and what stands around the function.
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "dataplane/script/internal.h"
#include "dataplane/script/sandbox.h"

// A buffer that grew beyond this for one reply is given back.
#define REPLY_KEPT_MAX (1u << 20)
#define REPLY_FIRST 4096
#define ERROR_TEXT_MAX 1024
// Of the limit of memory: by so much a script may grow until so much is looked at for garbage.
#define GROWN_SHARE 256
#define COLLECTED_SHARE 64
// A heap that is small is collected when it has grown to ten times its size, not to twice: most of
// it is the libraries, which every round looks at. Looked at after so many scripts.
#define SMALL_HEAP (4u << 20)
#define PAUSE_SMALL 1000
#define PAUSE_USUAL 200
#define RUNS_LOOKED 64
#define ARRAY_REUSED 8 // elements of KEYS or ARGV up to which the table is used again

// --- the reply of a command ----------------------------------------------------------------------

static _Thread_local uint8_t scratch[OUT_CONTIGUOUS_MAX];

static bool buffer_room(struct reply_buffer *b, size_t need)
{
    size_t used = (size_t)(b->out.pos - b->data), cap = b->cap ? b->cap : REPLY_FIRST;
    if (b->out.failed)
        return false;
    while (cap - used < need)
        cap *= 2;
    uint8_t *data = mi_realloc(b->data, cap);
    if (!data) {
        b->out.failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    b->out.pos = data + used;
    b->out.end = data + cap;
    return true;
}

static void buffer_grow(struct out *o, size_t need)
{
    if (buffer_room((struct reply_buffer *)o, need))
        return;
    o->pos = scratch;
    o->end = scratch + sizeof(scratch);
}

static void buffer_ref(struct out *o, struct block *block, size_t offset, size_t len)
{
    struct reply_buffer *b = (struct reply_buffer *)o;
    if ((size_t)(o->end - o->pos) < len && !buffer_room(b, len))
        return;
    memcpy(o->pos, block->data + offset, len);
    o->pos += len;
}

static const struct out_ops buffer_ops = {.grow = buffer_grow, .ref = buffer_ref};

void reply_buffer_reset(struct reply_buffer *b)
{
    if (b->cap > REPLY_KEPT_MAX)
        reply_buffer_free(b);
    b->out = (struct out){.pos = b->data, .end = b->data + b->cap, .ops = &buffer_ops};
}

void reply_buffer_free(struct reply_buffer *b)
{
    mi_free(b->data);
    b->data = NULL;
    b->cap = 0;
}

// --- errors --------------------------------------------------------------------------------------

// Where it was raised is added to what was raised, which becomes a table.
static int error_handler(lua_State *L)
{
    lua_Debug where;
    bool known = lua_getstack(L, 1, &where) && lua_getinfo(L, "Sl", &where);
    if (known && strcmp(where.what, "C") == 0) {
        lua_Debug below; // the last is the engine's
        known = lua_getstack(L, 3, &below) && lua_getstack(L, 2, &where) &&
                lua_getinfo(L, "Sl", &where);
    }
    if (!lua_istable(L, 1)) {
        lua_pushvalue(L, 1);
        const char *text = lua_tostring(L, -1);
        lua_createtable(L, 0, 3);
        lua_pushfstring(L, "ERR %s", text ? text : luaL_typename(L, 1));
        lua_setfield(L, -2, "err");
    } else {
        lua_settop(L, 1);
    }
    if (known) {
        lua_pushliteral(L, "source");
        lua_pushstring(L, where.source);
        lua_rawset(L, -3);
        lua_pushliteral(L, "line");
        lua_pushinteger(L, where.currentline);
        lua_rawset(L, -3);
    }
    return 1;
}

// What the script gave its table for such cases is not run.
static const char *field(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    const char *text = lua_tostring(L, -1);
    lua_pop(L, 1); // the table keeps it
    return text;
}

// The error on top of the stack, as the reply of the script.
static void write_error(lua_State *L, struct script_run *run)
{
    char text[ERROR_TEXT_MAX];
    struct request *r = run->request;
    if (!lua_istable(L, -1)) {
        const char *what = lua_isstring(L, -1) ? lua_tostring(L, -1) : "execution failure";
        request_errorf(r, "ERR Error running script %s, %.100s", run->code->name, what);
        return;
    }
    const char *message = field(L, "err"), *source = field(L, "source"), *line = field(L, "line");
    if (!message)
        message = "ERR unknown error";
    if (source && line)
        snprintf(text, sizeof(text), "%s script: %s, on %s:%s.", message, run->code->name, source,
                 line);
    else
        snprintf(text, sizeof(text), "%s", message);
    lua_pushliteral(L, "ignore_error_stats_update");
    lua_rawget(L, -2);
    bool counted = lua_toboolean(L, -1);
    lua_pop(L, 1);
    request_errorf(r, "%s", text);
    if (counted) // when the command inside failed
        r->replied_error = false;
}

// --- the script ----------------------------------------------------------------------------------

static void push_array(lua_State *L, const struct arg *argv, int n)
{
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        lua_pushlstring(L, (const char *)argv[i].ptr, argv[i].len);
        lua_rawseti(L, -2, i + 1);
    }
}

// KEYS and ARGV are the same tables from script to script, if they are short and were left as they
// have to be: a script can keep nothing, but change them.
static void set_array(lua_State *L, struct script_array *a, const char *name,
                      const struct arg *argv, int n)
{
    if (n > ARRAY_REUSED) {
        push_array(L, argv, n);
        script_set_global(L, name);
        a->current = false;
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, a->table);
    for (int i = 0; i < n; i++) {
        lua_pushlstring(L, (const char *)argv[i].ptr, argv[i].len);
        lua_rawseti(L, -2, i + 1);
    }
    for (int i = n; i < a->n; i++) {
        lua_pushnil(L);
        lua_rawseti(L, -2, i + 1);
    }
    a->n = n;
    if (__builtin_expect(a->current, 1)) {
        lua_pop(L, 1);
        return;
    }
    script_set_global(L, name);
    a->current = true;
}

// After the script: what it has done to the table must not be seen by the next.
static void look_array(lua_State *L, struct script_array *a)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, a->table);
    bool changed = lua_getmetatable(L, -1);
    if (changed)
        lua_pop(L, 1);
    lua_pushnil(L);
    while (!changed && lua_next(L, -2)) {
        lua_pop(L, 1);
        changed = lua_type(L, -1) != LUA_TNUMBER || lua_tonumber(L, -1) < 1 ||
                  lua_tonumber(L, -1) > a->n || lua_tonumber(L, -1) != (int)lua_tonumber(L, -1);
    }
    if (__builtin_expect(changed, 0)) {
        lua_createtable(L, ARRAY_REUSED, 0);
        lua_rawseti(L, LUA_REGISTRYINDEX, a->table);
        a->current = false;
        a->n = 0;
    }
}

// On the fiber, under pcall: argument 1 is the engine.
static int body(lua_State *L)
{
    struct script_engine *e = lua_touserdata(L, 1);
    struct script_run *run = &e->run;
    const struct request *r = run->request;
    int args = run->first_key + run->n_keys;
    lua_rawgeti(L, LUA_REGISTRYINDEX, e->error_handler);
    if (run->code->eval) { // as globals, whatever protects these
        set_array(L, &e->keys, "KEYS", r->argv + run->first_key, run->n_keys);
        set_array(L, &e->argv, "ARGV", r->argv + args, r->argc - args);
        lua_rawgeti(L, LUA_REGISTRYINDEX, run->code->function);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, run->code->function);
        push_array(L, r->argv + run->first_key, run->n_keys);
        push_array(L, r->argv + args, r->argc - args);
    }
    int status = lua_pcall(L, run->code->eval ? 0 : 2, 1, 2);
    e->unlimited = true; // what has happened is told, however little memory there is
    if (run->code->eval) {
        look_array(L, &e->keys);
        look_array(L, &e->argv);
        lua_settop(L, 3);
    }
    if (run->again)
        return 0;
    if (status)
        write_error(L, run);
    else
        script_write_value(L, run->request->out, run->request->session->resp);
    return 0;
}

// Where memory gets short, more is collected than Lua does by itself: a script must not be refused
// memory for its garbage. What it needs to grow by until the next time bounds what this costs.
static void collect(lua_State *L, struct script_engine *e)
{
    if (e->memory_limit && e->memory > e->memory_limit / 2)
        lua_gc(L, LUA_GCSTEP, (int)((e->memory_limit / COLLECTED_SHARE) >> 10));
    e->memory_next = e->memory_limit / 2;
    if (e->memory > e->memory_next)
        e->memory_next = e->memory + e->memory_limit / GROWN_SHARE;
    if (!e->memory_limit)
        e->memory_next = UINT64_MAX;
}

static void look(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct script_engine *e = script_engine_of(L);
    if (!e->running || L == e->loader)
        return;
    if (__builtin_expect(e->memory > e->memory_next, 0))
        collect(L, e);
    e->host->look(&e->run);
    if (!e->run.killed)
        return;
    // At every line from now on: whoever catches this error meets the next.
    lua_sethook(L, look, LUA_MASKLINE | LUA_MASKCOUNT, 1);
    static const char text[] = "Script killed by user with SCRIPT KILL..."; // functions too
    script_push_error(L, text, sizeof(text) - 1);
    lua_error(L);
}

static int open_protected(lua_State *L)
{
    struct script_engine *e = lua_touserdata(L, 1);
    lua_pushcfunction(L, error_handler);
    lua_pushvalue(L, -1);
    e->error_handler = luaL_ref(L, LUA_REGISTRYINDEX);
    script_set_global(L, "__redis__err__handler"); // scripts see it, as Redis's do
    lua_pushcfunction(L, body);
    e->body = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_createtable(L, ARRAY_REUSED, 0);
    e->keys.table = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_createtable(L, ARRAY_REUSED, 0);
    e->argv.table = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

bool run_open(struct script_engine *e)
{
    if (lua_cpcall(e->L, open_protected, e))
        return false;
    lua_sethook(e->L, look, LUA_MASKCOUNT, SCRIPT_LOOK);
    return true;
}

static void run_on_fiber(void *engine)
{
    struct script_engine *e = engine;
    lua_State *L = e->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, e->body);
    lua_pushlightuserdata(L, e);
    if (lua_pcall(L, 1, 0, 0) && !e->run.again) {
        if (e->unlimited) { // the reply was begun
            e->run.request->out->failed = true;
        } else {
            e->unlimited = true;
            write_error(L, &e->run);
        }
    }
    lua_settop(L, 0);
}

static enum script_ended left(struct script_engine *e, bool over)
{
    if (!over)
        return SCRIPT_PAUSED;
    if (e->run.killed)
        lua_sethook(e->L, look, LUA_MASKCOUNT, SCRIPT_LOOK);
    e->running = e->unlimited = false;
    script_code_release(e, e->run.code);
    if (++e->runs % RUNS_LOOKED == 0)
        lua_gc(e->L, LUA_GCSETPAUSE, e->memory < SMALL_HEAP ? PAUSE_SMALL : PAUSE_USUAL);
    return e->run.again ? SCRIPT_START_AGAIN : SCRIPT_DONE;
}

enum script_ended script_start(struct script_engine *e, const struct script_start *start)
{
    struct request *r = start->request;
    e->run = (struct script_run){
        .engine = e,
        .code = start->code,
        .request = r,
        .session = *r->session,
        .read_only = start->read_only || start->code->flags & SCRIPT_NO_WRITES,
        .allow_oom = start->code->flags & SCRIPT_ALLOW_OOM,
        .short_of_memory = start->short_of_memory,
        .started_us = r->now_us,
        .first_key = start->first_key,
        .n_keys = start->n_keys,
    };
    e->run.session.resp = 2;
    start->code->refs++;
    e->running = true;
    e->call = *r;
    e->call.client = NULL;
    e->call.of_script = true;
    e->call.session = &e->run.session;
    e->call.out = &e->reply.out;
    e->call.parts = NULL;
    e->call.stepped = NULL;
    e->call.may_step = e->call.may_work = e->call.may_block = e->call.may_migrate = false;
    return left(e, fiber_start(&e->fiber, run_on_fiber, e));
}

enum script_ended script_resume(struct script_engine *e, struct request *r)
{
    // The time stands still for a script, so that no key expires under it.
    e->run.request = r;
    e->run.session.user = r->session->user;
    return left(e, fiber_resume(&e->fiber));
}

void script_pause(struct script_run *run)
{
    run->paused = true;
    fiber_pause(&run->engine->fiber);
}

void script_kill(struct script_run *run)
{
    run->killed = true;
}

void script_abandon(struct script_engine *e)
{
    if (!e->running)
        return;
    e->running = false;
    script_code_release(e, e->run.code);
    fiber_reset(&e->fiber);
}
