#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/protocol.h"

// An output of fixed size: what was written can be looked at.
static uint8_t written[4096];

static void no_more_room(struct out *o, size_t need)
{
    (void)o;
    (void)need;
    fail_msg("wrote more than a request takes");
}

// A protocol for values of one size.
static bool init(struct protocol *p, uint32_t size, bool verify)
{
    static const struct preset test = {.name = "mixed", .n = 2};
    const struct options o = {
        .threads = 1, .keys = 1000, .verify = verify, .data = {.low = size, .high = size}};
    char error[256];
    return protocol_init(p, &test, &o, 0, error, sizeof(error));
}

static const struct out_ops test_out_ops = {.grow = no_more_room};

static size_t write_request(struct protocol *p, struct request r)
{
    struct out o = {.pos = written, .end = written + sizeof(written), .ops = &test_out_ops};
    protocol_write(p, &o, r);
    return (size_t)(o.pos - written);
}

static void requests_are_resp(void **state)
{
    (void)state;
    struct protocol p;
    assert_true(init(&p, 20, false));
    const char *set =
        "*3\r\n$3\r\nSET\r\n$16\r\nkey:123456789012\r\n$20\r\nkey:123456789012qrst\r\n";
    struct request r = {.key = UINT64_C(123456789012), .op = COMMAND_SET};
    assert_int_equal(write_request(&p, r), strlen(set));
    assert_memory_equal(written, set, strlen(set));
    const char *get = "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n";
    r = (struct request){.key = 42, .op = COMMAND_GET};
    assert_int_equal(write_request(&p, r), strlen(get));
    assert_memory_equal(written, get, strlen(get));
    protocol_free(&p);
}

static void sizes_from_nothing_to_more_than_a_span(void **state)
{
    (void)state;
    for (uint32_t size = 0; size < 2000; size += size < 20 ? 1 : 333) {
        struct protocol p;
        char head[64];
        assert_true(init(&p, size, false));
        size_t n = write_request(&p, (struct request){.key = 7, .op = COMMAND_SET});
        int h = snprintf(head, sizeof(head),
                         "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000007\r\n$%u\r\n", size);
        assert_int_equal(n, (size_t)h + size + 2);
        assert_memory_equal(written, head, h);
        assert_memory_equal(written + h, "key:000000000007", size < 16 ? size : 16);
        protocol_free(&p);
    }
}

// Gives `text` to a scanner in pieces of at most `step` bytes.
static enum reply_kind scan(const struct protocol *p, struct request r, const char *text,
                            size_t step)
{
    struct scanner s = {0};
    size_t len = strlen(text), at = 0, used;
    enum reply_kind kind = REPLY_MORE;
    while (at < len && kind == REPLY_MORE) {
        size_t n = len - at < step ? len - at : step;
        kind = protocol_scan(p, &s, r, (const uint8_t *)text + at, n, &used);
        assert_true(used <= n && used > 0);
        assert_true(kind != REPLY_MORE || used == n);
        at += used;
    }
    if (kind != REPLY_MORE && kind != REPLY_BROKEN)
        assert_int_equal(at, len); // took its own bytes and no more
    return kind;
}

static void replies_are_judged_wherever_they_are_cut(void **state)
{
    (void)state;
    struct protocol p;
    assert_true(init(&p, 20, true));
    struct request set = {.key = 3, .op = COMMAND_SET}, get = {.key = 3, .op = COMMAND_GET},
                   pong = {.op = COMMAND_PING};
    for (size_t step = 1; step < 40; step++) {
        assert_int_equal(scan(&p, set, "+OK\r\n", step), REPLY_OK);
        assert_int_equal(scan(&p, pong, "+PONG\r\n", step), REPLY_OK);
        assert_int_equal(scan(&p, get, "$20\r\nkey:000000000003qrst\r\n", step), REPLY_OK);
        assert_int_equal(scan(&p, get, "$-1\r\n", step), REPLY_MISS);
        assert_int_equal(scan(&p, set, "-OOM no memory\r\n", step), REPLY_ERROR);
        // Another key's value, another tail, another length, another type.
        assert_int_equal(scan(&p, get, "$20\r\nkey:000000000004qrst\r\n", step), REPLY_WRONG);
        assert_int_equal(scan(&p, get, "$20\r\nkey:000000000003qrsT\r\n", step), REPLY_WRONG);
        assert_int_equal(scan(&p, get, "$4\r\nkey:\r\n", step), REPLY_WRONG);
        assert_int_equal(scan(&p, get, "+OK\r\n", step), REPLY_WRONG);
        assert_int_equal(scan(&p, set, ":1\r\n", step), REPLY_WRONG);
        assert_int_equal(scan(&p, set, "$-1\r\n", step), REPLY_WRONG);
        assert_int_equal(scan(&p, set, "HTTP/1.1 200 OK\r\n", step), REPLY_BROKEN);
        assert_int_equal(scan(&p, get, "$x\r\n", step), REPLY_BROKEN);
        assert_int_equal(scan(&p, get, "$20\r\nkey:0000000000", step), REPLY_MORE);
    }
    protocol_free(&p);
}

static void keys_are_uniform_and_repeatable(void **state)
{
    (void)state;
    struct options o = {.keys = 10, .seed = 5, .threads = 1};
    struct preset get = {.n = 1, .commands = {{.kind = COMMAND_GET, .weight = 1}}};
    struct workload a, b;
    unsigned seen[10] = {0};
    workload_init(&a, &get, &o, 0);
    workload_init(&b, &get, &o, 0);
    for (unsigned i = 0; i < 100000; i++) {
        struct request r = workload_next(&a), s = workload_next(&b);
        assert_int_equal(r.key, s.key);
        assert_true(r.key < 10);
        seen[r.key]++;
    }
    for (unsigned i = 0; i < 10; i++)
        assert_in_range(seen[i], 9500, 10500);
}

static void filling_sets_every_key_once(void **state)
{
    (void)state;
    struct options o = {.keys = 1000, .threads = 3};
    struct preset fill = {.n = 1, .fill = true, .commands = {{.kind = COMMAND_SET, .weight = 1}}};
    unsigned next = 0;
    for (unsigned thread = 0; thread < 3; thread++) {
        struct workload w;
        workload_init(&w, &fill, &o, thread);
        for (uint64_t n = workload_fill_requests(&o, thread); n > 0; n--) {
            struct request r = workload_next(&w);
            assert_int_equal(r.key, next++);
            assert_int_equal(r.op, COMMAND_SET);
        }
    }
    assert_int_equal(next, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_resp),
        cmocka_unit_test(sizes_from_nothing_to_more_than_a_span),
        cmocka_unit_test(replies_are_judged_wherever_they_are_cut),
        cmocka_unit_test(keys_are_uniform_and_repeatable),
        cmocka_unit_test(filling_sets_every_key_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
