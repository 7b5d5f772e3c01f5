// Bytes that nobody sane gives a script. The first byte chooses what takes them: struct.unpack,
// cmsgpack.unpack, cjson.decode, the reply of a command, or Lua itself. What comes out is written
// as a reply, and packed again by every library that can. Nothing may crash, hang, leave memory
// or change what scripts share.
//
// Built with -Dfuzz=true it is a libFuzzer target; otherwise `fuzz_lua ROUNDS [SEED]` makes its own
// inputs.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "common/outbuf.h"
#include "dataplane/script/fiber.h"
#include "dataplane/script/sandbox.h"
#include "dataplane/script/script.h"
#include "dataplane/script/values.h"

#define MEMORY_MAX ((size_t)32 << 20)
#define INSTRUCTIONS_MAX 200000
#define LOOK 1000
#define INPUTS_OF_A_STATE 1000

static struct {
    lua_State *L;
    size_t memory;
    uint64_t instructions;
    unsigned inputs;
    struct fiber fiber;
    const uint8_t *data;
    size_t size;
} world;

static void *allocate(void *unused, void *old, size_t old_size, size_t size)
{
    size_t before = old ? old_size : 0;
    (void)unused;
    if (!size) {
        free(old);
        world.memory -= before;
        return NULL;
    }
    if (size > before && world.memory + (size - before) > MEMORY_MAX)
        return NULL;
    void *new = realloc(old, size);
    if (new)
        world.memory += size - before;
    return new;
}

static void look(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    world.instructions += LOOK;
    if (world.instructions <= INSTRUCTIONS_MAX)
        return;
    lua_sethook(L, look, LUA_MASKLINE | LUA_MASKCOUNT, 1);
    luaL_error(L, "ran for too long");
}

static const char *const programs[] = {
    // What unpacks, by the rest of the input: a format up to the first zero byte, and data.
    "local format, data = string.match(KEYS, '^(%Z*)%z?(.*)$')\n"
    "pcall(struct.size, format)\n"
    "local r = {pcall(struct.unpack, format, data)}\n"
    "if r[1] then pcall(struct.pack, format, unpack(r, 2, #r - 1)) end\n"
    "return r",
    "local r = {pcall(cmsgpack.unpack, KEYS)}\n"
    "pcall(cmsgpack.unpack_limit, KEYS, 2, 1)\n"
    "pcall(cmsgpack.unpack_one, KEYS, 1)\n"
    "if r[1] then assert(pcall(cmsgpack.pack, r)) end\n"
    "return r",
    "local ok, v = pcall(cjson.decode, KEYS)\n"
    "if ok then pcall(cjson.encode, v) pcall(cmsgpack.pack, v) end\n"
    "return v",
    // The reply of a command.
    "pcall(cjson.encode, KEYS) pcall(cmsgpack.pack, KEYS) return KEYS",
    // Lua.
    "local f, e = loadstring(KEYS, '=fuzz') if f then return select(2, pcall(f)) end return e",
    "local ok, e = pcall(string.gsub, string.rep('ab1 .', 4), KEYS, '%1') return ok and e",
};
enum { PROGRAMS = sizeof(programs) / sizeof(programs[0]), OF_REPLY = 3 };

static int open_all(lua_State *L)
{
    script_libraries_open(L);
    lua_newtable(L);
    lua_setglobal(L, "redis");
    script_sandbox_close(L);
    return 0;
}

static int write_out(lua_State *L)
{
    for (int resp = 2; resp <= 3; resp++) {
        struct outbuf out;
        outbuf_init(&out);
        lua_pushvalue(L, 1);
        values_write(L, &out.out, resp, 5 - resp);
        outbuf_clear(&out);
    }
    return 0;
}

static int play(lua_State *L)
{
    unsigned which = world.data[0] % PROGRAMS;
    if (which == OF_REPLY)
        script_push_reply(L, world.data + 1, world.size - 1);
    else
        lua_pushlstring(L, (const char *)world.data + 1, world.size - 1);
    script_set_global(L, "KEYS");
    if (luaL_loadstring(L, programs[which]))
        return lua_error(L);
    lua_call(L, 0, 1);
    lua_sethook(L, NULL, 0, 0);
    lua_pushcfunction(L, write_out);
    lua_insert(L, -2);
    lua_call(L, 1, 0);
    return 0;
}

static void run(void *unused)
{
    (void)unused;
    if (lua_cpcall(world.L, play, NULL))
        lua_settop(world.L, 0);
}

static void check_whole(void)
{
    lua_State *L = world.L;
    static const char check[] =
        "assert(string.format('%d', 3) == '3' and getmetatable('').__index == string)\n"
        "assert(rawget(_G, 'x') == nil and rawget(string, 'x') == nil and redis.x == nil)\n"
        "assert(not pcall(rawset, _G, 'x', 1) and _G._G == _G)";
    lua_sethook(L, NULL, 0, 0);
    if (luaL_loadstring(L, check) || lua_pcall(L, 0, 0, 0)) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
}

static void close_world(void)
{
    if (!world.L)
        return;
    lua_close(world.L);
    world.L = NULL;
    assert(world.memory == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (world.inputs++ % INPUTS_OF_A_STATE == 0) {
        close_world();
        world.L = lua_newstate(allocate, NULL);
        assert(world.L && !lua_cpcall(world.L, open_all, NULL));
    }
    world.data = data;
    world.size = size;
    world.instructions = 0;
    lua_sethook(world.L, look, LUA_MASKCOUNT, LOOK);
#ifdef FUZZ_LIBFUZZER // which knows one stack only
    run(NULL);
#else
    if (!world.fiber.map && !fiber_create(&world.fiber, SCRIPT_STACK_SIZE))
        abort();
    fiber_start(&world.fiber, run, NULL);
#endif
    check_whole();
    return 0;
}

#ifndef FUZZ_LIBFUZZER
// xorshift64* (Vigna 2016).
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

// Signs that mean something to what takes the input.
static const char *const signs[PROGRAMS] = {
    "bBhHlLTiIfdscx<>=!0123456789 ",
    "\x80\x81\x90\x91\x92\xa1\xc0\xc2\xc4\xca\xcb\xcc\xcf\xd0\xd3\xd9\xdb\xdc\xdd\xde\xdf\x01\x02",
    "[]{},:\"\\u0123456789tfnabersl.-+eE ",
    "+-:$*%~_#,(=>\r\n0123456789txt",
    "local x=1 'end' \"\\\n[[]]--(){}.:,;#~=<>+-*/%^functionreturnwhiledoif",
    "%abdpsw.*+-?[]^$()fbx0123456789",
};

int main(int argc, char **argv)
{
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (uint64_t i = 0; i < rounds; i++, seed++) {
        uint64_t state = seed * 0x9e3779b97f4a7c15u;
        uint8_t input[96];
        size_t size = 1 + next_random(&state) % (sizeof(input) - 1);
        input[0] = (uint8_t)(i % PROGRAMS);
        const char *known = signs[i % PROGRAMS];
        for (size_t k = 1; k < size; k++) {
            uint64_t drawn = next_random(&state) >> 20;
            input[k] =
                drawn % 8 ? (uint8_t)known[drawn / 8 % strlen(known)] : (uint8_t)(drawn >> 8);
        }
        if (argc > 3) {
            printf("seed %llu\n", (unsigned long long)seed);
            fflush(stdout);
        }
        LLVMFuzzerTestOneInput(input, size);
    }
    close_world();
    fiber_destroy(&world.fiber);
    printf("%llu inputs\n", (unsigned long long)rounds);
    return 0;
}
#endif
