#include "tests/sim/offload.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/tcp.h"

// Finishes the IP and TCP headers of a whole packet.
static void finish(uint8_t *ip, uint32_t l3, uint32_t l4_len, const struct frame *f)
{
    uint8_t *tcp = ip + l3;
    bool v4 = ip[0] >> 4 == 4;
    if (v4 && (f->flags & (FRAME_TX_IP_SUM | FRAME_TX_TSO))) {
        memset(ip + 10, 0, 2);
        uint16_t sum = (uint16_t)~net_sum_fold(net_sum(ip, l3, 0));
        memcpy(ip + 10, &sum, 2);
    }
    if (f->flags & (FRAME_TX_L4_SUM | FRAME_TX_TSO)) {
        uint64_t pseudo = net_sum(v4 ? ip + 12 : ip + 8, v4 ? 8 : 32, 0) +
                          ((uint64_t)__builtin_bswap16((uint16_t)l4_len) << 16 | PROTOCOL_TCP << 8);
        memset(tcp + TCP_SUM, 0, 2);
        uint16_t sum = (uint16_t)~net_sum_fold(net_sum(tcp, l4_len, pseudo));
        memcpy(tcp + TCP_SUM, &sum, 2);
    }
}

void offload_send(const struct frame *f,
                  void (*each)(void *context, const uint8_t *data, uint32_t len), void *context)
{
    if (!(f->flags & (FRAME_TX_IP_SUM | FRAME_TX_L4_SUM | FRAME_TX_TSO))) {
        each(context, f->data, f->len);
        return;
    }
    uint32_t headers = (uint32_t)f->l2_len + f->l3_len + f->l4_len, payload = f->len - headers;
    uint32_t size = f->flags & FRAME_TX_TSO ? f->tso_size : payload, at = 0;
    assert(size || !payload);
    uint8_t *packet = malloc(f->len);
    do {
        uint32_t n = payload - at < size ? payload - at : size, len = headers + n;
        memcpy(packet, f->data, headers);
        memcpy(packet + headers, f->data + headers + at, n);
        uint8_t *ip = packet + f->l2_len, *tcp = ip + f->l3_len;
        if (f->flags & FRAME_TX_TSO) {
            if (ip[0] >> 4 == 4)
                store_be16(ip + 2, (uint16_t)(len - f->l2_len));
            else
                store_be16(ip + 4, (uint16_t)(len - f->l2_len - IPV6_HEADER));
            store_be32(tcp + TCP_SEQ, load_be32(tcp + TCP_SEQ) + at);
            if (at)
                tcp[TCP_FLAGS] &= (uint8_t)~TH_CWR;
            if (at + n < payload)
                tcp[TCP_FLAGS] &= (uint8_t) ~(TH_FIN | TH_PSH);
        }
        finish(ip, f->l3_len, f->l4_len + n, f);
        each(context, packet, len);
        at += n;
    } while (at < payload);
    free(packet);
}
