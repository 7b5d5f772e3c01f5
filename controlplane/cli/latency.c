// polluxctl latency: how long the calls of each command took, as figures and as a picture of their
// distribution, and the events that took long.
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/table.h"
#include "controlplane/cli/run.h"
#include "controlplane/cli/show.h"

#define EXECUTE_S 35 // the control plane gives up on the command before that
// Columns of the picture: calls of up to 1, 2, 4 … microseconds; the last has all that are longer.
#define COLUMNS 22
#define COLUMNS_TITLE "1us       1ms       1s"

// What a subcommand's answer is made of.
struct looked {
    struct resp_value *histograms, *latest, *threshold;
};

static struct resp_value *execute(struct ctl_client *c, const char *a, const char *b, const char *d)
{
    const char *words[] = {"EXECUTE", a, b, d};
    return ask(c, d ? 4 : 3, words, EXECUTE_S);
}

static void forget(struct looked *l)
{
    resp_value_free(l->histograms);
    resp_value_free(l->latest);
    resp_value_free(l->threshold);
}

static bool look(struct ctl_client *c, struct looked *l)
{
    *l = (struct looked){.histograms = execute(c, "LATENCY", "HISTOGRAM", NULL)};
    if (l->histograms)
        l->latest = execute(c, "LATENCY", "LATEST", NULL);
    if (l->latest)
        l->threshold = execute(c, "CONFIG", "GET", "latency-monitor-threshold");
    if (!l->threshold)
        return false;
    if (l->histograms->type == '%' && l->latest->type == '*' && l->threshold->type == '%' &&
        (!l->histograms->n || resp_member(&l->histograms->items[1], "max_usec")))
        return true;
    complain("the server is of another version: its answer cannot be shown");
    return false;
}

static int64_t threshold_ms(const struct looked *l)
{
    return strtoll(resp_member_string(l->threshold, "latency-monitor-threshold"), NULL, 10);
}

// --- for people ----------------------------------------------------------------------------------

// Of the calls up to each limit, those between it and the one before.
static void picture(const struct resp_value *counts, char *to, size_t size)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char plain[] = ".:-=+*#%";
    bool utf8 = strcasecmp(nl_langinfo(CODESET), "UTF-8") == 0;
    int64_t column[COLUMNS] = {0}, most = 0, before = 0;
    for (size_t i = 0; counts && i + 1 < counts->n; i += 2) {
        unsigned at = 0;
        while (at < COLUMNS - 1 &&
               (INT64_C(1) << at) + (INT64_C(1) << at) / 8 < counts->items[i].integer)
            at++;
        column[at] += counts->items[i + 1].integer - before;
        before = counts->items[i + 1].integer;
    }
    unsigned last = 0;
    for (unsigned i = 0; i < COLUMNS; i++) {
        most = column[i] > most ? column[i] : most;
        last = column[i] ? i : last;
    }
    size_t n = 0;
    to[0] = '\0';
    for (unsigned i = 0; most && i <= last && n + 4 < size; i++) {
        // Few are seen beside many.
        unsigned level = (unsigned)(column[i] * 7 / most);
        int added = !column[i] ? snprintf(to + n, size - n, " ")
                    : utf8     ? snprintf(to + n, size - n, "%s", blocks[level])
                               : snprintf(to + n, size - n, "%c", plain[level]);
        n += (size_t)added;
    }
}

static const char *human_double_us(double us)
{
    static char text[4][24];
    static unsigned next;
    char *to = text[next++ % 4];
    if (us < 100) {
        snprintf(to, sizeof(text[0]), "%.1fus", us);
        return to;
    }
    return human_us((int64_t)(us + 0.5));
}

struct row {
    const struct resp_value *name, *figures;
};

static int by_worst(const void *a, const void *b)
{
    double x = resp_member_double(((const struct row *)a)->figures, "p99_usec");
    double y = resp_member_double(((const struct row *)b)->figures, "p99_usec");
    return (x < y) - (x > y);
}

static void commands_show(const struct resp_value *v)
{
    static const char *const names[] = {"COMMAND", "CALLS", "P50",        "P99",
                                        "P99.9",   "MAX",   COLUMNS_TITLE};
    static const char *const members[] = {"p50_usec", "p99_usec", "p99.9_usec", "max_usec"};
    struct row *rows = calloc(v->n / 2 + 1, sizeof(*rows));
    struct table t;
    char bars[3 * COLUMNS + 1];
    if (!rows)
        return;
    for (size_t i = 0; i + 1 < v->n; i += 2)
        rows[i / 2] = (struct row){&v->items[i], &v->items[i + 1]};
    qsort(rows, v->n / 2, sizeof(*rows), by_worst);
    table_init(&t, 7, names, 0x3e);
    for (size_t i = 0; i < v->n / 2; i++) {
        const struct resp_value *f = rows[i].figures;
        table_put(&t, "%s", rows[i].name->text ? rows[i].name->text : "");
        table_put(&t, "%s", human_count(resp_member_integer(f, "calls")));
        for (unsigned m = 0; m < 4; m++)
            table_put(&t, "%s", human_double_us(resp_member_double(f, members[m])));
        picture(resp_member(f, "histogram_usec"), bars, sizeof(bars));
        table_put(&t, "%s", bars);
    }
    free(rows);
    table_heading("Commands, the slowest first");
    if (t.rows)
        table_print(&t, 2, true);
    else
        puts("  none was called, or latency-tracking is off");
}

static void events_show(const struct looked *l)
{
    static const char *const names[] = {"EVENT", "LAST", "AGO", "WORST"};
    struct table t;
    int64_t now = time(NULL);
    table_init(&t, 4, names, 0xe);
    for (size_t i = 0; i < l->latest->n; i++) {
        const struct resp_value *e = &l->latest->items[i];
        if (e->n < 4)
            continue;
        table_put(&t, "%s", e->items[0].text ? e->items[0].text : "");
        table_put(&t, "%lldms", (long long)e->items[2].integer);
        int64_t ago = now - e->items[1].integer;
        table_put(&t, "%s", human_seconds((double)(ago > 0 ? ago : 0)));
        table_put(&t, "%lldms", (long long)e->items[3].integer);
    }
    putchar('\n');
    table_heading("Events");
    bool any = t.rows > 0;
    if (any)
        table_print(&t, 2, true);
    else if (threshold_ms(l))
        printf("  none took %lld ms or longer\n", (long long)threshold_ms(l));
    if (!threshold_ms(l))
        puts("  none is watched: polluxctl config set latency-monitor-threshold MILLISECONDS");
    else if (any)
        puts("\npolluxctl execute LATENCY DOCTOR says what to do about them.");
}

// --- for programs --------------------------------------------------------------------------------

static void json_print(const struct looked *l, bool compact)
{
    static const char *const names[] = {"event", "last_time", "last_ms", "worst_ms"};
    struct resp_text t = {.resp = 3};
    resp_open(&t, '%');
    resp_put_string(&t, "commands");
    resp_put_value(&t, l->histograms);
    resp_field_integer(&t, "threshold_ms", threshold_ms(l));
    resp_field_open(&t, "events", '*');
    for (size_t i = 0; i < l->latest->n; i++) {
        const struct resp_value *e = &l->latest->items[i];
        resp_open(&t, '%');
        for (size_t k = 0; k < e->n && k < 4; k++) {
            resp_put_string(&t, names[k]);
            resp_put_value(&t, &e->items[k]);
        }
        resp_close(&t);
    }
    resp_close(&t);
    resp_close(&t);
    struct resp_value *v = t.failed ? NULL : resp_value_read(t.data, t.len);
    if (v)
        show_json(v, compact);
    resp_value_free(v);
    resp_text_free(&t);
}

int run_latency(struct ctl_client *c, const struct options *o)
{
    struct looked l;
    bool well = look(c, &l);
    if (well && o->json) {
        json_print(&l, o->watch_s > 0);
    } else if (well) {
        setlocale(LC_CTYPE, "");
        commands_show(l.histograms);
        events_show(&l);
    }
    forget(&l);
    return well ? DONE : FAILED;
}
