// One argument of a command as the parser shows it: bytes where they lie (in the received frame, in
// the query buffer, in a message), or, for big ones, a block of their own that the store may keep
// without a copy.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct block;

struct arg {
    const uint8_t *ptr;
    size_t len;
    struct block *block; // holds the bytes (ptr == block->data, len == block->len), or NULL
};
