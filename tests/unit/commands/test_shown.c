// How arguments are shown to people: quoting, and what is hidden.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/commands/shown.h"

#define ARGS_MAX 12

static void check_quoted(const char *bytes, size_t len, const char *wanted)
{
    struct outbuf b;
    outbuf_init(&b);
    shown_quoted(&b.out, (const uint8_t *)bytes, len);
    struct block *text = outbuf_block(&b);
    assert_int_equal(text->len, strlen(wanted));
    assert_memory_equal(text->data, wanted, text->len);
    block_release(text);
    outbuf_clear(&b);
}

static void quoting(void **state)
{
    (void)state;
    check_quoted("", 0, "\"\"");
    check_quoted("plain ~", 7, "\"plain ~\"");
    check_quoted("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
    check_quoted("\n\r\t\a\b", 5, "\"\\n\\r\\t\\a\\b\"");
    check_quoted("\0\x1f\x7f\x80\xff", 5, "\"\\x00\\x1f\\x7f\\x80\\xff\"");
    check_quoted("x\0y", 3, "\"x\\x00y\"");
}

static bool secret_option(struct core *core, const char *name, size_t len)
{
    (void)core;
    return len == 11 && memcmp(name, "requirepass", len) == 0;
}

// `hidden` has an x for each argument that is hidden and a dot for each that is shown.
static void check_hidden(const char *line, const char *hidden)
{
    static const struct services services = {.config_secret = secret_option};
    char copy[256];
    struct arg argv[ARGS_MAX];
    int argc = 0;
    strcpy(copy, line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = (struct arg){.ptr = (const uint8_t *)word, .len = strlen(word)};
    const struct command *command = commands_find(argv, argc);
    assert_non_null(command);
    char found[ARGS_MAX + 1] = "";
    for (int i = 0; i < argc; i++)
        found[i] = shown_secret(&services, NULL, command, argc, argv, i) ? 'x' : '.';
    assert_string_equal(found, hidden);
}

static void secrets(void **state)
{
    (void)state;
    commands_init();
    check_hidden("auth password", ".x");
    check_hidden("AUTH user password", ".xx");
    check_hidden("hello 3 auth user password setname me", "...xx..");
    check_hidden("hello 3 AUTH user", "....");
    check_hidden("hello", ".");
    check_hidden("config set requirepass p hz 10", "...x..");
    check_hidden("config set hz 10 requirepass p", ".....x");
    check_hidden("config get requirepass", "...");
    check_hidden("migrate host 1 key 0 10 AUTH p", ".......x");
    check_hidden("migrate host 1 key 0 10 copy auth2 u p keys a", "........xx..");
    check_hidden("migrate auth 1 key 0 10 auth", ".......");
    check_hidden("set auth password", "...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoting),
        cmocka_unit_test(secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
