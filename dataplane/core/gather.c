// Commands that run on every core and answer at home: `start` at home, `part` on each core into an
// output of its own, then the handler at home with the parts side by side.
#include <assert.h>
#include <mimalloc.h>
#include <string.h>

#include "common/block.h"
#include "dataplane/core/message.h"
#include "dataplane/core/slowlog.h"
#include "dataplane/core/transaction.h"

struct gather {
    struct message *command; // read by all cores, changed by none
    struct loan *loan;       // of all slots, that its parts are of one moment; NULL: it has none
    unsigned left;
    unsigned n;
    struct message *part[PLANE_CORES_MAX];
};

// Only home may look at the slot, and so at the client.
static struct execution execution_of(const struct message *m, struct out *out, bool home)
{
    return (struct execution){
        .session = m->session,
        .client = home ? m->slot->client : NULL,
        .command = m->command,
        .argv = m->argv,
        .argc = m->argc,
        .out = out,
    };
}

static void gather_finish(struct core *c, struct gather *g)
{
    struct message *m = g->command;
    struct gathered parts[PLANE_CORES_MAX];
    struct block *made[PLANE_CORES_MAX];
    for (unsigned i = 0; i < g->n; i++)
        parts[i] = gathered(made[i] = outbuf_block(&g->part[i]->out));
    struct execution e = execution_of(m, &m->slot->out.out, true);
    e.parts = parts;
    e.n_parts = g->n;
    for (unsigned i = 0; i < g->n; i++) // they ran at the same time
        if (g->part[i]->cycles > e.cycles)
            e.cycles = g->part[i]->cycles;
    // Else nobody is left to read the answer.
    if (e.client || m->script || m->command->takes_back)
        execute(c, &e, EXECUTE_HANDLER);
    command_over(c, e.client, m->command, m->argc, m->argv, e.cycles);
    for (unsigned i = 0; i < g->n; i++) {
        block_release(made[i]);
        message_free(g->part[i]);
    }
    struct loan *loan = g->loan;
    mi_free(g);
    if (m->loan || m->script) {
        transaction_resumed(c, loan, m);
        return;
    }
    if (loan) {
        loan_worked(c, loan);
        return;
    }
    c->together--;
    client_complete(c, m->slot);
    message_free(m);
}

// Bits of the cores that take part: home does in any case.
static uint64_t cores_asked(struct core *c, const struct command *command, const struct arg *argv,
                            int argc)
{
    uint64_t home = 1ull << c->index;
    uint64_t all = ~0ull >> (64 - c->server->n_cores);
    unsigned only;
    if (command->asks)
        return (command->asks(c, &c->services, argv, argc) & all) | home;
    if (command->part_core && command->part_core(c->server->keyspace, argv, argc, &only))
        return 1ull << only | home;
    return all;
}

bool gather_is_home(struct core *c, const struct command *command, const struct arg *argv, int argc)
{
    return cores_asked(c, command, argv, argc) == 1ull << c->index;
}

// Makes a part for each core that takes part. NULL: memory is short.
static struct gather *gather_new(struct core *c, struct message *m)
{
    uint64_t asked = cores_asked(c, m->command, m->argv, m->argc);
    struct gather *g = mi_zalloc(sizeof(*g));
    bool ok = g;
    for (unsigned i = 0; ok && i < c->server->n_cores; i++) {
        if (!(asked >> i & 1))
            continue;
        struct message *part = message_command(&m->session, m->command, 0, NULL);
        ok = part;
        if (!ok)
            break;
        part->kind = MESSAGE_PART;
        part->from = c->index;
        part->to = i;
        part->gather = g;
        // Else it need not wait for slots that are lent; to a transaction they are lent for this.
        part->whole = m->command->part_keys && !m->loan;
        g->part[g->n++] = part;
    }
    if (ok) {
        g->command = m;
        g->left = g->n;
        c->counters.gathers++;
        return g;
    }
    for (unsigned i = 0; g && i < g->n; i++)
        message_free(g->part[i]);
    mi_free(g);
    return NULL;
}

static void send_parts(struct core *c, struct gather *g)
{
    // Its own part last: what it sends must not find the gather finished.
    struct message *own = NULL;
    for (unsigned i = 0; i < g->n; i++) {
        if (g->part[i]->to == c->index)
            own = g->part[i];
        else
            mailbox_send(c, g->part[i]->to, g->part[i]);
    }
    gather_part(c, own);
}

void gather_lent(struct core *c, struct loan *loan)
{
    struct message *m = loan_command(loan);
    struct gather *g = gather_new(c, m);
    if (!g) {
        reply_error(&m->slot->out.out, "ERR out of memory");
        loan_worked(c, loan);
        return;
    }
    g->loan = loan; // whose credit serves the parts: none of its own messages is under way now
    send_parts(c, g);
}

void gather_of_transaction(struct core *c, struct loan *loan, struct message *m)
{
    struct execution e = execution_of(m, &m->slot->out.out, true);
    if (m->command->start && !execute(c, &e, EXECUTE_START)) {
        transaction_resumed(c, loan, m);
        return;
    }
    struct gather *g = gather_new(c, m);
    if (!g) {
        reply_error(&m->slot->out.out, ERR_OOM);
        transaction_resumed(c, loan, m);
        return;
    }
    g->loan = loan;
    send_parts(c, g);
}

void gather_alone(struct core *c, struct execution *e)
{
    struct outbuf part;
    outbuf_init(&part);
    struct out *out = e->out;
    if (e->command->start && !execute(c, e, EXECUTE_START))
        return;
    e->out = &part.out;
    execute(c, e, EXECUTE_PART);
    struct block *all = outbuf_block(&part);
    struct gathered parts = gathered(all);
    e->out = out;
    e->parts = &parts;
    e->n_parts = 1;
    execute(c, e, EXECUTE_HANDLER);
    e->parts = NULL;
    e->n_parts = 0;
    block_release(all);
    outbuf_clear(&part);
}

void gather_begin(struct core *c, struct message *m)
{
    if (m->command->part_together) {
        assert(!m->command->start);
        m->whole = true;
        loan_begin(c, m);
        return;
    }
    if (m->command->start) {
        struct execution e = execution_of(m, &m->slot->out.out, true);
        e.may_block = !m->session.internal;
        if (!execute(c, &e, EXECUTE_START)) {
            client_complete(c, m->slot);
            message_free(m);
            return;
        }
    }
    struct gather *g = gather_new(c, m);
    if (!g) {
        reply_error(&m->slot->out.out, "ERR out of memory");
        client_complete(c, m->slot);
        message_free(m);
        return;
    }
    c->together++;
    send_parts(c, g);
}

void gather_part(struct core *c, struct message *part)
{
    if (loan_blocks(c, part)) {
        loan_wait(c, part);
        return;
    }
    struct execution e =
        execution_of(part->gather->command, &part->out.out, part->from == c->index);
    // To the transaction that asks; what only counts does not walk over slots.
    const struct message *asks = part->gather->command;
    bool lent = asks->loan && (asks->command->part_keys || asks->command->part_together);
    if (lent)
        loan_take_back(c);
    execute(c, &e, EXECUTE_PART);
    part->cycles = e.cycles;
    if (lent)
        loan_lend_again(c);
    outbuf_finish(&part->out);
    part->kind = MESSAGE_PART_DONE;
    if (part->from == c->index)
        gather_part_done(c, part);
    else
        mailbox_send(c, part->from, part);
}

void gather_part_done(struct core *c, struct message *part)
{
    if (--part->gather->left == 0)
        gather_finish(c, part->gather);
}
