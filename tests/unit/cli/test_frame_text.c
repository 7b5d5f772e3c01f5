// Lines for frames: what tcpdump would say, and no byte is read that is not there.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/cli/frame_text.h"

static const uint8_t syn[] = {2,    0,    0,    0,    0,    1,    2,    0,    0,  0,
                              0,    2,    0x08, 0x00, // Ethernet
                              0x45, 0,    0,    60,   0,    0,    0x40, 0,    64, 6,
                              0,    0,    10,   0,    0,    2,    10,   0,    0,  1, // IP
                              0xa8, 0x62, 0x18, 0xeb, 0,    0,    0x03, 0xe8, 0,  0,
                              0,    0,    0xa0, 0x02, 0xfa, 0xf0, 0,    0,    0,  0, // TCP
                              2,    4,    5,    0xb4, 4,    2,    8,    10,   0,  0,
                              0,    9,    0,    0,    0,    0,    1,    3,    3,  7};

static void expect(const uint8_t *bytes, uint32_t captured, uint32_t len, const char *line)
{
    struct frame_facts f;
    char text[FRAME_TEXT_MAX];
    frame_facts(&f, bytes, captured, len);
    assert_string_equal(frame_text(&f, text), line);
}

static void tcp(void **state)
{
    (void)state;
    expect(syn, sizeof(syn), sizeof(syn),
           "10.0.0.2.43106 > 10.0.0.1.6379: Flags [S], seq 1000, win 64240, options [mss "
           "1460,sackOK,TS val 9 ecr 0,nop,wscale 7], length 0");
    uint8_t data[sizeof(syn) + 5];
    memcpy(data, syn, sizeof(syn));
    data[14 + 3] = 65;
    data[14 + 20 + 13] = 0x18; // PSH ACK
    expect(data, sizeof(data), sizeof(data),
           "10.0.0.2.43106 > 10.0.0.1.6379: Flags [P.], seq 1000:1005, ack 0, win 64240, options "
           "[mss 1460,sackOK,TS val 9 ecr 0,nop,wscale 7], length 5");
    data[14 + 20 + 12] = 0x20; // a header shorter than itself
    expect(data, sizeof(data), sizeof(data),
           "10.0.0.2.43106 > 10.0.0.1.6379: Flags [P.], seq 1000:1037, ack 0, win 64240, bad "
           "header length 8, length 37");
}

static void others(void **state)
{
    (void)state;
    static const uint8_t arp[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,  2, 8, 6,
                                  0,    1,    8,    0,    6,    4,    0, 1, 2, 0, 0,  0, 0, 2,
                                  10,   0,    0,    2,    0,    0,    0, 0, 0, 0, 10, 0, 0, 1};
    static const uint8_t vlan_echo[] = {
        2, 0, 0, 0,  0, 1, 2, 0,  0, 0, 0, 2,  0x81, 0, 0x20, 5, 8, 0, 0x45, 0,    0,    84, 0,
        0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 2, 10, 0,    0, 1,    8, 0, 0, 0,    0x12, 0x34, 0,  7};
    static const uint8_t nd[] = {
        0x33, 0x33, 0xff, 0,    0, 1, 2, 0, 0, 0, 0,    2, 0x86, 0xdd, 0x60, 0, 0, 0, 0,    24,
        58,   255,  0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0,    0, 0,    0,    0,    0, 0, 2, 0xff, 2,
        0,    0,    0,    0,    0, 0, 0, 0, 0, 1, 0xff, 0, 0,    1,    135,  0, 0, 0, 0,    0,
        0,    0,    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0,    0, 0,    0,    0,    0, 0, 1};
    expect(arp, sizeof(arp), 60, "ARP, who has 10.0.0.1, tell 10.0.0.2, length 60");
    expect(vlan_echo, sizeof(vlan_echo), 102,
           "vlan 5, 10.0.0.2 > 10.0.0.1: ICMP echo request, id 4660, seq 7, length 64");
    expect(nd, sizeof(nd), sizeof(nd),
           "fe80::2 > ff02::1:ff00:1: ICMP6 neighbor solicitation, who has fe80::1, length 24");
    expect(syn, 12, 60, " > : Ethernet, length 60");
}

// Each frame ends right before memory that may not be touched (with the sanitizers), is cut at
// every length, and is damaged at random.
static void damaged(void **state)
{
    (void)state;
    char text[FRAME_TEXT_MAX];
    struct frame_facts f;
    srandom(7);
    for (unsigned round = 0; round < 20000; round++) {
        uint32_t n = round % (sizeof(syn) + 1);
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, syn, n);
        for (unsigned i = 0; n && i < round % 5; i++)
            copy[(size_t)random() % n] = (uint8_t)random();
        frame_facts(&f, copy, n, (uint32_t)random() % 2000);
        assert_true(strlen(frame_text(&f, text)) < FRAME_TEXT_MAX);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp),
        cmocka_unit_test(others),
        cmocka_unit_test(damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
