// What the files of this room share: the keyspace, one core's store, and the bracket around every
// change of a slot.
#pragma once

#include <stdatomic.h>

#include "dataplane/store/object.h"
#include "dataplane/store/table.h"

enum {
    CACHE_LINE = 64,
    GROUP_SLOTS = 128,       // slots of one upper count: 128 groups of 128 slots
    COARSE_MS = 16,          // unit of the expiry index: 2^32 of it are more than two years
    DATABASES_MAX = 1 << 18, // so that (database, slot) fits 32 bits
    EVICTION_POOL = 16,      // good candidates kept from one eviction to the next
    LFU_INITIAL = 5,         // counter of a new key, so that it is not the first to go
    FIELDS_AT_ONCE = 64,     // fields of a hash that expire in one go
    NOTES_MAX = 256,         // changed slots that a core is told of when all of them come home
};

// Written by one core, read by all.
struct keyspace_counts {
    _Atomic int64_t keys, volatile_keys;
    _Atomic int64_t index_bytes; // of `bytes`, what is neither an entry nor a value,
    _Atomic int64_t due_bytes;   // and of that, heaps of expiry
};
struct keyspace_counters {
    _Alignas(2 * CACHE_LINE) _Atomic int64_t bytes;
    _Atomic int64_t beside; // store_memory_beside
    struct keyspace_counts *databases;
};

// What becomes of a core's slots while it has lent all of them at once: its indexes stand aside as
// they are, and whoever executes on a slot notes what they have to hear of. Written by the owner
// before it lends and when they are back, by the borrower in between.
struct all_lent {
    _Alignas(2 * CACHE_LINE) bool on;
    bool many; // more than there is room for: the indexes are made anew
    unsigned n;
    struct note {
        uint32_t id;
        int32_t keys;
        int64_t bytes;
    } note[NOTES_MAX];
};

struct keyspace {
    struct slot *slots; // [database][core][index]
    unsigned cores, databases;
    uint32_t per_core;   // slots of a core, rounded up to whole cache lines
    uint32_t stride;     // slots of a database
    uint64_t reciprocal; // 2^32 / cores, rounded up
    struct hash_secret secret;
    uint64_t epoch_ms;
    size_t directory_bytes;
    struct keyspace_counters *counters; // of each core
    struct all_lent *all_lent;          // of each core
    _Atomic bool *used;                 // databases that have had a key
    _Atomic unsigned used_end;          // all of them are below
};

struct garbage;        // tables that were flushed
struct garbage_object; // big objects that nobody refers to any more

// A key that was sampled for eviction and not taken yet. It may be gone since.
struct candidate {
    uint64_t hash;
    uint64_t score; // the highest goes
    uint32_t id;    // of its slot
};

struct store {
    struct keyspace *ks;
    unsigned core;
    uint64_t now_ms;
    uint32_t now_coarse;
    uint32_t access; // what an access leaves in an entry under LRU
    uint32_t minutes;
    bool lfu;
    bool active_expire;
    bool still;     // store_stand_still
    uint32_t epoch; // number of the newest snapshot
    uint64_t random[2];
    // Memory of the other cores as of the last store_set_time, and of this one beside its keys.
    uint64_t bytes_elsewhere;
    struct store_options options;
    struct store_stats stats;
    struct table_env env;

    // Indexes over own slots that are not lent. A slot's id is database * per_core + index. All are
    // mapped memory that the kernel fills in when it is touched first.
    uint64_t *owned; // [database] keys
    uint64_t owned_bytes;
    uint32_t *groups;   // [database][per_core / GROUP_SLOTS + 1] keys
    uint32_t *queue_at; // [id] place in the queue + 1
    uint64_t *queue;    // heap of due time << 32 | id
    uint32_t queue_len;
    uint32_t *work; // ids of slots whose tables are being resized
    uint32_t work_len;
    uint64_t *in_work;         // [id] bits
    uint64_t lent[SLOTS / 64]; // [index] bits
    uint32_t lent_slots;
    // Of a store whose slots are all lent: `owned` and `groups` are `no_keys` then, which is zero.
    struct {
        uint64_t *owned, owned_bytes;
        uint32_t *groups, queue_len, work_len;
    } aside;
    uint64_t *no_keys;
    unsigned databases_seen; // databases beyond never had a key here
    bool evicting;           // the last turn left the store over maxmemory with keys to evict
    void *map;
    size_t map_bytes;

    store_gone_fn *gone; // NULL: nobody listens
    void *gone_context;
    store_heard_fn *missed, *added; // NULL: nobody listens
    void *missed_context, *added_context;

    struct garbage *garbage;
    struct garbage_object *garbage_objects;
    struct candidate pool[EVICTION_POOL]; // best last
    unsigned pool_len;
    uint32_t crowd_id, crowd_at; // slot and position where the last search for any key ended
};

static inline uint32_t slot_index(const struct keyspace *ks, uint32_t number, unsigned *core)
{
    uint32_t index = (uint32_t)(number * ks->reciprocal >> 32);
    *core = number - index * ks->cores;
    return index;
}

static inline struct slot *slot_of(const struct keyspace *ks, unsigned db, uint32_t number)
{
    unsigned core;
    uint32_t index = slot_index(ks, number, &core);
    return &ks->slots[(size_t)db * ks->stride + (size_t)core * ks->per_core + index];
}

// A slot of this store's core.
static inline struct slot *slot_own(const struct store *s, uint32_t id)
{
    const struct keyspace *ks = s->ks;
    uint32_t db = id / ks->per_core;
    return &ks->slots[(size_t)db * ks->stride + (size_t)s->core * ks->per_core + id % ks->per_core];
}

static inline uint32_t slot_number(const struct store *s, uint32_t id)
{
    return id % s->ks->per_core * s->ks->cores + s->core;
}

static inline uint32_t slots_owned(const struct store *s)
{
    return (SLOTS - s->core + s->ks->cores - 1) / s->ks->cores;
}

static inline bool slot_is_lent(const struct store *s, uint32_t index)
{
    return s->lent[index / 64] >> (index % 64) & 1;
}

static inline uint32_t groups_per_core(const struct keyspace *ks)
{
    return (ks->per_core + GROUP_SLOTS - 1) / GROUP_SLOTS;
}

static inline uint32_t slot_volatile(const struct slot *slot)
{
    return slot->ext ? slot->ext->volatile_keys : 0;
}

// Elements that the heap of a slot has room for, and what such a heap takes.
static inline uint32_t slot_due_room(const struct slot *slot)
{
    return slot->ext ? slot->ext->due_room : 0;
}
static inline uint64_t due_bytes(uint32_t room)
{
    return (uint64_t)room * sizeof(struct due) +
           (room > DUE_CHUNK ? room / DUE_CHUNK * sizeof(struct due *) : 0);
}

static inline bool entry_is_expired(const struct store *s, const struct entry *e)
{
    return entry_has_expiry(e) && (uint64_t)entry_expiry(e) <= s->now_ms;
}

uint64_t store_random(struct store *s);
// Uniform below n, n > 0.
static inline uint64_t store_random_below(struct store *s, uint64_t n)
{
    return (uint64_t)((unsigned __int128)store_random(s) * n >> 64);
}

static inline uint32_t coarse_time(const struct keyspace *ks, int64_t expiry_ms)
{
    if ((uint64_t)expiry_ms <= ks->epoch_ms)
        return 0;
    uint64_t units = ((uint64_t)expiry_ms - ks->epoch_ms + COARSE_MS - 1) / COARSE_MS;
    return units < UINT32_MAX ? (uint32_t)units : UINT32_MAX;
}

// --- changes (change.c) -------------------------------------------------------------------------

// The bracket around a change of a slot: what it was before, so that the end can add the difference
// to every count, keep the indexes, take a step of a resize and free an empty slot's table.
struct change {
    struct slot *slot;
    unsigned db;
    uint32_t number;
    uint64_t bytes;
    uint32_t keys, volatile_keys, due_room;
    uint64_t values; // by how much entries and their values have grown: the rest is the index
};
struct change change_begin(const struct store *s, unsigned db, uint32_t number);
void change_end(struct store *s, const struct change *c);

// Within the bracket. Puts `fresh` in the place of `at`, or beside the others when `at` is NULL.
// False: memory is short; nothing was changed then and `fresh` is still the caller's.
bool change_put(struct store *s, struct change *c, const struct key *key, struct entry *at,
                struct entry *fresh);
// Takes out and frees the entry in `word`.
void change_remove(struct store *s, struct change *c, uint64_t hash, uint64_t *word);
// The same for an entry whose object has moved to another one.
void change_remove_hollow(struct store *s, struct change *c, uint64_t hash, uint64_t *word);

// Takes a slot's figures out of this store's indexes, puts them in.
void index_detach(struct store *s, unsigned db, uint32_t number);
void index_attach(struct store *s, unsigned db, uint32_t number);
// The same, of bytes alone: a value in a slot has grown by `bytes` (or shrunk).
void index_add_bytes(struct store *s, uint32_t number, uint64_t bytes);
// A slot that is not in this store's indexes was replaced as a whole.
void index_replaced(struct store *s, uint32_t number);
// All slots leave, come home.
void index_put_aside(struct store *s);
void index_take_back(struct store *s);
// Makes a database one that walks over all databases look at.
void database_use(struct keyspace *ks, unsigned db);
void counts_add(struct store *s, unsigned db, int64_t keys, int64_t volatile_keys, int64_t bytes);
// Of these bytes, those of tables, and of these, those of heaps of expiry.
void index_bytes_add(struct store *s, unsigned db, int64_t bytes, int64_t due);

// --- expiry (expire.c) --------------------------------------------------------------------------

// Unix ms before which no field of an object is due (within COARSE_MS); INT64_MAX: none is ever.
int64_t object_next_due(const struct store *s, enum object_type type, enum object_encoding encoding,
                        const void *object);
static inline int64_t entry_next_field(const struct store *s, const struct entry *e)
{
    if (!entry_is_object(e))
        return INT64_MAX;
    return object_next_due(s, entry_type(e), entry_encoding(e), entry_object(e));
}
// When something of an entry is due first: itself or a field of it. INT64_MAX: never.
static inline int64_t entry_first_due(const struct store *s, const struct entry *e)
{
    int64_t field = entry_next_field(s, e);
    int64_t expiry = entry_expiry(e);
    return expiry >= 0 && expiry < field ? expiry : field;
}
// Room for one more element in the slot's heap; `secret` is that of the table's hash. False: memory
// is short.
bool due_reserve(struct store *s, const struct hash_secret *secret, struct slot *slot);
void due_push(struct slot *slot, uint32_t time, uint32_t position);
void due_first_done(struct slot *slot); // takes out the first element
// Gives back room for elements that left.
void due_shrink(struct slot *slot);
// Tells whoever listens that an entry, or a field of it, is about to go.
void gone_tell(struct store *s, enum store_gone why, const struct change *c, uint64_t hash,
               const struct entry *e, const struct entry *field);
// Takes fields that are over out of the hash of an entry, a bounded number; returns how many.
unsigned fields_expire(struct store *s, const struct change *c, uint64_t hash, struct entry *e);
// Puts the slot at its right place of the store's queue.
void queue_update(struct store *s, uint32_t id, const struct slot *slot);
// Deletes what is due; `budget` as store_maintain. True when more is due.
bool expire_step(struct store *s, unsigned *budget);
// Takes the first element of a slot's heap and settles it: deletes the entries at its position that
// have expired (or, with `evict`, the one whose time it is) and, without `evict`, due fields of
// hashes there; pushes it again for what is due later. Returns what was done: entries and fields
// removed, 1 for an element that was stale, 0 when all is as it was.
unsigned expire_first(struct store *s, uint32_t id, bool evict);

// --- access and eviction (access.c, evict.c) ----------------------------------------------------

uint32_t access_initial(const struct store *s);
void access_touch(struct store *s, struct entry *e);
bool evict_step(struct store *s, unsigned *budget);

// --- flush (flush.c) ----------------------------------------------------------------------------

// Frees an entry that is out of its table, whose bytes are no longer its slot's. A big object is
// put aside and taken apart in steps.
void entry_discard(struct store *s, struct entry *e);
bool garbage_step(struct store *s, unsigned *budget);
void garbage_free_all(struct store *s);
void slot_free_all(struct store *s, struct slot *slot); // s NULL: at once
// Frees a slot that is out of the directory; `at` as in table_free_step. True when all is gone.
bool slot_free_step(struct store *s, struct slot *slot, uint32_t *at, unsigned *budget);

// --- walking (scan.c) ---------------------------------------------------------------------------

// A random own slot that has keys, each as probable as it has keys; UINT32_MAX when there is none.
uint32_t slot_random(struct store *s, unsigned db);
