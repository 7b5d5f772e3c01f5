// Glob matching: Redis's rules, a plain recursive matcher as the judge, and patterns made to burn
// time.
#include "common/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool match(const char *pattern, const char *text)
{
    return glob_match(pattern, strlen(pattern), text, strlen(text), false);
}

static void known_pairs(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } pairs[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"**", "", false}, // Redis looks at no pattern but "*" when there is no text
        {"*", "anything", true},
        {"a*", "a", true},
        {"*a", "ba", true},
        {"*a", "ab", false},
        {"a*c*e", "abcde", true},
        {"a*c*e", "abcd", false},
        {"h?llo", "hello", true},
        {"h?llo", "hllo", false},
        {"?", "", false},
        {"h[ae]llo", "hallo", true},
        {"h[ae]llo", "hillo", false},
        {"h[^e]llo", "hallo", true},
        {"h[^e]llo", "hello", false},
        {"h[a-c]llo", "hbllo", true},
        {"h[c-a]llo", "hbllo", true}, // a range may be written backwards
        {"h[a-c]llo", "hdllo", false},
        {"h[!e]llo", "h!llo", true}, // `!` does not negate
        {"[a-]", "-", false},        // the range from `]` to `a`, not closed
        {"[a-]", "_", true},
        {"[a-", "a", true}, // a class that is not closed ends with the pattern
        {"[a", "a", true},
        {"[", "a", false},
        {"[^", "a", true},
        {"[]a]", "a", false}, // `]` closes at once
        {"[^]", "x", true},
        {"[\\]]", "]", true},
        {"[\\-x]", "-", true},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"a\\", "a\\", true}, // a lone backslash at the end is itself
        {"**a**", "bab", true},
        {"*[0-9]", "key:7", true},
        {"a.c", "abc", false},
        {"a/b*", "a/b/c", true},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (match(pairs[i].pattern, pairs[i].text) != pairs[i].matches)
            fail_msg("'%s' on '%s'", pairs[i].pattern, pairs[i].text);
    }
}

static void case_folding(void **state)
{
    (void)state;
    assert_true(glob_match("MAX*", 4, "maxmemory", 9, true));
    assert_false(glob_match("MAX*", 4, "maxmemory", 9, false));
    assert_true(glob_match("[A-C]x", 6, "bX", 2, true));
    assert_true(glob_match("\\A", 2, "a", 1, true));
    assert_false(glob_match("[\\A]", 4, "a", 1, true)); // escaped in a class: literal
}

static void any_bytes(void **state)
{
    (void)state;
    assert_true(glob_match("a\0b*", 4, "a\0bc", 4, false));
    assert_false(glob_match("a\0b", 3, "a\0c", 3, false));
    assert_true(glob_match("[\x80-\xff]", 5, "\xc3", 1, false));
    // Bytes are signed in ranges, as in Redis: from -1 to 'a'.
    assert_true(glob_match("[a-\xff]", 5, "B", 1, false));
    assert_false(glob_match("[a-\xff]", 5, "\xc3", 1, false));
}

// Exponential for a matcher that tries every star again; the test's time limit is the judge.
static void hostile_patterns(void **state)
{
    (void)state;
    enum { STARS = 2000, TEXT = 20000 };
    char *pattern = malloc(2 * STARS + 2), *text = malloc(TEXT);
    for (unsigned i = 0; i < STARS; i++)
        memcpy(pattern + 2 * i, "*a", 2);
    pattern[2 * STARS] = '*';
    pattern[2 * STARS + 1] = 'b';
    memset(text, 'a', TEXT);
    assert_false(glob_match(pattern, 2 * STARS + 2, text, TEXT, false));
    assert_true(glob_match(pattern, 2 * STARS + 1, text, TEXT, false));
    free(pattern);
    free(text);
}

// A plain matcher: one element at a time, every star tried at every place. Slow and easy to
// believe.
static bool judge(const char *p, const char *t)
{
    if (!*p)
        return !*t;
    if (*p == '*')
        return judge(p + 1, t) || (*t && judge(p, t + 1));
    if (!*t)
        return false;
    if (*p == '?')
        return judge(p + 1, t + 1);
    if (*p == '\\' && p[1])
        return p[1] == *t && judge(p + 2, t + 1);
    if (*p != '[')
        return *p == *t && judge(p + 1, t + 1);
    bool negated = *++p == '^', found = false;
    p += negated;
    for (; *p && *p != ']'; p++) {
        if (*p == '\\' && p[1]) {
            found |= *++p == *t;
        } else if (p[1] == '-' && p[2]) {
            char low = *p < p[2] ? *p : p[2], high = *p < p[2] ? p[2] : *p;
            found |= *t >= low && *t <= high;
            p += 2;
        } else {
            found |= *p == *t;
        }
    }
    return found != negated && judge(*p ? p + 1 : p, t + 1);
}

static void agrees_with_the_judge(void **state)
{
    (void)state;
    static const char in_patterns[] = "aab*?[]^-\\", in_texts[] = "ab-]\\";
    uint64_t seed = 42;
    unsigned matched = 0;
    for (unsigned round = 0; round < 400000; round++) {
        char pattern[9] = "", text[7] = "";
        for (unsigned k = 0; k < 2; k++) {
            char *s = k ? text : pattern;
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint64_t random = seed >> 16;
            size_t len = random % (k ? sizeof(text) : sizeof(pattern));
            random >>= 4;
            for (size_t i = 0; i < len; i++, random >>= 5)
                s[i] = k ? in_texts[random % (sizeof(in_texts) - 1)]
                         : in_patterns[random % (sizeof(in_patterns) - 1)];
            s[len] = 0;
        }
        if (!*text)
            continue; // known_pairs has it
        bool expected = judge(pattern, text);
        matched += expected;
        if (match(pattern, text) != expected)
            fail_msg("'%s' on '%s'", pattern, text);
    }
    assert_true(matched > 1000); // the draw is not all misses
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_pairs),
        cmocka_unit_test(case_folding),
        cmocka_unit_test(any_bytes),
        cmocka_unit_test(hostile_patterns),
        cmocka_unit_test(agrees_with_the_judge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
