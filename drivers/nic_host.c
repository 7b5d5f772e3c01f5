// The kernel's side of ports: what can be known of a device before DPDK is asked, so that a mistake
// is answered with what to do about it.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/capability.h>
#include <linux/if_addr.h>
#include <linux/if_tun.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "drivers/nic_internal.h"

static bool has_capability(unsigned capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    if (syscall(SYS_capget, &header, data) < 0)
        return true; // not known: let the kernel decide
    return data[capability / 32].effective >> (capability % 32) & 1;
}

static long read_number(const char *path)
{
    FILE *f = fopen(path, "re");
    long n = -1;
    if (!f)
        return -1;
    if (fscanf(f, "%li", &n) != 1) // sysfs writes flags with 0x
        n = -1;
    fclose(f);
    return n;
}

// The name that a symbolic link in sysfs ends with, "" if there is none.
static void link_name(const char *path, char *name, size_t size)
{
    char target[512];
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    target[n < 0 ? 0 : n] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(name, size, "%.60s", slash ? slash + 1 : target);
}

static bool check_pci(struct nic *nic, const struct nic_device *d)
{
    char path[256], driver[64];
    struct stat st;
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", d->name);
    if (stat(path, &st) < 0)
        return nic_error(nic,
                         "nic-device %s: there is no such PCI device (dpdk-devbind.py --status "
                         "lists them)",
                         d->name);
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", d->name);
    link_name(path, driver, sizeof(driver));
    // Mellanox and Microsoft devices are shared with their kernel driver.
    static const char *const usable[] = {"vfio-pci",  "igb_uio",   "uio_pci_generic",
                                         "mlx4_core", "mlx5_core", "mana"};
    for (size_t i = 0; i < sizeof(usable) / sizeof(usable[0]); i++)
        if (strcmp(driver, usable[i]) == 0)
            return true;
    if (driver[0])
        return nic_error(nic,
                         "nic-device %s: it belongs to the kernel driver %s; take it away with "
                         "dpdk-devbind.py --bind=vfio-pci %s",
                         d->name, driver, d->name);
    return nic_error(nic,
                     "nic-device %s: it is bound to no driver; run modprobe vfio-pci and "
                     "dpdk-devbind.py --bind=vfio-pci %s",
                     d->name, d->name);
}

static bool check_rights(struct nic *nic, const struct nic_device *d)
{
    static const struct {
        unsigned capability;
        const char *name;
        bool af_xdp_only;
    } needed[] = {{CAP_NET_ADMIN, "CAP_NET_ADMIN", false},
                  {CAP_NET_RAW, "CAP_NET_RAW", true},
                  {CAP_BPF, "CAP_BPF", true}};
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (needed[i].af_xdp_only && !d->af_xdp)
            continue;
        // Before CAP_BPF there was CAP_SYS_ADMIN, which still includes it.
        if (has_capability(needed[i].capability) ||
            (needed[i].capability == CAP_BPF && has_capability(CAP_SYS_ADMIN)))
            continue;
        return nic_error(nic, "nic-device %s: the right %s is missing; start the server as root",
                         d->name, needed[i].name);
    }
    return true;
}

// A TAP interface that does not persist lives as long as a process has it. A second one would be
// let in as more queues of the same interface, and take frames and address away from the first.
static bool check_tap(struct nic *nic, const struct nic_device *d)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/class/net/%.16s/tun_flags", d->iface);
    long flags = d->iface[0] ? read_number(path) : -1;
    if (flags >= 0 && !(flags & IFF_PERSIST))
        return nic_error(nic,
                         "nic-device %s: another process has the interface %s (a server that still "
                         "runs?); name another with iface=",
                         d->name, d->iface);
    return true;
}

// Opening an AF_XDP device takes its interface away from whoever has it: a driver that fails
// detaches the other's program. A name in the network namespace stands for the interface, and goes
// with its process, however that ends.
static bool reserve_interface(struct nic *nic, struct nic_device *d)
{
    for (const struct nic_device *other = nic->device; other < d; other++)
        if (other->af_xdp && strcmp(other->iface, d->iface) == 0)
            return true;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int n = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "pollux-interface-%u",
                     if_nametoindex(d->iface));
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&name, len) == 0) {
        d->reserved = fd;
        return true;
    }
    bool taken = errno == EADDRINUSE;
    if (fd >= 0)
        close(fd);
    return nic_error(nic,
                     taken
                         ? "nic-device %s: another server has the interface %s; stop it, or name "
                           "another interface with iface="
                         : "nic-device %s: the interface %s cannot be reserved (no sockets left?)",
                     d->name, d->iface);
}

void host_release_device(struct nic_device *d)
{
    if (d->reserved)
        close(d->reserved);
    d->reserved = 0;
}

bool host_check_device(struct nic *nic, struct nic_device *d)
{
    if (d->pci)
        return check_pci(nic, d);
    bool on_interface = d->af_xdp || strncmp(d->name, "net_af_packet", 13) == 0;
    if (on_interface && d->iface[0] == '\0')
        return nic_error(nic, "nic-device %s: it needs an interface: %s,iface=NAME", d->name,
                         d->name);
    if (on_interface && if_nametoindex(d->iface) == 0)
        return nic_error(nic, "nic-device %s: there is no interface %s (ip link lists them)",
                         d->name, d->iface);
    if (d->tap && !check_tap(nic, d))
        return false;
    if (d->af_xdp && !reserve_interface(nic, d))
        return false;
    if (on_interface || d->tap)
        return check_rights(nic, d);
    return true;
}

unsigned host_interface_queues(const char *iface)
{
    char path[128];
    unsigned n = 0;
    snprintf(path, sizeof(path), "/sys/class/net/%s/queues", iface);
    DIR *dir = opendir(path);
    if (!dir)
        return 1;
    for (const struct dirent *e; (e = readdir(dir));)
        n += strncmp(e->d_name, "rx-", 3) == 0;
    closedir(dir);
    return n ? n : 1;
}

unsigned host_interface_mtu(const char *iface)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/class/net/%s/mtu", iface);
    long n = read_number(path);
    return n > 0 ? (unsigned)n : 0;
}

uint64_t host_hugepage_size(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    unsigned long kb = 2048;
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "Hugepagesize: %lu kB", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return (uint64_t)kb * 1024;
}

uint64_t host_free_hugepages(void)
{
    uint64_t bytes = 0;
    DIR *dir = opendir("/sys/kernel/mm/hugepages");
    if (!dir)
        return 0;
    for (const struct dirent *e; (e = readdir(dir));) {
        unsigned long kb;
        char path[512];
        if (sscanf(e->d_name, "hugepages-%lukB", &kb) != 1)
            continue;
        snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/%s/free_hugepages", e->d_name);
        long n = read_number(path);
        if (n > 0)
            bytes += (uint64_t)n * kb * 1024;
    }
    closedir(dir);
    return bytes;
}

int host_cpu_node(int cpu)
{
    char path[64];
    int node = -1;
    if (cpu < 0)
        return -1;
    snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d", cpu);
    DIR *dir = opendir(path);
    if (!dir)
        return -1;
    for (const struct dirent *e; node < 0 && (e = readdir(dir));)
        if (sscanf(e->d_name, "node%d", &node) != 1)
            node = -1;
    closedir(dir);
    return node;
}

// The kernel's table says more of IPv6 addresses than getifaddrs does.
static unsigned host_addresses_6(const char *iface, struct nic_address *addresses, unsigned max)
{
    FILE *f = fopen("/proc/self/net/if_inet6", "re");
    char hex[33], name[IFNAMSIZ];
    unsigned n = 0, prefix, flags;
    while (f && n < max && fscanf(f, "%32s %*x %x %*x %x %15s", hex, &prefix, &flags, name) == 4) {
        if (strcmp(name, iface) != 0 || strlen(hex) != 32 ||
            (flags & (IFA_F_TEMPORARY | IFA_F_DEPRECATED | IFA_F_DADFAILED)))
            continue;
        struct nic_address *a = &addresses[n++];
        *a = (struct nic_address){.family = 6, .prefix = (uint8_t)prefix};
        for (unsigned i = 0; i < 16; i++) {
            char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};
            a->addr[i] = (uint8_t)strtoul(digits, NULL, 16);
        }
    }
    if (f)
        fclose(f);
    return n;
}

int host_interface_addresses(const char *iface, struct nic_address *addresses, unsigned max)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) < 0)
        return -errno;
    unsigned n = 0;
    for (const struct ifaddrs *a = all; a && n < max; a = a->ifa_next) {
        if (!a->ifa_addr || !a->ifa_netmask || a->ifa_addr->sa_family != AF_INET ||
            strcmp(a->ifa_name, iface) != 0)
            continue;
        uint32_t mask = ntohl(((struct sockaddr_in *)a->ifa_netmask)->sin_addr.s_addr);
        addresses[n] =
            (struct nic_address){.family = 4, .prefix = (uint8_t)__builtin_popcount(mask)};
        memcpy(addresses[n++].addr, &((struct sockaddr_in *)a->ifa_addr)->sin_addr, 4);
    }
    freeifaddrs(all);
    n += host_addresses_6(iface, addresses + n, max - n);
    return n ? (int)n : -ENOENT;
}

unsigned host_xdp_sockets(int *fds, unsigned max)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;
    if (!dir)
        return 0;
    for (const struct dirent *e; n < max && (e = readdir(dir));) {
        int fd = atoi(e->d_name), domain = 0;
        socklen_t size = sizeof(domain);
        if (e->d_name[0] != '.' && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
            domain == AF_XDP)
            fds[n++] = fd;
    }
    closedir(dir);
    return n;
}
