// What OpenSSL complains of, in an operator's words: which side it concerns and what to do.
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>

#include "drivers/tls_internal.h"

enum { HANDSHAKE_RECORD = 22 }; // the first byte of everything that begins with TLS

static enum tls_failure alert_of_peer(int reason, char *text, size_t size)
{
    int alert = reason - SSL_AD_REASON_OFFSET;
    const char *name = SSL_alert_desc_string_long(alert), *advice = "";
    if (alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_BAD_CERTIFICATE)
        advice = ": it does not trust our certificate; give it the authority that signed it";
    if (alert == SSL_AD_CERTIFICATE_REQUIRED) {
        name = "certificate required"; // OpenSSL 3.0 has no name for it
        advice = ": it asks for a certificate; give one that it trusts, and its key";
    }
    snprintf(text, size, "the peer sent the alert '%s'%s", name, advice);
    return TLS_FAILED_ALERT;
}

static enum tls_failure in_handshake(const struct tls_stream *s, int reason, char *text,
                                     size_t size)
{
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_INAPPROPRIATE_FALLBACK:
        snprintf(text, size, "no version of TLS in common (%s); see tls-protocols",
                 ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, reason)));
        return TLS_FAILED_PROTOCOL;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_CIPHERS_AVAILABLE:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        snprintf(text, size,
                 "no cipher, curve or signature in common (%s); see tls-ciphers and "
                 "tls-ciphersuites",
                 ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, reason)));
        return TLS_FAILED_CIPHER;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        snprintf(text, size, "the client showed no certificate, which tls-auth-clients asks for");
        return TLS_FAILED_CERTIFICATE;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        snprintf(text, size, "the certificate of the peer was refused: %s",
                 X509_verify_cert_error_string(SSL_get_verify_result(s->ssl)));
        return TLS_FAILED_CERTIFICATE;
    default:
        return TLS_FAILURES;
    }
}

enum tls_failure tls_error(const struct tls_stream *s, char *text, size_t size)
{
    // The first is the cause, the others what came of it.
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    enum tls_failure why = TLS_FAILURES;
    if (!s->established && s->handshake_bytes >= TLS_HANDSHAKE_BYTES_MAX - TLS_RECORD_MAX &&
        !code) {
        snprintf(text, size, "the handshake was longer than %u bytes", TLS_HANDSHAKE_BYTES_MAX);
        why = TLS_FAILED_RECORD;
    } else if (!s->established && !s->client && s->started && s->first_byte != HANDSHAKE_RECORD) {
        snprintf(text, size, "what came was no TLS: a client without TLS on the TLS port");
        why = TLS_FAILED_PLAINTEXT;
    } else if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
        snprintf(text, size, "memory was short");
        why = TLS_FAILED_MEMORY;
    } else if (reason > SSL_AD_REASON_OFFSET) {
        why = alert_of_peer(reason, text, size);
    } else if (!s->established) {
        why = in_handshake(s, reason, text, size);
    }
    if (why == TLS_FAILURES) {
        const char *said = code ? ERR_reason_error_string(code) : NULL;
        snprintf(text, size, "%s", said ? said : "the records make no sense");
        why = TLS_FAILED_RECORD;
    }
    ERR_clear_error();
    return why;
}
