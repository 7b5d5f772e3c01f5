// Stream commands: what other tests cannot see. Ids from the clock, and effects: what is told to
// replicas must give the same stream when it is played on another server.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/commands/command.h"
#include "tests/unit/commands/script.h"

static void expect(struct script *s, const char *line, const char *effects)
{
    script_run(s, line);
    if (strcmp(script_effects(s), effects) != 0)
        fail_msg("%s\n  told   %s\n  wanted %s", line, script_effects(s), effects);
}

static void test_clock_ids(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    script_play(s, (const struct step[]){
                       {"xadd k * f v", "$15 1700000000000-0"},
                       {"xadd k * f v", "$15 1700000000000-1"},
                       {"xadd k 1700000000500-* f v", "$15 1700000000500-0"},
                       {"xadd k * f v", "$15 1700000000500-1"},
                       {NULL},
                   });
    script_advance(s, 1000);
    script_play(s, (const struct step[]){
                       {"xadd k * f v", "$15 1700000001000-0"},
                       {"xadd k 1700000001000-18446744073709551615 f v",
                        "$34 1700000001000-18446744073709551615"},
                       {"xadd k * f v", "$15 1700000001001-0"},
                       {"xlen k", ":7"},
                       {NULL},
                   });
    script_close(s);
}

static void test_effects_of_entries(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    script_limits(s)->stream_node_max_entries = 2;
    expect(s, "xadd k 1-1 f v", "xadd k 1-1 f v");
    expect(s, "xadd k 1-* f v", "XADD k 1-2 f v");
    expect(s, "xadd k nomkstream 2-* f v", "XADD k NOMKSTREAM 2-0 f v");
    expect(s, "xadd k * f v", "XADD k 1700000000000-0 f v");
    expect(s, "xadd k maxlen ~ 1 * f v", "XADD k MAXLEN = 1 1700000000000-1 f v");
    expect(s, "xadd k minid ~ 1700000000000 limit 1 * f v",
           "XADD k MINID = 1700000000000-1 1700000000000-2 f v");
    expect(s, "xadd k maxlen 2 * f v", "XADD k MAXLEN = 2 1700000000000-3 f v");
    expect(s, "xadd none nomkstream * f v", "");
    expect(s, "xtrim k maxlen 2", "");
    expect(s, "xtrim k maxlen ~ 0 limit 100", "XTRIM k MAXLEN = 0");
    expect(s, "xadd j minid ~ 30 21-4 f v",
           "XADD j MINID = 18446744073709551615-18446744073709551615 21-4 f v");
    script_close(s);
}

static void test_effects_of_groups(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    script_run(s, "xadd k 1-1 f v");
    script_run(s, "xadd k 1-2 f v");
    script_run(s, "xadd k 1-3 f v");
    expect(s, "xgroup create k g 0", "xgroup create k g 0");
    expect(s, "xreadgroup group g c count 1 streams k >",
           "XGROUP CREATECONSUMER k g c; "
           "XCLAIM k g c 0 1-1 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1; "
           "XGROUP SETID k g 1-1 ENTRIESREAD 1");
    expect(s, "xreadgroup group g c count 1 noack streams k >",
           "XGROUP SETID k g 1-2 ENTRIESREAD 2");
    expect(s, "xreadgroup group g c streams k 0",
           "XCLAIM k g c 0 1-1 TIME 1700000000000 RETRYCOUNT 2 FORCE JUSTID LASTID 1-2");
    script_advance(s, 5);
    expect(s, "xclaim k g d 0 1-1",
           "XGROUP CREATECONSUMER k g d; "
           "XCLAIM k g d 0 1-1 TIME 1700000000005 RETRYCOUNT 3 FORCE JUSTID LASTID 1-2");
    expect(s, "xclaim k g d 1000 1-1 lastid 7", "XGROUP SETID k g 7-0 ENTRIESREAD 2");
    expect(s, "xautoclaim k g c 0 - justid",
           "XCLAIM k g c 0 1-1 TIME 1700000000005 RETRYCOUNT 3 FORCE JUSTID LASTID 7-0");
    script_run(s, "xdel k 1-1");
    expect(s, "xautoclaim k g d 0 -",
           "XCLAIM k g c 0 1-1 TIME 1700000000005 RETRYCOUNT 3 FORCE JUSTID LASTID 7-0");
    expect(s, "xack k g 1-1", "");
    expect(s, "xgroup createconsumer k g c", "");
    script_close(s);
}

// What the first server tells is all that the second one is given.
static void test_replay(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "xadd k maxlen ~ 7 * f %u",
        "xadd k minid ~ %u limit 3 * f v",
        "xadd k * f v g %u",
        "xreadgroup group g c%u count 2 streams k >",
        "xreadgroup group g c noack count 1 streams k >",
        "xtrim k maxlen ~ %u",
        "xautoclaim k g c%u 0 - count 2",
        "xdel k 17000000000%02u-0",
        "xgroup delconsumer k g c%u",
        "xgroup setid k g 17000000000%02u entriesread 3",
    };
    struct script *from = script_open(1), *to = script_open(1);
    script_limits(from)->stream_node_max_entries = 3;
    script_limits(to)->stream_node_max_entries = 3;
    script_run(from, "xgroup create k g 0 mkstream");
    script_run(to, "xgroup create k g 0 mkstream");
    uint64_t random = 7;
    for (unsigned i = 0; i < 3000; i++) {
        char line[128], effects[4096];
        random = random * 6364136223846793005u + 1442695040888963407u;
        snprintf(line, sizeof(line),
                 lines[random >> 33 & 7 ? (random >> 36) % 7 : (random >> 36) % 10],
                 (unsigned)(random >> 50) % 10);
        script_run(from, line);
        snprintf(effects, sizeof(effects), "%s", script_effects(from));
        for (char *next, *at = effects; *at; at = next) {
            next = strstr(at, "; ");
            if (next)
                *next = '\0';
            const char *reply = script_run(to, at);
            if (*reply == '-')
                fail_msg("%s: %s", at, reply);
            next = next ? next + 2 : at + strlen(at);
        }
        if (!(random >> 40 & 15))
            script_advance(from, 1);
        char reply[16384];
        snprintf(reply, sizeof(reply), "%s", script_run(from, "xinfo stream k"));
        assert_string_equal(reply, script_run(to, "xinfo stream k"));
        snprintf(reply, sizeof(reply), "%s", script_run(from, "xinfo groups k"));
        assert_string_equal(reply, script_run(to, "xinfo groups k"));
        snprintf(reply, sizeof(reply), "%s", script_run(from, "xpending k g"));
        assert_string_equal(reply, script_run(to, "xpending k g"));
    }
    script_close(from);
    script_close(to);
}

// A big group is out of the stream at once; its pending entries are freed in steps and count until
// then.
static void test_destroy_in_steps(void **state)
{
    (void)state;
    enum { ENTRIES = 20000, TURN = 100 };
    struct script *s = script_open(1);
    char line[64];
    for (unsigned i = 1; i <= ENTRIES; i++) {
        sprintf(line, "xadd k 1-%u f v", i);
        script_run(s, line);
    }
    script_run(s, "xgroup create k g 0");
    uint64_t before = script_memory(s);
    sprintf(line, "xreadgroup group g c count %d streams k >", ENTRIES);
    script_run(s, line);
    uint64_t big = script_memory(s);
    assert_true(big > before + ENTRIES * 48ul);
    script_play(s, (const struct step[]){
                       {"xgroup destroy k g", ":1"},
                       {"xinfo groups k", "*0"},
                       {"xgroup create k g 0", "+OK"},
                       {NULL},
                   });
    assert_true(script_memory(s) >= big);
    unsigned turns = 1;
    while (script_maintain_turn(s, TURN))
        turns++;
    assert_true(turns >= ENTRIES / TURN);
    assert_int_equal(script_memory(s), before);
    script_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_ids),         cmocka_unit_test(test_effects_of_entries),
        cmocka_unit_test(test_effects_of_groups), cmocka_unit_test(test_replay),
        cmocka_unit_test(test_destroy_in_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
