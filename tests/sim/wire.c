#include "tests/sim/wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/internal.h"
#include "tests/sim/offload.h"

void wire_seed(struct wire_rng *r, uint64_t seed)
{
    for (int i = 0; i < 2; i++) { // splitmix64
        uint64_t z = seed += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        r->s[i] = z ^ z >> 31;
    }
}

uint64_t wire_random(struct wire_rng *r)
{
    uint64_t a = r->s[0], b = r->s[1], sum = a + b;
    b ^= a;
    r->s[0] = (a << 24 | a >> 40) ^ b ^ b << 16;
    r->s[1] = b << 37 | b >> 27;
    return sum;
}

bool wire_chance(struct wire_rng *r, uint32_t per_million)
{
    return per_million && (wire_random(r) >> 11) % 1000000 < per_million;
}

// --- frames
// ------------------------------------------------------------------------------------------

enum { HEADROOM = 128 };

struct wire_frame {
    struct frame frame;
    uint8_t memory[];
};

static unsigned pool_alloc(struct frame_pool *pool, struct frame **frames, unsigned n)
{
    struct wire_pool *p = (struct wire_pool *)pool;
    unsigned got = 0;
    while (got < n && p->taken < p->limit) {
        struct wire_frame *f = (struct wire_frame *)p->free;
        if (f)
            p->free = f->frame.next;
        else
            f = malloc(sizeof(*f) + HEADROOM + pool->data_size);
        f->frame = (struct frame){.data = f->memory + HEADROOM,
                                  .buffer = f->memory,
                                  .size = HEADROOM + pool->data_size,
                                  .pool = pool};
        p->taken++;
        frames[got++] = &f->frame;
    }
    if (got < n)
        p->refused++;
    return got;
}

static void pool_release(struct frame_pool *pool, struct frame **frames, unsigned n)
{
    struct wire_pool *p = (struct wire_pool *)pool;
    for (unsigned i = 0; i < n; i++) {
        assert(frames[i]->pool == pool && p->taken > 0);
        p->taken--;
        // Whoever still reads a frame that it let go of finds nonsense (and ASan a freed one).
#ifdef __SANITIZE_ADDRESS__
        free(frames[i]);
#else
        frames[i]->len = 0xdeadbeef;
        frames[i]->pool = NULL;
        frames[i]->next = p->free;
        p->free = frames[i];
#endif
    }
}

static bool pool_exclusive(const struct frame *frame)
{
    return (frame->hash & 1) == 0;
}

void wire_pool_init(struct wire_pool *p, uint32_t data_size, unsigned limit)
{
    *p = (struct wire_pool){.pool = {.alloc = pool_alloc,
                                     .release = pool_release,
                                     .exclusive = pool_exclusive,
                                     .headroom = HEADROOM,
                                     .data_size = data_size},
                            .limit = limit};
}

void wire_pool_free(struct wire_pool *p)
{
    for (struct frame *f = p->free, *next; f; f = next) {
        next = f->next;
        free(f);
    }
    p->free = NULL;
}

// --- the wire
// ------------------------------------------------------------------------------------------

void wire_address(struct endpoint *e, unsigned i, uint16_t port)
{
    *e = (struct endpoint){.family = 4, .port = port, .addr = {10, 0, 0, (uint8_t)(i + 1)}};
}

void wire_endpoint(const struct wire *w, struct endpoint *e, unsigned i, uint16_t port)
{
    wire_address(e, i, port);
    if (w->v6)
        *e = (struct endpoint){.family = 6, .port = port, .addr = {0xfd, [15] = (uint8_t)(i + 1)}};
}

void wire_init(struct wire *w, uint64_t seed, const struct wire_conditions *conditions,
               const struct net_config *base, unsigned frames)
{
    wire_init_many(w, seed, conditions, base, frames, WIRE_STACKS, NULL);
}

void wire_init_many(struct wire *w, uint64_t seed, const struct wire_conditions *conditions,
                    const struct net_config *base, unsigned frames, unsigned stacks,
                    void (*configure)(struct wire *w, unsigned i, struct net_config *config))
{
    *w = (struct wire){.conditions = *conditions,
                       .now_us = 1000000 + seed % 1000000,
                       .stacks = stacks,
                       .wake_us = UINT64_MAX};
    assert(stacks <= WIRE_STACKS_MAX);
    wire_seed(&w->rng, seed);
    w->v6 = base->addresses[0].family == 6;
    for (unsigned i = 0; i < stacks; i++) {
        struct net_config c = *base;
        if (!c.mtu)
            c.mtu = 1500;
        memcpy(c.mac, (const uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)(i + 1)}, 6);
        c.n_addresses = 1;
        c.addresses[0] =
            (struct net_address){.family = 4, .prefix = 24, .addr = {10, 0, 0, (uint8_t)(i + 1)}};
        if (w->v6)
            c.addresses[0] = (struct net_address){
                .family = 6, .prefix = 64, .addr = {0xfd, [15] = (uint8_t)(i + 1)}};
        for (int k = 0; k < 16; k++)
            c.secret[k] = (uint8_t)wire_random(&w->rng);
        c.seed = wire_random(&w->rng);
        if (configure)
            configure(w, i, &c);
        uint32_t data = c.offloads & NET_TX_TSO && c.mtu < WIRE_TSO_BYTES ? WIRE_TSO_BYTES : c.mtu;
        wire_pool_init(&w->pool[i], data + 64u, frames);
        char error[128];
        w->net[i] = net_create(&c, &w->pool[i].pool, w->now_us, error, sizeof(error));
        assert(w->net[i]);
    }
}

static bool before(const struct wire_flight *a, const struct wire_flight *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

static void heap_push(struct wire *w, struct wire_flight f)
{
    if (w->in_flight == w->heap_size) {
        w->heap_size = w->heap_size ? w->heap_size * 2 : 1024;
        w->heap = realloc(w->heap, w->heap_size * sizeof(*w->heap));
        assert(w->heap);
    }
    unsigned i = w->in_flight++;
    for (; i && before(&f, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = f;
}

static struct wire_flight heap_pop(struct wire *w)
{
    struct wire_flight top = w->heap[0], last = w->heap[--w->in_flight];
    unsigned i = 0;
    for (unsigned child; (child = 2 * i + 1) < w->in_flight; i = child) {
        if (child + 1 < w->in_flight && before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (before(&last, &w->heap[child]))
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

static void wire_put(struct wire *w, unsigned to, const uint8_t *data, uint32_t len, uint64_t at_us)
{
    struct wire_flight f = {.at_us = at_us, .order = w->order++, .to = to, .len = len};
    f.data = malloc(len ? len : 1);
    assert(f.data);
    memcpy(f.data, data, len);
    heap_push(w, f);
}

void wire_inject(struct wire *w, unsigned to, const uint8_t *data, uint32_t len)
{
    wire_put(w, to, data, len, w->now_us);
}

// As a router does under congestion (RFC 3168 5). False: not a packet of ECN's.
static bool wire_mark(uint8_t *data, uint32_t len)
{
    enum { ETHER = 14, NOT_ECT = 0, CE = 3 };
    uint8_t *ip = data + ETHER;
    if (len < ETHER + 20u)
        return false;
    if (data[12] == 0x86 && data[13] == 0xdd) {
        if ((ip[1] >> 4 & CE) == NOT_ECT)
            return false;
        ip[1] |= CE << 4;
        return true;
    }
    if (data[12] != 0x08 || data[13] != 0x00 || (ip[1] & CE) == NOT_ECT)
        return false;
    ip[1] |= CE;
    ip[10] = ip[11] = 0;
    uint32_t sum = 0;
    for (unsigned i = 0; i < 20; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    ip[10] = (uint8_t)(sum >> 8);
    ip[11] = (uint8_t)sum;
    return true;
}

// The router in the middle, 10.0.0.254, answers a packet that is too large (RFC 1191 4).
static void wire_too_big(struct wire *w, unsigned from, const uint8_t *data)
{
    enum { QUOTE = IPV4_HEADER + 8, ICMP_HEADER = 8, TOTAL = IPV4_HEADER + ICMP_HEADER + QUOTE };
    uint8_t frame[ETHER_HEADER + TOTAL] = {0}, *ip = frame + ETHER_HEADER, *icmp = ip + IPV4_HEADER;
    memcpy(frame, data + 6, 6);
    memcpy(frame + 6, data, 6);
    memcpy(frame + 12, data + 12, 2);
    memcpy(ip, (const uint8_t[10]){0x45, 0, 0, TOTAL, 0, 0, 0, 0, 64, PROTOCOL_ICMP}, 10);
    memcpy(ip + 12, (const uint8_t[4]){10, 0, 0, 254}, 4);
    memcpy(ip + 16, data + ETHER_HEADER + 12, 4);
    icmp[0] = 3;
    icmp[1] = 4;
    store_be16(icmp + 6, (uint16_t)w->conditions.path_mtu);
    memcpy(icmp + ICMP_HEADER, data + ETHER_HEADER, QUOTE);
    uint16_t sum = (uint16_t)~net_sum_fold(net_sum(ip, IPV4_HEADER, 0));
    memcpy(ip + 10, &sum, 2);
    sum = (uint16_t)~net_sum_fold(net_sum(icmp, ICMP_HEADER + QUOTE, 0));
    memcpy(icmp + 2, &sum, 2);
    wire_put(w, from, frame, sizeof(frame), w->now_us + w->conditions.delay_us);
}

static void wire_carry(struct wire *w, unsigned from, uint8_t *data, uint32_t len)
{
    const struct wire_conditions *c = &w->conditions;
    if (c->path_mtu && load_be16(data + 12) == ETHERTYPE_IPV4 &&
        load_be16(data + ETHER_HEADER + 2) > c->path_mtu) {
        w->too_big++;
        if (!c->path_silent)
            wire_too_big(w, from, data);
        return;
    }
    if (w->cut || (w->filter && !w->filter(w, from, data, len)) || wire_chance(&w->rng, c->loss)) {
        w->lost++;
        return;
    }
    uint64_t leaves = w->now_us;
    if (c->bytes_per_us) {
        if (w->line_free_us[from] < w->now_us)
            w->line_free_us[from] = w->now_us;
        struct wire_queue *q = &w->queue[from];
        uint64_t wait_us = w->line_free_us[from] - w->now_us;
        if (c->queue_us && wait_us > c->queue_us) {
            w->lost++;
            q->lost++;
            return;
        }
        q->frames++;
        q->sum_us += wait_us;
        q->max_us = wait_us > q->max_us ? wait_us : q->max_us;
        if (c->mark_us && wait_us > c->mark_us)
            q->marked += wire_mark(data, len);
        w->line_free_us[from] += (len + c->bytes_per_us - 1) / c->bytes_per_us;
        leaves = w->line_free_us[from];
    }
    unsigned copies = 1 + wire_chance(&w->rng, c->duplicate);
    w->doubled += copies - 1;
    for (unsigned i = 0; i < copies; i++) {
        uint64_t at = leaves + c->delay_us;
        if (wire_chance(&w->rng, c->reorder))
            at += wire_random(&w->rng) % (10ull * c->jitter_us + 1);
        wire_put(w, w->place ? w->place(w, from, data, len) : !from, data, len, at);
        if (wire_chance(&w->rng, c->corrupt)) {
            // One bit somewhere in an IP packet: what a checksum must catch (ARP has none).
            struct wire_flight *f = NULL;
            for (unsigned k = 0; k < w->in_flight; k++)
                if (w->heap[k].order == w->order - 1)
                    f = &w->heap[k];
            if (f && f->len > 14 && f->data[13] == 0) {
                f->data[14 + wire_random(&w->rng) % (f->len - 14)] ^=
                    (uint8_t)(1u << wire_random(&w->rng) % 8);
                w->corrupted++;
            }
        }
    }
}

struct wire_sender {
    struct wire *wire;
    unsigned from;
};

static void wire_send(void *context, const uint8_t *data, uint32_t len)
{
    const struct wire_sender *s = context;
    wire_carry(s->wire, s->from, (uint8_t *)(uintptr_t)data, len);
}

bool wire_turn(struct wire *w, unsigned i, void (*serve)(void *context, struct wire *w, unsigned i),
               void *context)
{
    struct net *net = w->net[i];
    struct frame *frames[64];
    unsigned n = 0;
    // Frames for the other stack go back; there are few at one instant.
    struct wire_flight others[256];
    unsigned n_others = 0;
    while (n < 64 && n_others < 256 && w->in_flight && w->heap[0].at_us <= w->now_us) {
        struct wire_flight f = heap_pop(w);
        if (f.to != i) {
            others[n_others++] = f;
            continue;
        }
        w->rx[n] = (struct frame){.data = f.data, .buffer = f.data, .len = f.len, .size = f.len};
        w->rx_data[n] = f.data;
        frames[n] = &w->rx[n];
        n++;
    }
    for (unsigned k = 0; k < n_others; k++)
        heap_push(w, others[k]);
    w->delivered += n;
    bool busy = n > 0;
    net_input(net, frames, n, w->now_us);
    if (serve)
        serve(context, w, i);
    net_advance(net, w->now_us);
    struct frame **out;
    unsigned count = net_output(net, &out);
    busy = busy || count;
    if (w->conditions.port_frames && count > w->conditions.port_frames)
        count = w->conditions.port_frames;
    for (unsigned k = 0; k < count; k++) {
        struct frame *f = out[k];
        bool kept = f->flags & FRAME_KEEP;
        assert(f->pool == &w->pool[i].pool);
        offload_send(f, wire_send, &(struct wire_sender){.wire = w, .from = i});
        // A kept frame is sometimes still in the driver when it would be sent again.
        if (kept)
            f->hash = (uint32_t)wire_chance(&w->rng, 200000);
        else
            f->pool->release(f->pool, &f, 1);
    }
    net_sent(net, count);
    net_turn_end(net);
    for (unsigned k = 0; k < n; k++) {
        memset(w->rx_data[k], 0xa5, w->rx[k].len); // a received frame does not outlive the turn
        free(w->rx_data[k]);
    }
    return busy;
}

bool wire_step(struct wire *w)
{
    uint64_t next = w->in_flight ? w->heap[0].at_us : UINT64_MAX;
    if (w->wake_us < next)
        next = w->wake_us;
    for (unsigned i = 0; i < w->stacks; i++) {
        uint64_t timer = net_next_timer(w->net[i]);
        if (timer < next)
            next = timer;
    }
    if (next == UINT64_MAX)
        return false;
    if (next > w->now_us)
        w->now_us = next;
    return true;
}

void wire_run(struct wire *w, uint64_t until_us,
              void (*serve)(void *context, struct wire *w, unsigned i), void *context)
{
    while (true) {
        bool busy = false;
        for (unsigned i = 0; i < w->stacks; i++)
            busy |= wire_turn(w, i, serve, context);
        uint64_t before = w->now_us;
        if (!wire_step(w) || w->now_us > until_us) {
            w->now_us = until_us;
            break;
        }
        (void)busy;
        (void)before;
    }
}

unsigned wire_free(struct wire *w)
{
    unsigned leaked = 0;
    for (unsigned i = 0; i < w->stacks; i++) {
        net_destroy(w->net[i]);
        leaked += w->pool[i].taken;
        wire_pool_free(&w->pool[i]);
    }
    while (w->in_flight)
        free(heap_pop(w).data);
    free(w->heap);
    w->heap = NULL;
    return leaked;
}
