// polluxctl nic: device, queues, the device's own statistics, and the stack's counters by cause,
// with rates where it is watched. Names, groups and descriptions come from the server.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/table.h"
#include "controlplane/cli/run.h"
#include "controlplane/cli/show.h"

#define INT(v, name) resp_member_integer(v, name)
#define TEXT(v, name) resp_member_string(v, name)
#define COUNT(v, name) human_count(INT(v, name))
#define BYTES(v, name) human_bytes(INT(v, name))
#define CORES_SHOWN 8 // columns of single cores; more cores are shown in sum

// What the watched figures were one look ago.
static struct resp_value *last;
static double last_s;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// --- the device ----------------------------------------------------------------------------------

static void put_pair(struct table *t, const char *name, const char *text)
{
    table_put(t, "%s", name);
    table_put(t, "%s", text);
}

static void device_show(const struct resp_value *n)
{
    static const char *const names[] = {"", ""};
    struct table t;
    char text[80], offloads[80] = "";
    const struct resp_value *list = resp_member(n, "offloads");
    table_init(&t, 2, names, 0);
    snprintf(text, sizeof(text), "%s (%s)", TEXT(n, "device"), TEXT(n, "driver"));
    put_pair(&t, "Device", text);
    put_pair(&t, "MAC", TEXT(n, "mac"));
    put_pair(&t, "Addresses", TEXT(n, "address"));
    if (INT(n, "mtu_max"))
        snprintf(text, sizeof(text), "%lld (the port allows %lld)", (long long)INT(n, "mtu"),
                 (long long)INT(n, "mtu_max"));
    else
        snprintf(text, sizeof(text), "%lld", (long long)INT(n, "mtu"));
    put_pair(&t, "MTU", text);
    if (INT(n, "vlan")) {
        snprintf(text, sizeof(text), "%lld", (long long)INT(n, "vlan"));
        put_pair(&t, "VLAN", text);
    }
    if (INT(n, "link_mbps"))
        snprintf(text, sizeof(text), "%s, %lld Mbit/s", INT(n, "link_up") ? "up" : "DOWN",
                 (long long)INT(n, "link_mbps"));
    else
        snprintf(text, sizeof(text), "%s", INT(n, "link_up") ? "up" : "DOWN");
    put_pair(&t, "Link", text);
    for (size_t i = 0; list && i < list->n && list->items[i].text; i++) {
        size_t at = strlen(offloads);
        snprintf(offloads + at, sizeof(offloads) - at, "%s%s", at ? " " : "", list->items[i].text);
    }
    put_pair(&t, "Offloads", *offloads ? offloads : "none (all done in software)");
    snprintf(text, sizeof(text), "%lld, RSS %s", (long long)INT(n, "queues"),
             INT(n, "rss") ? "on" : "off");
    put_pair(&t, "Queues", text);
    put_pair(&t, "Flows", TEXT(n, "spread"));
    put_pair(&t, "Memory", INT(n, "huge_pages") ? "hugepages" : "pages of 4 KiB");
    table_print(&t, 0, false);
}

static void queues_show(const struct resp_value *v)
{
    static const char *const names[] = {"CORE",      "RX FRAMES", "RX BYTES",  "RX MISSED",
                                        "NO BUFFER", "RX ERRORS", "TX FRAMES", "TX BYTES",
                                        "REFUSED",   "TX ERRORS", "RX FREE",   "TX FREE"};
    struct table t;
    table_init(&t, 12, names, 0xfff);
    for (size_t i = 0; i < v->n; i++) {
        const struct resp_value *n = &v->items[i];
        if (!resp_member(n, "rx_frames"))
            continue; // fewer queues than cores
        table_put(&t, "%lld", (long long)INT(n, "core"));
        table_put(&t, "%s", COUNT(n, "rx_frames"));
        table_put(&t, "%s", BYTES(n, "rx_bytes"));
        table_put(&t, "%s", COUNT(n, "rx_missed"));
        table_put(&t, "%s", COUNT(n, "rx_no_buffer"));
        table_put(&t, "%s", COUNT(n, "rx_errors"));
        table_put(&t, "%s", COUNT(n, "tx_frames"));
        table_put(&t, "%s", BYTES(n, "tx_bytes"));
        table_put(&t, "%s", COUNT(n, "tx_refused"));
        table_put(&t, "%s", COUNT(n, "tx_errors"));
        table_put(&t, "%lld/%lld", (long long)INT(n, "rx_pool_free"),
                  (long long)INT(n, "rx_pool_size"));
        table_put(&t, "%lld/%lld", (long long)INT(n, "tx_pool_free"),
                  (long long)INT(n, "tx_pool_size"));
    }
    putchar('\n');
    table_heading("Queues");
    table_print(&t, 2, true);
}

// --- figures with names --------------------------------------------------------------------------

static int64_t figure(const struct resp_value *core, const char *map, const char *name)
{
    return INT(resp_member(core, map), name);
}

static int64_t figure_sum(const struct resp_value *v, const char *map, const char *name)
{
    int64_t sum = 0;
    for (size_t i = 0; v && i < v->n; i++)
        sum += figure(&v->items[i], map, name);
    return sum;
}

// A table of figures: name, sum, rate where it is watched, single cores, description.
struct figures {
    const struct resp_value *cores;
    const struct options *o;
    const char *map;
    double seconds; // since the last look; 0: there was none
    struct table table;
    const char *names[TABLE_COLUMNS_MAX];
};

static void figures_begin(struct figures *f, const struct resp_value *cores,
                          const struct options *o, const char *map, bool single)
{
    static char core_names[CORES_SHOWN][16];
    *f = (struct figures){.cores = cores, .o = o, .map = map};
    f->seconds = last && now_s() > last_s ? now_s() - last_s : 0;
    unsigned n = 0;
    uint32_t right = 0;
    f->names[n++] = "COUNTER";
    right |= 1u << n;
    f->names[n++] = "TOTAL";
    if (o->watch_s > 0) {
        right |= 1u << n;
        f->names[n++] = "A SECOND";
    }
    for (size_t i = 0; single && cores->n > 1 && cores->n <= CORES_SHOWN && i < cores->n; i++) {
        snprintf(core_names[i], sizeof(core_names[i]), "CORE %lld",
                 (long long)INT(&cores->items[i], "core"));
        right |= 1u << n;
        f->names[n++] = core_names[i];
    }
    if (o->explain && single)
        f->names[n++] = "WHAT IT COUNTS";
    table_init(&f->table, n, f->names, right);
}

static void figures_put(struct figures *f, const char *name, const char *text)
{
    int64_t sum = figure_sum(f->cores, f->map, name);
    if (!sum && !f->o->all)
        return;
    unsigned n = 0;
    table_put(&f->table, "%s", name);
    table_put(&f->table, "%lld", (long long)sum);
    n += 2;
    if (f->o->watch_s > 0) {
        int64_t more = sum - figure_sum(last, f->map, name);
        if (f->seconds > 0 && more)
            table_put(&f->table, "%.1f", (double)more / f->seconds);
        else
            table_put(&f->table, "%s", "");
        n++;
    }
    unsigned singles = f->table.columns - n - (text ? 1 : 0);
    for (unsigned i = 0; i < singles; i++)
        table_put(&f->table, "%lld", (long long)figure(&f->cores->items[i], f->map, name));
    if (text)
        table_put(&f->table, "%s", text);
}

static void figures_end(struct figures *f, const char *heading)
{
    if (!f->table.rows)
        return;
    putchar('\n');
    table_heading(heading);
    table_print(&f->table, 2, true);
}

static void group_show(const struct resp_value *v, const struct options *o,
                       const struct resp_value *about, const char *group, const char *heading)
{
    struct figures f;
    figures_begin(&f, v, o, "counters", true);
    for (size_t i = 0; i + 1 < about->n; i += 2) {
        const struct resp_value *a = &about->items[i + 1];
        if (a->n < 2 || !about->items[i].text || !a->items[0].text ||
            strcmp(a->items[0].text, group) != 0)
            continue;
        figures_put(&f, about->items[i].text, o->explain ? a->items[1].text : NULL);
    }
    figures_end(&f, heading);
}

static void counters_show(const struct resp_value *v, const struct options *o)
{
    static const char *const groups[][2] = {
        {"DROPS", "Drops"},
        {"DEFENCES", "Defences"},
        {"TCP", "TCP"},
        {"RECOVERY", "Recovery"},
        {"IP", "IP"},
        {"ICMP", "ICMP"},
        {"NEIGHBOUR", "Neighbours"},
        {"FRAMES", "Frames"},
        {"QUEUES", "Flows and queues"},
        {"MEMORY", "Memory and its bounds"},
    };
    const unsigned known = sizeof(groups) / sizeof(groups[0]);
    const struct resp_value *about = v->n ? resp_member(&v->items[0], "about") : NULL;
    if (!about)
        return;
    for (unsigned i = 0; i < known; i++)
        group_show(v, o, about, groups[i][0], groups[i][1]);
    // A group of a newer server.
    for (size_t i = 0; i + 1 < about->n; i += 2) {
        const struct resp_value *a = &about->items[i + 1];
        bool shown = a->n < 2 || !a->items[0].text;
        for (unsigned k = 0; !shown && k < known; k++)
            shown = strcmp(groups[k][0], a->items[0].text) == 0;
        for (size_t k = 0; !shown && k < i; k += 2)
            shown = about->items[k + 1].n && about->items[k + 1].items[0].text &&
                    strcmp(about->items[k + 1].items[0].text, a->items[0].text) == 0;
        if (!shown)
            group_show(v, o, about, a->items[0].text, a->items[0].text);
    }
}

static void xstats_show(const struct resp_value *v, const struct options *o)
{
    struct figures f;
    const struct resp_value *port = v->n ? resp_member(&v->items[0], "port") : NULL;
    figures_begin(&f, v, o, "port", false);
    for (size_t i = 0; port && i + 1 < port->n; i += 2)
        if (port->items[i].text)
            figures_put(&f, port->items[i].text, NULL);
    figures_end(&f, "Statistics of the device");
}

// --- running -------------------------------------------------------------------------------------

int run_nic(struct ctl_client *c, const struct options *o)
{
    const char *command = "NIC";
    struct resp_value *v = ask(c, 1, &command, ANSWER_S);
    if (!v)
        return FAILED;
    if (v->type != '*' || !v->n) {
        resp_value_free(v);
        return complain("the control plane is of another version: its answer cannot be shown");
    }
    if (o->json) {
        show_json(v, o->watch_s > 0);
        resp_value_free(v);
        return DONE;
    }
    const struct resp_value *first = &v->items[0];
    if (strcmp(TEXT(first, "transport"), "dpdk") == 0) {
        device_show(first);
        queues_show(v);
        xstats_show(v, o);
    } else {
        printf("transport %s: the kernel has the NIC (see ip -s link, ethtool -S); these are the "
               "server's own counters\n",
               TEXT(first, "transport"));
    }
    counters_show(v, o);
    resp_value_free(last);
    last = v;
    last_s = now_s();
    return DONE;
}
