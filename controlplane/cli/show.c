#include "controlplane/cli/show.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/table.h"

#define INT(v, name) resp_member_integer(v, name)
#define TEXT(v, name) resp_member_string(v, name)
#define COUNT(v, name) human_count(INT(v, name))
#define BYTES(v, name) human_bytes(INT(v, name))

// --- status --------------------------------------------------------------------------------------

static void status_processes(const struct resp_value *v)
{
    static const char *const names[] = {"", "", "", ""};
    const struct resp_value *data = resp_member(v, "data_plane"),
                            *control = resp_member(v, "control_plane"),
                            *supervisor = resp_member(v, "supervisor");
    struct table t;
    table_init(&t, 4, names, 0);
    table_put(&t, "data plane");
    if (INT(data, "attached")) {
        table_put(&t, "pid %lld", (long long)INT(data, "pid"));
        table_put(&t, "up %s", human_seconds(resp_member_double(data, "uptime_seconds")));
        int64_t hung = INT(data, "hung_cores"), cores = INT(data, "cores");
        const char *device = TEXT(v, "device");
        if (hung)
            table_put(&t, "%lld of %lld cores HANG", (long long)hung, (long long)cores);
        else
            table_put(&t, "attached, %s, %lld core%s, transport %s%s%s",
                      INT(data, "ready") ? "serves" : "is starting", (long long)cores,
                      cores == 1 ? "" : "s", TEXT(v, "transport"), *device ? " on " : "", device);
    } else {
        table_put(&t, "-");
        table_put(&t, "-");
        table_put(&t, "NOT ATTACHED: it is starting, or it has ended (see its log)");
    }
    table_put(&t, "control plane");
    table_put(&t, "pid %lld", (long long)INT(control, "pid"));
    table_put(&t, "up %s", human_seconds(resp_member_double(control, "uptime_seconds")));
    table_put(&t, "generation %lld", (long long)INT(control, "generation"));
    table_put(&t, "supervisor");
    if (supervisor)
        table_put(&t, "pid %lld", (long long)INT(supervisor, "pid"));
    else
        table_put(&t, "none");
    table_put(&t, "%s", "");
    table_put(&t, "%s", "");
    table_heading("Processes");
    table_print(&t, 2, false);
}

static void status_cores(const struct resp_value *cores)
{
    static const char *const names[] = {"CORE", "CPU", "BUSY", "OPS/S", ""};
    struct table t;
    table_init(&t, 5, names, 0xf);
    for (size_t i = 0; cores && i < cores->n; i++) {
        const struct resp_value *c = &cores->items[i];
        table_put(&t, "%lld", (long long)INT(c, "core"));
        if (INT(c, "cpu") < 0)
            table_put(&t, "any");
        else
            table_put(&t, "%lld", (long long)INT(c, "cpu"));
        table_put(&t, "%.1f %%", resp_member_double(c, "busy_percent"));
        table_put(&t, "%s", COUNT(c, "ops_per_second"));
        table_put(&t, "%s", INT(c, "hung") ? "HANGS" : "");
    }
    table_heading("Cores");
    table_print(&t, 2, true);
}

static void status_figures(const struct resp_value *v)
{
    static const char *const names[] = {"", ""};
    const struct resp_value *memory = resp_member(v, "memory"),
                            *clients = resp_member(v, "clients"),
                            *commands = resp_member(v, "commands"), *keys = resp_member(v, "keys"),
                            *lease = resp_member(v, "lease");
    struct table t;
    table_init(&t, 2, names, 0);
    if (memory) {
        int64_t max = INT(memory, "max_bytes");
        table_put(&t, "Memory");
        table_put(&t, "%s used, %s resident, limit %s", BYTES(memory, "used_bytes"),
                  BYTES(memory, "resident_bytes"), max ? human_bytes(max) : "none");
        table_put(&t, "Keys");
        table_put(&t, "%s, %s hits, %s misses, %s expired, %s evicted", COUNT(keys, "total"),
                  COUNT(keys, "hits"), COUNT(keys, "misses"), COUNT(keys, "expired"),
                  COUNT(keys, "evicted"));
        table_put(&t, "Clients");
        table_put(&t, "%s, %s received, %s rejected", COUNT(clients, "connected"),
                  COUNT(clients, "received"), COUNT(clients, "rejected"));
        table_put(&t, "Commands");
        table_put(&t, "%s/s, %s in all, %s errors, %s in, %s out", COUNT(commands, "per_second"),
                  COUNT(commands, "total"), COUNT(commands, "errors"), BYTES(commands, "bytes_in"),
                  BYTES(commands, "bytes_out"));
    }
    table_put(&t, "Lease");
    if (resp_member(lease, "seconds_left"))
        table_put(&t, "%s, %.1f s left, generation %lld", TEXT(lease, "state"),
                  resp_member_double(lease, "seconds_left"), (long long)INT(lease, "generation"));
    else
        table_put(&t, "%s, generation %lld", TEXT(lease, "state"),
                  (long long)INT(lease, "generation"));
    table_print(&t, 0, false);
}

void show_status(const struct resp_value *v)
{
    printf("Pollux %s on port %lld (%s)\n\n", TEXT(v, "version"), (long long)INT(v, "port"),
           TEXT(v, "run_directory"));
    status_processes(v);
    putchar('\n');
    if (resp_member(v, "cores")) {
        status_cores(resp_member(v, "cores"));
        putchar('\n');
    }
    status_figures(v);
}

// --- cores ---------------------------------------------------------------------------------------

void show_cores(const struct resp_value *v)
{
    static const char *const work[] = {"CORE",      "CPU",     "BUSY", "OPS/S",  "COMMANDS",
                                       "CLIENTS",   "KEYS",    "USED", "IN",     "OUT",
                                       "FORWARDED", "BORROWS", "FULL", "SLEEPS", "HEARTBEAT"};
    struct table t;
    table_init(&t, 15, work, 0x7fff);
    for (size_t i = 0; i < v->n; i++) {
        const struct resp_value *c = &v->items[i];
        table_put(&t, "%lld", (long long)INT(c, "core"));
        if (INT(c, "cpu") < 0)
            table_put(&t, "any");
        else
            table_put(&t, "%lld", (long long)INT(c, "cpu"));
        table_put(&t, "%.1f %%", resp_member_double(c, "busy_percent"));
        table_put(&t, "%s", COUNT(c, "ops_per_second"));
        table_put(&t, "%s", COUNT(c, "commands"));
        table_put(&t, "%s", COUNT(c, "clients"));
        table_put(&t, "%s", COUNT(c, "keys"));
        table_put(&t, "%s", BYTES(c, "memory_used"));
        table_put(&t, "%s", BYTES(c, "bytes_in"));
        table_put(&t, "%s", BYTES(c, "bytes_out"));
        table_put(&t, "%s", COUNT(c, "forwarded"));
        table_put(&t, "%s", COUNT(c, "borrows"));
        table_put(&t, "%s", COUNT(c, "mailbox_full"));
        table_put(&t, "%s", COUNT(c, "sleeps"));
        if (INT(c, "hung"))
            table_put(&t, "HANGS");
        else
            table_put(&t, "%s", human_us(INT(c, "heartbeat_age_us")));
    }
    table_print(&t, 0, true);
    static const char *const stages[] = {"CORE",  "RECEIVE", "MAILBOX",  "PARSE", "EXECUTE",
                                         "REPLY", "TIMERS",  "TRANSMIT", "IDLE"};
    static const char *const members[] = {"receive", "mailbox", "parse",    "execute",
                                          "reply",   "timers",  "transmit", "idle"};
    putchar('\n');
    table_heading("Where the cycles of the last second went, in percent");
    table_init(&t, 9, stages, 0x1ff);
    for (size_t i = 0; i < v->n; i++) {
        const struct resp_value *shares = resp_member(&v->items[i], "stage_percent");
        table_put(&t, "%lld", (long long)INT(&v->items[i], "core"));
        for (unsigned j = 0; j < 8; j++)
            table_put(&t, "%.1f", resp_member_double(shares, members[j]));
    }
    table_print(&t, 0, true);
}

// --- neighbours ----------------------------------------------------------------------------------

void show_neighbours(const struct resp_value *v)
{
    static const char *const names[] = {"CORE", "ADDRESS", "MAC", "STATE", "AGE"};
    struct table t;
    table_init(&t, 5, names, 0x11);
    for (size_t i = 0; i < v->n; i++) {
        const struct resp_value *n = &v->items[i];
        table_put(&t, "%lld", (long long)INT(n, "core"));
        table_put(&t, "%s", TEXT(n, "address"));
        table_put(&t, "%s", *TEXT(n, "mac") ? TEXT(n, "mac") : "-");
        table_put(&t, "%s", TEXT(n, "state"));
        table_put(&t, "%s", human_seconds(resp_member_double(n, "age_seconds")));
    }
    table_print(&t, 0, true);
}

// --- any reply -----------------------------------------------------------------------------------

void show_pairs(const struct resp_value *v)
{
    size_t width = 0;
    for (size_t i = 0; i + 1 < v->n; i += 2)
        if (v->items[i].len > width)
            width = v->items[i].len;
    for (size_t i = 0; i + 1 < v->n; i += 2)
        printf("%-*s  %s\n", (int)width, v->items[i].text ? v->items[i].text : "",
               v->items[i + 1].text ? v->items[i + 1].text : "");
}

static void value_print(const struct resp_value *v, unsigned indent)
{
    if (v->null) {
        puts("(nil)");
    } else if (strchr("*~>%", v->type)) {
        unsigned step = v->type == '%' ? 2 : 1;
        if (!v->n)
            puts("(empty)");
        for (size_t i = 0; i < v->n; i += step) {
            int n = printf("%*s%zu%c ", i ? (int)indent : 0, "", i / step + 1, ")#"[step == 2]);
            if (step == 2) {
                fwrite(v->items[i].text ? v->items[i].text : "?", 1,
                       v->items[i].text ? v->items[i].len : 1, stdout);
                fputs(" => ", stdout);
            }
            value_print(&v->items[i + step - 1], (i ? 0 : indent) + (unsigned)n);
        }
    } else {
        if (v->type == ':')
            fputs("(integer) ", stdout);
        else if (v->type == '-' || v->type == '!')
            fputs("(error) ", stdout);
        fwrite(v->text, 1, v->len, stdout);
        putchar('\n');
    }
}

void show_value(const struct resp_value *v)
{
    value_print(v, 0);
}

static json_t *json_text(const char *text, size_t len)
{
    json_t *j = json_stringn(text, len);
    if (j)
        return j;
    // Not UTF-8: each byte as the character of that number.
    char *wide = malloc(2 * len + 1);
    size_t n = 0;
    for (size_t i = 0; wide && i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x80) {
            wide[n++] = (char)c;
        } else {
            wide[n++] = (char)(0xc0 | (c >> 6));
            wide[n++] = (char)(0x80 | (c & 0x3f));
        }
    }
    j = wide ? json_stringn(wide, n) : NULL;
    free(wide);
    return j;
}

static json_t *json_of(const struct resp_value *v)
{
    json_t *j;
    if (v->null)
        return json_null();
    switch (v->type) {
    case ':':
        return json_integer(v->integer);
    case '#':
        return json_boolean(v->integer);
    case ',':
        j = json_real(v->number);
        return j ? j : json_null(); // JSON knows no infinity
    case '%':
        j = json_object();
        for (size_t i = 0; i + 1 < v->n; i += 2) {
            json_t *name = v->items[i].text ? json_text(v->items[i].text, v->items[i].len) : NULL;
            if (name)
                json_object_set_new(j, json_string_value(name), json_of(&v->items[i + 1]));
            json_decref(name);
        }
        return j;
    case '*':
    case '~':
    case '>':
        j = json_array();
        for (size_t i = 0; i < v->n; i++)
            json_array_append_new(j, json_of(&v->items[i]));
        return j;
    default:
        return json_text(v->text, v->len);
    }
}

void show_json(const struct resp_value *v, bool compact)
{
    json_t *j = json_of(v);
    json_dumpf(j, stdout,
               JSON_ENCODE_ANY | JSON_REAL_PRECISION(9) |
                   (compact ? JSON_COMPACT : JSON_INDENT(2)));
    putchar('\n');
    json_decref(j);
}
