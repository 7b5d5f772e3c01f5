// Scripts on a core. See script.h.
#include "dataplane/core/script.h"

#include <assert.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>
#include <x86intrin.h>

#include "dataplane/commands/effects.h"
#include "dataplane/commands/functions_commands.h"
#include "dataplane/commands/permission.h"
#include "dataplane/commands/scripting_commands.h"
#include "dataplane/core/access.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/latency.h"
#include "dataplane/core/monitor.h"
#include "dataplane/core/slowlog.h"
#include "dataplane/core/tracking.h"
#include "dataplane/core/transaction.h"
#include "dataplane/script/functions.h"
#include "dataplane/script/script.h"

#define ERROR_TEXT_MAX 1024
// A script runs for so long, and then gives the core back.
#define SLICE_US 1000
// Slots that are remembered one by one; who touches more is taken to touch all.
#define TOUCHED_MAX 64

struct scripts {
    struct script_engine *engine;
    struct loan *lent;     // with which the next one runs
    enum script_left left; // what became of the last one
    uint64_t slice_end;    // cycle counter
    bool may_pause;
    bool cleaning;   // up after the last one: the next has to wait
    bool strayed;    // it has touched what it did not declare
    bool watched;    // whether it strays
    bool everywhere; // all slots of all cores are borrowed
    // Slots that it may touch: declared and at hand, borrowed, or its own that were free.
    uint64_t mine[SLOTS / 64];
    uint16_t touched[TOUCHED_MAX]; // bits of `mine`
    unsigned n_touched;            // TOUCHED_MAX + 1: too many
    bool holds;                    // those of them that it has not borrowed are held
    uint64_t held[SLOTS / 64];
    unsigned n_held;
    // The job, and what is to become one.
    struct message *m, *reserved;
    struct loan *loan;
    struct reply_slot nobody; // where it answers when memory is short for another
    uint64_t started_ms;
    bool busy, busy_function; // others are told BUSY because of it
    struct message *call;     // goes on elsewhere; its reply comes here:
    struct reply_slot call_slot;
    // Loans that wait for the engine.
    struct message *waiting_first, *waiting_last;
    // Scripts of the process that are busy, as this core has heard.
    unsigned busy_scripts, busy_functions;
};

bool scripts_engaged(const struct core *c)
{
    return c->scripts->cleaning || script_under_way(c->scripts->engine);
}

// --- slots ---------------------------------------------------------------------------------------

static inline bool bit(const uint64_t *bits, uint16_t slot)
{
    return bits[slot / 64] >> (slot % 64) & 1;
}

static inline void set_bit(uint64_t *bits, uint16_t slot)
{
    bits[slot / 64] |= 1ull << (slot % 64);
}

static inline bool is_own(const struct core *c, uint16_t slot)
{
    return keyspace_core(c->server->keyspace, slot) == c->index;
}

static void hold(struct core *c, uint16_t slot)
{
    struct scripts *s = c->scripts;
    if (bit(s->held, slot) || bit(c->lent, slot) || !is_own(c, slot))
        return;
    loan_hold(c, slot);
    set_bit(s->held, slot);
    s->n_held++;
}

static void touch(struct scripts *s, uint16_t slot)
{
    set_bit(s->mine, slot);
    if (s->n_touched < TOUCHED_MAX)
        s->touched[s->n_touched++] = slot;
    else
        s->n_touched = TOUCHED_MAX + 1;
}

// The first pause: from now on others run, so what it has touched is kept from them.
static void hold_touched(struct core *c)
{
    struct scripts *s = c->scripts;
    s->holds = true;
    if (s->everywhere)
        return;
    if (s->n_touched <= TOUCHED_MAX)
        for (unsigned i = 0; i < s->n_touched; i++)
            hold(c, s->touched[i]);
    else
        for (unsigned slot = 0; slot < SLOTS; slot++)
            if (bit(s->mine, (uint16_t)slot))
                hold(c, (uint16_t)slot);
}

static void release_held(struct core *c)
{
    struct scripts *s = c->scripts;
    if (!s->n_held)
        return;
    uint16_t *slots = mi_mallocn(s->n_held, sizeof(*slots));
    unsigned n = 0;
    for (unsigned slot = 0; slot < SLOTS; slot++)
        if (bit(s->held, (uint16_t)slot)) {
            uint16_t one = (uint16_t)slot;
            if (slots)
                slots[n++] = one;
            else
                loan_release(c, &one, 1, true);
        }
    memset(s->held, 0, sizeof(s->held));
    s->n_held = 0;
    if (slots)
        loan_release(c, slots, n, true);
    mi_free(slots);
}

static void forget_touched(struct scripts *s)
{
    if (s->n_touched > TOUCHED_MAX)
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
    if (!is_own(c, slot) || bit(c->lent, slot))
        return false;
    touch(s, slot);
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
    int small[TOUCHED_MAX], *positions = small;
    if (r->argc > TOUCHED_MAX && !(positions = mi_mallocn((size_t)r->argc, sizeof(int))))
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
    r->effects = c->effects;
    c->executing++;
    if (__builtin_expect(!!r->effects, 0))
        effects_start(r);
    command->handler(r);
    if (__builtin_expect(!!r->effects, 0))
        effects_end(r);
    c->executing--;
    script_under_way(c->scripts->engine)->acted |= store_statistics(c->store)->dirty != dirty;
    c->counters.commands++;
    figures->calls++;
    uint64_t spent = __rdtsc() - begin;
    figures->usec += spent; // in cycles here; services.c gives microseconds
    if (__builtin_expect(r->replied_error, 0)) {
        figures->failed++;
        count_error(c, r->error_prefix[0] ? r->error_prefix : "ERR", 0);
    }
    latency_record(c, command->id, spent, 1);
    slowlog_look(c, NULL, command, r->argc, r->argv, spent);
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
    slowlog_look(c, NULL, r->command, r->argc, r->argv, e.cycles);
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
    if (s->lent && !loan_command(s->lent)->transaction)
        s->reserved = loan_command(s->lent);
    else
        s->reserved = message_command(r->session, r->command, r->argc, r->argv);
    return s->reserved;
}

static void unreserve(struct scripts *s)
{
    if (s->reserved && !(s->lent && s->reserved == loan_command(s->lent)))
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
    bool walks = command->route == ROUTE_CURSOR || command->route == ROUTE_ALL ||
                 command->part_keys || command->part_together;
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
    case ROUTE_CURSOR: {
        unsigned core = command->core_of(r) % c->server->n_cores;
        if (core != c->index)
            return call_elsewhere(c, run, r, core, error, size);
        take_back(c, true);
        run_handler(c, r);
        take_back(c, false);
        return SCRIPT_CALLED;
    }
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

static const struct script_host host = {
    .call = call, .look = look, .log = log_text, .denied = denied};

// --- where it runs -------------------------------------------------------------------------------

static struct script_code *known(struct core *c, const struct command *command,
                                 const struct arg *argv)
{
    bool by_sha = command->handler == evalsha_command || command->handler == evalsha_ro_command;
    if (command->handler == fcall_command || command->handler == fcall_ro_command)
        return script_known_function(c->scripts->engine, c->server->functions, &argv[1]);
    return by_sha ? script_known_sha(c->scripts->engine, &argv[1])
                  : script_known_text(c->scripts->engine, &argv[1]);
}

// What a script says of itself is asked before it runs, perhaps for the first time on this core.
// NULL: there is none, or it does not compile, and will be refused.
static const struct script_code *declared(struct core *c, const struct work *w)
{
    char error[ERROR_TEXT_MAX > FUNCTION_ERROR_MAX ? ERROR_TEXT_MAX : FUNCTION_ERROR_MAX];
    const struct arg *script = &w->argv[1];
    if (w->command->handler == fcall_command || w->command->handler == fcall_ro_command)
        return script_function(c->scripts->engine, c->server->functions, script, error);
    if (w->command->handler == evalsha_command || w->command->handler == evalsha_ro_command)
        return script_by_sha(c->scripts->engine, c->server->scripts, script, error, sizeof(error));
    if (script->len < 2 || memcmp(script->ptr, "#!", 2) != 0)
        return NULL;
    return script_by_text(c->scripts->engine, c->server->scripts, script, error, sizeof(error));
}

uint32_t scripts_flags(struct core *c, const struct work *w)
{
    uint32_t flags = w->command->flags;
    if (__builtin_expect(w->command->route != ROUTE_SCRIPT, 1))
        return flags;
    const struct script_code *code = declared(c, w);
    if (!code && w->command->handler == fcall_command)
        return flags | CMD_WRITE; // for all that is known
    if (!code || code->flags & SCRIPT_COMPAT)
        return flags;
    flags &= ~(uint32_t)(CMD_WRITE | CMD_MAY_REPLICATE);
    return code->flags & SCRIPT_NO_WRITES ? flags : flags | CMD_WRITE;
}

enum script_place scripts_place(struct core *c, const struct work *w)
{
    if (route_all_here(c))
        return SCRIPT_HERE;
    int small[TOUCHED_MAX], *positions = small;
    if (w->argc > TOUCHED_MAX && !(positions = mi_mallocn((size_t)w->argc, sizeof(int))))
        return SCRIPT_WHOLE;
    int n = commands_keys(w->command, w->argv, w->argc, positions, w->argc);
    const struct script_code *code = known(c, w->command, w->argv);
    enum script_place place = SCRIPT_HERE; // also where its arguments make no sense
    if (n >= 0 && (!code || code->reach != SCRIPT_REACH_KEYS))
        place = SCRIPT_WHOLE;
    for (int i = 0; place == SCRIPT_HERE && i < n; i++) {
        uint16_t slot = slot_of_key(w->argv[positions[i]].ptr, w->argv[positions[i]].len);
        if (!is_own(c, slot) || loan_holds(c, slot))
            place = SCRIPT_BORROW;
    }
    if (positions != small)
        mi_free(positions);
    return place;
}

void scripts_lend(struct core *c, struct loan *loan)
{
    c->scripts->lent = loan;
}

enum script_left scripts_left(const struct core *c, const struct stepped *stepped)
{
    return stepped == (const void *)c->scripts ? c->scripts->left : SCRIPT_OVER;
}

// --- EVAL ----------------------------------------------------------------------------------------

// What its flags have against it. NULL: nothing.
static const char *refuse(const struct script_code *code, bool read_only, bool short_of_memory)
{
    if (code->flags & SCRIPT_COMPAT)
        return NULL;
    if (read_only && !(code->flags & SCRIPT_NO_WRITES))
        return "ERR Can not execute a script with write flag using *_ro command.";
    if (short_of_memory && !(code->flags & (SCRIPT_NO_WRITES | SCRIPT_ALLOW_OOM)))
        return ERR_OOM;
    return NULL;
}

static void slice_begins(struct core *c)
{
    c->scripts->slice_end = __rdtsc() + SLICE_US * c->server->cycles_per_us;
}

static void look_clean(struct core *c)
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
    slice_begins(c);
    while (__rdtsc() < s->slice_end)
        if (script_clean(s->engine)) {
            s->cleaning = false;
            c->attention &= ~(uint32_t)ATTEND_SCRIPT;
            return;
        }
}

// It is over, or is to begin again.
static void ended(struct core *c, struct script_code *code, bool again)
{
    struct scripts *s = c->scripts;
    if (s->watched && code->reach != SCRIPT_REACH_ALL && !again)
        code->reach = s->strayed ? SCRIPT_REACH_ALL : SCRIPT_REACH_KEYS;
    forget_touched(s);
    unreserve(s);
    look_clean(c);
}

static void prepare(struct core *c, const struct script_start *start)
{
    struct scripts *s = c->scripts;
    const struct request *r = start->request;
    s->everywhere = s->lent && loan_command(s->lent)->whole;
    s->strayed = false;
    s->may_pause = r->may_work;
    s->watched = s->lent || !route_all_here(c);
    if (!s->watched)
        return;
    for (int i = 0; i < start->n_keys; i++) {
        const struct arg *a = &r->argv[start->first_key + i];
        uint16_t slot = slot_of_key(a->ptr, a->len);
        if (!bit(s->mine, slot))
            touch(s, slot);
    }
}

static void run_code(struct request *r, struct script_code *code, bool read_only, int n_keys)
{
    struct core *c = r->core;
    struct scripts *s = c->scripts;
    bool short_of_memory = c->settings.maxmemory && !store_make_room(c->store);
    const char *text = refuse(code, read_only, short_of_memory);
    if (text) {
        request_error(r, text);
        return;
    }
    struct script_start start = {.code = code,
                                 .request = r,
                                 .first_key = 3,
                                 .n_keys = n_keys,
                                 .read_only = read_only,
                                 .short_of_memory = short_of_memory};
    prepare(c, &start);
    code->refs++;
    slice_begins(c);
    enum script_ended end = script_start(s->engine, &start);
    if (__builtin_expect(end == SCRIPT_DONE, 1)) {
        ended(c, code, false);
    } else if (end == SCRIPT_START_AGAIN) {
        ended(c, code, true);
        s->left = SCRIPT_BEGINS_AGAIN;
        r->stepped = (void *)s;
    } else {
        s->left = SCRIPT_GOES_ON;
        s->started_ms = c->now_ms;
        r->stepped = (void *)s;
    }
    script_code_release(s->engine, code);
}

static void eval(struct request *r, bool by_sha, bool read_only, int n_keys)
{
    struct core *c = r->core;
    struct script_engine *e = c->scripts->engine;
    char error[ERROR_TEXT_MAX] = "";
    struct script_code *code =
        by_sha ? script_by_sha(e, c->server->scripts, &r->argv[1], error, sizeof(error))
               : script_by_text(e, c->server->scripts, &r->argv[1], error, sizeof(error));
    if (code)
        run_code(r, code, read_only, n_keys);
    else if (*error)
        request_errorf(r, "%s", error);
    else
        request_error(r, ERR_NO_SCRIPT);
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

// --- FCALL ---------------------------------------------------------------------------------------

struct script_engine *scripts_engine(const struct core *c)
{
    return c->scripts->engine;
}

static void call_function(struct request *r, bool read_only)
{
    struct core *c = r->core;
    char error[FUNCTION_ERROR_MAX];
    int64_t n_keys;
    struct script_code *code =
        script_function(c->scripts->engine, c->server->functions, &r->argv[1], error);
    if (!code)
        request_errorf(r, "ERR %s", error);
    else if (!parse_int64(r->argv[2].ptr, r->argv[2].len, &n_keys))
        request_error(r, "ERR Bad number of keys provided");
    else if (n_keys > r->argc - 3)
        request_error(r, "ERR Number of keys can't be greater than number of args");
    else if (n_keys < 0)
        request_error(r, "ERR Number of keys can't be negative");
    else
        run_code(r, code, read_only, (int)n_keys);
}

static void running_function(struct request *r)
{
    struct core *c = r->core;
    const struct message *m = c->scripts->m;
    const struct script_run *run = script_under_way(c->scripts->engine);
    if (!m || !run || run->code->eval)
        return;
    reply_map(r->out, r->session->resp, 3);
    reply_bulk_string(r->out, "name");
    reply_bulk_string(r->out, run->code->name);
    reply_bulk_string(r->out, "command");
    reply_array(r->out, m->argc);
    for (int i = 0; i < m->argc; i++)
        reply_bulk(r->out, m->argv[i].ptr, m->argv[i].len);
    reply_bulk_string(r->out, "duration_ms");
    reply_integer(r->out, (int64_t)((c->now_us - run->started_us) / 1000));
}

// --- the job -------------------------------------------------------------------------------------

static void news_of(struct core *c, bool function, int change)
{
    struct scripts *s = c->scripts;
    *(function ? &s->busy_functions : &s->busy_scripts) += (unsigned)change;
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
    return c->scripts->busy_scripts ? ERR_BUSY_SCRIPT : ERR_BUSY_FUNCTION;
}

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
    hold_touched(c);
    return s->m;
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
    release_held(c);
    forget_touched(s);
    look_clean(c);
    if (!again)
        latency_record(c, m->command->id, m->cycles, 1);
    if (loan && loan_command(loan) != m) {
        transaction_resumed(c, loan, m);
    } else if (loan && again) {
        loan_again(c, loan);
    } else if (loan) {
        loan_worked(c, loan);
    } else if (again) {
        m->whole = true;
        loan_begin(c, m);
    } else {
        slowlog_look(c, m->slot->client, m->command, m->argc, m->argv, m->cycles);
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
    struct session session = m->session;
    struct request r = {
        .session = &session,
        .client = NULL,
        .command = m->command,
        .argc = m->argc,
        .argv = m->argv,
        .out = &m->slot->out.out,
        .store = c->store,
        .services = &c->services,
        .core = c,
        .now_ms = c->now_ms,
        .now_us = c->now_us,
        .core_index = c->index,
        .limits = &c->settings.limits,
    };
    if (c->timed)
        execute_timed(c);
    uint64_t begin = __rdtsc();
    uint64_t dirty = s->loan ? loan_enter(c, s->loan) : 0;
    store_set_time(c->store, s->started_ms);
    c->executing++;
    code->refs++;
    slice_begins(c);
    enum script_ended end = script_resume(s->engine, &r);
    c->executing--;
    store_set_time(c->store, c->now_ms);
    if (s->loan)
        loan_leave(c, s->loan, dirty);
    c->command_mark = __rdtsc();
    m->cycles += c->command_mark - begin;
    c->command_figures[m->command->id].usec += c->command_mark - begin;
    if (r.replied_error) { // the call was counted when it came
        c->command_figures[m->command->id].failed++;
        count_error(c, r.error_prefix[0] ? r.error_prefix : "ERR", 0);
    }
    if (end == SCRIPT_PAUSED) {
        look_busy(c, run);
    } else {
        if (s->watched && code->reach != SCRIPT_REACH_ALL && end == SCRIPT_DONE)
            code->reach = s->strayed ? SCRIPT_REACH_ALL : SCRIPT_REACH_KEYS;
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

bool scripts_turn(struct core *c)
{
    struct scripts *s = c->scripts;
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
    if (__builtin_expect(!s->waiting_first, 1))
        return false;
    struct message *m = s->waiting_first;
    s->waiting_first = m->next;
    if (!m->next)
        s->waiting_last = NULL;
    m->next = NULL;
    loan_run(c, m->waiting_loan);
    return true;
}

void scripts_end(struct core *c)
{
    struct scripts *s = c->scripts;
    if (!s)
        return;
    script_abandon(s->engine);
    if (s->call)
        message_free(s->call);
    if (s->loan && s->m != loan_command(s->loan))
        message_free(s->m);
    if (s->loan)
        loan_drop(s->loan);
    else if (s->m)
        message_free(s->m);
    s->call = s->m = NULL;
    while (s->waiting_first) {
        struct message *m = s->waiting_first;
        s->waiting_first = m->next;
        loan_drop(m->waiting_loan);
    }
}

// --- SCRIPT --------------------------------------------------------------------------------------

static void load(struct request *r)
{
    struct core *c = r->core;
    char error[ERROR_TEXT_MAX] = "";
    struct script_code *code =
        script_by_text(c->scripts->engine, c->server->scripts, &r->argv[2], error, sizeof(error));
    if (code)
        reply_bulk(r->out, code->name, SCRIPT_SHA_LEN);
    else
        request_errorf(r, "%s", error);
}

static bool exists(struct core *c, const struct arg *sha)
{
    return script_texts_has(c->server->scripts, sha);
}

static void flush(struct core *c)
{
    script_texts_flush(c->server->scripts);
    script_forget(c->scripts->engine);
}

static enum script_killed end_script(struct core *c, bool function)
{
    struct script_run *run = script_under_way(c->scripts->engine);
    if (!run)
        return SCRIPT_KILLED_NONE;
    if (run->wrote)
        return SCRIPT_KILLED_NOT;
    if (run->code->eval == function)
        return function ? SCRIPT_KILLED_IS_SCRIPT : SCRIPT_KILLED_IS_FUNCTION;
    script_kill(run);
    return SCRIPT_KILLED_OK;
}

static const char *busy_error(struct core *c)
{
    return c->attention & ATTEND_BUSY ? scripts_busy(c) : NULL;
}

static void figures(struct core *c, struct script_figures *f)
{
    const struct script_run *run = script_under_way(c->scripts->engine);
    *f = (struct script_figures){.lua_bytes = script_memory(c->scripts->engine), .running = run};
    if (run)
        f->running_us = c->now_us - run->started_us;
    script_texts_figures(c->server->scripts, &f->scripts, &f->text_bytes);
}

void scripts_services(struct services *services)
{
    services->script_eval = eval;
    services->script_load = load;
    services->function_call = call_function;
    services->function_running = running_function;
    services->script_exists = exists;
    services->script_flush = flush;
    services->script_kill = end_script;
    services->script_busy = busy_error;
    services->script_figures = figures;
}

// --- the core ------------------------------------------------------------------------------------

bool scripts_start(struct core *c)
{
    uint64_t secret[4];
    for (unsigned i = 0; i < 4; i++)
        secret[i] = core_random(c);
    c->scripts = mi_zalloc(sizeof(*c->scripts));
    if (c->scripts)
        c->scripts->engine = script_engine_create(&host, c, 0, secret);
    return c->scripts && c->scripts->engine;
}

void scripts_stop(struct core *c)
{
    if (c->scripts)
        script_engine_destroy(c->scripts->engine);
    mi_free(c->scripts);
    c->scripts = NULL;
}

void scripts_configure(struct core *c)
{
    c->settings.busy_reply_us = (uint64_t)config_integer(c->config, "busy-reply-threshold") * 1000;
    if (c->scripts)
        script_limit(c->scripts->engine, (uint64_t)config_integer(c->config, "lua-memory-limit"));
}
