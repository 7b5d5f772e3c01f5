// Pending entries of a group: who has them, and who shall have them.
#include "dataplane/commands/lookup.h"
#include "dataplane/commands/streams_commands.h"

#include "dataplane/commands/effects.h"
#include "dataplane/commands/streams_value.h"

static bool group_is_there(struct request *r, const struct stream_group *g)
{
    if (!g)
        request_errorf(r, "NOGROUP No such key '%.*s' or consumer group '%.*s'",
                       stream_text_len(&r->argv[1]), r->argv[1].ptr, stream_text_len(&r->argv[2]),
                       r->argv[2].ptr);
    return g != NULL;
}

static int64_t idle_ms(const struct request *r, const struct stream_nack *nack)
{
    return (int64_t)(r->now_ms - (uint64_t)nack->delivered_ms);
}

// --- XPENDING ------------------------------------------------------------------------------------

struct pending_options {
    struct stream_id start, end;
    int64_t count, min_idle;
    int consumer; // argument; 0: all
};

static bool parse_pending(struct request *r, struct pending_options *o)
{
    *o = (struct pending_options){0};
    if (r->argc == 3)
        return true;
    int i = 3;
    if (r->argc >= 6 && r->argc <= 9 && request_is(r, 3, "idle")) {
        if (!request_integer(r, 4, &o->min_idle))
            return false;
        i = 5;
    }
    if (r->argc < i + 3 || r->argc > 9) {
        request_error(r, ERR_SYNTAX);
        return false;
    }
    if (!request_integer(r, i + 2, &o->count) || !stream_parse_start(r, i, &o->start) ||
        !stream_parse_end(r, i + 1, &o->end))
        return false;
    if (i + 3 < r->argc)
        o->consumer = i + 3;
    return true;
}

static void reply_summary(struct request *r, const struct stream_group *g)
{
    reply_array(r->out, 4);
    reply_integer(r->out, (int64_t)g->pending.count);
    if (!g->pending.count) {
        reply_null(r->out, r->session->resp);
        reply_null(r->out, r->session->resp);
        reply_null_array(r->out, r->session->resp);
        return;
    }
    struct btree_at last = btree_last(&g->pending);
    const struct stream_nack *first = btree_item(btree_first(&g->pending));
    stream_reply_id(r->out, (struct stream_id){first->ms, first->seq});
    stream_reply_id(r->out, stream_node_id(last));
    struct outbuf body;
    uint64_t n = 0;
    outbuf_init(&body);
    for (struct btree_at at = btree_first(&g->consumers); at.leaf; btree_next(&at)) {
        const struct stream_consumer *c = btree_item(at);
        if (!c->pending.count)
            continue;
        reply_array(&body.out, 2);
        reply_bulk(&body.out, c->name, c->name_len);
        reply_bulk_integer(&body.out, (int64_t)c->pending.count);
        n++;
    }
    stream_reply_collected(r->out, n, &body);
}

static void reply_list(struct request *r, const struct btree *pending,
                       const struct pending_options *o)
{
    struct outbuf body;
    int64_t n = 0;
    outbuf_init(&body);
    struct btree_at at = btree_lower(pending, o->start.ms, &o->start.seq);
    for (; at.leaf && n < o->count; btree_next(&at)) {
        const struct stream_nack *nack = btree_item(at);
        struct stream_id id = {nack->ms, nack->seq};
        int64_t idle = idle_ms(r, nack);
        if (stream_id_compare(id, o->end) > 0)
            break;
        if (o->min_idle && idle < o->min_idle)
            continue;
        n++;
        reply_array(&body.out, 4);
        stream_reply_id(&body.out, id);
        reply_bulk(&body.out, nack->consumer->name, nack->consumer->name_len);
        reply_integer(&body.out, idle < 0 ? 0 : idle);
        reply_integer(&body.out, (int64_t)nack->deliveries);
    }
    stream_reply_collected(r->out, (uint64_t)n, &body);
}

void xpending_command(struct request *r)
{
    struct pending_options o;
    struct skey k;
    if (!parse_pending(r, &o) || !skey_open_read(r, 1, &k))
        return;
    const struct stream_group *g = stream_group_of(&k, 2);
    if (!group_is_there(r, g))
        return;
    if (r->argc == 3) {
        reply_summary(r, g);
        return;
    }
    const struct btree *pending = &g->pending;
    if (o.consumer) {
        const struct arg *name = &r->argv[o.consumer];
        const struct stream_consumer *c = stream_consumer_find(g, name->ptr, name->len);
        if (!c) {
            reply_array(r->out, 0);
            return;
        }
        pending = &c->pending;
    }
    reply_list(r, pending, &o);
}

// --- what XCLAIM and XAUTOCLAIM do to one entry --------------------------------------------------

struct claim {
    struct skey k;
    struct stream_group *group;
    struct stream_consumer *consumer;
    struct outbuf body;
    uint64_t given; // entries in `body`
    uint64_t changes;
    int64_t min_idle, delivered_ms, retry_count; // retry_count -1: not given
    bool force, just_id;
    bool tell_last; // the group's last id changed and no effect has told it yet
    bool created;   // the consumer
    bool failed;    // memory is short
};

static void claim_begin(struct claim *c)
{
    effect_nothing(c->k.r);
    skey_edit(&c->k);
    outbuf_init(&c->body);
}

// The consumer is looked up, or made, when it gets its first entry. False: memory is short.
static bool claim_consumer(struct claim *c)
{
    bool created = false;
    if (!c->consumer)
        c->consumer = stream_consumer_of(&c->k, c->group, 3, &created);
    c->failed = !c->consumer;
    if (created && c->consumer) {
        c->changes++;
        c->created = true;
        stream_effect_consumer(&c->k, 2, c->consumer);
    }
    return !c->failed;
}

static void claim_end(struct claim *c)
{
    skey_edit_end(&c->k, c->changes);
    if (c->created)
        request_changed(c->k.r, &c->k.key, EVENT_STREAM | EVENT_ASIDE, "xgroup-createconsumer");
}

static void claim_told(struct claim *c, const struct stream_nack *nack)
{
    stream_effect_claim(&c->k, 2, c->group, nack);
    c->tell_last = false;
    c->changes++;
}

// Takes off what is pending though the entry is gone.
static void claim_gone(struct claim *c, struct stream_nack *nack)
{
    claim_told(c, nack);
    stream_nack_remove(c->k.x, c->group, nack);
}

static void claim_nack(struct claim *c, struct stream_nack *nack)
{
    struct stream_id id = {nack->ms, nack->seq};
    if (!claim_consumer(c))
        return;
    if (!stream_nack_give(c->k.x, nack, c->consumer)) {
        c->failed = true;
        return;
    }
    nack->delivered_ms = c->delivered_ms;
    if (c->retry_count >= 0)
        nack->deliveries = (uint64_t)c->retry_count;
    else if (!c->just_id)
        nack->deliveries++;
    if (c->just_id)
        stream_reply_id(&c->body.out, id);
    else
        stream_reply_range(&c->body.out, c->k.x, id, id, 1, false);
    c->given++;
    claim_told(c, nack);
}

// --- XCLAIM --------------------------------------------------------------------------------------

// Options from argument i on.
static bool parse_claim(struct request *r, int i, struct claim *c, struct stream_id *last)
{
    int64_t now = (int64_t)r->now_ms;
    for (; i < r->argc; i++) {
        bool more = i + 1 < r->argc;
        if (request_is(r, i, "force")) {
            c->force = true;
        } else if (request_is(r, i, "justid")) {
            c->just_id = true;
        } else if (more && (request_is(r, i, "idle") || request_is(r, i, "time"))) {
            bool idle = request_is(r, i, "idle");
            if (!parse_int64(r->argv[i + 1].ptr, r->argv[i + 1].len, &c->delivered_ms)) {
                request_errorf(r, "ERR Invalid %s option argument for XCLAIM",
                               idle ? "IDLE" : "TIME");
                return false;
            }
            if (idle)
                c->delivered_ms = (int64_t)((uint64_t)now - (uint64_t)c->delivered_ms);
            i++;
        } else if (more && request_is(r, i, "retrycount")) {
            if (!parse_int64(r->argv[i + 1].ptr, r->argv[i + 1].len, &c->retry_count)) {
                request_error(r, "ERR Invalid RETRYCOUNT option argument for XCLAIM");
                return false;
            }
            i++;
        } else if (more && request_is(r, i, "lastid")) {
            if (!stream_parse_id(r, ++i, last, NULL))
                return false;
        } else {
            request_errorf(r, "ERR Unrecognized XCLAIM option '%.*s'", stream_text_len(&r->argv[i]),
                           r->argv[i].ptr);
            return false;
        }
    }
    if (c->delivered_ms < 0 || c->delivered_ms > now)
        c->delivered_ms = now;
    return true;
}

static void claim_id(struct claim *c, struct stream_id id)
{
    struct stream_nack *nack = stream_nack_find(&c->group->pending, id);
    if (!stream_has(c->k.x, id)) {
        if (nack)
            claim_gone(c, nack);
        return;
    }
    if (nack && c->min_idle && idle_ms(c->k.r, nack) < c->min_idle)
        return;
    if (!nack && c->force && claim_consumer(c)) {
        nack = stream_nack_add(c->k.x, c->group, c->consumer, id, c->delivered_ms);
        c->failed = !nack;
    }
    if (nack)
        claim_nack(c, nack);
}

static bool open_claim(struct request *r, struct claim *c)
{
    if (!skey_open_read(r, 1, &c->k))
        return false;
    c->group = stream_group_of(&c->k, 2);
    return group_is_there(r, c->group);
}

static bool parse_min_idle(struct request *r, struct claim *c, const char *error)
{
    if (!parse_int64(r->argv[4].ptr, r->argv[4].len, &c->min_idle)) {
        request_error(r, error);
        return false;
    }
    if (c->min_idle < 0)
        c->min_idle = 0;
    return true;
}

void xclaim_command(struct request *r)
{
    struct claim c = {.delivered_ms = -1, .retry_count = -1};
    struct stream_id id, last = STREAM_ID_MIN;
    if (!open_claim(r, &c) ||
        !parse_min_idle(r, &c, "ERR Invalid min-idle-time argument for XCLAIM"))
        return;
    int end = 5;
    while (end < r->argc && stream_read_id(&r->argv[end], &id, 0, NULL))
        end++;
    if (!parse_claim(r, end, &c, &last))
        return;
    claim_begin(&c);
    if (stream_id_compare(last, c.group->last) > 0) {
        c.group->last = last;
        c.tell_last = true;
    }
    for (int i = 5; i < end && !c.failed; i++)
        if (stream_read_id(&r->argv[i], &id, 0, NULL))
            claim_id(&c, id);
    if (c.tell_last) {
        stream_effect_group(&c.k, 2, c.group);
        c.changes++;
    }
    claim_end(&c);
    stream_reply_collected(r->out, c.given, &c.body);
}

// --- XAUTOCLAIM ----------------------------------------------------------------------------------

enum { ATTEMPTS_EACH = 10, COUNT_DEFAULT = 100 };
#define COUNT_MAX (INT64_MAX / (int64_t)sizeof(struct stream_id))
#define COUNT_FITS (INT64_C(1) << 43) // ids that an address space could hold

static bool parse_autoclaim(struct request *r, struct claim *c, int64_t *count)
{
    *count = COUNT_DEFAULT;
    for (int i = 6; i < r->argc; i++) {
        if (request_is(r, i, "justid")) {
            c->just_id = true;
        } else if (request_is(r, i, "count") && i + 1 < r->argc) {
            i++;
            if (!parse_int64(r->argv[i].ptr, r->argv[i].len, count) || *count < 1 ||
                *count > COUNT_MAX) {
                request_error(r, "ERR COUNT must be > 0");
                return false;
            }
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

// Looks at pending entries from *at on. The place of the next one is left in *at.
static uint64_t autoclaim(struct claim *c, struct btree_at *at, int64_t count, struct outbuf *gone)
{
    uint64_t n_gone = 0;
    for (int64_t left = count * ATTEMPTS_EACH; at->leaf && left && count && !c->failed; left--) {
        struct stream_nack *nack = btree_item(*at);
        struct stream_id id = {nack->ms, nack->seq};
        if (!stream_has(c->k.x, id)) {
            claim_gone(c, nack);
            stream_reply_id(&gone->out, id);
            n_gone++;
            count--;
            *at = btree_lower(&c->group->pending, id.ms, &id.seq);
            continue;
        }
        if (!c->min_idle || idle_ms(c->k.r, nack) >= c->min_idle) {
            claim_nack(c, nack);
            count--;
        }
        if (!c->failed)
            btree_next(at);
    }
    return n_gone;
}

void xautoclaim_command(struct request *r)
{
    struct claim c = {.delivered_ms = (int64_t)r->now_ms, .retry_count = -1};
    struct stream_id start;
    int64_t count;
    if (!parse_min_idle(r, &c, "ERR Invalid min-idle-time argument for XAUTOCLAIM") ||
        !stream_parse_start(r, 5, &start) || !parse_autoclaim(r, &c, &count)) {
        struct key key = request_key(r, 1);
        lookup_read(r, &key); // whatever is wrong, a miss is one, as in Redis
        return;
    }
    if (!open_claim(r, &c))
        return;
    if (count > COUNT_FITS) {
        request_error(r, "ERR Insufficient memory, failed allocating transient memory, COUNT too "
                         "high.");
        return;
    }
    claim_begin(&c);
    struct outbuf gone;
    outbuf_init(&gone);
    struct btree_at at = btree_lower(&c.group->pending, start.ms, &start.seq);
    uint64_t n_gone = autoclaim(&c, &at, count, &gone);
    claim_end(&c);
    reply_array(r->out, 3);
    stream_reply_id(r->out, at.leaf ? stream_node_id(at) : STREAM_ID_MIN);
    stream_reply_collected(r->out, c.given, &c.body);
    stream_reply_collected(r->out, n_gone, &gone);
}
