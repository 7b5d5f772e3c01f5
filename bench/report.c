#include "bench/report.h"

#include <ctype.h>
#include <stdio.h>

#include "bench/clock.h"

static const double percents[] = {50, 90, 99, 99.9, 99.99};
#define N_PERCENTS (sizeof(percents) / sizeof(percents[0]))

static double us(double ticks)
{
    return ticks * 1e6 / clock_rate();
}

static double per_second(const struct measurement *m)
{
    return m->seconds > 0 ? (double)m->requests / m->seconds : 0;
}

static double ticks_per_request(const struct measurement *m)
{
    return m->requests ? (double)m->busy_ticks / (double)m->requests : 0;
}

void report_text(const struct options *o, const struct measurement *m)
{
    const char *name = options_test_name(o, m->test);
    if (m->test >= BENCH_COMMAND)
        fputs(name, stdout);
    else
        for (const char *c = name; *c; c++)
            putchar(toupper((unsigned char)*c));
    printf(": %.0f requests/s  (%llu in %.2f s, %u connections, pipeline %u, %u-byte values, %llu "
           "keys)\n",
           per_second(m), (unsigned long long)m->requests, m->seconds, o->connections, o->pipeline,
           o->data_size, (unsigned long long)o->keys);
    if (m->test == BENCH_FILL)
        return;
    printf("    latency in us: mean %.1f  min %.1f", us(histogram_mean(&m->latency)),
           us(m->latency.total ? (double)m->latency.min : 0));
    for (unsigned i = 0; i < N_PERCENTS; i++)
        printf("  p%g %.1f", percents[i],
               us((double)histogram_percentile(&m->latency, percents[i])));
    printf("  max %.1f\n", us((double)m->latency.max));
    printf("    client: %.0f cycles a request, %.1f replies a turn\n", ticks_per_request(m),
           m->turns ? (double)m->requests / (double)m->turns : 0);
    if (m->kinds[REPLY_MISS])
        printf("    %llu keys did not exist (fill with --fill)\n",
               (unsigned long long)m->kinds[REPLY_MISS]);
    if (m->kinds[REPLY_ERROR])
        printf("    %llu error replies; the first: %s\n", (unsigned long long)m->kinds[REPLY_ERROR],
               m->first_error);
    if (m->kinds[REPLY_WRONG])
        printf("    %llu WRONG replies\n", (unsigned long long)m->kinds[REPLY_WRONG]);
    if (m->disconnects)
        printf("    %llu connections lost\n", (unsigned long long)m->disconnects);
}

static bool json_first;

void report_json_begin(const struct options *o)
{
    json_first = true;
    printf("{\"transport\": \"%s\", \"connections\": %u, \"pipeline\": %u, \"data_size\": %u, "
           "\"keys\": %llu, \"tests\": [",
           o->transport == BENCH_DPDK ? "dpdk" : "socket", o->connections, o->pipeline,
           o->data_size, (unsigned long long)o->keys);
}

void report_json_test(const struct options *o, const struct measurement *m)
{
    printf("%s\n  {\"test\": \"", json_first ? "" : ",");
    for (const char *c = options_test_name(o, m->test); *c; c++)
        printf(*c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    printf("\", \"requests\": %llu, \"seconds\": %.6f, "
           "\"requests_per_second\": %.1f, \"client_cycles_per_request\": %.1f,\n"
           "   \"misses\": %llu, \"errors\": %llu, \"wrong\": %llu, \"disconnects\": %llu,\n"
           "   \"latency_us\": {\"mean\": %.3f, \"min\": %.3f, \"max\": %.3f",
           (unsigned long long)m->requests, m->seconds, per_second(m), ticks_per_request(m),
           (unsigned long long)m->kinds[REPLY_MISS], (unsigned long long)m->kinds[REPLY_ERROR],
           (unsigned long long)m->kinds[REPLY_WRONG], (unsigned long long)m->disconnects,
           us(histogram_mean(&m->latency)), us(m->latency.total ? (double)m->latency.min : 0),
           us((double)m->latency.max));
    for (unsigned i = 0; i < N_PERCENTS; i++)
        printf(", \"p%g\": %.3f", percents[i],
               us((double)histogram_percentile(&m->latency, percents[i])));
    printf("}}");
    json_first = false;
}

void report_json_end(void)
{
    printf("\n]}\n");
}
