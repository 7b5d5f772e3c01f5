// Eviction: while the process is over maxmemory, the core that wants to write (or has time) looks
// at a few of its own keys and deletes the one that the policy likes least. Keys lie in buckets by
// their hash, so the entries of neighbouring buckets of a random slot are a random sample.
//
// Which core evicts: every core evicts from its own slots. One that has nothing to evict may go on
// writing a little over the limit while others have, since those see the same sum and evict.
#include "common/prefetch.h"
#include "dataplane/store/internal.h"

enum {
    EVICT_PER_CALL = 64,  // keys deleted to let one command through
    FREED_PER_CALL = 256, // entries of flushed tables freed before keys are
    SAMPLE_TRIES = 4,     // buckets or elements looked at for each sample wanted
    OVERSHOOT_SHARE = 64, // of maxmemory, that a core without candidates may add
    OVERSHOOT_BYTES = 1 << 20,
};

static uint64_t memory_now(const struct store *s)
{
    int64_t own = atomic_load_explicit(&s->ks->counters[s->core].bytes, memory_order_relaxed);
    return s->bytes_elsewhere + (uint64_t)own;
}

bool store_memory_over(const struct store *s)
{
    return s->options.maxmemory && (int64_t)memory_now(s) > 0 &&
           memory_now(s) > s->options.maxmemory;
}

static bool policy_is_volatile(enum eviction_policy policy)
{
    return policy >= EVICT_VOLATILE_LRU;
}

// How gladly an entry is seen to go.
static uint64_t score_of(const struct store *s, const struct entry *e)
{
    switch (s->options.policy) {
    case EVICT_ALLKEYS_LRU:
    case EVICT_VOLATILE_LRU:
        return entry_idle_ms(s, e);
    case EVICT_ALLKEYS_LFU:
    case EVICT_VOLATILE_LFU:
        return 255 - entry_frequency(s, e);
    case EVICT_VOLATILE_TTL:
        return UINT64_MAX - (uint64_t)entry_expiry(e);
    default:
        return 0;
    }
}

// Puts a sampled key into the pool, sorted by score, if it is better than what a full pool has.
static void consider(struct store *s, uint32_t id, const struct entry *e, uint64_t hash)
{
    struct candidate c = {.id = id, .hash = hash, .score = score_of(s, e)};
    for (unsigned i = 0; i < s->pool_len; i++)
        if (s->pool[i].hash == hash && s->pool[i].id == id)
            return;
    unsigned at = 0;
    while (at < s->pool_len && s->pool[at].score < c.score)
        at++;
    if (s->pool_len < EVICTION_POOL) {
        memmove(&s->pool[at + 1], &s->pool[at], (s->pool_len - at) * sizeof(c));
        s->pool[at] = c;
        s->pool_len++;
    } else if (at) { // the worst one drops out
        memmove(&s->pool[0], &s->pool[1], (at - 1) * sizeof(c));
        s->pool[at - 1] = c;
    }
}

static uint64_t entry_hash(const struct store *s, const struct entry *e)
{
    struct entry_parts parts = entry_parts(e);
    return hash_key(&s->ks->secret, parts.key, parts.key_len);
}

// A random slot of any database, by keys.
static uint32_t any_slot(struct store *s)
{
    uint64_t total = 0;
    for (unsigned db = 0; db < s->databases_seen; db++)
        total += s->owned[db];
    if (!total)
        return UINT32_MAX;
    uint64_t r = store_random_below(s, total);
    unsigned db = 0;
    while (r >= s->owned[db])
        r -= s->owned[db++];
    return slot_random(s, db);
}

// Where keys came or went in the order of their hashes, most buckets of a slot are empty: takes the
// first that is not, from a random place on, or from where the last such walk ended.
static void sample_next(struct store *s)
{
    uint32_t id = any_slot(s);
    if (id == UINT32_MAX)
        return;
    const struct slot *slot = slot_own(s, id);
    uint64_t start, end, at = s->crowd_id == id ? s->crowd_at : (uint32_t)store_random(s);
    uint64_t *bucket;
    while (!bucket_count(bucket = table_walk(slot, (uint32_t)at, &start, &end)))
        at = end >> 32 ? 0 : end;
    s->crowd_id = id;
    s->crowd_at = (uint32_t)at;
    const struct entry *e = word_entry(*bucket_word(bucket, 0));
    consider(s, id, e, entry_hash(s, e));
}

static void sample_all(struct store *s)
{
    unsigned wanted = s->options.samples;
    for (unsigned tries = wanted * SAMPLE_TRIES; wanted && tries;) {
        uint32_t id = any_slot(s);
        if (id == UINT32_MAX)
            return;
        const struct slot *slot = slot_own(s, id);
        uint64_t start, end;
        for (uint64_t at = (uint32_t)store_random(s); wanted && tries && at >> 32 == 0; at = end) {
            uint64_t *bucket = table_walk(slot, (uint32_t)at, &start, &end);
            unsigned held = bucket_count(bucket);
            for (unsigned i = 0; i < held; i++)
                prefetch(word_entry(*bucket_word(bucket, i)));
            for (unsigned i = 0; i < held && wanted; i++, wanted--) {
                const struct entry *e = word_entry(*bucket_word(bucket, i));
                consider(s, id, e, entry_hash(s, e));
            }
            tries--;
        }
    }
    if (wanted == s->options.samples)
        sample_next(s);
}

static void sample_volatile(struct store *s)
{
    unsigned wanted = s->options.samples;
    for (unsigned tries = wanted * SAMPLE_TRIES; wanted && tries && s->queue_len; tries--) {
        uint32_t id = (uint32_t)s->queue[store_random_below(s, s->queue_len)];
        const struct slot *slot = slot_own(s, id);
        const struct slot_ext *ext = slot->ext;
        uint32_t position = due_at(ext, (uint32_t)store_random_below(s, ext->due_count))->position;
        uint64_t *bucket = table_locate(slot, position);
        unsigned held = bucket_count(bucket);
        for (unsigned i = 0; i < held; i++) {
            const struct entry *e = word_entry(*bucket_word(bucket, i));
            if (!entry_has_expiry(e))
                continue;
            uint64_t hash = entry_hash(s, e);
            if (hash_position(hash) != position)
                continue;
            consider(s, id, e, hash);
            wanted--;
            break;
        }
    }
}

// The word of a candidate that is still there, ours, and no better to keep than it was.
static uint64_t *candidate_word(const struct store *s, const struct candidate *c)
{
    const struct slot *slot = slot_own(s, c->id);
    if (slot_is_lent(s, c->id % s->ks->per_core) || !slot->keys)
        return NULL;
    uint64_t *bucket = table_locate(slot, hash_position(c->hash));
    unsigned held = bucket_count(bucket);
    for (unsigned i = 0; i < held; i++) {
        uint64_t *word = bucket_word(bucket, i);
        const struct entry *e = word_entry(*word);
        if (*word >> 48 != hash_tag(c->hash) || entry_hash(s, e) != c->hash)
            continue;
        bool may_go = entry_has_expiry(e) || !policy_is_volatile(s->options.policy);
        return may_go && score_of(s, e) >= c->score ? word : NULL;
    }
    return NULL;
}

// One step: evicts a key, or learns that an element of the expiry index is stale. False: nothing to
// evict.
static bool evict_one(struct store *s)
{
    bool from_volatile = policy_is_volatile(s->options.policy);
    if (s->options.policy == EVICT_NONE)
        return false;
    bool first = s->options.policy == EVICT_VOLATILE_TTL && s->queue_len;
    if (first && expire_first(s, (uint32_t)s->queue[0], true))
        return true;
    // By time, this is for the case that fields of a hash are due before any key is.
    if (from_volatile)
        sample_volatile(s);
    else
        sample_all(s);
    while (s->pool_len) {
        struct candidate best = s->pool[--s->pool_len];
        uint64_t *word = candidate_word(s, &best);
        if (!word)
            continue;
        struct change c = change_begin(s, best.id / s->ks->per_core, slot_number(s, best.id));
        gone_tell(s, GONE_EVICTED, &c, best.hash, word_entry(*word), NULL);
        change_remove(s, &c, best.hash, word);
        change_end(s, &c);
        s->stats.evicted++;
        s->stats.dirty++;
        return true;
    }
    return from_volatile && !first && s->queue_len && expire_first(s, (uint32_t)s->queue[0], true);
}

// Whether another core could evict.
static bool others_can(const struct store *s)
{
    for (unsigned db = 0; db < atomic_load(&s->ks->used_end); db++) {
        if (!atomic_load_explicit(&s->ks->used[db], memory_order_relaxed))
            continue;
        if (policy_is_volatile(s->options.policy) ? keyspace_volatile_keys(s->ks, db)
                                                  : keyspace_keys(s->ks, db))
            return s->ks->cores > 1;
    }
    return false;
}

bool store_make_room(struct store *s)
{
    if (s->still || !store_memory_over(s))
        return true;
    unsigned freed = FREED_PER_CALL;
    garbage_step(s, &freed);
    unsigned evicted = 0;
    // What was put aside is on its way out: no key goes in its place.
    while (store_memory_over(s) && !s->garbage && !s->garbage_objects) {
        if (evicted == EVICT_PER_CALL)
            return true; // enough for one command; the next one and store_maintain go on
        if (!evict_one(s))
            break;
        evicted++;
    }
    if (!store_memory_over(s) || s->garbage || s->garbage_objects)
        return true;
    uint64_t over = memory_now(s) - s->options.maxmemory;
    return s->options.policy != EVICT_NONE && others_can(s) &&
           over <= s->options.maxmemory / OVERSHOOT_SHARE + OVERSHOOT_BYTES;
}

bool evict_step(struct store *s, unsigned *budget)
{
    // While something is on its way out, it will be less soon: no key goes in its place.
    while (!s->still && store_memory_over(s) && !s->garbage && !s->garbage_objects) {
        if (*budget <= s->options.samples)
            return s->options.policy != EVICT_NONE;
        *budget -= s->options.samples;
        if (!evict_one(s))
            return false;
    }
    return false;
}
