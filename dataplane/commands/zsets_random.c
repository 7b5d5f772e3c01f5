// ZRANDMEMBER and ZSCAN.
#include <mimalloc.h>
#include <stdio.h>

#include "dataplane/commands/scan.h"
#include "dataplane/commands/steps.h"
#include "dataplane/commands/zsets_commands.h"
#include "dataplane/commands/zsets_value.h"
#include "dataplane/store/values/listpack.h"

enum { DRAW_SHARE = 3 }; // fewer than one in so many are drawn, more are met on a walk

struct pick {
    struct zkey key;
    bool scores, nested;
};

static void give(const struct pick *p, const struct sorted_at *at)
{
    char scratch[24];
    struct sorted_item item = sorted_item(at, scratch);
    zset_reply_item(p->key.r, &item, p->scores, p->nested);
}

static void give_rank(const struct pick *p, uint64_t rank)
{
    struct sorted_at at = sorted_at_rank(&p->key.set, rank);
    give(p, &at);
}

// On a walk over all each is taken with the chance that makes it `n` in the end, every choice of so
// many alike.
static void pick_on_a_walk(const struct pick *p, uint64_t n, uint64_t length)
{
    struct sorted_at at = sorted_at_rank(&p->key.set, 0);
    for (; n; length--, sorted_next(&at)) {
        if (request_random_below(p->key.r, length) >= n)
            continue;
        give(p, &at);
        n--;
    }
}

// Different ranks are drawn, those drawn already are told by `seen`, a table of ranks + 1.
static void pick_drawn(const struct pick *p, uint64_t n, uint64_t length, uint64_t *seen,
                       uint64_t room)
{
    while (n) {
        uint64_t rank = request_random_below(p->key.r, length);
        uint64_t at = rank * 0x9e3779b97f4a7c15 >> 20 & (room - 1);
        while (seen[at] && seen[at] != rank + 1)
            at = (at + 1) & (room - 1);
        if (seen[at])
            continue;
        seen[at] = rank + 1;
        give_rank(p, rank);
        n--;
    }
}

static void reply_one(struct request *r)
{
    struct pick p = {.scores = false};
    if (!zkey_open_read(r, 1, &p.key))
        return;
    if (p.key.entry)
        give_rank(&p, request_random_below(r, sorted_count(&p.key.set)));
    else
        reply_null(r->out, r->session->resp);
}

static void reply_different(const struct pick *p, uint64_t count)
{
    struct request *r = p->key.r;
    uint64_t length = sorted_count(&p->key.set), n = count < length ? count : length;
    uint64_t *seen = NULL, room = 4;
    if (n < length / DRAW_SHARE) {
        while (room < 2 * n)
            room *= 2;
        seen = mi_zalloc(room * sizeof(*seen));
        if (!seen) {
            request_error(r, ERR_OOM);
            return;
        }
    }
    reply_array(r->out, (int64_t)(p->scores && !p->nested ? 2 * n : n));
    if (seen)
        pick_drawn(p, n, length, seen, room);
    else
        pick_on_a_walk(p, n, length);
    mi_free(seen);
}

struct repeat {
    struct pick pick;
    uint64_t n; // to come
    bool begun;
};

static bool repeat_step(struct request *r, void *state)
{
    struct repeat *w = state;
    struct pick *p = &w->pick;
    p->key.r = r;
    if (!w->begun)
        reply_array(r->out, (int64_t)(p->scores && !p->nested ? 2 * w->n : w->n));
    w->begun = true;
    uint64_t length = sorted_count(&p->key.set);
    for (unsigned i = 0; w->n && i < STEPS_ELEMENTS; i++, w->n--)
        give_rank(p, request_random_below(r, length));
    return !w->n || r->out->failed;
}

// Each drawn from all: as many as were asked for.
static void reply_repeating(struct request *r, const struct pick *p, uint64_t n)
{
    struct repeat repeat = {.pick = *p, .n = n};
    if (n > STEPS_WORTHWHILE) {
        struct repeat *w = request_steps(r, &p->key.key, repeat_step, sizeof(*w));
        if (w) {
            *w = repeat;
            return;
        }
    }
    while (!repeat_step(r, &repeat))
        ;
}

void zrandmember_command(struct request *r)
{
    struct pick p = {.scores = false};
    int64_t count;
    if (r->argc == 2) {
        reply_one(r);
        return;
    }
    if (!request_draw_pairs(r, "withscores", &count, &p.scores) || !zkey_open_read(r, 1, &p.key))
        return;
    p.nested = p.scores && r->session->resp >= 3;
    if (!p.key.entry) {
        reply_array(r->out, 0);
    } else if (count >= 0) {
        reply_different(&p, (uint64_t)count);
    } else {
        reply_repeating(r, &p, (uint64_t)-count);
    }
}

// --- ZSCAN --------------------------------------------------------------------------------------

struct scan {
    struct scan_options options;
    struct outbuf found;
    int64_t n; // elements of the reply
};

static void scan_member(void *context, struct entry *e)
{
    struct scan *s = context;
    size_t len;
    const uint8_t *name = member_name(e, &len);
    if (!scan_matches(&s->options.pattern, name, len))
        return;
    reply_bulk(&s->found.out, name, len);
    reply_double(&s->found.out, 2, zset_score(e));
    s->n += 2;
}

// A small one in one go. Its scores are given in the text that they are stored in.
static void scan_listpack(struct scan *s, const uint8_t *lp)
{
    for (const uint8_t *p = lp_first(lp); p; p = lp_next(lp, lp_next(lp, p))) {
        char scratch[24];
        size_t len;
        const uint8_t *text = lp_text(p, scratch, &len);
        if (!scan_matches(&s->options.pattern, text, len))
            continue;
        reply_bulk(&s->found.out, text, len);
        text = lp_text(lp_next(lp, p), scratch, &len);
        reply_bulk(&s->found.out, text, len);
        s->n += 2;
    }
}

void zscan_command(struct request *r)
{
    struct zkey z;
    uint64_t cursor;
    struct scan s = {.n = 0};
    if (!scan_parse_cursor(&r->argv[2], &cursor)) {
        request_error(r, ERR_CURSOR);
        return;
    }
    if (!zkey_open_read(r, 1, &z))
        return;
    outbuf_init(&s.found);
    if (!z.entry) { // Redis looks at the options no more
        scan_reply(r, 0, 0, &s.found);
        return;
    }
    if (!scan_parse_options(r, 3, 0, &s.options))
        return;
    if (z.set.encoding == ENC_SKIPLIST) {
        const struct zset *big = z.set.object;
        cursor = members_scan(r->store, &big->members, cursor, (unsigned long)s.options.count,
                              scan_member, &s);
    } else {
        cursor = 0;
        scan_listpack(&s, z.set.object);
    }
    scan_reply(r, cursor, s.n, &s.found);
}
