// Ethernet, ARP, IPv4 and ICMP: what is answered, learned, dropped and counted.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/net/peer.h"

static uint32_t make_arp(uint8_t *f, uint16_t operation, uint8_t host, uint8_t target)
{
    memset(f, 0, 60);
    memset(f, 0xff, 6);
    memcpy(f + 6, (const uint8_t[6]){2, 0, 0, 0, 0, host}, 6);
    memcpy(f + 12, (const uint8_t[8]){8, 6, 0, 1, 8, 0, 6, 4}, 8);
    store_be16(f + 20, operation);
    memcpy(f + 22, f + 6, 6);
    memcpy(f + 28, (const uint8_t[4]){10, 0, 0, host}, 4);
    memcpy(f + 38, (const uint8_t[4]){10, 0, 0, target}, 4);
    return 60;
}

struct seen {
    unsigned n;
    struct net_neighbour last;
    char state_of_20[12];
};
static void see(void *context, const struct net_neighbour *n)
{
    struct seen *s = context;
    s->n++;
    s->last = *n;
    if (n->addr[3] == 20)
        strcpy(s->state_of_20, n->state);
}

static void test_arp_answer(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    uint8_t f[60];
    peer_raw(&p, f, make_arp(f, 1, 20, 1));
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.n_out, 1);
    const uint8_t *r = p.out[0].raw;
    assert_int_equal(p.out[0].raw_len, 42);
    assert_memory_equal(r, f + 6, 6);
    assert_int_equal(load_be16(r + 20), 2);
    assert_memory_equal(r + 22, p.config.mac, 6);
    assert_memory_equal(r + 28, f + 38, 4);
    assert_memory_equal(r + 32, f + 22, 10);
    struct seen s = {0};
    net_each_neighbour(p.net, see, &s);
    assert_string_equal(s.state_of_20, "STALE"); // it asked us, we did not ask it
    // Not for us: neither answered nor learned from.
    peer_raw(&p, f, make_arp(f, 1, 30, 77));
    peer_none(&p);
    // A probe for our address is answered and not learned from.
    make_arp(f, 1, 31, 1);
    memset(f + 28, 0, 4);
    peer_raw(&p, f, 60);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.n_out, 1);
    s = (struct seen){0};
    net_each_neighbour(p.net, see, &s);
    assert_int_equal(s.n, 2); // .9 and .20
    peer_stop(&p);
}

static void test_arp_bad(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    uint8_t f[60];
    uint64_t bad = 0;
    make_arp(f, 1, 20, 1);
    peer_raw(&p, f, 41); // cut short
    assert_int_equal(peer_count(&p)->arp_bad, ++bad);
    make_arp(f, 3, 20, 1); // operation
    peer_raw(&p, f, 60);
    assert_int_equal(peer_count(&p)->arp_bad, ++bad);
    make_arp(f, 1, 1, 1); // our own address in another's mouth
    f[27] = 99;
    peer_raw(&p, f, 60);
    assert_int_equal(peer_count(&p)->arp_bad, ++bad);
    make_arp(f, 1, 20, 1);
    f[22] |= 1; // a group as sender
    peer_raw(&p, f, 60);
    assert_int_equal(peer_count(&p)->arp_bad, ++bad);
    make_arp(f, 1, 20, 1);
    f[15] = 6; // not Ethernet
    peer_raw(&p, f, 60);
    assert_int_equal(peer_count(&p)->arp_bad, ++bad);
    peer_none(&p);
    // An unasked change of a fresh neighbour is not believed.
    make_arp(f, 2, 9, 1);
    f[27] = 66;
    peer_raw(&p, f, 60);
    struct seen s = {0};
    net_each_neighbour(p.net, see, &s);
    assert_int_equal(s.last.mac[5], 9);
    peer_stop(&p);
}

static void test_arp_resolve(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    struct endpoint to = {.family = 4, .port = 80, .addr = {10, 0, 0, 20}};
    int error;
    struct stream *s = net_connect(p.net, &to, &error);
    assert_non_null(s);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.n_out, 1); // the question; the SYN waits
    assert_int_equal(p.out[0].type, ETHERTYPE_ARP);
    uint8_t f[60];
    peer_raw(&p, f, make_arp(f, 2, 20, 1));
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.n_out, 1);
    assert_true(p.out[0].tcp && p.out[0].flags == TH_SYN);
    assert_int_equal(p.out[0].raw[5], 20);
    s->ops->abort(s);
    s->ops->release(s);

    // Nobody answers: three questions a second apart, then the attempt fails for that reason.
    to.addr[3] = 21;
    s = net_connect(p.net, &to, &error);
    peer_wait(&p, 20000000);
    unsigned asked = 0;
    for (unsigned i = 0; i < p.n_out; i++)
        asked += p.out[i].type == ETHERTYPE_ARP;
    assert_true(asked >= 2 && asked <= 3);
    assert_true(peer_count(&p)->arp_unresolved >= 1);
    assert_true(s->events == 0); // collected by peer_wait only for p.stream
    assert_int_equal(s->error, STREAM_UNREACHABLE);
    s->ops->release(s);
    assert_null(net_connect(p.net, &(struct endpoint){.family = 4, .port = 1, .addr = {8, 8, 8, 8}},
                            &error));
    assert_int_equal(error, -ENETUNREACH);
    peer_stop(&p);
}

// More addresses than there is room for: bounded, and a reachable one is not pushed out.
static void test_arp_crowd(void **state)
{
    (void)state;
    struct peer p;
    struct net_config c = {0};
    peer_start(&p, &c);
    p.config.addresses[0].prefix = 8;
    uint8_t f[60];
    net_destroy(p.net);
    char error[100];
    p.net = net_create(&p.config, &p.pool.pool, p.now_us, error, sizeof(error));
    peer_raw(&p, f, make_arp(f, 1, 9, 1));
    peer_turn(&p);
    for (int i = 0; i < 20000; i++) {
        struct endpoint to = {
            .family = 4, .port = 80, .addr = {10, 1, (uint8_t)(i >> 8), (uint8_t)i}};
        int e;
        struct stream *s = net_connect(p.net, &to, &e);
        assert_true(s || e == -ENETUNREACH);
        if (s) {
            s->ops->abort(s);
            s->ops->release(s);
        }
        if (i % 100 == 0) {
            p.n_out = 0;
            peer_turn(&p);
        }
        p.n_out = 0;
    }
    struct seen s = {0};
    net_each_neighbour(p.net, see, &s);
    assert_true(s.n <= NET_NEIGHBOUR_SETS * NET_NEIGHBOUR_WAYS);
    assert_true(p.pool.taken <= NET_NEIGHBOUR_WAITING_ALL + 200);
    bool alive =
        neighbour_find(p.net, net_ip4(load_raw32((const uint8_t[4]){10, 0, 0, 9}))) != NULL;
    assert_true(alive);
    peer_stop(&p);
}

static void ping(struct peer *p, uint32_t size)
{
    uint8_t icmp[1600] = {8};
    for (uint32_t i = 4; i < size; i++)
        icmp[i] = (uint8_t)(i * 7);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(icmp, size, 0));
    memcpy(icmp + 2, &sum, 2);
    peer_ip(p, PROTOCOL_ICMP, icmp, size);
}

static void test_ping(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    static const uint32_t sizes[] = {8, 9, 64, 1480};
    for (unsigned i = 0; i < 4; i++) {
        ping(&p, sizes[i]);
        p.n_out = 0;
        peer_turn(&p);
        assert_int_equal(p.n_out, 1);
        const uint8_t *icmp = p.out[0].raw + 34;
        assert_int_equal(icmp[0], 0);
        assert_true(net_sum_fold(net_sum(icmp, sizes[i], 0)) == 0xffff && p.out[0].sums_good);
        for (uint32_t k = 4; k < sizes[i]; k++)
            assert_int_equal(icmp[k], (uint8_t)(k * 7));
    }
    uint8_t bad[8] = {8, 0, 1, 2};
    peer_ip(&p, PROTOCOL_ICMP, bad, 8);
    peer_ip(&p, PROTOCOL_ICMP, bad, 7);
    peer_none(&p);
    assert_int_equal(peer_count(&p)->icmp_bad, 2);
    // A flood is answered up to the limit.
    for (int i = 0; i < 3000; i++) {
        ping(&p, 8);
        p.n_out = 0;
        peer_turn(&p);
        p.now_us += 1;
    }
    assert_true(peer_count(&p)->icmp_limited > 1500);
    peer_stop(&p);
}

static void test_unreachable(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    uint8_t udp[8] = {0, 1, 0, 2, 0, 8};
    peer_ip(&p, PROTOCOL_UDP, udp, 8);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.n_out, 1);
    const uint8_t *icmp = p.out[0].raw + 34;
    assert_true(icmp[0] == 3 && icmp[1] == 3);
    assert_memory_equal(icmp + 8 + 20, udp, 8);
    peer_ip(&p, 99, udp, 8);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.out[0].raw[35], 2);

    // What refuses our SYN ends the attempt; the same for another sequence number does not.
    struct endpoint to = {.family = 4, .port = 80, .addr = {10, 0, 0, 9}};
    int error;
    struct stream *s = net_connect(p.net, &to, &error);
    struct peer_segment *syn = peer_only(&p);
    uint8_t message[36] = {3, 3};
    memcpy(message + 8, syn->raw + 14, 28);
    uint32_t seq = load_be32(message + 32);
    for (int round = 0; round < 2; round++) {
        store_be32(message + 32, seq + 1 - (uint32_t)round);
        memset(message + 2, 0, 2);
        uint16_t sum = (uint16_t)~net_sum_fold(net_sum(message, 36, 0));
        memcpy(message + 2, &sum, 2);
        peer_ip(&p, PROTOCOL_ICMP, message, 36);
        peer_none(&p);
        assert_int_equal(s->error, round ? STREAM_UNREACHABLE : STREAM_OK);
    }
    s->ops->release(s);
    peer_stop(&p);
}

// Each malformed packet raises exactly the counter of its cause, and is answered by nothing.
static void test_malformed(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    net_listen(p.net, OUR_PORT, 10);
    uint8_t base[54] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0, 0, 40};
    base[22] = 64;
    base[23] = PROTOCOL_TCP;
    memcpy(base + 26, (const uint8_t[8]){10, 0, 0, 9, 10, 0, 0, 1}, 8);
    static const struct {
        unsigned at, len;
        uint8_t value;
        size_t counter;
        bool fix_sum;
    } cases[] = {
#define COUNTER(name) offsetof(struct net_counters, name)
        {0, 10, 2, COUNTER(drop_short), false},
        {0, 0, 2, COUNTER(drop_short), false},
        {5, 54, 7, COUNTER(drop_not_ours), true},
        {0, 54, 3, COUNTER(drop_not_ours), true}, // IPv4 to a hardware group
        {12, 54, 0x86, COUNTER(drop_ethertype), true},
        {14, 54, 0x65, COUNTER(ip_bad_header), true},
        {14, 54, 0x44, COUNTER(ip_bad_header), true},
        {14, 54, 0x4f, COUNTER(ip_bad_header), true}, // header longer than the packet
        {17, 54, 41, COUNTER(ip_bad_header), true},   // longer than the frame
        {17, 54, 19, COUNTER(ip_bad_header), true},
        {14, 30, 0x45, COUNTER(ip_bad_header), false},
        {18, 54, 1, COUNTER(ip_bad_sum), false},
        {20, 54, 0x20, COUNTER(ip_fragment), true},
        {21, 54, 5, COUNTER(ip_fragment), true},
        {22, 54, 0, COUNTER(ip_ttl), true},
        {33, 54, 2, COUNTER(drop_not_ours), true},
        {29, 54, 1, COUNTER(ip_martian), true}, // LAND: from ourselves
        {26, 54, 127, COUNTER(ip_martian), true},
        {26, 54, 0, COUNTER(ip_martian), true},
        {26, 54, 224, COUNTER(ip_martian), true},
        {29, 54, 255, COUNTER(ip_martian), true}, // the link's broadcast
        {29, 54, 0, COUNTER(ip_martian), true},
        {14, 54, 0x46, COUNTER(ip_options), true},
        {46, 54, 0x40, COUNTER(tcp_bad_header), true}, // data offset below 5
        {46, 54, 0xf0, COUNTER(tcp_bad_header), true}, // behind the end
        {17, 54, 39, COUNTER(tcp_bad_header), true},   // half a header
        {50, 54, 1, COUNTER(tcp_bad_sum), true},
    };
    base[46] = 0x50;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t f[54];
        memcpy(f, base, 54);
        f[cases[i].at] = cases[i].value;
        uint32_t header = (f[14] & 15u) * 4;
        memset(f + 24, 0, 2);
        if (header >= 20 && header <= 40) {
            uint16_t sum = (uint16_t)~net_sum_fold(net_sum(f + 14, header, 0));
            if (!cases[i].fix_sum)
                sum ^= 0x55;
            memcpy(f + 24, &sum, 2);
        }
        const uint64_t *counter =
            (const uint64_t *)((const char *)peer_count(&p) + cases[i].counter);
        uint64_t before = *counter;
        peer_raw(&p, f, cases[i].len);
        if (*counter != before + 1)
            fail_msg("case %u", i);
        peer_none(&p);
    }
    peer_stop(&p);
}

static void test_vlan(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    net_destroy(p.net);
    p.config.vlan = 5;
    char error[100];
    p.net = net_create(&p.config, &p.pool.pool, p.now_us, error, sizeof(error));
    uint8_t f[64], g[64];
    make_arp(f, 1, 20, 1);
    memcpy(g, f, 12);
    memcpy(g + 12, (const uint8_t[4]){0x81, 0, 0x20, 5}, 4);
    memcpy(g + 16, f + 12, 48);
    peer_raw(&p, g, 64);
    p.n_out = 0;
    peer_turn(&p);
    assert_int_equal(p.n_out, 1);
    assert_int_equal(p.out[0].raw_len, 46);
    assert_memory_equal(p.out[0].raw + 12, ((const uint8_t[6]){0x81, 0, 0, 5, 8, 6}), 6);
    g[15] = 6; // another VLAN
    peer_raw(&p, g, 64);
    assert_int_equal(peer_count(&p)->drop_vlan, 1);
    peer_none(&p);
    peer_stop(&p);
}

static void test_refused_configuration(void **state)
{
    (void)state;
    struct peer p;
    peer_start(&p, NULL);
    char error[100];
    struct net_config c = p.config;
#define REFUSED(change)                                                     \
    do {                                                                    \
        c = p.config;                                                       \
        change;                                                             \
        error[0] = 0;                                                       \
        assert_null(net_create(&c, &p.pool.pool, 0, error, sizeof(error))); \
        assert_true(strlen(error) > 10);                                    \
    } while (0)
    REFUSED(c.n_addresses = 0);
    REFUSED(c.addresses[0].family = 5);
    REFUSED(c.addresses[0].prefix = 33);
    REFUSED(c.addresses[0].addr[0] = 127);
    REFUSED(c.mtu = 100);
    REFUSED(c.mtu = 9000); // larger than the frames
    REFUSED(c.vlan = 4095);
    REFUSED(c.mac[0] = 1);
    REFUSED(c.gateway.family = 6);
    REFUSED(c.receive_buffer_max = 100);
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arp_answer),
        cmocka_unit_test(test_arp_bad),
        cmocka_unit_test(test_arp_resolve),
        cmocka_unit_test(test_arp_crowd),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_vlan),
        cmocka_unit_test(test_refused_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
