// Shorthand for the rows of command tables.
#pragma once

#include "dataplane/commands/command.h"

// A key specification's place: from argument `first` to `last` (0: only the first, -1: the last
// argument, otherwise counted from the first), every `step`.
#define KEYS_FROM(first, last, step)                                                      \
    .begin = BEGIN_INDEX, .begin_index = (first), .find = FIND_RANGE, .last_key = (last), \
    .key_step = (step)

// A list of texts, ended by NULL.
#define TEXTS(...)        \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }

#define DOC(...)                \
    &(const struct command_doc) \
    {                           \
        __VA_ARGS__             \
    }

#define DOC_ARGS(...)        \
    (const struct doc_arg[]) \
    {                        \
        __VA_ARGS__,         \
        {                    \
            .name = NULL     \
        }                    \
    }

#define ARG_KEY                        \
    {                                  \
        .name = "key", .type = DOC_KEY \
    }
#define ARG_KEYS                                              \
    {                                                         \
        .name = "key", .type = DOC_KEY, .flags = DOC_MULTIPLE \
    }
#define ARG_VALUE                           \
    {                                       \
        .name = "value", .type = DOC_STRING \
    }
#define ARG_CONDITIONS                                                                   \
    {                                                                                    \
        .name = "condition", .type = DOC_ONEOF, .flags = DOC_OPTIONAL, .since = "7.0.0", \
        .args = DOC_ARGS({.name = "nx", .type = DOC_PURE_TOKEN, .token = "NX"},          \
                         {.name = "xx", .type = DOC_PURE_TOKEN, .token = "XX"},          \
                         {.name = "gt", .type = DOC_PURE_TOKEN, .token = "GT"},          \
                         {.name = "lt", .type = DOC_PURE_TOKEN, .token = "LT"})          \
    }
