// What the live view shows, as text: no terminal is needed here. Times of `progress` are
// nanoseconds.
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "bench/workers.h"

#define LIVE_SAMPLES_MAX 512 // of throughput; when full, neighbours are averaged
#define LIVE_WIDTH_MAX 400   // columns that are used

// What is remembered of the present phase.
struct live_state {
    char name[MEASUREMENT_TEXT_MAX];
    int phase; // -1: none yet
    unsigned step;
    double samples[LIVE_SAMPLES_MAX]; // requests/s, oldest first
    unsigned n_samples;
    unsigned per_sample;      // calls of live_note that make one
    double sum;               // of the sample that is being made
    unsigned noted;           // calls that are in it
    struct histogram latency; // of all intervals
};

void live_reset(struct live_state *s);
// Takes in what came; a new test, phase or step begins anew.
void live_note(struct live_state *s, const struct progress *p);
// One line of at most `width` columns, NUL-ended, without a line end. `to` needs LIVE_LINE_MAX
// bytes.
#define LIVE_LINE_MAX (4 * LIVE_WIDTH_MAX + 1)
void live_line(const struct progress *p, unsigned width, char *to);
// A screen of at most `height` lines of at most `width` columns, each ended with '\n'.
void live_screen(FILE *to, const struct live_state *s, const struct options *o,
                 const struct progress *p, unsigned width, unsigned height, bool utf8);
