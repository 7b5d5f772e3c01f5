// The stack's counters: one table, from which struct net_counters, what a core tells the control
// plane and `polluxctl nic` are made. A counter that is added here appears for the operator at
// once: names and descriptions travel with the values, so both planes need not be of one build.
//
// One counter for each cause: every drop, every defence and every event that an operator may ask
// about. Counters only grow. Groups:
//   FRAMES     what passes the port          DROPS    what came in and was thrown away, by cause
//   NEIGHBOUR  ARP and neighbour discovery   IP       IPv4 and IPv6
//   ICMP       echo, errors, path MTU        TCP      connections and segments in order
//   RECOVERY   loss, retransmission, SACK    DEFENCES attacks and abuse that were refused
//   QUEUES     flows and frames between cores   MEMORY  bounds of memory that were hit
//
// X(name, group, description): the description is one line that says what is counted, in an
// operator's words. New ones go to the end of their group. The first eight lie in one cache line.
#pragma once

#include <stdint.h>

// clang-format off
#define NET_COUNTERS(X)                                                                            \
    X(frames_in, FRAMES, "frames taken from the port")                                             \
    X(bytes_in, FRAMES, "bytes of frames taken, Ethernet headers included")                        \
    X(frames_out, FRAMES, "frames given to the port")                                              \
    X(bytes_out, FRAMES, "bytes of frames given, Ethernet headers included")                       \
    X(tcp_in, TCP, "segments received")                                                            \
    X(tcp_out, TCP, "segments sent")                                                               \
    /* what came in and was thrown away */                                                         \
    X(drop_short, DROPS, "frames too short for their headers")                                     \
    X(drop_ethertype, DROPS, "frames of a protocol that is not spoken here")                       \
    X(drop_vlan, DROPS, "frames of another VLAN")                                                  \
    X(drop_not_ours, DROPS, "frames or packets for somebody else's address")                       \
    X(ip_bad_header, DROPS, "IP headers with a wrong version or length")                           \
    X(ip_bad_sum, DROPS, "packets with a wrong IP checksum, or that the port calls damaged")       \
    X(ip_protocol, DROPS, "packets of a protocol that is not spoken here (answered by ICMP)")      \
    X(ip_ttl, DROPS, "packets whose time to live was over")                                        \
    X(ip6_no_next, DROPS, "IPv6 packets without an upper protocol")                                \
    X(tcp_bad_header, DROPS, "TCP headers with a wrong length, port or address")                   \
    X(tcp_bad_sum, DROPS, "segments with a wrong TCP checksum")                                    \
    X(tcp_partial_sum, DROPS, "segments whose sum is half done: sender on veth, see ethtool -K tx off") \
    X(tcp_no_port, DROPS, "segments to a port where nobody listens (answered by RST)")             \
    /* who lives on the link */                                                                    \
    X(arp_in, NEIGHBOUR, "ARP packets received")                                                   \
    X(arp_out, NEIGHBOUR, "ARP packets sent")                                                      \
    X(arp_bad, NEIGHBOUR, "ARP packets that make no sense")                                        \
    X(arp_full, NEIGHBOUR, "neighbours that found no place: all in their set are in use")          \
    X(arp_unresolved, NEIGHBOUR, "packets dropped because a neighbour did not answer")             \
    X(nd_in, NEIGHBOUR, "neighbour discovery messages received")                                   \
    X(nd_out, NEIGHBOUR, "solicitations of neighbours and routers sent")                           \
    X(nd_bad, NEIGHBOUR, "neighbour discovery messages that make no sense")                        \
    X(nd_probes, NEIGHBOUR, "probes for another owner of an address of ours")                      \
    X(nd_duplicate, NEIGHBOUR, "addresses given up because another host has them")                 \
    X(nd_looped, NEIGHBOUR, "probes of ours that the link sent back")                              \
    X(nd_router_in, NEIGHBOUR, "router advertisements heeded")                                     \
    X(nd_router_ignored, NEIGHBOUR, "router advertisements ignored (nic-router-advertisements no)") \
    X(neighbour_changed, NEIGHBOUR, "neighbours that took another hardware address")               \
    /* ICMP */                                                                                     \
    X(icmp_in, ICMP, "ICMP packets received")                                                      \
    X(icmp_out, ICMP, "ICMP packets sent")                                                         \
    X(icmp_bad, ICMP, "ICMP packets that are short, long or damaged")                              \
    X(icmp_limited, ICMP, "ICMP answers that the rate limit held back")                            \
    X(pmtu_lowered, ICMP, "times that segments of a connection became smaller for its path")      \
    X(pmtu_raised, ICMP, "times that they became larger again")                                    \
    X(pmtu_expired, ICMP, "limits of paths that were forgotten after ten minutes")                 \
    X(pmtu_full, ICMP, "limits of paths that gave way to newer ones")                              \
    X(pmtu_repeated, ICMP, "packet too big that told nothing new")                                 \
    X(pmtu_black_hole, ICMP, "paths found that lose large packets without a word")                 \
    X(pmtu_probes, ICMP, "segments sent to find out whether larger ones pass")                     \
    X(pmtu_probe_lost, ICMP, "such segments that did not pass")                                    \
    X(icmp_unreachable, ICMP, "destination unreachable received")                                  \
    X(icmp_too_big, ICMP, "packet too big, or fragmentation needed, received")                     \
    /* connections and segments */                                                                 \
    X(tcp_accepted, TCP, "connections accepted")                                                   \
    X(tcp_connected, TCP, "connections opened by us")                                              \
    X(tcp_closed, TCP, "connections that ended, for whatever reason")                              \
    X(tcp_reset_in, TCP, "connections ended by the peer's RST")                                    \
    X(tcp_reset_out, TCP, "RST segments sent")                                                     \
    X(tcp_joined, TCP, "segments that joined the one before them in their burst")                  \
    X(tcp_bad_option, TCP, "segments dropped because their options are malformed")                 \
    X(tcp_duplicate, TCP, "segments received again in full")                                       \
    X(tcp_overlap, TCP, "segments that hold in part what was there already")                       \
    X(tcp_out_of_order, TCP, "segments received ahead of a gap and kept")                          \
    X(tcp_ooo_dropped, TCP, "segments ahead of a gap that found no room")                          \
    X(tcp_out_of_window, TCP, "segments outside the receive window")                               \
    X(tcp_old_ack, TCP, "acknowledgements of what was acknowledged long ago")                      \
    X(tcp_future_ack, TCP, "acknowledgements of what was never sent")                              \
    X(tcp_zero_window_probes, TCP, "probes sent into a closed window")                             \
    X(tcp_keepalive_probes, TCP, "keepalive probes sent")                                          \
    X(tcp_keepalive_dropped, TCP, "connections ended because keepalive found nobody")              \
    X(tcp_user_timeouts, TCP, "connections ended by tcp-user-timeout")                             \
    X(tcp_timeouts, TCP, "connections of ours that could not be opened in time")                   \
    X(tcp_time_wait, TCP, "connections that went to TIME-WAIT")                                    \
    X(tcp_time_wait_recycled, TCP, "TIME-WAIT entries that ended early to make room")              \
    X(tcp_port_reused, TCP, "connections of ours that took a port out of TIME-WAIT (RFC 6191)")    \
    X(tcp_port_exhausted, TCP, "connections not opened: no source port left for the destination")  \
    /* loss and what became of it */                                                               \
    X(tcp_retransmit_timer, RECOVERY, "retransmission time-outs (RTO)")                        \
    X(tcp_retransmit_fast, RECOVERY, "fast recoveries begun")                                       \
    X(tcp_sack_out, RECOVERY, "acknowledgements sent with SACK blocks")                            \
    X(tcp_paced, RECOVERY, "times that data waited to leave in smaller bursts")                    \
    X(tcp_ecn_agreed, RECOVERY, "connections that speak ECN (RFC 3168)")                           \
    X(tcp_ecn_marked, RECOVERY, "segments of data that the network marked (CE)")                   \
    X(tcp_ecn_reduced, RECOVERY, "times that a mark lowered a window")                             \
    X(tcp_dsack_out, RECOVERY, "duplicates that the peer was told of (DSACK, RFC 2883)")           \
    X(tcp_dsack_in, RECOVERY, "duplicates that the peer told of (DSACK)")                          \
    X(tcp_sack_bad, RECOVERY, "SACK blocks that were not believed: backwards or outside of what is in flight") \
    X(tcp_sack_reneged, RECOVERY, "time-outs at data that the peer had told of by SACK and forgot (RFC 2018 8)") \
    X(tcp_rack_lost, RECOVERY, "frames found lost because later ones arrived (RACK, RFC 8985)")    \
    X(tcp_lost_again, RECOVERY, "retransmissions found lost")                                      \
    X(tcp_reordering, RECOVERY, "frames that arrived behind later ones")                           \
    X(tcp_probes, RECOVERY, "loss probes sent (TLP, RFC 8985)")                                    \
    X(tcp_probes_repaired, RECOVERY, "loss probes that repaired a loss")                           \
    X(tcp_probes_spurious, RECOVERY, "loss probes that were not needed")                           \
    X(tcp_limited_transmit, RECOVERY, "frames of new data that duplicate ACKs let out (RFC 3042)") \
    X(tcp_undo_eifel, RECOVERY, "window reductions undone: timestamps show a late original (RFC 3522)") \
    X(tcp_undo_dsack, RECOVERY, "window reductions undone: all that went again was there (RFC 3708)") \
    X(tcp_undo_frto, RECOVERY, "time-outs undone: what was sent before them still arrives (F-RTO, RFC 5682)") \
    /* attacks and abuse */                                                                        \
    X(pmtu_forged, DEFENCES, "packet too big that quotes no segment in flight (RFC 5927)")         \
    X(pmtu_small, DEFENCES, "packet too big that asks for less than links must carry")             \
    X(ip_fragment, DEFENCES, "IP fragments (dropped: nothing is reassembled)")                     \
    X(ip_options, DEFENCES, "packets with IP options (dropped)")                                   \
    X(ip6_chain, DEFENCES, "IPv6 header chains that are cut off, too long or out of order")        \
    X(ip6_option, DEFENCES, "IPv6 packets with an unknown option that forbids skipping it")        \
    X(ip6_routing, DEFENCES, "IPv6 packets that were to be routed on from here (RFC 5095)")        \
    X(icmp_foreign, DEFENCES, "ICMP errors about packets that are no TCP segments of ours")        \
    X(nd_foreign, DEFENCES, "neighbour discovery from beyond the link or in fragments (RFC 6980)") \
    X(nd_conflict, DEFENCES, "advertisements of our own address by somebody else (ignored)")       \
    X(nd_redirect, DEFENCES, "redirects (ignored)")                                                \
    X(nd_limited, DEFENCES, "solicitations that the rate limit left unanswered")                   \
    X(neighbour_ask_limited, DEFENCES, "questions for neighbours that the rate limit held back")   \
    X(neighbour_locked, DEFENCES, "hardware addresses not believed: another was heard just now")   \
    X(neighbour_bad_mac, DEFENCES, "neighbours with a group or empty hardware address")            \
    X(ip_martian, DEFENCES, "packets from an address that cannot be a sender, LAND included")      \
    X(tcp_paws, DEFENCES, "segments with an old timestamp (RFC 7323 PAWS)")                        \
    X(tcp_reset_bad, DEFENCES, "RST segments that were not believed (RFC 5961)")                   \
    X(tcp_reset_stray, DEFENCES, "RST segments that belong to no connection")                      \
    X(tcp_syn_bad, DEFENCES, "SYN segments where none may be (RFC 5961)")                          \
    X(tcp_challenge_ack, DEFENCES, "challenge ACKs sent (RFC 5961)")                               \
    X(tcp_challenge_limited, DEFENCES, "challenge ACKs that the rate limit held back")             \
    X(tcp_syn_dropped, DEFENCES, "SYN segments dropped: too many connections wait to be accepted") \
    X(tcp_syn_refused, DEFENCES, "connections refused by their owner (answered by RST)")           \
    X(tcp_half_open_timeout, DEFENCES, "half-open connections whose peer never completed them")    \
    X(tcp_syn_ack_repeated, DEFENCES, "SYN-ACKs repeated to peers that did not answer")            \
    X(tcp_syn_limited, DEFENCES, "answers to SYN segments that the rate limit held back")          \
    X(tcp_cookies_sent, DEFENCES, "SYN segments answered with a cookie: the queue was full")       \
    X(tcp_cookies_accepted, DEFENCES, "connections made of a cookie that came back")               \
    X(tcp_cookies_failed, DEFENCES, "acknowledgements that were no valid cookie (RST)")            \
    X(tcp_cookies_early, DEFENCES, "segments dropped: what ends their handshake did not come yet") \
    X(tcp_backlog_full, DEFENCES, "handshakes not completed: too many wait to be accepted")        \
    X(tcp_reset_limited, DEFENCES, "RST segments to strangers that the rate limit held back")      \
    X(tcp_no_ack, DEFENCES, "segments with neither SYN, ACK nor RST (NULL, FIN, XMAS scans)")      \
    X(tcp_urgent, DEFENCES, "segments with urgent data (taken as any other)")                      \
    X(tcp_mss_tiny, DEFENCES, "peers whose MSS is below 216 (they get segments of 216)")           \
    /* several cores, each with its queue */                                                       \
    X(home_as_hashed, QUEUES, "frames of unknown flows that came to the queue that their hash names") \
    X(home_elsewhere, QUEUES, "frames of unknown flows that came to another queue")                \
    X(home_asked, QUEUES, "frames sent to the core that knows where their flow lives")             \
    X(home_given, QUEUES, "frames sent on by that core to where their flow lives")                 \
    X(home_registered, QUEUES, "flows of other cores that were registered here")                   \
    X(home_ended, QUEUES, "registered flows that have ended")                                      \
    X(home_full, QUEUES, "connections refused because the registry of flows is full")              \
    X(home_lost, QUEUES, "frames and news that found no room on their way to another core")        \
    /* bounds of memory */                                                                         \
    X(tcp_connections_full, MEMORY, "connections refused because the table is full")               \
    X(tcp_shed_output, MEMORY, "connections reset: output memory is short, they take nothing")     \
    X(tcp_shed_input, MEMORY, "connections reset: receive memory is short, they hold the most")    \
    X(tcp_shed_frames, MEMORY, "connections reset: frames are short, they acknowledge nothing")    \
    X(tcp_orphans_dropped, MEMORY, "closed connections reset because their peer lets them linger") \
    X(tcp_receive_memory_full, MEMORY, "segments dropped because receive memory is used up")       \
    X(nd_routers_full, MEMORY, "routers that found no place in the list")                          \
    X(nd_prefixes_full, MEMORY, "advertised prefixes that found no place in the list")             \
    X(no_frame, MEMORY, "frames that were wanted while the transmit pool was empty")               \
    X(output_full, MEMORY, "frames that found the output full: the port takes nothing any more")   \
    X(no_memory, MEMORY, "allocations that failed")
// clang-format on

// Read on the owning core.
struct net_counters {
#define X(name, group, text) uint64_t name;
    NET_COUNTERS(X)
#undef X
};
