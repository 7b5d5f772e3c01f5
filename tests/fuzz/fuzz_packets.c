// Exchanges of packets as the packet scripts have them, and what becomes of them when bytes change:
// an input is a list of records, each with what the owner does, how much time passes, and a frame.
// Nothing may crash, leak a frame or leave memory. Checksums are taken for good (the port says so),
// so that what is changed is looked at.
//
//   byte 0     what the owner does, enum act        byte 1     time, in steps of 4,096 us; 255: 64
//   s byte 2, 3  length of the frame, big-endian; the highest bit: the turn goes on
//
// Built with -Dfuzz=true it is a libFuzzer target; otherwise `fuzz_packets FOLDER [ROUNDS]` runs
// the inputs of a folder and then changes of them. `packets --inputs FOLDER` writes inputs.
#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/checksum.h"
#include "tests/sim/wire.h"

enum act { NOTHING, CONNECT, WRITE, READ, CLOSE, ABORT, KEEPALIVE, ACTS };

enum {
    PORT = 6379,
    PEER_PORT = 4000,
    STREAMS_MAX = 16,
    RX_MAX = 64,
    TURNS_MAX = 2000, // of one step of time
    STEP_US = 4096,
    LONG_US = 64000000,
    START_US = 5000000,  // as the scripts begin, so that their sequence numbers are right
    SETTLE_US = 5000000, // duplicate address detection
    MEMORY_MAX = 16 << 20,
};

static uint64_t answered; // frames that left, of all inputs

struct fuzz {
    struct net *net;
    struct wire_pool pool;
    uint64_t now_us;
    uint8_t *rx[RX_MAX];
    unsigned n_rx;
    struct stream *streams[STREAMS_MAX];
};

static void owner(struct fuzz *z)
{
    struct stream *ready[32];
    unsigned n = net_ready(z->net, ready, 32);
    for (unsigned i = 0; i < n; i++) {
        struct stream *s = ready[i];
        unsigned events = s->events, k = 0;
        s->events = 0;
        if (events & STREAM_ACCEPTED) {
            while (k < STREAMS_MAX && z->streams[k])
                k++;
            if (k < STREAMS_MAX)
                z->streams[k] = s;
        }
        if (events & STREAM_CLOSED) {
            for (k = 0; k < STREAMS_MAX; k++)
                if (z->streams[k] == s)
                    z->streams[k] = NULL;
            s->ops->release(s);
        }
    }
}

static void turn(struct fuzz *z)
{
    owner(z);
    net_advance(z->net, z->now_us);
    struct frame **out;
    unsigned count = net_output(z->net, &out);
    for (unsigned i = 0; i < count; i++) {
        struct frame *f = out[i];
        assert(f->len >= 14 && f->data >= f->buffer && f->data + f->len <= f->buffer + f->size);
        if (!(f->flags & FRAME_KEEP))
            f->pool->release(f->pool, &f, 1);
    }
    answered += count;
    net_sent(z->net, count);
    net_turn_end(z->net);
    for (unsigned i = 0; i < z->n_rx; i++)
        free(z->rx[i]);
    z->n_rx = 0;
}

static void wait_until(struct fuzz *z, uint64_t until_us)
{
    unsigned turns = 0;
    for (uint64_t next; (next = net_next_timer(z->net)) <= until_us && turns < TURNS_MAX; turns++) {
        if (next > z->now_us)
            z->now_us = next;
        turn(z);
    }
    z->now_us = until_us;
}

// ICMP's sums are made right: no port looks at them.
static void mend_icmp(uint8_t *f, uint32_t len)
{
    uint32_t l2 = len > 18 && f[12] == 0x81 && f[13] == 0 ? 18 : 14;
    uint8_t *ip = f + l2;
    uint64_t sum = 0;
    uint32_t at, size;
    if (len >= l2 + 28 && f[l2 - 2] == 8 && f[l2 - 1] == 0 && ip[9] == 1) {
        at = (ip[0] & 15u) * 4;
        size = (uint32_t)ip[2] << 8 | ip[3];
        size = size > at ? size - at : 0;
    } else if (len >= l2 + 48 && f[l2 - 2] == 0x86 && f[l2 - 1] == 0xdd && ip[6] == 58) {
        at = 40;
        size = (uint32_t)ip[4] << 8 | ip[5];
        uint8_t pseudo[8] = {0, 0, ip[4], ip[5], 0, 0, 0, 58};
        sum = net_sum(pseudo, 8, net_sum(ip + 8, 32, 0));
    } else {
        return;
    }
    if (at < 20 || size < 8 || l2 + at + size > len)
        return;
    memset(ip + at + 2, 0, 2);
    uint16_t field = (uint16_t)~net_sum_fold(net_sum(ip + at, size, sum));
    memcpy(ip + at + 2, &field, 2);
}

static void receive(struct fuzz *z, const uint8_t *data, uint32_t len)
{
    if (z->n_rx == RX_MAX)
        turn(z);
    uint8_t *copy = malloc(len ? len : 1); // as long as the frame: reading on is found
    assert(copy);
    if (len)
        memcpy(copy, data, len);
    mend_icmp(copy, len);
    z->rx[z->n_rx++] = copy;
    struct frame f = {.data = copy,
                      .buffer = copy,
                      .len = len,
                      .size = len,
                      .flags = FRAME_IP_SUM_GOOD | FRAME_L4_SUM_GOOD},
                 *one = &f;
    net_input(z->net, &one, 1, z->now_us);
}

static void act(struct fuzz *z, unsigned what)
{
    static uint8_t bytes[4000];
    owner(z);
    struct stream *s = NULL;
    unsigned k = STREAMS_MAX;
    while (!s && k > 0)
        s = z->streams[--k];
    if (what == CONNECT) {
        struct endpoint to = {.family = 4, .port = PEER_PORT, .addr = {10, 0, 0, 9}};
        int error;
        for (k = 0; k < STREAMS_MAX && z->streams[k];)
            k++;
        if (k < STREAMS_MAX)
            z->streams[k] = net_connect(z->net, &to, &error);
    } else if (!s) {
        return;
    } else if (what == WRITE) {
        out_write(&s->out, bytes, sizeof(bytes));
        s->ops->push(s);
    } else if (what == READ) {
        while (s->in_len)
            stream_consume(s, s->in_len);
    } else if (what == CLOSE) {
        s->ops->close(s);
    } else if (what == ABORT) {
        s->ops->abort(s);
    } else if (what == KEEPALIVE) {
        s->ops->keepalive(s, 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz z = {.now_us = START_US};
    struct net_config c = {
        .mac = {2, 0, 0, 0, 0, 1},
        .mtu = 1500,
        .n_addresses = 2,
        .addresses = {{.family = 4, .prefix = 24, .addr = {10, 0, 0, 1}},
                      {.family = 6,
                       .prefix = 64,
                       .addr = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}},
        .connections_max = 64,
        .half_open_max = 8,
        .time_wait_max = 8,
        .receive_memory_max = 1 << 20,
        .seed = 7};
    wire_pool_init(&z.pool, 2048, 1000);
    char error[100];
    z.net = net_create(&c, &z.pool.pool, z.now_us, error, sizeof(error));
    assert(z.net);
    net_listen(z.net, PORT, 4);
    wait_until(&z, z.now_us + SETTLE_US);
    static const uint8_t arp[42] = {2,  0, 0, 0, 0, 1, 2, 0, 0, 0, 0,  9, 8, 6,
                                    0,  1, 8, 0, 6, 4, 0, 1, 2, 0, 0,  0, 0, 9,
                                    10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1};
    receive(&z, arp, sizeof(arp));
    turn(&z);
    while (size >= 4) {
        uint32_t len = (uint32_t)(data[2] & 7) << 8 | data[3];
        bool goes_on = data[2] & 0x80;
        unsigned what = data[0] % ACTS, time = data[1];
        data += 4;
        size -= 4;
        if (time)
            wait_until(&z, z.now_us + (time == 255 ? LONG_US : (uint64_t)time * STEP_US));
        if (what)
            act(&z, what);
        len = len < size ? len : (uint32_t)size;
        if (len)
            receive(&z, data, len);
        data += len;
        size -= len;
        if (!goes_on)
            turn(&z);
        assert(net_memory(z.net) < MEMORY_MAX);
    }
    turn(&z);
    net_destroy(z.net);
    assert(z.pool.taken == 0);
    wire_pool_free(&z.pool);
    return 0;
}

#ifndef FUZZ_LIBFUZZER
enum { INPUT_MAX = 1 << 16, INPUTS_MAX = 4096 };

struct input {
    uint8_t *data;
    size_t size;
};

static unsigned load(const char *folder, struct input *inputs)
{
    DIR *d = opendir(folder);
    unsigned n = 0;
    for (const struct dirent *e; d && (e = readdir(d)) && n < INPUTS_MAX;) {
        char path[1024];
        snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (!f)
            continue;
        inputs[n].data = malloc(INPUT_MAX);
        assert(inputs[n].data);
        inputs[n].size = fread(inputs[n].data, 1, INPUT_MAX, f);
        n++;
        fclose(f);
    }
    if (d)
        closedir(d);
    return n;
}

int main(int argc, char **argv)
{
    static struct input inputs[INPUTS_MAX];
    static uint8_t changed[INPUT_MAX];
    if (argc < 2) {
        fputs("usage: fuzz_packets FOLDER [ROUNDS [SEED]]\n", stderr);
        return 2;
    }
    unsigned n = load(argv[1], inputs);
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    for (unsigned i = 0; i < n; i++)
        LLVMFuzzerTestOneInput(inputs[i].data, inputs[i].size);
    for (uint64_t i = 0; i < rounds && n; i++, seed++) {
        struct wire_rng rng;
        wire_seed(&rng, seed);
        const struct input *from = &inputs[wire_random(&rng) % n];
        size_t size = from->size;
        memcpy(changed, from->data, size);
        for (uint64_t k = 1 + wire_random(&rng) % 8; k && size; k--)
            changed[wire_random(&rng) % size] = (uint8_t)(wire_random(&rng) >> 20);
        LLVMFuzzerTestOneInput(changed, size);
    }
    printf("%u inputs, %llu changes of them, %llu frames in answer\n", n,
           (unsigned long long)rounds, (unsigned long long)answered);
    for (unsigned i = 0; i < n; i++)
        free(inputs[i].data);
    return n == 0 || answered == 0; // without inputs this would test nothing
}
#endif
