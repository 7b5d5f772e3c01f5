// Commands that watch the server at work: MONITOR, SLOWLOG, LATENCY. Each core keeps what its own
// clients and its own turns gave; these commands gather it over all cores.
#pragma once

#include "common/histogram.h"
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

// --- LATENCY -----------------------------------------------------------------------------------

// What can take long, under Redis's names where it is the same.
enum latency_event {
    LATENCY_COMMAND,
    LATENCY_FAST_COMMAND,
    LATENCY_COMMAND_UNBLOCKING, // a blocked command was served
    LATENCY_EXPIRE_CYCLE,       // keys whose time is over, tables that grow
    LATENCY_EVICTION_CYCLE,
    LATENCY_TURN,          // one turn of a core, whatever filled it
    LATENCY_NOT_SCHEDULED, // a core had to wait for its CPU, in a tenth of a second
    LATENCY_WAKE_UP,       // a core slept longer than it asked for
    LATENCY_SERVICE_JOB,   // the service thread: a file, a name
    LATENCY_EVENTS,
};
extern const char *const latency_names[LATENCY_EVENTS];

#define LATENCY_SAMPLES 160
struct latency_sample {
    uint32_t time_s, ms;
};
// The worst of each second in which an event took long, the oldest first.
struct latency_series {
    uint32_t event, n, max_ms; // of all times
    struct latency_sample sample[LATENCY_SAMPLES];
};
// Puts a sample behind the others, or into the last one if it is of the same second.
void latency_series_add(struct latency_series *s, uint32_t time_s, uint32_t ms);
// Adds what another core has seen of the same event.
void latency_series_merge(struct latency_series *s, const struct latency_series *from);

void latency_doctor_command(struct request *r);
void latency_graph_command(struct request *r);
void latency_help_command(struct request *r);
void latency_histogram_command(struct request *r);
void latency_histogram_part(struct request *r);
void latency_history_command(struct request *r);
void latency_latest_command(struct request *r);
void latency_part(struct request *r);
void latency_reset_command(struct request *r);
void latency_reset_part(struct request *r);

// The series of all cores, by event; of a request whose part was latency_part. Events that nobody
// has seen have no samples. False: memory is short, and it was answered. To be freed (mimalloc).
bool latency_gather(struct request *r, struct latency_series **by_event);

// Histograms of commands as they travel between cores.
void latency_write_histogram(struct out *o, unsigned id, const struct histogram *h);
// Adds what `bytes` say of command `id` to `h`. False: nothing.
bool latency_read_histogram(const uint8_t *bytes, size_t len, unsigned id, struct histogram *h);

// --- MONITOR -----------------------------------------------------------------------------------

void monitor_command(struct request *r);
void monitor_part(struct request *r);
bool monitor_start(struct request *r);
