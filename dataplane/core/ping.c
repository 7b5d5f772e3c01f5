// PLANE_PING: one echo, sent by this core's stack; the answer is what became of it.
#include <arpa/inet.h>
#include <errno.h>
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

#include "common/resp_text.h"
#include "dataplane/core/message.h"

struct asked {
    struct core *core;
    struct plane_message asker;
};

static void refuse(struct core *c, const struct plane_message *m, const char *why)
{
    control_answer(c, PLANE_ERROR, m, why, strlen(why));
}

static void done(void *context, const struct net_ping_result *r)
{
    static const char *const outcomes[] = {[NET_PING_REPLY] = "reply",
                                           [NET_PING_TIMED_OUT] = "timeout",
                                           [NET_PING_UNRESOLVED] = "unresolved",
                                           [NET_PING_ERROR] = "error"};
    struct asked *a = context;
    struct resp_text t = {.resp = 3};
    char from[INET6_ADDRSTRLEN] = "";
    if (r->from.family)
        inet_ntop(r->from.family == 6 ? AF_INET6 : AF_INET, r->from.addr, from, sizeof(from));
    resp_open(&t, '%');
    resp_field_string(&t, "outcome", outcomes[r->outcome]);
    resp_field_integer(&t, "core", a->core->index);
    resp_field_integer(&t, "seq", r->seq);
    resp_field_string(&t, "from", from);
    if (r->outcome == NET_PING_REPLY) {
        resp_field_integer(&t, "rtt_us", (int64_t)r->rtt_us);
        resp_field_integer(&t, "ttl", r->hops);
        resp_field_integer(&t, "size", r->size);
        resp_field_bool(&t, "damaged", r->damaged);
    } else if (r->outcome == NET_PING_ERROR) {
        resp_field_integer(&t, "type", r->type);
        resp_field_integer(&t, "code", r->code);
        resp_field_integer(&t, "mtu", r->mtu);
    }
    resp_close(&t);
    if (!t.failed)
        control_answer(a->core, PLANE_PING, &a->asker, t.data, t.len);
    resp_text_free(&t);
    mi_free(a);
}

void ping_begin(struct core *c, const struct plane_message *m, const uint8_t *data, size_t len)
{
    struct plane_ping ask;
    if (!c->server->dpdk) {
        refuse(c, m, "with transport socket the kernel has the NIC: use ping(8)");
        return;
    }
    if (!c->net) {
        refuse(c, m, "this core has no queue, and so no stack: ask another with --core");
        return;
    }
    if (len != sizeof(ask)) {
        refuse(c, m, "the question has another length");
        return;
    }
    memcpy(&ask, data, sizeof(ask));
    struct asked *a = mi_malloc(sizeof(*a));
    if (!a) {
        refuse(c, m, "no memory for the echo");
        return;
    }
    *a = (struct asked){.core = c, .asker = *m};
    struct net_ping ping = {.to = {.family = ask.family == 6 ? 6 : 4},
                            .size = ask.size,
                            .seq = ask.seq,
                            .timeout_us = ask.timeout_us,
                            .done = done,
                            .context = a};
    memcpy(ping.to.addr, ask.address, sizeof(ping.to.addr));
    int e = net_ping(c->net, &ping);
    if (!e)
        return;
    mi_free(a);
    refuse(c, m,
           e == -ENETUNREACH     ? "no route: the address is on no link of ours, and there is no "
                                   "gateway (nic-gateway)"
           : e == -EAFNOSUPPORT  ? "the server has no address of this family (nic-address)"
           : e == -EADDRNOTAVAIL ? "no address of ours can be used towards it yet"
           : e == -EINVAL        ? "the address is our own, or no single host's"
           : e == -EMSGSIZE      ? "the echo is larger than the MTU: nothing is fragmented here"
           : e == -EBUSY         ? "too many echoes are under way: try again"
                                 : "no frame or memory for the echo: try again");
}
