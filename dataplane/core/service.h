// The service thread of the data plane: all that would make a polling core wait. It writes the log,
// meets the control plane, runs jobs that touch files, watches memory, and takes signals.
//
// Start it before the polling cores' threads: SIGTERM and SIGINT are blocked on the calling thread,
// and threads inherit that.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct attach;
struct service;

#define SERVICE_CORES_MAX 64
// Jobs of all cores that wait at a time, and calls that one core has under way. Powers of two.
#define SERVICE_QUEUE 1024
#define SERVICE_CALLS_MAX 128

struct service_options {
    struct attach *attach; // served if not NULL; the caller closes it after service_stop
    // All of these are called on the service thread; each may be NULL.
    // SIGTERM, SIGINT; who sent it, for people; how often one came by now.
    void (*signal)(void *context, int number, const char *sender, unsigned times);
    void (*tick)(void *context);                // about once a second
    void (*look)(void *context);                // four times a second at least
    void (*wake)(void *context, unsigned core); // ends the sleep of a core
    void *context;
};

// NULL with one line in `error`.
struct service *service_start(const struct service_options *options, char *error,
                              size_t error_size);
// Runs the jobs that were posted, writes out the log, and ends the thread.
void service_stop(struct service *s);

// Runs job(arg) on the service thread, in the order of posting. Any thread; never waits. false: the
// queue is full.
bool service_post(struct service *s, void (*job)(void *arg), void *arg);
// Runs job(arg) on the service thread and then done(arg) on core `core`, from service_complete; the
// core is woken. Called on that core. false: too many are under way.
bool service_call(struct service *s, unsigned core, void (*job)(void *arg), void (*done)(void *arg),
                  void *arg);
// Once a turn on core `core`: runs what its finished calls have left to do. One load when there is
// nothing. Returns how many there were.
unsigned service_complete(struct service *s, unsigned core);

// How long the longest job took since this was asked last, in microseconds. Any thread.
uint64_t service_longest_us(struct service *s);

// Memory of the process and the machine in bytes, at most a second old. Any thread.
struct service_memory {
    uint64_t resident, total;
};
void service_memory(const struct service *s, struct service_memory *m);
