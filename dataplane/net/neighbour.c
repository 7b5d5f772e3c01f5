// Who lives on the link: addresses of both families and their hardware addresses, with the states
// of RFC 4861 7.3.2 for ARP as well. What connections hear confirms a neighbour. The table has one
// size: places are sets of few ways, keyed, so that nobody can choose whom a crowd pushes out.
#include <mimalloc.h>

#include "dataplane/net/ipv6.h"

// Between two questions for one address, and how many of them (RFC 4861 10; RFC 1122 2.3.2.1: at
// most one a second).
enum { ASK_TRIES = 3 };
// A neighbour in use has this long to be heard by connections before it is asked (RFC 4861 10).
enum { DELAY_FIRST_PROBE_US = 5000000 };
// A neighbour that did not answer is not asked again before this.
enum { FAILED_HOLD_US = 3000000 };
// Another hardware address is believed only after this long, unless we asked, so that two stations
// that fight for an address do not make it flap (Linux's locktime).
enum { LOCK_US = 1000000 };
// Questions to everyone that packets from strangers can make us ask (RFC 6583).
enum { ASKS_PER_SECOND = 1000, ASKS_BURST = 256 };
// The table is looked through piece by piece for what nobody uses.
enum {
    SWEEP_US = 4000000,
    SWEEP_SETS = 16, // the whole table in a minute
    FAILED_KEPT_US = 60000000,
    STALE_KEPT_US = 600000000,
};

static void neighbour_timer(void *context, struct net_timer *timer);
static void neighbour_sweep(void *context, struct net_timer *timer);

bool neighbours_init(struct net *net)
{
    net->neighbours = mi_calloc(NET_NEIGHBOUR_WAYS * NET_NEIGHBOUR_SETS, sizeof(struct neighbour));
    net->sweep.fire = neighbour_sweep;
    neighbour_draw_reachable(net, false, NEIGHBOUR_REACHABLE_US);
    neighbour_draw_reachable(net, true, NEIGHBOUR_REACHABLE_US);
    return net->neighbours != NULL;
}

void neighbour_draw_reachable(struct net *net, bool v6, uint64_t base_us)
{
    net->reachable_us[v6] = base_us / 2 + net_random(net) % (base_us + 1);
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

static struct neighbour *neighbour_set(struct net *net, struct net_ip addr)
{
    uint64_t words[3] = {addr.w[0], addr.w[1], 3ull << 56};
    uint64_t set = net_sip(net->key_neighbours, words, 3, 1, 3) % NET_NEIGHBOUR_SETS;
    return net->neighbours + set * NET_NEIGHBOUR_WAYS;
}

static bool neighbour_is(const struct neighbour *n, struct net_ip addr)
{
    return n->state != NEIGHBOUR_FREE && n->addr.w[1] == addr.w[1] && n->addr.w[0] == addr.w[0];
}

struct neighbour *neighbour_find(struct net *net, struct net_ip addr)
{
    struct neighbour *set = neighbour_set(net, addr);
    for (unsigned i = 0; i < NET_NEIGHBOUR_WAYS; i++)
        if (neighbour_is(&set[i], addr))
            return &set[i];
    return NULL;
}

// How willingly a place is given to another address: free, failed, unanswered, stale. Those that
// are reachable or being watched stay, so that no crowd of strangers pushes out who is in use.
enum { WORTH_KEEPING = 4 };

static unsigned neighbour_worth(const struct net *net, const struct neighbour *n)
{
    switch (n->state) {
    case NEIGHBOUR_FREE:
        return 0;
    case NEIGHBOUR_FAILED:
        return 1;
    case NEIGHBOUR_INCOMPLETE:
        return 2;
    case NEIGHBOUR_STALE:
        return 3;
    case NEIGHBOUR_REACHABLE:
        return n->fresh_until_us <= net->now_us ? 3 : WORTH_KEEPING;
    default:
        return WORTH_KEEPING;
    }
}

static void neighbour_forget(struct net *net, struct neighbour *n)
{
    if (n->state == NEIGHBOUR_FREE)
        return;
    neighbour_drop_waiting(net, n);
    net_wheel_stop(&net->wheel, &n->timer);
    n->state = NEIGHBOUR_FREE;
    n->generation++;
    net->n_neighbours--;
}

static struct neighbour *neighbour_new(struct net *net, struct net_ip addr)
{
    struct neighbour *set = neighbour_set(net, addr), *victim = NULL;
    unsigned least = WORTH_KEEPING;
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
    neighbour_forget(net, victim);
    *victim = (struct neighbour){.timer = {.fire = neighbour_timer},
                                 .state = NEIGHBOUR_INCOMPLETE,
                                 .addr = addr,
                                 .v6 = net_ip_is_v6(addr),
                                 .generation = victim->generation + 1,
                                 .used_us = net->now_us};
    memcpy(victim->header + 6, net->config.mac, 6);
    if (net->config.vlan) {
        store_be16(victim->header + 12, ETHERTYPE_VLAN);
        store_be16(victim->header + 14, net->config.vlan);
    }
    store_be16(victim->header + net->header_l2 - 2, victim->v6 ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4);
    net->n_neighbours++;
    if (!net_timer_running(&net->sweep))
        net_wheel_start(&net->wheel, &net->sweep, net->now_us + SWEEP_US);
    return victim;
}

bool neighbours_known(struct net *net)
{
    for (unsigned i = 0; i < net->config.n_neighbours; i++) {
        const struct net_known_neighbour *known = &net->config.neighbours[i];
        const struct net_address *a = &known->address;
        struct net_ip addr = a->family == 6 ? net_ip6(a->addr) : net_ip4(load_raw32(a->addr));
        struct neighbour *n = neighbour_find(net, addr);
        if (!n && !(n = neighbour_new(net, addr)))
            return false;
        memcpy(n->header, known->mac, 6);
        n->state = NEIGHBOUR_PERMANENT;
        n->fresh_until_us = UINT64_MAX;
        n->learned_us = net->now_us;
    }
    return true;
}

// Asks everyone, or in PROBE the neighbour itself.
static void neighbour_ask(struct net *net, struct neighbour *n)
{
    const uint8_t *to = n->state == NEIGHBOUR_PROBE ? n->header : NULL;
    uint64_t interval = n->v6 ? net->ip6->retrans_us : NEIGHBOUR_RETRANS_US;
    net_wheel_start(&net->wheel, &n->timer, net->now_us + interval);
    if (!to && !net_limiter_take(net, &net->neighbour_limiter, ASKS_PER_SECOND, ASKS_BURST)) {
        n->tries++;
        net->counters.neighbour_ask_limited++;
        return;
    }
    if (!n->v6) {
        n->tries++;
        arp_request(net, (uint32_t)(n->addr.w[1] >> 32), to);
    } else if (nd_solicit(net, (const uint8_t *)&n->addr, to)) {
        n->tries++; // else no address of ours may be used yet: neighbours_retry asks
    }
}

static void neighbour_begin(struct net *net, struct neighbour *n, enum neighbour_state state)
{
    n->state = (uint8_t)state;
    n->tries = 0;
    neighbour_ask(net, n);
}

void neighbours_retry(struct net *net)
{
    for (unsigned i = 0; i < NET_NEIGHBOUR_WAYS * NET_NEIGHBOUR_SETS; i++) {
        struct neighbour *n = &net->neighbours[i];
        if (n->state == NEIGHBOUR_INCOMPLETE && n->v6 && !n->tries)
            neighbour_ask(net, n);
    }
}

struct neighbour *neighbour_get(struct net *net, struct net_ip addr)
{
    struct neighbour *n = neighbour_find(net, addr);
    if (!n) {
        n = neighbour_new(net, addr);
        if (!n)
            return NULL;
        neighbour_ask(net, n);
    }
    return n;
}

static void neighbour_fail(struct net *net, struct neighbour *n)
{
    n->state = NEIGHBOUR_FAILED;
    net->counters.arp_unresolved += n->waiting_count ? n->waiting_count : 1;
    neighbour_drop_waiting(net, n);
    n->fresh_until_us = net->now_us + FAILED_HOLD_US;
    if (n->v6 && ipv6_other_way(net, n))
        n->generation++; // another router may do better
}

static void neighbour_timer(void *context, struct net_timer *timer)
{
    struct net *net = context;
    struct neighbour *n = (struct neighbour *)((char *)timer - offsetof(struct neighbour, timer));
    switch (n->state) {
    case NEIGHBOUR_DELAY:
    case NEIGHBOUR_PROBE:
        if (n->fresh_until_us > net->now_us) // connections heard it meanwhile
            n->state = NEIGHBOUR_REACHABLE;
        else if (n->state == NEIGHBOUR_DELAY)
            neighbour_begin(net, n, NEIGHBOUR_PROBE);
        else if (n->tries < ASK_TRIES)
            neighbour_ask(net, n);
        else // it may have another hardware address now (RFC 7048)
            neighbour_begin(net, n, NEIGHBOUR_INCOMPLETE);
        break;
    case NEIGHBOUR_INCOMPLETE:
        if (n->tries < ASK_TRIES)
            neighbour_ask(net, n);
        else
            neighbour_fail(net, n);
        break;
    default:
        break;
    }
}

void neighbour_refresh(struct net *net, struct neighbour *n)
{
    n->used_us = net->now_us;
    switch (n->state) {
    case NEIGHBOUR_REACHABLE:
    case NEIGHBOUR_STALE:
        n->state = NEIGHBOUR_DELAY;
        net_wheel_start(&net->wheel, &n->timer, net->now_us + DELAY_FIRST_PROBE_US);
        break;
    case NEIGHBOUR_FAILED:
        neighbour_begin(net, n, NEIGHBOUR_INCOMPLETE);
        break;
    case NEIGHBOUR_PERMANENT:
        n->fresh_until_us = UINT64_MAX;
        break;
    default:
        break;
    }
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

static void neighbour_set_state(struct net *net, struct neighbour *n, bool confirmed)
{
    net_wheel_stop(&net->wheel, &n->timer);
    n->state = confirmed ? NEIGHBOUR_REACHABLE : NEIGHBOUR_STALE;
    n->fresh_until_us = confirmed ? net->now_us + net->reachable_us[n->v6] : net->now_us;
    n->tries = 0;
}

// A hardware address for one that had none: what waited for it goes.
static void neighbour_resolve(struct net *net, struct neighbour *n, const uint8_t *mac,
                              bool confirmed)
{
    memcpy(n->header, mac, 6);
    n->learned_us = net->now_us;
    neighbour_set_state(net, n, confirmed);
    unsigned count = n->waiting_count;
    n->waiting_count = 0;
    net->n_waiting_frames -= count;
    for (unsigned i = 0; i < count; i++)
        net_send_to(net, n, n->waiting[i]);
}

// RFC 4861 7.2.3 and 7.2.5, RFC 826 for ARP (which overrides always), with two bounds: an answer
// that nobody asked for confirms nothing, and a known hardware address holds for LOCK_US.
struct neighbour *neighbour_learn(struct net *net, struct net_ip addr, const uint8_t *mac,
                                  unsigned news)
{
    static const uint8_t zero[6];
    if (mac && ((mac[0] & 1) || memcmp(mac, zero, 6) == 0)) {
        net->counters.neighbour_bad_mac++;
        return NULL;
    }
    struct neighbour *n = neighbour_find(net, addr);
    if (!n) {
        n = mac && (news & NEIGHBOUR_CREATE) ? neighbour_new(net, addr) : NULL;
        if (n)
            neighbour_resolve(net, n, mac, false);
        return n;
    }
    bool asked = n->state == NEIGHBOUR_INCOMPLETE || n->state == NEIGHBOUR_PROBE;
    bool confirmed = asked && (news & NEIGHBOUR_SOLICITED);
    if (n->state == NEIGHBOUR_PERMANENT) {
        if (mac && memcmp(n->header, mac, 6) != 0)
            net->counters.neighbour_locked++;
        return n;
    }
    if (!neighbour_usable(n)) {
        if (mac && (n->state == NEIGHBOUR_INCOMPLETE || (news & NEIGHBOUR_CREATE)))
            neighbour_resolve(net, n, mac, confirmed);
        return n;
    }
    if (mac && memcmp(n->header, mac, 6) != 0) {
        if (!confirmed && net->now_us - n->learned_us < LOCK_US) {
            net->counters.neighbour_locked++;
            return n;
        }
        if (!(news & NEIGHBOUR_OVERRIDE)) {
            if (n->state == NEIGHBOUR_REACHABLE)
                neighbour_set_state(net, n, false);
            return n;
        }
        net->counters.neighbour_changed++;
        neighbour_resolve(net, n, mac, confirmed);
    } else if (confirmed) {
        n->learned_us = net->now_us;
        neighbour_set_state(net, n, true);
    }
    return n;
}

bool neighbour_hear(struct net *net, const struct net_news *news)
{
    if (news->family == 6 && !net->ip6)
        return false;
    struct net_ip addr = news->family == 6 ? net_ip6(news->addr) : net_ip4(load_raw32(news->addr));
    struct neighbour *n = neighbour_find(net, addr);
    bool known = n && neighbour_usable(n) && memcmp(n->header, news->mac, 6) == 0;
    n = neighbour_learn(net, addr, news->mac,
                        (news->create ? NEIGHBOUR_CREATE : 0u) |
                            (news->answer ? NEIGHBOUR_SOLICITED : 0u) |
                            (news->override ? NEIGHBOUR_OVERRIDE : 0u));
    return !known && n && neighbour_usable(n) && memcmp(n->header, news->mac, 6) == 0;
}

// Garbage collection: what failed or was not used for long gives its place back.
static void neighbour_sweep(void *context, struct net_timer *timer)
{
    struct net *net = context;
    for (unsigned i = 0; i < SWEEP_SETS * NET_NEIGHBOUR_WAYS; i++) {
        struct neighbour *n = &net->neighbours[net->sweep_at++];
        net->sweep_at %= NET_NEIGHBOUR_SETS * NET_NEIGHBOUR_WAYS;
        uint64_t last_us = n->used_us > n->learned_us ? n->used_us : n->learned_us;
        uint64_t idle_us = net->now_us - last_us;
        bool stale = n->state == NEIGHBOUR_STALE ||
                     (n->state == NEIGHBOUR_REACHABLE && n->fresh_until_us <= net->now_us);
        if ((n->state == NEIGHBOUR_FAILED && idle_us > FAILED_KEPT_US) ||
            (stale && idle_us > STALE_KEPT_US))
            neighbour_forget(net, n);
    }
    if (net->sweep_at == 0) { // RFC 4861 6.3.4: drawn anew even when no router says so
        neighbour_draw_reachable(net, false, NEIGHBOUR_REACHABLE_US);
        if (net->ip6)
            neighbour_draw_reachable(net, true, net->ip6->reachable_base_us);
    }
    if (net->n_neighbours > net->config.n_neighbours)
        net_wheel_start(&net->wheel, timer, net->now_us + SWEEP_US);
}

static const char *neighbour_state_name(const struct net *net, const struct neighbour *n)
{
    static const char *const names[] = {
        [NEIGHBOUR_INCOMPLETE] = "INCOMPLETE", [NEIGHBOUR_FAILED] = "FAILED",
        [NEIGHBOUR_REACHABLE] = "REACHABLE",   [NEIGHBOUR_STALE] = "STALE",
        [NEIGHBOUR_DELAY] = "DELAY",           [NEIGHBOUR_PROBE] = "PROBE",
        [NEIGHBOUR_PERMANENT] = "PERMANENT"};
    // Time and confirmations change the state when somebody looks.
    bool fresh = n->fresh_until_us > net->now_us;
    if (n->state == NEIGHBOUR_REACHABLE && !fresh)
        return names[NEIGHBOUR_STALE];
    if ((n->state == NEIGHBOUR_DELAY || n->state == NEIGHBOUR_PROBE) && fresh)
        return names[NEIGHBOUR_REACHABLE];
    return names[n->state];
}

void net_each_neighbour(struct net *net,
                        void (*each)(void *context, const struct net_neighbour *neighbour),
                        void *context)
{
    for (unsigned i = 0; i < NET_NEIGHBOUR_WAYS * NET_NEIGHBOUR_SETS; i++) {
        const struct neighbour *n = &net->neighbours[i];
        if (n->state == NEIGHBOUR_FREE)
            continue;
        struct net_neighbour out = {.family = n->v6 ? 6 : 4,
                                    .router = n->router,
                                    .age_us =
                                        net->now_us - (n->learned_us ? n->learned_us : n->used_us)};
        if (n->v6)
            memcpy(out.addr, &n->addr, 16);
        else
            memcpy(out.addr, (const uint8_t *)&n->addr + 12, 4);
        if (neighbour_usable(n))
            memcpy(out.mac, n->header, 6);
        strcpy(out.state, neighbour_state_name(net, n));
        each(context, &out);
    }
}
