// String commands: replies, the order of checks, encodings, times, limits of length.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/commands/script.h"

#define NIL "$-1"
#define SYNTAX "-ERR syntax error"
#define NOT_INTEGER "-ERR value is not an integer or out of range"
#define NOT_FLOAT "-ERR value is not a valid float"
#define TOO_LONG "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"

static void play(const struct step *steps)
{
    struct script *s = script_open(1);
    script_play(s, steps);
    script_close(s);
}

static void test_set(void **state)
{
    (void)state;
    play((const struct step[]){
        {"get k", NIL},
        {"set k v", "+OK"},
        {"get k", "$1 v"},
        {"set k w nx", NIL},
        {"set j w XX", NIL},
        {"set k w nx get", "$1 v"},
        {"set k 2 xx get", "$1 v"},
        {"set new 1 get", NIL},
        {"set k v nx xx", SYNTAX},
        {"set k v ex", SYNTAX},
        {"set k v ex 10 px 10", SYNTAX},
        {"set k v keepttl ex 10", SYNTAX},
        {"set k v persist", SYNTAX},
        {"set k v bogus", SYNTAX},
        {"set k v ex 0", "-ERR invalid expire time in 'set' command"},
        {"set k v ex x", NOT_INTEGER},
        {"set k v ex 9223372036854775807", "-ERR invalid expire time in 'set' command"},
        {"set k v px 9223372036854775807", "-ERR invalid expire time in 'set' command"},
        {"get k", "$1 2"},
        {"set k v ex 5 ex 100", "+OK"},
        {"ttl k", ":100"},
        {"set k w keepttl", "+OK"},
        {"ttl k", ":100"},
        {"set k w", "+OK"},
        {"ttl k", ":-1"},
        {"set k v exat 1700000100", "+OK"},
        {"ttl k", ":100"},
        {"set k v pxat 1700000100000", "+OK"},
        {"pttl k", ":100000"},
        {"set k v exat 1", "+OK"},
        {"get k", NIL},
        {"setnx k 1", ":1"},
        {"setnx k 2", ":0"},
        {"setex k 7 v", "+OK"},
        {"ttl k", ":7"},
        {"psetex k 1500 v", "+OK"},
        {"pttl k", ":1500"},
        {"setex k 0 v", "-ERR invalid expire time in 'setex' command"},
        {"psetex k -1 v", "-ERR invalid expire time in 'psetex' command"},
        {"setex k x v", NOT_INTEGER},
        {"set k", "-ERR wrong number of arguments for 'set' command"},
        {NULL},
    });
}

static void test_get_and_more(void **state)
{
    (void)state;
    play((const struct step[]){
        {"set k 10 ex 50", "+OK"},
        {"getex k", "$2 10"},
        {"ttl k", ":50"},
        {"getex k ex 60", "$2 10"},
        {"ttl k", ":60"},
        {"getex k persist", "$2 10"},
        {"ttl k", ":-1"},
        {"getex k persist ex 10", SYNTAX},
        {"getex k keepttl", SYNTAX},
        {"getex k ex -1", "-ERR invalid expire time in 'getex' command"},
        {"getex none ex -1", NIL}, // a missing key is told before a bad time
        {"getex k exat 1", "$2 10"},
        {"exists k", ":0"},
        {"getdel k", NIL},
        {"set k v", "+OK"},
        {"getdel k", "$1 v"},
        {"getset k a", NIL},
        {"expire k 10", ":1"},
        {"getset k b", "$1 a"},
        {"ttl k", ":-1"},
        {"mset a 1 b 2 a 3", "+OK"},
        {"mget a none b", "*3 $1 3 $-1 $1 2"},
        {"mset a 1 b", "-ERR wrong number of arguments for 'mset' command"},
        {"msetnx a", "-ERR wrong number of arguments for 'msetnx' command"},
        {"msetnx c 1 b 9", ":0"},
        {"exists c", ":0"},
        {"msetnx c 1 d 9", ":1"},
        {NULL},
    });
}

static void test_ranges(void **state)
{
    (void)state;
    play((const struct step[]){
        {"set k hello", "+OK"},
        {"getrange k 0 -1", "$5 hello"},
        {"getrange k -3 -2", "$2 ll"},
        {"getrange k -2 -3", "$0 "},
        {"getrange k 3 1", "$0 "},
        {"getrange k -100 0", "$1 h"},
        {"getrange k 4 9223372036854775807", "$1 o"},
        {"getrange k -9223372036854775808 -9223372036854775808", "$1 h"},
        {"getrange none 0 -1", "$0 "},
        {"getrange k x 0", NOT_INTEGER},
        {"substr k 1 2", "$2 el"},
        {"setrange k 1 ipp", ":5"},
        {"get k", "$5 hippo"},
        {"object encoding k", "$3 raw"},
        {"setrange k 7 !", ":8"},
        {"strlen k", ":8"},
        {"setrange none 10 \"\"", ":0"},
        {"exists none", ":0"},
        {"setrange k 100 \"\"", ":8"},
        {"setrange k -1 x", "-ERR offset is out of range"},
        {"setrange k 536870912 x", TOO_LONG},
        {"setrange none 9223372036854775807 x", TOO_LONG},
        {"setrange n 3 5", ":4"},
        {"append k x", ":9"},
        {"append new 12", ":2"},
        {"object encoding new", "$3 int"},
        {"append new 3", ":3"},
        {"object encoding new", "$3 raw"},
        {"incr new", ":124"},
        {"object encoding new", "$3 int"},
        {"strlen new", ":3"},
        {"strlen none", ":0"},
        {NULL},
    });
}

static void test_counting(void **state)
{
    (void)state;
    play((const struct step[]){
        {"incr k", ":1"},
        {"expire k 100", ":1"},
        {"incrby k 9223372036854775806", ":9223372036854775807"},
        {"ttl k", ":100"},
        {"incr k", "-ERR increment or decrement would overflow"},
        {"decrby k 9223372036854775807", ":0"},
        {"decrby k -9223372036854775808", "-ERR decrement would overflow"},
        {"decr k", ":-1"},
        {"incrby k 1x", NOT_INTEGER},
        {"set k \" 1\"", "+OK"},
        {"incr k", NOT_INTEGER},
        {"set k 10.50", "+OK"},
        {"incrbyfloat k 0.1", "$4 10.6"},
        {"object encoding k", "$6 embstr"},
        {"incrbyfloat k -10.6", "$1 0"},
        {"incrbyfloat k 5.0e3", "$4 5000"},
        {"incrbyfloat k inf", "-ERR increment would produce NaN or Infinity"},
        {"incrbyfloat k x", NOT_FLOAT},
        {"incrbyfloat k \"\"", NOT_FLOAT},
        {"incrbyfloat k \" 1\"", NOT_FLOAT},
        {"incrbyfloat k nan", NOT_FLOAT},
        {"incrbyfloat k 1e5000", NOT_FLOAT},
        {"incrbyfloat none 3", "$1 3"},
        {"set zero -0", "+OK"},
        {"incrbyfloat zero -0", "$1 0"},
        {NULL},
    });
}

static void test_lcs(void **state)
{
    (void)state;
    play((const struct step[]){
        {"mset a ohmytext b mynewtext", "+OK"},
        {"lcs a b", "$6 mytext"},
        {"lcs a b len", ":6"},
        {"lcs a b idx", "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6"},
        {"lcs a b idx minmatchlen 4", "*4 $7 matches *1 *2 *2 :4 :7 *2 :5 :8 $3 len :6"},
        {"lcs a b idx withmatchlen minmatchlen 4",
         "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6"},
        {"lcs a b idx minmatchlen -5 minmatchlen 9", "*4 $7 matches *0 $3 len :6"},
        {"lcs a none", "$0 "},
        {"lcs none none len", ":0"},
        {"lcs none a idx", "*4 $7 matches *0 $3 len :0"},
        {"lcs a b len idx", "-ERR If you want both the length and indexes, please just use IDX."},
        {"lcs a b minmatchlen", SYNTAX},
        {"lcs a b minmatchlen x", NOT_INTEGER},
        {"lcs a b more", SYNTAX},
        {NULL},
    });
    struct script *s = script_open(1);
    script_configure(s, "1048576", "noeviction");
    char text[600];
    memset(text, 'x', sizeof(text));
    script_run_with(s, "set a @", text, sizeof(text));
    script_run_with(s, "set b @", text, sizeof(text));
    assert_string_equal(
        script_run(s, "lcs a b len"),
        "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
    script_configure(s, "2097152", "noeviction");
    assert_string_equal(script_run(s, "lcs a b len"), ":600");
    script_close(s);
}

static void test_resp3(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    script_resp(s, 3);
    script_play(s, (const struct step[]){
                       {"get k", "_"},
                       {"set k abc", "+OK"},
                       {"set k v nx", "_"},
                       {"mget k none", "*2 $3 abc _"},
                       {"lcs k k idx", "%2 $7 matches *1 *2 *2 :0 :2 *2 :0 :2 $3 len :3"},
                       {NULL},
                   });
    script_close(s);
}

// The limit of lengths is proto-max-bulk-len, whatever it is.
static void test_length_limit(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    script_configure(s, "2000000", "noeviction");
    script_play(s, (const struct step[]){
                       {"setrange k 1999999 x", ":2000000"},
                       {"append k y", TOO_LONG},
                       {"setrange k 2000000 x", TOO_LONG},
                       {"append k \"\"", ":2000000"},
                       {"strlen k", ":2000000"},
                       {NULL},
                   });
    script_close(s);
}

// Sizes around those at which a value is kept and sent in another way, through every command that
// rewrites it.
static void test_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 44, 45, 255, 256, 500, 501, 16383, 16384, 16385, 100000};
    struct script *s = script_open(1);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = sizes[i];
        uint8_t *data = mi_malloc(n + 2);
        assert_non_null(data);
        for (size_t j = 0; j < n; j++)
            data[j] = (uint8_t)(j * 7 + n);
        memcpy(data + n, "ab", 2);
        script_run_with(s, "set k @", data, n);
        for (size_t len = n; len <= n + 2; len++) {
            char head[32];
            size_t n_head = (size_t)snprintf(head, sizeof(head), "$%zu\r\n", len);
            script_run(s, "get k");
            assert_int_equal(script_reply_len(s), n_head + len + 2);
            assert_memory_equal(script_reply(s), head, n_head);
            assert_memory_equal(script_reply(s) + n_head, data, len);
            if (len < n + 2)
                script_run_with(s, "append k @", data + len, 1);
        }
        script_run_with(s, "setrange k 0 @", data, n);
        script_run(s, "copy k other replace");
        script_run(s, "setrange k 0 Z"); // the copy must not change with it
        script_run(s, "getrange other 0 0");
        assert_int_equal(script_reply(s)[4], data[0]);
        mi_free(data);
    }
    script_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),    cmocka_unit_test(test_get_and_more),
        cmocka_unit_test(test_ranges), cmocka_unit_test(test_counting),
        cmocka_unit_test(test_lcs),    cmocka_unit_test(test_resp3),
        cmocka_unit_test(test_sizes),  cmocka_unit_test(test_length_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
