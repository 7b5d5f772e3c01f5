// TLS as a stream over a stream (OpenSSL): what is written to it leaves encrypted through the
// stream below, and what arrives there is decrypted. Owners see a plain `struct stream` either way.
// It does no I/O of its own, so it lies over kernel sockets and over the userspace stack alike.
//
// The stream below is carried from then on: it is marked STREAM_CARRIER, its owner is the stream
// above, and its events are handed to `tls_event`. A `struct tls` belongs to one core, and so do
// its streams. A `struct tls_context` (certificates, protocols, sessions) is shared by all cores.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/stream.h"

struct tls;
struct tls_context;

// Whether clients must show a certificate.
enum tls_authentication { TLS_AUTH_NO, TLS_AUTH_OPTIONAL, TLS_AUTH_YES };

// Text that is NULL or empty is not given.
struct tls_options {
    bool client; // for connections that we open
    const char *cert_file, *key_file, *key_pass;
    const char *dh_params_file;
    const char *ca_file, *ca_dir;
    const char *protocols; // "TLSv1.2 TLSv1.3"
    const char *ciphers, *ciphersuites;
    enum tls_authentication auth; // of a client: whether the server's certificate is verified
    bool prefer_server_ciphers;
    bool session_caching;
    size_t session_cache_size; // sessions; 0: no limit
    unsigned session_timeout_s;
};

// Reads the files. NULL with one line in `error`, which begins with the name of the directive and
// says what to do. Any thread; it waits for the disk.
struct tls_context *tls_context_create(const struct tls_options *o, char *error, size_t error_size);
// Counted; any thread. NULL is allowed.
struct tls_context *tls_context_retain(struct tls_context *c);
void tls_context_release(struct tls_context *c);

// Why a handshake failed, or a connection was broken off: the first counters, in their order.
enum tls_failure {
    TLS_FAILED_PLAINTEXT,
    TLS_FAILED_PROTOCOL,
    TLS_FAILED_CIPHER,
    TLS_FAILED_CERTIFICATE,
    TLS_FAILED_ALERT,
    TLS_FAILED_CLOSED,
    TLS_FAILED_TIMEOUT,
    TLS_FAILED_RECORD,
    TLS_FAILED_MEMORY,
    TLS_FAILURES
};

// X(name, group, description), as in dataplane/net/counters.h.
// clang-format off
#define TLS_COUNTERS(X)                                                                            \
    X(tls_failed_plaintext, TLS, "handshakes that failed: what came was no TLS at all")            \
    X(tls_failed_protocol, TLS, "handshakes that failed: no version of TLS in common")             \
    X(tls_failed_cipher, TLS, "handshakes that failed: no cipher, curve or signature in common")   \
    X(tls_failed_certificate, TLS, "handshakes that failed: certificate missing or refused")       \
    X(tls_failed_alert, TLS, "handshakes and connections that the peer ended with an alert")       \
    X(tls_failed_closed, TLS, "handshakes that failed: the peer went away")                        \
    X(tls_failed_timeout, TLS, "handshakes that failed: not over in time")                         \
    X(tls_failed_record, TLS, "connections and handshakes ended by damaged or forbidden records")  \
    X(tls_failed_memory, TLS, "connections and handshakes ended because memory was short")         \
    X(tls_handshakes, TLS, "handshakes done, resumed sessions included")                           \
    X(tls_resumed, TLS, "handshakes that resumed a session")                                       \
    X(tls_truncated, TLS, "connections whose peer closed them without close_notify")               \
    X(tls_records_in, TLS, "runs of bytes decrypted")                                              \
    X(tls_records_out, TLS, "records encrypted")                                                   \
    X(tls_bytes_in, TLS, "bytes decrypted")                                                        \
    X(tls_bytes_out, TLS, "bytes encrypted")
// clang-format on

struct tls_counters {
#define X(name, group, text) uint64_t name;
    TLS_COUNTERS(X)
#undef X
};

struct tls_config {
    unsigned handshake_ms; // how long a handshake may take; 0: default
    unsigned linger_ms;    // an orderly close gives up after so long without progress; 0: default
    // Told of each failure, with one line on what went wrong and what to do. May be NULL.
    void (*failed)(void *context, const struct stream *lower, enum tls_failure why,
                   const char *text);
    void *context;
};

struct tls *tls_create(const struct tls_config *config);
// The streams below must be gone, or go with their transport right afterwards: nothing is sent.
void tls_destroy(struct tls *t);

// TLS over `lower`, which was just accepted: STREAM_ACCEPTED follows when the handshake is done; if
// it fails, nobody hears of the connection. False: memory was short; `lower` is the caller's still.
bool tls_accept(struct tls *t, struct tls_context *context, struct stream *lower, uint64_t now_us);
// TLS over `lower`, a connection under way: STREAM_CONNECTED or STREAM_CLOSED follows. `name` is
// what the server is told that we look for (SNI); NULL: nothing. NULL when memory is short: `lower`
// is the caller's still.
struct stream *tls_connect(struct tls *t, struct tls_context *context, struct stream *lower,
                           const char *name, uint64_t now_us);
// `lower`, a carrier, has events.
void tls_event(struct stream *lower);
// Handshakes that wait for their turn: at most about as much of them as a turn can bear. True: more
// is to be done at once.
bool tls_turn(struct tls *t, uint64_t now_us);
// Streams with events since the last call, each once.
unsigned tls_ready(struct tls *t, struct stream **ready, unsigned max);
// Whether tls_turn or tls_ready have something to do: no sleep before.
bool tls_busy(const struct tls *t);
// The end of a turn, before that of the transport: keeps what is unread.
void tls_turn_end(struct tls *t);
// Handshakes under way.
unsigned tls_handshakes(const struct tls *t);
const struct tls_counters *tls_counters(const struct tls *t);

// Whether it is a stream of ours.
bool tls_is(const struct stream *s);
// "TLSv1.3", "TLS_AES_256_GCM_SHA384" of a stream of ours.
const char *tls_version(const struct stream *s);
const char *tls_cipher(const struct stream *s);
// The stream of ours below which `lower`, a carrier, lies.
static inline struct stream *tls_over(const struct stream *lower)
{
    return lower->owner;
}
// Bytes of memory that a stream of ours takes beside those of the stream below and what `unsent`
// tells: about, since OpenSSL does not say.
size_t tls_memory(const struct stream *s);
