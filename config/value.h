// Values of options: immutable and counted, so that copies of a configuration share them. Internal
// to config.
#pragma once

#include "config/config.h"
#include "config/words.h"

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

struct value *value_hold(struct value *v);
void value_drop(struct value *v);
// Reads `n` words as the value of `o`. `old` is the present value (what accumulates builds on it),
// NULL for the default. NULL and a message in Redis's words when they are no value of it.
struct value *value_parse(const struct config_option *o, const struct value *old,
                          char *const *words, unsigned n, enum value_source source, char *error,
                          size_t error_size);
// Bytes with redis.conf's units. False when it is none. Overflow saturates at INT64_MAX.
bool value_parse_memory(const char *text, int64_t *bytes);
bool value_parse_integer(const char *text, int64_t *number);
bool value_equal(const struct value *a, const struct value *b);
