// Intersections, unions and differences. What is answered is written as it is found, behind each
// other into an output of its own, since its number comes first; nothing else is built. What is
// stored becomes a set.
#include <assert.h>
#include <mimalloc.h>
#include <stdlib.h>

#include "dataplane/commands/sets_commands.h"
#include "dataplane/commands/sets_value.h"

enum {
    OPERANDS_SMALL = 16, // sets that need no allocation
    // Adding a member to a set costs about so many look-ups.
    ADD_LOOKUPS = 4,
};

struct operands {
    struct set *sets; // those that are there; a set without an object is none
    unsigned n;
    unsigned missing;
    struct set small[OPERANDS_SMALL];
};

// What becomes of the members that are found.
struct result {
    struct request *r;
    enum { RESULT_REPLY, RESULT_STORE, RESULT_COUNT } kind;
    uint64_t limit; // so many are enough; 0: all
    uint64_t n;
    struct set_limits limits;
    struct set set;
    struct outbuf found;
    bool failed; // memory was short
};

static void operands_free(struct operands *o)
{
    if (o->sets != o->small)
        mi_free(o->sets);
}

// Looks up the keys of the arguments. False: it was answered.
static bool operands_find(struct request *r, int first, unsigned n, struct operands *o)
{
    o->n = n;
    o->missing = 0;
    o->sets = n <= OPERANDS_SMALL ? o->small : mi_mallocn(n, sizeof(*o->sets));
    if (!o->sets) {
        request_error(r, ERR_OOM);
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        struct key key = request_key(r, first + (int)i);
        struct entry *e = lookup_read(r, &key);
        if (!lookup_type_is(r, e, OBJ_SET)) {
            operands_free(o);
            return false;
        }
        o->sets[i] = e ? set_of(e) : (struct set){0};
        o->missing += !e;
    }
    return true;
}

static uint64_t size_of(const struct set *set)
{
    return set->object ? set_count(set) : 0;
}

static int smaller_first(const void *a, const void *b)
{
    uint64_t m = size_of(a), n = size_of(b);
    return m < n ? -1 : m > n;
}

static int larger_first(const void *a, const void *b)
{
    return smaller_first(b, a);
}

// --- results ------------------------------------------------------------------------------------

static bool result_begin(struct result *result, struct request *r, int kind)
{
    *result = (struct result){.r = r, .kind = kind, .limits = sets_limits(r)};
    outbuf_init(&result->found);
    if (kind == RESULT_STORE && !set_new_intset(&result->set)) {
        request_error(r, ERR_OOM);
        return false;
    }
    return true;
}

// False: no more are wanted.
static bool result_add(struct result *result, const struct set_item *item)
{
    enum set_result added = SET_CHANGED;
    if (result->kind == RESULT_REPLY)
        sets_reply_item(&result->found.out, item);
    else if (result->kind == RESULT_STORE)
        added = set_add_item(result->r->store, &result->set, &result->limits, item);
    result->n += added == SET_CHANGED;
    result->failed = added == SET_NO_MEMORY;
    return !result->failed && (!result->limit || result->n < result->limit);
}

static void store_result(struct result *result, const char *event)
{
    struct request *r = result->r;
    struct key to = request_key(r, 1);
    struct entry *at = lookup_write(r, &to);
    if (!set_count(&result->set)) {
        set_free(&result->set);
        if (at && store_delete(r->store, r->session->db, &to))
            request_changed(r, &to, EVENT_GENERIC, "del");
        reply_integer(r->out, 0);
        return;
    }
    int64_t n = (int64_t)set_count(&result->set);
    if (!sets_put(r, &to, at, &result->set)) {
        request_error(r, ERR_OOM);
        return;
    }
    request_changed(r, &to, EVENT_SET, event);
    reply_integer(r->out, n);
}

// Answers with what was found, or puts it under the first argument's key.
static void result_end(struct result *result, const char *event)
{
    struct request *r = result->r;
    if (result->failed || result->found.out.failed) {
        if (result->kind == RESULT_STORE)
            set_free(&result->set);
        outbuf_clear(&result->found);
        request_error(r, ERR_OOM);
        return;
    }
    switch (result->kind) {
    case RESULT_REPLY:
        reply_set(r->out, r->session->resp, (int64_t)result->n);
        outbuf_move(&result->found, r->out);
        return;
    case RESULT_COUNT:
        reply_integer(r->out, (int64_t)result->n);
        return;
    case RESULT_STORE:
        store_result(result, event);
        return;
    }
}

static void reply_one(struct request *r, const struct set *set)
{
    struct key key = request_key(r, 1);
    sets_reply_all(r, &key, set, reply_set);
}

// --- the commands, but for what they combine by --------------------------------------------------

typedef void combine_fn(struct operands *o, struct result *result);

static void reply_combined(struct request *r, combine_fn *combine)
{
    struct operands o;
    struct result result;
    if (!operands_find(r, 1, (unsigned)r->argc - 1, &o))
        return;
    if (o.n == 1 && !o.missing) {
        reply_one(r, &o.sets[0]);
    } else if (result_begin(&result, r, RESULT_REPLY)) {
        combine(&o, &result);
        result_end(&result, NULL);
    }
    operands_free(&o);
}

static void store_combined(struct request *r, combine_fn *combine, const char *event)
{
    struct operands o;
    struct result result;
    if (!operands_find(r, 2, (unsigned)r->argc - 2, &o))
        return;
    if (result_begin(&result, r, RESULT_STORE)) {
        combine(&o, &result);
        result_end(&result, event);
    }
    operands_free(&o);
}

// --- intersections ------------------------------------------------------------------------------

// Walks over the smallest set and asks the others, in order of size.
static void intersect(struct operands *o, struct result *result)
{
    if (o->missing)
        return;
    qsort(o->sets, o->n, sizeof(*o->sets), smaller_first);
    struct set_iterator it = set_begin(&o->sets[0]);
    struct set_item item;
    while (set_next(&it, &item)) {
        unsigned i = 1;
        while (i < o->n && (o->sets[i].object == o->sets[0].object ||
                            set_has_item(result->r->store, &o->sets[i], &item)))
            i++;
        if (i == o->n && !result_add(result, &item))
            return;
    }
}

void sinter_command(struct request *r)
{
    reply_combined(r, intersect);
}

void sinterstore_command(struct request *r)
{
    store_combined(r, intersect, "sinterstore");
}

static bool parse_limit(struct request *r, int first, uint64_t *limit)
{
    for (int i = first; i < r->argc; i += 2) {
        int64_t value;
        if (!request_is(r, i, "limit") || i + 1 >= r->argc) {
            request_error(r, ERR_SYNTAX);
            return false;
        }
        if (!parse_int64(r->argv[i + 1].ptr, r->argv[i + 1].len, &value) || value < 0) {
            request_error(r, "ERR LIMIT can't be negative");
            return false;
        }
        *limit = (uint64_t)value;
    }
    return true;
}

void sintercard_command(struct request *r)
{
    int64_t n;
    uint64_t limit = 0;
    if (!parse_int64(r->argv[1].ptr, r->argv[1].len, &n) || n < 1) {
        request_error(r, "ERR numkeys should be greater than 0");
        return;
    }
    if (n > r->argc - 2) {
        request_error(r, "ERR Number of keys can't be greater than number of args");
        return;
    }
    struct operands o;
    struct result result;
    if (!parse_limit(r, 2 + (int)n, &limit) || !operands_find(r, 2, (unsigned)n, &o))
        return;
    if (result_begin(&result, r, RESULT_COUNT)) {
        result.limit = limit;
        if (o.n > 1)
            intersect(&o, &result);
        else
            result.n = limit && limit < size_of(&o.sets[0]) ? limit : size_of(&o.sets[0]);
        result_end(&result, NULL);
    }
    operands_free(&o);
}

// --- unions -------------------------------------------------------------------------------------

static void unite_by_adding(struct operands *o, struct result *result, struct set *seen)
{
    for (unsigned i = 0; i < o->n; i++) {
        if (!o->sets[i].object)
            continue;
        struct set_iterator it = set_begin(&o->sets[i]);
        struct set_item item;
        while (set_next(&it, &item)) {
            enum set_result added = SET_CHANGED;
            if (seen)
                added = set_add_item(result->r->store, seen, &result->limits, &item);
            if (added == SET_NO_MEMORY)
                result->failed = true;
            else if (added == SET_CHANGED)
                result_add(result, &item);
            if (result->failed)
                return;
        }
    }
}

// A member is new when none of the sets before has it.
static void unite_by_asking(struct operands *o, struct result *result)
{
    for (unsigned i = 0; i < o->n && o->sets[i].object; i++) {
        struct set_iterator it = set_begin(&o->sets[i]);
        struct set_item item;
        while (set_next(&it, &item)) {
            unsigned before = 0;
            while (before < i && !set_has_item(result->r->store, &o->sets[before], &item))
                before++;
            if (before == i)
                result_add(result, &item);
        }
    }
}

static void unite(struct operands *o, struct result *result)
{
    if (result->kind == RESULT_STORE) {
        unite_by_adding(o, result, NULL);
        return;
    }
    qsort(o->sets, o->n, sizeof(*o->sets), larger_first);
    uint64_t adding = 0, asking = 0;
    for (unsigned i = 0; i < o->n; i++) {
        adding += size_of(&o->sets[i]) * ADD_LOOKUPS;
        asking += size_of(&o->sets[i]) * i;
    }
    struct set seen;
    if (asking <= adding) {
        unite_by_asking(o, result);
    } else if (set_new_intset(&seen)) {
        unite_by_adding(o, result, &seen);
        set_free(&seen);
    } else {
        result->failed = true;
    }
}

void sunion_command(struct request *r)
{
    reply_combined(r, unite);
}

void sunionstore_command(struct request *r)
{
    store_combined(r, unite, "sunionstore");
}

// --- differences --------------------------------------------------------------------------------

// Walks over the first set and asks the others, the largest first.
static void subtract_by_asking(struct operands *o, struct result *result)
{
    if (o->n > 1)
        qsort(o->sets + 1, o->n - 1, sizeof(*o->sets), larger_first);
    struct set_iterator it = set_begin(&o->sets[0]);
    struct set_item item;
    while (set_next(&it, &item)) {
        unsigned i = 1;
        while (i < o->n && o->sets[i].object && !set_has_item(result->r->store, &o->sets[i], &item))
            i++;
        if ((i == o->n || !o->sets[i].object) && !result_add(result, &item))
            return;
    }
}

// Takes the others' members out of a copy of the first set.
static bool subtract_by_removing(struct operands *o, struct result *result, struct set *rest)
{
    struct store *s = result->r->store;
    struct set_iterator it = set_begin(&o->sets[0]);
    struct set_item item;
    while (set_next(&it, &item))
        if (set_add_item(s, rest, &result->limits, &item) == SET_NO_MEMORY)
            return false;
    for (unsigned i = 1; i < o->n; i++) {
        if (!o->sets[i].object)
            continue;
        it = set_begin(&o->sets[i]);
        while (set_count(rest) && set_next(&it, &item)) {
            char scratch[24];
            size_t len;
            const uint8_t *text = set_item_text(&item, scratch, &len);
            set_remove(s, rest, text, len);
        }
    }
    return true;
}

static bool first_is_repeated(const struct operands *o)
{
    for (unsigned i = 1; i < o->n; i++)
        if (o->sets[i].object == o->sets[0].object)
            return true;
    return false;
}

static void subtract(struct operands *o, struct result *result)
{
    assert(o->n > 0);
    if (!o->sets[0].object || first_is_repeated(o))
        return;
    // Asking for each member of the first set, or once over all sets. Asking is the cheaper step.
    uint64_t asking = 0, removing = 0;
    for (unsigned i = 0; i < o->n; i++) {
        asking += o->sets[i].object ? set_count(&o->sets[0]) : 0;
        removing += size_of(&o->sets[i]);
    }
    if (asking / 2 <= removing) {
        subtract_by_asking(o, result);
        return;
    }
    if (result->kind == RESULT_STORE) {
        result->failed = !subtract_by_removing(o, result, &result->set);
        return;
    }
    struct set rest;
    result->failed = !set_new_intset(&rest);
    if (result->failed)
        return;
    result->failed = !subtract_by_removing(o, result, &rest);
    struct set_iterator it = set_begin(&rest);
    struct set_item item;
    while (!result->failed && set_next(&it, &item))
        result_add(result, &item);
    set_free(&rest);
}

void sdiff_command(struct request *r)
{
    reply_combined(r, subtract);
}

void sdiffstore_command(struct request *r)
{
    store_combined(r, subtract, "sdiffstore");
}
