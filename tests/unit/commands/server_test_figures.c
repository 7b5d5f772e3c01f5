// CONFIG, INFO, MEMORY, DEBUG, SHUTDOWN, LOLWUT, TIME: what is gathered from all cores.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/commands/observe.h"
#include "tests/unit/commands/server_support.h"

#define OK "+OK\r\n"

// Not inlined: the compiler would then guess at a reply of NULL.
static __attribute__((noinline)) void has(const char *reply, const char *text)
{
    if (!strstr(reply, text))
        fail_msg("'%s' is missing in:\n%s", text, reply);
}

static __attribute__((noinline)) void has_not(const char *reply, const char *text)
{
    if (strstr(reply, text))
        fail_msg("'%s' should not be in:\n%s", text, reply);
}

static void config_get(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "CONFIG", "GET", "maxcl*", "HZ", "m*clients"),
                        "*4\r\n$10\r\nmaxclients\r\n$5\r\n10000\r\n$2\r\nhz\r\n$2\r\n10\r\n");
    s->session.resp = 3;
    assert_string_equal(server_ask(s, "CONFIG", "GET", "nosuch"), "%0\r\n");
}

static void config_set(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "CONFIG", "SET", "hz", "20", "maxclients", ""), OK);
    assert_string_equal(s->changed, "hz=20;maxclients=;");
    for (unsigned i = 0; i < SERVER_CORES; i++)
        assert_int_equal(s->cores[i].adopted, 1);
    assert_string_equal(server_ask(s, "CONFIG", "SET", "hz", "20", "x"), "-ERR syntax error\r\n");
    s->config_error = "CONFIG SET failed (possibly related to argument 'hz') - no";
    assert_string_equal(server_ask(s, "CONFIG", "SET", "hz", "20"),
                        "-ERR CONFIG SET failed (possibly related to argument 'hz') - no\r\n");
    assert_int_equal(s->cores[0].adopted, 1); // what failed reached no core
}

static void config_set_protected(void **state)
{
    struct server *s = *state;
    s->allow_protected = false;
    assert_string_equal(server_ask(s, "CONFIG", "SET", "hz", "20", "Dir", "/"),
                        "-ERR CONFIG SET failed (possibly related to argument 'Dir') - can't set "
                        "protected config\r\n");
    assert_string_equal(s->changed, "");
    s->allow_protected = true;
    assert_string_equal(server_ask(s, "CONFIG", "SET", "Dir", "/"), OK);
}

static void config_set_names(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "CONFIG", "SET", "hz", "20", "nosuch", "1", "port", "2"),
                        "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'\r\n");
    assert_string_equal(server_ask(s, "CONFIG", "SET", "port", "1", "nosuch", "1"),
                        "-ERR CONFIG SET failed (possibly related to argument 'port') - can't set "
                        "immutable config\r\n");
    // Two names of one option.
    assert_string_equal(server_ask(s, "CONFIG", "SET", "hz", "1", "Rate", "1"),
                        "-ERR CONFIG SET failed (possibly related to argument 'Rate') - duplicate "
                        "parameter\r\n");
    assert_string_equal(s->changed, "");
}

static void config_others(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "CONFIG", "RESETSTAT"), OK);
    for (unsigned i = 0; i < SERVER_CORES; i++)
        assert_int_equal(s->cores[i].reset, 1);
    assert_string_equal(server_ask(s, "CONFIG", "REWRITE"), OK);
    s->config_error = "The server is running without a config file";
    assert_string_equal(server_ask(s, "CONFIG", "REWRITE"),
                        "-ERR The server is running without a config file\r\n");
}

static void info_sums_the_cores(void **state)
{
    struct server *s = *state;
    const char *text = server_ask(s, "INFO", "everything");
    static const char *const fields[] = {
        "redis_version:7.0.15\r\n",
        "pollux_version:9.8.7\r\n",
        "redis_mode:standalone\r\n",
        "tcp_port:6379\r\n",
        "uptime_in_seconds:90061\r\n",
        "uptime_in_days:1\r\n",
        "hz:10\r\n",
        "\r\n# Clients\r\nconnected_clients:12\r\n",
        "maxclients:10000\r\n",
        "client_recent_max_input_buffer:30\r\n",
        "client_recent_max_output_buffer:100\r\n",
        "mem_clients_normal:30\r\n",
        "used_memory_rss:4096\r\nused_memory_rss_human:4.00K\r\n",
        "maxmemory:1048576\r\nmaxmemory_human:1.00M\r\nmaxmemory_policy:allkeys-lru\r\n",
        "loading:0\r\n",
        "total_commands_processed:303\r\n",
        "instantaneous_ops_per_sec:60\r\n",
        "instantaneous_input_kbps:0.75\r\n",
        "role:master\r\n",
        "used_cpu_user:4.500000\r\n",
        "used_cpu_user_main_thread:1.500000\r\n",
        "# Modules\r\n\r\n",
        "cmdstat_ping:calls=6,usec=18,usec_per_call=3.00,rejected_calls=0,failed_calls=0\r\n",
        "cmdstat_config|get:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0\r\n",
        "errorstat_ERR:count=6\r\nerrorstat_WRONGTYPE:count=4\r\n",
        "cluster_enabled:0\r\n",
        "# Keyspace\r\n",
        "cores:3\r\n",
        "transport:socket\r\n",
        "core2:commands=102,ops_per_sec=30,clients=4,busy_perc=25.00,turns=0\r\n",
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        has(text, fields[i]);
    has_not(text, "cmdstat_get:");
}

static void info_sections(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "INFO", "CLUSTER"),
                        "$30\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n");
    assert_string_equal(server_ask(s, "INFO", "nosuch"), "$0\r\n\r\n");
    const char *text = server_ask(s, "INFO");
    has(text, "# Server\r\n");
    has(text, "# Modules\r\n");
    has(text, "# Pollux\r\n");
    has_not(text, "# Commandstats");
    text = server_ask(s, "INFO", "all");
    has(text, "# Commandstats\r\n");
    // Each once and in the fixed order, whatever was asked twice.
    assert_string_equal(server_ask(s, "INFO", "errorstats", "modules", "Modules"),
                        "$79\r\n# Modules\r\n\r\n# Errorstats\r\nerrorstat_ERR:count=6\r\n"
                        "errorstat_WRONGTYPE:count=4\r\n\r\n");
    s->session.resp = 3;
    assert_string_equal(server_ask(s, "INFO", "modules"), "=15\r\ntxt:# Modules\r\n\r\n");
}

static void info_counts_keys(void **state)
{
    struct server *s = *state;
    struct key key = keyspace_key(s->keyspace, "k", 1);
    const struct arg value = {.ptr = (const uint8_t *)"v", .len = 1};
    struct store *owner = s->cores[keyspace_core(s->keyspace, key.slot)].store;
    store_set_string(owner, 3, &key, NULL, &value, INT64_MAX / 2, 0);
    assert_string_equal(server_ask(s, "INFO", "keyspace"),
                        "$44\r\n# Keyspace\r\ndb3:keys=1,expires=1,avg_ttl=0\r\n\r\n");
}

static void memory(void **state)
{
    struct server *s = *state;
    const char *text = server_ask(s, "MEMORY", "STATS");
    assert_memory_equal(text, "*54\r\n", 5);
    has(text, "$14\r\nclients.normal\r\n:30\r\n");
    has(text, "$10\r\nkeys.count\r\n:0\r\n");
    has(server_ask(s, "MEMORY", "DOCTOR"), "next to nothing");
    assert_string_equal(server_ask(s, "MEMORY", "PURGE"), OK);
    assert_int_equal(server_ask(s, "MEMORY", "MALLOC-STATS")[0], '$');
    assert_string_equal(server_ask(s, "MEMORY", "STATS", "x"),
                        "-ERR wrong number of arguments for 'memory|stats' command\r\n");
}

static void debug_on_all_cores(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "DEBUG", "SLEEP", "0.25"), OK);
    for (unsigned i = 0; i < SERVER_CORES; i++)
        assert_int_equal(s->cores[i].frozen_us, 250000);
    assert_string_equal(server_ask(s, "DEBUG", "SLEEP", "x"), OK);
    assert_string_equal(server_ask(s, "DEBUG", "SLEEP", "-1"), OK);
    assert_int_equal(s->cores[0].frozen_us, 250000);
    assert_string_equal(server_ask(s, "DEBUG", "SET-ACTIVE-EXPIRE", "0"), OK);
    assert_string_equal(server_ask(s, "DEBUG", "ERROR", "OOPS a\r\nb"), "-OOPS a  b\r\n");
    assert_string_equal(server_ask(s, "DEBUG", "nosuch"),
                        "-ERR unknown subcommand or wrong number of arguments for 'nosuch'. Try "
                        "DEBUG HELP.\r\n");
    s->allow_protected = false;
    assert_memory_equal(server_ask(s, "DEBUG", "SLEEP", "1"), "-ERR DEBUG command not allowed. ",
                        32);
    assert_int_equal(s->cores[0].frozen_us, 250000);
}

// Whichever core has the key, one answer comes back.
static void debug_object(void **state)
{
    struct server *s = *state;
    char name[8];
    for (int i = 0; i < 20; i++) {
        int len = snprintf(name, sizeof(name), "k%d", i);
        struct key key = keyspace_key(s->keyspace, name, (size_t)len);
        struct store *owner = s->cores[keyspace_core(s->keyspace, key.slot)].store;
        const struct arg value = {.ptr = (const uint8_t *)"300", .len = 3};
        store_set_string(owner, 0, &key, NULL, &value, -1, SET_INTEGER_TRY);
        const char *text = server_ask(s, "DEBUG", "OBJECT", name);
        assert_memory_equal(text, "+Value at:0x", 12);
        has(text, " refcount:1 encoding:int serializedlength:3 lru:");
        has(text, " lru_seconds_idle:0\r\n");
    }
    assert_string_equal(server_ask(s, "DEBUG", "OBJECT", "none"), "-ERR no such key\r\n");
    assert_true(s->replied_error);
}

static void debug_protocol(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "DEBUG", "PROTOCOL", "map"),
                        "*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n:2\r\n:0\r\n");
    assert_string_equal(server_ask(s, "DEBUG", "PROTOCOL", "push"),
                        "-ERR RESP2 is not supported by this command\r\n");
    assert_memory_equal(server_ask(s, "DEBUG", "PROTOCOL", "x"), "-ERR Wrong protocol type name.",
                        30);
    s->session.resp = 3;
    assert_string_equal(server_ask(s, "DEBUG", "PROTOCOL", "bignum"),
                        "(1234567999999999999999999999999999999\r\n");
    assert_string_equal(server_ask(s, "DEBUG", "PROTOCOL", "verbatim"),
                        "=29\r\ntxt:This is a verbatim\nstring\r\n");
    assert_memory_equal(server_ask(s, "DEBUG", "PROTOCOL", "attrib"), "|1\r\n", 4);
}

static void shutdown(void **state)
{
    struct server *s = *state;
    static const char *const wrong[][2] = {
        {"save", "nosave"}, {"abort", "now"}, {"x", "now"}, {"nosave", "x"}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_string_equal(server_ask(s, "SHUTDOWN", wrong[i][0], wrong[i][1]),
                            "-ERR syntax error\r\n");
    assert_string_equal(server_ask(s, "SHUTDOWN", "ABORT"), "-ERR No shutdown in progress.\r\n");
    assert_false(s->shutting_down);
    assert_string_equal(server_ask(s, "SHUTDOWN", "NOSAVE", "now", "FORCE"), "");
    assert_true(s->shutting_down);
}

static void others(void **state)
{
    struct server *s = *state;
    has(server_ask(s, "LOLWUT"), "\nPollux 9.8.7. Redis ver. 7.0.15\n");
    assert_string_equal(server_ask(s, "LOLWUT", "VERSION", "x"),
                        "-ERR value is not an integer or out of range\r\n");
    long long seconds;
    int digits;
    assert_int_equal(sscanf(server_ask(s, "TIME"), "*2 $%d %lld", &digits, &seconds), 2);
    assert_int_equal(digits, 10);
    assert_true(seconds > 1700000000);
}

// Two calls of PING on each core: one microsecond long on the first, two on the second …
static void latency_of_commands(void **state)
{
    struct server *s = *state;
    assert_string_equal(server_ask(s, "LATENCY", "HISTOGRAM", "ping", "nosuch"),
                        "*2\r\n$4\r\nping\r\n*4\r\n$5\r\ncalls\r\n:6\r\n$14\r\nhistogram_usec"
                        "\r\n*6\r\n:1\r\n:2\r\n:2\r\n:4\r\n:4\r\n:6\r\n");
    assert_string_equal(server_ask(s, "LATENCY", "HISTOGRAM", "get"), "*0\r\n");
    has(server_ask(s, "INFO", "latencystats"), "latency_percentiles_usec_ping:p50=2.0");
    has_not(server_ask(s, "INFO", "commandstats"), "latency_percentiles");
}

static void series_of_events(void **state)
{
    (void)state;
    struct latency_series a = {0}, b = {0};
    for (uint32_t i = 0; i < 2 * LATENCY_SAMPLES; i++) {
        latency_series_add(&a, 100 + 2 * i, 5);
        latency_series_add(&b, 101 + 2 * i, i == 0 ? 90 : 7);
    }
    assert_int_equal(a.n, LATENCY_SAMPLES); // the newest
    assert_int_equal(a.sample[0].time_s, 100 + 2 * LATENCY_SAMPLES);
    latency_series_add(&a, a.sample[a.n - 1].time_s, 3);
    assert_int_equal(a.sample[a.n - 1].ms, 5); // the worst of a second
    latency_series_add(&a, b.sample[b.n - 1].time_s, 30);
    latency_series_merge(&a, &b);
    assert_int_equal(a.n, LATENCY_SAMPLES);
    assert_int_equal(a.max_ms, 90); // though it is long gone
    assert_int_equal(a.sample[a.n - 1].ms, 30);
    for (uint32_t i = 1; i < a.n; i++)
        assert_int_equal(a.sample[i].time_s, a.sample[i - 1].time_s + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(config_get, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(config_set, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(config_set_protected, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(config_set_names, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(config_others, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(info_sums_the_cores, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(info_sections, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(info_counts_keys, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(memory, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(debug_on_all_cores, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(debug_object, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(debug_protocol, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(shutdown, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(others, server_setup, server_teardown),
        cmocka_unit_test_setup_teardown(latency_of_commands, server_setup, server_teardown),
        cmocka_unit_test(series_of_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
