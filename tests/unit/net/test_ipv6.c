// IPv6: extension headers, ICMPv6, listener reports, and TCP over it.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/net/peer6.h"

// --- extension headers, ICMPv6
// ---------------------------------------------------------------------------------

// Sends an echo request behind `n` bytes of extension headers, the last of which names ICMPv6.
static void behind(struct peer *p, uint8_t first, const uint8_t *headers, uint32_t n)
{
    uint8_t f[1400];
    const struct peer6_header h = {theirs, ours, first, 64, NULL};
    memcpy(f, headers, n);
    memset(f + n, 0, 8);
    f[n] = ICMPV6_ECHO;
    peer6_set_sum(h, PROTOCOL_ICMPV6, f + n, 2, 8);
    peer6_send(p, h, f, n + 8);
    peer6_turn(p);
}

static void harmless_headers_are_skipped(void **state)
{
    (void)state;
    struct peer p;
    peer6_start_quiet(&p, NULL);
    peer6_asks(&p);
    static const struct {
        uint8_t first, len;
        uint8_t bytes[32];
    } cases[] = {
        {NEXT_HOP, 8, {58, 0, 1, 4}},                     // PadN
        {NEXT_HOP, 8, {58, 0, 0, 0, 0, 0, 0, 0}},         // Pad1
        {NEXT_HOP, 8, {58, 0, 5, 2, 0, 0, 1, 0}},         // router alert
        {NEXT_OPTIONS, 8, {58, 0, 0x1e, 4}},              // unknown: skip
        {NEXT_ROUTING, 8, {58, 0, 2, 0}},                 // no segment left
        {NEXT_FRAGMENT, 8, {58}},                         // one whole piece, RFC 6946
        {NEXT_HOP, 16, {60, 0, 1, 4, [8] = 58, 0, 1, 4}}, // two
        {NEXT_OPTIONS, 16, {58, 1, 1, 12}},               // a longer one
        {NEXT_HOP, 24, {43, 0, 1, 4, [8] = 60, 0, 4, 0, [16] = 58, 0, 1, 4}},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        behind(&p, cases[i].first, cases[i].bytes, cases[i].len);
        if (!peer6_sent(&p, ICMPV6_ECHO_REPLY))
            fail_msg("case %u", i);
    }
    peer_stop(&p);
}

static void harmful_headers_are_counted(void **state)
{
    (void)state;
    struct peer p;
    peer6_start_quiet(&p, NULL);
    peer6_asks(&p);
    static const struct {
        uint8_t first, len;
        uint8_t bytes[64];
        size_t counter;
        int code; // of a parameter problem, -1: no answer
        uint32_t pointer;
    } cases[] = {
#define COUNTER(name) offsetof(struct net_counters, name)
        {NEXT_OPTIONS, 8, {58, 0, 0x5e, 4}, COUNTER(ip6_option), -1, 0},
        {NEXT_OPTIONS, 8, {58, 0, 0x9e, 4}, COUNTER(ip6_option), 2, 42},
        {NEXT_HOP, 8, {58, 0, 0xc2, 4}, COUNTER(ip6_option), 2, 42}, // jumbo payload
        {NEXT_ROUTING, 8, {58, 0, 0, 1}, COUNTER(ip6_routing), 0, 42},
        {NEXT_OPTIONS, 16, {0, 0, 1, 4, [8] = 58, 0, 1, 4}, COUNTER(ip6_chain), 1, 40},
        {NEXT_FRAGMENT, 8, {58, 0, 0, 1}, COUNTER(ip_fragment), -1, 0}, // the first
        {NEXT_FRAGMENT, 8, {58, 0, 1, 0}, COUNTER(ip_fragment), -1, 0}, // the last
        {NEXT_OPTIONS, 8, {58, 9, 1, 4}, COUNTER(ip6_chain), -1, 0},    // behind the end
        {NEXT_OPTIONS, 8, {58, 0, 1, 5}, COUNTER(ip6_chain), -1, 0},    // an option is
        {NEXT_NONE, 0, {0}, COUNTER(ip6_no_next), -1, 0},
        {99, 0, {0}, COUNTER(ip_protocol), 1, 6},
        {NEXT_OPTIONS, 8, {51, 0, 1, 4}, COUNTER(ip_protocol), 1, 40}, // AH
        {NEXT_OPTIONS,
         24, // too many options
         {58, 2, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0},
         COUNTER(ip6_chain),
         -1,
         0},
        {NEXT_OPTIONS,
         56, // too many headers
         {60, 0, 1,         4, [8] = 60, 0, 1,         4, [16] = 60, 0, 1,         4, [24] = 60, 0,
          1,  4, [32] = 60, 0, 1,        4, [40] = 60, 0, 1,         4, [48] = 58, 0, 1,         4},
         COUNTER(ip6_chain),
         -1,
         0},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const uint64_t *counter =
            (const uint64_t *)((const char *)peer_count(&p) + cases[i].counter);
        uint64_t before = *counter;
        behind(&p, cases[i].first, cases[i].bytes, cases[i].len);
        const uint8_t *answer = peer6_sent(&p, ICMPV6_PARAMETER);
        if (*counter != before + 1 || !answer != (cases[i].code < 0) ||
            peer6_sent(&p, ICMPV6_ECHO_REPLY))
            fail_msg("case %u", i);
        if (answer) {
            assert_int_equal(answer[1], cases[i].code);
            assert_int_equal(load_be32(answer + 4), cases[i].pointer);
        }
    }
    // One that is longer than any chain may be.
    uint8_t long_one[600] = {58, 74, 1, 254, [258] = 1, 254, [514] = 1, 84};
    uint64_t before = peer_count(&p)->ip6_chain;
    behind(&p, NEXT_OPTIONS, long_one, 600);
    assert_int_equal(peer_count(&p)->ip6_chain, before + 1);
    peer_stop(&p);
}

static void senders_that_cannot_be(void **state)
{
    (void)state;
    struct peer p;
    peer6_start_quiet(&p, NULL);
    static const uint8_t sources[][16] = {
        {0xff, 2, [15] = 1}, {[15] = 1}, {0}, {[10] = 0xff, 0xff, 10, 0, 0, 9}, {0xfd, [15] = 1}};
    for (unsigned i = 0; i < 5; i++) {
        uint8_t ping[8] = {ICMPV6_ECHO};
        peer6_icmp(&p, (struct peer6_header){sources[i], ours, .hop = 64}, ping, 8);
        assert_int_equal(peer_count(&p)->ip_martian, i + 1);
    }
    uint8_t ping[8] = {ICMPV6_ECHO};
    peer6_icmp(&p, (struct peer6_header){theirs, (const uint8_t[16]){0xfd, [15] = 2}, .hop = 64},
               ping, 8);
    peer6_icmp(&p, (struct peer6_header){theirs, (const uint8_t[16]){0xff, 2, [15] = 2}, .hop = 64},
               ping, 8);
    peer6_icmp(&p, (struct peer6_header){theirs, ours, .hop = 64, .mac = mac_of_all}, ping, 8);
    assert_int_equal(peer_count(&p)->drop_not_ours, 3);
    uint64_t bad = peer_count(&p)->ip_bad_header;
    uint8_t f[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, [19] = 7};
    peer_raw(&p, f, 53); // half a header
    peer_raw(&p, f, 60); // longer than the frame
    f[14] = 0x40;
    peer_raw(&p, f, 60);
    assert_int_equal(peer_count(&p)->ip_bad_header, bad + 3);
    peer_none(&p);
    peer_stop(&p);
}

static void echo_and_errors(void **state)
{
    (void)state;
    struct peer p;
    peer6_start_quiet(&p, NULL);
    peer6_asks(&p);
    uint8_t ping[1460];
    static const uint32_t sizes[] = {8, 9, 64, 1460};
    for (unsigned i = 0; i < 4; i++) {
        for (uint32_t k = 0; k < sizes[i]; k++)
            ping[k] = (uint8_t)(k * 7);
        ping[0] = ICMPV6_ECHO;
        ping[1] = 0;
        peer6_icmp(&p,
                   (struct peer6_header){theirs, i == 3 ? all : ours, .hop = 64,
                                         .mac = i == 3 ? mac_of_all : NULL},
                   ping, sizes[i]);
        peer6_turn(&p);
        const uint8_t *reply = peer6_sent(&p, ICMPV6_ECHO_REPLY);
        assert_non_null(reply);
        assert_memory_equal(reply - 40 + 8, ours, 16); // to a group as well
        assert_memory_equal(reply + 4, ping + 4, sizes[i] - 4);
    }
    // Unreachable, with as much of the packet as fits the smallest link.
    uint8_t udp[1400] = {0, 1, 0, 2};
    peer6_send(&p, (struct peer6_header){theirs, ours, PROTOCOL_UDP, 64, NULL}, udp, sizeof(udp));
    peer6_turn(&p);
    const uint8_t *error = peer6_sent(&p, ICMPV6_UNREACHABLE);
    assert_int_equal(error[1], UNREACHABLE_PORT_6);
    assert_int_equal(p.out[0].raw_len, 14 + 1280);
    assert_int_equal(error[8] >> 4, 6);
    // None about errors, none to groups.
    uint8_t bad[8] = {ICMPV6_UNREACHABLE};
    struct peer6_header h = {theirs, ours, NEXT_OPTIONS, 64, NULL};
    uint8_t chain[16] = {58, 0, 0x9e, 4, [8] = ICMPV6_UNREACHABLE};
    peer6_send(&p, h, chain, 16);
    peer6_icmp(&p, (struct peer6_header){theirs, ours, .hop = 64}, bad, 8);
    assert_int_equal(peer_count(&p)->icmp_foreign, 1);
    peer6_send(&p, (struct peer6_header){theirs, all, PROTOCOL_UDP, 64, mac_of_all}, udp, 8);
    peer6_turn(&p);
    assert_null(peer6_sent(&p, ICMPV6_UNREACHABLE));
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t small[8] = {ICMPV6_ECHO};
        peer6_icmp(&p, (struct peer6_header){theirs, ours, .hop = 64}, small, 8);
        peer6_turn(&p);
        p.now_us++;
    }
    assert_true(peer_count(&p)->icmp_limited > 1500);
    peer_stop(&p);
}

// Errors about our segments: believed with a sequence number in flight (RFC 5927).
static void errors_about_our_segments(void **state)
{
    (void)state;
    struct peer p;
    peer6_start_quiet(&p, NULL);
    peer6_asks(&p);
    int error;
    struct endpoint to = peer6_at(theirs, 80);
    struct stream *s = net_connect(p.net, &to, &error);
    peer6_turn(&p);
    assert_int_equal(p.n_out, 1);
    uint8_t m[8 + 60] = {ICMPV6_UNREACHABLE, UNREACHABLE_PORT_6};
    memcpy(m + 8, p.out[0].raw + 14, 60);
    uint32_t seq = load_be32(m + 8 + 44);
    m[0] = ICMPV6_TOO_BIG;
    m[1] = 0;
    store_be32(m + 4, 1300);
    peer6_icmp(&p, (struct peer6_header){theirs, ours, .hop = 64}, m, sizeof(m));
    assert_int_equal(peer_count(&p)->icmp_too_big, 1);
    m[0] = ICMPV6_UNREACHABLE;
    m[1] = UNREACHABLE_PORT_6;
    for (unsigned round = 0; round < 3; round++) {
        store_be32(m + 8 + 44, seq + (round == 0));
        m[8 + 6] = round == 1 ? PROTOCOL_UDP : PROTOCOL_TCP;
        peer6_icmp(&p, (struct peer6_header){theirs, ours, .hop = 64}, m, sizeof(m));
        peer_none(&p);
        assert_int_equal(s->error, round == 2 ? STREAM_UNREACHABLE : STREAM_OK);
    }
    assert_int_equal(peer_count(&p)->icmp_foreign, 1);
    s->ops->release(s);
    peer_stop(&p);
}

// --- listener reports
// ---------------------------------------------------------------------------------

static void query(struct peer *p, uint32_t len, uint16_t delay, uint8_t hop, bool alert)
{
    uint8_t f[8 + 28] = {58, 0, alert ? 5 : 1, alert ? 2 : 4, 0, 0, alert, 0, MLD_QUERY};
    const struct peer6_header h = {theirs_local, all, NEXT_HOP, hop, mac_of_all};
    store_be16(f + 8 + 4, delay);
    peer6_set_sum(h, PROTOCOL_ICMPV6, f + 8, 2, len);
    peer6_send(p, h, f, 8 + len);
}

static void groups_are_reported(void **state)
{
    (void)state;
    struct peer p;
    peer6_start(&p, NULL);
    peer_wait(&p, 3 * SECOND);
    const uint8_t *report = peer6_sent_nth(&p, MLD2_REPORT, 1); // twice
    assert_non_null(report);
    const uint8_t *ip = report - 48;
    assert_int_equal(ip[7], 1);
    assert_memory_equal(ip + 40, ((const uint8_t[8]){58, 0, 5, 2, 0, 0, 1, 0}), 8);
    assert_memory_equal(ip + 24, ((const uint8_t[16]){0xff, 2, [15] = 0x16}), 16);
    assert_int_equal(load_be16(report + 6), 2);
    assert_int_equal(report[8], 4); // changed to exclude nobody
    assert_memory_equal(report + 12, our_group, 16);
    p.n_out = 0;
    query(&p, 28, 1000, 1, true);
    peer_wait(&p, 1010000);
    report = peer6_sent(&p, MLD2_REPORT);
    assert_non_null(report);
    assert_int_equal(report[8], 2);
    assert_true(ipv6_is_link_local(report - 40));
    // Queries that are none.
    p.n_out = 0;
    query(&p, 28, 0, 2, true);
    query(&p, 28, 0, 1, false);
    query(&p, 26, 0, 1, true);
    assert_int_equal(peer_count(&p)->icmp_bad, 3);
    peer_wait(&p, SECOND);
    assert_null(peer6_sent(&p, MLD2_REPORT));
    // A querier of version 1 gets an answer that it knows, one for each group.
    query(&p, 24, 500, 1, true);
    peer_wait(&p, 510000);
    assert_non_null(peer6_sent_nth(&p, MLD_REPORT, 1));
    assert_null(peer6_sent(&p, MLD2_REPORT));
    assert_memory_equal(peer6_sent(&p, MLD_REPORT) + 8, our_group, 16);
    peer_stop(&p);
}

// --- TCP
// ---------------------------------------------------------------------------------

static void segment(struct peer *p, uint8_t flags, uint32_t seq, uint32_t ack, const char *data)
{
    uint8_t tcp[200] = {0x0f, 0xa0, 0x18, 0xeb};
    uint32_t len = 20 + (uint32_t)strlen(data);
    store_be32(tcp + 4, seq);
    store_be32(tcp + 8, ack);
    tcp[12] = 0x50;
    tcp[13] = flags;
    store_be16(tcp + 14, 65000);
    memcpy(tcp + 20, data, strlen(data));
    const struct peer6_header h = {theirs, ours, PROTOCOL_TCP, 64, NULL};
    peer6_set_sum(h, PROTOCOL_TCP, tcp, TCP_SUM, len);
    peer6_send(p, h, tcp, len);
}

static const uint8_t *segment_out(struct peer *p)
{
    peer6_turn(p);
    assert_int_equal(p->n_out, 1);
    const uint8_t *ip = p->out[0].raw + 14;
    assert_int_equal(ip[0] >> 4, 6);
    assert_int_equal(ip[6], PROTOCOL_TCP);
    assert_memory_equal(ip + 8, ours, 16);
    assert_memory_equal(ip + 24, theirs, 16);
    assert_int_equal(peer6_sum(ip + 8, ip + 24, PROTOCOL_TCP, ip + 40, load_be16(ip + 4)), 0xffff);
    return ip + 40;
}

static bool take_info(void *context, const struct stream_info *info)
{
    *(struct stream_info *)context = *info;
    return true;
}

static struct stream_info info_of_only(struct peer *p)
{
    struct stream_info info = {0};
    uint64_t cursor = 0;
    do
        net_each_connection(p->net, &cursor, 10, take_info, &info);
    while (cursor);
    return info;
}

static void a_connection_over_ipv6(void **state)
{
    (void)state;
    struct peer p;
    peer6_start_quiet(&p, NULL);
    peer6_asks(&p);
    net_listen(p.net, OUR_PORT, 10);
    segment(&p, TH_SYN, 1000, 0, "");
    const uint8_t *tcp = segment_out(&p);
    assert_int_equal(tcp[13], TH_SYN | TH_ACK);
    assert_int_equal(load_be32(tcp + 20), 0x02040000u | 1440); // 1500 - 40 - 20
    uint32_t label = load_be32(tcp - 40) & 0xfffff, ack = load_be32(tcp + 4) + 1;
    assert_int_not_equal(label, 0);
    segment(&p, TH_ACK, 1001, ack, "");
    segment(&p, TH_ACK | TH_PSH, 1001, ack, "PING");
    peer6_turn(&p);
    assert_non_null(p.stream);
    assert_int_equal(p.stream->in_len, 4);
    stream_consume(p.stream, 4);
    out_write(&p.stream->out, "PONG", 4);
    p.stream->ops->push(p.stream);
    tcp = segment_out(&p);
    assert_memory_equal(tcp + 20, "PONG", 4);
    assert_int_equal(load_be32(tcp + 8), 1005);
    assert_int_equal(load_be32(tcp - 40) & 0xfffff, label); // RFC 6437: of the flow
    // Lost: it goes again with the same headers.
    peer_wait(&p, 1500000);
    assert_true(p.n_out >= 1 && p.out[0].raw[20] == PROTOCOL_TCP);
    assert_memory_equal(p.out[0].raw + 14 + 40 + 20, "PONG", 4);
    segment(&p, TH_ACK, 1005, ack + 4, "");
    peer6_turn(&p);
    peer6_expect(&p, theirs, "REACHABLE", 9); // heard by the connection
    struct stream_info info = info_of_only(&p);
    assert_int_equal(info.remote.family, 6);
    assert_memory_equal(info.remote.addr, theirs, 16);
    assert_int_equal(info.remote.port, 4000);
    // We close first: TIME_WAIT answers a repeated FIN.
    p.stream->ops->close(p.stream);
    tcp = segment_out(&p);
    assert_int_equal(tcp[13] & TH_FIN, TH_FIN);
    segment(&p, TH_ACK | TH_FIN, 1005, ack + 5, "");
    segment_out(&p);
    info = info_of_only(&p);
    assert_string_equal(info.state, "TIME-WAIT");
    assert_memory_equal(info.remote.addr, theirs, 16);
    segment(&p, TH_ACK | TH_FIN, 1005, ack + 5, "");
    tcp = segment_out(&p);
    assert_int_equal(tcp[13], TH_ACK);
    // A stranger gets a reset; a broken sum nothing.
    p.events |= STREAM_CLOSED;
    segment(&p, TH_ACK, 1005, 77, "");
    uint8_t broken[20] = {0, 1, 0, 2, [12] = 0x50, [13] = TH_SYN};
    peer6_send(&p, (struct peer6_header){theirs, ours, PROTOCOL_TCP, 64, NULL}, broken, 20);
    assert_int_equal(peer_count(&p)->tcp_bad_sum, 1);
    peer6_turn(&p);
    peer_wait(&p, 61 * SECOND);
    segment(&p, TH_ACK, 5, 77, "");
    tcp = segment_out(&p);
    assert_int_equal(tcp[13], TH_RST);
    assert_int_equal(load_be32(tcp + 4), 77);
    peer_stop(&p);
}

// The same ports and words of folded addresses, yet other connections.
static void families_do_not_mix(void **state)
{
    (void)state;
    struct peer p;
    peer6_start_quiet(&p, NULL);
    p.config.addresses[1] = (struct net_address){.family = 6, .prefix = 64, .addr = {0xfd}};
    memcpy(p.config.addresses[1].addr + 8, (const uint8_t[4]){10, 0, 0, 1}, 4);
    memcpy(p.config.addresses[1].addr + 12, p.config.addresses[1].addr, 1); // 0xfd cancels out
    peer6_restart(&p);
    assert_int_equal(net_fold6(p.config.addresses[1].addr),
                     load_raw32((const uint8_t[4]){10, 0, 0, 1}));
    net_listen(p.net, OUR_PORT, 10);
    peer_wait(&p, 3 * SECOND);
    uint8_t arp[42] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1};
    memcpy(arp + 22, arp + 6, 6);
    memcpy(arp + 28, (const uint8_t[4]){10, 0, 0, 9}, 4);
    memcpy(arp + 38, (const uint8_t[4]){10, 0, 0, 1}, 4);
    peer_raw(&p, arp, 42);
    peer6_turn(&p);
    peer_open(&p);
    struct stream *four = p.stream;
    uint8_t src[16] = {0xfd, [8] = 10, [11] = 9, [12] = 0xfd};
    uint8_t m[32];
    const uint8_t *dst = p.config.addresses[1].addr;
    peer6_icmp(&p, (struct peer6_header){src, dst, .hop = 255}, m,
               peer6_make_ns(m, dst, (const uint8_t[6]){2, 0, 0, 0, 0, 9}));
    peer6_turn(&p);
    uint8_t tcp[20] = {0x0f, 0xa0, 0x18, 0xeb};
    store_be32(tcp + 4, p.seq);
    store_be32(tcp + 8, p.ack);
    tcp[12] = 0x50;
    tcp[13] = TH_RST | TH_ACK; // exact, were it the other connection
    const struct peer6_header h = {src, dst, PROTOCOL_TCP, 64, NULL};
    peer6_set_sum(h, PROTOCOL_TCP, tcp, TCP_SUM, 20);
    peer6_send(&p, h, tcp, 20);
    peer_none(&p);
    assert_int_equal(four->error, STREAM_OK);
    assert_int_equal(net_connection_count(p.net), 1);
    peer_stop(&p);
}

static void refused_configuration(void **state)
{
    (void)state;
    struct peer p;
    peer6_start(&p, NULL);
    char error[100];
    struct net_config c;
#define REFUSED(change)                                                     \
    do {                                                                    \
        c = p.config;                                                       \
        change;                                                             \
        error[0] = 0;                                                       \
        assert_null(net_create(&c, &p.pool.pool, 0, error, sizeof(error))); \
        assert_true(strlen(error) > 10);                                    \
    } while (0)
    REFUSED(c.addresses[1].prefix = 129);
    REFUSED(c.addresses[1].addr[0] = 0xff);
    REFUSED(memset(c.addresses[1].addr, 0, 16));
    REFUSED(memcpy(c.addresses[1].addr, (const uint8_t[16]){[15] = 1}, 16));
    REFUSED(c.addresses[2] = c.addresses[1]; c.n_addresses = 3);
    REFUSED(c.mtu = 1279);
    REFUSED(c.gateway6.family = 4);
    REFUSED(c.gateway6 = (struct net_address){.family = 6});
    REFUSED(c.duplicate_probes = 11);
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(harmless_headers_are_skipped),
        cmocka_unit_test(harmful_headers_are_counted),
        cmocka_unit_test(senders_that_cannot_be),
        cmocka_unit_test(echo_and_errors),
        cmocka_unit_test(errors_about_our_segments),
        cmocka_unit_test(groups_are_reported),
        cmocka_unit_test(a_connection_over_ipv6),
        cmocka_unit_test(families_do_not_mix),
        cmocka_unit_test(refused_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
