// What is written to a TLS stream: a list of pieces of plaintext (pieces.h), which `push` encrypts
// record by record while the stream below is not full. So a large value is never there in both
// forms, and a peer that does not read holds up its own output alone.
#include <assert.h>
#include <openssl/err.h>
#include <string.h>

#include "drivers/tls_internal.h"

static void tls_grow(struct out *o, size_t need)
{
    struct tls_stream *s = (struct tls_stream *)o;
    assert(need <= OUT_CONTIGUOUS_MAX);
    pieces_grow(&s->output, &s->tls->pool, o, s->dead || s->closing);
}

static void tls_ref(struct out *o, struct block *b, size_t offset, size_t len)
{
    struct tls_stream *s = (struct tls_stream *)o;
    pieces_ref(&s->output, &s->tls->pool, o, s->dead || s->closing, b, offset, len);
}

const struct out_ops tls_out_ops = {.grow = tls_grow, .ref = tls_ref};

size_t tls_unsent(const struct stream *stream)
{
    const struct tls_stream *s = (const struct tls_stream *)stream;
    return pieces_unsent(&s->output, &stream->out) +
           (s->lower ? s->lower->ops->unsent(s->lower) : 0);
}

// The bytes of the next record: where they lie, or several pieces side by side.
static const uint8_t *next_record(struct tls_stream *s, size_t *len)
{
    struct piece *p = s->output.first;
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

static void advance(struct tls_stream *s, size_t n)
{
    pieces_advance(&s->output, &s->tls->pool, &s->stream.out, n);
}

bool tls_encrypt(struct tls_stream *s)
{
    struct tls *t = s->tls;
    struct stream *lower = s->lower;
    pieces_settle(&s->output, &s->stream.out);
    if (!s->established || s->dead || !s->output.first)
        return true;
    if (ERR_peek_error()) // of somebody else on this thread
        ERR_clear_error();
    while (s->output.first && lower->ops->unsent(lower) <= STREAM_OUT_HIGH) {
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
    } while (s->established && s->output.first && lower->ops->unsent(lower) <= STREAM_OUT_HIGH);
    if (lower->ops->unsent(lower) > STREAM_OUT_HIGH)
        s->high = true;
}

void tls_discard(struct tls_stream *s)
{
    pieces_discard(&s->output, &s->tls->pool, &s->stream.out);
}
