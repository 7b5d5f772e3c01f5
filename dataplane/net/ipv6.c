// IPv6 (RFC 8200): writing headers.
#include "dataplane/net/internal.h"

enum { DEFAULT_HOP_LIMIT = 64 };

void ipv6_write(struct net *net, struct frame *f, const uint8_t src[16], const uint8_t dst[16],
                uint8_t protocol, uint8_t traffic_class, uint32_t payload)
{
    uint8_t *ip = f->data + net->header_l2;
    store_be32(ip, 6u << 28 | (uint32_t)traffic_class << 20);
    store_be32(ip + 4, payload << 16 | (uint32_t)protocol << 8 | DEFAULT_HOP_LIMIT);
    memcpy(ip + 8, src, 16);
    memcpy(ip + 24, dst, 16);
    f->l2_len = (uint16_t)net->header_l2;
    f->l3_len = IPV6_HEADER;
    f->len = net->header_l2 + IPV6_HEADER + payload;
}
