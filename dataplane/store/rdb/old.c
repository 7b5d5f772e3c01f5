// What Redis wrote before 7.0: ziplists and zipmaps. They are read into listpacks and never
// written.
#include <endian.h>

#include "dataplane/store/rdb/internal.h"

// --- ziplist ------------------------------------------------------------------------------------
// 4 bytes of length, 4 of the last element's offset, 2 of count, elements, 0xff. An element is the
// length of the one before it (1 byte, or 254 and 4 bytes), a byte or more of encoding, and data.

enum { ZIPLIST_HEADER = 10, ZIPLIST_END = 0xff, ZIPLIST_COUNT_UNKNOWN = 0xffff };

static uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

struct zip_element {
    const uint8_t *text; // NULL: an integer
    uint32_t len;
    int64_t value;
};

static int64_t little_signed(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, bytes);
    unsigned spare = 64 - 8 * bytes;
    return (int64_t)(le64toh(v) << spare) >> spare;
}

static bool ziplist_integer(const uint8_t **at, const uint8_t *end, struct zip_element *e)
{
    uint8_t encoding = *(*at)++;
    unsigned bytes;
    switch (encoding) {
    case 0xc0:
        bytes = 2;
        break;
    case 0xd0:
        bytes = 4;
        break;
    case 0xe0:
        bytes = 8;
        break;
    case 0xf0:
        bytes = 3;
        break;
    case 0xfe:
        bytes = 1;
        break;
    default:
        if (encoding < 0xf1 || encoding > 0xfd)
            return false;
        e->value = encoding - 0xf1; // the integers 0 … 12
        return true;
    }
    if ((size_t)(end - *at) < bytes)
        return false;
    e->value = little_signed(*at, bytes);
    *at += bytes;
    return true;
}

static bool ziplist_text(const uint8_t **at, const uint8_t *end, struct zip_element *e)
{
    const uint8_t *p = *at;
    size_t left = (size_t)(end - p), head = p[0] >> 6 == 0 ? 1 : p[0] >> 6 == 1 ? 2 : 5;
    if (left < head)
        return false;
    if (head == 1)
        e->len = p[0] & 0x3f;
    else if (head == 2)
        e->len = (uint32_t)(p[0] & 0x3f) << 8 | p[1];
    else
        e->len = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
    if (left - head < e->len)
        return false;
    e->text = p + head;
    *at = e->text + e->len;
    return true;
}

// One element; `before` is the length of the one before it, and becomes its own.
static bool ziplist_element(const uint8_t **at, const uint8_t *end, uint32_t *before,
                            struct zip_element *e)
{
    const uint8_t *start = *at;
    uint32_t told = *(*at)++;
    if (told == 254) {
        if (end - *at < 4)
            return false;
        told = load32(*at);
        *at += 4;
    }
    *e = (struct zip_element){0};
    if (told != *before || *at == end)
        return false;
    if (!(**at >> 6 == 3 ? ziplist_integer(at, end, e) : ziplist_text(at, end, e)))
        return false;
    *before = (uint32_t)(*at - start);
    return true;
}

static uint8_t *append(struct rdb_reader *r, uint8_t *lp, const struct zip_element *e)
{
    uint8_t *more = e->text ? lp_append(lp, e->text, e->len) : lp_append_integer(lp, e->value);
    if (more)
        return more;
    rdb_short(r);
    return lp;
}

static uint8_t *ziplist_convert(struct rdb_reader *r, const uint8_t *zl, size_t len, unsigned step)
{
    if (len <= ZIPLIST_HEADER || load32(zl) != len || zl[len - 1] != ZIPLIST_END) {
        rdb_bad(r);
        return NULL;
    }
    uint8_t *lp = lp_new(len);
    if (!lp) {
        rdb_short(r);
        return NULL;
    }
    const uint8_t *at = zl + ZIPLIST_HEADER, *end = zl + len - 1, *last = at;
    uint32_t count = 0, before = 0;
    for (struct zip_element e; at < end && !r->error; count++) {
        last = at;
        if (*at == ZIPLIST_END || !ziplist_element(&at, end, &before, &e))
            rdb_bad(r);
        else
            lp = append(r, lp, &e);
    }
    uint32_t told = (uint32_t)zl[8] | (uint32_t)zl[9] << 8;
    if ((told != ZIPLIST_COUNT_UNKNOWN && told != count) || count % step || (!count && step > 1) ||
        load32(zl + 4) != (size_t)(last - zl))
        rdb_bad(r);
    if (!r->error)
        return lp;
    lp_free(lp);
    return NULL;
}

uint8_t *rdb_read_ziplist(struct rdb_reader *r, unsigned step)
{
    struct rdb_string string;
    if (!rdb_read_string(r, &string))
        return NULL;
    uint8_t *lp = ziplist_convert(r, string.ptr, string.len, step);
    rdb_string_clear(&string);
    return lp;
}

// --- zipmap -------------------------------------------------------------------------------------
// A byte of count, then for each field: its length (1 byte, or 254 and 4 bytes), its bytes, the
// value's length, a byte that says how many unused bytes follow the value, the value, those bytes.
// 0xff ends it.

enum { ZIPMAP_END = 0xff, ZIPMAP_COUNT_UNKNOWN = 254 };

static bool zipmap_length(const uint8_t **at, const uint8_t *end, uint32_t *len)
{
    if (*at == end)
        return false;
    *len = *(*at)++;
    if (*len < 254)
        return true;
    if (*len != 254 || end - *at < 4)
        return false;
    *len = load32(*at);
    *at += 4;
    return true;
}

static bool zipmap_take(const uint8_t **at, const uint8_t *end, uint32_t len, uint8_t spare,
                        struct zip_element *e)
{
    if ((size_t)(end - *at) < (size_t)len + spare)
        return false;
    *e = (struct zip_element){.text = *at, .len = len};
    *at += len + spare;
    return true;
}

static uint8_t *zipmap_convert(struct rdb_reader *r, const uint8_t *zm, size_t len)
{
    if (len < 2 || zm[len - 1] != ZIPMAP_END) {
        rdb_bad(r);
        return NULL;
    }
    uint8_t *lp = lp_new(len);
    if (!lp) {
        rdb_short(r);
        return NULL;
    }
    const uint8_t *at = zm + 1, *end = zm + len - 1;
    uint32_t count = 0;
    for (; at < end && !r->error; count++) {
        struct zip_element field, value;
        uint32_t field_len, value_len;
        if (!zipmap_length(&at, end, &field_len) || !zipmap_take(&at, end, field_len, 0, &field) ||
            !zipmap_length(&at, end, &value_len) || at == end ||
            (at++, !zipmap_take(&at, end, value_len, at[-1], &value))) {
            rdb_bad(r);
        } else {
            lp = append(r, lp, &field);
            lp = append(r, lp, &value);
        }
    }
    if ((zm[0] < ZIPMAP_COUNT_UNKNOWN && zm[0] != count) || !count)
        rdb_bad(r);
    if (!r->error)
        return lp;
    lp_free(lp);
    return NULL;
}

uint8_t *rdb_read_zipmap(struct rdb_reader *r)
{
    struct rdb_string string;
    if (!rdb_read_string(r, &string))
        return NULL;
    uint8_t *lp = zipmap_convert(r, string.ptr, string.len);
    rdb_string_clear(&string);
    return lp;
}
