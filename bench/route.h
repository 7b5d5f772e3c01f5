// --cluster: the way of each request to the node that has its slot. Requests are drawn once, in the
// order of the workload, and wait in a bounded queue of their node until one of its connections is
// free; when a queue is full nothing is drawn, so that the mix of keys is the workload's and the
// slowest node sets the pace. Redirections are followed, and what cannot be served just now is
// tried again; the latency of a request counts from its first sending, or in an open loop from when
// it was meant to be sent. For the client alone.
#pragma once

#include <stdbool.h>

#include "bench/client_inner.h"

#define ROUTE_REDIRECTS_MAX 16     // of one request; then its error counts
#define ROUTE_RETRY_PAUSE_MS 10    // after TRYAGAIN and CLUSTERDOWN
#define ROUTE_RETRY_SHARE 0.5      // of --stall: how long a request is tried again
#define ROUTE_QUEUE_BATCHES 4      // a node's queue holds this many times what its connections take
#define ROUTE_QUEUE_MIN 1024       // but not fewer requests than this
#define ROUTE_QUEUE_MAX (1u << 20) // nor more
#define ROUTE_MAP_MAX (16u << 20)  // bytes of the reply of CLUSTER SLOTS
#define ROUTE_WORDS_MAX 1024       // of a request whose key is looked for in its bytes

// Asks the server of the options for the slots and makes room for each node's connections. False:
// the reason is in c->error.
bool route_open(struct client *c);
void route_close(struct client *c);
void route_ask(struct client *c);      // c->asker is usable
void route_read_map(struct client *c); // c->asker has bytes to read

// Connection number `i` of those to all nodes, `each` to each.
struct connection *route_connection(const struct route *route, unsigned each, unsigned i);
// Events of such connections during a job: usable (again), lost, bytes to read.
void route_ready(struct client *c, struct connection *k);
void route_lost(struct client *c, struct connection *k);
void route_receive(struct client *c, struct connection *k);

// A job: at first, with c->protocol made (false: out of memory); in each turn; at the end, when
// what was drawn and never written is forgotten.
bool route_prepare(struct client *c, const struct preset *test, struct measurement *m);
void route_send(struct client *c);
bool route_queued(const struct client *c); // something is waiting to be written
void route_drop(struct client *c);
