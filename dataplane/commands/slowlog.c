// SLOWLOG: the entries of all cores as one log, the newest first.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/commands/families.h"
#include "dataplane/commands/observe.h"
#include "dataplane/resp/client.h"

#define SHOWN_DEFAULT 10
#define ERR_COUNT "ERR count should be greater than or equal to -1"

// --- GET ---------------------------------------------------------------------------------------

// How many are asked for. False: it was answered.
static bool wanted(struct request *r, uint64_t *n)
{
    int64_t count = SHOWN_DEFAULT;
    if (r->argc > 3) {
        request_errorf(r,
                       "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try "
                       "SLOWLOG HELP.",
                       (int)r->argv[1].len, (const char *)r->argv[1].ptr);
        return false;
    }
    if (r->argc == 3 && (!parse_int64(r->argv[2].ptr, r->argv[2].len, &count) || count < -1)) {
        request_error(r, ERR_COUNT);
        return false;
    }
    *n = count < 0 ? UINT64_MAX : (uint64_t)count;
    return true;
}

bool slowlog_get_start(struct request *r)
{
    uint64_t n;
    return wanted(r, &n);
}

static void write_entry(void *context, const struct slow_entry *e, const uint8_t *bytes)
{
    out_write(context, e, sizeof(*e));
    out_write(context, bytes, e->size);
}

static void write_summary(struct request *r)
{
    struct slow_summary s;
    r->services->slowlog_summary(r->core, &s);
    out_write(r->out, &s, sizeof(s));
}

void slowlog_get_part(struct request *r)
{
    uint64_t n = 0;
    write_summary(r);
    if (wanted(r, &n))
        r->services->slowlog_each(r->core, n, write_entry, r->out);
}

// The entries that one core wrote, and where the walk over them is.
struct walk {
    const uint8_t *at, *end;
    struct slow_entry e;
};

static bool next_entry(struct walk *w)
{
    if ((size_t)(w->end - w->at) < sizeof(w->e)) {
        w->at = w->end = NULL;
        return false;
    }
    memcpy(&w->e, w->at, sizeof(w->e));
    w->at += sizeof(w->e);
    return true;
}

static const uint8_t *reply_text(struct out *o, const uint8_t *at)
{
    uint32_t len;
    memcpy(&len, at, sizeof(len));
    reply_bulk(o, at + sizeof(len), len);
    return at + sizeof(len) + len;
}

// `core`, which the control plane is told besides; -1: it is not.
static void reply_entry(struct out *o, const struct slow_entry *e, const uint8_t *at, int core)
{
    reply_array(o, core < 0 ? 6 : 7);
    reply_integer(o, (int64_t)e->id);
    reply_integer(o, (int64_t)e->time_s);
    reply_integer(o, (int64_t)e->us);
    reply_array(o, e->n_args);
    for (uint32_t i = 0; i < e->n_args + 2; i++)
        at = reply_text(o, at);
    if (core >= 0)
        reply_integer(o, core);
}

// Entries of all cores together: no more than one core would keep. The limit may have been lowered
// since; then a core keeps more until something slow happens there, as Redis does.
static uint64_t length_of_all(const struct request *r)
{
    uint64_t sum = 0, most = 0;
    for (unsigned i = 0; i < r->n_parts; i++) {
        struct slow_summary s;
        if (r->parts[i].len < sizeof(s))
            continue; // that core was short of memory
        memcpy(&s, r->parts[i].ptr, sizeof(s));
        sum += s.length;
        if (s.most > most)
            most = s.most;
        if (s.length > most)
            most = s.length;
    }
    return sum < most ? sum : most;
}

void slowlog_get_command(struct request *r)
{
    uint64_t n = 0, all = length_of_all(r);
    wanted(r, &n); // it was looked at before
    if (n > all)
        n = all;
    struct walk *walks = mi_mallocn(r->n_parts, sizeof(*walks));
    if (!walks) {
        request_error(r, ERR_OOM);
        return;
    }
    for (unsigned i = 0; i < r->n_parts; i++) {
        size_t head = sizeof(struct slow_summary);
        if (r->parts[i].len < head)
            walks[i] = (struct walk){0};
        else
            walks[i] = (struct walk){.at = r->parts[i].ptr + head,
                                     .end = r->parts[i].ptr + r->parts[i].len};
        next_entry(&walks[i]);
    }
    bool internal = r->client && r->client->flags & CLIENT_INTERNAL;
    reply_array(r->out, (int64_t)n);
    for (; n; n--) { // the newest of those that the cores come with
        struct walk *newest = NULL;
        for (unsigned i = 0; i < r->n_parts; i++)
            if (walks[i].at && (!newest || walks[i].e.id > newest->e.id))
                newest = &walks[i];
        if (!newest) { // a core was short of memory
            reply_null_array(r->out, r->session->resp);
            continue;
        }
        reply_entry(r->out, &newest->e, newest->at, internal ? (int)(newest - walks) : -1);
        newest->at += newest->e.size;
        next_entry(newest);
    }
    mi_free(walks);
}

// --- LEN, RESET, HELP --------------------------------------------------------------------------

void slowlog_len_part(struct request *r)
{
    write_summary(r);
}

void slowlog_len_command(struct request *r)
{
    reply_integer(r->out, (int64_t)length_of_all(r));
}

void slowlog_reset_part(struct request *r)
{
    r->services->slowlog_reset(r->core);
}

void slowlog_reset_command(struct request *r)
{
    reply_status(r->out, "OK");
}

void slowlog_help_command(struct request *r)
{
    static const char *const lines[] = {
        "GET [<count>]",
        "    The newest <count> entries of all cores (10; -1: all).",
        "    An entry is its number, the time, microseconds, the arguments, the client's address",
        "    and the client's name.",
        "LEN",
        "    How many entries there are.",
        "RESET",
        "    Empties the log.",
        NULL,
    };
    request_help(r, "SLOWLOG", lines);
}
