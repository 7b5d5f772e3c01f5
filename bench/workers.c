#include "bench/workers.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/client.h"
#include "bench/clock.h"
#include "bench/sweep.h"
#include "bench/usage.h"
#include "bench/workload.h"

#define FILL_PIPELINE 64     // filling is not measured: deep enough to be quick
#define WATCH_NS 250000000   // between two looks
#define START_S 0.004        // all threads look for a job at least this often
#define DESCRIPTORS_SPARE 64 // beside connections

struct worker {
    struct workers *workers;
    unsigned index;
    pthread_t thread;
    bool started;
    struct client_view view;   // shared with the watcher as it says
    struct histogram latency;  // the watcher's: what was given and measured
    struct client_counts seen; // the watcher's: the last ones given
    bool asked;                // the watcher's: it waits for what it wanted
    struct job job;            // valid from the moment at which `number` moves
    struct measurement *m;
    char error[MEASUREMENT_TEXT_MAX];
};

struct workers {
    const struct options *options;
    const volatile bool *stop;
    struct devices *devices;
    struct worker *worker;
    unsigned n;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned running;        // with `lock`: threads that have not answered yet
    bool failed;             // with `lock`: one of them could not
    _Atomic bool halt;       // the others need not go on
    _Atomic unsigned number; // of the job
    _Atomic bool leave;
    struct histogram interval; // of progress
    unsigned step, steps;      // of a sweep
};

static void answer(struct worker *w, bool good)
{
    struct workers *all = w->workers;
    pthread_mutex_lock(&all->lock);
    all->running--;
    if (!good) {
        all->failed = true;
        atomic_store(&all->halt, true);
    }
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

static bool pin(const struct options *o, unsigned index)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)o->cpus[index % o->n_cpus], &set);
    return pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0;
}

static struct transport *open_transport(struct worker *w)
{
    struct workers *all = w->workers;
    const struct options *o = all->options;
    if (o->n_cpus && !pin(o, w->index)) {
        snprintf(w->error, sizeof(w->error),
                 "--cpu: CPU %d does not exist or may not be used; see `taskset -p $$`",
                 o->cpus[w->index % o->n_cpus]);
        return NULL;
    }
    struct transport *t =
        o->transport == BENCH_DPDK
            ? transport_nic_open(all->devices, o, w->index, w->error, sizeof(w->error))
            : transport_socket_open(o, w->error, sizeof(w->error));
    return t && o->tls ? transport_tls_open(t, o, w->error, sizeof(w->error)) : t;
}

static void *work(void *argument)
{
    struct worker *w = argument;
    struct workers *all = w->workers;
    struct transport *t = open_transport(w);
    struct client *c = t ? client_open(t, all->options, w->index, all->stop, &all->halt, w->error,
                                       sizeof(w->error))
                         : NULL;
    answer(w, c != NULL);
    for (unsigned done = 0; c && !atomic_load(&all->leave);) {
        unsigned number = atomic_load_explicit(&all->number, memory_order_acquire);
        if (number == done) {
            client_rest(c);
            continue;
        }
        done = number;
        answer(w, client_run(c, &w->job, w->m, &w->view));
    }
    client_close(c);
    if (t)
        t->ops->close(t);
    return NULL;
}

// As many descriptors as connections need, if we may.
static void raise_limit(const struct options *o)
{
    struct rlimit limit;
    // How many nodes a cluster has is not known yet.
    rlim_t wanted = o->cluster ? RLIM_INFINITY : o->connections + DESCRIPTORS_SPARE;
    if (o->transport != BENCH_SOCKET || getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
}

// This thread watches from the CPUs of its workers: it must not disturb the server's.
static bool move_to_cpus(const struct options *o, char *error, size_t error_size)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (unsigned i = 0; i < o->n_cpus; i++)
        CPU_SET((unsigned)o->cpus[i], &set);
    if (!o->n_cpus || sched_setaffinity(0, sizeof(set), &set) == 0)
        return true;
    snprintf(error, error_size, "--cpu: CPU %d%s not exist or may not be used; see `taskset -p $$`",
             o->cpus[0], o->n_cpus == 1 ? " does" : " and the others do");
    return false;
}

// Waits until all threads have answered. False when one of them could not.
static bool wait_for_all(struct workers *all)
{
    pthread_mutex_lock(&all->lock);
    while (all->running > 0)
        pthread_cond_wait(&all->changed, &all->lock);
    bool good = !all->failed;
    pthread_mutex_unlock(&all->lock);
    return good;
}

struct workers *workers_open(const struct options *o, const bool volatile *stop, char *error,
                             size_t error_size)
{
    struct workers *all = calloc(1, sizeof(*all));
    if (all)
        all->worker = calloc(o->threads, sizeof(*all->worker));
    if (!all || !all->worker) {
        snprintf(error, error_size, "out of memory");
        free(all);
        return NULL;
    }
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->changed, &clock);
    pthread_condattr_destroy(&clock);
    all->options = o;
    all->stop = stop;
    clock_rate(); // before there are threads
    raise_limit(o);
    error[0] = 0;
    if (!move_to_cpus(o, error, error_size) ||
        (o->transport == BENCH_DPDK && !(all->devices = devices_open(o, error, error_size)))) {
        workers_close(all);
        return NULL;
    }
    all->running = o->threads;
    for (all->n = 0; all->n < o->threads; all->n++) {
        struct worker *w = &all->worker[all->n];
        w->workers = all;
        w->index = all->n;
        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            snprintf(error, error_size, "--threads %u: the system gives no more threads",
                     o->threads);
            atomic_store(&all->halt, true);
            pthread_mutex_lock(&all->lock);
            all->running -= o->threads - all->n;
            all->failed = true;
            pthread_mutex_unlock(&all->lock);
            break;
        }
        w->started = true;
    }
    if (!wait_for_all(all)) {
        for (unsigned i = 0; i < all->n; i++)
            if (!error[0] || !strcmp(error, "another thread failed"))
                if (all->worker[i].error[0])
                    snprintf(error, error_size, "%s", all->worker[i].error);
        workers_close(all);
        return NULL;
    }
    usage_find(o);
    return all;
}

void workers_close(struct workers *all)
{
    if (!all)
        return;
    atomic_store(&all->leave, true);
    for (unsigned i = 0; i < all->n; i++)
        pthread_join(all->worker[i].thread, NULL);
    devices_close(all->devices);
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
    free(all->worker);
    free(all);
}

// --- watching
// ---------------------------------------------------------------------------------------

struct watching {
    void (*watch)(void *context, const struct progress *p);
    void *context;
    struct progress progress;
    double warmup_s, of_seconds;
    uint64_t begin_ns, last_ns; // of the system's clock
    uint64_t last_requests;
    bool measured; // usage was read at the beginning of the measured time
    struct usage usage;
    uint64_t usage_ns;
};

static void note_usage(struct watching *s)
{
    usage_read(&s->usage);
    s->usage_ns = clock_ns_of_system();
    s->measured = true;
}

// Takes what a thread gave; false: nothing yet.
static bool take(struct workers *all, struct worker *w)
{
    unsigned given = atomic_load_explicit(&w->view.given, memory_order_acquire);
    if (!w->asked || given != atomic_load_explicit(&w->view.wanted, memory_order_relaxed))
        return false;
    struct histogram *h = &w->view.latency[(given + 1) % 2];
    histogram_merge(&all->interval, h);
    w->seen = w->view.counts;
    if (w->seen.measuring)
        histogram_merge(&w->latency, h);
    histogram_reset(h);
    w->asked = false;
    return true;
}

static void ask(struct worker *w)
{
    w->asked = true;
    atomic_fetch_add_explicit(&w->view.wanted, 1, memory_order_release);
}

static void show(struct workers *all, struct watching *s)
{
    struct progress *p = &s->progress;
    uint64_t now = clock_ns_of_system();
    histogram_reset(&all->interval);
    p->requests = p->errors = p->wrong = p->connections = 0;
    bool measuring = true;
    for (unsigned i = 0; i < all->n; i++) {
        struct worker *w = &all->worker[i];
        take(all, w);
        if (!w->asked)
            ask(w);
        p->requests += w->seen.requests;
        p->errors += w->seen.errors;
        p->wrong += w->seen.wrong;
        p->connections += w->seen.connections;
        measuring = measuring && w->seen.measuring;
    }
    p->seconds = (double)(now - s->begin_ns) / 1e9;
    p->of_seconds = s->of_seconds;
    if (p->phase != PHASE_FILL) {
        p->phase = measuring ? PHASE_MEASURE : PHASE_WARMUP;
        p->of_seconds = measuring ? s->of_seconds : s->warmup_s;
        p->seconds = measuring && p->seconds > s->warmup_s ? p->seconds - s->warmup_s : p->seconds;
    }
    // The counters start again with the measured time.
    if (p->requests >= s->last_requests && now > s->last_ns)
        p->rate = (double)(p->requests - s->last_requests) * 1e9 / (double)(now - s->last_ns);
    s->last_requests = p->requests;
    s->last_ns = now;
    s->watch(s->context, p);
}

// Until all threads have answered: watches, and reads the usage when the measured time begins.
static bool watch_all(struct workers *all, struct watching *s)
{
    uint64_t warm_ns = s->begin_ns + (uint64_t)(s->warmup_s * 1e9);
    uint64_t look_ns = s->begin_ns + WATCH_NS;
    pthread_mutex_lock(&all->lock);
    while (all->running > 0) {
        uint64_t until = s->watch ? look_ns : UINT64_MAX;
        if (!s->measured && warm_ns < until)
            until = warm_ns;
        if (until == UINT64_MAX) {
            pthread_cond_wait(&all->changed, &all->lock);
            continue;
        }
        struct timespec at = {.tv_sec = (time_t)(until / 1000000000),
                              .tv_nsec = (long)(until % 1000000000)};
        if (pthread_cond_timedwait(&all->changed, &all->lock, &at) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&all->lock);
        if (!s->measured && until == warm_ns)
            note_usage(s);
        if (s->watch && until == look_ns) {
            show(all, s);
            look_ns += WATCH_NS;
        }
        pthread_mutex_lock(&all->lock);
    }
    bool good = !all->failed;
    pthread_mutex_unlock(&all->lock);
    return good;
}

// --- running
// ----------------------------------------------------------------------------------------

static void give_job(struct workers *all, struct worker *w, const struct preset *test, double rate,
                     uint64_t begin)
{
    const struct options *o = all->options;
    uint64_t share = o->requests / all->n + (w->index < o->requests % all->n ? 1 : 0);
    w->job = (struct job){
        .test = test,
        .rate = rate / all->n,
        .requests = share,
        .warmup_s = o->warmup_s,
        .duration_s = o->duration_s,
        .pipeline = o->pipeline,
        .begin = begin,
        .seed = o->seed,
    };
    if (test->fill) {
        w->job.rate = w->job.warmup_s = 0;
        w->job.requests = workload_fill_requests(test, o, w->index);
        if (w->job.pipeline < FILL_PIPELINE)
            w->job.pipeline = FILL_PIPELINE;
    }
    histogram_reset(&w->latency);
    histogram_reset(&w->view.latency[0]);
    histogram_reset(&w->view.latency[1]);
    w->seen = (struct client_counts){0};
    w->asked = false;
    atomic_store(&w->view.wanted, 0);
    atomic_store(&w->view.given, 0);
}

static void collect(struct workers *all, struct measurement *m, bool good)
{
    m->finished = good;
    for (unsigned i = 0; i < all->n; i++) {
        struct worker *w = &all->worker[i];
        // What was given and not yet taken; then what was never given.
        take(all, w);
        unsigned given = atomic_load(&w->view.given);
        histogram_merge(&w->latency, &w->view.latency[given % 2]);
        histogram_merge(&w->m->latency, &w->latency);
        measurement_merge(m, w->m);
        if (w->m->seconds > m->seconds)
            m->seconds = w->m->seconds;
        bool own = w->m->error[0] && strcmp(w->m->error, "another thread failed") != 0;
        if (own && !m->error[0])
            memcpy(m->error, w->m->error, sizeof(m->error));
    }
    size_t len = strlen(m->error);
    if (m->missing && all->n > 1)
        snprintf(m->error + len, sizeof(m->error) - len,
                 "; in all threads %llu replies are missing on %u connections",
                 (unsigned long long)m->missing, m->stuck);
}

static unsigned parts_of(const struct preset *test)
{
    return test->n > 1 ? test->n : 0;
}

static const char *command_name(const struct preset *test, unsigned i)
{
    static const char *const names[] = {
        [COMMAND_SET] = "SET", [COMMAND_GET] = "GET", [COMMAND_PING] = "PING"};
    if (test->commands[i].name)
        return test->commands[i].name;
    return test->commands[i].kind == COMMAND_ANY ? test->commands[i].line
                                                 : names[test->commands[i].kind];
}

static struct measurement *new_measurement(const struct preset *test)
{
    struct measurement *m = measurement_new(test->name, parts_of(test), 0);
    for (unsigned i = 0; m && i < m->n_commands; i++)
        snprintf(m->commands[i].name, sizeof(m->commands[i].name), "%s", command_name(test, i));
    return m;
}

struct measurement *workers_run(struct workers *all, const struct preset *test, double rate,
                                void (*watch)(void *context, const struct progress *p),
                                void *context)
{
    const struct options *o = all->options;
    struct measurement *m = new_measurement(test);
    bool memory = m != NULL;
    for (unsigned i = 0; i < all->n; i++)
        memory = (all->worker[i].m = new_measurement(test)) && memory;
    if (memory) {
        struct watching s = {
            .watch = watch,
            .context = context,
            .progress = {.name = test->name,
                         .phase = test->fill ? PHASE_FILL : PHASE_WARMUP,
                         .step = all->step,
                         .steps = all->steps,
                         .wanted = rate,
                         .latency = &all->interval},
            .warmup_s = test->fill ? 0 : o->warmup_s,
            .of_seconds = test->fill || o->requests ? 0 : o->duration_s,
        };
        uint64_t begin = clock_ticks() + (uint64_t)(START_S * clock_rate());
        s.begin_ns = s.last_ns = clock_ns_of_system() + (uint64_t)(START_S * 1e9);
        for (unsigned i = 0; i < all->n; i++) {
            give_job(all, &all->worker[i], test, rate, begin);
            s.progress.of_requests += all->worker[i].job.requests;
        }
        all->running = all->n;
        all->failed = false;
        atomic_store(&all->halt, false);
        if (s.warmup_s == 0)
            note_usage(&s);
        atomic_fetch_add_explicit(&all->number, 1, memory_order_release);
        bool good = watch_all(all, &s);
        struct usage end;
        usage_read(&end);
        double seconds = (double)(clock_ns_of_system() - s.usage_ns) / 1e9;
        m->rate = rate;
        collect(all, m, good);
        if (s.measured && s.usage.generator_s >= 0)
            m->generator_cpu = (end.generator_s - s.usage.generator_s) / seconds;
        if (s.measured && s.usage.server_s >= 0 && end.server_s >= 0)
            m->server_cpu = (end.server_s - s.usage.server_s) / seconds;
    }
    for (unsigned i = 0; i < all->n; i++) {
        measurement_free(all->worker[i].m);
        all->worker[i].m = NULL;
    }
    if (!memory) {
        measurement_free(m);
        return NULL;
    }
    return m;
}

unsigned workers_sweep(struct workers *all, const struct preset *test, struct measurement **results,
                       unsigned *knee, void (*watch)(void *context, const struct progress *p),
                       void *context)
{
    const struct options *o = all->options;
    struct sweep_step steps[OPTIONS_STEPS_MAX];
    unsigned n = 0;
    all->steps = sweep_steps(o->rate_from, o->rate_to, o->rate_step);
    while (n < all->steps && !*all->stop && !sweep_over(steps, n)) {
        all->step = n;
        double rate = sweep_rate(o->rate_from, o->rate_to, o->rate_step, n);
        struct measurement *m = workers_run(all, test, rate, watch, context);
        if (!m)
            break;
        results[n] = m;
        steps[n] = (struct sweep_step){.wanted = rate,
                                       .reached = measurement_rate(m),
                                       .p99 = (double)histogram_percentile(&m->latency, 99)};
        n++;
        if (!m->finished)
            break;
    }
    all->step = all->steps = 0;
    *knee = sweep_knee(steps, n);
    return n;
}
