// RESTORE: what it tells its replicas, times, and the order of its errors.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/commands/script.h"

// DUMP of the string "hello" by redis-server 7.0.15.
static const uint8_t hello[] = "\x00\x05hello\x0a\x00\x63\x72\xdf\x76\x65\x34\x20\x0a";
#define HELLO_LEN (sizeof(hello) - 1)

#define WRONG "-ERR DUMP payload version or checksum are wrong"

static const char *restore(struct script *s, const char *line)
{
    return script_run_with(s, line, hello, HELLO_LEN);
}

static void test_bytes(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    script_run(s, "set k hello");
    script_run(s, "dump k");
    assert_int_equal(script_reply_len(s), HELLO_LEN + strlen("$17\r\n\r\n"));
    assert_memory_equal(script_reply(s) + 5, hello, HELLO_LEN);
    assert_string_equal(script_run(s, "dump none"), "$-1");
    script_close(s);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *line, *reply;
    } steps[] = {
        {"restore k 0 @ bogus", "-ERR syntax error"},
        {"restore k 0 @ idletime", "-ERR syntax error"},
        {"restore k 0 @ idletime x", "-ERR value is not an integer or out of range"},
        {"restore k 0 @ idletime -1", "-ERR Invalid IDLETIME value, must be >= 0"},
        {"restore k 0 @ freq 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255"},
        {"restore k 0 @ idletime 1 freq 1", "-ERR syntax error"},
        {"restore k x @", "-ERR value is not an integer or out of range"},
        {"restore k -1 @", "-ERR Invalid TTL value, must be >= 0"},
        {"restore k 0 @", "+OK"},
        // A key that is there is told before a time that makes no sense, and that before the
        // payload.
        {"restore k x @", "-BUSYKEY Target key name already exists."},
        {"restore k -1 short replace", "-ERR Invalid TTL value, must be >= 0"},
        {"restore k 0 short replace", WRONG},
        {"restore k 0 longer-than-ten replace", WRONG},
        {"restore k 0 @ replace freq 1", "+OK"},
        {"get k", "$5 hello"},
        {NULL, NULL},
    };
    struct script *s = script_open(1);
    for (unsigned i = 0; steps[i].line; i++)
        assert_string_equal(restore(s, steps[i].line), steps[i].reply);
    script_close(s);
}

static void test_version(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    uint8_t payload[HELLO_LEN];
    for (unsigned bit = 0; bit < 8 * HELLO_LEN; bit++) { // whatever is damaged, the sum tells
        memcpy(payload, hello, HELLO_LEN);
        payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_string_equal(script_run_with(s, "restore k 0 @", payload, HELLO_LEN), WRONG);
    }
    script_close(s);
}

// The text of what is told ends for us where the payload begins, which is a zero byte.
static void told(struct script *s, const char *line, const char *effects)
{
    assert_string_equal(restore(s, line), "+OK");
    assert_string_equal(script_effects(s), effects);
}

static void test_effects(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    told(s, "restore k 5000 @", "RESTORE k 1700000005000 ");
    assert_string_equal(script_run(s, "pexpiretime k"), ":1700000005000");
    told(s, "restore k 1700000001000 @ replace absttl", "restore k 1700000001000 ");
    assert_string_equal(script_run(s, "pttl k"), ":1000");
    // A time that is over already: the old value goes, and nothing comes.
    told(s, "restore k 1600000000000 @ replace absttl", "DEL k");
    assert_string_equal(script_run(s, "exists k"), ":0");
    told(s, "restore k 1 @ absttl", "");
    told(s, "restore k 9223372036854775807 @", "");
    assert_int_equal(script_keys(s), 0);
    script_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_effects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
