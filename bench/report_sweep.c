// The curve of a rate sweep as a table, a picture of its tail latency, and what it says in words.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/report.h"
#include "bench/show.h"
#include "common/table.h"

#define BAR_WIDTH 24
#define REACHED_SHARE 0.95 // of the wanted rate: bench/sweep.c takes less for the knee

static const double percents[] = {50, 99, 99.9};
#define N_PERCENTS (sizeof(percents) / sizeof(percents[0]))
enum { COL_MARK, COL_WANTED, COL_REACHED, COL_PERCENTS };
#define COL_MAX (COL_PERCENTS + N_PERCENTS)
enum { COL_GENERATOR = COL_MAX + 1, COL_SERVER, COL_BAR, COLUMNS };

static void put_cpu(struct table *t, double cpus)
{
    if (cpus >= 0)
        table_put(t, "%.2f", cpus);
    else
        table_put(t, "-");
}

// Logarithmic: an empty bar is the lowest p99 of all steps, a full one the highest.
static void put_bar(struct table *t, double p99, double low, double high)
{
    char bar[3 * BAR_WIDTH + 1];
    double share = high > low && p99 > low ? log(p99 / low) / log(high / low) : 0;
    show_bar(bar, (share * (BAR_WIDTH - 1) + 1) / BAR_WIDTH, BAR_WIDTH, show_utf8());
    table_put(t, "%s", bar);
}

static double p99_of(const struct measurement *m)
{
    return (double)histogram_percentile(&m->latency, 99);
}

static void print_steps(FILE *to, struct measurement *const *steps, unsigned n, unsigned knee)
{
    // One unit for all rows, so that a column can be read downwards.
    enum show_unit unit = show_unit_of(&steps[0]->latency);
    struct shown labels[N_PERCENTS];
    const char *names[COLUMNS] = {"", "wanted", "reached"}, *groups[COLUMNS] = {0};
    char latency[32];
    snprintf(latency, sizeof(latency), "latency, %s", show_unit_name(unit));
    groups[COL_WANTED] = "requests/s";
    groups[COL_PERCENTS] = latency;
    groups[COL_GENERATOR] = "CPUs of";
    for (unsigned i = 0; i < N_PERCENTS; i++) {
        labels[i] = show_percent(percents[i]);
        names[COL_PERCENTS + i] = labels[i].text;
    }
    names[COL_MAX] = "max";
    names[COL_GENERATOR] = "client";
    names[COL_SERVER] = "server";
    names[COL_BAR] = "p99, log scale";
    double low = INFINITY, high = 0;
    for (unsigned i = 0; i < n; i++) {
        low = fmin(low, p99_of(steps[i]) > 0 ? p99_of(steps[i]) : low);
        high = fmax(high, p99_of(steps[i]));
    }
    struct table t;
    table_init(&t, COLUMNS, names, ~(1u << COL_MARK | 1u << COL_BAR));
    t.groups = groups;
    for (unsigned i = 0; i < n; i++) {
        const struct measurement *m = steps[i];
        table_put(&t, "%s", i == knee ? "knee" : m->finished ? "" : "cut");
        table_put(&t, "%s", show_rate(m->rate).text);
        table_put(&t, "%s", show_rate(measurement_rate(m)).text);
        for (unsigned k = 0; k < N_PERCENTS; k++)
            table_put(&t, "%s",
                      show_time((double)histogram_percentile(&m->latency, percents[k]), unit).text);
        table_put(&t, "%s", show_time((double)m->latency.max, unit).text);
        put_cpu(&t, m->generator_cpu);
        put_cpu(&t, m->server_cpu);
        put_bar(&t, p99_of(m), low, high);
    }
    table_write(&t, to, 2, true);
}

static void print_knee(FILE *to, struct measurement *const *steps, unsigned n, unsigned knee)
{
    if (knee > n)
        knee = n;
    if (knee > 0) {
        const struct measurement *m = steps[knee - 1];
        enum show_unit unit = show_unit_of(&m->latency);
        fprintf(to, "\n  Keeps up to %s requests/s: p50 %s %s, p99 %s %s there.\n",
                show_rate(m->rate).text,
                show_time((double)histogram_percentile(&m->latency, 50), unit).text,
                show_unit_name(unit), show_time(p99_of(m), unit).text, show_unit_name(unit));
    }
    if (knee == n) {
        fputs("  No knee: every step was reached. Give a higher --rate FROM..TO/STEP.\n", to);
        return;
    }
    const struct measurement *m = steps[knee];
    if (measurement_rate(m) < REACHED_SHARE * m->rate)
        fprintf(to, "  Knee at %s requests/s: only %s were answered.\n", show_rate(m->rate).text,
                show_rate(measurement_rate(m)).text);
    else
        fprintf(to, "  Knee at %s requests/s: p99 is %.0f times that of the lowest step.\n",
                show_rate(m->rate).text, p99_of(m) / fmax(p99_of(steps[0]), 1));
    if (knee == 0)
        fputs("  The lowest step was too much: begin with a lower rate.\n", to);
    char text[2 * MEASUREMENT_TEXT_MAX];
    const char *bottleneck = measurement_bottleneck(m, text, sizeof(text));
    if (bottleneck)
        fprintf(to, "  NOTE: %s\n", bottleneck);
}

static void print_odd(FILE *to, struct measurement *const *steps, unsigned n)
{
    uint64_t errors = 0, wrong = 0, lost = 0;
    char safe[4 * MEASUREMENT_TEXT_MAX];
    for (unsigned i = 0; i < n; i++) {
        errors += steps[i]->kinds[REPLY_ERROR];
        wrong += steps[i]->kinds[REPLY_WRONG];
        lost += steps[i]->disconnects;
    }
    if (errors || wrong || lost)
        fprintf(to, "  %s errors, %s wrong, %s lost connections\n", show_count(errors).text,
                show_count(wrong).text, show_count(lost).text);
    for (unsigned i = 0; i < n; i++) {
        const struct measurement *m = steps[i];
        if (m->n_errors)
            fprintf(to, "  at %s: %s x %s\n", show_rate(m->rate).text,
                    show_count(m->errors[0].count).text,
                    show_safe(m->errors[0].text, safe, sizeof(safe)));
        if (m->n_evidence)
            fprintf(to, "  at %s: WRONG: %s\n", show_rate(m->rate).text,
                    show_safe(m->evidence[0], safe, sizeof(safe)));
        if (!m->finished)
            fprintf(to, "  at %s: ENDED EARLY: %s\n", show_rate(m->rate).text,
                    m->error[0] ? show_safe(m->error, safe, sizeof(safe)) : "interrupted");
    }
}

void report_sweep(FILE *to, const struct options *o, struct measurement *const *steps, unsigned n,
                  unsigned knee)
{
    char text[4 * MEASUREMENT_TEXT_MAX];
    if (n == 0)
        return;
    fprintf(to, "====== %s: latency over throughput ======\n",
            show_name(steps[0]->name, text, sizeof(text)));
    fprintf(to, "  %s arrivals, latency from the intended time of sending, %.3g s a step\n",
            o->arrivals == ARRIVALS_EVEN ? "even" : "poisson", steps[0]->seconds);
    fprintf(to, "  %s connections%s, at most %u request%s under way on each",
            show_count(o->connections).text, o->cluster ? " to each node" : "", o->pipeline,
            o->pipeline == 1 ? "" : "s");
    show_data(o, steps[0]->name, text, sizeof(text));
    fprintf(to, "%s%s\n\n", text[0] ? "; " : "", text);
    print_steps(to, steps, n, knee);
    print_knee(to, steps, n, knee);
    print_odd(to, steps, n);
    fputc('\n', to);
}
