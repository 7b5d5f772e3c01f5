// Functions of Lua's string library and of `bit` in forms that no argument makes fail: those of the
// libraries recurse as deeply, run as long, or write as far as the argument says.
#include <limits.h>
#include <string.h>

#include <lauxlib.h>

#include "dataplane/script/lib.h"

// Lua's matcher calls itself once for each repetition and capture of a pattern; so many fit on the
// stack of a fiber many times over.
enum { PATTERN_ITEMS_MAX = 10000 };

static lua_CFunction own_find, own_match, own_gmatch, own_gsub;

static void check_pattern(lua_State *L)
{
    size_t len, items = 0;
    const char *pattern = luaL_checklstring(L, 2, &len);
    if (len <= PATTERN_ITEMS_MAX)
        return;
    for (size_t i = 0; i < len; i++)
        items += pattern[i] && strchr("*+-?()", pattern[i]);
    if (items > PATTERN_ITEMS_MAX)
        luaL_error(L, "pattern too complex");
}

static int string_find(lua_State *L)
{
    luaL_checkstring(L, 1);
    if (!lua_toboolean(L, 4))
        check_pattern(L);
    return own_find(L);
}

static int string_match(lua_State *L)
{
    luaL_checkstring(L, 1);
    check_pattern(L);
    return own_match(L);
}

static int string_gmatch(lua_State *L)
{
    luaL_checkstring(L, 1);
    check_pattern(L);
    return own_gmatch(L);
}

static int string_gsub(lua_State *L)
{
    luaL_checkstring(L, 1);
    check_pattern(L);
    return own_gsub(L);
}

static int string_rep(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    int n = luaL_checkint(L, 2);
    if (n <= 0 || !len || n == 1) {
        lua_pushlstring(L, text, n == 1 ? len : 0);
        return 1;
    }
    if (len > (size_t)INT_MAX / (size_t)n)
        return luaL_error(L, "resulting string too large");
    size_t total = len * (size_t)n;
    char *all = lua_newuserdata(L, total);
    memcpy(all, text, len);
    for (size_t done = len; done < total;) {
        size_t more = done < total - done ? done : total - done;
        memcpy(all + done, all, more);
        done += more;
    }
    lua_pushlstring(L, all, total);
    return 1;
}

// What the functions of `bit` make of a number: its lower 32 bits, rounded to the nearest.
static int32_t bits_of(lua_State *L, int argument)
{
    lua_Number n = luaL_checknumber(L, argument) + 6755399441055744.0; // 2^52 + 2^51
    uint64_t bits;
    memcpy(&bits, &n, sizeof(bits));
    return (int32_t)bits;
}

// As many digits as asked for, 8 at most.
static int bit_tohex(lua_State *L)
{
    uint32_t bits = (uint32_t)bits_of(L, 1);
    int32_t digits = lua_isnone(L, 2) ? 8 : bits_of(L, 2);
    const char *signs = digits < 0 ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[8];
    int wanted = digits < -8 || digits > 8 ? 8 : digits < 0 ? -digits : digits;
    for (int i = wanted; i--; bits >>= 4)
        text[i] = signs[bits & 15];
    lua_pushlstring(L, text, (size_t)wanted);
    return 1;
}

static lua_CFunction replace(lua_State *L, const char *name, lua_CFunction by)
{
    lua_getfield(L, -1, name);
    lua_CFunction own = lua_tocfunction(L, -1);
    lua_pop(L, 1);
    lua_pushcfunction(L, by);
    lua_setfield(L, -2, name);
    return own;
}

void script_mend_strings(lua_State *L)
{
    lua_getglobal(L, "string");
    own_find = replace(L, "find", string_find);
    own_match = replace(L, "match", string_match);
    own_gmatch = replace(L, "gmatch", string_gmatch);
    replace(L, "gfind", string_gmatch);
    own_gsub = replace(L, "gsub", string_gsub);
    replace(L, "rep", string_rep);
    lua_pop(L, 1);
    lua_getglobal(L, "bit");
    replace(L, "tohex", bit_tohex);
    lua_pop(L, 1);
}
