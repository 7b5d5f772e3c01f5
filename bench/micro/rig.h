// The server's core with nothing around it: a keyspace, a store, the batch and the handlers, all of
// them the server's own code, driven by one thread. Its clients are tapes: streams whose bytes lie
// in memory, and whose replies are written to memory.
#pragma once

#include "dataplane/core/core.h"

#define TAPES_MAX 32
#define TAPE_COMMANDS_MAX 64
#define RIG_KEY_LEN 16 // "key:000000000123", as pollux-bench names them
#define RIG_DATA_LEN 64
#define RIG_GET_LEN 36   // bytes of a GET, and of its reply
#define RIG_VALUE_LEN 71 //

// A request of tapes, a frame of each client.
struct shape {
    unsigned clients, pipeline;
};

enum key_choice {
    KEY_ANY,     // uniform among those that are there
    KEY_MISSING, // uniform among as many that are not
    KEY_NEW,     // one after the other, never there before
    KEY_SAME,    // as in the last load
};

struct tape {
    struct stream stream; // must be first
    uint8_t *in, *out;
    size_t in_len;
    unsigned commands;
    bool broken; // the core closed it, or its replies did not fit
};

struct rig {
    struct server server;
    struct core *core;
    struct tape tapes[TAPES_MAX];
    uint64_t keys;     // that are there, numbered from 0
    uint64_t next_new; // KEY_NEW
    uint64_t random;
    uint64_t chosen[TAPES_MAX * TAPE_COMMANDS_MAX];
    unsigned loaded;
    uint64_t replies;        // that were looked at
    uint64_t resident_bytes; // before there was a key
    char error[160];         // what went wrong, for a person
};

// NULL when memory is short.
struct rig *rig_open(void);
void rig_close(struct rig *r);
uint64_t rig_random(struct rig *r); // xorshift64*, the same in every run
uint64_t rig_below(struct rig *r, uint64_t n);
// RIG_KEY_LEN bytes; RIG_DATA_LEN bytes that belong to the key.
void rig_key(uint8_t *to, uint64_t number);
void rig_data(uint8_t *to, uint64_t number);
// Adds strings until there are so many keys. False: memory is short.
bool rig_fill(struct rig *r, uint64_t keys);
// Adds keys of another type by a command. Words of it: see rig_load.
bool rig_fill_with(struct rig *r, uint64_t keys, const char *const *commands);
// Puts a frame of commands before each client, and lets the core see it. Words between single
// spaces stand for themselves but for @key, @data (64 bytes), @value (8 bytes, at random), @new
// (8 bytes of the key's number), @score.
void rig_load(struct rig *r, struct shape shape, const char *command, enum key_choice choice);
// Appends one command to `to`; returns its length.
size_t rig_compose(struct rig *r, uint8_t *to, const char *command, uint64_t key);
// Executes what was loaded as the core does it. `cycles` of PLANE_STAGES, or NULL.
void rig_run(struct rig *r, uint64_t *cycles);
// Looks at the replies of what was run: one for each command, of the kind that begins with `kind`,
// and, if `data`, the value of its key. False with `error`.
bool rig_check(struct rig *r, char kind, bool data);
// The length of the first reply; 0 when it is cut short.
size_t rig_reply_len(const uint8_t *p, size_t len);
// The background work of the store, to its end.
void rig_settle(struct rig *r);
// A stream of another transport becomes a client of the core.
void rig_time(struct rig *r, uint64_t now_us);
