// A key that ZUNION, ZINTER and ZDIFF read: a sorted set, or a set, whose members all score 1. For
// the zsets' files only.
#pragma once

#include "dataplane/commands/zsets_value.h"

struct source {
    struct store *store;
    enum object_type type;
    enum object_encoding encoding;
    void *object; // NULL: there is nothing
    uint64_t count;
    double weight;
    int index; // as named
};

// False: memory is not the reason, the type is wrong; nothing is answered.
bool source_open(struct store *s, const struct entry *e, struct source *source);
bool source_find(const struct source *source, const uint8_t *name, size_t len, double *score);

struct source_walk {
    const struct source *source;
    struct sorted_at at;
    struct members_iterator members;
    const uint8_t *p;
    uint32_t i;
    char scratch[24];
    struct sorted_item item; // the present one
};
struct source_walk source_begin(const struct source *source);
bool source_next(struct source_walk *w); // false: there are no more
