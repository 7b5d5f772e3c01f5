// ARP for IPv4 over Ethernet (RFC 826), as a host does it: answers for our addresses, learns from
// requests to us and from answers to what we asked, and believes nobody about our own addresses.
#include "dataplane/net/homes.h"

enum {
    ARP_LENGTH = 28,
    ARP_OPERATION = 6,
    ARP_SENDER_MAC = 8,
    ARP_SENDER_IP = 14,
    ARP_TARGET_MAC = 18,
    ARP_TARGET_IP = 24,
    ARP_REQUEST = 1,
    ARP_REPLY = 2,
};

static const uint8_t arp_ethernet_ipv4[6] = {0, 1, 8, 0, 6, 4};
static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void arp_send(struct net *net, uint16_t operation, const uint8_t *to, uint32_t sender_ip,
                     const uint8_t *target_mac, uint32_t target_ip)
{
    struct frame *f = net_frame_new(net, true);
    if (!f)
        return;
    uint8_t *p = f->data;
    memcpy(p, to, 6);
    memcpy(p + 6, net->config.mac, 6);
    if (net->config.vlan) {
        store_be16(p + 12, ETHERTYPE_VLAN);
        store_be16(p + 14, net->config.vlan);
    }
    store_be16(p + net->header_l2 - 2, ETHERTYPE_ARP);
    p += net->header_l2;
    memcpy(p, arp_ethernet_ipv4, 6);
    store_be16(p + ARP_OPERATION, operation);
    memcpy(p + ARP_SENDER_MAC, net->config.mac, 6);
    store_raw32(p + ARP_SENDER_IP, sender_ip);
    memcpy(p + ARP_TARGET_MAC, target_mac, 6);
    store_raw32(p + ARP_TARGET_IP, target_ip);
    f->len = net->header_l2 + ARP_LENGTH;
    f->l2_len = (uint16_t)net->header_l2;
    f->l3_len = f->l4_len = 0;
    net->counters.arp_out++;
    net_frame_send(net, f);
}

void arp_request(struct net *net, uint32_t addr, const uint8_t *to)
{
    static const uint8_t unknown[6];
    uint32_t sender = ipv4_source(net, addr);
    arp_send(net, ARP_REQUEST, to ? to : broadcast, sender, to ? to : unknown, addr);
}

void arp_input(struct net *net, const uint8_t *p, uint32_t len)
{
    net->counters.arp_in++;
    if (len < ARP_LENGTH || memcmp(p, arp_ethernet_ipv4, 6) != 0) {
        net->counters.arp_bad++;
        return;
    }
    uint16_t operation = load_be16(p + ARP_OPERATION);
    uint32_t sender = load_raw32(p + ARP_SENDER_IP), target = load_raw32(p + ARP_TARGET_IP);
    const uint8_t *mac = p + ARP_SENDER_MAC;
    static const uint8_t zero[6];
    // Group and empty hardware addresses, our own IP address in another's mouth, unknown
    // operations. Our own hardware address is no offence: the kernel's end of a TAP device has the
    // same.
    if ((mac[0] & 1) || memcmp(mac, zero, 6) == 0 || (sender && ipv4_is_ours(net, sender)) ||
        (operation != ARP_REQUEST && operation != ARP_REPLY)) {
        net->counters.arp_bad++;
        if (sender && ipv4_is_ours(net, sender) && memcmp(mac, net->config.mac, 6) != 0)
            net_conflict(net, 4, p + ARP_SENDER_IP, mac, false);
        return;
    }
    bool to_us = ipv4_is_ours(net, target);
    // A gratuitous packet (not to us) tells of a change, and nothing of who was not known.
    if (sender && ipv4_is_on_link(net, sender)) {
        // An answer may be to another stack's question.
        struct net_news news = {.kind = NET_NEWS_NEIGHBOUR,
                                .family = 4,
                                .create = to_us && operation == ARP_REQUEST,
                                .answer = to_us && operation == ARP_REPLY,
                                .override = true};
        memcpy(news.addr, &sender, 4);
        memcpy(news.mac, mac, 6);
        if (neighbour_hear(net, &news) || news.answer)
            homes_tell(net, &news);
    }
    // A probe for an address (RFC 5227) has no sender; it is answered and not learned from.
    if (operation == ARP_REQUEST && to_us)
        arp_send(net, ARP_REPLY, mac, target, mac, sender);
}
