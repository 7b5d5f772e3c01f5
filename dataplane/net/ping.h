// Between ICMP and those who asked for an echo (ping.c); net.h has what they ask.
#pragma once

#include "dataplane/net/internal.h"

// A reply of `len` bytes at `icmp`, at least a header. False: none of ours.
bool ping_reply(struct net *net, const struct net_address *from, uint8_t hops, const uint8_t *icmp,
                uint32_t len);
// `from` says that the echo whose ICMP header is quoted did not arrive. False: none of ours.
bool ping_error(struct net *net, const struct net_address *from, uint8_t type, uint8_t code,
                uint32_t mtu, const uint8_t *quoted, uint32_t len);
void pings_free(struct net *net);
