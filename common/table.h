// Aligned tables and figures for people.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 16
#define TABLE_CELL_MAX 80

struct table {
    unsigned columns;
    const char *const *names;
    const char *const
        *groups;    // NULL, or for each column NULL or what stands above it and those after
    uint32_t right; // bit i: column i is aligned to the right (figures)
    char (*cells)[TABLE_CELL_MAX];
    size_t rows, cap;
    unsigned column; // of the row being filled
};

void table_init(struct table *t, unsigned columns, const char *const *names, uint32_t right);
// The next cell, row by row.
void table_put(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Prints, to standard output or `to`, with `indent` spaces before each line and forgets the rows.
void table_print(struct table *t, unsigned indent, bool header);
void table_write(struct table *t, FILE *to, unsigned indent, bool header);

// Whether output is plain: no terminal, or NO_COLOR is set.
void table_heading(const char *text);

// Figures with units; each call has a buffer of its own among the last eight.
const char *human_bytes(int64_t bytes);
const char *human_count(int64_t n);
const char *human_seconds(double s);
const char *human_us(int64_t us);
