// One test on the connections of a thread: its phases, and what is noted of it.
#include <stdio.h>
#include <string.h>

#include "bench/client_inner.h"
#include "bench/clock.h"
#include "bench/route.h"

#define LOOK_US 1000 // how often limits that need no precision are looked at
// Open loop: the kernel may wake us this much late, so the last bit of a pause is spent spinning.
#define WAKE_EARLY_US 150
// Open loop: how long after the end requests whose time had come may still be sent.
#define GRACE_S 1.0

// The phases of a job; each ends at a time, some earlier.
enum phase {
    PHASE_WARM,    // requests are sent and not counted
    PHASE_COUNTED, // the measured time
    PHASE_GRACE,   // open loop: what was meant to be sent before the end
    PHASE_DRAIN,   // nothing more is sent; replies are awaited
};

struct run {
    const struct job *job;
    struct client_view *view;
    enum phase phase;
    uint64_t phase_end; // ticks
    uint64_t begin;     // of the measured time, ticks
    uint64_t end;       // of the measured time; UINT64_MAX: by requests
    uint64_t progress;  // when the last reply was seen, ticks
    uint64_t seen;      // requests answered then
    uint64_t written;   // bytes of requests before the measured time
    uint64_t counted;   // requests answered before the last interval was given
};

static void reset_parts(struct measurement_part *parts, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct measurement_part *p = &parts[i];
        p->requests = p->bytes_in = p->bytes_out = 0;
        memset(p->kinds, 0, sizeof(p->kinds));
        histogram_reset(&p->latency);
    }
}

// Everything counted until now was warm-up.
static void start_counting(struct client *c, struct run *r)
{
    struct measurement *m = c->m;
    r->begin = r->progress = c->now;
    r->seen = 0;
    r->written = c->protocol.written;
    m->requests = m->bytes_in = m->connects = m->disconnects = 0;
    m->busy_ns = m->turns = m->other_errors = 0;
    m->moved = m->asked = m->retried = 0;
    m->n_errors = m->n_evidence = 0;
    memset(m->kinds, 0, sizeof(m->kinds));
    histogram_reset(c->latency);
    histogram_reset(&m->service);
    histogram_reset(&m->lag);
    histogram_reset(&m->jitter);
    reset_parts(m->commands, m->n_commands);
    reset_parts(m->nodes, m->n_nodes);
    if (r->job->requests)
        c->to_send = r->job->requests > c->waiting ? r->job->requests - c->waiting : 0;
}

// Requests whose time came before the end and that never left: their waiting counts as far as it
// went.
static void count_unsent(struct client *c, const struct run *r)
{
    while (c->due < r->end && c->to_send > 0) {
        histogram_record(c->latency, clock_ns(c->now - c->due), 1);
        c->m->unsent++;
        c->to_send--;
        draw_arrival(c);
    }
}

// Open loop: some request that was meant to be sent in the measured time has not been.
static bool behind(const struct client *c, const struct run *r)
{
    return c->due < r->end || (c->route && route_queued(c));
}

static void next_phase(struct client *c, struct run *r)
{
    double rate = clock_rate();
    r->phase_end = UINT64_MAX;
    switch (r->phase) {
    case PHASE_WARM:
        r->phase = PHASE_COUNTED;
        start_counting(c, r);
        if (!r->job->requests)
            r->phase_end = r->end = r->begin + (uint64_t)(r->job->duration_s * rate);
        c->due_end = r->end;
        break;
    case PHASE_COUNTED:
        if (c->open_loop && behind(c, r)) {
            r->phase = PHASE_GRACE;
            r->phase_end = r->end + (uint64_t)(GRACE_S * rate);
            break;
        }
        // fall through
    case PHASE_GRACE:
        if (c->open_loop)
            count_unsent(c, r);
        if (c->route)
            route_drop(c);
        r->phase = PHASE_DRAIN;
        c->to_send = 0;
        break;
    case PHASE_DRAIN:
        break;
    }
}

static void describe_stall(struct client *c)
{
    char text[MEASUREMENT_TEXT_MAX], name[NAME_MAX_SIZE], address[ENDPOINT_TEXT_MAX] = "";
    unsigned stuck = 0;
    const struct connection *first = NULL;
    for (unsigned i = 0; i < c->n_all; i++) {
        const struct connection *k = client_connection(c, i);
        if (k->waiting == 0)
            continue;
        if (!first)
            first = k;
        stuck++;
    }
    if (!first) {
        fail(c, "no connection could be opened again for too long (--stall)");
        return;
    }
    struct stream_info info;
    first->stream->ops->info(first->stream, &info);
    endpoint_format(&info.local, address);
    snprintf(text, sizeof(text),
             "no reply for %g s (--stall): %llu replies are missing on %u of %u connections, %u of "
             "them on %s (from %s)",
             c->options->stall_s, (unsigned long long)c->waiting, stuck, c->n_all, first->waiting,
             client_name(c, first, name), address);
    fail(c, text);
}

static void count_missing(struct client *c)
{
    for (unsigned i = 0; i < c->n_all; i++) {
        uint32_t waiting = client_connection(c, i)->waiting;
        c->m->missing += waiting;
        c->m->stuck += waiting > 0;
    }
}

// Limits that need no precision.
static void look(struct client *c, struct run *r, uint64_t now)
{
    if (c->m->requests != r->seen || (!c->waiting && c->open_loop)) {
        r->progress = now;
        r->seen = c->m->requests;
    } else if (now - r->progress > (uint64_t)(c->options->stall_s * clock_rate())) {
        describe_stall(c);
    }
    client_stopped(c);
}

// Gives the histogram to the watcher, who has asked for it, and goes on in the other.
static void give(struct client *c, struct run *r, unsigned given)
{
    const struct measurement *m = c->m;
    r->view->counts = (struct client_counts){.requests = m->requests,
                                             .errors = m->kinds[REPLY_ERROR],
                                             .wrong = m->kinds[REPLY_WRONG],
                                             .connections = c->connected,
                                             .measuring = r->phase != PHASE_WARM};
    c->latency = &r->view->latency[(given + 1) % 2];
    atomic_store_explicit(&r->view->given, given + 1, memory_order_release);
}

static bool prepare(struct client *c, const struct job *job, struct measurement *m)
{
    c->pipeline = job->pipeline;
    c->open_loop = job->rate > 0;
    c->churn = job->test->churn || c->options->churn;
    c->by_command = m->commands != NULL;
    c->error[0] = 0;
    if (!protocol_init(&c->protocol, job->test, c->options, c->thread, c->error, sizeof(c->error)))
        return false;
    if (!workload_init(&c->workload, job->test, c->options, c->thread) ||
        (c->route ? !route_prepare(c, job->test, m) : !client_make_rings(c))) {
        fail(c, "out of memory");
        return false;
    }
    c->waiting = 0;
    c->blocked_until = 0;
    c->first_touched = NULL;
    c->due_end = UINT64_MAX;
    c->to_send = UINT64_MAX;
    return true;
}

static void start_load(struct client *c, const struct job *job)
{
    do
        client_turn(c, 0);
    while (clock_ticks() < job->begin);
    c->begin = c->now = clock_ticks();
    if (c->open_loop) {
        arrivals_init(&c->arrivals, c->options->arrivals, job->rate, job->seed + c->thread);
        arrivals_shift(&c->arrivals, (double)c->thread / c->options->threads);
        c->ticks_per_ns = clock_rate() / 1e9;
        draw_arrival(c);
    }
}

// Puts all connections to work.
static void start_connections(struct client *c)
{
    for (unsigned i = 0; i < c->n_all; i++) {
        struct connection *k = client_connection(c, i);
        if (k->state == CONNECTION_NONE && i < c->begun)
            client_connect(c, k);
        if (k->state != CONNECTION_READY)
            continue;
        k->sent = c->now;
        client_put_to_work(c, k);
    }
    if (c->route)
        route_send(c);
    c->transport->ops->end(c->transport);
}

static unsigned pause_us(const struct client *c, bool idle)
{
    if (!idle)
        return 0;
    if (!c->open_loop || !c->to_send)
        return CLIENT_REST_US;
    uint64_t now = clock_ticks();
    uint64_t us = c->due > now ? clock_ns(c->due - now) / 1000 : 0;
    if (us <= WAKE_EARLY_US)
        return 0;
    us -= WAKE_EARLY_US;
    return us < CLIENT_REST_US ? (unsigned)us : CLIENT_REST_US;
}

static bool over(const struct client *c, const struct run *r)
{
    if (c->waiting > 0 || r->phase < PHASE_COUNTED)
        return false;
    return c->to_send == 0;
}

static void loop(struct client *c, struct run *r)
{
    struct measurement *m = c->m;
    bool idle = false;
    uint64_t looked = 0, pause = (uint64_t)(LOOK_US * 1e-6 * clock_rate());
    while (!c->error[0] && !over(c, r)) {
        uint64_t from = clock_ticks();
        if (__builtin_expect(from >= r->phase_end, 0)) {
            c->now = from;
            next_phase(c, r);
        } else if (r->phase == PHASE_GRACE && !behind(c, r)) {
            next_phase(c, r);
        }
        unsigned given = atomic_load_explicit(&r->view->given, memory_order_relaxed);
        if (__builtin_expect(atomic_load_explicit(&r->view->wanted, memory_order_acquire) != given,
                             0))
            give(c, r, given);
        unsigned wait_us = pause_us(c, idle);
        idle = client_turn(c, wait_us) == 0;
        uint64_t now = clock_ticks();
        if (!idle) {
            m->busy_ns += clock_ns(now - (wait_us ? c->now : from));
            m->turns++;
        } else if (!wait_us) {
            histogram_record(&m->jitter, clock_ns(now - from), 1);
        }
        // By time and not by turns: one may last long while the server sends and sends.
        if (idle || now - looked >= pause) {
            look(c, r, now);
            looked = now;
        }
    }
    if (m->requests != r->seen)
        r->progress = clock_ticks();
}

bool client_run(struct client *c, const struct job *job, struct measurement *m,
                struct client_view *view)
{
    struct run r = {.job = job, .view = view, .end = UINT64_MAX, .phase_end = UINT64_MAX};
    c->latency = &view->latency[atomic_load(&view->given) % 2];
    if (prepare(c, job, m)) {
        uint64_t retransmitted = c->transport->ops->retransmitted(c->transport);
        start_load(c, job);
        c->m = m;
        r.progress = c->now;
        r.begin = c->now;
        r.phase_end = c->now + (uint64_t)(job->warmup_s * clock_rate());
        if (job->warmup_s == 0)
            next_phase(c, &r);
        start_connections(c);
        loop(c, &r);
        if (c->error[0])
            count_missing(c);
        m->bytes_out = c->protocol.written - r.written;
        m->retransmitted = c->transport->ops->retransmitted(c->transport) - retransmitted;
        m->seconds = (double)(r.progress - r.begin) / clock_rate();
        if (r.phase == PHASE_WARM)
            start_counting(c, &r); // it ended before anything was to be counted
    }
    m->threads = 1;
    m->finished = !c->error[0];
    memcpy(m->error, c->error, sizeof(m->error));
    c->m = NULL;
    c->open_loop = false;
    workload_free(&c->workload);
    protocol_free(&c->protocol);
    return m->finished;
}
