#include "bench/workload.h"

#include <math.h>

// How many requests may be under way when one more is drawn, of this thread.
static double under_way(const struct options *o)
{
    return ceil((double)o->connections / o->threads) * o->pipeline;
}

bool workload_init(struct workload *w, const struct preset *test, const struct options *o,
                   unsigned thread)
{
    double weights[PRESET_COMMANDS_MAX], sum = 0, inserts = 0;
    *w = (struct workload){
        .state = random_seed(o->seed, UINT64_C(0x6b65) + thread),
        .n = test->n,
        .in_order = test->fill,
        .special = test->fill,
    };
    for (unsigned i = 0; i < test->n; i++) {
        weights[i] = test->n == 1 ? 1 : test->commands[i].weight;
        w->op[i] = (uint8_t)test->commands[i].kind;
        w->insert[i] = test->commands[i].insert;
        w->special |= w->insert[i];
        sum += weights[i];
        inserts += w->insert[i] ? weights[i] : 0;
    }
    // Connections advance unevenly, so twice as many insertions as are under way on the average.
    uint64_t unsure = (uint64_t)ceil(2 * under_way(o) * inserts / sum);
    alias_init(w->mix, weights, w->n);
    w->plain = w->n == 1 && !w->special && test->distribution == KEYS_UNIFORM;
    return keys_init(&w->keys, test->fill ? KEYS_SEQUENTIAL : test->distribution, o,
                     test->keys ? test->keys : o->keys, unsure, thread);
}

void workload_free(struct workload *w)
{
    keys_free(&w->keys);
}

uint64_t workload_fill_requests(const struct preset *test, const struct options *o, unsigned thread)
{
    uint64_t begin, end;
    keys_part(test->keys ? test->keys : o->keys, thread, o->threads, &begin, &end);
    return (end - begin) * test->n;
}

struct request workload_next_special(struct workload *w)
{
    struct request r = {0};
    if (w->in_order) {
        r = (struct request){.key = w->keys.next, .command = w->command, .op = w->op[w->command]};
        if (++w->command == w->n) {
            w->command = 0;
            keys_next(&w->keys, &w->state);
        }
        return r;
    }
    unsigned command = w->n > 1 ? alias_pick(w->mix, w->n, random_next(&w->state)) : 0;
    r.command = command;
    r.op = w->op[command];
    r.key = w->insert[command] ? keys_insert(&w->keys) : keys_next(&w->keys, &w->state);
    return r;
}
