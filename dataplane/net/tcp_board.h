// The scoreboard of a sender: what is known of each frame of the retransmission queue while
// something is wrong. It comes into being with the first sign of loss (a SACK block, a third
// duplicate, a time-out, a probe) and goes a round trip after the last; a connection without it
// counts nothing and pays nothing.
//
// Segments have slots in an array (a ring that grows), in the order of the sequence, so that a SACK
// block finds its first one by bisection. A frame that the port cut into segments has a slot for
// each, and what is sent again of it is a copy. What is sacked already is stepped over at once
// (each sacked slot points behind the run that it begins, and paths are halved as they are walked),
// so an acknowledgement costs a few probes and what it marks for the first time, whatever its
// blocks say.
//
// RACK wants segments by the time they were sent last. Those that were sent once are in that order
// by their sequence; those that were sent again are in a list of their own, by time. So `slot.prev`
// and `slot.next` serve either that list or the queue of those that are to be sent again.
#pragma once

#include "dataplane/net/congestion.h"

enum tcp_slot_marks {
    SLOT_SACKED = 1u << 0,
    SLOT_LOST = 1u << 1,    // counted as lost; to be sent again unless SLOT_RESENT
    SLOT_RESENT = 1u << 2,  // the last transmission was a repeat, and is in flight
    SLOT_DOUBTED = 1u << 3, // was sacked before a time-out, which forgot it (RFC 2018 8)
};

#define SLOT_NONE UINT32_MAX

struct tcp_slot {
    struct frame *frame; // holds the payload, maybe of other slots as well
    uint64_t sent_us;    // when it was sent last
    uint32_t seq, end;   // of the payload
    uint32_t skip;       // SACKED: no slot between this one and `skip` is unsacked
    uint32_t prev, next;
    uint8_t marks;
    bool repeated; // was sent more than once
};

struct slot_list {
    uint32_t head, tail;
};

enum tcp_frto { // RFC 5682
    FRTO_OFF,
    FRTO_RESENT, // the first segment went again: an acknowledgement of it is awaited
    FRTO_NEW,    // new data went out: what comes next decides
};

struct tcp_board {
    struct tcp_slot *slots;
    uint32_t mask;
    uint32_t first, end;           // slots in use; indices only grow and are masked
    struct slot_list lost_list;    // to be sent again, in this order
    struct slot_list resent_list;  // sent again, oldest first
    uint32_t sacked, lost, resent; // bytes in flight with these marks
    uint32_t guessed;              // without SACK: bytes that duplicate acknowledgements stand for
    uint32_t n_sacked;             // slots
    uint32_t calm_seq;             // the board goes when more than this is acknowledged

    // RACK (RFC 8985 5.3)
    uint64_t rack_sent_us;
    uint32_t rack_end, rack_rtt_us;
    uint32_t rack_next;   // slots before it need no look: sacked, lost or sent again
    uint32_t fack;        // highest sequence number delivered
    uint32_t dsack_round; // the window was widened: not again before this is acknowledged
    bool rack_valid, in_dsack_round;

    // Loss probe (RFC 8985 7)
    bool probe_out, probe_resent;
    bool probed; // in recovery, and nothing was heard since
    uint32_t probe_end;

    // Proportional rate reduction (RFC 6937)
    uint32_t prr_delivered, prr_out, prr_flight;

    // What the window was before it was lowered, while that may prove wrong (RFC 3522, 3708, 5682)
    bool undo, undo_stamp_set, undo_stamp_used, undo_timeout;
    uint8_t frto; // enum tcp_frto
    uint32_t undo_from, undo_cwnd, undo_ssthresh;
    uint32_t undo_stamp;                   // TSval of the first retransmission
    uint32_t undo_resent, undo_duplicates; // bytes sent again, and those that the peer had already
    uint32_t frto_limit;                   // FRTO_NEW: new data may go up to here
};

// What an acknowledgement brought, collected while it is looked at.
struct tcp_news {
    uint32_t flight;    // bytes in flight before
    uint32_t acked;     // snd_una moved by
    uint32_t delivered; // bytes that are known to have arrived since
    uint64_t sent_us; // newest transmission that arrived and was the only one of its frame; 0: none
    uint32_t fack;    // of the board, before
    uint32_t lost;    // bytes found lost
    bool duplicate;   // a duplicate acknowledgement as RFC 5681 2 defines it
    bool dsack, dsack_of_probe;
    bool original; // F-RTO: data of before the time-out, sent once, arrived
    bool beyond;   // F-RTO: data of after the time-out was sacked
};

static inline struct tcp_slot *board_slot(const struct tcp_board *b, uint32_t i)
{
    return &b->slots[i & b->mask];
}

// Bytes of a slot that are in flight when `una` is acknowledged.
static inline uint32_t slot_bytes(const struct tcp_slot *s, uint32_t una)
{
    return s->end - (seq_lt(s->seq, una) ? una : s->seq);
}

// The board, made from the retransmission queue when there is none. NULL without memory: recovery
// then knows of the first frame only.
struct tcp_board *tcp_board_get(struct tcp *c);
void tcp_board_free(struct tcp *c);
// Takes what is acknowledged (c->snd_una has moved from `before`) out of the queue and the board.
void tcp_board_release(struct tcp *c, uint32_t before, const struct tcp_segment *seg,
                       struct tcp_news *news);
// Marks the frames that lie wholly in [start, end) as sacked.
void tcp_board_sack(struct tcp *c, uint32_t start, uint32_t end, const struct tcp_segment *seg,
                    struct tcp_news *news);
// Queues a slot to be sent again, behind slot `after` of the queue; SLOT_NONE: before all others.
void tcp_board_lose(struct tcp *c, uint32_t i, uint32_t after);
// The slot was sent again just now.
void tcp_board_resent(struct tcp *c, uint32_t i);
// Everything in flight counts as lost and nothing as sacked.
void tcp_board_lose_all(struct tcp *c);
// Nothing counts as lost any more that was not sent again.
void tcp_board_lose_none(struct tcp *c);
void tcp_board_settle(struct tcp *c); // brings c->away up to date

// --- tcp_sack.c
// Reads the SACK blocks of an acknowledgement into the board.
void tcp_sack_read(struct tcp *c, const struct tcp_segment *seg, struct tcp_news *news);

// --- tcp_rack.c
// A frame was delivered: sent last at `sent_us`, `repeated` when more than once.
void tcp_rack_delivered(struct tcp *c, const struct tcp_slot *s, const struct tcp_segment *seg,
                        struct tcp_news *news);
// Adapts the reordering window to duplicates (RFC 8985 6.2, step 4).
void tcp_rack_adapt(struct tcp *c, const struct tcp_news *news);
// Ends a recovery: the reordering window forgets after a while.
void tcp_rack_recovered(struct tcp *c);
// Finds what is lost. Returns when the next frame will be if it is not heard of, 0: none.
uint64_t tcp_rack_detect(struct tcp *c, struct tcp_news *news);
// The acknowledgement of a loss probe (RFC 8985 7.4).
void tcp_probe_acked(struct tcp *c, const struct tcp_segment *seg, const struct tcp_news *news);
