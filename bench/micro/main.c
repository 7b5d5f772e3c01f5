// pollux-micro: what each stage of a request costs.
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench/micro/plan.h"

#define COLUMNS_MIN 60
#define COLUMNS_MAX 110

static void list_stages(const struct plan *p)
{
    const struct stage_kind *last = NULL;
    for (unsigned i = 0; i < p->n_stages; i++) {
        const struct stage *s = &p->stages[i];
        printf("%-22s %s\n", s->name, s->kind == last ? "" : s->kind->help);
        last = s->kind;
    }
}

static bool print_head;

static void print_row(const struct result *result)
{
    if (print_head)
        results_head(stdout);
    print_head = false;
    results_row(result, stdout);
}

// What callgrind_run reads.
static void print_counted(const struct result *result)
{
    micro_dump();
    printf("%s %lu %lu\n", result->stage->name, (unsigned long)result->keys,
           (unsigned long)result->ops);
    fflush(stdout);
}

static void print_tables(const struct results *r)
{
    if (r->n_tables)
        printf("\n");
    for (unsigned i = 0; i < r->n_tables; i++) {
        const struct table_memory *t = &r->tables[i];
        printf("table of %lu keys: %.1f MB, %.1f MB resident (%.0f bytes a key), %.1f MB of the "
               "process in hugepages\n",
               (unsigned long)t->keys, (double)t->bytes / 1e6, (double)t->resident_bytes / 1e6,
               (double)t->resident_bytes / (double)t->keys, (double)t->huge_bytes / 1e6);
    }
}

static struct look look_of(const struct plan *p)
{
    struct winsize window;
    struct look look = {.columns = 100};
    look.ascii = p->ascii || strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
    if (ioctl(1, TIOCGWINSZ, &window) == 0 && window.ws_col)
        look.columns = window.ws_col;
    if (look.columns < COLUMNS_MIN)
        look.columns = COLUMNS_MIN;
    if (look.columns > COLUMNS_MAX)
        look.columns = COLUMNS_MAX;
    return look;
}

static bool stay_on(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return cpu < CPU_SETSIZE && sched_setaffinity(0, sizeof(set), &set) == 0;
}

static bool run(const struct plan *p, struct results *r, char *error, size_t size)
{
    if (p->callgrind) // its own table is all there is to see
        return callgrind_run(p, r, p->json ? NULL : print_row, error, size);
    if (p->counted)
        return plan_run(p, r, print_counted, error, size);
    return plan_run(p, r, p->json ? NULL : print_row, error, size);
}

int main(int argc, char **argv)
{
    static struct plan plan;
    static struct results results;
    char error[400];
    setlocale(LC_CTYPE, "");
    switch (plan_read(&plan, argc, argv, error, sizeof(error))) {
    case PLAN_HELP:
        fputs(plan_help, stdout);
        return 0;
    case PLAN_BAD:
        fprintf(stderr, "pollux-micro: %s\n", error);
        return 2;
    case PLAN_RUN:
        break;
    }
    if (plan.list) {
        list_stages(&plan);
        return 0;
    }
    if (plan.cpu >= 0 && !stay_on(plan.cpu)) {
        fprintf(stderr, "pollux-micro: --cpu %d: there is no such CPU for this process\n",
                plan.cpu);
        return 2;
    }
    if (plan.callgrind && !callgrind_possible(error, sizeof(error))) {
        fprintf(stderr, "pollux-micro: %s\n", error);
        return 2;
    }
    if (!plan.counted) // callgrind would count what it does
        measure_start();
    machine_read(&results.machine);
    bool text = !plan.json && !plan.counted;
    print_head = text;
    if (text)
        results_machine(&results, plan.callgrind, stdout);
    bool good = run(&plan, &results, error, sizeof(error));
    if (good && plan.counted)
        printf("replies %lu\n", (unsigned long)results.replies);
    if (good && text) {
        struct look look = look_of(&plan);
        print_tables(&results);
        results_bars(&results, &look, stdout);
    }
    if (good && plan.json && !results_json(&results, stdout)) {
        snprintf(error, sizeof(error), "the results cannot be written");
        good = false;
    }
    if (good && plan.plot)
        good = results_plot(&results, plan.plot, error, sizeof(error));
    measure_end();
    if (good)
        return 0;
    fprintf(stderr, "pollux-micro: %s\n", error);
    return 1;
}
