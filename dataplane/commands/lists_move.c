// Commands that move an element between lists, and those that pop from the first of many.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/commands/effects.h"
#include "dataplane/commands/lists_commands.h"
#include "dataplane/commands/lists_wait.h"

// A copy of an element's bytes outside its list, for the time that this changes.
struct carried {
    const void *data;
    size_t len;
    void *memory;
    char small[256];
};

static bool carry(struct carried *c, const struct lp_item *item)
{
    char scratch[24];
    const void *from = list_text(item, scratch, &c->len);
    c->memory = c->len > sizeof(c->small) ? mi_malloc(c->len) : NULL;
    void *to = c->memory ? c->memory : c->small;
    if (c->len > sizeof(c->small) && !c->memory)
        return false;
    if (c->len)
        memcpy(to, from, c->len);
    c->data = to;
    return true;
}

// From one end of a list to the other, or to the same.
static bool turn(struct list *l, const struct carried *c, enum quicklist_end from,
                 enum quicklist_end to)
{
    list_edit(l);
    bool ok = quicklist_prepare_delete(l->ql, from == QUICKLIST_HEAD ? 0 : -1, 1) &&
              (from == to || quicklist_push(l->ql, to, c->data, c->len));
    if (ok && from != to)
        quicklist_drop(l->ql, from);
    list_finish(l, ok, NULL);
    if (ok) {
        request_changed(l->r, &l->key, EVENT_LIST, list_push_event(to));
        request_changed(l->r, &l->key, EVENT_LIST, list_pop_event(from));
    }
    return ok;
}

static bool across(struct list *from, struct list *to, const struct carried *c,
                   enum quicklist_end from_end, enum quicklist_end to_end)
{
    list_edit(from);
    bool ok = quicklist_prepare_delete(from->ql, from_end == QUICKLIST_HEAD ? 0 : -1, 1);
    list_finish(from, 0, NULL);
    if (!ok || !list_edit(to))
        return false;
    ok = quicklist_push(to->ql, to_end, c->data, c->len);
    ok = list_finish(to, 0, ok ? list_push_event(to_end) : NULL) && ok;
    if (!ok)
        return false;
    list_edit(from);
    quicklist_drop(from->ql, from_end);
    list_finish(from, 1, list_pop_event(from_end));
    return true;
}

bool list_move(struct list *from, struct list *to, enum quicklist_end from_end,
               enum quicklist_end to_end)
{
    struct quicklist_iter it;
    struct carried c;
    if (!quicklist_iter_begin(&it, from->ql, from_end == QUICKLIST_HEAD ? 0 : -1, false))
        return false;
    bool ok = carry(&c, &it.item);
    quicklist_iter_end(&it);
    if (!ok)
        return false;
    ok = key_same(&from->key, &to->key) ? turn(from, &c, from_end, to_end)
                                        : across(from, to, &c, from_end, to_end);
    if (ok)
        reply_bulk(from->r->out, c.data, c.len);
    mi_free(c.memory);
    return ok;
}

// LMOVE and the like of arguments 1 and 2.
static void move(struct request *r, enum quicklist_end from_end, enum quicklist_end to_end)
{
    struct list from, to;
    if (!list_open_write(r, 1, &from))
        return;
    if (!from.entry) {
        reply_null(r->out, r->session->resp);
        return;
    }
    if (list_open_write(r, 2, &to) && !list_move(&from, &to, from_end, to_end))
        request_error(r, ERR_OOM);
}

void lmove_command(struct request *r)
{
    enum quicklist_end from, to;
    if (list_parse_end(r, 3, &from) && list_parse_end(r, 4, &to))
        move(r, from, to);
}

void rpoplpush_command(struct request *r)
{
    move(r, QUICKLIST_TAIL, QUICKLIST_HEAD);
}

// --- LMPOP ---------------------------------------------------------------------------------------

bool list_parse_many(struct request *r, int at, struct list_many *m)
{
    int64_t keys;
    m->count = -1;
    if (!list_parse_least(r, at, 1, "numkeys should be greater than 0", &keys))
        return false;
    if (keys >= r->argc - at - 1) {
        request_error(r, ERR_SYNTAX);
        return false;
    }
    m->first = at + 1;
    m->keys = (int)keys;
    int i = m->first + m->keys;
    if (!list_parse_end(r, i, &m->end))
        return false;
    for (i++; i < r->argc; i += 2) {
        if (m->count >= 0 || i + 1 == r->argc || !request_is(r, i, "count")) {
            request_error(r, ERR_SYNTAX);
            return false;
        }
        if (!list_parse_least(r, i + 1, 1, "count should be greater than 0", &m->count))
            return false;
    }
    m->count = m->count < 0 ? 1 : m->count;
    return true;
}

static void name_key(struct list *l)
{
    reply_array(l->r->out, 2);
    reply_bulk(l->r->out, l->key.ptr, l->key.len);
}

void list_pop_many_named(struct list *l, const struct list_many *m)
{
    struct request *r = l->r;
    uint64_t length = list_length(l);
    uint64_t n = (uint64_t)m->count < length ? (uint64_t)m->count : length;
    if (!list_pop_many(l, m->end, n, name_key)) {
        request_error(r, ERR_OOM);
        return;
    }
    if (effect_begin(r, m->end == QUICKLIST_HEAD ? "LPOP" : "RPOP", 3)) {
        effect_bytes(r, l->key.ptr, l->key.len);
        effect_integer(r, (int64_t)n);
    }
}

void list_pop_named(struct list *l, enum quicklist_end end)
{
    struct request *r = l->r;
    if (!list_pop_one(l, end, name_key)) {
        request_error(r, ERR_OOM);
        return;
    }
    if (effect_begin(r, end == QUICKLIST_HEAD ? "LPOP" : "RPOP", 2))
        effect_bytes(r, l->key.ptr, l->key.len);
}

void lmpop_command(struct request *r)
{
    struct list_many m;
    if (!list_parse_many(r, 1, &m))
        return;
    for (int i = m.first; i < m.first + m.keys; i++) {
        struct list l;
        if (!list_open_write(r, i, &l))
            return;
        if (l.entry) {
            list_pop_many_named(&l, &m);
            return;
        }
    }
    reply_null_array(r->out, r->session->resp);
}
