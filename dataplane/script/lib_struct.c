// `struct`: numbers and strings packed as C lays them out, by a format.
//
//   > < =         big, little, the machine's byte order
//   !n            alignment up to n (8)
//   x             a byte of padding
//   b B h H l L T i In   integers of 1, 2, 8, 8 and 4 (n) bytes; capitals have no sign
//   f d           float and double
//   s             a string up to its zero byte
//   cn            n bytes; c0: when packing the whole string, when unpacking as many as the number
//                 before it says
#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include <lauxlib.h>

#include "dataplane/script/lib.h"

enum { INTEGER_BYTES_MAX = 32, ALIGN_DEFAULT = 8 };

struct format {
    lua_State *L;
    const char *at;
    bool big;
    size_t align;
    // The item read last.
    char option;
    size_t size; // bytes, 0: the option has none of its own
};

static size_t read_number(struct format *f, size_t otherwise)
{
    if (!isdigit((unsigned char)*f->at))
        return otherwise;
    unsigned long n = 0;
    while (isdigit((unsigned char)*f->at)) {
        n = n * 10 + (unsigned long)(*f->at++ - '0');
        if (n > INT_MAX)
            luaL_error(f->L, "integral size overflow");
    }
    return n;
}

static void begin(struct format *f, lua_State *L)
{
    *f = (struct format){.L = L, .at = luaL_checkstring(L, 1), .align = 1};
}

// The next item; false at the end.
static bool next_item(struct format *f)
{
    if (!(f->option = *f->at))
        return false;
    f->at++;
    switch (f->option) {
    case 'b':
    case 'B':
    case 'x':
        f->size = 1;
        break;
    case 'h':
    case 'H':
        f->size = sizeof(short);
        break;
    case 'l':
    case 'L':
        f->size = sizeof(long);
        break;
    case 'T':
        f->size = sizeof(size_t);
        break;
    case 'f':
        f->size = sizeof(float);
        break;
    case 'd':
        f->size = sizeof(double);
        break;
    case 'c':
        f->size = read_number(f, 1);
        break;
    case 'i':
    case 'I':
        f->size = read_number(f, sizeof(int));
        if (f->size > INTEGER_BYTES_MAX)
            luaL_error(f->L, "integral size %d is larger than limit of %d", (int)f->size,
                       INTEGER_BYTES_MAX);
        break;
    default:
        f->size = 0;
    }
    return true;
}

// Bytes of padding before the item, which would begin at `at`.
static size_t padding(const struct format *f, size_t at)
{
    size_t to = f->size < f->align ? f->size : f->align;
    if (!to || f->option == 'c')
        return 0;
    return (to - (at & (to - 1))) & (to - 1);
}

// What is no item: byte order, alignment, spaces.
static void take_setting(struct format *f)
{
    switch (f->option) {
    case ' ':
        return;
    case '>':
        f->big = true;
        return;
    case '<':
        f->big = false;
        return;
    case '!': {
        size_t n = read_number(f, ALIGN_DEFAULT);
        if (!n || n & (n - 1))
            luaL_error(f->L, "alignment %d is not a power of 2", (int)n);
        f->align = n;
        return;
    }
    default:
        luaL_argerror(f->L, 1, lua_pushfstring(f->L, "invalid format option '%c'", f->option));
    }
}

static bool is_integer(char option)
{
    return option && strchr("bBhHlLTiI", option);
}

// Any number, as the processor converts it to 64 bits: what does not fit gives what Redis gives on
// the same processor.
static uint64_t to_bits(lua_Number n)
{
    const lua_Number two_63 = 9223372036854775808.0;
    if (isnan(n) || n < -two_63)
        return (uint64_t)1 << 63;
    if (n < 0)
        return (uint64_t)(int64_t)n;
    if (n < two_63)
        return (uint64_t)n;
    return n < 2 * two_63 ? (uint64_t)(n - two_63) + ((uint64_t)1 << 63) : 0;
}

static void put_bits(const struct format *f, luaL_Buffer *b, uint64_t bits)
{
    char bytes[INTEGER_BYTES_MAX];
    for (size_t i = 0; i < f->size; i++)
        bytes[f->big ? f->size - 1 - i : i] = (char)(i < 8 ? bits >> 8 * i & 0xff : 0);
    luaL_addlstring(b, bytes, f->size);
}

static uint64_t get_bits(const struct format *f, const char *from)
{
    uint64_t bits = 0;
    for (size_t i = f->size; i--;)
        bits = bits << 8 | (unsigned char)from[f->big ? f->size - 1 - i : i];
    return bits;
}

static lua_Number get_integer(const struct format *f, const char *from)
{
    uint64_t bits = get_bits(f, from);
    if (!islower((unsigned char)f->option))
        return (lua_Number)bits;
    uint64_t sign = ~(uint64_t)0 << ((f->size * 8 - 1) & 63);
    return (lua_Number)(int64_t)(bits & sign ? bits | sign : bits);
}

static void put_float(const struct format *f, luaL_Buffer *b, lua_Number n)
{
    float narrow = (float)n;
    uint32_t low;
    uint64_t bits;
    memcpy(&low, &narrow, sizeof(low));
    memcpy(&bits, &n, sizeof(bits));
    put_bits(f, b, f->option == 'd' ? bits : low);
}

static lua_Number get_float(const struct format *f, const char *from)
{
    uint64_t bits = get_bits(f, from);
    uint32_t low = (uint32_t)bits;
    float narrow;
    double n;
    memcpy(&narrow, &low, sizeof(narrow));
    memcpy(&n, &bits, sizeof(n));
    return f->option == 'd' ? n : (lua_Number)narrow;
}

static void put_string(const struct format *f, luaL_Buffer *b, int argument, size_t *written)
{
    size_t len;
    const char *text = luaL_checklstring(f->L, argument, &len);
    *written = f->size ? f->size : len;
    luaL_argcheck(f->L, len >= *written, argument + 1, "string too short");
    luaL_addlstring(b, text, *written);
    if (f->option == 's') {
        luaL_addchar(b, '\0');
        ++*written;
    }
}

static int struct_pack(lua_State *L)
{
    struct format f;
    luaL_Buffer b;
    int argument = 2;
    size_t total = 0;
    begin(&f, L);
    lua_pushnil(L); // between the arguments and what the buffer keeps on the stack
    luaL_buffinit(L, &b);
    while (next_item(&f)) {
        size_t written = f.size, gap = padding(&f, total);
        total += gap;
        while (gap--)
            luaL_addchar(&b, '\0');
        if (is_integer(f.option)) {
            put_bits(&f, &b, to_bits(luaL_checknumber(L, argument++)));
        } else if (f.option == 'x') {
            luaL_addchar(&b, '\0');
        } else if (f.option == 'f' || f.option == 'd') {
            put_float(&f, &b, luaL_checknumber(L, argument++));
        } else if (f.option == 'c' || f.option == 's') {
            put_string(&f, &b, argument++, &written);
        } else {
            take_setting(&f);
        }
        total += written;
    }
    luaL_pushresult(&b);
    return 1;
}

// Pushes one value from `data`, and returns how many bytes it took.
static size_t get_value(struct format *f, const char *data, size_t left, int *n)
{
    lua_State *L = f->L;
    size_t size = f->size;
    if (is_integer(f->option)) {
        lua_pushnumber(L, get_integer(f, data));
    } else if (f->option == 'f' || f->option == 'd') {
        lua_pushnumber(L, get_float(f, data));
    } else if (f->option == 'c') {
        if (!size) {
            if (!*n || !lua_isnumber(L, -1))
                luaL_error(L, "format 'c0' needs a previous size");
            size = to_bits(lua_tonumber(L, -1));
            lua_pop(L, 1);
            --*n;
            luaL_argcheck(L, size <= left, 2, "data string too short");
        }
        lua_pushlstring(L, data, size);
    } else { // 's'
        const char *end = memchr(data, '\0', left);
        if (!end)
            luaL_error(L, "unfinished string in data");
        lua_pushlstring(L, data, (size_t)(end - data));
        size = (size_t)(end - data) + 1;
    }
    ++*n;
    return size;
}

static int struct_unpack(lua_State *L)
{
    struct format f;
    size_t len;
    int n = 0;
    begin(&f, L);
    const char *data = luaL_checklstring(L, 2, &len);
    lua_Integer first = luaL_optinteger(L, 3, 1);
    luaL_argcheck(L, first != 0, 3, "offset must be 1 or greater"); // below 0: too far, as unsigned
    size_t at = (size_t)first - 1;
    while (next_item(&f)) {
        at += padding(&f, at);
        luaL_argcheck(L, f.size <= len && at <= len - f.size, 2, "data string too short");
        luaL_checkstack(L, 2, "too many results");
        if (is_integer(f.option) || (f.option && strchr("fdcs", f.option)))
            at += get_value(&f, data + at, len - at, &n);
        else if (f.option == 'x')
            at++;
        else
            take_setting(&f);
    }
    lua_pushinteger(L, (lua_Integer)at + 1);
    return n + 1;
}

static int struct_size(lua_State *L)
{
    struct format f;
    size_t total = 0;
    begin(&f, L);
    while (next_item(&f)) {
        total += padding(&f, total);
        if (f.option == 's')
            luaL_argerror(L, 1, "option 's' has no fixed size");
        if (f.option == 'c' && !f.size)
            luaL_argerror(L, 1, "option 'c0' has no fixed size");
        if (!isalnum((unsigned char)f.option))
            take_setting(&f);
        total += f.size;
    }
    lua_pushinteger(L, (lua_Integer)total);
    return 1;
}

int script_open_struct(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"pack", struct_pack}, {"unpack", struct_unpack}, {"size", struct_size}, {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
