#include "dataplane/store/values/sorted.h"

#include <math.h>

#include "dataplane/store/values/sorted_listpack.h"

struct sorted sorted_new(struct store *s)
{
    return (struct sorted){.store = s, .encoding = ENC_LISTPACK, .object = lp_new(0)};
}

struct sorted sorted_new_big(struct store *s)
{
    return (struct sorted){.store = s, .encoding = ENC_SKIPLIST, .object = zset_new()};
}

struct sorted sorted_of(struct store *s, const struct entry *e)
{
    return (struct sorted){.store = s, .encoding = entry_encoding(e), .object = entry_object(e)};
}

void sorted_free(struct sorted *z)
{
    if (z->object)
        object_free(OBJ_ZSET, z->encoding, z->object);
    z->object = NULL;
}

static bool is_small(const struct sorted *z)
{
    return z->encoding == ENC_LISTPACK;
}

uint64_t sorted_count(const struct sorted *z)
{
    return is_small(z) ? lp_count(z->object) / 2 : zset_count(z->object);
}

static struct entry *member(const struct sorted *z, const void *name, size_t len)
{
    const struct zset *big = z->object;
    return members_find(z->store, &big->members, name, len);
}

bool sorted_score(const struct sorted *z, const void *name, size_t len, double *score)
{
    if (is_small(z)) {
        const uint8_t *p = zlp_find(z->object, name, len);
        if (p)
            *score = zlp_score(lp_next(z->object, p));
        return p;
    }
    const struct entry *e = member(z, name, len);
    if (e)
        *score = zset_score(e);
    return e;
}

int64_t sorted_rank(const struct sorted *z, const void *name, size_t len)
{
    if (!is_small(z)) {
        const struct entry *e = member(z, name, len);
        return e ? (int64_t)zset_rank(z->object, e) : -1;
    }
    int64_t rank = 0;
    for (const uint8_t *p = lp_first(z->object); p; p = zlp_next(z->object, p), rank++)
        if (lp_equal(p, name, len))
            return rank;
    return -1;
}

// --- changes ------------------------------------------------------------------------------------

bool sorted_convert(struct sorted *z, enum object_encoding encoding)
{
    if (encoding == z->encoding)
        return true;
    struct sorted to = encoding == ENC_LISTPACK ? sorted_new(z->store) : sorted_new_big(z->store);
    if (!to.object)
        return false;
    struct sorted_at at = sorted_at_rank(z, 0);
    for (bool there = at.there; there; there = sorted_next(&at)) {
        char scratch[24];
        struct sorted_item item = sorted_item(&at, scratch);
        bool ok;
        if (encoding == ENC_LISTPACK) {
            uint8_t *lp = to.object;
            ok = zlp_append(&lp, item.ptr, item.len, item.score);
            to.object = lp;
        } else {
            // What came from outside may name a member twice.
            ok = member(&to, item.ptr, item.len) ||
                 zset_add(z->store, to.object, item.ptr, item.len, item.score);
        }
        if (!ok) {
            sorted_free(&to);
            return false;
        }
    }
    sorted_free(z);
    *z = to;
    return true;
}

bool sorted_compact(struct sorted *z, struct sorted_limits limits)
{
    if (is_small(z) || sorted_count(z) > limits.entries)
        return true;
    size_t bytes = 0;
    struct sorted_at at = sorted_at_rank(z, 0);
    for (bool there = at.there; there; there = sorted_next(&at)) {
        char scratch[24];
        size_t len = sorted_item(&at, scratch).len;
        bytes += len;
        if (len > limits.value || bytes > LP_BYTES_MAX)
            return true;
    }
    return sorted_convert(z, ENC_LISTPACK);
}

static enum sorted_result add_new(struct sorted *z, struct sorted_limits limits, const void *name,
                                  size_t len, double score)
{
    if (is_small(z)) {
        uint8_t *lp = z->object;
        if (lp_count(lp) / 2 < limits.entries && len <= limits.value && lp_takes(lp, len)) {
            bool ok = zlp_add(&lp, name, len, score);
            z->object = lp;
            return ok ? SORTED_ADDED : SORTED_SHORT;
        }
        if (!sorted_convert(z, ENC_SKIPLIST))
            return SORTED_SHORT;
    }
    return zset_add(z->store, z->object, name, len, score) ? SORTED_ADDED : SORTED_SHORT;
}

enum sorted_result sorted_add(struct sorted *z, struct sorted_limits limits, const void *name,
                              size_t len, double *score, unsigned flags)
{
    uint8_t *p = is_small(z) ? zlp_find(z->object, name, len) : NULL;
    struct entry *e = is_small(z) ? NULL : member(z, name, len);
    if (!p && !e)
        return flags & SORTED_XX ? SORTED_REFUSED : add_new(z, limits, name, len, *score);
    if (flags & SORTED_NX)
        return SORTED_REFUSED;
    double before = e ? zset_score(e) : zlp_score(lp_next(z->object, p));
    double after = flags & SORTED_INCR ? before + *score : *score;
    if (isnan(after))
        return SORTED_NAN;
    if ((flags & SORTED_LT && after >= before) || (flags & SORTED_GT && after <= before))
        return SORTED_REFUSED;
    *score = after;
    if (after == before)
        return SORTED_SAME;
    bool ok;
    if (e) {
        ok = zset_set_score(z->object, e, after);
    } else {
        uint8_t *lp = z->object;
        ok = zlp_set_score(&lp, p, after);
        z->object = lp;
    }
    return ok ? SORTED_UPDATED : SORTED_SHORT;
}

bool sorted_remove(struct sorted *z, const void *name, size_t len)
{
    if (is_small(z)) {
        uint8_t *lp = z->object, *p = zlp_find(lp, name, len);
        bool ok = p && zlp_remove(&lp, p, 1);
        z->object = lp;
        return ok;
    }
    struct entry *e = member(z, name, len);
    if (e)
        zset_remove(z->store, z->object, e);
    return e;
}

uint64_t sorted_remove_range(struct sorted *z, uint64_t rank, uint64_t n)
{
    if (!is_small(z))
        return zset_remove_range(z->store, z->object, rank, n);
    uint64_t count = sorted_count(z);
    if (rank >= count || !n)
        return 0;
    if (n > count - rank)
        n = count - rank;
    uint8_t *lp = z->object;
    bool ok = zlp_remove(&lp, lp_seek(lp, 2 * (int64_t)rank), (uint32_t)n);
    z->object = lp;
    return ok ? n : 0;
}

// --- places -------------------------------------------------------------------------------------

struct sorted_at sorted_at_rank(const struct sorted *z, uint64_t rank)
{
    struct sorted_at at = {.there = rank < sorted_count(z)};
    if (!at.there)
        return at;
    if (is_small(z)) {
        at.lp = z->object;
        at.p = lp_seek(at.lp, 2 * (int64_t)rank);
    } else {
        at.at = btree_at_rank(&((const struct zset *)z->object)->order, rank);
    }
    return at;
}

bool sorted_next(struct sorted_at *at)
{
    if (!at->there)
        return false;
    if (at->lp) {
        at->p = zlp_next(at->lp, at->p);
        at->there = at->p;
    } else {
        at->there = btree_next(&at->at);
    }
    return at->there;
}

bool sorted_prev(struct sorted_at *at)
{
    if (!at->there)
        return false;
    if (at->lp) {
        at->p = zlp_prev(at->lp, at->p);
        at->there = at->p;
    } else {
        at->there = btree_prev(&at->at);
    }
    return at->there;
}

struct sorted_item sorted_item(const struct sorted_at *at, char scratch[24])
{
    struct sorted_item item;
    if (at->lp) {
        item.ptr = lp_text(at->p, scratch, &item.len);
        item.score = zlp_score(lp_next(at->lp, at->p));
    } else {
        const struct entry *e = btree_item(at->at);
        item.ptr = member_name(e, &item.len);
        item.score = zset_score(e);
    }
    return item;
}

// --- ranges -------------------------------------------------------------------------------------

static bool score_below(double score, const struct score_range *r)
{
    return r->min_exclusive ? score <= r->min : score < r->min;
}

static bool score_above(double score, const struct score_range *r)
{
    return r->max_exclusive ? score >= r->max : score > r->max;
}

static struct sorted_ranks ranks(uint64_t first, uint64_t end)
{
    return (struct sorted_ranks){.first = first, .n = end > first ? end - first : 0};
}

struct sorted_ranks sorted_by_score(const struct sorted *z, const struct score_range *r)
{
    if (r->min > r->max || (r->min == r->max && (r->min_exclusive || r->max_exclusive)))
        return ranks(0, 0);
    if (is_small(z)) {
        const uint8_t *lp = z->object, *p = lp_first(lp);
        uint64_t first = 0, end;
        for (; p && score_below(zlp_score(lp_next(lp, p)), r); p = zlp_next(lp, p))
            first++;
        for (end = first; p && !score_above(zlp_score(lp_next(lp, p)), r); p = zlp_next(lp, p))
            end++;
        return ranks(first, end);
    }
    const struct btree *t = &((const struct zset *)z->object)->order;
    uint64_t min = btree_key_of_double(r->min), max = btree_key_of_double(r->max);
    return ranks(btree_count_before(t, min, NULL, r->min_exclusive),
                 btree_count_before(t, max, NULL, !r->max_exclusive));
}

// Where a name stands to a bound: below 0 before it, 0 at it.
static int lex_order(const uint8_t *name, size_t len, const struct lex_bound *b)
{
    if (b->kind == LEX_LOWEST)
        return 1;
    if (b->kind == LEX_HIGHEST)
        return -1;
    return zset_compare_names(name, len, b->ptr, b->len);
}

static bool lex_below(const uint8_t *p, const struct lex_bound *min)
{
    char scratch[24];
    size_t len;
    const uint8_t *name = lp_text(p, scratch, &len);
    int order = lex_order(name, len, min);
    return order < 0 || (order == 0 && min->kind == LEX_EXCLUSIVE);
}

static bool lex_above(const uint8_t *p, const struct lex_bound *max)
{
    char scratch[24];
    size_t len;
    const uint8_t *name = lp_text(p, scratch, &len);
    int order = lex_order(name, len, max);
    return order > 0 || (order == 0 && max->kind == LEX_EXCLUSIVE);
}

static bool lex_empty(const struct lex_range *r)
{
    if (r->min.kind == LEX_LOWEST || r->max.kind == LEX_HIGHEST)
        return r->min.kind == LEX_HIGHEST && r->max.kind == LEX_LOWEST;
    if (r->min.kind == LEX_HIGHEST || r->max.kind == LEX_LOWEST)
        return true;
    int order = zset_compare_names(r->min.ptr, r->min.len, r->max.ptr, r->max.len);
    return order > 0 ||
           (order == 0 && (r->min.kind == LEX_EXCLUSIVE || r->max.kind == LEX_EXCLUSIVE));
}

// Where scores differ, names are in no order, and the answer is what Redis finds: from one end to
// the first member within the range, and on to the first that is not.
static struct sorted_ranks small_by_lex(const uint8_t *lp, const struct lex_range *r,
                                        bool backwards)
{
    uint64_t first = 0, end, count = lp_count(lp) / 2;
    if (!count || lex_below(lp_prev(lp, lp_last(lp)), &r->min) || lex_above(lp_first(lp), &r->max))
        return ranks(0, 0);
    if (!backwards) {
        const uint8_t *p = lp_first(lp);
        for (; p && lex_below(p, &r->min); p = zlp_next(lp, p))
            first++;
        for (end = first; p && !lex_above(p, &r->max); p = zlp_next(lp, p))
            end++;
        return ranks(first, end);
    }
    const uint8_t *p = lp_prev(lp, lp_last(lp));
    for (end = count; p && lex_above(p, &r->max); p = zlp_prev(lp, p))
        end--;
    for (first = end; p && !lex_below(p, &r->min); p = zlp_prev(lp, p))
        first--;
    return ranks(first, end);
}

static uint64_t lex_rank(const struct btree *t, const struct lex_bound *b, bool behind_equal)
{
    if (b->kind == LEX_LOWEST)
        return 0;
    if (b->kind == LEX_HIGHEST)
        return t->count;
    struct zset_name name = {.ptr = b->ptr, .len = b->len};
    return btree_count_before(t, btree_key(btree_first(t)), &name, behind_equal);
}

struct sorted_ranks sorted_by_lex(const struct sorted *z, const struct lex_range *r, bool backwards)
{
    if (lex_empty(r) || !sorted_count(z))
        return ranks(0, 0);
    if (is_small(z))
        return small_by_lex(z->object, r, backwards);
    const struct btree *t = &((const struct zset *)z->object)->order;
    return ranks(lex_rank(t, &r->min, r->min.kind == LEX_EXCLUSIVE),
                 lex_rank(t, &r->max, r->max.kind != LEX_EXCLUSIVE));
}
