// The parser: commands in one piece, at every cut, in random cuts, inline, bounds and errors.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/block.h"
#include "dataplane/resp/parser.h"

static const struct parser_limits limits = {
    .bulk_max = 512u << 20, .query_max = 1u << 30, .authenticated = true};

// Collects what a stream of bytes, cut at the given sizes, is understood as: "[a][bc]\n" per
// command.
struct seen {
    char *text;
    size_t len, cap;
    enum parser_status end;
    char error[80];
};

static void seen_add(struct seen *s, const void *data, size_t n)
{
    if (s->len + n + 1 > s->cap) {
        s->cap = (s->len + n + 1) * 2;
        s->text = realloc(s->text, s->cap);
        assert_non_null(s->text);
    }
    memcpy(s->text + s->len, data, n);
    s->len += n;
    s->text[s->len] = 0;
}

static void feed(struct parser *p, const struct parser_limits *l, struct seen *s,
                 const uint8_t *data, size_t len)
{
    // A copy of exactly this size, so that a read past it is seen by the sanitizer.
    uint8_t *copy = malloc(len ? len : 1);
    memcpy(copy, data, len);
    size_t at = 0;
    s->end = PARSER_INCOMPLETE;
    while (at < len) {
        size_t used = 0;
        s->end = parser_run(p, l, copy + at, len - at, &used);
        assert_true(used <= len - at);
        if (s->end == PARSER_COMMAND) {
            struct arg *argv = calloc((size_t)p->argc, sizeof(*argv));
            int argc = p->argc;
            parser_take(p, copy + at, argv);
            for (int i = 0; i < argc; i++) {
                seen_add(s, "[", 1);
                seen_add(s, argv[i].ptr, argv[i].len);
                seen_add(s, "]", 1);
                block_release(argv[i].block);
            }
            seen_add(s, "\n", 1);
            free(argv);
        } else if (s->end == PARSER_INCOMPLETE) {
            assert_int_equal(used, len - at);
        } else if (s->end != PARSER_EMPTY) {
            snprintf(s->error, sizeof(s->error), "%s", p->error ? p->error : "");
            break;
        }
        assert_true(used > 0);
        at += used;
    }
    free(copy);
}

static struct seen whole(const char *data, size_t len)
{
    struct parser p;
    struct seen s = {0};
    parser_init(&p);
    seen_add(&s, "", 0);
    feed(&p, &limits, &s, (const uint8_t *)data, len);
    parser_clear(&p);
    return s;
}

static void expect(const char *data, const char *text)
{
    struct seen s = whole(data, strlen(data));
    assert_string_equal(s.text, text);
    free(s.text);
}

static void expect_error(const char *data, const char *error)
{
    struct seen s = whole(data, strlen(data));
    assert_int_equal(s.end, PARSER_ERROR);
    assert_string_equal(s.error, error);
    free(s.text);
}

static void test_arrays(void **state)
{
    (void)state;
    expect("*1\r\n$4\r\nPING\r\n", "[PING]\n");
    expect("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n", "[SET][k][]\n[PING]\n");
    expect("*0\r\n*-1\r\n*1\r\n$1\r\nx\r\n", "[x]\n");
    expect("*10\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$"
           "1\r\nh\r\n"
           "$1\r\ni\r\n$2\r\njj\r\n",
           "[a][b][c][d][e][f][g][h][i][jj]\n");
}

static void test_inline(void **state)
{
    (void)state;
    expect("PING\r\n", "[PING]\n");
    expect("  set  k\t\"a b\\x41\\n\"\n\r\nget k\r\n", "[set][k][a bA\n]\n[get][k]\n");
    expect("echo 'it\\'s' \"\" ''\r\n", "[echo][it's][][]\n");
    expect_error("set \"k\r\n", "Protocol error: unbalanced quotes in request");
    expect_error("set \"k\"x\r\n", "Protocol error: unbalanced quotes in request");
}

static void test_errors(void **state)
{
    (void)state;
    expect_error("*x\r\n", "Protocol error: invalid multibulk length");
    expect_error("*2147483648\r\n", "Protocol error: invalid multibulk length");
    expect_error("*1\r\nPING\r\n", "Protocol error: expected '$', got 'P'");
    expect_error("*1\r\n$-1\r\n", "Protocol error: invalid bulk length");
    expect_error("*1\r\n$536870913\r\n", "Protocol error: invalid bulk length");
    expect_error("*1\r\n$01\r\na\r\n", "Protocol error: invalid bulk length");
}

static void test_long_lines(void **state)
{
    (void)state;
    size_t n = PARSER_INLINE_MAX + 16;
    char *line = malloc(n + 1);
    line[n] = 0;
    memset(line, 'a', n);
    expect_error(line, "Protocol error: too big inline request");
    memset(line, '1', n);
    line[0] = '*';
    expect_error(line, "Protocol error: too big mbulk count string");
    memcpy(line, "*1\r\n$", 5);
    expect_error(line, "Protocol error: too big bulk count string");
    free(line);
}

static void test_unauthenticated(void **state)
{
    (void)state;
    struct parser_limits l = limits;
    l.authenticated = false;
    const char *many = "*11\r\n", *big = "*1\r\n$16385\r\n";
    struct parser p;
    struct seen s = {0};
    parser_init(&p);
    feed(&p, &l, &s, (const uint8_t *)many, strlen(many));
    assert_string_equal(s.error, "Protocol error: unauthenticated multibulk length");
    parser_clear(&p);
    feed(&p, &l, &s, (const uint8_t *)big, strlen(big));
    assert_string_equal(s.error, "Protocol error: unauthenticated bulk length");
    parser_clear(&p);
    free(s.text);
}

static void test_query_limit(void **state)
{
    (void)state;
    struct parser_limits l = limits;
    l.query_max = 1000;
    struct parser p;
    struct seen s = {0};
    parser_init(&p);
    const char *head = "*1\r\n$100000\r\n";
    feed(&p, &l, &s, (const uint8_t *)head, strlen(head));
    assert_int_equal(s.end, PARSER_INCOMPLETE);
    uint8_t bytes[2000] = {0};
    feed(&p, &l, &s, bytes, sizeof(bytes));
    assert_int_equal(s.end, PARSER_TOO_BIG);
    parser_clear(&p);
    free(s.text);
}

// The same commands, cut in two at every byte, and at random, are understood alike.
static size_t sample(uint8_t **data)
{
    size_t big = PARSER_BIG_ARG + 77;
    char head[64];
    struct seen s = {0};
    const char *a = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$12\r\nhello\r\nworld\r\n";
    seen_add(&s, a, strlen(a));
    seen_add(&s, "PING \"a\\tb\"\r\n", 13);
    int n = snprintf(head, sizeof(head), "*4\r\n$3\r\nset\r\n$%zu\r\n", big);
    seen_add(&s, head, (size_t)n);
    for (size_t i = 0; i < big; i++)
        seen_add(&s, &"abcdefghijklmnopqrstuvwxyz"[i % 26], 1);
    seen_add(&s, "\r\n$1\r\nx\r\n$2\r\nyz\r\n*0\r\n", 22);
    seen_add(&s, a, strlen(a));
    *data = (uint8_t *)s.text;
    return s.len;
}

static void test_cuts(void **state)
{
    (void)state;
    uint8_t *data;
    size_t len = sample(&data);
    struct seen one = whole((const char *)data, len);
    size_t tail = 60; // every byte of the small commands; the middle of the big argument in steps
    for (size_t cut = 1; cut < len; cut += cut < 150 || cut + tail + 90 > len ? 1 : 1021) {
        struct parser p;
        struct seen s = {0};
        parser_init(&p);
        feed(&p, &limits, &s, data, cut);
        feed(&p, &limits, &s, data + cut, len - cut);
        assert_int_equal(s.len, one.len);
        assert_memory_equal(s.text, one.text, one.len);
        parser_clear(&p);
        free(s.text);
    }
    const char *given = getenv("SEED");
    unsigned first = given ? (unsigned)atoi(given) : 1, last = given ? first : 300;
    for (unsigned seed = first; seed <= last; seed++) {
        srand(seed);
        struct parser p;
        struct seen s = {0};
        parser_init(&p);
        int most = 1 << (rand() % 15);
        for (size_t at = 0; at < len;) {
            size_t n = 1 + (size_t)(rand() % most);
            n = n > len - at ? len - at : n;
            feed(&p, &limits, &s, data + at, n);
            at += n;
        }
        if (s.len != one.len || memcmp(s.text, one.text, one.len))
            fail_msg("SEED=%u: understood differently", seed);
        parser_clear(&p);
        free(s.text);
    }
    free(one.text);
    free(data);
}

// Garbage never reads past its bytes, and always ends in a status.
static void test_garbage(void **state)
{
    (void)state;
    static const char alphabet[] = "*$\r\n0123456789-+\"'\\x ab\0";
    for (unsigned seed = 1; seed <= 20000; seed++) {
        srand(seed);
        uint8_t data[200];
        size_t len = 1 + (size_t)(rand() % (int)sizeof(data));
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)alphabet[rand() % (int)sizeof(alphabet)];
        struct parser p;
        struct seen s = {0};
        parser_init(&p);
        size_t cut = (size_t)(rand() % (int)len);
        feed(&p, &limits, &s, data, cut);
        if (cut == 0 || s.end == PARSER_INCOMPLETE || s.end == PARSER_COMMAND ||
            s.end == PARSER_EMPTY)
            feed(&p, &limits, &s, data + cut, len - cut);
        parser_clear(&p);
        free(s.text);
    }
}

// What the quick way takes, the other way understands alike; what it leaves alone it may.
static void test_quick(void **state)
{
    (void)state;
    unsigned taken = 0;
    for (unsigned seed = 1; seed <= 60000; seed++) {
        srand(seed);
        // A command of random arguments, sometimes with a byte spoiled, cut somewhere.
        uint8_t text[400];
        int n = 1 + rand() % 5;
        size_t len = (size_t)snprintf((char *)text, sizeof(text), "*%d\r\n", n);
        for (int i = 0; i < n; i++) {
            size_t size = (size_t)(rand() % (rand() % 4 ? 12 : 60));
            len += (size_t)snprintf((char *)text + len, sizeof(text) - len, "$%zu\r\n", size);
            for (size_t k = 0; k < size; k++)
                text[len++] = (uint8_t) "ab*$\r\n019-"[rand() % 10];
            text[len++] = '\r';
            text[len++] = '\n';
        }
        if (rand() % 2)
            text[(size_t)rand() % len] = (uint8_t) "*$\r\n0123456789-x"[rand() % 16];
        len -= rand() % 3 ? 0 : (size_t)rand() % len;
        uint8_t *data = malloc(len); // of its own, so that a sanitizer sees who reads past it
        memcpy(data, text, len);
        struct parser p;
        parser_init(&p);
        struct arg quick[4], slow[4];
        int argc = 0;
        size_t used = parser_quick(&p, &limits, data, len, quick, 4, &argc);
        if (used) {
            taken++;
            size_t by_run;
            assert_int_equal(parser_run(&p, &limits, data, len, &by_run), PARSER_COMMAND);
            assert_int_equal(used, by_run);
            assert_int_equal(p.argc, argc);
            assert_false(parser_take(&p, data, slow));
            for (int i = 0; i < argc; i++) {
                assert_ptr_equal(quick[i].ptr, slow[i].ptr);
                assert_int_equal(quick[i].len, slow[i].len);
                assert_null(quick[i].block);
            }
        }
        parser_clear(&p);
        free(data);
    }
    assert_true(taken > 10000);
    static const uint8_t ping[] = "*1\r\n$4\r\nPING\r\n";
    struct parser p;
    parser_init(&p);
    struct arg arg;
    int argc;
    assert_int_equal(parser_quick(&p, &limits, ping, 14, &arg, 1, &argc), 14);
    struct parser_limits unknown = limits;
    unknown.authenticated = false;
    assert_int_equal(parser_quick(&p, &unknown, ping, 14, &arg, 1, &argc), 0);
    // A command that has begun in the parser's own buffer is not begun again.
    size_t used;
    assert_int_equal(parser_run(&p, &limits, ping, 3, &used), PARSER_INCOMPLETE);
    assert_int_equal(parser_quick(&p, &limits, ping, 14, &arg, 1, &argc), 0);
    parser_clear(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_inline),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_unauthenticated),
        cmocka_unit_test(test_query_limit),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
