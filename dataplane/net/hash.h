// SipHash (Aumasson and Bernstein, 2012) over a few 64-bit words, keyed with the stack's secret: a
// peer cannot choose addresses and ports so that connections crowd in one place of a table, nor
// guess sequence numbers.
#pragma once

#include <stdint.h>
#include <string.h>

struct net_key {
    uint64_t k0, k1;
};

struct net_sip {
    uint64_t v0, v1, v2, v3;
};

static inline struct net_key net_key_load(const uint8_t secret[16])
{
    struct net_key key;
    memcpy(&key, secret, sizeof(key));
    return key;
}

static inline uint64_t net_rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static inline void net_sip_rounds(struct net_sip *s, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = net_rotl(s->v1, 13) ^ s->v0;
        s->v3 = net_rotl(s->v3, 16) ^ s->v2;
        s->v0 = net_rotl(s->v0, 32) + s->v3;
        s->v2 += s->v1;
        s->v3 = net_rotl(s->v3, 21) ^ s->v0;
        s->v1 = net_rotl(s->v1, 17) ^ s->v2;
        s->v2 = net_rotl(s->v2, 32);
    }
}

// `compress` rounds for each word and `finish` rounds at the end: 2 and 4 where an answer shows the
// value to the world, 1 and 3 for tables. The number of words is the last one's upper byte.
static inline uint64_t net_sip(struct net_key key, const uint64_t *words, unsigned n, int compress,
                               int finish)
{
    struct net_sip s = {key.k0 ^ 0x736f6d6570736575, key.k1 ^ 0x646f72616e646f6d,
                        key.k0 ^ 0x6c7967656e657261, key.k1 ^ 0x7465646279746573};
    for (unsigned i = 0; i < n; i++) {
        s.v3 ^= words[i];
        net_sip_rounds(&s, compress);
        s.v0 ^= words[i];
    }
    s.v2 ^= 0xff;
    net_sip_rounds(&s, finish);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
