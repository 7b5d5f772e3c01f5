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

struct devices {
    struct nic *nic;
    char name[32]; // the driver may keep it
};

struct transport_nic {
    struct transport transport; // must be first
    struct devices *devices;
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

static unsigned nic_begin(struct transport *t, unsigned wait_us, struct stream **ready,
                          unsigned max)
{
    struct transport_nic *n = (struct transport_nic *)t;
    (void)wait_us; // polls
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
    free(n);
}

static uint64_t nic_retransmitted(struct transport *t)
{
    const struct net_counters *c = net_counters(((struct transport_nic *)t)->net);
    return c->tcp_retransmit_timer + c->tcp_retransmit_fast;
}

static const struct transport_ops nic_ops = {
    .connect = nic_connect,
    .begin = nic_begin,
    .end = nic_end,
    .retransmitted = nic_retransmitted,
    .close = nic_shut,
};

struct devices *devices_open(const struct options *o, char *error, size_t error_size)
{
    struct devices *d = calloc(1, sizeof(*d));
    if (!d) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    snprintf(d->name, sizeof(d->name), "bench-%d", (int)getpid());
    struct nic_options options = {
        .n_devices = o->n_nic_devices,
        .queues = o->threads,
        .cpus = o->n_cpus == o->threads ? o->cpus : NULL,
        .huge_pages = o->no_huge ? NIC_HUGE_NO : NIC_HUGE_AUTO,
        .name = d->name,
    };
    memcpy(options.devices, o->nic_devices, o->n_nic_devices * sizeof(*o->nic_devices));
    d->nic = nic_open(&options, error, error_size);
    if (!d->nic) {
        free(d);
        return NULL;
    }
    unsigned queues = nic_info(d->nic)->queues;
    if (queues < o->threads) {
        snprintf(error, error_size,
                 "--threads %u: the devices have %u queue%s in all and a thread needs one; use "
                 "--threads %u or name more --nic-device",
                 o->threads, queues, queues == 1 ? "" : "s", queues);
        devices_close(d);
        return NULL;
    }
    return d;
}

void devices_close(struct devices *d)
{
    if (!d)
        return;
    nic_close(d->nic);
    free(d);
}

static bool open_stack(struct transport_nic *n, const struct options *o, char *error,
                       size_t error_size)
{
    const struct nic_info *info = nic_info(n->devices->nic);
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
    snprintf(error, error_size, "%s: no link after %d s; is the other end running?",
             o->nic_devices[0], LINK_WAIT_S);
    return false;
}

struct transport *transport_nic_open(struct devices *d, const struct options *o, unsigned thread,
                                     char *error, size_t error_size)
{
    struct transport_nic *n = calloc(1, sizeof(*n));
    if (!n) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    n->transport.ops = &nic_ops;
    n->devices = d;
    n->port = nic_port(d->nic, thread);
    int code = port_attach(n->port);
    n->attached = code == 0;
    if (code != 0)
        snprintf(error, error_size, "%s: thread %u cannot use its queue: %s", o->nic_devices[0],
                 thread, strerror(-code));
    if (!n->attached || !open_stack(n, o, error, error_size) ||
        !wait_for_link(n, o, error, error_size)) {
        nic_shut(&n->transport);
        return NULL;
    }
    return &n->transport;
}
