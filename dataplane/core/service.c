#include "dataplane/core/service.h"

#include <assert.h>
#include <errno.h>
#include <mimalloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/process.h"
#include "dataplane/core/attach.h"

// How long a line may wait in a ring: while lines come, and after a second without any. Cores do
// not wake this thread for a line, so this is also what an idle process costs: four wake-ups a
// second.
#define LOG_BUSY_MS 50
#define LOG_IDLE_MS 250
#define TICK_MS 1000

struct job {
    void (*run)(void *arg);
    void (*done)(void *arg); // NULL: nothing follows
    void *arg;
    unsigned core;
};

// A bounded queue of many producers: a place is free for turn `sequence` of its use. Whoever moves
// `head` over it owns it, fills it, and says so by the next sequence number.
struct place {
    _Atomic uint64_t sequence;
    struct job job;
};

// Finished calls of one core: the service thread writes, the core reads.
struct completions {
    _Alignas(64) _Atomic uint32_t head; // service thread
    _Alignas(64) _Atomic uint32_t tail; // core
    uint32_t under_way;                 // core: calls posted and not yet completed
    struct job job[SERVICE_CALLS_MAX];
};

struct service {
    _Alignas(64) _Atomic uint64_t head; // producers
    _Alignas(64) _Atomic bool sleeps;
    uint64_t tail; // service thread
    struct place queue[SERVICE_QUEUE];
    struct completions completions[SERVICE_CORES_MAX];

    struct service_options options;
    pthread_t thread;
    int epoll, event, signals;
    unsigned signalled;
    _Atomic bool stop;
    _Atomic uint64_t resident, total;
    _Atomic uint64_t longest_us; // of the jobs
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t now_ms(void)
{
    return now_us() / 1000;
}

// --- the queue -----------------------------------------------------------------------------------

static bool job_push(struct service *s, const struct job *job)
{
    uint64_t head = atomic_load_explicit(&s->head, memory_order_relaxed);
    struct place *place;
    for (;;) {
        place = &s->queue[head % SERVICE_QUEUE];
        uint64_t sequence = atomic_load_explicit(&place->sequence, memory_order_acquire);
        if (sequence == head) {
            if (atomic_compare_exchange_weak_explicit(&s->head, &head, head + 1,
                                                      memory_order_relaxed, memory_order_relaxed))
                break;
        } else if (sequence < head) {
            return false;
        } else {
            head = atomic_load_explicit(&s->head, memory_order_relaxed);
        }
    }
    place->job = *job;
    atomic_store_explicit(&place->sequence, head + 1, memory_order_release);
    // Pairs with service_loop's: flag, fence, look at the queue, sleep.
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&s->sleeps, memory_order_relaxed) &&
        atomic_exchange_explicit(&s->sleeps, false, memory_order_relaxed)) {
        uint64_t one = 1;
        ssize_t n = write(s->event, &one, sizeof(one));
        (void)n;
    }
    return true;
}

static bool job_waits(struct service *s)
{
    return atomic_load_explicit(&s->queue[s->tail % SERVICE_QUEUE].sequence,
                                memory_order_acquire) == s->tail + 1;
}

static void note_longest(struct service *s, uint64_t us)
{
    uint64_t seen = atomic_load_explicit(&s->longest_us, memory_order_relaxed);
    while (seen < us && !atomic_compare_exchange_weak(&s->longest_us, &seen, us))
        continue;
}

uint64_t service_longest_us(struct service *s)
{
    return atomic_exchange_explicit(&s->longest_us, 0, memory_order_relaxed);
}

static void jobs_run(struct service *s)
{
    while (job_waits(s)) {
        struct place *place = &s->queue[s->tail % SERVICE_QUEUE];
        struct job job = place->job;
        atomic_store_explicit(&place->sequence, s->tail + SERVICE_QUEUE, memory_order_release);
        s->tail++;
        uint64_t begin_us = now_us();
        job.run(job.arg);
        note_longest(s, now_us() - begin_us);
        if (!job.done)
            continue;
        struct completions *c = &s->completions[job.core];
        uint32_t head = atomic_load_explicit(&c->head, memory_order_relaxed);
        c->job[head % SERVICE_CALLS_MAX] = job; // there is room: calls under way are bounded
        atomic_store_explicit(&c->head, head + 1, memory_order_release);
        if (s->options.wake)
            s->options.wake(s->options.context, job.core);
    }
}

bool service_post(struct service *s, void (*job)(void *arg), void *arg)
{
    return job_push(s, &(struct job){.run = job, .arg = arg});
}

bool service_call(struct service *s, unsigned core, void (*job)(void *arg), void (*done)(void *arg),
                  void *arg)
{
    assert(core < SERVICE_CORES_MAX && done);
    struct completions *c = &s->completions[core];
    if (c->under_way == SERVICE_CALLS_MAX ||
        !job_push(s, &(struct job){.run = job, .done = done, .arg = arg, .core = core}))
        return false;
    c->under_way++;
    return true;
}

unsigned service_complete(struct service *s, unsigned core)
{
    struct completions *c = &s->completions[core];
    uint32_t tail = atomic_load_explicit(&c->tail, memory_order_relaxed);
    uint32_t head = atomic_load_explicit(&c->head, memory_order_acquire);
    if (tail == head)
        return 0;
    unsigned n = head - tail;
    while (tail != head) {
        struct job job = c->job[tail % SERVICE_CALLS_MAX];
        atomic_store_explicit(&c->tail, ++tail, memory_order_release);
        c->under_way--;
        job.done(job.arg);
    }
    return n;
}

// --- memory --------------------------------------------------------------------------------------

static void memory_look(struct service *s)
{
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long pages = 0;
    if (f) {
        if (fscanf(f, "%*u %lu", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    uint64_t resident = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    atomic_store_explicit(&s->resident, resident, memory_order_relaxed);
    atomic_store_explicit(&s->total, total, memory_order_relaxed);
}

void service_memory(const struct service *s, struct service_memory *m)
{
    m->resident = atomic_load_explicit(&s->resident, memory_order_relaxed);
    m->total = atomic_load_explicit(&s->total, memory_order_relaxed);
}

// --- the thread ----------------------------------------------------------------------------------

static void signals_read(struct service *s)
{
    struct signalfd_siginfo info;
    char sender[PROCESS_TEXT_MAX];
    while (read(s->signals, &info, sizeof(info)) == sizeof(info))
        if (s->options.signal)
            s->options.signal(s->options.context, (int)info.ssi_signo,
                              process_sender((pid_t)info.ssi_pid, info.ssi_uid, sender),
                              ++s->signalled);
}

static void events_take(struct service *s, const struct epoll_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd;
        uint64_t count;
        if (fd == s->event) {
            ssize_t got = read(s->event, &count, sizeof(count));
            (void)got;
        } else if (fd == s->signals) {
            signals_read(s);
        } else {
            attach_turn(s->options.attach);
        }
    }
}

static void *service_loop(void *context)
{
    struct service *s = context;
    uint64_t tick_ms = now_ms() + TICK_MS, quiet_since_ms = 0;
    while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
        jobs_run(s);
        if (s->options.look)
            s->options.look(s->options.context);
        uint64_t now = now_ms();
        if (log_flush())
            quiet_since_ms = now;
        if (now >= tick_ms) {
            memory_look(s);
            if (s->options.tick)
                s->options.tick(s->options.context);
            tick_ms = now + TICK_MS;
        }
        int timeout = now - quiet_since_ms < 1000 ? LOG_BUSY_MS : LOG_IDLE_MS;
        if ((uint64_t)timeout > tick_ms - now)
            timeout = (int)(tick_ms - now);
        atomic_store_explicit(&s->sleeps, true, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        struct epoll_event events[8];
        int n = epoll_wait(s->epoll, events, 8, job_waits(s) ? 0 : timeout);
        atomic_store_explicit(&s->sleeps, false, memory_order_relaxed);
        events_take(s, events, n);
    }
    jobs_run(s);
    log_flush();
    return NULL;
}

static int poll_add(struct service *s, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    return fd < 0 ? -1 : epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e);
}

static void service_free(struct service *s)
{
    int fds[] = {s->epoll, s->event, s->signals};
    for (unsigned i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    mi_free(s);
}

struct service *service_start(const struct service_options *options, char *error, size_t error_size)
{
    struct service *s = mi_zalloc_aligned(sizeof(*s), _Alignof(struct service));
    if (!s) {
        snprintf(error, error_size, "no memory for the service thread");
        return NULL;
    }
    for (unsigned i = 0; i < SERVICE_QUEUE; i++)
        atomic_init(&s->queue[i].sequence, i);
    s->options = *options;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    pthread_sigmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN); // a server outlives the terminal it was started from
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    int e = 0;
    if (poll_add(s, s->event) || poll_add(s, s->signals) ||
        (options->attach && poll_add(s, attach_fd(options->attach))))
        e = errno;
    memory_look(s);
    if (!e)
        e = pthread_create(&s->thread, NULL, service_loop, s);
    if (e) {
        snprintf(error, error_size, "cannot start the service thread: %s", strerror(e));
        service_free(s);
        return NULL;
    }
    pthread_setname_np(s->thread, "pollux-service");
    return s;
}

void service_stop(struct service *s)
{
    if (!s)
        return;
    atomic_store_explicit(&s->stop, true, memory_order_release);
    uint64_t one = 1;
    ssize_t n = write(s->event, &one, sizeof(one));
    (void)n;
    pthread_join(s->thread, NULL);
    service_free(s);
}
