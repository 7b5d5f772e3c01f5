// Splitting and quoting of lines, by the rules of redis.conf.
#include "common/words.h"

#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void push(struct words *w, char *word)
{
    // Grows at powers of two.
    if ((w->n & (w->n - 1)) == 0) {
        w->at = realloc(w->at, sizeof(char *) * (w->n ? w->n * 2 : 1));
        assert(w->at);
    }
    w->at[w->n++] = word;
}

void words_free(struct words *w)
{
    for (unsigned i = 0; i < w->n; i++)
        free(w->at[i]);
    free(w->at);
    *w = (struct words){0};
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char unescape(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

// Copies one quoted run that begins behind its opening quote. Returns the length consumed with the
// closing quote, 0 when it is not closed. `*out` moves.
static size_t copy_quoted(const char *p, size_t len, char quote, char **out)
{
    size_t i = 0;
    while (i < len && p[i] != quote) {
        if (p[i] == '\\' && quote == '"' && i + 3 < len && p[i + 1] == 'x' &&
            hex_value(p[i + 2]) >= 0 && hex_value(p[i + 3]) >= 0) {
            *(*out)++ = (char)(hex_value(p[i + 2]) * 16 + hex_value(p[i + 3]));
            i += 4;
        } else if (p[i] == '\\' && quote == '"' && i + 1 < len) {
            *(*out)++ = unescape(p[i + 1]);
            i += 2;
        } else if (p[i] == '\\' && quote == '\'' && i + 1 < len && p[i + 1] == '\'') {
            *(*out)++ = '\'';
            i += 2;
        } else {
            *(*out)++ = p[i++];
        }
    }
    return i < len ? i + 1 : 0;
}

enum words_result words_split_line(const char *line, size_t len, struct words *w)
{
    *w = (struct words){0};
    enum words_result result = WORDS_OK;
    size_t i = 0;
    for (;;) {
        while (i < len && isspace((unsigned char)line[i]))
            i++;
        if (i == len || line[i] == 0)
            return WORDS_OK;
        char *word = malloc(len - i + 1), *out = word;
        assert(word);
        while (i < len && line[i] && !isspace((unsigned char)line[i])) {
            if (line[i] != '"' && line[i] != '\'') {
                *out++ = line[i++];
                continue;
            }
            size_t used = copy_quoted(line + i + 1, len - i - 1, line[i], &out);
            i += 1 + used;
            if (!used || (i < len && !isspace((unsigned char)line[i]))) {
                result = WORDS_UNBALANCED;
                break;
            }
        }
        if (memchr(word, 0, (size_t)(out - word)) && result == WORDS_OK)
            result = WORDS_NUL;
        *out = 0;
        push(w, word);
        if (result != WORDS_OK) {
            words_free(w);
            return result;
        }
    }
}

void words_split_spaces(const char *text, size_t len, struct words *w)
{
    *w = (struct words){0};
    if (!len)
        return;
    for (size_t from = 0, i = 0; i <= len; i++) {
        if (i < len && text[i] != ' ')
            continue;
        push(w, strndup(text + from, i - from));
        from = i + 1;
    }
}

char *words_join(char *const *at, unsigned n)
{
    size_t size = 1;
    for (unsigned i = 0; i < n; i++)
        size += strlen(at[i]) + 1;
    char *text = malloc(size), *p = text;
    assert(text);
    for (unsigned i = 0; i < n; i++) {
        if (i)
            *p++ = ' ';
        p = stpcpy(p, at[i]);
    }
    *p = 0;
    return text;
}

static bool needs_quotes(const char *word)
{
    if (!*word || *word == '#')
        return true;
    for (const char *p = word; *p; p++) {
        if (!isgraph((unsigned char)*p) || *p == '"' || *p == '\'' || *p == '\\')
            return true;
    }
    return false;
}

char *words_quote(const char *word, bool always)
{
    if (!always && !needs_quotes(word))
        return strdup(word);
    char *text = malloc(strlen(word) * 4 + 3), *p = text; // \xHH is the longest form of a byte
    assert(text);
    *p++ = '"';
    for (const char *c = word; *c; c++) {
        static const char plain[] = "\n\r\t\b\a\\\"", letters[] = "nrtba\\\"";
        const char *known = strchr(plain, *c);
        if (known) {
            *p++ = '\\';
            *p++ = letters[known - plain];
        } else if (isprint((unsigned char)*c)) {
            *p++ = *c;
        } else {
            p += sprintf(p, "\\x%02x", (uint8_t)*c);
        }
    }
    *p++ = '"';
    *p = 0;
    return text;
}
