// Texts of scripts that join strings, and those that only look like it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
// (cmocka needs the four before it)
#include <cmocka.h>

#include "dataplane/script/internal.h"

static void test_joins(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool joins;
    } cases[] = {
        {"", false},
        {".", false},
        {"..", true},
        {"return KEYS[1]..ARGV[1]", true},
        {"local k = 'a' .. 'b'", true},
        {"local a = {...} return #a", false},
        {"return '..'", false},
        {"return \"\\\"..\"", false},
        {"return '\\\\' .. 'x'", true},
        {"return 'open ..", false},
        {"-- a .. b", false},
        {"-- a\nreturn a .. b", true},
        {"--[[ a .. b ]] return 1", false},
        {"--[[ a ]] return 1 .. 2", true},
        {"--[==[ a ]] .. ]=] .. ]==] return 1", false},
        {"--[==[ a ]==] return a .. b", true},
        {"return [[ .. ]]", false},
        {"return [=[ ]] .. ]=] .. 'x'", true},
        {"return t[1] .. 'x'", true},
        {"return [[ open ..", false},
        {"--[[ open ..", false},
        {"--", false},
        {"[=", false},
        {"a\\", false},
        {"'\\", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (script_joins(cases[i].text, strlen(cases[i].text)) != cases[i].joins)
            fail_msg("%s", cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
