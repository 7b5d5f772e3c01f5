// Reading lengths and strings.
#include <endian.h>
#include <liblzf/lzf.h>

#include "common/block.h"
#include "dataplane/store/rdb/internal.h"

// A back reference of LZF takes three bytes for at most 264.
#define LZF_GROWS_MAX 88

const uint8_t *rdb_read_bytes(struct rdb_reader *r, size_t len)
{
    if (r->error || rdb_left(r) < len) {
        rdb_bad(r);
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += len;
    return p;
}

// A length, or with *special the number of one of the special forms of strings.
static uint64_t read_length(struct rdb_reader *r, bool *special)
{
    *special = false;
    const uint8_t *p = rdb_read_bytes(r, 1);
    if (!p)
        return 0;
    switch (*p >> 6) {
    case 0:
        return *p;
    case 1: {
        const uint8_t *low = rdb_read_bytes(r, 1);
        return low ? (uint64_t)(*p & 0x3f) << 8 | *low : 0;
    }
    case 3:
        *special = true;
        return *p & 0x3f;
    default:
        break;
    }
    uint32_t n32 = 0;
    uint64_t n64 = 0;
    const uint8_t *number = NULL;
    if (*p == 0x80 && (number = rdb_read_bytes(r, sizeof(n32)))) {
        memcpy(&n32, number, sizeof(n32));
        return be32toh(n32);
    }
    if (*p == 0x81 && (number = rdb_read_bytes(r, sizeof(n64)))) {
        memcpy(&n64, number, sizeof(n64));
        return be64toh(n64);
    }
    rdb_bad(r);
    return 0;
}

uint64_t rdb_read_length(struct rdb_reader *r)
{
    bool special;
    uint64_t n = read_length(r, &special);
    if (special)
        rdb_bad(r);
    return r->error ? 0 : n;
}

uint64_t rdb_read_milliseconds(struct rdb_reader *r)
{
    uint64_t ms = 0;
    const uint8_t *p = rdb_read_bytes(r, sizeof(ms));
    if (p)
        memcpy(&ms, p, sizeof(ms));
    return le64toh(ms);
}

static bool read_integer(struct rdb_reader *r, unsigned bytes, struct rdb_string *string)
{
    uint32_t raw = 0;
    const uint8_t *p = rdb_read_bytes(r, bytes);
    if (!p)
        return false;
    memcpy(&raw, p, bytes);
    raw = le32toh(raw);
    int64_t value = bytes == 1 ? (int8_t)raw : bytes == 2 ? (int16_t)raw : (int32_t)raw;
    string->len = integer_print(value, string->digits);
    string->ptr = (const uint8_t *)string->digits;
    return true;
}

static bool read_compressed(struct rdb_reader *r, struct rdb_string *string)
{
    uint64_t packed = rdb_read_length(r), len = rdb_read_length(r);
    const uint8_t *p = packed <= rdb_left(r) ? rdb_read_bytes(r, packed) : NULL;
    if (!p || !packed || !len || len / LZF_GROWS_MAX > packed || len > UINT32_MAX ||
        packed > UINT32_MAX)
        return rdb_bad(r);
    struct block *b = block_new(len);
    if (!b)
        return rdb_short(r);
    if (lzf_decompress(p, (unsigned)packed, b->data, (unsigned)len) != len) {
        block_release(b);
        return rdb_bad(r);
    }
    b->len = len;
    string->block = b;
    string->ptr = b->data;
    string->len = len;
    return true;
}

bool rdb_read_string(struct rdb_reader *r, struct rdb_string *string)
{
    bool special;
    string->ptr = NULL;
    string->len = 0;
    string->block = NULL;
    uint64_t n = read_length(r, &special);
    if (r->error)
        return false;
    if (special && n <= 2)
        return read_integer(r, 1u << n, string);
    if (special)
        return n == 3 ? read_compressed(r, string) : rdb_bad(r);
    if (n > rdb_left(r))
        return rdb_bad(r);
    string->ptr = rdb_read_bytes(r, n);
    string->len = n;
    return true;
}

void rdb_string_clear(struct rdb_string *string)
{
    block_release(string->block);
    string->block = NULL;
    string->ptr = NULL;
    string->len = 0;
}
