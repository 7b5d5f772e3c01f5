// What options mean together: bad combinations, and where the server is.
#include <arpa/inet.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "bench/options_internal.h"

bool options_parse_host(const char *text, struct endpoint *address)
{
    address->family = strchr(text, ':') ? 6 : 4;
    return inet_pton(address->family == 6 ? AF_INET6 : AF_INET, text, address->addr) == 1;
}

bool options_parse_address(const char *text, struct endpoint *address, uint8_t *prefix)
{
    char copy[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof(copy))
        return false;
    memcpy(copy, text, (size_t)(slash - text));
    copy[slash - text] = 0;
    char *end;
    long bits = strtol(slash + 1, &end, 10);
    if (*end || end == slash + 1 || !options_parse_host(copy, address) || bits < 1 ||
        bits > (address->family == 6 ? 128 : 32))
        return false;
    *prefix = (uint8_t)bits;
    return true;
}

struct complaint {
    char *error;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static bool bad(const struct complaint *c, const char *format,
                                                      ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(c->error, c->size, format, list);
    va_end(list);
    return false;
}

static bool look_up(const char *host, const struct addrinfo *hints, struct endpoint *to)
{
    struct addrinfo *found;
    if (getaddrinfo(host, NULL, hints, &found) != 0)
        return false;
    if (found->ai_family == AF_INET) {
        to->family = 4;
        memcpy(to->addr, &((struct sockaddr_in *)found->ai_addr)->sin_addr, 4);
    } else {
        to->family = 6;
        memcpy(to->addr, &((struct sockaddr_in6 *)found->ai_addr)->sin6_addr, 16);
    }
    freeaddrinfo(found);
    return true;
}

bool options_resolve(const char *host, struct endpoint *to)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    return look_up(host, &hints, to);
}

static bool resolve(struct options *o)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    if (o->transport == BENCH_DPDK) {
        hints.ai_flags = AI_NUMERICHOST;
    }
    o->server = (struct endpoint){.port = o->port};
    return look_up(o->host, &hints, &o->server);
}

static bool check_server(struct options *o, const struct options_said *said,
                         const struct complaint *c)
{
    if (o->user && !o->password)
        return bad(c, "--user %s: give the password with -a too", o->user);
    if (!o->tls && (o->ca_file || o->cert_file || o->key_file || o->insecure || o->sni))
        return bad(c, "%s belongs to TLS: give --tls too",
                   o->ca_file     ? "--cacert"
                   : o->cert_file ? "--cert"
                   : o->key_file  ? "--key"
                   : o->insecure  ? "--insecure"
                                  : "--sni");
    if (!o->cert_file != !o->key_file)
        return bad(c, "%s needs %s too", o->cert_file ? "--cert" : "--key",
                   o->cert_file ? "--key" : "--cert");
    if (o->unix_path) {
        if (o->transport == BENCH_DPDK)
            return bad(c, "--socket needs --transport socket: a UNIX socket is the kernel's");
        if (o->cluster)
            return bad(c, "--cluster with --socket: the nodes of a cluster are reached by address; "
                          "give -h and -p");
        if (strlen(o->unix_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
            return bad(c, "--socket %.64s…: the kernel takes paths below %zu bytes", o->unix_path,
                       sizeof(((struct sockaddr_un *)0)->sun_path));
        o->server = (struct endpoint){0};
        return true;
    }
    if (o->cluster && o->database)
        return bad(c, "--cluster with --db %u: a cluster has database 0 only", o->database);
    (void)said;
    if (!resolve(o))
        return bad(c, "--host %s: not an address that can be used%s", o->host,
                   o->transport == BENCH_DPDK ? " (give it in figures)" : "");
    struct endpoint ours;
    uint8_t prefix;
    if (o->transport == BENCH_DPDK && options_parse_address(o->nic_address, &ours, &prefix) &&
        ours.family != o->server.family)
        return bad(c, "--host %s with --nic-address %s: give two addresses of one family", o->host,
                   o->nic_address);
    return true;
}

static bool check_memcache(const struct options *o, const struct complaint *c)
{
    if (o->protocol != BENCH_MEMCACHE)
        return true;
    if (o->password || o->database || o->resp3 || o->cluster)
        return bad(c, "--protocol memcache: leave out %s, which memcached's text protocol has not",
                   o->password   ? "-a"
                   : o->database ? "--db"
                   : o->resp3    ? "-3"
                                 : "--cluster");
    if (o->n_commands)
        return bad(c, "--protocol memcache: leave out --command, which is for RESP");
    return true;
}

static bool check_load(struct options *o, const struct options_said *said,
                       const struct complaint *c)
{
    if (!said->threads && o->n_cpus)
        o->threads = o->n_cpus;
    if (o->n_cpus && o->n_cpus < o->threads)
        return bad(c, "--threads %u with %u CPU%s: name as many in --cpu", o->threads, o->n_cpus,
                   o->n_cpus == 1 ? "" : "s");
    if (o->connections < o->threads)
        return bad(c, "--connections %u with --threads %u: each thread needs one", o->connections,
                   o->threads);
    if (said->requests && said->duration)
        return bad(c, "--requests and --duration: give one of them");
    if (said->requests && o->requests < o->threads)
        return bad(c, "--requests %llu with --threads %u: each thread needs one",
                   (unsigned long long)o->requests, o->threads);
    if (said->arrivals && o->rate_from <= 0)
        return bad(c, "--arrivals is of an open loop: add --rate");
    return true;
}

static bool check_work(const struct options *o, const struct options_said *said,
                       const struct complaint *c)
{
    if (o->channels && (said->tests || o->n_commands || o->threads > 1 || o->cluster || o->resp3 ||
                        o->rate_from > 0 || o->data.kind != SIZES_FIXED))
        return bad(c, "--pubsub is a load of its own, of one thread and one size of data: leave "
                      "out --test, --command, --threads, --cluster, --resp3 and --rate");
    if (said->tests && o->n_commands)
        return bad(c, "--test and --command: give one of them");
    bool mixed = false;
    for (unsigned i = 0; i < o->n_tests; i++)
        mixed = mixed || !strcasecmp(o->tests[i], "mixed") || !strcasecmp(o->tests[i], "large");
    if (said->ratio && (o->n_commands || !mixed))
        return bad(c, "--ratio is of --test mixed and large: add one of them");
    return true;
}

static bool check_dpdk(const struct options *o, const struct complaint *c)
{
    struct endpoint ours, gateway;
    uint8_t prefix;
    if (o->transport != BENCH_DPDK) {
        if (o->n_nic_devices || o->nic_address || o->nic_gateway || o->congestion || o->no_huge ||
            o->syn_flood > 0)
            return bad(c, "%s is of --transport dpdk: add that",
                       o->n_nic_devices   ? "--nic-device"
                       : o->nic_address   ? "--nic-address"
                       : o->nic_gateway   ? "--nic-gateway"
                       : o->congestion    ? "--congestion"
                       : o->syn_flood > 0 ? "--syn-flood"
                                          : "--no-huge");
        return true;
    }
    if (!o->n_nic_devices || !o->nic_address)
        return bad(c, "--transport dpdk needs --nic-device and --nic-address");
    if (!options_parse_address(o->nic_address, &ours, &prefix))
        return bad(c,
                   "--nic-address %s: give an address and a prefix length, as in 10.9.0.2/24 or "
                   "fd00::2/64",
                   o->nic_address);
    if (o->nic_gateway &&
        (!options_parse_host(o->nic_gateway, &gateway) || gateway.family != ours.family))
        return bad(c, "--nic-gateway %s: give an address of the family of --nic-address",
                   o->nic_gateway);
    if (o->n_nic_devices > o->threads)
        return bad(c,
                   "%u --nic-device with --threads %u: a thread polls one queue, so name at "
                   "most as many devices as threads",
                   o->n_nic_devices, o->threads);
    return true;
}

bool options_check(struct options *o, const struct options_said *said, char *error,
                   size_t error_size)
{
    const struct complaint c = {error, error_size};
    return check_load(o, said, &c) && check_work(o, said, &c) && check_memcache(o, &c) &&
           check_dpdk(o, &c) && check_server(o, said, &c);
}
