// The report of a crash where little works: a stack that is over, figures that cannot be read.
#include "dataplane/core/crash.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"

static char path[] = "/tmp/pollux-test-crash-XXXXXX";
static char report[1 << 16];

// Never the same twice, so that it is no loop.
static __attribute__((noinline)) unsigned long deeper(volatile char *above)
{
    volatile char frame[4096];
    frame[0] = *above;
    if (!frame[0]) // never
        return 0;
    return deeper(frame) + (unsigned long)frame[0];
}

static void *fall(void *context)
{
    crash_thread(context);
    volatile char start = 1;
    return (void *)deeper(&start);
}

// Returns how the child ended; what it wrote is in `report`.
static int crash(void *(*how)(void *))
{
    FILE *old = fopen(path, "w");
    assert_non_null(old);
    fclose(old);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        // All that the report asks for is missing: no keyspace, no segment.
        static struct server server;
        static struct core core = {.index = 3};
        const struct rlimit none = {0, 0};
        struct log_options log = {.file = path, .role = 'M'};
        pthread_t thread;
        setrlimit(RLIMIT_CORE, &none);
        core.server = &server;
        crash_start(&server, config_new());
        if (log_open(&log))
            _exit(1);
        log_notice("the last line before it");
        if (pthread_create(&thread, NULL, how, &core))
            _exit(1);
        pthread_join(thread, NULL);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    report[fread(report, 1, sizeof(report) - 1, f)] = '\0';
    fclose(f);
    return status;
}

static void is_there(const char *text)
{
    if (!strstr(report, text))
        fail_msg("no '%s' in:\n%s", text, report);
}

static void test_stack_that_is_over(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    int status = crash(fall);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    static const char *const parts[] = {"crashed by signal: 11 (SIGSEGV)",
                                        "Crashed on core 3",
                                        "deeper+0x",
                                        "none was running",
                                        "cannot be read",
                                        "RIP:",
                                        "=== POLLUX BUG REPORT END",
                                        "the last line before it"};
    for (unsigned i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        is_there(parts[i]);
}

static void *leap(void *context)
{
    crash_thread(context);
    void (*volatile nowhere)(void) = (void (*)(void))16;
    nowhere();
    return NULL;
}

// Where the program jumped to no code.
static void test_no_code(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    int status = crash(leap);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    is_there("Crashed running the instruction at: 0x10");
    is_there("=== POLLUX BUG REPORT END");
}

static void test_dates(void **state)
{
    (void)state;
    struct log_options log = {.file = path, .role = 'M'};
    for (unsigned i = 0; i < 2; i++) { // in UTC and elsewhere
        char prefix[LOG_PREFIX_MAX], same[LOG_PREFIX_MAX];
        setenv("TZ", i ? "Asia/Kolkata" : "UTC", 1);
        assert_int_equal(log_open(&log), 0);
        time_t now, after;
        do {
            now = time(NULL);
            log_crash_prefix(prefix);
            after = time(NULL);
        } while (now != after);
        struct tm tm;
        localtime_r(&now, &tm);
        int n = snprintf(same, sizeof(same), "%d:M ", (int)getpid());
        strftime(same + n, sizeof(same) - (size_t)n, "%d %b %Y %H:%M:%S.", &tm);
        assert_memory_equal(prefix, same, strlen(same));
        log_close();
    }
}

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 || close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stack_that_is_over),
        cmocka_unit_test(test_no_code),
        cmocka_unit_test(test_dates),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
