// The batch: parse what clients sent, a bounded share each; prefetch what all commands will touch,
// stage by stage; execute in order.
#include <mimalloc.h>
#include <string.h>
#include <x86intrin.h>

#include "common/block.h"
#include "dataplane/core/client_memory.h"
#include "dataplane/core/message.h"

// Commands with more arguments than this get an array of their own.
#define ARGS_SHARED_MAX 64

// Commands whose lines are asked for together, a power of two.
#define PREFETCH_GROUP 32
#define CHAIN_GROUP 32

// Of commands on values that the entry only points to.
#define OBJECT_CATEGORIES (CAT_SET | CAT_SORTEDSET | CAT_LIST | CAT_HASH | CAT_STREAM | CAT_GEO)

static inline void prefetch_bucket(struct core *c, unsigned i)
{
    struct work *w = &c->work[i];
    if (w->ours)
        store_prefetch_bucket(c->store, w->client->db, &w->key, &w->fetch);
}

static inline void prefetch_entry(struct core *c, unsigned i)
{
    struct work *w = &c->work[i];
    w->fetch.overflow = false;
    if (w->ours)
        store_prefetch_entry(&w->key, &w->fetch);
}

static inline void prefetch_overflow(struct core *c, unsigned i)
{
    struct work *w = &c->work[i];
    if (__builtin_expect(w->fetch.overflow, 0))
        store_prefetch_overflow(&w->key, &w->fetch);
}

// Stage by stage and group by group: the buckets of the last group of commands, the entries of the
// one before, what overflowed of the one before that. So each line has the time in which a group is
// parsed to arrive; and within a group the loops are tight, so that many misses, of addresses too,
// are under way at once.
static void prefetch_groups(struct core *c, unsigned end)
{
    unsigned first = (end - 1) / PREFETCH_GROUP * PREFETCH_GROUP;
    for (unsigned i = first; i < end; i++)
        prefetch_bucket(c, i);
    if (first < PREFETCH_GROUP)
        return;
    for (unsigned i = first - PREFETCH_GROUP; i < first; i++)
        prefetch_entry(c, i);
    if (first < 2 * PREFETCH_GROUP)
        return;
    for (unsigned i = first - 2 * PREFETCH_GROUP; i < first - PREFETCH_GROUP; i++)
        prefetch_overflow(c, i);
}

// The command of `w`, whose arguments are there, comes into the batch.
static inline void add_work(struct core *c, struct work *w)
{
    w->chain = false;
    work_find(c, w);
    if (w->has_key) {
        // Only the owner may look at a slot, hints included.
        w->ours =
            route_all_here(c) || (keyspace_core(c->server->keyspace, w->key.slot) == c->index &&
                                  !loan_holds(c, w->key.slot));
        if (w->ours) {
            store_prefetch_slot(c->store, w->client->db, &w->key);
            w->chain = w->command->categories & OBJECT_CATEGORIES;
            c->chains |= w->chain;
        }
    }
    c->n_work++;
    if (c->n_work % PREFETCH_GROUP == 0)
        prefetch_groups(c, c->n_work);
}

// Of the last commands of a batch.
static void prefetch_rest(struct core *c)
{
    unsigned n = c->n_work, rest = n % PREFETCH_GROUP, whole = n - rest;
    if (rest)
        prefetch_groups(c, n);
    // What prefetch_groups has not come to.
    unsigned group = rest ? whole : n >= PREFETCH_GROUP ? n - PREFETCH_GROUP : 0;
    unsigned before = group >= PREFETCH_GROUP ? group - PREFETCH_GROUP : 0;
    for (unsigned i = group; i < n; i++)
        prefetch_entry(c, i);
    for (unsigned i = before; i < n; i++)
        prefetch_overflow(c, i);
}

// Takes the parsed command into the batch. False: memory is short.
static bool take(struct core *c, struct client *client, const uint8_t *data, bool *buffered)
{
    struct work *w = &c->work[c->n_work];
    int argc = client->parser.argc;
    w->client = client;
    w->argc = argc;
    w->own_argv = argc > ARGS_SHARED_MAX;
    w->argv = w->own_argv ? mi_mallocn((size_t)argc, sizeof(struct arg)) : &c->args[c->n_args];
    if (!w->argv)
        return false;
    if (!w->own_argv)
        c->n_args += (unsigned)argc;
    w->own_args = w->own_argv || client->parser.block_bytes;
    *buffered = parser_take(&client->parser, data, w->argv);
    add_work(c, w);
    return true;
}

void protocol_error(struct core *c, struct client *client)
{
    if (client->first_pending) { // commands before it still wait: route_pending comes back
        client->flags |= CLIENT_BROKEN;
        return;
    }
    client->flags &= ~CLIENT_BROKEN;
    if (client->parser.error == parser_error_tls)
        tls_misdirected(c, client);
    struct reply_slot *slot;
    struct out *out = client_out(c, client, &slot);
    reply_errorf(out, "ERR %s", client->parser.error);
    client_replied(c, client, slot);
    count_error(c, "ERR", 0);
    client_close(c, client);
}

// Whether what follows the command may be read with other limits.
static bool changes_session(const struct work *w)
{
    return w->command && w->command->flags & CMD_NO_AUTH;
}

// What ended the parsing of a client, to be dealt with after the batch was executed.
enum ended { ENDED_NONE, ENDED_ERROR, ENDED_TOO_BIG, ENDED_NO_MEMORY };

static enum ended gather_client(struct core *c, struct client *client, bool *more)
{
    struct stream *s = client->stream;
    struct parser_limits limits = {
        .bulk_max = c->settings.bulk_max,
        .query_max = c->settings.query_max,
        .authenticated = client->authenticated || c->open,
    };
    // AUTH, HELLO and RESET change the limits of what follows them.
    bool guarded = !c->open, changed = false;
    unsigned share = BATCH_SHARE;
    *more = false;
    while (s->in_len) {
        if (!share || c->n_work == BATCH_COMMANDS || c->n_args + ARGS_SHARED_MAX > BATCH_ARGS) {
            *more = true;
            return ENDED_NONE;
        }
        const uint8_t *data = s->in;
        struct work *w = &c->work[c->n_work];
        w->argv = &c->args[c->n_args];
        size_t used = parser_quick(&client->parser, &limits, data, s->in_len, w->argv,
                                   ARGS_SHARED_MAX, &w->argc);
        if (__builtin_expect(used > 0, 1)) {
            w->client = client;
            w->own_argv = w->own_args = false;
            c->n_args += (unsigned)w->argc;
            add_work(c, w);
            share--;
            client->bytes_in += used;
            stream_consume(s, (uint32_t)used);
            if (__builtin_expect(guarded, 0) && changes_session(w)) {
                *more = s->in_len > 0;
                return ENDED_NONE;
            }
            continue;
        }
        enum parser_status status = parser_run(&client->parser, &limits, data, s->in_len, &used);
        bool buffered = false;
        switch (status) {
        case PARSER_COMMAND:
            if (!take(c, client, data, &buffered))
                return ENDED_NO_MEMORY;
            changed = guarded && changes_session(&c->work[c->n_work - 1]);
            share--;
            break;
        case PARSER_EMPTY:
            share--;
            break;
        case PARSER_INCOMPLETE:
            break;
        case PARSER_ERROR:
            return ENDED_ERROR;
        case PARSER_TOO_BIG:
            return ENDED_TOO_BIG;
        case PARSER_NO_MEMORY:
            return ENDED_NO_MEMORY;
        }
        client->bytes_in += used;
        stream_consume(s, (uint32_t)used);
        if (buffered || changed) {
            *more = s->in_len > 0;
            return ENDED_NONE;
        }
    }
    return ENDED_NONE;
}

static void finish_client(struct core *c, struct client *client, enum ended ended)
{
    if (client->flags & (CLIENT_CLOSING | CLIENT_GONE | CLIENT_CLOSE_AFTER_REPLY))
        return;
    switch (ended) {
    case ENDED_NONE:
        break;
    case ENDED_ERROR:
        protocol_error(c, client);
        break;
    case ENDED_TOO_BIG:
        c->counters.query_limit_disconnections++;
        client_abort(c, client, "its query buffer passed client-query-buffer-limit");
        break;
    case ENDED_NO_MEMORY:
        client_abort(c, client, "out of memory for its query");
        break;
    }
}

static inline void drop_args(struct core *c, struct work *w)
{
    if (__builtin_expect(!w->own_args, 1))
        return;
    if (c->timed) // and may be told of
        execute_timed(c);
    for (int i = 0; i < w->argc; i++)
        if (w->argv[i].block)
            block_release(w->argv[i].block);
    if (w->own_argv)
        mi_free(w->argv);
}

// The chains behind the entries of the commands [first, end): one link of all after the other.
static void prefetch_chains(struct core *c, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++)
        if (c->work[i].chain)
            store_look_entry(c->store, c->work[i].client->db, &c->work[i].key, &c->work[i].fetch);
    bool more = true;
    for (unsigned depth = 0; more && depth < PREFETCH_DEPTHS; depth++) {
        more = false;
        for (unsigned i = first; i < end; i++) {
            struct work *w = &c->work[i];
            if (!w->chain)
                continue;
            // ZADD names its member behind the score; a reader of a whole value names none.
            int at = w->command->categories & CAT_SORTEDSET && w->argc > 3 ? 3 : 2;
            const struct arg *name = at < w->argc ? &w->argv[at] : NULL;
            w->chain = store_prefetch_object(c->store, name, depth, &w->fetch);
            more |= w->chain;
        }
    }
}

bool batch_run(struct core *c)
{
    struct {
        struct client *client;
        enum ended ended;
    } over[32];
    unsigned n_over = 0;
    struct client *again_first = NULL, *again_last = NULL;

    c->n_work = c->n_args = 0;
    c->chains = false;
    while (c->queue_first && c->n_work < BATCH_COMMANDS &&
           c->n_args + ARGS_SHARED_MAX <= BATCH_ARGS && n_over < 32) {
        struct client *client = c->queue_first;
        c->queue_first = client->next_queued;
        if (!c->queue_first)
            c->queue_last = NULL;
        client->flags &= ~CLIENT_QUEUED;
        if (!client->stream || client->first_pending ||
            client->flags & (CLIENT_CLOSING | CLIENT_GONE | CLIENT_CLOSE_AFTER_REPLY |
                             CLIENT_OUT_FULL | CLIENT_BROKEN))
            continue;
        bool more;
        enum ended ended = gather_client(c, client, &more);
        if (__builtin_expect(c->settings.clients_max > 0, 0))
            client_weigh(c, client);
        if (ended != ENDED_NONE) {
            over[n_over].client = client;
            over[n_over++].ended = ended;
        } else if (more || (client->flags & CLIENT_EOF)) {
            // Goes on in the next batch, behind the others; at its end it is closed there.
            client->flags |= CLIENT_QUEUED; // in a list: client_queue must not link it again
            client->next_queued = NULL;
            if (again_last)
                again_last->next_queued = client;
            else
                again_first = client;
            again_last = client;
        }
    }
    prefetch_rest(c);
    core_stage(c, STAGE_PARSE);
    // For commands on other types than strings, the links behind the entries are fetched before a
    // group of them executes.
    for (unsigned i = 0; i < c->n_work; i++) {
        if (c->chains && i % CHAIN_GROUP == 0)
            prefetch_chains(c, i, i + CHAIN_GROUP < c->n_work ? i + CHAIN_GROUP : c->n_work);
        route_work(c, &c->work[i]);
        drop_args(c, &c->work[i]);
    }
    core_stage(c, STAGE_EXECUTE);
    for (unsigned i = 0; i < n_over; i++)
        finish_client(c, over[i].client, over[i].ended);
    while (again_first) {
        struct client *client = again_first;
        again_first = client->next_queued;
        client->flags &= ~CLIENT_QUEUED;
        if (client->stream && client->stream->in_len == 0 && (client->flags & CLIENT_EOF) &&
            !client->first_pending)
            client_close(c, client);
        else
            client_queue(c, client);
    }
    bool any = c->n_work || n_over;
    c->n_work = 0;
    return any;
}
