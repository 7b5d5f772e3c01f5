// Which requests to send: a command of the test's mix and the number of a key, one after the other.
// Deterministic for a seed and a thread; threads share nothing. One thread uses it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/keys.h"
#include "bench/options.h"
#include "bench/presets.h"
#include "bench/random.h"

struct request {
    uint64_t key : 48;    // number of the key
    uint64_t command : 8; // index into the test's commands
    uint64_t op : 8;      // enum preset_kind of it
};

struct workload {
    uint64_t state; // of the generator
    struct keys keys;
    bool plain;          // one command, uniform keys
    bool special;        // filling, or some command wants new keys
    bool in_order;       // filling: every key once, with every command
    uint32_t n, command; // commands; in order: the next one
    uint8_t op[PRESET_COMMANDS_MAX];
    bool insert[PRESET_COMMANDS_MAX];
    struct alias mix[PRESET_COMMANDS_MAX];
};

// `thread` < o->threads: filling, sequential keys and new keys are divided among the threads. False
// when memory is short.
bool workload_init(struct workload *w, const struct preset *test, const struct options *o,
                   unsigned thread);
void workload_free(struct workload *w);
// How many requests of `thread` fill its part of the keys; `test` is a filling.
uint64_t workload_fill_requests(const struct preset *test, const struct options *o,
                                unsigned thread);
// The next of a filling, or of a mix with new keys.
struct request workload_next_special(struct workload *w);

static inline struct request workload_next(struct workload *w)
{
    unsigned command = 0;
    if (__builtin_expect(w->plain, 1))
        return (struct request){.key = random_below(random_next(&w->state), w->keys.n),
                                .op = w->op[0]};
    if (w->special)
        return workload_next_special(w);
    if (w->n > 1)
        command = alias_pick(w->mix, w->n, random_next(&w->state));
    return (struct request){
        .key = keys_next(&w->keys, &w->state), .command = command, .op = w->op[command]};
}
