// Commands over all fields of a hash, and some at random.
#include <limits.h>
#include <mimalloc.h>
#include <string.h>

#include "dataplane/commands/hashes_commands.h"
#include "dataplane/commands/hashes_value.h"
#include "dataplane/commands/scan.h"
#include "dataplane/commands/steps.h"

enum parts { NAMES = 1, VALUES = 2 };

static void reply_parts(struct request *r, const struct hash_iterator *it, unsigned parts)
{
    if (parts & NAMES)
        reply_bulk(r->out, it->name, it->name_len);
    if (parts & VALUES)
        reply_bulk(r->out, it->value.ptr, it->value.len);
}

// Counts, then writes: where fields may be over, the number at the head of the reply is known only
// behind a walk.
struct walk {
    struct hash hash;
    struct hash_iterator it;
    enum { WALK_BEGIN, WALK_COUNT, WALK_WRITE } phase;
    unsigned parts;
    uint64_t live;
};

static void walk_write(struct walk *w, struct request *r, uint64_t live)
{
    if (w->parts == (NAMES | VALUES))
        reply_map(r->out, r->session->resp, (int64_t)live);
    else
        reply_array(r->out, (int64_t)live);
    w->it = hash_begin(&w->hash);
    w->phase = WALK_WRITE;
}

static bool walk_step(struct request *r, void *state)
{
    struct walk *w = state;
    w->hash.r = r;
    if (w->phase == WALK_BEGIN && hash_any_over(&w->hash)) {
        w->it = hash_begin(&w->hash);
        w->phase = WALK_COUNT;
    } else if (w->phase == WALK_BEGIN) {
        walk_write(w, r, hash_length(&w->hash));
    }
    for (unsigned i = 0; i < STEPS_ELEMENTS; i++) {
        bool more = hash_next(&w->it);
        if (w->phase == WALK_COUNT) {
            w->live += more;
            if (!more)
                walk_write(w, r, w->live);
            continue;
        }
        if (!more)
            return true;
        reply_parts(r, &w->it, w->parts);
    }
    return false;
}

static void reply_all(struct request *r, unsigned parts)
{
    struct walk walk = {.parts = parts};
    if (!hash_open_read(r, &walk.hash))
        return;
    if (!walk.hash.entry) {
        if (parts == (NAMES | VALUES))
            reply_map(r->out, r->session->resp, 0);
        else
            reply_array(r->out, 0);
        return;
    }
    if (hash_length(&walk.hash) > STEPS_WORTHWHILE) {
        struct walk *w = request_steps(r, &walk.hash.key, walk_step, sizeof(*w));
        if (w) {
            *w = walk;
            return;
        }
    }
    while (!walk_step(r, &walk))
        ;
}

void hgetall_command(struct request *r)
{
    reply_all(r, NAMES | VALUES);
}

void hkeys_command(struct request *r)
{
    reply_all(r, NAMES);
}

void hvals_command(struct request *r)
{
    reply_all(r, VALUES);
}

// --- HSCAN --------------------------------------------------------------------------------------

struct scan {
    struct scan_options options;
    struct outbuf found;
    int64_t n; // elements of the reply
};

static void scan_field(struct scan *s, const uint8_t *name, size_t name_len, const uint8_t *value,
                       size_t value_len)
{
    if (!scan_matches(&s->options.pattern, name, name_len))
        return;
    reply_bulk(&s->found.out, name, name_len);
    s->n++;
    if (s->options.no_values)
        return;
    reply_bulk(&s->found.out, value, value_len);
    s->n++;
}

static void scan_member(void *context, struct entry *e)
{
    size_t name_len, value_len;
    const uint8_t *name = member_name(e, &name_len), *value = member_value(e, &value_len);
    scan_field(context, name, name_len, value, value_len);
}

void hscan_command(struct request *r)
{
    struct hash h;
    uint64_t cursor;
    struct scan s = {.n = 0};
    if (!scan_parse_cursor(&r->argv[2], &cursor)) {
        request_error(r, ERR_CURSOR);
        return;
    }
    if (!hash_open_read(r, &h))
        return;
    outbuf_init(&s.found);
    if (!h.entry) { // Redis looks at the options no more
        scan_reply(r, 0, 0, &s.found);
        return;
    }
    if (!scan_parse_options(r, 3, SCAN_NOVALUES, &s.options))
        return;
    if (h.encoding == ENC_HASHTABLE) {
        cursor = members_scan(r->store, h.object, cursor, (unsigned long)s.options.count,
                              scan_member, &s);
    } else { // a small one in one go
        cursor = 0;
        for (struct hash_iterator it = hash_begin(&h); hash_next(&it);)
            scan_field(&s, it.name, it.name_len, it.value.ptr, it.value.len);
    }
    scan_reply(r, cursor, s.n, &s.found);
}
