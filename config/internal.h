// What the files of config share.
#pragma once

#include "config/config.h"
#include "config/value.h"

struct config {
    unsigned n;
    struct value **values; // one for each row of the table
    bool *given;           // whether a file or the command line has set it
    char *path;            // absolute; NULL without a file
    char **user_places;    // where each `user` line stands; not in copies
    unsigned n_user_places;
};

// Sets option `o` from the words of a line. Returns 0, or -1 with a message that names neither
// option nor place.
int config_assign(struct config *c, const struct config_option *o, char *const *words, unsigned n,
                  enum value_source source, char *error, size_t error_size);
unsigned config_index(const struct config_option *o);
// The known name nearest to a mistyped one; NULL when none is near.
const char *config_suggest(const char *name);
// Whether the option has its default.
bool config_is_initial(const struct config *c, const struct config_option *o);
int config_parse_cores(const char *text, int *cpus, unsigned *n, char *error, size_t error_size);
// Whether the CPUs of `cores` are there and allowed.
int config_check_cores(const struct config *c, char *error, size_t error_size);
