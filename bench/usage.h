// CPU time of the generator and, where it runs on this machine, of the server.
#pragma once

#include "bench/options.h"

struct usage {
    double generator_s, server_s; // CPU seconds since the processes began; < 0: unknown
};

// Finds the server's processes: the one that listens at the address of `o` (INFO's process_id, and
// for a Pollux server its data plane), if that is on this machine. May make system calls: main
// thread only.
void usage_find(const struct options *o);
void usage_read(struct usage *u);
