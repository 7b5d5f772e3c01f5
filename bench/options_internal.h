// What options.c (reading the command line), options_values.c (what stands behind an option) and
// options_check.c (what may stand beside what) share.
#pragma once

#include "bench/options.h"

// What was said, where that differs from what holds by default.
struct options_said {
    bool threads, requests, duration, database, ratio, tests, pipeline, arrivals;
};

// Looks at the whole and resolves the server's name. False with one line in `error`.
bool options_check(struct options *o, const struct options_said *said, char *error,
                   size_t error_size);

// False: the text is no such value, or out of bounds.
bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *value);
// "250000", "250k", "1.5m": how many; `end` is set behind it.
bool parse_amount(const char *text, char **end, double *value);
bool parse_count(const char *text, uint64_t min, uint64_t max, uint64_t *value);
bool parse_seconds(const char *text, double min, double *value);
bool parse_rate(struct options *o, const char *text);
bool parse_tests(struct options *o, const char *list);
bool parse_cpus(struct options *o, const char *list);
bool parse_ratio(struct options *o, const char *text);
bool parse_theta(struct options *o, const char *text);
bool parse_distribution(struct options *o, const char *text);
// One of some words, by its index.
bool parse_word(const char *text, const char *const *words, unsigned *index);
