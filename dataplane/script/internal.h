// What the files of the engine share.
#pragma once

#include "common/block.h"
#include "common/out.h"
#include "dataplane/script/fiber.h"
#include "dataplane/script/script.h"
#include "dataplane/store/hash.h"

// One contiguous run of memory for the reply of a command, read in place when it is whole.
struct reply_buffer {
    struct out out; // must be first
    uint8_t *data;
    size_t cap;
};

// A script of EVAL that this core has compiled.
struct cached {
    struct cached *next_text, *next_sha; // in the buckets
    uint64_t hash;                       // of the text
    struct block *text;                  // shared with script_texts
    struct script_code *code;
};

struct engine_functions;
// KEYS or ARGV.
struct script_array {
    int table;    // reference
    int n;        // elements
    bool current; // it is the global of its name
};

struct script_engine {
    const struct script_host *host;
    struct core *core;
    lua_State *L;      // scripts run on it
    lua_State *loader; // a thread beside it, for compiling while a script is paused
    uint64_t memory, memory_limit;
    uint64_t memory_next; // beyond which the next look collects
    unsigned runs;        // scripts that have ended
    struct script_array keys, argv;
    int cleaned;             // rounds of collecting that script_clean has seen to their end
    bool unlimited;          // for what must not fail
    int body, error_handler; // references: script_body, script_error_handler
    struct fiber fiber;
    struct script_run run;
    bool running, pausing; // a script is under way; it has left by script_pause
    // The request of redis.call.
    struct request call;
    struct command_memo memo;
    struct reply_buffer reply;
    struct arg *args;
    unsigned args_room;
    struct hash_secret secret;
    // The cache, by text and by SHA1.
    struct cached **by_text, **by_sha;
    unsigned n_cached, n_buckets;       // n_buckets is a power of two
    struct engine_functions *functions; // of libraries (functions.c)
    struct cached *last;                // found last
};

// functions.c: forgets what was compiled of libraries.
void functions_clear(struct script_engine *e);

// cache.c
void cache_clear(struct script_engine *e);

// run.c
bool run_open(struct script_engine *e); // under pcall it would raise; false: memory is short
void reply_buffer_reset(struct reply_buffer *b);
void reply_buffer_free(struct reply_buffer *b);

// joins.c: the text joins strings (outside its comments and quotes).
bool script_joins(const char *text, size_t len);
