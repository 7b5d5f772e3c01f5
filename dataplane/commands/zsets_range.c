// Commands over a range of a sorted set, by rank, score or name: giving, storing, taking out.
#include "dataplane/commands/listpack_reply.h"
#include "dataplane/commands/steps.h"
#include "dataplane/commands/zsets_commands.h"
#include "dataplane/commands/zsets_value.h"

enum range_by { BY_ANY, BY_RANK, BY_SCORE, BY_LEX }; // BY_ANY: an option may say
enum range_direction { DIRECTION_ANY, FORWARD, BACKWARD };

struct range {
    enum range_by by;
    enum range_direction direction;
    bool store, scores;
    int64_t offset, limit; // limit below 0: none
    int64_t start, stop;   // BY_RANK
    struct score_range score;
    struct lex_range lex;
};

static bool parse_options(struct request *r, int first, struct range *q)
{
    for (int i = first; i < r->argc; i++) {
        if (!q->store && request_is(r, i, "withscores")) {
            q->scores = true;
        } else if (request_is(r, i, "limit") && i + 2 < r->argc) {
            if (!request_integer(r, i + 1, &q->offset) || !request_integer(r, i + 2, &q->limit))
                return false;
            i += 2;
        } else if (q->direction == DIRECTION_ANY && request_is(r, i, "rev")) {
            q->direction = BACKWARD;
        } else if (q->by == BY_ANY && request_is(r, i, "bylex")) {
            q->by = BY_LEX;
        } else if (q->by == BY_ANY && request_is(r, i, "byscore")) {
            q->by = BY_SCORE;
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

// The arguments from `first` on: two bounds, options. Answers when it returns false.
static bool parse_range(struct request *r, int first, struct range *q)
{
    q->limit = -1;
    if (!parse_options(r, first + 2, q))
        return false;
    if (q->by == BY_ANY)
        q->by = BY_RANK;
    if (q->limit != -1 && q->by == BY_RANK) {
        request_error(r, "ERR syntax error, LIMIT is only supported in combination with either "
                         "BYSCORE or BYLEX");
        return false;
    }
    if (q->scores && q->by == BY_LEX) {
        request_error(r, "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        return false;
    }
    bool swapped = q->direction == BACKWARD && q->by != BY_RANK; // the higher bound comes first
    int min = first + swapped, max = first + !swapped;
    if (q->by == BY_SCORE)
        return zset_parse_score_range(r, min, max, &q->score);
    if (q->by == BY_LEX)
        return zset_parse_lex_range(r, min, max, &q->lex);
    return request_integer(r, min, &q->start) && request_integer(r, max, &q->stop);
}

static struct sorted_ranks by_rank(const struct sorted *set, int64_t start, int64_t stop)
{
    int64_t count = (int64_t)sorted_count(set);
    if (start < 0)
        start = start + count < 0 ? 0 : start + count;
    if (stop < 0)
        stop += count;
    if (start > stop || start >= count)
        return (struct sorted_ranks){0};
    if (stop >= count)
        stop = count - 1;
    return (struct sorted_ranks){.first = (uint64_t)start, .n = (uint64_t)(stop - start + 1)};
}

// The ranks to give; backwards, the first of them is the last to be given.
static struct sorted_ranks find_ranks(const struct sorted *set, const struct range *q)
{
    bool backward = q->direction == BACKWARD;
    struct sorted_ranks ranks;
    if (q->by == BY_RANK) {
        ranks = by_rank(set, q->start, q->stop);
        if (backward && ranks.n)
            ranks.first = sorted_count(set) - ranks.first - ranks.n;
        return ranks;
    }
    ranks =
        q->by == BY_SCORE ? sorted_by_score(set, &q->score) : sorted_by_lex(set, &q->lex, backward);
    if (q->offset < 0 || (uint64_t)q->offset >= ranks.n)
        return (struct sorted_ranks){0};
    uint64_t left = ranks.n - (uint64_t)q->offset;
    uint64_t n = q->limit >= 0 && (uint64_t)q->limit < left ? (uint64_t)q->limit : left;
    ranks.first = backward ? ranks.first + left - n : ranks.first + (uint64_t)q->offset;
    ranks.n = n;
    return ranks;
}

// --- giving -------------------------------------------------------------------------------------

struct walk {
    struct sorted_at at;
    uint64_t n; // to come
    bool begun, backward, scores;
};

static bool walk_step(struct request *r, void *state)
{
    struct walk *w = state;
    bool nested = w->scores && r->session->resp >= 3;
    if (!w->begun)
        reply_array(r->out, (int64_t)(w->scores && !nested ? 2 * w->n : w->n));
    w->begun = true;
    if (w->at.lp && !w->scores && !w->backward) { // names alone, from one place to the next
        listpack_reply(r->out, &w->at.p, w->at.lp + lp_bytes(w->at.lp), w->n, 2);
        return true;
    }
    for (unsigned i = 0; w->n && i < STEPS_ELEMENTS; i++, w->n--) {
        char scratch[24];
        struct sorted_item item = sorted_item(&w->at, scratch);
        zset_reply_item(r, &item, w->scores, nested);
        if (w->backward)
            sorted_prev(&w->at);
        else
            sorted_next(&w->at);
    }
    return !w->n;
}

static void reply_ranks(struct request *r, const struct zkey *z, struct sorted_ranks ranks,
                        bool backward, bool scores)
{
    struct walk walk = {.n = ranks.n, .backward = backward, .scores = scores};
    if (ranks.n)
        walk.at = sorted_at_rank(&z->set, backward ? ranks.first + ranks.n - 1 : ranks.first);
    if (ranks.n > STEPS_WORTHWHILE) {
        struct walk *w = request_steps(r, &z->key, walk_step, sizeof(*w));
        if (w) {
            *w = walk;
            return;
        }
    }
    while (!walk_step(r, &walk))
        ;
}

static void give_range(struct request *r, enum range_by by, enum range_direction direction)
{
    struct range q = {.by = by, .direction = direction};
    struct zkey z;
    if (!parse_range(r, 2, &q) || !zkey_open_read(r, 1, &z))
        return;
    if (!z.entry)
        reply_array(r->out, 0);
    else
        reply_ranks(r, &z, find_ranks(&z.set, &q), q.direction == BACKWARD, q.scores);
}

void zrange_command(struct request *r)
{
    give_range(r, BY_ANY, DIRECTION_ANY);
}

void zrevrange_command(struct request *r)
{
    give_range(r, BY_RANK, BACKWARD);
}

void zrangebyscore_command(struct request *r)
{
    give_range(r, BY_SCORE, FORWARD);
}

void zrevrangebyscore_command(struct request *r)
{
    give_range(r, BY_SCORE, BACKWARD);
}

void zrangebylex_command(struct request *r)
{
    give_range(r, BY_LEX, FORWARD);
}

void zrevrangebylex_command(struct request *r)
{
    give_range(r, BY_LEX, BACKWARD);
}

// --- storing ------------------------------------------------------------------------------------

// In the order in which they would be given: while the copy is a listpack, minus zero becomes zero.
static bool copy_ranks(struct request *r, const struct sorted *from, struct sorted_ranks ranks,
                       bool backward, struct sorted *to)
{
    struct sorted_limits limits = zset_limits(r);
    struct sorted_at at = sorted_at_rank(from, backward ? ranks.first + ranks.n - 1 : ranks.first);
    for (uint64_t i = 0; i < ranks.n; i++) {
        char scratch[24];
        struct sorted_item item = sorted_item(&at, scratch);
        if (sorted_add(to, limits, item.ptr, item.len, &item.score, 0) == SORTED_SHORT)
            return false;
        if (backward)
            sorted_prev(&at);
        else
            sorted_next(&at);
    }
    return true;
}

void zrangestore_command(struct request *r)
{
    struct range q = {.store = true};
    struct zkey z;
    if (!parse_range(r, 3, &q) || !zkey_open_read(r, 2, &z))
        return;
    struct sorted_ranks ranks = {0};
    if (z.entry)
        ranks = find_ranks(&z.set, &q);
    bool big = q.by == BY_RANK && ranks.n > zset_limits(r).entries;
    struct sorted set = big ? sorted_new_big(r->store) : sorted_new(r->store);
    if (!set.object || (ranks.n && !copy_ranks(r, &z.set, ranks, q.direction == BACKWARD, &set))) {
        sorted_free(&set);
        request_error(r, ERR_OOM);
        return;
    }
    if (zkey_store(r, 1, &set, "zrangestore"))
        reply_integer(r->out, (int64_t)ranks.n);
}

// --- taking out ---------------------------------------------------------------------------------

static void take_range(struct request *r, struct range *q, const char *event)
{
    struct zkey z;
    if (!zkey_open_write(r, 1, &z))
        return;
    struct sorted_ranks ranks = {0};
    if (z.entry)
        ranks = find_ranks(&z.set, q);
    if (ranks.n) {
        zkey_edit(&z);
        ranks.n = sorted_remove_range(&z.set, ranks.first, ranks.n);
        zkey_edit_end(&z, ranks.n, event);
    }
    reply_integer(r->out, (int64_t)ranks.n);
}

void zremrangebyrank_command(struct request *r)
{
    struct range q = {.by = BY_RANK};
    if (request_integer(r, 2, &q.start) && request_integer(r, 3, &q.stop))
        take_range(r, &q, "zremrangebyrank");
}

void zremrangebyscore_command(struct request *r)
{
    struct range q = {.by = BY_SCORE, .limit = -1};
    if (zset_parse_score_range(r, 2, 3, &q.score))
        take_range(r, &q, "zremrangebyscore");
}

void zremrangebylex_command(struct request *r)
{
    struct range q = {.by = BY_LEX, .limit = -1};
    if (zset_parse_lex_range(r, 2, 3, &q.lex))
        take_range(r, &q, "zremrangebylex");
}
