// Values of options: immutable and counted, so that copies of a configuration share them. Internal
// to config.
#pragma once

#include "common/words.h"
#include "config/config.h"

#include <stdatomic.h>

struct value {
    atomic_uint references;
    unsigned n_words, n_lines;
    int64_t number;             // numbers, BOOL, index of ENUM; a percentage is kept negative
    const char *text;           // as CONFIG GET shows it
    const char **words;         // LIST; MULTI: of all lines, one after the other
    const unsigned *line_start; // MULTI: n_lines + 1 indices into `words`
};

enum value_source {
    VALUE_INITIAL,
    VALUE_FILE,       // a line of a file or the command line
    VALUE_FILE_FIRST, // the first such line of this option: what accumulates starts anew
    VALUE_SET,        // CONFIG SET
};

// One attempt to read a value.
struct parse {
    const struct config_option *option;
    const struct value
        *old; // present value, on which accumulating options build; NULL for the default
    char *const *words;
    unsigned n;
    enum value_source source;
    char *error; // message in Redis's words, without the option's name
    size_t error_size;
};

// NULL with `p->error` when the words are no value of the option.
struct value *value_parse(const struct parse *p);
// Options with rules of their own (special.c). NULL: this one has none.
typedef struct value *value_parser(const struct parse *p);
value_parser *value_find_special(const char *name);

struct value *value_hold(struct value *v);
void value_drop(struct value *v);
bool value_equal(const struct value *a, const struct value *b);

struct value *value_new_scalar(const char *text, int64_t number);
struct value *value_new_list(const char *const *words, unsigned n);
struct value *value_new_lines(const char *text, const char *const *words,
                              const unsigned *line_start, unsigned n_lines);
// Reads one word by the option's type alone.
struct value *value_parse_scalar(const struct parse *p, const char *word);
// MULTI: the words as one more line behind those there are.
struct value *value_append_line(const struct parse *p);
// Words of a list; `name ""` is the empty one.
unsigned value_list_length(const struct parse *p);
// Index among the option's words, -1 when it is none of them.
int value_find_word(const struct config_option *o, const char *word);
struct value *value_fail_words(const struct parse *p);
struct value *value_fail(const struct parse *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Bytes with redis.conf's units. -1 when they are more than an int64_t holds. False when it is no
// such value.
bool value_parse_memory(const char *text, int64_t *bytes);
// Digits and a minus, nothing else: no plus, no blanks, no leading zeros.
bool value_parse_integer(const char *text, int64_t *number);
