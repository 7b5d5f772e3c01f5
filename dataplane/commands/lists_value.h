// What the handlers of lists share: a list by its key, the bracket around its change, its elements
// in replies.
#pragma once

#include "dataplane/commands/command.h"
#include "dataplane/store/object.h"
#include "dataplane/store/values/quicklist.h"

struct list {
    struct request *r;
    struct key key;
    struct entry *entry; // NULL: there is no such key
    struct quicklist *ql;
    struct edit edit;
};

// Looks up the key that is argument i. False: it is no list, and that is answered.
bool list_open_read(struct request *r, int i, struct list *l);
bool list_open_write(struct request *r, int i, struct list *l);

static inline uint64_t list_length(const struct list *l)
{
    return l->entry ? quicklist_count(l->ql) : 0;
}

// Before the first change; makes a new list where there is none. False: memory is short.
bool list_edit(struct list *l);
// After the last one: counts `changes`, tells `event` (NULL: nothing happened that must be told),
// and "del" when the list is gone. False: memory was too short to put a new list under its key;
// nothing is told then, and nothing answered.
bool list_finish(struct list *l, uint64_t changes, const char *event);

// Bytes of an element; those of an integer are printed to `scratch`.
const void *list_text(const struct lp_item *item, char scratch[24], size_t *len);

// LEFT or RIGHT. False: it is neither; ERR syntax error is answered.
bool list_parse_end(struct request *r, int i, enum quicklist_end *end);
// An integer of at least `least`, or the answer "ERR " with `error`.
bool list_parse_least(struct request *r, int i, int64_t least, const char *error, int64_t *value);
static inline const char *list_pop_event(enum quicklist_end end)
{
    return end == QUICKLIST_HEAD ? "lpop" : "rpop";
}
static inline const char *list_push_event(enum quicklist_end end)
{
    return end == QUICKLIST_HEAD ? "lpush" : "rpush";
}

// Elements from `index` on, `count` of them in the order of the walk, without a header.
void list_reply_elements(struct request *r, const struct quicklist *ql, int64_t index,
                         uint64_t count, bool backward);

// Answers the first `count` elements of an end as an array, and takes them away. `header` writes
// what stands before them, if it is not NULL. False: memory is short; nothing is answered.
bool list_pop_many(struct list *l, enum quicklist_end end, uint64_t count,
                   void (*header)(struct list *l));
// Answers the element at an end and takes it away; the same otherwise.
bool list_pop_one(struct list *l, enum quicklist_end end, void (*header)(struct list *l));
// Moves an element and answers it. The source has elements. False: memory is short.
bool list_move(struct list *from, struct list *to, enum quicklist_end from_end,
               enum quicklist_end to_end);
