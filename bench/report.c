// What the reports share, and the files that they are written to.
#include "bench/report.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/show.h"
#include "bench/sweep.h"

#define PATH_SIZE 4096

bool report_is_fill(const struct measurement *m)
{
    return !strcmp(m->name, "fill");
}

bool report_is_step(const struct options *o, const struct measurement *m)
{
    return m->rate > 0 && o->rate_to > o->rate_from;
}

double report_cycles(const struct measurement *m)
{
    return m->requests ? (double)m->busy_ns * clock_rate() / 1e9 / (double)m->requests : 0;
}

double report_busy(const struct measurement *m)
{
    double all = m->seconds * 1e9 * m->threads;
    return all > 0 ? (double)m->busy_ns / all : 0;
}

unsigned report_group(const struct options *o, struct measurement *const *all, unsigned n)
{
    unsigned group = 1;
    // The rates of a sweep rise; the same test asked for twice begins again.
    while (group < n && report_is_step(o, all[0]) && report_is_step(o, all[group]) &&
           all[group]->rate > all[group - 1]->rate && !strcmp(all[group]->name, all[0]->name))
        group++;
    return group;
}

unsigned report_knee(struct measurement *const *steps, unsigned n)
{
    struct sweep_step s[OPTIONS_STEPS_MAX];
    if (n > OPTIONS_STEPS_MAX)
        n = OPTIONS_STEPS_MAX;
    for (unsigned i = 0; i < n; i++)
        s[i] = (struct sweep_step){
            .wanted = steps[i]->rate,
            .reached = measurement_rate(steps[i]),
            .p99 = (double)histogram_percentile(&steps[i]->latency, 99),
        };
    return sweep_knee(s, n);
}

// --- files ---------------------------------------------------------------------------------------

// Nothing is known of the file before it is written whole: what a full disk refuses shows at the
// end.
static bool finish(FILE *f, bool good, const char *option, const char *file, char *error,
                   size_t error_size)
{
    good = good && !ferror(f);
    if (fclose(f) != 0)
        good = false;
    if (!good)
        snprintf(error, error_size, "%s %s: cannot be written: %s", option, file,
                 errno ? strerror(errno) : "out of memory");
    return good;
}

static FILE *create(const char *option, const char *file, char *error, size_t error_size)
{
    FILE *f = fopen(file, "we");
    if (!f)
        snprintf(error, error_size, "%s %s: cannot be written: %s", option, file, strerror(errno));
    errno = 0;
    return f;
}

// "DIR/run.hgrm" and a test "hset x" at 1000/s become "DIR/run-hset-x-1000.hgrm".
static void name_for(char *to, size_t size, const char *file, const struct options *o,
                     const struct measurement *m)
{
    const char *base = strrchr(file, '/');
    base = base ? base + 1 : file;
    const char *suffix = strrchr(base, '.');
    if (!suffix || suffix == base)
        suffix = file + strlen(file);
    char name[MEASUREMENT_TEXT_MAX + 32];
    snprintf(name, sizeof(name), "%.60s", m->name);
    if (report_is_step(o, m))
        snprintf(name + strlen(name), sizeof(name) - strlen(name), "-%.0f", m->rate);
    char *end = name;
    for (const char *c = name; *c; c++)
        if (isalnum((unsigned char)*c))
            *end++ = *c;
        else if (end > name && end[-1] != '-')
            *end++ = '-';
    while (end > name && end[-1] == '-')
        end--;
    *end = 0;
    snprintf(to, size, "%.*s-%s%s", (int)(suffix - file), file, name, suffix);
}

static bool write_hdr(const char *file, const struct measurement *m, char *error, size_t error_size)
{
    FILE *f = create("--hdr", file, error, error_size);
    if (!f)
        return false;
    report_hdr(f, m);
    return finish(f, true, "--hdr", file, error, error_size);
}

static bool write_all_hdr(const struct options *o, struct measurement *const *all, unsigned n,
                          char *error, size_t error_size)
{
    unsigned tests = 0;
    for (unsigned i = 0; i < n; i++)
        tests += !report_is_fill(all[i]);
    for (unsigned i = 0; i < n; i++) {
        char path[PATH_SIZE];
        if (report_is_fill(all[i]))
            continue;
        if (tests == 1)
            snprintf(path, sizeof(path), "%s", o->hdr_file);
        else
            name_for(path, sizeof(path), o->hdr_file, o, all[i]);
        if (!write_hdr(path, all[i], error, error_size))
            return false;
    }
    return true;
}

// Whether `file` may be written as far as can be told without touching it.
static bool possible(const char *file)
{
    char dir[PATH_SIZE];
    struct stat st;
    if (stat(file, &st) == 0) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : 0;
        return !errno && access(file, W_OK) == 0;
    }
    const char *slash = strrchr(file, '/');
    if (!slash)
        return access(".", W_OK | X_OK) == 0;
    snprintf(dir, sizeof(dir), "%.*s/", (int)(slash - file), file);
    return access(dir, W_OK | X_OK) == 0;
}

bool report_files_possible(const struct options *o, char *error, size_t error_size)
{
    const struct {
        const char *option, *file;
    } all[] = {{"--json", o->json_file},
               {"--csv", o->csv_file},
               {"--hdr", o->hdr_file},
               {"--plot", o->plot_file}};
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i].file && !possible(all[i].file)) {
            snprintf(error, error_size, "%s %s: cannot be written: %s", all[i].option, all[i].file,
                     strerror(errno));
            return false;
        }
    return true;
}

bool report_files(const struct options *o, struct measurement *const *all, unsigned n, char *error,
                  size_t error_size)
{
    FILE *f;
    if (o->json_file) {
        f = create("--json", o->json_file, error, error_size);
        if (!f || !finish(f, report_json(f, o, all, n), "--json", o->json_file, error, error_size))
            return false;
    }
    if (o->csv_file) {
        f = create("--csv", o->csv_file, error, error_size);
        if (!f || !finish(f, report_csv(f, o, all, n), "--csv", o->csv_file, error, error_size))
            return false;
    }
    if (o->hdr_file && !write_all_hdr(o, all, n, error, error_size))
        return false;
    return !o->plot_file || report_plot(o->plot_file, o, all, n, error, error_size);
}
