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
        cmocka_unit_test(nonsense_is_refused_with_a_line),
        cmocka_unit_test(help_fits_a_screen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
