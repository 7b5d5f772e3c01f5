// LATENCY GRAPH and DOCTOR: samples as people read them.
#include <inttypes.h>
#include <mimalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/outbuf.h"
#include "dataplane/commands/families.h"
#include "dataplane/commands/info.h"
#include "dataplane/commands/observe.h"

// --- GRAPH -------------------------------------------------------------------------------------

#define GRAPH_ROWS 4
#define GRAPH_COLUMNS 80
#define LABEL_MAX 8

static const char levels[] = "_o#"; // within a row, from below

// How long ago: "12s", "3m", "5h", "2d".
static void label_of(char text[LABEL_MAX], uint64_t ago_s)
{
    if (ago_s < 60)
        snprintf(text, LABEL_MAX, "%us", (unsigned)ago_s);
    else if (ago_s < 3600)
        snprintf(text, LABEL_MAX, "%um", (unsigned)(ago_s / 60));
    else if (ago_s < 86400)
        snprintf(text, LABEL_MAX, "%uh", (unsigned)(ago_s / 3600));
    else
        snprintf(text, LABEL_MAX, "%ud", (unsigned)(ago_s / 86400 % 100000));
}

// What stands in row `row`, counted from below, for a value of `step` of all steps.
static char cell(unsigned step, unsigned row)
{
    const unsigned per_row = sizeof(levels) - 1;
    if (step / per_row == row)
        return levels[step % per_row];
    return step / per_row > row ? '|' : ' ';
}

static void draw(struct request *r, const struct latency_series *s, struct out *o)
{
    uint32_t n = s->n < GRAPH_COLUMNS ? s->n : GRAPH_COLUMNS, first = s->n - n;
    uint32_t high = 0, low = UINT32_MAX;
    const unsigned steps = GRAPH_ROWS * (sizeof(levels) - 1);
    unsigned step[GRAPH_COLUMNS];
    char label[GRAPH_COLUMNS][LABEL_MAX];
    size_t longest = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t ms = s->sample[first + i].ms;
        high = ms > high ? ms : high;
        low = ms < low ? ms : low;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct latency_sample *at = &s->sample[first + i];
        step[i] = high == low ? 0 : (unsigned)((uint64_t)(at->ms - low) * steps / (high - low));
        if (step[i] == steps)
            step[i]--;
        uint64_t now_s = r->now_ms / 1000;
        label_of(label[i], now_s > at->time_s ? now_s - at->time_s : 0);
        size_t len = strlen(label[i]);
        longest = len > longest ? len : longest;
    }
    text_add(o, "%s - high %" PRIu32 " ms, low %" PRIu32 " ms (all time high %" PRIu32 " ms)\n",
             latency_names[s->event], high, low, s->max_ms);
    for (unsigned i = 0; i < GRAPH_COLUMNS; i++)
        out_write(o, "-", 1);
    out_write(o, "\n", 1);
    char line[GRAPH_COLUMNS];
    for (unsigned row = GRAPH_ROWS; row-- > 0;) {
        for (uint32_t i = 0; i < n; i++)
            line[i] = cell(step[i], row);
        text_add(o, "%.*s\n", (int)n, line);
    }
    text_add(o, "\n");
    for (size_t k = 0; k < longest; k++) {
        for (uint32_t i = 0; i < n; i++)
            line[i] = k < strlen(label[i]) ? label[i][k] : ' ';
        text_add(o, "%.*s\n", (int)n, line);
    }
}

void latency_graph_command(struct request *r)
{
    struct latency_series *all;
    if (!latency_gather(r, &all))
        return;
    unsigned event = 0;
    while (event < LATENCY_EVENTS && (strlen(latency_names[event]) != r->argv[2].len ||
                                      memcmp(latency_names[event], r->argv[2].ptr, r->argv[2].len)))
        event++;
    if (event == LATENCY_EVENTS || !all[event].n) {
        request_errorf(r, "ERR No samples available for event '%.*s'", (int)r->argv[2].len,
                       (const char *)r->argv[2].ptr);
    } else {
        struct outbuf text;
        outbuf_init(&text);
        all[event].event = event;
        draw(r, &all[event], &text.out);
        request_reply_text(r, &text);
    }
    mi_free(all);
}

// --- DOCTOR ------------------------------------------------------------------------------------

static const char *const advice[LATENCY_EVENTS] = {
    [LATENCY_COMMAND] =
        "SLOWLOG GET shows the commands that take long. Those that walk over a whole "
        "key or database (KEYS, SORT, large ranges) can be asked for in parts.",
    [LATENCY_FAST_COMMAND] =
        "A command that takes constant time took long: the core was held up. "
        ""
        "SLOWLOG GET tells which, not-scheduled how often the CPU was another's.",
    [LATENCY_COMMAND_UNBLOCKING] = "What a blocked command did when it was served took long.",
    [LATENCY_EXPIRE_CYCLE] = "Keys that expire take long: very many at once, or very large ones.",
    [LATENCY_EVICTION_CYCLE] =
        "Making room below maxmemory takes long: large values, or writes that "
        "are faster than eviction. A higher maxmemory helps.",
    [LATENCY_TURN] =
        "A core was busy with one round of its work for so long, and nothing that has a name of "
        "its own: many commands that are quick each, or the machine held it up.",
    [LATENCY_NOT_SCHEDULED] =
        "Another process ran on the CPU of a core. Give each core a CPU of its own "
        "(cores, isolcpus), and the other processes other CPUs.",
    [LATENCY_WAKE_UP] = "A core slept longer than it asked for: power saving of the CPU, or a busy "
                        "machine. idle-policy spin does not sleep.",
    [LATENCY_SERVICE_JOB] =
        "The service thread waited for a disk or a name server. Cores are not held "
        "up by it, but what waits for such an answer is.",
};

static void examine(const struct latency_series *s, unsigned number, struct out *o)
{
    uint64_t sum = 0, deviation = 0;
    for (uint32_t i = 0; i < s->n; i++)
        sum += s->sample[i].ms;
    uint32_t average = (uint32_t)(sum / s->n);
    for (uint32_t i = 0; i < s->n; i++)
        deviation += (uint64_t)labs((long)s->sample[i].ms - (long)average);
    uint32_t span_s = s->sample[s->n - 1].time_s - s->sample[0].time_s;
    text_add(o,
             "%u. %s: %" PRIu32 " spikes (average %" PRIu32 "ms, mean deviation %" PRIu64
             "ms, period %.2f sec). Worst all time event %" PRIu32 "ms.\n",
             number, latency_names[s->event], s->n, average, deviation / s->n,
             (double)span_s / s->n, s->max_ms);
}

void latency_doctor_command(struct request *r)
{
    char threshold[INFO_OPTION_MAX];
    struct latency_series *all;
    if (!latency_gather(r, &all))
        return;
    struct outbuf text;
    outbuf_init(&text);
    unsigned n = 0;
    for (unsigned i = 0; i < LATENCY_EVENTS; i++) {
        all[i].event = i;
        if (all[i].n)
            examine(&all[i], ++n, &text.out);
    }
    if (n)
        text_add(&text.out, "\n");
    for (unsigned i = 0; i < LATENCY_EVENTS; i++)
        if (all[i].n)
            text_add(&text.out, "- %s: %s\n", latency_names[i], advice[i]);
    if (!strcmp(info_option(r, "latency-monitor-threshold", threshold), "0"))
        text_add(&text.out, "Nothing is being watched: CONFIG SET latency-monitor-threshold "
                            "<milliseconds> begins with it.\n");
    else if (!n)
        text_add(&text.out, "Nothing took %s ms or longer so far.\n", threshold);
    request_reply_text(r, &text);
    mi_free(all);
}
