// What a write did, in a form that gives the same state whenever it is executed: what the log of a
// core, its replicas and the append-only file take. The effect of a command that changed something
// is the command itself, unless its handler says otherwise: times become absolute, what was random
// becomes what was drawn, what waited becomes what it did (SPOP as SREM, EXPIRE as PEXPIREAT, BLPOP
// as LPOP, XADD * with its id).
//
// A handler that says otherwise begins commands and adds their words, before or after it answers:
//
//     if (effect_begin(r, "SREM", 2 + n)) {   // number of words, the name included
//         effect_arg(r, 1);                   // argument 1 of the request
//         effect_bytes(r, ptr, len); …
//     }
//
// Nothing is recorded, and effect_begin is false, when nobody listens. Effects are RESP arrays of
// bulk strings.
#pragma once

#include "common/outbuf.h"
#include "dataplane/commands/command.h"

struct effects {
    struct outbuf out; // the effects, one command after the other
    unsigned commands; // how many
    bool replaced;     // this command told its own
    uint64_t dirty;    // of the store when it began
};

// Around a handler: the caller (execute) sets r->effects first. `effects_end` adds the command
// itself when it changed something and told nothing else.
void effects_start(struct request *r);
void effects_end(struct request *r);

static inline bool effects_wanted(const struct request *r)
{
    return __builtin_expect(!!r->effects, 0);
}
bool effect_begin(struct request *r, const char *name, unsigned words);
void effect_bytes(struct request *r, const void *data, size_t len);
void effect_text(struct request *r, const char *text);
void effect_integer(struct request *r, int64_t value);
void effect_arg(struct request *r, int i);
// Names the key of an argument, DEL and the like of a key the server itself took away (expired,
// evicted).
void effects_key_gone(struct effects *effects, const void *key, size_t len);
// HDEL of a field whose time was over.
void effects_field_gone(struct effects *effects, const void *key, size_t len, const void *field,
                        size_t field_len);
// This command changed nothing that must be told (it told what it did in another way, or not at
// all).
void effect_nothing(struct request *r);
