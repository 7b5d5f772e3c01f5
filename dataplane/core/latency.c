#include "dataplane/core/latency.h"

#include <fcntl.h>
#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>

#include "dataplane/core/service.h"

// But for one in so many parts.
#define WAITED_SHARE 10

// --- events --------------------------------------------------------------------------------------

static void keep(struct core *c, enum latency_event event, uint64_t cycles)
{
    struct latency_series **s = &c->series[event];
    if (!*s) {
        *s = mi_calloc(1, sizeof(**s));
        if (!*s)
            return;
        (*s)->event = event;
    }
    uint64_t ms = cycles / c->server->cycles_per_us / 1000;
    latency_series_add(*s, (uint32_t)(core_wall_ms() / 1000),
                       ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX);
}

// Nanoseconds for which this thread was ready to run and did not; 0: the kernel does not tell.
static uint64_t waited_ns(struct core *c)
{
    char text[96];
    ssize_t n = pread(c->schedstat, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    char *second; // "ran waited slices"
    strtoull(text, &second, 10);
    return strtoull(second, NULL, 10);
}

// Cycles for which this thread was ready to run and did not, since the last look. They are an event
// if they are many.
static uint64_t look_waited(struct core *c)
{
    uint64_t waited = waited_ns(c), before = c->waited_ns;
    c->waited_ns = waited;
    if (!before || waited <= before)
        return 0;
    uint64_t cycles = (waited - before) / 1000 * c->server->cycles_per_us;
    if (cycles >= c->event_cycles)
        keep(c, LATENCY_NOT_SCHEDULED, cycles);
    return cycles;
}

// A pause is told once, under its most exact name: one that was nearly all waiting for the CPU is
// that and nothing else.
void latency_event_take(struct core *c, enum latency_event event, uint64_t cycles)
{
    if (event == LATENCY_SERVICE_JOB || look_waited(c) < cycles / WAITED_SHARE * (WAITED_SHARE - 1))
        keep(c, event, cycles);
}

void latency_cron(struct core *c)
{
    if (c->event_cycles == UINT64_MAX)
        return;
    look_waited(c);
    if (c->index == 0 && c->server->service)
        latency_event(c, LATENCY_SERVICE_JOB,
                      service_longest_us(c->server->service) * c->server->cycles_per_us);
}

void latency_configure(struct core *c)
{
    int64_t ms = config_integer(c->config, "latency-monitor-threshold");
    uint64_t cycles;
    if (!ms || __builtin_mul_overflow((uint64_t)ms * 1000, c->server->cycles_per_us, &cycles))
        cycles = UINT64_MAX;
    c->event_cycles = cycles;
    c->waited_ns = 0; // what was before does not count
    // What was counted is kept for LATENCY HISTOGRAM.
    c->histograms = config_bool(c->config, "latency-tracking") ? c->histograms_kept : NULL;
}

// --- histograms ----------------------------------------------------------------------------------

struct histogram *latency_histogram_new(struct core *c, unsigned id)
{
    struct histogram *h = mi_malloc(sizeof(*h));
    if (h)
        histogram_reset(h);
    c->command_mark = __rdtsc(); // the next command is not to blame
    return c->histograms[id] = h;
}

void latency_reset_histograms(struct core *c)
{
    for (unsigned id = 0; id < commands_count(); id++) {
        mi_free(c->histograms_kept[id]);
        c->histograms_kept[id] = NULL;
    }
}

// --- what LATENCY and INFO ask -------------------------------------------------------------------

static const struct latency_series *series(struct core *c, unsigned event)
{
    return c->series[event];
}

static bool reset(struct core *c, unsigned event)
{
    bool any = c->series[event];
    mi_free(c->series[event]);
    c->series[event] = NULL;
    return any;
}

static const struct histogram *histogram(struct core *c, unsigned id)
{
    return c->histograms_kept[id];
}

void latency_services(struct services *services)
{
    services->latency_series = series;
    services->latency_reset = reset;
    services->command_histogram = histogram;
}

bool latency_start(struct core *c)
{
    c->event_cycles = UINT64_MAX;
    c->histograms_kept = mi_calloc(commands_count(), sizeof(struct histogram *));
    c->series = mi_calloc(LATENCY_EVENTS, sizeof(*c->series));
    c->schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    return c->histograms_kept && c->series;
}

void latency_stop(struct core *c)
{
    if (c->histograms_kept)
        latency_reset_histograms(c);
    for (unsigned event = 0; c->series && event < LATENCY_EVENTS; event++)
        mi_free(c->series[event]);
    mi_free(c->histograms_kept);
    mi_free(c->series);
    c->histograms = c->histograms_kept = NULL;
    c->series = NULL;
    if (c->schedstat >= 0)
        close(c->schedstat);
}
