// Transactions: MULTI keeps what a client sends, EXEC runs it as one. Where all slots are this
// core's and free, and no command needs another thread, that is a loop. Otherwise EXEC borrows the
// slots of its commands and of what the client watched, and goes on command by command; those that
// run on all cores, or on the service thread, or talk to another server, come back here when they
// are done.
#pragma once

#include "dataplane/commands/effects.h"
#include "dataplane/core/message.h"

struct queued {
    struct queued *next;
    const struct command *command;
    int argc;
    bool has_key;
    struct key key; // where there is just one
    struct arg *argv;
};

// Memory that copies of commands lie in; the first run is behind the transaction itself.
struct copies {
    struct copies *next;
    uint8_t bytes[];
};

struct transaction {
    struct queued *first, *last;
    unsigned n;
    size_t bytes; // of the copies
    struct copies *copies;
    uint8_t *room, *room_end; // what is left of the last one
    bool refused;             // a command was: EXEC will be, too
    bool denyoom;             // one of them grows memory
    bool scripts;             // some of them are
    uint32_t flags;           // of all commands
    bool wide;                // needs all slots of all cores
    bool wide_far;            // the same where there are several cores
    bool asks;                // PUBLISH: other cores have parts of it where they have subscribers
    unsigned n_slots, slots_room;
    uint16_t *slots; // of the commands' keys, as they came
    // While it runs.
    struct queued *next;
    uint64_t cycles;           // that it has executed for
    struct message *under_way; // the command that goes on elsewhere
    bool begun;                // it has
    bool running;              // its commands are being run, in this call
    struct effects effects;    // what they have done, if somebody hears of it: it is a unit then
    _Alignas(16) uint8_t first_room[];
};

void transaction_services(struct services *services);
// A command of a client that is in MULTI. TRANSACTION_NOT: it runs as any other. TRANSACTION_LATER:
// it cannot go now, nothing was done.
enum transaction_taken { TRANSACTION_NOT, TRANSACTION_TAKEN, TRANSACTION_LATER };
enum transaction_taken transaction_take(struct core *c, struct client *client,
                                        const struct work *w);
// An EXEC has its slots.
void transaction_granted(struct core *c, struct loan *loan);
// What ran elsewhere is done, and its reply written: `m` is over. Also called where it never left,
// because it was refused or failed at once.
void transaction_resumed(struct core *c, struct loan *loan, struct message *m);
// Commands tell their effects within those of the transaction, if there is one (NULL). Returns
// where they told them before, which c->effects is to be again.
static inline struct effects *transaction_tells(struct core *c, struct transaction *t)
{
    struct effects *outer = c->effects;
    if (__builtin_expect(outer && t && t->effects.unit, 0))
        c->effects = &t->effects;
    return outer;
}
void transaction_free(struct transaction *t);
// The client is gone, or starts anew.
void transaction_forget(struct core *c, struct client *client);
