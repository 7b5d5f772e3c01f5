// One measured section of code: its cycles by the time-stamp counter, or its instructions by the
// processor's counter, or by callgrind, which collects inside `micro_section` alone. Everything a
// stage does to prepare stays outside. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum measure_mode {
    MEASURE_WARM,      // runs the section and counts nothing
    MEASURE_CYCLES,    //
    MEASURE_COUNT,     // instructions by the processor's counter
    MEASURE_CALLGRIND, // under callgrind
};

struct measure {
    enum measure_mode mode;
    uint64_t cycles, instructions;
    uint64_t ops; // the stage adds what it did, in its own unit
};

// Reads what an empty section takes, and looks for a counter of instructions. Before all others.
void measure_start(void);
void measure_end(void);
bool measure_counts(void); // the processor counts instructions, and the kernel lets us read them

typedef void section_fn(void *context);
void measure_section(struct measure *m, section_fn *body, void *context);

// Cycles that every earlier instruction has left behind, and no later one has begun in.
uint64_t measure_cycles(void);

// Names of what callgrind is told to look at: collecting goes on inside the first, costs are
// written to a file at the end of the second.
#define MICRO_SECTION "micro_section"
#define MICRO_DUMP "micro_dump"
void micro_section(section_fn *body, void *context);
void micro_dump(void);

// Values of rounds: which share of them is smaller. `values` is sorted here.
double percentile(double *values, unsigned n, double percent);
