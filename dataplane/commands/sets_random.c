// SPOP and SRANDMEMBER. What was drawn is told as what was removed.
#include "dataplane/commands/sets_commands.h"
#include "dataplane/commands/sets_value.h"
#include "dataplane/commands/steps.h"

#define ERR_NOT_POSITIVE "ERR value is out of range, must be positive"

enum {
    // Fewer of the members than one in so many stay: those that stay are moved, not the others.
    POP_MOVE_SHARE = 5,
    // More of the members than one in so many are wanted: each is looked at, instead of drawing
    // until there are enough.
    DRAW_SHARE = 3,
};

// --- SPOP ---------------------------------------------------------------------------------------

static void pop_one(struct request *r, const struct key *key, struct entry *e)
{
    if (!e) {
        reply_null(r->out, r->session->resp);
        return;
    }
    struct set set;
    struct edit edit = sets_edit(r, key, e, &set);
    struct set_item item = set_random(r->store, &set);
    sets_reply_item(r->out, &item);
    if (effect_begin(r, "SREM", 3)) {
        effect_arg(r, 1);
        sets_effect_item(r, &item);
    }
    set_take(r->store, &set, &item);
    sets_changed(r, key, "spop", sets_edit_end(&edit, &set, 1));
}

static void pop_all(struct request *r, const struct key *key, const struct set *set)
{
    struct set_iterator it = set_begin(set);
    struct set_item item;
    reply_set(r->out, r->session->resp, (int64_t)set_count(set));
    while (set_next(&it, &item))
        sets_reply_item(r->out, &item);
    if (effect_begin(r, "DEL", 2))
        effect_arg(r, 1);
    store_delete(r->store, r->session->db, key);
    sets_changed(r, key, "spop", false);
}

static void pop_each(struct request *r, struct set *set, uint64_t count)
{
    bool told = effect_begin(r, "SREM", (unsigned)(2 + count));
    if (told)
        effect_arg(r, 1);
    reply_set(r->out, r->session->resp, (int64_t)count);
    for (; count; count--) {
        struct set_item item = set_random(r->store, set);
        sets_reply_item(r->out, &item);
        if (told)
            sets_effect_item(r, &item);
        set_take(r->store, set, &item);
    }
}

// Draws those that stay into a set of their own, whose encoding is chosen anew. False: memory is
// short; the sets hold all members between them still, or the second is none.
static bool draw_rest(struct request *r, struct set *set, struct set *rest, uint64_t n)
{
    struct set_limits limits = sets_limits(r);
    *rest = (struct set){0};
    for (uint64_t i = 0; i < n; i++) {
        struct set_item item = set_random(r->store, set);
        char scratch[24];
        size_t len;
        const uint8_t *text = set_item_text(&item, scratch, &len);
        if (!rest->object && !set_new(rest, &limits, text, len, n))
            return false;
        if (set_add(r->store, rest, &limits, text, len) == SET_NO_MEMORY)
            return false;
        set_take(r->store, set, &item);
    }
    return true;
}

// Puts back what was drawn; memory for it was there a moment ago.
static void undo_draw(struct request *r, struct set *set, struct set *rest)
{
    struct set_limits limits = sets_limits(r);
    if (!rest->object)
        return;
    struct set_iterator it = set_begin(rest);
    struct set_item item;
    while (set_next(&it, &item))
        set_add_item(r->store, set, &limits, &item);
    set_free(rest);
}

static bool pop_most(struct request *r, struct set *set, uint64_t count)
{
    struct set rest;
    if (!draw_rest(r, set, &rest, set_count(set) - count)) {
        undo_draw(r, set, &rest);
        return false;
    }
    bool told = effect_begin(r, "SREM", (unsigned)(2 + count));
    if (told)
        effect_arg(r, 1);
    reply_set(r->out, r->session->resp, (int64_t)count);
    struct set_iterator it = set_begin(set);
    struct set_item item;
    while (set_next(&it, &item)) {
        sets_reply_item(r->out, &item);
        if (told)
            sets_effect_item(r, &item);
    }
    set_free(set);
    *set = rest;
    return true;
}

static void pop_many(struct request *r, const struct key *key, struct entry *e, uint64_t count)
{
    if (!count || !e) {
        reply_set(r->out, r->session->resp, 0);
        return;
    }
    struct set set = set_of(e);
    uint64_t size = set_count(&set);
    if (count >= size) {
        pop_all(r, key, &set);
        return;
    }
    struct edit edit = sets_edit(r, key, e, &set);
    bool done = true;
    if ((size - count) * POP_MOVE_SHARE > count)
        pop_each(r, &set, count);
    else
        done = pop_most(r, &set, count);
    sets_edit_end(&edit, &set, done ? count : 0);
    if (done)
        sets_changed(r, key, "spop", true);
    else
        request_error(r, ERR_OOM);
}

void spop_command(struct request *r)
{
    int64_t count = -1;
    if (r->argc > 3) {
        request_error(r, ERR_SYNTAX);
        return;
    }
    if (r->argc == 3 && (!parse_int64(r->argv[2].ptr, r->argv[2].len, &count) || count < 0)) {
        request_error(r, ERR_NOT_POSITIVE);
        return;
    }
    struct key key = request_key(r, 1);
    struct entry *e = lookup_write(r, &key);
    if (!lookup_type_is(r, e, OBJ_SET))
        return;
    if (r->argc == 3)
        pop_many(r, &key, e, (uint64_t)count);
    else
        pop_one(r, &key, e);
}

// --- SRANDMEMBER --------------------------------------------------------------------------------

// Any number of members, each drawn from all: so many are still to come.
struct repeating {
    struct set set;
    uint64_t left;
    bool begun;
};

static bool repeating_step(struct request *r, void *state)
{
    struct repeating *w = state;
    if (!w->begun)
        reply_array(r->out, (int64_t)w->left);
    w->begun = true;
    for (unsigned i = 0; i < STEPS_ELEMENTS && w->left && !r->out->failed; i++, w->left--) {
        struct set_item item = set_random(r->store, &w->set);
        sets_reply_item(r->out, &item);
    }
    return !w->left || r->out->failed;
}

static void draw_repeating(struct request *r, const struct key *key, const struct set *set,
                           uint64_t count)
{
    struct repeating here = {.set = *set, .left = count};
    struct repeating *walk;
    if (count > STEPS_WORTHWHILE && (walk = request_steps(r, key, repeating_step, sizeof(*walk)))) {
        *walk = here;
        return;
    }
    while (!repeating_step(r, &here))
        ;
}

// One walk: each member is taken with the chance that is still needed.
static void draw_by_walk(struct request *r, const struct set *set, uint64_t count)
{
    struct set_iterator it = set_begin(set);
    struct set_item item;
    reply_array(r->out, (int64_t)count);
    for (uint64_t left = set_count(set); count && set_next(&it, &item); left--) {
        if (request_random_below(r, left) >= count)
            continue;
        sets_reply_item(r->out, &item);
        count--;
    }
}

// Draws until so many different ones are found. False: memory is short.
static bool draw_different(struct request *r, const struct set *set, uint64_t count)
{
    struct set seen;
    static const struct set_limits limits = {.intset_entries = INT16_MAX};
    if (!set_new_intset(&seen))
        return false;
    struct outbuf drawn;
    outbuf_init(&drawn);
    bool enough = true;
    for (uint64_t n = 0; n < count && enough;) {
        struct set_item item = set_random(r->store, set);
        enum set_result result = set_add_item(r->store, &seen, &limits, &item);
        enough = result != SET_NO_MEMORY;
        if (result != SET_CHANGED)
            continue;
        sets_reply_item(&drawn.out, &item);
        n++;
    }
    set_free(&seen);
    if (enough) {
        reply_array(r->out, (int64_t)count);
        outbuf_move(&drawn, r->out);
    } else {
        outbuf_clear(&drawn);
    }
    return enough;
}

static void array_head(struct out *o, int resp, int64_t n)
{
    (void)resp;
    reply_array(o, n);
}

static void random_many(struct request *r, const struct key *key, const struct entry *e,
                        int64_t count)
{
    if (!e || !count) {
        reply_array(r->out, 0);
        return;
    }
    struct set set = set_of(e);
    uint64_t size = set_count(&set), wanted = (uint64_t)count;
    if (count < 0)
        draw_repeating(r, key, &set, 0 - wanted);
    else if (wanted >= size)
        sets_reply_all(r, key, &set, array_head);
    else if (wanted * DRAW_SHARE > size || !draw_different(r, &set, wanted))
        draw_by_walk(r, &set, wanted);
}

void srandmember_command(struct request *r)
{
    int64_t count = 0;
    if (r->argc > 3) {
        request_error(r, ERR_SYNTAX);
        return;
    }
    if (r->argc == 3 && !request_draw_count(r, &count))
        return;
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (!lookup_type_is(r, e, OBJ_SET))
        return;
    if (r->argc == 3) {
        random_many(r, &key, e, count);
    } else if (e) {
        struct set set = set_of(e);
        struct set_item item = set_random(r->store, &set);
        sets_reply_item(r->out, &item);
    } else {
        reply_null(r->out, r->session->resp);
    }
}
