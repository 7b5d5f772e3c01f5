// Packets to frames and back.
#include "tests/packets/packets.h"

#include <assert.h>
#include <string.h>

static const uint8_t stage_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 9};

enum { ETHERTYPE_SIX = 0x86dd, HEADER_SIX = 40, PROTOCOL_ICMP_SIX = 58, HOP_LIMIT_ND = 255 };

static uint64_t pseudo_sum(const struct address *src, const struct address *dst, uint8_t protocol,
                           uint32_t len)
{
    uint8_t pseudo[40] = {0};
    unsigned n = src->family == 4 ? 4 : 16;
    memcpy(pseudo, src->bytes, n);
    memcpy(pseudo + n, dst->bytes, n);
    store_be32(pseudo + 2 * n, len);
    store_be32(pseudo + 2 * n + 4, protocol);
    return net_sum(pseudo, 2 * n + 8, 0);
}

// --- building ------------------------------------------------------------------------------------

// Multicast of IPv6 on Ethernet, RFC 2464.
static void group_mac(const struct address *a, uint8_t mac[6])
{
    mac[0] = mac[1] = 0x33;
    memcpy(mac + 2, a->bytes + 12, 4);
}

static uint32_t put_options(const struct stage *g, struct flow *f, const struct script_packet *p,
                            uint8_t *to)
{
    uint8_t *start = to;
    if (!(p->given & GIVEN_OPTIONS)) {
        if (!f->auto_stamps || (p->flags & TH_SYN))
            return 0;
        store_be32(to, 0x0101080a);
        store_be32(to + 4, f->stamp_first + (uint32_t)((g->now_us - f->stamp_since_us) / 1000));
        store_be32(to + 8, f->stamp_last);
        return 12;
    }
    for (unsigned i = 0; i < p->n_options; i++) {
        const struct tcp_option *o = &p->option[i];
        if (o->kind == TCP_OPTION_RAW) {
            memcpy(to, o->raw, o->raw_len);
            to += o->raw_len;
            continue;
        }
        *to++ = o->kind;
        if (o->kind <= 1)
            continue;
        uint8_t *length = to++;
        memcpy(to, o->raw, o->raw_len);
        to += o->raw_len;
        for (unsigned k = 0; k < o->n; k++) {
            uint32_t v = o->value[k];
            if (o->kind == 2) {
                store_be16(to, (uint16_t)v);
                to += 2;
                continue;
            }
            if (o->kind == 3) {
                *to++ = (uint8_t)v;
                continue;
            }
            if (o->kind == 5 && !o->raw_value[k])
                v += f->our_isn;
            if (o->kind == 8 && k == 1 && !o->raw_value[k])
                v = o->any[k] ? f->stamp_last : f->stamps_known ? f->stamp_base + v : v;
            store_be32(to, v);
            to += 4;
        }
        *length = (uint8_t)(to - length + 1);
    }
    while ((to - start) % 4)
        *to++ = 0;
    return (uint32_t)(to - start);
}

static uint32_t build_tcp(const struct stage *g, struct flow *f, const struct script_packet *p,
                          uint8_t *tcp)
{
    memset(tcp, 0, 20);
    store_be16(tcp, p->given & GIVEN_SPORT ? p->sport : f->their_port);
    store_be16(tcp + 2, p->given & GIVEN_DPORT ? p->dport : f->our_port);
    store_be32(tcp + 4, p->seq + (p->seq_raw ? 0 : f->their_isn));
    if (p->given & GIVEN_ACK)
        store_be32(tcp + 8, p->ack + (p->ack_raw || !f->isn_known ? 0 : f->our_isn));
    uint32_t header = 20 + put_options(g, f, p, tcp + 20);
    tcp[12] = (uint8_t)((p->given & GIVEN_DOFF ? p->doff : header / 4) << 4);
    tcp[13] = p->flags;
    store_be16(tcp + 14, (uint16_t)(p->given & GIVEN_WIN ? p->win : f->win));
    store_be16(tcp + 18, (uint16_t)p->urg);
    uint64_t at = (uint64_t)p->seq - 1 + !!(p->flags & TH_SYN); // data of a SYN lies behind it
    for (uint32_t i = 0; i < p->len; i++)
        tcp[header + i] = p->given & GIVEN_FILL ? p->fill : pattern_byte(false, at + i);
    return header + p->len;
}

// The header of a packet of the stack to the peer, as ICMP quotes it.
static uint32_t put_quote(const struct stage *g, const struct flow *f,
                          const struct script_packet *p, uint8_t *to)
{
    if (p->quote_last) {
        uint32_t n = g->last_in_len < 128 ? g->last_in_len : 128;
        memcpy(to, g->last_in, n);
        return n;
    }
    uint8_t tcp[20] = {0};
    store_be16(tcp, f->our_port);
    store_be16(tcp + 2, f->their_port);
    store_be32(tcp + 4, p->quote + f->our_isn);
    tcp[12] = 0x50;
    tcp[13] = TH_ACK;
    uint32_t quote = p->quote_len < 20 ? p->quote_len : 20;
    if (f->ours.family == 4) {
        memset(to, 0, 20);
        to[0] = 0x45;
        store_be16(to + 2, g->config.mtu ? g->config.mtu : 1500);
        store_be16(to + 6, 0x4000);
        to[8] = 60;
        to[9] = PROTOCOL_TCP;
        memcpy(to + 12, f->ours.bytes, 4);
        memcpy(to + 16, f->theirs.bytes, 4);
        uint16_t sum = (uint16_t)~net_sum_fold(net_sum(to, 20, 0));
        memcpy(to + 10, &sum, 2);
        memcpy(to + 20, tcp, quote);
        return 20 + quote;
    }
    memset(to, 0, HEADER_SIX);
    to[0] = 0x60;
    store_be16(to + 4, 1440);
    to[6] = PROTOCOL_TCP;
    to[7] = 60;
    memcpy(to + 8, f->ours.bytes, 16);
    memcpy(to + 24, f->theirs.bytes, 16);
    memcpy(to + HEADER_SIX, tcp, quote);
    return HEADER_SIX + quote;
}

static uint32_t put_lla(uint8_t *to, uint8_t kind, const uint8_t mac[6])
{
    to[0] = kind;
    to[1] = 1;
    memcpy(to + 2, mac, 6);
    return 8;
}

static uint32_t build_icmp(const struct stage *g, const struct flow *f,
                           const struct script_packet *p, uint8_t *icmp)
{
    memset(icmp, 0, 8);
    icmp[0] = p->type;
    icmp[1] = p->code;
    store_be32(icmp + 4, p->value);
    uint32_t n = 8;
    if (p->kind == PACKET_ICMP6 && p->type == 134) { // reachable time, retransmission time
        memset(icmp + n, 0, 8);
        n += 8;
        if (p->given & GIVEN_PREFIX) {
            uint8_t *o = icmp + n;
            memset(o, 0, 32);
            o[0] = 3;
            o[1] = 4;
            o[2] = p->prefix_len;
            o[3] = 0xc0;
            store_be32(o + 4, p->valid_s);
            store_be32(o + 8, p->valid_s);
            memcpy(o + 16, p->target.bytes, 16);
            n += 32;
        }
        if (p->given & GIVEN_MTU) {
            memset(icmp + n, 0, 8);
            icmp[n] = 5;
            icmp[n + 1] = 1;
            store_be32(icmp + n + 4, p->mtu);
            n += 8;
        }
        if (p->given & GIVEN_LLA)
            n += put_lla(icmp + n, 1, p->lla);
        return n;
    }
    if (p->given & GIVEN_TARGET) {
        memcpy(icmp + n, p->target.bytes, 16);
        n += 16;
    }
    if (p->given & GIVEN_LLA)
        n += put_lla(icmp + n, p->type == 136 ? 2 : 1, p->lla);
    if (p->given & GIVEN_QUOTE)
        return n + put_quote(g, f, p, icmp + n);
    for (uint32_t i = 0; i < p->len; i++)
        icmp[n++] = pattern_byte(false, i);
    return n;
}

static uint32_t build_arp(const struct script_packet *p, uint8_t *to)
{
    const uint8_t *mac = p->given & GIVEN_LLA ? p->lla : peer_mac;
    memset(to + 14, 0, 28);
    memcpy(to, p->type == 1 ? (const uint8_t[6]){255, 255, 255, 255, 255, 255} : stage_mac, 6);
    if (p->given & GIVEN_DMAC)
        memcpy(to, p->dmac, 6);
    memcpy(to + 6, p->given & GIVEN_SMAC ? p->smac : mac, 6);
    store_be16(to + 12, ETHERTYPE_ARP);
    memcpy(to + 14, (const uint8_t[6]){0, 1, 8, 0, 6, 4}, 6);
    store_be16(to + 20, p->type);
    memcpy(to + 22, mac, 6);
    memcpy(to + 28, p->sender.bytes, 4);
    if (p->type == 2)
        memcpy(to + 32, stage_mac, 6);
    static const uint8_t ours[4] = {10, 0, 0, 1};
    memcpy(to + 38, p->given & GIVEN_TARGET ? p->target.bytes : ours, 4);
    return 42;
}

// The IP header at `ip`; returns its length.
static uint32_t put_ip(const struct script_packet *p, const struct address *src,
                       const struct address *dst, uint8_t protocol, uint32_t len, uint8_t *ip)
{
    uint8_t tos = (uint8_t)((p->given & GIVEN_TOS ? p->tos & 0xfc : 0) | p->ecn);
    uint8_t ttl = p->given & GIVEN_TTL ? p->ttl : 64;
    if (src->family == 6) {
        uint32_t extra = p->frag ? 8 : 0;
        if (p->kind == PACKET_ICMP6 && p->type >= 133 && p->type <= 137 && !(p->given & GIVEN_TTL))
            ttl = HOP_LIMIT_ND;
        memset(ip, 0, HEADER_SIX);
        store_be32(ip, 6u << 28 | (uint32_t)tos << 20);
        store_be16(ip + 4, (uint16_t)(p->given & GIVEN_IP_LEN ? p->ip_len : len + extra));
        ip[6] = extra ? 44 : protocol;
        ip[7] = ttl;
        memcpy(ip + 8, src->bytes, 16);
        memcpy(ip + 24, dst->bytes, 16);
        if (extra) {
            memset(ip + HEADER_SIX, 0, 8);
            ip[HEADER_SIX] = protocol;
            store_be16(ip + HEADER_SIX + 2,
                       (uint16_t)((p->frag & 0x1fff) << 3 | (p->frag & 0x2000 ? 1 : 0)));
        }
        return HEADER_SIX + extra;
    }
    uint32_t header = 20u + p->n_ip_options;
    memset(ip, 0, 20);
    memcpy(ip + 20, p->ip_options, p->n_ip_options);
    ip[0] = (uint8_t)(0x40 | header / 4);
    ip[1] = tos;
    store_be16(ip + 2, (uint16_t)(p->given & GIVEN_IP_LEN ? p->ip_len : header + len));
    store_be16(ip + 4, 0x1234);
    store_be16(ip + 6, (uint16_t)((p->given & GIVEN_DF ? p->df << 14
                                   : p->frag           ? 0
                                                       : 0x4000) |
                                  p->frag));
    ip[8] = ttl;
    ip[9] = protocol;
    memcpy(ip + 12, src->bytes, 4);
    memcpy(ip + 16, dst->bytes, 4);
    return header;
}

static void put_patches(const struct script_packet *p, uint8_t *frame)
{
    for (unsigned i = 0; i < p->n_patches; i++)
        memcpy(frame + p->patch_at[i], p->patch[i], p->patch_len[i]);
}

uint32_t frame_build(struct stage *g, struct flow *f, const struct script_packet *p, uint8_t *to,
                     uint32_t *flags)
{
    *flags = p->damage & DAMAGE_PORT_SAYS_GOOD  ? (uint32_t)FRAME_IP_SUM_GOOD | FRAME_L4_SUM_GOOD
             : p->damage & DAMAGE_PORT_SAYS_BAD ? FRAME_SUM_BAD
                                                : 0;
    if (p->kind == PACKET_RAW) {
        memcpy(to, p->raw, p->raw_len);
        return p->raw_len;
    }
    if (p->kind == PACKET_ARP) {
        uint32_t n = build_arp(p, to);
        put_patches(p, to);
        return p->cut ? p->cut : n;
    }
    const struct address *src = p->given & GIVEN_SRC ? &p->src : &f->theirs;
    const struct address *dst = p->given & GIVEN_DST ? &p->dst : &f->ours;
    memcpy(to, stage_mac, 6);
    if (dst->family == 6 && dst->bytes[0] == 0xff)
        group_mac(dst, to);
    if (p->given & GIVEN_DMAC)
        memcpy(to, p->dmac, 6);
    memcpy(to + 6, p->given & GIVEN_SMAC ? p->smac : peer_mac, 6);
    uint32_t l2 = 14;
    uint16_t vlan = p->given & GIVEN_VLAN ? p->vlan : g->config.vlan;
    if (vlan || (p->given & GIVEN_VLAN)) {
        store_be16(to + 12, ETHERTYPE_VLAN);
        store_be16(to + 14, vlan);
        l2 = 18;
    }
    store_be16(to + l2 - 2, src->family == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_SIX);
    uint8_t l4[RAW_MAX], protocol;
    uint32_t len, sum_at = 0;
    switch (p->kind) {
    case PACKET_TCP:
        protocol = PROTOCOL_TCP;
        len = build_tcp(g, f, p, l4);
        sum_at = 16;
        break;
    case PACKET_UDP:
        protocol = PROTOCOL_UDP;
        store_be16(l4, p->given & GIVEN_SPORT ? p->sport : f->their_port);
        store_be16(l4 + 2, p->given & GIVEN_DPORT ? p->dport : f->our_port);
        len = 8 + p->len;
        store_be32(l4 + 4, len << 16);
        for (uint32_t i = 0; i < p->len; i++)
            l4[8 + i] = pattern_byte(false, i);
        sum_at = 6;
        break;
    case PACKET_ICMP:
    case PACKET_ICMP6:
        protocol = p->kind == PACKET_ICMP ? PROTOCOL_ICMP : PROTOCOL_ICMP_SIX;
        len = build_icmp(g, f, p, l4);
        sum_at = 2;
        break;
    default:
        protocol = p->protocol;
        len = p->len;
        for (uint32_t i = 0; i < len; i++)
            l4[i] = pattern_byte(false, i);
    }
    uint8_t *ip = to + l2;
    uint32_t header = put_ip(p, src, dst, protocol, len, ip);
    memcpy(ip + header, l4, len);
    put_patches(p, to);
    if (src->family == 4) {
        uint16_t sum = (uint16_t)~net_sum_fold(net_sum(ip, header, 0));
        memcpy(ip + 10, &sum, 2);
        if (p->damage & DAMAGE_IP_SUM)
            ip[10] ^= 0x55;
    }
    if (sum_at && len >= sum_at + 2) {
        uint64_t pseudo = p->kind == PACKET_ICMP ? 0 : pseudo_sum(src, dst, protocol, len);
        uint16_t sum = net_sum_fold(pseudo);
        if (!(p->damage & DAMAGE_PARTIAL_SUM))
            sum = (uint16_t)~net_sum_fold(net_sum(ip + header, len, pseudo));
        memcpy(ip + header + sum_at, &sum, 2);
        if (p->damage & DAMAGE_L4_SUM)
            ip[header + sum_at] ^= 0x55;
    }
    uint32_t n = l2 + header + len;
    memset(to + n, 0xee, p->pad);
    n += p->pad;
    return p->cut && p->cut < n ? p->cut : n;
}

// --- reading -------------------------------------------------------------------------------------

static void read_options(const uint8_t *o, uint32_t len, struct script_packet *p)
{
    while (len && p->n_options < OPTIONS_MAX) {
        struct tcp_option *to = &p->option[p->n_options++];
        *to = (struct tcp_option){.kind = o[0]};
        if (o[0] <= 1) {
            o++;
            len--;
            continue;
        }
        uint32_t size = len < 2 || o[1] < 2 || o[1] > len ? len : o[1];
        const uint8_t *v = o + 2;
        if (o[0] == 2 && size == 4) {
            to->n = 1;
            to->value[0] = load_be16(v);
        } else if (o[0] == 3 && size == 3) {
            to->n = 1;
            to->value[0] = v[0];
        } else if ((o[0] == 5 && size >= 10 && size <= 34 && size % 8 == 2) ||
                   (o[0] == 8 && size == 10)) {
            to->n = (uint8_t)((size - 2) / 4);
            for (unsigned i = 0; i < to->n; i++)
                to->value[i] = load_be32(v + 4 * i);
        } else if (size > 2) {
            to->raw_len = (uint8_t)(size - 2);
            memcpy(to->raw, v, size - 2);
        }
        o += size;
        len -= size;
    }
}

static void read_icmp(const uint8_t *l4, uint32_t len, struct script_packet *p)
{
    p->type = l4[0];
    p->code = l4[1];
    p->value = load_be32(l4 + 4);
    p->data = l4 + 8;
    p->len = len - 8;
    if (p->kind != PACKET_ICMP6 || p->type < 133 || p->type > 136)
        return;
    uint32_t at = 8;
    if (p->type >= 135 && len >= 24) {
        p->target.family = 6;
        memcpy(p->target.bytes, l4 + 8, 16);
        p->given |= GIVEN_TARGET;
        at = 24;
    } else if (p->type == 134) {
        at = 16;
    }
    if (len >= at + 8 && (l4[at] == 1 || l4[at] == 2) && l4[at + 1] == 1) {
        memcpy(p->lla, l4 + at + 2, 6);
        p->given |= GIVEN_LLA;
    }
}

void frame_read(const uint8_t *data, uint32_t len, struct script_packet *p)
{
    memset(p, 0, offsetof(struct script_packet, raw));
    p->kind = PACKET_RAW;
    p->data = NULL;
    p->sums_good = true;
    p->raw_len = len < RAW_MAX ? len : RAW_MAX;
    memcpy(p->raw, data, p->raw_len);
    if (len < 14)
        return;
    memcpy(p->dmac, data, 6);
    memcpy(p->smac, data + 6, 6);
    uint32_t l2 = 14;
    uint16_t type = load_be16(data + 12);
    if (type == ETHERTYPE_VLAN && len >= 18) {
        p->vlan = load_be16(data + 14) & 0xfff;
        type = load_be16(data + 16);
        l2 = 18;
    }
    const uint8_t *ip = data + l2, *l4;
    uint32_t left = len - l2, l4_len;
    if (type == ETHERTYPE_ARP && left >= 28) {
        p->kind = PACKET_ARP;
        p->type = (uint8_t)load_be16(ip + 6);
        memcpy(p->lla, ip + 8, 6);
        p->sender.family = p->target.family = 4;
        memcpy(p->sender.bytes, ip + 14, 4);
        memcpy(p->target.bytes, ip + 24, 4);
        return;
    }
    if (type == ETHERTYPE_IPV4 && left >= 20 && (ip[0] & 15) >= 5 && left >= (ip[0] & 15u) * 4 &&
        load_be16(ip + 2) <= left && load_be16(ip + 2) >= (ip[0] & 15u) * 4) {
        uint32_t header = (ip[0] & 15u) * 4;
        p->src.family = p->dst.family = 4;
        memcpy(p->src.bytes, ip + 12, 4);
        memcpy(p->dst.bytes, ip + 16, 4);
        p->ecn = ip[1] & 3;
        p->tos = ip[1];
        p->ttl = ip[8];
        p->protocol = ip[9];
        p->df = ip[6] & 0x40;
        p->frag = load_be16(ip + 6) & 0x3fff;
        p->sums_good = net_sum_fold(net_sum(ip, header, 0)) == 0xffff;
        l4 = ip + header;
        l4_len = load_be16(ip + 2) - header;
    } else if (type == ETHERTYPE_SIX && left >= HEADER_SIX &&
               load_be16(ip + 4) <= left - HEADER_SIX) {
        p->src.family = p->dst.family = 6;
        memcpy(p->src.bytes, ip + 8, 16);
        memcpy(p->dst.bytes, ip + 24, 16);
        p->ecn = load_be16(ip) >> 4 & 3;
        p->tos = (uint8_t)(load_be16(ip) >> 4);
        p->ttl = ip[7];
        p->protocol = ip[6];
        p->df = true;
        l4 = ip + HEADER_SIX;
        l4_len = load_be16(ip + 4);
        if (p->protocol == 0 && l4_len >= 8) { // hop-by-hop options, before MLD reports
            uint32_t skip = 8u + l4[1] * 8u;
            p->protocol = l4[0];
            l4 += skip;
            l4_len = l4_len > skip ? l4_len - skip : 0;
        }
    } else {
        return;
    }
    p->kind = PACKET_IP;
    p->len = l4_len;
    p->data = l4;
    if (p->frag & 0x1fff)
        return;
    uint64_t pseudo = pseudo_sum(&p->src, &p->dst, p->protocol, l4_len);
    uint32_t header;
    if (p->protocol == PROTOCOL_TCP && l4_len >= 20 && (header = (l4[12] >> 4) * 4u) >= 20 &&
        header <= l4_len) {
        p->kind = PACKET_TCP;
        p->sums_good = p->sums_good && net_sum_fold(net_sum(l4, l4_len, pseudo)) == 0xffff;
        p->sport = load_be16(l4);
        p->dport = load_be16(l4 + 2);
        p->seq = load_be32(l4 + 4);
        p->ack = load_be32(l4 + 8);
        p->flags = l4[13];
        p->win = load_be16(l4 + 14);
        p->urg = load_be16(l4 + 18);
        read_options(l4 + 20, header - 20, p);
        p->data = l4 + header;
        p->len = l4_len - header;
    } else if (p->protocol == PROTOCOL_ICMP && p->src.family == 4 && l4_len >= 8) {
        p->kind = PACKET_ICMP;
        p->sums_good = p->sums_good && net_sum_fold(net_sum(l4, l4_len, 0)) == 0xffff;
        read_icmp(l4, l4_len, p);
    } else if (p->protocol == PROTOCOL_ICMP_SIX && p->src.family == 6 && l4_len >= 8) {
        p->kind = PACKET_ICMP6;
        p->sums_good = net_sum_fold(net_sum(l4, l4_len, pseudo)) == 0xffff;
        read_icmp(l4, l4_len, p);
    } else if (p->protocol == PROTOCOL_UDP && l4_len >= 8) {
        p->kind = PACKET_UDP;
        p->len = l4_len - 8;
        p->sport = load_be16(l4);
        p->dport = load_be16(l4 + 2);
    }
}
