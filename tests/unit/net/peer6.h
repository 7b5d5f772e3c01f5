// A hand-made peer over IPv6, beside the one of peer.h: packets with right sums into the stack, and
// what it sends looked at. The stack is fd00::1/64 (and 10.0.0.1), the peer fd00::9 and fe80::9
// with the hardware address 02:00:00:00:00:09, and unknown to the stack at first.
#pragma once

#include "dataplane/net/ipv6.h"
#include "tests/unit/net/peer.h"

enum { NEXT_HOP = 0, NEXT_ROUTING = 43, NEXT_FRAGMENT = 44, NEXT_NONE = 59, NEXT_OPTIONS = 60 };
#define SECOND 1000000u

static const uint8_t mac_of_all[6] = {0x33, 0x33, 0, 0, 0, 1};
static const uint8_t ours[16] = {0xfd, [15] = 1}, theirs[16] = {0xfd, [15] = 9},
                     theirs_local[16] = {0xfe, 0x80, [15] = 9}, none[16];
static const uint8_t all[16] = {0xff, 2, [15] = 1},
                     our_group[16] = {0xff, 2, [11] = 1, [12] = 0xff, [15] = 1};

struct peer6_header {
    const uint8_t *src, *dst;
    uint8_t next, hop;
    const uint8_t *mac; // NULL: ours
};

struct peer6_found {
    const uint8_t *addr;
    char state[12];
    uint8_t mac[6];
    bool router;
    unsigned n;
};

enum { ROUTER = 0x80, SOLICITED = 0x40, OVERRIDE = 0x20 };

extern unsigned peer6_conflicts; // that the stack told since the start
extern bool peer6_lost;          // one of them cost an address

// Makes the stack of p->config anew.
void peer6_restart(struct peer *p);
void peer6_start(struct peer *p, const struct net_config *config);
// The same, with the first reports and announcements over.
void peer6_start_quiet(struct peer *p, const struct net_config *config);
void peer6_send(struct peer *p, struct peer6_header h, const uint8_t *payload, uint32_t len);
uint16_t peer6_sum(const uint8_t *src, const uint8_t *dst, uint8_t next, const uint8_t *l4,
                   uint32_t len);
void peer6_set_sum(struct peer6_header h, uint8_t next, uint8_t *l4, uint32_t at, uint32_t len);
// Sums and sends.
void peer6_icmp(struct peer *p, struct peer6_header h, uint8_t *message, uint32_t len);
// The n-th (or first) frame of the last turns that is ICMPv6 of this type, its sum checked: where
// its ICMPv6 begins; NULL: none.
const uint8_t *peer6_sent_nth(struct peer *p, uint8_t type, unsigned n);
const uint8_t *peer6_sent(struct peer *p, uint8_t type);
// Ends the turn; p->out has its output alone.
void peer6_turn(struct peer *p);
// Write a message and return its length.
uint32_t peer6_make_ns(uint8_t *m, const uint8_t *target, const uint8_t *mac);
uint32_t peer6_make_na(uint8_t *m, const uint8_t *target, uint8_t flags, uint8_t host);
// The peer asks for the hardware address of fd00::1.
void peer6_asks(struct peer *p);
struct peer6_found peer6_neighbour(struct peer *p, const uint8_t *addr);
void peer6_expect(struct peer *p, const uint8_t *addr, const char *state, uint8_t host);
struct endpoint peer6_at(const uint8_t *addr, uint16_t port);
