// The TCP/IP stack of Pollux on a DPDK device: no kernel between the request and the wire.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/transport.h"
#include "dataplane/net/net.h"
#include "drivers/nic.h"

// Frames of a turn. Few enough that the requests of one burst are on their way while the next burst
// is taken: with one big burst server and client would wait for each other in turns.
#define BURST 16
#define LINK_WAIT_S 10 // a memif peer answers within a second or two

struct transport_nic {
    struct transport transport; // must be first
    struct nic *nic;
    struct port *port;
    struct net *net;
    double us_per_tick;
    uint64_t start_ticks, now_us;
    struct frame *received[BURST];
    unsigned n_received;
    bool attached;
};

static uint64_t now_us(const struct transport_nic *n)
{
    // From 1 s on, so that no timer of the stack starts at zero.
    return 1000000u + (uint64_t)((double)(clock_ticks() - n->start_ticks) * n->us_per_tick);
}

static struct stream *nic_connect(struct transport *t, const struct endpoint *to, int *error)
{
    return net_connect(((struct transport_nic *)t)->net, to, error);
}

static unsigned nic_begin(struct transport *t, bool idle, struct stream **ready, unsigned max)
{
    struct transport_nic *n = (struct transport_nic *)t;
    (void)idle; // polls
    n->n_received = port_rx(n->port, n->received, BURST);
    n->now_us = now_us(n);
    net_input(n->net, n->received, n->n_received, n->now_us);
    return net_ready(n->net, ready, max);
}

static void nic_end(struct transport *t)
{
    struct transport_nic *n = (struct transport_nic *)t;
    net_advance(n->net, n->now_us);
    struct frame **frames;
    unsigned waiting = net_output(n->net, &frames);
    if (waiting > 0)
        net_sent(n->net, port_tx(n->port, frames, waiting));
    net_turn_end(n->net);
    if (n->n_received > 0)
        port_release_rx(n->port, n->received, n->n_received);
    n->n_received = 0;
}

static void nic_shut(struct transport *t)
{
    struct transport_nic *n = (struct transport_nic *)t;
    if (n->net)
        net_destroy(n->net);
    if (n->attached)
        port_detach(n->port);
    if (n->nic)
        nic_close(n->nic);
    free(n);
}

static const struct transport_ops nic_ops = {
    .connect = nic_connect,
    .begin = nic_begin,
    .end = nic_end,
    .close = nic_shut,
};

static bool open_port(struct transport_nic *n, const struct options *o, char *error,
                      size_t error_size)
{
    static char name[32]; // the driver may keep it
    snprintf(name, sizeof(name), "bench-%d", (int)getpid());
    struct nic_options options = {
        .devices = {o->nic_device},
        .n_devices = 1,
        .queues = 1,
        .cpus = o->cpu >= 0 ? &o->cpu : NULL,
        .huge_pages = o->no_huge ? NIC_HUGE_NO : NIC_HUGE_AUTO,
        .name = name,
    };
    n->nic = nic_open(&options, error, error_size);
    if (!n->nic)
        return false;
    n->port = nic_port(n->nic, 0);
    int code = port_attach(n->port);
    n->attached = code == 0;
    if (code != 0)
        snprintf(error, error_size, "%s: cannot use its queue: %s", o->nic_device, strerror(-code));
    return n->attached;
}

static bool open_stack(struct transport_nic *n, const struct options *o, char *error,
                       size_t error_size)
{
    const struct nic_info *info = nic_info(n->nic);
    struct net_config config = {
        .mtu = info->mtu,
        .n_addresses = 1,
        .offloads = info->offloads,
        .connections_max = o->connections + 16,
        .seed = clock_ticks(),
    };
    memcpy(config.mac, info->mac, sizeof(config.mac));
    config.addresses[0].family = 4;
    options_parse_address(o->nic_address, config.addresses[0].addr, &config.addresses[0].prefix);
    if (o->nic_gateway) {
        config.gateway.family = 4;
        config.gateway.prefix = 32;
        inet_pton(AF_INET, o->nic_gateway, config.gateway.addr);
    }
    if (getrandom(config.secret, sizeof(config.secret), 0) != sizeof(config.secret)) {
        snprintf(error, error_size, "the kernel gave no random bytes");
        return false;
    }
    n->us_per_tick = 1e6 / clock_rate();
    n->start_ticks = clock_ticks();
    n->net = net_create(&config, port_pool(n->port), now_us(n), error, error_size);
    return n->net != NULL;
}

static bool wait_for_link(struct transport_nic *n, const struct options *o, char *error,
                          size_t error_size)
{
    struct port_stats stats;
    uint64_t end_us = now_us(n) + LINK_WAIT_S * 1000000u;
    do {
        port_stats(n->port, &stats);
        if (stats.link_up)
            return true;
        usleep(10000);
    } while (now_us(n) < end_us);
    snprintf(error, error_size, "%s: no link after %d s; is the other end running?", o->nic_device,
             LINK_WAIT_S);
    return false;
}

struct transport *transport_nic_open(const struct options *o, char *error, size_t error_size)
{
    struct transport_nic *n = calloc(1, sizeof(*n));
    if (!n) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    n->transport.ops = &nic_ops;
    if (!open_port(n, o, error, error_size) || !open_stack(n, o, error, error_size) ||
        !wait_for_link(n, o, error, error_size)) {
        nic_shut(&n->transport);
        return NULL;
    }
    return &n->transport;
}
