#include "dataplane/store/values/set.h"

#include <assert.h>

#include "dataplane/store/internal.h"
#include "dataplane/store/values/intset.h"
#include "dataplane/store/values/listpack.h"

static uint64_t intset_entries_max(const struct set_limits *limits)
{
    return limits->intset_entries < INTSET_COUNT_MAX ? limits->intset_entries : INTSET_COUNT_MAX;
}

const uint8_t *set_item_text(const struct set_item *item, char scratch[24], size_t *len)
{
    if (item->ptr) {
        *len = item->len;
        return item->ptr;
    }
    *len = integer_print(item->value, scratch);
    return (const uint8_t *)scratch;
}

static struct set_item item_of_member(struct entry *e)
{
    struct set_item item = {.at = e};
    item.ptr = member_name(e, &item.len);
    return item;
}

static struct set_item item_of_element(uint8_t *p)
{
    struct lp_item element = lp_get(p);
    return (struct set_item){
        .ptr = element.ptr, .len = element.len, .value = element.value, .at = p};
}

// --- life ---------------------------------------------------------------------------------------

static bool make(struct set *set, enum object_encoding encoding)
{
    void *object = encoding == ENC_INTSET     ? (void *)intset_new()
                   : encoding == ENC_LISTPACK ? (void *)lp_new(0)
                                              : members_new();
    *set = (struct set){.encoding = encoding, .object = object};
    return object;
}

bool set_new(struct set *set, const struct set_limits *limits, const void *first, size_t len,
             uint64_t expected)
{
    int64_t value;
    // Without listpacks a set of integers is always tried as an intset, whatever is to come.
    if (integer_parse(first, len, &value) &&
        (!limits->listpack_entries || expected <= intset_entries_max(limits)))
        return make(set, ENC_INTSET);
    bool small = limits->listpack_entries && expected <= limits->listpack_entries;
    return make(set, small ? ENC_LISTPACK : ENC_HASHTABLE);
}

bool set_new_intset(struct set *set)
{
    return make(set, ENC_INTSET);
}

void set_free(struct set *set)
{
    object_free(OBJ_SET, set->encoding, set->object);
    set->object = NULL;
}

uint64_t set_count(const struct set *set)
{
    return object_length(OBJ_SET, set->encoding, set->object);
}

// --- membership ---------------------------------------------------------------------------------

static uint8_t *element_find(const uint8_t *lp, const void *data, size_t len)
{
    uint8_t *first = lp_first(lp);
    return first ? lp_find(lp, first, data, len, 0) : NULL;
}

bool set_has(const struct store *s, const struct set *set, const void *data, size_t len)
{
    int64_t value;
    switch (set->encoding) {
    case ENC_INTSET:
        return integer_parse(data, len, &value) && intset_has(set->object, value);
    case ENC_LISTPACK:
        return element_find(set->object, data, len);
    default:
        return members_find(s, set->object, data, len);
    }
}

bool set_has_item(const struct store *s, const struct set *set, const struct set_item *item)
{
    if (set->encoding == ENC_INTSET && !item->ptr)
        return intset_has(set->object, item->value);
    char scratch[24];
    size_t len;
    const uint8_t *text = set_item_text(item, scratch, &len);
    return set_has(s, set, text, len);
}

// --- changes ------------------------------------------------------------------------------------

// A copy in another encoding, into which all fit. False: memory is short.
static bool convert_into(struct store *s, const struct set *set, struct set *to,
                         enum object_encoding encoding)
{
    if (!make(to, encoding))
        return false;
    struct set_iterator it = set_begin(set);
    struct set_item item;
    while (set_next(&it, &item)) {
        char scratch[24];
        size_t len;
        const uint8_t *text = set_item_text(&item, scratch, &len);
        void *added = encoding == ENC_LISTPACK ? (void *)lp_append(to->object, text, len)
                                               : members_add(s, to->object, text, len, NULL, 0);
        if (!added) {
            set_free(to);
            return false;
        }
        if (encoding == ENC_LISTPACK)
            to->object = added;
    }
    return true;
}

// Where memory is short the set stays what it is, which is as good.
static void convert(struct store *s, struct set *set, enum object_encoding encoding)
{
    struct set fresh;
    if (!convert_into(s, set, &fresh, encoding))
        return;
    set_free(set);
    *set = fresh;
}

static enum set_result add_new_member(struct store *s, struct members *m, const void *data,
                                      size_t len)
{
    return members_add(s, m, data, len, NULL, 0) ? SET_CHANGED : SET_NO_MEMORY;
}

static enum set_result add_element(struct set *set, const void *data, size_t len)
{
    uint8_t *lp = lp_append(set->object, data, len);
    if (!lp)
        return SET_NO_MEMORY;
    set->object = lp;
    return SET_CHANGED;
}

// Adds what the present encoding cannot hold, by way of another.
static enum set_result add_converted(struct store *s, struct set *set,
                                     enum object_encoding encoding, const void *data, size_t len)
{
    struct set fresh;
    if (!convert_into(s, set, &fresh, encoding))
        return SET_NO_MEMORY;
    enum set_result result = encoding == ENC_LISTPACK ? add_element(&fresh, data, len)
                                                      : add_new_member(s, fresh.object, data, len);
    if (result == SET_NO_MEMORY) {
        set_free(&fresh);
        return result;
    }
    set_free(set);
    *set = fresh;
    return result;
}

static enum set_result add_integer(struct store *s, struct set *set,
                                   const struct set_limits *limits, int64_t value)
{
    bool added;
    uint8_t *is = intset_add(set->object, value, &added);
    if (!is)
        return SET_NO_MEMORY;
    set->object = is;
    if (added && intset_count(is) > intset_entries_max(limits))
        convert(s, set, ENC_HASHTABLE);
    return added ? SET_CHANGED : SET_SAME;
}

static size_t digits_max(const uint8_t *is)
{
    char scratch[24];
    uint32_t n = intset_count(is);
    if (!n)
        return 0;
    size_t first = integer_print(intset_at(is, 0), scratch);
    size_t last = integer_print(intset_at(is, n - 1), scratch);
    return first > last ? first : last;
}

static enum set_result add_text_to_intset(struct store *s, struct set *set,
                                          const struct set_limits *limits, const void *data,
                                          size_t len)
{
    bool small = intset_count(set->object) < limits->listpack_entries &&
                 len <= limits->listpack_value && digits_max(set->object) <= limits->listpack_value;
    return add_converted(s, set, small ? ENC_LISTPACK : ENC_HASHTABLE, data, len);
}

static enum set_result add_to_listpack(struct store *s, struct set *set,
                                       const struct set_limits *limits, const void *data,
                                       size_t len)
{
    if (element_find(set->object, data, len))
        return SET_SAME;
    if (lp_count(set->object) < limits->listpack_entries && len <= limits->listpack_value &&
        lp_takes(set->object, lp_element_bytes(data, len)))
        return add_element(set, data, len);
    return add_converted(s, set, ENC_HASHTABLE, data, len);
}

enum set_result set_add(struct store *s, struct set *set, const struct set_limits *limits,
                        const void *data, size_t len)
{
    int64_t value;
    switch (set->encoding) {
    case ENC_INTSET:
        if (integer_parse(data, len, &value))
            return add_integer(s, set, limits, value);
        return add_text_to_intset(s, set, limits, data, len);
    case ENC_LISTPACK:
        return add_to_listpack(s, set, limits, data, len);
    default:
        if (members_find(s, set->object, data, len))
            return SET_SAME;
        return add_new_member(s, set->object, data, len);
    }
}

enum set_result set_add_item(struct store *s, struct set *set, const struct set_limits *limits,
                             const struct set_item *item)
{
    if (set->encoding == ENC_INTSET && !item->ptr)
        return add_integer(s, set, limits, item->value);
    char scratch[24];
    size_t len;
    const uint8_t *text = set_item_text(item, scratch, &len);
    return set_add(s, set, limits, text, len);
}

void set_expect(struct store *s, struct set *set, const struct set_limits *limits, uint64_t more)
{
    if (limits->listpack_entries &&
        ((set->encoding == ENC_INTSET && more > intset_entries_max(limits)) ||
         (set->encoding == ENC_LISTPACK && more > limits->listpack_entries)))
        convert(s, set, ENC_HASHTABLE);
}

static enum set_result remove_integer(struct set *set, int64_t value)
{
    bool removed;
    set->object = intset_remove(set->object, value, &removed);
    return removed ? SET_CHANGED : SET_SAME;
}

static enum set_result remove_element(struct set *set, uint8_t *p)
{
    uint8_t *lp = lp_delete(set->object, p, NULL);
    if (!lp)
        return SET_NO_MEMORY;
    set->object = lp;
    return SET_CHANGED;
}

enum set_result set_remove(struct store *s, struct set *set, const void *data, size_t len)
{
    int64_t value;
    uint8_t *p;
    struct entry *e;
    switch (set->encoding) {
    case ENC_INTSET:
        return integer_parse(data, len, &value) ? remove_integer(set, value) : SET_SAME;
    case ENC_LISTPACK:
        p = element_find(set->object, data, len);
        return p ? remove_element(set, p) : SET_SAME;
    default:
        e = members_find(s, set->object, data, len);
        if (!e)
            return SET_SAME;
        members_remove(s, set->object, e);
        return SET_CHANGED;
    }
}

enum set_result set_take(struct store *s, struct set *set, const struct set_item *item)
{
    switch (set->encoding) {
    case ENC_INTSET:
        return remove_integer(set, item->value);
    case ENC_LISTPACK:
        return remove_element(set, item->at);
    default:
        members_remove(s, set->object, item->at);
        return SET_CHANGED;
    }
}

// --- walking ------------------------------------------------------------------------------------

struct set_item set_random(struct store *s, const struct set *set)
{
    uint64_t n = set_count(set);
    assert(n);
    switch (set->encoding) {
    case ENC_INTSET:
        return (struct set_item){.value =
                                     intset_at(set->object, (uint32_t)store_random_below(s, n))};
    case ENC_LISTPACK:
        return item_of_element(lp_seek(set->object, (int64_t)store_random_below(s, n)));
    default:
        return item_of_member(members_random(s, set->object));
    }
}

struct set_iterator set_begin(const struct set *set)
{
    struct set_iterator it = {.set = *set};
    if (set->encoding == ENC_INTSET)
        it.count = intset_count(set->object);
    else if (set->encoding == ENC_LISTPACK)
        it.next = lp_first(set->object);
    else
        it.members = members_begin(set->object);
    return it;
}

bool set_next(struct set_iterator *it, struct set_item *item)
{
    struct entry *e;
    switch (it->set.encoding) {
    case ENC_INTSET:
        if (it->index == it->count)
            return false;
        *item = (struct set_item){.value = intset_at(it->set.object, it->index++)};
        return true;
    case ENC_LISTPACK:
        if (!it->next)
            return false;
        *item = item_of_element(it->next);
        it->next = lp_next(it->set.object, it->next);
        return true;
    default:
        e = members_next(&it->members);
        if (!e)
            return false;
        *item = item_of_member(e);
        return true;
    }
}
