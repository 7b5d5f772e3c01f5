// The command line: names as redis-benchmark's and memtier_benchmark's users know them.
#include "bench/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bench/options_internal.h"
#include "bench/values.h"

const char options_help[] =
    "pollux-bench --fill -P 16                               SET and GET on this machine's port "
    "6379\n"
    "pollux-bench -t mixed --ratio 1:10 -d 100-2000 --key-distribution zipfian --threads 4 --cpu "
    "2-5\n"
    "pollux-bench -t get --rate 200k --warmup 2              open loop: latency at 200000 "
    "requests/s\n"
    "pollux-bench -t get --rate 100k..2m/100k --plot a.svg   latency over throughput, up to the "
    "knee\n"
    "pollux-bench --keys 1000 --command 'LPUSH l:{key} {data}' --command 'RPOP l:{key}'\n"
    "pollux-bench -t ycsb-a,ycsb-c --fill --json FILE        --list shows all tests\n"
    "pollux-bench --transport dpdk --nic-device net_af_xdp0,iface=eth1 --nic-address 10.0.0.2/24 "
    "\\\n"
    "    -h 10.0.0.1 --cpu 2 --fill                          our own TCP/IP, past the kernel\n"
    "\n"
    "Where   -h, --host ADDRESS (127.0.0.1)   -p, --port N (6379)   -s, --socket PATH\n"
    "        -a, --password WORD   --user NAME   --db N   -3, --resp3   --protocol resp|memcache\n"
    "        --tls   --cacert FILE   --insecure (any certificate)   --cert FILE   --key FILE   "
    "--sni NAME\n"
    "        --cluster               the server is one node: load all of them, follow MOVED and "
    "ASK\n"
    "Who     -c, --connections N     of all threads together (50); in a cluster to each node\n"
    "        --threads N (1)         each with connections of its own\n"
    "        --cpu LIST              where they run, as in 2,4-7; without --threads one for each\n"
    "How     -P, --pipeline N        requests at once on a connection (1)\n"
    "        --rate R|FROM..TO/STEP  open loop: requests a second, whatever the server does\n"
    "        --arrivals poisson|even   --churn (a new connection for each pipeline)\n"
    "        --duration S (5)   or   -n, --requests N   --warmup S (0)   --stall S (10)\n"
    "What    -t, --test LIST         (set,get)      --ratio SET:GET   of `mixed` and `large` "
    "(1:10)\n"
    "        --command LINE          {key} {random} {sequence} {data} change from request to "
    "request\n"
    "        --command-ratio N       behind it: commands that have one make a mix together\n"
    "        -r, --keys N            16 bytes each (1000000)\n"
    "        --key-distribution uniform|sequential|zipfian[:THETA]|latest|hot:KEYS%:REQUESTS%\n"
    "        -d, --data-size N|A-B|SIZE:WEIGHT,…   bytes of values (64)   --expire S   of "
    "`sessions`\n"
    "        --fill                  first write every key once     --seed N (1)\n"
    "        --verify                values can be recognised, and every reply is checked\n"
    "        --pubsub CHANNELS       -c connections subscribe to one of them each, and\n"
    "        --publishers N (1)      more connections publish: messages delivered a second\n"
    "Report  --json [FILE]   --csv FILE   --hdr FILE   --plot FILE.svg|png   -q, --quiet\n"
    "        --live line|screen|off  while it runs (a line, if this is a terminal)\n"
    "dpdk    --nic-device DEVICE     as for pollux-server; several are allowed, each thread has a "
    "queue\n"
    "        --nic-address A/PREFIX   --nic-gateway A   --no-huge\n"
    "        --congestion cubic|newreno|dctcp   of our own connections (cubic)\n"
    "        --syn-flood R           SYNs a second from random addresses, beside the load\n"
    "Else    --list   --version   --help\n";

enum {
    OPT_HELP = 256,
    OPT_LIST,
    OPT_VERSION,
    OPT_TRANSPORT,
    OPT_PROTOCOL,
    OPT_USER,
    OPT_DB,
    OPT_CLUSTER,
    OPT_TLS,
    OPT_CA,
    OPT_INSECURE,
    OPT_CERT,
    OPT_KEY,
    OPT_SNI,
    OPT_THREADS,
    OPT_CPU,
    OPT_RATE,
    OPT_ARRIVALS,
    OPT_WARMUP,
    OPT_DURATION,
    OPT_STALL,
    OPT_CHURN,
    OPT_COMMAND,
    OPT_COMMAND_RATIO,
    OPT_RATIO,
    OPT_SET_PERCENT,
    OPT_DISTRIBUTION,
    OPT_THETA,
    OPT_EXPIRE,
    OPT_FILL,
    OPT_VERIFY,
    OPT_SEED,
    OPT_JSON,
    OPT_CSV,
    OPT_HDR,
    OPT_PLOT,
    OPT_LIVE,
    OPT_NIC_DEVICE,
    OPT_NIC_ADDRESS,
    OPT_NIC_GATEWAY,
    OPT_CONGESTION,
    OPT_NO_HUGE,
    OPT_SYN_FLOOD,
    OPT_PUBSUB,
    OPT_PUBLISHERS,
};

static const char short_options[] = ":h:p:s:a:c:n:d:P:t:r:k:q3e";

static const struct option long_options[] = {
    {"help", no_argument, NULL, OPT_HELP},
    {"list", no_argument, NULL, OPT_LIST},
    {"version", no_argument, NULL, OPT_VERSION},
    {"host", required_argument, NULL, 'h'},
    {"server", required_argument, NULL, 'h'},
    {"port", required_argument, NULL, 'p'},
    {"socket", required_argument, NULL, 's'},
    {"unix-socket", required_argument, NULL, 's'},
    {"transport", required_argument, NULL, OPT_TRANSPORT},
    {"protocol", required_argument, NULL, OPT_PROTOCOL},
    {"user", required_argument, NULL, OPT_USER},
    {"password", required_argument, NULL, 'a'},
    {"db", required_argument, NULL, OPT_DB},
    {"dbnum", required_argument, NULL, OPT_DB},
    {"select-db", required_argument, NULL, OPT_DB},
    {"resp3", no_argument, NULL, '3'},
    {"tls", no_argument, NULL, OPT_TLS},
    {"cacert", required_argument, NULL, OPT_CA},
    {"insecure", no_argument, NULL, OPT_INSECURE},
    {"tls-skip-verify", no_argument, NULL, OPT_INSECURE},
    {"cert", required_argument, NULL, OPT_CERT},
    {"key", required_argument, NULL, OPT_KEY},
    {"sni", required_argument, NULL, OPT_SNI},
    {"cluster", no_argument, NULL, OPT_CLUSTER},
    {"cluster-mode", no_argument, NULL, OPT_CLUSTER},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"connections", required_argument, NULL, 'c'},
    {"clients", required_argument, NULL, 'c'},
    {"pipeline", required_argument, NULL, 'P'},
    {"rate", required_argument, NULL, OPT_RATE},
    {"arrivals", required_argument, NULL, OPT_ARRIVALS},
    {"warmup", required_argument, NULL, OPT_WARMUP},
    {"requests", required_argument, NULL, 'n'},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"test-time", required_argument, NULL, OPT_DURATION},
    {"stall", required_argument, NULL, OPT_STALL},
    {"churn", no_argument, NULL, OPT_CHURN},
    {"keepalive", required_argument, NULL, 'k'},
    {"test", required_argument, NULL, 't'},
    {"tests", required_argument, NULL, 't'},
    {"command", required_argument, NULL, OPT_COMMAND},
    {"command-ratio", required_argument, NULL, OPT_COMMAND_RATIO},
    {"ratio", required_argument, NULL, OPT_RATIO},
    {"set-percent", required_argument, NULL, OPT_SET_PERCENT},
    {"data-size", required_argument, NULL, 'd'},
    {"data-size-range", required_argument, NULL, 'd'},
    {"data-size-list", required_argument, NULL, 'd'},
    {"keys", required_argument, NULL, 'r'},
    {"key-maximum", required_argument, NULL, 'r'},
    {"key-distribution", required_argument, NULL, OPT_DISTRIBUTION},
    {"theta", required_argument, NULL, OPT_THETA},
    {"expire", required_argument, NULL, OPT_EXPIRE},
    {"fill", no_argument, NULL, OPT_FILL},
    {"verify", no_argument, NULL, OPT_VERIFY},
    {"data-verify", no_argument, NULL, OPT_VERIFY},
    {"seed", required_argument, NULL, OPT_SEED},
    {"json", optional_argument, NULL, OPT_JSON},
    {"csv", required_argument, NULL, OPT_CSV},
    {"hdr", required_argument, NULL, OPT_HDR},
    {"plot", required_argument, NULL, OPT_PLOT},
    {"live", required_argument, NULL, OPT_LIVE},
    {"quiet", no_argument, NULL, 'q'},
    {"nic-device", required_argument, NULL, OPT_NIC_DEVICE},
    {"nic-address", required_argument, NULL, OPT_NIC_ADDRESS},
    {"nic-gateway", required_argument, NULL, OPT_NIC_GATEWAY},
    {"congestion", required_argument, NULL, OPT_CONGESTION},
    {"no-huge", no_argument, NULL, OPT_NO_HUGE},
    {"syn-flood", required_argument, NULL, OPT_SYN_FLOOD},
    {"pubsub", required_argument, NULL, OPT_PUBSUB},
    {"publishers", required_argument, NULL, OPT_PUBLISHERS},
    {NULL, 0, NULL, 0},
};

// What to give an option whose value was refused.
static const struct {
    int option;
    const char *give;
} hints[] = {
    {'p', "a port from 1 to 65535"},
    {'s', "the path of a UNIX socket, as in --socket /run/redis.sock"},
    {'c', "a number of connections from 1 to 100000"},
    {'P', "a number of requests from 1 to 10000"},
    {'n', "a number of requests, as in --requests 10m"},
    {'t', "names with commas between them, as in --test set,get; see --list"},
    {'d', "bytes (64), a range (10-200) or sizes with weights (64:9,1k:1), each up to 512m"},
    {'r', "a number of keys from 1 to 1000000000000"},
    {'k', "0 (a new connection for each batch, as --churn) or 1"},
    {OPT_TRANSPORT, "socket or dpdk"},
    {OPT_PROTOCOL, "resp, resp3 or memcache"},
    {OPT_DB, "the number of a database"},
    {OPT_THREADS, "a number of threads from 1 to 64"},
    {OPT_CPU, "CPUs, as in --cpu 2 or --cpu 2,4-7"},
    {OPT_RATE,
     "requests a second, as in --rate 200k, or steps, as in --rate 100k..2m/100k (at most "
     "1000)"},
    {OPT_ARRIVALS, "poisson or even"},
    {OPT_WARMUP, "seconds up to 1000000, as in --warmup 2"},
    {OPT_DURATION, "seconds from 0.001 to 1000000, as in --duration 10"},
    {OPT_STALL, "seconds from 0.001 to 1000000, as in --stall 10"},
    {OPT_COMMAND, "the words of a command; there may be 32 of them"},
    {OPT_COMMAND_RATIO, "a weight from 1 to 1000000, behind the --command that it belongs to"},
    {OPT_RATIO, "weights of SET and GET, as in --ratio 1:10"},
    {OPT_SET_PERCENT, "a number from 0 to 100"},
    {OPT_DISTRIBUTION, "uniform, sequential, zipfian, zipfian:0.99, latest, or hot:1%:90%"},
    {OPT_THETA, "a number between 0 and 2, as in --theta 0.99"},
    {OPT_EXPIRE, "seconds from 1 to 2147483647"},
    {OPT_SEED, "a number"},
    {OPT_PUBSUB, "a number of channels from 1 to 100000"},
    {OPT_PUBLISHERS, "a number of connections from 1 to 100000"},
    {OPT_JSON, "a file, or nothing for standard output"},
    {OPT_CSV, "a file to write"},
    {OPT_HDR, "a file to write"},
    {OPT_USER, "a name, and the password with -a"},
    {OPT_CA, "a PEM file of certificate authorities"},
    {OPT_CERT, "a PEM file of a certificate, and its key with --key"},
    {OPT_KEY, "a PEM file of a private key"},
    {OPT_SNI, "the name of the server in its certificate"},
    {OPT_NIC_ADDRESS, "an IPv4 address and a prefix length, as in 10.9.0.2/24"},
    {OPT_NIC_GATEWAY, "an IPv4 address"},
    {OPT_CONGESTION, "cubic, newreno or dctcp"},
    {OPT_SYN_FLOOD, "a number a second, as in 100k"},
    {OPT_PLOT, "a file that ends in .svg or .png"},
    {OPT_LIVE, "line, screen or off"},
    {OPT_NIC_DEVICE, "a PCI address or a virtual device; there may be 16 of them"},
};

static const char *hint_of(int option)
{
    for (unsigned i = 0; i < sizeof(hints) / sizeof(*hints); i++)
        if (hints[i].option == option)
            return hints[i].give;
    return "another value";
}

static bool take_server(struct options *o, struct options_said *said, int option, const char *value)
{
    static const char *const transports[] = {"socket", "dpdk", NULL};
    static const char *const protocols[] = {"resp",     "redis",         "resp2", "resp3",
                                            "memcache", "memcache_text", NULL};
    unsigned word;
    uint64_t n;
    switch (option) {
    case 'h':
        o->host = value;
        return true;
    case 'p':
        if (!parse_number(value, 1, 65535, &n))
            return false;
        o->port = (uint16_t)n;
        return true;
    case 's':
        o->unix_path = value;
        return *value;
    case 'a':
        o->password = value;
        return true;
    case OPT_USER:
        o->user = value;
        return *value;
    case OPT_DB:
        said->database = true;
        if (!parse_number(value, 0, INT32_MAX, &n))
            return false;
        o->database = (unsigned)n;
        return true;
    case '3':
        o->resp3 = true;
        return true;
    case OPT_TRANSPORT:
        if (!parse_word(value, transports, &word))
            return false;
        o->transport = word ? BENCH_DPDK : BENCH_SOCKET;
        return true;
    case OPT_PROTOCOL:
        if (!parse_word(value, protocols, &word))
            return false;
        o->protocol = word >= 4 ? BENCH_MEMCACHE : BENCH_RESP;
        o->resp3 = o->resp3 || word == 3;
        return true;
    case OPT_TLS:
        o->tls = true;
        return true;
    case OPT_INSECURE:
        o->insecure = true;
        return true;
    case OPT_CA:
        o->ca_file = value;
        return *value;
    case OPT_CERT:
        o->cert_file = value;
        return *value;
    case OPT_KEY:
        o->key_file = value;
        return *value;
    case OPT_SNI:
        o->sni = value;
        return *value;
    default: // OPT_CLUSTER
        o->cluster = true;
        return true;
    }
}

static bool take_load(struct options *o, struct options_said *said, int option, const char *value)
{
    static const char *const arrivals[] = {"poisson", "even", NULL};
    unsigned word;
    uint64_t n;
    bool good;
    switch (option) {
    case 'c':
        good = parse_count(value, 1, OPTIONS_CONNECTIONS_MAX, &n);
        o->connections = (unsigned)n;
        return good;
    case 'P':
        said->pipeline = true;
        good = parse_count(value, 1, OPTIONS_PIPELINE_MAX, &n);
        o->pipeline = (unsigned)n;
        return good;
    case OPT_THREADS:
        said->threads = true;
        good = parse_number(value, 1, OPTIONS_THREADS_MAX, &n);
        o->threads = (unsigned)n;
        return good;
    case OPT_CPU:
        return parse_cpus(o, value);
    case OPT_RATE:
        return parse_rate(o, value);
    case OPT_ARRIVALS:
        said->arrivals = true;
        good = parse_word(value, arrivals, &word);
        o->arrivals = word ? ARRIVALS_EVEN : ARRIVALS_POISSON;
        return good;
    case OPT_WARMUP:
        return parse_seconds(value, 0, &o->warmup_s);
    case 'n':
        said->requests = true;
        return parse_count(value, 1, UINT64_MAX / 2, &o->requests);
    case OPT_DURATION:
        said->duration = true;
        return parse_seconds(value, 1e-3, &o->duration_s);
    case OPT_STALL:
        return parse_seconds(value, 1e-3, &o->stall_s);
    case 'k':
        o->churn = !strcmp(value, "0");
        return o->churn || !strcmp(value, "1");
    default: // OPT_CHURN
        o->churn = true;
        return true;
    }
}

static bool take_work(struct options *o, struct options_said *said, int option, const char *value)
{
    uint64_t n;
    switch (option) {
    case 't':
        said->tests = true;
        return parse_tests(o, value);
    case OPT_COMMAND:
        if (o->n_commands == OPTIONS_COMMANDS_MAX || !*value)
            return false;
        o->commands[o->n_commands++].line = value;
        return true;
    case OPT_COMMAND_RATIO:
        if (!o->n_commands || !parse_number(value, 1, 1000000, &n))
            return false;
        o->commands[o->n_commands - 1].weight = (unsigned)n;
        return true;
    case OPT_RATIO:
        said->ratio = true;
        return parse_ratio(o, value);
    case OPT_SET_PERCENT:
        said->ratio = true;
        if (!parse_number(value, 0, 100, &n))
            return false;
        o->set_weight = (unsigned)n;
        o->get_weight = 100 - (unsigned)n;
        return true;
    case 'd':
        return values_parse(&o->data, value, strlen(value));
    case 'r':
        return parse_count(value, 1, OPTIONS_KEYS_MAX, &o->keys);
    case OPT_DISTRIBUTION:
        return parse_distribution(o, value);
    case OPT_THETA:
        return parse_theta(o, value);
    case OPT_EXPIRE:
        if (!parse_count(value, 1, INT32_MAX, &n))
            return false;
        o->expire_s = (uint32_t)n;
        return true;
    case OPT_FILL:
        o->fill = true;
        return true;
    case OPT_VERIFY:
        o->verify = true;
        return true;
    case OPT_PUBSUB:
    case OPT_PUBLISHERS:
        if (!parse_number(value, 1, OPTIONS_CHANNELS_MAX, &n))
            return false;
        *(option == OPT_PUBSUB ? &o->channels : &o->publishers) = (unsigned)n;
        return true;
    default: // OPT_SEED
        return parse_number(value, 0, UINT64_MAX, &o->seed);
    }
}

static bool ends_in(const char *text, const char *end)
{
    size_t len = strlen(text), n = strlen(end);
    return len > n && !strcasecmp(text + len - n, end);
}

static bool take_report(struct options *o, int option, const char *value)
{
    static const char *const lives[] = {"off", "line", "screen", NULL};
    unsigned word;
    switch (option) {
    case OPT_JSON:
        o->json = !value;
        o->json_file = value;
        return !value || *value;
    case OPT_CSV:
        o->csv_file = value;
        return *value;
    case OPT_HDR:
        o->hdr_file = value;
        return *value;
    case OPT_PLOT:
        o->plot_file = value;
        return ends_in(value, ".svg") || ends_in(value, ".png");
    case OPT_LIVE:
        if (!parse_word(value, lives, &word))
            return false;
        o->live = word == 0 ? LIVE_OFF : word == 1 ? LIVE_LINE : LIVE_SCREEN;
        return true;
    case 'q':
        o->quiet = true;
        return true;
    case OPT_NIC_DEVICE:
        if (o->n_nic_devices == OPTIONS_DEVICES_MAX)
            return false;
        o->nic_devices[o->n_nic_devices++] = value;
        return true;
    case OPT_NIC_ADDRESS:
        o->nic_address = value;
        return true;
    case OPT_NIC_GATEWAY:
        o->nic_gateway = value;
        return true;
    case OPT_CONGESTION:
        o->congestion = value;
        return !strcmp(value, "cubic") || !strcmp(value, "newreno") || !strcmp(value, "dctcp");
    case OPT_NO_HUGE:
        o->no_huge = true;
        return true;
    case OPT_SYN_FLOOD: {
        char *end;
        return parse_amount(value, &end, &o->syn_flood) && !*end && o->syn_flood >= 1 &&
               o->syn_flood <= 1e8;
    }
    default: // -e: errors of the server are always shown
        return true;
    }
}

// Takes one option's argument. False when it is out of range or not of its kind.
static bool take(struct options *o, struct options_said *said, int option, const char *value)
{
    switch (option) {
    case 'h':
    case 'p':
    case 's':
    case 'a':
    case '3':
    case OPT_USER:
    case OPT_DB:
    case OPT_TRANSPORT:
    case OPT_PROTOCOL:
    case OPT_TLS:
    case OPT_CA:
    case OPT_INSECURE:
    case OPT_CERT:
    case OPT_KEY:
    case OPT_SNI:
    case OPT_CLUSTER:
        return take_server(o, said, option, value);
    case 'c':
    case 'P':
    case 'n':
    case 'k':
    case OPT_THREADS:
    case OPT_CPU:
    case OPT_RATE:
    case OPT_ARRIVALS:
    case OPT_WARMUP:
    case OPT_DURATION:
    case OPT_STALL:
    case OPT_CHURN:
        return take_load(o, said, option, value);
    case 't':
    case 'd':
    case 'r':
    case OPT_COMMAND:
    case OPT_COMMAND_RATIO:
    case OPT_RATIO:
    case OPT_SET_PERCENT:
    case OPT_DISTRIBUTION:
    case OPT_THETA:
    case OPT_EXPIRE:
    case OPT_FILL:
    case OPT_VERIFY:
    case OPT_SEED:
    case OPT_PUBSUB:
    case OPT_PUBLISHERS:
        return take_work(o, said, option, value);
    default:
        return take_report(o, option, value);
    }
}

// As the user wrote the option that was just read.
static const char *name_of(int option, int index, char *text)
{
    if (index >= 0)
        snprintf(text, 64, "--%s", long_options[index].name);
    else
        snprintf(text, 64, "-%c", option);
    return text;
}

static const char *long_after(int option)
{
    for (unsigned i = 0; long_options[i].name; i++)
        if (long_options[i].val == option)
            return long_options[i].name;
    return "?";
}

// What getopt could not make sense of.
static enum options_result bad_option(int option, char **argv, char *error, size_t error_size)
{
    const char *word = argv[optind - 1];
    if (option == ':' && optopt >= 256)
        snprintf(error, error_size, "%s: give %s", word, hint_of(optopt));
    else if (option == ':')
        snprintf(error, error_size, "-%c (--%s): give %s", optopt, long_after(optopt),
                 optopt == 'h'   ? "the server's address"
                 : optopt == 'a' ? "the password"
                                 : hint_of(optopt));
    else if (optopt && !strncmp(word, "--", 2))
        snprintf(error, error_size, "%s: this option takes no value", word);
    else if (optopt)
        snprintf(error, error_size, "-%c: no such option; see --help", optopt);
    else
        snprintf(error, error_size, "%s: no such option, or the beginning of several; see --help",
                 word);
    return OPTIONS_BAD;
}

enum options_result options_parse(struct options *o, int argc, char **argv, char *error,
                                  size_t error_size)
{
    struct options_said said = {0};
    *o = (struct options){.host = "127.0.0.1",
                          .port = 6379,
                          .threads = 1,
                          .connections = 50,
                          .pipeline = 1,
                          .duration_s = 5,
                          .stall_s = 10,
                          .tests = {"set", "get"},
                          .n_tests = 2,
                          .set_weight = 1,
                          .get_weight = 10,
                          .data = {.low = 64, .high = 64},
                          .keys = 1000000,
                          .theta = 0.99,
                          .expire_s = 3600,
                          .seed = 1,
                          .publishers = 1};
    optind = 0; // and begin anew: this may be called again
    int option, index = -1;
    while ((option = getopt_long(argc, argv, short_options, long_options, &index)) != -1) {
        char name[64];
        const char *value = optarg;
        if (option == OPT_HELP)
            return OPTIONS_HELP;
        if (option == OPT_LIST)
            return OPTIONS_LIST;
        if (option == OPT_VERSION)
            return OPTIONS_VERSION;
        if (option == '?' || option == ':')
            return bad_option(option, argv, error, error_size);
        // --json FILE as well as --json=FILE.
        if (option == OPT_JSON && !value && optind < argc && argv[optind][0] != '-')
            value = argv[optind++];
        if (!take(o, &said, option, value)) {
            snprintf(error, error_size, "%s %s: give %s", name_of(option, index, name),
                     value ? value : "", hint_of(option));
            return OPTIONS_BAD;
        }
        index = -1;
    }
    if (optind < argc) {
        snprintf(error, error_size,
                 "%s: no option; a command to send is given as --command 'WORD …'", argv[optind]);
        return OPTIONS_BAD;
    }
    return options_check(o, &said, error, error_size) ? OPTIONS_RUN : OPTIONS_BAD;
}
