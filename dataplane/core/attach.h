// The data plane's end of the meeting with the control plane: serves RUNDIR/PORT.attach, hands out
// the events that wake the cores, and keeps the one that wakes the control plane. The service
// thread polls and turns it; polling cores call `attach_wake_control` only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/plane.h"

struct attach;

// `core_wake_fds[i]` ends the sleep of core i when 8 bytes are written to it (io_wake_fd). The
// descriptors stay the caller's. `generation` is the data plane's. NULL with one line in `error`.
struct attach *attach_open(const char *run_dir, unsigned port, uint64_t generation,
                           unsigned n_cores, const int *core_wake_fds, char *error,
                           size_t error_size);
// Becomes readable when attach_turn has something to do.
int attach_fd(const struct attach *a);
// Accepts, greets, notices the end of the control plane. Never blocks. One thread.
void attach_turn(struct attach *a);
// Any thread. Whether a control plane is attached now.
bool attach_connected(const struct attach *a);
// Any core, after it has put a reply into its channel: ends the control plane's sleep if it sleeps,
// with one system call then and none otherwise.
void attach_wake_control(struct attach *a, struct plane_channel *channel);
// Closes and removes the socket. No core may call attach_wake_control any more.
void attach_close(struct attach *a);
