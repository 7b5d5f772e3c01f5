#include "dataplane/net/checksum.h"

#include <string.h>

uint64_t net_sum(const uint8_t *p, size_t len, uint64_t sum)
{
    // Carries gather in the upper half, so that no addition waits for the one before.
    unsigned __int128 total = sum;
    if (len >= 64) {
        // 32-bit words in 64-bit lanes: four billion of them fit before a lane overflows.
        uint64_t lanes[8] = {0};
        for (; len >= 64; len -= 64, p += 64) {
            uint32_t w[16];
            memcpy(w, p, sizeof(w));
            for (unsigned i = 0; i < 8; i++)
                lanes[i] += (uint64_t)w[i] + w[i + 8];
        }
        for (unsigned i = 0; i < 8; i++)
            total += lanes[i];
    }
    while (len >= 8) {
        uint64_t w;
        memcpy(&w, p, sizeof(w));
        total += w;
        p += 8;
        len -= 8;
    }
    if (len & 4) {
        uint32_t w;
        memcpy(&w, p, sizeof(w));
        total += w;
        p += 4;
    }
    if (len & 2) {
        uint16_t w;
        memcpy(&w, p, sizeof(w));
        total += w;
        p += 2;
    }
    if (len & 1) { // the last byte is the first of a word whose other is zero
        uint16_t w = 0;
        memcpy(&w, p, 1);
        total += w;
    }
    return net_sum_add((uint64_t)total, (uint64_t)(total >> 64));
}
