// PING, ECHO, SELECT, QUIT, RESET, AUTH, HELLO, and CLIENT about the caller itself.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/commands/server_support.h"

#define OK "+OK\r\n"
#define SYNTAX "-ERR syntax error\r\n"

static struct client *me(struct server *s)
{
    return &s->cores[0].clients[0];
}

static void ping_and_echo(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "PING"), "+PONG\r\n");
    assert_string_equal(server_ask(s, "ping", ""), "$0\r\n\r\n");
    assert_string_equal(server_ask(s, "PING", "hi"), "$2\r\nhi\r\n");
    assert_string_equal(server_ask(s, "ECHO", "hi"), "$2\r\nhi\r\n");
}

static void select_checks_its_range(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "SELECT", "15"), OK);
    assert_int_equal(s->session.db, 15);
    assert_int_equal(me(s)->db, 15);
    static const struct {
        const char *db, *error;
    } wrong[] = {
        {"16", "-ERR DB index is out of range\r\n"},
        {"-1", "-ERR DB index is out of range\r\n"},
        {"x", "-ERR value is not an integer or out of range\r\n"},
        {"99999999999999999999", "-ERR value is not an integer or out of range\r\n"},
        {"2147483648", "-ERR value is out of range, value must between -2147483648 and "
                       "2147483647\r\n"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_string_equal(server_ask(s, "SELECT", wrong[i].db), wrong[i].error);
        assert_true(s->replied_error);
        assert_int_equal(me(s)->db, 15);
    }
}

static void quit_closes_after_its_reply(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "QUIT", "whatever"), OK);
    assert_true(me(s)->flags & CLIENT_CLOSE_AFTER_REPLY);
}

static void reset_forgets(void **state)
{
    struct server *s = *state;
    s->password = "secret";
    server_ask(s, "SELECT", "3");
    server_ask(s, "HELLO", "3");
    server_ask(s, "CLIENT", "SETNAME", "me");
    server_ask(s, "CLIENT", "NO-TOUCH", "ON");
    me(s)->flags |= CLIENT_REPLY_SKIP_NEXT;
    assert_string_equal(server_ask(s, "RESET"), "+RESET\r\n");
    assert_int_equal(me(s)->db, 0);
    assert_int_equal(me(s)->resp, 2);
    assert_int_equal(s->session.resp, 2);
    assert_false(me(s)->no_touch);
    assert_false(me(s)->authenticated);
    assert_false(s->session.authenticated);
    assert_int_equal(me(s)->flags & CLIENT_REPLY_SKIP_NEXT, 0);
    assert_string_equal(server_ask(s, "CLIENT", "GETNAME"), "$-1\r\n");
    s->password = NULL;
    server_ask(s, "RESET");
    assert_true(me(s)->authenticated);
}

static const char wrongpass[] =
    "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

static void auth(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "AUTH", "x"),
                        "-ERR AUTH <password> called without any password configured for the "
                        "default user. Are you sure your configuration is correct?\r\n");
    assert_string_equal(server_ask(s, "AUTH", "default", "x"), OK);
    assert_string_equal(server_ask(s, "AUTH", "other", "x"), wrongpass);
    assert_string_equal(server_ask(s, "AUTH", "a", "b", "c"), SYNTAX);
    s->password = "secret";
    s->session.authenticated = me(s)->authenticated = false;
    assert_string_equal(server_ask(s, "AUTH", "secre"), wrongpass);
    assert_string_equal(server_ask(s, "AUTH", "other", "secret"), wrongpass);
    assert_false(me(s)->authenticated);
    assert_string_equal(server_ask(s, "AUTH", "secret"), OK);
    assert_true(me(s)->authenticated && s->session.authenticated);
}

static void hello(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "HELLO"),
                        "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n"
                        "$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"
                        "$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n");
    assert_string_equal(server_ask(s, "HELLO", "3", "SETNAME", "me"),
                        "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n"
                        "$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"
                        "$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n");
    assert_string_equal(server_ask(s, "CLIENT", "GETNAME"), "$2\r\nme\r\n");
    assert_string_equal(server_ask(s, "HELLO", "4"), "-NOPROTO unsupported protocol version\r\n");
    assert_string_equal(server_ask(s, "HELLO", "x"),
                        "-ERR Protocol version is not an integer or out of range\r\n");
    assert_string_equal(server_ask(s, "HELLO", "2", "AUTH", "a"),
                        "-ERR Syntax error in HELLO option 'AUTH'\r\n");
    assert_string_equal(server_ask(s, "HELLO", "2", "SETNAME", "a b"),
                        "-ERR Client names cannot contain spaces, newlines or special "
                        "characters.\r\n");
    assert_int_equal(me(s)->resp, 3); // errors changed nothing
}

static void hello_with_password(void **state)
{
    struct server *s = *state;
    s->password = "secret";
    s->session.authenticated = me(s)->authenticated = false;
    assert_memory_equal(server_ask(s, "HELLO", "3"), "-NOAUTH HELLO must be called", 28);
    assert_int_equal(me(s)->resp, 2);
    assert_string_equal(server_ask(s, "HELLO", "3", "AUTH", "default", "no", "SETNAME", "x"),
                        wrongpass);
    assert_string_equal(client_name(me(s)), ""); // AUTH failed before SETNAME's turn
    assert_memory_equal(server_ask(s, "HELLO", "3", "setname", "x", "auth", "default", "secret"),
                        "%7", 2);
    assert_true(me(s)->authenticated);
    assert_string_equal(client_name(me(s)), "x");
}

static void names_of_any_length(void **state)
{
    struct server *s = *state;
    char name[201];
    for (size_t len = 60; len <= 200; len += 1) {
        memset(name, 'n', len);
        name[len] = '\0';
        assert_string_equal(server_ask(s, "CLIENT", "SETNAME", name), OK);
        assert_string_equal(client_name(me(s)), name);
    }
    assert_string_equal(server_ask(s, "CLIENT", "SETNAME", "a\nb"),
                        "-ERR Client names cannot contain spaces, newlines or special "
                        "characters.\r\n");
    assert_string_equal(client_name(me(s)), name);
    assert_string_equal(server_ask(s, "CLIENT", "SETNAME", ""), OK);
    s->session.resp = 3;
    assert_string_equal(server_ask(s, "CLIENT", "GETNAME"), "_\r\n");
}

static void library(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "CLIENT", "SETINFO", "LIB-NAME", "hiredis"), OK);
    assert_string_equal(server_ask(s, "CLIENT", "SETINFO", "lib-ver", "1.2.3"), OK);
    assert_string_equal(server_ask(s, "CLIENT", "SETINFO", "lib-ver", "1 2"),
                        "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n");
    assert_string_equal(server_ask(s, "CLIENT", "SETINFO", "lib", "x"),
                        "-ERR Unrecognized option 'lib'\r\n");
    assert_string_equal(me(s)->lib_name, "hiredis");
    assert_string_equal(me(s)->lib_version, "1.2.3");
    server_ask(s, "CLIENT", "SETINFO", "LIB-NAME", "a-name-that-is-longer-than-there-is-room");
    assert_string_equal(me(s)->lib_name, "a-name-that-is-longer-than-ther");
}

static void switches(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "CLIENT", "NO-EVICT", "on"), OK);
    assert_true(me(s)->no_evict && s->session.no_evict);
    assert_string_equal(server_ask(s, "CLIENT", "NO-EVICT", "OFF"), OK);
    assert_false(me(s)->no_evict || s->session.no_evict);
    assert_string_equal(server_ask(s, "CLIENT", "NO-TOUCH", "on"), OK);
    assert_true(me(s)->no_touch && s->session.no_touch);
    assert_string_equal(server_ask(s, "CLIENT", "NO-TOUCH", "x"), SYNTAX);
    assert_string_equal(server_ask(s, "CLIENT", "ID"), ":1\r\n");
}

static void replies_off(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "CLIENT", "REPLY", "SKIP"), "");
    assert_true(me(s)->flags & CLIENT_REPLY_SKIP_NEXT);
    assert_string_equal(server_ask(s, "CLIENT", "REPLY", "ON"), OK);
    assert_int_equal(me(s)->flags, 0);
    assert_string_equal(server_ask(s, "CLIENT", "REPLY", "OFF"), "");
    assert_string_equal(server_ask(s, "CLIENT", "REPLY", "SKIP"), "");
    assert_int_equal(me(s)->flags, CLIENT_REPLY_OFF);
    assert_string_equal(server_ask(s, "CLIENT", "REPLY", "x"), SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ping_and_echo, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(select_checks_its_range, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(quit_closes_after_its_reply, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(reset_forgets, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(auth, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(hello, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(hello_with_password, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(names_of_any_length, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(library, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(switches, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(replies_off, server_setup, server_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
