// The clock of a core beside the kernel's.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
// (cmocka needs the four before it)
#include <cmocka.h>

#include "dataplane/core/core.h"

#define FOR_US 400000
// What the rate of the cycle counter may be wrong by until it is known better.
#define TOLERANCE_US 300

static int64_t real_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

// A moment that a client told by the kernel's clock is never further away than it said.
static void test_milliseconds_are_the_kernels(void **state)
{
    (void)state;
    struct core_clock clock;
    uint64_t now_us = 0, now_ms = 0, last_us = 0;
    core_clock_start(&clock);
    for (uint64_t until_us = core_clock_us() + FOR_US; core_clock_us() < until_us;) {
        int64_t before_us = real_us();
        core_clock_read(&clock, &now_us, &now_ms);
        int64_t after_us = real_us();
        assert_true((int64_t)now_ms * 1000 + 999 + TOLERANCE_US >= before_us);
        assert_true((int64_t)now_ms * 1000 - TOLERANCE_US <= after_us);
        assert_true(now_us >= last_us);
        last_us = now_us;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_milliseconds_are_the_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
