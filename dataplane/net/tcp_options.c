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

uint32_t tcp_options_write(const struct tcp_offer *o, uint8_t *p)
{
    uint8_t *start = p;
    *p++ = OPTION_MSS;
    *p++ = 4;
    store_be16(p, o->mss);
    p += 2;
    if (o->has_sack || o->has_stamp) {
        *p++ = o->has_sack ? OPTION_SACK_PERMITTED : OPTION_NOP;
        *p++ = o->has_sack ? 2 : OPTION_NOP;
        if (!o->has_stamp) {
            *p++ = OPTION_NOP;
            *p++ = OPTION_NOP;
        }
    }
    if (o->has_stamp) {
        *p++ = OPTION_STAMPS;
        *p++ = 10;
        store_be32(p, o->ts_value);
        store_be32(p + 4, o->ts_echo);
        p += 8;
    }
    if (o->has_scale) {
        *p++ = OPTION_NOP;
        *p++ = OPTION_SCALE;
        *p++ = 3;
        *p++ = o->scale;
    }
    return (uint32_t)(p - start);
}
