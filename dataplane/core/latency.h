// How long things take: a histogram of every command's calls (latency-tracking), and samples of
// events that took latency-monitor-threshold or longer. Each core has its own; LATENCY and INFO add
// them up.
#pragma once

#include "common/histogram.h"
#include "dataplane/commands/observe.h"
#include "dataplane/core/core.h"

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
// Ten times a second: what the kernel and the service thread know.
void latency_cron(struct core *c);

// The first call of a command on this core, and those that memory was short for.
struct histogram *latency_histogram_new(struct core *c, unsigned id);
// `n` calls of command `id` took `cycles` together. What is timed together counts with its mean.
static inline void latency_record(struct core *c, unsigned id, uint64_t cycles, unsigned n)
{
    if (__builtin_expect(!c->histograms, 0))
        return;
    struct histogram *h = c->histograms[id];
    if (__builtin_expect(!h, 0) && !(h = latency_histogram_new(c, id)))
        return;
    histogram_record(h, n > 1 ? cycles / n : cycles, n);
}
