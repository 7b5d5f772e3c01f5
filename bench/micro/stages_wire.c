// Frames in and frames out: two stacks, requests and replies of a GET's length, no server behind.
#include <mimalloc.h>
#include <string.h>

#include "bench/micro/stages.h"

#define TURNS 48
#define READY 64
#define REPLY_MAX (64 * RIG_VALUE_LEN)

struct wire_turn {
    struct joint *j;
    struct stream *ready[READY];
    unsigned n_ready;
    uint32_t request_len, reply_len;
    unsigned frames_out;
    uint64_t bytes; // that both sides read
    uint32_t unread[JOINT_CONNECTIONS];
};

static uint32_t drain(struct wire_turn *w, struct stream *s)
{
    uint32_t got = 0;
    while (s->in_len) {
        got += s->in_len;
        stream_consume(s, s->in_len);
    }
    w->bytes += got;
    return got;
}

static void write_and_push(struct stream *s, uint32_t len)
{
    static const uint8_t bytes[REPLY_MAX];
    out_write(&s->out, bytes, len);
    s->ops->push(s);
}

// Whoever has its reply asks again.
static void client_turn(struct wire_turn *w)
{
    struct joint *j = w->j;
    do {
        joint_take(j, JOINT_CLIENT);
        joint_input(j, JOINT_CLIENT);
        for (unsigned n; (n = net_ready(j->net[JOINT_CLIENT], w->ready, READY));)
            for (unsigned i = 0; i < n; i++) {
                struct stream *s = w->ready[i];
                uint32_t *unread = s->owner;
                s->events = 0;
                *unread += drain(w, s);
                if (*unread < w->reply_len)
                    continue;
                *unread -= w->reply_len;
                write_and_push(s, w->request_len);
            }
        joint_output(j, JOINT_CLIENT);
        net_turn_end(j->net[JOINT_CLIENT]);
        joint_release(j);
    } while (joint_waiting(j, JOINT_CLIENT));
}

static void section_in(void *context)
{
    struct wire_turn *w = context;
    joint_input(w->j, JOINT_SERVER);
    w->n_ready = net_ready(w->j->net[JOINT_SERVER], w->ready, READY);
}

static void section_out(void *context)
{
    struct wire_turn *w = context;
    for (unsigned i = 0; i < w->n_ready; i++)
        write_and_push(w->ready[i], w->reply_len);
    w->frames_out = joint_output(w->j, JOINT_SERVER);
    net_turn_end(w->j->net[JOINT_SERVER]);
}

// A request may be cut: only those that are whole are answered.
static void server_read(struct wire_turn *w)
{
    unsigned answered = 0;
    for (unsigned i = 0; i < w->n_ready; i++) {
        struct stream *s = w->ready[i];
        s->events = 0;
        uintptr_t unread = (uintptr_t)s->owner + drain(w, s);
        if (unread >= w->request_len) {
            unread -= w->request_len;
            w->ready[answered++] = s;
        }
        s->owner = (void *)unread;
    }
    w->n_ready = answered;
}

static bool wire_open(struct bench *b, const struct stage *s)
{
    struct wire_turn *w = b->state = mi_zalloc(sizeof(*w));
    if (!w || !(w->j = joint_open(b->offloads)))
        return false;
    w->request_len = s->size * RIG_GET_LEN;
    w->reply_len = s->size * RIG_VALUE_LEN;
    for (unsigned i = 0; i < JOINT_CONNECTIONS; i++) {
        w->j->clients[i]->owner = &w->unread[i];
        write_and_push(w->j->clients[i], w->request_len);
    }
    joint_output(w->j, JOINT_CLIENT);
    return true;
}

static void wire_close(struct bench *b)
{
    struct wire_turn *w = b->state;
    if (w && w->j)
        joint_close(w->j);
    mi_free(w);
}

static bool wire_round(struct bench *b, struct measure *m, bool out)
{
    struct wire_turn *w = b->state;
    struct measure rest = {.mode = MEASURE_WARM};
    uint64_t frames = 0, bytes = w->bytes;
    for (unsigned i = 0; i < TURNS; i++) {
        joint_take(w->j, JOINT_SERVER);
        frames += out ? 0 : w->j->n_rx;
        measure_section(out ? &rest : m, section_in, w);
        server_read(w);
        measure_section(out ? m : &rest, section_out, w);
        frames += out ? w->frames_out : 0;
        joint_release(w->j);
        client_turn(w);
    }
    m->ops += frames;
    // Each turn's frames carry something, and all of it was read.
    if (frames >= TURNS && w->bytes - bytes >= frames * RIG_GET_LEN)
        return true;
    strcpy(b->rig->error, "the two stacks exchange too few frames");
    return false;
}

static bool in_round(struct bench *b, const struct stage *s, struct measure *m)
{
    (void)s;
    return wire_round(b, m, false);
}

static bool out_round(struct bench *b, const struct stage *s, struct measure *m)
{
    (void)s;
    return wire_round(b, m, true);
}

const struct stage_kind wire_kinds[] = {
    {.name = "frame-in",
     .unit = "frame",
     .help = "a frame of N requests, from the port's burst to readable streams",
     .needs = NEEDS_WIRE,
     .sizes = {1, 16, 64},
     .open = wire_open,
     .close = wire_close,
     .round = in_round},
    {.name = "frame-out",
     .unit = "frame",
     .help = "N written replies become segments for the port, copying included",
     .needs = NEEDS_WIRE,
     .sizes = {1, 16, 64},
     .open = wire_open,
     .close = wire_close,
     .round = out_round},
    {0},
};
