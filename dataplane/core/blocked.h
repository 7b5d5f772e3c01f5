// Blocked commands: who waits, for which keys, and who may end the waiting. Two sides:
//
// The home of a waiter is the core of its client: it keeps the deadline, knows when the client goes
// away, and delivers the reply (blocked.c). Each core keeps, by key, a list of the waiters that
// wait for keys that it owns, in order of arrival, and runs their commands again when such a key
// changed (parked.c). A waiter is parked on all owners of its keys; any of them may serve it, the
// clock or its client may end it at home, and whoever moves its state word from WAITING decides.
// This word is the one place where cores share a write: keys of one command on several cores can
// become ready at once, and asking home first would let an element wait for an answer that may be
// no.
//
// Messages: MESSAGE_BLOCKED tells home of a command that came to wait at its owner; a loan's return
// carries a waiter to the lenders; MESSAGE_SERVED brings a reply home; MESSAGE_UNPARK tells an
// owner that it is over; MESSAGE_RETRY asks home to run the command again with borrowed slots.
#pragma once

#include <assert.h>

#include "dataplane/commands/blocking.h"
#include "dataplane/core/message.h"
#include "dataplane/core/tracking.h"

enum waiter_state { WAITER_WAITING, WAITER_SERVED, WAITER_TIMED_OUT, WAITER_CANCELLED };

// A waiter in the list of one key. Belongs to the core that owns the key.
struct parked {
    struct parked *prev, *next;
    struct waiter *waiter;
    struct watched *watched; // NULL: not in a list
    struct key key;
    int arg;        // index of the key's argument
    bool existed;   // there was such a key when the waiter last looked
    bool retrying;  // home runs the command again; who came later waits for what comes of it
    uint32_t tried; // the key's round in which home ran it in vain
};

struct waiter {
    _Atomic uint32_t state; // enum waiter_state
    // Home's until the end, one of each core that parks it, one of each message under way.
    _Atomic uint32_t refs;
    unsigned home;
    unsigned served_by;      // the core that moved it to SERVED, valid once its message came
    struct message *command; // a copy, with the session; read only
    uint64_t deadline_us;    // 0: never
    uint64_t owners;         // bits of the cores that own its keys
    // Slots of keys that the command touches without waiting for them (BLMOVE's destination).
    unsigned n_others;
    uint16_t *others;
    // At home.
    struct reply_slot *slot;
    unsigned due_at; // place in the heap of deadlines + 1; 0: not there
    bool failed;     // memory was short
    struct waiter *next_retry;
    // The messages it takes are here, so that memory cannot be short for them: from an owner to
    // home (one at a time: RETRY is answered before the next), and from home to each owner.
    struct message note;
    struct message *unpark;
    unsigned n_keys;
    struct parked parked[];
};

static_assert(PLANE_CORES_MAX <= 64, "owners are bits of one word");

struct watched;
struct watched_list {
    struct watched *first, *last;
};

struct blocked {
    // Clients of this core.
    unsigned n_waiters;
    struct waiter **due; // heap by deadline
    unsigned n_due, due_room;
    struct waiter *first_retry, *last_retry;
    // The handler that runs.
    struct waiter *made;    // by request_block
    struct waiter *current; // whose command runs again
    bool claimed;
    // Keys of this core that somebody waits for.
    struct watched **buckets;
    unsigned n_buckets, n_watched; // n_buckets is a power of two
    struct watched_list *by_slot;
    struct watched *first_ready, *last_ready;
    unsigned n_missed; // keys that were ready while their slots were lent
    bool serving;
};

static inline void core_observe(struct core *c)
{
    c->observed = c->blocked->n_watched || c->watched_keys || c->lender_observed ||
                  c->tracked_keys || tracking_observes(c) || c->settings.notify || c->told_first;
}

// --- blocked.c: home, and what handlers ask
bool blocked_start(struct core *c);
void blocked_stop(struct core *c);
void blocked_services(struct services *services);
// The waiter that the command which just ran has become.
struct waiter *blocked_take(struct core *c);
// At home: the client of `slot` waits from now on. When the waiter is parked as well,
// `blocked_check` ends it at once if its client went away meanwhile.
void blocked_begin(struct core *c, struct waiter *w, struct reply_slot *slot);
void blocked_check(struct core *c, struct waiter *w);
// A command of a client of this core came to wait where all its keys are.
void blocked_here(struct core *c, struct waiter *w, struct reply_slot *slot);
// The client goes away or is to be closed: nothing is answered.
void blocked_cancel(struct core *c, struct waiter *w);
// CLIENT UNBLOCK. False: it was served meanwhile.
bool blocked_unblock(struct core *c, struct waiter *w, bool error);
void blocked_message(struct core *c, struct message *m); // MESSAGE_BLOCKED, SERVED, RETRY
// Once a turn: deadlines and retries. True when there were some.
bool blocked_turn(struct core *c);
uint64_t blocked_next_us(const struct core *c); // the next deadline, UINT64_MAX: none
// A retried command ran here with its slots borrowed; `out` is what it answered.
void blocked_retried(struct core *c, struct waiter *w, struct outbuf *out);
void blocked_retry_failed(struct core *c, struct waiter *w);
// Runs the command of a waiter again; true when it served the waiter, whose reply is in `out` then.
bool blocked_run(struct core *c, struct waiter *w, const struct parked *p, struct outbuf *out);
// For parked.c.
bool waiter_decide(struct waiter *w, enum waiter_state state);
void waiter_retain(struct waiter *w);
void waiter_release(struct waiter *w);
void blocked_served(struct core *c, struct waiter *w, struct outbuf *out);
void blocked_ask_retry(struct core *c, struct waiter *w);

// --- parked.c: owners
// Puts the waiter into the lists of its keys that are this core's. Where memory is short it is
// answered with an error.
void parked_add(struct core *c, struct waiter *w);
void parked_remove(struct core *c, struct waiter *w);
void parked_unpark(struct core *c, struct message *m); // MESSAGE_UNPARK
// A key changed; served when the command is done.
void parked_changed(struct core *c, unsigned db, const struct key *key);
void parked_look_all(struct core *c); // whole databases changed
// A loan came home: a new waiter may come with it, keys may have changed, a retry was made.
void parked_returned(struct core *c, const struct message *b);
void parked_slots_returned(struct core *c, const uint16_t *slots, unsigned n,
                           bool changed); // that were held here; false: and only read
// Behind a command: runs what waits for keys that changed, until none is left, and tells clients
// what it made them hear.
void parked_serve_ready(struct core *c);
static inline void parked_serve(struct core *c)
{
    if (__builtin_expect(c->observed && (c->blocked->first_ready || c->told_first), 0))
        parked_serve_ready(c);
}
