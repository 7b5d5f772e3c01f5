// What the user asked of pollux-bench. Filled once by options_parse, read-only afterwards, shared
// by all threads. Strings point into argv.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/stream.h"

#define OPTIONS_TESTS_MAX 32
#define OPTIONS_COMMANDS_MAX 32 // --command, in all
#define OPTIONS_THREADS_MAX 64
#define OPTIONS_CONNECTIONS_MAX 100000u
#define OPTIONS_PIPELINE_MAX 10000u
#define OPTIONS_CHANNELS_MAX 100000u // --pubsub, --publishers
#define OPTIONS_DATA_MAX (512u * 1024 * 1024)
#define OPTIONS_KEYS_MAX UINT64_C(1000000000000) // twelve digits in a key
#define OPTIONS_DEVICES_MAX 16
#define OPTIONS_STEPS_MAX 1000 // of --rate FROM..TO/STEP

enum bench_transport { BENCH_SOCKET, BENCH_DPDK };
// --protocol: of the server. Memcached's text protocol has SET, GET and their mixes only.
enum bench_protocol { BENCH_RESP, BENCH_MEMCACHE };

// How keys are drawn from 0 … keys-1. --key-distribution
enum bench_keys {
    KEYS_UNIFORM,
    KEYS_SEQUENTIAL, // one after the other, each thread a part of its own, round and round
    KEYS_ZIPFIAN,    // rank r with probability ~ 1/r^theta, ranks scattered over the keys
    KEYS_HOT,        // hot_share of the requests go to hot_keys of the keys ("hot:KEYS%:REQUESTS%")
    KEYS_LATEST,     // zipfian over what was inserted last (YCSB D)
};

// How long values are. --data-size N | A-B | A:W,B:W,…
enum bench_sizes { SIZES_FIXED, SIZES_RANGE, SIZES_WEIGHTED };
#define OPTIONS_SIZES_MAX 32

struct options_sizes {
    enum bench_sizes kind;
    uint32_t low, high; // SIZES_FIXED: low; SIZES_RANGE: low … high, uniform
    unsigned n;         // SIZES_WEIGHTED
    uint32_t size[OPTIONS_SIZES_MAX], weight[OPTIONS_SIZES_MAX];
};

enum bench_arrivals { ARRIVALS_POISSON, ARRIVALS_EVEN };

struct options {
    // Where the server is.
    enum bench_transport transport;
    enum bench_protocol protocol;
    const char *host;
    uint16_t port;
    const char *unix_path;  // --socket PATH (-s): instead of host and port
    struct endpoint server; // host and port, resolved; IPv4 or IPv6
    const char *user, *password;
    unsigned database;
    bool tls, insecure; // --insecure: whatever certificate the server shows
    const char *ca_file, *cert_file, *key_file, *sni;
    bool resp3;   // -3: HELLO 3 on every connection
    bool cluster; // the server is one node of a cluster: read its slot map

    // Who makes the load.
    unsigned threads;              // each pinned to cpus[i] if n_cpus > 0
    int cpus[OPTIONS_THREADS_MAX]; // --cpu LIST ("2", "2,3", "2-5")
    unsigned n_cpus;
    unsigned connections; // of all threads together (in a cluster: to each node)

    // How the load arrives.
    unsigned
        pipeline; // closed loop: requests at once on a connection; open loop: most under way on one
    double rate_from, rate_to,
        rate_step; // requests/s of all threads; 0: closed loop; equal: one step
    enum bench_arrivals arrivals;
    double warmup_s;   // before each test (and each step), not measured
    uint64_t requests; // per test; 0: by duration
    double duration_s; // per test or step, when requests is 0
    double stall_s;    // give up when no reply came for this long
    bool churn;        // a new connection for each batch of `pipeline` requests

    // Of what the load is made.
    const char *tests[OPTIONS_TESTS_MAX]; // names of presets (bench/presets.h), in order
    unsigned n_tests;
    struct {
        const char *line;
        unsigned
            weight; // 0: a test of its own; else a part of the one mix of all that have weights
    } commands[OPTIONS_COMMANDS_MAX];
    unsigned n_commands;             // if any, they are the tests, and `tests` is empty
    unsigned set_weight, get_weight; // --ratio SET:GET of `mixed`
    struct options_sizes data;
    uint64_t keys;
    enum bench_keys distribution;
    double theta;               // KEYS_ZIPFIAN, KEYS_LATEST: 0 < theta < 2, 0.99 as in YCSB
    double hot_keys, hot_share; // KEYS_HOT: shares, 0 … 1
    uint32_t expire_s;          // of presets that set expiries
    bool fill, verify;
    unsigned channels, publishers; // --pubsub: instead of tests; 0 channels: tests
    uint64_t seed;

    // What is told.
    bool json, quiet; // --json without FILE: to standard output
    enum { LIVE_AUTO, LIVE_OFF, LIVE_LINE, LIVE_SCREEN } live;
    const char *json_file, *csv_file, *hdr_file, *plot_file;

    // --transport dpdk
    const char *nic_devices[OPTIONS_DEVICES_MAX];
    unsigned n_nic_devices;
    const char *nic_address, *nic_gateway;
    const char *congestion; // cubic, newreno, dctcp; NULL: the stack's default
    bool no_huge;
    double syn_flood; // SYNs a second from random addresses beside the load, 0: none
};

enum options_result { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_LIST, OPTIONS_VERSION, OPTIONS_BAD };

// Reads the command line. OPTIONS_BAD: one line in `error` says what is wrong and what to do.
enum options_result options_parse(struct options *o, int argc, char **argv, char *error,
                                  size_t error_size);
extern const char options_help[];
// "10.9.0.1/24" or "fd00::1/64" → address (the port is left alone) and prefix length. False when it
// is not that.
bool options_parse_address(const char *text, struct endpoint *address, uint8_t *prefix);
// An address of either family in figures. False when it is not that.
bool options_parse_host(const char *text, struct endpoint *address);
// The address of a host by name or in figures; the port is left alone. May wait for name servers.
bool options_resolve(const char *host, struct endpoint *to);
