// What the tests of the store share: a keyspace with stores, short names for common steps, random
// numbers from a printed seed, and a walk that checks every count against what is really there.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka wants those first.
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/arg.h"
#include "dataplane/store/internal.h"
#include "dataplane/store/object.h"

#define EPOCH_MS INT64_C(1700000000000)
enum { TEST_CORES_MAX = 4 };

struct world {
    struct keyspace *ks;
    struct store *stores[TEST_CORES_MAX];
    unsigned cores;
};

static inline struct world world_open(unsigned cores, unsigned databases)
{
    struct world w = {.cores = cores};
    struct keyspace_config config = {
        .cores = cores, .databases = databases, .secret = "sixteen secrets", .epoch_ms = EPOCH_MS};
    w.ks = keyspace_create(&config);
    assert_non_null(w.ks);
    for (unsigned i = 0; i < cores; i++) {
        w.stores[i] = store_create(w.ks, i, 7 + i);
        assert_non_null(w.stores[i]);
    }
    return w;
}

static inline void world_close(struct world *w)
{
    for (unsigned i = 0; i < w->cores; i++)
        store_destroy(w->stores[i]);
    keyspace_destroy(w->ks);
}

static inline void world_time(struct world *w, uint64_t now_ms)
{
    for (unsigned i = 0; i < w->cores; i++)
        store_set_time(w->stores[i], now_ms);
}

// The store that owns a key's slot.
static inline struct store *store_for(struct world *w, const struct key *key)
{
    return w->stores[keyspace_core(w->ks, key->slot)];
}

static inline struct arg arg_of(const void *p, size_t len)
{
    return (struct arg){.ptr = p, .len = len};
}

static inline struct entry *put(struct store *s, unsigned db, const char *name, const void *value,
                                size_t len, int64_t expiry_ms, unsigned flags)
{
    struct key key = keyspace_key(store_keyspace(s), name, strlen(name));
    struct arg arg = arg_of(value, len);
    struct entry *at = store_find(s, db, &key, LOOKUP_WRITE);
    return store_set_string(s, db, &key, at, &arg, expiry_ms, flags);
}

static inline struct entry *put_text(struct store *s, const char *name, const char *value)
{
    return put(s, 0, name, value, strlen(value), -1, SET_INTEGER_TRY);
}

static inline struct entry *get(struct store *s, unsigned db, const char *name)
{
    struct key key = keyspace_key(store_keyspace(s), name, strlen(name));
    return store_find(s, db, &key, 0);
}

static inline void expect_text(const struct entry *e, const char *text)
{
    char scratch[24];
    assert_non_null(e);
    struct string_view view = entry_string(e, scratch);
    assert_int_equal(view.len, strlen(text));
    assert_memory_equal(view.ptr, text, view.len);
}

struct rng {
    uint64_t state;
};
static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
    return rng_next(r) % n;
}

// The seed of a run: SEED of the environment, or the given one. Printed, to run a failure again.
static inline uint64_t seed_of_run(uint64_t otherwise)
{
    const char *text = getenv("SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : otherwise;
    print_message("SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static inline size_t unsigned_usable(const void *p)
{
    return p ? mi_usable_size(p) : 0;
}

// Bytes of all allocations that hang from a slot, asked of the allocator one by one; every
// invariant of the table on the way.
static inline uint64_t table_check(const struct world *w, const struct hash_secret *secret,
                                   const struct slot *slot)
{
    if (!slot->keys) {
        assert_true(slot->root == 0 && slot->bytes == 0 && !slot->ext);
        return 0;
    }
    uint64_t bytes = 0, keys = 0, volatile_keys = 0, field_keys = 0;
    uint64_t **units = (uint64_t **)(slot->root & ~(uintptr_t)ROOT_FLAGS);
    uint32_t n = slot->buckets;
    if (slot->root & ROOT_RESIZING && slot->ext->old_buckets > n)
        n = slot->ext->old_buckets;
    bytes += mi_usable_size(units);
    if (slot->root & ROOT_SEGMENTED) {
        bytes += mi_usable_size(units[0]);
        for (uint32_t i = TABLE_SINGLE_MAX / TABLE_UNIT; i * TABLE_UNIT < n; i++)
            bytes += unsigned_usable(units[i]);
    }
    if (slot->ext) {
        const struct slot_ext *ext = slot->ext;
        bytes += mi_usable_size(ext) + unsigned_usable(ext->due);
        for (uint32_t i = 0; ext->due_room > DUE_CHUNK && i < ext->due_room / DUE_CHUNK; i++)
            bytes += mi_usable_size(ext->chunks[i]);
        assert_true(ext->due_count <= ext->due_room);
        for (uint32_t i = 1; i < ext->due_count; i++)
            assert_true(due_at(ext, (i - 1) / 2)->time <= due_at(ext, i)->time);
    }
    uint64_t start, end;
    for (uint64_t at = 0; at >> 32 == 0; at = end) {
        uint64_t *bucket = table_walk(slot, (uint32_t)at, &start, &end);
        assert_true(start == at && end > at);
        uint64_t node = bucket_node(bucket);
        if (node) {
            assert_true(node_count(node) >= 2 && node_count(node) <= node_room(node));
            size_t usable = mi_usable_size(node_words(node) - node_is_large(node));
            assert_true(node_is_large(node) == (node_room(node) > NODE_WORDS_MAX));
            assert_true(usable / 8 >= node_room(node) + node_is_large(node));
            bytes += usable;
        }
        unsigned held = bucket_count(bucket);
        for (unsigned i = bucket_used(bucket); i < BUCKET_WORDS - !!node; i++)
            assert_true(bucket[i] == 0);
        for (unsigned i = 0; i < held; i++) {
            const struct entry *e = word_entry(*bucket_word(bucket, i));
            struct entry_parts parts = entry_parts(e);
            uint64_t hash = hash_key(secret, parts.key, parts.key_len);
            assert_true(hash_position(hash) >= start && hash_position(hash) < end);
            assert_true(*bucket_word(bucket, i) == word_make(e, hash));
            bytes += mi_usable_size(e);
            if (entry_is_block(e))
                bytes += mi_usable_size(entry_block(&parts));
            if (entry_is_object(e))
                bytes += object_memory(entry_type(e), entry_encoding(e), entry_object(e));
            keys++;
            volatile_keys += entry_has_expiry(e);
            field_keys += entry_next_field(w->stores[0], e) < INT64_MAX;
            if (entry_first_due(w->stores[0], e) < INT64_MAX) {
                bool promised = false; // some element is due no later than the entry
                uint32_t due = coarse_time(w->ks, entry_first_due(w->stores[0], e));
                for (uint32_t j = 0; j < slot->ext->due_count && !promised; j++)
                    promised = due_at(slot->ext, j)->position == hash_position(hash) &&
                               due_at(slot->ext, j)->time <= due;
                assert_true(promised);
            }
        }
    }
    assert_int_equal(keys, slot->keys);
    assert_int_equal(volatile_keys, slot_volatile(slot));
    assert_int_equal(field_keys, slot->ext ? slot->ext->field_keys : 0);
    assert_int_equal(bytes, slot->bytes);
    return bytes;
}

// What a slot takes that is neither an entry nor a value.
static inline struct keyspace_index slot_index_bytes(const struct slot *slot)
{
    struct keyspace_index n = {.bytes = slot->bytes, .due_bytes = due_bytes(slot_due_room(slot))};
    uint64_t start, end;
    for (uint64_t at = 0; slot->root && at >> 32 == 0; at = end) {
        uint64_t *bucket = table_walk(slot, (uint32_t)at, &start, &end);
        for (unsigned i = 0, held = bucket_count(bucket); i < held; i++)
            n.bytes -= entry_bytes(word_entry(*bucket_word(bucket, i)));
    }
    return n;
}

static inline uint64_t slot_check(const struct world *w, const struct slot *slot)
{
    return table_check(w, &w->ks->secret, slot);
}

// Everything that must agree, agrees. No garbage may be waiting and no slot be lent.
static inline void world_check(const struct world *w)
{
    const struct keyspace *ks = w->ks;
    uint64_t bytes = 0;
    struct owned_figures owned_by[TEST_CORES_MAX] = {0};
    for (unsigned db = 0; db < ks->databases; db++) {
        uint64_t keys = 0, volatile_keys = 0;
        struct keyspace_index index = {0};
        for (unsigned core = 0; core < w->cores; core++) {
            const struct store *s = w->stores[core];
            uint64_t owned = 0;
            for (uint32_t group = 0; group < groups_per_core(ks); group++) {
                uint64_t in_group = 0;
                for (uint32_t i = group * GROUP_SLOTS;
                     i < (group + 1) * GROUP_SLOTS && i < slots_owned(s); i++) {
                    uint32_t id = db * ks->per_core + i;
                    const struct slot *slot = slot_own(s, id);
                    assert_ptr_equal(slot, slot_of(ks, db, slot_number(s, id)));
                    uint64_t in_slot = slot_check(w, slot);
                    bytes += in_slot;
                    owned_by[core].bytes += in_slot;
                    struct keyspace_index here = slot_index_bytes(slot);
                    assert_true(here.due_bytes <= here.bytes);
                    index.bytes += here.bytes;
                    index.due_bytes += here.due_bytes;
                    in_group += slot->keys;
                    volatile_keys += slot_volatile(slot);
                    bool queued = slot->ext && slot->ext->due_count;
                    assert_int_equal(queued, s->queue_at[id] != 0);
                    if (queued)
                        assert_true(s->queue[s->queue_at[id] - 1] ==
                                    ((uint64_t)due_at(slot->ext, 0)->time << 32 | id));
                    if (slot->root & ROOT_RESIZING)
                        assert_true(s->in_work[id / 64] >> (id % 64) & 1);
                }
                assert_int_equal(in_group, s->groups[(size_t)db * groups_per_core(ks) + group]);
                owned += in_group;
            }
            assert_int_equal(owned, s->owned[db]);
            owned_by[core].keys += owned;
            keys += owned;
        }
        assert_int_equal(keys, keyspace_keys(ks, db));
        assert_int_equal(volatile_keys, keyspace_volatile_keys(ks, db));
        assert_int_equal(index.bytes, keyspace_index(ks, db).bytes);
        assert_int_equal(index.due_bytes, keyspace_index(ks, db).due_bytes);
    }
    assert_int_equal(bytes, keyspace_memory(ks));
    for (unsigned core = 0; core < w->cores; core++) {
        struct owned_figures owned = store_owned_figures(w->stores[core]);
        assert_int_equal(owned.keys, owned_by[core].keys);
        assert_int_equal(owned.bytes, owned_by[core].bytes);
    }
}
