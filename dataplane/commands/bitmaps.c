// Commands that take a string as a row of bits, the first bit being the highest of the first byte.
#include "common/block.h"
#include "dataplane/commands/bitmaps_commands.h"
#include "dataplane/commands/effects.h"
#include "dataplane/commands/lookup.h"

#include <mimalloc.h>
#include <string.h>

// --- counting and finding -----------------------------------------------------------------------

static uint64_t load_word(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

// Four counts at once, so that no addition waits for the one before.
static uint64_t count_bytes(const uint8_t *p, size_t len)
{
    uint64_t n[4] = {0};
    for (; len >= 32; p += 32, len -= 32)
        for (unsigned i = 0; i < 4; i++)
            n[i] += (unsigned)__builtin_popcountll(load_word(p + 8 * i));
    for (; len >= 8; p += 8, len -= 8)
        n[0] += (unsigned)__builtin_popcountll(load_word(p));
    for (; len; p++, len--)
        n[1] += (unsigned)__builtin_popcount(*p);
    return n[0] + n[1] + n[2] + n[3];
}

// What is left of a byte's bits from `from` on, and of those up to `to`.
static uint8_t bits_from(uint8_t byte, uint64_t from)
{
    return (uint8_t)(byte & (0xffu >> (from & 7)));
}
static uint8_t bits_to(uint8_t byte, uint64_t to)
{
    return (uint8_t)(byte & (0xffu << (7 - (to & 7))));
}

// Set bits from `from` to `to`, both included.
static uint64_t count_bits(const uint8_t *p, uint64_t from, uint64_t to)
{
    uint64_t first = from >> 3, last = to >> 3;
    uint8_t head = bits_from(p[first], from);
    if (first == last)
        return (unsigned)__builtin_popcount(bits_to(head, to));
    return (unsigned)__builtin_popcount(head) + (unsigned)__builtin_popcount(bits_to(p[last], to)) +
           count_bytes(p + first + 1, last - first - 1);
}

// The first bit of this value from `from` to `to`, both included; -1: there is none.
static int64_t find_bit(const uint8_t *p, uint64_t from, uint64_t to, bool set)
{
    uint64_t first = from >> 3, last = to >> 3;
    uint8_t without = set ? 0 : 0xff; // a byte that has none of them
    uint64_t word_without = set ? 0 : UINT64_MAX;
    for (uint64_t i = first; i <= last; i++) {
        while (i > first && i + 8 <= last && load_word(p + i) == word_without)
            i += 8;
        uint8_t byte = p[i] ^ without;
        if (i == first)
            byte = bits_from(byte, from);
        if (i == last)
            byte = bits_to(byte, to);
        if (byte)
            return (int64_t)(i * 8) + __builtin_clz(byte) - 24;
    }
    return -1;
}

// --- one bit ------------------------------------------------------------------------------------

bool bitmaps_parse_offset(struct request *r, int i, unsigned width, uint64_t *offset)
{
    const struct arg *a = &r->argv[i];
    bool counted = width && a->len && a->ptr[0] == '#';
    int64_t value;
    if (parse_int64(a->ptr + counted, a->len - counted, &value) &&
        !(counted && __builtin_mul_overflow(value, (int64_t)width, &value)) && value >= 0 &&
        (uint64_t)value >> 3 < r->limits->bulk_max) {
        *offset = (uint64_t)value;
        return true;
    }
    request_error(r, "ERR bit offset is not an integer or out of range");
    return false;
}

struct entry *bitmaps_open(struct request *r, const struct key *key, struct entry *e,
                           uint64_t offset, bool *grown)
{
    size_t len = 0, byte = (size_t)(offset >> 3);
    char scratch[24];
    if (e)
        len = entry_string(e, scratch).len;
    *grown = byte >= len;
    if (*grown)
        return store_write_range(r->store, r->session->db, key, e, byte, "", 1);
    if (entry_encoding(e) != ENC_RAW) // Redis makes it so whether a bit changes or not
        return store_write_range(r->store, r->session->db, key, e, 0, NULL, 0);
    return e;
}

void setbit_command(struct request *r)
{
    uint64_t offset;
    int64_t bit;
    if (!bitmaps_parse_offset(r, 2, 0, &offset))
        return;
    if (!parse_int64(r->argv[3].ptr, r->argv[3].len, &bit) || bit < 0 || bit > 1) {
        request_error(r, "ERR bit is not an integer or out of range");
        return;
    }
    struct key key = request_key(r, 1);
    struct entry *e = lookup_write(r, &key);
    if (!lookup_type_is(r, e, OBJ_STRING))
        return;
    bool grown;
    e = bitmaps_open(r, &key, e, offset, &grown);
    if (!e) {
        request_error(r, ERR_OOM);
        return;
    }
    char scratch[24];
    size_t at = (size_t)(offset >> 3);
    uint8_t byte = entry_string(e, scratch).ptr[at], mask = (uint8_t)(0x80u >> (offset & 7));
    bool before = byte & mask;
    if (before != bit) {
        byte ^= mask;
        if (!store_write_range(r->store, r->session->db, &key, e, at, &byte, 1)) {
            request_error(r, ERR_OOM);
            return;
        }
    }
    if (grown || before != bit)
        request_changed(r, &key, EVENT_STRING, "setbit");
    else
        effect_nothing(r);
    reply_integer(r->out, before);
}

void getbit_command(struct request *r)
{
    uint64_t offset;
    if (!bitmaps_parse_offset(r, 2, 0, &offset))
        return;
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (!lookup_type_is(r, e, OBJ_STRING))
        return;
    char scratch[24];
    struct string_view v = {0};
    if (e)
        v = entry_string(e, scratch);
    size_t at = (size_t)(offset >> 3);
    reply_integer(r->out, at < v.len && v.ptr[at] & (0x80u >> (offset & 7)));
}

// --- ranges -------------------------------------------------------------------------------------

// True when argument i, if there is one, is BIT or BYTE. Answers otherwise.
static bool parse_unit(struct request *r, int i, bool *bits)
{
    *bits = i < r->argc && request_is(r, i, "bit");
    if (i >= r->argc || *bits || request_is(r, i, "byte"))
        return true;
    request_error(r, ERR_SYNTAX);
    return false;
}

// Turns a range of bytes or bits of a string, as the client gave it, into one of bits. False: it is
// empty.
static bool range_to_bits(int64_t start, int64_t end, bool bits, size_t len, uint64_t *from,
                          uint64_t *to)
{
    int64_t total = bits ? (int64_t)len * 8 : (int64_t)len;
    if (start < 0)
        start = start + total < 0 ? 0 : start + total;
    if (end < 0)
        end = end + total < 0 ? 0 : end + total;
    if (end >= total)
        end = total - 1;
    if (start > end)
        return false;
    *from = bits ? (uint64_t)start : (uint64_t)start * 8;
    *to = bits ? (uint64_t)end : (uint64_t)end * 8 + 7;
    return true;
}

void bitcount_command(struct request *r)
{
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (!e) {
        reply_integer(r->out, 0);
        return;
    }
    if (!lookup_type_is(r, e, OBJ_STRING))
        return;
    int64_t start = 0, end = -1;
    bool bits = false;
    if (r->argc == 4 || r->argc == 5) {
        if (!request_integer(r, 2, &start) || !request_integer(r, 3, &end))
            return;
        if (start < 0 && end < 0 && start > end) { // answered before the unit is looked at
            reply_integer(r->out, 0);
            return;
        }
        if (!parse_unit(r, 4, &bits))
            return;
    } else if (r->argc != 2) {
        request_error(r, ERR_SYNTAX);
        return;
    }
    char scratch[24];
    struct string_view v = entry_string(e, scratch);
    uint64_t from, to;
    bool some = range_to_bits(start, end, bits, v.len, &from, &to);
    reply_integer(r->out, some ? (int64_t)count_bits(v.ptr, from, to) : 0);
}

void bitpos_command(struct request *r)
{
    int64_t bit;
    if (!request_integer(r, 2, &bit))
        return;
    if (bit != 0 && bit != 1) {
        request_error(r, "ERR The bit argument must be 1 or 0.");
        return;
    }
    struct key key = request_key(r, 1);
    struct entry *e = lookup_read(r, &key);
    if (!e) {
        reply_integer(r->out, bit ? -1 : 0);
        return;
    }
    if (!lookup_type_is(r, e, OBJ_STRING))
        return;
    int64_t start = 0, end = -1;
    bool bits = false;
    if (r->argc > 6) {
        request_error(r, ERR_SYNTAX);
        return;
    }
    if ((r->argc > 3 && !request_integer(r, 3, &start)) || !parse_unit(r, 5, &bits) ||
        (r->argc > 4 && !request_integer(r, 4, &end)))
        return;
    char scratch[24];
    struct string_view v = entry_string(e, scratch);
    uint64_t from, to;
    int64_t at = -1;
    if (range_to_bits(start, end, bits, v.len, &from, &to)) {
        at = find_bit(v.ptr, from, to, bit);
        if (at < 0 && !bit && r->argc < 5) // to whom no end was given, zeros follow the string
            at = (int64_t)v.len * 8;
    }
    reply_integer(r->out, at);
}

// --- BITOP --------------------------------------------------------------------------------------

enum operation { OP_AND, OP_OR, OP_XOR, OP_NOT };

static bool parse_operation(struct request *r, enum operation *op)
{
    static const char *const names[] = {"and", "or", "xor", "not"};
    for (unsigned i = 0; i < 4; i++)
        if (request_is(r, 1, names[i])) {
            *op = (enum operation)i;
            return true;
        }
    request_error(r, ERR_SYNTAX);
    return false;
}

static uint64_t combine(enum operation op, uint64_t a, uint64_t b)
{
    return op == OP_AND ? a & b : op == OP_OR ? a | b : a ^ b;
}

// to[] = to[] op from[], over `len` bytes. Inlined with a constant `op`.
static inline __attribute__((always_inline)) void
combine_bytes(enum operation op, uint8_t *restrict to, const uint8_t *restrict from, size_t len)
{
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word = combine(op, load_word(to + i), load_word(from + i));
        memcpy(to + i, &word, sizeof(word));
    }
    for (; i < len; i++)
        to[i] = (uint8_t)combine(op, to[i], from[i]);
}

// Of strings of different lengths the shorter ones count as if zeros followed.
static void combine_all(enum operation op, uint8_t *to, size_t total,
                        const struct string_view *views, int n)
{
    if (views[0].len)
        memcpy(to, views[0].ptr, views[0].len);
    memset(to + views[0].len, 0, total - views[0].len);
    if (op == OP_NOT)
        for (size_t i = 0; i < total; i++)
            to[i] = (uint8_t)~to[i];
    for (int i = 1; i < n; i++) {
        const struct string_view *v = &views[i];
        if (op == OP_OR) {
            combine_bytes(OP_OR, to, v->ptr, v->len);
        } else if (op == OP_XOR) {
            combine_bytes(OP_XOR, to, v->ptr, v->len);
        } else {
            combine_bytes(OP_AND, to, v->ptr, v->len);
            memset(to + v->len, 0, total - v->len);
        }
    }
}

struct sources {
    struct string_view *views;
    char (*scratch)[24]; // digits of integers
    size_t longest;
};

// Looks at all source keys. Answers when it returns false.
static bool find_sources(struct request *r, int n, struct sources *s)
{
    for (int i = 0; i < n; i++) {
        struct key key = request_key(r, i + 3);
        struct entry *e = lookup_read(r, &key);
        s->views[i] = (struct string_view){0};
        if (!lookup_type_is(r, e, OBJ_STRING))
            return false;
        if (e)
            s->views[i] = entry_string(e, s->scratch[i]);
        if (s->views[i].len > s->longest)
            s->longest = s->views[i].len;
    }
    return true;
}

// Puts the combination under the target key. False: memory is short.
static bool store_combination(struct request *r, enum operation op, const struct sources *s, int n)
{
    struct block *result = block_new(s->longest);
    if (!result)
        return false;
    combine_all(op, result->data, s->longest, s->views, n);
    result->len = s->longest;
    struct arg value = {.ptr = result->data, .len = s->longest, .block = result};
    struct key target = request_key(r, 2);
    struct entry *e = store_set_string(r->store, r->session->db, &target, lookup_write(r, &target),
                                       &value, -1, SET_RAW);
    block_release(result);
    if (e)
        request_changed(r, &target, EVENT_STRING, "set");
    return e != NULL;
}

void bitop_command(struct request *r)
{
    enum operation op;
    if (!parse_operation(r, &op))
        return;
    if (op == OP_NOT && r->argc != 4) {
        request_error(r, "ERR BITOP NOT must be called with a single source key.");
        return;
    }
    int n = r->argc - 3;
    struct sources s = {
        .views = mi_mallocn((size_t)n, sizeof(*s.views)),
        .scratch = mi_mallocn((size_t)n, sizeof(*s.scratch)),
    };
    if (!s.views || !s.scratch) {
        request_error(r, ERR_OOM);
    } else if (find_sources(r, n, &s)) {
        struct key target = request_key(r, 2);
        if (s.longest && !store_combination(r, op, &s, n)) {
            request_error(r, ERR_OOM);
        } else {
            if (!s.longest && store_delete(r->store, r->session->db, &target))
                request_changed(r, &target, EVENT_GENERIC, "del");
            reply_integer(r->out, (int64_t)s.longest);
        }
    }
    mi_free(s.views);
    mi_free(s.scratch);
}
