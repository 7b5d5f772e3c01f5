#include "dataplane/core/addresses.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/log.h"
#include "drivers/nic.h"

#define MACHINE_ID \
    "/etc/machine-id" // machine-id(5): 32 hexadecimal digits, the same at every start

struct complaint {
    char *error;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static int fail(const struct complaint *c, const char *format,
                                                      ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(c->error, c->size, format, args);
    va_end(args);
    return -1;
}

// ADDRESS or ADDRESS/PREFIX; without a prefix it is the host's alone.
static int parse(const char *option, const char *word, struct net_address *a,
                 const struct complaint *c)
{
    char address[INET6_ADDRSTRLEN + 1];
    const char *slash = strchr(word, '/');
    size_t n = slash ? (size_t)(slash - word) : strlen(word);
    *a = (struct net_address){.family = strchr(word, ':') ? 6 : 4};
    long most = a->family == 6 ? 128 : 32;
    if (n >= sizeof(address))
        return fail(c, "%s: '%s' is no address", option, word);
    memcpy(address, word, n);
    address[n] = 0;
    if (inet_pton(a->family == 6 ? AF_INET6 : AF_INET, address, a->addr) != 1)
        return fail(c, "%s: '%s' is no address; write one as 10.9.0.1/24 or fd00::1/64", option,
                    word);
    char *end = NULL;
    long prefix = slash ? strtol(slash + 1, &end, 10) : most;
    if (prefix < 0 || prefix > most || (slash && (end == slash + 1 || *end)))
        return fail(c, "%s: the prefix of '%s' must be 0 to %ld", option, word, most);
    a->prefix = (uint8_t)prefix;
    return 0;
}

// Addresses that find no room in the text are left out as a whole.
static void name(const struct net_config *n, char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (unsigned i = 0; i < n->n_addresses; i++) {
        char address[INET6_ADDRSTRLEN], word[INET6_ADDRSTRLEN + 6];
        const struct net_address *a = &n->addresses[i];
        inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->addr, address, sizeof(address));
        size_t len =
            (size_t)snprintf(word, sizeof(word), "%s%s/%u", i ? " " : "", address, a->prefix);
        if (at + len + 1 > size)
            return;
        memcpy(text + at, word, len + 1);
        at += len;
    }
}

static int take_kernels(struct net_config *n, const struct nic *nic, const struct complaint *c)
{
    struct nic_address found[NET_ADDRESSES_MAX];
    int count = nic_kernel_addresses(nic, found, NET_ADDRESSES_MAX);
    if (count < 0)
        return fail(c, "nic-address is missing and the interface has none; add nic-address "
                       "ADDRESS/PREFIX");
    for (int i = 0; i < count; i++) {
        struct net_address *a = &n->addresses[n->n_addresses++];
        *a = (struct net_address){.family = found[i].family, .prefix = found[i].prefix};
        memcpy(a->addr, found[i].addr, sizeof(a->addr));
    }
    return 0;
}

static int read_gateways(struct net_config *n, const struct config *config,
                         const struct complaint *c)
{
    const char *const *words;
    unsigned count = config_list(config, "nic-gateway", &words);
    for (unsigned i = 0; i < count; i++) {
        struct net_address a;
        if (parse("nic-gateway", words[i], &a, c))
            return -1;
        *(a.family == 6 ? &n->gateway6 : &n->gateway) = a;
    }
    return 0;
}

// config_validate has looked at the form.
static int read_neighbours(struct net_config *n, const struct config *config,
                           const struct complaint *c)
{
    const char *const *words;
    unsigned count = config_list(config, "nic-neighbour", &words);
    for (unsigned i = 0; i < count && i < NET_KNOWN_NEIGHBOURS_MAX; i++) {
        struct net_known_neighbour *known = &n->neighbours[n->n_neighbours++];
        const char *equals = strchr(words[i], '=');
        char host[INET6_ADDRSTRLEN];
        size_t len = equals ? (size_t)(equals - words[i]) : sizeof(host);
        if (len >= sizeof(host))
            return fail(c, "nic-neighbour: '%s' is no neighbour", words[i]);
        memcpy(host, words[i], len);
        host[len] = 0;
        if (parse("nic-neighbour", host, &known->address, c))
            return -1;
        uint8_t *m = known->mac;
        if (sscanf(equals + 1, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &m[0], &m[1], &m[2], &m[3],
                   &m[4], &m[5]) != 6)
            return fail(c, "nic-neighbour: '%s' has no hardware address", words[i]);
    }
    return 0;
}

// What the address of the link is made from. Without a machine's identity it changes at each start.
static void read_stable_secret(uint8_t secret[16])
{
    FILE *f = fopen(MACHINE_ID, "re");
    unsigned got = 0;
    for (unsigned byte; f && got < 16 && fscanf(f, "%2x", &byte) == 1; got++)
        secret[got] = (uint8_t)byte;
    if (f)
        fclose(f);
    if (got < 16 && getrandom(secret, 16, 0) != 16)
        memset(secret, 0, 16);
}

int addresses_read(struct net_config *n, const struct config *config, const struct nic *nic,
                   char *text, size_t text_size, char *error, size_t error_size)
{
    const struct complaint c = {error, error_size};
    const char *const *words;
    unsigned count = config_list(config, "nic-address", &words);
    if (count > NET_ADDRESSES_MAX)
        return fail(&c, "nic-address: at most %d addresses", NET_ADDRESSES_MAX);
    for (unsigned i = 0; i < count; i++)
        if (parse("nic-address", words[i], &n->addresses[n->n_addresses++], &c))
            return -1;
    if (!count && take_kernels(n, nic, &c))
        return -1;
    if (read_gateways(n, config, &c) || read_neighbours(n, config, &c))
        return -1;
    n->router_advertisements = config_bool(config, "nic-router-advertisements");
    n->duplicate_probes = (uint8_t)config_integer(config, "nic-duplicate-probes");
    read_stable_secret(n->stable_secret);
    name(n, text, text_size);
    return 0;
}

bool addresses_near(const struct net_config *n, const struct endpoint *e)
{
    if (e->family == 6 && e->addr[0] == 0xfe && (e->addr[1] & 0xc0) == 0x80)
        return true; // an address of the link itself
    for (unsigned i = 0; i < n->n_addresses; i++) {
        const struct net_address *a = &n->addresses[i];
        unsigned bytes = a->prefix / 8, bits = a->prefix % 8;
        if (a->family == e->family && memcmp(a->addr, e->addr, bytes) == 0 &&
            (!bits || ((a->addr[bytes] ^ e->addr[bytes]) >> (8 - bits)) == 0))
            return true;
    }
    return false;
}

void addresses_conflict(void *context, const struct net_address *a, const uint8_t mac[6], bool lost)
{
    (void)context;
    char text[INET6_ADDRSTRLEN];
    inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->addr, text, sizeof(text));
    log_warning("The address %s belongs to another host as well (%02x:%02x:%02x:%02x:%02x:%02x)%s",
                text, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5],
                lost ? ": it is not used here" : "; give one of the two another");
}
