// What the files of drivers/tls share. tls.c the life of a stream, its handshake and its input;
// tls_output.c what is written to it; tls_context.c certificates and all that is configured;
// tls_errors.c what went wrong, in words.
#pragma once

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "drivers/pieces.h"
#include "drivers/tls.h"

// The most that one record carries (RFC 8446 5.1).
#define TLS_RECORD_MAX 16384u
// Where a turn's input is decrypted to: pieces of this size, with room for a record behind the last
// byte that a read may start at.
#define TLS_ARENA_RUN (64u * 1024)
#define TLS_ARENA_SIZE (TLS_ARENA_RUN + TLS_RECORD_MAX)
// How long a handshake may take, and an orderly close without progress.
#define TLS_HANDSHAKE_MS 10000
#define TLS_LINGER_MS 15000
// What a peer may send before its handshake is done: certificates with their chain are the longest.
#define TLS_HANDSHAKE_BYTES_MAX (128u * 1024)

// Small chunks of output that a core keeps: 0.9 MB. A large one fills a record.
#define TLS_CHUNKS_KEPT 512

struct tls_context {
    _Atomic unsigned references;
    SSL_CTX *ssl;
    bool client;
};

struct tls_arena {
    struct tls_arena *next;
    size_t used;
    uint8_t bytes[TLS_ARENA_SIZE];
};

struct tls_list {
    struct tls_stream *first, *last;
};

struct tls_stream {
    struct stream stream; // must be first
    struct tls *tls;
    struct stream *lower; // NULL once it is released
    SSL *ssl;
    bool client : 1;
    bool established : 1; // the handshake is done
    bool waiting : 1;     // in the list of handshakes that have something to do
    bool timed : 1;       // in one of the lists with a deadline
    bool is_ready : 1;
    bool is_touched : 1;
    bool in_heap : 1;   // stream.in lies in `heap`
    bool lower_eof : 1; // the peer sends no more, encrypted or not
    bool eof : 1;       // STREAM_EOF was told
    bool high : 1;      // output passed STREAM_OUT_HIGH
    bool closing : 1;   // orderly close asked for
    bool shut : 1;      // the stream below was told to close
    bool dead : 1;      // STREAM_CLOSED was told
    bool released : 1;
    bool wrote : 1;   // OpenSSL wrote something below
    bool started : 1; // something of the peer was read
    uint8_t first_byte;
    uint32_t handshake_bytes;
    struct pieces output; // plaintext
    // Unread bytes kept over the end of a turn.
    uint8_t *heap;
    uint32_t heap_cap;
    // Lists.
    struct tls_stream *prev, *next; // all
    struct tls_stream *next_ready, *next_touched, *next_waiting;
    struct tls_stream *timed_next, *timed_prev;
    struct tls_list *timed_in;
    uint64_t deadline_us;
    size_t linger_unsent; // of the stream below, at the last look
};

struct tls {
    struct tls_config config;
    struct tls_counters counters;
    BIO_METHOD *method;
    uint64_t now_us;
    struct tls_list ready, waiting, shaking, lingering;
    struct tls_stream *touched, *all;
    unsigned n_shaking;
    struct tls_arena *arena, *arena_first; // where the turn decrypts to, and all of them
    struct piece_pool pool;
    uint8_t stage[TLS_RECORD_MAX]; // several pieces that become one record
};

// tls.c
void tls_stream_event(struct tls_stream *s, unsigned events);
// Breaks the connection off: what OpenSSL said goes out, STREAM_CLOSED is told.
void tls_stream_fail(struct tls_stream *s, enum tls_failure why, const char *text);

// tls_output.c
extern const struct out_ops tls_out_ops;
void tls_push(struct stream *stream);
size_t tls_unsent(const struct stream *stream);
// Encrypts what the stream below has room for. False: the connection failed.
bool tls_encrypt(struct tls_stream *s);
void tls_discard(struct tls_stream *s);

// tls_errors.c
// What OpenSSL complained of, in words and by cause; its list of errors is empty afterwards.
enum tls_failure tls_error(const struct tls_stream *s, char *text, size_t size);
