#include "bench/show.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bench/presets.h"

// Above this many nanoseconds at p99 a table stands in milliseconds.
#define MILLISECONDS_FROM 10000000u

struct shown show_count(uint64_t n)
{
    struct shown shown = {""};
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
    char *to = shown.text;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
    return shown;
}

struct shown show_rate(double rate)
{
    struct shown shown;
    if (rate >= 100)
        return show_count((uint64_t)(rate + 0.5));
    snprintf(shown.text, sizeof(shown.text), "%.1f", rate);
    return shown;
}

struct shown show_percent(double p)
{
    struct shown shown;
    snprintf(shown.text, sizeof(shown.text), "p%.7g", p);
    return shown;
}

enum show_unit show_unit_of(const struct histogram *h)
{
    return histogram_percentile(h, 99) >= MILLISECONDS_FROM ? SHOW_MS : SHOW_US;
}

const char *show_unit_name(enum show_unit unit)
{
    return unit == SHOW_MS ? "ms" : "us";
}

struct shown show_time(double ns, enum show_unit unit)
{
    struct shown shown;
    double value = ns / (unit == SHOW_MS ? 1e6 : 1e3);
    if (value >= 999.95)
        return show_count((uint64_t)(value + 0.5));
    // A bucket is known to better than 1 %: more digits would say nothing. The clock sees 10 ns.
    snprintf(shown.text, sizeof(shown.text), value < 9.995 ? "%.2f" : "%.1f", value);
    return shown;
}

unsigned show_utf8_length(const char *s)
{
    const uint8_t *u = (const uint8_t *)s;
    if (u[0] < 0x80)
        return u[0] ? 1 : 0;
    unsigned len = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
    if (u[0] < 0xc2 || u[0] > 0xf4)
        return 0;
    for (unsigned i = 1; i < len; i++)
        if ((u[i] & 0xc0) != 0x80) // a NUL too
            return 0;
    if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ||
        (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
        return 0;
    return len;
}

const char *show_safe(const char *from, char *to, size_t size)
{
    size_t at = 0;
    while (*from) {
        const uint8_t c = (uint8_t)*from;
        unsigned len = show_utf8_length(from);
        // The controls of Latin-1 (U+0080 … U+009F) are obeyed by terminals too.
        bool control = c < ' ' || c == 0x7f || (c == 0xc2 && len == 2 && (uint8_t)from[1] < 0xa0);
        if (len && !control) {
            if (at + len >= size)
                break;
            memcpy(to + at, from, len);
            at += len;
            from += len;
        } else {
            if (at + 4 >= size)
                break;
            at += (size_t)snprintf(to + at, size - at, "\\x%02x", c);
            from++;
        }
    }
    to[at] = 0;
    return to;
}

const char *show_name(const char *name, char *to, size_t size)
{
    show_safe(name, to, size);
    if (!strchr(name, ' '))
        for (char *c = to; *c; c++)
            *c = (char)toupper((unsigned char)*c);
    return to;
}

bool show_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

unsigned show_bar(char *to, double share, unsigned width, bool utf8)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    share = share > 1 ? 1 : share > 0 ? share : 0; // not a number: 0
    unsigned n = (unsigned)(share * width * 8 + 0.5), full = n / 8;
    *to = 0;
    if (!utf8) {
        full = (n + 4) / 8;
        memset(to, '#', full);
        to[full] = 0;
        return full;
    }
    for (unsigned i = 0; i < full; i++)
        to = stpcpy(to, "█");
    strcpy(to, eighths[n % 8]);
    return full + (n % 8 != 0);
}

// --- the load in words ---------------------------------------------------------------------------

__attribute__((format(printf, 4, 5))) static size_t add(char *to, size_t size, size_t at,
                                                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = at < size ? vsnprintf(to + at, size - at, format, args) : 0;
    va_end(args);
    return at + (n > 0 ? (size_t)n : 0);
}

void show_load(const struct options *o, const struct measurement *m, char *to, size_t size)
{
    size_t at = 0;
    to[0] = 0;
    if (m->rate > 0)
        at = add(to, size, at, "open loop of %s requests/s (%s), ", show_rate(m->rate).text,
                 o->arrivals == ARRIVALS_EVEN ? "even" : "poisson");
    else
        at = add(to, size, at, "closed loop, ");
    unsigned threads = m->threads ? m->threads : o->threads;
    at = add(to, size, at, "%s connection%s%s, pipeline %u, %u thread%s",
             show_count(o->connections).text, o->connections == 1 ? "" : "s",
             o->cluster ? " to each node" : "", o->pipeline, threads, threads == 1 ? "" : "s");
    if (o->churn)
        add(to, size, at, ", reconnecting");
}

static bool has_data(const struct preset *test)
{
    for (unsigned i = 0; i < test->n; i++) {
        const char *line = test->commands[i].line;
        if (test->commands[i].kind != COMMAND_ANY || (line && strstr(line, "{data}")))
            return true;
    }
    for (unsigned i = 0; i < sizeof(test->fills) / sizeof(test->fills[0]) && test->fills[i]; i++)
        if (strstr(test->fills[i], "{data}"))
            return true;
    return false;
}

struct show_test show_test_of(const struct options *o, const char *test)
{
    struct preset tests[OPTIONS_TESTS_MAX];
    char error[MEASUREMENT_TEXT_MAX];
    unsigned n = presets_of(o, tests, error, sizeof(error));
    for (unsigned i = 0; i < n; i++)
        if (strcmp(tests[i].name, test) == 0)
            return (struct show_test){tests[i].data, tests[i].distribution,
                                      tests[i].unfilled ? 0 : tests[i].keys, has_data(&tests[i])};
    return (struct show_test){o->data, o->distribution, o->keys, true};
}

static void add_values(const struct options_sizes *s, char *to, size_t size)
{
    char sizes[MEASUREMENT_TEXT_MAX];
    show_sizes(s, sizes, sizeof(sizes));
    if (s->kind != SIZES_FIXED || s->low == 0 || s->low % 1024)
        add(to, size, 0, "%s-byte values, ", sizes);
    else if (s->low % (1024 * 1024))
        add(to, size, 0, "%u-KiB values, ", s->low / 1024);
    else
        add(to, size, 0, "%u-MiB values, ", s->low / (1024 * 1024));
}

void show_data(const struct options *o, const char *test, char *to, size_t size)
{
    const struct show_test t = show_test_of(o, test);
    to[0] = 0;
    if (t.keys == 0)
        return;
    if (t.values)
        add_values(&t.data, to, size);
    size_t at = add(to, size, strlen(to), "%s key%s, %s", show_count(t.keys).text,
                    t.keys == 1 ? "" : "s", show_distribution(t.distribution));
    if (t.distribution == KEYS_ZIPFIAN || t.distribution == KEYS_LATEST)
        add(to, size, at, " %g", o->theta);
    else if (t.distribution == KEYS_HOT)
        add(to, size, at, " (%g%% of the requests to %g%% of the keys)", o->hot_share * 100,
            o->hot_keys * 100);
}

void show_sizes(const struct options_sizes *s, char *to, size_t size)
{
    size_t at = 0;
    to[0] = 0;
    switch (s->kind) {
    case SIZES_FIXED:
        add(to, size, at, "%u", s->low);
        break;
    case SIZES_RANGE:
        add(to, size, at, "%u-%u", s->low, s->high);
        break;
    case SIZES_WEIGHTED:
        for (unsigned i = 0; i < s->n; i++)
            at = add(to, size, at, "%s%u:%u", i ? "," : "", s->size[i], s->weight[i]);
        break;
    }
}

const char *show_distribution(enum bench_keys distribution)
{
    static const char *const names[] = {
        [KEYS_UNIFORM] = "uniform", [KEYS_SEQUENTIAL] = "sequential", [KEYS_ZIPFIAN] = "zipfian",
        [KEYS_HOT] = "hot",         [KEYS_LATEST] = "latest",
    };
    return names[distribution];
}
