#include "bench/micro/joint.h"

#include <assert.h>
#include <mimalloc.h>

#define RING 8192 // frames under way, a power of two: 50 connections with full windows
#define HEADROOM 128
#define DATA_SIZE 2048
#define MTU 1500

// --- frames

struct memory_frame {
    struct frame frame;  // must be first
    unsigned references; // the stack's, the port's
    uint8_t memory[];
};

static unsigned pool_alloc(struct frame_pool *pool, struct frame **frames, unsigned n)
{
    struct joint_pool *p = (struct joint_pool *)pool;
    for (unsigned i = 0; i < n; i++) {
        struct memory_frame *f = (struct memory_frame *)p->free;
        if (f)
            p->free = f->frame.next;
        else if (!(f = mi_malloc(sizeof(*f) + HEADROOM + DATA_SIZE)))
            return i;
        f->frame = (struct frame){.data = f->memory + HEADROOM,
                                  .buffer = f->memory,
                                  .size = HEADROOM + DATA_SIZE,
                                  .pool = pool};
        f->references = 1;
        frames[i] = &f->frame;
    }
    return n;
}

static void pool_release(struct frame_pool *pool, struct frame **frames, unsigned n)
{
    struct joint_pool *p = (struct joint_pool *)pool;
    for (unsigned i = 0; i < n; i++) {
        if (--((struct memory_frame *)frames[i])->references)
            continue;
        frames[i]->next = p->free;
        p->free = frames[i];
    }
}

static bool pool_exclusive(const struct frame *frame)
{
    return ((const struct memory_frame *)frame)->references == 1;
}

static void pool_init(struct joint_pool *p)
{
    p->pool = (struct frame_pool){.alloc = pool_alloc,
                                  .release = pool_release,
                                  .exclusive = pool_exclusive,
                                  .headroom = HEADROOM,
                                  .data_size = DATA_SIZE};
}

static void pool_free(struct joint_pool *p)
{
    for (struct frame *f = p->free, *next; f; f = next) {
        next = f->next;
        mi_free(f);
    }
}

// --- turns

static unsigned ring_count(const struct joint_ring *ring)
{
    return ring->tail - ring->head;
}

unsigned joint_waiting(const struct joint *j, unsigned side)
{
    return ring_count(&j->towards[side]);
}

void joint_take(struct joint *j, unsigned side)
{
    struct joint_ring *ring = &j->towards[side];
    uint16_t sums = j->offloads ? FRAME_IP_SUM_GOOD | FRAME_L4_SUM_GOOD : 0;
    for (j->n_rx = 0; j->n_rx < JOINT_FRAMES && ring_count(ring); j->n_rx++) {
        struct frame *f = ring->frames[ring->head++ % RING];
        j->rx_whole[j->n_rx] = f;
        j->rx[j->n_rx] = (struct frame){.data = f->data, .len = f->len, .flags = sums};
        j->rx_list[j->n_rx] = &j->rx[j->n_rx];
    }
    j->frames[side] += j->n_rx;
    j->now_us++;
}

void joint_input(struct joint *j, unsigned side)
{
    net_input(j->net[side], j->rx_list, j->n_rx, j->now_us);
    net_advance(j->net[side], j->now_us);
}

unsigned joint_output(struct joint *j, unsigned side)
{
    struct joint_ring *ring = &j->towards[!side];
    struct frame **out;
    unsigned n = net_output(j->net[side], &out);
    assert(ring_count(ring) + n <= RING);
    for (unsigned i = 0; i < n; i++) {
        ((struct memory_frame *)out[i])->references += (out[i]->flags & FRAME_KEEP) != 0;
        ring->frames[ring->tail++ % RING] = out[i];
    }
    net_sent(j->net[side], n);
    return n;
}

void joint_release(struct joint *j)
{
    for (unsigned i = 0; i < j->n_rx; i++)
        j->rx_whole[i]->pool->release(j->rx_whole[i]->pool, &j->rx_whole[i], 1);
    j->n_rx = 0;
}

static void turn(struct joint *j, unsigned side)
{
    joint_take(j, side);
    joint_input(j, side);
    joint_output(j, side);
    net_turn_end(j->net[side]);
    joint_release(j);
}

struct joint *joint_open(bool offloads)
{
    struct joint *j = mi_zalloc(sizeof(*j));
    if (!j)
        return NULL;
    j->offloads = offloads;
    j->now_us = 1000000;
    bool ok = true;
    for (unsigned i = 0; i < JOINT_SIDES; i++) {
        struct net_config c = {
            .mac = {2, 0, 0, 0, 0, (uint8_t)(i + 1)},
            .mtu = MTU,
            .n_addresses = 1,
            .addresses = {{.family = 4, .prefix = 24, .addr = {10, 0, 0, (uint8_t)(i + 1)}}},
            .offloads = offloads ? NET_TX_IP_SUM | NET_TX_TCP_SUM : 0,
            .connections_max = 4096,
            .half_open_max = 4096,
            .seed = i + 1,
        };
        char error[128];
        pool_init(&j->pool[i]);
        j->net[i] = net_create(&c, &j->pool[i].pool, j->now_us, error, sizeof(error));
        j->towards[i].frames = mi_mallocn(RING, sizeof(struct frame *));
        ok = ok && j->net[i] && j->towards[i].frames;
    }
    ok = ok && net_listen(j->net[JOINT_SERVER], JOINT_PORT, JOINT_CONNECTIONS) == 0;
    const struct endpoint server = {.family = 4, .port = JOINT_PORT, .addr = {10, 0, 0, 1}};
    for (unsigned i = 0; ok && i < JOINT_CONNECTIONS; i++) {
        int error;
        j->clients[i] = net_connect(j->net[JOINT_CLIENT], &server, &error);
        ok = j->clients[i];
        for (unsigned k = 0; ok && k < 4; k++) // ARP, SYN, SYN ACK, ACK
            turn(j, JOINT_CLIENT), turn(j, JOINT_SERVER);
    }
    if (ok)
        return j;
    joint_close(j);
    return NULL;
}

void joint_close(struct joint *j)
{
    for (unsigned i = 0; i < JOINT_SIDES; i++)
        while (j->towards[i].frames && ring_count(&j->towards[i])) {
            joint_take(j, i);
            joint_release(j);
        }
    for (unsigned i = 0; i < JOINT_SIDES; i++)
        if (j->net[i])
            net_destroy(j->net[i]);
    for (unsigned i = 0; i < JOINT_SIDES; i++) {
        pool_free(&j->pool[i]);
        mi_free(j->towards[i].frames);
    }
    mi_free(j);
}
