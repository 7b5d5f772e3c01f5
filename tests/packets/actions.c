// What lines other than packets do: the configuration of the stack, its owner, expectations.
#include "tests/packets/packets.h"

#include "dataplane/net/counters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// --- configuration -------------------------------------------------------------------------------

void flow_defaults(struct stage *g, struct flow *f, char name, unsigned family)
{
    (void)g;
    static const struct address four[2] = {{4, {10, 0, 0, 1}}, {4, {10, 0, 0, 9}}};
    static const struct address six[2] = {
        {6, {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
        {6, {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}}};
    *f = (struct flow){.used = true,
                       .name = name,
                       .our_port = 6379,
                       .their_port = 4000,
                       .their_isn = 1000,
                       .win = 65535,
                       .stamp_first = 100};
    f->ours = family == 6 ? six[0] : four[0];
    f->theirs = family == 6 ? six[1] : four[1];
}

static bool config_number(struct stage *g, const char *word, struct text *t)
{
    struct net_config *c = &g->config;
    uint64_t n;
    struct text at = *t;
    if (!text_number(&at, &n))
        return false;
    if (!strcmp(word, "mtu"))
        c->mtu = (uint16_t)n;
    else if (!strcmp(word, "vlan"))
        c->vlan = (uint16_t)n;
    else if (!strcmp(word, "receive-buffer"))
        c->receive_buffer_max = (uint32_t)n;
    else if (!strcmp(word, "receive-memory"))
        c->receive_memory_max = n;
    else if (!strcmp(word, "send-buffer"))
        c->send_buffer_max = (uint32_t)n;
    else if (!strcmp(word, "connections"))
        c->connections_max = (uint32_t)n;
    else if (!strcmp(word, "half-open"))
        c->half_open_max = (uint32_t)n;
    else if (!strcmp(word, "time-wait"))
        c->time_wait_max = (uint32_t)n;
    else if (!strcmp(word, "user-timeout-ms"))
        c->user_timeout_ms = (uint32_t)n;
    else if (!strcmp(word, "delayed-ack-ms"))
        c->delayed_ack_us = (uint32_t)n * 1000;
    else if (!strcmp(word, "frames"))
        g->frames = (unsigned)n;
    else if (!strcmp(word, "frame-size"))
        g->frame_size = (uint32_t)n;
    else
        return false;
    *t = at;
    return true;
}

static bool config_address(struct stage *g, struct text *t, bool gateway)
{
    struct address a;
    uint64_t prefix = 0;
    if (!text_address(t, &a) || (!gateway && (!text_take(t, "/") || !text_number(t, &prefix))))
        return false;
    struct net_address to = {.family = a.family, .prefix = (uint8_t)prefix};
    memcpy(to.addr, a.bytes, 16);
    if (gateway) {
        g->config.gateway = to;
        return true;
    }
    if (g->config.n_addresses == NET_ADDRESSES_MAX)
        return false;
    g->config.addresses[g->config.n_addresses++] = to;
    return true;
}

static bool config_offload(struct stage *g, struct text *t)
{
    static const struct {
        const char *name;
        uint32_t flag;
    } offloads[] = {{"ip-sum", NET_TX_IP_SUM},
                    {"tcp-sum", NET_TX_TCP_SUM},
                    {"tso", NET_TX_TSO},
                    {"scatter", NET_TX_SCATTER}};
    for (unsigned i = 0; i < 4; i++)
        if (text_take(t, offloads[i].name)) {
            g->config.offloads |= offloads[i].flag;
            return true;
        }
    return false;
}

int action_config(struct stage *g, const char *word, struct text *t)
{
    bool good;
    if (!strcmp(word, "address")) {
        good = config_address(g, t, false);
    } else if (!strcmp(word, "gateway")) {
        good = config_address(g, t, true);
    } else if (!strcmp(word, "offload")) {
        good = config_offload(g, t);
    } else if (!strcmp(word, "congestion")) {
        char name[16];
        int algorithm = text_word(t, name, sizeof(name), "") ? net_congestion_find(name) : -1;
        good = algorithm >= 0;
        g->config.congestion = (enum net_congestion)algorithm;
    } else if (!strcmp(word, "neighbours")) {
        good = g->manual_neighbours = text_take(t, "manual");
    } else if (!strcmp(word, "trust-partial-sums")) {
        good = g->config.trust_partial_sums = true;
    } else if (!strcmp(word, "no-sack")) {
        good = g->config.no_sack = true;
    } else if (!strcmp(word, "family")) { // addresses of the documentation's prefix
        flow_defaults(g, &g->flow[0], 'A', 6);
        struct text six = {.p = "2001:db8::1/64"};
        good = text_take(t, "6") && config_address(g, &six, false);
    } else {
        good = config_number(g, word, t);
        if (!good)
            return 0;
    }
    if (good && text_end(t))
        return 1;
    stage_fail(g, "'%s': not understood at '%s'", word, t->p);
    return -1;
}

// --- the owner -----------------------------------------------------------------------------------

static void action_flow(struct stage *g, struct text *t)
{
    char word[64];
    if (!text_word(t, word, sizeof(word), "") || word[1] || word[0] < 'A' || word[0] > 'Z') {
        stage_fail(g, "flow wants a letter");
        return;
    }
    struct flow *f = &g->flow[word[0] - 'A'];
    if (f->stream) {
        stage_fail(g, "flow %c has a connection", word[0]);
        return;
    }
    flow_defaults(g, f, word[0], g->flow[0].theirs.family);
    uint64_t n;
    while (!text_end(t)) {
        if (text_take(t, "port") && text_number(t, &n))
            f->their_port = (uint16_t)n;
        else if (text_take(t, "to-port") && text_number(t, &n))
            f->our_port = (uint16_t)n;
        else if (text_take(t, "isn") && text_number(t, &n))
            f->their_isn = (uint32_t)n;
        else if (text_take(t, "from") && text_address(t, &f->theirs))
            continue;
        else if (text_take(t, "to") && text_address(t, &f->ours))
            continue;
        else if (text_take(t, "win") && text_number(t, &n))
            f->win = (uint32_t)n;
        else {
            stage_fail(
                g, "flow LETTER [from ADDRESS] [to ADDRESS] [port N] [to-port N] [isn N] [win N]");
            return;
        }
    }
}

static void action_connect(struct stage *g, struct flow *f, struct text *t)
{
    static const struct {
        const char *name;
        int error;
    } errors[] = {{"unreachable", -ENETUNREACH},
                  {"no-port", -EADDRNOTAVAIL},
                  {"invalid", -EINVAL},
                  {"no-memory", -ENOMEM},
                  {"family", -EAFNOSUPPORT}};
    int expected = 0, error;
    if (text_take(t, "fails")) {
        for (unsigned i = 0; i < 5; i++)
            if (text_take(t, errors[i].name))
                expected = errors[i].error;
        if (!expected) {
            stage_fail(g, "connect fails unreachable|no-port|invalid|no-memory|family");
            return;
        }
    }
    struct endpoint to = {.family = f->theirs.family, .port = f->their_port};
    memcpy(to.addr, f->theirs.bytes, 16);
    f->our_port = 0;
    stage_record(g, 1, NULL, 0);
    f->stream = net_connect(g->net, &to, &error);
    if (error != expected)
        stage_fail(g, "connect says %d, expected %d", error, expected);
}

static void action_write(struct stage *g, struct flow *f, struct text *t)
{
    uint64_t n;
    if (!text_number(t, &n) || n > 100000000) {
        stage_fail(g, "write N [later]");
        return;
    }
    uint8_t *bytes = malloc(n + 1);
    for (uint64_t i = 0; i < n; i++)
        bytes[i] = pattern_byte(true, f->written + i);
    out_write(&f->stream->out, bytes, n);
    free(bytes);
    f->written += n;
    if (!text_take(t, "later"))
        f->stream->ops->push(f->stream);
}

static void action_read(struct stage *g, struct flow *f, struct text *t)
{
    uint64_t n = 0, got = 0;
    bool all = text_take(t, "all");
    if (!all && !text_number(t, &n)) {
        stage_fail(g, "read N, or read all");
        return;
    }
    bool any = text_take(t, "any");
    while (f->stream->in_len && (all || got < n)) {
        uint32_t take = f->stream->in_len;
        if (!all && take > n - got)
            take = (uint32_t)(n - got);
        for (uint32_t i = 0; i < take && !any; i++)
            if (f->stream->in[i] != pattern_byte(false, f->read + i)) {
                stage_fail(g, "byte %llu of the stream is not what was sent",
                           (unsigned long long)(f->read + i));
                return;
            }
        f->read += take;
        got += take;
        stream_consume(f->stream, take);
    }
    if (!all && got < n)
        stage_fail(g, "only %llu bytes to read", (unsigned long long)got);
}

// A handshake in one line. Options that are not named are not offered.
static void action_established(struct stage *g, struct flow *f, struct text *t)
{
    uint64_t mss = 1460, wscale = 0, win = 65535, rtt = 0, us;
    bool has_scale = false, stamps = false, sack = false, active = false, ecn = false;
    while (!text_end(t)) {
        if (text_take(t, "ts"))
            stamps = true;
        else if (text_take(t, "sack"))
            sack = true;
        else if (text_take(t, "ecn"))
            ecn = true;
        else if (text_take(t, "active"))
            active = true;
        else if (text_take(t, "mss") && text_number(t, &mss))
            continue;
        else if (text_take(t, "wscale") && text_number(t, &wscale))
            has_scale = true;
        else if (text_take(t, "win") && text_number(t, &win))
            continue;
        else if (text_take(t, "rtt") && text_seconds(t, &us))
            rtt = us;
        else {
            stage_fail(g,
                       "established [active] [ts] [sack] [ecn] [mss N] [wscale N] [win N] [rtt S]");
            return;
        }
    }
    char options[128], line[256];
    int n = snprintf(options, sizeof(options), "<mss %u", (unsigned)mss);
    if (sack)
        n += snprintf(options + n, sizeof(options) - (size_t)n, ",sackOK");
    if (stamps)
        n += snprintf(options + n, sizeof(options) - (size_t)n, ",TS val %u ecr last",
                      f->stamp_first);
    if (has_scale)
        n += snprintf(options + n, sizeof(options) - (size_t)n, ",nop,wscale %u", (unsigned)wscale);
    snprintf(options + n, sizeof(options) - (size_t)n, ">");
    unsigned number = g->line;
    char name[3] = {f->name, ':', 0};
    f->stamp_since_us = g->now_us;
#define RUN(...)                                   \
    do {                                           \
        snprintf(line, sizeof(line), __VA_ARGS__); \
        if (!stage_line(g, number, line))          \
            return;                                \
    } while (0)
    double rtt_s = (double)rtt / US;
    if (active) {
        RUN("%s connect", name);
        RUN("%s > %s 0:0(0)", name, ecn ? "SEW" : "*");
        RUN("+%.6f %s < %s 0:0(0) ack 1 win %u %s", rtt_s, name, ecn ? "S.E" : "S.", (unsigned)win,
            options);
        f->auto_stamps = stamps;
        RUN("%s > . 1:1(0) ack 1", name);
        RUN("%s expect connected", name);
    } else {
        if (!tcp_listener_find(g->net, __builtin_bswap16(f->our_port)))
            RUN("%s listen %u", name, f->our_port);
        RUN("%s < %s 0:0(0) win %u %s", name, ecn ? "SEW" : "S", (unsigned)win, options);
        RUN("%s > %s 0:0(0) ack 1", name, ecn ? "S.E" : "S.");
        f->auto_stamps = stamps;
        RUN("+%.6f %s < . 1:1(0) ack 1 win %u", rtt_s, name, (unsigned)win);
        RUN("%s expect accepted", name);
    }
#undef RUN
    f->win = (uint32_t)win;
}

static void action_listen(struct stage *g, struct text *t)
{
    uint64_t port, backlog = 128;
    if (!text_number(t, &port)) {
        stage_fail(g, "listen PORT [BACKLOG]");
        return;
    }
    text_number(t, &backlog);
    int error = net_listen(g->net, (uint16_t)port, (unsigned)backlog);
    if (error)
        stage_fail(g, "listen says %d", error);
}

int action_owner(struct stage *g, struct flow *f, const char *word, struct text *t)
{
    g->turn_open = true;
    if (!strcmp(word, "listen")) {
        action_listen(g, t);
    } else if (!strcmp(word, "flow")) {
        action_flow(g, t);
    } else if (!strcmp(word, "connect")) {
        action_connect(g, f, t);
    } else if (!strcmp(word, "established")) {
        action_established(g, f, t);
    } else if (!strcmp(word, "refuse")) {
        g->refuse = true;
    } else if (!strcmp(word, "hold-events")) { // the owner looks at nothing until `take-events`
        g->hold_events = true;
    } else if (!strcmp(word, "take-events")) {
        g->hold_events = false;
    } else if (!strcmp(word, "port-holds")) { // sent frames stay in the driver: resends are copies
        g->port_holds = true;
    } else if (!strcmp(word, "no-frames")) { // the pool is empty
        g->pool.limit = g->pool.taken;
    } else if (!strcmp(word, "frames-again")) {
        g->pool.limit = g->frames;
    } else {
        static const char *const words[] = {"write", "read", "close", "abort", "keepalive"};
        unsigned what = 0;
        while (what < 5 && strcmp(word, words[what]) != 0)
            what++;
        if (what == 5)
            return 0;
        uint64_t idle_s;
        stage_record(g, what + 2, NULL, 0); // enum act has them in this order
        if (!f->stream)
            stage_fail(g, "%s: there is no connection", word);
        else if (what == 0)
            action_write(g, f, t);
        else if (what == 1)
            action_read(g, f, t);
        else if (what == 2)
            f->stream->ops->close(f->stream);
        else if (what == 3)
            f->stream->ops->abort(f->stream);
        else if (text_number(t, &idle_s))
            f->stream->ops->keepalive(f->stream, (unsigned)idle_s);
        else
            stage_fail(g, "keepalive SECONDS");
    }
    return 1;
}

// --- expectations --------------------------------------------------------------------------------

struct look {
    const struct flow *flow;
    bool found;
    struct stream_info info;
};

static bool look_at(void *context, const struct stream_info *info)
{
    struct look *l = context;
    unsigned n = l->flow->theirs.family == 4 ? 4 : 16;
    if (info->remote.port != l->flow->their_port || info->remote.family != l->flow->theirs.family ||
        (l->flow->our_port && info->local.port != l->flow->our_port) ||
        memcmp(info->remote.addr, l->flow->theirs.bytes, n) != 0)
        return true;
    l->found = true;
    l->info = *info;
    return false;
}

static struct look look(struct stage *g, const struct flow *f)
{
    struct look l = {.flow = f};
    uint64_t cursor = 0;
    do
        net_each_connection(g->net, &cursor, 4096, look_at, &l);
    while (cursor);
    return l;
}

// `= N` (or just N), `< N`, `> N`, `<= N`, `>= N`, `N..M`.
static bool compare(struct stage *g, const char *what, uint64_t seen, struct text *t)
{
    static const char *const signs[] = {"<=", ">=", "<", ">", "="};
    unsigned sign = 0;
    while (sign < 5 && !text_take(t, signs[sign]))
        sign++;
    uint64_t a, b;
    if (!text_number(t, &a)) {
        stage_fail(g, "%s wants a number", what);
        return false;
    }
    b = a;
    bool range = text_take(t, "..") && text_number(t, &b);
    bool good = range       ? seen >= a && seen <= b
                : sign == 0 ? seen <= a
                : sign == 1 ? seen >= a
                : sign == 2 ? seen < a
                : sign == 3 ? seen > a
                            : seen == a;
    if (!good)
        stage_fail(g, "%s is %llu", what, (unsigned long long)seen);
    return good;
}

static uint64_t *counter(struct net_counters *c, const char *name)
{
#define COUNTER(field, group, description) \
    if (!strcmp(name, #field))             \
        return &c->field;
    NET_COUNTERS(COUNTER)
#undef COUNTER
    return NULL;
}

// `expect counter NAME +N`: since the line that looked at it last, or the start.
static void expect_counter(struct stage *g, struct text *t)
{
    char name[64];
    uint64_t n;
    if (!text_word(t, name, sizeof(name), "") || !text_take(t, "+") || !text_number(t, &n)) {
        stage_fail(g, "expect counter NAME +N");
        return;
    }
    struct net_counters now = *net_counters(g->net);
    uint64_t *seen = counter(&now, name), *base = counter(&g->counted, name);
    if (!seen)
        stage_fail(g, "there is no counter %s", name);
    else if (*seen - *base != n)
        stage_fail(g, "counter %s rose by %llu, expected %llu", name,
                   (unsigned long long)(*seen - *base), (unsigned long long)n);
    else
        *base = *seen;
}

static void expect_closed(struct stage *g, struct flow *f, struct text *t)
{
    static const char *const errors[] = {"ok",          "reset",     "timed-out", "refused",
                                         "unreachable", "no-memory", "aborted"};
    char word[32];
    unsigned error = 0;
    if (!text_word(t, word, sizeof(word), "")) {
        stage_fail(g, "expect closed ok|reset|timed-out|refused|unreachable|no-memory|aborted");
        return;
    }
    while (error < 7 && strcmp(word, errors[error]) != 0)
        error++;
    if (error == 7)
        stage_fail(g, "closed how? '%s'", word);
    else if (!f->closed)
        stage_fail(g, "the connection is not closed");
    else if (f->error != error)
        stage_fail(g, "closed: %s", f->error < 7 ? errors[f->error] : "?");
    f->events &= ~(unsigned)STREAM_CLOSED;
}

static void expect_state(struct stage *g, struct flow *f, struct text *t)
{
    char word[32];
    struct look l = look(g, f);
    if (!text_word(t, word, sizeof(word), ""))
        stage_fail(g, "expect state NAME");
    else if (strcmp(word, l.found ? l.info.state : "CLOSED") != 0)
        stage_fail(g, "the state is %s", l.found ? l.info.state : "CLOSED");
}

struct look_neighbour {
    struct address address;
    char state[12];
    uint8_t mac[6];
    unsigned count;
};

static void look_at_neighbour(void *context, const struct net_neighbour *n)
{
    struct look_neighbour *l = context;
    l->count++;
    if (n->family != l->address.family ||
        memcmp(n->addr, l->address.bytes, n->family == 4 ? 4 : 16) != 0)
        return;
    memcpy(l->state, n->state, sizeof(l->state));
    memcpy(l->mac, n->mac, 6);
}

// `expect neighbour ADDRESS STATE [MAC]`; UNKNOWN: not in the table.
static void expect_neighbour(struct stage *g, struct text *t)
{
    struct look_neighbour l = {.state = "UNKNOWN"};
    char word[32];
    uint8_t mac[6];
    if (!text_address(t, &l.address) || !text_word(t, word, sizeof(word), "")) {
        stage_fail(g, "expect neighbour ADDRESS STATE [MAC]");
        return;
    }
    net_each_neighbour(g->net, look_at_neighbour, &l);
    if (strcmp(word, l.state) != 0)
        stage_fail(g, "the neighbour is %s", l.state);
    else if (text_mac(t, mac) && memcmp(mac, l.mac, 6) != 0)
        stage_fail(g, "its MAC is %02x:%02x:%02x:%02x:%02x:%02x", l.mac[0], l.mac[1], l.mac[2],
                   l.mac[3], l.mac[4], l.mac[5]);
}

// A figure of the connection that `struct stream_info` has.
static bool info_figure(const struct stream_info *i, const char *name, uint64_t *value)
{
    const struct {
        const char *name;
        uint64_t value;
    } figures[] = {{"rtt", i->rtt_us},
                   {"rttvar", i->rttvar_us},
                   {"rto", i->rto_us},
                   {"mss", i->mss},
                   {"cwnd", i->cwnd},
                   {"ssthresh", i->ssthresh},
                   {"snd_wnd", i->snd_wnd},
                   {"rcv_wnd", i->rcv_wnd},
                   {"unread", i->unread},
                   {"unsent", i->unsent},
                   {"unacked", i->unacked},
                   {"bytes_in", i->bytes_in},
                   {"bytes_out", i->bytes_out},
                   {"segments_in", i->segments_in},
                   {"segments_out", i->segments_out},
                   {"ecn", i->ecn},
                   {"ecn_seen", i->ecn_seen},
                   {"retransmitted", i->retransmitted}};
    for (unsigned k = 0; k < sizeof(figures) / sizeof(figures[0]); k++)
        if (!strcmp(name, figures[k].name)) {
            *value = figures[k].value;
            return true;
        }
    return false;
}

void action_expect(struct stage *g, struct flow *f, struct text *t)
{
    static const struct {
        const char *name;
        unsigned event;
    } events[] = {{"accepted", STREAM_ACCEPTED},
                  {"connected", STREAM_CONNECTED},
                  {"readable", STREAM_READABLE},
                  {"writable", STREAM_WRITABLE},
                  {"eof", STREAM_EOF}};
    char word[64];
    bool not = text_take(t, "not");
    if (!text_word(t, word, sizeof(word), "")) {
        stage_fail(g, "expect what?");
        return;
    }
    for (unsigned i = 0; i < 5; i++) {
        if (strcmp(word, events[i].name) != 0)
            continue;
        bool seen = f->events & events[i].event;
        if (seen == not )
            stage_fail(g, "the owner was %stold", seen ? "" : "not ");
        f->events &= ~events[i].event;
        return;
    }
    uint64_t value;
    if (!strcmp(word, "closed")) {
        if (!not )
            expect_closed(g, f, t);
        else if (f->closed)
            stage_fail(g, "the connection is closed (%u)", f->error);
    } else if (!strcmp(word, "state")) {
        expect_state(g, f, t);
    } else if (!strcmp(word, "counter")) {
        expect_counter(g, t);
    } else if (!strcmp(word, "neighbour")) {
        expect_neighbour(g, t);
    } else if (!strcmp(word, "connections")) {
        compare(g, word, net_connection_count(g->net), t);
    } else if (!strcmp(word, "memory")) {
        compare(g, word, net_memory(g->net), t);
    } else {
        struct look l = look(g, f);
        if (!info_figure(&l.info, word, &value))
            stage_fail(g, "expect '%s' is not understood", word);
        else if (!l.found)
            stage_fail(g, "there is no connection");
        else
            compare(g, word, value, t);
    }
}
