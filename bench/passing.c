// DPDK's rte_ring over our own memory; the EAL is not needed.
#include "bench/passing.h"

#include <mimalloc.h>
#include <string.h>

#include <rte_ring.h>

#define RING_SLOTS 1024
#define ETHERNET 14
#define VLAN_TAG 4
#define IPPROTO_TCP_NUMBER 6

struct passing {
    unsigned threads;
    struct rte_ring *rings[]; // [from * threads + to]; NULL where both are the same
};

struct passing *passing_open(unsigned threads)
{
    struct passing *p = mi_zalloc(sizeof(*p) + sizeof(p->rings[0]) * threads * threads);
    if (!p)
        return NULL;
    p->threads = threads;
    for (unsigned i = 0; i < threads * threads; i++) {
        if (i / threads == i % threads)
            continue;
        p->rings[i] =
            mi_malloc_aligned((size_t)rte_ring_get_memsize(RING_SLOTS), RTE_CACHE_LINE_SIZE);
        if (!p->rings[i] ||
            rte_ring_init(p->rings[i], "passing", RING_SLOTS, RING_F_SP_ENQ | RING_F_SC_DEQ)) {
            mi_free(p->rings[i]);
            p->rings[i] = NULL;
            passing_close(p);
            return NULL;
        }
    }
    return p;
}

void passing_close(struct passing *p)
{
    if (!p)
        return;
    for (unsigned i = 0; i < p->threads * p->threads; i++) {
        void *left;
        while (p->rings[i] && rte_ring_sc_dequeue(p->rings[i], &left) == 0)
            mi_free(left);
        mi_free(p->rings[i]);
    }
    mi_free(p);
}

unsigned passing_home(const struct passing *p, uint16_t port)
{
    return port % p->threads;
}

// Where Ethernet's header ends; `type` is what follows.
static const uint8_t *payload(const struct frame *f, uint16_t *type)
{
    const uint8_t *at = f->data + 12;
    if (f->len < ETHERNET + VLAN_TAG)
        return NULL;
    if (at[0] == 0x81 && at[1] == 0x00)
        at += VLAN_TAG;
    *type = (uint16_t)(at[0] << 8 | at[1]);
    return at + 2;
}

uint16_t passing_port(const struct frame *f)
{
    uint16_t type;
    const uint8_t *ip = payload(f, &type), *end = f->data + f->len;
    if (!ip || type != 0x0800 || end - ip < 20 || ip[9] != IPPROTO_TCP_NUMBER)
        return 0;
    const uint8_t *tcp = ip + (ip[0] & 15) * 4;
    return end - tcp < 4 ? 0 : (uint16_t)(tcp[2] << 8 | tcp[3]);
}

bool passing_send(struct passing *p, unsigned from, unsigned to, const struct net_mail *mail)
{
    const struct frame *f = mail->frame;
    struct passed *copy = mi_malloc(sizeof(*copy) + (f ? f->len : 0));
    if (!copy)
        return false;
    copy->mail = *mail;
    if (f) {
        memcpy(copy->bytes, f->data, f->len);
        copy->frame = (struct frame){
            .data = copy->bytes,
            .buffer = copy->bytes,
            .len = f->len,
            .size = f->len,
            .flags = f->flags & (FRAME_IP_SUM_GOOD | FRAME_L4_SUM_GOOD | FRAME_SUM_BAD),
            .hash = f->hash,
        };
        copy->mail.frame = &copy->frame;
    }
    if (rte_ring_sp_enqueue(p->rings[from * p->threads + to], copy) == 0)
        return true;
    mi_free(copy);
    return false;
}

struct passed *passing_take(struct passing *p, unsigned to)
{
    void *taken;
    for (unsigned from = 0; from < p->threads; from++) {
        struct rte_ring *ring = p->rings[from * p->threads + to];
        if (ring && rte_ring_sc_dequeue(ring, &taken) == 0)
            return taken;
    }
    return NULL;
}

void passing_free(struct passed *passed)
{
    mi_free(passed);
}
