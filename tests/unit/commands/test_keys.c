// Commands on keys: replies, the order of checks, time, walks over many keys on several cores.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/commands/script.h"

#define NIL "$-1"
#define SYNTAX "-ERR syntax error"
#define NOT_INTEGER "-ERR value is not an integer or out of range"
#define SAME "-ERR source and destination objects are the same"
#define RANGE "-ERR DB index is out of range"

static void play(const struct step *steps)
{
    struct script *s = script_open(1);
    script_play(s, steps);
    script_close(s);
}

static void test_delete_and_look(void **state)
{
    (void)state;
    play((const struct step[]){
        {"mset a 1 b 2 c 3", "+OK"},
        {"exists a a none b", ":3"},
        {"touch a none", ":1"},
        {"type a", "+string"},
        {"type none", "+none"},
        {"dbsize", ":3"},
        {"del a a none", ":1"},
        {"unlink b c", ":2"},
        {"dbsize", ":0"},
        {"randomkey", NIL},
        {"keys *", "*0"},
        {NULL},
    });
}

static void test_rename(void **state)
{
    (void)state;
    play((const struct step[]){
        {"rename none b", "-ERR no such key"},
        {"renamenx none none", "-ERR no such key"},
        {"set a 1 ex 100", "+OK"},
        {"rename a a", "+OK"},
        {"renamenx a a", ":0"},
        {"set b 2", "+OK"},
        {"renamenx a b", ":0"},
        {"rename a b", "+OK"},
        {"get b", "$1 1"},
        {"ttl b", ":100"},
        {"exists a", ":0"},
        {"renamenx b c", ":1"},
        {"ttl c", ":100"},
        {NULL},
    });
}

static void test_copy_and_move(void **state)
{
    (void)state;
    play((const struct step[]){
        {"set a 1 ex 100", "+OK"},
        {"copy a a", SAME},
        {"copy a b", ":1"},
        {"ttl b", ":100"},
        {"copy a b", ":0"},
        {"copy b a replace", ":1"},
        {"copy none a replace", ":0"},
        {"copy a a db 1", ":1"},
        {"copy a a db 1", ":0"},
        {"copy a a db 1 replace", ":1"},
        {"copy a b db", SYNTAX},
        {"copy a b db x", NOT_INTEGER},
        {"copy a b db 4", RANGE},
        {"copy a b db 3000000000",
         "-ERR value is out of range, value must between -2147483648 and 2147483647"},
        {"copy a b what", SYNTAX},
        {"move a 0", SAME},
        {"move a 1", ":0"},
        {"move a 2", ":1"},
        {"move a 2", ":0"},
        {"move a -1", RANGE},
        {"exists a", ":0"},
        {"swapdb 0 2", "+OK"},
        {"ttl a", ":100"},
        {"swapdb x 99999999999", "-ERR invalid first DB index"},
        {"swapdb 99 99999999999", "-ERR invalid second DB index"},
        {"swapdb 0 4", RANGE},
        {"swapdb 2 2", "+OK"},
        {"flushdb", "+OK"},
        {"dbsize", ":0"},
        {"swapdb 0 1", "+OK"},
        {"exists a", ":1"},
        {"flushall async", "+OK"},
        {"flushall sync now", SYNTAX},
        {"flushdb later", SYNTAX},
        {"dbsize", ":0"},
        {NULL},
    });
}

static void test_expire(void **state)
{
    (void)state;
    play((const struct step[]){
        {"expire none 10", ":0"},
        {"ttl none", ":-2"},
        {"set k v", "+OK"},
        {"ttl k", ":-1"},
        {"expiretime k", ":-1"},
        {"persist k", ":0"},
        {"expire k 10 gt", ":0"}, // without an expiry it lives for ever
        {"expire k 10 xx", ":0"},
        {"expire k 100 lt", ":1"},
        {"expire k 10 nx", ":0"},
        {"expire k 50 gt", ":0"},
        {"expire k 200 GT", ":1"},
        {"expire k 300 lt xx", ":0"},
        {"pexpire k 1499 lt xx", ":1"},
        {"ttl k", ":1"},
        {"pttl k", ":1499"},
        {"pexpire k 1500", ":1"},
        {"ttl k", ":2"},
        {"pexpiretime k", ":1700000001500"},
        {"expiretime k", ":1700000002"},
        {"expireat k 1700000100", ":1"},
        {"ttl k", ":100"},
        {"pexpireat k 1700000200000", ":1"},
        {"ttl k", ":200"},
        {"persist k", ":1"},
        {"ttl k", ":-1"},
        {"expire k 10 nx gt",
         "-ERR NX and XX, GT or LT options at the same time are not compatible"},
        {"expire k 10 lt gt", "-ERR GT and LT options at the same time are not compatible"},
        {"expire k x bogus", "-ERR Unsupported option bogus"},
        {"expire k x", NOT_INTEGER},
        {"expire k 9223372036854775807", "-ERR invalid expire time in 'expire' command"},
        {"pexpire k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"},
        {"expireat k -9223372036854775808", "-ERR invalid expire time in 'expireat' command"},
        {"pexpire none 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"},
        {"exists k", ":1"},
        {"pexpireat k -9223372036854775808", ":1"},
        {"exists k", ":0"},
        {"set k v", "+OK"},
        {"expire k 0", ":1"},
        {"exists k", ":0"},
        {NULL},
    });
}

static void test_time_passes(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    script_run(s, "set k v px 1000");
    script_run(s, "set stays v");
    script_advance(s, 999);
    assert_string_equal(script_run(s, "pttl k"), ":1");
    assert_string_equal(script_run(s, "object idletime stays"), ":0");
    script_advance(s, 1);
    static const char *const gone[] = {"exists k", "del k",   "persist k",
                                       "strlen k", "touch k", "move k 1"};
    for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
        assert_string_equal(script_run(s, gone[i]), ":0");
    assert_string_equal(script_run(s, "keys *"), "*1 $5 stays");
    assert_string_equal(script_run(s, "incr k"), ":1");
    assert_string_equal(script_run(s, "ttl k"), ":-1");
    script_advance(s, 60000);
    assert_in_range(atoi(script_run(s, "object idletime stays") + 1), 59, 61); // kept coarsely
    script_run(s, "get stays");
    assert_string_equal(script_run(s, "object idletime stays"), ":0");
    script_close(s);
}

// What has expired is not deleted once more by a DEL, even before anything looked at it.
static void test_delete_expired(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    script_run(s, "set k v px 5");
    script_run(s, "set j v px 5");
    script_advance(s, 5);
    assert_string_equal(script_run(s, "del k"), ":0");
    assert_string_equal(script_run(s, "rename j k"), "-ERR no such key");
    assert_int_equal(script_keys(s), 0);
    script_close(s);
}

static void test_object(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    script_play(s, (const struct step[]){
                       {"object encoding none", NIL},
                       {"set k 12345", "+OK"},
                       {"object encoding k", "$3 int"},
                       {"object refcount k", ":1"},
                       {"set k 9999", "+OK"},
                       {"object refcount k", ":2147483647"},
                       {"set k 01", "+OK"},
                       {"object encoding k", "$6 embstr"},
                       {"memory usage none", NIL},
                       {"memory usage k samples -1", SYNTAX},
                       {"memory usage k samples", SYNTAX},
                       {"memory usage k samples x", NOT_INTEGER},
                       {NULL},
                   });
    assert_memory_equal(script_run(s, "memory usage k samples 0"), ":", 1);
    assert_true(atoi(script_run(s, "memory usage k") + 1) > 0);
    assert_non_null(
        strstr(script_run(s, "object freq k"), "-ERR An LFU maxmemory policy is not selected"));
    script_configure(s, "1000000", "allkeys-lfu");
    assert_non_null(
        strstr(script_run(s, "object idletime k"), "-ERR An LFU maxmemory policy is selected"));
    assert_memory_equal(script_run(s, "object freq k"), ":", 1);
    assert_memory_equal(script_run(s, "object help"), "*", 1);
    script_close(s);
}

#define MANY 2000

static void fill(struct script *s)
{
    char line[64];
    for (int i = 0; i < MANY; i++) {
        snprintf(line, sizeof(line), "set key:%d v", i);
        script_run(s, line);
    }
}

// Marks the keys that a reply names; fails on one that is no key of ours. Returns how many it
// names.
static unsigned mark(const char *reply, bool seen[MANY])
{
    unsigned n = 0;
    for (const char *p = strstr(reply, "key:"); p; p = strstr(p + 1, "key:")) {
        int i = atoi(p + 4);
        assert_in_range(i, 0, MANY - 1);
        seen[i] = true;
        n++;
    }
    return n;
}

static unsigned count(const bool seen[MANY])
{
    unsigned n = 0;
    for (int i = 0; i < MANY; i++)
        n += seen[i];
    return n;
}

static void test_scan_over_cores(void **state)
{
    (void)state;
    struct script *s = script_open(3);
    fill(s);
    static const struct {
        const char *filter;
        unsigned found;
    } cases[] = {{"", MANY},        {"count 1", MANY},         {"count 1000000", MANY},
                 {"match *77", 20}, {"match nothing*", 0},     {"type string", MANY},
                 {"TYPE hash", 0},  {"match * count 50", MANY}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool seen[MANY] = {false};
        char line[128], cursor[32] = "0";
        unsigned turns = 0, named = 0;
        do {
            snprintf(line, sizeof(line), "scan %s %s", cursor, cases[i].filter);
            const char *reply = script_run(s, line);
            named += mark(reply, seen);
            assert_int_equal(sscanf(reply, "*2 $%*d %31[0-9]", cursor), 1);
            assert_true(turns++ <= MANY + 3);
        } while (strcmp(cursor, "0") != 0);
        assert_int_equal(count(seen), cases[i].found);
        assert_int_equal(named, cases[i].found);
        if (strcmp(cases[i].filter, "count 1000000") == 0) // over all cores at once
            assert_int_equal(turns, 1);
    }
    script_play(s, (const struct step[]){
                       {"scan", "-ERR wrong number of arguments for 'scan' command"},
                       {"scan x", "-ERR invalid cursor"},
                       {"scan \" 0\"", "-ERR invalid cursor"},
                       {"scan -", "-ERR invalid cursor"},
                       {"scan 18446744073709551616", "-ERR invalid cursor"},
                       {"scan 0 count 0", SYNTAX},
                       {"scan 0 count x", NOT_INTEGER},
                       {"scan 0 match", SYNTAX},
                       {"scan 0 bogus 1", SYNTAX},
                       {NULL},
                   });
    script_close(s);
}

static void test_keys_over_cores(void **state)
{
    (void)state;
    struct script *s = script_open(3);
    fill(s);
    bool seen[MANY] = {false};
    const char *reply = script_run(s, "keys *");
    assert_memory_equal(reply, "*2000 ", 6);
    assert_int_equal(mark(reply, seen), MANY);
    assert_int_equal(count(seen), MANY);
    assert_memory_equal(script_run(s, "keys key:1?"), "*10 ", 4);
    assert_memory_equal(script_run(s, "keys key:[12]00"), "*2 ", 3);
    assert_string_equal(script_run(s, "keys key:7"), "*1 $5 key:7");
    assert_string_equal(script_run(s, "keys none"), "*0");
    assert_string_equal(script_run(s, "dbsize"), ":2000");
    script_close(s);
}

// Every key is found sooner or later, on whatever core, and a core without keys is no answer.
static void test_random_key(void **state)
{
    (void)state;
    struct script *s = script_open(3);
    assert_string_equal(script_run(s, "randomkey"), NIL);
    script_run(s, "set key:0 v");
    for (int i = 0; i < 20; i++)
        assert_string_equal(script_run(s, "randomkey"), "$5 key:0");
    for (int i = 1; i < 5; i++) {
        char line[32];
        snprintf(line, sizeof(line), "set key:%d v", i);
        script_run(s, line);
    }
    bool seen[MANY] = {false};
    for (int i = 0; i < 1000; i++)
        assert_int_equal(mark(script_run(s, "randomkey"), seen), 1);
    assert_int_equal(count(seen), 5);
    script_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delete_and_look), cmocka_unit_test(test_rename),
        cmocka_unit_test(test_copy_and_move),   cmocka_unit_test(test_expire),
        cmocka_unit_test(test_time_passes),     cmocka_unit_test(test_delete_expired),
        cmocka_unit_test(test_object),          cmocka_unit_test(test_scan_over_cores),
        cmocka_unit_test(test_keys_over_cores), cmocka_unit_test(test_random_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
