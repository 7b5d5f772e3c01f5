#include "drivers/nic.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "drivers/nic_internal.h"

bool nic_error(struct nic *nic, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(nic->error, nic->error_size, format, list);
    va_end(list);
    return false;
}

// "0000:3b:00.0" or "3b:00.0"; `name` gets the long form.
static bool parse_pci(const char *text, char *name, size_t size)
{
    unsigned domain = 0, bus, device, function;
    int end = 0;
    if (sscanf(text, "%4x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &end) != 4 || !end) {
        domain = 0;
        end = 0;
        if (sscanf(text, "%2x:%2x.%1x%n", &bus, &device, &function, &end) != 3 || !end)
            return false;
    }
    if (text[end] != '\0' && text[end] != ',')
        return false;
    snprintf(name, size, "%04x:%02x:%02x.%x", domain, bus, device, function);
    return true;
}

// The value of `key=` among the arguments of a device.
static bool argument(const char *text, const char *key, char *value, size_t size)
{
    size_t key_len = strlen(key);
    for (const char *at = strchr(text, ','); at; at = strchr(at, ',')) {
        at++;
        if (strncmp(at, key, key_len) != 0 || at[key_len] != '=')
            continue;
        at += key_len + 1;
        snprintf(value, size, "%.*s", (int)strcspn(at, ","), at);
        return true;
    }
    return false;
}

static bool parse_device(struct nic *nic, const char *text)
{
    struct nic_device *d = &nic->device[nic->n_devices];
    *d = (struct nic_device){.queues = 1};
    if (strlen(text) >= sizeof(d->text) || strcspn(text, ",") >= sizeof(d->name))
        return nic_error(nic, "nic-device %.64s…: too long", text);
    char pci[16];
    d->pci = parse_pci(text, pci, sizeof(pci));
    if (d->pci) {
        const char *arguments = strchr(text, ',');
        snprintf(d->name, sizeof(d->name), "%s", pci);
        snprintf(d->text, sizeof(d->text), "%s%.200s", pci, arguments ? arguments : "");
    } else {
        snprintf(d->text, sizeof(d->text), "%s", text);
        snprintf(d->name, sizeof(d->name), "%.*s", (int)strcspn(text, ","), text);
    }
    if (!d->pci && strncmp(d->name, "net_", 4) != 0 && strncmp(d->name, "eth_", 4) != 0)
        return nic_error(nic,
                         "nic-device %s: neither a PCI address (0000:3b:00.0) nor a virtual device "
                         "(net_af_xdp0,iface=eth1 or net_tap0,iface=plx0)",
                         d->name);
    argument(text, "iface", d->iface, sizeof(d->iface));
    d->af_xdp = strncmp(d->name, "net_af_xdp", 10) == 0;
    d->tap = strncmp(d->name, "net_tap", 7) == 0;
    d->memif = strncmp(d->name, "net_memif", 9) == 0;
    for (unsigned i = 0; i < nic->n_devices; i++)
        if (strcmp(nic->device[i].name, d->name) == 0)
            return nic_error(nic, "nic-device %s is named twice", d->name);
    nic->n_devices++;
    return host_check_device(nic, d);
}

// One AF_XDP device has one queue here: an interface with several gets a device for each.
static bool spread_af_xdp(struct nic *nic)
{
    struct nic_device *first = &nic->device[0];
    char value[16];
    if (nic->n_devices != 1 || !first->af_xdp || argument(first->text, "start_queue", value, 16) ||
        argument(first->text, "queue_count", value, 16))
        return true;
    unsigned n = host_interface_queues(first->iface);
    if (n > nic->options.queues)
        log_warning(
            "The interface %s has %u receive queues for %u cores: what arrives on the others "
            "goes to the kernel. Run ethtool -L %s combined %u",
            first->iface, n, nic->options.queues, first->iface, nic->options.queues);
    if (n > nic->options.queues)
        n = nic->options.queues;
    if (n > NIC_DEVICES_MAX)
        n = NIC_DEVICES_MAX;
    if (n < 2)
        return true;
    char name[32], arguments[128];
    int length = snprintf(name, sizeof(name), "%s", first->name);
    int more = snprintf(arguments, sizeof(arguments), "%s", strchr(first->text, ','));
    if (length >= (int)sizeof(name) || more >= (int)sizeof(arguments))
        return nic_error(nic, "nic-device %s: too long", first->name);
    for (unsigned i = 1; i < n; i++) {
        struct nic_device *d = &nic->device[nic->n_devices++];
        *d = *first;
        d->reserved = 0; // the first stands for the interface
        snprintf(d->name, sizeof(d->name), "%s_q%u", name, i);
        snprintf(d->text, sizeof(d->text), "%s_q%u%s,start_queue=%u", name, i, arguments, i);
    }
    strcat(first->text, ",start_queue=0");
    return true;
}

// How many queue pairs each device is asked for: as evenly as can be, the first ones one more.
static bool spread_queues(struct nic *nic)
{
    unsigned queues = nic->options.queues, devices = nic->n_devices;
    if (devices > queues)
        return nic_error(nic,
                         "%u devices for %u cores: a core polls one queue, so name at most as many "
                         "nic-devices as cores",
                         devices, queues);
    for (unsigned i = 0; i < devices; i++)
        nic->device[i].queues = queues / devices + (i < queues % devices);
    return true;
}

static void compute_memory(struct nic *nic)
{
    bool af_xdp = false;
    size_t rx = 0;
    for (unsigned i = 0; i < nic->n_devices; i++) {
        af_xdp = af_xdp || nic->device[i].af_xdp;
        size_t bytes = port_object_bytes(
            port_rx_data_room(nic, &nic->device[i], port_may_join(&nic->device[i])));
        rx = bytes > rx ? bytes : rx;
    }
    nic->rx_frames = nic->options.rx_frames;
    if (!nic->rx_frames)
        nic->rx_frames = af_xdp ? NIC_RX_FRAMES_AF_XDP : NIC_RX_FRAMES;
    nic->tx_frames = nic->options.tx_frames ? nic->options.tx_frames : NIC_TX_FRAMES;
    // Whether a port cuts segments is known only when it is open: count for the larger of both.
    size_t plain = port_object_bytes(port_tx_data_room(nic, false));
    size_t tso = port_object_bytes(port_tx_data_room(nic, true));
    size_t rx_bytes = rx * nic->rx_frames;
    if (nic->options.memory_mb) {
        uint64_t each = ((uint64_t)nic->options.memory_mb << 20) / nic->options.queues;
        uint64_t left = each > rx_bytes ? (each - rx_bytes) / plain : 0;
        if (left < nic->tx_frames)
            nic->tx_frames = left < NIC_FRAMES_MIN ? NIC_FRAMES_MIN : (unsigned)left;
    }
    size_t tx_bytes = plain * nic->tx_frames;
    unsigned tso_frames = nic->tx_frames < NIC_TSO_FRAMES ? nic->tx_frames : NIC_TSO_FRAMES;
    if (!af_xdp && tso * tso_frames > tx_bytes)
        tx_bytes = tso * tso_frames;
    // A pool's ring, and what is lost at the ends of pages.
    nic->memory_bytes = (rx_bytes + tx_bytes) / 8 * 9 * nic->options.queues;
}

static bool choose_pages(struct nic *nic)
{
    uint64_t size = host_hugepage_size(), free_bytes = host_free_hugepages();
    uint64_t needed = nic->memory_bytes + ((uint64_t)NIC_MEMORY_OVERHEAD_MB << 20);
    unsigned long pages = (unsigned long)((needed + size - 1) / size);
    nic->info.huge_pages = free_bytes >= needed && nic->options.huge_pages != NIC_HUGE_NO;
    if (nic->info.huge_pages || nic->options.huge_pages == NIC_HUGE_NO)
        return true;
    if (nic->options.huge_pages == NIC_HUGE_YES)
        return nic_error(nic,
                         "huge-pages yes: %lu free pages of %lu kB are needed and there are %lu; "
                         "run sysctl -w vm.nr_hugepages=%lu",
                         pages, (unsigned long)(size >> 10), (unsigned long)(free_bytes / size),
                         pages);
    log_warning("There are too few hugepages (%lu free, %lu needed): frames lie in ordinary pages, "
                "which is slower. To change this: sysctl -w vm.nr_hugepages=%lu",
                (unsigned long)(free_bytes / size), pages, pages);
    return true;
}

static bool open_all(struct nic *nic)
{
    for (unsigned i = 0; i < nic->options.n_devices; i++)
        if (!parse_device(nic, nic->options.devices[i]))
            return false;
    if (nic->n_devices == 0)
        return nic_error(nic, "transport dpdk needs a nic-device (or use transport socket)");
    if (!spread_af_xdp(nic) || !spread_queues(nic))
        return false;
    // The size of pages decides the layout of pools, and that how much memory they need.
    nic->info.huge_pages = nic->options.huge_pages != NIC_HUGE_NO;
    compute_memory(nic);
    if (!choose_pages(nic))
        return false;
    compute_memory(nic);
    return eal_start(nic);
}

static bool start_all(struct nic *nic)
{
    for (unsigned i = 0; i < nic->n_devices; i++)
        if (!port_probe(nic, &nic->device[i])) {
            nic->n_devices = i;
            return false;
        }
    for (unsigned i = 0; i < nic->n_devices; i++)
        if (!port_start_device(nic, &nic->device[i]))
            return false;
    return true;
}

struct nic *nic_open(const struct nic_options *options, char *error, size_t error_size)
{
    struct nic *nic = calloc(1, sizeof(*nic));
    unsigned queues = options->queues ? options->queues : 1;
    struct port *port = calloc(queues, sizeof(*port));
    if (!nic || !port) {
        snprintf(error, error_size, "nic: out of memory");
        free(nic);
        free(port);
        return NULL;
    }
    nic->options = *options;
    nic->options.queues = queues;
    nic->port = port;
    nic->error = error;
    nic->error_size = error_size;
    if (!open_all(nic)) {
        for (unsigned i = 0; i < nic->n_devices; i++)
            host_release_device(&nic->device[i]);
        free(port);
        free(nic);
        return NULL;
    }
    if (!start_all(nic)) {
        nic_close(nic);
        return NULL;
    }
    nic->info.queues = nic->n_ports;
    // What spreads flows over several devices is before them: a switch, or a kernel.
    if (nic->n_devices > 1 || !nic->spread.known)
        spread_invent(&nic->spread, nic->n_ports);
    nic->info.spread_known = nic->spread.known;
    if (nic->n_ports < queues)
        log_warning("The NIC has %u queue%s for %u cores: the other cores get their work from %s",
                    nic->n_ports, nic->n_ports == 1 ? "" : "s", queues,
                    nic->n_ports == 1 ? "that one" : "those");
    eal_remove_files();
    eal_opened();
    return nic;
}

void nic_close(struct nic *nic)
{
    if (!nic)
        return;
    for (unsigned i = 0; i < nic->n_devices; i++)
        port_stop_device(&nic->device[i]);
    for (unsigned i = 0; i < nic->n_devices; i++)
        host_release_device(&nic->device[i]);
    for (unsigned i = 0; i < nic->n_ports; i++)
        port_free_pools(&nic->port[i]);
    eal_stop();
    free(nic->port);
    free(nic);
}

const struct nic_info *nic_info(const struct nic *nic)
{
    return &nic->info;
}

unsigned nic_queue_of(const struct nic *nic, const struct endpoint *local,
                      const struct endpoint *remote)
{
    return spread_queue(&nic->spread, local, remote);
}

struct port *nic_port(struct nic *nic, unsigned index)
{
    return index < nic->n_ports ? &nic->port[index] : NULL;
}

int nic_kernel_addresses(const struct nic *nic, struct nic_address *addresses, unsigned max)
{
    if (!nic->device[0].af_xdp)
        return -ENOENT;
    return host_interface_addresses(nic->device[0].iface, addresses, max);
}
