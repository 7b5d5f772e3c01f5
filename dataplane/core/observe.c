// What an operator asks of a core's port and stack: device, queues, counters by name, neighbours.
// Answers are maps in RESP3, so that what is added here appears for the operator at once.
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common/resp_text.h"
#include "dataplane/core/message.h"

static void answer_text(struct core *c, enum plane_message_kind kind, const struct plane_message *m,
                        struct resp_text *t)
{
    if (t->failed)
        control_answer(c, PLANE_ERROR, m, "no memory for the answer", 24);
    else
        control_answer(c, kind, m, t->data, t->len);
    resp_text_free(t);
}

// --- PLANE_NIC

static void put_device(struct resp_text *t, struct core *c)
{
    const struct nic_info *info = nic_info(c->server->nic);
    char mac[24];
    snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", info->mac[0], info->mac[1],
             info->mac[2], info->mac[3], info->mac[4], info->mac[5]);
    resp_field_string(t, "driver", info->driver);
    resp_field_string(t, "device", info->device);
    resp_field_string(t, "mac", mac);
    resp_field_string(t, "address", c->server->addresses);
    resp_field_integer(t, "mtu", c->server->net_config.mtu);
    resp_field_integer(t, "mtu_max", info->mtu_max);
    resp_field_integer(t, "vlan", c->server->net_config.vlan);
    resp_field_integer(t, "queues", info->queues);
    resp_field_bool(t, "huge_pages", info->huge_pages);
    resp_field_bool(t, "rss", info->rss);
    resp_field_string(t, "spread", transport_spread(c));
    resp_field_integer(t, "registered", c->net ? net_registered(c->net) : 0);
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{NET_TX_IP_SUM, "tx-ip-checksum"},
                 {NET_TX_TCP_SUM, "tx-tcp-checksum"},
                 {NET_TX_TSO, "tso"},
                 {NET_TX_SCATTER, "tx-scatter"}};
    resp_field_open(t, "offloads", '*');
    if (info->rx_sums)
        resp_put_string(t, "rx-checksum");
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (info->offloads & names[i].bit)
            resp_put_string(t, names[i].name);
    resp_close(t);
}

static void put_xstat(void *context, const char *name, uint64_t value)
{
    resp_field_integer(context, name, (int64_t)value);
}

static void put_port(struct resp_text *t, struct core *c)
{
    struct port_stats s;
    port_stats(c->port, &s);
    resp_field_bool(t, "link_up", s.link_up);
    resp_field_integer(t, "link_mbps", s.link_mbps);
#define FIELD(name) resp_field_integer(t, #name, (int64_t)s.name)
    FIELD(rx_frames);
    FIELD(rx_bytes);
    FIELD(rx_missed);
    FIELD(rx_errors);
    FIELD(rx_no_buffer);
    FIELD(tx_frames);
    FIELD(tx_bytes);
    FIELD(tx_errors);
    FIELD(tx_refused);
    FIELD(rx_pool_free);
    FIELD(rx_pool_size);
    FIELD(tx_pool_free);
    FIELD(tx_pool_size);
#undef FIELD
    resp_field_open(t, "port", '%');
    port_each_xstat(c->port, put_xstat, t);
    resp_close(t);
}

// What the core itself counts beside the transport.
#define CORE_COUNTERS(X)                                                                 \
    X(frames_passed, FRAMES, "frames handed to another core, whose flow they belong to") \
    X(capture_frames, FRAMES, "frames copied for polluxctl capture")                     \
    X(capture_dropped, MEMORY, "frames that a capture missed because its reader was behind")

static const struct counter_row core_rows[] = {
#define X(name, group, text) {#name, #group, text},
    CORE_COUNTERS(X)
#undef X
};
#define CORE_ROWS (sizeof(core_rows) / sizeof(core_rows[0]))

static void put_about(struct resp_text *t, const struct counter_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        resp_field_open(t, rows[i].name, '*');
        resp_put_string(t, rows[i].group);
        resp_put_string(t, rows[i].text);
        resp_close(t);
    }
}

void tell_nic(struct core *c, const struct plane_message *m, const uint8_t *data, size_t len)
{
    struct resp_text t = {.resp = 3};
    uint32_t about = 0;
    if (len >= sizeof(about))
        memcpy(&about, data, sizeof(about));
    resp_open(&t, '%');
    resp_field_integer(&t, "core", c->index);
    resp_field_string(&t, "transport", c->server->dpdk ? "dpdk" : "socket");
    if (c->server->dpdk)
        put_device(&t, c);
    if (c->port)
        put_port(&t, c);
    const struct counter_row *rows;
    const uint64_t *values;
    unsigned n = counters_of(c, &rows, &values);
    const uint64_t own[] = {
#define X(name, group, text) c->counters.name,
        CORE_COUNTERS(X)
#undef X
    };
    size_t n_own = c->server->dpdk ? CORE_ROWS : 0;
    resp_field_open(&t, "counters", '%');
    for (unsigned i = 0; i < n; i++)
        resp_field_integer(&t, rows[i].name, (int64_t)values[i]);
    for (unsigned i = 0; i < n_own; i++)
        resp_field_integer(&t, core_rows[i].name, (int64_t)own[i]);
    resp_close(&t);
    if (about) {
        resp_field_open(&t, "about", '%');
        put_about(&t, rows, n);
        put_about(&t, core_rows, n_own);
        resp_close(&t);
    }
    resp_close(&t);
    answer_text(c, PLANE_NIC, m, &t);
}

// --- PLANE_NEIGHBOURS

struct neighbour_list {
    struct resp_text text;
    unsigned core;
};

static void neighbour_put(void *context, const struct net_neighbour *n)
{
    struct neighbour_list *l = context;
    struct resp_text *t = &l->text;
    char address[INET6_ADDRSTRLEN], mac[24] = "";
    if (!inet_ntop(n->family == 4 ? AF_INET : AF_INET6, n->addr, address, sizeof(address)))
        return;
    static const uint8_t unknown[6];
    if (memcmp(n->mac, unknown, 6) != 0)
        snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", n->mac[0], n->mac[1], n->mac[2],
                 n->mac[3], n->mac[4], n->mac[5]);
    resp_open(t, '%');
    resp_field_integer(t, "core", l->core);
    resp_field_integer(t, "family", n->family);
    resp_field_string(t, "address", address);
    resp_field_string(t, "mac", mac);
    resp_field_string(t, "state", n->state);
    resp_field_double(t, "age_seconds", (double)n->age_us / 1e6);
    resp_close(t);
}

void tell_neighbours(struct core *c, const struct plane_message *m)
{
    static const char none[] = "the kernel keeps the neighbours of transport socket: see ip neigh";
    if (!c->server->dpdk) {
        control_answer(c, PLANE_ERROR, m, none, sizeof(none) - 1);
        return;
    }
    struct neighbour_list l = {.text = {.resp = 3}, .core = c->index};
    resp_open(&l.text, '*');
    if (c->net)
        net_each_neighbour(c->net, neighbour_put, &l);
    resp_close(&l.text);
    answer_text(c, PLANE_NEIGHBOURS, m, &l.text);
}
