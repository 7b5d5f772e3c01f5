// Who lives on the link: IPv4 addresses and their hardware addresses, with the states of RFC 4861
// as far as ARP has them. What connections hear confirms a neighbour; a stale one is used on while
// it is asked directly.
#include <mimalloc.h>

#include "dataplane/net/internal.h"

// Between two requests for one address, and how many of them (RFC 1122 2.3.2.1: at most one a
// second).
enum { ASK_INTERVAL_US = 1000000, ASK_TRIES = 3 };
// A neighbour that did not answer is not asked again before this.
enum { FAILED_HOLD_US = 3000000 };
// RFC 5227 and common practice: another hardware address is believed only after this long, unless
// we asked, so that two stations that fight for an address do not make it flap.
enum { RELEARN_US = 1000000 };

static void neighbour_timer(void *context, struct net_timer *timer);

bool neighbours_init(struct net *net)
{
    net->neighbours = mi_calloc(NET_NEIGHBOUR_WAYS * NET_NEIGHBOUR_SETS, sizeof(struct neighbour));
    return net->neighbours != NULL;
}

static void neighbour_drop_waiting(struct net *net, struct neighbour *n)
{
    for (unsigned i = 0; i < n->waiting_count; i++)
        net_frame_drop(net, n->waiting[i]);
    net->n_waiting_frames -= n->waiting_count;
    n->waiting_count = 0;
}

void neighbours_free(struct net *net)
{
    for (unsigned i = 0; net->neighbours && i < NET_NEIGHBOUR_WAYS * NET_NEIGHBOUR_SETS; i++)
        neighbour_drop_waiting(net, &net->neighbours[i]);
    mi_free(net->neighbours);
}

static struct neighbour *neighbour_set(struct net *net, uint32_t addr)
{
    uint64_t word = 1ull << 56 | addr;
    uint64_t set = net_sip(net->key_neighbours, &word, 1, 1, 3) % NET_NEIGHBOUR_SETS;
    return net->neighbours + set * NET_NEIGHBOUR_WAYS;
}

struct neighbour *neighbour_find(struct net *net, uint32_t addr)
{
    struct neighbour *set = neighbour_set(net, addr);
    for (unsigned i = 0; i < NET_NEIGHBOUR_WAYS; i++)
        if (set[i].state != NEIGHBOUR_FREE && set[i].addr == addr)
            return &set[i];
    return NULL;
}

// How willingly a place is given to another address: free, failed, stale, unanswered; one that is
// reachable never.
static unsigned neighbour_worth(const struct net *net, const struct neighbour *n)
{
    switch (n->state) {
    case NEIGHBOUR_FREE:
        return 0;
    case NEIGHBOUR_FAILED:
        return 1;
    case NEIGHBOUR_INCOMPLETE:
        return 3;
    default:
        return n->fresh_until_us < net->now_us ? 2 : 4;
    }
}

static struct neighbour *neighbour_new(struct net *net, uint32_t addr)
{
    struct neighbour *set = neighbour_set(net, addr), *victim = NULL;
    unsigned least = 4;
    for (unsigned i = 0; i < NET_NEIGHBOUR_WAYS; i++) {
        unsigned worth = neighbour_worth(net, &set[i]);
        if (worth < least || (victim && worth == least && set[i].used_us < victim->used_us)) {
            least = worth;
            victim = &set[i];
        }
    }
    if (!victim) {
        net->counters.arp_full++;
        return NULL;
    }
    neighbour_drop_waiting(net, victim);
    net_wheel_stop(&net->wheel, &victim->timer);
    *victim = (struct neighbour){.timer = {.fire = neighbour_timer},
                                 .addr = addr,
                                 .generation = victim->generation + 1,
                                 .used_us = net->now_us};
    memcpy(victim->header + 6, net->config.mac, 6);
    if (net->config.vlan) {
        store_be16(victim->header + 12, ETHERTYPE_VLAN);
        store_be16(victim->header + 14, net->config.vlan);
    }
    store_be16(victim->header + net->header_l2 - 2, ETHERTYPE_IPV4);
    return victim;
}

static void neighbour_ask(struct net *net, struct neighbour *n)
{
    n->tries++;
    arp_request(net, n->addr, n->state == NEIGHBOUR_PROBE ? n->header : NULL);
    net_wheel_start(&net->wheel, &n->timer, net->now_us + ASK_INTERVAL_US);
}

struct neighbour *neighbour_get(struct net *net, uint32_t addr)
{
    struct neighbour *n = neighbour_find(net, addr);
    if (!n) {
        n = neighbour_new(net, addr);
        if (!n)
            return NULL;
        n->state = NEIGHBOUR_INCOMPLETE;
        neighbour_ask(net, n);
    }
    return n;
}

static void neighbour_timer(void *context, struct net_timer *timer)
{
    struct net *net = context;
    struct neighbour *n = (struct neighbour *)((char *)timer - offsetof(struct neighbour, timer));
    if (n->state != NEIGHBOUR_INCOMPLETE && n->state != NEIGHBOUR_PROBE)
        return;
    if (n->state == NEIGHBOUR_PROBE && n->fresh_until_us > net->now_us) {
        n->state = NEIGHBOUR_REACHABLE; // connections were heard through it meanwhile
        return;
    }
    if (n->tries < ASK_TRIES) {
        neighbour_ask(net, n);
    } else if (n->state == NEIGHBOUR_PROBE) {
        n->state = NEIGHBOUR_INCOMPLETE; // it may have another hardware address now: ask everyone
        n->tries = 0;
        neighbour_ask(net, n);
    } else {
        n->state = NEIGHBOUR_FAILED;
        net->counters.arp_unresolved++;
        neighbour_drop_waiting(net, n);
        n->fresh_until_us = net->now_us + FAILED_HOLD_US;
    }
}

void neighbour_refresh(struct net *net, struct neighbour *n)
{
    n->used_us = net->now_us;
    if (n->fresh_until_us > net->now_us)
        return;
    if (n->state == NEIGHBOUR_REACHABLE)
        n->state = NEIGHBOUR_PROBE;
    else if (n->state == NEIGHBOUR_FAILED)
        n->state = NEIGHBOUR_INCOMPLETE;
    else
        return;
    n->tries = 0;
    neighbour_ask(net, n);
}

void neighbour_wait(struct net *net, struct neighbour *n, struct frame *f)
{
    if (n->state == NEIGHBOUR_FAILED || net->n_waiting_frames >= NET_NEIGHBOUR_WAITING_ALL) {
        net->counters.arp_unresolved++;
        net_frame_drop(net, f);
        return;
    }
    if (n->waiting_count == NET_NEIGHBOUR_WAITING) {
        net_frame_drop(net, n->waiting[0]);
        net->counters.arp_unresolved++;
        n->waiting_count--;
        net->n_waiting_frames--;
        memmove(n->waiting, n->waiting + 1, n->waiting_count * sizeof(n->waiting[0]));
    }
    n->waiting[n->waiting_count++] = f;
    net->n_waiting_frames++;
}

void neighbour_learn(struct net *net, uint32_t addr, const uint8_t mac[6], bool create,
                     bool solicited)
{
    struct neighbour *n = neighbour_find(net, addr);
    if (!n) {
        if (!create)
            return;
        n = neighbour_new(net, addr);
        if (!n)
            return;
    }
    bool usable = neighbour_usable(n);
    if (usable && memcmp(n->header, mac, 6) != 0 && !solicited &&
        net->now_us - n->learned_us < RELEARN_US)
        return;
    memcpy(n->header, mac, 6);
    n->state = NEIGHBOUR_REACHABLE;
    n->tries = 0;
    n->learned_us = net->now_us;
    neighbour_confirm(net, n);
    net_wheel_stop(&net->wheel, &n->timer);
    unsigned count = n->waiting_count;
    n->waiting_count = 0;
    net->n_waiting_frames -= count;
    for (unsigned i = 0; i < count; i++)
        net_send_to(net, n, n->waiting[i]);
}

void net_each_neighbour(struct net *net,
                        void (*each)(void *context, const struct net_neighbour *neighbour),
                        void *context)
{
    for (unsigned i = 0; i < NET_NEIGHBOUR_WAYS * NET_NEIGHBOUR_SETS; i++) {
        const struct neighbour *n = &net->neighbours[i];
        if (n->state == NEIGHBOUR_FREE)
            continue;
        static const char *const names[] = {[NEIGHBOUR_INCOMPLETE] = "INCOMPLETE",
                                            [NEIGHBOUR_REACHABLE] = "REACHABLE",
                                            [NEIGHBOUR_PROBE] = "PROBE",
                                            [NEIGHBOUR_FAILED] = "FAILED"};
        bool stale = n->state == NEIGHBOUR_REACHABLE && n->fresh_until_us <= net->now_us;
        struct net_neighbour out = {.family = 4, .age_us = net->now_us - n->learned_us};
        memcpy(out.addr, &n->addr, 4);
        if (neighbour_usable(n))
            memcpy(out.mac, n->header, 6);
        strcpy(out.state, stale ? "STALE" : names[n->state]);
        each(context, &out);
    }
}

bool neighbour_hear(struct net *net, const struct net_news *news)
{
    uint32_t addr = load_raw32(news->addr);
    struct neighbour *n = neighbour_find(net, addr);
    bool asked = n && (n->state == NEIGHBOUR_INCOMPLETE || n->state == NEIGHBOUR_PROBE);
    bool known = n && neighbour_usable(n) && memcmp(n->header, news->mac, 6) == 0;
    neighbour_learn(net, addr, news->mac, news->create, asked && news->answer);
    if (known)
        return false;
    n = neighbour_find(net, addr);
    return n && neighbour_usable(n) && memcmp(n->header, news->mac, 6) == 0;
}
