// Replies of every type, cut at every place, and the evidence of each kind of misbehaviour.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/protocol.h"

static char evidence[MEASUREMENT_TEXT_MAX];

static void init(struct protocol *p, const char *sizes, bool verify, enum bench_protocol protocol,
                 const char *line)
{
    struct preset test = {.n = 1, .commands = {{.kind = COMMAND_ANY, .weight = 1, .line = line}}};
    const struct options o = {.threads = 1, .keys = 1000, .verify = verify, .protocol = protocol};
    char error[256];
    assert_true(values_parse(&test.data, sizes, strlen(sizes)));
    assert_true(protocol_init(p, &test, &o, 0, error, sizeof(error)));
}

static struct request request(enum preset_kind op, uint64_t key)
{
    return (struct request){.key = key, .op = op};
}

// Reads one reply from `text` in pieces: the first of `first` bytes, the others of at most `step`.
// Each piece lies in memory of just its size, so that a look too far shows. Another reply stands
// behind it and must stay. Returns what it was; *taken says how much of the text it took.
static enum reply_kind scan(const struct protocol *p, struct request r, const char *text,
                            size_t len, size_t first, size_t step, size_t *taken)
{
    struct scanner s = {0};
    enum reply_kind kind = REPLY_MORE;
    size_t at = 0;
    for (size_t n = first; kind == REPLY_MORE && at < len; n = step) {
        size_t used;
        n = n < len - at ? n : len - at;
        uint8_t *piece = malloc(n ? n : 1);
        memcpy(piece, text + at, n);
        kind = protocol_scan(p, &s, r, piece, n, &used);
        free(piece);
        assert_true(used <= n);
        assert_true(kind != REPLY_MORE || used == n);
        at += used;
    }
    protocol_explain(p, &s, r, evidence, sizeof(evidence));
    *taken = at;
    return kind;
}

// The reply is of that kind and ends where `text` ends, however it is cut and whatever follows.
static void expect_bytes(const struct protocol *p, struct request r, const char *text, size_t len,
                         enum reply_kind wanted)
{
    size_t taken;
    char *longer = malloc(len + 7);
    memcpy(longer, text, len);
    memcpy(longer + len, "+OK\r\n+O", 7);
    for (size_t cut = 0; cut <= len; cut++) {
        for (unsigned more = 0; more < 2; more++) {
            enum reply_kind kind = scan(p, r, longer, len + more * 7, cut, len + 7, &taken);
            if (kind != wanted)
                fail_msg("cut at %zu: %d, not %d: %s", cut, kind, wanted, text);
            if (kind != REPLY_BROKEN)
                assert_int_equal(taken, len);
        }
    }
    for (size_t step = 1; step < 4; step++) {
        assert_int_equal(scan(p, r, longer, len + 7, step, step, &taken), wanted);
        if (wanted != REPLY_BROKEN)
            assert_int_equal(taken, len);
    }
    free(longer);
}

static void expect(const struct protocol *p, struct request r, const char *text,
                   enum reply_kind wanted)
{
    expect_bytes(p, r, text, strlen(text), wanted);
}

static void replies_to_any_command_end_where_they_end(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum reply_kind kind;
    } replies[] = {
        // RESP2
        {":1\r\n", REPLY_OK},
        {":-9223372036854775808\r\n", REPLY_OK},
        {"+OK\r\n", REPLY_OK},
        {"+\r\n", REPLY_OK},
        {"-ERR no\r\n", REPLY_ERROR},
        {"$-1\r\n", REPLY_MISS},
        {"*-1\r\n", REPLY_MISS},
        {"$0\r\n\r\n", REPLY_OK},
        {"$3\r\na\r\n\r\n", REPLY_OK},
        {"$12\r\n*3\r\n$1\r\n:5\r\n\r\n", REPLY_OK},
        {"*0\r\n", REPLY_OK},
        {"*3\r\n$1\r\na\r\n:5\r\n$-1\r\n", REPLY_OK},
        {"*2\r\n*2\r\n$1\r\na\r\n*0\r\n*1\r\n-ERR inside\r\n", REPLY_OK},
        {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*2\r\n*-1\r\n*0\r\n", REPLY_OK},
        // RESP3
        {"_\r\n", REPLY_MISS},
        {"#t\r\n", REPLY_OK},
        {"#f\r\n", REPLY_OK},
        {",3.25\r\n", REPLY_OK},
        {",-inf\r\n", REPLY_OK},
        {",1e-7\r\n", REPLY_OK},
        {"(3492890328409238509324850943850943825024385\r\n", REPLY_OK},
        {"=7\r\ntxt:a\r\n\r\n", REPLY_OK},
        {"!9\r\nERR a\r\nbc\r\n", REPLY_ERROR},
        {"%2\r\n+a\r\n:1\r\n+b\r\n%1\r\n+c\r\n_\r\n", REPLY_OK},
        {"%0\r\n", REPLY_OK},
        {"~3\r\n:1\r\n:2\r\n~1\r\n#t\r\n", REPLY_OK},
        // Attributes and pushed messages before a reply and inside of one
        {"|1\r\n+ttl\r\n:5\r\n:7\r\n", REPLY_OK},
        {"|1\r\n+ttl\r\n*2\r\n:5\r\n:6\r\n$-1\r\n", REPLY_MISS},
        {"|0\r\n:7\r\n", REPLY_OK},
        {"*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n", REPLY_OK},
        {">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n:7\r\n", REPLY_OK},
        {">1\r\n-ERR pushed\r\n>0\r\n+OK\r\n", REPLY_OK},
        {">1\r\n$-1\r\n-ERR real\r\n", REPLY_ERROR},
    };
    struct protocol p;
    init(&p, "3", false, BENCH_RESP, "X {key}");
    for (unsigned i = 0; i < sizeof(replies) / sizeof(*replies); i++)
        expect(&p, request(COMMAND_ANY, 1), replies[i].text, replies[i].kind);
    expect(&p, request(COMMAND_OTHER, 1), "+OK\r\n", REPLY_OK);
    expect(&p, request(COMMAND_OTHER, 1), "-NOAUTH\r\n", REPLY_ERROR);
    expect(&p, request(COMMAND_OTHER, 1), "%1\r\n+server\r\n+redis\r\n", REPLY_OK);
    protocol_free(&p);
}

static void what_is_no_reply_is_broken(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "HTTP/1.1 200 OK\r\n",
        "\r\n",
        "\n",
        "+OK\n",
        "x\r\n",
        "$x\r\n",
        "$-2\r\n",
        "$\r\n",
        "$1 \r\n",
        "*-2\r\n",
        "*1x\r\n",
        "%-1\r\n",
        "~-1\r\n",
        ":\r\n",
        ":a\r\n",
        "#x\r\n",
        "_x\r\n",
        ",\r\n",
        "(\r\n",
        "$9999999999999999999999\r\n",
        "*9999999999999999\r\n",
        "$3\r\nabcd\r\n",
        "$3\r\nabc\n\r",
        "$?\r\n",
        "*2\r\n:1\r\nz\r\n",
        "=-1\r\n",
    };
    struct protocol p;
    init(&p, "3", false, BENCH_RESP, "X {key}");
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        expect(&p, request(COMMAND_ANY, 1), bad[i], REPLY_BROKEN);
    expect(&p, request(COMMAND_GET, 1), "HTTP/1.1 200 OK\r\n", REPLY_BROKEN);
    assert_string_equal(evidence, "GET key:000000000001: not the protocol that was expected: "
                                  "\"HTTP/1.1 200 OK\"");
    // Announced elements may not be summed beyond what can be counted.
    char *deep = malloc(100 * 16 + 1);
    *deep = 0;
    for (unsigned i = 0; i < 100; i++)
        strcat(deep, "*999999999999\r\n");
    expect(&p, request(COMMAND_ANY, 1), deep, REPLY_BROKEN);
    free(deep);
    protocol_free(&p);
}

static void several_replies_answer_one_request(void **state)
{
    (void)state;
    struct protocol p;
    init(&p, "3", false, BENCH_RESP, "X {key} ; Y ; Z");
    struct request r = request(COMMAND_ANY, 1);
    expect(&p, r, ":1\r\n*2\r\n:1\r\n:2\r\n$1\r\na\r\n", REPLY_OK);
    expect(&p, r, ":1\r\n$-1\r\n+OK\r\n", REPLY_MISS);
    expect(&p, r, "-ERR a\r\n$-1\r\n-ERR b\r\n", REPLY_ERROR);
    assert_non_null(strstr(evidence, "-ERR a"));
    protocol_free(&p);
}

static void usual_replies_are_told(void **state)
{
    (void)state;
    static const char *const sizes[] = {"20", "18-30", "20:1,7:1"};
    for (unsigned i = 0; i < 3; i++) {
        struct protocol p;
        init(&p, sizes[i], false, BENCH_RESP, "X");
        struct request set = request(COMMAND_SET, 3), get = request(COMMAND_GET, 3);
        expect(&p, set, "+OK\r\n", REPLY_OK);
        expect(&p, request(COMMAND_PING, 0), "+PONG\r\n", REPLY_OK);
        expect(&p, get, "$20\r\nabcdefghijklmnopqrst\r\n", REPLY_OK);
        expect(&p, get, "$-1\r\n", REPLY_MISS);
        expect(&p, get, "_\r\n", REPLY_MISS);
        expect(&p, set, "-OOM no memory\r\n", REPLY_ERROR);
        assert_string_equal(evidence, "SET key:000000000003: -OOM no memory");
        expect(&p, get, "!6\r\nERR no\r\n", REPLY_ERROR);
        assert_string_equal(evidence, "GET key:000000000003: -ERR no");
        expect(&p, get, "|1\r\n+ttl\r\n:3\r\n$20\r\nabcdefghijklmnopqrst\r\n", REPLY_OK);
        protocol_free(&p);
    }
    struct protocol p;
    init(&p, "0", false, BENCH_RESP, "X");
    expect(&p, request(COMMAND_GET, 3), "$0\r\n\r\n", REPLY_OK);
    protocol_free(&p);
    init(&p, "100000", false, BENCH_RESP, "X"); // the header is longer than a word
    static char large[100020];
    int head = sprintf(large, "$100000\r\n");
    memset(large + head, 'v', 100000);
    strcpy(large + head + 100000, "\r\n");
    size_t taken;
    for (size_t cut = 0; cut < 12; cut++)
        assert_int_equal(
            scan(&p, request(COMMAND_GET, 3), large, (size_t)head + 100002, cut, 4096, &taken),
            REPLY_OK);
    protocol_free(&p);
}

static void expect_wrong(const struct protocol *p, struct request r, const char *text,
                         const char *told)
{
    expect(p, r, text, REPLY_WRONG);
    assert_string_equal(evidence, told);
}

static void wrong_types_and_lengths_are_told(void **state)
{
    (void)state;
    for (unsigned verify = 0; verify < 2; verify++) {
        struct protocol p;
        init(&p, "20", verify, BENCH_RESP, "X");
        struct request set = request(COMMAND_SET, 3), get = request(COMMAND_GET, 3),
                       pong = request(COMMAND_PING, 0);
        expect_wrong(&p, get, "$4\r\nkey:\r\n",
                     "GET key:000000000003: expected a value of 20 bytes, got one of 4 (length at "
                     "offset 1)");
        expect_wrong(&p, get, "+OK\r\n",
                     "GET key:000000000003: expected a value, got \"+OK\" (reply at offset 0)");
        expect_wrong(&p, get, "*1\r\n$2\r\nab\r\n",
                     "GET key:000000000003: expected a value, got \"*1\" (reply at offset 0)");
        expect_wrong(&p, get, "*-1\r\n",
                     "GET key:000000000003: expected a value, got \"*-1\" (reply at offset 0)");
        expect_wrong(&p, set, ":1\r\n",
                     "SET key:000000000003: expected +OK, got \":1\" (reply at offset 0)");
        expect_wrong(&p, set, "+KO\r\n",
                     "SET key:000000000003: expected +OK, got \"+KO\" (reply at offset 0)");
        expect_wrong(&p, set, "+OKAY\r\n",
                     "SET key:000000000003: expected +OK, got \"+OKAY\" (reply at offset 0)");
        expect_wrong(&p, set, "$-1\r\n",
                     "SET key:000000000003: expected +OK, got \"$-1\" (reply at offset 0)");
        expect_wrong(&p, set, "$3\r\n+OK\r\n",
                     "SET key:000000000003: expected +OK, got \"$3\" (reply at offset 0)");
        expect_wrong(&p, pong, "+OK\r\n", "PING: expected +PONG, got \"+OK\" (reply at offset 0)");
        expect_wrong(&p, pong, "%1\r\n+a\r\n+b\r\n",
                     "PING: expected +PONG, got \"%1\" (reply at offset 0)");
        protocol_free(&p);
    }
}

// A reply to GET that holds what SET of `key` with `stamp` wrote.
static size_t value_reply(char *text, uint64_t key, uint32_t stamp, uint32_t size)
{
    int n = sprintf(text, "$%u\r\n", size);
    value_write((uint8_t *)text + n, 0, size, key, stamp, size);
    memcpy(text + n + size, "\r\n", 3);
    return (size_t)n + size + 2;
}

static void values_are_verified_at_every_size(void **state)
{
    (void)state;
    static char text[700];
    for (uint32_t size = 0; size < 140; size += 1 + size / 45) {
        char sizes[16];
        struct protocol p;
        snprintf(sizes, sizeof(sizes), "%u", size);
        init(&p, sizes, true, BENCH_RESP, "X");
        struct request get = request(COMMAND_GET, 3);
        size_t len = value_reply(text, 3, 99, size);
        expect_bytes(&p, get, text, len, REPLY_OK);
        if (size) {
            text[len - 3] ^= 2;
            expect_bytes(&p, get, text, len, REPLY_WRONG);
            assert_non_null(strstr(evidence, "expected"));
            assert_non_null(strstr(evidence, "got"));
            assert_non_null(strstr(evidence, "offset"));
        }
        if (size >= 4) { // the reply to another request
            len = value_reply(text, 4, 99, size);
            expect_bytes(&p, get, text, len, REPLY_WRONG);
        }
        protocol_free(&p);
    }
    struct protocol p;
    init(&p, "64", true, BENCH_RESP, "X");
    size_t len = value_reply(text, 4, 99, 64);
    expect_bytes(&p, request(COMMAND_GET, 3), text, len, REPLY_WRONG);
    assert_string_equal(evidence, "GET key:000000000003: value at offset 0: expected "
                                  "key:000000000003, got key:000000000004 (stamp 00000063), the "
                                  "value of another key");
    protocol_free(&p);
}

// Replies of several requests, of which one was lost or two changed places, as a client sees them.
static void lost_and_reordered_replies_are_told(void **state)
{
    (void)state;
    enum { N = 20 };
    for (unsigned lost = 0; lost < 2; lost++) {
        struct protocol p;
        struct scanner s = {0};
        char stream[N * 100], one[100];
        size_t len = 0, at = 0, used;
        unsigned wrong = 0, n = 0;
        init(&p, "64", true, BENCH_RESP, "X");
        for (unsigned i = 0; i < N; i++) {
            unsigned key = !lost && (i == 7 || i == 8) ? 15 - i : i;
            if (lost && i == 7)
                continue;
            size_t size = value_reply(one, key, i, 64);
            memcpy(stream + len, one, size);
            len += size;
        }
        while (at < len) {
            enum reply_kind kind = protocol_scan(&p, &s, request(COMMAND_GET, n),
                                                 (uint8_t *)stream + at, len - at, &used);
            assert_int_equal(kind, lost ? (n < 7 ? REPLY_OK : REPLY_WRONG)
                                        : (n == 7 || n == 8 ? REPLY_WRONG : REPLY_OK));
            wrong += kind == REPLY_WRONG;
            at += used;
            n++;
        }
        assert_int_equal(n, N - lost);
        assert_int_equal(wrong, lost ? N - 8 : 2);
        protocol_free(&p);
    }
}

static void values_inside_of_any_reply_are_verified(void **state)
{
    (void)state;
    char text[300] = "*3\r\n$6\r\nfield0\r\n";
    struct protocol p;
    size_t head = strlen(text), len = head + value_reply(text + head, 3, 99, 64);
    strcpy(text + len, ":5\r\n");
    init(&p, "64", true, BENCH_RESP, "HGETALL user{key}");
    expect(&p, request(COMMAND_ANY, 3), text, REPLY_OK);
    expect(&p, request(COMMAND_ANY, 4), text, REPLY_WRONG);
    assert_non_null(strstr(evidence, "expected key:000000000004, got key:000000000003"));
    text[head + 50] ^= 1;
    expect(&p, request(COMMAND_ANY, 3), text, REPLY_WRONG);
    protocol_free(&p);
    text[head + 50] ^= 1;
    init(&p, "64", true, BENCH_RESP, "MGET user{random}"); // whose it is cannot be said
    expect(&p, request(COMMAND_ANY, 4), text, REPLY_OK);
    text[head + 50] ^= 1;
    expect(&p, request(COMMAND_ANY, 4), text, REPLY_WRONG);
    protocol_free(&p);
}

static void memcached_is_told(void **state)
{
    (void)state;
    struct protocol p;
    init(&p, "4", false, BENCH_MEMCACHE, "X");
    struct request set = request(COMMAND_SET, 3), get = request(COMMAND_GET, 3);
    expect(&p, set, "STORED\r\n", REPLY_OK);
    expect(&p, get, "VALUE key:000000000003 0 4\r\nabcd\r\nEND\r\n", REPLY_OK);
    expect(&p, get, "VALUE key:000000000003 0 4\r\n\r\n\r\n\r\nEND\r\n", REPLY_OK);
    expect(&p, get, "END\r\n", REPLY_MISS);
    expect(&p, request(COMMAND_PING, 0), "VERSION 1.6.18\r\n", REPLY_OK);
    expect(&p, set, "ERROR\r\n", REPLY_ERROR);
    expect(&p, get, "CLIENT_ERROR bad\r\n", REPLY_ERROR);
    expect(&p, set, "SERVER_ERROR out of memory storing object\r\n", REPLY_ERROR);
    assert_string_equal(evidence,
                        "SET key:000000000003: SERVER_ERROR out of memory storing object");
    expect_wrong(&p, set, "NOT_STORED\r\n",
                 "SET key:000000000003: expected STORED, got \"NOT_STORED\" (reply at offset 0)");
    expect_wrong(&p, get, "STORED\r\n",
                 "GET key:000000000003: expected a value, got \"STORED\" (reply at offset 0)");
    expect_wrong(
        &p, get, "VALUE key:000000000004 0 4\r\nabcd\r\nEND\r\n",
        "GET key:000000000003: expected key:000000000003, got \"key:000000000004\" (key at "
        "offset 6): the reply to another request");
    expect_wrong(
        &p, get, "VALUE key:000000000003 0 2\r\nab\r\nEND\r\n",
        "GET key:000000000003: expected a value of 4 bytes, got one of 2 (length at offset 25)");
    expect_wrong(&p, set, "VALUE key:000000000003 0 4\r\nabcd\r\nEND\r\n",
                 "SET key:000000000003: expected STORED, got \"VALUE key:000000000003 0 4\" (reply "
                 "at offset 0)");
    expect(&p, get, "VALUE key:000000000003 0 4\r\nabcde\r\nEND\r\n", REPLY_BROKEN);
    expect(&p, get, "VALUE key:000000000003 0 4\r\nabcd\r\nSTORED\r\n", REPLY_BROKEN);
    expect(&p, get, "VALUE key 0 4\r\nabcd\r\nEND\r\n", REPLY_BROKEN);
    expect(&p, get, "VALUE key:000000000003 0 \r\nabcd\r\nEND\r\n", REPLY_BROKEN);
    expect(&p, get, "$4\r\nabcd\r\n", REPLY_BROKEN);
    protocol_free(&p);
    init(&p, "64", true, BENCH_MEMCACHE, "X");
    char text[200], value[100];
    value_reply(value, 3, 1, 64);
    sprintf(text, "VALUE key:000000000003 0 64%sEND\r\n", value + 3);
    expect(&p, get, text, REPLY_OK);
    text[70] ^= 1;
    expect(&p, get, text, REPLY_WRONG);
    protocol_free(&p);
}

static void long_lines_are_cut_for_people(void **state)
{
    (void)state;
    struct protocol p;
    static char text[2000];
    init(&p, "4", false, BENCH_RESP, "X");
    for (size_t len = 240; len < 270; len++) {
        memset(text, 'e', len);
        memcpy(text, "-ERR", 4);
        strcpy(text + len, "\r\n");
        expect(&p, request(COMMAND_SET, 3), text, REPLY_ERROR);
        assert_non_null(strstr(evidence, "-ERReee"));
    }
    memset(text, 'e', 1900);
    text[0] = '-';
    strcpy(text + 1900, "\r\n");
    expect(&p, request(COMMAND_SET, 3), text, REPLY_ERROR);
    protocol_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_to_any_command_end_where_they_end),
        cmocka_unit_test(what_is_no_reply_is_broken),
        cmocka_unit_test(several_replies_answer_one_request),
        cmocka_unit_test(usual_replies_are_told),
        cmocka_unit_test(wrong_types_and_lengths_are_told),
        cmocka_unit_test(values_are_verified_at_every_size),
        cmocka_unit_test(lost_and_reordered_replies_are_told),
        cmocka_unit_test(values_inside_of_any_reply_are_verified),
        cmocka_unit_test(memcached_is_told),
        cmocka_unit_test(long_lines_are_cut_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
