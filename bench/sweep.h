// The steps of a rate sweep, and where the server's knee lies. Pure.
#pragma once

#include <stdbool.h>

struct sweep_step {
    double wanted, reached; // requests/s
    double p99;             // any unit, the same for all steps
};

// How many steps `from..to/step` has, at most OPTIONS_STEPS_MAX; the rate of one of them. The last
// is `to`, even if that is not a whole number of steps away.
unsigned sweep_steps(double from, double to, double step);
double sweep_rate(double from, double to, double step, unsigned index);
// The first step that reached less than 95 % of what was wanted, or whose p99 is ten times the
// first step's; n when there is none.
unsigned sweep_knee(const struct sweep_step *steps, unsigned n);
// Steps behind the knee show how steep the curve is: two of them are enough.
bool sweep_over(const struct sweep_step *steps, unsigned n);
