// What was written to a stream and has not left: a list of pieces. Small replies are written to
// chunks that are recycled, shared blocks are referred to. What is written while the first pieces
// are on their way goes behind them, in the same chunk while it has room.
//
// One core's, as the streams that it belongs to.
#pragma once

#include "common/out.h"

// A run of output: bytes in a chunk of ours that follow this header, or a part of a shared block.
struct piece {
    struct piece *next;
    struct block *block; // NULL: a chunk
    uint8_t *data;
    size_t sent, len;
    uint32_t cap; // of a chunk
    bool large;
    uint8_t bytes[];
};

struct piece_list {
    struct piece *first;
    unsigned n;
};

// Chunks that are free, so that small replies allocate nothing. All streams of a core share one.
struct piece_pool {
    size_t large_room;  // bytes of a large chunk without its header
    unsigned small_max; // small chunks that are kept
    struct piece_list small, large, refs;
};
void piece_pool_free(struct piece_pool *pool);

// Of a stream. The open chunk is what the stream's `out` writes to.
struct pieces {
    struct piece *first, *last;
    size_t queued; // bytes of all pieces that no pieces_advance has covered, as pieces_settle knows
    bool open;     // the last piece is a chunk that is written to
};

// `o` has no chunk: no room, at a place that may be named.
void pieces_close(struct pieces *l, struct out *o);
// Counts what was written to the open chunk.
void pieces_settle(struct pieces *l, const struct out *o);
// For struct out_ops. `lost`: nobody takes the output any more; the writer need not know.
void pieces_grow(struct pieces *l, struct piece_pool *pool, struct out *o, bool lost);
void pieces_ref(struct pieces *l, struct piece_pool *pool, struct out *o, bool lost,
                struct block *b, size_t offset, size_t len);
// Bytes that are there, counted or not.
static inline size_t pieces_unsent(const struct pieces *l, const struct out *o)
{
    return l->queued + (l->open ? (size_t)(o->pos - l->last->data) - l->last->len : 0);
}
// The first `n` bytes have left: the pieces that they cover go, the open chunk too when it is
// empty then.
void pieces_advance(struct pieces *l, struct piece_pool *pool, struct out *o, size_t n);
void pieces_discard(struct pieces *l, struct piece_pool *pool, struct out *o);
