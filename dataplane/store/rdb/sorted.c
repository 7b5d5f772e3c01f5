// Sorted sets.
#include "dataplane/store/values/sorted.h"

#include <math.h>
#include <stdlib.h>

#include "dataplane/store/rdb/internal.h"

enum { SCORE_NAN = 253, SCORE_HIGHEST, SCORE_LOWEST, SCORE_TEXT_MAX = 252 };

// A number in decimal, all of the text, and no NaN.
static bool parse_score(const uint8_t *text, size_t len, double *score)
{
    char copy[SCORE_TEXT_MAX + 1];
    if (!len || len > SCORE_TEXT_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!strchr("0123456789+-.eEinfINF", text[i]) || !text[i])
            return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    char *end;
    *score = strtod(copy, &end);
    return end == copy + len && !isnan(*score);
}

// --- element by element -------------------------------------------------------------------------

static double read_double(struct rdb_reader *r)
{
    uint64_t bits = rdb_read_milliseconds(r); // 64 bits, little-endian, as times are
    double score;
    memcpy(&score, &bits, sizeof(score));
    if (isnan(score))
        rdb_bad(r);
    return score;
}

static double read_score_text(struct rdb_reader *r)
{
    const uint8_t *len = rdb_read_bytes(r, 1);
    double score = 0;
    if (!len || *len == SCORE_NAN)
        rdb_bad(r);
    else if (*len == SCORE_HIGHEST || *len == SCORE_LOWEST)
        return *len == SCORE_HIGHEST ? INFINITY : -INFINITY;
    const uint8_t *text = r->error ? NULL : rdb_read_bytes(r, *len);
    if (!text || !parse_score(text, *len, &score))
        rdb_bad(r);
    return score;
}

bool rdb_load_zset(struct rdb_load *l, bool text)
{
    uint64_t n = rdb_read_count(l->r, 2);
    struct sorted z = {0};
    if (!l->r->error)
        z = sorted_new_big(l->s);
    if (!z.object)
        return rdb_short(l->r);
    struct zset *set = z.object;
    for (; n && !l->r->error; n--) {
        struct rdb_string name;
        if (!rdb_read_string(l->r, &name))
            break;
        double score = text ? read_score_text(l->r) : read_double(l->r);
        if (!l->r->error)
            rdb_add_member(l, &set->members, name.ptr, name.len, (const uint8_t *)&score,
                           sizeof(score));
        rdb_string_clear(&name);
    }
    struct sorted_limits limits = {l->limits->zset_max_listpack_entries,
                                   l->limits->zset_max_listpack_value};
    if (!l->r->error && !zset_put_in_order(set))
        rdb_short(l->r);
    if (!l->r->error && sorted_compact(&z, limits))
        return rdb_done(l, z.encoding, z.object);
    rdb_short(l->r);
    sorted_free(&z);
    return false;
}

// --- listpacks ----------------------------------------------------------------------------------

// True when every second element is a number and the pairs are in order.
static bool in_order(const uint8_t *lp)
{
    const uint8_t *last = NULL;
    double last_score = 0;
    for (const uint8_t *p = lp_first(lp); p; p = lp_next(lp, p)) {
        char digits[2][24];
        size_t len[2];
        double score;
        const uint8_t *name = p, *text = lp_text(p = lp_next(lp, p), digits[0], &len[0]);
        if (!parse_score(text, len[0], &score) || (last && score < last_score))
            return false;
        if (last && score == last_score) {
            const uint8_t *a = lp_text(last, digits[0], &len[0]);
            const uint8_t *b = lp_text(name, digits[1], &len[1]);
            if (zset_compare_names(a, len[0], b, len[1]) >= 0)
                return false;
        }
        last = name;
        last_score = score;
    }
    return true;
}

bool rdb_zset_of(struct rdb_load *l, uint8_t *lp)
{
    if (!lp)
        return false;
    struct sorted z = {.store = l->s, .encoding = ENC_LISTPACK, .object = lp};
    bool keep = lp_count(lp) / 2 <= l->limits->zset_max_listpack_entries;
    bool ok = (in_order(lp) || rdb_bad(l->r)) && rdb_unique(l, lp, 2) &&
              (keep || sorted_convert(&z, ENC_SKIPLIST) || rdb_short(l->r));
    if (ok)
        return rdb_done(l, z.encoding, z.object);
    sorted_free(&z);
    return false;
}

// --- writing ------------------------------------------------------------------------------------

// From the highest member down, as Redis does: its own lists grow at the head then.
void rdb_write_zset(struct out *o, const struct zset *z, bool compress)
{
    rdb_write_length(o, members_count(&z->members));
    struct btree_at at = btree_last(&z->order);
    for (bool more = at.leaf; more; more = btree_prev(&at)) {
        const struct entry *e = btree_item(at);
        size_t len;
        const uint8_t *name = member_name(e, &len);
        rdb_write_string(o, name, len, compress);
        double score = zset_score(e);
        uint64_t bits;
        memcpy(&bits, &score, sizeof(bits));
        rdb_write_milliseconds(o, bits);
    }
}
