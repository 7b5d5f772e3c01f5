// ICMP (RFC 792, RFC 1122 3.2.2): echo, destination unreachable both ways. What strangers can make
// us send is limited.
#include "dataplane/net/homes.h"
#include "dataplane/net/internal.h"
#include "dataplane/net/ping.h"

enum {
    ICMP_ECHO_REPLY = 0,
    ICMP_UNREACHABLE = 3,
    ICMP_ECHO = 8,
    ICMP_TIME_EXCEEDED = 11,
    ICMP_HEADER = 8,
    ICMP_TOO_BIG = 4, // a code of ICMP_UNREACHABLE: fragmentation needed
};

// Answers to echo: enough for flood pings of an operator, little beside the data path. Errors: RFC
// 1812 4.3.2.8 wants a limit and leaves the figure to us.
enum { ICMP_PER_SECOND = 10000, ICMP_BURST = 1000 };

static void icmp_send(struct net *net, struct frame *f, uint32_t src, uint32_t dst, uint32_t len)
{
    uint8_t *icmp = f->data + net->header_l2 + IPV4_HEADER;
    memset(icmp + 2, 0, 2);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(icmp, len, 0));
    memcpy(icmp + 2, &sum, 2);
    ipv4_write(net, f, src, dst, PROTOCOL_ICMP, 0, len);
    f->l4_len = ICMP_HEADER;
    net->counters.icmp_out++;
    net_send_to(net, ipv4_route(net, dst), f);
}

static void icmp_echo(struct net *net, const struct packet *p)
{
    if (p->l4_len > net->mtu - (uint32_t)IPV4_HEADER) {
        net->counters.icmp_bad++;
        return;
    }
    if (!net_limiter_take(net, &net->icmp_limiter, ICMP_PER_SECOND, ICMP_BURST)) {
        net->counters.icmp_limited++;
        return;
    }
    struct frame *f = net_frame_new(net, false);
    if (!f)
        return;
    uint8_t *icmp = f->data + net->header_l2 + IPV4_HEADER;
    memcpy(icmp, p->l4, p->l4_len);
    icmp[0] = ICMP_ECHO_REPLY;
    icmp_send(net, f, p->dst, p->src, p->l4_len);
}

static struct net_address icmp_sender(const struct packet *p)
{
    struct net_address from = {.family = 4, .prefix = 32};
    memcpy(from.addr, &p->src, 4);
    return from;
}

// A reply to nobody here may be another stack's.
static void icmp_echo_reply(struct net *net, const struct packet *p)
{
    struct net_address from = icmp_sender(p);
    if (!ping_reply(net, &from, p->ip[8], p->l4, p->l4_len))
        homes_show(net, p->frame);
}

// An error about an echo that we (or another stack) asked for. False: about something else.
static bool icmp_error_of_echo(struct net *net, const struct packet *p)
{
    const uint8_t *quoted = p->l4 + ICMP_HEADER;
    uint32_t len = p->l4_len - ICMP_HEADER, header = len ? (quoted[0] & 15u) * 4 : 0;
    if (len < IPV4_HEADER || quoted[0] >> 4 != 4 || header < IPV4_HEADER ||
        len < header + ICMP_HEADER || quoted[9] != PROTOCOL_ICMP ||
        !ipv4_is_ours(net, load_raw32(quoted + 12)))
        return false;
    struct net_address from = icmp_sender(p);
    if (!ping_error(net, &from, p->l4[0], p->l4[1], load_be16(p->l4 + 6), quoted + header,
                    len - header))
        homes_show(net, p->frame);
    return true;
}

// The packet that is quoted must be a TCP segment that we sent, or an echo.
static void icmp_unreachable_input(struct net *net, const struct packet *p)
{
    const uint8_t *quoted = p->l4 + ICMP_HEADER;
    uint32_t len = p->l4_len - ICMP_HEADER, header = len ? (quoted[0] & 15u) * 4 : 0;
    net->counters.icmp_unreachable++;
    if (icmp_error_of_echo(net, p))
        return;
    if (len < IPV4_HEADER || quoted[0] >> 4 != 4 || header < IPV4_HEADER || len < header + 8 ||
        quoted[9] != PROTOCOL_TCP || !ipv4_is_ours(net, load_raw32(quoted + 12))) {
        net->counters.icmp_foreign++;
        return;
    }
    const uint8_t *tcp = quoted + header;
    struct net_flow flow = {.local = load_raw32(quoted + 12), .remote = load_raw32(quoted + 16)};
    memcpy(&flow.local_port, tcp, 2);
    memcpy(&flow.remote_port, tcp + 2, 2);
    if (homes_pass_error(net, p->frame, &flow))
        return;
    if (p->l4[1] == ICMP_TOO_BIG) {
        net->counters.icmp_too_big++;
        homes_show(net, p->frame); // it need not come to the flow's own queue
        tcp_packet_too_big(net, &flow, load_be32(tcp + 4), load_be16(p->l4 + 6));
    } else {
        tcp_unreachable(net, &flow, load_be32(tcp + 4), p->l4[1]);
    }
}

void icmp_input(struct net *net, const struct packet *p)
{
    net->counters.icmp_in++;
    if (p->l4_len < ICMP_HEADER || net_sum_fold(net_sum(p->l4, p->l4_len, 0)) != 0xffff) {
        net->counters.icmp_bad++;
        return;
    }
    if (p->l4[0] == ICMP_ECHO && p->l4[1] == 0)
        icmp_echo(net, p);
    else if (p->l4[0] == ICMP_ECHO_REPLY)
        icmp_echo_reply(net, p);
    else if (p->l4[0] == ICMP_UNREACHABLE)
        icmp_unreachable_input(net, p);
    else if (p->l4[0] == ICMP_TIME_EXCEEDED)
        icmp_error_of_echo(net, p);
}

void icmp_unreachable(struct net *net, const struct packet *p, uint8_t code)
{
    if (!net_limiter_take(net, &net->icmp_limiter, ICMP_PER_SECOND, ICMP_BURST)) {
        net->counters.icmp_limited++;
        return;
    }
    struct frame *f = net_frame_new(net, false);
    if (!f)
        return;
    // The offending header and at least 8 bytes behind it; more helps the sender find its socket.
    uint32_t quote = IPV4_HEADER + p->l4_len;
    if (quote > 128)
        quote = 128;
    uint8_t *icmp = f->data + net->header_l2 + IPV4_HEADER;
    memset(icmp, 0, ICMP_HEADER);
    icmp[0] = ICMP_UNREACHABLE;
    icmp[1] = code;
    memcpy(icmp + ICMP_HEADER, p->ip, quote);
    icmp_send(net, f, p->dst, p->src, ICMP_HEADER + quote);
}
