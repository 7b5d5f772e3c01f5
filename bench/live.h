// The view while a test runs, on standard error: one line that is rewritten (LIVE_LINE; progress bars
// for filling), or a full screen (LIVE_SCREEN) with throughput over time, percentiles and a small
// histogram. Nothing when standard error is no terminal and --live was not given.
#pragma once

#include "bench/workers.h"

struct live;

struct live *live_open(const struct options *o);
void live_show(void *live, const struct progress *p); // a `watch` of workers_run
void live_close(struct live *l);                      // leaves the terminal as it was
