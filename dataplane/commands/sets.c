// Commands on one set, or two: adding, removing, asking, walking.
#include "dataplane/commands/scan.h"
#include "dataplane/commands/sets_commands.h"
#include "dataplane/commands/sets_value.h"
#include "dataplane/commands/steps.h"

// Adds the arguments from `first` on. False: memory is short; `*added` were added.
static bool add_arguments(struct request *r, struct set *set, int first, uint64_t *added)
{
    struct set_limits limits = sets_limits(r);
    *added = 0;
    for (int i = first; i < r->argc; i++) {
        switch (set_add(r->store, set, &limits, r->argv[i].ptr, r->argv[i].len)) {
        case SET_NO_MEMORY:
            return false;
        case SET_CHANGED:
            ++*added;
            break;
        case SET_SAME:
            break;
        }
    }
    return true;
}

void sadd_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_write(r, &key);
    if (!lookup_type_is(r, e, OBJ_SET))
        return;
    struct set_limits limits = sets_limits(r);
    struct set set;
    uint64_t added = 0;
    bool done;
    if (e) {
        struct edit edit = sets_edit(r, &key, e, &set);
        set_expect(r->store, &set, &limits, (uint64_t)r->argc - 2);
        done = add_arguments(r, &set, 2, &added);
        sets_edit_end(&edit, &set, added);
    } else {
        done = set_new(&set, &limits, r->argv[2].ptr, r->argv[2].len, (uint64_t)r->argc - 2);
        if (done && !(done = add_arguments(r, &set, 2, &added)))
            set_free(&set);
        if (!done)
            added = 0;
        else
            done = sets_put(r, &key, NULL, &set);
    }
    if (added)
        request_changed(r, &key, EVENT_SET, "sadd");
    if (done)
        reply_integer(r->out, (int64_t)added);
    else
        request_error(r, ERR_OOM);
}

void srem_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_write(r, &key);
    if (!lookup_type_is(r, e, OBJ_SET))
        return;
    if (!e) {
        reply_integer(r->out, 0);
        return;
    }
    struct set set;
    struct edit edit = sets_edit(r, &key, e, &set);
    int64_t removed = 0;
    for (int i = 2; i < r->argc && set_count(&set); i++)
        removed += set_remove(r->store, &set, r->argv[i].ptr, r->argv[i].len) == SET_CHANGED;
    bool is_there = sets_edit_end(&edit, &set, (uint64_t)removed);
    if (removed)
        sets_changed(r, &key, "srem", is_there);
    reply_integer(r->out, removed);
}

void scard_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (!lookup_type_is(r, e, OBJ_SET))
        return;
    struct set set;
    if (e)
        set = set_of(e);
    reply_integer(r->out, e ? (int64_t)set_count(&set) : 0);
}

// One answer for each argument from 2 on.
static void reply_membership(struct request *r, const struct entry *e)
{
    struct set set;
    if (e)
        set = set_of(e);
    for (int i = 2; i < r->argc; i++)
        reply_integer(r->out, e && set_has(r->store, &set, r->argv[i].ptr, r->argv[i].len));
}

void sismember_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (lookup_type_is(r, e, OBJ_SET))
        reply_membership(r, e);
}

void smismember_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (!lookup_type_is(r, e, OBJ_SET))
        return;
    reply_array(r->out, r->argc - 2);
    reply_membership(r, e);
}

// --- SMOVE --------------------------------------------------------------------------------------

// Adds the member to the other set, which may be none. False: memory is short.
static bool move_in(struct request *r, const struct key *key, struct entry *e, bool *added)
{
    struct set_limits limits = sets_limits(r);
    const struct arg *member = &r->argv[3];
    struct set set;
    enum set_result result;
    if (e) {
        struct edit edit = sets_edit(r, key, e, &set);
        result = set_add(r->store, &set, &limits, member->ptr, member->len);
        sets_edit_end(&edit, &set, result == SET_CHANGED);
        *added = result == SET_CHANGED;
        return result != SET_NO_MEMORY;
    }
    *added = true;
    if (!set_new(&set, &limits, member->ptr, member->len, 1))
        return false;
    if (set_add(r->store, &set, &limits, member->ptr, member->len) == SET_NO_MEMORY) {
        set_free(&set);
        return false;
    }
    return sets_put(r, key, NULL, &set);
}

void smove_command(struct request *r)
{
    struct key from = request_key(r, 1), to = request_key(r, 2);
    const struct arg *member = &r->argv[3];
    struct entry *source = lookup_write(r, &from);
    struct entry *target = lookup_write(r, &to);
    if (!source) {
        reply_integer(r->out, 0);
        return;
    }
    if (!lookup_type_is(r, source, OBJ_SET) || !lookup_type_is(r, target, OBJ_SET))
        return;
    struct set set = set_of(source);
    bool is_member = set_has(r->store, &set, member->ptr, member->len), added;
    if (source == target || !is_member) {
        reply_integer(r->out, is_member);
        return;
    }
    // In first, so that nothing is lost when memory is short.
    if (!move_in(r, &to, target, &added)) {
        request_error(r, ERR_OOM);
        return;
    }
    struct edit edit = sets_edit(r, &from, source, &set);
    set_remove(r->store, &set, member->ptr, member->len);
    bool is_there = sets_edit_end(&edit, &set, 1);
    sets_changed(r, &from, "srem", is_there);
    if (added)
        request_changed(r, &to, EVENT_SET, "sadd");
    reply_integer(r->out, 1);
}

// --- all members --------------------------------------------------------------------------------

struct walk {
    struct set_iterator it;
    sets_head_fn *head; // NULL: written
};

static bool walk_step(struct request *r, void *state)
{
    struct walk *walk = state;
    struct set_item item;
    if (walk->head)
        walk->head(r->out, r->session->resp, (int64_t)set_count(&walk->it.set));
    walk->head = NULL;
    for (unsigned i = 0; i < STEPS_ELEMENTS; i++) {
        if (!set_next(&walk->it, &item))
            return true;
        sets_reply_item(r->out, &item);
    }
    return false;
}

void sets_reply_all(struct request *r, const struct key *key, const struct set *set,
                    sets_head_fn *head)
{
    struct walk here = {.it = set_begin(set), .head = head};
    struct walk *walk;
    if (set_count(set) > STEPS_WORTHWHILE &&
        (walk = request_steps(r, key, walk_step, sizeof(*walk)))) {
        *walk = here;
        return;
    }
    while (!walk_step(r, &here) && !r->out->failed)
        ;
}

void smembers_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (!lookup_type_is(r, e, OBJ_SET))
        return;
    if (!e) {
        reply_set(r->out, r->session->resp, 0);
        return;
    }
    struct set set = set_of(e);
    sets_reply_all(r, &key, &set, reply_set);
}

// --- SSCAN --------------------------------------------------------------------------------------

struct scan {
    struct scan_options options;
    struct outbuf found;
    int64_t n;
};

static void scan_item(struct scan *scan, const struct set_item *item)
{
    char scratch[24];
    size_t len;
    const uint8_t *text = set_item_text(item, scratch, &len);
    if (!scan_matches(&scan->options.pattern, text, len))
        return;
    reply_bulk(&scan->found.out, text, len);
    scan->n++;
}

static void scan_member(void *context, struct entry *e)
{
    struct set_item item = {0};
    item.ptr = member_name(e, &item.len);
    scan_item(context, &item);
}

// A set that is no hashtable is small, and given whole.
void sscan_command(struct request *r)
{
    struct scan scan = {.n = 0};
    uint64_t cursor;
    if (!scan_parse_cursor(&r->argv[2], &cursor)) {
        request_error(r, ERR_CURSOR);
        return;
    }
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (!e) {
        outbuf_init(&scan.found);
        scan_reply(r, 0, 0, &scan.found);
        return;
    }
    if (!lookup_type_is(r, e, OBJ_SET) || !scan_parse_options(r, 3, 0, &scan.options))
        return;
    outbuf_init(&scan.found);
    struct set set = set_of(e);
    if (set.encoding == ENC_HASHTABLE) {
        cursor = members_scan(r->store, set.object, cursor, (unsigned long)scan.options.count,
                              scan_member, &scan);
    } else {
        struct set_iterator it = set_begin(&set);
        struct set_item item;
        while (set_next(&it, &item))
            scan_item(&scan, &item);
        cursor = 0;
    }
    scan_reply(r, cursor, scan.n, &scan.found);
}
