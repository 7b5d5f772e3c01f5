// What is written to a TLS stream: a list of pieces of plaintext, as with kernel sockets, which
// `push` encrypts record by record while the stream below is not full. So a large value is never
// there in both forms, and a peer that does not read holds up its own output alone.
#include <assert.h>
#include <mimalloc.h>
#include <openssl/err.h>
#include <string.h>

#include "common/block.h"
#include "drivers/tls_internal.h"

// Bytes of a chunk with its header; a large one fills a record.
enum { CHUNK_SMALL = 1792, CHUNK_LARGE = sizeof(struct tls_piece) + TLS_RECORD_MAX };
// Output of this size goes on in large chunks.
enum { CHUNK_LARGE_FROM = 1024 };
// Free chunks that a core keeps: 0.9 MB and 1 MB.
enum { FREE_SMALL_MAX = 512, FREE_LARGE_MAX = 64, FREE_REFS_MAX = 256 };
// Shorter references are copied: a piece costs more than so many bytes.
enum { REF_MIN = 512 };

_Static_assert(CHUNK_SMALL - sizeof(struct tls_piece) >= OUT_CONTIGUOUS_MAX,
               "one run fits any chunk");

static _Thread_local uint8_t scratch[OUT_CONTIGUOUS_MAX];

// An output without a chunk has no room, at a place that may be named.
void tls_no_chunk(struct tls_stream *s)
{
    s->open = false;
    s->stream.out.pos = s->stream.out.end = scratch;
}

static struct tls_piece *free_pop(struct tls_piece **list, unsigned *n)
{
    struct tls_piece *p = *list;
    if (p) {
        *list = p->next;
        --*n;
    }
    return p;
}

static void free_push(struct tls_piece **list, unsigned *n, unsigned max, struct tls_piece *p)
{
    if (*n >= max) {
        mi_free(p);
        return;
    }
    p->next = *list;
    *list = p;
    ++*n;
}

static struct tls_piece *chunk_new(struct tls *t, bool large)
{
    struct tls_piece *p = large ? free_pop(&t->free_large, &t->n_free_large)
                                : free_pop(&t->free_small, &t->n_free_small);
    size_t size = large ? CHUNK_LARGE : CHUNK_SMALL;
    if (!p && !(p = mi_malloc(size)))
        return NULL;
    *p = (struct tls_piece){.data = p->bytes, .cap = (uint32_t)(size - sizeof(*p))};
    return p;
}

static void piece_free(struct tls *t, struct tls_piece *p)
{
    if (p->block) {
        block_release(p->block);
        free_push(&t->free_refs, &t->n_free_refs, FREE_REFS_MAX, p);
    } else if (p->cap == TLS_RECORD_MAX) {
        free_push(&t->free_large, &t->n_free_large, FREE_LARGE_MAX, p);
    } else {
        free_push(&t->free_small, &t->n_free_small, FREE_SMALL_MAX, p);
    }
}

static void piece_append(struct tls_stream *s, struct tls_piece *p)
{
    if (s->last)
        s->last->next = p;
    else
        s->first = p;
    s->last = p;
}

// Counts what was written to the open chunk.
static void settle(struct tls_stream *s)
{
    if (!s->open)
        return;
    struct tls_piece *p = s->last;
    size_t len = (size_t)(s->stream.out.pos - p->data);
    s->queued += len - p->len;
    p->len = len;
}

static void out_to_scratch(struct tls_stream *s)
{
    s->stream.out.pos = scratch;
    s->stream.out.end = scratch + sizeof(scratch);
}

static void tls_grow(struct out *o, size_t need)
{
    struct tls_stream *s = (struct tls_stream *)o;
    assert(need <= OUT_CONTIGUOUS_MAX);
    settle(s);
    tls_no_chunk(s);
    // A dead connection takes output for nobody; the writer need not know.
    if (o->failed || s->dead || s->closing) {
        out_to_scratch(s);
        return;
    }
    struct tls_piece *p = chunk_new(s->tls, s->queued >= CHUNK_LARGE_FROM);
    if (!p) {
        o->failed = true;
        out_to_scratch(s);
        return;
    }
    piece_append(s, p);
    s->open = true;
    o->pos = p->data;
    o->end = p->data + p->cap;
}

static void tls_ref(struct out *o, struct block *b, size_t offset, size_t len)
{
    struct tls_stream *s = (struct tls_stream *)o;
    assert(offset <= b->len && len <= b->len - offset);
    if (len < REF_MIN) {
        out_write(o, b->data + offset, len);
        return;
    }
    settle(s);
    tls_no_chunk(s);
    if (o->failed || s->dead || s->closing)
        return;
    struct tls_piece *p = free_pop(&s->tls->free_refs, &s->tls->n_free_refs);
    if (!p && !(p = mi_malloc(sizeof(*p)))) {
        o->failed = true;
        return;
    }
    *p = (struct tls_piece){.block = block_retain(b), .data = b->data + offset, .len = len};
    piece_append(s, p);
    s->queued += len;
}

const struct out_ops tls_out_ops = {.grow = tls_grow, .ref = tls_ref};

size_t tls_unsent(const struct stream *stream)
{
    const struct tls_stream *s = (const struct tls_stream *)stream;
    size_t open = s->open ? (size_t)(stream->out.pos - s->last->data) - s->last->len : 0;
    return s->queued + open + (s->lower ? s->lower->ops->unsent(s->lower) : 0);
}

// The bytes of the next record: where they lie, or several pieces side by side.
static const uint8_t *next_record(struct tls_stream *s, size_t *len)
{
    struct tls_piece *p = s->first;
    *len = p->len - p->sent;
    if (*len >= TLS_RECORD_MAX || !p->next) {
        if (*len > TLS_RECORD_MAX)
            *len = TLS_RECORD_MAX;
        return p->data + p->sent;
    }
    *len = 0;
    for (; p && *len < TLS_RECORD_MAX; p = p->next) {
        size_t n = p->len - p->sent;
        if (n > TLS_RECORD_MAX - *len)
            n = TLS_RECORD_MAX - *len;
        memcpy(s->tls->stage + *len, p->data + p->sent, n);
        *len += n;
    }
    return s->tls->stage;
}

// Drops the pieces that `n` encrypted bytes cover.
static void advance(struct tls_stream *s, size_t n)
{
    s->queued -= n;
    while (s->first) {
        struct tls_piece *p = s->first;
        size_t left = p->len - p->sent, take = left < n ? left : n;
        p->sent += take;
        n -= take;
        if (p->sent < p->len)
            break;
        // A connection without output holds no chunk.
        if (p == s->last) {
            s->last = NULL;
            tls_no_chunk(s);
        }
        s->first = p->next;
        piece_free(s->tls, p);
    }
    assert(n == 0);
}

bool tls_encrypt(struct tls_stream *s)
{
    struct tls *t = s->tls;
    struct stream *lower = s->lower;
    settle(s);
    if (!s->established || s->dead || !s->first)
        return true;
    if (ERR_peek_error()) // of somebody else on this thread
        ERR_clear_error();
    while (s->first && lower->ops->unsent(lower) <= STREAM_OUT_HIGH) {
        size_t len, written;
        const uint8_t *data = next_record(s, &len);
        if (len == 0) { // an empty chunk
            advance(s, 0);
            continue;
        }
        if (SSL_write_ex(s->ssl, data, len, &written) != 1) {
            char text[256];
            enum tls_failure why = tls_error(s, text, sizeof(text));
            tls_stream_fail(s, why, text);
            return false;
        }
        t->counters.tls_records_out++;
        t->counters.tls_bytes_out += written;
        advance(s, written);
    }
    if (lower->out.failed)
        s->stream.out.failed = true;
    return true;
}

void tls_push(struct stream *stream)
{
    struct tls_stream *s = (struct tls_stream *)stream;
    struct stream *lower = s->lower;
    if (s->dead)
        return;
    // What the stream below sends at once makes room for more. It tells us of room when it was full
    // after a push, not before.
    do {
        if (!tls_encrypt(s))
            return;
        s->wrote = false;
        lower->ops->push(lower);
    } while (s->established && s->first && lower->ops->unsent(lower) <= STREAM_OUT_HIGH);
    if (lower->ops->unsent(lower) > STREAM_OUT_HIGH)
        s->high = true;
}

void tls_discard(struct tls_stream *s)
{
    for (struct tls_piece *p = s->first, *next; p; p = next) {
        next = p->next;
        piece_free(s->tls, p);
    }
    s->first = s->last = NULL;
    s->queued = 0;
    tls_no_chunk(s);
}

static void list_free(struct tls_piece *p)
{
    for (struct tls_piece *next; p; p = next) {
        next = p->next;
        mi_free(p);
    }
}

void tls_free_lists(struct tls *t)
{
    list_free(t->free_small);
    list_free(t->free_large);
    list_free(t->free_refs);
}
