#include "common/stream.h"

#include <arpa/inet.h>
#include <stdio.h>

const char *endpoint_format(const struct endpoint *e, char *text)
{
    char address[INET6_ADDRSTRLEN];
    if (e->family == 4 && inet_ntop(AF_INET, e->addr, address, sizeof(address)))
        snprintf(text, ENDPOINT_TEXT_MAX, "%s:%u", address, e->port);
    else if (e->family == 6 && inet_ntop(AF_INET6, e->addr, address, sizeof(address)))
        snprintf(text, ENDPOINT_TEXT_MAX, "[%s]:%u", address, e->port);
    else
        snprintf(text, ENDPOINT_TEXT_MAX, "unix:%u", e->port);
    return text;
}
