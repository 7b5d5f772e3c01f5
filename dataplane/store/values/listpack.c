#include "dataplane/store/values/listpack.h"
#include "dataplane/store/heap.h"

#include <assert.h>
#include <mimalloc.h>
#include <string.h>

#include "dataplane/store/entry.h"

// First bytes of elements: what the high bits say, and what follows.
enum {
    INT7_MAX = 0x7f, // 0xxxxxxx: an integer of 7 bits
    STR6 = 0x80,     // 10llllll: so many bytes
    INT13 = 0xc0,    // 110xxxxx xxxxxxxx: signed
    STR12 = 0xe0,    // 1110llll llllllll
    STR32 = 0xf0,    // and four bytes of length, little-endian like all that follow
    INT16 = 0xf1,
    INT24 = 0xf2,
    INT32 = 0xf3,
    INT64 = 0xf4,
    END = LP_END,
    HEADER = 6,
    COUNT_UNKNOWN = 65535,
    HEAD_MAX = 9, // bytes before a string, or all of an integer
    BACK_MAX = 5,
    INTEGER_TEXT_MAX = 20,
};

static uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static void set_bytes(uint8_t *lp, size_t bytes)
{
    uint32_t v = (uint32_t)bytes;
    memcpy(lp, &v, sizeof(v));
}

static uint16_t count_of(const uint8_t *lp)
{
    uint16_t v;
    memcpy(&v, lp + 4, sizeof(v));
    return v;
}

static void set_count(uint8_t *lp, uint32_t count)
{
    uint16_t v = count < COUNT_UNKNOWN ? (uint16_t)count : COUNT_UNKNOWN;
    memcpy(lp + 4, &v, sizeof(v));
}

// --- elements ------------------------------------------------------------------------------------

// Bytes of an element without the length behind it.
static inline uint32_t body_bytes(const uint8_t *p)
{
    uint8_t b = *p;
    if (b <= INT7_MAX)
        return 1;
    if (b < INT13)
        return 1 + (b & 63u);
    if (b < STR12)
        return 2;
    if (b < STR32)
        return 2 + ((uint32_t)(b & 15u) << 8 | p[1]);
    switch (b) {
    case STR32:
        return 5 + load32(p + 1);
    case INT16:
        return 3;
    case INT24:
        return 4;
    case INT32:
        return 5;
    default:
        return 9;
    }
}

static inline uint32_t back_bytes(uint32_t body)
{
    if (__builtin_expect(body <= 127, 1))
        return 1;
    return body < 16383 ? 2 : body < 2097151 ? 3 : body < 268435455 ? 4 : 5;
}

// The length behind an element: seven bits a byte, the lowest last, the high bit set where more lie
// before.
static uint32_t back_write(uint8_t *to, uint32_t body)
{
    uint32_t n = back_bytes(body);
    for (uint32_t i = n; i-- > 0; body >>= 7)
        to[i] = (uint8_t)((body & 127) | (i ? 128 : 0));
    return n;
}

static inline const uint8_t *skip(const uint8_t *p)
{
    uint32_t body = body_bytes(p);
    return p + body + back_bytes(body);
}

static int64_t sign(uint64_t value, unsigned bits)
{
    return (int64_t)(value << (64 - bits)) >> (64 - bits);
}

struct lp_item lp_get(const uint8_t *p)
{
    uint8_t b = *p;
    uint64_t v = 0;
    if (b <= INT7_MAX)
        return (struct lp_item){.value = b};
    if (b < INT13)
        return (struct lp_item){.ptr = p + 1, .len = b & 63u};
    if (b < STR12)
        return (struct lp_item){.value = sign((uint64_t)(b & 31u) << 8 | p[1], 13)};
    if (b < STR32)
        return (struct lp_item){.ptr = p + 2, .len = (uint32_t)(b & 15u) << 8 | p[1]};
    switch (b) {
    case STR32:
        return (struct lp_item){.ptr = p + 5, .len = load32(p + 1)};
    case INT16:
        memcpy(&v, p + 1, 2);
        return (struct lp_item){.value = sign(v, 16)};
    case INT24:
        memcpy(&v, p + 1, 3);
        return (struct lp_item){.value = sign(v, 24)};
    case INT32:
        memcpy(&v, p + 1, 4);
        return (struct lp_item){.value = sign(v, 32)};
    default:
        memcpy(&v, p + 1, 8);
        return (struct lp_item){.value = (int64_t)v};
    }
}

const uint8_t *lp_step_long(const uint8_t *p, struct lp_item *item)
{
    *item = lp_get(p);
    return skip(p);
}

const uint8_t *lp_text(const uint8_t *p, char scratch[24], size_t *len)
{
    struct lp_item item = lp_get(p);
    *len = item.len;
    if (item.ptr)
        return item.ptr;
    *len = integer_print(item.value, scratch);
    return (const uint8_t *)scratch;
}

bool lp_integer(const uint8_t *p, int64_t *value)
{
    struct lp_item item = lp_get(p);
    if (item.ptr)
        return integer_parse(item.ptr, item.len, value);
    *value = item.value;
    return true;
}

bool lp_equal(const uint8_t *p, const void *data, size_t len)
{
    struct lp_item item = lp_get(p);
    if (item.ptr)
        return item.len == len && memcmp(item.ptr, data, len) == 0;
    int64_t value;
    return len <= INTEGER_TEXT_MAX && integer_parse(data, len, &value) && value == item.value;
}

static_assert((int)HEAD_MAX <= (int)sizeof((struct lp_encoded){0}.head), "an integer fits");

static void encode_integer(struct lp_encoded *e, int64_t v)
{
    uint8_t *h = e->head;
    e->data = NULL;
    e->len = 0;
    if (v >= 0 && v <= INT7_MAX) {
        h[0] = (uint8_t)v;
        e->head_len = 1;
    } else if (v >= -4096 && v <= 4095) {
        h[0] = (uint8_t)(INT13 | ((uint64_t)v >> 8 & 31));
        h[1] = (uint8_t)v;
        e->head_len = 2;
    } else {
        uint32_t n = v >= INT16_MIN && v <= INT16_MAX   ? 2
                     : v >= -8388608 && v <= 8388607    ? 3
                     : v >= INT32_MIN && v <= INT32_MAX ? 4
                                                        : 8;
        h[0] = n == 8 ? INT64 : (uint8_t)(INT16 + n - 2);
        memcpy(h + 1, &v, n);
        e->head_len = 1 + n;
    }
    e->body = e->head_len;
}

static void encode(struct lp_encoded *e, const void *data, size_t len)
{
    int64_t v;
    if (len && len <= INTEGER_TEXT_MAX && integer_parse(data, len, &v)) {
        encode_integer(e, v);
        return;
    }
    e->data = data;
    e->len = (uint32_t)len;
    if (len < 64) {
        e->head[0] = (uint8_t)(STR6 | len);
        e->head_len = 1;
    } else if (len < 4096) {
        e->head[0] = (uint8_t)(STR12 | len >> 8);
        e->head[1] = (uint8_t)len;
        e->head_len = 2;
    } else {
        e->head[0] = STR32;
        memcpy(e->head + 1, &e->len, 4);
        e->head_len = 5;
    }
    e->body = e->head_len + e->len;
}

size_t lp_element_bytes(const void *data, size_t len)
{
    struct lp_encoded e;
    if (len > LP_BYTES_MAX)
        return len;
    encode(&e, data, len);
    return e.body + back_bytes(e.body);
}

size_t lp_encode_integer(struct lp_encoded *e, int64_t value)
{
    encode_integer(e, value);
    return e->body + back_bytes(e->body);
}

size_t lp_encode(struct lp_encoded *e, const void *data, size_t len)
{
    encode(e, data, len);
    return e->body + back_bytes(e->body);
}

void lp_write(uint8_t *to, const struct lp_encoded *e)
{
    memcpy(to, e->head, e->head_len);
    if (e->len)
        memcpy(to + e->head_len, e->data, e->len);
    back_write(to + e->body, e->body);
}

// Up to so many bytes a listpack lies in the size class of its length, so that what it takes is
// known without a look at the allocator's own lines.
#define CLASSED_MAX 8192
#define CLASS_STEP 8

static uint16_t class_bytes[CLASSED_MAX / CLASS_STEP + 1];

__attribute__((constructor)) static void fill_classes(void)
{
    for (size_t i = 0; i <= CLASSED_MAX / CLASS_STEP; i++)
        class_bytes[i] = (uint16_t)mi_good_size(i ? i * CLASS_STEP : 1);
}

static inline size_t class_of(size_t bytes)
{
    return class_bytes[(bytes + CLASS_STEP - 1) / CLASS_STEP];
}

// --- the whole -----------------------------------------------------------------------------------

uint8_t *lp_new(size_t room)
{
    uint8_t *lp = heap_hint(mi_malloc(room > CLASSED_MAX ? room : LP_EMPTY_BYTES));
    if (!lp)
        return NULL;
    set_bytes(lp, LP_EMPTY_BYTES);
    set_count(lp, 0);
    lp[HEADER] = END;
    return lp;
}

void lp_free(uint8_t *lp)
{
    mi_free(lp);
}

uint8_t *lp_copy(const uint8_t *lp)
{
    size_t bytes = lp_bytes(lp);
    uint8_t *copy = heap_hint(mi_malloc(bytes));
    if (copy)
        memcpy(copy, lp, bytes);
    return copy;
}

uint8_t *lp_shrink(uint8_t *lp)
{
    size_t bytes = lp_bytes(lp);
    if (bytes <= CLASSED_MAX || mi_good_size(bytes) >= mi_usable_size(lp))
        return lp;
    uint8_t *copy = lp_copy(lp);
    if (!copy)
        return lp;
    mi_free(lp);
    return copy;
}

size_t lp_bytes(const uint8_t *lp)
{
    return load32(lp);
}

size_t lp_memory(const uint8_t *lp)
{
    size_t bytes = lp_bytes(lp);
    return bytes <= CLASSED_MAX ? class_of(bytes) : mi_usable_size(lp);
}

uint32_t lp_count(const uint8_t *lp)
{
    uint32_t count = count_of(lp);
    if (count != COUNT_UNKNOWN)
        return count;
    count = 0;
    for (const uint8_t *p = lp + HEADER; *p != END; p = skip(p))
        count++;
    return count;
}

bool lp_takes(const uint8_t *lp, size_t more)
{
    return more <= LP_BYTES_MAX && lp_bytes(lp) + more <= LP_BYTES_MAX;
}

// --- walking -------------------------------------------------------------------------------------

uint8_t *lp_first(const uint8_t *lp)
{
    return lp[HEADER] == END ? NULL : (uint8_t *)lp + HEADER;
}

uint8_t *lp_next(const uint8_t *lp, const uint8_t *p)
{
    (void)lp;
    p = skip(p);
    return *p == END ? NULL : (uint8_t *)p;
}

uint8_t *lp_prev(const uint8_t *lp, const uint8_t *p)
{
    if (p == lp + HEADER)
        return NULL;
    uint32_t body = 0, shift = 0, n = 0;
    do {
        p--;
        body |= (uint32_t)(*p & 127) << shift;
        shift += 7;
    } while (*p & 128 && ++n < BACK_MAX);
    return (uint8_t *)p - body;
}

uint8_t *lp_last(const uint8_t *lp)
{
    return lp_prev(lp, lp + lp_bytes(lp) - 1);
}

uint8_t *lp_seek(const uint8_t *lp, int64_t index)
{
    int64_t count = count_of(lp);
    if (count != COUNT_UNKNOWN) {
        if (index >= count || index < -count)
            return NULL;
        // From the nearer end.
        if (index >= 0 && index > count / 2)
            index -= count;
        else if (index < -count / 2)
            index += count;
    }
    uint8_t *p;
    if (index >= 0)
        for (p = lp_first(lp); p && index; index--)
            p = lp_next(lp, p);
    else
        for (p = lp_last(lp); p && index != -1; index++)
            p = lp_prev(lp, p);
    return p;
}

uint8_t *lp_find(const uint8_t *lp, uint8_t *p, const void *data, size_t len, unsigned jump)
{
    (void)lp;
    int64_t value = 0;
    bool integer = len && len <= INTEGER_TEXT_MAX && integer_parse(data, len, &value);
    const uint8_t *bytes = data;
    while (p) {
        uint8_t b = *p;
        // Most elements are short strings.
        if (b >= STR6 && b < INT13) {
            if ((b & 63u) == len && bytes_same(p + 1, bytes, len))
                return p;
        } else {
            struct lp_item item = lp_get(p);
            if (item.ptr ? item.len == len && memcmp(item.ptr, data, len) == 0
                         : integer && item.value == value)
                return p;
        }
        const uint8_t *next = skip(p);
        for (unsigned i = 0; i < jump && *next != END; i++)
            next = skip(next);
        p = *next == END ? NULL : (uint8_t *)next;
    }
    return NULL;
}

// --- changes -------------------------------------------------------------------------------------

// The same listpack in memory for so many bytes in all, as many of which are kept as fit.
static uint8_t *resize(uint8_t *lp, size_t present, size_t bytes)
{
    if (bytes <= CLASSED_MAX) {
        if (present <= CLASSED_MAX && class_of(present) == class_of(bytes))
            return lp;
    } else if (present > CLASSED_MAX && bytes <= mi_usable_size(lp) &&
               bytes >= mi_usable_size(lp) / 2) { // half may lie idle, no more
        return lp;
    }
    uint8_t *moved = heap_hint(mi_malloc(bytes));
    if (moved) {
        memcpy(moved, lp, present < bytes ? present : bytes);
        mi_free(lp);
    }
    return moved;
}

// Replaces `old` bytes at offset `at` by n elements; `added` more elements then.
static inline uint8_t *splice_many(uint8_t *lp, size_t at, size_t old, const struct lp_encoded *e,
                                   unsigned n, int added, uint8_t **where)
{
    size_t bytes = lp_bytes(lp);
    size_t size = 0;
    for (unsigned i = 0; i < n; i++)
        size += e[i].body + back_bytes(e[i].body);
    size_t total = bytes - old + size;
    if (total > LP_BYTES_MAX)
        return NULL;
    if (total < bytes)
        memmove(lp + at + size, lp + at + old, bytes - at - old);
    uint8_t *resized = resize(lp, bytes, total);
    if (!resized && total > bytes)
        return NULL;
    if (resized) // less memory is a wish only
        lp = resized;
    if (total > bytes)
        memmove(lp + at + size, lp + at + old, bytes - at - old);
    uint8_t *to = lp + at;
    for (unsigned i = 0; i < n; i++) {
        lp_write(to, &e[i]);
        to += e[i].body + back_bytes(e[i].body);
    }
    set_bytes(lp, total);
    uint32_t count = count_of(lp);
    if (count != COUNT_UNKNOWN)
        set_count(lp, count + (uint32_t)added);
    if (where)
        *where = lp + at;
    return lp;
}

static uint8_t *splice(uint8_t *lp, size_t at, size_t old, const struct lp_encoded *e, int added,
                       uint8_t **where)
{
    return splice_many(lp, at, old, e, 1, added, where);
}

uint8_t *lp_insert_many(uint8_t *lp, uint8_t *p, const struct lp_encoded *e, unsigned n)
{
    size_t at = p ? (size_t)(p - lp) : lp_bytes(lp) - 1;
    return splice_many(lp, at, 0, e, n, (int)n, NULL);
}

static uint8_t *insert(uint8_t *lp, uint8_t *p, enum lp_where where, const struct lp_encoded *e,
                       uint8_t **at)
{
    size_t old = 0;
    if (where == LP_AFTER)
        p = (uint8_t *)skip(p);
    else if (where == LP_REPLACE)
        old = (size_t)(skip(p) - p);
    return splice(lp, (size_t)(p - lp), old, e, where != LP_REPLACE, at);
}

uint8_t *lp_replace(uint8_t *lp, uint8_t *p, const struct lp_encoded *e)
{
    return insert(lp, p, LP_REPLACE, e, NULL);
}

uint8_t *lp_insert(uint8_t *lp, uint8_t *p, enum lp_where where, const void *data, size_t len,
                   uint8_t **at)
{
    struct lp_encoded e;
    if (len > LP_BYTES_MAX)
        return NULL;
    encode(&e, data, len);
    return insert(lp, p, where, &e, at);
}

uint8_t *lp_insert_integer(uint8_t *lp, uint8_t *p, enum lp_where where, int64_t value,
                           uint8_t **at)
{
    struct lp_encoded e;
    encode_integer(&e, value);
    return insert(lp, p, where, &e, at);
}

uint8_t *lp_append(uint8_t *lp, const void *data, size_t len)
{
    struct lp_encoded e;
    if (len > LP_BYTES_MAX)
        return NULL;
    encode(&e, data, len);
    return splice(lp, lp_bytes(lp) - 1, 0, &e, 1, NULL);
}

uint8_t *lp_append_integer(uint8_t *lp, int64_t value)
{
    struct lp_encoded e;
    encode_integer(&e, value);
    return splice(lp, lp_bytes(lp) - 1, 0, &e, 1, NULL);
}

uint8_t *lp_prepend(uint8_t *lp, const void *data, size_t len)
{
    struct lp_encoded e;
    if (len > LP_BYTES_MAX)
        return NULL;
    encode(&e, data, len);
    return splice(lp, HEADER, 0, &e, 1, NULL);
}

uint8_t *lp_delete_from(uint8_t *lp, uint8_t *p, uint32_t count, uint8_t **next)
{
    size_t bytes = lp_bytes(lp), at = (size_t)(p - lp);
    uint32_t gone = 0;
    const uint8_t *end = p;
    for (; gone < count && *end != END; gone++)
        end = skip(end);
    memmove(p, end, bytes - (size_t)(end - lp));
    bytes -= (size_t)(end - p);
    set_bytes(lp, bytes);
    uint32_t held = count_of(lp);
    if (held != COUNT_UNKNOWN)
        set_count(lp, held - gone);
    uint8_t *less = resize(lp, bytes + (size_t)(end - p), bytes);
    if (less)
        lp = less;
    if (next)
        *next = lp[at] == END ? NULL : lp + at;
    return lp;
}

uint8_t *lp_delete(uint8_t *lp, uint8_t *p, uint8_t **next)
{
    return lp_delete_from(lp, p, 1, next);
}

uint8_t *lp_delete_range(uint8_t *lp, int64_t index, uint32_t count)
{
    uint8_t *p = count ? lp_seek(lp, index) : NULL;
    return p ? lp_delete_from(lp, p, count, NULL) : lp;
}

uint8_t *lp_append_all(uint8_t *lp, const uint8_t *from)
{
    size_t bytes = lp_bytes(lp), more = lp_bytes(from) - LP_EMPTY_BYTES;
    if (!lp_takes(lp, more))
        return NULL;
    uint32_t count = count_of(lp), added = count_of(from);
    lp = resize(lp, bytes, bytes + more);
    if (!lp)
        return NULL;
    memcpy(lp + bytes - 1, from + HEADER, more + 1);
    set_bytes(lp, bytes + more);
    set_count(lp, count == COUNT_UNKNOWN || added == COUNT_UNKNOWN ? COUNT_UNKNOWN : count + added);
    return lp;
}

// --- from outside --------------------------------------------------------------------------------

// The body of an element that must end before `end`; 0: it is malformed.
static size_t body_checked(const uint8_t *p, const uint8_t *end)
{
    size_t left = (size_t)(end - p);
    uint8_t b = *p;
    size_t head = b < INT13 ? 1 : b < STR32 ? 2 : b == STR32 ? 5 : b <= INT64 ? body_bytes(p) : 0;
    if (!head || left < head)
        return 0;
    size_t body = b == STR32 ? 5 + (size_t)load32(p + 1) : body_bytes(p);
    return body <= left && body <= LP_BYTES_MAX ? body : 0;
}

bool lp_validate(const uint8_t *bytes, size_t len, uint32_t *count)
{
    if (len < LP_EMPTY_BYTES || len > LP_BYTES_MAX || lp_bytes(bytes) != len ||
        bytes[len - 1] != END)
        return false;
    const uint8_t *p = bytes + HEADER, *end = bytes + len - 1;
    *count = 0;
    while (p < end) {
        size_t body = body_checked(p, end);
        uint8_t back[BACK_MAX];
        if (!body)
            return false;
        uint32_t n = back_write(back, (uint32_t)body);
        if ((size_t)(end - p) - body < n || memcmp(p + body, back, n) != 0)
            return false;
        p += body + n;
        ++*count;
    }
    uint32_t said = count_of(bytes);
    return said == COUNT_UNKNOWN || said == *count;
}
