// An output that collects in heap memory: the reply of a command that runs on another core, a reply
// that waits for those before it, the part of one core in a gathered reply. What was written is a
// list of pieces in order, so that it can be handed on to another output without copying blocks.
#pragma once

#include "common/out.h"

struct outbuf_piece {
    struct outbuf_piece *next;
    struct block *block; // the memory that holds the bytes; the piece holds one reference
    size_t offset, len;
};

struct outbuf {
    struct out out; // must be first: writers see this
    struct outbuf_piece *first, *last;
    uint8_t *open; // start of what is written in the current span and not yet a piece
    size_t bytes;  // bytes in finished pieces
};

// Prepares an empty output. No memory is taken until something is written.
void outbuf_init(struct outbuf *b);
// Drops what is held. The struct may be used again.
void outbuf_clear(struct outbuf *b);
// Bytes written so far.
size_t outbuf_size(struct outbuf *b);
// Closes the open piece, so that the list from `first` holds all that was written.
void outbuf_finish(struct outbuf *b);
// All that was written in one piece: the only block there is, or a new one with a copy. The caller
// gets a reference. NULL when nothing was written or memory is short.
struct block *outbuf_block(struct outbuf *b);
// Moves everything to `to`: small pieces are copied, pieces of at least BLOCK_VALUE_MIN bytes are
// handed over by reference. `b` is empty afterwards.
void outbuf_move(struct outbuf *b, struct out *to);
