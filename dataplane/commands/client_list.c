// CLIENT LIST, INFO, KILL and UNBLOCK: connections of all cores. Every core writes about, or
// closes, its own; the core of the caller puts the answer together.
#include "dataplane/commands/connection.h"

#include <assert.h>
#include <inttypes.h>
#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>

#include "common/block.h"
#include "dataplane/access/access.h"
#include "dataplane/commands/families.h"
#include "dataplane/pubsub/channels.h"
#include "dataplane/resp/client.h"

#define US_PER_S 1000000

// --- the line about a client -------------------------------------------------------------------

static const char *flag_letters(const struct client *c, const struct client_transaction *t,
                                const struct client_tracking *k, char letters[16])
{
    unsigned n = 0;
    if (c->flags & CLIENT_MONITOR)
        letters[n++] = 'O';
    if (c->flags & CLIENT_PUBSUB)
        letters[n++] = 'P';
    if (t->queued >= 0)
        letters[n++] = 'x';
    if (c->waiter || c->flags & CLIENT_POSTPONED)
        letters[n++] = 'b';
    if (k->flags & TRACKING_ON)
        letters[n++] = 't';
    if (k->flags & TRACKING_BROKEN)
        letters[n++] = 'R';
    if (k->flags & TRACKING_BCAST)
        letters[n++] = 'B';
    if (t->changed)
        letters[n++] = 'd';
    if (c->flags & CLIENT_CLOSE_AFTER_REPLY)
        letters[n++] = 'c';
    if (c->flags & (CLIENT_CLOSING | CLIENT_GONE))
        letters[n++] = 'A';
    if (c->flags & CLIENT_UNIX)
        letters[n++] = 'U';
    if (c->no_evict)
        letters[n++] = 'e';
    if (c->no_touch)
        letters[n++] = 'T';
    if (n == 0)
        letters[n++] = 'N';
    letters[n] = '\0';
    return letters;
}

// Whole seconds from `since_us` until now; 0 for a time that this turn's clock has not reached.
static uint64_t seconds_since(const struct request *r, uint64_t since_us)
{
    return r->now_us > since_us ? (r->now_us - since_us) / US_PER_S : 0;
}

static const char *user_name(const struct client *c)
{
    return c->user ? access_user_name(c->user, NULL) : DEFAULT_USER;
}

static unsigned subscriptions(const struct client *c, enum channel_kind kind)
{
    return c->subscriber ? c->subscriber->n[kind] : 0;
}

// One line without its end. fd is -1: not every transport has one. What clients cannot do yet is
// shown as Redis shows a client that does not do it.
void client_describe(struct request *r, const struct client *c, struct out *to)
{
    char addr[CLIENT_ADDRESS_MAX], laddr[CLIENT_ADDRESS_MAX], letters[16];
    struct client_transaction t;
    struct client_tracking k;
    r->services->client_transaction(c, &t);
    r->services->client_tracking(c, &k);
    size_t unsent = c->stream ? c->stream->ops->unsent(c->stream) : 0;
    // The caller's own last command is this one, and the reply that waits is its reply. A blocked
    // client's reply is not written yet.
    bool self = c->id == r->session->client_id;
    const struct command *last = self ? r->command : c->last_command;
    unsigned waiting = c->replies_waiting - ((self || c->waiter) && c->replies_waiting);
    // What is read into memory of its own counts as query; a reply goes straight to the stream.
    size_t query = c->parser.buf_len + c->parser.block_bytes +
                   (c->parser.filling ? c->parser.filling->len : 0) +
                   (c->stream ? c->stream->in_len : 0);
    size_t query_free = c->parser.buf_cap - c->parser.buf_len;
    text_add(to, "id=%" PRIu64 " addr=%s laddr=%s fd=-1 name=", c->id,
             r->services->client_address(r->core, &c->remote, addr),
             r->services->client_address(r->core, &c->local, laddr));
    out_write(to, client_name(c), strlen(client_name(c)));
    text_add(to, " age=%" PRIu64 " idle=%" PRIu64 " flags=%s db=%" PRIu32,
             seconds_since(r, c->created_us), seconds_since(r, c->last_active_us),
             flag_letters(c, &t, &k, letters), c->db);
    text_add(to, " sub=%u psub=%u ssub=%u multi=%d watch=%u", subscriptions(c, CHANNEL_NAMED),
             subscriptions(c, CHANNEL_PATTERN), subscriptions(c, CHANNEL_SHARD), t.queued,
             t.watched);
    text_add(to, " qbuf=%zu qbuf-free=%zu argv-mem=%zu multi-mem=%" PRIu64, query, query_free,
             c->pending_bytes, t.bytes);
    text_add(to, " rbs=0 rbp=0 obl=%zu oll=%u omem=%zu tot-mem=%" PRIu64 " events=%s", unsent,
             waiting, unsent, r->services->client_memory(r->core, c), unsent ? "rw" : "r");
    text_add(to, " cmd=%s%s%s", last && last->parent ? last->parent->name : "",
             last && last->parent ? "|" : "", last ? last->name : "NULL");
    text_add(to, " user=");
    out_write(to, user_name(c), strlen(user_name(c)));
    text_add(to, " redir=%" PRId64 " resp=%u lib-name=%s lib-ver=%s",
             k.flags & TRACKING_ON ? (int64_t)k.redirect : -1, c->resp, c->lib_name,
             c->lib_version);
}

void client_info_command(struct request *r)
{
    struct outbuf text;
    outbuf_init(&text);
    client_describe(r, r->client, &text.out);
    out_write(&text.out, "\n", 1);
    request_reply_text(r, &text);
}

// --- what is asked for -------------------------------------------------------------------------

enum client_type { TYPE_ANY, TYPE_NORMAL, TYPE_PUBSUB, TYPE_REPLICA, TYPE_MASTER, TYPE_UNKNOWN };

static enum client_type type_named(const struct request *r, int i)
{
    static const struct {
        const char *name;
        enum client_type type;
    } types[] = {{"normal", TYPE_NORMAL},
                 {"pubsub", TYPE_PUBSUB},
                 {"replica", TYPE_REPLICA},
                 {"slave", TYPE_REPLICA},
                 {"master", TYPE_MASTER}};
    for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++)
        if (request_is(r, i, types[k].name))
            return types[k].type;
    return TYPE_UNKNOWN;
}

static bool is_of_type(const struct client *c, enum client_type type)
{
    return type == TYPE_ANY || type == (c->flags & CLIENT_PUBSUB ? TYPE_PUBSUB : TYPE_NORMAL);
}

static void reply_unknown_type(struct request *r, int i)
{
    request_errorf(r, "ERR Unknown client type '%.*s'", (int)r->argv[i].len,
                   (const char *)r->argv[i].ptr);
}

// --- LIST --------------------------------------------------------------------------------------

static bool lists_ids(const struct request *r)
{
    return r->argc > 3 && request_is(r, 2, "id");
}

static bool listed_id(const struct request *r, uint64_t id)
{
    for (int i = 3; i < r->argc; i++) {
        int64_t wanted;
        if (parse_int64(r->argv[i].ptr, r->argv[i].len, &wanted) && (uint64_t)wanted == id)
            return true;
    }
    return false;
}

bool client_list_start(struct request *r)
{
    if (r->argc == 4 && request_is(r, 2, "type")) {
        if (type_named(r, 3) != TYPE_UNKNOWN)
            return true;
        reply_unknown_type(r, 3);
        return false;
    }
    if (lists_ids(r)) {
        for (int i = 3; i < r->argc; i++) {
            int64_t id;
            if (!parse_int64(r->argv[i].ptr, r->argv[i].len, &id)) {
                request_error(r, "ERR Invalid client ID");
                return false;
            }
        }
        return true;
    }
    if (r->argc == 2)
        return true;
    request_error(r, ERR_SYNTAX);
    return false;
}

struct list_context {
    struct request *r;
    enum client_type type;
};

static void list_one(void *context, struct client *c)
{
    const struct list_context *list = context;
    struct request *r = list->r;
    if (c->flags & CLIENT_INTERNAL || !is_of_type(c, list->type) ||
        (lists_ids(r) && !listed_id(r, c->id)))
        return;
    client_describe(r, c, r->out);
    out_write(r->out, "\n", 1);
}

void client_list_part(struct request *r)
{
    struct list_context list = {.r = r};
    if (r->argc == 4 && request_is(r, 2, "type"))
        list.type = type_named(r, 3);
    r->services->each_client(r->core, list_one, &list);
}

struct line {
    uint64_t id;
    const uint8_t *ptr;
    size_t len; // its end included
};

// The lines of all parts; the number of them. A line starts with "id=NUMBER ".
static size_t split_lines(const struct request *r, struct line *lines, size_t max)
{
    size_t n = 0;
    for (unsigned p = 0; p < r->n_parts; p++) {
        const uint8_t *at = r->parts[p].ptr, *end = at + r->parts[p].len;
        while (at < end) {
            const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
            if (!newline)
                break;
            if (n < max)
                lines[n] = (struct line){.id = strtoull((const char *)at + strlen("id="), NULL, 10),
                                         .ptr = at,
                                         .len = (size_t)(newline + 1 - at)};
            n++;
            at = newline + 1;
        }
    }
    return n;
}

static int by_id(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

// Oldest connection first, whatever its core; by ID in the order asked for.
void client_list_command(struct request *r)
{
    size_t n = split_lines(r, NULL, 0);
    struct line *lines = mi_mallocn(n + 1, sizeof(*lines));
    if (!lines) {
        request_error(r, ERR_OOM);
        return;
    }
    split_lines(r, lines, n);
    qsort(lines, n, sizeof(*lines), by_id);
    struct outbuf text;
    outbuf_init(&text);
    if (lists_ids(r)) {
        for (int i = 3; i < r->argc; i++) {
            int64_t id = 0;
            parse_int64(r->argv[i].ptr, r->argv[i].len, &id);
            const struct line wanted = {.id = (uint64_t)id};
            const struct line *l = bsearch(&wanted, lines, n, sizeof(*lines), by_id);
            if (l)
                out_write(&text.out, l->ptr, l->len);
        }
    } else {
        for (size_t i = 0; i < n; i++)
            out_write(&text.out, lines[i].ptr, lines[i].len);
    }
    request_reply_text(r, &text);
    mi_free(lines);
}

// --- KILL --------------------------------------------------------------------------------------

struct kill_filter {
    const struct arg *addr, *laddr, *user;
    bool check_user;        // that there is one of that name
    uint64_t id, max_age_s; // 0: any
    enum client_type type;
    bool skip_me;
};

// What one core closed. The caller's own connection is left to the handler, which answers first.
struct kill_part {
    uint64_t killed;
    bool self;
};

static bool kill_option(struct request *r, int i, struct kill_filter *f)
{
    const struct arg *value = &r->argv[i + 1];
    if (request_is(r, i, "id")) {
        int64_t id;
        if (!parse_int64(value->ptr, value->len, &id) || id < 1) {
            request_error(r, "ERR client-id should be greater than 0");
            return false;
        }
        f->id = (uint64_t)id;
    } else if (request_is(r, i, "type")) {
        f->type = type_named(r, i + 1);
        if (f->type == TYPE_UNKNOWN) {
            reply_unknown_type(r, i + 1);
            return false;
        }
    } else if (request_is(r, i, "addr")) {
        f->addr = value;
    } else if (request_is(r, i, "laddr")) {
        f->laddr = value;
    } else if (request_is(r, i, "user")) {
        f->user = value;
        if (f->check_user && !access_users_find(r->services->access_users(r->core),
                                                (const char *)value->ptr, value->len)) {
            request_errorf(r, "ERR No such user '%.*s'", (int)value->len, (const char *)value->ptr);
            return false;
        }
    } else if (request_is(r, i, "maxage")) {
        int64_t seconds;
        if (!parse_int64(value->ptr, value->len, &seconds)) {
            request_error(r, "ERR maxage is not an integer or out of range");
            return false;
        }
        if (seconds < 1) {
            request_error(r, "ERR maxage should be greater than 0");
            return false;
        }
        f->max_age_s = (uint64_t)seconds;
    } else if (request_is(r, i, "skipme") &&
               (request_is(r, i + 1, "yes") || request_is(r, i + 1, "no"))) {
        f->skip_me = request_is(r, i + 1, "yes");
    } else {
        request_error(r, ERR_SYNTAX);
        return false;
    }
    return true;
}

// CLIENT KILL ADDRESS, or pairs of option and value. Answers where they are wrong.
static bool kill_parse(struct request *r, struct kill_filter *f, bool check_user)
{
    *f = (struct kill_filter){.skip_me = true, .check_user = check_user};
    if (r->argc == 3) {
        f->addr = &r->argv[2];
        f->skip_me = false;
        return true;
    }
    for (int i = 2; i < r->argc; i += 2) {
        if (i + 1 == r->argc) {
            request_error(r, ERR_SYNTAX);
            return false;
        }
        if (!kill_option(r, i, f))
            return false;
    }
    return true;
}

bool client_kill_start(struct request *r)
{
    struct kill_filter f;
    return kill_parse(r, &f, true);
}

static bool has_address(const struct request *r, const struct endpoint *e, const struct arg *wanted)
{
    char text[CLIENT_ADDRESS_MAX];
    r->services->client_address(r->core, e, text);
    return wanted->len == strlen(text) && memcmp(wanted->ptr, text, wanted->len) == 0;
}

struct kill_context {
    struct request *r;
    struct kill_filter filter;
    struct kill_part part;
};

static void kill_one(void *context, struct client *c)
{
    struct kill_context *k = context;
    const struct kill_filter *f = &k->filter;
    bool self = c->id == k->r->session->client_id;
    if (c->flags & (CLIENT_INTERNAL | CLIENT_CLOSING | CLIENT_GONE))
        return;
    if ((f->id && c->id != f->id) || !is_of_type(c, f->type) || (self && f->skip_me) ||
        (f->max_age_s && seconds_since(k->r, c->created_us) < f->max_age_s) ||
        (f->addr && !has_address(k->r, &c->remote, f->addr)) ||
        (f->user && (strlen(user_name(c)) != f->user->len ||
                     memcmp(user_name(c), f->user->ptr, f->user->len) != 0)) ||
        (f->laddr && !has_address(k->r, &c->local, f->laddr)))
        return;
    k->part.killed++;
    if (self)
        k->part.self = true;
    else
        k->r->services->client_kill(k->r->core, c);
}

void client_kill_part(struct request *r)
{
    struct kill_context k = {.r = r};
    bool understood = kill_parse(r, &k.filter, false);
    assert(understood); // client_kill_start saw the same arguments
    r->services->each_client(r->core, kill_one, &k);
    out_write(r->out, &k.part, sizeof(k.part));
}

void client_kill_command(struct request *r)
{
    uint64_t killed = 0;
    bool self = false;
    for (unsigned p = 0; p < r->n_parts; p++) {
        struct kill_part part;
        if (r->parts[p].len != sizeof(part))
            continue; // that core was short of memory
        memcpy(&part, r->parts[p].ptr, sizeof(part));
        killed += part.killed;
        self |= part.self;
    }
    if (r->argc > 3)
        reply_integer(r->out, (int64_t)killed);
    else if (killed)
        reply_status(r->out, "OK");
    else
        request_error(r, "ERR No such client");
    if (self)
        r->client->flags |= CLIENT_CLOSE_AFTER_REPLY;
}

// --- UNBLOCK -----------------------------------------------------------------------------------

bool client_unblock_start(struct request *r)
{
    int64_t id;
    if (r->argc > 4) {
        request_errorf(r, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s",
                       (int)r->argv[1].len, (const char *)r->argv[1].ptr, "CLIENT HELP.");
        return false;
    }
    if (r->argc == 4 && !request_is(r, 3, "timeout") && !request_is(r, 3, "error")) {
        request_error(r, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        return false;
    }
    return request_integer(r, 2, &id);
}

struct unblock_context {
    struct request *r;
    uint64_t id;
    bool done;
};

static void unblock_one(void *context, struct client *c)
{
    struct unblock_context *u = context;
    if (c->id == u->id)
        u->done = u->r->services->client_unblock(u->r->core, c,
                                                 u->r->argc == 4 && request_is(u->r, 3, "error"));
}

void client_unblock_part(struct request *r)
{
    int64_t id = 0;
    parse_int64(r->argv[2].ptr, r->argv[2].len, &id);
    struct unblock_context u = {.r = r, .id = (uint64_t)id};
    r->services->each_client(r->core, unblock_one, &u);
    if (u.done)
        out_write(r->out, "1", 1);
}

void client_unblock_command(struct request *r)
{
    bool done = false;
    for (unsigned p = 0; p < r->n_parts; p++)
        done |= r->parts[p].len > 0;
    reply_integer(r->out, done);
}
