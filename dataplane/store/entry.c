#include "dataplane/store/entry.h"
#include "dataplane/store/heap.h"

#include <assert.h>

#include "dataplane/store/object.h"

uint16_t entry_class[ENTRY_CLASSED_MAX / ENTRY_CLASS_STEP + 1];

// Idempotent: several keyspaces may do it, with the same result.
void entry_classes_init(void)
{
    for (size_t i = 0; i < sizeof(entry_class) / sizeof(entry_class[0]); i++)
        entry_class[i] = (uint16_t)mi_good_size(i ? i * ENTRY_CLASS_STEP : ENTRY_CLASS_STEP);
}

void entry_write(struct entry *e, const void *key, size_t key_len, const struct entry_value *value,
                 int64_t expiry_ms, uint32_t epoch, uint32_t access)
{
    const void *ptr = value->ptr;
    size_t value_len = value->len;
    if (value->block || value->object) {
        ptr = value->block ? (const void *)&value->block : &value->object;
        value_len = sizeof(void *);
    }
    unsigned flags = (expiry_ms >= 0 ? ENTRY_EXPIRY : 0) |
                     (entry_needs_long(key_len, value_len) ? ENTRY_LONG : 0) |
                     (value->block ? ENTRY_BLOCK : 0) | (value->object ? ENTRY_OBJECT : 0);
    uint8_t *p = e->body + (flags & ENTRY_LONG ? 8 : 2);
    if (flags & ENTRY_EXPIRY)
        p += ENTRY_EXPIRY_BYTES;
    memmove(p, key, key_len);
    memcpy(p + key_len, ptr, value_len);
    if (flags & ENTRY_EXPIRY)
        expiry_save(p - ENTRY_EXPIRY_BYTES, expiry_ms);
    if (flags & ENTRY_LONG) {
        uint32_t lens[2] = {(uint32_t)key_len, (uint32_t)value_len};
        memcpy(e->body, lens, sizeof(lens));
    } else {
        e->body[0] = (uint8_t)key_len;
        e->body[1] = (uint8_t)value_len;
    }
    e->head = head_make(value->type, value->encoding, flags, epoch, access);
}

struct entry *entry_new(const void *key, size_t key_len, const struct entry_value *value,
                        int64_t expiry_ms, uint32_t epoch, uint32_t access)
{
    if (key_len > UINT32_MAX)
        return NULL;
    bool pointer = value->block || value->object;
    size_t size = entry_size(key_len, pointer ? sizeof(void *) : value->len, expiry_ms >= 0);
    struct entry *e = mi_malloc(size);
    if (!e)
        return NULL;
    heap_hint(e);
    entry_write(e, key, key_len, value, expiry_ms, epoch, access);
    return e;
}

bool entry_fits(const struct entry *e, size_t size)
{
    struct entry_parts parts = entry_parts(e);
    size_t present = (size_t)(parts.value + parts.value_len - (const uint8_t *)e);
    if (present <= ENTRY_CLASSED_MAX)
        return size <= ENTRY_CLASSED_MAX && entry_class_of(size) == entry_class_of(present);
    if (size <= ENTRY_CLASSED_MAX)
        return false;
    size_t room = mi_usable_size(e);
    return size <= room && size >= room - room / 4; // a quarter may lie idle, no more
}

void entry_free(struct entry *e)
{
    if (entry_is_block(e)) {
        struct entry_parts parts = entry_parts(e);
        block_release(entry_block(&parts));
    }
    if (entry_is_object(e))
        object_free(entry_type(e), entry_encoding(e), entry_object(e));
    mi_free(e);
}

void *entry_object(const struct entry *e)
{
    assert(entry_is_object(e));
    struct entry_parts parts = entry_parts(e);
    void *object;
    memcpy((void *)&object, parts.value, sizeof(object));
    return object;
}

size_t entry_object_bytes(const struct entry *e)
{
    return object_memory(entry_type(e), entry_encoding(e), entry_object(e));
}

// --- what others may know of an entry -----------------------------------------------------------

enum object_type entry_type(const struct entry *e)
{
    return (enum object_type)(e->head & 15);
}

enum object_encoding entry_encoding(const struct entry *e)
{
    return (enum object_encoding)(e->head >> 4 & 15);
}

const char *encoding_name(enum object_encoding encoding)
{
    static const char *const names[] = {
        [ENC_RAW] = "raw",
        [ENC_INT] = "int",
        [ENC_HASHTABLE] = "hashtable",
        [ENC_EMBSTR] = "embstr",
        [ENC_QUICKLIST] = "quicklist",
        [ENC_LISTPACK] = "listpack",
        [ENC_INTSET] = "intset",
        [ENC_SKIPLIST] = "skiplist",
        [ENC_STREAM] = "stream",
    };
    assert(encoding < sizeof(names) / sizeof(names[0]));
    return names[encoding];
}

const char *type_name(enum object_type type)
{
    static const char *const names[] = {
        [OBJ_STRING] = "string", [OBJ_LIST] = "list", [OBJ_SET] = "set",
        [OBJ_ZSET] = "zset",     [OBJ_HASH] = "hash", [OBJ_MODULE] = "module",
        [OBJ_STREAM] = "stream",
    };
    assert(type < sizeof(names) / sizeof(names[0]));
    return names[type];
}

const uint8_t *entry_key(const struct entry *e, size_t *len)
{
    struct entry_parts parts = entry_parts(e);
    *len = parts.key_len;
    return parts.key;
}

int64_t entry_expiry(const struct entry *e)
{
    struct entry_parts parts = entry_parts(e);
    return parts.expiry ? expiry_load(parts.expiry) : -1;
}

size_t entry_memory(const struct entry *e)
{
    return entry_bytes(e);
}

struct string_view entry_string(const struct entry *e, char scratch[24])
{
    assert(entry_type(e) == OBJ_STRING);
    struct entry_parts parts = entry_parts(e);
    if (entry_is_block(e)) {
        struct block *b = entry_block(&parts);
        return (struct string_view){.ptr = b->data, .len = b->len, .block = b};
    }
    if (entry_encoding(e) == ENC_INT) {
        int64_t value;
        memcpy(&value, parts.value, sizeof(value));
        return (struct string_view){.ptr = (uint8_t *)scratch,
                                    .len = integer_print(value, scratch)};
    }
    return (struct string_view){.ptr = parts.value, .len = parts.value_len};
}

bool entry_integer(const struct entry *e, int64_t *value)
{
    struct entry_parts parts = entry_parts(e);
    if (entry_type(e) != OBJ_STRING || entry_is_block(e))
        return false;
    if (entry_encoding(e) == ENC_INT) {
        memcpy(value, parts.value, sizeof(*value));
        return true;
    }
    return integer_parse(parts.value, parts.value_len, value);
}

bool integer_parse(const uint8_t *p, size_t len, int64_t *value)
{
    if (!len || len > 20)
        return false;
    bool negative = p[0] == '-';
    size_t i = negative;
    if (i == len)
        return false;
    if (p[i] == '0') {
        *value = 0;
        return len == 1;
    }
    uint64_t v = 0;
    for (; i < len; i++) {
        unsigned digit = (unsigned)p[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    if (v > (uint64_t)INT64_MAX + negative)
        return false;
    *value = (int64_t)(negative ? 0 - v : v);
    return true;
}

size_t integer_print(int64_t value, char out[24])
{
    char digits[20];
    size_t n = 0, at = 0;
    uint64_t v = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    if (value < 0)
        out[at++] = '-';
    while (n)
        out[at++] = digits[--n];
    return at;
}
