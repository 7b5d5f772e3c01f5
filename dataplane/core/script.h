// Scripts on a core: what the engine (dataplane/script) asks of it, and where they run.
//
// A script runs on the core of its client. Where all its slots are at hand it begins at once; where
// they are all another core's it is sent there; else it borrows them. The core goes on with its
// loop while a script runs for long: it becomes the core's `job`, keeps the slots that it has
// touched, and gets a slice of each turn. There is one at a time; others wait: the clients'
// commands, with their loans, or as what was sent here.
//
// Which slots a script needs is known from its keys, if it keeps to them. One that has not shown it
// gets all slots of all cores, where some are not at hand. One that then strays begins again with
// all, at home, unless it has written, when it ends with an error.
#pragma once

#include "dataplane/core/message.h"

struct scripts;

bool scripts_start(struct core *c); // false: memory is short
void scripts_stop(struct core *c);
void scripts_configure(struct core *c); // the configuration has changed
void scripts_services(struct services *services);
void functions_services(struct services *services); // functions.c
struct script_engine;
struct script_engine *scripts_engine(const struct core *c);

// --- where a script runs
enum script_place {
    SCRIPT_HERE,   // at once
    SCRIPT_THERE,  // on the core whose slots all its keys are in
    SCRIPT_BORROW, // with the slots of its keys
    SCRIPT_WHOLE,  // with all slots of all cores
};
enum script_place scripts_place(struct core *c, const struct work *w);
// One is under way: another cannot begin.
bool scripts_engaged(const struct core *c);
// The loan with which the next script runs; NULL, and again after it: none.
void scripts_lend(struct core *c, struct loan *loan);
// The same for a message that was sent here.
void scripts_come(struct core *c, struct message *m);
// True when a script that was sent here has to wait: scripts_turn looks at what waits for slots
// when it need not any more.
bool scripts_hold_up(struct core *c, const struct message *m);
// A loan that waits until the script that is under way is over.
void scripts_wait(struct core *c, struct loan *loan);

// The command's flags; whether a script with a shebang may write is what that says.
uint32_t scripts_flags(struct core *c, const struct work *w);

// --- what became of it: `stepped` of its request says that there is something
enum script_left { SCRIPT_OVER, SCRIPT_GOES_ON, SCRIPT_BEGINS_AGAIN };
enum script_left scripts_left(const struct core *c, const struct stepped *stepped);
// It goes on as the message that this returns, and answers to the slot (NULL: nobody reads it).
// `loan`: with which it runs; a script of a transaction is a message of its own then, which comes
// back by transaction_resumed.
struct message *scripts_take(struct core *c, struct reply_slot *slot, struct loan *loan);
void scripts_take_sent(struct core *c); // the same for a message that was sent here
// At home, of a script whose reply came from elsewhere: it is remembered that it strays, and it
// begins again if it has to, which is true: the message is taken.
bool scripts_came_home(struct core *c, struct message *m);
// A command that it called elsewhere is done.
void scripts_called(struct core *c, struct message *m);

// Once a turn: a slice of the script that is under way, or the next. True when there is one.
bool scripts_turn(struct core *c);
void scripts_end(struct core *c); // at the end of the server

// The error with which commands are refused while a script is busy.
const char *scripts_busy(const struct core *c);
