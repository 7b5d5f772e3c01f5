// A block for each test: what was sent and how, one table of throughput and latency, and below it
// only what there is something to say about.
#include <stdio.h>
#include <string.h>

#include "bench/protocol.h"
#include "bench/report.h"
#include "bench/show.h"
#include "common/table.h"

#define NAME_MAX_SHOWN 40 // of a command in the first column
#define TOTAL "total"
#define JITTER_SHOWN_NS 50000 // less is what any machine does

static const double percents[] = {50, 90, 99, 99.9, 99.99};
#define N_PERCENTS (sizeof(percents) / sizeof(percents[0]))

enum { COL_NAME, COL_RATE, COL_OUT, COL_IN, COL_MEAN, COL_MIN, COL_PERCENTS };
#define COL_MAX (COL_PERCENTS + N_PERCENTS)
#define COLUMNS (COL_MAX + 1)

static void put_latency(struct table *t, const struct histogram *h, enum show_unit unit)
{
    if (h->total == 0) {
        for (unsigned i = COL_MEAN; i < COLUMNS; i++)
            table_put(t, "-");
        return;
    }
    table_put(t, "%s", show_time(histogram_mean(h), unit).text);
    table_put(t, "%s", show_time((double)h->min, unit).text);
    for (unsigned i = 0; i < N_PERCENTS; i++)
        table_put(t, "%s", show_time((double)histogram_percentile(h, percents[i]), unit).text);
    table_put(t, "%s", show_time((double)h->max, unit).text);
}

static void put_row(struct table *t, const char *name, uint64_t requests, uint64_t out, uint64_t in,
                    double seconds, const struct histogram *h, enum show_unit unit)
{
    char safe[4 * MEASUREMENT_TEXT_MAX];
    table_put(t, "%.*s", NAME_MAX_SHOWN,
              strcmp(name, TOTAL) == 0 ? TOTAL : show_name(name, safe, sizeof(safe)));
    double second = seconds > 0 ? seconds : 1;
    table_put(t, "%s", show_rate((double)requests / second).text);
    table_put(t, "%.1f", (double)out / 1e6 / second);
    table_put(t, "%.1f", (double)in / 1e6 / second);
    put_latency(t, h, unit);
}

static void put_extra_row(struct table *t, const char *name, const struct histogram *h,
                          enum show_unit unit)
{
    table_put(t, "%s", name);
    for (unsigned i = COL_RATE; i < COL_MEAN; i++)
        table_put(t, "%s", "");
    put_latency(t, h, unit);
}

static void put_parts(struct table *t, const struct measurement_part *parts, unsigned n,
                      double seconds, enum show_unit unit)
{
    for (unsigned i = 0; parts && i < n; i++)
        put_row(t, parts[i].name, parts[i].requests, parts[i].bytes_out, parts[i].bytes_in, seconds,
                &parts[i].latency, unit);
}

static void print_table(FILE *to, const struct measurement *m)
{
    enum show_unit unit = show_unit_of(&m->latency);
    const char *names[COLUMNS] = {"", "requests/s", "out", "in", "mean", "min"};
    const char *groups[COLUMNS] = {[COL_OUT] = "MB/s"};
    struct shown labels[N_PERCENTS];
    char latency[32];
    snprintf(latency, sizeof(latency), "latency, %s", show_unit_name(unit));
    groups[COL_MEAN] = latency;
    for (unsigned i = 0; i < N_PERCENTS; i++) {
        labels[i] = show_percent(percents[i]);
        names[COL_PERCENTS + i] = labels[i].text;
    }
    names[COL_MAX] = "max";
    struct table t;
    table_init(&t, COLUMNS, names, ~1u);
    t.groups = groups;
    put_parts(&t, m->commands, m->n_commands, m->seconds, unit);
    put_parts(&t, m->nodes, m->n_nodes, m->seconds, unit);
    bool parts = (m->commands && m->n_commands > 0) || (m->nodes && m->n_nodes > 0);
    put_row(&t, parts ? TOTAL : m->name, m->requests, m->bytes_out, m->bytes_in, m->seconds,
            &m->latency, unit);
    if (m->service.total)
        put_extra_row(&t, "  once sent", &m->service, unit);
    if (m->lag.total)
        put_extra_row(&t, "  sent late by", &m->lag, unit);
    table_write(&t, to, 2, true);
}

static void print_counts(FILE *to, const struct options *o, const struct measurement *m)
{
    const struct {
        const char *name;
        uint64_t count;
        bool always;
    } counts[] = {
        {"errors", m->kinds[REPLY_ERROR], true},
        {"wrong", m->kinds[REPLY_WRONG], o->verify},
        {"misses", m->kinds[REPLY_MISS], false},
        {"lost connections", m->disconnects, true},
        {"new connections", m->connects, o->churn},
        {"retransmissions", m->retransmitted, true},
        {"MOVED", m->moved, o->cluster},
        {"ASK", m->asked, o->cluster},
        {"never sent", m->unsent, m->rate > 0},
    };
    fputs("\n  ", to);
    bool first = true;
    for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        if (!counts[i].always && !counts[i].count)
            continue;
        fprintf(to, "%s%s %s", first ? "" : ", ", show_count(counts[i].count).text, counts[i].name);
        first = false;
    }
    fputc('\n', to);
}

static void print_cost(FILE *to, const struct measurement *m)
{
    fputs("  CPUs used: ", to);
    if (m->generator_cpu >= 0)
        fprintf(to, "generator %.2f", m->generator_cpu);
    else
        fputs("generator unknown", to);
    double busy = report_busy(m);
    if (busy > 0)
        fprintf(to, " (%.0f %% busy with %.0f cycles a request, %.1f replies a turn)", busy * 100,
                report_cycles(m), m->turns ? (double)m->requests / (double)m->turns : 0);
    if (m->server_cpu >= 0)
        fprintf(to, ", server %.2f\n", m->server_cpu);
    else
        fputs(", server not visible from here\n", to);
    if (m->jitter.total && m->jitter.max >= JITTER_SHOWN_NS)
        fprintf(to,
                "  the machine took a spinning thread its CPU for up to %s us: the highest "
                "percentiles may be its work and not the server's\n",
                show_time((double)m->jitter.max, SHOW_US).text);
}

// Whether an error of the server began so.
static bool said(const struct measurement *m, const char *begin)
{
    for (unsigned i = 0; i < m->n_errors; i++)
        if (!strncmp(m->errors[i].text, begin, strlen(begin)))
            return true;
    return false;
}

// Whether it is likely that the values are of somebody else, and not that the server is wrong.
static bool other_sizes(const struct options *o, const struct measurement *m)
{
    for (unsigned i = 0; i < m->n_evidence; i++)
        if (!o->verify && strstr(m->evidence[i], PROTOCOL_OTHER_SIZE))
            return true;
    return false;
}

// What must not be overlooked.
static void print_odd(FILE *to, const struct options *o, const struct measurement *m)
{
    char safe[4 * MEASUREMENT_TEXT_MAX];
    for (unsigned i = 0; i < m->n_errors; i++)
        fprintf(to, "  %s x %s\n", show_count(m->errors[i].count).text,
                show_safe(m->errors[i].text, safe, sizeof(safe)));
    if (m->other_errors)
        fprintf(to, "  %s x other errors\n", show_count(m->other_errors).text);
    if (said(m, "NOAUTH "))
        fputs("  The server wants a password: give -a.\n", to);
    if (!o->cluster && said(m, "MOVED "))
        fputs("  The server is a node of a cluster: give --cluster.\n", to);
    for (unsigned i = 0; i < m->n_evidence; i++)
        fprintf(to, "  WRONG: %s\n", show_safe(m->evidence[i], safe, sizeof(safe)));
    if (other_sizes(o, m))
        fputs("  Values have other sizes: give the --data-size that they were written with, or "
              "--fill.\n",
              to);
    if (m->kinds[REPLY_MISS] && m->requests && m->kinds[REPLY_MISS] * 2 > m->requests)
        fputs("  Most keys did not exist: give --fill to set them first.\n", to);
    char text[2 * MEASUREMENT_TEXT_MAX];
    const char *bottleneck = measurement_bottleneck(m, text, sizeof(text));
    if (bottleneck)
        fprintf(to, "  NOTE: %s\n", bottleneck);
    if (!m->finished)
        fprintf(to, "  ENDED EARLY: %s\n",
                m->error[0] ? show_safe(m->error, safe, sizeof(safe)) : "interrupted");
}

// The line of redis-benchmark -q, which scripts know how to read.
static void print_quiet(FILE *to, const struct options *o, const struct measurement *m)
{
    char name[4 * MEASUREMENT_TEXT_MAX];
    fprintf(to, "%s: %.2f requests per second, p50=%.3f msec\n",
            show_name(m->name, name, sizeof(name)), measurement_rate(m),
            (double)histogram_percentile(&m->latency, 50) / 1e6);
    if (m->kinds[REPLY_ERROR] || m->kinds[REPLY_WRONG] || m->disconnects)
        fprintf(to, "  %llu errors, %llu wrong, %llu lost connections\n",
                (unsigned long long)m->kinds[REPLY_ERROR],
                (unsigned long long)m->kinds[REPLY_WRONG], (unsigned long long)m->disconnects);
    print_odd(to, o, m);
}

void report_text(FILE *to, const struct options *o, const struct measurement *m)
{
    char text[4 * MEASUREMENT_TEXT_MAX];
    if (o->quiet) {
        if (!report_is_fill(m) || !m->finished)
            print_quiet(to, o, m);
        return;
    }
    if (report_is_fill(m)) {
        fprintf(to, "filled %s keys in %.2f s, %s requests/s\n", show_count(m->requests).text,
                m->seconds, show_rate(measurement_rate(m)).text);
        if (m->kinds[REPLY_ERROR] || m->disconnects)
            print_counts(to, o, m);
        print_odd(to, o, m);
        fputc('\n', to);
        return;
    }
    fprintf(to, "====== %s ======\n", show_name(m->name, text, sizeof(text)));
    show_load(o, m, text, sizeof(text));
    fprintf(to, "  %s requests in %.2f s: %s\n", show_count(m->requests).text, m->seconds, text);
    show_data(o, m->name, text, sizeof(text));
    fprintf(to, text[0] ? "  %s\n\n" : "\n", text);
    print_table(to, m);
    print_counts(to, o, m);
    print_cost(to, m);
    print_odd(to, o, m);
    fputc('\n', to);
}
