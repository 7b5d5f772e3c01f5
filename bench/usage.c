#include "bench/usage.h"

#include <sys/resource.h>

void usage_find(const struct options *o)
{
    (void)o;
}

void usage_read(struct usage *u)
{
    struct rusage r;
    u->generator_s = u->server_s = -1;
    if (getrusage(RUSAGE_SELF, &r) == 0)
        u->generator_s = (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
                         (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}
