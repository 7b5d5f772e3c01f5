// Measurements: merging, errors by their text, and who was the bottleneck.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bench/measurement.h"

static char text[MEASUREMENT_TEXT_MAX];

static void merging_adds_and_keeps(void **state)
{
    (void)state;
    struct measurement *into = measurement_new("mixed", 2, 1), *from = measurement_new("", 2, 1);
    into->rate = 5;
    into->seconds = 7;
    into->requests = from->requests = 10;
    from->kinds[REPLY_WRONG] = 3;
    from->commands[1].requests = 4;
    from->nodes[0].kinds[REPLY_MISS] = 2;
    histogram_record(&from->latency, 100, 2);
    histogram_record(&from->commands[1].latency, 300, 1);
    from->threads = into->threads = 1;
    from->unsent = 9;
    measurement_error(from, "-ERR a");
    measurement_error(into, "-ERR a");
    measurement_evidence(from, "a letter");
    measurement_merge(into, from);
    assert_string_equal(into->name, "mixed");
    assert_true(into->rate == 5 && into->seconds == 7);
    assert_int_equal(into->requests, 20);
    assert_int_equal(into->kinds[REPLY_WRONG], 3);
    assert_int_equal(into->commands[1].requests, 4);
    assert_int_equal(into->commands[1].latency.max, 300);
    assert_int_equal(into->nodes[0].kinds[REPLY_MISS], 2);
    assert_int_equal(into->latency.total, 2);
    assert_int_equal(into->latency.min, 100);
    assert_int_equal(into->threads, 2);
    assert_int_equal(into->unsent, 9);
    assert_int_equal(into->n_errors, 1);
    assert_int_equal(into->errors[0].count, 2);
    assert_string_equal(into->evidence[0], "a letter");
    measurement_free(into);
    measurement_free(from);
}

static void errors_are_told_apart_by_text_but_not_by_figures(void **state)
{
    (void)state;
    struct measurement *m = measurement_new("x", 0, 0);
    measurement_error(m, "-MOVED 3999 127.0.0.1:6381");
    measurement_error(m, "-MOVED 12 10.0.10.1:7");
    measurement_error(m, "-OOM command not allowed when used memory > 'maxmemory'.");
    assert_int_equal(m->n_errors, 2);
    assert_string_equal(m->errors[0].text, "MOVED 3999 127.0.0.1:6381");
    assert_int_equal(m->errors[0].count, 2);
    assert_int_equal(m->errors[1].count, 1);
    for (unsigned i = 0; i < MEASUREMENT_ERRORS_MAX; i++) {
        snprintf(text, sizeof(text), "-ERR %c", 'a' + (int)i);
        measurement_error(m, text);
    }
    assert_int_equal(m->n_errors, MEASUREMENT_ERRORS_MAX);
    assert_int_equal(m->other_errors, 2);
    for (unsigned i = 0; i < 2 * MEASUREMENT_EVIDENCE_MAX; i++)
        measurement_evidence(m, "once more");
    assert_int_equal(m->n_evidence, MEASUREMENT_EVIDENCE_MAX);
    measurement_free(m);
}

// Of a closed loop of 10 s: shares of time that two threads were busy, and the server's CPUs.
static const char *closed(double busy, double server_cpu)
{
    struct measurement *m = measurement_new("x", 0, 0);
    m->seconds = 10;
    m->threads = 2;
    m->busy_ns = (uint64_t)(busy * 20e9);
    m->server_cpu = server_cpu;
    const char *found = measurement_bottleneck(m, text, sizeof(text));
    measurement_free(m);
    return found;
}

static void a_busy_generator_is_the_limit_of_a_closed_loop(void **state)
{
    (void)state;
    assert_null(closed(0.5, 1.0));
    assert_null(closed(0.5, 0.1)); // neither was busy: too few connections
    assert_null(closed(0.9, -1));
    assert_non_null(closed(0.99, 0.6));
    assert_non_null(strstr(text, "was the limit"));
    assert_non_null(closed(0.99, 1.0));
    assert_non_null(strstr(text, "may have been"));
    assert_non_null(closed(0.99, -1));
    assert_null(strchr(text, '\n'));
}

// Of an open loop: 99 % of the requests leave at once and take 100 us, the rest is late by `lag_us`
// and takes `latency_us`.
static const char *open(uint64_t lag_us, uint64_t latency_us)
{
    struct measurement *m = measurement_new("x", 0, 0);
    m->seconds = 10;
    m->rate = 1000;
    m->threads = 1;
    m->busy_ns = (uint64_t)9.99e9; // says nothing in an open loop
    histogram_record(&m->lag, 1000, 980);
    histogram_record(&m->lag, lag_us * 1000, 20);
    histogram_record(&m->latency, 100000, 980);
    histogram_record(&m->latency, latency_us * 1000, 20);
    const char *found = measurement_bottleneck(m, text, sizeof(text));
    measurement_free(m);
    return found;
}

static void a_late_generator_is_the_limit_of_an_open_loop(void **state)
{
    (void)state;
    assert_null(open(2, 200));
    assert_null(open(40, 60));      // nobody would notice
    assert_null(open(100, 100000)); // the server is slower by far
    assert_non_null(open(5000, 5200));
    assert_non_null(strstr(text, "late"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging_adds_and_keeps),
        cmocka_unit_test(errors_are_told_apart_by_text_but_not_by_figures),
        cmocka_unit_test(a_busy_generator_is_the_limit_of_a_closed_loop),
        cmocka_unit_test(a_late_generator_is_the_limit_of_an_open_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
