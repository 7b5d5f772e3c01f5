#include "bench/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/usage_find.h"

static struct usage_process server[USAGE_PROCESSES_MAX];
static unsigned n_server;

void usage_find(const struct options *o)
{
    n_server = usage_find_server(o, server);
}

bool usage_process_read(pid_t pid, double *cpu_s, uint64_t *started)
{
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = 0;
    // The name in brackets may hold anything; proc(5) counts the fields: 14 and 15 are the times of
    // user and system, 22 the start.
    const char *rest = strrchr(text, ')');
    unsigned long long user, system, start;
    if (!rest || sscanf(rest + 1,
                        " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d "
                        "%*d %*d %llu",
                        &user, &system, &start) != 3)
        return false;
    *cpu_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    *started = start;
    return true;
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

void usage_read(struct usage *u)
{
    struct rusage own;
    u->generator_s = getrusage(RUSAGE_SELF, &own) == 0
                         ? seconds_of(own.ru_utime) + seconds_of(own.ru_stime)
                         : -1;
    u->server_s = n_server ? 0 : -1;
    for (unsigned i = 0; i < n_server; i++) {
        double cpu_s;
        uint64_t started;
        // One that ended, or whose number another has now: the sum would jump.
        if (!usage_process_read(server[i].pid, &cpu_s, &started) || started != server[i].started) {
            u->server_s = -1;
            n_server = 0;
            return;
        }
        u->server_s += cpu_s;
    }
}
