// LATENCY: what took long, as each core has seen it, put together by event.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/commands/families.h"
#include "dataplane/commands/observe.h"

const char *const latency_names[LATENCY_EVENTS] = {
    [LATENCY_COMMAND] = "command",
    [LATENCY_FAST_COMMAND] = "fast-command",
    [LATENCY_COMMAND_UNBLOCKING] = "command-unblocking",
    [LATENCY_EXPIRE_CYCLE] = "expire-cycle",
    [LATENCY_EVICTION_CYCLE] = "eviction-cycle",
    [LATENCY_TURN] = "turn",
    [LATENCY_NOT_SCHEDULED] = "not-scheduled",
    [LATENCY_WAKE_UP] = "wake-up",
    [LATENCY_SERVICE_JOB] = "service-job",
};

// --- series ------------------------------------------------------------------------------------

static void append(struct latency_series *s, struct latency_sample sample)
{
    if (s->n == LATENCY_SAMPLES) {
        memmove(s->sample, s->sample + 1, (LATENCY_SAMPLES - 1) * sizeof(s->sample[0]));
        s->n--;
    }
    s->sample[s->n++] = sample;
}

void latency_series_add(struct latency_series *s, uint32_t time_s, uint32_t ms)
{
    struct latency_sample *last = s->n ? &s->sample[s->n - 1] : NULL;
    if (ms > s->max_ms)
        s->max_ms = ms;
    if (!last || last->time_s != time_s)
        append(s, (struct latency_sample){time_s, ms});
    else if (ms > last->ms)
        last->ms = ms;
}

void latency_series_merge(struct latency_series *s, const struct latency_series *from)
{
    const struct latency_series own = *s;
    uint32_t max_ms = own.max_ms > from->max_ms ? own.max_ms : from->max_ms;
    uint32_t i = 0, k = 0;
    s->n = 0;
    while (i < own.n || k < from->n) {
        bool first = k == from->n || (i < own.n && own.sample[i].time_s <= from->sample[k].time_s);
        const struct latency_sample *next = first ? &own.sample[i++] : &from->sample[k++];
        latency_series_add(s, next->time_s, next->ms);
    }
    s->max_ms = max_ms;
}

// --- gathering ---------------------------------------------------------------------------------

static size_t series_bytes(const struct latency_series *s)
{
    return offsetof(struct latency_series, sample) + s->n * sizeof(s->sample[0]);
}

void latency_part(struct request *r)
{
    for (unsigned event = 0; event < LATENCY_EVENTS; event++) {
        const struct latency_series *s = r->services->latency_series(r->core, event);
        if (s && s->n)
            out_write(r->out, s, series_bytes(s));
    }
}

bool latency_gather(struct request *r, struct latency_series **by_event)
{
    struct latency_series *all = *by_event = mi_calloc(LATENCY_EVENTS, sizeof(*all));
    if (!all) {
        request_error(r, ERR_OOM);
        return false;
    }
    for (unsigned i = 0; i < r->n_parts; i++) {
        const uint8_t *at = r->parts[i].ptr, *end = at + r->parts[i].len;
        while (at && (size_t)(end - at) >= offsetof(struct latency_series, sample)) {
            struct latency_series one;
            memcpy(&one, at, offsetof(struct latency_series, sample));
            if ((size_t)(end - at) < series_bytes(&one))
                break; // that core was short of memory
            memcpy(one.sample, at + offsetof(struct latency_series, sample),
                   one.n * sizeof(one.sample[0]));
            at += series_bytes(&one);
            latency_series_merge(&all[one.event], &one);
        }
    }
    return true;
}

// The event that an argument names, LATENCY_EVENTS: there is none.
static unsigned event_of(const struct arg *a)
{
    unsigned event = 0;
    while (event < LATENCY_EVENTS && (strlen(latency_names[event]) != a->len ||
                                      memcmp(latency_names[event], a->ptr, a->len) != 0))
        event++;
    return event;
}

// --- LATEST, HISTORY, RESET --------------------------------------------------------------------

void latency_latest_command(struct request *r)
{
    struct latency_series *all;
    if (!latency_gather(r, &all))
        return;
    unsigned n = 0;
    for (unsigned i = 0; i < LATENCY_EVENTS; i++)
        n += all[i].n > 0;
    reply_array(r->out, n);
    for (unsigned i = 0; i < LATENCY_EVENTS; i++) {
        const struct latency_series *s = &all[i];
        if (!s->n)
            continue;
        reply_array(r->out, 4);
        reply_bulk_string(r->out, latency_names[i]);
        reply_integer(r->out, s->sample[s->n - 1].time_s);
        reply_integer(r->out, s->sample[s->n - 1].ms);
        reply_integer(r->out, s->max_ms);
    }
    mi_free(all);
}

void latency_history_command(struct request *r)
{
    unsigned event = event_of(&r->argv[2]);
    struct latency_series *all;
    if (!latency_gather(r, &all))
        return;
    uint32_t n = event < LATENCY_EVENTS ? all[event].n : 0;
    reply_array(r->out, n);
    for (uint32_t i = 0; i < n; i++) {
        reply_array(r->out, 2);
        reply_integer(r->out, all[event].sample[i].time_s);
        reply_integer(r->out, all[event].sample[i].ms);
    }
    mi_free(all);
}

void latency_reset_part(struct request *r)
{
    uint64_t gone = 0; // bits of events
    for (unsigned event = 0; event < LATENCY_EVENTS; event++) {
        bool asked = r->argc == 2;
        for (int i = 2; i < r->argc; i++)
            asked |= event_of(&r->argv[i]) == event;
        if (asked && r->services->latency_reset(r->core, event))
            gone |= 1ull << event;
    }
    out_write(r->out, &gone, sizeof(gone));
}

void latency_reset_command(struct request *r)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < r->n_parts; i++) {
        uint64_t gone = 0;
        if (r->parts[i].len == sizeof(gone))
            memcpy(&gone, r->parts[i].ptr, sizeof(gone));
        all |= gone;
    }
    reply_integer(r->out, __builtin_popcountll(all));
}

// --- HELP --------------------------------------------------------------------------------------

void latency_help_command(struct request *r)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    What took long, and what to do about it.",
        "GRAPH <event>",
        "    The samples of an event, drawn.",
        "HISTOGRAM [<command> ...]",
        "    How long calls took, by command: counts up to powers of two in microseconds.",
        "HISTORY <event>",
        "    The samples of an event: time and milliseconds.",
        "LATEST",
        "    Of each event the last sample and the worst.",
        "RESET [<event> ...]",
        "    Forgets samples; tells of how many events.",
        NULL,
    };
    request_help(r, "LATENCY", lines);
}
