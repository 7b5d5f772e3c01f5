// What an operator may see of a connection. Asks the kernel: not for the loop.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "drivers/sockets_internal.h"

bool endpoint_from(const struct sockaddr_storage *from, struct endpoint *to)
{
    *to = (struct endpoint){0};
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
        to->family = 4;
        to->port = ntohs(v4->sin_port);
        memcpy(to->addr, &v4->sin_addr, 4);
        return true;
    }
    if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
        to->family = 6;
        to->port = ntohs(v6->sin6_port);
        memcpy(to->addr, &v6->sin6_addr, 16);
        return true;
    }
    return from->ss_family == AF_UNIX;
}

// The kernel's numbers of states start with 1 (net/tcp_states.h).
static const char *state_name(unsigned state)
{
    static const char *const names[] = {
        "UNKNOWN",   "ESTABLISHED", "SYN-SENT",   "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2",
        "TIME-WAIT", "CLOSED",      "CLOSE-WAIT", "LAST-ACK",     "LISTEN",     "CLOSING",
    };
    return state < sizeof(names) / sizeof(names[0]) ? names[state] : names[0];
}

void connection_info(const struct stream *stream, struct stream_info *info)
{
    const struct connection *c = (const struct connection *)stream;
    *info = (struct stream_info){
        .owner = stream_owner(stream),
        .unread = receive_unread(c),
        .unsent = send_unsent(stream),
        .bytes_in = c->bytes_in,
        .bytes_out = c->bytes_out,
        .remote = c->remote,
    };
    snprintf(info->state, sizeof(info->state), "%s", c->dead ? "CLOSED" : "ESTABLISHED");
    if (c->fd < 0)
        return;
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    if (getsockname(c->fd, (struct sockaddr *)&address, &size) == 0)
        endpoint_from(&address, &info->local);
    struct tcp_info t = {0};
    size = sizeof(t);
    if (c->unix_peer || getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &t, &size) < 0)
        return;
    snprintf(info->state, sizeof(info->state), "%s", state_name(t.tcpi_state));
    info->passive = c->to == NULL;
    info->rtt_us = t.tcpi_rtt;
    info->rttvar_us = t.tcpi_rttvar;
    info->rto_us = t.tcpi_rto;
    info->mss = t.tcpi_snd_mss;
    info->cwnd = t.tcpi_snd_cwnd * t.tcpi_snd_mss;
    // The kernel counts segments, and starts with a threshold that nothing reaches.
    uint64_t ssthresh = (uint64_t)t.tcpi_snd_ssthresh * t.tcpi_snd_mss;
    info->ssthresh = ssthresh > UINT32_MAX ? UINT32_MAX : (uint32_t)ssthresh;
    info->snd_wnd = t.tcpi_snd_wnd;
    info->rcv_wnd = t.tcpi_rcv_space;
    info->unacked = (uint64_t)t.tcpi_unacked * t.tcpi_snd_mss;
    info->unsent += t.tcpi_notsent_bytes;
    info->segments_in = t.tcpi_segs_in;
    info->segments_out = t.tcpi_segs_out;
    info->retransmitted = t.tcpi_total_retrans;
    info->unacked_segments = t.tcpi_unacked;
    info->lost = t.tcpi_lost * t.tcpi_snd_mss;
    info->sacked = t.tcpi_sacked * t.tcpi_snd_mss;
    info->resent = t.tcpi_retrans * t.tcpi_snd_mss;
    info->reordering = t.tcpi_reordering;
    info->reordering_seen = t.tcpi_reord_seen;
    info->dsack_duplicates = t.tcpi_dsack_dups;
    info->out_of_order = t.tcpi_rcv_ooopack;
    info->min_rtt_us = t.tcpi_min_rtt == UINT32_MAX ? 0 : t.tcpi_min_rtt;
    info->receive_rtt_us = t.tcpi_rcv_rtt;
    info->ato_us = t.tcpi_ato;
    info->receive_mss = t.tcpi_rcv_mss;
    info->peer_mss = t.tcpi_advmss;
    info->pmtu = t.tcpi_pmtu;
    info->rcv_space = t.tcpi_rcv_space;
    info->bytes_acked = t.tcpi_bytes_acked;
    info->bytes_retransmitted = t.tcpi_bytes_retrans;
    info->data_segments_in = t.tcpi_data_segs_in;
    info->data_segments_out = t.tcpi_data_segs_out;
    // All ones: no limit.
    info->pacing_rate = t.tcpi_pacing_rate == UINT64_MAX ? 0 : t.tcpi_pacing_rate;
    info->delivery_rate = t.tcpi_delivery_rate;
    info->delivered = t.tcpi_delivered;
    info->application_limited = t.tcpi_delivery_rate_app_limited;
    info->last_sent_us = t.tcpi_last_data_sent * 1000ull;
    info->last_received_us = t.tcpi_last_data_recv * 1000ull;
    info->last_ack_us = t.tcpi_last_ack_recv * 1000ull;
    info->busy_us = t.tcpi_busy_time;
    info->window_limited_us = t.tcpi_rwnd_limited;
    info->buffer_limited_us = t.tcpi_sndbuf_limited;
    info->backoff = t.tcpi_backoff;
    info->snd_scale = t.tcpi_snd_wscale;
    info->rcv_scale = t.tcpi_rcv_wscale;
    info->scaling = (t.tcpi_options & TCPI_OPT_WSCALE) != 0;
    info->timestamps = (t.tcpi_options & TCPI_OPT_TIMESTAMPS) != 0;
    info->sack = (t.tcpi_options & TCPI_OPT_SACK) != 0;
    info->ecn = (t.tcpi_options & TCPI_OPT_ECN) != 0;
    info->ecn_seen = (t.tcpi_options & TCPI_OPT_ECN_SEEN) != 0;
}

void connection_congestion(const struct stream *stream, struct stream_info *info)
{
    const struct connection *c = (const struct connection *)stream;
    socklen_t size = sizeof(info->congestion) - 1;
    if (c->fd < 0 || c->unix_peer ||
        getsockopt(c->fd, IPPROTO_TCP, TCP_CONGESTION, info->congestion, &size) < 0)
        info->congestion[0] = '\0';
    info->congestion[sizeof(info->congestion) - 1] = '\0';
}
