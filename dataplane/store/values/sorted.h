// Sorted sets of either encoding, by the same calls: what commands, GEO, SORT and DUMP use. A small
// one is a listpack (member, score, member, score … in order), a big one a struct zset.
//
// A `struct sorted` is a hand on one: a changer copies `object` and `encoding` to the edit
// (object.h) afterwards, or puts it under a key with store_put_object. All ranges come down to
// ranks, counted from 0 at the lowest score.
#pragma once

#include "dataplane/store/object.h"
#include "dataplane/store/values/zset.h"

struct sorted {
    struct store *store;
    enum object_encoding encoding; // ENC_LISTPACK or ENC_SKIPLIST
    void *object;                  // NULL: memory was short (sorted_new, sorted_new_big)
};

// Where a listpack becomes a struct zset: zset-max-listpack-entries, zset-max-listpack-value.
struct sorted_limits {
    uint64_t entries, value;
};

struct sorted sorted_new(struct store *s); // empty, a listpack
struct sorted sorted_new_big(struct store *s);
struct sorted sorted_of(struct store *s, const struct entry *e); // of a key of type OBJ_ZSET
void sorted_free(struct sorted *z);
uint64_t sorted_count(const struct sorted *z);
bool sorted_score(const struct sorted *z, const void *name, size_t len, double *score);
int64_t sorted_rank(const struct sorted *z, const void *name, size_t len); // -1: not there

enum sorted_flags { // those of ZADD
    SORTED_NX = 1u << 0,
    SORTED_XX = 1u << 1,
    SORTED_GT = 1u << 2,
    SORTED_LT = 1u << 3,
    SORTED_INCR = 1u << 4,
};
enum sorted_result {
    SORTED_REFUSED, // a flag forbade it
    SORTED_SAME,    // it is there with that score
    SORTED_ADDED,
    SORTED_UPDATED,
    SORTED_NAN,   // infinity less infinity; nothing changed
    SORTED_SHORT, // memory is short; nothing changed
};
// `*score` is the score (no NaN), or the increment, and becomes the member's score. A listpack that
// gets too big for the limits is converted.
enum sorted_result sorted_add(struct sorted *z, struct sorted_limits limits, const void *name,
                              size_t len, double *score, unsigned flags);
bool sorted_remove(struct sorted *z, const void *name, size_t len); // false: it was not there
// Takes out up to n members from a rank on. Returns their number.
uint64_t sorted_remove_range(struct sorted *z, uint64_t rank, uint64_t n);
// False: memory is short, nothing changed.
bool sorted_convert(struct sorted *z, enum object_encoding encoding);
// Makes a struct zset that is within the limits a listpack. False: memory is short; it stays.
bool sorted_compact(struct sorted *z, struct sorted_limits limits);

// A member and its score where they lie; valid until the next change. `scratch` holds the digits of
// a name that is stored as an integer.
struct sorted_item {
    const uint8_t *ptr;
    size_t len;
    double score;
};
// A place; `there` is false beyond either end.
struct sorted_at {
    bool there;
    const uint8_t *lp, *p;
    struct btree_at at;
};
struct sorted_at sorted_at_rank(const struct sorted *z, uint64_t rank);
bool sorted_next(struct sorted_at *at); // false: beyond the end now
bool sorted_prev(struct sorted_at *at);
struct sorted_item sorted_item(const struct sorted_at *at, char scratch[24]);

// Ranks from `first` on, `n` of them.
struct sorted_ranks {
    uint64_t first, n;
};
struct score_range {
    double min, max;
    bool min_exclusive, max_exclusive;
};
struct lex_bound {
    enum { LEX_LOWEST, LEX_HIGHEST, LEX_INCLUSIVE, LEX_EXCLUSIVE } kind;
    const uint8_t *ptr;
    size_t len;
};
struct lex_range {
    struct lex_bound min, max;
};
struct sorted_ranks sorted_by_score(const struct sorted *z, const struct score_range *range);
// All members are meant to have the same score. `backwards`: from the highest member on, which only
// makes a difference where they have not.
struct sorted_ranks sorted_by_lex(const struct sorted *z, const struct lex_range *range,
                                  bool backwards);
