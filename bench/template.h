// Any command as a workload: a line of words with placeholders, made into the bytes of one request
// in which only some places change from request to request.
//
//   {key}       twelve digits: the key drawn, below --keys
//   {random}    twelve digits, drawn below --keys once more; {random:N}: below N
//   {sequence}  twelve digits that count up
//   {data}      --data-size letters; {data:N}: N of them
//
// Words stand apart by spaces; a word with spaces stands in double quotes.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/out.h"

#define TEMPLATE_HOLES_MAX 32
#define TEMPLATE_DIGITS 12
#define TEMPLATE_BYTES_MAX (64u * 1024 * 1024)

enum template_kind { HOLE_KEY, HOLE_RANDOM, HOLE_SEQUENCE };

struct template
{
    uint8_t *bytes; // the whole request
    uint32_t size;
    unsigned n_holes;
    struct {
        uint32_t at;
        enum template_kind kind;
        uint64_t below; // HOLE_RANDOM
    } holes[TEMPLATE_HOLES_MAX];
    uint64_t state, sequence;
};

// False with one line in `error`.
bool template_parse(struct template *t, const char *line, uint32_t data_size, uint64_t keys,
                    uint64_t seed, char *error, size_t error_size);
void template_free(struct template *t);
void template_write(struct template *t, struct out *out, uint64_t key);
// A number below 10^12 as twelve digits.
void template_digits(uint8_t *to, uint64_t n);
