// `cmsgpack`: values as MessagePack and back.
// https://github.com/msgpack/msgpack/blob/master/spec.md
//
// Strings are written as `str`, whole numbers in the fewest bytes, others as a float where that
// says the same, else as a double. A table is an array when its keys are 1 … n and no others.
// Tables nested deeper than NESTING_MAX, and what has no form (functions …), are written as nil.
// Types that programs define themselves are not taken.
#include <endian.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include <lauxlib.h>

#include "dataplane/script/lib.h"

enum { NESTING_MAX = 16 };

// --- writing ------------------------------------------------------------------------------------

// What is written lies in a userdata on the stack, since a luaL_Buffer wants the top of the stack
// for itself, which a walk over tables needs.
struct packed {
    lua_State *L;
    int index; // of the userdata
    char *data;
    size_t len, room;
};

static void reserve(struct packed *p, size_t more)
{
    if (p->room - p->len >= more)
        return;
    size_t room = (p->len + more) * 2;
    char *data = lua_newuserdata(p->L, room);
    if (p->len)
        memcpy(data, p->data, p->len);
    lua_replace(p->L, p->index);
    p->data = data;
    p->room = room;
}

static void put(struct packed *p, const void *bytes, size_t len)
{
    reserve(p, len);
    if (len)
        memcpy(p->data + p->len, bytes, len);
    p->len += len;
}

// A first byte and a number of so many bytes behind it.
static void put_number(struct packed *p, unsigned first, uint64_t n, unsigned bytes)
{
    uint64_t big = htobe64(n);
    char all[9] = {(char)first};
    memcpy(all + 1, (char *)&big + 8 - bytes, bytes);
    put(p, all, 1 + bytes);
}

// A length: in the first byte where it fits in `small`, else behind one of the first bytes given
// (`one`, for 8 bits, may be 0: there is none).
static void put_length(struct packed *p, size_t n, unsigned small, unsigned most, unsigned one,
                       unsigned two)
{
    if (n <= most)
        put_number(p, small | (unsigned)n, 0, 0);
    else if (one && n <= UINT8_MAX)
        put_number(p, one, n, 1);
    else if (n <= UINT16_MAX)
        put_number(p, two, n, 2);
    else
        put_number(p, two + 1, n, 4);
}

static void put_integer(struct packed *p, int64_t n)
{
    if (n >= 0) {
        unsigned log = n <= UINT8_MAX ? 0 : n <= UINT16_MAX ? 1 : n <= UINT32_MAX ? 2 : 3;
        if (n <= INT8_MAX)
            put_number(p, (unsigned)n, 0, 0);
        else
            put_number(p, 0xcc + log, (uint64_t)n, 1u << log);
    } else {
        unsigned log = n >= INT8_MIN ? 0 : n >= INT16_MIN ? 1 : n >= INT32_MIN ? 2 : 3;
        if (n >= -32)
            put_number(p, (uint8_t)n, 0, 0);
        else
            put_number(p, 0xd0 + log, (uint64_t)n, 1u << log);
    }
}

static bool is_whole(lua_Number n)
{
    return n >= -9223372036854775808.0 && n < 9223372036854775808.0 && (lua_Number)(int64_t)n == n;
}

static void put_lua_number(struct packed *p, lua_Number n)
{
    if (is_whole(n)) {
        put_integer(p, (int64_t)n);
        return;
    }
    float narrow = (float)n;
    uint32_t low;
    uint64_t bits;
    memcpy(&low, &narrow, sizeof(low));
    memcpy(&bits, &n, sizeof(bits));
    if ((lua_Number)narrow == n)
        put_number(p, 0xca, low, 4);
    else
        put_number(p, 0xcb, bits, 8);
}

// Counts the pairs of the table on top of the stack. True: its keys are 1 … n.
static bool is_array(lua_State *L, size_t *pairs)
{
    bool array = true;
    lua_Number most = 0;
    *pairs = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        ++*pairs;
        if (!array || lua_type(L, -2) != LUA_TNUMBER) {
            array = false;
            continue;
        }
        lua_Number key = lua_tonumber(L, -2);
        array = key > 0 && is_whole(key) && key <= INT_MAX;
        most = key > most ? key : most;
    }
    return array && most == (lua_Number)*pairs;
}

// Writes the value on top of the stack, and pops it.
static void put_value(struct packed *p, unsigned depth)
{
    lua_State *L = p->L;
    luaL_checkstack(L, 5, "in function mp_encode_lua_type");
    switch (lua_type(L, -1)) {
    case LUA_TSTRING: {
        size_t len;
        const char *text = lua_tolstring(L, -1, &len);
        put_length(p, len, 0xa0, 31, 0xd9, 0xda);
        put(p, text, len);
        break;
    }
    case LUA_TNUMBER:
        put_lua_number(p, lua_tonumber(L, -1));
        break;
    case LUA_TBOOLEAN:
        put_number(p, lua_toboolean(L, -1) ? 0xc3 : 0xc2, 0, 0);
        break;
    case LUA_TTABLE: {
        size_t pairs;
        if (depth == NESTING_MAX) {
            put_number(p, 0xc0, 0, 0);
            break;
        }
        if (script_behind(L, -1))
            lua_replace(L, -2);
        if (is_array(L, &pairs)) {
            put_length(p, pairs, 0x90, 15, 0, 0xdc);
            for (size_t i = 1; i <= pairs; i++) {
                lua_rawgeti(L, -1, (int)i);
                put_value(p, depth + 1);
            }
        } else {
            put_length(p, pairs, 0x80, 15, 0, 0xde);
            lua_pushnil(L);
            while (lua_next(L, -2)) {
                lua_pushvalue(L, -2);
                put_value(p, depth + 1);
                put_value(p, depth + 1);
            }
        }
        break;
    }
    default:
        put_number(p, 0xc0, 0, 0);
    }
    lua_pop(L, 1);
}

static int cmsgpack_pack(lua_State *L)
{
    int n = lua_gettop(L);
    if (!n)
        return luaL_argerror(L, 0, "MessagePack pack needs input.");
    struct packed p = {.L = L, .index = n + 1};
    lua_pushnil(L);
    for (int i = 1; i <= n; i++) {
        luaL_checkstack(L, 1, "in function MessagePack pack");
        lua_pushvalue(L, i);
        put_value(&p, 0);
    }
    lua_pushlstring(L, p.data, p.len);
    return 1;
}

// --- reading ------------------------------------------------------------------------------------

struct unpacked {
    lua_State *L;
    const unsigned char *at;
    size_t left;
};

static const unsigned char *take(struct unpacked *u, size_t n)
{
    const unsigned char *at = u->at;
    if (u->left < n)
        luaL_error(u->L, "Missing bytes in input.");
    u->at += n;
    u->left -= n;
    return at;
}

static uint64_t take_number(struct unpacked *u, unsigned bytes)
{
    const unsigned char *at = take(u, bytes);
    uint64_t n = 0;
    while (bytes--)
        n = n << 8 | *at++;
    return n;
}

static void take_value(struct unpacked *u);

static void take_string(struct unpacked *u, size_t len)
{
    const char *at = (const char *)take(u, len);
    lua_pushlstring(u->L, at, len);
}

// No room is made ahead: the count may be a lie.
static void take_array(struct unpacked *u, size_t n)
{
    lua_newtable(u->L);
    luaL_checkstack(u->L, 1, "in function mp_decode_to_lua_array");
    for (size_t i = 1; i <= n; i++) {
        take_value(u);
        if (i > INT_MAX)
            luaL_error(u->L, "Bad data format in input.");
        lua_rawseti(u->L, -2, (int)i);
    }
}

static void take_map(struct unpacked *u, size_t n)
{
    lua_newtable(u->L);
    while (n--) {
        take_value(u);
        take_value(u);
        lua_settable(u->L, -3);
    }
}

static void take_float(struct unpacked *u, unsigned bytes)
{
    uint64_t bits = take_number(u, bytes);
    uint32_t low = (uint32_t)bits;
    float narrow;
    double wide;
    memcpy(&narrow, &low, sizeof(narrow));
    memcpy(&wide, &bits, sizeof(wide));
    lua_pushnumber(u->L, bytes == 4 ? (double)narrow : wide);
}

static void take_value(struct unpacked *u)
{
    lua_State *L = u->L;
    luaL_checkstack(L, 1,
                    "too many return values at once; use unpack_one or unpack_limit instead.");
    unsigned first = *take(u, 1);
    if (first < 0x80) {
        lua_pushinteger(L, (lua_Integer)first);
    } else if (first >= 0xe0) {
        lua_pushinteger(L, (int8_t)first);
    } else if (first < 0x90) {
        take_map(u, first & 15);
    } else if (first < 0xa0) {
        take_array(u, first & 15);
    } else if (first < 0xc0) {
        take_string(u, first & 31);
    } else {
        switch (first) {
        case 0xc0:
            lua_pushnil(L);
            break;
        case 0xc2:
        case 0xc3:
            lua_pushboolean(L, first == 0xc3);
            break;
        case 0xca:
            take_float(u, 4);
            break;
        case 0xcb:
            take_float(u, 8);
            break;
        case 0xcc:
        case 0xcd:
        case 0xce:
        case 0xcf:
            lua_pushnumber(L, (lua_Number)take_number(u, 1u << (first - 0xcc)));
            break;
        case 0xd0:
            lua_pushnumber(L, (int8_t)take_number(u, 1));
            break;
        case 0xd1:
            lua_pushnumber(L, (int16_t)take_number(u, 2));
            break;
        case 0xd2:
            lua_pushnumber(L, (int32_t)take_number(u, 4));
            break;
        case 0xd3:
            lua_pushnumber(L, (lua_Number)(int64_t)take_number(u, 8));
            break;
        case 0xd9:
        case 0xda:
        case 0xdb:
            take_string(u, take_number(u, 1u << (first - 0xd9)));
            break;
        case 0xdc:
        case 0xdd:
            take_array(u, take_number(u, first == 0xdc ? 2 : 4));
            break;
        case 0xde:
        case 0xdf:
            take_map(u, take_number(u, first == 0xde ? 2 : 4));
            break;
        default:
            luaL_error(L, "Bad data format in input.");
        }
    }
}

// Values of argument 1 from `offset` on: `limit` of them, or all; then, unless all were asked for,
// where the next one begins is told first.
static int unpack_values(lua_State *L, lua_Integer limit, lua_Integer offset)
{
    size_t len;
    int n = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    bool all = !limit && !offset;
    if (offset < 0 || limit < 0)
        return luaL_error(L, "Invalid request to unpack with offset of %d and limit of %d.",
                          (int)offset, (int)len);
    if ((size_t)offset > len)
        return luaL_error(L, "Start offset %d greater than input length %d.", (int)offset,
                          (int)len);
    if (all)
        limit = INT_MAX;
    struct unpacked u = {L, (const unsigned char *)text + offset, len - (size_t)offset};
    for (; u.left && n < limit; n++)
        take_value(&u);
    if (all)
        return n;
    luaL_checkstack(L, 1, "in function mp_unpack_full");
    lua_pushinteger(L, u.left ? (lua_Integer)(len - u.left) : -1);
    lua_insert(L, 2);
    return n + 1;
}

static int cmsgpack_unpack(lua_State *L)
{
    luaL_checkstring(L, 1); // before it is there as nil
    lua_settop(L, 1);
    return unpack_values(L, 0, 0);
}

static int cmsgpack_unpack_one(lua_State *L)
{
    lua_Integer offset = (int)luaL_optinteger(L, 2, 0);
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    return unpack_values(L, 1, offset);
}

static int cmsgpack_unpack_limit(lua_State *L)
{
    lua_Integer limit = (int)luaL_checkinteger(L, 2);
    lua_Integer offset = (int)luaL_optinteger(L, 3, 0);
    lua_settop(L, 1);
    return unpack_values(L, limit, offset);
}

int script_open_cmsgpack(lua_State *L)
{
    static const luaL_Reg functions[] = {{"pack", cmsgpack_pack},
                                         {"unpack", cmsgpack_unpack},
                                         {"unpack_one", cmsgpack_unpack_one},
                                         {"unpack_limit", cmsgpack_unpack_limit},
                                         {NULL, NULL}};
    // What programs may read of the library that they know.
    static const char *const facts[][2] = {
        {"_NAME", "cmsgpack"},
        {"_VERSION", "lua-cmsgpack 0.4.0"},
        {"_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"},
        {"_DESCRIPTION", "MessagePack C implementation for Lua"},
    };
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
        lua_pushstring(L, facts[i][1]);
        lua_setfield(L, -2, facts[i][0]);
    }
    return 1;
}
