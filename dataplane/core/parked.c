// Blocked clients at the owners of their keys: who waits for which key, in order of arrival, and
// what runs when one changes. See blocked.h.
//
// A command that touches further keys (BLMOVE) runs here when these are at hand as well. Otherwise
// home runs it again with borrowed slots, and whoever came later for the same key waits for what
// comes of it. Until its loan is there an element may be taken by a command that does not wait.
#include <assert.h>
#include <mimalloc.h>
#include <string.h>

#include "dataplane/core/blocked.h"

#define BUCKETS_FIRST 64

// A key that somebody waits for.
struct watched {
    struct watched *next; // in the bucket
    struct watched *slot_prev, *slot_next;
    struct watched *next_ready;
    struct parked *first, *last;
    unsigned n_existed; // of them
    uint32_t round;     // counts its changes
    unsigned db;
    bool ready;  // in the list of ready keys
    bool busy;   // being served
    bool missed; // was ready while its slot was lent
    struct key key;
    uint8_t bytes[];
};

// --- keys ----------------------------------------------------------------------------------------

static struct watched **bucket_of(const struct blocked *b, unsigned db, const struct key *key)
{
    uint64_t hash = key->hash + db * 0x9e3779b97f4a7c15u;
    return &b->buckets[(hash ^ hash >> 32) & (b->n_buckets - 1)];
}

static struct watched *watched_find(const struct blocked *b, unsigned db, const struct key *key)
{
    if (!b->n_watched)
        return NULL;
    struct watched *k = *bucket_of(b, db, key);
    while (k && !(k->db == db && key_same(&k->key, key)))
        k = k->next;
    return k;
}

static bool buckets_grow(struct blocked *b)
{
    unsigned before = b->n_buckets;
    struct watched **old = b->buckets;
    unsigned n = before ? 2 * before : BUCKETS_FIRST;
    struct watched **buckets = mi_calloc(n, sizeof(struct watched *));
    if (!buckets)
        return before; // longer chains do no harm
    b->buckets = buckets;
    b->n_buckets = n;
    for (unsigned i = 0; i < before; i++)
        for (struct watched *k = old[i], *next; k; k = next) {
            next = k->next;
            struct watched **bucket = bucket_of(b, k->db, &k->key);
            k->next = *bucket;
            *bucket = k;
        }
    mi_free(old);
    return true;
}

static struct watched *watched_new(struct core *c, unsigned db, const struct key *key)
{
    struct blocked *b = c->blocked;
    if (!b->by_slot && !(b->by_slot = mi_calloc(SLOTS, sizeof(*b->by_slot))))
        return NULL;
    if (b->n_watched >= b->n_buckets && !buckets_grow(b))
        return NULL;
    struct watched *k = mi_malloc(sizeof(*k) + key->len);
    if (!k)
        return NULL;
    *k = (struct watched){.db = db, .key = *key, .round = 1};
    memcpy(k->bytes, key->ptr, key->len);
    k->key.ptr = k->bytes;
    struct watched **bucket = bucket_of(b, db, key);
    k->next = *bucket;
    *bucket = k;
    struct watched_list *slot = &b->by_slot[key->slot];
    k->slot_prev = slot->last;
    if (slot->last)
        slot->last->slot_next = k;
    else
        slot->first = k;
    slot->last = k;
    b->n_watched++;
    core_observe(c);
    return k;
}

static void set_missed(struct core *c, struct watched *k, bool missed)
{
    c->blocked->n_missed += (unsigned)missed - (unsigned)k->missed;
    k->missed = missed;
}

static void watched_free(struct core *c, struct watched *k)
{
    struct blocked *b = c->blocked;
    if (k->first || k->ready || k->busy)
        return;
    set_missed(c, k, false);
    struct watched **at = bucket_of(b, k->db, &k->key);
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    struct watched_list *slot = &b->by_slot[k->key.slot];
    if (k->slot_prev)
        k->slot_prev->slot_next = k->slot_next;
    else
        slot->first = k->slot_next;
    if (k->slot_next)
        k->slot_next->slot_prev = k->slot_prev;
    else
        slot->last = k->slot_prev;
    mi_free(k);
    b->n_watched--;
    core_observe(c);
}

static bool exists(struct core *c, const struct watched *k)
{
    return store_find(c->store, k->db, &k->key, LOOKUP_WRITE | LOOKUP_NO_TOUCH);
}

static void set_existed(struct parked *p, bool existed)
{
    p->watched->n_existed += existed - p->existed;
    p->existed = existed;
}

// --- waiters in lists ----------------------------------------------------------------------------

static bool is_ours(const struct core *c, const struct parked *p)
{
    return keyspace_core(c->server->keyspace, p->key.slot) == c->index;
}

static bool park(struct core *c, struct parked *p)
{
    unsigned db = p->waiter->command->session.db;
    struct watched *k = watched_find(c->blocked, db, &p->key);
    if (!k && !(k = watched_new(c, db, &p->key)))
        return false;
    if (k->last && k->last->waiter == p->waiter)
        return true; // the key was named twice
    p->watched = k;
    p->prev = k->last;
    p->next = NULL;
    if (k->last)
        k->last->next = p;
    else
        k->first = p;
    k->last = p;
    set_existed(p, exists(c, k));
    return true;
}

void parked_add(struct core *c, struct waiter *w)
{
    for (unsigned i = 0; i < w->n_keys; i++) {
        if (!is_ours(c, &w->parked[i]) || park(c, &w->parked[i]))
            continue;
        struct outbuf error;
        outbuf_init(&error);
        reply_error(&error.out, ERR_OOM);
        if (waiter_decide(w, WAITER_SERVED))
            blocked_served(c, w, &error);
        else
            parked_remove(c, w);
        outbuf_clear(&error);
        return;
    }
}

static void mark_ready(struct core *c, struct watched *k, bool changed)
{
    struct blocked *b = c->blocked;
    k->round += changed;
    if (k->ready)
        return;
    k->ready = true;
    k->next_ready = NULL;
    if (b->last_ready)
        b->last_ready->next_ready = k;
    else
        b->first_ready = k;
    b->last_ready = k;
}

void parked_remove(struct core *c, struct waiter *w)
{
    for (unsigned i = 0; i < w->n_keys; i++) {
        struct parked *p = &w->parked[i];
        if (!is_ours(c, p) || !p->watched)
            continue;
        struct watched *k = p->watched;
        set_existed(p, false);
        p->watched = NULL;
        if (p->prev)
            p->prev->next = p->next;
        else
            k->first = p->next;
        if (p->next)
            p->next->prev = p->prev;
        else
            k->last = p->prev;
        if (p->retrying && k->first) // those behind have waited for it
            mark_ready(c, k, false);
        watched_free(c, k);
    }
}

void parked_unpark(struct core *c, struct message *m)
{
    struct waiter *w = m->waiter;
    parked_remove(c, w);
    waiter_release(w);
    parked_serve(c);
}

// --- readiness -----------------------------------------------------------------------------------

static bool is_lent(const struct core *c, uint16_t slot)
{
    return c->lent[slot / 64] >> (slot % 64) & 1;
}

void parked_changed(struct core *c, unsigned db, const struct key *key)
{
    struct watched *k = watched_find(c->blocked, db, key);
    if (k && !is_lent(c, key->slot)) // when it comes home all of it is looked at
        mark_ready(c, k, true);
}

static void look_slot(struct core *c, uint16_t slot, bool changed)
{
    for (struct watched *k = c->blocked->by_slot[slot].first; k; k = k->slot_next)
        if (changed || k->missed)
            mark_ready(c, k, changed);
}

static void look_all(struct core *c, bool changed)
{
    for (unsigned slot = 0; slot < SLOTS; slot++)
        look_slot(c, (uint16_t)slot, changed);
}

void parked_look_all(struct core *c)
{
    if (c->blocked->n_watched)
        look_all(c, true);
}

void parked_slots_returned(struct core *c, const uint16_t *slots, unsigned n, bool changed)
{
    if (c->blocked->n_missed || (changed && c->blocked->n_watched))
        for (unsigned i = 0; i < n; i++)
            look_slot(c, slots[i], changed);
    parked_serve(c);
}

void parked_returned(struct core *c, const struct message *b)
{
    if (b->waiter && !b->retried)
        parked_add(c, b->waiter);
    if (c->blocked->n_missed || (b->changed && c->blocked->n_watched)) {
        for (unsigned i = 0; !b->whole && i < b->n_slots; i++)
            look_slot(c, b->slots ? b->slots[i] : b->key.slot, b->changed);
        if (b->whole)
            look_all(c, b->changed);
    }
    if (b->waiter && b->retried) {
        for (unsigned i = 0; i < b->waiter->n_keys; i++) {
            struct parked *p = &b->waiter->parked[i];
            if (!is_ours(c, p) || !p->watched)
                continue;
            p->retrying = false;
            mark_ready(c, p->watched, false);
        }
    }
    parked_serve(c);
    if (b->waiter)
        waiter_release(b->waiter);
}

// --- serving -------------------------------------------------------------------------------------

// Whether all keys of the command that it does not wait for are at hand.
static bool others_are_here(const struct core *c, const struct waiter *w)
{
    for (unsigned i = 0; i < w->n_others; i++)
        if (keyspace_core(c->server->keyspace, w->others[i]) != c->index ||
            is_lent(c, w->others[i]))
            return false;
    return true;
}

static void serve_key(struct core *c, struct watched *k)
{
    bool there = exists(c, k);
    for (struct parked *p = k->first, *next; p; p = next) {
        next = p->next;
        if (!there && !k->n_existed)
            return;
        if (p->retrying)
            return;
        if ((!there && !p->existed) || p->tried == k->round)
            continue;
        struct waiter *w = p->waiter;
        if (atomic_load_explicit(&w->state, memory_order_relaxed) != WAITER_WAITING)
            continue; // it is over, and will be taken out
        if (w->n_others && !others_are_here(c, w)) {
            p->tried = k->round;
            p->retrying = true;
            blocked_ask_retry(c, w);
            return;
        }
        struct outbuf out;
        outbuf_init(&out);
        if (blocked_run(c, w, p, &out)) {
            blocked_served(c, w, &out);
            there = there && exists(c, k);
        } else {
            set_existed(p, there);
        }
        outbuf_clear(&out);
    }
}

void parked_serve_ready(struct core *c)
{
    struct blocked *b = c->blocked;
    if (c->executing)
        return;
    if (c->told_first)
        clients_tell(c);
    if (b->serving)
        return;
    b->serving = true;
    struct watched *k;
    while ((k = b->first_ready)) {
        b->first_ready = k->next_ready;
        if (!b->first_ready)
            b->last_ready = NULL;
        k->ready = false;
        k->busy = true;
        set_missed(c, k, is_lent(c, k->key.slot));
        if (!k->missed)
            serve_key(c, k);
        k->busy = false;
        watched_free(c, k);
    }
    b->serving = false;
}
