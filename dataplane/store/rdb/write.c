// Writing lengths, strings, and the values that are tables of members.
#include <endian.h>
#include <liblzf/lzf.h>

#include "common/block.h"
#include "dataplane/store/rdb/internal.h"

enum {
    COMPRESS_MIN = 21,    // bytes: shorter strings are not worth it
    COMPRESS_SAVES = 4,   // what compressing must save at least
    INTEGER_TEXT_MAX = 11 // of a string that is stored as 32 bits
};

void rdb_write_bytes(struct out *o, const void *data, size_t len)
{
    out_write(o, data, len);
}

void rdb_write_length(struct out *o, uint64_t n)
{
    uint8_t *p = out_room(o, 9);
    if (n < 1 << 6) {
        p[0] = (uint8_t)n;
        o->pos += 1;
    } else if (n < 1 << 14) {
        p[0] = (uint8_t)(0x40 | n >> 8);
        p[1] = (uint8_t)n;
        o->pos += 2;
    } else if (n <= UINT32_MAX) {
        uint32_t big = htobe32((uint32_t)n);
        p[0] = 0x80;
        memcpy(p + 1, &big, sizeof(big));
        o->pos += 5;
    } else {
        uint64_t big = htobe64(n);
        p[0] = 0x81;
        memcpy(p + 1, &big, sizeof(big));
        o->pos += 9;
    }
}

void rdb_write_milliseconds(struct out *o, uint64_t ms)
{
    uint64_t little = htole64(ms);
    out_write(o, &little, sizeof(little));
}

// An integer of up to 32 bits. False: it is larger.
static bool write_integer(struct out *o, int64_t value)
{
    if (value < INT32_MIN || value > INT32_MAX)
        return false;
    unsigned bytes = value == (int8_t)value ? 1 : value == (int16_t)value ? 2 : 4;
    uint32_t little = htole32((uint32_t)value);
    uint8_t *p = out_room(o, 5);
    p[0] = (uint8_t)(0xc0 | bytes >> 1);
    memcpy(p + 1, &little, sizeof(little));
    o->pos += 1 + bytes;
    return true;
}

static bool write_compressed(struct out *o, const void *data, size_t len)
{
    if (len < COMPRESS_MIN || len > UINT32_MAX)
        return false;
    unsigned most = (unsigned)len - COMPRESS_SAVES;
    void *packed = mi_malloc(most);
    unsigned n = packed ? lzf_compress(data, (unsigned)len, packed, most) : 0;
    if (n) {
        *out_room(o, 1) = 0xc3;
        o->pos++;
        rdb_write_length(o, n);
        rdb_write_length(o, len);
        out_write(o, packed, n);
    }
    mi_free(packed);
    return n;
}

void rdb_write_string(struct out *o, const void *data, size_t len, bool compress)
{
    int64_t value;
    if (len <= INTEGER_TEXT_MAX && integer_parse(data, len, &value) && write_integer(o, value))
        return;
    if (compress && write_compressed(o, data, len))
        return;
    rdb_write_length(o, len);
    out_write(o, data, len);
}

static void write_string(struct out *o, const struct entry *e, bool compress)
{
    char scratch[24];
    struct string_view view = entry_string(e, scratch);
    if (!view.block) {
        rdb_write_string(o, view.ptr, view.len, compress);
    } else if (!compress || !write_compressed(o, view.ptr, view.len)) {
        rdb_write_length(o, view.len);
        o->ops->ref(o, view.block, 0, view.len);
    }
}

// Fields that expire: the earliest time, and for each field its distance from it, plus one.
static void write_volatile_hash(struct out *o, const struct members *m, bool compress)
{
    int64_t first = INT64_MAX;
    struct members_iterator it = members_begin(m);
    for (struct entry *e; (e = members_next(&it));)
        if (entry_has_expiry(e) && entry_expiry(e) < first)
            first = entry_expiry(e);
    rdb_write_milliseconds(o, (uint64_t)first);
    rdb_write_length(o, members_count(m));
    it = members_begin(m);
    for (struct entry *e; (e = members_next(&it));) {
        size_t len;
        const uint8_t *p = member_name(e, &len);
        rdb_write_length(o, entry_has_expiry(e) ? (uint64_t)(entry_expiry(e) - first) + 1 : 0);
        rdb_write_string(o, p, len, compress);
        p = member_value(e, &len);
        rdb_write_string(o, p, len, compress);
    }
}

static void write_members(struct out *o, const struct members *m, bool values, bool compress)
{
    rdb_write_length(o, members_count(m));
    struct members_iterator it = members_begin(m);
    for (struct entry *e; (e = members_next(&it));) {
        size_t len;
        const uint8_t *p = member_name(e, &len);
        rdb_write_string(o, p, len, compress);
        if (!values)
            continue;
        p = member_value(e, &len);
        rdb_write_string(o, p, len, compress);
    }
}

// As a set without order, which every version reads.
static void write_listpack_set(struct out *o, const uint8_t *lp, bool compress)
{
    char digits[24];
    size_t len;
    rdb_write_length(o, lp_count(lp));
    for (const uint8_t *p = lp_first(lp); p; p = lp_next(lp, p)) {
        const uint8_t *text = lp_text(p, digits, &len);
        rdb_write_string(o, text, len, compress);
    }
}

enum rdb_type rdb_type_of(const struct entry *e, unsigned *version)
{
    enum object_encoding encoding = entry_encoding(e);
    *version = RDB_VERSION;
    switch (entry_type(e)) {
    case OBJ_LIST:
        return RDB_LIST_QUICKLIST_2;
    case OBJ_SET:
        return encoding == ENC_INTSET ? RDB_SET_INTSET : RDB_SET;
    case OBJ_ZSET:
        return encoding == ENC_LISTPACK ? RDB_ZSET_LISTPACK : RDB_ZSET_2;
    case OBJ_HASH:
        if (encoding == ENC_LISTPACK)
            return RDB_HASH_LISTPACK;
        if (!members_volatile(entry_object(e)))
            return RDB_HASH;
        *version = RDB_VERSION_FIELDS;
        return RDB_HASH_METADATA;
    case OBJ_STREAM:
        return RDB_STREAM_2;
    case OBJ_STRING:
    case OBJ_MODULE:
        break;
    }
    return RDB_STRING;
}

void rdb_write_value(struct out *o, const struct entry *e, bool compress)
{
    enum object_encoding encoding = entry_encoding(e);
    enum object_type type = entry_type(e);
    if (type == OBJ_STRING) {
        write_string(o, e, compress);
        return;
    }
    const void *object = entry_object(e);
    if (encoding == ENC_LISTPACK && type != OBJ_SET)
        rdb_write_string(o, object, lp_bytes(object), compress);
    else if (encoding == ENC_LISTPACK)
        write_listpack_set(o, object, compress);
    else if (encoding == ENC_INTSET)
        rdb_write_string(o, object, intset_bytes(object), compress);
    else if (encoding == ENC_QUICKLIST)
        rdb_write_list(o, object, compress);
    else if (encoding == ENC_SKIPLIST)
        rdb_write_zset(o, object, compress);
    else if (encoding == ENC_STREAM)
        rdb_write_stream(o, object, compress);
    else if (type == OBJ_HASH && members_volatile(object))
        write_volatile_hash(o, object, compress);
    else
        write_members(o, object, type == OBJ_HASH, compress);
}
