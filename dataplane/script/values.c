// Between RESP and Lua: what a command answers as a value that a script has, and what a script
// returns as its reply.
//
//   integer, bulk, status, error    number, string, {ok = …}, {err = …}
//   array, null                     table, false (nil of RESP3)
//   map, set                        {map = {…}}, {set = {member = true …}}
//   double, big number              {double = n}, {big_number = "…"}
//   boolean, verbatim               boolean, {verbatim_string = {string = "…", format = "txt"}}
#include "dataplane/script/values.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "dataplane/resp/reply.h"
#include "dataplane/script/script.h"

// --- RESP to Lua --------------------------------------------------------------------------------

enum {
    NESTING_MAX = 64,  // of a reply; no command nests deeper
    PREPARED_MAX = 64, // elements that room is made for before they are seen
    NUMBER_TEXT_MAX = 64,
};

struct reader {
    lua_State *L;
    const uint8_t *at, *end;
};

_Noreturn static void malformed(lua_State *L)
{
    luaL_error(L, "malformed reply of a command");
    __builtin_unreachable();
}

// The rest of a line behind its first byte.
static const char *take_line(struct reader *r, size_t *len)
{
    const uint8_t *from = r->at, *to = memchr(from, '\r', (size_t)(r->end - from));
    if (to && to + 1 < r->end && to[1] == '\n') {
        *len = (size_t)(to - from);
        r->at = to + 2;
        return (const char *)from;
    }
    malformed(r->L);
}

static int64_t take_integer(struct reader *r)
{
    size_t len;
    int64_t n = 0;
    const char *text = take_line(r, &len);
    if (!parse_int64((const uint8_t *)text, len, &n))
        malformed(r->L);
    return n;
}

// Bytes of a bulk, whose length was read.
static const char *take_bytes(struct reader *r, int64_t len)
{
    const char *from = (const char *)r->at;
    if (len < 0 || r->end - r->at < 2 || len > r->end - r->at - 2 || from[len] != '\r')
        malformed(r->L);
    r->at += len + 2;
    return from;
}

static double take_double(struct reader *r)
{
    char text[NUMBER_TEXT_MAX];
    size_t len;
    const char *line = take_line(r, &len);
    if (len >= sizeof(text))
        malformed(r->L);
    memcpy(text, line, len);
    text[len] = '\0';
    return strtod(text, NULL);
}

static void push_string_field(lua_State *L, const char *name, const char *text, size_t len)
{
    lua_pushlstring(L, text, len);
    lua_setfield(L, -2, name);
}

static void push_value(struct reader *r, unsigned depth);

static void push_elements(struct reader *r, int64_t n, unsigned depth)
{
    if (n < 0) {
        lua_pushboolean(r->L, 0);
        return;
    }
    lua_createtable(r->L, n < PREPARED_MAX ? (int)n : PREPARED_MAX, 0);
    for (int64_t i = 1; i <= n; i++) {
        push_value(r, depth + 1);
        lua_rawseti(r->L, -2, (int)i);
    }
}

// Whether the value on top of the stack can be a key of a table.
static bool can_be_key(lua_State *L)
{
    return !lua_isnil(L, -1) && !(lua_type(L, -1) == LUA_TNUMBER && isnan(lua_tonumber(L, -1)));
}

static void push_map(struct reader *r, int64_t n, unsigned depth)
{
    lua_State *L = r->L;
    lua_createtable(L, 0, 1);
    lua_newtable(L);
    while (n-- > 0) {
        push_value(r, depth + 1);
        bool key = can_be_key(L);
        push_value(r, depth + 1);
        if (key)
            lua_rawset(L, -3);
        else
            lua_pop(L, 2);
    }
    lua_setfield(L, -2, "map");
}

static void push_set(struct reader *r, int64_t n, unsigned depth)
{
    lua_State *L = r->L;
    lua_createtable(L, 0, 1);
    lua_newtable(L);
    while (n-- > 0) {
        push_value(r, depth + 1);
        if (can_be_key(L)) {
            lua_pushboolean(L, 1);
            lua_rawset(L, -3);
        } else {
            lua_pop(L, 1);
        }
    }
    lua_setfield(L, -2, "set");
}

static void push_verbatim(struct reader *r)
{
    lua_State *L = r->L;
    int64_t len = take_integer(r);
    const char *text = take_bytes(r, len);
    if (len < 4) // "txt:"
        malformed(L);
    lua_createtable(L, 0, 1);
    lua_createtable(L, 0, 2);
    push_string_field(L, "string", text + 4, (size_t)len - 4);
    push_string_field(L, "format", text, 3);
    lua_setfield(L, -2, "verbatim_string");
}

static void push_value(struct reader *r, unsigned depth)
{
    lua_State *L = r->L;
    size_t len;
    const char *text;
    int64_t n;
    luaL_checkstack(L, 5, "a reply is nested too deep");
    if (r->at == r->end || depth > NESTING_MAX)
        malformed(L);
    switch (*r->at++) {
    case '$':
        n = take_integer(r);
        if (n < 0)
            lua_pushboolean(L, 0);
        else
            lua_pushlstring(L, take_bytes(r, n), (size_t)n);
        break;
    case ':':
        lua_pushnumber(L, (lua_Number)take_integer(r));
        break;
    case '+':
        text = take_line(r, &len);
        lua_createtable(L, 0, 1);
        push_string_field(L, "ok", text, len);
        break;
    case '-':
        text = take_line(r, &len);
        lua_createtable(L, 0, 2);
        push_string_field(L, "err", text, len);
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "ignore_error_stats_update");
        break;
    case '*':
    case '>':
        push_elements(r, take_integer(r), depth);
        break;
    case '%':
        push_map(r, take_integer(r), depth);
        break;
    case '~':
        push_set(r, take_integer(r), depth);
        break;
    case '_':
        take_line(r, &len);
        lua_pushnil(L);
        break;
    case '#':
        text = take_line(r, &len);
        lua_pushboolean(L, len && *text == 't');
        break;
    case ',':
        lua_createtable(L, 0, 1);
        lua_pushnumber(L, take_double(r));
        lua_setfield(L, -2, "double");
        break;
    case '(':
        text = take_line(r, &len);
        lua_createtable(L, 0, 1);
        push_string_field(L, "big_number", text, len);
        break;
    case '=':
        push_verbatim(r);
        break;
    default:
        malformed(L);
    }
}

size_t script_push_reply(lua_State *L, const uint8_t *reply, size_t len)
{
    struct reader r = {.L = L, .at = reply, .end = reply + len};
    push_value(&r, 0);
    return (size_t)(r.at - reply);
}

// --- Lua to RESP --------------------------------------------------------------------------------

// What one reply may take: a table that holds itself twice would give one without end.
#define REPLY_BYTES_MAX ((size_t)1 << 30)
#define REPLY_VALUES_MAX ((size_t)1 << 24)

static const char *const field_names[] = {
    "err", "ok", "double", "map", "set", "big_number", "verbatim_string", "string", "format",
};
enum field { ERR, OK, DOUBLE, MAP, SET, BIG_NUMBER, VERBATIM, STRING, FORMAT, FIELDS };

struct writer {
    lua_State *L;
    struct out *out;
    int resp;             // of the client
    bool booleans;        // the script has said that it knows RESP3
    int names;            // index of the first of the fields' names
    size_t values, bytes; // measured
};

// Line breaks become spaces.
static void put_text(struct out *o, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        *out_room(o, 1) = text[i] == '\r' || text[i] == '\n' ? ' ' : (uint8_t)text[i];
        o->pos++;
    }
}

static void put_line(struct out *o, char kind, const char *text, size_t len)
{
    *out_room(o, 1) = (uint8_t)kind;
    o->pos++;
    put_text(o, text, len);
    out_write(o, "\r\n", 2);
}

// A bulk without line breaks.
static void put_bulk(struct out *o, const char *text, size_t len)
{
    char digits[24];
    *out_room(o, 1) = '$';
    o->pos++;
    out_write(o, digits, format_int64(digits, (int64_t)len));
    out_write(o, "\r\n", 2);
    put_text(o, text, len);
    out_write(o, "\r\n", 2);
}

static void put_error(struct out *o, const char *text)
{
    size_t len = strlen(text);
    while (len && (text[len - 1] == '\r' || text[len - 1] == '\n'))
        len--;
    put_line(o, '-', text, len);
}

// Pushes a field of the table on top of the stack. False, and nothing is pushed: it is of another
// type.
static bool field(struct writer *w, enum field f, int type)
{
    lua_pushvalue(w->L, w->names + (int)f);
    lua_rawget(w->L, -2);
    if (lua_type(w->L, -1) == type)
        return true;
    lua_pop(w->L, 1);
    return false;
}

// Counts what the table on top of the stack holds, as often as it holds it. False: too much.
static bool measure(struct writer *w)
{
    lua_State *L = w->L;
    bool fits = true;
    if (!lua_checkstack(L, 5))
        return true; // the writing stops here too
    for (lua_pushnil(L); fits && lua_next(L, -2); lua_pop(L, 1)) {
        w->values++;
        // Tables are keys, too, of maps and sets.
        for (int i = -2; fits && i <= -1; i++) {
            if (lua_type(L, i) == LUA_TSTRING)
                w->bytes += lua_objlen(L, i);
            fits = w->values <= REPLY_VALUES_MAX && w->bytes <= REPLY_BYTES_MAX;
            if (fits && lua_istable(L, i)) {
                lua_pushvalue(L, i);
                fits = measure(w);
                lua_pop(L, 1);
            }
        }
    }
    lua_pop(L, !fits); // the key
    return fits;
}

static void write_value(struct writer *w);

static int64_t count_pairs(lua_State *L)
{
    int64_t n = 0;
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        n++;
    return n;
}

// The table on top of the stack, as a map or a set.
static void write_pairs(struct writer *w, bool values)
{
    lua_State *L = w->L;
    int64_t n = count_pairs(L);
    if (values)
        reply_map(w->out, w->resp, n);
    else
        reply_set(w->out, w->resp, n);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pushvalue(L, -2);
        write_value(w);
        if (values)
            write_value(w);
        else
            lua_pop(L, 1);
    }
}

static void write_array(struct writer *w)
{
    lua_State *L = w->L;
    int n = 0;
    for (bool more = true; more;) {
        lua_rawgeti(L, -1, n + 1);
        more = !lua_isnil(L, -1);
        n += more;
        lua_pop(L, 1);
    }
    reply_array(w->out, n);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        write_value(w);
    }
}

static void write_big_number(struct writer *w)
{
    size_t len;
    const char *text = lua_tolstring(w->L, -1, &len);
    if (w->resp >= 3)
        put_line(w->out, '(', text, len);
    else
        put_bulk(w->out, text, len);
}

// False: the table in `verbatim_string` is none.
static bool write_verbatim(struct writer *w)
{
    lua_State *L = w->L;
    char kind[4] = "   ";
    size_t len;
    if (!field(w, FORMAT, LUA_TSTRING))
        return false;
    const char *format = lua_tostring(L, -1);
    lua_pop(L, 1); // the table keeps it
    if (!field(w, STRING, LUA_TSTRING))
        return false;
    const char *text = lua_tolstring(L, -1, &len);
    memcpy(kind, format, strnlen(format, 3));
    reply_verbatim(w->out, w->resp, kind, text, len);
    lua_pop(L, 1);
    return true;
}

// The table on top of the stack.
static void write_table(struct writer *w)
{
    lua_State *L = w->L;
    if (field(w, ERR, LUA_TSTRING)) {
        put_error(w->out, lua_tostring(L, -1));
    } else if (field(w, OK, LUA_TSTRING)) {
        const char *text = lua_tostring(L, -1);
        put_line(w->out, '+', text, strlen(text));
    } else if (field(w, DOUBLE, LUA_TNUMBER)) {
        reply_double(w->out, w->resp, lua_tonumber(L, -1));
    } else if (field(w, MAP, LUA_TTABLE)) {
        write_pairs(w, true);
    } else if (field(w, SET, LUA_TTABLE)) {
        write_pairs(w, false);
    } else if (field(w, BIG_NUMBER, LUA_TSTRING)) {
        write_big_number(w);
    } else {
        if (field(w, VERBATIM, LUA_TTABLE)) {
            bool written = write_verbatim(w);
            lua_pop(L, 1);
            if (written)
                return;
        }
        write_array(w);
        return;
    }
    lua_pop(L, 1);
}

// As the processor converts it: what does not fit is the least integer.
static int64_t to_integer(lua_Number n)
{
    return n >= -9223372036854775808.0 && n < 9223372036854775808.0 ? (int64_t)n : INT64_MIN;
}

// The value on top of the stack, which is popped.
static void write_value(struct writer *w)
{
    lua_State *L = w->L;
    size_t len;
    const char *text;
    if (!lua_checkstack(L, 5)) {
        put_error(w->out, "ERR reached lua stack limit");
        lua_pop(L, 1);
        return;
    }
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        text = lua_tolstring(L, -1, &len);
        reply_bulk(w->out, text, len);
        break;
    case LUA_TNUMBER:
        reply_integer(w->out, to_integer(lua_tonumber(L, -1)));
        break;
    case LUA_TBOOLEAN:
        if (w->booleans)
            reply_bool(w->out, w->resp, lua_toboolean(L, -1));
        else if (lua_toboolean(L, -1))
            reply_integer(w->out, 1);
        else
            reply_null(w->out, w->resp);
        break;
    case LUA_TTABLE:
        write_table(w);
        break;
    default:
        reply_null(w->out, w->resp);
    }
    lua_pop(L, 1);
}

void values_write(lua_State *L, struct out *out, int resp, int script_resp)
{
    struct writer w = {.L = L, .out = out, .resp = resp, .booleans = script_resp >= 3};
    if (lua_istable(L, -1)) {
        luaL_checkstack(L, FIELDS + 5, "reached lua stack limit");
        w.names = lua_gettop(L);
        for (int i = 0; i < FIELDS; i++) {
            lua_pushstring(L, field_names[i]);
            lua_insert(L, -2);
        }
        if (!measure(&w)) {
            put_error(out, "ERR the reply of the script is too large");
            lua_pop(L, FIELDS + 1);
            return;
        }
    }
    write_value(&w);
    lua_pop(L, w.names ? FIELDS : 0);
}

void script_write_value(lua_State *L, struct out *out, int resp)
{
    const struct script_run *run = script_running(L);
    values_write(L, out, resp, run ? run->session.resp : 2);
}
