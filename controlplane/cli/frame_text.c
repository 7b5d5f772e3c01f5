#include "controlplane/cli/frame_text.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    TYPE_IP = 0x0800,
    TYPE_ARP = 0x0806,
    TYPE_VLAN = 0x8100,
    TYPE_IP6 = 0x86dd,
    NEXT_ICMP = 1,
    NEXT_TCP = 6,
    NEXT_UDP = 17,
    NEXT_ICMP6 = 58,
};

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
    return be16(p) << 16 | be16(p + 2);
}

__attribute__((format(printf, 2, 3))) static void say(struct frame_facts *f, const char *format,
                                                      ...)
{
    size_t at = strlen(f->detail);
    va_list args;
    va_start(args, format);
    vsnprintf(f->detail + at, sizeof(f->detail) - at, format, args);
    va_end(args);
}

static void mac_text(const uint8_t *p, char *text, size_t size)
{
    snprintf(text, size, "%02x:%02x:%02x:%02x:%02x:%02x", p[0], p[1], p[2], p[3], p[4], p[5]);
}

// --- layers --------------------------------------------------------------------------------------

static void tcp_options(struct frame_facts *f, const uint8_t *p, uint32_t n)
{
    const char *between = "";
    if (!n)
        return;
    say(f, ", options [");
    while (n && p[0] != 0) {
        if (p[0] == 1) {
            say(f, "%snop", between);
            between = ",";
            p++;
            n--;
            continue;
        }
        if (n < 2 || p[1] < 2 || p[1] > n) {
            say(f, "%sbad", between);
            break;
        }
        if (p[0] == 2 && p[1] == 4)
            say(f, "%smss %u", between, be16(p + 2));
        else if (p[0] == 3 && p[1] == 3)
            say(f, "%swscale %u", between, p[2]);
        else if (p[0] == 4)
            say(f, "%ssackOK", between);
        else if (p[0] == 8 && p[1] == 10)
            say(f, "%sTS val %u ecr %u", between, be32(p + 2), be32(p + 6));
        else if (p[0] == 5 && p[1] % 8 == 2) {
            say(f, "%ssack %u", between, p[1] / 8u);
            for (unsigned i = 2; i + 8 <= p[1]; i += 8)
                say(f, " {%u:%u}", be32(p + i), be32(p + i + 4));
        } else
            say(f, "%soption %u", between, p[0]);
        between = ",";
        n -= p[1];
        p += p[1];
    }
    say(f, "]");
}

static void tcp_facts(struct frame_facts *f, const uint8_t *p, uint32_t n, uint32_t whole)
{
    f->protocol = "TCP";
    if (n < 20)
        return;
    uint32_t header = (p[12] >> 4) * 4u;
    f->is_tcp = f->has_ports = true;
    f->source_port = (uint16_t)be16(p);
    f->destination_port = (uint16_t)be16(p + 2);
    f->seq = be32(p + 4);
    f->ack = be32(p + 8);
    f->flags = p[13];
    f->window = be16(p + 14);
    f->payload = whole > header ? whole - header : 0;
    if (header < 20 || header > whole)
        say(f, ", bad header length %u", header);
    else if (header <= n)
        tcp_options(f, p + 20, header - 20);
}

static void udp_facts(struct frame_facts *f, const uint8_t *p, uint32_t n)
{
    f->protocol = "UDP";
    if (n < 8)
        return;
    f->has_ports = true;
    f->source_port = (uint16_t)be16(p);
    f->destination_port = (uint16_t)be16(p + 2);
    f->payload = be16(p + 4) >= 8 ? be16(p + 4) - 8 : 0;
}

static void icmp_facts(struct frame_facts *f, const uint8_t *p, uint32_t n, uint32_t whole)
{
    static const char *const unreachable[] = {"net", "host", "protocol", "port"};
    f->protocol = "ICMP";
    f->payload = whole;
    if (n < 8)
        return;
    if (p[0] == 8 || p[0] == 0)
        say(f, "echo %s, id %u, seq %u", p[0] ? "request" : "reply", be16(p + 4), be16(p + 6));
    else if (p[0] == 3 && p[1] == 4)
        say(f, "unreachable, need to frag (mtu %u)", be16(p + 6));
    else if (p[0] == 3)
        say(f, "%s unreachable", p[1] < 4 ? unreachable[p[1]] : "destination");
    else if (p[0] == 11)
        say(f, "time exceeded");
    else
        say(f, "type %u code %u", p[0], p[1]);
}

static void icmp6_facts(struct frame_facts *f, const uint8_t *p, uint32_t n, uint32_t whole)
{
    char address[INET6_ADDRSTRLEN] = "?";
    f->protocol = "ICMP6";
    f->payload = whole;
    if (n < 8)
        return;
    if (n >= 24)
        inet_ntop(AF_INET6, p + 8, address, sizeof(address));
    switch (p[0]) {
    case 1:
        say(f, "destination unreachable, code %u", p[1]);
        break;
    case 2:
        say(f, "packet too big, mtu %u", be32(p + 4));
        break;
    case 128:
    case 129:
        say(f, "echo %s, id %u, seq %u", p[0] == 128 ? "request" : "reply", be16(p + 4),
            be16(p + 6));
        break;
    case 133:
        say(f, "router solicitation");
        break;
    case 134:
        say(f, "router advertisement");
        break;
    case 135:
        say(f, "neighbor solicitation, who has %s", address);
        break;
    case 136:
        say(f, "neighbor advertisement, tgt is %s", address);
        break;
    default:
        say(f, "type %u code %u", p[0], p[1]);
    }
}

static void transport_facts(struct frame_facts *f, unsigned next, const uint8_t *p, uint32_t n,
                            uint32_t whole)
{
    if (next == NEXT_TCP)
        tcp_facts(f, p, n, whole);
    else if (next == NEXT_UDP)
        udp_facts(f, p, n);
    else if (next == NEXT_ICMP)
        icmp_facts(f, p, n, whole);
    else if (next == NEXT_ICMP6)
        icmp6_facts(f, p, n, whole);
    else {
        f->payload = whole;
        say(f, "protocol %u", next);
    }
}

static void ip_facts(struct frame_facts *f, const uint8_t *p, uint32_t n)
{
    f->protocol = "IP";
    uint32_t header = n ? (p[0] & 15) * 4u : 0, total;
    if (n < 20 || header < 20 || header > n) {
        say(f, "bad or cut header");
        return;
    }
    total = be16(p + 2);
    inet_ntop(AF_INET, p + 12, f->source, sizeof(f->source));
    inet_ntop(AF_INET, p + 16, f->destination, sizeof(f->destination));
    // With segmentation by the port the length may be 0.
    uint32_t whole = total >= header ? total - header : f->len > header ? f->len - header : 0;
    if (be16(p + 6) & 0x1fff) {
        f->payload = whole;
        say(f, "fragment at %u, protocol %u", (be16(p + 6) & 0x1fff) * 8, p[9]);
        return;
    }
    uint32_t there = n - header < whole ? n - header : whole;
    transport_facts(f, p[9], p + header, there, whole);
    if (be16(p + 6) & 0x2000)
        say(f, ", first fragment");
}

static void ip6_facts(struct frame_facts *f, const uint8_t *p, uint32_t n)
{
    f->protocol = "IP6";
    if (n < 40) {
        say(f, "bad or cut header");
        return;
    }
    uint32_t whole = be16(p + 4), there = n - 40 < whole ? n - 40 : whole;
    inet_ntop(AF_INET6, p + 8, f->source, sizeof(f->source));
    inet_ntop(AF_INET6, p + 24, f->destination, sizeof(f->destination));
    transport_facts(f, p[6], p + 40, there, whole);
}

static void arp_facts(struct frame_facts *f, const uint8_t *p, uint32_t n)
{
    f->protocol = "ARP";
    char sender[INET_ADDRSTRLEN], target[INET_ADDRSTRLEN], mac[24];
    if (n < 28 || be16(p + 2) != TYPE_IP)
        return;
    inet_ntop(AF_INET, p + 14, sender, sizeof(sender));
    inet_ntop(AF_INET, p + 24, target, sizeof(target));
    mac_text(p + 8, mac, sizeof(mac));
    if (be16(p + 6) == 1)
        say(f, "who has %s, tell %s", target, sender);
    else
        say(f, "%s is at %s", sender, mac);
}

void frame_facts(struct frame_facts *f, const uint8_t *bytes, uint32_t captured, uint32_t len)
{
    *f = (struct frame_facts){.len = len, .captured = captured, .protocol = "Ethernet"};
    uint32_t at = 14;
    if (captured < at)
        return;
    mac_text(bytes, f->destination, sizeof(f->destination));
    mac_text(bytes + 6, f->source, sizeof(f->source));
    f->ethertype = (uint16_t)be16(bytes + 12);
    if (f->ethertype == TYPE_VLAN && captured >= 18) {
        f->vlan = be16(bytes + 14) & 0xfff;
        f->ethertype = (uint16_t)be16(bytes + 16);
        at = 18;
    }
    if (f->ethertype == TYPE_IP)
        ip_facts(f, bytes + at, captured - at);
    else if (f->ethertype == TYPE_IP6)
        ip6_facts(f, bytes + at, captured - at);
    else if (f->ethertype == TYPE_ARP)
        arp_facts(f, bytes + at, captured - at);
    else
        say(f, "ethertype 0x%04x", f->ethertype);
}

// --- text ----------------------------------------------------------------------------------------

const char *frame_flags(uint8_t flags, char text[12])
{
    static const char letters[8] = {'F', 'S', 'R', 'P', '.', 'U', 'E', 'W'};
    // The acknowledgement's dot stands last.
    static const uint8_t order[8] = {1, 0, 2, 3, 5, 6, 7, 4};
    unsigned n = 0;
    for (unsigned i = 0; i < 8; i++)
        if (flags & 1u << order[i])
            text[n++] = letters[order[i]];
    text[n] = '\0';
    return n ? text : "none";
}

const char *frame_text(const struct frame_facts *f, char *text)
{
    char from[80], to[80], flags[12], vlan[16] = "";
    if (f->has_ports) {
        snprintf(from, sizeof(from), "%s.%u", f->source, f->source_port);
        snprintf(to, sizeof(to), "%s.%u", f->destination, f->destination_port);
    } else {
        snprintf(from, sizeof(from), "%s", f->source);
        snprintf(to, sizeof(to), "%s", f->destination);
    }
    if (f->vlan)
        snprintf(vlan, sizeof(vlan), "vlan %u, ", f->vlan);
    if (f->is_tcp) {
        int n = snprintf(text, FRAME_TEXT_MAX, "%s%s > %s: Flags [%s], seq %u", vlan, from, to,
                         frame_flags(f->flags, flags), f->seq);
        if (f->payload)
            n += snprintf(text + n, FRAME_TEXT_MAX - (size_t)n, ":%u", f->seq + f->payload);
        if (f->flags & 16)
            n += snprintf(text + n, FRAME_TEXT_MAX - (size_t)n, ", ack %u", f->ack);
        snprintf(text + n, FRAME_TEXT_MAX - (size_t)n, ", win %u%s, length %u", f->window,
                 f->detail, f->payload);
    } else if (strcmp(f->protocol, "ARP") == 0) {
        snprintf(text, FRAME_TEXT_MAX, "%sARP, %s, length %u", vlan, f->detail, f->len);
    } else {
        snprintf(text, FRAME_TEXT_MAX, "%s%s > %s: %s%s%s, length %u", vlan, from, to, f->protocol,
                 *f->detail ? " " : "", f->detail, f->payload ? f->payload : f->len);
    }
    return text;
}
