// Runs one handler: builds what it is given, refuses what may not run, counts what it did.
#include <string.h>
#include <x86intrin.h>

#include "dataplane/commands/effects.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/latency.h"
#include "dataplane/core/message.h"
#include "dataplane/core/slowlog.h"
#include "dataplane/core/tracking.h"
#include "dataplane/core/transaction.h"

// The first word of an error reply, counted for INFO errorstats.
void count_error(struct core *c, const char *text, size_t len)
{
    c->counters.errors++;
    if (!len)
        len = strlen(text);
    size_t n = 0;
    while (n < len && n < sizeof(c->error_counts[0].prefix) - 1 && text[n] != ' ' &&
           text[n] != '\r')
        n++;
    for (unsigned i = 0; i < c->n_error_counts; i++) {
        struct error_count *e = &c->error_counts[i];
        if (strlen(e->prefix) == n && memcmp(e->prefix, text, n) == 0) {
            e->count++;
            return;
        }
    }
    struct error_count *e =
        &c->error_counts[c->n_error_counts < ERROR_PREFIXES ? c->n_error_counts++
                                                            : ERROR_PREFIXES - 1];
    memcpy(e->prefix, text, n);
    e->prefix[n] = 0;
    e->count++;
}

// Added to their number by one that may take longer: it is the last of its group.
#define TIMED_LAST 256

// The last command of the group is still there: whoever frees its arguments calls this before.
void execute_timed(struct core *c)
{
    uint64_t end = __rdtsc(), spent = end - c->command_mark;
    struct command_figures *figures = c->timed;
    unsigned n = c->timed_together % TIMED_LAST;
    c->timed = NULL;
    c->timed_together = 0;
    c->command_mark = end;
    if (!figures)
        return;
    figures->usec += spent; // in cycles here; services.c gives microseconds
    latency_explain(c, spent);
    const struct request *r = &c->quick;
    if (__builtin_expect(r->blocked || r->stepped, 0))
        return; // it is not over: whoever ends it takes notice
    latency_record_group(c, (unsigned)(figures - c->command_figures), spent, n);
    if (__builtin_expect(spent >= c->slow_cycles, 0) &&
        !(r->client->flags & (CLIENT_CLOSING | CLIENT_GONE)))
        slowlog_take(c, r->client, r->command, r->argc, r->argv, spent, n);
}

void count_failure(struct core *c, const struct request *r)
{
    c->command_figures[r->command->id].failed++;
    count_error(c, r->error_prefix[0] ? r->error_prefix : "ERR", 0);
}

static void count_call(struct core *c, const struct request *r)
{
    struct command_figures *figures = &c->command_figures[r->command->id];
    if (__builtin_expect(!r->woken, 1)) { // one that waits was counted when it came
        c->counters.commands++;
        figures->calls++;
    }
    if (__builtin_expect(r->replied_error, 0))
        count_failure(c, r);
}

struct request piece_begins(struct core *c, const struct message *m, struct session *session,
                            struct out *out)
{
    if (c->timed)
        execute_timed(c);
    c->command_mark = __rdtsc();
    *session = m->session;
    return (struct request){
        .session = session,
        .command = m->command,
        .argc = m->argc,
        .argv = m->argv,
        .out = out,
        .store = c->store,
        .services = &c->services,
        .core = c,
        .now_ms = c->now_ms,
        .now_us = c->now_us,
        .core_index = c->index,
        .limits = &c->settings.limits,
    };
}

void piece_ends(struct core *c, struct message *m, const struct request *r, uint64_t begin)
{
    c->command_mark = __rdtsc();
    latency_explain(c, c->command_mark - begin);
    m->cycles += c->command_mark - begin;
    c->command_figures[m->command->id].usec += c->command_mark - begin;
    if (r->replied_error)
        count_failure(c, r);
}

static bool make_room(struct core *c)
{
    uint64_t begin = __rdtsc();
    bool made = store_make_room(c->store);
    uint64_t end = __rdtsc();
    if (__builtin_expect(end - begin >= c->event_cycles, 0)) {
        latency_explain(c, end - begin);
        latency_event(c, LATENCY_EVICTION_CYCLE, end - begin);
        c->command_mark = end; // the command is not to blame
    }
    if (__builtin_expect(!made, 0) && !c->exceeded_since_us) {
        c->exceeded_since_us = c->now_us;
    } else if (__builtin_expect(made && c->exceeded_since_us, 0)) {
        c->counters.exceeded_us += c->now_us - c->exceeded_since_us;
        c->exceeded_since_us = 0;
    }
    return made;
}

bool execute(struct core *c, struct execution *e, enum execute_what what)
{
    const struct command *command = e->command;
    struct command_figures *figures = &c->command_figures[command->id];
    if (c->timed)
        execute_timed(c);
    struct session session = e->session;
    struct request r = {
        .session = &session,
        .client = e->client,
        .command = command,
        .argc = e->argc,
        .argv = e->argv,
        .out = e->out,
        .store = c->store,
        .services = &c->services,
        .core = c,
        .now_ms = c->now_ms,
        .now_us = c->now_us,
        .parts = e->parts,
        .n_parts = e->n_parts,
        .core_index = c->index,
        .limits = &c->settings.limits,
        // A script is told by what its commands do.
        .effects = command->route == ROUTE_SCRIPT ? NULL : c->effects,
        .observed = c->observed,
        .may_block = e->may_block,
        .woken = e->woken,
        .woken_key = e->woken_key,
        .may_step = e->may_step,
        .may_work = e->may_work,
        .may_migrate = e->may_migrate,
    };
    if (e->key)
        r.key = *e->key;
    const struct request *outer_request = c->running;
    c->running = &r;
    if (what == EXECUTE_START) {
        bool goes_on = command->start(&r);
        c->running = outer_request;
        if (goes_on)
            return true;
        count_call(c, &r); // it was answered, so that is all there is of it
        return false;
    }
    if (what == EXECUTE_PART) {
        command->part(&r);
        c->running = outer_request;
        uint64_t end = __rdtsc();
        e->cycles += end - c->command_mark;
        figures->usec += end - c->command_mark;
        latency_explain(c, end - c->command_mark);
        c->command_mark = end;
        parked_serve(c);
        return true;
    }
    if (__builtin_expect(command->flags & CMD_DENYOOM && c->settings.maxmemory, 0) && !e->woken &&
        !make_room(c)) {
        c->running = outer_request;
        reply_error(e->out, ERR_OOM);
        figures->rejected++;
        count_error(c, "OOM", 0);
        parked_serve(c); // what was evicted
        return true;
    }
    bool all = command->route == ROUTE_ALL;
    uint64_t dirty = all ? store_statistics(c->store)->dirty : 0;
    uint64_t outer = c->executing_for;
    c->executing_for = session.client_id;
    c->executing++;
    if (__builtin_expect(!!r.effects, 0))
        effects_start(&r);
    command->handler(&r);
    if (__builtin_expect(!!r.effects, 0))
        effects_end(&r);
    c->executing--;
    c->running = outer_request;
    c->executing_for = outer;
    if (__builtin_expect(session.remember, 0) && command->flags & CMD_READONLY && !e->woken &&
        command->route != ROUTE_SCRIPT) // whose commands tell for themselves
        tracking_remember(c, &session, command, e->argv, e->argc);
    e->stepped = r.stepped;
    e->blocked = r.blocked;
    e->migration = r.migration;
    // One reading a command: its time runs from the end of the one before it in the stage.
    uint64_t end = __rdtsc();
    e->cycles += end - c->command_mark;
    figures->usec += end - c->command_mark; // in cycles here; services.c gives microseconds
    latency_explain(c, end - c->command_mark);
    c->command_mark = end;
    count_call(c, &r);
    // Whole databases: no key is named. With several cores all slots come home from a loan.
    if (__builtin_expect(all && c->observed, 0) && store_statistics(c->store)->dirty != dirty)
        parked_look_all(c);
    parked_serve(c);
    return true;
}

void execute_quick_init(struct core *c)
{
    c->quick = (struct request){
        .session = &c->quick_session,
        .store = c->store,
        .services = &c->services,
        .core = c,
        .core_index = c->index,
        .limits = &c->settings.limits,
    };
}

static inline __attribute__((always_inline)) void quick(struct core *c, struct client *client,
                                                        const struct command *command, int argc,
                                                        struct arg *argv, const struct key *key,
                                                        struct out *out, bool alone)
{
    struct command_figures *figures = &c->command_figures[command->id];
    struct request *r = &c->quick;
    session_of(client, &c->quick_session);
    r->client = client;
    r->command = command;
    r->argc = argc;
    r->argv = argv;
    if (key)
        r->key = *key;
    else
        r->key.ptr = NULL;
    r->out = out;
    r->now_ms = c->now_ms;
    r->now_us = c->now_us;
    r->stepped = r->migration = NULL;
    r->observed = c->observed;
    r->may_step = r->may_work = alone;
    r->may_block = alone && !(client->flags & CLIENT_INTERNAL);
    r->blocked = r->replied_error = false;
    r->error_prefix[0] = 0;
    if (c->timed != figures || c->timed_together >= TIMED_TOGETHER_MAX) {
        execute_timed(c);
        c->timed = figures;
    }
    c->timed_together += 1 + (argc > command->together) * TIMED_LAST;
    c->executing++;
    command->handler(r);
    c->executing--;
    count_call(c, r);
    if (__builtin_expect(c->observed, 0)) {
        parked_serve(c);
        tracking_tell(c);
    }
}

void execute_quick(struct core *c, struct client *client, const struct work *w)
{
    quick(c, client, w->command, w->argc, w->argv, w->has_key ? &w->key : NULL,
          client->stream ? &client->stream->out : &client->internal_out.out, true);
}

void execute_queued(struct core *c, struct client *client, const struct queued *q, struct out *out)
{
    quick(c, client, q->command, q->argc, q->argv, q->has_key ? &q->key : NULL, out, false);
}
