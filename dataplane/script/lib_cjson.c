// `cjson`: the library of that name, with a guard before encode and decode. The library takes
// memory that Lua does not count, ends the process where it gets none, keeps what it has when Lua
// raises an error in the middle, and counts bytes in an int. So the most that a value can take is
// reckoned first, and refused when Lua could not have as much.
#include <limits.h>
#include <string.h>

#include <lauxlib.h>
#include <lua-cjson.h>

#include "dataplane/script/lib.h"

enum {
    JSON_MAX = 1 << 29,   // bytes, so that six for one sign and the doubling of a buffer fit an int
    JSON_SCALAR_MAX = 32, // of a number, true, false or null with a comma
    JSON_SIGN_MAX = 6,    // of a byte of a string: \u0000
    JSON_DEPTH_MAX = 2600, // tables in tables: Lua's stack has room for so many to be walked
    // What decoding takes of Lua for a table, and for each of its values, doubling included.
    TABLE_BYTES = 160,
    VALUE_BYTES = 160,
    BREATH = 4096, // values between two looks at the clock
};

struct walk {
    lua_State *L;
    unsigned depth_max; // the library stops with an error below it
    unsigned values;
    size_t most; // bytes that encoding may give
};

// Adds the value on top of the stack. False: too much.
static bool reckon(struct walk *w, unsigned depth)
{
    lua_State *L = w->L;
    if (++w->values % BREATH == 0)
        script_breathe(L);
    w->most += JSON_SCALAR_MAX;
    if (lua_type(L, -1) == LUA_TSTRING)
        w->most += lua_objlen(L, -1) * JSON_SIGN_MAX;
    if (w->most > JSON_MAX)
        return false;
    if (!lua_istable(L, -1) || depth == w->depth_max)
        return true;
    if (depth == JSON_DEPTH_MAX || !lua_checkstack(L, 4))
        return luaL_error(L, "Cannot serialise, excessive nesting (%d)", (int)depth + 1);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING)
            w->most += lua_objlen(L, -2) * JSON_SIGN_MAX;
        if (!reckon(w, depth + 1)) {
            lua_pop(L, 2);
            return false;
        }
    }
    return true;
}

// The library's own. They know their settings by the first upvalue, which ours have too.
static lua_CFunction own_encode, own_decode, own_encode_keep_buffer, own_new;

// Upvalues: the settings, and the library's encode_max_depth.
static int json_encode(lua_State *L)
{
    luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
    if (script_behind(L, 1))
        lua_replace(L, 1);
    if (lua_type(L, 1) == LUA_TTABLE || lua_type(L, 1) == LUA_TSTRING) {
        struct walk w = {.L = L};
        lua_pushvalue(L, lua_upvalueindex(2));
        lua_call(L, 0, 1);
        w.depth_max = (unsigned)lua_tointeger(L, -1);
        lua_pop(L, 1);
        if (!reckon(&w, 0))
            return luaL_error(L, "value is too large to encode");
        script_need_memory(L, w.most);
    }
    return own_encode(L);
}

// A buffer that is not kept would be lost when Lua has no memory for what is in it. So it is kept,
// whatever is asked for.
static int json_encode_keep_buffer(lua_State *L)
{
    own_encode_keep_buffer(L);
    bool kept = lua_toboolean(L, -1);
    lua_settop(L, 0);
    lua_pushboolean(L, 1);
    own_encode_keep_buffer(L);
    lua_pushboolean(L, kept);
    return 1;
}

static int json_decode(lua_State *L)
{
    size_t len, tables = 0, values = 0;
    luaL_argcheck(L, lua_gettop(L) == 1, 1, "expected 1 argument");
    const char *text = luaL_checklstring(L, 1, &len);
    if (len > JSON_MAX)
        return luaL_error(L, "text is too large to decode");
    for (size_t i = 0; i < len; i++) {
        tables += text[i] == '[' || text[i] == '{';
        values += text[i] == ',' || text[i] == ':';
    }
    script_need_memory(L, 2 * len + tables * TABLE_BYTES + values * VALUE_BYTES);
    return own_decode(L);
}

// Puts `by` before a function of the table on top of the stack. Returns the library's.
static lua_CFunction guard(lua_State *L, const char *name, lua_CFunction by)
{
    lua_getfield(L, -1, name);
    lua_CFunction own = lua_tocfunction(L, -1);
    if (!lua_getupvalue(L, -1, 1))
        lua_pushnil(L);
    lua_getfield(L, -3, "encode_max_depth");
    lua_pushcclosure(L, by, 2);
    lua_setfield(L, -3, name);
    lua_pop(L, 1);
    return own;
}

static int json_new(lua_State *L);

static void guard_all(lua_State *L, bool first)
{
    lua_CFunction encode = guard(L, "encode", json_encode);
    lua_CFunction decode = guard(L, "decode", json_decode);
    lua_CFunction keep = guard(L, "encode_keep_buffer", json_encode_keep_buffer);
    lua_CFunction new_one = guard(L, "new", json_new);
    if (!first)
        return;
    own_encode = encode;
    own_decode = decode;
    own_encode_keep_buffer = keep;
    own_new = new_one;
}

static int json_new(lua_State *L)
{
    lua_settop(L, 0);
    own_new(L);
    guard_all(L, false);
    return 1;
}

int script_open_cjson(lua_State *L)
{
    lua_pushcfunction(L, luaopen_cjson);
    lua_call(L, 0, 1);
    guard_all(L, true);
    return 1;
}
