#include "common/slot.h"

#include <string.h>

// CRC16 by slices: eight bytes per step with eight tables, built once by the loader's constructor
// from the polynomial, so that there is no table of numbers to trust.
static uint16_t table[8][256];

__attribute__((constructor)) static void crc16_tables(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint16_t crc = (uint16_t)(byte << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)((crc << 1) ^ ((crc & 0x8000) ? 0x1021 : 0));
        table[0][byte] = crc;
    }
    for (unsigned byte = 0; byte < 256; byte++)
        for (int slice = 1; slice < 8; slice++) {
            uint16_t before = table[slice - 1][byte];
            table[slice][byte] = (uint16_t)((before << 8) ^ table[0][before >> 8]);
        }
}

uint16_t crc16(const uint8_t *p, size_t len)
{
    uint16_t crc = 0;
    for (; len >= 8; len -= 8, p += 8)
        crc = table[7][p[0] ^ (crc >> 8)] ^ table[6][p[1] ^ (crc & 0xff)] ^ table[5][p[2]] ^
              table[4][p[3]] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    for (; len; len--, p++)
        crc = (uint16_t)((crc << 8) ^ table[0][(crc >> 8) ^ *p]);
    return crc;
}

// Not zero where a byte of the word is '{'.
static inline uint64_t brace(const uint8_t *p)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    word ^= ones * '{';
    return (word - ones) & ~word & ones << 7;
}

uint16_t slot_of_key(const uint8_t *key, size_t len)
{
    // Most keys are short and have no tag.
    if (len >= 8 && len <= 16 && !(brace(key) | brace(key + len - 8)))
        return crc16(key, len) % SLOTS;
    const uint8_t *open = memchr(key, '{', len);
    if (open) {
        const uint8_t *inside = open + 1;
        const uint8_t *close = memchr(inside, '}', len - (size_t)(inside - key));
        if (close && close != inside)
            return crc16(inside, (size_t)(close - inside)) % SLOTS;
    }
    return crc16(key, len) % SLOTS;
}
