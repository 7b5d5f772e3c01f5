// An intset does what a plain sorted array does, whatever is added and removed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <mimalloc.h>

#include "dataplane/store/values/intset.h"

enum { MODEL_MAX = 4096, SEEDS = 60, STEPS = 3000 };

static uint64_t state;

static uint64_t draw(void)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

// Values of a kind: within 16 bits, 32, 64, or at the edges.
static int64_t draw_value(unsigned kinds)
{
    static const int64_t edges[] = {0,
                                    -1,
                                    INT16_MIN,
                                    INT16_MAX,
                                    INT16_MIN - 1,
                                    INT16_MAX + 1,
                                    INT32_MIN,
                                    INT32_MAX,
                                    (int64_t)INT32_MIN - 1,
                                    (int64_t)INT32_MAX + 1,
                                    INT64_MIN,
                                    INT64_MAX};
    switch (draw() % kinds) {
    case 0:
        return (int64_t)(draw() % 400) - 200;
    case 1:
        return (int16_t)draw();
    case 2:
        return (int32_t)draw();
    case 3:
        return edges[draw() % (sizeof(edges) / sizeof(edges[0]))];
    default:
        return (int64_t)draw();
    }
}

struct model {
    int64_t values[MODEL_MAX];
    uint32_t n;
};

static uint32_t model_place(const struct model *m, int64_t value)
{
    uint32_t i = 0;
    while (i < m->n && m->values[i] < value)
        i++;
    return i;
}

static bool model_has(const struct model *m, int64_t value)
{
    uint32_t i = model_place(m, value);
    return i < m->n && m->values[i] == value;
}

static void model_add(struct model *m, int64_t value)
{
    uint32_t i = model_place(m, value);
    memmove(&m->values[i + 1], &m->values[i], (m->n - i) * sizeof(value));
    m->values[i] = value;
    m->n++;
}

static void model_remove(struct model *m, int64_t value)
{
    uint32_t i = model_place(m, value);
    m->n--;
    memmove(&m->values[i], &m->values[i + 1], (m->n - i) * sizeof(value));
}

static void check(const uint8_t *is, const struct model *m)
{
    assert_int_equal(intset_count(is), m->n);
    for (uint32_t i = 0; i < m->n; i++)
        assert_true(intset_at(is, i) == m->values[i]);
    assert_true(intset_memory(is) >= intset_bytes(is));
    assert_int_equal(intset_validate(is, intset_bytes(is)), m->n > 0);
}

static void test_model(void **unused)
{
    (void)unused;
    static struct model m;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        state = seed;
        m.n = 0;
        uint8_t *is = intset_new();
        for (unsigned step = 0; step < STEPS; step++) {
            int64_t value = draw_value(1 + (unsigned)seed % 5);
            if (m.n && draw() % 4 == 0)
                value = m.values[draw() % m.n];
            bool there = model_has(&m, value), done;
            assert_int_equal(intset_has(is, value), there);
            if (draw() % 100 < (step < STEPS / 2 ? 70 : 30)) {
                is = intset_add(is, value, &done);
                assert_int_equal(done, !there);
                if (!there)
                    model_add(&m, value);
            } else {
                is = intset_remove(is, value, &done);
                assert_int_equal(done, there);
                if (there)
                    model_remove(&m, value);
            }
            assert_non_null(is);
            if (step % 50 == 0)
                check(is, &m);
        }
        check(is, &m);
        uint8_t *copy = intset_copy(is);
        check(copy, &m);
        intset_free(copy);
        intset_free(is);
    }
}

// The bytes that Redis's files hold.
static void test_format(void **unused)
{
    (void)unused;
    bool done;
    uint8_t *is = intset_new();
    is = intset_add(is, 3, &done);
    is = intset_add(is, -2, &done);
    const uint8_t narrow[] = {2, 0, 0, 0, 2, 0, 0, 0, 0xfe, 0xff, 3, 0};
    assert_int_equal(intset_bytes(is), sizeof(narrow));
    assert_memory_equal(is, narrow, sizeof(narrow));
    is = intset_add(is, 70000, &done);
    const uint8_t wider[] = {4,    0,    0, 0, 3, 0, 0,    0,    0xfe, 0xff,
                             0xff, 0xff, 3, 0, 0, 0, 0x70, 0x11, 1,    0};
    assert_int_equal(intset_bytes(is), sizeof(wider));
    assert_memory_equal(is, wider, sizeof(wider));
    is = intset_add(is, INT64_MIN, &done);
    assert_int_equal(is[0], 8);
    assert_int_equal(intset_bytes(is), 8 + 4 * 8);
    assert_true(intset_at(is, 0) == INT64_MIN);
    // It never becomes narrower.
    is = intset_remove(is, INT64_MIN, &done);
    assert_int_equal(is[0], 8);
    assert_int_equal(intset_bytes(is), 8 + 3 * 8);
    intset_free(is);
}

static void test_validate(void **unused)
{
    (void)unused;
    uint8_t good[] = {2, 0, 0, 0, 2, 0, 0, 0, 0xfe, 0xff, 3, 0};
    assert_true(intset_validate(good, sizeof(good)));
    for (size_t len = 0; len < sizeof(good); len++)
        assert_false(intset_validate(good, len));
    uint8_t bad[sizeof(good)];
    for (unsigned i = 0; i < 8; i++) {
        memcpy(bad, good, sizeof(good));
        bad[i] ^= 1;
        assert_false(intset_validate(bad, sizeof(bad)));
    }
    memcpy(bad, good, sizeof(good));
    memcpy(bad + 8, good + 10, 2);
    assert_false(intset_validate(bad, sizeof(bad))); // twice the same
    bad[8] = 4;
    assert_false(intset_validate(bad, sizeof(bad))); // descending
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_validate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
