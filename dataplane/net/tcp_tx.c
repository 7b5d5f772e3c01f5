// What streams write. Bytes go straight into the frame that will carry them while a full segment
// fits the send window; else into blocks on the heap, or stay in the writer's own blocks by
// reference, and are copied into frames as the window opens. Once something waits on the heap, all
// later bytes go behind it, so that order is exact.
#include <assert.h>
#include <mimalloc.h>

#include "dataplane/net/tcp.h"

// Blocks that collect output grow with what waits.
enum { COLLECT_MIN = 4096, COLLECT_MAX = 65536 };

// Where bytes go that cannot be kept. One for all: nobody reads it.
static _Thread_local uint8_t scratch[OUT_CONTIGUOUS_MAX];

static void tx_scratch(struct tcp *c)
{
    c->stream.out.failed = true;
    c->stream.out.pos = scratch;
    c->stream.out.end = scratch + sizeof(scratch);
    c->tx_open = NULL;
}

// Counts what was written to the open span on the heap.
void tcp_tx_settle(struct tcp *c)
{
    if (!c->tx_open)
        return;
    size_t n = (size_t)(c->stream.out.pos - c->tx_open);
    c->tx_tail->len += n;
    c->tx_tail->block->len += n;
    c->tx_bytes += n;
    c->tx_open = c->stream.out.pos;
}

void tcp_tx_close_span(struct tcp *c)
{
    c->stream.out.pos = c->stream.out.end = scratch; // no room, and yet an address
    c->tx_open = NULL;
}

// Sends the frame that is being written, or gives it back when nothing was.
static void tx_close_frame(struct tcp *c, uint8_t flags)
{
    struct frame *f = c->open;
    if (!f)
        return;
    uint32_t n = (uint32_t)(c->stream.out.pos - (f->data + c->header_len));
    c->open = NULL;
    tcp_tx_close_span(c);
    if (n)
        tcp_emit(c, f, n, flags);
    else
        net_frame_drop(c->net, f);
}

static bool tx_append(struct tcp *c, struct block *block, size_t offset, size_t len, bool collects)
{
    struct tx_piece *p = mi_malloc(sizeof(*p));
    if (!p)
        return false;
    // Blocks of our own count in full, those of others by what is meant of them.
    size_t cost = sizeof(*p) + (collects ? sizeof(*block) + block->cap : len);
    *p = (struct tx_piece){
        .block = block, .offset = offset, .len = len, .cost = cost, .collects = collects};
    if (c->tx_tail)
        c->tx_tail->next = p;
    else
        c->tx_head = p;
    c->tx_tail = p;
    c->tx_bytes += len;
    c->net->tx_memory += cost;
    return true;
}

static bool tx_open_frame(struct tcp *c, size_t need)
{
    tcp_restart_idle(c);
    if (unlikely(c->path_generation != c->net->path_generation))
        tcp_pmtu_refresh(c);
    uint32_t usable = tcp_usable(c);
    if (c->tx_bytes || c->tx_head || need > c->mss || usable < c->mss ||
        unlikely(!tcp_port_takes(c) || (c->flags & TCP_MTU_SEARCH)) ||
        (c->state != TCP_ESTABLISHED && c->state != TCP_CLOSE_WAIT))
        return false;
    struct frame *f = net_frame_new(c->net, false);
    if (!f)
        return false;
    c->open = f;
    c->stream.out.pos = f->data + c->header_len;
    c->stream.out.end = c->stream.out.pos + tcp_frame_size(c, usable);
    return true;
}

static void tx_grow(struct out *o, size_t need)
{
    struct tcp *c = (struct tcp *)o;
    assert(need <= OUT_CONTIGUOUS_MAX);
    if (unlikely(c->state == TCP_CLOSED || o->failed || (c->flags & TCP_FIN_QUEUED))) {
        tx_scratch(c);
        return;
    }
    tcp_tx_settle(c);
    tx_close_frame(c, 0);
    if (likely(tx_open_frame(c, need)))
        return;
    size_t cap = COLLECT_MIN;
    while (cap < c->tx_bytes && cap < COLLECT_MAX)
        cap *= 2;
    struct block *block = block_new(cap - sizeof(struct block));
    if (!block || !tx_append(c, block, 0, 0, true)) {
        block_release(block);
        c->net->counters.no_memory++;
        tx_scratch(c);
        return;
    }
    c->tx_open = o->pos = block->data;
    o->end = block->data + block->cap;
}

static void tx_ref(struct out *o, struct block *block, size_t offset, size_t len)
{
    struct tcp *c = (struct tcp *)o;
    if (c->state == TCP_CLOSED || o->failed || (c->flags & TCP_FIN_QUEUED) || !len)
        return;
    tcp_tx_settle(c);
    tx_close_frame(c, 0);
    if (!tx_append(c, block_retain(block), offset, len, false)) {
        block_release(block);
        c->net->counters.no_memory++;
        tx_scratch(c);
        return;
    }
    tcp_tx_close_span(c);
}

const struct out_ops tcp_out_ops = {.grow = tx_grow, .ref = tx_ref};

static void tx_pop(struct tcp *c)
{
    struct tx_piece *p = c->tx_head;
    c->tx_head = p->next;
    if (!c->tx_head) {
        c->tx_tail = NULL;
        if (c->tx_open)
            tcp_tx_close_span(c);
    }
    c->net->tx_memory -= p->cost;
    block_release(p->block);
    mi_free(p);
}

void tcp_tx_take(struct tcp *c, uint8_t *to, uint32_t n)
{
    c->tx_bytes -= n;
    while (n) {
        struct tx_piece *p = c->tx_head;
        size_t part = p->len < n ? p->len : n;
        memcpy(to, p->block->data + p->offset, part);
        to += part;
        n -= (uint32_t)part;
        p->offset += part;
        p->len -= part;
        if (p->len == 0)
            tx_pop(c);
    }
}

void tcp_tx_push(struct tcp *c)
{
    tcp_tx_settle(c);
    uint8_t flags = TH_PSH;
    if ((c->flags & TCP_FIN_QUEUED) && !c->tx_bytes &&
        (c->state == TCP_ESTABLISHED || c->state == TCP_CLOSE_WAIT))
        flags |= TH_FIN;
    tx_close_frame(c, flags);
    if (c->tx_head && !c->tx_bytes) { // a span was opened and nothing written
        while (c->tx_head)
            tx_pop(c);
    }
    if (c->tx_bytes || (c->flags & TCP_FIN_QUEUED))
        tcp_output(c);
    if (unlikely(c->tx_bytes != 0)) {
        tcp_holder_add(c);
        if (c->tx_bytes > STREAM_OUT_HIGH)
            c->flags |= TCP_OUT_ABOVE;
    }
}

void tcp_tx_check_writable(struct tcp *c)
{
    if (!(c->flags & TCP_OUT_ABOVE) || c->tx_bytes >= STREAM_OUT_HIGH / 2)
        return;
    c->flags &= ~(uint32_t)TCP_OUT_ABOVE;
    tcp_event(c, STREAM_WRITABLE);
}

size_t tcp_tx_unsent(const struct tcp *c)
{
    size_t open = c->tx_open ? (size_t)(c->stream.out.pos - c->tx_open) : 0;
    return c->tx_bytes + open;
}

void tcp_tx_disable(struct tcp *c)
{
    tcp_tx_settle(c);
    if (c->open) {
        net_frame_drop(c->net, c->open);
        c->open = NULL;
    }
    tcp_tx_close_span(c);
}

void tcp_tx_free(struct tcp *c)
{
    tcp_tx_disable(c);
    while (c->tx_head) {
        c->tx_bytes -= c->tx_head->len;
        tx_pop(c);
    }
    for (struct frame *f = c->rtx_head, *next; f; f = next) {
        next = f->next;
        net_frame_drop(c->net, f);
    }
    c->rtx_head = c->rtx_tail = NULL;
    tcp_board_free(c);
}
