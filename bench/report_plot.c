// Pictures by gnuplot, which reads one script with its data on standard input. Tests of their own
// become curves of latency over percentiles, as HdrHistogram's plotter draws them; the steps of a
// sweep become latency over throughput.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/report.h"
#include "bench/show.h"

#define ANSWER_MAX 400 // of gnuplot's complaint

extern char **environ;

// --- the script ----------------------------------------------------------------------------------

// A string of gnuplot's in single quotes: nothing is special in it but the quote.
static void put_quoted(FILE *to, const char *text)
{
    putc('\'', to);
    for (; *text; text++) {
        if (*text == '\'')
            putc('\'', to);
        putc(*text, to);
    }
    putc('\'', to);
}

static void put_name(FILE *to, const char *name)
{
    char safe[4 * MEASUREMENT_TEXT_MAX];
    put_quoted(to, show_safe(name, safe, sizeof(safe)));
}

// What the tests have in common: the load, and the work where it is the same for all.
static void put_title(FILE *to, const struct options *o, struct measurement *const *all, unsigned n)
{
    char load[MEASUREMENT_TEXT_MAX], data[MEASUREMENT_TEXT_MAX], other[MEASUREMENT_TEXT_MAX];
    char both[2 * MEASUREMENT_TEXT_MAX + 4];
    unsigned i = 0;
    while (report_is_fill(all[i])) // has_values found one that is none
        i++;
    const struct measurement *first = all[i];
    show_data(o, first->name, data, sizeof(data));
    for (; i < n; i++) {
        if (report_is_fill(all[i]))
            continue;
        show_data(o, all[i]->name, other, sizeof(other));
        if (strcmp(data, other) != 0)
            data[0] = 0;
    }
    show_load(o, first, load, sizeof(load));
    if (report_is_step(o, first)) // the rate is an axis
        snprintf(load, sizeof(load), "open loop (%s), %s connections",
                 o->arrivals == ARRIVALS_EVEN ? "even" : "poisson",
                 show_count(o->connections).text);
    snprintf(both, sizeof(both), data[0] ? "%s; %s" : "%s", load, data);
    fputs("set title ", to);
    put_quoted(to, both);
    fputs(" noenhanced\n", to);
}

static void put_percentiles_data(FILE *to, unsigned index, const struct histogram *h)
{
    fprintf(to, "$d%u << EOD\n", index);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && seen < h->total; i++) {
        if (!h->counts[i])
            continue;
        // 1/(1-p) of the values from here on; a step of the curve begins where the last one ended.
        double from = (double)h->total / (double)(h->total - seen);
        seen += h->counts[i];
        double until =
            seen < h->total ? (double)h->total / (double)(h->total - seen) : (double)h->total;
        double value = (double)(histogram_upper(i) < h->max ? histogram_upper(i) : h->max);
        if (seen == h->total)
            value = (double)h->max;
        fprintf(to, "%.9g %.6g\n%.9g %.6g\n", from, value / 1e3, until > from ? until : from,
                value / 1e3);
    }
    fputs("EOD\n", to);
}

static void put_percentiles(FILE *to, const struct options *o, struct measurement *const *all,
                            unsigned n)
{
    unsigned curves = 0;
    for (unsigned i = 0; i < n; i++)
        if (!report_is_fill(all[i]) && all[i]->latency.total)
            put_percentiles_data(to, i, &all[i]->latency);
    put_title(to, o, all, n);
    fputs("set logscale x 10\nset xlabel 'percentile'\n"
          "set xtics ('0%%' 1, '50%%' 2, '90%%' 10, '99%%' 100, '99.9%%' 1e3, '99.99%%' 1e4, "
          "'99.999%%' 1e5, '99.9999%%' 1e6, '99.99999%%' 1e7, '99.999999%%' 1e8)\n" // formats
          "set xrange [1:*]\nset key top left noenhanced\nplot ",
          to);
    for (unsigned i = 0; i < n; i++) {
        if (report_is_fill(all[i]) || !all[i]->latency.total)
            continue;
        fprintf(to, "%s$d%u using 1:2 with lines linewidth 2 title ", curves++ ? ", " : "", i);
        put_name(to, all[i]->name);
    }
    putc('\n', to);
}

static void put_sweep_data(FILE *to, unsigned index, struct measurement *const *steps, unsigned n)
{
    static const double percents[] = {50, 99, 99.9};
    fprintf(to, "$d%u << EOD\n", index);
    for (unsigned i = 0; i < n; i++) {
        if (!steps[i]->latency.total)
            continue;
        fprintf(to, "%.9g", measurement_rate(steps[i]));
        for (unsigned k = 0; k < sizeof(percents) / sizeof(percents[0]); k++)
            fprintf(to, " %.6g",
                    (double)histogram_percentile(&steps[i]->latency, percents[k]) / 1e3);
        putc('\n', to);
    }
    fputs("EOD\n", to);
}

static void put_sweeps(FILE *to, const struct options *o, struct measurement *const *all,
                       unsigned n)
{
    static const char *const curves[] = {"p50", "p99", "p99.9"};
    unsigned first = 0, group;
    while (!report_is_step(o, all[first]))
        first++;
    for (unsigned i = first; i < n; i += group) {
        group = report_group(o, all + i, n - i);
        if (report_is_step(o, all[i]))
            put_sweep_data(to, i, all + i, group);
    }
    put_title(to, o, all, n);
    fputs("set xlabel 'requests/s answered'\nset xrange [0:*]\nset format x '%.1s %c'\n"
          "set key outside right noenhanced\n",
          to);
    for (unsigned i = first; i < n; i += group) {
        group = report_group(o, all + i, n - i);
        unsigned knee = report_is_step(o, all[i]) ? report_knee(all + i, group) : group;
        if (knee == group)
            continue;
        double at = measurement_rate(all[i + knee]);
        fprintf(to,
                "set arrow from %.9g, graph 0 to %.9g, graph 1 nohead dashtype 2 linecolor "
                "rgb 'gray'\nset label 'knee' at %.9g, graph 0.03 right offset -0.5,0\n",
                at, at, at);
    }
    fputs("plot ", to);
    const char *separator = "";
    for (unsigned i = first; i < n; i += group) {
        group = report_group(o, all + i, n - i);
        for (unsigned k = 0; report_is_step(o, all[i]) && k < 3; k++) {
            char name[MEASUREMENT_TEXT_MAX + 16];
            snprintf(name, sizeof(name), "%s %s", all[i]->name, curves[k]);
            fprintf(
                to,
                "%s$d%u using 1:%u with linespoints linewidth 2 pointtype 7 pointsize 0.6 title ",
                separator, i, k + 2);
            put_name(to, name);
            separator = ", ";
        }
    }
    putc('\n', to);
}

static const char *terminal_of(const char *file)
{
    const char *suffix = strrchr(file, '.');
    if (suffix && !strcasecmp(suffix, ".svg"))
        return "svg size 960,600 dynamic font 'sans-serif,14' background rgb 'white'";
    if (suffix && !strcasecmp(suffix, ".png"))
        return "pngcairo size 1440,900 font 'sans,16'";
    return NULL;
}

static bool has_values(struct measurement *const *all, unsigned n, const struct options *o,
                       bool *steps)
{
    bool values = false;
    *steps = false;
    for (unsigned i = 0; i < n; i++) {
        if (report_is_fill(all[i]))
            continue;
        values |= all[i]->latency.total > 0;
        *steps |= report_is_step(o, all[i]) && all[i]->latency.total > 0;
    }
    return values;
}

static char *make_script(const char *file, const struct options *o, struct measurement *const *all,
                         unsigned n, bool steps, size_t *size)
{
    char *script = NULL;
    FILE *to = open_memstream(&script, size);
    if (!to)
        return NULL;
    fprintf(to, "set terminal %s\nset output ", terminal_of(file));
    put_quoted(to, file);
    fputs("\nset encoding utf8\nset grid\nset rmargin 6\nset logscale y 10\nset ylabel 'latency'\n"
          "set ytics ('100 ns' 0.1, '1 us' 1, '10 us' 10, '100 us' 100, '1 ms' 1e3, '10 ms' 1e4, "
          "'100 ms' 1e5, '1 s' 1e6, '10 s' 1e7, '100 s' 1e8)\n",
          to);
    if (steps)
        put_sweeps(to, o, all, n);
    else
        put_percentiles(to, o, all, n);
    fputs("set output\n", to);
    return fclose(to) == 0 ? script : NULL;
}

// --- gnuplot -------------------------------------------------------------------------------------

struct child {
    pid_t pid;
    int in, out; // our ends: its standard input; its standard output and error
};

// 0 or an errno.
static int start(struct child *c, char *const *argv)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0)
        return errno;
    if (pipe2(out, O_CLOEXEC) != 0) {
        close(in[0]);
        close(in[1]);
        return errno;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDERR_FILENO);
    int e = posix_spawnp(&c->pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    if (e) {
        close(in[1]);
        close(out[0]);
        return e;
    }
    c->in = in[1];
    c->out = out[0];
    fcntl(c->in, F_SETFL, O_NONBLOCK);
    return 0;
}

// Feeds it and listens at once, so that neither waits for the other; the first of what it said is
// in `answer`. Returns its exit status, -1 when a signal ended it.
static int talk(struct child *c, const char *script, size_t size, char *answer, size_t answer_size)
{
    size_t at = 0, said = 0;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGPIPE, &ignore, &before); // it may end before it has read all
    for (bool open = true; open;) {
        struct pollfd fds[2] = {{.fd = c->out, .events = POLLIN}, {.fd = c->in, .events = POLLOUT}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        if (fds[1].revents && c->in >= 0) {
            ssize_t n = write(c->in, script + at, size - at);
            at += n > 0 ? (size_t)n : 0;
            if (at == size || (n < 0 && errno != EAGAIN && errno != EINTR)) {
                close(c->in);
                c->in = -1; // poll takes no notice of it any more
            }
        }
        if (fds[0].revents) {
            char more[512];
            ssize_t n = read(c->out, more, sizeof(more));
            open = n > 0 || (n < 0 && errno == EINTR);
            for (ssize_t i = 0; i < n && said + 1 < answer_size; i++)
                answer[said++] = more[i];
        }
    }
    answer[said] = 0;
    if (c->in >= 0)
        close(c->in);
    close(c->out);
    int status;
    pid_t ended;
    do
        ended = waitpid(c->pid, &status, 0);
    while (ended < 0 && errno == EINTR);
    sigaction(SIGPIPE, &before, NULL);
    return ended == c->pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// gnuplot shows the line, a caret below it, and then what is wrong: the last line that says
// something.
static const char *last_line(char *answer)
{
    char *line = answer + strlen(answer);
    while (line > answer && (uint8_t)line[-1] <= ' ') // it ends in a Ctrl-Z now and then
        *--line = 0;
    while (line > answer && line[-1] != '\n')
        line--;
    return line + strspn(line, " ");
}

bool report_plot(const char *file, const struct options *o, struct measurement *const *all,
                 unsigned n, char *error, size_t error_size)
{
    bool steps;
    if (!terminal_of(file))
        return snprintf(error, error_size, "--plot %s: give a name that ends in .svg or .png",
                        file),
               false;
    if (!has_values(all, n, o, &steps))
        return snprintf(error, error_size, "--plot %s: nothing was measured to plot", file), false;
    size_t size = 0;
    char *script = make_script(file, o, all, n, steps, &size);
    if (!script)
        return snprintf(error, error_size, "--plot %s: out of memory", file), false;
    char *const argv[] = {"gnuplot", "--default-settings", NULL};
    struct child child;
    int e = start(&child, argv);
    if (e) {
        free(script);
        snprintf(error, error_size, "--plot %s: gnuplot: %s%s", file, strerror(e),
                 e == ENOENT ? "; install it, as with `apt install gnuplot-nox`" : "");
        return false;
    }
    char answer[ANSWER_MAX], safe[ANSWER_MAX];
    int status = talk(&child, script, size, answer, sizeof(answer));
    free(script);
    if (status != 0) {
        unlink(file); // begun, and of no use
        snprintf(error, error_size, "--plot %s: gnuplot failed: %s", file,
                 show_safe(last_line(answer), safe, sizeof(safe)));
    }
    return status == 0;
}
