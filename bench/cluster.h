// The slot map of a Redis Cluster as a client keeps it: which node has which slot, what MOVED and ASK
// changed of it, and which request goes where. Sans I/O: replies are handed in. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/stream.h"

#define CLUSTER_SLOTS 16384
#define CLUSTER_NODES_MAX 256

struct cluster {
    unsigned n_nodes;
    struct endpoint nodes[CLUSTER_NODES_MAX];
    uint16_t owner[CLUSTER_SLOTS]; // index of a node; CLUSTER_NODES_MAX: nobody
};

// Reads the reply of CLUSTER SLOTS (whole, RESP2 or RESP3). `asked`: the node that answered, which
// stands where a host is empty or "?". False with one line in `error`.
bool cluster_read(struct cluster *c, const uint8_t *reply, size_t len, const struct endpoint *asked,
                  char *error, size_t error_size);
enum cluster_redirect { CLUSTER_NONE, CLUSTER_MOVED, CLUSTER_ASK };
// Looks at an error line ("-MOVED 3999 127.0.0.1:6381"). Notes what MOVED says in the map, adds a node
// that was unknown. *node: where to send the request again.
enum cluster_redirect cluster_redirect(struct cluster *c, const char *line,
                                       const struct endpoint *asked, unsigned *node);
