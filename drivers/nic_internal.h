// What the files of drivers/nic share. nic.c opens and closes; nic_eal.c starts DPDK's environment;
// nic_port.c sets up devices, queues and pools; nic_burst.c is the fast path; nic_host.c looks at
// the kernel's side (interfaces, PCI, rights, hugepages) and includes nothing of DPDK.
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/nic.h"
#include "drivers/nic_spread.h"

// Offload bits as struct nic_info shows them; dataplane/net's enum net_offload has the same
// numbers.
#define NIC_TX_IP_SUM (1u << 0)
#define NIC_TX_TCP_SUM (1u << 1)
#define NIC_TX_TSO (1u << 2)

// Frames of a receive queue: its descriptors, a burst in the stack's hands, the pool's cache.
#define NIC_RX_FRAMES 4096u
// An AF_XDP queue keeps 2,048 in its fill ring and takes those that it transmits from there too.
#define NIC_RX_FRAMES_AF_XDP 8192u
// Frames in flight of all connections of a core, until they are acknowledged.
#define NIC_TX_FRAMES 16384u
#define NIC_FRAMES_MIN 1024u
#define NIC_DESCRIPTORS 1024u
// As many as its fill ring has: what comes while the core is away is lost beyond them.
#define NIC_DESCRIPTORS_AF_XDP 2048u
// Bytes that a transmit frame holds where the port cuts segments itself, and in what number.
#define NIC_TSO_DATA 8192u
#define NIC_TSO_FRAMES 8192u
// Bytes that a receive frame holds where the port joins segments itself.
#define NIC_LRO_DATA 8192u
// Ethernet's header with one VLAN tag.
#define NIC_L2_BYTES 18u
// DPDK's own needs beside the pools.
#define NIC_MEMORY_OVERHEAD_MB 64u

struct rte_mempool;

// The frames of one pool; `pool` is what the stack sees.
struct nic_pool {
    struct frame_pool pool; // must be first
    struct rte_mempool *mempool;
};

struct port {
    uint16_t id, queue; // DPDK's port and the queue pair in it
    bool attached;
    bool first_of_device; // reports the counters that the device keeps for all its queues
    uint32_t offloads;
    struct nic_pool rx, tx;
    struct nic *nic;
    int wait_fd;
    int cpu;
    uint64_t rx_frames, rx_bytes, rx_errors, tx_frames, tx_bytes, tx_errors, tx_refused;
};

struct nic_device {
    char text[256]; // as DPDK wants it
    char name[64];  // without its arguments
    char iface[IF_NAMESIZE];
    bool pci, af_xdp, tap, memif;
    int reserved; // descriptor of what stands for its interface (nic_host.c); 0: none
    uint16_t port_id;
    unsigned queues;
    bool started;
};

struct nic {
    struct nic_options options;
    struct nic_info info;
    struct nic_device device[NIC_DEVICES_MAX];
    unsigned n_devices;
    struct port *port;
    unsigned n_ports;
    uint64_t memory_bytes; // of all pools
    unsigned rx_frames, tx_frames;
    struct nic_spread spread;
    char *error;
    size_t error_size;
};

// Writes the one line of `error`; returns false for convenience.
bool nic_error(struct nic *nic, const char *format, ...) __attribute__((format(printf, 2, 3)));

// nic_host.c
bool host_check_device(struct nic *nic, struct nic_device *d);
void host_release_device(struct nic_device *d);
// Receive queues of a kernel interface, at least 1.
unsigned host_interface_queues(const char *iface);
unsigned host_interface_mtu(const char *iface); // 0: unknown
uint64_t host_free_hugepages(void);             // bytes
uint64_t host_hugepage_size(void);              // bytes, of the default size
int host_cpu_node(int cpu);                     // NUMA node, -1: unknown
int host_interface_addresses(const char *iface, struct nic_address *addresses, unsigned max);
// Descriptors that are AF_XDP sockets, at most `max`.
unsigned host_xdp_sockets(int *fds, unsigned max);

// nic_eal.c
bool eal_start(struct nic *nic);
void eal_stop(void);
void eal_remove_files(void);
// DPDK's first complaint since eal_complaint_clear, "" if none; forgotten by the next
// eal_complaint_clear.
const char *eal_complaint(void);
void eal_complaint_clear(void);
// From now on DPDK's complaints are warnings in the log, not details of an error that we return.
void eal_opened(void);

// nic_port.c
bool port_probe(struct nic *nic, struct nic_device *d);
bool port_start_device(struct nic *nic, struct nic_device *d);
void port_stop_device(struct nic_device *d);
// Bytes of a pool's object with all that DPDK adds.
size_t port_object_bytes(size_t data_room);
// False: its driver never joins segments. What others do is known only when they are open.
static inline bool port_may_join(const struct nic_device *d)
{
    return !d->af_xdp && !d->tap && !d->memif;
}
size_t port_rx_data_room(const struct nic *nic, const struct nic_device *d, bool lro);
size_t port_tx_data_room(const struct nic *nic, bool tso);
void port_free_pools(struct port *port);

// nic_burst.c
void burst_pool_init(struct nic_pool *pool);
