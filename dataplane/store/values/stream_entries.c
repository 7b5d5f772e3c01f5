// Entries of a stream: added at the end, walked over, deleted, trimmed from the start.
#include <string.h>

#include "common/arg.h"
#include "dataplane/store/values/listpack.h"
#include "dataplane/store/values/stream_internal.h"

enum {
    ELEMENT_HEAD_MAX = 11, // bytes that an element may take beside its own
    NODE_BYTES_MAX = 1 << 30,
    WORDS_AT_ONCE = 16, // of an entry that is encoded on the stack
};

static int64_t integer_at(const uint8_t *p)
{
    int64_t value = 0;
    lp_integer(p, &value);
    return value;
}

// Past `n` elements from p on, which are there; NULL: the end of the listpack.
static uint8_t *past(const uint8_t *lp, uint8_t *p, uint64_t n)
{
    while (p && n--)
        p = lp_next(lp, p);
    return p;
}

// --- the counts at the start of a node -----------------------------------------------------------

static uint64_t node_live(const uint8_t *lp)
{
    return (uint64_t)integer_at(lp_first(lp));
}

static uint64_t node_deleted(const uint8_t *lp)
{
    return (uint64_t)integer_at(lp_next(lp, lp_first(lp)));
}

static uint8_t *set_live(uint8_t *lp, uint64_t n)
{
    return lp_insert_integer(lp, lp_first(lp), LP_REPLACE, (int64_t)n, NULL);
}

static uint8_t *set_deleted(uint8_t *lp, uint64_t n)
{
    return lp_insert_integer(lp, lp_next(lp, lp_first(lp)), LP_REPLACE, (int64_t)n, NULL);
}

// --- adding --------------------------------------------------------------------------------------

// Listpack functions in a row: the first that fails ends the listpack that is being made.
static void push_integer(uint8_t **lp, uint64_t value)
{
    uint8_t *more = *lp ? lp_append_integer(*lp, (int64_t)value) : NULL;
    if (!more)
        lp_free(*lp);
    *lp = more;
}

static void push(uint8_t **lp, const struct arg *word)
{
    uint8_t *more = *lp ? lp_append(*lp, word->ptr, word->len) : NULL;
    if (!more)
        lp_free(*lp);
    *lp = more;
}

static bool has_fields(const uint8_t *lp, const struct arg *words, unsigned n)
{
    uint8_t *p = past(lp, lp_first(lp), 2);
    if (integer_at(p) != n / 2)
        return false;
    for (unsigned i = 0; i < n; i += 2) {
        p = lp_next(lp, p);
        if (!lp_equal(p, words[i].ptr, words[i].len))
            return false;
    }
    return true;
}

// Appends the elements of an entry; its ms and seq are those beyond the node's.
static void push_entry(uint8_t **lp, struct stream_id beyond, const struct arg *words, unsigned n,
                       bool same)
{
    push_integer(lp, same ? STREAM_SAME_FIELDS : 0);
    push_integer(lp, beyond.ms);
    push_integer(lp, beyond.seq);
    if (!same)
        push_integer(lp, n / 2);
    for (unsigned i = same; i < n; i += same ? 2 : 1)
        push(lp, &words[i]);
    push_integer(lp, STREAM_ENTRY_HEAD + (same ? n / 2 : n + 1));
}

static bool add_to_new(struct stream_value *x, struct stream_id id, const struct arg *words,
                       unsigned n, size_t bytes)
{
    uint8_t *lp = lp_new(bytes + (size_t)(n + n / 2 + 8) * ELEMENT_HEAD_MAX);
    push_integer(&lp, 1);
    push_integer(&lp, 0);
    push_integer(&lp, n / 2);
    for (unsigned i = 0; i < n; i += 2)
        push(&lp, &words[i]);
    push_integer(&lp, 0);
    push_entry(&lp, STREAM_ID_MIN, words, n, true);
    if (!lp)
        return false;
    lp = lp_shrink(lp);
    if (stream_node_add(x, id, lp))
        return true;
    lp_free(lp);
    return false;
}

// The elements of an entry, to be appended in one piece: at most n + 5.
static unsigned encode_entry(struct lp_encoded *e, struct stream_id beyond, const struct arg *words,
                             unsigned n, bool same)
{
    unsigned at = 0;
    lp_encode_integer(&e[at++], same ? STREAM_SAME_FIELDS : 0);
    lp_encode_integer(&e[at++], (int64_t)beyond.ms);
    lp_encode_integer(&e[at++], (int64_t)beyond.seq);
    if (!same)
        lp_encode_integer(&e[at++], n / 2);
    for (unsigned i = same; i < n; i += same ? 2 : 1)
        lp_encode(&e[at++], words[i].ptr, words[i].len);
    lp_encode_integer(&e[at++], STREAM_ENTRY_HEAD + (same ? n / 2 : n + 1));
    return at;
}

// The entry is appended in one piece, so that a node never holds a part of it. One of many words is
// made apart.
static uint8_t *append_entry(uint8_t *to, struct stream_id beyond, const struct arg *words,
                             unsigned n, size_t bytes)
{
    bool same = has_fields(to, words, n);
    if (n <= WORDS_AT_ONCE) {
        struct lp_encoded elements[WORDS_AT_ONCE + 5];
        return lp_insert_many(to, NULL, elements, encode_entry(elements, beyond, words, n, same));
    }
    uint8_t *entry = lp_new(bytes + (size_t)(n + 5) * ELEMENT_HEAD_MAX);
    push_entry(&entry, beyond, words, n, same);
    if (!entry)
        return NULL;
    uint8_t *lp = lp_append_all(to, entry);
    lp_free(entry);
    return lp;
}

static bool add_to_node(struct stream_value *x, struct btree_at at, struct stream_id id,
                        const struct arg *words, unsigned n, size_t bytes)
{
    struct stream_node *node = btree_item(at);
    struct stream_id begin = stream_node_id(at);
    struct stream_id beyond = {id.ms - begin.ms, id.seq - begin.seq};
    size_t before = lp_memory(node->lp);
    uint64_t live = node_live(node->lp);
    uint8_t *lp = append_entry(node->lp, beyond, words, n, bytes);
    if (!lp)
        return false;
    uint8_t *counted = set_live(lp, live + 1);
    if (!counted) { // takes the entry off again
        uint8_t *last = lp_last(lp);
        int64_t elements = integer_at(last) + 1;
        uint8_t *shorter = lp_delete_range(lp, -elements, (uint32_t)elements);
        stream_node_moved(x, node, shorter ? shorter : lp, before);
        return false;
    }
    stream_node_moved(x, node, counted, before);
    return true;
}

static bool node_is_full(const uint8_t *lp, size_t more, uint64_t max_bytes, uint64_t max_entries)
{
    if (!max_bytes || max_bytes > NODE_BYTES_MAX)
        max_bytes = NODE_BYTES_MAX;
    return lp_bytes(lp) + more >= max_bytes ||
           (max_entries && node_live(lp) + node_deleted(lp) >= max_entries);
}

enum stream_added stream_add(struct stream_value *x, struct stream_id id, const struct arg *words,
                             unsigned n, uint64_t node_max_bytes, uint64_t node_max_entries)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < n; i++)
        bytes += words[i].len;
    if (bytes > STREAM_ENTRY_BYTES_MAX)
        return STREAM_TOO_LARGE;
    struct btree_at at = btree_last(&x->nodes);
    bool fresh = !at.leaf || node_is_full(((struct stream_node *)btree_item(at))->lp, bytes,
                                          node_max_bytes, node_max_entries);
    if (fresh ? !add_to_new(x, id, words, n, bytes) : !add_to_node(x, at, id, words, n, bytes))
        return STREAM_NO_MEMORY;
    x->entries_added++;
    x->last = id;
    if (!x->length++)
        x->first = id;
    return STREAM_ADDED;
}

// --- walking -------------------------------------------------------------------------------------

void stream_walk_begin(struct stream_walk *w, const struct stream_value *x, struct stream_id start,
                       struct stream_id end, bool reverse)
{
    *w = (struct stream_walk){.stream = x, .start = start, .end = end, .reverse = reverse};
    struct stream_id from = reverse ? end : start;
    // The node that holds `from` is the last that begins no later.
    struct btree_at at = btree_upper(&x->nodes, from.ms, &from.seq);
    if (at.leaf)
        btree_prev(&at);
    else
        at = btree_last(&x->nodes);
    if (!at.leaf && !reverse)
        at = btree_first(&x->nodes);
    w->at = at;
}

static bool open_next_node(struct stream_walk *w)
{
    if (!w->at.leaf)
        return false;
    w->node = btree_item(w->at);
    w->node_id = stream_node_id(w->at);
    uint8_t *lp = w->node->lp;
    uint8_t *p = past(lp, lp_first(lp), 2);
    w->node_n = (uint64_t)integer_at(p);
    w->node_fields = lp_next(lp, p);
    w->words = 0;
    w->next_word = NULL;
    if (w->reverse) {
        w->entry = lp_last(lp);
        btree_prev(&w->at);
    } else {
        w->entry = past(lp, w->node_fields, w->node_n + 1);
        btree_next(&w->at);
    }
    return true;
}

// Finds the start of the next entry of the open node; NULL: it has no more.
static uint8_t *next_flags(struct stream_walk *w)
{
    uint8_t *lp = w->node->lp;
    if (!w->reverse) {
        if (w->next_word) // over what was not read, and the count behind
            w->entry = past(lp, w->next_word, w->words + 1);
        return w->entry;
    }
    if (!w->entry)
        return NULL;
    int64_t back = integer_at(w->entry);
    if (back == 0) // the element before the first entry
        return NULL;
    uint8_t *flags = w->entry;
    while (flags && back--)
        flags = lp_prev(lp, flags);
    w->entry = flags ? lp_prev(lp, flags) : NULL;
    return flags;
}

// Reads an entry's head; false when the node has no more.
static bool next_in_node(struct stream_walk *w, int64_t *flags)
{
    uint8_t *lp = w->node->lp;
    uint8_t *p = next_flags(w);
    if (!p)
        return false;
    w->flags = p;
    *flags = integer_at(p);
    p = lp_next(lp, p);
    w->id.ms = w->node_id.ms + (uint64_t)integer_at(p);
    p = lp_next(lp, p);
    w->id.seq = w->node_id.seq + (uint64_t)integer_at(p);
    p = lp_next(lp, p);
    if (*flags & STREAM_SAME_FIELDS) {
        w->n = w->words = w->node_n;
        w->next_field = w->node_fields;
    } else {
        w->n = (uint64_t)integer_at(p);
        w->words = w->n * 2;
        w->next_field = NULL;
        p = lp_next(lp, p);
    }
    w->next_word = p;
    return true;
}

bool stream_walk_next(struct stream_walk *w)
{
    for (;;) {
        int64_t flags;
        if (!w->node || !next_in_node(w, &flags)) {
            if (!open_next_node(w))
                return false;
            continue;
        }
        bool low = stream_id_compare(w->id, w->start) < 0;
        bool high = stream_id_compare(w->id, w->end) > 0;
        if (w->reverse ? low : high) {
            w->at.leaf = NULL;
            w->node = NULL;
            return false;
        }
        if (!low && !high && !(flags & STREAM_DELETED))
            return true;
    }
}

void stream_walk_field(struct stream_walk *w, const uint8_t **field, const uint8_t **value)
{
    const uint8_t *lp = w->node->lp;
    if (w->next_field) {
        *field = w->next_field;
        w->next_field = lp_next(lp, w->next_field);
    } else {
        *field = w->next_word;
        w->next_word = lp_next(lp, w->next_word);
        w->words--;
    }
    *value = w->next_word;
    w->next_word = lp_next(lp, w->next_word);
    w->words--;
}

bool stream_has(const struct stream_value *x, struct stream_id id)
{
    struct stream_walk w;
    stream_walk_begin(&w, x, id, id, false);
    return stream_walk_next(&w);
}

struct stream_id stream_edge(const struct stream_value *x, bool last)
{
    struct stream_walk w;
    stream_walk_begin(&w, x, STREAM_ID_MIN, STREAM_ID_MAX, last);
    return stream_walk_next(&w) ? w.id : STREAM_ID_MIN;
}

// --- removing ------------------------------------------------------------------------------------

static void first_again(struct stream_value *x)
{
    x->first = x->length ? stream_edge(x, false) : STREAM_ID_MIN;
}

// Writes the counts of a node after `gone` of its entries were marked. Counts may need a byte more,
// which may fail: then they stay behind, to the harm of nothing but the node's own accounts.
static uint8_t *count_gone(uint8_t *lp, uint64_t gone)
{
    uint64_t live = node_live(lp), deleted = node_deleted(lp);
    uint8_t *counted = set_deleted(lp, deleted + gone);
    if (counted)
        lp = counted;
    counted = set_live(lp, live - gone);
    return counted ? counted : lp;
}

static uint8_t *mark_deleted(uint8_t *lp, uint8_t *flags)
{
    uint8_t *marked =
        lp_insert_integer(lp, flags, LP_REPLACE, integer_at(flags) | STREAM_DELETED, NULL);
    return marked ? marked : lp; // flags keep their width: it cannot fail
}

bool stream_delete(struct stream_value *x, struct stream_id id)
{
    struct stream_walk w;
    stream_walk_begin(&w, x, id, id, false);
    if (!stream_walk_next(&w))
        return false;
    if (node_live(w.node->lp) == 1) {
        stream_node_remove(x, w.node_id);
    } else {
        size_t before = lp_memory(w.node->lp);
        uint8_t *lp = mark_deleted(w.node->lp, w.flags);
        stream_node_moved(x, w.node, count_gone(lp, 1), before);
    }
    x->length--;
    if (stream_id_compare(id, x->max_deleted) > 0)
        x->max_deleted = id;
    if (!x->length || stream_id_compare(id, x->first) == 0)
        first_again(x);
    return true;
}

// The id of a node's last entry, deleted or not.
static struct stream_id node_last(const uint8_t *lp, struct stream_id id)
{
    uint8_t *p = lp_last(lp);
    int64_t back = integer_at(p);
    if (back == 0)
        return id;
    while (back--)
        p = lp_prev(lp, p);
    p = lp_next(lp, p);
    id.ms += (uint64_t)integer_at(p);
    id.seq += (uint64_t)integer_at(lp_next(lp, p));
    return id;
}

// Marks entries from the start of a node on, as far as the trim goes.
static uint64_t trim_within(struct stream_value *x, struct stream_node *node, struct stream_id id,
                            const struct stream_trim *trim)
{
    size_t before = lp_memory(node->lp);
    uint64_t gone = 0;
    struct stream_walk w = {.stream = x, .node = node, .node_id = id};
    uint8_t *lp = node->lp;
    uint8_t *p = past(lp, lp_first(lp), 2);
    w.node_n = (uint64_t)integer_at(p);
    w.node_fields = lp_next(lp, p);
    w.entry = past(lp, w.node_fields, w.node_n + 1);
    int64_t flags;
    while (next_in_node(&w, &flags)) {
        if (trim->by == STREAM_TRIM_MAXLEN ? x->length - gone <= trim->maxlen
                                           : stream_id_compare(w.id, trim->minid) >= 0)
            break;
        if (flags & STREAM_DELETED)
            continue;
        mark_deleted(lp, w.flags); // in place
        gone++;
    }
    stream_node_moved(x, node, count_gone(lp, gone), before);
    x->length -= gone;
    return gone;
}

uint64_t stream_trim(struct stream_value *x, const struct stream_trim *trim)
{
    uint64_t gone = 0;
    if (trim->by == STREAM_TRIM_NONE)
        return 0;
    for (;;) {
        struct btree_at at = btree_first(&x->nodes);
        if (!at.leaf || (trim->by == STREAM_TRIM_MAXLEN && x->length <= trim->maxlen))
            break;
        struct stream_node *node = btree_item(at);
        struct stream_id id = stream_node_id(at);
        uint64_t live = node_live(node->lp);
        if (trim->limit && gone + live > trim->limit)
            break;
        bool whole = trim->by == STREAM_TRIM_MAXLEN
                         ? x->length - live >= trim->maxlen
                         : stream_id_compare(node_last(node->lp, id), trim->minid) < 0;
        if (!whole) {
            if (!trim->approximate)
                gone += trim_within(x, node, id, trim);
            break;
        }
        stream_node_remove(x, id);
        x->length -= live;
        gone += live;
    }
    if (gone)
        first_again(x);
    return gone;
}
