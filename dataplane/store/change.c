// Changes of a slot and what must agree with them: counts of all cores, the owner's indexes.
#include <assert.h>

#include "dataplane/store/internal.h"

static void count_add(_Atomic int64_t *count, int64_t d)
{
    // One writer: no locked instruction is needed, only that readers see whole values.
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + d,
                          memory_order_release);
}

void counts_add(struct store *s, unsigned db, int64_t keys, int64_t volatile_keys, int64_t bytes)
{
    struct keyspace_counters *c = &s->ks->counters[s->core];
    if (keys)
        count_add(&c->databases[db].keys, keys);
    if (volatile_keys)
        count_add(&c->databases[db].volatile_keys, volatile_keys);
    if (bytes)
        count_add(&c->bytes, bytes);
}

void database_use(struct keyspace *ks, unsigned db)
{
    if (atomic_load_explicit(&ks->used[db], memory_order_relaxed))
        return;
    atomic_store(&ks->used[db], true);
    unsigned end = atomic_load(&ks->used_end);
    while (end <= db && !atomic_compare_exchange_weak(&ks->used_end, &end, db + 1))
        ;
}

static void group_add(struct store *s, unsigned db, uint32_t index, int64_t keys)
{
    s->owned[db] += (uint64_t)keys;
    if (db >= s->databases_seen)
        s->databases_seen = db + 1;
    s->groups[(size_t)db * groups_per_core(s->ks) + index / GROUP_SLOTS] += (uint32_t)keys;
}

static void work_add(struct store *s, uint32_t id, const struct slot *slot)
{
    if (!(slot->root & ROOT_RESIZING) || s->in_work[id / 64] >> (id % 64) & 1)
        return;
    s->in_work[id / 64] |= UINT64_C(1) << (id % 64);
    s->work[s->work_len++] = id;
}

void index_attach(struct store *s, unsigned db, uint32_t number)
{
    unsigned core;
    uint32_t index = slot_index(s->ks, number, &core);
    assert(core == s->core);
    const struct slot *slot = slot_of(s->ks, db, number);
    if (!slot->keys)
        return;
    group_add(s, db, index, slot->keys);
    s->owned_bytes += slot->bytes;
    queue_update(s, db * s->ks->per_core + index, slot);
    work_add(s, db * s->ks->per_core + index, slot);
}

void index_detach(struct store *s, unsigned db, uint32_t number)
{
    unsigned core;
    uint32_t index = slot_index(s->ks, number, &core);
    assert(core == s->core);
    const struct slot *slot = slot_of(s->ks, db, number);
    if (!slot->keys)
        return;
    group_add(s, db, index, -(int64_t)slot->keys);
    s->owned_bytes -= slot->bytes;
    queue_update(s, db * s->ks->per_core + index, NULL);
}

void index_add_bytes(struct store *s, uint32_t number, uint64_t bytes)
{
    unsigned core;
    uint32_t index = slot_index(s->ks, number, &core);
    if (core == s->core && !slot_is_lent(s, index))
        s->owned_bytes += bytes;
}

struct change change_begin(const struct store *s, unsigned db, uint32_t number)
{
    struct slot *slot = slot_of(s->ks, db, number);
    return (struct change){
        .slot = slot,
        .db = db,
        .number = number,
        .bytes = slot->bytes,
        .keys = slot->keys,
        .volatile_keys = slot_volatile(slot),
    };
}

static void slot_clear(struct slot *slot)
{
    if (slot->root)
        table_drop(slot);
    slot_drop_ext(slot);
    assert(!slot->bytes);
    *slot = (struct slot){0};
}

void change_end(struct store *s, const struct change *c)
{
    struct slot *slot = c->slot;
    int64_t keys = (int64_t)slot->keys - c->keys;
    int64_t volatile_keys = (int64_t)slot_volatile(slot) - c->volatile_keys;
    if (!slot->keys)
        slot_clear(slot);
    else if (keys || slot->root & ROOT_RESIZING)
        table_step(&s->env, slot, c->number, TABLE_STEPS_PER_WRITE);
    counts_add(s, c->db, keys, volatile_keys, (int64_t)(slot->bytes - c->bytes));
    if (keys > 0)
        database_use(s->ks, c->db);

    unsigned core;
    uint32_t index = slot_index(s->ks, c->number, &core);
    if (core != s->core || slot_is_lent(s, index))
        return;
    uint32_t id = c->db * s->ks->per_core + index;
    s->owned_bytes += slot->bytes - c->bytes;
    if (keys)
        group_add(s, c->db, index, keys);
    if (slot->ext || s->queue_at[id])
        queue_update(s, id, slot);
    work_add(s, id, slot);
}

bool change_put(struct store *s, struct change *c, const struct key *key, struct entry *at,
                struct entry *fresh)
{
    struct slot *slot = c->slot;
    int64_t before = at ? entry_expiry(at) : -1;
    int64_t after = entry_expiry(fresh);
    int64_t field_before = at ? entry_next_field(s, at) : INT64_MAX;
    int64_t field_after = entry_next_field(s, fresh);
    // One element serves the key and its fields: settling it pushes the next. One that is due no
    // later than wanted is there already unless a time is new or has come nearer.
    int64_t wanted = entry_first_due(s, fresh);
    bool push = wanted < (at ? entry_first_due(s, at) : INT64_MAX);
    if (push && !due_reserve(s, &s->ks->secret, slot))
        return false;
    if (at) {
        *table_word(slot, key->hash, at) = word_make(fresh, key->hash);
        slot->bytes -= entry_bytes(at);
        if (entry_is_object(at) && entry_is_object(fresh) &&
            entry_object(at) == entry_object(fresh))
            mi_free(at); // the object has moved on
        else
            entry_discard(s, at);
    } else if (!table_insert(&s->env, slot, key->hash, fresh)) {
        return false;
    } else if (__builtin_expect(!!s->added, 0)) {
        s->added(s->added_context, c->db, key);
    }
    slot->bytes += entry_bytes(fresh);
    if (push)
        due_push(slot, coarse_time(s->ks, wanted), hash_position(key->hash));
    if (before >= 0)
        slot->ext->volatile_keys--;
    if (after >= 0)
        slot->ext->volatile_keys++;
    if (field_before < INT64_MAX)
        slot->ext->field_keys--;
    if (field_after < INT64_MAX)
        slot->ext->field_keys++;
    return true;
}

static struct entry *take_out(struct store *s, struct change *c, uint64_t hash, uint64_t *word)
{
    struct slot *slot = c->slot;
    struct entry *e = word_entry(*word);
    table_remove(&s->env, slot, hash, word);
    if (entry_has_expiry(e))
        slot->ext->volatile_keys--;
    if (entry_next_field(s, e) < INT64_MAX)
        slot->ext->field_keys--;
    slot->bytes -= entry_bytes(e);
    return e;
}

void change_remove(struct store *s, struct change *c, uint64_t hash, uint64_t *word)
{
    entry_discard(s, take_out(s, c, hash, word));
}

void change_remove_hollow(struct store *s, struct change *c, uint64_t hash, uint64_t *word)
{
    struct entry *e = take_out(s, c, hash, word);
    if (entry_is_object(e))
        mi_free(e);
    else
        entry_free(e);
}
