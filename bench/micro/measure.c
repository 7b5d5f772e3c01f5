#include "bench/micro/measure.h"

#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#define EMPTY_SECTIONS 1001

static int counter = -1;
static uint64_t empty_cycles, empty_instructions;

uint64_t measure_cycles(void)
{
    _mm_lfence();
    uint64_t now = __rdtsc();
    _mm_lfence();
    return now;
}

// Calls of these two must remain calls, of these names: callgrind looks for them.
__attribute__((noipa, used, externally_visible)) void micro_section(section_fn *body, void *context)
{
    body(context);
    __asm__ volatile(""); // or it would leave by a jump, and callgrind see it end before the body
}

__attribute__((noipa, used, externally_visible)) void micro_dump(void)
{
    __asm__ volatile("");
}

static uint64_t read_counter(void)
{
    uint64_t value = 0;
    return read(counter, &value, sizeof(value)) == sizeof(value) ? value : 0;
}

static uint64_t count(section_fn *body, void *context)
{
    uint64_t before = read_counter();
    ioctl(counter, PERF_EVENT_IOC_ENABLE, 0);
    micro_section(body, context);
    ioctl(counter, PERF_EVENT_IOC_DISABLE, 0);
    return read_counter() - before;
}

static uint64_t beyond(uint64_t value, uint64_t empty)
{
    return value > empty ? value - empty : 0;
}

void measure_section(struct measure *m, section_fn *body, void *context)
{
    uint64_t begin;
    switch (m->mode) {
    case MEASURE_WARM:
        body(context);
        break;
    case MEASURE_CYCLES:
        begin = measure_cycles();
        micro_section(body, context);
        m->cycles += beyond(measure_cycles() - begin, empty_cycles);
        break;
    case MEASURE_COUNT:
        m->instructions += beyond(count(body, context), empty_instructions);
        break;
    case MEASURE_CALLGRIND:
        micro_section(body, context);
        break;
    }
}

static void nothing(void *context)
{
    (void)context;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double percentile(double *values, unsigned n, double percent)
{
    if (!n)
        return 0;
    qsort(values, n, sizeof(*values), ascending);
    return values[(unsigned)((double)(n - 1) * percent / 100 + 0.5)];
}

void measure_start(void)
{
    static double cycles[EMPTY_SECTIONS];
    for (unsigned i = 0; i < EMPTY_SECTIONS; i++) {
        uint64_t begin = measure_cycles();
        micro_section(nothing, NULL);
        cycles[i] = (double)(measure_cycles() - begin);
    }
    empty_cycles = (uint64_t)percentile(cycles, EMPTY_SECTIONS, 50);
    struct perf_event_attr attr = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof(attr),
        .config = PERF_COUNT_HW_INSTRUCTIONS,
        .disabled = 1,
        .exclude_kernel = 1,
        .exclude_hv = 1,
    };
    counter = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (counter < 0)
        return;
    for (unsigned i = 0; i < EMPTY_SECTIONS; i++)
        cycles[i] = (double)count(nothing, NULL);
    empty_instructions = (uint64_t)percentile(cycles, EMPTY_SECTIONS, 50);
}

void measure_end(void)
{
    if (counter >= 0)
        close(counter);
    counter = -1;
}

bool measure_counts(void)
{
    return counter >= 0;
}
