// Draws against the distributions that they claim. Seeds are fixed, so nothing here is left to
// chance; bounds are those that a right generator passes for nearly every seed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "bench/keys.h"
#include "bench/values.h"

#define DRAWS 1000000

static const struct options plain = {
    .threads = 1, .theta = 0.99, .hot_keys = 0.2, .hot_share = 0.8};

#define CELL_MIN 8.0 // expected in a cell; neighbours are taken together until they have so much

// Pearson's statistic as a number of standard deviations, by the approximation of Wilson and
// Hilferty: that of a right generator is beyond 4 for one seed in 30,000 only.
static double deviation(const uint64_t *seen, const double *expected, unsigned n)
{
    double sum = 0, got = 0, wanted = 0;
    int freedom = -1;
    for (unsigned i = 0; i < n; i++) {
        if (expected[i] == 0)
            assert_int_equal(seen[i], 0);
        got += (double)seen[i];
        wanted += expected[i];
        if (wanted < CELL_MIN && i < n - 1)
            continue;
        if (wanted > 0) {
            sum += (got - wanted) * (got - wanted) / fmax(wanted, CELL_MIN);
            freedom++;
        }
        got = wanted = 0;
    }
    if (freedom <= 0)
        return sum;
    double k = 2.0 / (9 * freedom);
    return (cbrt(sum / freedom) - (1 - k)) / sqrt(k);
}

static void uniform_keys_are_uniform(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct keys k;
    uint64_t seen[N] = {0}, random = 7;
    double expected[N];
    assert_true(keys_init(&k, KEYS_UNIFORM, &plain, N, 0, 0));
    for (unsigned i = 0; i < DRAWS; i++)
        seen[keys_next(&k, &random)]++;
    for (unsigned i = 0; i < N; i++)
        expected[i] = (double)DRAWS / N;
    assert_true(fabs(deviation(seen, expected, N)) < 4);
    keys_free(&k);
}

static void zipfian_of(uint64_t n, double theta, uint64_t seed)
{
    enum { CELLS = 2000 };
    struct zipf z;
    static uint64_t seen[CELLS];
    static double expected[CELLS];
    memset(seen, 0, sizeof(seen));
    memset(expected, 0, sizeof(expected));
    double sum = 0;
    assert_true(zipf_init(&z, n, theta));
    // The last cell is all ranks for which none of their own is left.
    for (uint64_t i = 0; i < n; i++) {
        double p = pow((double)(i + 1), -theta);
        expected[i < CELLS ? i : CELLS - 1] += p;
        sum += p;
    }
    for (unsigned i = 0; i < CELLS; i++)
        expected[i] *= DRAWS / sum;
    for (unsigned i = 0; i < DRAWS; i++) {
        uint64_t rank = zipf_next(&z, &seed);
        assert_true(rank < n);
        seen[rank < CELLS ? rank : CELLS - 1]++;
    }
    assert_true(fabs(deviation(seen, expected, CELLS)) < 4);
    zipf_free(&z);
}

static void zipfian_ranks_follow_their_law(void **state)
{
    (void)state;
    static const double thetas[] = {0.1, 0.5, 0.99, 1, 1.2, 1.9};
    for (unsigned i = 0; i < sizeof(thetas) / sizeof(*thetas); i++) {
        zipfian_of(1, thetas[i], i);
        zipfian_of(2, thetas[i], i);
        zipfian_of(100, thetas[i], i);
        zipfian_of(1800, thetas[i], i);
        zipfian_of(300000, thetas[i], i);
    }
}

// Far out, ranks are counted in cells of equal probability: the bins' weights and the straight line
// in them must both be right.
static void zipfian_tail_follows_its_law(void **state)
{
    (void)state;
    enum { CELLS = 200 };
    const uint64_t n = 10000000;
    const double theta = 0.99;
    struct zipf z;
    static uint64_t edge[CELLS];
    static uint64_t seen[CELLS];
    static double expected[CELLS];
    double sum = 0, all = 0, before = 0;
    for (uint64_t i = 0; i < n; i++)
        all += pow((double)(i + 1), -theta);
    unsigned cell = 0;
    for (uint64_t i = 0; i < n; i++) {
        sum += pow((double)(i + 1), -theta);
        if (sum >= all * (cell + 1) / CELLS || i == n - 1) {
            edge[cell] = i;
            expected[cell] = (sum - before) / all * DRAWS;
            before = sum;
            if (cell < CELLS - 1)
                cell++;
        }
    }
    uint64_t random = 3;
    assert_true(zipf_init(&z, n, theta));
    for (unsigned i = 0; i < DRAWS; i++) {
        uint64_t rank = zipf_next(&z, &random);
        unsigned low = 0, high = cell;
        while (low < high) {
            unsigned middle = (low + high) / 2;
            if (rank > edge[middle])
                low = middle + 1;
            else
                high = middle;
        }
        seen[low]++;
    }
    assert_true(fabs(deviation(seen, expected, cell + 1)) < 4);
    zipf_free(&z);
}

// Without a draw: what the tables say the probability of each rank is, beside the law.
static void zipfian_probabilities_are_within_what_is_claimed(void **state)
{
    (void)state;
    static const double thetas[] = {0.5, 0.99, 1.9};
    const uint64_t n = 100003;
    for (unsigned t = 0; t < 3; t++) {
        struct zipf z;
        double theta = thetas[t], sum = 0,
               claimed = theta * (theta + 1) / (8.0 * ZIPF_WIDTH * ZIPF_WIDTH);
        assert_true(zipf_init(&z, n, theta));
        double *bin = calloc(z.n_bins, sizeof(*bin));
        for (uint32_t i = 0; i < z.n_bins; i++) {
            double own = (double)z.alias[i].own * 0x1p-64;
            bin[i] += own / z.n_bins;
            bin[z.alias[i].other] += (1 - own) / z.n_bins;
        }
        for (uint64_t i = 1; i <= n; i++)
            sum += pow((double)i, -theta);
        for (uint32_t i = 0; i < z.n_bins; i++) {
            const struct zipf_bin *b = &z.bins[i];
            for (uint64_t j = 0; j < b->width; j++) {
                double kept = (double)(b->keep - j * b->step) * 0x1p-64;
                double mirrored = 1 - (double)(b->keep - (b->width - 1 - j) * b->step) * 0x1p-64;
                double is = bin[i] * (kept + mirrored) / (double)b->width;
                double should = pow((double)(b->first + j + 1), -theta) / sum;
                assert_true(fabs(is / should - 1) < 1.1 * claimed);
            }
        }
        free(bin);
        zipf_free(&z);
    }
}

// A key space of a trillion needs no more than a table of some hundreds of bins.
static void zipfian_of_a_trillion(void **state)
{
    (void)state;
    struct zipf z;
    uint64_t random = 1, beyond = 0;
    assert_true(zipf_init(&z, OPTIONS_KEYS_MAX, 0.99));
    assert_in_range(z.n_bins, ZIPF_SINGLE, 1000);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t rank = zipf_next(&z, &random);
        assert_true(rank < OPTIONS_KEYS_MAX);
        beyond += rank >= 1000000;
    }
    // Sums of x^-0.99 up to 10^6 and 10^12, by integrals: 0.525 of the requests lie beyond.
    assert_in_range(beyond, 51900, 53100);
    zipf_free(&z);
}

static void ranks_are_scattered_one_to_one(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1, 2, 3, 4, 10, 97, 1000, 65536, 99991};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct keys k;
        uint64_t n = sizes[i];
        uint8_t *seen = calloc(n, 1);
        assert_true(keys_init(&k, KEYS_HOT, &plain, n, 0, 0));
        for (uint64_t rank = 0; rank < n; rank++) {
            uint64_t key = keys_scatter(&k, rank);
            assert_true(key < n);
            assert_int_equal(seen[key]++, 0);
        }
        free(seen);
        keys_free(&k);
    }
    // Of large ones by what it means: a multiple of one number, modulo n.
    struct keys k;
    for (uint64_t n = OPTIONS_KEYS_MAX - 20; n <= OPTIONS_KEYS_MAX; n++) {
        assert_true(keys_init(&k, KEYS_HOT, &plain, n, 0, 0));
        uint64_t step = keys_scatter(&k, 1);
        for (uint64_t rank = n - 1000; rank < n; rank++)
            assert_int_equal(keys_scatter(&k, rank),
                             (uint64_t)((unsigned __int128)rank * step % n));
        keys_free(&k);
    }
}

static void hot_keys_get_their_share(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct keys k;
    uint64_t seen[N] = {0}, random = 11;
    double expected[N];
    assert_true(keys_init(&k, KEYS_HOT, &plain, N, 0, 0));
    for (unsigned i = 0; i < N; i++)
        expected[keys_scatter(&k, i)] = DRAWS * (i < 200 ? 0.8 / 200 : 0.2 / 800);
    for (unsigned i = 0; i < DRAWS; i++)
        seen[keys_next(&k, &random)]++;
    assert_true(fabs(deviation(seen, expected, N)) < 4);
    keys_free(&k);
    // All requests to one key; one key in all.
    struct options o = {.threads = 1, .hot_keys = 0, .hot_share = 1};
    assert_true(keys_init(&k, KEYS_HOT, &o, N, 0, 0));
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(keys_next(&k, &random), keys_scatter(&k, 0));
    assert_true(keys_init(&k, KEYS_HOT, &plain, 1, 0, 0));
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(keys_next(&k, &random), 0);
}

static void sequential_keys_are_divided_among_threads(void **state)
{
    (void)state;
    struct options o = {.threads = 3};
    uint64_t next = 0, random = 1;
    for (unsigned thread = 0; thread < 3; thread++) {
        struct keys k;
        assert_true(keys_init(&k, KEYS_SEQUENTIAL, &o, 1000, 0, thread));
        uint64_t first = next;
        for (uint64_t i = k.begin; i < k.end; i++)
            assert_int_equal(keys_next(&k, &random), next++);
        assert_int_equal(keys_next(&k, &random), first); // and round again
    }
    assert_int_equal(next, 1000);
    // More threads than keys: nobody is left without one.
    struct keys k;
    assert_true(keys_init(&k, KEYS_SEQUENTIAL, &o, 2, 0, 0));
    for (unsigned i = 0; i < 10; i++)
        assert_true(keys_next(&k, &random) < 2);
}

static void new_keys_are_new(void **state)
{
    (void)state;
    struct options o = {.threads = 3, .theta = 0.99};
    static uint8_t seen[3000];
    for (unsigned thread = 0; thread < 3; thread++) {
        struct keys k;
        assert_true(keys_init(&k, KEYS_LATEST, &o, 100, 10, thread));
        for (unsigned i = 0; i < 900; i++) {
            uint64_t key = keys_insert(&k);
            assert_in_range(key, 100, 2999);
            assert_int_equal(seen[key]++, 0);
        }
        keys_free(&k);
    }
}

// The latest are drawn most often, what is still under way never, and what nobody inserted never.
static void latest_keys_are_the_newest_that_are_there(void **state)
{
    (void)state;
    enum { N = 1000, INSERTED = 500, UNSURE = 20, CELLS = N + INSERTED };
    struct options o = {.threads = 1, .theta = 0.99};
    struct keys k;
    static uint64_t seen[CELLS];
    static double expected[CELLS];
    uint64_t random = 5;
    double sum = 0;
    assert_true(keys_init(&k, KEYS_LATEST, &o, N, UNSURE, 0));
    for (unsigned i = 0; i < INSERTED; i++)
        keys_insert(&k);
    for (unsigned i = 0; i < DRAWS; i++) {
        uint64_t key = keys_next(&k, &random);
        assert_true(key < CELLS);
        seen[key]++;
    }
    for (unsigned i = 0; i < N; i++)
        sum += pow(i + 1, -0.99);
    for (unsigned i = 0; i < N; i++)
        expected[CELLS - UNSURE - 1 - i] = DRAWS * pow(i + 1, -0.99) / sum;
    assert_true(fabs(deviation(seen, expected, CELLS)) < 4);
    keys_free(&k);
}

static void weights_are_kept(void **state)
{
    (void)state;
    const double weights[] = {50, 0, 30, 1, 0, 19, 1000};
    enum { N = 7 };
    double copy[N], expected[N];
    struct alias table[N];
    uint64_t seen[N] = {0}, random = 2;
    memcpy(copy, weights, sizeof(copy));
    alias_init(table, copy, N);
    for (unsigned i = 0; i < DRAWS; i++)
        seen[alias_pick(table, N, random_next(&random))]++;
    for (unsigned i = 0; i < N; i++)
        expected[i] = weights[i] / 1100 * DRAWS;
    assert_true(fabs(deviation(seen, expected, N)) < 4);
}

static void lengths_follow_their_options(void **state)
{
    (void)state;
    struct options_sizes sizes;
    struct values v;
    uint64_t random = 9, seen[1025] = {0};
    double expected[1025] = {0};
    assert_true(values_parse(&sizes, "10-19", 5));
    values_init(&v, &sizes);
    for (unsigned i = 0; i < DRAWS; i++) {
        uint32_t size = values_size(&v, random_next(&random));
        assert_in_range(size, 10, 19);
        seen[size]++;
    }
    for (unsigned i = 10; i < 20; i++)
        expected[i] = DRAWS / 10.0;
    assert_true(fabs(deviation(seen, expected, 20)) < 4);
    assert_true(values_parse(&sizes, "64:9,1k:1", 9));
    values_init(&v, &sizes);
    memset(seen, 0, sizeof(seen));
    memset(expected, 0, sizeof(expected));
    for (unsigned i = 0; i < DRAWS; i++)
        seen[values_size(&v, random_next(&random))]++;
    expected[64] = DRAWS * 0.9;
    expected[1024] = DRAWS * 0.1;
    assert_true(fabs(deviation(seen, expected, 1025)) < 4);
    assert_true(values_parse(&sizes, "0", 1));
    values_init(&v, &sizes);
    assert_true(v.fixed);
    assert_int_equal(values_size(&v, random_next(&random)), 0);
}

static void lengths_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "x",
                                      "-1",
                                      "1-",
                                      "9-1",
                                      "1:",
                                      "1:0",
                                      "1:2,",
                                      "1:2,3",
                                      "1-2-3",
                                      "5 ",
                                      "600m",
                                      "513M",
                                      "1kk",
                                      "1:-1",
                                      "1:2,3:",
                                      "99999999999999999999"};
    struct options_sizes sizes;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(values_parse(&sizes, bad[i], strlen(bad[i])));
    assert_true(values_parse(&sizes, "512m", 4));
    assert_int_equal(sizes.low, OPTIONS_DATA_MAX);
}

static void draws_repeat_with_their_seed(void **state)
{
    (void)state;
    static const enum bench_keys kinds[] = {KEYS_UNIFORM, KEYS_ZIPFIAN, KEYS_HOT, KEYS_LATEST};
    for (unsigned i = 0; i < 4; i++) {
        struct keys a, b;
        uint64_t x = 77, y = 77, z = 78;
        unsigned same = 0;
        assert_true(keys_init(&a, kinds[i], &plain, 1000000, 0, 0));
        assert_true(keys_init(&b, kinds[i], &plain, 1000000, 0, 0));
        for (unsigned j = 0; j < 1000; j++) {
            uint64_t key = keys_next(&a, &x);
            assert_int_equal(key, keys_next(&b, &y));
            same += key == keys_next(&b, &z);
        }
        assert_in_range(same, 0, 100); // another seed draws otherwise
        keys_free(&a);
        keys_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_keys_are_uniform),
        cmocka_unit_test(zipfian_ranks_follow_their_law),
        cmocka_unit_test(zipfian_tail_follows_its_law),
        cmocka_unit_test(zipfian_probabilities_are_within_what_is_claimed),
        cmocka_unit_test(zipfian_of_a_trillion),
        cmocka_unit_test(ranks_are_scattered_one_to_one),
        cmocka_unit_test(hot_keys_get_their_share),
        cmocka_unit_test(sequential_keys_are_divided_among_threads),
        cmocka_unit_test(new_keys_are_new),
        cmocka_unit_test(latest_keys_are_the_newest_that_are_there),
        cmocka_unit_test(weights_are_kept),
        cmocka_unit_test(lengths_follow_their_options),
        cmocka_unit_test(lengths_that_are_none_are_refused),
        cmocka_unit_test(draws_repeat_with_their_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
