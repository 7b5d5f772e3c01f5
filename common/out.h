// Where bytes for a peer are written: one writable span and a way to get the next one. A stream's
// transmit frame, a heap buffer of a queued reply and a message between cores all look like this,
// so a reply is written once, by the same code, into the memory that carries it.
//
// The fast path is a comparison and a copy. `grow` is called when the span is too short.
// Any core may own one; it is not shared.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct block;
struct out;

// The longest run of bytes that a writer may ask for in one piece.
#define OUT_CONTIGUOUS_MAX 512

struct out_ops {
    // Makes at least `need` (<= OUT_CONTIGUOUS_MAX) contiguous bytes writable at `pos`. Bytes
    // written before `pos` stay queued in order. When memory is short, sets `failed` and points the
    // span at a scratch area, so that writers need not check.
    void (*grow)(struct out *o, size_t need);
    // Queues bytes [offset, offset + len) of `b` behind what was written, without copying. Takes a
    // reference of its own, dropped when the bytes are sent or the output is discarded.
    void (*ref)(struct out *o, struct block *b, size_t offset, size_t len);
};

struct out {
    uint8_t *pos; // next byte to write
    uint8_t *end; // one past the last writable byte
    const struct out_ops *ops;
    bool failed; // memory was short; what was written is incomplete
};

// Room for `n` (<= OUT_CONTIGUOUS_MAX) bytes in one piece; the caller writes them and moves `pos`.
static inline uint8_t *out_room(struct out *o, size_t n)
{
    if (__builtin_expect((size_t)(o->end - o->pos) < n, 0))
        o->ops->grow(o, n);
    return o->pos;
}

// Copies `n` bytes of any length.
static inline void out_write(struct out *o, const void *data, size_t n)
{
    const uint8_t *from = data;
    size_t room = (size_t)(o->end - o->pos);
    if (__builtin_expect(n == 0, 0)) // the span may be none, and NULL must not be copied to
        return;
    while (__builtin_expect(room < n, 0)) {
        if (room)
            memcpy(o->pos, from, room);
        o->pos += room;
        from += room;
        n -= room;
        o->ops->grow(o, n < OUT_CONTIGUOUS_MAX ? n : OUT_CONTIGUOUS_MAX);
        room = (size_t)(o->end - o->pos);
    }
    memcpy(o->pos, from, n);
    o->pos += n;
}
