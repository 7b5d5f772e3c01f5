#include "bench/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "bench/cluster.h"
#include "common/block.h"
#include "common/outbuf.h"
#include "common/resp_text.h"

static const char asking[] = "*1\r\n$6\r\nASKING\r\n";
static const char slots[] = "*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n";

enum way {
    WAY_PLAIN,
    WAY_ASK,    // ASKING is to go before it
    WAY_ASKING, // that itself
};

// A request on its way. `bytes`: itself, where its slot is not known before it is written.
struct routed {
    struct request request;
    uint16_t slot; // SLOTS: it has no key
    uint8_t way;   // enum way
    uint8_t redirects;
    uint64_t meant;   // open loop: when it was meant to be sent, ticks
    uint64_t written; // for the first time, ticks; 0: not yet
    uint64_t again;   // when it is tried again, ticks
    struct block *bytes;
};

struct queue {
    struct routed *items; // a ring
    uint32_t first, n, size;
};

struct node {
    struct connection *connections;
    struct routed *rings; // of them all: what is under way
    struct queue queue;
    struct pool pool;       // connections that may take more
    uint64_t blocked_until; // open loop: until then none could
    unsigned part;          // of the measurement
};

struct route {
    struct cluster map;
    struct node nodes[CLUSTER_NODES_MAX];
    unsigned n;    // nodes that have connections
    unsigned next; // node of the last request without a key
    struct queue later;
    struct routed held; // drawn, and its queue is full
    bool holds;
    bool opaque[PRESET_COMMANDS_MAX]; // commands whose slot is known when they are written
    uint32_t queue_max, pool_max;
    size_t ring;    // entries of each connection's
    uint8_t *reply; // to CLUSTER SLOTS, as far as it has come
    size_t reply_size;
    struct resp_scan reply_scan;
    bool asked; // it was read
};

static const char no_memory[] = "out of memory";

// --- queues --------------------------------------------------------------------------------------

static bool queue_grow(struct queue *q)
{
    uint32_t size = q->size ? 2 * q->size : 64;
    struct routed *items = malloc(size * sizeof(*items));
    if (!items)
        return false;
    for (uint32_t i = 0; i < q->n; i++)
        items[i] = q->items[(q->first + i) & (q->size - 1)];
    free(q->items);
    *q = (struct queue){.items = items, .n = q->n, .size = size};
    return true;
}

static bool queue_put(struct queue *q, const struct routed *item)
{
    if (q->n == q->size && !queue_grow(q))
        return false;
    q->items[(q->first + q->n++) & (q->size - 1)] = *item;
    return true;
}

// What was redirected has waited already: it goes before the rest.
static bool queue_put_first(struct queue *q, const struct routed *item)
{
    if (q->n == q->size && !queue_grow(q))
        return false;
    q->first = (q->first - 1) & (q->size - 1);
    q->items[q->first] = *item;
    q->n++;
    return true;
}

static struct routed queue_take(struct queue *q)
{
    struct routed item = q->items[q->first];
    q->first = (q->first + 1) & (q->size - 1);
    q->n--;
    return item;
}

static void queue_clear(struct queue *q)
{
    while (q->n > 0)
        block_release(queue_take(q).bytes);
    free(q->items);
    *q = (struct queue){0};
}

static void forget_held(struct route *route)
{
    if (route->holds)
        block_release(route->held.bytes);
    route->holds = false;
}

// --- nodes and their connections -----------------------------------------------------------------

struct connection *route_connection(const struct route *route, unsigned each, unsigned i)
{
    return &route->nodes[i / each].connections[i % each];
}

static void free_rings(struct client *c, struct node *node)
{
    for (unsigned i = 0; node->rings && i < c->n_connections; i++)
        for (struct connection *k = &node->connections[i]; k->waiting > 0; k->waiting--)
            block_release(k->routed[k->next++ & (c->route->ring - 1)].bytes);
    free(node->rings);
    node->rings = NULL;
    pool_free(&node->pool);
}

// Gives a node what it needs in the present job.
static bool make_rings(struct client *c, struct node *node, struct measurement *m)
{
    struct route *route = c->route;
    char name[ENDPOINT_TEXT_MAX];
    node->rings = calloc(route->ring * c->n_connections, sizeof(*node->rings));
    if (!node->rings || !pool_init(&node->pool, route->pool_max))
        return false;
    for (unsigned i = 0; i < c->n_connections; i++) {
        node->connections[i].routed = node->rings + i * route->ring;
        node->connections[i].listed = false;
    }
    return measurement_node(m, endpoint_format(node->connections[0].to, name), &node->part);
}

// Makes room for the connections of nodes that the map has and we have not; they are opened turn by
// turn.
static bool add_nodes(struct client *c)
{
    struct route *route = c->route;
    for (; route->n < route->map.n_nodes; route->n++) {
        struct node *node = &route->nodes[route->n];
        node->connections = connections_new(c, &route->map.nodes[route->n]);
        if (!node->connections)
            return false;
        for (unsigned i = 0; i < c->n_connections; i++)
            node->connections[i].node = (uint16_t)route->n;
        if (c->m && !make_rings(c, node, c->m))
            return false;
        c->n_all += c->n_connections;
    }
    return true;
}

static void list(struct client *c, struct connection *k)
{
    struct route *route = c->route;
    if (k->state == CONNECTION_READY && k->waiting < route->pool_max && (!c->churn || k->left))
        pool_add(&route->nodes[k->node].pool, k);
}

static void unlist(struct client *c, struct connection *k)
{
    if (k->listed)
        pool_remove(&c->route->nodes[k->node].pool, k);
}

void route_ready(struct client *c, struct connection *k)
{
    list(c, k);
}

void route_lost(struct client *c, struct connection *k)
{
    unlist(c, k);
}

// --- the map -------------------------------------------------------------------------------------

void route_ask(struct client *c)
{
    struct stream *s = c->asker.stream;
    c->asker.state = CONNECTION_MAP;
    out_write(&s->out, slots, sizeof(slots) - 1);
    s->ops->push(s);
}

static void end_asking(struct client *c, const char *error)
{
    struct connection *k = &c->asker;
    c->route->asked = true;
    if (error)
        fail(c, error);
    k->state = CONNECTION_CLOSING;
    k->stream->ops->abort(k->stream);
}

void route_read_map(struct client *c)
{
    struct route *route = c->route;
    struct stream *s = c->asker.stream;
    while (s->in_len > 0) {
        if (route->reply_size + s->in_len > ROUTE_MAP_MAX) {
            end_asking(c, "the server's reply to CLUSTER SLOTS does not end");
            return;
        }
        uint8_t *reply = realloc(route->reply, route->reply_size + s->in_len);
        if (!reply) {
            end_asking(c, no_memory);
            return;
        }
        memcpy(reply + route->reply_size, s->in, s->in_len);
        route->reply = reply;
        route->reply_size += s->in_len;
        stream_consume(s, s->in_len);
    }
    bool bad;
    char error[MEASUREMENT_TEXT_MAX];
    if (resp_scan(&route->reply_scan, (const char *)route->reply, route->reply_size, &bad)) {
        bool good = cluster_read(&route->map, route->reply, route->reply_scan.at,
                                 &c->options->server, error, sizeof(error));
        end_asking(c, good ? NULL : error);
    } else if (bad) {
        end_asking(c, "the server does not speak RESP");
    }
}

bool route_open(struct client *c)
{
    struct route *route = c->route = calloc(1, sizeof(*route));
    if (!route) {
        fail(c, no_memory);
        return false;
    }
    route->map.resolve = options_resolve;
    if (!client_connect(c, &c->asker) || !client_wait(c, &route->asked))
        return false;
    if (!add_nodes(c))
        fail(c, no_memory);
    return !c->error[0];
}

void route_close(struct client *c)
{
    struct route *route = c->route;
    if (!route)
        return;
    for (unsigned i = 0; i < route->n; i++) {
        struct node *node = &route->nodes[i];
        queue_clear(&node->queue);
        free_rings(c, node);
        free(node->connections);
    }
    queue_clear(&route->later);
    forget_held(route);
    free(route->reply);
    free(route);
    c->route = NULL;
}

// --- drawing and writing -------------------------------------------------------------------------

static struct node *node_of(struct route *route, const struct routed *item)
{
    return &route->nodes[item->slot < SLOTS ? cluster_node(&route->map, item->slot) : route->next];
}

// The bytes of a request; NULL when memory is short.
static struct block *write_aside(struct client *c, struct request r)
{
    struct outbuf aside;
    uint64_t written = c->protocol.written;
    outbuf_init(&aside);
    protocol_write(&c->protocol, &aside.out, r);
    c->protocol.written = written;
    struct block *bytes = outbuf_block(&aside);
    outbuf_clear(&aside);
    if (!bytes)
        fail(c, no_memory);
    return bytes;
}

// The slot of the command that begins at *at, and moves on behind it. SLOTS: it has no key.
static unsigned slot_of_bytes(const struct block *bytes, size_t *at)
{
    struct resp_word words[ROUTE_WORDS_MAX];
    unsigned n;
    const char *error;
    ssize_t used = resp_request((const char *)bytes->data + *at, bytes->len - *at, words,
                                ROUTE_WORDS_MAX, &n, &error);
    if (used <= 0) {
        *at = bytes->len;
        return SLOTS;
    }
    *at += (size_t)used;
    return n > 1 ? slot_of_key((const uint8_t *)words[1].ptr, words[1].len) : SLOTS;
}

// Where a request is to go. One whose key is not known before it is written is written aside.
static unsigned slot_of(struct client *c, struct routed *item)
{
    size_t at = 0;
    if (!c->route->opaque[item->request.command])
        return protocol_slot(&c->protocol, item->request);
    item->bytes = write_aside(c, item->request);
    return item->bytes ? slot_of_bytes(item->bytes, &at) : SLOTS;
}

// Draws requests into the queues until one is full (or, in an open loop, none is due).
static void draw(struct client *c)
{
    struct route *route = c->route;
    while (c->to_send > 0 && (!c->open_loop || (c->due <= c->now && c->due < c->due_end)) &&
           !c->error[0]) {
        struct routed *item = &route->held;
        if (!route->holds) {
            *item = (struct routed){.request = workload_next(&c->workload)};
            item->slot = (uint16_t)slot_of(c, item);
            route->holds = true;
            if (item->slot == SLOTS)
                route->next = (route->next + 1) % route->n;
        }
        struct queue *queue = &node_of(route, item)->queue;
        if (queue->n >= route->queue_max)
            return;
        item->meant = c->due;
        if (!queue_put(queue, item)) {
            fail(c, no_memory);
            return;
        }
        route->holds = false;
        c->to_send--;
        c->waiting++;
        if (c->open_loop)
            draw_arrival(c);
    }
}

static void put_under_way(struct client *c, struct connection *k, const struct routed *item)
{
    k->routed[k->write++ & (c->route->ring - 1)] = *item;
    k->waiting++;
}

static void write_item(struct client *c, struct connection *k, struct routed *item)
{
    struct out *out = &k->stream->out;
    uint64_t before = c->protocol.written;
    if (item->way == WAY_ASK) {
        const struct routed first = {.request = {.op = COMMAND_OTHER}, .way = WAY_ASKING};
        out_write(out, asking, sizeof(asking) - 1);
        c->protocol.written += sizeof(asking) - 1;
        put_under_way(c, k, &first);
    }
    item->way = WAY_PLAIN;
    if (item->bytes) {
        out_write(out, item->bytes->data, item->bytes->len);
        c->protocol.written += item->bytes->len;
    } else {
        protocol_write(&c->protocol, out, item->request);
    }
    put_under_way(c, k, item);
    uint64_t bytes = c->protocol.written - before;
    c->m->nodes[c->route->nodes[k->node].part].bytes_out += bytes;
    if (c->by_command)
        c->m->commands[item->request.command].bytes_out += bytes;
    if (c->churn)
        k->left--;
}

// The next of a node's queue. What had to wait may have got another owner meanwhile: it goes there.
static bool take(struct client *c, struct node *node, struct routed *item)
{
    struct route *route = c->route;
    while (node->queue.n > 0) {
        *item = queue_take(&node->queue);
        if (item->slot == SLOTS || item->way == WAY_ASK || node_of(route, item) == node)
            return true;
        if (!queue_put(&node_of(route, item)->queue, item)) {
            fail(c, no_memory);
            return false;
        }
    }
    return false;
}

// Open loop: each on the connection with the fewest under way.
static void write_due(struct client *c, struct node *node)
{
    uint64_t now = c->now;
    while (node->queue.n > 0) {
        struct connection *k = pool_least(&node->pool);
        if (!k) {
            node->blocked_until = now;
            return;
        }
        struct routed item;
        if (!take(c, node, &item))
            return;
        unlist(c, k);
        now = clock_ticks();
        if (!item.written) {
            item.written = now;
            if (item.meant > node->blocked_until && now > item.meant)
                histogram_record(&c->m->lag, clock_ns(now - item.meant), 1);
        }
        write_item(c, k, &item);
        list(c, k);
        touch(c, k);
    }
}

// Closed loop: a batch on each connection that waits for nothing.
static void write_batches(struct client *c, struct node *node)
{
    struct connection *k;
    struct routed item;
    while ((k = pool_least(&node->pool)) && take(c, node, &item)) {
        unlist(c, k);
        for (uint32_t i = 0; i == 0 || (i < c->pipeline && take(c, node, &item)); i++) {
            if (!item.written)
                item.written = c->churn ? k->sent : c->now;
            write_item(c, k, &item);
        }
        k->stream->ops->push(k->stream);
    }
}

// What could not be served a moment ago goes to whoever has its slot now.
static void try_again(struct client *c)
{
    struct route *route = c->route;
    struct queue *later = &route->later;
    while (later->n > 0 && later->items[later->first].again <= c->now) {
        struct routed item = queue_take(later);
        if (!queue_put_first(&node_of(route, &item)->queue, &item))
            fail(c, no_memory);
    }
}

void route_send(struct client *c)
{
    struct route *route = c->route;
    try_again(c);
    draw(c);
    for (unsigned i = 0; i < route->n; i++) {
        if (route->nodes[i].queue.n == 0)
            continue;
        if (c->open_loop)
            write_due(c, &route->nodes[i]);
        else
            write_batches(c, &route->nodes[i]);
    }
    push_touched(c);
}

// --- receiving -----------------------------------------------------------------------------------

static bool several(const struct client *c, struct request r)
{
    return r.op == COMMAND_ANY && c->protocol.commands[r.command].replies > 1;
}

static bool begins(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

// Not served just now: true when it is tried again in a while.
static bool try_later(struct client *c, const char *line, struct routed *item)
{
    double limit = c->options->stall_s * ROUTE_RETRY_SHARE * clock_rate();
    if ((double)(c->now - item->written) > limit)
        return false;
    measurement_error(c->m, line);
    c->m->retried++;
    item->redirects = 0;
    item->again = c->now + (uint64_t)(ROUTE_RETRY_PAUSE_MS * clock_rate() / 1000);
    if (!queue_put(&c->route->later, item))
        fail(c, no_memory);
    return true;
}

// An error reply that is no end of the request: true when it goes on elsewhere, or later.
static bool goes_on(struct client *c, struct connection *k, struct routed *item)
{
    struct route *route = c->route;
    const char *line = k->scanner.line;
    unsigned node;
    enum cluster_redirect kind = cluster_redirect(&route->map, line, k->to, &node);
    if (kind == CLUSTER_NONE)
        return (begins(line, "-TRYAGAIN ") || begins(line, "-CLUSTERDOWN ")) &&
               try_later(c, line, item);
    // ASKING is for one command. A request of several waits until its slot has moved.
    if (kind == CLUSTER_ASK && several(c, item->request))
        return try_later(c, line, item);
    if (item->redirects == ROUTE_REDIRECTS_MAX)
        return false;
    item->redirects++;
    item->way = kind == CLUSTER_ASK ? WAY_ASK : WAY_PLAIN;
    if (kind == CLUSTER_MOVED) // the key may be another word than we thought
        item->slot = (uint16_t)strtoul(line + sizeof("-MOVED ") - 1, NULL, 10);
    c->m->moved += kind == CLUSTER_MOVED;
    c->m->asked += kind == CLUSTER_ASK;
    if (!add_nodes(c) || !queue_put_first(&route->nodes[node].queue, item))
        fail(c, no_memory);
    return true;
}

static void count(struct client *c, struct connection *k, struct routed *item, enum reply_kind kind,
                  size_t bytes)
{
    struct measurement *m = c->m;
    struct measurement_part *part = &m->nodes[c->route->nodes[k->node].part];
    uint64_t latency = clock_ns(c->now - (c->open_loop ? item->meant : item->written));
    m->kinds[kind]++;
    m->requests++;
    histogram_record(c->latency, latency, 1);
    if (c->open_loop)
        histogram_record(&m->service, clock_ns(c->now - item->written), 1);
    count_part(part, kind, bytes, latency);
    if (c->by_command)
        count_part(&m->commands[item->request.command], kind, bytes, latency);
    c->waiting--;
    block_release(item->bytes);
}

// Takes all replies that have come. False when the connection is of no more use.
static bool take_replies(struct client *c, struct connection *k)
{
    struct stream *s = k->stream;
    uint32_t mask = (uint32_t)c->route->ring - 1;
    while (s->in_len > 0) {
        const uint8_t *data = s->in;
        size_t len = s->in_len, at = 0;
        if (k->waiting == 0) {
            client_unasked(c, k);
            return false;
        }
        while (at < len && k->waiting > 0) {
            size_t used;
            struct routed *item = &k->routed[k->next & mask];
            enum reply_kind kind =
                protocol_scan(&c->protocol, &k->scanner, item->request, data + at, len - at, &used);
            at += used;
            if (kind == REPLY_MORE)
                break;
            k->next++;
            k->waiting--;
            if (kind == REPLY_BROKEN) {
                client_count_odd(c, k, item->request, kind);
                return false;
            }
            if (item->way == WAY_ASKING || (kind == REPLY_ERROR && goes_on(c, k, item)))
                continue;
            if (kind >= REPLY_ERROR)
                client_count_odd(c, k, item->request, kind);
            count(c, k, item, kind, used);
        }
        c->m->bytes_in += at;
        stream_consume(s, (uint32_t)at);
    }
    return true;
}

void route_receive(struct client *c, struct connection *k)
{
    unlist(c, k);
    if (!take_replies(c, k))
        return;
    if (c->churn && !k->left && !k->waiting)
        client_reopen(c, k);
    else
        list(c, k);
}

// --- a job ---------------------------------------------------------------------------------------

// Commands that are sent together must go to the same node. Looks at one of them, and leaves no
// trace.
static bool stays_together(struct client *c, struct request r, const char *name)
{
    struct template *t = &c->protocol.commands[r.command], before = *t;
    struct block *bytes = several(c, r) ? write_aside(c, r) : NULL;
    unsigned first = SLOTS;
    bool together = true;
    for (size_t at = 0; bytes && at < bytes->len;) {
        unsigned slot = slot_of_bytes(bytes, &at);
        together = together && (first == SLOTS || slot == SLOTS || slot == first);
        first = first == SLOTS ? slot : first;
    }
    block_release(bytes);
    *t = before;
    if (!together) {
        char text[MEASUREMENT_TEXT_MAX];
        snprintf(text, sizeof(text),
                 "--cluster: the commands of %.100s are sent together, but their keys are in "
                 "different slots; give the keys a common {{hash tag}}",
                 name);
        fail(c, text);
    }
    return !c->error[0];
}

bool route_prepare(struct client *c, const struct preset *test, struct measurement *m)
{
    struct route *route = c->route;
    for (unsigned i = 0; i < route->n; i++) {
        free_rings(c, &route->nodes[i]);
        queue_clear(&route->nodes[i].queue);
        route->nodes[i].blocked_until = 0;
    }
    queue_clear(&route->later);
    forget_held(route);
    route->pool_max = c->open_loop ? c->pipeline : 1;
    // Each request under way may have an ASKING before it.
    route->ring = 2;
    while (route->ring < 2 * (size_t)c->pipeline)
        route->ring *= 2;
    uint64_t batches = (uint64_t)c->n_connections * c->pipeline * ROUTE_QUEUE_BATCHES;
    route->queue_max = batches < ROUTE_QUEUE_MIN   ? ROUTE_QUEUE_MIN
                       : batches > ROUTE_QUEUE_MAX ? ROUTE_QUEUE_MAX
                                                   : (uint32_t)batches;
    for (unsigned i = 0; i < route->n; i++)
        if (!make_rings(c, &route->nodes[i], m))
            return false;
    for (unsigned i = 0; i < test->n; i++) {
        const struct request any = {.op = COMMAND_ANY, .command = i};
        if (test->commands[i].kind != COMMAND_ANY)
            continue;
        route->opaque[i] = protocol_slot(&c->protocol, any) == SLOTS;
        if (!stays_together(c, any, test->name))
            return false;
    }
    return true;
}

bool route_queued(const struct client *c)
{
    for (unsigned i = 0; i < c->route->n; i++)
        if (c->route->nodes[i].queue.n > 0)
            return true;
    return false;
}

void route_drop(struct client *c)
{
    struct route *route = c->route;
    for (unsigned i = 0; i < route->n; i++) {
        struct queue *queue = &route->nodes[i].queue;
        for (uint32_t n = queue->n; n > 0; n--) {
            struct routed item = queue_take(queue);
            if (item.written) {
                queue_put(queue, &item); // there is room: it was taken out
                continue;
            }
            if (c->open_loop) {
                histogram_record(c->latency, clock_ns(c->now - item.meant), 1);
                c->m->unsent++;
            }
            c->waiting--;
            block_release(item.bytes);
        }
    }
}
