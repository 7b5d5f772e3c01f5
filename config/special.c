// Options with rules of their own. The messages and canonical forms are Redis's.
#include "config/value.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct value *parse_bind(const struct parse *p)
{
    if (p->n > CONFIG_BIND_MAX)
        return value_fail(p, "Too many bind addresses specified.");
    return value_new_list((const char *const *)p->words, value_list_length(p));
}

// Any of the option's words, in the table's order. The first one means none of the others.
static struct value *parse_shutdown(const struct parse *p)
{
    enum { DEFAULT, SAVE, NOSAVE };
    unsigned set = 0, m = 0;
    const char *given[8];
    for (unsigned i = 0; i < p->n; i++) {
        int found = value_find_word(p->option, p->words[i]);
        if (found < 0)
            return value_fail_words(p);
        set |= 1u << found;
    }
    if (!set)
        return value_fail_words(p);
    if ((set & 1u << SAVE) && (set & 1u << NOSAVE))
        return value_fail(p, "shutdown options SAVE and NOSAVE can't be used simultaneously");
    for (unsigned i = 1; p->option->words[i]; i++) {
        if (set & 1u << i)
            given[m++] = p->option->words[i];
    }
    if (!m)
        given[m++] = p->option->words[DEFAULT];
    return value_new_list(given, m);
}

// Lines of a file add up; CONFIG SET replaces.
static struct value *parse_save(const struct parse *p)
{
    unsigned n = value_list_length(p);
    unsigned before = p->source == VALUE_FILE && p->old && n ? p->old->n_words : 0;
    char(*numbers)[24] = calloc(n + 1, sizeof(*numbers));
    const char **all = calloc(before + n + 1, sizeof(*all));
    assert(numbers && all);
    for (unsigned i = 0; i < before; i++)
        all[i] = p->old->words[i];
    bool good = n % 2 == 0;
    for (unsigned i = 0; i < n && good; i++) {
        char *end;
        long long least = i % 2 ? 0 : 1;
        errno = 0;
        long long number = strtoll(p->words[i], &end, 10);
        good = !*end && !errno && number >= least && number <= INT_MAX;
        snprintf(numbers[i], sizeof(numbers[i]), "%lld", number);
        all[before + i] = numbers[i];
    }
    struct value *v =
        good ? value_new_list(all, before + n) : value_fail(p, "Invalid save parameters");
    free(numbers);
    free(all);
    return v;
}

static struct value *parse_oom_values(const struct parse *p)
{
    enum { ROLES = 3, LIMIT = 2000 };
    char numbers[ROLES][24];
    const char *all[ROLES];
    if (p->n != ROLES)
        return value_fail(p, "wrong number of arguments");
    for (unsigned i = 0; i < ROLES; i++) {
        char *end;
        long long number = strtoll(p->words[i], &end, 10);
        if (*end || number < -LIMIT || number > LIMIT)
            return value_fail(
                p, "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
        snprintf(numbers[i], sizeof(numbers[i]), "%lld", number);
        all[i] = numbers[i];
    }
    return value_new_list(all, ROLES);
}

static struct value *parse_oom_adjustment(const struct parse *p)
{
    // "relative" is another word for "yes", and shown as that.
    return value_parse_scalar(p, strcasecmp(p->words[0], "relative") ? p->words[0] : "yes");
}

static struct value *parse_percentiles(const struct parse *p)
{
    unsigned n = value_list_length(p);
    char(*numbers)[32] = calloc(n + 1, sizeof(*numbers));
    const char **all = calloc(n + 1, sizeof(*all));
    assert(numbers && all);
    const char *wrong = NULL;
    for (unsigned i = 0; i < n && !wrong; i++) {
        char *end;
        const char *word = p->words[i];
        double number = strtod(word, &end);
        if (!*word || isspace((unsigned char)*word) || *end || number != number)
            wrong = "Invalid latency-tracking-info-percentiles parameters";
        else if (number < 0 || number > 100)
            wrong = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
        snprintf(numbers[i], sizeof(numbers[i]), "%.10g", number);
        all[i] = numbers[i];
    }
    struct value *v = wrong ? value_fail(p, "%s", wrong) : value_new_list(all, n);
    free(numbers);
    free(all);
    return v;
}

// Kept as three lines of four words, in Redis's order and with its name for replicas. A line
// changes the classes that it names.
static struct value *parse_output_limits(const struct parse *p)
{
    enum { CLASSES = 3, COLUMNS = 4, CELLS = CLASSES * COLUMNS };
    static const char *const classes[] = {"normal", "slave", "pubsub"};
    static const unsigned starts[] = {0, COLUMNS, 2 * COLUMNS, 3 * COLUMNS};
    char cells[CELLS][24];
    const char *all[CELLS];
    if (p->n % COLUMNS)
        return value_fail(p, "Wrong number of arguments in buffer limit configuration.");
    for (unsigned i = 0; i < CELLS; i++) {
        const char *before = p->old ? p->old->words[i] : "0";
        snprintf(cells[i], sizeof(cells[i]), "%s",
                 i % COLUMNS == 0 ? classes[i / COLUMNS] : before);
        all[i] = cells[i];
    }
    for (unsigned i = 0; i < p->n; i += COLUMNS) {
        char *const *line = p->words + i;
        const char *name = strcasecmp(line[0], "replica") ? line[0] : "slave";
        unsigned row = 0;
        while (row < CLASSES && strcasecmp(classes[row], name))
            row++;
        if (row == CLASSES)
            return value_fail(p, "Invalid client class specified in buffer limit configuration.");
        char *end;
        int64_t hard, soft;
        errno = 0;
        long long seconds = strtoll(line[3], &end, 10);
        if (!value_parse_memory(line[1], &hard) || !value_parse_memory(line[2], &soft) || *end ||
            errno || hard < 0 || soft < 0 || seconds < 0 || seconds > INT_MAX)
            return value_fail(
                p, "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
        snprintf(cells[row * COLUMNS + 1], sizeof(cells[0]), "%" PRId64, hard);
        snprintf(cells[row * COLUMNS + 2], sizeof(cells[0]), "%" PRId64, soft);
        snprintf(cells[row * COLUMNS + 3], sizeof(cells[0]), "%lld", seconds);
    }
    char *text = words_join((char *const *)all, CELLS);
    struct value *v = value_new_lines(text, all, starts, CLASSES);
    free(text);
    return v;
}

// Canonical order; `A` stands for all classes but key misses and new keys.
static struct value *parse_events(const struct parse *p)
{
    static const char in_a[] = "g$lshzxetd", classes[] = "g$lshzxetdn", kinds[] = "KEm";
    const char *word = p->words[0];
    char text[sizeof(classes) + sizeof(kinds)], *out = text;
    if (word[strspn(word, "Ag$lshzxeKEtmdn")])
        return value_fail(p, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    bool all = true;
    for (const char *c = in_a; *c; c++)
        all &= strchr(word, *c) != NULL;
    all |= strchr(word, 'A') != NULL;
    if (all)
        *out++ = 'A';
    for (const char *c = classes; *c && !all; c++) {
        if (strchr(word, *c))
            *out++ = *c;
    }
    for (const char *c = kinds; *c; c++) {
        if (strchr(word, *c))
            *out++ = *c;
    }
    *out = 0;
    return value_new_scalar(text, strchr(word, 'n') != NULL); // config_notifies_new
}

static struct value *parse_replicaof(const struct parse *p)
{
    int64_t port;
    if (p->source == VALUE_INITIAL)
        return value_new_list(NULL, 0);
    if (p->n != 2)
        return value_fail(p, "wrong number of arguments");
    if (!strcasecmp(p->words[0], "no") && !strcasecmp(p->words[1], "one"))
        return value_new_list(NULL, 0);
    if (!value_parse_integer(p->words[1], &port) || port < 0 || port > 65535)
        return value_fail(p, "Invalid master port");
    return value_new_list((const char *const *)p->words, p->n);
}

static struct value *parse_rename(const struct parse *p)
{
    if (p->n != 2)
        return value_fail(p, "wrong number of arguments");
    return value_append_line(p);
}

static struct value *parse_file_name(const struct parse *p)
{
    bool folder = !strcmp(p->option->name, "appenddirname");
    if (!*p->words[0] && strcmp(p->option->name, "dbfilename"))
        return value_fail(p, "%s can't be empty", p->option->name);
    if (strchr(p->words[0], '/'))
        return value_fail(p, "%s can't be a path, just a %s", p->option->name,
                          folder ? "dirname" : "filename");
    return value_parse_scalar(p, p->words[0]);
}

static struct value *parse_hostname(const struct parse *p)
{
    enum { HOSTNAME_MAX = 255 };
    const char *word = p->words[0];
    if (strlen(word) > HOSTNAME_MAX)
        return value_fail(p, "Hostnames must be less than 256 characters");
    for (const char *c = word; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.')
            return value_fail(
                p, "Hostnames may only contain alphanumeric characters, hyphens or dots");
    }
    return value_parse_scalar(p, word);
}

static struct value *parse_title(const struct parse *p)
{
    static const char *const names[] = {"title",    "listen-addr", "server-mode", "port",
                                        "tls-port", "unixsocket",  "config-file", NULL};
    const char *word = p->words[0];
    bool good = word[strspn(word, " \t\r\n")] != 0;
    for (const char *c = word; *c && good; c++) {
        if (*c != '{')
            continue;
        if (c[1] == '{') { // a brace itself
            c++;
            continue;
        }
        size_t len = strcspn(c + 1, "}");
        good = false;
        for (unsigned i = 0; names[i] && c[1 + len]; i++)
            good |= strlen(names[i]) == len && !strncmp(names[i], c + 1, len);
        c += good ? len + 1 : 0;
    }
    if (!good)
        return value_fail(p, "template format is invalid or contains unknown variables");
    return value_parse_scalar(p, word);
}

// A number that Redis takes and then bends into a narrower range.
static struct value *parse_bent(const struct parse *p, int64_t min, int64_t max)
{
    char text[24];
    struct value *v = value_parse_scalar(p, p->words[0]);
    if (!v || (v->number >= min && v->number <= max))
        return v;
    int64_t bent = v->number < min ? min : max;
    snprintf(text, sizeof(text), "%" PRId64, bent);
    value_drop(v);
    return value_new_scalar(text, bent);
}

static struct value *parse_hz(const struct parse *p)
{
    enum { HZ_MAX = 500 };
    return parse_bent(p, 1, HZ_MAX);
}

static struct value *parse_backlog(const struct parse *p)
{
    enum { BACKLOG_MIN = 16 << 10 };
    return parse_bent(p, BACKLOG_MIN, INT64_MAX);
}

value_parser *value_find_special(const char *name)
{
    static const struct {
        const char *name;
        value_parser *parse;
    } specials[] = {
        {"appenddirname", parse_file_name},
        {"appendfilename", parse_file_name},
        {"bind", parse_bind},
        {"client-output-buffer-limit", parse_output_limits},
        {"cluster-announce-hostname", parse_hostname},
        {"dbfilename", parse_file_name},
        {"hz", parse_hz},
        {"latency-tracking-info-percentiles", parse_percentiles},
        {"notify-keyspace-events", parse_events},
        {"oom-score-adj", parse_oom_adjustment},
        {"oom-score-adj-values", parse_oom_values},
        {"proc-title-template", parse_title},
        {"rename-command", parse_rename},
        {"repl-backlog-size", parse_backlog},
        {"replicaof", parse_replicaof},
        {"save", parse_save},
        {"shutdown-on-sigint", parse_shutdown},
        {"shutdown-on-sigterm", parse_shutdown},
    };
    for (unsigned i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
        if (!strcmp(name, specials[i].name))
            return specials[i].parse;
    }
    return NULL;
}
