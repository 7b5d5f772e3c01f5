// Values: how long they are, and with --verify what is in them, so that a reply can be checked
// without memory of what was written. Such a value of 40 bytes or more reads
//
//   key:000000000042 0000001b 00000040 jkdfaopcehij...      (without the spaces)
//
// key, stamp (which writing it was) and length in hexadecimal, then letters that depend on key and
// stamp, so that a value of another key, of another length, cut, shifted or mixed of two writings
// is noticed. A shorter one is letters that depend on key and length. Everything may be written and
// checked in pieces.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/options.h"
#include "bench/random.h"

#define VALUE_HEAD 32
#define VALUE_LONG 40 // shorter values have no head: too few letters would vouch for it
#define VALUE_KEY 16  // "key:" and twelve digits
#define VALUE_HEX 8   // of stamp and length each

// --- lengths -----------------------------------------------------------------------------------

struct values {
    bool fixed;
    uint32_t low, high; // bounds of all kinds
    uint32_t n;         // SIZES_WEIGHTED
    uint32_t size[OPTIONS_SIZES_MAX];
    struct alias alias[OPTIONS_SIZES_MAX];
};

void values_init(struct values *v, const struct options_sizes *sizes);
// A length, from a random number.
static inline uint32_t values_size(const struct values *v, uint64_t random)
{
    if (v->n)
        return v->size[alias_pick(v->alias, v->n, random)];
    return v->low + (uint32_t)random_below(random, (uint64_t)v->high - v->low + 1);
}
// Whether values of `size` are among them.
bool values_has(const struct values *v, uint64_t size);
// "64", "16k", "10-200", "64:9,1024:1": the sizes that --data-size and {data:…} take. False when it
// is none of these or above OPTIONS_DATA_MAX.
bool values_parse(struct options_sizes *sizes, const char *text, size_t len);

// --- contents ----------------------------------------------------------------------------------

// Bytes [from, from + n) of the value of `key` that writing number `stamp` made, `size` bytes in
// all.
void value_write(uint8_t *to, uint64_t from, size_t n, uint64_t key, uint32_t stamp, uint32_t size);

// A value that comes in pieces.
struct value_check {
    uint64_t key;   // whose it must be
    uint64_t size;  // how long it really is
    uint64_t at;    // bytes seen
    uint32_t stamp; // as the value says
    bool perhaps;   // it may be something else
    bool over;      // nothing more can be said of it
    uint8_t head[VALUE_HEAD];
};

#define VALUE_ANY_KEY UINT64_MAX // the value itself says whose it is

// `perhaps`: it is checked only if it begins with "key:".
void value_check_begin(struct value_check *c, uint64_t key, uint64_t size, bool perhaps);
// Takes the next bytes. False at what is wrong first: `evidence` says where and how, in one line.
bool value_check_bytes(struct value_check *c, const uint8_t *data, size_t len, char *evidence,
                       size_t evidence_size);
// Bytes for a line of text: as they are if they print, else as \xHH; as many as fit. Returns
// `text`.
const char *value_show(char *text, size_t size, const void *data, size_t len);
