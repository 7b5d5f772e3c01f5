// CLIENT LIST, INFO and KILL over several cores.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/commands/server_support.h"

static struct client *me(struct server *s)
{
    return &s->cores[0].clients[0];
}

// Checks that the reply's lines are about these ids, in this order (0 ends them).
static void assert_ids(const char *reply, const unsigned *ids)
{
    assert_int_equal(reply[0], '$');
    const char *at = strstr(reply, "\r\n") + 2;
    for (; *ids; ids++) {
        char start[32];
        snprintf(start, sizeof(start), "id=%u addr=10.0.0.1:%u ", *ids, 999 + *ids);
        assert_memory_equal(at, start, strlen(start));
        at = strchr(at, '\n') + 1;
    }
    assert_string_equal(at, "\r\n");
}

static void all_in_order_of_id(void **state)
{
    struct server *s = *state;
    const unsigned all[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0}, none[] = {0};
    assert_ids(server_ask(s, "CLIENT", "LIST"), all);
    assert_ids(server_ask(s, "CLIENT", "LIST", "TYPE", "normal"), all);
    assert_ids(server_ask(s, "CLIENT", "LIST", "TYPE", "REPLICA"), none);
    assert_ids(server_ask(s, "CLIENT", "LIST", "type", "pubsub"), none);
    s->cores[1].clients[2].flags |= CLIENT_INTERNAL;
    const unsigned others[] = {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 0};
    assert_ids(server_ask(s, "CLIENT", "LIST"), others);
}

static void by_id_as_asked(void **state)
{
    struct server *s = *state;
    const unsigned ids[] = {9, 2, 9, 0};
    assert_ids(server_ask(s, "CLIENT", "LIST", "ID", "9", "77", "2", "-1", "9"), ids);
}

static void list_errors(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "CLIENT", "LIST", "ID"), "-ERR syntax error\r\n");
    assert_string_equal(server_ask(s, "CLIENT", "LIST", "ID", "x"), "-ERR Invalid client ID\r\n");
    assert_string_equal(server_ask(s, "CLIENT", "LIST", "TYPE", "x"),
                        "-ERR Unknown client type 'x'\r\n");
    assert_string_equal(server_ask(s, "CLIENT", "LIST", "TYPE", "normal", "x"),
                        "-ERR syntax error\r\n");
}

static void one_line_has_all_fields(void **state)
{
    struct server *s = *state;
    struct client *c = me(s);
    server_ask(s, "CLIENT", "SETNAME", "bob");
    server_ask(s, "CLIENT", "SETINFO", "LIB-NAME", "lib");
    c->db = 3;
    c->no_evict = true;
    c->flags |= CLIENT_UNIX;
    c->last_command = commands_find_name("client|info", 11);
    c->created_us = 1700000000ull * 1000 - 7000000;
    c->last_active_us = 1700000000ull * 1000 - 2999999;
    c->parser.buf_len = 5;
    c->parser.buf_cap = 20;
    assert_string_equal(
        strchr(server_ask(s, "CLIENT", "INFO"), '\n') + 1,
        "id=1 addr=10.0.0.1:1000 laddr=10.0.0.100:6379 fd=-1 name=bob age=7 idle=2 flags=Ue db=3 "
        "sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf=5 qbuf-free=15 argv-mem=0 multi-mem=0 rbs=0 "
        "rbp=0 obl=0 "
        "oll=0 omem=0 tot-mem=1001 events=r cmd=client|info user=default redir=-1 resp=2 "
        "lib-name=lib lib-ver=\n\r\n");
    s->session.resp = 3;
    assert_memory_equal(server_ask(s, "CLIENT", "INFO"), "=", 1);
    assert_memory_equal(strchr(server_ask(s, "CLIENT", "INFO"), '\n') + 1, "txt:id=1 ", 9);
}

static unsigned killed(const struct server *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SERVER_CORES; i++)
        for (unsigned k = 0; k < SERVER_CLIENTS; k++)
            n += s->cores[i].killed[k];
    return n;
}

static void kill_by_one_address(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "CLIENT", "KILL", "10.0.0.1:1004"), "+OK\r\n");
    assert_int_equal(killed(s), 1);
    assert_true(s->cores[1].killed[1]); // id 5
    assert_string_equal(server_ask(s, "CLIENT", "KILL", "10.0.0.1:1004"),
                        "-ERR No such client\r\n");
    assert_string_equal(server_ask(s, "CLIENT", "KILL", "10.0.0.1:100"), "-ERR No such client\r\n");
    assert_string_equal(server_ask(s, "CLIENT", "KILL", "10.0.0.1:1000"), "+OK\r\n");
    assert_true(me(s)->flags & CLIENT_CLOSE_AFTER_REPLY); // the caller: after the reply
    assert_int_equal(killed(s), 1);
}

static void kill_by_filters(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "CLIENT", "KILL", "ID", "12"), ":1\r\n");
    assert_string_equal(server_ask(s, "CLIENT", "KILL", "ID", "12"), ":0\r\n");
    assert_string_equal(server_ask(s, "CLIENT", "KILL", "ID", "1"), ":0\r\n"); // SKIPME
    assert_string_equal(
        server_ask(s, "CLIENT", "KILL", "ADDR", "10.0.0.1:1001", "LADDR", "10.0.0.100:6379"),
        ":0\r\n");
    assert_string_equal(
        server_ask(s, "CLIENT", "KILL", "ADDR", "10.0.0.1:1001", "LADDR", "10.0.0.101:6379"),
        ":1\r\n");
    assert_string_equal(server_ask(s, "CLIENT", "KILL", "TYPE", "master"), ":0\r\n");
    assert_string_equal(server_ask(s, "CLIENT", "KILL", "laddr", "10.0.0.102:6379"), ":3\r\n");
    assert_string_equal(
        server_ask(s, "CLIENT", "KILL", "USER", "default", "TYPE", "NORMAL", "SKIPME", "no"),
        ":7\r\n");
    assert_true(me(s)->flags & CLIENT_CLOSE_AFTER_REPLY);
    assert_int_equal(killed(s), 11);
}

static void kill_errors(void **state)
{
    struct server *s = *state;
    static const struct {
        const char *option, *value, *error;
    } wrong[] = {
        {"ID", "0", "-ERR client-id should be greater than 0\r\n"},
        {"ID", "x", "-ERR client-id should be greater than 0\r\n"},
        {"TYPE", "x", "-ERR Unknown client type 'x'\r\n"},
        {"USER", "x", "-ERR No such user 'x'\r\n"},
        {"SKIPME", "x", "-ERR syntax error\r\n"},
        {"MAXAGE", "0", "-ERR maxage should be greater than 0\r\n"},
        {"MAXAGE", "x", "-ERR maxage is not an integer or out of range\r\n"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_string_equal(server_ask(s, "CLIENT", "KILL", wrong[i].option, wrong[i].value),
                            wrong[i].error);
    assert_string_equal(server_ask(s, "CLIENT", "KILL", "ID", "3", "ADDR"),
                        "-ERR syntax error\r\n");
    assert_int_equal(killed(s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_in_order_of_id, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(by_id_as_asked, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(list_errors, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(one_line_has_all_fields, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(kill_by_one_address, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(kill_by_filters, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(kill_errors, server_setup, server_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
