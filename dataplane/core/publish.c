#include "dataplane/core/publish.h"

#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "common/block.h"
#include "common/glob.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/message.h"

// Two bits of notify-keyspace-events beside the classes: which channels tell of events.
#define NOTIFY_KEYSPACE (1u << 28)
#define NOTIFY_KEYEVENT (1u << 29)
// Bytes of messages after which a client's output is looked at, whatever is left of the turn.
#define TOLD_BYTES (256u * 1024)
#define BYTES_FIRST 1024
// "__keyspace@4294967295__:"
#define EVENT_PREFIX_MAX 32
// A bulk string's frame: "$", digits, two line ends.
#define BULK_FRAME 32

bool publish_start(struct core *c)
{
    struct publisher *p = c->publisher = mi_zalloc(sizeof(*p));
    return p && (p->channels = channels_new());
}

void publish_stop(struct core *c)
{
    struct publisher *p = c->publisher;
    if (!p)
        return;
    channels_free(p->channels);
    mi_free(p->bytes);
    mi_free(p);
    c->publisher = NULL;
}

static struct channel_name name_of(const struct core *c, const void *ptr, size_t len)
{
    struct key key = keyspace_key(c->server->keyspace, ptr, len);
    return (struct channel_name){.ptr = ptr, .len = len, .hash = key.hash};
}

// --- who is subscribed, on which cores -----------------------------------------------------------

static void set_bit(const struct core *c, _Atomic uint64_t *cores, bool on)
{
    uint64_t bit = 1ull << c->index;
    if (on)
        atomic_fetch_or_explicit(cores, bit, memory_order_release);
    else
        atomic_fetch_and_explicit(cores, ~bit, memory_order_release);
}

// This core has a channel more, or less.
static void count_channel(struct core *c, enum channel_kind kind, uint64_t hash, bool more)
{
    struct publisher *p = c->publisher;
    struct subscribed_cores *all = c->server->subscribed;
    unsigned bucket = hash >> 32 & (SUBSCRIBED_BUCKETS - 1);
    if (kind == CHANNEL_PATTERN) {
        unsigned n = p->channels->by_name[CHANNEL_PATTERN].n;
        if (n == more) // the first, or the last
            set_bit(c, &all->patterns, more);
        return;
    }
    uint32_t *count = kind == CHANNEL_NAMED ? &p->named[bucket] : &p->shard[bucket];
    *count += more ? 1 : -1;
    if (*count == more)
        set_bit(c, kind == CHANNEL_NAMED ? &all->named[bucket] : &all->shard[bucket], more);
}

// Cores that a message of that channel has to go to.
static uint64_t cores_of(const struct core *c, enum channel_kind kind,
                         const struct channel_name *name)
{
    const struct subscribed_cores *all = c->server->subscribed;
    unsigned bucket = name->hash >> 32 & (SUBSCRIBED_BUCKETS - 1);
    if (kind == CHANNEL_SHARD)
        return atomic_load_explicit(&all->shard[bucket], memory_order_acquire);
    return atomic_load_explicit(&all->named[bucket], memory_order_acquire) |
           atomic_load_explicit(&all->patterns, memory_order_acquire);
}

static uint64_t publish_asks(struct core *c, unsigned kind, const struct arg *channel)
{
    struct channel_name name = name_of(c, channel->ptr, channel->len);
    return cores_of(c, kind, &name);
}

// --- subscribing ---------------------------------------------------------------------------------

static struct subscriber *subscriber_of(struct client *client)
{
    if (!client->subscriber && (client->subscriber = mi_zalloc(sizeof(struct subscriber))))
        client->subscriber->owner = client;
    return client->subscriber;
}

static void mark(struct client *client)
{
    const struct subscriber *s = client->subscriber;
    if (s->n[CHANNEL_NAMED] || s->n[CHANNEL_PATTERN] || s->n[CHANNEL_SHARD])
        client->flags |= CLIENT_PUBSUB;
    else
        client->flags &= ~(uint32_t)CLIENT_PUBSUB;
}

static bool subscribe(struct request *r, unsigned kind, const struct arg *channel)
{
    struct core *c = r->core;
    struct channel_table *t = c->publisher->channels;
    struct subscriber *who = subscriber_of(r->client);
    struct channel_name name = name_of(c, channel->ptr, channel->len);
    unsigned before = t->by_name[kind].n;
    if (!who || channels_subscribe(t, who, kind, &name) == SUBSCRIBED_NO_MEMORY)
        return false;
    if (t->by_name[kind].n != before)
        count_channel(c, kind, name.hash, true);
    mark(r->client);
    return true;
}

static void leave(struct core *c, struct subscription *s)
{
    struct channel_table *t = c->publisher->channels;
    enum channel_kind kind = s->channel->kind;
    uint64_t hash = s->channel->node.hash;
    unsigned before = t->by_name[kind].n;
    channels_unsubscribe(t, s);
    if (t->by_name[kind].n != before)
        count_channel(c, kind, hash, false);
}

static bool unsubscribe(struct request *r, unsigned kind, const struct arg *channel)
{
    struct core *c = r->core;
    struct subscriber *who = r->client->subscriber;
    if (!who)
        return false;
    struct channel_name name = name_of(c, channel->ptr, channel->len);
    struct subscription *s = channels_subscription(c->publisher->channels, who, kind, &name);
    if (!s)
        return false;
    leave(c, s);
    mark(r->client);
    return true;
}

void publish_forget(struct core *c, struct client *client)
{
    struct subscriber *who = client->subscriber;
    if (!who)
        return;
    for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++)
        while (who->first[kind])
            leave(c, who->first[kind]);
    client->subscriber = NULL;
    client->flags &= ~(uint32_t)CLIENT_PUBSUB;
    mi_free(who);
}

static void unsubscribe_all(struct request *r)
{
    publish_forget(r->core, r->client);
}

static const struct subscriber *subscriber(const struct client *client)
{
    return client->subscriber;
}

static const struct channel_table *channels(struct core *c)
{
    return c->publisher->channels;
}

static unsigned channel_subscribers(struct core *c, unsigned kind, const struct arg *channel)
{
    struct channel_name name = name_of(c, channel->ptr, channel->len);
    const struct channel *found = channels_find(c->publisher->channels, kind, &name);
    return found ? found->n : 0;
}

// --- encoding ------------------------------------------------------------------------------------

// What is said: the bytes of a message, and a big one's text by reference. The first byte is that
// of RESP2 or of RESP3, all else is the same in both.
struct said {
    struct publisher *p;
    struct block *text; // NULL: it is among the bytes
    size_t text_offset, text_len;
    bool short_of_memory;
};

static bool put_room(struct said *s, size_t n)
{
    struct publisher *p = s->p;
    if (p->room - p->len >= n)
        return true;
    size_t room = p->room ? p->room : BYTES_FIRST;
    while (room - p->len < n)
        room *= 2;
    uint8_t *bytes = mi_realloc(p->bytes, room);
    if (!bytes) {
        s->short_of_memory = true;
        return false;
    }
    p->bytes = bytes;
    p->room = room;
    return true;
}

static void put_head(struct said *s, unsigned n, const char *kind)
{
    s->p->len = 0;
    if (put_room(s, BULK_FRAME))
        s->p->len = (size_t)snprintf((char *)s->p->bytes, BULK_FRAME, "*%u\r\n$%zu\r\n%s\r\n", n,
                                     strlen(kind), kind);
}

static void put_bulk(struct said *s, const void *data, size_t len)
{
    if (!put_room(s, len + BULK_FRAME))
        return;
    uint8_t *to = s->p->bytes + s->p->len;
    *to++ = '$';
    to += format_int64((char *)to, (int64_t)len);
    memcpy(to, "\r\n", 2);
    to += 2;
    if (len)
        memcpy(to, data, len);
    to += len;
    memcpy(to, "\r\n", 2);
    s->p->len = (size_t)(to + 2 - s->p->bytes);
}

// The text comes last.
static void put_text(struct said *s, const struct arg *message)
{
    if (!s->text) {
        put_bulk(s, message->ptr, message->len);
        return;
    }
    if (!put_room(s, BULK_FRAME))
        return;
    s->p->len +=
        (size_t)snprintf((char *)s->p->bytes + s->p->len, BULK_FRAME, "$%zu\r\n", message->len);
}

static void say(struct core *c, struct client *client, const struct said *s)
{
    struct publisher *p = s->p;
    struct reply_slot *slot;
    struct out *out = client_tell(c, client, &slot);
    if (!out)
        return;
    p->bytes[0] = client->resp == 3 ? '>' : '*';
    out_write(out, p->bytes, p->len);
    client->told_bytes += p->len;
    if (s->text) {
        out->ops->ref(out, s->text, s->text_offset, s->text_len);
        out_write(out, "\r\n", 2);
        client->told_bytes += s->text_len;
    }
    client_told(c, client, slot);
    if (__builtin_expect(client->told_bytes > TOLD_BYTES, 0)) {
        client->told_bytes = 0;
        client_look_output(c, client);
    }
}

static void say_to_all(struct core *c, const struct channel *channel, const struct said *s)
{
    if (s->short_of_memory)
        return;
    for (unsigned i = 0; i < channel->n; i++)
        say(c, channel->all[i]->who->owner, s);
}

// --- publishing ----------------------------------------------------------------------------------

// A big text is referred to by each output that it goes to.
static struct block *text_block(const struct arg *message, size_t *offset)
{
    *offset = 0;
    if (message->len < BLOCK_VALUE_MIN)
        return NULL;
    if (message->block) {
        *offset = (size_t)(message->ptr - message->block->data);
        return block_retain(message->block);
    }
    struct block *b = block_new(message->len);
    if (b) {
        memcpy(b->data, message->ptr, message->len);
        b->len = message->len;
    }
    return b;
}

static uint64_t publish_named(struct core *c, enum channel_kind kind,
                              const struct channel_name *name, const struct arg *message)
{
    struct publisher *p = c->publisher;
    const struct channel_table *t = p->channels;
    const struct channel *channel = channels_find(t, kind, name);
    unsigned patterns = kind == CHANNEL_NAMED ? t->by_name[CHANNEL_PATTERN].n : 0;
    uint64_t n = 0;
    if (!channel && !patterns)
        return 0;
    struct said s = {.p = p, .text_len = message->len};
    s.text = text_block(message, &s.text_offset);
    if (channel) {
        put_head(&s, 3, kind == CHANNEL_SHARD ? "smessage" : "message");
        put_bulk(&s, name->ptr, name->len);
        put_text(&s, message);
        say_to_all(c, channel, &s);
        n += channel->n;
    }
    for (unsigned i = 0; i < patterns; i++) {
        const struct channel *pattern = t->patterns[i];
        // The empty name meets the empty pattern only, as in Redis: not even "*".
        if (!name->len && pattern->len)
            continue;
        if (!glob_match((const char *)pattern->name, pattern->len, (const char *)name->ptr,
                        name->len, false))
            continue;
        put_head(&s, 4, "pmessage");
        put_bulk(&s, pattern->name, pattern->len);
        put_bulk(&s, name->ptr, name->len);
        put_text(&s, message);
        say_to_all(c, pattern, &s);
        n += pattern->n;
    }
    p->told += (unsigned)n;
    block_release(s.text);
    return n;
}

static uint64_t publish(struct core *c, unsigned kind, const struct arg *channel,
                        const struct arg *message)
{
    struct channel_name name = name_of(c, channel->ptr, channel->len);
    return publish_named(c, kind, &name, message);
}

struct out *publish_begin(struct core *c, struct client *client, const char *channel,
                          struct reply_slot **slot)
{
    struct out *out = client_tell(c, client, slot);
    if (!out)
        return NULL;
    reply_push(out, client->resp, 3);
    reply_bulk_string(out, "message");
    reply_bulk_string(out, channel);
    return out;
}

static struct out *tell(struct request *r, void **slot)
{
    struct reply_slot *s = NULL;
    struct out *out = client_tell(r->core, r->client, &s);
    *slot = s;
    return out;
}

static void told(struct request *r, void *slot)
{
    client_told(r->core, r->client, slot);
}

void publish_services(struct services *services)
{
    services->subscribe = subscribe;
    services->unsubscribe = unsubscribe;
    services->unsubscribe_all = unsubscribe_all;
    services->subscriber = subscriber;
    services->channels = channels;
    services->channel_subscribers = channel_subscribers;
    services->publish = publish;
    services->publish_asks = publish_asks;
    services->tell = tell;
    services->told = told;
}

// --- events of keys ------------------------------------------------------------------------------

// A message from another core, about a key.
static void take_event(struct core *c, struct message *m)
{
    publish(c, CHANNEL_NAMED, &m->argv[0], &m->argv[1]);
}

// To all cores that have subscribers of that channel, without an answer.
static void send_event(struct core *c, const struct arg *channel, const struct arg *message)
{
    static const struct session nobody;
    struct channel_name name = name_of(c, channel->ptr, channel->len);
    uint64_t cores = cores_of(c, CHANNEL_NAMED, &name);
    if (cores >> c->index & 1)
        publish_named(c, CHANNEL_NAMED, &name, message);
    for (cores &= ~(1ull << c->index); cores; cores &= cores - 1)
        mailbox_tell(c, (unsigned)__builtin_ctzll(cores), &nobody, 2,
                     (const struct arg[]){*channel, *message}, take_event);
}

// "__keyspace@0__:" or "__keyevent@0__:", and what follows.
static void send_to(struct core *c, const char *kind, unsigned db, const struct arg *what,
                    const struct arg *message)
{
    char small[256], *name = small;
    size_t size = EVENT_PREFIX_MAX + what->len;
    if (size > sizeof(small) && !(name = mi_malloc(size)))
        return;
    size_t len = (size_t)snprintf(name, EVENT_PREFIX_MAX, "__%s@%u__:", kind, db);
    if (what->len)
        memcpy(name + len, what->ptr, what->len);
    struct arg channel = {.ptr = (const uint8_t *)name, .len = len + what->len};
    send_event(c, &channel, message);
    if (name != small)
        mi_free(name);
}

void publish_event(struct core *c, const char *event, unsigned db, const void *key, size_t len)
{
    struct arg what = {.ptr = (const uint8_t *)event, .len = strlen(event)};
    struct arg where = {.ptr = key, .len = len};
    if (c->settings.notify & NOTIFY_KEYSPACE)
        send_to(c, "keyspace", db, &where, &what);
    if (c->settings.notify & NOTIFY_KEYEVENT)
        send_to(c, "keyevent", db, &what, &where);
}

static unsigned events_of(const char *text)
{
    static const struct {
        char letter;
        unsigned bits;
    } letters[] = {
        {'A', EVENT_GENERIC | EVENT_STRING | EVENT_LIST | EVENT_SET | EVENT_HASH | EVENT_ZSET |
                  EVENT_EXPIRED | EVENT_EVICTED | EVENT_STREAM | EVENT_MODULE},
        {'g', EVENT_GENERIC},
        {'$', EVENT_STRING},
        {'l', EVENT_LIST},
        {'s', EVENT_SET},
        {'h', EVENT_HASH},
        {'z', EVENT_ZSET},
        {'x', EVENT_EXPIRED},
        {'e', EVENT_EVICTED},
        {'t', EVENT_STREAM},
        {'d', EVENT_MODULE},
        {'m', EVENT_MISS},
        {'n', EVENT_NEW},
        {'K', NOTIFY_KEYSPACE},
        {'E', NOTIFY_KEYEVENT},
    };
    unsigned bits = 0;
    for (; *text; text++)
        for (unsigned i = 0; i < sizeof(letters) / sizeof(*letters); i++)
            if (letters[i].letter == *text)
                bits |= letters[i].bits;
    // Without a channel nothing is told of.
    return bits & (NOTIFY_KEYSPACE | NOTIFY_KEYEVENT) ? bits : 0;
}

void publish_field_expired(struct core *c, unsigned db, const struct key *key)
{
    struct publisher *p = c->publisher;
    if (p->field_hash == key->hash && p->field_turn == c->counters.turns)
        return;
    p->field_hash = key->hash;
    p->field_turn = c->counters.turns;
    notify_event(c, EVENT_HASH, "hexpired", db, key->ptr, key->len);
}

static void key_missed(void *core, unsigned db, const struct key *key)
{
    publish_event(core, "keymiss", db, key->ptr, key->len);
}

static void key_added(void *core, unsigned db, const struct key *key)
{
    publish_event(core, "new", db, key->ptr, key->len);
}

void publish_configure(struct core *c, const struct config *config)
{
    unsigned notify = events_of(config_string(config, "notify-keyspace-events"));
    if (notify && config_notifies_new(config))
        notify |= EVENT_NEW;
    c->settings.notify = notify;
    store_on_missed(c->store, notify & EVENT_MISS ? key_missed : NULL, c);
    store_on_added(c->store, notify & EVENT_NEW ? key_added : NULL, c);
    core_observe(c);
}
