// All results as one JSON object. Its names are a contract with programs: add, never rename.
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench/report.h"
#include "bench/show.h"

#define DIGITS 10 // significant ones of figures that are no integers

static const double percents[] = {50, 90, 95, 99, 99.9, 99.99, 99.999};

// Values are handed over; one that could not be made for want of memory is noted once, in `good`.
static bool good;

static void set(json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value) != 0)
        good = false;
}

static void append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0)
        good = false;
}

// jansson escapes control characters; it takes no text that is not UTF-8.
static json_t *text_of(const char *text)
{
    char safe[4 * MEASUREMENT_TEXT_MAX];
    size_t at = 0;
    while (*text && at + 5 < sizeof(safe)) {
        unsigned len = show_utf8_length(text);
        if (len)
            memcpy(safe + at, text, len);
        else
            snprintf(safe + at, sizeof(safe) - at, "\\x%02x", (unsigned char)*text);
        at += len ? len : 4;
        text += len ? len : 1;
    }
    safe[at] = 0;
    return json_string(safe);
}

static void set_text(json_t *object, const char *name, const char *text)
{
    set(object, name, text_of(text));
}

static void set_count(json_t *object, const char *name, uint64_t n)
{
    set(object, name, json_integer((json_int_t)n));
}

static void set_real(json_t *object, const char *name, double value)
{
    set(object, name, json_real(value));
}

// Unknown is null.
static void set_known(json_t *object, const char *name, double value, bool known)
{
    set(object, name, known ? json_real(value) : json_null());
}

static json_t *latency_us(const struct histogram *h)
{
    json_t *l = json_object();
    set_real(l, "mean", histogram_mean(h) / 1e3);
    set_real(l, "min", h->total ? (double)h->min / 1e3 : 0);
    set_real(l, "max", h->total ? (double)h->max / 1e3 : 0);
    set_real(l, "stddev", report_deviation(h) / 1e3);
    for (unsigned i = 0; i < sizeof(percents) / sizeof(percents[0]); i++)
        set_real(l, show_percent(percents[i]).text,
                 (double)histogram_percentile(h, percents[i]) / 1e3);
    return l;
}

static void set_kinds(json_t *t, const uint64_t *kinds)
{
    set_count(t, "misses", kinds[REPLY_MISS]);
    set_count(t, "errors", kinds[REPLY_ERROR]);
    set_count(t, "wrong", kinds[REPLY_WRONG]);
}

static json_t *parts(const struct measurement_part *p, unsigned n, double seconds)
{
    json_t *array = json_array();
    for (unsigned i = 0; p && i < n; i++) {
        json_t *one = json_object();
        set_text(one, "name", p[i].name);
        set_count(one, "requests", p[i].requests);
        set_real(one, "requests_per_second", seconds > 0 ? (double)p[i].requests / seconds : 0);
        set_kinds(one, p[i].kinds);
        set_count(one, "bytes_out", p[i].bytes_out);
        set_count(one, "bytes_in", p[i].bytes_in);
        set(one, "latency_us", latency_us(&p[i].latency));
        append(array, one);
    }
    return array;
}

static void set_odd(json_t *t, const struct measurement *m)
{
    json_t *errors = json_array(), *evidence = json_array();
    for (unsigned i = 0; i < m->n_errors; i++) {
        json_t *one = json_object();
        set_text(one, "text", m->errors[i].text);
        set_count(one, "count", m->errors[i].count);
        append(errors, one);
    }
    for (unsigned i = 0; i < m->n_evidence; i++)
        append(evidence, text_of(m->evidence[i]));
    set(t, "errors_by_text", errors);
    set_count(t, "other_errors", m->other_errors);
    set(t, "evidence", evidence);
    char text[2 * MEASUREMENT_TEXT_MAX];
    const char *bottleneck = measurement_bottleneck(m, text, sizeof(text));
    if (bottleneck)
        set_text(t, "bottleneck", bottleneck);
    else
        set(t, "bottleneck", json_null());
    set(t, "finished", json_boolean(m->finished));
    if (m->finished)
        set(t, "error", json_null());
    else
        set_text(t, "error", m->error[0] ? m->error : "interrupted");
}

static void set_data(json_t *t, const struct options *o, const struct measurement *m)
{
    char sizes[SHOW_SIZES_MAX];
    const struct show_test own = show_test_of(o, m->name);
    show_sizes(&own.data, sizes, sizeof(sizes));
    if (own.values)
        set_text(t, "data_sizes", sizes);
    else
        set(t, "data_sizes", json_null());
    set_count(t, "keys", own.keys);
    set_text(t, "key_distribution", show_distribution(own.distribution));
}

static json_t *test(const struct options *o, const struct measurement *m)
{
    json_t *t = json_object();
    set_text(t, "test", m->name);
    set_known(t, "rate_wanted", m->rate, m->rate > 0);
    set_count(t, "requests", m->requests);
    set_real(t, "seconds", m->seconds);
    set_real(t, "requests_per_second", measurement_rate(m));
    set_kinds(t, m->kinds);
    set_count(t, "disconnects", m->disconnects);
    set_count(t, "connects", m->connects);
    set_count(t, "moved", m->moved);
    set_count(t, "asked", m->asked);
    set_count(t, "retransmitted", m->retransmitted);
    set_count(t, "unsent", m->unsent);
    set_count(t, "bytes_out", m->bytes_out);
    set_count(t, "bytes_in", m->bytes_in);
    set_data(t, o, m);
    set(t, "latency_us", latency_us(&m->latency));
    if (m->rate > 0) {
        set(t, "service_us", latency_us(&m->service));
        set(t, "lag_us", latency_us(&m->lag));
    }
    set_real(t, "client_cycles_per_request", report_cycles(m));
    set_real(t, "replies_per_turn", m->turns ? (double)m->requests / (double)m->turns : 0);
    set_count(t, "threads", m->threads);
    set_real(t, "generator_busy", report_busy(m));
    set_known(t, "generator_cpu", m->generator_cpu, m->generator_cpu >= 0);
    set_known(t, "server_cpu", m->server_cpu, m->server_cpu >= 0);
    if (m->jitter.total)
        set(t, "jitter_us", latency_us(&m->jitter));
    set_odd(t, m);
    if (m->commands)
        set(t, "commands", parts(m->commands, m->n_commands, m->seconds));
    if (m->nodes)
        set(t, "nodes", parts(m->nodes, m->n_nodes, m->seconds));
    return t;
}

static double mean_size(const struct options_sizes *s)
{
    double sum = 0, weights = 0;
    switch (s->kind) {
    case SIZES_FIXED:
        return s->low;
    case SIZES_RANGE:
        return ((double)s->low + s->high) / 2;
    case SIZES_WEIGHTED:
        break;
    }
    for (unsigned i = 0; i < s->n; i++) {
        sum += (double)s->size[i] * s->weight[i];
        weights += s->weight[i];
    }
    return weights > 0 ? sum / weights : 0;
}

static void set_options(json_t *r, const struct options *o)
{
    char now[32], sizes[SHOW_SIZES_MAX];
    time_t seconds = time(NULL);
    struct tm utc;
    strftime(now, sizeof(now), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
    set_text(r, "version", POLLUX_VERSION);
    set_text(r, "time", now);
    set_text(r, "transport", o->transport == BENCH_DPDK ? "dpdk" : "socket");
    set_text(r, "protocol", o->protocol == BENCH_MEMCACHE ? "memcache" : "resp");
    set(r, "tls", json_boolean(o->tls));
    if (o->unix_path)
        set_text(r, "socket", o->unix_path);
    else {
        set_text(r, "host", o->host ? o->host : "");
        set_count(r, "port", o->port);
    }
    set(r, "cluster", json_boolean(o->cluster));
    set_count(r, "resp", o->resp3 ? 3 : 2);
    set_count(r, "threads", o->threads);
    json_t *cpus = json_array();
    for (unsigned i = 0; i < o->n_cpus; i++)
        append(cpus, json_integer(o->cpus[i]));
    set(r, "cpus", cpus);
    set_count(r, "connections", o->connections);
    set_count(r, "pipeline", o->pipeline);
    set_text(r, "loop", o->rate_from > 0 ? "open" : "closed");
    set_text(r, "arrivals", o->arrivals == ARRIVALS_EVEN ? "even" : "poisson");
    set_real(r, "warmup_seconds", o->warmup_s);
    set(r, "churn", json_boolean(o->churn));
    set_count(r, "data_size", (uint64_t)(mean_size(&o->data) + 0.5));
    show_sizes(&o->data, sizes, sizeof(sizes));
    set_text(r, "data_sizes", sizes);
    set_count(r, "keys", o->keys);
    set_text(r, "key_distribution", show_distribution(o->distribution));
    set_real(r, "theta", o->theta);
    set(r, "verify", json_boolean(o->verify));
    set_count(r, "seed", o->seed);
}

// Of each sweep: the highest rate that was kept, and where it bends.
static json_t *sweeps(const struct options *o, struct measurement *const *all, unsigned n)
{
    json_t *array = json_array();
    for (unsigned i = 0, group; i < n; i += group) {
        group = report_group(o, all + i, n - i);
        if (!report_is_step(o, all[i]))
            continue;
        unsigned knee = report_knee(all + i, group);
        json_t *one = json_object();
        set_text(one, "test", all[i]->name);
        set_count(one, "first", i);
        set_count(one, "steps", group);
        set_known(one, "kept_rate", knee ? all[i + knee - 1]->rate : 0, knee > 0);
        set_known(one, "knee_rate", knee < group ? all[i + knee]->rate : 0, knee < group);
        append(array, one);
    }
    return array;
}

bool report_json(FILE *to, const struct options *o, struct measurement *const *all, unsigned n)
{
    json_t *r = json_object(), *tests = json_array();
    good = true;
    set_options(r, o);
    for (unsigned i = 0; i < n; i++)
        append(tests, test(o, all[i]));
    set(r, "tests", tests);
    if (o->rate_to > o->rate_from)
        set(r, "sweeps", sweeps(o, all, n));
    if (good && json_dumpf(r, to, JSON_INDENT(2) | JSON_REAL_PRECISION(DIGITS)) != 0)
        good = false;
    json_decref(r);
    putc('\n', to);
    return good && !ferror(to);
}
