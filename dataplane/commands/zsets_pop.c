// Commands that take members from either end of a sorted set, or wait until there is one.
#include "dataplane/commands/blocking.h"
#include "dataplane/commands/effects.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/commands/zsets_commands.h"
#include "dataplane/commands/zsets_value.h"

// Gives up to `count` members (with `nested`, each with its score as an array) and takes them out.
// Returns their number.
static uint64_t pop(struct zkey *z, bool highest, uint64_t count, bool nested)
{
    uint64_t length = sorted_count(&z->set), n = count < length ? count : length;
    uint64_t first = highest ? length - n : 0;
    struct sorted_at at = sorted_at_rank(&z->set, highest ? length - 1 : 0);
    for (uint64_t i = 0; i < n; i++) {
        char scratch[24];
        struct sorted_item item = sorted_item(&at, scratch);
        zset_reply_item(z->r, &item, true, nested);
        if (highest)
            sorted_prev(&at);
        else
            sorted_next(&at);
    }
    zkey_edit(z);
    sorted_remove_range(&z->set, first, n);
    zkey_edit_end(z, n, highest ? "zpopmax" : "zpopmin");
    return n;
}

// The effect of a command that names several keys, or waits.
static void tell(struct zkey *z, bool highest, bool with_count, uint64_t n)
{
    if (!effect_begin(z->r, highest ? "ZPOPMAX" : "ZPOPMIN", 2 + with_count))
        return;
    effect_bytes(z->r, z->key.ptr, z->key.len);
    if (with_count)
        effect_integer(z->r, (int64_t)n);
}

// Looks up a key to take from. One of another type is answered, unless a waiting client is looked
// after: to him it is as if nothing were there.
static bool open_pop(struct request *r, int i, struct zkey *z)
{
    if (r->woken) {
        struct key key = request_key(r, i);
        struct entry *e = lookup_write(r, &key);
        if (e && entry_type(e) != OBJ_ZSET) {
            z->entry = NULL;
            return true;
        }
    }
    return zkey_open_write(r, i, z);
}

static void pop_command(struct request *r, bool highest)
{
    struct zkey z;
    int64_t count = 1;
    if (r->argc > 3) {
        request_error(r, ERR_SYNTAX);
        return;
    }
    if (r->argc == 3 &&
        !zset_parse_at_least(r, 2, 0, &count, "ERR value is out of range, must be positive"))
        return;
    if (!zkey_open_write(r, 1, &z))
        return;
    if (!z.entry || !count) {
        reply_array(r->out, 0);
        return;
    }
    bool nested = r->argc == 3 && r->session->resp >= 3;
    uint64_t length = sorted_count(&z.set), n = (uint64_t)count < length ? (uint64_t)count : length;
    reply_array(r->out, (int64_t)(nested ? n : 2 * n));
    pop(&z, highest, n, nested);
}

void zpopmin_command(struct request *r)
{
    pop_command(r, false);
}

void zpopmax_command(struct request *r)
{
    pop_command(r, true);
}

static void blocking_pop(struct request *r, bool highest)
{
    uint64_t timeout_us;
    int n_keys = r->argc - 2;
    if (!request_timeout_seconds(r, r->argc - 1, &timeout_us))
        return;
    for (int i = 1; i <= n_keys; i++) {
        struct zkey z;
        if (!request_considers(r, i))
            continue;
        if (!open_pop(r, i, &z))
            return;
        if (!z.entry)
            continue;
        if (!request_claim(r))
            return;
        reply_array(r->out, 3);
        reply_bulk(r->out, r->argv[i].ptr, r->argv[i].len);
        pop(&z, highest, 1, false);
        tell(&z, highest, false, 1);
        return;
    }
    request_block_range(r, 1, n_keys, timeout_us);
}

void bzpopmin_command(struct request *r)
{
    blocking_pop(r, false);
}

void bzpopmax_command(struct request *r)
{
    blocking_pop(r, true);
}

// --- ZMPOP, BZMPOP ------------------------------------------------------------------------------

struct mpop {
    int first, n_keys; // arguments
    bool highest;
    int64_t count;
};

static bool parse_mpop(struct request *r, int numkeys, struct mpop *q)
{
    int64_t n;
    if (!zset_parse_at_least(r, numkeys, 1, &n, "ERR numkeys should be greater than 0"))
        return false;
    int64_t where = n > r->argc ? r->argc : numkeys + 1 + n;
    bool counted = false, ok = where < r->argc;
    q->first = numkeys + 1;
    q->n_keys = (int)n;
    q->highest = ok && request_is(r, (int)where, "max");
    ok = ok && (q->highest || request_is(r, (int)where, "min"));
    q->count = 1;
    for (int i = (int)where + 1; ok && i < r->argc; i += 2) {
        ok = !counted && i + 1 < r->argc && request_is(r, i, "count");
        if (ok &&
            !zset_parse_at_least(r, i + 1, 1, &q->count, "ERR count should be greater than 0"))
            return false;
        counted = true;
    }
    if (!ok)
        request_error(r, ERR_SYNTAX);
    return ok;
}

// True when it is done: answered, or left.
static bool mpop_serve(struct request *r, const struct mpop *q)
{
    for (int i = q->first; i < q->first + q->n_keys; i++) {
        struct zkey z;
        if (!request_considers(r, i))
            continue;
        if (!open_pop(r, i, &z))
            return true;
        if (!z.entry)
            continue;
        if (!request_claim(r))
            return true;
        uint64_t length = sorted_count(&z.set);
        uint64_t n = (uint64_t)q->count < length ? (uint64_t)q->count : length;
        reply_array(r->out, 2);
        reply_bulk(r->out, r->argv[i].ptr, r->argv[i].len);
        reply_array(r->out, (int64_t)n);
        pop(&z, q->highest, n, true);
        tell(&z, q->highest, true, n);
        return true;
    }
    return false;
}

void zmpop_command(struct request *r)
{
    struct mpop q;
    if (parse_mpop(r, 1, &q) && !mpop_serve(r, &q))
        reply_null_array(r->out, r->session->resp);
}

void bzmpop_command(struct request *r)
{
    struct mpop q;
    uint64_t timeout_us;
    if (parse_mpop(r, 2, &q) && request_timeout_seconds(r, 1, &timeout_us) && !mpop_serve(r, &q))
        request_block_range(r, q.first, q.n_keys, timeout_us);
}
