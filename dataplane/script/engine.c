// The engine of a core: its Lua state, and the memory that Lua takes.
#include <mimalloc.h>
#include <string.h>

#include <lauxlib.h>

#include "dataplane/script/internal.h"

#define CLEAN_STEP 16 // KiB that are looked at before the clock is

static void *allocate(void *engine, void *old, size_t old_size, size_t size)
{
    struct script_engine *e = engine;
    if (!size) {
        mi_free(old);
        e->memory -= old ? old_size : 0;
        return NULL;
    }
    size_t before = old ? old_size : 0;
    if (__builtin_expect(size > before && e->memory_limit && !e->unlimited &&
                             e->memory + (size - before) > e->memory_limit,
                         0))
        return NULL;
    void *new = mi_realloc(old, size);
    if (new)
        e->memory += size - before;
    else if (size <= before) // Lua relies on it that nothing fails to shrink
        new = old;
    return new;
}

// What is opened may run out of memory, which must not end the process.
static int open_all(lua_State *L)
{
    script_libraries_open(L);
    script_redis_open(L);
    lua_pop(L, 1);
    script_sandbox_close(L);
    struct script_engine *e = script_engine_of(L);
    e->loader = lua_newthread(L);
    luaL_ref(L, LUA_REGISTRYINDEX); // for as long as the state lives
    return 0;
}

struct script_engine *script_engine_create(const struct script_host *host, struct core *core,
                                           uint64_t memory_limit, const uint64_t secret[4])
{
    struct script_engine *e = mi_zalloc(sizeof(*e));
    if (!e)
        return NULL;
    e->host = host;
    e->core = core;
    memcpy(&e->secret, secret, sizeof(e->secret));
    if (!fiber_create(&e->fiber, SCRIPT_STACK_SIZE) || !(e->L = lua_newstate(allocate, e)) ||
        lua_cpcall(e->L, open_all, NULL) || !run_open(e)) {
        script_engine_destroy(e);
        return NULL;
    }
    e->memory_limit = memory_limit;
    return e;
}

void script_engine_destroy(struct script_engine *e)
{
    if (!e)
        return;
    cache_clear(e);
    functions_clear(e);
    if (e->L)
        lua_close(e->L);
    fiber_destroy(&e->fiber);
    reply_buffer_free(&e->reply);
    mi_free(e->args);
    mi_free(e);
}

void script_limit(struct script_engine *e, uint64_t bytes)
{
    e->memory_limit = bytes;
    e->memory_next = 0;
}

bool script_is_littered(const struct script_engine *e)
{
    return e->memory_limit && e->memory > e->memory_limit / 2;
}

bool script_clean(struct script_engine *e)
{
    // What was thought alive in a round that was under way goes in the next one.
    e->cleaned += lua_gc(e->L, LUA_GCSTEP, CLEAN_STEP);
    if (e->cleaned < 2)
        return false;
    e->cleaned = 0;
    return true;
}

uint64_t script_memory(const struct script_engine *e)
{
    return e->memory;
}

struct script_engine *script_engine_of(lua_State *L)
{
    void *engine;
    lua_getallocf(L, &engine);
    return engine;
}

struct script_run *script_running(lua_State *L)
{
    struct script_engine *e = script_engine_of(L);
    return e->running && L != e->loader ? &e->run : NULL;
}

struct script_run *script_under_way(const struct script_engine *e)
{
    return e->running ? (struct script_run *)&e->run : NULL;
}
