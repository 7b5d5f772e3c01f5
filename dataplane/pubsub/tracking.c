// Tables of client-side caching. See tracking.h.
#include "dataplane/pubsub/tracking.h"

#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_FIRST 8
#define LENGTHS_FIRST 4
#define MENTIONS_FIRST 8
// Readers up to so many are looked through one by one.
#define READERS_LISTED 8

// --- keys ----------------------------------------------------------------------------------------

static struct tracked_key **bucket_of(const struct tracked_slot *s, uint64_t hash)
{
    return &s->buckets[(hash ^ hash >> 32) & (s->n_buckets - 1)];
}

struct tracked_key *tracked_find(const struct tracked_slot *s, const void *key, size_t len,
                                 uint64_t hash)
{
    if (!s || !s->n)
        return NULL;
    struct tracked_key *k = *bucket_of(s, hash);
    while (k && !(k->hash == hash && k->len == len && memcmp(k->bytes, key, len) == 0))
        k = k->next;
    return k;
}

static bool grow(struct tracked_slot *s)
{
    unsigned n = s->n_buckets ? 2 * s->n_buckets : BUCKETS_FIRST, before = s->n_buckets;
    struct tracked_key **buckets = mi_calloc(n, sizeof(struct tracked_key *)), **old = s->buckets;
    if (!buckets)
        return s->n_buckets; // longer chains do no harm
    s->buckets = buckets;
    s->n_buckets = n;
    for (unsigned i = 0; i < before; i++)
        for (struct tracked_key *k = old[i], *next; k; k = next) {
            next = k->next;
            k->next = *bucket_of(s, k->hash);
            *bucket_of(s, k->hash) = k;
        }
    mi_free(old);
    return true;
}

struct tracked_key *tracked_key(struct tracked_slot *s, const void *key, size_t len, uint64_t hash)
{
    struct tracked_key *k = tracked_find(s, key, len, hash);
    if (k || (s->n >= s->n_buckets && !grow(s)))
        return k;
    k = mi_malloc(sizeof(*k) + len);
    if (!k)
        return NULL;
    *k = (struct tracked_key){.hash = hash, .room = 1, .len = (uint32_t)len};
    memcpy(k->bytes, key, len);
    k->readers = &k->one;
    k->next = *bucket_of(s, hash);
    *bucket_of(s, hash) = k;
    s->n++;
    return k;
}

// The place of a reader, or the free one where it belongs. There is always a free one above
// READERS_LISTED places. NULL: neither.
static uint64_t *place_of(uint64_t *readers, uint32_t room, uint64_t reader)
{
    if (room <= READERS_LISTED) {
        for (uint32_t i = 0; i < room; i++)
            if (!readers[i] || readers[i] == reader)
                return &readers[i];
        return NULL;
    }
    uint64_t i = reader * 0x9e3779b97f4a7c15u >> 32;
    while (readers[i & (room - 1)] && readers[i & (room - 1)] != reader)
        i++;
    return &readers[i & (room - 1)];
}

static bool more_readers(struct tracked_key *k)
{
    uint32_t room = 2 * k->room;
    uint64_t *readers = mi_calloc(room, sizeof(*readers));
    if (!readers)
        return false;
    for (uint32_t i = 0; i < k->room; i++)
        if (k->readers[i])
            *place_of(readers, room, k->readers[i]) = k->readers[i];
    if (k->readers != &k->one)
        mi_free(k->readers);
    k->readers = readers;
    k->room = room;
    return true;
}

enum tracked_added tracked_add(struct tracked_key *k, uint64_t reader)
{
    uint64_t *at = place_of(k->readers, k->room, reader);
    if (at && *at == reader)
        return TRACKED_KNOWN;
    // A table of more than a few places is three quarters full at most.
    if (!at || (k->room > READERS_LISTED && k->n >= k->room / 4 * 3)) {
        if (!more_readers(k))
            return TRACKED_NO_MEMORY;
        at = place_of(k->readers, k->room, reader);
    }
    *at = reader;
    k->n++;
    return TRACKED_ADDED;
}

void tracked_take(struct tracked_slot *s, struct tracked_key *k)
{
    struct tracked_key **at = bucket_of(s, k->hash);
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    k->next = NULL;
    s->n--;
}

struct tracked_key *tracked_any(const struct tracked_slot *s, uint64_t random)
{
    for (unsigned i = 0; i < s->n_buckets; i++) {
        struct tracked_key *k = s->buckets[(random + i) & (s->n_buckets - 1)];
        if (k)
            return k;
    }
    return NULL;
}

void tracked_key_free(struct tracked_key *k)
{
    if (k->readers != &k->one)
        mi_free(k->readers);
    mi_free(k);
}

void tracked_slot_free(struct tracked_slot *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->n_buckets; i++)
        for (struct tracked_key *k = s->buckets[i], *next; k; k = next) {
            next = k->next;
            tracked_key_free(k);
        }
    mi_free(s->buckets);
    mi_free(s);
}

// --- prefixes ------------------------------------------------------------------------------------

int bytes_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order ? order : a_len < b_len ? -1 : a_len > b_len;
}

static uint64_t mixed(const struct prefixes *p, const void *text, size_t len)
{
    const uint8_t *at = text;
    uint64_t hash = p->seed ^ len;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ at[i]) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
    return hash;
}

void prefixes_init(struct prefixes *p, unsigned n_cores, uint64_t seed)
{
    *p = (struct prefixes){.n_cores = n_cores, .seed = seed};
}

static void prefix_free(struct prefix *x)
{
    mi_free(x->mentions);
    mi_free(x->counts);
    mi_free(x);
}

void prefixes_clear(struct prefixes *p)
{
    for (unsigned i = 0; i < p->n_buckets; i++)
        for (struct prefix *x = p->buckets[i], *next; x; x = next) {
            next = x->next;
            prefix_free(x);
        }
    mi_free(p->buckets);
    mi_free(p->lengths);
    prefixes_init(p, p->n_cores, p->seed);
}

static struct prefix **prefix_bucket(const struct prefixes *p, uint64_t hash)
{
    return &p->buckets[(hash ^ hash >> 32) & (p->n_buckets - 1)];
}

static struct prefix *find(const struct prefixes *p, const void *text, size_t len, uint64_t hash)
{
    struct prefix *x = p->n ? *prefix_bucket(p, hash) : NULL;
    while (x && !(x->hash == hash && x->len == len && memcmp(x->bytes, text, len) == 0))
        x = x->next;
    return x;
}

struct prefix *prefix_find(const struct prefixes *p, const void *text, size_t len)
{
    return find(p, text, len, mixed(p, text, len));
}

static bool grow_prefixes(struct prefixes *p)
{
    unsigned n = p->n_buckets ? 2 * p->n_buckets : BUCKETS_FIRST, before = p->n_buckets;
    struct prefix **buckets = mi_calloc(n, sizeof(struct prefix *)), **old = p->buckets;
    if (!buckets)
        return p->n_buckets;
    p->buckets = buckets;
    p->n_buckets = n;
    for (unsigned i = 0; i < before; i++)
        for (struct prefix *x = old[i], *next; x; x = next) {
            next = x->next;
            x->next = *prefix_bucket(p, x->hash);
            *prefix_bucket(p, x->hash) = x;
        }
    mi_free(old);
    return true;
}

static bool add_length(struct prefixes *p, uint32_t len)
{
    for (unsigned i = 0; i < p->n_lengths; i++)
        if (p->lengths[i].len == len) {
            p->lengths[i].n++;
            return true;
        }
    if (p->n_lengths == p->lengths_room) {
        unsigned room = p->lengths_room ? 2 * p->lengths_room : LENGTHS_FIRST;
        struct prefix_length *lengths = mi_reallocn(p->lengths, room, sizeof(*lengths));
        if (!lengths)
            return false;
        p->lengths = lengths;
        p->lengths_room = room;
    }
    p->lengths[p->n_lengths++] = (struct prefix_length){.len = len, .n = 1};
    return true;
}

static void drop_length(struct prefixes *p, uint32_t len)
{
    for (unsigned i = 0; i < p->n_lengths; i++)
        if (p->lengths[i].len == len) {
            if (!--p->lengths[i].n)
                p->lengths[i] = p->lengths[--p->n_lengths];
            return;
        }
}

static struct prefix *prefix_new(struct prefixes *p, const void *text, size_t len, uint64_t hash)
{
    if (p->n >= p->n_buckets && !grow_prefixes(p))
        return NULL;
    struct prefix *x = mi_malloc(sizeof(*x) + len);
    int32_t *counts = mi_calloc(p->n_cores, sizeof(*counts));
    if (!x || !counts || !add_length(p, (uint32_t)len)) {
        mi_free(x);
        mi_free(counts);
        return NULL;
    }
    *x = (struct prefix){.hash = hash, .counts = counts, .len = (uint32_t)len};
    memcpy(x->bytes, text, len);
    x->next = *prefix_bucket(p, hash);
    *prefix_bucket(p, hash) = x;
    p->n++;
    return x;
}

bool prefix_count(struct prefixes *p, const void *text, size_t len, unsigned core, int delta)
{
    uint64_t hash = mixed(p, text, len);
    struct prefix *x = find(p, text, len, hash);
    if (!x && !(x = prefix_new(p, text, len, hash)))
        return false;
    x->counts[core] += delta;
    if (x->counts[core] > 0)
        x->cores |= 1ull << core;
    else
        x->cores &= ~(1ull << core);
    for (unsigned i = 0; i < p->n_cores; i++)
        if (x->counts[i])
            return true;
    struct prefix **at = prefix_bucket(p, hash);
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    drop_length(p, x->len);
    p->n--;
    prefix_free(x);
    return true;
}

void prefix_join(struct prefix *x, struct prefix_client *m, uint64_t now)
{
    if (!x->first)
        x->since = now;
    m->prefix = x;
    m->next = NULL;
    m->prev = x->last;
    if (x->last)
        x->last->next = m;
    else
        x->first = m;
    x->last = m;
}

void prefix_leave(struct prefix_client *m)
{
    struct prefix *x = m->prefix;
    if (m->prev)
        m->prev->next = m->next;
    else
        x->first = m->next;
    if (m->next)
        m->next->prev = m->prev;
    else
        x->last = m->prev;
    m->prefix = NULL;
}

uint64_t prefixes_cores(const struct prefixes *p, const void *key, size_t len)
{
    uint64_t cores = 0;
    for (unsigned i = 0; i < p->n_lengths; i++) {
        const struct prefix *x =
            p->lengths[i].len <= len ? prefix_find(p, key, p->lengths[i].len) : NULL;
        cores |= x ? x->cores : 0;
    }
    return cores;
}

bool prefixes_mention(struct prefixes *p, const struct mention *m, struct prefix **first)
{
    for (unsigned i = 0; i < p->n_lengths; i++) {
        struct prefix *x =
            p->lengths[i].len <= m->len ? prefix_find(p, m->key, p->lengths[i].len) : NULL;
        if (!x || !x->first || m->at < x->since)
            continue;
        if (x->n_mentions == x->mentions_room) {
            size_t room = x->mentions_room ? 2 * x->mentions_room : MENTIONS_FIRST;
            struct mention *mentions = mi_reallocn(x->mentions, room, sizeof(*mentions));
            if (!mentions)
                return false;
            x->mentions = mentions;
            x->mentions_room = room;
        }
        if (!x->n_mentions) {
            x->next_mentioned = *first;
            *first = x;
        }
        x->mentions[x->n_mentions++] = *m;
    }
    return true;
}

// Those of one key in the order in which they came: they lie so in memory, key bytes included.
static int by_key(const void *a, const void *b)
{
    const struct mention *x = a, *y = b;
    int order = bytes_compare(x->key, x->len, y->key, y->len);
    return order ? order : x->key < y->key ? -1 : x->key > y->key;
}

// Of two that changed a key neither knows what became of it.
static uint64_t by_both(uint64_t before, uint64_t after)
{
    if (before == MENTION_BY_SEVERAL || (before && after && before != after))
        return MENTION_BY_SEVERAL;
    return after;
}

static void sort_mentions(struct prefix *x)
{
    qsort(x->mentions, x->n_mentions, sizeof(*x->mentions), by_key);
    size_t n = 0;
    for (size_t i = 0; i < x->n_mentions; i++) {
        const struct mention m = x->mentions[i];
        struct mention *last = n ? &x->mentions[n - 1] : NULL;
        if (last && bytes_compare(last->key, last->len, m.key, m.len) == 0)
            last->by = by_both(last->by, m.by);
        else
            x->mentions[n++] = m;
    }
    x->n_mentions = n;
}

static struct prefix *merge(struct prefix *a, struct prefix *b)
{
    struct prefix *first = NULL, **at = &first;
    while (a && b) {
        struct prefix **less = bytes_compare(a->bytes, a->len, b->bytes, b->len) < 0 ? &a : &b;
        *at = *less;
        at = &(*at)->next_mentioned;
        *less = *at;
    }
    *at = a ? a : b;
    return first;
}

struct prefix *prefixes_sort(struct prefix *first)
{
    // Runs of doubling length, from the bottom up.
    struct prefix *runs[64] = {NULL};
    unsigned top = 0;
    while (first) {
        struct prefix *one = first;
        first = one->next_mentioned;
        one->next_mentioned = NULL;
        sort_mentions(one);
        unsigned i = 0;
        for (; runs[i]; i++) {
            one = merge(runs[i], one);
            runs[i] = NULL;
        }
        runs[i] = one;
        top = i > top ? i : top;
    }
    for (unsigned i = 0; i <= top; i++)
        first = merge(runs[i], first);
    return first;
}

void prefix_forget_mentions(struct prefix *x)
{
    mi_free(x->mentions);
    x->mentions = NULL;
    x->n_mentions = x->mentions_room = 0;
    x->next_mentioned = NULL;
}
