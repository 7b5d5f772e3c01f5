#include "bench/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/template.h"

const char options_help[] =
    "usage: pollux-bench [OPTION]...\n"
    "Loads a Redis or Pollux server and reports throughput and latency.\n"
    "\n"
    "  -h, --host ADDRESS     server (127.0.0.1)        -p, --port N       (6379)\n"
    "      --connections N    at once (50)                  --pipeline N   requests per batch (1)\n"
    "      --test LIST        of set,get,mixed,ping (set,get)\n"
    "      --command LINE     any command: {key} {random} {sequence} {data} stand for what "
    "changes;\n"
    "                         may be given several times, replaces --test\n"
    "      --duration S       seconds per test (5)          --requests N   instead of a duration\n"
    "      --data-size BYTES  of a value (64)               --keys N       16 bytes each "
    "(1000000)\n"
    "      --set-percent N    of `mixed` (50)               --seed N       of the random keys (1)\n"
    "      --fill             first SET every key once\n"
    "      --verify           compare the values that GET returns (they must come from here)\n"
    "      --stall S          give up after so long without a reply (10)\n"
    "      --json             report as JSON                --quiet        no progress\n"
    "\n"
    "      --transport T      socket: kernel TCP (default); dpdk: own TCP/IP on a DPDK device\n"
    "      --nic-device D     a PCI address or virtual device, as for pollux-server\n"
    "      --nic-address A/P  our address on it             --nic-gateway A\n"
    "      --no-huge          do not use hugepages          --cpu N        pin the thread\n"
    "\n"
    "Examples:\n"
    "  pollux-bench --fill --pipeline 16\n"
    "  pollux-bench --keys 1000 --command 'LPUSH list:{key} {data}' --command 'RPOP list:{key}'\n"
    "  pollux-bench --test get --requests 10000000 --cpu 1 --json\n"
    "  pollux-bench --transport dpdk --nic-address 10.9.0.2/24 -h 10.9.0.1 --cpu 1 --fill \\\n"
    "      --nic-device net_memif0,role=client,id=0,socket=/run/plx.sock,socket-abstract=no\n";

static const char *const test_names[] = {"set", "get", "mixed", "ping", "fill"};

const char *options_test_name(const struct options *o, enum bench_test test)
{
    return test >= BENCH_COMMAND ? o->commands[test - BENCH_COMMAND] : test_names[test];
}

bool options_parse_address(const char *text, uint8_t addr[4], uint8_t *prefix)
{
    char copy[32];
    const char *slash = strchr(text, '/');
    if (!slash || (size_t)(slash - text) >= sizeof(copy))
        return false;
    memcpy(copy, text, (size_t)(slash - text));
    copy[slash - text] = 0;
    char *end;
    long bits = strtol(slash + 1, &end, 10);
    if (*end || end == slash + 1 || bits < 1 || bits > 32)
        return false;
    *prefix = (uint8_t)bits;
    return inet_pton(AF_INET, copy, addr) == 1;
}

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return !errno && end != text && !*end && *text != '-' && *value >= min && *value <= max;
}

static bool parse_seconds(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && !*end && *value > 0 && *value <= 1e6;
}

static bool parse_tests(struct options *o, const char *list)
{
    o->n_tests = 0;
    while (*list) {
        size_t len = strcspn(list, ",");
        unsigned test = 0;
        while (test < BENCH_FILL &&
               (strlen(test_names[test]) != len || strncasecmp(test_names[test], list, len) != 0))
            test++;
        if (test == BENCH_FILL || o->n_tests == OPTIONS_TESTS_MAX)
            return false;
        o->tests[o->n_tests++] = (enum bench_test)test;
        list += len + (list[len] == ',');
    }
    return o->n_tests > 0;
}

static bool resolve(struct options *o)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (o->transport == BENCH_DPDK) {
        hints.ai_flags = AI_NUMERICHOST;
        hints.ai_family = AF_INET;
    }
    if (getaddrinfo(o->host, NULL, &hints, &found) != 0)
        return false;
    o->server = (struct endpoint){.port = o->port};
    if (found->ai_family == AF_INET) {
        o->server.family = 4;
        memcpy(o->server.addr, &((struct sockaddr_in *)found->ai_addr)->sin_addr, 4);
    } else {
        o->server.family = 6;
        memcpy(o->server.addr, &((struct sockaddr_in6 *)found->ai_addr)->sin6_addr, 16);
    }
    freeaddrinfo(found);
    return true;
}

enum {
    OPT_HELP = 256,
    OPT_TRANSPORT,
    OPT_CONNECTIONS,
    OPT_PIPELINE,
    OPT_REQUESTS,
    OPT_DURATION,
    OPT_STALL,
    OPT_TEST,
    OPT_COMMAND,
    OPT_SET_PERCENT,
    OPT_DATA_SIZE,
    OPT_KEYS,
    OPT_FILL,
    OPT_VERIFY,
    OPT_JSON,
    OPT_QUIET,
    OPT_SEED,
    OPT_CPU,
    OPT_NIC_DEVICE,
    OPT_NIC_ADDRESS,
    OPT_NIC_GATEWAY,
    OPT_NO_HUGE,
};

static const struct option long_options[] = {
    {"help", no_argument, NULL, OPT_HELP},
    {"host", required_argument, NULL, 'h'},
    {"port", required_argument, NULL, 'p'},
    {"transport", required_argument, NULL, OPT_TRANSPORT},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"pipeline", required_argument, NULL, OPT_PIPELINE},
    {"requests", required_argument, NULL, OPT_REQUESTS},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"stall", required_argument, NULL, OPT_STALL},
    {"test", required_argument, NULL, OPT_TEST},
    {"command", required_argument, NULL, OPT_COMMAND},
    {"set-percent", required_argument, NULL, OPT_SET_PERCENT},
    {"data-size", required_argument, NULL, OPT_DATA_SIZE},
    {"keys", required_argument, NULL, OPT_KEYS},
    {"fill", no_argument, NULL, OPT_FILL},
    {"verify", no_argument, NULL, OPT_VERIFY},
    {"json", no_argument, NULL, OPT_JSON},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"seed", required_argument, NULL, OPT_SEED},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"nic-device", required_argument, NULL, OPT_NIC_DEVICE},
    {"nic-address", required_argument, NULL, OPT_NIC_ADDRESS},
    {"nic-gateway", required_argument, NULL, OPT_NIC_GATEWAY},
    {"no-huge", no_argument, NULL, OPT_NO_HUGE},
    {NULL, 0, NULL, 0},
};

// Takes one option's argument. False when it is out of range or not of its kind.
static bool take(struct options *o, int option, const char *value)
{
    uint64_t n = 0;
    bool good = true;
    switch (option) {
    case 'h':
        o->host = value;
        break;
    case 'p':
        good = parse_number(value, 1, 65535, &n);
        o->port = (uint16_t)n;
        break;
    case OPT_TRANSPORT:
        good = !strcmp(value, "socket") || !strcmp(value, "dpdk");
        o->transport = !strcmp(value, "dpdk") ? BENCH_DPDK : BENCH_SOCKET;
        break;
    case OPT_CONNECTIONS:
        good = parse_number(value, 1, OPTIONS_CONNECTIONS_MAX, &n);
        o->connections = (unsigned)n;
        break;
    case OPT_PIPELINE:
        good = parse_number(value, 1, OPTIONS_PIPELINE_MAX, &n);
        o->pipeline = (unsigned)n;
        break;
    case OPT_REQUESTS:
        good = parse_number(value, 1, UINT64_MAX / 2, &o->requests);
        break;
    case OPT_DURATION:
        good = parse_seconds(value, &o->duration_s);
        break;
    case OPT_STALL:
        good = parse_seconds(value, &o->stall_s);
        break;
    case OPT_TEST:
        good = parse_tests(o, value);
        break;
    case OPT_COMMAND:
        good = o->n_commands < OPTIONS_TESTS_MAX;
        if (good) {
            o->tests[o->n_commands] = BENCH_COMMAND + o->n_commands;
            o->commands[o->n_commands++] = value;
            o->n_tests = o->n_commands;
        }
        break;
    case OPT_SET_PERCENT:
        good = parse_number(value, 0, 100, &n);
        o->set_percent = (unsigned)n;
        break;
    case OPT_DATA_SIZE:
        good = parse_number(value, 0, OPTIONS_DATA_MAX, &n);
        o->data_size = (uint32_t)n;
        break;
    case OPT_KEYS:
        good = parse_number(value, 1, OPTIONS_KEYS_MAX, &o->keys);
        break;
    case OPT_FILL:
        o->fill = true;
        break;
    case OPT_VERIFY:
        o->verify = true;
        break;
    case OPT_JSON:
        o->json = true;
        break;
    case OPT_QUIET:
        o->quiet = true;
        break;
    case OPT_SEED:
        good = parse_number(value, 0, UINT64_MAX, &o->seed);
        break;
    case OPT_CPU:
        good = parse_number(value, 0, 4095, &n);
        o->cpu = (int)n;
        break;
    case OPT_NIC_DEVICE:
        o->nic_device = value;
        break;
    case OPT_NIC_ADDRESS:
        o->nic_address = value;
        break;
    case OPT_NIC_GATEWAY:
        o->nic_gateway = value;
        break;
    case OPT_NO_HUGE:
        o->no_huge = true;
        break;
    default:
        good = false;
    }
    return good;
}

static bool check(struct options *o, char *error, size_t error_size)
{
    for (unsigned i = 0; i < o->n_commands; i++) {
        struct template t;
        if (!template_parse(&t, o->commands[i], o->data_size, o->keys, o->seed, error, error_size))
            return false;
        template_free(&t);
    }
    uint8_t addr[4], prefix;
    if (o->transport == BENCH_DPDK) {
        if (!o->nic_device || !o->nic_address)
            return snprintf(error, error_size,
                            "--transport dpdk needs --nic-device and --nic-address"),
                   false;
        if (!options_parse_address(o->nic_address, addr, &prefix))
            return snprintf(error, error_size,
                            "--nic-address %s: give an IPv4 address and a prefix length, as in "
                            "10.9.0.2/24",
                            o->nic_address),
                   false;
        if (o->nic_gateway && inet_pton(AF_INET, o->nic_gateway, addr) != 1)
            return snprintf(error, error_size, "--nic-gateway %s: give an IPv4 address",
                            o->nic_gateway),
                   false;
    }
    if (!resolve(o))
        return snprintf(error, error_size, "--host %s: not an address that can be used%s", o->host,
                        o->transport == BENCH_DPDK ? " (give an IPv4 address)" : ""),
               false;
    return true;
}

enum options_result options_parse(struct options *o, int argc, char **argv, char *error,
                                  size_t error_size)
{
    *o = (struct options){.transport = BENCH_SOCKET,
                          .host = "127.0.0.1",
                          .port = 6379,
                          .connections = 50,
                          .pipeline = 1,
                          .duration_s = 5,
                          .stall_s = 10,
                          .tests = {BENCH_SET, BENCH_GET},
                          .n_tests = 2,
                          .set_percent = 50,
                          .data_size = 64,
                          .keys = 1000000,
                          .seed = 1,
                          .cpu = -1};
    optind = 1;
    opterr = 0;
    int option, index = -1;
    while ((option = getopt_long(argc, argv, "h:p:", long_options, &index)) != -1) {
        if (option == OPT_HELP)
            return OPTIONS_HELP;
        if (option == '?') {
            snprintf(error, error_size, "%s: unknown option or missing value; see --help",
                     argv[optind - 1]);
            return OPTIONS_BAD;
        }
        if (!take(o, option, optarg)) {
            snprintf(error, error_size, "%s: not a value for this option; see --help",
                     optarg ? optarg : argv[optind - 1]);
            return OPTIONS_BAD;
        }
    }
    if (optind < argc) {
        snprintf(error, error_size, "%s: unknown argument; see --help", argv[optind]);
        return OPTIONS_BAD;
    }
    return check(o, error, error_size) ? OPTIONS_RUN : OPTIONS_BAD;
}
