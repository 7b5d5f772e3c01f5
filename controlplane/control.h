// The control process: one thread, one epoll loop over the control socket, the link to the data
// plane, and signals. It sleeps until one of them has something, or a timer of the link is due.
#pragma once

#include "config/config.h"

// Runs until SIGTERM, SIGINT or SHUTDOWN. The exit status of the process; a reason for a failure to
// start is on standard error, in one line.
int control_run(const struct config *config);
