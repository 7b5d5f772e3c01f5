// Tests that have names: whatever they send must be a request, their mixes are those that were
// published, and filling is done when it is needed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/protocol.h"
#include "tests/unit/bench/written.h"

static char error[256];
static uint8_t bytes[1u << 21];

static struct options options(void)
{
    return (struct options){.threads = 1,
                            .connections = 1,
                            .pipeline = 1,
                            .keys = 1000000,
                            .seed = 1,
                            .theta = 0.99,
                            .set_weight = 1,
                            .get_weight = 10,
                            .expire_s = 60,
                            .data = {.low = 64, .high = 64}};
}

static unsigned presets(struct options *o, struct preset *tests, unsigned n, ...)
{
    va_list names;
    va_start(names, n);
    for (unsigned i = 0; i < n; i++)
        o->tests[i] = va_arg(names, const char *);
    va_end(names);
    o->n_tests = n;
    return presets_of(o, tests, error, sizeof(error));
}

// Every request is arrays of bulk strings with the lengths they say, as many as have replies.
static void expect_resp(const uint8_t *data, size_t len, unsigned requests)
{
    const char *p = (const char *)data, *end = p + len;
    for (; requests; requests--) {
        char *next;
        assert_int_equal(*p, '*');
        unsigned long words = strtoul(p + 1, &next, 10);
        assert_true(words >= 1);
        for (p = next + 2; words; words--) {
            assert_int_equal(*p, '$');
            unsigned long size = strtoul(p + 1, &next, 10);
            assert_int_equal(strncmp(next, "\r\n", 2), 0);
            p = next + 2 + size;
            assert_true(p + 2 <= end);
            assert_int_equal(strncmp(p, "\r\n", 2), 0);
            p += 2;
        }
    }
    assert_ptr_equal(p, end);
}

static void send_some(const struct options *o, const struct preset *test)
{
    static struct protocol p;
    static struct written w;
    struct workload load;
    if (!protocol_init(&p, test, o, 0, error, sizeof(error)))
        fail_msg("%s: %s", test->name, error);
    assert_true(workload_init(&load, test, o, 0));
    for (unsigned i = 0; i < 30; i++) {
        struct request r = workload_next(&load);
        written_begin(&w, bytes, 1400);
        protocol_write(&p, &w.out, r);
        size_t len = written_end(&w);
        expect_resp(bytes, len, r.op == COMMAND_ANY ? p.commands[r.command].replies : 1);
    }
    workload_free(&load);
    protocol_free(&p);
}

static void all_presets_send_requests(void **state)
{
    (void)state;
    const char *line, *name;
    unsigned n = 0;
    for (; (name = presets_describe(n, &line)); n++) {
        for (unsigned variant = 0; variant < 4; variant++) {
            struct options o = options();
            struct preset test[OPTIONS_TESTS_MAX], fill;
            o.verify = variant & 1;
            o.cluster = variant & 2;
            assert_int_equal(presets(&o, test, 1, name), 1);
            assert_string_equal(test[0].name, name);
            assert_in_range(test[0].keys, 1, o.keys);
            send_some(&o, test);
            assert_int_equal(presets_fill(&o, test, 0, &fill), !test[0].unfilled);
            if (!test[0].unfilled) {
                assert_true(fill.fill && fill.keys == test[0].keys);
                send_some(&o, &fill);
            }
            o.keys = 5; // fewer than a preset may want
            assert_int_equal(presets(&o, test, 1, name), 1);
            assert_int_equal(test[0].keys, 5);
        }
        assert_true(strlen(line) > 3 && strlen(line) < 80);
    }
    assert_true(n >= 29);
}

// YCSB's core workloads, as their files workloada to workloadf say.
static void ycsb_is_as_published(void **state)
{
    (void)state;
    static const struct {
        const char *name, *commands[2];
        unsigned weights[2];
        enum bench_keys keys;
    } core[] = {
        {"ycsb-a", {"read", "update"}, {50, 50}, KEYS_ZIPFIAN},
        {"ycsb-b", {"read", "update"}, {95, 5}, KEYS_ZIPFIAN},
        {"ycsb-c", {"read", NULL}, {100, 0}, KEYS_ZIPFIAN},
        {"ycsb-d", {"read", "insert"}, {95, 5}, KEYS_LATEST},
        {"ycsb-e", {"scan", "insert"}, {95, 5}, KEYS_ZIPFIAN},
        {"ycsb-f", {"read", "read-modify-write"}, {50, 50}, KEYS_ZIPFIAN},
    };
    for (unsigned i = 0; i < 6; i++) {
        struct options o = options();
        struct preset test[OPTIONS_TESTS_MAX];
        o.distribution = KEYS_SEQUENTIAL; // is not asked
        assert_int_equal(presets(&o, test, 1, core[i].name), 1);
        assert_int_equal(test[0].distribution, core[i].keys);
        assert_int_equal(test[0].n, core[i].commands[1] ? 2 : 1);
        for (unsigned k = 0; k < test[0].n; k++) {
            assert_string_equal(test[0].commands[k].name, core[i].commands[k]);
            assert_int_equal(test[0].commands[k].weight, core[i].weights[k]);
            assert_int_equal(test[0].commands[k].insert,
                             strcmp(core[i].commands[k], "insert") == 0);
        }
        // A record of ten fields of 100 bytes.
        assert_string_equal(
            test[0].fills[0] + strlen(test[0].fills[0]) -
                (i == 4 ? strlen("{data:100} ; ZADD users {key} user{key}") : strlen("{data:100}")),
            i == 4 ? "{data:100} ; ZADD users {key} user{key}" : "{data:100}");
    }
}

static void options_are_followed(void **state)
{
    (void)state;
    struct options o = options();
    struct preset test[OPTIONS_TESTS_MAX];
    o.distribution = KEYS_HOT;
    assert_int_equal(presets(&o, test, 4, "SET", "mixed", "large", "churn"), 4);
    assert_int_equal(test[0].distribution, KEYS_HOT);
    assert_int_equal(test[0].commands[0].kind, COMMAND_SET);
    assert_int_equal(test[1].commands[0].weight, 1);
    assert_int_equal(test[1].commands[1].weight, 10);
    assert_int_equal(test[2].data.low, 1 << 20);
    assert_true(test[3].churn && !test[1].churn);
    assert_int_equal(presets(&o, test, 2, "set", "nothing"), 0);
    assert_string_equal(error, "--test nothing: no such test; see --list");
    o.set_weight = o.get_weight = 0;
    assert_int_equal(presets(&o, test, 1, "mixed"), 0);
    assert_int_equal(strncmp(error, "--ratio: ", 9), 0);
}

static void own_commands_are_tests_or_a_mix(void **state)
{
    (void)state;
    struct options o = options();
    struct preset test[OPTIONS_TESTS_MAX];
    o.n_commands = 4;
    o.commands[0].line = "GET a{key}";
    o.commands[1].line = "SET a{key} {data}";
    o.commands[1].weight = 3;
    o.commands[2].line = "INCR b";
    o.commands[3].line = "DEL a{key}";
    o.commands[3].weight = 1;
    assert_int_equal(presets_of(&o, test, error, sizeof(error)), 3);
    assert_string_equal(test[0].name, "GET a{key}");
    assert_string_equal(test[1].name, "mix");
    assert_int_equal(test[1].n, 2);
    assert_int_equal(test[1].commands[0].weight, 3);
    assert_string_equal(test[1].commands[1].line, "DEL a{key}");
    assert_string_equal(test[2].name, "INCR b");
    o.commands[3].line = "DEL {kay}";
    assert_int_equal(presets_of(&o, test, error, sizeof(error)), 0);
    assert_non_null(strstr(error, "{kay}"));
}

static void memcached_has_few_tests(void **state)
{
    (void)state;
    struct options o = options();
    struct preset test[OPTIONS_TESTS_MAX];
    o.protocol = BENCH_MEMCACHE;
    assert_int_equal(presets(&o, test, 4, "set", "get", "mixed", "churn"), 4);
    assert_int_equal(presets(&o, test, 2, "set", "lpush"), 0);
    assert_non_null(strstr(error, "memcache"));
}

static void filling_is_done_when_it_is_needed(void **state)
{
    (void)state;
    struct options o = options();
    struct preset test[OPTIONS_TESTS_MAX], fill;
    assert_int_equal(presets(&o, test, 9, "set", "get", "ping", "mixed", "large", "lpush", "lpop",
                             "rpop", "set"),
                     9);
    static const bool needed[] = {true, false, false, false, true, true, false, true, false};
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(presets_fill(&o, test, i, &fill), needed[i]);
    assert_true(presets_fill(&o, test, 4, &fill));
    assert_int_equal(fill.data.low, 1 << 20);
    assert_int_equal(fill.commands[0].kind, COMMAND_SET);
    assert_true(presets_fill(&o, test, 7, &fill));
    assert_int_equal(fill.commands[0].kind, COMMAND_ANY);
    assert_int_equal(strncmp(fill.commands[0].line, "RPUSH ", 6), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_presets_send_requests),
        cmocka_unit_test(ycsb_is_as_published),
        cmocka_unit_test(options_are_followed),
        cmocka_unit_test(own_commands_are_tests_or_a_mix),
        cmocka_unit_test(memcached_has_few_tests),
        cmocka_unit_test(filling_is_done_when_it_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
