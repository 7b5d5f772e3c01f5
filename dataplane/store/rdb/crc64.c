// CRC-64 by eight tables: eight bytes are taken at once, each through the table of its distance
// from the end. The tables are constants of the compiler. A CRC is linear, so an element is the sum
// of the elements of its bits, and those are the terms of one sequence: the polynomial, and each
// next one a step of the register further.
#include "dataplane/store/rdb/crc64.h"

#include <string.h>

#define BIT(i, bit, value) ((i) >> (bit)&1 ? UINT64_C(value) : 0)
#define BASIS_0(X, i)                                                                             \
    X(i, 7, 0x95ac9329ac4bc9b5) ^ X(i, 6, 0xdf7adabd7a6e2d6f) ^ X(i, 5, 0xfa11fe77117cdf02) ^     \
        X(i, 4, 0x7d08ff3b88be6f81) ^ X(i, 3, 0xab28ecb46814fe75) ^ X(i, 2, 0xc038e5739841b68f) ^ \
        X(i, 1, 0xf5b0e190606b12f2) ^ X(i, 0, 0x7ad870c830358979)

#define BASIS_1(X, i)                                                                             \
    X(i, 7, 0xa8c0ab4db4510d09) ^ X(i, 6, 0xc1ccc68f76634f31) ^ X(i, 5, 0xf54af06e177a6e2d) ^     \
        X(i, 4, 0xef09eb1ea7f6fea3) ^ X(i, 3, 0xe22866a6ffb0b6e4) ^ X(i, 2, 0x711433537fd85b72) ^ \
        X(i, 1, 0x388a19a9bfec2db9) ^ X(i, 0, 0x89e99ffd73bddf69)

#define BASIS_2(X, i)                                                                             \
    X(i, 7, 0xd1585cd715952601) ^ X(i, 6, 0xfd00bd4226815ab5) ^ X(i, 5, 0xeb2ccd88bf0b64ef) ^     \
        X(i, 4, 0xe03af5edf3ce7bc2) ^ X(i, 3, 0x701d7af6f9e73de1) ^ X(i, 2, 0xada22e52d0b85745) ^ \
        X(i, 1, 0xc37d8400c417e217) ^ X(i, 0, 0xf4125129ce4038be)

#define BASIS_3(X, i)                                                                             \
    X(i, 7, 0x7a092894e7201c5f) ^ X(i, 6, 0xa8a80763dfdbc79a) ^ X(i, 5, 0x545403b1efede3cd) ^     \
        X(i, 4, 0xbf8692f15bbd3853) ^ X(i, 3, 0xca6fda510195559c) ^ X(i, 2, 0x6537ed2880caaace) ^ \
        X(i, 1, 0x329bf69440655567) ^ X(i, 0, 0x8ce168638c796306)

#define BASIS_4(X, i)                                                                             \
    X(i, 7, 0x4670b431c63cb183) ^ X(i, 6, 0xb694c9314f559174) ^ X(i, 5, 0x5b4a6498a7aac8ba) ^     \
        X(i, 4, 0x2da5324c53d5645d) ^ X(i, 3, 0x837e0a0f85a17b9b) ^ X(i, 2, 0xd413962e6e9b7478) ^ \
        X(i, 1, 0x6a09cb17374dba3c) ^ X(i, 0, 0x3504e58b9ba6dd1e)

#define BASIS_5(X, i)                                                                             \
    X(i, 7, 0x1a8272c5cdd36e8f) ^ X(i, 6, 0x98edaa4b4aa27ef2) ^ X(i, 5, 0x4c76d525a5513f79) ^     \
        X(i, 4, 0xb397f9bb7ee35609) ^ X(i, 3, 0xcc676ff4133a62b1) ^ X(i, 2, 0xf39f24d3a5d6f8ed) ^ \
        X(i, 1, 0xec6301407ea0b5c3) ^ X(i, 0, 0xe39d1389931b9354)

#define BASIS_6(X, i)                                                                             \
    X(i, 7, 0x71ce89c4c98dc9aa) ^ X(i, 6, 0x38e744e264c6e4d5) ^ X(i, 5, 0x89df31589e28bbdf) ^     \
        X(i, 4, 0xd1430b85e35f945a) ^ X(i, 3, 0x68a185c2f1afca2d) ^ X(i, 2, 0xa1fc51c8d49c2ca3) ^ \
        X(i, 1, 0xc552bbcdc605dfe4) ^ X(i, 0, 0x62a95de6e302eff2)

#define BASIS_7(X, i)                                                                             \
    X(i, 7, 0x3154aef3718177f9) ^ X(i, 6, 0x8d06c450148b7249) ^ X(i, 5, 0xd32ff101a60e7091) ^     \
        X(i, 4, 0xfc3b6ba97f4cf1fd) ^ X(i, 3, 0xebb126fd13edb14b) ^ X(i, 2, 0xe074005725bd1110) ^ \
        X(i, 1, 0x703a002b92de8888) ^ X(i, 0, 0x381d0015c96f4444)

#define ONE(k, i) (BASIS_##k(BIT, i))
#define FOUR(k, i) ONE(k, i), ONE(k, (i) + 1), ONE(k, (i) + 2), ONE(k, (i) + 3)
#define SIXTEEN(k, i) FOUR(k, i), FOUR(k, (i) + 4), FOUR(k, (i) + 8), FOUR(k, (i) + 12)
#define SIXTY_FOUR(k, i) \
    SIXTEEN(k, i), SIXTEEN(k, (i) + 16), SIXTEEN(k, (i) + 32), SIXTEEN(k, (i) + 48)
#define TABLE(k)                                                                    \
    {                                                                               \
        SIXTY_FOUR(k, 0), SIXTY_FOUR(k, 64), SIXTY_FOUR(k, 128), SIXTY_FOUR(k, 192) \
    }

static const uint64_t tables[8][256] = {TABLE(0), TABLE(1), TABLE(2), TABLE(3),
                                        TABLE(4), TABLE(5), TABLE(6), TABLE(7)};

uint64_t crc64(uint64_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof(word));
        word ^= crc;
        crc = tables[7][word & 0xff] ^ tables[6][word >> 8 & 0xff] ^ tables[5][word >> 16 & 0xff] ^
              tables[4][word >> 24 & 0xff] ^ tables[3][word >> 32 & 0xff] ^
              tables[2][word >> 40 & 0xff] ^ tables[1][word >> 48 & 0xff] ^ tables[0][word >> 56];
    }
    for (; len; len--, p++)
        crc = tables[0][(crc ^ *p) & 0xff] ^ crc >> 8;
    return crc;
}
