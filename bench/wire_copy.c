// pollux-wire: what a memif carries when nothing is done but copying. One thread fills frames from
// a buffer and sends them, another copies what arrives into blocks, over a memif pair inside this
// process with the same driver, rings, pools and bursts as pollux-server and pollux-bench use. What
// TCP, requests and a store cost shows beside it (bench/wire).
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/clock.h"
#include "common/log.h"
#include "drivers/nic.h"

enum {
    BURST = 32,
    HEADERS = 66,    // Ethernet, IPv4, TCP with timestamps
    VALUE = 1 << 20, // of the buffers that bytes come from and go to
    VALUES = 10,     // as many as connections in the comparison
    LINK_WAIT_MS = 10000,
};

struct run {
    struct nic *nic;
    int cpu[2];
    uint32_t payload;
    double seconds;
    _Atomic bool stop;
    uint64_t frames; // received within the time
    double took_s;
};

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void *send_all(void *context)
{
    struct run *r = context;
    struct port *port = nic_port(r->nic, 1);
    struct frame_pool *pool = port_pool(port);
    struct frame *frames[BURST];
    unsigned n = 0;
    uint32_t at = 0;
    pin(r->cpu[1]);
    uint8_t *value = malloc(VALUE);
    if (!value || port_attach(port)) {
        atomic_store(&r->stop, true);
        free(value);
        return NULL;
    }
    memset(value, 'v', VALUE);
    while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
        if (n == 0) {
            n = pool->alloc(pool, frames, BURST);
            for (unsigned i = 0; i < n; i++) {
                memset(frames[i]->data, 0, HEADERS);
                memcpy(frames[i]->data + HEADERS, value + at, r->payload);
                frames[i]->len = HEADERS + r->payload;
                at = at + 2 * r->payload <= VALUE ? at + r->payload : 0;
            }
        }
        unsigned sent = port_tx(port, frames, n);
        memmove(frames, frames + sent, (n - sent) * sizeof(*frames));
        n -= sent;
    }
    if (n)
        pool->release(pool, frames, n);
    port_detach(port);
    free(value);
    return NULL;
}

static void *receive_all(void *context)
{
    struct run *r = context;
    struct port *port = nic_port(r->nic, 0);
    struct frame *frames[BURST];
    size_t at = 0, size = (size_t)VALUE * VALUES;
    pin(r->cpu[0]);
    uint8_t *to = malloc(size);
    if (!to || port_attach(port)) {
        atomic_store(&r->stop, true);
        free(to);
        return NULL;
    }
    memset(to, 0, size);
    // The first tenth warms up.
    double rate = clock_rate();
    uint64_t begin = 0, end = 0, warm = 0;
    while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
        unsigned n = port_rx(port, frames, BURST);
        uint64_t now = clock_ticks();
        if (n && !warm) {
            warm = now + (uint64_t)(r->seconds * rate / 10);
        } else if (warm && !begin && now >= warm) {
            begin = now;
            end = now + (uint64_t)(r->seconds * rate);
        }
        for (unsigned i = 0; i < n; i++) {
            uint32_t len = frames[i]->len - HEADERS;
            if (at + len > size)
                at = 0;
            memcpy(to + at, frames[i]->data + HEADERS, len);
            at += len;
        }
        if (begin)
            r->frames += n;
        port_release_rx(port, frames, n);
        if (begin && now >= end) {
            r->took_s = (double)(now - begin) / rate;
            atomic_store(&r->stop, true);
        }
    }
    port_detach(port);
    free(to);
    return NULL;
}

static bool wait_for_link(struct nic *nic)
{
    for (int ms = 0; ms < LINK_WAIT_MS; ms += 10) {
        struct port_stats a, b;
        port_stats(nic_port(nic, 0), &a);
        port_stats(nic_port(nic, 1), &b);
        if (a.link_up && b.link_up)
            return true;
        usleep(10000);
    }
    return false;
}

static int run(struct run *r, bool no_huge)
{
    char error[512], path[64], server[160], client[160], name[32];
    snprintf(path, sizeof(path), "/tmp/pollux-wire-%d.sock", (int)getpid());
    snprintf(name, sizeof(name), "wire-%d", (int)getpid());
    snprintf(server, sizeof(server), "net_memif0,role=server,id=0,socket=%s,socket-abstract=no",
             path);
    snprintf(client, sizeof(client), "net_memif1,role=client,id=0,socket=%s,socket-abstract=no",
             path);
    struct nic_options options = {.devices = {server, client},
                                  .n_devices = 2,
                                  .queues = 2,
                                  .cpus = r->cpu,
                                  .huge_pages = no_huge ? NIC_HUGE_NO : NIC_HUGE_AUTO,
                                  .name = name};
    r->nic = nic_open(&options, error, sizeof(error));
    if (!r->nic) {
        fprintf(stderr, "pollux-wire: %s\n", error);
        return 1;
    }
    int code = 1;
    pthread_t thread[2];
    if (!wait_for_link(r->nic)) {
        fprintf(stderr, "pollux-wire: the two ends of the memif do not find each other\n");
    } else {
        pthread_create(&thread[0], NULL, receive_all, r);
        pthread_create(&thread[1], NULL, send_all, r);
        pthread_join(thread[0], NULL);
        atomic_store(&r->stop, true);
        pthread_join(thread[1], NULL);
        double gbit = (double)r->frames * r->payload * 8 / 1e9 / (r->took_s > 0 ? r->took_s : 1);
        printf("{\"payload\": %u, \"frames_per_second\": %.0f, \"gbit_per_second\": %.2f}\n",
               r->payload, (double)r->frames / (r->took_s > 0 ? r->took_s : 1), gbit);
        code = r->frames ? 0 : 1;
    }
    // What DPDK has to say of the end of two joined ports in one process is no news.
    log_open(&(struct log_options){.file = "/dev/null", .role = 'M'});
    nic_close(r->nic);
    unlink(path);
    return code;
}

int main(int argc, char **argv)
{
    static struct run r = {.cpu = {0, 1}, .payload = 1448, .seconds = 2};
    static const struct option options[] = {{"cpu", 1, 0, 'c'},     {"seconds", 1, 0, 's'},
                                            {"payload", 1, 0, 'p'}, {"no-huge", 0, 0, 'n'},
                                            {"help", 0, 0, 'h'},    {0}};
    bool no_huge = false, good = true;
    for (int k; (k = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (k == 'c')
            good = good && sscanf(optarg, "%d,%d", &r.cpu[0], &r.cpu[1]) == 2;
        else if (k == 's')
            good = good && (r.seconds = strtod(optarg, NULL)) > 0;
        else if (k == 'p')
            good = good && (r.payload = (uint32_t)strtoul(optarg, NULL, 10)) > 0 &&
                   r.payload <= 1500 + 14 - HEADERS;
        else if (k == 'n')
            no_huge = true;
        else
            good = false;
    }
    if (!good || optind != argc) {
        fprintf(stderr,
                "Usage: pollux-wire [--cpu RECEIVER,SENDER] [--seconds S] [--payload BYTES] "
                "[--no-huge]\nCopies frames over a memif pair and tells, as JSON, how fast "
                "that is. At most 1448 bytes of payload fit a frame.\n");
        return 2;
    }
    return run(&r, no_huge);
}
