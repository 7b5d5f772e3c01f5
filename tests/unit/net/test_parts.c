// The small parts of the stack, each alone: checksum, options, timer wheel, connection table.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/net/peer.h"

// RFC 1071 word by word.
static uint16_t plain_sum(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static void test_checksum(void **state)
{
    (void)state;
    struct wire_rng rng;
    wire_seed(&rng, 3);
    uint8_t data[2100];
    for (int round = 0; round < 20000; round++) {
        size_t len = wire_random(&rng) % 2000, offset = wire_random(&rng) % 64;
        uint8_t fill = (uint8_t)wire_random(&rng);
        for (size_t i = 0; i < len; i++) // runs of 0xff are where carries are lost
            data[offset + i] = round % 3 ? (uint8_t)wire_random(&rng) : fill | 0xf0;
        uint16_t got = net_sum_fold(net_sum(data + offset, len, 0)),
                 want = plain_sum(data + offset, len);
        got = __builtin_bswap16(got);
        // Zero has two forms.
        assert_true(got == want || (got % 0xffff == 0 && want % 0xffff == 0));
        size_t cut = len / 2 & ~(size_t)1;
        uint64_t parts = net_sum(data + offset + cut, len - cut, net_sum(data + offset, cut, 0));
        assert_int_equal(__builtin_bswap16(net_sum_fold(parts)) % 0xffff, want % 0xffff);
    }
    // The example of RFC 1071 section 3.
    static const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    assert_int_equal(net_sum_fold(net_sum(example, 8, 0)), __builtin_bswap16(0xddf2));
}

static bool parse(const char *bytes, uint32_t len, struct tcp_segment *s)
{
    *s = (struct tcp_segment){0};
    uint8_t *copy = calloc(1, len ? len : 1); // exact, so that reading on is found
    memcpy(copy, bytes, len);
    bool ok = tcp_options_parse(copy, len, s);
    free(copy);
    return ok;
}

static void test_options(void **state)
{
    (void)state;
    struct tcp_segment s;
    assert_true(parse("", 0, &s));
    assert_true(parse("\2\4\5\264\4\2\10\12\0\0\0\1\0\0\0\2\1\3\3\7", 20, &s));
    assert_true(s.has_mss && s.mss == 1460 && s.has_sack && s.has_scale && s.scale == 7);
    assert_true(s.has_stamp && s.ts_value == 1 && s.ts_echo == 2);
    assert_true(parse("\1\1\10\12\0\0\1\0\0\0\0\5", 12, &s));
    assert_true(s.has_stamp && s.ts_value == 256 && s.ts_echo == 5);
    assert_true(parse("\3\3\377\0", 4, &s));
    assert_int_equal(s.scale, 14);                                  // RFC 7323 2.3
    assert_true(parse("\0\377\377\377", 4, &s));                    // nothing counts behind the end
    assert_true(parse("\375\4ab\2\4\2\30", 8, &s) && s.mss == 536); // unknown ones are skipped
    assert_false(parse("\2\0\0\0", 4, &s));                         // a length that stands still
    assert_false(parse("\2\1\0\0", 4, &s));
    assert_false(parse("\2", 1, &s));
    assert_false(parse("\2\4\5", 3, &s));
    assert_false(parse("\2\3\5\1", 4, &s));
    assert_false(parse("\3\4\5\1", 4, &s));
    assert_false(parse("\4\3\0\0", 4, &s));
    assert_false(parse("\10\11\0\0\0\0\0\0\0\0\0\0", 12, &s));
    assert_false(parse("\1\1\1\10", 4, &s));
}

// --- the wheel against a plain list
// ---------------------------------------------------------------------

enum { TIMERS = 300 };
struct alarm {
    struct net_timer timer;
    uint64_t at_us;
    bool set;
};
static struct alarm alarms[TIMERS];
static uint64_t wheel_now_us;
static unsigned fired;

static void alarm_fire(void *context, struct net_timer *t)
{
    (void)context;
    struct alarm *a = (struct alarm *)t;
    assert_true(a->set);
    assert_true(a->at_us <= wheel_now_us); // never early
    assert_false(net_timer_running(t));
    a->set = false;
    fired++;
}

static void test_wheel(void **state)
{
    (void)state;
    struct wire_rng rng;
    for (uint64_t seed = 1; seed < 40; seed++) {
        wire_seed(&rng, seed);
        static struct net_wheel w;
        memset(alarms, 0, sizeof(alarms));
        wheel_now_us = wire_random(&rng) >> (8 + wire_random(&rng) % 40);
        net_wheel_init(&w, wheel_now_us);
        assert_true(net_wheel_next(&w) == UINT64_MAX);
        for (int round = 0; round < 3000; round++) {
            struct alarm *a = &alarms[wire_random(&rng) % TIMERS];
            a->timer.fire = alarm_fire;
            if (wire_random(&rng) % 4 == 0) {
                net_wheel_stop(&w, &a->timer);
                a->set = false;
            } else {
                a->at_us = wheel_now_us + (wire_random(&rng) >> (20 + wire_random(&rng) % 44));
                a->set = true;
                net_wheel_start(&w, &a->timer, a->at_us);
            }
            uint64_t first = UINT64_MAX;
            for (int i = 0; i < TIMERS; i++)
                if (alarms[i].set && alarms[i].at_us < first)
                    first = alarms[i].at_us;
            // Told in time, but for the rest of a tick.
            assert_true(first == UINT64_MAX || net_wheel_next(&w) <= first + 2048);
            if (wire_random(&rng) % 2)
                wheel_now_us += wire_random(&rng) >> (34 + wire_random(&rng) % 30);
            while (net_wheel_advance(&w, wheel_now_us, 1 + wire_random(&rng) % 8, NULL))
                ;
            for (int i = 0; i < TIMERS; i++)
                assert_false(alarms[i].set && alarms[i].at_us + 2048 < wheel_now_us);
        }
    }
    assert_true(fired > 10000);
}

// --- the table against a plain array, of both families
// ------------------------------------------------------------------------

static void test_flows(void **state)
{
    (void)state;
    enum { N = 2000 };
    static struct {
        struct net_flow_entry entry;
        struct net_pair6 pair;
    } items[N];
    static struct net_flow flows[N];
    static struct net_pair6 pairs[N];
    static bool in[N];
    struct wire_rng rng;
    wire_seed(&rng, 11);
    struct net_flows f;
    assert_true(net_flows_init(&f, N, (struct net_key){1, 2}));
    for (unsigned i = 0; i < N; i++) {
        flows[i] = (struct net_flow){
            .local = 1, .remote = i / 3 + 1, .remote_port = (uint16_t)(i / 3 * 7)};
        if (i % 3) { // two IPv6 flows that fold to the words of the IPv4 flow before them
            memcpy(pairs[i].local, &flows[i].local, 4);
            memcpy(pairs[i].remote + 4 * (i % 3), &flows[i].remote, 4);
            assert_int_equal(net_fold6(pairs[i].local), flows[i].local);
            assert_int_equal(net_fold6(pairs[i].remote), flows[i].remote);
            flows[i].pair = &pairs[i];
        }
        uint32_t hash = net_flows_hash(&f, &flows[i]);
        // Few different hashes: long runs, with every kind of gap.
        if (i / 3 % 2)
            hash &= 0xffff003f;
        if (i % 4 == 0)
            hash = 0xffff0000 | (uint32_t)f.mask; // runs over the end, with one tag
        net_flow_entry_set(&items[i].entry, &flows[i], hash, NET_FLOW_CONNECTION, &items[i].pair);
    }
    for (int round = 0; round < 100000; round++) {
        unsigned i = wire_random(&rng) % N;
        if (in[i])
            net_flows_remove(&f, &items[i].entry);
        else
            net_flows_add(&f, &items[i].entry);
        in[i] = !in[i];
        unsigned k = wire_random(&rng) % N;
        assert_ptr_equal(net_flows_find(&f, &flows[k], items[k].entry.hash),
                         in[k] ? &items[k].entry : NULL);
        if (round % 10000 == 0)
            for (k = 0; k < N; k++)
                assert_ptr_equal(net_flows_find(&f, &flows[k], items[k].entry.hash),
                                 in[k] ? &items[k].entry : NULL);
    }
    net_flows_free(&f);
}

// The 64-bit test vector of the SipHash paper's appendix: 15 bytes 00…0e under the key 00…0f.
static void test_siphash(void **state)
{
    (void)state;
    uint8_t key[16];
    for (int i = 0; i < 16; i++)
        key[i] = (uint8_t)i;
    uint64_t words[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    assert_true(net_sip(net_key_load(key), words, 2, 2, 4) == 0xa129ca6149be45e5);
}

// What is asked for within the rate is given, however finely time passes; beyond it, the rate is.
static void test_limiter(void **state)
{
    (void)state;
    enum { RATE = 500000, BURST = 1000, SECONDS = 2 };
    for (uint64_t step_us = 1; step_us <= 7; step_us += 2) {
        struct net *net = calloc(1, sizeof(*net));
        struct net_limiter l = {0};
        uint64_t given = 0, asked = 0, begin_us = 5000000;
        for (net->now_us = begin_us; net->now_us < begin_us + SECONDS * 1000000;
             net->now_us += step_us) {
            // Four fifths of the rate at steps of three microseconds and more, twice the rate at
            // one.
            for (uint64_t k = 0; k < (step_us == 1 ? 1 : step_us * 2 / 5); k++) {
                asked++;
                given += net_limiter_take(net, &l, RATE, BURST);
            }
        }
        if (step_us == 1)
            assert_in_range(given, SECONDS * RATE, SECONDS * RATE + BURST + 1);
        else
            assert_int_equal(given, asked);
        free(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum), cmocka_unit_test(test_options),
        cmocka_unit_test(test_wheel),    cmocka_unit_test(test_flows),
        cmocka_unit_test(test_siphash),  cmocka_unit_test(test_limiter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
