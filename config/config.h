// The configuration: one table of options, redis.conf's syntax, and values that can change while
// the server runs. A `struct config` holds one value per option; it is plain data without locks.
// Who shares one between threads publishes copies (`config_copy`) and never changes a published
// one.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_BIND_MAX 16  // addresses in `bind`, as in Redis
#define CONFIG_CORES_MAX 64 // polling cores; the segment of the planes has room for so many

struct config;

enum config_type {
    CONFIG_BOOL,    // yes | no
    CONFIG_INTEGER, // decimal
    CONFIG_MEMORY,  // bytes, with b k kb m mb g gb as redis.conf takes them
    CONFIG_PERCENT_OR_MEMORY,
    CONFIG_STRING,
    CONFIG_ENUM,
    CONFIG_LIST,  // several words on one line (bind, save, nic-device …)
    CONFIG_MULTI, // a line that may stand several times (user, rename-command,
                  // client-output-buffer-limit …)
    CONFIG_OCTAL, // unixsocketperm
};

enum config_flags {
    CONFIG_RUNTIME = 1u << 0,   // CONFIG SET may change it
    CONFIG_PROTECTED = 1u << 1, // CONFIG SET asks enable-protected-configs
    CONFIG_SENSITIVE = 1u << 2, // never logged
    CONFIG_OURS = 1u << 3,      // not Redis's
    CONFIG_INERT = 1u << 4,     // accepted and kept; has no meaning here (the help says why)
    CONFIG_LATER = 1u << 5,     // accepted and kept; the part that uses it is not built yet
    CONFIG_HIDDEN = 1u << 6,    // not shown by CONFIG GET * (as Redis hides some)
    CONFIG_FILE_ONLY = 1u << 7, // for files and command lines; CONFIG GET and SET do not know it
};

struct config_option {
    const char *name, *alias; // alias: "slave-priority" of "replica-priority"
    enum config_type type;
    const char *initial;      // default as text
    int64_t min, max;         // CONFIG_INTEGER, CONFIG_MEMORY
    const char *const *words; // CONFIG_ENUM; ends with NULL
    uint32_t flags;
    const char *help;  // one line
    const char *topic; // heading that it belongs under
};

const struct config_option *config_options(unsigned *n);
const struct config_option *config_find_option(const char *name);

struct config *config_new(void); // all defaults
struct config *config_copy(const struct config *c);
void config_free(struct config *c);

// Reads a file ("-": standard input), with `include` (globs). Returns 0, or -1 with one line
// "FILE:LINE: …" in `error`.
int config_load_file(struct config *c, const char *path, char *error, size_t error_size);
int config_load_text(struct config *c, const char *text, const char *name, char *error,
                     size_t error_size);
// Takes redis-server's command line: `[FILE] [--name value …] [-]`. argv without the program's
// name. Words up to the next one that starts with "--" are values of one option.
int config_load_arguments(struct config *c, int argc, char **argv, char *error, size_t error_size);
// Checks what no single option can: combinations that make no sense together.
int config_validate(const struct config *c, char *error, size_t error_size);

// Sets one option from text as CONFIG SET does (several words split at single spaces). Errors are
// worded as Redis words them behind "CONFIG SET failed (possibly related to argument 'NAME') - ".
// What is CONFIG_PROTECTED is refused when enable-protected-configs is `no`; whether `local` covers
// the client is the caller's to ask, who knows where it is.
int config_set(struct config *c, const char *name, const char *value, size_t value_len, char *error,
               size_t error_size);
// Gives a CONFIG_MULTI option these lines in the place of those it has: line i begins at
// words[line_start[i]], and line_start[n_lines] is the number of words.
void config_set_lines(struct config *c, const char *name, const char *const *words,
                      const unsigned *line_start, unsigned n_lines);
// The value as CONFIG GET shows it; valid until the config changes or is freed. NULL: no such
// option.
const char *config_get(const struct config *c, const char *name);
// Calls `each` for all options that match one glob pattern, aliases too, in the table's order.
void config_match(const struct config *c, const char *pattern, size_t pattern_len,
                  void (*each)(void *context, const char *name, const char *value), void *context);
// Typed reading. The name must exist and have that type (assert). Cheap enough for once a turn? No:
// a string look-up; readers keep what they need in fields of their own and refresh on change.
int64_t config_integer(const struct config *c,
                       const char *name); // INTEGER MEMORY OCTAL BOOL, index of ENUM
bool config_bool(const struct config *c, const char *name);
const char *config_string(const struct config *c, const char *name);
unsigned config_list(const struct config *c, const char *name, const char *const **words);
// Words of line `i` of a CONFIG_MULTI option; 0 past the last.
unsigned config_multi(const struct config *c, const char *name, unsigned i,
                      const char *const **words);
// Where the i-th `user` line stands, for people: "FILE:LINE". Not known of copies.
const char *config_user_place(const struct config *c, unsigned i);
bool config_percent_or_memory(const struct config *c, const char *name, uint64_t total,
                              uint64_t *bytes);
// notify-keyspace-events asks for new keys (`n`): beside `A` its text does not say so, as in Redis.
bool config_notifies_new(const struct config *c);
// Output limits of a client class ("normal", "replica", "pubsub").
struct config_output_limit {
    uint64_t hard, soft;
    unsigned soft_seconds;
};
struct config_output_limit config_output_limit(const struct config *c, const char *client_class);

// CPUs of the polling cores, in the order of `cores`. Returns how many; 0 for `auto` (one core, not
// pinned). The value must have passed config_validate (assert). `cpus` holds CONFIG_CORES_MAX.
unsigned config_cores(const struct config *c, int *cpus);
// Calls `each` with one line for everything that is given and has no effect, or probably a slip:
// for the log at start.
void config_warn(const struct config *c, void (*each)(void *context, const char *line),
                 void *context);

// Path of the file that was loaded, NULL without one; absolute.
const char *config_path(const struct config *c);
// Writes the present values back to the file, keeping its comments, order and includes, as CONFIG
// REWRITE does (temporary file, fsync, rename). May block: not on a polling core. 0 or -1 with
// `error`.
int config_rewrite(const struct config *c, char *error, size_t error_size);
