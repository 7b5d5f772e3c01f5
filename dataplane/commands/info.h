// INFO between its two files: info.c gathers the figures of all cores, info_sections.c writes the
// text.
#pragma once

#include "dataplane/commands/command.h"
#include "dataplane/pubsub/channels.h"

// Error prefixes that are told apart; Redis stops counting new ones at the same number.
#define INFO_ERRORS_MAX 128
#define INFO_PREFIX_MAX 32

struct info_error {
    char prefix[INFO_PREFIX_MAX];
    uint64_t count;
};

// What one core wrote, before its commands and errors.
struct info_part {
    struct core_figures figures;
    double ops, in_kbps, out_kbps;
    uint64_t n_commands, n_errors;
    uint64_t n_channels[CHANNEL_KINDS];
};

struct info {
    struct request *r;
    struct server_figures server;
    struct info_part sum;             // over all cores; `max_` figures are the greatest
    struct command_figures *commands; // by id
    struct info_error errors[INFO_ERRORS_MAX];
    unsigned n_errors;
    uint64_t channels[CHANNEL_KINDS]; // each once, wherever its subscribers are
};

// What stands behind the part, its commands and its errors: histograms of commands, where they are
// asked for.
const uint8_t *info_histograms(const struct request *r, unsigned i, size_t *len);
// The part of core `i`; false when that core was short of memory.
bool info_part_of(const struct request *r, unsigned i, struct info_part *part);
// Where memory goes, as INFO and MEMORY tell it.
struct info_memory {
    uint64_t used;     // used_memory: all that is held for serving, which maxmemory bounds
    uint64_t startup;  // of it, what was there when the server had started
    uint64_t dataset;  // entries and values, those that wait to be freed included
    uint64_t overhead; // all the rest, tables of keys included
    uint64_t keys;
};
struct info_memory info_memory_of(const struct request *r, const struct core_figures *sum);
// Bytes that the allocator has from the system and that are there (`resident` of them at most).
uint64_t info_allocator_active(uint64_t resident);
// The value of an option as text, "" when there is none.
#define INFO_OPTION_MAX 256
const char *info_option(const struct request *r, const char *name, char text[INFO_OPTION_MAX]);
// Sums what all cores wrote. Returns false when memory is short. `info_clear` frees it.
bool info_gather(struct request *r, struct info *info);
void info_clear(struct info *info);

// Whether a section is asked for.
bool info_asks(const struct request *r, const char *section);
// Writes the sections that the arguments name.
void info_write(struct info *info, struct out *o);
