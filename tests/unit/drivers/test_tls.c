// TLS as a stream over a stream, both ends in one thread over a wire in memory that cuts what it
// carries as a test says, and that damages, stalls and ends it. Time is the test's own.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "common/block.h"
#include "drivers/tls.h"

enum { TURNS_MAX = 2000000, READY_MAX = 16, WIRE_MAX = 4 << 20 };

// --- certificates

static char folder[64] = "/tmp/pollux-tls-test-XXXXXX";

static const char *file(const char *name)
{
    static struct {
        char name[16], path[96];
    } known[8];
    unsigned i = 0;
    while (known[i].name[0] && strcmp(known[i].name, name) != 0)
        i++;
    assert_true(i < sizeof(known) / sizeof(*known));
    snprintf(known[i].name, sizeof(known[i].name), "%s", name);
    snprintf(known[i].path, sizeof(known[i].path), "%s/%s", folder, name);
    return known[i].path;
}

static void make_pair(const char *cert_name, const char *key_name)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    assert_true(key && cert);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cert_name, -1, -1,
                               0);
    X509_set_issuer_name(cert, name);
    assert_true(X509_sign(cert, key, EVP_sha256()));
    FILE *f = fopen(file(cert_name), "w");
    assert_true(f && PEM_write_X509(f, cert));
    fclose(f);
    f = fopen(file(key_name), "w");
    assert_true(f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
    fclose(f);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static struct tls_context *context_of(struct tls_options *o)
{
    char error[512] = "";
    struct tls_context *c = tls_context_create(o, error, sizeof(error));
    if (!c)
        fail_msg("%s", error);
    return c;
}

static struct tls_context *server_context(const char *protocols)
{
    return context_of(&(struct tls_options){
        .cert_file = file("cert"),
        .key_file = file("key"),
        .protocols = protocols,
        .session_caching = true,
        .session_timeout_s = 300,
    });
}

static struct tls_context *client_context(void)
{
    return context_of(
        &(struct tls_options){.client = true, .auth = TLS_AUTH_YES, .ca_file = file("cert")});
}

// --- the wire: two streams whose output is the other's input

struct end {
    struct stream stream; // must be first
    struct end *peer;
    uint8_t *sent; // what was written, from `from` on not yet carried
    size_t from;
    uint8_t *received;
    bool is_ready, above, closing, gone;
    bool released;
};

static void end_grow(struct out *o, size_t need)
{
    struct end *e = (struct end *)o;
    size_t len = (size_t)(o->pos - e->sent);
    if (e->gone || e->closing) { // for nobody
        static uint8_t scratch[OUT_CONTIGUOUS_MAX];
        o->pos = scratch;
        o->end = scratch + sizeof(scratch);
        return;
    }
    if (e->from) {
        memmove(e->sent, e->sent + e->from, len - e->from);
        o->pos -= e->from;
        len -= e->from;
        e->from = 0;
    }
    assert_true(len + need <= WIRE_MAX); // back-pressure did not hold
    o->end = e->sent + WIRE_MAX;
}

static void end_ref(struct out *o, struct block *b, size_t offset, size_t len)
{
    out_write(o, b->data + offset, len);
}

static const struct out_ops end_out_ops = {.grow = end_grow, .ref = end_ref};

static void end_event(struct end *e, unsigned events)
{
    e->stream.events |= (uint16_t)events;
    e->is_ready = true;
}

static void end_refill(struct stream *s)
{
    s->in = ((struct end *)s)->received;
}

static size_t end_unsent(const struct stream *s)
{
    const struct end *e = (const struct end *)s;
    return e->gone || e->closing ? 0 : (size_t)(s->out.pos - e->sent) - e->from;
}

static void end_push(struct stream *s)
{
    struct end *e = (struct end *)s;
    if (end_unsent(s) > STREAM_OUT_HIGH)
        e->above = true;
}

static void end_gone(struct end *e, enum stream_error error)
{
    if (e->gone)
        return;
    e->gone = true;
    e->stream.error = (uint8_t)error;
    e->stream.in_len = 0;
    end_event(e, STREAM_CLOSED);
}

static void end_close(struct stream *s)
{
    ((struct end *)s)->closing = true;
}

static void end_abort(struct stream *s)
{
    struct end *e = (struct end *)s;
    end_gone(e, STREAM_ABORTED);
    end_gone(e->peer, STREAM_RESET);
}

static void end_release(struct stream *s)
{
    struct end *e = (struct end *)s;
    assert_true(e->gone && !e->released);
    e->released = true;
}

static void end_keepalive(struct stream *s, unsigned idle_s)
{
    (void)s;
    (void)idle_s;
}

static void end_info(const struct stream *s, struct stream_info *info)
{
    *info = (struct stream_info){.owner = stream_owner(s), .mss = 1460};
}

static const struct stream_ops end_ops = {
    .refill = end_refill,
    .push = end_push,
    .unsent = end_unsent,
    .close = end_close,
    .abort = end_abort,
    .release = end_release,
    .keepalive = end_keepalive,
    .info = end_info,
};

static void end_init(struct end *e, struct end *peer)
{
    *e = (struct end){.peer = peer, .sent = malloc(WIRE_MAX), .received = malloc(WIRE_MAX)};
    assert_true(e->sent && e->received);
    e->stream.ops = &end_ops;
    e->stream.out.ops = &end_out_ops;
    e->stream.out.pos = e->sent;
    e->stream.out.end = e->sent + WIRE_MAX;
    e->stream.in = e->received;
}

// --- a connection: a client and a server above the two ends

struct side {
    struct tls *tls;
    struct end end;
    struct stream *stream; // ours; NULL: not there, or released
    unsigned accepted, connected, readable, writable, eof, closed;
    uint8_t error;
    bool holds;    // reads nothing
    uint8_t *data; // what was read
    size_t len, cap;
    enum tls_failure why;
    unsigned failures;
};

static struct {
    struct side client, server;
    struct tls_context *of_client, *of_server;
    uint64_t now_us;
    size_t cut; // bytes carried a turn, each way; 0: none
    bool random;
    // Of what the client sends: the byte at this place is changed, or the wire ends there.
    size_t damage_at, end_at, carried;
    uint64_t seed;
} w;

static uint64_t draw(uint64_t below)
{
    w.seed = w.seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (w.seed >> 33) % below;
}

static void failed(void *context, const struct stream *lower, enum tls_failure why,
                   const char *text)
{
    struct side *side = context;
    assert_ptr_equal(lower, &side->end.stream);
    assert_true(*text);
    side->why = why;
    side->failures++;
}

static void side_init(struct side *side, struct side *other, unsigned handshake_ms)
{
    struct tls_config config = {
        .failed = failed, .context = side, .handshake_ms = handshake_ms, .linger_ms = 15000};
    *side = (struct side){.tls = tls_create(&config)};
    assert_non_null(side->tls);
    end_init(&side->end, &other->end);
}

static void open_wire(const char *protocols, size_t cut)
{
    memset(&w, 0, sizeof(w));
    w.seed = 1;
    w.now_us = 1000000;
    w.cut = cut;
    w.damage_at = w.end_at = SIZE_MAX;
    w.of_server = server_context(protocols);
    w.of_client = client_context();
    side_init(&w.server, &w.client, 10000);
    side_init(&w.client, &w.server, 30000);
    w.client.stream =
        tls_connect(w.client.tls, w.of_client, &w.client.end.stream, "pollux", w.now_us);
    assert_non_null(w.client.stream);
    end_event(&w.client.end, STREAM_CONNECTED);
    w.server.end.stream.events = STREAM_ACCEPTED;
    assert_true(tls_accept(w.server.tls, w.of_server, &w.server.end.stream, w.now_us));
}

static void side_end(struct side *side)
{
    tls_destroy(side->tls);
    free(side->end.sent);
    free(side->end.received);
    free(side->data);
}

static void close_wire(void)
{
    side_end(&w.client);
    side_end(&w.server);
    tls_context_release(w.of_client);
    tls_context_release(w.of_server);
}

// Carries up to `n` bytes. True when something happened.
static bool carry(struct end *e, size_t n)
{
    struct end *to = e->peer;
    size_t there = e->gone ? 0 : (size_t)(e->stream.out.pos - e->sent) - e->from;
    size_t room = WIRE_MAX - (size_t)(to->stream.in - to->received) - to->stream.in_len;
    if (to->stream.in_len == 0)
        room = WIRE_MAX;
    if (n > there)
        n = there;
    if (n > room)
        n = room;
    bool of_client = e == &w.client.end;
    if (of_client && w.carried + n > w.end_at)
        n = w.end_at - w.carried;
    if (n && !to->gone && !to->closing) {
        if (to->stream.in_len == 0)
            to->stream.in = to->received;
        uint8_t *at = (uint8_t *)(uintptr_t)to->stream.in + to->stream.in_len;
        memcpy(at, e->sent + e->from, n);
        if (of_client && w.damage_at >= w.carried && w.damage_at < w.carried + n)
            at[w.damage_at - w.carried] ^= 0x40;
        to->stream.in_len += (uint32_t)n;
        end_event(to, STREAM_READABLE);
    }
    if (of_client)
        w.carried += n;
    e->from += n;
    if (e->above && end_unsent(&e->stream) < STREAM_OUT_HIGH / 2) {
        e->above = false;
        end_event(e, STREAM_WRITABLE);
    }
    bool ends = (e->closing && there == n) || (of_client && w.carried >= w.end_at);
    if (ends && !e->gone) {
        if (!to->gone)
            end_event(to, STREAM_EOF);
        end_gone(e, STREAM_OK);
        return true;
    }
    return n != 0;
}

static void take(struct side *side)
{
    struct stream *s = side->stream;
    while (s && s->in_len && !side->holds) {
        uint32_t n = s->in_len;
        if (side->len + n > side->cap) {
            side->cap = (side->len + n) * 2;
            side->data = realloc(side->data, side->cap);
            assert_non_null(side->data);
        }
        memcpy(side->data + side->len, s->in, n);
        side->len += n;
        stream_consume(s, n);
    }
}

static bool look(struct side *side)
{
    struct end *e = &side->end;
    bool any = e->is_ready;
    if (e->is_ready) {
        e->is_ready = false;
        if (!e->released && e->stream.flags & STREAM_CARRIER)
            tls_event(&e->stream);
    }
    any |= tls_turn(side->tls, w.now_us);
    struct stream *ready[READY_MAX];
    unsigned n = tls_ready(side->tls, ready, READY_MAX);
    assert_true(n <= 1);
    if (n) {
        struct stream *s = ready[0];
        unsigned events = s->events;
        s->events = 0;
        any = true;
        if (events & STREAM_ACCEPTED) {
            assert_null(side->stream);
            side->stream = s;
        }
        assert_ptr_equal(side->stream, s);
        side->accepted += (events & STREAM_ACCEPTED) != 0;
        side->connected += (events & STREAM_CONNECTED) != 0;
        side->readable += (events & STREAM_READABLE) != 0;
        side->writable += (events & STREAM_WRITABLE) != 0;
        side->eof += (events & STREAM_EOF) != 0;
        take(side);
        if (events & STREAM_CLOSED) {
            side->closed++;
            side->error = s->error;
            s->ops->release(s);
            side->stream = NULL;
        }
    }
    tls_turn_end(side->tls);
    return any;
}

static bool turn(void)
{
    size_t n = w.random && w.cut ? 1 + draw(w.cut) : w.cut;
    bool any = look(&w.client) | look(&w.server);
    any |= carry(&w.client.end, n) | carry(&w.server.end, n);
    return any || tls_busy(w.client.tls) || tls_busy(w.server.tls) || w.client.end.is_ready ||
           w.server.end.is_ready;
}

// Until nothing happens any more.
static void settle(void)
{
    for (unsigned i = 0; turn(); i++)
        assert_true(i < TURNS_MAX);
}

static void send_bytes(struct side *side, const void *data, size_t n)
{
    out_write(&side->stream->out, data, n);
    side->stream->ops->push(side->stream);
}

static uint8_t *pattern(size_t n)
{
    uint8_t *p = malloc(n + 1);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 31 + (i >> 8) * 7);
    return p;
}

static const char *const versions[] = {"TLSv1.2", "TLSv1.3"};

// --- tests

// Handshake and data both ways, however they are cut.
static void cut_everywhere(void **state)
{
    (void)state;
    static const size_t cuts[] = {1, 2, 3, 5, 64, 1000, 16401, WIRE_MAX};
    uint8_t *data = pattern(40000);
    for (unsigned v = 0; v < 2; v++) {
        for (unsigned i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
            open_wire(versions[v], cuts[i]);
            settle();
            assert_int_equal(w.client.connected, 1);
            assert_int_equal(w.server.accepted, 1);
            assert_string_equal(tls_version(w.server.stream), versions[v]);
            assert_int_equal(tls_handshakes(w.server.tls), 0);
            size_t n = cuts[i] < 5 ? 3000 : 40000;
            send_bytes(&w.client, data, n);
            send_bytes(&w.server, data, 1);
            settle();
            send_bytes(&w.server, data + 1, n - 1);
            settle();
            assert_int_equal(w.server.len, n);
            assert_int_equal(w.client.len, n);
            assert_memory_equal(w.server.data, data, n);
            assert_memory_equal(w.client.data, data, n);
            assert_int_equal(w.server.stream->ops->unsent(w.server.stream), 0);
            close_wire();
        }
    }
    free(data);
}

// Runs of every length between one byte and some megabytes, by copy and by reference, cut at
// random.
static void lengths(void **state)
{
    (void)state;
    enum { ALL = 6 << 20 };
    uint8_t *data = pattern(ALL);
    struct block *block = block_new(ALL);
    memcpy(block->data, data, ALL);
    block->len = ALL;
    open_wire(NULL, 30000);
    w.random = true;
    settle();
    size_t sent = 0;
    for (unsigned i = 0; sent < ALL; i++) {
        size_t n = 1 + draw((uint64_t)1 << draw(22));
        if (n > ALL - sent)
            n = ALL - sent;
        if (draw(2))
            w.server.stream->out.ops->ref(&w.server.stream->out, block, sent, n);
        else
            out_write(&w.server.stream->out, data + sent, n);
        sent += n;
        if (draw(3)) {
            w.server.stream->ops->push(w.server.stream);
            turn();
        }
    }
    w.server.stream->ops->push(w.server.stream);
    settle();
    assert_int_equal(w.client.len, ALL);
    assert_memory_equal(w.client.data, data, ALL);
    assert_false(block_is_shared(block));
    close_wire();
    block_release(block);
    free(data);
}

// A peer that takes nothing holds up its own output alone: little of it is encrypted, none is
// copied, and the owner hears when there is room again.
static void slow_reader(void **state)
{
    (void)state;
    enum { ALL = 8 << 20 };
    uint8_t *data = pattern(ALL);
    struct block *block = block_new(ALL);
    memcpy(block->data, data, ALL);
    block->len = ALL;
    open_wire(NULL, 100000);
    settle();
    w.cut = 0;
    struct stream *s = w.server.stream;
    out_write(&s->out, "head", 4);
    s->out.ops->ref(&s->out, block, 0, ALL);
    out_write(&s->out, "tail", 4);
    s->ops->push(s);
    turn();
    size_t below = end_unsent(&w.server.end.stream);
    assert_true(below > STREAM_OUT_HIGH && below < STREAM_OUT_HIGH + 20000);
    assert_true(s->ops->unsent(s) > ALL && s->ops->unsent(s) < ALL + 20000);
    assert_true(block_is_shared(block));
    assert_int_equal(w.server.writable, 0);
    w.cut = 100000;
    settle();
    assert_int_equal(w.server.writable, 1);
    assert_int_equal(s->ops->unsent(s), 0);
    assert_false(block_is_shared(block));
    assert_int_equal(w.client.len, ALL + 8);
    assert_memory_equal(w.client.data + 4, data, ALL);
    close_wire();
    block_release(block);
    free(data);
}

// What the owner does not read is not decrypted either, and stays whole over many turns.
static void owner_that_does_not_read(void **state)
{
    (void)state;
    enum { ALL = 3 << 20 };
    uint8_t *data = pattern(ALL);
    open_wire(NULL, 200000);
    settle();
    w.server.holds = true;
    send_bytes(&w.client, data, ALL);
    settle();
    assert_true(w.server.stream->in_len > 0 && w.server.stream->in_len <= 96 * 1024);
    assert_true(w.server.end.stream.in_len > ALL / 2);
    const uint8_t *kept = w.server.stream->in;
    for (unsigned i = 0; i < 5; i++)
        turn();
    assert_ptr_equal(w.server.stream->in, kept);
    // A part of it.
    assert_memory_equal(kept, data, 1000);
    stream_consume(w.server.stream, 1000);
    turn();
    assert_memory_equal(w.server.stream->in, data + 1000, 1000);
    w.server.holds = false;
    take(&w.server);
    settle();
    assert_int_equal(w.server.len, ALL - 1000);
    assert_memory_equal(w.server.data, data + 1000, ALL - 1000);
    close_wire();
    free(data);
}

// The wire ends after each of its first bytes: in the handshake, and behind it.
static void truncated(void **state)
{
    (void)state;
    size_t whole = 0;
    for (unsigned v = 0; v < 2; v++) {
        open_wire(versions[v], 4096);
        settle();
        whole = w.carried;
        close_wire();
        for (size_t at = 0; at <= whole + 60; at += at < 40 ? 1 : 7) {
            open_wire(versions[v], 4096);
            w.end_at = at;
            settle();
            if (w.client.stream && w.client.connected) {
                send_bytes(&w.client, "some words of the client", 24);
                settle();
            }
            if (w.server.accepted) {
                assert_true(w.server.eof <= 1);
            } else {
                assert_int_equal(w.server.failures, 1);
                assert_int_equal(w.server.why, TLS_FAILED_CLOSED);
                assert_int_equal(w.server.readable + w.server.eof + w.server.closed, 0);
                assert_int_equal(tls_handshakes(w.server.tls), 0);
            }
            close_wire();
        }
    }
}

// A byte is changed: nothing but what was said arrives, whatever becomes of the connection.
static void damaged(void **state)
{
    (void)state;
    static const char words[] = "some words of the client";
    for (unsigned v = 0; v < 2; v++) {
        open_wire(versions[v], 4096);
        settle();
        size_t whole = w.carried;
        close_wire();
        unsigned broken = 0;
        for (size_t at = 0; at < whole + 40; at++) {
            open_wire(versions[v], 4096);
            w.damage_at = at;
            settle();
            if (w.client.stream && w.client.connected && !w.client.closed) {
                send_bytes(&w.client, words, sizeof(words));
                settle();
            }
            assert_true(w.server.len <= sizeof(words));
            assert_memory_equal(w.server.data ? w.server.data : (const uint8_t *)words, words,
                                w.server.len);
            assert_true(w.server.failures <= 1);
            if (w.server.failures) {
                broken++;
                // It was said why, and the other side is not left waiting.
                assert_true(w.client.closed || w.client.eof || w.client.failures);
                assert_null(w.server.stream);
            }
            close_wire();
        }
        assert_true(broken > whole / 2);
    }
}

// Bytes that are no TLS at all, and those that begin like it.
static void no_tls(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum tls_failure why;
    } cases[] = {
        {"PING\r\nPING\r\nPING\r\n", TLS_FAILED_PLAINTEXT},
        {"*1\r\n$4\r\nPING\r\n", TLS_FAILED_PLAINTEXT},
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", TLS_FAILED_PLAINTEXT},
        {"\x16\x03\x01\xff\xff\x01zzzzzzzzzzzzzzzz", TLS_FAILED_RECORD},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        open_wire(NULL, 4096);
        // Instead of the client's own words.
        w.client.end.is_ready = false;
        out_write(&w.client.end.stream.out, cases[i].text, strlen(cases[i].text));
        for (unsigned k = 0; k < 20; k++) {
            look(&w.server);
            carry(&w.client.end, 4096);
            carry(&w.server.end, 4096);
        }
        assert_int_equal(w.server.failures, 1);
        assert_int_equal(w.server.why, cases[i].why);
        assert_true(w.server.end.closing || w.server.end.gone);
        assert_int_equal(w.server.error, 0);
        close_wire();
    }
}

static void handshake_time_out(void **state)
{
    (void)state;
    open_wire(NULL, 4096);
    w.end_at = SIZE_MAX;
    w.cut = 0; // nothing arrives
    settle();
    assert_int_equal(tls_handshakes(w.server.tls), 1);
    w.now_us += 9999000;
    settle();
    assert_int_equal(w.server.failures, 0);
    w.now_us += 2000;
    settle();
    assert_int_equal(w.server.failures, 1);
    assert_int_equal(w.server.why, TLS_FAILED_TIMEOUT);
    assert_int_equal(tls_handshakes(w.server.tls), 0);
    assert_true(w.server.end.released);
    // The client was told of its stream, so it hears of its end.
    assert_int_equal(w.client.closed, 1);
    close_wire();
}

static void ends(void **state)
{
    (void)state;
    for (unsigned v = 0; v < 2; v++) {
        // One side is closed, and the other goes on speaking.
        open_wire(versions[v], 4096);
        settle();
        send_bytes(&w.client, "question", 8);
        w.client.stream->ops->close(w.client.stream);
        settle();
        assert_int_equal(w.server.eof, 1);
        assert_int_equal(w.server.len, 8);
        assert_int_equal(tls_counters(w.server.tls)->tls_truncated, 0);
        assert_int_equal(w.client.closed, 1);
        assert_int_equal(w.client.error, STREAM_OK);
        w.server.stream->ops->close(w.server.stream);
        settle();
        assert_int_equal(w.server.closed, 1);
        close_wire();
        // The end of the stream below without a word of TLS.
        open_wire(versions[v], 4096);
        settle();
        w.client.end.closing = true;
        settle();
        assert_int_equal(w.server.eof, 1);
        assert_int_equal(tls_counters(w.server.tls)->tls_truncated, 1);
        close_wire();
        // A reset.
        open_wire(versions[v], 4096);
        settle();
        w.client.stream->ops->abort(w.client.stream);
        settle();
        assert_int_equal(w.server.closed, 1);
        assert_int_equal(w.server.error, STREAM_RESET);
        assert_int_equal(w.client.error, STREAM_ABORTED);
        close_wire();
    }
}

// An orderly close delivers all that was written; a peer that takes nothing of it for too long is
// cut off.
static void close_with_output(void **state)
{
    (void)state;
    enum { ALL = 5 << 20 };
    uint8_t *data = pattern(ALL);
    for (unsigned takes = 0; takes < 2; takes++) {
        open_wire(NULL, 100000);
        settle();
        w.cut = 0;
        send_bytes(&w.server, data, ALL);
        w.server.stream->ops->close(w.server.stream);
        out_write(&w.server.stream->out, "for nobody", 10);
        settle();
        assert_int_equal(w.server.closed, 0);
        w.now_us += 14000000;
        if (takes) {
            w.cut = 50000;
            for (unsigned i = 0; i < 15; i++)
                turn(); // a part of it: that is progress
            w.cut = 0;
        }
        w.now_us += 2000000;
        settle();
        assert_int_equal(w.server.closed, !takes);
        if (takes) {
            w.cut = 50000;
            settle();
            assert_int_equal(w.server.closed, 1);
            assert_int_equal(w.client.len, ALL);
            assert_memory_equal(w.client.data, data, ALL);
            assert_int_equal(w.client.eof, 1);
            assert_int_equal(tls_counters(w.client.tls)->tls_truncated, 0);
        }
        close_wire();
    }
    free(data);
}

// What is given back when everything is torn down in the middle: the leak checker looks.
static void torn_down(void **state)
{
    (void)state;
    for (unsigned turns = 0; turns < 12; turns++) {
        open_wire(NULL, 300);
        for (unsigned i = 0; i < turns; i++)
            turn();
        if (w.client.stream)
            out_write(&w.client.stream->out, "unfinished", 10);
        close_wire();
    }
}

static void info_of_both(void **state)
{
    (void)state;
    open_wire(NULL, 4096);
    settle();
    int owner;
    struct stream_info info;
    w.server.stream->owner = &owner;
    out_write(&w.server.stream->out, "12345", 5);
    w.server.stream->ops->info(w.server.stream, &info);
    assert_ptr_equal(info.owner, &owner);
    assert_int_equal(info.mss, 1460);
    assert_int_equal(info.unsent, 5);
    w.server.end.stream.ops->info(&w.server.end.stream, &info);
    assert_ptr_equal(info.owner, &owner);
    assert_true(tls_is(w.server.stream) && !tls_is(&w.server.end.stream));
    assert_ptr_equal(tls_over(&w.server.end.stream), w.server.stream);
    assert_true(strlen(tls_cipher(w.server.stream)) > 3);
    close_wire();
}

// What the files may not be, in words.
static void refused_contexts(void **state)
{
    (void)state;
    const struct {
        struct tls_options o;
        const char *words;
    } cases[] = {
        {{.cert_file = "/none/such", .key_file = file("key")},
         "tls-cert-file '/none/such': No such"},
        {{.cert_file = file("cert"), .key_file = "/none/such"},
         "tls-key-file '/none/such': No such"},
        {{.cert_file = file("cert"), .key_file = file("other-key")}, "does not belong to"},
        {{.cert_file = file("key"), .key_file = file("key")}, "tls-cert-file"},
        {{.cert_file = file("cert"), .key_file = file("cert")}, "tls-key-file"},
        {{.cert_file = file("cert"), .key_file = file("key"), .auth = TLS_AUTH_YES},
         "tls-ca-cert-file or tls-ca-cert-dir must be specified"},
        {{.cert_file = file("cert"), .key_file = file("key"), .ca_file = file("key")},
         "tls-ca-cert-file"},
        {{.cert_file = file("cert"), .key_file = file("key"), .ca_dir = "/none/such"},
         "tls-ca-cert-dir '/none/such'"},
        {{.cert_file = file("cert"), .key_file = file("key"), .dh_params_file = file("key")},
         "tls-dh-params-file"},
        {{.cert_file = file("cert"), .key_file = file("key"), .protocols = "TLSv1.3 SSLv3"},
         "'SSLv3' is no version of TLS"},
        {{.cert_file = file("cert"), .key_file = file("key"), .ciphers = "NONE-SUCH"},
         "tls-ciphers 'NONE-SUCH'"},
        {{.cert_file = file("cert"), .key_file = file("key"), .ciphersuites = "NONE-SUCH"},
         "tls-ciphersuites 'NONE-SUCH'"},
        {{.cert_file = NULL}, "needs a certificate"},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char error[512] = "";
        assert_null(tls_context_create(&cases[i].o, error, sizeof(error)));
        if (!strstr(error, cases[i].words))
            fail_msg("'%s' does not tell '%s'", error, cases[i].words);
        assert_null(strchr(error, '\n'));
    }
}

static int make_files(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    make_pair("cert", "key");
    make_pair("other-cert", "other-key");
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    static const char *const names[] = {"cert", "key", "other-cert", "other-key"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
        unlink(file(names[i]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_everywhere),
        cmocka_unit_test(lengths),
        cmocka_unit_test(slow_reader),
        cmocka_unit_test(owner_that_does_not_read),
        cmocka_unit_test(truncated),
        cmocka_unit_test(damaged),
        cmocka_unit_test(no_tls),
        cmocka_unit_test(handshake_time_out),
        cmocka_unit_test(ends),
        cmocka_unit_test(close_with_output),
        cmocka_unit_test(torn_down),
        cmocka_unit_test(info_of_both),
        cmocka_unit_test(refused_contexts),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
