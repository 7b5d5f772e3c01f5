// What no single option can say: combinations that make no sense together, and what is given in
// vain.
#include "config/internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CLUSTER_BUS_OFFSET = 10000, // the bus port is this much above `port` when it is not given
    RUNTIME_DIR_MAX = 80,       // leaves room for a socket's name below it in a sockaddr_un
    MTU_MIN = 576,              // RFC 791: what every host must take
    MTU_MIN_6 = 1280,           // RFC 8200 5
    MULTICAST_4 = 224,          // the first byte from which no IPv4 address is a host's
    PREFIX_WHOLE_MAX = 30,      // longer prefixes of IPv4 have no address for all hosts
    FRAMES_MIN = 1024,          // of a pool: fewer cannot be made beside the cache of a core
    ADDRESSES_MAX = 16,         // of the stack
    NEIGHBOURS_MAX = 16,        // that are given to it
    ACCOUNT_SIZE_MAX = 16384,   // strings of an entry of passwd
    MEMORY_TINY = 1 << 20,      // a maxmemory below this is a forgotten unit
};

struct complaint {
    char *error;
    size_t error_size;
};

static int complain(const struct complaint *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static int complain(const struct complaint *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->error, c->error_size, format, arguments);
    va_end(arguments);
    return -1;
}

static bool is_given(const struct config *c, const char *name)
{
    return c->given[config_index(config_find_option(name))];
}

struct address {
    int family;
    unsigned prefix, prefix_max;
    uint8_t bytes[sizeof(struct in6_addr)];
};

static bool parse_address(const char *text, struct address *a)
{
    a->family = strchr(text, ':') ? AF_INET6 : AF_INET;
    a->prefix_max = a->family == AF_INET6 ? 128 : 32;
    return inet_pton(a->family, text, a->bytes) == 1;
}

static bool parse_address_prefix(const char *text, struct address *a)
{
    char host[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    int64_t prefix;
    if (!slash || (size_t)(slash - text) >= sizeof(host))
        return false;
    snprintf(host, (size_t)(slash - text) + 1, "%s", text);
    if (!parse_address(host, a) || !value_parse_integer(slash + 1, &prefix) || prefix < 1 ||
        prefix > a->prefix_max)
        return false;
    a->prefix = (unsigned)prefix;
    return true;
}

static bool same_network(const struct address *a, const struct address *network)
{
    if (a->family != network->family)
        return false;
    for (unsigned bit = 0; bit < network->prefix; bit++) {
        if ((a->bytes[bit / 8] ^ network->bytes[bit / 8]) & (0x80 >> bit % 8))
            return false;
    }
    return true;
}

// Whether a host can have the address as its own.
static bool unicast(const struct address *a)
{
    if (a->family == AF_INET)
        return a->bytes[0] != 0 && a->bytes[0] != IN_LOOPBACKNET && a->bytes[0] < MULTICAST_4;
    struct in6_addr six;
    memcpy(&six, a->bytes, sizeof(six));
    return !IN6_IS_ADDR_MULTICAST(&six) && !IN6_IS_ADDR_UNSPECIFIED(&six) &&
           !IN6_IS_ADDR_LOOPBACK(&six) && !IN6_IS_ADDR_V4MAPPED(&six);
}

// Whether the address names its IPv4 network, or all hosts in it: the host's bits are all alike.
// Networks of two addresses have neither (RFC 3021).
static bool whole_network(const struct address *a)
{
    if (a->family != AF_INET || a->prefix > PREFIX_WHOLE_MAX)
        return false;
    unsigned ones = 0;
    for (unsigned bit = a->prefix; bit < a->prefix_max; bit++)
        ones += a->bytes[bit / 8] >> (7 - bit % 8) & 1;
    return ones == 0 || ones == a->prefix_max - a->prefix;
}

static bool link_local(const struct address *a)
{
    return a->family == AF_INET6 && a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

// A router is a neighbour: in the network of an address, or by its address of the link.
static bool reached(const struct address *router, const char *const *words, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct address a;
        if (parse_address_prefix(words[i], &a) &&
            (same_network(router, &a) || (a.family == AF_INET6 && link_local(router))))
            return true;
    }
    return n == 0; // the kernel's interface may have such an address
}

static bool is_own(const struct address *router, const char *const *words, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct address a;
        if (parse_address_prefix(words[i], &a) && a.family == router->family &&
            !memcmp(a.bytes, router->bytes, a.prefix_max / 8))
            return true;
    }
    return false;
}

static int check_gateways(const struct config *c, const struct complaint *e)
{
    const char *const *addresses, *const *gateways;
    unsigned n = config_list(c, "nic-address", &addresses);
    unsigned n_gateways = config_list(c, "nic-gateway", &gateways);
    int family = 0;
    for (unsigned i = 0; i < n_gateways; i++) {
        struct address router;
        if (!parse_address(gateways[i], &router))
            return complain(e, "'nic-gateway %.60s' is no address; write one as 10.9.0.254",
                            gateways[i]);
        if (i && (n_gateways > 2 || router.family == family))
            return complain(e, "'nic-gateway' names several routers of one family; name one of "
                               "each at most");
        family = router.family;
        if (!reached(&router, addresses, n))
            return complain(e,
                            "'nic-gateway %.60s' lies outside the network of 'nic-address'; a "
                            "router must be a neighbour",
                            gateways[i]);
        if (!unicast(&router))
            return complain(e, "'nic-gateway %.60s' is no single host's address; name the router's",
                            gateways[i]);
        if (is_own(&router, addresses, n))
            return complain(e,
                            "'nic-gateway %.60s' is an address of 'nic-address', which is the "
                            "server's own; name the router's",
                            gateways[i]);
    }
    return 0;
}

static int check_neighbours(const struct config *c, const struct complaint *e)
{
    const char *const *words;
    unsigned n = config_list(c, "nic-neighbour", &words);
    if (n > NEIGHBOURS_MAX)
        return complain(e, "'nic-neighbour' names %u neighbours; %d are the most", n,
                        NEIGHBOURS_MAX);
    for (unsigned i = 0; i < n; i++) {
        char host[INET6_ADDRSTRLEN] = "";
        struct address a;
        unsigned mac[6];
        int end = 0;
        const char *equals = strchr(words[i], '=');
        if (equals && (size_t)(equals - words[i]) < sizeof(host))
            snprintf(host, (size_t)(equals - words[i]) + 1, "%s", words[i]);
        if (!equals || !parse_address(host, &a) ||
            sscanf(equals + 1, "%2x:%2x:%2x:%2x:%2x:%2x%n", &mac[0], &mac[1], &mac[2], &mac[3],
                   &mac[4], &mac[5], &end) != 6 ||
            equals[1 + end] || (mac[0] & 1))
            return complain(e,
                            "'nic-neighbour %.80s' is no address with a hardware address; write "
                            "10.9.0.254=02:00:00:00:00:01",
                            words[i]);
    }
    return 0;
}

static int check_addresses(const struct config *c, const struct complaint *e)
{
    const char *const *words;
    unsigned n = config_list(c, "nic-address", &words);
    int64_t mtu = config_integer(c, "nic-mtu");
    if (n > ADDRESSES_MAX)
        return complain(e, "'nic-address' names %u addresses; %d are the most", n, ADDRESSES_MAX);
    for (unsigned i = 0; i < n; i++) {
        struct address a;
        if (!parse_address_prefix(words[i], &a))
            return complain(e,
                            "'nic-address %.60s' is no address with a prefix; write one as "
                            "10.9.0.1/24 or fd00::1/64",
                            words[i]);
        if (!unicast(&a))
            return complain(e,
                            "'nic-address %.60s' is no address that a host can have (loopback, "
                            "multicast, broadcast or unspecified); give it one of its network",
                            words[i]);
        if (whole_network(&a))
            return complain(e,
                            "'nic-address %.60s' stands for the whole network (its first or last "
                            "address); give it one between",
                            words[i]);
        for (unsigned k = 0; k < i; k++) {
            if (!strcmp(words[i], words[k]))
                return complain(e, "'nic-address' names %.60s twice; name it once", words[i]);
        }
        if (a.family == AF_INET6 && mtu && mtu < MTU_MIN_6)
            return complain(e,
                            "'nic-mtu %d' is too small for IPv6; give at least %d, or 0 for the "
                            "device's",
                            (int)mtu, MTU_MIN_6);
    }
    return check_neighbours(c, e) ? -1 : check_gateways(c, e);
}

static int check_dpdk(const struct config *c, const struct complaint *e)
{
    const char *const *devices, *const *addresses;
    unsigned n = config_list(c, "nic-device", &devices);
    if (!n)
        return complain(e, "'transport dpdk' needs a device; add 'nic-device' with a PCI address "
                           "(0000:3b:00.0) or a virtual device (net_af_xdp0,iface=eth1)");
    bool kernel_knows = true; // the kernel's interface below each device has an address to take
    for (unsigned i = 0; i < n; i++) {
        kernel_knows &= !strncmp(devices[i], "net_af_xdp", strlen("net_af_xdp"));
        for (unsigned k = 0; k < i; k++) {
            if (!strcmp(devices[i], devices[k]))
                return complain(e, "'nic-device' names %.80s twice; name it once", devices[i]);
        }
    }
    if (!config_list(c, "nic-address", &addresses) && !kernel_knows)
        return complain(e, "'transport dpdk' needs an address; add 'nic-address' with a prefix, as "
                           "10.9.0.1/24");
    int64_t mtu = config_integer(c, "nic-mtu");
    if (mtu && mtu < MTU_MIN)
        return complain(e, "'nic-mtu %d' is too small; give at least %d, or 0 for the device's",
                        (int)mtu, MTU_MIN);
    static const char *const frames[] = {"nic-rx-frames", "nic-tx-frames"};
    for (unsigned i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        int64_t n_frames = config_integer(c, frames[i]);
        if (n_frames && n_frames < FRAMES_MIN)
            return complain(e, "'%s %d' is too small; give at least %d, or 0 for the driver's",
                            frames[i], (int)n_frames, FRAMES_MIN);
    }
    return check_addresses(c, e);
}

static int check_socket(const struct config *c, const struct complaint *e)
{
    static const char *const of_dpdk[] = {"nic-device",
                                          "nic-address",
                                          "nic-gateway",
                                          "nic-mtu",
                                          "nic-vlan",
                                          "nic-rx-frames",
                                          "nic-tx-frames",
                                          "nic-trust-partial-checksums",
                                          "nic-neighbour",
                                          "nic-router-advertisements",
                                          "nic-duplicate-probes"};
    const struct config_option *options = config_options(&(unsigned){0});
    for (unsigned i = 0; i < sizeof(of_dpdk) / sizeof(of_dpdk[0]); i++) {
        const struct config_option *o = config_find_option(of_dpdk[i]);
        const char *value = c->values[o - options]->text;
        if (strcmp(value, o->initial))
            return complain(e,
                            "'%s' belongs to 'transport dpdk', but the transport is 'socket'; add "
                            "'transport dpdk' or remove it",
                            o->name);
    }
    return 0;
}

static int check_ports(const struct config *c, const struct complaint *e)
{
    int64_t port = config_integer(c, "port"), tls = config_integer(c, "tls-port");
    if (!port && !tls && !*config_string(c, "unixsocket"))
        return complain(
            e, "'port 0' without 'tls-port' or 'unixsocket' leaves nothing to listen on; give one");
    if (tls && tls == port)
        return complain(e, "'tls-port' and 'port' are both %d; a port serves one of them",
                        (int)port);
    if (tls && (!*config_string(c, "tls-cert-file") || !*config_string(c, "tls-key-file")))
        return complain(e, "'tls-port' needs a certificate; add 'tls-cert-file' and "
                           "'tls-key-file'");
    if (strlen(config_string(c, "unixsocket")) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return complain(e,
                        "'unixsocket' is longer than %zu bytes, all that the kernel takes; "
                        "choose a shorter path",
                        sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    return 0;
}

static int check_cluster(const struct config *c, const struct complaint *e)
{
    const char *const *words;
    if (!config_bool(c, "cluster-enabled"))
        return 0;
    if (config_list(c, "replicaof", &words))
        return complain(e, "'replicaof' cannot stand beside 'cluster-enabled yes'; the cluster "
                           "says who follows whom");
    if (!config_integer(c, "cluster-port") &&
        config_integer(c, "port") + CLUSTER_BUS_OFFSET > UINT16_MAX)
        return complain(e,
                        "'port %d' leaves no room for the cluster bus at port + %d; take a port "
                        "below %d or give 'cluster-port'",
                        (int)config_integer(c, "port"), CLUSTER_BUS_OFFSET,
                        UINT16_MAX + 1 - CLUSTER_BUS_OFFSET);
    return 0;
}

static int check_process(const struct config *c, const struct complaint *e)
{
    const char *const *words;
    const char *name = config_string(c, "run-as-user"), *run = config_string(c, "runtime-dir");
    if (strlen(run) > RUNTIME_DIR_MAX)
        return complain(e,
                        "'runtime-dir' is longer than %d bytes, which leaves no room for the "
                        "sockets in it; choose a shorter path",
                        RUNTIME_DIR_MAX);
    if (*config_string(c, "aclfile") && config_multi(c, "user", 0, &words))
        return complain(e, "'user' lines cannot stand beside 'aclfile'; move them into that file");
    if (!*name)
        return 0;
    struct passwd space, *account = NULL;
    char strings[ACCOUNT_SIZE_MAX];
    if (getpwnam_r(name, &space, strings, sizeof(strings), &account) || !account)
        return complain(e,
                        "'run-as-user %.60s' names no account of this machine; create it with "
                        "'adduser --system --group %.60s'",
                        name, name);
    if (geteuid() != 0 && geteuid() != account->pw_uid)
        return complain(e,
                        "'run-as-user %.60s' needs root to change to it; start as root or "
                        "remove it",
                        name);
    return 0;
}

int config_validate(const struct config *c, char *error, size_t error_size)
{
    enum { DPDK = 1 }; // index in the words of `transport`
    struct complaint e = {error, error_size};
    if (config_integer(c, "transport") == DPDK ? check_dpdk(c, &e) : check_socket(c, &e))
        return -1;
    if (config_check_cores(c, error, error_size))
        return -1;
    return check_ports(c, &e) || check_cluster(c, &e) || check_process(c, &e) ? -1 : 0;
}

void config_warn(const struct config *c, void (*each)(void *context, const char *line),
                 void *context)
{
    unsigned n;
    const struct config_option *options = config_options(&n);
    char line[512];
    for (unsigned i = 0; i < n; i++) {
        const struct config_option *o = &options[i];
        const char *cause = strstr(o->help, "Has no effect");
        bool lines = c->values[i]->n_lines && (o->flags & CONFIG_FILE_ONLY);
        if (!c->given[i] || (!lines && config_is_initial(c, o)))
            continue;
        if ((o->flags & CONFIG_INERT) && cause)
            snprintf(line, sizeof(line), "'%s' is accepted. %s", o->name, cause);
        else if (o->flags & CONFIG_LATER)
            snprintf(line, sizeof(line),
                     "'%s' is accepted and kept, but the part that uses it is not built yet.",
                     o->name);
        else
            continue;
        each(context, line);
    }
    int64_t maxmemory = config_integer(c, "maxmemory");
    if (maxmemory && maxmemory < MEMORY_TINY) {
        snprintf(line, sizeof(line),
                 "'maxmemory' is %lld bytes, which holds next to nothing; a unit may be missing "
                 "(as in 100mb).",
                 (long long)maxmemory);
        each(context, line);
    }
    if (strcmp(config_get(c, "transport"), "socket") == 0 &&
        !config_is_initial(c, config_find_option("tcp-congestion-control"))) {
        snprintf(line, sizeof(line),
                 "'tcp-congestion-control' is of transport dpdk; for transport socket set the "
                 "kernel's: sysctl net.ipv4.tcp_congestion_control.");
        each(context, line);
    }
    if (is_given(c, "bind") && !c->values[config_index(config_find_option("bind"))]->n_words) {
        snprintf(line, sizeof(line), "'bind' is empty: no TCP port is open.");
        each(context, line);
    } else if (strcmp(config_get(c, "transport"), "dpdk") == 0 &&
               !config_is_initial(c, config_find_option("bind"))) {
        snprintf(line, sizeof(line),
                 "'bind' is of transport socket; with transport dpdk the server listens on all of "
                 "'nic-address'.");
        each(context, line);
    }
}
