// What was measured, and how it is shown: as a table with bars, as JSON, as a plot.
#pragma once

#include <stdio.h>

#include "bench/micro/stages.h"

#define RESULTS_MAX 1024

struct result {
    const struct stage *stage;
    uint64_t keys; // of the table, or values of the type; 0: none
    uint64_t ops, rounds;
    double cycles, low, high; // an operation: median, tenth and ninetieth percentile of rounds
    double instructions;      // an operation; NAN: not counted
    struct request_figures figures; // NEEDS_REQUESTS
};

struct machine {
    char processor[64], kernel[80], huge_pages[16];
    double tsc_hz;
    bool tsc_invariant, counts_instructions;
    const char *built_for; // what the compiler was allowed to use
    unsigned cpus;
    long page_bytes;
};

// The memory of a table of so many keys, as it was when its stages ran.
struct table_memory {
    uint64_t keys, bytes, resident_bytes, huge_bytes;
};
#define TABLES_MAX 8

struct results {
    struct machine machine;
    unsigned n, n_tables;
    uint64_t replies; // that were looked at
    struct table_memory tables[TABLES_MAX];
    struct result at[RESULTS_MAX];
};

void machine_read(struct machine *m);
uint64_t machine_resident(uint64_t *huge_bytes); // of this process

// How a request is put together from stages that were measured alone.
enum alone_part {
    ALONE_FRAMES_IN,
    ALONE_PARSER,
    ALONE_COMMAND,
    ALONE_KEY,
    ALONE_FETCH, // the rest of the batch's first half
    ALONE_LOOKUP,
    ALONE_HANDLER, // the rest of its second half
    ALONE_REPLY,
    ALONE_FRAMES_OUT,
    ALONE_PARTS
};
extern const char *const alone_part_names[ALONE_PARTS];
// False: not all stages that it takes were measured.
bool results_alone(const struct results *r, const struct result *request, double *part);

struct look {
    bool ascii;
    unsigned columns;
};
void results_machine(const struct results *r, bool callgrind, FILE *to);
void results_head(FILE *to);
void results_row(const struct result *result, FILE *to);
void results_bars(const struct results *r, const struct look *look, FILE *to);
bool results_json(const struct results *r, FILE *to);
// Draws the bars by gnuplot. False with one line in `error`.
bool results_plot(const struct results *r, const char *path, char *error, size_t size);
