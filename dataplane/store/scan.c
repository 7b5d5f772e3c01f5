// Walking over keys: SCAN, KEYS, RANDOMKEY. A SCAN cursor is the ordinal of a slot in the order of
// the directory (core by core), and a position on that slot's line of hashes. Tables keep their
// order when they are resized, so a cursor divides the keys into those given and those to come at
// any time.
#include <assert.h>

#include "dataplane/store/internal.h"

enum {
    SCAN_BUCKETS_PER_KEY = 10, // buckets looked at for each key asked for, at most
    SCAN_BUCKETS_MORE = 64,
    RANDOM_TRIES = 256,  // keys drawn that have expired
    RANDOM_PLACES = 128, // places drawn in a slot; one in eight is taken where fewest are
};

static uint64_t cursor_make(const struct keyspace *ks, unsigned core, uint32_t index,
                            uint32_t position)
{
    return ((uint64_t)core * ks->per_core + index) << 32 | position;
}

unsigned store_cursor_core(const struct keyspace *ks, uint64_t cursor)
{
    uint64_t core = (cursor >> 32) / ks->per_core;
    return core < ks->cores ? (unsigned)core : ks->cores - 1;
}

// The first own slot from `index` on that has keys or is lent (then nobody here knows);
// slots_owned() at the end.
static uint32_t next_slot(const struct store *s, unsigned db, uint32_t index)
{
    const struct keyspace *ks = s->ks;
    const uint32_t *groups = s->groups + (size_t)db * groups_per_core(ks);
    const struct slot *slots = slot_own(s, db * ks->per_core);
    uint32_t n = slots_owned(s);
    while (index < n) {
        if (!groups[index / GROUP_SLOTS] && !s->lent_slots) {
            index = (index / GROUP_SLOTS + 1) * GROUP_SLOTS;
            continue;
        }
        if (slot_is_lent(s, index) || slots[index].keys)
            return index;
        index++;
    }
    return n;
}

uint64_t store_scan(struct store *s, unsigned db, uint64_t cursor, unsigned long count,
                    store_each_fn *each, void *context)
{
    const struct keyspace *ks = s->ks;
    uint64_t ordinal = cursor >> 32;
    if (ordinal >= (uint64_t)ks->per_core * ks->cores)
        return 0;
    uint32_t index = 0, position = 0;
    if (ordinal / ks->per_core == s->core) {
        index = (uint32_t)(ordinal % ks->per_core);
        position = (uint32_t)cursor;
    }
    if (!count)
        count = 1;
    uint64_t work =
        count < UINT32_MAX ? count * SCAN_BUCKETS_PER_KEY + SCAN_BUCKETS_MORE : UINT64_MAX;
    unsigned long given = 0;
    for (uint32_t n = slots_owned(s);; index++, position = 0) {
        uint32_t found = next_slot(s, db, index);
        if (found != index)
            position = 0;
        index = found;
        if (index == n)
            break;
        // What a borrower may be changing is not read: the caller comes back to it.
        if (slot_is_lent(s, index))
            return cursor_make(ks, s->core, index, position);
        const struct slot *slot = slot_own(s, db * ks->per_core + index);
        uint64_t at = position;
        while (at >> 32 == 0) {
            if (given >= count || !work)
                return cursor_make(ks, s->core, index, (uint32_t)at);
            work--;
            uint64_t start, end;
            uint64_t *bucket = table_walk(slot, (uint32_t)at, &start, &end);
            unsigned held = bucket_count(bucket);
            for (unsigned i = 0; i < held; i++) {
                struct entry *e = word_entry(*bucket_word(bucket, i));
                if (at > start) { // the bucket begins before the cursor
                    size_t len;
                    const uint8_t *key = entry_key(e, &len);
                    if (hash_position(hash_key(&ks->secret, key, len)) < at)
                        continue;
                }
                if (entry_is_expired(s, e))
                    continue;
                each(context, e);
                given++;
            }
            at = end;
        }
    }
    return s->core + 1 < ks->cores ? cursor_make(ks, s->core + 1, 0, 0) : 0;
}

void store_each(struct store *s, unsigned db, store_each_fn *each, void *context)
{
    uint32_t n = slots_owned(s);
    for (uint32_t index = 0; (index = next_slot(s, db, index)) < n; index++) {
        const struct slot *slot = slot_own(s, db * s->ks->per_core + index);
        if (!slot->keys)
            continue;
        uint64_t start, end;
        for (uint64_t at = 0; at >> 32 == 0; at = end) {
            uint64_t *bucket = table_walk(slot, (uint32_t)at, &start, &end);
            unsigned held = bucket_count(bucket);
            for (unsigned i = 0; i < held; i++) {
                struct entry *e = word_entry(*bucket_word(bucket, i));
                if (!entry_is_expired(s, e))
                    each(context, e);
            }
        }
    }
}

uint32_t slot_random(struct store *s, unsigned db)
{
    const struct keyspace *ks = s->ks;
    if (!s->owned[db])
        return UINT32_MAX;
    uint64_t r = store_random_below(s, s->owned[db]);
    const uint32_t *groups = s->groups + (size_t)db * groups_per_core(ks);
    uint32_t group = 0;
    while (r >= groups[group])
        r -= groups[group++];
    uint32_t index = group * GROUP_SLOTS;
    const struct slot *slots = slot_own(s, db * ks->per_core);
    for (;; index++) {
        assert(index < slots_owned(s));
        if (slot_is_lent(s, index))
            continue;
        if (r < slots[index].keys)
            return db * ks->per_core + index;
        r -= slots[index].keys;
    }
}

static void key_of_entry(const struct store *s, const struct entry *e, uint32_t id, struct key *key)
{
    size_t len;
    key->ptr = entry_key(e, &len);
    key->len = (uint32_t)len;
    key->slot = (uint16_t)slot_number(s, id);
    key->hash = hash_key(&s->ks->secret, key->ptr, len);
}

// A random entry of a slot. An empty place is drawn as often as a taken one, so that keys in fuller
// buckets are not rarer than others. NULL: unlucky.
static struct entry *random_entry(struct store *s, const struct slot *slot)
{
    for (unsigned try = 0; try < RANDOM_PLACES; try++) {
        uint64_t *bucket = table_locate(slot, (uint32_t)store_random(s));
        unsigned held = bucket_count(bucket);
        unsigned place = (unsigned)store_random_below(s, held > BUCKET_WORDS ? held : BUCKET_WORDS);
        if (place < held)
            return word_entry(*bucket_word(bucket, place));
    }
    return NULL;
}

bool store_random_key(struct store *s, unsigned db, struct key *key)
{
    for (unsigned try = 0; try < RANDOM_TRIES; try++) {
        uint32_t id = slot_random(s, db);
        if (id == UINT32_MAX)
            return false;
        struct entry *e = random_entry(s, slot_own(s, id));
        if (!e)
            continue;
        key_of_entry(s, e, id, key);
        if (!entry_is_expired(s, e))
            return true;
        store_find(s, db, key, LOOKUP_NO_TOUCH | LOOKUP_NO_STATS); // deletes it
    }
    // So unlucky, or all have expired: the next live one that a walk from a random place finds.
    uint32_t id = slot_random(s, db);
    if (id == UINT32_MAX)
        return false;
    struct slot *slot = slot_own(s, id);
    uint64_t start, end, begin = (uint32_t)store_random(s);
    bool around = false;
    for (uint64_t at = begin; !around || at <= begin; at = end) {
        uint64_t *bucket = table_walk(slot, (uint32_t)at, &start, &end);
        unsigned held = bucket_count(bucket);
        for (unsigned i = 0; i < held; i++) {
            struct entry *e = word_entry(*bucket_word(bucket, i));
            if (entry_is_expired(s, e))
                continue;
            key_of_entry(s, e, id, key);
            return true;
        }
        if (end >> 32 && !around) {
            around = true;
            end = 0;
        }
    }
    return false;
}
