#include "dataplane/net/checksum.h"

#include <string.h>

uint64_t net_sum(const uint8_t *p, size_t len, uint64_t sum)
{
    // Halves of words go to two accumulators that cannot overflow within a packet, so that the
    // additions depend on no carry.
    uint64_t low = 0, high = 0;
    while (len >= 32) {
        uint64_t w[4];
        memcpy(w, p, sizeof(w));
        low +=
            (w[0] & 0xffffffff) + (w[1] & 0xffffffff) + (w[2] & 0xffffffff) + (w[3] & 0xffffffff);
        high += (w[0] >> 32) + (w[1] >> 32) + (w[2] >> 32) + (w[3] >> 32);
        p += 32;
        len -= 32;
    }
    while (len >= 8) {
        uint64_t w;
        memcpy(&w, p, sizeof(w));
        low += w & 0xffffffff;
        high += w >> 32;
        p += 8;
        len -= 8;
    }
    if (len) {
        uint64_t w = 0;
        memcpy(&w, p, len);
        low += w & 0xffffffff;
        high += w >> 32;
    }
    return net_sum_add(sum, low + high);
}
