// Commands that may wait: BLPOP, BLMOVE, BZPOPMIN, XREAD … A handler of one looks at its keys and
// serves the caller if it can. If not, it calls request_block, and runs again, from its beginning,
// when one of the keys has changed. Its shape:
//
//     for each key argument i:
//         if (!request_considers(r, i)) continue;      // woken for another key
//         look it up; if it is of a wrong type: when r->woken, go on; else answer the error
//         if it can be served from here:
//             if (!request_claim(r)) return;           // another core has served it meanwhile
//             change, answer, effects, request_changed …
//             return;
//     request_block(r, …);
//
// A command that runs again sees the same arguments, and changes none of them then: other cores may
// be looking at them. One whose meaning depends on the time of the first call ("$" of XREAD) points
// r->argv[i] at what it means before it calls request_block, which copies them.
#pragma once

#include "dataplane/commands/command.h"

// The answer of a command that may not wait. When its time is over it is a null array for all.
enum block_reply { BLOCK_NULL_ARRAY, BLOCK_NULL };

// Waits for a change of one of the keys (indexes of arguments) for at most so long, 0: for ever.
// Where the command may not wait (inside MULTI, in a script) it answers at once. When it was woken:
// goes on waiting.
static inline void request_block(struct request *r, int n_keys, const int *keys,
                                 uint64_t timeout_us, enum block_reply reply)
{
    if (r->may_block || r->woken)
        r->services->block(r, n_keys, keys, timeout_us, reply);
    else if (reply == BLOCK_NULL)
        reply_null(r->out, r->session->resp);
    else
        reply_null_array(r->out, r->session->resp);
}

// The same for `n_keys` arguments from `first` on; after its time it is a null array.
void request_block_range(struct request *r, int first, int n_keys, uint64_t timeout_us);

// Before the first change and the first byte of the answer. False: leave without either.
static inline bool request_claim(struct request *r)
{
    return !r->woken || r->services->claim(r);
}

static inline bool request_considers(const struct request *r, int i)
{
    return !r->woken_key || r->woken_key == i;
}

// The timeout argument of a blocking command, in seconds with fractions, or in milliseconds.
// Answers with Redis's error and returns false when it makes no sense. 0: for ever.
bool request_timeout_seconds(struct request *r, int i, uint64_t *timeout_us);
bool request_timeout_milliseconds(struct request *r, int i, uint64_t *timeout_us);
