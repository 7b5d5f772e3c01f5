// The hash by which ports spread flows: the vectors of Microsoft's "Verifying the RSS Hash
// Calculation", and what is made up where a port says nothing.
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/nic_spread.h"

static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

static struct endpoint end(const char *address, uint16_t port)
{
    struct endpoint e = {.port = port, .family = 4};
    if (inet_pton(AF_INET, address, e.addr) != 1) {
        e.family = 6;
        assert_int_equal(inet_pton(AF_INET6, address, e.addr), 1);
    }
    return e;
}

static void vectors(void **state)
{
    (void)state;
    static const struct {
        const char *to;
        uint16_t to_port;
        const char *from;
        uint16_t from_port;
        uint32_t addresses, ports;
    } v[] = {
        {"161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
        {"65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
        {"12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
        {"209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
        {"202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
        {"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
        {"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
        {"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251,
         0x4b61e985, 0x02d1feef},
    };
    struct nic_spread s = {.known = true};
    memcpy(s.key, key, sizeof(key));
    for (unsigned i = 0; i < sizeof(v) / sizeof(*v); i++) {
        struct endpoint local = end(v[i].to, v[i].to_port), remote = end(v[i].from, v[i].from_port);
        s.ports4 = s.ports6 = false;
        assert_int_equal(spread_hash(&s, &local, &remote), v[i].addresses);
        s.ports4 = s.ports6 = true;
        assert_int_equal(spread_hash(&s, &local, &remote), v[i].ports);
    }
}

// Every queue has its share, whatever their number, and another start another key.
static void invented(void **state)
{
    (void)state;
    for (unsigned queues = 1; queues <= 7; queues++) {
        struct nic_spread s, other;
        unsigned count[7] = {0}, same = 0;
        spread_invent(&s, queues);
        spread_invent(&other, queues);
        assert_false(s.known);
        assert_int_equal(s.table_size % queues, 0);
        for (unsigned port = 10000; port < 24000; port++) {
            struct endpoint local = end("10.0.0.1", 6379), remote = end("10.0.0.2", 0);
            remote.port = (uint16_t)port;
            unsigned queue = spread_queue(&s, &local, &remote);
            assert_true(queue < queues);
            count[queue]++;
            same += queue == spread_queue(&other, &local, &remote);
        }
        for (unsigned q = 0; q < queues; q++)
            assert_in_range(count[q], 14000 / queues * 3 / 4, 14000 / queues * 5 / 4);
        assert_true(queues == 1 || same < 14000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(invented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
