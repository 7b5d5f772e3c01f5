// Transactions. See transaction.h.
#include "dataplane/core/transaction.h"

#include <assert.h>
#include <mimalloc.h>
#include <stdlib.h>

#include "dataplane/commands/connection.h"
#include "dataplane/commands/permission.h"
#include "dataplane/commands/transactions_commands.h"
#include "dataplane/core/access.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/monitor.h"
#include "dataplane/core/script.h"
#include "dataplane/core/slowlog.h"
#include "dataplane/core/tracking.h"
#include "dataplane/core/watch.h"

#define SLOTS_FIRST 8
// Bytes of copies that a transaction has room for from the start, and in each run after that; what
// is longer has a run of its own.
#define COPIES_FIRST 1536
#define COPIES_RUN 8192

// --- keeping commands ----------------------------------------------------------------------------

void transaction_free(struct transaction *t)
{
    if (!t)
        return;
    for (struct queued *q = t->first; q; q = q->next)
        args_release(q->argc, q->argv);
    for (struct copies *run = t->copies, *next; run; run = next) {
        next = run->next;
        mi_free(run);
    }
    if (t->effects.unit)
        outbuf_clear(&t->effects.out);
    mi_free(t->slots);
    mi_free(t);
}

static void end(struct client *client)
{
    transaction_free(client->transaction);
    client->transaction = NULL;
    client->flags &= ~(uint32_t)CLIENT_MULTI;
}

void transaction_forget(struct core *c, struct client *client)
{
    end(client);
    watch_forget(c, client);
}

static bool begin(struct request *r)
{
    struct client *client = r->client;
    if (client->flags & CLIENT_MULTI)
        return false;
    struct transaction *t = client->transaction = mi_malloc(sizeof(*t) + COPIES_FIRST);
    if (!t) {
        request_error(r, ERR_OOM);
        return true;
    }
    *t = (struct transaction){.room = t->first_room, .room_end = t->first_room + COPIES_FIRST};
    client->flags |= CLIENT_MULTI;
    return true;
}

static bool discard(struct request *r)
{
    if (!(r->client->flags & CLIENT_MULTI))
        return false;
    transaction_forget(r->core, r->client);
    return true;
}

static bool watch(struct request *r, const struct key *key)
{
    return watch_add(r->core, r->client, key);
}

static void unwatch(struct request *r)
{
    watch_forget(r->core, r->client);
}

static void forget(struct request *r)
{
    transaction_forget(r->core, r->client);
}

static void replaced(struct request *r, int db, int other)
{
    watch_replaced(r->core, db, other);
    if (other <= db) // of a swap, which is told for both, once
        tracking_replaced(r->core, r->session->client_id);
}

static void client_transaction(const struct client *client, struct client_transaction *to)
{
    const struct transaction *t = client->transaction;
    *to = (struct client_transaction){.queued = -1};
    if (t) {
        to->queued = (int)t->n;
        to->bytes = t->bytes;
    }
    if (client->watching) {
        to->watched = client->watching->n;
        to->changed = atomic_load_explicit(&client->watching->changed, memory_order_relaxed);
    }
}

void transaction_services(struct services *services)
{
    services->transaction_begin = begin;
    services->transaction_discard = discard;
    services->transaction_forget = forget;
    services->watch = watch;
    services->unwatch = unwatch;
    services->keys_replaced = replaced;
    services->client_transaction = client_transaction;
}

static bool add_slot(struct transaction *t, uint16_t slot)
{
    if (t->n_slots && t->slots[t->n_slots - 1] == slot)
        return true;
    if (t->n_slots == t->slots_room) {
        unsigned room = t->slots_room ? 2 * t->slots_room : SLOTS_FIRST;
        uint16_t *slots = mi_reallocn(t->slots, room, sizeof(*slots));
        if (!slots)
            return false;
        t->slots = slots;
        t->slots_room = room;
    }
    t->slots[t->n_slots++] = slot;
    return true;
}

// What the command will need. False: memory is short.
static bool add_needs(struct transaction *t, const struct work *w)
{
    const struct command *command = w->command;
    if (command->needs_all && command->needs_all(w->argv, w->argc))
        t->wide_far = true;
    switch (command->route) {
    case ROUTE_HOME:
        return true;
    case ROUTE_GATHER:
        t->asks |= command->asks != NULL;
        t->wide_far |= !command->asks;
        return true;
    case ROUTE_SCRIPT:
        t->scripts = true;
        t->wide_far = true;
        return true;
    case ROUTE_ALL:
        t->wide_far = true;
        return true;
    case ROUTE_SERVICE:
        t->wide = true;
        return true;
    case ROUTE_BORROW:
        t->wide |= commands_keys(command, w->argv, w->argc, NULL, 0) > 0;
        return true;
    case ROUTE_KEYS:
    case ROUTE_HELD:
        break;
    }
    if (w->has_key)
        return add_slot(t, w->key.slot);
    if (!command->n_keys)
        return true;
    int *positions = mi_mallocn((size_t)w->argc, sizeof(int));
    bool ok = positions;
    int n = ok ? commands_keys(command, w->argv, w->argc, positions, w->argc) : 0;
    t->wide_far |= n < 0;
    for (int i = 0; ok && i < n; i++)
        ok = add_slot(t, slot_of_key(w->argv[positions[i]].ptr, w->argv[positions[i]].len));
    mi_free(positions);
    return ok;
}

// Room for a copy; of `size` bytes rounded up, so that the next one is aligned.
static void *room_for(struct transaction *t, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if ((size_t)(t->room_end - t->room) < size) {
        size_t run = size > COPIES_RUN / 4 ? size : COPIES_RUN;
        struct copies *more = mi_malloc(sizeof(*more) + run);
        if (!more)
            return NULL;
        more->next = t->copies;
        t->copies = more;
        if (run == size) // its own: what is left of the other is used on
            return more->bytes;
        t->room = more->bytes;
        t->room_end = more->bytes + run;
    }
    void *at = t->room;
    t->room += size;
    return at;
}

static bool keep(struct transaction *t, const struct work *w, uint32_t flags)
{
    struct arg *argv;
    size_t size = args_room(sizeof(struct queued), w->argc, w->argv), blocks;
    struct queued *q = room_for(t, size);
    if (!q || !args_place(q, sizeof(*q), w->argc, w->argv, &argv, &blocks))
        return false;
    *q = (struct queued){
        .command = w->command, .argc = w->argc, .argv = argv, .has_key = w->has_key, .key = w->key};
    if (q->has_key)
        q->key.ptr = argv[commands_only_key(w->command, w->argv, w->argc)].ptr;
    if (t->last)
        t->last->next = q;
    else
        t->first = q;
    t->last = q;
    t->n++;
    t->bytes += size + blocks;
    t->flags |= flags;
    t->denyoom |= (w->command->flags & CMD_DENYOOM) != 0;
    return add_needs(t, w);
}

// --- refusing ------------------------------------------------------------------------------------

// Of a command that has run and failed, or was rejected before.
static void answer_error(struct core *c, struct client *client, const struct command *command,
                         const char *text, bool ran)
{
    struct reply_slot *slot;
    reply_error(client_out(c, client, &slot), text);
    struct command_figures *figures = &c->command_figures[command->id];
    c->counters.commands += ran;
    figures->calls += ran;
    figures->failed += ran;
    figures->rejected += !ran;
    count_error(c, text, 0);
    client_replied(c, client, slot);
}

static enum transaction_taken refuse(struct core *c, struct client *client, const struct work *w,
                                     const char *text)
{
    client->transaction->refused = true;
    answer_error(c, client, w->command, text, false);
    return TRANSACTION_TAKEN;
}

static bool memory_is_short(struct core *c)
{
    return c->settings.maxmemory && !store_make_room(c->store);
}

// --- running -------------------------------------------------------------------------------------

// In hand: what runs, for whom, and where it answers.
struct running {
    struct transaction *t;
    struct client *client; // NULL: it went away meanwhile
    struct session session;
    struct out *out;
    struct loan *loan; // NULL: all of it runs at once
    // Where it does: EXEC, and the slot of its reply if it has one.
    const struct work *exec;
    struct reply_slot *slot;
};

// A script of what was to run at once goes on for many turns, or has to wait: the rest goes on as
// if all slots, none of which is lent, had been borrowed. False: memory is short.
static bool go_on_later(struct core *c, struct running *run)
{
    struct client *client = run->client;
    bool silent = client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP);
    struct reply_slot *slot = run->slot && !silent ? run->slot : client_expect(c, client);
    struct message *m =
        slot ? message_command(&run->session, run->exec->command, run->exec->argc, run->exec->argv)
             : NULL;
    struct loan *loan = m ? loan_take_all(c, m) : NULL;
    if (!loan) {
        if (m)
            message_free(m);
        return false;
    }
    client_reply_mode_next(client);
    client->flags |= CLIENT_BARRIER;
    m->from = c->index;
    m->slot = slot;
    m->transaction = run->t;
    run->out = &slot->out.out;
    run->loan = loan;
    return true;
}

// Goes on elsewhere as a message of its own, that answers to the slot of EXEC. NULL: memory.
static struct message *send_out(struct core *c, struct running *run, const struct queued *q)
{
    struct message *m = message_command(&run->session, q->command, q->argc, q->argv);
    if (!m) {
        reply_error(run->out, ERR_OOM);
        return NULL;
    }
    m->from = c->index;
    m->slot = loan_command(run->loan)->slot;
    m->loan = run->loan;
    run->t->under_way = m;
    return m;
}

// What may walk over this core's slots, all of which the transaction has borrowed if any.
static void run_gather_alone(struct core *c, const struct running *run, struct execution *e)
{
    if (run->loan)
        loan_take_back(c);
    gather_alone(c, e);
    if (run->loan)
        loan_lend_again(c);
}

static void look(struct core *c, const struct running *run, const struct queued *q,
                 const struct execution *e)
{
    command_over(c, run->client, q->command, q->argc, q->argv, e->cycles);
}

// A script that goes on later is `under_way` then. It has all slots, so it never begins again.
static void run_script(struct core *c, struct running *run, const struct queued *q,
                       struct execution *e)
{
    e->may_work = true;
    scripts_lend(c, run->loan);
    execute(c, e, EXECUTE_HANDLER);
    scripts_lend(c, NULL);
    if (scripts_left(c, e->stepped) == SCRIPT_OVER) {
        look(c, run, q, e);
        return;
    }
    if (!run->loan && !go_on_later(c, run)) { // the script ends alone
        scripts_take(c, NULL, NULL);
        run->t->next = NULL;
        client_abort(c, run->client, "out of memory");
        return;
    }
    struct message *m = scripts_take(c, loan_command(run->loan)->slot, run->loan);
    m->cycles = e->cycles;
    m->loan = run->loan;
    run->t->under_way = m;
}

// What goes on elsewhere is `under_way` then, and comes back by transaction_resumed.
static void run_one(struct core *c, struct running *run, const struct queued *q)
{
    if (q->command->route <= ROUTE_HOME && run->client && execute_is_quick(c, q->command) &&
        !(run->client->flags & CLIENT_TRACKED)) {
        execute_queued(c, run->client, q, run->out);
        return;
    }
    struct execution e = {
        .session = run->session,
        .client = run->client,
        .command = q->command,
        .argv = q->argv,
        .argc = q->argc,
        .key = q->has_key ? &q->key : NULL,
        .out = run->out,
    };
    struct message *m;
    switch (q->command->route) {
    case ROUTE_GATHER:
        // Without a loan no other core had a part of it when the transaction began.
        if (q->command->asks && (c->server->n_cores == 1 || !run->loan)) {
            gather_alone(c, &e);
            return;
        }
        if (c->server->n_cores == 1) {
            run_gather_alone(c, run, &e);
            look(c, run, q, &e);
            return;
        }
        m = send_out(c, run, q);
        if (m)
            gather_of_transaction(c, run->loan, m);
        return;
    case ROUTE_SERVICE:
        m = send_out(c, run, q);
        if (m)
            route_to_service(c, m);
        return;
    case ROUTE_BORROW:
        e.may_migrate = run->loan;
        m = run->loan ? send_out(c, run, q) : NULL;
        if (run->loan && !m)
            return;
        execute(c, &e, EXECUTE_HANDLER);
        if (e.migration) {
            m->cycles = e.cycles;
            migrate_take(c, e.migration, run->loan);
            return;
        }
        if (m)
            message_free(m);
        run->t->under_way = NULL;
        look(c, run, q, &e);
        return;
    case ROUTE_SCRIPT:
        run_script(c, run, q, &e);
        return;
    case ROUTE_KEYS:
    case ROUTE_HOME:
    case ROUTE_HELD:
    case ROUTE_ALL:
        break;
    }
    if (run->client || q->command->route != ROUTE_HOME) {
        execute(c, &e, EXECUTE_HANDLER);
        look(c, run, q, &e);
    } else if (q->command->handler == select_command) { // what follows is about this database
        struct request r = {.session = &run->session,
                            .command = q->command,
                            .argc = q->argc,
                            .argv = q->argv,
                            .out = run->out,
                            .store = c->store};
        select_command(&r);
    }
}

// What its user may do may be less than when the command was kept.
static bool may_still(struct core *c, const struct running *run, const struct queued *q)
{
    static const char *const reasons[] = {
        [ACCESS_GRANTED] = "no reason",
        [ACCESS_DENIED_COMMAND] = "no permission to execute the command or subcommand",
        [ACCESS_DENIED_KEY] = "no permission to touch the specified keys",
        [ACCESS_DENIED_AUTH] = "no permission",
        [ACCESS_DENIED_CHANNEL] =
            "no permission to access one of the channels used as arguments to the command",
    };
    int at;
    enum access_denial denial =
        permission_check(run->session.user, q->command, q->argv, q->argc, &at);
    if (denial == ACCESS_GRANTED)
        return true;
    access_denied(c, run->client, &run->session, denial, ACCESS_MULTI, q->command, &q->argv[at]);
    reply_errorf(run->out,
                 "NOPERM ACLs rules changed between the moment the transaction was accumulated and "
                 "the EXEC call. This command is no longer allowed for the following reason: %s",
                 reasons[denial]);
    count_error(c, "NOPERM", 0);
    return false;
}

// Runs what is left. False: it goes on later.
static bool go_on(struct core *c, struct running *run)
{
    struct transaction *t = run->t;
    execute_timed(c);
    uint64_t begin = c->command_mark;
    c->executing++; // waiters are served when all of it is done
    struct effects *outer = transaction_tells(c, t);
    t->running = true;
    bool waits = false; // for another script
    while (t->next && !t->under_way) {
        const struct queued *q = t->next;
        if (q->command->route == ROUTE_SCRIPT && scripts_engaged(c)) {
            waits = run->loan || go_on_later(c, run);
            if (waits)
                scripts_wait(c, run->loan);
            else
                client_abort(c, run->client, "out of memory");
            break;
        }
        t->next = q->next;
        if (run->client) {
            session_of(run->client, &run->session);
            monitor_before(c, run->client, q->command, q->argc, q->argv);
        }
        if (__builtin_expect(run->session.user && !may_still(c, run, q), 0))
            continue;
        run_one(c, run, q);
        if (run->client)
            monitor_after(c, run->client, q->command, q->argc, q->argv);
    }
    execute_timed(c); // while the last of them is there
    t->cycles += c->command_mark - begin;
    t->running = false;
    c->effects = outer;
    c->executing--;
    if (run->client)
        session_of(run->client, &run->session);
    if (run->loan) // the client may be gone when it goes on
        message_session(loan_command(run->loan), &run->session);
    bool done = !t->under_way && !waits;
    if (__builtin_expect(done && t->effects.unit, 0))
        effects_append(c->effects, &t->effects);
    return done;
}

// EXEC is done: its time is that of all.
static void ended(struct core *c, const struct running *run, const struct command *command,
                  int argc, const struct arg *argv)
{
    c->command_figures[command->id].usec += run->t->cycles;
    if (!run->client)
        return;
    run->client->flags &= ~(uint32_t)CLIENT_EXEC;
    if (__builtin_expect(run->client->flags & CLIENT_TRACKED, 0))
        tracking_executed(c, run->client);
    monitor_see(c, run->client, run->client->db, command, argc, argv);
}

static void start(struct core *c, struct running *run, const struct command *command)
{
    struct transaction *t = run->t;
    t->begun = true;
    if (c->effects)
        effects_unit(&t->effects);
    run->client->flags |= CLIENT_EXEC;
    c->counters.commands++;
    c->command_figures[command->id].calls++;
    bool broken = watch_broken(c, run->client);
    watch_drop(c, run->client);
    if (broken) {
        reply_null_array(run->out, run->client->resp);
        t->next = NULL;
        return;
    }
    reply_array(run->out, t->n);
    t->next = t->first;
}

static void run_at_once(struct core *c, struct client *client, const struct work *w)
{
    struct reply_slot *slot;
    struct running run = {
        .t = client->transaction, .client = client, .out = client_out(c, client, &slot), .exec = w};
    run.slot = slot;
    client->transaction = NULL;
    client->flags &= ~(uint32_t)CLIENT_MULTI;
    start(c, &run, w->command);
    if (!go_on(c, &run)) { // what there is of the reply goes out now
        client_push(c, client);
        return;
    }
    ended(c, &run, w->command, w->argc, w->argv);
    command_over(c, client, w->command, w->argc, w->argv, run.t->cycles);
    transaction_free(run.t);
    parked_serve(c);
    client_replied(c, client, slot);
    tracking_tell(c);
}

static struct running running_of(struct loan *loan)
{
    struct message *m = loan_command(loan);
    return (struct running){.t = m->transaction,
                            .client = m->slot->client,
                            .session = m->session,
                            .out = &m->slot->out.out,
                            .loan = loan};
}

static void loaned(struct core *c, const struct running *run)
{
    struct message *m = loan_command(run->loan);
    m->cycles = run->t->cycles;
    ended(c, run, m->command, m->argc, m->argv);
    // What CLIENT CACHING said before it was for all of it.
    if (run->client && run->client->flags & CLIENT_CACHING)
        tracking_next(run->client);
    tracking_tell(c);
    loan_worked(c, run->loan);
}

void transaction_granted(struct core *c, struct loan *loan)
{
    struct running run = running_of(loan);
    bool done = true;
    uint64_t dirty = loan_enter(c, loan);
    if (run.t->begun) { // it waited for a script
        done = go_on(c, &run);
    } else if (run.client) { // else nothing of it has begun, nor will
        start(c, &run, loan_command(loan)->command);
        done = go_on(c, &run);
    }
    loan_leave(c, loan, dirty);
    parked_serve(c);
    if (done)
        loaned(c, &run);
}

void transaction_resumed(struct core *c, struct loan *loan, struct message *m)
{
    if (m->script) {
        scripts_called(c, m);
        return;
    }
    struct running run = running_of(loan);
    assert(run.t->under_way == m);
    run.t->under_way = NULL;
    message_free(m);
    if (run.t->running) // it was over at once: go_on, which began it, goes on
        return;
    uint64_t dirty = loan_enter(c, loan);
    bool done = go_on(c, &run);
    loan_leave(c, loan, dirty);
    parked_serve(c);
    if (done)
        loaned(c, &run);
}

// --- EXEC ----------------------------------------------------------------------------------------

static bool is_free(const struct core *c, uint16_t slot)
{
    return keyspace_core(c->server->keyspace, slot) == c->index && !loan_holds(c, slot);
}

// Only home has parts of the commands that ask other cores.
static bool asks_home(struct core *c, const struct transaction *t)
{
    for (const struct queued *q = t->first; q; q = q->next)
        if (q->command->asks && !gather_is_home(c, q->command, q->argv, q->argc))
            return false;
    return true;
}

static bool all_here(struct core *c, const struct client *client)
{
    const struct transaction *t = client->transaction;
    if (t->wide)
        return false;
    if (route_all_here(c))
        return true;
    if (t->wide_far || (t->asks && !asks_home(c, t)))
        return false;
    for (unsigned i = 0; i < t->n_slots; i++)
        if (!is_free(c, t->slots[i]))
            return false;
    for (const struct watch *w = client->watching ? client->watching->first : NULL; w; w = w->next)
        if (!is_free(c, w->unwatch.key.slot))
            return false;
    return true;
}

static bool own_slot(const struct core *c, uint16_t *slot)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (keyspace_core(c->server->keyspace, (uint16_t)i) == c->index) {
            *slot = (uint16_t)i;
            return true;
        }
    return false;
}

static void borrow(struct core *c, struct client *client, const struct work *w)
{
    struct transaction *t = client->transaction;
    struct session session;
    session_of(client, &session);
    bool ok = true;
    for (const struct watch *x = client->watching ? client->watching->first : NULL; ok && x;
         x = x->next)
        ok = add_slot(t, x->unwatch.key.slot);
    // One that only asks other cores needs no slot: it waits for them with one of its own in hand.
    uint16_t own;
    if (ok && t->asks && !t->wide && !t->wide_far && !t->n_slots && own_slot(c, &own))
        ok = add_slot(t, own);
    struct message *m = ok ? message_command(&session, w->command, w->argc, w->argv) : NULL;
    struct reply_slot *slot = m ? client_expect(c, client) : NULL;
    if (!slot) {
        if (m)
            message_free(m);
        client_abort(c, client, "out of memory");
        return;
    }
    client_reply_mode_next(client);
    client->flags = (client->flags | CLIENT_BARRIER) & ~(uint32_t)CLIENT_MULTI;
    client->transaction = NULL;
    m->from = c->index;
    m->slot = slot;
    m->transaction = t;
    m->whole = t->wide || t->wide_far || !t->n_slots;
    if (!m->whole) {
        m->slots = t->slots;
        m->n_slots = t->n_slots;
        t->slots = NULL;
    }
    loan_begin(c, m);
}

static enum transaction_taken exec(struct core *c, struct client *client, const struct work *w)
{
    struct transaction *t = client->transaction;
    if (client->replies_waiting)
        return TRANSACTION_LATER;
    client->last_command = w->command;
    if (t->refused || (t->denyoom && memory_is_short(c))) {
        const char *text = t->refused
                               ? "EXECABORT Transaction discarded because of previous errors."
                               : "EXECABORT Transaction discarded because of: " ERR_OOM;
        answer_error(c, client, w->command, text, t->refused);
        if (t->refused)
            monitor_see(c, client, client->db, w->command, w->argc, w->argv);
        transaction_forget(c, client);
        return TRANSACTION_TAKEN;
    }
    if (t->scripts && scripts_engaged(c)) {
        route_later(c, client);
        return TRANSACTION_LATER;
    }
    if (all_here(c, client)) {
        run_at_once(c, client, w);
    } else if (c->together < MAILBOX_CREDITS) {
        borrow(c, client, w);
    } else {
        route_starve(c, client);
        return TRANSACTION_LATER;
    }
    return TRANSACTION_TAKEN;
}

enum transaction_taken transaction_take(struct core *c, struct client *client, const struct work *w)
{
    const struct command *command = w->command;
    if (refused(c, client, w) ||
        (__builtin_expect(c->attention & ATTEND_BUSY, 0) && attend_busy(c, client, w))) {
        if (client->transaction) // else it was EXEC, and is over
            client->transaction->refused = true;
        return TRANSACTION_TAKEN;
    }
    if (command->flags & CMD_NO_MULTI && command->handler != watch_command)
        return refuse(c, client, w, "ERR Command not allowed inside a transaction");
    if (__builtin_expect(c->attention & ATTEND_PAUSED, 0) && attend_paused(c, client, w))
        return TRANSACTION_LATER;
    if (command->handler == exec_command)
        return exec(c, client, w);
    if (command->handler == multi_command || command->handler == discard_command ||
        command->handler == reset_command || command->handler == quit_command)
        return TRANSACTION_NOT;
    client->last_command = command;
    if (command->handler == watch_command) {
        answer_error(c, client, command, "ERR WATCH inside MULTI is not allowed", true);
        return TRANSACTION_TAKEN;
    }
    if (client->flags & CLIENT_MONITOR && command->flags & MONITOR_MAY_NOT)
        return refuse(c, client, w, ERR_MONITOR_KEYS);
    if (memory_is_short(c)) // what is kept is memory, too
        return refuse(c, client, w, ERR_OOM);
    if (!keep(client->transaction, w, scripts_flags(c, w))) {
        client_abort(c, client, "out of memory for its transaction");
        return TRANSACTION_TAKEN;
    }
    if (client->transaction->bytes > c->settings.query_max) {
        c->counters.query_limit_disconnections++;
        client_abort(c, client, "its transaction passed client-query-buffer-limit");
        return TRANSACTION_TAKEN;
    }
    struct reply_slot *slot;
    reply_status(client_out(c, client, &slot), "QUEUED");
    client_replied(c, client, slot);
    return TRANSACTION_TAKEN;
}
