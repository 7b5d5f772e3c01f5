// Steps of a rate sweep, and the knee in what they measured.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench/options.h"
#include "bench/sweep.h"

static void steps_cover_the_range(void **state)
{
    (void)state;
    assert_int_equal(sweep_steps(100e3, 2e6, 100e3), 20);
    assert_true(sweep_rate(100e3, 2e6, 100e3, 0) == 100e3);
    assert_true(sweep_rate(100e3, 2e6, 100e3, 19) == 2e6);
    // The last step is the end, even if it is a shorter one.
    assert_int_equal(sweep_steps(10, 25, 10), 3);
    assert_true(sweep_rate(10, 25, 10, 2) == 25);
    assert_int_equal(sweep_steps(0.1, 0.7, 0.1), 7); // no step for an error of rounding
    assert_int_equal(sweep_steps(500, 500, 0), 1);
    assert_true(sweep_rate(500, 500, 0, 0) == 500);
    assert_int_equal(sweep_steps(1, 1e9, 1), OPTIONS_STEPS_MAX);
}

static void falling_behind_is_a_knee(void **state)
{
    (void)state;
    const struct sweep_step steps[] = {
        {100, 100, 5}, {200, 199, 6}, {300, 286, 9}, {400, 300, 11}, {500, 300, 12},
    };
    assert_int_equal(sweep_knee(steps, 2), 2); // none
    assert_int_equal(sweep_knee(steps, 3), 3); // 95.3 % is not yet behind
    assert_int_equal(sweep_knee(steps, 5), 3);
}

static void rising_latency_is_a_knee(void **state)
{
    (void)state;
    const struct sweep_step steps[] = {{100, 100, 5}, {200, 200, 50}, {300, 300, 51}};
    assert_int_equal(sweep_knee(steps, 2), 2); // ten times as much, not more
    assert_int_equal(sweep_knee(steps, 3), 2);
    const struct sweep_step slow[] = {{100, 90, 5}};
    assert_int_equal(sweep_knee(slow, 1), 0);
    assert_int_equal(sweep_knee(slow, 0), 0);
}

static void two_steps_behind_the_knee_are_enough(void **state)
{
    (void)state;
    const struct sweep_step steps[] = {
        {100, 100, 5},
        {200, 100, 5},
        {300, 100, 5},
        {400, 100, 5},
    };
    assert_false(sweep_over(steps, 0));
    assert_false(sweep_over(steps, 1));
    assert_false(sweep_over(steps, 2)); // the knee is the second
    assert_false(sweep_over(steps, 3));
    assert_true(sweep_over(steps, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_cover_the_range),
        cmocka_unit_test(falling_behind_is_a_knee),
        cmocka_unit_test(rising_latency_is_a_knee),
        cmocka_unit_test(two_steps_behind_the_knee_are_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
