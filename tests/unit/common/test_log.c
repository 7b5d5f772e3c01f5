// The log: Redis's line, levels, cut and cleaned text, lines of threads that have ended, lost lines
// that are counted, and rotation by rename.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

static char path[64];
static char *text; // what was read last

static int set_up(void **state)
{
    (void)state;
    strcpy(path, "/tmp/planes-log-XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    struct log_options options = {.file = path, .level = LOG_LEVEL_DEBUG, .role = 'M'};
    return fd < 0 || log_open(&options);
}

static int tear_down(void **state)
{
    (void)state;
    log_close();
    unlink(path);
    free(text);
    text = NULL;
    return 0;
}

static const char *contents(const char *file)
{
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    free(text);
    text = calloc(1, 8 << 20);
    size_t n = fread(text, 1, (8 << 20) - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

static unsigned lines(const char *s)
{
    unsigned n = 0;
    for (; *s; s++)
        n += *s == '\n';
    return n;
}

static void test_format(void **state)
{
    (void)state;
    log_debug("one %d", 1);
    log_verbose("two");
    log_notice("three");
    log_warning("four");
    assert_string_equal(contents(path), ""); // nothing is written before the flush
    assert_int_equal(log_flush(), 4);
    const char *got = contents(path);
    regex_t pattern;
    char expression[512];
    snprintf(expression, sizeof(expression),
             "^(%d:M [0-3][0-9] [A-Z][a-z][a-z] [0-9]{4} [0-2][0-9]:[0-5][0-9]:[0-6][0-9]"
             "\\.[0-9]{3} [.*#-] [a-z0-9 ]+\n){4}$",
             (int)getpid());
    assert_int_equal(regcomp(&pattern, expression, REG_EXTENDED | REG_NOSUB), 0);
    assert_int_equal(regexec(&pattern, got, 0, NULL, 0), 0);
    regfree(&pattern);
    assert_non_null(strstr(got, " . one 1\n"));
    assert_non_null(strstr(got, " - two\n"));
    assert_non_null(strstr(got, " * three\n"));
    assert_non_null(strstr(got, " # four\n"));
    assert_int_equal(log_flush(), 0);
}

static void test_levels(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_WARNING);
    log_notice("hidden");
    log_warning("shown");
    assert_int_equal(log_flush(), 1);
    assert_null(strstr(contents(path), "hidden"));
}

static void test_text_is_one_line(void **state)
{
    (void)state;
    char *big = malloc(10000);
    memset(big, 'x', 9999);
    big[9999] = '\0';
    log_notice("a\nb\r\x1b[31m\x7f\tc");
    log_notice("%s", big);
    free(big);
    assert_int_equal(log_flush(), 2);
    const char *got = contents(path);
    assert_int_equal(lines(got), 2);
    assert_non_null(strstr(got, "a?b??[31m? c\n"));
    assert_true(strlen(strchr(got, '\n') + 1) <= LOG_LINE_MAX + 64);
}

static void *write_lines(void *context)
{
    for (int i = 0; i < 50; i++)
        log_notice("thread %d line %d", (int)(intptr_t)context, i);
    return NULL;
}

// More threads than there are rings, one batch after the other; all have ended before the flush.
static void test_ended_threads_lose_nothing(void **state)
{
    (void)state;
    unsigned written = 0;
    for (int batch = 0; batch < 10; batch++) {
        pthread_t threads[20];
        for (int i = 0; i < 20; i++)
            assert_int_equal(
                pthread_create(&threads[i], NULL, write_lines, (void *)(intptr_t)(batch * 20 + i)),
                0);
        for (int i = 0; i < 20; i++)
            pthread_join(threads[i], NULL);
        written += log_flush();
    }
    assert_int_equal(written, 10 * 20 * 50);
    assert_int_equal(lines(contents(path)), written);
    assert_non_null(strstr(text, "thread 199 line 49\n"));
    assert_null(strstr(text, "lost"));
}

static void test_a_full_ring_counts(void **state)
{
    (void)state;
    for (int i = 0; i < 10000; i++)
        log_notice("line %d", i);
    unsigned n = log_flush();
    const char *got = contents(path), *last = got, *next;
    assert_int_equal(lines(got), n);
    while ((next = strchr(last, '\n')) && next[1])
        last = next + 1;
    unsigned lost;
    assert_non_null(strstr(last, " # "));
    assert_int_equal(sscanf(strstr(last, " # "), " # %u log lines were lost", &lost), 1);
    assert_int_equal(lost + n - 1, 10000);
    // And it goes on.
    log_notice("after");
    assert_int_equal(log_flush(), 1);
    assert_non_null(strstr(contents(path), "after"));
}

static void test_rotation(void **state)
{
    (void)state;
    char moved[80];
    snprintf(moved, sizeof(moved), "%s.1", path);
    log_notice("before");
    log_flush();
    assert_int_equal(rename(path, moved), 0);
    log_notice("behind");
    log_flush();
    assert_non_null(strstr(contents(path), "behind"));
    assert_null(strstr(text, "before"));
    assert_non_null(strstr(contents(moved), "before"));
    unlink(moved);
}

static void test_bad_file(void **state)
{
    (void)state;
    struct log_options options = {.file = "/nonexistent/log", .level = LOG_LEVEL_NOTICE};
    assert_true(log_open(&options) < 0);
}

static _Atomic bool writing;

static void *write_always(void *context)
{
    unsigned *n = context;
    while (writing)
        log_notice("%u of a writer that does not stop", (*n)++);
    return NULL;
}

// Flushing while threads write: each line whole, in its thread's order, none twice.
static void test_flush_beside_writers(void **state)
{
    (void)state;
    pthread_t thread;
    unsigned written = 0, seen = 0;
    writing = true;
    assert_int_equal(pthread_create(&thread, NULL, write_always, &written), 0);
    while (seen < 20000)
        seen += log_flush();
    writing = false;
    pthread_join(thread, NULL);
    seen += log_flush();
    int last = -1;
    unsigned ours = 0;
    contents(path);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *at = strstr(line, " * ");
        int n, end = 0;
        if (!at)
            continue; // of lost lines
        assert_int_equal(sscanf(at, " * %d of a writer that does not stop%n", &n, &end), 1);
        assert_int_equal(at[end], '\0');
        assert_true(n > last);
        last = n;
        ours++;
    }
    assert_true(ours >= 10000 && ours <= written);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_format),
        CASE(test_levels),
        CASE(test_text_is_one_line),
        CASE(test_ended_threads_lose_nothing),
        CASE(test_a_full_ring_counts),
        CASE(test_rotation),
        CASE(test_bad_file),
        CASE(test_flush_beside_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
