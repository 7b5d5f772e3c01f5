// What the user asked of pollux-micro, and running it.
#pragma once

#include "bench/micro/results.h"

#define PLAN_SECONDS 0.2
#define PLAN_KEYS_MAX UINT64_C(100000000)
#define PLAN_VALUES 1000000
// Under callgrind everything takes fifty times as long, and counts hardly depend on the size.
#define PLAN_CALLGRIND_KEYS 10000

struct plan {
    struct stage stages[STAGES_ALL_MAX];
    bool chosen[STAGES_ALL_MAX];
    unsigned n_stages;
    uint64_t keys[TABLES_MAX];
    unsigned n_keys; // 0: by default
    uint64_t values; // 0: by default
    double seconds;  // of a stage
    bool offloads;
    bool json, ascii, list, callgrind;
    bool counted; // this process runs under callgrind
    int cpu;      // -1: wherever the kernel places it
    const char *plot;
};

enum plan_result { PLAN_RUN, PLAN_HELP, PLAN_BAD };
// PLAN_BAD: one line in `error`.
enum plan_result plan_read(struct plan *p, int argc, char **argv, char *error, size_t size);
extern const char plan_help[];

// Runs the stages; `each` hears of every result. False: what went wrong is in `error`.
bool plan_run(const struct plan *p, struct results *r, void (*each)(const struct result *result),
              char *error, size_t size);
// Whether valgrind can run this build. False: `error` tells how to build one.
bool callgrind_possible(char *error, size_t size);
// The same as plan_run in a process of its own under callgrind.
bool callgrind_run(const struct plan *p, struct results *r,
                   void (*each)(const struct result *result), char *error, size_t size);
