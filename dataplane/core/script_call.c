// What a script may touch, and what its redis.call runs: the host of the engine.
#include "dataplane/core/script_internal.h"

#include <assert.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>
#include <x86intrin.h>

#include "dataplane/commands/effects.h"
#include "dataplane/commands/permission.h"
#include "dataplane/core/access.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/monitor.h"
#include "dataplane/core/slowlog.h"
#include "dataplane/core/tracking.h"

// --- slots ---------------------------------------------------------------------------------------

static inline bool bit(const uint64_t *bits, uint16_t slot)
{
    return bits[slot / 64] >> (slot % 64) & 1;
}

static inline void set_bit(uint64_t *bits, uint16_t slot)
{
    bits[slot / 64] |= 1ull << (slot % 64);
}

static void hold(struct core *c, uint16_t slot)
{
    struct scripts *s = c->scripts;
    if (bit(s->held, slot) || bit(c->lent, slot) || !script_slot_is_own(c, slot))
        return;
    loan_hold(c, slot);
    set_bit(s->held, slot);
    s->n_held++;
}

void scripts_touch(struct scripts *s, uint16_t slot)
{
    if (bit(s->mine, slot))
        return;
    set_bit(s->mine, slot);
    if (s->n_touched < SCRIPT_TOUCHED_MAX)
        s->touched[s->n_touched++] = slot;
    else
        s->n_touched = SCRIPT_TOUCHED_MAX + 1;
}

// The first pause: from now on others run, so what it has touched is kept from them.
void scripts_hold(struct core *c)
{
    struct scripts *s = c->scripts;
    s->holds = true;
    if (s->everywhere)
        return;
    if (s->n_touched <= SCRIPT_TOUCHED_MAX)
        for (unsigned i = 0; i < s->n_touched; i++)
            hold(c, s->touched[i]);
    else
        for (unsigned slot = 0; slot < SLOTS; slot++)
            if (bit(s->mine, (uint16_t)slot))
                hold(c, (uint16_t)slot);
}

void scripts_release(struct core *c)
{
    struct scripts *s = c->scripts;
    if (!s->n_held)
        return;
    uint64_t held[SLOTS / 64];
    memcpy(held, s->held, sizeof(held));
    uint16_t *slots = mi_mallocn(s->n_held, sizeof(*slots));
    unsigned n = 0;
    memset(s->held, 0, sizeof(s->held));
    s->n_held = 0;
    // The next script may begin in here.
    for (unsigned slot = 0; slot < SLOTS; slot++)
        if (bit(held, (uint16_t)slot)) {
            uint16_t one = (uint16_t)slot;
            if (slots)
                slots[n++] = one;
            else
                loan_release(c, &one, 1, true);
        }
    if (slots)
        loan_release(c, slots, n, true);
    mi_free(slots);
}

void scripts_forget(struct scripts *s)
{
    if (s->n_touched > SCRIPT_TOUCHED_MAX)
        memset(s->mine, 0, sizeof(s->mine));
    else
        for (unsigned i = 0; i < s->n_touched; i++)
            s->mine[s->touched[i] / 64] = 0;
    s->n_touched = 0;
    s->holds = false;
}

static bool find_slot(struct core *c, uint16_t slot)
{
    struct scripts *s = c->scripts;
    s->strayed = true;
    if (s->everywhere)
        return true;
    if (!script_slot_is_own(c, slot) || bit(c->lent, slot))
        return false;
    scripts_touch(s, slot);
    if (s->holds)
        hold(c, slot);
    return true;
}

static inline bool slot_at_hand(struct core *c, uint16_t slot)
{
    return __builtin_expect(bit(c->scripts->mine, slot), 1) || find_slot(c, slot);
}

// All slots, for what walks over them or names no keys.
static bool all_at_hand(struct core *c)
{
    struct scripts *s = c->scripts;
    s->strayed = true;
    return s->everywhere || (c->server->n_cores == 1 && c->loans == s->n_held);
}

static bool keys_at_hand(struct core *c, struct request *r)
{
    const struct command *command = r->command;
    r->key.ptr = NULL;
    if (command->needs_all && command->needs_all(r->argv, r->argc) && !all_at_hand(c))
        return false;
    if (!command->n_keys)
        return true;
    int at = commands_single_key(command, r->argc);
    if (__builtin_expect(at > 0, 1)) {
        r->key = keyspace_key(c->server->keyspace, r->argv[at].ptr, r->argv[at].len);
        return slot_at_hand(c, r->key.slot);
    }
    if (!at)
        return true;
    int small[SCRIPT_TOUCHED_MAX], *positions = small;
    if (r->argc > SCRIPT_TOUCHED_MAX && !(positions = mi_mallocn((size_t)r->argc, sizeof(int))))
        return all_at_hand(c);
    int n = commands_keys(command, r->argv, r->argc, positions, r->argc);
    bool ok = n >= 0 || all_at_hand(c);
    for (int i = 0; ok && i < n; i++)
        ok = slot_at_hand(c, slot_of_key(r->argv[positions[i]].ptr, r->argv[positions[i]].len));
    if (positions != small)
        mi_free(positions);
    return ok;
}

// --- redis.call ----------------------------------------------------------------------------------

// Runs a handler here, for the script. When that was, of the cycle counter.
static uint64_t run_handler(struct core *c, struct request *r)
{
    const struct command *command = r->command;
    struct command_figures *figures = &c->command_figures[command->id];
    uint64_t begin = __rdtsc();
    uint64_t dirty = store_statistics(c->store)->dirty;
    r->observed = c->observed;
    r->effects = script_under_way(c->scripts->engine)->untold ? NULL : c->effects;
    const struct request *outer = c->running;
    c->running = r;
    c->executing++;
    if (__builtin_expect(!!r->effects, 0))
        effects_start(r);
    command->handler(r);
    if (__builtin_expect(!!r->effects, 0))
        effects_end(r);
    c->executing--;
    c->running = outer;
    script_under_way(c->scripts->engine)->acted |= store_statistics(c->store)->dirty != dirty;
    c->counters.commands++;
    figures->calls++;
    uint64_t spent = __rdtsc() - begin;
    figures->usec += spent; // in cycles here; services.c gives microseconds
    if (__builtin_expect(r->replied_error, 0))
        count_failure(c, r);
    command_over(c, NULL, command, r->argc, r->argv, spent);
    if (!(command->flags & CMD_SKIP_MONITOR))
        monitor_see(c, NULL, r->session->db, command, r->argc, r->argv);
    return begin + spent;
}

// What walks over this core's slots, which may be lent for this script.
static void take_back(struct core *c, bool back)
{
    const struct scripts *s = c->scripts;
    if (s->everywhere)
        (back ? loan_take_back : loan_lend_again)(c);
    for (unsigned slot = 0; s->n_held && slot < SLOTS; slot++)
        if (bit(s->held, (uint16_t)slot))
            (back ? store_slot_returned : store_slot_lent)(c->store, (uint16_t)slot);
}

static void run_gather_alone(struct core *c, struct request *r)
{
    struct execution e = {.session = *r->session,
                          .command = r->command,
                          .argv = r->argv,
                          .argc = r->argc,
                          .out = r->out};
    // The script's own time goes on.
    struct command_figures *timed = c->timed;
    unsigned together = c->timed_together;
    uint64_t mark = c->command_mark;
    c->timed = NULL;
    bool walks = r->command->part_keys || r->command->part_together;
    if (walks)
        take_back(c, true);
    gather_alone(c, &e);
    if (walks)
        take_back(c, false);
    c->timed = timed;
    c->timed_together = together;
    c->command_mark = mark;
    command_over(c, NULL, r->command, r->argc, r->argv, e.cycles);
    monitor_see(c, NULL, r->session->db, r->command, r->argc, r->argv);
}

// Before it pauses: what it goes on as. False: memory is short.
static bool reserve(struct core *c, const struct script_run *run)
{
    struct scripts *s = c->scripts;
    const struct request *r = run->request;
    if (s->m || s->reserved)
        return true;
    if (!s->may_pause)
        return false;
    if (s->come)
        s->reserved = s->come;
    else if (s->lent && !loan_command(s->lent)->transaction)
        s->reserved = loan_command(s->lent);
    else
        s->reserved = message_command(r->session, r->command, r->argc, r->argv);
    return s->reserved;
}

void scripts_unreserve(struct scripts *s)
{
    if (s->reserved && s->reserved != s->come && !(s->lent && s->reserved == loan_command(s->lent)))
        message_free(s->reserved);
    s->reserved = NULL;
}

// The script waits until the command, which goes on elsewhere, has answered.
static enum script_called call_elsewhere(struct core *c, struct script_run *run, struct request *r,
                                         unsigned core, char *error, size_t size)
{
    struct scripts *s = c->scripts;
    struct message *m =
        reserve(c, run) ? message_command(r->session, r->command, r->argc, r->argv) : NULL;
    if (!m) {
        snprintf(error, size, "-%s", ERR_OOM);
        return SCRIPT_REFUSED;
    }
    monitor_see(c, NULL, r->session->db, r->command, r->argc, r->argv);
    s->call_slot = (struct reply_slot){0};
    outbuf_init(&s->call_slot.out);
    m->from = c->index;
    m->slot = &s->call_slot;
    m->loan = s->everywhere ? s->loan ? s->loan : s->lent : NULL;
    m->script = true;
    s->call = m;
    if (core != c->index)
        mailbox_send(c, core, m);
    else
        gather_of_transaction(c, m->loan, m);
    while (s->call)
        script_pause(run);
    outbuf_move(&s->call_slot.out, r->out);
    return SCRIPT_CALLED;
}

void scripts_called(struct core *c, struct message *m)
{
    assert(c->scripts->call == m);
    c->scripts->call = NULL;
    message_free(m);
}

// Something that it needs is not at hand.
static enum script_called not_at_hand(struct script_run *run, char *error, size_t size)
{
    run->code->reach = SCRIPT_REACH_ALL;
    if (!run->acted)
        return SCRIPT_AGAIN;
    snprintf(error, size,
             "Script attempted to access a key that it did not declare and that is not at hand, "
             "after it has written; when it is called again it will be");
    return SCRIPT_REFUSED;
}

static inline void count_writes(struct script_run *run, const struct command *command)
{
    run->wrote |= (command->flags & CMD_WRITE) != 0;
    run->acted |= (command->flags & CMD_MAY_REPLICATE) != 0;
}

static void look(struct script_run *run)
{
    struct core *c = run->request->core;
    struct scripts *s = c->scripts;
    if (__rdtsc() >= s->slice_end && reserve(c, run))
        script_pause(run);
}

static enum script_called call_wide(struct script_run *run, struct request *r, char *error,
                                    size_t size)
{
    struct core *c = r->core;
    const struct command *command = r->command;
    bool walks = command->route == ROUTE_ALL || command->part_keys || command->part_together;
    if (walks && !all_at_hand(c))
        return not_at_hand(run, error, size);
    count_writes(run, command);
    r->key.ptr = NULL;
    switch (command->route) {
    case ROUTE_GATHER:
        if (!gather_is_home(c, command, r->argv, r->argc))
            return call_elsewhere(c, run, r, c->index, error, size);
        run_gather_alone(c, r);
        return SCRIPT_CALLED;
    case ROUTE_ALL: {
        uint64_t dirty = store_statistics(c->store)->dirty;
        run_handler(c, r);
        if (c->observed && store_statistics(c->store)->dirty != dirty)
            parked_look_all(c);
        return SCRIPT_CALLED;
    }
    default:
        snprintf(error, size, "This Redis command is not allowed from script");
        return SCRIPT_REFUSED;
    }
}

static enum script_called call(struct script_run *run, struct request *r, char *error, size_t size)
{
    struct core *c = r->core;
    const struct command *command = r->command;
    if (__builtin_expect(command->route != ROUTE_KEYS && command->route != ROUTE_HOME, 0)) {
        enum script_called called = call_wide(run, r, error, size);
        if (called == SCRIPT_CALLED)
            look(run);
        return called;
    }
    if (__builtin_expect(!keys_at_hand(c, r), 0))
        return not_at_hand(run, error, size);
    count_writes(run, command);
    // Between two looks of the engine's there may be many commands that take long.
    if (__builtin_expect(run_handler(c, r) >= c->scripts->slice_end, 0))
        look(run);
    // A script that reads anything has read all its keys, as far as their cachers go.
    if (__builtin_expect(run->session.remember, 0) && command->flags & CMD_READONLY)
        tracking_remember_keys(c, &run->session, run->request->argv + run->first_key, run->n_keys);
    return SCRIPT_CALLED;
}

static void log_text(int level, const char *text, size_t len)
{
    log_write(LOG_LEVEL_DEBUG + (unsigned)level, "%.*s", (int)len, text);
}

static const char *denied(struct script_run *run, struct request *r, bool asks)
{
    int at;
    if (__builtin_expect(!run->session.user, 1))
        return NULL;
    enum access_denial denial =
        permission_check(run->session.user, r->command, r->argv, r->argc, &at);
    if (denial == ACCESS_GRANTED)
        return NULL;
    if (!asks)
        access_denied(r->core, run->request->client, &run->session, denial, ACCESS_LUA, r->command,
                      &r->argv[at]);
    return permission_error_of_call(denial);
}

const struct script_host scripts_host = {
    .call = call, .look = look, .log = log_text, .denied = denied};
