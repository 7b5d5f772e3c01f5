// Between RESP and Lua.
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "dataplane/script/internal.h"

#define STACK_NEEDED 4 // of Lua's, for each level of nesting

static void push_named(lua_State *L, const char *name, const uint8_t *text, size_t len)
{
    lua_createtable(L, 0, 2);
    lua_pushlstring(L, (const char *)text, len);
    lua_setfield(L, -2, name);
}

size_t script_push_reply(lua_State *L, const uint8_t *reply, size_t len)
{
    const uint8_t *end = memchr(reply, '\r', len);
    size_t head = (size_t)(end - reply) + 2;
    const uint8_t *text = reply + 1;
    size_t text_len = head - 3;
    switch (*reply) {
    case '+':
        push_named(L, "ok", text, text_len);
        return head;
    case '-':
        push_named(L, "err", text, text_len);
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "ignore_error_stats_update");
        return head;
    case ':': {
        int64_t n = 0;
        parse_int64(text, text_len, &n);
        lua_pushnumber(L, (lua_Number)n);
        return head;
    }
    case '$': {
        int64_t n = -1;
        parse_int64(text, text_len, &n);
        if (n < 0) {
            lua_pushboolean(L, 0);
            return head;
        }
        lua_pushlstring(L, (const char *)reply + head, (size_t)n);
        return head + (size_t)n + 2;
    }
    case '*': {
        int64_t n = -1;
        parse_int64(text, text_len, &n);
        if (n < 0) {
            lua_pushboolean(L, 0);
            return head;
        }
        luaL_checkstack(L, STACK_NEEDED, "a reply that is nested too deep");
        lua_createtable(L, (int)n, 0);
        for (int64_t i = 1; i <= n; i++) {
            head += script_push_reply(L, reply + head, len - head);
            lua_rawseti(L, -2, (int)i);
        }
        return head;
    }
    case '_':
        lua_pushnil(L);
        return head;
    default:
        lua_pushboolean(L, 0);
        return head;
    }
}

void script_write_value(lua_State *L, struct out *out, int resp)
{
    switch (lua_type(L, -1)) {
    case LUA_TSTRING: {
        size_t len;
        const char *text = lua_tolstring(L, -1, &len);
        reply_bulk(out, text, len);
        break;
    }
    case LUA_TNUMBER:
        reply_integer(out, (int64_t)lua_tonumber(L, -1));
        break;
    case LUA_TBOOLEAN:
        if (lua_toboolean(L, -1))
            reply_integer(out, 1);
        else
            reply_null(out, resp);
        break;
    case LUA_TTABLE: {
        luaL_checkstack(L, STACK_NEEDED, "reached lua stack limit");
        lua_pushliteral(L, "err");
        lua_rawget(L, -2);
        if (lua_type(L, -1) == LUA_TSTRING) {
            reply_error(out, lua_tostring(L, -1));
            lua_pop(L, 1);
            break;
        }
        lua_pop(L, 1);
        lua_pushliteral(L, "ok");
        lua_rawget(L, -2);
        if (lua_type(L, -1) == LUA_TSTRING) {
            reply_status(out, lua_tostring(L, -1));
            lua_pop(L, 1);
            break;
        }
        lua_pop(L, 1);
        int n = 0;
        for (;; n++) {
            lua_rawgeti(L, -1, n + 1);
            bool end = lua_isnil(L, -1);
            lua_pop(L, 1);
            if (end)
                break;
        }
        reply_array(out, n);
        for (int i = 1; i <= n; i++) {
            lua_rawgeti(L, -1, i);
            script_write_value(L, out, resp);
        }
        break;
    }
    default:
        reply_null(out, resp);
    }
    lua_pop(L, 1);
}
