// What the control plane asks of a core, over its channel in the shared segment: a command to
// execute as an internal client, the connections, the port's figures, the neighbours. A bounded
// amount a turn.
#include <arpa/inet.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "common/block.h"
#include "dataplane/core/attach.h"
#include "dataplane/core/message.h"

#define CONTROL_MESSAGES_A_TURN 8
#define CONNECTIONS_A_MESSAGE 64
// Answers of one core that wait for the control plane to read.
#define ANSWERS_BYTES_MAX (64u << 20)

static struct plane_channel *channel_of(struct core *c)
{
    return &c->server->segment->channel[c->index];
}

// An answer that found no room in the ring: sent on, part by part, as the control plane reads.
struct answer {
    struct answer *next;
    enum plane_message_kind kind;
    uint64_t request, generation;
    size_t len, sent;
    uint8_t data[];
};

// Sends what waits. True when something moved.
static bool send_waiting(struct core *c)
{
    struct plane_channel *channel = channel_of(c);
    bool any = false;
    for (struct answer *a; (a = c->first_answer);) {
        size_t before = a->sent;
        bool done = plane_send_parts(&channel->to_control, a->kind, a->request, a->generation,
                                     a->data, a->len, &a->sent);
        any |= done || a->sent != before;
        if (!done)
            break;
        c->first_answer = a->next;
        if (!a->next)
            c->last_answer = NULL;
        c->answers_bytes -= a->len;
        mi_free(a);
    }
    if (any)
        attach_wake_control(c->server->attach, channel);
    return any;
}

static void answer(struct core *c, enum plane_message_kind kind, uint64_t request,
                   uint64_t generation, const void *data, size_t len)
{
    static const char full[] = "the control plane does not read its answers";
    if (c->answers_bytes + len > ANSWERS_BYTES_MAX) {
        kind = PLANE_ERROR;
        data = full;
        len = sizeof(full) - 1;
    }
    struct answer *a = mi_malloc(sizeof(*a) + len);
    if (!a)
        return; // the asker times out
    *a = (struct answer){.kind = kind, .request = request, .generation = generation, .len = len};
    memcpy(a->data, data, len);
    if (c->last_answer)
        c->last_answer->next = a;
    else
        c->first_answer = a;
    c->last_answer = a;
    c->answers_bytes += len;
    send_waiting(c);
}

void control_end(struct core *c)
{
    for (struct answer *a = c->first_answer, *next; a; a = next) {
        next = a->next;
        mi_free(a);
    }
    c->first_answer = c->last_answer = NULL;
}

// --- PLANE_EXECUTE

static void run_command(struct core *c, const struct plane_message *m, const uint8_t *data,
                        size_t len)
{
    struct client *client = client_internal(c);
    if (!client)
        return;
    client->internal_request = m->request;
    client->internal_generation = m->generation;
    struct parser_limits limits = {
        .bulk_max = PLANE_RING_BYTES, .query_max = PLANE_RING_BYTES, .authenticated = true};
    size_t used;
    if (parser_run(&client->parser, &limits, data, len, &used) != PARSER_COMMAND) {
        reply_error(&client->internal_out.out, "ERR the control plane sent no complete command");
        client_push(c, client);
        return;
    }
    int argc = client->parser.argc;
    struct arg *argv = mi_mallocn((size_t)argc, sizeof(*argv));
    if (!argv) {
        client_push(c, client);
        return;
    }
    parser_take(&client->parser, data, argv);
    struct work w = {.client = client, .argv = argv, .argc = argc};
    work_find(c, &w);
    route_work(c, &w);
    for (int i = 0; i < argc; i++)
        block_release(argv[i].block);
    mi_free(argv);
}

void control_replied(struct core *c, struct client *client)
{
    struct block *all = outbuf_block(&client->internal_out);
    if (all)
        answer(c, PLANE_REPLY, client->internal_request, client->internal_generation, all->data,
               all->len);
    block_release(all);
}

// --- PLANE_CONNECTIONS

struct listing {
    struct core *core;
    unsigned n;
    struct {
        uint64_t next_cursor;
        struct plane_connection connection[CONNECTIONS_A_MESSAGE];
    } answer;
};

static uint64_t client_id_of(struct core *c, const struct endpoint *remote)
{
    for (struct client *client = c->clients; client; client = client->next)
        if (client->remote.port == remote->port && client->remote.family == remote->family &&
            memcmp(client->remote.addr, remote->addr, sizeof(remote->addr)) == 0)
            return client->id;
    return 0;
}

static void list_one(void *context, const struct stream_info *info)
{
    struct listing *l = context;
    if (l->n == CONNECTIONS_A_MESSAGE)
        return;
    struct plane_connection *p = &l->answer.connection[l->n++];
    endpoint_format(&info->local, p->local);
    endpoint_format(&info->remote, p->remote);
    memcpy(p->state, info->state, sizeof(p->state));
    p->client_id = client_id_of(l->core, &info->remote);
    p->core = l->core->index;
    p->rtt_us = info->rtt_us;
    p->rttvar_us = info->rttvar_us;
    p->rto_us = info->rto_us;
    p->mss = info->mss;
    p->cwnd = info->cwnd;
    p->ssthresh = info->ssthresh;
    p->snd_wnd = info->snd_wnd;
    p->rcv_wnd = info->rcv_wnd;
    p->unread = info->unread;
    p->unsent = info->unsent;
    p->unacked = info->unacked;
    p->bytes_in = info->bytes_in;
    p->bytes_out = info->bytes_out;
    p->segments_in = info->segments_in;
    p->segments_out = info->segments_out;
    p->retransmitted = info->retransmitted;
}

static void tell_connections(struct core *c, const struct plane_message *m, const uint8_t *data,
                             size_t len)
{
    struct listing *l = mi_zalloc(sizeof(*l));
    if (!l)
        return;
    uint64_t cursor = 0;
    if (len >= sizeof(cursor))
        memcpy(&cursor, data, sizeof(cursor));
    l->core = c;
    if (c->net)
        net_each_connection(c->net, &cursor, CONNECTIONS_A_MESSAGE, list_one, l);
    else if (c->sockets)
        sockets_each(c->sockets, &cursor, CONNECTIONS_A_MESSAGE, list_one, l);
    else
        cursor = 0;
    l->answer.next_cursor = cursor;
    answer(c, PLANE_CONNECTIONS, m->request, m->generation, &l->answer,
           sizeof(l->answer.next_cursor) + l->n * sizeof(l->answer.connection[0]));
    mi_free(l);
}

// --- PLANE_NIC

static void tell_nic(struct core *c, const struct plane_message *m)
{
    struct {
        struct plane_nic nic;
        char text[16384];
    } *a = mi_zalloc(sizeof(*a));
    if (!a)
        return;
    struct plane_nic *p = &a->nic;
    p->core = c->index;
    snprintf(p->transport, sizeof(p->transport), "%s", c->server->dpdk ? "dpdk" : "socket");
    if (c->server->dpdk) {
        const struct nic_info *info = nic_info(c->server->nic);
        snprintf(p->driver, sizeof(p->driver), "%s", info->driver);
        snprintf(p->device, sizeof(p->device), "%s", info->device);
        snprintf(p->mac, sizeof(p->mac), "%02x:%02x:%02x:%02x:%02x:%02x", info->mac[0],
                 info->mac[1], info->mac[2], info->mac[3], info->mac[4], info->mac[5]);
        snprintf(p->address, sizeof(p->address), "%s", c->server->addresses);
        p->queues = info->queues;
        p->mtu = c->server->net_config.mtu;
        p->huge_pages = info->huge_pages;
        p->offloads = info->offloads;
        p->rss = info->rss;
    }
    if (c->port) {
        struct port_stats s;
        port_stats(c->port, &s);
        p->rx_frames = s.rx_frames;
        p->rx_bytes = s.rx_bytes;
        p->rx_missed = s.rx_missed;
        p->rx_errors = s.rx_errors;
        p->rx_no_buffer = s.rx_no_buffer;
        p->tx_frames = s.tx_frames;
        p->tx_bytes = s.tx_bytes;
        p->tx_errors = s.tx_errors;
        p->tx_refused = s.tx_refused;
        p->rx_pool_free = s.rx_pool_free;
        p->rx_pool_size = s.rx_pool_size;
        p->tx_pool_free = s.tx_pool_free;
        p->tx_pool_size = s.tx_pool_size;
        p->link_up = s.link_up;
        p->link_mbps = s.link_mbps;
    }
    size_t text = 0;
    const struct counter_row *rows;
    const uint64_t *values;
    unsigned n = counters_of(c, &rows, &values);
    for (unsigned i = 0; i < n && text < sizeof(a->text) - 80; i++)
        text += (size_t)snprintf(a->text + text, sizeof(a->text) - text, "%s=%lu\n", rows[i].name,
                                 (unsigned long)values[i]);
    text += (size_t)snprintf(a->text + text, sizeof(a->text) - text, "frames_passed=%lu\n",
                             (unsigned long)c->counters.frames_passed);
    answer(c, PLANE_NIC, m->request, m->generation, a, sizeof(a->nic) + text);
    mi_free(a);
}

// --- PLANE_NEIGHBOURS

struct text {
    char *at, *end;
};

static void neighbour_line(void *context, const struct net_neighbour *n)
{
    struct text *t = context;
    char address[INET6_ADDRSTRLEN];
    if (t->end - t->at < 160 ||
        !inet_ntop(n->family == 4 ? AF_INET : AF_INET6, n->addr, address, sizeof(address)))
        return;
    t->at += snprintf(t->at, (size_t)(t->end - t->at), "%s %02x:%02x:%02x:%02x:%02x:%02x %s %lu\n",
                      address, n->mac[0], n->mac[1], n->mac[2], n->mac[3], n->mac[4], n->mac[5],
                      n->state, (unsigned long)(n->age_us / 1000000));
}

static void tell_neighbours(struct core *c, const struct plane_message *m)
{
    char *lines = mi_malloc(PLANE_MESSAGE_MAX / 2);
    if (!lines)
        return;
    struct text t = {lines, lines + PLANE_MESSAGE_MAX / 2};
    if (c->net)
        net_each_neighbour(c->net, neighbour_line, &t);
    answer(c, PLANE_NEIGHBOURS, m->request, m->generation, lines, (size_t)(t.at - lines));
    mi_free(lines);
}

bool control_receive(struct core *c)
{
    struct plane_ring *ring = &channel_of(c)->to_core;
    bool any = __builtin_expect(c->first_answer != NULL, 0) && send_waiting(c);
    if (atomic_load_explicit(&ring->head, memory_order_relaxed) ==
        atomic_load_explicit(&ring->tail, memory_order_relaxed))
        return any;
    for (unsigned i = 0; i < CONTROL_MESSAGES_A_TURN; i++) {
        const uint8_t *data;
        size_t len;
        const struct plane_message *m = plane_receive(ring, &data, &len);
        if (!m)
            break;
        switch ((enum plane_message_kind)m->kind) {
        case PLANE_EXECUTE:
            run_command(c, m, data, len);
            break;
        case PLANE_CONNECTIONS:
            tell_connections(c, m, data, len);
            break;
        case PLANE_NIC:
            tell_nic(c, m);
            break;
        case PLANE_NEIGHBOURS:
            tell_neighbours(c, m);
            break;
        default:
            answer(c, PLANE_ERROR, m->request, m->generation, "unknown message", 15);
        }
        plane_received(ring);
    }
    return true;
}
