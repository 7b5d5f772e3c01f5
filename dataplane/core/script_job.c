// A script that goes on for many turns: its slices, BUSY, its end, and what waits for it.
#include "dataplane/core/script_internal.h"

#include <mimalloc.h>
#include <string.h>
#include <x86intrin.h>

#include "dataplane/core/slowlog.h"
#include "dataplane/core/transaction.h"

// A script runs for so long, and then gives the core back.
#define SLICE_US 1000

bool scripts_engaged(const struct core *c)
{
    const struct scripts *s = c->scripts;
    return s->m || s->cleaning || script_under_way(s->engine);
}

void scripts_slice(struct core *c)
{
    c->scripts->slice_end = __rdtsc() + SLICE_US * c->server->cycles_per_us;
}

void scripts_look_clean(struct core *c)
{
    struct scripts *s = c->scripts;
    if (__builtin_expect(!script_is_littered(s->engine), 1))
        return;
    s->cleaning = true;
    c->attention |= ATTEND_SCRIPT;
}

static void clean(struct core *c)
{
    struct scripts *s = c->scripts;
    scripts_slice(c);
    while (__rdtsc() < s->slice_end)
        if (script_clean(s->engine)) {
            s->cleaning = false;
            c->attention &= ~(uint32_t)ATTEND_SCRIPT;
            return;
        }
}

// What waits for its turn is told that a script is busy, but for what is half done.
static void refuse_waiting(struct core *c)
{
    struct scripts *s = c->scripts;
    struct message *m = s->waiting_first;
    s->waiting_first = s->waiting_last = NULL;
    for (struct message *next; m; m = next) {
        next = m->next;
        if (m->transaction && m->transaction->begun)
            scripts_wait(c, m->waiting_loan);
        else
            loan_give_up(c, m->waiting_loan);
    }
}

// --- BUSY ----------------------------------------------------------------------------------------

static void news_of(struct core *c, bool function, int change)
{
    struct scripts *s = c->scripts;
    *(function ? &s->busy_functions : &s->busy_scripts) += (unsigned)change;
    s->last_function = function;
    if (s->busy_functions || s->busy_scripts) {
        c->attention |= ATTEND_BUSY;
        loan_look_waiting(c); // what waits for its slots is told, too
        refuse_waiting(c);
    } else {
        c->attention &= ~(uint32_t)ATTEND_BUSY;
    }
}

static void script_busy(struct core *c, struct message *m)
{
    (void)m;
    news_of(c, false, 1);
}

static void script_idle(struct core *c, struct message *m)
{
    (void)m;
    news_of(c, false, -1);
}

static void function_busy(struct core *c, struct message *m)
{
    (void)m;
    news_of(c, true, 1);
}

static void function_idle(struct core *c, struct message *m)
{
    (void)m;
    news_of(c, true, -1);
}

// Says to all cores that a script is busy, or no longer; where memory is short, in a later turn.
static void tell_busy(struct core *c, bool function, bool busy)
{
    void (*news)(struct core *, struct message *) = busy ? function ? function_busy : script_busy
                                                    : function ? function_idle
                                                               : script_idle;
    struct session nobody = {0};
    if (c->server->n_cores > 1 && !mailbox_tell_all(c, &nobody, 0, NULL, news))
        return;
    news(c, NULL);
    c->scripts->busy = busy;
    c->scripts->busy_function = function;
}

static void look_busy(struct core *c, const struct script_run *run)
{
    struct scripts *s = c->scripts;
    uint64_t threshold_us = c->settings.busy_reply_us;
    if (s->busy || !threshold_us || c->now_us - run->started_us < threshold_us)
        return;
    tell_busy(c, !run->code->eval, true);
    if (s->busy)
        log_warning("Slow script detected: still in execution after %llu milliseconds. You can "
                    "try killing the script using the %s KILL command. Script name is: %s.",
                    (unsigned long long)(c->now_us - run->started_us) / 1000,
                    run->code->eval ? "SCRIPT" : "FUNCTION", run->code->name);
}

const char *scripts_busy(const struct core *c)
{
    const struct scripts *s = c->scripts;
    // Word that another core refused a loan may come behind word that the script is over there.
    bool function = s->busy_scripts || s->busy_functions ? !s->busy_scripts : s->last_function;
    return function ? ERR_BUSY_FUNCTION : ERR_BUSY_SCRIPT;
}

// --- the job -------------------------------------------------------------------------------------

struct message *scripts_take(struct core *c, struct reply_slot *slot, struct loan *loan)
{
    struct scripts *s = c->scripts;
    s->m = s->reserved;
    s->reserved = NULL;
    s->loan = loan;
    s->everywhere |= loan && loan_command(loan)->whole;
    if (!slot) {
        slot = &s->nobody;
        *slot = (struct reply_slot){0};
        outbuf_init(&slot->out);
    }
    s->m->from = c->index;
    s->m->slot = slot;
    c->attention |= ATTEND_SCRIPT;
    scripts_hold(c);
    return s->m;
}

void scripts_take_sent(struct core *c)
{
    struct scripts *s = c->scripts;
    s->m = s->reserved;
    s->reserved = NULL;
    c->attention |= ATTEND_SCRIPT;
    scripts_hold(c);
}

// It was sent here by another core, and answers there.
static inline bool is_sent(const struct core *c, const struct message *m)
{
    return m->from != c->index;
}

static void begin_again(struct core *c, struct message *m)
{
    m->again = m->strayed = false;
    m->kind = MESSAGE_COMMAND;
    mi_free(m->slots);
    m->slots = NULL;
    m->n_slots = 0;
    m->whole = true;
    loan_begin(c, m);
}

void scripts_again(struct core *c, struct message *m)
{
    struct scripts *s = c->scripts;
    if (c->together < MAILBOX_CREDITS && !s->again_first) {
        begin_again(c, m);
        return;
    }
    m->next = NULL;
    if (s->again_last)
        s->again_last->next = m;
    else
        s->again_first = m;
    s->again_last = m;
}

static bool begin_those_again(struct core *c)
{
    struct scripts *s = c->scripts;
    while (s->again_first && c->together < MAILBOX_CREDITS) {
        struct message *m = s->again_first;
        s->again_first = m->next;
        if (!m->next)
            s->again_last = NULL;
        m->next = NULL;
        begin_again(c, m);
    }
    return s->again_first;
}

// Of the job that is over: what it kept goes back, and it is answered.
static void job_over(struct core *c, enum script_ended end)
{
    struct scripts *s = c->scripts;
    struct message *m = s->m;
    struct loan *loan = s->loan;
    bool again = end == SCRIPT_START_AGAIN;
    s->m = NULL;
    s->loan = NULL;
    c->attention &= ~(uint32_t)ATTEND_SCRIPT;
    scripts_forget(s);
    scripts_look_clean(c);
    scripts_release(c); // after which the next one may be under way
    if (again) {        // it will be counted again
        c->command_figures[m->command->id].calls--;
        c->counters.commands--;
    }
    if (loan && loan_command(loan) != m) {
        command_over(c, m->slot->client, m->command, m->argc, m->argv, m->cycles);
        transaction_resumed(c, loan, m);
    } else if (loan && again) {
        loan_again(c, loan);
    } else if (loan) {
        loan_worked(c, loan);
    } else if (is_sent(c, m)) {
        m->again = again;
        route_answer(c, m);
    } else if (again) {
        scripts_again(c, m);
    } else {
        command_over(c, m->slot->client, m->command, m->argc, m->argv, m->cycles);
        if (m->slot == &s->nobody)
            outbuf_clear(&m->slot->out);
        else
            client_complete(c, m->slot);
        message_free(m);
    }
}

static void job_run(struct core *c)
{
    struct scripts *s = c->scripts;
    struct script_run *run = script_under_way(s->engine);
    struct message *m = s->m;
    struct script_code *code = run->code;
    struct session session;
    struct request r =
        piece_begins(c, m, &session, is_sent(c, m) ? &m->out.out : &m->slot->out.out);
    uint64_t begin = c->command_mark;
    uint64_t dirty = s->loan ? loan_enter(c, s->loan) : 0;
    store_set_time(c->store, s->started_ms);
    c->running = &r;
    c->executing++;
    code->refs++;
    scripts_slice(c);
    struct effects *outer =
        transaction_tells(c, s->loan ? loan_command(s->loan)->transaction : NULL);
    if (__builtin_expect(outer && c->effects == outer, 0))
        c->effects = &s->effects;
    enum script_ended end = script_resume(s->engine, &r);
    c->effects = outer;
    if (__builtin_expect(outer != NULL, 0) && end != SCRIPT_PAUSED)
        effects_append(outer, &s->effects);
    c->executing--;
    c->running = NULL;
    store_set_time(c->store, c->now_ms);
    if (s->loan)
        loan_leave(c, s->loan, dirty);
    piece_ends(c, m, &r, begin);
    if (end == SCRIPT_PAUSED) {
        look_busy(c, run);
    } else {
        if (s->watched && code->reach != SCRIPT_REACH_ALL && end == SCRIPT_DONE)
            code->reach = s->strayed ? SCRIPT_REACH_ALL : SCRIPT_REACH_KEYS;
        m->strayed = code->reach == SCRIPT_REACH_ALL;
        if (s->busy)
            tell_busy(c, s->busy_function, false);
        job_over(c, end);
    }
    script_code_release(s->engine, code);
}

void scripts_wait(struct core *c, struct loan *loan)
{
    struct scripts *s = c->scripts;
    struct message *m = loan_command(loan);
    m->waiting_loan = loan;
    m->next = NULL;
    if (s->waiting_last)
        s->waiting_last->next = m;
    else
        s->waiting_first = m;
    s->waiting_last = m;
}

bool scripts_hold_up(struct core *c, const struct message *m)
{
    struct scripts *s = c->scripts;
    bool engaged = scripts_engaged(c);
    s->holds_up |= engaged;
    return engaged || (s->holds_up && !m->waited); // others were first
}

// The engine is free: what waits for it goes on, what was sent here and what has borrowed in turns.
static bool run_next(struct core *c)
{
    struct scripts *s = c->scripts;
    if (s->holds_up && !(s->waiting_first && s->held_up_last)) {
        s->holds_up = false;
        s->held_up_last = true;
        loan_look_waiting(c);
        return true;
    }
    s->held_up_last = false;
    struct message *m = s->waiting_first;
    if (__builtin_expect(!m, 1))
        return false;
    s->waiting_first = m->next;
    if (!m->next)
        s->waiting_last = NULL;
    m->next = NULL;
    loan_run(c, m->waiting_loan);
    return true;
}

bool scripts_turn(struct core *c)
{
    struct scripts *s = c->scripts;
    bool any = __builtin_expect(s->again_first != NULL, 0) && begin_those_again(c);
    if (__builtin_expect(s->m != NULL, 0)) {
        if (!s->call)
            job_run(c);
        return true;
    }
    if (__builtin_expect(s->cleaning, 0)) {
        clean(c);
        return true;
    }
    if (__builtin_expect(s->busy, 0))
        tell_busy(c, s->busy_function, false);
    return run_next(c) || any;
}

// The reply of a client that is gone has no one else to free it.
static void drop_reply(const struct core *c, const struct message *m)
{
    struct reply_slot *slot = m && !is_sent(c, m) ? m->slot : NULL;
    if (!slot || slot->client || slot == &c->scripts->nobody)
        return;
    outbuf_clear(&slot->out);
    mi_free(slot);
}

void scripts_end(struct core *c)
{
    struct scripts *s = c->scripts;
    if (!s)
        return;
    script_abandon(s->engine);
    outbuf_clear(&s->nobody.out);
    outbuf_clear(&s->call_slot.out);
    if (s->call)
        message_free(s->call);
    drop_reply(c, s->m);
    if (s->loan && s->m != loan_command(s->loan))
        message_free(s->m);
    if (s->loan)
        loan_drop(s->loan);
    else if (s->m)
        message_free(s->m);
    s->call = s->m = NULL;
    while (s->again_first) {
        struct message *m = s->again_first;
        s->again_first = m->next;
        drop_reply(c, m);
        message_free(m);
    }
    while (s->waiting_first) {
        struct message *m = s->waiting_first;
        s->waiting_first = m->next;
        drop_reply(c, m);
        loan_drop(m->waiting_loan);
    }
}
