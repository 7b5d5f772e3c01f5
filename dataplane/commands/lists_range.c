// Commands that read many elements: LRANGE, LPOS.
#include "dataplane/commands/listpack_reply.h"
#include "dataplane/commands/lists_commands.h"
#include "dataplane/commands/lists_value.h"
#include "dataplane/commands/steps.h"

enum {
    STEP_ELEMENTS = 4 * STEPS_ELEMENTS, // they are written faster than most
    STEP_BYTES = 64 * 1024,
};

// Writes at most `most` elements from where `it` stands on, and stops behind the node that makes it
// `bytes_max`. Returns how many, and the place behind them; ends `it`.
static uint64_t reply_forward(struct request *r, struct quicklist_iter *it, uint64_t most,
                              size_t bytes_max, struct quicklist_place *behind)
{
    uint64_t n = 0;
    size_t bytes = 0;
    bool ok = !it->failed;
    while (ok && n < most && bytes < bytes_max) {
        *behind = (struct quicklist_place){.node = it->node + 1};
        if (it->item.ptr == it->lp) { // a plain node
            listpack_reply_item(r->out, &it->item);
            bytes += it->item.len;
            n++;
        } else {
            const uint8_t *p = it->p;
            n += listpack_reply(r->out, &p, it->lp + lp_bytes(it->lp), most - n, 1);
            it->p = (uint8_t *)p;
            bytes += lp_bytes(it->lp);
            if (*it->p != LP_END) {
                *behind = quicklist_iter_place(it);
                break;
            }
            it->p = lp_last(it->lp);
        }
        ok = n < most && quicklist_iter_next(it);
    }
    r->out->failed |= it->failed;
    quicklist_iter_end(it);
    return n;
}

void list_reply_elements(struct request *r, const struct quicklist *ql, int64_t index,
                         uint64_t count, bool backward)
{
    struct quicklist_iter it;
    struct quicklist_place behind;
    if (!backward) {
        quicklist_iter_begin(&it, ql, index, false);
        reply_forward(r, &it, count, SIZE_MAX, &behind);
        return;
    }
    bool ok = quicklist_iter_begin(&it, ql, index, true);
    for (; ok && count; count--) {
        listpack_reply_item(r->out, &it.item);
        ok = count > 1 && quicklist_iter_next(&it);
    }
    r->out->failed |= it.failed;
    quicklist_iter_end(&it);
}

// --- LRANGE --------------------------------------------------------------------------------------

struct range {
    const struct quicklist *ql;
    int64_t first;
    struct quicklist_place at; // the next element, once it has begun
    uint64_t left;
    bool begun;
};

static bool range_step(struct request *r, void *state)
{
    struct range *range = state;
    struct quicklist_iter it;
    if (range->begun) {
        quicklist_iter_resume(&it, range->ql, range->at);
    } else {
        quicklist_iter_begin(&it, range->ql, range->first, false);
        reply_array(r->out, (int64_t)range->left);
    }
    range->begun = true;
    uint64_t n = range->left < STEP_ELEMENTS ? range->left : STEP_ELEMENTS;
    range->left -= reply_forward(r, &it, n, STEP_BYTES, &range->at);
    return !range->left || r->out->failed;
}

void lrange_command(struct request *r)
{
    struct list l;
    int64_t start, stop;
    if (!request_integer(r, 2, &start) || !request_integer(r, 3, &stop) ||
        !list_open_read(r, 1, &l))
        return;
    int64_t length = (int64_t)list_length(&l);
    start = start < 0 ? start + length : start;
    stop = stop < 0 ? stop + length : stop;
    start = start < 0 ? 0 : start;
    stop = stop >= length ? length - 1 : stop;
    if (start > stop) {
        reply_array(r->out, 0);
        return;
    }
    struct range range = {.ql = l.ql, .first = start, .left = (uint64_t)(stop - start) + 1};
    if (range.left > STEPS_WORTHWHILE) {
        struct range *steps = request_steps(r, &l.key, range_step, sizeof(*steps));
        if (steps) {
            *steps = range;
            return;
        }
    }
    reply_array(r->out, (int64_t)range.left);
    list_reply_elements(r, range.ql, range.first, range.left, false);
}

// --- LPOS ----------------------------------------------------------------------------------------

struct positions {
    int64_t rank, count, most; // count -1: not given; 0: all
};

static bool parse_positions(struct request *r, struct positions *p)
{
    *p = (struct positions){.rank = 1, .count = -1};
    for (int i = 3; i < r->argc; i += 2) {
        bool more = i + 1 < r->argc;
        if (more && request_is(r, i, "rank")) {
            if (!request_integer(r, i + 1, &p->rank))
                return false;
            if (p->rank == 0) {
                request_error(r, "ERR RANK can't be zero: use 1 to start from the first match, 2 "
                                 "from the second ... or use negative to start from the end of the "
                                 "list");
                return false;
            }
        } else if (more && request_is(r, i, "count")) {
            if (!list_parse_least(r, i + 1, 0, "COUNT can't be negative", &p->count))
                return false;
        } else if (more && request_is(r, i, "maxlen")) {
            if (!list_parse_least(r, i + 1, 0, "MAXLEN can't be negative", &p->most))
                return false;
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

// Stands at the next element that matches; `*looked` counts those compared, also from before.
static bool find_next(struct quicklist_iter *it, bool here, const struct quicklist_probe *probe,
                      const struct positions *p, int64_t *looked)
{
    for (; here; here = quicklist_iter_next(it)) {
        if (p->most && *looked == p->most)
            return false;
        ++*looked;
        if (quicklist_equal(it, probe))
            return true;
    }
    return false;
}

// Calls for every match that is to be told, and returns their number.
static int64_t each_match(struct request *r, const struct list *l, const struct positions *p,
                          bool write)
{
    struct quicklist_probe probe = quicklist_probe(r->argv[2].ptr, r->argv[2].len);
    struct quicklist_iter it;
    bool backward = p->rank < 0;
    int64_t looked = 0, matches = 0, told = 0;
    // The least integer has no opposite: as in Redis, it then stands for the first match.
    int64_t rank = backward ? (int64_t) - (uint64_t)p->rank : p->rank;
    bool here = quicklist_iter_begin(&it, l->ql, backward ? -1 : 0, backward);
    while (find_next(&it, here, &probe, p, &looked)) {
        if (++matches >= rank) {
            if (write)
                reply_integer(r->out, (int64_t)it.index);
            told++;
            if (p->count && told >= (p->count < 0 ? 1 : p->count))
                break;
        }
        here = quicklist_iter_next(&it);
    }
    r->out->failed |= it.failed;
    quicklist_iter_end(&it);
    return told;
}

void lpos_command(struct request *r)
{
    struct positions p;
    struct list l;
    if (!parse_positions(r, &p) || !list_open_read(r, 1, &l))
        return;
    if (p.count < 0) {
        if (!l.entry || !each_match(r, &l, &p, true))
            reply_null(r->out, r->session->resp);
        return;
    }
    // The header stands before the matches: they are counted first.
    int64_t n = l.entry ? each_match(r, &l, &p, false) : 0;
    reply_array(r->out, n);
    if (n)
        each_match(r, &l, &p, true);
}
