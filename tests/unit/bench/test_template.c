// Commands as workloads: their bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/template.h"
#include "common/slot.h"
#include "tests/unit/bench/written.h"

static uint8_t bytes[70000];
static char error[256];

static const struct options_sizes three = {.low = 3, .high = 3};
static const struct template_context context = {
    .data = &three, .keys = 10, .seed = 1, .expire_s = 3600, .threads = 1};

static void parse(struct template *t, const char *line)
{
    if (!template_parse(t, line, &context, error, sizeof(error)))
        fail_msg("%s: %s", line, error);
}

// Writes a request into spans of `step` bytes and gives its bytes.
static const char *request(struct template *t, uint64_t key, size_t step)
{
    static struct written w;
    written_begin(&w, bytes, step);
    size_t n = template_write(t, &w.out, key);
    assert_int_equal(written_end(&w), n);
    return (const char *)bytes;
}

static void expect(const char *line, uint64_t key, const char *wanted)
{
    struct template t;
    parse(&t, line);
    assert_string_equal(request(&t, key, 4096), wanted);
    assert_string_equal(request(&t, key, 1), wanted);
    template_free(&t);
}

static void digits_of_all_kinds(void **state)
{
    (void)state;
    uint8_t to[13] = {0};
    char wanted[16];
    uint64_t n = 0;
    for (unsigned i = 0; i < 200000; i++) {
        template_digits(to, n);
        snprintf(wanted, sizeof(wanted), "%012llu", (unsigned long long)n);
        assert_string_equal((char *)to, wanted);
        n = i < 12000 ? n + 1 : (n * 6364136223846793005u + 1442695040888963407u) % 1000000000000u;
    }
    template_digits(to, 999999999999);
    assert_string_equal((char *)to, "999999999999");
}

static void placeholders_are_filled(void **state)
{
    (void)state;
    struct template t;
    parse(&t, "HSET h:{key} f{sequence} {data} \"a b\" {data:2}");
    assert_string_equal(
        request(&t, 7, 4096),
        "*6\r\n$4\r\nHSET\r\n$14\r\nh:000000000007\r\n$13\r\nf000000000000\r\n$3\r\nabc\r\n"
        "$3\r\na b\r\n$2\r\nab\r\n");
    assert_string_equal(
        request(&t, 123456789012, 4096),
        "*6\r\n$4\r\nHSET\r\n$14\r\nh:123456789012\r\n$13\r\nf000000000001\r\n$3\r\nabc\r\n"
        "$3\r\na b\r\n$2\r\nab\r\n");
    template_free(&t);
    // More than a span.
    struct template longer;
    static char text[1100];
    parse(&t, "SET k {data:1k}x EX {expire}");
    parse(&longer, "SET k {data:1024}x EX 3600");
    strcpy(text, request(&longer, 1, 4096));
    assert_ptr_equal(strstr(text, "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1025\r\nabcdef"), text);
    assert_string_equal(request(&t, 1, 300), text);
    template_free(&t);
    template_free(&longer);
}

static void words_are_taken_apart(void **state)
{
    (void)state;
    expect("GET", 1, "*1\r\n$3\r\nGET\r\n");
    expect("  ECHO   \"\"  ", 1, "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n");
    expect("ECHO \"a\\\"b\\\\c\\n\\x41\\q\"", 1, "*2\r\n$4\r\nECHO\r\n$8\r\na\"b\\c\nAq\r\n");
    expect("ECHO \";\" a;b", 1, "*3\r\n$4\r\nECHO\r\n$1\r\n;\r\n$3\r\na;b\r\n");
    expect("SET {{u:{key}}}:x }{{", 5,
           "*3\r\n$3\r\nSET\r\n$18\r\n{u:000000000005}:x\r\n$2\r\n}{\r\n");
    expect("MSET {{{key}}} 1", 5, "*3\r\n$4\r\nMSET\r\n$14\r\n{000000000005}\r\n$1\r\n1\r\n");
}

static void several_commands_are_one_request(void **state)
{
    (void)state;
    struct template t;
    parse(&t, "GET a{key} ; SET b{key} {data} ; PING");
    assert_int_equal(t.replies, 3);
    assert_string_equal(
        request(&t, 9, 4096),
        "*2\r\n$3\r\nGET\r\n$13\r\na000000000009\r\n*3\r\n$3\r\nSET\r\n$13\r\nb000000000009\r\n"
        "$3\r\nabc\r\n*1\r\n$4\r\nPING\r\n");
    template_free(&t);
}

// Reads a number of `digits` digits (0: as many as there are) at *p.
static uint64_t number_at(const char **p, unsigned digits)
{
    char *end;
    uint64_t n = strtoull(*p, &end, 10);
    if (digits)
        assert_int_equal(end - *p, digits);
    *p = end;
    return n;
}

static void random_numbers_stay_in_their_bounds(void **state)
{
    (void)state;
    struct template t;
    bool below[5] = {0}, field[10] = {0}, number[101] = {0}, teen[20] = {0};
    parse(&t, "X {random:5} {field:10} {number:1-100} {number:10-19} {random}");
    for (unsigned i = 0; i < 3000; i++) {
        const char *p = request(&t, 0, 64);
        assert_int_equal(strncmp(p, "*6\r\n$1\r\nX\r\n$12\r\n", 16), 0);
        p += 16;
        below[number_at(&p, 12)] = true;
        assert_int_equal(strncmp(p, "\r\n$1\r\n", 6), 0);
        p += 6;
        field[number_at(&p, 1)] = true;
        unsigned digits = (unsigned)(p[3] - '0');
        assert_in_range(digits, 1, 3);
        p += 6;
        assert_int_not_equal(*p, '0');
        uint64_t n = number_at(&p, digits);
        assert_in_range(n, 1, 100);
        number[n] = true;
        p += 6;
        n = number_at(&p, 2);
        assert_in_range(n, 10, 19);
        teen[n] = true;
        p += 7;
        assert_true(number_at(&p, 12) < 10);
        assert_string_equal(p, "\r\n");
    }
    for (unsigned i = 0; i < 5; i++)
        assert_true(below[i]);
    for (unsigned i = 0; i < 10; i++)
        assert_true(field[i] && teen[10 + i]);
    for (unsigned i = 1; i <= 100; i++)
        assert_true(number[i]);
    template_free(&t);
}

// Whole requests, read back word by word: each length says how long its word is.
static void values_of_changing_length_have_the_length_they_say(void **state)
{
    (void)state;
    struct template t;
    bool seen[41] = {0};
    unsigned heavy = 0;
    parse(&t, "SET k:{key} a{data:0-40}b{data:0-3}c {data:700:1,2:9} {key}");
    for (unsigned i = 0; i < 2000; i++) {
        const char *p = request(&t, i, 1 + i % 700);
        static const char head[] = "*5\r\n$3\r\nSET\r\n$14\r\nk:";
        assert_int_equal(strncmp(p, head, strlen(head)), 0);
        p += strlen(head);
        assert_int_equal(number_at(&p, 12), i);
        for (unsigned word = 0; word < 3; word++) {
            assert_int_equal(strncmp(p, "\r\n$", 3), 0);
            p += 3;
            uint64_t len = number_at(&p, 0);
            const char *from = p += 2;
            p += len;
            if (word == 0) {
                assert_int_equal(*from, 'a');
                assert_int_equal(p[-1], 'c');
                seen[strchr(from, 'b') == from + 1 ? 0 : len - 3 <= 40 ? len - 3 : 40] = true;
            } else if (word == 1) {
                assert_true(len == 700 || len == 2);
                heavy += len == 700;
                for (uint64_t k = 0; k < len; k++)
                    assert_int_equal(from[k], 'a' + (int)(k % 26));
            } else {
                assert_int_equal(len, 12);
            }
        }
        assert_string_equal(p, "\r\n");
    }
    for (unsigned i = 0; i <= 40; i++)
        assert_true(seen[i]);
    assert_in_range(heavy, 130, 280);
    template_free(&t);
}

static void values_can_be_recognised(void **state)
{
    (void)state;
    static const char *const sizes[] = {"64", "5", "2000", "40-90"};
    struct template_context c = context;
    c.verify = true;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        char line[64];
        struct template t;
        snprintf(line, sizeof(line), "SET k:{key} {data:%s}", sizes[i]);
        assert_true(template_parse(&t, line, &c, error, sizeof(error)));
        for (unsigned key = 0; key < 50; key++) {
            struct value_check check;
            const char *p = strstr(request(&t, key, 600), "\r\nk:") + 17;
            p++;
            uint64_t len = number_at(&p, 0);
            value_check_begin(&check, key, len, false);
            assert_true(
                value_check_bytes(&check, (const uint8_t *)p + 2, len, error, sizeof(error)));
            assert_false(value_check_bytes(&check, (const uint8_t *)"x", 1, error, sizeof(error)));
        }
        template_free(&t);
    }
}

static void sequences_of_threads_do_not_meet(void **state)
{
    (void)state;
    bool seen[300] = {0};
    for (unsigned thread = 0; thread < 3; thread++) {
        struct template_context c = context;
        struct template t;
        c.thread = thread;
        c.threads = 3;
        assert_true(template_parse(&t, "X {sequence}", &c, error, sizeof(error)));
        for (unsigned i = 0; i < 100; i++) {
            const char *p = request(&t, 0, 4096) + 16;
            uint64_t n = number_at(&p, 12);
            assert_true(n < 300 && !seen[n]);
            seen[n] = true;
        }
        template_free(&t);
    }
}

static void slots_are_those_of_the_key(void **state)
{
    (void)state;
    struct template t;
    parse(&t, "LPUSH list:{key} {data:10-20}");
    assert_int_equal(template_slot(&t, 77), slot_of_key((const uint8_t *)"list:000000000077", 17));
    template_free(&t);
    parse(&t, "LPUSH a{{{key}}}b x");
    assert_int_equal(template_slot(&t, 77), slot_of_key((const uint8_t *)"000000000077", 12));
    template_free(&t);
    parse(&t, "LPUSH list x ; GET {random}");
    assert_int_equal(template_slot(&t, 77), slot_of_key((const uint8_t *)"list", 4));
    template_free(&t);
    static const char *const unknown[] = {"PING", "GET {random}", "GET {key}{sequence}",
                                          "GET {data:1-2}"};
    for (unsigned i = 0; i < sizeof(unknown) / sizeof(*unknown); i++) {
        parse(&t, unknown[i]);
        assert_int_equal(template_slot(&t, 77), SLOTS);
        template_free(&t);
    }
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {"",
                                        "   ",
                                        "GET {kay}",
                                        "SET k {data:99999999999}",
                                        "SET k \"a b",
                                        "GET {key",
                                        "GET {key:5}",
                                        "X {random:0}",
                                        "X {random:x}",
                                        "X {field}",
                                        "X {number}",
                                        "X {number:5}",
                                        "X {number:5-4}",
                                        "X {number:1-2x}",
                                        "X {data:}",
                                        ";",
                                        "GET a ; ",
                                        "; GET a",
                                        "GET a ; ; GET b",
                                        "X {}",
                                        "X {random:9999999999999}"};
    for (unsigned i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        struct template t;
        error[0] = 0;
        if (template_parse(&t, lines[i], &context, error, sizeof(error)))
            fail_msg("taken: %s", lines[i]);
        assert_int_equal(strncmp(error, "--command: ", 11), 0);
        assert_null(strchr(error, '\n'));
    }
}

static void limits_are_limits(void **state)
{
    (void)state;
    struct template t;
    static char line[20000];
    strcpy(line, "X");
    for (unsigned i = 0; i < TEMPLATE_HOLES_MAX; i++)
        strcat(line, " {key}");
    parse(&t, line);
    template_free(&t);
    strcat(line, " {key}");
    assert_false(template_parse(&t, line, &context, error, sizeof(error)));
    strcpy(line, "X");
    for (unsigned i = 1; i < TEMPLATE_WORDS_MAX; i++)
        strcat(line, " a");
    parse(&t, line);
    template_free(&t);
    strcat(line, " a");
    assert_false(template_parse(&t, line, &context, error, sizeof(error)));
    assert_false(template_parse(&t, "SET k {data:40m}{data:40m}", &context, error, sizeof(error)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_of_all_kinds),
        cmocka_unit_test(placeholders_are_filled),
        cmocka_unit_test(words_are_taken_apart),
        cmocka_unit_test(several_commands_are_one_request),
        cmocka_unit_test(random_numbers_stay_in_their_bounds),
        cmocka_unit_test(values_of_changing_length_have_the_length_they_say),
        cmocka_unit_test(values_can_be_recognised),
        cmocka_unit_test(sequences_of_threads_do_not_meet),
        cmocka_unit_test(slots_are_those_of_the_key),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(limits_are_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
