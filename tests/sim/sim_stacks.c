// Several stacks behind one address, as a server with a queue for each core: a client opens
// connections, asks, is answered and closes, while the wire puts every frame on the queue of any
// stack. What the stacks send each other takes time, too, and is now and then refused. No
// connection may be reset or refused, no byte be lost, and at the end no stack may remember
// anything.
#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/internal.h"
#include "tests/sim/wire.h"

enum { PORT = 6379, CLIENT = 0, MAIL_DELAY_US = 300, REQUEST = 700, REPLY = 900, ROUNDS = 6 };

// How the wire chooses a queue.
enum spreading {
    BY_HASH,  // as the stacks believe
    BY_OTHER, // by another hash, but always the same for a flow
    AT_RANDOM,
};

struct mail {
    struct mail *next;
    struct net_mail mail;
    struct frame frame;
    uint64_t at_us;
    uint8_t bytes[];
};

struct conversation {
    struct stream *stream;
    unsigned asked, received; // requests; bytes of replies
    bool closed;
};

struct sim {
    struct wire wire; // must be first
    struct mail *first[WIRE_STACKS_MAX][WIRE_STACKS_MAX], *last[WIRE_STACKS_MAX][WIRE_STACKS_MAX];
    struct mail *taken[WIRE_STACKS_MAX]; // freed at the next turn
    enum spreading spreading;
    uint32_t refuse; // mails, per million
    unsigned servers, mails, refused;
    unsigned opened, done, total, open_max, outbound, accepted;
    unsigned half_open; // more are answered with SYN cookies
    bool server_closes;
    const char *wrong;
    uint64_t seed;
};

static struct sim *sim;

static struct context {
    unsigned i; // of the stack on the wire
} contexts[WIRE_STACKS_MAX];

static void fail(const char *why)
{
    if (!sim->wrong)
        sim->wrong = why;
}

static uint32_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ b * 0x9e3779b97f4a7c15) + 0xbf58476d1ce4e5b9;
    x ^= x >> 31;
    x *= 0x94d049bb133111eb;
    return (uint32_t)(x >> 32);
}

static unsigned hash_of(uint64_t salt, const uint8_t *server, uint16_t server_port,
                        const uint8_t *client, uint16_t client_port)
{
    uint32_t a, b;
    memcpy(&a, server, 4);
    memcpy(&b, client, 4);
    return mix((uint64_t)a << 32 | b, salt << 32 | (uint32_t)server_port << 16 | client_port);
}

static unsigned stack_of(void *context, const struct endpoint *local, const struct endpoint *remote)
{
    (void)context;
    return hash_of(1, local->addr, local->port, remote->addr, remote->port) % sim->servers;
}

static bool send_mail(void *context, unsigned to, const struct net_mail *mail)
{
    unsigned from = ((struct context *)context)->i - 1;
    struct wire *w = &sim->wire;
    if (mail->kind != NET_MAIL_END && wire_chance(&w->rng, sim->refuse)) {
        sim->refused++;
        return false;
    }
    uint32_t len = mail->frame ? mail->frame->len : 0;
    struct mail *m = malloc(sizeof(*m) + len);
    assert(m);
    *m = (struct mail){.mail = *mail, .at_us = w->now_us + wire_random(&w->rng) % MAIL_DELAY_US};
    if (mail->frame) {
        memcpy(m->bytes, mail->frame->data, len);
        m->frame = (struct frame){.data = m->bytes, .buffer = m->bytes, .len = len, .size = len};
        m->mail.frame = &m->frame;
    }
    struct mail *before = sim->last[from][to];
    if (before && sim->first[from][to] && before->at_us > m->at_us)
        m->at_us = before->at_us; // in order
    if (sim->first[from][to])
        before->next = m;
    else
        sim->first[from][to] = m;
    sim->last[from][to] = m;
    sim->mails++;
    return true;
}

static void configure(struct wire *w, unsigned i, struct net_config *c)
{
    contexts[i].i = i;
    if (i == CLIENT)
        return;
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 2};
    memcpy(c->mac, mac, 6);
    c->addresses[0] = (struct net_address){.family = 4, .prefix = 24, .addr = {10, 0, 0, 2}};
    memset(c->secret, (int)(sim->seed & 0xff), sizeof(c->secret));
    c->context = &contexts[i];
    c->stacks = sim->servers;
    c->stack = i - 1;
    c->stack_of = stack_of;
    c->send = send_mail;
    (void)w;
}

static unsigned place(struct wire *w, unsigned from, const uint8_t *data, uint32_t len)
{
    if (from != CLIENT)
        return CLIENT;
    if (sim->spreading == AT_RANDOM || len < 54 || data[12] != 8 || data[13] != 0)
        return 1 + (unsigned)(wire_random(&w->rng) % sim->servers);
    uint16_t to, by;
    memcpy(&by, data + 34, 2);
    memcpy(&to, data + 36, 2);
    return 1 + hash_of(sim->spreading == BY_HASH ? 1 : 2, data + 30, __builtin_bswap16(to),
                       data + 26, __builtin_bswap16(by)) %
                   sim->servers;
}

static void take_mails(unsigned i)
{
    while (sim->taken[i]) {
        struct mail *m = sim->taken[i];
        sim->taken[i] = m->next;
        free(m);
    }
    for (unsigned from = 0; from < sim->servers; from++) {
        struct mail *m;
        while ((m = sim->first[from][i - 1]) && m->at_us <= sim->wire.now_us) {
            sim->first[from][i - 1] = m->next;
            net_receive(sim->wire.net[i], &m->mail, sim->wire.now_us);
            m->next = sim->taken[i];
            sim->taken[i] = m;
        }
    }
}

static void next_mail(void)
{
    sim->wire.wake_us = UINT64_MAX;
    for (unsigned from = 0; from < sim->servers; from++)
        for (unsigned to = 0; to < sim->servers; to++)
            if (sim->first[from][to] && sim->first[from][to]->at_us < sim->wire.wake_us)
                sim->wire.wake_us = sim->first[from][to]->at_us;
}

static void ask(struct conversation *t)
{
    uint8_t bytes[REQUEST];
    memset(bytes, 'q', sizeof(bytes));
    out_write(&t->stream->out, bytes, sizeof(bytes));
    t->stream->ops->push(t->stream);
    t->asked++;
}

static void over(struct conversation *t, struct stream *s)
{
    t->closed = true;
    s->ops->release(s);
    free(t);
    sim->done++;
}

// The one that opened it asks ROUNDS times and closes.
static void asking(struct conversation *t, struct stream *s, unsigned events)
{
    while (s->in_len) {
        for (uint32_t k = 0; k < s->in_len; k++)
            if (s->in[k] != 'r')
                fail("wrong byte in a reply");
        t->received += s->in_len;
        stream_consume(s, s->in_len);
    }
    if (events & STREAM_CLOSED) {
        if (s->error != STREAM_OK)
            fail(s->error == STREAM_REFUSED ? "refused"
                 : s->error == STREAM_RESET ? "reset"
                                            : "timed out");
        if (t->received != ROUNDS * REPLY)
            fail("replies are missing");
        over(t, s);
        return;
    }
    if (events & STREAM_CONNECTED)
        ask(t);
    else if (t->received == t->asked * REPLY && t->asked < ROUNDS)
        ask(t);
    if (t->received == ROUNDS * REPLY && (!sim->server_closes || events & STREAM_EOF))
        s->ops->close(s);
}

static void answering(struct stream *s, unsigned events)
{
    uintptr_t got = (uintptr_t)s->owner;
    while (s->in_len) {
        got += s->in_len;
        stream_consume(s, s->in_len);
    }
    unsigned done = 0;
    for (uintptr_t k = (uintptr_t)s->owner / REQUEST; k < got / REQUEST; k++) {
        uint8_t bytes[REPLY];
        memset(bytes, 'r', sizeof(bytes));
        out_write(&s->out, bytes, sizeof(bytes));
        done++;
    }
    s->owner = (void *)got;
    if (events & STREAM_CLOSED) {
        if (s->error != STREAM_OK)
            fail("reset at the server");
        s->ops->release(s);
        return;
    }
    if (done)
        s->ops->push(s);
    if ((events & STREAM_EOF) || (sim->server_closes && got == ROUNDS * REQUEST))
        s->ops->close(s);
}

static void open_one(unsigned i, unsigned to_stack)
{
    struct endpoint to;
    int error;
    wire_address(&to, to_stack, PORT);
    struct stream *s = net_connect(sim->wire.net[i], &to, &error);
    if (!s) {
        fail("no connection could be opened");
        return;
    }
    struct conversation *t = calloc(1, sizeof(*t));
    assert(t);
    t->stream = s;
    s->owner = t;
    sim->opened++;
}

// Conversations begin at both sides.
static void serve(void *context, struct wire *w, unsigned i)
{
    (void)context;
    if (i != CLIENT)
        take_mails(i);
    struct stream *ready[64];
    unsigned n;
    while ((n = net_ready(w->net[i], ready, 64)))
        for (unsigned k = 0; k < n; k++) {
            struct stream *s = ready[k];
            unsigned events = s->events;
            s->events = 0;
            struct stream_info info;
            s->ops->info(s, &info);
            if (info.remote.port == PORT)
                asking(s->owner, s, events);
            else
                answering(s, events);
            if (events & STREAM_ACCEPTED)
                sim->accepted++;
        }
    if (sim->opened < sim->total && sim->opened - sim->done < sim->open_max) {
        if (i == CLIENT)
            open_one(i, 1);
        else if (wire_random(&w->rng) % 1000000 < sim->outbound)
            open_one(i, CLIENT);
    }
    next_mail();
}

static bool run(uint64_t seed, const struct wire_conditions *conditions)
{
    struct net_config base = {.connections_max = 4000, .half_open_max = sim->half_open};
    sim->seed = seed;
    wire_init_many(&sim->wire, seed, conditions, &base, 4000, sim->servers + 1, configure);
    sim->wire.place = place;
    for (unsigned i = 0; i <= sim->servers; i++)
        net_listen(sim->wire.net[i], PORT, 1000);
    uint64_t until = sim->wire.now_us + 1200 * 1000000ull;
    while (sim->done < sim->total && !sim->wrong && sim->wire.now_us < until)
        wire_run(&sim->wire, sim->wire.now_us + 100000, serve, NULL);
    if (sim->done < sim->total && !sim->wrong)
        fail("not done in time");
    // TIME_WAIT ends, and with it what is registered.
    if (!sim->wrong)
        wire_run(&sim->wire, sim->wire.now_us + 200 * 1000000ull, serve, NULL);
    uint64_t registered = 0, strays = 0, asked = 0, resets = 0, cookies = 0;
    for (unsigned i = 0; i <= sim->servers; i++) {
        const struct net_counters *c = net_counters(sim->wire.net[i]);
        if (!sim->wrong && net_registered(sim->wire.net[i]))
            fail("a flow is still registered");
        if (!sim->wrong && net_connection_count(sim->wire.net[i]))
            fail("a connection is left");
        if (!sim->wrong && c->home_registered != c->home_ended)
            fail("registrations and ends differ");
        registered += c->home_registered;
        strays += c->home_elsewhere;
        asked += c->home_asked;
        resets += c->tcp_reset_out;
        cookies += c->tcp_cookies_accepted;
    }
    if (!sim->wrong && sim->accepted != sim->total)
        fail("connections were accepted twice, or not at all");
    if (!sim->wrong && sim->spreading == BY_HASH && (asked || registered))
        fail("stacks spoke though every frame came where it should");
    if (!sim->wrong && sim->spreading != BY_HASH && !registered)
        fail("nothing was ever registered: the test tests nothing");
    if (sim->wrong)
        fprintf(stderr, "seed %" PRIu64 ": %s after %" PRIu64 " ms (%u of %u opened, %u done)\n",
                seed, sim->wrong, sim->wire.now_us / 1000, sim->opened, sim->total, sim->done);
    for (unsigned i = 1; i <= sim->servers; i++)
        while (sim->taken[i]) {
            struct mail *m = sim->taken[i];
            sim->taken[i] = m->next;
            free(m);
        }
    unsigned leaked = wire_free(&sim->wire);
    if (leaked && !sim->wrong) {
        fprintf(stderr, "seed %" PRIu64 ": %u frames are lost\n", seed, leaked);
        return false;
    }
    printf("seed %" PRIu64 ": %u connections, %" PRIu64 " strays, %u mails (%u refused), %" PRIu64
           " registered, %" PRIu64 " resets, %" PRIu64 " cookies\n",
           seed, sim->done, strays, sim->mails, sim->refused, registered, resets, cookies);
    return !sim->wrong;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 's'},
                                            {"stacks", required_argument, NULL, 'n'},
                                            {"spread", required_argument, NULL, 'p'},
                                            {"connections", required_argument, NULL, 'c'},
                                            {"at-once", required_argument, NULL, 'a'},
                                            {"loss", required_argument, NULL, 'l'},
                                            {"reorder", required_argument, NULL, 'r'},
                                            {"duplicate", required_argument, NULL, 'd'},
                                            {"refuse", required_argument, NULL, 'f'},
                                            {"outbound", required_argument, NULL, 'o'},
                                            {"half-open", required_argument, NULL, 'h'},
                                            {"server-closes", no_argument, NULL, 'x'},
                                            {0}};
    uint64_t first = 1, last = 1;
    struct wire_conditions conditions = {.delay_us = 100, .jitter_us = 50};
    struct sim how = {
        .servers = 4, .total = 300, .open_max = 50, .spreading = AT_RANDOM, .half_open = 1000};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint32_t per_million = optarg ? (uint32_t)(strtod(optarg, NULL) * 10000) : 0;
        unsigned number = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        switch (o) {
        case 's':
            if (sscanf(optarg, "%" SCNu64 "-%" SCNu64, &first, &last) == 1)
                last = first;
            break;
        case 'n':
            how.servers = number;
            break;
        case 'p':
            how.spreading = strcmp(optarg, "hash") == 0    ? BY_HASH
                            : strcmp(optarg, "other") == 0 ? BY_OTHER
                                                           : AT_RANDOM;
            break;
        case 'c':
            how.total = number;
            break;
        case 'a':
            how.open_max = number;
            break;
        case 'l':
            conditions.loss = per_million;
            break;
        case 'r':
            conditions.reorder = per_million;
            break;
        case 'd':
            conditions.duplicate = per_million;
            break;
        case 'f':
            how.refuse = per_million;
            break;
        case 'o':
            how.outbound = per_million;
            break;
        case 'h':
            how.half_open = number;
            break;
        case 'x':
            how.server_closes = true;
            break;
        default:
            return 2;
        }
    }
    if (how.servers < 1 || how.servers >= WIRE_STACKS_MAX) {
        fprintf(stderr, "--stacks: 1 to %d\n", WIRE_STACKS_MAX - 1);
        return 2;
    }
    sim = malloc(sizeof(*sim));
    bool good = sim != NULL;
    for (uint64_t seed = first; good && seed <= last; seed++) {
        *sim = how;
        good = run(seed, &conditions);
    }
    free(sim);
    return !good;
}
