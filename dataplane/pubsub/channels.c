#include "dataplane/pubsub/channels.h"

#include <mimalloc.h>
#include <string.h>

#define ROOM_FIRST 4

struct channel_table *channels_new(void)
{
    return mi_zalloc(sizeof(struct channel_table));
}

void channels_free(struct channel_table *t)
{
    if (!t)
        return;
    for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++)
        index_clear(&t->by_name[kind]);
    index_clear(&t->subscriptions);
    mi_free(t->patterns);
    mi_free(t);
}

// --- channels ------------------------------------------------------------------------------------

struct channel *channels_find(const struct channel_table *t, enum channel_kind kind,
                              const struct channel_name *name)
{
    struct index_node *node = index_bucket(&t->by_name[kind], name->hash);
    for (; node; node = node->next) {
        struct channel *channel = (struct channel *)node;
        if (node->hash == name->hash && channel->len == name->len &&
            memcmp(channel->name, name->ptr, name->len) == 0)
            return channel;
    }
    return NULL;
}

// An array of pointers with room for one more than n, or NULL, and then it is as it was.
static void *with_room(void *array, unsigned n, unsigned *room)
{
    if (n < *room)
        return array;
    unsigned more = *room ? 2 * *room : ROOM_FIRST;
    void *longer = mi_reallocn(array, more, sizeof(void *));
    if (longer)
        *room = more;
    return longer;
}

static bool make_room_for_pattern(struct channel_table *t)
{
    struct channel **patterns =
        with_room(t->patterns, t->by_name[CHANNEL_PATTERN].n, &t->patterns_room);
    if (patterns)
        t->patterns = patterns;
    return patterns;
}

static bool make_room_for_subscription(struct channel *channel)
{
    struct subscription **all = with_room(channel->all, channel->n, &channel->room);
    if (all)
        channel->all = all;
    return all;
}

static struct channel *channel_new(struct channel_table *t, enum channel_kind kind,
                                   const struct channel_name *name)
{
    unsigned patterns = t->by_name[CHANNEL_PATTERN].n;
    if (kind == CHANNEL_PATTERN && !make_room_for_pattern(t))
        return NULL;
    struct channel *channel = mi_malloc(sizeof(*channel) + name->len);
    if (!channel)
        return NULL;
    *channel = (struct channel){.kind = kind, .len = name->len};
    if (name->len)
        memcpy(channel->name, name->ptr, name->len);
    if (!index_add(&t->by_name[kind], &channel->node, name->hash)) {
        mi_free(channel);
        return NULL;
    }
    if (kind == CHANNEL_PATTERN) {
        channel->at = patterns;
        t->patterns[patterns] = channel;
    }
    return channel;
}

static void channel_free(struct channel_table *t, struct channel *channel)
{
    index_remove(&t->by_name[channel->kind], &channel->node);
    if (channel->kind == CHANNEL_PATTERN) {
        struct channel *last = t->patterns[t->by_name[CHANNEL_PATTERN].n];
        t->patterns[channel->at] = last;
        last->at = channel->at;
    }
    mi_free(channel->all);
    mi_free(channel);
}

void channels_each(const struct channel_table *t, enum channel_kind kind,
                   void (*each)(void *context, const struct channel *channel), void *context)
{
    const struct index *x = &t->by_name[kind];
    for (unsigned i = 0; i < x->n_buckets; i++)
        for (const struct index_node *node = index_bucket_at(x, i); node; node = node->next)
            each(context, (const struct channel *)node);
}

// --- subscriptions -------------------------------------------------------------------------------

static uint64_t pair_hash(const struct subscriber *who, const struct channel *channel)
{
    uint64_t spread = (uint64_t)(uintptr_t)who * 0x9e3779b97f4a7c15u;
    return channel->node.hash + (spread ^ spread >> 32);
}

static struct subscription *find_pair(const struct channel_table *t, const struct subscriber *who,
                                      const struct channel *channel)
{
    struct index_node *node = index_bucket(&t->subscriptions, pair_hash(who, channel));
    for (; node; node = node->next) {
        struct subscription *s = (struct subscription *)node;
        if (s->who == who && s->channel == channel)
            return s;
    }
    return NULL;
}

static size_t bytes_of(const struct channel *channel)
{
    return sizeof(struct subscription) + sizeof(struct channel) + channel->len;
}

enum subscribed channels_subscribe(struct channel_table *t, struct subscriber *who,
                                   enum channel_kind kind, const struct channel_name *name)
{
    struct channel *channel = channels_find(t, kind, name);
    if (channel && find_pair(t, who, channel))
        return SUBSCRIBED_BEFORE;
    if (!channel && !(channel = channel_new(t, kind, name)))
        return SUBSCRIBED_NO_MEMORY;
    struct subscription *s = mi_malloc(sizeof(*s));
    if (!s || !make_room_for_subscription(channel) ||
        !index_add(&t->subscriptions, &s->node, pair_hash(who, channel))) {
        mi_free(s);
        if (!channel->n)
            channel_free(t, channel);
        return SUBSCRIBED_NO_MEMORY;
    }
    s->who = who;
    s->channel = channel;
    s->at = channel->n;
    channel->all[channel->n++] = s;
    s->next = NULL;
    s->prev = who->last[kind];
    if (s->prev)
        s->prev->next = s;
    else
        who->first[kind] = s;
    who->last[kind] = s;
    who->n[kind]++;
    who->bytes += bytes_of(channel);
    return SUBSCRIBED_NEW;
}

struct subscription *channels_subscription(const struct channel_table *t,
                                           const struct subscriber *who, enum channel_kind kind,
                                           const struct channel_name *name)
{
    const struct channel *channel = channels_find(t, kind, name);
    return channel ? find_pair(t, who, channel) : NULL;
}

void channels_unsubscribe(struct channel_table *t, struct subscription *s)
{
    struct channel *channel = s->channel;
    struct subscriber *who = s->who;
    struct subscription *last = channel->all[--channel->n];
    channel->all[s->at] = last;
    last->at = s->at;
    if (s->prev)
        s->prev->next = s->next;
    else
        who->first[channel->kind] = s->next;
    if (s->next)
        s->next->prev = s->prev;
    else
        who->last[channel->kind] = s->prev;
    who->n[channel->kind]--;
    who->bytes -= bytes_of(channel);
    index_remove(&t->subscriptions, &s->node);
    mi_free(s);
    if (!channel->n)
        channel_free(t, channel);
}
