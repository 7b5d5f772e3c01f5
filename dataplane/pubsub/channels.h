// Who is subscribed to what, of one core: channels by name, patterns, sharded channels by name, and
// for each client what it is subscribed to. Nothing here knows of clients or messages: a subscriber
// is what the owner makes of it, and names come with their (keyed) hash.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/pubsub/index.h"

enum channel_kind { CHANNEL_NAMED, CHANNEL_PATTERN, CHANNEL_SHARD, CHANNEL_KINDS };

struct channel_name {
    const uint8_t *ptr;
    size_t len;
    uint64_t hash;
};

struct channel;
struct subscriber;

struct subscription {
    struct index_node node; // by subscriber and channel
    struct subscriber *who;
    struct channel *channel;
    unsigned at;                      // in channel->all
    struct subscription *prev, *next; // of the subscriber, of one kind
};

// Exists while somebody is subscribed to it.
struct channel {
    struct index_node node; // by name; patterns as well
    enum channel_kind kind;
    unsigned n, room;
    struct subscription **all; // n of them, in no order
    unsigned at;               // CHANNEL_PATTERN: in channels->patterns
    size_t len;
    uint8_t name[];
};

// Zeroed memory with its owner filled in.
struct subscriber {
    void *owner;
    struct subscription *first[CHANNEL_KINDS], *last[CHANNEL_KINDS]; // in order of subscribing
    unsigned n[CHANNEL_KINDS];
    size_t bytes; // of memory that its subscriptions take, names included
};

struct channel_table {
    struct index by_name[CHANNEL_KINDS]; // n of each: channels of that kind
    struct index subscriptions;
    struct channel **patterns; // by_name[CHANNEL_PATTERN].n of them, in no order
    unsigned patterns_room;
};

struct channel_table *channels_new(void);
void channels_free(struct channel_table *t); // nobody is subscribed any more

enum subscribed { SUBSCRIBED_NEW, SUBSCRIBED_BEFORE, SUBSCRIBED_NO_MEMORY };
enum subscribed channels_subscribe(struct channel_table *t, struct subscriber *who,
                                   enum channel_kind kind, const struct channel_name *name);
// NULL: the subscriber is not subscribed to it.
struct subscription *channels_subscription(const struct channel_table *t,
                                           const struct subscriber *who, enum channel_kind kind,
                                           const struct channel_name *name);
// Ends it; it is freed, and so is the channel with its last one.
void channels_unsubscribe(struct channel_table *t, struct subscription *s);

// NULL: nobody is subscribed to that name.
struct channel *channels_find(const struct channel_table *t, enum channel_kind kind,
                              const struct channel_name *name);
// All channels of a kind, in no order. `each` may not subscribe or unsubscribe.
void channels_each(const struct channel_table *t, enum channel_kind kind,
                   void (*each)(void *context, const struct channel *channel), void *context);
