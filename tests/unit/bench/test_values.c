// Values that can be recognised: whatever is wrong with one must be seen, at every size and
// wherever it is cut, and nothing else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/values.h"

static char evidence[256];

// Checks `size` bytes in pieces of at most `step`.
static bool check(uint64_t key, const uint8_t *value, size_t size, size_t step, bool perhaps)
{
    struct value_check c;
    evidence[0] = 0;
    value_check_begin(&c, key, size, perhaps);
    for (size_t at = 0; at < size; at += step)
        if (!value_check_bytes(&c, value + at, size - at < step ? size - at : step, evidence,
                               sizeof(evidence)))
            return false;
    return true;
}

static void what_was_written_is_right_at_every_size(void **state)
{
    (void)state;
    static uint8_t value[1100], piece[1100];
    for (uint32_t size = 0; size < sizeof(value); size++) {
        value_write(value, 0, size, 42, 7, size);
        for (size_t step = 1; step <= size; step = step * 2 + 1) {
            assert_true(check(42, value, size, step, false));
            assert_true(check(VALUE_ANY_KEY, value, size, step, false));
            // Written in pieces it is the same.
            for (size_t at = 0; at < size; at += step)
                value_write(piece + at, at, size - at < step ? size - at : step, 42, 7, size);
            assert_memory_equal(piece, value, size);
        }
    }
}

static void a_head_can_be_read(void **state)
{
    (void)state;
    uint8_t value[41] = {0};
    value_write(value, 0, 40, 123456789012, 0x1b, 40);
    assert_memory_equal(value, "key:1234567890120000001b00000028", 32);
    for (unsigned i = 32; i < 40; i++)
        assert_in_range(value[i], 'a', 'p');
}

static void every_wrong_byte_is_seen(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 2, 8, 15, 16, 31, 32, 39, 40, 41, 64, 100, 600};
    static uint8_t value[600];
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        uint32_t size = sizes[i];
        value_write(value, 0, size, 42, 7, size);
        for (uint32_t at = 0; at < size; at++)
            for (unsigned bit = 0; bit < 8; bit++) {
                value[at] ^= (uint8_t)(1u << bit);
                for (size_t step = 1; step <= size; step = step * 4 + 3)
                    assert_false(check(42, value, size, step, false));
                assert_true(strlen(evidence) > 20);
                assert_null(strchr(evidence, '\n'));
                value[at] ^= (uint8_t)(1u << bit);
            }
    }
}

static void another_value_is_seen(void **state)
{
    (void)state;
    static uint8_t value[1000];
    unsigned unseen = 0;
    for (uint32_t size = 1; size < 200; size++) {
        // Of another key. A single letter is the same for one key in sixteen.
        value_write(value, 0, size, 43, 7, size);
        unseen += check(42, value, size, size, false);
        // Of another length: cut, or the beginning of a longer one.
        value_write(value, 0, size + 40, 42, 7, size + 40);
        if (size >= 4)
            assert_false(check(42, value, size, 7, false));
        // The first half of one writing and the second of another.
        if (size >= 56) {
            value_write(value, 0, size / 2, 42, 7, size);
            value_write(value + size / 2, size / 2, size - size / 2, 42, 8, size);
            assert_false(check(42, value, size, 7, false));
        }
    }
    assert_in_range(unseen, 0, 2);
    value_write(value, 0, 64, 43, 7, 64);
    assert_false(check(42, value, 64, 64, false));
    assert_string_equal(evidence,
                        "value at offset 0: expected key:000000000042, got key:000000000043 "
                        "(stamp 00000007), the value of another key");
    value_write(value, 0, 70, 42, 7, 70);
    assert_false(check(42, value, 64, 64, false));
    assert_string_equal(evidence,
                        "value at offset 24: written with 70 bytes (stamp 00000007), got 64");
    memset(value, 'x', 64);
    assert_false(check(42, value, 64, 64, false));
    assert_string_equal(evidence, "value of 64 bytes, at offset 0: expected one written with "
                                  "--verify, got \"xxxxxxxxxxxxxxxxxxxxxxxx\"");
    value_write(value, 0, 64, 42, 7, 64);
    value[50] = '\n';
    assert_false(check(42, value, 64, 64, false));
    assert_int_equal(strncmp(evidence, "value of 64 bytes, at offset 50: expected \"", 43), 0);
    assert_non_null(strstr(evidence, "got \"\\x0a"));
}

static void what_need_not_be_a_value_is_let_pass(void **state)
{
    (void)state;
    uint8_t value[64];
    memset(value, 'x', sizeof(value));
    assert_true(check(42, value, 64, 5, true));
    assert_true(check(42, value, 3, 5, true));
    value_write(value, 0, 64, 42, 7, 64);
    assert_true(check(42, value, 64, 5, true));
    value[40] ^= 1;
    assert_false(check(42, value, 64, 5, true));
    assert_false(check(VALUE_ANY_KEY, value, 64, 5, true));
}

static void bytes_are_shown_on_one_line(void **state)
{
    (void)state;
    char text[16];
    assert_string_equal(value_show(text, sizeof(text), "a\r\\b", 4), "a\\x0d\\x5cb");
    assert_string_equal(value_show(text, sizeof(text), "abcdefghijklmnopq", 17), "abcdefghijk");
    assert_string_equal(value_show(text, sizeof(text), "", 0), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_right_at_every_size),
        cmocka_unit_test(a_head_can_be_read),
        cmocka_unit_test(every_wrong_byte_is_seen),
        cmocka_unit_test(another_value_is_seen),
        cmocka_unit_test(what_need_not_be_a_value_is_let_pass),
        cmocka_unit_test(bytes_are_shown_on_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
