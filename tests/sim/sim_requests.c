// Many connections with requests and replies over a bad wire, opened, closed, half closed and
// aborted at random by both sides. What arrives must be right as far as it arrives; at the end
// nothing is left: no connection, timer, byte of memory or frame.
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/wire.h"

enum { PORT = 6379, CONNECTIONS_MAX = 1024, REPLY_MAX = 40000 };

// A request is 8 bytes: an id and the length of the reply, whose bytes follow from both.
struct request {
    uint32_t id, len;
};

struct client {
    struct stream *stream;
    bool connected, closing;
    struct request open[16]; // asked and not yet answered in full
    unsigned first, count;
    uint32_t received; // of the first
};

struct session { // at the server
    uint8_t header[8];
    unsigned have;
    bool closing;
};

struct world {
    struct wire *wire;
    struct client clients[CONNECTIONS_MAX];
    unsigned n_clients, sessions;
    uint64_t requests, replies, closes, aborts, resets, refused;
    uint32_t next_id;
    uint64_t stop_us;
    const char *wrong;
};

static uint8_t reply_byte(const struct request *r, uint32_t at)
{
    uint32_t x = (r->id * 2654435761u) ^ at * 40503u ^ r->len;
    return (uint8_t)(x ^ x >> 11);
}

static uint64_t draw(struct world *w)
{
    return wire_random(&w->wire->rng);
}

static void client_ask(struct world *w, struct client *c)
{
    unsigned n = 1 + draw(w) % 4;
    while (n-- && c->count < 16) {
        struct request r = {.id = w->next_id++,
                            .len = 1 + (uint32_t)(draw(w) % (draw(w) % 16 ? 200 : REPLY_MAX - 1))};
        c->open[(c->first + c->count++) % 16] = r;
        out_write(&c->stream->out, &r, sizeof(r));
        w->requests++;
    }
    c->stream->ops->push(c->stream);
}

static void client_read(struct world *w, struct client *c)
{
    struct stream *s = c->stream;
    while (s->in_len) {
        if (!c->count) {
            w->wrong = "bytes that nobody asked for";
            return;
        }
        struct request *r = &c->open[c->first];
        uint32_t n = r->len - c->received;
        n = n < s->in_len ? n : s->in_len;
        for (uint32_t i = 0; i < n; i++)
            if (s->in[i] != reply_byte(r, c->received + i)) {
                w->wrong = "a wrong byte in a reply";
                return;
            }
        c->received += n;
        if (n)
            stream_consume(s, n);
        if (c->received == r->len) {
            c->received = 0;
            c->first = (c->first + 1) % 16;
            c->count--;
            w->replies++;
        }
    }
}

static void client_end(struct client *c)
{
    c->stream->ops->release(c->stream);
    *c = (struct client){0};
}

static void serve_clients(struct world *w, struct net *net)
{
    struct stream *ready[64];
    unsigned n;
    while ((n = net_ready(net, ready, 64))) {
        for (unsigned i = 0; i < n && !w->wrong; i++) {
            struct stream *s = ready[i];
            struct client *c = s->owner;
            unsigned events = s->events;
            s->events = 0;
            if (events & STREAM_CONNECTED)
                c->connected = true;
            client_read(w, c);
            if (events & STREAM_CLOSED) {
                if (s->error == STREAM_RESET)
                    w->resets++;
                client_end(c);
                continue;
            }
            if ((events & STREAM_EOF) && !c->closing) {
                c->closing = true;
                s->ops->close(s);
                continue;
            }
            if (c->closing || !c->connected)
                continue;
            uint64_t mood = draw(w) % 200;
            if (mood == 0) {
                w->aborts++;
                c->closing = true;
                s->ops->abort(s);
            } else if (mood == 1) {
                w->closes++;
                c->closing = true;
                s->ops->close(s);
            } else if (!c->count) {
                client_ask(w, c);
            }
        }
    }
    if (w->wire->now_us > w->stop_us) {
        for (unsigned i = 0; i < w->n_clients; i++) {
            struct client *c = &w->clients[i];
            if (c->stream && !c->closing && !c->count) {
                c->closing = true;
                c->stream->ops->close(c->stream);
            }
        }
        return;
    }
    for (unsigned i = 0; i < w->n_clients; i++) {
        struct client *c = &w->clients[i];
        if (c->stream || draw(w) % 50)
            continue;
        struct endpoint to;
        int error;
        wire_endpoint(w->wire, &to, 0, (uint16_t)(draw(w) % 100 ? PORT : PORT + 1));
        c->stream = net_connect(net, &to, &error);
        if (!c->stream) {
            w->refused++;
            continue;
        }
        c->stream->owner = c;
        c->stream->ops->keepalive(c->stream, 5); // the server's last RST may be lost
        if (draw(w) % 4 == 0)                    // written before the connection stands
            client_ask(w, c);
    }
}

static void session_read(struct world *w, struct stream *s, struct session *e)
{
    while (s->in_len && !e->closing) {
        uint32_t n = 8 - e->have;
        n = n < s->in_len ? n : s->in_len;
        memcpy(e->header + e->have, s->in, n);
        e->have += n;
        stream_consume(s, n);
        if (e->have < 8)
            continue;
        e->have = 0;
        struct request r;
        memcpy(&r, e->header, 8);
        if (r.len > REPLY_MAX) {
            w->wrong = "a wrong request";
            return;
        }
        uint32_t at = 0;
        while (at < r.len) {
            uint32_t part = r.len - at < 512 ? r.len - at : 512;
            uint8_t *p = out_room(&s->out, part);
            for (uint32_t i = 0; i < part; i++)
                p[i] = reply_byte(&r, at + i);
            s->out.pos += part;
            at += part;
        }
    }
    s->ops->push(s);
}

static void serve_server(struct world *w, struct net *net)
{
    struct stream *ready[64];
    unsigned n;
    while ((n = net_ready(net, ready, 64))) {
        for (unsigned i = 0; i < n && !w->wrong; i++) {
            struct stream *s = ready[i];
            unsigned events = s->events;
            s->events = 0;
            if (events & STREAM_ACCEPTED) {
                s->owner = calloc(1, sizeof(struct session));
                w->sessions++;
                s->ops->keepalive(s, 5);
            }
            struct session *e = s->owner;
            if (events & STREAM_CLOSED) {
                s->ops->release(s);
                free(e);
                w->sessions--;
                continue;
            }
            if (e->closing)
                continue;
            session_read(w, s, e);
            uint64_t mood = draw(w) % 400;
            if ((events & STREAM_EOF) || mood == 0) {
                e->closing = true;
                s->ops->close(s);
            } else if (mood == 1) {
                e->closing = true;
                s->ops->abort(s);
            }
        }
    }
}

static void serve(void *context, struct wire *wire, unsigned i)
{
    struct world *w = context;
    if (w->wrong)
        return;
    if (i == 0)
        serve_server(w, wire->net[0]);
    else
        serve_clients(w, wire->net[1]);
}

static bool run(uint64_t seed, unsigned clients, uint64_t seconds,
                const struct wire_conditions *conditions, unsigned frames, unsigned family)
{
    static struct world w;
    struct wire wire;
    struct net_config config = {
        .time_wait_max = 500, .half_open_max = 64, .addresses[0].family = (uint8_t)family};
    wire_init(&wire, seed, conditions, &config, frames);
    w = (struct world){.wire = &wire, .n_clients = clients};
    w.stop_us = wire.now_us + seconds * 1000000;
    net_listen(wire.net[0], PORT, 128);
    uint64_t end = w.stop_us + 1200ull * 1000000; // until neighbours are forgotten
    while (!w.wrong && wire.now_us < end) {
        for (unsigned i = 0; i < 2; i++)
            wire_turn(&wire, i, serve, &w);
        uint64_t before = wire.now_us;
        bool more = wire_step(&wire);
        if (wire.now_us > before + 1000 && before < w.stop_us)
            wire.now_us = before + 1000; // clients think, and come again
        else if (!more)
            wire.now_us = before + 1000000;
    }
    for (unsigned i = 0; i < clients && !w.wrong; i++)
        if (w.clients[i].stream) {
            struct stream_info info;
            w.clients[i].stream->ops->info(w.clients[i].stream, &info);
            printf("client %u: %s, closing %u, asked %u, unread %" PRIu64 ", unsent %" PRIu64
                   ", unacknowledged %" PRIu64 "\n",
                   i, info.state, w.clients[i].closing, w.clients[i].count, info.unread,
                   info.unsent, info.unacked);
            w.wrong = "a client that never ended";
        }
    if (!w.wrong && w.sessions)
        w.wrong = "a session that never ended";
    for (int i = 0; i < 2 && !w.wrong; i++) {
        if (net_connection_count(wire.net[i]) || net_memory(wire.net[i]))
            w.wrong = "connections or memory left";
        if (net_next_timer(wire.net[i]) != UINT64_MAX)
            w.wrong = "a timer left";
    }
    unsigned leaked = wire_free(&wire);
    if (leaked && !w.wrong)
        w.wrong = "frames leaked";
    if (!w.wrong && !conditions->loss && w.replies < clients)
        w.wrong = "hardly anything happened";
    printf("seed %" PRIu64 ": %" PRIu64 " requests, %" PRIu64 " replies, %" PRIu64
           " closed, %" PRIu64 " aborted, %" PRIu64 " reset%s%s\n",
           seed, w.requests, w.replies, w.closes, w.aborts, w.resets, w.wrong ? " FAILED: " : "",
           w.wrong ? w.wrong : "");
    return !w.wrong;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, last = 1, seconds = 2;
    unsigned clients = 200, frames = 50000, family = 4;
    struct wire_conditions conditions = {.delay_us = 100, .jitter_us = 100};
    static const struct option options[] = {{"seeds", 1, 0, 's'},
                                            {"clients", 1, 0, 'n'},
                                            {"seconds", 1, 0, 't'},
                                            {"loss", 1, 0, 'l'},
                                            {"reorder", 1, 0, 'r'},
                                            {"duplicate", 1, 0, 'd'},
                                            {"corrupt", 1, 0, 'c'},
                                            {"frames", 1, 0, 'f'},
                                            {"family", 1, 0, 'F'},
                                            {"port", 1, 0, 'p'},
                                            {0}};
    for (int k; (k = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint32_t parts = optarg ? (uint32_t)(strtod(optarg, NULL) * 10000) : 0;
        switch (k) {
        case 's':
            if (sscanf(optarg, "%" SCNu64 "-%" SCNu64, &first, &last) == 1)
                last = first;
            break;
        case 'n':
            clients = (unsigned)strtoul(optarg, NULL, 10);
            clients = clients < CONNECTIONS_MAX ? clients : CONNECTIONS_MAX;
            break;
        case 't':
            seconds = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            frames = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'F':
            family = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            conditions.port_frames = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'l':
            conditions.loss = parts;
            break;
        case 'r':
            conditions.reorder = parts;
            break;
        case 'd':
            conditions.duplicate = parts;
            break;
        case 'c':
            conditions.corrupt = parts;
            break;
        default:
            return 2;
        }
    }
    unsigned failed = 0;
    for (uint64_t seed = first; seed <= last; seed++)
        failed += !run(seed, clients, seconds, &conditions, frames, family);
    return failed != 0;
}
