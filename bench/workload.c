#include "bench/workload.h"

void workload_init(struct workload *w, enum bench_test test, const struct options *o)
{
    uint64_t share = (UINT64_C(1) << 32) * o->set_percent / 100;
    *w = (struct workload){
        .state = o->seed * UINT64_C(0xd1342543de82ef95) + (uint64_t)test,
        .keys = o->keys,
        .set_share = share > UINT32_MAX ? UINT32_MAX : (uint32_t)share,
        .test = test,
    };
}
