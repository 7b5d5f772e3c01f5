// Lending slots. A command over slots of several cores runs on one core that borrows them, core by
// core in ascending order, so that two borrowers can never wait for each other. What arrives for a
// lent slot waits at its owner, in order; `held` marks the slots that are lent or waited for.
#include <assert.h>
#include <mimalloc.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/core/message.h"

// One command that borrows: the command, and one message for each core that lends.
struct loan {
    struct message *command;
    unsigned n, granted;
    struct message *lender[PLANE_CORES_MAX];
    unsigned core[PLANE_CORES_MAX];
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
            if (loan_blocks(c, m))
                loan_wait(c, m);
            else if (m->kind == MESSAGE_BORROW)
                loan_lend(c, m);
            else if (m->kind == MESSAGE_PART)
                gather_part(c, m);
            else
                route_execute(c, m);
        }
    } while (c->waiting_again);
    c->waiting_runs = false;
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
    reply_error(&m->slot->out.out, "ERR out of memory");
    client_complete(c, m->slot);
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

// The slots of the command, grouped by core.
static bool loan_group(struct core *c, struct loan *loan, struct message *m)
{
    int positions_max = m->argc;
    int *positions = mi_mallocn((size_t)positions_max, sizeof(int));
    uint32_t *at = mi_mallocn((size_t)positions_max, sizeof(uint32_t));
    bool ok = positions && at;
    int n = ok ? commands_keys(m->command, m->argv, m->argc, positions, positions_max) : 0;
    for (int i = 0; i < n; i++) {
        uint16_t slot = slot_of_key(m->argv[positions[i]].ptr, m->argv[positions[i]].len);
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
    if (!b->whole) {
        for (unsigned i = 0; i < b->n_slots; i++)
            tell(c->store, slot_at(b, i));
        return;
    }
    for (unsigned slot = 0; slot < SLOTS; slot++)
        if (keyspace_core(c->server->keyspace, (uint16_t)slot) == c->index)
            tell(c->store, (uint16_t)slot);
}

void loan_lend(struct core *c, struct message *b)
{
    if (loan_blocks(c, b)) {
        loan_wait(c, b);
        return;
    }
    if (b->whole) {
        memset(c->lent, 0xff, sizeof(c->lent));
        memset(c->held, 0xff, sizeof(c->held));
    } else {
        mark(c->lent, b, true);
        mark(c->held, b, true);
    }
    c->loans++;
    tell_store(c, b, store_slot_lent);
    b->kind = MESSAGE_GRANT;
    if (b->from == c->index)
        loan_granted(c, b);
    else
        mailbox_send(c, b->from, b);
}

// Gives the slots back and answers.
static void loan_end(struct core *c, struct loan *loan)
{
    struct message *m = loan->command;
    for (unsigned i = 0; i < loan->n; i++) {
        struct message *back = loan->lender[i];
        back->kind = MESSAGE_RETURN;
        if (loan->core[i] == c->index)
            loan_returned(c, back);
        else
            mailbox_send(c, loan->core[i], back);
    }
    mi_free(loan);
    c->together--;
    client_complete(c, m->slot);
    message_free(m);
}

void loan_granted(struct core *c, struct message *b)
{
    struct loan *loan = b->loan;
    assert(loan->lender[loan->granted] == b);
    if (++loan->granted < loan->n) {
        loan_next(c, loan);
        return;
    }
    const struct message *m = loan->command;
    struct execution e = {
        .session = m->session,
        .command = m->command,
        .argv = m->argv,
        .argc = m->argc,
        .out = &m->slot->out.out,
    };
    e.may_migrate = m->command->route == ROUTE_BORROW;
    execute(c, &e, EXECUTE_HANDLER);
    if (__builtin_expect(!!e.migration, 0))
        migrate_take(c, e.migration, loan);
    else
        loan_end(c, loan);
}

void loan_finish(struct core *c, struct loan *loan, const struct gathered *result)
{
    const struct message *m = loan->command;
    struct execution e = {
        .session = m->session,
        .command = m->command,
        .argv = m->argv,
        .argc = m->argc,
        .out = &m->slot->out.out,
        .parts = result,
        .n_parts = 1,
    };
    c->command_figures[m->command->id].calls--; // the second half of one call
    c->counters.commands--;
    execute(c, &e, EXECUTE_HANDLER);
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
    assert(!loan_holds(c, slot));
    c->lent[slot / 64] |= 1ull << (slot % 64);
    c->held[slot / 64] |= 1ull << (slot % 64);
    c->loans++;
    store_slot_lent(c->store, slot);
}

void loan_release(struct core *c, uint16_t slot)
{
    c->lent[slot / 64] &= ~(1ull << (slot % 64));
    store_slot_returned(c->store, slot);
    c->loans--;
    run_waiting(c);
}

void loan_returned(struct core *c, struct message *b)
{
    tell_store(c, b, store_slot_returned);
    if (b->whole)
        memset(c->lent, 0, sizeof(c->lent));
    else
        mark(c->lent, b, false);
    c->loans--;
    message_free(b);
    run_waiting(c);
}
