// What stands behind an option: numbers, lists, distributions.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bench/options_internal.h"

bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return !errno && end != text && !*end && *text >= '0' && *text <= '9' && *value >= min &&
           *value <= max;
}

// "250000", "250k", "1.5m": how many; `end` is set behind it.
bool parse_amount(const char *text, char **end, double *value)
{
    *value = strtod(text, end);
    if (*end == text || !isfinite(*value) || *text < '0' || *text > '9')
        return false;
    if (**end == 'k' || **end == 'K')
        *value *= 1e3;
    else if (**end == 'm' || **end == 'M')
        *value *= 1e6;
    else if (**end == 'g' || **end == 'G')
        *value *= 1e9;
    else
        return true;
    ++*end;
    return true;
}

bool parse_count(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    char *end;
    double amount;
    if (parse_number(text, min, max, value))
        return true;
    if (!parse_amount(text, &end, &amount) || *end || amount < (double)min || amount > (double)max)
        return false;
    *value = (uint64_t)amount;
    return (double)*value == amount;
}

bool parse_seconds(const char *text, double min, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && !*end && *value >= min && *value <= 1e6;
}

// "200k" or "100k..2m/100k".
bool parse_rate(struct options *o, const char *text)
{
    char *end;
    if (!parse_amount(text, &end, &o->rate_from) || o->rate_from < 1 || o->rate_from > 1e9)
        return false;
    o->rate_to = o->rate_from;
    o->rate_step = 0;
    if (!*end)
        return true;
    if (strncmp(end, "..", 2) != 0 || !parse_amount(end + 2, &end, &o->rate_to) || *end != '/' ||
        !parse_amount(end + 1, &end, &o->rate_step) || *end)
        return false;
    return o->rate_to > o->rate_from && o->rate_to <= 1e9 && o->rate_step >= 1 &&
           (o->rate_to - o->rate_from) / o->rate_step < OPTIONS_STEPS_MAX - 1;
}

// Names with commas between them, cut in place.
bool parse_tests(struct options *o, const char *list)
{
    static char copies[1024];
    if (strlen(list) >= sizeof(copies))
        return false;
    strcpy(copies, list);
    o->n_tests = 0;
    char *rest = copies;
    for (char *name; (name = strsep(&rest, ","));) {
        if (!*name || o->n_tests == OPTIONS_TESTS_MAX)
            return false;
        o->tests[o->n_tests++] = name;
    }
    return true;
}

bool parse_cpus(struct options *o, const char *list)
{
    o->n_cpus = 0;
    while (*list) {
        char *end;
        long first = strtol(list, &end, 10), last = first;
        if (end == list || *list < '0' || *list > '9')
            return false;
        if (*end == '-') {
            list = end + 1;
            last = strtol(list, &end, 10);
            if (end == list || last < first)
                return false;
        }
        if (last > 4095 || (*end && *end != ',') || (*end == ',' && !end[1]))
            return false;
        for (long cpu = first; cpu <= last; cpu++) {
            if (o->n_cpus == OPTIONS_THREADS_MAX)
                return false;
            o->cpus[o->n_cpus++] = (int)cpu;
        }
        list = end + (*end == ',');
    }
    return o->n_cpus > 0;
}

bool parse_ratio(struct options *o, const char *text)
{
    char *end;
    unsigned long set = strtoul(text, &end, 10), get = 0;
    if (end == text || *end != ':' || *text == '-')
        return false;
    text = end + 1;
    get = strtoul(text, &end, 10);
    if (end == text || *end || *text == '-' || set > 1000000 || get > 1000000 || set + get == 0)
        return false;
    o->set_weight = (unsigned)set;
    o->get_weight = (unsigned)get;
    return true;
}

bool parse_theta(struct options *o, const char *text)
{
    char *end;
    o->theta = strtod(text, &end);
    return end != text && !*end && o->theta > 0 && o->theta < 2;
}

// "hot:1%:90%": so many of the keys get so many of the requests.
static bool parse_hot(struct options *o, const char *text)
{
    char *end;
    o->hot_keys = strtod(text, &end) / 100;
    if (end == text || strncmp(end, "%:", 2) != 0)
        return false;
    text = end + 2;
    o->hot_share = strtod(text, &end) / 100;
    return end != text && (!strcmp(end, "%") || !*end) && o->hot_keys > 0 && o->hot_keys <= 1 &&
           o->hot_share >= 0 && o->hot_share <= 1;
}

bool parse_distribution(struct options *o, const char *text)
{
    static const struct {
        const char *name;
        enum bench_keys kind;
    } known[] = {{"uniform", KEYS_UNIFORM},
                 {"sequential", KEYS_SEQUENTIAL},
                 {"zipfian", KEYS_ZIPFIAN},
                 {"latest", KEYS_LATEST}};
    for (unsigned i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (!strcasecmp(text, known[i].name)) {
            o->distribution = known[i].kind;
            return true;
        }
    if (!strncasecmp(text, "zipfian:", 8)) {
        o->distribution = KEYS_ZIPFIAN;
        return parse_theta(o, text + 8);
    }
    o->distribution = KEYS_HOT;
    return !strncasecmp(text, "hot:", 4) && parse_hot(o, text + 4);
}

// One of some words, by its index; false when it is none of them.
bool parse_word(const char *text, const char *const *words, unsigned *index)
{
    for (*index = 0; words[*index]; ++*index)
        if (!strcasecmp(text, words[*index]))
            return true;
    return false;
}
