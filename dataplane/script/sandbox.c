// What scripts may use of Lua.
#include <lauxlib.h>
#include <lualib.h>

#include "dataplane/script/script.h"

static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
}

void script_libraries_open(lua_State *L)
{
    open_library(L, "", luaopen_base);
    open_library(L, LUA_TABLIBNAME, luaopen_table);
    open_library(L, LUA_STRLIBNAME, luaopen_string);
    open_library(L, LUA_MATHLIBNAME, luaopen_math);
    static const char *const taken[] = {"dofile", "loadfile", "print", "newproxy"};
    for (unsigned i = 0; i < sizeof(taken) / sizeof(*taken); i++) {
        lua_pushnil(L);
        lua_setglobal(L, taken[i]);
    }
}

void script_sandbox_close(lua_State *L)
{
    (void)L;
}
