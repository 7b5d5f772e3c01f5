#include "bench/report.h"

#include "bench/clock.h"

static const double percents[] = {50, 90, 99, 99.9, 99.99};
#define N_PERCENTS (sizeof(percents) / sizeof(percents[0]))

static double cycles(const struct measurement *m)
{
    return m->requests ? (double)m->busy_ns * clock_rate() / 1e9 / (double)m->requests : 0;
}

void report_text(FILE *to, const struct options *o, const struct measurement *m)
{
    char text[MEASUREMENT_TEXT_MAX];
    fprintf(to, "%s: %.0f requests/s  (%llu in %.2f s, %u connections, pipeline %u)\n", m->name,
            measurement_rate(m), (unsigned long long)m->requests, m->seconds, o->connections,
            o->pipeline);
    fprintf(to, "    latency in us: mean %.1f", histogram_mean(&m->latency) / 1e3);
    for (unsigned i = 0; i < N_PERCENTS; i++)
        fprintf(to, "  p%g %.1f", percents[i],
                (double)histogram_percentile(&m->latency, percents[i]) / 1e3);
    fprintf(to, "  max %.1f\n    client: %.0f cycles a request\n", (double)m->latency.max / 1e3,
            cycles(m));
    for (unsigned i = 0; i < m->n_errors; i++)
        fprintf(to, "    %llu x %s\n", (unsigned long long)m->errors[i].count, m->errors[i].text);
    for (unsigned i = 0; i < m->n_evidence; i++)
        fprintf(to, "    WRONG: %s\n", m->evidence[i]);
    if (measurement_bottleneck(m, text, sizeof(text)))
        fprintf(to, "    %s\n", text);
    if (!m->finished)
        fprintf(to, "    ended early: %s\n", m->error);
}

void report_sweep(FILE *to, const struct options *o, struct measurement *const *steps, unsigned n,
                  unsigned knee)
{
    (void)o;
    for (unsigned i = 0; i < n; i++)
        fprintf(
            to, "%12.0f %12.0f requests/s  p50 %.1f  p99 %.1f us%s\n", steps[i]->rate,
            measurement_rate(steps[i]), (double)histogram_percentile(&steps[i]->latency, 50) / 1e3,
            (double)histogram_percentile(&steps[i]->latency, 99) / 1e3, i == knee ? "  knee" : "");
}

static void json_one(FILE *to, const struct measurement *m)
{
    fputs("\n  {\"test\": \"", to);
    for (const char *c = m->name; *c; c++)
        fprintf(to, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    fprintf(to,
            "\", \"requests\": %llu, \"seconds\": %.6f, \"requests_per_second\": %.1f, "
            "\"client_cycles_per_request\": %.1f,\n"
            "   \"misses\": %llu, \"errors\": %llu, \"wrong\": %llu, \"disconnects\": %llu,\n"
            "   \"latency_us\": {\"mean\": %.3f, \"min\": %.3f, \"max\": %.3f",
            (unsigned long long)m->requests, m->seconds, measurement_rate(m), cycles(m),
            (unsigned long long)m->kinds[REPLY_MISS], (unsigned long long)m->kinds[REPLY_ERROR],
            (unsigned long long)m->kinds[REPLY_WRONG], (unsigned long long)m->disconnects,
            histogram_mean(&m->latency) / 1e3, m->latency.total ? (double)m->latency.min / 1e3 : 0,
            (double)m->latency.max / 1e3);
    for (unsigned i = 0; i < N_PERCENTS; i++)
        fprintf(to, ", \"p%g\": %.3f", percents[i],
                (double)histogram_percentile(&m->latency, percents[i]) / 1e3);
    fputs("}}", to);
}

void report_json(FILE *to, const struct options *o, struct measurement *const *all, unsigned n)
{
    fprintf(to, "{\"connections\": %u, \"pipeline\": %u, \"tests\": [", o->connections,
            o->pipeline);
    for (unsigned i = 0; i < n; i++) {
        fputs(i ? "," : "", to);
        json_one(to, all[i]);
    }
    fputs("\n]}\n", to);
}

bool report_files(const struct options *o, struct measurement *const *all, unsigned n, char *error,
                  size_t error_size)
{
    FILE *file = o->json_file ? fopen(o->json_file, "w") : NULL;
    if (o->json_file && !file) {
        snprintf(error, error_size, "--json %s: cannot be written", o->json_file);
        return false;
    }
    if (file) {
        report_json(file, o, all, n);
        fclose(file);
    }
    return true;
}
