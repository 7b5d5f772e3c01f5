// Watched keys. See watch.h.
#include "dataplane/core/watch.h"

#include <assert.h>
#include <mimalloc.h>
#include <string.h>

#include "dataplane/core/blocked.h"

#define BUCKETS_FIRST 8

static void watching_release(struct watching *w)
{
    if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) == 1)
        mi_free(w);
}

// --- the keys of a slot --------------------------------------------------------------------------

static struct watched_key **bucket_of(const struct watched_slot *s, unsigned db,
                                      const struct key *key)
{
    uint64_t hash = key->hash + db * 0x9e3779b97f4a7c15u;
    return &s->buckets[(hash ^ hash >> 32) & (s->n_buckets - 1)];
}

static struct watched_key *find(const struct watched_slot *s, unsigned db, const struct key *key)
{
    if (!s || !s->n)
        return NULL;
    struct watched_key *k = *bucket_of(s, db, key);
    while (k && !(k->db == db && key_same(&k->key, key)))
        k = k->next;
    return k;
}

static bool grow(struct watched_slot *s)
{
    unsigned n = s->n_buckets ? 2 * s->n_buckets : BUCKETS_FIRST;
    struct watched_key **buckets = mi_calloc(n, sizeof(struct watched_key *)), **old = s->buckets;
    if (!buckets)
        return s->n_buckets; // longer chains do no harm
    unsigned before = s->n_buckets;
    s->buckets = buckets;
    s->n_buckets = n;
    for (unsigned i = 0; i < before; i++)
        for (struct watched_key *k = old[i], *next; k; k = next) {
            next = k->next;
            struct watched_key **bucket = bucket_of(s, k->db, &k->key);
            k->next = *bucket;
            *bucket = k;
        }
    mi_free(old);
    return true;
}

static struct watched_key *add_key(struct core *c, unsigned db, const struct key *key)
{
    struct watched_slot **slot = &c->server->watched[key->slot];
    if (!*slot && !(*slot = mi_zalloc(sizeof(**slot))))
        return NULL;
    struct watched_slot *s = *slot;
    if (s->n >= s->n_buckets && !grow(s))
        return NULL;
    struct watched_key *k = mi_malloc(sizeof(*k) + key->len);
    if (!k)
        return NULL;
    *k = (struct watched_key){.db = db, .key = *key};
    memcpy(k->bytes, key->ptr, key->len);
    k->key.ptr = k->bytes;
    struct watched_key **bucket = bucket_of(s, db, key);
    k->next = *bucket;
    *bucket = k;
    s->n++;
    return k;
}

static void remove_key(struct core *c, struct watched_key *k)
{
    struct watched_slot *s = c->server->watched[k->key.slot];
    struct watched_key **at = bucket_of(s, k->db, &k->key);
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    mi_free(k);
    s->n--;
}

void watch_settle(struct core *c, uint16_t slot)
{
    struct watched_slot *s = c->server->watched[slot];
    if (__builtin_expect(!s, 1))
        return;
    c->watched_keys += s->n - s->counted;
    s->counted = s->n;
    if (!s->n) {
        mi_free(s->buckets);
        mi_free(s);
        c->server->watched[slot] = NULL;
    }
    core_observe(c);
}

// Its keys have changed. A borrower leaves it to the owner, for when it comes home.
static void settle(struct core *c, uint16_t slot)
{
    struct core *owner = c->server->cores[keyspace_core(c->server->keyspace, slot)];
    if (owner == c)
        watch_settle(c, slot);
    else
        atomic_store_explicit(&owner->unsettled, true, memory_order_relaxed);
}

// --- watches -------------------------------------------------------------------------------------

// The slot loses it; `w` is freed.
static void take_out(struct core *c, struct watch *w)
{
    struct watched_key *k = w->at;
    uint16_t slot = k->key.slot;
    if (w->prev_here)
        w->prev_here->next_here = w->next_here;
    else
        k->first = w->next_here;
    if (w->next_here)
        w->next_here->prev_here = w->prev_here;
    if (!k->first)
        remove_key(c, k);
    watching_release(w->watching);
    message_free(&w->unwatch);
    settle(c, slot);
}

static struct watching *watching_of(struct client *client)
{
    if (client->watching)
        return client->watching;
    struct watching *w = mi_zalloc(sizeof(*w));
    if (w)
        atomic_init(&w->refs, 1);
    client->watching = w;
    return w;
}

bool watch_add(struct core *c, struct client *client, const struct key *key)
{
    // One whose time is over goes now: that it goes later would be no change.
    store_find(c->store, client->db, key, LOOKUP_WRITE | LOOKUP_NO_TOUCH);
    struct watching *mine = watching_of(client);
    if (!mine)
        return false;
    struct watched_key *k = find(c->server->watched[key->slot], client->db, key);
    for (const struct watch *w = k ? k->first : NULL; w; w = w->next_here)
        if (w->watching == mine)
            return true;
    struct watch *w = mi_zalloc(sizeof(*w));
    if (!w || (!k && !(k = add_key(c, client->db, key)))) {
        mi_free(w);
        return false;
    }
    w->unwatch.kind = MESSAGE_UNWATCH;
    w->unwatch.from = c->index;
    w->unwatch.n_slots = 1;
    w->unwatch.key.slot = key->slot;
    outbuf_init(&w->unwatch.out);
    w->watching = mine;
    atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
    w->next = mine->first;
    mine->first = w;
    mine->n++;
    w->at = k;
    w->next_here = k->first;
    if (k->first)
        k->first->prev_here = w;
    k->first = w;
    settle(c, key->slot);
    return true;
}

void watch_drop(struct core *c, struct client *client)
{
    struct watching *mine = client->watching;
    if (!mine)
        return;
    client->watching = NULL;
    for (struct watch *w = mine->first, *next; w; w = next) {
        next = w->next;
        take_out(c, w);
    }
    watching_release(mine);
}

bool watch_broken(struct core *c, struct client *client)
{
    struct watching *mine = client->watching;
    for (struct watch *w = mine ? mine->first : NULL; w; w = w->next)
        store_find(c->store, w->at->db, &w->at->key, LOOKUP_WRITE | LOOKUP_NO_TOUCH);
    return mine && atomic_load_explicit(&mine->changed, memory_order_relaxed);
}

static void tell(const struct watched_key *k)
{
    for (struct watch *w = k->first; w; w = w->next_here)
        atomic_store_explicit(&w->watching->changed, true, memory_order_relaxed);
}

void watch_changed(struct core *c, unsigned db, const struct key *key)
{
    const struct watched_key *k = find(c->server->watched[key->slot], db, key);
    if (__builtin_expect(k != NULL, 0))
        tell(k);
}

static bool exists(struct core *c, int db, const struct key *key)
{
    return db >= 0 &&
           store_find(c->store, (unsigned)db, key, LOOKUP_WRITE | LOOKUP_NO_TOUCH) != NULL;
}

void watch_replaced(struct core *c, int db, int other)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        const struct watched_slot *s = c->server->watched[slot];
        for (unsigned i = 0; s && i < s->n_buckets; i++)
            for (const struct watched_key *k = s->buckets[i]; k; k = k->next) {
                if (db >= 0 && k->db != (unsigned)db)
                    continue;
                if (exists(c, (int)k->db, &k->key) || exists(c, other, &k->key))
                    tell(k);
            }
    }
}

// --- from afar -----------------------------------------------------------------------------------

void watch_out(struct core *c, struct message *m)
{
    if (loan_blocks(c, m))
        loan_wait(c, m);
    else
        take_out(c, (struct watch *)m);
}

void watch_forget(struct core *c, struct client *client)
{
    struct watching *mine = client->watching;
    if (!mine)
        return;
    client->watching = NULL;
    for (struct watch *w = mine->first, *next; w; w = next) {
        next = w->next;
        unsigned owner = keyspace_core(c->server->keyspace, w->unwatch.key.slot);
        if (owner == c->index)
            watch_out(c, &w->unwatch);
        else
            mailbox_post(c, owner, &w->unwatch);
    }
    watching_release(mine);
}

void watch_end(struct server *server)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        struct watched_slot *s = server->watched[slot];
        for (unsigned i = 0; s && i < s->n_buckets; i++)
            for (struct watched_key *k = s->buckets[i], *next; k; k = next) {
                next = k->next;
                for (struct watch *w = k->first, *after; w; w = after) {
                    after = w->next_here;
                    watching_release(w->watching);
                    mi_free(w);
                }
                mi_free(k);
            }
        if (s)
            mi_free(s->buckets);
        mi_free(s);
        server->watched[slot] = NULL;
    }
}
