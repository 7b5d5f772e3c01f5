// What no single option can say: combinations that make no sense together.
#include "config/internal.h"

int config_validate(const struct config *c, char *error, size_t error_size)
{
    const char *const *words;
    if (config_integer(c, "transport") == 1) {
        if (!config_list(c, "nic-device", &words)) {
            snprintf(error, error_size,
                     "'transport dpdk' needs a device; add 'nic-device', a PCI address or a "
                     "virtual device as net_af_xdp0,iface=eth1");
            return -1;
        }
        if (!config_list(c, "nic-address", &words)) {
            snprintf(error, error_size,
                     "'transport dpdk' needs an address; add 'nic-address "
                     "ADDRESS/PREFIX', as 10.9.0.1/24");
            return -1;
        }
    }
    return 0;
}
