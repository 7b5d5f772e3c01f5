// Blocked clients at home: from the command that found nothing to its reply, its time-out or its
// end. See blocked.h.
#include "dataplane/core/blocked.h"
#include "dataplane/core/latency.h"
#include "dataplane/core/publish.h"
#include "dataplane/core/slowlog.h"
#include "dataplane/core/tracking.h"
#include "dataplane/core/watch.h"

#include <assert.h>
#include <mimalloc.h>
#include <string.h>

// Deadlines of one turn.
#define DUE_A_TURN 256
#define DUE_ROOM_FIRST 64

bool blocked_start(struct core *c)
{
    c->blocked = mi_zalloc(sizeof(*c->blocked));
    return c->blocked;
}

void blocked_stop(struct core *c)
{
    if (!c->blocked)
        return;
    mi_free(c->blocked->due);
    mi_free(c->blocked->buckets);
    mi_free(c->blocked->by_slot);
    mi_free(c->blocked);
    c->blocked = NULL;
}

// --- waiters -------------------------------------------------------------------------------------

bool waiter_decide(struct waiter *w, enum waiter_state state)
{
    uint32_t waiting = WAITER_WAITING;
    return atomic_compare_exchange_strong(&w->state, &waiting, state);
}

void waiter_retain(struct waiter *w)
{
    atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
}

void waiter_release(struct waiter *w)
{
    if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (w->command)
        message_free(w->command);
    outbuf_clear(&w->note.out);
    mi_free(w->others);
    mi_free(w->unpark);
    mi_free(w);
}

static bool waits_for(const int *keys, int n, int position)
{
    for (int i = 0; i < n; i++)
        if (keys[i] == position)
            return true;
    return false;
}

// Slots of the keys that the command names beside those it waits for.
static bool find_others(struct waiter *w, const struct request *r, int n_keys, const int *keys)
{
    int *positions = mi_mallocn((size_t)r->argc, sizeof(int));
    if (!positions)
        return false;
    int n = commands_keys(r->command, r->argv, r->argc, positions, r->argc);
    if (n > n_keys) {
        w->others = mi_mallocn((size_t)n, sizeof(uint16_t));
        for (int i = 0; w->others && i < n; i++)
            if (!waits_for(keys, n_keys, positions[i]))
                w->others[w->n_others++] =
                    slot_of_key(r->argv[positions[i]].ptr, r->argv[positions[i]].len);
    }
    mi_free(positions);
    return n <= n_keys || w->others;
}

static struct waiter *waiter_new(struct request *r, int n_keys, const int *keys)
{
    struct waiter *w = mi_zalloc(sizeof(*w) + (size_t)n_keys * sizeof(struct parked));
    if (!w)
        return NULL;
    w->refs = 1; // home's
    outbuf_init(&w->note.out);
    w->command = message_command(r->session, r->command, r->argc, r->argv);
    if (!w->command || !find_others(w, r, n_keys, keys)) {
        waiter_release(w);
        return NULL;
    }
    for (int i = 0; i < n_keys; i++) {
        struct parked *p = &w->parked[w->n_keys++];
        p->waiter = w;
        p->arg = keys[i];
        p->key = request_key(r, keys[i]);
        p->key.ptr = w->command->argv[keys[i]].ptr;
        w->owners |= 1ull << keyspace_core(store_keyspace(r->store), p->key.slot);
    }
    unsigned owners = (unsigned)__builtin_popcountll(w->owners);
    w->unpark = mi_calloc(owners, sizeof(*w->unpark));
    if (!w->unpark) {
        waiter_release(w);
        return NULL;
    }
    w->refs += owners;
    return w;
}

// --- what handlers ask ---------------------------------------------------------------------------

static void block(struct request *r, int n_keys, const int *keys, uint64_t timeout_us,
                  unsigned reply)
{
    struct blocked *b = r->core->blocked;
    (void)reply; // of one that may not wait
    r->blocked = true;
    if (r->woken)
        return; // it is parked already
    struct waiter *w = waiter_new(r, n_keys, keys);
    if (!w) {
        r->blocked = false;
        request_error(r, ERR_OOM);
        return;
    }
    if (timeout_us && timeout_us < UINT64_MAX - r->now_us)
        w->deadline_us = r->now_us + timeout_us;
    b->made = w;
}

static bool claim(struct request *r)
{
    struct blocked *b = r->core->blocked;
    assert(b->current);
    if (!b->claimed)
        b->claimed = waiter_decide(b->current, WAITER_SERVED);
    return b->claimed;
}

static void key_changed(struct request *r, unsigned db, const struct key *key, unsigned class,
                        const char *event)
{
    parked_changed(r->core, db, key);
    if (!(class & EVENT_ASIDE)) {
        watch_changed(r->core, db, key);
        // What a script does is not its caller's where it is broadcast, as in Redis.
        uint64_t at_work = r->session->client_id;
        tracking_changed(r->core, r->of_script ? 0 : at_work, at_work, key);
    }
    notify_event(r->core, class, event, db, key->ptr, key->len);
}

void blocked_services(struct services *services)
{
    services->block = block;
    services->claim = claim;
    services->key_changed = key_changed;
}

struct waiter *blocked_take(struct core *c)
{
    struct waiter *w = c->blocked->made;
    c->blocked->made = NULL;
    return w;
}

bool blocked_run(struct core *c, struct waiter *w, const struct parked *p, struct outbuf *out)
{
    struct blocked *b = c->blocked;
    const struct message *m = w->command;
    struct execution e = {
        .session = m->session,
        .command = m->command,
        .argv = m->argv,
        .argc = m->argc,
        .key = p ? &p->key : NULL,
        .out = &out->out,
        .woken = true,
        .woken_key = p ? p->arg : 0,
    };
    struct waiter *outer = b->current;
    bool outer_claimed = b->claimed;
    b->current = w;
    b->claimed = false;
    execute(c, &e, EXECUTE_HANDLER);
    bool served = b->claimed;
    w->command->cycles = e.cycles;
    if (served)
        latency_event(c, LATENCY_COMMAND_UNBLOCKING, e.cycles);
    // An error may be told without a claim: nothing was changed.
    if (!served && outbuf_size(out)) {
        served = waiter_decide(w, WAITER_SERVED);
        if (!served)
            outbuf_clear(out);
    }
    b->current = outer;
    b->claimed = outer_claimed;
    return served;
}

// --- deadlines -----------------------------------------------------------------------------------

static void due_place(struct blocked *b, unsigned at, struct waiter *w)
{
    b->due[at] = w;
    w->due_at = at + 1;
}

static void due_settle(struct blocked *b, unsigned i, struct waiter *w)
{
    for (unsigned parent; i && b->due[parent = (i - 1) / 2]->deadline_us > w->deadline_us;
         i = parent)
        due_place(b, i, b->due[parent]);
    for (unsigned child; (child = 2 * i + 1) < b->n_due; i = child) {
        if (child + 1 < b->n_due && b->due[child + 1]->deadline_us < b->due[child]->deadline_us)
            child++;
        if (b->due[child]->deadline_us >= w->deadline_us)
            break;
        due_place(b, i, b->due[child]);
    }
    due_place(b, i, w);
}

static bool due_add(struct blocked *b, struct waiter *w)
{
    if (b->n_due == b->due_room) {
        unsigned room = b->due_room ? 2 * b->due_room : DUE_ROOM_FIRST;
        struct waiter **due = mi_reallocn(b->due, room, sizeof(*due));
        if (!due)
            return false;
        b->due = due;
        b->due_room = room;
    }
    due_settle(b, b->n_due++, w);
    return true;
}

static void due_remove(struct blocked *b, struct waiter *w)
{
    if (!w->due_at)
        return;
    unsigned at = w->due_at - 1;
    w->due_at = 0;
    struct waiter *last = b->due[--b->n_due];
    if (last != w)
        due_settle(b, at, last);
}

uint64_t blocked_next_us(const struct core *c)
{
    return c->blocked->n_due ? c->blocked->due[0]->deadline_us : UINT64_MAX;
}

// --- the end -------------------------------------------------------------------------------------

// Tells all owners but the one that served it: that one knows.
static void unpark_all(struct core *c, struct waiter *w)
{
    bool served = atomic_load_explicit(&w->state, memory_order_relaxed) == WAITER_SERVED;
    unsigned n = 0;
    for (uint64_t owners = w->owners; owners; owners &= owners - 1) {
        unsigned core = (unsigned)__builtin_ctzll(owners);
        struct message *m = &w->unpark[n++];
        if (served && core == w->served_by)
            continue;
        if (core == c->index) {
            parked_remove(c, w);
            waiter_release(w);
            continue;
        }
        m->kind = MESSAGE_UNPARK; // with the owner's own reference
        m->waiter = w;
        mailbox_post(c, core, m);
    }
}

// The state is decided and the reply, if any, is in the slot.
static void finish(struct core *c, struct waiter *w)
{
    struct reply_slot *slot = w->slot;
    const struct message *m = w->command;
    if (atomic_load_explicit(&w->state, memory_order_relaxed) == WAITER_SERVED)
        command_ended(c, slot->client, m->command, m->argc, m->argv, m->cycles, true);
    due_remove(c->blocked, w);
    c->blocked->n_waiters--;
    if (slot->client) {
        slot->client->waiter = NULL;
        slot->client->last_active_us = c->now_us;
    }
    unpark_all(c, w);
    w->slot = NULL;
    client_complete_later(c, slot);
    waiter_release(w);
    if (!c->stopping)
        parked_serve(c); // who stood behind it
}

void blocked_begin(struct core *c, struct waiter *w, struct reply_slot *slot)
{
    w->slot = slot;
    c->blocked->n_waiters++;
    if (slot->client) {
        slot->client->waiter = w;
        slot->client->flags |= CLIENT_BARRIER;
    }
    w->failed = w->deadline_us && !due_add(c->blocked, w);
}

void blocked_check(struct core *c, struct waiter *w)
{
    const unsigned ends = CLIENT_CLOSE_AFTER_REPLY | CLIENT_CLOSING | CLIENT_GONE | CLIENT_EOF;
    if (atomic_load_explicit(&w->state, memory_order_relaxed) != WAITER_WAITING || !w->slot)
        return;
    struct client *client = w->slot->client;
    if (w->failed && waiter_decide(w, WAITER_CANCELLED)) {
        reply_error(&w->slot->out.out, ERR_OOM);
        finish(c, w);
    } else if (!client) {
        blocked_cancel(c, w);
    } else if (client->flags & ends) {
        client_close(c, client);
    }
}

void blocked_here(struct core *c, struct waiter *w, struct reply_slot *slot)
{
    waiter_retain(w);
    w->home = c->index;
    blocked_begin(c, w, slot);
    parked_add(c, w);
    blocked_check(c, w);
    waiter_release(w);
}

void blocked_cancel(struct core *c, struct waiter *w)
{
    if (waiter_decide(w, WAITER_CANCELLED))
        finish(c, w);
}

bool blocked_unblock(struct core *c, struct waiter *w, bool error)
{
    static const char text[] = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
    if (!waiter_decide(w, WAITER_TIMED_OUT))
        return false;
    struct out *out = &w->slot->out.out;
    if (error) {
        reply_error(out, text);
        count_error(c, text, 0);
    } else {
        reply_null_array(out, w->command->session.resp);
    }
    finish(c, w);
    return true;
}

void blocked_served(struct core *c, struct waiter *w, struct outbuf *out)
{
    w->served_by = c->index;
    parked_remove(c, w);
    if (w->home == c->index) {
        outbuf_move(out, &w->slot->out.out);
        waiter_release(w); // as an owner
        finish(c, w);
        return;
    }
    outbuf_move(out, &w->note.out.out);
    outbuf_finish(&w->note.out);
    w->note.kind = MESSAGE_SERVED; // the owner's reference travels with it
    w->note.waiter = w;
    mailbox_post(c, w->home, &w->note);
}

// --- running again at home -----------------------------------------------------------------------

static void retry_add(struct core *c, struct waiter *w)
{
    struct blocked *b = c->blocked;
    w->next_retry = NULL;
    if (b->last_retry)
        b->last_retry->next_retry = w;
    else
        b->first_retry = w;
    b->last_retry = w;
}

void blocked_ask_retry(struct core *c, struct waiter *w)
{
    waiter_retain(w);
    if (w->home == c->index) {
        retry_add(c, w);
        return;
    }
    w->note.kind = MESSAGE_RETRY;
    w->note.waiter = w;
    mailbox_post(c, w->home, &w->note);
}

static bool retry_next(struct core *c)
{
    struct blocked *b = c->blocked;
    struct waiter *w = b->first_retry;
    if (!w || c->together >= MAILBOX_CREDITS)
        return false;
    b->first_retry = w->next_retry;
    if (!b->first_retry)
        b->last_retry = NULL;
    if (atomic_load_explicit(&w->state, memory_order_relaxed) == WAITER_WAITING) {
        const struct message *copy = w->command;
        struct message *m = message_command(&copy->session, copy->command, copy->argc, copy->argv);
        if (m) {
            m->from = c->index;
            m->waiter = w;
            waiter_retain(w);
            loan_begin(c, m);
        } else {
            blocked_retry_failed(c, w);
        }
    }
    waiter_release(w);
    return true;
}

void blocked_retry_failed(struct core *c, struct waiter *w)
{
    if (!waiter_decide(w, WAITER_CANCELLED))
        return;
    reply_error(&w->slot->out.out, ERR_OOM);
    finish(c, w);
}

void blocked_retried(struct core *c, struct waiter *w, struct outbuf *out)
{
    w->served_by = UINT32_MAX; // no owner has unparked it
    outbuf_move(out, &w->slot->out.out);
    finish(c, w);
}

// --- messages and time ---------------------------------------------------------------------------

void blocked_message(struct core *c, struct message *m)
{
    struct waiter *w = m->waiter;
    switch (m->kind) {
    case MESSAGE_BLOCKED: { // the message of the command, back from the owner
        struct reply_slot *slot = m->slot;
        c->credits[m->to]++;
        message_free(m);
        waiter_retain(w);
        blocked_begin(c, w, slot);
        blocked_check(c, w);
        break;
    }
    case MESSAGE_SERVED:
        outbuf_move(&w->note.out, &w->slot->out.out);
        finish(c, w);
        break;
    default: // MESSAGE_RETRY
        waiter_retain(w);
        retry_add(c, w);
        break;
    }
    waiter_release(w);
}

bool blocked_turn(struct core *c)
{
    struct blocked *b = c->blocked;
    bool any = false;
    for (unsigned n = 0; n < DUE_A_TURN && b->n_due && b->due[0]->deadline_us <= c->now_us; n++) {
        struct waiter *w = b->due[0];
        if (!blocked_unblock(c, w, false))
            due_remove(b, w); // its reply is on the way
        any = true;
    }
    while (retry_next(c))
        any = true;
    return any;
}
