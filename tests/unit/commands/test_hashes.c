// Hash commands where a comparison with Redis 7.0 cannot reach: the time of fields, effects, random
// fields.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/command.h"
#include "tests/unit/commands/script.h"

#define WRONG_TYPE "-WRONGTYPE Operation against a key holding the wrong kind of value"
#define SYNTAX "-ERR syntax error"
#define NOT_INTEGER "-ERR value is not an integer or out of range"
#define NO_FIELDS "-ERR Mandatory argument FIELDS is missing or not at the right position"
#define NOT_MATCHING "-ERR The `numfields` parameter must match the number of arguments"

static struct script *s;

static int begin(void **state)
{
    (void)state;
    s = script_open(1);
    return 0;
}

static int end(void **state)
{
    (void)state;
    script_run(s, "flushall");
    script_maintain(s);
    assert_int_equal(script_memory(s), 0);
    script_close(s);
    return 0;
}

static void expect(const char *line, const char *reply)
{
    script_play(s, (const struct step[]){{line, reply}, {NULL, NULL}});
}

static void expect_effects(const char *line, const char *reply, const char *effects)
{
    expect(line, reply);
    assert_string_equal(script_effects(s), effects);
}

static void test_conditions(void **state)
{
    (void)state;
    script_play(s, (const struct step[]){
                       {"hset h a 1 b 2 c 3", ":3"},
                       {"object encoding h", "$8 listpack"},
                       {"hexpire h 100 fields 2 a none", "*2 :1 :-2"},
                       {"object encoding h", "$9 hashtable"},
                       {"httl h fields 3 a b none", "*3 :100 :-1 :-2"},
                       {"hpttl h fields 1 a", "*1 :100000"},
                       {"hexpiretime h fields 1 a", "*1 :1700000100"},
                       {"hpexpiretime h fields 1 a", "*1 :1700000100000"},
                       {"hexpire h 50 nx fields 2 a b", "*2 :0 :1"},
                       {"hexpire h 200 XX fields 2 a c", "*2 :1 :0"},
                       {"hexpire h 100 gt fields 2 a c", "*2 :0 :0"},
                       {"hexpire h 300 gt fields 2 a c", "*2 :1 :0"},
                       {"hexpire h 400 lt fields 2 a c", "*2 :0 :1"},
                       {"hexpire h 100 lt fields 1 a", "*1 :1"},
                       {"hpexpire h 1500 fields 1 a", "*1 :1"},
                       {"httl h fields 1 a", "*1 :2"},
                       {"hexpireat h 1700000007 fields 1 a", "*1 :1"},
                       {"httl h fields 1 a", "*1 :7"},
                       {"hpexpireat h 1700000008000 fields 1 a", "*1 :1"},
                       {"httl h fields 1 a", "*1 :8"},
                       {"hpersist h fields 3 a a none", "*3 :1 :-1 :-2"},
                       {"httl h fields 1 a", "*1 :-1"},
                       {"hexpire h 100 fields 1 a", "*1 :1"},
                       {"hincrby h a 1", ":2"},
                       {"httl h fields 1 a", "*1 :100"},
                       {"hset h a 5", ":0"},
                       {"httl h fields 1 a", "*1 :-1"},
                       {NULL, NULL},
                   });
}

static void test_errors(void **state)
{
    (void)state;
    script_play(
        s, (const struct step[]){
               {"set s v", "+OK"},
               {"hexpire s x bogus 1 a b", WRONG_TYPE},
               {"httl s bogus 1 a", WRONG_TYPE},
               {"hexpire none 10 fields 2 a b", "*2 :-2 :-2"},
               {"httl none fields 2 a b", "*2 :-2 :-2"},
               {"hpersist none fields 2 a b", "*2 :-2 :-2"},
               {"hset h a 1", ":1"},
               {"hexpire h x fields 1 a", NOT_INTEGER},
               {"hexpire h -1 fields 1 a", "-ERR invalid expire time, must be >= 0"},
               {"hexpire h 9223372036854775807 fields 1 a",
                "-ERR invalid expire time in 'hexpire' command"},
               {"hpexpireat h 70368744177664 fields 1 a",
                "-ERR invalid expire time in 'hpexpireat' command"},
               {"hpexpireat h 70368744177663 fields 1 a", "*1 :1"},
               {"hexpire h 10 bogus 1 a", NO_FIELDS},
               {"hexpire h 10 nx gt fields 1 a", NO_FIELDS},
               {"hexpire h 10 fields 0 a", "-ERR Parameter `numFields` should be greater than 0"},
               {"hexpire h 10 fields 2 a", NOT_MATCHING},
               {"hexpire h 10 fields 1 a b", NOT_MATCHING},
               {"hgetdel h fields 2 a", NOT_MATCHING},
               {"hgetdel h bogus 1 a", NO_FIELDS},
               {"hgetdel h fields x a", "-ERR Number of fields must be a positive integer"},
               {"hgetex h ex 10 px 10 fields 1 a",
                "-ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified"},
               {"hgetex h keepttl fields 1 a", NO_FIELDS},
               {"hsetex h fnx fxx fields 1 a 1",
                "-ERR Only one of FXX or FNX arguments can be specified"},
               {"hsetex h ex 10 keepttl fields 1 a 1",
                "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"},
               {"hsetex h fields 1 a 1 b", NOT_MATCHING},
               {"hsetex h ex 0 fields 1 b 1", ":1"},
               {"hsetex s fields 1 b 1", WRONG_TYPE},
               {NULL, NULL},
           });
}

// A field whose time is over is there for no command, at once.
static void test_invisible(void **state)
{
    (void)state;
    for (int removed = 0; removed < 2; removed++) {
        expect("hset h a 1 b 2 c 3 d 4", ":4");
        expect("hpexpire h 1000 fields 2 a b", "*2 :1 :1");
        expect("hlen h", ":4");
        script_advance(s, 1000);
        if (removed) {
            script_advance(s, 100);
            script_maintain(s);
            expect("hlen h", ":2");
        }
        script_play(s, (const struct step[]){
                           {"hget h a", "$-1"},
                           {"hmget h a b c", "*3 $-1 $-1 $1 3"},
                           {"hexists h a", ":0"},
                           {"hstrlen h b", ":0"},
                           {"httl h fields 2 a c", "*2 :-2 :-1"},
                           {"hpersist h fields 1 a", "*1 :-2"},
                           {"hexpire h 10 fields 1 b", "*1 :-2"},
                           {"hdel h a", ":0"},

                           {NULL, NULL},
                       });
        assert_int_equal(strncmp(script_run(s, "hgetall h"), "*4 ", 3), 0);
        assert_int_equal(strncmp(script_run(s, "hrandfield h 10"), "*2 ", 3), 0);
        assert_int_equal(strncmp(script_run(s, "hvals h"), "*2 ", 3), 0);
        assert_int_equal(strncmp(script_run(s, "hscan h 0 count 100"), "*2 $1 0 *4 ", 11), 0);
        assert_int_equal(strncmp(script_run(s, "hscan h 0 count 100 novalues"), "*2 $1 0 *2 ", 11),
                         0);
        expect("hsetnx h b new", ":1");
        expect("httl h fields 1 b", "*1 :-1");
        expect("hincrby h a 5", ":5");
        expect("del h", ":1");
    }
}

// Fields go on their own, and the key with the last one.
static void test_active(void **state)
{
    (void)state;
    char line[64];
    for (int i = 0; i < 5000; i++) {
        snprintf(line, sizeof(line), "hset h f%d v", i);
        script_run(s, line);
        snprintf(line, sizeof(line), "hpexpire h %d fields 1 f%d", i < 4000 ? 1000 + i % 7 : 5000,
                 i);
        expect(line, "*1 :1");
    }
    expect("hset other a 1 b 2", ":2");
    expect("hpexpire other 2000 fields 1 a", "*1 :1");
    expect("pexpire other 9000", ":1");
    script_advance(s, 1500);
    script_maintain(s);
    expect("hlen h", ":1000");
    script_advance(s, 1000);
    script_maintain(s);
    expect("hlen other", ":1");
    expect("rename h {x}h", "+OK");
    expect("copy {x}h copied", ":1");
    expect("pexpire copied 100000", ":1");
    expect("persist copied", ":1");
    script_advance(s, 3000);
    script_maintain(s);
    assert_int_equal(script_keys(s), 1);
    expect("exists {x}h copied other", ":1");
    script_advance(s, 5000);
    script_maintain(s);
    assert_int_equal(script_keys(s), 0);
    assert_int_equal(script_memory(s), 0);
}

// The last field of a hash that a command looks at.
static void test_gone_when_looked_at(void **state)
{
    (void)state;
    static const char *const lines[] = {"hlen h",    "hget h f",  "hdel h f",
                                        "hgetall h", "hscan h 0", "hsetnx h f v"};
    static const char *const replies[] = {":0", "$-1", ":0", "*0", "*2 $1 0 *0", ":1"};
    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        expect("hsetex h px 100 fields 1 f v", ":1");
        script_advance(s, 200);
        expect(lines[i], replies[i]);
        assert_int_equal(script_keys(s), i == 5);
        expect("hrandfield none", "$-1");
    }
}

// What goes without a command is told.
static void test_told(void **state)
{
    (void)state;
    script_gone(s);
    expect("hset h a 1 b 2 c 3", ":3");
    expect("hpexpire h 100 fields 1 a", "*1 :1");
    expect("hpexpire h 200 fields 1 b", "*1 :1");
    expect("set k v px 100", "+OK");
    script_advance(s, 150);
    expect("hlen h", ":2");
    assert_string_equal(script_gone(s), "HDEL h a");
    expect("get k", "$-1");
    assert_string_equal(script_gone(s), "DEL k");
    script_advance(s, 150);
    expect("set k v px 100", "+OK");
    script_maintain(s);
    assert_string_equal(script_gone(s), "HDEL h b");
    script_advance(s, 150);
    script_maintain(s);
    assert_string_equal(script_gone(s), "DEL k");
    expect("hpexpire h 200 fields 1 c", "*1 :1");
    script_advance(s, 250);
    expect("hget h c", "$-1");
    assert_string_equal(script_gone(s), "HDEL h c");
    expect("exists h", ":0");
}

static void test_double_commands(void **state)
{
    (void)state;
    script_play(s, (const struct step[]){
                       {"hsetex h fxx fields 1 a 1", ":0"},
                       {"exists h", ":0"},
                       {"hsetex h fnx ex 100 fields 2 a 1 b 2", ":1"},
                       {"hsetex h fnx fields 2 a 1 c 2", ":0"},
                       {"hexists h c", ":0"},
                       {"hsetex h fxx keepttl fields 1 a 5", ":1"},
                       {"httl h fields 2 a b", "*2 :100 :100"},
                       {"hsetex h fields 1 a 6", ":1"},
                       {"httl h fields 1 a", "*1 :-1"},
                       {"hgetex h fields 2 a none", "*2 $1 6 $-1"},
                       {"hgetex h px 5000 fields 1 a", "*1 $1 6"},
                       {"hpttl h fields 1 a", "*1 :5000"},
                       {"hgetex h persist fields 1 a", "*1 $1 6"},
                       {"httl h fields 1 a", "*1 :-1"},
                       {"hgetex h exat 1 fields 1 a", "*1 $1 6"},
                       {"hexists h a", ":0"},
                       {"hgetdel h fields 2 a b", "*2 $-1 $1 2"},
                       {"exists h", ":0"},
                       {"hgetdel h fields 1 a", "*1 $-1"},
                       {"hgetex h ex 10 fields 1 a", "*1 $-1"},
                       {NULL, NULL},
                   });
}

static void test_effects(void **state)
{
    (void)state;
    expect_effects("hset h a 1 b 2 c 3", ":3", "hset h a 1 b 2 c 3");
    expect_effects("hincrbyfloat h a 1.5", "$3 2.5", "HSET h a 2.5");
    expect_effects("hincrby h b 1", ":3", "hincrby h b 1");
    expect_effects("hexpire h 100 fields 2 a none", "*2 :1 :-2",
                   "HPEXPIREAT h 1700000100000 FIELDS 1 a");
    expect_effects("hexpire h 100 gt fields 1 a", "*1 :0", "");
    expect_effects("hexpire h 0 fields 2 a none", "*2 :2 :-2", "HDEL h a");
    expect_effects("hsetex h ex 10 fields 2 x 1 y 2", ":1",
                   "HSET h x 1 y 2; HPEXPIREAT h 1700000010000 FIELDS 2 x y");
    expect_effects("hgetex h fields 1 x", "*1 $1 1", "");
    expect_effects("hgetex h px 500 fields 1 x", "*1 $1 1",
                   "HPEXPIREAT h 1700000000500 FIELDS 1 x");
    expect_effects("hgetex h persist fields 2 x b", "*2 $1 1 $1 3", "HPERSIST h FIELDS 1 x");
    expect_effects("hpersist h fields 1 b", "*1 :-1", "");
    expect_effects("hgetdel h fields 2 x none", "*2 $1 1 $-1", "HDEL h x");
    expect_effects("hdel h none", ":0", "");
    expect_effects("hdel h b c", ":2", "hdel h b c");
}

// Without repetition: different ones, as many as asked for, all of them hash fields; in tables and
// listpacks, with few and with many asked for.
static void test_random_fields(void **state)
{
    (void)state;
    static const int sizes[] = {1, 7, 100, 3000};
    for (unsigned k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        int n = sizes[k];
        char line[64];
        script_run(s, "del h");
        for (int i = 0; i < n; i++) {
            snprintf(line, sizeof(line), "hset h %d %d", i, i * 2);
            script_run(s, line);
        }
        const int counts[] = {1, n / 20, n / 2, n - 1, n, n + 5, -n, -2 * n};
        for (unsigned j = 0; j < sizeof(counts) / sizeof(counts[0]); j++) {
            static unsigned char seen[3000];
            memset(seen, 0, sizeof(seen));
            snprintf(line, sizeof(line), "hrandfield h %d withvalues", counts[j]);
            const char *p = script_run(s, line);
            int want = counts[j] < 0 ? -counts[j] : counts[j] > n ? n : counts[j];
            int field, value, used;
            assert_int_equal(sscanf(p, "*%d%n", &field, &used), 1);
            assert_int_equal(field, 2 * want);
            p += used;
            for (int i = 0; i < want; i++) {
                assert_int_equal(sscanf(p, " $%*d %d $%*d %d%n", &field, &value, &used), 2);
                p += used;
                assert_in_range(field, 0, n - 1);
                assert_int_equal(value, 2 * field);
                if (counts[j] > 0)
                    assert_false(seen[field]);
                seen[field] = 1;
            }
        }
    }
    script_resp(s, 3);
    script_run(s, "del h");
    expect("hset h f v", ":1");
    expect("hrandfield h -2 withvalues", "*2 *2 $1 f $1 v *2 $1 f $1 v");
    expect("hrandfield h 0", "*0");
    expect("hrandfield h 1", "*1 $1 f");
    script_resp(s, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_conditions, begin, end),
        cmocka_unit_test_setup_teardown(test_errors, begin, end),
        cmocka_unit_test_setup_teardown(test_invisible, begin, end),
        cmocka_unit_test_setup_teardown(test_active, begin, end),
        cmocka_unit_test_setup_teardown(test_gone_when_looked_at, begin, end),
        cmocka_unit_test_setup_teardown(test_told, begin, end),
        cmocka_unit_test_setup_teardown(test_double_commands, begin, end),
        cmocka_unit_test_setup_teardown(test_effects, begin, end),
        cmocka_unit_test_setup_teardown(test_random_fields, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
