#include "bench/pubsub.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "bench/transport.h"

#define READY_MAX 256
#define REST_US 1000   // how long a turn without work may wait
#define DRAIN_S 2.0    // without a message, and those that are missing are lost
#define REPLY_MAX 24   // ":N\r\n"
#define CHANNEL_MAX 32 // "channel:000000"

struct peer {
    struct stream *stream;
    bool subscriber, ready;
    unsigned channel;
    uint64_t awaited; // bytes of greetings that are still to come
    uint64_t bytes;   // subscriber: of messages
    unsigned waiting; // publisher: replies
    unsigned next;    // publisher: the channel it publishes to next
    char reply[REPLY_MAX];
    unsigned reply_len;
};

struct load {
    const struct options *o;
    struct transport *transport;
    struct peer *all;
    unsigned n, n_ready, n_closed;
    size_t message_len; // as it arrives
    char *publish;      // of channel 0; the digits at `digits` are changed for others
    size_t publish_len, digits;
    uint64_t published, receivers, delivered_bytes;
    bool over; // nothing more is sent
    const char *error;
};

static size_t channel_name(char *to, unsigned number)
{
    return (size_t)snprintf(to, CHANNEL_MAX, "channel:%06u", number);
}

static void send_bytes(struct peer *p, const void *data, size_t len)
{
    out_write(&p->stream->out, data, len);
}

static void send_word(struct peer *p, const char *word)
{
    char head[REPLY_MAX];
    send_bytes(p, head, (size_t)snprintf(head, sizeof(head), "$%zu\r\n", strlen(word)));
    send_bytes(p, word, strlen(word));
    send_bytes(p, "\r\n", 2);
}

static void greet(struct load *l, struct peer *p)
{
    char name[CHANNEL_MAX];
    size_t len = channel_name(name, p->channel);
    p->awaited = 0;
    if (l->o->password) {
        send_bytes(p, l->o->user ? "*3\r\n" : "*2\r\n", 4);
        send_word(p, "AUTH");
        if (l->o->user)
            send_word(p, l->o->user);
        send_word(p, l->o->password);
        p->awaited += strlen("+OK\r\n");
    }
    if (p->subscriber) {
        send_bytes(p, "*2\r\n", 4);
        send_word(p, "SUBSCRIBE");
        send_word(p, name);
        p->awaited += strlen("*3\r\n$9\r\nsubscribe\r\n$14\r\n\r\n:1\r\n") + len;
    }
    if (!p->awaited) {
        p->ready = true;
        l->n_ready++;
    }
    p->stream->ops->push(p->stream);
}

static void publish(struct load *l, struct peer *p)
{
    char name[CHANNEL_MAX];
    while (!l->over && p->waiting < l->o->pipeline) {
        size_t len = channel_name(name, p->next);
        memcpy(l->publish + l->digits, name, len);
        p->next = (p->next + 1) % l->o->channels;
        send_bytes(p, l->publish, l->publish_len);
        p->waiting++;
    }
    p->stream->ops->push(p->stream);
}

// One reply: how many the message went to.
static void answered(struct load *l, struct peer *p)
{
    p->reply[p->reply_len] = '\0';
    if (p->reply[0] != ':') {
        l->error = "the server does not take PUBLISH; redis-cli PUBLISH a b tells why";
        return;
    }
    l->published++;
    l->receivers += strtoull(p->reply + 1, NULL, 10);
    p->waiting--;
    p->reply_len = 0;
}

static void take_replies(struct load *l, struct peer *p, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len && !l->error; i++) {
        if (p->reply_len < REPLY_MAX - 1)
            p->reply[p->reply_len++] = (char)data[i];
        if (data[i] == '\n')
            answered(l, p);
    }
    publish(l, p);
}

static void take(struct load *l, struct peer *p)
{
    struct stream *s = p->stream;
    while (s->in_len && !l->error) {
        const uint8_t *data = s->in;
        size_t len = s->in_len;
        if (!p->ready) {
            if (data[0] == '-')
                l->error = "the server refuses the connection, AUTH or SUBSCRIBE";
            if (len > p->awaited)
                len = p->awaited;
            p->awaited -= len;
            p->ready = !p->awaited;
            l->n_ready += p->ready;
        } else if (p->subscriber) {
            p->bytes += len;
            l->delivered_bytes += len;
        } else {
            take_replies(l, p, data, len);
        }
        stream_consume(s, (uint32_t)len);
    }
}

static void handle(struct load *l, struct stream *s)
{
    struct peer *p = s->owner;
    uint16_t events = s->events;
    s->events = 0;
    if (!p)
        return;
    if (events & (STREAM_CLOSED | STREAM_EOF)) {
        l->n_closed++;
        if (!p->ready || !p->subscriber)
            l->error = "the server closed a connection";
        if (events & STREAM_CLOSED) {
            s->owner = NULL;
            p->stream = NULL;
            s->ops->release(s);
        }
        return;
    }
    if (events & STREAM_CONNECTED)
        greet(l, p);
    take(l, p);
}

static bool turn(struct load *l)
{
    struct stream *ready[READY_MAX];
    unsigned n = l->transport->ops->begin(
        l->transport, l->o->transport == BENCH_SOCKET ? REST_US : 0, ready, READY_MAX);
    for (unsigned i = 0; i < n; i++)
        handle(l, ready[i]);
    l->transport->ops->end(l->transport);
    return n > 0;
}

static bool connect_all(struct load *l, const bool volatile *stop)
{
    const struct options *o = l->o;
    uint64_t until = clock_ns_of_system() + (uint64_t)(o->stall_s * 1e9);
    for (unsigned i = 0; i < l->n; i++) {
        struct peer *p = &l->all[i];
        int error = 0;
        p->subscriber = i < o->connections;
        p->channel = i % o->channels;
        p->next = i % o->channels;
        p->stream = l->transport->ops->connect(l->transport, &o->server, &error);
        if (!p->stream) {
            l->error = "a connection cannot be opened";
            return false;
        }
        p->stream->owner = p;
        if (i % 64 == 63)
            turn(l);
    }
    while (l->n_ready < l->n && !l->error && !*stop) {
        turn(l);
        if (clock_ns_of_system() > until)
            l->error = "the server does not answer (--stall)";
    }
    return !l->error && !*stop;
}

// The request for one message, and how long it is when it arrives.
static bool make_message(struct load *l)
{
    size_t data = l->o->data.low, room = data + 128;
    char name[CHANNEL_MAX], *text = malloc(room);
    if (!text)
        return false;
    size_t len = channel_name(name, 0);
    int n = snprintf(text, room, "*3\r\n$7\r\nPUBLISH\r\n$%zu\r\n", len);
    l->digits = (size_t)n;
    n += snprintf(text + n, room - (size_t)n, "%s\r\n$%zu\r\n", name, data);
    memset(text + n, 'x', data);
    memcpy(text + (size_t)n + data, "\r\n", 2);
    l->publish = text;
    l->publish_len = (size_t)n + data + 2;
    l->message_len = l->publish_len; // "message" is as long as "PUBLISH"
    return true;
}

static uint64_t total(const struct load *l)
{
    return l->delivered_bytes / l->message_len;
}

static void run_for(struct load *l, double seconds, const bool volatile *stop)
{
    uint64_t until = clock_ns_of_system() + (uint64_t)(seconds * 1e9);
    while (clock_ns_of_system() < until && !l->error && !*stop)
        turn(l);
}

// What was published arrives, or does not.
static void drain(struct load *l, const bool volatile *stop)
{
    uint64_t last = clock_ns_of_system(), seen = l->delivered_bytes;
    bool waiting = true;
    while ((waiting || total(l) < l->receivers) && !l->error && !*stop) {
        turn(l);
        waiting = false;
        for (unsigned i = l->o->connections; i < l->n; i++)
            waiting |= l->all[i].waiting > 0;
        if (l->delivered_bytes != seen) {
            seen = l->delivered_bytes;
            last = clock_ns_of_system();
        } else if ((double)(clock_ns_of_system() - last) > DRAIN_S * 1e9) {
            return;
        }
    }
}

static void tell(const struct load *l, FILE *to, double seconds, uint64_t delivered,
                 uint64_t published, uint64_t lost)
{
    const struct options *o = l->o;
    double rate = (double)delivered / seconds;
    if (o->json)
        fprintf(
            to,
            "{\"test\": \"pubsub\", \"transport\": \"%s\", \"subscribers\": %u, \"channels\": %u, "
            "\"publishers\": %u, \"pipeline\": %u, \"data_size\": %u, \"seconds\": %.3f, "
            "\"published\": %llu, \"delivered\": %llu, \"lost\": %llu, \"closed\": %u, "
            "\"delivered_per_second\": %.0f}\n",
            o->transport == BENCH_DPDK ? "dpdk" : "socket", o->connections, o->channels,
            o->publishers, o->pipeline, o->data.low, seconds, (unsigned long long)published,
            (unsigned long long)delivered, (unsigned long long)lost, l->n_closed, rate);
    else
        fprintf(to,
                "pubsub       %.0f messages/s delivered to %u subscribers of %u channel%s; %.0f/s "
                "published by %u (pipeline %u, %u bytes), %llu lost, %u connections closed\n",
                rate, o->connections, o->channels, o->channels == 1 ? "" : "s",
                (double)published / seconds, o->publishers, o->pipeline, o->data.low,
                (unsigned long long)lost, l->n_closed);
}

static int run(struct load *l, const bool volatile *stop, FILE *to)
{
    if (connect_all(l, stop)) {
        for (unsigned i = l->o->connections; i < l->n; i++)
            publish(l, &l->all[i]);
        l->transport->ops->end(l->transport);
        run_for(l, l->o->warmup_s, stop);
        uint64_t begin = clock_ns_of_system(), delivered = total(l), published = l->published;
        run_for(l, l->o->duration_s, stop);
        double seconds = (double)(clock_ns_of_system() - begin) / 1e9;
        delivered = total(l) - delivered;
        published = l->published - published;
        l->over = true;
        drain(l, stop);
        uint64_t lost = l->receivers > total(l) ? l->receivers - total(l) : 0;
        if (!l->error)
            tell(l, to, seconds, delivered, published, lost);
    }
    if (l->error)
        fprintf(stderr, "pollux-bench: --pubsub: %s\n", l->error);
    return l->error != NULL;
}

static void pin(const struct options *o)
{
    cpu_set_t set;
    if (!o->n_cpus)
        return;
    CPU_ZERO(&set);
    CPU_SET(o->cpus[0], &set);
    pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

int pubsub_run(const struct options *o, const bool volatile *stop, FILE *to)
{
    char error[512] = "out of memory";
    struct load l = {.o = o, .n = o->connections + o->publishers};
    struct devices *devices = NULL;
    int code = 1;
    clock_rate();
    pin(o);
    l.all = calloc(l.n, sizeof(*l.all));
    bool ok = l.all && make_message(&l);
    if (ok && o->transport == BENCH_DPDK)
        ok = (devices = devices_open(o, error, sizeof(error)));
    if (ok)
        l.transport = devices ? transport_nic_open(devices, o, 0, error, sizeof(error))
                              : transport_socket_open(o, error, sizeof(error));
    if (l.transport && o->tls)
        l.transport = transport_tls_open(l.transport, o, error, sizeof(error));
    if (l.transport) {
        code = run(&l, stop, to);
        l.transport->ops->close(l.transport);
    } else {
        fprintf(stderr, "pollux-bench: %s\n", error);
    }
    if (devices)
        devices_close(devices);
    free(l.publish);
    free(l.all);
    return code;
}
