// What the stacks of several threads send each other: frames that came to another thread's queue
// than the one their connection lives on, since what a port hashes cannot be known beforehand, and
// news of the link. A thread's connections have local ports of its own (port modulo threads), so
// whoever gets a stray knows its home. Copies travel in one ring for each ordered pair of threads.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/frame.h"
#include "dataplane/net/net.h"

struct passing;

struct passed {
    struct net_mail mail;
    struct frame frame;
    uint8_t bytes[];
};

// NULL when memory is short.
struct passing *passing_open(unsigned threads);
void passing_close(struct passing *p); // when all threads have ended
// The thread that has connections with this local port.
unsigned passing_home(const struct passing *p, uint16_t port);
// On thread `from`: sends to the stack of thread `to`, with a copy of the frame. False: no room,
// and it is lost as on a wire.
bool passing_send(struct passing *p, unsigned from, unsigned to, const struct net_mail *mail);
// On thread `to`: the next frame that others passed to it, to be freed with passing_free.
struct passed *passing_take(struct passing *p, unsigned to);
void passing_free(struct passed *passed);
// The local TCP port that a frame is for; 0: it is no TCP over IPv4.
uint16_t passing_port(const struct frame *frame);
