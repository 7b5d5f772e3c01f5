// Shared by the list commands that pop from the first of many keys, and those that also wait.
#pragma once

#include "dataplane/commands/lists_value.h"

// numkeys KEY... LEFT|RIGHT [COUNT n]
struct list_many {
    int first, keys; // arguments that are keys
    enum quicklist_end end;
    int64_t count;
};
// From argument `at` on. False: answered.
bool list_parse_many(struct request *r, int at, struct list_many *m);

// Pops as LMPOP, with the key's name before the elements, and tells LPOP or RPOP as its effect.
void list_pop_many_named(struct list *l, const struct list_many *m);
// The same as BLPOP: one element, which is not in an array.
void list_pop_named(struct list *l, enum quicklist_end end);
