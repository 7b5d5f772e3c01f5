// Two children, one epoll loop. The data plane decides: what it cannot start with ends the server
// with its status, what it ends in order ends the server in order. The control plane is started
// again whatever happens to it.
#include "controlplane/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/plane.h"
#include "common/process.h"
#include "controlplane/notify.h"
#include "controlplane/settings.h"

// An orderly end closes connections and ports; a plane that needs longer hangs.
#define STOP_WAIT_MS 10000u
// Between the deaths of a plane and its next life: doubles from the first to the last, and starts
// again after a life of so long.
#define BACKOFF_FIRST_MS 100u
#define BACKOFF_LAST_MS 10000u
#define BACKOFF_FORGET_MS 60000u
// How often the segment is looked at while the data plane starts.
#define READY_LOOK_MS 20
#define PIDFILE_DEFAULT "/var/run/pollux.pid"

struct child {
    const char *name, *program;
    pid_t pid; // 0: not running
    uint64_t started_ms, restart_ms;
    unsigned backoff_ms;
};

struct supervisor {
    const struct config *config;
    struct settings settings;
    char **argv; // with a place for the program's path at [0]
    int input, start_dir;
    int signals, epoll, lock;
    int errors[2]; // a pipe: the planes' standard error while a daemon starts; -1
    int parent;    // a pipe to the process that waits for the daemon to be ready; -1
    struct plane_segment *segment;
    struct child data, control;
    char pidfile[512];
    bool systemd;
    bool ready;      // the present data plane serves
    bool ever_ready; // some data plane has served
    bool stopping;
    uint64_t kill_ms;
    int status;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// --- children ------------------------------------------------------------------------------------

// In the child: back to what the supervisor was started with, and its end if the supervisor ends.
__attribute__((noreturn)) static void child_become(struct supervisor *s, const struct child *child,
                                                   const char *path, pid_t supervisor)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0); // Ctrl-C reaches the supervisor alone, which ends both in order
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != supervisor)
        _exit(0);
    if (s->errors[1] >= 0)
        dup2(s->errors[1], STDERR_FILENO);
    if (s->input >= 0) { // each reads the configuration from its start
        char source[32];
        snprintf(source, sizeof(source), "/proc/self/fd/%d", s->input);
        int fd = open(source, O_RDONLY);
        if (fd >= 0)
            dup2(fd, STDIN_FILENO);
    }
    char pid[16];
    snprintf(pid, sizeof(pid), "%d", (int)supervisor);
    setenv("POLLUX_SUPERVISOR", pid, 1);
    if (fchdir(s->start_dir) == 0)
        execv(path, s->argv);
    dprintf(STDERR_FILENO, "pollux-server: cannot start %s: %s\n", child->program, strerror(errno));
    _exit(127);
}

static void child_start(struct supervisor *s, struct child *child)
{
    char self[512], path[600];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    snprintf(path, sizeof(path), "%s/%s", dirname(self), child->program);
    s->argv[0] = path;
    pid_t supervisor = getpid();
    fflush(NULL);
    child->started_ms = now_ms();
    child->pid = fork();
    if (child->pid == 0)
        child_become(s, child, path, supervisor);
    if (child->pid < 0) {
        child->pid = 0;
        child->restart_ms = child->started_ms + BACKOFF_LAST_MS;
        log_warning("Cannot start the %s: %s", child->name, strerror(errno));
    }
}

static void child_schedule(struct child *child)
{
    uint64_t now = now_ms();
    if (now - child->started_ms > BACKOFF_FORGET_MS)
        child->backoff_ms = 0;
    // The first time at once: most deaths are single.
    child->restart_ms = now + child->backoff_ms;
    child->backoff_ms = !child->backoff_ms                        ? BACKOFF_FIRST_MS
                        : child->backoff_ms * 2 > BACKOFF_LAST_MS ? BACKOFF_LAST_MS
                                                                  : child->backoff_ms * 2;
}

static int exit_status(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

static void describe_end(const struct supervisor *s, const struct child *child, int wait_status)
{
    char crash[PLANE_CRASH_TEXT_MAX] = "";
    if (WIFSIGNALED(wait_status))
        log_warning("The %s (pid %d) was killed by signal %d (%s)%s%s", child->name,
                    (int)child->pid, WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)),
                    WCOREDUMP(wait_status) ? ", with a core file" : "",
                    child == &s->data ? plane_crash_text(s->segment, crash) : "");
    else
        log_warning("The %s (pid %d) has ended with status %d", child->name, (int)child->pid,
                    WEXITSTATUS(wait_status));
}

static void stop_begin(struct supervisor *s, int status)
{
    if (s->stopping)
        return;
    s->stopping = true;
    s->status = status;
    s->kill_ms = now_ms() + STOP_WAIT_MS;
    if (s->systemd)
        notify_manager("STOPPING=1\nSTATUS=Ending");
    if (s->data.pid)
        kill(s->data.pid, SIGTERM);
    if (s->control.pid)
        kill(s->control.pid, SIGTERM);
}

static void child_ended(struct supervisor *s, struct child *child, int wait_status)
{
    int status = exit_status(wait_status);
    if (s->stopping) {
        if (status)
            describe_end(s, child, wait_status);
        if (child == &s->data && !s->status)
            s->status = status;
        child->pid = 0;
        return;
    }
    // The data plane ended by itself in order: SHUTDOWN. Or the server never got as far as serving.
    if ((child == &s->data && status == 0) || !s->ever_ready) {
        if (status && WIFSIGNALED(wait_status))
            describe_end(s, child, wait_status);
        child->pid = 0;
        stop_begin(s, status);
        return;
    }
    describe_end(s, child, wait_status);
    child->pid = 0;
    if (child == &s->data)
        s->ready = false;
    child_schedule(child);
    log_notice("The %s is started again%s", child->name,
               child->restart_ms > now_ms() ? " after a pause" : "");
}

static void children_reap(struct supervisor *s)
{
    struct child *children[] = {&s->data, &s->control};
    for (unsigned i = 0; i < 2; i++) {
        int status;
        if (children[i]->pid && waitpid(children[i]->pid, &status, WNOHANG) == children[i]->pid)
            child_ended(s, children[i], status);
    }
}

// --- readiness -----------------------------------------------------------------------------------

// From here on nobody waits for a daemon's words: they go where the log goes.
static void daemon_ready(struct supervisor *s)
{
    if (s->parent < 0)
        return;
    char status = 0;
    ssize_t n = write(s->parent, &status, 1);
    (void)n;
    close(s->parent);
    s->parent = -1;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDERR_FILENO);
        close(null);
    }
}

static void ready_look(struct supervisor *s)
{
    if (s->ready || !s->data.pid ||
        !atomic_load_explicit(&s->segment->data_ready, memory_order_acquire) ||
        atomic_load_explicit(&s->segment->data_pid, memory_order_relaxed) != s->data.pid)
        return;
    s->ready = true;
    if (s->ever_ready) {
        log_notice("The data plane serves again (pid %d)", (int)s->data.pid);
        return;
    }
    s->ever_ready = true;
    if (s->systemd)
        notify_manager("READY=1\nSTATUS=Ready to accept connections");
    else if (strcmp(config_get(s->config, "supervised"), "upstart") == 0)
        raise(SIGSTOP); // upstart's way to be told
    daemon_ready(s);
}

// --- the loop ------------------------------------------------------------------------------------

static void signals_take(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        const char *name = info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM";
        char sender[PROCESS_TEXT_MAX];
        process_sender((pid_t)info.ssi_pid, info.ssi_uid, sender);
        if (!s->stopping) {
            log_notice("Received %s from %s: both planes end", name, sender);
            stop_begin(s, 0);
        } else if (info.ssi_signo == SIGINT) {
            log_warning("Received SIGINT from %s again: both planes are killed", sender);
            s->kill_ms = now_ms();
        }
    }
    ready_look(s); // what dies now may have served since the last look
    children_reap(s);
}

// Lines that the planes of a starting daemon wrote to standard error.
static void errors_take(struct supervisor *s)
{
    char text[2048];
    ssize_t n;
    while (s->errors[0] >= 0 && (n = read(s->errors[0], text, sizeof(text) - 1)) > 0) {
        ssize_t written = write(STDERR_FILENO, text, (size_t)n);
        (void)written;
        if (!s->ever_ready)
            continue;
        text[n] = '\0';
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
            log_warning("%s", line);
    }
}

static void timers_run(struct supervisor *s)
{
    uint64_t now = now_ms();
    struct child *children[] = {&s->data, &s->control};
    for (unsigned i = 0; i < 2; i++) {
        struct child *child = children[i];
        if (!s->stopping && !child->pid && now >= child->restart_ms)
            child_start(s, child);
        else if (s->stopping && child->pid && now >= s->kill_ms) {
            log_warning("The %s (pid %d) does not end: it is killed", child->name, (int)child->pid);
            kill(child->pid, SIGKILL);
            s->kill_ms = now + STOP_WAIT_MS;
        }
    }
}

static int loop_timeout_ms(const struct supervisor *s)
{
    uint64_t now = now_ms(), next = now + 60000;
    const struct child *children[] = {&s->data, &s->control};
    for (unsigned i = 0; i < 2; i++)
        if (!s->stopping && !children[i]->pid && children[i]->restart_ms < next)
            next = children[i]->restart_ms;
    if (s->stopping && s->kill_ms < next)
        next = s->kill_ms;
    int timeout = next > now ? (int)(next - now) : 0;
    return !s->ready && !s->stopping && timeout > READY_LOOK_MS ? READY_LOOK_MS : timeout;
}

static void supervisor_loop(struct supervisor *s)
{
    while (!s->stopping || s->data.pid || s->control.pid) {
        timers_run(s);
        ready_look(s);
        log_flush();
        struct epoll_event events[2];
        epoll_wait(s->epoll, events, 2, loop_timeout_ms(s));
        signals_take(s);
        errors_take(s);
    }
}

// --- start and end -------------------------------------------------------------------------------

// Forks; the parent waits until the server is ready, or not, and returns its status through
// *status. 1 in the parent, 0 in the daemon, -1 with errno.
static int daemon_fork(struct supervisor *s, int *status)
{
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) || pipe2(s->errors, O_CLOEXEC | O_NONBLOCK))
        return -1;
    // The writing end is the planes': they must not lose a line to a full pipe.
    fcntl(s->errors[1], F_SETFL, 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return -1;
    if (pid) {
        char byte = 1;
        close(ready[1]);
        while (read(ready[0], &byte, 1) < 0 && errno == EINTR)
            ;
        *status = byte;
        return 1;
    }
    close(ready[0]);
    s->parent = ready[1];
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        close(null);
    }
    return 0;
}

static void pidfile_write(struct supervisor *s, bool daemon)
{
    const char *path = config_string(s->config, "pidfile");
    if (!*path && !daemon)
        return;
    snprintf(s->pidfile, sizeof(s->pidfile), "%s", *path ? path : PIDFILE_DEFAULT);
    FILE *f = fopen(s->pidfile, "we");
    if (!f) {
        log_warning("Cannot write the pid file %s: %s", s->pidfile, strerror(errno));
        s->pidfile[0] = '\0';
        return;
    }
    fprintf(f, "%d\n", (int)getpid());
    fclose(f);
}

// What a plane that was killed could not remove. A plane that runs without us keeps its files.
static void files_remove(struct supervisor *s)
{
    static const char *const sides[] = {"data", "control"};
    static const char *const sockets[] = {"attach", "control"};
    const char *dir = s->settings.run_directory;
    unsigned port = s->settings.port, gone = 0;
    char path[512], error[512];
    for (unsigned i = 0; i < 2; i++) {
        int lock = plane_lock(dir, port, sides[i], error, sizeof(error));
        if (lock < 0)
            continue;
        gone++;
        plane_path(dir, port, sockets[i], path, sizeof(path));
        unlink(path);
        plane_unlock(dir, port, sides[i], lock);
    }
    plane_close(s->segment);
    if (gone == 2) {
        plane_path(dir, port, "segment", path, sizeof(path));
        unlink(path);
    }
    plane_unlock(dir, port, "server", s->lock);
    if (s->pidfile[0])
        unlink(s->pidfile);
}

static bool wants_systemd(const struct config *config)
{
    const char *supervised = config_get(config, "supervised");
    return strcmp(supervised, "systemd") == 0 ||
           (strcmp(supervised, "auto") == 0 && getenv("NOTIFY_SOCKET"));
}

static int fail(const char *error)
{
    fprintf(stderr, "pollux-server: %s\n", error);
    return 1;
}

static int supervisor_prepare(struct supervisor *s, char *error, size_t size)
{
    char path[512];
    if (settings_read(s->config, &s->settings, error, size))
        return -1;
    s->lock = plane_lock(s->settings.run_directory, s->settings.port, "server", error, size);
    if (s->lock < 0)
        return -1;
    plane_path(s->settings.run_directory, s->settings.port, "segment", path, sizeof(path));
    s->segment = plane_open(path, error, size);
    if (!s->segment || settings_open_log(s->config, 'S', error, size))
        return -1;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    s->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN};
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->signals, &e) ||
        (s->errors[0] >= 0 && epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->errors[0], &e))) {
        snprintf(error, size, "cannot make an epoll descriptor: %s", strerror(errno));
        return -1;
    }
    return 0;
}

static int supervisor_run(struct supervisor *s)
{
    char error[512];
    bool daemon = config_bool(s->config, "daemonize");
    if (chdir(config_string(s->config, "dir"))) {
        snprintf(error, sizeof(error), "cannot change to dir '%s': %s",
                 config_string(s->config, "dir"), strerror(errno));
        return fail(error);
    }
    if (daemon) {
        int forked = daemon_fork(s, &s->status);
        if (forked)
            return forked > 0 ? s->status : fail(strerror(errno));
    }
    s->systemd = wants_systemd(s->config);
    if (supervisor_prepare(s, error, sizeof(error))) {
        plane_close(s->segment);
        if (s->lock >= 0)
            plane_unlock(s->settings.run_directory, s->settings.port, "server", s->lock);
        return fail(error);
    }
    pidfile_write(s, daemon);
    supervisor_loop(s);
    errors_take(s);
    files_remove(s);
    if (s->ever_ready)
        log_notice("The server has ended");
    log_close();
    if (s->parent >= 0) { // it waits for a word of ours; without one it says 1
        char byte = (char)(s->status ? s->status : 1);
        ssize_t n = write(s->parent, &byte, 1);
        (void)n;
    }
    return s->status;
}

int supervise(const struct config *config, int argc, char **argv, int input)
{
    struct supervisor s = {.config = config,
                           .input = input,
                           .lock = -1,
                           .parent = -1,
                           .errors = {-1, -1},
                           .data = {.name = "data plane", .program = "pollux-dataplane"},
                           .control = {.name = "control plane", .program = "pollux-controlplane"}};
    s.start_dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    s.argv = calloc((size_t)argc + 2, sizeof(*s.argv));
    if (!s.argv || s.start_dir < 0) {
        free(s.argv);
        return fail("no memory, or no working folder");
    }
    memcpy(s.argv + 1, argv, (size_t)argc * sizeof(*argv));
    int status = supervisor_run(&s);
    free(s.argv);
    return status;
}
