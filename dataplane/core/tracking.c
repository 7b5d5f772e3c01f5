// Client-side caching. See tracking.h.
#include "dataplane/core/tracking.h"

#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/commands/connection.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/publish.h"

static_assert(PLANE_CORES_MAX <= 1u << READER_CORE_BITS, "a reader names its core");

#define BUCKETS_FIRST 64
// Keys that are invalidated early in one round of the cron, for each round in a row in which there
// were more than tracking-table-max-keys.
#define LIMIT_STEPS 100
// A key of so many readers is invalidated early when most of them must have gone.
#define READERS_MANY 64
// Tables are dropped when no client tracked for so long, so many slots in one round of the cron.
#define IDLE_US 10000000
#define DROP_SLOTS 2048

// What a client of this core has to do with tracking: it does, or others redirect to it.
struct tracker {
    struct tracker *next; // in the bucket
    struct client *client;
    unsigned flags; // enum tracking_flags
    uint64_t redirect;
    unsigned redirect_core;
    struct prefix_client *prefixes;          // in order of their bytes
    struct tracker *prev_other, *next_other; // of those that track
    struct own_change *first_own, *last_own; // not told yet
    struct tracker *next_own;                // of those that have such
};

// What a command of the client itself invalidated: told when that is over, EXEC as a whole, to
// whom its changes go then. Whether it is told was decided when the key changed.
struct own_change {
    struct own_change *next;
    struct block *text; // what is invalid; NULL: all
};

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

// --- clients of this core ------------------------------------------------------------------------

static struct tracker **bucket_of(const struct tracking *t, uint64_t id)
{
    return &t->buckets[id & (t->n_buckets - 1)];
}

static struct tracker *tracker_of(const struct tracking *t, uint64_t id)
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

// --- prefixes ------------------------------------------------------------------------------------

static void count_prefixes(struct core *c, unsigned core, int n, const struct arg *prefixes,
                           int delta)
{
    for (int i = 0; i < n; i++) // where one is made memory was there; less of it needs none
        prefix_count(&c->tracking->prefixes, prefixes[i].ptr, prefixes[i].len, core, delta);
    core_observe(c);
}

static void news_uncount(struct core *c, struct message *m)
{
    count_prefixes(c, m->from, m->argc, m->argv, -1);
}

// Where memory is short for it, the other cores tell this one more than it needs.
static void uncount(struct core *c, unsigned n, const struct arg *prefixes)
{
    struct session none = {0};
    count_prefixes(c, c->index, (int)n, prefixes, -1);
    if (!c->stopping)
        mailbox_tell_all(c, &none, (int)n, prefixes, news_uncount);
}

static bool service_count(struct request *r, unsigned n, const struct arg *prefixes)
{
    struct core *c = r->core;
    for (unsigned i = 0; i < n; i++)
        if (!prefix_count(&c->tracking->prefixes, prefixes[i].ptr, prefixes[i].len,
                          r->session->home, 1)) {
            count_prefixes(c, r->session->home, (int)i, prefixes, -1);
            return false;
        }
    core_observe(c);
    return true;
}

static void service_uncount(struct request *r, unsigned n, const struct arg *prefixes)
{
    uncount(r->core, n, prefixes);
}

static bool service_target(struct request *r, struct client *client)
{
    return tracker_make(r->core, client);
}

static bool has_prefix(const struct tracker *x, const struct prefix *wanted)
{
    for (const struct prefix_client *m = x->prefixes; m; m = m->next_mine)
        if (m->prefix == wanted)
            return true;
    return false;
}

static void add_prefix(struct core *c, struct tracker *x, struct prefix_client *m,
                       struct prefix *prefix)
{
    m->client = x->client;
    prefix_join(prefix, m, c->tracking->mentioned + c->tracking->word[c->index].len);
    struct prefix_client **at = &x->prefixes;
    while (*at &&
           bytes_compare((*at)->prefix->bytes, (*at)->prefix->len, prefix->bytes, prefix->len) < 0)
        at = &(*at)->next_mine;
    m->next_mine = *at;
    *at = m;
}

static void drop_prefixes(struct core *c, struct tracker *x)
{
    int n = 0;
    for (const struct prefix_client *m = x->prefixes; m; m = m->next_mine)
        n++;
    if (!n)
        return;
    struct arg *texts = mi_mallocn((size_t)n, sizeof(*texts));
    n = 0;
    for (struct prefix_client *m = x->prefixes, *next; m; m = next) {
        struct prefix *prefix = m->prefix;
        next = m->next_mine;
        prefix_leave(m);
        mi_free(m);
        if (texts) // else it stays counted
            texts[n++] = (struct arg){.ptr = prefix->bytes, .len = prefix->len};
    }
    x->prefixes = NULL;
    if (!texts)
        return;
    // The names lie in prefixes that may be freed: the others are told first.
    struct session none = {0};
    if (!c->stopping)
        mailbox_tell_all(c, &none, n, texts, news_uncount);
    count_prefixes(c, c->index, n, texts, -1);
    mi_free(texts);
}

// --- on and off ----------------------------------------------------------------------------------

static void tell_noted(struct core *c);

static bool begin(struct request *r, const struct client_tracking *wanted, unsigned redirect_core,
                  unsigned n, const struct arg *prefixes)
{
    struct core *c = r->core;
    struct tracking *t = c->tracking;
    struct tracker *x = tracker_make(c, r->client);
    struct prefix_client **made = n ? mi_calloc(n, sizeof(struct prefix_client *)) : NULL;
    bool ok = x && (!n || made);
    for (unsigned i = 0; ok && i < n; i++)
        ok = (made[i] = mi_zalloc(sizeof(struct prefix_client))) != NULL;
    for (unsigned i = 0; i < n && made; i++) {
        struct prefix *prefix =
            ok ? prefix_find(&t->prefixes, prefixes[i].ptr, prefixes[i].len) : NULL;
        if (prefix && !has_prefix(x, prefix)) {
            add_prefix(c, x, made[i], prefix);
            continue;
        }
        mi_free(made[i]);
        if (prefix)
            uncount(c, 1, &prefixes[i]);
    }
    mi_free(made);
    if (!ok)
        return false;
    tell_noted(c); // by what held when it changed
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
    drop_prefixes(c, x);
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
    tell_noted(r->core);
    turn_off(r->core, r->client->tracker);
}

static void forget_own(struct core *c, struct tracker *x)
{
    if (!x->first_own)
        return;
    struct tracker **at = &c->tracking->first_own;
    while (*at != x)
        at = &(*at)->next_own;
    *at = x->next_own;
    for (struct own_change *o = x->first_own, *next; o; o = next) {
        next = o->next;
        block_release(o->text);
        mi_free(o);
    }
}

void tracking_forget(struct core *c, struct client *client)
{
    struct tracker *x = client->tracker;
    if (!x)
        return;
    turn_off(c, x);
    forget_own(c, x);
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

static void each_prefix(const struct client *client,
                        void (*each)(void *context, const void *text, size_t len), void *context)
{
    const struct tracker *x = client->tracker;
    for (const struct prefix_client *m = x ? x->prefixes : NULL; m; m = m->next_mine)
        each(context, m->prefix->bytes, m->prefix->len);
}

void tracking_figures(struct core *c, struct core_figures *f)
{
    const struct tracking *t = c->tracking;
    f->tracking_clients = t->n_tracking;
    f->tracking_keys = (uint64_t)t->keys;
    f->tracking_items = (uint64_t)t->items;
    // One that several cores have clients for is counted by the first of them.
    for (unsigned i = 0; i < t->prefixes.n_buckets; i++)
        for (const struct prefix *x = t->prefixes.buckets[i]; x; x = x->next)
            f->tracking_prefixes += x->cores && __builtin_ctzll(x->cores) == (int)c->index;
}

void tracking_services(struct services *services)
{
    services->client_tracking = client_tracking;
    services->each_prefix = each_prefix;
    services->tracking_begin = begin;
    services->tracking_end = end;
    services->tracking_caching = caching;
    services->tracking_count = service_count;
    services->tracking_uncount = service_uncount;
    services->tracking_target = service_target;
}

// --- what is sent --------------------------------------------------------------------------------

// `keys` is what is invalid: an array of names, or a null for all.
static void write_message(struct core *c, struct client *to, bool redirected, const void *keys,
                          size_t len)
{
    // In the older protocol nothing can be told that was not asked for, but by messages of a
    // channel to clients that take such.
    if (to->resp < 3 && !(redirected && to->flags & CLIENT_PUBSUB))
        return;
    struct reply_slot *slot;
    struct out *out = to->resp < 3 ? publish_begin(c, to, "__redis__:invalidate", &slot)
                                   : client_tell(c, to, &slot);
    if (!out)
        return;
    if (to->resp > 2) {
        reply_push(out, 3, 2);
        reply_bulk_string(out, "invalidate");
    }
    out_write(out, keys, len);
    client_told(c, to, slot);
}

static void broken(struct core *c, struct tracker *x)
{
    x->flags |= TRACKING_BROKEN;
    if (x->client->resp < 3)
        return;
    struct reply_slot *slot;
    struct out *out = client_tell(c, x->client, &slot);
    if (!out)
        return;
    reply_push(out, 3, 2);
    reply_bulk_string(out, "tracking-redir-broken");
    reply_integer(out, (int64_t)x->redirect);
    client_told(c, x->client, slot);
}

static void news_broken(struct core *c, struct message *m)
{
    struct tracker *x = tracker_of(c->tracking, m->session.client_id);
    uint64_t target;
    memcpy(&target, m->argv[0].ptr, sizeof(target));
    if (x && x->redirect == target) // which may be off by now, behind changes of its own
        broken(c, x);
}

// The client that others redirect to. NULL: it is gone, or on its way out.
static struct client *target_of(struct core *c, uint64_t id)
{
    const struct tracker *x = tracker_of(c->tracking, id);
    const unsigned gone = CLIENT_GONE | CLIENT_CLOSING | CLIENT_CLOSE_AFTER_REPLY;
    return x && !(x->client->flags & gone) ? x->client : NULL;
}

static void news_redirected(struct core *c, struct message *m)
{
    struct client *target = target_of(c, m->session.client_id);
    if (target) {
        write_message(c, target, true, m->argv[0].ptr, m->argv[0].len);
        return;
    }
    struct session session = {0};
    memcpy(&session.client_id, m->argv[1].ptr, sizeof(session.client_id));
    struct arg id = {.ptr = (uint8_t *)&m->session.client_id, .len = sizeof(m->session.client_id)};
    mailbox_tell(c, m->from, &session, 1, &id, news_broken);
}

static void send(struct core *c, struct tracker *x, const void *keys, size_t len)
{
    if (!x->redirect) {
        write_message(c, x->client, false, keys, len);
        return;
    }
    if (x->redirect_core == c->index) {
        struct client *target = target_of(c, x->redirect);
        if (target)
            write_message(c, target, true, keys, len);
        else
            broken(c, x);
        return;
    }
    struct session session = {.client_id = x->redirect};
    struct arg argv[2] = {{.ptr = (uint8_t *)keys, .len = len},
                          {.ptr = (uint8_t *)&x->client->id, .len = sizeof(x->client->id)}};
    if (!mailbox_tell(c, x->redirect_core, &session, 2, argv, news_redirected))
        client_abort(c, x->client, "out of memory for word of keys that it may hold");
}

// `text` is what is invalid, NULL: all.
static void send_text(struct core *c, struct tracker *x, const struct block *text)
{
    const char *null = x->client->resp < 3 ? "$-1\r\n" : "_\r\n";
    if (text)
        send(c, x, text->data, text->len);
    else
        send(c, x, null, strlen(null));
}

// --- own changes ---------------------------------------------------------------------------------

static void add_own(struct core *c, struct tracker *x, struct block *text)
{
    struct own_change *o = mi_malloc(sizeof(*o));
    if (!o) {
        client_abort(c, x->client, "out of memory for word of keys that it may hold");
        return;
    }
    *o = (struct own_change){.text = text ? block_retain(text) : NULL};
    if (!x->first_own) {
        x->next_own = c->tracking->first_own;
        c->tracking->first_own = x;
        x->first_own = o;
    } else {
        x->last_own->next = o;
    }
    x->last_own = o;
}

static void tell_own(struct core *c)
{
    for (struct tracker **at = &c->tracking->first_own; *at;) {
        struct tracker *x = *at;
        if (x->client->flags & CLIENT_EXEC) {
            at = &x->next_own;
            continue;
        }
        *at = x->next_own;
        struct own_change *o = x->first_own;
        x->first_own = x->last_own = NULL;
        for (struct own_change *next; o; o = next) {
            next = o->next;
            send_text(c, x, o->text);
            block_release(o->text);
            mi_free(o);
        }
    }
}

// --- all keys ------------------------------------------------------------------------------------

// `by`: the client that made it so, 0: none.
static void send_all(struct core *c, uint64_t by)
{
    for (struct tracker *x = c->tracking->first, *next; x; x = next) {
        next = x->next_other;
        if (x->client->id == by)
            add_own(c, x, NULL);
        else
            send_text(c, x, NULL);
    }
}

static void news_all(struct core *c, struct message *m)
{
    send_all(c, m->session.client_id);
    tell_own(c);
}

// Word to clients of that core is lost: they forget all.
static void lose(struct core *c, unsigned core)
{
    atomic_store_explicit(&c->server->cores[core]->tracking->lost, true, memory_order_relaxed);
}

static void tell_emptied(struct core *c, uint64_t by)
{
    const struct session session = {.client_id = by};
    for (unsigned core = 0; core < c->server->n_cores; core++)
        if (core != c->index && !mailbox_tell(c, core, &session, 0, NULL, news_all))
            lose(c, core);
    send_all(c, by);
}

// --- single keys ---------------------------------------------------------------------------------

static void tell_reader(struct core *c, uint64_t id, uint64_t by, struct block *text)
{
    struct tracker *x = tracker_of(c->tracking, id);
    if (!x || !(x->flags & TRACKING_ON) || x->flags & TRACKING_BCAST ||
        (x->flags & TRACKING_NOLOOP && id == by))
        return;
    if (id == by)
        add_own(c, x, text);
    else
        send_text(c, x, text);
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
        lose(c, c->index);
    block_release(all);
    outbuf_clear(&text);
}

static void news_changed(struct core *c, struct message *m)
{
    tell_readers(c, m->argv[1].ptr, m->argv[1].len / sizeof(uint64_t), m->session.client_id,
                 &m->argv[0]);
    tell_own(c);
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
            lose(c, core);
    }
}

// Also while a command runs: clients hear of it behind that (client_tell).
static void tell_noted(struct core *c)
{
    struct tracking *t = c->tracking;
    while (t->changed_first) {
        struct tracked_key *k = t->changed_first;
        t->changed_first = k->next;
        if (!t->changed_first)
            t->changed_last = NULL;
        if (k->len == UINT32_MAX)
            tell_emptied(c, k->by);
        else
            tell_key(c, k);
        tracked_key_free(k);
    }
    for (; t->emptied; t->emptied--)
        tell_emptied(c, 0);
}

void tracking_tell_changed(struct core *c)
{
    if (c->executing)
        return;
    tell_noted(c);
    tell_own(c);
    c->tracking_due &= ~TRACKING_KEYS;
    core_observe(c);
}

// Something is to be told.
static void due(struct core *c, enum tracking_due what)
{
    c->tracking_due |= what;
    c->observed = true; // until it was
}

void tracking_executed(struct core *c, struct client *client)
{
    if (client->tracker->first_own)
        due(c, TRACKING_KEYS);
}

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
    due(c, TRACKING_KEYS);
}

static void take_out(struct core *c, struct tracked_slot *s, struct tracked_key *k, uint64_t by)
{
    tracked_take(s, k);
    add_to(&c->tracking->keys, -1);
    add_to(&c->tracking->items, -(int64_t)k->n);
    k->by = by;
    note(c, k);
}

// For each of the cores: its clients want to hear of the key.
static void mention(struct core *c, uint64_t cores, const struct key *key, uint64_t by)
{
    struct tracking *t = c->tracking;
    due(c, TRACKING_PREFIXES);
    for (t->cores_to_tell |= cores; cores; cores &= cores - 1) {
        struct tracking_word *w = &t->word[__builtin_ctzll(cores)];
        size_t need = sizeof(by) + sizeof(key->len) + key->len;
        if (w->room - w->len < need) {
            size_t room = 2 * w->room + need;
            uint8_t *bytes = mi_realloc(w->bytes, room);
            if (!bytes) {
                lose(c, (unsigned)__builtin_ctzll(cores));
                continue;
            }
            w->bytes = bytes;
            w->room = room;
        }
        uint8_t *to = w->bytes + w->len;
        memcpy(to, &by, sizeof(by));
        memcpy(to + sizeof(by), &key->len, sizeof(key->len));
        memcpy(to + sizeof(by) + sizeof(key->len), key->ptr, key->len);
        w->len += need;
    }
}

void tracking_changed(struct core *c, uint64_t by, uint64_t at_work, const struct key *key)
{
    uint64_t cores =
        c->tracking->prefixes.n ? prefixes_cores(&c->tracking->prefixes, key->ptr, key->len) : 0;
    if (cores)
        mention(c, cores, key, by);
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
        add_to(&c->tracking->keys, -1);
        add_to(&c->tracking->items, -(int64_t)k->n);
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
        due(c, TRACKING_KEYS);
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
    enum tracked_added added =
        k ? tracked_add(k, reader_of(session->client_id, session->home)) : TRACKED_NO_MEMORY;
    if (added == TRACKED_NO_MEMORY)
        lose(c, session->home);
    if (s && s->n != before)
        add_to(&t->keys, (int64_t)s->n - before);
    if (added == TRACKED_ADDED)
        add_to(&t->items, 1);
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
        lose(c, session->home);
    if (positions != few)
        mi_free(positions);
}

// --- prefixes, once a turn -----------------------------------------------------------------------

// What clients of the prefix are told, less what `but` changed last. NULL: nothing.
static struct block *names(const struct prefix *x, uint64_t but, bool *failed)
{
    size_t n = 0;
    for (size_t i = 0; i < x->n_mentions; i++)
        n += !but || x->mentions[i].by != but;
    if (!n)
        return NULL;
    struct outbuf text;
    outbuf_init(&text);
    reply_array(&text.out, (int64_t)n);
    for (size_t i = 0; i < x->n_mentions; i++)
        if (!but || x->mentions[i].by != but)
            reply_bulk(&text.out, x->mentions[i].key, x->mentions[i].len);
    struct block *all = text.out.failed ? NULL : outbuf_block(&text);
    *failed |= !all;
    outbuf_clear(&text);
    return all;
}

static void tell_prefix(struct core *c, struct prefix *x)
{
    bool failed = false;
    struct block *all = names(x, 0, &failed);
    for (struct prefix_client *m = x->first, *next; m && !failed; m = next) {
        next = m->next;
        struct client *client = m->client;
        struct tracker *tracker = client->tracker;
        if (!(tracker->flags & TRACKING_NOLOOP)) {
            send(c, tracker, all->data, all->len);
            continue;
        }
        struct block *less = names(x, client->id, &failed);
        if (less)
            send(c, tracker, less->data, less->len);
        block_release(less);
    }
    block_release(all);
    if (failed)
        lose(c, c->index);
}

// `before`: of this core's own word, what it had for itself; UINT64_MAX: that of another core, by
// which time all its clients wanted what they want now.
static void tell_prefixes(struct core *c, const uint8_t *word, size_t len, uint64_t before)
{
    struct prefix *first = NULL;
    for (const uint8_t *at = word; at < word + len;) {
        struct mention m = {.at = before == UINT64_MAX ? before : before + (uint64_t)(at - word)};
        memcpy(&m.by, at, sizeof(m.by));
        memcpy(&m.len, at + sizeof(m.by), sizeof(m.len));
        m.key = at + sizeof(m.by) + sizeof(m.len);
        at = m.key + m.len;
        if (!prefixes_mention(&c->tracking->prefixes, &m, &first))
            lose(c, c->index);
    }
    struct prefix *next;
    for (struct prefix *x = prefixes_sort(first); x; x = next) {
        next = x->next_mentioned;
        tell_prefix(c, x);
        prefix_forget_mentions(x);
    }
}

static void news_mentioned(struct core *c, struct message *m)
{
    tell_prefixes(c, m->argv[0].ptr, m->argv[0].len, UINT64_MAX);
}

void tracking_turn(struct core *c)
{
    struct tracking *t = c->tracking;
    tracking_tell(c);
    for (; t->cores_to_tell; t->cores_to_tell &= t->cores_to_tell - 1) {
        unsigned core = (unsigned)__builtin_ctzll(t->cores_to_tell);
        struct tracking_word w = t->word[core];
        t->word[core] = (struct tracking_word){0};
        struct session none = {0};
        struct arg arg = {.ptr = w.bytes, .len = w.len};
        if (core == c->index) {
            tell_prefixes(c, w.bytes, w.len, t->mentioned);
            t->mentioned += w.len;
        } else if (!mailbox_tell(c, core, &none, 1, &arg, news_mentioned)) {
            lose(c, core);
        }
        mi_free(w.bytes);
    }
    c->tracking_due &= ~TRACKING_PREFIXES;
    core_observe(c);
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
        send_all(c, 0);
    }
    look_at_limit(c);
    drop_idle(c);
}
