// Any command as a workload: a line of words with placeholders, made into the bytes of one request
// in which only some places change from request to request.
//
//   {key}         twelve digits: the key drawn, below --keys
//   {random}      twelve digits, drawn below --keys once more; {random:N}: below N
//   {sequence}    twelve digits that count up, from 0 in the first thread
//   {field:N}     a number below N in as many digits as N-1 has
//   {number:A-B}  a number from A to B without leading zeros
//   {expire}      --expire seconds
//   {data}        letters, as many as --data-size says; {data:64}, {data:10-200},
//   {data:64:9,1024:1}
//   {{ and }}     a brace
//
// Words stand apart by spaces; a word with spaces stands in double quotes, in which \" \\ \n \r \t
// \xHH are known. A word of ";" alone begins another command of the same request: they leave
// together, and the last reply answers the request.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/random.h"
#include "bench/values.h"
#include "common/out.h"

#define TEMPLATE_HOLES_MAX 64
#define TEMPLATE_WORDS_MAX 1024
#define TEMPLATE_DIGITS 12
#define TEMPLATE_BYTES_MAX (64u * 1024 * 1024)

enum template_kind {
    HOLE_KEY,
    HOLE_RANDOM,
    HOLE_SEQUENCE,
    HOLE_FIELD,
    HOLE_NUMBER, // of changing length
    HOLE_DATA,   // of changing length, or to be recognised
};

struct template_hole {
    uint32_t at; // in the bytes of the request
    uint16_t word;
    enum template_kind kind;
    uint8_t digits;      // of HOLE_FIELD
    uint64_t low, n;     // numbers: low … low + n - 1
    struct values *size; // HOLE_DATA
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
    uint8_t *bytes; // the whole request; without those of holes whose length changes
    uint32_t size;
    bool varies; // some hole's length changes
    unsigned n_holes, n_words, replies;
    struct template_hole holes[TEMPLATE_HOLES_MAX];
    struct {
        uint32_t at, len; // of a word that has such a hole: where its bytes begin ("$" before that
                          // is written with it), and how many of them are fixed
    } * words;
    uint32_t key_at, key_len; // the word after the command's name; 0: none
    bool key_only; // {key} alone changes in it: the values of the request belong to that key
    uint64_t state, sequence, step;
    uint32_t stamp;
};

// False with one line in `error`, which names no option.
bool template_parse(struct template *t, const char *line, const struct template_context *c,
                    char *error, size_t error_size);
void template_free(struct template *t);
void template_write(struct template *t, struct out *out, uint64_t key);
// The slot of a request's key (the word after the command's name, if that has no placeholder but
// {key}; else SLOTS: unknown).
unsigned template_slot(const struct template *t, uint64_t key);
// A number below 10^12 as twelve digits.
void template_digits(uint8_t *to, uint64_t n);
