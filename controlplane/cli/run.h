// What polluxctl's subcommands share: the options as they were given, asking, complaining.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/cli/client.h"

// Exit codes.
enum { DONE = 0, FAILED = 1, USAGE = 2, NO_SERVER = 3 };

#define PING_SIZE 56 // bytes of payload, as ping(8) sends
#define ANSWER_S 5   // the control plane gives up on a core before that

struct options {
    unsigned port;
    const char *run_directory;
    bool json;
    double watch_s; // 0: once
    uint64_t cursor, limit;
    bool limit_given, count_given;
    unsigned timeout_s; // of execute and config; 0: not said
    // connections, capture, ping
    const char *state, *peer, *sort, *filter, *file;
    bool reverse, info, all, explain, follow;
    int64_t core; // -1: any
    uint64_t local_port, count, snaplen, size, interval_ms;
    double seconds; // 0: no limit
    unsigned argc;  // words of the subcommand, its name first
    const char **argv;
};

// One line on standard error. Returns FAILED.
int complain(const char *text);
int complain_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
// The reply, or NULL after a complaint; an error reply is a complaint.
struct resp_value *ask(struct ctl_client *c, unsigned argc, const char *const *argv,
                       unsigned timeout_s);
// The same with words that are bytes; `lens` NULL: they are texts.
struct resp_value *ask_bytes(struct ctl_client *c, unsigned argc, const char *const *argv,
                             const size_t *lens, unsigned timeout_s);

// Set by SIGINT, SIGTERM and SIGHUP after interrupt_catch: whoever runs on ends in order.
extern volatile int interrupted;
void interrupt_catch(void);

int run_connections(struct ctl_client *c, const struct options *o); // connections.c
int run_nic(struct ctl_client *c, const struct options *o);         // nic.c
int run_capture(struct ctl_client *c, const struct options *o);     // capture.c
int run_ping(struct ctl_client *c, const struct options *o);        // ping.c
int run_slowlog(struct ctl_client *c, const struct options *o);     // slowlog.c
int run_latency(struct ctl_client *c, const struct options *o);     // latency.c
