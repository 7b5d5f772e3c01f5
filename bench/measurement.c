#include "bench/measurement.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A generator whose threads are busy for more than this share of the time can hardly do more.
#define BUSY_SHARE 0.97
// Below this much of its threads' CPU the server had time to spare.
#define SERVER_SPARE 0.9
// Open loop: lateness that people would notice, and its share of the latency.
#define LAG_NS 50000
#define LAG_SHARE 0.2

static struct measurement_part *parts_new(unsigned n)
{
    struct measurement_part *parts = n ? calloc(n, sizeof(*parts)) : NULL;
    for (unsigned i = 0; parts && i < n; i++)
        histogram_reset(&parts[i].latency);
    return parts;
}

struct measurement *measurement_new(const char *name, unsigned commands, unsigned nodes)
{
    struct measurement *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    snprintf(m->name, sizeof(m->name), "%s", name);
    histogram_reset(&m->latency);
    histogram_reset(&m->service);
    histogram_reset(&m->lag);
    histogram_reset(&m->jitter);
    m->generator_cpu = m->server_cpu = -1;
    m->n_commands = commands;
    m->n_nodes = nodes;
    m->commands = parts_new(commands);
    m->nodes = parts_new(nodes);
    if ((commands && !m->commands) || (nodes && !m->nodes)) {
        measurement_free(m);
        return NULL;
    }
    return m;
}

void measurement_free(struct measurement *m)
{
    if (!m)
        return;
    free(m->commands);
    free(m->nodes);
    free(m);
}

bool measurement_node(struct measurement *m, const char *name, unsigned *index)
{
    unsigned i = 0;
    while (i < m->n_nodes && strcmp(m->nodes[i].name, name) != 0)
        i++;
    *index = i;
    if (i < m->n_nodes)
        return true;
    struct measurement_part *nodes = realloc(m->nodes, (i + 1) * sizeof(*nodes));
    if (!nodes)
        return false;
    m->nodes = nodes;
    m->n_nodes++;
    memset(&nodes[i], 0, sizeof(nodes[i]));
    snprintf(nodes[i].name, sizeof(nodes[i].name), "%s", name);
    histogram_reset(&nodes[i].latency);
    return true;
}

static void part_merge(struct measurement_part *into, const struct measurement_part *from)
{
    into->requests += from->requests;
    into->bytes_in += from->bytes_in;
    into->bytes_out += from->bytes_out;
    for (unsigned i = 0; i < REPLY_KINDS; i++)
        into->kinds[i] += from->kinds[i];
    histogram_merge(&into->latency, &from->latency);
}

static void add_error(struct measurement *m, const char *text, uint64_t count);

void measurement_merge(struct measurement *into, const struct measurement *from)
{
    into->requests += from->requests;
    for (unsigned i = 0; i < REPLY_KINDS; i++)
        into->kinds[i] += from->kinds[i];
    into->bytes_in += from->bytes_in;
    into->bytes_out += from->bytes_out;
    histogram_merge(&into->latency, &from->latency);
    histogram_merge(&into->service, &from->service);
    histogram_merge(&into->lag, &from->lag);
    histogram_merge(&into->jitter, &from->jitter);
    for (unsigned i = 0; i < into->n_commands; i++)
        part_merge(&into->commands[i], &from->commands[i]);
    for (unsigned i = 0, node; i < from->n_nodes; i++)
        if (measurement_node(into, from->nodes[i].name, &node))
            part_merge(&into->nodes[node], &from->nodes[i]);
    for (unsigned i = 0; i < from->n_errors; i++)
        add_error(into, from->errors[i].text, from->errors[i].count);
    into->other_errors += from->other_errors;
    for (unsigned i = 0; i < from->n_evidence; i++)
        measurement_evidence(into, from->evidence[i]);
    into->connects += from->connects;
    into->disconnects += from->disconnects;
    into->moved += from->moved;
    into->asked += from->asked;
    into->retried += from->retried;
    into->retransmitted += from->retransmitted;
    into->unsent += from->unsent;
    into->missing += from->missing;
    into->stuck += from->stuck;
    into->threads += from->threads;
    into->busy_ns += from->busy_ns;
    into->turns += from->turns;
}

// Are two texts the same but for figures, and so for addresses and slots?
static bool alike(const char *a, const char *b)
{
    for (;;) {
        bool number_a = isdigit((unsigned char)*a), number_b = isdigit((unsigned char)*b);
        if (number_a && number_b) {
            a += strspn(a, "0123456789");
            b += strspn(b, "0123456789");
            continue;
        }
        if (*a != *b)
            return false;
        if (!*a)
            return true;
        a++;
        b++;
    }
}

static void add_error(struct measurement *m, const char *text, uint64_t count)
{
    char cut[MEASUREMENT_TEXT_MAX];
    snprintf(cut, sizeof(cut), "%s", text[0] == '-' ? text + 1 : text);
    unsigned i = 0;
    while (i < m->n_errors && !alike(m->errors[i].text, cut))
        i++;
    if (i == MEASUREMENT_ERRORS_MAX) {
        m->other_errors += count;
        return;
    }
    if (i == m->n_errors) {
        m->n_errors++;
        memcpy(m->errors[i].text, cut, sizeof(cut));
        m->errors[i].count = 0;
    }
    m->errors[i].count += count;
}

void measurement_error(struct measurement *m, const char *text)
{
    add_error(m, text, 1);
}

void measurement_evidence(struct measurement *m, const char *text)
{
    if (m->n_evidence < MEASUREMENT_EVIDENCE_MAX)
        snprintf(m->evidence[m->n_evidence++], MEASUREMENT_TEXT_MAX, "%s", text);
}

double measurement_rate(const struct measurement *m)
{
    return m->seconds > 0 ? (double)m->requests / m->seconds : 0;
}

static const char *late(const struct measurement *m, char *text, size_t size)
{
    double lag = (double)histogram_percentile(&m->lag, 99);
    double latency = (double)histogram_percentile(&m->latency, 99);
    if (lag <= LAG_NS || lag <= LAG_SHARE * latency)
        return NULL;
    snprintf(text, size,
             "The generator was late: 1 %% of the requests left more than %.0f us after their time "
             "although connections were free. Use more --threads or a lower --rate.",
             lag / 1e3);
    return text;
}

const char *measurement_bottleneck(const struct measurement *m, char *text, size_t size)
{
    if (m->rate > 0)
        return late(m, text, size);
    double busy =
        m->seconds > 0 && m->threads ? (double)m->busy_ns / (m->seconds * 1e9 * m->threads) : 0;
    if (busy < BUSY_SHARE)
        return NULL;
    if (m->server_cpu >= 0 && m->server_cpu < SERVER_SPARE) {
        snprintf(text, size,
                 "The generator was the limit: its threads were busy %.0f %% of the time, the "
                 "server used %.2f CPUs. Use more --threads.",
                 100 * busy, m->server_cpu);
        return text;
    }
    snprintf(text, size,
             "The generator was busy %.0f %% of the time and may have been the limit. Compare with "
             "more --threads.",
             100 * busy);
    return text;
}
