// The world of a script: which of Lua's libraries it has, and how their tables are kept from it.
#include "dataplane/script/sandbox.h"

#include <string.h>

#include <lauxlib.h>
#include <lua-bitop.h>
#include <lualib.h>

#include "dataplane/script/lib.h"
#include "dataplane/script/script.h"

// Keys of the registry and of the metatables of stand-ins: addresses, which no script can make.
static const char behind_key, shown_key, globals_key, functions_key, loading_key;

static void get_by(lua_State *L, int index, const char *key)
{
    lua_pushlightuserdata(L, (void *)key);
    lua_rawget(L, index < 0 && index > LUA_REGISTRYINDEX ? index - 1 : index);
}

// Pops the value on top of the stack.
static void set_by(lua_State *L, int index, const char *key)
{
    lua_pushlightuserdata(L, (void *)key);
    lua_insert(L, -2);
    lua_rawset(L, index < 0 && index > LUA_REGISTRYINDEX ? index - 1 : index);
}

// --- stand-ins ----------------------------------------------------------------------------------

static int refuse(lua_State *L)
{
    return luaL_error(L, SCRIPT_READ_ONLY);
}

void script_refuse_change(lua_State *L, int index)
{
    if (!script_behind(L, index))
        return;
    lua_pushliteral(L, SCRIPT_READ_ONLY); // as Redis tells it: without a place
    lua_error(L);
}

void script_protect(lua_State *L)
{
    // The real table, what getmetatable shows.
    lua_newtable(L);
    lua_createtable(L, 0, 5);
    lua_pushvalue(L, -4);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, refuse);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -4);
    set_by(L, -2, &behind_key);
    lua_pushvalue(L, -3);
    set_by(L, -2, &shown_key);
    lua_setmetatable(L, -2);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static bool of_stand_in(lua_State *L, int index, const char *key)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    get_by(L, -1, &behind_key);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 2);
        return false;
    }
    if (key != &behind_key) {
        lua_pop(L, 1);
        get_by(L, -1, key);
    }
    lua_remove(L, -2);
    return true;
}

bool script_behind(lua_State *L, int index)
{
    return of_stand_in(L, index, &behind_key);
}

bool script_shown_metatable(lua_State *L, int index)
{
    return of_stand_in(L, index, &shown_key);
}

void script_need_memory(lua_State *L, size_t bytes)
{
    void *state, *memory;
    lua_Alloc allocate = lua_getallocf(L, &state);
    if (!bytes)
        return;
    memory = allocate(state, NULL, 0, bytes);
    if (!memory) {
        lua_gc(L, LUA_GCCOLLECT, 0);
        memory = allocate(state, NULL, 0, bytes);
    }
    if (!memory)
        luaL_error(L, "not enough memory");
    allocate(state, memory, bytes, 0);
}

void script_breathe(lua_State *L)
{
    lua_Hook hook = lua_gethook(L);
    lua_Debug now = {.event = LUA_HOOKCOUNT, .currentline = -1};
    if (hook)
        hook(L, &now);
}

// --- opening ------------------------------------------------------------------------------------

static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    if (*name && lua_istable(L, -1))
        lua_setglobal(L, name);
    else
        lua_pop(L, 1);
}

void script_libraries_open(lua_State *L)
{
    // What Lua's base library has and no script may use: it reads files, writes to the server's
    // output, or changes the environment of functions.
    static const char *const unwanted[] = {"dofile",   "loadfile", "print",
                                           "newproxy", "getfenv",  "setfenv"};
    open_library(L, "", luaopen_base);
    open_library(L, LUA_TABLIBNAME, luaopen_table);
    open_library(L, LUA_STRLIBNAME, luaopen_string);
    open_library(L, LUA_MATHLIBNAME, luaopen_math);
    open_library(L, "bit", luaopen_bit);
    open_library(L, "cjson", script_open_cjson);
    open_library(L, "cmsgpack", script_open_cmsgpack);
    open_library(L, "struct", script_open_struct);
    for (size_t i = 0; i < sizeof(unwanted) / sizeof(unwanted[0]); i++) {
        lua_pushnil(L);
        lua_setglobal(L, unwanted[i]);
    }
    script_mend_base(L);
    script_mend_table(L);
    script_mend_strings(L);
    script_mend_math(L);
}

// --- closing ------------------------------------------------------------------------------------

static int missing(lua_State *L)
{
    if (lua_gettop(L) != 2)
        return luaL_error(L, "Wrong number of arguments to luaProtectedTableError");
    if (!lua_isstring(L, 2))
        return luaL_error(L,
                          "Second argument to luaProtectedTableError must be a string or number");
    return luaL_error(L, "Script attempted to access nonexistent global variable '%s'",
                      lua_tostring(L, 2));
}

// The table on top of the stack becomes one of globals: reading what is not there is an error.
// Leaves the stand-in.
static void protect_globals(lua_State *L)
{
    // What getmetatable shows, and what works, are alike but not the same.
    for (int i = 0; i < 2; i++) {
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, missing);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -3);
    lua_pushnil(L);
    script_protect(L);
    script_protect(L);
}

static void protect_field(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    if (lua_istable(L, -1)) {
        lua_pushnil(L);
        script_protect(L);
        lua_setfield(L, index, name);
    } else {
        lua_pop(L, 1);
    }
}

// Strings share a metatable, which a script may look at.
static void protect_strings(lua_State *L, int globals)
{
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_newtable(L);
    lua_getfield(L, globals, LUA_STRLIBNAME);
    lua_setfield(L, -2, "__index");
    lua_pushnil(L);
    script_protect(L);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

// Of the names in the globals, those that functions of libraries have too, with a table `redis` of
// their own.
static void make_functions_world(lua_State *L, int globals, int redis)
{
    static const char *const kept[] = {"KEYS", "ARGV", "_G", "redis", "__redis__err__handler"};
    static const char *const left_out[] = {"breakpoint", "debug", "replicate_commands"};
    lua_newtable(L);
    int world = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, globals);) {
        bool wanted = true;
        for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
            wanted &= lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), kept[i]) != 0;
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        if (wanted)
            lua_rawset(L, world);
        else
            lua_pop(L, 2);
    }
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, redis);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++) {
        lua_pushnil(L);
        lua_setfield(L, -2, left_out[i]);
    }
    lua_pushnil(L);
    script_protect(L);
    lua_setfield(L, world, "redis");
    lua_pushvalue(L, world);
    protect_globals(L);
    lua_setfield(L, world, "_G");
    set_by(L, LUA_REGISTRYINDEX, &functions_key);
}

// Reading what is not in the table on top of the stack is an error.
static void refuse_missing(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, missing);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

// While a library is loaded it has `redis` alone, and of that what needs no caller.
static void make_loading_world(lua_State *L, int redis)
{
    lua_newtable(L);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, redis); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (lua_isfunction(L, -1) ? strcmp(name, "log") != 0 : strncmp(name, "REPL_", 5) == 0)
            continue;
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, -5);
    }
    lua_pushcfunction(L, script_register_function);
    lua_setfield(L, -2, "register_function");
    refuse_missing(L);
    lua_pushnil(L);
    script_protect(L);
    lua_setfield(L, -2, "redis");
    refuse_missing(L);
    set_by(L, LUA_REGISTRYINDEX, &loading_key);
}

void script_sandbox_close(lua_State *L)
{
    static const char *const libraries[] = {LUA_STRLIBNAME, LUA_TABLIBNAME, LUA_MATHLIBNAME,
                                            LUA_COLIBNAME,  "bit",          "cjson",
                                            "cmsgpack",     "struct"};
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    int globals = lua_gettop(L);
    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++)
        protect_field(L, globals, libraries[i]);
    protect_strings(L, globals);
    lua_getfield(L, globals, "redis");
    if (lua_istable(L, -1)) {
        make_functions_world(L, globals, globals + 1);
        make_loading_world(L, globals + 1);
    }
    lua_pop(L, 1);
    protect_field(L, globals, "redis");
    lua_pushvalue(L, globals);
    set_by(L, LUA_REGISTRYINDEX, &globals_key);
    lua_pushvalue(L, globals);
    protect_globals(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, globals, "_G");
    lua_replace(L, LUA_GLOBALSINDEX);
    lua_pop(L, 1);
}

// --- libraries of functions ---------------------------------------------------------------------

void script_library_begin(lua_State *L)
{
    get_by(L, LUA_REGISTRYINDEX, &loading_key);
    lua_pushnil(L);
    script_protect(L);
}

void script_library_ready(lua_State *L)
{
    lua_getmetatable(L, -1);
    get_by(L, LUA_REGISTRYINDEX, &functions_key);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "__index");
    set_by(L, -2, &behind_key);
    lua_pop(L, 2);
}

// --- for the engine -----------------------------------------------------------------------------

void script_set_global(lua_State *L, const char *name)
{
    get_by(L, LUA_REGISTRYINDEX, &globals_key);
    lua_insert(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}
