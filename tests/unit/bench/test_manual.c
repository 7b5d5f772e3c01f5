// The manual page, whose path is the argument, knows every option of --help and every test of
// --list.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "bench/options.h"
#include "bench/presets.h"

#define PAGE_MAX 65536

static char page[PAGE_MAX]; // without roff's backslashes before hyphens

static bool has_word(const char *word)
{
    size_t len = strlen(word);
    for (const char *at = page; (at = strstr(at, word)); at++) {
        char after = at[len];
        if (!isalnum((unsigned char)after) && after != '-' && after != '_' &&
            (at == page || !isalnum((unsigned char)at[-1])))
            return true;
    }
    return false;
}

static void options_are_explained(void **state)
{
    (void)state;
    unsigned n = 0;
    for (const char *at = options_help; (at = strstr(at, "--")); n++) {
        char option[64];
        size_t len = 2 + strspn(at + 2, "abcdefghijklmnopqrstuvwxyz-0123456789");
        snprintf(option, sizeof(option), "%.*s", (int)len, at);
        if (!has_word(option))
            fail_msg("%s is not in the manual page", option);
        at += len;
    }
    assert_true(n > 40);
}

static void tests_are_explained(void **state)
{
    (void)state;
    const char *name, *line;
    unsigned n = 0;
    for (; (name = presets_describe(n, &line)); n++)
        if (strncmp(name, "ycsb-", 5) != 0 && !has_word(name))
            fail_msg("the test %s is not in the manual page", name);
    assert_true(n > 20 && has_word("ycsb-a") && has_word("ycsb-f"));
}

int main(int argc, char **argv)
{
    FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!f)
        return 1;
    size_t n = 0;
    for (int c; (c = getc(f)) != EOF && n + 1 < sizeof(page);)
        if (c != '\\')
            page[n++] = (char)c;
    fclose(f);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_explained),
        cmocka_unit_test(tests_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
