// The command table: look-up, errors, keys.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "tests/unit/commands/server_support.h"

static struct arg text_arg(const char *text)
{
    return (struct arg){.ptr = (const uint8_t *)text, .len = strlen(text)};
}

static const struct command *find(const char *name)
{
    return commands_find_name(name, strlen(name));
}

static void every_name_is_found(void **state)
{
    (void)state;
    for (unsigned id = 0; id < commands_count(); id++) {
        const struct command *c = commands_by_id(id);
        assert_int_equal(c->id, id);
        char upper[128] = "", name[128] = "";
        if (c->parent) {
            strcpy(name, c->parent->name);
            strcat(name, "|");
        }
        strcat(name, c->name);
        for (size_t i = 0; i <= strlen(name); i++)
            upper[i] = (char)(i % 2 ? name[i]
                                    : (name[i] >= 'a' && name[i] <= 'z' ? name[i] - 32 : name[i]));
        assert_ptr_equal(find(name), c);
        assert_ptr_equal(find(upper), c);
    }
    unsigned n;
    const struct command *const *all = commands_all(&n);
    for (unsigned i = 1; i < n; i++)
        assert_true(strcmp(all[i - 1]->name, all[i]->name) < 0);
}

// No prefix, extension or change of one bit of a name is taken for the name.
static void nothing_else_is_found(void **state)
{
    (void)state;
    unsigned n;
    const struct command *const *all = commands_all(&n);
    for (unsigned i = 0; i < n; i++) {
        size_t len = strlen(all[i]->name);
        char text[64];
        strcpy(text, all[i]->name);
        strcpy(text + len, "\x01");
        assert_null(commands_find_name(text, len + 1));
        for (size_t k = 0; k < len; k++)
            for (int bit = 0; bit < 8; bit++) {
                strcpy(text, all[i]->name);
                text[k] = (char)(text[k] ^ (1 << bit));
                const struct command *c = commands_find_name(text, len);
                if (c)
                    assert_int_equal(strncasecmp(c->name, text, len), 0);
            }
    }
    assert_null(commands_find_name("", 0));
    assert_null(find("get|x"));
    assert_null(find("config|x"));
    assert_null(find("ge\xd4")); // 't' with its highest bit set
    assert_null(find("@et"));
}

static void containers(void **state)
{
    (void)state;
    struct arg argv[] = {text_arg("CoNfIg"), text_arg("gEt"), text_arg("x")};
    assert_string_equal(commands_find(argv, 3)->name, "get");
    assert_string_equal(commands_find(argv, 3)->parent->name, "config");
    assert_string_equal(commands_find(argv, 1)->name, "config");
    argv[1] = text_arg("ge");
    assert_null(commands_find(argv, 3));
    argv[0] = text_arg("ping");
    assert_string_equal(commands_find(argv, 3)->name, "ping");
}

static void unknown_commands(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "foo"),
                        "-ERR unknown command 'foo', with args beginning with: \r\n");
    assert_string_equal(server_ask(s, "f\r\no", "a\nb", "c"),
                        "-ERR unknown command 'f  o', with args beginning with: 'a b' 'c' \r\n");
    char long_text[301], wanted[512];
    memset(long_text, 'x', 300);
    long_text[300] = '\0';
    snprintf(wanted, sizeof(wanted),
             "-ERR unknown command '%.128s', with args beginning with: '%.128s' \r\n", long_text,
             long_text);
    assert_string_equal(server_ask(s, long_text, long_text, "not shown"), wanted);
    // 100 bytes and their quotes leave 25 of the 128.
    char hundred[101];
    memcpy(hundred, long_text, 100);
    hundred[100] = '\0';
    snprintf(wanted, sizeof(wanted),
             "-ERR unknown command 'foo', with args beginning with: '%s' '%.25s' \r\n", hundred,
             long_text);
    assert_string_equal(server_ask(s, "foo", hundred, long_text, "z"), wanted);
    assert_string_equal(server_ask(s, "client", "FoO"),
                        "-ERR unknown subcommand 'FoO'. Try CLIENT HELP.\r\n");
    struct arg zero[] = {{.ptr = (const uint8_t *)"f\0x", .len = 3},
                         {.ptr = (const uint8_t *)"a\0b", .len = 3}};
    assert_string_equal(server_ask_args(s, zero, 2),
                        "-ERR unknown command 'f', with args beginning with: 'a' \r\n");
}

static void arity(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "ECHO"),
                        "-ERR wrong number of arguments for 'echo' command\r\n");
    assert_string_equal(server_ask(s, "CONFIG", "GET"),
                        "-ERR wrong number of arguments for 'config|get' command\r\n");
    assert_string_equal(server_ask(s, "CONFIG"),
                        "-ERR wrong number of arguments for 'config' command\r\n");
    assert_string_equal(server_ask(s, "ping", "a", "b"),
                        "-ERR wrong number of arguments for 'ping' command\r\n");
}

// --- keys: specifications of commands that exist nowhere else ------------------------------------

static int keys_in(const struct keyspec *specs, unsigned n, int *positions,
                   const char *const *words)
{
    const struct command c = {.name = "test", .arity = -1, .keys = specs, .n_keys = n};
    struct arg argv[32];
    int argc = 0;
    for (; words[argc]; argc++)
        argv[argc] = text_arg(words[argc]);
    return commands_keys(&c, argv, argc, positions, 8);
}
#define keys_of(specs, n, positions, ...) \
    keys_in(specs, n, positions, (const char *const[]){__VA_ARGS__, NULL})

static void keys_by_range(void **state)
{
    (void)state;
    int p[8];
    const struct keyspec one = {.begin_index = 1, .key_step = 1};
    assert_int_equal(keys_of(&one, 1, p, "c", "k", "v"), 1);
    assert_int_equal(p[0], 1);
    assert_int_equal(keys_of(&one, 1, p, "c"), -1);
    const struct keyspec pairs = {.begin_index = 1, .last_key = -1, .key_step = 2};
    assert_int_equal(keys_of(&pairs, 1, p, "c", "k", "v", "l", "w"), 2);
    assert_int_equal(p[1], 3);
    // XREAD's shape: the first half of what follows the keyword.
    const struct keyspec half = {.begin = BEGIN_KEYWORD,
                                 .begin_index = 1,
                                 .begin_keyword = "STREAMS",
                                 .last_key = -1,
                                 .key_step = 1,
                                 .limit = 2};
    assert_int_equal(keys_of(&half, 1, p, "c", "COUNT", "2", "streams", "a", "b", "0", "1"), 2);
    assert_int_equal(p[0], 4);
    assert_int_equal(p[1], 5);
    assert_int_equal(keys_of(&half, 1, p, "c", "COUNT", "2"), 0);
    // MIGRATE's shape: the keyword is sought from the end.
    const struct keyspec back = {.begin = BEGIN_KEYWORD,
                                 .begin_index = -2,
                                 .begin_keyword = "KEYS",
                                 .last_key = -1,
                                 .key_step = 1};
    assert_int_equal(keys_of(&back, 1, p, "c", "keys", "x", "KEYS", "a", "b"), 2);
    assert_int_equal(p[0], 4);
}

static void keys_by_number(void **state)
{
    (void)state;
    int p[8];
    const struct keyspec eval = {
        .begin_index = 2, .find = FIND_KEYNUM, .keynum_index = 0, .first_key = 1, .key_step = 1};
    assert_int_equal(keys_of(&eval, 1, p, "eval", "x", "2", "a", "b", "arg"), 2);
    assert_int_equal(p[0], 3);
    assert_int_equal(p[1], 4);
    assert_int_equal(keys_of(&eval, 1, p, "eval", "x", "0", "arg"), 0);
    static const char *const wrong[] = {"3", "-1", "x", "9223372036854775807",
                                        "99999999999999999999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(keys_of(&eval, 1, p, "eval", "x", wrong[i], "a", "b"), -1);
    assert_int_equal(keys_of(&eval, 1, p, "eval", "x"), -1);
}

static void keys_of_several_specs(void **state)
{
    (void)state;
    int p[8];
    const struct keyspec both[] = {
        {.begin_index = 1, .key_step = 1},
        {.begin_index = 2, .find = FIND_KEYNUM, .first_key = 1, .key_step = 1},
    };
    assert_int_equal(keys_of(both, 2, p, "zunionstore", "d", "2", "a", "b"), 3);
    assert_int_equal(p[0], 1);
    assert_int_equal(p[2], 4);
    const struct keyspec channel = {.flags = KS_NOT_KEY, .begin_index = 1, .key_step = 1};
    assert_int_equal(keys_of(&channel, 1, p, "spublish", "ch"), 0);
    const struct keyspec unknown = {.begin = BEGIN_UNKNOWN, .find = FIND_UNKNOWN};
    assert_int_equal(keys_of(&unknown, 1, p, "sort", "k"), -1);
    const struct keyspec incomplete = {.flags = KS_INCOMPLETE, .begin_index = 1, .key_step = 1};
    assert_int_equal(keys_of(&incomplete, 1, p, "sort", "k"), -1);
    // More keys than there is room for are counted all the same.
    const struct keyspec all = {.begin_index = 1, .last_key = -1, .key_step = 1};
    assert_int_equal(keys_of(&all, 1, p, "c", "1", "2", "3", "4", "5", "6", "7", "8", "9"), 9);
}

static void single_keys(void **state)
{
    (void)state;
    assert_int_equal(commands_single_key(find("ping"), 1), 0);
    assert_int_equal(commands_single_key(find("get"), 2), 1);
    assert_int_equal(commands_single_key(find("set"), 5), 1);
    assert_int_equal(commands_single_key(find("del"), 2), 1);
    assert_int_equal(commands_single_key(find("del"), 3), -1);
    assert_int_equal(commands_single_key(find("mset"), 3), -1);
    assert_int_equal(commands_single_key(find("memory|usage"), 3), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_is_found),
        cmocka_unit_test(nothing_else_is_found),
        cmocka_unit_test(containers),
        cmocka_unit_test_setup_teardown(unknown_commands, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(arity, server_setup, server_teardown),
        cmocka_unit_test(keys_by_range),
        cmocka_unit_test(keys_by_number),
        cmocka_unit_test(keys_of_several_specs),
        cmocka_unit_test(single_keys),
    };
    commands_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
