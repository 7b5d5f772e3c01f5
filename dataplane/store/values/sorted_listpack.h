// Small sorted sets: a listpack of member, score, member, score … in order. For sorted.c only.
#pragma once

#include "dataplane/store/values/listpack.h"
#include "dataplane/store/values/sorted.h"

double zlp_score(const uint8_t *p); // of the element that holds it
// The member's element, NULL: not there.
uint8_t *zlp_find(const uint8_t *lp, const void *name, size_t len);
// These may move the listpack, also when they fail. False: memory is short, no member has changed.
bool zlp_add(uint8_t **lp, const void *name, size_t len, double score);
bool zlp_append(uint8_t **lp, const void *name, size_t len, double score);
bool zlp_set_score(uint8_t **lp, uint8_t *member, double score);
bool zlp_remove(uint8_t **lp, uint8_t *member, uint32_t n);
// The next pair and the one before.
static inline uint8_t *zlp_next(const uint8_t *lp, const uint8_t *member)
{
    return lp_next(lp, lp_next(lp, member));
}
static inline uint8_t *zlp_prev(const uint8_t *lp, const uint8_t *member)
{
    uint8_t *score = lp_prev(lp, member);
    return score ? lp_prev(lp, score) : NULL;
}
