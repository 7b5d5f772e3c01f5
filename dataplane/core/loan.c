// Lending slots. A command over slots of several cores runs on one core that borrows them, core by
// core in ascending order, so that two borrowers can never wait for each other. What arrives for a
// lent slot waits at its owner, in order; `held` marks the slots that are lent or waited for.
#include <assert.h>
#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/core/blocked.h"
#include "dataplane/core/script.h"
#include "dataplane/core/slowlog.h"
#include "dataplane/core/tracking.h"
#include "dataplane/core/transaction.h"
#include "dataplane/core/watch.h"

// One command that borrows: the command, and one message for each core that lends.
struct loan {
    struct message *command;
    unsigned n, granted;
    struct message *lender[PLANE_CORES_MAX];
    unsigned core[PLANE_CORES_MAX];
    bool changed;          // keys may be other than they were
    bool observed;         // somebody watches keys of a lender
    struct waiter *waiter; // that the command has become, or that it runs again for
    bool served;           // the latter was,
    struct outbuf out;     // with this reply
};

static inline uint16_t slot_at(const struct message *m, unsigned i)
{
    return m->slots ? m->slots[i] : m->key.slot;
}

static void mark(uint64_t *bits, const struct message *m, bool on)
{
    for (unsigned i = 0; i < m->n_slots; i++) {
        uint64_t bit = 1ull << (slot_at(m, i) % 64);
        if (on)
            bits[slot_at(m, i) / 64] |= bit;
        else
            bits[slot_at(m, i) / 64] &= ~bit;
    }
}

bool loan_blocks(const struct core *c, const struct message *m)
{
    if (m->whole)
        return c->loans || c->waiting_first;
    for (unsigned i = 0; i < m->n_slots; i++)
        if (loan_holds(c, slot_at(m, i)))
            return true;
    return false;
}

void loan_wait(struct core *c, struct message *m)
{
    m->next = NULL;
    if (c->waiting_last)
        c->waiting_last->next = m;
    else
        c->waiting_first = m;
    c->waiting_last = m;
    if (m->whole)
        memset(c->held, 0xff, sizeof(c->held));
    else
        mark(c->held, m, true);
}

// The client went away before its command began. Transactions, and what waits for others, are given
// up then, so that what many such asked for holds up nobody; a plain write is done all the same: it
// costs little, and those who write and leave count on it.
static bool abandoned(const struct loan *loan)
{
    const struct message *m = loan->command;
    if (m->waiter ||
        (!m->transaction && m->command->flags & CMD_WRITE && m->command->route != ROUTE_BORROW))
        return false;
    return atomic_load_explicit(&m->slot->reader, memory_order_relaxed) == READER_LOST;
}

bool loan_refuses(const struct core *c, const struct message *m)
{
    // Others that wait have no command.
    return __builtin_expect(c->attention & ATTEND_BUSY, 0) &&
           ((m->kind == MESSAGE_COMMAND && !m->loan) ||
            (m->kind == MESSAGE_BORROW && !m->loan->command->waiter)) &&
           !(m->command->flags & CMD_ALLOW_BUSY);
}

// Runs what waited and need wait no longer, keeping the order of each slot.
static void run_waiting(struct core *c)
{
    if (c->waiting_runs) {
        c->waiting_again = true;
        return;
    }
    c->waiting_runs = true;
    do {
        c->waiting_again = false;
        struct message *m = c->waiting_first;
        c->waiting_first = c->waiting_last = NULL;
        memcpy(c->held, c->lent, sizeof(c->held));
        for (struct message *next; m; m = next) {
            next = m->next;
            m->next = NULL;
            if (m->kind == MESSAGE_BORROW)
                loan_lend(c, m);
            else if (loan_blocks(c, m) && !loan_refuses(c, m))
                loan_wait(c, m);
            else if (m->kind == MESSAGE_PART)
                gather_part(c, m);
            else if (m->kind == MESSAGE_UNWATCH)
                watch_out(c, m);
            else
                route_execute(c, m);
        }
    } while (c->waiting_again);
    c->waiting_runs = false;
}

void loan_look_waiting(struct core *c)
{
    if (c->waiting_first)
        run_waiting(c);
}

static void loan_next(struct core *c, struct loan *loan)
{
    struct message *b = loan->lender[loan->granted];
    unsigned to = loan->core[loan->granted];
    if (to == c->index)
        loan_lend(c, b);
    else
        mailbox_send(c, to, b);
}

static int by_core_and_slot(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void loan_fail(struct core *c, struct loan *loan, struct message *m)
{
    for (unsigned i = 0; loan && i < loan->n; i++)
        message_free(loan->lender[i]);
    mi_free(loan);
    if (m->waiter) {
        blocked_retry_failed(c, m->waiter);
        waiter_release(m->waiter);
    } else {
        reply_error(&m->slot->out.out, "ERR out of memory");
        client_complete(c, m->slot);
    }
    message_free(m);
}

static struct message *loan_ask(struct core *c, struct loan *loan, struct message *m, unsigned core)
{
    struct message *b = message_command(&m->session, m->command, 0, NULL);
    if (!b)
        return NULL;
    b->kind = MESSAGE_BORROW;
    b->from = c->index;
    b->loan = loan;
    loan->core[loan->n] = core;
    loan->lender[loan->n++] = b;
    return b;
}

// The slots of the command, or those that it names, grouped by core.
static bool loan_group(struct core *c, struct loan *loan, struct message *m)
{
    int most = m->slots ? (int)m->n_slots : m->argc;
    int *positions = mi_mallocn((size_t)most, sizeof(int));
    uint32_t *at = mi_mallocn((size_t)most, sizeof(uint32_t));
    bool ok = positions && at;
    int n = ok && m->slots ? most
            : ok           ? commands_keys(m->command, m->argv, m->argc, positions, most)
                           : 0;
    for (int i = 0; i < n; i++) {
        uint16_t slot = m->slots
                            ? m->slots[i]
                            : slot_of_key(m->argv[positions[i]].ptr, m->argv[positions[i]].len);
        at[i] = keyspace_core(c->server->keyspace, slot) * SLOTS + slot;
    }
    if (ok && n > 1)
        qsort(at, (size_t)n, sizeof(*at), by_core_and_slot);
    struct message *b = NULL;
    for (int i = 0; ok && i < n; i++) {
        if (i && at[i] == at[i - 1])
            continue;
        if (!b || loan->core[loan->n - 1] != at[i] / SLOTS) {
            b = loan_ask(c, loan, m, at[i] / SLOTS);
            ok = b && (b->slots = mi_mallocn((size_t)(n - i), sizeof(uint16_t)));
            if (!ok)
                break;
        }
        b->slots[b->n_slots++] = (uint16_t)(at[i] % SLOTS);
    }
    mi_free(positions);
    mi_free(at);
    return ok && loan->n;
}

void loan_begin(struct core *c, struct message *m)
{
    struct loan *loan = mi_zalloc(sizeof(*loan));
    if (!loan) {
        loan_fail(c, NULL, m);
        return;
    }
    loan->command = m;
    outbuf_init(&loan->out);
    bool ok = true;
    if (m->whole) {
        for (unsigned core = 0; ok && core < c->server->n_cores; core++) {
            struct message *b = loan_ask(c, loan, m, core);
            ok = b;
            if (ok)
                b->whole = true;
        }
    } else {
        ok = loan_group(c, loan, m);
    }
    if (!ok) {
        loan_fail(c, loan, m);
        return;
    }
    c->counters.borrows++;
    c->together++;
    loan_next(c, loan);
}

// Tells the store for each slot that leaves or comes home.
static void tell_store(struct core *c, const struct message *b,
                       void (*tell)(struct store *, uint16_t))
{
    for (unsigned i = 0; i < b->n_slots; i++)
        tell(c->store, slot_at(b, i));
}

void loan_take_back(struct core *c)
{
    store_all_returned(c->store);
}

void loan_lend_again(struct core *c)
{
    store_all_lent(c->store);
}

static void grant(struct core *c, struct message *b)
{
    b->kind = MESSAGE_GRANT;
    if (b->from == c->index)
        loan_granted(c, b);
    else
        mailbox_send(c, b->from, b);
}

static void lend(struct core *c, struct message *b)
{
    if (b->whole) {
        memset(c->lent, 0xff, sizeof(c->lent));
        memset(c->held, 0xff, sizeof(c->held));
        store_all_lent(c->store);
    } else {
        mark(c->lent, b, true);
        mark(c->held, b, true);
        tell_store(c, b, store_slot_lent);
    }
    c->loans++;
    b->observed = c->watched_keys || c->tracked_keys;
}

struct loan *loan_take_all(struct core *c, struct message *m)
{
    assert(c->server->n_cores == 1 && !c->loans);
    struct loan *loan = mi_zalloc(sizeof(*loan));
    struct message *b = NULL;
    if (loan) {
        outbuf_init(&loan->out);
        b = loan_ask(c, loan, m, c->index);
    }
    if (!b) {
        mi_free(loan);
        return NULL;
    }
    m->whole = b->whole = true;
    lend(c, b);
    b->kind = MESSAGE_GRANT;
    loan->command = m;
    loan->changed = true; // by what it has done so far
    loan->observed = b->observed;
    loan->granted = 1;
    c->counters.borrows++;
    c->together++;
    return loan;
}

void loan_lend(struct core *c, struct message *b)
{
    if (abandoned(b->loan)) {
        b->refused = true;
        grant(c, b);
        return;
    }
    if (loan_blocks(c, b)) {
        if (!loan_refuses(c, b)) {
            loan_wait(c, b);
            return;
        }
        b->refused = true;
        grant(c, b);
        return;
    }
    lend(c, b);
    grant(c, b);
}

// The slots go back, with word of what was done. The own ones last: what waits for them may serve a
// new waiter, and the others must have heard of it before they hear that it is over.
static void give_back(struct core *c, struct loan *loan)
{
    struct message *own = NULL;
    for (unsigned i = 0; i < loan->n; i++) {
        struct message *back = loan->lender[i];
        back->kind = MESSAGE_RETURN;
        back->changed = loan->changed;
        back->waiter = loan->waiter;
        back->retried = loan->command->waiter;
        if (back->waiter)
            waiter_retain(back->waiter);
        if (loan->core[i] == c->index)
            own = back;
        else
            mailbox_send(c, loan->core[i], back);
    }
    if (own)
        loan_returned(c, own);
}

// Gives the slots back and answers.
static void loan_end(struct core *c, struct loan *loan)
{
    struct message *m = loan->command;
    struct waiter *w = loan->waiter; // held until here: the first lender may have served it already
    give_back(c, loan);
    c->together--;
    if (!w && m->command->route != ROUTE_GATHER)
        command_over(c, m->slot->client, m->command, m->argc, m->argv, m->cycles);
    if (!w)
        client_complete(c, m->slot);
    else if (!m->waiter)
        blocked_check(c, w);
    else if (loan->served)
        blocked_retried(c, w, &loan->out);
    if (w)
        waiter_release(w);
    outbuf_clear(&loan->out);
    mi_free(loan);
    message_free(m);
}

uint64_t loan_enter(struct core *c, const struct loan *loan)
{
    c->lender_observed = loan->observed;
    core_observe(c);
    return store_statistics(c->store)->dirty;
}

void loan_leave(struct core *c, struct loan *loan, uint64_t dirty)
{
    loan->changed |= store_statistics(c->store)->dirty != dirty;
    loan->observed |= c->lender_observed; // it may have added what is to be told
    c->lender_observed = false;
    core_observe(c);
}

bool loan_observed(const struct loan *loan)
{
    return loan->observed;
}

static void loan_execute(struct core *c, struct loan *loan, struct execution *e)
{
    uint64_t dirty = loan_enter(c, loan);
    execute(c, e, EXECUTE_HANDLER);
    loan_leave(c, loan, dirty);
}

static struct execution execution_of(const struct message *m)
{
    return (struct execution){
        .session = m->session,
        .client = m->command->route == ROUTE_HELD ? m->slot->client : NULL,
        .command = m->command,
        .argv = m->argv,
        .argc = m->argc,
        .out = &m->slot->out.out,
    };
}

// A call that will be counted again.
static void uncount(struct core *c, const struct command *command)
{
    c->command_figures[command->id].calls--;
    c->counters.commands--;
}

void loan_again(struct core *c, struct loan *loan)
{
    struct message *m = loan->command;
    give_back(c, loan);
    c->together--;
    outbuf_clear(&loan->out);
    mi_free(loan);
    mi_free(m->slots);
    m->slots = NULL;
    m->n_slots = 0;
    m->whole = true;
    loan_begin(c, m);
}

// The command waits: the lenders hear of it when their slots come home, before anything else runs
// there.
static void loan_waits(struct core *c, struct loan *loan)
{
    loan->waiter = blocked_take(c);
    loan->waiter->home = c->index;
    waiter_retain(loan->waiter);
    blocked_begin(c, loan->waiter, loan->command->slot);
}

// The command of a waiter, again.
static void loan_retry(struct core *c, struct loan *loan)
{
    loan->waiter = loan->command->waiter;
    uint64_t dirty = loan_enter(c, loan);
    loan->served = blocked_run(c, loan->waiter, NULL, &loan->out);
    loan_leave(c, loan, dirty);
    loan_end(c, loan);
}

// A script is busy, and has what the command waits for.
static void refuse_busy(struct core *c, struct message *m)
{
    struct out *out = &m->slot->out.out;
    const char *text = scripts_busy(c);
    if (m->transaction && !m->transaction->begun) {
        reply_errorf(out, "EXECABORT Transaction discarded because of: %s", text);
        if (m->slot->client)
            watch_drop(c, m->slot->client);
    } else {
        reply_error(out, text);
    }
    c->command_figures[m->command->id].rejected++;
    count_error(c, text, 0);
}

// Nobody is left to run it for, or it is refused: what was lent goes back, the rest is not asked
// for.
void loan_give_up(struct core *c, struct loan *loan)
{
    if (!abandoned(loan))
        refuse_busy(c, loan->command);
    for (unsigned i = loan->granted; i < loan->n; i++)
        message_free(loan->lender[i]);
    loan->n = loan->granted;
    loan_end(c, loan);
}

void loan_granted(struct core *c, struct message *b)
{
    struct loan *loan = b->loan;
    assert(loan->lender[loan->granted] == b);
    loan->observed |= b->observed;
    loan->granted += !b->refused;
    if (b->refused || abandoned(loan)) {
        loan_give_up(c, loan);
        return;
    }
    if (loan->granted < loan->n) {
        loan_next(c, loan);
        return;
    }
    loan_run(c, loan);
}

static bool runs_script(const struct loan *loan)
{
    return loan->command->command->route == ROUTE_SCRIPT;
}

void loan_run(struct core *c, struct loan *loan)
{
    if (loan->command->waiter) {
        loan_retry(c, loan);
        return;
    }
    if (runs_script(loan) && scripts_engaged(c)) {
        scripts_wait(c, loan);
        return;
    }
    if (loan->command->transaction) {
        transaction_granted(c, loan);
        return;
    }
    if (loan->command->command->route == ROUTE_GATHER) {
        gather_lent(c, loan);
        return;
    }
    struct execution e = execution_of(loan->command);
    e.may_migrate = e.command->route == ROUTE_BORROW;
    e.may_block = !e.session.internal;
    e.may_work = runs_script(loan) || (!loan->command->whole && !e.may_migrate);
    if (runs_script(loan))
        scripts_lend(c, loan);
    loan_execute(c, loan, &e);
    scripts_lend(c, NULL);
    loan->command->cycles = e.cycles;
    switch (scripts_left(c, e.stepped)) {
    case SCRIPT_GOES_ON:
        scripts_take(c, loan->command->slot, loan);
        return;
    case SCRIPT_BEGINS_AGAIN:
        uncount(c, loan->command->command);
        loan_again(c, loan);
        return;
    case SCRIPT_OVER:
        break;
    }
    if (__builtin_expect(!!e.stepped, 0)) {
        steps_take_loan(c, e.stepped, loan);
        return;
    }
    if (__builtin_expect(!!e.migration, 0)) {
        migrate_take(c, e.migration, loan);
        return;
    }
    if (__builtin_expect(e.blocked, 0))
        loan_waits(c, loan);
    loan_end(c, loan);
}

void loan_finish(struct core *c, struct loan *loan, const struct gathered *result)
{
    struct transaction *t = loan->command->transaction;
    struct message *m = t ? t->under_way : loan->command;
    struct execution e = execution_of(m);
    e.parts = result;
    e.n_parts = 1;
    e.cycles = m->cycles;
    uncount(c, e.command); // the second half of one call
    struct effects *outer = transaction_tells(c, t);
    loan_execute(c, loan, &e);
    c->effects = outer;
    if (t) {
        command_over(c, m->slot->client, m->command, m->argc, m->argv, e.cycles);
        transaction_resumed(c, loan, m);
        return;
    }
    m->cycles = e.cycles;
    loan_end(c, loan);
}

struct message *loan_command(const struct loan *loan)
{
    return loan->command;
}

void loan_worked(struct core *c, struct loan *loan)
{
    loan->changed |= (loan->command->command->flags & CMD_WRITE) != 0;
    loan_end(c, loan);
}

void loan_drop(struct loan *loan)
{
    for (unsigned i = 0; i < loan->n; i++)
        message_free(loan->lender[i]);
    message_free(loan->command);
    mi_free(loan);
}

void loan_hold(struct core *c, uint16_t slot)
{
    assert(!(c->lent[slot / 64] >> (slot % 64) & 1));
    c->lent[slot / 64] |= 1ull << (slot % 64);
    c->held[slot / 64] |= 1ull << (slot % 64);
    c->loans++;
    store_slot_lent(c->store, slot);
}

void loan_release(struct core *c, const uint16_t *slots, unsigned n, bool changed)
{
    for (unsigned i = 0; i < n; i++) {
        c->lent[slots[i] / 64] &= ~(1ull << (slots[i] % 64));
        store_slot_returned(c->store, slots[i]);
        c->loans--;
    }
    parked_slots_returned(c, slots, n, changed);
    run_waiting(c);
}

// The borrower may have added watches and keys that clients hold, or taken some out.
static void count_watched(struct core *c, const struct message *b)
{
    for (unsigned i = 0; !b->whole && i < b->n_slots; i++) {
        watch_settle(c, slot_at(b, i));
        tracking_settle(c, slot_at(b, i));
    }
    if (!b->whole)
        return;
    bool watches = atomic_exchange_explicit(&c->unsettled, false, memory_order_relaxed);
    bool tracks =
        c->tracked_keys || atomic_load_explicit(&c->server->tracking_clients, memory_order_relaxed);
    for (unsigned slot = 0; (watches || tracks) && slot < SLOTS; slot++)
        if (keyspace_core(c->server->keyspace, (uint16_t)slot) == c->index) {
            watch_settle(c, (uint16_t)slot);
            tracking_settle(c, (uint16_t)slot);
        }
}

void loan_returned(struct core *c, struct message *b)
{
    if (b->whole) {
        memset(c->lent, 0, sizeof(c->lent));
        store_all_returned(c->store);
    } else {
        mark(c->lent, b, false);
        tell_store(c, b, store_slot_returned);
    }
    c->loans--;
    count_watched(c, b);
    parked_returned(c, b);
    message_free(b);
    run_waiting(c);
}
