#include "dataplane/commands/zsets_source.h"

#include "dataplane/resp/reply.h"
#include "dataplane/store/values/intset.h"
#include "dataplane/store/values/listpack.h"

bool source_open(struct store *s, const struct entry *e, struct source *source)
{
    source->store = s;
    source->object = NULL;
    source->count = 0;
    source->weight = 1;
    if (!e)
        return true;
    source->type = entry_type(e);
    if (source->type != OBJ_ZSET && source->type != OBJ_SET)
        return false;
    source->encoding = entry_encoding(e);
    source->object = entry_object(e);
    source->count = object_length(source->type, source->encoding, source->object);
    return true;
}

static struct sorted as_sorted(const struct source *s)
{
    return (struct sorted){.store = s->store, .encoding = s->encoding, .object = s->object};
}

static bool set_has(const struct source *s, const uint8_t *name, size_t len)
{
    int64_t value;
    switch (s->encoding) {
    case ENC_INTSET:
        return parse_int64(name, len, &value) && intset_has(s->object, value);
    case ENC_LISTPACK:
        return lp_find(s->object, lp_first(s->object), name, len, 0);
    default:
        return members_find(s->store, s->object, name, len);
    }
}

bool source_find(const struct source *s, const uint8_t *name, size_t len, double *score)
{
    if (!s->object)
        return false;
    if (s->type == OBJ_ZSET) {
        struct sorted set = as_sorted(s);
        return sorted_score(&set, name, len, score);
    }
    *score = 1;
    return set_has(s, name, len);
}

struct source_walk source_begin(const struct source *s)
{
    struct source_walk w = {.source = s};
    if (!s->object)
        return w;
    if (s->type == OBJ_ZSET) {
        struct sorted set = as_sorted(s);
        w.at = sorted_at_rank(&set, 0);
    } else if (s->encoding == ENC_HASHTABLE) {
        w.members = members_begin(s->object);
    } else if (s->encoding == ENC_LISTPACK) {
        w.p = lp_first(s->object);
    }
    return w;
}

static bool next_of_set(struct source_walk *w)
{
    const struct source *s = w->source;
    w->item.score = 1;
    if (s->encoding == ENC_INTSET) {
        if (w->i == s->count)
            return false;
        w->item.ptr = (const uint8_t *)w->scratch;
        w->item.len = format_int64(w->scratch, intset_at(s->object, w->i++));
    } else if (s->encoding == ENC_LISTPACK) {
        if (!w->p)
            return false;
        w->item.ptr = lp_text(w->p, w->scratch, &w->item.len);
        w->p = lp_next(s->object, w->p);
    } else {
        const struct entry *e = members_next(&w->members);
        if (!e)
            return false;
        w->item.ptr = member_name(e, &w->item.len);
    }
    return true;
}

bool source_next(struct source_walk *w)
{
    if (!w->source->object)
        return false;
    if (w->source->type == OBJ_SET)
        return next_of_set(w);
    if (!w->at.there)
        return false;
    w->item = sorted_item(&w->at, w->scratch);
    sorted_next(&w->at);
    return true;
}
