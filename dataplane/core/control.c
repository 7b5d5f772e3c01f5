// What the control plane asks of a core, over its channel in the shared segment: a command to
// execute as an internal client (here), connections (connections.c), the port's and the stack's
// figures (observe.c), a capture (capture.c), an echo (ping.c). A bounded amount a turn.
#include <mimalloc.h>
#include <string.h>

#include "common/block.h"
#include "dataplane/core/attach.h"
#include "dataplane/core/capture.h"
#include "dataplane/core/message.h"

#define CONTROL_MESSAGES_A_TURN 8
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

void control_answer(struct core *c, enum plane_message_kind kind, const struct plane_message *m,
                    const void *data, size_t len)
{
    answer(c, kind, m->request, m->generation, data, len);
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
            tell_nic(c, m, data, len);
            break;
        case PLANE_NEIGHBOURS:
            tell_neighbours(c, m);
            break;
        case PLANE_CAPTURE:
            capture_begin(c, m, data, len);
            break;
        case PLANE_CAPTURE_END:
            capture_end(c);
            tell_capture(c, m);
            break;
        case PLANE_PING:
            ping_begin(c, m, data, len);
            break;
        default:
            answer(c, PLANE_ERROR, m->request, m->generation, "unknown message", 15);
        }
        plane_received(ring);
    }
    return true;
}
