// What connections hold in memory, and who goes when it is too much (maxmemory-clients). Only on
// the core of the client.
#pragma once

#include "dataplane/core/core.h"

// Bytes of what it sent and was not executed, of replies that it has not got, and of all of it.
uint64_t client_query_bytes(const struct client *client);
uint64_t client_output_bytes(const struct client *client);
uint64_t client_memory(const struct client *client);
// Counts what it holds, to be called whenever that may have grown where there is a limit, and now
// and then in any case; and that it is gone.
void client_weigh(struct core *c, struct client *client);
void client_unweigh(struct core *c, struct client *client);
// Closes those that hold most, while all together hold more than the limit.
void clients_evict(struct core *c);
// The greatest query and output of the last seconds.
void clients_recent(struct core *c, uint64_t *input, uint64_t *output);
