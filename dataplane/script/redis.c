// The table `redis` that scripts see.
#include <math.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>

#include "dataplane/script/internal.h"

#define NUMBER_TEXT_MAX 64
// What redis.set_repl takes, as bits.
enum { REPL_NONE = 0, REPL_AOF = 1, REPL_REPLICA = 2, REPL_ALL = REPL_AOF | REPL_REPLICA };
#define ERROR_TEXT_MAX 1024
// Numbers up to which every integer is one of Lua's, and is written with all its digits.
#define INTEGER_MAX 1e15

void script_push_error(lua_State *L, const char *text, size_t len)
{
    const char *code = "ERR";
    size_t code_len = 3;
    if (len && *text == '-') {
        text++;
        len--;
        const char *space = memchr(text, ' ', len);
        if (space) {
            code = text;
            code_len = (size_t)(space - text);
            len -= code_len + 1;
            text = space + 1;
        }
    }
    while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    lua_createtable(L, 0, 1);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addlstring(&b, code, code_len);
    luaL_addchar(&b, ' ');
    luaL_addlstring(&b, text, len);
    luaL_pushresult(&b);
    lua_setfield(L, -2, "err");
}

static void push_error_text(lua_State *L, const char *text)
{
    script_push_error(L, text, strlen(text));
}

static int raise_text(lua_State *L, const char *text)
{
    push_error_text(L, text);
    return lua_error(L);
}

// --- redis.call and redis.pcall ------------------------------------------------------------------

// Numbers become their shortest exact text; the stack keeps it.
static void number_argument(lua_State *L, int i, struct arg *a)
{
    char text[NUMBER_TEXT_MAX];
    lua_Number n = lua_tonumber(L, i);
    int len = fabs(n) < INTEGER_MAX && n == (lua_Number)(int64_t)n && (n != 0 || !signbit(n))
                  ? (int)format_int64(text, (int64_t)n)
                  : snprintf(text, sizeof(text), "%.17g", n);
    lua_pushlstring(L, text, (size_t)len);
    lua_replace(L, i);
    a->ptr = (const uint8_t *)lua_tolstring(L, i, &a->len);
}

// The arguments of the call, where Lua has them. False: the error is pushed.
static bool take_arguments(lua_State *L, struct script_engine *e, int n)
{
    if (__builtin_expect(n == 0, 0)) {
        push_error_text(L, "Please specify at least one argument for this redis lib call");
        return false;
    }
    if (__builtin_expect((unsigned)n > e->args_room, 0)) {
        struct arg *args = mi_reallocn(e->args, (size_t)n, sizeof(*args));
        if (!args) {
            push_error_text(L, "-" ERR_OOM);
            return false;
        }
        e->args = args;
        e->args_room = (unsigned)n;
    }
    for (int i = 0; i < n; i++) {
        struct arg *a = &e->args[i];
        int type = lua_type(L, i + 1);
        a->block = NULL;
        if (__builtin_expect(type == LUA_TSTRING, 1)) {
            a->ptr = (const uint8_t *)lua_tolstring(L, i + 1, &a->len);
        } else if (type == LUA_TNUMBER) {
            number_argument(L, i + 1, a);
        } else {
            push_error_text(L, "Lua redis lib command arguments must be strings or integers");
            return false;
        }
    }
    return true;
}

// What the engine can refuse itself, in Redis's order. NULL: nothing.
static const char *refuse(const struct command *command, int argc)
{
    if (!command)
        return "Unknown Redis command called from script";
    if (command->arity > 0 ? argc != command->arity : argc < -command->arity)
        return "Wrong number of args calling Redis command from script";
    if (command->flags & CMD_NOSCRIPT)
        return "This Redis command is not allowed from script";
    return NULL;
}

static const char *refuse_write(const struct script_run *run, const struct command *command)
{
    if (run->read_only && command->flags & (CMD_WRITE | CMD_MAY_REPLICATE))
        return "Write commands are not allowed from read-only scripts.";
    if (run->short_of_memory && !run->allow_oom && !run->wrote && command->flags & CMD_DENYOOM)
        return "-" ERR_OOM;
    return NULL;
}

// Runs it. False: the error is pushed.
static bool run_command(lua_State *L, struct script_engine *e, int n)
{
    struct script_run *run = &e->run;
    char error[ERROR_TEXT_MAX];
    if (!take_arguments(L, e, n))
        return false;
    const struct command *command = commands_find_again(&e->memo, e->args, n);
    struct request *r = &e->call;
    r->command = command;
    r->argc = n;
    r->argv = e->args;
    const char *text = refuse(command, n);
    if (!text && __builtin_expect(run->session.user != NULL, 0))
        text = e->host->denied(run, r, false);
    if (!text)
        text = refuse_write(run, command);
    if (__builtin_expect(text != NULL, 0)) {
        push_error_text(L, text);
        return false;
    }
    r->replied_error = false;
    r->error_prefix[0] = '\0';
    reply_buffer_reset(&e->reply);
    enum script_called called = e->host->call(run, r, error, sizeof(error));
    if (__builtin_expect(called == SCRIPT_REFUSED, 0)) {
        push_error_text(L, error);
        return false;
    }
    if (__builtin_expect(called == SCRIPT_AGAIN, 0)) {
        run->again = true;
        run->killed = true; // whoever catches it meets it again
        lua_pushliteral(L, "the script begins again");
        return false;
    }
    if (__builtin_expect(e->reply.out.failed, 0)) {
        push_error_text(L, "-" ERR_OOM);
        return false;
    }
    script_push_reply(L, e->reply.data, (size_t)(e->reply.out.pos - e->reply.data));
    return *e->reply.data != '-';
}

static int call(lua_State *L)
{
    struct script_run *run = script_running(L);
    if (!run)
        return raise_text(L, "redis.call/pcall can only be called inside a script invocation");
    if (!run_command(L, run->engine, lua_gettop(L)))
        return lua_error(L);
    return 1;
}

static int pcall(lua_State *L)
{
    struct script_run *run = script_running(L);
    if (!run)
        return raise_text(L, "redis.call/pcall can only be called inside a script invocation");
    if (!run_command(L, run->engine, lua_gettop(L)) && run->again)
        return lua_error(L);
    return 1;
}

// --- the rest ------------------------------------------------------------------------------------

static int sha1hex(lua_State *L)
{
    if (lua_gettop(L) != 1)
        return raise_text(L, "wrong number of arguments");
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    char hex[SCRIPT_SHA_LEN + 1];
    script_sha1(text ? text : "", text ? len : 0, hex);
    lua_pushlstring(L, hex, SCRIPT_SHA_LEN);
    return 1;
}

static int status_reply(lua_State *L)
{
    if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING) {
        push_error_text(L, "wrong number or type of arguments");
        return 1;
    }
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "ok");
    return 1;
}

static int error_reply(lua_State *L)
{
    if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING) {
        push_error_text(L, "wrong number or type of arguments");
        return 1;
    }
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    if (*text != '-') // as if it had been "-TEXT": its first word is the code
        text = lua_pushfstring(L, "-%s", text), len++;
    script_push_error(L, text, strlen(text) < len ? strlen(text) : len);
    return 1;
}

static int set_repl(lua_State *L)
{
    if (lua_gettop(L) != 1)
        return raise_text(L, "redis.set_repl() requires two arguments.");
    int flags = (int)lua_tonumber(L, 1);
    if (flags & ~REPL_ALL)
        return raise_text(
            L, "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
    struct script_run *run = script_running(L);
    if (run) // one log serves files and replicas
        run->untold = flags == REPL_NONE;
    return 0;
}

static int replicate_commands(lua_State *L)
{
    lua_pushboolean(L, 1);
    return 1;
}

static int breakpoint(lua_State *L)
{
    lua_pushboolean(L, 0);
    return 1;
}

static int debug_print(lua_State *L)
{
    (void)L;
    return 0;
}

static int log_text(lua_State *L)
{
    int n = lua_gettop(L);
    if (n < 2)
        return raise_text(L, "redis.log() requires two arguments or more.");
    if (!lua_isnumber(L, 1))
        return raise_text(L, "First argument must be a number (log level).");
    int level = (int)lua_tonumber(L, 1);
    if (level < 0 || level > 3)
        return raise_text(L, "Invalid debug level.");
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 2; i <= n; i++) {
        size_t len;
        const char *text = lua_tolstring(L, i, &len);
        if (!text)
            continue;
        if (i > 2)
            luaL_addchar(&b, ' ');
        luaL_addlstring(&b, text, len);
    }
    luaL_pushresult(&b);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    script_engine_of(L)->host->log(level, text, len);
    return 0;
}

static int set_resp(lua_State *L)
{
    if (lua_gettop(L) != 1)
        return raise_text(L, "redis.setresp() requires one argument.");
    int resp = (int)lua_tonumber(L, 1);
    if (resp != 2 && resp != 3)
        return raise_text(L, "RESP version must be 2 or 3.");
    struct script_run *run = script_running(L);
    if (run)
        run->session.resp = (uint8_t)resp;
    return 0;
}

static int acl_check_cmd(lua_State *L)
{
    struct script_run *run = script_running(L);
    if (!run)
        return raise_text(L, "redis.acl_check_cmd can only be called inside a script invocation");
    struct script_engine *e = run->engine;
    int n = lua_gettop(L);
    if (n == 0)
        return raise_text(L, "Please specify at least one argument for this redis lib call");
    if (!take_arguments(L, e, n))
        return lua_error(L);
    struct request *r = &e->call;
    r->command = commands_find(e->args, n);
    r->argc = n;
    r->argv = e->args;
    if (!r->command)
        return raise_text(L, "Invalid command passed to redis.acl_check_cmd()");
    lua_pushboolean(L, !e->host->denied(run, r, true));
    return 1;
}

static const luaL_Reg functions[] = {
    {"call", call},
    {"pcall", pcall},
    {"log", log_text},
    {"sha1hex", sha1hex},
    {"error_reply", error_reply},
    {"status_reply", status_reply},
    {"set_repl", set_repl},
    {"replicate_commands", replicate_commands},
    {"breakpoint", breakpoint},
    {"debug", debug_print},
    {"setresp", set_resp},
    {"acl_check_cmd", acl_check_cmd},
    {NULL, NULL},
};

static const struct {
    const char *name;
    int value;
} numbers[] = {
    {"LOG_DEBUG", 0},
    {"LOG_VERBOSE", 1},
    {"LOG_NOTICE", 2},
    {"LOG_WARNING", 3},
    {"REPL_NONE", REPL_NONE},
    {"REPL_AOF", REPL_AOF},
    {"REPL_SLAVE", REPL_REPLICA},
    {"REPL_REPLICA", REPL_REPLICA},
    {"REPL_ALL", REPL_ALL},
    {"REDIS_VERSION_NUM", 0x0007000f},
};

void script_redis_open(lua_State *L)
{
    lua_newtable(L);
    for (const luaL_Reg *f = functions; f->name; f++) {
        lua_pushcfunction(L, f->func);
        lua_setfield(L, -2, f->name);
    }
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        lua_pushinteger(L, numbers[i].value);
        lua_setfield(L, -2, numbers[i].name);
    }
    lua_pushliteral(L, "7.0.15");
    lua_setfield(L, -2, "REDIS_VERSION");
    lua_pushvalue(L, -1);
    lua_setglobal(L, "redis");
}
