// What a device says of itself beyond the figures that all devices have.
#include <stdlib.h>

#include <rte_ethdev.h>

#include "drivers/nic_internal.h"

// More than any device of DPDK 22.11 has for 64 queues; what lies beyond is left out.
#define XSTATS_MAX 2048

void port_each_xstat(struct port *port,
                     void (*each)(void *context, const char *name, uint64_t value), void *context)
{
    if (!port->first_of_device)
        return;
    int n = rte_eth_xstats_get_names(port->id, NULL, 0);
    if (n <= 0 || n > XSTATS_MAX)
        return;
    struct rte_eth_xstat_name *names = calloc((size_t)n, sizeof(*names));
    struct rte_eth_xstat *stats = calloc((size_t)n, sizeof(*stats));
    if (names && stats && rte_eth_xstats_get_names(port->id, names, (unsigned)n) == n &&
        rte_eth_xstats_get(port->id, stats, (unsigned)n) == n)
        for (int i = 0; i < n; i++)
            if (stats[i].id < (uint64_t)n)
                each(context, names[stats[i].id].name, stats[i].value);
    free(names);
    free(stats);
}
