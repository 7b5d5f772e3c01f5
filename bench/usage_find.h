// Which processes of this machine are the server: whoever holds the listening socket of its
// address, in this or another network namespace; at the end of a memif, whoever listens at its
// control socket; and a Pollux data plane on a device of its own, whose control plane tells its
// address.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/options.h"

#define USAGE_PROCESSES_MAX 64

struct usage_process {
    pid_t pid;
    uint64_t started; // clock ticks since boot: tells it from a later one of the same number
};

// Returns how many were found, 0 when the server is elsewhere or may not be seen.
unsigned usage_find_server(const struct options *o, struct usage_process *found);
// CPU seconds of a process since it began, and its start. False when there is none.
bool usage_process_read(pid_t pid, double *cpu_s, uint64_t *started);
