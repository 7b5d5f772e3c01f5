// The Internet checksum (RFC 1071). Sums are kept as 64-bit one's complement values of words in
// memory order, so that they need no byte swapping and add up in any order.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Adds the bytes at `p` to `sum`. A run that starts at an odd offset of its packet cannot be added
// this way; callers sum from even offsets only.
uint64_t net_sum(const uint8_t *p, size_t len, uint64_t sum);

static inline uint64_t net_sum_add(uint64_t a, uint64_t b)
{
    a += b;
    return a + (a < b);
}

// The 16-bit sum, in memory order, not complemented.
static inline uint16_t net_sum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}
