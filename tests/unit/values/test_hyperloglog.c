// A HyperLogLog against an array of registers: whatever form it has, it says what the array says.
// And bytes that are damaged: every function stays within them (run it with the address sanitizer)
// and either refuses them or agrees with itself.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <mimalloc.h>

#include "dataplane/store/values/hyperloglog.h"

enum { SEEDS = 8, STEPS = 3000, DAMAGED = 4000 };
#define SPARSE_MAX 3000

static uint64_t state;

static uint64_t draw(void)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

// --- against the model --------------------------------------------------------------------------

static void compare(const struct hll *h, const uint8_t model[HLL_REGISTERS])
{
    static uint8_t registers[HLL_REGISTERS];
    memset(registers, 0, sizeof(registers));
    assert_true(hll_is(h->bytes, h->len));
    assert_true(hll_merge(registers, h->bytes, h->len));
    assert_memory_equal(registers, model, HLL_REGISTERS);
    uint64_t estimate;
    assert_true(hll_estimate(h->bytes, h->len, &estimate));
    assert_int_equal(estimate, hll_estimate_registers(model));
    if (hll_is_dense(h->bytes))
        for (unsigned i = 0; i < HLL_REGISTERS; i++)
            assert_int_equal(hll_dense_get(h->bytes, i), model[i]);
}

// Runs are as short a text as the format makes them: no two that could be one in a row of values.
static void check_runs(const struct hll *h)
{
    for (size_t at = HLL_HEADER_BYTES; at < h->len;) {
        struct hll_run run = hll_run(h->bytes, h->len, at);
        at += run.bytes;
        assert_true(at <= h->len);
        assert_true(run.value || run.bytes == 1 || run.length > 64);
    }
}

static void test_model(void **unused)
{
    (void)unused;
    static uint8_t model[HLL_REGISTERS];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        state = seed;
        memset(model, 0, sizeof(model));
        struct hll h;
        assert_true(hll_open_empty(&h));
        uint64_t sparse_max = seed % 3 == 0 ? 20000 : SPARSE_MAX;
        bool narrow = seed % 2; // few registers, so that runs of values are made and joined
        for (unsigned step = 0; step < STEPS; step++) {
            struct hll_mark mark = {
                .index = (uint32_t)(draw() % (narrow ? 300 : HLL_REGISTERS)),
                .value = (uint8_t)(1 + draw() % (seed % 4 ? 4 : 32)),
            };
            if (seed > SEEDS - 3 && step == STEPS / 2)
                mark.value = 33; // which only a dense one holds
            enum hll_result result = hll_raise(&h, mark, sparse_max, NULL);
            assert_int_equal(result, model[mark.index] < mark.value ? HLL_CHANGED : HLL_SAME);
            if (model[mark.index] < mark.value)
                model[mark.index] = mark.value;
            assert_true(hll_is_dense(h.bytes) || h.len <= sparse_max);
            if (step % 500 == 0) {
                compare(&h, model);
                if (!hll_is_dense(h.bytes))
                    check_runs(&h);
            }
        }
        compare(&h, model);
        struct hll other;
        assert_true(hll_open_empty(&other));
        hll_raise_all(&other, model, sparse_max);
        compare(&other, model);
        hll_raise_all(&other, model, 0); // nothing grows, so it stays as it is
        compare(&other, model);
        hll_close(&other);
        enum hll_result result = hll_make_dense(&h);
        assert_true(result == HLL_CHANGED || result == HLL_SAME);
        compare(&h, model);
        hll_close(&h);
    }
}

// Going on from the last place gives the same bytes as searching from the start.
static void test_place(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= SEEDS / 2; seed++) {
        state = seed;
        struct hll a, b;
        assert_true(hll_open_empty(&a));
        for (unsigned i = 0; i < 400 * (seed % 3); i++) {
            struct hll_mark mark = {(uint32_t)(draw() % HLL_REGISTERS), (uint8_t)(1 + draw() % 3)};
            hll_raise(&a, mark, 20000, NULL);
        }
        assert_true(hll_open(&b, a.bytes, a.len));
        struct hll_place place = {0};
        uint64_t stride = 2 + draw() % 6;
        for (uint32_t i = 0; i < HLL_REGISTERS; i += (uint32_t)(1 + draw() % stride)) {
            struct hll_mark mark = {i, (uint8_t)(1 + draw() % 3)};
            assert_int_equal(hll_raise(&a, mark, 20000, NULL), hll_raise(&b, mark, 20000, &place));
            if (i % 64 == 0) {
                assert_int_equal(a.len, b.len);
                assert_memory_equal(a.bytes, b.bytes, a.len);
            }
        }
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.bytes, b.bytes, a.len);
        hll_close(&a);
        hll_close(&b);
    }
}

static void test_estimate(void **unused)
{
    (void)unused;
    struct hll h;
    assert_true(hll_open_empty(&h));
    uint64_t estimate, next = 1;
    assert_true(hll_kept(h.bytes, &estimate));
    assert_int_equal(estimate, 0);
    for (uint64_t n = 1; n <= 200000; n++) {
        struct hll_mark mark = hll_mark(&n, sizeof(n));
        assert_true(mark.index < HLL_REGISTERS && mark.value >= 1 && mark.value <= 51);
        hll_raise(&h, mark, SPARSE_MAX, NULL);
        if (n != next)
            continue;
        next = next * 3 + 1;
        assert_true(hll_estimate(h.bytes, h.len, &estimate));
        assert_true(llabs((long long)(estimate - n)) <= 1 + (long long)n / 25);
    }
    uint8_t kept[8];
    hll_keep(kept, 12345);
    memcpy(h.bytes + HLL_ESTIMATE_OFFSET, kept, sizeof(kept));
    assert_true(hll_kept(h.bytes, &estimate));
    assert_int_equal(estimate, 12345);
    hll_outdate(&h);
    assert_false(hll_kept(h.bytes, &estimate));
    assert_true(hll_is_dense(h.bytes));
    hll_close(&h);
}

// --- damage -------------------------------------------------------------------------------------

static size_t damage(uint8_t *bytes, size_t len)
{
    for (uint64_t i = draw() % 4; i < 4; i++) {
        size_t body = len > HLL_HEADER_BYTES ? len - HLL_HEADER_BYTES : 0;
        switch (draw() % 4) {
        case 0:
            if (body)
                bytes[HLL_HEADER_BYTES + draw() % body] = (uint8_t)draw();
            break;
        case 1:
            len -= draw() % (len / 4 + 1);
            break;
        case 2:
            if (body)
                bytes[len - 1] = 0x40 | (draw() & 0x3f);
            break;
        default:
            if (draw() % 8 == 0 && len > 5)
                bytes[4] = (uint8_t)(draw() % 3);
            break;
        }
    }
    return len;
}

// Everything that commands do to what a client wrote. The bytes have a block of their own, so that
// the sanitizer sees each step beyond them.
static void use(const uint8_t *damaged, size_t len)
{
    static uint8_t registers[HLL_REGISTERS], again[HLL_REGISTERS];
    uint8_t *bytes = malloc(len ? len : 1);
    memcpy(bytes, damaged, len);
    if (!hll_is(bytes, len)) {
        free(bytes);
        return;
    }
    uint64_t estimate, other;
    memset(registers, 0, sizeof(registers));
    bool sound = hll_merge(registers, bytes, len);
    assert_int_equal(hll_estimate(bytes, len, &estimate), sound);
    if (sound && !hll_is_dense(bytes))
        assert_int_equal(hll_estimate_registers(registers), estimate);
    size_t at = HLL_HEADER_BYTES;
    while (!hll_is_dense(bytes) && at < len)
        at += hll_run(bytes, len, at).bytes;

    struct hll h;
    assert_true(hll_open(&h, bytes, len));
    struct hll_place place = {0};
    for (uint32_t i = (uint32_t)(draw() % 2000); i < HLL_REGISTERS;
         i += 1 + (uint32_t)(draw() % 2000)) {
        struct hll_mark mark = {i, (uint8_t)(1 + draw() % 40)};
        if (hll_raise(&h, mark, SPARSE_MAX, &place) == HLL_CORRUPT)
            break;
        if (registers[i] < mark.value)
            registers[i] = mark.value;
    }
    if (sound) { // and so it stays
        memset(again, 0, sizeof(again));
        assert_true(hll_merge(again, h.bytes, h.len));
        if (!hll_is_dense(bytes))
            assert_memory_equal(again, registers, HLL_REGISTERS);
        assert_true(hll_estimate(h.bytes, h.len, &other));
    }
    enum hll_result result = hll_make_dense(&h);
    assert_true(result != HLL_NO_MEMORY);
    hll_close(&h);
    free(bytes);
}

static void test_damage(void **unused)
{
    (void)unused;
    struct hll h;
    assert_true(hll_open_empty(&h));
    state = 77;
    uint8_t *bytes = malloc(HLL_DENSE_BYTES);
    for (unsigned i = 0; i < DAMAGED; i++) {
        // It grows now and then, so that damage meets every form; dense at the very end only.
        if (i % 50 == 0) {
            struct hll_mark mark = {(uint32_t)(draw() % HLL_REGISTERS), (uint8_t)(1 + draw() % 32)};
            hll_raise(&h, mark, SPARSE_MAX, NULL);
        }
        if (i == DAMAGED - DAMAGED / 20)
            hll_make_dense(&h);
        memcpy(bytes, h.bytes, h.len);
        use(bytes, damage(bytes, h.len));
    }
    free(bytes);
    hll_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_estimate),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
