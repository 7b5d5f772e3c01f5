// SUBSCRIBE and PUBLISH with their relatives. What a client is subscribed to is its home's; a
// message is handed to the cores that have subscribers, each of which tells its own.
#include "dataplane/commands/pubsub_commands.h"

#include <string.h>

#include "dataplane/pubsub/channels.h"
#include "dataplane/resp/client.h"

struct words {
    const char *name, *subscribe, *unsubscribe;
};
static const struct words words[CHANNEL_KINDS] = {
    [CHANNEL_NAMED] = {"SUBSCRIBE", "subscribe", "unsubscribe"},
    [CHANNEL_PATTERN] = {"PSUBSCRIBE", "psubscribe", "punsubscribe"},
    [CHANNEL_SHARD] = {"SSUBSCRIBE", "ssubscribe", "sunsubscribe"},
};

// Sharded channels are counted apart.
static int64_t count(const struct request *r, enum channel_kind kind)
{
    const struct subscriber *s = r->services->subscriber(r->client);
    if (!s)
        return 0;
    if (kind == CHANNEL_SHARD)
        return s->n[CHANNEL_SHARD];
    return (int64_t)s->n[CHANNEL_NAMED] + s->n[CHANNEL_PATTERN];
}

// Each name is confirmed as a message would come: CLIENT REPLY does not hold it back.
static void confirm(struct request *r, const char *word, const struct arg *name, int64_t left)
{
    bool silent = r->client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP);
    void *slot = NULL;
    struct out *out = silent ? r->services->tell(r, &slot) : r->out;
    if (!out)
        return;
    reply_push(out, r->session->resp, 3);
    reply_bulk_string(out, word);
    if (name)
        reply_bulk(out, name->ptr, name->len);
    else
        reply_null(out, r->session->resp);
    reply_integer(out, left);
    if (silent)
        r->services->told(r, slot);
}

static void subscribe(struct request *r, enum channel_kind kind)
{
    // What may not wait may not listen; of a transaction Redis minds with sharded channels only.
    if (r->client->flags & CLIENT_INTERNAL || (kind == CHANNEL_SHARD && !r->may_block)) {
        request_errorf(r, "ERR %s isn't allowed for a DENY BLOCKING client", words[kind].name);
        return;
    }
    for (int i = 1; i < r->argc; i++) {
        if (!r->services->subscribe(r, kind, &r->argv[i])) {
            request_error(r, ERR_OOM);
            return;
        }
        confirm(r, words[kind].subscribe, &r->argv[i], count(r, kind));
    }
}

static void unsubscribe_from_all(struct request *r, enum channel_kind kind)
{
    const struct subscriber *s = r->services->subscriber(r->client);
    if (!s || !s->n[kind]) {
        confirm(r, words[kind].unsubscribe, NULL, count(r, kind));
        return;
    }
    while (s->first[kind]) {
        // Confirmed first: the name may go with the subscription.
        const struct channel *channel = s->first[kind]->channel;
        struct arg name = {.ptr = channel->name, .len = channel->len};
        confirm(r, words[kind].unsubscribe, &name, count(r, kind) - 1);
        r->services->unsubscribe(r, kind, &name);
    }
}

static void unsubscribe(struct request *r, enum channel_kind kind)
{
    if (r->argc == 1)
        unsubscribe_from_all(r, kind);
    for (int i = 1; i < r->argc; i++) {
        r->services->unsubscribe(r, kind, &r->argv[i]);
        confirm(r, words[kind].unsubscribe, &r->argv[i], count(r, kind));
    }
}

void subscribe_command(struct request *r)
{
    subscribe(r, CHANNEL_NAMED);
}

void psubscribe_command(struct request *r)
{
    subscribe(r, CHANNEL_PATTERN);
}

void ssubscribe_command(struct request *r)
{
    subscribe(r, CHANNEL_SHARD);
}

void unsubscribe_command(struct request *r)
{
    unsubscribe(r, CHANNEL_NAMED);
}

void punsubscribe_command(struct request *r)
{
    unsubscribe(r, CHANNEL_PATTERN);
}

void sunsubscribe_command(struct request *r)
{
    unsubscribe(r, CHANNEL_SHARD);
}

// --- PUBLISH -------------------------------------------------------------------------------------

uint64_t publish_asks(struct core *core, const struct services *services, const struct arg *argv,
                      int argc)
{
    return argc < 3 ? 0 : services->publish_asks(core, CHANNEL_NAMED, &argv[1]);
}

uint64_t spublish_asks(struct core *core, const struct services *services, const struct arg *argv,
                       int argc)
{
    return argc < 3 ? 0 : services->publish_asks(core, CHANNEL_SHARD, &argv[1]);
}

static void publish_to(struct request *r, enum channel_kind kind)
{
    uint64_t receivers = r->services->publish(r->core, kind, &r->argv[1], &r->argv[2]);
    out_write(r->out, &receivers, sizeof(receivers));
}

void publish_part(struct request *r)
{
    publish_to(r, CHANNEL_NAMED);
}

void spublish_part(struct request *r)
{
    publish_to(r, CHANNEL_SHARD);
}

void publish_command(struct request *r)
{
    uint64_t receivers = 0;
    for (unsigned i = 0; i < r->n_parts; i++) {
        uint64_t part;
        if (r->parts[i].len != sizeof(part))
            continue;
        memcpy(&part, r->parts[i].ptr, sizeof(part));
        receivers += part;
    }
    reply_integer(r->out, (int64_t)receivers);
}
