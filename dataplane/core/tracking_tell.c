// Client-side caching: what clients are sent. See tracking.h.
#include <mimalloc.h>
#include <string.h>

#include "dataplane/core/publish.h"
#include "dataplane/core/tracking_internal.h"

// `keys` is what is invalid: an array of names, or a null for all.
static void write_message(struct core *c, struct client *to, bool redirected, const void *keys,
                          size_t len)
{
    // In the older protocol nothing can be told that was not asked for, but by messages of a
    // channel to clients that take such.
    if (to->resp < 3 && !(redirected && to->flags & CLIENT_PUBSUB))
        return;
    struct reply_slot *slot;
    struct out *out = to->resp < 3 ? publish_begin(c, to, "__redis__:invalidate", &slot)
                                   : client_tell(c, to, &slot);
    if (!out)
        return;
    if (to->resp > 2) {
        reply_push(out, 3, 2);
        reply_bulk_string(out, "invalidate");
    }
    out_write(out, keys, len);
    client_told(c, to, slot);
}

static void broken(struct core *c, struct tracker *x)
{
    x->flags |= TRACKING_BROKEN;
    if (x->client->resp < 3)
        return;
    struct reply_slot *slot;
    struct out *out = client_tell(c, x->client, &slot);
    if (!out)
        return;
    reply_push(out, 3, 2);
    reply_bulk_string(out, "tracking-redir-broken");
    reply_integer(out, (int64_t)x->redirect);
    client_told(c, x->client, slot);
}

static void news_broken(struct core *c, struct message *m)
{
    struct tracker *x = tracker_of(c->tracking, m->session.client_id);
    uint64_t target;
    memcpy(&target, m->argv[0].ptr, sizeof(target));
    if (x && x->redirect == target) // which may be off by now, behind changes of its own
        broken(c, x);
}

// The client that others redirect to. NULL: it is gone, or on its way out.
static struct client *target_of(struct core *c, uint64_t id)
{
    const struct tracker *x = tracker_of(c->tracking, id);
    const unsigned gone = CLIENT_GONE | CLIENT_CLOSING | CLIENT_CLOSE_AFTER_REPLY;
    return x && !(x->client->flags & gone) ? x->client : NULL;
}

static void news_redirected(struct core *c, struct message *m)
{
    struct client *target = target_of(c, m->session.client_id);
    if (target) {
        write_message(c, target, true, m->argv[0].ptr, m->argv[0].len);
        return;
    }
    struct session session = {0};
    memcpy(&session.client_id, m->argv[1].ptr, sizeof(session.client_id));
    struct arg id = {.ptr = (uint8_t *)&m->session.client_id, .len = sizeof(m->session.client_id)};
    mailbox_tell(c, m->from, &session, 1, &id, news_broken);
}

static void send(struct core *c, struct tracker *x, const void *keys, size_t len)
{
    if (!x->redirect) {
        write_message(c, x->client, false, keys, len);
        return;
    }
    if (x->redirect_core == c->index) {
        struct client *target = target_of(c, x->redirect);
        if (target)
            write_message(c, target, true, keys, len);
        else
            broken(c, x);
        return;
    }
    struct session session = {.client_id = x->redirect};
    struct arg argv[2] = {{.ptr = (uint8_t *)keys, .len = len},
                          {.ptr = (uint8_t *)&x->client->id, .len = sizeof(x->client->id)}};
    if (!mailbox_tell(c, x->redirect_core, &session, 2, argv, news_redirected))
        client_abort(c, x->client, "out of memory for word of keys that it may hold");
}

void tracker_tell(struct core *c, struct tracker *x, const struct block *text)
{
    const char *null = x->client->resp < 3 ? "$-1\r\n" : "_\r\n";
    if (text)
        send(c, x, text->data, text->len);
    else
        send(c, x, null, strlen(null));
}

// --- own changes ---------------------------------------------------------------------------------

void tracker_tell_later(struct core *c, struct tracker *x, struct block *text)
{
    struct own_change *o = mi_malloc(sizeof(*o));
    if (!o) {
        client_abort(c, x->client, "out of memory for word of keys that it may hold");
        return;
    }
    *o = (struct own_change){.text = text ? block_retain(text) : NULL};
    if (!x->first_own) {
        x->next_own = c->tracking->first_own;
        c->tracking->first_own = x;
        x->first_own = o;
    } else {
        x->last_own->next = o;
    }
    x->last_own = o;
}

void tracking_tell_own(struct core *c)
{
    for (struct tracker **at = &c->tracking->first_own; *at;) {
        struct tracker *x = *at;
        if (x->client->flags & CLIENT_EXEC) {
            at = &x->next_own;
            continue;
        }
        *at = x->next_own;
        struct own_change *o = x->first_own;
        x->first_own = x->last_own = NULL;
        for (struct own_change *next; o; o = next) {
            next = o->next;
            tracker_tell(c, x, o->text);
            block_release(o->text);
            mi_free(o);
        }
    }
}

void tracker_forget_own(struct core *c, struct tracker *x)
{
    if (!x->first_own)
        return;
    struct tracker **at = &c->tracking->first_own;
    while (*at != x)
        at = &(*at)->next_own;
    *at = x->next_own;
    for (struct own_change *o = x->first_own, *next; o; o = next) {
        next = o->next;
        block_release(o->text);
        mi_free(o);
    }
}

// --- all keys ------------------------------------------------------------------------------------

void tracking_lose(struct core *c, unsigned core)
{
    atomic_store_explicit(&c->server->cores[core]->tracking->lost, true, memory_order_relaxed);
}

void tracking_tell_all(struct core *c, uint64_t by)
{
    for (struct tracker *x = c->tracking->first, *next; x; x = next) {
        next = x->next_other;
        if (x->client->id == by)
            tracker_tell_later(c, x, NULL);
        else
            tracker_tell(c, x, NULL);
    }
}

static void news_all(struct core *c, struct message *m)
{
    tracking_tell_all(c, m->session.client_id);
    tracking_tell_own(c);
}

void tracking_tell_emptied(struct core *c, uint64_t by)
{
    const struct session session = {.client_id = by};
    for (unsigned core = 0; core < c->server->n_cores; core++)
        if (core != c->index && !mailbox_tell(c, core, &session, 0, NULL, news_all))
            tracking_lose(c, core);
    tracking_tell_all(c, by);
}
