// SORT and SORT_RO: the elements of a list, a set or a sorted set in order of themselves or of what
// other keys hold for them.
#include <mimalloc.h>
#include <strings.h>

#include "dataplane/commands/effects.h"
#include "dataplane/commands/hashes_value.h"
#include "dataplane/commands/keys_commands.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/commands/sort_order.h"
#include "dataplane/store/object.h"
#include "dataplane/store/values/quicklist.h"
#include "dataplane/store/values/set.h"
#include "dataplane/store/values/sorted.h"

enum { CHUNK_BYTES = 64 << 10 };

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
    struct sort_item *items;
    size_t n, first, end; // of what is answered: [first, end)
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
        } else if (request_is(r, i, "get") && left >= 1) {
            s->n_gets++;
            i++;
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

static void sort_free(struct sort *s)
{
    for (struct chunk *c = s->chunks, *next; c; c = next) {
        next = c->next;
        mi_free(c);
    }
    mi_free(s->items);
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

static void load_list(struct sort *s, const struct quicklist *ql)
{
    struct quicklist_iter it;
    bool backward = s->in_order && s->descending;
    bool there = quicklist_iter_begin(&it, ql, backward ? -1 : 0, backward);
    for (; there && !s->short_of_memory; there = quicklist_iter_next(&it)) {
        if (it.item.ptr)
            load(s, keep(s, it.item.ptr, it.item.len));
        else
            load_integer(s, it.item.value);
    }
    s->short_of_memory |= it.failed;
    quicklist_iter_end(&it);
}

static void load_set(struct sort *s, const struct set *set)
{
    struct set_iterator it = set_begin(set);
    struct set_item item;
    while (!s->short_of_memory && set_next(&it, &item)) {
        if (item.ptr)
            load(s, (struct sort_text){.ptr = item.ptr, .len = item.len});
        else
            load_integer(s, item.value);
    }
}

static void load_sorted(struct sort *s, const struct sorted *z, uint64_t count)
{
    bool backward = s->in_order && s->descending;
    struct sorted_at at = sorted_at_rank(z, backward ? count - 1 : 0);
    while (at.there && !s->short_of_memory) {
        char scratch[24];
        struct sorted_item item = sorted_item(&at, scratch);
        load(s, keep(s, item.ptr, item.len));
        if (backward)
            sorted_prev(&at);
        else
            sorted_next(&at);
    }
}

static bool load_all(struct sort *s, const struct entry *e)
{
    uint64_t n = e ? object_length(entry_type(e), entry_encoding(e), entry_object(e)) : 0;
    if (!n)
        return true;
    s->items = mi_mallocn(n, sizeof(*s->items));
    if (!s->items)
        return false;
    if (entry_type(e) == OBJ_LIST) {
        load_list(s, entry_object(e));
    } else if (entry_type(e) == OBJ_SET) {
        struct set set = set_of(e);
        load_set(s, &set);
    } else {
        struct sorted z = sorted_of(s->r->store, e);
        load_sorted(s, &z, n);
    }
    return !s->short_of_memory;
}

// --- order --------------------------------------------------------------------------------------

// The keys that the items are sorted by. False: one is no number (`*number` is then false), or
// memory is short.
static bool weigh(struct sort *s, bool *number)
{
    *number = true;
    for (size_t i = 0; i < s->n; i++) {
        struct sort_item *item = &s->items[i];
        struct sort_text text = s->by ? look_up(s, s->by, &item->element) : item->element;
        double score = 0;
        if (s->short_of_memory)
            return false;
        if (s->alpha) {
            item->by = text;
            item->key = sort_key_of_text(&text);
            continue;
        }
        if (text.ptr && !sort_score(&text, &score))
            *number = false;
        item->key = btree_key_of_double(score);
    }
    return *number;
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

static bool store_list(struct sort *s, struct quicklist *ql, struct key *to)
{
    struct request *r = s->r;
    for (size_t i = s->first; i < s->end; i++)
        if (!give(s, &s->items[i], give_list, ql))
            return false;
    return store_put_object(r->store, r->session->db, to, lookup_write(r, to), OBJ_LIST,
                            ENC_QUICKLIST, ql, -1);
}

static void store(struct sort *s, int64_t n)
{
    struct request *r = s->r;
    struct key to = request_key(r, s->store);
    if (!n) {
        if (store_delete(r->store, r->session->db, &to))
            request_changed(r, &to, EVENT_GENERIC, "del");
        reply_integer(r->out, 0);
        return;
    }
    struct quicklist *ql =
        quicklist_new(r->limits->list_max_listpack_size, r->limits->list_compress_depth);
    if (!ql || !store_list(s, ql, &to)) {
        if (ql)
            quicklist_free(ql);
        request_error(r, ERR_OOM);
        return;
    }
    request_changed(r, &to, EVENT_LIST, "sortstore");
    reply_integer(r->out, n);
}

static void answer(struct sort *s)
{
    struct request *r = s->r;
    int64_t n = (int64_t)(s->end - s->first) * (s->n_gets ? s->n_gets : 1);
    if (s->store) {
        store(s, n);
        return;
    }
    reply_array(r->out, n);
    for (size_t i = s->first; i < s->end && !r->out->failed; i++)
        if (!give(s, &s->items[i], give_reply, NULL))
            r->out->failed = true;
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

static void sort(struct sort *s, struct entry *e)
{
    struct request *r = s->r;
    bool number = true;
    if (!load_all(s, e) || (!s->in_order && !weigh(s, &number))) {
        request_error(r,
                      number ? ERR_OOM : "ERR One or more scores can't be converted into double");
        return;
    }
    unsigned flags = (s->alpha ? SORT_ALPHA : 0) | (s->by && s->alpha ? SORT_BY_TEXT : 0) |
                     (s->descending ? SORT_DESCENDING : 0);
    if (!s->in_order && !sort_items(s->items, s->n, flags)) {
        request_error(r, ERR_OOM);
        return;
    }
    limit(s);
    answer(s);
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
    sort(&s, e);
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
