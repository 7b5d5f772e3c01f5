// What the live view draws, and that the terminal is left as it was whatever ends the program.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/live.h"
#include "bench/live_draw.h"
#include "bench/show.h"
#include "tests/unit/bench/made.h"

#define PATIENCE_S 20
#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static struct histogram latency;
static struct live_state state_;

static struct progress made_progress(void)
{
    histogram_reset(&latency);
    histogram_record(&latency, 100 * US, 90);
    histogram_record(&latency, 3000 * US, 10);
    return (struct progress){.name = "get",
                             .phase = PHASE_MEASURE,
                             .seconds = 2,
                             .of_seconds = 5,
                             .requests = 400000,
                             .rate = 200000,
                             .connections = 50,
                             .latency = &latency};
}

static void lines(void **state)
{
    (void)state;
    char to[LIVE_LINE_MAX];
    struct progress p = made_progress();
    live_line(&p, 90, to);
    assert_string_equal(to, "get  [##########--------------]  40 %  200,000 req/s  p50 100 us  "
                            "p99 3.00 ms  max 3.00 ms");
    p.steps = 20;
    p.step = 2;
    p.wanted = 300000;
    p.errors = 1234;
    p.wrong = 1;
    live_line(&p, 200, to);
    assert_string_equal(to,
                        "get 3/20  [#############-------------------]  40 %  200,000 of 300,000 "
                        "req/s  p50 100 us  p99 3.00 ms  max 3.00 ms  1,234 errors  1 WRONG");
    p = made_progress();
    p.phase = PHASE_FILL;
    p.of_seconds = 0;
    p.of_requests = 1600000;
    live_line(&p, 80, to);
    assert_string_equal(
        to, "filling  [########------------------------]  25 %  200,000 req/s  6.0 s left");
    p.phase = PHASE_WARMUP;
    p.of_requests = 0;
    p.name = "\033[2J";
    live_line(&p, 80, to);
    assert_string_equal(
        to, "?[2J warming up  2.0 s  200,000 req/s  p50 100 us  p99 3.00 ms  max 3.00 ms");
    p.phase = PHASE_CONNECT;
    live_line(&p, 80, to);
    assert_string_equal(to, "connecting  50 connections  2.0 s");
}

static unsigned columns_of(const char *line, size_t len)
{
    unsigned n = 0;
    for (const char *end = line + len; line < end; n++) {
        unsigned bytes = show_utf8_length(line);
        assert_true(bytes > 0);
        line += bytes;
    }
    return n;
}

static void nothing_is_wider_or_higher_than_the_terminal(void **state)
{
    (void)state;
    struct options o = made_options();
    struct progress p = made_progress();
    live_reset(&state_);
    for (unsigned i = 0; i < 700; i++) {
        p.rate = 1000.0 * (i % 97);
        live_note(&state_, &p);
    }
    for (unsigned width = 1; width < 500; width += width < 120 ? 1 : 37) {
        char line[LIVE_LINE_MAX];
        live_line(&p, width, line);
        assert_true(strlen(line) <= width);
        for (unsigned height = 1; height < 60; height += 7) {
            char *text = WRITTEN(live_screen(to, &state_, &o, &p, width, height, height % 2));
            unsigned n = 0;
            for (char *at = text; *at; n++) {
                size_t len = strcspn(at, "\n");
                assert_true(columns_of(at, len) <= width);
                at += len + 1;
            }
            assert_true(n <= height);
            free(text);
        }
    }
}

static void screen(void **state)
{
    (void)state;
    struct options o = made_options();
    struct progress p = made_progress();
    live_reset(&state_);
    for (unsigned i = 1; i <= 4; i++) {
        p.rate = 50000 * i;
        live_note(&state_, &p);
    }
    char *text = WRITTEN(live_screen(to, &state_, &o, &p, 60, 17, false));
    assert_string_equal(text, "get  measuring  192.0.2.1:6379\n"
                              "[#############-------------------]  40 %  2.0 s, 3.0 s left\n"
                              "50 connections, 0 errors, 0 wrong\n"
                              "\n"
                              "throughput 200,000 requests/s  (least 50000, mean 125 k, mos\n"
                              "     200 k    #\n"
                              "             ##\n"
                              "            ###\n"
                              "         0 ####\n"
                              "\n"
                              "latency          p50       p90       p99     p99.9    p99.99\n"
                              "now           100 us    100 us   3.00 ms   3.00 ms   3.00 ms\n"
                              "so far        100 us    100 us   3.00 ms   3.00 ms   3.00 ms\n"
                              "\n"
                              "    100 us  90.000 % ######################################\n"
                              "    311 us   0.000 % \n"
                              "    965 us  10.000 % ####\n");
    free(text);
    text = WRITTEN(live_screen(to, &state_, &o, &p, 60, 17, true));
    if (!strstr(text, "     200 k    █\n             ██\n            ███\n         0 ████\n"))
        fail_msg("%s", text);
    free(text);
}

static void samples_are_averaged_when_there_are_too_many(void **state)
{
    (void)state;
    struct progress p = made_progress();
    live_reset(&state_);
    for (unsigned i = 0; i < 10 * LIVE_SAMPLES_MAX; i++) {
        p.rate = i % 2 ? 300 : 100;
        live_note(&state_, &p);
        assert_true(state_.n_samples < LIVE_SAMPLES_MAX);
    }
    for (unsigned i = 0; i < state_.n_samples; i++)
        assert_true(state_.samples[i] == 200);
    assert_true(state_.n_samples * state_.per_sample + state_.noted == 10 * LIVE_SAMPLES_MAX);
    assert_true(state_.latency.total == 100 * 10 * LIVE_SAMPLES_MAX);
    p.phase = PHASE_FILL; // begins anew
    live_note(&state_, &p);
    assert_true(state_.n_samples == 1 && state_.latency.total == 100);
}

// --- the terminal --------------------------------------------------------------------------------

static void work(int how)
{
    struct options o = made_options();
    struct progress p = made_progress();
    o.live = LIVE_SCREEN;
    setenv("TERM", "xterm", 1);
    struct live *l = live_open(&o);
    live_show(l, &p);
    if (how == 0)
        exit(0);
    if (how > 0)
        raise(how);
    if (how == SIGTSTP)
        live_show(l, &p); // continued
    live_close(l);
    _exit(0);
}

// A process group whose parent is of the same session can be stopped. Returns the exit code.
static int stop_and_continue(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        work(SIGTSTP);
    }
    if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
        return 1;
    kill(pid, SIGCONT);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? 0 : 2;
}

// Runs work(how) on a terminal of its own, gives what it wrote, and its status.
static char *on_terminal(int how, int *status)
{
    static char said[1 << 16];
    size_t n = 0;
    int terminal;
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    pid_t pid = forkpty(&terminal, NULL, NULL, &size);
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(PATIENCE_S);
        if (how == SIGTSTP)
            _exit(stop_and_continue());
        work(how);
    }
    ssize_t got;
    while ((got = read(terminal, said + n, sizeof(said) - 1 - n)) > 0 ||
           (got < 0 && errno == EINTR))
        n += got > 0 ? (size_t)got : 0;
    said[n] = 0;
    close(terminal);
    assert_int_equal(waitpid(pid, status, 0), pid);
    return said;
}

static unsigned times(const char *text, const char *part)
{
    unsigned n = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        n++;
    return n;
}

static void the_terminal_is_left_as_it_was(void **state)
{
    (void)state;
    // -1: live_close; 0: exit().
    static const int ways[] = {-1, 0, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGPIPE};
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        int status;
        char *said = on_terminal(ways[i], &status);
        assert_int_equal(strncmp(said, ENTER, strlen(ENTER)), 0);
        assert_int_equal(times(said, LEAVE), 1);
        assert_string_equal(said + strlen(said) - strlen(LEAVE), LEAVE); // the last that it says
        assert_non_null(strstr(said, "get  measuring"));
        if (ways[i] > 0)
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == ways[i]);
        else
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static void a_stop_leaves_the_screen_and_comes_back(void **state)
{
    (void)state;
    int status;
    char *said = on_terminal(SIGTSTP, &status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(times(said, ENTER), 2);
    assert_int_equal(times(said, LEAVE), 2);
    assert_string_equal(said + strlen(said) - strlen(LEAVE), LEAVE);
}

static void nothing_is_shown_to_what_is_no_terminal(void **state)
{
    (void)state;
    struct options o = made_options();
    int kept = dup(STDERR_FILENO), pipes[2];
    assert_int_equal(pipe(pipes), 0);
    dup2(pipes[1], STDERR_FILENO);
    struct live *none = live_open(&o);
    o.live = LIVE_SCREEN; // asked for: lines, one a second
    struct live *asked = live_open(&o);
    struct progress p = made_progress();
    live_show(none, &p);
    for (unsigned i = 0; i < 9; i++) {
        p.seconds = i * 0.25;
        live_show(asked, &p);
    }
    live_close(asked);
    live_close(none);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(pipes[1]);
    char said[4096];
    ssize_t n = read(pipes[0], said, sizeof(said) - 1);
    close(pipes[0]);
    assert_null(none);
    assert_true(n > 0);
    said[n] = 0;
    assert_int_equal(times(said, "\n"), 2);
    assert_int_equal(times(said, "\033"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(nothing_is_wider_or_higher_than_the_terminal),
        cmocka_unit_test(screen),
        cmocka_unit_test(samples_are_averaged_when_there_are_too_many),
        cmocka_unit_test(the_terminal_is_left_as_it_was),
        cmocka_unit_test(a_stop_leaves_the_screen_and_comes_back),
        cmocka_unit_test(nothing_is_shown_to_what_is_no_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
