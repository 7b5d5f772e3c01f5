#include "dataplane/net/checksum.h"

#include <string.h>

uint64_t net_sum(const uint8_t *p, size_t len, uint64_t sum)
{
    // Carries gather in the upper half, so that no addition waits for the one before.
    unsigned __int128 total = sum;
    if (len >= 64) {
        // 32-bit words in 64-bit lanes: half a billion of them fit before the sum of all overflows.
        // Said in vectors, as what compilers make of a loop over single words is several times
        // slower.
        typedef uint64_t vector __attribute__((vector_size(32)));
        vector low0 = {0}, high0 = {0}, low1 = {0}, high1 = {0};
        for (; len >= sizeof(vector[2]); len -= sizeof(vector[2]), p += sizeof(vector[2])) {
            vector w0, w1;
            memcpy(&w0, p, sizeof(w0));
            memcpy(&w1, p + sizeof(w0), sizeof(w1));
            low0 += w0 & UINT32_MAX;
            high0 += w0 >> 32;
            low1 += w1 & UINT32_MAX;
            high1 += w1 >> 32;
        }
        vector all = low0 + high0 + low1 + high1;
        total += all[0] + all[1] + all[2] + all[3];
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
