// Commands on the entries of one stream: adding, ranges, deleting, trimming, its counters.
#include "dataplane/commands/streams_commands.h"

#include "dataplane/commands/effects.h"
#include "dataplane/commands/streams_value.h"

// --- options of XADD and XTRIM -------------------------------------------------------------------

enum { LIMIT_NODES = 100, LIMIT_DEFAULT = 10000, LIMIT_MOST = 1000000 };

struct add_options {
    struct stream_trim trim;
    bool no_create;
    bool id_given, seq_given;
    struct stream_id id;
    int id_at; // argument; 0: none was found
};

// "MAXLEN ~ 100" from argument i on. Returns the last argument of it; 0: answered.
static int parse_threshold(struct request *r, int i, bool minid, struct add_options *o)
{
    if (o->trim.by != STREAM_TRIM_NONE) {
        request_error(r, "ERR syntax error, MAXLEN and MINID options at the same time are not "
                         "compatible");
        return 0;
    }
    o->trim.approximate = false;
    if (i + 2 < r->argc && (request_is(r, i + 1, "~") || request_is(r, i + 1, "="))) {
        o->trim.approximate = request_is(r, i + 1, "~");
        i++;
    }
    i++;
    if (minid) {
        o->trim.by = STREAM_TRIM_MINID;
        return stream_parse_id(r, i, &o->trim.minid, NULL) ? i : 0;
    }
    int64_t n;
    if (!request_integer(r, i, &n))
        return 0;
    if (n < 0) {
        request_error(r, "ERR The MAXLEN argument must be >= 0.");
        return 0;
    }
    o->trim.by = STREAM_TRIM_MAXLEN;
    o->trim.maxlen = (uint64_t)n;
    return i;
}

// An approximate trim removes no more at once than this, unless told.
static uint64_t default_limit(const struct request *r)
{
    uint64_t entries = r->limits->stream_node_max_entries;
    uint64_t limit = entries > LIMIT_MOST ? LIMIT_MOST : entries * LIMIT_NODES;
    return !limit ? LIMIT_DEFAULT : limit > LIMIT_MOST ? LIMIT_MOST : limit;
}

static bool check_limit(struct request *r, bool add, bool given, struct add_options *o)
{
    if (o->trim.limit && o->trim.by == STREAM_TRIM_NONE) {
        request_error(r, "ERR syntax error, LIMIT cannot be used without specifying a trimming "
                         "strategy");
        return false;
    }
    if (!add && o->trim.by == STREAM_TRIM_NONE) {
        request_error(r, "ERR syntax error, XTRIM must be called with a trimming strategy");
        return false;
    }
    if (given && !o->trim.approximate) {
        request_error(r, "ERR syntax error, LIMIT cannot be used without the special ~ option");
        return false;
    }
    if (!given && o->trim.approximate)
        o->trim.limit = default_limit(r);
    return true;
}

static bool parse_limit(struct request *r, int i, struct add_options *o)
{
    int64_t limit;
    if (!request_integer(r, i, &limit))
        return false;
    if (limit < 0) {
        request_error(r, "ERR The LIMIT argument must be >= 0.");
        return false;
    }
    o->trim.limit = (uint64_t)limit;
    return true;
}

static bool parse_options(struct request *r, bool add, struct add_options *o)
{
    bool limit_given = false;
    *o = (struct add_options){0};
    for (int i = 2; i < r->argc && !o->id_at; i++) {
        bool more = i + 1 < r->argc, minid = request_is(r, i, "minid");
        if (add && request_is(r, i, "*")) {
            o->id_at = i;
        } else if (more && (minid || request_is(r, i, "maxlen"))) {
            i = parse_threshold(r, i, minid, o);
            if (!i)
                return false;
        } else if (more && request_is(r, i, "limit")) {
            if (!parse_limit(r, ++i, o))
                return false;
            limit_given = true;
        } else if (add && request_is(r, i, "nomkstream")) {
            o->no_create = true;
        } else if (add) {
            if (!stream_parse_id(r, i, &o->id, &o->seq_given))
                return false;
            o->id_given = true;
            o->id_at = i;
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    return check_limit(r, add, limit_given, o);
}

// The trim in the exact form that gives what the approximate one gave.
static void effect_trim(struct request *r, const struct stream_value *x,
                        const struct stream_trim *trim)
{
    bool maxlen = trim->by == STREAM_TRIM_MAXLEN;
    effect_text(r, maxlen ? "MAXLEN" : "MINID");
    effect_text(r, "=");
    if (maxlen)
        effect_integer(r, (int64_t)(trim->approximate ? x->length : trim->maxlen));
    else if (!trim->approximate)
        stream_effect_id(r, trim->minid);
    else
        stream_effect_id(r, x->length ? x->first : STREAM_ID_MAX);
}

// --- adding --------------------------------------------------------------------------------------

static bool next_id(struct request *r, struct stream_id last, const struct add_options *o,
                    struct stream_id *id)
{
    *id = o->id;
    if (!o->id_given) {
        *id = (struct stream_id){r->now_ms, 0};
        if (r->now_ms <= last.ms) {
            *id = last;
            stream_id_increment(id);
        }
    } else if (!o->seq_given && last.ms == o->id.ms) {
        if (last.seq == UINT64_MAX)
            return false;
        id->seq = last.seq + 1;
    }
    return stream_id_compare(*id, last) > 0;
}

static void effect_add(struct request *r, const struct stream_value *x, const struct add_options *o,
                       struct stream_id id)
{
    bool trims = o->trim.by != STREAM_TRIM_NONE;
    if (!trims && o->id_given && o->seq_given)
        return; // as it was called
    int n = r->argc - o->id_at - 1;
    if (!effect_begin(r, "XADD", 3 + (unsigned)n + o->no_create + (trims ? 3 : 0)))
        return;
    effect_arg(r, 1);
    if (o->no_create)
        effect_text(r, "NOMKSTREAM");
    if (trims)
        effect_trim(r, x, &o->trim);
    stream_effect_id(r, id);
    for (int i = o->id_at + 1; i < r->argc; i++)
        effect_arg(r, i);
}

// Adds to the stream, which may be new and under no key yet. False: answered.
static bool add_entry(struct request *r, struct stream_value *x, const struct add_options *o,
                      struct stream_id *id)
{
    if (stream_id_compare(x->last, STREAM_ID_MAX) == 0) {
        request_error(r, "ERR The stream has exhausted the last possible ID, unable to add more "
                         "items");
        return false;
    }
    if (!next_id(r, x->last, o, id)) {
        request_error(r, "ERR The ID specified in XADD is equal or smaller than the target stream "
                         "top item");
        return false;
    }
    enum stream_added added =
        stream_add(x, *id, &r->argv[o->id_at + 1], (unsigned)(r->argc - o->id_at - 1),
                   r->limits->stream_node_max_bytes, r->limits->stream_node_max_entries);
    if (added == STREAM_ADDED)
        return true;
    request_error(r,
                  added == STREAM_TOO_LARGE ? "ERR Elements are too large to be stored" : ERR_OOM);
    return false;
}

static bool add_to_new_key(struct skey *k, const struct add_options *o, struct stream_id *id,
                           uint64_t *trimmed)
{
    struct stream_value *x = stream_new();
    if (!x) {
        request_error(k->r, ERR_OOM);
        return false;
    }
    if (!add_entry(k->r, x, o, id)) {
        stream_free(x);
        return false;
    }
    *trimmed = stream_trim(x, &o->trim);
    return skey_create(k, x);
}

void xadd_command(struct request *r)
{
    struct add_options o;
    if (!parse_options(r, true, &o))
        return;
    int words = o.id_at ? r->argc - o.id_at - 1 : 0;
    if (words < 2 || words % 2) {
        request_error(r, "ERR wrong number of arguments for 'xadd' command");
        return;
    }
    if (o.id_given && o.seq_given && stream_id_is_zero(o.id)) {
        request_error(r, "ERR The ID specified in XADD must be greater than 0-0");
        return;
    }
    struct skey k;
    if (!skey_open_write(r, 1, &k))
        return;
    if (!k.x && o.no_create) {
        reply_null(r->out, r->session->resp);
        return;
    }
    struct stream_id id;
    uint64_t trimmed = 0;
    if (!k.x) {
        if (!add_to_new_key(&k, &o, &id, &trimmed))
            return;
    } else {
        skey_edit(&k);
        bool added = add_entry(r, k.x, &o, &id);
        if (added)
            trimmed = stream_trim(k.x, &o.trim);
        skey_edit_end(&k, added);
        if (!added)
            return;
    }
    stream_reply_id(r->out, id);
    effect_add(r, k.x, &o, id);
    request_changed(r, &k.key, EVENT_STREAM, "xadd");
    if (trimmed)
        request_changed(r, &k.key, EVENT_STREAM, "xtrim");
}

void xtrim_command(struct request *r)
{
    struct add_options o;
    struct skey k;
    if (!parse_options(r, false, &o) || !skey_open_write(r, 1, &k))
        return;
    if (!k.x) {
        reply_integer(r->out, 0);
        return;
    }
    skey_edit(&k);
    uint64_t trimmed = stream_trim(k.x, &o.trim);
    skey_edit_end(&k, trimmed);
    reply_integer(r->out, (int64_t)trimmed);
    if (!trimmed)
        return;
    if (o.trim.approximate && effect_begin(r, "XTRIM", 5)) {
        effect_arg(r, 1);
        effect_trim(r, k.x, &o.trim);
    }
    request_changed(r, &k.key, EVENT_STREAM, "xtrim");
}

// --- reading -------------------------------------------------------------------------------------

void xlen_command(struct request *r)
{
    struct skey k;
    if (skey_open_read(r, 1, &k))
        reply_integer(r->out, k.x ? (int64_t)k.x->length : 0);
}

static void range(struct request *r, bool reverse)
{
    struct stream_id start, end;
    int64_t count = -1;
    if (!stream_parse_start(r, reverse ? 3 : 2, &start) ||
        !stream_parse_end(r, reverse ? 2 : 3, &end))
        return;
    for (int i = 4; i < r->argc; i += 2) {
        if (!request_is(r, i, "count") || i + 1 == r->argc) {
            request_error(r, ERR_SYNTAX);
            return;
        }
        if (!request_integer(r, i + 1, &count))
            return;
        if (count < 0)
            count = 0;
    }
    struct skey k;
    if (!skey_open_read(r, 1, &k))
        return;
    if (!k.x) {
        reply_array(r->out, 0);
        return;
    }
    if (count == 0) {
        reply_null_array(r->out, r->session->resp);
        return;
    }
    struct outbuf body;
    outbuf_init(&body);
    uint64_t n =
        stream_reply_range(&body.out, k.x, start, end, count < 0 ? 0 : (uint64_t)count, reverse);
    stream_reply_collected(r->out, n, &body);
}

void xrange_command(struct request *r)
{
    range(r, false);
}

void xrevrange_command(struct request *r)
{
    range(r, true);
}

// --- deleting and counters -----------------------------------------------------------------------

void xdel_command(struct request *r)
{
    struct skey k;
    struct stream_id id;
    if (!skey_open_write(r, 1, &k))
        return;
    if (!k.x) {
        reply_integer(r->out, 0);
        return;
    }
    for (int i = 2; i < r->argc; i++)
        if (!stream_parse_id(r, i, &id, NULL))
            return;
    uint64_t deleted = 0;
    skey_edit(&k);
    for (int i = 2; i < r->argc; i++)
        if (stream_read_id(&r->argv[i], &id, 0, NULL))
            deleted += stream_delete(k.x, id);
    skey_edit_end(&k, deleted);
    reply_integer(r->out, (int64_t)deleted);
    if (deleted)
        request_changed(r, &k.key, EVENT_STREAM, "xdel");
}

struct counters {
    struct stream_id last, max_deleted;
    int64_t entries_added; // -1: not given
};

static bool parse_counters(struct request *r, struct counters *c)
{
    *c = (struct counters){.entries_added = -1};
    if (!stream_parse_id(r, 2, &c->last, NULL))
        return false;
    for (int i = 3; i < r->argc; i += 2) {
        bool more = i + 1 < r->argc;
        if (more && request_is(r, i, "entriesadded")) {
            if (!request_integer(r, i + 1, &c->entries_added))
                return false;
            if (c->entries_added < 0) {
                request_error(r, "ERR entries_added must be positive");
                return false;
            }
        } else if (more && request_is(r, i, "maxdeletedid")) {
            if (!stream_parse_id(r, i + 1, &c->max_deleted, NULL))
                return false;
            if (stream_id_compare(c->last, c->max_deleted) < 0) {
                request_error(r, "ERR The ID specified in XSETID is smaller than the provided "
                                 "max_deleted_entry_id");
                return false;
            }
        } else {
            request_error(r, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static const char *counters_refused(const struct stream_value *x, const struct counters *c)
{
    if (!x->length)
        return NULL;
    if (stream_id_compare(c->last, stream_edge(x, true)) < 0)
        return "ERR The ID specified in XSETID is smaller than the target stream top item";
    if (c->entries_added >= 0 && x->length > (uint64_t)c->entries_added)
        return "ERR The entries_added specified in XSETID is smaller than the target stream length";
    return NULL;
}

void xsetid_command(struct request *r)
{
    struct counters c;
    struct skey k;
    if (!parse_counters(r, &c) || !skey_open_write(r, 1, &k))
        return;
    if (!k.x) {
        request_error(r, ERR_NO_KEY);
        return;
    }
    const char *refused = counters_refused(k.x, &c);
    if (refused) {
        request_error(r, refused);
        return;
    }
    skey_edit(&k);
    k.x->last = c.last;
    if (c.entries_added >= 0)
        k.x->entries_added = (uint64_t)c.entries_added;
    if (!stream_id_is_zero(c.max_deleted))
        k.x->max_deleted = c.max_deleted;
    skey_edit_end(&k, 1);
    reply_status(r->out, "OK");
    request_changed(r, &k.key, EVENT_STREAM | EVENT_ASIDE, "xsetid");
}
