// XINFO: what there is to tell of a stream, its groups and their consumers.
#include "dataplane/commands/streams_commands.h"

#include "dataplane/commands/families.h"
#include "dataplane/commands/streams_value.h"

enum { FULL_COUNT = 10 };

static void refuse(struct request *r)
{
    const struct arg *name = &r->argv[1];
    request_errorf(r,
                   "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try XINFO "
                   "HELP.",
                   stream_text_len(name) > 128 ? 128 : stream_text_len(name), name->ptr);
}

// The stream of argument 2, which must be there. False: answered.
static bool open_stream(struct request *r, struct skey *k)
{
    if (!skey_open_read(r, 2, k))
        return false;
    if (!k->x)
        request_error(r, ERR_NO_KEY);
    return k->x != NULL;
}

static void named_integer(struct request *r, const char *name, int64_t value)
{
    reply_bulk_string(r->out, name);
    reply_integer(r->out, value);
}

static void named_id(struct request *r, const char *name, struct stream_id id)
{
    reply_bulk_string(r->out, name);
    stream_reply_id(r->out, id);
}

static void named_bytes(struct request *r, const char *name, const void *data, size_t len)
{
    reply_bulk_string(r->out, name);
    reply_bulk(r->out, data, len);
}

static void reading_progress(struct request *r, const struct stream_value *x,
                             const struct stream_group *g)
{
    int64_t lag;
    reply_bulk_string(r->out, "entries-read");
    if (g->entries_read == STREAM_ENTRIES_READ_UNKNOWN)
        reply_null(r->out, r->session->resp);
    else
        reply_integer(r->out, g->entries_read);
    reply_bulk_string(r->out, "lag");
    if (stream_group_lag(x, g, &lag))
        reply_integer(r->out, lag);
    else
        reply_null(r->out, r->session->resp);
}

void xinfo_groups_command(struct request *r)
{
    struct skey k;
    if (!open_stream(r, &k))
        return;
    reply_array(r->out, (int64_t)k.x->groups.count);
    for (struct btree_at at = btree_first(&k.x->groups); at.leaf; btree_next(&at)) {
        const struct stream_group *g = btree_item(at);
        reply_map(r->out, r->session->resp, 6);
        named_bytes(r, "name", g->name, g->name_len);
        named_integer(r, "consumers", (int64_t)g->consumers.count);
        named_integer(r, "pending", (int64_t)g->pending.count);
        named_id(r, "last-delivered-id", g->last);
        reading_progress(r, k.x, g);
    }
}

void xinfo_consumers_command(struct request *r)
{
    struct skey k;
    if (!open_stream(r, &k))
        return;
    const struct stream_group *g = stream_group_of(&k, 3);
    if (!g) {
        request_errorf(r, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                       stream_text_len(&r->argv[3]), r->argv[3].ptr, stream_text_len(&r->argv[2]),
                       r->argv[2].ptr);
        return;
    }
    reply_array(r->out, (int64_t)g->consumers.count);
    for (struct btree_at at = btree_first(&g->consumers); at.leaf; btree_next(&at)) {
        const struct stream_consumer *c = btree_item(at);
        int64_t idle = (int64_t)r->now_ms - c->seen_ms;
        reply_map(r->out, r->session->resp, 3);
        named_bytes(r, "name", c->name, c->name_len);
        named_integer(r, "pending", (int64_t)c->pending.count);
        named_integer(r, "idle", idle < 0 ? 0 : idle);
    }
}

// Pending entries; the owner's name where the list is of a whole group.
static void reply_pending(struct request *r, const struct btree *pending, uint64_t count,
                          bool owner)
{
    uint64_t n = count && count < pending->count ? count : pending->count;
    reply_bulk_string(r->out, "pending");
    reply_array(r->out, (int64_t)n);
    for (struct btree_at at = btree_first(pending); at.leaf && n--; btree_next(&at)) {
        const struct stream_nack *nack = btree_item(at);
        reply_array(r->out, owner ? 4 : 3);
        stream_reply_id(r->out, (struct stream_id){nack->ms, nack->seq});
        if (owner)
            reply_bulk(r->out, nack->consumer->name, nack->consumer->name_len);
        reply_integer(r->out, nack->delivered_ms);
        reply_integer(r->out, (int64_t)nack->deliveries);
    }
}

static void reply_group(struct request *r, const struct stream_value *x,
                        const struct stream_group *g, uint64_t count)
{
    reply_map(r->out, r->session->resp, 7);
    named_bytes(r, "name", g->name, g->name_len);
    named_id(r, "last-delivered-id", g->last);
    reading_progress(r, x, g);
    named_integer(r, "pel-count", (int64_t)g->pending.count);
    reply_pending(r, &g->pending, count, true);
    reply_bulk_string(r->out, "consumers");
    reply_array(r->out, (int64_t)g->consumers.count);
    for (struct btree_at at = btree_first(&g->consumers); at.leaf; btree_next(&at)) {
        const struct stream_consumer *c = btree_item(at);
        reply_map(r->out, r->session->resp, 4);
        named_bytes(r, "name", c->name, c->name_len);
        named_integer(r, "seen-time", c->seen_ms);
        named_integer(r, "pel-count", (int64_t)c->pending.count);
        reply_pending(r, &c->pending, count, false);
    }
}

static void reply_full(struct request *r, const struct stream_value *x, uint64_t count)
{
    struct outbuf body;
    outbuf_init(&body);
    uint64_t n = stream_reply_range(&body.out, x, STREAM_ID_MIN, STREAM_ID_MAX, count, false);
    reply_bulk_string(r->out, "entries");
    stream_reply_collected(r->out, n, &body);
    reply_bulk_string(r->out, "groups");
    reply_array(r->out, (int64_t)x->groups.count);
    for (struct btree_at at = btree_first(&x->groups); at.leaf; btree_next(&at))
        reply_group(r, x, btree_item(at), count);
}

static void reply_edge(struct request *r, const char *name, const struct stream_value *x, bool last)
{
    reply_bulk_string(r->out, name);
    if (!stream_reply_range(r->out, x, STREAM_ID_MIN, STREAM_ID_MAX, 1, last))
        reply_null(r->out, r->session->resp);
}

static bool parse_full(struct request *r, bool *full, int64_t *count)
{
    *full = r->argc > 3;
    *count = FULL_COUNT;
    if (!*full)
        return true;
    if ((r->argc != 4 && r->argc != 6) || !request_is(r, 3, "full") ||
        (r->argc == 6 && !request_is(r, 4, "count"))) {
        refuse(r);
        return false;
    }
    if (r->argc == 6 && !request_integer(r, 5, count))
        return false;
    if (*count < 0)
        *count = FULL_COUNT;
    return true;
}

void xinfo_stream_command(struct request *r)
{
    struct skey k;
    bool full;
    int64_t count;
    if (!open_stream(r, &k) || !parse_full(r, &full, &count))
        return;
    const struct stream_value *x = k.x;
    reply_map(r->out, r->session->resp, full ? 9 : 10);
    named_integer(r, "length", (int64_t)x->length);
    named_integer(r, "radix-tree-keys", (int64_t)x->nodes.count);
    named_integer(r, "radix-tree-nodes", (int64_t)x->radix_nodes);
    named_id(r, "last-generated-id", x->last);
    named_id(r, "max-deleted-entry-id", x->max_deleted);
    named_integer(r, "entries-added", (int64_t)x->entries_added);
    named_id(r, "recorded-first-entry-id", x->first);
    if (full) {
        reply_full(r, x, (uint64_t)count);
        return;
    }
    named_integer(r, "groups", (int64_t)x->groups.count);
    reply_edge(r, "first-entry", x, false);
    reply_edge(r, "last-entry", x, true);
}

void xinfo_help_command(struct request *r)
{
    static const char *const lines[] = {
        "CONSUMERS <key> <groupname>",
        "    The consumers of a group.",
        "GROUPS <key>",
        "    The groups of a stream.",
        "STREAM <key> [FULL [COUNT <count>]]",
        "    Figures of a stream; with FULL its entries, groups and pending entries, too.",
        NULL,
    };
    request_help(r, "XINFO", lines);
}
