// What commands of strings and keys tell: events under Redis's names, and effects that give the
// same state at any time. The events are those that redis-server 7.0.15 publishes for the same
// lines.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/commands/script.h"

// The clock of a script stands at 1700000000000.
static const struct change {
    const char *line, *events, *effects;
} changes[] = {
    {"SET k v", "set k", "SET k v"},
    {"SET k v EX 100", "set k expire k", "SET k v PXAT 1700000100000"},
    {"SET k v PXAT 1700000000500", "set k expire k", "SET k v PXAT 1700000000500"},
    {"SET k v XX GET PX 5000", "set k expire k", "SET k v PXAT 1700000005000"},
    {"SET k v KEEPTTL", "set k", "SET k v KEEPTTL"},
    {"SET k v NX", "", ""},
    {"SET n v XX", "", ""},
    {"SETNX k v", "", ""},
    {"SETNX k2 v", "set k2", "SETNX k2 v"},
    {"SETEX k 100 v", "set k expire k", "SET k v PXAT 1700000100000"},
    {"PSETEX k 100 v", "set k expire k", "SET k v PXAT 1700000000100"},
    {"GETSET k w", "set k", "GETSET k w"},
    {"GETEX k", "", ""},
    {"GETEX k EX 100", "expire k", "PEXPIREAT k 1700000100000"},
    {"GETEX k PERSIST", "persist k", "PERSIST k"},
    {"GETEX k PERSIST", "", ""},
    {"GETEX k EXAT 1", "del k", "DEL k"},
    {"GETDEL k", "", ""},
    {"GETDEL k2", "del k2", "DEL k2"},
    {"MSET a 1 b 2", "set a set b", "MSET a 1 b 2"},
    {"MSETNX a 1 c 2", "", ""},
    {"MSETNX c 1 d 2", "set c set d", "MSETNX c 1 d 2"},
    {"APPEND a x", "append a", "APPEND a x"},
    {"APPEND e x", "append e", "APPEND e x"},
    {"SETRANGE a 0 y", "setrange a", "SETRANGE a 0 y"},
    {"SETRANGE a 5 \"\"", "", ""},
    {"INCR b", "incrby b", "INCR b"},
    {"DECR b", "incrby b", "DECR b"},
    {"INCRBY b 5", "incrby b", "INCRBY b 5"},
    {"DECRBY b 5", "incrby b", "DECRBY b 5"},
    {"INCRBYFLOAT b 0.5", "incrbyfloat b", "SET b 2.5 KEEPTTL"},
    {"DEL a x c", "del a del c", "DEL a x c"},
    {"DEL a x c", "", ""},
    {"UNLINK d", "del d", "UNLINK d"},
    {"EXPIRE b 100", "expire b", "PEXPIREAT b 1700000100000"},
    {"EXPIRE b 100 NX", "", ""},
    {"PEXPIRE b 50 LT", "expire b", "PEXPIREAT b 1700000000050"},
    {"EXPIREAT b 1700000001", "expire b", "PEXPIREAT b 1700000001000"},
    {"PERSIST b", "persist b", "PERSIST b"},
    {"PERSIST b", "", ""},
    {"PEXPIREAT b 1", "del b", "DEL b"},
    {"EXPIRE none 5", "", ""},
    {"SET b 1", "set b", "SET b 1"},
    {"RENAME b r", "rename_from b rename_to r", "RENAME b r"},
    {"RENAME r r", "", ""},
    {"RENAMENX r b", "rename_from r rename_to b", "RENAMENX r b"},
    {"COPY b s", "copy_to s", "COPY b s"},
    {"COPY b s", "", ""},
    {"COPY b s REPLACE", "copy_to s", "COPY b s REPLACE"},
    {"COPY b s DB 1", "copy_to s", "COPY b s DB 1"},
    {"MOVE b 1", "move_from b move_to b", "MOVE b 1"},
    {"MOVE b 1", "", ""},
    {"GET s", "", ""},
    {"FLUSHDB", "", "FLUSHDB"},
    {"FLUSHDB", "", ""},
};

static void test_changes(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
        const struct change *c = &changes[i];
        script_run(s, c->line);
        const char *events = script_events(s), *effects = script_effects(s);
        if (strcmp(events, c->events) || strcmp(effects, c->effects))
            fail_msg("%s\n  tells  [%s] [%s]\n  wanted [%s] [%s]", c->line, events, effects,
                     c->events, c->effects);
    }
    script_close(s);
}

// A key whose time is over goes before the command that meets it, and by itself.
static void test_expired(void **state)
{
    (void)state;
    struct script *s = script_open(1);
    script_gone(s);
    script_run(s, "SET k v PX 10");
    script_advance(s, 20);
    script_run(s, "GET k");
    assert_string_equal(script_effects(s), "");
    assert_string_equal(script_gone(s), "DEL k");
    script_run(s, "SET k v PX 10");
    script_advance(s, 20);
    script_run(s, "INCR k");
    assert_string_equal(script_effects(s), "INCR k");
    assert_string_equal(script_gone(s), "DEL k");
    script_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_expired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
