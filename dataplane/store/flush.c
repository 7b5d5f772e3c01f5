// FLUSHALL and SWAPDB: tables are detached in constant time each and freed in steps later.
#include <assert.h>

#include "dataplane/store/internal.h"
#include "dataplane/store/object.h"

enum { OBJECT_AT_ONCE = 64 }; // objects of up to so many elements are freed at once

struct garbage {
    struct garbage *next;
    uint32_t count, at;
    uint32_t bucket; // of slots[at]
    struct slot slots[];
};

struct garbage_object {
    struct garbage_object *next;
    enum object_type type;
    enum object_encoding encoding;
    void *object;
};

// One allocation, or few elements.
static bool object_is_small(enum object_type type, enum object_encoding encoding,
                            const void *object)
{
    return encoding == ENC_LISTPACK || encoding == ENC_INTSET ||
           object_length(type, encoding, object) <= OBJECT_AT_ONCE;
}

void store_discard_object(struct store *s, enum object_type type, enum object_encoding encoding,
                          void *object)
{
    struct garbage_object *g;
    if (object_is_small(type, encoding, object) || !(g = mi_malloc(sizeof(*g)))) {
        object_free(type, encoding, object);
        return;
    }
    *g = (struct garbage_object){
        .next = s->garbage_objects, .type = type, .encoding = encoding, .object = object};
    s->garbage_objects = g;
    // It counts for the process until it is gone.
    counts_add(s, 0, 0, 0, (int64_t)(object_memory(type, encoding, object) + mi_usable_size(g)));
}

void entry_discard(struct store *s, struct entry *e)
{
    if (!entry_is_object(e)) {
        entry_free(e);
        return;
    }
    store_discard_object(s, entry_type(e), entry_encoding(e), entry_object(e));
    mi_free(e);
}

static void discard(void *store, struct entry *e)
{
    if (store)
        entry_discard(store, e);
    else
        entry_free(e);
}

static bool garbage_objects_step(struct store *s, unsigned *budget)
{
    struct garbage_object *g;
    while ((g = s->garbage_objects)) {
        if (!*budget)
            return true;
        size_t before = object_memory(g->type, g->encoding, g->object);
        bool done = object_free_step(g->type, g->encoding, g->object, budget);
        size_t after = done ? 0 : object_memory(g->type, g->encoding, g->object);
        if (done) {
            before += mi_usable_size(g);
            s->garbage_objects = g->next;
            mi_free(g);
        }
        counts_add(s, 0, 0, 0, (int64_t)(after - before));
        if (!done)
            return true;
    }
    return false;
}

bool slot_free_step(struct store *s, struct slot *slot, uint32_t *at, unsigned *budget)
{
    if (slot->root && !table_free_step(slot, at, budget, discard, s))
        return false;
    if (!slot_drop_ext_step(slot, budget))
        return false;
    assert(!slot->bytes);
    *slot = (struct slot){0};
    return true;
}

void slot_free_all(struct store *s, struct slot *slot)
{
    uint32_t bucket = 0;
    unsigned steps = UINT32_MAX;
    while (!slot_free_step(s, slot, &bucket, &steps))
        steps = UINT32_MAX;
}

bool garbage_step(struct store *s, unsigned *budget)
{
    if (garbage_objects_step(s, budget))
        return true;
    struct garbage *g;
    while ((g = s->garbage)) {
        for (; g->at < g->count; g->at++, g->bucket = 0) {
            if (!*budget)
                return true;
            struct slot *slot = &g->slots[g->at];
            uint64_t before = slot->bytes;
            bool done = slot_free_step(s, slot, &g->bucket, budget);
            counts_add(s, 0, 0, 0, (int64_t)(slot->bytes - before));
            if (!done)
                return true;
        }
        s->garbage = g->next;
        mi_free(g);
    }
    return garbage_objects_step(s, budget); // what the tables held
}

void garbage_free_all(struct store *s)
{
    unsigned budget = UINT32_MAX;
    while (garbage_step(s, &budget))
        budget = UINT32_MAX;
}

static bool slot_is_indexed(const struct store *s, uint32_t number)
{
    unsigned core;
    uint32_t index = slot_index(s->ks, number, &core);
    return core == s->core && !slot_is_lent(s, index);
}

static uint64_t flush_database(struct store *s, unsigned db)
{
    uint32_t in_use = 0;
    for (uint32_t n = 0; n < SLOTS; n++)
        in_use += slot_of(s->ks, db, n)->keys != 0;
    if (!in_use)
        return 0;
    struct garbage *g = mi_malloc(sizeof(*g) + in_use * sizeof(struct slot));
    if (g)
        *g = (struct garbage){0};
    uint64_t keys = 0, volatile_keys = 0;
    for (uint32_t n = 0; n < SLOTS; n++) {
        struct slot *slot = slot_of(s->ks, db, n);
        if (!slot->keys)
            continue;
        keys += slot->keys;
        volatile_keys += slot_volatile(slot);
        if (slot_is_indexed(s, n))
            index_detach(s, db, n);
        else
            index_replaced(s, n);
        if (g) {
            g->slots[g->count++] = *slot;
            *slot = (struct slot){0};
        } else { // no memory for the list: at once, since it frees memory
            counts_add(s, db, 0, 0, -(int64_t)slot->bytes);
            slot_free_all(s, slot);
        }
    }
    counts_add(s, db, -(int64_t)keys, -(int64_t)volatile_keys, 0);
    // What is left of the tables until they are freed is no database's.
    struct keyspace_index index = keyspace_index(s->ks, db);
    index_bytes_add(s, db, -(int64_t)index.bytes, -(int64_t)index.due_bytes);
    if (g) {
        g->next = s->garbage;
        s->garbage = g;
    }
    return keys;
}

uint64_t store_flush(struct store *s, int db)
{
    uint64_t keys = 0;
    for (unsigned i = 0; i < atomic_load(&s->ks->used_end); i++)
        if ((db < 0 || (unsigned)db == i) && atomic_load(&s->ks->used[i]))
            keys += flush_database(s, i);
    s->stats.dirty += keys;
    return keys;
}

void store_swap_databases(struct store *s, unsigned a, unsigned b)
{
    struct keyspace *ks = s->ks;
    if (a == b)
        return;
    int64_t keys = (int64_t)keyspace_keys(ks, b) - (int64_t)keyspace_keys(ks, a);
    int64_t volatile_keys =
        (int64_t)keyspace_volatile_keys(ks, b) - (int64_t)keyspace_volatile_keys(ks, a);
    struct keyspace_index index_a = keyspace_index(ks, a), index_b = keyspace_index(ks, b);
    bool used = atomic_load(&ks->used[a]);
    if (!used && !atomic_load(&ks->used[b]))
        return;
    for (uint32_t n = 0; n < SLOTS; n++) {
        struct slot *of_a = slot_of(ks, a, n), *of_b = slot_of(ks, b, n);
        if (!of_a->keys && !of_b->keys)
            continue;
        bool indexed = slot_is_indexed(s, n);
        if (indexed) {
            index_detach(s, a, n);
            index_detach(s, b, n);
        }
        struct slot swap = *of_a;
        *of_a = *of_b;
        *of_b = swap;
        if (indexed) {
            index_attach(s, a, n);
            index_attach(s, b, n);
        } else {
            index_replaced(s, n);
        }
    }
    counts_add(s, a, keys, volatile_keys, 0);
    counts_add(s, b, -keys, -volatile_keys, 0);
    int64_t bytes = (int64_t)(index_b.bytes - index_a.bytes);
    int64_t due = (int64_t)(index_b.due_bytes - index_a.due_bytes);
    index_bytes_add(s, a, bytes, due);
    index_bytes_add(s, b, -bytes, -due);
    database_use(ks, a);
    database_use(ks, b);
    s->stats.dirty++;
}
