// The stack under test: made from a case's configuration, fed with frames, moved through time.
#include "tests/packets/packets.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    TOLERANCE_US = 2000, // the wheel's step is 1,024 us
    SETTLE_US = 5 * US,  // duplicate address detection and what else happens at the start
    TURNS_MAX = 200000,  // in one wait: a bound for a stack that never comes to rest
};

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 9}, stage_mac[6] = {2, 0, 0, 0, 0, 1};

void stage_fail(struct stage *g, const char *format, ...)
{
    if (g->failed)
        return;
    g->failed = true;
    size_t used = 0;
    used +=
        (size_t)snprintf(g->report, g->report_size, "%s:%u: %s\n    ", g->file, g->line, g->title);
    va_list args;
    va_start(args, format);
    used += (size_t)vsnprintf(g->report + used, g->report_size - used, format, args);
    va_end(args);
    used += (size_t)snprintf(g->report + used, g->report_size - used, "\n    packets before it:\n");
    unsigned first = g->logged > LOG_MAX ? g->logged - LOG_MAX : 0;
    for (unsigned i = first; i < g->logged && used < g->report_size; i++)
        used += (size_t)snprintf(g->report + used, g->report_size - used, "      %s\n",
                                 g->log[i % LOG_MAX]);
}

void stage_log(struct stage *g, const char *direction, const uint8_t *data, uint32_t len)
{
    static struct script_packet p;
    char text[LINE_MAX_BYTES];
    frame_read(data, len, &p);
    packet_format(g, &p, text, sizeof(text));
    char *to = g->log[g->logged++ % LOG_MAX];
    snprintf(to, sizeof(g->log[0]), "@%.6f %s %s", (double)(int64_t)(g->now_us - g->start_us) / US,
             direction, text);
    if (g->verbose)
        printf("    %s\n", to);
}

void stage_init(struct stage *g, const char *file, const char *title)
{
    bool verbose = g->verbose;
    char *report = g->report;
    size_t size = g->report_size;
    const char *folder = g->inputs_folder;
    unsigned written = g->inputs_written;
    memset(g, 0, sizeof(*g));
    g->verbose = verbose;
    g->report = report;
    g->report_size = size;
    g->inputs_folder = folder;
    g->inputs_written = written;
    g->file = file;
    g->title = title;
    g->frames = 4096;
    g->frame_size = 2048;
    g->config.mtu = 1500;
    memcpy(g->config.mac, stage_mac, 6);
    g->config.seed = 7;
    g->now_us = g->start_us = 5 * US;
    flow_defaults(g, &g->flow[0], 'A', 4);
}

static bool admit(void *context, const struct endpoint *remote)
{
    (void)remote;
    return !((struct stage *)context)->refuse;
}

static void record_open(struct stage *g)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/case-%04u", g->inputs_folder, g->inputs_written++);
    g->input = fopen(path, "wb");
    g->input_us = g->start_us;
    if (!g->input)
        stage_fail(g, "%s cannot be written", path);
}

bool stage_start(struct stage *g)
{
    if (g->started)
        return true;
    g->started = true;
    if (!g->config.n_addresses) {
        g->config.n_addresses = 1;
        g->config.addresses[0] =
            (struct net_address){.family = 4, .prefix = 24, .addr = {10, 0, 0, 1}};
    }
    g->config.admit = admit;
    g->config.context = g;
    uint32_t least = g->config.mtu + 64u;
    wire_pool_init(&g->pool, g->frame_size > least ? g->frame_size : least, g->frames);
    char error[128];
    g->net = net_create(&g->config, &g->pool.pool, g->now_us, error, sizeof(error));
    if (!g->net) {
        stage_fail(g, "the stack refuses its configuration: %s", error);
        return false;
    }
    if (g->manual_neighbours) {
        stage_turn(g);
    } else {
        static struct script_packet p; // the peer asks who we are, so that we know it
        static uint8_t frame[RAW_MAX + 256];
        uint32_t flags;
        stage_wait(g, g->now_us + SETTLE_US, false);
        for (unsigned i = 0; i < FLOWS_MAX; i++) {
            const struct flow *f = &g->flow[i];
            if (!f->used)
                continue;
            char line[192], ours[64], theirs[64], why[64];
            address_format(&f->ours, ours, sizeof(ours));
            address_format(&f->theirs, theirs, sizeof(theirs));
            if (f->ours.family == 4)
                snprintf(line, sizeof(line), "arp request who-has %s tell %s", ours, theirs);
            else
                snprintf(line, sizeof(line), "icmp6 ns target %s lla 02:00:00:00:00:09", ours);
            struct text t = {.p = line};
            if (packet_parse(g, &g->flow[i], &t, false, &p, why, sizeof(why)))
                stage_inject(g, frame, frame_build(g, &g->flow[i], &p, frame, &flags), 0);
            stage_turn(g);
        }
        g->logged = 0;
    }
    g->start_us = g->now_us;
    g->counted = *net_counters(g->net);
    if (g->inputs_folder)
        record_open(g);
    return !g->failed;
}

void stage_record(struct stage *g, unsigned act, const uint8_t *data, uint32_t len)
{
    enum { STEP_US = 4096, STEPS_MAX = 254, STEPS_LONG = 255, LONG_US = 30 * US, FRAME_MAX = 2047 };
    if (!g->input || len > FRAME_MAX)
        return;
    uint64_t us = g->now_us - g->input_us, steps = (us + STEP_US - 1) / STEP_US;
    g->input_us = g->now_us;
    uint8_t head[4] = {(uint8_t)act,
                       us > LONG_US        ? STEPS_LONG
                       : steps > STEPS_MAX ? STEPS_MAX
                                           : (uint8_t)steps,
                       (uint8_t)(len >> 8), (uint8_t)len};
    fwrite(head, 1, sizeof(head), g->input);
    fwrite(data, 1, len, g->input);
}

void stage_inject(struct stage *g, const uint8_t *data, uint32_t len, uint32_t flags)
{
    stage_record(g, 0, data, len);
    g->rx = realloc(g->rx, (g->n_rx + 1) * sizeof(*g->rx));
    assert(g->rx);
    struct frame *f = &g->rx[g->n_rx++];
    *f = (struct frame){.len = len, .size = len, .flags = (uint16_t)flags};
    // Exactly as long as the frame: what reads behind it is found by the sanitizer.
    f->data = f->buffer = malloc(len ? len : 1);
    assert(f->data);
    memcpy(f->data, data, len);
    stage_log(g, "<", data, len);
    g->last_in_len = 0;
    if (len > 14) {
        uint32_t l2 = load_be16(data + 12) == ETHERTYPE_VLAN ? 18 : 14;
        g->last_in_len = len - l2 < RAW_MAX ? len - l2 : RAW_MAX;
        memcpy(g->last_in, data + l2, g->last_in_len);
    }
    struct frame copy = *f, *one = &copy;
    net_input(g->net, &one, 1, g->now_us);
    g->turn_open = true;
}

// --- neighbours of scripts that are not about them -----------------------------------------------

static void answer_arp(struct stage *g, const struct script_packet *p)
{
    uint8_t arp[42] = {0};
    memcpy(arp, stage_mac, 6);
    memcpy(arp + 6, peer_mac, 6);
    memcpy(arp + 12, (const uint8_t[10]){8, 6, 0, 1, 8, 0, 6, 4, 0, 2}, 10);
    memcpy(arp + 22, peer_mac, 6);
    memcpy(arp + 28, p->target.bytes, 4);
    memcpy(arp + 32, stage_mac, 6);
    memcpy(arp + 38, p->sender.bytes, 4);
    stage_inject(g, arp, sizeof(arp), 0);
}

static void answer_solicitation(struct stage *g, const struct script_packet *p)
{
    static struct script_packet answer;
    static uint8_t frame[RAW_MAX + 256];
    uint32_t flags;
    memset(&answer, 0, offsetof(struct script_packet, raw));
    answer.kind = PACKET_ICMP6;
    answer.type = 136;
    answer.given = GIVEN_TARGET | GIVEN_LLA | GIVEN_SRC | GIVEN_DST | GIVEN_VALUE;
    answer.value = 0x60000000; // solicited, override
    answer.target = answer.src = p->target;
    answer.dst = p->src;
    memcpy(answer.lla, peer_mac, 6);
    stage_inject(g, frame, frame_build(g, &g->flow[0], &answer, frame, &flags), 0);
}

// True when the packet is the neighbours' and no script is to see it.
static bool neighbours_business(struct stage *g, const struct script_packet *p, bool *again)
{
    if (g->manual_neighbours)
        return false;
    if (p->kind == PACKET_ARP) {
        bool ours = address_equal(&p->target, &p->sender);
        for (unsigned i = 0; i < g->config.n_addresses; i++)
            ours = ours || (g->config.addresses[i].family == 4 &&
                            memcmp(g->config.addresses[i].addr, p->target.bytes, 4) == 0);
        if (p->type == 1 && !ours) {
            answer_arp(g, p);
            *again = true;
        }
        return true;
    }
    if (p->kind != PACKET_ICMP6)
        return false;
    static const uint8_t none[16];
    if (p->type == 135 && memcmp(p->src.bytes, none, 16) != 0) {
        answer_solicitation(g, p);
        *again = true;
    }
    // Solicitations, advertisements, and reports of group membership.
    return (p->type >= 133 && p->type <= 136) || p->type == 143 ||
           (p->type >= 130 && p->type <= 132);
}

// --- the turn ------------------------------------------------------------------------------------

// What a port with checksum offload would do.
static void finish_sums(uint8_t *data, const struct frame *f)
{
    uint8_t *ip = data + f->l2_len, *l4 = ip + f->l3_len;
    uint32_t len = f->len - f->l2_len - f->l3_len;
    if (f->flags & FRAME_TX_L4_SUM) {
        uint16_t sum = (uint16_t)~net_sum_fold(net_sum(l4, len, 0));
        memcpy(l4 + TCP_SUM, &sum, 2);
    }
    if (f->flags & FRAME_TX_IP_SUM) {
        uint16_t sum = (uint16_t)~net_sum_fold(net_sum(ip, f->l3_len, 0));
        memcpy(ip + 10, &sum, 2);
    }
}

static void collect_frame(struct stage *g, const struct frame *f, bool *again)
{
    static struct script_packet p;
    if (g->out_end == OUT_MAX) {
        stage_fail(g, "more than %u frames left at once", OUT_MAX);
        return;
    }
    uint8_t *data = malloc(f->len);
    assert(data);
    memcpy(data, f->data, f->len);
    finish_sums(data, f);
    frame_read(data, f->len, &p);
    if (neighbours_business(g, &p, again)) {
        free(data);
        return;
    }
    g->out[g->out_end++] = (struct out_frame){
        .data = data, .len = f->len, .flags = f->flags, .tso = f->tso_size, .at_us = g->now_us};
    stage_log(g, ">", data, f->len);
}

static struct flow *flow_of_stream(struct stage *g, struct stream *s)
{
    for (unsigned i = 0; i < FLOWS_MAX; i++)
        if (g->flow[i].used && g->flow[i].stream == s)
            return &g->flow[i];
    struct stream_info info;
    s->ops->info(s, &info);
    for (unsigned i = FLOWS_MAX; i-- > 0;) {
        struct flow *f = &g->flow[i];
        unsigned n = f->theirs.family == 4 ? 4 : 16;
        if (f->used && !f->stream && info.remote.port == f->their_port &&
            info.remote.family == f->theirs.family &&
            memcmp(info.remote.addr, f->theirs.bytes, n) == 0)
            return f;
    }
    return NULL;
}

static void collect_events(struct stage *g)
{
    struct stream *ready[32];
    unsigned n;
    while (!g->hold_events && (n = net_ready(g->net, ready, 32)))
        for (unsigned i = 0; i < n; i++) {
            struct stream *s = ready[i];
            struct flow *f = flow_of_stream(g, s);
            unsigned events = s->events;
            s->events = 0;
            if (!f) {
                if (events & STREAM_CLOSED)
                    s->ops->release(s);
                continue;
            }
            f->events |= events;
            f->stream = s;
            f->accepted |= (events & STREAM_ACCEPTED) != 0;
            if (events & STREAM_CLOSED) {
                f->closed = true;
                f->error = s->error;
                s->ops->release(s);
                f->stream = NULL;
            }
        }
}

void stage_turn(struct stage *g)
{
    bool again = false;
    collect_events(g);
    net_advance(g->net, g->now_us);
    struct frame **out;
    unsigned count = net_output(g->net, &out), held = g->n_rx;
    for (unsigned i = 0; i < count; i++) {
        collect_frame(g, out[i], &again);
        if (out[i]->flags & FRAME_KEEP)
            out[i]->hash = g->port_holds;
        else
            out[i]->pool->release(out[i]->pool, &out[i], 1);
    }
    net_sent(g->net, count);
    net_turn_end(g->net);
    // Answers of neighbours went in meanwhile: with the next turn.
    for (unsigned i = 0; i < held; i++)
        free(g->rx[i].data);
    if (held)
        memmove(g->rx, g->rx + held, (g->n_rx - held) * sizeof(*g->rx));
    g->n_rx -= held;
    g->turn_open = false;
    if (again)
        stage_turn(g);
}

void stage_wait(struct stage *g, uint64_t until_us, bool until_output)
{
    unsigned turns = 0;
    for (uint64_t next; (next = net_next_timer(g->net)) <= until_us && !g->failed;) {
        if (next > g->now_us)
            g->now_us = next;
        stage_turn(g);
        if (until_output && g->out_end)
            return;
        if (turns++ == TURNS_MAX) {
            stage_fail(g, "the stack does not come to rest");
            return;
        }
    }
    if (!until_output && until_us > g->now_us) {
        g->now_us = until_us;
        net_input(g->net, NULL, 0, g->now_us); // as a core does before its owner acts
    }
}

struct flow *stage_flow_of(struct stage *g, const struct script_packet *p)
{
    for (unsigned i = FLOWS_MAX; i-- > 0;) {
        struct flow *f = &g->flow[i];
        if (!f->used)
            continue;
        if ((p->sport == f->their_port && (!f->our_port || p->dport == f->our_port) &&
             address_equal(&p->src, &f->theirs)) ||
            (p->dport == f->their_port && (!f->our_port || p->sport == f->our_port) &&
             address_equal(&p->dst, &f->theirs)))
            return f;
    }
    return NULL;
}

// --- lines ---------------------------------------------------------------------------------------

static void out_take(struct stage *g)
{
    free(g->out[g->out_first++].data);
    if (g->out_first == g->out_end)
        g->out_first = g->out_end = 0;
}

static void describe_out(struct stage *g, char *text, size_t size, struct script_packet *p)
{
    const struct out_frame *o = &g->out[g->out_first];
    frame_read(o->data, o->len, p);
    p->tso = o->flags & FRAME_TX_TSO ? o->tso : 0;
    if (o->flags & FRAME_TX_TSO)
        p->sums_good = true; // the port makes them for each piece
    packet_format(g, p, text, size);
}

// True when nothing has left that no line claimed.
static bool all_claimed(struct stage *g)
{
    static struct script_packet p;
    char text[LINE_MAX_BYTES];
    if (!g->out_end)
        return true;
    uint64_t at = g->out[g->out_first].at_us;
    describe_out(g, text, sizeof(text), &p);
    stage_fail(g, "not expected: > %s\n    at        @%.6f", text, (double)(at - g->start_us) / US);
    return false;
}

static void line_expect_packet(struct stage *g, struct flow *f, struct text *t, uint64_t at_us,
                               uint64_t tolerance)
{
    static struct script_packet expected, seen;
    char error[256], text[LINE_MAX_BYTES];
    const char *spec = t->p;
    if (!packet_parse(g, f, t, true, &expected, error, sizeof(error))) {
        stage_fail(g, "%s", error);
        return;
    }
    if (!g->out_end)
        stage_wait(g, at_us + tolerance, true);
    if (g->failed)
        return;
    if (!g->out_end) {
        stage_fail(g, "expected  > %s\n    seen      nothing until @%.6f", spec,
                   (double)(at_us + tolerance - g->start_us) / US);
        return;
    }
    uint64_t seen_us = g->out[g->out_first].at_us;
    describe_out(g, text, sizeof(text), &seen);
    if (!packet_match(g, f, &expected, &seen, error, sizeof(error))) {
        packet_format(g, &seen, text, sizeof(text));
        stage_fail(g, "expected  > %s\n    seen      > %s\n    %s", spec, text, error);
        return;
    }
    if (seen_us + tolerance < at_us || seen_us > at_us + tolerance) {
        stage_fail(g, "expected  > %s\n    at        @%.6f, seen @%.6f", spec,
                   (double)(at_us - g->start_us) / US, (double)(seen_us - g->start_us) / US);
        return;
    }
    out_take(g);
}

static void line_inject(struct stage *g, struct flow *f, struct text *t)
{
    static struct script_packet p;
    static uint8_t frame[2 * RAW_MAX + 256];
    char error[256];
    uint32_t flags;
    if (!packet_parse(g, f, t, false, &p, error, sizeof(error))) {
        stage_fail(g, "%s", error);
        return;
    }
    if (p.len > 1900 || p.pad > 1900) {
        stage_fail(g, "a packet of more than 1900 bytes");
        return;
    }
    uint32_t len = frame_build(g, f, &p, frame, &flags);
    stage_inject(g, frame, len, flags);
}

static bool line_time(struct stage *g, struct text *t, uint64_t *at_us, uint64_t *tolerance,
                      bool *same_turn)
{
    *at_us = g->now_us;
    *tolerance = TOLERANCE_US;
    *same_turn = text_take(t, "..");
    if (*same_turn)
        return true;
    bool relative = text_take(t, "+");
    if (!relative && !text_take(t, "@"))
        return true;
    uint64_t us;
    if (!text_seconds(t, &us))
        return false;
    *at_us = us + (relative ? g->now_us : g->start_us);
    return !text_take(t, "~") || text_seconds(t, tolerance);
}

static struct flow *line_flow(struct stage *g, struct text *t)
{
    while (*t->p == ' ' || *t->p == '\t')
        t->p++;
    if (t->p[0] >= 'A' && t->p[0] <= 'Z' && t->p[1] == ':') {
        struct flow *f = &g->flow[t->p[0] - 'A'];
        if (!f->used)
            stage_fail(g, "flow %c is not there: 'flow %c …' makes it", t->p[0], t->p[0]);
        t->p += 2;
        return f;
    }
    return &g->flow[0];
}

bool stage_line(struct stage *g, unsigned number, const char *line)
{
    struct text t = {.p = line}, at;
    char word[64];
    g->line = number;
    if (text_end(&t))
        return true;
    at = t;
    if (!g->started && text_word(&at, word, sizeof(word), "")) {
        int took = action_config(g, word, &at);
        if (took)
            return took > 0 && !g->failed;
    }
    if (!stage_start(g))
        return false;
    uint64_t at_us, tolerance;
    bool same_turn;
    // The turn before is over, so that a time counts from its end.
    at = t;
    if (!text_take(&at, "..") && g->turn_open)
        stage_turn(g);
    if (!line_time(g, &t, &at_us, &tolerance, &same_turn)) {
        stage_fail(g, "a time that is not understood: '%s'", t.p);
        return false;
    }
    struct flow *f = line_flow(g, &t);
    if (g->failed)
        return false;
    if (text_take(&t, ">")) {
        line_expect_packet(g, f, &t, at_us, tolerance);
        return !g->failed;
    }
    if (same_turn)
        collect_events(g);
    else if (!all_claimed(g))
        return false;
    if (at_us > g->now_us)
        stage_wait(g, at_us, false);
    if (g->failed || !all_claimed(g))
        return false;
    if (text_take(&t, "<")) {
        line_inject(g, f, &t);
        return !g->failed;
    }
    if (!text_word(&t, word, sizeof(word), "")) {
        stage_fail(g, "a time without anything");
        return false;
    }
    if (strcmp(word, "quiet") == 0) // nothing left, which was looked at
        return true;
    if (strcmp(word, "expect") == 0) {
        collect_events(g);
        action_expect(g, f, &t);
    } else if (!action_owner(g, f, word, &t)) {
        stage_fail(g, "'%s' is not understood", word);
    }
    if (!g->failed && !text_end(&t))
        stage_fail(g, "not understood: '%s'", t.p);
    return !g->failed;
}

void stage_finish(struct stage *g)
{
    if (!g->failed)
        stage_start(g);
    if (g->net && g->turn_open)
        stage_turn(g);
    if (g->net && !g->failed)
        all_claimed(g);
    if (g->input)
        fclose(g->input);
    g->input = NULL;
    net_destroy(g->net);
    g->net = NULL;
    while (g->out_end)
        out_take(g);
    for (unsigned i = 0; i < g->n_rx; i++)
        free(g->rx[i].data);
    free(g->rx);
    g->rx = NULL;
    g->n_rx = 0;
    if (g->started) {
        if (g->pool.taken && !g->failed)
            stage_fail(g, "%u frames leaked", g->pool.taken);
        wire_pool_free(&g->pool);
    }
}
