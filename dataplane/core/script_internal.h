// Scripts on a core, for script.c (where they run; the commands), script_call.c (what they touch
// and call) and script_job.c (going on over many turns).
#pragma once

#include "dataplane/commands/effects.h"
#include "dataplane/core/script.h"
#include "dataplane/script/script.h"

// Slots that are remembered one by one; who touches more is taken to touch all.
#define SCRIPT_TOUCHED_MAX 64

struct scripts {
    struct script_engine *engine;
    struct loan *lent;     // with which the next one runs,
    struct message *come;  // or as which it was sent here
    enum script_left left; // what became of the last one
    uint64_t slice_end;    // cycle counter
    bool may_pause;
    bool cleaning;   // up after the last one: the next has to wait
    bool strayed;    // it has touched what it did not declare
    bool watched;    // whether it strays
    bool everywhere; // all slots of all cores are borrowed
    // Slots that it may touch: declared and at hand, borrowed, or its own that were free.
    uint64_t mine[SLOTS / 64];
    uint16_t touched[SCRIPT_TOUCHED_MAX]; // bits of `mine`
    unsigned n_touched;                   // SCRIPT_TOUCHED_MAX + 1: too many
    bool holds;                           // those of them that it has not borrowed are held
    uint64_t held[SLOTS / 64];
    unsigned n_held;
    // The job, and what is to become one.
    struct message *m, *reserved;
    struct loan *loan;
    struct reply_slot nobody; // where it answers when memory is short for another
    uint64_t started_ms;
    struct effects effects; // what it has done so far; within EXEC that is told what it is part of
    bool busy, busy_function; // others are told BUSY because of it
    struct message *call;     // goes on elsewhere; its reply comes here:
    struct reply_slot call_slot;
    // Loans that wait for the engine; scripts that were sent here may do so, too, and have been
    // last.
    struct message *waiting_first, *waiting_last;
    bool holds_up, held_up_last;
    // Of this core's clients: they begin again when there is room for their loans.
    struct message *again_first, *again_last;
    // Scripts of the process that are busy, as this core has heard.
    unsigned busy_scripts, busy_functions;
    bool last_function; // what the core heard of last was a function
};

static inline bool script_slot_is_own(const struct core *c, uint16_t slot)
{
    return keyspace_core(c->server->keyspace, slot) == c->index;
}

// --- script_call.c
extern const struct script_host scripts_host;         // of the engines
void scripts_touch(struct scripts *s, uint16_t slot); // it may touch the slot
void scripts_hold(struct core *c); // from its first pause on, what it touches is kept from others
void scripts_release(struct core *c);      // gives that back
void scripts_forget(struct scripts *s);    // what the last one touched
void scripts_unreserve(struct scripts *s); // it is over, and has not become a job

// --- script_job.c
void scripts_slice(struct core *c);      // begins: the script may run until slice_end
void scripts_look_clean(struct core *c); // after a script: whether the next has to wait
void scripts_again(struct core *c, struct message *m); // with all slots; `m` is this core's
