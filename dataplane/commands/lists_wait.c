// List commands that wait for an element.
#include "dataplane/commands/lists_wait.h"

#include "dataplane/commands/blocking.h"
#include "dataplane/commands/effects.h"
#include "dataplane/commands/lists_commands.h"

// Finds the first of the keys that has elements. False: there is none that is to be served now; it
// is answered (an error) when `*answered`.
static bool find_first(struct request *r, int first, int keys, struct list *l, bool *answered)
{
    *answered = false;
    for (int i = first; i < first + keys; i++) {
        if (!request_considers(r, i))
            continue;
        if (r->woken) { // one of another type is none to wait at
            struct key key = request_key(r, i);
            struct entry *e = store_find(r->store, r->session->db, &key, LOOKUP_WRITE);
            if (e && entry_type(e) != OBJ_LIST)
                continue;
        }
        if (!list_open_write(r, i, l)) {
            *answered = true;
            return false;
        }
        if (l->entry)
            return true;
    }
    return false;
}

static void pop(struct request *r, enum quicklist_end end)
{
    uint64_t timeout_us;
    struct list l;
    bool answered;
    int keys = r->argc - 2;
    if (!request_timeout_seconds(r, r->argc - 1, &timeout_us))
        return;
    if (find_first(r, 1, keys, &l, &answered)) {
        if (request_claim(r))
            list_pop_named(&l, end);
    } else if (!answered) {
        request_block_range(r, 1, keys, timeout_us);
    }
}

void blpop_command(struct request *r)
{
    pop(r, QUICKLIST_HEAD);
}

void brpop_command(struct request *r)
{
    pop(r, QUICKLIST_TAIL);
}

void blmpop_command(struct request *r)
{
    uint64_t timeout_us;
    struct list_many m;
    struct list l;
    bool answered;
    if (!list_parse_many(r, 2, &m) || !request_timeout_seconds(r, 1, &timeout_us))
        return;
    if (find_first(r, m.first, m.keys, &l, &answered)) {
        if (request_claim(r))
            list_pop_many_named(&l, &m);
    } else if (!answered) {
        request_block_range(r, m.first, m.keys, timeout_us);
    }
}

// Moves from argument 1 to argument 2, or waits for the first.
static void move(struct request *r, enum quicklist_end from_end, enum quicklist_end to_end,
                 uint64_t timeout_us, bool by_name)
{
    struct list from, to;
    bool answered;
    if (!find_first(r, 1, 1, &from, &answered)) {
        if (!answered)
            request_block(r, 1, (const int[]){1}, timeout_us, BLOCK_NULL);
        return;
    }
    if (!request_claim(r) || !list_open_write(r, 2, &to))
        return;
    if (!list_move(&from, &to, from_end, to_end)) {
        request_error(r, ERR_OOM);
        return;
    }
    if (!effect_begin(r, by_name ? "RPOPLPUSH" : "LMOVE", by_name ? 3 : 5))
        return;
    effect_arg(r, 1);
    effect_arg(r, 2);
    if (!by_name) {
        effect_text(r, from_end == QUICKLIST_HEAD ? "left" : "right");
        effect_text(r, to_end == QUICKLIST_HEAD ? "left" : "right");
    }
}

void blmove_command(struct request *r)
{
    enum quicklist_end from, to;
    uint64_t timeout_us;
    if (list_parse_end(r, 3, &from) && list_parse_end(r, 4, &to) &&
        request_timeout_seconds(r, 5, &timeout_us))
        move(r, from, to, timeout_us, false);
}

void brpoplpush_command(struct request *r)
{
    uint64_t timeout_us;
    if (request_timeout_seconds(r, 3, &timeout_us))
        move(r, QUICKLIST_TAIL, QUICKLIST_HEAD, timeout_us, true);
}
