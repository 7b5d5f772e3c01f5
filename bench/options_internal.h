// What options.c (reading the command line) and options_check.c (what may stand beside what) share.
#pragma once

#include "bench/options.h"

// What was said, where that differs from what holds by default.
struct options_said {
    bool threads, requests, duration, database, ratio, tests, pipeline, arrivals;
};

// Looks at the whole and resolves the server's name. False with one line in `error`.
bool options_check(struct options *o, const struct options_said *said, char *error,
                   size_t error_size);
