// The addresses of the userspace stack: from the configuration, or those of the kernel's interface.
#pragma once

#include "config/config.h"
#include "dataplane/net/net.h"

struct nic;

// Fills in the addresses, routers and what goes with them; `text` gets the addresses for people.
// Returns 0, or -1 with one line in `error`.
int addresses_read(struct net_config *n, const struct config *config, const struct nic *nic,
                   char *text, size_t text_size, char *error, size_t error_size);
// Is `e` on the link of one of the addresses?
bool addresses_near(const struct net_config *n, const struct endpoint *e);
// Writes to the log that another host has an address of ours: net_config's `conflict`.
void addresses_conflict(void *context, const struct net_address *address, const uint8_t mac[6],
                        bool lost);
