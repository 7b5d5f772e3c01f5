// Lua 5.1 for scripts. Each core has one engine: a Lua state of its own, the functions that it has
// compiled, and a fiber on which one script at a time runs. The room knows commands and the store;
// what only the core can do (run a command, tell whether a key is at hand, go on with the loop
// while a script is under way) comes by `struct script_host`.
//
// A script is entered by script_start, on the core, and leaves by returning: at its end, or because
// it has run for long enough for one turn, or waits for a command that runs elsewhere. Then
// script_resume goes on with it, in a later turn. Everything below `redis.call` runs on the fiber;
// nothing of it may keep pointers into the arguments of EVAL beyond a pause.
//
// Memory of Lua is counted and bounded by `lua-memory-limit`; an allocation beyond it fails, which
// Lua raises as an error. So whatever may allocate runs under lua_pcall or lua_cpcall: outside, it
// would end the process.
#pragma once

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/commands/command.h"

// Stack of a fiber, mapped and not touched until it is needed: Lua's C functions may nest 200 deep,
// and some hold a buffer of 8 KiB each.
#define SCRIPT_STACK_SIZE ((size_t)16 << 20)
#define SCRIPT_LOOK 1000 // instructions of Lua between two looks at the clock
#define SCRIPT_SHA_LEN 40
#define SCRIPT_NAME_MAX 64 // of what appears in error texts; a longer name of a function is cut

struct script_engine;
struct script_run;

// What a shebang or redis.register_function may say, bits as tested by the engine.
enum script_flags {
    SCRIPT_NO_WRITES = 1u << 0,
    SCRIPT_ALLOW_OOM = 1u << 1,
    SCRIPT_ALLOW_STALE = 1u << 2,
    SCRIPT_NO_CLUSTER = 1u << 3,
    SCRIPT_ALLOW_CROSS_SLOT = 1u << 4,
    SCRIPT_COMPAT = 1u << 5, // EVAL without a shebang: rules of old
};
// The bit of a flag by its name ("no-writes"), 0: unknown.
uint32_t script_flag_named(const char *name, size_t len);

// What is known of the keys that it touches: decides which slots it gets where that matters.
enum script_reach {
    SCRIPT_REACH_UNKNOWN, // it has not run yet
    SCRIPT_REACH_KEYS,    // those that were declared
    SCRIPT_REACH_ALL,     // others, too
};

// A compiled function of one core: the body of an EVAL, or a function of a library. Counted, since
// it may be dropped (SCRIPT FLUSH) while it runs.
struct script_code {
    unsigned refs;
    int function;               // reference in the registry of the engine's state
    uint32_t flags;             // enum script_flags
    bool eval;                  // else it is called with (keys, args), as FCALL does
    uint8_t reach;              // enum script_reach
    char name[SCRIPT_NAME_MAX]; // SHA1 of the text, or the function's name
};
// Pops the function on top of the stack. Raises Lua's errors. NULL: memory is short.
struct script_code *script_code_new(lua_State *L, const char *name, size_t len, uint32_t flags,
                                    bool eval);
void script_code_release(struct script_engine *e, struct script_code *code);

// What redis.call of a command came to; the reply is in the output given unless it says so.
enum script_called {
    SCRIPT_CALLED,  // also when the reply is an error
    SCRIPT_REFUSED, // the text is in `error`, as redis.call raises it, without "-"
    SCRIPT_AGAIN,   // the script begins again from its start, with all keys at hand: unwinds
};

// What the room above does for a script.
struct script_host {
    // Runs a command for the script. `r` is the request of the engine, complete but for what only
    // the core knows. May pause the script (script_pause) while the command runs elsewhere.
    enum script_called (*call)(struct script_run *run, struct request *r, char *error, size_t size);
    // Every SCRIPT_LOOK instructions: may pause the script.
    void (*look)(struct script_run *run);
    // redis.log; `level` from redis.LOG_DEBUG, 0, to redis.LOG_WARNING, 3.
    void (*log)(int level, const char *text, size_t len);
    // Whether the caller's user may run it; NULL, or the text that redis.call raises. `asks`: by
    // redis.acl_check_cmd, so that nothing is denied.
    const char *(*denied)(struct script_run *run, struct request *r, bool asks);
};

// --- engine.c: the engine of a core ------------------------------------------------------------

// `memory_limit` in bytes, as script_limit; `secret` is random. NULL: memory is short.
struct script_engine *script_engine_create(const struct script_host *host, struct core *core,
                                           uint64_t memory_limit, const uint64_t secret[4]);
void script_engine_destroy(struct script_engine *e);
void script_limit(struct script_engine *e, uint64_t bytes); // 0: none
// A script has left so much garbage that the next may find no memory. script_clean takes some of it
// away, and is true when that is enough; nothing may run meanwhile.
bool script_is_littered(const struct script_engine *e);
bool script_clean(struct script_engine *e);
uint64_t script_memory(const struct script_engine *e); // bytes that Lua holds
struct script_engine *script_engine_of(lua_State *L);
struct script_run *script_running(lua_State *L); // NULL: none, a library is being loaded

// --- the cache of EVAL --------------------------------------------------------------------------

// The text of every script that EVAL or SCRIPT LOAD has seen since SCRIPT FLUSH, by SHA1, for all
// cores: each compiles for itself when it first runs one. Locked; engines ask where they do not
// know a script themselves.
struct script_texts;
struct script_texts *script_texts_create(void);
void script_texts_destroy(struct script_texts *t);
void script_texts_flush(struct script_texts *t);
bool script_texts_has(struct script_texts *t, const struct arg *sha);
void script_texts_figures(struct script_texts *t, uint64_t *scripts, uint64_t *bytes);

// Finds or compiles. NULL: the whole error reply is in `error` ("ERR Error compiling script …"),
// or, by SHA1, "" when there is no such script. The caller holds no reference.
struct script_code *script_by_text(struct script_engine *e, struct script_texts *t,
                                   const struct arg *text, char *error, size_t size);
struct script_code *script_by_sha(struct script_engine *e, struct script_texts *t,
                                  const struct arg *sha, char *error, size_t size);
// What is known of the script without compiling it; NULL: it is not in this engine's cache.
struct script_code *script_known_text(struct script_engine *e, const struct arg *text);
struct script_code *script_known_sha(struct script_engine *e, const struct arg *sha);
// Drops the functions of this core (after script_texts_flush) and collects what they held.
void script_forget(struct script_engine *e);
// The 40 digits of the SHA1.
void script_sha1(const void *data, size_t len, char hex[SCRIPT_SHA_LEN + 1]);

// --- running ------------------------------------------------------------------------------------

// The script that runs, or is paused. Of the core that runs it.
struct script_run {
    struct script_engine *engine;
    struct script_code *code;
    struct request *request; // of EVAL, in this turn
    struct session session;  // what its commands see: SELECT and redis.setresp change this copy
    bool read_only;          // may not write: EVAL_RO, or its flags say so
    bool allow_oom;
    bool short_of_memory; // memory was beyond maxmemory when it began
    bool wrote;           // a command that writes has run
    bool acted;           // something has changed, or others have seen it: it cannot begin again
    bool killed;
    bool again;          // unwinds, to begin again with all keys at hand
    bool paused;         // it has been, at least once: it is no longer alone in its turn
    bool untold;         // redis.set_repl: nobody is told what its commands do
    uint64_t started_us; // monotonic
    int first_key, n_keys;
};
struct script_start {
    struct script_code *code;
    struct request *request; // of EVAL or FCALL; where the reply goes
    int first_key, n_keys;   // arguments; what stands behind the keys are the script's arguments
    bool read_only;          // EVAL_RO, FCALL_RO
    bool short_of_memory;    // memory is beyond maxmemory
};
enum script_ended { SCRIPT_DONE, SCRIPT_PAUSED, SCRIPT_START_AGAIN };
// Nothing may be under way (script_under_way). SCRIPT_DONE: the reply was written.
enum script_ended script_start(struct script_engine *e, const struct script_start *start);
// Goes on; `r` is the request of this turn, with the output where the reply goes.
enum script_ended script_resume(struct script_engine *e, struct request *r);
struct script_run *script_under_way(const struct script_engine *e); // NULL: none
// On the fiber: back to the core until script_resume.
void script_pause(struct script_run *run);
// It ends with an error as soon as it goes on, whatever it catches.
void script_kill(struct script_run *run);
// It ends at the end of the server: its stack is given up as it is.
void script_abandon(struct script_engine *e);

// --- what scripts see ---------------------------------------------------------------------------

// redis.c: the table `redis`; on top of the stack when it returns (also set as a global).
void script_redis_open(lua_State *L);
// sandbox.c: opens what a script may use (base, table, string, math, cjson, cmsgpack, struct, bit)
// and takes away what it may not; before script_redis_open. script_sandbox_close then protects the
// globals: nothing may be added or changed any more.
void script_libraries_open(lua_State *L);
void script_sandbox_close(lua_State *L);

// values.c. Pushes the Lua value of one complete RESP reply (2 or 3) that the server itself wrote;
// returns its length. Errors become a table {err = "CODE text", ignore_error_stats_update = true}.
// Raises Lua's errors.
size_t script_push_reply(lua_State *L, const uint8_t *reply, size_t len);
// Writes the value on top of the stack as the reply of the script, in protocol `resp` of the
// client, and pops it. Under pcall.
void script_write_value(lua_State *L, struct out *out, int resp);
// redis.c: pushes {err = "CODE text"} for a text as the engine's own errors give it: "-CODE text",
// or "text", which gets "ERR ".
void script_push_error(lua_State *L, const char *text, size_t len);
