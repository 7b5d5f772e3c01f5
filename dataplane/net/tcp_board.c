#include "dataplane/net/tcp_board.h"

#include <mimalloc.h>

enum { SLOTS_MIN = 32 };
// Indices are renumbered before they could meet SLOT_NONE.
#define INDEX_MAX (1u << 31)

// --- lists
// --------------------------------------------------------------------------------------

static void list_remove(struct tcp_board *b, struct slot_list *l, uint32_t i)
{
    const struct tcp_slot *s = board_slot(b, i);
    if (s->prev == SLOT_NONE)
        l->head = s->next;
    else
        board_slot(b, s->prev)->next = s->next;
    if (s->next == SLOT_NONE)
        l->tail = s->prev;
    else
        board_slot(b, s->next)->prev = s->prev;
}

static void list_insert_after(struct tcp_board *b, struct slot_list *l, uint32_t after, uint32_t i)
{
    struct tcp_slot *s = board_slot(b, i);
    s->prev = after;
    s->next = after == SLOT_NONE ? l->head : board_slot(b, after)->next;
    if (s->prev == SLOT_NONE)
        l->head = i;
    else
        board_slot(b, s->prev)->next = i;
    if (s->next == SLOT_NONE)
        l->tail = i;
    else
        board_slot(b, s->next)->prev = i;
}

// Takes the slot out of the list that it is in, if any.
static void slot_unlink(struct tcp_board *b, uint32_t i)
{
    const struct tcp_slot *s = board_slot(b, i);
    if (s->marks & SLOT_RESENT)
        list_remove(b, &b->resent_list, i);
    else if (s->marks & SLOT_LOST)
        list_remove(b, &b->lost_list, i);
}

// --- the array
// ------------------------------------------------------------------------------------

static uint64_t board_memory(const struct tcp_board *b)
{
    return sizeof(*b) + ((uint64_t)b->mask + 1) * sizeof(b->slots[0]);
}

static void renumber(uint32_t *index, uint32_t by)
{
    if (*index != SLOT_NONE)
        *index -= by;
}

// Moves the slots to an array of `size` and counts them from zero.
static bool board_resize(struct tcp *c, uint32_t size)
{
    struct tcp_board *b = c->board;
    struct tcp_slot *slots = mi_mallocn(size, sizeof(*slots));
    if (!slots) {
        c->net->counters.no_memory++;
        return false;
    }
    uint32_t by = b->first, n = b->end - b->first;
    for (uint32_t i = 0; i < n; i++) {
        slots[i] = *board_slot(b, by + i);
        renumber(&slots[i].prev, by);
        renumber(&slots[i].next, by);
        slots[i].skip -= by;
    }
    renumber(&b->lost_list.head, by);
    renumber(&b->lost_list.tail, by);
    renumber(&b->resent_list.head, by);
    renumber(&b->resent_list.tail, by);
    b->rack_next -= by;
    b->first = 0;
    b->end = n;
    c->net->tx_memory -= board_memory(b);
    mi_free(b->slots);
    b->slots = slots;
    b->mask = size - 1;
    c->net->tx_memory += board_memory(b);
    return true;
}

bool tcp_board_append(struct tcp *c, struct frame *f)
{
    struct tcp_board *b = c->board;
    const struct frame_note *note = frame_note(f);
    for (uint32_t at = 0, n; at < note->len; at += n) {
        n = note->len - at < c->mss ? note->len - at : c->mss;
        if (seq_le(note->seq + at + n, c->snd_una))
            continue; // acknowledged before there was a board
        uint32_t size = b->mask + 1;
        if (unlikely(b->end - b->first == size || b->end == INDEX_MAX) &&
            !board_resize(c, b->end - b->first == size ? 2 * size : size)) {
            tcp_board_free(c);
            return false;
        }
        *board_slot(b, b->end++) = (struct tcp_slot){.frame = f,
                                                     .sent_us = note->sent_us,
                                                     .repeated = note->transmissions > 1,
                                                     .seq = note->seq + at,
                                                     .end = note->seq + at + n,
                                                     .prev = SLOT_NONE,
                                                     .next = SLOT_NONE};
        if (c->flags & TCP_RECOVERY)
            b->prr_out += n;
        else if (!(c->flags & TCP_LOSS) && (b->n_sacked || b->guessed))
            c->net->counters.tcp_limited_transmit++;
    }
    return true;
}

struct tcp_board *tcp_board_get(struct tcp *c)
{
    if (c->board)
        return c->board;
    uint32_t n = 0, size = SLOTS_MIN;
    for (struct frame *f = c->rtx_head; f; f = f->next)
        n += (frame_note(f)->len + c->mss - 1) / c->mss;
    while (size < n + n / 4)
        size *= 2;
    struct tcp_board *b = mi_zalloc(sizeof(*b));
    struct tcp_slot *slots = b ? mi_mallocn(size, sizeof(*slots)) : NULL;
    if (!slots) {
        mi_free(b);
        c->net->counters.no_memory++;
        return NULL;
    }
    b->slots = slots;
    b->mask = size - 1;
    b->lost_list = b->resent_list = (struct slot_list){SLOT_NONE, SLOT_NONE};
    b->fack = c->snd_una;
    b->calm_seq = c->snd_nxt;
    c->board = b;
    c->net->tx_memory += board_memory(b);
    for (struct frame *f = c->rtx_head; f; f = f->next)
        tcp_board_append(c, f);
    b->prr_out = 0;
    return b;
}

void tcp_board_free(struct tcp *c)
{
    struct tcp_board *b = c->board;
    if (!b)
        return;
    c->net->tx_memory -= board_memory(b);
    mi_free(b->slots);
    mi_free(b);
    c->board = NULL;
    c->away = 0;
    if (c->flags & TCP_RACK_WAIT) {
        c->flags &= ~(uint32_t)TCP_RACK_WAIT;
        c->probe_at_us = 0;
    }
}

void tcp_board_settle(struct tcp *c)
{
    const struct tcp_board *b = c->board;
    int32_t away = (int32_t)(b->sacked + b->guessed + b->lost - b->resent);
    int32_t flight = (int32_t)(c->snd_nxt - c->snd_una); // guesses may go too far
    c->away = away < flight ? away : flight;
}

// --- marks
// --------------------------------------------------------------------------------------

// Takes `bytes` of a slot with these marks out of the counts.
static void uncount(struct tcp_board *b, uint8_t marks, uint32_t bytes)
{
    if (marks & SLOT_SACKED)
        b->sacked -= bytes;
    if (marks & SLOT_LOST)
        b->lost -= bytes;
    if (marks & SLOT_RESENT)
        b->resent -= bytes;
}

// A frame arrived that was not known to have.
static void slot_delivered(struct tcp *c, const struct tcp_slot *s, uint32_t bytes,
                           const struct tcp_segment *seg, struct tcp_news *news)
{
    if (s->marks & SLOT_DOUBTED)
        return;
    news->delivered += bytes;
    if (!s->repeated) {
        if (s->sent_us > news->sent_us)
            news->sent_us = s->sent_us;
        if (seq_le(s->end, c->recover))
            news->original = true;
    }
    tcp_rack_delivered(c, s, seg, news);
}

void tcp_board_release(struct tcp *c, uint32_t before, const struct tcp_segment *seg,
                       struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    uint32_t una = c->snd_una;
    while (b->first != b->end) {
        struct tcp_slot *s = board_slot(b, b->first);
        if (seq_lt(una, s->end)) {
            if (seq_lt(s->seq, una)) { // a part of it
                uint32_t part = una - (seq_lt(s->seq, before) ? before : s->seq);
                uncount(b, s->marks, part);
                if (!(s->marks & (SLOT_SACKED | SLOT_DOUBTED)))
                    news->delivered += part;
            }
            break;
        }
        uint32_t bytes = slot_bytes(s, before);
        if (s->marks & SLOT_SACKED) {
            b->n_sacked--;
        } else {
            slot_unlink(b, b->first);
            slot_delivered(c, s, bytes, seg, news);
        }
        uncount(b, s->marks, bytes);
        if (s->end == frame_note(s->frame)->seq + frame_note(s->frame)->len) {
            c->rtx_head = s->frame->next;
            net_frame_drop(c->net, s->frame);
        }
        if (b->rack_next == b->first)
            b->rack_next++;
        b->first++;
    }
    if (!c->rtx_head)
        c->rtx_tail = NULL;
    if (seq_lt(b->fack, una))
        b->fack = una;
}

// The first slot from `i` on that is not sacked.
static uint32_t unsacked(struct tcp_board *b, uint32_t i)
{
    while (i != b->end) {
        struct tcp_slot *s = board_slot(b, i);
        if (!(s->marks & SLOT_SACKED))
            break;
        if (s->skip != b->end) {
            const struct tcp_slot *next = board_slot(b, s->skip);
            if (next->marks & SLOT_SACKED)
                s->skip = next->skip;
        }
        i = s->skip;
    }
    return i;
}

void tcp_board_sack(struct tcp *c, uint32_t start, uint32_t end, const struct tcp_segment *seg,
                    struct tcp_news *news)
{
    struct tcp_board *b = c->board;
    uint32_t low = b->first, high = b->end;
    while (low != high) {
        uint32_t middle = low + (high - low) / 2;
        if (seq_lt(board_slot(b, middle)->seq, start))
            low = middle + 1;
        else
            high = middle;
    }
    for (uint32_t i = unsacked(b, low); i != b->end; i = unsacked(b, i + 1)) {
        struct tcp_slot *s = board_slot(b, i);
        if (seq_lt(end, s->end))
            break;
        uint32_t bytes = s->end - s->seq;
        slot_unlink(b, i);
        uncount(b, s->marks, bytes);
        slot_delivered(c, s, bytes, seg, news);
        s->marks = (uint8_t)((s->marks & SLOT_DOUBTED) | SLOT_SACKED);
        s->skip = i + 1;
        b->sacked += bytes;
        b->n_sacked++;
        if (seq_lt(b->fack, s->end))
            b->fack = s->end;
        if (!seq_lt(s->seq, c->recover))
            news->beyond = true;
    }
}

void tcp_board_lose(struct tcp *c, uint32_t i, uint32_t after)
{
    struct tcp_board *b = c->board;
    struct tcp_slot *s = board_slot(b, i);
    uint32_t bytes = slot_bytes(s, c->snd_una);
    slot_unlink(b, i);
    uncount(b, s->marks, bytes);
    s->marks = (uint8_t)((s->marks & SLOT_DOUBTED) | SLOT_LOST);
    b->lost += bytes;
    list_insert_after(b, &b->lost_list, after, i);
}

void tcp_board_resent(struct tcp *c, uint32_t i)
{
    struct tcp_board *b = c->board;
    struct tcp_slot *s = board_slot(b, i);
    uint32_t bytes = slot_bytes(s, c->snd_una);
    slot_unlink(b, i);
    if (!(s->marks & SLOT_RESENT))
        b->resent += bytes;
    s->marks |= SLOT_RESENT;
    list_insert_after(b, &b->resent_list, b->resent_list.tail, i);
    if (c->flags & TCP_RECOVERY)
        b->prr_out += bytes;
    b->undo_resent += bytes;
    tcp_board_settle(c);
}

void tcp_board_lose_all(struct tcp *c)
{
    struct tcp_board *b = c->board;
    b->sacked = b->lost = b->resent = b->guessed = b->n_sacked = 0;
    b->lost_list = b->resent_list = (struct slot_list){SLOT_NONE, SLOT_NONE};
    for (uint32_t i = b->first; i != b->end; i++) {
        struct tcp_slot *s = board_slot(b, i);
        s->marks = s->marks & (SLOT_SACKED | SLOT_DOUBTED) ? SLOT_LOST | SLOT_DOUBTED : SLOT_LOST;
        b->lost += slot_bytes(s, c->snd_una);
        list_insert_after(b, &b->lost_list, b->lost_list.tail, i);
    }
    b->rack_next = b->end;
    b->fack = c->snd_una;
    tcp_board_settle(c);
}

void tcp_board_lose_none(struct tcp *c)
{
    struct tcp_board *b = c->board;
    for (uint32_t i = b->first; i != b->end; i++) {
        struct tcp_slot *s = board_slot(b, i);
        if (!(s->marks & SLOT_LOST))
            continue;
        uint32_t bytes = slot_bytes(s, c->snd_una);
        b->lost -= bytes;
        if (!(s->marks & SLOT_RESENT))
            list_remove(b, &b->lost_list, i);
        s->marks &= (uint8_t)~SLOT_LOST;
    }
    b->rack_next = b->first;
    tcp_board_settle(c);
}
