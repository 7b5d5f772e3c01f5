// Keys of any type: look-up, deletion, expiry, moving and copying.
#include <assert.h>

#include "common/arg.h"
#include "common/prefetch.h"
#include "dataplane/store/internal.h"
#include "dataplane/store/members.h"
#include "dataplane/store/object.h"
#include "dataplane/store/values/listpack.h"
#include "dataplane/store/values/quicklist.h"
#include "dataplane/store/values/stream.h"
#include "dataplane/store/values/zset.h"

enum {
    LISTPACK_FETCHED = 1024, // bytes of a listpack that are asked for ahead
    OVERFLOW_LOOKED = 8,     // entries of an overflowing bucket
};

static_assert(offsetof(struct zset, members) == 0, "store_prefetch_further");

void store_prefetch_slot(const struct store *s, unsigned db, const struct key *key)
{
    prefetch(slot_of(s->ks, db, key->slot));
}

void store_prefetch_bucket(const struct store *s, unsigned db, const struct key *key,
                           struct fetch *f)
{
    const struct slot *slot = slot_of(s->ks, db, key->slot);
    f->bucket = slot->root ? table_locate(slot, hash_position(key->hash)) : NULL;
    if (f->bucket)
        prefetch(f->bucket);
}

static inline void prefetch_found(struct fetch *f, uint64_t word)
{
    f->entry = word_entry(word);
    prefetch(f->entry);
    prefetch((const char *)f->entry + CACHE_LINE);
}

void store_prefetch_entry(const struct key *key, struct fetch *f)
{
    f->entry = NULL;
    f->overflow = false;
    if (!f->bucket)
        return;
    unsigned match = bucket_match(f->bucket, hash_tag(key->hash));
    uint64_t node = bucket_node(f->bucket);
    // The word of a node may look as if it matched.
    if (match && !word_is_node(f->bucket[__builtin_ctz(match)])) {
        prefetch_found(f, f->bucket[__builtin_ctz(match)]);
    } else if (node) {
        prefetch(node_words(node));
        f->overflow = true;
    }
}

void store_prefetch_overflow(const struct key *key, struct fetch *f)
{
    uint64_t node = bucket_node(f->bucket);
    uint64_t tag = hash_tag(key->hash);
    const uint64_t *words = node_words(node);
    unsigned held = node_count(node);
    for (unsigned i = 0; i < held && i < OVERFLOW_LOOKED; i++)
        if (words[i] >> 48 == tag) {
            prefetch_found(f, words[i]);
            return;
        }
}

void store_look_entry(const struct store *s, unsigned db, const struct key *key, struct fetch *f)
{
    const struct slot *slot = slot_of(s->ks, db, key->slot);
    f->bucket = slot->root ? table_locate(slot, hash_position(key->hash)) : NULL;
    store_prefetch_entry(key, f);
    if (f->overflow)
        store_prefetch_overflow(key, f);
}

bool store_prefetch_object(const struct store *s, const struct arg *name, unsigned depth,
                           const struct fetch *f)
{
    const struct entry *e = f->entry;
    if (!e || !entry_is_object(e))
        return false;
    const char *object = entry_object(e);
    if (!depth) {
        prefetch(object);
        prefetch(object + CACHE_LINE);
        if (entry_encoding(e) == ENC_STREAM) { // a longer struct
            prefetch(object + 2 * CACHE_LINE);
            prefetch(object + 3 * CACHE_LINE);
        }
        return true;
    }
    switch (entry_encoding(e)) {
    case ENC_QUICKLIST:
        quicklist_prefetch((const struct quicklist *)object);
        return false;
    case ENC_LISTPACK: // the rest of it: whoever seeks an element walks over half of it or all
        for (size_t i = 2 * CACHE_LINE, end = lp_bytes((const uint8_t *)object);
             i < end && i < LISTPACK_FETCHED; i += CACHE_LINE)
            prefetch(object + i);
        return false;
    case ENC_HASHTABLE:
    case ENC_SKIPLIST: // which begins with its members
        return name &&
               members_prefetch(s, (const struct members *)object, name->ptr, name->len, depth);
    case ENC_STREAM:
        return stream_prefetch((const struct stream_value *)object, depth);
    default:
        return false;
    }
}

// A key whose time is over is deleted by whoever meets it.
static void remove_expired(struct store *s, unsigned db, const struct key *key, uint64_t *word)
{
    struct change c = change_begin(s, db, key->slot);
    gone_tell(s, GONE_EXPIRED, &c, key->hash, word_entry(*word), NULL);
    change_remove(s, &c, key->hash, word);
    change_end(s, &c);
    s->stats.expired++;
    s->stats.expired_lazily++;
    s->stats.dirty++;
}

static void missed(struct store *s, unsigned db, const struct key *key, unsigned flags)
{
    s->stats.misses++;
    if (s->missed && !(flags & LOOKUP_NO_NOTIFY))
        s->missed(s->missed_context, db, key);
}

struct entry *store_find(struct store *s, unsigned db, const struct key *key, unsigned flags)
{
    uint64_t *word = table_find(slot_of(s->ks, db, key->slot), key);
    struct entry *e = word ? word_entry(*word) : NULL;
    if (e && entry_is_expired(s, e)) {
        if (!s->still || flags & LOOKUP_WRITE)
            remove_expired(s, db, key, word);
        e = NULL;
    }
    if (!(flags & (LOOKUP_NO_STATS | LOOKUP_WRITE))) {
        if (e)
            s->stats.hits++;
        else
            missed(s, db, key, flags);
    }
    if (e && !(flags & LOOKUP_NO_TOUCH))
        access_touch(s, e);
    return e;
}

bool store_delete(struct store *s, unsigned db, const struct key *key)
{
    uint64_t *word = table_find(slot_of(s->ks, db, key->slot), key);
    if (!word)
        return false;
    if (entry_is_expired(s, word_entry(*word))) {
        remove_expired(s, db, key, word);
        return false;
    }
    struct change c = change_begin(s, db, key->slot);
    change_remove(s, &c, key->hash, word);
    change_end(s, &c);
    s->stats.dirty++;
    return true;
}

// The value of an entry, to be put into another one. A block's reference is not taken, an object is
// the same one.
static struct entry_value value_of(const struct entry *e)
{
    struct entry_parts parts = entry_parts(e);
    struct entry_value value = {.type = entry_type(e), .encoding = entry_encoding(e)};
    if (entry_is_object(e)) {
        value.object = entry_object(e);
    } else if (entry_is_block(e)) {
        value.block = entry_block(&parts);
    } else {
        value.ptr = parts.value;
        value.len = parts.value_len;
    }
    return value;
}

static int64_t expiry_clamp(int64_t expiry_ms)
{
    if (expiry_ms == -1)
        return -1;
    if (expiry_ms < 0)
        return 0;
    return expiry_ms < ENTRY_EXPIRY_MAX ? expiry_ms : ENTRY_EXPIRY_MAX;
}

struct entry *store_set_expiry(struct store *s, unsigned db, const struct key *key, struct entry *e,
                               int64_t expiry_ms)
{
    expiry_ms = expiry_clamp(expiry_ms);
    int64_t before = entry_expiry(e);
    struct change c = change_begin(s, db, key->slot);
    if (before >= 0 && expiry_ms >= 0) {
        bool push = expiry_ms < before;
        bool ok = !push || due_reserve(s, &s->ks->secret, c.slot);
        if (ok) {
            struct entry_parts parts = entry_parts(e);
            assert(parts.expiry);
            expiry_save(parts.expiry, expiry_ms);
            e->head = head_make(entry_type(e), entry_encoding(e), head_flags(e->head), s->epoch,
                                head_access(e->head));
            if (push)
                due_push(c.slot, coarse_time(s->ks, expiry_ms), hash_position(key->hash));
        }
        change_end(s, &c);
        s->stats.dirty += ok;
        return ok ? e : NULL;
    }
    if (before < 0 && expiry_ms < 0)
        return e;
    struct entry_value value = value_of(e);
    struct entry *fresh =
        entry_new(key->ptr, key->len, &value, expiry_ms, s->epoch, head_access(e->head));
    if (fresh && value.block)
        block_retain(value.block);
    if (fresh && !change_put(s, &c, key, e, fresh)) {
        block_release(value.block);
        mi_free(fresh); // the object stays with `e`
        fresh = NULL;
    }
    change_end(s, &c);
    if (fresh)
        s->stats.dirty++;
    return fresh;
}

// Puts a value under a key, in the place of what is there. It is taken over where that works.
static bool put_value(struct store *s, unsigned db, const struct key *key,
                      const struct entry *source, const struct entry_value *value)
{
    struct entry *fresh = entry_new(key->ptr, key->len, value, entry_expiry(source), s->epoch,
                                    head_access(source->head));
    if (!fresh)
        return false;
    struct change c = change_begin(s, db, key->slot);
    uint64_t *word = table_find(c.slot, key);
    bool ok = change_put(s, &c, key, word ? word_entry(*word) : NULL, fresh);
    change_end(s, &c);
    if (ok && word && s->added)
        s->added(s->added_context, db, key);
    if (!ok)
        mi_free(fresh);
    return ok;
}

static const struct entry *source_of(struct store *s, unsigned db, const struct key *key)
{
    uint64_t *word = table_find(slot_of(s->ks, db, key->slot), key);
    assert(word);
    return word_entry(*word);
}

static bool put_copy(struct store *s, const struct entry *source, struct entry_value *value,
                     unsigned to_db, const struct key *to)
{
    if (value->block)
        block_retain(value->block);
    if (!put_value(s, to_db, to, source, value)) {
        block_release(value->block);
        if (value->object)
            store_discard_object(s, value->type, value->encoding, value->object);
        return false;
    }
    s->stats.dirty++;
    return true;
}

bool store_copy(struct store *s, unsigned from_db, const struct key *from, unsigned to_db,
                const struct key *to)
{
    const struct entry *source = source_of(s, from_db, from);
    struct entry_value value = value_of(source);
    if (value.object) {
        value.object = object_copy(s, value.type, value.encoding, value.object);
        if (!value.object)
            return false;
    }
    return put_copy(s, source, &value, to_db, to);
}

bool store_copy_made(struct store *s, unsigned from_db, const struct key *from, unsigned to_db,
                     const struct key *to, void *object)
{
    const struct entry *source = source_of(s, from_db, from);
    struct entry_value value = value_of(source);
    assert(value.object && object);
    value.object = object;
    return put_copy(s, source, &value, to_db, to);
}

bool store_rename(struct store *s, unsigned from_db, const struct key *from, unsigned to_db,
                  const struct key *to)
{
    if (from_db == to_db && from->len == to->len && !memcmp(from->ptr, to->ptr, to->len))
        return true;
    uint64_t *word = table_find(slot_of(s->ks, from_db, from->slot), from);
    assert(word);
    const struct entry *source = word_entry(*word);
    struct entry_value value = value_of(source);
    if (value.block)
        block_retain(value.block);
    // From here to the end two entries name the object, and both count it.
    if (!put_value(s, to_db, to, source, &value)) {
        block_release(value.block);
        return false;
    }
    struct change c = change_begin(s, from_db, from->slot);
    change_remove_hollow(s, &c, from->hash, table_find(c.slot, from));
    change_end(s, &c);
    s->stats.dirty++;
    return true;
}
