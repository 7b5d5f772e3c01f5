// The keyed hash of keys: 128-bit multiplications folded to 64 bits, over words that are mixed with
// a secret drawn at start, so that nobody outside can choose keys that meet in one bucket.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct hash_secret {
    uint64_t word[4];
};

static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t hash_load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

// Every byte of the key and its length go into the result; tails are read as words that overlap.
static inline uint64_t hash_key(const struct hash_secret *secret, const uint8_t *p, size_t len)
{
    uint64_t state = secret->word[0];
    uint64_t a, b;
    if (len <= 16) {
        if (len >= 8) {
            a = hash_load64(p);
            b = hash_load64(p + len - 8);
        } else if (len >= 4) {
            a = hash_load32(p);
            b = hash_load32(p + len - 4);
        } else if (len) {
            a = (uint64_t)p[0] << 16 | (uint64_t)p[len >> 1] << 8 | p[len - 1];
            b = 0;
        } else {
            a = b = 0;
        }
    } else {
        size_t left = len;
        for (const uint8_t *q = p; left > 16; left -= 16, q += 16)
            state = hash_fold(hash_load64(q) ^ secret->word[1], hash_load64(q + 8) ^ state);
        a = hash_load64(p + len - 16);
        b = hash_load64(p + len - 8);
    }
    state = hash_fold(a ^ secret->word[1], b ^ state);
    return hash_fold(state ^ secret->word[2], secret->word[3] ^ len);
}
