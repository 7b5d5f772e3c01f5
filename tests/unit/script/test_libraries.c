// What scripts have, without an engine: the sandbox, the libraries in it, and values between RESP
// and Lua. Programs of the folder `hostile` try to get out, to stay, or to take everything; after
// each the sandbox must be as it was.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/script/fiber.h"
#include "dataplane/script/sandbox.h"
#include "dataplane/script/script.h"
#include "dataplane/script/values.h"

#define MEMORY_MAX ((size_t)64 << 20)
#define INSTRUCTIONS_MAX 20000000
#define LOOK 1000

static const char *hostile_folder;

// --- a state ------------------------------------------------------------------------------------

struct world {
    lua_State *L;
    size_t memory;
    uint64_t instructions;
    bool killed;
};

static void *allocate(void *world, void *old, size_t old_size, size_t size)
{
    struct world *w = world;
    size_t before = old ? old_size : 0;
    if (!size) {
        free(old);
        w->memory -= before;
        return NULL;
    }
    if (size > before && w->memory + (size - before) > MEMORY_MAX)
        return NULL;
    void *new = realloc(old, size);
    if (new)
        w->memory += size - before;
    return new;
}

static struct world *world_of(lua_State *L)
{
    void *world;
    lua_getallocf(L, &world);
    return world;
}

// As the engine's: what has run for too long ends, whatever it catches.
static void look(lua_State *L, lua_Debug *ar)
{
    struct world *w = world_of(L);
    (void)ar;
    w->instructions += LOOK;
    if (w->instructions <= INSTRUCTIONS_MAX)
        return;
    w->killed = true;
    lua_sethook(L, look, LUA_MASKLINE | LUA_MASKCOUNT, 1);
    luaL_error(L, "ran for too long");
}

static int no_call(lua_State *L)
{
    return luaL_error(L, "there is no server");
}

static int open_all(lua_State *L)
{
    static const luaL_Reg functions[] = {{"call", no_call}, {"log", no_call}, {NULL, NULL}};
    script_libraries_open(L);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushinteger(L, 3);
    lua_setfield(L, -2, "LOG_WARNING");
    lua_setglobal(L, "redis");
    script_sandbox_close(L);
    return 0;
}

static void begin(struct world *w)
{
    *w = (struct world){0};
    w->L = lua_newstate(allocate, w);
    assert_non_null(w->L);
    assert_int_equal(lua_cpcall(w->L, open_all, NULL), 0);
    lua_sethook(w->L, look, LUA_MASKCOUNT, LOOK);
}

static void end(struct world *w)
{
    lua_close(w->L);
    assert_int_equal(w->memory, 0);
}

// Runs a program; what it returns, or the error, is on the stack.
static bool run(struct world *w, const char *program)
{
    lua_settop(w->L, 0);
    return !luaL_loadbuffer(w->L, program, strlen(program), "@user_script") &&
           !lua_pcall(w->L, 0, 1, 0);
}

static void holds(struct world *w, const char *expression)
{
    char program[1024];
    snprintf(program, sizeof(program), "return %s", expression);
    if (!run(w, program) || !lua_toboolean(w->L, -1))
        fail_msg("%s: %s", expression, lua_isstring(w->L, -1) ? lua_tostring(w->L, -1) : "no");
}

static void fails(struct world *w, const char *program, const char *error)
{
    if (run(w, program) || !lua_isstring(w->L, -1) || strcmp(lua_tostring(w->L, -1), error) != 0)
        fail_msg("%s: %s", program, lua_isstring(w->L, -1) ? lua_tostring(w->L, -1) : "no error");
}

// The sandbox is as it was made.
static void check_whole(struct world *w)
{
    holds(w, "('x'):rep(2) == 'xx' and string.format('%d', 3) == '3' and #'abc' == 3");
    holds(w, "getmetatable('').__index == string and getmetatable(string) == nil");
    holds(w, "rawget(_G, 'string') == string and _G._G == _G and rawget(_G, 'leak') == nil");
    holds(w, "type(redis.call) == 'function' and redis.LOG_WARNING == 3 and redis.leak == nil");
    holds(w, "string.leak == nil and table.leak == nil and cjson.leak == nil and redis[1] == nil");
    holds(w, "cjson.encode({1}) == '[1]' and cjson.decode('[7]')[1] == 7");
    holds(w, "cmsgpack.unpack(cmsgpack.pack('x')) == 'x' and struct.pack('>H', 258) == '\\1\\2'");
    holds(w, "bit.band(7, 3) == 3 and math.floor(1.5) == 1 and select('#', unpack({1, 2})) == 2");
    fails(w, "leak = 1", "user_script:1: Attempt to modify a readonly table");
    fails(w, "return leak",
          "user_script:1: Script attempted to access nonexistent global variable 'leak'");
}

// --- the sandbox --------------------------------------------------------------------------------

static void test_sandbox(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    check_whole(&w);
    fails(&w, "string.leak = 1", "user_script:1: Attempt to modify a readonly table");
    fails(&w, "string.format = 1", "user_script:1: Attempt to modify a readonly table");
    fails(&w, "rawset(string, 'leak', 1)", "Attempt to modify a readonly table");
    fails(&w, "rawset(_G, 'leak', 1)", "Attempt to modify a readonly table");
    fails(&w, "setmetatable(_G, {})", "Attempt to modify a readonly table");
    fails(&w, "table.insert(redis, 1)", "Attempt to modify a readonly table");
    fails(&w, "table.insert(redis, 1, 1)", "Attempt to modify a readonly table");
    fails(&w, "getmetatable('').__index = 1", "user_script:1: Attempt to modify a readonly table");
    fails(&w, "getmetatable(_G).__index = 1", "user_script:1: Attempt to modify a readonly table");
    for (const char *const *name =
             (const char *const[]){"io", "os", "debug", "package", "require", "module", "dofile",
                                   "loadfile", "print", "newproxy", "getfenv", "setfenv", NULL};
         *name; name++) {
        char program[64], error[128];
        snprintf(program, sizeof(program), "return %s", *name);
        snprintf(error, sizeof(error),
                 "user_script:1: Script attempted to access nonexistent global variable '%s'",
                 *name);
        fails(&w, program, error);
    }
    end(&w);
}

// What is behind a stand-in is seen as if it were a table like others.
static void test_looking(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    holds(&w,
          "(function() local n = 0 for k, v in pairs(string) do n = n + 1 assert(string[k] == v) "
          "end return n end)() == 15");
    holds(&w, "(function() local n = 0 for k in next, bit do n = n + 1 end return n end)() == 12");
    holds(&w,
          "(function() local n = 0 table.foreach(struct, function() n = n + 1 end) return n end)() "
          "== 3");
    holds(&w, "rawget(redis, 'LOG_WARNING') == 3 and #redis == 0 and table.maxn(redis) == 0");
    holds(&w, "next(getmetatable(_G)) == '__index' and next(getmetatable('')) == '__index'");
    holds(&w, "pcall(cjson.encode, redis) == false");
    holds(&w, "cmsgpack.unpack(cmsgpack.pack(redis)).LOG_WARNING == 3");
    end(&w);
}

// Globals that the engine sets are there, and the script's to fill but not to replace.
static void test_globals(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    lua_newtable(w.L);
    script_set_global(w.L, "KEYS");
    holds(&w, "#KEYS == 0 and rawget(_G, 'KEYS') == KEYS");
    holds(&w, "(function() KEYS[1] = 'x' return KEYS[1] end)() == 'x'");
    fails(&w, "KEYS = {}", "user_script:1: Attempt to modify a readonly table");
    holds(&w, "loadstring('return KEYS[1]')() == 'x'");
    holds(&w, "select(2, pcall(loadstring, 'leak = 1')) and not pcall(loadstring('leak = 1'))");
    end(&w);
}

static void test_compiling(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    holds(&w, "loadstring('return 1 + 1')() == 2 and loadstring('x y') == nil");
    holds(&w, "select(2, loadstring('x y', '=z')) == \"z:1: '=' expected near 'y'\"");
    holds(&w, "select(2, loadstring(string.dump(function() end), '=z')) == "
              "\"z:1: unexpected symbol near 'char(27)'\"");
    holds(&w, "(function() local p = {'return', ' ', '7'} return load(function() return "
              "table.remove(p, 1) end)() end)() == 7");
    holds(&w, "(function() local d = string.dump(function() return 1 end) local n = 0 return "
              "load(function() n = n + 1 return d:sub(n, n) end) == nil end)()");
    holds(&w, "load(function() error('x') end) == nil and load(function() return {} end) == nil");
    fails(&w, "load('x')",
          "user_script:1: bad argument #1 to 'load' (function expected, got string)");
    end(&w);
}

// Libraries that would take what they are not given.
static void test_bounds(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    fails(&w, "string.rep('x', 1e9)", "not enough memory");
    fails(&w, "string.rep(string.rep('x', 1e6), 1e9)", "user_script:1: resulting string too large");
    holds(&w, "string.rep('', 2^31 - 1) == '' and string.rep('x', -1) == ''");
    fails(&w, "unpack({}, -2147483648, 2147483647)", "user_script:1: too many results to unpack");
    fails(&w, "unpack({}, 1, 1e8)", "user_script:1: too many results to unpack");
    holds(&w, "bit.tohex(1, -2147483648) == '00000001' and bit.tohex(255, -2) == 'FF'");
    fails(&w, "string.find('x', string.rep('x?', 20000))", "user_script:1: pattern too complex");
    holds(&w, "string.find(string.rep('x', 9000), string.rep('x?', 9000)) == 1");
    holds(&w, "string.find('x', string.rep('?', 20000), 1, true) == nil");
    fails(&w, "cjson.encode(string.rep('x', 12e6))", "user_script:1: not enough memory");
    fails(&w, "cjson.decode(string.rep('[', 5e5))", "user_script:1: not enough memory");
    fails(&w,
          "local s = string.rep('x', 1e6) local t = {} for i = 1, 100 do t[i] = s end "
          "cjson.encode(t)",
          "user_script:1: value is too large to encode");
    fails(&w, "local t = {} for i = 1, 60 do t = {t, t} end cjson.encode(t)",
          "user_script:1: value is too large to encode");
    fails(&w, "cjson.encode_max_depth(1e6) local t = {} t[1] = t cjson.encode(t)",
          "user_script:1: Cannot serialise, excessive nesting (2601)");
    holds(&w, "cjson.encode_max_depth(1000) == 1000 and cjson.encode_keep_buffer(false) == false");
    fails(&w, "cmsgpack.unpack(string.rep('\\145', 1e6))",
          "user_script:1: stack overflow (in function mp_decode_to_lua_array)");
    holds(&w, "select(2, pcall(cmsgpack.unpack, '\\223\\255\\255\\255\\255')) == 'Missing bytes in "
              "input.'");
    holds(&w, "collectgarbage('stop') == 0 and collectgarbage('setpause', 1) == 200");
    check_whole(&w);
    end(&w);
}

// --- values -------------------------------------------------------------------------------------

static int push(lua_State *L)
{
    const struct arg *reply = lua_touserdata(L, 1);
    size_t len = script_push_reply(L, reply->ptr, reply->len);
    assert_true(len <= reply->len);
    return 1;
}

static bool push_reply(struct world *w, const char *bytes, size_t len)
{
    struct arg reply = {.ptr = (const uint8_t *)bytes, .len = len};
    lua_settop(w->L, 0);
    lua_pushcfunction(w->L, push);
    lua_pushlightuserdata(w->L, &reply);
    return !lua_pcall(w->L, 1, 1, 0);
}

static void reads(struct world *w, const char *reply, const char *condition)
{
    char program[512];
    if (!push_reply(w, reply, strlen(reply)))
        fail_msg("%s: %s", reply, lua_tostring(w->L, -1));
    script_set_global(w->L, "KEYS");
    snprintf(program, sizeof(program), "return (function(v) return %s end)(rawget(_G, 'KEYS'))",
             condition);
    if (!run(w, program) || !lua_toboolean(w->L, -1))
        fail_msg("%s: %s", reply, lua_isstring(w->L, -1) ? lua_tostring(w->L, -1) : condition);
}

static void test_replies(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    reads(&w, ":-5\r\n", "v == -5");
    reads(&w, "$3\r\na\r\n\r\n", "v == 'a\\r\\n'");
    reads(&w, "$-1\r\n", "v == false");
    reads(&w, "*-1\r\n", "v == false");
    reads(&w, "+OK\r\n", "v.ok == 'OK'");
    reads(&w, "-ERR x y\r\n", "v.err == 'ERR x y' and v.ignore_error_stats_update");
    reads(&w, "*2\r\n*1\r\n:1\r\n$0\r\n\r\n", "v[1][1] == 1 and v[2] == '' and #v == 2");
    reads(&w, "_\r\n", "v == nil");
    reads(&w, "#t\r\n", "v == true");
    reads(&w, "#f\r\n", "v == false");
    reads(&w, ",1.5\r\n", "v.double == 1.5");
    reads(&w, ",-inf\r\n", "v.double == -1/0");
    reads(&w, "(123\r\n", "v.big_number == '123'");
    reads(&w, "=6\r\ntxt:ab\r\n",
          "v.verbatim_string.string == 'ab' and v.verbatim_string.format == 'txt'");
    reads(&w, "%2\r\n+a\r\n:1\r\n$1\r\nb\r\n_\r\n", "v.map.b == nil and next(v.map).ok == 'a'");
    reads(&w, "%1\r\n_\r\n:1\r\n", "next(v.map) == nil");
    reads(&w, "~2\r\n$1\r\na\r\n,nan\r\n", "v.set.a == true");
    // What no server writes.
    static const char *const bad[] = {
        "",
        "x\r\n",
        ":1",
        ":x\r\n",
        "$5\r\nab\r\n",
        "$9223372036854775807\r\n",
        "*2\r\n:1\r\n",
        "=2\r\nab\r\n",
        "%1\r\n:1\r\n",
        "$-5",
        ":\r",
        "*9223372036854775807\r\n",
        "$1\r\nabc",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(push_reply(&w, bad[i], strlen(bad[i])));
    char deep[4 * 2000];
    for (size_t i = 0; i < sizeof(deep); i += 4)
        memcpy(deep + i, "*1\r\n", 4);
    assert_false(push_reply(&w, deep, sizeof(deep)));
    end(&w);
}

struct written {
    struct outbuf out;
    int resp, script_resp;
};

static int write_out(lua_State *L)
{
    struct written *w = lua_touserdata(L, 1);
    int before = lua_gettop(L);
    values_write(L, &w->out.out, w->resp, w->script_resp);
    assert_int_equal(lua_gettop(L), before - 1);
    return 0;
}

// What the value of an expression is as a reply; the caller releases it.
static struct block *reply_of(struct world *w, const char *expression, int resp, int script_resp)
{
    char program[512];
    struct written written = {.resp = resp, .script_resp = script_resp};
    snprintf(program, sizeof(program), "return %s", expression);
    outbuf_init(&written.out);
    assert_true(run(w, program));
    lua_pushcfunction(w->L, write_out);
    lua_insert(w->L, 1);
    lua_pushlightuserdata(w->L, &written);
    lua_insert(w->L, 2);
    assert_int_equal(lua_pcall(w->L, 2, 0, 0), 0);
    struct block *block = outbuf_block(&written.out);
    outbuf_clear(&written.out);
    assert_non_null(block);
    return block;
}

static void writes(struct world *w, const char *expression, int resp, int script_resp,
                   const char *reply)
{
    struct block *block = reply_of(w, expression, resp, script_resp);
    if (block->len != strlen(reply) || memcmp(block->data, reply, block->len) != 0)
        fail_msg("%s: %.*s", expression, (int)block->len, (const char *)block->data);
    block_release(block);
}

static void test_values(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    writes(&w, "'a\\r\\nb'", 2, 2, "$4\r\na\r\nb\r\n");
    writes(&w, "3.99", 2, 2, ":3\r\n");
    writes(&w, "-3.99", 3, 2, ":-3\r\n");
    writes(&w, "1e300", 2, 2, ":-9223372036854775808\r\n");
    writes(&w, "0/0", 2, 2, ":-9223372036854775808\r\n");
    writes(&w, "true", 3, 2, ":1\r\n");
    writes(&w, "false", 2, 2, "$-1\r\n");
    writes(&w, "false", 3, 2, "_\r\n");
    writes(&w, "false", 3, 3, "#f\r\n");
    writes(&w, "false", 2, 3, ":0\r\n");
    writes(&w, "nil", 3, 3, "_\r\n");
    writes(&w, "string.len", 2, 2, "$-1\r\n");
    writes(&w, "string", 2, 2, "*0\r\n");
    writes(&w, "{1, {2, 'x'}, nil, 4}", 2, 2, "*2\r\n:1\r\n*2\r\n:2\r\n$1\r\nx\r\n");
    writes(&w, "{err = 'My a\\nb\\r\\n', ok = 'x', 1}", 2, 2, "-My a b\r\n");
    writes(&w, "{ok = 'a\\0b'}", 2, 2, "+a\r\n");
    writes(&w, "{ok = 1, 2}", 2, 2, "*1\r\n:2\r\n");
    writes(&w, "{double = 0.5}", 2, 2, "$3\r\n0.5\r\n");
    writes(&w, "{double = -1/0}", 3, 2, ",-inf\r\n");
    writes(&w, "{map = {a = {map = {}}}}", 3, 2, "%1\r\n$1\r\na\r\n%0\r\n");
    writes(&w, "{map = {a = true}}", 2, 2, "*2\r\n$1\r\na\r\n:1\r\n");
    writes(&w, "{set = {a = true}}", 3, 2, "~1\r\n$1\r\na\r\n");
    writes(&w, "{big_number = '1\\n2'}", 3, 2, "(1 2\r\n");
    writes(&w, "{big_number = '1\\n2'}", 2, 2, "$3\r\n1 2\r\n");
    writes(&w, "{verbatim_string = {string = 'abc', format = 'x'}}", 3, 2, "=7\r\nx  :abc\r\n");
    writes(&w, "{verbatim_string = {string = 'abc', format = 'text'}}", 3, 2, "=7\r\ntex:abc\r\n");
    writes(&w, "{verbatim_string = {string = 'abc'}, 1}", 3, 2, "*1\r\n:1\r\n");
    writes(&w, "setmetatable({}, {__index = {err = 'x'}})", 2, 2, "*0\r\n");
    end(&w);
}

// Tables without end.
static void test_endless(void **state)
{
    static const char *const too_large = "-ERR the reply of the script is too large\r\n";
    struct world w;
    (void)state;
    begin(&w);
    struct block *block = reply_of(&w, "(function() local t = {} t[1] = t return t end)()", 2, 2);
    const char *last = "*1\r\n-ERR reached lua stack limit\r\n";
    assert_true(block->len > 2000 && block->len < 100000);
    assert_memory_equal(block->data + block->len - strlen(last), last, strlen(last));
    block_release(block);
    writes(&w, "(function() local t = {} t[1], t[2] = t, t return t end)()", 2, 2, too_large);
    writes(&w, "(function() local t = {} t.map = {t, t} return t end)()", 3, 2, too_large);
    writes(&w,
           "(function() local s, t = ('x'):rep(1e6), {} for i = 1, 2000 do t[i] = s end return t "
           "end)()",
           2, 2, too_large);
    check_whole(&w);
    end(&w);
}

// --- programs that mean harm --------------------------------------------------------------------

struct attack {
    struct world *world;
    const char *path;
    bool done; // it got to its end
};

static void play(void *argument)
{
    struct attack *a = argument;
    lua_State *L = a->world->L;
    a->done = !luaL_loadfile(L, a->path) && !lua_pcall(L, 0, 1, 0) && lua_isstring(L, -1) &&
              strcmp(lua_tostring(L, -1), "done") == 0;
    if (!a->done)
        printf("    %s\n", lua_isstring(L, -1) ? lua_tostring(L, -1) : "an error");
    lua_settop(L, 0);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_program(const struct dirent *entry)
{
    return strstr(entry->d_name, ".lua") != NULL;
}

static void test_hostile(void **state)
{
    struct dirent **entries;
    struct fiber fiber;
    (void)state;
    int n = scandir(hostile_folder, &entries, is_program, by_name);
    assert_true(n > 5);
    assert_true(fiber_create(&fiber, SCRIPT_STACK_SIZE));
    for (int i = 0; i < n; i++) {
        char path[4096];
        struct world w;
        struct attack attack = {.world = &w, .path = path};
        snprintf(path, sizeof(path), "%s/%s", hostile_folder, entries[i]->d_name);
        printf("  %s\n", entries[i]->d_name);
        begin(&w);
        assert_true(fiber_start(&fiber, play, &attack));
        assert_int_equal(attack.done, !strstr(path, "endless"));
        w.instructions = 0;
        lua_sethook(w.L, look, LUA_MASKCOUNT, LOOK);
        lua_gc(w.L, LUA_GCCOLLECT, 0);
        check_whole(&w);
        assert_true(w.memory < MEMORY_MAX / 16);
        end(&w);
        free(entries[i]);
    }
    fiber_destroy(&fiber);
    free(entries);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sandbox), cmocka_unit_test(test_looking),
        cmocka_unit_test(test_globals), cmocka_unit_test(test_compiling),
        cmocka_unit_test(test_bounds),  cmocka_unit_test(test_replies),
        cmocka_unit_test(test_values),  cmocka_unit_test(test_endless),
        cmocka_unit_test(test_hostile),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER (of hostile programs)\n", argv[0]);
        return 2;
    }
    hostile_folder = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
