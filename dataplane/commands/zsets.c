// Commands on single members of a sorted set: adding, taking out, scores, ranks.
#include <mimalloc.h>

#include "dataplane/commands/zsets_commands.h"
#include "dataplane/commands/zsets_value.h"

// --- ZADD, ZINCRBY ------------------------------------------------------------------------------

enum { SCORES_MAX = 16 }; // so many are kept on the stack

struct add {
    unsigned flags;
    bool count_changes; // CH
    int first;          // argument: the first score
    int n;              // pairs
    int64_t added, updated;
    bool refused; // of INCR
    double score; // of the last member
    double held[SCORES_MAX];
    double *scores;
};

static const struct {
    const char *word;
    unsigned flag;
} ADD_WORDS[] = {{"nx", SORTED_NX}, {"xx", SORTED_XX},     {"ch", 0},
                 {"gt", SORTED_GT}, {"incr", SORTED_INCR}, {"lt", SORTED_LT}};

static bool add_option(struct request *r, int i, struct add *a)
{
    for (unsigned w = 0; w < sizeof(ADD_WORDS) / sizeof(ADD_WORDS[0]); w++) {
        if (!request_is(r, i, ADD_WORDS[w].word))
            continue;
        a->flags |= ADD_WORDS[w].flag;
        a->count_changes |= !ADD_WORDS[w].flag;
        return true;
    }
    return false;
}

static bool add_parse_options(struct request *r, struct add *a)
{
    a->first = 2;
    while (a->first < r->argc && add_option(r, a->first, a))
        a->first++;
    unsigned flags = a->flags, words = (unsigned)(r->argc - a->first);
    const char *error = NULL;
    if (words % 2 || !words)
        error = ERR_SYNTAX;
    else if (flags & SORTED_NX && flags & SORTED_XX)
        error = "ERR XX and NX options at the same time are not compatible";
    else if (((flags & SORTED_GT) != 0) + ((flags & SORTED_LT) != 0) + ((flags & SORTED_NX) != 0) >
             1)
        error = "ERR GT, LT, and/or NX options at the same time are not compatible";
    else if (flags & SORTED_INCR && words > 2)
        error = "ERR INCR option supports a single increment-element pair";
    if (error)
        request_error(r, error);
    a->n = (int)words / 2;
    return !error;
}

static bool add_parse_scores(struct request *r, struct add *a)
{
    a->scores = a->n <= SCORES_MAX ? a->held : mi_malloc((size_t)a->n * sizeof(double));
    if (!a->scores) {
        request_error(r, ERR_OOM);
        return false;
    }
    for (int i = 0; i < a->n; i++)
        if (!zset_parse_score(r, a->first + 2 * i, &a->scores[i], ERR_FLOAT))
            return false;
    return true;
}

// Puts all pairs in. What was added before an error stays, as in Redis. Returns the error.
static const char *add_pairs(struct request *r, struct add *a, struct sorted *set)
{
    struct sorted_limits limits = zset_limits(r);
    for (int i = 0; i < a->n; i++) {
        const struct arg *name = &r->argv[a->first + 2 * i + 1];
        a->score = a->scores[i];
        switch (sorted_add(set, limits, name->ptr, name->len, &a->score, a->flags)) {
        case SORTED_REFUSED:
            a->refused = true;
            break;
        case SORTED_SAME:
            break;
        case SORTED_ADDED:
            a->added++;
            break;
        case SORTED_UPDATED:
            a->updated++;
            break;
        case SORTED_NAN:
            return "ERR resulting score is not a number (NaN)";
        case SORTED_SHORT:
            return ERR_OOM;
        }
    }
    return NULL;
}

// Returns the error.
static const char *add_to_key(struct request *r, struct add *a, struct zkey *z)
{
    const char *event = a->flags & SORTED_INCR ? "zincr" : "zadd", *error;
    if (z->entry) {
        zkey_edit(z);
        error = add_pairs(r, a, &z->set);
        zkey_edit_end(z, (uint64_t)(a->added + a->updated), event);
        return error;
    }
    a->refused = true;
    if (a->flags & SORTED_XX)
        return NULL;
    a->refused = false;
    z->set = sorted_new(r->store);
    if (!z->set.object)
        return ERR_OOM;
    error = add_pairs(r, a, &z->set);
    if (!error)
        z->entry = store_put_object(r->store, r->session->db, &z->key, NULL, OBJ_ZSET,
                                    z->set.encoding, z->set.object, -1);
    if (!z->entry) {
        sorted_free(&z->set);
        return error ? error : ERR_OOM;
    }
    if (a->added + a->updated > 1) { // putting it counted as one change
        struct edit edit = edit_begin(r->store, r->session->db, &z->key, z->entry);
        edit_end(&edit, (uint64_t)(a->added + a->updated) - 1);
    }
    request_changed(r, &z->key, EVENT_ZSET, event);
    return NULL;
}

static void add_reply(struct request *r, const struct add *a)
{
    if (!(a->flags & SORTED_INCR))
        reply_integer(r->out, a->count_changes ? a->added + a->updated : a->added);
    else if (a->refused)
        reply_null(r->out, r->session->resp);
    else
        zset_reply_score(r, a->score);
}

static void add(struct request *r, unsigned flags)
{
    struct add a = {.flags = flags};
    struct zkey z;
    if (!add_parse_options(r, &a))
        return;
    if (add_parse_scores(r, &a) && zkey_open_write(r, 1, &z)) {
        const char *error = add_to_key(r, &a, &z);
        if (error)
            request_error(r, error);
        else
            add_reply(r, &a);
    }
    if (a.scores != a.held)
        mi_free(a.scores);
}

void zadd_command(struct request *r)
{
    add(r, 0);
}

void zincrby_command(struct request *r)
{
    add(r, SORTED_INCR);
}

// --- the others ---------------------------------------------------------------------------------

void zrem_command(struct request *r)
{
    struct zkey z;
    if (!zkey_open_write(r, 1, &z))
        return;
    int64_t removed = 0;
    if (z.entry) {
        zkey_edit(&z);
        for (int i = 2; i < r->argc && sorted_count(&z.set); i++)
            removed += sorted_remove(&z.set, r->argv[i].ptr, r->argv[i].len);
        zkey_edit_end(&z, (uint64_t)removed, "zrem");
    }
    reply_integer(r->out, removed);
}

static void reply_score_of(struct request *r, const struct zkey *z, int i)
{
    double score;
    if (z->entry && sorted_score(&z->set, r->argv[i].ptr, r->argv[i].len, &score))
        zset_reply_score(r, score);
    else
        reply_null(r->out, r->session->resp);
}

void zscore_command(struct request *r)
{
    struct zkey z;
    if (zkey_open_read(r, 1, &z))
        reply_score_of(r, &z, 2);
}

void zmscore_command(struct request *r)
{
    struct zkey z;
    if (!zkey_open_read(r, 1, &z))
        return;
    reply_array(r->out, r->argc - 2);
    for (int i = 2; i < r->argc; i++)
        reply_score_of(r, &z, i);
}

void zcard_command(struct request *r)
{
    struct zkey z;
    if (zkey_open_read(r, 1, &z))
        reply_integer(r->out, z.entry ? (int64_t)sorted_count(&z.set) : 0);
}

static void reply_rank(struct request *r, bool backwards)
{
    struct zkey z;
    if (!zkey_open_read(r, 1, &z))
        return;
    int64_t rank = z.entry ? sorted_rank(&z.set, r->argv[2].ptr, r->argv[2].len) : -1;
    if (rank < 0)
        reply_null(r->out, r->session->resp);
    else
        reply_integer(r->out, backwards ? (int64_t)sorted_count(&z.set) - 1 - rank : rank);
}

void zrank_command(struct request *r)
{
    reply_rank(r, false);
}

void zrevrank_command(struct request *r)
{
    reply_rank(r, true);
}

void zcount_command(struct request *r)
{
    struct score_range range;
    struct zkey z;
    if (zset_parse_score_range(r, 2, 3, &range) && zkey_open_read(r, 1, &z))
        reply_integer(r->out, z.entry ? (int64_t)sorted_by_score(&z.set, &range).n : 0);
}

void zlexcount_command(struct request *r)
{
    struct lex_range range;
    struct zkey z;
    if (zset_parse_lex_range(r, 2, 3, &range) && zkey_open_read(r, 1, &z))
        reply_integer(r->out, z.entry ? (int64_t)sorted_by_lex(&z.set, &range, false).n : 0);
}
