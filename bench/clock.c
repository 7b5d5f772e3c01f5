#include "bench/clock.h"

#define CALIBRATION_NS 20000000u

uint64_t clock_ns_scale;

double clock_rate(void)
{
    static double rate;
    if (rate > 0)
        return rate;
    uint64_t begin_ns = clock_ns_of_system(), begin = clock_ticks(), now_ns;
    do
        now_ns = clock_ns_of_system();
    while (now_ns - begin_ns < CALIBRATION_NS);
    rate = (double)(clock_ticks() - begin) * 1e9 / (double)(now_ns - begin_ns);
    clock_ns_scale = (uint64_t)(1e9 / rate * 4294967296.0);
    return rate;
}
