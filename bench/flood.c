#include "bench/flood.h"

#include <string.h>

#include "dataplane/net/checksum.h"

enum { ETHER = 14, IP = 20, TCP = 40, AT_ONCE = 32, BEHIND_MAX = 1000 };

void flood_aim(struct flood *f, const struct frame *frame, uint64_t now_us)
{
    const uint8_t *p = frame->data;
    static const uint8_t options[20] = {2, 4, 5, 180, 4, 2, 8, 10, 0, 1,
                                        2, 3, 0, 0,   0, 0, 1, 3,  3, 7};
    if (frame->len < ETHER + IP + 20 || p[12] != 8 || p[13] != 0 || p[14] != 0x45 || p[23] != 6)
        return;
    uint8_t *ip = f->frame + ETHER, *tcp = ip + IP;
    memset(f->frame, 0, sizeof(f->frame));
    memcpy(f->frame, p, ETHER);
    ip[0] = 0x45;
    ip[3] = IP + TCP;
    ip[6] = 0x40; // not to be fragmented
    ip[8] = 64;
    ip[9] = 6;
    memcpy(ip + 16, p + ETHER + 16, 4);
    memcpy(tcp + 2, p + ETHER + IP + 2, 2);
    tcp[12] = TCP << 2;
    tcp[13] = 2; // SYN
    tcp[14] = 0xff;
    memcpy(tcp + 20, options, sizeof(options));
    // The pseudo-header: addresses (the source is still 0), protocol, length.
    uint8_t pseudo[12] = {[9] = 6, [11] = TCP};
    memcpy(pseudo + 4, ip + 16, 4);
    f->sum = net_sum(tcp, TCP, net_sum(pseudo, sizeof(pseudo), 0));
    f->random = now_us | 1;
    f->started_us = now_us;
    f->aimed = true;
}

static uint64_t draw(struct flood *f)
{
    f->random ^= f->random << 13; // xorshift64 (Marsaglia)
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return f->random;
}

static void fill(struct flood *f, struct frame *frame)
{
    uint8_t *ip = frame->data + ETHER, *tcp = ip + IP;
    uint64_t a = draw(f), b = draw(f);
    memcpy(frame->data, f->frame, sizeof(f->frame));
    frame->len = sizeof(f->frame);
    // 11.0.0.0 to 126.255.255.255: on nobody's link.
    const uint8_t source[4] = {(uint8_t)(11 + a % 116), (uint8_t)(a >> 8), (uint8_t)(a >> 16),
                               (uint8_t)(a >> 24)};
    memcpy(ip + 12, source, 4);
    const uint8_t port_and_seq[8] = {
        (uint8_t)(a >> 32 | 4), (uint8_t)(a >> 40), tcp[2], tcp[3], (uint8_t)(b), (uint8_t)(b >> 8),
        (uint8_t)(b >> 16),     (uint8_t)(b >> 24)};
    memcpy(tcp, port_and_seq, 8);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(ip, IP, 0));
    memcpy(ip + 10, &sum, 2);
    // Of the fixed part, the source, its port and the sequence number.
    uint8_t varies[12] = {0};
    memcpy(varies, source, 4);
    memcpy(varies + 4, tcp, 2);
    memcpy(varies + 8, tcp + 4, 4);
    sum = (uint16_t)~net_sum_fold(net_sum(varies, sizeof(varies), f->sum));
    memcpy(tcp + 16, &sum, 2);
}

void flood_send(struct flood *f, struct port *port, uint64_t now_us)
{
    if (!f->aimed)
        return;
    uint64_t due = (uint64_t)((double)(now_us - f->started_us) * f->rate / 1e6);
    if (due <= f->sent + f->missed)
        return;
    due -= f->sent + f->missed;
    if (due > BEHIND_MAX) {
        f->missed += due - BEHIND_MAX;
        due = BEHIND_MAX;
    }
    unsigned want = due < AT_ONCE ? (unsigned)due : AT_ONCE;
    struct frame *frames[AT_ONCE];
    struct frame_pool *pool = port_pool(port);
    unsigned n = pool->alloc(pool, frames, want);
    for (unsigned i = 0; i < n; i++)
        fill(f, frames[i]);
    unsigned taken = n ? port_tx(port, frames, n) : 0;
    if (taken < n)
        pool->release(pool, frames + taken, n - taken);
    f->sent += taken;
}
