#include "dataplane/store/values/sorted_listpack.h"

#include <math.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>

enum { SCORE_TEXT_MAX = 128 };

// Up to here Redis stores a score that is whole as an integer.
static const double WHOLE_MAX = (double)(INT64_MAX / 2);

double zlp_score(const uint8_t *p)
{
    struct lp_item item = lp_get(p);
    if (!item.ptr)
        return (double)item.value;
    char text[SCORE_TEXT_MAX + 1];
    size_t len = item.len < SCORE_TEXT_MAX ? item.len : SCORE_TEXT_MAX;
    memcpy(text, item.ptr, len);
    text[len] = '\0';
    return strtod(text, NULL);
}

uint8_t *zlp_find(const uint8_t *lp, const void *name, size_t len)
{
    return lp_find(lp, lp_first(lp), name, len, 1);
}

// `text` holds what the element refers to.
static void encode_score(struct lp_encoded *e, char text[SCORE_TEXT_MAX], double score)
{
    if (fabs(score) <= WHOLE_MAX && score == trunc(score)) {
        lp_encode_integer(e, (int64_t)score);
        return;
    }
    int n = isinf(score) ? snprintf(text, SCORE_TEXT_MAX, "%s", score > 0 ? "inf" : "-inf")
                         : snprintf(text, SCORE_TEXT_MAX, "%.17g", score);
    lp_encode(e, text, (size_t)n);
}

static uint8_t *replace_score(uint8_t *lp, uint8_t *p, double score)
{
    char text[SCORE_TEXT_MAX];
    struct lp_encoded e;
    encode_score(&e, text, score);
    return lp_replace(lp, p, &e);
}

// Member and score before `p`, or at the end when that is NULL.
static bool put_pair(uint8_t **lp, uint8_t *p, const void *name, size_t len, double score)
{
    char text[SCORE_TEXT_MAX];
    struct lp_encoded pair[2];
    if (len > LP_BYTES_MAX)
        return false;
    lp_encode(&pair[0], name, len);
    encode_score(&pair[1], text, score);
    uint8_t *with = lp_insert_many(*lp, p, pair, 2);
    if (with)
        *lp = with;
    return with;
}

bool zlp_append(uint8_t **lp, const void *name, size_t len, double score)
{
    return put_pair(lp, NULL, name, len, score);
}

bool zlp_add(uint8_t **lp, const void *name, size_t len, double score)
{
    uint8_t *p = lp_first(*lp);
    for (; p; p = zlp_next(*lp, p)) {
        double other = zlp_score(lp_next(*lp, p));
        if (other > score)
            break;
        if (other < score)
            continue;
        char scratch[24];
        size_t other_len;
        const uint8_t *other_name = lp_text(p, scratch, &other_len);
        if (zset_compare_names(other_name, other_len, name, len) > 0)
            break;
    }
    return put_pair(lp, p, name, len, score);
}

bool zlp_remove(uint8_t **lp, uint8_t *member, uint32_t n)
{
    uint8_t *without = lp_delete_from(*lp, member, 2 * n, NULL);
    if (without)
        *lp = without;
    return without;
}

static bool comes_before(const uint8_t *a, const uint8_t *b_member, double b)
{
    char scratch[2][24];
    size_t len[2];
    double score = zlp_score(lp_next(NULL, a));
    if (score != b)
        return score < b;
    const uint8_t *name = lp_text(a, scratch[0], &len[0]);
    const uint8_t *other = lp_text(b_member, scratch[1], &len[1]);
    return zset_compare_names(name, len[0], other, len[1]) < 0;
}

bool zlp_set_score(uint8_t **lp, uint8_t *member, double score)
{
    uint8_t *prev = zlp_prev(*lp, member), *next = zlp_next(*lp, member);
    if ((!prev || comes_before(prev, member, score)) &&
        (!next || !comes_before(next, member, score))) {
        uint8_t *with = replace_score(*lp, lp_next(*lp, member), score);
        if (with)
            *lp = with;
        return with;
    }
    // In before out: what cannot be put in is still there. The name is in the listpack twice then.
    bool upwards = score > zlp_score(lp_next(*lp, member));
    size_t len;
    char scratch[24];
    const uint8_t *text = lp_text(member, scratch, &len);
    char *name = NULL;
    if (text != (const uint8_t *)scratch) { // it must not lie in what is changed
        name = mi_malloc(len ? len : 1);
        if (!name)
            return false;
        memcpy(name, text, len);
        text = (const uint8_t *)name;
    }
    bool ok = zlp_add(lp, text, len, score);
    if (ok) {
        uint8_t *p = zlp_find(*lp, text, len);
        if (!upwards)
            p = lp_find(*lp, zlp_next(*lp, p), text, len, 1);
        zlp_remove(lp, p, 1);
    }
    mi_free(name);
    return ok;
}
