// Intset: a sorted array of integers, each 2, 4 or 8 bytes wide, in the byte format of Redis's
// files (width 32 bits, count 32 bits, the integers, all little-endian). Functions that change one
// return where it is now, or NULL when memory is short (the old one is then unchanged).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INTSET_COUNT_MAX (1u << 27)

uint8_t *intset_new(void);
void intset_free(uint8_t *is);
uint8_t *intset_copy(const uint8_t *is);
uint32_t intset_count(const uint8_t *is);
size_t intset_bytes(const uint8_t *is);  // of the format
size_t intset_memory(const uint8_t *is); // of the allocator
bool intset_has(const uint8_t *is, int64_t value);
int64_t intset_at(const uint8_t *is, uint32_t index); // in ascending order
uint8_t *intset_add(uint8_t *is, int64_t value, bool *added);
uint8_t *intset_remove(uint8_t *is, int64_t value, bool *removed);
bool intset_validate(const uint8_t *bytes,
                     size_t len); // sorted, without repetition, of fitting width
