// How long things take: a histogram of every command's calls (latency-tracking), and samples of
// events that took latency-monitor-threshold or longer. Each core has its own; LATENCY and INFO add
// them up.
#pragma once

#include <assert.h>

#include "common/histogram.h"
#include "dataplane/commands/observe.h"
#include "dataplane/core/core.h"

// Commands of one kind that are timed together at most (execute.c): so many share what a slow one
// of them took.
#define TIMED_TOGETHER_MAX 16

bool latency_start(struct core *c); // false: memory is short
void latency_stop(struct core *c);
void latency_configure(struct core *c);        // when the configuration changed
void latency_reset_histograms(struct core *c); // CONFIG RESETSTAT
void latency_services(struct services *services);

// The event took so many cycles, c->event_cycles or more.
void latency_event_take(struct core *c, enum latency_event event, uint64_t cycles);
static inline void latency_event(struct core *c, enum latency_event event, uint64_t cycles)
{
    if (__builtin_expect(cycles >= c->event_cycles, 0))
        latency_event_take(c, event, cycles);
}
// So many cycles of this turn are told under another name, here or at a client's home: what is
// left of the turn may be an event of its own.
static inline void latency_explain(struct core *c, uint64_t cycles)
{
    if (__builtin_expect(cycles >= c->event_cycles, 0))
        c->explained_cycles += cycles;
}
// Ten times a second: what the kernel and the service thread know.
void latency_cron(struct core *c);

// The first call of a command on this core, and those that memory was short for.
struct histogram *latency_histogram_new(struct core *c, unsigned id);
// `n` calls of command `id` took `cycles` together. What is timed together counts with its mean.
static inline void latency_record_group(struct core *c, unsigned id, uint64_t cycles, unsigned n)
{
    // 2^64 / n, rounded up: a division would take as long as all the rest.
#define INVERSE(n) (UINT64_MAX / (n) + 1)
    static const uint64_t inverse[] = {
        0,           0,           INVERSE(2),  INVERSE(3),  INVERSE(4),  INVERSE(5),
        INVERSE(6),  INVERSE(7),  INVERSE(8),  INVERSE(9),  INVERSE(10), INVERSE(11),
        INVERSE(12), INVERSE(13), INVERSE(14), INVERSE(15), INVERSE(16),
    };
#undef INVERSE
    static_assert(sizeof(inverse) / sizeof(inverse[0]) == TIMED_TOGETHER_MAX + 1, "each of them");
    if (__builtin_expect(!c->histograms, 0))
        return;
    struct histogram *h = c->histograms[id];
    if (__builtin_expect(!h, 0) && !(h = latency_histogram_new(c, id)))
        return;
    if (n > 1)
        cycles = (uint64_t)((unsigned __int128)cycles * inverse[n] >> 64);
    histogram_record(h, cycles, n);
}
static inline void latency_record(struct core *c, unsigned id, uint64_t cycles)
{
    latency_record_group(c, id, cycles, 1);
}
