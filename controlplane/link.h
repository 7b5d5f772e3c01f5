// The control plane's end of the contract: it attaches to the data plane, attaches again when
// either side was away, asks cores and matches their replies, gives the lease, and watches the
// heartbeats. No I/O but its own descriptors; one thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/plane.h"

// Questions under way: one for each client of the control socket, and room for our own.
#define LINK_ASKED_MAX 128
// The longest reply of a core that is taken; a longer one is an error for who asked.
#define LINK_REPLY_MAX (64u * 1024 * 1024)
// A core that has not turned for so long is called hung.
#define LINK_HUNG_US 2000000u

struct link;

struct link_options {
    const char *run_directory;
    unsigned port;
};

enum link_outcome {
    LINK_REPLIED,
    LINK_GONE,      // the data plane ended, or there is none
    LINK_TIMED_OUT, // the core did not answer in time
    LINK_TOO_LONG,  // the reply is longer than LINK_REPLY_MAX, or the question than PLANE_SEND_MAX
    LINK_BUSY,      // the ring or the table of questions is full
};

// What became of a question. `data` is valid during the call.
typedef void link_reply_fn(void *context, enum link_outcome outcome, enum plane_message_kind kind,
                           const uint8_t *data, size_t len);

// One look at the counters of a core, and the one before, about a second older: for rates.
struct link_sample {
    uint64_t at_us;
    uint64_t busy_cycles, idle_cycles, stage_cycles[PLANE_STAGES];
    uint64_t commands, bytes_in, bytes_out;
};

// NULL with one line in `error`: the directory cannot be used, another control plane serves it.
struct link *link_open(const struct link_options *options, char *error, size_t error_size);
// Gives back what it holds. The lease stays: outside cluster mode the data plane needs none.
void link_close(struct link *l);
// Readable when link_turn has something to do. It wants to be called after `link_timeout_ms` too.
int link_fd(const struct link *l);
int link_timeout_ms(const struct link *l);
void link_turn(struct link *l);
// Around the sleep: tells the cores to wake us. True when a message has come meanwhile: do not
// sleep.
bool link_sleep(struct link *l);
void link_awake(struct link *l);

// Asks a core; `reply` is called once, later or (where it cannot be asked) before this returns.
// The result is a number for link_forget.
uint64_t link_ask(struct link *l, unsigned core, enum plane_message_kind kind, const void *data,
                  size_t len, unsigned timeout_ms, link_reply_fn *reply, void *context);
void link_forget(struct link *l, uint64_t request);

bool link_attached(const struct link *l);
unsigned link_cores(const struct link *l); // of the attached data plane, 0 without one
int link_data_pid(const struct link *l);   // of the attached data plane, as the kernel knows it
struct plane_segment *link_segment(const struct link *l); // never NULL
bool link_core_hung(const struct link *l, unsigned core);
void link_samples(const struct link *l, unsigned core, struct link_sample *now,
                  struct link_sample *before);
uint64_t link_now_us(void); // CLOCK_MONOTONIC, the heartbeats' clock
