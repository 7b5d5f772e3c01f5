// The slot map of a Redis Cluster as a client keeps it: which node has which slot, what MOVED and
// ASK changed of it, and which request goes where. Sans I/O: replies are handed in. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/slot.h"
#include "common/stream.h"

#define CLUSTER_NODES_MAX 256
#define CLUSTER_NOBODY CLUSTER_NODES_MAX // owner of a slot that no node serves
#define CLUSTER_HOST_MAX 256             // of a node's name, terminator included

// Starts as zeros, with `resolve` set where nodes may be known by names.
struct cluster {
    unsigned n_nodes;
    struct endpoint nodes[CLUSTER_NODES_MAX]; // once known, a node keeps its index
    uint16_t owner[SLOTS];                    // index of a node, or CLUSTER_NOBODY
    // The address of a node that its cluster knows by a name; the port is left alone. Called for
    // nodes that announce no address beside their name. NULL: such nodes cannot be reached.
    bool (*resolve)(const char *host, struct endpoint *node);
};

// Reads the reply of CLUSTER SLOTS (whole, RESP2 or RESP3). `asked`: the node that answered, which
// stands where a host is empty, nil or "?". May be called again: nodes are added, owners replaced.
// False with one line in `error`; the map is as before then.
bool cluster_read(struct cluster *c, const uint8_t *reply, size_t len, const struct endpoint *asked,
                  char *error, size_t error_size);

enum cluster_redirect { CLUSTER_NONE, CLUSTER_MOVED, CLUSTER_ASK };
// Looks at an error line, terminated, without its end of line ("-MOVED 3999 127.0.0.1:6381"). Notes
// what MOVED says in the map, adds a node that was unknown. *node: where to send the request again.
// `asked`: the node that answered. CLUSTER_NONE for all else, and for a redirection that cannot be
// followed (malformed, to a name that nobody resolves, to more nodes than CLUSTER_NODES_MAX).
enum cluster_redirect cluster_redirect(struct cluster *c, const char *line,
                                       const struct endpoint *asked, unsigned *node);

// The node to ask about a slot. Of a slot that nobody serves any node can tell that it is so.
static inline unsigned cluster_node(const struct cluster *c, uint16_t slot)
{
    return c->owner[slot] == CLUSTER_NOBODY ? 0 : c->owner[slot];
}
