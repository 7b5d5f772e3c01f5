// What is shown of measurements that were made by hand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>

#include "bench/protocol.h"
#include "bench/report.h"
#include "bench/show.h"
#include "tests/unit/bench/made.h"

static void assert_has(const char *text, const char *part)
{
    assert_non_null(text);
    if (!strstr(text, part))
        fail_msg("no \"%s\" in:\n%s", part, text);
}

static void assert_lacks(const char *text, const char *part)
{
    assert_non_null(text);
    if (strstr(text, part))
        fail_msg("\"%s\" in:\n%s", part, text);
}

// --- figures and texts ---------------------------------------------------------------------------

static void figures(void **state)
{
    (void)state;
    assert_string_equal(show_count(0).text, "0");
    assert_string_equal(show_count(999).text, "999");
    assert_string_equal(show_count(1000).text, "1,000");
    assert_string_equal(show_count(UINT64_MAX).text, "18,446,744,073,709,551,615");
    assert_string_equal(show_rate(12.34).text, "12.3");
    assert_string_equal(show_rate(1234567.8).text, "1,234,568");
    assert_string_equal(show_percent(99.99).text, "p99.99");
    assert_string_equal(show_time(1234, SHOW_US).text, "1.23");
    assert_string_equal(show_time(9996, SHOW_US).text, "10.0");
    assert_string_equal(show_time(999949, SHOW_US).text, "999.9");
    assert_string_equal(show_time(999951, SHOW_US).text, "1,000");
    assert_string_equal(show_time(12345678, SHOW_MS).text, "12.3");
}

static void no_text_is_obeyed_by_a_terminal(void **state)
{
    (void)state;
    char to[64];
    assert_string_equal(show_safe("plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", to, sizeof(to)),
                        "plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");
    assert_string_equal(show_safe("\x1b[2J\r\n\t\x7f", to, sizeof(to)),
                        "\\x1b[2J\\x0d\\x0a\\x09\\x7f");
    // U+009B begins a sequence as ESC [ does.
    assert_string_equal(show_safe("\xc2\x9b", to, sizeof(to)), "\\xc2\\x9b");
    // Cut, overlong, a surrogate, above U+10FFFF, a continuation alone.
    assert_string_equal(show_safe("\xe2\x82", to, sizeof(to)), "\\xe2\\x82");
    assert_string_equal(show_safe("\xc0\xaf", to, sizeof(to)), "\\xc0\\xaf");
    assert_string_equal(show_safe("\xed\xa0\x80", to, sizeof(to)), "\\xed\\xa0\\x80");
    assert_string_equal(show_safe("\xf4\x90\x80\x80", to, sizeof(to)), "\\xf4\\x90\\x80\\x80");
    assert_string_equal(show_safe("\x80", to, sizeof(to)), "\\x80");
    // Whole characters only where room ends.
    assert_string_equal(show_safe("abc\xe2\x82\xac", to, 6), "abc");
    assert_string_equal(show_safe("abc\xe2\x82\xac", to, 7), "abc\xe2\x82\xac");
    assert_string_equal(show_safe("ab\x01", to, 6), "ab");
}

static void bars(void **state)
{
    (void)state;
    char to[64];
    assert_int_equal(show_bar(to, 0.5, 10, false), 5);
    assert_string_equal(to, "#####");
    assert_int_equal(show_bar(to, 0.25, 2, true), 1);
    assert_string_equal(to, "▌");
    assert_int_equal(show_bar(to, 7, 3, true), 3);
    assert_string_equal(to, "███");
    assert_int_equal(show_bar(to, NAN, 3, false), 0);
    assert_string_equal(to, "");
}

// --- text ----------------------------------------------------------------------------------------

static void text_of_a_test(void **state)
{
    (void)state;
    struct options o = made_options();
    struct measurement *m = made_measurement("set", 0, 0);
    m->generator_cpu = 1.5;
    m->busy_ns = 2000000000;
    m->turns = 1000;
    char *text = WRITTEN(report_text(to, &o, m));
    assert_has(
        text,
        "====== SET ======\n"
        "  10,000 requests in 2.00 s: closed loop, 50 connections, pipeline 16, 2 threads\n"
        "  64-byte values, 1,000,000 keys, uniform\n"
        "\n"
        "                   MB/s      latency, us\n"
        "       requests/s  out   in   mean    min    p50    p90    p99  p99.9  p99.99    max\n"
        "  SET       5,000  1.5  0.0  149.5  100.0  149.5  189.4  198.7  199.0   199.0  199.0\n"
        "\n"
        "  0 errors, 0 lost connections, 0 retransmissions\n"
        "  CPUs used: generator 1.50 (50 % busy with ");
    assert_has(text, " cycles a request, 10.0 replies a turn), server not visible from here\n");
    assert_lacks(text, "NOTE");
    assert_lacks(text, "ENDED");
    free(text);
    measurement_free(m);
}

static void text_of_a_mix_in_milliseconds(void **state)
{
    (void)state;
    struct options o = made_options();
    struct measurement *m = made_measurement("mixed", 2, 1);
    const char *const names[] = {"SET", "GET key:{key}"};
    for (unsigned i = 0; i < 2; i++) {
        strcpy(m->commands[i].name, names[i]);
        m->commands[i].requests = 5000;
        histogram_record(&m->commands[i].latency, (i + 1) * 20000 * US, 5000);
    }
    strcpy(m->nodes[0].name, "192.0.2.1:7000");
    histogram_reset(&m->latency);
    histogram_record(&m->latency, 20000 * US, 5000);
    histogram_record(&m->latency, 40000 * US, 5000);
    o.data = (struct options_sizes){.kind = SIZES_RANGE, .low = 1, .high = 9};
    o.distribution = KEYS_ZIPFIAN;
    m->server_cpu = 0.25;
    char *text = WRITTEN(report_text(to, &o, m));
    assert_has(text, "1-9-byte values, 1,000,000 keys, zipfian 0.99\n");
    assert_has(text, "latency, ms\n");
    assert_has(text, "  SET                  2,500  0.0  0.0  20.0  20.0");
    assert_has(text, "  GET key:{key}        2,500  0.0  0.0  40.0  40.0");
    assert_has(text, "  192.0.2.1:7000         0.0  0.0  0.0     -     -     -");
    assert_has(text, "  total                5,000  1.5  0.0  30.0  20.0");
    assert_has(text, ", server 0.25\n");
    free(text);
    measurement_free(m);
}

static void text_says_what_went_wrong(void **state)
{
    (void)state;
    struct options o = made_options();
    o.rate_from = o.rate_to = 9000;
    struct measurement *m = made_measurement("LPUSH l:{key} x", 0, 0);
    m->rate = 9000;
    m->kinds[REPLY_ERROR] = 1234;
    m->kinds[REPLY_WRONG] = 1;
    m->kinds[REPLY_MISS] = 9000;
    m->disconnects = 2;
    m->unsent = 77;
    measurement_error(m, "-WRONGTYPE bad \x1b[31m");
    measurement_evidence(m, "key:1: \"a\" instead of \"b\"");
    histogram_record(&m->service, 10 * US, 10);
    histogram_record(&m->lag, 90000 * US, 10);
    histogram_record(&m->jitter, 60 * US, 1);
    m->finished = false;
    strcpy(m->error, "connection reset by the server");
    char *text = WRITTEN(report_text(to, &o, m));
    assert_has(text, "====== LPUSH l:{key} x ======\n");
    assert_has(text, "open loop of 9,000 requests/s (poisson), 50 connections");
    assert_has(text, "\n    once sent     ");
    assert_has(text, "\n    sent late by  ");
    assert_has(text,
               "  1,234 errors, 1 wrong, 9,000 misses, 2 lost connections, 0 retransmissions, "
               "77 never sent\n");
    assert_has(text, "for up to 60.0 us");
    assert_has(text, "  1 x WRONGTYPE bad \\x1b[31m\n");
    assert_has(text, "  WRONG: key:1: \"a\" instead of \"b\"\n");
    assert_has(text, "give --fill");
    assert_has(text, "  NOTE: The generator was late");
    assert_has(text, "  ENDED EARLY: connection reset by the server\n");
    free(text);
    measurement_free(m);
}

static void likely_causes_are_named(void **state)
{
    (void)state;
    struct options o = made_options();
    struct measurement *m = made_measurement("get", 0, 0);
    m->kinds[REPLY_ERROR] = m->kinds[REPLY_WRONG] = 2;
    measurement_error(m, "NOAUTH Authentication required.");
    measurement_error(m, "MOVED 1 127.0.0.1:7000");
    measurement_evidence(m, "GET key:1: " PROTOCOL_OTHER_SIZE "64 bytes, got one of 3");
    char *text = WRITTEN(report_text(to, &o, m));
    assert_has(text, "  The server wants a password: give -a.\n");
    assert_has(text, "  The server is a node of a cluster: give --cluster.\n");
    assert_has(text, "  Values have other sizes: give the --data-size");
    free(text);
    o.cluster = o.verify = true;
    text = WRITTEN(report_text(to, &o, m));
    assert_lacks(text, "give --cluster");
    assert_lacks(text, "give the --data-size");
    free(text);
    measurement_free(m);
}

static void quiet_is_one_line_of_redis_benchmark(void **state)
{
    (void)state;
    struct options o = made_options();
    o.quiet = true;
    struct measurement *m = made_measurement("set", 0, 0), *fill = made_measurement("fill", 0, 0);
    char *text = WRITTEN(report_text(to, &o, m)), *none = WRITTEN(report_text(to, &o, fill));
    assert_string_equal(text, "SET: 5000.00 requests per second, p50=0.150 msec\n");
    assert_string_equal(none, "");
    free(text);
    free(none);
    o.quiet = false;
    text = WRITTEN(report_text(to, &o, fill));
    assert_string_equal(text, "filled 10,000 keys in 2.00 s, 5,000 requests/s\n\n");
    free(text);
    measurement_free(m);
    measurement_free(fill);
}

// --- sweeps --------------------------------------------------------------------------------------

#define STEPS 4

// 1,000, 2,000, 3,000 and 4,000 requests/s; the third has a long tail, the fourth is not reached.
static void make_steps(struct options *o, struct measurement **steps)
{
    o->rate_from = 1000;
    o->rate_to = 9000;
    o->rate_step = 1000;
    for (unsigned i = 0; i < STEPS; i++) {
        steps[i] = made_measurement("get", 0, 0);
        steps[i]->rate = 1000.0 * (i + 1);
        steps[i]->requests = i < 3 ? 2000 * (i + 1) : 6200;
        if (i >= 2)
            histogram_record(&steps[i]->latency, 5000 * US, 1000);
    }
    steps[1]->server_cpu = 0.5;
}

static void free_steps(struct measurement **steps)
{
    for (unsigned i = 0; i < STEPS; i++)
        measurement_free(steps[i]);
}

static void text_of_a_sweep(void **state)
{
    (void)state;
    struct options o = made_options();
    struct measurement *steps[STEPS];
    make_steps(&o, steps);
    unsetenv("LC_ALL");
    unsetenv("LC_CTYPE");
    setenv("LANG", "C", 1);
    char *text = WRITTEN(report_sweep(to, &o, steps, STEPS, report_knee(steps, STEPS)));
    assert_has(text, "====== GET: latency over throughput ======\n");
    assert_has(text, "at most 16 requests under way on each; 64-byte values");
    assert_has(
        text,
        "        requests/s       latency, us                 CPUs of\n"
        "        wanted  reached    p50    p99  p99.9    max  client  server  p99, log scale\n"
        "         1,000    1,000  149.5  198.7  199.0  199.0       -       -  #\n"
        "         2,000    2,000  149.5  198.7  199.0  199.0       -    0.50  #\n"
        "  knee   3,000    3,000  154.6  5,000  5,000  5,000       -       -  "
        "########################\n");
    assert_has(text, "  Keeps up to 2,000 requests/s: p50 149.5 us, p99 198.7 us there.\n"
                     "  Knee at 3,000 requests/s: p99 is 25 times that of the lowest step.\n");
    free(text);
    text = WRITTEN(report_sweep(to, &o, steps, 2, 2));
    assert_has(text, "No knee: every step was reached");
    free(text);
    text = WRITTEN(report_sweep(to, &o, steps + 3, 1, 0));
    assert_has(text, "  Knee at 4,000 requests/s: only 3,100 were answered.\n"
                     "  The lowest step was too much");
    free(text);
    free_steps(steps);
}

// --- JSON ----------------------------------------------------------------------------------------

static json_t *parsed(const struct options *o, struct measurement *const *all, unsigned n)
{
    char *text = WRITTEN(assert_true(report_json(to, o, all, n)));
    json_error_t error;
    json_t *r = json_loads(text, 0, &error);
    if (!r)
        fail_msg("%s in %s", error.text, text);
    free(text);
    return r;
}

static double number(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static const char *string(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    assert_true(json_is_string(value));
    return json_string_value(value);
}

static bool is_null(const json_t *object, const char *name)
{
    return json_is_null(json_object_get(object, name));
}

static void json_keeps_its_names(void **state)
{
    (void)state;
    struct options o = made_options();
    struct measurement *m = made_measurement("set", 2, 0);
    m->kinds[REPLY_MISS] = 3;
    m->kinds[REPLY_ERROR] = 4;
    m->kinds[REPLY_WRONG] = 5;
    m->disconnects = 6;
    m->busy_ns = 1000000;
    json_t *r = parsed(&o, &m, 1), *tests = json_object_get(r, "tests");
    assert_string_equal(string(r, "transport"), "socket");
    assert_true(number(r, "connections") == 50 && number(r, "pipeline") == 16);
    assert_true(number(r, "data_size") == 64 && number(r, "keys") == 1000000);
    assert_int_equal(json_array_size(tests), 1);
    const json_t *t = json_array_get(tests, 0), *l = json_object_get(t, "latency_us");
    assert_string_equal(string(t, "test"), "set");
    assert_true(number(t, "requests") == 10000 && number(t, "seconds") == 2);
    assert_true(number(t, "requests_per_second") == 5000);
    assert_true(number(t, "misses") == 3 && number(t, "errors") == 4 && number(t, "wrong") == 5);
    assert_true(number(t, "disconnects") == 6 && number(t, "client_cycles_per_request") > 0);
    assert_true(number(l, "mean") == 149.5 && number(l, "min") == 100 && number(l, "max") == 199);
    assert_true(fabs(number(l, "p50") - 149) < 1.5 && fabs(number(l, "p99") - 198) < 1.6);
    assert_true(number(l, "p90") <= number(l, "p99.9") && number(l, "p99.99") == 199);
    assert_true(fabs(number(l, "stddev") - 28.87) < 0.3);
    // What is not known is null, and what does not belong to a closed loop is not there.
    assert_true(is_null(t, "server_cpu") && is_null(t, "rate_wanted") && is_null(t, "bottleneck"));
    assert_null(json_object_get(t, "lag_us"));
    assert_null(json_object_get(r, "sweeps"));
    assert_true(json_is_true(json_object_get(t, "finished")) && is_null(t, "error"));
    assert_int_equal(json_array_size(json_object_get(t, "commands")), 2);
    json_decref(r);
    measurement_free(m);
}

static void json_of_any_text_is_valid(void **state)
{
    (void)state;
    struct options o = made_options();
    char name[256];
    for (int i = 0; i < 255; i++)
        name[i] = (char)(i + 1); // every byte but NUL: most are no UTF-8
    name[255] = 0;
    struct measurement *m = made_measurement(name, 0, 0);
    measurement_error(m, "-ERR \"quoted\" \\ \x01\xff\xc3\xa4");
    measurement_evidence(m, "\xed\xa0\x80\n");
    m->finished = false;
    snprintf(m->error, sizeof(m->error), "\xfe\t");
    o.host = "\x80host";
    json_t *r = parsed(&o, &m, 1);
    const json_t *t = json_array_get(json_object_get(r, "tests"), 0);
    const json_t *e = json_array_get(json_object_get(t, "errors_by_text"), 0);
    assert_string_equal(string(e, "text"), "ERR \"quoted\" \\ \x01\\xff\xc3\xa4");
    assert_true(number(e, "count") == 1);
    assert_string_equal(json_string_value(json_array_get(json_object_get(t, "evidence"), 0)),
                        "\\xed\\xa0\\x80\n");
    assert_string_equal(string(t, "error"), "\\xfe\t");
    assert_string_equal(string(r, "host"), "\\x80host");
    assert_memory_equal(string(t, "test"), name, 0x7f); // the ASCII half came back as it was
    json_decref(r);
    measurement_free(m);
}

static void json_of_sweeps_tells_the_knee(void **state)
{
    (void)state;
    struct options o = made_options();
    struct measurement *steps[STEPS];
    make_steps(&o, steps);
    json_t *r = parsed(&o, steps, STEPS);
    const json_t *sweeps = json_object_get(r, "sweeps"), *s = json_array_get(sweeps, 0);
    assert_int_equal(json_array_size(sweeps), 1);
    assert_string_equal(string(r, "loop"), "open");
    assert_true(number(s, "kept_rate") == 2000 && number(s, "knee_rate") == 3000);
    assert_true(number(s, "first") == 0 && number(s, "steps") == STEPS);
    assert_true(number(json_array_get(json_object_get(r, "tests"), 1), "rate_wanted") == 2000);
    json_decref(r);
    free_steps(steps);
}

static void json_without_requests_is_valid(void **state)
{
    (void)state;
    struct options o = made_options();
    struct measurement *m = measurement_new("set", 0, 0);
    json_t *r = parsed(&o, &m, 1);
    const json_t *t = json_array_get(json_object_get(r, "tests"), 0);
    assert_true(number(t, "requests_per_second") == 0);
    assert_true(number(json_object_get(t, "latency_us"), "min") == 0);
    assert_string_equal(string(t, "error"), "interrupted");
    json_decref(r);
    r = parsed(&o, NULL, 0);
    assert_int_equal(json_array_size(json_object_get(r, "tests")), 0);
    json_decref(r);
    measurement_free(m);
}

// --- CSV -----------------------------------------------------------------------------------------

#define FIELDS_MAX 64

// Reads one record of RFC 4180, whose fields then lie in `record`, unquoted. NULL at the end.
static char *read_record(char *at, char **fields, unsigned *n)
{
    *n = 0;
    if (!*at)
        return NULL;
    for (;;) {
        assert_true(*n < FIELDS_MAX);
        char *to = fields[(*n)++] = at;
        bool quoted = *at == '"';
        at += quoted;
        for (; quoted || (*at != ',' && *at != '\r'); at++) {
            assert_true(*at && *at != '\n');
            if (quoted && *at == '"') {
                at++;
                if (*at != '"')
                    break;
            } else {
                assert_true(quoted || *at != '"');
            }
            *to++ = *at;
        }
        char end = *at;
        *to = 0;
        if (end == ',') {
            at++;
            continue;
        }
        assert_true(end == '\r' && at[1] == '\n');
        return at + 2;
    }
}

static const char *field(char **header, char **fields, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++)
        if (!strcmp(header[i], name))
            return fields[i];
    fail_msg("no column %s", name);
    return NULL;
}

static void csv_reads_back(void **state)
{
    (void)state;
    struct options o = made_options();
    struct measurement *all[] = {made_measurement("SET k \"a,b\"\r\n", 0, 0),
                                 made_measurement("mixed", 2, 1)};
    strcpy(all[1]->commands[0].name, "SET");
    strcpy(all[1]->commands[1].name, "GET");
    all[1]->commands[1].requests = 500;
    strcpy(all[1]->nodes[0].name, "[::1]:7000");
    all[0]->generator_cpu = 1.25;
    all[0]->rate = 6000;
    char *text = WRITTEN(assert_true(report_csv(to, &o, all, 2)));
    char *header[FIELDS_MAX], *fields[FIELDS_MAX];
    unsigned columns, n, rows = 0;
    char *at = read_record(text, header, &columns);
    static const char *const names[] = {"SET k \"a,b\"\\x0d\\x0a", "mixed", "SET", "GET",
                                        "[::1]:7000"};
    static const char *const scopes[] = {"all", "all", "command", "command", "node"};
    while ((at = read_record(at, fields, &n))) {
        assert_int_equal(n, columns);
        assert_string_equal(field(header, fields, n, "name"), names[rows]);
        assert_string_equal(field(header, fields, n, "scope"), scopes[rows]);
        if (rows == 0) {
            assert_string_equal(field(header, fields, n, "rate_wanted"), "6000.0");
            assert_string_equal(field(header, fields, n, "requests_per_second"), "5000.0");
            assert_string_equal(field(header, fields, n, "max_us"), "199.000");
            assert_string_equal(field(header, fields, n, "generator_cpu"), "1.250");
            assert_string_equal(field(header, fields, n, "server_cpu"), "");
            assert_string_equal(field(header, fields, n, "finished"), "yes");
        }
        if (rows == 3) {
            assert_string_equal(field(header, fields, n, "requests_per_second"), "250.0");
            assert_string_equal(field(header, fields, n, "p99.9_us"), "");
        }
        rows++;
    }
    assert_int_equal(rows, 5);
    free(text);
    measurement_free(all[0]);
    measurement_free(all[1]);
}

// --- HDR -----------------------------------------------------------------------------------------

// Ten values: levels and counts can be worked out by hand from HdrHistogram's percentile iterator.
static void hdr_is_written_as_hdrhistogram_writes_it(void **state)
{
    (void)state;
    struct measurement *m = measurement_new("x", 0, 0);
    for (unsigned i = 0; i < 10; i++)
        histogram_record(&m->latency, (i + 1) * 1000000u, 1); // 1 … 10 ms
    char *text = WRITTEN(report_hdr(to, m));
    char *line = text;
    assert_true(strncmp(line, "       Value     Percentile TotalCount 1/(1-Percentile)\n\n", 57) ==
                0);
    assert_has(text, " 0.000000000000          1           1.00\n");
    assert_has(text, " 0.100000000000          1           1.11\n");
    assert_has(text, " 0.500000000000          5           2.00\n");
    assert_has(text, " 0.550000000000          6           2.22\n");
    assert_has(text, " 0.750000000000          8           4.00\n");
    assert_has(text, " 0.775000000000          8           4.44\n");
    assert_has(text, "      10.000 0.912500000000         10          11.43\n"
                     "      10.000 1.000000000000         10\n"
                     "#[Mean    =        5.500, StdDeviation   =        2.8");
    assert_has(text, "#[Max     =       10.000, Total count    =           10]\n");
    assert_has(text, "#[Buckets =           37, SubBuckets     =          256]\n");
    free(text);
    measurement_free(m);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Each line's value is that of the sorted samples at its count, within a bucket; nothing goes back.
static void hdr_agrees_with_sorted_samples(void **state)
{
    (void)state;
    enum { N = 20000 };
    static uint64_t samples[N];
    struct measurement *m = measurement_new("x", 0, 0);
    uint64_t z = 7;
    for (unsigned i = 0; i < N; i++) {
        z = z * UINT64_C(6364136223846793005) + 1442695040888963407u;
        samples[i] = (uint64_t)(exp((double)(z >> 40) / (1 << 24) * 10) * 1000) + 500000;
        histogram_record(&m->latency, samples[i], 1);
    }
    qsort(samples, N, sizeof(samples[0]), by_value);
    char *text = WRITTEN(report_hdr(to, m)), *save = NULL;
    double last_value = 0, last_level = -1;
    unsigned lines = 0;
    unsigned long long last_count = 0;
    strtok_r(text, "\n", &save);
    for (char *line; (line = strtok_r(NULL, "\n", &save)) && line[0] != '#'; lines++) {
        double value, level, inverse;
        unsigned long long count;
        int n = sscanf(line, "%lf %lf %llu %lf", &value, &level, &count, &inverse);
        assert_true(n == 4 || (n == 3 && level == 1));
        assert_true(value >= last_value && level > last_level && count >= last_count);
        assert_true((double)count >= level * N - 1e-6);
        double sample = (double)samples[count - 1] / 1e6;
        assert_true(value >= sample - 0.0006 && value <= sample * 1.01 + 0.0006);
        // Five levels for each halving of what is left to 100 %, until all values are counted.
        if (n == 4) {
            double step = 1 / (5 * exp2(floor(log2(1 / (1 - last_level)) + 1e-9) + 1));
            assert_true(lines == 0 ? level == 0 : fabs(level - last_level - step) < 1e-9);
            assert_true(last_count < N && fabs(inverse * (1 - level) - 1) < 0.01);
        } else {
            assert_true(last_count == N);
        }
        last_value = value;
        last_level = level;
        last_count = count;
    }
    assert_true(last_level == 1 && last_count == N);
    assert_true(fabs(last_value - (double)samples[N - 1] / 1e6) < 0.0006);
    assert_true(lines > 5 * 10);
    free(text);
    measurement_free(m);
}

static void hdr_of_nothing(void **state)
{
    (void)state;
    struct measurement *m = measurement_new("x", 0, 0);
    char *text = WRITTEN(report_hdr(to, m));
    assert_has(text, "TotalCount 1/(1-Percentile)\n\n#[Mean    =        0.000");
    assert_has(text, "Total count    =            0]");
    free(text);
    measurement_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures),
        cmocka_unit_test(no_text_is_obeyed_by_a_terminal),
        cmocka_unit_test(bars),
        cmocka_unit_test(text_of_a_test),
        cmocka_unit_test(text_of_a_mix_in_milliseconds),
        cmocka_unit_test(text_says_what_went_wrong),
        cmocka_unit_test(likely_causes_are_named),
        cmocka_unit_test(quiet_is_one_line_of_redis_benchmark),
        cmocka_unit_test(text_of_a_sweep),
        cmocka_unit_test(json_keeps_its_names),
        cmocka_unit_test(json_of_any_text_is_valid),
        cmocka_unit_test(json_of_sweeps_tells_the_knee),
        cmocka_unit_test(json_without_requests_is_valid),
        cmocka_unit_test(csv_reads_back),
        cmocka_unit_test(hdr_is_written_as_hdrhistogram_writes_it),
        cmocka_unit_test(hdr_agrees_with_sorted_samples),
        cmocka_unit_test(hdr_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
