// Names for the counters of the transports, in the order of their structs.
#include "dataplane/core/core.h"

static const char *const net_names[] = {"frames_in",
                                        "frames_out",
                                        "bytes_in",
                                        "bytes_out",
                                        "drop_short",
                                        "drop_ethertype",
                                        "drop_vlan",
                                        "drop_not_ours",
                                        "arp_in",
                                        "arp_out",
                                        "arp_bad",
                                        "arp_full",
                                        "arp_unresolved",
                                        "ip_bad_header",
                                        "ip_bad_sum",
                                        "ip_fragment",
                                        "ip_options",
                                        "ip_martian",
                                        "ip_protocol",
                                        "ip_ttl",
                                        "icmp_in",
                                        "icmp_out",
                                        "icmp_bad",
                                        "icmp_limited",
                                        "icmp_unreachable",
                                        "tcp_in",
                                        "tcp_out",
                                        "tcp_bad_header",
                                        "tcp_bad_sum",
                                        "tcp_partial_sum",
                                        "tcp_bad_option",
                                        "tcp_accepted",
                                        "tcp_connected",
                                        "tcp_closed",
                                        "tcp_reset_in",
                                        "tcp_reset_out",
                                        "tcp_no_port",
                                        "tcp_reset_bad",
                                        "tcp_syn_bad",
                                        "tcp_challenge_ack",
                                        "tcp_challenge_limited",
                                        "tcp_out_of_window",
                                        "tcp_paws",
                                        "tcp_old_ack",
                                        "tcp_future_ack",
                                        "tcp_out_of_order",
                                        "tcp_ooo_dropped",
                                        "tcp_overlap",
                                        "tcp_duplicate",
                                        "tcp_retransmit_timer",
                                        "tcp_retransmit_fast",
                                        "tcp_timeouts",
                                        "tcp_zero_window_probes",
                                        "tcp_keepalive_probes",
                                        "tcp_keepalive_dropped",
                                        "tcp_user_timeouts",
                                        "tcp_syn_dropped",
                                        "tcp_syn_refused",
                                        "tcp_connections_full",
                                        "tcp_half_open_timeout",
                                        "tcp_time_wait",
                                        "tcp_time_wait_recycled",
                                        "tcp_receive_memory_full",
                                        "no_frame",
                                        "no_memory"};
static const char *const socket_names[] = {
    "accepted",  "closed",   "resets", "refused_admission", "accept_errors", "bytes_in",
    "bytes_out", "receives", "sends",  "buffers_empty",     "unread_stops"};

_Static_assert(sizeof(net_names) / sizeof(*net_names) ==
                   sizeof(struct net_counters) / sizeof(uint64_t),
               "each counter of the stack has its name here, in order");
_Static_assert(sizeof(socket_names) / sizeof(*socket_names) ==
                   sizeof(struct sockets_counters) / sizeof(uint64_t),
               "each counter of the sockets has its name here, in order");

unsigned counters_of(struct core *c, const char *const **names, const uint64_t **values)
{
    if (c->net) {
        *names = net_names;
        *values = (const uint64_t *)net_counters(c->net);
        return sizeof(net_names) / sizeof(*net_names);
    }
    if (c->sockets) {
        *names = socket_names;
        *values = (const uint64_t *)sockets_counters(c->sockets);
        return sizeof(socket_names) / sizeof(*socket_names);
    }
    return 0;
}
