// A user as the files of this room see it.
#pragma once

#include "dataplane/access/access.h"

#define COMMAND_WORDS ((ACCESS_COMMANDS_MAX + 1) / 64)

// A short list of texts, each with a number that means something to its list.
struct text {
    char *ptr; // mimalloc, ends with a NUL byte
    size_t len;
    unsigned mark;
};
struct texts {
    struct text *at;
    unsigned n, room;
};

struct selector {
    uint64_t allowed[COMMAND_WORDS];
    bool all_commands; // nothing was taken from +@all
    bool all_keys, all_channels;
    struct texts keys;     // patterns; mark: ACCESS_READ and ACCESS_WRITE
    struct texts channels; // patterns
    struct texts first;    // first arguments that are allowed where the command is not; mark: which
};

struct access_user {
    _Atomic unsigned references;
    uint64_t identity;
    char *name;
    size_t name_len;
    bool enabled, nopass, sanitize, skip_sanitize, unlimited;
    struct texts passwords; // their hashes
    unsigned n_selectors;   // at least the first one, the root
    struct selector **selectors;
};

#define KEY_ANY (ACCESS_READ | ACCESS_WRITE)

static inline bool selector_bit(const struct selector *s, unsigned command)
{
    return s->allowed[command / 64] >> (command % 64) & 1;
}

// --- texts.c. Adding is false when memory is short.
bool texts_add(struct texts *t, const void *ptr, size_t len, unsigned mark);
int texts_find(const struct texts *t, const void *ptr, size_t len); // -1: it is not there
void texts_remove(struct texts *t, unsigned i);
void texts_clear(struct texts *t);
bool texts_copy(struct texts *to, const struct texts *from);

// --- user.c
struct selector *selector_new(bool all_channels);
void selector_free(struct selector *s);
bool user_add_selector(struct access_user *u, struct selector *s);
// The ones behind the root.
void user_clear_selectors(struct access_user *u);

// --- rules.c
void selector_set_all(struct selector *s, bool allow);
void selector_set_category(struct selector *s, const struct access_table *t, unsigned category,
                           bool allow);
void selector_set_command(struct selector *s, const struct access_table *t, unsigned command,
                          bool allow);
