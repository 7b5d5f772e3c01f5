// The whole of the keys: the directory of slots and the counters that every core may read.
#include <assert.h>

#include "common/memory.h"
#include "dataplane/store/internal.h"

// Spreads the 16 bytes of the secret over the words that the hash wants.
static struct hash_secret secret_expand(const uint8_t secret[16])
{
    struct hash_secret out;
    uint64_t a = hash_load64(secret), b = hash_load64(secret + 8);
    for (int i = 0; i < 4; i++) {
        a += 0x9e3779b97f4a7c15; // the golden ratio, as in splitmix64
        uint64_t z = a ^ b;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        b = z ^ z >> 31;
        out.word[i] = b | 1; // no factor of a multiplication should be zero
    }
    return out;
}

static uint64_t reciprocal(unsigned cores)
{
    return ((UINT64_C(1) << 32) + cores - 1) / cores;
}

struct keyspace *keyspace_create(const struct keyspace_config *config)
{
    assert(config->cores && config->cores <= SLOTS);
    assert(config->databases && config->databases <= DATABASES_MAX);
    entry_classes_init();
    struct keyspace *ks = mi_zalloc(sizeof(*ks));
    if (!ks)
        return NULL;
    ks->cores = config->cores;
    ks->databases = config->databases;
    ks->per_core = (SLOTS + config->cores - 1) / config->cores;
    ks->per_core = (ks->per_core + 1) & ~1u;
    ks->stride = ks->per_core * ks->cores;
    ks->reciprocal = reciprocal(ks->cores);
    ks->secret = secret_expand(config->secret);
    ks->epoch_ms = config->epoch_ms;
    ks->used = mi_zalloc(ks->databases * sizeof(*ks->used));
    ks->counters = mi_zalloc_aligned(ks->cores * sizeof(*ks->counters), 2 * CACHE_LINE);
    ks->directory_bytes = (size_t)ks->databases * ks->stride * sizeof(struct slot);
    // Address space for all databases; the kernel gives memory when a slot is first used.
    ks->slots = memory_map(ks->directory_bytes);
    ks->all_lent = mi_zalloc_aligned(ks->cores * sizeof(*ks->all_lent), 2 * CACHE_LINE);
    bool ok = ks->used && ks->counters && ks->all_lent && ks->slots;
    for (unsigned i = 0; ok && i < ks->cores; i++) {
        ks->counters[i].databases =
            mi_zalloc_aligned(ks->databases * sizeof(struct keyspace_counts), 2 * CACHE_LINE);
        ok = ks->counters[i].databases;
    }
    if (!ok) {
        keyspace_destroy(ks);
        return NULL;
    }
    return ks;
}

void keyspace_destroy(struct keyspace *ks)
{
    if (!ks)
        return;
    if (ks->slots) {
        for (unsigned db = 0; db < atomic_load(&ks->used_end); db++) {
            if (!atomic_load(&ks->used[db]))
                continue;
            for (uint32_t i = 0; i < ks->stride; i++)
                slot_free_all(NULL, &ks->slots[(size_t)db * ks->stride + i]);
        }
        memory_unmap(ks->slots, ks->directory_bytes);
    }
    for (unsigned i = 0; ks->counters && i < ks->cores; i++)
        mi_free(ks->counters[i].databases);
    mi_free(ks->counters);
    mi_free(ks->all_lent);
    mi_free((void *)ks->used);
    mi_free(ks);
}

unsigned keyspace_databases(const struct keyspace *ks)
{
    return ks->databases;
}

unsigned keyspace_core(const struct keyspace *ks, uint16_t slot)
{
    unsigned core;
    slot_index(ks, slot, &core);
    return core;
}

void keyspace_find(const struct keyspace *ks, const void *ptr, size_t len, struct key *key)
{
    key->ptr = ptr;
    key->len = (uint32_t)len;
    key->slot = slot_of_key(ptr, len);
    key->hash = hash_key(&ks->secret, ptr, len);
}

// Sums may be read while others count; never show a negative one.
static uint64_t shown(int64_t sum)
{
    return sum > 0 ? (uint64_t)sum : 0;
}

uint64_t keyspace_keys(const struct keyspace *ks, unsigned db)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < ks->cores; i++)
        sum += atomic_load_explicit(&ks->counters[i].databases[db].keys, memory_order_acquire);
    return shown(sum);
}

uint64_t keyspace_volatile_keys(const struct keyspace *ks, unsigned db)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < ks->cores; i++)
        sum += atomic_load_explicit(&ks->counters[i].databases[db].volatile_keys,
                                    memory_order_acquire);
    return shown(sum);
}

uint64_t keyspace_memory(const struct keyspace *ks)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < ks->cores; i++)
        sum += atomic_load_explicit(&ks->counters[i].bytes, memory_order_acquire);
    return shown(sum);
}

struct keyspace_index keyspace_index(const struct keyspace *ks, unsigned db)
{
    int64_t bytes = 0, due = 0;
    for (unsigned i = 0; i < ks->cores; i++) {
        const struct keyspace_counts *c = &ks->counters[i].databases[db];
        bytes += atomic_load_explicit(&c->index_bytes, memory_order_acquire);
        due += atomic_load_explicit(&c->due_bytes, memory_order_acquire);
    }
    return (struct keyspace_index){.bytes = shown(bytes), .due_bytes = shown(due)};
}

uint64_t keyspace_used(const struct keyspace *ks)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < ks->cores; i++)
        sum += atomic_load_explicit(&ks->counters[i].bytes, memory_order_acquire) +
               atomic_load_explicit(&ks->counters[i].beside, memory_order_acquire);
    return shown(sum);
}

struct slot_figures store_slot_figures(const struct keyspace *ks, unsigned db, uint16_t slot)
{
    const struct slot *t = slot_of(ks, db, slot);
    return (struct slot_figures){
        .keys = t->keys,
        .volatile_keys = slot_volatile(t),
        .bytes = t->bytes,
        .buckets = t->buckets,
    };
}
