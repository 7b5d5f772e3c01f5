// The data plane as a process: opens what needs the starter's rights, starts the cores, serves
// until it is told to stop, and takes everything down.
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <mimalloc.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "common/memory.h"
#include "dataplane/core/access.h"
#include "dataplane/core/addresses.h"
#include "dataplane/core/attach.h"
#include "dataplane/core/crash.h"
#include "dataplane/core/message.h"
#include "dataplane/core/publish.h"
#include "dataplane/core/service.h"
#include "dataplane/core/tracking.h"
#include "dataplane/core/watch.h"
#include "dataplane/script/functions.h"
#include "dataplane/script/script.h"
#include "dataplane/store/heap.h"

_Static_assert(CONFIG_CORES_MAX == PLANE_CORES_MAX, "the segment has room for every core");

// Descriptors beside those of clients: rings, files, sockets of the planes.
#define DESCRIPTORS_RESERVED 64
#define ERROR_MAX 512
#define CONNECTIONS_MIN 65536 // of the userspace stack, on each core

// --- configuration -----------------------------------------------------------------------------

static int fail(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fail(char *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, ERROR_MAX, format, args);
    va_end(args);
    return -1;
}

// --- devices -----------------------------------------------------------------------------------

static int open_devices(struct server *s, const struct config *config, const int *cpus, char *error)
{
    const char *const *devices;
    struct nic_options o = {
        .n_devices = config_list(config, "nic-device", &devices),
        .queues = s->n_cores,
        .cpus = cpus,
        .mtu = (unsigned)config_integer(config, "nic-mtu"),
        .rx_frames = (unsigned)config_integer(config, "nic-rx-frames"),
        .tx_frames = (unsigned)config_integer(config, "nic-tx-frames"),
    };
    if (o.n_devices > NIC_DEVICES_MAX)
        return fail(error, "nic-device: at most %d devices", NIC_DEVICES_MAX);
    for (unsigned i = 0; i < o.n_devices; i++)
        o.devices[i] = devices[i];
    const char *huge = config_get(config, "huge-pages");
    o.huge_pages = strcmp(huge, "yes") == 0  ? NIC_HUGE_YES
                   : strcmp(huge, "no") == 0 ? NIC_HUGE_NO
                                             : NIC_HUGE_AUTO;
    char name[32];
    snprintf(name, sizeof(name), "pollux-%u", s->port);
    o.name = name;
    s->nic = nic_open(&o, error, ERROR_MAX);
    if (!s->nic)
        return -1;
    const struct nic_info *info = nic_info(s->nic);
    struct net_config *n = &s->net_config;
    memcpy(n->mac, info->mac, sizeof(n->mac));
    n->mtu = info->mtu;
    n->vlan = (uint16_t)config_integer(config, "nic-vlan");
    n->offloads = info->offloads;
    n->trust_partial_sums = config_bool(config, "nic-trust-partial-checksums");
    n->user_timeout_ms = (uint32_t)config_integer(config, "tcp-user-timeout");
    // TIME_WAIT and connections about to be refused come on top of the clients.
    n->connections_max = (uint32_t)config_integer(config, "maxclients") * 2;
    if (n->connections_max < CONNECTIONS_MIN)
        n->connections_max = CONNECTIONS_MIN;
    memcpy(n->secret, s->secret, sizeof(n->secret));
    return addresses_read(n, config, s->nic, s->addresses, sizeof(s->addresses), error, ERROR_MAX);
}

uint64_t server_clients_possible(uint64_t clients)
{
    struct rlimit limit;
    rlim_t want = (rlim_t)clients + DESCRIPTORS_RESERVED;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= want)
        return clients;
    const struct rlimit wish = {want, limit.rlim_max < want ? want : limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &wish)) { // the hard limit is not ours to raise
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= want)
        return clients;
    return limit.rlim_cur > DESCRIPTORS_RESERVED ? limit.rlim_cur - DESCRIPTORS_RESERVED : 0;
}

static int raise_descriptors(const struct config *config, char *error)
{
    uint64_t clients = (uint64_t)config_integer(config, "maxclients");
    uint64_t want = clients + DESCRIPTORS_RESERVED;
    uint64_t possible = server_clients_possible(clients);
    struct rlimit limit;
    // The server alone would exhaust them: clients would wait for an accept that never comes.
    if (!possible && !getrlimit(RLIMIT_NOFILE, &limit))
        return fail(error,
                    "the limit of open files, %lu, is too low to start: %lu are needed for "
                    "maxclients %lu, %d at the least; raise it with ulimit -n or LimitNOFILE=",
                    (unsigned long)limit.rlim_cur, (unsigned long)want, (unsigned long)clients,
                    DESCRIPTORS_RESERVED + 1);
    if (possible < clients)
        log_warning("maxclients needs %lu open files, the limit allows %lu: raise it with ulimit "
                    "-n or LimitNOFILE=, or lower maxclients",
                    (unsigned long)want, (unsigned long)possible + DESCRIPTORS_RESERVED);
    return 0;
}

static int drop_rights(const struct config *config, char *error)
{
    const char *name = config_string(config, "run-as-user");
    if (!name || !*name)
        return 0;
    const struct passwd *user = getpwnam(name);
    if (!user)
        return fail(error, "run-as-user: there is no account '%s'", name);
    int signal_at_death = 0;
    prctl(PR_GET_PDEATHSIG, &signal_at_death);
    if (initgroups(name, user->pw_gid) || setgid(user->pw_gid) || setuid(user->pw_uid))
        return fail(error, "run-as-user: cannot become '%s': %s", name, strerror(errno));
    // A change of account forgets that we should end with the supervisor.
    prctl(PR_SET_PDEATHSIG, signal_at_death);
    return 0;
}

// --- start and end -----------------------------------------------------------------------------

static void measure_cycles(struct server *s)
{
    uint64_t us = core_clock_us(), cycles = __rdtsc();
    // Two milliseconds give three digits, which is enough for figures that people read.
    struct timespec t = {0, 2000000};
    nanosleep(&t, NULL);
    s->cycles_per_us = (__rdtsc() - cycles) / (core_clock_us() - us);
    if (!s->cycles_per_us)
        s->cycles_per_us = 1;
}

static int open_segment(struct server *s, const struct config *config, char *error)
{
    const char *configured = config_string(config, "runtime-dir");
    int result = plane_run_directory(configured ? configured : "", s->run_directory,
                                     sizeof(s->run_directory));
    if (result)
        return fail(error, "runtime-dir: '%s' cannot be used: %s", s->run_directory,
                    strerror(-result));
    s->lock = plane_lock(s->run_directory, s->port, "data", error, ERROR_MAX);
    if (s->lock < 0)
        return -1;
    char path[256];
    plane_path(s->run_directory, s->port, "segment", path, sizeof(path));
    s->segment = plane_open(path, error, ERROR_MAX);
    if (!s->segment)
        return -1;
    if (plane_reserve(s->segment, s->n_cores))
        return fail(error, "no room for the segment in %s", s->run_directory);
    struct plane_segment *g = s->segment;
    atomic_store(&g->data_ready, 0);
    atomic_store(&g->crash_signal, 0);
    for (unsigned i = 0; i < s->n_cores; i++)
        plane_discard(&g->channel[i].to_core);
    atomic_fetch_add(&g->data_generation, 1);
    atomic_store(&g->data_pid, getpid());
    atomic_store(&g->cores, s->n_cores);
    atomic_store(&g->data_started_ms, s->start_ms);
    g->port = (uint16_t)s->port;
    snprintf(g->transport, sizeof(g->transport), "%s", s->dpdk ? "dpdk" : "socket");
    snprintf(g->version_text, sizeof(g->version_text), "%s", POLLUX_VERSION);
    return 0;
}

// Memory that a core is about to use, as heap.c asks for it: the service thread has the kernel give
// it, so that no page fault holds up a turn. The start is on a page's boundary; the number of pages
// stands in its low bits.
#define POPULATE_PAGE ((uintptr_t)4096)
#define POPULATE_PAGES_MAX (POPULATE_PAGE - 1)

static struct server *populating;

#define SEGMENT_BYTES ((size_t)32 << 20)

static void populate_job(void *arg)
{
    uintptr_t start = (uintptr_t)arg & ~(POPULATE_PAGE - 1);
    memory_populate((void *)start, ((uintptr_t)arg & (POPULATE_PAGE - 1)) * POPULATE_PAGE);
}

static void gather_job(void *arg)
{
    memory_gather_huge(arg, SEGMENT_BYTES);
}

static void gather(void *start, size_t bytes)
{
    struct service *service = atomic_load_explicit(&populating->service, memory_order_relaxed);
    assert(bytes == SEGMENT_BYTES);
    if (service)
        service_post(service, gather_job, start);
}

static void populate(void *start, size_t bytes)
{
    struct service *service = atomic_load_explicit(&populating->service, memory_order_relaxed);
    size_t pages = bytes / POPULATE_PAGE;
    // A full queue is no harm: the core takes its page faults itself.
    if (service && pages <= POPULATE_PAGES_MAX)
        service_post(service, populate_job, (void *)((uintptr_t)start | pages));
}

static int create_cores(struct server *s, const struct config *config, const int *cpus, char *error)
{
    struct keyspace_config k = {
        .cores = s->n_cores,
        .databases = (unsigned)config_integer(config, "databases"),
        .epoch_ms = s->start_ms,
    };
    memcpy(k.secret, s->secret, sizeof(k.secret));
    populating = s;
    heap_start(&(struct heap_hooks){.populate = populate, .gather = gather});
    s->keyspace = keyspace_create(&k);
    s->scripts = script_texts_create();
    s->functions = script_functions_create();
    if (!s->keyspace || !s->scripts || !s->functions)
        return fail(error, "out of memory");
    for (unsigned slot = 0; slot < SLOTS; slot++)
        atomic_store(&s->segment->slot_core[slot],
                     (uint8_t)keyspace_core(s->keyspace, (uint16_t)slot));
    s->subscribed = mi_zalloc(sizeof(*s->subscribed));
    if (!s->subscribed)
        return fail(error, "out of memory");
    for (unsigned i = 0; i < s->n_cores; i++)
        if (!(s->cores[i] = core_create(s, i, cpus[i])))
            return fail(error, "out of memory");
    if (!mailbox_open(s))
        return fail(error, "out of memory");
    return 0;
}

static int start_cores(struct server *s, char *error)
{
    pthread_barrier_init(&s->begin, NULL, s->n_cores);
    pthread_barrier_init(&s->end, NULL, s->n_cores);
    for (unsigned i = 0; i < s->n_cores; i++)
        if (pthread_create(&s->cores[s->started++]->thread, NULL, core_main, s->cores[i])) {
            // Those that started wait at the barrier for good: there is no way on.
            fprintf(stderr, "pollux-dataplane: cannot start a thread: %s\n", strerror(errno));
            _exit(1);
        }
    int result = 0;
    for (unsigned i = 0; i < s->n_cores; i++) {
        int state;
        while ((state = atomic_load(&s->cores[i]->state)) == CORE_NEW)
            sched_yield();
        if (state == CORE_FAILED && result == 0)
            result = fail(error, "%s", s->cores[i]->start_error);
    }
    return result;
}

static void end_cores(struct server *s)
{
    server_stop(s);
    for (unsigned i = 0; i < s->started; i++)
        pthread_join(s->cores[i]->thread, NULL);
}

void server_stop(struct server *s)
{
    atomic_store(&s->stopping, true);
    for (unsigned i = 0; i < s->n_cores; i++)
        if (s->cores[i] && s->cores[i]->io)
            io_wake(s->cores[i]->io);
    server_wake(s);
}

void server_wake(struct server *s)
{
    uint64_t one = 1;
    if (write(s->wake_fd, &one, sizeof(one)) < 0)
        return; // it is awake already
}

// On the service thread.
static void on_signal(void *context, int number, const char *sender, unsigned times)
{
    const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";
    if (times > 1) { // asked twice: now
        log_warning("Received %s from %s again: the data plane ends at once", name, sender);
        log_flush();
        _exit(1);
    }
    log_warning("Received %s from %s, shutting down", name, sender);
    server_stop(context);
}

static void on_tick(void *context)
{
    struct server *s = context;
    struct service_memory m;
    if (!s->service)
        return;
    service_memory(s->service, &m);
    atomic_store(&s->segment->memory_resident, m.resident);
}

static void on_look(void *context)
{
    crash_watch(context);
}

static void on_wake(void *context, unsigned core)
{
    struct server *s = context;
    io_wake(s->cores[core]->io);
}

// This thread, and the service thread that comes of it, leave the CPUs of polling cores alone,
// where there are others.
static void leave_polling_cpus(const struct server *s)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set))
        return;
    for (unsigned i = 0; i < s->n_cores; i++)
        if (s->cores[i]->cpu >= 0)
            CPU_CLR(s->cores[i]->cpu, &set);
    if (CPU_COUNT(&set) > 0)
        sched_setaffinity(0, sizeof(set), &set);
}

static int start_service(struct server *s, char *error)
{
    leave_polling_cpus(s);
    int fds[PLANE_CORES_MAX];
    for (unsigned i = 0; i < s->n_cores; i++)
        fds[i] = io_wake_fd(s->cores[i]->io);
    s->attach = attach_open(s->run_directory, s->port, atomic_load(&s->segment->data_generation),
                            s->n_cores, fds, error, ERROR_MAX);
    if (!s->attach)
        return -1;
    struct service_options o = {
        .attach = s->attach,
        .signal = on_signal,
        .tick = on_tick,
        .look = on_look,
        .wake = on_wake,
        .context = s,
    };
    s->service = service_start(&o, error, ERROR_MAX);
    return s->service ? 0 : -1;
}

static void serve(struct server *s)
{
    while (!atomic_load(&s->stopping)) {
        struct pollfd fd = {s->wake_fd, POLLIN, 0};
        uint64_t n;
        if (poll(&fd, 1, -1) == 1 && read(s->wake_fd, &n, sizeof(n)) < 0)
            continue;
    }
}

static void server_end(struct server *s)
{
    end_cores(s);
    if (s->service)
        service_stop(s->service);
    if (s->attach)
        attach_close(s->attach);
    mailbox_close(s);
    watch_end(s);
    tracking_clear(s);
    mi_free(s->subscribed);
    for (unsigned i = 0; i < s->n_cores; i++)
        if (s->cores[i])
            core_destroy(s->cores[i]);
    access_end(s);
    if (s->keyspace)
        keyspace_destroy(s->keyspace);
    script_texts_destroy(s->scripts);
    script_functions_destroy(s->functions);
    if (s->nic)
        nic_close(s->nic);
    for (unsigned i = 0; i < sizeof(s->retired) / sizeof(*s->retired); i++)
        config_free(s->retired[i]);
    config_free(atomic_load(&s->config));
    tls_prepared_drop(s);
    tls_context_release(s->tls_context);
    if (s->segment) {
        atomic_store(&s->segment->data_ready, 0);
        atomic_store(&s->segment->data_pid, 0);
        plane_close(s->segment);
        plane_leave(s->run_directory, s->port, "data", s->lock);
    }
}

static int rename_commands(const struct config *config, char *error)
{
    const char *const *words;
    for (unsigned i = 0; config_multi(config, "rename-command", i, &words) == 2; i++) {
        const char *wrong = commands_rename(words[0], words[1]);
        if (wrong)
            return fail(error, "rename-command '%.100s' '%.100s': %s", words[0], words[1], wrong);
    }
    return 0;
}

static int server_start(struct server *s, struct config *config, char *error)
{
    int cpus[PLANE_CORES_MAX];
    // What files of this server carry in their names, wherever it listens later on.
    s->port = (unsigned)config_integer(config, "port");
    if (!s->port)
        s->port = (unsigned)config_integer(config, "tls-port");
    s->dpdk = strcmp(config_get(config, "transport"), "dpdk") == 0;
    if (getentropy(s->secret, sizeof(s->secret)))
        return fail(error, "the kernel gives no random numbers");
    uint8_t id[20];
    if (getentropy(id, sizeof(id)))
        return fail(error, "the kernel gives no random numbers");
    for (unsigned i = 0; i < sizeof(id); i++)
        snprintf(s->run_id + 2 * i, 3, "%02x", id[i]);
    s->start_ms = core_wall_ms();
    measure_cycles(s);
    commands_init();
    if (rename_commands(config, error))
        return -1;
    s->n_cores = config_cores(config, cpus);
    if (!s->n_cores) { // `auto`: one, wherever the kernel places it
        s->n_cores = 1;
        cpus[0] = -1;
    }
    if (raise_descriptors(config, error) || access_start(s, config, error, ERROR_MAX) ||
        open_segment(s, config, error))
        return -1;
    if (s->dpdk && open_devices(s, config, cpus, error))
        return -1;
    if (config_integer(config, "tls-port") &&
        !(s->tls_context = tls_configured(config, error, ERROR_MAX)))
        return -1;
    if (create_cores(s, config, cpus, error) || start_cores(s, error) || start_service(s, error))
        return -1;
    return drop_rights(config, error);
}

static void warn_line(void *context, const char *line)
{
    (void)context;
    log_warning("%s", line);
}

static void describe(const struct server *s, const struct config *config)
{
    log_notice("Pollux %s (answers as Redis 7.0.15), %u core%s, transport %s, pid %d",
               POLLUX_VERSION, s->n_cores, s->n_cores == 1 ? "" : "s", s->dpdk ? "dpdk" : "socket",
               getpid());
    if (s->dpdk) {
        const struct nic_info *n = nic_info(s->nic);
        log_notice("Device %s (%s), address %s, MTU %u, %u queue%s", n->device, n->driver,
                   s->addresses, n->mtu, n->queues, n->queues == 1 ? "" : "s");
    }
    config_warn(config, warn_line, NULL);
    if (!config_path(config))
        log_verbose("No configuration file: built-in defaults and the command line are in force");
    int64_t port = config_integer(config, "port"), tls = config_integer(config, "tls-port");
    const char *path = config_string(config, "unixsocket");
    if (port)
        log_notice("Ready to accept connections on port %d", (int)port);
    if (tls)
        log_notice("Ready to accept TLS connections on port %d", (int)tls);
    if (*path)
        log_notice("Ready to accept connections at the UNIX socket %s", path);
}

static int facility_of(const char *name)
{
    static const char *const names[] = {"user",   "local0", "local1", "local2", "local3",
                                        "local4", "local5", "local6", "local7"};
    static const int values[] = {LOG_USER,   LOG_LOCAL0, LOG_LOCAL1, LOG_LOCAL2, LOG_LOCAL3,
                                 LOG_LOCAL4, LOG_LOCAL5, LOG_LOCAL6, LOG_LOCAL7};
    for (unsigned i = 0; i < sizeof(values) / sizeof(*values); i++)
        if (strcasecmp(names[i], name) == 0)
            return values[i];
    return LOG_LOCAL0;
}

static int start_log(const struct config *config, char *error)
{
    struct log_options o = {
        .file = config_string(config, "logfile"),
        .level = settings_log_level(config),
        .syslog = config_bool(config, "syslog-enabled"),
        .syslog_ident = config_string(config, "syslog-ident"),
        .syslog_facility = facility_of(config_get(config, "syslog-facility")),
        .role = 'M',
    };
    int result = log_open(&o);
    return result ? fail(error, "logfile '%s': %s", o.file, strerror(-result)) : 0;
}

int server_run(struct config *config, const char *executable)
{
    static struct server server;
    struct server *s = &server;
    char error[ERROR_MAX] = "";
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL); // of all threads: the service takes them
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    snprintf(s->executable, sizeof(s->executable), "%s", executable);
    // The cores' snapshot comes and goes; this one is the main thread's.
    struct config *snapshot = config_copy(config);
    if (!snapshot) {
        fprintf(stderr, "pollux-dataplane: out of memory\n");
        return 1;
    }
    atomic_store(&s->config, snapshot);
    pthread_mutex_init(&s->config_lock, NULL);
    int status = 0;
    crash_start(s, config);
    if (start_log(config, error) || server_start(s, config, error)) {
        if (*config_string(config, "logfile")) // where nobody may see what follows
            log_warning("The data plane cannot start: %s", error);
        log_flush();
        fprintf(stderr, "pollux-dataplane: %s\n", error);
        status = 1;
    } else {
        atomic_store(&s->segment->data_ready, 1);
        describe(s, config);
        log_flush();
        serve(s);
    }
    server_end(s);
    if (!status)
        log_notice("The data plane has ended");
    log_flush();
    log_close();
    return status;
}
