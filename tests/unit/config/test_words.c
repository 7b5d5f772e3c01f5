// Splitting lines into words and quoting words.
#include "common/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *line, unsigned n, ...)
{
    struct words w;
    assert_int_equal(words_split_line(line, strlen(line), &w), WORDS_OK);
    if (w.n != n)
        fail_msg("'%s' gives %u words", line, w.n);
    va_list words;
    va_start(words, n);
    for (unsigned i = 0; i < n; i++)
        assert_string_equal(w.at[i], va_arg(words, const char *));
    va_end(words);
    words_free(&w);
}

static void lines_into_words(void **state)
{
    (void)state;
    expect("", 0);
    expect(" \t ", 0);
    expect("port 6379", 2, "port", "6379");
    expect("\tport \t 6379 \r", 2, "port", "6379");
    expect("a \"\" ''", 3, "a", "", "");
    expect("a \"b c\" 'd e'", 3, "a", "b c", "d e");
    expect("\"\\x41\\n\\r\\t\\b\\a\\\\\\\"\\q\"", 1, "A\n\r\t\b\a\\\"q");
    expect("'\\n\\'x'", 1, "\\n'x"); // only the quote is escaped here
    expect("\"\\x4\"", 1, "x4");     // too short for a byte
    expect("pre\"post x\"", 1, "prepost x");
    expect("a\\nb", 1, "a\\nb"); // no escapes outside of quotes
    expect("a #b", 2, "a", "#b");
}

static void wrong_quotes(void **state)
{
    (void)state;
    static const char *const lines[] = {"a \"b",   "a 'b",      "a \"b\"c", "a 'b'c",
                                        "a \"b\\", "a \"b\\\"", "\"",       "a'"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct words w;
        assert_int_equal(words_split_line(lines[i], strlen(lines[i]), &w), WORDS_UNBALANCED);
        assert_null(w.at);
    }
    struct words w;
    assert_int_equal(words_split_line("a \"b\\x00c\"", 10, &w), WORDS_NUL);
}

static void spaces_split_without_quotes(void **state)
{
    (void)state;
    struct words w;
    words_split_spaces("60  1", 5, &w);
    assert_int_equal(w.n, 3);
    assert_string_equal(w.at[1], "");
    words_free(&w);
    words_split_spaces("", 0, &w);
    assert_int_equal(w.n, 0);
    words_split_spaces("\"a b\"", 5, &w);
    assert_int_equal(w.n, 2);
    assert_string_equal(w.at[0], "\"a");
    words_free(&w);
}

// Whatever bytes a word holds, quoted and split again it is the same.
static void quoting_round_trip(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (unsigned round = 0; round < 20000; round++) {
        char word[12], line[64];
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t len = (seed >> 60) % sizeof(word);
        for (size_t i = 0; i < len; i++) {
            word[i] = (char)(seed >> (8 + 4 * i));
            word[i] = word[i] ? word[i] : '"';
        }
        word[len] = 0;
        char *quoted = words_quote(word, round % 2);
        assert_true(strlen(quoted) < sizeof(line) - 3);
        strcpy(stpcpy(line, "x "), quoted);
        expect(line, 2, "x", word);
        free(quoted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_into_words),
        cmocka_unit_test(wrong_quotes),
        cmocka_unit_test(spaces_split_without_quotes),
        cmocka_unit_test(quoting_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
