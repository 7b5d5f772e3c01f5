// What the handlers of sorted sets share: a sorted set under a key, scores and ranges among the
// arguments, and scores in replies. For the files of sorted sets and of places only.
#pragma once

#include "dataplane/commands/command.h"
#include "dataplane/store/values/sorted.h"

#define ERR_FLOAT "ERR value is not a valid float"
#define ERR_SCORE_RANGE "ERR min or max is not a float"
#define ERR_LEX_RANGE "ERR min or max not valid string range item"

struct zkey {
    struct request *r;
    struct key key;
    struct entry *entry; // NULL: there is none
    struct sorted set;
    struct edit edit;
};
// Look up the sorted set of argument i. False: another type is there, which is answered.
bool zkey_open_read(struct request *r, int i, struct zkey *z);
bool zkey_open_write(struct request *r, int i, struct zkey *z);
// Around changes of one that is there. The end counts and announces them where there were any, and
// announces that the key is gone with its last member.
void zkey_edit(struct zkey *z);
void zkey_edit_end(struct zkey *z, uint64_t changes, const char *event);
// Puts a set (taken over) under the key of argument i, in the place of whatever is there; an empty
// one deletes the key. False: memory is short, which is answered.
bool zkey_store(struct request *r, int i, struct sorted *set, const char *event);

static inline struct sorted_limits zset_limits(const struct request *r)
{
    return (struct sorted_limits){.entries = r->limits->zset_max_listpack_entries,
                                  .value = r->limits->zset_max_listpack_value};
}

// A number as Redis reads scores and weights. Answers with `error` when it is none.
bool zset_parse_score(struct request *r, int i, double *score, const char *error);
// "1.5", "(1.5", "-inf": answers when it returns false.
bool zset_parse_score_range(struct request *r, int min, int max, struct score_range *range);
// "[a", "(a", "-", "+".
bool zset_parse_lex_range(struct request *r, int min, int max, struct lex_range *range);
// An integer of at least `least`, or `error` is answered.
bool zset_parse_at_least(struct request *r, int i, int64_t least, int64_t *value,
                         const char *error);

void zset_reply_score(struct request *r, double score);
// A member, and its score; with `nested` both as an array of their own.
void zset_reply_item(struct request *r, const struct sorted_item *item, bool score, bool nested);
