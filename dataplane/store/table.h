// One slot's table, ordered by hash: a key's position is the high half of its hash, and n buckets
// cut the line of positions into n equal pieces. The look-up is here, inline; changes are in
// table.c.
//
// A bucket is a cache line of eight words, filled from the first: a 48-bit pointer to an entry and
// a 16-bit tag from the low half of the hash (never 0, so an empty word matches nothing). When more
// than eight entries meet, the eighth word points to a node: low bit set, and in place of the tag
// the node's capacity (in pairs of words) and count, a byte each.
//
// While a table is resized, positions on one side of a frontier are cut by the new count of
// buckets, those on the other by the old. Both live in the same memory: growing moves from the last
// bucket down, shrinking from the first up, so an old bucket in use never is a new one in use.
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/store/entry.h"
#include "dataplane/store/hash.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    BUCKET_WORDS = 8,
    NODE_WORDS_MAX = 254,      // what the count byte can say, and an even number
    NODE_LARGE = 255,          // for the capacity: count and capacity are in words[-1]
    TABLE_UNIT = 256,          // buckets of one unit of a segmented table
    TABLE_SINGLE_MAX = 1024,   // up to so many buckets are one allocation of at most 64 KiB
    TABLE_STEPS_PER_WRITE = 4, // buckets moved by a write to a table that is being resized
    TABLE_AT_ONCE = 16,        // tables up to so many buckets are resized by the write itself
};

enum root_flags {
    ROOT_RESIZING = 1,  // the extension tells old_buckets and frontier
    ROOT_SEGMENTED = 2, // the root points to pointers to units
    ROOT_FLAGS = 15,
};

// "Something at this position is due, no earlier."
struct due {
    uint32_t time; // coarse
    uint32_t position;
};

enum { DUE_CHUNK = 64 };

// What a slot needs now and then. Freed when the slot is empty.
struct slot_ext {
    uint32_t old_buckets; // while resizing
    uint32_t
        frontier; // in old buckets: growing, those from here on are moved; shrinking, those before
    uint32_t volatile_keys;
    uint32_t due_count, due_room;
    uint32_t field_keys; // hashes some of whose fields have an expiry
    union {
        struct due *due;     // a heap; with room for more than DUE_CHUNK elements it is
        struct due **chunks; // cut into chunks, so that it grows without a copy or a gap in memory
    };
};

static inline struct due *due_at(const struct slot_ext *ext, uint32_t i)
{
    if (ext->due_room <= DUE_CHUNK)
        return &ext->due[i];
    return &ext->chunks[i / DUE_CHUNK][i % DUE_CHUNK];
}

// A slot of one database. Two of them are a cache line.
struct slot {
    uintptr_t
        root; // buckets, or the units of a segmented table; ROOT_* in the low bits; 0: no table
    uint32_t buckets; // the count that the table has, or is being resized to
    uint32_t keys;
    uint64_t bytes; // entries, their blocks, buckets, nodes, extension
    struct slot_ext *ext;
};
static_assert(sizeof(struct slot) == 32, "two slots a line");

static inline uint32_t hash_position(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static inline uint64_t hash_tag(uint64_t hash)
{
    uint64_t tag = hash & 0xffff;
    return tag ? tag : 1;
}

static inline uint64_t word_make(const struct entry *e, uint64_t hash)
{
    return (uint64_t)(uintptr_t)e | hash_tag(hash) << 48;
}

static inline struct entry *word_entry(uint64_t word)
{
    return (struct entry *)(uintptr_t)(word & 0xffffffffffff);
}

static inline bool word_is_node(uint64_t word)
{
    return word & 1;
}

static inline uint64_t *node_words(uint64_t word)
{
    return (uint64_t *)(uintptr_t)(word & 0xfffffffffffe);
}

static inline bool node_is_large(uint64_t word)
{
    return __builtin_expect(word >> 56 == NODE_LARGE, 0);
}

static inline unsigned node_count(uint64_t word)
{
    return node_is_large(word) ? (unsigned)node_words(word)[-1] : word >> 48 & 0xff;
}

static inline unsigned node_room(uint64_t word) // in words
{
    return node_is_large(word) ? (unsigned)(node_words(word)[-1] >> 32)
                               : (unsigned)(word >> 56) * 2;
}

static inline uint32_t table_cut(uint32_t position, uint32_t buckets)
{
    return (uint32_t)((uint64_t)position * buckets >> 32);
}

// The first position of a bucket; of bucket `buckets`: 2^32.
static inline uint64_t table_start(uint32_t bucket, uint32_t buckets)
{
    return (((uint64_t)bucket << 32) + buckets - 1) / buckets;
}

static inline uint64_t *table_bucket(uintptr_t root, uint32_t index)
{
    uintptr_t base = root & ~(uintptr_t)ROOT_FLAGS;
    if (__builtin_expect(root & ROOT_SEGMENTED, 0)) {
        base = ((uintptr_t *)base)[index / TABLE_UNIT];
        index %= TABLE_UNIT;
    }
    return (uint64_t *)base + (size_t)index * BUCKET_WORDS;
}

// The bucket of a position, and its index by whichever count it is cut.
static inline uint32_t table_index(const struct slot *slot, uint32_t position)
{
    uint32_t index = table_cut(position, slot->buckets);
    if (__builtin_expect(slot->root & ROOT_RESIZING, 0)) {
        const struct slot_ext *ext = slot->ext;
        uint32_t old = table_cut(position, ext->old_buckets);
        bool growing = slot->buckets > ext->old_buckets;
        if (growing ? old < ext->frontier : old >= ext->frontier)
            index = old;
    }
    return index;
}

static inline uint64_t *table_locate(const struct slot *slot, uint32_t position)
{
    return table_bucket(slot->root, table_index(slot, position));
}

// Bit i is set where word i has this tag.
static inline unsigned bucket_match(const uint64_t *bucket, uint64_t tag)
{
#ifdef __SSE2__
    const __m128i *line = (const __m128i *)bucket;
    __m128i w01 = _mm_load_si128(line), w23 = _mm_load_si128(line + 1);
    __m128i w45 = _mm_load_si128(line + 2), w67 = _mm_load_si128(line + 3);
    // The upper halves of the words, their tags shifted down with the sign, packed without loss.
    __m128i low = _mm_castps_si128(
        _mm_shuffle_ps(_mm_castsi128_ps(w01), _mm_castsi128_ps(w23), _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i high = _mm_castps_si128(
        _mm_shuffle_ps(_mm_castsi128_ps(w45), _mm_castsi128_ps(w67), _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i tags = _mm_packs_epi32(_mm_srai_epi32(low, 16), _mm_srai_epi32(high, 16));
    __m128i same = _mm_cmpeq_epi16(tags, _mm_set1_epi16((short)tag));
    return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128()));
#else
    unsigned match = 0;
    for (unsigned i = 0; i < BUCKET_WORDS; i++)
        match |= (unsigned)(bucket[i] >> 48 == tag) << i;
    return match;
#endif
}

// Words of a bucket that are entries, node not included.
static inline unsigned bucket_used(const uint64_t *bucket)
{
    unsigned n = 0;
    while (n < BUCKET_WORDS && bucket[n] && !word_is_node(bucket[n]))
        n++;
    return n;
}

// The node's word of a bucket, or 0.
static inline uint64_t bucket_node(const uint64_t *bucket)
{
    uint64_t last = bucket[BUCKET_WORDS - 1];
    return word_is_node(last) ? last : 0;
}

static inline unsigned bucket_count(const uint64_t *bucket)
{
    uint64_t node = bucket_node(bucket);
    return bucket_used(bucket) + (node ? node_count(node) : 0);
}

// The i-th of its entries' words.
static inline uint64_t *bucket_word(uint64_t *bucket, unsigned i)
{
    uint64_t node = bucket_node(bucket);
    if (node && i >= BUCKET_WORDS - 1)
        return node_words(node) + (i - (BUCKET_WORDS - 1));
    return bucket + i;
}

// The word that holds the key's entry, or NULL.
static inline uint64_t *table_find(const struct slot *slot, const struct key *key)
{
    if (!slot->root)
        return NULL;
    uint64_t *bucket = table_locate(slot, hash_position(key->hash));
    uint64_t tag = hash_tag(key->hash);
    unsigned match = bucket_match(bucket, tag);
    for (; match; match &= match - 1) {
        uint64_t *word = bucket + __builtin_ctz(match);
        if (!word_is_node(*word) && entry_key_is(word_entry(*word), key->ptr, key->len))
            return word;
    }
    uint64_t node = bucket_node(bucket);
    if (__builtin_expect(!!node, 0)) {
        uint64_t *words = node_words(node);
        for (unsigned i = 0, held = node_count(node); i < held; i++)
            if (words[i] >> 48 == tag && entry_key_is(word_entry(words[i]), key->ptr, key->len))
                return words + i;
    }
    return NULL;
}

struct store_stats;
struct table_env {
    const struct hash_secret *secret;
    struct store_stats *stats;
};

// The word of an entry that is in the table.
uint64_t *table_word(const struct slot *slot, uint64_t hash, const struct entry *e);
// Makes room for one more key and a table where there is none. False: memory is short.
bool table_insert(const struct table_env *env, struct slot *slot, uint64_t hash, struct entry *e);
// Takes out the word; the entry stays the caller's. The slot's extension stays, too.
void table_remove(const struct table_env *env, struct slot *slot, uint64_t hash, uint64_t *word);
// Does up to `steps` buckets of a resize; starts one if it is time for it.
void table_step(const struct table_env *env, struct slot *slot, unsigned slot_number,
                unsigned steps);
// Frees what the table of a slot that has no keys takes.
void table_drop(struct slot *slot);
bool slot_need_ext(struct slot *slot);
// Frees the extension with the expiry heap; its bytes are no longer the slot's.
void slot_drop_ext(struct slot *slot);
// The same in steps: true when it is gone.
bool slot_drop_ext_step(struct slot *slot, unsigned *steps);
void slot_counted_free(struct slot *slot, void *p);

// The bucket at a position and the first position beyond what it holds (up to 2^32).
uint64_t *table_walk(const struct slot *slot, uint32_t position, uint64_t *start, uint64_t *end);
// Gives up to `steps` entries of a table that nobody looks at any more to `discard`, from bucket
// *at on, and frees what held them; true when all is gone.
bool table_free_step(struct slot *slot, uint32_t *at, unsigned *steps,
                     void (*discard)(void *context, struct entry *e), void *context);
