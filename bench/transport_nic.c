// The TCP/IP stack of Pollux on a DPDK device: no kernel between the request and the wire.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "bench/clock.h"
#include "bench/flood.h"
#include "bench/passing.h"
#include "bench/transport.h"
#include "dataplane/net/net.h"
#include "drivers/nic.h"

// Frames of a turn. Few enough that the requests of one burst are on their way while the next burst
// is taken: with one big burst server and client would wait for each other in turns.
#define BURST 16
#define LINK_WAIT_S 10 // a memif peer answers within a second or two

struct devices {
    struct nic *nic;
    struct passing *passing; // NULL: one thread
    char name[32];           // the driver may keep it
    uint8_t secret[16];      // of all stacks
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
    unsigned thread;
    struct passing *passing; // of `devices`
    struct passed *taken[BURST];
    unsigned n_taken;
    uint8_t *strays; // a bit for each local port whose frames came to another queue
    bool attached;
    struct flood flood;
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

static unsigned stack_of(void *context, const struct endpoint *local, const struct endpoint *remote)
{
    const struct transport_nic *n = context;
    (void)remote;
    return passing_home(n->passing, local->port);
}

static bool send_mail(void *context, unsigned to, const struct net_mail *mail)
{
    struct transport_nic *n = context;
    return passing_send(n->passing, n->thread, to, mail);
}

// What came to other threads' queues and is ours.
static void take_passed(struct transport_nic *n)
{
    while (n->n_taken < BURST) {
        struct passed *p = passing_take(n->passing, n->thread);
        if (!p)
            break;
        if (p->mail.frame) {
            uint16_t port = passing_port(&p->frame);
            n->strays[port / 8] |= (uint8_t)(1 << port % 8);
        }
        net_receive(n->net, &p->mail, n->now_us);
        n->taken[n->n_taken++] = p;
    }
}

static bool nic_strays(struct transport *t, const struct stream *s)
{
    const struct transport_nic *n = (struct transport_nic *)t;
    struct stream_info info;
    if (!n->passing)
        return false;
    s->ops->info(s, &info);
    uint8_t *byte = &n->strays[info.local.port / 8], bit = (uint8_t)(1 << info.local.port % 8);
    bool stray = *byte & bit;
    *byte &= (uint8_t)~bit; // the port may be used again
    return stray;
}

static unsigned nic_begin(struct transport *t, unsigned wait_us, struct stream **ready,
                          unsigned max)
{
    struct transport_nic *n = (struct transport_nic *)t;
    (void)wait_us; // polls
    n->n_received = port_rx(n->port, n->received, BURST);
    n->now_us = now_us(n);
    net_input(n->net, n->received, n->n_received, n->now_us);
    if (__builtin_expect(n->passing != NULL, 0))
        take_passed(n);
    return net_ready(n->net, ready, max);
}

static void nic_end(struct transport *t)
{
    struct transport_nic *n = (struct transport_nic *)t;
    net_advance(n->net, n->now_us);
    struct frame **frames;
    unsigned waiting = net_output(n->net, &frames);
    if (__builtin_expect(n->flood.rate > 0, 0)) {
        if (waiting > 0 && !n->flood.aimed)
            flood_aim(&n->flood, frames[0], n->now_us);
        flood_send(&n->flood, n->port, n->now_us);
    }
    if (waiting > 0)
        net_sent(n->net, port_tx(n->port, frames, waiting));
    net_turn_end(n->net);
    if (n->n_received > 0)
        port_release_rx(n->port, n->received, n->n_received);
    n->n_received = 0;
    while (n->n_taken > 0)
        passing_free(n->taken[--n->n_taken]);
}

static void nic_shut(struct transport *t)
{
    struct transport_nic *n = (struct transport_nic *)t;
    if (n->flood.aimed && n->now_us > n->flood.started_us)
        fprintf(stderr, "syn-flood: %" PRIu64 " sent, %.0f a second, %.0f %% answered\n",
                n->flood.sent,
                (double)n->flood.sent * 1e6 / (double)(n->now_us - n->flood.started_us),
                // Answers to addresses that are not this program's.
                100.0 * (double)net_counters(n->net)->drop_not_ours /
                    (double)(n->flood.sent ? n->flood.sent : 1));
    if (n->net)
        net_destroy(n->net);
    if (n->attached)
        port_detach(n->port);
    free(n->strays);
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
    .strays = nic_strays,
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
    if (getrandom(d->secret, sizeof(d->secret), 0) != sizeof(d->secret)) {
        snprintf(error, error_size, "the kernel gave no random bytes");
        devices_close(d);
        return NULL;
    }
    if (o->threads > 1 && !(d->passing = passing_open(o->threads))) {
        snprintf(error, error_size, "out of memory");
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
    passing_close(d->passing);
    free(d);
}

static bool open_stack(struct transport_nic *n, const struct options *o, unsigned thread,
                       char *error, size_t error_size)
{
    const struct nic_info *info = nic_info(n->devices->nic);
    struct net_config config = {
        .mtu = info->mtu,
        .n_addresses = 1,
        .offloads = info->offloads,
        .connections_max = o->connections + 16,
        .congestion =
            o->congestion ? (enum net_congestion)net_congestion_find(o->congestion) : NET_CUBIC,
        .seed = clock_ticks(),
        .context = n,
        .stacks = n->passing ? o->threads : 1,
        .stack = thread,
        .stack_of = stack_of,
        .send = send_mail,
    };
    memcpy(config.mac, info->mac, sizeof(config.mac));
    struct endpoint ours = {0}, gateway = {0};
    options_parse_address(o->nic_address, &ours, &config.addresses[0].prefix);
    config.addresses[0].family = ours.family;
    memcpy(config.addresses[0].addr, ours.addr, sizeof(ours.addr));
    if (o->nic_gateway) {
        options_parse_host(o->nic_gateway, &gateway);
        struct net_address *router = ours.family == 6 ? &config.gateway6 : &config.gateway;
        router->family = gateway.family;
        memcpy(router->addr, gateway.addr, sizeof(gateway.addr));
    }
    memcpy(config.secret, n->devices->secret, sizeof(config.secret));
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
    n->flood.rate = o->syn_flood / o->threads;
    n->thread = thread;
    n->passing = d->passing;
    n->strays = calloc(1, (UINT16_MAX + 1) / 8);
    if (!n->strays) {
        snprintf(error, error_size, "out of memory");
        free(n);
        return NULL;
    }
    n->port = nic_port(d->nic, thread);
    int code = port_attach(n->port);
    n->attached = code == 0;
    if (code != 0)
        snprintf(error, error_size, "%s: thread %u cannot use its queue: %s", o->nic_devices[0],
                 thread, strerror(-code));
    if (!n->attached || !open_stack(n, o, thread, error, error_size) ||
        !wait_for_link(n, o, error, error_size)) {
        nic_shut(&n->transport);
        return NULL;
    }
    return &n->transport;
}
