#include "bench/workload.h"

static uint64_t first_key(const struct options *o, unsigned thread)
{
    return (uint64_t)((unsigned __int128)o->keys * thread / o->threads);
}

uint64_t workload_fill_requests(const struct options *o, unsigned thread)
{
    return first_key(o, thread + 1) - first_key(o, thread);
}

void workload_init(struct workload *w, const struct preset *test, const struct options *o,
                   unsigned thread)
{
    *w = (struct workload){
        .state = o->seed * UINT64_C(0xd1342543de82ef95) + thread * UINT64_C(0x2545f4914f6cdd1d),
        .keys = o->keys,
        .next = first_key(o, thread),
        .end = first_key(o, thread + 1),
        .in_order = test->fill,
        .n = test->n,
    };
    uint64_t weights = 0, sum = 0;
    for (unsigned i = 0; i < test->n; i++)
        weights += test->commands[i].weight;
    for (unsigned i = 0; i < test->n; i++) {
        w->op[i] = (uint8_t)test->commands[i].kind;
        sum += test->commands[i].weight;
        w->limit[i] = weights ? (uint32_t)((double)sum / (double)weights * UINT32_MAX) : UINT32_MAX;
    }
    if (w->n > 0)
        w->limit[w->n - 1] = UINT32_MAX;
}
