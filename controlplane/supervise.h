// The supervisor: starts both planes, starts again what died, and ends both in order.
#pragma once

#include "config/config.h"

// Runs the server until SIGTERM or SIGINT, or until the data plane ends in order. `argc`, `argv`:
// the arguments that both planes get (without a program's name). `input`: what "-" among them
// reads, -1 without. The exit status of the process; reasons are on standard error.
int supervise(const struct config *config, int argc, char **argv, int input);
