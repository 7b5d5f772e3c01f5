// SORT and SORT_RO: the elements of a list, a set or a sorted set in order of themselves or of what
// other keys hold for them. It goes through phases, each of which can be left in the middle: many
// elements that name no other keys are sorted over several turns.
#include <mimalloc.h>
#include <strings.h>

#include "dataplane/commands/effects.h"
#include "dataplane/commands/hashes_value.h"
#include "dataplane/commands/keys_commands.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/commands/permission.h"
#include "dataplane/commands/sort_order.h"
#include "dataplane/commands/steps.h"
#include "dataplane/store/object.h"
#include "dataplane/store/values/quicklist.h"
#include "dataplane/store/values/set.h"
#include "dataplane/store/values/sorted.h"

enum {
    CHUNK_BYTES = 64 << 10,
    STEP_ITEMS = 2 * STEPS_ELEMENTS, // that are loaded, weighed, merged or answered in a turn
};

// Texts that do not lie anywhere by themselves.
struct chunk {
    struct chunk *next;
    size_t used, room;
    uint8_t bytes[];
};

struct sort {
    struct request *r;
    bool read_only, descending, alpha, in_order; // in_order: BY names no other key
    const struct arg *by;
    int64_t limit_start, limit_count;
    int store;  // index of the argument, 0: none
    int n_gets; // GET options
    enum { SORT_BEGIN, SORT_LOAD, SORT_WEIGH, SORT_ORDER, SORT_LIMIT, SORT_ANSWER } phase;
    struct entry *entry; // NULL: there is none
    union {
        struct quicklist_iter list;
        struct {
            struct set set;
            struct set_iterator members;
        };
        struct {
            struct sorted sorted;
            struct sorted_at rank;
        };
    };              // where loading is
    bool list_open; // the first of these is to be ended
    struct sort_item *items;
    size_t n, at;      // `at`: the next one to be weighed or answered
    size_t first, end; // of what is answered: [first, end)
    struct sort_progress order;
    struct quicklist *stored;
    struct chunk *chunks;
    uint8_t *name; // of another key, as it is made
    size_t name_room;
    bool short_of_memory;
};

// --- arguments ----------------------------------------------------------------------------------

static bool arg_is(const struct arg *a, const char *word)
{
    return a->len == strlen(word) && !strncasecmp((const char *)a->ptr, word, a->len);
}

static bool names_others(const struct arg *pattern)
{
    return memchr(pattern->ptr, '*', pattern->len);
}

// Keys that nobody names: whoever may not read all may read none of them.
static bool may_reach(const struct sort *s, const char *option)
{
    struct request *r = s->r;
    if (__builtin_expect(!r->session->user, 1) ||
        permission_reads_all_keys(r->session->user, r->command, r->argv, r->argc))
        return true;
    request_errorf(r, "ERR %s option of SORT denied due to insufficient ACL permissions.", option);
    return false;
}

static bool parse_limit(struct sort *s, int i)
{
    return request_integer(s->r, i + 1, &s->limit_start) &&
           request_integer(s->r, i + 2, &s->limit_count);
}

static bool parse(struct sort *s)
{
    struct request *r = s->r;
    for (int i = 2; i < r->argc; i++) {
        int left = r->argc - i - 1;
        if (request_is(r, i, "asc")) {
            s->descending = false;
        } else if (request_is(r, i, "desc")) {
            s->descending = true;
        } else if (request_is(r, i, "alpha")) {
            s->alpha = true;
        } else if (request_is(r, i, "limit") && left >= 2) {
            if (!parse_limit(s, i))
                return false;
            i += 2;
        } else if (!s->read_only && request_is(r, i, "store") && left >= 1) {
            s->store = ++i;
        } else if (request_is(r, i, "by") && left >= 1) {
            s->by = &r->argv[++i];
            s->in_order = s->in_order || !names_others(s->by);
            if (names_others(s->by) && !may_reach(s, "BY"))
                return false;
        } else if (request_is(r, i, "get") && left >= 1) {
            s->n_gets++;
            i++;
            if (!may_reach(s, "GET"))
                return false;
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

// Walks over options as parse() does. Calls for each that has a value.
static int option_values(const struct arg *a)
{
    if (arg_is(a, "limit"))
        return 2;
    return arg_is(a, "store") || arg_is(a, "by") || arg_is(a, "get");
}

bool sort_needs_all(const struct arg *argv, int argc)
{
    for (int i = 2; i + 1 < argc; i += 1 + option_values(&argv[i]))
        if ((arg_is(&argv[i], "by") || arg_is(&argv[i], "get")) && names_others(&argv[i + 1]))
            return true;
    return false;
}

static int find_keys(const struct arg *argv, int argc, int *positions, int max, bool may_store)
{
    if (argc < 2)
        return -1;
    int store = 0;
    for (int i = 2; may_store && i + 1 < argc; i += 1 + option_values(&argv[i]))
        if (arg_is(&argv[i], "store"))
            store = i + 1; // the last one counts
    if (max > 0)
        positions[0] = 1;
    if (store && max > 1)
        positions[1] = store;
    return 1 + !!store;
}

int sort_find_keys(const struct arg *argv, int argc, int *positions, int max)
{
    return find_keys(argv, argc, positions, max, true);
}

int sort_ro_find_keys(const struct arg *argv, int argc, int *positions, int max)
{
    return find_keys(argv, argc, positions, max, false);
}

// --- texts --------------------------------------------------------------------------------------

static struct sort_text keep(struct sort *s, const void *data, size_t len)
{
    struct chunk *c = s->chunks;
    if (!c || c->room - c->used < len) {
        size_t room = len > CHUNK_BYTES ? len : CHUNK_BYTES;
        c = mi_malloc(sizeof(*c) + room);
        if (!c) {
            s->short_of_memory = true;
            return (struct sort_text){0};
        }
        *c = (struct chunk){.next = s->chunks, .room = room};
        s->chunks = c;
    }
    uint8_t *at = c->bytes + c->used;
    if (len)
        memcpy(at, data, len);
    c->used += len;
    return (struct sort_text){.ptr = at, .len = len};
}

static void sort_free(void *state)
{
    struct sort *s = state;
    for (struct chunk *c = s->chunks, *next; c; c = next) {
        next = c->next;
        mi_free(c);
    }
    if (s->list_open)
        quicklist_iter_end(&s->list);
    if (s->stored)
        quicklist_free(s->stored);
    mi_free(s->items);
    mi_free(s->order.other);
    mi_free(s->name);
}

// The name of the key that a pattern means for an element.
static struct key key_of(struct sort *s, const struct arg *pattern, const uint8_t *star,
                         size_t pattern_len, const struct sort_text *element)
{
    size_t before = (size_t)(star - pattern->ptr), behind = pattern_len - before - 1;
    size_t len = before + element->len + behind;
    if (len > s->name_room) {
        mi_free(s->name);
        s->name_room = 2 * len;
        s->name = mi_malloc(s->name_room);
        if (!s->name) {
            s->name_room = 0;
            s->short_of_memory = true;
            return (struct key){0};
        }
    }
    if (before)
        memcpy(s->name, pattern->ptr, before);
    if (element->len)
        memcpy(s->name + before, element->ptr, element->len);
    if (behind)
        memcpy(s->name + before + element->len, star + 1, behind);
    return keyspace_key(store_keyspace(s->r->store), s->name, len);
}

static struct sort_text field_text(struct sort *s, const struct key *key, struct entry *e,
                                   const uint8_t *name, size_t len)
{
    struct request *r = s->r;
    struct hash h = {
        .r = r,
        .key = *key,
        .entry = e,
        .object = entry_object(e),
        .encoding = entry_encoding(e),
        .now_ms = (int64_t)r->now_ms,
    };
    struct field f;
    if (!hash_find(&h, name, len, &f))
        return (struct sort_text){0};
    if (f.ptr == (const uint8_t *)f.scratch)
        return keep(s, f.ptr, f.len);
    return (struct sort_text){.ptr = f.ptr, .len = f.len};
}

// What a pattern gives for an element; ptr NULL: nothing.
static struct sort_text look_up(struct sort *s, const struct arg *pattern,
                                const struct sort_text *element)
{
    if (pattern->len == 1 && pattern->ptr[0] == '#')
        return *element;
    const uint8_t *star = memchr(pattern->ptr, '*', pattern->len);
    if (!star)
        return (struct sort_text){0};
    const uint8_t *end = pattern->ptr + pattern->len, *field = NULL;
    const uint8_t *arrow = memmem(star + 1, (size_t)(end - star - 1), "->", 2);
    if (arrow && arrow + 2 < end)
        field = arrow + 2;
    size_t pattern_len = field ? (size_t)(arrow - pattern->ptr) : pattern->len;
    struct key key = key_of(s, pattern, star, pattern_len, element);
    struct entry *e = s->short_of_memory ? NULL : lookup_read(s->r, &key);
    if (!e)
        return (struct sort_text){0};
    if (field)
        return entry_type(e) == OBJ_HASH ? field_text(s, &key, e, field, (size_t)(end - field))
                                         : (struct sort_text){0};
    if (entry_type(e) != OBJ_STRING)
        return (struct sort_text){0};
    char scratch[24];
    struct string_view v = entry_string(e, scratch);
    if (v.ptr == (const uint8_t *)scratch)
        return keep(s, v.ptr, v.len);
    return (struct sort_text){.ptr = v.ptr, .len = v.len};
}

// --- loading ------------------------------------------------------------------------------------

static void load(struct sort *s, struct sort_text text)
{
    s->items[s->n++] = (struct sort_item){.element = text};
}

static void load_integer(struct sort *s, int64_t value)
{
    char digits[24];
    size_t len = format_int64(digits, value);
    load(s, keep(s, digits, len));
}

static bool load_list(struct sort *s, size_t *left)
{
    struct quicklist_iter *it = &s->list;
    while (!s->short_of_memory) {
        if (!(*left)--)
            return false;
        if (it->item.ptr)
            load(s, keep(s, it->item.ptr, it->item.len));
        else
            load_integer(s, it->item.value);
        if (!quicklist_iter_next(it))
            break;
    }
    s->short_of_memory |= it->failed;
    return true;
}

static bool load_set(struct sort *s, size_t *left)
{
    struct set_item item;
    while (!s->short_of_memory) {
        if (!(*left)--)
            return false;
        if (!set_next(&s->members, &item))
            break;
        if (item.ptr)
            load(s, (struct sort_text){.ptr = item.ptr, .len = item.len});
        else
            load_integer(s, item.value);
    }
    return true;
}

static bool load_sorted(struct sort *s, size_t *left)
{
    while (s->rank.there && !s->short_of_memory) {
        if (!(*left)--)
            return false;
        char scratch[24];
        struct sorted_item item = sorted_item(&s->rank, scratch);
        load(s, keep(s, item.ptr, item.len));
        if (s->in_order && s->descending)
            sorted_prev(&s->rank);
        else
            sorted_next(&s->rank);
    }
    return true;
}

static void load_begin(struct sort *s)
{
    struct entry *e = s->entry;
    bool backward = s->in_order && s->descending;
    uint64_t n = object_length(entry_type(e), entry_encoding(e), entry_object(e));
    s->items = mi_mallocn(n, sizeof(*s->items));
    s->short_of_memory = !s->items;
    if (entry_type(e) == OBJ_LIST) {
        s->list_open = true;
        s->short_of_memory |=
            !quicklist_iter_begin(&s->list, entry_object(e), backward ? -1 : 0, backward);
    } else if (entry_type(e) == OBJ_SET) {
        s->set = set_of(e);
        s->members = set_begin(&s->set);
    } else {
        s->sorted = sorted_of(s->r->store, e);
        s->rank = sorted_at_rank(&s->sorted, backward ? n - 1 : 0);
    }
}

// True: all elements are there, or memory is short.
static bool load_more(struct sort *s, size_t *left)
{
    if (s->short_of_memory)
        return true;
    switch (entry_type(s->entry)) {
    case OBJ_LIST:
        return load_list(s, left);
    case OBJ_SET:
        return load_set(s, left);
    default:
        return load_sorted(s, left);
    }
}

// --- order --------------------------------------------------------------------------------------

// The keys that the items are sorted by. True: all have theirs, or one is no number (`*number` is
// then false), or memory is short.
static bool weigh(struct sort *s, size_t *left, bool *number)
{
    for (; s->at < s->n; s->at++) {
        struct sort_item *item = &s->items[s->at];
        if (!(*left)--)
            return false;
        struct sort_text text = s->by ? look_up(s, s->by, &item->element) : item->element;
        double score = 0;
        if (s->short_of_memory)
            return true;
        if (s->alpha) {
            item->by = text;
            item->key = sort_key_of_text(&text);
            continue;
        }
        if (text.ptr && !sort_score(&text, &score))
            *number = false;
        item->key = btree_key_of_double(score);
    }
    return true;
}

// True: the items are in order, or memory is short.
static bool put_in_order(struct sort *s, bool at_once, size_t left)
{
    unsigned flags = (s->alpha ? SORT_ALPHA : 0) | (s->by && s->alpha ? SORT_BY_TEXT : 0) |
                     (s->descending ? SORT_DESCENDING : 0);
    if (at_once) {
        s->short_of_memory = !sort_items(s->items, s->n, flags);
        return true;
    }
    s->order.items = s->items;
    s->order.n = s->n;
    s->order.flags = flags;
    enum sort_state state = sort_items_step(&s->order, left);
    s->items = s->order.items;
    s->short_of_memory = state == SORT_NO_MEMORY;
    return state != SORT_MORE;
}

static void limit(struct sort *s)
{
    int64_t n = (int64_t)s->n;
    int64_t start = s->limit_start < 0 ? 0 : s->limit_start;
    if (start > n)
        start = n;
    int64_t count = s->limit_count < 0 || s->limit_count > n - start ? n - start : s->limit_count;
    s->first = (size_t)start;
    s->end = (size_t)(start + count);
}

// --- the answer ---------------------------------------------------------------------------------

static void reply_text(struct sort *s, const struct sort_text *text)
{
    if (text->ptr)
        reply_bulk(s->r->out, text->ptr, text->len);
    else
        reply_null(s->r->out, s->r->session->resp);
}

// Gives what is answered for an item, one text after the other.
typedef bool give_fn(struct sort *s, void *context, const struct sort_text *text);
static bool give(struct sort *s, const struct sort_item *item, give_fn *to, void *context)
{
    struct request *r = s->r;
    if (!s->n_gets)
        return to(s, context, &item->element);
    for (int i = 2; i < r->argc; i++) {
        int values = option_values(&r->argv[i]);
        if (request_is(r, i, "get")) {
            struct sort_text text = look_up(s, &r->argv[i + 1], &item->element);
            if (s->short_of_memory || !to(s, context, &text))
                return false;
        }
        i += values;
    }
    return true;
}

static bool give_reply(struct sort *s, void *context, const struct sort_text *text)
{
    (void)context;
    reply_text(s, text);
    return true;
}

static bool give_list(struct sort *s, void *context, const struct sort_text *text)
{
    (void)s;
    return quicklist_push(context, QUICKLIST_TAIL, text->ptr ? (const void *)text->ptr : "",
                          text->len);
}

// Gives the next items; true: all, or it failed (`*ok`).
static bool give_more(struct sort *s, size_t *left, give_fn *to, void *context, bool *ok)
{
    for (; s->at < s->end && *ok; s->at++) {
        if (!(*left)--)
            return false;
        *ok = give(s, &s->items[s->at], to, context);
    }
    return true;
}

static void store_nothing(struct sort *s, const struct key *to)
{
    struct request *r = s->r;
    if (store_delete(r->store, r->session->db, to))
        request_changed(r, to, EVENT_GENERIC, "del");
    reply_integer(r->out, 0);
}

static int64_t answers(const struct sort *s)
{
    return (int64_t)(s->end - s->first) * (s->n_gets ? s->n_gets : 1);
}

static bool store_more(struct sort *s, size_t *left)
{
    struct request *r = s->r;
    struct key to = request_key(r, s->store);
    if (!answers(s)) {
        store_nothing(s, &to);
        return true;
    }
    if (!s->stored)
        s->stored =
            quicklist_new(r->limits->list_max_listpack_size, r->limits->list_compress_depth);
    bool ok = s->stored;
    if (!give_more(s, left, give_list, s->stored, &ok))
        return false;
    if (!ok || !store_put_object(r->store, r->session->db, &to, lookup_write(r, &to), OBJ_LIST,
                                 ENC_QUICKLIST, s->stored, -1)) {
        request_error(r, ERR_OOM);
        return true;
    }
    s->stored = NULL;
    request_changed(r, &to, EVENT_LIST, "sortstore");
    reply_integer(r->out, answers(s));
    return true;
}

static bool answer_more(struct sort *s, size_t *left)
{
    bool ok = !s->r->out->failed;
    bool done = give_more(s, left, give_reply, NULL, &ok);
    s->r->out->failed |= !ok;
    return done || s->r->out->failed;
}

// --- the commands -------------------------------------------------------------------------------

// Redis turns a small sorted set that is sorted into a big one, which OBJECT ENCODING shows.
static void make_skiplist(struct request *r, const struct key *key, struct entry *e)
{
    if (entry_encoding(e) != ENC_LISTPACK)
        return;
    struct edit edit = edit_begin(r->store, r->session->db, key, e);
    struct sorted z = sorted_of(r->store, e);
    if (sorted_convert(&z, ENC_SKIPLIST)) {
        edit.object = z.object;
        edit.encoding = z.encoding;
    }
    edit_end(&edit, 0);
}

static bool fail(struct sort *s, const char *error)
{
    request_error(s->r, error);
    return true;
}

// Does about `left` items of what is to be done, all for SIZE_MAX. True: it is answered.
static bool sort_more(struct sort *s, size_t left)
{
    bool number = true, at_once = left == SIZE_MAX;
    if (s->phase == SORT_BEGIN) {
        if (s->entry)
            load_begin(s);
        s->phase = SORT_LOAD;
    }
    if (s->phase == SORT_LOAD) {
        if (s->entry && !load_more(s, &left))
            return false;
        if (s->short_of_memory)
            return fail(s, ERR_OOM);
        s->phase = s->in_order ? SORT_LIMIT : SORT_WEIGH;
    }
    if (s->phase == SORT_WEIGH) {
        if (!weigh(s, &left, &number))
            return false;
        if (s->short_of_memory)
            return fail(s, ERR_OOM);
        if (!number)
            return fail(s, "ERR One or more scores can't be converted into double");
        s->phase = SORT_ORDER;
    }
    if (s->phase == SORT_ORDER) {
        if (!put_in_order(s, at_once, left))
            return false;
        if (s->short_of_memory)
            return fail(s, ERR_OOM);
        s->phase = SORT_LIMIT;
    }
    if (s->phase == SORT_LIMIT) {
        limit(s);
        s->at = s->first;
        if (!s->store)
            reply_array(s->r->out, answers(s));
        s->phase = SORT_ANSWER;
    }
    return s->store ? store_more(s, &left) : answer_more(s, &left);
}

static bool sort_step(struct request *r, void *state)
{
    struct sort *s = state;
    s->r = r;
    return sort_more(s, STEP_ITEMS);
}

static bool sort_in_steps(struct sort *s)
{
    struct request *r = s->r;
    const struct entry *e = s->entry;
    // Pointers into values of other keys are good in one turn only.
    if (!e || sort_needs_all(r->argv, r->argc) ||
        object_length(entry_type(e), entry_encoding(e), entry_object(e)) <= STEPS_WORTHWHILE)
        return false;
    struct sort *steps = request_work(r, sort_step, sort_free, sizeof(*steps));
    if (!steps)
        return false;
    *steps = *s;
    steps->by = NULL; // names no other key
    return true;
}

static void sort_any(struct request *r, bool read_only)
{
    struct sort s = {.r = r, .read_only = read_only, .limit_count = -1};
    if (!parse(&s))
        return;
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (e && entry_type(e) != OBJ_LIST && entry_type(e) != OBJ_SET && entry_type(e) != OBJ_ZSET) {
        request_error(r, ERR_WRONGTYPE);
        return;
    }
    if (e && entry_type(e) == OBJ_ZSET)
        make_skiplist(r, &key, e);
    // What is stored must not depend on the order of a hash table.
    if (e && entry_type(e) == OBJ_SET && s.in_order && s.store) {
        s.in_order = false;
        s.alpha = true;
        s.by = NULL;
    }
    s.entry = e;
    if (sort_in_steps(&s))
        return;
    sort_more(&s, SIZE_MAX);
    sort_free(&s);
}

void sort_command(struct request *r)
{
    sort_any(r, false);
}

void sort_ro_command(struct request *r)
{
    sort_any(r, true);
}
