// Commands as workloads: their bytes, and the end of any reply wherever it is cut.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bench/protocol.h"

static uint8_t written[4096];

static void no_more_room(struct out *o, size_t need)
{
    (void)o;
    (void)need;
    fail_msg("wrote more than a request takes");
}

static const struct out_ops ops = {.grow = no_more_room};

static void expect(struct template *t, uint64_t key, const char *request)
{
    struct out o = {.pos = written, .end = written + sizeof(written), .ops = &ops};
    template_write(t, &o, key);
    *o.pos = 0;
    assert_string_equal((char *)written, request);
}

static void placeholders_are_filled(void **state)
{
    (void)state;
    struct template t;
    char error[256];
    assert_true(template_parse(&t, "HSET h:{key} f{sequence} {data} \"a b\" {data:2}", 3, 10, 1,
                               error, sizeof(error)));
    expect(&t, 7,
           "*6\r\n$4\r\nHSET\r\n$14\r\nh:000000000007\r\n$13\r\nf000000000000\r\n$3\r\nabc\r\n"
           "$3\r\na b\r\n$2\r\nab\r\n");
    expect(&t, 123456789012,
           "*6\r\n$4\r\nHSET\r\n$14\r\nh:123456789012\r\n$13\r\nf000000000001\r\n$3\r\nabc\r\n"
           "$3\r\na b\r\n$2\r\nab\r\n");
    template_free(&t);
}

static void random_numbers_stay_below(void **state)
{
    (void)state;
    struct template t;
    char error[256];
    bool seen[5] = {0};
    assert_true(template_parse(&t, "X {random:5}", 3, 10, 1, error, sizeof(error)));
    for (unsigned i = 0; i < 200; i++) {
        struct out o = {.pos = written, .end = written + sizeof(written), .ops = &ops};
        template_write(&t, &o, 0);
        uint8_t digit = written[strlen("*2\r\n$1\r\nX\r\n$12\r\n") + 11];
        assert_in_range(digit, '0', '4');
        seen[digit - '0'] = true;
    }
    for (unsigned i = 0; i < 5; i++)
        assert_true(seen[i]);
    template_free(&t);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {"", "   ", "GET {kay}", "SET k {data:99999999999}",
                                        "SET k \"a b"};
    for (unsigned i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        struct template t;
        char error[256] = "";
        assert_false(template_parse(&t, lines[i], 3, 10, 1, error, sizeof(error)));
        assert_int_equal(strncmp(error, "--command", 9), 0);
    }
}

// Two replies in a row, cut at every place: the first ends where it ends.
static void any_reply_ends_where_it_ends(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum reply_kind kind;
    } replies[] = {
        {":1\r\n", REPLY_OK},
        {"+OK\r\n", REPLY_OK},
        {"-ERR no\r\n", REPLY_ERROR},
        {"$-1\r\n", REPLY_MISS},
        {"*-1\r\n", REPLY_MISS},
        {"$0\r\n\r\n", REPLY_OK},
        {"$3\r\na\r\n\r\n", REPLY_OK},
        {"*0\r\n", REPLY_OK},
        {"*3\r\n$1\r\na\r\n:5\r\n$-1\r\n", REPLY_OK},
        {"*2\r\n*2\r\n$1\r\na\r\n*0\r\n*1\r\n-ERR inside\r\n", REPLY_OK},
    };
    struct protocol p;
    static const struct preset test = {.name = "any"};
    const struct options o = {.threads = 1, .keys = 10, .data = {.low = 3, .high = 3}};
    char error[256];
    assert_true(protocol_init(&p, &test, &o, 0, error, sizeof(error)));
    struct request r = {.op = COMMAND_ANY};
    for (unsigned i = 0; i < sizeof(replies) / sizeof(*replies); i++) {
        char text[256];
        size_t first = strlen(replies[i].text);
        int len = snprintf(text, sizeof(text), "%s:7\r\n", replies[i].text);
        for (size_t step = 1; step <= (size_t)len; step++) {
            struct scanner s = {0};
            enum reply_kind kind = REPLY_MORE;
            size_t at = 0, used;
            while (kind == REPLY_MORE) {
                assert_true(at < (size_t)len);
                size_t n = (size_t)len - at < step ? (size_t)len - at : step;
                kind = protocol_scan(&p, &s, r, (const uint8_t *)text + at, n, &used);
                at += used;
            }
            assert_int_equal(kind, replies[i].kind);
            assert_int_equal(at, first);
        }
    }
    protocol_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placeholders_are_filled),
        cmocka_unit_test(random_numbers_stay_below),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(any_reply_ends_where_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
