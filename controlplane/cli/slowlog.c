// polluxctl slowlog: commands that took long, of all cores or of one, as lines; followed, each as
// it comes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/table.h"
#include "controlplane/cli/run.h"
#include "controlplane/cli/show.h"

#define FOLLOW_S 1.0 // between two looks
#define EXECUTE_S 35 // the control plane gives up on the command before that

// An entry as the server tells it to the control plane: id, time, microseconds, arguments, client,
// its name, core.
enum { AT_ID, AT_TIME, AT_US, AT_ARGS, AT_CLIENT, AT_NAME, AT_CORE, ENTRY_FIELDS };

static bool is_entry(const struct resp_value *e)
{
    return e->type == '*' && e->n == ENTRY_FIELDS && e->items[AT_ARGS].type == '*';
}

static const char *text_of(const struct resp_value *v)
{
    return v->text ? v->text : "";
}

// A word as redis-cli would take it: quoted where it has blanks or what does not print.
static void word_print(const struct resp_value *v)
{
    bool quoted = !v->len;
    for (size_t i = 0; i < v->len; i++)
        quoted |= (unsigned char)v->text[i] <= ' ' || (unsigned char)v->text[i] > '~' ||
                  v->text[i] == '"' || v->text[i] == '\\';
    if (!quoted) {
        fwrite(v->text, 1, v->len, stdout);
        return;
    }
    putchar('"');
    for (size_t i = 0; i < v->len; i++) {
        unsigned char b = (unsigned char)v->text[i];
        if (b == '"' || b == '\\')
            printf("\\%c", b);
        else if (b < ' ' || b > '~')
            printf("\\x%02x", b);
        else
            putchar(b);
    }
    putchar('"');
}

static void head_print(void)
{
    table_heading(
        "      ID  TIME                      TOOK  CORE  CLIENT                  COMMAND");
}

static void entry_print(const struct resp_value *e)
{
    char when[32] = "", who[160];
    time_t seconds = (time_t)e->items[AT_TIME].integer;
    struct tm tm;
    if (localtime_r(&seconds, &tm))
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    const char *name = text_of(&e->items[AT_NAME]);
    snprintf(who, sizeof(who), "%s%s%s%s", text_of(&e->items[AT_CLIENT]), *name ? " (" : "", name,
             *name ? ")" : "");
    printf("%8lld  %s  %9s  %4lld  %-22s ", (long long)e->items[AT_ID].integer, when,
           human_us(e->items[AT_US].integer), (long long)e->items[AT_CORE].integer, who);
    const struct resp_value *args = &e->items[AT_ARGS];
    for (size_t i = 0; i < args->n; i++) {
        putchar(' ');
        word_print(&args->items[i]);
    }
    putchar('\n');
}

static void entry_put(struct resp_text *t, const struct resp_value *e)
{
    resp_open(t, '%');
    resp_field_integer(t, "id", e->items[AT_ID].integer);
    resp_field_integer(t, "time", e->items[AT_TIME].integer);
    resp_field_integer(t, "duration_us", e->items[AT_US].integer);
    resp_field_integer(t, "core", e->items[AT_CORE].integer);
    resp_field_string(t, "client", text_of(&e->items[AT_CLIENT]));
    resp_field_string(t, "name", text_of(&e->items[AT_NAME]));
    resp_put_string(t, "arguments");
    resp_put_value(t, &e->items[AT_ARGS]);
    resp_close(t);
}

static void json_print(struct resp_text *t, bool compact)
{
    struct resp_value *v = t->failed ? NULL : resp_value_read(t->data, t->len);
    if (v)
        show_json(v, compact);
    resp_value_free(v);
    resp_text_free(t);
}

static bool wanted(const struct options *o, const struct resp_value *e)
{
    return is_entry(e) && (o->core < 0 || e->items[AT_CORE].integer == o->core);
}

// All entries, the newest first. NULL after a complaint.
static struct resp_value *entries(struct ctl_client *c)
{
    static const char *const words[] = {"EXECUTE", "SLOWLOG", "GET", "-1"};
    struct resp_value *v = ask(c, 4, words, EXECUTE_S);
    if (!v || (v->type == '*' && (!v->n || v->items[0].n == ENTRY_FIELDS)))
        return v;
    resp_value_free(v);
    complain("the server is of another version: its answer cannot be shown");
    return NULL;
}

static void show_all(const struct resp_value *v, const struct options *o)
{
    uint64_t shown = 0;
    struct resp_text t = {.resp = 3};
    if (o->json)
        resp_open(&t, '*');
    for (size_t i = 0; i < v->n && (!o->limit || shown < o->limit); i++) {
        if (!wanted(o, &v->items[i]))
            continue;
        if (o->json)
            entry_put(&t, &v->items[i]);
        else if (!shown)
            head_print();
        if (!o->json)
            entry_print(&v->items[i]);
        shown++;
    }
    if (o->json) {
        resp_close(&t);
        json_print(&t, o->watch_s > 0);
    } else if (!shown) {
        puts("The slow log is empty: slowlog-log-slower-than says from how many microseconds on a "
             "command goes there.");
    }
}

// Those behind `last`, the oldest first. Returns the newest's id.
static int64_t show_new(const struct resp_value *v, const struct options *o, int64_t last)
{
    int64_t newest = v->n ? v->items[0].items[AT_ID].integer : -1;
    if (newest < last) // the server is another one
        last = -1;
    for (size_t i = v->n; i-- > 0;) {
        const struct resp_value *e = &v->items[i];
        if (!wanted(o, e) || e->items[AT_ID].integer <= last)
            continue;
        if (o->json) {
            struct resp_text t = {.resp = 3};
            entry_put(&t, e);
            json_print(&t, true);
        } else {
            entry_print(e);
        }
    }
    fflush(stdout);
    return newest > last ? newest : last;
}

static int follow(struct ctl_client *c, const struct options *o)
{
    int64_t last = -1;
    interrupt_catch();
    if (!o->json)
        head_print();
    while (!interrupted) {
        struct resp_value *v = entries(c);
        if (!v)
            return interrupted ? DONE : FAILED;
        last = show_new(v, o, last);
        resp_value_free(v);
        if (ferror(stdout))
            return FAILED;
        double s = o->seconds > 0 ? o->seconds : FOLLOW_S;
        struct timespec t = {.tv_sec = (time_t)s, .tv_nsec = (long)((s - (double)(time_t)s) * 1e9)};
        if (!interrupted)
            nanosleep(&t, NULL);
    }
    return DONE;
}

int run_slowlog(struct ctl_client *c, const struct options *o)
{
    if (o->follow)
        return follow(c, o);
    struct resp_value *v = entries(c);
    if (!v)
        return FAILED;
    show_all(v, o);
    resp_value_free(v);
    return DONE;
}
