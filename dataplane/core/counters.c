// The counters of the transports by name, made from their tables.
#include <string.h>

#include "dataplane/core/core.h"

#define X(name, group, text) {#name, #group, text},
static const struct counter_row net_rows[] = {NET_COUNTERS(X)};
static const struct counter_row socket_rows[] = {SOCKETS_COUNTERS(X)};
static const struct counter_row tls_rows[] = {TLS_COUNTERS(X)};
#undef X

#define ROWS(rows) (sizeof(rows) / sizeof(*(rows)))

_Static_assert(ROWS(net_rows) == sizeof(struct net_counters) / sizeof(uint64_t) &&
                   ROWS(socket_rows) == sizeof(struct sockets_counters) / sizeof(uint64_t) &&
                   ROWS(tls_rows) == sizeof(struct tls_counters) / sizeof(uint64_t),
               "a counter is one word");

static _Thread_local struct {
    struct counter_row rows[ROWS(net_rows) + ROWS(socket_rows) + ROWS(tls_rows)];
    uint64_t values[ROWS(net_rows) + ROWS(socket_rows) + ROWS(tls_rows)];
    unsigned n;
} all;

static void add(const struct counter_row *rows, const void *values, size_t n)
{
    memcpy(all.rows + all.n, rows, n * sizeof(*rows));
    memcpy(all.values + all.n, values, n * sizeof(uint64_t));
    all.n += (unsigned)n;
}

unsigned counters_of(struct core *c, const struct counter_row **rows, const uint64_t **values)
{
    all.n = 0;
    if (c->net) // beside it, sockets serve the UNIX socket alone
        add(net_rows, net_counters(c->net), ROWS(net_rows));
    else if (c->sockets)
        add(socket_rows, sockets_counters(c->sockets), ROWS(socket_rows));
    if (c->tls)
        add(tls_rows, tls_counters(c->tls), ROWS(tls_rows));
    *rows = all.rows;
    *values = all.values;
    return all.n;
}
