// Changes of a slot and what must agree with them: counts of all cores, the owner's indexes.
#include <assert.h>
#include <string.h>

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

__attribute__((noinline)) void index_bytes_add(struct store *s, unsigned db, int64_t bytes,
                                               int64_t due)
{
    struct keyspace_counts *c = &s->ks->counters[s->core].databases[db];
    if (bytes)
        count_add(&c->index_bytes, bytes);
    if (due)
        count_add(&c->due_bytes, due);
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

static inline void index_changed(struct store *s, uint32_t id, const struct slot *slot,
                                 int64_t keys, int64_t bytes)
{
    s->owned_bytes += (uint64_t)bytes;
    if (keys)
        group_add(s, id / s->ks->per_core, id % s->ks->per_core, keys);
    if (slot->ext || s->queue_at[id])
        queue_update(s, id, slot);
    work_add(s, id, slot);
}

// For the indexes of the core that has lent all its slots. One that has lent but some took those
// out, and looks at them when they come home.
static __attribute__((noinline)) void note(struct keyspace *ks, unsigned core, unsigned db,
                                           uint32_t index, int64_t keys, int64_t bytes)
{
    struct all_lent *l = &ks->all_lent[core];
    uint32_t id = db * ks->per_core + index;
    if (!l->on || l->many)
        return;
    struct note *n = l->n ? &l->note[l->n - 1] : NULL;
    if (!n || n->id != id) {
        if (l->n == NOTES_MAX) {
            l->many = true;
            return;
        }
        n = &l->note[l->n++];
        *n = (struct note){.id = id};
    }
    n->keys += (int32_t)keys;
    n->bytes += bytes;
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
    else
        note(s->ks, core, 0, index, 0, (int64_t)bytes);
}

void index_replaced(struct store *s, uint32_t number)
{
    unsigned core;
    slot_index(s->ks, number, &core);
    s->ks->all_lent[core].many = true;
}

void index_put_aside(struct store *s)
{
    struct all_lent *l = &s->ks->all_lent[s->core];
    l->on = true;
    l->many = false;
    l->n = 0;
    s->aside.owned = s->owned;
    s->aside.groups = s->groups;
    s->aside.owned_bytes = s->owned_bytes;
    s->aside.queue_len = s->queue_len;
    s->aside.work_len = s->work_len;
    s->owned = s->no_keys;
    s->groups = (uint32_t *)s->no_keys;
    s->owned_bytes = 0;
    s->queue_len = s->work_len = 0;
}

static void index_build(struct store *s)
{
    const struct keyspace *ks = s->ks;
    for (unsigned db = 0; db < s->databases_seen; db++) {
        s->owned[db] = 0;
        memset(s->groups + (size_t)db * groups_per_core(ks), 0,
               groups_per_core(ks) * sizeof(*s->groups));
    }
    for (uint32_t i = 0; i < s->queue_len; i++)
        s->queue_at[(uint32_t)s->queue[i]] = 0;
    s->queue_len = 0;
    s->owned_bytes = 0;
    for (unsigned db = 0; db < atomic_load(&ks->used_end); db++)
        for (uint32_t i = 0; atomic_load(&ks->used[db]) && i < slots_owned(s); i++)
            index_attach(s, db, slot_number(s, i));
}

void index_take_back(struct store *s)
{
    struct all_lent *l = &s->ks->all_lent[s->core];
    l->on = false;
    s->owned = s->aside.owned;
    s->groups = s->aside.groups;
    s->owned_bytes = s->aside.owned_bytes;
    s->queue_len = s->aside.queue_len;
    s->work_len = s->aside.work_len;
    if (l->many) {
        index_build(s);
        return;
    }
    for (unsigned i = 0; i < l->n; i++) {
        const struct note *n = &l->note[i];
        index_changed(s, n->id, slot_own(s, n->id), n->keys, n->bytes);
    }
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
        .due_room = slot_due_room(slot),
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
    int64_t table_bytes = (int64_t)(slot->bytes - c->bytes - c->values);
    if (__builtin_expect(table_bytes || slot_due_room(slot) != c->due_room, 0))
        index_bytes_add(s, c->db, table_bytes,
                        (int64_t)(due_bytes(slot_due_room(slot)) - due_bytes(c->due_room)));
    if (keys > 0)
        database_use(s->ks, c->db);

    unsigned core;
    uint32_t index = slot_index(s->ks, c->number, &core);
    int64_t bytes = (int64_t)(slot->bytes - c->bytes);
    if (core != s->core || slot_is_lent(s, index))
        note(s->ks, core, c->db, index, keys, bytes);
    else
        index_changed(s, c->db * s->ks->per_core + index, slot, keys, bytes);
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
        c->values -= entry_bytes(at);
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
    c->values += entry_bytes(fresh);
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
    c->values -= entry_bytes(e);
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
