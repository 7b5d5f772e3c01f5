#include "dataplane/net/path.h"
#include "dataplane/net/homes.h"

#include <mimalloc.h>

#include "dataplane/net/internal.h"

// The table is walked at most this often.
enum { LOOK_US = 1000000 };

struct path_key {
    uint64_t addr[2];
    uint8_t family;
};

static struct path_key key_of(const struct net_flow *flow)
{
    struct path_key k = {.addr = {flow->remote}, .family = 4};
    if (flow->pair) {
        memcpy(k.addr, flow->pair->remote, 16);
        k.family = 6;
    }
    return k;
}

static struct net_path *set_of(const struct net *net, const struct path_key *k)
{
    uint64_t words[3] = {k->addr[0], k->addr[1], k->family};
    return net->paths.path +
           net_sip(net->key_paths, words, 3, 1, 3) % NET_PATH_SETS * NET_PATH_WAYS;
}

static struct net_path *find(const struct net *net, const struct path_key *k)
{
    if (!net->paths.path)
        return NULL;
    struct net_path *set = set_of(net, k);
    for (unsigned i = 0; i < NET_PATH_WAYS; i++)
        if (set[i].family == k->family && set[i].addr[0] == k->addr[0] &&
            set[i].addr[1] == k->addr[1])
            return &set[i];
    return NULL;
}

uint32_t net_path_mtu(const struct net *net, const struct net_flow *flow)
{
    uint32_t link = net_link_mtu(net, flow);
    if (likely(!net->paths.path))
        return link;
    struct path_key k = key_of(flow);
    const struct net_path *p = find(net, &k);
    return p && p->mtu < link ? p->mtu : link;
}

// A free place, or that of the entry that would be forgotten first. NULL: no memory.
static struct net_path *place(struct net *net, const struct path_key *k)
{
    struct net_paths *paths = &net->paths;
    if (!paths->path) {
        paths->path = mi_calloc(NET_PATH_SETS * NET_PATH_WAYS, sizeof(*paths->path));
        if (!paths->path) {
            net->counters.no_memory++;
            return NULL;
        }
        paths->look_us = net->now_us + NET_PATH_AGE_US;
    }
    struct net_path *set = set_of(net, k), *best = set;
    for (unsigned i = 0; i < NET_PATH_WAYS; i++) {
        if (!set[i].family)
            return &set[i];
        if (set[i].until_us < best->until_us)
            best = &set[i];
    }
    net->counters.pmtu_full++;
    return best;
}

static bool learn(struct net *net, const struct path_key *k, uint32_t mtu)
{
    struct net_path *p = find(net, k);
    if (mtu < (k->family == 4 ? NET_PATH_MIN_4 : NET_PATH_MIN_6) || (mtu >= net->mtu && !p))
        return false;
    if (!p && !(p = place(net, k)))
        return false;
    if (mtu >= net->mtu)
        *p = (struct net_path){0};
    else
        *p = (struct net_path){.addr = {k->addr[0], k->addr[1]},
                               .until_us = net->now_us + NET_PATH_AGE_US,
                               .mtu = (uint16_t)mtu,
                               .family = k->family};
    net->path_generation++;
    return true;
}

void net_path_learn(struct net *net, const struct net_flow *flow, uint32_t mtu)
{
    struct path_key k = key_of(flow);
    if (!learn(net, &k, mtu))
        return;
    struct net_news news = {.kind = NET_NEWS_MTU,
                            .family = k.family,
                            .mtu = (uint16_t)(mtu < net->mtu ? mtu : net->mtu)};
    memcpy(news.addr, k.addr, sizeof(news.addr));
    homes_tell(net, &news);
}

void net_learn_mtu(struct net *net, uint8_t family, const uint8_t addr[16], uint16_t mtu)
{
    struct path_key k = {.family = family};
    memcpy(k.addr, addr, family == 4 ? 4 : 16);
    learn(net, &k, mtu);
}

void net_paths_advance(struct net *net)
{
    struct net_paths *paths = &net->paths;
    uint64_t next = net->now_us + NET_PATH_AGE_US;
    bool changed = false;
    for (unsigned i = 0; i < NET_PATH_SETS * NET_PATH_WAYS; i++) {
        struct net_path *p = &paths->path[i];
        if (!p->family)
            continue;
        if (p->until_us <= net->now_us) {
            *p = (struct net_path){0};
            net->counters.pmtu_expired++;
            changed = true;
        } else if (p->until_us < next) {
            next = p->until_us;
        }
    }
    paths->look_us = next < net->now_us + LOOK_US ? net->now_us + LOOK_US : next;
    net->path_generation += changed;
}
