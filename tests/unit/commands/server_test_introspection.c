// COMMAND, over the real table. That the facts are Redis's is for the differential tests to say.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/commands/server_support.h"

// Reads one reply of any nesting; returns what follows it, NULL when it is malformed.
static const char *skip_reply(const char *at)
{
    long pending = 1;
    while (pending > 0) {
        const char *end = strstr(at, "\r\n");
        if (!end)
            return NULL;
        long n = strtol(at + 1, NULL, 10);
        char kind = *at;
        at = end + 2;
        pending--;
        switch (kind) {
        case '$':
            if (n >= 0)
                at += n + 2;
            break;
        case '*':
        case '~':
            pending += n > 0 ? n : 0;
            break;
        case '%':
            pending += 2 * n;
            break;
        case '+':
        case ':':
        case '_':
            break;
        default:
            return NULL;
        }
    }
    return at;
}

static void whole(struct server *s, const char *reply)
{
    assert_ptr_equal(skip_reply(reply), reply + s->reply_len);
}

static void replies_are_well_formed(void **state)
{
    struct server *s = *state;
    for (s->session.resp = 2; s->session.resp <= 3; s->session.resp++) {
        whole(s, server_ask(s, "COMMAND"));
        whole(s, server_ask(s, "COMMAND", "INFO"));
        whole(s, server_ask(s, "COMMAND", "DOCS"));
        whole(s, server_ask(s, "COMMAND", "LIST"));
        for (unsigned id = 0; id < commands_count(); id++) {
            const struct command *c = commands_by_id(id);
            char name[128];
            snprintf(name, sizeof(name), "%s%s%s", c->parent ? c->parent->name : "",
                     c->parent ? "|" : "", c->name);
            whole(s, server_ask(s, "COMMAND", "INFO", name));
            const char *reply = server_ask(s, "COMMAND", "DOCS", name);
            whole(s, reply);
            assert_non_null(strstr(reply, name));
        }
    }
    static const char *const containers[] = {"COMMAND", "CLIENT", "CONFIG", "MEMORY", "DEBUG"};
    for (size_t i = 0; i < sizeof(containers) / sizeof(containers[0]); i++) {
        const char *reply = server_ask(s, containers[i], "HELP");
        whole(s, reply);
        assert_int_equal(reply[0], '*');
    }
}

// Every command says what it is for.
static void all_are_documented(void **state)
{
    (void)state;
    for (unsigned id = 0; id < commands_count(); id++) {
        const struct command *c = commands_by_id(id);
        assert_non_null(c->doc);
        assert_true(strlen(c->doc->summary) > 10);
        assert_true(c->categories);
        assert_int_not_equal(c->arity, 0);
    }
}

static void info_of_a_command(void **state)
{
    struct server *s = *state;
    assert_string_equal(
        server_ask(s, "COMMAND", "INFO", "GET", "nosuch"),
        "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"
        "*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n"
        "+access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n"
        "$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n"
        "*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n$-1\r\n");
}

static void count_and_list(void **state)
{
    struct server *s = *state;
    char wanted[32];
    unsigned n;
    commands_all(&n);
    snprintf(wanted, sizeof(wanted), ":%u\r\n", n);
    assert_string_equal(server_ask(s, "COMMAND", "COUNT"), wanted);
    snprintf(wanted, sizeof(wanted), "*%u\r\n", commands_count());
    assert_memory_equal(server_ask(s, "COMMAND", "LIST"), wanted, strlen(wanted));
    assert_string_equal(server_ask(s, "COMMAND", "LIST", "FILTERBY", "PATTERN", "p?Ng"),
                        "*1\r\n$4\r\nping\r\n");
    assert_string_equal(server_ask(s, "COMMAND", "LIST", "filterby", "module", "x"), "*0\r\n");
    assert_string_equal(server_ask(s, "COMMAND", "LIST", "FILTERBY", "ACLCAT", "nosuch"), "*0\r\n");
    assert_non_null(
        strstr(server_ask(s, "COMMAND", "LIST", "FILTERBY", "ACLCAT", "String"), "$3\r\nget\r\n"));
    assert_string_equal(server_ask(s, "COMMAND", "LIST", "FILTERBY", "x", "y"),
                        "-ERR syntax error\r\n");
    assert_string_equal(server_ask(s, "COMMAND", "LIST", "x"), "-ERR syntax error\r\n");
}

static void getkeys(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2"),
                        "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    assert_string_equal(server_ask(s, "COMMAND", "GETKEYSANDFLAGS", "SET", "a", "1"),
                        "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update\r\n");
    assert_string_equal(server_ask(s, "COMMAND", "GETKEYSANDFLAGS", "SET", "a", "1", "get"),
                        "*1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update\r\n");
    assert_string_equal(server_ask(s, "COMMAND", "GETKEYS", "nosuch", "a"),
                        "-ERR Invalid command specified\r\n");
    assert_string_equal(server_ask(s, "COMMAND", "GETKEYS", "ping", "a"),
                        "-ERR The command has no key arguments\r\n");
    assert_string_equal(server_ask(s, "COMMAND", "GETKEYS", "get", "a", "b"),
                        "-ERR Invalid number of arguments specified for command\r\n");
    assert_string_equal(server_ask(s, "COMMAND", "GETKEYS", "memory", "usage", "k"),
                        "*1\r\n$1\r\nk\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(replies_are_well_formed, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(all_are_documented, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(info_of_a_command, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(count_and_list, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(getkeys, server_setup, server_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
