#include "common/outbuf.h"

#include <assert.h>
#include <mimalloc.h>

#include "common/block.h"

// The first block of an output is small, as most replies are; later ones double up to the largest.
enum { OUTBUF_FIRST = 1024, OUTBUF_LARGEST = 256 * 1024 };

static _Thread_local uint8_t scratch[OUT_CONTIGUOUS_MAX];

static void outbuf_fail(struct outbuf *b)
{
    b->out.failed = true;
    b->open = b->out.pos = scratch;
    b->out.end = scratch + sizeof(scratch);
}

static bool outbuf_append(struct outbuf *b, struct block *block, size_t offset, size_t len)
{
    struct outbuf_piece *p = mi_malloc(sizeof(*p));
    if (!p)
        return false;
    *p = (struct outbuf_piece){.block = block, .offset = offset, .len = len};
    if (b->last)
        b->last->next = p;
    else
        b->first = p;
    b->last = p;
    b->bytes += len;
    return true;
}

// Counts what was written to the open span into the last piece.
static void outbuf_settle(struct outbuf *b)
{
    if (b->out.failed || !b->open)
        return;
    size_t n = (size_t)(b->out.pos - b->open);
    b->last->len += n;
    b->last->block->len += n;
    b->bytes += n;
    b->open = b->out.pos;
}

static void outbuf_grow(struct out *o, size_t need)
{
    struct outbuf *b = (struct outbuf *)o;
    assert(need <= OUT_CONTIGUOUS_MAX);
    if (o->failed) {
        outbuf_fail(b);
        return;
    }
    outbuf_settle(b);
    size_t cap = b->bytes < OUTBUF_FIRST ? OUTBUF_FIRST : b->bytes;
    if (cap > OUTBUF_LARGEST)
        cap = OUTBUF_LARGEST;
    struct block *block = block_new(cap);
    if (!block || !outbuf_append(b, block, 0, 0)) {
        block_release(block);
        outbuf_fail(b);
        return;
    }
    b->open = o->pos = block->data;
    o->end = block->data + cap;
}

static void outbuf_ref(struct out *o, struct block *block, size_t offset, size_t len)
{
    struct outbuf *b = (struct outbuf *)o;
    if (o->failed)
        return;
    outbuf_settle(b);
    if (!outbuf_append(b, block_retain(block), offset, len)) {
        block_release(block);
        outbuf_fail(b);
        return;
    }
    b->open = o->pos = o->end = NULL;
}

static const struct out_ops outbuf_ops = {.grow = outbuf_grow, .ref = outbuf_ref};

void outbuf_init(struct outbuf *b)
{
    *b = (struct outbuf){.out = {.ops = &outbuf_ops}};
}

void outbuf_clear(struct outbuf *b)
{
    for (struct outbuf_piece *p = b->first, *next; p; p = next) {
        next = p->next;
        block_release(p->block);
        mi_free(p);
    }
    outbuf_init(b);
}

size_t outbuf_size(struct outbuf *b)
{
    outbuf_settle(b);
    return b->bytes;
}

void outbuf_finish(struct outbuf *b)
{
    outbuf_settle(b);
}

struct block *outbuf_block(struct outbuf *b)
{
    outbuf_settle(b);
    if (!b->bytes)
        return NULL;
    if (!b->first->next && b->first->offset == 0 && b->first->len == b->first->block->len)
        return block_retain(b->first->block);
    struct block *all = block_new(b->bytes);
    for (struct outbuf_piece *p = b->first; all && p; p = p->next) {
        memcpy(all->data + all->len, p->block->data + p->offset, p->len);
        all->len += p->len;
    }
    return all;
}

void outbuf_move(struct outbuf *b, struct out *to)
{
    outbuf_settle(b);
    if (b->out.failed)
        to->failed = true;
    for (struct outbuf_piece *p = b->first; p; p = p->next) {
        if (p->len >= BLOCK_VALUE_MIN)
            to->ops->ref(to, p->block, p->offset, p->len);
        else
            out_write(to, p->block->data + p->offset, p->len);
    }
    outbuf_clear(b);
}
