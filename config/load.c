// Reading files and command lines in redis.conf's syntax.
#include "config/internal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    INCLUDE_DEPTH_MAX = 16,   // deeper is a file that includes itself
    FILE_SIZE_MAX = 16 << 20, // a configuration is read whole; more is a mistaken path
};

struct source {
    const char *name;
    unsigned depth;
    bool arguments; // a command line: options carry "--" and lines have no numbers
};

static int fail_line(const struct source *s, unsigned line, const char *name, const char *what,
                     char *error, size_t error_size)
{
    if (s->arguments) // a word that was no option has its own dash
        snprintf(error, error_size, "command line: '%s%s' %s", *name == '-' ? "" : "--", name,
                 what);
    else if (line)
        snprintf(error, error_size, "%s:%u: '%s' %s", s->name, line, name, what);
    else
        snprintf(error, error_size, "%s: %s", s->name, what);
    // One line, whatever bytes the value has.
    for (char *p = error; *p; p++) {
        if (iscntrl((unsigned char)*p))
            *p = '?';
    }
    return -1;
}

static int fail_unknown(const struct source *s, unsigned line, const char *name, char *error,
                        size_t error_size)
{
    char what[160];
    const char *near = config_suggest(name);
    const char *dashes = s->arguments ? "--" : "";
    if (near)
        snprintf(what, sizeof(what), "is no option; did you mean '%s%s'?", dashes, near);
    else
        snprintf(what, sizeof(what), "is no option; pollux.conf(5) lists them all");
    return fail_line(s, line, name, what, error, error_size);
}

// What to write instead, from the type.
static void describe_type(const struct config_option *o, char *hint, size_t size)
{
    switch (o->type) {
    case CONFIG_BOOL:
        snprintf(hint, size, "write '%s yes' or '%s no'", o->name, o->name);
        break;
    case CONFIG_INTEGER:
        snprintf(hint, size, "write a whole number, as '%s %s'", o->name, o->initial);
        break;
    case CONFIG_MEMORY:
        snprintf(hint, size, "write bytes, or a number with kb, mb or gb, as '%s 100mb'", o->name);
        break;
    case CONFIG_PERCENT_OR_MEMORY:
        snprintf(hint, size,
                 "write bytes, a number with kb, mb or gb, or a percentage, as '%s 5%%'", o->name);
        break;
    case CONFIG_OCTAL:
        snprintf(hint, size, "write three octal digits, as '%s 700'", o->name);
        break;
    case CONFIG_STRING:
        snprintf(hint, size, "write one word, in quotes if it has blanks");
        break;
    default:
        snprintf(hint, size, "see '%s' in pollux.conf(5)", o->name);
    }
}

static int load_text(struct config *c, const char *text, const struct source *s, char *error,
                     size_t error_size);

static char *read_stream(FILE *f, const char *name, char *error, size_t error_size)
{
    size_t size = 0, room = 4096;
    char *text = malloc(room);
    assert(text);
    for (;;) {
        size += fread(text + size, 1, room - size - 1, f);
        if (size < room - 1)
            break;
        room *= 2;
        if (room > FILE_SIZE_MAX) {
            snprintf(error, error_size,
                     "%s: is larger than 16 MiB; give the path of a configuration file", name);
            free(text);
            return NULL;
        }
        char *larger = realloc(text, room);
        assert(larger);
        text = larger;
    }
    if (ferror(f)) {
        snprintf(error, error_size, "%s: cannot be read: %s", name, strerror(errno));
        free(text);
        return NULL;
    }
    if (memchr(text, 0, size)) {
        snprintf(error, error_size, "%s: holds a NUL byte; give the path of a text file", name);
        free(text);
        return NULL;
    }
    text[size] = 0;
    return text;
}

static int load_path(struct config *c, const char *path, unsigned depth, char *error,
                     size_t error_size)
{
    bool standard_input = !strcmp(path, "-");
    struct source s = {.name = standard_input ? "standard input" : path, .depth = depth};
    FILE *f = standard_input ? stdin : fopen(path, "re");
    if (!f) {
        snprintf(error, error_size, "%s: cannot be opened: %s; check the path and its rights", path,
                 strerror(errno));
        return -1;
    }
    char *text = read_stream(f, s.name, error, error_size);
    if (!standard_input)
        fclose(f);
    if (!text)
        return -1;
    int result = load_text(c, text, &s, error, error_size);
    free(text);
    return result;
}

static int load_include(struct config *c, const struct words *w, const struct source *s,
                        unsigned line, char *error, size_t error_size)
{
    char what[512];
    if (w->n != 2)
        return fail_line(s, line, w->at[0], "takes one path; put it in quotes if it has blanks",
                         error, error_size);
    if (s->depth + 1 >= INCLUDE_DEPTH_MAX)
        return fail_line(s, line, w->at[0],
                         "is nested too deep; see whether a file includes itself", error,
                         error_size);
    if (!strpbrk(w->at[1], "*?[")) {
        if (access(w->at[1], R_OK) == 0)
            return load_path(c, w->at[1], s->depth + 1, error, error_size);
        snprintf(what, sizeof(what), "cannot open '%.300s': %s; check the path and its rights",
                 w->at[1], strerror(errno));
        return fail_line(s, line, w->at[0], what, error, error_size);
    }
    glob_t found = {0};
    int result = 0;
    // No match is no error: a folder of additions may be empty.
    if (glob(w->at[1], 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && result == 0; i++)
            result = load_path(c, found.gl_pathv[i], s->depth + 1, error, error_size);
    }
    globfree(&found);
    return result;
}

// A `user` line is understood by others, who say where it stands.
static void note_user(struct config *c, const struct source *s, unsigned line)
{
    char **places = realloc(c->user_places, (c->n_user_places + 1) * sizeof(*places));
    assert(places);
    c->user_places = places;
    char **place = &places[c->n_user_places++];
    int n =
        s->arguments ? asprintf(place, "command line") : asprintf(place, "%s:%u", s->name, line);
    assert(n > 0);
    (void)n;
}

static int load_line(struct config *c, const struct words *w, const struct source *s, unsigned line,
                     char *error, size_t error_size)
{
    char why[256], hint[160], what[640];
    const struct config_option *o = config_find_option(w->at[0]);
    if (!o)
        return fail_unknown(s, line, w->at[0], error, error_size);
    if (!strcmp(o->name, "include"))
        return load_include(c, w, s, line, error, error_size);
    if (w->n > 1) {
        if (config_assign(c, o, w->at + 1, w->n - 1, VALUE_FILE, why, sizeof(why)) == 0) {
            if (!strcmp(o->name, "user"))
                note_user(c, s, line);
            return 0;
        }
    } else {
        snprintf(why, sizeof(why), "wrong number of arguments");
    }
    describe_type(o, hint, sizeof(hint));
    if (w->n == 2 && o->type == CONFIG_STRING && !(o->flags & CONFIG_SENSITIVE))
        snprintf(what, sizeof(what), "cannot be '%.80s': %s", w->at[1], why); // a word it is
    else if (w->n == 2 && o->type != CONFIG_MULTI && !(o->flags & CONFIG_SENSITIVE))
        snprintf(what, sizeof(what), "cannot be '%.80s': %s; %s", w->at[1], why, hint);
    else
        snprintf(what, sizeof(what), "%s; %s", why, hint);
    return fail_line(s, line, w->at[0], what, error, error_size);
}

static int load_unsplit(const struct source *s, unsigned line, const char *start,
                        enum words_result why, char *error, size_t error_size)
{
    enum { NAME_SHOWN_MAX = 60 };
    char name[NAME_SHOWN_MAX + 1];
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(start, " \t\n"), start);
    return fail_line(s, line, name,
                     why == WORDS_NUL ? "has a NUL byte, which no value can hold"
                                      : "has a quote that is not closed, or text right behind a "
                                        "closing quote",
                     error, error_size);
}

static int load_text(struct config *c, const char *text, const struct source *s, char *error,
                     size_t error_size)
{
    unsigned line = 0;
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, "\n");
        const char *start = p + strspn(p, " \t\r");
        struct words w = {0};
        int result = 0;
        line++;
        if (*start != '#' && start < p + len) {
            enum words_result split = words_split_line(p, len, &w);
            if (split != WORDS_OK)
                result = load_unsplit(s, line, start, split, error, error_size);
            else if (w.n)
                result = load_line(c, &w, s, line, error, error_size);
            words_free(&w);
        }
        if (result)
            return result;
        p += len;
        p += *p == '\n';
    }
    return 0;
}

int config_load_text(struct config *c, const char *text, const char *name, char *error,
                     size_t error_size)
{
    struct source s = {.name = name};
    return load_text(c, text, &s, error, error_size);
}

int config_load_file(struct config *c, const char *path, char *error, size_t error_size)
{
    if (load_path(c, path, 0, error, error_size))
        return -1;
    if (strcmp(path, "-")) {
        free(c->path);
        c->path = realpath(path, NULL);
    }
    return 0;
}

static void append(char **text, const char *more)
{
    size_t old = *text ? strlen(*text) : 0, len = strlen(more);
    *text = realloc(*text, old + len + 1);
    assert(*text);
    memcpy(*text + old, more, len + 1);
}

// Turns "--name value …" into the lines that they stand for. A word behind a lone name is its
// value, even one that starts with "--"; `--save` alone is `save ""`. `*standard_input` tells of a
// "-" at either end.
static char *arguments_as_text(int argc, char **argv, int first, bool *standard_input)
{
    char *text = NULL;
    bool has_value = true; // the option at hand has a value already
    append(&text, "");
    for (int i = first; i < argc; i++) {
        const char *word = argv[i];
        bool last = i == argc - 1;
        if (!strcmp(word, "-") && (i == 0 || last)) {
            *standard_input = true;
        } else if (has_value && !strncmp(word, "--", 2)) {
            struct words w;
            bool name_only = words_split_line(word, strlen(word), &w) == WORDS_OK && w.n == 1;
            words_free(&w);
            if (*text)
                append(&text, "\n");
            append(&text, word + 2);
            append(&text, " ");
            has_value = !name_only;
            if (name_only && !strcasecmp(word, "--save") &&
                (last || !strncmp(argv[i + 1], "--", 2))) {
                append(&text, "\"\"");
                has_value = true;
            }
        } else {
            char *quoted = words_quote(word, true);
            append(&text, quoted);
            append(&text, " ");
            free(quoted);
            has_value = true;
        }
    }
    return text;
}

int config_load_arguments(struct config *c, int argc, char **argv, char *error, size_t error_size)
{
    bool has_file = argc > 0 && argv[0][0] != '-', standard_input = false;
    struct source s = {.name = "command line", .arguments = true};
    char *text = arguments_as_text(argc, argv, has_file, &standard_input);
    int result = has_file ? config_load_file(c, argv[0], error, error_size) : 0;
    if (result == 0 && standard_input)
        result = config_load_file(c, "-", error, error_size);
    if (result == 0)
        result = load_text(c, text, &s, error, error_size);
    free(text);
    return result;
}
