// The counters of the transports by name, made from their tables.
#include "dataplane/core/core.h"

#define X(name, group, text) {#name, #group, text},
static const struct counter_row net_rows[] = {NET_COUNTERS(X)};
static const struct counter_row socket_rows[] = {SOCKETS_COUNTERS(X)};
#undef X

_Static_assert(sizeof(net_rows) / sizeof(*net_rows) ==
                       sizeof(struct net_counters) / sizeof(uint64_t) &&
                   sizeof(socket_rows) / sizeof(*socket_rows) ==
                       sizeof(struct sockets_counters) / sizeof(uint64_t),
               "a counter is one word");

unsigned counters_of(struct core *c, const struct counter_row **rows, const uint64_t **values)
{
    if (c->net) {
        *rows = net_rows;
        *values = (const uint64_t *)net_counters(c->net);
        return sizeof(net_rows) / sizeof(*net_rows);
    }
    if (c->sockets) {
        *rows = socket_rows;
        *values = (const uint64_t *)sockets_counters(c->sockets);
        return sizeof(socket_rows) / sizeof(*socket_rows);
    }
    return 0;
}
