// What a core holds in memory beside its keys: itself, what its clients and scripts have, and the
// tables in which others look. Summed from counters that the parts keep anyway, ten times a second
// and when somebody asks, so nothing on the way of a request pays for it. `maxmemory` bounds these
// figures of all cores together with the keys.
//
// Not counted is what belongs to the transport whatever is served: pools of frames, receive
// buffers, the table of connections. With Redis that is the kernel's.
#include <mimalloc.h>

#include "dataplane/core/access.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/client_memory.h"
#include "dataplane/core/latency.h"
#include "dataplane/core/publish.h"
#include "dataplane/core/script.h"
#include "dataplane/core/slowlog.h"
#include "dataplane/core/tracking.h"
#include "dataplane/script/script.h"

static uint64_t index_memory(const struct index *x)
{
    return (uint64_t)x->n_buckets * sizeof(struct index_node *);
}

// Channels themselves are counted with the clients that are subscribed to them.
static uint64_t publish_memory(const struct core *c)
{
    const struct publisher *p = c->publisher;
    const struct channel_table *t = p->channels;
    uint64_t n = p->room + index_memory(&t->subscriptions) +
                 (uint64_t)t->patterns_room * sizeof(struct channel *);
    for (unsigned kind = 0; kind < CHANNEL_KINDS; kind++)
        n += index_memory(&t->by_name[kind]);
    return n;
}

static uint64_t latency_memory(const struct core *c)
{
    uint64_t n = 0;
    for (unsigned id = 0; id < commands_count(); id++)
        n += c->histograms_kept[id] ? sizeof(struct histogram) : 0;
    for (unsigned event = 0; event < LATENCY_EVENTS; event++)
        n += c->series[event] ? sizeof(struct latency_series) : 0;
    return n;
}

// What is there from the start to the end.
static uint64_t fixed_memory(const struct core *c)
{
    const void *const parts[] = {
        c,          c->store,     c->command_figures,     c->histograms_kept, c->series,
        c->blocked, c->publisher, c->publisher->channels, c->scripts,         c->tracking,
    };
    uint64_t n = 0;
    for (unsigned i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        n += mi_usable_size(parts[i]);
    for (unsigned i = 0; i < c->server->n_cores; i++)
        n += mi_usable_size(c->ring[i]);
    // What all cores share is counted by the first of them.
    if (c->index == 0)
        n += sizeof(*c->server) + sizeof(*c->server->subscribed);
    return n;
}

static void add_library(void *sum, const struct function_shown *library)
{
    *(uint64_t *)sum += library->code_len;
}

// The same of what may change: libraries, scripts, users and what they were denied.
static uint64_t shared_memory(struct core *c)
{
    uint64_t libraries = 0, scripts, texts;
    c->services.function_each(c, add_library, &libraries);
    script_texts_figures(c->server->scripts, &scripts, &texts);
    if (!c->users_bytes)
        c->users_bytes = access_users_memory(c->users);
    return libraries + texts + c->users_bytes + access_log_bytes(c);
}

uint64_t memory_of_clients(const struct core *c)
{
    uint64_t n = 0;
    for (const struct client *client = c->clients; client; client = client->next)
        if (!(client->flags & CLIENT_INTERNAL))
            n += client_memory(client);
    return n;
}

uint64_t memory_count(struct core *c, uint64_t clients)
{
    uint64_t n = c->fixed_bytes + clients + script_memory(scripts_engine(c)) + c->slowlog.bytes +
                 latency_memory(c) + publish_memory(c) + tracking_memory(c) +
                 c->blocked->n_waiters * sizeof(struct waiter);
    if (c->index == 0)
        n += shared_memory(c);
    store_memory_beside(c->store, n);
    return n;
}

void memory_start(struct core *c)
{
    c->fixed_bytes = fixed_memory(c);
    c->startup_lua_bytes = script_memory(scripts_engine(c));
    c->startup_bytes = memory_count(c, 0);
}
