// What is left of a data plane that crashes: a report in the log (signal, address, registers,
// stack, the command in hand, figures of the cores), and the end that the signal would have had
// without it, so that whoever waits for the process and the core file see what happened. While the
// report is written the other cores stand still. Built with a sanitizer, the process keeps the
// sanitizer's handlers.
//
// The watchdog writes the stack of a core whose turn takes longer than `watchdog-period`.
#pragma once

#include "dataplane/core/core.h"

// Before any other thread starts.
void crash_start(struct server *server, const struct config *config);
// The calling thread is about to serve as this core: its handlers get a stack of their own.
void crash_thread(struct core *c);
// crash-log-enabled, watchdog-period. Any core.
void crash_configure(const struct config *config);
// Now and then, on a thread that is no core: looks for turns that take too long.
void crash_watch(struct server *server);
// DEBUG SEGFAULT, PANIC, ASSERT.
void crash_on_purpose(enum crash_kind kind) __attribute__((noreturn));
