// Replies too long for one turn: LRANGE of a million elements, SMEMBERS of a big set. A handler
// writes the beginning of the reply and asks that the rest be written in steps, one a turn, so that
// nobody else waits for it. Meanwhile the key's slot is held as if it were lent: nothing changes in
// it, pointers into the value stay valid, and commands on it wait.
//
//     if (count > STEPS_WORTHWHILE) {
//         struct my_walk *walk = request_steps(r, &key, my_step, sizeof(*walk));
//         if (walk) { *walk = …; return; }         // else: at once, as in a transaction
//     }
//
// request_steps is only for commands that change nothing: where nobody reads the reply, no further
// step is taken. A reply that grows beyond all bounds ends its connection.
//
// Nothing may have been written to r->out before request_steps; the header of the reply is written
// by the first step.
#pragma once

#include "dataplane/commands/command.h"

#define STEPS_WORTHWHILE 2048 // elements up to which a reply is written at once
#define STEPS_ELEMENTS 512    // that a step should write, about

// Writes the next part of the reply to r->out. True: the reply is complete. `r` has the arguments
// of the command; r->key is the key.
typedef bool request_step_fn(struct request *r, void *state);

// Returns zeroed memory for the walk's state, aligned to 16 bytes, which the core frees; NULL: not
// here, or memory is short.
static inline void *request_steps(struct request *r, const struct key *key, request_step_fn *step,
                                  size_t state_size)
{
    return r->may_step ? r->services->steps(r, key, step, state_size) : NULL;
}

// Work too long for one turn that ends in a reply: copying a big value, sorting a million elements.
// The slots of all keys of the command are held. The command may change its keys, in its last step
// only, which is then as if all had happened at that moment; one that writes goes on to its end
// where nobody waits for the reply. Arguments are to be read in the steps: they lie elsewhere than
// those of the handler. `drop` is called once, behind the last step, and frees what the state
// holds, the state itself not. NULL: not here, or memory is short.
typedef void request_drop_fn(void *state);
static inline void *request_work(struct request *r, request_step_fn *step, request_drop_fn *drop,
                                 size_t state_size)
{
    return r->may_work ? r->services->work(r, step, drop, state_size) : NULL;
}
