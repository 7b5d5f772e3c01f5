// polluxctl's side of the control socket: finding the server, asking, reading the reply.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/resp_text.h"

#define CLIENT_PORT_DEFAULT 6379
// A reply that is longer is refused, as the control plane refuses to pass it on.
#define CLIENT_REPLY_MAX (80u * 1024 * 1024)

struct ctl_client {
    int fd;
    unsigned port;
    char run_directory[256];
};

// Connects to the server on `port`; 0: to the one on 6379, or to the only one that runs.
// `run_directory` NULL: the usual ones. 0, or -1 with one line in `error`.
int ctl_connect(struct ctl_client *c, unsigned port, const char *run_directory, char *error,
                size_t error_size);
// Sends one command and reads its reply (RESP3). NULL with one line in `error` when the connection
// fails or nothing comes for `timeout_s`.
struct resp_value *ctl_ask(struct ctl_client *c, unsigned argc, const char *const *argv,
                           unsigned timeout_s, char *error, size_t error_size);
// The same with words that are bytes.
struct resp_value *ctl_ask_bytes(struct ctl_client *c, unsigned argc, const char *const *argv,
                                 const size_t *lens, unsigned timeout_s, char *error,
                                 size_t error_size);
void ctl_close(struct ctl_client *c);
// Waits until no process of that server holds a lock of its planes. False when the time is over.
bool ctl_wait_ended(const struct ctl_client *c, unsigned timeout_s);
