#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/options.h"

static struct options o;
static char message[256];

static enum options_result parse(const char *line)
{
    static char copy[512];
    char *argv[32] = {"pollux-bench"};
    int argc = 1;
    strncpy(copy, line, sizeof(copy) - 1);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    message[0] = 0;
    return options_parse(&o, argc, argv, message, sizeof(message));
}

static void defaults_need_nothing(void **state)
{
    (void)state;
    assert_int_equal(parse(""), OPTIONS_RUN);
    assert_int_equal(o.transport, BENCH_SOCKET);
    assert_int_equal(o.server.family, 4);
    assert_int_equal(o.server.port, 6379);
    assert_int_equal(o.connections, 50);
    assert_int_equal(o.n_tests, 2);
}

static void everything_can_be_said(void **state)
{
    (void)state;
    assert_int_equal(parse("-h 127.0.0.2 -p 7000 --connections 3 --pipeline 16 --test GET,mixed "
                           "--requests 9 --data-size 0 --keys 5 --fill --verify --json --cpu 1"),
                     OPTIONS_RUN);
    assert_int_equal(o.server.addr[3], 2);
    assert_int_equal(o.server.port, 7000);
    assert_int_equal(o.pipeline, 16);
    assert_string_equal(o.tests[0], "GET");
    assert_string_equal(o.tests[1], "mixed");
    assert_int_equal(o.requests, 9);
    assert_int_equal(o.data.low, 0);
    assert_true(o.fill && o.verify && o.json);
    assert_int_equal(o.cpus[0], 1);
    assert_int_equal(parse("--transport dpdk --nic-device net_null0 --nic-address 10.0.0.2/24 "
                           "-h 10.0.0.1"),
                     OPTIONS_RUN);
    assert_int_equal(o.transport, BENCH_DPDK);
    assert_int_equal(parse("--transport dpdk --nic-device net_null0 --nic-address fd00::2/64 "
                           "--nic-gateway fe80::1 -h fd00::1"),
                     OPTIONS_RUN);
    assert_int_equal(o.server.family, 6);
}

static void redis_benchmarks_letters_are_known(void **state)
{
    (void)state;
    assert_int_equal(parse("-h ::1 -p 7 -a word --user me -c 9 -n 10k -d 3 -P 4 -t ping,set -r 5m "
                           "-q -3 --threads 3 --dbnum 2 -e"),
                     OPTIONS_RUN);
    assert_int_equal(o.server.family, 6);
    assert_string_equal(o.password, "word");
    assert_string_equal(o.user, "me");
    assert_int_equal(o.connections, 9);
    assert_int_equal(o.requests, 10000);
    assert_int_equal(o.data.high, 3);
    assert_int_equal(o.pipeline, 4);
    assert_int_equal(o.n_tests, 2);
    assert_int_equal(o.keys, 5000000);
    assert_true(o.quiet && o.resp3);
    assert_int_equal(o.threads, 3);
    assert_int_equal(o.database, 2);
    assert_int_equal(parse("-s /run/redis.sock -k 0"), OPTIONS_RUN);
    assert_string_equal(o.unix_path, "/run/redis.sock");
    assert_int_equal(o.server.family, 0);
    assert_true(o.churn);
    assert_int_equal(parse("--cluster -c 20"), OPTIONS_RUN);
    assert_true(o.cluster);
}

static void memtiers_names_are_known(void **state)
{
    (void)state;
    assert_int_equal(
        parse("--server 127.0.0.3 --clients 7 --test-time 2.5 --key-maximum 99 "
              "--data-size-range 10-2k --test mixed --ratio 1:9 --protocol memcache_text"),
        OPTIONS_RUN);
    assert_int_equal(o.server.addr[3], 3);
    assert_int_equal(o.connections, 7);
    assert_true(o.duration_s == 2.5);
    assert_int_equal(o.keys, 99);
    assert_int_equal(o.data.kind, SIZES_RANGE);
    assert_int_equal(o.data.high, 2048);
    assert_int_equal(o.set_weight, 1);
    assert_int_equal(o.get_weight, 9);
    assert_int_equal(o.protocol, BENCH_MEMCACHE);
    assert_int_equal(parse("--command GET --command-ratio 3 --command PING"), OPTIONS_RUN);
    assert_int_equal(o.commands[0].weight, 3);
    assert_int_equal(o.commands[1].weight, 0);
    assert_int_equal(parse("--data-size-list 64:9,1024:1"), OPTIONS_RUN);
    assert_int_equal(o.data.kind, SIZES_WEIGHTED);
    assert_int_equal(o.data.n, 2);
}

static void rates_and_their_steps(void **state)
{
    (void)state;
    assert_int_equal(parse(""), OPTIONS_RUN);
    assert_true(o.rate_from == 0 && o.rate_to == 0);
    assert_int_equal(parse("--rate 1.5m --arrivals even --warmup 0"), OPTIONS_RUN);
    assert_true(o.rate_from == 1.5e6 && o.rate_to == 1.5e6);
    assert_int_equal(o.arrivals, ARRIVALS_EVEN);
    assert_int_equal(parse("--rate 100k..2m/50k"), OPTIONS_RUN);
    assert_true(o.rate_from == 1e5 && o.rate_to == 2e6 && o.rate_step == 5e4);
}

static void keys_are_distributed(void **state)
{
    (void)state;
    assert_int_equal(parse("--key-distribution zipfian:1.2"), OPTIONS_RUN);
    assert_int_equal(o.distribution, KEYS_ZIPFIAN);
    assert_true(o.theta == 1.2);
    assert_int_equal(parse("--key-distribution hot:1%:90%"), OPTIONS_RUN);
    assert_int_equal(o.distribution, KEYS_HOT);
    assert_true(o.hot_keys == 0.01 && o.hot_share == 0.9);
    assert_int_equal(parse("--key-distribution SEQUENTIAL"), OPTIONS_RUN);
    assert_int_equal(o.distribution, KEYS_SEQUENTIAL);
}

static void threads_and_their_cpus(void **state)
{
    (void)state;
    assert_int_equal(parse("--cpu 3,5-7"), OPTIONS_RUN);
    assert_int_equal(o.threads, 4); // one for each
    assert_int_equal(o.cpus[0], 3);
    assert_int_equal(o.cpus[3], 7);
    assert_int_equal(parse("--cpu 3,5-7 --threads 2"), OPTIONS_RUN);
    assert_int_equal(o.threads, 2);
}

static void reports_and_their_files(void **state)
{
    (void)state;
    assert_int_equal(parse("--json --quiet"), OPTIONS_RUN);
    assert_true(o.json && !o.json_file);
    assert_int_equal(parse("--json a.json --csv b --hdr c --plot d.PNG --live screen"),
                     OPTIONS_RUN);
    assert_true(!o.json);
    assert_string_equal(o.json_file, "a.json");
    assert_string_equal(o.plot_file, "d.PNG");
    assert_int_equal(o.live, LIVE_SCREEN);
    assert_int_equal(parse("--json=a.json"), OPTIONS_RUN);
    assert_string_equal(o.json_file, "a.json");
    assert_int_equal(parse("--list"), OPTIONS_LIST);
    assert_int_equal(parse("--version"), OPTIONS_VERSION);
}

static void nonsense_is_refused_with_a_line(void **state)
{
    (void)state;
    const char *const bad[] = {
        "--pipeline 0",
        "--pipeline -1",
        "--pipeline 3x",
        "--connections 9999999",
        "--test set,,get",
        "--duration 0",
        "--duration nan",
        "-p 65536",
        "--unknown",
        "--keys",
        "stray",
        "--transport carrier-pigeon",
        "--transport dpdk",
        "--transport dpdk --nic-device net_null0 --nic-address 10.0.0.2",
        "--transport dpdk --nic-device net_null0 --nic-address 10.0.0.2/33",
        "--transport dpdk --nic-device net_null0 --nic-address 10.0.0.2/24 --nic-gateway x",
        "--transport dpdk --nic-device net_null0 --nic-address 10.0.0.2/24 -h nowhere",
        "--transport dpdk --nic-device net_null0 --nic-address 10.0.0.2/24 -h fd00::1",
        "--transport dpdk --nic-device net_null0 --nic-address fd00::2/129 -h fd00::1",
        "--transport dpdk --nic-device net_null0 --nic-address fd00::2/64 --nic-gateway 10.0.0.1 "
        "-h fd00::1",
        "-P",
        "-Z",
        "--quiet=1",
        "--rate 0",
        "--rate 10..5/1",
        "--rate 1..1000000/1",
        "--rate 5k..",
        "--rate inf",
        "--requests 5 --duration 3",
        "--requests 1 --threads 2",
        "--connections 1 --threads 2",
        "--threads 3 --cpu 1,2",
        "--threads 65",
        "--cpu 3-1",
        "--cpu 1,",
        "--data-size 10-5",
        "--data-size 1g",
        "--data-size 64:0",
        "--ratio 1:10",
        "--arrivals even",
        "--json=",
        "--csv=",
        "--hdr=",
        "--test mixed --ratio 0:0",
        "--test mixed --ratio 1",
        "--test set --command PING",
        "--command-ratio 3",
        "--key-distribution zipf",
        "--key-distribution zipfian:2",
        "--key-distribution hot:0%:90%",
        "--user me",
        "--cluster --socket /run/redis.sock",
        "--cluster --db 1",
        "--transport dpdk --socket /run/redis.sock",
        "--nic-device net_null0",
        "--protocol memcache --cluster",
        "--protocol memcache -a word",
        "--protocol memcache --command PING",
        "--protocol gopher",
        "--plot picture.gif",
        "--live loudly",
        "--warmup -1",
        "--stall 0",
        "-k 2",
        "-h no.such.host.invalid",
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(parse(bad[i]), OPTIONS_BAD);
        assert_true(strlen(message) > 10);
        assert_null(strchr(message, '\n'));
    }
}

static void help_fits_a_screen(void **state)
{
    (void)state;
    assert_int_equal(parse("--help"), OPTIONS_HELP);
    unsigned lines = 0, column = 0;
    for (const char *c = options_help; *c; c++) {
        // Of a character of several bytes only the first counts.
        column = *c == '\n' ? 0 : column + ((*c & 0xc0) != 0x80);
        lines += *c == '\n';
        assert_true(column <= 100);
    }
    assert_true(lines <= 45);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_need_nothing),
        cmocka_unit_test(everything_can_be_said),
        cmocka_unit_test(redis_benchmarks_letters_are_known),
        cmocka_unit_test(memtiers_names_are_known),
        cmocka_unit_test(rates_and_their_steps),
        cmocka_unit_test(keys_are_distributed),
        cmocka_unit_test(threads_and_their_cpus),
        cmocka_unit_test(reports_and_their_files),
        cmocka_unit_test(nonsense_is_refused_with_a_line),
        cmocka_unit_test(help_fits_a_screen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
