// Where a command runs. One core: here, always. Several: where its slots are; what may not overtake
// the commands before it waits as a copy in the client's list of pending commands.
#include <assert.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <x86intrin.h>

#include "common/block.h"
#include "dataplane/commands/connection.h"
#include "dataplane/commands/permission.h"
#include "dataplane/commands/transactions_commands.h"
#include "dataplane/core/access.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/monitor.h"
#include "dataplane/core/publish.h"
#include "dataplane/core/script.h"
#include "dataplane/core/service.h"
#include "dataplane/core/slowlog.h"
#include "dataplane/core/tracking.h"
#include "dataplane/core/transaction.h"

enum place {
    PLACE_HERE,   // no other core is involved
    PLACE_OWNER,  // on core `core`
    PLACE_BORROW, // here, with borrowed slots
    PLACE_GATHER,
    PLACE_SERVICE, // on the service thread
    PLACE_PREPARE, // a gather, when the service thread has read what it needs
};

struct routing {
    enum place place;
    unsigned core;
    bool barrier; // must not overtake what came before
    bool whole;   // looks at all slots of the core it runs on
    bool failed;  // memory was short
    bool again;   // it had begun before
    unsigned n_slots;
    uint16_t *slots; // mimalloc; NULL: the key's own
};

void session_of(const struct client *client, struct session *s)
{
    *s = (struct session){
        .client_id = client->id,
        .view = client->view,
        .user = client->limited ? client->user : NULL,
    };
}

// Commands over several keys: all on one core, or not.
static struct routing route_many(struct core *c, const struct work *w)
{
    struct routing r = {.place = PLACE_HERE, .core = c->index, .barrier = true};
    int small[64];
    int *positions = small;
    if (w->argc > 64 && !(positions = mi_mallocn((size_t)w->argc, sizeof(int)))) {
        r.failed = true;
        return r;
    }
    int n = commands_keys(w->command, w->argv, w->argc, positions, w->argc);
    if (n < 0) { // the arguments do not tell: whatever key the handler looks at is borrowed
        r.place = PLACE_BORROW;
        r.whole = true;
    }
    uint16_t *slots = n > 0 ? mi_mallocn((size_t)n, sizeof(*slots)) : NULL;
    bool one_core = true, one_slot = true;
    for (int i = 0; slots && i < n; i++) {
        slots[i] = slot_of_key(w->argv[positions[i]].ptr, w->argv[positions[i]].len);
        one_slot &= slots[i] == slots[0];
        one_core &= keyspace_core(c->server->keyspace, slots[i]) ==
                    keyspace_core(c->server->keyspace, slots[0]);
    }
    if (positions != small)
        mi_free(positions);
    r.failed = n > 0 && !slots;
    if (!slots)
        return r;
    r.barrier = !one_slot || w->command->flags & CMD_BLOCKING;
    if (one_core) {
        r.place = PLACE_OWNER;
        r.core = keyspace_core(c->server->keyspace, slots[0]);
        r.n_slots = one_slot ? 1 : (unsigned)n;
        r.slots = slots;
    } else {
        r.place = PLACE_BORROW;
        mi_free(slots);
    }
    return r;
}

// Whether the service thread has to read files for it first.
static inline bool waits(const struct work *w)
{
    return __builtin_expect(w->command->waits != NULL, 0) && w->command->waits(w->argv, w->argc);
}

// A script goes to the core of its keys. Nothing overtakes it: it may have to begin again.
static struct routing route_there(struct core *c, const struct work *w)
{
    struct routing r = {.place = PLACE_OWNER, .n_slots = 1};
    if (w->has_key)
        r.core = keyspace_core(c->server->keyspace, w->key.slot);
    else
        r = route_many(c, w);
    r.barrier = true;
    return r;
}

static struct routing route_of(struct core *c, const struct work *w)
{
    struct routing r = {.place = PLACE_HERE, .core = c->index, .barrier = true};
    if (w->command->route == ROUTE_SERVICE)
        r.place = PLACE_SERVICE;
    if (waits(w)) {
        r.place = PLACE_PREPARE;
        return r;
    }
    // Without a key it has nothing to wait for.
    if (w->command->route == ROUTE_BORROW) {
        if (commands_keys(w->command, w->argv, w->argc, NULL, 0) > 0)
            r.place = PLACE_BORROW;
        return r;
    }
    if (route_all_here(c))
        return r;
    switch (w->command->route) {
    case ROUTE_SERVICE:
    case ROUTE_BORROW:
    case ROUTE_HOME:
        return r;
    case ROUTE_KEYS:
        if (w->command->needs_all && w->command->needs_all(w->argv, w->argc)) {
            r.place = PLACE_BORROW;
            r.whole = true;
            return r;
        }
        if (!w->has_key)
            return w->command->n_keys ? route_many(c, w) : r;
        r.place = PLACE_OWNER;
        r.core = keyspace_core(c->server->keyspace, w->key.slot);
        r.barrier = w->command->flags & CMD_BLOCKING; // nothing overtakes what may wait
        r.n_slots = 1;
        return r;
    case ROUTE_HELD:
        r.place = PLACE_BORROW;
        return r;
    case ROUTE_GATHER:
        // Who looks at keys waits for slots that are lent, even where there is one core.
        if (w->command->part_keys || !gather_is_home(c, w->command, w->argv, w->argc))
            r.place = PLACE_GATHER;
        return r;
    case ROUTE_SCRIPT: {
        enum script_place place = scripts_place(c, w);
        if (place == SCRIPT_THERE)
            return route_there(c, w);
        r.place = place == SCRIPT_HERE ? PLACE_HERE : PLACE_BORROW;
        r.whole = place == SCRIPT_WHOLE;
        return r;
    }
    case ROUTE_ALL:
        r.place = PLACE_BORROW;
        r.whole = true;
        return r;
    }
    return r;
}

// Keeps a copy of the command until what came before it is done.
static void pend(struct core *c, struct client *client, const struct work *w)
{
    struct session session;
    session_of(client, &session);
    struct message *m = message_command(&session, w->command, w->argc, w->argv);
    if (!m) {
        client_abort(c, client, "out of memory");
        return;
    }
    if (client->last_pending)
        client->last_pending->next = m;
    else
        client->first_pending = m;
    client->last_pending = m;
    client->pending++;
    client->pending_bytes += m->bytes;
}

// Its pending commands go on later: in order, with those of others.
static void add_starved(struct core *c, struct client *client)
{
    client->flags |= CLIENT_STARVED;
    client->next_starved = NULL;
    if (c->last_starved)
        c->last_starved->next_starved = client;
    else
        c->starved = client;
    c->last_starved = client;
}

void route_starve(struct core *c, struct client *client)
{
    if (client->flags & CLIENT_STARVED)
        return;
    c->counters.starved++;
    add_starved(c, client);
}

void route_later(struct core *c, struct client *client)
{
    c->starved_later = true;
    if (!(client->flags & CLIENT_STARVED))
        add_starved(c, client);
}

// The command has written nothing; its reply comes later.
static void wait_here(struct core *c, struct client *client, struct waiter *w)
{
    assert(!client->first_reply);
    struct reply_slot *slot = client_expect(c, client);
    client_reply_mode_next(client);
    if (slot) {
        blocked_here(c, w, slot);
        return;
    }
    for (unsigned owners = (unsigned)__builtin_popcountll(w->owners); owners; owners--)
        waiter_release(w);
    waiter_release(w);
    client_abort(c, client, "out of memory");
}

// The command goes on for some turns: as a message from here to here.
static void run_in_steps(struct core *c, struct client *client, const struct work *w,
                         struct reply_slot *slot, struct execution *e)
{
    struct message *m = message_command(&e->session, w->command, w->argc, w->argv);
    if (m && !slot)
        slot = client_expect(c, client);
    if (!slot) {
        if (m)
            message_free(m);
        m = NULL;
    }
    if (!m) {
        steps_take(c, e->stepped, NULL);
        client_abort(c, client, "out of memory");
        return;
    }
    client_reply_mode_next(client);
    client->flags |= CLIENT_BARRIER;
    m->from = c->index;
    m->slot = slot;
    m->cycles = e->cycles;
    steps_take(c, e->stepped, m);
}

static void run_as_message(struct core *c, struct client *client, const struct work *w,
                           const struct routing *r);

// A script goes on for some turns, or begins again with all slots. False: it is over.
static bool script_left(struct core *c, struct client *client, const struct work *w,
                        const struct execution *e)
{
    enum script_left left = scripts_left(c, e->stepped);
    if (__builtin_expect(left == SCRIPT_OVER, 1))
        return false;
    if (left == SCRIPT_BEGINS_AGAIN) {
        c->command_figures[w->command->id].calls--; // it will be counted again
        c->counters.commands--;
        run_as_message(c, client, w,
                       &(struct routing){.place = PLACE_BORROW,
                                         .core = c->index,
                                         .barrier = true,
                                         .whole = true,
                                         .again = true});
        return true;
    }
    struct reply_slot *slot = client_expect(c, client);
    client_reply_mode_next(client);
    client->flags |= CLIENT_BARRIER;
    struct message *m = scripts_take(c, slot, NULL);
    m->cycles = e->cycles;
    if (!slot)
        client_abort(c, client, "out of memory");
    return true;
}

// The command that ran the lean way is not over.
static __attribute__((noinline)) void goes_on(struct core *c, struct client *client,
                                              const struct work *w)
{
    struct request *r = &c->quick;
    if (r->blocked) {
        wait_here(c, client, blocked_take(c));
        return;
    }
    struct execution e = {.stepped = r->stepped};
    session_of(client, &e.session);
    if (!script_left(c, client, w, &e))
        run_in_steps(c, client, w, NULL, &e);
}

// Whose replies do not simply go to the stream, and whose commands have company.
#define NOT_LEAN (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT | CLIENT_TRACKED)
// Whose commands are not looked at one by one: none of it holds for nearly all.
#define NOT_PLAIN                                                                          \
    (NOT_LEAN | CLIENT_CLOSE_AFTER_REPLY | CLIENT_CLOSING | CLIENT_GONE | CLIENT_BARRIER | \
     CLIENT_MULTI | CLIENT_PUBSUB)

// Commands that nothing special is about.
static inline void run_quick(struct core *c, struct client *client, const struct work *w)
{
    execute_quick(c, client, w);
    if (__builtin_expect(c->quick.blocked || c->quick.stepped, 0)) {
        goes_on(c, client, w);
        return;
    }
    client_reply_mode_next(client);
    client_push(c, client);
}

static void run_here(struct core *c, struct client *client, const struct work *w)
{
    if (execute_is_quick(c, w->command) && !client->first_reply && !(client->flags & NOT_LEAN)) {
        run_quick(c, client, w);
        return;
    }
    struct reply_slot *slot;
    struct execution e = {
        .client = client,
        .command = w->command,
        .argv = w->argv,
        .argc = w->argc,
        .key = w->has_key ? &w->key : NULL,
        .out = client_out(c, client, &slot),
        .may_block = !(client->flags & CLIENT_INTERNAL),
    };
    session_of(client, &e.session);
    bool silent = client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP);
    e.may_step = true;
    e.may_work = !silent || w->command->route == ROUTE_SCRIPT;
    monitor_before(c, client, w->command, w->argc, w->argv);
    if (__builtin_expect(w->command->route == ROUTE_GATHER, 0))
        gather_alone(c, &e);
    else
        execute(c, &e, EXECUTE_HANDLER);
    monitor_after(c, client, w->command, w->argc, w->argv);
    if (!e.blocked && !e.stepped)
        command_over(c, client, w->command, w->argc, w->argv, e.cycles);
    if (__builtin_expect(e.blocked, 0))
        wait_here(c, client, blocked_take(c));
    else if (__builtin_expect(e.stepped && script_left(c, client, w, &e), 0))
        return;
    else if (__builtin_expect(e.stepped && !silent, 0))
        run_in_steps(c, client, w, slot, &e);
    else {
        if (__builtin_expect(!!e.stepped, 0)) // a reply that nobody wants is not written
            steps_take(c, e.stepped, NULL);
        client_replied(c, client, slot);
    }
    tracking_tell(c);
}

// On the service thread: commands that wait for a disk. Nothing of a core may be touched.
static void run_on_service(void *context)
{
    struct message *m = context;
    struct request r = {
        .session = &m->session,
        .command = m->command,
        .argc = m->argc,
        .argv = m->argv,
        .out = &m->out.out,
        .services = &m->server->cores[m->from]->services,
        .core = m->server->cores[m->from],
    };
    uint64_t begin = __rdtsc();
    m->command->handler(&r);
    m->cycles += __rdtsc() - begin;
    m->failed = r.replied_error;
    outbuf_finish(&m->out);
}

static void service_done(void *context)
{
    struct message *m = context;
    struct core *c = m->server->cores[m->from];
    struct command_figures *figures = &c->command_figures[m->command->id];
    c->counters.commands++;
    figures->calls++;
    figures->usec += m->cycles;
    if (m->failed) {
        figures->failed++;
        count_error(c, "ERR", 0);
    }
    route_replied(c, m);
}

void route_to_service(struct core *c, struct message *m)
{
    m->server = c->server;
    if (c->server->service &&
        service_call(c->server->service, c->index, run_on_service, service_done, m))
        return;
    reply_error(&m->out.out, "ERR too many slow commands are under way");
    route_replied(c, m);
}

static void run_prepare(void *context)
{
    struct message *m = context;
    struct request r = {
        .session = &m->session,
        .command = m->command,
        .argc = m->argc,
        .argv = m->argv,
        .services = &m->server->cores[m->from]->services,
        .core = m->server->cores[m->from],
    };
    m->command->prepare(&r);
}

static void prepared(void *context)
{
    struct message *m = context;
    struct core *c = m->server->cores[m->from];
    c->together--;
    gather_begin(c, m);
}

// Goes on as a gather. Where the service thread has too much to do, the core reads the files.
static void prepare(struct core *c, struct message *m)
{
    m->server = c->server;
    c->together++;
    if (!c->server->service ||
        !service_call(c->server->service, c->index, run_prepare, prepared, m))
        prepared(m);
}

// Leaves for another core, or for the list of what waits for a slot here.
static void run_as_message(struct core *c, struct client *client, const struct work *w,
                           const struct routing *r)
{
    struct session session;
    session_of(client, &session);
    struct message *m = message_command(&session, w->command, w->argc, w->argv);
    struct reply_slot *slot = m ? client_expect(c, client) : NULL;
    if (!slot) {
        if (m)
            message_free(m);
        mi_free(r->slots);
        client_abort(c, client, "out of memory");
        return;
    }
    client_reply_mode_next(client);
    if (!r->again)
        monitor_see(c, client, client->db, w->command, w->argc, w->argv);
    if (r->barrier)
        client->flags |= CLIENT_BARRIER; // until its reply is there: client_complete
    if (w->command->asks)
        client->flags |= CLIENT_PUBLISH;
    m->from = c->index;
    m->slot = slot;
    m->whole = r->whole;
    m->n_slots = r->n_slots;
    m->slots = r->slots;
    if (w->has_key) {
        m->has_key = true;
        m->key = w->key;
        m->key.ptr = m->argv[commands_only_key(w->command, w->argv, w->argc)].ptr;
    }
    switch (r->place) {
    case PLACE_OWNER:
        if (r->core == c->index) {
            if (loan_blocks(c, m))
                loan_wait(c, m);
            else
                route_execute(c, m);
            return;
        }
        m->to = r->core;
        c->credits[r->core]--;
        c->counters.forwarded++;
        mailbox_send(c, r->core, m);
        return;
    case PLACE_BORROW:
        loan_begin(c, m);
        return;
    case PLACE_GATHER:
        gather_begin(c, m);
        return;
    case PLACE_SERVICE:
        route_to_service(c, m);
        return;
    case PLACE_PREPARE:
        prepare(c, m);
        return;
    case PLACE_HERE:
        break;
    }
    assert(!"a command that runs here is no message");
}

// Enough credit that all messages of the command fit the rings.
static bool has_credit(const struct core *c, const struct routing *r)
{
    if (r->place == PLACE_OWNER)
        return r->core == c->index || c->credits[r->core];
    return r->place == PLACE_HERE || r->place == PLACE_SERVICE || c->together < MAILBOX_CREDITS;
}

// PUBLISH may follow others that are under way: each core hears of them in their order. What is
// neither may not, or who hears of a change could find it not made.
static bool follows(const struct client *client, const struct work *w)
{
    return client->flags & CLIENT_PUBLISH && w->command && w->command->asks;
}

// What may not run at once, and where it is, on this core.
static __attribute__((noinline)) bool route_far(struct core *c, struct client *client,
                                                const struct work *w)
{
    struct routing r = route_of(c, w);
    if (r.failed) {
        client_abort(c, client, "out of memory");
        return true;
    }
    if ((r.barrier && client->replies_waiting && !follows(client, w)) || !has_credit(c, &r)) {
        if (!has_credit(c, &r))
            route_starve(c, client);
        mi_free(r.slots);
        return false;
    }
    if (r.place == PLACE_HERE) {
        run_here(c, client, w);
    } else if (r.place == PLACE_OWNER && r.core == c->index && !r.whole && w->has_key &&
               !loan_holds(c, w->key.slot)) {
        mi_free(r.slots);
        run_here(c, client, w);
    } else {
        run_as_message(c, client, w, &r);
    }
    return true;
}

// Nothing stands before the command.
static bool route_free(struct core *c, struct client *client, const struct work *w)
{
    if (__builtin_expect(w->command->route == ROUTE_GATHER && w->command->asks && publish_enough(c),
                         0)) {
        route_later(c, client);
        return false;
    }
    client->last_command = w->command;
    if (!route_all_here(c) || w->command->route >= ROUTE_SERVICE || waits(w))
        return route_far(c, client, w);
    if (client->replies_waiting)
        return false;
    run_here(c, client, w);
    return true;
}

// Routes one command. Returns false when it cannot go now (nothing was done).
static __attribute__((noinline)) bool route_one(struct core *c, struct client *client,
                                                const struct work *w)
{
    if (client->replies_waiting > CLIENT_REPLIES_MAX ||
        (client->flags & CLIENT_BARRIER && !follows(client, w)))
        return false;
    if (client->flags & (CLIENT_MULTI | CLIENT_PUBSUB)) {
        if (client->flags & CLIENT_PUBSUB && client->resp == 2 && refuse_subscribed(c, client, w))
            return true;
        enum transaction_taken taken =
            client->flags & CLIENT_MULTI ? transaction_take(c, client, w) : TRANSACTION_NOT;
        if (taken != TRANSACTION_NOT)
            return taken == TRANSACTION_TAKEN;
    }
    if (refused(c, client, w))
        return true;
    if (__builtin_expect(c->attention, 0)) {
        enum attended attended = attend(c, client, w);
        if (attended != ATTENDED_RUN)
            return attended == ATTENDED_DONE;
    }
    return route_free(c, client, w);
}

void route_work(struct core *c, struct work *w)
{
    struct client *client = w->client;
    // Nearly all: nothing is under way, nothing is open, nobody looks closely.
    if (__builtin_expect(!(client->flags & NOT_PLAIN) && !client->first_reply &&
                             !client->first_pending && !c->attention && route_all_here(c) &&
                             w->command && w->command->route <= ROUTE_SCRIPT && !client->limited &&
                             command_fits(w->command, w->argc) && execute_is_quick(c, w->command),
                         1)) {
        client->last_command = w->command;
        run_quick(c, client, w);
        return;
    }
    if (client->flags & (CLIENT_CLOSE_AFTER_REPLY | CLIENT_CLOSING | CLIENT_GONE))
        return;
    if (client->first_pending || !route_one(c, client, w))
        pend(c, client, w);
}

void route_pending(struct core *c, struct client *client)
{
    while (client->first_pending) {
        if (client->flags & (CLIENT_CLOSE_AFTER_REPLY | CLIENT_CLOSING | CLIENT_GONE))
            return;
        struct message *m = client->first_pending;
        struct work w = {.client = client, .argv = m->argv, .argc = m->argc};
        work_find(c, &w);
        // Taken off first: what it completes may come back here.
        client->first_pending = m->next;
        if (!client->first_pending)
            client->last_pending = NULL;
        if (!route_one(c, client, &w)) {
            m->next = client->first_pending;
            client->first_pending = m;
            if (!client->last_pending)
                client->last_pending = m;
            return;
        }
        client->pending--;
        client->pending_bytes -= m->bytes;
        if (c->timed) // and may be told of
            execute_timed(c);
        message_free(m);
    }
    if (client->flags & CLIENT_BROKEN)
        protocol_error(c, client);
    else
        client_queue(c, client);
}

void route_starved(struct core *c)
{
    struct client *client = c->starved;
    c->starved = c->last_starved = NULL;
    c->starved_later = false;
    for (struct client *next; client; client = next) {
        next = client->next_starved;
        client->flags &= ~CLIENT_STARVED;
        route_pending(c, client);
    }
}

// A command of some core came to wait here. Home is told first: what is told next follows it.
static void wait_for_home(struct core *c, struct message *m, struct waiter *w)
{
    if (m->from == c->index) {
        struct reply_slot *slot = m->slot;
        message_free(m);
        blocked_here(c, w, slot);
        return;
    }
    w->home = m->from;
    m->kind = MESSAGE_BLOCKED;
    m->waiter = w;
    mailbox_send(c, m->from, m);
    parked_add(c, w);
}

// A script that was sent here has run: it is over, or it goes on here, or begins again at home.
static void sent_script_ran(struct core *c, struct message *m, const struct execution *e)
{
    switch (scripts_left(c, e->stepped)) {
    case SCRIPT_GOES_ON:
        scripts_take_sent(c);
        return;
    case SCRIPT_BEGINS_AGAIN:
        c->command_figures[m->command->id].calls--; // it will be counted there
        c->counters.commands--;
        m->again = true;
        break;
    case SCRIPT_OVER:
        break;
    }
    route_answer(c, m);
}

// Nobody is left to run it for. A script that had to wait is not run then, as if it had borrowed.
static bool in_vain(const struct message *m)
{
    return m->waited && atomic_load_explicit(&m->slot->reader, memory_order_relaxed) == READER_LOST;
}

void route_execute(struct core *c, struct message *m)
{
    bool script = m->command->route == ROUTE_SCRIPT;
    if (loan_blocks(c, m) || (__builtin_expect(script, 0) && scripts_hold_up(c, m))) {
        if (!loan_refuses(c, m)) {
            m->waited = true;
            loan_wait(c, m);
            return;
        }
        reply_error(&m->out.out, scripts_busy(c));
        c->command_figures[m->command->id].rejected++;
        count_error(c, scripts_busy(c), 0);
        route_answer(c, m);
        return;
    }
    if (__builtin_expect(script && in_vain(m), 0)) {
        route_answer(c, m);
        return;
    }
    bool home = m->from == c->index;
    struct execution e = {
        .session = m->session,
        .client = home ? m->slot->client : NULL,
        .command = m->command,
        .argv = m->argv,
        .argc = m->argc,
        .key = m->has_key ? &m->key : NULL,
        .out = &m->out.out,
        .may_block = !m->session.internal,
        .cycles = m->cycles,
    };
    e.may_block &= !m->loan;
    e.may_step = e.may_work = !m->whole && !m->loan;
    if (m->loan)
        loan_take_back(c);
    if (script)
        scripts_come(c, m);
    execute(c, &e, EXECUTE_HANDLER);
    m->cycles = e.cycles;
    if (script)
        scripts_come(c, NULL);
    if (m->loan)
        loan_lend_again(c);
    if (__builtin_expect(e.blocked, 0))
        wait_for_home(c, m, blocked_take(c));
    else if (script)
        sent_script_ran(c, m, &e);
    else if (__builtin_expect(!!e.stepped, 0))
        steps_take(c, e.stepped, m);
    else
        route_answer(c, m);
    tracking_tell(c);
}

void route_answer(struct core *c, struct message *m)
{
    if (m->from == c->index) {
        route_replied(c, m);
        return;
    }
    outbuf_finish(&m->out);
    m->kind = MESSAGE_REPLY;
    mailbox_send(c, m->from, m);
}

void route_replied(struct core *c, struct message *m)
{
    struct reply_slot *slot = m->slot;
    if (__builtin_expect(m->strayed, 0) && scripts_came_home(c, m))
        return;
    outbuf_move(&m->out, &slot->out.out);
    command_over(c, slot->client, m->command, m->argc, m->argv, m->cycles);
    if (__builtin_expect(m->loan != NULL, 0)) { // whose credit it travelled on
        transaction_resumed(c, m->loan, m);
        return;
    }
    if (m->kind == MESSAGE_REPLY)
        c->credits[m->to]++;
    message_free(m);
    client_complete(c, slot);
}
