// A configuration: one counted value per row of the table.
#include "config/config.h"

#include "common/glob.h"
#include "config/internal.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

unsigned config_index(const struct config_option *o)
{
    unsigned n;
    return (unsigned)(o - config_options(&n));
}

static struct config *new_empty(void)
{
    struct config *c = calloc(1, sizeof(*c));
    assert(c);
    config_options(&c->n);
    c->values = calloc(c->n, sizeof(struct value *));
    c->given = calloc(c->n, sizeof(bool));
    assert(c->values && c->given);
    return c;
}

static struct value *initial_value(const struct config_option *o)
{
    char error[256], *whole = (char *)(uintptr_t)o->initial;
    struct words w = {0};
    bool split = o->type == CONFIG_LIST || o->type == CONFIG_MULTI;
    if (split)
        words_split_spaces(o->initial, strlen(o->initial), &w);
    struct value *v = value_parse(&(struct parse){.option = o,
                                                  .words = split ? w.at : &whole,
                                                  .n = split ? w.n : 1,
                                                  .source = VALUE_INITIAL,
                                                  .error = error,
                                                  .error_size = sizeof(error)});
    assert(v);
    words_free(&w);
    return v;
}

bool config_is_initial(const struct config *c, const struct config_option *o)
{
    struct value *initial = initial_value(o);
    bool same = value_equal(initial, c->values[config_index(o)]);
    value_drop(initial);
    return same;
}

struct config *config_new(void)
{
    struct config *c = new_empty();
    const struct config_option *options = config_options(&c->n);
    char error[256];
    for (unsigned i = 0; i < c->n; i++)
        c->values[i] = initial_value(&options[i]);
    // Programs change to `dir` at start; "." is where they are now.
    char *here = getcwd(NULL, 0);
    if (here) {
        const struct config_option *dir = config_find_option("dir");
        config_assign(c, dir, &here, 1, VALUE_INITIAL, error, sizeof(error));
        free(here);
    }
    return c;
}

struct config *config_copy(const struct config *from)
{
    struct config *c = new_empty();
    for (unsigned i = 0; i < c->n; i++) {
        c->values[i] = value_hold(from->values[i]);
        c->given[i] = from->given[i];
    }
    c->path = from->path ? strdup(from->path) : NULL;
    return c;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < c->n; i++)
        value_drop(c->values[i]);
    for (unsigned i = 0; i < c->n_user_places; i++)
        free(c->user_places[i]);
    free(c->user_places);
    free(c->values);
    free(c->given);
    free(c->path);
    free(c);
}

// A folder as an absolute path, which stays right when a program changes its working folder.
static char *resolve_dir(const char *dir, char *error, size_t error_size)
{
    struct stat st;
    char *path = realpath(dir, NULL);
    if (path && stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
        free(path);
        path = NULL;
        errno = ENOTDIR;
    }
    if (!path)
        snprintf(error, error_size, "%s", strerror(errno));
    return path;
}

int config_assign(struct config *c, const struct config_option *o, char *const *words, unsigned n,
                  enum value_source source, char *error, size_t error_size)
{
    unsigned i = config_index(o);
    char *resolved = NULL;
    if (source == VALUE_FILE && !c->given[i])
        source = VALUE_FILE_FIRST;
    if (n == 1 && !strcmp(o->name, "dir")) {
        resolved = resolve_dir(words[0], error, error_size);
        if (!resolved)
            return -1;
        words = &resolved;
    }
    struct value *v = value_parse(&(struct parse){.option = o,
                                                  .old = c->values[i],
                                                  .words = words,
                                                  .n = n,
                                                  .source = source,
                                                  .error = error,
                                                  .error_size = error_size});
    free(resolved);
    if (!v)
        return -1;
    value_drop(c->values[i]);
    c->values[i] = v;
    c->given[i] |= source != VALUE_INITIAL;
    return 0;
}

void config_set_lines(struct config *c, const char *name, const char *const *words,
                      const unsigned *line_start, unsigned n_lines)
{
    const struct config_option *o = config_find_option(name);
    assert(o && o->type == CONFIG_MULTI);
    struct value **v = &c->values[config_index(o)];
    value_drop(*v);
    *v = value_new_lines("", words, line_start, n_lines);
}

int config_set(struct config *c, const char *name, const char *value, size_t value_len, char *error,
               size_t error_size)
{
    const struct config_option *o = config_find_option(name);
    if (!o || (o->flags & CONFIG_FILE_ONLY)) {
        snprintf(error, error_size, "Unknown option or number of arguments for CONFIG SET - '%s'",
                 name);
        return -1;
    }
    if (!(o->flags & CONFIG_RUNTIME)) {
        snprintf(error, error_size, "can't set immutable config");
        return -1;
    }
    if ((o->flags & CONFIG_PROTECTED) && !config_integer(c, "enable-protected-configs")) {
        snprintf(error, error_size, "can't set protected config");
        return -1;
    }
    if (memchr(value, 0, value_len)) {
        snprintf(error, error_size, "a value cannot hold a NUL byte");
        return -1;
    }
    struct words w = {0};
    char *whole = strndup(value, value_len);
    assert(whole);
    bool split = o->type == CONFIG_LIST || o->type == CONFIG_MULTI;
    if (split)
        words_split_spaces(value, value_len, &w);
    int result =
        config_assign(c, o, split ? w.at : &whole, split ? w.n : 1, VALUE_SET, error, error_size);
    words_free(&w);
    free(whole);
    return result;
}

const char *config_get(const struct config *c, const char *name)
{
    const struct config_option *o = config_find_option(name);
    return o && !(o->flags & CONFIG_FILE_ONLY) ? c->values[config_index(o)]->text : NULL;
}

void config_match(const struct config *c, const char *pattern, size_t pattern_len,
                  void (*each)(void *context, const char *name, const char *value), void *context)
{
    const struct config_option *options = config_options(&(unsigned){0});
    bool literal = !memchr(pattern, '*', pattern_len) && !memchr(pattern, '?', pattern_len) &&
                   !memchr(pattern, '[', pattern_len);
    if (literal) { // the name comes back as it was asked for, hidden options too
        char *name = strndup(pattern, pattern_len);
        assert(name);
        const char *value = config_get(c, name);
        if (value)
            each(context, name, value);
        free(name);
        return;
    }
    for (unsigned i = 0; i < c->n; i++) {
        const struct config_option *o = &options[i];
        if (o->flags & (CONFIG_HIDDEN | CONFIG_FILE_ONLY))
            continue;
        if (glob_match(pattern, pattern_len, o->name, strlen(o->name), true))
            each(context, o->name, c->values[i]->text);
        if (o->alias && glob_match(pattern, pattern_len, o->alias, strlen(o->alias), true))
            each(context, o->alias, c->values[i]->text);
    }
}

static const struct value *typed(const struct config *c, const char *name, unsigned types)
{
    const struct config_option *o = config_find_option(name);
    assert(o && (types & (1u << o->type)));
    return c->values[config_index(o)];
}

int64_t config_integer(const struct config *c, const char *name)
{
    return typed(c, name,
                 1u << CONFIG_INTEGER | 1u << CONFIG_MEMORY | 1u << CONFIG_OCTAL |
                     1u << CONFIG_BOOL | 1u << CONFIG_ENUM)
        ->number;
}

bool config_bool(const struct config *c, const char *name)
{
    return typed(c, name, 1u << CONFIG_BOOL)->number;
}

bool config_notifies_new(const struct config *c)
{
    return typed(c, "notify-keyspace-events", 1u << CONFIG_STRING)->number;
}

const char *config_string(const struct config *c, const char *name)
{
    return typed(c, name, 1u << CONFIG_STRING | 1u << CONFIG_ENUM)->text;
}

unsigned config_list(const struct config *c, const char *name, const char *const **words)
{
    const struct value *v = typed(c, name, 1u << CONFIG_LIST);
    *words = v->words;
    return v->n_words;
}

unsigned config_multi(const struct config *c, const char *name, unsigned i,
                      const char *const **words)
{
    const struct value *v = typed(c, name, 1u << CONFIG_MULTI);
    if (i >= v->n_lines)
        return 0;
    *words = v->words + v->line_start[i];
    return v->line_start[i + 1] - v->line_start[i];
}

const char *config_user_place(const struct config *c, unsigned i)
{
    return i < c->n_user_places ? c->user_places[i] : "configuration";
}

bool config_percent_or_memory(const struct config *c, const char *name, uint64_t total,
                              uint64_t *bytes)
{
    int64_t n = typed(c, name, 1u << CONFIG_PERCENT_OR_MEMORY)->number;
    *bytes = n >= 0 ? (uint64_t)n : (uint64_t)((unsigned __int128)total * (uint64_t)-n / 100);
    return n != 0;
}

struct config_output_limit config_output_limit(const struct config *c, const char *client_class)
{
    struct config_output_limit limit = {0};
    const char *const *words;
    const char *name = strcmp(client_class, "replica") ? client_class : "slave";
    for (unsigned i = 0; config_multi(c, "client-output-buffer-limit", i, &words); i++) {
        if (strcmp(words[0], name))
            continue;
        limit.hard = strtoull(words[1], NULL, 10);
        limit.soft = strtoull(words[2], NULL, 10);
        limit.soft_seconds = (unsigned)strtoul(words[3], NULL, 10);
        return limit;
    }
    assert(!"a client class that exists");
    return limit;
}

const char *config_path(const struct config *c)
{
    return c->path;
}
