// Any command as a workload: a line of words with placeholders, made into the bytes of one request
// in which only some places change from request to request.
//
//   {key}         twelve digits: the key drawn, below --keys
//   {random}      twelve digits, drawn below --keys once more; {random:N}: below N
//   {sequence}    twelve digits that count up (threads take turns)
//   {field:N}     a number below N in as many digits as N-1 has
//   {number:A-B}  a number from A to B without leading zeros
//   {expire}      --expire seconds
//   {data}        letters, as many as --data-size says; {data:64}, {data:10-200},
//   {data:64:9,1024:1}
//   {{ and }}     a brace
//
// Words stand apart by spaces; a word with spaces stands in double quotes, in which \" \\ \n \r \t
// \xHH are known. A word of ; alone begins another command of the same request: they leave
// together, and the last reply answers the request.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bench/random.h"
#include "bench/values.h"
#include "common/out.h"

#define TEMPLATE_HOLES_MAX 256
#define TEMPLATE_WORDS_MAX 1024
#define TEMPLATE_DIGITS 12
#define TEMPLATE_BYTES_MAX (64u * 1024 * 1024)

enum template_kind {
    HOLE_KEY,
    HOLE_SEQUENCE,
    HOLE_DRAW,   // a number in `digits` digits
    HOLE_NUMBER, // without leading zeros: of changing length
    HOLE_DATA,   // of changing length, or to be recognised (--verify)
};

struct template_hole {
    enum template_kind kind;
    uint32_t at;          // in the bytes of the request
    uint32_t word;        // counted over all words
    uint8_t digits;       // HOLE_DRAW
    uint64_t low, n;      // HOLE_DRAW, HOLE_NUMBER: low … low + n - 1
    struct values *sizes; // HOLE_DATA
};

// A word whose length changes: its "$…" is written with each request.
struct template_word {
    uint32_t word; // its number
    uint32_t at;   // in the bytes of the request: where it begins
    uint32_t len;  // of what is fixed in it
};

// What a template needs to know besides its line.
struct template_context {
    const struct options_sizes *data;
    uint64_t keys, seed;
    uint32_t expire_s;
    bool verify; // values can be recognised (bench/values.h)
    unsigned thread, threads;
};

struct template
{
    uint8_t *bytes; // the whole request, but for words whose length changes: of these what is fixed
    uint32_t size;
    uint32_t replies; // commands in the request
    unsigned n_holes, n_varying;
    struct template_hole holes[TEMPLATE_HOLES_MAX];
    struct template_word *varying;
    uint32_t key_at, key_len; // the word after the first command's name
    bool has_key;             // it is the key, as far as can be known, and only {key} changes in it
    bool verify;
    bool key_in; // {key} stands there: values of the request belong to that key
    uint64_t state, sequence, step;
    uint32_t stamp;
};

// False with one line in `error`.
bool template_parse(struct template *t, const char *line, const struct template_context *c,
                    char *error, size_t error_size);
void template_free(struct template *t);
// Returns how many bytes it wrote.
size_t template_write(struct template *t, struct out *out, uint64_t key);
// The slot of a request's key in a cluster; SLOTS (common/slot.h): not known.
unsigned template_slot(const struct template *t, uint64_t key);

// Writes a value of `size` bytes, to be recognised or not, in pieces.
void template_write_data(struct out *out, uint64_t key, uint32_t stamp, uint32_t size, bool verify);

// A number below 10^12 without leading zeros: writes up to TEMPLATE_DIGITS bytes, returns how many.
size_t template_number(uint8_t *to, uint64_t n);

// Three digits each of 0 … 999, in the lower bytes.
extern const uint32_t template_three[1000];

// A number below 10^12 as twelve digits: four look-ups in 4 KB, which stay in the first cache.
static inline void template_digits(uint8_t *to, uint64_t n)
{
    uint32_t high = (uint32_t)(n / 1000000), low = (uint32_t)(n - high * UINT64_C(1000000));
    uint32_t a = high / 1000, c = low / 1000;
    uint64_t second = template_three[high - a * 1000], third = template_three[c];
    uint64_t eight = template_three[a] | second << 24 | third << 48;
    uint32_t four = (uint32_t)(third >> 16) | template_three[low - c * 1000] << 8;
    memcpy(to, &eight, 8);
    memcpy(to + 8, &four, 4);
}
