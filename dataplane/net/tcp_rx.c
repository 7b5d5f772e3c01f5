// What arrives: data in order is shown where it lies in the received frame; what is unread at the
// end of the turn moves to the heap. Data out of order is copied at once, into ranges that are
// bounded in number and, by the window, in bytes.
#include <assert.h>
#include <mimalloc.h>

#include "dataplane/net/tcp.h"

// Heap chunks: small for what a request leaves behind, larger where much waits.
enum { CHUNK_MIN = 1024, CHUNK_MAX = 65536, RANGE_CHUNK_MIN = 128 };
// Pieces that describe data in frames are made this many at a time and kept for the next turn.
enum { PIECES_MADE = 64 };

static uint32_t chunk_size(uint32_t cap)
{
    return (uint32_t)sizeof(struct rx_chunk) + cap;
}

static struct rx_chunk *chunk_new(struct net *net, uint32_t cap)
{
    struct rx_chunk *k = mi_malloc(sizeof(*k) + cap);
    if (!k) {
        net->counters.no_memory++;
        return NULL;
    }
    *k = (struct rx_chunk){.data = k->bytes, .cap = cap};
    net->rx_memory += sizeof(*k) + cap;
    return k;
}

static struct rx_chunk *piece_new(struct net *net)
{
    if (!net->free_pieces) {
        for (int i = 0; i < PIECES_MADE; i++) {
            struct rx_chunk *k = mi_malloc(sizeof(*k));
            if (!k)
                break;
            k->next = net->free_pieces;
            net->free_pieces = k;
        }
        if (!net->free_pieces) {
            net->counters.no_memory++;
            return NULL;
        }
    }
    struct rx_chunk *k = net->free_pieces;
    net->free_pieces = k->next;
    k->next = NULL;
    k->cap = 0;
    return k;
}

static void chunk_free(struct net *net, struct rx_chunk *k)
{
    if (k->cap) {
        net->rx_memory -= sizeof(*k) + k->cap;
        mi_free(k);
    } else {
        k->next = net->free_pieces;
        net->free_pieces = k;
    }
}

// Bytes that were shown stay readable until the end of the turn.
static void chunk_spend(struct net *net, struct rx_chunk *k)
{
    k->next = net->rx_spent;
    net->rx_spent = k;
}

void tcp_rx_free_spent(struct net *net)
{
    for (struct rx_chunk *k = net->rx_spent, *next; k; k = next) {
        next = k->next;
        chunk_free(net, k);
    }
    net->rx_spent = NULL;
}

static uint32_t chunk_room(const struct rx_chunk *k)
{
    return k->cap ? (uint32_t)(k->bytes + k->cap - (k->data + k->len)) : 0;
}

static void rx_append(struct tcp *c, struct rx_chunk *k)
{
    struct rx_chunk **link = c->rx_tail ? &c->rx_tail->next : &c->rx_head;
    *link = k;
    if (!k->cap && !c->rx_borrowed)
        c->rx_borrowed = link;
    c->rx_tail = k;
    c->rx_queued += k->len;
}

// The last heap chunk with room behind its bytes: what is appended there is contiguous for the
// reader.
static struct rx_chunk *rx_last(struct tcp *c)
{
    if (c->rx_tail)
        return c->rx_tail;
    // What is shown moves `in` along the chunk; its end is where `in` ends.
    return c->rx_shown && c->stream.in_len ? c->rx_shown : NULL;
}

static uint32_t rx_last_room(struct tcp *c, struct rx_chunk *k)
{
    if (k != c->rx_shown || c->rx_tail)
        return chunk_room(k);
    return k->cap ? (uint32_t)(k->bytes + k->cap - (c->stream.in + c->stream.in_len)) : 0;
}

static void rx_add_to_last(struct tcp *c, struct rx_chunk *k, const uint8_t *data, uint32_t len)
{
    if (k == c->rx_shown && !c->rx_tail) {
        memcpy((uint8_t *)(uintptr_t)(c->stream.in + c->stream.in_len), data, len);
        c->stream.in_len += len;
        k->len += len;
    } else {
        memcpy(k->data + k->len, data, len);
        k->len += len;
        c->rx_queued += len;
    }
}

// Shows the first queued chunk.
static void rx_show(struct tcp *c)
{
    struct rx_chunk *k = c->rx_head;
    c->rx_head = k->next;
    if (c->rx_borrowed == &k->next || (c->rx_borrowed == &c->rx_head && c->rx_head))
        c->rx_borrowed = &c->rx_head;
    if (!c->rx_head) {
        c->rx_tail = NULL;
        c->rx_borrowed = NULL;
    }
    k->next = NULL;
    c->rx_queued -= k->len;
    c->rx_shown = k;
    c->stream.in = k->data;
    c->stream.in_len = k->len;
}

void tcp_rx_refill(struct stream *s)
{
    struct tcp *c = (struct tcp *)s;
    c->flags &= ~(uint32_t)TCP_RX_FRAME;
    if (c->rx_shown) {
        chunk_spend(c->net, c->rx_shown);
        c->rx_shown = NULL;
    }
    if (c->rx_head)
        rx_show(c);
    if (unlikely(tcp_window_may_grow(c)) && c->state >= TCP_ESTABLISHED && tcp_window_grew(c)) {
        c->flags |= TCP_ACK_NOW; // leaves with a reply, or at the end of the turn
        tcp_note_turn(c);
    }
}

// Bytes in order that need a copy: into chunks on the heap.
static bool rx_copy(struct tcp *c, const uint8_t *data, uint32_t len)
{
    while (len) {
        struct rx_chunk *last = rx_last(c);
        uint32_t room = last ? rx_last_room(c, last) : 0;
        if (room) {
            uint32_t n = len < room ? len : room;
            rx_add_to_last(c, last, data, n);
            data += n;
            len -= n;
            continue;
        }
        uint32_t cap = CHUNK_MIN;
        while (cap < len + c->rx_queued && cap < CHUNK_MAX)
            cap *= 2;
        struct rx_chunk *k = chunk_new(c->net, cap);
        if (!k)
            return false;
        rx_append(c, k);
    }
    return true;
}

// Takes in-order bytes. False when memory is short: they count as not received.
static bool rx_accept(struct tcp *c, const uint8_t *data, uint32_t len)
{
    struct net *net = c->net;
    if (unlikely(net->rx_memory + net->rx_turn + len > net->config.receive_memory_max)) {
        net->counters.tcp_receive_memory_full++;
        net->rx_short = true;
        return false;
    }
    if (likely(!c->stream.in_len && !c->rx_head)) {
        c->stream.in = data;
        c->stream.in_len = len;
        c->flags |= TCP_RX_FRAME;
    } else {
        struct rx_chunk *last = rx_last(c);
        if (last && rx_last_room(c, last) >= len) {
            rx_add_to_last(c, last, data, len);
        } else {
            struct rx_chunk *k = piece_new(net);
            if (!k)
                return false;
            k->data = (uint8_t *)(uintptr_t)data;
            k->len = len;
            rx_append(c, k);
        }
    }
    net->rx_turn += len;
    c->rcv_nxt += len;
    c->bytes_in += len;
    tcp_note_turn(c);
    return true;
}

static void range_remove(struct tcp_ranges *r, uint32_t at)
{
    r->count--;
    memmove(r->range + at, r->range + at + 1, (r->count - at) * sizeof(r->range[0]));
}

static void ranges_drop_if_empty(struct tcp *c)
{
    if (c->ranges && !c->ranges->count && !c->ranges->has_fin) {
        c->net->rx_memory -= sizeof(*c->ranges);
        mi_free(c->ranges);
        c->ranges = NULL;
    }
}

// Ranges that touch rcv_nxt join the data in order.
static void ranges_join(struct tcp *c)
{
    struct tcp_ranges *r = c->ranges;
    while (r->count && seq_le(r->range[0].start, c->rcv_nxt)) {
        struct tcp_range *first = &r->range[0];
        uint32_t skip = c->rcv_nxt - first->start;
        for (struct rx_chunk *k = first->first, *next; k; k = next) {
            next = k->next;
            k->next = NULL;
            r->memory -= chunk_size(k->cap);
            if (skip >= k->len) {
                skip -= k->len;
                chunk_free(c->net, k);
                continue;
            }
            k->data += skip;
            k->len -= skip;
            skip = 0;
            c->rcv_nxt += k->len;
            c->bytes_in += k->len;
            rx_append(c, k);
        }
        range_remove(r, 0);
    }
    if (!c->stream.in_len && c->rx_head)
        tcp_rx_refill(&c->stream);
    // Data beyond it: it was none of the peer's.
    if (r->has_fin && seq_lt(r->fin_seq, c->rcv_nxt))
        r->has_fin = false;
    ranges_drop_if_empty(c);
}

// Copies [seq, seq + len), which no range holds, to the end (or front) of a range.
static struct rx_chunk *range_chunk(struct tcp *c, const uint8_t *data, uint32_t len)
{
    struct net *net = c->net;
    if (net->rx_memory + len > net->config.receive_memory_max / 2) {
        net->counters.tcp_receive_memory_full++;
        return NULL;
    }
    // Segments of a few bytes share a chunk; what a chunk really takes is what is bounded.
    uint32_t cap = len < RANGE_CHUNK_MIN ? RANGE_CHUNK_MIN : len, size = chunk_size(cap);
    if (c->ranges->memory + size > 2 * net->config.receive_buffer_max) {
        net->counters.tcp_ooo_dropped++;
        return NULL;
    }
    struct rx_chunk *k = chunk_new(net, cap);
    if (!k)
        return NULL;
    memcpy(k->bytes, data, len);
    k->len = len;
    c->ranges->memory += size;
    return k;
}

static struct tcp_ranges *ranges_get(struct tcp *c)
{
    if (c->ranges)
        return c->ranges;
    struct tcp_ranges *r = mi_malloc(sizeof(*r));
    if (!r) {
        c->net->counters.no_memory++;
        return NULL;
    }
    r->count = 0;
    r->memory = sizeof(*r);
    r->n_recent = 0;
    r->has_fin = false;
    c->net->rx_memory += sizeof(*r);
    return c->ranges = r;
}

void tcp_rx_early_fin(struct tcp *c, uint32_t seq)
{
    struct tcp_ranges *r = ranges_get(c);
    if (!r)
        return;
    r->fin_seq = seq;
    r->has_fin = true;
}

// Appends bytes to a range.
static bool range_extend(struct tcp *c, struct tcp_range *r, const uint8_t *data, uint32_t len)
{
    struct rx_chunk *last = r->last;
    if (chunk_room(last) >= len) {
        memcpy(last->data + last->len, data, len);
        last->len += len;
        return true;
    }
    struct rx_chunk *k = range_chunk(c, data, len);
    if (k)
        last->next = r->last = k;
    return k;
}

// Keeps a segment that lies beyond rcv_nxt. Bytes that are there already stay as they came first.
static void ranges_insert(struct tcp *c, uint32_t seq, const uint8_t *data, uint32_t len)
{
    struct net *net = c->net;
    struct tcp_ranges *r = ranges_get(c);
    if (!r)
        return;
    tcp_holder_add(c);
    uint32_t first = seq;
    uint32_t end = seq + len, i = r->count;
    // The first range that ends at or behind `seq`; segments mostly extend the last one.
    while (i && seq_le(seq, r->range[i - 1].end))
        i--;
    bool overlap = false;
    while (seq_lt(seq, end)) {
        struct tcp_range *at = i < r->count ? &r->range[i] : NULL;
        if (at && seq_le(at->start, seq)) {
            if (at->end == seq) { // extends this range up to the next one
                uint32_t stop = end;
                if (i + 1 < r->count && seq_lt(r->range[i + 1].start, stop)) {
                    stop = r->range[i + 1].start;
                    overlap = true;
                }
                if (stop != seq) {
                    if (!range_extend(c, at, data, stop - seq))
                        break;
                    at->end = stop;
                    data += stop - seq;
                    seq = stop;
                }
                if (i + 1 < r->count && r->range[i + 1].start == at->end) {
                    at->last->next = r->range[i + 1].first;
                    at->last = r->range[i + 1].last;
                    at->end = r->range[i + 1].end;
                    range_remove(r, i + 1);
                }
                if (seq == end)
                    break;
                continue;
            }
            // Covered up to the end of this range.
            overlap = true;
            uint32_t covered = seq_lt(at->end, end) ? at->end : end;
            tcp_dsack_note(c, seq, covered);
            data += covered - seq;
            seq = covered;
            continue;
        }
        // A new range before `at` (or at the end), up to where `at` begins.
        uint32_t stop = at && seq_lt(at->start, end) ? at->start : end;
        bool joins = at && at->start == stop;
        if (!joins && r->count == TCP_RANGES_MAX) {
            net->counters.tcp_ooo_dropped++;
            break;
        }
        struct rx_chunk *k = range_chunk(c, data, stop - seq);
        if (!k)
            break;
        if (joins) {
            k->next = at->first;
            at->first = k;
            at->start = seq;
        } else {
            memmove(r->range + i + 1, r->range + i, (r->count - i) * sizeof(r->range[0]));
            r->range[i] = (struct tcp_range){.start = seq, .end = stop, .first = k, .last = k};
            r->count++;
        }
        data += stop - seq;
        seq = stop;
    }
    if (overlap)
        net->counters.tcp_overlap++;
    tcp_sack_note(r, first);
    ranges_drop_if_empty(c);
}

void tcp_rx_data(struct tcp *c, const struct tcp_segment *seg)
{
    c->data_segments_in++;
    if (unlikely(seg->len > c->receive_mss))
        c->receive_mss = (uint16_t)seg->len;
    if (unlikely(seg->seq != c->rcv_nxt)) {
        c->net->counters.tcp_out_of_order++;
        ranges_insert(c, seg->seq, seg->data, seg->len);
        tcp_send_ack(c); // each is a duplicate that tells the sender of the gap (RFC 5681 4.2)
        return;
    }
    if (unlikely(!rx_accept(c, seg->data, seg->len))) {
        c->flags |= TCP_ACK_NOW;
        tcp_note_turn(c);
        return;
    }
    if (unlikely(c->ranges != NULL)) {
        ranges_join(c);
        c->flags |= TCP_ACK_NOW; // a gap was filled, or a part of it (RFC 5681 4.2)
    }
    // At least every second full segment is acknowledged (RFC 9293 3.8.6.3), within the turn.
    if (c->rcv_nxt - c->rcv_acked >= 2u * c->mss)
        c->flags |= TCP_ACK_NOW;
    else
        c->flags |= TCP_ACK_DELAYED;
    tcp_event(c, STREAM_READABLE);
}

// Moves what lies in frames to the heap.
void tcp_rx_turn_end(struct tcp *c)
{
    struct stream *s = &c->stream;
    if (c->state == TCP_CLOSED) {
        if ((c->flags & TCP_RX_FRAME) || (c->rx_shown && !c->rx_shown->cap)) {
            s->in = NULL;
            s->in_len = 0;
        }
        return;
    }
    bool shown_in_frame = (c->flags & TCP_RX_FRAME) || (c->rx_shown && !c->rx_shown->cap);
    if (!s->in_len || !shown_in_frame) {
        if (!c->rx_borrowed)
            return;
    }
    tcp_holder_add(c);
    // Take the borrowed tail of the list away, then append its bytes again as copies.
    struct rx_chunk *borrowed = NULL;
    if (c->rx_borrowed) {
        borrowed = *c->rx_borrowed;
        *c->rx_borrowed = NULL;
        if (c->rx_borrowed == &c->rx_head)
            c->rx_tail = NULL;
        else
            c->rx_tail =
                (struct rx_chunk *)((char *)c->rx_borrowed - offsetof(struct rx_chunk, next));
        c->rx_borrowed = NULL;
        for (struct rx_chunk *k = borrowed; k; k = k->next)
            c->rx_queued -= k->len;
    }
    bool ok = true;
    if (s->in_len && shown_in_frame) {
        // A reader has seen a part of this: it goes before all that is queued.
        uint32_t cap = CHUNK_MIN;
        while (cap < s->in_len)
            cap *= 2;
        struct rx_chunk *k = chunk_new(c->net, cap);
        if (k) {
            memcpy(k->bytes, s->in, s->in_len);
            k->len = s->in_len;
            if (c->rx_shown)
                chunk_free(c->net, c->rx_shown);
            c->rx_shown = k;
            s->in = k->bytes;
        } else {
            s->in_len = 0;
            ok = false;
        }
        c->flags &= ~(uint32_t)TCP_RX_FRAME;
    }
    for (struct rx_chunk *k = borrowed, *next; k; k = next) {
        next = k->next;
        k->next = NULL;
        if (k->cap) { // out-of-order data that joined behind a frame
            rx_append(c, k);
            continue;
        }
        ok = ok && rx_copy(c, k->data, k->len);
        chunk_free(c->net, k);
    }
    if (ok)
        return;
    // These bytes were acknowledged and are lost: the connection cannot go on.
    tcp_send_reset(c);
    tcp_finish(c, STREAM_NO_MEMORY);
}

void tcp_rx_free_ranges(struct tcp *c)
{
    struct tcp_ranges *r = c->ranges;
    if (!r)
        return;
    for (uint32_t i = 0; i < r->count; i++)
        for (struct rx_chunk *k = r->range[i].first, *next; k; k = next) {
            next = k->next;
            chunk_free(c->net, k);
        }
    r->count = 0;
    r->memory = sizeof(*r);
    r->has_fin = false;
    ranges_drop_if_empty(c);
}

void tcp_rx_free(struct tcp *c)
{
    struct net *net = c->net;
    if (c->rx_shown)
        chunk_spend(net, c->rx_shown);
    for (struct rx_chunk *k = c->rx_head, *next; k; k = next) {
        next = k->next;
        chunk_free(net, k);
    }
    c->rx_shown = c->rx_head = c->rx_tail = NULL;
    c->rx_borrowed = NULL;
    c->rx_queued = 0;
    c->stream.in = NULL;
    c->stream.in_len = 0;
    tcp_rx_free_ranges(c);
}
