// Functions of Lua's base and table libraries in the forms that scripts get: those that see or
// change tables past their metatables know protected tables (lib.h), and compiling takes text only.
#include <limits.h>
#include <string.h>

#include <lauxlib.h>

#include "dataplane/script/lib.h"

#define CHUNK_MAX INT_MAX // bytes of text to compile: Lua counts lines and signs in an int

// What Lua's own libraries made. The same in all states, and written before any script runs.
static lua_CFunction own_insert, own_foreach, own_maxn, own_collectgarbage;

static lua_CFunction function_of(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    lua_CFunction f = lua_tocfunction(L, -1);
    lua_pop(L, 1);
    return f;
}

// Puts the table behind a stand-in in its place among the arguments.
static void see_through(lua_State *L, int argument)
{
    if (script_behind(L, argument))
        lua_replace(L, argument);
}

// --- looking ------------------------------------------------------------------------------------

static int base_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    see_through(L, 1);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}

static int base_pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, lua_upvalueindex(1)); // next
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

static int base_rawget(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    see_through(L, 1);
    lua_rawget(L, 1);
    return 1;
}

static int base_getmetatable(lua_State *L)
{
    luaL_checkany(L, 1);
    if (script_shown_metatable(L, 1))
        return 1;
    if (!lua_getmetatable(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    luaL_getmetafield(L, 1, "__metatable");
    return 1;
}

static int table_foreach(lua_State *L)
{
    see_through(L, 1);
    return own_foreach(L);
}

static int table_maxn(lua_State *L)
{
    see_through(L, 1);
    return own_maxn(L);
}

// Lua's own counts the elements in an int, which overflows.
static int base_unpack(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    int64_t first = luaL_optint(L, 2, 1);
    int64_t last = luaL_opt(L, luaL_checkint, 3, (int)lua_objlen(L, 1));
    if (first > last)
        return 0;
    if (last - first >= INT_MAX || !lua_checkstack(L, (int)(last - first + 1)))
        return luaL_error(L, "too many results to unpack");
    for (int64_t i = first; i <= last; i++)
        lua_rawgeti(L, 1, (int)i);
    return (int)(last - first + 1);
}

// --- changing -----------------------------------------------------------------------------------

static int base_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    script_refuse_change(L, 1);
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 1;
}

static int base_setmetatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argcheck(L, lua_isnil(L, 2) || lua_istable(L, 2), 2, "nil or table expected");
    script_refuse_change(L, 1);
    if (luaL_getmetafield(L, 1, "__metatable"))
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int table_insert(lua_State *L)
{
    if (lua_gettop(L) == 2 || lua_gettop(L) == 3)
        script_refuse_change(L, 1);
    return own_insert(L);
}

// --- errors -------------------------------------------------------------------------------------

// Of an error that redis.call raised, which is a table, whoever catches it gets the text; of other
// tables both, as from Redis.
static int base_pcall(lua_State *L)
{
    if (!lua_gettop(L))
        lua_pushboolean(L, 1); // as Redis: that cannot be called
    bool failed = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    if (failed && lua_istable(L, -1)) {
        lua_getfield(L, -1, "err");
        if (lua_isstring(L, -1))
            lua_remove(L, -2);
    }
    lua_pushboolean(L, !failed);
    lua_insert(L, 1);
    return lua_gettop(L);
}

// --- compiling ----------------------------------------------------------------------------------

struct chunk {
    const char *text;
    size_t len;
    bool begun;
};

// Compiled code is not taken, since it can be made to read and write anywhere. Behind a space it is
// text, of which the first sign is wrong.
static const char *read_chunk(lua_State *L, void *data, size_t *size)
{
    struct chunk *c = data;
    (void)L;
    if (!c->begun) {
        c->begun = true;
        *size = 1;
        return " ";
    }
    *size = c->len;
    c->len = 0;
    return c->text;
}

// The environment of what a script compiles is that of the function which asked for it. Functions
// in C have another, which is not for scripts.
static void inherit_environment(lua_State *L)
{
    lua_Debug caller;
    for (int level = 1; lua_getstack(L, level, &caller); level++) {
        lua_getinfo(L, "f", &caller);
        lua_getfenv(L, -1);
        bool fits = !lua_iscfunction(L, -2) && script_behind(L, -1);
        lua_pop(L, fits ? 1 : 0); // the table behind it
        lua_remove(L, -2);
        if (fits) {
            lua_setfenv(L, -2);
            return;
        }
        lua_pop(L, 1);
    }
}

// The string at `text` is the chunk, the one at `name` its name: both stay on the stack, and
// nothing of a script runs in between, so the parser's strings are safe from the collector.
static int compile(lua_State *L, int text, int name)
{
    struct chunk c = {.begun = true};
    c.text = lua_tolstring(L, text, &c.len);
    if (c.len > CHUNK_MAX)
        return luaL_error(L, "chunk is too long");
    if (c.len && c.text[0] == LUA_SIGNATURE[0])
        c.begun = false;
    if (lua_load(L, read_chunk, &c, lua_tostring(L, name))) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    inherit_environment(L);
    return 1;
}

static int base_loadstring(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_optstring(L, 2, "");
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_pushvalue(L, 1);
        lua_replace(L, 2);
    }
    return compile(L, 1, 2);
}

// Reads to the end before it compiles.
static int base_load(lua_State *L)
{
    luaL_Buffer b;
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_optstring(L, 2, "");
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_pushliteral(L, "=(load)");
        lua_replace(L, 2);
    }
    luaL_buffinit(L, &b);
    for (;;) {
        luaL_checkstack(L, 2, "too many nested functions");
        lua_pushvalue(L, 1);
        if (lua_pcall(L, 0, 1, 0)) {
            lua_pushnil(L);
            lua_insert(L, -2);
            return 2;
        }
        if (lua_isnil(L, -1))
            break;
        if (!lua_isstring(L, -1)) {
            lua_pushnil(L);
            luaL_where(L, 1);
            lua_pushliteral(L, "reader function must return a string");
            lua_concat(L, 2);
            return 2;
        }
        if (!lua_objlen(L, -1))
            break;
        luaL_addvalue(&b);
    }
    lua_pop(L, 1);
    luaL_pushresult(&b);
    return compile(L, lua_gettop(L), 2);
}

// --- the collector ------------------------------------------------------------------------------

// A script may collect and count; how the collector works is not its business, since what it
// stopped would stay stopped for all others.
static int base_collectgarbage(lua_State *L)
{
    static const char *const settings[] = {"stop", "restart", "setpause", "setstepmul"};
    static const int answers[] = {0, 0, 200, 200};
    const char *option = luaL_optstring(L, 1, "collect");
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        if (strcmp(option, settings[i]) == 0) {
            lua_pushinteger(L, answers[i]);
            return 1;
        }
    script_breathe(L);
    return own_collectgarbage(L);
}

// Lua runs the handler where the error was raised. If the hook that ends a script raises it, no
// hook is called until the handler returns, which it need not do. So it runs behind the protected
// call.
static int base_xpcall(lua_State *L)
{
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    lua_insert(L, 1);
    int status = lua_pcall(L, 0, LUA_MULTRET, 0);
    if (!status) {
        lua_pushboolean(L, 1);
        lua_replace(L, 1);
        return lua_gettop(L);
    }
    if (status != LUA_ERRMEM && lua_pcall(L, 1, 1, 0)) {
        lua_pop(L, 1);
        lua_pushliteral(L, "error in error handling");
    }
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

// ------------------------------------------------------------------------------------------------

void script_mend_base(lua_State *L)
{
    static const luaL_Reg functions[] = {{"next", base_next},
                                         {"rawget", base_rawget},
                                         {"rawset", base_rawset},
                                         {"getmetatable", base_getmetatable},
                                         {"setmetatable", base_setmetatable},
                                         {"unpack", base_unpack},
                                         {"pcall", base_pcall},
                                         {"xpcall", base_xpcall},
                                         {"load", base_load},
                                         {"loadstring", base_loadstring},
                                         {"collectgarbage", base_collectgarbage},
                                         {NULL, NULL}};
    own_collectgarbage = function_of(L, LUA_GLOBALSINDEX, "collectgarbage");
    for (const luaL_Reg *f = functions; f->name; f++)
        lua_register(L, f->name, f->func);
    lua_getglobal(L, "next");
    lua_pushcclosure(L, base_pairs, 1);
    lua_setglobal(L, "pairs");
}

void script_mend_table(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"foreach", table_foreach}, {"maxn", table_maxn}, {"insert", table_insert}, {NULL, NULL}};
    lua_getglobal(L, "table");
    own_foreach = function_of(L, lua_gettop(L), "foreach");
    own_maxn = function_of(L, lua_gettop(L), "maxn");
    own_insert = function_of(L, lua_gettop(L), "insert");
    luaL_register(L, NULL, functions);
    lua_pop(L, 1);
}
