#include "bench/values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/template.h"

#define WEIGHT_MAX 1000000

// --- lengths -----------------------------------------------------------------------------------

void values_init(struct values *v, const struct options_sizes *sizes)
{
    *v = (struct values){.low = sizes->low, .high = sizes->high};
    if (sizes->kind == SIZES_FIXED)
        v->high = v->low;
    if (sizes->kind == SIZES_WEIGHTED) {
        double weights[OPTIONS_SIZES_MAX];
        v->n = sizes->n;
        v->low = UINT32_MAX;
        v->high = 0;
        for (unsigned i = 0; i < sizes->n; i++) {
            v->size[i] = sizes->size[i];
            weights[i] = sizes->weight[i];
            v->low = sizes->size[i] < v->low ? sizes->size[i] : v->low;
            v->high = sizes->size[i] > v->high ? sizes->size[i] : v->high;
        }
        alias_init(v->alias, weights, v->n);
    }
    v->fixed = v->low == v->high;
}

bool values_has(const struct values *v, uint64_t size)
{
    if (!v->n)
        return size >= v->low && size <= v->high;
    for (unsigned i = 0; i < v->n; i++)
        if (v->size[i] == size)
            return true;
    return false;
}

// Reads a number of at most `max` and steps over it.
static bool take_number(const char **text, const char *end, uint64_t max, uint32_t *number)
{
    uint64_t n = 0;
    const char *p = *text;
    for (; p < end && *p >= '0' && *p <= '9' && n <= max; p++)
        n = n * 10 + (uint64_t)(*p - '0');
    if (p == *text || n > max)
        return false;
    *text = p;
    *number = (uint32_t)n;
    return true;
}

// Likewise of a length, which may be said in KiB or MiB ("16k", "1m").
static bool take_size(const char **text, const char *end, uint32_t *size)
{
    if (!take_number(text, end, OPTIONS_DATA_MAX, size))
        return false;
    char unit = *text < end ? **text : 0;
    unsigned shift = unit == 'k' || unit == 'K' ? 10 : unit == 'm' || unit == 'M' ? 20 : 0;
    *text += shift != 0;
    if (*size > OPTIONS_DATA_MAX >> shift)
        return false;
    *size <<= shift;
    return true;
}

bool values_parse(struct options_sizes *sizes, const char *text, size_t len)
{
    const char *p = text, *end = text + len;
    struct options_sizes s = {.kind = SIZES_FIXED};
    if (!take_size(&p, end, &s.low))
        return false;
    s.high = s.low;
    if (p < end && *p == '-') {
        p++;
        s.kind = SIZES_RANGE;
        if (!take_size(&p, end, &s.high) || s.high < s.low)
            return false;
    } else if (p < end && *p == ':') {
        s = (struct options_sizes){.kind = SIZES_WEIGHTED};
        for (p = text; s.n < OPTIONS_SIZES_MAX; p++) {
            if (!take_size(&p, end, &s.size[s.n]) || p == end || *p != ':')
                return false;
            p++;
            if (!take_number(&p, end, WEIGHT_MAX, &s.weight[s.n]) || !s.weight[s.n])
                return false;
            s.n++;
            if (p == end || *p != ',')
                break;
        }
    }
    *sizes = s;
    return p == end;
}

// --- contents ----------------------------------------------------------------------------------

// Sixteen letters from a number, eight at a time; byte i of the pattern is byte i % 8 of word i
// / 8.
static inline uint64_t pattern_word(uint64_t seed, uint64_t i)
{
    uint64_t x = seed + i * UINT64_C(0x9e3779b97f4a7c15);
    return ((x ^ (x >> 32)) & UINT64_C(0x0f0f0f0f0f0f0f0f)) + UINT64_C(0x6161616161616161);
}

static uint64_t pattern_seed(uint64_t key, uint32_t stamp, uint32_t size)
{
    return random_seed(key, size < VALUE_LONG ? UINT64_C(1) << 32 | size : stamp);
}

static void pattern(uint8_t *to, uint64_t from, size_t n, uint64_t seed)
{
    uint64_t i = from / 8, word;
    size_t skip = from % 8;
    if (skip && n) {
        size_t part = 8 - skip < n ? 8 - skip : n;
        word = pattern_word(seed, i++);
        memcpy(to, (uint8_t *)&word + skip, part);
        to += part;
        n -= part;
    }
    for (; n >= 8; n -= 8, to += 8) {
        word = pattern_word(seed, i++);
        memcpy(to, &word, 8);
    }
    word = pattern_word(seed, i);
    memcpy(to, &word, n);
}

static void write_hex(uint8_t *to, uint32_t n)
{
    for (unsigned i = 0; i < VALUE_HEX; i++)
        to[i] = (uint8_t) "0123456789abcdef"[n >> (28 - 4 * i) & 15];
}

static void write_head(uint8_t head[VALUE_HEAD], uint64_t key, uint32_t stamp, uint32_t size)
{
    memcpy(head, "key:", 4);
    template_digits(head + 4, key);
    write_hex(head + VALUE_KEY, stamp);
    write_hex(head + VALUE_KEY + VALUE_HEX, size);
}

void value_write(uint8_t *to, uint64_t from, size_t n, uint64_t key, uint32_t stamp, uint32_t size)
{
    if (size >= VALUE_LONG && from < VALUE_HEAD) {
        uint8_t head[VALUE_HEAD];
        size_t part = VALUE_HEAD - from < n ? VALUE_HEAD - (size_t)from : n;
        write_head(head, key, stamp, size);
        memcpy(to, head + from, part);
        to += part;
        from += part;
        n -= part;
    }
    pattern(to, from, n, pattern_seed(key, stamp, size));
}

void value_check_begin(struct value_check *c, uint64_t key, uint64_t size, bool perhaps)
{
    *c = (struct value_check){.key = key, .size = size, .perhaps = perhaps};
    // A short value does not say whose it is.
    c->over = size < VALUE_LONG && (perhaps || key == VALUE_ANY_KEY);
}

const char *value_show(char *text, size_t size, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    size_t at = 0;
    for (size_t i = 0; i < len && at + 5 < size; i++)
        if (bytes[i] >= ' ' && bytes[i] < 0x7f && bytes[i] != '\\')
            text[at++] = (char)bytes[i];
        else
            at += (size_t)snprintf(text + at, size - at, "\\x%02x", bytes[i]);
    text[at] = 0;
    return text;
}

#define SHOWN 24 // bytes of evidence

static bool differs(struct value_check *c, uint64_t offset, const uint8_t *expected,
                    const uint8_t *got, size_t len, char *evidence, size_t evidence_size)
{
    char a[4 * SHOWN + 8], b[4 * SHOWN + 8];
    size_t n = len < SHOWN ? len : SHOWN;
    c->over = true;
    snprintf(evidence, evidence_size,
             "value of %llu bytes, at offset %llu: expected \"%s\", got \"%s\"",
             (unsigned long long)c->size, (unsigned long long)offset,
             value_show(a, sizeof(a), expected, n), value_show(b, sizeof(b), got, n));
    return false;
}

static bool read_key(const uint8_t *head, uint64_t *key)
{
    *key = 0;
    for (unsigned i = 4; i < VALUE_KEY; i++) {
        if (head[i] < '0' || head[i] > '9')
            return false;
        *key = *key * 10 + (uint64_t)(head[i] - '0');
    }
    return memcmp(head, "key:", 4) == 0;
}

static bool read_hex(const uint8_t *from, uint32_t *n)
{
    *n = 0;
    for (unsigned i = 0; i < VALUE_HEX; i++) {
        int digit = from[i] >= '0' && from[i] <= '9'   ? from[i] - '0'
                    : from[i] >= 'a' && from[i] <= 'f' ? from[i] - 'a' + 10
                                                       : -1;
        if (digit < 0)
            return false;
        *n = *n << 4 | (uint32_t)digit;
    }
    return true;
}

// The head is whole: whose value it says it is, and which.
static bool judge_head(struct value_check *c, char *evidence, size_t evidence_size)
{
    uint64_t key;
    uint32_t size;
    char shown[4 * SHOWN + 8];
    bool named = read_key(c->head, &key);
    if (c->perhaps && memcmp(c->head, "key:", 4) != 0) {
        c->over = true;
        return true;
    }
    c->over = true;
    if (!named || !read_hex(c->head + VALUE_KEY, &c->stamp) ||
        !read_hex(c->head + VALUE_KEY + VALUE_HEX, &size)) {
        snprintf(evidence, evidence_size,
                 "value of %llu bytes, at offset 0: expected one written with --verify, got \"%s\"",
                 (unsigned long long)c->size, value_show(shown, sizeof(shown), c->head, SHOWN));
        return false;
    }
    if (c->key != VALUE_ANY_KEY && key != c->key) {
        snprintf(
            evidence, evidence_size,
            "value at offset 0: expected key:%012llu, got key:%012llu (stamp %08x), the value of "
            "another key",
            (unsigned long long)c->key, (unsigned long long)key, c->stamp);
        return false;
    }
    if (size != c->size) {
        snprintf(evidence, evidence_size,
                 "value at offset %d: written with %u bytes (stamp %08x), got %llu",
                 VALUE_KEY + VALUE_HEX, size, c->stamp, (unsigned long long)c->size);
        return false;
    }
    c->over = false;
    c->key = key;
    return true;
}

bool value_check_bytes(struct value_check *c, const uint8_t *data, size_t len, char *evidence,
                       size_t evidence_size)
{
    uint8_t expected[512];
    while (len && !c->over) {
        size_t n = len;
        if (c->size >= VALUE_LONG && c->at < VALUE_HEAD) {
            n = n < VALUE_HEAD - c->at ? n : VALUE_HEAD - (size_t)c->at;
            memcpy(c->head + c->at, data, n);
            if (c->at + n == VALUE_HEAD && !judge_head(c, evidence, evidence_size))
                return false;
        } else {
            n = n < sizeof(expected) ? n : sizeof(expected);
            pattern(expected, c->at, n, pattern_seed(c->key, c->stamp, (uint32_t)c->size));
            if (memcmp(expected, data, n) != 0) {
                size_t i = 0;
                while (expected[i] == data[i])
                    i++;
                return differs(c, c->at + i, expected + i, data + i, n - i, evidence,
                               evidence_size);
            }
        }
        c->at += n;
        data += n;
        len -= n;
    }
    return true;
}
