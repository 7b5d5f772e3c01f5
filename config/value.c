// Reading values of each type, with the messages and the canonical forms of Redis.
#include "config/value.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define fail(...)                                 \
    ({                                            \
        snprintf(error, error_size, __VA_ARGS__); \
        (struct value *)NULL;                     \
    })

// One allocation: the struct, the word table, the line table, the text and the words' bytes.
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

// Redis takes digits and a minus, nothing else: no plus, no blanks, no leading zeros.
bool value_parse_integer(const char *text, int64_t *number)
{
    const char *digits = text + (*text == '-');
    if (!(*digits >= '1' && *digits <= '9') && strcmp(text, "0"))
        return false;
    for (const char *p = digits; *p; p++) {
        if (*p < '0' || *p > '9')
            return false;
    }
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
        int64_t n = 0;
        for (size_t d = 0; d < digits; d++) {
            if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, text[d] - '0', &n))
                n = INT64_MAX;
            if (n == INT64_MAX)
                break;
        }
        if (__builtin_mul_overflow(n, units[i].factor, &n))
            n = INT64_MAX;
        *bytes = n;
        return true;
    }
    return false;
}

static struct value *in_range(const struct config_option *o, int64_t n, const char *format,
                              char *error, size_t error_size)
{
    char text[32];
    if (n >= o->min && n <= o->max) {
        snprintf(text, sizeof(text), format, n);
        return value_new(text, n, NULL, 0, NULL, 0);
    }
    if (o->type == CONFIG_OCTAL)
        return fail("argument must be between %" PRIo64 " and %" PRIo64 " inclusive", o->min,
                    o->max);
    return fail("argument must be between %" PRId64 " and %" PRId64 " inclusive", o->min, o->max);
}

static struct value *parse_percent(const struct config_option *o, const char *word, char *error,
                                   size_t error_size)
{
    int64_t n;
    char number[24], text[32];
    size_t len = strlen(word);
    if (value_parse_memory(word, &n))
        return in_range(o, n, "%" PRId64, error, error_size);
    if (len < 2 || len > sizeof(number) || word[len - 1] != '%')
        return fail("argument must be a memory or percent value");
    snprintf(number, len, "%s", word);
    if (!value_parse_integer(number, &n) || n < 0)
        return fail("argument must be a memory or percent value");
    if (n > -o->min)
        return fail("percentage argument must be less or equal to %" PRId64, -o->min);
    snprintf(text, sizeof(text), n ? "%" PRId64 "%%" : "%" PRId64, n);
    return value_new(text, -n, NULL, 0, NULL, 0);
}

static struct value *fail_words(const struct config_option *o, char *error, size_t error_size)
{
    int at = snprintf(error, error_size, "argument(s) must be one of the following: ");
    for (unsigned i = 0; o->words[i] && (size_t)at < error_size; i++)
        at += snprintf(error + at, error_size - (size_t)at, i ? ", %s" : "%s", o->words[i]);
    return NULL;
}

static int find_word(const struct config_option *o, const char *word)
{
    for (int i = 0; o->words[i]; i++) {
        if (!strcasecmp(o->words[i], word))
            return i;
    }
    return -1;
}

static struct value *parse_scalar(const struct config_option *o, const char *word, char *error,
                                  size_t error_size)
{
    int64_t n;
    switch (o->type) {
    case CONFIG_BOOL:
        if (strcasecmp(word, "yes") && strcasecmp(word, "no"))
            return fail("argument must be 'yes' or 'no'");
        n = !strcasecmp(word, "yes");
        return value_new(n ? "yes" : "no", n, NULL, 0, NULL, 0);
    case CONFIG_INTEGER:
        if (!value_parse_integer(word, &n))
            return fail("argument couldn't be parsed into an integer");
        return in_range(o, n, "%" PRId64, error, error_size);
    case CONFIG_MEMORY:
        if (!value_parse_memory(word, &n))
            return fail("argument must be a memory value");
        return in_range(o, n, "%" PRId64, error, error_size);
    case CONFIG_PERCENT_OR_MEMORY:
        return parse_percent(o, word, error, error_size);
    case CONFIG_OCTAL: {
        char *end;
        errno = 0;
        n = strtoll(word, &end, 8);
        if (errno || *end)
            return fail("argument couldn't be parsed as an octal number");
        return in_range(o, n, "%" PRIo64, error, error_size);
    }
    case CONFIG_ENUM:
        n = find_word(o, word);
        if (n < 0)
            return fail_words(o, error, error_size);
        return value_new(o->words[n], n, NULL, 0, NULL, 0);
    default:
        return value_new(word, 0, NULL, 0, NULL, 0);
    }
}

static struct value *new_list(const char *const *words, unsigned n)
{
    char *text = words_join((char *const *)words, n);
    struct value *v = value_new(text, 0, words, n, NULL, 0);
    free(text);
    return v;
}

// Any of the option's words, written back in the table's order. The first one means "none of the
// others".
static struct value *parse_any_of(const struct config_option *o, char *const *words, unsigned n,
                                  char *error, size_t error_size)
{
    unsigned set = 0;
    for (unsigned i = 0; i < n; i++) {
        int found = find_word(o, words[i]);
        if (found < 0)
            return fail_words(o, error, error_size);
        set |= 1u << found;
    }
    if (!n)
        return fail_words(o, error, error_size);
    const char *given[32];
    unsigned m = 0;
    for (unsigned i = 1; o->words[i]; i++) {
        if (set & (1u << i))
            given[m++] = o->words[i];
    }
    if (!m)
        given[m++] = o->words[0];
    return new_list(given, m);
}

static struct value *parse_shutdown(const struct config_option *o, char *const *words, unsigned n,
                                    char *error, size_t error_size)
{
    bool save = false, nosave = false;
    for (unsigned i = 0; i < n; i++) {
        save |= !strcasecmp(words[i], "save");
        nosave |= !strcasecmp(words[i], "nosave");
    }
    struct value *v = parse_any_of(o, words, n, error, error_size);
    if (v && save && nosave) {
        value_drop(v);
        return fail("shutdown options SAVE and NOSAVE can't be used simultaneously");
    }
    return v;
}

static struct value *parse_save(const struct value *old, char *const *words, unsigned n,
                                enum value_source source, char *error, size_t error_size)
{
    if (n & 1)
        return fail("Invalid save parameters");
    unsigned before = source == VALUE_FILE && old && n ? old->n_words : 0;
    char(*numbers)[24] = calloc(n + 1, sizeof(*numbers));
    const char **all = calloc(before + n + 1, sizeof(*all));
    assert(numbers && all);
    for (unsigned i = 0; i < before; i++)
        all[i] = old->words[i];
    bool good = true;
    for (unsigned i = 0; i < n && good; i++) {
        char *end;
        errno = 0;
        long long number = strtoll(words[i], &end, 10);
        good = !*end && *words[i] && !errno && number >= (i & 1 ? 0 : 1) &&
               number <= (i & 1 ? INT_MAX : INT64_MAX);
        snprintf(numbers[i], sizeof(numbers[i]), "%lld", number);
        all[before + i] = numbers[i];
    }
    struct value *v = good ? new_list(all, before + n) : fail("Invalid save parameters");
    free(numbers);
    free(all);
    return v;
}

static struct value *parse_oom_values(char *const *words, unsigned n, char *error,
                                      size_t error_size)
{
    enum { CLASSES = 3, LIMIT = 2000 };
    char numbers[CLASSES][24];
    const char *all[CLASSES];
    if (n != CLASSES)
        return fail("wrong number of arguments");
    for (unsigned i = 0; i < CLASSES; i++) {
        char *end;
        long long number = strtoll(words[i], &end, 10);
        if (*end || number < -LIMIT || number > LIMIT)
            return fail("Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
        snprintf(numbers[i], sizeof(numbers[i]), "%lld", number);
        all[i] = numbers[i];
    }
    return new_list(all, CLASSES);
}

static struct value *parse_percentiles(char *const *words, unsigned n, char *error,
                                       size_t error_size)
{
    char(*numbers)[32] = calloc(n + 1, sizeof(*numbers));
    const char **all = calloc(n + 1, sizeof(*all));
    assert(numbers && all);
    struct value *v = NULL;
    unsigned i;
    for (i = 0; i < n; i++) {
        char *end;
        double number = strtod(words[i], &end);
        if (!*words[i] || isspace((unsigned char)*words[i]) || *end || number != number) {
            fail("Invalid latency-tracking-info-percentiles parameters");
            break;
        }
        if (number < 0 || number > 100) {
            fail("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
            break;
        }
        snprintf(numbers[i], sizeof(numbers[i]), "%.10g", number);
        all[i] = numbers[i];
    }
    if (i == n)
        v = new_list(all, n);
    free(numbers);
    free(all);
    return v;
}

// The three classes are kept as three lines of four words, in Redis's order and with its name for
// replicas.
static struct value *parse_output_limits(const struct value *old, char *const *words, unsigned n,
                                         char *error, size_t error_size)
{
    static const char *const classes[] = {"normal", "slave", "pubsub"};
    enum { CLASSES = 3, COLUMNS = 4 };
    if (n % COLUMNS)
        return fail("Wrong number of arguments in buffer limit configuration.");
    char numbers[CLASSES * COLUMNS][24];
    for (unsigned i = 0; i < CLASSES * COLUMNS; i++)
        snprintf(numbers[i], sizeof(numbers[i]), "%s",
                 i % COLUMNS == 0 ? classes[i / COLUMNS] : (old ? old->words[i] : "0"));
    for (unsigned i = 0; i < n; i += COLUMNS) {
        unsigned class = 0;
        const char *name = strcasecmp(words[i], "replica") ? words[i] : "slave";
        while (class < CLASSES && strcasecmp(classes[class], name))
            class ++;
        if (class == CLASSES)
            return fail("Invalid client class specified in buffer limit configuration.");
        char *end;
        int64_t hard, soft;
        errno = 0;
        long long seconds = strtoll(words[i + 3], &end, 10);
        if (!value_parse_memory(words[i + 1], &hard) || !value_parse_memory(words[i + 2], &soft) ||
            *end || errno || seconds < 0 || seconds > INT_MAX)
            return fail(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
        snprintf(numbers[class * COLUMNS + 1], sizeof(numbers[0]), "%" PRId64, hard);
        snprintf(numbers[class * COLUMNS + 2], sizeof(numbers[0]), "%" PRId64, soft);
        snprintf(numbers[class * COLUMNS + 3], sizeof(numbers[0]), "%lld", seconds);
    }
    const char *all[CLASSES * COLUMNS];
    for (unsigned i = 0; i < CLASSES * COLUMNS; i++)
        all[i] = numbers[i];
    static const unsigned starts[] = {0, 4, 8, 12};
    char *text = words_join((char *const *)all, CLASSES * COLUMNS);
    struct value *v = value_new(text, 0, all, CLASSES * COLUMNS, starts, CLASSES);
    free(text);
    return v;
}

// Canonical order; `A` stands for all classes but key misses and new keys.
static struct value *parse_events(const char *word, char *error, size_t error_size)
{
    static const char all_of_a[] = "g$lshzxetd", classes[] = "g$lshzxetdn", kinds[] = "KEm";
    char text[16], *p = text;
    for (const char *c = word; *c; c++) {
        if (*c != 'A' && !strchr(classes, *c) && !strchr(kinds, *c))
            return fail("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    }
    bool all = strchr(word, 'A');
    for (const char *c = all_of_a; !strchr(word, 'A') && *c; c++)
        all = c == all_of_a ? strchr(word, *c) != NULL : all && strchr(word, *c);
    if (all)
        *p++ = 'A';
    for (const char *c = classes; *c && !all; c++) {
        if (strchr(word, *c))
            *p++ = *c;
    }
    for (const char *c = kinds; *c; c++) {
        if (strchr(word, *c))
            *p++ = *c;
    }
    *p = 0;
    return value_new(text, 0, NULL, 0, NULL, 0);
}

static struct value *parse_replicaof(char *const *words, unsigned n, char *error, size_t error_size)
{
    int64_t port;
    if (n == 0)
        return new_list(NULL, 0);
    if (n != 2)
        return fail("wrong number of arguments");
    if (!strcasecmp(words[0], "no") && !strcasecmp(words[1], "one"))
        return new_list(NULL, 0);
    if (!value_parse_integer(words[1], &port) || port < 0 || port > 65535)
        return fail("Invalid master port");
    return new_list((const char *const *)words, n);
}

static struct value *parse_list(const struct config_option *o, const struct value *old,
                                char *const *words, unsigned n, enum value_source source,
                                char *error, size_t error_size)
{
    if (n == 1 && !*words[0])
        n = 0;
    if (!strcmp(o->name, "save"))
        return parse_save(old, words, n, source, error, error_size);
    if (!strcmp(o->name, "oom-score-adj-values"))
        return parse_oom_values(words, n, error, error_size);
    if (!strcmp(o->name, "latency-tracking-info-percentiles"))
        return parse_percentiles(words, n, error, error_size);
    if (!strcmp(o->name, "replicaof"))
        return parse_replicaof(words, n, error, error_size);
    if (o->words)
        return parse_shutdown(o, words, n, error, error_size);
    if (!strcmp(o->name, "bind") && n > CONFIG_BIND_MAX)
        return fail("Too many bind addresses specified.");
    return new_list((const char *const *)words, n);
}

// One more line behind those there are.
static struct value *append_line(const struct value *old, char *const *words, unsigned n,
                                 char *error, size_t error_size)
{
    if (!n)
        return fail("wrong number of arguments");
    unsigned lines = old ? old->n_lines : 0, before = old ? old->n_words : 0;
    const char **all = calloc(before + n, sizeof(*all));
    unsigned *starts = calloc(lines + 2, sizeof(*starts));
    assert(all && starts);
    for (unsigned i = 0; i < before; i++)
        all[i] = old->words[i];
    for (unsigned i = 0; i < n; i++)
        all[before + i] = words[i];
    for (unsigned i = 0; i < lines; i++)
        starts[i] = old->line_start[i];
    starts[lines] = before;
    starts[lines + 1] = before + n;
    struct value *v = value_new("", 0, all, before + n, starts, lines + 1);
    free(all);
    free(starts);
    return v;
}

struct value *value_parse(const struct config_option *o, const struct value *old,
                          char *const *words, unsigned n, enum value_source source, char *error,
                          size_t error_size)
{
    if (o->type == CONFIG_LIST)
        return parse_list(o, old, words, n, source, error, error_size);
    if (!strcmp(o->name, "client-output-buffer-limit"))
        return parse_output_limits(old, words, n, error, error_size);
    if (o->type == CONFIG_MULTI && source == VALUE_INITIAL)
        return value_new("", 0, NULL, 0, NULL, 0);
    if (o->type == CONFIG_MULTI)
        return append_line(old, words, n, error, error_size);
    if (n != 1)
        return fail("wrong number of arguments");
    if (!strcmp(o->name, "notify-keyspace-events"))
        return parse_events(words[0], error, error_size);
    if (!strcmp(o->name, "oom-score-adj") && !strcasecmp(words[0], "relative"))
        return parse_scalar(o, "yes", error, error_size);
    return parse_scalar(o, words[0], error, error_size);
}
