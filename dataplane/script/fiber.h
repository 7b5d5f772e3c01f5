// A second stack on the thread of a core. Lua cannot yield across its C functions, and a script has
// to give the core back in the middle of anything; so it runs on a stack of its own, which is left
// and entered like a function call: a dozen instructions, no system call.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct fiber {
    void *sp, *caller; // where the other side stands
    void *map;         // the stack, with a page below it that nobody may touch
    size_t map_size;
    void (*entry)(void *argument);
    void *argument;
    bool over; // the entry has returned
    // AddressSanitizer's view.
    void *fake, *caller_fake;
    const void *caller_bottom;
    size_t caller_size;
};

// False: memory is short.
bool fiber_create(struct fiber *f, size_t size);
void fiber_destroy(struct fiber *f);
// Runs `entry` until it returns or pauses. True: it returned.
bool fiber_start(struct fiber *f, void (*entry)(void *argument), void *argument);
bool fiber_resume(struct fiber *f); // after a pause; the same
void fiber_pause(struct fiber *f);  // on the fiber
// Gives up what is paused on it: it may be started again.
void fiber_reset(struct fiber *f);
