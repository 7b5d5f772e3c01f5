// What the handlers of sets share. For their files only.
#pragma once

#include "common/outbuf.h"
#include "dataplane/commands/effects.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/store/object.h"
#include "dataplane/store/values/set.h"

static inline struct set_limits sets_limits(const struct request *r)
{
    return (struct set_limits){.intset_entries = r->limits->set_max_intset_entries,
                               .listpack_entries = r->limits->set_max_listpack_entries,
                               .listpack_value = r->limits->set_max_listpack_value};
}

static inline void sets_reply_item(struct out *o, const struct set_item *item)
{
    if (item->ptr)
        reply_bulk(o, item->ptr, item->len);
    else
        reply_bulk_integer(o, item->value);
}

static inline void sets_effect_item(struct request *r, const struct set_item *item)
{
    if (item->ptr)
        effect_bytes(r, item->ptr, item->len);
    else
        effect_integer(r, item->value);
}

static inline struct edit sets_edit(struct request *r, const struct key *key, struct entry *e,
                                    struct set *set)
{
    struct edit edit = edit_begin(r->store, r->session->db, key, e);
    *set = (struct set){.encoding = edit.encoding, .object = edit.object};
    return edit;
}

// False: the set became empty and its key is gone.
static inline bool sets_edit_end(struct edit *edit, const struct set *set, uint64_t changes)
{
    edit->encoding = set->encoding;
    edit->object = set->object;
    return edit_end(edit, changes);
}

// Puts a set under a key in the place of what is there. False: memory is short, and the set is
// gone.
static inline bool sets_put(struct request *r, const struct key *key, struct entry *at,
                            struct set *set)
{
    if (store_put_object(r->store, r->session->db, key, at, OBJ_SET, set->encoding, set->object,
                         -1))
        return true;
    set_free(set);
    return false;
}

// After a change that may have emptied the set.
static inline void sets_changed(struct request *r, const struct key *key, const char *event,
                                bool is_there)
{
    request_changed(r, key, EVENT_SET, event);
    if (!is_there)
        request_changed(r, key, EVENT_GENERIC, "del");
}

// Writes all members of a set, over several turns where there are many. `head` writes the head of
// the reply.
typedef void sets_head_fn(struct out *o, int resp, int64_t n);
void sets_reply_all(struct request *r, const struct key *key, const struct set *set,
                    sets_head_fn *head);
