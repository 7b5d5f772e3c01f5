// Names for the counters of the transports, in the order of their structs.
#include "dataplane/core/core.h"

static const char *const net_names[] = {
    "frames_in",
    "frames_out",
    "bytes_in",
    "bytes_out",
};

static const char *const socket_names[] = {
    "accepted",  "closed",   "resets", "refused_admission", "accept_errors", "bytes_in",
    "bytes_out", "receives", "sends",  "buffers_empty",     "unread_stops",
};

unsigned counters_of(struct core *c, const char *const **names, const uint64_t **values)
{
    if (c->net) {
        *names = net_names;
        *values = (const uint64_t *)net_counters(c->net);
        return sizeof(net_names) / sizeof(*net_names);
    }
    if (c->sockets) {
        *names = socket_names;
        *values = (const uint64_t *)sockets_counters(c->sockets);
        return sizeof(socket_names) / sizeof(*socket_names);
    }
    return 0;
}
