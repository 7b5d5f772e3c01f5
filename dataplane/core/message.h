// What travels between cores. A message is one allocation that carries a command with copies of its
// arguments (big ones by reference) out and its reply back; loans and gathers are built of the
// same. The sender allocates, the last to use it frees; the allocator takes memory back on any
// thread.
#pragma once

#include "common/block.h"
#include "common/outbuf.h"
#include "dataplane/core/core.h"

enum message_kind {
    MESSAGE_COMMAND, // execute and send back
    MESSAGE_REPLY,   // the same message on its way home
    MESSAGE_BORROW,  // lend the slots named for you
    MESSAGE_GRANT,   // they are yours
    MESSAGE_RETURN,  // they are back
    MESSAGE_PART,    // a core's part of a gathered command
    MESSAGE_PART_DONE,
    MESSAGE_NET,     // from stack to stack: a frame whose flow may live there, or news
    MESSAGE_BLOCKED, // a command on its way home: it waits (blocked.h)
    MESSAGE_SERVED,
    MESSAGE_RETRY,
    MESSAGE_UNPARK,
    MESSAGE_UNWATCH, // a client watches a key no more (watch.h)
    MESSAGE_NEWS,    // word to another core that answers nothing: `news` takes it
};

// What a stack sends to another, with a copy of the frame in plain memory; freed at the end of the
// receiver's turn.
struct passed {
    struct net_mail mail;
    struct frame frame;
    uint8_t bytes[];
};

struct loan;
struct gather;
struct transaction;
struct waiter;

struct message {
    struct message
        *next; // in the list of a client's pending commands, or of those waiting for slots
    enum message_kind kind;
    unsigned from;         // core that sent the command
    unsigned to;           // core it was sent to
    struct server *server; // for the service thread
    struct session session;
    const struct command *command;
    struct reply_slot *slot; // at home
    struct outbuf out;       // the reply, written away from home
    // MESSAGE_BORROW … MESSAGE_RETURN; of a command: it is one of the transaction that borrowed.
    struct loan *loan;
    struct transaction *transaction; // of EXEC, while it runs
    struct gather *gather;           // MESSAGE_PART …
    struct passed *passed;           // MESSAGE_NET
    struct waiter *waiter; // MESSAGE_BLOCKED …; of a loan: the command that came to wait
    void (*news)(struct core *c, struct message *m); // MESSAGE_NEWS: the receiver runs it
    bool script;                                     // a script has called it (script.h)
    struct loan *waiting_loan; // of the command that has borrowed, and waits for a script
    bool waited;               // a script that was sent here: it had to wait
    bool strayed;              // its reply: it touches more than the keys that it names,
    bool again;                // and has to begin again, at home
    bool failed;               // the service thread's answer is an error
    bool retried;              // MESSAGE_RETURN: it waited before, and ran again
    bool changed;              // MESSAGE_RETURN: keys may be other than they were
    bool observed;             // MESSAGE_GRANT: somebody watches keys of the lender
    bool refused; // MESSAGE_GRANT: nothing was lent, the borrower is gone or a script is busy
    bool whole;   // needs all slots of the core that executes it
    bool has_key;
    struct key key;
    unsigned n_slots;
    uint16_t *slots; // slots the command touches at its owner, ascending, without repetition
    uint64_t cycles; // that it has executed for so far
    int argc;
    size_t bytes;     // of a command: the message, blocks included
    struct arg *argv; // points into the bytes behind the struct
};

// Copies of arguments, big ones by reference, behind the first `head` bytes of memory of
// args_room's size. `copy` tells them, `blocks` the bytes that are referred to. False: memory is
// short.
size_t args_room(size_t head, int argc, const struct arg *argv);
bool args_place(void *whole, size_t head, int argc, const struct arg *argv, struct arg **copy,
                size_t *blocks);
void args_release(int argc, const struct arg *argv); // gives back what the copy refers to
// A copy of a command. NULL when memory is short.
struct message *message_command(const struct session *session, const struct command *command,
                                int argc, const struct arg *argv);
void message_session(struct message *m, const struct session *session); // in the place of its own
void message_free(struct message *m);

// Rings of all pairs of cores; before the threads start.
bool mailbox_open(struct server *server);
void mailbox_close(struct server *server);
// Sends to another core. Never fails: credits keep the rings from filling.
void mailbox_send(struct core *c, unsigned to, struct message *m);
// The same for messages that no credit bounds: where the ring is full they wait in order.
void mailbox_post(struct core *c, unsigned to, struct message *m);
// A word to another core, with copies of the arguments: `news` runs there, after whatever was sent
// there before it, and `m` is freed when it returns. Needs no credit. False: memory is short.
bool mailbox_tell(struct core *c, unsigned to, const struct session *session, int argc,
                  const struct arg *argv, void (*news)(struct core *c, struct message *m));
// The same to all other cores.
bool mailbox_tell_all(struct core *c, const struct session *session, int argc,
                      const struct arg *argv, void (*news)(struct core *c, struct message *m));
// Takes what arrived; true when something did.
bool mailbox_receive(struct core *c);
// True when something waits to be taken (asked before sleeping).
bool mailbox_pending(struct core *c);
// Wakes the sleeping cores that got something this turn.
void mailbox_wake(struct core *c);

// --- passing.c
// Sends to the stack of another core (net_config's `send`).
bool pass_mail(struct core *c, unsigned to, const struct net_mail *mail);
void passed_take(struct core *c, struct message *m);
void passed_free(struct core *c); // end of the turn
// Room for another frame in the ring to that core, beside all other messages.
bool mailbox_takes_frame(const struct core *c, unsigned to);

// --- loan.c
// True when one of the message's slots is lent or waited for, so that it must wait.
bool loan_blocks(const struct core *c, const struct message *m);
static inline bool loan_holds(const struct core *c, uint16_t slot)
{
    return __builtin_expect(c->held[slot / 64] >> (slot % 64) & 1, 0);
}
void loan_wait(struct core *c, struct message *m); // puts it behind what waits already
// A script is busy: a command must not wait for it.
bool loan_refuses(const struct core *c, const struct message *m);
void loan_look_waiting(struct core *c); // at what waits, which may be refused now
// Borrows the slots of a command (all of all cores when `whole`) and executes it here.
void loan_begin(struct core *c, struct message *m);
void loan_lend(struct core *c, struct message *m);
void loan_granted(struct core *c, struct message *m);
// The command goes on to its end with what came of waiting, as its only part (ROUTE_BORROW).
void loan_finish(struct core *c, struct loan *loan, const struct gathered *result);
struct message *loan_command(const struct loan *loan);
// There is one core, and nothing is lent: as if `m` had borrowed all slots. NULL: memory is short.
struct loan *loan_take_all(struct core *c, struct message *m);
void loan_run(struct core *c, struct loan *loan); // its slots are there: the command begins
// It does not begin: a script is busy, or its client gone.
void loan_give_up(struct core *c, struct loan *loan);
// The command, a script, has done nothing, and begins again with all slots of all cores.
void loan_again(struct core *c, struct loan *loan);
// Whatever executes with the slots borrowed does so between these two, in one turn.
uint64_t loan_enter(struct core *c, const struct loan *loan);
void loan_leave(struct core *c, struct loan *loan, uint64_t entered);
bool loan_observed(const struct loan *loan); // somebody watches keys of a lender
// While all slots are lent, a transaction asks this core to walk over its own: its store counts
// them as its own for so long.
void loan_take_back(struct core *c);
void loan_lend_again(struct core *c);
// The work of its command, which went on over several turns, is done and its reply written.
void loan_worked(struct core *c, struct loan *loan);
void loan_drop(struct loan *loan); // at the end of the server
// A slot of this core is kept from everyone for a while, as if it were lent.
void loan_hold(struct core *c, uint16_t slot);
void loan_release(struct core *c, const uint16_t *slots, unsigned n, bool changed);
void loan_returned(struct core *c, struct message *m);

// --- migrate.c
// The handler has run: the talk begins, and ends with loan_finish.
void migrate_take(struct core *c, struct migration *g, struct loan *loan);

// --- gather.c
static inline struct gathered gathered(const struct block *part)
{
    return part ? (struct gathered){part->data, part->len} : (struct gathered){NULL, 0};
}
// Only home has a part of this command to do.
bool gather_is_home(struct core *c, const struct command *command, const struct arg *argv,
                    int argc);
void gather_begin(struct core *c, struct message *m);
// The same for a command that has borrowed all slots (part_together).
void gather_lent(struct core *c, struct loan *loan);
// The same for a command of a transaction that has: `m` comes back by transaction_resumed.
void gather_of_transaction(struct core *c, struct loan *loan, struct message *m);
// The three steps in a row, where there is one core.
void gather_alone(struct core *c, struct execution *e);
void gather_part(struct core *c, struct message *m);
void gather_part_done(struct core *c, struct message *m);

// --- execute.c: commands that go on over several turns
// The next piece of one begins, at c->command_mark; the request's session is `session`, its output
// `out`.
struct request piece_begins(struct core *c, const struct message *m, struct session *session,
                            struct out *out);
// It has run since `begin`: its time, and its error if it has one. The call was counted when it
// came.
void piece_ends(struct core *c, struct message *m, const struct request *r, uint64_t begin);

// --- route.c
// Executes a command that is on the core it belongs to, and sends the reply home.
void route_execute(struct core *c, struct message *m);
void route_to_service(struct core *c, struct message *m);
// Its reply is in m->out: it goes home.
void route_answer(struct core *c, struct message *m);
