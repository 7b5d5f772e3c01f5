// Digests of values and of the whole data set, the same as redis-server's: two servers that hold
// the same keys give the same digest, however the values are encoded.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/store/store.h"

#define DIGEST_BYTES 20

// Computes one digest after another.
struct digester {
    void *kind, *context; // of the library
    bool failed;          // memory was short; what was computed means nothing
};
bool digester_begin(struct digester *d); // false: memory is short
void digester_end(struct digester *d);

// Folds data into `digest`: without order, or with it.
void digest_xor(struct digester *d, uint8_t digest[DIGEST_BYTES], const void *data, size_t len);
void digest_mix(struct digester *d, uint8_t digest[DIGEST_BYTES], const void *data, size_t len);
// Of a value, its type and whether it expires; `digest` holds what comes before it.
void digest_entry(struct digester *d, uint8_t digest[DIGEST_BYTES], const struct entry *e,
                  int64_t now_ms);
