// NIC ports through DPDK. This room alone includes DPDK's headers of devices, pools and the EAL.
//
// `nic_open` runs once on the starting thread with the starter's rights; each polling core then
// attaches to its own queue pair. A port shows frames (common/frame.h) and nothing of DPDK.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/frame.h"
#include "common/stream.h"

struct nic;
struct port;

#define NIC_DEVICES_MAX 16

struct nic_options {
    const char *devices[NIC_DEVICES_MAX]; // PCI addresses or virtual device strings
    unsigned n_devices;
    unsigned queues; // queue pairs wanted in all: one per polling core
    const int *cpus; // CPU of each polling core, for NUMA-local pools
    unsigned mtu;    // 0: the device's
    enum { NIC_HUGE_AUTO, NIC_HUGE_YES, NIC_HUGE_NO } huge_pages;
    unsigned memory_mb; // for pools; 0: computed from queues
    const char *name;   // unique per server on this machine: file prefix without hugepages
    unsigned rx_frames; // per queue; 0: default
    unsigned tx_frames; // frames kept for retransmission, per core; 0: default
};

// What all queues of the opened ports have in common.
struct nic_info {
    char driver[32];
    char device[64];
    uint8_t mac[6];
    uint16_t mtu, mtu_max;
    uint32_t offloads; // enum net_offload's bits (NET_TX_…), the same numbers
    bool rx_sums;      // the port verifies checksums
    bool rss;
    bool spread_known; // the port told by which hash it spreads flows over its queues
    unsigned queues;   // queue pairs that exist; may be less than cores
    bool huge_pages;
};

// Starts the EAL, opens and starts the ports. Returns NULL with one line in `error` that says what
// is wrong and what to do. Warnings (no hugepages …) go to the log. The calling thread's CPU
// affinity is left as it was.
struct nic *nic_open(const struct nic_options *options, char *error, size_t error_size);
void nic_close(struct nic *nic); // stops and closes the ports, ends the EAL, removes its files
const struct nic_info *nic_info(const struct nic *nic);
// The queue pair of core `index` (0 …), NULL if there are fewer queues.
struct port *nic_port(struct nic *nic, unsigned index);

// The queue (index of nic_port) to which the frames of a flow come, as far as can be told: where
// `spread_known` is false, a number that is the same for all frames of a flow and no more.
unsigned nic_queue_of(const struct nic *nic, const struct endpoint *local,
                      const struct endpoint *remote);

// On the polling core's thread, before its first burst and after its last.
int port_attach(struct port *port);
void port_detach(struct port *port);

// Receives up to `max` frames; they are the caller's until `port_release_rx`.
unsigned port_rx(struct port *port, struct frame **frames, unsigned max);
void port_release_rx(struct port *port, struct frame **frames, unsigned n);
// Sends; returns how many the port took. Those belong to the port, which keeps a reference of its
// own to frames with FRAME_KEEP.
unsigned port_tx(struct port *port, struct frame **frames, unsigned n);
struct frame_pool *port_pool(struct port *port);
// A descriptor that becomes readable when frames arrive, -1 if the driver has none.
int port_wait_fd(struct port *port);
struct nic_address {
    uint8_t family; // 4 or 6
    uint8_t prefix;
    uint8_t addr[16]; // network byte order
};
// Reads up to `max` addresses of the kernel interface under an AF_XDP port, of both families; those
// that the kernel itself gives up soon (temporary, deprecated, duplicate) are left out. Returns how
// many, or -ENOENT when there are none.
int nic_kernel_addresses(const struct nic *nic, struct nic_address *addresses, unsigned max);

struct port_stats {
    uint64_t rx_frames, rx_bytes, rx_missed, rx_errors, rx_no_buffer;
    uint64_t tx_frames, tx_bytes, tx_errors, tx_refused;
    unsigned rx_pool_free, rx_pool_size, tx_pool_free, tx_pool_size;
    bool link_up;
    uint32_t link_mbps;
};
// Any thread; may make system calls in some drivers: not in the loop more than once a second.
void port_stats(struct port *port, struct port_stats *stats);
// The device's own statistics (DPDK's xstats), by its names for them; of the first queue of each
// device only, since they are the device's. As port_stats.
void port_each_xstat(struct port *port,
                     void (*each)(void *context, const char *name, uint64_t value), void *context);
