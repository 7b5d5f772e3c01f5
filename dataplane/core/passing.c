// What the stacks of several cores send each other (dataplane/net/homes.h): frames whose flow lives
// at another core, the end of such flows, and news of the link. Frames travel as copies. Those and
// news are lost where a ring is full: the level leaves room for everything else that travels there,
// so that a flood of strays costs frames and no more.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/core/message.h"

bool pass_mail(struct core *c, unsigned to, const struct net_mail *mail)
{
    bool must = mail->kind == NET_MAIL_END;
    if (!must && !mailbox_takes_frame(c, to))
        return false;
    struct session nobody = {0};
    const struct frame *f = mail->frame;
    struct message *m = message_command(&nobody, NULL, 0, NULL);
    struct passed *p = m ? mi_malloc(sizeof(*p) + (f ? f->len : 0)) : NULL;
    if (!p) {
        if (m)
            message_free(m);
        return false;
    }
    p->mail = *mail;
    if (f) {
        memcpy(p->bytes, f->data, f->len);
        p->frame = (struct frame){
            .data = p->bytes,
            .buffer = p->bytes,
            .len = f->len,
            .size = f->len,
            .flags = f->flags & (FRAME_IP_SUM_GOOD | FRAME_L4_SUM_GOOD | FRAME_SUM_BAD),
            .hash = f->hash,
        };
        p->mail.frame = &p->frame;
        c->counters.frames_passed++;
    }
    m->kind = MESSAGE_NET;
    m->passed = p;
    if (must)
        mailbox_post(c, to, m);
    else
        mailbox_send(c, to, m);
    return true;
}

void passed_take(struct core *c, struct message *m)
{
    m->next = c->passed;
    c->passed = m;
    if (c->net)
        net_receive(c->net, &m->passed->mail, c->now_us);
}

void passed_free(struct core *c)
{
    while (c->passed) {
        struct message *m = c->passed;
        c->passed = m->next;
        message_free(m);
    }
}
