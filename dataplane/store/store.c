// One core's store: its life, time, lending of slots, and the bounded work of a turn.
#include <assert.h>
#include <string.h>

#include "common/memory.h"
#include "dataplane/store/internal.h"

enum {
    WORK_STEPS = 16, // buckets of one table before the next table's turn
    SAMPLES_MAX = 64,
};

uint64_t store_random(struct store *s)
{
    // xoroshiro128+ by Blackman and Vigna.
    uint64_t a = s->random[0], b = s->random[1], sum = a + b;
    b ^= a;
    s->random[0] = (a << 24 | a >> 40) ^ b ^ b << 16;
    s->random[1] = b << 37 | b >> 27;
    return sum;
}

// Parts of one mapping, so that there is one thing that can fail and one to give back.
static void *carve(char **at, size_t bytes)
{
    void *part = *at;
    *at += (bytes + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
    return part;
}

static size_t lay_out(struct store *s, char *base)
{
    const struct keyspace *ks = s->ks;
    size_t ids = (size_t)ks->databases * ks->per_core;
    char *at = base;
    s->owned = carve(&at, ks->databases * sizeof(*s->owned));
    s->groups = carve(&at, (size_t)ks->databases * groups_per_core(ks) * sizeof(*s->groups));
    // As large as the larger of the two that it stands for.
    s->no_keys = carve(&at, (size_t)ks->databases *
                                (sizeof(*s->owned) + groups_per_core(ks) * sizeof(*s->groups)));
    s->in_work = carve(&at, ids / 8 + sizeof(*s->in_work));
    s->queue_at = carve(&at, ids * sizeof(*s->queue_at));
    s->queue = carve(&at, ids * sizeof(*s->queue));
    s->work = carve(&at, ids * sizeof(*s->work));
    return (size_t)(at - base);
}

struct store *store_create(struct keyspace *ks, unsigned core, uint64_t seed)
{
    assert(core < ks->cores);
    struct store *s = mi_zalloc_aligned(sizeof(*s), CACHE_LINE);
    if (!s)
        return NULL;
    s->ks = ks;
    s->core = core;
    s->map_bytes = lay_out(s, NULL);
    s->map = memory_map(s->map_bytes);
    if (!s->map) {
        mi_free(s);
        return NULL;
    }
    lay_out(s, s->map);
    s->random[0] = hash_fold(seed ^ ks->secret.word[0], 0x9e3779b97f4a7c15);
    s->random[1] = hash_fold(seed + 1, ks->secret.word[1]) | 1;
    s->env = (struct table_env){.secret = &ks->secret, .stats = &s->stats};
    s->active_expire = true;
    const struct store_options defaults = {
        .policy = EVICT_NONE, .samples = 5, .lfu_log_factor = 10, .lfu_decay_time = 1};
    store_configure(s, &defaults);
    store_set_time(s, ks->epoch_ms);
    return s;
}

void store_destroy(struct store *s)
{
    if (!s)
        return;
    garbage_free_all(s);
    memory_unmap(s->map, s->map_bytes);
    mi_free(s);
}

void store_configure(struct store *s, const struct store_options *options)
{
    s->options = *options;
    if (!s->options.samples)
        s->options.samples = 1;
    if (s->options.samples > SAMPLES_MAX)
        s->options.samples = SAMPLES_MAX;
    s->pool_len = 0; // scores of another policy say nothing
    s->lfu = options->policy == EVICT_ALLKEYS_LFU || options->policy == EVICT_VOLATILE_LFU;
}

void store_set_time(struct store *s, uint64_t now_ms)
{
    const struct keyspace *ks = s->ks;
    s->now_ms = now_ms;
    uint64_t coarse = now_ms > ks->epoch_ms ? (now_ms - ks->epoch_ms) / COARSE_MS : 0;
    s->now_coarse = coarse < UINT32_MAX ? (uint32_t)coarse : UINT32_MAX;
    s->access = (uint32_t)(now_ms / 1000) & 0xffffff;
    s->minutes = (uint32_t)(now_ms / 60000) & 0xffff;
    int64_t elsewhere = 0;
    for (unsigned i = 0; i < ks->cores; i++)
        if (i != s->core)
            elsewhere += atomic_load_explicit(&ks->counters[i].bytes, memory_order_relaxed) +
                         atomic_load_explicit(&ks->counters[i].beside, memory_order_relaxed);
    elsewhere += atomic_load_explicit(&ks->counters[s->core].beside, memory_order_relaxed);
    s->bytes_elsewhere = (uint64_t)elsewhere;
}

void store_memory_beside(struct store *s, uint64_t bytes)
{
    _Atomic int64_t *beside = &s->ks->counters[s->core].beside;
    s->bytes_elsewhere += bytes - (uint64_t)atomic_load_explicit(beside, memory_order_relaxed);
    atomic_store_explicit(beside, (int64_t)bytes, memory_order_release);
}

uint64_t store_time(const struct store *s)
{
    return s->now_ms;
}

const struct store_stats *store_statistics(const struct store *s)
{
    return &s->stats;
}

void store_reset_statistics(struct store *s)
{
    uint64_t nodes = s->stats.overflow_nodes, dirty = s->stats.dirty;
    s->stats = (struct store_stats){.overflow_nodes = nodes, .dirty = dirty};
}

struct keyspace *store_keyspace(const struct store *s)
{
    return s->ks;
}

struct owned_figures store_owned_figures(const struct store *s)
{
    struct owned_figures f = {.bytes = s->owned_bytes};
    for (unsigned db = 0; db < s->databases_seen; db++)
        f.keys += s->owned[db];
    return f;
}

int64_t store_keys_counted(const struct store *s, unsigned db)
{
    return atomic_load_explicit(&s->ks->counters[s->core].databases[db].keys, memory_order_relaxed);
}

// --- lending ------------------------------------------------------------------------------------

void store_slot_lent(struct store *owner, uint16_t slot)
{
    unsigned core;
    uint32_t index = slot_index(owner->ks, slot, &core);
    assert(core == owner->core && !slot_is_lent(owner, index));
    for (unsigned db = 0; db < atomic_load(&owner->ks->used_end); db++)
        if (atomic_load_explicit(&owner->ks->used[db], memory_order_relaxed))
            index_detach(owner, db, slot);
    owner->lent[index / 64] |= UINT64_C(1) << (index % 64);
    owner->lent_slots++;
}

void store_slot_returned(struct store *owner, uint16_t slot)
{
    unsigned core;
    uint32_t index = slot_index(owner->ks, slot, &core);
    assert(core == owner->core && slot_is_lent(owner, index));
    owner->lent[index / 64] &= ~(UINT64_C(1) << (index % 64));
    owner->lent_slots--;
    for (unsigned db = 0; db < atomic_load(&owner->ks->used_end); db++)
        if (atomic_load_explicit(&owner->ks->used[db], memory_order_acquire))
            index_attach(owner, db, slot);
}

void store_all_lent(struct store *owner)
{
    assert(!owner->lent_slots);
    memset(owner->lent, 0xff, sizeof(owner->lent));
    owner->lent_slots = slots_owned(owner);
    index_put_aside(owner);
}

void store_all_returned(struct store *owner)
{
    assert(owner->lent_slots == slots_owned(owner));
    memset(owner->lent, 0, sizeof(owner->lent));
    owner->lent_slots = 0;
    index_take_back(owner);
}

// --- the work of a turn -------------------------------------------------------------------------

// Moves resizes on. A lent slot drops out of the list and comes back when it is returned.
static bool resize_work(struct store *s, unsigned *budget)
{
    uint32_t idle = 0; // tables in a row that did not get on
    while (s->work_len && idle < s->work_len) {
        if (!*budget)
            return true;
        uint32_t id = s->work[s->work_len - 1];
        struct slot *slot = slot_own(s, id);
        bool keep = false;
        if (!slot_is_lent(s, id % s->ks->per_core) && slot->root & ROOT_RESIZING) {
            unsigned steps = *budget < WORK_STEPS ? *budget : WORK_STEPS;
            uint64_t before = s->stats.resize_steps;
            struct change c = change_begin(s, id / s->ks->per_core, slot_number(s, id));
            table_step(&s->env, slot, c.number, steps);
            change_end(s, &c);
            *budget -= steps;
            keep = slot->root & ROOT_RESIZING;
            idle = s->stats.resize_steps == before && keep ? idle + 1 : 0;
        }
        if (keep) { // to the front, so that all get their turn
            s->work[s->work_len - 1] = s->work[0];
            s->work[0] = id;
        } else {
            s->work_len--;
            s->in_work[id / 64] &= ~(UINT64_C(1) << (id % 64));
        }
    }
    return false;
}

bool store_maintain(struct store *s, unsigned budget)
{
    // Each kind of work gets its share; what one leaves is the next one's.
    unsigned part = budget / 2;
    budget -= part;
    bool more = expire_step(s, &part);
    budget += part;
    part = budget / 2;
    budget -= part;
    more |= resize_work(s, &part);
    budget += part;
    more |= garbage_step(s, &budget);
    s->evicting = evict_step(s, &budget);
    return more | s->evicting;
}

uint64_t store_next_due(const struct store *s)
{
    if (s->work_len || s->garbage || s->garbage_objects || s->evicting)
        return s->now_ms;
    if (!s->queue_len || !s->active_expire || s->still)
        return UINT64_MAX;
    return s->ks->epoch_ms + (s->queue[0] >> 32) * COARSE_MS;
}
