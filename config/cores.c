// The CPU list of `cores`.
#include "config/internal.h"

#include "common/plane.h"

#include <assert.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static_assert(CONFIG_CORES_MAX == PLANE_CORES_MAX, "a polling core needs its place in the segment");

// Reads digits at `*p`. -1 when there are none or too many.
static int take_number(const char **p)
{
    enum { DIGITS_MAX = 4 };
    size_t digits = strspn(*p, "0123456789");
    if (digits == 0 || digits > DIGITS_MAX)
        return -1;
    int n = atoi(*p);
    *p += digits;
    return n;
}

int config_parse_cores(const char *text, int *cpus, unsigned *n, char *error, size_t error_size)
{
    *n = 0;
    if (!strcasecmp(text, "auto"))
        return 0;
    const char *p = text;
    do {
        int first = take_number(&p), last = first;
        if (*p == '-') {
            p++;
            last = take_number(&p);
        }
        if (first < 0 || last < first || (*p && *p != ',')) {
            snprintf(error, error_size,
                     "'cores %.60s' is no list of CPUs; write 'auto', or numbers as '0', '0,2' or "
                     "'0-3'",
                     text);
            return -1;
        }
        for (int cpu = first; cpu <= last; cpu++) {
            for (unsigned i = 0; i < *n; i++) {
                if (cpus[i] != cpu)
                    continue;
                snprintf(error, error_size,
                         "'cores %.60s' names CPU %d twice; a CPU serves one polling core", text,
                         cpu);
                return -1;
            }
            if (*n == CONFIG_CORES_MAX) {
                snprintf(error, error_size, "'cores %.60s' names more than %d CPUs; name fewer",
                         text, CONFIG_CORES_MAX);
                return -1;
            }
            cpus[(*n)++] = cpu;
        }
    } while (*p++ == ',');
    return 0;
}

unsigned config_cores(const struct config *c, int *cpus)
{
    unsigned n;
    char error[256];
    int result = config_parse_cores(config_string(c, "cores"), cpus, &n, error, sizeof(error));
    assert(result == 0);
    return n;
}

int config_check_cores(const struct config *c, char *error, size_t error_size)
{
    int cpus[CONFIG_CORES_MAX];
    unsigned n;
    cpu_set_t allowed;
    const char *text = config_string(c, "cores");
    if (config_parse_cores(text, cpus, &n, error, error_size))
        return -1;
    if (sched_getaffinity(0, sizeof(allowed), &allowed))
        return 0; // a machine with more CPUs than the set holds: pinning will tell
    for (unsigned i = 0; i < n; i++) {
        if (cpus[i] < CPU_SETSIZE && CPU_ISSET(cpus[i], &allowed))
            continue;
        snprintf(error, error_size,
                 "'cores %.60s' names CPU %d, which this process may not use; it has %d (see "
                 "'nproc' and 'taskset -p $$')",
                 text, cpus[i], CPU_COUNT(&allowed));
        return -1;
    }
    return 0;
}
