// TCP options (RFC 9293 3.1, RFC 7323, RFC 2018): reading them from any segment, writing those of a
// SYN.
#include "dataplane/net/tcp.h"

enum {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_MSS = 2,
    OPTION_SCALE = 3,
    OPTION_SACK_PERMITTED = 4,
    OPTION_SACK = 5,
    OPTION_STAMPS = 8,
    SCALE_MAX = 14, // RFC 7323 2.3
};

bool tcp_options_parse(const uint8_t *p, uint32_t len, struct tcp_segment *seg)
{
    // The form that nearly every segment has.
    if (likely(len == TCP_STAMP_OPTION && load_be32(p) == 0x0101080a)) {
        seg->has_stamp = true;
        seg->ts_value = load_be32(p + 4);
        seg->ts_echo = load_be32(p + 8);
        return true;
    }
    while (len) {
        uint8_t kind = p[0];
        if (kind == OPTION_END)
            return true;
        if (kind == OPTION_NOP) {
            p++;
            len--;
            continue;
        }
        if (len < 2 || p[1] < 2 || p[1] > len)
            return false;
        uint8_t size = p[1];
        switch (kind) {
        case OPTION_MSS:
            if (size != 4)
                return false;
            seg->has_mss = true;
            seg->mss = load_be16(p + 2);
            break;
        case OPTION_SCALE:
            if (size != 3)
                return false;
            seg->has_scale = true;
            seg->scale = p[2] > SCALE_MAX ? SCALE_MAX : p[2];
            break;
        case OPTION_SACK_PERMITTED:
            if (size != 2)
                return false;
            seg->has_sack = true;
            break;
        case OPTION_SACK:
            if (size < 10 || (size - 2) % 8)
                return false;
            seg->n_sack = (uint8_t)((size - 2) / 8);
            seg->sack = p + 2;
            break;
        case OPTION_STAMPS:
            if (size != 10)
                return false;
            seg->has_stamp = true;
            seg->ts_value = load_be32(p + 2);
            seg->ts_echo = load_be32(p + 6);
            break;
        default:
            break; // unknown options are skipped by their length
        }
        p += size;
        len -= size;
    }
    return true;
}

uint32_t tcp_options_write_syn(const struct tcp *c, uint8_t *p)
{
    uint8_t *start = p;
    *p++ = OPTION_MSS;
    *p++ = 4;
    store_be16(p, (uint16_t)(c->net->mtu - tcp_l3_header(c) - TCP_HEADER));
    p += 2;
    // An answer offers what was offered to us; our own SYN offers everything.
    bool answer = c->state == TCP_SYN_RECEIVED;
    bool sack = answer ? c->flags & TCP_SACK : !c->net->config.no_sack;
    bool stamps = !answer || (c->flags & TCP_STAMPS);
    if (sack || stamps) {
        *p++ = sack ? OPTION_SACK_PERMITTED : OPTION_NOP;
        *p++ = sack ? 2 : OPTION_NOP;
    }
    if (stamps) {
        *p++ = OPTION_STAMPS;
        *p++ = 10;
        store_be32(p, tcp_stamp(c));
        store_be32(p + 4, answer ? c->ts_recent : 0);
        p += 8;
    } else if (sack) {
        *p++ = OPTION_NOP;
        *p++ = OPTION_NOP;
    }
    if (!answer || (c->flags & TCP_OFFERED_SCALE)) {
        *p++ = OPTION_NOP;
        *p++ = OPTION_SCALE;
        *p++ = 3;
        *p++ = c->rcv_scale;
    }
    return (uint32_t)(p - start);
}
