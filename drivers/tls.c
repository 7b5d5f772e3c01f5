#include "drivers/tls.h"

#include <assert.h>
#include <mimalloc.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "drivers/tls_internal.h"

// Handshakes begin no more in a turn that spent so much on them: one with RSA, several with ECDSA.
enum { HANDSHAKE_TURN_US = 300 };
// Records that are decrypted in one go.
enum { DECRYPT_MAX = TLS_ARENA_RUN };
// Above so much unsent below, nothing more of the peer is read: our own output stops far before, so
// the peer makes us answer (new keys, alerts) and does not read what we say.
enum { ANSWERS_MAX = 2 * STREAM_OUT_HIGH };
// What OpenSSL keeps for an established connection between two records, about.
enum { OPENSSL_BYTES = 16 * 1024 };

static uint64_t clock_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

// --- lists

static void stream_free(struct tls_stream *s)
{
    tls_discard(s);
    SSL_free(s->ssl);
    mi_free(s->heap);
    mi_free(s);
}

static void free_if_over(struct tls_stream *s)
{
    if (!s->released || s->lower || s->waiting || s->is_ready || s->is_touched)
        return;
    if (s->prev)
        s->prev->next = s->next;
    else
        s->tls->all = s->next;
    if (s->next)
        s->next->prev = s->prev;
    stream_free(s);
}

void tls_stream_event(struct tls_stream *s, unsigned events)
{
    if (s->released)
        return;
    s->stream.events |= (uint16_t)events;
    if (s->is_ready)
        return;
    s->is_ready = true;
    s->next_ready = NULL;
    struct tls_list *ready = &s->tls->ready;
    if (ready->last)
        ready->last->next_ready = s;
    else
        ready->first = s;
    ready->last = s;
}

static void touch(struct tls_stream *s)
{
    if (s->is_touched)
        return;
    s->is_touched = true;
    s->next_touched = s->tls->touched;
    s->tls->touched = s;
}

static void wait_for_turn(struct tls_stream *s)
{
    if (s->waiting || s->established || s->dead)
        return;
    s->waiting = true;
    s->next_waiting = NULL;
    struct tls_list *waiting = &s->tls->waiting;
    if (waiting->last)
        waiting->last->next_waiting = s;
    else
        waiting->first = s;
    waiting->last = s;
}

static void timer_stop(struct tls_stream *s)
{
    struct tls_list *in = s->timed_in;
    if (!s->timed)
        return;
    s->timed = false;
    if (s->timed_prev)
        s->timed_prev->timed_next = s->timed_next;
    else
        in->first = s->timed_next;
    if (s->timed_next)
        s->timed_next->timed_prev = s->timed_prev;
    else
        in->last = s->timed_prev;
    if (in == &s->tls->shaking)
        s->tls->n_shaking--;
}

// All of a list wait equally long, so it is in the order of its deadlines.
static void timer_start(struct tls_stream *s, struct tls_list *in, unsigned ms)
{
    timer_stop(s);
    s->timed = true;
    s->timed_in = in;
    s->deadline_us = s->tls->now_us + ms * UINT64_C(1000);
    s->timed_next = NULL;
    s->timed_prev = in->last;
    if (in->last)
        in->last->timed_next = s;
    else
        in->first = s;
    in->last = s;
    if (in == &s->tls->shaking)
        s->tls->n_shaking++;
}

// --- the end of a connection

// Nobody heard of a stream that was accepted before its handshake is done.
static bool is_known(const struct tls_stream *s)
{
    return s->established || s->client;
}

static void die(struct tls_stream *s, enum stream_error error)
{
    if (s->dead)
        return;
    s->dead = true;
    timer_stop(s);
    tls_discard(s);
    s->stream.in_len = 0;
    s->stream.error = (uint8_t)error;
    if (is_known(s))
        tls_stream_event(s, STREAM_CLOSED);
    else
        s->released = true;
}

// What lies unread below would turn the close into a reset, and lose what we said last.
static void close_lower(struct tls_stream *s)
{
    struct stream *lower = s->lower;
    if (s->shut)
        return;
    s->shut = true;
    while (lower->in_len)
        stream_consume(lower, lower->in_len);
    lower->ops->push(lower);
    lower->ops->close(lower);
}

static void count_failure(struct tls_stream *s, enum tls_failure why, const char *text)
{
    struct tls *t = s->tls;
    ((uint64_t *)&t->counters)[why]++;
    if (t->config.failed)
        t->config.failed(t->config.context, s->lower, why, text);
}

void tls_stream_fail(struct tls_stream *s, enum tls_failure why, const char *text)
{
    if (s->dead)
        return;
    count_failure(s, why, text);
    die(s, why == TLS_FAILED_TIMEOUT  ? STREAM_TIMED_OUT
           : why == TLS_FAILED_MEMORY ? STREAM_NO_MEMORY
                                      : STREAM_RESET);
    close_lower(s);
}

static void abort_lower(struct tls_stream *s)
{
    s->shut = true;
    s->lower->ops->abort(s->lower);
}

// Everything is encrypted: we say so, and the stream below closes behind it.
static void finish_close(struct tls_stream *s)
{
    if (s->output.first || s->shut)
        return;
    timer_stop(s);
    if (ERR_peek_error())
        ERR_clear_error();
    if (SSL_shutdown(s->ssl) < 0)
        ERR_clear_error();
    close_lower(s);
}

static void stream_close(struct stream *stream)
{
    struct tls_stream *s = (struct tls_stream *)stream;
    if (s->dead || s->closing)
        return;
    if (!s->established) {
        abort_lower(s);
        return;
    }
    tls_push(stream);
    s->closing = true;
    stream->in_len = 0;
    if (s->dead)
        return;
    pieces_close(&s->output, &s->stream.out); // what is written from now on is for nobody
    if (s->output.first) {
        s->linger_unsent = tls_unsent(stream);
        timer_start(s, &s->tls->lingering, s->tls->config.linger_ms);
    }
    finish_close(s);
}

static void stream_abort(struct stream *stream)
{
    struct tls_stream *s = (struct tls_stream *)stream;
    if (s->dead)
        return;
    tls_discard(s);
    abort_lower(s); // its STREAM_CLOSED is ours
}

static void stream_release(struct stream *stream)
{
    struct tls_stream *s = (struct tls_stream *)stream;
    assert(s->dead && !s->released);
    s->released = true;
    free_if_over(s);
}

// --- input

static struct tls_arena *arena_with_room(struct tls *t)
{
    struct tls_arena *a = t->arena;
    if (a && a->used <= TLS_ARENA_SIZE - TLS_RECORD_MAX)
        return a;
    struct tls_arena *next = a ? a->next : t->arena_first;
    if (!next) {
        next = mi_malloc(sizeof(*next));
        if (!next)
            return NULL;
        next->next = NULL;
        if (a)
            a->next = next;
        else
            t->arena_first = next;
    }
    next->used = 0;
    t->arena = next;
    return next;
}

static void tell_eof(struct tls_stream *s)
{
    if (s->eof)
        return;
    s->eof = true;
    tls_stream_event(s, STREAM_EOF);
}

// Decrypts what lies below while nothing of before is unread, and shows it.
static void decrypt(struct tls_stream *s)
{
    struct stream *lower = s->lower;
    struct tls *t = s->tls;
    struct tls_arena *a;
    size_t n = 0;
    char text[256] = "";
    enum tls_failure why = TLS_FAILED_MEMORY;
    bool broken = false;
    assert(s->stream.in_len == 0);
    if (lower->in_len && !s->eof && ERR_peek_error()) // of somebody else on this thread
        ERR_clear_error();
    while (lower->in_len && !s->eof && n < DECRYPT_MAX && lower->ops->unsent(lower) < ANSWERS_MAX) {
        a = arena_with_room(t);
        if (!a || (n && a->used == 0)) { // what is shown is one run
            broken = !a;
            break;
        }
        size_t got;
        int result = SSL_read_ex(s->ssl, a->bytes + a->used, TLS_ARENA_SIZE - a->used, &got);
        if (result == 1) {
            if (n == 0)
                s->stream.in = a->bytes + a->used;
            n += got;
            a->used += got;
            t->counters.tls_records_in++;
            continue;
        }
        int error = SSL_get_error(s->ssl, result);
        if (error == SSL_ERROR_ZERO_RETURN) {
            tell_eof(s);
        } else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            broken = true;
            why = tls_error(s, text, sizeof(text));
            break;
        }
    }
    if (n) {
        t->counters.tls_bytes_in += n;
        s->stream.in_len = (uint32_t)n;
        s->in_heap = false;
        touch(s);
        tls_stream_event(s, STREAM_READABLE);
    }
    if (broken) {
        tls_stream_fail(s, why, text);
        return;
    }
    if (s->lower_eof && !lower->in_len && !s->eof) {
        t->counters.tls_truncated++;
        tell_eof(s);
    }
    if (s->eof) // nothing may follow
        while (lower->in_len)
            stream_consume(lower, lower->in_len);
    if (s->wrote) {
        s->wrote = false;
        lower->ops->push(lower);
    }
}

static void stream_refill(struct stream *stream)
{
    struct tls_stream *s = (struct tls_stream *)stream;
    touch(s); // to free the heap
    if (!s->dead && !s->closing && s->established)
        decrypt(s);
}

// Moves what is unread to the heap. Afterwards the arena is free.
static void keep_unread(struct tls_stream *s)
{
    struct stream *in = &s->stream;
    if (s->dead || s->closing || in->in_len == 0) {
        in->in_len = 0;
        mi_free(s->heap);
        s->heap = NULL;
        s->heap_cap = 0;
        s->in_heap = false;
        return;
    }
    if (s->in_heap)
        return;
    if (in->in_len > s->heap_cap) {
        uint8_t *heap = mi_malloc(in->in_len);
        if (!heap) {
            tls_stream_fail(s, TLS_FAILED_MEMORY, "memory was short");
            return;
        }
        mi_free(s->heap);
        s->heap = heap;
        s->heap_cap = in->in_len;
    }
    memcpy(s->heap, in->in, in->in_len);
    in->in = s->heap;
    s->in_heap = true;
}

void tls_turn_end(struct tls *t)
{
    while (t->touched) {
        struct tls_stream *s = t->touched;
        t->touched = s->next_touched;
        s->is_touched = false;
        keep_unread(s);
        free_if_over(s);
    }
    // A burst of large requests took several; one is what a turn needs.
    struct tls_arena *first = t->arena_first;
    if (!first || !t->arena)
        return;
    for (struct tls_arena *a = first->next, *next; a; a = next) {
        next = a->next;
        mi_free(a);
    }
    first->next = NULL;
    t->arena = NULL;
}

// --- the handshake

static void established(struct tls_stream *s)
{
    struct tls *t = s->tls;
    timer_stop(s);
    s->established = true;
    t->counters.tls_handshakes++;
    t->counters.tls_resumed += SSL_session_reused(s->ssl) != 0;
    tls_stream_event(s, s->client ? STREAM_CONNECTED : STREAM_ACCEPTED);
    tls_push(&s->stream);
    if (!s->dead)
        decrypt(s); // what came with the end of the handshake
}

static void shake(struct tls_stream *s)
{
    char text[256] = "the peer closed the connection in the middle of a handshake";
    enum tls_failure why = TLS_FAILED_CLOSED;
    if (ERR_peek_error())
        ERR_clear_error();
    int result = SSL_do_handshake(s->ssl);
    if (result == 1) {
        established(s);
        return;
    }
    int error = SSL_get_error(s->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        if (!s->lower_eof) {
            if (s->wrote)
                tls_push(&s->stream);
            return;
        }
    } else {
        why = tls_error(s, text, sizeof(text));
    }
    tls_stream_fail(s, why, text);
}

bool tls_turn(struct tls *t, uint64_t now_us)
{
    t->now_us = now_us;
    while (t->shaking.first && t->shaking.first->deadline_us <= now_us) {
        struct tls_stream *s = t->shaking.first;
        count_failure(s, TLS_FAILED_TIMEOUT, "the handshake was not over in time");
        die(s, STREAM_TIMED_OUT);
        abort_lower(s);
    }
    while (t->lingering.first && t->lingering.first->deadline_us <= now_us) {
        struct tls_stream *s = t->lingering.first;
        size_t unsent = tls_unsent(&s->stream);
        if (unsent < s->linger_unsent) {
            s->linger_unsent = unsent;
            timer_start(s, &t->lingering, t->config.linger_ms);
        } else {
            timer_stop(s);
            stream_abort(&s->stream);
        }
    }
    if (!t->waiting.first)
        return false;
    uint64_t until_us = clock_us() + HANDSHAKE_TURN_US;
    do {
        struct tls_stream *s = t->waiting.first;
        t->waiting.first = s->next_waiting;
        if (!t->waiting.first)
            t->waiting.last = NULL;
        s->waiting = false;
        if (!s->dead && s->lower)
            shake(s);
        free_if_over(s);
    } while (t->waiting.first && clock_us() < until_us);
    return t->waiting.first != NULL;
}

// --- events of the stream below

static void lower_closed(struct tls_stream *s)
{
    struct stream *lower = s->lower;
    if (!s->dead && !is_known(s) && !s->shut)
        count_failure(s, TLS_FAILED_CLOSED,
                      "the peer closed the connection in the middle of a handshake");
    enum stream_error error = lower->error;
    lower->flags &= (uint8_t)~STREAM_CARRIER;
    lower->ops->release(lower);
    s->lower = NULL;
    die(s, error);
    free_if_over(s);
}

static void lower_writable(struct tls_stream *s)
{
    tls_push(&s->stream);
    if (s->dead)
        return;
    if (s->closing) {
        finish_close(s);
        return;
    }
    if (s->high && !s->output.first) {
        s->high = false;
        tls_stream_event(s, STREAM_WRITABLE);
    }
    if (s->stream.in_len == 0)
        decrypt(s); // it may have waited for its answers to be read
}

void tls_event(struct stream *lower)
{
    struct tls_stream *s = lower->owner;
    uint16_t events = lower->events;
    lower->events = 0;
    if (events & STREAM_EOF)
        s->lower_eof = true;
    if (events & STREAM_CLOSED) {
        lower_closed(s);
        return;
    }
    if (s->dead || s->closing) { // what the peer says is not heard any more
        while (lower->in_len)
            stream_consume(lower, lower->in_len);
        if (!s->dead && events & STREAM_WRITABLE)
            lower_writable(s);
        return;
    }
    if (!s->established) {
        if (events & (STREAM_CONNECTED | STREAM_READABLE | STREAM_EOF))
            wait_for_turn(s);
        return;
    }
    if (events & STREAM_WRITABLE)
        lower_writable(s);
    if (events & (STREAM_READABLE | STREAM_EOF) && !s->dead) {
        if (s->stream.in_len == 0)
            decrypt(s);
        else if (events & STREAM_READABLE)
            tls_stream_event(s, STREAM_READABLE);
    }
}

// --- OpenSSL's way to the stream below

static int bio_read(BIO *bio, char *to, int n)
{
    struct tls_stream *s = BIO_get_data(bio);
    struct stream *lower = s->lower;
    BIO_clear_retry_flags(bio);
    if (n <= 0)
        return 0;
    if (!lower->in_len) {
        BIO_set_retry_read(bio);
        return -1;
    }
    uint32_t take = lower->in_len < (uint32_t)n ? lower->in_len : (uint32_t)n;
    if (__builtin_expect(!s->established, 0)) {
        if (!s->started) {
            s->started = true;
            s->first_byte = *lower->in;
        }
        if (s->handshake_bytes + take > TLS_HANDSHAKE_BYTES_MAX)
            return -1; // and no more of it
        s->handshake_bytes += take;
    }
    memcpy(to, lower->in, take);
    stream_consume(lower, take);
    return (int)take;
}

static int bio_write(BIO *bio, const char *data, int n)
{
    struct tls_stream *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (n <= 0)
        return 0;
    s->wrote = true;
    out_write(&s->lower->out, data, (size_t)n);
    return n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

// --- streams

static void stream_keepalive(struct stream *stream, unsigned idle_s)
{
    struct tls_stream *s = (struct tls_stream *)stream;
    if (s->lower)
        s->lower->ops->keepalive(s->lower, idle_s);
}

static void stream_info(const struct stream *stream, struct stream_info *info)
{
    const struct tls_stream *s = (const struct tls_stream *)stream;
    *info = (struct stream_info){0};
    if (s->lower)
        s->lower->ops->info(s->lower, info);
    info->owner = stream->owner;
    info->unread += stream->in_len;
    info->unsent += tls_unsent(stream) - (s->lower ? s->lower->ops->unsent(s->lower) : 0);
}

static void stream_check(struct stream *stream)
{
    struct tls_stream *s = (struct tls_stream *)stream;
    if (s->lower && s->lower->ops->check)
        s->lower->ops->check(s->lower);
}

static const struct stream_ops tls_stream_ops = {
    .refill = stream_refill,
    .push = tls_push,
    .unsent = tls_unsent,
    .memory = tls_memory,
    .check = stream_check,
    .close = stream_close,
    .abort = stream_abort,
    .release = stream_release,
    .keepalive = stream_keepalive,
    .info = stream_info,
};

static struct tls_stream *stream_new(struct tls *t, struct tls_context *context,
                                     struct stream *lower)
{
    struct tls_stream *s = mi_zalloc(sizeof(*s));
    BIO *bio = BIO_new(t->method);
    SSL *ssl = SSL_new(context->ssl);
    if (!s || !bio || !ssl) {
        ERR_clear_error();
        mi_free(s);
        BIO_free(bio);
        SSL_free(ssl);
        return NULL;
    }
    s->tls = t;
    s->lower = lower;
    s->ssl = ssl;
    s->client = context->client;
    s->stream.ops = &tls_stream_ops;
    s->stream.out.ops = &tls_out_ops;
    pieces_close(&s->output, &s->stream.out);
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    if (context->client)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    s->next = t->all;
    if (t->all)
        t->all->prev = s;
    t->all = s;
    lower->owner = s;
    lower->flags |= STREAM_CARRIER;
    return s;
}

bool tls_accept(struct tls *t, struct tls_context *context, struct stream *lower, uint64_t now_us)
{
    struct tls_stream *s = stream_new(t, context, lower);
    if (!s)
        return false;
    t->now_us = now_us;
    timer_start(s, &t->shaking, t->config.handshake_ms);
    tls_event(lower);
    return true;
}

struct stream *tls_connect(struct tls *t, struct tls_context *context, struct stream *lower,
                           const char *name, uint64_t now_us)
{
    struct tls_stream *s = stream_new(t, context, lower);
    if (!s)
        return NULL;
    t->now_us = now_us;
    if (name && !SSL_set_tlsext_host_name(s->ssl, name))
        ERR_clear_error(); // too long to be a name: not sent
    timer_start(s, &t->shaking, t->config.handshake_ms);
    return &s->stream;
}

unsigned tls_ready(struct tls *t, struct stream **ready, unsigned max)
{
    unsigned n = 0;
    while (n < max && t->ready.first) {
        struct tls_stream *s = t->ready.first;
        t->ready.first = s->next_ready;
        s->is_ready = false;
        if (s->released)
            free_if_over(s);
        else
            ready[n++] = &s->stream;
    }
    if (!t->ready.first)
        t->ready.last = NULL;
    return n;
}

bool tls_busy(const struct tls *t)
{
    return t->ready.first || t->waiting.first;
}

unsigned tls_handshakes(const struct tls *t)
{
    return t->n_shaking;
}

const struct tls_counters *tls_counters(const struct tls *t)
{
    return &t->counters;
}

bool tls_is(const struct stream *s)
{
    return s->ops == &tls_stream_ops;
}

const char *tls_version(const struct stream *s)
{
    return SSL_get_version(((const struct tls_stream *)s)->ssl);
}

const char *tls_cipher(const struct stream *s)
{
    return SSL_get_cipher_name(((const struct tls_stream *)s)->ssl);
}

size_t tls_memory(const struct stream *stream)
{
    const struct tls_stream *s = (const struct tls_stream *)stream;
    return sizeof(*s) + s->heap_cap + OPENSSL_BYTES +
           (s->lower ? s->lower->ops->memory(s->lower) : 0);
}

struct tls *tls_create(const struct tls_config *config)
{
    struct tls *t = mi_zalloc(sizeof(*t));
    if (!t)
        return NULL;
    t->config = *config;
    t->pool.large_room = TLS_RECORD_MAX;
    t->pool.small_max = TLS_CHUNKS_KEPT;
    if (!t->config.handshake_ms)
        t->config.handshake_ms = TLS_HANDSHAKE_MS;
    if (!t->config.linger_ms)
        t->config.linger_ms = TLS_LINGER_MS;
    t->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "stream");
    if (!t->method || !BIO_meth_set_read(t->method, bio_read) ||
        !BIO_meth_set_write(t->method, bio_write) || !BIO_meth_set_ctrl(t->method, bio_ctrl)) {
        tls_destroy(t);
        return NULL;
    }
    return t;
}

void tls_destroy(struct tls *t)
{
    if (!t)
        return;
    for (struct tls_stream *s = t->all, *next; s; s = next) {
        next = s->next;
        stream_free(s);
    }
    BIO_meth_free(t->method);
    for (struct tls_arena *a = t->arena_first, *next; a; a = next) {
        next = a->next;
        mi_free(a);
    }
    piece_pool_free(&t->pool);
    mi_free(t);
}
