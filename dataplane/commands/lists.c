// Commands on the ends of a list, and on one element by its index.
#include "dataplane/commands/listpack_reply.h"
#include "dataplane/commands/lists_commands.h"
#include "dataplane/commands/lists_value.h"

#define ERR_INDEX "ERR index out of range"
#define NOT_POSITIVE "value is out of range, must be positive"

static void push(struct request *r, enum quicklist_end end, bool only_existing)
{
    struct list l;
    if (!list_open_write(r, 1, &l))
        return;
    if (!l.entry && only_existing) {
        reply_integer(r->out, 0);
        return;
    }
    uint64_t length = 0;
    int i = 2;
    if (list_edit(&l)) {
        while (i < r->argc && quicklist_push(l.ql, end, r->argv[i].ptr, r->argv[i].len))
            i++;
        bool whole = i == r->argc;
        if (!whole) // all of them or none
            for (; i > 2; i--)
                quicklist_drop(l.ql, end);
        length = quicklist_count(l.ql);
        uint64_t changes = whole ? (uint64_t)(r->argc - 2) : 0;
        if (list_finish(&l, changes, whole ? list_push_event(end) : NULL) && whole) {
            reply_integer(r->out, (int64_t)length);
            return;
        }
    }
    request_error(r, ERR_OOM);
}

void lpush_command(struct request *r)
{
    push(r, QUICKLIST_HEAD, false);
}

void rpush_command(struct request *r)
{
    push(r, QUICKLIST_TAIL, false);
}

void lpushx_command(struct request *r)
{
    push(r, QUICKLIST_HEAD, true);
}

void rpushx_command(struct request *r)
{
    push(r, QUICKLIST_TAIL, true);
}

static void pop(struct request *r, enum quicklist_end end)
{
    struct list l;
    int64_t count = -1;
    if (r->argc > 3) {
        request_errorf(r, "ERR wrong number of arguments for '%s' command", r->command->name);
        return;
    }
    if (r->argc == 3 && !list_parse_least(r, 2, 0, NOT_POSITIVE, &count))
        return;
    if (!list_open_write(r, 1, &l))
        return;
    if (!l.entry) {
        if (count < 0)
            reply_null(r->out, r->session->resp);
        else
            reply_null_array(r->out, r->session->resp);
        return;
    }
    if (count == 0) {
        reply_array(r->out, 0);
        return;
    }
    uint64_t length = list_length(&l), n = (uint64_t)count < length ? (uint64_t)count : length;
    if (!(count < 0 ? list_pop_one(&l, end, NULL) : list_pop_many(&l, end, n, NULL)))
        request_error(r, ERR_OOM);
}

void lpop_command(struct request *r)
{
    pop(r, QUICKLIST_HEAD);
}

void rpop_command(struct request *r)
{
    pop(r, QUICKLIST_TAIL);
}

void llen_command(struct request *r)
{
    struct list l;
    if (list_open_read(r, 1, &l))
        reply_integer(r->out, (int64_t)list_length(&l));
}

void lindex_command(struct request *r)
{
    struct list l;
    struct quicklist_iter it;
    int64_t index;
    if (!list_open_read(r, 1, &l))
        return;
    if (!l.entry) {
        reply_null(r->out, r->session->resp);
        return;
    }
    if (!request_integer(r, 2, &index))
        return;
    if (quicklist_iter_begin(&it, l.ql, index, false))
        listpack_reply_item(r->out, &it.item);
    else if (it.failed)
        request_error(r, ERR_OOM);
    else
        reply_null(r->out, r->session->resp);
    quicklist_iter_end(&it);
}

void lset_command(struct request *r)
{
    struct list l;
    struct quicklist_iter it;
    int64_t index;
    if (!list_open_write(r, 1, &l))
        return;
    if (!l.entry) {
        request_error(r, ERR_NO_KEY);
        return;
    }
    if (!request_integer(r, 2, &index))
        return;
    list_edit(&l);
    bool found = quicklist_iter_begin(&it, l.ql, index, false);
    bool ok = found && quicklist_replace(&it, r->argv[3].ptr, r->argv[3].len);
    quicklist_iter_end(&it);
    list_finish(&l, ok, ok ? "lset" : NULL);
    if (ok)
        reply_status(r->out, "OK");
    else
        request_error(r, found || it.failed ? ERR_OOM : ERR_INDEX);
}
