// The machine that the figures belong to.
#include <cpuid.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/micro/results.h"

// The value of the first line that begins with `name`, behind the colon.
static bool read_field(const char *path, const char *name, char *to, size_t size)
{
    FILE *f = fopen(path, "r");
    char line[256];
    bool found = false;
    while (f && !found && fgets(line, sizeof(line), f)) {
        const char *value = strchr(line, ':');
        if (!value || strncmp(line, name, strlen(name)) != 0)
            continue;
        value += 1 + strspn(value + 1, " \t");
        snprintf(to, size, "%.*s", (int)strcspn(value, "\n"), value);
        found = true;
    }
    if (f)
        fclose(f);
    return found;
}

// The word in brackets: "always [madvise] never".
static void read_huge_pages(char *to, size_t size)
{
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    char line[128] = "";
    snprintf(to, size, "none");
    if (f && fgets(line, sizeof(line), f)) {
        const char *open = strchr(line, '[');
        if (open)
            snprintf(to, size, "%.*s", (int)strcspn(open + 1, "]"), open + 1);
    }
    if (f)
        fclose(f);
}

uint64_t machine_resident(uint64_t *huge_bytes)
{
    char text[64];
    uint64_t resident = 0;
    *huge_bytes = 0;
    if (read_field("/proc/self/smaps_rollup", "Rss", text, sizeof(text)))
        resident = strtoull(text, NULL, 10) * 1024;
    if (read_field("/proc/self/smaps_rollup", "AnonHugePages", text, sizeof(text)))
        *huge_bytes = strtoull(text, NULL, 10) * 1024;
    return resident;
}

void machine_read(struct machine *m)
{
    unsigned a, b, c, d;
    struct utsname system;
    if (!read_field("/proc/cpuinfo", "model name", m->processor, sizeof(m->processor)))
        snprintf(m->processor, sizeof(m->processor), "unknown");
    uname(&system);
    snprintf(m->kernel, sizeof(m->kernel), "%.20s %.58s", system.sysname, system.release);
    read_huge_pages(m->huge_pages, sizeof(m->huge_pages));
    m->tsc_hz = clock_rate();
    m->tsc_invariant = __get_cpuid(0x80000007, &a, &b, &c, &d) && d & 1u << 8;
    m->counts_instructions = measure_counts();
#if defined(__AVX512F__)
    m->built_for = "AVX-512";
#elif defined(__AVX2__)
    m->built_for = "AVX2";
#else
    m->built_for = "SSE2";
#endif
    m->cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    m->page_bytes = sysconf(_SC_PAGESIZE);
}
