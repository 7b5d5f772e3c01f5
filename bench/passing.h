// Frames that came to another thread's queue than the one their connection lives on: what a port
// hashes cannot be known beforehand. A thread's connections have local ports of its own (port
// modulo threads), so whoever gets a stray knows its home. Copies travel in one ring for each
// ordered pair of threads.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/frame.h"

struct passing;

struct passed {
    struct frame frame;
    uint8_t bytes[];
};

// NULL when memory is short.
struct passing *passing_open(unsigned threads);
void passing_close(struct passing *p); // when all threads have ended
// The thread that has connections with this local port.
unsigned passing_home(const struct passing *p, uint16_t port);
// On thread `from`: sends a copy of a received TCP frame to its home. False when it is at home, is
// no TCP over IPv4, or the ring is full: then it is lost as on a wire.
bool passing_tcp(struct passing *p, unsigned from, const struct frame *frame);
// On thread `from`: copies of what all need to know, that is of ARP's replies.
void passing_arp(struct passing *p, unsigned from, struct frame *const *frames, unsigned n);
// On thread `to`: the next frame that others passed to it, to be freed with passing_free.
struct passed *passing_take(struct passing *p, unsigned to);
void passing_free(struct passed *passed);
// The local TCP port that a frame is for; 0: it is no TCP over IPv4.
uint16_t passing_port(const struct frame *frame);
