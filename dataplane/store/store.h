// The keys. A keyspace is the whole of them: 16,384 slots per database, each slot a table of its
// own that belongs to exactly one core. A store is one core's hand in it: the time, the random
// numbers, the counters and the indexes over the slots that the core owns.
//
// Whoever executes on a slot (its owner, or the core that borrowed it) passes its own store;
// nothing of the owner's store is touched then. What the owner keeps about its slots (groups of
// counts, the expiry queue) is put right when a slot comes home: `store_slot_lent`,
// `store_slot_returned`. Counts of keys and bytes are summed over all stores, so a store's own
// figure may be negative, the sum never.
//
// No I/O, no clock, no lock. Memory comes from the calling thread's mimalloc heap.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/slot.h"

struct block;
struct keyspace;
struct store;
struct entry;
struct arg;

// Numbers as in RDB files.
enum object_type { OBJ_STRING, OBJ_LIST, OBJ_SET, OBJ_ZSET, OBJ_HASH, OBJ_MODULE, OBJ_STREAM };
enum object_encoding {
    ENC_RAW, // a string that was changed in place or is longer than STRING_EMBSTR_MAX
    ENC_INT,
    ENC_HASHTABLE,
    ENC_EMBSTR,
    ENC_QUICKLIST,
    ENC_LISTPACK,
    ENC_INTSET,
    ENC_SKIPLIST,
    ENC_STREAM,
};
#define STRING_EMBSTR_MAX 44    // what OBJECT ENCODING calls embstr; no more than a name here
#define STRING_MAX (512u << 20) // proto-max-bulk-len's default: limit of APPEND, SETRANGE …

struct key {
    const uint8_t *ptr;
    uint32_t len;
    uint16_t slot;
    uint64_t hash; // keyed by the keyspace's secret
};

static inline bool key_same(const struct key *a, const struct key *b)
{
    return a->hash == b->hash && a->len == b->len && memcmp(a->ptr, b->ptr, a->len) == 0;
}

struct keyspace_config {
    unsigned cores;
    unsigned databases;
    uint8_t secret[16];
    uint64_t epoch_ms; // wall clock at start: base of coarse times
};

struct keyspace *keyspace_create(const struct keyspace_config *config);
void keyspace_destroy(struct keyspace *ks); // after all stores
unsigned keyspace_databases(const struct keyspace *ks);
// The core that owns a slot.
unsigned keyspace_core(const struct keyspace *ks, uint16_t slot);
// What there is to know of a key's name, which stays where it is. Written in place: a struct that
// is returned is put together of narrow stores, and waits for them when it is copied whole.
void keyspace_find(const struct keyspace *ks, const void *ptr, size_t len, struct key *key);
static inline struct key keyspace_key(const struct keyspace *ks, const void *ptr, size_t len)
{
    struct key key;
    keyspace_find(ks, ptr, len, &key);
    return key;
}
// Keys of a database, keys with an expiry, bytes: summed over cores. Any core, exact for everything
// whose reply the asker has seen.
uint64_t keyspace_keys(const struct keyspace *ks, unsigned db);
uint64_t keyspace_volatile_keys(const struct keyspace *ks, unsigned db);
uint64_t keyspace_memory(const struct keyspace *ks);
// Of these bytes, those of a database's tables: buckets and what belongs to them, and of these
// the heaps of expiry. The others are entries and values, and what waits to be freed.
struct keyspace_index {
    uint64_t bytes, due_bytes;
};
struct keyspace_index keyspace_index(const struct keyspace *ks, unsigned db);
// The same as keyspace_memory with what each core holds beside its keys, as it last said: what
// `maxmemory` bounds.
uint64_t keyspace_used(const struct keyspace *ks);
// The executing core's part of the first: keys that it has added, less those that it took away.
int64_t store_keys_counted(const struct store *s, unsigned db);

enum eviction_policy { // maxmemory-policy
    EVICT_NONE,
    EVICT_ALLKEYS_LRU,
    EVICT_ALLKEYS_LFU,
    EVICT_ALLKEYS_RANDOM,
    EVICT_VOLATILE_LRU,
    EVICT_VOLATILE_LFU,
    EVICT_VOLATILE_RANDOM,
    EVICT_VOLATILE_TTL,
};

struct store_options { // may change at run time: store_configure
    enum eviction_policy policy;
    uint64_t maxmemory; // bytes for all cores, and all that they hold; 0: no limit
    unsigned samples;   // maxmemory-samples
    unsigned lfu_log_factor, lfu_decay_time;
};

struct store_stats {
    uint64_t hits, misses, expired, evicted, expired_lazily, expired_fields;
    uint64_t resize_steps, overflow_nodes;
    uint64_t dirty; // changes since start
};

// `epoch` is the number of the newest snapshot; a changed entry is stamped with it.
struct store *store_create(struct keyspace *ks, unsigned core, uint64_t seed);
void store_destroy(struct store *s);
void store_configure(struct store *s, const struct store_options *options);
// Once a turn: wall clock in milliseconds. Expiry and LRU see this time.
void store_set_time(struct store *s, uint64_t now_ms);
uint64_t store_time(const struct store *s);
const struct store_stats *store_statistics(const struct store *s);
void store_reset_statistics(struct store *s);
struct keyspace *store_keyspace(const struct store *s);
// While off, nothing expires actively (DEBUG SET-ACTIVE-EXPIRE 0).
void store_active_expire(struct store *s, bool on);
// While still, nothing expires or is evicted by itself (CLIENT PAUSE): readers do not find a key
// whose time is over, and leave it where it is. Changes go on as ever.
void store_stand_still(struct store *s, bool on);

// --- look-up -----------------------------------------------------------------------------------

// The stages of a batch, each for many commands before the next: the slot's directory line, the
// bucket's line, the entry that the tag points to or, where that is not in its bucket (`overflow`),
// what overflowed. Hints only. What one stage found serves the next as long as nothing is executed
// in between.
struct fetch {
    const uint64_t *bucket;    // NULL: there is no table
    const struct entry *entry; // NULL: not found
    bool overflow;
};
void store_prefetch_slot(const struct store *s, unsigned db, const struct key *key);
void store_prefetch_bucket(const struct store *s, unsigned db, const struct key *key,
                           struct fetch *f);
void store_prefetch_entry(const struct key *key, struct fetch *f);
void store_prefetch_overflow(const struct key *key, struct fetch *f);
// All of these at once, over lines that have been fetched: begins the chain.
void store_look_entry(const struct store *s, unsigned db, const struct key *key, struct fetch *f);
// For commands of other types than strings, along the chain from the entry to what the command will
// touch: the object (depth 0), its bucket, ends or last leaf (1), what is there (2 …). Again
// nothing is executed since store_look_entry. `name` is the member or field that the command names,
// NULL: none. False: there is nothing deeper.
#define PREFETCH_DEPTHS 5
bool store_prefetch_object(const struct store *s, const struct arg *name, unsigned depth,
                           const struct fetch *f);

enum lookup_flags {
    LOOKUP_NO_TOUCH =
        1u << 0, // leaves LRU/LFU as they are (OBJECT, TYPE, TTL … and CLIENT NO-TOUCH)
    LOOKUP_NO_STATS = 1u << 1,  // counts neither hit nor miss
    LOOKUP_WRITE = 1u << 2,     // for a change: counts neither hit nor miss
    LOOKUP_NO_NOTIFY = 1u << 3, // nobody hears that it is not there
};
// The live entry or NULL. An expired one is deleted (or hidden, on a replica) and NULL returned.
struct entry *store_find(struct store *s, unsigned db, const struct key *key, unsigned flags);

enum object_type entry_type(const struct entry *e);
enum object_encoding entry_encoding(const struct entry *e);
const char *encoding_name(enum object_encoding encoding); // "embstr" …
const char *type_name(enum object_type type);             // "string" …
const uint8_t *entry_key(const struct entry *e, size_t *len);
int64_t entry_expiry(const struct entry *e); // Unix time in ms, -1: none
size_t entry_memory(const struct entry *e);  // bytes, as MEMORY USAGE counts them
uint64_t entry_idle_ms(const struct store *s, const struct entry *e);
unsigned entry_frequency(const struct store *s, const struct entry *e); // LFU counter, decayed
void entry_set_access(struct store *s, struct entry *e, int64_t idle_ms,
                      int frequency); // -1: leave

// --- strings -----------------------------------------------------------------------------------

// The bytes of a string. `scratch` (at least 24 bytes) holds the digits of an integer encoding.
// `block` is the block that holds a big value, for replies by reference; NULL otherwise.
struct string_view {
    const uint8_t *ptr;
    size_t len;
    struct block *block;
};
struct string_view entry_string(const struct entry *e, char scratch[24]);
// True when the value is, or reads as, a 64-bit integer.
bool entry_integer(const struct entry *e, int64_t *value);

enum set_flags {
    SET_KEEP_TTL = 1u << 0,    // the present expiry stays; expiry_ms is ignored
    SET_RAW = 1u << 1,         // report encoding raw, do not try integer (APPEND, SETRANGE)
    SET_INTEGER_TRY = 1u << 2, // store as an integer where the bytes are one (SET …)
};
// Sets key to the bytes of `value`; a value->block may be kept (retained) without a copy. Replaces
// a value of any type. expiry_ms -1: none. `at` is what store_find returned for the key just now,
// or NULL. Returns the entry, or NULL when memory is short (nothing changed then).
struct entry *store_set_string(struct store *s, unsigned db, const struct key *key,
                               struct entry *at, const struct arg *value, int64_t expiry_ms,
                               unsigned flags);
// Sets an existing or new key to an integer, in place where that fits.
struct entry *store_set_integer(struct store *s, unsigned db, const struct key *key,
                                struct entry *at, int64_t value, int64_t expiry_ms, unsigned flags);
// Writes `len` bytes at `offset`, growing with zero bytes; creates the key when `at` is NULL. A
// shared block is copied first. Amortised growth, so that n APPENDs cost O(n). Encoding becomes
// raw.
struct entry *store_write_range(struct store *s, unsigned db, const struct key *key,
                                struct entry *at, size_t offset, const void *data, size_t len);

// --- keys --------------------------------------------------------------------------------------

bool store_delete(struct store *s, unsigned db,
                  const struct key *key); // of any type; true if it was there
// -1 removes the expiry. The entry may move: use the returned one. NULL: memory is short.
struct entry *store_set_expiry(struct store *s, unsigned db, const struct key *key, struct entry *e,
                               int64_t expiry_ms);
// Moves the value and expiry to another key (which is replaced) of any slot and database that this
// core may execute on. The copying form leaves the source. false: memory is short.
bool store_rename(struct store *s, unsigned from_db, const struct key *from, unsigned to_db,
                  const struct key *to);
bool store_copy(struct store *s, unsigned from_db, const struct key *from, unsigned to_db,
                const struct key *to);
// The same with a copy of the source's object that was made before (object_copy_step) and is taken
// over, also when it fails.
bool store_copy_made(struct store *s, unsigned from_db, const struct key *from, unsigned to_db,
                     const struct key *to, void *object);
// A random live key of the slots that this core owns, or false. `key` points into the entry.
bool store_random_key(struct store *s, unsigned db, struct key *key);

// SCAN. A cursor is (slot, position in the slot's hash order); 0 starts and ends. Every key that is
// there from the first call to the last is given exactly once, whatever grows or shrinks meanwhile.
// Calls `each` for at least `count` live keys where there are so many, within a bounded amount of
// work, over the slots this core owns, from `cursor` on. Returns the next cursor, which may belong
// to another core (see store_cursor_core), or 0 at the end.
typedef void store_each_fn(void *context, struct entry *entry);
uint64_t store_scan(struct store *s, unsigned db, uint64_t cursor, unsigned long count,
                    store_each_fn *each, void *context);
unsigned store_cursor_core(const struct keyspace *ks, uint64_t cursor);
// All live keys of the slots this core owns (KEYS), lent or not: nobody may be changing them.
// `each` must not change the store.
void store_each(struct store *s, unsigned db, store_each_fn *each, void *context);

// Needs every slot of every core (borrowed). Constant time per slot in use: tables are detached and
// freed by `store_maintain` of the executing core. Returns the number of keys removed. db -1: all.
uint64_t store_flush(struct store *s, int db);
void store_swap_databases(struct store *s, unsigned a, unsigned b);

// --- memory and time ---------------------------------------------------------------------------

// Called before a command that may add memory. Evicts from own slots within a bounded number of
// steps while the process is over maxmemory. Returns false when it is still over and nothing can be
// done now
// (-OOM). `store_memory_over` only looks.
bool store_make_room(struct store *s);
bool store_memory_over(const struct store *s);
// What this core holds beside the keys (clients, scripts, tables of others); called now and then.
void store_memory_beside(struct store *s, uint64_t bytes);
// Bounded background work of one turn: active expiry, resizing, freeing of detached tables,
// eviction. `budget` is in units of about one entry touched. Returns true when more is due at once.
bool store_maintain(struct store *s, unsigned budget);
// Wall clock ms at which store_maintain has something to do; UINT64_MAX: nothing known.
uint64_t store_next_due(const struct store *s);

// What the store takes away on its own is told just before: a key whose time is over, one that is
// evicted, a field whose time is over (its hash goes with the last one, which is not told again).
// `gone` must not touch the store.
enum store_gone { GONE_EXPIRED, GONE_EVICTED, GONE_FIELD };
typedef void store_gone_fn(void *context, enum store_gone why, unsigned db, const struct key *key,
                           const uint8_t *field, size_t field_len);
void store_on_gone(struct store *s, store_gone_fn *gone, void *context); // NULL: nobody listens

// A look-up that counts finds no key; a key is added that was not there, or in the place of another
// one by store_rename or store_copy. NULL: nobody listens. The functions must not touch the store.
typedef void store_heard_fn(void *context, unsigned db, const struct key *key);
void store_on_missed(struct store *s, store_heard_fn *missed, void *context);
void store_on_added(struct store *s, store_heard_fn *added, void *context);

// Lending: called by the owner before another core may execute on the slot, and after.
void store_slot_lent(struct store *owner, uint16_t slot);
void store_slot_returned(struct store *owner, uint16_t slot);
// The same of all slots at once, none of which is lent by itself: a few cache lines, however many
// keys there are, and then as many slots as the borrower has changed.
void store_all_lent(struct store *owner);
void store_all_returned(struct store *owner);

// Figures of a slot (CLUSTER COUNTKEYSINSLOT, statistics).
struct slot_figures {
    uint64_t keys, volatile_keys, bytes, buckets;
};
struct slot_figures store_slot_figures(const struct keyspace *ks, unsigned db, uint16_t slot);
// Figures of all slots that this core owns, but for those that are lent: keys of all databases,
// bytes of tables, entries and values.
struct owned_figures {
    uint64_t keys, bytes;
};
struct owned_figures store_owned_figures(const struct store *s);
