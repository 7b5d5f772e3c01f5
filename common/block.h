// A reference-counted run of bytes: a big value, a big argument on its way into the store, or a big
// reply. The store, the output queues of any number of connections and messages between cores share
// one block without copying it. A block that more than one party holds is never changed: whoever
// wants to change it copies it first (`block_is_shared`).
//
// Memory comes from mimalloc's heap of the calling thread; the last reference may be dropped on any
// thread. The count is atomic because references cross cores; it is touched for big values only.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Values and arguments of at least this many bytes live in a block of their own.
#define BLOCK_VALUE_MIN (16u * 1024)

struct block {
    _Atomic uint32_t refs;
    uint32_t reserved;
    size_t len; // bytes in use
    size_t cap; // bytes that `data` has room for
    uint8_t data[];
};

// A new block of `cap` bytes with len 0 and one reference; NULL when memory is short.
struct block *block_new(size_t cap);
// Frees the block with its last reference. NULL is allowed.
void block_release(struct block *b);
// Grows to at least `cap` bytes. The caller must hold the only reference. Returns the block (it may
// have moved) or NULL when memory is short (the old one is then still valid).
struct block *block_grow(struct block *b, size_t cap);
// Bytes of memory that the block takes, allocator's rounding included.
size_t block_memory(const struct block *b);

static inline struct block *block_retain(struct block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

static inline bool block_is_shared(const struct block *b)
{
    return atomic_load_explicit(&b->refs, memory_order_acquire) > 1;
}
