// Client-side caching: which clients track, and how. See tracking.h.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/commands/connection.h"
#include "dataplane/core/tracking_internal.h"

#define BUCKETS_FIRST 64

bool tracking_start(struct core *c)
{
    c->tracking = mi_zalloc(sizeof(*c->tracking));
    if (c->tracking)
        prefixes_init(&c->tracking->prefixes, c->server->n_cores, core_random(c));
    return c->tracking;
}

void tracking_stop(struct core *c)
{
    struct tracking *t = c->tracking;
    if (!t)
        return;
    for (struct tracked_key *k = t->changed_first, *next; k; k = next) {
        next = k->next;
        tracked_key_free(k);
    }
    for (unsigned i = 0; i < PLANE_CORES_MAX; i++)
        mi_free(t->word[i].bytes);
    prefixes_clear(&t->prefixes);
    mi_free(t->buckets);
    t->buckets = NULL;
    t->changed_first = t->changed_last = NULL;
    c->tracking_due = 0;
}

void tracking_clear(struct server *server)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        tracked_slot_free(server->tracked[slot]);
        server->tracked[slot] = NULL;
    }
    for (unsigned i = 0; i < server->n_cores; i++) {
        if (!server->cores[i])
            continue; // the server ends before it has begun
        mi_free(server->cores[i]->tracking);
        server->cores[i]->tracking = NULL;
    }
}

// --- clients of this core ------------------------------------------------------------------------

static struct tracker **bucket_of(const struct tracking *t, uint64_t id)
{
    return &t->buckets[id & (t->n_buckets - 1)];
}

struct tracker *tracker_of(const struct tracking *t, uint64_t id)
{
    struct tracker *x = t->n ? *bucket_of(t, id) : NULL;
    while (x && x->client->id != id)
        x = x->next;
    return x;
}

static bool more_buckets(struct tracking *t)
{
    unsigned n = t->n_buckets ? 2 * t->n_buckets : BUCKETS_FIRST, before = t->n_buckets;
    struct tracker **buckets = mi_calloc(n, sizeof(struct tracker *)), **old = t->buckets;
    if (!buckets)
        return t->n_buckets;
    t->buckets = buckets;
    t->n_buckets = n;
    for (unsigned i = 0; i < before; i++)
        for (struct tracker *x = old[i], *next; x; x = next) {
            next = x->next;
            x->next = *bucket_of(t, x->client->id);
            *bucket_of(t, x->client->id) = x;
        }
    mi_free(old);
    return true;
}

static struct tracker *tracker_make(struct core *c, struct client *client)
{
    struct tracking *t = c->tracking;
    if (client->tracker || (t->n >= t->n_buckets && !more_buckets(t)))
        return client->tracker;
    struct tracker *x = mi_zalloc(sizeof(*x));
    if (!x)
        return NULL;
    x->client = client;
    x->next = *bucket_of(t, client->id);
    *bucket_of(t, client->id) = x;
    t->n++;
    client->tracker = x;
    client->flags |= CLIENT_TRACKED;
    return x;
}

// What the client reads next is remembered, or not.
static void update(struct client *client)
{
    unsigned flags = client->tracker->flags;
    bool given = flags & TRACKING_CACHING;
    client->remember = flags & TRACKING_ON && !(flags & TRACKING_BCAST) &&
                       !(flags & TRACKING_OPTIN && !given) && !(flags & TRACKING_OPTOUT && given);
}

void tracking_next(struct client *client)
{
    const struct command *last = client->last_command;
    if (client->flags & CLIENT_MULTI ||
        (last && last->parent && last->handler && strcmp(last->parent->name, "client") == 0))
        return;
    client->flags &= ~(uint32_t)CLIENT_CACHING;
    if (!client->tracker)
        return;
    client->tracker->flags &= ~(unsigned)TRACKING_CACHING;
    update(client);
}

// --- on and off ----------------------------------------------------------------------------------

static bool begin(struct request *r, const struct client_tracking *wanted, unsigned redirect_core,
                  unsigned n, const struct arg *prefixes)
{
    struct core *c = r->core;
    struct tracking *t = c->tracking;
    struct tracker *x = tracker_make(c, r->client);
    if (!x || !tracker_add_prefixes(c, x, n, prefixes))
        return false;
    tracking_tell_noted(c); // by what held when it changed
    if (!(x->flags & TRACKING_ON)) {
        x->next_other = t->first;
        x->prev_other = NULL;
        if (t->first)
            t->first->prev_other = x;
        t->first = x;
        t->n_tracking++;
        atomic_fetch_add_explicit(&c->server->tracking_clients, 1, memory_order_relaxed);
    }
    x->flags = wanted->flags | (x->flags & TRACKING_CACHING);
    x->redirect = wanted->redirect;
    x->redirect_core = redirect_core;
    update(r->client);
    return true;
}

static void turn_off(struct core *c, struct tracker *x)
{
    struct tracking *t = c->tracking;
    if (!(x->flags & TRACKING_ON))
        return;
    tracker_drop_prefixes(c, x);
    if (x->prev_other)
        x->prev_other->next_other = x->next_other;
    else
        t->first = x->next_other;
    if (x->next_other)
        x->next_other->prev_other = x->prev_other;
    t->n_tracking--;
    atomic_fetch_sub_explicit(&c->server->tracking_clients, 1, memory_order_relaxed);
    x->flags = 0; // what it still has to hear of its own changes goes where it went
    x->client->flags &= ~(uint32_t)CLIENT_CACHING;
    update(x->client);
}

static void end(struct request *r)
{
    if (!r->client->tracker)
        return;
    tracking_tell_noted(r->core);
    turn_off(r->core, r->client->tracker);
}

void tracking_forget(struct core *c, struct client *client)
{
    struct tracker *x = client->tracker;
    if (!x)
        return;
    turn_off(c, x);
    tracker_forget_own(c, x);
    struct tracker **at = bucket_of(c->tracking, client->id);
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    c->tracking->n--;
    client->tracker = NULL;
    client->flags &= ~(uint32_t)CLIENT_TRACKED;
    mi_free(x);
}

static void caching(struct request *r)
{
    r->client->tracker->flags |= TRACKING_CACHING;
    r->client->flags |= CLIENT_CACHING;
    update(r->client);
}

static void client_tracking(const struct client *client, struct client_tracking *to)
{
    const struct tracker *x = client->tracker;
    *to = (struct client_tracking){0};
    if (x)
        *to = (struct client_tracking){.flags = x->flags, .redirect = x->redirect};
}

void tracking_figures(struct core *c, struct core_figures *f)
{
    const struct tracking *t = c->tracking;
    f->tracking_clients = t->n_tracking;
    f->tracking_keys = (uint64_t)t->keys;
    f->tracking_items = (uint64_t)t->items;
    f->tracking_prefixes = tracking_prefixes(c);
}

static bool service_target(struct request *r, struct client *client)
{
    return tracker_make(r->core, client);
}

uint64_t tracking_memory(const struct core *c)
{
    const struct tracking *t = c->tracking;
    return (uint64_t)t->bytes + t->n_buckets * sizeof(*t->buckets) + t->n * sizeof(struct tracker);
}

void tracking_services(struct services *services)
{
    services->client_tracking = client_tracking;
    services->each_prefix = tracker_each_prefix;
    services->tracking_begin = begin;
    services->tracking_end = end;
    services->tracking_caching = caching;
    services->tracking_count = tracking_count;
    services->tracking_uncount = tracking_uncount;
    services->tracking_target = service_target;
}
