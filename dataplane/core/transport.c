// Frames or kernel sockets behind one face: what the loop receives, which streams have news, what
// leaves.
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/core/addresses.h"
#include "dataplane/core/capture.h"
#include "dataplane/core/message.h"

#define IO_ENTRIES 1024

// Where the port should put the frames of a flow.
static unsigned stack_of(void *context, const struct endpoint *local, const struct endpoint *remote)
{
    const struct core *c = context;
    return nic_queue_of(c->server->nic, local, remote);
}

static bool send_mail(void *context, unsigned to, const struct net_mail *mail)
{
    return pass_mail(context, to, mail);
}

static int start_frames(struct core *c, char *error, size_t size)
{
    struct net_config config = c->server->net_config;
    config.seed = core_random(c);
    config.context = c;
    config.congestion =
        (enum net_congestion)net_congestion_find(config_get(c->config, "tcp-congestion-control"));
    // Cores that have a queue are the first ones, in its order.
    config.stacks = nic_info(c->server->nic)->queues;
    config.stack = c->index;
    config.stack_of = stack_of;
    config.send = send_mail;
    config.conflict = addresses_conflict;
    if (port_attach(c->port)) {
        snprintf(error, size, "core %u cannot attach to its port queue", c->index);
        return -1;
    }
    int fd = port_wait_fd(c->port);
    if (fd >= 0)
        io_watch(c->io, fd);
    c->net = net_create(&config, port_pool(c->port), core_clock_us(), error, size);
    return c->net ? 0 : -1;
}

int transport_start(struct core *c, char *error, size_t size)
{
    c->io = io_create(IO_ENTRIES, error, size);
    if (!c->io)
        return -1;
    // The UNIX socket is the kernel's on either transport, and the first core's.
    const char *path = config_string(c->config, "unixsocket");
    if (!c->server->dpdk || (c->index == 0 && path && *path)) {
        struct sockets_config config = {
            .tcp_user_timeout_ms = 0,
        };
        c->sockets = sockets_create(c->io, &config, error, size);
        if (!c->sockets)
            return -1;
    }
    if (!c->server->dpdk)
        return 0;
    c->port = nic_port(c->server->nic, c->index);
    return c->port ? start_frames(c, error, size) : 0;
}

// The numeric form of an address of `bind`: as it stands, or the first one that the name has.
// Looking names up may wait; it happens before the core serves.
static bool resolve(const char *name, char *text)
{
    struct in6_addr probe;
    if (name[0] == '*' || strcmp(name, "::*") == 0 || inet_pton(AF_INET, name, &probe) == 1 ||
        inet_pton(AF_INET6, name, &probe) == 1)
        return snprintf(text, INET6_ADDRSTRLEN, "%s", name) < INET6_ADDRSTRLEN;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    if (getaddrinfo(name, NULL, &hints, &found))
        return false;
    bool ok = getnameinfo(found->ai_addr, found->ai_addrlen, text, INET6_ADDRSTRLEN, NULL, 0,
                          NI_NUMERICHOST) == 0;
    freeaddrinfo(found);
    return ok;
}

// What a listener's connections speak: its tag.
enum { SPEAKS_PLAIN, SPEAKS_TLS };

// Opens `port` on every address of `bind`.
static int listen_port(struct core *c, const struct config *config, uint16_t port, unsigned speaks,
                       char *error, size_t size)
{
    const char *const *addresses;
    unsigned n = config_list(config, "bind", &addresses);
    int backlog = (int)config_integer(config, "tcp-backlog");
    unsigned open = 0;
    for (unsigned i = 0; i < n; i++) {
        bool optional = addresses[i][0] == '-';
        char address[INET6_ADDRSTRLEN];
        if (!resolve(addresses[i] + optional, address)) {
            if (optional)
                continue;
            snprintf(error, size, "bind: '%s' is neither an address nor a host name that resolves",
                     addresses[i]);
            return -EADDRNOTAVAIL;
        }
        int result = sockets_listen(c->sockets, address, port, speaks, backlog, error, size);
        if (result == 0)
            open++;
        else if (!optional || (result != -EADDRNOTAVAIL && result != -EAFNOSUPPORT &&
                               result != -EPROTONOSUPPORT))
            return result;
    }
    if (open)
        return 0;
    if (n)
        snprintf(error, size, "none of the addresses that `bind` names exists on this machine");
    else
        snprintf(error, size, "`bind` names no address to listen on");
    return -EADDRNOTAVAIL;
}

static int listen_sockets(struct core *c, const struct config *config, char *error, size_t size)
{
    uint16_t plain = (uint16_t)config_integer(config, "port");
    uint16_t tls = (uint16_t)config_integer(config, "tls-port");
    const char *path = config_string(config, "unixsocket");
    int result = 0;
    sockets_relisten_begin(c->sockets);
    if (!c->server->dpdk && plain)
        result = listen_port(c, config, plain, SPEAKS_PLAIN, error, size);
    if (!result && !c->server->dpdk && tls)
        result = listen_port(c, config, tls, SPEAKS_TLS, error, size);
    if (!result && path && *path && c->index == 0)
        result = sockets_listen_unix(c->sockets, path,
                                     (unsigned)config_integer(config, "unixsocketperm"),
                                     (int)config_integer(config, "tcp-backlog"), error, size);
    sockets_relisten_end(c->sockets, result == 0);
    return result;
}

// Moves a listener of the stack. The port that it has afterwards.
static uint16_t move(struct core *c, uint16_t from, uint16_t to, unsigned backlog, int *result)
{
    if (from == to || *result)
        return from;
    if (to)
        *result = net_listen(c->net, to, backlog);
    if (*result)
        return from;
    net_unlisten(c->net, from);
    return to;
}

static int listen_stack(struct core *c, const struct config *config, char *error, size_t size)
{
    uint16_t plain = (uint16_t)config_integer(config, "port");
    uint16_t tls = (uint16_t)config_integer(config, "tls-port");
    unsigned backlog = (unsigned)config_integer(config, "tcp-backlog");
    int result = 0, ignored = 0;
    uint16_t before = c->port_plain;
    c->port_plain = move(c, before, plain, backlog, &result);
    c->port_tls = move(c, c->port_tls, tls, backlog, &result);
    if (!result)
        return 0;
    unsigned port = c->port_plain == plain ? tls : plain;
    snprintf(error, size, "cannot listen on port %u: %s", port, strerror(-result));
    c->port_plain = move(c, c->port_plain, before, backlog, &ignored);
    return result;
}

int transport_listen(struct core *c, const struct config *config, char *error, size_t size)
{
    if (config_integer(config, "tls-port") && !tls_start(c)) {
        snprintf(error, size, "out of memory");
        return -ENOMEM;
    }
    int result = c->sockets ? listen_sockets(c, config, error, size) : 0;
    if (!result && c->net)
        result = listen_stack(c, config, error, size);
    if (!result)
        c->listening = true;
    return result;
}

const char *transport_moves(const struct config *a, const struct config *b)
{
    static const char *const places[] = {"port", "tls-port", "bind"};
    for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++)
        if (strcmp(config_get(a, places[i]), config_get(b, places[i])) != 0)
            return places[i];
    return NULL;
}

void transport_stop(struct core *c)
{
    if (c->io)
        transport_send(c); // the last resets and FINs, and TLS's last words
    if (c->net)
        net_destroy(c->net);
    capture_end(c);
    if (c->port)
        port_detach(c->port);
    if (c->sockets)
        sockets_destroy(c->sockets);
    tls_destroy(c->tls);
    tls_context_release(c->tls_context);
    if (c->io)
        io_stop(c->io); // others may still wake it: core_destroy frees it
    c->net = NULL;
    c->port = NULL;
    c->sockets = NULL;
    c->tls = NULL;
    c->tls_context = NULL;
}

bool transport_receive(struct core *c)
{
    if (c->net) {
        c->n_frames = port_rx(c->port, c->frames, TURN_FRAMES);
        if (__builtin_expect(c->capture != NULL, 0))
            capture_received(c, c->frames, c->n_frames);
        if (c->n_frames)
            net_input(c->net, c->frames, c->n_frames, c->now_us);
        bool more = net_advance(c->net, c->now_us);
        // Without a UNIX socket the ring of this core carries wakes and watched descriptors only;
        // they matter while asleep.
        if (c->sockets)
            more |= io_turn(c->io) > 0;
        return c->n_frames || more || c->sending;
    }
    return io_turn(c->io) > 0;
}

struct stream *transport_connect(struct core *c, const struct endpoint *to, int *error)
{
    *error = -ENETDOWN;
    if (c->net)
        return net_connect(c->net, to, error);
    return c->sockets ? sockets_connect(c->sockets, to, error) : NULL;
}

// Whether a stream that was just accepted came to the TLS port.
static bool comes_to_tls(const struct core *c, const struct stream *s, bool of_stack)
{
    if (!(s->events & STREAM_ACCEPTED))
        return false;
    if (!of_stack)
        return sockets_tag_of(s) == SPEAKS_TLS;
    struct stream_info info = {0};
    s->ops->info(s, &info);
    return c->port_tls && info.local.port == c->port_tls;
}

// Takes out what TLS lies over: its owners see the streams above.
static unsigned keep_plain(struct core *c, struct stream **streams, unsigned n, bool of_stack)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < n; i++) {
        struct stream *s = streams[i];
        if (s->flags & STREAM_CARRIER)
            tls_event(s);
        else if (comes_to_tls(c, s, of_stack))
            tls_take(c, s);
        else
            streams[kept++] = s;
    }
    return kept;
}

unsigned transport_ready(struct core *c, struct stream **streams, unsigned max)
{
    unsigned n = 0;
    if (c->net) {
        n = net_ready(c->net, streams, max);
        if (c->tls)
            n = keep_plain(c, streams, n, true);
    }
    if (c->sockets) {
        unsigned more = sockets_ready(c->sockets, streams + n, max - n);
        if (c->tls && !c->server->dpdk)
            more = keep_plain(c, streams + n, more, false);
        n += more;
    }
    if (c->tls) {
        tls_turn(c->tls, c->now_us);
        n += tls_ready(c->tls, streams + n, max - n);
    }
    return n;
}

void transport_flush(struct core *c)
{
    if (!c->net)
        return;
    struct frame **frames;
    unsigned n = net_output(c->net, &frames);
    c->sending = c->port_full = false;
    if (!n)
        return;
    bool captured = __builtin_expect(c->capture != NULL, 0);
    unsigned taken = captured ? capture_sending(c, frames, n) : port_tx(c->port, frames, n);
    net_sent(c->net, taken);
    c->sending = taken != 0;
    c->port_full = !taken;
}

void transport_send(struct core *c)
{
    if (c->tls)
        tls_turn_end(c->tls);
    if (c->sockets) {
        sockets_turn_end(c->sockets);
        io_turn(c->io);
    }
    if (!c->net)
        return;
    transport_flush(c);
    net_turn_end(c->net);
    if (c->n_frames)
        port_release_rx(c->port, c->frames, c->n_frames);
    c->n_frames = 0;
    passed_free(c);
}

// Frames of new flows that came elsewhere than the port said, before it is not believed any more:
// one may have been under way when the port began.
#define SPREAD_WRONG_MIN 16

const char *transport_spread(const struct core *c)
{
    const struct nic_info *info = nic_info(c->server->nic);
    if (info->queues < 2)
        return "all come to one core";
    if (!info->spread_known)
        return "registered between cores: no port tells how they are spread";
    if (atomic_load_explicit(&c->server->spread_wrong, memory_order_relaxed))
        return "registered between cores: the port spreads them other than it says";
    return "come to their cores by the port's hash";
}

void transport_cron(struct core *c)
{
    if (!c->net || !nic_info(c->server->nic)->spread_known ||
        net_counters(c->net)->home_elsewhere < SPREAD_WRONG_MIN ||
        atomic_exchange(&c->server->spread_wrong, true))
        return;
    log_warning("The port %s puts flows on other queues than its RSS key and table say: each new "
                "connection costs messages between cores (polluxctl nic counts them)",
                nic_info(c->server->nic)->device);
}

void transport_bytes(const struct core *c, uint64_t *in, uint64_t *out)
{
    *in = *out = 0;
    if (c->sockets) {
        *in = sockets_counters(c->sockets)->bytes_in;
        *out = sockets_counters(c->sockets)->bytes_out;
    }
    if (c->net) {
        *in += net_counters(c->net)->bytes_in;
        *out += net_counters(c->net)->bytes_out;
    }
}

bool transport_can_wait(const struct core *c)
{
    return !c->port || (port_wait_fd(c->port) >= 0 && !c->port_full);
}

void transport_wait(struct core *c, uint64_t timeout_us)
{
    if (c->tls && tls_busy(c->tls))
        return;
    if (c->net) {
        uint64_t due = net_next_timer(c->net);
        uint64_t until = due > c->now_us ? due - c->now_us : 0;
        if (until < timeout_us)
            timeout_us = until;
        if (!timeout_us)
            return;
    }
    io_wait(c->io, timeout_us);
}
