// Lines of redis.conf as words, and words as they are written back.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct words {
    char **at;
    unsigned n;
};

enum words_result { WORDS_OK, WORDS_UNBALANCED, WORDS_NUL };

// Splits one line at blanks. "…" takes \n \r \t \b \a \xHH and `\` before any other character, '…'
// takes \'. A closing quote must be followed by a blank or the end. On success `w` is to be freed.
enum words_result words_split_line(const char *line, size_t len, struct words *w);
// Splits at single spaces without quoting, as the value of CONFIG SET is split; "" gives no words.
void words_split_spaces(const char *text, size_t len, struct words *w);
void words_free(struct words *w);
// Joins with single spaces. To be freed.
char *words_join(char *const *at, unsigned n);
// `word` in double quotes with escapes when `always` or when it could not stand bare. To be freed.
char *words_quote(const char *word, bool always);
