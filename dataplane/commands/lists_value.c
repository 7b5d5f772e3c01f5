#include "dataplane/commands/lists_value.h"

#include <string.h>

#include "dataplane/commands/listpack_reply.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/store/entry.h"

static bool open_entry(struct list *l, struct entry *e)
{
    if (!lookup_type_is(l->r, e, OBJ_LIST))
        return false;
    l->entry = e;
    l->ql = e ? entry_object(e) : NULL;
    return true;
}

bool list_open_read(struct request *r, int i, struct list *l)
{
    *l = (struct list){.r = r, .key = request_key(r, i)};
    return open_entry(l, lookup_read(r, &l->key));
}

bool list_open_write(struct request *r, int i, struct list *l)
{
    *l = (struct list){.r = r, .key = request_key(r, i)};
    return open_entry(l, lookup_write(r, &l->key));
}

bool list_edit(struct list *l)
{
    struct request *r = l->r;
    if (l->entry)
        l->edit = edit_begin(r->store, r->session->db, &l->key, l->entry);
    else
        l->ql = quicklist_new(r->limits->list_max_listpack_size, r->limits->list_compress_depth);
    return l->ql;
}

// Puts a new list under its key.
static bool put(struct list *l, uint64_t changes)
{
    struct request *r = l->r;
    if (quicklist_count(l->ql))
        l->entry = store_put_object(r->store, r->session->db, &l->key, NULL, OBJ_LIST,
                                    ENC_QUICKLIST, l->ql, -1);
    if (!l->entry) {
        quicklist_free(l->ql);
        l->ql = NULL;
        return false;
    }
    if (changes > 1) { // the first is counted
        l->edit = edit_begin(r->store, r->session->db, &l->key, l->entry);
        edit_end(&l->edit, changes - 1);
    }
    return true;
}

bool list_finish(struct list *l, uint64_t changes, const char *event)
{
    bool stays = true;
    if (l->entry)
        stays = edit_end(&l->edit, changes);
    else if (!put(l, changes))
        return false;
    if (event)
        request_changed(l->r, &l->key, EVENT_LIST, event);
    if (!stays) {
        l->entry = NULL;
        l->ql = NULL;
        request_changed(l->r, &l->key, EVENT_GENERIC, "del");
    }
    return true;
}

const void *list_text(const struct lp_item *item, char scratch[24], size_t *len)
{
    *len = item->len;
    if (item->ptr)
        return item->ptr;
    *len = integer_print(item->value, scratch);
    return scratch;
}

bool list_parse_end(struct request *r, int i, enum quicklist_end *end)
{
    if (request_is(r, i, "left")) {
        *end = QUICKLIST_HEAD;
    } else if (request_is(r, i, "right")) {
        *end = QUICKLIST_TAIL;
    } else {
        request_error(r, ERR_SYNTAX);
        return false;
    }
    return true;
}

bool list_parse_least(struct request *r, int i, int64_t least, const char *error, int64_t *value)
{
    if (parse_int64(r->argv[i].ptr, r->argv[i].len, value) && *value >= least)
        return true;
    request_errorf(r, "ERR %s", error);
    return false;
}

// --- taking away ---------------------------------------------------------------------------------

bool list_pop_many(struct list *l, enum quicklist_end end, uint64_t count,
                   void (*header)(struct list *l))
{
    bool head = end == QUICKLIST_HEAD;
    int64_t first = head ? 0 : -(int64_t)count;
    list_edit(l);
    bool ok = quicklist_prepare_delete(l->ql, first, count);
    if (ok) {
        if (header)
            header(l);
        reply_array(l->r->out, (int64_t)count);
        list_reply_elements(l->r, l->ql, head ? 0 : -1, count, !head);
        quicklist_delete_range(l->ql, first, count);
    }
    list_finish(l, ok ? count : 0, ok ? list_pop_event(end) : NULL);
    return ok;
}

bool list_pop_one(struct list *l, enum quicklist_end end, void (*header)(struct list *l))
{
    struct quicklist_iter it;
    list_edit(l);
    bool ok = quicklist_prepare_delete(l->ql, end == QUICKLIST_HEAD ? 0 : -1, 1);
    if (ok) {
        if (header)
            header(l);
        quicklist_iter_begin(&it, l->ql, end == QUICKLIST_HEAD ? 0 : -1, false);
        listpack_reply_item(l->r->out, &it.item);
        quicklist_iter_end(&it);
        quicklist_drop(l->ql, end);
    }
    list_finish(l, ok, ok ? list_pop_event(end) : NULL);
    return ok;
}
