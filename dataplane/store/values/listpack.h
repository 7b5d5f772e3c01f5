// Listpack: a run of short strings and integers in one allocation, in the byte format of Redis's
// files (total bytes 32 bits, count 16 bits, elements each with its own length behind it, 0xff), so
// that DUMP and RDB take it as it is.
//
// A listpack is a pointer to its first byte. Every function that changes one returns where it is
// now, or NULL when memory is short or LP_BYTES_MAX would be passed: the old one is then unchanged
// and valid. An element is named by a pointer into the listpack, valid until the next change.
// Memory is mimalloc's; `lp_memory` is what the allocator gave.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LP_BYTES_MAX (1u << 30) // of a whole listpack, as Redis keeps it below 1 GiB
#define LP_EMPTY_BYTES 7        // header and end

// What an element holds: `len` bytes at `ptr`, or an integer when ptr is NULL.
struct lp_item {
    const uint8_t *ptr;
    uint32_t len;
    int64_t value;
};

enum lp_where { LP_BEFORE, LP_AFTER, LP_REPLACE };

uint8_t *lp_new(size_t room); // empty; room for so many bytes, 0: as little as may be
void lp_free(uint8_t *lp);
uint8_t *lp_copy(const uint8_t *lp);
uint8_t *lp_shrink(uint8_t *lp); // gives back what is not used
size_t lp_bytes(const uint8_t *lp);
size_t lp_memory(const uint8_t *lp);
uint32_t lp_count(const uint8_t *lp); // elements; walks when there are 65,535 or more

uint8_t *lp_first(const uint8_t *lp); // NULL: empty
uint8_t *lp_last(const uint8_t *lp);
uint8_t *lp_next(const uint8_t *lp, const uint8_t *p); // NULL: `p` was the last
uint8_t *lp_prev(const uint8_t *lp, const uint8_t *p);
uint8_t *lp_seek(const uint8_t *lp, int64_t index); // negative from the end; NULL: out of range

struct lp_item lp_get(const uint8_t *p);
// Reads the element and returns the place behind it, which is the next element, or the end: 0xff.
#define LP_END 0xff
const uint8_t *lp_step_long(const uint8_t *p, struct lp_item *item);
static inline const uint8_t *lp_step(const uint8_t *p, struct lp_item *item)
{
    uint8_t b = *p;
    if (b < 0x80) {
        *item = (struct lp_item){.value = b};
        return p + 2;
    }
    if (b < 0xc0) { // a string of less than 64 bytes
        *item = (struct lp_item){.ptr = p + 1, .len = b & 63u};
        return p + 2 + item->len;
    }
    return lp_step_long(p, item);
}
// The bytes of an element; those of an integer are printed to `scratch`.
const uint8_t *lp_text(const uint8_t *p, char scratch[24], size_t *len);
// Whether it reads as an integer (stored so, or text that is one).
bool lp_integer(const uint8_t *p, int64_t *value);
bool lp_equal(const uint8_t *p, const void *data, size_t len);

// Bytes that read as an integer are stored as one. `*at`, if not NULL, becomes the new element.
uint8_t *lp_insert(uint8_t *lp, uint8_t *p, enum lp_where where, const void *data, size_t len,
                   uint8_t **at);
uint8_t *lp_insert_integer(uint8_t *lp, uint8_t *p, enum lp_where where, int64_t value,
                           uint8_t **at);
uint8_t *lp_append(uint8_t *lp, const void *data, size_t len);
uint8_t *lp_append_integer(uint8_t *lp, int64_t value);
uint8_t *lp_prepend(uint8_t *lp, const void *data, size_t len);
// `*next`, if not NULL, becomes the element behind, or NULL.
uint8_t *lp_delete(uint8_t *lp, uint8_t *p, uint8_t **next);
// `count` elements from p on.
uint8_t *lp_delete_from(uint8_t *lp, uint8_t *p, uint32_t count, uint8_t **next);
// index as lp_seek; fewer when there are fewer.
uint8_t *lp_delete_range(uint8_t *lp, int64_t index, uint32_t count);
// Appends all elements of `from`.
uint8_t *lp_append_all(uint8_t *lp, const uint8_t *from);

// The first element from `p` on that equals the bytes, looking at every (skip + 1)th. NULL: none.
uint8_t *lp_find(const uint8_t *lp, uint8_t *p, const void *data, size_t len, unsigned skip);
// Whether adding `more` bytes of elements keeps it within LP_BYTES_MAX.
bool lp_takes(const uint8_t *lp, size_t more);
// Bytes that an element of this value takes.
size_t lp_element_bytes(const void *data, size_t len);

// An element before it is written, for those who keep room around a listpack themselves: its first
// bytes (of an integer: all of it), and the string behind them, which stays the caller's.
struct lp_encoded {
    uint8_t head[12];
    uint32_t head_len;
    const void *data;
    uint32_t len;
    uint32_t body;
};
// `len` is at most LP_BYTES_MAX. Returns the bytes that lp_write writes.
size_t lp_encode(struct lp_encoded *e, const void *data, size_t len);
size_t lp_encode_integer(struct lp_encoded *e, int64_t value);
uint8_t *lp_replace(uint8_t *lp, uint8_t *p, const struct lp_encoded *e);
// All `n` of them before `p`, or at the end where that is NULL: all or none.
uint8_t *lp_insert_many(uint8_t *lp, uint8_t *p, const struct lp_encoded *e, unsigned n);
void lp_write(uint8_t *to, const struct lp_encoded *e);

// True when `len` bytes from outside are a listpack of well-formed elements; `*count` becomes their
// number. Reads nothing beyond.
bool lp_validate(const uint8_t *bytes, size_t len, uint32_t *count);
