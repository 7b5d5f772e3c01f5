// The load of --pubsub: some connections subscribe, others publish to them as fast as the server
// answers, and what counts is how many messages arrive. On one thread: who reads is who sends, so
// the generator never runs ahead of itself.
#pragma once

#include <stdio.h>

#include "bench/options.h"

// Runs it and tells the result (one line, or JSON). The exit code of the program.
int pubsub_run(const struct options *o, const bool volatile *stop, FILE *to);
