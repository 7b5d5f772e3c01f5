// The polling core: one turn after another. See ARCHITECTURE.md, "The way of one request".
#include "dataplane/core/core.h"

#include <mimalloc.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "dataplane/commands/effects.h"
#include "dataplane/core/access.h"
#include "dataplane/core/blocked.h"
#include "dataplane/core/capture.h"
#include "dataplane/core/client_memory.h"
#include "dataplane/core/crash.h"
#include "dataplane/core/latency.h"
#include "dataplane/core/monitor.h"
#include "dataplane/core/publish.h"
#include "dataplane/core/script.h"
#include "dataplane/core/service.h"
#include "dataplane/core/slowlog.h"
#include "dataplane/core/tracking.h"
#include "dataplane/core/watch.h"

// Background work of the store in a turn, in entries touched: about 20 µs at most.
#define MAINTAIN_BUDGET 256
#define CRON_INTERVAL_US 100000
#define STOP_DRAIN_US 200000
// An adaptive core looks so many times in vain before it sleeps: with kernel sockets a look is
// cheap and a sleep is a system call that also submits; with a port whose arrival wakes the core
// likewise.
#define IDLE_TURNS 64
// Where nothing tells that a frame came (memif), naps grow from NAP_MIN_US to NAP_MAX_US.
#define NAP_MIN_US 20
#define NAP_MAX_US 1000

// xoshiro256** (Blackman and Vigna 2018), seeded from the kernel at the start.
uint64_t core_random(struct core *c)
{
    uint64_t *s = c->random;
    uint64_t x = s[1] * 5;
    uint64_t result = ((x << 7) | (x >> 57)) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

void core_stage(struct core *c, enum plane_stage stage)
{
    uint64_t now = __rdtsc();
    c->counters.stage_cycles[stage] += now - c->cycle_mark;
    if (c->timed)
        execute_timed(c);
    c->cycle_mark = c->command_mark = now;
}

static void core_time(struct core *c)
{
    core_clock_read(&c->clock, &c->now_us, &c->now_ms);
    store_set_time(c->store, c->now_ms);
}

struct core *core_create(struct server *server, unsigned index, int cpu)
{
    struct core *c = mi_zalloc_aligned(sizeof(*c), 64);
    if (!c)
        return NULL;
    c->index = index;
    c->server = server;
    c->cpu = cpu;
    outbuf_init(&c->sink);
    return c;
}

void core_destroy(struct core *c)
{
    io_destroy(c->io);
    mi_free(c->start_error);
    mi_free(c->command_figures);
    access_leave(c);
    mi_free(c);
}

// The store takes a key away on its own. Its removal is told by itself, and not by the command that
// met it.
static void key_gone(void *core, enum store_gone why, unsigned db, const struct key *key,
                     const uint8_t *field, size_t field_len)
{
    struct core *c = core;
    if (c->effects)
        effects_gone(c->effects, why, db, key, field, field_len);
    if (c->observed) {
        parked_changed(c, db, key);
        watch_changed(c, db, key);
        tracking_changed(c, 0, c->executing_for, key);
        if (field)
            publish_field_expired(c, db, key);
        else
            notify_event(c, why == GONE_EVICTED ? EVENT_EVICTED : EVENT_EXPIRED,
                         why == GONE_EVICTED ? "evicted" : "expired", db, key->ptr, key->len);
    }
}

static int core_start(struct core *c, char *error, size_t size)
{
    if (c->cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(c->cpu, &set);
        if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set)) {
            snprintf(error, size,
                     "cores: CPU %d cannot be used by this process; name CPUs of its cpuset",
                     c->cpu);
            return -1;
        }
    }
    char name[16];
    snprintf(name, sizeof(name), "core-%u", c->index);
    pthread_setname_np(pthread_self(), name);
    if (getentropy(c->random, sizeof(c->random))) {
        snprintf(error, size, "the kernel gives no random numbers");
        return -1;
    }
    c->command_figures = mi_calloc(commands_count() + 1, sizeof(*c->command_figures));
    c->store = store_create(c->server->keyspace, c->index, core_random(c));
    if (!c->store || !c->command_figures || !latency_start(c)) {
        snprintf(error, size, "out of memory");
        return -1;
    }
    if (!blocked_start(c) || !publish_start(c) || !tracking_start(c) || !scripts_start(c)) {
        snprintf(error, size, "out of memory");
        return -1;
    }
    store_on_gone(c->store, key_gone, c);
    services_init(c);
    execute_quick_init(c);
    core_clock_start(&c->clock);
    core_time(c);
    settings_adopt(c);
    access_adopt(c);
    memory_start(c);
    return transport_start(c, error, size);
}

static bool streams_look(struct core *c)
{
    struct stream *ready[TURN_STREAMS];
    unsigned n = transport_ready(c, ready, TURN_STREAMS);
    for (unsigned i = 0; i < n; i++)
        client_event(c, ready[i]);
    return n > 0;
}

// The store's background work. True when there is more of it.
static bool maintain(struct core *c)
{
    bool more = store_maintain(c->store, MAINTAIN_BUDGET);
    uint64_t spent = __rdtsc() - c->cycle_mark;
    c->counters.background_cycles += spent;
    c->counters.background_cut += more;
    latency_explain(c, spent);
    latency_event(c, LATENCY_EXPIRE_CYCLE, spent);
    return more;
}

static void cron(struct core *c)
{
    c->next_cron_us = c->now_us + CRON_INTERVAL_US;
    capture_look(c);
    clients_cron(c);
    tracking_cron(c);
    transport_cron(c);
    latency_cron(c);
    figures_publish(c);
}

// One turn. True when something happened.
static bool core_turn(struct core *c)
{
    uint64_t begin = c->cycle_mark = __rdtsc();
    c->explained_cycles = 0;
    core_time(c);
    struct plane_core *shared = &c->server->segment->core[c->index];
    atomic_store_explicit(&shared->heartbeat_us, c->now_us, memory_order_relaxed);
    settings_adopt(c);
    access_adopt(c);
    monitors_look(c);

    c->publisher->told = 0;
    bool any = transport_receive(c);
    if (__builtin_expect(c->attention, 0))
        any |= attend_turn(c);
    any |= streams_look(c);
    core_stage(c, STAGE_RECEIVE);
    if (c->server->n_cores > 1) {
        any |= mailbox_receive(c);
        monitor_deliver(c);
        if (c->passed) // frames that other cores passed on
            streams_look(c);
    }
    any |= blocked_turn(c);
    if (c->starved)
        route_starved(c);
    any |= control_receive(c);
    if (c->server->service)
        any |= service_complete(c->server->service, c->index) > 0;
    core_stage(c, STAGE_MAILBOX);
    uint64_t commands = c->counters.commands;
    while (c->queue_first && !c->stopping && c->counters.commands - commands < TURN_COMMANDS &&
           batch_run(c)) {
        any = true;
        if (!c->queue_first)
            break;
        // Replies of this batch leave before the next one is parsed.
        clients_push(c);
        transport_flush(c);
    }
    any |= steps_run(c);
    any |= scripts_turn(c);
    any |= c->migrations && migrate_turn(c);
    core_stage(c, STAGE_EXECUTE);
    tracking_look(c);
    any |= c->push_first != NULL;
    clients_push(c);
    core_stage(c, STAGE_REPLY);
    transport_send(c);
    if (c->server->n_cores > 1)
        mailbox_wake(c);
    if (__builtin_expect(c->settings.clients_max > 0, 0))
        clients_evict(c);
    clients_bury(c);
    core_stage(c, STAGE_TRANSMIT);
    any |= maintain(c);
    parked_serve(c); // before a slot of an expired key can be lent
    if (c->now_us >= c->next_cron_us)
        cron(c);
    core_stage(c, STAGE_TIMERS);
    c->counters.turns++;
    uint64_t cycles = c->cycle_mark - begin, explained = c->explained_cycles;
    latency_event(c, LATENCY_TURN, cycles > explained ? cycles - explained : 0);
    if (any)
        c->counters.busy_cycles += cycles;
    else
        c->counters.idle_cycles += cycles;
    return any || c->queue_first || c->push_first || c->starved_later || c->backlog ||
           c->tracking_due;
}

// Nothing happened: pause, or sleep until something does.
static void core_relax(struct core *c)
{
    c->idle_turns++;
    if (!c->store || !c->io) { // it did not start, and waits for the end
        usleep(NAP_MAX_US);
        return;
    }
    if (c->settings.spin || c->idle_turns < IDLE_TURNS) {
        _mm_pause();
        return;
    }
    uint64_t timeout_us = c->next_cron_us > c->now_us ? c->next_cron_us - c->now_us : 0;
    uint64_t due = store_next_due(c->store);
    if (due != UINT64_MAX) {
        uint64_t until_us = due > c->now_ms ? (due - c->now_ms) * 1000 : 0;
        if (until_us < timeout_us)
            timeout_us = until_us;
    }
    uint64_t deadline_us = blocked_next_us(c);
    if (deadline_us != UINT64_MAX) {
        uint64_t until_us = deadline_us > c->now_us ? deadline_us - c->now_us : 0;
        if (until_us < timeout_us)
            timeout_us = until_us;
    }
    if (__builtin_expect(c->attention, 0)) {
        uint64_t at = attend_due_us(c), until_us = at > c->now_us ? at - c->now_us : 0;
        if (until_us < timeout_us)
            timeout_us = until_us;
    }
    if (__builtin_expect(c->migrations != NULL, 0)) {
        uint64_t at = migrate_due_us(c), until_us = at > c->now_us ? at - c->now_us : 0;
        if (until_us < timeout_us)
            timeout_us = until_us;
    }
    if (!transport_can_wait(c)) {
        uint64_t nap = (uint64_t)NAP_MIN_US
                       << (c->idle_turns - IDLE_TURNS < 6 ? c->idle_turns - IDLE_TURNS : 6);
        if (nap > NAP_MAX_US)
            nap = NAP_MAX_US;
        if (nap < timeout_us)
            timeout_us = nap;
    }
    if (!timeout_us)
        return;
    atomic_store_explicit(&c->sleeping, 1, memory_order_relaxed);
    struct plane_channel *channel = &c->server->segment->channel[c->index];
    atomic_store_explicit(&channel->core_sleeps, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    bool pending = (c->server->n_cores > 1 && mailbox_pending(c)) ||
                   atomic_load(&channel->to_core.head) != atomic_load(&channel->to_core.tail) ||
                   atomic_load(&c->server->stopping);
    if (!pending) {
        c->counters.sleeps++;
        uint64_t before = __rdtsc();
        transport_wait(c, timeout_us);
        uint64_t slept = __rdtsc() - before, asked = timeout_us * c->server->cycles_per_us;
        c->counters.stage_cycles[STAGE_IDLE] += slept;
        c->counters.idle_cycles += slept;
        if (slept > asked)
            latency_event(c, LATENCY_WAKE_UP, slept - asked);
    }
    atomic_store_explicit(&c->sleeping, 0, memory_order_relaxed);
    atomic_store_explicit(&channel->core_sleeps, 0, memory_order_relaxed);
}

// What was taken is executed and answered: nothing more is parsed, and turns go on until the
// replies of all cores are out, for a bounded time.
static void core_drain(struct core *c, bool failed)
{
    uint64_t until_us = core_clock_us() + STOP_DRAIN_US;
    bool drained = false;
    c->stopping = true;
    do {
        if (!failed)
            core_turn(c);
        if (!drained && (failed || !clients_unsent(c))) {
            drained = true;
            atomic_fetch_add(&c->server->drained, 1);
        }
    } while (atomic_load(&c->server->drained) < c->server->n_cores && core_clock_us() < until_us);
}

void *core_main(void *context)
{
    struct core *c = context;
    char error[512] = "";
    crash_thread(c);
    bool failed = core_start(c, error, sizeof(error));
    pthread_barrier_wait(&c->server->begin);
    if (failed || transport_listen(c, c->config, error, sizeof(error))) {
        c->start_error = mi_strdup(error);
        atomic_store(&c->state, CORE_FAILED);
    } else {
        atomic_store(&c->state, CORE_READY);
    }
    server_wake(c->server);
    while (!atomic_load_explicit(&c->server->stopping, memory_order_relaxed)) {
        if (!failed && core_turn(c))
            c->idle_turns = 0;
        else
            core_relax(c);
    }
    core_drain(c, failed);
    pthread_barrier_wait(&c->server->end);
    scripts_end(c);
    steps_end(c);
    migrate_end(c);
    clients_end(c);
    monitors_free(c);
    slowlog_reset(c);
    latency_stop(c);
    transport_stop(c);
    control_end(c);
    blocked_stop(c);
    scripts_stop(c);
    publish_stop(c);
    tracking_stop(c);
    if (c->store)
        store_destroy(c->store);
    atomic_store(&c->state, CORE_ENDED);
    return NULL;
}
