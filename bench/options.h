// What the user asked of pollux-bench.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/stream.h"

#define OPTIONS_TESTS_MAX 16
#define OPTIONS_CONNECTIONS_MAX 100000u
#define OPTIONS_PIPELINE_MAX 10000u
#define OPTIONS_DATA_MAX (512u * 1024 * 1024)
#define OPTIONS_KEYS_MAX UINT64_C(1000000000000) // twelve digits in a key

enum bench_transport { BENCH_SOCKET, BENCH_DPDK };
// BENCH_COMMAND + i is the i-th --command.
enum bench_test { BENCH_SET, BENCH_GET, BENCH_MIXED, BENCH_PING, BENCH_FILL, BENCH_COMMAND };

struct options {
    enum bench_transport transport;
    const char *host;
    uint16_t port;
    struct endpoint server; // host and port, resolved
    unsigned connections, pipeline;
    uint64_t requests; // per test; 0: by duration
    double duration_s; // per test, when requests is 0
    double stall_s;    // give up when no reply came for this long
    enum bench_test tests[OPTIONS_TESTS_MAX];
    unsigned n_tests;
    const char *commands[OPTIONS_TESTS_MAX]; // of --command
    unsigned n_commands;
    unsigned set_percent; // of `mixed`
    uint32_t data_size;
    uint64_t keys;
    bool fill, verify, json, quiet;
    uint64_t seed;
    int cpu; // -1: not pinned
    const char *nic_device, *nic_address, *nic_gateway;
    bool no_huge;
};

enum options_result { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_BAD };

// Reads the command line. OPTIONS_BAD: one line in `error` says what is wrong. Strings point into
// argv.
enum options_result options_parse(struct options *o, int argc, char **argv, char *error,
                                  size_t error_size);
extern const char options_help[];
const char *options_test_name(const struct options *o, enum bench_test test);
// "10.9.0.1/24" → address and prefix length. False when it is not that.
bool options_parse_address(const char *text, uint8_t addr[4], uint8_t *prefix);
