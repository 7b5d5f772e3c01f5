// Client-side caching: which keys clients of whatever core have read, and word of those that
// change. See tracking.h.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/core/tracking_internal.h"

static_assert(PLANE_CORES_MAX <= 1u << READER_CORE_BITS, "a reader names its core");

// Keys that are invalidated early in one round of the cron, for each round in a row in which there
// were more than tracking-table-max-keys.
#define LIMIT_STEPS 100
// A key of so many readers is invalidated early when most of them must have gone.
#define READERS_MANY 64
// Tables are dropped when no client tracked for so long, so many slots in one round of the cron.
#define IDLE_US 10000000
#define DROP_SLOTS 2048

static void add_to(_Atomic int64_t *count, int64_t n)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static int64_t all_keys(const struct core *c)
{
    int64_t n = 0;
    for (unsigned i = 0; i < c->server->n_cores; i++)
        n += atomic_load_explicit(&c->server->cores[i]->tracking->keys, memory_order_relaxed);
    return n;
}

static bool is_ours(const struct core *c, uint16_t slot)
{
    return keyspace_core(c->server->keyspace, slot) == c->index;
}

// --- what is told --------------------------------------------------------------------------------

static void tell_reader(struct core *c, uint64_t id, uint64_t by, struct block *text)
{
    struct tracker *x = tracker_of(c->tracking, id);
    if (!x || !(x->flags & TRACKING_ON) || x->flags & TRACKING_BCAST ||
        (x->flags & TRACKING_NOLOOP && id == by))
        return;
    if (id == by)
        tracker_tell_later(c, x, text);
    else
        tracker_tell(c, x, text);
}

// `readers` may lie anywhere in memory.
static void tell_readers(struct core *c, const uint8_t *readers, size_t n, uint64_t by,
                         const struct arg *key)
{
    struct outbuf text;
    outbuf_init(&text);
    reply_array(&text.out, 1);
    reply_bulk(&text.out, key->ptr, key->len);
    struct block *all = text.out.failed ? NULL : outbuf_block(&text);
    for (size_t i = 0; all && i < n; i++) {
        uint64_t reader;
        memcpy(&reader, readers + i * sizeof(reader), sizeof(reader));
        tell_reader(c, reader_client(reader), by, all);
    }
    if (!all)
        tracking_lose(c, c->index);
    block_release(all);
    outbuf_clear(&text);
}

static void news_changed(struct core *c, struct message *m)
{
    tell_readers(c, m->argv[1].ptr, m->argv[1].len / sizeof(uint64_t), m->session.client_id,
                 &m->argv[0]);
    tracking_tell_own(c);
}

// The readers of one core come together, from place `at` on.
static uint32_t gather_readers(struct tracked_key *k, uint32_t at, unsigned core)
{
    for (uint32_t i = at; i < k->room; i++)
        if (k->readers[i] && reader_core(k->readers[i]) == core) {
            uint64_t reader = k->readers[i];
            k->readers[i] = k->readers[at];
            k->readers[at++] = reader;
        }
    return at;
}

static void tell_key(struct core *c, struct tracked_key *k)
{
    const struct session session = {.client_id = k->by};
    uint32_t at = 0;
    for (unsigned core = 0; core < c->server->n_cores; core++) {
        uint32_t from = at;
        at = gather_readers(k, at, core);
        if (at == from)
            continue;
        struct arg argv[2] = {
            {.ptr = k->bytes, .len = k->len},
            {.ptr = (uint8_t *)&k->readers[from], .len = (at - from) * sizeof(uint64_t)}};
        if (core == c->index)
            tell_readers(c, argv[1].ptr, at - from, k->by, &argv[0]);
        else if (!mailbox_tell(c, core, &session, 2, argv, news_changed))
            tracking_lose(c, core);
    }
}

void tracking_tell_noted(struct core *c)
{
    struct tracking *t = c->tracking;
    while (t->changed_first) {
        struct tracked_key *k = t->changed_first;
        t->changed_first = k->next;
        if (!t->changed_first)
            t->changed_last = NULL;
        if (k->len == UINT32_MAX)
            tracking_tell_emptied(c, k->by);
        else
            tell_key(c, k);
        tracked_key_free(k);
    }
    for (; t->emptied; t->emptied--)
        tracking_tell_emptied(c, 0);
}

void tracking_tell_changed(struct core *c)
{
    if (c->executing)
        return;
    tracking_tell_noted(c);
    tracking_tell_own(c);
    c->tracking_due &= ~TRACKING_KEYS;
    core_observe(c);
}

void tracking_executed(struct core *c, struct client *client)
{
    if (client->tracker->first_own)
        tracking_set_due(c, TRACKING_KEYS);
}

// --- changes -------------------------------------------------------------------------------------

// Notes that it is to be told.
static void note(struct core *c, struct tracked_key *k)
{
    struct tracking *t = c->tracking;
    k->next = NULL;
    if (t->changed_last)
        t->changed_last->next = k;
    else
        t->changed_first = k;
    t->changed_last = k;
    tracking_set_due(c, TRACKING_KEYS);
}

static int64_t key_bytes(const struct tracked_key *k)
{
    size_t readers = k->readers == &k->one ? 0 : k->room * sizeof(*k->readers);
    return (int64_t)(sizeof(*k) + k->len + readers);
}

static void forget_key(struct core *c, const struct tracked_key *k)
{
    add_to(&c->tracking->keys, -1);
    add_to(&c->tracking->items, -(int64_t)k->n);
    add_to(&c->tracking->bytes, -key_bytes(k));
}

static void take_out(struct core *c, struct tracked_slot *s, struct tracked_key *k, uint64_t by)
{
    tracked_take(s, k);
    forget_key(c, k);
    k->by = by;
    note(c, k);
}

void tracking_changed(struct core *c, uint64_t by, uint64_t at_work, const struct key *key)
{
    if (c->tracking->prefixes.n)
        tracking_mention(c, key, by);
    struct tracked_slot *s = c->server->tracked[key->slot];
    struct tracked_key *k = tracked_find(s, key->ptr, key->len, key->hash);
    if (__builtin_expect(!k, 1))
        return;
    take_out(c, s, k, at_work);
    if (is_ours(c, key->slot)) // else its owner counts when it comes home
        tracking_settle(c, key->slot);
}

void tracking_settle(struct core *c, uint16_t slot)
{
    struct tracked_slot *s = c->server->tracked[slot];
    if (__builtin_expect(!s, 1))
        return;
    c->tracked_keys += s->n - s->counted;
    s->counted = s->n;
    if (!s->n) {
        tracked_slot_free(s);
        c->server->tracked[slot] = NULL;
    }
    core_observe(c);
}

// Empties the slot's table without a word to anyone. Its owner counts later.
static void empty(struct core *c, struct tracked_slot *s)
{
    struct tracked_key *k;
    while ((k = tracked_any(s, 0))) {
        tracked_take(s, k);
        forget_key(c, k);
        tracked_key_free(k);
    }
}

void tracking_replaced(struct core *c, uint64_t by)
{
    for (unsigned slot = 0; slot < SLOTS && all_keys(c); slot++) {
        struct tracked_slot *s = c->server->tracked[slot];
        if (!s)
            continue;
        empty(c, s);
        if (is_ours(c, (uint16_t)slot))
            tracking_settle(c, (uint16_t)slot);
    }
    if (!atomic_load_explicit(&c->server->tracking_clients, memory_order_relaxed))
        return;
    // In order with the keys that changed before and after.
    struct tracked_key *mark = mi_zalloc(sizeof(*mark));
    if (!mark) {
        c->tracking->emptied++;
        tracking_set_due(c, TRACKING_KEYS);
        return;
    }
    mark->readers = &mark->one;
    mark->len = UINT32_MAX;
    mark->by = by;
    note(c, mark);
}

// --- reading -------------------------------------------------------------------------------------

static void remember(struct core *c, const struct session *session, const struct key *key)
{
    struct tracking *t = c->tracking;
    struct tracked_slot **slot = &c->server->tracked[key->slot], *s = *slot;
    if (!s)
        s = *slot = mi_zalloc(sizeof(*s));
    unsigned before = s ? s->n : 0;
    struct tracked_key *k = s ? tracked_key(s, key->ptr, key->len, key->hash) : NULL;
    // Readers that went away stay until the key changes. Where they are the most, it does so now.
    if (k && k->n >= READERS_MANY &&
        k->n / 2 > atomic_load_explicit(&c->server->tracking_clients, memory_order_relaxed)) {
        take_out(c, s, k, 0);
        before--;
        k = tracked_key(s, key->ptr, key->len, key->hash);
    }
    int64_t bytes = k && s->n == before ? key_bytes(k) : 0;
    enum tracked_added added =
        k ? tracked_add(k, reader_of(session->client_id, session->home)) : TRACKED_NO_MEMORY;
    if (added == TRACKED_NO_MEMORY)
        tracking_lose(c, session->home);
    if (s && s->n != before)
        add_to(&t->keys, (int64_t)s->n - before);
    if (added == TRACKED_ADDED)
        add_to(&t->items, 1);
    if (k)
        add_to(&t->bytes, key_bytes(k) - bytes);
    if (is_ours(c, key->slot)) {
        tracking_settle(c, key->slot);
    } else { // as long as it has the slot: loan_leave
        c->lender_observed = true;
        core_observe(c);
    }
}

void tracking_remember_keys(struct core *c, const struct session *session, const struct arg *keys,
                            int n)
{
    for (int i = 0; i < n; i++) {
        struct key key = keyspace_key(c->server->keyspace, keys[i].ptr, keys[i].len);
        remember(c, session, &key);
    }
}

void tracking_remember(struct core *c, const struct session *session, const struct command *command,
                       const struct arg *argv, int argc)
{
    if (command->flags & CMD_PUBSUB || (!command->n_keys && !command->find_keys))
        return;
    int few[16], *positions = argc > 16 ? mi_mallocn((size_t)argc, sizeof(int)) : few;
    int n = positions ? commands_keys(command, argv, argc, positions, argc) : 0;
    for (int i = 0; i < n; i++)
        tracking_remember_keys(c, session, &argv[positions[i]], 1);
    if (!positions)
        tracking_lose(c, session->home);
    if (positions != few)
        mi_free(positions);
}

// --- bounds --------------------------------------------------------------------------------------

// A table of an own slot that is at home, at random. NULL: there is none.
static struct tracked_slot *any_table(struct core *c, uint16_t *slot)
{
    unsigned start = (unsigned)(core_random(c) % SLOTS);
    for (unsigned i = 0; i < SLOTS; i++) {
        *slot = (uint16_t)((start + i) % SLOTS);
        if (is_ours(c, *slot) && !loan_holds(c, *slot) && c->server->tracked[*slot])
            return c->server->tracked[*slot];
    }
    return NULL;
}

// Takes away this core's part of what is too much. The lock is held.
static void keep_limit(struct core *c, int64_t max)
{
    struct tracking *t = c->tracking;
    int64_t all = all_keys(c), over = all - max;
    int64_t own = c->tracked_keys < all ? c->tracked_keys : all;
    if (over <= 0)
        return;
    int64_t part = over * own / all, steps = (int64_t)LIMIT_STEPS * ++t->limit_rounds;
    if (!part)
        part = 1; // of a few: whoever comes first
    for (part = part < steps ? part : steps; part && c->tracked_keys; part--) {
        uint16_t slot;
        struct tracked_slot *s = any_table(c, &slot);
        if (!s)
            return;
        take_out(c, s, tracked_any(s, core_random(c)), 0);
        tracking_settle(c, slot);
    }
}

// One core after the other, so that no two of them take away the same.
static void look_at_limit(struct core *c)
{
    int64_t max = (int64_t)c->settings.tracked_max;
    atomic_flag *limit = &c->server->tracking_limit;
    if (!max || all_keys(c) <= max)
        c->tracking->limit_rounds = 0;
    else if (c->tracked_keys && !atomic_flag_test_and_set_explicit(limit, memory_order_acquire)) {
        keep_limit(c, max);
        atomic_flag_clear_explicit(limit, memory_order_release);
    }
}

// Nobody tracks, and what was remembered for those who did is forgotten.
static void drop_idle(struct core *c)
{
    struct tracking *t = c->tracking;
    if (atomic_load_explicit(&c->server->tracking_clients, memory_order_relaxed)) {
        t->idle_since_us = 0;
        return;
    }
    if (!t->idle_since_us) {
        t->idle_since_us = c->now_us;
        t->dropped_to = 0;
    }
    if (c->now_us - t->idle_since_us < IDLE_US || !c->tracked_keys)
        return;
    for (unsigned n = 0; n < DROP_SLOTS; n++, t->dropped_to = (t->dropped_to + 1) % SLOTS) {
        uint16_t slot = (uint16_t)t->dropped_to;
        if (!is_ours(c, slot) || loan_holds(c, slot) || !c->server->tracked[slot])
            continue;
        empty(c, c->server->tracked[slot]);
        tracking_settle(c, slot);
    }
}

void tracking_cron(struct core *c)
{
    struct tracking *t = c->tracking;
    if (atomic_load_explicit(&t->lost, memory_order_relaxed)) {
        atomic_store_explicit(&t->lost, false, memory_order_relaxed);
        tracking_tell_all(c, 0);
    }
    look_at_limit(c);
    drop_idle(c);
}
