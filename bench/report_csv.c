// One table as RFC 4180 wants it: a header line, CRLF, quotes where a field needs them. A row for
// each test ("all"), each command of a mix ("command") and each node of a cluster ("node").
#include <stdio.h>
#include <string.h>

#include "bench/report.h"
#include "bench/show.h"

static const double percents[] = {50, 90, 95, 99, 99.9, 99.99};
#define N_PERCENTS (sizeof(percents) / sizeof(percents[0]))

static void put_text(FILE *to, const char *text)
{
    char safe[4 * MEASUREMENT_TEXT_MAX];
    show_safe(text, safe, sizeof(safe));
    if (!strpbrk(safe, ",\"")) { // line ends cannot be: show_safe wrote them otherwise
        fputs(safe, to);
        return;
    }
    putc('"', to);
    for (const char *c = safe; *c; c++) {
        if (*c == '"')
            putc('"', to);
        putc(*c, to);
    }
    putc('"', to);
}

static void put_count(FILE *to, uint64_t n)
{
    fprintf(to, ",%llu", (unsigned long long)n);
}

static void put_us(FILE *to, const struct histogram *h, double ns)
{
    if (h->total)
        fprintf(to, ",%.3f", ns / 1e3);
    else
        putc(',', to);
}

static void put_cpus(FILE *to, double cpus)
{
    if (cpus >= 0)
        fprintf(to, ",%.3f", cpus);
    else
        putc(',', to);
}

static void put_header(FILE *to)
{
    fputs("test,scope,name,rate_wanted,requests,seconds,requests_per_second,misses,errors,wrong,"
          "bytes_out,bytes_in,mean_us,min_us",
          to);
    for (unsigned i = 0; i < N_PERCENTS; i++)
        fprintf(to, ",%s_us", show_percent(percents[i]).text);
    fputs(",max_us,disconnects,retransmitted,unsent,generator_cpu,server_cpu,finished\r\n", to);
}

// What a test and its parts have in common. Ends without a line end.
static void put_part(FILE *to, const struct measurement *m, const char *scope, const char *name,
                     uint64_t requests, const uint64_t *kinds, uint64_t bytes_out,
                     uint64_t bytes_in, const struct histogram *h)
{
    put_text(to, m->name);
    fprintf(to, ",%s,", scope);
    put_text(to, name);
    if (m->rate > 0)
        fprintf(to, ",%.1f", m->rate);
    else
        putc(',', to);
    put_count(to, requests);
    fprintf(to, ",%.6f,%.1f", m->seconds, m->seconds > 0 ? (double)requests / m->seconds : 0);
    put_count(to, kinds[REPLY_MISS]);
    put_count(to, kinds[REPLY_ERROR]);
    put_count(to, kinds[REPLY_WRONG]);
    put_count(to, bytes_out);
    put_count(to, bytes_in);
    put_us(to, h, histogram_mean(h));
    put_us(to, h, (double)h->min);
    for (unsigned i = 0; i < N_PERCENTS; i++)
        put_us(to, h, (double)histogram_percentile(h, percents[i]));
    put_us(to, h, (double)h->max);
}

static void put_parts(FILE *to, const struct measurement *m, const char *scope,
                      const struct measurement_part *parts, unsigned n)
{
    for (unsigned i = 0; parts && i < n; i++) {
        const struct measurement_part *p = &parts[i];
        put_part(to, m, scope, p->name, p->requests, p->kinds, p->bytes_out, p->bytes_in,
                 &p->latency);
        fputs(",,,,,,\r\n", to); // these are known of the whole test only
    }
}

bool report_csv(FILE *to, const struct options *o, struct measurement *const *all, unsigned n)
{
    (void)o;
    put_header(to);
    for (unsigned i = 0; i < n; i++) {
        const struct measurement *m = all[i];
        put_part(to, m, "all", m->name, m->requests, m->kinds, m->bytes_out, m->bytes_in,
                 &m->latency);
        put_count(to, m->disconnects);
        put_count(to, m->retransmitted);
        put_count(to, m->unsent);
        put_cpus(to, m->generator_cpu);
        put_cpus(to, m->server_cpu);
        fprintf(to, ",%s\r\n", m->finished ? "yes" : "no");
        put_parts(to, m, "command", m->commands, m->n_commands);
        put_parts(to, m, "node", m->nodes, m->n_nodes);
    }
    return !ferror(to);
}
