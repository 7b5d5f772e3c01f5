#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>

#include "bench/random.h"
#include "common/histogram.h"

static struct histogram h, other;

static void empty_has_no_values(void **state)
{
    (void)state;
    histogram_reset(&h);
    assert_int_equal(histogram_percentile(&h, 50), 0);
    assert_true(histogram_mean(&h) == 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    histogram_reset(&h);
    for (uint64_t v = 1; v <= 200; v++)
        histogram_record(&h, v, 1);
    assert_int_equal(histogram_percentile(&h, 50), 100);
    assert_int_equal(histogram_percentile(&h, 99), 198);
    assert_int_equal(histogram_percentile(&h, 100), 200);
    assert_int_equal(h.min, 1);
    assert_int_equal(h.max, 200);
    assert_true(histogram_mean(&h) == 100.5);
}

// Every value's percentile lies above the value and within 1 % of it, over the whole range.
static void error_is_below_one_percent(void **state)
{
    (void)state;
    for (uint64_t v = 1; v < UINT64_C(1) << 43; v += v / 97 + 1) {
        histogram_reset(&h);
        histogram_record(&h, v, 1);
        histogram_record(&h, UINT64_C(1) << 43, 1); // so that the maximum does not bound the answer
        uint64_t seen = histogram_percentile(&h, 50);
        assert_true(seen >= v);
        assert_true((double)(seen - v) <= 0.01 * (double)v);
    }
}

static void neighbouring_buckets_leave_no_gap(void **state)
{
    (void)state;
    unsigned last = histogram_bucket(0);
    for (uint64_t v = 1; v < 1 << 20; v++) {
        unsigned bucket = histogram_bucket(v);
        assert_true(bucket == last || bucket == last + 1);
        last = bucket;
    }
}

static void huge_values_are_counted_as_the_largest(void **state)
{
    (void)state;
    histogram_reset(&h);
    histogram_record(&h, UINT64_MAX / 4, 1);
    assert_int_equal(h.total, 1);
    assert_int_equal(h.counts[HISTOGRAM_BUCKETS - 1], 1);
    assert_int_equal(h.max, UINT64_MAX / 4);
}

static void merging_adds(void **state)
{
    (void)state;
    histogram_reset(&h);
    histogram_reset(&other);
    histogram_record(&h, 10, 3);
    histogram_record(&other, 5, 1);
    histogram_record(&other, 1000, 6);
    histogram_merge(&h, &other);
    assert_int_equal(h.total, 10);
    assert_int_equal(h.min, 5);
    assert_int_equal(h.max, 1000);
    assert_int_equal(histogram_percentile(&h, 10), 5);
    assert_int_equal(histogram_percentile(&h, 40), 10);
    assert_int_equal(histogram_percentile(&h, 41), 1000);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Every percentile beside that of the sorted samples themselves, over distributions of many shapes.
static void percentiles_are_those_of_sorted_samples(void **state)
{
    (void)state;
    enum { N = 50000 };
    static uint64_t sample[N];
    static const double percents[] = {0.01, 1,  10,   25,    50,     75, 90,
                                      95,   99, 99.9, 99.99, 99.999, 100};
    for (unsigned shape = 0; shape < 5; shape++) {
        uint64_t random = shape;
        histogram_reset(&h);
        for (unsigned i = 0; i < N; i++) {
            uint64_t r = random_next(&random);
            double u = ((double)(r >> 11) + 1) * 0x1p-53; // in (0, 1]
            switch (shape) {
            case 0: // over all magnitudes
                sample[i] = r >> (20 + random_next(&random) % 44);
                break;
            case 1: // exponential, of a mean of 50 us
                sample[i] = (uint64_t)(-log(u) * 50000);
                break;
            case 2: // a heavy tail
                sample[i] = (uint64_t)(10000 / pow(u, 1.2)) & ((UINT64_C(1) << 43) - 1);
                break;
            case 3: // two modes
                sample[i] = r % 10 ? 20000 + r % 1000 : 9000000 + r % 300000;
                break;
            default: // few small values
                sample[i] = r % 7;
            }
            histogram_record(&h, sample[i], 1);
        }
        qsort(sample, N, sizeof(*sample), ascending);
        for (unsigned i = 0; i < sizeof(percents) / sizeof(*percents); i++) {
            unsigned rank = (unsigned)ceil(percents[i] / 100 * N - 1e-6);
            double exact = (double)sample[rank - 1];
            double told = (double)histogram_percentile(&h, percents[i]);
            assert_true(told >= exact && told <= exact * 1.01);
        }
        assert_int_equal(h.max, sample[N - 1]);
        assert_int_equal(h.min, sample[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_has_no_values),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(error_is_below_one_percent),
        cmocka_unit_test(neighbouring_buckets_leave_no_gap),
        cmocka_unit_test(huge_values_are_counted_as_the_largest),
        cmocka_unit_test(merging_adds),
        cmocka_unit_test(percentiles_are_those_of_sorted_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
