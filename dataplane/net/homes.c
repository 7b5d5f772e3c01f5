#include "dataplane/net/homes.h"

#include <assert.h>
#include <mimalloc.h>

#include "dataplane/net/tcp.h"

// What strangers can make a stack tell the others.
enum { NEWS_A_SECOND = 1000, NEWS_BURST = 256 };

// A flow that lives at another stack. It is known by its hash alone: 64 bits under a secret key,
// which a million flows share with a chance of one in thirty million.
struct registration {
    uint64_t flow;       // 0: free
    uint64_t given_home; // count of frames given to its home when the last was its own; and home
};

enum { HOME_BITS = 8 };
_Static_assert(NET_STACKS_MAX < 1 << HOME_BITS, "a home, and a registrar plus one, is one byte");

// All stacks have as many connections as this one, and their flows are spread over the registrars.
// Open addressing, at most half full; removing moves the rest of a run up.
struct net_homes {
    struct registration *slots;
    uint64_t mask, count, count_max;
    struct net_key key;
    struct net_limiter news_limiter;
    const struct net_mail *arrived; // the mail whose frame the stack looks at; NULL: our port's
    struct net_flow seen_flow;      // of its frame, when that found no connection
    struct net_pair6 seen_pair;
    uint32_t seen_hash;
    bool seen;
    uint64_t given[NET_STACKS_MAX]; // frames given to each home
    uint64_t taken[NET_STACKS_MAX]; // frames given to us by each registrar
};

bool homes_init(struct net *net)
{
    if (net->config.stacks < 2)
        return true;
    struct net_homes *h = mi_zalloc(sizeof(*h));
    if (!h)
        return false;
    h->count_max =
        (uint64_t)net->config.connections_max + net->config.time_wait_max + tcp_requests_max(net);
    uint64_t slots = 64;
    while (slots < 2 * h->count_max)
        slots *= 2;
    h->slots = mi_calloc(slots, sizeof(*h->slots));
    h->mask = slots - 1;
    h->key = net->key_homes;
    net->homes = h;
    return h->slots != NULL;
}

void homes_free(struct net *net)
{
    if (net->homes)
        mi_free(net->homes->slots);
    mi_free(net->homes);
    net->homes = NULL;
}

static uint64_t homes_id(const struct net_homes *h, const struct net_flow *flow)
{
    uint64_t id = net_flow_sip(h->key, flow, 1, 3);
    return id ? id : 1;
}

static struct registration *homes_find(const struct net_homes *h, uint64_t flow)
{
    uint64_t i = flow & h->mask;
    while (h->slots[i].flow && h->slots[i].flow != flow)
        i = (i + 1) & h->mask;
    return &h->slots[i];
}

static void homes_remove(struct net_homes *h, struct registration *r)
{
    uint64_t i = (uint64_t)(r - h->slots);
    for (uint64_t j = (i + 1) & h->mask; h->slots[j].flow; j = (j + 1) & h->mask) {
        uint64_t home = h->slots[j].flow & h->mask;
        if (((j - home) & h->mask) >= ((j - i) & h->mask)) {
            h->slots[i] = h->slots[j];
            i = j;
        }
    }
    h->slots[i].flow = 0;
    h->count--;
}

static unsigned homes_registrar(const struct net *net, const struct net_flow *flow)
{
    struct endpoint local, remote;
    net_flow_endpoints(flow, &local, &remote);
    unsigned stack = net->config.stack_of(net->config.context, &local, &remote);
    assert(stack < net->config.stacks);
    return stack;
}

static bool homes_send(struct net *net, unsigned to, struct net_mail *mail)
{
    mail->from = net->config.stack;
    if (net->config.send(net->config.context, to, mail))
        return true;
    net->counters.home_lost++;
    return false;
}

// Gives a frame to the home of its flow. A frame for which there is no room is lost like on a wire.
static bool homes_give(struct net *net, unsigned home, const struct frame *frame, uint64_t flow,
                       bool fresh)
{
    struct net_mail mail = {.kind = NET_MAIL_GIVE,
                            .flow = flow,
                            .fresh = fresh,
                            .frame = (struct frame *)(uintptr_t)frame};
    if (!homes_send(net, home, &mail))
        return false;
    net->homes->given[home]++;
    net->counters.home_given++;
    return true;
}

// We are the registrar, and the connection is not ours.
static bool homes_register(struct net *net, const struct frame *frame, const struct net_flow *flow,
                           bool opens)
{
    struct net_homes *h = net->homes;
    const struct net_mail *asked = h->arrived;
    if (likely(!h->count && !(asked && opens)))
        return false;
    uint64_t id = homes_id(h, flow);
    struct registration *r = homes_find(h, id);
    if (r->flow) {
        unsigned home = (unsigned)(r->given_home & ((1u << HOME_BITS) - 1));
        if (homes_give(net, home, frame, id, false))
            r->given_home = h->given[home] << HOME_BITS | home;
        return true;
    }
    if (!asked || !opens)
        return false; // nobody has it: we answer, or open it ourselves
    if (h->count >= h->count_max) {
        net->counters.home_full++;
        return true;
    }
    if (homes_give(net, asked->from, frame, id, true)) {
        *r = (struct registration){.flow = id,
                                   .given_home = h->given[asked->from] << HOME_BITS | asked->from};
        h->count++;
        net->counters.home_registered++;
    }
    return true;
}

bool homes_pass(struct net *net, const struct frame *frame, const struct net_flow *flow,
                uint32_t hash, bool opens)
{
    struct net_homes *h = net->homes;
    if (!h)
        return false;
    if (h->arrived && h->arrived->kind == NET_MAIL_GIVE) {
        h->seen = true;
        h->seen_flow = *flow;
        if (flow->pair) {
            h->seen_pair = *flow->pair;
            h->seen_flow.pair = &h->seen_pair;
        }
        h->seen_hash = hash;
        return false;
    }
    unsigned registrar = homes_registrar(net, flow);
    if (!h->arrived) {
        if (registrar == net->config.stack)
            net->counters.home_as_hashed++;
        else
            net->counters.home_elsewhere++;
    }
    if (registrar == net->config.stack)
        return homes_register(net, frame, flow, opens);
    if (h->arrived)
        return false; // whoever asked us takes us for the registrar: it ends here
    struct net_mail mail = {.kind = NET_MAIL_ASK, .frame = (struct frame *)(uintptr_t)frame};
    if (homes_send(net, registrar, &mail))
        net->counters.home_asked++;
    return true;
}

bool homes_pass_error(struct net *net, const struct frame *frame, const struct net_flow *flow)
{
    if (likely(!net->homes))
        return false;
    uint32_t hash = net_flows_hash(&net->flows, flow);
    return !net_flows_find(&net->flows, flow, hash) && homes_pass(net, frame, flow, hash, false);
}

bool homes_may_open(const struct net *net, const struct net_flow *flow)
{
    const struct net_homes *h = net->homes;
    if (!h)
        return true;
    return homes_registrar(net, flow) == net->config.stack &&
           !(h->count && homes_find(h, homes_id(h, flow))->flow);
}

static void homes_end_id(struct net *net, unsigned registrar, uint64_t flow)
{
    struct net_mail mail = {
        .kind = NET_MAIL_END, .flow = flow, .taken = net->homes->taken[registrar]};
    homes_send(net, registrar, &mail);
}

void homes_end_flow(struct net *net, const struct net_flow *flow, uint8_t registrar)
{
    if (net->homes && registrar)
        homes_end_id(net, registrar - 1u, homes_id(net->homes, flow));
}

void homes_settle(struct net *net, const struct net_flow *flow, uint32_t hash, uint8_t registrar)
{
    struct net_flow_entry *e = net_flows_find(&net->flows, flow, hash);
    if (e)
        e->registrar = registrar;
    else
        homes_end_flow(net, flow, registrar);
}

void homes_tell(struct net *net, const struct net_news *news)
{
    if (!net->homes || !net_limiter_take(net, &net->homes->news_limiter, NEWS_A_SECOND, NEWS_BURST))
        return;
    struct net_mail mail = {.kind = NET_MAIL_NEWS, .news = *news};
    for (unsigned i = 0; i < net->config.stacks; i++)
        if (i != net->config.stack)
            homes_send(net, i, &mail);
}

void homes_show(struct net *net, const struct frame *frame)
{
    struct net_homes *h = net->homes;
    if (!h || h->arrived || !net_limiter_take(net, &h->news_limiter, NEWS_A_SECOND, NEWS_BURST))
        return;
    struct net_mail mail = {.kind = NET_MAIL_SHOW, .frame = (struct frame *)(uintptr_t)frame};
    for (unsigned i = 0; i < net->config.stacks; i++)
        if (i != net->config.stack)
            homes_send(net, i, &mail);
}

static void homes_take_frame(struct net *net, const struct net_mail *mail)
{
    struct net_homes *h = net->homes;
    struct frame *frame = mail->frame;
    h->arrived = mail;
    h->seen = false;
    if (mail->kind == NET_MAIL_GIVE)
        h->taken[mail->from]++;
    net_input(net, &frame, 1, net->now_us);
    h->arrived = NULL;
    if (mail->kind != NET_MAIL_GIVE)
        return;
    if (h->seen)
        homes_settle(net, &h->seen_flow, h->seen_hash, (uint8_t)(mail->from + 1));
    else if (mail->fresh)
        homes_end_id(net, mail->from, mail->flow);
}

static void homes_take_end(struct net *net, const struct net_mail *mail)
{
    struct net_homes *h = net->homes;
    struct registration *r = homes_find(h, mail->flow);
    if (r->flow && (unsigned)(r->given_home & ((1u << HOME_BITS) - 1)) == mail->from &&
        r->given_home >> HOME_BITS <= mail->taken) {
        homes_remove(h, r);
        net->counters.home_ended++;
    }
}

void net_receive(struct net *net, const struct net_mail *mail, uint64_t now_us)
{
    if (now_us > net->now_us)
        net->now_us = now_us;
    if (!net->homes || mail->from >= net->config.stacks || mail->from == net->config.stack)
        return;
    switch (mail->kind) {
    case NET_MAIL_ASK:
    case NET_MAIL_GIVE:
    case NET_MAIL_SHOW:
        homes_take_frame(net, mail);
        break;
    case NET_MAIL_END:
        homes_take_end(net, mail);
        break;
    case NET_MAIL_NEWS:
        if (mail->news.kind == NET_NEWS_COOKIES)
            tcp_cookies_hear(net);
        else if (mail->news.kind == NET_NEWS_MTU)
            net_learn_mtu(net, mail->news.family, mail->news.addr, mail->news.mtu);
        else
            neighbour_hear(net, &mail->news);
        break;
    }
}

unsigned net_registered(const struct net *net)
{
    return net->homes ? (unsigned)net->homes->count : 0;
}
