// The layout of an entry, for the files of this room. One allocation:
//
//   8 bytes   head: type 4 bits, encoding 4, flags 8, epoch of the last change 24, access 24
//   2 bytes   lengths of key and value, one each (ENTRY_LONG: 8 bytes, four each)
//   6 bytes   expiry, Unix ms (only with ENTRY_EXPIRY)
//             key bytes
//             value: bytes, a 64-bit integer (ENC_INT), or a pointer to a block (ENTRY_BLOCK) or an
//             object
//
// A 16-byte key and a 64-byte value with an expiry take 96 bytes, which is a size class of the
// allocator. `access` is a clock in seconds (LRU) or minutes and a counter (LFU).
#pragma once

#include <mimalloc.h>
#include <string.h>

#include "common/block.h"
#include "dataplane/store/store.h"

enum entry_flags {
    ENTRY_EXPIRY = 1u << 0,
    ENTRY_LONG = 1u << 1,
    ENTRY_BLOCK = 1u << 2,
    ENTRY_OBJECT = 1u << 3, // the value is a pointer to what object.h describes
};

struct entry {
    uint64_t head;
    uint8_t body[];
};

enum {
    ENTRY_EXPIRY_BYTES = 6,
    ENTRY_SHORT_MAX = 255,    // what a one-byte length can say
    ENTRY_CLASSED_MAX = 1024, // up to here the size class is looked up, not asked for
    ENTRY_CLASS_STEP = 16,
};
// The last moment that those bytes hold, in the year 10889: what lies beyond is kept as this.
#define ENTRY_EXPIRY_MAX ((INT64_C(1) << 48) - 1)

static inline unsigned head_flags(uint64_t head)
{
    return head >> 8 & 0xff;
}

static inline uint32_t head_access(uint64_t head)
{
    return (uint32_t)(head >> 40);
}

static inline uint64_t head_make(unsigned type, unsigned encoding, unsigned flags, uint32_t epoch,
                                 uint32_t access)
{
    return (uint64_t)type | (uint64_t)encoding << 4 | (uint64_t)flags << 8 |
           (uint64_t)(epoch & 0xffffff) << 16 | (uint64_t)access << 40;
}

static inline void entry_put_access(struct entry *e, uint32_t access)
{
    e->head = (e->head & 0xffffffffff) | (uint64_t)access << 40;
}

static inline bool entry_has_expiry(const struct entry *e)
{
    return head_flags(e->head) & ENTRY_EXPIRY;
}

static inline bool entry_is_block(const struct entry *e)
{
    return head_flags(e->head) & ENTRY_BLOCK;
}

static inline bool entry_is_object(const struct entry *e)
{
    return head_flags(e->head) & ENTRY_OBJECT;
}

// Where things are in an entry.
struct entry_parts {
    uint8_t *expiry; // NULL: none
    uint8_t *key;
    uint8_t *value;
    uint32_t key_len;
    uint32_t value_len; // of what lies in the entry: 8 for integers and blocks
};

static inline struct entry_parts entry_parts(const struct entry *e)
{
    struct entry_parts parts;
    unsigned flags = head_flags(e->head);
    uint8_t *p = (uint8_t *)e->body;
    if (flags & ENTRY_LONG) {
        memcpy(&parts.key_len, p, 4);
        memcpy(&parts.value_len, p + 4, 4);
        p += 8;
    } else {
        parts.key_len = p[0];
        parts.value_len = p[1];
        p += 2;
    }
    parts.expiry = NULL;
    if (flags & ENTRY_EXPIRY) {
        parts.expiry = p;
        p += ENTRY_EXPIRY_BYTES;
    }
    parts.key = p;
    parts.value = p + parts.key_len;
    return parts;
}

static inline int64_t expiry_load(const uint8_t *p)
{
    uint64_t v = 0;
    memcpy(&v, p, ENTRY_EXPIRY_BYTES);
    return (int64_t)v;
}

static inline void expiry_save(uint8_t *p, int64_t expiry_ms)
{
    uint64_t v = (uint64_t)expiry_ms;
    memcpy(p, &v, ENTRY_EXPIRY_BYTES);
}

static inline struct block *entry_block(const struct entry_parts *parts)
{
    struct block *b;
    memcpy(&b, parts->value, sizeof(b));
    return b;
}

// Keys are short: words that may overlap, instead of a call.
static inline bool bytes_same(const uint8_t *a, const uint8_t *b, size_t len)
{
    uint64_t x, y;
    if (len >= 8) {
        for (size_t i = 0; i + 8 < len; i += 8) {
            memcpy(&x, a + i, 8);
            memcpy(&y, b + i, 8);
            if (x != y)
                return false;
        }
        memcpy(&x, a + len - 8, 8);
        memcpy(&y, b + len - 8, 8);
        return x == y;
    }
    for (size_t i = 0; i < len; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

static inline bool entry_key_is(const struct entry *e, const uint8_t *key, size_t len)
{
    unsigned flags = head_flags(e->head);
    const uint8_t *p = e->body + 2;
    if (flags & ENTRY_LONG) {
        uint32_t key_len;
        memcpy(&key_len, e->body, 4);
        if (key_len != len)
            return false;
        p = e->body + 8;
    } else if (e->body[0] != len) {
        return false;
    }
    if (flags & ENTRY_EXPIRY)
        p += ENTRY_EXPIRY_BYTES;
    return bytes_same(p, key, len);
}

// What an entry of these parts takes before the allocator rounds it.
static inline bool entry_needs_long(size_t key_len, size_t value_len)
{
    return key_len > ENTRY_SHORT_MAX || value_len > ENTRY_SHORT_MAX;
}

static inline size_t entry_size(size_t key_len, size_t value_len, bool expiry)
{
    return sizeof(struct entry) + (entry_needs_long(key_len, value_len) ? 8 : 2) +
           (expiry ? ENTRY_EXPIRY_BYTES : 0) + key_len + value_len;
}

// Size classes of the allocator up to ENTRY_CLASSED_MAX, filled in once.
extern uint16_t entry_class[ENTRY_CLASSED_MAX / ENTRY_CLASS_STEP + 1];
void entry_classes_init(void);

static inline size_t entry_class_of(size_t size)
{
    return entry_class[(size + ENTRY_CLASS_STEP - 1) / ENTRY_CLASS_STEP];
}

// Bytes of the entry's own allocation. An entry up to ENTRY_CLASSED_MAX is always of the class of
// its size; larger ones may have room to spare.
static inline size_t entry_allocated(const struct entry *e)
{
    struct entry_parts parts = entry_parts(e);
    size_t size = (size_t)(parts.value + parts.value_len - (const uint8_t *)e);
    return size <= ENTRY_CLASSED_MAX ? entry_class_of(size) : mi_usable_size(e);
}

size_t entry_object_bytes(const struct entry *e);

// The same and the value's block or object. A block that several entries share counts for each of
// them.
static inline size_t entry_bytes(const struct entry *e)
{
    size_t bytes = entry_allocated(e);
    if (entry_is_object(e))
        return bytes + entry_object_bytes(e);
    if (entry_is_block(e)) {
        struct entry_parts parts = entry_parts(e);
        bytes += block_memory(entry_block(&parts));
    }
    return bytes;
}

// A value as it is to be put into an entry. Exactly one of the forms.
struct entry_value {
    enum object_type type;
    enum object_encoding encoding;
    const void *ptr; // `len` bytes, or
    size_t len;
    struct block *block; // a reference that the entry takes over
    void *object;        // that the entry takes over
};

// A new entry; expiry_ms -1: none. NULL when memory is short (a block then stays the caller's).
struct entry *entry_new(const void *key, size_t key_len, const struct entry_value *value,
                        int64_t expiry_ms, uint32_t epoch, uint32_t access);
// Writes the parts into memory that is large enough. `value->ptr` must not lie in the entry; the
// key may.
void entry_write(struct entry *e, const void *key, size_t key_len, const struct entry_value *value,
                 int64_t expiry_ms, uint32_t epoch, uint32_t access);
// Whether an entry of `size` bytes may use the memory of `e` as it is.
bool entry_fits(const struct entry *e, size_t size);
void entry_free(struct entry *e);

// Parses a canonical decimal integer: no sign '+', no leading zeros, within 64 bits.
bool integer_parse(const uint8_t *p, size_t len, int64_t *value);
size_t integer_print(int64_t value, char out[24]);
