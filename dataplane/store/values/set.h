// A set in any of its encodings, for all who add to sets, take from them or walk over them: the
// commands of sets, SORT, DUMP. A `struct set` is what an entry of type OBJ_SET holds (encoding and
// object); a change may replace both, so a changer takes them from `struct edit` and puts them
// back.
//
// Encodings are Redis 7.0's: integers only, and not too many of them: intset; else hashtable. Where
// set-max-listpack-entries is above 0, small sets of strings are listpacks, as in Redis 7.2.
#pragma once

#include "dataplane/store/members.h"
#include "dataplane/store/object.h"

struct set {
    enum object_encoding encoding;
    void *object;
};

struct set_limits { // the directives of these names
    uint64_t intset_entries, listpack_entries, listpack_value;
};

// A member where it lies: `len` bytes at `ptr`, or an integer when ptr is NULL. Valid until the
// next change of the set.
struct set_item {
    const uint8_t *ptr;
    size_t len;
    int64_t value;
    void *at; // its place, for set_take
};

enum set_result { SET_NO_MEMORY = -1, SET_SAME, SET_CHANGED };

static inline struct set set_of(const struct entry *e)
{
    return (struct set){.encoding = entry_encoding(e), .object = entry_object(e)};
}

// An empty set of the encoding that suits a first member and about so many in all. False: memory is
// short.
bool set_new(struct set *set, const struct set_limits *limits, const void *first, size_t len,
             uint64_t expected);
// An empty set that takes integers until something else comes.
bool set_new_intset(struct set *set);
void set_free(struct set *set);
uint64_t set_count(const struct set *set);
bool set_has(const struct store *s, const struct set *set, const void *data, size_t len);
bool set_has_item(const struct store *s, const struct set *set, const struct set_item *item);
enum set_result set_add(struct store *s, struct set *set, const struct set_limits *limits,
                        const void *data, size_t len);
// An item of another set.
enum set_result set_add_item(struct store *s, struct set *set, const struct set_limits *limits,
                             const struct set_item *item);
// About so many members more are to come: a set that would change its encoding does so at once.
void set_expect(struct store *s, struct set *set, const struct set_limits *limits, uint64_t more);
enum set_result set_remove(struct store *s, struct set *set, const void *data, size_t len);
// Removes an item that the set gave just now.
enum set_result set_take(struct store *s, struct set *set, const struct set_item *item);
// Each member alike; the set is not empty.
struct set_item set_random(struct store *s, const struct set *set);

// Walks over all; the set must not be changed meanwhile. Integers of an intset come in order.
struct set_iterator {
    struct set set;
    struct members_iterator members;
    uint8_t *next; // listpack
    uint32_t index, count;
};
struct set_iterator set_begin(const struct set *set);
bool set_next(struct set_iterator *it, struct set_item *item); // false: the end

// The bytes of an item; those of an integer are printed to `scratch`.
const uint8_t *set_item_text(const struct set_item *item, char scratch[24], size_t *len);
