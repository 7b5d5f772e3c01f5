// Commands that watch the server at work: MONITOR, SLOWLOG, LATENCY. Each core keeps what its own
// clients and its own turns gave; these commands gather it over all cores.
#pragma once

#include "dataplane/commands/command.h"

// --- the slow log: what one core has written of a command ------------------------------------

// Arguments of an entry, and bytes of each; what is cut off is counted in words.
#define SLOW_ARGS 32
#define SLOW_ARG_BYTES 128

// An entry, followed by `size` bytes: its arguments, the address of the client and the client's
// name, each as a uint32_t length and the bytes.
struct slow_entry {
    uint64_t id; // of all cores, ascending
    uint64_t time_s, us;
    uint32_t n_args, size;
};
typedef void slow_each_fn(void *context, const struct slow_entry *e, const uint8_t *bytes);

// What a core says of its log ahead of the entries.
struct slow_summary {
    uint64_t length; // entries that it keeps
    uint64_t most;   // slowlog-max-len
};

void slowlog_get_command(struct request *r);
void slowlog_get_part(struct request *r);
bool slowlog_get_start(struct request *r);
void slowlog_help_command(struct request *r);
void slowlog_len_command(struct request *r);
void slowlog_len_part(struct request *r);
void slowlog_reset_command(struct request *r);
void slowlog_reset_part(struct request *r);

// --- MONITOR -----------------------------------------------------------------------------------

void monitor_command(struct request *r);
void monitor_part(struct request *r);
bool monitor_start(struct request *r);
