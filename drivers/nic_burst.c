// The fast path of a port: bursts of frames in and out, and the pools that they come from.
//
// A frame lies in the private area behind DPDK's mbuf, so that one is found from the other by
// adding a constant. What of it never changes (buffer, size, pool) is written once, when its pool
// is made.
#include <assert.h>
#include <errno.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "common/prefetch.h"
#include "drivers/nic_internal.h"

// Frames handled in one piece: the length of temporary arrays.
enum { BURST = 64 };
// How far ahead of its conversion a received frame is prefetched.
enum { AHEAD = 4 };

_Static_assert(sizeof(struct rte_mbuf) % 64 == 0, "the frame begins a cache line");

static inline struct frame *frame_of(struct rte_mbuf *m)
{
    return (struct frame *)(m + 1);
}

static inline struct rte_mbuf *mbuf_of(const struct frame *f)
{
    return (struct rte_mbuf *)(uintptr_t)f - 1;
}

static unsigned pool_alloc(struct frame_pool *pool, struct frame **frames, unsigned n)
{
    struct rte_mempool *mempool = ((struct nic_pool *)pool)->mempool;
    unsigned got = n;
    if (__builtin_expect(rte_mempool_get_bulk(mempool, (void **)frames, n) < 0, 0)) {
        for (got = 0; got < n; got++)
            if (rte_mempool_get(mempool, (void **)&frames[got]) < 0)
                break;
    }
    for (unsigned i = 0; i < got; i++) {
        struct frame *f = frame_of((struct rte_mbuf *)frames[i]);
        f->data = f->buffer + pool->headroom;
        f->len = 0;
        f->flags = 0;
        frames[i] = f;
    }
    return got;
}

// Drops one reference to each; those that were the last go back to the pool together.
static void drop(struct rte_mempool *mempool, struct frame **frames, unsigned n)
{
    void *last[BURST];
    while (n) {
        unsigned part = n < BURST ? n : BURST, k = 0;
        for (unsigned i = 0; i < part; i++) {
            struct rte_mbuf *m = mbuf_of(frames[i]);
            if (__builtin_expect(rte_mbuf_refcnt_read(m) != 1, 0)) {
                if (rte_mbuf_refcnt_update(m, -1) != 0)
                    continue;
                rte_mbuf_refcnt_set(m, 1); // as a free one is kept
            }
            last[k++] = m;
        }
        if (k)
            rte_mempool_put_bulk(mempool, last, k);
        frames += part;
        n -= part;
    }
}

static void pool_release(struct frame_pool *pool, struct frame **frames, unsigned n)
{
    drop(((struct nic_pool *)pool)->mempool, frames, n);
}

static bool frame_exclusive(const struct frame *frame)
{
    return rte_mbuf_refcnt_read(mbuf_of(frame)) == 1;
}

static void frame_init(struct rte_mempool *mempool, void *context, void *object, unsigned index)
{
    (void)mempool;
    (void)index;
    struct rte_mbuf *m = object;
    struct frame *f = frame_of(m);
    memset(f, 0, sizeof(*f));
    f->buffer = m->buf_addr;
    f->size = m->buf_len;
    f->pool = context;
}

void burst_pool_init(struct nic_pool *pool)
{
    pool->pool.alloc = pool_alloc;
    pool->pool.release = pool_release;
    pool->pool.exclusive = frame_exclusive;
    pool->pool.headroom = RTE_PKTMBUF_HEADROOM;
    pool->pool.data_size = rte_pktmbuf_data_room_size(pool->mempool) - RTE_PKTMBUF_HEADROOM;
    rte_mempool_obj_iter(pool->mempool, frame_init, &pool->pool);
}

int port_attach(struct port *port)
{
    // With an lcore id the thread has a cache of its own in each pool.
    if (rte_lcore_id() == LCORE_ID_ANY && rte_thread_register() < 0)
        return -ENOSPC;
    port->attached = true;
    return 0;
}

void port_detach(struct port *port)
{
    if (!port->attached)
        return;
    port->attached = false;
    unsigned lcore = rte_lcore_id();
    if (lcore == LCORE_ID_ANY)
        return;
    // What the thread's caches hold is for those who come after it.
    rte_mempool_cache_flush(NULL, port->rx.mempool);
    rte_mempool_cache_flush(NULL, port->tx.mempool);
    if (lcore != rte_get_main_lcore())
        rte_thread_unregister();
}

// Checksum verdicts of mbufs. "None" is a sum left undone by a sender on this machine, whose data
// nothing could have damaged.
static inline uint16_t rx_flags(uint64_t ol_flags)
{
    uint16_t flags = 0;
    uint64_t ip = ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
    uint64_t l4 = ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD || ip == RTE_MBUF_F_RX_IP_CKSUM_NONE)
        flags |= FRAME_IP_SUM_GOOD;
    if (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD || l4 == RTE_MBUF_F_RX_L4_CKSUM_NONE)
        flags |= FRAME_L4_SUM_GOOD;
    if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD || l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD)
        flags |= FRAME_SUM_BAD;
    return flags;
}

unsigned port_rx(struct port *port, struct frame **frames, unsigned max)
{
    struct rte_mbuf **mbufs = (struct rte_mbuf **)frames;
    if (max > UINT16_MAX)
        max = UINT16_MAX;
    unsigned n = rte_eth_rx_burst(port->id, port->queue, mbufs, (uint16_t)max), kept = 0;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < n && i < AHEAD; i++)
        prefetch_write(frame_of(mbufs[i]));
    for (unsigned i = 0; i < n; i++) {
        if (i + AHEAD < n)
            prefetch_write(frame_of(mbufs[i + AHEAD]));
        struct rte_mbuf *m = mbufs[i];
        if (__builtin_expect(m->nb_segs > 1 && rte_pktmbuf_linearize(m) < 0, 0)) {
            rte_pktmbuf_free(m);
            port->rx_errors++;
            continue;
        }
        struct frame *f = frame_of(m);
        f->data = rte_pktmbuf_mtod(m, uint8_t *);
        f->len = m->pkt_len;
        f->flags = m->ol_flags ? rx_flags(m->ol_flags) : 0;
        f->hash = m->ol_flags & RTE_MBUF_F_RX_RSS_HASH ? m->hash.rss : 0;
        prefetch(f->data);
        bytes += f->len;
        frames[kept++] = f;
    }
    port->rx_frames += kept;
    port->rx_bytes += bytes;
    return kept;
}

void port_release_rx(struct port *port, struct frame **frames, unsigned n)
{
    drop(port->rx.mempool, frames, n);
}

// What the port shall compute. For segmentation DPDK wants the pseudo-header's sum without the
// length.
static uint64_t tx_offloads(struct rte_mbuf *m, const struct frame *f)
{
    uint8_t *ip = f->data + f->l2_len;
    bool v4 = ip[0] >> 4 == 4;
    uint64_t flags = v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
    m->tx_offload = 0;
    m->l2_len = f->l2_len;
    m->l3_len = f->l3_len;
    m->l4_len = f->l4_len;
    if (v4 && (f->flags & (FRAME_TX_IP_SUM | FRAME_TX_TSO))) {
        flags |= RTE_MBUF_F_TX_IP_CKSUM;
        ((struct rte_ipv4_hdr *)ip)->hdr_checksum = 0;
    }
    if (f->flags & FRAME_TX_L4_SUM)
        flags |= RTE_MBUF_F_TX_TCP_CKSUM;
    if (f->flags & FRAME_TX_TSO) {
        flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM;
        m->tso_segsz = f->tso_size;
        struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + f->l3_len);
        tcp->cksum = v4 ? rte_ipv4_phdr_cksum((struct rte_ipv4_hdr *)ip, flags)
                        : rte_ipv6_phdr_cksum((struct rte_ipv6_hdr *)ip, flags);
    }
    return flags;
}

static unsigned tx_part(struct port *port, struct frame **frames, unsigned n)
{
    struct rte_mbuf *mbufs[BURST];
    bool offloads = false;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct frame *f = frames[i];
        struct rte_mbuf *m = mbufs[i] = mbuf_of(f);
        m->data_off = (uint16_t)(f->data - f->buffer);
        m->data_len = (uint16_t)f->len;
        m->pkt_len = f->len;
        m->ol_flags = 0;
        if (f->flags & (FRAME_TX_IP_SUM | FRAME_TX_L4_SUM | FRAME_TX_TSO)) {
            m->ol_flags = tx_offloads(m, f);
            offloads = true;
        }
        if (f->flags & FRAME_KEEP)
            rte_mbuf_refcnt_update(m, 1);
        bytes += f->len;
    }
    unsigned ready = n;
    if (offloads)
        ready = rte_eth_tx_prepare(port->id, port->queue, mbufs, (uint16_t)n);
    if (__builtin_expect(!ready && n, 0)) {
        // The driver will never take the first one. It is lost, so that those behind it are not.
        for (unsigned i = 1; i < n; i++)
            if (frames[i]->flags & FRAME_KEEP)
                rte_mbuf_refcnt_update(mbufs[i], -1);
        drop(port->tx.mempool, frames, 1);
        port->tx_errors++;
        return 1;
    }
    unsigned sent = ready ? rte_eth_tx_burst(port->id, port->queue, mbufs, (uint16_t)ready) : 0;
    for (unsigned i = sent; i < n; i++) {
        // Refused: it is the caller's as before, and may be offered again.
        bytes -= frames[i]->len;
        if (frames[i]->flags & FRAME_KEEP)
            rte_mbuf_refcnt_update(mbufs[i], -1);
    }
    port->tx_frames += sent;
    port->tx_bytes += bytes;
    port->tx_refused += n - sent;
    return sent;
}

unsigned port_tx(struct port *port, struct frame **frames, unsigned n)
{
    unsigned sent = 0;
    while (sent < n) {
        unsigned part = n - sent < BURST ? n - sent : BURST;
        unsigned k = tx_part(port, frames + sent, part);
        sent += k;
        if (k < part)
            break;
    }
    return sent;
}

struct frame_pool *port_pool(struct port *port)
{
    return &port->tx.pool;
}

int port_wait_fd(struct port *port)
{
    return port->wait_fd;
}

void port_stats(struct port *port, struct port_stats *stats)
{
    *stats = (struct port_stats){
        .rx_frames = port->rx_frames,
        .rx_bytes = port->rx_bytes,
        .rx_errors = port->rx_errors,
        .tx_frames = port->tx_frames,
        .tx_bytes = port->tx_bytes,
        .tx_errors = port->tx_errors,
        .tx_refused = port->tx_refused,
        .rx_pool_free = rte_mempool_avail_count(port->rx.mempool),
        .rx_pool_size = port->rx.mempool->size,
        .tx_pool_free = rte_mempool_avail_count(port->tx.mempool),
        .tx_pool_size = port->tx.mempool->size,
    };
    struct rte_eth_link link;
    memset(&link, 0, sizeof(link));
    if (rte_eth_link_get_nowait(port->id, &link) == 0) {
        stats->link_up = link.link_status == RTE_ETH_LINK_UP;
        stats->link_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
    }
    struct rte_eth_stats device;
    if (port->first_of_device && rte_eth_stats_get(port->id, &device) == 0) {
        stats->rx_missed = device.imissed;
        stats->rx_errors += device.ierrors;
        stats->rx_no_buffer = device.rx_nombuf;
        stats->tx_errors += device.oerrors;
    }
}
