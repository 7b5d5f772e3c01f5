// HRANDFIELD: one field, many that may repeat, or many different ones.
#include <mimalloc.h>
#include <string.h>

#include "common/outbuf.h"
#include "dataplane/commands/hashes_commands.h"
#include "dataplane/commands/hashes_value.h"
#include "dataplane/commands/steps.h"
#include "dataplane/store/values/listpack.h"

enum {
    EXPIRED_TRIES = 64,   // fields drawn that turn out to be over
    DRAW_SHARE = 4,       // fewer than one in so many of a table are drawn, more are met on a walk
    TRIES_PER_FIELD = 16, // of those drawn
};

struct pick {
    struct request *r;
    struct hash hash;
    bool values;
    struct out *to;
    struct outbuf found;
    uint64_t n; // of them
};

static void add(struct pick *p, const uint8_t *name, size_t name_len, const uint8_t *value,
                size_t value_len)
{
    struct out *o = p->to;
    if (p->values && p->r->session->resp == 3)
        reply_array(o, 2);
    reply_bulk(o, name, name_len);
    if (p->values)
        reply_bulk(o, value, value_len);
    p->n++;
}

static void add_member(struct pick *p, const struct entry *e)
{
    size_t name_len, value_len;
    const uint8_t *name = member_name(e, &name_len), *value = member_value(e, &value_len);
    add(p, name, name_len, value, value_len);
}

static void add_place(struct pick *p, const uint8_t *place)
{
    char scratch[2][24];
    size_t name_len, value_len;
    const uint8_t *name = lp_text(place, scratch[0], &name_len);
    const uint8_t *value = lp_text(lp_next(p->hash.object, place), scratch[1], &value_len);
    add(p, name, name_len, value, value_len);
}

static void reply_count(struct pick *p, uint64_t n)
{
    reply_array(p->r->out, (int64_t)(p->values && p->r->session->resp == 2 ? 2 * n : n));
}

// A member of the table that is not over. NULL: there is none.
static struct entry *draw_member(struct pick *p)
{
    struct store *s = p->r->store;
    for (unsigned try = 0; try < EXPIRED_TRIES; try++) {
        struct entry *e = members_random(s, p->hash.object);
        if (!e || entry_expiry(e) < 0 || entry_expiry(e) > p->hash.now_ms)
            return e;
    }
    struct hash_iterator it = hash_begin(&p->hash);
    return hash_next(&it) ? it.value.member : NULL;
}

static void add_drawn(struct pick *p)
{
    if (p->hash.encoding == ENC_HASHTABLE) {
        add_member(p, draw_member(p));
        return;
    }
    uint64_t i = request_random_below(p->r, hash_length(&p->hash));
    add_place(p, lp_seek(p->hash.object, 2 * (int64_t)i));
}

// Of those that may repeat: so many are still to come.
struct repeating {
    struct pick pick;
    uint64_t left;
    bool begun;
};

static bool repeating_step(struct request *r, void *state)
{
    struct repeating *w = state;
    struct pick *p = &w->pick;
    p->r = p->hash.r = r;
    p->to = r->out;
    if (!w->begun)
        reply_count(p, w->left);
    w->begun = true;
    for (unsigned i = 0; i < STEPS_ELEMENTS && w->left && !r->out->failed; i++, w->left--)
        add_drawn(p);
    return !w->left || r->out->failed;
}

static void reply_repeating(struct pick *p, uint64_t count)
{
    struct repeating all = {.pick = *p, .left = count};
    if (count > STEPS_WORTHWHILE) {
        struct repeating *w = request_steps(p->r, &p->hash.key, repeating_step, sizeof(*w));
        if (w) {
            *w = all;
            return;
        }
    }
    while (!repeating_step(p->r, &all))
        ;
}

// On a walk over all `live` fields each is taken with the chance that makes it `count` in the end,
// every choice of so many alike.
static void pick_on_a_walk(struct pick *p, uint64_t count, uint64_t live)
{
    struct hash_iterator it = hash_begin(&p->hash);
    for (; live && hash_next(&it); live--) {
        if (request_random_below(p->r, live) >= count)
            continue;
        add(p, it.name, it.name_len, it.value.ptr, it.value.len);
        count--;
    }
}

// Few of a big table: drawn until they are enough, those drawn twice left out.
static bool pick_drawn(struct pick *p, uint64_t count)
{
    uint64_t room = 4;
    while (room < 2 * count)
        room *= 2;
    struct entry **seen = mi_zalloc(room * sizeof(*seen));
    if (!seen)
        return false;
    for (uint64_t tries = count * TRIES_PER_FIELD; p->n < count && tries; tries--) {
        struct entry *e = draw_member(p);
        uint64_t at = ((uintptr_t)e >> 4) * 0x9e3779b97f4a7c15 >> 32 & (room - 1);
        while (seen[at] && seen[at] != e)
            at = (at + 1) & (room - 1);
        if (seen[at])
            continue;
        seen[at] = e;
        add_member(p, e);
    }
    mi_free((void *)seen);
    return true;
}

static bool pick_different(struct pick *p, uint64_t count, uint64_t live)
{
    if (p->hash.encoding == ENC_HASHTABLE && count < live / DRAW_SHARE) {
        if (!pick_drawn(p, count))
            return false;
        if (p->n == count)
            return true;
        outbuf_clear(&p->found); // nearly all are over: those that are not are met on a walk
        p->n = 0;
    }
    pick_on_a_walk(p, count < live ? count : live, live);
    return true;
}

static void reply_one(struct request *r)
{
    struct pick p = {.r = r, .to = r->out};
    if (!hash_open_read(r, &p.hash))
        return;
    if (p.hash.entry && hash_live(&p.hash))
        add_drawn(&p);
    else
        reply_null(r->out, r->session->resp);
}

void hrandfield_command(struct request *r)
{
    struct pick p = {.r = r};
    int64_t count;
    if (r->argc == 2) {
        reply_one(r);
        return;
    }
    if (!request_draw_pairs(r, "withvalues", &count, &p.values) || !hash_open_read(r, &p.hash))
        return;
    uint64_t live = p.hash.entry ? hash_live(&p.hash) : 0;
    if (live && count < 0) {
        reply_repeating(&p, (uint64_t)-count);
        return;
    }
    outbuf_init(&p.found);
    p.to = &p.found.out;
    if (live && count > 0 && (!pick_different(&p, (uint64_t)count, live) || p.found.out.failed)) {
        outbuf_clear(&p.found);
        request_error(r, ERR_OOM);
        return;
    }
    reply_count(&p, p.n);
    outbuf_move(&p.found, r->out);
}
