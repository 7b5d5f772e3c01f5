// Commands that insert by value, remove by value, and trim.
#include "dataplane/commands/lists_commands.h"
#include "dataplane/commands/lists_value.h"

void linsert_command(struct request *r)
{
    struct list l;
    struct quicklist_iter it;
    bool after = request_is(r, 2, "after");
    if (!after && !request_is(r, 2, "before")) {
        request_error(r, ERR_SYNTAX);
        return;
    }
    if (!list_open_write(r, 1, &l))
        return;
    if (!l.entry) {
        reply_integer(r->out, 0);
        return;
    }
    struct quicklist_probe pivot = quicklist_probe(r->argv[3].ptr, r->argv[3].len);
    list_edit(&l);
    bool found = quicklist_iter_begin(&it, l.ql, 0, false);
    while (found && !quicklist_equal(&it, &pivot))
        found = quicklist_iter_next(&it);
    bool ok = found ? quicklist_insert(&it, after, r->argv[4].ptr, r->argv[4].len) : !it.failed;
    quicklist_iter_end(&it);
    int64_t length = (int64_t)quicklist_count(l.ql);
    list_finish(&l, ok && found, ok && found ? "linsert" : NULL);
    if (ok)
        reply_integer(r->out, found ? length : -1);
    else
        request_error(r, ERR_OOM);
}

void lrem_command(struct request *r)
{
    struct list l;
    struct quicklist_iter it;
    int64_t count;
    if (!request_integer(r, 2, &count) || !list_open_write(r, 1, &l))
        return;
    if (!l.entry) {
        reply_integer(r->out, 0);
        return;
    }
    bool backward = count < 0;
    uint64_t removed = 0, most = backward ? -(uint64_t)count : (uint64_t)count;
    struct quicklist_probe probe = quicklist_probe(r->argv[3].ptr, r->argv[3].len);
    list_edit(&l);
    bool here = quicklist_iter_begin(&it, l.ql, backward ? -1 : 0, backward);
    while (here && !(most && removed == most)) {
        bool equal = quicklist_equal(&it, &probe);
        here = equal ? quicklist_delete(&it) : quicklist_iter_next(&it);
        removed += equal;
    }
    quicklist_iter_end(&it);
    list_finish(&l, removed, removed ? "lrem" : NULL);
    if (it.failed && !removed)
        request_error(r, ERR_OOM);
    else
        reply_integer(r->out, (int64_t)removed);
}

void ltrim_command(struct request *r)
{
    struct list l;
    int64_t start, stop;
    if (!request_integer(r, 2, &start) || !request_integer(r, 3, &stop) ||
        !list_open_write(r, 1, &l))
        return;
    if (!l.entry) {
        reply_status(r->out, "OK");
        return;
    }
    int64_t length = (int64_t)list_length(&l);
    start = start < 0 ? start + length : start;
    stop = stop < 0 ? stop + length : stop;
    start = start < 0 ? 0 : start;
    stop = stop >= length ? length - 1 : stop;
    uint64_t left = (uint64_t)start, right = (uint64_t)(length - 1 - stop);
    if (start > stop || start >= length) {
        left = (uint64_t)length;
        right = 0;
    }
    list_edit(&l);
    bool ok = quicklist_prepare_delete(l.ql, 0, left) &&
              quicklist_prepare_delete(l.ql, -(int64_t)right, right);
    if (ok) {
        // From the end first, so that no index moves.
        quicklist_delete_range(l.ql, -(int64_t)right, right);
        quicklist_delete_range(l.ql, 0, left);
    }
    list_finish(&l, ok ? left + right : 0, ok ? "ltrim" : NULL);
    if (ok)
        reply_status(r->out, "OK");
    else
        request_error(r, ERR_OOM);
}
