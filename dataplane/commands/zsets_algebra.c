// ZUNION, ZINTER, ZDIFF, what stores their results, and ZINTERCARD.
#include <math.h>
#include <mimalloc.h>
#include <stdlib.h>

#include "dataplane/commands/lookup.h"
#include "dataplane/commands/zsets_commands.h"
#include "dataplane/commands/zsets_source.h"

enum operation { UNION, INTERSECTION, DIFFERENCE };
enum aggregate { SUM, MIN, MAX };

struct algebra {
    struct request *r;
    enum operation operation;
    enum aggregate aggregate;
    bool store, count_only, scores;
    struct source *sources;
    int n;
    int64_t limit; // of count_only, 0: none
    struct zset *result;
};

// --- arguments ----------------------------------------------------------------------------------

static bool parse_keys(struct algebra *a, int numkeys)
{
    struct request *r = a->r;
    int64_t n;
    if (!request_integer(r, numkeys, &n))
        return false;
    if (n < 1) {
        request_errorf(r, "ERR at least 1 input key is needed for '%s' command", r->command->name);
        return false;
    }
    if (n > r->argc - numkeys - 1) {
        request_error(r, ERR_SYNTAX);
        return false;
    }
    a->n = (int)n;
    a->sources = mi_zalloc((size_t)n * sizeof(*a->sources));
    if (!a->sources) {
        request_error(r, ERR_OOM);
        return false;
    }
    for (int i = 0; i < a->n; i++) {
        struct key key = request_key(r, numkeys + 1 + i);
        a->sources[i].index = i;
        if (!source_open(r->store, lookup_read(r, &key), &a->sources[i])) {
            request_error(r, ERR_WRONGTYPE);
            return false;
        }
    }
    return true;
}

static bool parse_weights(struct algebra *a, int first)
{
    for (int i = 0; i < a->n; i++)
        if (!zset_parse_score(a->r, first + i, &a->sources[i].weight,
                              "ERR weight value is not a float"))
            return false;
    return true;
}

static bool parse_aggregate(struct algebra *a, int i)
{
    if (request_is(a->r, i, "sum"))
        a->aggregate = SUM;
    else if (request_is(a->r, i, "min"))
        a->aggregate = MIN;
    else if (request_is(a->r, i, "max"))
        a->aggregate = MAX;
    else
        return false;
    return true;
}

static bool parse_options(struct algebra *a, int first)
{
    struct request *r = a->r;
    bool weighted = a->operation != DIFFERENCE && !a->count_only;
    for (int i = first; i < r->argc; i++) {
        int left = r->argc - i - 1;
        if (weighted && left >= a->n && request_is(r, i, "weights")) {
            if (!parse_weights(a, i + 1))
                return false;
            i += a->n;
        } else if (weighted && left >= 1 && request_is(r, i, "aggregate") &&
                   parse_aggregate(a, i + 1)) {
            i++;
        } else if (!a->store && !a->count_only && request_is(r, i, "withscores")) {
            a->scores = true;
        } else if (a->count_only && left >= 1 && request_is(r, i, "limit")) {
            if (!zset_parse_at_least(r, i + 1, 0, &a->limit, "ERR LIMIT can't be negative"))
                return false;
            i++;
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

// --- the result ---------------------------------------------------------------------------------

// Fewest members first. What is added up in another order has another sum.
static int compare_sources(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static double weigh(const struct source *s, double score)
{
    double weighed = s->weight * score;
    return isnan(weighed) ? 0 : weighed;
}

static double aggregate(const struct algebra *a, double score, double other)
{
    if (a->aggregate == MIN)
        return other < score ? other : score;
    if (a->aggregate == MAX)
        return other > score ? other : score;
    double sum = score + other;
    return isnan(sum) ? 0 : sum;
}

static bool add(const struct algebra *a, const struct sorted_item *item, double score)
{
    return members_add(a->r->store, &a->result->members, item->ptr, item->len, &score,
                       sizeof(score));
}

static bool unite(const struct algebra *a)
{
    struct store *s = a->r->store;
    for (int i = 0; i < a->n; i++) {
        struct source_walk w = source_begin(&a->sources[i]);
        while (source_next(&w)) {
            double score = weigh(&a->sources[i], w.item.score);
            struct entry *e = members_find(s, &a->result->members, w.item.ptr, w.item.len);
            if (e) { // of the same size: in place
                score = aggregate(a, zset_score(e), score);
                members_set_value(s, &a->result->members, e, &score, sizeof(score));
            } else if (!add(a, &w.item, score)) {
                return false;
            }
        }
    }
    return true;
}

// Whether all other sources have the member; its score over all of them.
static bool in_all(const struct algebra *a, const struct sorted_item *item, double *score)
{
    *score = weigh(&a->sources[0], item->score);
    for (int i = 1; i < a->n; i++) {
        double other;
        if (!source_find(&a->sources[i], item->ptr, item->len, &other))
            return false;
        *score = aggregate(a, *score, a->sources[i].weight * other);
    }
    return true;
}

static bool intersect(const struct algebra *a, int64_t *count)
{
    struct source_walk w = source_begin(&a->sources[0]);
    *count = 0;
    while (source_next(&w)) {
        double score;
        if (!in_all(a, &w.item, &score))
            continue;
        if (a->count_only) {
            if (++*count == a->limit)
                return true;
        } else if (!add(a, &w.item, score)) {
            return false;
        }
    }
    return true;
}

static bool subtract(const struct algebra *a)
{
    struct source_walk w = source_begin(&a->sources[0]);
    while (source_next(&w)) {
        double score;
        bool found = false;
        for (int i = 1; i < a->n && !found; i++)
            found = source_find(&a->sources[i], w.item.ptr, w.item.len, &score);
        if (!found && !add(a, &w.item, w.item.score))
            return false;
    }
    return true;
}

static bool compute(struct algebra *a, int64_t *count)
{
    if (a->operation != DIFFERENCE)
        qsort(a->sources, (size_t)a->n, sizeof(*a->sources), compare_sources);
    if (!a->count_only && !(a->result = zset_new()))
        return false;
    bool ok = a->operation == UNION          ? unite(a)
              : a->operation == INTERSECTION ? intersect(a, count)
                                             : subtract(a);
    return ok && (a->count_only || zset_put_in_order(a->result));
}

static void reply_result(const struct algebra *a)
{
    struct request *r = a->r;
    struct sorted set = {.store = r->store, .encoding = ENC_SKIPLIST, .object = a->result};
    int64_t n = (int64_t)zset_count(a->result);
    bool nested = a->scores && r->session->resp >= 3;
    reply_array(r->out, a->scores && !nested ? 2 * n : n);
    struct sorted_at at = sorted_at_rank(&set, 0);
    for (bool there = at.there; there; there = sorted_next(&at)) {
        char scratch[24];
        struct sorted_item item = sorted_item(&at, scratch);
        zset_reply_item(r, &item, a->scores, nested);
    }
}

static void store_result(struct algebra *a, const char *event)
{
    struct request *r = a->r;
    struct sorted set = {.store = r->store, .encoding = ENC_SKIPLIST, .object = a->result};
    int64_t n = (int64_t)zset_count(a->result);
    a->result = NULL;
    if (!sorted_compact(&set, zset_limits(r))) {
        sorted_free(&set);
        request_error(r, ERR_OOM);
    } else if (zkey_store(r, 1, &set, event)) {
        reply_integer(r->out, n);
    }
}

static void run(struct algebra *a, int numkeys, const char *event)
{
    int64_t count = 0;
    if (parse_keys(a, numkeys) && parse_options(a, numkeys + 1 + a->n)) {
        if (!compute(a, &count))
            request_error(a->r, ERR_OOM);
        else if (a->count_only)
            reply_integer(a->r->out, count);
        else if (a->store)
            store_result(a, event);
        else
            reply_result(a);
    }
    if (a->result)
        zset_free(a->result);
    mi_free(a->sources);
}

void zunion_command(struct request *r)
{
    struct algebra a = {.r = r, .operation = UNION};
    run(&a, 1, NULL);
}

void zinter_command(struct request *r)
{
    struct algebra a = {.r = r, .operation = INTERSECTION};
    run(&a, 1, NULL);
}

void zdiff_command(struct request *r)
{
    struct algebra a = {.r = r, .operation = DIFFERENCE};
    run(&a, 1, NULL);
}

void zunionstore_command(struct request *r)
{
    struct algebra a = {.r = r, .operation = UNION, .store = true};
    run(&a, 2, "zunionstore");
}

void zinterstore_command(struct request *r)
{
    struct algebra a = {.r = r, .operation = INTERSECTION, .store = true};
    run(&a, 2, "zinterstore");
}

void zdiffstore_command(struct request *r)
{
    struct algebra a = {.r = r, .operation = DIFFERENCE, .store = true};
    run(&a, 2, "zdiffstore");
}

void zintercard_command(struct request *r)
{
    struct algebra a = {.r = r, .operation = INTERSECTION, .count_only = true};
    run(&a, 1, NULL);
}
