// Values and the reading of each type, with the messages and the canonical forms of Redis.
#include "config/value.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// One allocation: the struct, the table of words, the table of lines, the text, the words' bytes.
static struct value *value_new(const char *text, int64_t number, const char *const *words,
                               unsigned n_words, const unsigned *line_start, unsigned n_lines)
{
    size_t size = sizeof(struct value) + sizeof(char *) * n_words +
                  sizeof(unsigned) * (n_lines + 1) + strlen(text) + 1;
    for (unsigned i = 0; i < n_words; i++)
        size += strlen(words[i]) + 1;
    struct value *v = calloc(1, size);
    assert(v);
    v->references = 1;
    v->number = number;
    v->n_words = n_words;
    v->n_lines = n_lines;
    v->words = (const char **)(v + 1);
    unsigned *starts = (unsigned *)(v->words + n_words);
    char *bytes = (char *)(starts + n_lines + 1);
    if (n_lines)
        memcpy(starts, line_start, sizeof(unsigned) * (n_lines + 1));
    v->line_start = starts;
    v->text = bytes;
    bytes = stpcpy(bytes, text) + 1;
    for (unsigned i = 0; i < n_words; i++) {
        v->words[i] = bytes;
        bytes = stpcpy(bytes, words[i]) + 1;
    }
    return v;
}

struct value *value_new_scalar(const char *text, int64_t number)
{
    return value_new(text, number, NULL, 0, NULL, 0);
}

struct value *value_new_list(const char *const *words, unsigned n)
{
    char *text = words_join((char *const *)words, n);
    struct value *v = value_new(text, 0, words, n, NULL, 0);
    free(text);
    return v;
}

struct value *value_new_lines(const char *text, const char *const *words,
                              const unsigned *line_start, unsigned n_lines)
{
    return value_new(text, 0, words, n_lines ? line_start[n_lines] : 0, line_start, n_lines);
}

struct value *value_hold(struct value *v)
{
    atomic_fetch_add_explicit(&v->references, 1, memory_order_relaxed);
    return v;
}

void value_drop(struct value *v)
{
    if (atomic_fetch_sub_explicit(&v->references, 1, memory_order_acq_rel) == 1)
        free(v);
}

bool value_equal(const struct value *a, const struct value *b)
{
    if (strcmp(a->text, b->text) || a->number != b->number || a->n_lines != b->n_lines ||
        a->n_words != b->n_words)
        return false;
    for (unsigned i = 0; i < a->n_words; i++) {
        if (strcmp(a->words[i], b->words[i]))
            return false;
    }
    return !a->n_lines ||
           !memcmp(a->line_start, b->line_start, sizeof(unsigned) * (a->n_lines + 1));
}

struct value *value_fail(const struct parse *p, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->error, p->error_size, format, arguments);
    va_end(arguments);
    return NULL;
}

struct value *value_fail_words(const struct parse *p)
{
    char *list = words_join((char *const *)p->option->words, 1), *more;
    for (unsigned i = 1; p->option->words[i]; i++) {
        int len = asprintf(&more, "%s, %s", list, p->option->words[i]);
        assert(len > 0);
        free(list);
        list = more;
    }
    value_fail(p, "argument(s) must be one of the following: %s", list);
    free(list);
    return NULL;
}

int value_find_word(const struct config_option *o, const char *word)
{
    for (int i = 0; o->words[i]; i++) {
        if (!strcasecmp(o->words[i], word))
            return i;
    }
    return -1;
}

bool value_parse_integer(const char *text, int64_t *number)
{
    const char *digits = text + (*text == '-');
    if (!(*digits >= '1' && *digits <= '9') && strcmp(text, "0"))
        return false;
    if (digits[strspn(digits, "0123456789")])
        return false;
    errno = 0;
    long long n = strtoll(text, NULL, 10);
    if (errno)
        return false;
    *number = n;
    return true;
}

bool value_parse_memory(const char *text, int64_t *bytes)
{
    static const struct {
        const char *name;
        int64_t factor;
    } units[] = {{"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1 << 10},
                 {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30}};
    size_t digits = strspn(text, "0123456789");
    for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcasecmp(text + digits, units[i].name))
            continue;
        errno = 0;
        int64_t n = strtoll(text, NULL, 10); // without digits it is 0, as in Redis
        if (errno || __builtin_mul_overflow(n, units[i].factor, &n))
            n = -1;
        *bytes = n;
        return true;
    }
    return false;
}

static struct value *in_range(const struct parse *p, int64_t n, const char *format)
{
    const struct config_option *o = p->option;
    char text[32];
    if (n >= o->min && n <= o->max) {
        snprintf(text, sizeof(text), format, n);
        return value_new_scalar(text, n);
    }
    if (o->type == CONFIG_OCTAL)
        return value_fail(p, "argument must be between %" PRIo64 " and %" PRIo64 " inclusive",
                          o->min, o->max);
    return value_fail(p, "argument must be between %" PRId64 " and %" PRId64 " inclusive", o->min,
                      o->max);
}

// A percentage is kept as a negative number; the option's `min` is the largest one, negated.
static struct value *parse_percent(const struct parse *p, const char *word)
{
    int64_t n;
    char number[24], text[32];
    size_t len = strlen(word);
    if (value_parse_memory(word, &n) && n >= 0)
        return in_range(p, n, "%" PRId64);
    if (len < 2 || len > sizeof(number) || word[len - 1] != '%')
        return value_fail(p, "argument must be a memory or percent value");
    snprintf(number, len, "%s", word);
    if (!value_parse_integer(number, &n) || n < 0)
        return value_fail(p, "argument must be a memory or percent value");
    if (n > -p->option->min)
        return value_fail(p, "percentage argument must be less or equal to %" PRId64,
                          -p->option->min);
    snprintf(text, sizeof(text), n ? "%" PRId64 "%%" : "%" PRId64, n);
    return value_new_scalar(text, -n);
}

static struct value *parse_octal(const struct parse *p, const char *word)
{
    char *end;
    errno = 0;
    int64_t n = strtoll(word, &end, 8);
    if (errno || *end)
        return value_fail(p, "argument couldn't be parsed as an octal number");
    return in_range(p, n, "%" PRIo64);
}

struct value *value_parse_scalar(const struct parse *p, const char *word)
{
    int64_t n;
    switch (p->option->type) {
    case CONFIG_BOOL:
        if (strcasecmp(word, "yes") && strcasecmp(word, "no"))
            return value_fail(p, "argument must be 'yes' or 'no'");
        n = !strcasecmp(word, "yes");
        return value_new_scalar(n ? "yes" : "no", n);
    case CONFIG_INTEGER:
        if (!value_parse_integer(word, &n))
            return value_fail(p, "argument couldn't be parsed into an integer");
        return in_range(p, n, "%" PRId64);
    case CONFIG_MEMORY:
        if (!value_parse_memory(word, &n))
            return value_fail(p, "argument must be a memory value");
        return in_range(p, n, "%" PRId64);
    case CONFIG_PERCENT_OR_MEMORY:
        return parse_percent(p, word);
    case CONFIG_OCTAL:
        return parse_octal(p, word);
    case CONFIG_ENUM:
        n = value_find_word(p->option, word);
        return n < 0 ? value_fail_words(p) : value_new_scalar(p->option->words[n], n);
    case CONFIG_STRING:
        return value_new_scalar(word, 0);
    case CONFIG_LIST:
    case CONFIG_MULTI:
        break;
    }
    assert(!"a type of one word");
    return NULL;
}

unsigned value_list_length(const struct parse *p)
{
    return p->n == 1 && !*p->words[0] ? 0 : p->n;
}

struct value *value_append_line(const struct parse *p)
{
    unsigned lines = p->old ? p->old->n_lines : 0, before = p->old ? p->old->n_words : 0;
    const char **all = calloc(before + p->n, sizeof(*all));
    unsigned *starts = calloc(lines + 2, sizeof(*starts));
    assert(all && starts);
    for (unsigned i = 0; i < before; i++)
        all[i] = p->old->words[i];
    for (unsigned i = 0; i < p->n; i++)
        all[before + i] = p->words[i];
    for (unsigned i = 0; i < lines; i++)
        starts[i] = p->old->line_start[i];
    starts[lines] = before;
    starts[lines + 1] = before + p->n;
    struct value *v = value_new_lines("", all, starts, lines + 1);
    free(all);
    free(starts);
    return v;
}

struct value *value_parse(const struct parse *p)
{
    const struct config_option *o = p->option;
    if (o->type == CONFIG_MULTI && p->source == VALUE_INITIAL && !*o->initial)
        return value_new_lines("", NULL, NULL, 0);
    value_parser *special = value_find_special(o->name);
    bool several = o->type == CONFIG_LIST || o->type == CONFIG_MULTI;
    if ((!several && p->n != 1) || (o->type == CONFIG_MULTI && !special && p->n == 0))
        return value_fail(p, "wrong number of arguments");
    if (special)
        return special(p);
    if (o->type == CONFIG_LIST)
        return value_new_list((const char *const *)p->words, value_list_length(p));
    return several ? value_append_line(p) : value_parse_scalar(p, p->words[0]);
}
