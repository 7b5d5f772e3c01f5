// Messages of channels. Each core knows what its own clients are subscribed to (dataplane/pubsub),
// and a process-wide table says, by the hash of the name, which cores have subscribers at all: a
// message travels to those alone. There it is encoded once, and written to each subscriber.
//
// Keyspace notifications are such messages, sent by the core that executes what changes the key.
// What a handler makes the server tell is told when the command is done (client_tell).
#pragma once

#include "dataplane/core/core.h"
#include "dataplane/pubsub/channels.h"

// Buckets of the names of channels, in the table that all cores share; a power of two.
#define SUBSCRIBED_BUCKETS 4096
// Messages that a core hands to its clients in one turn, about; PUBLISH waits for the next one
// then.
#define TURN_TELLS 20000

// Of the process.
struct subscribed_cores {
    // Bits of the cores that have subscribers of a channel in that bucket. A core changes its own.
    _Atomic uint64_t named[SUBSCRIBED_BUCKETS], shard[SUBSCRIBED_BUCKETS];
    _Atomic uint64_t patterns; // of those that have subscribers of any pattern
};

// Of a core.
struct publisher {
    struct channel_table *channels;
    uint32_t named[SUBSCRIBED_BUCKETS], shard[SUBSCRIBED_BUCKETS]; // channels of this core
    // The hash whose fields went last, and when.
    uint64_t field_hash, field_turn;
    unsigned told;  // messages handed out this turn
    uint8_t *bytes; // of the message that is being told
    size_t len, room;
};

bool publish_start(struct core *c);
void publish_stop(struct core *c);
void publish_services(struct services *services);
// The client is subscribed to nothing any more.
void publish_forget(struct core *c, struct client *client);
// A message in the form of channels to one client of this core, whatever it is subscribed to: the
// caller writes what it says as one reply, and ends it with client_told. NULL: the client is on its
// way out.
struct out *publish_begin(struct core *c, struct client *client, const char *channel,
                          struct reply_slot **slot);
// Something happened to a key of database `db`: its subscribers hear of it, on all cores.
void publish_event(struct core *c, const char *event, unsigned db, const void *key, size_t len);
// The same where notify-keyspace-events asks for it.
static inline void notify_event(struct core *c, unsigned class, const char *event, unsigned db,
                                const void *key, size_t len)
{
    if (__builtin_expect(c->settings.notify & class, 0))
        publish_event(c, event, db, key, len);
}
// Messages that reach many clients: this turn has handed out as many as it may.
static inline bool publish_enough(const struct core *c)
{
    return c->publisher->told >= TURN_TELLS;
}
// Fields of a hash go one by one, and are told of once for those of a turn.
void publish_field_expired(struct core *c, unsigned db, const struct key *key);
void publish_configure(struct core *c, const struct config *config); // notify-keyspace-events
