// Certificates, keys and what else is configured, as OpenSSL holds it: made anew for each change,
// shared by all cores, and kept by the connections that began with it.
#include <errno.h>
#include <mimalloc.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "drivers/tls_internal.h"

// Sessions of other servers are no sessions of ours.
static const unsigned char session_context[] = "pollux";

struct making {
    const struct tls_options *o;
    SSL_CTX *ssl;
    char *error;
    size_t error_size;
};

static bool given(const char *text)
{
    return text && *text;
}

static bool complain(const struct making *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool complain(const struct making *m, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(m->error, m->error_size, format, arguments);
    va_end(arguments);
    ERR_clear_error();
    return false;
}

// What OpenSSL said first: the cause.
static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_error());
    return text ? text : "no reason given";
}

static bool readable(const struct making *m, const char *directive, const char *path)
{
    if (access(path, R_OK) == 0)
        return true;
    return complain(m, "%s '%s': %s; name a file that this account may read", directive, path,
                    strerror(errno));
}

// Never asks at the terminal.
static int passphrase(char *to, int size, int writing, void *text)
{
    (void)writing;
    size_t len = text ? strlen(text) : 0;
    if (len > (size_t)size)
        return -1;
    memcpy(to, text ? text : "", len);
    return (int)len;
}

static bool load_key(const struct making *m)
{
    const struct tls_options *o = m->o;
    const char *cert = o->client ? "tls-client-cert-file" : "tls-cert-file";
    const char *key = o->client ? "tls-client-key-file" : "tls-key-file";
    if (!given(o->cert_file) && o->client)
        return true;
    if (!given(o->cert_file))
        return complain(m, "tls-cert-file: TLS needs a certificate; name its PEM file");
    if (!given(o->key_file))
        return complain(m, "%s: the certificate needs its private key; name its PEM file", key);
    if (!readable(m, cert, o->cert_file) || !readable(m, key, o->key_file))
        return false;
    if (SSL_CTX_use_certificate_chain_file(m->ssl, o->cert_file) != 1)
        return complain(m, "%s '%s': %s; give a certificate in PEM, its chain behind it", cert,
                        o->cert_file, reason());
    SSL_CTX_set_default_passwd_cb(m->ssl, passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(m->ssl, (void *)(uintptr_t)o->key_pass);
    int result = SSL_CTX_use_PrivateKey_file(m->ssl, o->key_file, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(m->ssl, NULL);
    if (result != 1 && ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_X509 &&
        ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH)
        return complain(m, "%s '%s' does not belong to the certificate in '%s' (%s); give the pair",
                        key, o->key_file, o->cert_file, reason());
    if (result != 1)
        return complain(m, "%s '%s': %s; give a private key in PEM%s", key, o->key_file, reason(),
                        given(o->key_pass) ? ", and its passphrase" : ", or its passphrase too");
    if (SSL_CTX_check_private_key(m->ssl) != 1)
        return complain(m, "%s '%s' does not belong to the certificate in '%s' (%s); give the pair",
                        key, o->key_file, o->cert_file, reason());
    return true;
}

static bool load_authorities(const struct making *m)
{
    const struct tls_options *o = m->o;
    const char *file = given(o->ca_file) ? o->ca_file : NULL;
    const char *dir = given(o->ca_dir) ? o->ca_dir : NULL;
    if (o->auth != TLS_AUTH_NO && !file && !dir) {
        if (o->client)
            return SSL_CTX_set_default_verify_paths(m->ssl) == 1 ||
                   complain(m, "the system's certificate authorities cannot be read: %s", reason());
        return complain(m, "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when "
                           "tls-auth-clients is enabled; give one, or tls-auth-clients no");
    }
    if (file && !readable(m, "tls-ca-cert-file", file))
        return false;
    if (dir && !readable(m, "tls-ca-cert-dir", dir))
        return false;
    if (file && SSL_CTX_load_verify_file(m->ssl, file) != 1)
        return complain(m, "tls-ca-cert-file '%s': %s; give certificates in PEM", file, reason());
    if (dir && SSL_CTX_load_verify_dir(m->ssl, dir) != 1)
        return complain(m, "tls-ca-cert-dir '%s': %s", dir, reason());
    if (file && !o->client && o->auth != TLS_AUTH_NO) {
        // Clients that have several certificates choose by it.
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
        if (names)
            SSL_CTX_set_client_CA_list(m->ssl, names);
        ERR_clear_error();
    }
    return true;
}

static bool load_dh(const struct making *m)
{
    const char *path = m->o->dh_params_file;
    if (!given(path)) {
        SSL_CTX_set_dh_auto(m->ssl, 1);
        return true;
    }
    if (!readable(m, "tls-dh-params-file", path))
        return false;
    BIO *file = BIO_new_file(path, "r");
    EVP_PKEY *key = file ? PEM_read_bio_Parameters(file, NULL) : NULL;
    BIO_free(file);
    if (key && SSL_CTX_set0_tmp_dh_pkey(m->ssl, key) == 1)
        return true;
    complain(m, "tls-dh-params-file '%s': %s; give what openssl dhparam writes", path, reason());
    EVP_PKEY_free(key);
    return false;
}

static bool set_protocols(const struct making *m)
{
    static const struct {
        const char *name;
        uint64_t off;
    } versions[] = {{"TLSv1", SSL_OP_NO_TLSv1},
                    {"TLSv1.1", SSL_OP_NO_TLSv1_1},
                    {"TLSv1.2", SSL_OP_NO_TLSv1_2},
                    {"TLSv1.3", SSL_OP_NO_TLSv1_3}};
    uint64_t off = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1;
    const char *word = m->o->protocols;
    if (given(word))
        off |= SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3;
    for (size_t len; word && *(word += strspn(word, " \t")); word += len) {
        len = strcspn(word, " \t");
        bool known = false;
        for (unsigned i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
            if (strlen(versions[i].name) == len && !strncasecmp(word, versions[i].name, len)) {
                off &= ~versions[i].off;
                known = true;
            }
        }
        if (!known)
            return complain(m,
                            "tls-protocols: '%.*s' is no version of TLS; write a list of TLSv1, "
                            "TLSv1.1, TLSv1.2 and TLSv1.3",
                            (int)len, word);
    }
    SSL_CTX_set_options(m->ssl, off);
    return true;
}

static bool set_ciphers(const struct making *m)
{
    const struct tls_options *o = m->o;
    if (given(o->ciphers) && SSL_CTX_set_cipher_list(m->ssl, o->ciphers) != 1)
        return complain(m,
                        "tls-ciphers '%s': %s; write names as `openssl ciphers` shows them, with "
                        "colons between them",
                        o->ciphers, reason());
    if (given(o->ciphersuites) && SSL_CTX_set_ciphersuites(m->ssl, o->ciphersuites) != 1)
        return complain(m,
                        "tls-ciphersuites '%s': %s; write names as TLS_AES_256_GCM_SHA384, with "
                        "colons between them",
                        o->ciphersuites, reason());
    return true;
}

static void set_sessions(const struct making *m)
{
    const struct tls_options *o = m->o;
    SSL_CTX_set_session_id_context(m->ssl, session_context, sizeof(session_context) - 1);
    if (o->client)
        return;
    if (!o->session_caching) {
        SSL_CTX_set_session_cache_mode(m->ssl, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_options(m->ssl, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(m->ssl, 0);
        return;
    }
    SSL_CTX_set_session_cache_mode(m->ssl, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(m->ssl, (long)o->session_cache_size);
    SSL_CTX_set_timeout(m->ssl, (long)o->session_timeout_s);
}

static bool set_all(const struct making *m)
{
    const struct tls_options *o = m->o;
    SSL_CTX_set_options(m->ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                    SSL_OP_SINGLE_DH_USE | SSL_OP_SINGLE_ECDH_USE);
    if (o->prefer_server_ciphers)
        SSL_CTX_set_options(m->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    // An idle connection holds no buffers of records.
    SSL_CTX_set_mode(m->ssl, SSL_MODE_RELEASE_BUFFERS);
    set_sessions(m);
    if (!set_protocols(m) || !load_key(m) || !load_authorities(m) || !load_dh(m) || !set_ciphers(m))
        return false;
    int verify = SSL_VERIFY_NONE;
    if (o->auth != TLS_AUTH_NO)
        verify = SSL_VERIFY_PEER | (o->auth == TLS_AUTH_YES ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    SSL_CTX_set_verify(m->ssl, verify, NULL);
    return true;
}

struct tls_context *tls_context_create(const struct tls_options *o, char *error, size_t error_size)
{
    ERR_clear_error();
    struct tls_context *c = mi_zalloc(sizeof(*c));
    struct making m = {.o = o, .error = error, .error_size = error_size};
    m.ssl = c ? SSL_CTX_new(o->client ? TLS_client_method() : TLS_server_method()) : NULL;
    if (!m.ssl || !set_all(&m)) {
        if (!m.ssl)
            complain(&m, "TLS cannot be set up: %s", reason());
        SSL_CTX_free(m.ssl);
        mi_free(c);
        return NULL;
    }
    ERR_clear_error();
    c->ssl = m.ssl;
    c->client = o->client;
    atomic_init(&c->references, 1);
    return c;
}

struct tls_context *tls_context_retain(struct tls_context *c)
{
    atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
    return c;
}

void tls_context_release(struct tls_context *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(c->ssl); // connections hold references of their own
    mi_free(c);
}
