// Whole requests: clients on the one stack, the server's core on the other, everything between
// them the server's own code in the order of its turn. Only the server's turn is measured; the
// client's work, and what a port does, is left out.
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>
#include <x86intrin.h>

#include "bench/micro/stages.h"

#define READY 64
#define PIPELINE_MAX 64
#define TURNS_MIN 16
#define REQUESTS_MIN 2048 // of a round
#define ROUNDS_MAX 8192
#define STORE_BUDGET 256 // as dataplane/core/core.c

struct peer {
    uint64_t key[PIPELINE_MAX];
    size_t got;
    uint8_t replies[PIPELINE_MAX * RIG_VALUE_LEN];
};

struct requests {
    struct rig *rig;
    struct joint *j;
    const struct stage *stage;
    size_t reply_len; // of one command
    struct stream *ready[READY];
    struct peer peers[JOINT_CONNECTIONS];
    uint64_t answered; // whose replies were looked at
    uint64_t batches;
    bool wrong;
    uint64_t part[TURN_PARTS]; // cycles of this round
    unsigned n_rounds;
    double rounds[TURN_PARTS][ROUNDS_MAX]; // cycles a request
};

static struct request_figures figures;

const char *const turn_part_names[TURN_PARTS] = {
    "frames in", "ready", "parse and fetch", "execute", "push", "frames out", "store"};

const struct request_figures *request_figures(void)
{
    return &figures;
}

// --- the clients

static void ask(struct requests *q, struct stream *s)
{
    struct peer *p = s->owner;
    uint8_t text[256];
    p->got = 0;
    for (unsigned i = 0; i < q->stage->size; i++) {
        p->key[i] = rig_below(q->rig, q->rig->keys);
        out_write(&s->out, text, rig_compose(q->rig, text, q->stage->kind->command, p->key[i]));
    }
    s->ops->push(s);
}

static bool replies_right(const struct requests *q, const struct peer *p)
{
    for (unsigned i = 0; i < q->stage->size; i++) {
        const uint8_t *reply = p->replies + i * q->reply_len;
        uint8_t value[RIG_DATA_LEN];
        rig_data(value, p->key[i]);
        if (q->stage->kind->reply == '$'
                ? memcmp(reply, "$64\r\n", 5) != 0 || memcmp(reply + 5, value, RIG_DATA_LEN) != 0
                : memcmp(reply, "+OK\r\n", 5) != 0)
            return false;
    }
    return true;
}

static void client_read(struct requests *q, struct stream *s)
{
    struct peer *p = s->owner;
    size_t expected = q->reply_len * q->stage->size;
    while (s->in_len) {
        uint32_t n = s->in_len;
        if (n > expected - p->got) {
            q->wrong = true;
            return;
        }
        memcpy(p->replies + p->got, s->in, n);
        p->got += n;
        stream_consume(s, n);
    }
    if (s->events & (STREAM_EOF | STREAM_CLOSED))
        q->wrong = true;
    s->events = 0;
    if (p->got < expected)
        return;
    q->wrong |= !replies_right(q, p);
    q->answered += q->stage->size;
    ask(q, s);
}

static void client_turn(struct requests *q)
{
    struct joint *j = q->j;
    do {
        joint_take(j, JOINT_CLIENT);
        joint_input(j, JOINT_CLIENT);
        for (unsigned n; (n = net_ready(j->net[JOINT_CLIENT], q->ready, READY));)
            for (unsigned i = 0; i < n; i++)
                client_read(q, q->ready[i]);
        joint_output(j, JOINT_CLIENT);
        net_turn_end(j->net[JOINT_CLIENT]);
        joint_release(j);
    } while (joint_waiting(j, JOINT_CLIENT));
}

// --- the server

static uint64_t stamp(struct requests *q, enum turn_part part, uint64_t since)
{
    uint64_t now = __rdtsc();
    q->part[part] += now - since;
    return now;
}

// core_turn, as far as one core with one stack has work in it.
static void section_turn(void *context)
{
    struct requests *q = context;
    struct core *c = q->rig->core;
    struct joint *j = q->j;
    uint64_t at = __rdtsc();
    rig_time(q->rig, j->now_us);
    joint_input(j, JOINT_SERVER);
    at = stamp(q, TURN_FRAMES_IN, at);
    struct stream *ready[TURN_STREAMS];
    unsigned n = net_ready(j->net[JOINT_SERVER], ready, TURN_STREAMS);
    for (unsigned i = 0; i < n; i++)
        client_event(c, ready[i]);
    at = stamp(q, TURN_READY, at);
    while (c->queue_first) {
        uint64_t parse = c->counters.stage_cycles[STAGE_PARSE];
        uint64_t execute = c->counters.stage_cycles[STAGE_EXECUTE];
        c->cycle_mark = c->command_mark = at;
        batch_run(c);
        q->batches++;
        q->part[TURN_PARSE] += c->counters.stage_cycles[STAGE_PARSE] - parse;
        q->part[TURN_EXECUTE] += c->counters.stage_cycles[STAGE_EXECUTE] - execute;
        at = c->cycle_mark;
        clients_push(c);
        at = stamp(q, TURN_PUSH, at);
        joint_output(j, JOINT_SERVER);
        at = stamp(q, TURN_FRAMES_OUT, at);
    }
    clients_push(c);
    joint_output(j, JOINT_SERVER); // acknowledgements of a turn without commands
    net_turn_end(j->net[JOINT_SERVER]);
    clients_bury(c);
    at = stamp(q, TURN_FRAMES_OUT, at);
    store_maintain(c->store, STORE_BUDGET);
    stamp(q, TURN_STORE, at);
}

static void server_turn(struct requests *q, struct measure *m)
{
    joint_take(q->j, JOINT_SERVER);
    measure_section(m, section_turn, q);
    joint_release(q->j);
}

static bool requests_open(struct bench *b, const struct stage *s)
{
    struct requests *q = b->state = mi_zalloc(sizeof(*q));
    if (!q || !(q->j = joint_open(b->offloads)))
        return false;
    q->rig = b->rig;
    q->stage = s;
    q->reply_len = s->kind->reply == '$' ? RIG_VALUE_LEN : 5;
    for (unsigned i = 0; i < JOINT_CONNECTIONS; i++) {
        q->j->clients[i]->owner = &q->peers[i];
        ask(q, q->j->clients[i]);
    }
    joint_output(q->j, JOINT_CLIENT);
    figures = (struct request_figures){0};
    return true;
}

static void requests_close(struct bench *b)
{
    struct requests *q = b->state;
    if (!q || !q->j) {
        mi_free(q);
        return;
    }
    for (unsigned i = 0; i < TURN_PARTS; i++)
        figures.part[i] = percentile(q->rounds[i], q->n_rounds, 50);
    // The core forgets them as it does when peers reset their connections.
    struct measure unmeasured = {.mode = MEASURE_WARM};
    for (unsigned i = 0; i < JOINT_CONNECTIONS; i++)
        q->j->clients[i]->ops->abort(q->j->clients[i]);
    joint_output(q->j, JOINT_CLIENT);
    while (joint_waiting(q->j, JOINT_SERVER))
        server_turn(q, &unmeasured);
    server_turn(q, &unmeasured);
    joint_close(q->j);
    mi_free(q);
}

static bool requests_round(struct bench *b, const struct stage *s, struct measure *m)
{
    struct requests *q = b->state;
    unsigned turns = REQUESTS_MIN / (s->size * JOINT_FRAMES);
    uint64_t answered = q->answered, commands = q->rig->core->counters.commands;
    uint64_t frames[JOINT_SIDES] = {q->j->frames[0], q->j->frames[1]}, batches = q->batches;
    memset(q->part, 0, sizeof(q->part));
    for (unsigned i = 0; i < (turns > TURNS_MIN ? turns : TURNS_MIN); i++) {
        server_turn(q, m);
        client_turn(q);
    }
    commands = q->rig->core->counters.commands - commands;
    answered = q->answered - answered;
    m->ops += commands;
    b->rig->replies += answered;
    if (m->mode == MEASURE_CYCLES && q->n_rounds < ROUNDS_MAX) {
        figures.requests += commands;
        figures.frames_in += q->j->frames[JOINT_SERVER] - frames[JOINT_SERVER];
        figures.frames_out += q->j->frames[JOINT_CLIENT] - frames[JOINT_CLIENT];
        figures.batches += q->batches - batches;
        for (unsigned i = 0; i < TURN_PARTS; i++)
            q->rounds[i][q->n_rounds] = (double)q->part[i] / (double)commands;
        q->n_rounds++;
    }
    // The frames of a turn end in the middle of a pipeline: not all that ran is answered.
    uint64_t apart = commands > answered ? commands - answered : answered - commands;
    if (!q->wrong && commands && apart <= (uint64_t)s->size * JOINT_CONNECTIONS &&
        q->rig->core->n_clients == TAPES_MAX + JOINT_CONNECTIONS)
        return true;
    snprintf(b->rig->error, sizeof(b->rig->error),
             "%lu commands ran, %lu were answered as they should be", (unsigned long)commands,
             (unsigned long)answered);
    return false;
}

const struct stage_kind request_kinds[] = {
    {.name = "request-get",
     .unit = "request",
     .help = "the server's whole turn, frames of N GETs in, replies out",
     .needs = NEEDS_REQUESTS,
     .sizes = {1, 16, 64},
     .open = requests_open,
     .close = requests_close,
     .round = requests_round,
     .command = "GET @key",
     .reply = '$'},
    {.name = "request-set",
     .unit = "request",
     .help = "the same for SETs that overwrite 64 bytes",
     .needs = NEEDS_REQUESTS,
     .sizes = {1, 16, 64},
     .open = requests_open,
     .close = requests_close,
     .round = requests_round,
     .command = "SET @key @data",
     .reply = '+'},
    {0},
};
