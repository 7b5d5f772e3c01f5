#include "tests/unit/net/peer6.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

unsigned peer6_conflicts;
bool peer6_lost;

static void conflict(void *context, const struct net_address *a, const uint8_t mac[6], bool lost)
{
    (void)context;
    (void)mac;
    assert_true(a->family == 6 || a->family == 4);
    peer6_conflicts++;
    peer6_lost |= lost;
}

void peer6_restart(struct peer *p)
{
    net_destroy(p->net);
    char error[128];
    p->net = net_create(&p->config, &p->pool.pool, p->now_us, error, sizeof(error));
    assert_non_null(p->net);
}

// fd00::1/64 (and 10.0.0.1); the peer is fd00::9 and fe80::9 and unknown to the stack.
void peer6_start(struct peer *p, const struct net_config *config)
{
    peer_start(p, config);
    peer6_conflicts = 0;
    peer6_lost = false;
    p->config.conflict = conflict;
    p->config.n_addresses = 2;
    p->config.addresses[1] = (struct net_address){.family = 6, .prefix = 64};
    memcpy(p->config.addresses[1].addr, ours, 16);
    peer6_restart(p);
}

void peer6_start_quiet(struct peer *p, const struct net_config *config)
{
    peer6_start(p, config);
    peer_wait(p, 3 * SECOND);
    p->n_out = 0;
}

void peer6_send(struct peer *p, struct peer6_header h, const uint8_t *payload, uint32_t len)
{
    uint8_t f[2048] = {0};
    memcpy(f, h.mac ? h.mac : p->config.mac, 6);
    memcpy(f + 6, (const uint8_t[6]){2, 0, 0, 0, 0, 9}, 6);
    store_be16(f + 12, ETHERTYPE_IPV6);
    f[14] = 0x60;
    store_be16(f + 18, (uint16_t)len);
    f[20] = h.next;
    f[21] = h.hop;
    memcpy(f + 22, h.src, 16);
    memcpy(f + 38, h.dst, 16);
    memcpy(f + 54, payload, len);
    peer_raw(p, f, 54 + len);
}

uint16_t peer6_sum(const uint8_t *src, const uint8_t *dst, uint8_t next, const uint8_t *l4,
                   uint32_t len)
{
    uint8_t pseudo[40] = {0};
    memcpy(pseudo, src, 16);
    memcpy(pseudo + 16, dst, 16);
    store_be32(pseudo + 32, len);
    pseudo[39] = next;
    return net_sum_fold(net_sum(l4, len, net_sum(pseudo, 40, 0)));
}

void peer6_set_sum(struct peer6_header h, uint8_t next, uint8_t *l4, uint32_t at, uint32_t len)
{
    memset(l4 + at, 0, 2);
    uint16_t sum = (uint16_t)~peer6_sum(h.src, h.dst, next, l4, len);
    memcpy(l4 + at, &sum, 2);
}

void peer6_icmp(struct peer *p, struct peer6_header h, uint8_t *message, uint32_t len)
{
    h.next = PROTOCOL_ICMPV6;
    peer6_set_sum(h, PROTOCOL_ICMPV6, message, 2, len);
    peer6_send(p, h, message, len);
}

const uint8_t *peer6_sent_nth(struct peer *p, uint8_t type, unsigned n)
{
    for (unsigned i = 0; i < p->n_out; i++) {
        const uint8_t *ip = p->out[i].raw + 14, *l4 = ip + 40;
        uint32_t len = load_be16(ip + 4);
        if (p->out[i].type != ETHERTYPE_IPV6)
            continue;
        assert_int_equal(p->out[i].raw_len, 54 + len);
        if (ip[6] == 0) { // a hop-by-hop header of eight bytes
            assert_int_equal(l4[1], 0);
            len -= 8;
            l4 += 8;
        } else if (ip[6] != PROTOCOL_ICMPV6) {
            continue;
        }
        assert_int_equal(peer6_sum(ip + 8, ip + 24, PROTOCOL_ICMPV6, l4, len), 0xffff);
        if (l4[0] == type && n-- == 0)
            return l4;
    }
    return NULL;
}

const uint8_t *peer6_sent(struct peer *p, uint8_t type)
{
    return peer6_sent_nth(p, type, 0);
}

void peer6_turn(struct peer *p)
{
    p->n_out = 0;
    peer_turn(p);
}

uint32_t peer6_make_ns(uint8_t *m, const uint8_t *target, const uint8_t *mac)
{
    memset(m, 0, 32);
    m[0] = ND_NEIGHBOUR_SOLICITATION;
    memcpy(m + 8, target, 16);
    if (!mac)
        return 24;
    nd_put_mac(m + 24, ND_OPTION_SOURCE, mac);
    return 32;
}

uint32_t peer6_make_na(uint8_t *m, const uint8_t *target, uint8_t flags, uint8_t host)
{
    const uint8_t mac[6] = {2, 0, 0, 0, 0, host};
    memset(m, 0, 32);
    m[0] = ND_NEIGHBOUR_ADVERTISEMENT;
    m[4] = flags;
    memcpy(m + 8, target, 16);
    nd_put_mac(m + 24, ND_OPTION_TARGET, mac);
    return 32;
}

void peer6_asks(struct peer *p)
{
    uint8_t m[32];
    uint32_t len = peer6_make_ns(m, ours, (const uint8_t[6]){2, 0, 0, 0, 0, 9});
    peer6_icmp(p, (struct peer6_header){theirs, our_group, .hop = 255, .mac = mac_of_all}, m, len);
    peer6_turn(p);
}

static void find(void *context, const struct net_neighbour *n)
{
    struct peer6_found *f = context;
    f->n++;
    if (n->family == 6 && memcmp(n->addr, f->addr, 16) == 0) {
        strcpy(f->state, n->state);
        memcpy(f->mac, n->mac, 6);
        f->router = n->router;
    }
}
struct peer6_found peer6_neighbour(struct peer *p, const uint8_t *addr)
{
    struct peer6_found f = {.addr = addr, .state = "UNKNOWN"};
    net_each_neighbour(p->net, find, &f);
    return f;
}
void peer6_expect(struct peer *p, const uint8_t *addr, const char *state, uint8_t host)
{
    struct peer6_found f = peer6_neighbour(p, addr);
    assert_string_equal(f.state, state);
    assert_int_equal(f.mac[5], host);
}

struct endpoint peer6_at(const uint8_t *addr, uint16_t port)
{
    struct endpoint e = {.family = 6, .port = port};
    memcpy(e.addr, addr, 16);
    return e;
}
