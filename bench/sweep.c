#include "bench/sweep.h"

#include "bench/options.h"

#define REACHED_SHARE 0.95
#define P99_FACTOR 10
#define STEPS_BEHIND 2

unsigned sweep_steps(double from, double to, double step)
{
    if (step <= 0 || to <= from)
        return 1;
    double whole = (to - from) / step;
    if (whole >= OPTIONS_STEPS_MAX - 1)
        return OPTIONS_STEPS_MAX;
    unsigned n = (unsigned)whole;
    // A rest that is more than a rounding error is a step of its own.
    return n + 1 + (whole - n > 1e-9 ? 1 : 0);
}

double sweep_rate(double from, double to, double step, unsigned index)
{
    double rate = from + step * index;
    return rate < to ? rate : to;
}

unsigned sweep_knee(const struct sweep_step *steps, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (steps[i].reached < REACHED_SHARE * steps[i].wanted ||
            steps[i].p99 > P99_FACTOR * steps[0].p99)
            return i;
    return n;
}

bool sweep_over(const struct sweep_step *steps, unsigned n)
{
    return n > sweep_knee(steps, n) + STEPS_BEHIND;
}
