// math.random and math.randomseed: the generator of POSIX's lrand48, as Redis has it, so that a
// seed gives the same numbers. One sequence for each Lua state.
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "dataplane/script/lib.h"

static const unsigned short sequence_begin[3] = {0x330e, 0xabcd, 0x1234};

static unsigned short *sequence_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static int math_random(lua_State *L)
{
    lua_Number drawn = (lua_Number)(nrand48(sequence_of(L)) % 0x7fffffff) / (lua_Number)0x7fffffff;
    switch (lua_gettop(L)) {
    case 0:
        lua_pushnumber(L, drawn);
        return 1;
    case 1: {
        int last = luaL_checkint(L, 1);
        luaL_argcheck(L, 1 <= last, 1, "interval is empty");
        lua_pushnumber(L, __builtin_floor(drawn * last) + 1);
        return 1;
    }
    case 2: {
        int first = luaL_checkint(L, 1), last = luaL_checkint(L, 2);
        luaL_argcheck(L, first <= last, 2, "interval is empty");
        lua_pushnumber(L, __builtin_floor(drawn * (int)((unsigned)last - (unsigned)first + 1)) +
                              first);
        return 1;
    }
    default:
        return luaL_error(L, "wrong number of arguments");
    }
}

static int math_randomseed(lua_State *L)
{
    unsigned seed = (unsigned)luaL_checkint(L, 1);
    unsigned short *sequence = sequence_of(L);
    sequence[0] = 0x330e;
    sequence[1] = (unsigned short)seed;
    sequence[2] = (unsigned short)(seed >> 16);
    return 0;
}

void script_mend_math(lua_State *L)
{
    lua_getglobal(L, "math");
    memcpy(lua_newuserdata(L, sizeof(sequence_begin)), sequence_begin, sizeof(sequence_begin));
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, math_random, 1);
    lua_setfield(L, -3, "random");
    lua_pushcclosure(L, math_randomseed, 1);
    lua_setfield(L, -2, "randomseed");
    lua_pop(L, 1);
}
