// XREAD and XREADGROUP: entries of several streams behind an id each, now or when they come.
#include "dataplane/commands/streams_commands.h"

#include <mimalloc.h>

#include "dataplane/commands/blocking.h"
#include "dataplane/commands/effects.h"
#include "dataplane/commands/lookup.h"
#include "dataplane/commands/streams_value.h"

enum { WOKEN_COUNT = 1000 }; // of one that waited and gave no COUNT

struct reading {
    struct request *r;
    bool of_group; // XREADGROUP
    bool noack, block, claimed;
    bool lost;   // another core serves the one that waited
    bool failed; // memory is short
    uint64_t timeout_us, count;
    int group, consumer; // arguments; 0: not given
    int first, n;        // streams: arguments, their number
    struct stream_id *after;
    struct outbuf out;
    uint64_t served;
};

// --- arguments -----------------------------------------------------------------------------------

static bool parse_streams(struct reading *g, int i)
{
    struct request *r = g->r;
    int words = r->argc - i;
    if (words % 2) {
        request_error(r, "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' "
                         "must be specified.");
        return false;
    }
    g->first = i;
    g->n = words / 2;
    return true;
}

static bool only_of_group(struct reading *g, const char *option)
{
    if (!g->of_group)
        request_errorf(g->r,
                       "ERR The %s option is only supported by XREADGROUP. You called XREAD "
                       "instead.",
                       option);
    return g->of_group;
}

// One option at argument i. Returns its last argument; 0: answered.
static int parse_option(struct reading *g, int i)
{
    struct request *r = g->r;
    int more = r->argc - i - 1;
    int64_t count;
    if (more && request_is(r, i, "block")) {
        if (r->of_script) {
            request_errorf(r, "ERR %.*s command is not allowed with BLOCK option from scripts",
                           (int)r->argv[0].len, (const char *)r->argv[0].ptr);
            return 0;
        }
        g->block = true;
        return request_timeout_milliseconds(r, i + 1, &g->timeout_us) ? i + 1 : 0;
    }
    if (more && request_is(r, i, "count")) {
        if (!request_integer(r, i + 1, &count))
            return 0;
        g->count = count < 0 ? 0 : (uint64_t)count;
        return i + 1;
    }
    if (more >= 2 && request_is(r, i, "group")) {
        g->group = i + 1;
        g->consumer = i + 2;
        return only_of_group(g, "GROUP") ? i + 2 : 0;
    }
    if (request_is(r, i, "noack")) {
        g->noack = true;
        return only_of_group(g, "NOACK") ? i : 0;
    }
    request_error(r, ERR_SYNTAX);
    return 0;
}

static bool parse_options(struct reading *g)
{
    struct request *r = g->r;
    for (int i = 1; i < r->argc && !g->first; i++) {
        if (i + 1 < r->argc && request_is(r, i, "streams")) {
            if (!parse_streams(g, i + 1))
                return false;
        } else {
            i = parse_option(g, i);
            if (!i)
                return false;
        }
    }
    if (!g->first) {
        request_error(r, ERR_SYNTAX);
        return false;
    }
    if (g->of_group && !g->group) {
        request_error(r, "ERR Missing GROUP option for XREADGROUP");
        return false;
    }
    return true;
}

// Stream i's id, resolved. False: answered.
static bool parse_after(struct reading *g, int i, const struct stream_value *x)
{
    struct request *r = g->r;
    int at = g->first + g->n + i;
    if (stream_id_is(&r->argv[at], '$')) {
        g->after[i] = x ? x->last : STREAM_ID_MIN;
        if (!g->of_group)
            return true;
        request_error(r, "ERR The $ ID is meaningless in the context of XREADGROUP: you want to "
                         "read the history of this consumer by specifying a proper ID, or use the "
                         "> ID to get new messages. The $ ID would just return an empty result "
                         "set.");
        return false;
    }
    if (stream_id_is(&r->argv[at], '>')) {
        g->after[i] = STREAM_ID_MAX; // whatever the group was not given yet
        if (g->of_group)
            return true;
        request_error(r, "ERR The > ID can be specified only when calling XREADGROUP using the "
                         "GROUP <group> <consumer> option.");
        return false;
    }
    return stream_parse_id(r, at, &g->after[i], NULL);
}

static bool parse_ids(struct reading *g)
{
    struct request *r = g->r;
    for (int i = 0; i < g->n; i++) {
        struct skey k;
        if (!skey_open_read(r, g->first + i, &k))
            return false;
        if (g->of_group && !stream_group_of(&k, g->group)) {
            const struct arg *key = &r->argv[g->first + i], *group = &r->argv[g->group];
            request_errorf(r,
                           "NOGROUP No such key '%.*s' or consumer group '%.*s' in XREADGROUP "
                           "with GROUP option",
                           stream_text_len(key), key->ptr, stream_text_len(group), group->ptr);
            return false;
        }
        if (!parse_after(g, i, k.x))
            return false;
    }
    return true;
}

// --- entries -------------------------------------------------------------------------------------

// The group has been given this entry: how many it has read by that.
static void group_read(const struct stream_value *x, struct stream_group *group,
                       struct stream_id id)
{
    if (group->entries_read != STREAM_ENTRIES_READ_UNKNOWN && !stream_has_gap(x, id))
        group->entries_read++;
    else if (x->entries_added)
        group->entries_read = stream_entries_up_to(x, id);
    group->last = id;
}

// Makes an entry pending with the consumer, whoever had it. False: memory is short.
static bool give(struct reading *g, struct skey *k, struct stream_group *group,
                 struct stream_consumer *c, struct stream_id id, struct stream_nack **given)
{
    int64_t now = (int64_t)g->r->now_ms;
    struct stream_nack *nack = stream_nack_find(&group->pending, id);
    *given = nack;
    if (!nack) {
        *given = stream_nack_add(k->x, group, c, id, now);
        return *given != NULL;
    }
    if (!stream_nack_give(k->x, nack, c))
        return false;
    nack->delivered_ms = now;
    nack->deliveries = 1;
    return true;
}

// New entries for a consumer. Returns their number.
static uint64_t deliver(struct reading *g, struct skey *k, struct stream_group *group,
                        struct stream_consumer *c, struct out *o)
{
    struct stream_id start = group->last;
    struct stream_walk w;
    uint64_t n = 0;
    bool moved = false;
    if (!stream_id_increment(&start))
        return 0;
    stream_walk_begin(&w, k->x, start, STREAM_ID_MAX, false);
    while ((!g->count || n < g->count) && stream_walk_next(&w)) {
        struct stream_nack *nack = NULL;
        if (!g->noack && !give(g, k, group, c, w.id, &nack)) {
            g->failed = true;
            break;
        }
        group_read(k->x, group, w.id);
        moved = true;
        stream_reply_entry(o, &w);
        n++;
        if (nack)
            stream_effect_claim(k, g->group, group, nack);
    }
    if (moved)
        stream_effect_group(k, g->group, group);
    return n;
}

// What a consumer was given before and has not acknowledged.
// Redis does not tell its replicas of the deliveries that are counted here; we do.
static uint64_t history(struct reading *g, struct skey *k, struct stream_group *group,
                        struct stream_consumer *c, struct stream_id after, struct out *o)
{
    uint64_t n = 0;
    stream_id_increment(&after);
    struct btree_at at = btree_lower(&c->pending, after.ms, &after.seq);
    for (; at.leaf && (!g->count || n < g->count); btree_next(&at), n++) {
        struct stream_nack *nack = btree_item(at);
        struct stream_id id = {nack->ms, nack->seq};
        if (stream_reply_range(o, k->x, id, id, 1, false)) {
            nack->delivered_ms = (int64_t)g->r->now_ms;
            nack->deliveries++;
            stream_effect_claim(k, g->group, group, nack);
        } else {
            reply_array(o, 2);
            stream_reply_id(o, id);
            reply_null_array(o, g->r->session->resp);
        }
    }
    return n;
}

// --- serving -------------------------------------------------------------------------------------

static bool claim(struct reading *g)
{
    if (!g->claimed && !g->lost) {
        g->claimed = request_claim(g->r);
        g->lost = !g->claimed;
    }
    return g->claimed;
}

static void add_stream(struct reading *g, const struct skey *k, uint64_t n, struct outbuf *body)
{
    if (g->r->session->resp == 2)
        reply_array(&g->out.out, 2);
    reply_bulk(&g->out.out, k->key.ptr, k->key.len);
    stream_reply_collected(&g->out.out, n, body);
    g->served++;
}

static bool has_entries_after(const struct stream_value *x, struct stream_id after)
{
    return x->length && stream_id_compare(stream_edge(x, true), after) > 0;
}

static void serve_reader(struct reading *g, struct skey *k, int i)
{
    struct stream_id start = g->after[i];
    if (!has_entries_after(k->x, start) || !claim(g))
        return;
    struct outbuf body;
    outbuf_init(&body);
    stream_id_increment(&start);
    uint64_t n = stream_reply_range(&body.out, k->x, start, STREAM_ID_MAX, g->count, false);
    add_stream(g, k, n, &body);
}

static void serve_consumer(struct reading *g, struct skey *k, struct stream_group *group, int i)
{
    struct request *r = g->r;
    bool old = stream_id_compare(g->after[i], STREAM_ID_MAX) != 0, created;
    bool ready = old || has_entries_after(k->x, group->last);
    if (!ready || !claim(g))
        return;
    skey_edit(k);
    struct stream_consumer *c = stream_consumer_of(k, group, g->consumer, &created);
    if (!c) {
        g->failed = true;
        skey_edit_end(k, 0);
        return;
    }
    if (created)
        stream_effect_consumer(k, g->group, c);
    struct outbuf body;
    outbuf_init(&body);
    uint64_t n =
        old ? history(g, k, group, c, g->after[i], &body.out) : deliver(g, k, group, c, &body.out);
    add_stream(g, k, n, &body);
    skey_edit_end(k, created + 1u);
    if (created)
        request_changed(r, &k->key, EVENT_STREAM | EVENT_ASIDE, "xgroup-createconsumer");
}

// One that waited finds that what it waited on is gone. False: it was told so.
static bool still_there(struct reading *g, const struct skey *k)
{
    struct request *r = g->r;
    const char *gone = NULL;
    if (!k->x)
        gone = "UNBLOCKED the stream key no longer exists";
    else if (!stream_group_of(k, g->group))
        gone = "NOGROUP the consumer group this client was blocked on no longer exists";
    if (!gone)
        return true;
    if (claim(g))
        request_error(r, gone);
    return false;
}

// False: the answer is given, or is somebody else's to give.
static bool serve(struct reading *g)
{
    struct request *r = g->r;
    for (int i = 0; i < g->n && !g->failed && !g->lost; i++) {
        if (!request_considers(r, g->first + i))
            continue;
        struct skey k = {.r = r, .key = request_key(r, g->first + i)};
        // The second look at it, which counts as in Redis.
        k.entry = r->woken ? store_find(r->store, r->session->db, &k.key,
                                        LOOKUP_NO_TOUCH | LOOKUP_NO_STATS)
                           : lookup_read(r, &k.key);
        if (k.entry && entry_type(k.entry) == OBJ_STREAM)
            k.x = entry_object(k.entry);
        if (r->woken && g->of_group && !still_there(g, &k))
            return false;
        if (!k.x)
            continue;
        if (!g->of_group)
            serve_reader(g, &k, i);
        else
            serve_consumer(g, &k, stream_group_of(&k, g->group), i);
    }
    return !g->lost;
}

// --- waiting -------------------------------------------------------------------------------------

// "$" is what it means now; the texts lie in `texts` until the arguments were copied.
static void wait_for_more(struct reading *g)
{
    struct request *r = g->r;
    size_t room = (size_t)g->n * (sizeof(int) + STREAM_ID_TEXT_MAX);
    int *keys = mi_malloc(room);
    if (!keys) {
        request_error(r, ERR_OOM);
        return;
    }
    char *text = (char *)(keys + g->n);
    for (int i = 0; i < g->n; i++) {
        struct arg *id = &r->argv[g->first + g->n + i];
        keys[i] = g->first + i;
        if (stream_id_is(id, '$')) {
            *id = (struct arg){.ptr = (const uint8_t *)text,
                               .len = stream_id_text(text, g->after[i])};
            text += STREAM_ID_TEXT_MAX;
        }
    }
    request_block(r, g->n, keys, g->timeout_us, BLOCK_NULL_ARRAY);
    for (int i = 0; i < g->n; i++) {
        struct arg *id = &r->argv[g->first + g->n + i];
        if (id->ptr >= (const uint8_t *)keys && id->ptr < (const uint8_t *)keys + room)
            *id = (struct arg){.ptr = (const uint8_t *)"$", .len = 1};
    }
    mi_free(keys);
}

static void answer(struct reading *g)
{
    struct request *r = g->r;
    if (g->served) {
        if (r->session->resp == 2)
            reply_array(r->out, (int64_t)g->served);
        else
            reply_map(r->out, r->session->resp, (int64_t)g->served);
        outbuf_move(&g->out, r->out);
    } else if (g->failed) {
        request_error(r, ERR_OOM);
    } else if (g->block) {
        wait_for_more(g);
    } else {
        reply_null_array(r->out, r->session->resp);
    }
}

static void read_streams(struct request *r, bool of_group)
{
    struct reading g = {.r = r, .of_group = of_group};
    if (!parse_options(&g))
        return;
    if (r->woken && !g.count)
        g.count = WOKEN_COUNT;
    g.after = mi_malloc((size_t)g.n * sizeof(*g.after) + 1);
    if (!g.after) {
        request_error(r, ERR_OOM);
        return;
    }
    outbuf_init(&g.out);
    if (of_group)
        effect_nothing(r);
    bool parsed = true;
    if (!r->woken)
        parsed = parse_ids(&g);
    else // the ids were understood the first time
        for (int i = 0; i < g.n; i++)
            if (stream_id_is(&r->argv[g.first + g.n + i], '>') ||
                !stream_read_id(&r->argv[g.first + g.n + i], &g.after[i], 0, NULL))
                g.after[i] = STREAM_ID_MAX;
    if (parsed && serve(&g))
        answer(&g);
    outbuf_clear(&g.out);
    mi_free(g.after);
}

void xread_command(struct request *r)
{
    read_streams(r, false);
}

void xreadgroup_command(struct request *r)
{
    read_streams(r, true);
}
