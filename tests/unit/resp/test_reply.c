// The reply writer: the bytes of every kind of reply in both protocols, numbers at their limits,
// and lengths around what one room of an output holds.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <mimalloc.h>
#include <stdio.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/resp/reply.h"

static struct outbuf buffer;
#define OUT (&buffer.out)

// Takes what was written, as one text.
static size_t take(char **text)
{
    outbuf_finish(&buffer);
    size_t n = 0;
    *text = mi_malloc(buffer.bytes + 1);
    assert_non_null(*text);
    for (struct outbuf_piece *p = buffer.first; p; p = p->next) {
        memcpy(*text + n, p->block->data + p->offset, p->len);
        n += p->len;
    }
    (*text)[n] = '\0';
    assert_false(buffer.out.failed);
    outbuf_clear(&buffer);
    return n;
}

static void expect(const char *text)
{
    char *written;
    assert_int_equal(take(&written), strlen(text));
    assert_string_equal(written, text);
    mi_free(written);
}

static void test_simple(void **state)
{
    (void)state;
    reply_status(OUT, "OK");
    reply_error(OUT, "ERR no such key");
    reply_bulk_string(OUT, "");
    reply_bulk(OUT, "a\r\nb", 4);
    expect("+OK\r\n-ERR no such key\r\n$0\r\n\r\n$4\r\na\r\nb\r\n");
}

static void test_by_protocol(void **state)
{
    (void)state;
    static const char *const texts[2] = {
        "$-1\r\n*-1\r\n*2\r\n*6\r\n*3\r\n*4\r\n:1\r\n:0\r\n$2\r\nhi\r\n",
        "_\r\n_\r\n*2\r\n%3\r\n~3\r\n>4\r\n#t\r\n#f\r\n=6\r\ntxt:hi\r\n",
    };
    for (int resp = 2; resp <= 3; resp++) {
        reply_null(OUT, resp);
        reply_null_array(OUT, resp);
        reply_array(OUT, 2);
        reply_map(OUT, resp, 3);
        reply_set(OUT, resp, 3);
        reply_push(OUT, resp, 4);
        reply_bool(OUT, resp, true);
        reply_bool(OUT, resp, false);
        reply_verbatim(OUT, resp, "txt", "hi", 2);
        expect(texts[resp - 2]);
    }
}

static void test_doubles(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {3.5, "3.5"},
        {0.1, "0.10000000000000001"},
        {1e21, "1e+21"},
        {-1e-7, "-9.9999999999999995e-08"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[64];
        reply_double(OUT, 3, cases[i].value);
        snprintf(text, sizeof(text), ",%s\r\n", cases[i].text);
        expect(text);
        reply_double(OUT, 2, cases[i].value);
        snprintf(text, sizeof(text), "$%zu\r\n%s\r\n", strlen(cases[i].text), cases[i].text);
        expect(text);
    }
}

static void check_integer(int64_t value)
{
    char digits[32], text[64];
    int n = snprintf(digits, sizeof(digits), "%" PRId64, value);
    reply_integer(OUT, value);
    snprintf(text, sizeof(text), ":%s\r\n", digits);
    expect(text);
    reply_bulk_integer(OUT, value);
    snprintf(text, sizeof(text), "$%d\r\n%s\r\n", n, digits);
    expect(text);

    char formatted[20];
    assert_int_equal(format_int64(formatted, value), n);
    assert_memory_equal(formatted, digits, (size_t)n);
    int64_t back;
    assert_true(parse_int64((const uint8_t *)digits, (size_t)n, &back));
    assert_true(back == value);
}

static void test_integers(void **state)
{
    (void)state;
    check_integer(0);
    check_integer(INT64_MAX);
    check_integer(INT64_MIN);
    for (int64_t power = 1; power <= INT64_MAX / 10; power *= 10) {
        check_integer(power);
        check_integer(power - 1);
        check_integer(power * 9 + 1);
        check_integer(-power);
        check_integer(1 - power);
    }
    uint64_t x = 88172645463325252u; // xorshift: numbers of every length
    for (int i = 0; i < 20000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        check_integer((int64_t)(x >> (i % 64)));
    }
}

static void test_parse_refuses(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "-",
        "+1",
        "01",
        "-0",
        "-01",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x1",
        "--1",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "100000000000000000000",
        "1a",
        "a",
    };
    int64_t value;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_false(parse_int64((const uint8_t *)texts[i], strlen(texts[i]), &value));
    assert_false(parse_int64((const uint8_t *)"1\0", 2, &value));
}

// Around the length up to which a bulk string is written in one room, the span of the first block,
// and those behind it.
static void test_bulk_lengths(void **state)
{
    (void)state;
    static const size_t lengths[] = {0,   1,   9,    10,   99,   100,  499,   500,   501,   511,
                                     512, 513, 1000, 1023, 1024, 4096, 16383, 16384, 300000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t len = lengths[i];
        uint8_t *data = mi_malloc(len + 1);
        assert_non_null(data);
        for (size_t j = 0; j < len; j++)
            data[j] = (uint8_t)(j * 31 + len);
        // Twice, so that the second begins in the middle of a span.
        reply_bulk(OUT, data, len);
        reply_bulk(OUT, data, len);
        char head[32], *text;
        size_t n_head = (size_t)snprintf(head, sizeof(head), "$%zu\r\n", len);
        size_t one = n_head + len + 2;
        assert_int_equal(take(&text), 2 * one);
        for (const char *at = text; at < text + 2 * one; at += one) {
            assert_memory_equal(at, head, n_head);
            assert_memory_equal(at + n_head, data, len);
            assert_memory_equal(at + n_head + len, "\r\n", 2);
        }
        mi_free(text);
        mi_free(data);
    }
}

static void test_block_by_reference(void **state)
{
    (void)state;
    struct block *b = block_new(BLOCK_VALUE_MIN * 2);
    assert_non_null(b);
    b->len = b->cap;
    memset(b->data, 'x', b->len);
    reply_bulk_block(OUT, b, 1, BLOCK_VALUE_MIN);
    assert_true(block_is_shared(b)); // no copy: the output holds it
    reply_bulk_block(OUT, b, 0, 5);
    char *text;
    size_t n = take(&text);
    assert_int_equal(n, strlen("$16384\r\n") + BLOCK_VALUE_MIN + 2 + strlen("$5\r\nxxxxx\r\n"));
    assert_string_equal(text + n - 11, "$5\r\nxxxxx\r\n");
    assert_false(block_is_shared(b));
    mi_free(text);
    block_release(b);
}

// What a client sent cannot end the line of an error.
static void test_error_is_one_line(void **state)
{
    (void)state;
    reply_errorf(OUT, "ERR bad option '%s' of %d\r\n", "a\r\n-b", 7);
    expect("-ERR bad option 'a  -b' of 7\r\n");

    char option[3000];
    memset(option, 'o', sizeof(option) - 1);
    option[sizeof(option) - 1] = '\0';
    reply_errorf(OUT, "ERR %s", option);
    char *text;
    size_t n = take(&text);
    assert_true(n > 512 && n < sizeof(option));
    assert_memory_equal(text, "-ERR ooo", 8);
    assert_string_equal(text + n - 3, "o\r\n");
    mi_free(text);
}

int main(void)
{
    outbuf_init(&buffer);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple),
        cmocka_unit_test(test_by_protocol),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_parse_refuses),
        cmocka_unit_test(test_bulk_lengths),
        cmocka_unit_test(test_block_by_reference),
        cmocka_unit_test(test_error_is_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
