// Setting up a device: probing, queues, pools, offloads. On the starting thread.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "common/log.h"
#include "drivers/nic_internal.h"

// Objects that a thread keeps at hand in its cache of a pool: some bursts' worth.
enum { POOL_CACHE = 256 };
// AF_XDP's driver takes a pool for an array without gaps. Objects do not cross pages, so that is
// true only if they divide a page: each is one of 4 KiB, the most that a chunk may have.
enum { PAGE = 4096 };
// Behind the mbuf: the frame, and up to the next cache line.
enum { PRIVATE_BYTES = 128 };
enum { XDP_SOCKETS_MAX = 256 };

_Static_assert(sizeof(struct frame) <= PRIVATE_BYTES, "the private area holds a frame");
_Static_assert(PRIVATE_BYTES % RTE_MBUF_PRIV_ALIGN == 0, "DPDK's rule");

static bool failed(struct nic *nic, const struct nic_device *d, const char *what, int error)
{
    const char *complaint = eal_complaint();
    return nic_error(nic, "nic-device %s: %s: %s", d->name, what,
                     complaint[0] ? complaint : strerror(-error));
}

size_t port_object_bytes(size_t data_room)
{
    struct rte_mempool_objsz size;
    rte_mempool_calc_obj_size((uint32_t)(sizeof(struct rte_mbuf) + PRIVATE_BYTES + data_room), 0,
                              &size);
    return size.total_size;
}

size_t port_rx_data_room(const struct nic *nic, const struct nic_device *d, bool lro)
{
    if (d->af_xdp) {
        struct rte_mempool_objsz size;
        rte_mempool_calc_obj_size(sizeof(struct rte_mbuf) + PRIVATE_BYTES, RTE_MEMPOOL_F_NO_SPREAD,
                                  &size);
        return PAGE - size.total_size;
    }
    size_t room = nic->options.mtu + NIC_L2_BYTES + RTE_PKTMBUF_HEADROOM;
    if (lro && room < NIC_LRO_DATA + RTE_PKTMBUF_HEADROOM)
        room = NIC_LRO_DATA + RTE_PKTMBUF_HEADROOM;
    return room > RTE_MBUF_DEFAULT_BUF_SIZE ? RTE_ALIGN_CEIL(room, 64) : RTE_MBUF_DEFAULT_BUF_SIZE;
}

size_t port_tx_data_room(const struct nic *nic, bool tso)
{
    size_t room = nic->options.mtu + NIC_L2_BYTES + RTE_PKTMBUF_HEADROOM;
    if (room < RTE_MBUF_DEFAULT_BUF_SIZE)
        room = RTE_MBUF_DEFAULT_BUF_SIZE;
    if (tso && room < NIC_TSO_DATA + RTE_PKTMBUF_HEADROOM)
        room = NIC_TSO_DATA + RTE_PKTMBUF_HEADROOM;
    return RTE_ALIGN_CEIL(room, 64);
}

static bool port_of_pci(struct nic_device *d)
{
    uint16_t id;
    RTE_ETH_FOREACH_DEV(id)
    {
        struct rte_eth_dev_info info;
        if (rte_eth_dev_info_get(id, &info) == 0 && info.device &&
            strcmp(rte_dev_name(info.device), d->name) == 0) {
            d->port_id = id;
            return true;
        }
    }
    return false;
}

bool port_probe(struct nic *nic, struct nic_device *d)
{
    if (d->pci) {
        if (port_of_pci(d))
            return true;
        return nic_error(nic, "nic-device %s: DPDK has no driver for this device%s%s", d->name,
                         eal_complaint()[0] ? ": " : "", eal_complaint());
    }
    eal_complaint_clear();
    int e = rte_dev_probe(d->text);
    if (e == 0 && rte_eth_dev_get_port_by_name(d->name, &d->port_id) == 0)
        return true;
    if (strstr(eal_complaint(), "failed to parse device"))
        return nic_error(nic,
                         "nic-device %s: DPDK has no driver of this name; examples: 0000:3b:00.0 "
                         "net_af_xdp0,iface=eth1 net_tap0,iface=plx0",
                         d->name);
    return failed(nic, d, "it does not open (are its arguments right?)", e ? e : -ENODEV);
}

// One thread at a time uses a pool: no atomics where its cache runs over.
static struct rte_mempool *new_mempool(const char *name, unsigned n, size_t data_room, int node,
                                       unsigned flags)
{
    struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = (uint16_t)data_room,
                                               .mbuf_priv_size = PRIVATE_BYTES};
    struct rte_mempool *m = rte_mempool_create_empty(
        name, n, (unsigned)(sizeof(struct rte_mbuf) + PRIVATE_BYTES + data_room), POOL_CACHE,
        sizeof(private), node, flags);
    if (!m)
        return NULL;
    // The last one that came back goes first: it is in the cache.
    if (rte_mempool_set_ops_byname(m, "stack", NULL) < 0 &&
        rte_mempool_set_ops_byname(m, "ring_sp_sc", NULL) < 0) {
        rte_mempool_free(m);
        return NULL;
    }
    rte_pktmbuf_pool_init(m, &private);
    if (rte_mempool_populate_default(m) < (int)n) {
        rte_mempool_free(m);
        return NULL;
    }
    rte_mempool_obj_iter(m, rte_pktmbuf_init, NULL);
    return m;
}

static bool make_pool(struct nic *nic, const struct nic_device *d, struct nic_pool *pool,
                      const char *kind, unsigned index, unsigned n, size_t data_room, int node)
{
    char name[RTE_MEMPOOL_NAMESIZE];
    unsigned flags = d->af_xdp ? RTE_MEMPOOL_F_NO_SPREAD : 0;
    snprintf(name, sizeof(name), "plx_%s_%u", kind, index);
    pool->mempool = new_mempool(name, n, data_room, node, flags);
    if (!pool->mempool && node >= 0)
        pool->mempool = new_mempool(name, n, data_room, SOCKET_ID_ANY, flags);
    if (!pool->mempool)
        return nic_error(nic,
                         "nic-device %s: no memory for %u frames of %zu bytes (%s); give more "
                         "hugepages (sysctl vm.nr_hugepages) or run with huge-pages no",
                         d->name, n, data_room, rte_strerror(rte_errno));
    burst_pool_init(pool);
    return true;
}

void port_free_pools(struct port *port)
{
    rte_mempool_free(port->rx.mempool);
    rte_mempool_free(port->tx.mempool);
    port->rx.mempool = port->tx.mempool = NULL;
}

// Large receive: segments that the port joins, where one of its frames then holds them all.
static bool choose_lro(const struct nic_device *d, const struct rte_eth_dev_info *info,
                       struct rte_eth_conf *conf)
{
    if (!port_may_join(d) || !(info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_LRO) ||
        !(info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_CKSUM))
        return false;
    conf->rxmode.offloads |= RTE_ETH_RX_OFFLOAD_TCP_LRO;
    conf->rxmode.max_lro_pkt_size = NIC_LRO_DATA;
    if (info->max_lro_pkt_size && info->max_lro_pkt_size < NIC_LRO_DATA)
        conf->rxmode.max_lro_pkt_size = info->max_lro_pkt_size;
    return true;
}

// The offloads that we use, of those that the device has.
static uint32_t choose_offloads(const struct nic_device *d, const struct rte_eth_dev_info *info,
                                struct rte_eth_conf *conf)
{
    uint64_t tx = info->tx_offload_capa, rx = info->rx_offload_capa;
    uint32_t ours = 0;
    if (tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) {
        conf->txmode.offloads |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
        ours |= NIC_TX_IP_SUM;
    }
    if (tx & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) {
        conf->txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
        ours |= NIC_TX_TCP_SUM;
    }
    if ((tx & RTE_ETH_TX_OFFLOAD_TCP_TSO) && ours == (NIC_TX_IP_SUM | NIC_TX_TCP_SUM)) {
        conf->txmode.offloads |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
        // TAP's driver cuts in software and refuses segments as large as its MTU allows: the stack
        // does not ask it to.
        if (!d->tap)
            ours |= NIC_TX_TSO;
    }
    conf->rxmode.offloads |= rx & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM |
                                   RTE_ETH_RX_OFFLOAD_RSS_HASH);
    return ours;
}

// Flows are spread over the queues by their addresses and ports, or by addresses alone where the
// port has no more, with a key of ours where it takes one.
static bool choose_rss(const struct rte_eth_dev_info *info, unsigned queues, uint8_t *key,
                       struct rte_eth_conf *conf)
{
    uint64_t types = info->flow_type_rss_offloads &
                     (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP);
    if (!(types & RTE_ETH_RSS_NONFRAG_IPV4_TCP))
        types |= info->flow_type_rss_offloads & RTE_ETH_RSS_IPV4;
    if (!(types & RTE_ETH_RSS_NONFRAG_IPV6_TCP))
        types |= info->flow_type_rss_offloads & RTE_ETH_RSS_IPV6;
    if (queues < 2 || !types)
        return false;
    conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf->rx_adv_conf.rss_conf.rss_hf = types;
    if (info->hash_key_size && info->hash_key_size <= NIC_RSS_KEY_MAX) {
        conf->rx_adv_conf.rss_conf.rss_key = key;
        conf->rx_adv_conf.rss_conf.rss_key_len = info->hash_key_size;
    }
    return true;
}

// The table that turns hashes into queues, round and round; then as the port says that it is.
static bool read_table(const struct nic_device *d, const struct rte_eth_dev_info *info,
                       unsigned queues, struct nic_spread *s)
{
    struct rte_eth_rss_reta_entry64 groups[NIC_RSS_TABLE_MAX / RTE_ETH_RETA_GROUP_SIZE];
    unsigned size = info->reta_size;
    if (!size || size > NIC_RSS_TABLE_MAX || size % RTE_ETH_RETA_GROUP_SIZE)
        return false;
    memset(groups, 0, sizeof(groups));
    for (unsigned i = 0; i < size; i++) {
        struct rte_eth_rss_reta_entry64 *g = &groups[i / RTE_ETH_RETA_GROUP_SIZE];
        g->mask = UINT64_MAX;
        g->reta[i % RTE_ETH_RETA_GROUP_SIZE] = (uint16_t)(i % queues);
    }
    // A port that does not take a table may still tell the one that it has.
    rte_eth_dev_rss_reta_update(d->port_id, groups, (uint16_t)size);
    if (rte_eth_dev_rss_reta_query(d->port_id, groups, (uint16_t)size) < 0)
        return false;
    for (unsigned i = 0; i < size; i++) {
        s->table[i] = groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
        if (s->table[i] >= queues)
            return false;
    }
    s->table_size = (uint16_t)size;
    return true;
}

// Asks a port that was started by what hash it spreads flows. It is believed until frames come
// otherwise.
static void read_spread(const struct nic_device *d, const struct rte_eth_dev_info *info,
                        unsigned queues, struct nic_spread *s)
{
    static const uint8_t none[NIC_RSS_KEY_MAX];
    uint8_t key[NIC_RSS_KEY_MAX] = {0};
    struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = NIC_RSS_KEY_MAX};
    // Some drivers say nothing of the key's length (0), and some give no key.
    if ((info->hash_key_size && info->hash_key_size < NIC_RSS_KEY_MIN) ||
        info->hash_key_size > NIC_RSS_KEY_MAX ||
        rte_eth_dev_rss_hash_conf_get(d->port_id, &conf) < 0 || conf.rss_key != key ||
        memcmp(key, none, sizeof(key)) == 0)
        return;
    memcpy(s->key, key, sizeof(key));
    s->ports4 = conf.rss_hf & RTE_ETH_RSS_NONFRAG_IPV4_TCP;
    s->ports6 = conf.rss_hf & RTE_ETH_RSS_NONFRAG_IPV6_TCP;
    s->known = (s->ports4 || conf.rss_hf & RTE_ETH_RSS_IPV4) && read_table(d, info, queues, s);
}

static bool choose_mtu(struct nic *nic, const struct nic_device *d,
                       const struct rte_eth_dev_info *info, uint16_t *mtu, uint16_t *largest)
{
    size_t room = port_rx_data_room(nic, d, false) - RTE_PKTMBUF_HEADROOM - NIC_L2_BYTES;
    size_t max = info->max_mtu && info->max_mtu < UINT16_MAX ? info->max_mtu : UINT16_MAX;
    if (info->max_rx_pktlen && info->max_rx_pktlen < UINT16_MAX &&
        info->max_rx_pktlen - NIC_L2_BYTES < max)
        max = info->max_rx_pktlen - NIC_L2_BYTES;
    if (d->af_xdp && room < max)
        max = room;
    *largest = (uint16_t)max;
    if (nic->options.mtu > max || (nic->options.mtu && nic->options.mtu < info->min_mtu))
        return nic_error(nic, "nic-mtu %u: the port %s takes %u to %zu", nic->options.mtu, d->name,
                         info->min_mtu, max);
    uint16_t present = 0;
    if (rte_eth_dev_get_mtu(d->port_id, &present) < 0 || !present)
        present = RTE_ETHER_MTU;
    if (d->iface[0] && !d->tap && host_interface_mtu(d->iface))
        present = (uint16_t)RTE_MIN(host_interface_mtu(d->iface), (unsigned)UINT16_MAX);
    if (present > room)
        present = (uint16_t)room;
    *mtu = nic->options.mtu ? (uint16_t)nic->options.mtu : (uint16_t)RTE_MIN(present, max);
    return true;
}

static bool set_mtu(struct nic *nic, const struct nic_device *d, uint16_t mtu, uint16_t largest)
{
    uint16_t present = 0;
    if (!nic->options.mtu)
        return true;
    int e = rte_eth_dev_set_mtu(d->port_id, mtu);
    if (e == 0)
        return true;
    if (rte_eth_dev_get_mtu(d->port_id, &present) == 0 && e == -ENOTSUP && mtu <= present)
        return true; // it cannot be told, and takes as much anyway
    if (e == -ENOTSUP)
        return nic_error(nic, "nic-mtu %u: the port %s cannot change its MTU of %u", mtu, d->name,
                         present ? present : RTE_ETHER_MTU);
    return nic_error(nic, "nic-mtu %u: the port %s refuses it (%s); it takes at most %u", mtu,
                     d->name, strerror(-e), largest);
}

// AF_XDP makes one socket for each queue when that is set up.
static int new_xdp_socket(const int *before, unsigned n_before)
{
    int now[XDP_SOCKETS_MAX];
    unsigned n = host_xdp_sockets(now, XDP_SOCKETS_MAX);
    for (unsigned i = 0; i < n; i++) {
        bool old = false;
        for (unsigned k = 0; k < n_before && !old; k++)
            old = before[k] == now[i];
        if (!old)
            return now[i];
    }
    return -1;
}

static bool start_queue(struct nic *nic, struct nic_device *d, struct port *p, unsigned index,
                        const struct rte_eth_dev_info *info, bool tso, bool lro)
{
    int node = rte_eth_dev_socket_id(d->port_id);
    if (node < 0)
        node = host_cpu_node(p->cpu);
    unsigned tx_frames = tso && nic->tx_frames > NIC_TSO_FRAMES ? NIC_TSO_FRAMES : nic->tx_frames;
    size_t rx_room = port_rx_data_room(nic, d, lro);
    if (!make_pool(nic, d, &p->rx, "rx", index, nic->rx_frames, rx_room, node) ||
        !make_pool(nic, d, &p->tx, "tx", index, tx_frames, port_tx_data_room(nic, tso), node))
        return false;
    uint16_t rx_desc = d->af_xdp ? NIC_DESCRIPTORS_AF_XDP : NIC_DESCRIPTORS, tx_desc = rx_desc;
    rte_eth_dev_adjust_nb_rx_tx_desc(d->port_id, &rx_desc, &tx_desc);
    int before[XDP_SOCKETS_MAX];
    unsigned n_before = d->af_xdp ? host_xdp_sockets(before, XDP_SOCKETS_MAX) : 0;
    struct rte_eth_rxconf rx = info->default_rxconf;
    struct rte_eth_txconf tx = info->default_txconf;
    rx.offloads = tx.offloads = 0; // those of the port, set for all queues
    unsigned at = node < 0 ? (unsigned)SOCKET_ID_ANY : (unsigned)node;
    int e = rte_eth_rx_queue_setup(d->port_id, p->queue, rx_desc, at, &rx, p->rx.mempool);
    if (e < 0)
        return failed(nic, d,
                      d->af_xdp ? "its receive queue cannot be set up (has another program, or "
                                  "another server, the interface?)"
                                : "its receive queue cannot be set up",
                      e);
    if (d->af_xdp)
        p->wait_fd = new_xdp_socket(before, n_before);
    e = rte_eth_tx_queue_setup(d->port_id, p->queue, tx_desc, at, &tx);
    if (e < 0)
        return failed(nic, d, "its transmit queue cannot be set up", e);
    return true;
}

static void fill_info(struct nic *nic, const struct nic_device *d,
                      const struct rte_eth_dev_info *info, const struct rte_eth_conf *conf)
{
    struct nic_info *i = &nic->info;
    snprintf(i->driver, sizeof(i->driver), "%s", info->driver_name);
    snprintf(i->device, sizeof(i->device), "%.63s", nic->options.devices[0]);
    i->rx_sums = (conf->rxmode.offloads & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) != 0;
    struct rte_ether_addr mac;
    if (rte_eth_macaddr_get(d->port_id, &mac) == 0)
        memcpy(i->mac, mac.addr_bytes, sizeof(i->mac));
}

// All ports are one to the world: they answer to the first one's address.
static void share_mac(struct nic *nic, const struct nic_device *d)
{
    struct rte_ether_addr first, own;
    memcpy(first.addr_bytes, nic->info.mac, sizeof(first.addr_bytes));
    if (rte_eth_macaddr_get(d->port_id, &own) == 0 && rte_is_same_ether_addr(&first, &own))
        return;
    if (rte_eth_dev_default_mac_addr_set(d->port_id, &first) == 0)
        return;
    if (rte_eth_promiscuous_enable(d->port_id) < 0)
        log_warning("nic-device %s takes neither the first port's address nor all frames: what is "
                    "sent to it will not arrive",
                    d->name);
}

bool port_start_device(struct nic *nic, struct nic_device *d)
{
    struct rte_eth_dev_info info;
    struct rte_eth_conf conf = {0};
    int e = rte_eth_dev_info_get(d->port_id, &info);
    if (e < 0)
        return failed(nic, d, "it tells nothing of itself", e);
    bool first = nic->n_ports == 0;
    unsigned queues = d->queues;
    if (queues > info.max_rx_queues)
        queues = info.max_rx_queues;
    if (queues > info.max_tx_queues)
        queues = info.max_tx_queues;
    uint16_t mtu = 0, largest = 0;
    if (queues == 0)
        return nic_error(nic, "nic-device %s: it has no queues", d->name);
    if (!choose_mtu(nic, d, &info, &mtu, &largest))
        return false;
    uint32_t offloads = choose_offloads(d, &info, &conf);
    bool lro = choose_lro(d, &info, &conf);
    spread_invent(&nic->spread, queues);
    bool rss = choose_rss(&info, queues, nic->spread.key, &conf);
    conf.rxmode.mtu = mtu;
    conf.intr_conf.rxq = d->tap; // makes the descriptors that tell of frames
    e = rte_eth_dev_configure(d->port_id, (uint16_t)queues, (uint16_t)queues, &conf);
    if (e < 0)
        return failed(nic, d, "it cannot be configured", e);
    if (!set_mtu(nic, d, mtu, largest))
        return false;
    for (unsigned q = 0; q < queues; q++) {
        struct port *p = &nic->port[nic->n_ports];
        *p = (struct port){.id = d->port_id,
                           .queue = (uint16_t)q,
                           .first_of_device = q == 0,
                           .offloads = offloads,
                           .nic = nic,
                           .wait_fd = -1,
                           .cpu = nic->options.cpus ? nic->options.cpus[nic->n_ports] : -1};
        bool ok = start_queue(nic, d, p, nic->n_ports, &info, (offloads & NIC_TX_TSO) != 0, lro);
        nic->n_ports++;
        if (!ok)
            return false;
    }
    e = rte_eth_dev_start(d->port_id);
    if (e < 0)
        return failed(nic, d, "it cannot be started", e);
    d->started = true;
    if (d->tap)
        for (unsigned q = 0; q < queues; q++)
            nic->port[nic->n_ports - queues + q].wait_fd =
                rte_eth_dev_rx_intr_ctl_q_get_fd(d->port_id, (uint16_t)q);
    if (rss)
        read_spread(d, &info, queues, &nic->spread);
    rte_eth_allmulticast_enable(
        d->port_id); // neighbour discovery; where there is no filter it fails
    struct nic_info *i = &nic->info;
    if (first) {
        fill_info(nic, d, &info, &conf);
        i->offloads = offloads;
        i->rss = rss;
        i->mtu = mtu;
        i->mtu_max = largest;
    } else {
        share_mac(nic, d);
        i->offloads &= offloads;
        i->rss = i->rss && rss;
        i->mtu = RTE_MIN(i->mtu, mtu);
        i->mtu_max = RTE_MIN(i->mtu_max, largest);
    }
    return true;
}

void port_stop_device(struct nic_device *d)
{
    if (d->started)
        rte_eth_dev_stop(d->port_id);
    d->started = false;
    rte_eth_dev_close(d->port_id);
}
