#include "drivers/pieces.h"

#include <assert.h>
#include <mimalloc.h>

#include "common/block.h"

// Bytes of a small chunk with its header. Not a power of two: chunks of many connections are
// written at their beginnings, which would compete for the same sets of the cache.
enum { CHUNK_SMALL = 1792 };
// Output of this size goes on in large chunks.
enum { CHUNK_LARGE_FROM = 1024 };
// Free pieces that a pool keeps.
enum { FREE_LARGE_MAX = 64, FREE_REFS_MAX = 256 };
// Shorter references are copied: a piece costs more than so many bytes.
enum { REF_MIN = 512 };

_Static_assert(CHUNK_SMALL - sizeof(struct piece) >= OUT_CONTIGUOUS_MAX, "one run fits any chunk");

static _Thread_local uint8_t scratch[OUT_CONTIGUOUS_MAX];

static struct piece *pop(struct piece_list *list)
{
    struct piece *p = list->first;
    if (p) {
        list->first = p->next;
        list->n--;
    }
    return p;
}

static void push(struct piece_list *list, unsigned max, struct piece *p)
{
    if (list->n >= max) {
        mi_free(p);
        return;
    }
    p->next = list->first;
    list->first = p;
    list->n++;
}

static struct piece *chunk_new(struct piece_pool *pool, bool large)
{
    struct piece *p = pop(large ? &pool->large : &pool->small);
    size_t room = large ? pool->large_room : CHUNK_SMALL - sizeof(struct piece);
    if (!p && !(p = mi_malloc(sizeof(*p) + room)))
        return NULL;
    *p = (struct piece){.data = p->bytes, .cap = (uint32_t)room, .large = large};
    return p;
}

static void piece_free(struct piece_pool *pool, struct piece *p)
{
    if (p->block) {
        block_release(p->block);
        push(&pool->refs, FREE_REFS_MAX, p);
    } else if (p->large) {
        push(&pool->large, FREE_LARGE_MAX, p);
    } else {
        push(&pool->small, pool->small_max, p);
    }
}

static void append(struct pieces *l, struct piece *p)
{
    if (l->last)
        l->last->next = p;
    else
        l->first = p;
    l->last = p;
}

void pieces_close(struct pieces *l, struct out *o)
{
    l->open = false;
    o->pos = o->end = scratch;
}

void pieces_settle(struct pieces *l, const struct out *o)
{
    if (!l->open)
        return;
    struct piece *p = l->last;
    size_t len = (size_t)(o->pos - p->data);
    l->queued += len - p->len;
    p->len = len;
}

static void to_scratch(struct out *o)
{
    o->pos = scratch;
    o->end = scratch + sizeof(scratch);
}

void pieces_grow(struct pieces *l, struct piece_pool *pool, struct out *o, bool lost)
{
    pieces_settle(l, o);
    pieces_close(l, o);
    if (o->failed || lost) {
        to_scratch(o);
        return;
    }
    struct piece *p = chunk_new(pool, l->queued >= CHUNK_LARGE_FROM);
    if (!p) {
        o->failed = true;
        to_scratch(o);
        return;
    }
    append(l, p);
    l->open = true;
    o->pos = p->data;
    o->end = p->data + p->cap;
}

void pieces_ref(struct pieces *l, struct piece_pool *pool, struct out *o, bool lost,
                struct block *b, size_t offset, size_t len)
{
    assert(offset <= b->len && len <= b->len - offset);
    if (len < REF_MIN) {
        out_write(o, b->data + offset, len);
        return;
    }
    pieces_settle(l, o);
    pieces_close(l, o);
    if (o->failed || lost)
        return;
    struct piece *p = pop(&pool->refs);
    if (!p && !(p = mi_malloc(sizeof(*p)))) {
        o->failed = true;
        return;
    }
    *p = (struct piece){.block = block_retain(b), .data = b->data + offset, .len = len};
    append(l, p);
    l->queued += len;
}

void pieces_advance(struct pieces *l, struct piece_pool *pool, struct out *o, size_t n)
{
    l->queued -= n;
    while (l->first) {
        struct piece *p = l->first;
        size_t left = p->len - p->sent, take = left < n ? left : n;
        p->sent += take;
        n -= take;
        if (p->sent < p->len)
            break;
        // A stream without output holds no chunk.
        if (p == l->last) {
            l->last = NULL;
            if (l->open)
                pieces_close(l, o);
        }
        l->first = p->next;
        piece_free(pool, p);
    }
    assert(n == 0);
}

void pieces_discard(struct pieces *l, struct piece_pool *pool, struct out *o)
{
    for (struct piece *p = l->first, *next; p; p = next) {
        next = p->next;
        piece_free(pool, p);
    }
    l->first = l->last = NULL;
    l->queued = 0;
    pieces_close(l, o);
}

static void list_free(struct piece_list *list)
{
    for (struct piece *p = list->first, *next; p; p = next) {
        next = p->next;
        mi_free(p);
    }
    *list = (struct piece_list){0};
}

void piece_pool_free(struct piece_pool *pool)
{
    list_free(&pool->small);
    list_free(&pool->large);
    list_free(&pool->refs);
}
