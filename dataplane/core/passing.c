// Frames that came to another core's queue than the one their flow lives on. What a port hashes,
// and what a peer's kernel does when it retransmits, cannot be trusted: a frame that finds no
// connection goes on to the next core that has a stack, until one knows it or all have seen it; the
// last one answers. A stateless rule: with n queues a stray frame costs at most n - 1 copies, and a
// port that hashes well has no strays.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/core/message.h"

static bool send_copy(struct core *c, unsigned to, const struct frame *f, unsigned hops)
{
    if (!mailbox_takes_frame(c, to))
        return false;
    struct session nobody = {0};
    struct message *m = message_command(&nobody, NULL, 0, NULL);
    struct passed_frame *p = m ? mi_malloc(sizeof(*p) + f->len) : NULL;
    if (!p) {
        if (m)
            message_free(m);
        return false;
    }
    memcpy(p->bytes, f->data, f->len);
    p->frame = (struct frame){
        .data = p->bytes,
        .buffer = p->bytes,
        .len = f->len,
        .size = f->len,
        .flags = f->flags & (FRAME_IP_SUM_GOOD | FRAME_L4_SUM_GOOD | FRAME_SUM_BAD),
        .hash = f->hash,
    };
    p->hops = hops;
    m->kind = MESSAGE_FRAME;
    m->passed = p;
    c->counters.frames_passed++;
    mailbox_send(c, to, m);
    return true;
}

bool pass_frame(struct core *c, const struct frame *frame)
{
    unsigned n = c->server->n_cores;
    for (unsigned hops = c->passing_hops + 1; hops < n; hops++) {
        // The frame has been to `passing_hops` cores behind this one already.
        unsigned to = (c->index + hops - c->passing_hops) % n;
        if (nic_port(c->server->nic, to))
            return send_copy(c, to, frame, hops);
    }
    return false;
}

static bool is_arp_reply(const struct frame *f)
{
    const uint8_t *p = f->data + 12;
    if (f->len < 14 + 28) // Ethernet and ARP headers; a veth pads nothing
        return false;
    if (p[0] == 0x81 && p[1] == 0x00) // a VLAN tag
        p += 4;
    return p[0] == 0x08 && p[1] == 0x06 && p[8] == 0 && p[9] == 2;
}

void pass_arp_replies(struct core *c, struct frame **frames, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (__builtin_expect(!is_arp_reply(frames[i]), 1))
            continue;
        for (unsigned to = 0; to < c->server->n_cores; to++)
            if (to != c->index && nic_port(c->server->nic, to))
                send_copy(c, to, frames[i], c->server->n_cores);
    }
}

void passed_frame(struct core *c, struct message *m)
{
    m->next = c->passed;
    c->passed = m;
    if (!c->net)
        return;
    struct frame *frame = &m->passed->frame;
    c->passing_hops = m->passed->hops;
    net_input(c->net, &frame, 1, c->now_us);
    c->passing_hops = 0;
}

void passed_free(struct core *c)
{
    while (c->passed) {
        struct message *m = c->passed;
        c->passed = m->next;
        message_free(m);
    }
}
