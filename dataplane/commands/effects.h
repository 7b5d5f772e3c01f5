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
//
// A transaction or a script collects its effects apart, as a unit, over as many turns as it takes,
// while others go on telling theirs. When it is done they are appended as one: several commands
// between MULTI and EXEC, so that whoever reads them has all or nothing; one command alone. Within
// a unit there is no further bracket: a script in a transaction is part of it.
#pragma once

#include "common/outbuf.h"
#include "dataplane/commands/command.h"

struct effects {
    struct outbuf out; // the effects, one command after the other
    unsigned commands; // how many
    bool replaced;     // this command told its own
    uint64_t dirty;    // of the store when it began
    unsigned db;       // that the last one was about; a change is told as SELECT
    bool unit;         // nothing is told of the database of the first one,
    unsigned first_db; // which is this
};

// Begins a unit.
void effects_unit(struct effects *unit);
// Appends what the unit has told to the others, and leaves it empty. `to` may be a unit itself;
// NULL when nobody listens any more.
void effects_append(struct effects *to, struct effects *unit);

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
// The server itself took a key or a field of a hash away (store_on_gone): DEL, or HDEL.
void effects_gone(struct effects *effects, enum store_gone why, unsigned db, const struct key *key,
                  const void *field, size_t field_len);
// This command changed nothing that must be told (it told what it did in another way, or not at
// all).
void effect_nothing(struct request *r);
