// What commands that name fields behind FIELDS share.
#pragma once

#include "dataplane/commands/hashes_value.h"

// As Redis has it: the farthest time of a field, Unix ms.
#define FIELD_EXPIRY_MAX ((INT64_C(1) << 46) - 1)

struct field_args {
    int first, n; // of the arguments
};
// FIELDS, the number of fields, and as many arguments, up to the end. Answers otherwise, with
// `not_positive` where that is no number of fields.
bool hash_parse_fields(struct request *r, int at, const char *not_positive,
                       struct field_args *fields);
// The number, of fields with `per_field` arguments each.
bool hash_parse_count(struct request *r, int at, int per_field, const char *not_positive,
                      struct field_args *fields);
// The Unix time in ms that argument i means. Answers when it makes no sense.
bool hash_parse_time(struct request *r, int i, int64_t unit_ms, int64_t base_ms,
                     int64_t *expiry_ms);

// The arguments that name the fields that were changed, for the effect.
struct field_list {
    int *fields;
    int n;
    int few[8];
};
bool field_list_make(struct field_list *l, int room); // false: memory is short
static inline void field_list_add(struct field_list *l, int i)
{
    l->fields[l->n++] = i;
}
void field_list_free(struct field_list *l);

// Tells what became of these fields: HPEXPIREAT key expiry_ms FIELDS n field …, with an expiry of
// -1 HPERSIST, or with one that is over (FIELDS_GONE) HDEL key field ….
#define FIELDS_GONE INT64_MIN
void hash_effect_fields(struct request *r, int64_t expiry_ms, const struct field_list *fields);
