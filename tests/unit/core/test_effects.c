// What the core tells of writes (effects.h) where several belong together: scripts, functions and
// transactions, at once and over many turns. The core is the one of pollux-micro, without a
// transport; its clients send lines.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro/rig.h"
#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/commands/effects.h"
#include "dataplane/core/script.h"
#include "dataplane/script/functions.h"
#include "dataplane/script/script.h"

static struct rig *rig;
static struct effects told;
static char text[4096];

static int begin(void **state)
{
    (void)state;
    rig = rig_open();
    assert_non_null(rig);
    struct core *c = rig->core;
    rig->server.scripts = script_texts_create();
    rig->server.functions = script_functions_create();
    assert_true(rig->server.scripts && rig->server.functions && scripts_start(c));
    scripts_configure(c);
    told = (struct effects){0};
    outbuf_init(&told.out);
    c->effects = &told;
    c->closely |= CLOSELY_EFFECTS;
    return 0;
}

static int end(void **state)
{
    (void)state;
    outbuf_clear(&told.out);
    rig->core->effects = NULL;
    scripts_end(rig->core);
    scripts_stop(rig->core);
    script_texts_destroy(rig->server.scripts);
    script_functions_destroy(rig->server.functions);
    rig_close(rig);
    return 0;
}

// Shows the core a line of a client, and lets it do what it does at once.
static void send(unsigned client, const char *line)
{
    struct tape *t = &rig->tapes[client];
    int len = sprintf((char *)t->in, "%s\r\n", line);
    t->stream.in = t->in;
    t->stream.in_len = (uint32_t)len;
    t->stream.out.pos = t->out;
    t->stream.events = STREAM_READABLE;
    client_event(rig->core, &t->stream);
    rig_run(rig, NULL);
}

static void finish(void)
{
    while (scripts_turn(rig->core)) {
        if (rig->core->starved)
            route_starved(rig->core);
        rig_run(rig, NULL);
    }
}

// What was told since the last time: commands, each but the first behind ";".
static const char *effects(void)
{
    char *to = text;
    bool first = true; // word of its command
    struct block *all = outbuf_block(&told.out);
    const char *p = all ? (const char *)all->data : NULL, *last = all ? p + all->len : NULL;
    while (p < last) {
        char kind = *p;
        size_t n = strtoul(p + 1, NULL, 10);
        p = (const char *)memchr(p, '\n', (size_t)(last - p)) + 1;
        if (kind == '*') {
            first = true;
            continue;
        }
        assert_true(to + n + 2 < text + sizeof(text));
        if (to > text)
            *to++ = first ? ';' : ' ';
        memcpy(to, p, n);
        first = false;
        to += n;
        p += n + 2;
    }
    *to = '\0';
    block_release(all);
    outbuf_clear(&told.out);
    return text;
}

static void expect(const char *line, const char *what)
{
    send(0, line);
    finish();
    assert_string_equal(effects(), what);
}

static void test_scripts(void **state)
{
    (void)state;
    expect("SET a 1", "SET a 1");
    expect("EVAL \"redis.call('set', 'x', 1)\" 0", "set x 1");
    expect("EVAL \"redis.call('set', 'x', 2) redis.call('incr', 'y')\" 0",
           "MULTI;set x 2;incr y;EXEC");
    expect("EVAL \"return redis.call('get', 'x')\" 0", "");
    expect("EVAL \"redis.call('set', 'x', 3) redis.call('del', 'nokey') redis.call('get', 'x')\" 0",
           "set x 3");
    expect("EVAL \"redis.call('set', 'x', 4) redis.call('incr', 'y') error('e')\" 0",
           "MULTI;set x 4;incr y;EXEC");
    expect("EVAL \"redis.call('set', 'x', 5) redis.pcall('incr', 'x', 'x')\" 0", "set x 5");
    expect("EVAL \"redis.call('sadd', 's', 'm') redis.call('spop', 's')\" 0",
           "MULTI;sadd s m;SREM s m;EXEC");
}

static void test_databases(void **state)
{
    (void)state;
    expect("EVAL \"redis.call('set', 'a', 1) redis.call('select', 3) redis.call('set', 'b', 1)\" 0",
           "MULTI;set a 1;SELECT 3;set b 1;EXEC");
    expect("SET c 1", "SELECT 0;SET c 1");
    expect("EVAL \"redis.call('select', 3) redis.call('set', 'a', 1)\" 0", "SELECT 3;set a 1");
    expect("EVAL \"redis.call('select', 3) redis.call('set', 'a', 1) redis.call('incr', 'a')\" 0",
           "MULTI;set a 1;incr a;EXEC");
    expect("EVAL \"redis.call('set', 'a', 1) redis.call('set', 'b', 1)\" 0",
           "SELECT 0;MULTI;set a 1;set b 1;EXEC");
}

static void test_set_repl(void **state)
{
    (void)state;
    expect("EVAL \"redis.call('set', 'x', 1) redis.set_repl(redis.REPL_NONE) redis.call('set', "
           "'y', 1) "
           "redis.set_repl(redis.REPL_ALL) redis.call('set', 'z', 1)\" 0",
           "MULTI;set x 1;set z 1;EXEC");
    expect("EVAL \"redis.set_repl(redis.REPL_NONE) redis.call('set', 'y', 2)\" 0", "");
    expect("EVAL \"redis.call('set', 'y', 3)\" 0", "set y 3"); // it holds for one script
    expect("EVAL \"redis.set_repl(redis.REPL_AOF) redis.call('set', 'y', 4)\" 0", "set y 4");
}

static void test_functions(void **state)
{
    (void)state;
    send(0, "FUNCTION LOAD \"#!lua name=l\\nredis.register_function('f', function(keys) "
            "redis.call('set', keys[1], 1) return redis.call('incr', keys[1]) end)\"");
    effects(); // FUNCTION LOAD tells of itself, or not
    expect("FCALL f 1 k", "MULTI;set k 1;incr k;EXEC");
}

static void test_transactions(void **state)
{
    (void)state;
    send(0, "MULTI");
    send(0, "SET t 1");
    send(0, "EVAL \"redis.call('set', 'x', 2) redis.call('incr', 'y')\" 0");
    send(0, "GET x");
    send(0, "EVAL \"redis.call('set', 'q', 2)\" 0");
    expect("EXEC", "MULTI;SET t 1;set x 2;incr y;set q 2;EXEC");
    send(0, "MULTI");
    send(0, "SET t 2");
    expect("EXEC", "SET t 2");
    send(0, "MULTI");
    send(0, "GET t");
    expect("EXEC", "");
    send(0, "MULTI");
    send(0, "SELECT 2");
    send(0, "SET t 3");
    send(0, "SET u 3");
    expect("EXEC", "SELECT 2;MULTI;SET t 3;SET u 3;EXEC");
}

#define LONG "redis.call('set', KEYS[1], 1) for i = 1, 5000000 do end redis.call('incr', KEYS[1])"

// While it is under way others tell what they do; it is told as a whole, when it is done.
static void test_many_turns(void **state)
{
    (void)state;
    send(0, "EVAL \"" LONG "\" 1 a");
    assert_true(scripts_engaged(rig->core));
    send(1, "SET b 1");
    assert_string_equal(effects(), "SET b 1");
    finish();
    assert_string_equal(effects(), "MULTI;set a 1;incr a;EXEC");
    send(0, "MULTI");
    send(0, "SET t 1");
    send(0, "EVAL \"" LONG "\" 1 a");
    send(0, "SET t 2");
    send(0, "EXEC");
    assert_true(scripts_engaged(rig->core));
    send(1, "SET b 2");
    assert_string_equal(effects(), ""); // the transaction has all slots
    finish();
    assert_string_equal(effects(), "MULTI;SET t 1;set a 1;incr a;SET t 2;EXEC;SET b 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scripts, begin, end),
        cmocka_unit_test_setup_teardown(test_databases, begin, end),
        cmocka_unit_test_setup_teardown(test_set_repl, begin, end),
        cmocka_unit_test_setup_teardown(test_functions, begin, end),
        cmocka_unit_test_setup_teardown(test_transactions, begin, end),
        cmocka_unit_test_setup_teardown(test_many_turns, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
