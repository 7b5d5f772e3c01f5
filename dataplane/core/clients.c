// Connections: from the accepted stream to the last reply, in order, within limits.
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/core/access.h"
#include "dataplane/core/addresses.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/client_memory.h"
#include "dataplane/core/monitor.h"
#include "dataplane/core/publish.h"
#include "dataplane/core/tracking.h"
#include "dataplane/core/transaction.h"
#include "dataplane/core/watch.h"

// Clients looked at in one round of the cron (every 100 ms), at least; a tenth of all otherwise.
#define CRON_CLIENTS_MIN 32

// What a client was told within commands, until they are done.
struct told {
    struct told *next;
    struct client *client; // NULL: it went away
    struct outbuf out;
};

// A connection that has sent nothing for so long is asked whether it is still there.
#define CHECK_SILENT_US 200000
// A connection that has sent nothing for so long gives back the memory that it reads into.
#define SHRINK_IDLE_US 2000000

// Freed so, it is worth while to give pages back to the system.
#define COLLECT_BYTES (8u << 20)

static bool loopback(const struct endpoint *e)
{
    static const uint8_t one[16] = {[15] = 1};
    if (e->family == 4)
        return e->addr[0] == 127;
    return e->family == 0 || memcmp(e->addr, one, 16) == 0;
}

// A bypassed NIC has no loopback: there the on-link prefix is what counts as near.
static bool near_by(const struct core *c, const struct endpoint *e)
{
    if (!e->family) // a UNIX socket
        return true;
    return c->server->dpdk ? addresses_near(&c->server->net_config, e) : loopback(e);
}

static void refuse(struct core *c, struct stream *s, const char *why)
{
    c->counters.connections_rejected++;
    out_write(&s->out, why, strlen(why));
    s->ops->push(s);
    s->ops->close(s);
}

static struct client *client_new(struct core *c)
{
    struct client *client = mi_zalloc(sizeof(*client));
    if (!client)
        return NULL;
    client->id = atomic_fetch_add(&c->server->next_client_id, 1) + 1;
    client->home = (uint8_t)c->index;
    client->resp = 2;
    client->created_us = client->last_active_us = c->now_us;
    parser_init(&client->parser);
    outbuf_init(&client->internal_out);
    return client;
}

static void client_accept(struct core *c, struct stream *s)
{
    struct stream_info info = {0};
    s->ops->info(s, &info);
    if (atomic_load_explicit(&c->server->clients, memory_order_relaxed) >= c->settings.maxclients) {
        refuse(c, s, "-ERR max number of clients reached\r\n");
        return;
    }
    if (c->settings.protected_mode && c->nopass && !near_by(c, &info.remote)) {
        refuse(c, s,
               "-DENIED Pollux is in protected mode: it has no password, so it answers local "
               "connections only. Set requirepass, or turn protected-mode off (CONFIG SET "
               "protected-mode no from this machine, or in the configuration file) if everyone who "
               "can reach this address may use it.\r\n");
        return;
    }
    struct client *client = client_new(c);
    if (!client) {
        s->ops->abort(s);
        return;
    }
    client->stream = s;
    s->owner = client;
    client->local = info.local;
    client->remote = info.remote;
    access_client_default(c, client);
    if (info.remote.family == 0)
        client->flags |= CLIENT_UNIX;
    if (loopback(&info.remote))
        client->flags |= CLIENT_LOOPBACK;
    client->next = c->clients;
    if (c->clients)
        c->clients->prev = client;
    c->clients = client;
    c->n_clients++;
    atomic_fetch_add_explicit(&c->server->clients, 1, memory_order_relaxed);
    c->counters.connections_received++;
    if (c->settings.tcp_keepalive_s)
        s->ops->keepalive(s, c->settings.tcp_keepalive_s);
}

struct client *client_internal(struct core *c)
{
    struct client *client = client_new(c);
    if (!client)
        return NULL;
    client->flags = CLIENT_INTERNAL;
    client->internal = true;
    client->resp = 3;
    client->authenticated = true;
    return client;
}

// The stream is closed. Replies under way find nobody; the struct goes at the end of the turn.
static void client_lost(struct core *c, struct client *client)
{
    if (client->stream) {
        client->stream->ops->release(client->stream);
        client->stream = NULL;
    }
    if (client->flags & CLIENT_GONE)
        return;
    client->flags |= CLIENT_GONE;
    for (struct reply_slot *slot = client->first_reply; slot; slot = slot->next) {
        slot->client = NULL;
        atomic_store_explicit(&slot->reader, READER_LOST, memory_order_relaxed);
    }
    // Slots that are done have no one else to free them.
    struct reply_slot *slot = client->first_reply;
    client->first_reply = client->last_reply = NULL;
    for (struct reply_slot *next; slot; slot = next) {
        next = slot->next;
        if (slot->done) {
            outbuf_clear(&slot->out);
            mi_free(slot);
        }
    }
    if (client->waiter) {
        blocked_cancel(c, client->waiter);
        client->waiter = NULL;
    }
    transaction_forget(c, client);
    if (client->flags & CLIENT_MONITOR)
        monitor_end(c, client);
    publish_forget(c, client);
    tracking_forget(c, client);
    if (client->told)
        client->told->client = NULL;
    if (!(client->flags & CLIENT_INTERNAL)) {
        if (client->prev)
            client->prev->next = client->next;
        else
            c->clients = client->next;
        if (client->next)
            client->next->prev = client->prev;
        if (c->cron_client == client)
            c->cron_client = client->next;
        client_unweigh(c, client);
        c->n_clients--;
        atomic_fetch_sub_explicit(&c->server->clients, 1, memory_order_relaxed);
    }
    client->next = c->gone;
    c->gone = client;
}

// It sends no more. What it sent is answered: it may be a script that closed its side only.
static void client_ends(struct client *client)
{
    client->flags |= CLIENT_EOF;
    for (struct reply_slot *slot = client->first_reply; slot; slot = slot->next)
        if (!slot->discard)
            atomic_store_explicit(&slot->reader, READER_LEAVING, memory_order_relaxed);
}

void client_event(struct core *c, struct stream *s)
{
    if (__builtin_expect(c->migrations != NULL, 0) && migrate_event(c, s))
        return;
    uint16_t events = s->events;
    s->events = 0;
    if (events & STREAM_ACCEPTED)
        client_accept(c, s);
    struct client *client = s->owner;
    if (!client) {
        if (events & STREAM_CLOSED)
            s->ops->release(s);
        return;
    }
    if (events & STREAM_CLOSED) {
        client_lost(c, client);
        return;
    }
    if (events & STREAM_EOF)
        client_ends(client);
    if (events & STREAM_WRITABLE)
        client->flags &= ~CLIENT_OUT_FULL;
    if (events & STREAM_READABLE) {
        client->last_active_us = c->now_us;
        c->counters.reads++;
    }
    if (events & STREAM_EOF && (client->waiter || client->flags & CLIENT_POSTPONED)) {
        client_close(c, client); // commands behind the one that waits would never run
        return;
    }
    if (events & (STREAM_READABLE | STREAM_EOF | STREAM_WRITABLE))
        client_queue(c, client);
}

void client_queue(struct core *c, struct client *client)
{
    if (client->flags & (CLIENT_QUEUED | CLIENT_GONE) || !client->stream)
        return;
    if (client->stream->in_len == 0 && !(client->flags & CLIENT_EOF))
        return;
    client->flags |= CLIENT_QUEUED;
    client->next_queued = NULL;
    if (c->queue_last)
        c->queue_last->next_queued = client;
    else
        c->queue_first = client;
    c->queue_last = client;
}

void client_push(struct core *c, struct client *client)
{
    if (client->flags & (CLIENT_TO_PUSH | CLIENT_GONE))
        return;
    client->flags |= CLIENT_TO_PUSH;
    client->next_push = c->push_first;
    c->push_first = client;
}

void client_close(struct core *c, struct client *client)
{
    client->flags |= CLIENT_CLOSE_AFTER_REPLY;
    if (client->waiter) // what it waits for is not waited for
        blocked_cancel(c, client->waiter);
    client_push(c, client);
}

const char *client_address(struct core *c, const struct endpoint *e, char *text)
{
    const char *path = config_string(c->config, "unixsocket");
    if (e->family || !*path)
        return endpoint_format(e, text);
    snprintf(text, CLIENT_ADDRESS_MAX, "%s:%u", path, e->port);
    return text;
}

void client_abort(struct core *c, struct client *client, const char *why)
{
    char address[CLIENT_ADDRESS_MAX];
    if (client->flags & (CLIENT_CLOSING | CLIENT_GONE))
        return;
    log_warning("Client id=%lu addr=%s is closed: %s", (unsigned long)client->id,
                client_address(c, &client->remote, address), why);
    client->flags |= CLIENT_CLOSING;
    if (client->stream)
        client->stream->ops->abort(client->stream);
    else
        client_push(c, client);
}

static struct out *client_stream_out(struct client *client)
{
    return client->stream ? &client->stream->out : &client->internal_out.out;
}

// After each command: what CLIENT REPLY SKIP asked for moves on.
void client_reply_mode_next(struct client *client)
{
    if (__builtin_expect(
            !(client->flags & (CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT | CLIENT_CACHING)), 1))
        return;
    if (client->flags & CLIENT_CACHING)
        tracking_next(client);
    bool next = client->flags & CLIENT_REPLY_SKIP_NEXT;
    client->flags &= ~(CLIENT_REPLY_SKIP | CLIENT_REPLY_SKIP_NEXT);
    if (next)
        client->flags |= CLIENT_REPLY_SKIP;
}

static struct reply_slot to_sink; // stands for "the client wants no reply"

struct out *client_out(struct core *c, struct client *client, struct reply_slot **slot)
{
    *slot = NULL;
    if (__builtin_expect(client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP), 0)) {
        outbuf_clear(&c->sink);
        *slot = &to_sink;
        return &c->sink.out;
    }
    if (__builtin_expect(!client->first_reply, 1))
        return client_stream_out(client);
    *slot = client_expect(c, client);
    if (*slot)
        return &(*slot)->out.out;
    client_abort(c, client, "out of memory");
    *slot = &to_sink;
    outbuf_clear(&c->sink);
    return &c->sink.out;
}

void client_replied(struct core *c, struct client *client, struct reply_slot *slot)
{
    if (__builtin_expect(slot == &to_sink, 0)) {
        // CLIENT REPLY ON speaks again, its own reply included.
        if (!(client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP))) {
            struct reply_slot *real;
            struct out *out = client_out(c, client, &real);
            outbuf_move(&c->sink, out);
            client_replied(c, client, real);
        } else {
            outbuf_clear(&c->sink);
        }
        client_reply_mode_next(client);
        client_push(c, client);
        return;
    }
    client_reply_mode_next(client);
    if (slot)
        client_complete(c, slot);
    else
        client_push(c, client);
}

struct reply_slot *client_expect(struct core *c, struct client *client)
{
    (void)c;
    struct reply_slot *slot = mi_malloc(sizeof(*slot));
    if (!slot)
        return NULL;
    *slot = (struct reply_slot){.client = client};
    slot->discard = client->flags & (CLIENT_REPLY_OFF | CLIENT_REPLY_SKIP);
    atomic_init(&slot->reader, slot->discard                ? READER_GONE
                               : client->flags & CLIENT_EOF ? READER_LEAVING
                                                            : READER_THERE);
    outbuf_init(&slot->out);
    if (client->last_reply)
        client->last_reply->next = slot;
    else
        client->first_reply = slot;
    client->last_reply = slot;
    client->replies_waiting++;
    return slot;
}

// Hands on what is in order. The client whose replies are all out, or NULL.
static struct client *deliver(struct core *c, struct reply_slot *slot)
{
    struct client *client = slot->client;
    slot->done = true;
    if (!client) {
        outbuf_clear(&slot->out);
        mi_free(slot);
        return NULL;
    }
    while (client->first_reply && client->first_reply->done) {
        struct reply_slot *first = client->first_reply;
        client->first_reply = first->next;
        if (!first->next)
            client->last_reply = NULL;
        client->replies_waiting--;
        if (first->discard)
            outbuf_clear(&first->out);
        else
            outbuf_move(&first->out, client_stream_out(client));
        mi_free(first);
        client_push(c, client);
    }
    if (client->first_reply || client->flags & CLIENT_GONE)
        return NULL;
    client->flags &= ~(CLIENT_BARRIER | CLIENT_PUBLISH);
    return client;
}

void client_complete(struct core *c, struct reply_slot *slot)
{
    struct client *client = deliver(c, slot);
    if (client)
        route_pending(c, client);
}

void client_complete_later(struct core *c, struct reply_slot *slot)
{
    struct client *client = deliver(c, slot);
    if (client)
        route_later(c, client);
}

static struct out *tell_later(struct core *c, struct client *client)
{
    struct told *told = client->told;
    if (told)
        return &told->out.out;
    told = mi_malloc(sizeof(*told));
    if (!told) {
        client_abort(c, client, "out of memory");
        return NULL;
    }
    *told = (struct told){.client = client};
    outbuf_init(&told->out);
    client->told = told;
    if (c->told_last)
        c->told_last->next = told;
    else
        c->told_first = told;
    c->told_last = told;
    c->observed = true; // looked at behind each command: parked_serve
    return &told->out.out;
}

struct out *client_tell(struct core *c, struct client *client, struct reply_slot **slot)
{
    *slot = NULL;
    if (client->flags & (CLIENT_GONE | CLIENT_CLOSING | CLIENT_CLOSE_AFTER_REPLY))
        return NULL;
    if (c->executing || client->told)
        return tell_later(c, client);
    if (!client->first_reply || client->waiter)
        return client_stream_out(client);
    *slot = client_expect(c, client);
    if (!*slot) {
        client_abort(c, client, "out of memory");
        return NULL;
    }
    (*slot)->discard = false;
    return &(*slot)->out.out;
}

void client_told(struct core *c, struct client *client, struct reply_slot *slot)
{
    if (client->told) // clients_tell goes on with it
        return;
    if (slot)
        deliver(c, slot); // something stands before it, so that nothing goes on
    else
        client_push(c, client);
}

void clients_tell(struct core *c)
{
    struct told *told = c->told_first;
    c->told_first = c->told_last = NULL;
    core_observe(c);
    for (struct told *next; told; told = next) {
        struct client *client = told->client;
        next = told->next;
        struct reply_slot *slot;
        struct out *out = NULL;
        if (client) {
            client->told = NULL;
            out = client_tell(c, client, &slot);
        }
        if (out) {
            outbuf_move(&told->out, out);
            client_told(c, client, slot);
        }
        outbuf_clear(&told->out);
        mi_free(told);
    }
}

size_t client_told_bytes(const struct client *client)
{
    return client->told ? outbuf_size(&client->told->out) : 0;
}

// Limits of what waits for a client that reads slowly or not at all.
static bool output_in_bounds(struct core *c, struct client *client)
{
    struct stream *s = client->stream;
    const struct config_output_limit *limit =
        client->flags & CLIENT_PUBSUB    ? &c->settings.pubsub_limit
        : client->flags & CLIENT_MONITOR ? &c->settings.monitor_limit
                                         : &c->settings.output_limit;
    uint64_t unsent = s->ops->unsent(s) + client_told_bytes(client);
    if (limit->hard && unsent > limit->hard) {
        c->counters.output_limit_disconnections++;
        client_abort(c, client, "its output passed the hard limit of client-output-buffer-limit");
        return false;
    }
    if (!limit->soft || unsent <= limit->soft) {
        client->output_soft_since_us = 0;
    } else if (!client->output_soft_since_us) {
        client->output_soft_since_us = c->now_us;
    } else if (c->now_us - client->output_soft_since_us > limit->soft_seconds * 1000000ull) {
        c->counters.output_limit_disconnections++;
        client_abort(c, client,
                     "its output stayed above the soft limit of "
                     "client-output-buffer-limit for too long");
        return false;
    }
    // Where no limit would close it, a client that does not read is not read from either.
    if (unsent > STREAM_OUT_HIGH && !limit->hard && !limit->soft)
        client->flags |= CLIENT_OUT_FULL;
    return true;
}

void client_look_output(struct core *c, struct client *client)
{
    if (!client->stream || client->flags & CLIENT_CLOSING)
        return;
    client->stream->ops->push(client->stream);
    if (!output_in_bounds(c, client) && client->told)
        outbuf_clear(&client->told->out);
}

void clients_push(struct core *c)
{
    struct client *client = c->push_first;
    c->push_first = NULL;
    for (struct client *next; client; client = next) {
        next = client->next_push;
        client->flags &= ~CLIENT_TO_PUSH;
        if (client->flags & CLIENT_INTERNAL) {
            if (!client->first_reply && !client->first_pending) {
                control_replied(c, client);
                client_lost(c, client);
            }
            continue;
        }
        struct stream *s = client->stream;
        if (!s || client->flags & CLIENT_CLOSING)
            continue;
        if (s->out.failed) {
            client_abort(c, client, "out of memory for its output");
            continue;
        }
        s->ops->push(s);
        c->counters.writes++;
        if (__builtin_expect(c->settings.clients_max > 0, 0))
            client_weigh(c, client);
        if (!output_in_bounds(c, client))
            continue;
        if (client->flags & CLIENT_CLOSE_AFTER_REPLY && !client->first_reply) {
            client->flags |= CLIENT_CLOSING;
            // What was not read would turn the close into a reset, and lose replies on their way.
            while (s->in_len)
                stream_consume(s, s->in_len);
            s->ops->close(s);
        }
    }
}

static void unqueue(struct core *c, struct client *client)
{
    struct client *before = NULL;
    for (struct client *q = c->queue_first; q; before = q, q = q->next_queued) {
        if (q != client)
            continue;
        if (before)
            before->next_queued = q->next_queued;
        else
            c->queue_first = q->next_queued;
        if (c->queue_last == q)
            c->queue_last = before;
        return;
    }
}

static void unstarve(struct core *c, struct client *client)
{
    struct client *before = NULL;
    for (struct client *s = c->starved; s; before = s, s = s->next_starved) {
        if (s != client)
            continue;
        if (before)
            before->next_starved = s->next_starved;
        else
            c->starved = s->next_starved;
        if (c->last_starved == s)
            c->last_starved = before;
        return;
    }
}

void clients_bury(struct core *c)
{
    while (c->gone) {
        struct client *client = c->gone;
        c->gone = client->next;
        if (client->flags & CLIENT_QUEUED)
            unqueue(c, client);
        if (client->flags & CLIENT_STARVED)
            unstarve(c, client);
        if (client->flags & CLIENT_POSTPONED)
            attend_forget(c, client);
        while (client->first_pending) {
            struct message *m = client->first_pending;
            client->first_pending = m->next;
            message_free(m);
        }
        parser_clear(&client->parser);
        outbuf_clear(&client->internal_out);
        mi_free(client->name_long);
        access_client_free(client);
        mi_free(client);
    }
}

// The allocator keeps what was freed for whoever asks next; after a peak that may be long. Once the
// connections have shrunk it walks over its pages, which takes milliseconds where there are many.
static void give_back(struct core *c)
{
    struct client_weights *w = &c->weights;
    if (w->shrunk > COLLECT_BYTES && w->shrunk == w->shrunk_before) {
        mi_collect(true);
        w->shrunk = 0;
    }
    w->shrunk_before = w->shrunk;
}

// Once in each silence of a connection.
static void check(struct core *c, struct client *client)
{
    if (client->checked_us > client->last_active_us ||
        c->now_us - client->last_active_us < CHECK_SILENT_US)
        return;
    client->checked_us = c->now_us;
    if (client->stream->ops->check)
        client->stream->ops->check(client->stream);
}

void clients_cron(struct core *c)
{
    unsigned n = c->n_clients / 10 + CRON_CLIENTS_MIN;
    if (n > c->n_clients)
        n = c->n_clients;
    give_back(c);
    for (; n; n--) {
        struct client *client = c->cron_client ? c->cron_client : c->clients;
        if (!client)
            return;
        c->cron_client = client->next;
        if (!client->stream || client->flags & CLIENT_CLOSING)
            continue;
        if (c->now_us - client->last_active_us > SHRINK_IDLE_US) {
            size_t before = parser_memory(&client->parser);
            parser_shrink(&client->parser);
            c->weights.shrunk += before - parser_memory(&client->parser);
        }
        check(c, client);
        client_weigh(c, client);
        if (!output_in_bounds(c, client))
            continue;
        if (c->settings.timeout_us && !client->first_reply &&
            !(client->flags & (CLIENT_PUBSUB | CLIENT_POSTPONED)) &&
            c->now_us - client->last_active_us > c->settings.timeout_us) {
            log_verbose("Closing idle client");
            client_close(c, client);
        }
    }
}

bool clients_unsent(const struct core *c)
{
    for (const struct client *client = c->clients; client; client = client->next)
        if ((client->first_reply && !client->waiter) ||
            (client->stream && client->stream->ops->unsent(client->stream)))
            return true;
    return false;
}

void clients_end(struct core *c)
{
    while (c->clients) {
        struct client *client = c->clients;
        // What was handed to the kernel still arrives; what was not is cut off plainly.
        if (client->stream && client->stream->ops->unsent(client->stream))
            client->stream->ops->abort(client->stream);
        else if (client->stream)
            client->stream->ops->close(client->stream);
        client->stream = NULL; // the transport frees it when it ends
        client_lost(c, client);
    }
    c->push_first = NULL;
    clients_bury(c);
    outbuf_clear(&c->sink);
}
