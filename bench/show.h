// Figures, texts and bars as people read them: shared by the reports and the live view.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/measurement.h"

// A text that is returned by value: `.text` lives until the end of the full expression.
struct shown {
    char text[40];
};

struct shown show_count(uint64_t n); // "1,234,567"
struct shown show_rate(double rate); // "1,234,567", below 100 "12.3"
struct shown show_percent(double p); // "p99.9"

// The unit in which the latencies of one table stand: microseconds, or milliseconds where most of
// them are long.
enum show_unit { SHOW_US, SHOW_MS };
enum show_unit show_unit_of(const struct histogram *h);
const char *show_unit_name(enum show_unit unit);
struct shown show_time(double ns, enum show_unit unit); // a figure alone: "12.3", "1,234"

// Text that came from a server or a command line: control characters and what is not UTF-8 stand as
// "\x1b", so that no terminal obeys them and every reader of UTF-8 takes them. Returns `to`, cut at
// a whole character to fit `size`; four times the length of `from`, and one, hold all of it.
const char *show_safe(const char *from, char *to, size_t size);
// The name of a test as redis-benchmark shows it: a preset's in capitals, a command line as it is;
// safe as show_safe makes it.
const char *show_name(const char *name, char *to, size_t size);
// The length of the UTF-8 character that `s` (NUL-ended) begins with, 0 if it is none: too long, a
// surrogate, above U+10FFFF, cut.
unsigned show_utf8_length(const char *s);
// Whether the user's locale says that the terminal takes UTF-8.
bool show_utf8(void);
// A bar of `share` (0 … 1) of `width` columns into `to`, which needs 3 * width + 1 bytes: eighths
// of blocks in UTF-8, else '#'. Not padded. Returns the columns used.
unsigned show_bar(char *to, double share, unsigned width, bool utf8);

// How the load was made, in words: "closed loop, 50 connections, pipeline 16, 2 threads".
void show_load(const struct options *o, const struct measurement *m, char *to, size_t size);
// Of what: "64-byte values, 1,000,000 keys, zipfian 0.99"; nothing for a test without keys.
void show_data(const struct options *o, const char *test, char *to, size_t size);
// What the test with this name works on: a preset may have its own.
struct show_test {
    struct options_sizes data;
    enum bench_keys distribution;
    uint64_t keys; // 0: none
    bool values; // whether `data` says anything of it: some commands have values of sizes of their
                 // own
};
struct show_test show_test_of(const struct options *o, const char *test);
#define SHOW_SIZES_MAX (OPTIONS_SIZES_MAX * 24) // two numbers of ten digits and two separators each
// Sizes as --data-size takes them: "64", "64-1024", "64:9,1024:1".
void show_sizes(const struct options_sizes *s, char *to, size_t size);
const char *show_distribution(enum bench_keys distribution); // as --key-distribution takes it
