// TLS over either of the other transports.
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/clock.h"
#include "bench/transport.h"
#include "drivers/tls.h"

struct transport_tls {
    struct transport transport; // must be first
    struct transport *under;
    struct tls *tls;
    struct tls_context *context;
    const char *sni;
};

static uint64_t now_us(void)
{
    return (uint64_t)((double)clock_ticks() / clock_rate() * 1e6);
}

// The first failure says why; those of other connections say the same.
static void failed(void *context, const struct stream *lower, enum tls_failure why,
                   const char *text)
{
    static atomic_bool told;
    (void)context;
    (void)lower;
    (void)why;
    if (!atomic_exchange(&told, true))
        fprintf(stderr, "pollux-bench: TLS failed: %s\n", text);
}

static struct stream *secure_connect(struct transport *t, const struct endpoint *to, int *error)
{
    struct transport_tls *s = (struct transport_tls *)t;
    struct stream *lower = s->under->ops->connect(s->under, to, error);
    if (!lower)
        return NULL;
    struct stream *stream = tls_connect(s->tls, s->context, lower, s->sni, now_us());
    if (!stream) {
        lower->ops->abort(lower);
        *error = -ENOMEM;
    }
    return stream;
}

static unsigned secure_begin(struct transport *t, unsigned wait_us, struct stream **ready,
                             unsigned max)
{
    struct transport_tls *s = (struct transport_tls *)t;
    unsigned n = s->under->ops->begin(s->under, tls_busy(s->tls) ? 0 : wait_us, ready, max);
    for (unsigned i = 0; i < n; i++) {
        if (ready[i]->flags & STREAM_CARRIER)
            tls_event(ready[i]);
        else if (ready[i]->events & STREAM_CLOSED) // given up in secure_connect
            ready[i]->ops->release(ready[i]);
    }
    tls_turn(s->tls, now_us());
    return tls_ready(s->tls, ready, max);
}

static void secure_end(struct transport *t)
{
    struct transport_tls *s = (struct transport_tls *)t;
    tls_turn_end(s->tls);
    s->under->ops->end(s->under);
}

static bool secure_strays(struct transport *t, const struct stream *stream)
{
    struct transport_tls *s = (struct transport_tls *)t;
    return s->under->ops->strays(s->under, stream);
}

static uint64_t secure_retransmitted(struct transport *t)
{
    struct transport_tls *s = (struct transport_tls *)t;
    return s->under->ops->retransmitted(s->under);
}

static void secure_close(struct transport *t)
{
    struct transport_tls *s = (struct transport_tls *)t;
    tls_destroy(s->tls);
    s->under->ops->close(s->under);
    tls_context_release(s->context);
    free(s);
}

static const struct transport_ops secure_ops = {
    .connect = secure_connect,
    .begin = secure_begin,
    .end = secure_end,
    .strays = secure_strays,
    .retransmitted = secure_retransmitted,
    .close = secure_close,
};

struct transport *transport_tls_open(struct transport *under, const struct options *o, char *error,
                                     size_t error_size)
{
    const struct tls_options tls = {
        .client = true,
        .cert_file = o->cert_file,
        .key_file = o->key_file,
        .ca_file = o->ca_file,
        .auth = o->insecure ? TLS_AUTH_NO : TLS_AUTH_YES,
    };
    const struct tls_config config = {.failed = failed};
    struct transport_tls *s = calloc(1, sizeof(*s));
    snprintf(error, error_size, "out of memory");
    if (!s) {
        under->ops->close(under);
        return NULL;
    }
    s->transport.ops = &secure_ops;
    s->under = under;
    s->sni = o->sni;
    s->context = tls_context_create(&tls, error, error_size);
    if (s->context)
        s->tls = tls_create(&config);
    if (s->tls)
        return &s->transport;
    secure_close(&s->transport);
    return NULL;
}
