// TLS as the configuration says it: certificates, which connections speak it, what goes wrong.
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/core/core.h"

#define SECOND_US 1000000

// All that a context is made of.
static const char *const of_context[] = {
    "tls-cert-file",
    "tls-key-file",
    "tls-key-file-pass",
    "tls-dh-params-file",
    "tls-ca-cert-file",
    "tls-ca-cert-dir",
    "tls-auth-clients",
    "tls-protocols",
    "tls-ciphers",
    "tls-ciphersuites",
    "tls-session-caching",
    "tls-prefer-server-ciphers",
    "tls-session-cache-size",
    "tls-session-cache-timeout",
};

bool tls_option_is(const char *name)
{
    const struct config_option *o = config_find_option(name);
    for (unsigned i = 0; o && i < sizeof(of_context) / sizeof(*of_context); i++)
        if (strcmp(o->name, of_context[i]) == 0)
            return true;
    return false;
}

struct tls_context *tls_configured(const struct config *config, char *error, size_t size)
{
    const char *auth = config_get(config, "tls-auth-clients");
    const struct tls_options o = {
        .cert_file = config_string(config, "tls-cert-file"),
        .key_file = config_string(config, "tls-key-file"),
        .key_pass = config_string(config, "tls-key-file-pass"),
        .dh_params_file = config_string(config, "tls-dh-params-file"),
        .ca_file = config_string(config, "tls-ca-cert-file"),
        .ca_dir = config_string(config, "tls-ca-cert-dir"),
        .protocols = config_string(config, "tls-protocols"),
        .ciphers = config_string(config, "tls-ciphers"),
        .ciphersuites = config_string(config, "tls-ciphersuites"),
        .auth = strcmp(auth, "yes") == 0  ? TLS_AUTH_YES
                : strcmp(auth, "no") == 0 ? TLS_AUTH_NO
                                          : TLS_AUTH_OPTIONAL,
        .prefer_server_ciphers = config_bool(config, "tls-prefer-server-ciphers"),
        .session_caching = config_bool(config, "tls-session-caching"),
        .session_cache_size = (size_t)config_integer(config, "tls-session-cache-size"),
        .session_timeout_s = (unsigned)config_integer(config, "tls-session-cache-timeout"),
    };
    return tls_context_create(&o, error, size);
}

// What was read for a change: the configuration that it is of, and what came of it.
struct tls_prepared {
    struct tls_context *context; // NULL: `error` says why
    char *of[sizeof(of_context) / sizeof(*of_context)];
    char error[384];
};

void tls_prepared_drop(struct server *server)
{
    struct tls_prepared *p = server->tls_prepared;
    server->tls_prepared = NULL;
    if (!p)
        return;
    tls_context_release(p->context);
    for (unsigned i = 0; i < sizeof(of_context) / sizeof(*of_context); i++)
        mi_free(p->of[i]);
    mi_free(p);
}

void tls_prepare(struct server *server, const struct config *changed)
{
    struct tls_prepared *p = mi_zalloc(sizeof(*p));
    if (!p)
        return;
    for (unsigned i = 0; i < sizeof(of_context) / sizeof(*of_context); i++)
        p->of[i] = mi_strdup(config_get(changed, of_context[i]));
    p->context = tls_configured(changed, p->error, sizeof(p->error));
    pthread_mutex_lock(&server->config_lock);
    tls_prepared_drop(server);
    server->tls_prepared = p;
    pthread_mutex_unlock(&server->config_lock);
}

struct tls_context *tls_prepared(struct server *server, const struct config *changed, char *error,
                                 size_t size)
{
    struct tls_prepared *p = server->tls_prepared;
    bool same = p;
    for (unsigned i = 0; same && i < sizeof(of_context) / sizeof(*of_context); i++)
        same = p->of[i] && strcmp(p->of[i], config_get(changed, of_context[i])) == 0;
    if (!same)
        return tls_configured(changed, error, size);
    struct tls_context *context = p->context;
    p->context = NULL;
    snprintf(error, size, "%s", p->error);
    tls_prepared_drop(server); // files may be others the next time
    return context;
}

// Whoever fails on purpose shall not fill the log: one line a second for each cause. True: it is
// told, with how many were not.
static bool tell(struct core *c, unsigned why, char *more, size_t size)
{
    struct tls_quiet *quiet = &c->tls_quiet[why];
    *more = '\0';
    if (c->now_us < quiet->until_us) {
        quiet->untold++;
        return false;
    }
    if (quiet->untold)
        snprintf(more, size, " (and %lu more like it)", (unsigned long)quiet->untold);
    *quiet = (struct tls_quiet){.until_us = c->now_us + SECOND_US};
    return true;
}

static void failed(void *context, const struct stream *lower, enum tls_failure why,
                   const char *text)
{
    struct core *c = context;
    char address[ENDPOINT_TEXT_MAX], more[64];
    if (!tell(c, why, more, sizeof(more)))
        return;
    struct stream_info info = {0};
    lower->ops->info(lower, &info);
    log_warning("TLS with %s failed: %s%s", endpoint_format(&info.remote, address), text, more);
}

void tls_misdirected(struct core *c, const struct client *client)
{
    char address[ENDPOINT_TEXT_MAX], more[64];
    if (tell(c, TLS_FAILURES, more, sizeof(more)))
        log_warning("%s speaks TLS to port %u, which does not; tls-port is the one that does%s",
                    endpoint_format(&client->remote, address), client->local.port, more);
}

bool tls_start(struct core *c)
{
    const struct tls_config config = {.failed = failed, .context = c};
    if (!c->tls)
        c->tls = tls_create(&config);
    return c->tls;
}

void tls_take(struct core *c, struct stream *lower)
{
    uint64_t clients = atomic_load_explicit(&c->server->clients, memory_order_relaxed);
    // Handshakes under way are clients to be: a crowd of them must not be without bounds.
    bool full = clients + tls_handshakes(c->tls) >= c->settings.maxclients;
    if (full)
        c->counters.connections_rejected++;
    if (full || !c->tls_context || !tls_accept(c->tls, c->tls_context, lower, c->now_us))
        lower->ops->abort(lower);
}
