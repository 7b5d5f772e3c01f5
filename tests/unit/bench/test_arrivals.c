// Arrivals against the processes that they claim, with fixed seeds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>

#include "bench/arrivals.h"

static void even_arrivals_do_not_drift(void **state)
{
    (void)state;
    static const double rates[] = {0.1, 1, 3, 7, 1000, 333333, 1e6, 9e6, 123456.789};
    for (unsigned i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
        struct arrivals a;
        arrivals_init(&a, ARRIVALS_EVEN, rates[i], 1);
        for (uint64_t n = 0; n < 3000000; n++) {
            uint64_t at = arrivals_next(&a);
            if (n % 999983 == 0 || n < 100) {
                double exact = (double)n * 1e9 / rates[i];
                assert_true(fabs((double)at - floor(exact)) <= 1 + exact * 1e-15);
            }
        }
    }
}

static void threads_that_share_a_rate_are_even_together(void **state)
{
    (void)state;
    struct arrivals a[4];
    for (unsigned i = 0; i < 4; i++) {
        arrivals_init(&a[i], ARRIVALS_EVEN, 250000, 1);
        arrivals_shift(&a[i], i / 4.0);
    }
    for (uint64_t n = 0; n < 4000; n++)
        assert_int_equal(arrivals_next(&a[n % 4]), n * 1000);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Kolmogorov's and Smirnov's test: the largest distance between the gaps' distribution and the
// exponential one. A right generator exceeds 1.95 / sqrt(n) once in a thousand seeds.
static void poisson_gaps_are_exponential(void **state)
{
    (void)state;
    enum { N = 200000 };
    double *gap = malloc(N * sizeof(*gap));
    for (uint64_t seed = 1; seed <= 3; seed++) {
        const double rate = 1000; // so slow that whole nanoseconds do not show
        struct arrivals a;
        arrivals_init(&a, ARRIVALS_POISSON, rate, seed);
        uint64_t last = 0;
        for (unsigned i = 0; i < N; i++) {
            uint64_t now = arrivals_next(&a);
            assert_true(now >= last);
            gap[i] = (double)(now - last);
            last = now;
        }
        assert_true(fabs((double)last / (N * 1e9 / rate) - 1) < 4 / sqrt(N));
        // Independent: neighbours do not correlate.
        double correlation = 0, mean = 1e9 / rate;
        for (unsigned i = 1; i < N; i++)
            correlation += (gap[i] / mean - 1) * (gap[i - 1] / mean - 1) / N;
        assert_true(fabs(correlation) < 4 / sqrt(N));
        qsort(gap, N, sizeof(*gap), ascending);
        double distance = 0;
        for (unsigned i = 0; i < N; i++) {
            double claimed = -expm1(-gap[i] * rate / 1e9);
            distance = fmax(distance, fmax(claimed - (double)i / N, (double)(i + 1) / N - claimed));
        }
        assert_true(distance < 1.95 / sqrt(N));
    }
    free(gap);
}

static void arrivals_repeat_with_their_seed(void **state)
{
    (void)state;
    struct arrivals a, b, c;
    unsigned same = 0;
    arrivals_init(&a, ARRIVALS_POISSON, 1e6, 5);
    arrivals_init(&b, ARRIVALS_POISSON, 1e6, 5);
    arrivals_init(&c, ARRIVALS_POISSON, 1e6, 6);
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t at = arrivals_next(&a);
        assert_int_equal(at, arrivals_next(&b));
        same += at == arrivals_next(&c);
    }
    assert_in_range(same, 0, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(even_arrivals_do_not_drift),
        cmocka_unit_test(threads_that_share_a_rate_are_even_together),
        cmocka_unit_test(poisson_gaps_are_exponential),
        cmocka_unit_test(arrivals_repeat_with_their_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
