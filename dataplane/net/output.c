// Frames on their way out: taking them from the pool in bulk, the output array, and letting go of
// them.
#include <assert.h>
#include <mimalloc.h>

#include "dataplane/net/internal.h"

struct frame *net_frame_new(struct net *net, bool vital)
{
    if (unlikely(net->n_spare <= (vital ? 0 : NET_FRAMES_RESERVED))) {
        net->n_spare +=
            net->pool->alloc(net->pool, net->spare + net->n_spare, NET_FRAMES_SPARE - net->n_spare);
        if (net->n_spare <= (vital ? 0 : NET_FRAMES_RESERVED)) {
            net->counters.no_frame++;
            net->frames_short = true;
            return NULL;
        }
    }
    struct frame *f = net->spare[--net->n_spare];
    f->flags = 0;
    f->next = NULL;
    *frame_note(f) = (struct frame_note){0};
    return f;
}

void net_frames_flush(struct net *net)
{
    if (net->n_dropped)
        net->pool->release(net->pool, net->dropped, net->n_dropped);
    net->n_dropped = 0;
}

void net_frame_drop(struct net *net, struct frame *f)
{
    struct frame_note *note = frame_note(f);
    if (unlikely(note->output_place)) {
        net->output_kept[note->output_place - 1] = false;
        note->output_place = 0;
        f->flags &= (uint16_t)~FRAME_KEEP;
        return;
    }
    if (unlikely(net->n_dropped == NET_FRAMES_DROPPED))
        net_frames_flush(net);
    net->dropped[net->n_dropped++] = f;
}

static bool output_make_room(struct net *net)
{
    if (net->output_first) {
        uint32_t by = net->output_first, n = net->output_end - by;
        memmove(net->output, net->output + by, n * sizeof(*net->output));
        memmove(net->output_kept, net->output_kept + by, n);
        for (uint32_t i = 0; i < n; i++)
            if (net->output_kept[i])
                frame_note(net->output[i])->output_place = i + 1;
        net->output_first = 0;
        net->output_end = n;
        return true;
    }
    uint32_t size = net->output_size ? net->output_size * 2 : 256;
    if (size > NET_OUTPUT_MAX)
        return false;
    struct frame **output = mi_reallocn(net->output, size, sizeof(*output));
    if (!output)
        return false;
    net->output = output;
    uint8_t *kept = mi_realloc(net->output_kept, size);
    if (!kept)
        return false;
    net->output_kept = kept;
    net->output_size = size;
    return true;
}

void net_frame_send(struct net *net, struct frame *f)
{
    struct frame_note *note = frame_note(f);
    bool kept = f->flags & FRAME_KEEP;
    if (note->output_place)
        return; // has not left yet since it was put there
    if (unlikely(net->output_end == net->output_size) && !output_make_room(net)) {
        net->counters.output_full++;
        if (!kept)
            net_frame_drop(net, f);
        return;
    }
    net->output[net->output_end] = f;
    net->output_kept[net->output_end++] = kept;
    note->output_place = kept ? net->output_end : 0;
    net->counters.frames_out++;
    net->counters.bytes_out += f->len;
}

unsigned net_output(struct net *net, struct frame ***frames)
{
    if (unlikely(!TAILQ_EMPTY(&net->held)))
        tcp_output_held(net);
    tcp_turn_flush(net);
    *frames = net->output + net->output_first;
    return net->output_end - net->output_first;
}

void net_sent(struct net *net, unsigned n)
{
    assert(n <= net->output_end - net->output_first);
    for (uint32_t i = net->output_first; i < net->output_first + n; i++)
        if (net->output_kept[i])
            frame_note(net->output[i])->output_place = 0;
    net->output_first += n;
    if (net->output_first == net->output_end)
        net->output_first = net->output_end = 0;
}

uint64_t net_random(struct net *net)
{
    // xoroshiro128+ (Blackman and Vigna): for what needs no secret.
    uint64_t a = net->random[0], b = net->random[1], sum = a + b;
    b ^= a;
    net->random[0] = net_rotl(a, 24) ^ b ^ b << 16;
    net->random[1] = net_rotl(b, 37);
    return sum;
}

bool net_limiter_take(struct net *net, struct net_limiter *l, uint32_t per_second, uint32_t burst)
{
    uint64_t earned = (net->now_us - l->last_us) * per_second / 1000000;
    if (earned >= burst - l->tokens) {
        l->last_us = net->now_us;
        l->tokens = burst;
    } else if (earned) {
        // Only the time that is paid for: who asks every few microseconds would lose the rest.
        l->last_us += earned * 1000000 / per_second;
        l->tokens += (uint32_t)earned;
    }
    if (!l->tokens)
        return false;
    l->tokens--;
    return true;
}
