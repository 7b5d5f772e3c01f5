#include "bench/live.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct live {
    bool on;
};

struct live *live_open(const struct options *o)
{
    struct live *l = calloc(1, sizeof(*l));
    if (l)
        l->on = o->live == LIVE_LINE || o->live == LIVE_SCREEN ||
                (o->live == LIVE_AUTO && !o->quiet && isatty(STDERR_FILENO));
    return l;
}

void live_show(void *live, const struct progress *p)
{
    const struct live *l = live;
    if (l->on)
        fprintf(stderr, "\r%s: %.0f requests/s, p50 %.1f us, p99 %.1f us   ", p->name, p->rate,
                (double)histogram_percentile(p->latency, 50) / 1e3,
                (double)histogram_percentile(p->latency, 99) / 1e3);
}

void live_close(struct live *l)
{
    if (l && l->on)
        fprintf(stderr, "\r%70s\r", "");
    free(l);
}
