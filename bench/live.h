// The view while a test runs, on standard error: one line that is rewritten (LIVE_LINE; progress
// bars for filling), or a full screen (LIVE_SCREEN) with throughput over time, percentiles and a
// small histogram. Nothing when standard error is no terminal and --live was not given.
#pragma once

#include "bench/workers.h"

struct live;

// NULL when there is nothing to show or no memory to show it; the others take that. Main thread
// only. One at a time, for one test or sweep: close it before anything is printed.
struct live *live_open(const struct options *o);
void live_show(void *live, const struct progress *p); // a `watch` of workers_run
// Leaves the terminal as it was, the line erased. Any other end of the process does so too: exit(),
// and signals that would end or stop it and that nobody handled when the view was opened.
void live_close(struct live *l);
