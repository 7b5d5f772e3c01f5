// pollux-bench: one load generator for both transports. See options.c for what it can be told.
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/client.h"
#include "bench/report.h"

#define ERROR_SIZE 512

static volatile bool stop;

static void on_signal(int number)
{
    (void)number;
    stop = true;
}

static int complain(const char *error)
{
    fprintf(stderr, "pollux-bench: %s\n", error);
    return 1;
}

static bool pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}

static void report(const struct options *o, const struct measurement *m)
{
    if (o->json)
        report_json_test(o, m);
    else if (m->test != BENCH_FILL || !o->quiet)
        report_text(o, m);
    fflush(stdout);
}

// Runs the fill, if asked for, and all tests. Returns the exit code.
static int run(struct client *c, const struct options *o, struct measurement *m, char *error)
{
    bool good = true;
    uint64_t odd = 0;
    if (o->json)
        report_json_begin(o);
    for (unsigned i = o->fill ? 0 : 1; good && i <= o->n_tests; i++) {
        good = client_run(c, i == 0 ? BENCH_FILL : o->tests[i - 1], m, error, ERROR_SIZE);
        report(o, m);
        odd += m->kinds[REPLY_ERROR] + m->kinds[REPLY_WRONG];
    }
    if (o->json)
        report_json_end();
    if (!good)
        return complain(error);
    return odd ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct options o;
    char error[ERROR_SIZE] = "";
    switch (options_parse(&o, argc, argv, error, sizeof(error))) {
    case OPTIONS_HELP:
        fputs(options_help, stdout);
        return 0;
    case OPTIONS_BAD:
        complain(error);
        return 2;
    case OPTIONS_RUN:
        break;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (o.cpu >= 0 && !pin(o.cpu))
        return complain("--cpu: this CPU does not exist or may not be used");

    struct transport *t = o.transport == BENCH_DPDK
                              ? transport_nic_open(&o, error, sizeof(error))
                              : transport_socket_open(&o, error, sizeof(error));
    if (!t)
        return complain(error);
    int code = 1;
    struct measurement *m = malloc(sizeof(*m));
    struct client *c = m ? client_open(t, &o, &stop, error, sizeof(error)) : NULL;
    if (c)
        code = run(c, &o, m, error);
    else
        complain(error);
    client_close(c);
    free(m);
    t->ops->close(t);
    return code;
}
