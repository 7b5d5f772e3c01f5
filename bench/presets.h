// What is sent: a test is a mix of commands with weights, over keys drawn in one way. Presets are
// tests with names; --command makes tests of the user's own.
//
//   set get ping incr mset (ten keys)              as in redis-benchmark
//   lpush rpush lpop rpop sadd spop hset hget zadd zpopmin zrange lrange_100 xadd
//   mixed             SET and GET by --ratio
//   counters          INCR, INCRBY, GET over few hot keys
//   sessions          SET EX, GET, EXPIRE, DEL as a web site's session store does
//   large             SET and GET of 1 MiB values
//   churn             GET, each on a new connection
//   ycsb-a … ycsb-f   Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", SoCC 2010:
//   records
//                     are hashes of ten fields of 100 bytes; scans (E) go over a sorted set of keys
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bench/options.h"

#define PRESET_COMMANDS_MAX 32

enum preset_kind {
    COMMAND_SET, // the fast paths: SET and GET of a 16-byte key
    COMMAND_GET,
    COMMAND_PING,
    COMMAND_ANY,   // a template (bench/template.h)
    COMMAND_OTHER, // not of a test: the client's own (AUTH, SELECT …), which it writes itself
};

struct preset {
    const char *name; // as shown
    unsigned n;
    struct {
        enum preset_kind kind;
        const char *line; // COMMAND_ANY
        unsigned weight;
        const char *name; // in tables; NULL: the line
        bool insert;      // its key is a new one, behind all others
    } commands[PRESET_COMMANDS_MAX];
    const char *fills[4]; // what --fill sends once for each key, instead of SET; NULL-ended
    enum bench_keys distribution;
    struct options_sizes data;
    uint64_t keys; // how many it uses: 0 … keys-1; at most --keys
    bool churn;
    bool unfilled; // needs no keys at all
    bool consumes; // takes away what was filled: whoever comes next needs a filling of its own
    bool fill;     // this is the filling itself: every key once, in order
};

// All tests that `o` asks for, in order, at most OPTIONS_TESTS_MAX. Returns how many; 0 with one
// line in `error`.
unsigned presets_of(const struct options *o, struct preset *tests, char *error, size_t error_size);
// The filling that goes before `test`. False: it needs none (PING) or was done for an earlier test
// of `done` ones.
bool presets_fill(const struct options *o, const struct preset *tests, unsigned done,
                  struct preset *fill);
// Name and one line of each, for --list; NULL after the last.
const char *presets_describe(unsigned index, const char **line);
