// pollux-bench: one load generator for all transports. See options.c for what it can be told.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/live.h"
#include "bench/pubsub.h"
#include "bench/report.h"
#include "bench/show.h"
#include "bench/workers.h"

#define ERROR_SIZE 512

static volatile bool stop;

static void on_signal(int number)
{
    (void)number;
    stop = true;
}

static int complain(const char *error)
{
    // The server's words are among it, and are not to move a terminal's cursor.
    char safe[4 * ERROR_SIZE];
    fprintf(stderr, "pollux-bench: %s\n", show_safe(error, safe, sizeof(safe)));
    return 1;
}

// All that was measured, in order.
struct results {
    struct measurement **all;
    unsigned n, room;
};

struct session {
    const struct options *options;
    struct workers *workers;
    struct results results;
    char error[ERROR_SIZE];
};

static bool room_for(struct results *r, unsigned more)
{
    if (r->n + more <= r->room)
        return true;
    unsigned room = 2 * (r->n + more);
    struct measurement **all = realloc(r->all, room * sizeof(struct measurement *));
    if (!all)
        return false;
    r->all = all;
    r->room = room;
    return true;
}

// Takes over `n` results that stand behind the present ones; false when the run is over.
static bool keep(struct session *s, unsigned n)
{
    struct measurement *last = n ? s->results.all[s->results.n + n - 1] : NULL;
    s->results.n += n;
    if (last && last->finished)
        return true;
    snprintf(s->error, sizeof(s->error), "%.200s: %s", last ? last->name : "the test",
             last ? last->error : "out of memory");
    return false;
}

static bool out_of_memory(struct session *s)
{
    snprintf(s->error, sizeof(s->error), "out of memory");
    return false;
}

static bool run_one(struct session *s, const struct preset *test, double rate)
{
    if (!room_for(&s->results, 1))
        return out_of_memory(s);
    struct live *live = live_open(s->options);
    struct measurement *m = workers_run(s->workers, test, rate, live ? live_show : NULL, live);
    live_close(live);
    s->results.all[s->results.n] = m;
    if (m && !s->options->json && !(test->fill && s->options->quiet))
        report_text(stdout, s->options, m);
    fflush(stdout);
    return keep(s, m ? 1 : 0);
}

static bool run_sweep(struct session *s, const struct preset *test)
{
    if (!room_for(&s->results, OPTIONS_STEPS_MAX))
        return out_of_memory(s);
    struct measurement **steps = s->results.all + s->results.n;
    struct live *live = live_open(s->options);
    unsigned knee, n = workers_sweep(s->workers, test, steps, &knee, live ? live_show : NULL, live);
    live_close(live);
    if (!s->options->json)
        report_sweep(stdout, s->options, steps, n, knee);
    fflush(stdout);
    return keep(s, n);
}

static bool run_all(struct session *s, const struct preset *tests, unsigned n)
{
    const struct options *o = s->options;
    for (unsigned i = 0; i < n; i++) {
        struct preset fill;
        if (o->fill && presets_fill(o, tests, i, &fill) && !run_one(s, &fill, 0))
            return false;
        if (o->rate_to > o->rate_from ? !run_sweep(s, &tests[i])
                                      : !run_one(s, &tests[i], o->rate_from))
            return false;
    }
    return true;
}

static int run(struct session *s, const struct preset *tests, unsigned n)
{
    const struct options *o = s->options;
    bool good = run_all(s, tests, n);
    int code = good ? 0 : complain(s->error);
    if (o->json)
        report_json(stdout, o, s->results.all, s->results.n);
    if (!report_files(o, s->results.all, s->results.n, s->error, sizeof(s->error)))
        code = complain(s->error);
    for (unsigned i = 0; i < s->results.n; i++) {
        const struct measurement *m = s->results.all[i];
        if (m->kinds[REPLY_ERROR] + m->kinds[REPLY_WRONG] > 0)
            code = 1;
        measurement_free(s->results.all[i]);
    }
    free(s->results.all);
    if (fflush(stdout) != 0 || ferror(stdout))
        code = complain("standard output: cannot be written");
    return code;
}

static void list_presets(void)
{
    const char *line;
    for (unsigned i = 0; presets_describe(i, &line); i++)
        printf("%-12s %s\n", presets_describe(i, &line), line);
}

int main(int argc, char **argv)
{
    static struct options o;
    static struct preset tests[OPTIONS_TESTS_MAX];
    struct session s = {.options = &o};
    switch (options_parse(&o, argc, argv, s.error, sizeof(s.error))) {
    case OPTIONS_HELP:
        fputs(options_help, stdout);
        return 0;
    case OPTIONS_LIST:
        list_presets();
        return 0;
    case OPTIONS_VERSION:
        puts("pollux-bench " POLLUX_VERSION);
        return 0;
    case OPTIONS_BAD:
        complain(s.error);
        return 2;
    case OPTIONS_RUN:
        break;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (o.channels)
        return pubsub_run(&o, &stop, stdout);
    unsigned n = presets_of(&o, tests, s.error, sizeof(s.error));
    if (n == 0) {
        complain(s.error);
        return 2;
    }
    if (!report_files_possible(&o, s.error, sizeof(s.error)))
        return complain(s.error);
    s.workers = workers_open(&o, &stop, s.error, sizeof(s.error));
    if (!s.workers)
        return complain(s.error);
    int code = run(&s, tests, n);
    workers_close(s.workers);
    return code;
}
