// Requests of the fast paths, and the order in which a workload asks for them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/protocol.h"
#include "common/slot.h"
#include "tests/unit/bench/written.h"

static uint8_t bytes[70000];

static const struct preset mixed = {
    .n = 2, .commands = {{.kind = COMMAND_SET, .weight = 1}, {.kind = COMMAND_GET, .weight = 3}}};

// A protocol for values of the lengths that `sizes` says.
static void init(struct protocol *p, const char *sizes, bool verify, enum bench_protocol protocol)
{
    struct preset test = mixed;
    const struct options o = {.threads = 1, .keys = 1000, .verify = verify, .protocol = protocol};
    char error[256];
    assert_true(values_parse(&test.data, sizes, strlen(sizes)));
    assert_true(protocol_init(p, &test, &o, 0, error, sizeof(error)));
}

static const char *request(struct protocol *p, struct request r, size_t step, size_t *len)
{
    static struct written w;
    uint64_t before = p->written;
    written_begin(&w, bytes, step);
    protocol_write(p, &w.out, r);
    *len = written_end(&w);
    assert_int_equal(p->written - before, *len);
    return (const char *)bytes;
}

static void requests_are_resp(void **state)
{
    (void)state;
    struct protocol p;
    size_t len;
    init(&p, "20", false, BENCH_RESP);
    struct request set = {.key = UINT64_C(123456789012), .op = COMMAND_SET},
                   get = {.key = 42, .op = COMMAND_GET}, pong = {.op = COMMAND_PING};
    for (size_t step = 1; step < 200; step++) {
        assert_string_equal(
            request(&p, set, step, &len),
            "*3\r\n$3\r\nSET\r\n$16\r\nkey:123456789012\r\n$20\r\nabcdefghijklmnopqrst\r\n");
        assert_string_equal(request(&p, get, step, &len),
                            "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n");
        assert_string_equal(request(&p, pong, step, &len), "*1\r\n$4\r\nPING\r\n");
    }
    protocol_free(&p);
}

static void requests_are_memcached(void **state)
{
    (void)state;
    struct protocol p;
    size_t len;
    init(&p, "4", false, BENCH_MEMCACHE);
    struct request set = {.key = 7, .op = COMMAND_SET}, get = {.key = 42, .op = COMMAND_GET},
                   pong = {.op = COMMAND_PING};
    assert_string_equal(request(&p, set, 4000, &len), "set key:000000000007 0 0 4\r\nabcd\r\n");
    assert_string_equal(request(&p, get, 4000, &len), "get key:000000000042\r\n");
    assert_string_equal(request(&p, pong, 4000, &len), "version\r\n");
    protocol_free(&p);
}

// Of every length, whether it is copied at once or in pieces, fixed or drawn, recognisable or not.
static void values_of_every_size(void **state)
{
    (void)state;
    static const char *const sizes[] = {"0",   "1",   "31",  "40",    "64",   "400",       "450",
                                        "512", "513", "999", "12345", "0-90", "5:1,3000:1"};
    for (unsigned i = 0; i < 2 * sizeof(sizes) / sizeof(*sizes); i++) {
        struct protocol p;
        bool verify = i % 2;
        init(&p, sizes[i / 2], verify, BENCH_RESP);
        for (unsigned key = 0; key < 30; key++) {
            size_t len;
            char head[64], error[256];
            const char *text =
                request(&p, (struct request){.key = key, .op = COMMAND_SET}, 1 + key * 50, &len);
            uint32_t size = (uint32_t)strtoul(text + 37, NULL, 10);
            assert_true(values_has(&p.values, size));
            int n = snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012u\r\n$%u\r\n",
                             key, size);
            assert_int_equal(len, (size_t)n + size + 2);
            assert_memory_equal(text, head, n);
            assert_string_equal(text + n + size, "\r\n");
            struct value_check check;
            value_check_begin(&check, key, size, false);
            bool good =
                value_check_bytes(&check, (const uint8_t *)text + n, size, error, sizeof(error));
            if (verify || size >= 8) // few letters may be right by chance
                assert_int_equal(good, verify);
        }
        protocol_free(&p);
    }
}

static void nothing_is_written_behind_a_span(void **state)
{
    (void)state;
    struct protocol p;
    init(&p, "64", false, BENCH_RESP);
    for (size_t room = 1; room < 300; room++) {
        struct written w;
        memset(w.span, '#', sizeof(w.span));
        written_begin(&w, bytes, room);
        uint8_t *end = w.out.end;
        protocol_write(&p, &w.out, (struct request){.key = 1, .op = COMMAND_SET});
        if (w.out.end == end) // there was room enough
            for (unsigned i = 0; i < 256; i++)
                assert_int_equal(end[i], '#');
    }
    protocol_free(&p);
}

static void slots_are_known(void **state)
{
    (void)state;
    struct protocol p;
    init(&p, "20", false, BENCH_RESP);
    unsigned slot = slot_of_key((const uint8_t *)"key:000000000042", 16);
    assert_int_equal(protocol_slot(&p, (struct request){.key = 42, .op = COMMAND_GET}), slot);
    assert_int_equal(protocol_slot(&p, (struct request){.key = 42, .op = COMMAND_SET}), slot);
    assert_int_equal(protocol_slot(&p, (struct request){.op = COMMAND_PING}), SLOTS);
    protocol_free(&p);
}

// --- workloads ---------------------------------------------------------------------------------

static void workloads_repeat_with_their_seed(void **state)
{
    (void)state;
    static const enum bench_keys kinds[] = {KEYS_UNIFORM, KEYS_ZIPFIAN, KEYS_HOT, KEYS_LATEST,
                                            KEYS_SEQUENTIAL};
    for (unsigned i = 0; i < 5; i++) {
        struct options o = {.keys = 100000,
                            .seed = 5,
                            .threads = 2,
                            .theta = 0.99,
                            .hot_keys = 0.1,
                            .hot_share = 0.9,
                            .connections = 2,
                            .pipeline = 1};
        struct preset test = mixed;
        struct workload a, b, other;
        unsigned same = 0;
        test.distribution = kinds[i];
        assert_true(workload_init(&a, &test, &o, 0));
        assert_true(workload_init(&b, &test, &o, 0));
        assert_true(workload_init(&other, &test, &o, 1)); // another thread asks for others
        for (unsigned k = 0; k < 1000; k++) {
            struct request r = workload_next(&a), s = workload_next(&b);
            assert_int_equal(r.key, s.key);
            assert_int_equal(r.op, s.op);
            assert_int_equal(r.command, s.command);
            same += workload_next(&other).key == r.key;
        }
        assert_in_range(same, 0, 100);
        workload_free(&a);
        workload_free(&b);
        workload_free(&other);
    }
}

static void mixes_keep_their_weights(void **state)
{
    (void)state;
    struct options o = {.keys = 10, .seed = 5, .threads = 1, .connections = 1, .pipeline = 1};
    struct workload w;
    unsigned sets = 0;
    assert_true(workload_init(&w, &mixed, &o, 0));
    for (unsigned i = 0; i < 100000; i++) {
        struct request r = workload_next(&w);
        assert_int_equal(r.op, mixed.commands[r.command].kind);
        sets += r.op == COMMAND_SET;
    }
    assert_in_range(sets, 24450, 25550); // four standard deviations
}

static void filling_sends_every_command_once_for_each_key(void **state)
{
    (void)state;
    struct options o = {.keys = 1000, .threads = 3, .connections = 3, .pipeline = 1};
    struct preset fill = {
        .n = 2,
        .fill = true,
        .keys = 500,
        .distribution = KEYS_ZIPFIAN,
        .commands = {{.kind = COMMAND_SET, .weight = 1}, {.kind = COMMAND_PING, .weight = 1}}};
    unsigned next = 0;
    for (unsigned thread = 0; thread < 3; thread++) {
        struct workload w;
        assert_true(workload_init(&w, &fill, &o, thread));
        for (uint64_t n = workload_fill_requests(&fill, &o, thread); n > 0; n--, next++) {
            struct request r = workload_next(&w);
            assert_int_equal(r.key, next / 2);
            assert_int_equal(r.command, next % 2);
            assert_int_equal(r.op, next % 2 ? COMMAND_PING : COMMAND_SET);
        }
        workload_free(&w);
    }
    assert_int_equal(next, 1000);
    o.keys = fill.keys = 2; // fewer keys than threads: still each once
    uint64_t all = 0;
    for (unsigned thread = 0; thread < 3; thread++)
        all += workload_fill_requests(&fill, &o, thread);
    assert_int_equal(all, 4);
}

static void only_insertions_make_new_keys(void **state)
{
    (void)state;
    struct options o = {
        .keys = 1000, .seed = 3, .threads = 2, .theta = 0.99, .connections = 4, .pipeline = 5};
    struct preset test = {.n = 2,
                          .distribution = KEYS_LATEST,
                          .commands = {{.kind = COMMAND_GET, .weight = 95},
                                       {.kind = COMMAND_SET, .weight = 5, .insert = true}}};
    struct workload w;
    uint64_t new = 1001, lag = UINT64_MAX;
    assert_true(workload_init(&w, &test, &o, 1));
    for (unsigned i = 0; i < 50000; i++) {
        struct request r = workload_next(&w);
        if (r.op == COMMAND_SET) {
            assert_int_equal(r.key, new);
            new += 2;
        } else if (r.key >= 1000) {
            assert_true(r.key % 2 && r.key < new);
            lag = new - r.key < lag ? new - r.key : lag;
        }
    }
    assert_in_range(new, 1001 + 2 * 2300, 1001 + 2 * 2700);
    // What may be under way, one insertion here, is not asked for; what came before is.
    assert_int_equal(lag, 2 * (1 + 1));
    workload_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_resp),
        cmocka_unit_test(requests_are_memcached),
        cmocka_unit_test(values_of_every_size),
        cmocka_unit_test(nothing_is_written_behind_a_span),
        cmocka_unit_test(slots_are_known),
        cmocka_unit_test(workloads_repeat_with_their_seed),
        cmocka_unit_test(mixes_keep_their_weights),
        cmocka_unit_test(filling_sends_every_command_once_for_each_key),
        cmocka_unit_test(only_insertions_make_new_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
